"""A defender's observation as relations: how lines and context stand to each other and to the alert, without any rule's knowledge.

`eval.features` describes fields one by one; a clever cheat would join them. He would count the lines that share the alerted line's
host, account or address, measure the seconds to the nearest line of each type, see which types meet on a host, and look up which
indicator, ticket, tool, scanner, crown jewel or silent sensor concerns which line. Nothing here knows what a line means.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from schema import SENSOR_OF, epoch_s
from world import in_networks

NEAR_S = 600.0  # two lines on a host are near within this
_ACCOUNTS = ("actor_user", "user_name", "target_user")
_PROGRAMS = ("process_path", "parent_path", "target_path", "file_path", "service_path")


@dataclass(frozen=True, slots=True)
class _Row:
    """One line with what it can share with others."""

    kind: str
    at: float  # seconds since the epoch
    host: str
    accounts: frozenset[str]
    addresses: frozenset[str]
    programs: frozenset[str]
    text: str


def relations(observation: Mapping[str, Any]) -> dict[str, float]:
    """Describe an observation by relations alone: `what#aspect` -> number; a relation that does not hold is left out."""
    lines, context = observation["log_window"], observation["context"]
    rows = [_row(line) for line in lines]
    alerted = rows[[line["log_id"] for line in lines].index(observation["alert"]["log_id"])]
    described: dict[str, float] = defaultdict(float)
    for name, value in (
        *_among(rows),
        *_to_the_alert(rows, alerted),
        *_intelligence(rows, alerted, context),
        *_tickets(rows, alerted, context),
        *_approved(rows, context),
        *_entities(rows, alerted, context),
        *_sensors(rows, alerted, context),
    ):
        described[name] += value
    return {name: value for name, value in described.items() if value}


def _row(line: Mapping[str, Any]) -> _Row:
    values = line["fields"]
    return _Row(
        line["event_type"],
        epoch_s(line["timestamp"]),
        values.get("device_hostname", ""),
        frozenset(str(values[name]) for name in _ACCOUNTS if values.get(name)),
        frozenset(str(value) for name, value in values.items() if value and name.endswith("_ip")),
        frozenset(_program(str(values[name])) for name in _PROGRAMS if values.get(name)),
        "\n".join(str(value) for value in values.values()).lower(),
    )


def _program(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].lower()


Relation = tuple[str, float]


def _among(rows: Sequence[_Row]) -> Iterator[Relation]:
    """Yield how lines cluster on hosts, accounts, addresses and programs, and which types meet near each other on a host."""
    yield "lines#number", len(rows)
    yield "lines#seconds", max(row.at for row in rows) - min(row.at for row in rows)
    on_hosts = _groups(rows, lambda row: [row.host] if row.host else [])
    for what, groups in (
        ("host", on_hosts),
        ("account", _groups(rows, lambda row: row.accounts)),
        ("address", _groups(rows, lambda row: row.addresses)),
        ("program", _groups(rows, lambda row: row.programs)),
    ):
        yield f"one {what}#number", len(groups)
        yield f"one {what}#lines", max(map(len, groups.values()), default=0)
        yield f"one {what}#hosts", max((len({row.host for row in group}) for group in groups.values()), default=0)
        yield f"one {what}#types", max((len({row.kind for row in group}) for group in groups.values()), default=0)
        alike = Counter((name, row.kind) for name, group in groups.items() for row in group)
        yield f"one {what}#lines of a type", max(alike.values(), default=0)
    yield from _meetings(on_hosts.values())


def _groups(rows: Sequence[_Row], names_of: Callable[[_Row], Iterable[str]]) -> dict[str, list[_Row]]:
    groups: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        for name in names_of(row):
            groups[name].append(row)
    return groups


def _meetings(on_hosts: Iterable[list[_Row]]) -> Iterator[Relation]:
    """Yield each pair of types of which one follows the other on a host within `NEAR_S`, by the same account or not."""
    meetings = {
        (first.kind, second.kind, "and account" if first.accounts & second.accounts else "alone")
        for group in on_hosts
        for first, second in combinations(sorted(group, key=lambda row: row.at), 2)
        if second.at - first.at <= NEAR_S
    }
    for first_kind, second_kind, sharing in sorted(meetings):
        yield f"{first_kind} then {second_kind}#on one host {sharing}", 1


def _to_the_alert(rows: Sequence[_Row], alerted: _Row) -> Iterator[Relation]:
    """Yield what lines share with the alert's line, how many come before and after it, and how near each type's nearest line is."""
    for row in rows:
        if row is alerted:
            continue
        side = "before" if row.at < alerted.at else "after"
        same = {
            "host": row.host == alerted.host != "",
            "account": bool(row.accounts & alerted.accounts),
            "address": bool(row.addresses & alerted.addresses),
            "program": bool(row.programs & alerted.programs),
            "type": row.kind == alerted.kind,
        }
        yield f"alert's line#{side}", 1
        for what, holds in same.items():
            if holds:
                yield f"alert's {what}#{side}", 1
        if same["host"]:
            yield f"alert's host#{row.kind}", 1
    for kind in {row.kind for row in rows if row is not alerted}:
        seconds = min(abs(row.at - alerted.at) for row in rows if row is not alerted and row.kind == kind)
        yield f"alert to {kind}#nearness", 60 / (60 + seconds)


def _intelligence(rows: Sequence[_Row], alerted: _Row, context: Mapping[str, Any]) -> Iterator[Relation]:
    """Yield how many lines, and whether the alert's, its host's and its account's, hold an indicator's value, by confidence."""
    for indicator in context["indicators"]:
        value = str(indicator["value"]).lower()
        for row in rows:
            if value in row.text:
                known = f"indicator of {indicator['confidence']} confidence"
                yield f"{known}#lines", 1
                yield f"{known}#in {row.kind}", 1
                yield from _where(known, row, alerted)


def _where(what: str, row: _Row, alerted: _Row) -> Iterator[Relation]:
    """Yield how a line that something concerns stands to the alert's."""
    if row is alerted:
        yield f"{what}#alert's line", 1
    if row.host == alerted.host != "":
        yield f"{what}#alert's host", 1
    if row.accounts & alerted.accounts:
        yield f"{what}#alert's account", 1


