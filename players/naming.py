"""Call entities by short names that say what decides, and write a world's definitions and an event's fields in them.

A host is `@crown1`, `@host1` or `@lab1` by its tier, an account `@priv1` or `@user1`, an indicator `@bad1` (high confidence) or `@maybe1`, a ticket
`@t1` if it is approved and `@x1` if not, an authorised scanner `@scan1` (`@outscan1` from outside), any other address `@out1` or `@in1`, a machine's
account `@machine1`, another name that comes again `@name1`, an outage of a sensor `@s1`; an address of a host has the host's short name. A definition begins with what matters.
The fact stands wherever the entity stands: a small model does not form the habit of looking a definition up at a varying distance (train/LOG.md).
Both seats read them: the defender in its prompt (`players.compact`), the attacker in the world that it writes for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isnan
from typing import Any, NamedTuple

from players.values import TICKET, listed, plain, short, work_name
from schema import NO_TIME, epoch_s, shown_time
from verifier.window import WELL_KNOWN_ACCOUNTS
from world import World, in_networks

LARGE = 100_000  # numbers from here on say their number of digits first
TIERS = {"crown_jewel": "crown", "standard": "host", "lab": "lab"}
INTELLIGENCE = {"high": "bad", "low": "maybe"}
# A field that names an entity ends in one of these.
_ENTITY_FIELDS = ("ip", "hostname", "user", "user_name", "run_as", "answers")


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
    names, now = Names(lines), first_time(world.now)
    name_entities(names, world, ())
    lines.append(
        f"tools {','.join(work_name(tool['name']) + ':' + plain(tool['department']) for tool in world.tools) or '-'}"
    )
    marks = [*name_tickets(names, world), *name_sensors(names, world, ())]
    lines += [f"{round(moment - now):+d} {mark}" for moment, _, mark in sorted(marks)]
    values = {(is_address, name): value for (is_address, value), name in reversed(names.items())}
    return WorldText("\n".join(lines), values, partial(write_fields, names))


class Names(dict[tuple[bool, Any], str]):
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
def name_entities(names: Names, world: World, window: Sequence[Mapping[str, Any]]) -> None:
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


def name_tickets(names: Names, world: World) -> Iterable[Mark]:
    """Define the tickets, and yield when each opens and closes."""
    for ticket in world.tickets:
        rest = (
            f"tool={work_name(ticket['tool'])} {names.listed(ticket['hosts'])} {names.listed(ticket['accounts'])} "
            f"{plain(ticket['status'])} {plain(ticket['ticket_id'])}"
        )
        name = names.define_ticket("t" if ticket["status"] == "approved" else "x", rest, ticket["ticket_id"])
        yield epoch_s(ticket["starts_at"]), 0, f"{name} opens"
        yield epoch_s(ticket["ends_at"]), 1, f"{name} closes"


def name_sensors(names: Names, world: World, window: Sequence[Mapping[str, Any]]) -> Iterable[Mark]:
    """Define the outages of sensors, and yield when each begins and ends."""
    for sensor in world.sensors:
        missing = missing_s(sensor, window)
        name = names.define("s", f"{names.of('', sensor['host'])} {plain(sensor['telemetry'])} {missing}")
        yield epoch_s(sensor["silent_from"]), 0, f"{name} silent"
        yield epoch_s(sensor["silent_to"]), 1, f"{name} back"


def missing_s(sensor: Mapping[str, Any], window: Sequence[Mapping[str, Any]]) -> int:
    """Return for how many seconds of a window a sensor was silent."""
    times = [moment for row in window if not isnan(moment := epoch_s(row["timestamp"]))] or [0.0]
    silent, back = epoch_s(sensor["silent_from"]), epoch_s(sensor["silent_to"])
    return max(0, round(min(back, max(times)) - max(silent, min(times))))


def first_time(*timestamps: str) -> float:
    """Return the first of some times that is known, in epoch seconds; 0 where none is."""
    return next((epoch_s(timestamp) for timestamp in timestamps if timestamp and timestamp != NO_TIME), 0.0)


def write_fields(
    names: Names, fields: Mapping[str, Any], notes: Callable[[str, str], str] = lambda name, text: ""
) -> str:
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
