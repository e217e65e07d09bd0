"""Define what an attacker is, what it is given and what it gives back.

An attacker is shown a world and, where somebody asks for one, the action that its incident should deserve. It answers in text, an incident as lines
(`players.incidents`) or as JSON, so that all incidents go through the same reader, schema and gate.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from players.base import Arrived, Reply, Seated, in_batches
from players.naming import world_text
from schema import LABELS, Context, Label, Task
from tasks.registry import Split


class Brief(NamedTuple):
    """What an attacker is given: the episode, its world, what is asked, and what its last incidents achieved.

    `context` is that of an observation of the attacker's turn, `instructions` too (empty where nobody reads them). `asked` is the action that the incident should deserve;
    empty for any. `past` says in a line each what earlier incidents achieved, the last one last.
    """

    task: Task
    seed: int
    split: Split
    context: Context
    asked: Label | None = None
    instructions: str = ""
    past: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Name the brief, as samples and logs do."""
        return brief_id(self.split, self.task, self.seed, self.asked)


def brief_id(split: Split, task: Task, seed: int, asked: Label | None) -> str:
    """Name a brief by its episode and what it asks for."""
    return f"{split}-{task}-{seed}" + (f"-{asked}" if asked else "")


class Attacker(Seated):
    """Anyone who writes incidents."""

    batch: int = 16  # briefs that are answered between two writes

    @abstractmethod
    def craft(self, briefs: Sequence[Brief]) -> Sequence[Reply]:
        """Reply to each brief with the text of an incident, in their order."""

    def stream(self, briefs: Sequence[Brief], stop: threading.Event) -> Iterator[Arrived]:
        """Return replies as they arrive, under the terms of `players.base.Player.stream`."""
        return in_batches(self.craft, briefs, self.batch, stop)


def asked_in_turn(index: int) -> Label:
    """Return what the brief at an index asks for, so that each action is asked for equally often."""
    return LABELS[index % len(LABELS)]


def attacker_text(brief: Brief) -> str:
    """Write a brief as the prompt's user message: the world, what came of earlier incidents, and what is asked."""
    lines = [world_text(brief.context).text, *(f"past {line}" for line in brief.past), f"ask {brief.asked or 'any'}"]
    return "\n".join(lines)
