"""Twins of an incident by one edit that may flip the decision.

The generator cannot call the verifier, so it only proposes edits (`proposals`); `eval.pairs` keeps those that flip the label.
A twin shares no row with its original incident.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from generator.incidents import Case, Rows, accounts_of, hosts_of, rebuild, sort_lines
from schema import (
    MAX_EVENTS,
    SENSOR_OF,
    UNNAMED_PROGRAM_WORK,
    Account,
    Host,
    Ticket,
    epoch_s,
    iso_time,
)
from world import DEPARTMENTS, in_networks

CLEAR_S = 900  # seconds between a moved period and the window
MAX_SWAPS = 30


@dataclass(frozen=True, slots=True)
class Twin:
    """A twin of an incident, and the name of the edit that made it."""

    edit: str
    case: Case


# ---------------------------------------------------------------- what a window touches
def _programs(case: Case) -> list[str]:
    """List the file names of the programs that lines name, then the kinds of work that name no program."""
    texts = [value for line in case.lines for value in line["fields"].values() if isinstance(value, str)]
    names = [text.rpartition("\\")[2].split(" ")[0].strip('"').lower() for text in texts]
    return [*dict.fromkeys(name for name in names if name.endswith((".exe", ".com", ".dll"))), *UNNAMED_PROGRAM_WORK]


def _outsiders(case: Case) -> list[str]:
    """List the external addresses that lines name."""
    addresses = (line["fields"].get(name) for line in case.lines for name in ("dst_ip", "src_ip"))
    return [ip for ip in dict.fromkeys(addresses) if ip and not case.world.is_internal(ip)]


def span_of(case: Case) -> tuple[float, float]:
    """Return the times of the first and the last line, in seconds since 1970."""
    times = [epoch_s(line["timestamp"]) for line in case.lines]
    return min(times), max(times)


def _choose_other(names: Iterable[str], than: Iterable[str], rng: Random) -> list[str]:
    """Choose one of the names that is not in `than`, if there is one."""
    candidates = sorted(set(names) - set(than))
    return [rng.choice(candidates)] if candidates else []


def _alerted(case: Case) -> dict[str, Any]:
    return next((line for line in case.lines if line["log_id"] == case.world.alerted), case.lines[-1])


# ---------------------------------------------------------------- edits of one fact of the world
def _with_facts(rows: Sequence[Any], index: int, **facts: Any) -> tuple[Any, ...]:
    """Return rows of which the one at `index` has other facts."""
    return (*rows[:index], {**rows[index], **facts}, *rows[index + 1 :])


def _with_ticket(case: Case, index: int, **facts: Any) -> Case:
    return rebuild(case, world=replace(case.world, tickets=_with_facts(case.world.tickets, index, **facts)))


def ticket_window(case: Case, rng: Random) -> Iterator[Case]:
    """Move a ticket's time: before the window, after it, or around it."""
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
    """Replace a ticket's hosts by another one, or add one of the window's."""
    for index, ticket in enumerate(case.world.tickets):
        for name in _choose_other(case.world.hosts, [*ticket["hosts"], *hosts_of(case)], rng):
            yield _with_ticket(case, index, hosts=[name])
        for name in hosts_of(case):
            if name not in ticket["hosts"]:
                yield _with_ticket(case, index, hosts=sorted([*ticket["hosts"], name]))


def ticket_account(case: Case, rng: Random) -> Iterator[Case]:
    """Replace a ticket's accounts by another one, or add one of the window's."""
    for index, ticket in enumerate(case.world.tickets):
        for name in _choose_other(case.world.accounts, [*ticket["accounts"], *accounts_of(case)], rng):
            yield _with_ticket(case, index, accounts=[name])
        for name in accounts_of(case):
            if name not in ticket["accounts"]:
                yield _with_ticket(case, index, accounts=sorted([*ticket["accounts"], name]))


