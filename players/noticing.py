"""Notice findings where the lines are read: how likely each rule finds something at a line.

A model writes its chain from memory: of a telling that it never met it names no rule, though the line does (`rules=`). What it knows of the line, at the very word where
the rule's name stands and at the line's end, says more. `train.nano.noticing` teaches an export to say so, and the player adds to the chain what was noticed and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from players.reasons import MOST_REASONS, Chain, Reason
from verifier.rules import RULES

RULE_IDS = tuple(rule.rule_id for rule in RULES)
LEAST = 0.05  # what is less likely is not told
_PLACES = {rule_id: place for place, rule_id in enumerate(RULE_IDS)}
# A log line of the timeline (`players.compact`) and its last parts: a text with spaces would stand between backticks.
_LINE = re.compile(r"^(?:[+-][^ ]+|untimed) [a-z_]+\.[^\n]*? ([A-Za-z]+\d+-\d+)$", re.MULTILINE)
_NAMES = re.compile(r" rules=([a-z0-9,-]+)(?: during=[^ ]+)?(?: near=[^ ]+)?$")


class Place(NamedTuple):
    """Where the model is asked what a line holds: at the name of a rule, or at the line's end, of all rules that it does not name.

    Args:
        log_id: of the line.
        rule: place of the rule among `RULE_IDS`; None at the line's end.
        end: how many characters of the text there are up to here.
    """

    log_id: str
    rule: int | None
    end: int


class Noticed(NamedTuple):
    """How likely a rule finds something at a line, from 0 to 1."""

    rule_id: str
    log_id: str
    likelihood: float


def places_of(text: str) -> list[Place]:
    """List the places of a compact prompt where the model is asked, in their order."""
    return [place for line in _LINE.finditer(text) for place in _places_of_line(line)]


def _places_of_line(line: re.Match[str]) -> Iterator[Place]:
    names = _NAMES.search(line.string, line.start(), line.start(1) - 1)
    end = names.start(1) - 1 if names else 0
    for rule_id in names[1].split(",") if names else ():
        end += 1 + len(rule_id)
        if rule_id in _PLACES:
            yield Place(line[1], _PLACES[rule_id], end)
    yield Place(line[1], None, line.end())


def tokens_at(offsets: Sequence[tuple[int, int]], places: Sequence[Place]) -> list[int]:
    """Return the tokens with which the places end.

    Args:
        offsets: where each token of the text begins and ends, in its characters.
        places: in the order of the text.
    """
    tokens, token = [], 0
    for place in places:
        while offsets[token][1] < place.end:
            token += 1
        tokens.append(token)
    return tokens


def noticed_at(places: Sequence[Place], likely: Any) -> list[Noticed]:
    """List what is noticed at some places, in their order.

    Args:
        places: of a text.
        likely: how likely each rule finds something at each place, float array [places, rules].
    """
    noticed: list[Noticed] = []
    named: set[int] = set()
    for place, row in zip(places, likely, strict=True):
        if place.rule is not None:
            named.add(place.rule)
            noticed.append(Noticed(RULE_IDS[place.rule], place.log_id, float(row[place.rule])))
            continue
        others = (int(rule) for rule in (row >= LEAST).nonzero()[0] if rule not in named)
        noticed += [Noticed(RULE_IDS[rule], place.log_id, float(row[rule])) for rule in others]
        named.clear()
    return noticed


def left_out(chain: Chain, noticed: Sequence[Noticed], bound: float) -> list[Noticed]:
    """List what was noticed and a chain does not say: each rule once, at its first line, the likeliest where the chain has no room for all.

    Args:
        chain: with the names of the prompt.
        noticed: in the order of the lines.
        bound: how likely it must be, from 0 to 1.

    Returns:
        What is missing, in the order of the lines.
    """
    said = {reason.rule_id for reason in chain.reasons}
    missing: dict[str, Noticed] = {}
    for one in noticed:
        if one.likelihood >= bound and one.rule_id not in said:
            missing.setdefault(one.rule_id, one)
    room = max(0, MOST_REASONS - len(chain.reasons))
    likeliest = sorted(missing.values(), key=lambda one: -one.likelihood)[:room]
    return sorted(likeliest, key=lambda one: (_position(one.log_id), one.rule_id))


def before(chain: Chain, one: Noticed) -> list[Reason]:
    """List the reasons of a chain that stand before what was noticed, in the order of lines and rules."""
    place = _position(one.log_id), one.rule_id
    return list(takewhile(lambda reason: (_position(reason.lines[0]), reason.rule_id) < place, chain.reasons))


def _position(log_id: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", log_id)))
