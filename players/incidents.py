"""Write an incident as lines for small models, and read it back into `craft_incident`: the compact prompt's lines, the other way round.

An incident's first line claims: the right action and the category. Then a line for each event: the seconds since the event before it (of the first:
since now, so below 0), type and activity, and the fields; an entity of the world may stand by its short name. A last line `note` holds what a reporter adds:

    escalate exfiltration
    -3600 process.launch device_hostname=@crown1 actor_user=@priv2 process_path=C:\\Windows\\System32\\cmd.exe process_cmd_line=`cmd.exe /c dir`
    +12 net_conn.open device_hostname=@crown1 src_ip=@crown1 dst_ip=@bad1 dst_port=443 direction=outbound bytes_out=9:734003200
    note `Seen by the night shift.`

Two things are read as they are meant. An incident whose events would end after now is moved back as a whole, so that it ends a second before: who writes gaps does not add them up.
And the identity of a call (`user_uid`) names its account (`actor_user`), an account of the world: who writes short names does not spell them. Log ids are given in the order of the
lines; those that somebody writes at a line's end, and the notes of a defender's prompt (`names=`, `is=`, `rules=`, `during=`, `near=`), are read over. JSON stays the wire format, is taken as it stands,
and whoever writes it is read as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any, NamedTuple, get_args

from players.base import MAX_REPLY
from players.naming import world_text
from players.reasoning import spoken
from players.values import QUOTED, SHORT_NAME, raw, read
from schema import FIELDS_OF, MAX_EVENTS, Incident, account_name, epoch_s, iso_time, log_id_at, shown

NOTE = "note"
MAX_DEPTH = 20  # objects and lists in one another, of an incident as JSON; the deepest has 5
MAX_GAP_S = 10 * 86_400  # seconds between two lines that are read; the gate takes a day in all
_READ_OVER = ("names", "is", "rules", "during", "near")  # parts that follow from others
_CLAIM = re.compile(r"([a-z_]+) ([a-z_]+)$")
_EVENT = re.compile(r"([+-]?\d{1,9}(?:\.\d{1,6})?) ([a-z_]+)\.([a-z_]+)((?: .*)?)$")
_PART = re.compile(rf" ([a-z_]+)=(`[^`]*`|{QUOTED}(?= |$)|[^ ]*)")
_LOG_ID = re.compile(r" L\d{1,3}-\d{1,3}$")
_NOT_VALID = "the JSON object of the incident is not valid"
_TOO_DEEP = f"{_NOT_VALID}: objects and lists lie in one another more than {MAX_DEPTH} deep"
_FENCE = re.compile(r"^```.*$", re.MULTILINE)


class Craft(NamedTuple):
    """What `craft_incident` should hold, as plain data; where it is None, `fault` says why."""

    content: dict[str, Any] | None
    fault: str


# ---------------------------------------------------------------- incident -> lines
def write_incident(incident: Incident, context: Mapping[str, Any]) -> str:
    """Write an incident in the short names of a world.

    Args:
        incident: its events in time order.
        context: of the world, as the attacker's turn shows it.
    """
    world, before = world_text(context), epoch_s(context["now"])
    lines = [f"{incident.target_label} {incident.category}"]
    for event in incident.events:
        at = epoch_s(event.timestamp)
        fields = {name: value for name, value in event.fields.__dict__.items() if value is not None}
        gap, before = round(at - before, 6), at
        lines.append(f"{gap:+.10g} {event.event_type}.{fields['activity']}{world.write_fields(fields)}")
    if incident.narrative:
        lines.append(f"{NOTE} {raw(incident.narrative)}")
    return "\n".join(lines)


# ---------------------------------------------------------------- reply -> craft_incident
def read_craft(reply: str | None, context: Mapping[str, Any]) -> Craft:
    """Read the incident in a reply: JSON as `craft_incident` takes it, or lines in the short names of a world. Never raises.

    Whether the schema and the gate take it is not asked here.

    Args:
        reply: an attacker's; reasoning and code fences are left out.
        context: of the world that it was shown.
    """
    if not isinstance(reply, str) or not reply.strip():
        return Craft(None, "expected an incident, as lines or as one JSON object; got none")
    if len(reply) > MAX_REPLY:
        return Craft(None, f"expected an incident within {MAX_REPLY} characters; got {len(reply)}")
    text = _FENCE.sub("", spoken(reply)).strip()
    if text.startswith("{"):
        return _read_json(text)
    try:
        return Craft(LineReader(context).read(text), "")
    except ValueError as error:
        return Craft(None, str(error))


def _read_json(text: str) -> Craft:
    try:
        content, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except json.JSONDecodeError as error:
        return Craft(None, f"{_NOT_VALID}: {error.msg} at character {error.pos}")
    except ValueError:
        return Craft(None, f"{_NOT_VALID}: a number has more digits than are read")
    except RecursionError:
        return Craft(None, _TOO_DEEP)
    if _is_deep(content):
        return Craft(None, _TOO_DEEP)
    if isinstance(content, dict) and isinstance(content.get("craft_incident"), dict):
        content = content["craft_incident"]
    if not isinstance(content, dict) or "events" not in content:
        return Craft(None, "expected a JSON object with target_label, category and events")
    return Craft(content, "")


def _is_deep(content: Any) -> bool:
    """Return whether objects and lists lie in one another deeper than `MAX_DEPTH`: what could be read here might not be written there."""
    level = [content]
    for _ in range(MAX_DEPTH):
        values = (each.values() if isinstance(each, dict) else each for each in level)
        level = [inner for each in values for inner in each if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


class LineReader:
    """Reads incidents as lines, in the short names of a world.

    `names` are the short names and what they stand for, by whether they stand in a field of an address.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.names: Mapping[tuple[bool, str], str] = world_text(context).values
        self._accounts = {account["name"] for account in context["accounts"]}
        self._now = epoch_s(context["now"])

    def read(self, text: str) -> dict[str, Any]:
        """Read an incident; ValueError says which line is none."""
        first, *lines = text.split("\n")
        claim = _CLAIM.match(first.strip())
        if claim is None:
            raise ValueError(f"expected the claim, an action and a category, in the first line; got {shown(first)}")
        content: dict[str, Any] = {"target_label": claim[1], "category": claim[2], "events": []}
        if len(lines) > MAX_EVENTS + 1:
            raise ValueError(f"expected at most {MAX_EVENTS} events; got {len(lines)} lines")
        times: list[float] = []
        for number, line in enumerate(map(str.strip, lines), 2):
            if line.startswith(f"{NOTE} "):
                content["narrative"] = read(line[len(NOTE) + 1 :])
            elif line:
                content["events"].append(self._event(line, number, times))
        self._date(content["events"], times)
        return content

    def _date(self, events: Sequence[dict[str, Any]], times: Sequence[float]) -> None:
        """Give the events their times."""
        late = max(0.0, times[-1] - self._now + 1) if times else 0.0
        for event, at in zip(events, times, strict=True):
            event["timestamp"] = _timestamp(at - late)

    def _event(self, line: str, number: int, times: list[float]) -> dict[str, Any]:
        match = _EVENT.match(_LOG_ID.sub("", line))
        if match is None or match[2] not in FIELDS_OF:
            raise ValueError(
                f"line {number}: expected seconds, type.activity and name=value parts, and a type that exists; got {shown(line)}"
            )
        gap, event_type, activity, rest = match.groups()
        if not isfinite(float(gap)) or abs(float(gap)) > MAX_GAP_S:
            raise ValueError(
                f"line {number}: expected at most {MAX_GAP_S} seconds between two events; got {shown(gap)}"
            )
        log_id = log_id_at(len(times))
        times.append((times[-1] if times else self._now) + float(gap))
        fields = {"activity": activity, **self._fields(event_type, rest, number)}
        return {"event_type": event_type, "fields": fields, "log_id": log_id}

    def _fields(self, event_type: str, rest: str, number: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        at = 0
        while at < len(rest):
            part = _PART.match(rest, at)
            if part is None:
                raise ValueError(f"line {number}: expected name=value between single spaces; got {shown(rest[at:])}")
            name, at = part[1], part.end()
            if name in fields:
                raise ValueError(f"line {number}: expected each field once; got {name} twice")
            if name not in _READ_OVER:
                fields[name] = self._value(event_type, name, part[2], number)
        if fields.get("actor_user") in self._accounts and isinstance(fields.get("user_uid"), str):
            fields["user_uid"] = _with_name(fields["user_uid"], fields["actor_user"])
        return fields

    def _value(self, event_type: str, name: str, text: str, number: int) -> str | int:
        if SHORT_NAME.fullmatch(text):
            value = self.names.get((name.endswith("ip"), text))
            if value is None:
                raise ValueError(f"line {number}: expected short names of this world; got {shown(text)}")
            return value
        value = read(text)
        if name in numbers_of(event_type):
            digits = value.rpartition(":")[2]
            return int(digits) if re.fullmatch(r"\d{1,18}", digits) else value
        return value


def _with_name(identity: str, account: str) -> str:
    """Return an identity with an account's name in place of the one that it has; one without a name (a root's) as it stands."""
    name = account_name(identity)
    before, found, after = identity.rpartition(name)
    return f"{before}{account}{after}" if found and ":" not in name else identity


@cache
def numbers_of(event_type: str) -> frozenset[str]:
    """Return the fields of an event type that hold a number."""
    fields = FIELDS_OF[event_type].model_fields
    return frozenset(name for name, field in fields.items() if _has_int(field.annotation))


def _has_int(annotation: Any) -> bool:
    return annotation is int or any(map(_has_int, get_args(annotation)))


def _timestamp(at: float) -> str:
    """Write a time, with its part of a second where it has one."""
    whole = int(at // 1)
    part = f"{at - whole:.6f}"[1:].rstrip("0").rstrip(".")
    return iso_time(whole)[:-1] + part + "Z"