def ticket_status(case: Case, rng: Random) -> Iterator[Case]:
    """Approve a ticket that was not approved, or withdraw the approval."""
    for index, ticket in enumerate(case.world.tickets):
        other = rng.choice(("pending", "rejected")) if ticket["status"] == "approved" else "approved"
        yield _with_ticket(case, index, status=other)


def ticket_tool(case: Case, rng: Random) -> Iterator[Case]:
    """Replace a ticket's program by another one, or by one of the window's."""
    programs = _programs(case)
    for index, ticket in enumerate(case.world.tickets):
        strange = _choose_other((tool["name"] for tool in case.world.tools), [ticket["tool"], *programs], rng)
        for name in [*strange, *programs]:
            if name != ticket["tool"]:
                yield _with_ticket(case, index, tool=name)


def asset_tier(case: Case, rng: Random) -> Iterator[Case]:
    """Make a host a crown jewel, or an ordinary one."""
    for name in hosts_of(case):
        host = case.world.hosts[name]
        tier: Literal["crown_jewel", "standard", "lab"]
        tier = rng.choice(("standard", "lab")) if host["criticality"] == "crown_jewel" else "crown_jewel"
        other: Host = {**host, "criticality": tier}
        hosts = {**case.world.hosts, name: other}
        by_ip = {row["ip"]: row for row in hosts.values()}
        yield rebuild(case, world=replace(case.world, hosts=hosts, hosts_by_ip=by_ip))


def account_privilege(case: Case, rng: Random) -> Iterator[Case]:
    """Give an account privileges, or take them away."""
    for name in accounts_of(case):
        account = case.world.accounts[name]
        other: Account = {**account, "privileged": not account["privileged"]}
        yield rebuild(case, world=replace(case.world, accounts={**case.world.accounts, name: other}))


def tool_department(case: Case, rng: Random) -> Iterator[Case]:
    """Approve a program for another department."""
    programs = set(_programs(case))
    theirs = {case.world.accounts[name]["department"] for name in accounts_of(case)}
    for index, tool in enumerate(case.world.tools):
        if tool["name"] in programs or (tool["name"] == "powershell.exe" and _has(case, "script")):
            for department in [*_choose_other(DEPARTMENTS, theirs, rng), *sorted(theirs)]:
                if department != tool["department"]:
                    tools = _with_facts(case.world.tools, index, department=department)
                    yield rebuild(case, world=replace(case.world, tools=tools))


def _has(case: Case, event_type: str) -> bool:
    return any(line["event_type"] == event_type for line in case.lines)


def scanner_targets(case: Case, rng: Random) -> Iterator[Case]:
    """Change the networks that a scanner may probe: without the window's hosts, or with them."""
    addresses = [case.world.hosts[name]["ip"] for name in hosts_of(case)]
    for index, scanner in enumerate(case.world.scanners):
        if scanner["ip"] not in _outsiders(case) and not any(
            scanner["ip"] in line["fields"].values() for line in case.lines
        ):
            continue
        away = [network for network in scanner["targets"] if not any(in_networks(ip, (network,)) for ip in addresses)]
        for targets in (away or ["192.0.2.0/24"], sorted({*scanner["targets"], *(f"{ip}/32" for ip in addresses)})):
            scanners = _with_facts(case.world.scanners, index, targets=targets)
            yield rebuild(case, world=replace(case.world, scanners=scanners))


def indicator_confidence(case: Case, rng: Random) -> Iterator[Case]:
    """Raise or lower an indicator's confidence."""
    for index, indicator in enumerate(case.world.indicators):
        yield _with_indicator(case, index, confidence="low" if indicator["confidence"] == "high" else "high")


def indicator_value(case: Case, rng: Random) -> Iterator[Case]:
    """Move an indicator to another address: one of the window's, or a stranger's."""
    stranger = f"203.0.113.{rng.randrange(2, 250)}"
    for index, indicator in enumerate(case.world.indicators):
        for value in [stranger, *_outsiders(case)]:
            if value != indicator["value"]:
                yield _with_indicator(case, index, value=value)


