"""OpenSOC in process, plain Python: an attacker invents an incident, a defender triages it.

    self_play       reset -> attacker's observation    step(craft_incident) -> defender's    step(submit_triage) -> done
    defender_only   reset -> defender's observation                                          step(submit_triage) -> done

Whose reward a step carries: the player's who acts. The attacker's step pays what is settled then (a refusal, novelty), the
defender's step pays the defender; the closing observation's `rewards` holds both players' totals. An incident that is refused
ends the episode. A malformed answer is part of play: scored, with a reason in `feedback`. No observation, state or
error holds ground truth before the episode is done; after it, `grade()` and the closing observation's `grade` explain all.

Imports neither a web package nor OpenEnv's; `app_runtime.openenv` is this environment as OpenEnv serves it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, Protocol, cast

from pydantic_core import to_json
from typing_extensions import TypedDict

from generator.curriculum import Curriculum, Item
from generator.known_plays import KNOWN_PLAYS
from rubric import (
    COMPONENTS,
    TABLES,
    AttackerTurn,
    TableName,
    read_triage,
    reward_of,
    score_attacker,
    score_defender,
)
from scenario import Scenario, admit, recall
from schema import (
    MAX_SEED,
    MODES,
    TASKS,
    Alert,
    BadRequestError,
    Context,
    Mode,
    Task,
    Triage,
    TurnError,
    shown,
)
from tasks.registry import SPLITS, Split, task_at
from verifier.playbook import attacker_instructions, playbook_hash_for
from verifier.truth import GroundTruth

RESET_ARGUMENTS = ("task", "mode", "split", "seed", "index", "episode_id", "playbook")
PLAYBOOKS = ("text", "hash")  # what an observation holds of the playbook
PLAYERS = {"craft_incident": "attacker", "submit_triage": "defender"}
Role = Literal["attacker", "defender", "none"]


class LogLine(TypedDict):
    """A rendered event: only the fields that are set."""

    event_type: str
    fields: dict[str, Any]
    timestamp: str
    log_id: str


class _Plain:
    """Plain data under attributes, which can be had as a dict and as JSON too."""

    def model_dump(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """Give the fields by name, as they stand: what is changed inside them is changed here too."""
        return {name: value for name, value in vars(self).items() if name not in exclude}

    def model_dump_json(self, *, exclude: Collection[str] = ()) -> str:
        """Write the fields as JSON."""
        return to_json(self.model_dump(exclude=exclude)).decode()


@dataclass(kw_only=True)
class Observation(_Plain):
    """What the player sees whose turn it is; on the closing observation, how the episode went."""

    done: bool
    reward: float | None
    metadata: dict[str, Any] = field(default_factory=dict)
    episode_id: str
    task: Task
    mode: Mode
    role: Role
    turn: int
    instructions: str = ""
    alert: Alert | None = None
    log_window: list[LogLine] = field(default_factory=list)
    context: Context | None = None
    playbook: str = ""
    playbook_hash: str = ""
    feedback: str = ""
    rewards: dict[str, float | None] = field(default_factory=dict)
    grade: dict[str, Any] | None = None


@dataclass(kw_only=True)
class State(_Plain):
    """Where an episode stands; holds no ground truth."""

    episode_id: str | None = None
    step_count: int = 0
    task: Task | None = None
    mode: Mode | None = None
    role: Role = "none"
    done: bool = False
    reward_table: TableName = "standard"


class Archive:
    """What was played before, by signature: a self-play run hands one to its environments.

    Without an archive an environment remembers nothing from one episode to the next, so the same seed and the same
    actions give the same rewards.
    """

    def __init__(self) -> None:
        self.plays: Counter[str] = Counter()
        self.right: Counter[str] = Counter()

    def record(self, play: str, *, right: bool) -> None:
        """Count an admitted incident and whether the defender got it right."""
        self.plays[play] += 1
        self.right[play] += right


class Store(Protocol):
    """Scenarios that are ready before somebody asks, as `pool.Pool` holds them."""

    def check(self, salt: str) -> None:
        """Raise BadRequestError unless the scenarios are those of a salt."""

    def find(self, task: Task, seed: int, split: Split) -> Scenario | None:
        """Return the scenario of a seed; None for one that is not stored."""


class OpenSOCEnv:
    """One episode at a time of OpenSOC.

    Args:
        reward_table: `standard` (the project's fixed figures) or `hardened`.
        salt: a secret that makes this deployment's incidents unlike the public ones.
        archive: what a self-play run played before; without one nothing is remembered between episodes.
        pool: stored incidents (`pool.Pool`), which spare an episode the making of its own and change nothing else.
        curriculum: chooses what a reset without seed and index plays (task and split too), by how the defender did on its items. In
            self-play, where the attacker writes the story, it chooses by the task alone. None draws any seed.

    Raises:
        BadRequestError: no such table, or the pool or the curriculum is of another salt.
    """

    __slots__ = (  # thousands are held at once
        "__weakref__",
        "_archive",
        "_attacker_reward",
        "_closed",
        "_components",
        "_crafted",
        "_curriculum",
        "_done",
        "_episode_id",
        "_grade",
        "_item",
        "_mode",
        "_names_playbook",
        "_play",
        "_pool",
        "_reasons",
        "_reward_table",
        "_role",
        "_salt",
        "_scenario",
        "_seed",
        "_split",
        "_task",
        "_turn",
    )

    def __init__(
        self,
        *,
        reward_table: TableName = "standard",
        salt: str = "",
        archive: Archive | None = None,
        pool: Store | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        if reward_table not in TABLES:
            raise BadRequestError(f"reward_table must be one of {', '.join(TABLES)}; got {reward_table!r}")
        if pool:
            if not hasattr(pool, "check"):
                raise BadRequestError(f"Expected a pool, as `pool.Pool(PATH)` opens one, and got {pool!r}.")
            pool.check(salt)
        if curriculum and curriculum.salt != salt:
            raise BadRequestError("The curriculum draws incidents of another salt; give both the same.")
        self._salt = salt
        self._pool = pool
        self._curriculum = curriculum
        self._item: Item | None = None
        self._archive = archive
        self._closed = False
        self._reward_table: TableName = reward_table
        self._episode_id: str | None = None
        self._role: Role = "none"
        self._turn = 0
        self._done = False
        self._grade: dict[str, Any] | None = None
        self._components: dict[str, float | None] = dict.fromkeys(COMPONENTS)

    # ------------------------------------------------------------ the episode
    def reset(
        self,
        /,
        seed: int | None = None,
        episode_id: str | None = None,
        *,
        task: str = "stage1_basic",
        mode: str = "defender_only",
        split: str = "train",
        index: int | None = None,
        playbook: str = "text",
        **other: Any,
    ) -> Observation:
        """Begin an episode.

        Args:
            seed: 0 to 2**63 - 1; the same seed gives the same episode. None draws one.
            episode_id: a name for it, at most 255 characters; None makes one.
            task: one of the four tasks.
            mode: `defender_only` or `self_play`.
            split: which families, worlds and seeds are used.
            index: instead of task and seed: the task of that index in the split, as `get_task` lists them.
            playbook: whether the defender's observation holds the playbook's `text` or its `hash` (`verifier.playbook.playbook_of` gives the text).
            other: `options`, where it is None or empty; anything else is refused.

        Raises:
            BadRequestError: an argument is not what is described here.
            TurnError: the environment was closed.
        """
        if self._closed:
            raise TurnError("This environment was closed; open a new session and call reset there.")
        if other:
            _refuse_unknown(other)
        _one_of("task", task, TASKS)
        _one_of("mode", mode, MODES)
        _one_of("split", split, SPLITS)
        _one_of("playbook", playbook, PLAYBOOKS)
        if index is not None:
            task, seed = _task_at(split, index)
        self._item = self._curriculum.draw() if self._curriculum and seed is None else None
        if self._item and self._curriculum:
            task, seed, split = self._item.task, self._item.seed, self._curriculum.split
        drawn = seed is None
        seed = secrets.randbelow(MAX_SEED) if seed is None else _checked_seed(seed)
        if episode_id is not None and not (isinstance(episode_id, str) and 0 < len(episode_id) <= 255):
            raise BadRequestError(f"episode_id must be text of 1 to 255 characters; got {shown(episode_id)}")
        self._task, self._split, self._mode = cast(Task, task), cast(Split, split), cast(Mode, mode)
        self._seed = seed
        self._names_playbook = playbook == "hash"
        stored = self._pool.find(self._task, seed, self._split) if self._pool else None
        self._scenario = stored or recall(self._task, seed, self._split, self._salt)
        self._crafted: AttackerTurn | None = None
        self._attacker_reward: float | None = None
        self._play, self._reasons, self._grade = "", cast("list[str]", []), None
        self._components = dict.fromkeys(COMPONENTS)
        self._episode_id, self._turn, self._done = episode_id or self._own_name(drawn), 0, False
        self._role = "attacker" if mode == "self_play" else "defender"
        if self._role == "attacker":
            context = self._scenario.world.to_context()
            return self._observe(None, instructions=attacker_instructions(), context=context)
        return self._observe(None, **self._view())

    @property
    def played(self) -> dict[str, Any]:
        """The task, split and seed of the running episode: for whoever runs the environment, not for a player, who could look up the answer."""
        return {"task": self._task, "split": self._split, "seed": self._seed}

    def _own_name(self, drawn: bool) -> str:
        """Name an episode whose caller gave it no name. With a drawn seed and the public generator anybody has the answer, so the
        name of such an episode tells nothing of its seed."""
        if drawn:
            return secrets.token_hex(12)
        arguments = f"{self._split}/{self._task}/{self._mode}/{self._seed}"
        return hashlib.sha256(arguments.encode()).hexdigest()[:24]

    def step(self, action: Mapping[str, Any] | object, timeout_s: float | None = None, **other: Any) -> Observation:
        """Play a turn with `{"submit_triage": ...}` or `{"craft_incident": ...}`, or with a pydantic model that has one of the two.

        Raises:
            TurnError: before reset, after the end, after close, or the other player's turn.
            BadRequestError: none of the two actions, or both.
        """
        if self._closed:
            raise TurnError(
                "This environment was closed, perhaps for being idle; open a new session and call reset there."
            )
        if self._episode_id is None:
            raise TurnError("No episode is running; call reset first.")
        if self._done:
            raise TurnError("This episode is done; call reset for a new one, or grade for how it went.")
        name, content = one_action(action)
        if PLAYERS[name] != self._role:
            wanted = next(other_name for other_name, player in PLAYERS.items() if player == self._role)
            raise TurnError(f"It is the {self._role}'s turn: expected {wanted}, got {name}.")
        self._turn += 1
        return self._triage(content) if name == "submit_triage" else self._craft(content)

    @property
    def state(self) -> State:
        """Where the episode stands; readable at any time, before a reset too."""
        if self._episode_id is None:
            return State(reward_table=self._reward_table)
        return State(
            episode_id=self._episode_id,
            step_count=self._turn,
            task=self._task,
            mode=self._mode,
            role=self._role,
            done=self._done,
            reward_table=self._reward_table,
        )

    @property
    def components(self) -> dict[str, float | None]:
        """The rewards' parts by name (`defender.decision`); None where nothing was scored yet."""
        return self._components

    def grade(self) -> dict[str, Any]:
        """Explain the episode: rewards, components, ground truth, findings, evidence.

        Raises:
            TurnError: the episode is not done.
        """
        if self._grade is None:
            raise TurnError("There is nothing to grade before the episode is done; play it to its end first.")
        return self._grade

    def close(self) -> None:
        """End the environment's life; may be called again."""
        self._closed = True

    # ------------------------------------------------------------ turns
    def _craft(self, content: Any) -> Observation:
        """Play the attacker's turn: read, check, admit or refuse."""
        seen = self._archive.plays if self._archive else None
        admission = admit(content, self._scenario.world, task=self._task, seed=self._seed, salt=self._salt, seen=seen)
        if admission.fault:
            return self._refuse(AttackerTurn(valid=False), admission.fault)
        self._reasons = list(admission.reasons)
        if admission.scenario is None:
            turn = AttackerTurn(valid=True, reasons=admission.reasons)
            return self._refuse(turn, "The incident is not plausible: " + "; ".join(self._reasons[:5]) + ".")
        self._scenario, self._play = admission.scenario, admission.play
        novel = self._play not in KNOWN_PLAYS and not (self._archive and self._archive.plays[self._play])
        self._crafted = AttackerTurn(valid=True, novel=novel)
        self._attacker_reward = self._score_attacker(self._crafted)
        self._role = "defender"
        return self._observe(
            self._attacker_reward,
            feedback="The incident was admitted.",
            **self._view(),
        )

    def _refuse(self, turn: AttackerTurn, feedback: str) -> Observation:
        self._attacker_reward = self._score_attacker(turn)
        return self._close_episode(self._attacker_reward, feedback)

    def _triage(self, content: Any) -> Observation:
        """Play the defender's turn: read, judge, end."""
        truth = self._scenario.truth
        triage, fault = read_triage(content, self._scenario.log_ids)
        feedback = fault if triage is None else f"The answer {triage.action} was taken."
        scores = score_defender(triage, truth, TABLES[self._reward_table])
        self._components.update(scores)
        reward = reward_of(scores)
        right = triage is not None and triage.action == truth.action
        if self._crafted:
            self._pay_attacker(self._crafted, right=right)
        if self._item and self._curriculum:
            self._curriculum.record(self._item, right=right, story=not self._crafted)
        return self._close_episode(reward, feedback, triage, truth)

    def _pay_attacker(self, crafted: AttackerTurn, *, right: bool) -> None:
        """Score what the defender's answer earns the attacker, by the success rate on this play (Laplace's rule of succession)."""
        count, rights = (self._archive.plays[self._play], self._archive.right[self._play]) if self._archive else (0, 0)
        rate = (rights + right + 1) / (count + 1 + 2)
        turn = AttackerTurn(valid=True, novel=crafted.novel, fooled=not right, success_rate=rate)
        self._attacker_reward = self._score_attacker(turn)
        if self._archive:
            self._archive.record(self._play, right=right)

    def _score_attacker(self, turn: AttackerTurn) -> float:
        scores = score_attacker(turn, TABLES[self._reward_table])
        self._components.update(scores)
        return reward_of(scores)

    # ------------------------------------------------------------ observations
    def _view(self) -> dict[str, Any]:
        view = self._scenario.view()
        if self._names_playbook:
            view |= {"playbook": "", "playbook_hash": playbook_hash_for(view["log_window"])}
        return view

    def _observe(self, reward: float | None, *, done: bool = False, **parts: Any) -> Observation:
        assert self._episode_id is not None
        return Observation(
            done=done,
            reward=reward,
            episode_id=self._episode_id,
            task=self._task,
            mode=self._mode,
            role=self._role,
            turn=self._turn,
            **parts,
        )

    def _close_episode(
        self, reward: float, feedback: str, triage: Triage | None = None, truth: GroundTruth | None = None
    ) -> Observation:
        """End the episode; `truth` is given where the defender answered, whose the reward is then."""
        self._role, self._done = "none", True
        del self._scenario  # an episode that is over may be kept for long, and needs its grade alone
        rewards = {"attacker": self._attacker_reward, "defender": reward if truth else None}
        self._grade = {
            "episode_id": self._episode_id,
            "task": self._task,
            "mode": self._mode,
            "seed": self._seed,
            "reward_table": self._reward_table,
            "rewards": rewards,
            "components": self._components,
            "action": triage.action if triage else None,
            "cited_log_id": triage.cited_log_id if triage else None,
            "confidence": triage.confidence if triage else None,
            "feedback": feedback,
            "ground_truth": truth.to_dict() if truth else None,
            "plausibility": self._reasons,
        }
        return self._observe(reward, done=True, feedback=feedback, rewards=rewards, grade=self._grade)


# ---------------------------------------------------------------- reading what came
def _refuse_unknown(arguments: Mapping[str, Any]) -> None:
    """Raise BadRequestError where a reset is given an argument that it does not take; who misspells one plays another episode."""
    if arguments.get("options"):
        raise BadRequestError("reset takes no options here; give what they hold as arguments of reset itself")
    for name in sorted(arguments.keys() - {"options"}):
        nearest = get_close_matches(name[:40], RESET_ARGUMENTS, n=1, cutoff=0.0)[0]
        raise BadRequestError(f"reset takes {', '.join(RESET_ARGUMENTS)}; got {shown(name)}. Did you mean {nearest}?")


def _one_of(name: str, value: object, options: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in options:
        raise BadRequestError(f"{name} must be one of {', '.join(options)}; got {shown(value)}")


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise BadRequestError(f"seed must be a whole number from 0 to 2**63 - 1; got {shown(seed)}")
    return seed


def _task_at(split: str, index: int) -> tuple[Task, int]:
    try:
        return task_at(split, index)
    except IndexError as error:
        raise BadRequestError(str(error)) from None


def one_action(action: object) -> tuple[str, Any]:
    """Read the one action that was given, and its content.

    Args:
        action: a mapping of `submit_triage` or `craft_incident`, or a pydantic model on which one of them was set. A content of
            None counts as absent where the other action is there; `metadata` may stand beside both.

    Raises:
        BadRequestError: it is no such thing, none of the two, both, or something else beside them.
    """
    fields = getattr(action, "model_fields_set", None)
    if isinstance(fields, set):
        action = {name: getattr(action, name) for name in fields}
    if not isinstance(action, Mapping):
        raise BadRequestError(
            f"expected an object with submit_triage or craft_incident; got {shown(type(action).__name__)}"
        )
    given = {name: action[name] for name in PLAYERS if name in action}
    given = {name: content for name, content in given.items() if content is not None} or given
    strange = [name for name in action if name not in PLAYERS and name != "metadata"]
    if len(given) != 1 or strange:
        came = ", ".join(shown(name) for name in [*given, *strange][:5]) or "none of them"
        raise BadRequestError(
            f"expected exactly one of submit_triage or craft_incident and nothing beside it; got {came}"
        )
    return next(iter(given.items()))
