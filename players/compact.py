"""Write a prompt for small models: entities by short names that say what decides, one timeline, and each line's id at its end.

A host is `@crown1`, `@host1` or `@lab1` by its tier, an account `@priv1` or `@user1`, an indicator `@bad1` (high confidence) or `@maybe1`, a ticket
`@t1` if it is approved and `@x1` if not, an authorised scanner `@scan1` (`@outscan1` from outside), any other address `@out1` or `@in1`, a machine's
account `@machine1`, another name that comes again `@name1`, an outage of a sensor `@s1`; an address of a host has the host's short name. A definition begins with what matters.
The fact stands wherever the entity stands: a small model does not form the habit of looking a definition up at a varying distance (train/LOG.md).

A line of the timeline has the seconds since the line before it, type and activity, the fields, and, last, its log id. Between them stands what follows
from the context and from the playbook: after a field `names=` the entities that its text names and `is=` what the glossary calls it, after all fields `rules=` the
rules that look at such a line (`verifier.lookup`), `during=` the tickets that are open and name its host, its account and its program (or work that is no program), and
`near=` those whose program it does not name. Numbers of 100,000 and more say their number of
digits first. What the verifier reads can be read back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from math import isnan
from typing import Any, NamedTuple

from players.values import listed, plain, raw, read, short
from schema import NO_TIME, SENSOR_OF, UNNAMED_PROGRAM_WORK, account_name, epoch_s, shown_time
from verifier.context import MIN_OUTAGE_S
from verifier.lookup import rules_at, terms_for
from verifier.window import WELL_KNOWN_ACCOUNTS
from world import World, in_networks

LARGE = 100_000  # numbers from here on say their number of digits first
TIERS = {"crown_jewel": "crown", "standard": "host", "lab": "lab"}
INTELLIGENCE = {"high": "bad", "low": "maybe"}
SHORT_NAME = re.compile(r"@[a-z]+\d+")
TICKET = "ticket "  # stands before a ticket's id among the names, which a host or an account may have too
_WORK_NAMES = {work: work.replace(" ", "-") for work in UNNAMED_PROGRAM_WORK}
_WORK_BY_NAME = {name: work for work, name in _WORK_NAMES.items()}
# A field that names an entity ends in one of these.
_ENTITY_FIELDS = ("ip", "hostname", "user", "user_name", "run_as", "answers")
_IN_WORD = re.compile(r"[\w-]").match


class Compact(NamedTuple):
    """A prompt's user message, and the short names of what it names: of hosts, accounts, addresses, domains, and of tickets by `ticket ID`."""

    text: str
    names: Mapping[str, str]


def work_name(tool: str) -> str:
    """Write a program, or work that is no program, as one word where it can be."""
    return _WORK_NAMES.get(tool) or (raw(tool) if tool in _WORK_BY_NAME else short(tool))


def read_work(text: str) -> str:
    """Return the program or work that `work_name` wrote."""
    return _WORK_BY_NAME.get(text) or read(text)


def compact(observation: Mapping[str, Any]) -> Compact:
    """Write an observation.

    Args:
        observation: what `reset` shows the defender: `alert`, `log_window` and `context` are read.
    """
    alert, context, window = observation["alert"], observation["context"], observation["log_window"]
    world = World.from_context(context, alerted=alert["log_id"])
    starts = window[0]["timestamp"] if window else world.now
    lines = [f"now {plain(shown_time(world.now))} {plain(shown_time(starts))} {listed(context.get('networks', ()))}"]
    names = _Names(lines)
    _name_entities(names, world, window)
    for tool in world.tools:
        lines.append(f"tool={work_name(tool['name'])} {plain(tool['department'])}")
    marks = [*_name_tickets(names, world), *_name_sensors(names, world, window)]
    lines.append(_alert_line(names, world, alert, window))
    lines += _timeline(names, world, window, sorted(marks, reverse=True), _first_time(starts, world.now))
    return Compact("\n".join(lines), names.by_name())