def _with_indicator(case: Case, index: int, **facts: Any) -> Case:
    return rebuild(case, world=replace(case.world, indicators=_with_facts(case.world.indicators, index, **facts)))


def sensor_outage(case: Case, rng: Random) -> Iterator[Case]:
    """Move a sensor's outage to another host, another kind or another time."""
    first, last = span_of(case)
    line = _alerted(case)
    host, kind = line["fields"].get("device_hostname", ""), SENSOR_OF.get(line["event_type"], "")
    for index, sensor in enumerate(case.world.sensors):
        moves: list[dict[str, str]] = [
            {"host": name} for name in [*_choose_other(case.world.hosts, [host], rng), host] if name
        ]
        moves += [{"telemetry": name} for name in ("endpoint", "network", "identity")]
        moves += [
            {"silent_from": iso_time(start), "silent_to": iso_time(end)}
            for start, end in ((first - 3 * CLEAR_S, first - CLEAR_S), (first - CLEAR_S, last + CLEAR_S))
        ]
        for move in moves:
            if any(sensor[name] != value for name, value in move.items()):  # type: ignore[literal-required]
                yield rebuild(case, world=replace(case.world, sensors=_with_facts(case.world.sensors, index, **move)))
    if kind and host and not case.world.sensors:
        silent = {"silent_from": iso_time(first - CLEAR_S), "silent_to": iso_time(last + CLEAR_S)}
        yield rebuild(case, world=replace(case.world, sensors=({"host": host, "telemetry": kind, **silent},)))  # type: ignore[typeddict-item]


# ---------------------------------------------------------------- edits of one event
def event_removed(case: Case, rng: Random) -> Iterator[Case]:
    """Remove one line, but never the one that raised the alert."""
    for line in case.lines:
        if line["log_id"] != case.world.alerted:
            lines = [other for other in case.lines if other is not line]
            if lines:
                yield sort_lines(case, lines)


def order_swapped(case: Case, rng: Random) -> Iterator[Case]:
    """Swap the times of two lines of one host."""
    pairs = [
        (first, second)
        for first in range(len(case.lines))
        for second in range(first + 1, len(case.lines))
        if case.lines[first]["fields"].get("device_hostname") == case.lines[second]["fields"].get("device_hostname")
        and case.lines[first]["event_type"] != case.lines[second]["event_type"]
        and case.lines[first]["timestamp"] != case.lines[second]["timestamp"]
    ]
    for first, second in rng.sample(pairs, min(len(pairs), MAX_SWAPS)):
        lines = list(case.lines)
        early, late = lines[first]["timestamp"], lines[second]["timestamp"]
        lines[first], lines[second] = {**lines[first], "timestamp": late}, {**lines[second], "timestamp": early}
        yield sort_lines(case, lines)


def burst_cut(case: Case, rng: Random) -> Iterator[Case]:
    """Cut a run of lines of one kind, by one actor or on one host, to one line: the one that raised the alert or the first."""
    runs: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for line in case.lines:
        fields = line["fields"]
        for by in ("device_hostname", "src_ip", "user_name"):
            if by in fields:
                runs[line["event_type"], fields["activity"], by, fields[by]].append(line)
    for run in runs.values():
        if len(run) > 2:
            survivor = next((line for line in run if line["log_id"] == case.world.alerted), run[0])
            yield sort_lines(
                case, [line for line in case.lines if line is survivor or not any(line is cut for cut in run)]
            )


def program_moved(case: Case, rng: Random) -> Iterator[Case]:
    """Move one line's program to where anybody may write, or to where only an administrator installs."""
    for index, line in enumerate(case.lines):
        path = line["fields"].get("process_path", "")
        folder = "C:\\Program Files\\Common Files" if "\\Users\\" in path else "C:\\Users\\Public\\Downloads"
        if path:
            fields = {**line["fields"], "process_path": f"{folder}\\{path.rpartition(chr(92))[2]}"}
            yield rebuild(case, lines=[*case.lines[:index], {**line, "fields": fields}, *case.lines[index + 1 :]])


