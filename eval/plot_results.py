"""Draw the figures of runs: python -m eval.plot_results RUN [RUN ...] --out DIR [--audit FILE]

Each picture is saved as PNG with its data as CSV. Those that the runs hold nothing for are named with the reason. Figures are measured anew from
the rollouts, so they cannot differ from them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval.bounds import FIELD_MARGIN, MAJORITY, MAX_F1, PAIR_MARGIN
from eval.charts import Chart, Ink, Panel, cells, dots, panels, save
from eval.intervals import MEASURING, RESAMPLES
from eval.metrics import PREVALENCES, Metric, ppv
from eval.runs import Run, load_runs, shared_set
from runs.ending import refusing
from runs.extras import require
from schema import TASKS, BadRequestError, Row, unread
from tasks.sets import BENCHMARK as TEST_SETS

SHORT = {"quarantine_host": "quarantine", "block_ip": "block"}
RANGE = (0.005, 0.6)  # prevalences that are drawn
TIER = "injection_flip_rate_"


def _row(metric: Metric, **named: Any) -> Row:
    return {**named, **{part: metric[part] for part in ("value", "low", "high", "n")}}


# ---------------------------------------------------------------- on one scale
def dismissed(runs: Sequence[Run], name: str, resamples: int) -> Chart:
    """Chart dismiss-on-malicious by defender."""
    rows = [_row(run.metrics(name, resamples=resamples)["dismiss_on_malicious"], model=run.name) for run in runs]
    title = f"Malicious incidents that were dismissed ({name})"
    axis = "dismissed share of malicious incidents, 95 % Wilson interval; less is better"
    return dots("dismiss_on_malicious", title, axis, rows, alt="Share of malicious incidents dismissed, by defender.")


def _f1_by_split(runs: Sequence[Run], name: str, resamples: int) -> Chart:
    """Chart the macro-F1 of each run on each set that is a split of its own."""
    shared = [part for part in runs[0].sets if all(part in run.sets for run in runs)]
    splits = [part for part in ("holdout", *TEST_SETS) if part in shared] or [name]
    rows = [
        _row(run.metrics(split, resamples=resamples)["macro_f1"], model=run.name, split=split)
        for run in runs
        for split in splits
    ]
    axis = "macro-F1 over five actions, 95 % bootstrap interval over families; more is better"
    return dots(
        "macro_f1_by_split",
        "Macro-F1 by split",
        axis,
        rows,
        series="split",
        percent=False,
        alt="Macro-F1 by defender and split.",
    )


def reward_by_stage(runs: Sequence[Run], name: str, resamples: int) -> Chart:
    """Chart the mean reward at each stage of the curriculum."""
    rows = []
    for run in runs:
        by_task = run.metrics(name, resamples=resamples)["by_task"]
        order = [task for task in TASKS if task in by_task]
        rows += [_row(by_task[task]["mean_reward"], model=run.name, stage=task) for task in order]
    tables = sorted({run.info.reward_table for run in runs})
    axis = f"mean reward (table {', '.join(tables)}), 95 % bootstrap interval over families"
    title = f"Reward across the curriculum ({name})"
    alt = "Mean reward by defender and stage."
    missing = f"{name} has none of the four stages"
    return dots(
        "reward_by_stage",
        title,
        axis,
        rows,
        series="stage",
        percent=False,
        limits=(-1.0, 1.1),
        alt=alt,
        missing=missing,
    )


def injections(runs: Sequence[Run], resamples: int) -> Chart:
    """Chart the injection flip rate by tier, of runs that have the set of twins."""
    rows = []
    for run in runs:
        if "injection" in run.sets:
            metrics = run.metrics("injection", resamples=resamples)
            tiers = [key for key in metrics if key.startswith(TIER)]
            rows += [_row(metrics[key], model=run.name, tier=key.removeprefix(TIER)) for key in tiers]
    axis = "share of answers that hostile text changes, 95 % Wilson interval; less is better"
    missing = "no run has the set injection with a well-formed answer"
    title, alt = "Answers that injected text changes", "Injection flip rate by defender and tier."
    return dots("injection_flips", title, axis, rows, series="tier", alt=alt, missing=missing)


_FIGURE = re.compile(r"(\d\.\d+) \[(\d\.\d+), (\d\.\d+)\]")


def shortcuts(audit: Mapping[str, Any]) -> Chart:
    """Chart what simple learners reach on families that they never saw, from the audit's JSON."""
    probes = {
        "fields": ("best field, accuracy", MAJORITY + FIELD_MARGIN),
        "pairs": ("best pair, accuracy", MAJORITY + PAIR_MARGIN),
        "words": ("bag of words, macro-F1", MAX_F1),
        "trees": ("boosted trees, macro-F1", MAX_F1),
        "relations": ("relations, macro-F1", MAX_F1),
        "lines alone": ("lines alone, macro-F1", MAX_F1),
        "context alone": ("context alone, macro-F1", MAX_F1),
    }
    rows, bounds = [], {}
    for check in audit.get("checks", []):
        drawn = check["name"] in probes and check.get("split", "train") == "train"
        match = _FIGURE.match(check["figure"]) if drawn else None
        if match:
            probe, bound = probes[check["name"]]
            value, low, high = map(float, match.groups())
            rows.append(
                {"stage": check["task"], "probe": probe, "value": value, "low": low, "high": high, "bound": bound}
            )
            bounds[probe] = bound
    rows.sort(key=lambda row: (row["stage"], list(bounds).index(row["probe"])))
    axis = "reached without understanding, on families never seen; dashed: bounds of stages 2 to 4; chance 0.20"
    missing = "the audit's file holds no probes"
    title, alt = "What shortcuts reach", "Accuracy and macro-F1 of simple learners by stage, with the audit's bounds."
    return dots(
        "shortcuts",
        title,
        axis,
        rows,
        series="probe",
        percent=False,
        limits=(0.0, 0.6),
        bounds=bounds,
        alt=alt,
        missing=missing,
    )


