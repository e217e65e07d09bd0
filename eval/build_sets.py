"""Build the frozen sets: python -m eval.build_sets [--check] [--sample N] [--only NAME ...] [--out data]

A set is a list of row ids and what `row` makes of each. An id says all that is needed,
`set/split/task/index[/edit/side]`, so any row can be made again alone: `--check` compares all rows of each file that way, `--sample N` only N.
Which ids are in a set is found by walking the indexes from the set's first one up until its quotas are full.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
from runs.files import write_atomically
from runs.progress import track
from schema import LABELS, TASKS, BadRequestError, Label, OpenSOCError, Task
from tasks.registry import SPLITS, Split
from tasks.sets import BENCHMARK, DATA, FIELDS, MANIFEST, NAMES, PATHS, Row, load_manifest, rebuild_command
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
    """Make the row of an id.

    Raises:
        BadRequestError: no set has such an id.
        OpenSOCError: an edit does not do to the decision what it shall.
    """
    spot, side = _parsed(row_id)
    return rows_of(spot)[SIDES.index(side) if side else 0]


def _parsed(row_id: str) -> tuple[Spot, str]:
    """Return the incident and the side that an id names; the side is empty in sets without pairs."""
    parts = row_id.split("/")
    if len(parts) in (4, 6):
        name, split, task, number = parts[:4]
        edit, side = parts[4:] or ("", "")
        is_known = name in NAMES and split in SPLITS and task in TASKS and edit in ALL_EDITS.get(name, ("",))
        is_whole = number.isdecimal() and number == str(int(number)) and side in (SIDES if edit else ("",))
        if is_known and is_whole:
            return Spot(name, cast(Split, split), cast(Task, task), int(number), edit), side
    raise BadRequestError(
        f"expected a row id such as {Spot('test_seed', 'test_seed', 'stage1_basic', 7).id}; got {row_id!r}"
    )


def rows_of(spot: Spot) -> tuple[Row, ...]:
    """Make the row of an incident, or the two of a pair.

    Raises:
        BadRequestError: the edit does not fit the incident.
        OpenSOCError: an edit does not do to the decision what it shall.
    """
    case = generate(spot.task, spot.number, split=spot.split)
    if not spot.edit:
        return (_row(spot, spot.id, case),)
    twins = TWINS[spot.name](spot, case)
    if twins is None:
        raise BadRequestError(f"{spot.id} has no twin by this edit")
    base, twin, extra = twins
    blank = {name: None if name == "wanted" else value for name, value in extra.items()}
    return _side(spot, "base", base, blank), _side(spot, "twin", twin, extra)


def _side(spot: Spot, side: str, case: Case, extra: Mapping[str, Any]) -> Row:
    edit = spot.edit.partition("+")[0]
    return {**_row(spot, f"{spot.id}/{side}", case), "pair": spot.id, "edit": edit, **extra, "side": side}


def _row(spot: Spot, row_id: str, case: Case) -> Row:
    item = item_of(case)
    truth, judged = item["ground_truth"], judge_observation(item["observation"])
    if (judged.action, list(judged.evidence_log_ids)) != (truth["action"], truth["evidence_log_ids"]):
        raise OpenSOCError(
            f"{row_id} cannot be judged by its observation: {judged.action} there, {truth['action']} by its events"
        )
    about = {"id": row_id, "task": spot.task, "split": spot.split, "weight": weight(spot.name, truth["action"])}
    fields = about | item
    return {name: fields[name] for name in FIELDS}


def weight(name: str, action: Label) -> float:
    """Return how much an item counts when a set shall look like a working day; 1 on average, and in sets that are no sample."""
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
    """Return the first twin by an edit, in a seeded order, that has another decision and stands by itself."""
    rng = Random(spot.id)
    twins = list(EDITS[spot.edit](case, rng))
    rng.shuffle(twins)
    before = label(case)
    flips = (twin for twin in twins[:TRIED] if label(twin) != before and stands(twin))
    return next(((case, twin, {}) for twin in flips), None)


def _poisoned(spot: Spot, case: Case) -> Twins:
    """Return the incident with a carrier of ordinary text and with one of hostile text."""
    place, tier = spot.edit.split("+")
    truth = label(case)
    twin = inject(case, Random(spot.id), truth=truth, place=cast(Place, place), tier=cast(Tier, tier))
    if twin.place != place:
        return None
    if {label(twin.clean), label(twin.poisoned)} != {truth}:
        raise OpenSOCError(f"{spot.id}: hostile text changed the decision")
    return twin.clean, twin.poisoned, {"tier": tier, "wanted": twin.wanted}


def _unchanged(spot: Spot, case: Case) -> Twins:
    """Return the incident and its twin by an edit that leaves the decision alone."""
    twin = SAME[spot.edit](case, Random(spot.id))
    if twin is None:
        return None
    if label(twin) != label(case):
        raise OpenSOCError(f"{spot.id}: the edit changed the decision")
    return case, twin, {}


CARRIERS = tuple(f"{place}+{tier}" for tier in TIERS for place in PLACES)
ALL_EDITS: dict[str, Collection[str]] = {"pairs": EDITS, "injection": CARRIERS, "invariance": SAME}
TWINS: dict[str, Callable[[Spot, Case], Twins]] = {"pairs": _flipped, "injection": _poisoned, "invariance": _unchanged}


# ---------------------------------------------------------------- which incidents are in a set
def _with_quotas(name: str, splits: Sequence[Split], quotas: dict[str, Counter[str]]) -> Iterator[Spot]:
    """Yield the first incidents of each task that fill its quota of each action, the splits in turn."""
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
    """Yield incidents of all tasks and test splits in turn."""
    for index in _indexes(name):
        number = index - FIRST[name]
        yield Spot(name, TEST_SPLITS[number // len(tasks) % len(TEST_SPLITS)], tasks[number % len(tasks)], index)


def _pairs() -> Iterator[Spot]:
    """Yield of each incident the flip whose edit and direction (to a graver or a milder action) was met least so far."""
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
    """Yield incidents with the edits in turn; one that an edit does not fit is left out."""
    taken, spots = 0, _turns(name, tasks)
    while taken < number:
        spot = next(spots)._replace(edit=edits[taken % len(edits)])
        if TWINS[name](spot, generate(spot.task, spot.number, split=spot.split)):
            taken += 1
            yield spot


def _each(number: int) -> dict[str, Counter[str]]:
    return {task: Counter(dict.fromkeys(LABELS, number)) for task in TASKS}


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
    "injection": (INJECTIONS, partial(_edited, "injection", TASKS[:3], CARRIERS, INJECTIONS)),
    "invariance": (UNCHANGED, partial(_edited, "invariance", TASKS, tuple(SAME), UNCHANGED)),
}


# ---------------------------------------------------------------- files
def line(row: Row) -> bytes:
    """Return a row as it stands in its file."""
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def plan(name: str) -> list[Spot]:
    """List the incidents of a set in the order of its file: mixed by a hash of their ids."""
    number, spots = PLANS[name]
    return sorted(
        track(spots(), f"incidents of {name}", total=number), key=lambda spot: hashlib.sha256(spot.id.encode()).digest()
    )


def build(name: str) -> list[Row]:
    """Make the rows of a set in the order of its file, the two of a pair together."""
    return [row for spot in plan(name) for row in rows_of(spot)]


def _entry(name: str, rows: Sequence[Row], content: bytes) -> dict[str, Any]:
    """Describe a set for the manifest."""
    indexes = [int(row["id"].split("/")[3]) for row in rows]
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
    """Count the rows of each value under each action."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row[by]][row["ground_truth"]["action"]] += 1
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
    lines = (data / PATHS[name]).read_bytes().splitlines(keepends=True)
    number = len(lines) if number is None else number
    chosen = sorted({round(share * (len(lines) - 1) / max(number - 1, 1)) for share in range(number)})
    faults = ((index, _fault(lines[index])) for index in track(chosen, f"rows of {name}", total=len(chosen)))
    return [f"{data / PATHS[name]}, line {index + 1}: {fault}" for index, fault in faults if fault]


