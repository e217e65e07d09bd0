"""Clean the values of raw records: what a field of `schema.py` can hold, by the field's declared type.

A value that cannot be read as its field's type (text in an address field) is omitted; nothing is filled in.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from annotated_types import Ge, Le, MaxLen

from schema import FIELDS_OF, Hex, Ip

TAIL_SHARE = 4  # a text that is too long keeps its head and, at its end, a quarter of what fits


# ---------------------------------------------------------------- values
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
BLANKS = frozenset({"", "-", "?", "(null)", "(none)", "(empty)", "null", "N/A", "%%1793", "not set"})


def is_blank(value: object) -> bool:
    """Return whether a record's value says nothing: null, an empty string or a sensor's placeholder."""
    if isinstance(value, str):
        return value.strip() in BLANKS
    return value is None or value == [] or value == {}


def clean_text(value: object, limit: int) -> str:
    """Put text on one line: line breaks and tabs become a space, hidden characters U+FFFD.

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
    """Return an address as `ipaddress` writes it, or None. Drops a port, brackets, a zone and the IPv4-in-IPv6 prefix."""
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
    """Return a whole number that is written in decimal, as 0x... or with a fraction of zero; else None."""
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
    """Return a mask as 0x..., from a number or its text; None for what is neither or does not fit 64 bits."""
    number = clean_int(value)
    return hex(number) if number is not None and 0 <= number < 2**64 else None


_Cleaner = Callable[[object], Any]


def _cleaner(declared: Any) -> _Cleaner:
    """Return how to clean a field of a declared type."""
    kind = (
        next((kind for kind in get_args(declared) if kind is not NoneType), declared)
        if _is_union(declared)
        else declared
    )
    if kind is Ip:
        return lambda value: clean_ip(str(value))
    if kind is Hex:
        return clean_hex
    if get_origin(kind) is Literal:
        allowed = frozenset(get_args(kind))
        return lambda value: value if isinstance(value, str) and value in allowed else None
    bounds = {type(bound): bound for bound in kind.__metadata__[0].metadata}
    if kind.__origin__ is int:
        return partial(_within, low=bounds[Ge].ge, high=bounds[Le].le)
    limit = bounds[MaxLen].max_length
    return lambda value: clean_text(value, limit) or None


def _is_union(declared: Any) -> bool:
    return get_origin(declared) in (Union, UnionType)


def _within(value: object, *, low: int, high: int) -> int | None:
    number = clean_int(value)
    return number if number is not None and low <= number <= high else None


CLEANERS: dict[str, dict[str, _Cleaner]] = {
    event_type: {
        name: _cleaner(declared)
        for name, declared in get_type_hints(fields, include_extras=True).items()
        if name in fields.model_fields and name != "activity"
    }
    for event_type, fields in FIELDS_OF.items()
}


def clean_fields(event_type: str, activity: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Clean the raw values of an event type, by the schema's names; values that say nothing are left out.

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
def host_and_port(url: str) -> tuple[str | None, int | None]:
    """Return the host and port that a URL names; the port from its scheme if none is written."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None, None
    return parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def timestamp(moment: datetime) -> str:
    """Return ISO 8601 with Z, to the microsecond if the record knows it."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}Z" if moment.microsecond else f"{text}Z"


def mapping(value: object) -> Mapping[str, Any]:
    """Return a record's inner object, or an empty one if something else stands in its place."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Return the elements of a list as mappings, empty for those that are none; nothing of what is no list."""
    return [*map(mapping, value)] if isinstance(value, list) else []


def web_url(host: object, path: object, query: object) -> str:
    """Join a web request's address from its parts, of which host and query may be blank."""
    return f"http://{host or ''}{path}{f'?{query}' if query else ''}"


def json_value(value: object) -> Any:
    """Parse a column that holds JSON as text; return the value itself if it is no JSON."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def compact(value: object) -> str | None:
    """Return a part of a record as JSON on one line; None for nothing."""
    return (
        None
        if is_blank(value)
        else value
        if isinstance(value, str)
        else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    )


def first_of(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first value that says something, of several names that sensors use for it."""
    for name in names:
        value = values.get(name)
        if not is_blank(value):
            return value
    return None
