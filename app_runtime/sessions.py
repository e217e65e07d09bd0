"""Keep the SDK's sessions: a share of the places for each address, and idle times by a clock that does not jump.

A session belongs to a WebSocket and ends with it, or was made by `openenv/session/create` over HTTP. The latter hold nothing that would
show whether their client still lives, so they have fewer places and a shorter idle time of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from openenv.core.env_server.exceptions import SessionCapacityError
from openenv.core.env_server.http_server import HTTPEnvServer
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.mcp_types import JsonRpcErrorCode, JsonRpcResponse
from openenv.core.env_server.types import ConcurrencyConfig, WSErrorCode
from starlette.types import Message, Receive, Send

from .openenv import ServedEnv
from .quota import HOLDER, NoPlaceError, Shares

log = logging.getLogger("opensoc")
TRY_AGAIN_LATER = 1013  # the WebSocket's code (RFC 6455's registry)
_END_S = 5.0  # in which a connection that loses its place has to go
_MOST_CHECKS_S = 30.0  # between two looks for idle sessions, at most


class Line:
    """One WebSocket connection, which the server may end from its side.

    Args:
        rpc: whether it speaks JSON-RPC, as /mcp does.
        clock: seconds that never go back.
    """

    def __init__(self, *, rpc: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._rpc = rpc
        self._clock = clock
        self._task = asyncio.current_task()
        self._is_waiting = False
        self._sentence = ""  # why it ends
        self._is_gone = False
        self._on_gone: asyncio.Event | None = None  # while somebody waits for it; an event takes most of a KiB
        self.last_use = clock()
        self.on_use: Callable[[], None] | None = None
        self.on_wait: Callable[[], None] | None = None

    def receive(self, receive: Receive, send: Send) -> Receive:
        """Make a `receive` that tells when a message is waited for, notes each as use, and that `end` interrupts."""

        async def receive_or_end() -> Message:
            if self.on_wait:
                self.on_wait()
            if not self._sentence:
                self._is_waiting = True
                try:
                    message = await receive()
                except asyncio.CancelledError:
                    if not self._sentence or self._task is None:
                        raise
                    self._task.uncancel()
                else:
                    self.last_use = self._clock()
                    if self.on_use:
                        self.on_use()
                    return message
                finally:
                    self._is_waiting = False
            await send({"type": "websocket.send", "text": json.dumps(self._reply())})
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "see the last message"})
            return {"type": "websocket.disconnect", "code": TRY_AGAIN_LATER}

        return receive_or_end

    async def end(self, sentence: str) -> None:
        """Tell the client why, close the connection, and wait until it is gone."""
        if self._is_gone:
            return
        self._sentence = sentence
        self._on_gone = self._on_gone or asyncio.Event()
        if self._is_waiting and self._task:
            self._is_waiting = False
            self._task.cancel()
        try:
            await asyncio.wait_for(self._on_gone.wait(), _END_S)
        except TimeoutError:
            log.warning("A connection that lost its place did not end within %g s.", _END_S)

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self._is_gone

    def leave(self) -> None:
        """Note that the connection has ended."""
        self._is_gone = True
        if self._on_gone:
            self._on_gone.set()
        self.on_use = self.on_wait = self._task = None

    def _reply(self) -> dict[str, Any]:
        if self._rpc:
            return JsonRpcResponse.error_response(JsonRpcErrorCode.SERVER_ERROR, self._sentence).model_dump()
        return {"type": "error", "data": {"message": self._sentence, "code": WSErrorCode.SESSION_ERROR.value}}


LINE: ContextVar[Line | None] = ContextVar("line", default=None)  # the connection whose message is being served


@dataclass(slots=True, eq=False)
class _Session:
    """What is known of one session beside what the SDK keeps of it."""

    shares: Shares[_Session]
    line: Line | None
    last_use: float
    session_id: str = ""

    @property
    def open_line(self) -> Line | None:
        return None if self.line is None or self.line.is_gone else self.line

    def idle_since(self) -> float:
        return max(self.last_use, self.line.last_use) if self.line else self.last_use


class Sessions(HTTPEnvServer):
    """The SDK's server, with places shared among addresses.

    Args:
        args, options: as the SDK's server takes them.
        sockets: places for sessions over WebSockets.
        socket_idle_s: seconds that such a session is kept without a message.
        detached: places for sessions made over HTTP.
        detached_idle_s: seconds that these are kept without a call.
        share: the part of either that one address may hold.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *args: Any,
        sockets: int,
        socket_idle_s: float,
        detached: int,
        detached_idle_s: float,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        config = ConcurrencyConfig(max_concurrent_envs=sockets + detached, session_timeout=socket_idle_s)
        super().__init__(*args, concurrency_config=config, **options)
        self._clock = clock
        self._places = {True: sockets, False: detached}  # by whether there is a socket
        self._idle_s = {True: socket_idle_s, False: detached_idle_s}
        self._shares: dict[bool, Shares[_Session]] = {
            kind: Shares(places, share) for kind, places in self._places.items()
        }
        self._by_env: dict[Environment[Any, Any, Any], _Session] = {}
        self.on_change: Callable[[int], None] = lambda number: None  # is told how many sessions there are

    # ------------------------------------------------------------ what the SDK calls
    async def _create_session(self) -> tuple[str, Environment[Any, Any, Any]]:
        line, holder = LINE.get(), HOLDER.get()
        kind = line is not None
        shares = self._shares[kind]
        await self._make_room(kind, holder)
        session = _Session(shares, line, self._clock())
        shares.put(session, holder)
        try:
            session.session_id, env = await super()._create_session()
        except BaseException:
            shares.remove(session)
            raise
        self._by_env[env] = session
        self.on_change(len(self._by_env))
        if line:
            line.on_use = lambda: shares.put(session, holder)
        return session.session_id, env

    async def _cleanup_session_resources(self, env: Any, *rest: Any) -> None:
        """Forget a session; every way to its end leads through here."""
        session = self._by_env.pop(env, None)
        if session:
            session.shares.remove(session)
            self.on_change(len(self._by_env))
        await super()._cleanup_session_resources(env, *rest)

    def _update_session_activity(self, session_id: str, increment_step: bool = False) -> None:
        super()._update_session_activity(session_id, increment_step)
        env = self._sessions.get(session_id)
        session = self._by_env.get(env)
        if session:
            session.last_use = self._clock()
            session.line = LINE.get()  # a WebSocket may attach to a session that was made over HTTP
            if not session.line:
                session.shares.put(session, HOLDER.get())
            elif isinstance(env, ServedEnv):
                session.line.on_wait = env.end_loan

    async def _reap_idle_sessions(self) -> None:
        while True:
            await asyncio.sleep(min(_MOST_CHECKS_S, *(idle_s / 4 for idle_s in self._idle_s.values())))
            await self.end_idle()

    # ------------------------------------------------------------ ours
    @property
    def is_full(self) -> bool:
        """Whether a newcomer over a WebSocket would take the place of somebody who holds few."""
        return self._shares[True].is_full

    async def end_idle(self) -> None:
        """End the sessions that were not used for their time."""
        for session in list(self._by_env.values()):
            idle_s = self._idle_s[session.open_line is not None]
            if self._clock() - session.idle_since() > idle_s:
                await self._end(
                    session, f"Nothing came for {idle_s:g} s, so the session has ended. Connect again for a new one."
                )

    async def _make_room(self, kind: bool, holder: str) -> None:
        """End the session that has to give its place to a newcomer.

        Raises:
            SessionCapacityError: the newcomer holds most of the places itself.
        """
        shares, places = self._shares[kind], self._places[kind]
        try:
            while loser := shares.to_give_up(holder):
                await self._end(
                    loser,
                    "The server is full, and your address holds most of its places: this session, used least recently, gave its own to a newcomer.",
                )
                shares.remove(loser)
        except NoPlaceError as error:
            raise SessionCapacityError(len(shares), places, f"{error} Close one, or wait until one ends.") from None

    async def _end(self, session: _Session, sentence: str) -> None:
        if session.open_line:
            await session.open_line.end(sentence)
        if session.session_id in self._sessions:
            await self._destroy_session(session.session_id)
