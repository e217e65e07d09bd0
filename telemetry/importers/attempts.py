"""Count an attempt once: of several records that tell the states of one sign-in or request, only the last becomes an event.

Entra writes a row for each state of a sign-in under the sign-in's own id, and an API server an event for each stage of a
request: ten rows of one id are one attempt.
"""

from __future__ import annotations

from datetime import UTC, datetime

from telemetry.importers.events import DraftEvent, Imported, Skipped

_RANKS = {"success": 2, "failure": 1}  # of states of the same time: an end goes before a step on the way
_NEVER = datetime.min.replace(tzinfo=UTC)


class Attempts:
    """The attempts of one recording, each with the place of the result that counts."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[int, int]] = {}

    def settle(self, results: list[Imported], name: str, attempt: tuple[str, int] | None) -> None:
        """Keep of the last result and an earlier one of the same attempt the later state; the other becomes a `Skipped`.

        Args:
            results: of the records so far; the last is the one to settle.
            name: the format that names attempts so.
            attempt: what the record is a state of, and the state's number; None settles nothing.
        """
        new = len(results) - 1
        if attempt is None or not isinstance(results[new], DraftEvent):
            return
        old, state = self._last.setdefault((name, attempt[0]), (new, attempt[1]))
        if old == new:
            return
        is_later = (attempt[1], *_end(results[new])) >= (state, *_end(results[old]))
        last, left = (new, old) if is_later else (old, new)
        results[left] = Skipped(f"an earlier state of record {results[last].record}", results[left].record)
        self._last[name, attempt[0]] = (last, max(state, attempt[1]))


def _end(result: Imported) -> tuple[datetime, int]:
    assert isinstance(result, DraftEvent)
    return result.time or _NEVER, _RANKS.get(result.activity, 0)
