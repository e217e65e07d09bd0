"""The attempts of a cross-play, in a file of what each attacker replied to each brief.

What stands in the file is read, admitted and judged anew whenever it is opened: nothing that it says of a reply is believed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from eval.attacks import SEEDS, briefs_of
from eval.leaderboard import Figure, Lenient
from eval.rollouts import cost_of
from eval.runs import Run, load_run
from players.attackers.attempts import Attempt, attempt
from players.attackers.base import Brief
from players.base import Reply
from runs.files import JsonLines
from schema import MAX_SEED, BadRequestError, Row, faults, shown
from tasks.registry import Split

ATTEMPTS, RESULT, DEFENDERS = "attempts.jsonl", "cross_play.json", "defenders"  # of a cross-play's directory


def attempts_log(out: Path, *, reserve: Path | None = None) -> JsonLines:
    """Return the file of what each attacker replied to each brief."""
    return JsonLines(out / ATTEMPTS, keys=("reply",), texts=("attacker", "id"), sync=True, reserve=reserve)


class _Entrant(Lenient):
    name: str


class PlayedRun(Lenient):
    """`run.json` of a cross-play."""

    command: str
    commit: str | None
    split: Split
    seed: Annotated[int, Field(ge=0, le=MAX_SEED // SEEDS)]
    briefs: Annotated[int, Field(ge=1)]
    attackers: list[_Entrant]


class PlayedPair(Lenient):
    """An attacker's success against a defender, over what was admitted and over all briefs."""

    attacker: str
    defender: str
    success: Figure
    success_of_briefs: Figure


class PlayedResult(Lenient):
    """`cross_play.json`."""

    run: PlayedRun
    attackers: dict[str, dict[str, Any]]
    defenders: list[str]
    pairs: list[PlayedPair]

    @model_validator(mode="after")
    def _each_pair_once(self) -> PlayedResult:
        wanted = [(attacker, defender) for attacker in self.attackers for defender in self.defenders]
        if sorted(wanted) != sorted((pair.attacker, pair.defender) for pair in self.pairs):
            raise ValueError("pairs are each attacker against each defender, once")
        return self


Read = TypeVar("Read", PlayedRun, PlayedResult)


def read_played(path: Path, form: type[Read]) -> tuple[Read, dict[str, Any]]:
    """Read a file that a cross-play wrote, as far as it is looked at and as it stands.

    Raises:
        BadRequestError: it is not there, or has another form.
    """
    try:
        stored = json.loads(path.read_text("utf-8"))
        return form.model_validate(stored), stored
    except ValidationError as error:
        reason = f"it has another form: {faults(error, 'the whole')}"
    except (OSError, ValueError, RecursionError) as error:
        reason = f"reading it gave {type(error).__name__}: {error}"
    raise BadRequestError(f"Expected what eval.cross_play writes in {str(path)!r}, and {reason}; run eval.cross_play.")


def open_played(out: Path, run: PlayedRun) -> tuple[list[Brief], AttemptStore]:
    """Return the briefs of a cross-play and what was replied to them.

    Raises:
        BadRequestError: fewer replies are there than briefs, or a line is no reply to one of them.
    """
    log = attempts_log(out)
    if (lines := sum(1 for _ in log.read())) < run.briefs:  # before so many worlds are made
        raise BadRequestError(
            f"Expected replies to {run.briefs} briefs in {str(log.path)!r}, and it has {lines}; run the same eval.cross_play again, which asks for the others."
        )
    briefs = briefs_of(run.split, run.briefs, run.seed)
    return briefs, AttemptStore(log, briefs)


def load_defenders(out: Path) -> list[Run]:
    """Read the defenders' runs of a cross-play.

    Raises:
        BadRequestError: there are none, or one is incomplete or damaged.
    """
    try:
        places = sorted((out / DEFENDERS).iterdir())
    except OSError as error:
        raise BadRequestError(
            f"Expected the runs of the defenders in {str(out / DEFENDERS)!r}, and got {type(error).__name__}: {error}; run eval.cross_play."
        ) from error
    return [load_run(place) for place in places]


class AttemptStore:
    """The attempts of a cross-play whose directory is open, by attacker and brief; a last line that a kill tore is dropped.

    Raises:
        BadRequestError: a line is no attempt at one of the briefs.
    """

    def __init__(self, log: JsonLines, briefs: Sequence[Brief]) -> None:
        self._log = log
        self._briefs = {brief.id: brief for brief in briefs}
        self._attempts: dict[tuple[str, str], Attempt] = {}
        self.replies: dict[tuple[str, str], str | None] = {}  # by attacker and brief
        self.spent: dict[str, float] = defaultdict(float)  # USD, by attacker
        log.cut()
        for number, line in enumerate(log.read(), 1):
            name, id_, reply = line["attacker"], line["id"], line["reply"]
            if id_ not in self._briefs or not isinstance(reply, str | None):
                raise BadRequestError(
                    f"Expected a reply (text or null) to one of the {len(briefs)} briefs of this cross-play in line {number} of {str(log.path)!r}, "
                    f"and got {shown(reply)} to {shown(id_)}; remove that line, or start over with --fresh."
                )
            self.spent[name] += cost_of(line)
            self._attempts[name, id_] = attempt(self._briefs[id_], reply)
            self.replies[name, id_] = reply

    def left(self, attacker: str) -> list[Brief]:
        """Return the briefs that an attacker has not answered."""
        return [brief for brief in self._briefs.values() if (attacker, brief.id) not in self._attempts]

    def of(self, attacker: str) -> list[Attempt]:
        """Return an attacker's attempts, in the order of the briefs.

        Raises:
            BadRequestError: it has not answered them all.
        """
        if left := self.left(attacker):
            raise BadRequestError(
                f"Expected a reply of {attacker!r} to each of {len(self._briefs)} briefs in {str(self._log.path)!r}, and it lacks {len(left)} of them, "
                f"{left[0].id} first; run the same eval.cross_play again, which asks for them."
            )
        return [self._attempts[attacker, brief] for brief in self._briefs]

    def append(self, attacker: str, replies: Sequence[tuple[Brief, Reply]]) -> None:
        """Judge replies to briefs and store them; they are on the disk when this returns.

        Raises:
            DiskFullError: there is no room; `stored` says whether these are stored all the same.
        """
        attempts = [attempt(brief, reply.text) for brief, reply in replies]
        lines = zip(attempts, replies, strict=True)
        self._log.append(_line(attacker, attempted, reply) for attempted, (_, reply) in lines)
        self._attempts |= {(attacker, attempted.brief.id): attempted for attempted in attempts}
        self.replies |= {(attacker, brief.id): reply.text for brief, reply in replies}


def _line(attacker: str, attempted: Attempt, reply: Reply) -> Row:
    scenario, brief = attempted.scenario, attempted.brief
    return {
        "attacker": attacker,
        "id": brief.id,
        "task": brief.task,
        "seed": brief.seed,
        "asked": brief.asked,
        "reply": reply.text,
        "fault": reply.fault,
        "refusal": attempted.refusal,
        "play": attempted.admission.play if attempted.admission else "",
        "truth": scenario.truth.action if scenario else None,
        "usage": reply.usage,
    }
