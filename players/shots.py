"""Ask a chat model with worked examples: incidents of `data/sft_train.jsonl` and their right answers, as turns before the question.

The examples are the shortest of each action in turn, in the order of the actions, so that five show every action once and leave the
most room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from players.base import Density, Options, Row
from players.prompt import answer_text, system_text, user_text
from schema import LABELS
from tasks.sets import load_set


def question(observation: Mapping[str, Any], density: Density = "full", shots: int = 0) -> list[dict[str, str]]:
    """Return the chat that asks for a triage after so many worked examples; without any it is that of `players.prompt.messages`.

    Args:
        observation: a defender's.
        density: of the question and of the examples. In `full` the one playbook holds the rules of all their windows.
        shots: how many examples.

    Raises:
        BadRequestError: no such density, or the observation is not a defender's.
    """
    user = user_text(observation, density)
    lines = [line for row in examples(density, shots) for line in row["observation"]["log_window"]]
    return [
        {"role": "system", "content": system_text({"log_window": [*lines, *observation["log_window"]]}, density)},
        *map(dict, _turns(density, shots)),
        {"role": "user", "content": user},
    ]


Question = Callable[[Row], list[dict[str, str]]]  # the chat that asks about a row


def question_of(options: Options) -> Question:
    """Return what asks about a row as the options say."""
    return lambda row: question(row["observation"], options.density, options.shots)


@lru_cache(maxsize=8)
def _turns(density: Density, shots: int) -> tuple[dict[str, str], ...]:
    """Return the turns of so many worked examples."""
    return tuple(
        turn
        for row in examples(density, shots)
        for turn in (
            {"role": "user", "content": user_text(row["observation"], density)},
            {"role": "assistant", "content": answer_text(row["observation"], density)},
        )
    )


@lru_cache(maxsize=8)
def examples(density: Density, shots: int) -> tuple[Row, ...]:
    """Choose the rows of so many worked examples."""
    if not shots:
        return ()
    by_action: dict[str, list[Row]] = {action: [] for action in LABELS}
    for row in sorted(load_set("sft_train").rows, key=lambda row: len(user_text(row["observation"], density))):
        by_action[row["ground_truth"]["action"]].append(row)
    return tuple(by_action[LABELS[place % len(LABELS)]][place // len(LABELS)] for place in range(shots))
