"""Training data: the frozen labelled rows, and fresh ones without end, made and labelled as they are asked for.

A row is a frozen set's: id, task, split, family, observation (alert, log_window, context) and ground_truth (action, evidence_log_ids,
techniques, rule_ids). Fresh rows come from the `train` families and worlds alone, by place: the same place of the same seed is the same
incident in every process, so a run that is taken up again goes on with the incidents that it would have seen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from eval.items import told
from generator import generate
from runs import stable_seed
from schema import LABELS, TASKS, BadRequestError, Task
from tasks.registry import Split
from tasks.sets import load_set

Row = dict[str, Any]
SFT_SET = "sft_train"


def frozen(name: str = SFT_SET, *, limit: int | None = None) -> list[Row]:
    """The rows of a frozen set, by name or path; with `limit`, so many of them that every task has its share.

    Raises:
        BadRequestError: there is no such set, or its file is not the one that the manifest names.
    """
    rows = list(load_set(name).rows)
    return rows[:: max(1, len(rows) // limit)][:limit] if limit else rows


def labelled(name: str, *, limit: int | None = None) -> list[Row]:
    """As `frozen`, and every row says which action is right, and by which lines and rules.

    Raises:
        BadRequestError: there is no such set, it is empty, or a row does not say so.
    """
    rows = frozen(name, limit=limit)
    lacking = next(((row["id"], lack) for row in rows if (lack := _lack(row["ground_truth"]))), None)
    if lacking or not rows:
        found = f"{lacking[0]!r} says {lacking[1]}" if lacking else "there are none"
        raise BadRequestError(
            f"Expected rows with a right action in {name!r}, and {found}; correct it, or give another file."
        )
    return rows


def _lack(truth: Any) -> str:
    """What a ground truth lacks for an answer to be made of it; empty for nothing."""
    if not isinstance(truth, dict) or truth.get("action") not in LABELS:
        return f"none of {', '.join(LABELS)}"
    if not (truth.get("evidence_log_ids") and _are_texts(truth["evidence_log_ids"])):
        return "no line of evidence (evidence_log_ids, a list of one log id or more)"
    return "" if _are_texts(truth.get("rule_ids")) else "no rules (rule_ids, a list that may be empty)"


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def that_fit(
    items: Sequence[Row], names: Sequence[str], sizes: Sequence[int], room: int, *, skip: bool, what: str
) -> list[Row]:
    """The items that are no longer than there is room for.

    Args:
        items: what is to be trained on.
        names: their incidents' names, for the error.
        sizes: their tokens.
        room: the most tokens.
        skip: leave out and count longer ones, instead of an error.
        what: what the room is for, in words.

    Raises:
        BadRequestError: one is longer, or none is left.
    """
    long = [place for place, size in enumerate(sizes) if size > room]
    if long and not skip:
        worst = max(long, key=lambda place: sizes[place])
        raise BadRequestError(
            f"Expected at most {room} tokens ({what}), and {len(long)} of {len(items)} incidents are longer, {names[worst]} the most "
            f"with {sizes[worst]}; use --density compact, a model with a longer context, or --skip-long to leave them out."
        )
    if long:
        print(f"{len(long)} of {len(items)} incidents are longer than {room} tokens and are left out.", file=sys.stderr)
    if len(long) == len(items):
        raise BadRequestError(
            f"Expected incidents of at most {room} tokens ({what}), and all {len(items)} are longer; use --density compact or a longer context."
        )
    left_out = set(long)
    return [item for place, item in enumerate(items) if place not in left_out]


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


def held_out(seed: int, number: int, tasks: Sequence[Task] = TASKS) -> list[Row]:
    """The fresh incidents of the split `val` that a run with this seed is examined on."""
    return list(fresh(stable_seed(f"val/{seed}"), number=number, tasks=tasks, split="val"))


def at(seed: int, place: int, *, tasks: Sequence[Task] = TASKS, split: Split = "train") -> Row:
    """The row at one place of a stream."""
    task, index = tasks[place % len(tasks)], place // len(tasks)
    case = generate(task, index, split=split, salt=f"train/{seed}")
    return {"id": f"{split}-{seed}-{task}-{index}", "task": task, "split": split, **told(case)}
