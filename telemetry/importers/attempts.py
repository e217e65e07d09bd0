"""Count an attempt once: of several records that tell the states of one sign-in or request, only the last becomes an event.

Entra writes a row for each state of a sign-in under the sign-in's own id, and an API server an event for each stage of a
request: ten rows of one id are one attempt.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

from telemetry.importers.events import DraftEvent, Imported, Skipped

_RANKS = {"success": 2, "failure": 1}  # of states of the same time: an end goes before a step on the way
_NEVER = datetime.min.replace(tzinfo=UTC)


MANY_ATTEMPTS = 10_000  # that wait for a later state; the states of one follow each other closely


class Attempts:
    """The attempts of one recording that may have a later state, each with the draft that counts so far."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], tuple[int, DraftEvent]] = OrderedDict()

    def take(self, result: Imported, name: str, attempt: tuple[str, int] | None) -> list[Imported]:
        """Take a record's result; return what is settled: of two states of an attempt the earlier, as a `Skipped`.

        Args:
            result: of the record.
            name: the format that names attempts so.
            attempt: what the record is a state of, and the state's number; None has no other states.
        """
        if attempt is None or isinstance(result, Skipped):
            return [result]
        key, state = (name, attempt[0]), attempt[1]
        if key not in self._open:
            self._open[key] = (state, result)
            return [self._open.popitem(last=False)[1][1]] if len(self._open) > MANY_ATTEMPTS else []
        old_state, old = self._open[key]
        is_later = (state, *_end(result)) >= (old_state, *_end(old))
        last, left = (result, old) if is_later else (old, result)
        self._open[key] = (max(state, old_state), last)
        return [Skipped(f"an earlier state of record {last.record}", left.record)]

    def close(self) -> list[Imported]:
        """Return the drafts that count, at the file's end."""
        return [draft for _, draft in self._open.values()]


def _end(draft: DraftEvent) -> tuple[datetime, int]:
    return draft.time or _NEVER, _RANKS.get(draft.activity, 0)
