"""The audit: what keeps the task honest, checked on fresh incidents: python -m eval.audit [--json] [--quick] [--out FILE]

Checks, each by name: the oracle earns the maximum and the label can be told from what is seen (`oracle`, `identifiable`); constants
and exploiters stay under the floor (`players`); every event type and alert title comes under every action (`coverage`); every
incident has a flip and survives the edits that change nothing, hostile text too (`flips`, `invariances`, `injections`); a fresh process
makes the same bytes (`bytes`); no shortcut labels incidents of unseen families (`fields`, `pairs`, `words`, `trees`, `relations`,
`lines alone`, `context alone`; stage 1 is printed and may be easier). Exits with 1 and names what offends. Needs scikit-learn
(requirements-dev.txt); without torch the last two are not run, and it says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, cast

from eval.features import fields
from eval.halves import Half, tokens
from eval.intervals import MEASURING
from eval.pairs import flip, label
from eval.relations import relations
from generator.incidents import GENERATOR_VERSION, Case, generate
from generator.injection import inject
from generator.invariances import harmless_twins
from players.bag_of_words import words
from rubric import TABLES, RewardTable, TableName, reward_of, score_defender
from runs.extras import MissingExtraError, require
from runs.files import write_output
from runs.progress import progress
from scenario import Scenario
from schema import EVENT_TYPES, LABELS, TASKS, BadRequestError, Label, Task, Triage
from tasks.alerts import TITLES
from verifier.decision import compute_ground_truth, judge_observation
from verifier.truth import GroundTruth

MAXIMUM = 1.1
FLOORS: dict[TableName, float] = {
    "standard": 0.3,
    "hardened": 0.1,
}  # mean rewards that no player without a plan reaches
MAJORITY = 1 / len(LABELS)  # accuracy of a learner that knows nothing, on as many incidents of each decision
FIELD_MARGIN, PAIR_MARGIN = 0.05, 0.10  # above the majority class
# Relations are partly what the task asks for: a silent sensor of the alert's host, a ticket around a line or a known address decide some
# incidents by the playbook, whatever the family. Whoever joins all of them, without a rule, has reached 0.31 to 0.33 on stages 2 to 4.
MAX_F1 = 0.45
PROBED_TASKS = TASKS[1:]
FULL, QUICK = 3000, 500  # incidents of each task
HALVED = 2000  # at most so many of a task are shown by halves
TWINS_SHARE = 10  # one in so many is flipped and edited
COVERED = 1500  # incidents of each task in which every type and title is looked for
DIGESTED = 25
NOT_RUN = "not run"  # begins the figure of a check that needs what is not installed


@dataclass(frozen=True, slots=True)
class Item:
    """One incident of the audit, with what the defender sees and the ground truth."""

    task: Task
    case: Case
    observation: dict[str, Any]
    truth: GroundTruth


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: its figure in words, and what offends (empty if it holds)."""

    name: str
    task: str
    figure: str
    offending: str = ""


Source = Callable[[Task, int, Label], Item]


def fresh_item(task: Task, index: int, label: Label) -> Item:
    """Generate an incident that aims at a decision."""
    case = generate(task, index, label=label)
    truth = compute_ground_truth(case.incident, case.world)
    return Item(task, case, Scenario(case).view(), truth)


@lru_cache(maxsize=1)
def _items(source: Source, task: Task, number: int) -> list[Item]:
    return [source(task, index, LABELS[index % len(LABELS)]) for index in range(number)]


# ---------------------------------------------------------------- the right answer
def oracle(items: Sequence[Item]) -> Iterator[Check]:
    """Check that the answer judged from the observation alone earns the maximum on every item under both tables."""
    truths = [judge_observation(item.observation) for item in items]
    differing = [
        index
        for index, (item, truth) in enumerate(zip(items, truths, strict=True))
        if (truth.action, truth.evidence_log_ids) != (item.truth.action, item.truth.evidence_log_ids)
    ]
    yield _shared("identifiable", items, differing)
    for table, figures in TABLES.items():
        rewards = [
            reward_of(score_defender(_answer(truth.action, truth.evidence_log_ids[0]), item.truth, figures))
            for item, truth in zip(items, truths, strict=True)
        ]
        poor = [index for index, reward in enumerate(rewards) if reward < MAXIMUM]
        yield _shared(f"oracle {table}", items, poor)


