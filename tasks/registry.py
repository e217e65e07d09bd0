"""The four tasks and the splits. Which families a split plays, `tasks.families` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from schema import LABELS, MODES, TASKS, Task, shown

Split = Literal["train", "val", "test_seed", "val_family", "test_family", "test_tactic"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_SIZES: dict[Split, int] = {
    "train": 10_000,
    "val": 500,
    "test_seed": 700,
    "val_family": 500,
    "test_family": 700,
    "test_tactic": 700,
}


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task: how much happens beside the story that decides. A range includes its first number and excludes its last."""

    name: Task
    description: str
    single: bool  # one line decides, or one burst of like lines
    decoys: tuple[int, int]
    noise: tuple[int, int]
    near_miss: float  # share of unexplained stories that come with a ticket that nearly covers them
    poison: float  # share of incidents with hostile text in the narrative or in a field


TASK_SPECS: dict[Task, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            "stage1_basic",
            "One deciding event, or one burst of like ones, among a few ordinary ones.",
            True,
            (0, 1),
            (3, 7),
            0.5,
            0.0,
        ),
        TaskSpec("stage2_multi", "Events that decide only together, over a window.", False, (1, 2), (3, 8), 0.75, 0.0),
        TaskSpec(
            "stage3_mixed",
            "Benign look-alikes, near misses and noise interleaved with the story.",
            False,
            (1, 3),
            (4, 10),
            0.75,
            0.0,
        ),
        TaskSpec(
            "stage4_adversarial",
            "Crafted near misses and hostile text in narrative and log fields.",
            False,
            (1, 3),
            (4, 10),
            1.0,
            0.7,
        ),
    )
}


def num_tasks(split: str) -> int:
    """Count the numbered tasks of a split.

    Raises:
        IndexError: there is no such split.
    """
    if split not in SPLITS:
        raise IndexError(f"split must be one of {', '.join(SPLITS)}; got {shown(split)}")
    return SPLIT_SIZES[split] * len(TASKS)


def task_at(split: str, index: int) -> tuple[Task, int]:
    """Return the task and the seed of an index of a split.

    Raises:
        IndexError: there is no such split, or no such index in it.
    """
    total = num_tasks(split)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < total:
        raise IndexError(f"index must be a whole number from 0 to {total - 1} in split {split}; got {shown(index)}")
    return TASKS[index % len(TASKS)], index // len(TASKS)


def catalogue() -> dict[str, Any]:
    """List what can be played, as `GET /tasks` answers it."""
    return {
        "tasks": [{"name": spec.name, "description": spec.description} for spec in TASK_SPECS.values()],
        "modes": list(MODES),
        "splits": [{"name": split, "num_tasks": num_tasks(split)} for split in SPLITS],
        "actions": list(LABELS),
        "defaults": {"task": TASKS[0], "mode": "defender_only", "split": "train"},
    }