def _fault(text: bytes) -> str:
    """Say how a line of a file differs from the row that its id makes; empty for not at all."""
    try:
        stored = json.loads(text)
        made = row(stored["id"])
    except (ValueError, KeyError, TypeError, AttributeError, OpenSOCError) as error:
        return str(error)
    keys = list(_differing(stored, made))
    if not keys and line(made) != text:
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


def misplaced_rows(name: str, data: Path, spots: Sequence[Spot]) -> list[str]:
    """Say which incidents a file lacks, holds beside those of the plan, or holds in another order."""
    path = data / PATHS[name]
    rows = [json.loads(text) for text in path.read_bytes().splitlines()]
    stored = list(dict.fromkeys(row.get("pair", row["id"]) for row in rows))
    wanted = [spot.id for spot in spots]
    faults = [f"{path}: {lacking} is chosen now, and the file lacks it" for lacking in wanted if lacking not in stored]
    faults += [f"{path}: {extra} is not chosen any more" for extra in stored if extra not in wanted]
    return faults or ([] if stored == wanted else [f"{path}: the rows stand in another order"])


# ---------------------------------------------------------------- the command
def main(argv: Sequence[str] | None = None) -> int:
    """Build or check; return 1 if a file is not what the builder makes."""
    args = _arguments(argv)
    try:
        if args.check or args.sample is not None:
            return _check_all(args.only, args.out, args.sample)
        args.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        _write_all(_build_all(args.only), args.out)
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or args.out}: {error.strerror}; is --out the folder of the sets?", file=sys.stderr)
        return 1
    return 0


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


def _write_all(built: dict[str, list[Row]], out: Path) -> None:
    """Write the files, then the manifest with their entries and those of sets that were not built now."""
    entries = load_manifest(out)["sets"] if (out / MANIFEST).is_file() else {}
    for name, rows in built.items():
        content = b"".join(map(line, rows))
        write_atomically(out / PATHS[name], content)
        entries[name] = entry = _entry(name, rows, content)
        print(f"{PATHS[name]}: {entry['rows']} rows, {entry['bytes'] / 1e6:.1f} MB, sha256 {entry['sha256'][:12]}")
    manifest = {
        "generator": GENERATOR_VERSION,
        "command": "python -m eval.build_sets --out data",
        "operational_mix": OPERATIONAL_MIX,
        "sets": {name: entries[name] for name in NAMES if name in entries},
    }
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
