"""Open an attacker: anyone who writes OpenSOC's incidents, by one table of names.

generator, edits, embedded, smollm2                                                    by name
a directory with a transformers model, a PEFT adapter, a checkpoint of train.nano or
an exported model                                                                      by path
an OpenAI-compatible endpoint                                                          by URL
any function from a brief to text or a dict                                            as module:function
a file of stored incidents (.jsonl)                                                    by path
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from players import smollm2
from players.attackers.base import Attacker, Brief
from players.attackers.outside import open_endpoint, open_function, open_local
from players.attackers.stored import Stored
from players.base import Options
from players.specifications import meaning
from schema import BadRequestError

__all__ = ["ATTACKERS", "Attacker", "Brief", "Options", "open_attacker"]


class Entry(NamedTuple):
    """An attacker that has a name: `open` makes it, `summary` describes it."""

    open: Callable[[Options], Attacker]
    summary: str


def _module(name: str) -> Any:
    """Import a module of attackers that is asked for: one needs the generator, another torch."""
    return importlib.import_module(f"players.attackers.{name}")


ATTACKERS: Mapping[str, Entry] = {
    "generator": Entry(
        lambda options: _module("scripted").Generated(),
        "writes the generator's incident, or another of its world that deserves what is asked",
    ),
    "edits": Entry(
        lambda options: _module("scripted").Edited(options.seed),
        "edits a generated incident one to three times at random, so that the gate still admits it",
    ),
    "embedded": Entry(
        lambda options: _module("embedded").EmbeddedAttacker(options),
        "asks the small model of models/attacker/, on CPU cores and without torch",
    ),
    smollm2.NAME: Entry(
        lambda options: open_local(smollm2.directory(), options),
        "asks SmolLM2-135M-Instruct, a pretrained model that never saw an incident",
    ),
}


def open_attacker(spec: str, options: Options) -> Attacker:
    """Open the attacker that a name, path, URL or module:function means.

    Raises:
        BadRequestError: it means nothing; the message lists what there is.
        OpenSOCError: a library that it needs is not installed.
    """
    opened: Attacker
    match meaning(spec, ATTACKERS):
        case "name":
            return ATTACKERS[spec].open(options)
        case "url":
            return open_endpoint(spec, options)
        case "checkpoint":
            opened = _module("nano").NanoAttacker.open(Path(spec), options)
            return opened
        case "export":
            opened = _module("embedded").EmbeddedAttacker(options, Path(spec))
            return opened
        case "model":
            return open_local(Path(spec), options)
        case "file":
            return Stored(Path(spec))
        case "function":
            return open_function(spec, options)
    raise BadRequestError(
        f"Unknown attacker {spec!r}: expected one of {', '.join(ATTACKERS)}, a model's, an adapter's or a checkpoint's directory, "
        "the URL of an OpenAI-compatible endpoint, module:function, or a file of stored incidents (.jsonl)."
    )
