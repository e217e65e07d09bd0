"""OpenSOC for TRL's GRPOTrainer: a dataset, a reward function, and an environment class whose tool is the answer.

Both rewards are what `OpenSOCEnv` pays for the same answer to the same incident, which a dataset's row names by task, seed and
split. A completion that cannot be read is scored as malformed and never raises; a row that names no incident does.
`environment_factory` is an experimental interface of TRL; what is here fits version 1.15.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from env import OpenSOCEnv
from players.base import Density
from players.prompt import messages, parse
from rubric import ScoredTriage, TableName, score_triage
from runs.extras import missing
from schema import LABELS, BadRequestError, Label
from verifier.truth import GroundTruth

COMPONENTS = ("decision", "citation", "format")
REMEMBERED = 256  # incidents whose truth is kept: those of a few steps
TOOL_PROMPT = "You are the analyst on duty. Judge the alert by the log lines and the context, then call the tool submit_triage once."


def rows(
    n: int,
    *,
    task: str = "stage1_basic",
    split: str = "train",
    start: int = 0,
    density: Density = "full",
    tool: bool = False,
    salt: str = "",
) -> list[dict[str, Any]]:
    """The incidents of `n` seeds as rows {prompt, task, seed, split}, from seed `start` on.

    Args:
        n: how many.
        task: one of the four tasks.
        split: which families and worlds are used.
        start: the first seed.
        density: how much the prompt says.
        tool: whether the prompt asks for a tool call (`TriageTool`) instead of a JSON reply.
        salt: as the reward has it.

    Raises:
        BadRequestError: no such task, split or seed.
    """
    env, made = OpenSOCEnv(salt=salt), []
    for seed in range(start, start + n):
        seen = env.reset(task=task, seed=seed, split=split).model_dump()
        prompt = messages(seen, density=density)
        if tool:
            playbook = f"\n\nPLAYBOOK\n{seen['playbook']}" if density == "full" else ""
            prompt = [{"role": "system", "content": TOOL_PROMPT + playbook}, prompt[-1]]
        made.append({"prompt": prompt, "task": task, "seed": seed, "split": split})
    return made


def dataset(n: int, **options: Any) -> Any:
    """`rows` as a `datasets.Dataset`.

    Raises:
        MissingExtraError: datasets, which comes with TRL, is not installed.
        BadRequestError: as of `rows`.
    """
    try:
        from datasets import Dataset
    except ModuleNotFoundError as error:
        raise missing(error, "train") from error
    return Dataset.from_list(rows(n, **options))


def reply_text(completion: object) -> str | None:
    """What a completion says: text as it is, of chat messages the last one's text; None where there is none."""
    if isinstance(completion, Sequence) and not isinstance(completion, str) and completion:
        completion = completion[-1]
    if isinstance(completion, Mapping):
        completion = completion.get("content")
    if isinstance(completion, list):  # content in parts
        parts = [part.get("text") for part in completion if isinstance(part, Mapping)]
        completion = "".join(part for part in parts if isinstance(part, str))
    return completion if isinstance(completion, str) else None


