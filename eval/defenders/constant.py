"""Defenders that look at nothing: one action always, or one at random."""

from __future__ import annotations

from random import Random
from typing import Any

from eval.defenders.base import Baseline, Row
from schema import LABELS, Label


class Constant(Baseline):
    """Gives one action to everything and cites the alert's line."""

    def __init__(self, action: Label) -> None:
        super().__init__(f"always_{action}")
        self._action = action

    def triage(self, row: Row) -> dict[str, Any]:
        """The one action."""
        cited = row["observation"]["alert"]["log_id"]
        return {"action": self._action, "cited_log_id": cited, "rationale": "the same for every alert"}


class AtRandom(Baseline):
    """Draws one of the five actions and a line; an item's draw hangs on the seed and its id alone, so order does not matter."""

    def __init__(self, seed: int) -> None:
        super().__init__("random")
        self._seed = seed

    def triage(self, row: Row) -> dict[str, Any]:
        """One of five, evenly."""
        chance = Random(f"{self._seed}/{row['id']}")
        cited = chance.choice(row["observation"]["log_window"])["log_id"]
        return {"action": chance.choice(LABELS), "cited_log_id": cited, "rationale": "drawn by lot"}
