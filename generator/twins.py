"""Twins of an incident by one edit that may flip the decision.

The generator cannot call the verifier, so it only proposes edits (`proposals`); `eval.pairs` keeps those that flip the label. A twin shares no row with the incident that it was made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from generator.incidents import Case
from schema import (
    MAX_EVENTS,
    SENSOR_OF,
    UNNAMED_PROGRAM_WORK,
    Account,
    Host,
    Incident,
    Ticket,
    account_name,
    epoch_s,
    iso_time,
)
from world import DEPARTMENTS, World, in_networks

Rows = list[dict[str, Any]]
CLEAR_S = 900  # by how much a moved period clears the window
MAX_SWAPS = 30


@dataclass(frozen=True, slots=True)
class Twin:
    """An incident made of another by the edit of that name."""

    edit: str
    case: Case


def rebuilt(case: Case, *, lines: Rows | None = None, narrative: str | None = None, world: World | None = None) -> Case:
    """A case with other lines, another narrative or another world; the rest as it was."""
    rows = case.lines if lines is None else lines
    incident = Incident.model_validate(
        {
            "target_label": case.incident.target_label,
            "category": case.incident.category,
            "events": rows,
            "narrative": case.incident.narrative if narrative is None else narrative,
        }
    )
    return Case(incident, world or case.world, case.family, rows)


def in_order(case: Case, lines: Iterable[Mapping[str, Any]], *, narrative: str | None = None) -> Case:
    """A case with lines sorted by time and numbered anew; the alert stays with its line."""
    ordered = sorted(lines, key=lambda line: epoch_s(line["timestamp"]))
    rows = [{**line, "log_id": f"L1-{number}"} for number, line in enumerate(ordered, 1)]
    alerted = next(
        (row["log_id"] for row, line in zip(rows, ordered, strict=True) if line["log_id"] == case.world.alerted), ""
    )
    return rebuilt(case, lines=rows, narrative=narrative, world=replace(case.world, alerted=alerted))


# ---------------------------------------------------------------- what a window touches
def hosts_of(case: Case) -> list[str]:
    """Names of the hosts that lines name, or whose addresses they name, in order of appearance."""
    world = case.world
    named = [line["fields"].get("device_hostname", "") for line in case.lines]
    met = [world.hosts_by_ip.get(str(value)) for line in case.lines for value in line["fields"].values()]
    return [name for name in dict.fromkeys([*named, *(host["name"] for host in met if host)]) if name in world.hosts]


def accounts_of(case: Case) -> list[str]:
    """Names of the accounts that lines name, in order of appearance."""
    values = [line["fields"].get(name) for line in case.lines for name in ("actor_user", "user_name", "user_uid")]
    return [name for name in dict.fromkeys(map(account_name, values)) if name in case.world.accounts]


def _programs(case: Case) -> list[str]:
    """File names of the programs that lines name, and the works for which none is named."""
    texts = [value for line in case.lines for value in line["fields"].values() if isinstance(value, str)]
    names = [text.rpartition("\\")[2].split(" ")[0].strip('"').lower() for text in texts]
    return [*dict.fromkeys(name for name in names if name.endswith((".exe", ".com", ".dll"))), *UNNAMED_PROGRAM_WORK]


def _outsiders(case: Case) -> list[str]:
    """External addresses that lines name."""
    addresses = (line["fields"].get(name) for line in case.lines for name in ("dst_ip", "src_ip"))
    return [ip for ip in dict.fromkeys(addresses) if ip and not case.world.is_internal(ip)]


def span_of(case: Case) -> tuple[float, float]:
    """Times of the first and the last line."""
    times = [epoch_s(line["timestamp"]) for line in case.lines]
    return min(times), max(times)


def _others(names: Iterable[str], than: Iterable[str], rng: Random) -> list[str]:
    """One of the names that is none of the given, if there is one."""
    rest = sorted(set(names) - set(than))
    return [rng.choice(rest)] if rest else []


def _alerted(case: Case) -> dict[str, Any]:
    return next((line for line in case.lines if line["log_id"] == case.world.alerted), case.lines[-1])


# ---------------------------------------------------------------- edits of one fact of the world
def _edited(rows: Sequence[Any], index: int, **facts: Any) -> tuple[Any, ...]:
    """Rows of which one has other facts."""
    return (*rows[:index], {**rows[index], **facts}, *rows[index + 1 :])


def _with_ticket(case: Case, index: int, **facts: Any) -> Case:
    return rebuilt(case, world=replace(case.world, tickets=_edited(case.world.tickets, index, **facts)))


def ticket_window(case: Case, rng: Random) -> Iterator[Case]:
    """A ticket's time moved: before the window, after it, or around it."""
    first, last = span_of(case)
    for index, ticket in enumerate(case.world.tickets):
        length = epoch_s(ticket["ends_at"]) - epoch_s(ticket["starts_at"])
        for start, end in (
            (first - CLEAR_S - length, first - CLEAR_S),
            (last + CLEAR_S, last + CLEAR_S + length),
            (first - CLEAR_S, last + CLEAR_S),
        ):
            yield _with_ticket(case, index, starts_at=iso_time(start), ends_at=iso_time(end))


