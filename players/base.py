"""Define what a player is, what it is given and what it gives back.

A player is shown the id, the task and the observation of an item, never its ground truth, family or weight. Every player answers in text, so
that all answers go through the same parser.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

from runs.ending import StoppedError

MARK = "opensoc.json"  # in a checkpoint's directory: it was made here, and how
Row = Mapping[str, Any]  # {"id": text, "task": text, "observation": {"alert", "log_window", "context"}}
Density = Literal["full", "compact", "legend"]
DENSITIES: tuple[Density, ...] = get_args(Density)
MAX_REPLY = 200_000  # characters of a reply that are read; a longer one is a loop


class PlayerError(StoppedError):
    """A player cannot go on; its answers so far are stored, and the same command asks the rest."""


class Reply(NamedTuple):
    """The answer to one item.

    `text` is the raw text, at most `MAX_REPLY` characters, or None for no answer; `fault` then says why. `prompt` holds the messages that
    were sent, None for a player that reads the observation itself. `latency_s` is the time of the request, or an item's share of its batch.
    `usage` is `{"prompt_tokens", "completion_tokens", "cost"}` (cost in USD, None without prices) or None.
    """

    text: str | None
    fault: str = ""
    prompt: list[dict[str, str]] | None = None
    latency_s: float = 0.0
    usage: dict[str, Any] | None = None


Arrived = list[tuple[int, Reply]]  # index among the rows that were asked, and the reply


@dataclass(frozen=True, slots=True)
class Options:
    """How to ask. A player reads what concerns it; the command line's flags describe each.

    Times are in seconds, prices in USD per million tokens, limits None for none.
    """

    seed: int = 0
    density: Density = "full"
    shots: int = 0
    batch_size: int = 16
    device: str = "auto"
    dtype: str = "auto"
    max_tokens: int = 512
    temperature: float = 0.0
    tries: int = 1
    model: str = ""
    key_env: str = ""
    concurrency: int = 64
    timeout_s: float = 120.0
    attempts: int = 6
    backoff_s: float = 1.0
    rpm: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    max_cost: float | None = None
    request: Mapping[str, Any] = field(default_factory=dict)


Asked = TypeVar("Asked")


def in_batches(
    answer: Callable[[Sequence[Asked]], Sequence[Reply]], items: Sequence[Asked], batch: int, stop: threading.Event
) -> Iterator[Arrived]:
    """Yield the replies to items, batch by batch, until `stop` is set."""
    for start in range(0, len(items), batch):
        if stop.is_set():
            return
        yield list(enumerate(answer(items[start : start + batch]), start))


class Seated(ABC):
    """Anyone who takes a seat. `name` stands in tables, `kind` says what it is."""

    kind: ClassVar[str]
    spent: float = 0.0  # USD, by earlier parts of the run

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def settings(self) -> dict[str, Any]:
        """Describe what decides the replies: stored with the run, and the same when it is resumed."""
        return {"name": self.name, "kind": self.kind}


class Player(Seated):
    """Anyone who answers as the defender."""

    batch: int = 256  # items that are answered between two writes
    density: Density | None = None  # of its prompts, if the caller cannot choose it

    @abstractmethod
    def answer(self, batch: Sequence[Row]) -> Sequence[Reply]:
        """Reply to each row, in their order."""

    def stream(self, rows: Sequence[Row], stop: threading.Event) -> Iterator[Arrived]:
        """Return replies as they arrive, in any order; once `stop` is set, finish what is under way and end.

        Raises:
            PlayerError: it cannot go on; every reply came before.
        """
        return in_batches(self.answer, rows, self.batch, stop)


class Streaming(Player):
    """A player that implements `stream` alone; `answer` puts its replies in order."""

    @abstractmethod
    def stream(self, rows: Sequence[Row], stop: threading.Event) -> Iterator[Arrived]:
        """Yield replies as they arrive, under the terms of `Player.stream`."""

    def answer(self, batch: Sequence[Row]) -> list[Reply]:
        """Reply to each row."""
        replies = dict(pair for part in self.stream(batch, threading.Event()) for pair in part)
        return [replies[index] for index in range(len(batch))]


class Baseline(Player):
    """A player in a few lines: `triage` answers one observation at once."""

    kind = "baseline"

    @abstractmethod
    def triage(self, row: Row) -> dict[str, Any]:
        """Answer one row: action, cited_log_id, rationale, and confidence if it has one."""

    def answer(self, batch: Sequence[Row]) -> list[Reply]:
        """Reply to each row with the triage as JSON."""
        return [Reply(json.dumps(self.triage(row))) for row in batch]


def cut(text: str | None) -> str | None:
    """Cut a reply to `MAX_REPLY` characters; return None for a blank one."""
    return text[:MAX_REPLY] if text and not text.isspace() else None
