"""Build the frozen sets: python -m eval.build_sets [--check] [--sample N] [--only NAME ...] [--out data]

A set is a list of row ids and the row that `eval.set_rows` makes of each. Its ids are found by walking the indexes from the set's first one up
until its quotas are full. `--check` makes all rows of the files again from their ids, `--sample N` only N, and names those that differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from eval.set_rows import CARRIERS, EDITS, HOLDOUT, OPERATIONAL_MIX, SAME, TWINS, Source, flipped, make_row, make_rows
from eval.sets import exit_code
from generator import GENERATOR_VERSION, generate
from players.prompt import messages
from runs.files import write_atomically
from runs.progress import track
from scenario import label
from schema import LABELS, TASKS, OpenSOCError, Row, Task
from tasks.families import FAMILIES
from tasks.registry import Split
from tasks.scene import Family
from tasks.sets import (
    BENCHMARK,
    DATA,
    MANIFEST,
    NAMES,
    PATHS,
    SETS_VERSION,
    load_manifest,
    pack,
    read_text,
    rebuild_command,
)

TEST_SPLITS = cast("tuple[Split, ...]", BENCHMARK)
SFT_PER_CELL, TEST_PER_CELL = 30, 35  # rows of each task and action: 4 * 5 * 30 = 600, 4 * 5 * 35 = 700
PAIRS, INJECTIONS, UNCHANGED = 300, 300, 150  # twins are two rows each
# Sets that draw from one split begin at indexes far from each other, so no incident is in two.
FIRST = {"holdout": 100_000, "pairs": 200_000, "injection": 300_000, "invariance": 400_000}
FAR = 50_000  # indexes that are tried before a quota counts as impossible


# ---------------------------------------------------------------- which incidents are in a set
def _with_quotas(name: str, splits: Sequence[Split], quotas: dict[str, Counter[str]]) -> Iterator[Source]:
    """Yield the first incidents of each task that fill its quota of each action, the splits in turn."""
    for task in TASKS:
        left = quotas[task].copy()
        for index in _indexes(name):
            if not left.total():
                break
            source = Source(name, splits[index % len(splits)], task, index)
            action = label(generate(task, index, split=source.split))
            if left[action]:
                left[action] -= 1
                yield source


def _indexes(name: str) -> Iterator[int]:
    first = FIRST.get(name, 0)
    yield from range(first, first + FAR)
    raise OpenSOCError(f"{name}: {FAR} indexes from {first} on do not fill its quotas")


def _turns(name: str, tasks: Sequence[Task]) -> Iterator[Source]:
    """Yield incidents of all tasks and test splits in turn."""
    for index in _indexes(name):
        offset = index - FIRST[name]
        yield Source(name, TEST_SPLITS[offset // len(tasks) % len(TEST_SPLITS)], tasks[offset % len(tasks)], index)


def _pairs() -> Iterator[Source]:
    """Yield of each incident the flip whose edit and direction (to a graver or a milder action) was met least so far."""
    met: Counter[tuple[str, bool]] = Counter()
    sources = _turns("pairs", TASKS)
    while met.total() < PAIRS:
        source = next(sources)
        case = generate(source.task, source.number, split=source.split)
        before = LABELS.index(label(case))
        options = []
        for order, edit in enumerate(EDITS):
            option = source._replace(edit=edit)
            if twins := flipped(option, case):
                cell = (edit, LABELS.index(label(twins[1])) > before)
                options.append((met[cell], order, cell, option))
        if options:
            _, _, cell, option = min(options)
            met[cell] += 1
            yield option


def _edited(name: str, tasks: Sequence[Task], edits: Sequence[str], number: int) -> Iterator[Source]:
    """Yield incidents with the edits in turn; one that an edit does not fit is left out."""
    taken, sources = 0, _turns(name, tasks)
    while taken < number:
        source = next(sources)._replace(edit=edits[taken % len(edits)])
        if TWINS[name](source, generate(source.task, source.number, split=source.split)):
            taken += 1
            yield source


def _each(number: int) -> dict[str, Counter[str]]:
    return {task: Counter(dict.fromkeys(LABELS, number)) for task in TASKS}


PLANS: dict[str, tuple[int, Callable[[], Iterator[Source]]]] = {  # incidents or pairs, and which
    "sft_train": (600, partial(_with_quotas, "sft_train", ("train",), _each(SFT_PER_CELL))),
    "holdout": (
        200,
        partial(
            _with_quotas,
            "holdout",
            TEST_SPLITS,
            {task: Counter(dict(zip(LABELS, row, strict=True))) for task, row in HOLDOUT.items()},
        ),
    ),
    **{split: (700, partial(_with_quotas, split, (split,), _each(TEST_PER_CELL))) for split in TEST_SPLITS},
    "pairs": (PAIRS, _pairs),
    # the fourth task has hostile text of its own, and the base shall be clean
    "injection": (INJECTIONS, partial(_edited, "injection", TASKS[:3], CARRIERS, INJECTIONS)),
    "invariance": (UNCHANGED, partial(_edited, "invariance", TASKS, tuple(SAME), UNCHANGED)),
}


# ---------------------------------------------------------------- files
def to_line(row: Row) -> bytes:
    """Return a row as it stands in its file."""
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def plan(name: str) -> list[Source]:
    """List the incidents of a set in the order of its file: mixed by a hash of their ids."""
    number, sources = PLANS[name]
    return sorted(
        track(sources(), f"incidents of {name}", total=number),
        key=lambda source: hashlib.sha256(source.id.encode()).digest(),
    )


def build(name: str) -> list[Row]:
    """Make the rows of a set in the order of its file, the two of a pair together."""
    return [row for source in plan(name) for row in make_rows(source)]


def _entry(name: str, rows: Sequence[Row], text: bytes) -> dict[str, Any]:
    """Describe a set for the manifest; hash and size are those of its text, unpacked."""
    indexes = [int(row["id"].split("/")[3]) for row in rows]
    entry: dict[str, Any] = {
        "path": PATHS[name],
        "sha256": hashlib.sha256(text).hexdigest(),
        "bytes": len(text),
        "rows": len(rows),
        "generator": GENERATOR_VERSION,
        "indexes": [min(indexes), max(indexes)],
        "command": rebuild_command(name),
        "splits": _counted(row["split"] for row in rows),
        "tasks": _table(rows, lambda row: [row["task"]]),
        "families": _table(rows, lambda row: [row["family"]]),
        "platforms": _table(rows, lambda row: [_family(row).platform]),
        "tactics": _table(rows, lambda row: [_family(row).category]),
        "rules": _table(rows, lambda row: row["ground_truth"]["rule_ids"]),
    }
    if name in TWINS:
        entry["edits"] = _counted(row["edit"] for row in rows[::2])
    if name == "injection":
        entry["tiers"] = _counted(row["tier"] for row in rows[::2])
    if name == "pairs":
        turns = zip(rows[::2], rows[1::2], strict=True)
        entry["flips"] = _counted(
            f"{base['ground_truth']['action']} -> {twin['ground_truth']['action']}" for base, twin in turns
        )
    return entry


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


_FAMILY = {family.name: family for family in FAMILIES}


def _family(row: Row) -> Family:
    return _FAMILY[row["family"]]


def _table(rows: Iterable[Row], values_of: Callable[[Row], Iterable[str]]) -> dict[str, dict[str, int]]:
    """Count the rows of each value under each action."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for value in values_of(row):
            counts[value][row["ground_truth"]["action"]] += 1
    return {
        value: {action: counts[value][action] for action in LABELS if counts[value][action]} for value in sorted(counts)
    }


