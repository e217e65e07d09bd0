"""Say in words what one edit of an incident changed: a fact of the world, or lines. Imports no gradio."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from demo.words import hour_and_minute, summary
from generator.incidents import Case
from schema import Row

TIERS = {"crown_jewel": "a crown jewel", "standard": "an ordinary host", "lab": "a lab machine"}
STATUS = {"approved": "approved", "pending": "withdrawn: its approval is pending again", "rejected": "rejected"}
NAMED_BY = {
    "hosts": "name",
    "accounts": "name",
    "tools": "name",
    "tickets": "ticket_id",
    "indicators": "value",
    "sensors": "host",
    "scanners": "ip",
}
LONGEST_LINE = 90  # characters of a log line in a sentence


def edit_in_words(before: Case, after: Case) -> str:
    """Say what differs between a case and its twin, as a clause without a full stop such as `Ticket CHG-6831 withdrawn`.

    Args:
        before, after: two cases that differ in one row of the world, in lines, or in the line that raised the alert.

    Returns:
        the clause; empty where nothing differs but the narrative.
    """
    ours, theirs = before.world.to_context(), after.world.to_context()
    clauses = [
        clause
        for table in NAMED_BY
        if ours[table] != theirs[table]  # type: ignore[literal-required]
        for clause in _table_in_words(table, ours[table], theirs[table])  # type: ignore[literal-required]
    ]
    return "; ".join([*clauses, *_lines_in_words(before, after)])


# ---------------------------------------------------------------- the world
def _table_in_words(table: str, ours: Sequence[Row], theirs: Sequence[Row]) -> Iterator[str]:
    """Say which rows of a table were added, removed or changed; an edit keeps the order of rows."""
    for old, new in zip(ours, theirs, strict=False):
        if old != new:
            yield _CHANGED[table](old, new)
    for new in theirs[len(ours) :]:
        yield _ADDED[table](new)


def _and(names: Sequence[str]) -> str:
    """Join names: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _span(row: Row, first: str, last: str) -> str:
    """Return a period as times of day without seconds, `13:00-13:50`."""
    return f"{hour_and_minute(row[first])}-{hour_and_minute(row[last])}"


def _ticket(old: Row, new: Row) -> str:
    name = f"Ticket {old['ticket_id']}"
    if old["status"] != new["status"]:
        return f"{name} {STATUS[new['status']]}"
    if old["tool"] != new["tool"]:
        return f"{name} now covers {new['tool']} instead of {old['tool'] or 'no program'}"
    for what in ("hosts", "accounts"):
        if old[what] != new[what]:
            more = [value for value in new[what] if value not in old[what]]
            verb = "now also covers" if set(old[what]) <= set(new[what]) else "now covers"
            instead = "" if set(old[what]) <= set(new[what]) else f" instead of {_and(old[what])}"
            return f"{name} {verb} {_and(more)}{instead}"
    return f"{name} moved from {_span(old, 'starts_at', 'ends_at')} to {_span(new, 'starts_at', 'ends_at')}"


def _host(old: Row, new: Row) -> str:
    return f"Host {old['name']} made {TIERS[new['criticality']]} (it was {TIERS[old['criticality']]})"


def _account(old: Row, new: Row) -> str:
    return f"Account {old['name']} {'given' if new['privileged'] else 'stripped of'} administrator's privileges"


def _tool(old: Row, new: Row) -> str:
    return f"Program {old['name']} approved for the department {new['department']} instead of {old['department']}"


def _scanner(old: Row, new: Row) -> str:
    return f"Scanner {old['ip']} may now probe {_and(new['targets'])} (it was {_and(old['targets'])})"


def _indicator(old: Row, new: Row) -> str:
    if old["value"] != new["value"]:
        return f"Threat intelligence on {old['value']} now names {new['value']} instead"
    return f"Threat intelligence on {old['value']} changed from {old['confidence']} to {new['confidence']} confidence"


def _sensor(old: Row, new: Row) -> str:
    if old["host"] != new["host"]:
        return f"The silent {old['telemetry']} sensor is that of {new['host']} instead of {old['host']}"
    if old["telemetry"] != new["telemetry"]:
        return f"The silent sensor of {old['host']} is the {new['telemetry']} one instead of the {old['telemetry']} one"
    return f"The {old['telemetry']} sensor of {old['host']} was silent at {_span(new, 'silent_from', 'silent_to')} instead of {_span(old, 'silent_from', 'silent_to')}"


_CHANGED: Mapping[str, Callable[[Row, Row], str]] = {
    "tickets": _ticket,
    "hosts": _host,
    "accounts": _account,
    "tools": _tool,
    "scanners": _scanner,
    "indicators": _indicator,
    "sensors": _sensor,
}
_ADDED: Mapping[str, Callable[[Row], str]] = {
    "tickets": lambda row: f"Ticket {row['ticket_id']} added: {row['tool']} approved for all that happens here",
    "indicators": lambda row: f"Threat intelligence added on {row['value']}, of {row['confidence']} confidence",
    "scanners": lambda row: f"Scanner {row['ip']} added, which may probe these hosts",
    "sensors": lambda row: f"The {row['telemetry']} sensor of {row['host']} was silent all along",
}


# ---------------------------------------------------------------- the lines
def _lines_in_words(before: Case, after: Case) -> Iterator[str]:
    """Say which lines were removed, added or changed; lines are told by the ids that they had before."""
    ours, theirs = before.lines, after.lines
    gone, new = _without(ours, theirs), _without(theirs, ours)
    if not gone and not new:
        if before.world.alerted != after.world.alerted:
            yield f"The alert fires on {after.world.alerted} instead of {before.world.alerted}"
    elif not new:
        yield _removed(gone)
    elif not gone:
        yield f"A line added: {_line(new[0])}"
    elif _same_but_times(gone, new):
        yield f"The times of {_and([row['log_id'] for row in gone])} swapped"
    else:
        yield _changed_line(gone[0], new[0])


def _without(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """Return the rows that the others lack, their ids aside."""
    left = Counter(map(_content, others))
    missing = []
    for row in rows:
        left[_content(row)] -= 1
        if left[_content(row)] < 0:
            missing.append(row)
    return missing


def _content(row: Row) -> str:
    return json.dumps([row["event_type"], row["fields"], row["timestamp"]], sort_keys=True)


def _same_but_times(gone: Sequence[Row], new: Sequence[Row]) -> bool:
    return len(gone) > 1 and sorted(row["timestamp"] for row in gone) == sorted(row["timestamp"] for row in new)


def _removed(gone: Sequence[Row]) -> str:
    if len(gone) == 1:
        return f"Line {gone[0]['log_id']} removed: {_line(gone[0])}"
    return f"{len(gone)} lines removed: {_and([row['log_id'] for row in gone])}"


def _line(row: Row) -> str:
    kind, fields = row["event_type"], row["fields"]
    text = f"{kind} {fields['activity']} on ".replace("_", " ") + summary(kind, fields)
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"


def _changed_line(old: Row, new: Row) -> str:
    fields = {**old["fields"], **new["fields"]}
    name = next((name for name in fields if old["fields"].get(name) != new["fields"].get(name)), "")
    values: dict[str, Any] = {"actor_user": "account", "process_path": "program"}
    return f"The {values.get(name, name.replace('_', ' '))} of line {old['log_id']} is now {new['fields'].get(name)} (it was {old['fields'].get(name)})"