def _shared(name: str, items: Sequence[Item], bad: Sequence[int]) -> Check:
    """Return a check that holds on all items, or names the first on which it does not."""
    figure = f"{len(items) - len(bad)} of {len(items)}"
    return Check(name, items[0].task, figure, f"{items[0].task} index {bad[0]}" if bad else "")


def _answer(action: str, cited: str) -> Triage:
    return Triage(action=cast(Label, action), cited_log_id=cited, rationale="by the playbook")


# ---------------------------------------------------------------- players without a plan
def _by_severity(item: Item) -> Label:
    return {"low": "dismiss", "medium": "monitor"}.get(item.observation["alert"]["severity"], "escalate")  # type: ignore[return-value]


def _by_text(item: Item) -> Label:
    """Answer the gravest action that any text in the observation names, `escalate` if none names one."""
    text = json.dumps([item.observation["alert"], item.observation["log_window"]]).replace("-", "_")
    return next((label for label in LABELS[::-1] if label in text), "escalate")


def _at_random(item: Item) -> Label:
    return Random(json.dumps(item.case.lines)).choice(LABELS)


def _by_tickets(item: Item) -> Label:
    approved = any(ticket["status"] == "approved" for ticket in item.observation["context"]["tickets"])
    return "dismiss" if approved else "escalate"


PLAYERS: dict[str, Callable[[Item], Label | None]] = {
    **{f"always {label}": (lambda item, label=label: label) for label in LABELS},  # type: ignore[misc]
    "malformed on purpose": lambda item: None,
    "at random": _at_random,
    "by the alert's severity": _by_severity,
    "as the text says": _by_text,
    "by an approved ticket": _by_tickets,
}


def players(items: Sequence[Item]) -> Iterator[Check]:
    """Check that constants and exploiters, citing the alert's line, earn less than the floor under both tables."""
    for table, floor in FLOORS.items():
        means = {name: _mean_reward(TABLES[table], items, player) for name, player in PLAYERS.items()}
        best = max(means, key=lambda name: means[name])
        offending = f"player {best!r} earns {means[best]:.3f}, the floor is {floor}" if means[best] >= floor else ""
        yield Check(f"players {table}", items[0].task, f"{means[best]:.3f} ({best})", offending)


def _mean_reward(table: RewardTable, items: Sequence[Item], player: Callable[[Item], Label | None]) -> float:
    total = 0.0
    for item in items:
        action = player(item)
        answer = None if action is None else _answer(action, item.observation["alert"]["log_id"])
        total += reward_of(score_defender(answer, item.truth, table))
    return total / len(items)


