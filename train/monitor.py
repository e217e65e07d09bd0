"""What is seen of a training run while it runs: the log, figures on held-out incidents, and the signs of a collapse."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.metric_table import names_in
from players.base import Density
from rubric import TableName
from schema import LABELS
from train.command import is_main
from train.data import Row

RESAMPLES = 1_000  # of the intervals of an evaluation
REWARD_BOUND = 0.01  # of the time of a GRPO step, on a CPU


# ---------------------------------------------------------------- evaluation
@dataclass(frozen=True, slots=True)
class Examination:
    """Incidents that a model answers greedily while it trains."""

    rows: Sequence[Row]
    density: Density
    table: TableName
    tokens: int
    batch: int = 16
    every: int = 0

    def figures(self, texts: Sequence[str]) -> dict[str, Any]:
        """Metrics of the replies, in the order of the rows: `val/<metric>`, with `_low` and `_high` of a 95 % interval."""
        from eval.metrics import measure
        from eval.rollouts import rollout
        from players.base import Reply

        lines = [rollout("val", row, Reply(text, ""), self.table) for row, text in zip(self.rows, texts, strict=True)]
        found = measure(lines, resamples=RESAMPLES)
        told: dict[str, Any] = {"val/n": len(lines)}
        for name in names_in("training"):
            if name in found:
                told |= {f"val/{name}": found[name]["value"]}
                told |= {f"val/{name}_{end}": found[name][end] for end in ("low", "high")}
        return told


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

    def after(self, logs: Mapping[str, Any]) -> str | None:
        """Take in one step's log; the reason to stop, if there is one."""
        if logs.get("frac_reward_zero_std") is None:
            return None
        self._steps.append(logs)
        if len(self._steps) > self.window:
            self._steps.popleft()
        if len(self._steps) < self.window:
            return None
        equal = self._mean("frac_reward_zero_std")
        if equal > self.zero_variance:
            unread = 1.0 - self._mean("triage/format_ok")
            told = f" ({unread:.0%} of the answers cannot be read: do SFT first)" if unread > 0.5 else ""
            return (
                f"all rewards were equal in {equal:.0%} of the groups over {self.window} steps, above the limit of {self.zero_variance:.0%}: "
                f"nothing is learned{told}"
            )
        shares = {action: self._mean(f"triage/share/{action}") for action in LABELS}
        most = max(shares, key=lambda action: shares[action])
        if shares[most] > self.one_action:
            return (
                f"{most} was {shares[most]:.0%} of the answers over {self.window} steps, above the limit of {self.one_action:.0%}: "
                "the policy gives one answer to everything"
            )
        return None

    def recall(self, log: Log, step: int) -> None:
        """Take in what a run that goes on has logged up to a step."""
        for line in log.lines():
            if line.get("step", 0) <= step:  # of many processes another may not have cut the log yet
                self.after(line)

    def _mean(self, name: str) -> float:
        return sum(step.get(name) or 0.0 for step in self._steps) / len(self._steps)


# ---------------------------------------------------------------- the price of the reward
def told_share(stage: str, shares: Sequence[float]) -> float:
    """Print which share of a step's time the rewards took, on average; gives it, 0 where nothing was measured."""
    share = sum(shares) / len(shares) if shares else 0.0
    if is_main():
        print(f"{stage}: rewards took {share:.2%} of the time of a step (bound: {REWARD_BOUND:.0%}).", file=sys.stderr)
    return share


# ---------------------------------------------------------------- the log
class Log:
    """log.jsonl: one JSON object a line, in the order of the steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, step: int) -> None:
        """Forget what came after a step: it is done again."""
        if not self.path.exists() or not is_main():
            return
        kept = [line for line in self.lines() if line.get("step", 0) <= step]
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
        fresh.replace(self.path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        if is_main():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, default=str) + "\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """What is in it; a line that a kill cut short is left out."""
        for line in self.path.read_text("utf-8").splitlines() if self.path.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:
                continue
