"""Open a player: anyone who answers OpenSOC's incidents as the defender, by one table of names.

always_dismiss ... always_escalate, random, majority, keyword, bag_of_words, verifier_oracle, embedded, smollm2   by name
a directory with a transformers model, a PEFT adapter, a checkpoint of train.nano or an exported model      by path
an OpenAI-compatible endpoint                                                                               by URL
any function from a row to text or a dict                                                                   as module:function
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from players import smollm2
from players.bag_of_words import BagOfWords
from players.base import Options, Player, PlayerError, Reply, Row
from players.baselines import AtRandom, Constant, Keyword, Majority, VerifierOracle
from players.function import Function
from players.specifications import meaning
from schema import LABELS, BadRequestError, Label

__all__ = ["PLAYERS", "Options", "Player", "PlayerError", "Reply", "Row", "is_available", "open_player"]


class Entry(NamedTuple):
    """A player that has a name: `open` makes it, `summary` describes it, `needs` are the libraries that it imports.

    `slow` is one that takes seconds an item; a server offers none.
    """

    open: Callable[[Options], Player]
    summary: str
    needs: tuple[str, ...] = ()
    slow: bool = False


def _constant(action: Label) -> Entry:
    return Entry(lambda options: Constant(action), f"answers {action} to every alert and cites the alert's line")


def _open_embedded(options: Options, *path: Path) -> Player:
    from players.embedded import EmbeddedModel

    return EmbeddedModel(options, *path)


def _open_local(options: Options, path: Path) -> Player:
    from players.local import LocalModel

    return LocalModel.open(path, options)


PLAYERS: Mapping[str, Entry] = {
    **{f"always_{action}": _constant(action) for action in LABELS},
    "random": Entry(
        lambda options: AtRandom(options.seed),
        "draws one of the five actions and a line from the seed and the item's id",
    ),
    "majority": Entry(lambda options: Majority(), "answers the commonest action of data/sft_train.jsonl"),
    "keyword": Entry(
        lambda options: Keyword(),
        "answers by the gravest of a few words that any line holds, and cites that line",
    ),
    "bag_of_words": Entry(
        lambda options: BagOfWords(options.seed),
        "fits a logistic regression over masked words on data/sft_train.jsonl",
        ("sklearn",),
    ),
    "verifier_oracle": Entry(
        lambda options: VerifierOracle(), "answers what the verifier says of the observation alone"
    ),
    "embedded": Entry(
        _open_embedded,
        "asks the small model of models/defender/, on one CPU core and without torch",
        ("numpy", "onnxruntime", "tokenizers"),
    ),
    smollm2.NAME: Entry(
        lambda options: _open_local(options, smollm2.directory()),
        "asks SmolLM2-135M-Instruct, a pretrained model that never saw an incident",
        smollm2.NEEDS,
        slow=True,
    ),
}


def open_player(spec: str, options: Options) -> Player:
    """Open the player that a name, path, URL or module:function means.

    Raises:
        BadRequestError: it means nothing; the message lists what there is.
        OpenSOCError: a library that it needs is not installed.
    """
    match meaning(spec, PLAYERS):
        case "name":
            return PLAYERS[spec].open(options)
        case "url":
            from players.endpoint import Endpoint

            return Endpoint(spec, options)
        case "checkpoint":
            from players.nano import NanoModel

            return NanoModel.open(Path(spec), options)
        case "export":
            return _open_embedded(options, Path(spec))
        case "model":
            return _open_local(options, Path(spec))
        case "function":
            return Function(spec, options)
    raise BadRequestError(
        f"Unknown defender {spec!r}: expected one of {', '.join(PLAYERS)}, a model's or adapter's directory, "
        "the URL of an OpenAI-compatible endpoint, or module:function."
    )


def is_available(name: str) -> bool:
    """Return whether a named player can be opened here: its libraries are installed, and `embedded` has its model."""
    installed = all(importlib.util.find_spec(library) for library in PLAYERS[name].needs)
    if name != "embedded" or not installed:
        return installed
    from players.embedded import MODEL
    from players.weights import is_exported

    return is_exported(MODEL)