def _tickets(rows: Sequence[_Row], alerted: _Row, context: Mapping[str, Any]) -> Iterator[Relation]:
    """Yield how many lines each ticket covers by host, account, time and all of them, by its status."""
    for ticket in context["tickets"]:
        starts, ends = epoch_s(ticket["starts_at"]), epoch_s(ticket["ends_at"])
        what = f"ticket {ticket['status']}"
        yield f"{what}#number", 1
        for row in rows:
            covers = {
                "host": row.host in ticket["hosts"],
                "account": bool(row.accounts) and row.accounts <= set(ticket["accounts"]),
                "time": starts <= row.at <= ends,
            }
            for by, holds in covers.items():
                if holds:
                    yield f"{what} by {by}#lines", 1
                    if row is alerted:
                        yield f"{what} by {by}#alert's line", 1
            if all(covers.values()):
                yield f"{what} covers#lines", 1
                yield f"{what} covers#{row.kind}", 1
                yield from _where(f"{what} covers", row, alerted)
            elif sum(covers.values()) == 2:
                yield f"{what} nearly covers#lines", 1
        if ticket["tool"] and any(ticket["tool"].lower() in row.text for row in rows):
            yield f"{what} names its tool in a line#number", 1


def _approved(rows: Sequence[_Row], context: Mapping[str, Any]) -> Iterator[Relation]:
    """Yield how often approved tools are named, by members of their department or others, and scanners probe, within targets or beyond."""
    departments = {account["name"]: account["department"] for account in context["accounts"]}
    addresses = {host["name"]: host["ip"] for host in context["hosts"]}
    for tool in context["tools"]:
        for row in rows:
            if tool["name"].lower() in row.text:
                owned = {departments.get(name) for name in row.accounts} == {tool["department"]}
                yield f"tool {'owned' if owned else 'of others'}#lines", 1
    for scanner in context["scanners"]:
        for row in rows:
            if scanner["ip"] in row.addresses:
                ends = {addresses.get(row.host, ""), *row.addresses} - {"", scanner["ip"]}
                within = any(in_networks(end, tuple(scanner["targets"])) for end in ends)
                yield f"scanner {'within targets' if within else 'beyond targets'}#lines", 1


def _entities(rows: Sequence[_Row], alerted: _Row, context: Mapping[str, Any]) -> Iterator[Relation]:
    """Yield how many lines concern hosts of each criticality and role, privileged accounts, kinds of account, and outside addresses."""
    hosts = {host["name"]: host for host in context["hosts"]}
    accounts = {account["name"]: account for account in context["accounts"]}
    networks = tuple(context["networks"])
    outside = {address for row in rows for address in row.addresses if networks and not in_networks(address, networks)}
    for row in rows:
        facts: list[str] = []
        if row.host in hosts:
            facts += [f"host {hosts[row.host]['criticality']}", f"host {hosts[row.host]['role']}"]
        for name in row.accounts & accounts.keys():
            facts += [f"account {accounts[name]['kind']}"]
            facts += ["account privileged"] if accounts[name]["privileged"] else []
        facts += ["address outside"] if row.addresses & outside else []
        if "host crown_jewel" in facts and "account privileged" in facts:
            facts += ["privileged on crown jewel"]
        for fact in facts:
            yield f"{fact}#lines", 1
            yield from _where(fact, row, alerted)
    yield "addresses outside#number", len(outside)


def _sensors(rows: Sequence[_Row], alerted: _Row, context: Mapping[str, Any]) -> Iterator[Relation]:
    """Yield whether a silent sensor concerns the alert's host, its kind of telemetry and its time, and which lines' hosts."""
    for sensor in context["sensors"]:
        starts, ends = epoch_s(sensor["silent_from"]), epoch_s(sensor["silent_to"])
        holds = {
            "host": sensor["host"] == alerted.host,
            "telemetry": sensor["telemetry"] == SENSOR_OF.get(alerted.kind),
            "time": starts <= max(row.at for row in rows) and ends >= min(row.at for row in rows),
        }
        for what, is_so in holds.items():
            if is_so:
                yield f"silent sensor#alert's {what}", 1
        if all(holds.values()):
            yield "silent sensor#of the alert", 1
        yield "silent sensor#lines", sum(row.host == sensor["host"] for row in rows)
