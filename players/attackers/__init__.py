"""Open an attacker: anyone who writes OpenSOC's incidents, by one table of names.

generator, edits                                             by name
a directory with a checkpoint of the small model's attacker  by path
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from players.attackers.base import Attacker, Brief
from players.attackers.scripted import Edited, Generated
from players.base import MARK, Options
from schema import BadRequestError

__all__ = ["ATTACKERS", "Attacker", "Brief", "Options", "open_attacker"]


class Entry(NamedTuple):
    """An attacker that has a name: `open` makes it, `label` and `summary` describe it."""

    open: Callable[[Options], Attacker]
    label: str
    summary: str


ATTACKERS: Mapping[str, Entry] = {
    "generator": Entry(
        lambda options: Generated(), "generator", "writes the incident that the generator makes for the task and seed"
    ),
    "edits": Entry(
        lambda options: Edited(options.seed),
        "random edits",
        "edits a generated incident at random, one to three times, so that the gate still admits it",
    ),
}


def open_attacker(spec: str, options: Options) -> Attacker:
    """Open the attacker that a name or a path means.

    Raises:
        BadRequestError: it means nothing; the message lists what there is.
        OpenSOCError: a library that it needs is not installed.
    """
    if spec in ATTACKERS:
        return ATTACKERS[spec].open(options)
    if spec and (Path(spec) / MARK).is_file():
        nano = importlib.import_module("players.attackers.nano")
        opened: Attacker = nano.NanoAttacker.open(Path(spec), options)
        return opened
    raise BadRequestError(
        f"Unknown attacker {spec!r}: expected one of {', '.join(ATTACKERS)} or the directory of a checkpoint."
    )
