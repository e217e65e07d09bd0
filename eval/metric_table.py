"""The metrics that people are shown, a row each: what every printout, board, page, card and progress line takes its columns from.

To add a metric, compute it in `eval.metrics` and give it a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Place = Literal["run", "board", "page", "card", "demo", "training", "chain"]
Unit = Literal["share", "reward", "cost", "score"]
# The steps of a reason in the order in which they are written, each with the fields of `players.reasons.Reason` that it says.
STEPS: Mapping[str, tuple[str, ...]] = {
    "rules": ("rule_id",),
    "lines": ("lines",),
    "strengths": ("strength",),
    "scopes": ("scope", "harm"),
    "entities": ("hosts", "accounts"),
    "means": ("tool", "remote"),
    "explanations": ("explanation",),
}
# Where an answer goes wrong first: a step of a reason, a reason too few or too many, no end, the rung, the cited line, the action.
FIRST_WRONG = (*STEPS, "missing", "extra", "unfinished", "rung", "citation", "action")


@dataclass(frozen=True, slots=True)
class MetricRow:
    """How a metric is shown.

    Args:
        name: its key in `eval.metrics.measure`.
        label: what a person reads.
        better: whether more or less of it is better.
        unit: a share in [0, 1], a mean reward, a mean cost, or a score that is none of these.
        places: where it is shown: printed after a run, on the leaderboard, on the report's page, on the model card, in the demo, while training.
        meaning: what it says, in a sentence for somebody who has not seen it before.
    """

    name: str
    label: str
    better: Literal["more", "less"]
    unit: Unit
    places: tuple[Place, ...]
    meaning: str


METRICS = (
    MetricRow(
        "accuracy",
        "accuracy",
        "more",
        "share",
        ("run", "board", "page", "card", "demo", "training"),
        "Share of all answers that name the right action.",
    ),
    MetricRow(
        "macro_f1",
        "macro-F1",
        "more",
        "share",
        ("run", "board", "page", "card", "demo", "training"),
        "How well the five actions are told apart: F1 of each action, averaged, so that a rare action counts as much as a common one. 1 is perfect.",
    ),
    MetricRow(
        "dismiss_on_malicious",
        "dismiss on malicious",
        "less",
        "share",
        ("run", "board", "page", "card", "demo"),
        "Of the incidents that must not be dismissed, the share that was dismissed: attacks that go unseen.",
    ),
    MetricRow(
        "over_reaction",
        "over-reaction",
        "less",
        "share",
        ("run", "board", "page", "card", "demo"),
        "Of the harmless incidents, the share that led to a quarantine or a block: somebody's work stops for nothing.",
    ),
    MetricRow(
        "unnecessary_escalation",
        "unnecessary escalation",
        "less",
        "share",
        ("run", "board", "page"),
        "Of the incidents that need no escalation, the share that was escalated: the responders are called for nothing.",
    ),
    MetricRow(
        "detection",
        "detection",
        "more",
        "share",
        ("run", "board"),
        "Of the incidents that must not be dismissed, the share that got another readable answer than dismiss.",
    ),
    MetricRow(
        "false_alarm",
        "false alarm",
        "less",
        "share",
        ("run", "board"),
        "Of the harmless incidents, the share that was not dismissed.",
    ),
    MetricRow(
        "format_ok",
        "format OK",
        "more",
        "share",
        ("run", "board", "page", "card", "training"),
        "Share of the answers that can be read: an object with a known action that cites a line of the incident.",
    ),
    MetricRow(
        "citation_precision",
        "citation precision",
        "more",
        "share",
        ("board",),
        "Of the readable answers, the share that cites a line of the evidence.",
    ),
    MetricRow(
        "citation_recall",
        "citation recall",
        "more",
        "share",
        ("run", "board", "page", "card", "training"),
        "Share of all incidents in which the answer cites a line of the evidence.",
    ),
    MetricRow(
        "mean_reward",
        "mean reward",
        "more",
        "reward",
        ("run", "board", "page", "card", "demo", "training"),
        "What an answer earns on average, by the run's reward table. The table called standard gives +1.1 at best and -1 for a dismissed attack.",
    ),
    MetricRow(
        "expected_cost_10_to_1",
        "cost at 10:1",
        "less",
        "cost",
        ("run", "board", "page"),
        "Mean cost of an incident if a missed attack costs as much as 10 false alarms, and a false alarm costs 1.",
    ),
    MetricRow(
        "expected_cost_100_to_1",
        "cost at 100:1",
        "less",
        "cost",
        ("board",),
        "Mean cost of an incident if a missed attack costs as much as 100 false alarms, and a false alarm costs 1.",
    ),
    MetricRow(
        "ppv_at_13",
        "true share of alarms at 13 %",
        "more",
        "share",
        ("board",),
        "Of the alarms that this defender raises, the share that is true if 13 % of what comes in is malicious.",
    ),
    MetricRow(
        "ppv_at_1",
        "true share of alarms at 1 %",
        "more",
        "share",
        ("board",),
        "Of the alarms that this defender raises, the share that is true if 1 % of what comes in is malicious.",
    ),
    MetricRow(
        "brier",
        "Brier score",
        "less",
        "score",
        ("board",),
        "Mean squared distance between the stated confidence and what came of it (1 for right, 0 for wrong).",
    ),
    MetricRow(
        "ece",
        "calibration error",
        "less",
        "score",
        ("run", "board", "card"),
        "How far the stated confidence lies from the share that is right, on average over ten steps of confidence.",
    ),
    MetricRow(
        "chain_given",
        "answers with a chain",
        "more",
        "share",
        ("board", "chain"),
        "Share of the answers that give their reasons as a chain: findings in a row, and what follows from them.",
    ),
    MetricRow(
        "chain_right",
        "whole chains right",
        "more",
        "share",
        ("run", "board", "card", "training", "chain"),
        "Of the chains, the share that is the verifier's from first to last.",
    ),
    *(
        MetricRow(
            f"step_{step}",
            f"{step} right",
            "more",
            "share",
            ("run", "board", "training", "chain") if step == "rules" else ("board", "chain"),
            f"Of the reasons in chains, the share whose {step} are the verifier's.",
        )
        for step in STEPS
    ),
    MetricRow(
        "rung_right",
        "rungs right",
        "more",
        "share",
        ("board", "chain"),
        "Of the chains, the share that ends on the right rung of the ladder from findings to actions.",
    ),
    MetricRow(
        "faithful",
        "actions that follow",
        "more",
        "share",
        ("run", "board", "card", "chain"),
        "Of the chains, the share whose action follows from them, whether they are right or wrong.",
    ),
    MetricRow(
        "pair_accuracy",
        "pair accuracy",
        "more",
        "share",
        ("run", "board"),
        "Of the pairs that differ by one decisive fact, the share with both sides right.",
    ),
    MetricRow(
        "invariance",
        "invariance",
        "more",
        "share",
        ("run", "board"),
        "Of the pairs that differ by something without meaning, the share with the same answer.",
    ),
    MetricRow(
        "injection_flip_rate",
        "injection flip rate",
        "less",
        "share",
        ("run", "board"),
        "Of the incidents with hostile text put into a field, the share whose answer the text changes.",
    ),
)
BY_NAME = {row.name: row for row in METRICS}
RANKING = "macro_f1"  # defenders are listed by it, the highest first


def shown_in(place: Place) -> tuple[MetricRow, ...]:
    """Return the metrics of a place, in the order in which they are shown."""
    return tuple(row for row in METRICS if place in row.places)


def names_in(place: Place) -> tuple[str, ...]:
    """Return the names of the metrics of a place, in the order in which they are shown."""
    return tuple(row.name for row in shown_in(place))


def value_text(metric: Mapping[str, Any]) -> str:
    """Render a measured metric's value to three digits, `-` if there is none."""
    return "-" if metric["value"] is None else f"{metric['value']:z.3f}"


def interval_text(metric: Mapping[str, Any], missing: str = "") -> str:
    """Render a measured metric's 95 % interval, `missing` if there is none."""
    return missing if metric["low"] is None else f"{metric['low']:z.3f} to {metric['high']:z.3f}"
