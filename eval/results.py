"""Put together what came of a training: python -m eval.results --before RUN --after RUN [--trained NAME=DIR,DIR ...] [--out docs]

Two runs of eval.run over the same sets and the directories of the trainings give `results.json` and pictures with their data (`images/`). `python scripts/make_docs.py` makes
docs/results.md of that file: the change on every set with paired intervals, accuracy by tactic and by rule, the steps of the chains, calibration, learning curves, the
price, and ten cases that are left wrong.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.bake_demo import draw
from eval.charts import Chart, dots
from eval.compare import compare
from eval.curves import learning_curves, price, read_training
from eval.intervals import MEASURING, RESAMPLES
from eval.metric_table import RANKING, shown_in
from eval.plot_results import calibration_chart, save_all
from eval.reverify import Rows, frozen_rows
from eval.runs import BENCHMARK, Run, load_runs, shared_set
from eval.steps import right_chain
from players.reasons import write_chain
from runs.ending import refusing
from runs.extras import require
from runs.files import write_output
from runs.provenance import commit
from schema import BadRequestError, unread
from tasks.families import TRAIN_FAMILIES
from telemetry.scoring import wilson
from verifier.rules import RULES

RESULTS = "results.json"
SPLITS = ("val", "val_family", "test_seed", "test_family", "test_tactic", BENCHMARK, "holdout")  # as they are listed
COMPARED = ("macro_f1", "accuracy", "dismiss_on_malicious", "over_reaction", "citation_recall")
TWINS = {
    "pairs": "pair_accuracy",
    "invariance": "invariance",
    "injection": "injection_flip_rate",
}  # sets, and what each measures
WRONG = 10  # cases that are shown
TOLD = frozenset(rule for family in TRAIN_FAMILIES for rule in family.rules)  # rules that training tells
TACTICS = {rule.rule_id: rule.tactic for rule in RULES}
NO_RULE = "no rule finds anything"


# ---------------------------------------------------------------- the change on every set
def changes(before: Run, after: Run, name: str, resamples: int) -> dict[str, Any]:
    """Return the figures of both runs on a set, and the paired difference in each that both have."""
    metrics = [run.metrics(name, resamples=resamples) for run in (before, after)]
    compared = {each.metric: each for each in compare([before, after], name, metrics=COMPARED, resamples=resamples)}
    return {
        "items": metrics[1]["items"],
        "sha256": after.sha256(name),
        "metrics": {
            metric: {
                **dict(zip(("before", "after"), (_figure(side[metric]) for side in metrics), strict=True)),
                "difference": {part: _short(getattr(compared[metric], part)) for part in ("difference", "low", "high")},
            }
            for metric in COMPARED
            if metric in compared
        },
    }


def _figure(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {part: metric[part] for part in ("value", "low", "high", "n")}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# ---------------------------------------------------------------- by rule and by tactic
def by_rule(before: Run, after: Run, name: str, frozen: Mapping[str, Rows]) -> dict[str, list[dict[str, Any]]]:
    """Count the right answers of both runs by the rules that decide an item, by their tactics, and by whether training tells all of them.

    Returns:
        Rows of `rules`, `tactics` and `told`, each `{"name", "n", "before", "after"}` with the accuracies as figures; an item with several rules counts for each.
    """
    hits: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    earlier = {(row["set"], row["id"]): row for row in before.rollouts(name)}
    for row in after.rollouts(name):
        both = (_right(earlier[row["set"], row["id"]]), _right(row))
        rules = frozen[row["set"]][row["id"]]["ground_truth"]["rule_ids"]
        for key in _groups(rules):
            hits.setdefault(key, []).append(both)
    return {table: [_counted(name, hits[of, name]) for of, name in sorted(hits) if of == table] for table in GROUPED}


GROUPED = ("rules", "tactics", "told")


def _groups(rules: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from (("rules", rule) for rule in rules)
    yield from (("tactics", tactic) for tactic in dict.fromkeys(TACTICS[rule] for rule in rules))
    yield "told", NO_RULE if not rules else "told in training" if TOLD.issuperset(rules) else "not told in training"


def _right(row: Mapping[str, Any]) -> bool:
    return bool(row["action"] == row["label"])


def _counted(name: str, hits: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    sides = {side: _rate([pair[index] for pair in hits]) for index, side in enumerate(("before", "after"))}
    return {"name": name, "n": len(hits), **sides}


def _rate(hits: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(hits), len(hits))
    return {"value": _short(sum(hits) / len(hits)), "low": _short(low), "high": _short(high), "n": len(hits)}


# ---------------------------------------------------------------- what is left wrong
def left_wrong(run: Run, name: str, frozen: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Draw wrong answers of a run as evenly as there are any over tasks and right actions, and tell each beside the right chain."""
    wrong = [row for row in run.rollouts(name) if not _right(row)]
    return [_case(row, frozen[row["set"]][row["id"]]) for row in draw(wrong, WRONG, 0)]


