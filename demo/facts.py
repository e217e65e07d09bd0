"""Say what the organisation's records hold on a log line: tiers, privilege, tickets, intelligence, tools, scanners, silent sensors. Imports no gradio.

The words depend on the context alone, never on the ground truth, so they may stand before the reveal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from demo.words import hour_and_minute, spaced
from schema import Context, account_name, epoch_s

HOST_FIELDS = ("device_hostname", "dst_hostname", "target_hostname", "src_hostname")
ADDRESS_FIELDS = ("src_ip", "dst_ip")
ACCOUNT_FIELDS = ("actor_user", "user_name", "user_uid")
PROGRAM_FIELDS = ("process_path", "parent_path")
WORK_FIELDS = (*PROGRAM_FIELDS, "service_cmd_line", "job_cmd_line")
MOST_TICKETS = 2  # of a line
HOUR_S, MINUTE_S = 3600, 60


class Fact(NamedTuple):
    """What a record says on a line: `kind` names the record, `weight` how much it decides (1 to 3), `words` are a phrase."""

    kind: str
    weight: int
    words: str


class _Line(NamedTuple):
    """Whom a line names: hosts, accounts, programs, and every text in it."""

    at: str
    hosts: tuple[str, ...]
    accounts: tuple[str, ...]
    programs: tuple[str, ...]
    texts: frozenset[str]


def facts_of(line: Mapping[str, Any], context: Context) -> list[Fact]:
    """Return what the records hold on a line, the gravest first; nothing of ordinary hosts and accounts."""
    named = _named(line, context)
    facts = [fact for read in _RECORDS for fact in read(named, context)]
    return sorted(facts, key=lambda fact: -fact.weight)


# ---------------------------------------------------------------- whom a line names
def _named(line: Mapping[str, Any], context: Context) -> _Line:
    fields = line["fields"]
    by_address = {host["ip"]: host["name"] for host in context["hosts"]}
    hosts = [fields.get(name) for name in HOST_FIELDS]
    hosts += [by_address.get(fields.get(name)) for name in ADDRESS_FIELDS]
    accounts = [account_name(fields.get(name)) for name in ACCOUNT_FIELDS]
    programs = [_program(fields.get(name)) for name in WORK_FIELDS]
    return _Line(
        line["timestamp"], _distinct(hosts), _distinct(accounts), _distinct(programs), frozenset(_texts(fields))
    )


def _distinct(values: list[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _program(command: str | None) -> str:
    """Return a program's own name of its path or command line."""
    return (command or "").replace("\\", "/").rpartition("/")[2].split(" ")[0].strip('"').lower()


def _texts(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        for text in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(text, str):
                yield text
                if name == "url":
                    yield _site(text)


def _site(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


# ---------------------------------------------------------------- what the records say
def _tiers(line: _Line, context: Context) -> Iterator[Fact]:
    for host in context["hosts"]:
        if host["name"] in line.hosts and host["criticality"] == "crown_jewel":
            yield Fact("crown jewel", 3, f"{host['name']} is a crown jewel ({spaced(host['role'])})")
        elif host["name"] in line.hosts and host["criticality"] == "lab":
            yield Fact("lab", 1, f"{host['name']} is a lab machine")


def _privileges(line: _Line, context: Context) -> Iterator[Fact]:
    for account in context["accounts"]:
        if account["name"] in line.accounts and account["privileged"]:
            kind = "service account" if account["kind"] == "service" else "account"
            yield Fact("privileged", 2, f"{account['name']} is a privileged {kind}")


def _tickets(line: _Line, context: Context) -> Iterator[Fact]:
    concerned = []
    for ticket in context["tickets"]:
        shared = len(set(ticket["hosts"]) & set(line.hosts)) + len(set(ticket["accounts"]) & set(line.accounts))
        if shared and ticket["tool"].lower() in line.programs:
            concerned.append((shared + 2, ticket))
        elif shared > 1 or (shared and not line.programs):
            concerned.append((shared, ticket))
    for _, ticket in sorted(concerned, key=lambda pair: -pair[0])[:MOST_TICKETS]:
        people = ", ".join(ticket["accounts"])
        window = f"{hour_and_minute(ticket['starts_at'])} to {hour_and_minute(ticket['ends_at'])}"
        yield Fact(
            "ticket",
            3,
            f"ticket {ticket['ticket_id']} ({ticket['status']}, {window}): {people}, {ticket['tool']}, {', '.join(ticket['hosts']) or 'no host'}; "
            f"this line {_beside(line.at, ticket['starts_at'], ticket['ends_at'])}",
        )


def _indicators(line: _Line, context: Context) -> Iterator[Fact]:
    for indicator in context["indicators"]:
        if indicator["value"] in line.texts:
            sure = indicator["confidence"] == "high"
            yield Fact(
                "intelligence",
                3 if sure else 2,
                f"threat intelligence lists {indicator['value']}, {indicator['confidence']} confidence",
            )


def _tools(line: _Line, context: Context) -> Iterator[Fact]:
    departments = {account["name"]: account["department"] for account in context["accounts"]}
    for tool in context["tools"]:
        if tool["name"].lower() in line.programs:
            users = [f"{name} is in {spaced(departments[name])}" for name in line.accounts if name in departments]
            approved = f"{tool['name']} is approved for {spaced(tool['department'])}"
            yield Fact("approved tool", 2, "; ".join([approved, *users]))


def _scanners(line: _Line, context: Context) -> Iterator[Fact]:
    for scanner in context["scanners"]:
        if scanner["ip"] in line.texts:
            yield Fact("scanner", 2, f"{scanner['ip']} is an authorised scanner of {', '.join(scanner['targets'])}")


def _sensors(line: _Line, context: Context) -> Iterator[Fact]:
    for sensor in context["sensors"]:
        if sensor["host"] in line.hosts:
            gap = f"{hour_and_minute(sensor['silent_from'])} to {hour_and_minute(sensor['silent_to'])}"
            yield Fact(
                "silent sensor", 2, f"the {spaced(sensor['telemetry'])} sensor of {sensor['host']} was silent {gap}"
            )


_RECORDS: tuple[Callable[[_Line, Context], Iterator[Fact]], ...] = (
    _tiers,
    _tickets,
    _indicators,
    _privileges,
    _tools,
    _scanners,
    _sensors,
)


# ---------------------------------------------------------------- words
def _beside(at: str, starts: str, ends: str) -> str:
    """Say where a moment lies beside a span of time."""
    try:
        moment, start, end = epoch_s(at), epoch_s(starts), epoch_s(ends)
    except ValueError:
        return "has no time to compare"
    if moment < start:
        return f"is {_lasting(start - moment)} before its start"
    if moment > end:
        return f"is {_lasting(moment - end)} after its end"
    return "is within that time" if start <= moment else "has no time"


def _lasting(seconds: float) -> str:
    if seconds >= HOUR_S:
        return f"{seconds / HOUR_S:.0f} h"
    return f"{seconds / MINUTE_S:.0f} min" if seconds >= MINUTE_S else f"{seconds:.0f} s"
