"""The attempts of a cross-play, in a file of what each attacker replied to each brief.

What stands in the file is read, admitted and judged anew whenever it is opened: nothing that it says of a reply is believed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from players.attackers.attempts import Attempt, attempt
from players.attackers.base import Brief
from players.base import Reply
from runs.files import JsonLines
from schema import Row

ATTEMPTS, RESULT, DEFENDERS = "attempts.jsonl", "cross_play.json", "defenders"  # of a cross-play's directory
KEYS = ("attacker", "id", "reply")  # of every line


class AttemptStore:
    """The attempts of a cross-play whose directory is open, by attacker and brief; a last line that a kill tore is dropped."""

    def __init__(self, log: JsonLines, briefs: Sequence[Brief]) -> None:
        self._log = log
        self._briefs = {brief.id: brief for brief in briefs}
        self._attempts: dict[tuple[str, str], Attempt] = {}
        self.spent: dict[str, float] = defaultdict(float)  # USD, by attacker
        log.cut()
        for line in log.read():
            self.spent[line["attacker"]] += (line.get("usage") or {}).get("cost") or 0.0
            self._attempts[line["attacker"], line["id"]] = attempt(self._briefs[line["id"]], line["reply"])

    def left(self, attacker: str) -> list[Brief]:
        """Return the briefs that an attacker has not answered."""
        return [brief for brief in self._briefs.values() if (attacker, brief.id) not in self._attempts]

    def of(self, attacker: str) -> list[Attempt]:
        """Return an attacker's attempts, in the order of the briefs."""
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
