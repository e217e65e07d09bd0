"""The incidents that attackers wrote in self-play: stored with how defenders did on them, drawn again by how hard they are.

incidents.jsonl begins with a line that says of which version it is, then has a line for each incident (`StoredIncident`). What stands there is judged
anew when it is read, so neither another version's incidents nor a truth written by hand reach a defender.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from generator.incidents import GENERATOR_VERSION
from players.attackers.attempts import brief_of
from pool import playbook_hash
from runs.files import JsonLines
from runs.provenance import stable_seed
from scenario import Admission, admit, judged_item
from schema import MAX_SEED, BadRequestError, Label, Row, Task, faults, shown
from tasks.registry import Split
from train.data import training_row
from world import World

INCIDENTS = "incidents.jsonl"
FORMAT = 1
TOLD = 3  # reasons of the gate against a line that are told
EASIEST = 0.05  # weight of an incident that defenders always get right, beside 1 for one that they never do


class StoredIncident(BaseModel):
    """An incident of an attacker: the episode in whose world it happened, what `craft_incident` holds, and how a defender did on it.

    `round` and `opponent` count generations from 0: of the attacker, and of the defender that answered it `times` times, `rights` of them right. `truth` is the
    verifier's action, `play` the incident's signature; `gated` says whether the gate was asked. Its world is one of `train`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    round: Annotated[int, Field(ge=0)]
    opponent: Annotated[int, Field(ge=0)]
    task: Task
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    split: Split
    salt: str
    asked: Label | None
    content: dict[str, Any]
    truth: Label
    play: str
    rights: Annotated[int, Field(ge=0)]
    times: Annotated[int, Field(ge=1)]
    gated: bool = True

    @model_validator(mode="after")
    def _possible(self) -> StoredIncident:
        if self.rights > self.times:
            raise ValueError(f"at most all answers are right; got {self.rights} of {self.times}")
        if self.opponent > self.round:
            raise ValueError(f"no defender of generation {self.opponent} is there in round {self.round}")
        if self.split != "train":
            raise ValueError(f"attackers play in worlds of train; got {self.split}")
        return self

    @property
    def hardness(self) -> float:
        """Return the weight by which it is drawn: the share of wrong answers, and a little."""
        return EASIEST + (1 - EASIEST) * (1 - self.rights / self.times)

    def admission(self) -> Admission:
        """Ask schema and gate again."""
        context = brief_of(self.task, self.seed, split=self.split, salt=self.salt).context
        world = World.from_context(context)
        return admit(self.content, world, task=self.task, seed=self.seed, salt=self.salt, gated=self.gated)


def header() -> dict[str, Any]:
    """Return the first line: the format, and of which generator and playbook the incidents are."""
    return {"opensoc_incidents": FORMAT, "generator": GENERATOR_VERSION, "playbook": playbook_hash()}


class IncidentArchive:
    """The stored incidents of a run.

    Args:
        path: of the file; it is begun if it is not there, or if its first line was torn.
        gated: whether the run asks the gate.

    Raises:
        BadRequestError: it cannot be read, is of another version, a line is no stored incident, or one is not judged as it says.
    """

    def __init__(self, path: Path, *, gated: bool = True) -> None:
        self._file = JsonLines(path)
        if next(self._file.read(), None) is None:
            self._file.append([header()])
        incidents = checked_incidents(path, gated=gated)
        self._file.cut()  # only what is this version's own
        self.plays: Counter[str] = Counter(incident.play for incident in incidents)
        self.rounds: Counter[int] = Counter(incident.round for incident in incidents)  # how many of each

    def add(self, incidents: Iterable[StoredIncident]) -> None:
        """Store incidents."""
        rows = [incident.model_dump() for incident in incidents]
        self._file.append(rows)
        self.plays.update(row["play"] for row in rows)

    def cut(self, round_: int) -> None:
        """Forget the incidents of a round and of later ones."""
        self._file.cut(lambda row: row.get("round", -1) < round_)
        self.plays = Counter(row["play"] for row in self._file.read() if "play" in row)


