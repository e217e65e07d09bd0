"""Say whether one defender is better than another: python -m eval.compare RUN RUN [RUN ...]

Runs are compared item by item, on the same version of the same set. Each difference has a 95 % interval by a paired bootstrap over families;
accuracy is tested by exact McNemar, the other metrics by that bootstrap. P-values are corrected by Holm over everything that is printed.
A difference counts as shown where the corrected p-value is below 0.05 and the interval leaves out 0.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from eval.intervals import (
    LEAST_FAMILIES,
    MEASURING,
    RESAMPLES,
    bootstrap_p,
    draws,
    holm,
    mcnemar_p,
    one_thread,
    percentiles,
)
from eval.metric_table import BY_NAME
from eval.metrics import DISMISS, Table, resampled_f1, resampled_ratio, table
from eval.runs import Run, load_runs, shared_set
from runs.ending import refusing
from runs.extras import require
from schema import TASKS, BadRequestError

ALPHA = 0.05
Items = Mapping[tuple[str, str], Mapping[str, Any]]  # rollouts by set and id
Resampled = Callable[[Table, np.ndarray], np.ndarray]  # columns, resamples x families -> the figure in each resample


@dataclass(frozen=True, slots=True)
class Comparison:
    """How `second` differs from `first` in one metric: `second` minus `first`, in the metric's own unit.

    `low`, `high` and `p` are None if there are too few families; `verdict` is the comparison in words.
    """

    first: str
    second: str
    metric: str
    items: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    test: str
    verdict: str = ""


def _ratio(above: Callable[[Table], np.ndarray], below: Callable[[Table], np.ndarray]) -> Resampled:
    def resampled(data: Table, drawn: np.ndarray) -> np.ndarray:
        return resampled_ratio(data, drawn, above(data), below(data))

    return resampled


def _all(data: Table) -> np.ndarray:
    return np.ones(len(data.truth))


# The metrics that are compared, with the figure of each in resamples.
RESAMPLED: Mapping[str, Resampled] = {
    "accuracy": _ratio(lambda data: data.right, _all),
    "macro_f1": resampled_f1,
    "dismiss_on_malicious": _ratio(lambda data: data.malicious & (data.answer == DISMISS), lambda data: data.malicious),
    "over_reaction": _ratio(lambda data: data.strong & ~data.malicious, lambda data: ~data.malicious),
    "citation_recall": _ratio(lambda data: data.cited, _all),
    "mean_reward": _ratio(lambda data: data.reward, _all),
}


# ---------------------------------------------------------------- comparing
def compare(
    runs: Sequence[Run],
    name: str | None = None,
    *,
    metrics: Sequence[str] = tuple(RESAMPLED),
    focus: str | None = None,
    task: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Compare every pair of runs in every metric.

    Args:
        runs: two or more, of different defenders.
        name: the set; None takes `benchmark` where all runs have it, else the first that all have.
        metrics: some of `RESAMPLED`.
        focus: a defender's name: only its pairs; None takes all.
        task: only the items of one task; None takes all.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        BadRequestError: the runs are not over the same items, or rewards come from different tables.
    """
    chosen = shared_set(runs, name)
    rows = [
        {(row["set"], row["id"]): row for row in run.rollouts(chosen) if task in (None, row["task"])} for run in runs
    ]
    for run, mine in zip(runs[1:], rows[1:], strict=True):
        check_same(runs[0], rows[0], run, mine)
    tables = {run.info.reward_table for run in runs}
    if "mean_reward" in metrics and len(tables) > 1:
        raise BadRequestError(
            f"Expected rewards of one table, and these runs have {', '.join(sorted(tables))}; "
            "leave mean_reward out with --metric, or run one of them again."
        )
    order = sorted(rows[0])
    columns = [table([mine[key] for key in order]) for mine in rows]
    families = columns[0].families
    drawn = draws(families, seed=seed, resamples=resamples) if families >= LEAST_FAMILIES else None
    with one_thread():
        comparisons = [
            _compared(runs[a], columns[a], runs[b], columns[b], metric, drawn)
            for metric in metrics
            for a, b in itertools.combinations(range(len(runs)), 2)
            if focus is None or focus in (runs[a].name, runs[b].name)
        ]
    return _corrected([comparison for comparison in comparisons if comparison is not None])


def check_same(first: Run, rows: Items, second: Run, others: Items) -> None:
    """Check that two runs have the same items with the same truth, given their rollouts by set and id.

    Raises:
        BadRequestError: they have not; the first item that differs is named.
    """
    apart = sorted(rows.keys() ^ others.keys())
    if apart:
        raise BadRequestError(
            f"Expected the same items in both runs, and {apart[0][1]!r} of {apart[0][0]} is in one of {first.name} and {second.name} "
            "only; run both over the whole set."
        )
    moved = [
        key
        for key in sorted(rows)
        if (rows[key]["label"], rows[key]["family"]) != (others[key]["label"], others[key]["family"])
    ]
    if moved:
        raise BadRequestError(
            f"Expected one truth for each item, and {moved[0][1]!r} of {moved[0][0]} is {rows[moved[0]]['label']} for {first.name} and "
            f"{others[moved[0]]['label']} for {second.name}; run one of them again."
        )


