"""The log of a training run: log.jsonl."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runs.files import JsonLines
from train.command import is_main


class Log:
    """log.jsonl: one JSON object a line, in the order of the steps, written by the first process alone."""

    def __init__(self, path: Path) -> None:
        self._file = JsonLines(path)

    def cut(self, step: int) -> None:
        """Forget what came after a step: it is done again."""
        if is_main():
            self._file.cut(lambda line: line.get("step", 0) <= step)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        if is_main():
            self._file.append([line])

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield its lines."""
        return self._file.read()
