"""Notice findings where the lines are read: how likely a rule that a line names finds something there.

A model writes its chain from memory: of a telling that it never met it names no rule, though the line does (`rules=`). What it knows of the line, at the very word where
the rule's name stands, says more. `train.nano.noticing` teaches an export to say so, and the player adds to the chain what was noticed and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from players.reasons import MOST_REASONS, Chain, Reason, position_of
from verifier.rules import RULES

RULE_IDS = tuple(rule.rule_id for rule in RULES)
_KNOWN = frozenset(RULE_IDS)
# The last parts of a log line of the timeline (`players.compact`): a text with spaces would stand between backticks.
_NAMES = re.compile(r" rules=([a-z0-9,-]+)(?: during=[^ \n]+)?(?: near=[^ \n]+)? ([A-Za-z]+\d+-\d+)$", re.MULTILINE)


class Named(NamedTuple):
    """A rule that a line of a prompt names, and how many characters of the text there are up to the end of its name."""

    rule_id: str
    log_id: str
    end: int


class Noticed(NamedTuple):
    """How likely a rule finds something at a line that names it, from 0 to 1."""

    rule_id: str
    log_id: str
    likelihood: float


def named_in(text: str) -> list[Named]:
    """List the rules that the lines of a compact prompt name, in their order."""
    return [named for line in _NAMES.finditer(text) for named in _named_at(line)]


def _named_at(line: re.Match[str]) -> Iterator[Named]:
    end = line.start(1) - 1
    for rule_id in line[1].split(","):
        end += 1 + len(rule_id)
        if rule_id in _KNOWN:
            yield Named(rule_id, line[2], end)


def tokens_at(offsets: Sequence[tuple[int, int]], named: Sequence[Named]) -> list[int]:
    """Return the tokens with which the names end.

    Args:
        offsets: where each token of the text begins and ends, in its characters.
        named: in the order of the text.
    """
    tokens, token = [], 0
    for name in named:
        while offsets[token][1] < name.end:
            token += 1
        tokens.append(token)
    return tokens


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
    return sorted(likeliest, key=lambda one: (position_of(one.log_id), one.rule_id))


def before(chain: Chain, one: Noticed) -> list[Reason]:
    """List the reasons of a chain that stand before what was noticed, in the order of lines and rules."""
    place = position_of(one.log_id), one.rule_id
    return list(takewhile(lambda reason: (position_of(reason.lines[0]), reason.rule_id) < place, chain.reasons))
