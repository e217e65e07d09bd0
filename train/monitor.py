"""What is watched of a training run: figures on held-out incidents, and the signs of a collapse."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.metric_table import names_in
from eval.rollouts import rollout
from players.base import Player, Reply
from rubric import TableName
from schema import LABELS, Row
from train.command import is_main
from train.log import Log

RESAMPLES = 1_000  # of the intervals of an evaluation
REWARD_BOUND = 0.01  # of the time of a GRPO step, on a CPU


# ---------------------------------------------------------------- evaluation
@dataclass(frozen=True, slots=True)
class Validation:
    """The held-out incidents that a model in training is evaluated on.

    Args:
        rows: the incidents.
        table: the reward table.
        every: steps between two evaluations; 0 for none.
    """

    rows: Sequence[Row]
    table: TableName = "hardened"
    every: int = 0

    def measure(self, player: Player) -> dict[str, Any]:
        """Ask a player all incidents, and return its metrics as `figures` does."""
        return self.figures([reply.text for reply in player.answer(self.rows)])

    def figures(self, texts: Sequence[str | None]) -> dict[str, Any]:
        """Return the metrics of replies in the order of the rows: `val/<metric>`, with `_low` and `_high` of a 95 % interval."""
        from eval.metrics import measure  # numpy, which --help does without

        lines = [rollout("val", row, Reply(text), self.table) for row, text in zip(self.rows, texts, strict=True)]
        metrics = measure(lines, resamples=RESAMPLES)
        figures: dict[str, Any] = {"val/n": len(lines)}
        for name in names_in("training"):
            if name in metrics and metrics[name]["value"] is not None:  # without chains, none of their figures
                figures |= {f"val/{name}": metrics[name]["value"]}
                figures |= {f"val/{name}_{end}": metrics[name][end] for end in ("low", "high")}
        return figures


# ---------------------------------------------------------------- collapse
@dataclass(slots=True)
class Collapse:
    """Says when a policy has collapsed: for a window of steps, equal rewards in nearly all groups, or one action in nearly all answers.

    Args:
        window: steps that are looked at together.
        zero_variance: the most that the mean share of groups with equal rewards may be; 1 allows all.
        one_action: the most that one action's mean share of the answers may be; 1 allows all.
    """

    window: int = 20
    zero_variance: float = 0.95
    one_action: float = 0.9
    _steps: deque[Mapping[str, Any]] = field(default_factory=deque)

    def update(self, logs: Mapping[str, Any]) -> str | None:
        """Take in one step's log, and return the reason to stop, if there is one."""
        if logs.get("frac_reward_zero_std") is None:
            return None
        self._steps.append(logs)
        if len(self._steps) > self.window:
            self._steps.popleft()
        if len(self._steps) < self.window:
            return None
        return self._equal_rewards() or self._same_action()

    def _equal_rewards(self) -> str | None:
        equal = self._mean("frac_reward_zero_std")
        if equal <= self.zero_variance:
            return None
        unread = 1.0 - self._mean("triage/format_ok")
        advice = f" ({unread:.0%} of the answers cannot be read: do SFT first)" if unread > 0.5 else ""
        return (
            f"all rewards were equal in {equal:.0%} of the groups over {self.window} steps, above the limit of {self.zero_variance:.0%}: "
            f"nothing is learned{advice}"
        )

    def _same_action(self) -> str | None:
        shares = {action: self._mean(f"triage/share/{action}") for action in LABELS}
        most = max(shares, key=lambda action: shares[action])
        if shares[most] <= self.one_action:
            return None
        return (
            f"{most} was {shares[most]:.0%} of the answers over {self.window} steps, above the limit of {self.one_action:.0%}: "
            "the policy gives one answer to everything"
        )

    def replay(self, log: Log, step: int) -> None:
        """Take in what a resumed run has logged up to a step."""
        for line in log.lines():
            if line.get("step", 0) <= step:  # of many processes another may not have cut the log yet
                self.update(line)

    def _mean(self, name: str) -> float:
        return sum(step.get(name) or 0.0 for step in self._steps) / len(self._steps)


# ---------------------------------------------------------------- the price of the reward
def report_reward_share(stage: str, shares: Sequence[float]) -> float:
    """Print and return the mean share of step time spent on rewards (0 if nothing was measured)."""
    share = sum(shares) / len(shares) if shares else 0.0
    if is_main():
        print(f"{stage}: rewards took {share:.2%} of the time of a step (bound: {REWARD_BOUND:.0%}).", file=sys.stderr)
    return share