def ticket_host(case: Case, rng: Random) -> Iterator[Case]:
    """A ticket's hosts replaced by another one, or one of the window's added."""
    for index, ticket in enumerate(case.world.tickets):
        for name in _others(case.world.hosts, [*ticket["hosts"], *hosts_of(case)], rng):
            yield _with_ticket(case, index, hosts=[name])
        for name in hosts_of(case):
            if name not in ticket["hosts"]:
                yield _with_ticket(case, index, hosts=sorted([*ticket["hosts"], name]))


def ticket_account(case: Case, rng: Random) -> Iterator[Case]:
    """A ticket's accounts replaced by another one, or one of the window's added."""
    for index, ticket in enumerate(case.world.tickets):
        for name in _others(case.world.accounts, [*ticket["accounts"], *accounts_of(case)], rng):
            yield _with_ticket(case, index, accounts=[name])
        for name in accounts_of(case):
            if name not in ticket["accounts"]:
                yield _with_ticket(case, index, accounts=sorted([*ticket["accounts"], name]))


def ticket_status(case: Case, rng: Random) -> Iterator[Case]:
    """A ticket approved that was not, or the other way round."""
    for index, ticket in enumerate(case.world.tickets):
        other = rng.choice(("pending", "rejected")) if ticket["status"] == "approved" else "approved"
        yield _with_ticket(case, index, status=other)


def ticket_tool(case: Case, rng: Random) -> Iterator[Case]:
    """A ticket's program replaced: by another one, or by one of the window's."""
    programs = _programs(case)
    for index, ticket in enumerate(case.world.tickets):
        strange = _others((tool["name"] for tool in case.world.tools), [ticket["tool"], *programs], rng)
        for name in [*strange, *programs]:
            if name != ticket["tool"]:
                yield _with_ticket(case, index, tool=name)


def asset_tier(case: Case, rng: Random) -> Iterator[Case]:
    """A host made a crown jewel, or an ordinary one."""
    for name in hosts_of(case):
        host = case.world.hosts[name]
        tier: Literal["crown_jewel", "standard", "lab"]
        tier = rng.choice(("standard", "lab")) if host["criticality"] == "crown_jewel" else "crown_jewel"
        other: Host = {**host, "criticality": tier}
        hosts = {**case.world.hosts, name: other}
        by_ip = {row["ip"]: row for row in hosts.values()}
        yield rebuilt(case, world=replace(case.world, hosts=hosts, hosts_by_ip=by_ip))


def account_privilege(case: Case, rng: Random) -> Iterator[Case]:
    """An account given privileges, or stripped of them."""
    for name in accounts_of(case):
        account = case.world.accounts[name]
        other: Account = {**account, "privileged": not account["privileged"]}
        yield rebuilt(case, world=replace(case.world, accounts={**case.world.accounts, name: other}))


def tool_department(case: Case, rng: Random) -> Iterator[Case]:
    """A program approved for another department."""
    programs = set(_programs(case))
    theirs = {case.world.accounts[name]["department"] for name in accounts_of(case)}
    for index, tool in enumerate(case.world.tools):
        if tool["name"] in programs or (tool["name"] == "powershell.exe" and _has(case, "script")):
            for department in [*_others(DEPARTMENTS, theirs, rng), *sorted(theirs)]:
                if department != tool["department"]:
                    tools = _edited(case.world.tools, index, department=department)
                    yield rebuilt(case, world=replace(case.world, tools=tools))


def _has(case: Case, event_type: str) -> bool:
    return any(line["event_type"] == event_type for line in case.lines)


def scanner_targets(case: Case, rng: Random) -> Iterator[Case]:
    """The networks that a scanner may probe: without the window's hosts, or with them."""
    addresses = [case.world.hosts[name]["ip"] for name in hosts_of(case)]
    for index, scanner in enumerate(case.world.scanners):
        if scanner["ip"] not in _outsiders(case) and not any(
            scanner["ip"] in line["fields"].values() for line in case.lines
        ):
            continue
        away = [network for network in scanner["targets"] if not any(in_networks(ip, (network,)) for ip in addresses)]
        for targets in (away or ["192.0.2.0/24"], sorted({*scanner["targets"], *(f"{ip}/32" for ip in addresses)})):
            scanners = _edited(case.world.scanners, index, targets=targets)
            yield rebuilt(case, world=replace(case.world, scanners=scanners))


