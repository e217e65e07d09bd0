"""Incidents for a GPU: rows made and tokenised ahead by worker processes, which also judge answers.

The same index is the same incident whatever the number of workers, so a resumed run reads on where it stopped. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from players.codec import PromptCodec
from players.weights import load_tokenizer
from schema import Row

CHUNK = 32  # rows that a worker makes at a time
AHEAD = 8  # batches that are under way at once, so that the model never waits
JUDGED = 8  # rows whose answers a worker judges at a time

Replies = Sequence[Sequence[int]]  # the answers to a row
Judge = Callable[[Row, Sequence[str]], Any]  # judges the answers to a row; it travels to the workers


class Example(NamedTuple):
    """A row as tokens: its place in the stream, its prompt and its right answer (both 16-bit arrays; the answer is empty where none is asked for)."""

    place: int
    prompt: np.ndarray
    answer: np.ndarray


# ---------------------------------------------------------------- in the workers
@lru_cache(maxsize=1)
def tokenizer_at(path: Path) -> Any:
    """Return the tokenizer of a directory, which is kept."""
    return load_tokenizer(path)


def _coder(tokenizer: Path, codec: type[PromptCodec]) -> PromptCodec:
    return codec(tokenizer_at(tokenizer))


def make_examples(
    rows: Callable[[int], Row], tokenizer: Path, codec: type[PromptCodec], answered: bool, indexes: Sequence[int]
) -> list[Example]:
    """Make and tokenise the rows at some indexes of a stream; `answered` asks for their right answers too."""
    coder = _coder(tokenizer, codec)
    return [_example(coder, rows(index), index, answered=answered) for index in indexes]


def _example(coder: PromptCodec, row: Row, index: int, *, answered: bool) -> Example:
    parts = coder.lesson(row) if answered else (coder.prompt(row), [])
    prompt, answer = (np.array(tokens, np.uint16) for tokens in parts)
    return Example(index, prompt, answer)


def _judge(
    rows: Callable[[int], Row],
    tokenizer: Path,
    codec: type[PromptCodec],
    judge: Judge,
    indexes: Sequence[int],
    replies: Sequence[Replies],
) -> list[Any]:
    """Judge the answers to the rows at some indexes, which are made again: that is cheaper than to send them."""
    coder = _coder(tokenizer, codec)
    return [
        judge(rows(index), [coder.text(tokens) for tokens in group])
        for index, group in zip(indexes, replies, strict=True)
    ]


# ---------------------------------------------------------------- ahead of the model
class Ahead:
    """The examples of a stream, made ahead.

    Args:
        rows: gives the row at an index; without an executor it need not travel.
        tokenizer: the directory of a tokenizer.
        executor: of worker processes; None makes the rows here, when they are asked for.
        answered: whether the right answers are asked for, which the verifier must be asked for.
        codec: how rows become tokens.
    """

    def __init__(
        self,
        rows: Callable[[int], Row],
        tokenizer: Path,
        executor: Executor | None = None,
        *,
        answered: bool = True,
        codec: type[PromptCodec] = PromptCodec,
    ) -> None:
        self._rows, self.tokenizer, self._executor, self._answered = rows, tokenizer, executor, answered
        self._codec = codec
        self._chunks: dict[int, Future[list[Example]]] = {}

    def ask(self, first: int, number: int) -> None:
        """Let the examples from an index on be made, and those of the next batches of this size."""
        if self._executor is None:
            return
        for chunk in range(first // CHUNK, -(-(first + number * AHEAD) // CHUNK)):
            if chunk not in self._chunks:
                indexes = range(chunk * CHUNK, (chunk + 1) * CHUNK)
                self._chunks[chunk] = self._executor.submit(
                    make_examples, self._rows, self.tokenizer, self._codec, self._answered, indexes
                )

    def take(self, first: int, number: int) -> list[Example]:
        """Return the examples from an index on, in order."""
        if self._executor is None:
            indexes = range(first, first + number)
            return make_examples(self._rows, self.tokenizer, self._codec, self._answered, indexes)
        self.ask(first, number)
        chunks = range(first // CHUNK, -(-(first + number) // CHUNK))
        examples = [example for chunk in chunks for example in self._chunks[chunk].result()]
        for chunk in [chunk for chunk in self._chunks if (chunk + 1) * CHUNK <= first + number]:
            del self._chunks[chunk]
        start = first - chunks[0] * CHUNK
        return examples[start : start + number]

    def judge(self, judge: Judge, indexes: Sequence[int], replies: Sequence[Replies]) -> list[Any]:
        """Return what a judge says of the answers (their tokens) to each row."""
        if self._executor is None:
            return _judge(self._rows, self.tokenizer, self._codec, judge, indexes, replies)
        parts = [slice(start, start + JUDGED) for start in range(0, len(indexes), JUDGED)]
        waiting = [
            self._executor.submit(_judge, self._rows, self.tokenizer, self._codec, judge, indexes[part], replies[part])
            for part in parts
        ]
        return [judged for part in waiting for judged in part.result()]
