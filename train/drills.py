"""Set a rule's own example among the lines of an incident: a drill.

Families tell stories, and a story tells a rule in the one way that suits it. Each rule has examples of its own, right and nearly right (data/rule_examples.jsonl.gz:
what the tests of the rules judge), which tell all that it names. A drill plays one among an incident's lines, in the incident's world: its hosts, accounts and
addresses become those of the world, and words that no rule looks at become others. The verifier judges what comes out, so a nearly right example teaches too.
Rules of the held-out tactic are never drilled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple

from generator.incidents import Case
from runs.provenance import ROOT
from schema import MAX_EVENTS, epoch_s, iso_time, log_id_at
from tasks.families import HELD_OUT_TACTIC
from tasks.sets import read_text
from verifier.decision import judge_rows
from verifier.rules import RULES, rules_at
from world import World

EXAMPLES = ROOT / "data" / "rule_examples.jsonl.gz"
WORDS = 4  # of an example that may become others
MOST_OTHERS = 6  # lines of the incident beside the alerted one, so that a drill is short to read
UNDER_TICKET = 0.3  # of the drills in a world with tickets that happen where and when one holds
_HELD_OUT = frozenset(rule.rule_id for rule in RULES if rule.tactic == HELD_OUT_TACTIC)
_WORD = re.compile(
    r"(?<![\w.%$@-])[a-z][a-z0-9]{1,11}(?=\.(?:exe|dll|ps1|bat|sys|sh|py|net|com|org|io)\b)", re.IGNORECASE
)
_SYLLABLES = (
    "bel",
    "cor",
    "dan",
    "fen",
    "gal",
    "hin",
    "jor",
    "kel",
    "lum",
    "mar",
    "nov",
    "pel",
    "quo",
    "rin",
    "sol",
    "tav",
    "ul",
    "vex",
    "wen",
    "zan",
)
Lines = list[dict[str, Any]]


class Example(NamedTuple):
    """An example in the organisation of its own: which rules it is of, and its lines."""

    rules: tuple[str, ...]
    lines: Lines


@cache
def examples() -> Mapping[str, Sequence[Example]]:
    """Read the examples by the rules that find something in them or look at them; none of a held-out rule."""
    by_rule: dict[str, list[Example]] = {}
    for text in read_text(EXAMPLES).splitlines():
        row = json.loads(text)
        example = Example(tuple(row["rules"]), row["lines"])
        if not _HELD_OUT.intersection(example.rules):
            for rule_id in example.rules:
                by_rule.setdefault(rule_id, []).append(example)
    return dict(sorted(by_rule.items()))


def rules_of(lines: Lines, world: World) -> list[str]:
    """Name the rules that find something in an example, or, where none does, those that look at its lines for what they are."""
    found = dict.fromkeys(finding.rule_id for finding in judge_rows(lines, world).findings)
    return list(found or dict.fromkeys(rule_id for line in lines for rule_id in rules_at(line)))


def drilled(case: Case, rng: Random) -> Case:
    """Return the incident with a drill among its lines; its label stays what the generator aimed at, which need not be true any more.

    Args:
        case: an incident.
        rng: draws rule, example, place, time and words.
    """
    by_rule = examples()
    example = rng.choice(by_rule[rng.choice([*by_rule])])
    ticket = rng.choice(case.world.tickets) if case.world.tickets and rng.random() < UNDER_TICKET else None
    lines = _in_world(example.lines, case.world, ticket, rng)
    _move(lines, case, ticket, rng)
    return _among(case, _reworded(_numbered(lines), case.world, rng), rng)


# ---------------------------------------------------------------- in another world
def _in_world(lines: Lines, world: World, ticket: Mapping[str, Any] | None, rng: Random) -> Lines:
    """Give an example's hosts, accounts and addresses the names of a world."""
    names = _names(world, ticket, rng)
    pattern = re.compile(
        rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?![\w-]|\.\d)"
    )

    return _with_texts(lines, lambda text: pattern.sub(lambda match: names[match[0]], text))


