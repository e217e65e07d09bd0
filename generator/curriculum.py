"""A curriculum: draw the incidents on which the defender lately was right about half the time.

    curriculum = Curriculum(seed=1, log=Path("out/curriculum.jsonl"))
    item = curriculum.draw()                     # task and seed of an ordinary numbered incident
    curriculum.record(item, right=True)

An item is told by its task, the rule that its story is for, and the context of the story (confirmed, suspicious, below, or what
explains it). Each value of these three has a share of recent answers that were right, p, and the weight (4 p (1 - p))², which is 1 at half: where the defender
always succeeds or always fails there is nothing to learn from a group of answers (Rutherford et al. 2024, "No Regrets", call that
learnability). A draw weighs some candidate seeds by the product of the two weights of their story, after the task. All follows from the
log: the same seed and the same log give the same draws.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

from generator.incidents import GENERATOR_VERSION, story_of
from runs.provenance import salt_hash
from schema import MAX_SEED, TASKS, BadRequestError, Task, shown
from tasks.registry import SPLITS, Split

CANDIDATES = 48  # seeds of which one is drawn
MEMORY = 0.95  # how much of what was known of a value is left after another answer
PRIOR = 2.0  # answers, half of them right, that stand for what nobody has seen
LEAST = 0.02  # weight of what is mastered or hopeless, so that it comes back now and then


@dataclass(frozen=True, slots=True)
class Item:
    """An incident that was drawn: `generate(task, seed, split=..., salt=...)` of the curriculum's split and salt makes it."""

    draw: int
    task: Task
    seed: int
    rule: str
    context: str


@dataclass(slots=True)
class _Success:
    right: float = PRIOR / 2
    answers: float = PRIOR

    def add(self, right: float) -> None:
        self.right, self.answers = MEMORY * self.right + right, MEMORY * self.answers + 1

    @property
    def weight(self) -> float:
        share = self.right / self.answers
        return max(LEAST, (4 * share * (1 - share)) ** 2)


class Curriculum:
    """Draw items by the defender's recent success; see the module.

    Args:
        split: whose incidents are drawn.
        tasks: which tasks.
        seed: two seeds draw other items.
        salt: as of the environment that plays them.
        log: a file of JSON lines that holds every answer; one that exists is read first, and the draws go on where it ends. None keeps
            no file.

    Raises:
        BadRequestError: no such split or task, or the log is of another curriculum, cut off, or no log.
    """

    def __init__(
        self,
        *,
        split: Split = "train",
        tasks: Sequence[Task] = TASKS,
        seed: int = 0,
        salt: str = "",
        log: Path | None = None,
    ) -> None:
        if split not in SPLITS:
            raise BadRequestError(f"split must be one of {', '.join(SPLITS)}; got {shown(split)}")
        if not tasks or not set(tasks) <= set(TASKS):
            raise BadRequestError(f"expected at least one of {', '.join(TASKS)}; got {shown(list(tasks))}")
        self.split, self.tasks, self.seed, self.salt = split, tuple(tasks), seed, salt
        self.draws = 0
        self._log = log
        self._successes: dict[Hashable, _Success] = {}
        self._answered: dict[int, Item] = {}
        self._head = {
            "curriculum": GENERATOR_VERSION,
            "split": split,
            "tasks": list(tasks),
            "seed": seed,
            "salt": salt_hash(salt),
        }
        if log is not None:
            self._begin(log)

    def draw(self, number: int | None = None) -> Item:
        """Draw the next item, or the one of a number: a draw that the log has is what it was, so a run that goes on finds its way again."""
        if number is not None:
            if number in self._answered:
                return self._answered[number]
            self.draws = number
        rng = Random(f"{self.seed}/{self.draws}")
        task = rng.choices(self.tasks, [self._weight("task", task) for task in self.tasks])[0]
        items = [self._item(task, rng.randrange(MAX_SEED)) for _ in range(CANDIDATES)]
        weights = [self._weight("rule", item.rule) * self._weight("context", item.context) for item in items]
        self.draws += 1
        return rng.choices(items, weights)[0]

    def record(self, item: Item, *, right: float, story: bool = True) -> None:
        """Remember how an item went, and write it to the log.

        Args:
            item: drawn before. What is in the log already stays.
            right: whether the answer was right, or the share of a group of answers that was, from 0 to 1.
            story: whether the item's own story was played; in self-play it was not, and the task alone is remembered.
        """
        if item.draw in self._answered:
            return
        entry = {name: getattr(item, name) for name in Item.__slots__}
        entry |= {"right": float(right), "story": story}
        self._remember(entry)
        if self._log is not None:
            self._append(self._log, entry)

    def _item(self, task: Task, seed: int) -> Item:
        family, plan = story_of(task, seed, split=self.split, salt=self.salt)
        return Item(self.draws, task, seed, family.rules[0], plan.explanation or plan.strength)

    def _weight(self, kind: str, value: str) -> float:
        success = self._successes.get((kind, value))
        return success.weight if success else 1.0

    def _remember(self, entry: dict[str, Any]) -> None:
        item = Item(**{name: entry[name] for name in Item.__slots__})
        self._answered[item.draw] = item
        for kind in ("task", "rule", "context") if entry["story"] else ("task",):
            self._successes.setdefault((kind, entry[kind]), _Success()).add(float(entry["right"]))

    # ------------------------------------------------------------ the log
    def _begin(self, log: Path) -> None:
        """Read a log that exists, or begin one."""
        try:
            text = log.read_text(encoding="utf-8")
        except FileNotFoundError:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._append(log, self._head)
            return
        except (OSError, ValueError) as error:
            raise BadRequestError(f"Expected a curriculum's log at {log}, and it cannot be read: {error}") from error
        if not text.endswith("\n"):
            raise BadRequestError(
                f"{log} is cut off in line {text.count(chr(10)) + 1}; expected whole lines. Remove what follows the last whole line, or name another file."
            )
        head, *entries = (_object(log, number, line) for number, line in enumerate(text.splitlines(), 1))
        if head != self._head:
            raise BadRequestError(
                f"{log} is the log of another curriculum: expected {self._head}, got {shown(head)}. Name another file."
            )
        for number, entry in enumerate(entries, 2):
            try:
                self._remember(entry)
                self.draws = entry["draw"] + 1
            except (KeyError, TypeError, ValueError) as error:
                raise BadRequestError(
                    f"{log}, line {number}: expected an item and how it went; got {shown(entry)}"
                ) from error

    def _append(self, log: Path, entry: dict[str, Any]) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _object(log: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise BadRequestError(f"{log}, line {number}: expected a JSON object; got {shown(line)}")
    return cast("dict[str, Any]", entry)
