"""Write one page about runs: python -m eval.report RUN [RUN ...] --out report.html

The page opens with a verdict on one defender, then the leaderboard, comparisons, an item browser, pictures and what each metric means. It is one file that loads
nothing and follows the reader's light or dark theme. The only script that it runs is its own, named by hash; every text that an attacker or a model may have written
is escaped or packed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.charts import Chart, png
from eval.compare import RESAMPLED, Comparison, better_one, compare, p_text, size_text, turned
from eval.intervals import MEASURING, RESAMPLES
from eval.metric_table import BY_NAME, RANKING, interval_text, shown_in, value_text
from eval.metrics import Metric
from eval.plot_results import charts, read_audit
from eval.report_items import packed, records
from eval.reverify import Rows, frozen_rows
from eval.runs import Run, load_runs, shared_set
from runs.ending import refusing
from runs.extras import require
from runs.files import write_output
from schema import BadRequestError, OpenSOCError, visible

TEMPLATE = Path(__file__).with_name("report.html.jinja")
SCRIPT = Path(__file__).with_name("report.js")
COLUMNS = shown_in("page")


# ---------------------------------------------------------------- parts of the page
def board(runs: Sequence[Run], name: str, resamples: int) -> list[dict[str, Any]]:
    """List a row for each run, the highest macro-F1 first."""
    rows = []
    for run in runs:
        metrics = run.metrics(name, resamples=resamples)
        rows.append(
            {
                "name": run.name,
                "kind": run.info.defender.kind,
                "cells": [_cell(metrics[column.name]) for column in COLUMNS],
                "info": run.info,
                "command": run.info.command_text,
                "rank": metrics[RANKING]["value"] or 0.0,
            }
        )
    return sorted(rows, key=lambda row: (-row["rank"], row["name"]))


def steps_board(runs: Sequence[Run], name: str, resamples: int) -> list[dict[str, Any]]:
    """List how far the chains of each run are right, and where the wrong ones go wrong first; runs without chains are left out."""
    rows = []
    for run in runs:
        metrics = run.metrics(name, resamples=resamples)
        if metrics["chain_given"]["value"]:
            first = ", ".join(f"{step} {count}" for step, count in metrics["first_wrong"].items())
            rows.append(
                {
                    "name": run.name,
                    "cells": [_cell(metrics[row.name]) for row in shown_in("chain")],
                    "first_wrong": first,
                }
            )
    return rows


def _cell(metric: Metric) -> dict[str, str]:
    return {
        "value": value_text(metric),
        "interval": interval_text(metric) if metric["value"] is not None else metric["reason"],
    }


# ---------------------------------------------------------------- one defender against the others
def headline(focus: str, comparisons: Sequence[Comparison]) -> list[str]:
    """Say in a sentence for each kind of outcome how `focus` compares with the others on the ranking metric.

    Args:
        focus: the defender whose verdict it is.
        comparisons: its pairs with the others, on every metric.

    Returns:
        At most three sentences on the ranking metric: whom it is better than, whom it is worse than, and whom it is not shown to be better than; then for
        each of those the other metrics that show the opposite, so that no reader takes the first for the whole.
    """
    label = BY_NAME[RANKING].label
    kinds: dict[str, list[str]] = {"better": [], "worse": [], "not shown": []}
    for comparison in comparisons:
        if comparison.metric == RANKING:
            kind, other = outcome(comparison, focus), _other(comparison, focus)
            size = size_text(turned(comparison, other if kind == "worse" else focus))
            kinds[kind].append(f"{other} ({size})" if kind == "not shown" else f"{other} (by {size.removeprefix('+')})")
    openings = {
        "better": f"{focus} is better on {label} than",
        "worse": f"{focus} is worse on {label} than",
        "not shown": f"{focus} is not shown to be better or worse on {label} than",
    }
    ranked = [f"{openings[kind]} {', '.join(others)}." for kind, others in kinds.items() if others]
    return ranked + _reservations(focus, comparisons)


def _reservations(focus: str, comparisons: Sequence[Comparison]) -> list[str]:
    """Say against whom `focus` is worse on other metrics though it is not on the ranking metric, and the other way round."""
    shown: dict[str, dict[str, list[str]]] = {}
    for comparison in comparisons:
        by_outcome = shown.setdefault(_other(comparison, focus), {})
        by_outcome.setdefault(outcome(comparison, focus), []).append(comparison.metric)
    sentences = []
    for other, by_outcome in shown.items():
        for kind in ("worse", "better"):
            labels = [BY_NAME[metric].label for metric in by_outcome.get(kind, [])]
            if labels and RANKING not in by_outcome[kind]:
                sentences.append(f"It is {kind} than {other} in other metrics: {', '.join(labels)}.")
    return sentences


def _other(comparison: Comparison, focus: str) -> str:
    return comparison.first if comparison.second == focus else comparison.second


def outcome(comparison: Comparison, focus: str) -> str:
    """Return in a word what a comparison shows of `focus`: `better`, `worse` or `not shown`."""
    winner = better_one(comparison)
    return "not shown" if winner is None else "better" if winner == focus else "worse"


def against(focus: str, comparisons: Sequence[Comparison]) -> dict[str, dict[str, dict[str, str]]]:
    """Tabulate comparisons: by the other defender and by metric what is shown, the difference with its interval, and the p-value."""
    rows: dict[str, dict[str, dict[str, str]]] = {}
    for comparison in comparisons:
        rows.setdefault(_other(comparison, focus), {})[comparison.metric] = {
            "outcome": outcome(comparison, focus),
            "size": size_text(turned(comparison, focus)),
            "p": "too few families" if comparison.p_corrected is None else p_text(comparison.p_corrected),
        }
    return rows


# ---------------------------------------------------------------- the page
def _all_rows(run: Run, name: str) -> tuple[dict[str, Rows], str]:
    """Return the frozen rows of a set, and why those that lack are missing."""
    rows, reasons = {}, []
    for part in run.sha256(name):
        try:
            rows[part] = frozen_rows(run, part)
        except OpenSOCError as error:
            reasons.append(str(error))
    return rows, " ".join(reasons)


def report(
    runs: Sequence[Run],
    name: str | None = None,
    *,
    focus: str | None = None,
    audit: Mapping[str, Any] | None = None,
    resamples: int = RESAMPLES,
) -> str:
    """Render the page.

    Args:
        runs: complete runs of different defenders over the same set.
        name: the set; None takes `benchmark` if all runs have it, else the first that all have.
        focus: who is compared with the others and whose answers the item browser opens with; None takes the last run's.
        audit: what `python -m eval.audit --json` printed, for the chart of shortcuts.
        resamples: of the bootstrap.

    Raises:
        BadRequestError: the runs do not fit together, or none is called `focus`.
    """
    from jinja2 import Environment, StrictUndefined

    chosen = shared_set(runs, name)
    shown_run = next((run for run in runs if run.name == (focus or runs[-1].name)), None)
    if shown_run is None:
        raise BadRequestError(f"Expected one of {', '.join(run.name for run in runs)} as --focus, and got {focus!r}.")
    frozen, missing = _all_rows(shown_run, chosen)
    pictures = charts(runs, chosen, audit=audit, resamples=resamples)
    comparisons = (
        compare(runs, chosen, metrics=_comparable(runs), focus=shown_run.name, resamples=resamples)
        if len(runs) > 1
        else []
    )
    about = shown_run.metrics(chosen, resamples=resamples)
    page = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown).from_string(
        TEMPLATE.read_text("utf-8")
    )
    rows, steps = board(runs, chosen, resamples), steps_board(runs, chosen, resamples)
    script = SCRIPT.read_text("utf-8")
    return page.render(
        title="OpenSOC: defenders compared" if len(runs) > 1 else f"OpenSOC: {shown_run.name}",
        set=chosen,
        items=f"{about['items']:,}",
        families=about["families"],
        columns=COLUMNS,
        board=rows,
        chain=shown_in("chain"),
        steps=steps,
        meanings=[*COLUMNS, *(shown_in("chain") if steps else ())],
        focus=shown_run.name,
        figures={row["name"]: row["cells"][_ranking_column()] for row in rows},
        ranking=BY_NAME[RANKING].label,
        headline=headline(shown_run.name, comparisons),
        against=against(shown_run.name, comparisons),
        compared=[BY_NAME[metric] for metric in _comparable(runs)],
        pictures=[_picture(chart) for chart in pictures if chart.rows],
        left_out=[f"No picture {chart.name}: {chart.missing}." for chart in pictures if not chart.rows],
        packed=packed(runs, shown_run.name, records(runs, chosen, frozen)),
        unseen=missing,
        hashes=shown_run.sha256(chosen),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _ranking_column() -> int:
    return [column.name for column in COLUMNS].index(RANKING)


def _picture(chart: Chart) -> dict[str, Any]:
    """Draw a chart for both themes, wide and for a phone."""
    forms = {
        (theme, form): _inline(png(chart, dark=theme == "dark", narrow=form == "narrow"))
        for theme in ("light", "dark")
        for form in ("wide", "narrow")
    }
    return {"alt": chart.alt, **{f"{theme}_{form}": image for (theme, form), image in forms.items()}}


def _comparable(runs: Sequence[Run]) -> list[str]:
    same_rewards = len({run.info.reward_table for run in runs}) == 1
    return [name for name in RESAMPLED if same_rewards or BY_NAME[name].unit != "reward"]


def _shown(value: Any) -> Any:
    """Make a value's hidden characters visible before it is escaped; our own pictures are Markup and stay."""
    return visible(value, keep="\n") if type(value) is str else value


def _inline(picture: bytes) -> Markup:
    return Markup(base64.b64encode(picture).decode())


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; return 0, or 2 if the runs do not fit together."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.report", description="Write one page about runs of defenders."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories that eval.run wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page, such as report.html")
    parser.add_argument("--set", dest="name", help="the set to show (default: benchmark, or the first that all have)")
    parser.add_argument(
        "--focus", metavar="NAME", help="the defender that is judged against the others (default: the last run's)"
    )
    parser.add_argument(
        "--audit", type=Path, metavar="FILE", help="what python -m eval.audit --json printed: adds the shortcut chart"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples (default {RESAMPLES})")
    args = parser.parse_args(argv)
    require("eval", *MEASURING, "matplotlib", "statsmodels")
    audit = read_audit(args.audit) if args.audit else None
    page = report(load_runs(args.runs), args.name, focus=args.focus, audit=audit, resamples=args.resamples)
    write_output(args.out, page)
    print(f"wrote {args.out} ({len(page) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
