"""Adapt OpenSOC to OpenEnv's server: its environment and rubric tree around ours, and the two tools of MCP.

The SDK makes one `ServedEnv` for every WebSocket and MCP session, and one for every POST /mcp that names no session. It sends out the
texts of exceptions, so this module words each one safely.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import EnvironmentMetadata
from openenv.core.rubrics.base import Rubric
from pydantic import BaseModel

from env import Observation, OpenSOCEnv, State
from rubric import COMPONENTS
from schema import VERSION, BadRequestError, Incident, OpenSOCError, Triage
from tasks.registry import SPLITS, TASK_SPECS, num_tasks, task_at

from .episodes import Episodes
from .refusal import safe_error
from .shapes import OpenSOCAction, OpenSOCObservation, OpenSOCState, reply

README = Path(__file__).resolve().parent.parent / "README.md"

MAX_LISTED = 100  # tasks that one call lists
_NO_EPISODE = (
    "No episode was running, so this answer was not played. A new one has begun: read its observation and call "
    "submit_triage again with this episode_id."
)
_DESCRIPTIONS = {
    "craft_incident": (
        "Play the attacker's turn: invent an incident (events, and a claim about them) that the defender will judge. "
        "Without an episode_id and without a session that was reset, a new self_play episode begins with it. "
        "The answer holds the defender's observation and the episode_id to answer with submit_triage."
    ),
    "submit_triage": (
        "Play the defender's turn: decide on the incident, cite the log line that the decision rests on and say why. "
        "Without an episode_id and without a session that was reset, a new episode begins and comes back unanswered: "
        "read it and call again with its episode_id. The answer holds the reward and, at the end, the grade."
    ),
}


@contextmanager
def safe_errors() -> Iterator[None]:
    """Let through the errors that are worded for a caller, and replace any other by one that is safe to show."""
    try:
        yield
    except OpenSOCError:
        raise
    except Exception as exc:
        raise safe_error(exc) from None


# ---------------------------------------------------------------- the rubric tree
class ScoreTree(Rubric):
    """A node of the rubric tree. Its score is the environment's: a call with the scored components by name stores it and runs the hooks.

    A player's node sums its components, the root gives the reward of the player whose turn it was. `last_score` is None if
    nothing was scored since the last reset.

    Args:
        name: of the component; empty for the root.
        children: the nodes below.
    """

    def __init__(self, name: str = "", **children: ScoreTree) -> None:
        super().__init__()
        self.name = name
        for child_name, child in children.items():
            setattr(self, child_name, child)
        # Itself left out: a node that refers to itself outlives its session until the collector comes.
        self.below: tuple[ScoreTree, ...] = tuple(node for child in children.values() for node in (child, *child.below))
        self.components = _names(tuple(node.name for node in (self, *self.below)))

    # Overrides the SDK's, which first checks for a coroutine: that costs more than the score.
    def __call__(self, action: Mapping[str, float], observation: Observation) -> float:
        if self._forward_pre_hooks:
            self._run_forward_pre_hooks(action, observation)
        score = self.forward(action, observation)
        if self._forward_hooks:
            return self._finish_forward(action, observation, score)
        self.__dict__["last_score"] = score  # the SDK's __setattr__ looks for a rubric in it
        return score

    def forward(self, action: Mapping[str, float], observation: Observation) -> float:
        """Return the node's score."""
        if self.name in action:
            return action[self.name]
        scored = [child for child in self._rubric_children.values() if not child.components.isdisjoint(action)]
        scores = [child(action, observation) for child in scored]
        return round(sum(scores), 6) if self.name else float(observation.reward or 0.0)

    def reset(self) -> None:
        """Forget the last episode's scores."""
        for node in (self, *self.below):
            if node.last_score is not None:
                node.last_score = None


@functools.cache
def _names(names: tuple[str, ...]) -> frozenset[str]:
    """Make a set of names once for all trees."""
    return frozenset(names)


