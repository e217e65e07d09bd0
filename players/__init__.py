"""Open a player: anyone who answers OpenSOC's incidents as the defender, by one table of names.

always_dismiss ... always_escalate, random, majority, keyword, bag_of_words, verifier_oracle, embedded, smollm2   by name
a directory with a transformers model, a PEFT adapter, a checkpoint of train.nano or an exported model      by path
an OpenAI-compatible endpoint                                                                               by URL
any function from a row to text or a dict                                                                   as module:function
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from players import smollm2
from players.bag_of_words import BagOfWords
from players.base import MARK, Options, Player, PlayerError, Reply, Row
from players.baselines import AtRandom, Constant, Keyword, Majority, VerifierOracle
from players.function import Function
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


def _open_embedded(options: Options) -> Player:
    from players.embedded import EmbeddedModel

    return EmbeddedModel(options)


def _open_smollm2(options: Options) -> Player:
    from players.local import LocalModel

    return LocalModel.open(smollm2.directory(), options)


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
        _open_smollm2,
        "asks SmolLM2-135M-Instruct, a pretrained model that never saw an incident",
        smollm2.NEEDS,
        slow=True,
    ),
}
URL = re.compile(r"https?://", re.IGNORECASE)
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def open_player(spec: str, options: Options) -> Player:
    """Open the player that a name, path, URL or module:function means.

    Raises:
        BadRequestError: it means nothing; the message lists what there is.
        OpenSOCError: a library that it needs is not installed.
    """
    if spec in PLAYERS:
        return PLAYERS[spec].open(options)
    if URL.match(spec):
        from players.endpoint import Endpoint

        return Endpoint(spec, options)
    if spec and Path(spec).is_dir():
        return _open_directory(Path(spec), options)
    if FUNCTION.match(spec):
        return Function(spec, options)
    raise BadRequestError(
        f"Unknown defender {spec!r}: expected one of {', '.join(PLAYERS)}, a model's or adapter's directory, "
        "the URL of an OpenAI-compatible endpoint, or module:function."
    )


def _open_directory(path: Path, options: Options) -> Player:
    from players.embedded import EmbeddedModel
    from players.local import LocalModel
    from players.weights import is_exported, is_model

    if (path / MARK).is_file():
        from players.nano import NanoModel

        return NanoModel.open(path, options)
    if is_exported(path):
        return EmbeddedModel(options, path)
    if is_model(path):
        return LocalModel.open(path, options)
    raise BadRequestError(
        f"Expected config.json, adapter_config.json or defender.json in the directory {str(path)!r}, and found none; "
        "give a model's directory."
    )


def is_available(name: str) -> bool:
    """Return whether a named player can be opened here: its libraries are installed, and `embedded` has its model."""
    installed = all(importlib.util.find_spec(library) for library in PLAYERS[name].needs)
    if name != "embedded" or not installed:
        return installed
    from players.embedded import MODEL
    from players.weights import is_exported

    return is_exported(MODEL)