def read_incidents(path: Path) -> list[StoredIncident]:
    """Return the incidents of a file.

    Raises:
        BadRequestError: it cannot be read, is empty or of another version, or a line is no stored incident.
    """
    first, *rows = list(JsonLines(path).read()) or [{}]
    if different := [name for name, value in header().items() if first.get(name) != value]:
        was, now = (", ".join(f"{name} {shown(of.get(name))}" for name in different) for of in (first, header()))
        raise BadRequestError(
            f"Expected incidents of {now} in {str(path)!r}, and its first line says {was}; start over with --fresh, or take the release that made them."
        )
    incidents = []
    for number, row in enumerate(rows, 2):
        try:
            incidents.append(StoredIncident.model_validate(row))
        except ValidationError as error:
            raise _bad_line(path, number, faults(error, "incident")) from None
    return incidents


def checked_incidents(path: Path, *, gated: bool) -> list[StoredIncident]:
    """Return the incidents of a file, each judged anew.

    Args:
        path: of the file.
        gated: whether the run asks the gate.

    Raises:
        BadRequestError: as of `read_incidents`, or an incident is not judged as it says.
    """
    incidents = read_incidents(path)
    for number, incident in enumerate(incidents, 2):
        if fault := _fault(incident, gated=gated):
            raise _bad_line(path, number, fault)
    return incidents


def _bad_line(path: Path, number: int, fault: str) -> BadRequestError:
    return BadRequestError(
        f"Expected an incident that the gate admits and the verifier judges as it says in line {number} of {str(path)!r}: {fault}; remove that line, or start over with --fresh."
    )


def _fault(incident: StoredIncident, *, gated: bool) -> str:
    if incident.gated != gated:
        return f"the gate was {'asked' if incident.gated else 'not asked'}, and this run does{'' if gated else ' not'} ask it"
    admission = incident.admission()
    if admission.scenario is None:
        more = len(admission.reasons) - TOLD
        return admission.fault or "; ".join(admission.reasons[:TOLD]) + (f" (and {more} more)" if more > 0 else "")
    truth = admission.scenario.truth.action
    if truth != incident.truth:
        return f"the verifier says {truth}, and the line {incident.truth}"
    return (
        ""
        if admission.play == incident.play
        else f"its play is {admission.play}, and the line says {shown(incident.play)}"
    )


# ---------------------------------------------------------------- rows for the defender
def mixed_row(path: Path, stream: int, generated: float, tasks: Sequence[Task], index: int) -> Row:
    """Return the row at an index of a stream: a generated incident with a chance, else one of a file, the hard ones more often.

    Args:
        path: of the incidents; it must not change while rows are drawn.
        stream: of the generated incidents and of the draws.
        generated: the share of generated incidents, 0 to 1.
        tasks: of the generated ones, in turn.
        index: the same index is the same row.
    """
    chance = Random(stable_seed(f"{stream}/mixed/{index}"))
    incidents, bounds = _weighed(path)
    if not incidents or chance.random() < generated:
        return training_row(stream, index, tasks=tasks)
    incident = incidents[bisect(bounds, chance.random() * bounds[-1])]
    scenario = incident.admission().scenario
    assert scenario is not None, "the archive was checked when it was opened"
    name = f"attack-{incident.round}-{incident.task}-{incident.seed}-{index}"
    return {"id": name, "task": incident.task, "split": incident.split, "family": "", **judged_item(scenario)}


@lru_cache(maxsize=2)
def _weighed(path: Path) -> tuple[list[StoredIncident], list[float]]:
    """Return a file's incidents, and the sums of their weights up to each."""
    incidents = read_incidents(path)
    return incidents, list(accumulate(incident.hardness for incident in incidents))