def _case(row: Mapping[str, Any], frozen: Mapping[str, Any]) -> dict[str, Any]:
    answer = row["answer"] or {}
    return {
        **{part: row[part] for part in ("id", "set", "task", "family", "label", "action", "evidence")},
        "cited": answer.get("cited_log_id"),
        "said": answer.get("rationale") or row["fault"],
        "right_chain": write_chain(right_chain(frozen["observation"])),
        "first_wrong": (row.get("steps") or {}).get("first_wrong", ""),
    }


# ---------------------------------------------------------------- all of it
def results(
    before: Run, after: Run, trainings: Sequence[Mapping[str, Any]] = (), *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Compute everything that results.json holds but the command and the commit.

    Args:
        before: the run to compare with.
        after: the run of the trained defender, over the same sets.
        trainings: what `eval.curves.read_training` read.
        resamples: of the bootstrap.

    Raises:
        BadRequestError: the runs share no set, or were made on different versions of one.
    """
    chosen = shared_set([before, after])
    names = [name for name in SPLITS if name in before.sets and name in after.sets]
    frozen = {part: frozen_rows(after, part) for part in after.sha256(chosen)}
    measured = {name: after.metrics(name, resamples=resamples) for name in names}
    return {
        "before": _about(before),
        "after": _about(after),
        "set": chosen,
        "sets": {name: changes(before, after, name, resamples) for name in names},
        "twins": {
            metric: {
                side: _figure(run.metrics(name, resamples=resamples)[metric])
                for side, run in (("before", before), ("after", after))
            }
            for name, metric in TWINS.items()
            if name in before.sets and name in after.sets
        },
        **by_rule(before, after, chosen, frozen),
        "steps": {
            name: {
                "figures": {row.name: _figure(metrics[row.name]) for row in shown_in("chain")},
                "first_wrong": metrics["first_wrong"],
            }
            for name, metrics in measured.items()
            if metrics["chain_given"]["value"]
        },
        "calibration": {
            name: {"ece": _figure(metrics["ece"]), "bins": metrics["calibration"]}
            for name, metrics in measured.items()
            if metrics["calibration"]
        },
        "left_wrong": left_wrong(after, chosen, frozen),
        "trainings": [{**training, **price(training)} for training in trainings],
    }


def _about(run: Run) -> dict[str, Any]:
    return {"name": run.name, "commit": run.info.commit, "command": run.info.command_text, "density": run.info.density}


# ---------------------------------------------------------------- pictures
def pictures(stored: Mapping[str, Any]) -> list[Chart]:
    """Chart what results.json holds."""
    return [
        _change(stored),
        _accuracies(stored, "tactics", "Accuracy by tactic"),
        _accuracies(stored, "told", "Accuracy where training tells the deciding rules, and where not"),
        _steps(stored),
        _reliabilities(stored),
        learning_curves(stored["trainings"]),
    ]


def _sides(figures: Mapping[str, Any], stored: Mapping[str, Any], **named: Any) -> Iterator[dict[str, Any]]:
    for side in ("before", "after"):
        yield {**named, "defender": stored[side]["name"], **figures[side]}


def _change(stored: Mapping[str, Any]) -> Chart:
    rows = [
        row
        for name, part in stored["sets"].items()
        if RANKING in part["metrics"]
        for row in _sides(part["metrics"][RANKING], stored, set=name)
    ]
    axis = "macro-F1 over five actions, 95 % bootstrap interval over families; more is better"
    title, alt = "Before and after, by set", "Macro-F1 of both defenders on every set."
    return dots("before_after", title, axis, rows, series="defender", percent=False, alt=alt)


def _accuracies(stored: Mapping[str, Any], table: str, title: str) -> Chart:
    rows = [
        row for part in stored[table] for row in _sides(part, stored, group=f"{_spaced(part['name'])} ({part['n']})")
    ]
    axis = f"share right of {stored['set']}, 95 % Wilson interval"
    return dots(f"accuracy_by_{table.rstrip('s')}", title, axis, rows, series="defender", alt=f"{title}, by defender.")


def _steps(stored: Mapping[str, Any]) -> Chart:
    rows = [
        {"step": row.label, "set": name, **part["figures"][row.name]}
        for row in shown_in("chain")
        if row.name != "chain_given"
        for name, part in stored["steps"].items()
        if name != BENCHMARK
    ]
    axis = "share right, 95 % interval"
    title, alt = "The chain of reasons, step by step", "Share of right steps of the chains, by set."
    return dots("steps", title, axis, rows, series="set", alt=alt, missing="no answer gives a chain of reasons")


def _reliabilities(stored: Mapping[str, Any]) -> Chart:
    parts = {
        name: (part["bins"], part["ece"]["value"]) for name, part in stored["calibration"].items() if name != BENCHMARK
    }
    return calibration_chart("reliability", f"Calibration of {stored['after']['name']}", parts, by="set")


def _spaced(name: str) -> str:
    return name.replace("_", " ")


# ---------------------------------------------------------------- the command
def _trainings(given: Iterable[str]) -> list[dict[str, Any]]:
    """Read `NAME=DIR,DIR`, a directory for each seed, or all trainings of a page's `results.json`."""
    trainings: list[dict[str, Any]] = []
    for text in given:
        if text.endswith(".json"):
            trainings += _stored_trainings(Path(text))
            continue
        name, _, paths = text.partition("=")
        if not name or not paths:
            raise BadRequestError(
                f"Expected --trained NAME=DIR, NAME=DIR,DIR for several seeds, or {RESULTS}, and got {text!r}."
            )
        trainings += [read_training(name, Path(path)) for path in paths.split(",")]
    return trainings


def _stored_trainings(path: Path) -> list[dict[str, Any]]:
    """Return the trainings that an earlier page was made of: their directories need not be there any more."""
    try:
        trainings: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["trainings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequestError(
            f"Expected {RESULTS} as this command writes it at {str(path)!r}, and got {unread(error)}."
        ) from error
    return trainings


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Write results.json and the pictures; return 0, or 2 if the runs do not fit together."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="python -m eval.results", description="Put together what came of a training, for docs/results.md."
    )
    parser.add_argument("--before", required=True, metavar="RUN", help="run of eval.run to compare with")
    parser.add_argument("--after", required=True, metavar="RUN", help="run of the trained defender over the same sets")
    parser.add_argument(
        "--trained",
        action="append",
        default=[],
        metavar="NAME=DIR[,DIR]",
        help=f"directories of a training, one for each seed, or a {RESULTS}, for the trainings that it holds; may be given again",
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR", help=f"for {RESULTS} (default docs)")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples (default {RESAMPLES})")
    args = parser.parse_args(argv)
    require("eval", *MEASURING, "matplotlib", "statsmodels")
    before, after = load_runs([args.before, args.after])
    stored = {
        "command": f"python -m eval.results {shlex.join(argv)}",
        "commit": commit(),
        **results(before, after, _trainings(args.trained), resamples=args.resamples),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    write_output(args.out / RESULTS, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {args.out / RESULTS}")
    print("\n".join(save_all(pictures(stored), args.out / "images")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