def indicator_confidence(case: Case, rng: Random) -> Iterator[Case]:
    """An indicator's confidence raised or lowered."""
    for index, indicator in enumerate(case.world.indicators):
        yield _with_indicator(case, index, confidence="low" if indicator["confidence"] == "high" else "high")


def indicator_value(case: Case, rng: Random) -> Iterator[Case]:
    """An indicator on another address: one of the window's, or a stranger's."""
    stranger = f"203.0.113.{rng.randrange(2, 250)}"
    for index, indicator in enumerate(case.world.indicators):
        for value in [stranger, *_outsiders(case)]:
            if value != indicator["value"]:
                yield _with_indicator(case, index, value=value)


def _with_indicator(case: Case, index: int, **facts: Any) -> Case:
    return rebuilt(case, world=replace(case.world, indicators=_edited(case.world.indicators, index, **facts)))


def sensor_outage(case: Case, rng: Random) -> Iterator[Case]:
    """A sensor's outage on another host, of another kind or at another time."""
    first, last = span_of(case)
    line = _alerted(case)
    host, kind = line["fields"].get("device_hostname", ""), SENSOR_OF.get(line["event_type"], "")
    for index, sensor in enumerate(case.world.sensors):
        moves: list[dict[str, str]] = [
            {"host": name} for name in [*_others(case.world.hosts, [host], rng), host] if name
        ]
        moves += [{"telemetry": name} for name in ("endpoint", "network", "identity")]
        moves += [
            {"silent_from": iso_time(start), "silent_to": iso_time(end)}
            for start, end in ((first - 3 * CLEAR_S, first - CLEAR_S), (first - CLEAR_S, last + CLEAR_S))
        ]
        for move in moves:
            if any(sensor[name] != value for name, value in move.items()):  # type: ignore[literal-required]
                yield rebuilt(case, world=replace(case.world, sensors=_edited(case.world.sensors, index, **move)))
    if kind and host and not case.world.sensors:
        silent = {"silent_from": iso_time(first - CLEAR_S), "silent_to": iso_time(last + CLEAR_S)}
        yield rebuilt(case, world=replace(case.world, sensors=({"host": host, "telemetry": kind, **silent},)))  # type: ignore[typeddict-item]


# ---------------------------------------------------------------- edits of one event
def event_removed(case: Case, rng: Random) -> Iterator[Case]:
    """One line gone; never the one that raised the alert."""
    for line in case.lines:
        if line["log_id"] != case.world.alerted:
            rest = [other for other in case.lines if other is not line]
            if rest:
                yield in_order(case, rest)


def order_swapped(case: Case, rng: Random) -> Iterator[Case]:
    """Two lines of one host change places: each happens when the other did."""
    pairs = [
        (one, other)
        for one in range(len(case.lines))
        for other in range(one + 1, len(case.lines))
        if case.lines[one]["fields"].get("device_hostname") == case.lines[other]["fields"].get("device_hostname")
        and case.lines[one]["event_type"] != case.lines[other]["event_type"]
        and case.lines[one]["timestamp"] != case.lines[other]["timestamp"]
    ]
    for one, other in rng.sample(pairs, min(len(pairs), MAX_SWAPS)):
        lines = list(case.lines)
        early, late = lines[one]["timestamp"], lines[other]["timestamp"]
        lines[one], lines[other] = {**lines[one], "timestamp": late}, {**lines[other], "timestamp": early}
        yield in_order(case, lines)


def burst_cut(case: Case, rng: Random) -> Iterator[Case]:
    """A run of lines of one kind, by one actor or on one host, cut to one line: the one that raised the alert or the first."""
    runs: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for line in case.lines:
        fields = line["fields"]
        for by in ("device_hostname", "src_ip", "user_name"):
            if by in fields:
                runs[line["event_type"], fields["activity"], by, fields[by]].append(line)
    for run in runs.values():
        if len(run) > 2:
            survivor = next((line for line in run if line["log_id"] == case.world.alerted), run[0])
            yield in_order(
                case, [line for line in case.lines if line is survivor or not any(line is cut for cut in run)]
            )


def program_moved(case: Case, rng: Random) -> Iterator[Case]:
    """One line's program lies where anybody may write, or is installed where only an administrator may."""
    for index, line in enumerate(case.lines):
        path = line["fields"].get("process_path", "")
        folder = "C:\\Program Files\\Common Files" if "\\Users\\" in path else "C:\\Users\\Public\\Downloads"
        if path:
            fields = {**line["fields"], "process_path": f"{folder}\\{path.rpartition(chr(92))[2]}"}
            yield rebuilt(case, lines=[*case.lines[:index], {**line, "fields": fields}, *case.lines[index + 1 :]])


