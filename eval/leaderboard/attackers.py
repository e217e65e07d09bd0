"""The attackers' board: what `eval.attack` stored, judged anew and put in front of the board's defenders, which are asked anew too.

`attackers.json` is the board, `attackers.schema.json` its form. Nothing that a run says of itself is believed but its incidents: worlds, truths and admissions follow from the briefs and the
events, and the board's defenders answer alike on every machine. An entry names the defenders by the hash of their settings, so that one of an older defender is seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from eval.attacks import INCIDENTS, JUDGED, SPLIT, briefs_of, counted, judge, measure_attempts, verdict
from eval.leaderboard import HERE, Figure, Finite, Lenient, Sha256, Strict
from generator.incidents import GENERATOR_VERSION
from players import Options, Player, open_player
from players.attackers.attempts import Attempt
from players.attackers.stored import read_stored
from players.scoring import score_reply
from runs.directory import RUN
from runs.files import JsonLines
from runs.progress import track
from schema import BadRequestError, faults, shown, unread
from tasks.registry import Split

ATTACKER_BOARD = HERE / "attackers.json"
ATTACKER_SCHEMA = HERE / "attackers.schema.json"
DEFENDERS = (
    "embedded",
    "bag_of_words",
    "keyword",
    "verifier_oracle",
)  # need no GPU; success against the first gives the order
LEAST_BRIEFS = 200


Name = Annotated[str, Field(min_length=1, max_length=120)]
Kind = Annotated[str, Field(min_length=1, max_length=60)]


class _Who(Lenient):
    name: Name
    kind: Kind


class _AttackRun(Lenient):
    attacker: _Who
    split: str
    seed: int
    briefs: int
    opensoc: str
    commit: str | None
    command: str
    complete: bool


class Success(Strict):
    """How often an attacker's incident was admitted and the defender wrong, over all briefs."""

    settings_sha256: Sha256 = Field(
        description="Hash of the defender's settings, the fingerprint of its weights included."
    )
    share: Figure


class AttackerEntry(Strict):
    """One attacker."""

    name: Name
    kind: Kind
    opensoc: str = Field(description="Version that it was run with.")
    commit: str | None
    command: str
    generator: str = Field(description="Version of the generator, which makes the worlds.")
    split: Split
    briefs: int = Field(ge=1)
    incidents_sha256: Sha256 = Field(description="Hash of the run's incidents.jsonl.")
    admission: Figure
    as_asked: Figure = Field(description="Of the admitted incidents, those that deserve the action that was asked for.")
    plays: int = Field(ge=0, description="Different plays among the admitted incidents.")
    self_similarity: Annotated[Finite, Field(ge=0, le=1)] | None
    success: dict[str, Success] = Field(min_length=1)

    @model_validator(mode="after")
    def _ranked(self) -> AttackerEntry:
        if DEFENDERS[0] not in self.success:
            raise ValueError(f"success against {DEFENDERS[0]} gives the order; got {sorted(self.success)}")
        return self


class AttackerBoard(Strict):
    """The whole file."""

    board: Literal["attackers"]
    version: Literal[1]
    entries: list[AttackerEntry]

    @model_validator(mode="after")
    def _once_each(self) -> AttackerBoard:
        names = [entry.name for entry in self.entries]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each name once; {twice[0]!r} comes more than once")
        return self


def add_attacker(board: AttackerBoard, entry: AttackerEntry) -> AttackerBoard:
    """Return the board with an entry, in the place of one of the same name; the highest success against the first defender comes first."""
    entries = [row for row in board.entries if row.name != entry.name] + [entry]
    return board.model_copy(update={"entries": sorted(entries, key=_rank)})


def _rank(entry: AttackerEntry) -> tuple[float, str]:
    return -(entry.success[DEFENDERS[0]].share.value or 0.0), entry.name


# ---------------------------------------------------------------- submissions
def is_attack(path: Path) -> bool:
    """Return whether a directory is a run of `eval.attack`."""
    return any((path / name).exists() for name in (INCIDENTS, JUDGED))


