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

from eval.defenders.base import Defender, DefenderError, Options, Reply, Row
from schema import LABELS, BadRequestError

__all__ = ["NAMES", "Defender", "DefenderError", "Options", "Reply", "Row", "open_defender"]


def _at_random(options: Options) -> Defender:
    from eval.defenders.constant import AtRandom

    return AtRandom(options.seed)


def _majority(options: Options) -> Defender:
    from eval.defenders.majority import Majority

    return Majority()


def _keyword(options: Options) -> Defender:
    from eval.defenders.keyword import Keyword

    return Keyword()


def _bag_of_words(options: Options) -> Defender:
    from eval.defenders.bag_of_words import BagOfWords

    return BagOfWords(options.seed)


def _oracle(options: Options) -> Defender:
    from eval.defenders.oracle import VerifierOracle

    return VerifierOracle()


def _embedded(options: Options) -> Defender:
    from eval.defenders.embedded import EmbeddedModel

    return EmbeddedModel(options)


_BUILT_IN: dict[str, Callable[[Options], Defender]] = {
    "random": _at_random,
    "majority": _majority,
    "keyword": _keyword,
    "bag_of_words": _bag_of_words,
    "verifier_oracle": _oracle,
    "embedded": _embedded,
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
        from eval.defenders.constant import Constant

        return Constant(next(label for label in LABELS if spec == f"always_{label}"))
    if _URL.match(spec):
        from eval.defenders.endpoint import Endpoint

        return Endpoint(spec, options)
    if spec and Path(spec).is_dir():
        from embedded import is_exported
        from eval.defenders.local import LocalModel, is_model
        from train.tiny import MARK

        if (Path(spec) / MARK).is_file():
            from eval.defenders.tiny import TinyModel

            return TinyModel(Path(spec), options)
        if is_exported(Path(spec)):
            from eval.defenders.embedded import EmbeddedModel

            return EmbeddedModel(options, Path(spec))
        if not is_model(Path(spec)):
            raise BadRequestError(
                f"Expected config.json, adapter_config.json or defender.json in the directory {spec!r}, and found none; "
                "give a model's directory."
            )
        return LocalModel(Path(spec), options)
    if _FUNCTION.match(spec):
        from eval.defenders.function import Function

        return Function(spec, options)
    raise BadRequestError(
        f"Unknown defender {spec!r}: expected one of {', '.join(NAMES)}, a model's or adapter's directory, "
        "the URL of an OpenAI-compatible endpoint, or module:function."
    )
