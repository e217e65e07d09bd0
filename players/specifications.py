"""Say what a text means that names a player of either seat: a name, a URL, a directory of a model, a file or module:function."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Literal

from players.base import MARK
from players.weights import ABOUT, ABOUT_ATTACKER, ADAPTER, is_exported, is_model
from schema import BadRequestError

Meaning = Literal["name", "url", "checkpoint", "export", "model", "file", "function", "nothing"]
STORED = ".jsonl"  # how the name of a file of stored incidents ends
_URL = re.compile(r"https?://", re.IGNORECASE)
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def meaning(spec: str, names: Container[str]) -> Meaning:
    """Return what a specification means where these names are known.

    Raises:
        BadRequestError: it is a directory without a model.
    """
    if spec in names:
        return "name"
    if _URL.match(spec):
        return "url"
    if spec and Path(spec).is_dir():
        return _directory(Path(spec))
    if spec.endswith(STORED):
        return "file"
    return "function" if _FUNCTION.match(spec) else "nothing"


def _directory(path: Path) -> Meaning:
    if (path / MARK).is_file():
        return "checkpoint"
    if is_exported(path):
        return "export"
    if is_model(path):
        return "model"
    raise BadRequestError(
        f"Expected config.json, {ADAPTER}, {ABOUT}, {ABOUT_ATTACKER} or {MARK} in the directory {str(path)!r}, and found none; "
        "give a model's directory."
    )