def attacker_entry(path: Path) -> AttackerEntry:
    """Replay the incidents of a run, ask the board's defenders, and return the entry that the run is worth.

    Args:
        path: a run directory of `eval.attack`.

    Raises:
        BadRequestError: the run is incomplete or damaged, its briefs are not the board's, or an incident is not judged as the run says.
    """
    run = _run(path)
    if (run.split, run.seed) != (SPLIT, 0) or run.briefs < LEAST_BRIEFS:
        raise BadRequestError(
            f"Expected at least {LEAST_BRIEFS} briefs of {SPLIT} with --seed 0, as all on the board have, and {str(path)!r} has {run.briefs} of {shown(run.split)} with {run.seed}; "
            "run eval.attack so."
        )
    incidents = read_stored(path / INCIDENTS)
    if len(incidents) < run.briefs:  # before so many worlds are made
        raise BadRequestError(
            f"Expected an incident or null for each of {run.briefs} briefs in {str(path / INCIDENTS)!r}, and it has {len(incidents)}; run eval.attack again."
        )
    attempts = judge(briefs_of(SPLIT, run.briefs, 0), incidents)
    _check_verdicts(path, attempts)
    measured = measure_attempts(attempts)
    return AttackerEntry(
        name=run.attacker.name,
        kind=run.attacker.kind,
        opensoc=run.opensoc,
        commit=run.commit,
        command=run.command,
        generator=GENERATOR_VERSION,
        split=SPLIT,
        briefs=run.briefs,
        incidents_sha256=hashlib.sha256((path / INCIDENTS).read_bytes()).hexdigest(),
        admission=Figure(**measured["admission"]),
        as_asked=Figure(**(measured["as_asked"] or {"value": None, "low": None, "high": None, "n": 0})),
        plays=measured["plays"],
        self_similarity=measured["self_similarity"],
        success={name: _success(open_player(name, Options()), attempts) for name in DEFENDERS},
    )


def _run(path: Path) -> _AttackRun:
    """Read a run's run.json as far as the board needs it."""
    try:
        run = _AttackRun.model_validate(json.loads((path / RUN).read_text("utf-8")))
    except ValidationError as error:
        raise BadRequestError(
            f"Expected {RUN} of eval.attack in {str(path)!r}, and it has another form: {faults(error, 'the whole')}; start it again."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadRequestError(
            f"Expected {RUN} of eval.attack in {str(path)!r}, and got {unread(error)}; run it again."
        ) from error
    if not run.complete:
        raise BadRequestError(
            f"Expected a complete run of eval.attack in {str(path)!r}, and it stopped before its end; start it again."
        )
    return run


def _check_verdicts(path: Path, attempts: Sequence[Attempt]) -> None:
    """Check that each incident is judged as the run says."""
    stated = {row["id"]: row for row in JsonLines(path / JUDGED, texts=("id",)).read()}
    for now in map(verdict, attempts):
        was = stated.get(now["id"], {})
        for name in ("admitted", "action", "play"):
            if was.get(name) != now[name]:
                reason = f" ({now['refusal']})" if now["refusal"] else ""
                raise BadRequestError(
                    f"Expected incidents that are judged as {JUDGED} says, and {now['id']} has {name} {was.get(name)!r} where {now[name]!r} comes out{reason}; "
                    "run eval.attack again on this version."
                )


def _success(defender: Player, attempts: Sequence[Attempt]) -> Success:
    """Ask a defender about the admitted incidents."""
    admitted = [attempted for attempted in attempts if attempted.scenario]
    rows = [attempted.row for attempted in admitted]
    wrong = 0
    for attempted, row in zip(admitted, track(rows, defender.name, total=len(rows)), strict=True):
        assert attempted.scenario is not None
        [reply] = defender.answer([row])
        wrong += not score_reply(reply.text, {**row, "ground_truth": attempted.scenario.truth}).right
    settings = json.dumps(defender.settings, sort_keys=True).encode()
    share = Figure(**counted(wrong, len(attempts)))
    return Success(settings_sha256=hashlib.sha256(settings).hexdigest(), share=share)
