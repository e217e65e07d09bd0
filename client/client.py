"""Play OpenSOC over one WebSocket, on the OpenEnv SDK's `EnvClient`; asynchronous, or `.sync()`.

    with OpenSOCSession("http://127.0.0.1:7860").sync() as env:
        result = env.reset(task="stage1_basic", mode="defender_only", seed=42)
        triage = {"action": "monitor", "cited_log_id": result.observation.alert["log_id"], "rationale": "..."}
        result = env.step(OpenSOCAction(submit_triage=triage))
        print(result.reward, result.observation.grade)

The classes are thin: an action is sent unchanged, and the server judges it. `OpensocEnv`, `OpensocAction`
and `OpensocObservation` are the names that `AutoEnv.from_env("opensoc")` and `AutoAction` look for.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from openenv.core.client_types import StepResult as EnvStepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.types import Action, Observation, State
from pydantic import ConfigDict, Field
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as SocketState

from .http_client import OpenSOCClient, OpenSOCClientError

__all__ = [
    "EpisodeLostError",
    "OpenSOCAction",
    "OpenSOCClient",
    "OpenSOCClientError",
    "OpenSOCEnv",
    "OpenSOCObservation",
    "OpenSOCSession",
    "OpenSOCState",
    "OpensocAction",
    "OpensocEnv",
    "OpensocObservation",
]


class EpisodeLostError(ConnectionError):
    """The connection that held the episode is gone, and the episode with it: call reset() for a new one."""


class OpenSOCAction(Action):
    """One turn: `submit_triage` as the defender or `craft_incident` as the attacker, as plain data."""

    model_config = ConfigDict(extra="allow")
    submit_triage: Any = None
    craft_incident: Any = None


class OpenSOCObservation(Observation):
    """What the player whose turn it is may see; `done`, `reward` and `metadata` come from the base."""

    model_config = ConfigDict(extra="allow")  # a newer server may say more
    episode_id: str | None = None
    task: str = ""
    mode: str = ""
    role: str = ""
    turn: int = 0
    instructions: str = ""
    alert: dict[str, Any] | None = None
    log_window: list[dict[str, Any]] = Field(default_factory=list)
    context: dict[str, Any] | None = None
    playbook: str = ""
    playbook_hash: str = ""
    feedback: str = ""
    rewards: dict[str, float | None] | None = None
    grade: dict[str, Any] | None = None


class OpenSOCState(State):
    """Where the episode stands; `episode_id` and `step_count` come from the base."""

    task: str | None = None
    mode: str | None = None
    role: str | None = None
    done: bool = False
    reward_table: str | None = None


class OpenSOCSession(EnvClient[OpenSOCAction, OpenSOCObservation, OpenSOCState]):
    """One WebSocket, one environment, one episode at a time.

    The SDK connects again by itself after a time-out or a restart of the server, and the new connection has a new
    environment behind it. A step there would belong to no episode, so the client raises `EpisodeLostError` instead of sending it.
    After `reset(playbook="hash")` observations come without the playbook, most of their bytes, and the client fills it in: it asks for each text once, over HTTP.
    """

    _episode_socket: Any = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._playbooks: dict[str, str] = {}  # by their hashes

    async def _reset_async(self, **kwargs: Any) -> EnvStepResult[OpenSOCObservation]:
        result = await super()._reset_async(**kwargs)
        self._episode_socket = self._ws
        return await self._with_playbook(result)

    async def _step_async(self, action: Any, **kwargs: Any) -> EnvStepResult[OpenSOCObservation]:
        self._check_socket()
        try:
            result = await super()._step_async(action, **kwargs)
        except ConnectionClosed as error:
            raise EpisodeLostError(
                "The connection closed under way, and the episode went with it; "
                f"whether the step was counted is not known ({error}). Call reset() for a new episode."
            ) from error
        return await self._with_playbook(result)

    async def _with_playbook(self, result: EnvStepResult[OpenSOCObservation]) -> EnvStepResult[OpenSOCObservation]:
        """Fill in the playbook of an observation that holds its hash."""
        name = result.observation.playbook_hash
        if name and name not in self._playbooks:
            with OpenSOCClient(re.sub("^ws", "http", str(self._base_url)), headers=self._headers) as client:
                self._playbooks[name] = await asyncio.to_thread(client.playbook, name)
        if name:
            result.observation.playbook = self._playbooks[name]
        return result

    async def _state_async(self) -> OpenSOCState:
        self._check_socket()
        return await super()._state_async()

    def _check_socket(self) -> None:
        """Raise EpisodeLostError unless the episode's own socket is still open; before a reset, raise nothing."""
        socket = self._episode_socket
        if socket is None or (self._ws is socket and socket.state is SocketState.OPEN):
            return
        raise EpisodeLostError(
            "The connection that held this episode is gone (time-out, close or a restart of the server), "
            "and the episode with it. Call reset() for a new one."
        )

    def _step_payload(self, action: Any) -> dict[str, Any]:
        return dict(action) if isinstance(action, dict) else action.model_dump(exclude_unset=True)

    def _parse_result(self, payload: dict[str, Any]) -> EnvStepResult[OpenSOCObservation]:
        reward, done, metadata = payload.get("reward"), bool(payload.get("done")), payload.get("metadata")
        fields = {**payload.get("observation", {}), "reward": reward, "done": done, "metadata": metadata or {}}
        return EnvStepResult(OpenSOCObservation(**fields), reward=reward, done=done, metadata=metadata)

    def _parse_state(self, payload: dict[str, Any]) -> OpenSOCState:
        return OpenSOCState(**payload)


OpenSOCEnv = OpenSOCSession  # as OpenEnv's clients are named
# The spellings that the SDK derives from the manifest's name, `opensoc`.
OpensocEnv = OpenSOCSession
OpensocAction = OpenSOCAction
OpensocObservation = OpenSOCObservation
