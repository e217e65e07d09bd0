"""What an importer makes of one raw record: a draft event, or the reason why the record is left out.

Values are cut and cleaned to what `schema.py` accepts, whose JSON schema says for each field what that is. A value that
cannot be read as its field's kind (text in an address field) is omitted; nothing is filled in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from schema import EVENT_CLASSES, EventBase
from world import PRIVATE_NETWORKS, in_networks

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # FILETIME zero (the year 1601) and other unset clocks lie before it
TAIL_SHARE = 4  # a text that is too long keeps its head and, at its end, a quarter of what fits


@dataclass(frozen=True, slots=True)
class Draft:
    """An event without a log id yet.

    `fields` are those of the event type's model in `schema.py`, `activity` among them; `time` is None where the record
    bears none; `record` is the raw record's number in its file, from 0.
    """

    event_type: str
    fields: Mapping[str, Any]
    time: datetime | None = None
    record: int = 0

    @property
    def activity(self) -> str:
        """What was done, in the event type's own words."""
        return str(self.fields["activity"])


@dataclass(frozen=True, slots=True)
class Left:
    """A raw record that becomes no event, and the reason in words."""

    reason: str
    record: int = 0


# ---------------------------------------------------------------- values
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
BLANKS = frozenset({"", "-", "?", "(null)", "(none)", "(empty)", "null", "N/A", "%%1793", "not set"})


def is_blank(value: object) -> bool:
    """Whether a record's value says nothing: null, an empty string or a sensor's placeholder."""
    return value is None or (isinstance(value, str) and value.strip() in BLANKS) or value == [] or value == {}


def clean_text(value: object, limit: int) -> str:
    """Text on one line: line breaks and tabs become a space, hidden characters U+FFFD.

    The middle of what is too long becomes a note of how much was left out.
    """
    text = value if isinstance(value, str) else str(value)
    if not text.isprintable():
        text = _HIDDEN.sub("\ufffd", _BREAKS.sub(" ", text))
    text = text.strip()
    if len(text) <= limit:
        return text
    room = limit - 48  # the note is shorter than this, whatever the number
    tail = room // TAIL_SHARE
    note = f" [... {len(text) - room} characters left out ...] "
    return text[: room - tail] + note + text[len(text) - tail :]


@lru_cache(maxsize=65_536)
def clean_ip(text: str) -> str | None:
    """An address as `ipaddress` writes it, or None. Drops a port, brackets, a zone and the IPv4-in-IPv6 prefix."""
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def clean_int(value: object) -> int | None:
    """A whole number, written in decimal, as 0x..., or as a number with a fraction of zero; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = str(value).strip()
    try:
        return int(text, 16) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def clean_hex(value: object) -> str | None:
    """A mask as 0x..., from a number or its text; None for what is neither or does not fit 64 bits."""
    number = clean_int(value)
    return hex(number) if number is not None and 0 <= number < 2**64 else None


_Cleaner = Callable[[object], Any]


def _cleaner(rule: Mapping[str, Any]) -> _Cleaner:
    """How to clean a field, by its JSON schema."""
    if "enum" in rule:
        allowed = frozenset(rule["enum"])
        return lambda value: value if isinstance(value, str) and value in allowed else None
    if rule["type"] == "integer":
        low, high = rule["minimum"], rule["maximum"]

        def number(value: object) -> int | None:
            whole = clean_int(value)
            return whole if whole is not None and low <= whole <= high else None

        return number
    if rule.get("pattern", "").startswith("^0x"):
        return clean_hex
    if rule["maxLength"] == 45:
        return lambda value: clean_ip(str(value))
    limit = rule["maxLength"]
    return lambda value: clean_text(value, limit) or None


def _cleaners(event_class: type[EventBase]) -> dict[str, _Cleaner]:
    model = event_class.model_fields["fields"].annotation
    assert model is not None
    properties = model.model_json_schema()["properties"]
    return {name: _cleaner(rule.get("anyOf", [rule])[0]) for name, rule in properties.items() if name != "activity"}


CLEANERS: dict[str, dict[str, _Cleaner]] = {name: _cleaners(cls) for name, cls in EVENT_CLASSES.items()}


def clean_fields(event_type: str, activity: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event type from raw values by the schema's names, without those that say nothing.

    Raises:
        KeyError: the type has no field of such a name (a mistake in a mapping table).
    """
    cleaners = CLEANERS[event_type]
    fields: dict[str, Any] = {"activity": activity}
    for name, value in values.items():
        clean = cleaners[name]
        if not is_blank(value) and (cleaned := clean(value)) is not None:
            fields[name] = cleaned
    return fields


