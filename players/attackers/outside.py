"""Ask for incidents by a defender's machinery: an endpoint, a model on this machine or a function, with their limits, retries and pace."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from players.attackers.base import Attacker, Brief
from players.attackers.chat import incident_question
from players.base import Arrived, Density, Options, Player, Reply, Row
from players.function import Function
from schema import BadRequestError
from verifier.playbook import attacker_instructions


class Outside(Attacker):
    """Give briefs to a player as rows of `id`, `task` and `brief`, and its replies back."""

    kind = "outside"

    def __init__(self, player: Player, **asking: str) -> None:
        super().__init__(player.name)
        self._player, self._asking = player, asking
        self.batch = player.batch

    @property
    def settings(self) -> dict[str, Any]:
        """Return the player's settings, and how it is asked."""
        return {**self._player.settings, "name": self.name, **self._asking}

    def craft(self, briefs: Sequence[Brief]) -> Sequence[Reply]:
        """Reply to each brief as the player does."""
        return self._player.answer(list(map(_row, briefs)))

    def stream(self, briefs: Sequence[Brief], stop: threading.Event) -> Iterator[Arrived]:
        """Yield replies as the player's arrive.

        Raises:
            PlayerError: it cannot go on; every reply was yielded before.
        """
        self._player.spent = self.spent
        yield from self._player.stream(list(map(_row, briefs)), stop)


def _row(brief: Brief) -> Row:
    return {"id": brief.id, "task": brief.task, "brief": brief}


def open_endpoint(url: str, options: Options) -> Outside:
    """Open a chat model behind an OpenAI-compatible endpoint.

    Raises:
        BadRequestError, PlayerError, OpenSOCError: as of `players.endpoint.Endpoint`; or worked examples were asked for.
    """
    from players.endpoint import Endpoint

    density = _density(options)
    return Outside(Endpoint(url, options, lambda row: incident_question(row["brief"], density)), density=density)


def open_local(path: Path, options: Options) -> Outside:
    """Open a chat model on this machine, a transformers directory or a PEFT adapter.

    Raises:
        BadRequestError, OpenSOCError: as of `players.local.LocalModel.open`; or worked examples were asked for.
    """
    from players.local import LocalModel

    density = _density(options)
    return Outside(
        LocalModel.open(path, options, lambda row: incident_question(row["brief"], density)), density=density
    )


def open_function(spec: str, options: Options) -> Outside:
    """Open a function that is called with `{"id", "task", "asked", "past", "observation": {"instructions", "context"}}`.

    It returns the incident as text or a dict (`craft_incident`), or None for none.

    Raises:
        BadRequestError: there is no such function.
    """
    return Outside(Function(spec, options, _shown))


def _shown(row: Row) -> Mapping[str, Any]:
    """Return what a function is given of a brief: the attacker's observation, and what is asked."""
    brief: Brief = row["brief"]
    observation = {"instructions": brief.instructions or attacker_instructions(), "context": brief.context}
    return {
        "id": brief.id,
        "task": brief.task,
        "asked": brief.asked,
        "past": list(brief.past),
        "observation": observation,
    }


def _density(options: Options) -> Density:
    if options.shots:
        raise BadRequestError(
            f"Expected no worked examples for an attacker, which has none; got --shots {options.shots}."
        )
    return options.density