def _compared(
    first: Run, table: Table, second: Run, other: Table, metric: str, drawn: np.ndarray | None
) -> Comparison | None:
    """Return one comparison without its correction, or None if the metric does not exist on these items."""
    resampled = RESAMPLED[metric]
    whole = np.ones((1, table.families))
    difference = float((resampled(other, whole) - resampled(table, whole))[0])
    if np.isnan(difference):
        return None
    spread, p = None, None
    test = "paired bootstrap over families"
    if drawn is not None:
        differences = resampled(other, drawn) - resampled(table, drawn)
        spread, p = percentiles(differences, table.families), bootstrap_p(differences, table.families)
    if metric == "accuracy":
        p, test = (
            mcnemar_p(int((table.right & ~other.right).sum()), int((other.right & ~table.right).sum())),
            "exact McNemar",
        )
    low, high = spread or (None, None)
    return Comparison(first.name, second.name, metric, len(table.truth), difference, low, high, p, None, test)


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values by Holm, and say each comparison in a sentence."""
    corrected = iter(holm([comparison.p for comparison in comparisons if comparison.p is not None]))
    final = [
        replace(comparison, p_corrected=None if comparison.p is None else next(corrected)) for comparison in comparisons
    ]
    return [replace(comparison, verdict=verdict(comparison)) for comparison in final]


def better_one(comparison: Comparison) -> str | None:
    """Name the defender that is shown to be better, None where no difference is shown."""
    low, high, p = comparison.low, comparison.high, comparison.p_corrected
    if low is None or high is None or p is None or p >= ALPHA or low <= 0 <= high:
        return None
    second = (comparison.difference > 0) == (BY_NAME[comparison.metric].better == "more")
    return comparison.second if second else comparison.first


def turned(comparison: Comparison, focus: str) -> Comparison:
    """Return a comparison with `focus` as the second, so that its difference is what `focus` has more."""
    if comparison.second == focus:
        return comparison
    low, high = comparison.low, comparison.high
    return replace(
        comparison,
        first=comparison.second,
        second=comparison.first,
        difference=-comparison.difference,
        low=None if high is None else -high,
        high=None if low is None else -low,
    )


def verdict(comparison: Comparison) -> str:
    """Say a comparison in a sentence."""
    if comparison.low is None or comparison.p_corrected is None:
        return f"{comparison.metric}: no difference shown: the items come from too few families to tell"
    p = p_text(comparison.p_corrected)
    winner = better_one(comparison)
    if winner is None:
        return f"{comparison.metric}: no difference shown between {comparison.first} and {comparison.second} ({size_text(comparison)}, {p})"
    loser = comparison.first if winner == comparison.second else comparison.second
    size = size_text(turned(comparison, comparison.second if comparison.difference > 0 else comparison.first))
    return f"{comparison.metric}: {winner} is better than {loser} by {size.removeprefix('+')} ({p})"


def size_text(comparison: Comparison) -> str:
    """Render a difference with its sign, its unit and its interval."""
    row = BY_NAME[comparison.metric]
    scale, digits, unit = (100, 1, "points") if row.unit == "share" else (1, 3, f"of {row.unit}")
    size = f"{comparison.difference * scale:+.{digits}f} {unit}"
    if comparison.low is None or comparison.high is None:
        return size
    return f"{size} [{comparison.low * scale:.{digits}f}, {comparison.high * scale:.{digits}f}]"


def p_text(p: float) -> str:
    """Render a p-value to three digits."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


# ---------------------------------------------------------------- for people
@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Compare the runs that the command line names; return 0, or 2 if they cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.compare", description="Compare runs of defenders, item by item."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories that eval.run wrote, two or more")
    parser.add_argument(
        "--set", dest="name", help="the set to compare on (default: benchmark, or the first that all have)"
    )
    parser.add_argument(
        "--metric", nargs="+", choices=RESAMPLED, default=list(RESAMPLED), help="which metrics (default: all)"
    )
    parser.add_argument("--task", choices=TASKS, help="compare on the items of one task alone")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples (default {RESAMPLES})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    args = parser.parse_args(argv)
    if len(args.runs) < 2:
        raise BadRequestError(f"Expected two runs or more to compare, and got {len(args.runs)}; name another.")
    require("eval", *MEASURING, "statsmodels")
    runs = load_runs(args.runs)
    name = shared_set(runs, args.name)
    comparisons = compare(runs, name, metrics=args.metric, task=args.task, seed=args.seed, resamples=args.resamples)
    if args.json:
        about = {"set": name, "sha256": runs[0].sha256(name), "seed": args.seed, "resamples": args.resamples}
        print(json.dumps({**about, "comparisons": [asdict(comparison) for comparison in comparisons]}, indent=1))
        return 0
    items = comparisons[0].items if comparisons else 0
    print(f"{name}, {items} items, 95 % intervals, p-values by Holm over {len(comparisons)} comparisons")
    for comparison in comparisons:
        print(comparison.verdict)
    return 0


if __name__ == "__main__":
    sys.exit(main())
