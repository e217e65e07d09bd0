"""Share a number of places among callers: who holds how many, and who gives one up where none is left.

A caller is an address: cookies and names of programs cost nothing. Nobody is turned away, and nobody loses a place, while somebody
else holds more: the holder of most places gives the one that it used least recently.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from schema import OpenSOCError

HOLDER: ContextVar[str] = ContextVar("holder", default="")  # the address whose call is being served
Item = TypeVar("Item")


class NoPlaceError(OpenSOCError):
    """All places are taken, and the caller who asks for one more holds as many as anybody."""


@dataclass(slots=True)
class _Holding(Generic[Item]):
    """The items of one caller, each group in the order of last use."""

    live: dict[Item, None] = field(default_factory=dict)
    spent: dict[Item, None] = field(default_factory=dict)  # of no more use but to look back at

    def __len__(self) -> int:
        return len(self.live) + len(self.spent)


class Shares(Generic[Item]):
    """Places and their holders. Every call takes the same time, however many there are.

    Args:
        places: how many there are.
        share: the part of them that one caller may hold even where nobody else needs any, above 0 and at most 1.
    """

    def __init__(self, places: int, share: float = 1.0) -> None:
        self._places = places
        self._quota = max(1, math.floor(places * share))
        self._holders: dict[Item, str] = {}
        self._held: defaultdict[str, _Holding[Item]] = defaultdict(_Holding)
        self._by_count: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._most = 0  # that anybody holds

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def is_full(self) -> bool:
        """Whether a newcomer's place would cost somebody modest: all are taken, and nobody holds more than a tenth."""
        return len(self) >= self._places and self._most <= max(1, self._places // 10)

    def held(self, holder: str) -> int:
        """Count the places of a caller."""
        return len(self._held[holder]) if holder in self._held else 0

    def put(self, item: Item, holder: str, *, is_spent: bool = False) -> None:
        """Give a place to an item, or note that it was used, or spent."""
        holding = self._held[holder]
        before = len(holding)
        holding.live.pop(item, None)
        holding.spent.pop(item, None)
        (holding.spent if is_spent else holding.live)[item] = None
        self._holders[item] = holder
        self._rank(holder, before, len(holding))

    def remove(self, item: Item) -> None:
        """Take the place back; may be called again."""
        holder = self._holders.pop(item, None)
        if holder is None:
            return
        holding = self._held[holder]
        before = len(holding)
        holding.live.pop(item, None)
        holding.spent.pop(item, None)
        self._rank(holder, before, len(holding))
        if not holding:
            del self._held[holder]

    def to_give_up(self, newcomer: str) -> Item | None:
        """Return the item that must lose its place before a caller gets one more; None where a place is free.

        Raises:
            NoPlaceError: only live items of the caller itself could give one up.
        """
        own = self.held(newcomer)
        if len(self) < self._places and own < self._quota:
            return None
        if own >= min(self._quota, self._most):
            group = self._held[newcomer].spent
        else:
            greediest = self._held[next(iter(self._by_count[self._most]))]
            # Where the two are even but for one place they would throw each other out for ever; who has none always gets one.
            group = greediest.spent or (greediest.live if own == 0 or own + 1 < self._most else {})
        if not group:
            raise NoPlaceError(f"All {self._places} places are taken, {own} of them by your address.")
        return next(iter(group))

    def _rank(self, holder: str, before: int, now: int) -> None:
        """Keep the callers sorted by how many places they hold; a count changes by one at most."""
        if before == now:
            return
        self._by_count[before].pop(holder, None)
        if not self._by_count[before]:
            del self._by_count[before]
        if now:
            self._by_count[now][holder] = None
        if now > self._most or self._most not in self._by_count:
            self._most = now
