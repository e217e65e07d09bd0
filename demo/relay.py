"""Run the demo in a process of its own, and relay its requests there: fifty visitors then leave `/step` where it was.

The process listens on a socket of the file system that its owner alone can open. It has the fence, so the relay passes on what comes; it
ends with this process, however this one ends, and is started anew where it ended by itself.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import quote

import httpx
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from demo.entrance import add_entrance
from demo.fence import PATH
from rubric import TableName

log = logging.getLogger("opensoc")
ROOT = Path(__file__).resolve().parent.parent
ROOT_PATH = "x-opensoc-root-path"  # the header that tells the process at which path the service stands
AGAIN_S = 10.0  # at least between two starts of the process
STOP_S = 2.0  # that the process has to end
# Of one connection, not of the message (RFC 9110, section 7.6.1); and those that the relay writes itself.
_HOP = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-connection",
    "content-length",
}
_OURS = {"x-forwarded-for", "x-forwarded-proto", ROOT_PATH, "expect"}
_ABSENT = "The demo is starting; reload the page in {seconds:.0f} seconds. Episodes are played meanwhile."


class Relay:
    """ASGI application that passes requests on to the demo's process.

    Args:
        table: the reward table that answers are scored by.
        max_body_bytes: the longest body that is read.
        repository: the address that the page's links lead to; empty for the server's own files.
    """

    def __init__(self, table: TableName, *, max_body_bytes: int, repository: str = "") -> None:
        self._options = ("--table", table, "--max-body-bytes", str(max_body_bytes), "--repository", repository)
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -AGAIN_S

    # ------------------------------------------------------------ the process
    async def start(self) -> None:
        """Start the process, unless it runs or was started a moment ago."""
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() - self._started < AGAIN_S:
            return
        if self._process is not None:
            log.error("the demo's process ended with %s and is started anew", self._process.returncode)
        self._started = time.monotonic()
        if self._home is None:
            self._home = tempfile.TemporaryDirectory(prefix="opensoc-demo-")  # of mode 0700
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)
            self._transport = httpx.AsyncHTTPTransport(uds=self._socket, limits=limits)
        # It ends when its input does: where this process is killed, nobody else would end it.
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, cwd=ROOT)

    @property
    def _socket(self) -> str:
        assert self._home is not None
        return str(Path(self._home.name, "socket"))

    @property
    def _command(self) -> list[str]:
        return [sys.executable, str(ROOT / "demo_app.py"), "--socket", self._socket, *self._options]

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.to_thread(self._process.wait, STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._transport is not None and self._home is not None:
            await self._transport.aclose()
            self._home.cleanup()

    # ------------------------------------------------------------ requests
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "The demo has no WebSocket."})
            return
        try:
            response = await self._asked(scope, await _body(receive))
        except httpx.TransportError:
            await self.start()
            sentence, headers = _ABSENT.format(seconds=AGAIN_S), {"Retry-After": f"{AGAIN_S:.0f}"}
            response = JSONResponse({"detail": sentence}, 503, headers)
        await response(scope, receive, send)

    async def _asked(self, scope: Scope, body: bytes) -> Response:
        """Return what the process answers, as it comes."""
        if self._transport is None:
            raise httpx.ConnectError("the demo's process was not started yet")
        url = httpx.URL(scheme="http", host="demo", raw_path=_target(scope))
        request = httpx.Request(scope["method"], url, headers=_passed_on(scope), content=body)
        answer = await self._transport.handle_async_request(request)
        response = StreamingResponse(_parts(answer), answer.status_code)
        response.raw_headers = [
            (name, value) for name, value in answer.headers.raw if name.decode("latin-1").lower() not in _HOP
        ]
        return response


def _target(scope: Scope) -> bytes:
    query = scope.get("query_string", b"")
    return quote(PATH + get_route_path(scope)).encode() + (b"?" + query if query else b"")


def _passed_on(scope: Scope) -> list[tuple[str, str]]:
    """Return the request's headers, and what the process cannot know: who asks, how, and below which path."""
    headers: Iterable[tuple[str, str]] = Headers(scope=scope).items()
    address = scope["client"][0] if scope.get("client") else ""
    return [
        *((name, value) for name, value in headers if name not in _HOP | _OURS),
        ("x-forwarded-for", address),
        ("x-forwarded-proto", scope.get("scheme", "http")),
        (ROOT_PATH, scope.get("root_path", "").removesuffix(PATH)),
    ]


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _parts(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    except httpx.TransportError:
        pass  # the process ended under its answer; the caller sees that it breaks off
    finally:
        await answer.aclose()


def mount(app: FastAPI, table: TableName, *, max_body_bytes: int, repository: str = "") -> FastAPI:
    """Put the demo of another process under /demo of an application, and lead `GET /` there."""
    add_entrance(app)
    relay = Relay(table, max_body_bytes=max_body_bytes, repository=repository)
    app.mount(PATH, relay)
    app.router.on_startup.append(relay.start)
    app.router.on_shutdown.append(relay.stop)
    return app
