"""Lessons of a wide batch: answers to a prompt that are learned from, packed into padded parts of about equal size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

STEP = 64  # a padded length is a multiple of it

Tokens = Sequence[int] | np.ndarray


class Lesson(NamedTuple):
    """Answers to one prompt that are learned from; `asked` is what the objective asks of each."""

    prompt: Tokens
    answers: Sequence[Tokens]
    asked: Any = None

    @property
    def size(self) -> int:
        """Return its tokens, all answers after one prompt."""
        return len(self.prompt) + sum(map(len, self.answers))


def padded(size: int) -> int:
    """Return the length to which a sequence is padded."""
    return -(-size // STEP) * STEP


def pack(lessons: Sequence[Lesson], most: int) -> Iterator[list[int]]:
    """Yield the indexes of lessons that are read together: of like length, with padding at most `most` tokens, or one alone."""
    together: list[int] = []
    for index in sorted(range(len(lessons)), key=lambda index: lessons[index].size):
        if together and (len(together) + 1) * padded(lessons[index].size) > most:
            yield together
            together = []
        together.append(index)
    if together:
        yield together
