"""Keep what an episode needs of an incident: what the defender sees of it and its ground truth, each made once, when somebody asks.

A group of answers plays one incident many times. `recall` remembers the last incidents of this process, so the group pays for one
generation, one view and one truth; whoever plays gets a copy of the view that he may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from random import Random
from typing import Any, NamedTuple

from pydantic import ValidationError

from generator.incidents import Case, generate, incident_seed
from schema import Incident, Label, Task, faults
from tasks.alerts import alert_on
from tasks.registry import Split
from verifier.decision import compute_ground_truth, judge_rows
from verifier.plausibility import check_plausibility, signature
from verifier.playbook import defender_instructions, playbook_of_rules, rules_in_play
from verifier.truth import GroundTruth
from world import World

OF_THE_CLAIM = "the category is"  # an edited incident keeps its author's claim, which its events may no longer bear
OBSERVED = ("alert", "log_window", "context")  # the parts of a defender's observation that no other part implies
JUDGED = ("action", "evidence_log_ids", "techniques", "rule_ids")  # what of a ground truth an item holds
REMEMBERED = (
    8  # incidents; more of them cost a fresh episode time, as its objects lie in memory that is no longer at hand
)


class Scenario:
    """What an episode plays: an incident in its world, what the defender sees of it, and its ground truth."""

    def __init__(self, case: Case) -> None:
        self.case = case

    @property
    def log_ids(self) -> frozenset[str]:
        """The ids of the lines, of which an answer cites one."""
        return frozenset([line["log_id"] for line in self.case.lines])

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
    def _set(self) -> int:
        return rules_in_play(self.case.lines)

    def view(self) -> dict[str, Any]:
        """Show the incident to a defender: the fields of its observation that hold anything. What he changes in it is his own."""
        lines = [{**line, "fields": line["fields"].copy()} for line in self.case.lines]
        alerted = next(line for line in lines if line["log_id"] == self.case.world.alerted)
        return {
            "instructions": defender_instructions(),
            "alert": alert_on(alerted["event_type"], alerted["log_id"], self.case.narrative),
            "log_window": lines,
            "context": self._touched.to_context(),
            "playbook": playbook_of_rules(self._set),
        }


@lru_cache(maxsize=REMEMBERED)
def recall(task: Task, seed: int, split: Split, salt: str) -> Scenario:
    """Return the scenario of a seed, whose incident is generated if it is not among the last ones. Safe from several threads."""
    return Scenario(generate(task, seed, split=split, salt=salt))


class Admission(NamedTuple):
    """What became of a written incident: a scenario and its play (`signature`), or why there is none.

    `fault` says what the schema found, `reasons` what the gate found, one sentence each.
    """

    scenario: Scenario | None
    play: str = ""
    fault: str = ""
    reasons: tuple[str, ...] = ()


def admit(
    content: object,
    world: World,
    *,
    task: Task,
    seed: int,
    salt: str = "",
    seen: Mapping[str, int] | None = None,
    gated: bool = True,
) -> Admission:
    """Read what `craft_incident` holds, and ask the gate. The alert fires on a line that chance draws from task, seed and salt.

    Args:
        content: plain data; anything may come.
        world: in which the incident happened; its own alerted line does not count.
        task, seed, salt: of the episode.
        seen: how often each play was admitted before; None where nobody counts.
        gated: whether the gate is asked; without it whatever the schema takes is admitted.
    """
    try:
        incident = Incident.model_validate(content)
    except ValidationError as error:
        return Admission(None, fault=f"The craft_incident is malformed: {faults(error, 'craft_incident')}.")
    # the alert's line first: the gate has to judge the very incident that the defender gets
    events = sorted(incident.events, key=lambda event: event.timestamp)
    chance = Random(incident_seed("alert", task, seed, salt))
    alerting = replace(world, alerted=chance.choice(events).log_id)
    reasons = check_plausibility(incident, alerting, seen=seen) if gated else []
    if reasons:
        return Admission(None, reasons=tuple(reasons))
    lines = rendered(incident)
    scenario = Scenario(Case(lines, alerting, "", incident.target_label, incident.category, incident.narrative))
    return Admission(scenario, signature(incident, scenario.truth))


def rendered(incident: Incident) -> list[dict[str, Any]]:
    """Render an incident's events as rows, with the fields that are set."""
    return [
        {
            "event_type": event.event_type,
            "fields": {name: value for name, value in event.fields.__dict__.items() if value is not None},
            "timestamp": event.timestamp,
            "log_id": event.log_id,
        }
        for event in incident.events
    ]


def item_of(case: Case) -> dict[str, Any]:
    """Return the item of a generated incident: family, and observation and ground truth as the frozen sets hold them, plain data."""
    return {"family": case.family, **judged_item(Scenario(case))}


def judged_item(scenario: Scenario) -> dict[str, Any]:
    """Return observation and ground truth of a scenario as the frozen sets hold them, plain data."""
    view, truth = scenario.view(), scenario.truth.to_dict()
    return {
        "observation": {name: view[name] for name in OBSERVED},
        "ground_truth": {name: truth[name] for name in JUDGED},
    }


def label(case: Case) -> Label:
    """Return the right decision on a case."""
    return compute_ground_truth(case.incident, case.world).action


def is_admissible(case: Case) -> bool:
    """Return whether the gate would admit a twin, its author's claimed category aside."""
    return all(reason.startswith(OF_THE_CLAIM) for reason in check_plausibility(case.incident, case.world))
