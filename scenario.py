"""Keep what an episode needs of an incident: what the defender sees of it and its ground truth, each made once, when somebody asks.

A group of answers plays one incident many times. `recall` remembers the last incidents of this process, so the group pays for one
generation, one view and one truth; whoever plays gets a copy of the view that he may change.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

from generator.incidents import Case, generate
from schema import Task
from tasks.alerts import alert_on
from tasks.registry import Split
from verifier.decision import judge_rows
from verifier.playbook import defender_instructions, playbook_for
from verifier.truth import GroundTruth
from world import World

OBSERVED = ("alert", "log_window", "context")  # the parts of a defender's observation that no other part implies
JUDGED = ("action", "evidence_log_ids", "techniques", "rule_ids")  # what of a ground truth an item holds
REMEMBERED = (
    8  # incidents; more of them cost a fresh episode time, as its objects lie in memory that is no longer at hand
)


class Scenario:
    """What an episode plays: an incident in its world, what the defender sees of it, and its ground truth."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.log_ids = frozenset([line["log_id"] for line in case.lines])

    @property
    def world(self) -> World:
        """The world in which the incident happened."""
        return self.case.world

    @cached_property
    def truth(self) -> GroundTruth:
        """Judge the incident."""
        return judge_rows(self.case.lines, self.case.world)

    @cached_property
    def _touched(self) -> World:
        return self.case.world.touched_by(self.case.lines)

    @cached_property
    def _playbook(self) -> str:
        return playbook_for(self.case.lines)

    def view(self) -> dict[str, Any]:
        """Show the incident to a defender: the fields of its observation that hold anything. What he changes in it is his own."""
        lines = [{**line, "fields": line["fields"].copy()} for line in self.case.lines]
        alerted = next(line for line in lines if line["log_id"] == self.case.world.alerted)
        return {
            "instructions": defender_instructions(),
            "alert": alert_on(alerted["event_type"], alerted["log_id"], self.case.narrative),
            "log_window": lines,
            "context": self._touched.to_context(),
            "playbook": self._playbook,
        }


@lru_cache(maxsize=REMEMBERED)
def recall(task: Task, seed: int, split: Split, salt: str) -> Scenario:
    """Return the scenario of a seed, whose incident is generated if it is not among the last ones. Safe from several threads."""
    return Scenario(generate(task, seed, split=split, salt=salt))


def item_of(case: Case) -> dict[str, Any]:
    """Return the item of a generated incident: family, and observation and ground truth as the frozen sets hold them, plain data."""
    scenario = Scenario(case)
    view, truth = scenario.view(), scenario.truth.to_dict()
    return {
        "family": case.family,
        "observation": {name: view[name] for name in OBSERVED},
        "ground_truth": {name: truth[name] for name in JUDGED},
    }
