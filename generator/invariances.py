"""Twins of an incident by one edit that must leave the decision alone.

The playbook says nothing of names, addresses, dates, the order of simultaneous lines, noise or the narrative, so an edit of them
must not change the decision. `harmless_twins` yields a twin by each edit.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random

from generator.incidents import NARRATIVES, Case, Rows, accounts_of, hosts_of, rebuild, sort_lines
from generator.twins import Twin, span_of
from schema import MAX_EVENTS, epoch_s, iso_time
from tasks.noise import write_noise
from tasks.scene import Scene
from world import Organisation, World, in_networks


def renamed(case: Case, rng: Random) -> Case | None:
    """Rename all hosts and accounts, in lines and world alike."""
    site = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(3))
    suffixes = rng.sample(range(100, 1000), len(case.world.hosts))
    names = {
        name: f"{site}-{name.split('-')[1] if name.count('-') > 1 else 'SRV'}-{suffix}"
        for name, suffix in zip(case.world.hosts, suffixes, strict=True)
    }
    for name, index in zip(case.world.accounts, rng.sample(range(900), len(case.world.accounts)), strict=True):
        first, last = _NAMES[index // 30], _NAMES[index % 30]
        names[name] = f"svc_{first}{last}" if name.startswith("svc_") else f"{first}.{last}"
    if not names:
        return None
    alternatives = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![A-Za-z0-9._-])(?:{alternatives})(?![A-Za-z0-9_-]|\.[A-Za-z0-9])")
    return _substitute(case, pattern, lambda name: names[name])


_NAMES = tuple(
    first + second for first in ("al", "bo", "ce", "du", "ei", "fo") for second in ("ra", "ti", "mo", "lu", "ke")
)
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)(/\d+)?")


def renumbered(case: Case, rng: Random) -> Case | None:
    """Renumber addresses: our networks move as a whole, each address outside becomes another one outside."""
    shift = rng.randrange(1, 256)
    outside: dict[str, str] = {}

    def other(ip: str) -> str:
        first, second, third, tail = ip.split(".", 3)
        if first == "10":
            return f"10.{(int(second) + shift) % 256}.{third}.{tail}"
        if (first, second) == ("192", "168"):
            return f"192.168.{(int(third) + shift) % 256}.{tail}"
        if "/" in ip or case.world.is_internal(ip) or in_networks(ip, _FIXED):
            return ip
        if ip not in outside:
            outside[ip] = (
                f"{rng.choice((61, 83, 109, 188, 201))}.{rng.randrange(1, 250)}.{len(outside) + 1}.{rng.randrange(2, 250)}"
            )
        return outside[ip]

    return _substitute(case, _IP, other)


_FIXED = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "224.0.0.0/3")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=(?:\.\d+)?Z)")


def shifted(case: Case, rng: Random) -> Case | None:
    """Shift all times, the world's periods too."""
    seconds = rng.randrange(-200, 200) * 86_400 + rng.randrange(-20_000, 20_000)
    return _substitute(case, _TIME, lambda time: iso_time(epoch_s(f"{time}Z") + seconds).removesuffix("Z"))


def _substitute(case: Case, pattern: re.Pattern[str], other: Callable[[str], str]) -> Case:
    """Return a case in whose lines and world every match is replaced."""
    text = json.dumps([case.lines, case.world.to_context()])
    lines, context = json.loads(pattern.sub(lambda match: other(match[0]), text))
    return rebuild(case, lines=lines, world=World.from_context(context, alerted=case.world.alerted))


def reordered(case: Case, rng: Random) -> Case | None:
    """List and number the lines of one second in another order; None if no two lines share a second."""
    groups: dict[str, Rows] = defaultdict(list)
    for line in case.lines:
        groups[line["timestamp"]].append(line)
    if len(groups) == len(case.lines):
        return None
    return sort_lines(case, [line for group in groups.values() for line in reversed(group)])


def padded(case: Case, rng: Random) -> Case | None:
    """Add two to six ordinary lines on the window's own hosts; None if the window is full."""
    first, last = span_of(case)
    stage = _stage(case, rng, iso_time(first))
    if stage is None or iso_time(first)[:10] != iso_time(last)[:10]:
        return None
    midnight = epoch_s(f"{iso_time(first)[:10]}T00:00:00Z")
    stage.lines += [(int(epoch_s(line["timestamp"]) - midnight), line) for line in case.lines]
    write_noise(stage, stage.start, last - first, min(rng.randrange(2, 7), MAX_EVENTS - len(case.lines)))
    rows = [{**row, "timestamp": stage.clock(at), "log_id": ""} for at, row in stage.lines[len(case.lines) :]]
    return sort_lines(case, [*case.lines, *rows]) if rows else None


def _stage(case: Case, rng: Random, begins: str) -> Scene | None:
    """Make a scene in the case's world with its own hosts and accounts as cast; None if the world has too few."""
    world = case.world
    organisation = Organisation(
        networks=world.networks,
        hosts=world.hosts,
        accounts=world.accounts,
        tools=world.tools,
        scanners=world.scanners,
        hosts_by_ip=world.hosts_by_ip,
        hosts_by_crown={
            crown: tuple(host for host in world.hosts.values() if (host["criticality"] == "crown_jewel") is crown)
            for crown in (True, False)
        },
        accounts_by_privilege={
            flag: tuple(account for account in world.accounts.values() if account["privileged"] is flag)
            for flag in (True, False)
        },
    )
    decks = (*organisation.hosts_by_crown.values(), *organisation.accounts_by_privilege.values())
    if min(map(len, decks)) < 3:
        return None
    scene = Scene(rng, organisation, begins[:10], epoch_s(begins) - epoch_s(f"{begins[:10]}T00:00:00Z"))
    own, ours = hosts_of(case), accounts_of(case)
    if len(own) > 1:
        scene.cast_hosts = [world.hosts[name] for name in own]
    scene.cast_accounts = [world.accounts[name] for name in ours] or scene.cast_accounts
    scene.hosts = {True: [], False: [host for name, host in world.hosts.items() if name not in own]}
    scene.accounts = {True: [], False: [account for name, account in world.accounts.items() if name not in ours]}
    return scene


def narrated(case: Case, rng: Random) -> Case | None:
    """Replace the narrative by another one."""
    return rebuild(case, narrative=rng.choice([text for text in NARRATIVES if text != case.incident.narrative]))


INVARIANCES: tuple[Callable[[Case, Random], Case | None], ...] = (
    renamed,
    renumbered,
    shifted,
    reordered,
    padded,
    narrated,
)


def harmless_twins(case: Case, rng: Random) -> Iterator[Twin]:
    """Yield a twin by each edit that must leave the decision alone, if the edit can be made."""
    for edit in INVARIANCES:
        twin = edit(case, rng)
        if twin is not None:
            yield Twin(edit.__name__, twin)