def _names(world: World, ticket: Mapping[str, Any] | None, rng: Random) -> dict[str, str]:
    hosts = rng.sample([*world.hosts.values()], len(world.hosts))
    accounts = rng.sample([*world.accounts.values()], len(world.accounts))
    if ticket:  # whom it names comes first
        hosts.sort(key=lambda host: host["name"] not in ticket["hosts"])
        accounts.sort(key=lambda account: account["name"] not in ticket["accounts"])
    names: dict[str, str] = {}
    for (name, address), host in zip(OWN_HOSTS.items(), hosts, strict=False):
        names |= {name: host["name"], address: host["ip"]}
    for name in OWN_ACCOUNTS:
        alike = [account for account in accounts if _suits(name, account)]
        if alike:
            names[name] = alike[0]["name"]
            accounts.remove(alike[0])
    for address in OUTSIDE:
        names[address] = f"{rng.randint(45, 185)}.{rng.randint(1, 254)}.{rng.randint(1, 254)}.{rng.randint(1, 254)}"
    return names


OWN_HOSTS = {
    "WKS-01": "10.20.1.11",
    "WKS-02": "10.20.1.12",
    "WKS-03": "10.20.1.13",
    "FIL-01": "10.20.2.11",
    "DIR-01": "10.20.3.11",
}
OWN_ACCOUNTS = ("ana", "ben", "root.admin", "svc_sync")
OUTSIDE = ("203.0.113.7", "203.0.113.8", "203.0.113.9")


def _suits(name: str, account: Mapping[str, Any]) -> bool:
    """Tell whether an account may stand for one of the examples' own."""
    if name == "root.admin":
        return bool(account["privileged"])
    return (account["kind"] == "service") is (name == "svc_sync")


def _move(lines: Lines, case: Case, ticket: Mapping[str, Any] | None, rng: Random) -> None:
    """Put an example into the incident's time, or into a ticket's as far as that is past."""
    times = [epoch_s(line["timestamp"]) for line in lines]
    first, now = epoch_s(case.lines[0]["timestamp"]), epoch_s(case.world.now)
    if ticket:
        first, now = max(first, epoch_s(ticket["starts_at"])), min(now, epoch_s(ticket["ends_at"]))
    length = max(times) - min(times)
    latest = now - length
    start = latest if latest <= first else first + rng.random() * (latest - first)
    for line, moment in zip(lines, times, strict=True):
        line["timestamp"] = iso_time(int(start + moment - min(times)))


# ---------------------------------------------------------------- words that nothing hangs on
def _reworded(lines: Lines, world: World, rng: Random) -> Lines:
    """Replace words that nothing hangs on by invented ones."""
    words = sorted({word for line in lines for _, text in _texts(line) for word in _WORD.findall(text)})
    expected = _found(lines, world)
    for word in rng.sample(words, min(WORDS, len(words))):
        invented = "".join(rng.choices(_SYLLABLES, k=2 + (rng.random() < 0.3)))
        pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w-])")
        other = _with_texts(lines, partial(pattern.sub, invented))
        if _found(other, world) == expected and list(map(rules_at, other)) == list(map(rules_at, lines)):
            lines = other
    return lines


def _texts(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a line that are text, its activity left out."""
    return ((name, value) for name, value in line["fields"].items() if isinstance(value, str) and name != "activity")


def _with_texts(lines: Lines, change: Callable[[str], str]) -> Lines:
    """Return copies of the lines with their texts changed."""
    return [{**line, "fields": line["fields"] | {name: change(text) for name, text in _texts(line)}} for line in lines]


def _found(lines: Lines, world: World) -> list[tuple[str, str]]:
    return [(finding.rule_id, finding.strength) for finding in judge_rows(lines, replace(world, alerted="")).findings]


def _numbered(lines: Lines) -> Lines:
    """Give lines their ids, by time."""
    ordered = sorted(lines, key=lambda line: epoch_s(line["timestamp"]))
    return [{**line, "log_id": log_id_at(place)} for place, line in enumerate(ordered)]


# ---------------------------------------------------------------- among other lines
def _among(case: Case, drill: Lines, rng: Random) -> Case:
    """Join some of an incident's lines with a drill's, by time, at most as many as an incident may have; the alert stays, or moves to the drill."""
    alerted = next(line for line in case.lines if line["log_id"] == case.world.alerted)
    others = [line for line in case.lines if line is not alerted]
    number = min(rng.randint(0, MOST_OTHERS), len(others), MAX_EVENTS - 1 - len(drill))
    own = [alerted, *rng.sample(others, max(0, number))]
    if rng.random() < 0.5:
        alerted = rng.choice(drill)
    ordered = sorted([*own, *drill], key=lambda line: epoch_s(line["timestamp"]))
    place = next(place for place, line in enumerate(ordered) if line is alerted)
    return replace(case, lines=_numbered(ordered), world=replace(case.world, alerted=log_id_at(place)))
