"""Render docs/results.md from docs/results.json, which `python -m eval.results` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.metric_table import BY_NAME, FIRST_WRONG

TITLE = "# Results\n\n<!-- Made by `python scripts/make_docs.py` from docs/results.json; do not edit. -->\n\n"
FEWEST = 5  # items of a rule that the table of rules asks for
LONGEST = 500  # characters of a rationale


def results_page(stored: Mapping[str, Any], images: Path) -> str:
    """Render the page; pictures are shown where they are in `images`. `stored` is empty where nothing was measured."""
    if not stored:
        return f"{TITLE}No training was measured yet: `scripts/make_results.sh` does it.\n"
    return "\n".join([*_head(stored), *_sections(stored, images)]) + "\n"


def _head(stored: Mapping[str, Any]) -> Iterator[str]:
    before, after = stored["before"], stored["after"]
    yield TITLE.rstrip("\n") + "\n"
    yield (
        f"This page helps whoever asks what training changed: `{before['name']}` before, `{after['name']}` after, on the same items. Every figure follows from the runs' "
        "rollouts; [evaluation](evaluation.md) defines metrics, steps and intervals (95 %).\n"
    )
    for side in ("before", "after"):
        run = stored[side]
        yield f"- {side}: `{run['name']}`, prompts `{run['density']}`, commit `{str(run['commit'])[:12]}`, `{run['command']}`"
    yield f"- this page: commit `{stored['commit'][:12]}`, `{stored['command']}`\n"


def _sections(stored: Mapping[str, Any], images: Path) -> Iterator[str]:
    parts = (
        ("Before and after", _change(stored), "before_after"),
        ("Learning curves", _curves(stored), "learning_curves"),
        ("What it cost", _price(stored), ""),
        ("Step by step", _steps(stored), "steps"),
        ("By tactic, and by what training tells", _groups(stored), "accuracy_by_tactic"),
        ("By rule", _rules(stored), ""),
        ("Calibration", _calibration(stored), "reliability"),
        ("What is left wrong", _wrong(stored), ""),
    )
    for title, lines, picture in parts:
        body = list(lines)
        if body:
            yield f"## {title}\n"
            yield from body
            if picture and (images / f"{picture}.png").is_file():
                yield f"![{title}](images/{picture}.png)\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _figure(figure: Mapping[str, Any], digits: int = 3) -> str:
    if figure["value"] is None:
        return "-"
    spread = "" if figure["low"] is None else f" [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
    return f"{figure['value']:.{digits}f}{spread}"


def _code(text: object) -> str:
    """Write a text that a model may have written as code in one line of a table or a list."""
    shown = " ".join(str(text).split())[:LONGEST].replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else "-"


# ---------------------------------------------------------------- sections
def _change(stored: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, part in stored["sets"].items():
        for metric, sides in part["metrics"].items():
            change = sides["difference"]
            spread = "" if change["low"] is None else f" [{change['low']:+.3f}, {change['high']:+.3f}]"
            rows.append(
                (
                    f"`{name}`",
                    BY_NAME[metric].label,
                    _figure(sides["before"]),
                    _figure(sides["after"]),
                    f"{change['difference']:+.3f}{spread}",
                    part["items"],
                )
            )
    yield "Differences are paired, item by item; their intervals come from a bootstrap over families. `benchmark` is the three test sets together.\n"
    yield _table(("set", "metric", "before", "after", "difference", "items"), rows)
    twins = [
        (BY_NAME[metric].label, _figure(sides["before"]), _figure(sides["after"]), sides["after"]["n"])
        for metric, sides in stored["twins"].items()
    ]
    if twins:
        yield _table(("twins", "before", "after", "pairs"), twins)


def _curves(stored: Mapping[str, Any]) -> Iterator[str]:
    ends = [
        (training["name"], training["seed"], f"{training['incidents']:,}", measure, f"{points[-1][1]:.3f}")
        for training in stored["trainings"]
        for measure, points in training["curves"].items()
    ]
    if ends:
        yield "Held-out incidents (`val`) against the incidents learned from, on a logarithmic axis; a line for each seed. Loss is a running mean. The ends of the curves:\n"
        yield _table(("run", "seed", "incidents", "measure", "at the end"), ends)


def _price(stored: Mapping[str, Any]) -> Iterator[str]:
    trainings = stored["trainings"]
    if not trainings:
        return
    rows = [
        (
            training["name"],
            training["seed"],
            f"{training['incidents']:,}",
            training["device"],
            f"{training['seconds'] / 60:.1f}",
            f"{training['core_hours']:.2f}",
            f"{training['gpu_minutes']:.1f}",
        )
        for training in trainings
    ]
    sums = [sum(training[name] for training in trainings) for name in ("core_hours", "gpu_minutes")]
    yield "Time of training alone, evaluation not counted.\n"
    yield _table(
        ("run", "seed", "incidents", "device", "minutes", "core-hours", "GPU-minutes"),
        [*rows, ("all", "", "", "", "", f"{sums[0]:.2f}", f"{sums[1]:.1f}")],
    )
    yield from (
        f"- {training['name']}, seed {training['seed']}: {_code(training['command'])}" for training in trainings
    )
    yield ""


def _steps(stored: Mapping[str, Any]) -> Iterator[str]:
    steps = stored["steps"]
    if not steps:
        return
    rows = [
        (BY_NAME[metric].label, *(_figure(part["figures"][metric]) for part in steps.values()))
        for metric in next(iter(steps.values()))["figures"]
    ]
    yield f"How far the chains of reasons of `{stored['after']['name']}` are right. A reason too few or too many is wrong in every step.\n"
    yield _table(("", *(f"`{name}`" for name in steps)), rows)
    found = {step for part in steps.values() for step in part["first_wrong"]}
    order = [step for step in (*FIRST_WRONG, "none") if step in found]
    yield "Where chains go wrong first, in answers:\n"
    yield _table(
        ("first wrong step", *(f"`{name}`" for name in steps)),
        [(step, *(part["first_wrong"].get(step, 0) for part in steps.values())) for step in order],
    )


def _groups(stored: Mapping[str, Any]) -> Iterator[str]:
    yield f"Accuracy on `{stored['set']}`. An item belongs to the tactics of the rules that decide it; it is told in training if training families meet all of these rules.\n"
    for title, table in (("training", "told"), ("tactic", "tactics")):
        yield _table((title, "items", "before", "after"), [_row(part) for part in stored[table]])


def _rules(stored: Mapping[str, Any]) -> Iterator[str]:
    rows = [part for part in stored["rules"] if part["n"] >= FEWEST]
    rows.sort(key=lambda part: (part["after"]["value"], part["name"]))
    yield f"<details><summary>{len(rows)} rules that decide {FEWEST} items or more, the worst first</summary>\n"
    yield _table(("rule", "items", "before", "after"), [_row(part) for part in rows])
    yield "</details>\n"


def _row(part: Mapping[str, Any]) -> tuple[object, ...]:
    return part["name"].replace("_", " "), part["n"], _figure(part["before"], 2), _figure(part["after"], 2)


def _calibration(stored: Mapping[str, Any]) -> Iterator[str]:
    rows = [(f"`{name}`", _figure(part["ece"]), part["ece"]["n"]) for name, part in stored["calibration"].items()]
    if rows:
        yield "The mean distance of accuracy from stated confidence (ECE), over ten bins:\n"
        yield _table(("set", "ECE", "answers"), rows)


def _wrong(stored: Mapping[str, Any]) -> Iterator[str]:
    if not stored["left_wrong"]:
        yield "Nothing on this set.\n"
        return
    yield f"{len(stored['left_wrong'])} wrong answers of `{stored['after']['name']}` on `{stored['set']}`, drawn by a seed, as evenly as there are any over tasks and right actions.\n"
    for case in stored["left_wrong"]:
        yield f"### `{case['id']}`\n"
        yield f"- {case['task']}, family {case['family']}: right is **{case['label']}** by {', '.join(case['evidence'])}; answered **{case['action'] or 'nothing that can be read'}**, citing {case['cited'] or 'nothing'}"
        yield f"- said {_code(case['said'])}"
        yield f"- right {_code(case['right_chain'])}"
        yield f"- first wrong: {case['first_wrong'] or 'no chain'}\n"