class WorldText(NamedTuple):
    """A world as an attacker reads it.

    `values` are what short names stand for, by (is it an address, short name); `write_fields` writes an event's fields in them.
    """

    text: str
    values: Mapping[tuple[bool, str], str]
    write_fields: Callable[[Mapping[str, Any]], str]


def world_text(context: Mapping[str, Any]) -> WorldText:
    """Write what an attacker may know: the definitions of the whole world, tickets and outages with their times in seconds from now.

    Args:
        context: of an observation of the attacker's turn.
    """
    world = World.from_context(context)
    lines = [f"now {plain(shown_time(world.now))} {listed(context.get('networks', ()))}"]
    names, now = _Names(lines), _first_time(world.now)
    _name_entities(names, world, ())
    lines.append(
        f"tools {','.join(work_name(tool['name']) + ':' + plain(tool['department']) for tool in world.tools) or '-'}"
    )
    marks = [*_name_tickets(names, world), *_name_sensors(names, world, ())]
    lines += [f"{round(moment - now):+d} {mark}" for moment, _, mark in sorted(marks)]
    values = {(is_address, name): value for (is_address, value), name in reversed(names.items())}
    return WorldText("\n".join(lines), values, partial(_fields, names))


class _Names(dict[tuple[bool, Any], str]):
    """Map what entities are called, (is it an address, value), to short names. A definition is a line of the prompt."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines, self._numbers, self._tickets = lines, Counter[str](), dict[str, str]()

    def define(self, kind: str, text: str, *values: tuple[bool, Any]) -> str:
        """Write the next definition of a kind and return its short name, which the values have from now on unless they had one."""
        self._numbers[kind] += 1
        name = f"@{kind}{self._numbers[kind]}"
        self._lines.append(f"{name} {text}")
        for value in values:
            self.setdefault(value, name)
        return name

    def define_ticket(self, kind: str, text: str, ticket_id: str) -> str:
        """Write the definition of a ticket."""
        name = self.define(kind, text)
        self._tickets.setdefault(TICKET + ticket_id, name)
        return name

    def of_ticket(self, ticket_id: str) -> str:
        """Return the short name of a ticket."""
        return self._tickets[TICKET + ticket_id]

    def of(self, field: str, value: Any) -> str:
        """Write a field's value: a short name if it names an entity, else as it is."""
        return self.get((field.endswith("ip"), value)) or short(value)

    def listed(self, values: Iterable[str]) -> str:
        """Write a list of names of hosts or accounts."""
        return ",".join(self.get((False, value)) or plain(value) for value in values) or "-"

    def by_name(self) -> dict[str, str]:
        """Return the short names by what they stand for, the last defined first, tickets at the end."""
        return {value: name for (_, value), name in reversed(self.items())} | self._tickets


# ---------------------------------------------------------------- definitions
def _name_entities(names: _Names, world: World, window: Sequence[Mapping[str, Any]]) -> None:
    """Define hosts, accounts, indicators, scanners, the other addresses of a window and other names that come again."""
    for host in world.hosts.values():
        rest = " ".join(map(plain, (host["role"], host["name"], host["ip"])))
        names.define(TIERS[host["criticality"]], rest, (False, host["name"]), (True, host["ip"]))
    for account in world.accounts.values():
        rest = " ".join(map(plain, (account["department"], account["kind"], account["name"])))
        names.define("priv" if account["privileged"] else "user", rest, (False, account["name"]))
    for indicator in world.indicators:
        value = indicator["value"]
        names.define(INTELLIGENCE[indicator["confidence"]], plain(value), (False, value), (True, value))
    for scanner in world.scanners:
        address, targets = scanner["ip"], tuple(scanner["targets"])
        covers = names.listed(host["name"] for host in world.hosts.values() if in_networks(host["ip"], targets))
        kind = "scan" if world.is_internal(address) else "outscan"
        names.define(kind, f"{names.of('ip', address)} {listed(targets)} covers={covers}", (True, address))
    for is_address, value in _entities(window):
        if (is_address, value) not in names and (kind := _kind_of(value, world, is_address=is_address)):
            names.define(kind, plain(value), (is_address, value), (not is_address, value))


