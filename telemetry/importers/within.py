"""Look for known records inside one whose own shape no format knows: in its objects and lists, and in its texts of JSON or XML.

`unwrapping` and `carriers` take off the wrappings that are documented. Shippers, queues and search tools add others every year
(`payload` of a message queue, `attributes` of a log service, `jsonPayload` of an agent), and what is in them is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from telemetry.importers.events import Skipped
from telemetry.importers.times import TIME_OUTSIDE
from telemetry.importers.unwrapping import nested, parsed_text, unwrap
from telemetry.importers.values import first_of

Raw = Mapping[str, Any]
LEVELS = 4  # objects around a record that are looked through
MOST_MEMBERS = 5_000  # of one level; a record holds far fewer
MOST_FAILURES = 50  # records of the same keys with nothing in them; later ones are not looked through
_TIMES = ("@timestamp", "timestamp", "time", TIME_OUTSIDE)


class Search:
    """Finds known records within unknown ones; it remembers by their keys which hold none."""

    def __init__(self, is_known: Callable[[Raw], bool]) -> None:
        """Start; `is_known` says whether a record can be read as it is."""
        self.is_known = is_known
        self.failures: Counter[frozenset[str]] = Counter()

    def records(self, raw: Raw) -> list[Raw | Skipped]:
        """Return what lies in the outermost members of a record that hold a known one, in their order; nothing where none does."""
        keys = frozenset(raw)
        if self.failures[keys] >= MOST_FAILURES:
            return []
        if self.is_known(joined := nested(raw, "_")):
            return [joined]
        members: list[Any] = [raw]
        for _ in range(LEVELS):
            members = [member for outer in members for member in _members(outer)][:MOST_MEMBERS]
            found = [record for member in members for record in self._in(member)]
            if found:
                return found
        self.failures[keys] += 1
        return []

    def _in(self, member: Any) -> list[Raw | Skipped]:
        """Return a member's records if one of them is known."""
        records = list(unwrap(member))
        is_hit = any(not isinstance(record, Skipped) and self.is_known(record) for record in records)
        return records if is_hit else []


def _members(value: Any) -> Iterator[Any]:
    """Yield a value's objects, lists of objects, and texts that are JSON or XML, these with the time beside them."""
    if isinstance(value, list):
        yield from (element for element in value if isinstance(element, Mapping))
        return
    if not isinstance(value, Mapping):
        return
    for member in value.values():
        if isinstance(member, str):
            if member.lstrip()[:1] in ("{", "[", "<"):
                yield parsed_text(member, first_of(value, _TIMES))
        elif isinstance(member, Mapping | list) and member:
            yield member
