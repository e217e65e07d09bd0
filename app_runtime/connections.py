"""Bound what one connection takes of the server: bytes and seconds for a request, seconds for the answer to a ping.

uvicorn has no such limits: a half-sent request, a message without an end and a peer that went away without a word keep
their places. `python server.py` uses these two protocols, and a command line of uvicorn may name them
(`--http app_runtime.connections:BoundedHttp`); a proxy in front may have shorter limits of its own.
"""

from __future__ import annotations

import json
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from functools import cache, partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .refusal import MAX_HEAD_BYTES, Refusal, long_head
from .settings import Settings

HandOver = Callable[[Transport, bytes], bool]
LINGER_S = 2.0  # in which a peer may read why its connection ends


@cache
def _request_s() -> float:
    """Return the seconds that the environment sets, for a server that gives none."""
    return Settings.from_env().request_timeout_s


class _Timer:
    """One deadline of a connection; starting it again while it runs does not extend it."""

    def __init__(self, call_later: Callable[..., TimerHandle], seconds: float, on_end: Callable[[], None]) -> None:
        self._call_later = call_later
        self._seconds = seconds
        self._on_end = on_end
        self._handle: TimerHandle | None = None

    def start(self) -> None:
        if self._handle is None:
            self._handle = self._call_later(self._seconds, self._end)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def drop(self) -> None:
        """Stop for good, and let go of the connection: no cycle is left for the collector."""
        self.stop()
        self._on_end = _nothing

    def _end(self) -> None:
        self._handle = None
        self._on_end()


def _nothing() -> None:
    pass


class BoundedHttp(HttpToolsProtocol):
    """HTTP that bounds the head of a request (431), the time in which it arrives (408) and in which an answer is taken.

    Args:
        request_s: seconds from the begin of a connection, or from a request's first byte, to the request's last; None is what
            the environment sets.
        hand_over: may give the connection of a new WebSocket, with the head of its request, to another process; returns whether it did.
    """

    def __init__(
        self, *args: Any, request_s: float | None = None, hand_over: HandOver | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._hand_over = hand_over
        self._request_s = request_s = request_s or _request_s()
        self._arrival = _Timer(self.loop.call_later, request_s, self._on_slow_request)
        self._reading = _Timer(self.loop.call_later, request_s, self._abort)
        self._is_arriving = True  # a connection that says nothing counts as a request that does not end
        self._head_bytes = 0  # of the request that arrives, as far as the parser told of them
        self._silent_bytes = 0  # those that came since the parser last told anything

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arrival.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrival.drop()
        self._reading.drop()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        # A WebSocket that names a session made over HTTP belongs to this process, as that session does.
        stays = b"session_id=" in self.url
        if stays or not (self._hand_over and self._hand_over(self.transport, self._head())):
            super().handle_websocket_upgrade()
        self._arrival.drop()
        self._reading.drop()
        # The parser refers to this object and would keep it as long as the collector likes.
        self.parser = None  # type: ignore[assignment]

    def _head(self) -> bytes:
        """Write the request's head again, as it came."""
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url), *(b": ".join(each) for each in self.headers)]
        return b"\r\n".join([*lines, b"", b""])

    def data_received(self, data: bytes) -> None:
        self._is_arriving = True
        self._silent_bytes += len(data)
        super().data_received(data)
        if self._silent_bytes > MAX_HEAD_BYTES:
            self.send_400_response("")
        if self._is_arriving:
            self._arrival.start()
        else:
            self._arrival.stop()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading.start()

    def resume_writing(self) -> None:
        self._reading.stop()
        super().resume_writing()

    # ------------------------------------------------------------ what the parser tells
    def on_message_begin(self) -> None:
        self._is_arriving = True
        self._head_bytes = self._silent_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)  # the colon, the space and the end of the line
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_arriving = False
        self._silent_bytes = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._silent_bytes = self._head_bytes
            raise Refusal(431, "")  # which the parser turns into its own error, and uvicorn into the call below

    # ------------------------------------------------------------ ends
    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        if self._silent_bytes > MAX_HEAD_BYTES:
            self._end(431, str(long_head()))
        else:
            self._end(
                400, "Expected a request of HTTP/1.1, got something else. Send one, as in `GET /health HTTP/1.1`."
            )

    def _on_slow_request(self) -> None:
        """End the connection, unless it is we who do not read: an earlier request is still being answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and (self.cycle.response_started or not self.cycle.more_body):
            self._arrival.start()
        elif answering or self._head_bytes or self._silent_bytes:
            self._end(
                408,
                f"Expected a whole request within {self._request_s:g} s, got a part of one. Send it faster, or a shorter one.",
            )
        else:
            self._abort()

    def _end(self, status: int, sentence: str) -> None:
        """Answer in our form of an error and close, even where the peer does not read."""
        body = json.dumps({"detail": sentence}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self.loop.call_later(LINGER_S, self._abort)

    def _abort(self) -> None:
        self.transport.abort()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that gives its place back where the peer answers no ping, or does not end the message it began.

    Args:
        request_s: seconds from a message's first frame to its last; None is what the environment sets.
    """

    def __init__(self, *args: Any, request_s: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._request_s = request_s = request_s or _request_s()
        self._message = _Timer(self.loop.call_later, request_s, self._on_slow_message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._message.drop()
        super().connection_lost(exc)

    def handle_text(self, event: Any) -> None:
        self._watch(event)
        super().handle_text(event)

    def handle_bytes(self, event: Any) -> None:
        self._watch(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        self._watch(event)
        super().handle_cont(event)

    def _watch(self, event: Any) -> None:
        if event.fin:
            self._message.stop()
        else:
            self._message.start()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_soon()

    def _on_slow_message(self) -> None:
        self.conn.fail(1008, f"a message takes at most {self._request_s:g} s from its first frame to its last")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        """Drop what the peer does not read; until then, `close` would wait for it for ever."""
        self.loop.call_later(LINGER_S, self.transport.abort)


def uvicorn_options(
    *, max_frame_bytes: int, request_s: float, ping_timeout_s: float, hand_over: HandOver | None = None
) -> dict[str, Any]:
    """Return what `uvicorn.Config` takes to serve within these bounds.

    Args:
        max_frame_bytes: the longest WebSocket message that is read; a longer one ends its connection with code 1009.
        request_s: seconds in which a request, or a message in several frames, has to arrive.
        ping_timeout_s: seconds for the answer to a ping; two thirds as many lie between two pings, so that a peer that went away
            without a word is noticed after 5/3 of them, by default 50 s.
        hand_over: see `BoundedHttp`.
    """
    return {
        "http": partial(BoundedHttp, request_s=request_s, hand_over=hand_over),
        "ws": partial(BoundedWebSocket, request_s=request_s),
        "ws_max_size": max_frame_bytes,
        "ws_ping_interval": ping_timeout_s * 2 / 3,
        "ws_ping_timeout": ping_timeout_s,
        "ws_per_message_deflate": False,  # compressing costs more than an episode
        "timeout_keep_alive": 75,  # s; a model may think long between two calls
    }