def _entities(window: Sequence[Mapping[str, Any]]) -> Iterable[tuple[bool, str]]:
    """Return every address and every name that a window has more than once, in their order."""
    counts = Counter(
        (name.endswith("ip"), value)
        for row in window
        for name, value in row["fields"].items()
        if isinstance(value, str) and name.endswith(_ENTITY_FIELDS)
    )
    return [(is_address, value) for (is_address, value), times in counts.items() if is_address or times > 1]


def _kind_of(value: str, world: World, *, is_address: bool) -> str:
    """Return the kind of short name for what no context names; nothing for names that everybody knows."""
    if is_address:
        return "in" if world.is_internal(value) else "out"
    if value.lower() in WELL_KNOWN_ACCOUNTS:
        return ""
    return "machine" if value.endswith("$") else "name"


Mark = tuple[float, int, str]  # when, openings first, what happens


def _name_tickets(names: _Names, world: World) -> Iterable[Mark]:
    """Define the tickets, and yield when each opens and closes."""
    for ticket in world.tickets:
        rest = (
            f"tool={work_name(ticket['tool'])} {names.listed(ticket['hosts'])} {names.listed(ticket['accounts'])} "
            f"{plain(ticket['status'])} {plain(ticket['ticket_id'])}"
        )
        name = names.define_ticket("t" if ticket["status"] == "approved" else "x", rest, ticket["ticket_id"])
        yield epoch_s(ticket["starts_at"]), 0, f"{name} opens"
        yield epoch_s(ticket["ends_at"]), 1, f"{name} closes"


def _name_sensors(names: _Names, world: World, window: Sequence[Mapping[str, Any]]) -> Iterable[Mark]:
    """Define the outages of sensors, and yield when each begins and ends."""
    for sensor in world.sensors:
        missing = _missing_s(sensor, window)
        name = names.define("s", f"{names.of('', sensor['host'])} {plain(sensor['telemetry'])} {missing}")
        yield epoch_s(sensor["silent_from"]), 0, f"{name} silent"
        yield epoch_s(sensor["silent_to"]), 1, f"{name} back"


def _missing_s(sensor: Mapping[str, Any], window: Sequence[Mapping[str, Any]]) -> int:
    """Return for how many seconds of a window a sensor was silent."""
    times = [moment for row in window if not isnan(moment := epoch_s(row["timestamp"]))] or [0.0]
    silent, back = epoch_s(sensor["silent_from"]), epoch_s(sensor["silent_to"])
    return max(0, round(min(back, max(times)) - max(silent, min(times))))


def _alert_line(names: _Names, world: World, alert: Mapping[str, Any], window: Sequence[Mapping[str, Any]]) -> str:
    """Write the alert, with the host and the sensor that it came from, and for how many seconds of the window that was silent."""
    row = next((row for row in window if row["log_id"] == alert["log_id"]), None)
    host = row["fields"].get("device_hostname") if row else None
    sensor = SENSOR_OF.get(row["event_type"], "-") if row else "-"
    place = names.of("", host) if host else "-"
    note = f" {raw(alert['narrative'])}" if alert.get("narrative") else ""
    missing = max(
        (_missing_s(row, window) for row in world.sensors if row["host"] == host and row["telemetry"] == sensor),
        default=0,
    )
    silent = f" silent={missing}" if missing >= MIN_OUTAGE_S else ""  # a shorter outage decides nothing
    return f"alert {plain(alert['log_id'])} {place} {sensor}{silent} {plain(alert['severity'])} {raw(alert['title'])}{note}"


def _first_time(*timestamps: str) -> float:
    """Return the first of some times that is known, in epoch seconds; 0 where none is."""
    return next((epoch_s(timestamp) for timestamp in timestamps if timestamp and timestamp != NO_TIME), 0.0)


