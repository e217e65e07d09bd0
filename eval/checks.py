"""The audit's checks of single incidents and of many: each yields `Check`s, with what offends where one fails.

The oracle earns the maximum and the label can be told from what is seen (`oracle`, `identifiable`); constants and exploiters stay under
the floor (`players`); every event type and alert title comes under every action (`coverage`); the gate would admit what the generator
makes (`refusals`); every incident has a flip and survives the edits that change nothing, hostile text too (`flips`, `invariances`,
`injections`); a fresh process makes the same bytes (`bytes`).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any, cast

from eval.pairs import flip
from generator.incidents import Case, generate
from generator.injection import inject
from generator.invariances import harmless_twins
from rubric import TABLES, RewardTable, TableName, reward_of, score_defender
from scenario import Scenario, label
from schema import EVENT_TYPES, LABELS, TASKS, Label, Task, Triage
from tasks.alerts import TITLES
from tasks.registry import SPLITS, Split
from telemetry.scoring import wilson
from verifier.decision import compute_ground_truth, judge_observation
from verifier.plausibility import check_plausibility
from verifier.truth import GroundTruth

MAXIMUM = 1.1
FLOORS: dict[TableName, float] = {
    "standard": 0.3,
    "hardened": 0.1,
}  # mean rewards that no player without a plan reaches
ADMITTED = 2000  # of so many incidents the gate may refuse one
DIGESTED = 8
NOT_RUN = "not run"  # begins the figure of a check that needs what is not installed


@dataclass(frozen=True, slots=True)
class Item:
    """One incident of the audit, with what the defender sees and the ground truth."""

    split: Split
    task: Task
    case: Case
    observation: dict[str, Any]
    truth: GroundTruth


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check of one task and split (or of all): its figure in words, and what offends (empty if it holds)."""

    name: str
    task: str
    figure: str
    offending: str = ""
    split: str = "train"


Source = Callable[[Task, int, Label, Split], Item]


def fresh_item(task: Task, index: int, label: Label, split: Split = "train") -> Item:
    """Generate an incident that aims at a decision."""
    case = generate(task, index, split=split, label=label)
    truth = compute_ground_truth(case.incident, case.world)
    return Item(split, task, case, Scenario(case).view(), truth)


# ---------------------------------------------------------------- the right answer
def oracle(items: Sequence[Item]) -> Iterator[Check]:
    """Check that the answer judged from the observation alone earns the maximum on every item under both tables."""
    truths = [judge_observation(item.observation) for item in items]
    differing = [
        index
        for index, (item, truth) in enumerate(zip(items, truths, strict=True))
        if (truth.action, truth.evidence_log_ids) != (item.truth.action, item.truth.evidence_log_ids)
    ]
    yield _shared("identifiable", items, differing)
    for table, figures in TABLES.items():
        rewards = [
            reward_of(score_defender(_answer(truth.action, truth.evidence_log_ids[0]), item.truth, figures))
            for item, truth in zip(items, truths, strict=True)
        ]
        poor = [index for index, reward in enumerate(rewards) if reward < MAXIMUM]
        yield _shared(f"oracle {table}", items, poor)


def _shared(name: str, items: Sequence[Item], bad: Sequence[int]) -> Check:
    """Return a check that holds on all items, or names the first on which it does not."""
    first, figure = items[0], f"{len(items) - len(bad)} of {len(items)}"
    offending = f"{first.split} {first.task} index {bad[0]}" if bad else ""
    return Check(name, first.task, figure, offending, first.split)


def _answer(action: str, cited: str) -> Triage:
    return Triage(action=cast(Label, action), cited_log_id=cited, rationale="by the playbook")


# ---------------------------------------------------------------- players without a plan
def _by_severity(item: Item) -> Label:
    return {"low": "dismiss", "medium": "monitor"}.get(item.observation["alert"]["severity"], "escalate")  # type: ignore[return-value]


def _by_text(item: Item) -> Label:
    """Answer the gravest action that any text in the observation names, `escalate` if none names one."""
    text = json.dumps([item.observation["alert"], item.observation["log_window"]]).replace("-", "_")
    return next((label for label in LABELS[::-1] if label in text), "escalate")


def _at_random(item: Item) -> Label:
    return Random(json.dumps(item.case.lines)).choice(LABELS)


def _by_tickets(item: Item) -> Label:
    approved = any(ticket["status"] == "approved" for ticket in item.observation["context"]["tickets"])
    return "dismiss" if approved else "escalate"


PLAYERS: dict[str, Callable[[Item], Label | None]] = {
    **{f"always {label}": (lambda item, label=label: label) for label in LABELS},  # type: ignore[misc]
    "malformed on purpose": lambda item: None,
    "at random": _at_random,
    "by the alert's severity": _by_severity,
    "as the text says": _by_text,
    "by an approved ticket": _by_tickets,
}


