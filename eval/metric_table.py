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
    """

    name: str
    label: str
    better: Literal["more", "less"]
    unit: Unit
    places: tuple[Place, ...]


METRICS = (
    MetricRow("accuracy", "accuracy", "more", "share", ("run", "board", "page", "card", "demo", "training")),
    MetricRow("macro_f1", "macro-F1", "more", "share", ("run", "board", "page", "card", "demo", "training")),
    MetricRow(
        "dismiss_on_malicious", "dismiss on malicious", "less", "share", ("run", "board", "page", "card", "demo")
    ),
    MetricRow("over_reaction", "over-reaction", "less", "share", ("run", "board", "page", "card", "demo")),
    MetricRow("unnecessary_escalation", "unnecessary escalation", "less", "share", ("run", "board", "page")),
    MetricRow("detection", "detection", "more", "share", ("run", "board")),
    MetricRow("false_alarm", "false alarm", "less", "share", ("run", "board")),
    MetricRow("format_ok", "format OK", "more", "share", ("run", "board", "page", "card", "training")),
    MetricRow("citation_precision", "citation precision", "more", "share", ("board",)),
    MetricRow("citation_recall", "citation recall", "more", "share", ("run", "board", "page", "card", "training")),
    MetricRow("mean_reward", "mean reward", "more", "reward", ("run", "board", "page", "card", "demo", "training")),
    MetricRow("expected_cost_10_to_1", "cost at 10:1", "less", "cost", ("run", "board", "page")),
    MetricRow("expected_cost_100_to_1", "cost at 100:1", "less", "cost", ("board",)),
    MetricRow("ppv_at_13", "true share of alarms at 13 %", "more", "share", ("board",)),
    MetricRow("ppv_at_1", "true share of alarms at 1 %", "more", "share", ("board",)),
    MetricRow("brier", "Brier score", "less", "score", ("board",)),
    MetricRow("ece", "calibration error", "less", "score", ("run", "board", "card")),
    MetricRow("chain_given", "answers with a chain", "more", "share", ("board", "chain")),
    MetricRow("chain_right", "whole chains right", "more", "share", ("run", "board", "card", "training", "chain")),
    *(
        MetricRow(
            f"step_{step}",
            f"{step} right",
            "more",
            "share",
            ("run", "board", "training", "chain") if step == "rules" else ("board", "chain"),
        )
        for step in STEPS
    ),
    MetricRow("rung_right", "rungs right", "more", "share", ("board", "chain")),
    MetricRow("faithful", "actions that follow", "more", "share", ("run", "board", "card", "chain")),
    MetricRow("pair_accuracy", "pair accuracy", "more", "share", ("run", "board")),
    MetricRow("invariance", "invariance", "more", "share", ("run", "board")),
    MetricRow("injection_flip_rate", "injection flip rate", "less", "share", ("run", "board")),
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
    return "-" if metric["value"] is None else f"{metric['value']:.3f}"


def interval_text(metric: Mapping[str, Any], missing: str = "") -> str:
    """Render a measured metric's 95 % interval, `missing` if there is none."""
    return missing if metric["low"] is None else f"{metric['low']:.3f} to {metric['high']:.3f}"
