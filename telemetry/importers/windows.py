"""One record of a Windows event log, whatever it was exported as, and the tables that say what its event id becomes.

`windows_shapes` reads the shapes that people export; `sysmon`, `security` and `windows_logs` hold the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.values import clean_int, first_of
from telemetry.importers.windows_messages import message_values

_AUDIT_FAILURE, _AUDIT_SUCCESS = 0x10000000000000, 0x20000000000000  # keywords of winmeta.xml
_AUDIT_WORDS = ("auditfailure", "failureaudit"), ("auditsuccess", "successaudit")


def labelled(text: str, label: str) -> str:
    """Return what follows a label and a colon or equals sign at the start of a line; nothing if the label is not there."""
    match = re.search(rf"^[ \t]*{re.escape(label)}[ \t]*[:=](.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


@dataclass(slots=True)
class WindowsRecord:
    """One event log record: where it comes from, when, and its named data."""

    provider: str
    channel: str
    event_id: int
    computer: Any
    data: Mapping[str, Any]
    time: datetime | None
    message: str = ""
    user: Any = None  # who wrote the record, where the shape says so
    values: list[str] = field(default_factory=list)  # unnamed data, in order
    keywords: Any = None

    @property
    def outcome(self) -> str | None:
        """Return `success` or `failure` if the record's keywords say that it is an audit of one (winmeta.xml)."""
        number = clean_int(self.keywords) if not isinstance(self.keywords, list | None) else None
        if number is not None:
            return "failure" if number & _AUDIT_FAILURE else "success" if number & _AUDIT_SUCCESS else None
        text = re.sub(r"[ _]", "", str(self.keywords).lower())
        is_failure, is_success = (any(word in text for word in words) for words in _AUDIT_WORDS)
        return "failure" if is_failure else "success" if is_success else None

    def get(self, *names: str) -> Any:
        """Return the first value that says something, of several names."""
        return first_of(self.data, names)

    def message_value(self, label: str) -> str:
        """Return the value after a label in the rendered message (`Label: value`), or nothing."""
        return labelled(self.message, label)


Names = str | tuple[str, ...]  # of a record's values


@dataclass(frozen=True, slots=True)
class EventMapping:
    """One row of a mapping table: what a record with an event id becomes.

    `fields` gives for each field of the schema the name of the record's value, or several of which the first that says
    something counts. `adjust` may change the mapped values, `activity` among them, and returns why the record is
    skipped after all, if it is.
    """

    event_type: str
    activity: str
    fields: Mapping[str, Names] = field(default_factory=dict)
    adjust: Callable[[WindowsRecord, dict[str, Any]], str | None] | None = None
    actor: Names = "SubjectUserName"
    session: str = "SubjectLogonId"
    writer_acts: bool = False  # whether the account that wrote the record is the one that acted


Table = Mapping[int, EventMapping | str]


def convert(record: WindowsRecord, table: Table, family: str) -> Imported:
    """Return what a record becomes by a table."""
    row, source = table.get(record.event_id), f"{family} event {record.event_id}"
    if row is None:
        return Skipped(f"no mapping for {source}")
    if isinstance(row, str):
        return Skipped(f"{source}: {row}")
    values = {name: _value(record, names) for name, names in row.fields.items()}
    if record.message and row.fields and not any(values.values()):  # the export shows its message alone
        record.data = {**message_values(record.event_id, record.message), **record.data}
        values = {name: _value(record, names) for name, names in row.fields.items()}
    session = record.get(row.session)
    values |= {
        "activity": row.activity,
        "device_hostname": record.computer,
        "actor_user": _value(record, row.actor) or (record.user if row.writer_acts else None),
        "session_uid": None if session == "0x0" else session,  # no session: a sign-in that failed
    }
    reason = row.adjust(record, values) if row.adjust else None
    if reason:
        return Skipped(f"{source}: {reason}")
    return draft_event(row.event_type, values.pop("activity"), values)


def _value(record: WindowsRecord, names: Names) -> Any:
    return record.get(names) if isinstance(names, str) else record.get(*names)
