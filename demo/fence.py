"""Fence Gradio in: let the page's own routes through, and nothing that reads files, fetches addresses or takes uploads.

The fence stands around the mounted application, so nothing reaches Gradio past it, whatever path the service is mounted at. What is not listed
here is refused: routes, names in a query, and clicks of another form than the page's.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from typing import Any, Protocol, TypeGuard
from urllib.parse import parse_qsl, urlencode

from starlette._utils import get_route_path
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app_runtime.admission import address_of
from app_runtime.guard import BODY, replay
from app_runtime.refusal import OUR_FAULT

PATH = "/demo"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the browser draws it: up to 13 digits and small letters
BUSY_S = 5  # after which a visitor who found the queue full may try again
MOST_STREAMS = 512  # of one address; an open page has one, and a second while it waits for an answer
MAX_NUMBER = 2**53  # beyond it a browser's numbers are not whole

JOIN, DATA, CANCEL, RESET, HEARTBEAT = (
    f"/gradio_api/{name}" for name in ("queue/join", "queue/data", "cancel", "reset", "heartbeat/")
)
ROUTES = {
    "/": "GET",
    "/config": "GET",
    "/theme.css": "GET",
    "/favicon.ico": "GET",
    "/gradio_api/info": "GET",
    "/gradio_api/startup-events": "GET",
    "/gradio_api/app_id": "GET",
    JOIN: "POST",
    DATA: "GET",
    CANCEL: "POST",
    RESET: "POST",
}
BELOW = ("/assets/", "/static/", "/svelte/", HEARTBEAT)  # read alone
QUERY = (
    "session_hash",
    "task",
    "seed",
    "baked",
    "play",
    "game",
    "attack",
    "world",
    "edit",
    "against",
    "arena",
    "round",
    "live",
    "__theme",
)  # what is passed on of a query
SENT = ("data", "fn_index", "session_hash", "trigger_id")  # what is passed on of a click
TABLE = frozenset({"headers", "data", "metadata", "display_value", "styling"})  # names in a table's value
SENTENCES = {
    422: "Expected what the page itself sends; reload the page and click again.",
    404: "There is nothing of this name in the demo; reload the page.",
    503: f"More clicks wait or more pages are open than the demo can serve; try again in {BUSY_S} seconds.",
}


class Page(Protocol):
    """What the fence asks the page."""

    def inputs(self, click: int) -> int | None:
        """Return how many values a click carries, and None where there is no such click."""

    def is_waiting(self, session: str) -> bool:
        """Tell whether answers are under way for a visitor."""

    def welcome(self, session: str, address: str) -> bool:
        """Note from which address a visitor clicks, and tell whether one more of its clicks may wait."""


class Fence:
    """ASGI application around Gradio's: the routes that the page needs, and no others; the browser is told to load nothing from elsewhere.

    Uploads, files of the disk, proxying and Gradio's public API are refused with a 404. A click may send texts, numbers, lists and tables alone:
    Gradio reads the file, or fetches the address, that any other object in it names. Clicks go through one after the other, so that a crowd's,
    each some milliseconds of work, let the event loop serve a step between two of them. Gradio's own errors are told in the service's form.
    """

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self._app = app
        self._page = page
        self._turn = asyncio.Semaphore(1)
        self._streams: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "The demo has no WebSocket."})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = get_route_path(scope)
        method = ROUTES.get(path, "GET" if path.startswith(BELOW) else None)
        if method is None or ".." in path or "\\" in path:
            await _refuse(404, f"There is no {scope['path'][:200]} here; the demo is at {PATH}/.")(scope, receive, send)
        elif scope["method"] not in (method, "HEAD" if method == "GET" else method):
            await _refuse(405, f"This takes {method}, not {scope['method']}. Send it so.", Allow=method)(
                scope, receive, send
            )
        else:
            await self._pass(path, _narrowed(scope), receive, send)

    async def _pass(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(path, scope)
        if fault:
            await _refuse(422, fault)(scope, receive, send)
        elif path == JOIN:
            await self._click(scope, receive, _guarded(scope, receive, send))
        elif path == DATA and not self._page.is_waiting(_session(path, scope)):
            await _refuse(404, "No click of this visitor waits for an answer; reload the page.")(scope, receive, send)
        elif path == DATA or path.startswith(HEARTBEAT):
            await self._stream(scope, receive, send)
        else:
            await self._app(scope, receive, _guarded(scope, receive, send))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = address_of(scope)
        if self._streams[address] >= MOST_STREAMS:
            await _problem(503)(scope, receive, send)
            return
        self._streams[address] += 1
        try:
            await self._app(scope, receive, _guarded(scope, receive, send))
        finally:
            self._streams[address] -= 1
            if not self._streams[address]:
                del self._streams[address]

    def _fault(self, path: str, scope: Scope) -> str | None:
        """Tell what is wrong with a request to one of the open routes, in a sentence."""
        if path == JOIN:
            return self._fault_of_click(scope.get(BODY))
        if path in (CANCEL, RESET):
            body = scope.get(BODY)
            return None if isinstance(body, dict) and _is_cancel(body, path == CANCEL) else SENTENCES[422]
        if (path == DATA or path.startswith(HEARTBEAT)) and not SESSION.fullmatch(_session(path, scope)):
            return "Expected a session_hash of 1 to 64 letters and digits; reload the page."
        return None

    def _fault_of_click(self, body: Any) -> str | None:
        if not isinstance(body, dict) or not isinstance(body.get("data"), list) or not _is_plain(body["data"]):
            return (
                "Expected a click with texts, numbers, lists and tables as its data; reload the page and click again."
            )
        number, session, trigger = body.get("fn_index"), body.get("session_hash"), body.get("trigger_id")
        if not isinstance(session, str) or not SESSION.fullmatch(session):
            return (
                "Expected a click with a session_hash of 1 to 64 letters and digits; reload the page and click again."
            )
        if not (trigger is None or _is_small(trigger)) or not _is_small(number):
            return (
                "Expected a click with small whole numbers as fn_index and trigger_id; reload the page and click again."
            )
        inputs = self._page.inputs(number)
        if inputs is None:
            return f"Expected the number of one of the page's clicks as fn_index, got {number}; reload the page and click again."
        if len(body["data"]) != inputs:
            return f"Expected a click with {inputs} values, got {len(body['data'])}; reload the page and click again."
        return None

    async def _click(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope[BODY]
        if not self._page.welcome(body["session_hash"], address_of(scope)):
            await _problem(503)(scope, receive, send)
            return
        raw = json.dumps({name: body[name] for name in SENT if name in body}).encode()
        async with self._turn:
            await self._app(scope, replay(raw, receive), send)


# ---------------------------------------------------------------- what a request may hold
def _is_small(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() <= TABLE and all(map(_is_plain, value.values()))
    if isinstance(value, int | float):  # 1e400 is valid JSON, and read as infinity
        return abs(value) <= MAX_NUMBER
    return not isinstance(value, list) or all(map(_is_plain, value))


def _is_cancel(body: dict[str, Any], whole: bool) -> bool:
    """Tell whether a body has the form of a cancelled event (`whole`), or names an event alone."""
    session, number = body.get("session_hash"), body.get("fn_index")
    visit = isinstance(session, str) and SESSION.fullmatch(session) is not None and _is_small(number)
    return isinstance(body.get("event_id"), str) and (visit or not whole)


def _session(path: str, scope: Scope) -> str:
    """Return the session that a stream's address names; empty where it names none."""
    if path.startswith(HEARTBEAT):
        return path.removeprefix(HEARTBEAT)
    return Request(scope).query_params.get("session_hash", "")


def _narrowed(scope: Scope) -> Scope:
    """Return the scope with those names of its query alone that the page sends, each once: of what is said twice the last counts."""
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    kept = urlencode({name: value for name, value in query if name in QUERY})
    return {**scope, "query_string": kept.encode()}


# ---------------------------------------------------------------- answers
def _refuse(status: int, sentence: str, **headers: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status, headers)


def _problem(status: int) -> JSONResponse:
    """Word an error of Gradio's in the service's form, without its text."""
    if status == 503:
        return _refuse(503, SENTENCES[503], **{"Retry-After": str(BUSY_S)})
    return _refuse(status, OUR_FAULT if status >= 500 else SENTENCES.get(status, SENTENCES[422]))


def _guarded(scope: Scope, receive: Receive, send: Send) -> Send:
    """Return a `send` that adds the headers which bind the browser to this host, and words Gradio's errors anew."""
    is_refused = False

    async def guarded(message: Message) -> None:
        nonlocal is_refused
        if is_refused:
            return
        if message["type"] == "http.response.start":
            is_refused = message["status"] >= 400
            if is_refused:
                await _problem(message["status"])(scope, receive, send)
                return
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)

    return guarded