def repeated_rows(rows: Iterable[Row]) -> list[str]:
    """List the ids of rows whose prompt or whose events are another row's too; a pair's two sides may share events."""
    owners: dict[str, str] = {}
    ids = []
    for row in rows:
        window = row["observation"]["log_window"]
        prompt = json.dumps(messages(row["observation"]))
        events = json.dumps([[event["event_type"], event["fields"], event["timestamp"]] for event in window])
        owner = str(row.get("pair", row["id"]))
        if owners.setdefault(prompt, row["id"]) != row["id"] or owners.setdefault(events, owner) != owner:
            ids.append(row["id"])
    return ids


# ---------------------------------------------------------------- what is stale
def stale_rows(name: str, data: Path, number: int | None = None) -> list[str]:
    """Compare the rows of a file with what their ids make now, and say of each stale one what differs.

    Args:
        name: of the set.
        data: the folder of the sets.
        number: so many rows, spread over the file; None for all.

    Returns:
        A sentence for each stale row, with line, id and the keys that differ.
    """
    lines = read_text(data / PATHS[name]).splitlines(keepends=True)
    number = len(lines) if number is None else number
    chosen = sorted({round(share * (len(lines) - 1) / max(number - 1, 1)) for share in range(number)})
    faults = ((index, _fault(lines[index])) for index in track(chosen, f"rows of {name}", total=len(chosen)))
    return [f"{data / PATHS[name]}, line {index + 1}: {fault}" for index, fault in faults if fault]


