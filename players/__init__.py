"""Defenders: everyone who can be put in front of OpenSOC, one idea a module.

always_dismiss ... always_escalate, random, majority, keyword, bag_of_words, verifier_oracle, embedded      by name
a directory with a transformers model, a PEFT adapter or an exported embedded defender                      by path
an OpenAI-compatible endpoint                                                                               by URL
any function from a row to text or a dict                                                                   as module:function
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from players.bag_of_words import BagOfWords
from players.base import Defender, DefenderError, Options, Reply, Row
from players.baselines import AtRandom, Constant, Keyword, Majority, VerifierOracle
from players.codec import MARK
from players.embedded import EmbeddedModel, is_exported
from players.endpoint import Endpoint
from players.function import Function
from players.local import LocalModel, is_model
from players.nano import NanoModel
from schema import LABELS, BadRequestError

__all__ = ["NAMES", "Defender", "DefenderError", "Options", "Reply", "Row", "open_defender"]


_BUILT_IN: dict[str, Callable[[Options], Defender]] = {
    "random": lambda options: AtRandom(options.seed),
    "majority": lambda options: Majority(),
    "keyword": lambda options: Keyword(),
    "bag_of_words": lambda options: BagOfWords(options.seed),
    "verifier_oracle": lambda options: VerifierOracle(),
    "embedded": EmbeddedModel,
}
NAMES: tuple[str, ...] = (*(f"always_{label}" for label in LABELS), *_BUILT_IN)
_URL = re.compile(r"https?://", re.IGNORECASE)
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def open_defender(spec: str, options: Options) -> Defender:
    """The defender that a name, path, URL or module:function means.

    Raises:
        BadRequestError: it means nothing; the message lists what there is.
        OpenSOCError: a library that it needs is not installed.
    """
    if spec in _BUILT_IN:
        return _BUILT_IN[spec](options)
    if spec in NAMES:
        return Constant(next(label for label in LABELS if spec == f"always_{label}"))
    if _URL.match(spec):
        return Endpoint(spec, options)
    if spec and Path(spec).is_dir():
        if (Path(spec) / MARK).is_file():
            return NanoModel(Path(spec), options)
        if is_exported(Path(spec)):
            return EmbeddedModel(options, Path(spec))
        if not is_model(Path(spec)):
            raise BadRequestError(
                f"Expected config.json, adapter_config.json or defender.json in the directory {spec!r}, and found none; "
                "give a model's directory."
            )
        return LocalModel(Path(spec), options)
    if _FUNCTION.match(spec):
        return Function(spec, options)
    raise BadRequestError(
        f"Unknown defender {spec!r}: expected one of {', '.join(NAMES)}, a model's or adapter's directory, "
        "the URL of an OpenAI-compatible endpoint, or module:function."
    )
