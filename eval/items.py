"""What `eval.run` asks: the sets behind the names of `--split`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from generator.incidents import GENERATOR_VERSION, generate
from scenario import item_of
from schema import TASKS, BadRequestError, Row
from tasks.registry import Split
from tasks.sets import BENCHMARK, RECORDED, SUFFIXES, FrozenSet, load_set
from tasks.sets import NAMES as FROZEN

GROUPS = {
    "benchmark": BENCHMARK,
    "all": tuple(name for name in FROZEN if name != "sft_train"),
}
FRESH: tuple[Split, ...] = ("val", "val_family")  # made on the spot, to choose models by
NAMES = (*GROUPS["all"], "sft_train", *FRESH, RECORDED, *GROUPS)


def split_names(given: Iterable[str]) -> list[str]:
    """List the sets that names and groups mean, each once, in their order.

    Raises:
        BadRequestError: an unknown name.
    """
    names = [part for name in given for part in name.split(",") if part]
    unknown = [name for name in names if name not in NAMES and not name.endswith(SUFFIXES)]
    if unknown or not names:
        raise BadRequestError(
            f"Unknown split {', '.join(map(repr, unknown)) or 'of no name'}: expected some of {', '.join(NAMES)}, or files of the same form ({', '.join(SUFFIXES)})."
        )
    return list(dict.fromkeys(member for name in names for member in GROUPS.get(name, (name,))))


def frozen(name: str, limit: int | None = None) -> FrozenSet:
    """Load a frozen set, checked against the manifest; with a limit, only its first `limit` rows."""
    items = load_set(name)
    if items.name in (*FRESH, RECORDED, *GROUPS):
        raise BadRequestError(
            f"Expected a file whose name is not taken by something else, and {items.name!r} is; rename it."
        )
    return items if limit is None else replace(items, rows=items.rows[:limit])


def fresh(split: Split, number: int, seed: int) -> FrozenSet:
    """Make so many incidents of a split of `FRESH`, the four tasks in turn; the same for the same seed and generator."""
    rows = [_fresh_row(split, index, seed) for index in range(number)]
    digest = hashlib.sha256("".join(json.dumps(row) + "\n" for row in rows).encode()).hexdigest()
    return FrozenSet(split, Path(f"generator {GENERATOR_VERSION}"), digest, rows)


def _fresh_row(split: Split, index: int, seed: int) -> Row:
    task = TASKS[index % len(TASKS)]
    case = generate(task, index // len(TASKS), split=split, salt=f"eval.run/{seed}")
    return {"id": f"{split}-{seed}-{index}", "task": task, "split": split, **item_of(case), "weight": 1.0}