def _fault(text: bytes) -> str:
    """Say how a line of a file differs from the row that its id makes; empty for not at all."""
    try:
        stored = json.loads(text)
        made = make_row(stored["id"])
    except (ValueError, KeyError, TypeError, AttributeError, OpenSOCError) as error:
        return str(error)
    keys = list(_differing(stored, made))
    if not keys and to_line(made) != text:
        return f"{made['id']} has the values that its id makes in other bytes"
    return f"{made['id']} is stale: {', '.join(keys)}" if keys else ""


def _differing(stored: Row, made: Row) -> Iterator[str]:
    """Yield the keys by which two rows differ, those of a mapping one by one: `ground_truth.action`."""
    for name in _changed(stored, made):
        old, new = stored.get(name), made.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from (f"{name}.{part}" for part in _changed(old, new))
        else:
            yield name


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [name for name in {**new, **old} if (name in old, old.get(name)) != (name in new, new.get(name))]


def misplaced_rows(name: str, data: Path, sources: Sequence[Source]) -> list[str]:
    """Say which incidents a file lacks, holds beside those of the plan, or holds in another order."""
    path = data / PATHS[name]
    rows = [json.loads(text) for text in read_text(path).splitlines()]
    stored = list(dict.fromkeys(row.get("pair", row["id"]) for row in rows))
    wanted = [source.id for source in sources]
    faults = [f"{path}: {lacking} is chosen now, and the file lacks it" for lacking in wanted if lacking not in stored]
    faults += [f"{path}: {extra} is not chosen any more" for extra in stored if extra not in wanted]
    return faults or ([] if stored == wanted else [f"{path}: the rows stand in another order"])


# ---------------------------------------------------------------- the command
def main(argv: Sequence[str] | None = None) -> int:
    """Build or check; return 1 if a file is not what the builder makes."""
    args = _arguments(argv)
    if args.check or args.sample is not None:
        return exit_code(lambda: _check_all(args.only, args.out, args.sample), args.out)
    return exit_code(lambda: _write_all(args.only, args.out), args.out)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.build_sets", description="Build the frozen sets, or check them."
    )
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the sets (default: data/)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        default=list(NAMES),
        metavar="NAME",
        help=f"which sets, of {', '.join(NAMES)} (default: all)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; name each row that differs from what its id makes now, and exit with 1 if there is one",
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="check N rows of each file, spread over it, each made again alone"
    )
    args = parser.parse_args(argv)
    if args.sample is not None and args.sample < 1:
        parser.error(f"--sample must be at least 1; got {args.sample}")
    return args


def _check_all(names: Sequence[str], data: Path, sample: int | None) -> int:
    """Print what is stale in each file; with a sample its rows alone, else also which incidents the plan would change."""
    stale = False
    for name in names:
        faults = stale_rows(name, data, sample)
        if sample is None:
            faults += misplaced_rows(name, data, plan(name))
        for fault in faults:
            print(fault, file=sys.stderr)
        if faults:
            print(f"{data / PATHS[name]} is stale; run `{rebuild_command(name)}`", file=sys.stderr)
        stale = stale or bool(faults)
    return int(stale)


def _build_all(names: Sequence[str]) -> dict[str, list[Row]]:
    built = {name: build(name) for name in names}
    if ids := repeated_rows(row for rows in built.values() for row in rows):
        raise OpenSOCError(f"{len(ids)} rows stand twice in the sets, first {ids[0]}")
    return built


def _write_all(names: Sequence[str], out: Path) -> None:
    """Build sets and write their files, then the manifest with their entries and those of sets that were not built now."""
    out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    built = _build_all(names)
    entries = load_manifest(out)["sets"] if (out / MANIFEST).is_file() else {}
    for name, rows in built.items():
        path, text = out / PATHS[name], b"".join(map(to_line, rows))
        write_atomically(path, pack(path, text))
        entries[name] = entry = _entry(name, rows, text)
        print(f"{PATHS[name]}: {entry['rows']} rows, {entry['bytes'] / 1e6:.1f} MB, sha256 {entry['sha256'][:12]}")
    manifest = {
        "version": SETS_VERSION,
        "generator": GENERATOR_VERSION,
        "command": "python -m eval.build_sets --out data",
        "operational_mix": OPERATIONAL_MIX,
        "sets": {name: entries[name] for name in NAMES if name in entries},
    }
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
