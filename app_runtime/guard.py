"""Bound every request before it reaches a route, and answer it instead of crashing or closing the socket.

The SDK ends a WebSocket session on a binary frame, on JSON that is no object or nests too deep, and on some valid JSON;
the guard answers such a frame itself, so the session and its episode live on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from openenv.core.env_server.mcp_types import JsonRpcErrorCode, JsonRpcResponse
from openenv.core.env_server.types import WSErrorCode
from starlette._utils import get_route_path
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from schema import shown

from .admission import address_of
from .json_input import MAX_DEPTH, has_surrogate_escape, read_json
from .quota import HOLDER
from .refusal import MAX_HEAD_BYTES, OUR_FAULT, Refusal, long_head, safe_error
from .sessions import LINE, Line

BODY = "opensoc.body"  # the key of the body in the scope: parsed, a text for the paths below, None if the request has no body
EPISODE_PATHS = ("/step", "/grade")  # whose bodies are parsed once it is known that there is such an episode
TEXT_PATHS = ("/triage",)  # whose bodies are text that the route reads itself
# Shorter frames cannot hold a number that Python refuses (4,300 digits), and are quick to check.
_SHORT_CHARS = 4000


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: the application to guard.
        max_body_bytes: the longest HTTP body and WebSocket frame that is read; a frame is counted in characters.
        request_s: seconds in which a body has to arrive; None where somebody else sees to it.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, request_s: float | None = None) -> None:
        self._app = app
        self._max = max_body_bytes
        self._request_s = request_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if _head_bytes(scope) > MAX_HEAD_BYTES:
                await _turn_down(_refuse(scope, long_head()), scope, receive, send)
                return
            HOLDER.set(address_of(scope))
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # ------------------------------------------------------------ HTTP
    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = False

        async def note_and_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            receive = await self._read(scope, receive)
            await self._app(scope, receive, note_and_send)
        except Refusal as refusal:
            await _refuse(scope, refusal)(scope, receive, send)
        except Exception as exc:
            safe_error(exc)
            if not answering:
                await JSONResponse({"detail": OUR_FAULT}, 500)(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        """Read and check a body, store it in the scope, and return a `receive` that replays it."""
        scope[BODY] = None
        headers = dict(scope["headers"])
        if scope["method"] in ("GET", "HEAD") or not (b"content-length" in headers or b"transfer-encoding" in headers):
            return receive
        try:
            async with asyncio.timeout(self._request_s):
                raw = await self._whole(headers, receive)
        except TimeoutError:
            raise Refusal(
                408,
                f"Expected a whole body within {self._request_s:g} s, got a part of one. Send it faster, or a shorter one.",
            ) from None
        text = _decode(raw)
        if get_route_path(scope) in TEXT_PATHS + EPISODE_PATHS:
            scope[BODY] = text
        elif text and not text.isspace():
            scope[BODY] = value = read_json(text)
            if get_route_path(scope) == "/mcp":
                _check_rpc(value)
            if has_surrogate_escape(text):
                raw = json.dumps(value).encode()
        return replay(raw, receive)

    async def _whole(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max:
            raise self._too_long(int(declared))
        parts, size = [], 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._max:
                raise self._too_long(size)
            parts.append(part)
            if message["type"] == "http.disconnect":
                raise Refusal(408, "Expected the rest of the body, and the connection ended. Send it again.")
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_long(self, size: int) -> Refusal:
        return Refusal(413, f"Expected at most {self._max} bytes, got {size} or more. Send a shorter one.")

    # ------------------------------------------------------------ WebSocket
    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = Line(rpc=get_route_path(scope) == "/mcp")
        LINE.set(line)
        try:
            await self._app(scope, self._guard(scope, line.receive(receive, send), send), send)
        except (OSError, WebSocketDisconnect, WebSocketDisconnected):
            pass  # the client went away under a reply, which is no fault of anybody
        except Exception as exc:
            safe_error(exc)
            with contextlib.suppress(OSError, RuntimeError):  # it may be closed already
                await send({"type": "websocket.close", "code": 1011, "reason": ""})
        finally:
            line.leave()

    def _guard(self, scope: Scope, receive: Receive, send: Send) -> Receive:
        """Make a `receive` that answers frames itself if they must not reach the SDK."""
        rpc = get_route_path(scope) == "/mcp"

        async def receive_checked() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive":
                    return message
                text = message.get("text")
                if text is not None and not rpc and _is_ordinary(text):
                    return message
                try:
                    return {"type": "websocket.receive", "text": self._check(text, rpc)}
                except Refusal as refusal:
                    reply = _rpc_error(refusal) if rpc else _ws_error(refusal)
                try:
                    await send({"type": "websocket.send", "text": json.dumps(reply)})
                except OSError:  # gone while we answered
                    return {"type": "websocket.disconnect", "code": 1006}

        return receive_checked

    def _check(self, text: str | None, rpc: bool) -> str:
        """Check a frame, and return it in the form that the SDK can take.

        Raises:
            Refusal: the SDK cannot take the frame.
        """
        if text is None:
            raise Refusal(422, "Expected a text frame with a JSON object, got a binary one. Send text.")
        if len(text) > self._max:
            raise self._too_long(len(text))
        value = read_json(text, finite=False)  # a NaN is for the environment to score
        if rpc:
            _check_rpc(value)
        elif not isinstance(value, dict):
            raise Refusal(
                422, f'Expected a JSON object such as {{"type": "reset"}}, got {shown(value)}. Send an object.'
            )
        return json.dumps(value) if has_surrogate_escape(text) else text


def _head_bytes(scope: Scope) -> int:
    """Count a request's line and headers as `python server.py` counts them while they come; other servers do not."""
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    return size + sum([len(name) + len(value) + 4 for name, value in scope.get("headers", ())])


