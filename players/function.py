"""Play by any Python function: `module:function`, from a row to text or a dict, plain or async."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from players.base import Arrived, Options, PlayerError, Reply, Row, Streaming, cut
from players.concurrency import in_flight
from schema import BadRequestError
from verifier.playbook import defender_instructions, playbook_for

Shown = Callable[[Row], Mapping[str, Any]]


class Function(Streaming):
    """Call the function with `{"id", "task", "observation"}`; it returns text, a dict with the answer's keys, or None for no answer.

    An async function is called up to `concurrency` times at once, a plain one item by item.

    Args:
        spec: module:function.
        options: `concurrency` is read.
        shown: what the function is given of a row; by default with instructions and playbook in the observation.

    Raises:
        BadRequestError: there is no such module or function.
    """

    kind = "function"

    def __init__(self, spec: str, options: Options, shown: Shown | None = None) -> None:
        super().__init__(spec)
        self._call, self._shown = _import(spec), shown or _with_instructions
        self._concurrency = options.concurrency

    @property
    def settings(self) -> dict[str, Any]:
        """Return name, kind, and the hash of the file that holds the function."""
        source = inspect.getsourcefile(inspect.unwrap(self._call))
        digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
        return {**super().settings, "source_sha256": digest}

    def stream(self, rows: Sequence[Row], stop: threading.Event) -> Iterator[Arrived]:
        """Yield replies as they come."""
        if inspect.iscoroutinefunction(self._call):
            yield from in_flight(len(rows), lambda index: self._ask(rows[index]), at_once=self._concurrency, stop=stop)
            return
        for index, row in enumerate(rows):
            if stop.is_set():
                return
            started = time.perf_counter()
            try:
                answer = self._call(self._shown(row))
            except Exception as error:
                raise self._broken(error, row) from error
            yield [(index, self._reply(answer, row, time.perf_counter() - started))]

    async def _ask(self, row: Row) -> Reply:
        started = time.perf_counter()
        try:
            answer = await self._call(self._shown(row))
        except Exception as error:
            raise self._broken(error, row) from error
        return self._reply(answer, row, time.perf_counter() - started)

    def _reply(self, answer: object, row: Row, took_s: float) -> Reply:
        if isinstance(answer, dict):
            try:
                answer = json.dumps(answer)
            except (TypeError, ValueError, RecursionError) as error:
                raise self._broken(error, row) from error
        if answer is not None and not isinstance(answer, str):
            raise PlayerError(
                f"Expected text, a dict or None from {self.name}, and got {type(answer).__name__} on item {row['id']!r}; "
                "correct the function and run the same command again."
            )
        text = cut(answer)
        return Reply(text, "" if text else "the function gave nothing", latency_s=round(took_s, 6))

    def _broken(self, error: Exception, row: Row) -> PlayerError:
        return PlayerError(
            f"Expected an answer from {self.name}, and it raised {type(error).__name__}: {error} on item {row['id']!r}; "
            "correct the function and run the same command again."
        )


def _import(spec: str) -> Callable[[Row], Any]:
    module, _, name = spec.partition(":")
    try:
        function = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadRequestError(
            f"Expected a function at {spec!r} (module:function, the module importable from here), and got {type(error).__name__}: {error}."
        ) from error
    if not callable(function):
        raise BadRequestError(
            f"Expected a function at {spec!r}, and found a {type(function).__name__}; name a function."
        )
    return function


def _with_instructions(row: Row) -> dict[str, Any]:
    """Return the row with the observation as `reset` shows it: instructions and playbook beside alert, lines and context."""
    observation = row["observation"]
    playbook = playbook_for(observation["log_window"])
    return {**row, "observation": {"instructions": defender_instructions(), **observation, "playbook": playbook}}
