"""OpenSOC for TRL's GRPOTrainer: a dataset, a reward function, and an environment class whose tool is the answer.

Both rewards are those that `OpenSOCEnv` pays for the same answer to the same incident, which a dataset's row names by task, seed and
split. A completion that cannot be read is scored as malformed and never raises; a row that names no incident raises.
`environment_factory` is an experimental interface of TRL; what is here fits version 1.15.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from env import OpenSOCEnv
from generator.incidents import generate
from players.base import Density
from players.prompt import messages
from players.scoring import Score, score_reply
from rubric import TABLES, TableName
from runs.extras import missing
from scenario import item_of
from schema import LABELS, BadRequestError, Task
from tasks.registry import Split

COMPONENTS = ("decision", "citation", "format")
REMEMBERED = 256  # incidents that are remembered: those of a few steps
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
    """Return the incidents of `n` seeds as rows {prompt, task, seed, split}, from seed `start` on.

    Args:
        n: how many.
        task: one of the four tasks.
        split: which families and worlds.
        start: the first seed.
        density: how much the prompt says.
        tool: whether the prompt asks for a tool call (`TriageTool`) instead of a JSON reply.
        salt: as the reward has it.

    Raises:
        BadRequestError: no such task, split or seed.
    """
    env = OpenSOCEnv(salt=salt)
    return [
        {
            "prompt": _prompt(env.reset(task=task, seed=seed, split=split).model_dump(), density, tool),
            "task": task,
            "seed": seed,
            "split": split,
        }
        for seed in range(start, start + n)
    ]


def _prompt(observation: Mapping[str, Any], density: Density, tool: bool) -> list[dict[str, str]]:
    prompt = messages(observation, density=density)
    if not tool:
        return prompt
    playbook = f"\n\nPLAYBOOK\n{observation['playbook']}" if density == "full" else ""
    return [{"role": "system", "content": TOOL_PROMPT + playbook}, prompt[-1]]


def dataset(n: int, **options: Any) -> Any:
    """Return `rows` as a `datasets.Dataset`.

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
    """Return the text of a completion, of chat messages that of the last one; None if there is none."""
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

    It logs the means of the rubric's components (`triage/decision` ...), `triage/accuracy`, `triage/format_ok` (the share of
    answers that can be read), and each action's share of all answers (`triage/share/<action>`). Each completion's action and fault
    are columns of the completions' table.

    Args:
        reward_table: `hardened`, the one to train on, or `standard`.
        salt: as the dataset has it.
        item: gives observation and ground truth of a row's task, seed and split; by default those of the generated incident.
    """

    __name__ = "triage"

    def __init__(
        self,
        *,
        reward_table: TableName = "hardened",
        salt: str = "",
        item: Callable[[Task, int, Split], Mapping[str, Any]] | None = None,
    ) -> None:
        if reward_table not in TABLES:
            raise BadRequestError(f"reward_table must be one of {', '.join(TABLES)}; got {reward_table!r}")
        self._table = reward_table
        self._item = lru_cache(maxsize=REMEMBERED)(item or partial(_item, salt=salt))

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        *,
        task: Sequence[Task] | None = None,
        seed: Sequence[int] | None = None,
        split: Sequence[Split] | None = None,
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
        splits: Sequence[Split] = split if split is not None else ["train"] * len(completions)
        scores = [
            score_reply(reply_text(completion), self._item(task, int(seed), split), self._table)
            for completion, task, seed, split in zip(completions, task, seed, splits, strict=True)
        ]
        self.judged(task, seed, scores)
        if log_metric and scores:
            for name, value in _means(scores):
                log_metric(f"triage/{name}", value)
        if log_extra:
            log_extra("action", [score.action or "malformed" for score in scores])
            log_extra("feedback", [score.fault or f"The answer {score.action} was taken." for score in scores])
        return [score.reward for score in scores]

    def judged(self, tasks: Sequence[Task], seeds: Sequence[int], scores: Sequence[Score]) -> None:
        """Hear how the completions of a call were scored; for whoever draws incidents by it."""


def _item(task: Task, seed: int, split: Split, *, salt: str) -> dict[str, Any]:
    return item_of(generate(task, seed, split=split, salt=salt))


def _means(scores: Sequence[Score]) -> Iterator[tuple[str, float]]:
    for name in COMPONENTS:
        yield name, statistics.fmean(score.components[f"defender.{name}"] for score in scores)
    yield "accuracy", statistics.fmean(score.right for score in scores)
    yield "format_ok", statistics.fmean(score.action is not None for score in scores)
    for action in LABELS:
        yield f"share/{action}", statistics.fmean(score.action == action for score in scores)


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
        """Begin the episode of a dataset's row, whose prompt holds the whole observation."""
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
        """Return the reward of the answer, or of none."""
        if not self._env.state.done:
            self._env.step({"submit_triage": None})
        return float(self._env.grade()["rewards"]["defender"])
