"""Write a defender's prompt for small models: definitions of the entities (`players.naming`), then one timeline, each line's id at its end.

A line of the timeline has the seconds since the line before it, type and activity, the fields, and, last, its log id. Between them stands what follows
from the context and from the playbook: after a field `names=` the entities that its text names and `is=` what the glossary calls it, after all fields `rules=` the
rules that look at such a line (`verifier.rules.rules_at`), `during=` the tickets that are open and name its host, its account and its program (or work that is no program), and
`near=` those whose program it does not name. Numbers of 100,000 and more say their number of digits first. What the verifier reads can be read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import isnan
from typing import Any, NamedTuple

from players.naming import Mark, Names, first_time, missing_s, name_entities, name_sensors, name_tickets, write_fields
from players.values import listed, plain, raw, work_name
from schema import SENSOR_OF, UNNAMED_PROGRAM_WORK, account_name, epoch_s, shown_time
from verifier.context import MIN_OUTAGE_S
from verifier.rules import rules_at
from verifier.rules.kit import terms_for
from world import World

_IN_WORD = re.compile(r"[\w-]").match


class Compact(NamedTuple):
    """A prompt's user message, and the short names of what it names: of hosts, accounts, addresses, domains, and of tickets by `ticket ID`."""

    text: str
    names: Mapping[str, str]


def compact(observation: Mapping[str, Any]) -> Compact:
    """Write an observation.

    Args:
        observation: what `reset` shows the defender: `alert`, `log_window` and `context` are read.
    """
    alert, context, window = observation["alert"], observation["context"], observation["log_window"]
    world = World.from_context(context, alerted=alert["log_id"])
    starts = window[0]["timestamp"] if window else world.now
    lines = [f"now {plain(shown_time(world.now))} {plain(shown_time(starts))} {listed(context.get('networks', ()))}"]
    names = Names(lines)
    name_entities(names, world, window)
    for tool in world.tools:
        lines.append(f"tool={work_name(tool['name'])} {plain(tool['department'])}")
    marks = [*name_tickets(names, world), *name_sensors(names, world, window)]
    lines.append(_alert_line(names, world, alert, window))
    lines += _timeline(names, world, window, sorted(marks, reverse=True), first_time(starts, world.now))
    return Compact("\n".join(lines), names.by_name())


def is_silent(observation: Mapping[str, Any]) -> bool:
    """Tell whether the sensor behind an observation's alert was silent long enough to matter."""
    alert = observation["alert"]
    world = World.from_context(observation["context"], alerted=alert["log_id"])
    return _silent_s(world, alert, observation["log_window"]) > 0


def _alert_line(names: Names, world: World, alert: Mapping[str, Any], window: Sequence[Mapping[str, Any]]) -> str:
    """Write the alert, with the host and the sensor that it came from, and for how many seconds of the window that was silent."""
    host, sensor = _source(alert, window)
    place = names.of("", host) if host else "-"
    note = f" {raw(alert['narrative'])}" if alert.get("narrative") else ""
    silent = f" silent={silent_s}" if (silent_s := _silent_s(world, alert, window)) else ""
    return f"alert {plain(alert['log_id'])} {place} {sensor}{silent} {plain(alert['severity'])} {raw(alert['title'])}{note}"


def _silent_s(world: World, alert: Mapping[str, Any], window: Sequence[Mapping[str, Any]]) -> int:
    """Return for how many seconds of the window the sensor behind the alert was silent; 0 for a shorter outage, which decides nothing."""
    source = _source(alert, window)
    missing = (missing_s(row, window) for row in world.sensors if (row["host"], row["telemetry"]) == source)
    return max((seconds for seconds in missing if seconds >= MIN_OUTAGE_S), default=0)


def _source(alert: Mapping[str, Any], window: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the host and the sensor that an alert came from: nothing and `-` where its line is not there."""
    row = next((row for row in window if row["log_id"] == alert["log_id"]), None)
    return (row["fields"].get("device_hostname") or "", SENSOR_OF.get(row["event_type"], "-")) if row else ("", "-")


# ---------------------------------------------------------------- the timeline
def _timeline(
    names: Names, world: World, window: Sequence[Mapping[str, Any]], marks: list[Mark], at: float
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
        fields = write_fields(names, row["fields"], notes)
        rules = f" rules={','.join(rule_ids)}" if (rule_ids := rules_at(row)) else ""
        during = open_tickets(moment, row["fields"]) if world.tickets else ""
        kind = f"{row['event_type']}.{plain(row['fields']['activity'])}"
        yield timed(moment, f"{kind}{fields}{rules}{during} {row['log_id']}")
    while marks:
        yield timed(marks[-1][0], marks.pop()[2])


def _notes(names: Names) -> Callable[[str, str], str]:
    """Return a function that says of a field and its text which entities it names and what the playbook calls it."""
    mentions = _mentions(names)

    def notes(field: str, text: str) -> str:
        terms = terms_for(field, text)
        return f"{mentions(text)} is={','.join(terms)}" if terms else mentions(text)

    return notes


def _mentions(names: Names) -> Callable[[str], str]:
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


def _open_tickets(names: Names, world: World) -> Callable[[float, Mapping[str, Any]], str]:
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