def actor_changed(case: Case, rng: Random) -> Iterator[Case]:
    """One line's actor is another account of the window."""
    for index, line in enumerate(case.lines):
        for name in accounts_of(case):
            if line["fields"].get("actor_user", name) != name:
                row = {**line, "fields": {**line["fields"], "actor_user": name}}
                yield rebuilt(case, lines=[*case.lines[:index], row, *case.lines[index + 1 :]])


def event_added(case: Case, rng: Random) -> Iterator[Case]:
    """One line more: an account of the window clears an event log or deletes shadow copies on a host of the window."""
    if len(case.lines) >= MAX_EVENTS:
        return
    for host in hosts_of(case):
        for user in accounts_of(case):
            for event_type, fields in _GRAVE:
                row = {
                    "event_type": event_type,
                    "fields": {"device_hostname": host, "actor_user": user, **fields},
                    "timestamp": rng.choice(case.lines)["timestamp"],
                    "log_id": "",
                }
                yield in_order(case, [*case.lines, row])


_GRAVE: tuple[tuple[str, dict[str, str]], ...] = (
    ("control_change", {"activity": "log_clear", "control_name": "Security"}),
    (
        "process",
        {
            "activity": "launch",
            "process_path": "C:\\Windows\\System32\\vssadmin.exe",
            "process_cmd_line": "vssadmin.exe delete shadows /all /quiet",
            "parent_path": "C:\\Windows\\System32\\cmd.exe",
        },
    ),
)


def window_cut(case: Case, rng: Random) -> Iterator[Case]:
    """The window begins later, ends earlier, or both; the line that raised the alert stays."""
    at = next(number for number, line in enumerate(case.lines) if line is _alerted(case))
    for start in range(at + 1):
        for end in range(at + 1, len(case.lines) + 1):
            if end - start < len(case.lines):
                yield in_order(case, case.lines[start:end])


# ---------------------------------------------------------------- a fact added
def ticket_added(case: Case, rng: Random) -> Iterator[Case]:
    """A ticket more, which covers all that happens by one program."""
    first, last = span_of(case)
    for tool in _programs(case):
        ticket: Ticket = {
            "ticket_id": f"CHG-{rng.randrange(1000, 9999)}",
            "status": "approved",
            "hosts": hosts_of(case),
            "accounts": accounts_of(case),
            "tool": tool,
            "starts_at": iso_time(first - CLEAR_S),
            "ends_at": iso_time(last + CLEAR_S),
        }
        yield rebuilt(case, world=replace(case.world, tickets=(*case.world.tickets, ticket)))


def indicator_added(case: Case, rng: Random) -> Iterator[Case]:
    """Intelligence more, on an address of the window."""
    for value in _outsiders(case):
        indicators = (*case.world.indicators, {"value": value, "confidence": rng.choice(("high", "low"))})
        yield rebuilt(case, world=replace(case.world, indicators=indicators))  # type: ignore[arg-type]


def scanner_added(case: Case, rng: Random) -> Iterator[Case]:
    """A scanner more, at an address of the window, which may probe the window's hosts."""
    targets = [f"{case.world.hosts[name]['ip']}/32" for name in hosts_of(case)]
    for ip in dict.fromkeys(line["fields"].get("src_ip") for line in case.lines):
        if ip and targets:
            scanners = (*case.world.scanners, {"ip": ip, "targets": targets})
            yield rebuilt(case, world=replace(case.world, scanners=scanners))  # type: ignore[arg-type]


Proposer = Callable[[Case, Random], Iterator[Case]]
# One fact or one event is edited; where none of these flips a decision, the broader ones below are tried.
MINIMAL: tuple[Proposer, ...] = (
    ticket_window,
    ticket_host,
    ticket_account,
    ticket_status,
    ticket_tool,
    asset_tier,
    account_privilege,
    tool_department,
    scanner_targets,
    indicator_confidence,
    indicator_value,
    sensor_outage,
    event_removed,
    order_swapped,
)
BROADER: tuple[Proposer, ...] = (
    ticket_added,
    indicator_added,
    scanner_added,
    burst_cut,
    program_moved,
    actor_changed,
    event_added,
)
LAST: tuple[Proposer, ...] = (window_cut,)  # for what has two reasons at once


def proposals(case: Case, rng: Random) -> Iterator[Twin]:
    """Twins by one edit each, in a seeded order: the minimal edits kind by kind, then the broader ones, then the last."""
    for group in (MINIMAL, BROADER, LAST):
        for propose in rng.sample(group, len(group)):
            twins = list(propose(case, rng))
            rng.shuffle(twins)
            for twin in twins:
                yield Twin(propose.__name__, twin)
