"""Build the frozen sets: python -m eval.build_sets [--check] [--sample N] [--only NAME ...] [--out data]

A set is a list of row ids and what `row` makes of each. An id says all that is needed,
`set/split/task/index[/edit/side]`, so any row can be made again alone: `--check --sample N` compares N rows of each file that way.
Which ids are in a set is found by walking the indexes from the set's first one up until its quotas are full.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

from eval.pairs import label, stands
from generator import GENERATOR_VERSION, Case, generate
from generator.injection import PLACES, TIERS, Place, Tier, inject
from generator.invariances import INVARIANCES
from generator.twins import BROADER, LAST, MINIMAL
from players.prompt import messages
from players.scoring import item_of
from schema import LABELS, TASKS, BadRequestError, Label, OpenSOCError, Task
from tasks.registry import Split
from tasks.sets import BENCHMARK, DATA, FIELDS, MANIFEST, NAMES, PATHS, load_manifest, rebuild_command
from verifier import judge_observation

# The alerts of a working day, an assumption (data/README.md gives its reason): weights make a set's classes occur in these shares.
OPERATIONAL_MIX: dict[Label, float] = {
    "dismiss": 0.90,
    "monitor": 0.06,
    "block_ip": 0.02,
    "quarantine_host": 0.01,
    "escalate": 0.01,
}
TEST_SPLITS = cast("tuple[Split, ...]", BENCHMARK)
SFT_PER_CELL, TEST_PER_CELL = 30, 35  # rows of each task and action: 4 * 5 * 30 = 600, 4 * 5 * 35 = 700
HOLDOUT = {  # rows of each task, by action in the order of LABELS: 26 dismiss, 43 monitor, 43 quarantine, 44 block, 44 escalate
    "stage1_basic": (7, 11, 11, 11, 10),
    "stage2_multi": (7, 10, 11, 11, 11),
    "stage3_mixed": (6, 11, 10, 11, 12),
    "stage4_adversarial": (6, 11, 11, 11, 11),
}
PAIRS, INJECTIONS, UNCHANGED = 300, 300, 150  # twins are two rows each
# Sets that draw from one split begin at indexes far from each other, so no incident is in two.
FIRST = {"holdout": 100_000, "pairs": 200_000, "injection": 300_000, "invariance": 400_000}
FAR = 50_000  # indexes that are tried before a quota counts as impossible
TRIED = 40  # twins by one kind of edit that are tried
EDITS = {propose.__name__: propose for propose in (*MINIMAL, *BROADER, *LAST)}
SAME = {edit.__name__: edit for edit in INVARIANCES}
SIDES = ("base", "twin")
Row = dict[str, Any]


class Spot(NamedTuple):
    """Which incident a row is made of, and by which edit; `edit` is empty where the incident stands as it is."""

    name: str
    split: Split
    task: Task
    number: int
    edit: str = ""

    @property
    def id(self) -> str:
        return "/".join(str(part) for part in self if part != "")


# ---------------------------------------------------------------- one row from its id
def row(row_id: str) -> Row:
    """The row of an id.

    Raises:
        BadRequestError: no set has such an id.
    """
    name, _, rest = row_id.partition("/")
    try:
        split, task, index, *edit = rest.split("/")
        spot = Spot(name, cast(Split, split), cast(Task, task), int(index), edit[0] if edit else "")
        if name not in NAMES or bool(edit) != (name in TWINS) or (edit and edit[1] not in SIDES):
            raise ValueError
        made = rows_of(spot)[SIDES.index(edit[1]) if edit else 0]
        if made["id"] != row_id or spot.number < 0:
            raise ValueError
        return made
    except (ValueError, IndexError, KeyError) as error:
        raise BadRequestError(
            f"expected a row id such as {Spot('test_seed', 'test_seed', 'stage1_basic', 7).id}; got {row_id!r}"
        ) from error


def rows_of(spot: Spot) -> list[Row]:
    """The row of an incident, or the two of a pair."""
    case = generate(spot.task, spot.number, split=spot.split)
    if not spot.edit:
        return [_row(spot, spot.id, case)]
    twins = TWINS[spot.name](spot, case)
    if twins is None:
        raise ValueError(f"{spot.id} has no twin")
    base, twin, more = twins
    return [
        {
            **_row(spot, f"{spot.id}/{side}", of),
            "pair": spot.id,
            "edit": spot.edit.partition("+")[0],
            **extra,
            "side": side,
        }
        for side, of, extra in (
            ("base", base, {name: None if name == "wanted" else value for name, value in more.items()}),
            ("twin", twin, more),
        )
    ]


def _row(spot: Spot, row_id: str, case: Case) -> Row:
    found = item_of(case)
    observation, truth = found["observation"], found["ground_truth"]
    seen = judge_observation(observation)
    if (seen.action, list(seen.evidence_log_ids)) != (truth["action"], truth["evidence_log_ids"]):
        raise OpenSOCError(
            f"{row_id} cannot be told from its observation: {seen.action} there, {truth['action']} by its events"
        )
    made = {
        "id": row_id,
        "task": spot.task,
        "split": spot.split,
        **found,
        "prompt": messages(observation),
        "weight": weight(spot.name, truth["action"]),
    }
    return {name: made[name] for name in FIELDS}


def weight(name: str, action: Label) -> float:
    """How much an item counts when a set shall look like a working day; 1 on average over the set, and in sets that are no sample."""
    if name in BENCHMARK:
        share = 1 / len(LABELS)
    elif name == "holdout":
        share = sum(row[LABELS.index(action)] for row in HOLDOUT.values()) / sum(map(sum, HOLDOUT.values()))
    else:
        return 1.0
    return round(OPERATIONAL_MIX[action] / share, 6)


# ---------------------------------------------------------------- twins
Twins = tuple[Case, Case, dict[str, Any]] | None  # base, twin, and what the row says beside the edit


def _flipped(spot: Spot, case: Case) -> Twins:
    """The first twin by an edit, in a seeded order, that has another decision and stands by itself."""
    rng = Random(spot.id)
    twins = list(EDITS[spot.edit](case, rng))
    rng.shuffle(twins)
    before = label(case)
    found = (twin for twin in twins[:TRIED] if label(twin) != before and stands(twin))
    return next(((case, twin, {}) for twin in found), None)


def _poisoned(spot: Spot, case: Case) -> Twins:
    """The incident with a carrier of ordinary text and with one of hostile text."""
    place, tier = spot.edit.split("+")
    truth = label(case)
    twin = inject(case, Random(spot.id), truth=truth, place=cast(Place, place), tier=cast(Tier, tier))
    if twin.place != place:
        return None
    if {label(twin.clean), label(twin.poisoned)} != {truth}:
        raise OpenSOCError(f"{spot.id}: hostile text changed the decision")
    return twin.clean, twin.poisoned, {"tier": tier, "wanted": twin.wanted}


def _unchanged(spot: Spot, case: Case) -> Twins:
    """The incident and its twin by an edit that leaves the decision alone."""
    twin = SAME[spot.edit](case, Random(spot.id))
    if twin is None:
        return None
    if label(twin) != label(case):
        raise OpenSOCError(f"{spot.id}: the edit changed the decision")
    return case, twin, {}


TWINS: dict[str, Callable[[Spot, Case], Twins]] = {"pairs": _flipped, "injection": _poisoned, "invariance": _unchanged}


# ---------------------------------------------------------------- which incidents are in a set
def _with_quotas(name: str, splits: Sequence[Split], quotas: dict[str, Counter[str]]) -> Iterator[Spot]:
    """The first incidents of each task that fill its quota of each action, the splits in turn."""
    for task in TASKS:
        left = quotas[task].copy()
        for index in _indexes(name):
            if not left.total():
                break
            spot = Spot(name, splits[index % len(splits)], task, index)
            action = label(generate(task, index, split=spot.split))
            if left[action]:
                left[action] -= 1
                yield spot


def _indexes(name: str) -> Iterator[int]:
    first = FIRST.get(name, 0)
    yield from range(first, first + FAR)
    raise OpenSOCError(f"{name}: {FAR} indexes from {first} on do not fill its quotas")


def _turns(name: str, tasks: Sequence[Task]) -> Iterator[Spot]:
    """Incidents of all tasks and test splits in turn."""
    for index in _indexes(name):
        number = index - FIRST[name]
        yield Spot(name, TEST_SPLITS[number // len(tasks) % len(TEST_SPLITS)], tasks[number % len(tasks)], index)


def _pairs() -> Iterator[Spot]:
    """Of each incident the flip whose edit and direction (to a graver or a milder action) was met least so far."""
    met: Counter[tuple[str, bool]] = Counter()
    spots = _turns("pairs", TASKS)
    while met.total() < PAIRS:
        spot = next(spots)
        case = generate(spot.task, spot.number, split=spot.split)
        before = LABELS.index(label(case))
        options = []
        for order, edit in enumerate(EDITS):
            option = spot._replace(edit=edit)
            if twins := _flipped(option, case):
                cell = (edit, LABELS.index(label(twins[1])) > before)
                options.append((met[cell], order, cell, option))
        if options:
            _, _, cell, option = min(options)
            met[cell] += 1
            yield option


def _edited(name: str, tasks: Sequence[Task], edits: Sequence[str], number: int) -> Iterator[Spot]:
    """Incidents with the edits in turn; one that an edit does not fit is left out."""
    taken, spots = 0, _turns(name, tasks)
    while taken < number:
        spot = next(spots)._replace(edit=edits[taken % len(edits)])
        if TWINS[name](spot, generate(spot.task, spot.number, split=spot.split)):
            taken += 1
            yield spot


def _each(number: int) -> dict[str, Counter[str]]:
    return {task: Counter(dict.fromkeys(LABELS, number)) for task in TASKS}


_CARRIERS = tuple(f"{place}+{tier}" for tier in TIERS for place in PLACES)
PLANS: dict[str, tuple[int, Callable[[], Iterator[Spot]]]] = {  # incidents or pairs, and which
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
    "injection": (INJECTIONS, partial(_edited, "injection", TASKS[:3], _CARRIERS, INJECTIONS)),
    "invariance": (UNCHANGED, partial(_edited, "invariance", TASKS, tuple(SAME), UNCHANGED)),
}


# ---------------------------------------------------------------- files
def line(row: Row) -> bytes:
    """A row as it stands in its file."""
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def build(name: str, step: Callable[[], None] = lambda: None) -> tuple[bytes, dict[str, Any]]:
    """A set's file and its entry in the manifest. Rows are mixed by a hash of their ids, the two of a pair together."""
    spots = []
    for spot in PLANS[name][1]():
        spots.append(spot)
        step()
    spots.sort(key=lambda spot: hashlib.sha256(spot.id.encode()).digest())
    rows = [row for spot in spots for row in rows_of(spot)]
    content = b"".join(map(line, rows))
    return content, _entry(name, rows, spots, content)


