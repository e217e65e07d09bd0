"""Keep a benchmark's answers from being harvested: grades that wait for a deadline, and games that say how often they were graded.

An episode's end explains its incident, and the same seed or index plays the same incident again: who plays twice knows the answer the second
time. Only a server with a salt has incidents that nobody else can make, so only such a server counts its grades.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from env import Observation, OpenSOCEnv
from schema import TurnError
from tasks.registry import SPLIT_SIZES, Split

log = logging.getLogger("opensoc.grades")
MAX_REMEMBERED = 100_000  # graded games that are no numbered task; the longest ago is forgotten first


class GradeBook:
    """What one process knows of the grades that it gave.

    Args:
        counting: whether games are remembered.
        held_until: before this moment no reward and no grade is told; None tells them at once.
        clock: gives the moment now, with a zone.
    """

    def __init__(
        self,
        *,
        counting: bool,
        held_until: datetime | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counting = counting
        self.held_until = held_until
        self._clock = clock
        self._numbered: dict[int, int] = {}  # times by game; as many as there are numbered tasks, so none is forgotten
        self._others: dict[int, int] = {}  # in the order of the last grade

    @property
    def is_held(self) -> bool:
        """Whether grades wait for their deadline."""
        return self.held_until is not None and self._clock() < self.held_until

    def times(self, game: dict[str, Any]) -> int:
        """Count the grades that were told of a game, `OpenSOCEnv.played`."""
        return self._shelf(game).get(_key(game), 0)

    def record(self, game: dict[str, Any]) -> None:
        """Count a grade that is told now."""
        shelf, key = self._shelf(game), _key(game)
        shelf[key] = shelf.pop(key, 0) + 1
        if shelf is self._others and len(shelf) > MAX_REMEMBERED:
            del shelf[next(iter(shelf))]

    def _shelf(self, game: dict[str, Any]) -> dict[int, int]:
        split: Split = game["split"]
        return self._numbered if game["seed"] < SPLIT_SIZES[split] else self._others


def _key(game: dict[str, Any]) -> int:
    return hash((game["task"], game["split"], game["seed"]))


class BenchmarkEnv(OpenSOCEnv):
    """`OpenSOCEnv` as a deployment with a grade book plays it; `options` are those of `OpenSOCEnv`.

    A reset tells in `metadata` how often its game was graded before (`graded_before`, where it was), a grade always. While grades are held, the
    closing observation holds neither rewards nor a grade; they go to the log `opensoc.grades`, which the deployment's owner reads.
    """

    def __init__(self, book: GradeBook, **options: Any) -> None:
        super().__init__(**options)
        self._book = book

    def reset(self, /, *args: Any, **options: Any) -> Observation:
        """Begin an episode; see `OpenSOCEnv.reset`."""
        observation = super().reset(*args, **options)
        times = self._book.times(self.played) if self._book.counting else 0
        if times:
            observation.metadata = {"graded_before": times}
        return observation

    def step(self, action: Any, timeout_s: float | None = None, **other: Any) -> Observation:
        """Play a turn; see `OpenSOCEnv.step`."""
        observation = super().step(action, timeout_s, **other)
        if not observation.done or observation.grade is None:
            return observation
        if self._book.is_held:
            return self._withheld(observation, observation.grade)
        if self._book.counting and observation.mode == "defender_only":
            times = self._book.times(self.played)
            observation.grade["graded_before"] = times
            observation.metadata = {"graded_before": times} if times else {}
            self._book.record(self.played)
        return observation

    def grade(self) -> dict[str, Any]:
        """Explain the episode; see `OpenSOCEnv.grade`.

        Raises:
            TurnError: the episode is not done, or grades are held.
        """
        grade = super().grade()
        if self._book.is_held:
            raise TurnError(self._sentence())
        return grade

    def _withheld(self, observation: Observation, grade: dict[str, Any]) -> Observation:
        told = {
            name: value for name, value in grade.items() if name not in ("ground_truth", "feedback", "plausibility")
        }
        log.info("An episode was graded.", extra={"fields": {**told, **self.played}})
        observation.reward, observation.rewards, observation.grade = None, {}, None
        observation.feedback = f"The answer was taken. {self._sentence()}"
        return observation

    def _sentence(self) -> str:
        assert self._book.held_until
        return f"Grades are held back until {self._book.held_until.isoformat()}; ask for this one then."