async def _turn_down(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await response(scope, receive, send)
    else:
        await WebSocket(scope, receive, send).send_denial_response(response)


def _is_ordinary(text: str) -> bool:
    """Tell in under a microsecond whether a frame is surely harmless; only the others are parsed here."""
    return (
        text[:1] == "{"
        and len(text) < _SHORT_CHARS
        and text.count("{") + text.count("[") <= MAX_DEPTH
        and not has_surrogate_escape(text)
    )


def _check_rpc(value: Any) -> None:
    """Refuse a request that would make the SDK's JSON-RPC handler fail; the SDK itself reports all other errors."""
    if not isinstance(value, dict):
        raise Refusal(422, f"Expected one JSON-RPC request object, got {shown(value)}. Send requests one by one.")
    params = value.get("params")
    session_id = params.get("session_id") if isinstance(params, dict) else None
    if not isinstance(session_id, str | None):
        raise Refusal(
            422, f"Expected params.session_id to be text, got {shown(session_id)}. Send the id you were given."
        )


def _refuse(scope: Scope, refusal: Refusal) -> Response:
    if get_route_path(scope) == "/mcp" and refusal.status not in (
        413,
        431,
    ):  # as the SDK does: JSON-RPC errors come with a 200
        return JSONResponse(_rpc_error(refusal))
    return JSONResponse({"detail": str(refusal)}, refusal.status, refusal.headers)


def _rpc_error(refusal: Refusal) -> dict[str, Any]:
    code = JsonRpcErrorCode.PARSE_ERROR if refusal.status == 400 else JsonRpcErrorCode.INVALID_REQUEST
    return JsonRpcResponse.error_response(code, str(refusal)).model_dump()


def _ws_error(refusal: Refusal) -> dict[str, Any]:
    code = WSErrorCode.INVALID_JSON if refusal.status == 400 else WSErrorCode.VALIDATION_ERROR
    return {"type": "error", "data": {"message": str(refusal), "code": code.value}}


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise Refusal(400, f"Expected JSON in UTF-8; byte {exc.start} is none. Send it as UTF-8.") from None


def replay(raw: bytes, receive: Receive) -> Receive:
    """Make a `receive` that returns a body once more, and then the messages after it."""
    is_replayed = False

    async def receive_again() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": raw, "more_body": False}

    return receive_again