class TriageReward:
    """A reward function for `reward_funcs`: one reward for each completion, the environment's own.

    Metrics that are logged: the means of the rubric's components (`triage/decision` ...), `triage/accuracy`, `triage/format_ok` (the share of
    answers that can be read), and each action's share of all answers (`triage/share/<action>`). Each completion's action and what was wrong
    with it are columns of the completions' table.

    Args:
        reward_table: `hardened`, the one to train on, or `standard`.
        salt: as the dataset has it.
    """

    __name__ = "triage"

    def __init__(self, *, reward_table: TableName = "hardened", salt: str = "") -> None:
        self._env = OpenSOCEnv(reward_table=reward_table, salt=salt)
        self._table = reward_table
        self._judged = lru_cache(maxsize=REMEMBERED)(self._judge)

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        *,
        task: Sequence[str] | None = None,
        seed: Sequence[int] | None = None,
        split: Sequence[str] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Score completions (chat messages or text) on the incidents that the columns name.

        Raises:
            BadRequestError: `task` or `seed` is missing or names no incident.
        """
        if task is None or seed is None or not len(task) == len(seed) == len(completions):
            raise BadRequestError(
                "expected the dataset's columns task and seed, a value for each completion; "
                f"got {sorted(columns)}; make the dataset with train.reward.dataset"
            )
        splits = split if split is not None else ["train"] * len(completions)
        grades = [self._grade(*row) for row in zip(completions, task, seed, splits, strict=True)]
        if log_metric and grades:
            for name, value in _means(grades):
                log_metric(f"triage/{name}", value)
        if log_extra:
            log_extra("action", [grade.action or "malformed" for grade in grades])
            log_extra("feedback", [grade.feedback for grade in grades])
        return [grade.scored.reward for grade in grades]

    def _grade(self, completion: object, task: str, seed: int, split: str) -> _Grade:
        truth, log_ids = self._judged(task, int(seed), split)
        answer, fault = parse(reply_text(completion))
        scored = score_triage(answer, truth, log_ids, self._table)
        action = scored.triage.action if scored.triage else None
        return _Grade(scored, action, truth.action, fault or scored.fault or f"The answer {action} was taken.")

    def _judge(self, task: str, seed: int, split: str) -> tuple[GroundTruth, frozenset[str]]:
        """What an episode of the incident says of it: the truth, and the lines of its window. Asked once for a whole group."""
        seen = self._env.reset(task=task, seed=seed, split=split)
        self._env.step({"submit_triage": None})
        truth = GroundTruth.from_dict(self._env.grade()["ground_truth"])
        return truth, frozenset(line["log_id"] for line in seen.log_window)


class _Grade(NamedTuple):
    scored: ScoredTriage
    action: Label | None
    truth: Label
    feedback: str


def _means(grades: Sequence[_Grade]) -> Iterator[tuple[str, float]]:
    for name in COMPONENTS:
        yield name, statistics.fmean(grade.scored.components[f"defender.{name}"] for grade in grades)
    yield "accuracy", statistics.fmean(grade.action == grade.truth for grade in grades)
    yield "format_ok", statistics.fmean(grade.action is not None for grade in grades)
    for action in LABELS:
        yield f"share/{action}", statistics.fmean(grade.action == action for grade in grades)


class TriageTool:
    """An environment for `environment_factory`: the model answers by calling the tool `submit_triage`.

    The first call counts; a rollout without one is scored as malformed. The reward is the environment's own.

    Args:
        reward_table: `hardened`, the one to train on, or `standard`; another than the default by `functools.partial`.
        salt: as the dataset has it.
    """

    def __init__(self, *, reward_table: TableName = "hardened", salt: str = "") -> None:
        self._env = OpenSOCEnv(reward_table=reward_table, salt=salt)

    def reset(self, *, task: str, seed: int, split: str = "train", **columns: Any) -> None:
        """Begin the episode of a dataset's row, whose prompt says all that is to be seen."""
        self._env.reset(task=task, seed=int(seed), split=split)

    def submit_triage(self, action: str, cited_log_id: str, rationale: str) -> str:
        """Submit your decision on the alert. It can be submitted once.

        Args:
            action: One of dismiss, monitor, quarantine_host, block_ip, escalate.
            cited_log_id: The id of the one log line that supports it, such as L1-3.
            rationale: Why, in a sentence.

        Returns:
            How the answer was taken.
        """
        answer = {"action": action, "cited_log_id": cited_log_id, "rationale": rationale}
        return self._env.step({"submit_triage": answer}).feedback

    def get_reward(self) -> float:
        """The reward of the answer, or of none."""
        if not self._env.state.done:
            self._env.step({"submit_triage": None})
        return float(self._env.grade()["rewards"]["defender"])
