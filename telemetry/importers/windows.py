"""Windows event log records, in the five shapes that people export them in.

pyevtx-rs JSON (`Event.System`, `Event.EventData`), winlogbeat 6 (`event_data`), winlogbeat 7 (`winlog`), and flat
JSON (NXLog, Export-WinEvents, the Azure tables SecurityEvent and Event). `read` brings all to one `WindowsRecord`;
the tables in `sysmon`, `security` and `windows_logs` say what each event id becomes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_int, first_of, is_blank, mapping

_SAME_CLOCK_S = 120  # a sensor's own time and its log's differ by less than this, time zones apart
_AUDIT_FAILURE, _AUDIT_SUCCESS = 0x10000000000000, 0x20000000000000  # keywords of winmeta.xml
_QUARTER_S = 900  # every time zone is a multiple of it


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
        text = str(self.keywords).lower()
        return "failure" if "audit failure" in text else "success" if "audit success" in text else None

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


# ---------------------------------------------------------------- shapes
def is_windows(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record has one of the Windows shapes."""
    return (
        "System" in mapping(raw.get("Event"))
        or isinstance(raw.get("winlog"), dict)
        or ("log_name" in raw and "event_id" in raw)
        or ("EventID" in raw and ("Channel" in raw or "EventLog" in raw or "SourceName" in raw or "Computer" in raw))
    )


def read(raw: Mapping[str, Any]) -> WindowsRecord | None:
    """Read one record from any of the shapes; None for one without an event id."""
    if "System" in mapping(raw.get("Event")):
        record = _from_evtx(raw["Event"])
    elif isinstance(raw.get("winlog"), dict):
        record = _from_winlogbeat(raw, raw["winlog"], "provider_name", "channel")
    elif "event_id" in raw:
        record = _from_winlogbeat(raw, raw, "source_name", "log_name")
    else:
        record = _from_flat(raw)
    return record if record.event_id >= 0 else None


def _event_id(value: Any) -> int:
    if isinstance(value, dict):
        value = value.get("#text")
    number = clean_int(value) if value is not None else None
    return number if number is not None else -1


def _attributes(node: object) -> Mapping[str, Any]:
    return mapping(mapping(node).get("#attributes"))


def _well_known_user(sid: object) -> str | None:
    """Name an account whose SID is the same on every machine (MS-DTYP 2.4.2.4)."""
    return {"S-1-5-18": "SYSTEM", "S-1-5-19": "LOCAL SERVICE", "S-1-5-20": "NETWORK SERVICE"}.get(str(sid))


def _flatten(node: Any) -> tuple[dict[str, Any], list[str]]:
    """Return named and unnamed values of an EventData or UserData element; one inner element is no level of its own."""
    if not isinstance(node, dict):
        return {}, []
    named = {key: value for key, value in node.items() if key != "#attributes"}
    inner = list(named.values())
    if len(inner) == 1 and isinstance(inner[0], dict) and "#text" not in inner[0]:
        named = {key: value for key, value in inner[0].items() if key != "#attributes"}
    unnamed = named.get("Data")
    if isinstance(unnamed, dict):
        unnamed = unnamed.get("#text")
    values = unnamed if isinstance(unnamed, list) else [] if is_blank(unnamed) else [unnamed]
    return named, [str(value or "") for value in values]


def _from_evtx(event: Mapping[str, Any]) -> WindowsRecord:
    system = mapping(event.get("System"))
    data, values = _flatten(event.get("EventData") or event.get("UserData"))
    sid = _attributes(system.get("Security")).get("UserID")
    written = _attributes(system.get("TimeCreated")).get("SystemTime")
    return WindowsRecord(
        provider=str(_attributes(system.get("Provider")).get("Name") or ""),
        channel=str(system.get("Channel") or ""),
        event_id=_event_id(system.get("EventID")),
        computer=system.get("Computer"),
        data=data,
        time=_best_time(read_time(written), read_time(data.get("UtcTime"))),
        user=_well_known_user(sid) or sid,
        values=values,
        keywords=system.get("Keywords"),
    )


def _from_winlogbeat(raw: Mapping[str, Any], log: Mapping[str, Any], provider: str, channel: str) -> WindowsRecord:
    """Read winlogbeat's record, whose values stand in `log`: the record itself (version 6) or an object in it (7)."""
    data, values = _flatten(log.get("event_data") or log.get("user_data"))
    user = mapping(log.get("user"))
    return WindowsRecord(
        provider=str(log.get(provider) or ""),
        channel=str(log.get(channel) or ""),
        event_id=_event_id(log.get("event_id")),
        computer=log.get("computer_name"),
        data=data,
        time=_best_time(read_time(raw.get("@timestamp")), read_time(data.get("UtcTime"))),
        message=str(raw.get("message") or ""),
        user=user.get("name") or user.get("identifier"),
        values=values,
        keywords=log.get("keywords"),
    )


def _from_flat(raw: Mapping[str, Any]) -> WindowsRecord:
    writer = _well_known_user(raw.get("UserID")) or first_of(raw, ("AccountName", "UserID"))
    return WindowsRecord(
        provider=str(first_of(raw, ("SourceName", "ProviderName", "EventSourceName", "Source")) or ""),
        channel=str(first_of(raw, ("Channel", "EventLog")) or ""),
        event_id=_event_id(raw["EventID"]),
        computer=first_of(raw, ("Hostname", "Computer", "ComputerName")),
        data=raw,
        time=_flat_time(raw),
        message=str(first_of(raw, ("Message", "RenderedDescription")) or ""),
        user=writer,
        values=[str(raw[name]) for name in ("param1", "param2", "param3") if name in raw],
        keywords=raw.get("Keywords"),
    )


# ---------------------------------------------------------------- time
def _flat_time(raw: Mapping[str, Any]) -> datetime | None:
    """Return when the sensor's log took the record; NXLog's local time by the zone in which the collector's clocks differ."""
    written = read_time(raw.get("EventTime"))
    if written is None:
        shown = first_of(raw, ("TimeCreated", "@timestamp", "TimeGenerated", "timestamp"))
        return _best_time(read_time(shown), read_time(raw.get("UtcTime")))
    received, stamped = read_time(raw.get("EventReceivedTime")), read_time(raw.get("@timestamp"))
    if received and stamped:
        written += _zone(received, stamped)
    return _best_time(written, read_time(raw.get("UtcTime")))


def _zone(local: datetime, utc: datetime) -> timedelta:
    return timedelta(seconds=round((utc - local).total_seconds() / _QUARTER_S) * _QUARTER_S)


def _best_time(written: datetime | None, sensed: datetime | None) -> datetime | None:
    """Return the record's own time; the sensor's (`UtcTime`) if the record has none, or only whole seconds.

    Both count in the record's clock, so that records of one log stay in order where the clocks have different zones.
    """
    if written is None:
        return sensed
    if sensed is None or written.microsecond:
        return written
    shifted = sensed - _zone(written, sensed)
    return shifted if abs((shifted - written).total_seconds()) < _SAME_CLOCK_S else written