def _entry(name: str, rows: Sequence[Row], spots: Sequence[Spot], content: bytes) -> dict[str, Any]:
    """What the manifest says of a set."""
    indexes = [spot.number for spot in spots]
    entry: dict[str, Any] = {
        "path": PATHS[name],
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "rows": len(rows),
        "generator": GENERATOR_VERSION,
        "indexes": [min(indexes), max(indexes)],
        "command": rebuild_command(name),
        "splits": _counted(row["split"] for row in rows),
        "tasks": _table(rows, "task"),
        "families": _table(rows, "family"),
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


def _table(rows: Iterable[Row], by: str) -> dict[str, dict[str, int]]:
    """How many rows each value has under each action."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        found[row[by]][row["ground_truth"]["action"]] += 1
    return {
        value: {action: found[value][action] for action in LABELS if found[value][action]} for value in sorted(found)
    }


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def twice(contents: dict[str, bytes]) -> list[str]:
    """Ids of rows whose prompt or whose events are another row's too; the events of a pair's two sides may be the same."""
    met: dict[bytes, str] = {}
    found = []
    for content in contents.values():
        for text in content.splitlines():
            row = json.loads(text)
            prompt = json.dumps(row["prompt"]).encode()
            events = json.dumps(
                [
                    [event["event_type"], event["fields"], event["timestamp"]]
                    for event in row["observation"]["log_window"]
                ]
            ).encode()
            owner = row.get("pair", row["id"])
            if met.setdefault(prompt, row["id"]) != row["id"] or met.setdefault(events, owner) != owner:
                found.append(row["id"])
    return found


# ---------------------------------------------------------------- the command
def main(argv: Sequence[str] | None = None) -> int:
    """Build or check; returns 1 when a file is not what the builder makes."""
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
        "--check", action="store_true", help="write nothing; exit with 1 when a file differs from what would be built"
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="check N rows of each file, spread over it, each made again alone"
    )
    args = parser.parse_args(argv)
    if args.sample is not None and args.sample < 1:
        parser.error(f"--sample must be at least 1; got {args.sample}")
    try:
        if args.sample is not None:
            return _report([fault for name in args.only for fault in differing_rows(name, args.out, args.sample)])
        if not args.check:
            args.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        built = _build_all(args.only)
        if args.check:
            return _report(
                [fault for name, (content, _) in built.items() for fault in _differs(args.out / PATHS[name], content)]
            )
        _write_all(built, args.out)
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or args.out}: {error.strerror}; is --out the folder of the sets?", file=sys.stderr)
        return 1
    return 0


def differing_rows(name: str, data: Path, number: int) -> list[str]:
    """Faults of rows of a file, spread over it, that are not byte for byte what their ids make."""
    path = data / PATHS[name]
    lines = path.read_bytes().splitlines(keepends=True)
    chosen = sorted({round(place * (len(lines) - 1) / max(number - 1, 1)) for place in range(number)})
    faults = []
    for place in chosen:
        try:
            made = line(row(json.loads(lines[place])["id"]))
        except (ValueError, KeyError, TypeError, BadRequestError) as error:
            faults.append(f"{path}, line {place + 1}: {error}")
            continue
        if made != lines[place]:
            faults.append(f"{path}, line {place + 1}: not what its id makes; run `{rebuild_command(name)}`")
    return faults


def _differs(path: Path, content: bytes) -> list[str]:
    same = path.is_file() and path.read_bytes() == content
    return [] if same else [f"{path}: not what is built; run `{rebuild_command(path.stem)}`"]


def _report(faults: Sequence[str]) -> int:
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _build_all(names: Sequence[str]) -> dict[str, tuple[bytes, dict[str, Any]]]:
    from rich.console import Console
    from rich.progress import Progress

    built = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in names:
            bar = progress.add_task(name, total=PLANS[name][0])
            built[name] = build(name, lambda bar=bar: progress.update(bar, advance=1))  # type: ignore[misc]
    if repeated := twice({name: content for name, (content, _) in built.items()}):
        raise OpenSOCError(f"{len(repeated)} rows stand twice in the sets, first {repeated[0]}")
    return built


def _write_all(built: dict[str, tuple[bytes, dict[str, Any]]], out: Path) -> None:
    """The files, then the manifest with their entries and those of sets that were not built now."""
    for name, (content, _) in built.items():
        write(out / PATHS[name], content)
    before = load_manifest(out)["sets"] if (out / MANIFEST).is_file() else {}
    entries = {**before, **{name: entry for name, (_, entry) in built.items()}}
    manifest = {
        "generator": GENERATOR_VERSION,
        "command": "python -m eval.build_sets --out data",
        "density": "full",
        "operational_mix": OPERATIONAL_MIX,
        "sets": {name: entries[name] for name in NAMES if name in entries},
    }
    write(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    for name, (_, entry) in built.items():
        print(f"{PATHS[name]}: {entry['rows']} rows, {entry['bytes'] / 1e6:.1f} MB, sha256 {entry['sha256'][:12]}")


if __name__ == "__main__":
    sys.exit(main())