def _make_score_tree() -> ScoreTree:
    """Make the tree of both players: `defender.decision`, `attacker.novelty` and so on, none of them scored yet."""
    players: dict[str, dict[str, ScoreTree]] = {}
    for component in COMPONENTS:
        player, _, name = component.partition(".")
        players.setdefault(player, {})[name] = ScoreTree(component)
    return ScoreTree(**{player: ScoreTree(player, **parts) for player, parts in players.items()})


# ---------------------------------------------------------------- the environment
class Loan:
    """An observation in the form that the SDK sends. `end` empties it, as the SDK would hold it until the session's next message."""

    __slots__ = ("_fields", "done", "metadata", "reward")

    def __init__(self, observation: Observation) -> None:
        self.reward, self.done, self.metadata = observation.reward, observation.done, observation.metadata
        self._fields = observation.model_dump(exclude=("reward", "done"))

    def model_dump(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """Give the fields but for reward and done, which the SDK puts beside them."""
        return self._fields

    def end(self) -> None:
        """Let go of what was sent."""
        self._fields.clear()


class ServedEnv(Environment[OpenSOCAction, OpenSOCObservation, OpenSOCState]):
    """`OpenSOCEnv` behind OpenEnv's interface. Observations and states are ours: plain data, with the SDK's `model_dump`.

    Args:
        make_env: makes the environment that is played, with the deployment's settings.
        episodes: the episodes over HTTP, which MCP's tools may name.
        repository: the address of the repository, for the metadata; empty where there is none.
    """

    SUPPORTS_CONCURRENT_SESSIONS: ClassVar[bool] = True
    # Steps take microseconds, so one shared thread and the event loop serve all sessions; a thread each costs 10 times more.
    REQUIRES_SINGLE_THREAD_EXECUTOR: ClassVar[bool] = True

    def __init__(self, *, make_env: Callable[[], OpenSOCEnv], episodes: Episodes, repository: str = "") -> None:
        super().__init__(rubric=_make_score_tree())
        self._repository = repository
        self._env = make_env()
        self._episodes = episodes
        self._loan: Loan | None = None

    @property
    def mcp_client(self) -> Tools:
        """The client in which the SDK's /mcp looks for tools."""
        return Tools(self, self._episodes)

    def reset(self, /, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Any:
        """Begin an episode.

        Raises:
            OpenSOCError: with a text that is safe to show.
        """
        with safe_errors():
            observation = self._env.reset(seed, episode_id, **options)
        self._reset_rubric()
        return observation

    def step(self, action: Any, timeout_s: float | None = None, **options: Any) -> Any:
        """Play one turn; raise the same errors as `reset`."""
        with safe_errors():
            observation = self._env.step(action)
        scores = {name: score for name, score in self._env.components.items() if score is not None}
        self._apply_rubric(scores, observation)
        return observation

    async def reset_async(self, /, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Any:
        """Reset on the event loop itself; see `reset`."""
        return self._lend(self.reset(seed, episode_id, **options))

    # The SDK inspects the signature at every reset: 3 us if it is stored, else 11.
    reset_async.__signature__ = inspect.signature(reset_async)  # type: ignore[attr-defined]

    async def step_async(self, action: Any, timeout_s: float | None = None, **options: Any) -> Any:
        """Play one turn on the event loop itself; see `step`."""
        return self._lend(self.step(action))

    def _lend(self, observation: Observation) -> Loan:
        self._loan = Loan(observation)
        return self._loan

    def end_loan(self) -> None:
        """Let go of the last answer, which was sent."""
        if self._loan:
            self._loan.end()
            self._loan = None

    @property
    def state(self) -> State:
        """The state of the episode; readable at any time."""
        return self._env.state

    def close(self) -> None:
        """Close the environment; may be called again."""
        self._env.close()

    def get_metadata(self) -> EnvironmentMetadata:
        """Return name, purpose and version, the README's text, and where the documentation is: in the repository, or this server's own page on the API."""
        return EnvironmentMetadata(
            name="opensoc",
            description="Triage of security incidents that an attacker invents, judged by a deterministic verifier over structured events.",
            version=VERSION,
            author="OpenSOC contributors",
            readme_content=README.read_text("utf-8") if README.is_file() else None,
            documentation_url=f"{self._repository}/blob/main/docs/README.md" if self._repository else "/docs",
        )

    # ------------------------------------------------------------ OpenEnv's task API
    def list_splits(self) -> list[dict[str, str]]:
        """List the splits with OpenEnv's type of each."""
        return [{"name": split, "type": {"train": "train", "val": "validation"}.get(split, "test")} for split in SPLITS]

    def num_tasks(self, split: str) -> int:
        """Count the tasks of a split; raise IndexError if there is no such split."""
        return num_tasks(split)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """Describe one task, which `reset(split=..., index=...)` plays; raise IndexError outside the split."""
        task, seed = task_at(split, index)
        return {
            "id": f"{split}-{index}",
            "index": index,
            "split": split,
            "task": task,
            "seed": seed,
            "description": TASK_SPECS[task].description,
        }

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        """Describe the tasks from `start` to before `stop`, as Python slices count; at most 100."""
        chosen = range(num_tasks(split))[slice(start, stop)]
        return [self.get_task(split, index) for index in chosen[:MAX_LISTED]]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """Describe the first 100 tasks of a split; `num_tasks` counts all."""
        return self.get_task_range(split, 0, MAX_LISTED)


# ---------------------------------------------------------------- MCP
class Tools:
    """The two tools of one session, in the shape of the client to an MCP server that the SDK expects.

    A client and not a server object: for a server the SDK starts a thread and an event loop at every call, and fails
    on arguments that are no object. This class scores such arguments like any other answer.
    """

    def __init__(self, env: ServedEnv, episodes: Episodes) -> None:
        self._env = env
        self._episodes = episodes

    def is_connected(self) -> bool:
        """Return True, as the tools are in this process."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def list_tools(self) -> list[dict[str, Any]]:
        """List name, description and input schema of both tools."""
        return _tool_list()

    async def call_tool(self, name: str, arguments: Any = None) -> dict[str, Any]:
        """Play one turn; `arguments` are the answer, and may name the episode that it is for.

        Raises:
            OpenSOCError: no such tool or episode, or not the time for it; the SDK answers with its text.
        """
        if name not in list(_DESCRIPTIONS):  # a name of any type
            raise BadRequestError(
                f"Expected one of the tools {', '.join(_DESCRIPTIONS)}, got {name!r}. Call one of these."
            )
        answer, episode_id = _split(arguments)
        with safe_errors():
            return self._play(name, answer, episode_id)

    def _play(self, name: str, answer: Any, episode_id: str | None) -> dict[str, Any]:
        action = {name: answer}
        if episode_id is not None:
            return reply(self._episodes.step(self._episodes.find(episode_id), action))
        if self._env.state.episode_id is not None:
            return reply(self._env.step(action))
        if name == "craft_incident":
            episode, _ = self._episodes.start({"mode": "self_play"})
            return reply(self._episodes.step(episode, action))
        return {**reply(self._episodes.start({"mode": "defender_only"})[1]), "message": _NO_EPISODE}


def _split(arguments: Any) -> tuple[Any, str | None]:
    """Split a tool's arguments into the answer, of whatever form, and the episode's id."""
    if not isinstance(arguments, dict):
        return ({} if arguments is None else arguments), None
    episode_id = arguments.get("episode_id")
    if not isinstance(episode_id, str | None):
        return arguments, None  # scored: an answer has no such field
    return {key: value for key, value in arguments.items() if key != "episode_id"}, episode_id


@functools.cache
def _tool_list() -> list[dict[str, Any]]:
    shapes: dict[str, type[BaseModel]] = {"craft_incident": Incident, "submit_triage": Triage}
    return [
        {"name": name, "description": text, "inputSchema": _with_episode_id(shapes[name].model_json_schema())}
        for name, text in _DESCRIPTIONS.items()
    ]


def _with_episode_id(schema: dict[str, Any]) -> dict[str, Any]:
    about = "The episode to play, as a call or POST /reset answered it; a session that was reset needs none."
    schema["properties"] = {**schema["properties"], "episode_id": {"type": "string", "description": about}}
    return schema
