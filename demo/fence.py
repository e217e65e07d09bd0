"""Fence Gradio in: let the page's own routes through, and nothing that reads files, fetches addresses or takes uploads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app_runtime.guard import BODY, replay

PATH = "/demo"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'none'"
)


class Fence:
    """ASGI middleware before Gradio: the routes that the page needs, and no others; the browser is told to load nothing from elsewhere.

    Uploads, files of the disk, proxying and Gradio's public API are refused with a 404. A click may send texts, numbers, lists and tables alone:
    Gradio reads the file, or fetches the address, that any other object in it names. Clicks go through one after the other, so that a crowd's,
    each some milliseconds of work, let the event loop serve a step between two of them.
    """

    CLICK = "/gradio_api/queue/join"
    OPEN = (
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/gradio_api/info",
        "/gradio_api/startup-events",
        CLICK,
        "/gradio_api/queue/data",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/app_id",
    )
    SENT = ("data", "fn_index", "session_hash", "event_data", "trigger_id")  # what is passed on of a click
    TABLE = frozenset({"headers", "data", "metadata", "display_value", "styling"})  # names in a table's value
    BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return
        path = scope["path"][len(PATH) :]
        if path == "":
            await RedirectResponse(_with_slash(scope))(scope, receive, send)
        elif not self._is_open(path):
            sentence = f"There is no {scope['path'][:200]} here; the demo is at {PATH}/."
            await JSONResponse({"detail": sentence}, 404)(scope, receive, send)
        else:
            await (self._click if path == self.CLICK else self._app)(scope, receive, _with_policy(send))

    def _is_open(self, path: str) -> bool:
        return path.startswith("/") and (path in self.OPEN or path.startswith(self.BELOW)) and ".." not in path

    async def _click(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if not isinstance(body, dict) or not self._plain(body.get("data")):
            sentence = (
                "Expected a click with texts, numbers, lists and tables as its data; reload the page and click again."
            )
            await JSONResponse({"detail": sentence}, 422)(scope, receive, send)
            return
        raw = json.dumps({name: body[name] for name in self.SENT if name in body}).encode()
        async with self._turn:
            await self._app(scope, replay(raw, receive), send)

    def _plain(self, value: Any) -> bool:
        if isinstance(value, dict):
            return value.keys() <= self.TABLE and all(map(self._plain, value.values()))
        return not isinstance(value, list) or all(map(self._plain, value))


def _with_slash(scope: Scope) -> str:
    """Return the address of the page itself, with the query that came."""
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope.get('root_path', '')}{PATH}/" + (f"?{query}" if query else "")


def _with_policy(send: Send) -> Send:
    """Return a `send` that adds the headers which bind the browser to this host."""

    async def with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            headers += [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
            message = {**message, "headers": headers}
        await send(message)

    return with_policy