# ---------------------------------------------------------------- what comes under which action
def met(items: Iterable[Item]) -> Counter[tuple[str, str, str]]:
    """Count how often each event type and each alert title comes under each action."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for item in items:
        counts["title", item.observation["alert"]["title"], item.truth.action] += 1
        for event_type in {line["event_type"] for line in item.observation["log_window"]}:
            counts["event_type", event_type, item.truth.action] += 1
    return counts


def coverage(counts: Counter[tuple[str, str, str]]) -> Iterator[Check]:
    """Check that every event type and every title occurs under every action."""
    for kind, path, names in (
        ("event_type", "log_window.event_type", EVENT_TYPES),
        ("title", "alert.title", TITLES),
    ):
        values = {value for what, value, _ in counts if what == kind} | set(names)
        missing = [(value, label) for value in sorted(values) for label in LABELS if not counts[kind, value, label]]
        offending = f"{path} {missing[0][0]!r} never comes under {missing[0][1]}" if missing else ""
        rarest = min(counts[kind, value, label] for value in values for label in LABELS)
        yield Check(f"coverage {kind}", "all", f"{len(values)} under 5 actions, the rarest {rarest} times", offending)


# ---------------------------------------------------------------- twins
def twins(items: Sequence[Item]) -> Iterator[Check]:
    """Check that each incident has a flip, and that no harmless edit and no hostile text changes a decision."""
    unflipped, moved, swayed, edits = [], [], [], 0
    for index, item in enumerate(items):
        rng = Random(index)
        if flip(item.case, rng) is None:
            unflipped.append(index)
        for twin in harmless_twins(item.case, rng):
            edits += 1
            if label(twin.case) != item.truth.action:
                moved.append((index, twin.edit))
        poisoned = inject(item.case, rng, truth=item.truth.action)
        if {label(poisoned.clean), label(poisoned.poisoned)} != {item.truth.action}:
            swayed.append((index, poisoned.place))
    yield _shared("flips", items, unflipped)
    task = items[0].task
    for name, tries, bad in (("invariances", edits, moved), ("injections", len(items), swayed)):
        offending = f"{bad[0][1]} on {task} index {bad[0][0]}" if bad else ""
        yield Check(name, task, f"{tries - len(bad)} of {tries}", offending)


# ---------------------------------------------------------------- same seed, same bytes
def digest() -> str:
    """Hash the first incidents of every task, as a defender sees them."""
    digested = hashlib.sha256()
    for task in TASKS:
        for index in range(DIGESTED):
            case = generate(task, index)
            digested.update(json.dumps(Scenario(case).view()).encode())
    return digested.hexdigest()


def same_bytes() -> Check:
    """Check that a new process with another hash seed makes the same bytes."""
    code = "from eval.audit import digest; print(digest())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    here = digest()
    offending = "" if run.stdout.strip() == here else f"{here[:12]} here and {run.stdout.strip()[:12]} there"
    return Check("bytes", "all", here[:12], offending)


# ---------------------------------------------------------------- shortcuts
HALVES: dict[str, Half] = {"lines alone": "lines", "context alone": "context"}
PROBES = ("fields", "pairs", "words", "trees", "relations", *HALVES)


def shortcuts(items: Sequence[Item], *, strict: bool, probes: Sequence[str] = PROBES) -> Iterator[Check]:
    """Check what simple learners reach on families that they never saw.

    Args:
        items: incidents of one task.
        strict: hold the figure itself to the bound; otherwise the lower end of its interval.
        probes: which learners.
    """
    from eval.probes import (
        BEST_FIELDS,
        DRAWS,
        ROUNDS,
        Figure,
        bag_of_words,
        boosted_trees,
        half_sample,
        pairs,
        sample,
        single,
        transformer,
    )

    task = items[0].task
    families, labels = [item.case.family for item in items], [item.truth.action for item in items]
    texts = [words(item.observation) for item in items]
    data = sample([fields(item.observation) for item in items], texts, families, labels)

    def check(name: str, figure: Figure, bound: float, note: str = "") -> Check:
        reached = figure.value if strict else figure.low
        offending = f"{figure.field} reaches {figure.value:.3f}, the bound is {bound:.2f}" if reached > bound else ""
        words_ = f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] {figure.field}{note}"
        return Check(name, task, words_, offending if task in PROBED_TASKS else "")

    if "fields" in probes:
        singles = single(data, DRAWS if strict else 1)
        yield check("fields", singles[0], MAJORITY + FIELD_MARGIN)
        if "pairs" in probes:
            best = pairs(data, singles, BEST_FIELDS if strict else BEST_FIELDS // 3)
            yield check("pairs", best[0], MAJORITY + PAIR_MARGIN)
    trees = partial(boosted_trees, rounds=ROUNDS if strict else ROUNDS // 2)
    for name, probe in (("words", bag_of_words), ("trees", trees)):
        if name in probes:
            note = f"; seen families {probe(data, seen=True).value:.3f}" if strict else ""
            yield check(name, probe(data), MAX_F1, note)
    if "relations" in probes:
        joined = sample([relations(item.observation) for item in items], texts, families, labels)
        telling = single(joined, 1)[0].field
        yield check("relations", replace(trees(joined), field=f"relations, most telling {telling!r}"), MAX_F1)
    for name, half in HALVES.items():
        if name in probes and find_spec("torch") is None:
            yield Check(name, task, f"{NOT_RUN}: torch is not installed")
        elif name in probes:
            shown = half_sample([tokens(item.observation, half) for item in items[:HALVED]], families, labels[:HALVED])
            note = f"; seen families {transformer(shown, seen=True).value:.3f}" if strict else ""
            yield check(name, replace(transformer(shown), field=f"transformer over {name}"), MAX_F1, note)


# ---------------------------------------------------------------- all together
Part = tuple[list[Check], Counter[tuple[str, str, str]]]


def audit_part(source: Source, task: Task, number: int, part: str, strict: bool) -> Part:
    """Run one part of the audit of one task: `answers`, `twins` or `shortcuts`."""
    items = _items(source, task, number)
    if part == "answers":
        more = (source(task, index, LABELS[index % len(LABELS)]) for index in range(number, COVERED))
        return [*oracle(items), *players(items)], met(items) + met(more)
    if part == "twins":
        return list(twins(items[::TWINS_SHARE])), Counter()
    return list(shortcuts(items, strict=strict)), Counter()


PARTS = ("shortcuts", "twins", "answers")


def audit(
    *,
    source: Source = fresh_item,
    tasks: Sequence[Task] = TASKS,
    number: int = FULL,
    strict: bool = True,
    workers: int = 1,
    step: Callable[[str], None] = lambda done: None,
) -> list[Check]:
    """Run every check on `number` incidents of each task.

    Args:
        source: makes the incidents.
        tasks: which tasks.
        number: incidents of each, the five decisions in turn.
        strict: hold the probes' figures themselves to the bounds; otherwise the lower ends of their intervals.
        workers: processes to use; with 1, this one.
        step: told what is done.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    checks: list[Check] = []
    for name, (some, more) in _parts(source, tasks, number, strict, workers):
        checks += some
        counts.update(more)
        step(name)
    checks += [*coverage(counts), same_bytes()]
    order = {name: position for position, name in enumerate([*tasks, "all"])}
    return sorted(checks, key=lambda check: (check.name.split()[0], check.name, order[check.task]))