# ---------------------------------------------------------------- facts that are derived, not recorded
@lru_cache(maxsize=65_536)
def scope_of(ip: str, networks: tuple[str, ...]) -> str:
    """`internal` for an address of ours and for what never leaves a local network, as multicast does; else `external`."""
    address = ipaddress.ip_address(ip)
    local = address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local
    return "internal" if local or ip == "255.255.255.255" or in_networks(ip, networks) else "external"


def with_scope(fields: dict[str, Any], networks: tuple[str, ...] = PRIVATE_NETWORKS) -> dict[str, Any]:
    """A connection's fields with `dst_scope`, where there is a destination address."""
    if "dst_ip" in fields:
        fields["dst_scope"] = scope_of(fields["dst_ip"], networks)
    return fields


def host_and_port(url: str) -> tuple[str | None, int | None]:
    """The host and port that a URL names; the port from its scheme where none is written."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None, None
    return parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


# ---------------------------------------------------------------- time
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?\s*(Z|[+-]\d\d:?\d\d)?$")


def read_time(value: object) -> datetime | None:
    """A point in time from ISO 8601 text (no zone: UTC) or from seconds since 1970; None for what is neither.

    A date before 1990 is an unset clock, and none. Seconds may be few: traffic read from a capture file often counts
    from the capture's start.
    """
    if is_blank(value) or isinstance(value, bool):
        return None
    found = _ISO.match(value.strip()) if isinstance(value, str) else None
    try:
        if not found:
            return datetime.fromtimestamp(max(float(str(value)), 0.0), UTC)
        moment = _from_match(found)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment >= EARLIEST else None


def _from_match(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    micros = int((found[7] or "0").ljust(6, "0")[:6])
    moment = datetime(year, month, day, hour, minute, min(second, 59), micros, UTC)
    zone = found[8]
    if zone and zone != "Z":
        ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        moment += ahead if zone[0] == "-" else -ahead
    return moment


def timestamp(moment: datetime) -> str:
    """ISO 8601 with Z, to the microsecond where the record knows it."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}Z" if moment.microsecond else f"{text}Z"


def in_time_order(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts by time, then by record; one without a time takes that of the record before it, else after it."""
    known: datetime | None = next((draft.time for draft in drafts if draft.time), None)
    timed = []
    for draft in sorted(drafts, key=lambda draft: draft.record):
        known = draft.time or known or datetime(2000, 1, 1, tzinfo=UTC)
        timed.append(draft if draft.time else Draft(draft.event_type, draft.fields, known, draft.record))
    return sorted(timed, key=lambda draft: (draft.time, draft.record))


# ---------------------------------------------------------------- events of the schema
def to_event(draft: Draft, log_id: str) -> EventBase:
    """The schema's event for a draft.

    Raises:
        ValidationError: the fields do not fit their type.
    """
    assert draft.time is not None
    row = {"event_type": draft.event_type, "fields": draft.fields, "timestamp": timestamp(draft.time), "log_id": log_id}
    return EVENT_CLASSES[draft.event_type].model_validate(row)


def misfit(draft: Draft) -> str:
    """Why the schema refuses a draft, or nothing."""
    model = EVENT_CLASSES[draft.event_type].model_fields["fields"].annotation
    assert model is not None
    try:
        model.model_validate(draft.fields)
    except ValidationError as error:
        first = error.errors()[0]
        return f"the schema refuses {draft.event_type}.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def mapping(value: object) -> Mapping[str, Any]:
    """A record's inner object, or an empty one where something else stands in its place."""
    return value if isinstance(value, dict) else {}


def first_of(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first value that says something, of several names that sensors use for it."""
    for name in names:
        value = values.get(name)
        if not is_blank(value):
            return value
    return None