def actor_changed(case: Case, rng: Random) -> Iterator[Case]:
    """Replace one line's actor by another account of the window."""
    for index, line in enumerate(case.lines):
        for name in accounts_of(case):
            if line["fields"].get("actor_user", name) != name:
                row = {**line, "fields": {**line["fields"], "actor_user": name}}
                yield rebuild(case, lines=[*case.lines[:index], row, *case.lines[index + 1 :]])


def event_added(case: Case, rng: Random) -> Iterator[Case]:
    """Add one line: an account of the window clears an event log or deletes shadow copies on a host of the window."""
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
                yield sort_lines(case, [*case.lines, row])


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
    """Begin the window later, end it earlier, or both; the line that raised the alert stays."""
    index = next(index for index, line in enumerate(case.lines) if line is _alerted(case))
    for start in range(index + 1):
        for end in range(index + 1, len(case.lines) + 1):
            if end - start < len(case.lines):
                yield sort_lines(case, case.lines[start:end])


# ---------------------------------------------------------------- a fact added
def ticket_added(case: Case, rng: Random) -> Iterator[Case]:
    """Add a ticket that covers everything that happens by one program."""
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
        yield rebuild(case, world=replace(case.world, tickets=(*case.world.tickets, ticket)))


def indicator_added(case: Case, rng: Random) -> Iterator[Case]:
    """Add intelligence on an address of the window."""
    for value in _outsiders(case):
        indicators = (*case.world.indicators, {"value": value, "confidence": rng.choice(("high", "low"))})
        yield rebuild(case, world=replace(case.world, indicators=indicators))  # type: ignore[arg-type]


def scanner_added(case: Case, rng: Random) -> Iterator[Case]:
    """Add a scanner at an address of the window, which may probe the window's hosts."""
    targets = [f"{case.world.hosts[name]['ip']}/32" for name in hosts_of(case)]
    for ip in dict.fromkeys(line["fields"].get("src_ip") for line in case.lines):
        if ip and targets:
            scanners = (*case.world.scanners, {"ip": ip, "targets": targets})
            yield rebuild(case, world=replace(case.world, scanners=scanners))  # type: ignore[arg-type]


def silent_alert(case: Case, rng: Random) -> Iterator[Case]:
    """Let the alert fire on another line, whose sensor was silent all along."""
    first, last = span_of(case)
    silent = {"silent_from": iso_time(first - CLEAR_S), "silent_to": iso_time(last + CLEAR_S)}
    for line in case.lines:
        host, kind = line["fields"].get("device_hostname", ""), SENSOR_OF.get(line["event_type"], "")
        if host and kind and line["log_id"] != case.world.alerted:
            sensors = ({"host": host, "telemetry": kind, **silent},)
            yield rebuild(case, world=replace(case.world, sensors=sensors, alerted=line["log_id"]))  # type: ignore[arg-type]


Proposer = Callable[[Case, Random], Iterator[Case]]
# These edit one fact or one event; if none of them flips a decision, the broader ones below are tried.
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
# These edit lines alone, so they stay in the incident's world: what whoever writes incidents may do.
OF_LINES: tuple[Proposer, ...] = (
    event_removed,
    order_swapped,
    burst_cut,
    program_moved,
    actor_changed,
    event_added,
    window_cut,
)
LAST: tuple[Proposer, ...] = (window_cut, silent_alert)  # for a decision that has two reasons, or none


def proposals(case: Case, rng: Random) -> Iterator[Twin]:
    """Yield twins by one edit each, in a seeded order: the minimal edits kind by kind, then the broader ones, then the last."""
    for group in (MINIMAL, BROADER, LAST):
        for propose in rng.sample(group, len(group)):
            twins = list(propose(case, rng))
            rng.shuffle(twins)
            for twin in twins:
                yield Twin(propose.__name__, twin)
