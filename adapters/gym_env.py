"""OpenSOC as a Gymnasium environment for one agent, the defender: gymnasium.make("adapters.gym_env:OpenSOC/Triage-v0")

One step an episode. `answers="menu"` takes an action and a line by number, `answers="text"` a language model's reply; the
observation is text in both. Rewards are the environment's own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from adapters.spaces import (
    Answers,
    checked,
    checked_answers,
    closing_text,
    defender_text,
    reading,
    triage,
    triage_menu,
    writing,
)
from env import OpenSOCEnv
from players.base import Density
from rubric import TableName
from runs.extras import missing

try:
    import gymnasium
except ModuleNotFoundError as error:
    raise missing(error, "gym") from error

ENV_ID = "OpenSOC/Triage-v0"


class TriageEnv(gymnasium.Env[str, Any]):
    """One incident, one answer.

    The observation is the prompt as text; beside it `info` has the chat `messages`, the window's `log_ids` and an
    `action_mask` for `action_space.sample`. After the step `info["grade"]` explains the reward. `reset(seed=...)` plays the
    incident of that seed, as `OpenSOCEnv` does, and a reset without one draws the next; `options` may hold `task`, `split`,
    `seed` and `index` of `OpenSOCEnv.reset`.

    Args:
        task: the task, where no option says otherwise.
        split: the split, where no option says otherwise.
        reward_table: `standard` or `hardened`.
        answers: `menu` or `text`.
        density: how much the prompt says: `full`, `compact` or `legend`.
        salt: a secret that makes the incidents unlike the public ones.
        render_mode: `ansi`, or None.

    Raises:
        BadRequestError: an argument is none of these, or an action is not in the menu.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(
        self,
        *,
        task: str = "stage1_basic",
        split: str = "train",
        reward_table: TableName = "standard",
        answers: Answers = "menu",
        density: Density = "full",
        salt: str = "",
        render_mode: str | None = None,
    ) -> None:
        checked_answers(answers)
        self._env = OpenSOCEnv(reward_table=reward_table, salt=salt)
        self._options = {"task": task, "split": split}
        self._answers, self._density, self.render_mode = answers, density, render_mode
        self._text, self._log_ids = "", [""]
        self.observation_space = reading()
        self.action_space = triage_menu() if answers == "menu" else writing()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode; return the prompt and its info."""
        super().reset(seed=seed)
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        observation = self._env.reset(**{"seed": number, **self._options, **(options or {}), "mode": "defender_only"})
        self._text, info = defender_text(observation, self._density)
        self._log_ids = list(info["log_ids"])
        return self._text, info

    def step(self, action: Any) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Answer the alert, which ends the episode."""
        if self._answers == "menu":
            checked(action, self.action_space)
        observation = self._env.step({"submit_triage": triage(action, self._answers, self._log_ids)})
        self._text = closing_text(observation)
        return self._text, float(observation.reward or 0.0), True, False, {"grade": observation.grade}

    def render(self) -> str | None:
        """Return the text that the defender reads now, in the mode `ansi`."""
        return self._text if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="adapters.gym_env:TriageEnv")
