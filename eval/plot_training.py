"""Draw a training log: python -m eval.plot_training LOG --out DIR

A log is the `trainer_state.json` of TRL (or the directory that holds it), or JSON lines such as {"step": 3, "reward": 0.2, "kl": 0.01}. Six
measures are drawn where they are logged: reward, accuracy, format-OK, KL, entropy, and the share of groups without any variance in reward.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval.charts import Chart, Ink, Panel, panels, save
from runs.ending import refusing
from runs.extras import require
from schema import BadRequestError, Row, unread

# What is drawn, and the names under which it may be logged, the first that is there counts.
MEASURES: Mapping[str, tuple[str, ...]] = {
    "reward": ("reward", "mean_reward", "eval_reward"),
    "accuracy": ("accuracy", "triage/accuracy", "rewards/accuracy/mean", "rewards/accuracy", "eval_accuracy"),
    "format OK": (
        "format_ok",
        "triage/format_ok",
        "rewards/format_ok/mean",
        "rewards/format/mean",
        "rewards/format_ok",
    ),
    "KL to the start": ("kl", "mean_kl", "objective/kl"),
    "entropy": ("entropy", "mean_entropy", "objective/entropy"),
    "zero-variance groups": ("frac_reward_zero_std", "zero_variance_share"),
}
SHARES = ("accuracy", "format OK", "zero-variance groups")
STATE = "trainer_state.json"
SMOOTHED = 20  # the line is a mean over one in so many of all logged steps


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the logged steps, in their order, each with a whole number as `step`.

    Raises:
        BadRequestError: there is no such file, it is not a log, or none of the measures is in it.
    """
    logged = _logged(path / STATE if path.is_dir() else path)
    steps = [row for row in logged if isinstance(row, dict) and isinstance(row.get("step"), int)]
    if not any(_value(row, names) is not None for row in steps for names in MEASURES.values()):
        wanted = ", ".join(names[0] for names in MEASURES.values())
        raise BadRequestError(
            f"Expected steps with any of {wanted} in {str(path)!r}, and found none; give a training log."
        )
    return sorted(steps, key=lambda row: row["step"])


def _logged(path: Path) -> list[Any]:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            history = json.loads(text)["log_history"]
            return list(history)
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadRequestError(
            f"Expected {STATE} with a log_history, or JSON lines with a step each, in {str(path)!r}, and got "
            f"{unread(error)}; give another file."
        ) from error


def _value(row: Mapping[str, Any], names: Sequence[str]) -> float | None:
    value = next((row[name] for name in names if name in row), None)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def training(steps: Sequence[Mapping[str, Any]]) -> Chart:
    """Chart all measures that a log holds, each over the steps."""
    rows: list[Row] = []
    pictures: dict[str, Panel] = {}
    for measure, names in MEASURES.items():
        points = [(row["step"], value) for row in steps if (value := _value(row, names)) is not None]
        if points:
            rows += [{"measure": measure, "step": step, "value": value} for step, value in points]
            pictures[measure] = partial(_curve, points, measure in SHARES)
    alt = f"Over the training steps: {', '.join(pictures)}."
    return panels("training", "Training", rows, pictures, alt=alt, across="step; the line is a running mean", size=2.3)


def _curve(points: Sequence[tuple[int, float]], share: bool, axes: Any, ink: Ink) -> None:
    import numpy as np

    at, values = np.array(points, dtype=float).T
    width = max(1, len(points) // SMOOTHED)
    means = np.convolve(values, np.ones(width) / width, mode="valid")
    axes.plot(at, values, linestyle="none", marker=".", markersize=3, color=ink.series[5], alpha=0.8)
    axes.plot(np.convolve(at, np.ones(width) / width, mode="valid"), means, color=ink.series[0], linewidth=1.6)
    if share:
        axes.set_ylim(-0.03, 1.03)
    axes.xaxis.get_major_locator().set_params(nbins=4, integer=True)
    axes.grid()


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Draw the log that the command line names; return 0, or 2 if it cannot be drawn."""
    parser = argparse.ArgumentParser(prog="python -m eval.plot_training", description="Draw a training log.")
    parser.add_argument("log", type=Path, metavar="LOG", help=f"{STATE}, its directory, or JSON lines with a step each")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for training.png and training.csv"
    )
    args = parser.parse_args(argv)
    require("eval", "matplotlib")
    written = save(training(read_log(args.log)), args.out)
    print(f"wrote {written[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
