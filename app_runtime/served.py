"""The environment as it is served: with a deployment's settings, MCP tools, and errors that are safe to show.

The SDK makes one `ServedEnv` for every WebSocket and MCP session, and one for every POST /mcp that names no session.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection
from typing import Any, Self

from openenv.core.env_server.serialization import serialize_observation
from pydantic import BaseModel

from env import OpenSOCEnv, OpenSOCObservation
from schema import BadRequestError, Incident, OpenSOCError, Triage

from .episodes import Episodes
from .refusal import hidden
from .settings import Settings

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


class ServedEnv(OpenSOCEnv):
    """`OpenSOCEnv` for the SDK's server, which calls the two methods below and sends their exceptions' texts out."""

    def __init__(self, *, settings: Settings, episodes: Episodes) -> None:
        super().__init__(reward_table=settings.reward_table, salt=settings.salt)
        self._episodes = episodes

    @property
    def mcp_client(self) -> Tools:
        """Where the SDK's /mcp looks for tools."""
        return Tools(self, self._episodes)

    async def reset_async(  # type: ignore[override]
        self, /, seed: int | None = None, episode_id: str | None = None, **options: Any
    ) -> Flat:
        """Begin an episode.

        Raises:
            OpenSOCError: with a text that is safe to show.
        """
        options.pop("self", None)  # one unknown field that Python would not pass on
        try:
            return Flat(self.reset(seed, episode_id, **options))
        except OpenSOCError:
            raise
        except Exception as exc:
            raise hidden(exc) from None

    # The SDK inspects it at every reset; known beforehand that takes 3 us, else 11.
    reset_async.__signature__ = inspect.signature(reset_async)  # type: ignore[attr-defined]

    async def step_async(self, action: Any, timeout_s: float | None = None, **options: Any) -> Flat:  # type: ignore[override]
        """Play one turn; exceptions as with `reset_async`."""
        try:
            return Flat(self.step(action, timeout_s, **options))
        except OpenSOCError:
            raise
        except Exception as exc:
            raise hidden(exc) from None


class Flat:
    """An observation as the SDK serialises it, with its fields taken as they stand.

    They are plain data already. Pydantic's `model_dump` gives the same (a test compares), and copies every log line.
    """

    __slots__ = ("_fields", "done", "metadata", "reward")

    def __init__(self, observation: OpenSOCObservation) -> None:
        self._fields = vars(observation)
        self.reward, self.done, self.metadata = observation.reward, observation.done, observation.metadata

    def model_dump(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The fields by name."""
        return {name: value for name, value in self._fields.items() if name not in exclude}


def reply(observation: OpenSOCObservation) -> dict[str, Any]:
    """What /reset, /step and the MCP tools answer: the SDK's form and the episode's id."""
    flat: Any = Flat(observation)
    return {**serialize_observation(flat), "episode_id": observation.episode_id}


class Tools:
    """The two tools of one session, in the shape of the client to an MCP server that the SDK expects.

    A client and not a server object: for a server the SDK starts a thread and an event loop at every call, and fails
    on arguments that are no object. Here these are an answer like any other, and scored.
    """

    def __init__(self, env: ServedEnv, episodes: Episodes) -> None:
        self._env = env
        self._episodes = episodes

    def is_connected(self) -> bool:
        """Always: the tools are in this process."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def list_tools(self) -> list[dict[str, Any]]:
        """Name, description and input schema of both tools."""
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
        try:
            return self._play(name, answer, episode_id)
        except OpenSOCError:
            raise
        except Exception as exc:
            raise hidden(exc) from None

    def _play(self, name: str, answer: Any, episode_id: str | None) -> dict[str, Any]:
        action = {name: answer}
        if episode_id is not None:
            return reply(self._episodes.step(self._episodes.named(episode_id), action))
        if self._env.state.episode_id is not None:
            return reply(self._env.step(action))
        if name == "craft_incident":
            episode, _ = self._episodes.start({"mode": "self_play"})
            return reply(self._episodes.step(episode, action))
        return {**reply(self._episodes.start({"mode": "defender_only"})[1]), "message": _NO_EPISODE}


def _split(arguments: Any) -> tuple[Any, str | None]:
    """Take the episode's id out of a tool's arguments; the rest is the answer, whatever it is."""
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