def players(items: Sequence[Item]) -> Iterator[Check]:
    """Check that constants and exploiters, citing the alert's line, earn less than the floor under both tables."""
    for table, floor in FLOORS.items():
        means = {name: _mean_reward(TABLES[table], items, player) for name, player in PLAYERS.items()}
        best = max(means, key=lambda name: means[name])
        offending = f"player {best!r} earns {means[best]:.3f}, the floor is {floor}" if means[best] >= floor else ""
        yield Check(f"players {table}", items[0].task, f"{means[best]:.3f} ({best})", offending, items[0].split)


def _mean_reward(table: RewardTable, items: Sequence[Item], player: Callable[[Item], Label | None]) -> float:
    total = 0.0
    for item in items:
        action = player(item)
        answer = None if action is None else _answer(action, item.observation["alert"]["log_id"])
        total += reward_of(score_defender(answer, item.truth, table))
    return total / len(items)


# ---------------------------------------------------------------- what comes under which action
Counts = Counter[tuple[str, str, str]]


def met(items: Iterable[Item]) -> Counts:
    """Count how often each event type and each alert title comes under each action."""
    counts: Counts = Counter()
    for item in items:
        counts["title", item.observation["alert"]["title"], item.truth.action] += 1
        for event_type in {line["event_type"] for line in item.observation["log_window"]}:
            counts["event_type", event_type, item.truth.action] += 1
    return counts


def coverage(counts: Counts) -> Iterator[Check]:
    """Check that every event type and every title occurs under every action."""
    for kind, path, names in (
        ("event_type", "log_window.event_type", EVENT_TYPES),
        ("title", "alert.title", TITLES),
    ):
        values = {value for what, value, _ in counts if what == kind} | set(names)
        missing = [(value, label) for value in sorted(values) for label in LABELS if not counts[kind, value, label]]
        offending = f"{path} {missing[0][0]!r} never comes under {missing[0][1]}" if missing else ""
        rarest = min(counts[kind, value, label] for value in values for label in LABELS)
        yield Check(f"coverage {kind}", "all", f"{len(values)} under 5 actions, the rarest {rarest} times", offending)


# ---------------------------------------------------------------- what the gate says
def refused(items: Sequence[Item]) -> Counts:
    """Count the incidents, and those that the admission gate would refuse, each by its first reason."""
    counts: Counts = Counter({("judged", "", ""): len(items)})
    for index, item in enumerate(items):
        if reasons := check_plausibility(item.case.incident, item.case.world):
            counts["refused", reasons[0], f"{item.split} {item.task} index {index}"] += 1
    return counts


def refusals(counts: Counts, *, strict: bool) -> Check:
    """Check that the gate would refuse at most one in `ADMITTED` of what the generator makes; the rate's lower end where not strict."""
    judged = counts["judged", "", ""]
    reasons = [(reason, where) for what, reason, where in sorted(counts) if what == "refused"]
    reached = len(reasons) / judged if strict else wilson(len(reasons), judged)[0]
    offending = f"{reasons[0][1]}: {reasons[0][0]}" if reached > 1 / ADMITTED else ""
    return Check("refusals", "all", f"{len(reasons)} of {judged}", offending, "all")


# ---------------------------------------------------------------- twins
def twins(items: Sequence[Item]) -> Iterator[Check]:
    """Check that each incident has a flip, and that no harmless edit and no hostile text changes a decision."""
    unflipped, moved, swayed, edits = [], [], [], 0
    for index, item in enumerate(items):
        rng = Random(index)
        if flip(item.case, rng) is None:
            unflipped.append(index)
        for twin in harmless_twins(item.case, rng):
            edits += 1
            if label(twin.case) != item.truth.action:
                moved.append((index, twin.edit))
        poisoned = inject(item.case, rng, truth=item.truth.action)
        if {label(poisoned.clean), label(poisoned.poisoned)} != {item.truth.action}:
            swayed.append((index, poisoned.place))
    yield _shared("flips", items, unflipped)
    split, task = items[0].split, items[0].task
    for name, tries, bad in (("invariances", edits, moved), ("injections", len(items), swayed)):
        offending = f"{bad[0][1]} on {split} {task} index {bad[0][0]}" if bad else ""
        yield Check(name, task, f"{tries - len(bad)} of {tries}", offending, split)


# ---------------------------------------------------------------- same seed, same bytes
def digest() -> str:
    """Hash the first incidents of every task and split, as a defender sees them."""
    digested = hashlib.sha256()
    for split, task in product(SPLITS, TASKS):
        for index in range(DIGESTED):
            case = generate(task, index, split=split)
            digested.update(json.dumps(Scenario(case).view()).encode())
    return digested.hexdigest()


def same_bytes() -> Check:
    """Check that a new process with another hash seed makes the same bytes."""
    code = "from eval.checks import digest; print(digest())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    here = digest()
    offending = "" if run.stdout.strip() == here else f"{here[:12]} here and {run.stdout.strip()[:12]} there"
    return Check("bytes", "all", here[:12], offending, "all")
