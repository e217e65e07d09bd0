"""Training data: the frozen labelled rows, and fresh ones without end, made and labelled as they are asked for.

A row is a frozen set's: id, task, split, family, observation (alert, log_window, context) and ground_truth (action, evidence_log_ids,
techniques, rule_ids). Fresh rows come from the `train` families and worlds alone, by place: the same place of the same seed is the same
incident in every process, so a run that is taken up again goes on with the incidents that it would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from eval.items import told
from eval.sets import load_set
from generator import generate
from schema import TASKS, BadRequestError, Task
from tasks.registry import Split

Row = dict[str, Any]
SFT_SET = "sft_train"


def frozen(name: str = SFT_SET, *, limit: int | None = None) -> list[Row]:
    """The rows of a frozen set, by name or path; with `limit`, so many of them that every task has its share.

    Raises:
        BadRequestError: there is no such set, or its file is not the one that the manifest names.
    """
    rows = list(load_set(name).rows)
    return rows[:: max(1, len(rows) // limit)][:limit] if limit else rows


def fresh(
    seed: int, *, start: int = 0, number: int | None = None, tasks: Sequence[Task] = TASKS, split: Split = "train"
) -> Iterator[Row]:
    """Labelled incidents from place `start` on, task by task in turn, each with the five actions equally often.

    Args:
        seed: which stream; two seeds share no incident.
        start: the first place.
        number: how many; None goes on for ever.
        tasks: which tasks take turns.
        split: which families and worlds; what trains takes `train`.

    Raises:
        BadRequestError: no task is given, or there is no such task.
    """
    if not tasks or not set(tasks) <= set(TASKS):
        raise BadRequestError(f"expected at least one of {', '.join(TASKS)}; got {list(tasks)!r}")
    for place in islice(count(start), number):
        yield at(seed, place, tasks=tasks, split=split)


def at(seed: int, place: int, *, tasks: Sequence[Task] = TASKS, split: Split = "train") -> Row:
    """The row at one place of a stream."""
    task, index = tasks[place % len(tasks)], place // len(tasks)
    case = generate(task, index, split=split, salt=f"train/{seed}")
    return {"id": f"{split}-{seed}-{task}-{index}", "task": task, "split": split, **told(case)}


def key(text: str) -> int:
    """A whole number from a text, the same in every process: seeds of streams that go together."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