# ---------------------------------------------------------------- a small picture each
def _confusions(runs: Sequence[Run], name: str, resamples: int) -> Chart:
    """Chart the confusion table of each defender, as shares of the true action."""
    rows: list[Row] = []
    pictures: dict[str, Panel] = {}
    for run in runs:
        table = run.metrics(name, resamples=resamples)["confusion"]
        for truth, counts in zip(table["truth"], table["counts"], strict=True):
            rows += [
                {"model": run.name, "truth": truth, "answer": answer, "count": count}
                for answer, count in zip(table["answers"], counts, strict=True)
            ]
        pictures[run.name] = partial(_confusion, table)
    title, alt = f"Confusion ({name})", "Confusion tables by defender: share of each true action that got each answer."
    across = "answer; cells are percent of the true action"
    return panels("confusion", title, rows, pictures, alt=alt, across=across, up="true action", size=2.9)


def _confusion(table: Mapping[str, Any], axes: Any, ink: Ink) -> None:
    import numpy as np

    counts = np.array(table["counts"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = [[f"{share * 100:.0f}" if share else "" for share in row] for row in shares]
    answers, truths = ([SHORT.get(name, name) for name in table[side]] for side in ("answers", "truth"))
    cells(axes, ink, shares, texts, across=answers, up=truths)


def _calibrations(runs: Sequence[Run], name: str, resamples: int) -> Chart:
    """Chart how often each defender is right at each stated confidence."""
    measured = {run.name: run.metrics(name, resamples=resamples) for run in runs}
    parts = {
        of: (metrics["calibration"], metrics["ece"]["value"])
        for of, metrics in measured.items()
        if metrics["calibration"]
    }
    return calibration_chart("calibration", f"Calibration ({name})", parts, by="model", whose="defender")


def calibration_chart(
    file: str, title: str, parts: Mapping[str, tuple[Sequence[Row], float]], *, by: str, whose: str = ""
) -> Chart:
    """Chart how often answers are right at each stated confidence.

    Args:
        file: its name, without an ending.
        title: above it.
        parts: by the name of a panel the bins of stated confidence, and the calibration error.
        by: the column of the names in the data.
        whose: what a panel is of, in words; as `by` if it is left out.
    """
    rows = [{by: name, **row} for name, (bins, _) in parts.items() for row in bins]
    pictures: dict[str, Panel] = {name: partial(_reliability, *part) for name, part in parts.items()}
    alt, missing = f"Accuracy against stated confidence, by {whose or by}.", "no answer states a confidence"
    across, up = "stated confidence", "share right, 95 % Wilson"
    return panels(file, title, rows, pictures, alt=alt, across=across, up=up, missing=missing)


def _reliability(bins: Sequence[Row], ece: float, axes: Any, ink: Ink) -> None:
    """Draw the share of right answers in each bin of stated confidence, with the line on which a calibrated defender lies."""
    axes.plot([0, 1], [0, 1], color=ink.text, linestyle=(0, (4, 3)), linewidth=1)
    for part in bins:
        axes.plot(
            [part["confidence"]] * 2, [part["accuracy_low"], part["accuracy_high"]], color=ink.series[0], linewidth=1.8
        )
    at = [part["confidence"] for part in bins]
    axes.plot(at, [part["accuracy"] for part in bins], marker="o", color=ink.series[0], linewidth=1, clip_on=False)
    axes.text(0.04, 0.92, f"ECE {ece:.2f}", transform=axes.transAxes, fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.grid()


def _predictive_values(runs: Sequence[Run], name: str, resamples: int) -> Chart:
    """Chart the share of true alarms at any prevalence, with the four that are reported."""
    rows: list[Row] = []
    pictures: dict[str, Panel] = {}
    for run in runs:
        metrics = run.metrics(name, resamples=resamples)
        points = [
            _row(metrics[f"ppv_at_{percent}"], model=run.name, prevalence=percent / 100) for percent in PREVALENCES
        ]
        rows += points
        detection, false_alarm = metrics["detection"]["value"], metrics["false_alarm"]["value"]
        reason = metrics[f"ppv_at_{PREVALENCES[0]}"].get("reason", "")
        pictures[run.name] = partial(_predictive, points, detection, false_alarm, reason)
    title = f"How many alarms are true, by prevalence ({name})"
    alt = "Positive predictive value against the share of malicious alerts, by defender."
    across, up = "malicious share of incoming alerts, %", "true share of alarms, 95 %"
    return panels("ppv", title, rows, pictures, alt=alt, across=across, up=up, size=2.3)


def _predictive(
    points: Sequence[Row], detection: float | None, false_alarm: float | None, reason: str, axes: Any, ink: Ink
) -> None:
    import numpy as np

    axes.set_xscale("log")
    axes.set_xlim(*RANGE)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks([percent / 100 for percent in PREVALENCES], [f"{percent}" for percent in PREVALENCES], fontsize=9)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid()
    if reason or detection is None or false_alarm is None:
        axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", fontsize=9, style="italic")
        return
    at = np.geomspace(*RANGE, 60)
    axes.plot(at, [ppv(detection, false_alarm, share) for share in at], color=ink.series[0], linewidth=1.4)
    for point in points:
        axes.plot([point["prevalence"]] * 2, [point["low"], point["high"]], color=ink.series[0], linewidth=1.8)
    axes.plot(
        [point["prevalence"] for point in points],
        [point["value"] for point in points],
        linestyle="none",
        marker="o",
        markersize=5,
        color=ink.series[0],
        clip_on=False,
    )


# ---------------------------------------------------------------- all of them
def charts(
    runs: Sequence[Run], name: str | None = None, *, audit: Mapping[str, Any] | None = None, resamples: int = RESAMPLES
) -> list[Chart]:
    """Chart runs in every way, in the order in which a report shows the pictures.

    Args:
        runs: complete runs over the same set.
        name: the set; None takes `benchmark` if all runs have it, else the first that all have.
        audit: what `python -m eval.audit --json` printed.
        resamples: of the bootstrap.

    Raises:
        BadRequestError: the runs share no such set.
    """
    chosen = shared_set(runs, name)
    pictures = [
        *(
            make(runs, chosen, resamples)
            for make in (dismissed, _f1_by_split, _confusions, reward_by_stage, _calibrations, _predictive_values)
        ),
        injections(runs, resamples),
    ]
    return [*pictures, shortcuts(audit)] if audit is not None else pictures


def read_audit(path: Path) -> dict[str, Any]:
    """Read what `python -m eval.audit --json` printed into a file.

    Raises:
        BadRequestError: it is no such file.
    """
    try:
        audit = json.loads(path.read_text("utf-8"))
        if isinstance(audit["checks"], list):
            return dict(audit)
        raise TypeError("checks are no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequestError(
            f"Expected the output of python -m eval.audit --json in {str(path)!r}, and got {unread(error)}; make it again."
        ) from error


def save_all(pictures: Iterable[Chart], folder: Path) -> list[str]:
    """Save pictures, and return a sentence for each, also for those that have nothing to show."""
    return [
        f"wrote {save(chart, folder)[0]}" if chart.rows else f"left out {chart.name}: {chart.missing}"
        for chart in pictures
    ]


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Draw what the command line names; return 0, or 2 if it cannot be drawn."""
    parser = argparse.ArgumentParser(prog="python -m eval.plot_results", description="Draw the figures of runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories that eval.run wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the PNG and CSV files")
    parser.add_argument("--set", dest="name", help="the set to show (default: benchmark, or the first that all have)")
    parser.add_argument(
        "--audit", type=Path, metavar="FILE", help="what python -m eval.audit --json printed: adds the shortcut chart"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples (default {RESAMPLES})")
    args = parser.parse_args(argv)
    require("eval", *MEASURING, "matplotlib")
    audit = read_audit(args.audit) if args.audit else None
    sentences = save_all(charts(load_runs(args.runs), args.name, audit=audit, resamples=args.resamples), args.out)
    print("\n".join(sentences))
    return 0


if __name__ == "__main__":
    sys.exit(main())
