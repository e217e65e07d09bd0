"""Read the directories of training runs: learning curves over incidents, and what a run cost.

A directory holds run.json (settings) and log.jsonl (a line a step, and one an evaluation on held-out incidents), as `train.sft` and `train.grpo` of the plain loop
write them, whether the run came to its end or not.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval.charts import MARKERS, Chart, Ink, Panel, panels
from runs.files import JsonLines
from schema import BadRequestError, Row

VALIDATED = "val/"  # before the names of figures on held-out incidents
MEASURES = (
    "accuracy",
    "macro_f1",
    "citation_recall",
    "step_rules",
    "chain_right",
)  # that are drawn where they are logged
LOSS = "loss"
POINTS = 60  # of a loss curve, each a mean over its share of the steps
HOUR_S, MINUTE_S = 3600, 60


def read_training(name: str, path: Path) -> dict[str, Any]:
    """Read a run's curves and its price.

    Returns:
        `name`, `seed`, `command`, `commit`, `device`, `threads`, `incidents`, `seconds` of training, and `curves`: by measure a list of
        (incidents, value), in their order.

    Raises:
        BadRequestError: there is no log of a training run in `path`.
    """
    run, log = _read(path / "run.json"), list(JsonLines(path / "log.jsonl").read())
    steps = [line for line in log if "incidents" in line and "step" in line]
    if not steps:
        raise BadRequestError(
            f"Expected a training run with log.jsonl in {str(path)!r}, and its log has no step; give its directory."
        )
    settings = run.get("settings") or {}
    return {
        "name": name,
        "seed": settings.get("seed", 0),
        "command": run.get("command"),
        "commit": run.get("commit"),
        "device": settings.get("device") or "cpu",
        "threads": settings.get("threads") or 1,
        "incidents": steps[-1]["incidents"],
        "seconds": round(run.get("seconds") or sum(line.get("step_s", 0.0) for line in steps), 1),
        "curves": dict(_curves(log, steps)),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _curves(log: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    at = [line["step"] for line in steps]
    for measure in MEASURES:
        points = [
            (steps[max(0, bisect_right(at, line["step"]) - 1)]["incidents"], line[VALIDATED + measure])
            for line in log
            if line.get(VALIDATED + measure) is not None
        ]
        if points:
            yield measure, points
    losses = [  # a policy's loss says nothing of what it learned
        (line["incidents"], line[LOSS])
        for line in steps
        if math.isfinite(line.get(LOSS, math.nan)) and "reward" not in line
    ]
    if losses:
        yield LOSS, list(_means(losses))


def _means(points: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Yield the last place and the mean value of equal parts of a curve."""
    size = -(-len(points) // POINTS)
    for start in range(0, len(points), size):
        part = points[start : start + size]
        yield part[-1][0], round(sum(value for _, value in part) / len(part), 5)


# ---------------------------------------------------------------- price and picture
def price(training: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run cost: `core_hours` on a CPU, `gpu_minutes` on anything else."""
    if training["device"] == "cpu":
        return {"core_hours": round(training["seconds"] * training["threads"] / HOUR_S, 2), "gpu_minutes": 0.0}
    return {"core_hours": 0.0, "gpu_minutes": round(training["seconds"] / MINUTE_S, 1)}


def learning_curves(trainings: Sequence[Mapping[str, Any]]) -> Chart:
    """Chart every measure over the incidents that were learned from, a line for each run, on a logarithmic scale."""
    rows: list[Row] = [
        {"measure": measure, "run": training["name"], "seed": training["seed"], "incidents": incidents, "value": value}
        for measure in (*MEASURES, LOSS)
        for training in trainings
        for incidents, value in training["curves"].get(measure, ())
    ]
    names = list(dict.fromkeys(training["name"] for training in trainings))
    pictures: dict[str, Panel] = {
        measure: partial(_draw, names, [row for row in rows if row["measure"] == measure])
        for measure in dict.fromkeys(row["measure"] for row in rows)
    }
    return panels(
        "learning_curves",
        "Learning curves",
        rows,
        pictures,
        alt="Figures on held-out incidents against the number of incidents learned from, by run and seed.",
        across="incidents learned from; a line for each seed",
        missing="no training run has a curve",
    )


def _draw(names: Sequence[str], rows: Sequence[Row], axes: Any, ink: Ink) -> None:
    for index, name in enumerate(names):
        for seed in dict.fromkeys(row["seed"] for row in rows if row["run"] == name):
            line = [row for row in rows if (row["run"], row["seed"]) == (name, seed)]
            axes.plot(
                [row["incidents"] for row in line],
                [row["value"] for row in line],
                marker=MARKERS[index % len(MARKERS)],
                markersize=3,
                linewidth=1.2,
                color=ink.series[index % len(ink.series)],
                label=name,
            )
    axes.set_xscale("log")
    axes.xaxis.get_major_locator().set_params(subs=(1, 3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    axes.minorticks_off()
    if rows and rows[0]["measure"] == LOSS:
        axes.set_yscale("log")
    else:
        axes.set_ylim(-0.03, 1.03)
    axes.grid()
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # one entry for all seeds
    axes.legend(drawn.values(), drawn.keys(), fontsize=7)