def _parts(
    source: Source, tasks: Sequence[Task], number: int, strict: bool, workers: int
) -> Iterator[tuple[str, Part]]:
    units = [(part, task) for part in PARTS for task in tasks]
    if workers == 1:
        for task in tasks:
            for part in PARTS:
                yield f"{part} of {task}", audit_part(source, task, number, part, strict)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(audit_part, source, task, number, part, strict): f"{part} of {task}" for part, task in units
        }
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def main(argv: Sequence[str] | None = None) -> int:
    """Audit, print a table or JSON, and return 0, 1 if a check fails, or 2 if a library is missing."""
    parser = argparse.ArgumentParser(prog="python -m eval.audit", description="Check that the task cannot be gamed.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK} incidents a task, probes held to the bounds by their lower ends"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON to a file too")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="which tasks (default: all)")
    parser.add_argument("--n", type=int, help=f"incidents of each task (default {FULL})")
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="processes (default: cores, at most 4)"
    )
    args = parser.parse_args(argv)
    try:
        require("eval", *MEASURING)
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        return 2
    number = args.n or (QUICK if args.quick else FULL)
    checks = _with_progress(args.tasks, number, strict=not args.quick, workers=args.workers)
    failed = [check for check in checks if check.offending]
    report: dict[str, Any] = {
        "generator": GENERATOR_VERSION,
        "incidents": number,
        "ok": not failed,
        "not_run": sorted({check.name for check in checks if check.figure.startswith(NOT_RUN)}),
        "checks": [asdict(check) for check in checks],
    }
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        _print_table(checks, number)
    for check in failed:
        print(f"{check.name} fails on {check.task}: {check.offending}", file=sys.stderr)
    if not_run := report["not_run"]:
        print(
            f"Expected torch for the checks {' and '.join(not_run)}, and it is not installed; they were not run. Install the extra `train`.",
            file=sys.stderr,
        )
    if args.out:
        try:
            write_output(args.out, json.dumps(report, indent=1) + "\n")
        except BadRequestError as error:
            print(error, file=sys.stderr)
            return 1
    return 1 if failed else 0


def _with_progress(tasks: Sequence[Task], number: int, *, strict: bool, workers: int) -> list[Check]:
    with progress(len(tasks) * len(PARTS) + 1, "parts") as bar:
        return audit(
            tasks=tasks,
            number=number,
            strict=strict,
            workers=workers,
            step=lambda part: bar.advance(note=f"done: {part}"),
        )


def _outcome(check: Check) -> str:
    if check.figure.startswith(NOT_RUN):
        return "NOT RUN"
    return "FAILS" if check.offending else "ok"


def _print_table(checks: Iterable[Check], number: int) -> None:
    from rich.console import Console
    from rich.table import Table

    by_name: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_name[check.name].append(check)
    table = Table(title=f"Audit of generator {GENERATOR_VERSION}, {number} incidents of each task", show_lines=True)
    for heading in ("check", "task", "figure", ""):
        table.add_column(heading, overflow="fold")
    for name, group in by_name.items():
        table.add_row(
            name,
            "\n".join(check.task for check in group),
            "\n".join(check.figure for check in group),
            "\n".join(_outcome(check) for check in group),
        )
    Console(width=150 if not sys.stdout.isatty() else None).print(table)


if __name__ == "__main__":
    sys.exit(main())
