"""Write one page about runs: python -m eval.report RUN [RUN ...] --out report.html

The page holds the leaderboard, comparisons, pictures and the worst mistakes of one defender with their evidence. It is one file that loads nothing, runs no
script, follows the reader's light or dark theme, and escapes every text that an attacker or a model may have written.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.charts import png
from eval.compare import RESAMPLED, compare
from eval.intervals import MEASURING, RESAMPLES
from eval.metric_table import BY_NAME, RANKING, interval_text, shown_in, value_text
from eval.metrics import Metric
from eval.plot_results import charts, read_audit
from eval.reverify import Rows, frozen_rows
from eval.runs import Run, load_runs, shared_set
from eval.steps import right_chain
from players.reasons import write_chain
from runs.ending import refusing
from runs.extras import require
from runs.files import write_output
from schema import BadRequestError, OpenSOCError, shown_time, visible

TEMPLATE = Path(__file__).with_name("report.html.jinja")
MISTAKES = 10
LONGEST = 700  # characters of a text that are shown
COLUMNS = shown_in("page")


def cut(text: str) -> str:
    """Cut a text to a length that can be read."""
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


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


def mistakes(run: Run, name: str, frozen: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """List the worst wrong answers of a run: by reward, then by operational weight.

    Args:
        run: whose mistakes.
        name: the set.
        frozen: the rows of each set by id; mistakes of a missing set are shown without their lines.
    """
    wrong = [row for row in run.rollouts(name) if row["action"] != row["label"]]
    wrong.sort(key=lambda row: (row["reward"], -row.get("weight", 1.0), row["set"], row["id"]))
    return [_mistake(row, frozen.get(row["set"], {}).get(row["id"])) for row in wrong[:MISTAKES]]


def _mistake(row: Mapping[str, Any], frozen: Mapping[str, Any] | None) -> dict[str, Any]:
    answer = row["answer"] if row["action"] else None
    cited = answer["cited_log_id"] if answer else ""
    shown = {
        **{part: row[part] for part in ("id", "task", "family", "label", "evidence", "action", "reward")},
        "cited": cited,
        "first_wrong": (row.get("steps") or {}).get("first_wrong", ""),
        "said": cut(answer.get("rationale", "") if answer else row.get("reply") or row.get("fault") or ""),
    }
    if frozen is None:
        return shown
    observation = frozen["observation"]
    right = write_chain(right_chain(observation)) if shown["first_wrong"] else ""
    lines = [line for line in observation["log_window"] if line["log_id"] in {*row["evidence"], cited}]
    return {
        **shown,
        "right_chain": cut(right),
        "title": cut(observation["alert"]["title"]),
        "narrative": cut(observation["alert"].get("narrative", "")),
        "lines": [{"text": _line(line), "evidence": line["log_id"] in row["evidence"]} for line in lines],
    }


def _line(line: Mapping[str, Any]) -> str:
    fields = " ".join(f"{name}={value}" for name, value in line["fields"].items())
    return cut(f"{line['log_id']} {shown_time(line['timestamp'])} {line['event_type']} {fields}")


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
        focus: whose mistakes and comparisons are shown; None takes the last run's.
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
    return page.render(
        title="OpenSOC: defenders compared" if len(runs) > 1 else f"OpenSOC: {shown_run.name}",
        set=chosen,
        items=about["items"],
        families=about["families"],
        columns=[column.label for column in COLUMNS],
        board=board(runs, chosen, resamples),
        step_names=[row.label for row in shown_in("chain")],
        steps=steps_board(runs, chosen, resamples),
        focus=shown_run.name,
        verdicts=[comparison.verdict for comparison in comparisons],
        pictures=[
            {"alt": chart.alt, "light": _inline(png(chart)), "dark": _inline(png(chart, dark=True))}
            for chart in pictures
            if chart.rows
        ],
        left_out=[f"No picture {chart.name}: {chart.missing}." for chart in pictures if not chart.rows],
        mistakes=[
            {"title": "", "narrative": "", "right_chain": "", "lines": [], **mistake}
            for mistake in mistakes(shown_run, chosen, frozen)
        ],
        unseen=missing,
        hashes=shown_run.sha256(chosen),
    )


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
        "--focus", metavar="NAME", help="the defender whose mistakes are shown (default: the last run's)"
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
