"""Read the columns of exports, and write parts of a record as JSON that fits a field.

Exports name the same column in many ways ("IP address", `ipAddress`, `IPAddress`, `ip_address`) and put objects into text
cells: as JSON, or as Presto and Java print rows and maps (`{type=IAMUser, arn=...}`), as Athena, CloudTrail Lake and Elastic's
CloudTrail integration do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from schema import MAX_LONG_TEXT
from telemetry.importers.values import is_blank, json_value

FLOW_TUPLE = "flowTuple"  # one flow of a record of Azure's flow logs, which holds many
WORKSPACE_EVENT = "workspaceEvent"  # one event of an activity of Google Workspace, which holds several
DEEPEST = 24  # levels of a part of a record that are written; what lies below is left out
_SIZES = ((10_000, 1_000), (512, 40), (256, 20), (128, 10), (64, 5), (32, 2), (16, 1))  # longest string, most elements
_ZONE = re.compile(r"\s*[\[(](?:UTC|Local Time)[^\])]*[\])]$", re.IGNORECASE)
_BRACED = re.compile(r"[={}\[\],]")


def fitted(value: object, limit: int = MAX_LONG_TEXT) -> str | None:
    """Return a part of a record as JSON on one line of at most `limit` characters; None for nothing.

    Empty members are left out. What is too long is shortened within: its strings, then its lists, until all fits, so that the
    text stays JSON and keeps every name that it can. Text that is no JSON is returned as it is.
    """
    if is_blank(value):
        return None
    if isinstance(value, str):
        return value
    text = ""
    for longest, most in _SIZES:
        text = json.dumps(_shortened(value, longest, most), separators=(",", ":"), ensure_ascii=False)
        if len(text) <= limit:
            return None if text in ("{}", "[]") else text
    return text


def _shortened(value: Any, longest: int, most: int, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + "..."
    if depth > DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        members = [
            (key, _shortened(member, longest, most, depth + 1)) for key, member in list(value.items())[: 8 * most]
        ]
        return {str(key): member for key, member in members if member is not None and member != {} and member != []}
    if isinstance(value, list):
        return [_shortened(element, longest, most, depth + 1) for element in value[:most]]
    return value


def plain(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a record by their names in lower case, without spaces, signs and ` [UTC]`; empty ones are left out."""
    return {_plain_name(str(name)): value for name, value in names.items() if not is_blank(value)}


@lru_cache(maxsize=4096)
def _plain_name(name: str) -> str:
    return "".join(filter(str.isalnum, _ZONE.sub("", name).lower()))


def camel(value: Any, depth: int = 0) -> Any:
    """Return an object with every name's first letter in lower case, as one API writes what another writes in capitals."""
    if depth > DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {str(name)[:1].lower() + str(name)[1:]: camel(member, depth + 1) for name, member in value.items()}
    return [camel(element, depth + 1) for element in value] if isinstance(value, list) else value


def deep_camel(value: Any, depth: int = 0) -> Any:
    """Return an object whose names are written access_key_id with names written accessKeyId, at every depth."""
    if isinstance(value, list):
        return [deep_camel(element, depth + 1) for element in value]
    if not isinstance(value, Mapping) or depth > DEEPEST:
        return value
    return {_camel_name(str(name)): deep_camel(member, depth + 1) for name, member in value.items()}


@lru_cache(maxsize=4096)
def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


# ---------------------------------------------------------------- rows and maps as Presto and Java print them
def braced(value: object) -> Any:
    """Parse a cell as JSON or as a printed row (`{a=1, b={c=[x, y]}}`); return the value itself if it is neither."""
    whole = json_value(value)
    if whole is not value or not isinstance(value, str) or not value.startswith("{") or not value.endswith("}"):
        return whole
    try:
        inner, end = _braced_object(value, 1, 0)
    except ValueError:
        return value
    return inner if end == len(value) else value


def _braced_object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    while text[at : at + 1] != "}":
        sign = text.find("=", at)
        if sign < 0 or depth > DEEPEST:
            raise ValueError(text)
        members[text[at:sign].strip()], at = _braced_value(text, sign + 1, depth)
        at = _next_member(text, at)
    return members, at + 1


def _braced_value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if text[at : at + 1] == "{":
        return _braced_object(text, at + 1, depth + 1)
    if text[at : at + 1] == "[":
        return _braced_list(text, at + 1, depth + 1)
    end = at
    while (sign := _BRACED.search(text, end)) and not _ends_value(text, sign.start()):
        end = sign.end()
    stop = sign.start() if sign else len(text)
    word = text[at:stop].strip()
    return (None if word in ("null", "") else word), stop


def _ends_value(text: str, at: int) -> bool:
    """Return whether a sign ends a bare value: a closing one, or a comma before a space and the next member."""
    return text[at] in "}]" or (text[at] == "," and text[at + 1 : at + 2] == " ")


def _braced_list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    elements: list[Any] = []
    while text[at : at + 1] != "]":
        if at >= len(text) or depth > DEEPEST:
            raise ValueError(text)
        element, at = _braced_value(text, at, depth)
        elements.append(element)
        at = _next_member(text, at)
    return elements, at + 1


def _next_member(text: str, at: int) -> int:
    if text[at : at + 1] == ",":
        return at + 1 + (text[at + 1 : at + 2] == " ")
    if text[at : at + 1] not in ("}", "]"):
        raise ValueError(text)
    return at


# ---------------------------------------------------------------- CloudTrail's objects
CLOUDTRAIL_OBJECTS = (
    "userIdentity",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "resources",
    "serviceEventDetails",
)


def with_objects(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CloudTrail record whose objects were text, with these parsed; those that say nothing are left out."""
    inner = {name: braced(record[name]) for name in CLOUDTRAIL_OBJECTS if name in record}
    rest = {name: value for name, value in record.items() if name not in inner}
    return {**rest, **{name: value for name, value in inner.items() if value not in (None, "null", "", {})}}