# ---------------------------------------------------------------- the timeline
def _timeline(
    names: _Names, world: World, window: Sequence[Mapping[str, Any]], marks: list[Mark], at: float
) -> Iterable[str]:
    """Write the log lines in their order, the marks among them by time, each with the seconds since the line before it."""
    open_tickets, notes = _open_tickets(names, world), _notes(names)

    def timed(moment: float, rest: str) -> str:
        nonlocal at
        if isnan(moment):
            return f"untimed {rest}"
        gap, at = round(moment - at, 6), moment
        return f"{gap:+.10g} {rest}"

    for row in window:
        moment = epoch_s(row["timestamp"])
        while marks and marks[-1][:2] <= (moment, 0):
            yield timed(marks[-1][0], marks.pop()[2])
        fields = _fields(names, row["fields"], notes)
        rules = f" rules={','.join(rule_ids)}" if (rule_ids := rules_at(row)) else ""
        during = open_tickets(moment, row["fields"]) if world.tickets else ""
        kind = f"{row['event_type']}.{plain(row['fields']['activity'])}"
        yield timed(moment, f"{kind}{fields}{rules}{during} {row['log_id']}")
    while marks:
        yield timed(marks[-1][0], marks.pop()[2])


def _fields(names: _Names, fields: Mapping[str, Any], notes: Callable[[str, str], str] = lambda name, text: "") -> str:
    """Write the fields of a line that are set, but for its activity, each text with notes on it."""
    parts = []
    for name, value in fields.items():
        if value is None or name == "activity":
            continue
        if name.endswith(_ENTITY_FIELDS):
            parts.append(f" {name}={names.of(name, value)}")
        elif isinstance(value, str):
            parts.append(f" {name}={short(value)}{notes(name, value)}")
        else:
            parts.append(f" {name}={f'{len(str(value))}:' if value >= LARGE else ''}{value}")
    return "".join(parts)


def _notes(names: _Names) -> Callable[[str, str], str]:
    """Return a function that says of a field and its text which entities it names and what the playbook calls it."""
    mentions = _mentions(names)

    def notes(field: str, text: str) -> str:
        terms = terms_for(field, text)
        return f"{mentions(text)} is={','.join(terms)}" if terms else mentions(text)

    return notes


def _mentions(names: _Names) -> Callable[[str], str]:
    """Return a function that says which entities a text names, in the order of the text."""
    words = {value: name for (_, value), name in names.items() if isinstance(value, str) and len(value) > 2}

    @cache
    def mentions(text: str) -> str:
        places = [(at, -len(word), name) for word, name in words.items() if word in text for at in _places(word, text)]
        end, mentioned = 0, dict[str, None]()
        for at, minus_length, name in sorted(places):
            if at >= end:  # of words that overlap the first counts, and the longest of those that begin at one place
                mentioned[name], end = None, at - minus_length
        return f" names={','.join(mentioned)}" if mentioned else ""

    return mentions


def _places(word: str, text: str) -> Iterable[int]:
    """Yield where a word begins in a text, as far as it is no part of a longer one."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not _IN_WORD(text[at - 1 : at]) and not _IN_WORD(text[end : end + 1]):
            yield at
        at = text.find(word, at + 1)


def _open_tickets(names: _Names, world: World) -> Callable[[float, Mapping[str, Any]], str]:
    """Return a function that says which tickets are open at a line's time and name its host and its account, as far as it has them: with its program, and without."""
    tickets = [
        (
            epoch_s(ticket["starts_at"]),
            epoch_s(ticket["ends_at"]),
            frozenset((*ticket["hosts"], None)),
            frozenset((*ticket["accounts"], "")),
            "" if ticket["tool"] in UNNAMED_PROGRAM_WORK else ticket["tool"].lower().removesuffix(".exe"),
            names.of_ticket(ticket["ticket_id"]),
        )
        for ticket in world.tickets
    ]

    def during(moment: float, fields: Mapping[str, Any]) -> str:
        host, account = fields.get("device_hostname"), account_name(fields.get("actor_user"))
        open_then = [
            (program, name)
            for start, end, hosts, accounts, program, name in tickets
            if start <= moment <= end and host in hosts and account in accounts
        ]
        if not open_then:
            return ""
        text = "\n".join(value for value in fields.values() if isinstance(value, str)).lower()
        during = ",".join(name for program, name in open_then if program in text)
        near = ",".join(name for program, name in open_then if program not in text)
        return (f" during={during}" if during else "") + (f" near={near}" if near else "")

    return during
