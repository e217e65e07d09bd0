"""OpenSOC as a PettingZoo AEC environment with both seats: adapters.pettingzoo_env.env()

`attacker_0` crafts an incident, the gate admits or refuses it, `defender_0` answers. Rewards are the rubric's: what an admitted
incident pays the attacker is settled by the defender's answer, and a refused one ends the episode before the defender's turn.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, ClassVar, cast

from adapters.spaces import (
    Answers,
    attacker_text,
    checked,
    checked_answers,
    closing_text,
    defender_text,
    reading,
    triage,
    triage_menu,
    writing,
)
from env import Archive, Observation, OpenSOCEnv
from generator import generate
from generator.curriculum import Curriculum
from generator.incidents import rebuild
from generator.injection import TIERS, inject
from generator.twins import OF_LINES, Proposer
from players.base import Density
from rubric import TableName
from runs.extras import missing
from schema import LABELS, Task, epoch_s, iso_time
from tasks.registry import Split

try:
    from gymnasium import spaces
    from gymnasium.utils.seeding import np_random
    from pettingzoo import AECEnv
    from pettingzoo.utils.wrappers import OrderEnforcingWrapper
except ModuleNotFoundError as error:
    raise missing(error, "pettingzoo") from error

ATTACKER, DEFENDER = "attacker_0", "defender_0"
EDITS: tuple[Proposer | None, ...] = (None, *OF_LINES)


def craft_menu() -> spaces.Dict:
    """Return the space of incidents by numbers: `target` indexes `schema.LABELS`, the decision to aim at; `edit` one of `EDITS` on what the generator
    then makes; `text` is 0 or, from 1, a tier of `generator.injection.TIERS`: hostile text in a line or the narrative."""
    menu = {"target": len(LABELS), "edit": len(EDITS), "text": len(TIERS) + 1}
    return spaces.Dict({name: spaces.Discrete(size) for name, size in menu.items()})


def crafted(choice: dict[str, Any], task: Task, seed: int, *, split: Split, salt: str = "") -> dict[str, Any]:
    """Return the content of `craft_incident` for a choice of `craft_menu()`, in the organisation of an episode's seed.

    Where an edit does not apply, the incident is as the generator made it. The gate may refuse it like anybody's.
    """
    target, edit, rng = LABELS[int(choice["target"])], EDITS[int(choice["edit"])], Random(seed)
    now = epoch_s(generate(task, seed, split=split, salt=salt).world.now)
    case = generate(task, seed, split=split, salt=salt, label=target)
    late = max(
        0.0, epoch_s(case.world.now) - now
    )  # an episode's alert is raised at its own time, and nothing lies after it
    case = rebuild(
        case, lines=[{**line, "timestamp": iso_time(epoch_s(line["timestamp"]) - late)} for line in case.lines]
    )
    if edit:
        case = next(edit(case, rng), case)
    if choice["text"]:
        case = inject(case, rng, truth=target, tier=TIERS[int(choice["text"]) - 1]).poisoned
    return case.incident.model_dump(exclude_none=True)


class SelfPlayEnv(AECEnv[str, dict[str, str], Any]):
    """Play an attacker against a defender, one turn each.

    Observations are `{"text": ...}`. `answers="menu"` takes choices of `craft_menu()` and `triage_menu()`; `answers="text"` an incident as JSON
    and a language model's reply. A defender's `info` has `messages`, `log_ids` and an `action_mask`; at the end both have `grade`.

    Args:
        archive: remembers what was played, for novelty; None remembers nothing.
        curriculum: chooses what a reset without a seed plays, of its own split, by how the defender did; None draws any seed.
        task, split, reward_table, answers, density, salt, render_mode: as of `adapters.gym_env.TriageEnv`.

    Raises:
        BadRequestError: an argument is none of these, or an action is not in the menu.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "opensoc_v0", "render_modes": ["ansi"], "is_parallelizable": False}

    def __init__(
        self,
        *,
        task: Task = "stage1_basic",
        split: Split = "train",
        reward_table: TableName = "standard",
        answers: Answers = "menu",
        density: Density = "full",
        salt: str = "",
        archive: Archive | None = None,
        curriculum: Curriculum | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        checked_answers(answers)
        self._env = OpenSOCEnv(reward_table=reward_table, salt=salt, archive=archive, curriculum=curriculum)
        self._curriculum = curriculum
        self._options = {"task": task, "split": split}
        self._answers, self._density, self._salt, self.render_mode = answers, density, salt, render_mode
        self.possible_agents = [ATTACKER, DEFENDER]
        self.observation_spaces = {agent: spaces.Dict({"text": reading()}) for agent in self.possible_agents}
        menus = {ATTACKER: craft_menu, DEFENDER: triage_menu}
        self.action_spaces = {agent: menu() if answers == "menu" else writing() for agent, menu in menus.items()}
        self._random, _ = np_random()

    def observation_space(self, agent: str) -> spaces.Dict:
        """Return the seat's space, a dict of one text; the same object at each call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return the seat's menu, or text; the same object at each call."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode: the one of that seed, or without one the next that is drawn. `options` may hold `task` and `split`."""
        if seed is not None:
            self._random, _ = np_random(seed)
        number = seed
        if seed is None and self._curriculum is None:
            number = int(self._random.integers(2**31))
        # PettingZoo's own test of an environment gives `{"options": 1}`, which asks for nothing
        asked = {name: value for name, value in (options or {}).items() if name != "options"}
        self._episode = {**self._options, **asked, "seed": number, "mode": "self_play"}
        observation = self._env.reset(**self._episode)
        self._episode |= self._env.played
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._texts = {ATTACKER: attacker_text(observation), DEFENDER: ""}
        self._paid = 0.0
        self.agent_selection = ATTACKER

    def observe(self, agent: str) -> dict[str, str]:
        """Return what an agent reads now; nothing before its turn."""
        return {"text": self._texts[agent]}

    def step(self, action: Any) -> None:
        """Play the turn of `agent_selection`; None once it is terminated."""
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        if self._answers == "menu":
            checked(action, self.action_space(agent))
        self._cumulative_rewards[agent] = 0.0
        observation = self._env.step(
            {"craft_incident": self._incident(action)}
            if agent == ATTACKER
            else {"submit_triage": triage(action, self._answers, self.infos[DEFENDER]["log_ids"])}
        )
        self._show(observation)
        self._accumulate_rewards()

    def _incident(self, action: Any) -> Any:
        if self._answers == "menu":
            task, split = cast(Task, self._episode["task"]), cast(Split, self._episode["split"])
            return crafted(action, task, cast(int, self._episode["seed"]), split=split, salt=self._salt)
        try:
            return json.loads(action)
        except (TypeError, ValueError, RecursionError):
            return None  # no incident: a failure of the schema, and scored as one

    def _show(self, observation: Observation) -> None:
        """Set texts, infos, rewards and whose turn it is."""
        if not observation.done:
            self.rewards[ATTACKER] = self._paid = float(observation.reward or 0.0)
            self._texts[ATTACKER] = observation.feedback
            self._texts[DEFENDER], self.infos[DEFENDER] = defender_text(observation, self._density)
            self.agent_selection = DEFENDER
            return
        self.rewards[ATTACKER] = float(observation.rewards["attacker"] or 0.0) - self._paid
        self.rewards[DEFENDER] = float(observation.rewards["defender"] or 0.0)
        for agent in self.agents:
            self.terminations[agent], self._texts[agent] = True, closing_text(observation)
            self.infos[agent] = {"grade": observation.grade}
        self.agent_selection = ATTACKER

    def render(self) -> str | None:
        """Return the text that the selected agent reads now, in the mode `ansi`."""
        return self._texts[self.agent_selection] if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def env(**options: Any) -> OrderEnforcingWrapper[str, dict[str, str], Any]:
    """Return `SelfPlayEnv` in PettingZoo's wrapper, which refuses what is called too early."""
    return OrderEnforcingWrapper(SelfPlayEnv(**options))
