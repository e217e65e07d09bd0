"""Bound what comes in before every route, and answer in place of a crash or a closed socket.

The SDK ends a WebSocket session on a binary frame, on JSON that is no object or nests too deep and on some that parses;
here such a frame is answered and never reaches it, so the session and its episode live on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openenv.core.env_server.mcp_types import JsonRpcErrorCode, JsonRpcResponse
from openenv.core.env_server.types import WSErrorCode
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema import shown

from .json_input import MAX_DEPTH, has_surrogate_escape, read_json
from .refusal import OUR_FAULT, Refusal, hidden

BODY = "opensoc.body"  # where a route finds its parsed body in the scope; None where the request has none
# Shorter frames cannot hold a number that Python refuses (4,300 digits), and are looked through in no time.
_SHORT_CHARS = 4000


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what is guarded.
        max_body_bytes: the longest HTTP body and WebSocket frame that is read; a frame is counted in characters.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._app(scope, self._guarded(scope, receive, send), send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # ------------------------------------------------------------ HTTP
    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            receive = await self._read(scope, receive)
            await self._app(scope, receive, noting)
        except Refusal as refusal:
            await _refused(scope, refusal)(scope, receive, send)
        except Exception as exc:
            hidden(exc)
            if not begun:
                await JSONResponse({"detail": OUR_FAULT}, 500)(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        """Read and check a body, leave it in the scope, and return a `receive` that gives it once more."""
        scope[BODY] = None
        headers = dict(scope["headers"])
        if scope["method"] in ("GET", "HEAD") or not (b"content-length" in headers or b"transfer-encoding" in headers):
            return receive
        raw = await self._whole(headers, receive)
        text = _decoded(raw)
        if text and not text.isspace():
            scope[BODY] = value = read_json(text)
            if scope["path"] == "/mcp":
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
            if not message.get("more_body"):  # a client that went away has no more either
                return b"".join(parts)

    def _too_long(self, size: int) -> Refusal:
        return Refusal(413, f"Expected at most {self._max} bytes, got {size} or more. Send a shorter one.")

    # ------------------------------------------------------------ WebSocket
    def _guarded(self, scope: Scope, receive: Receive, send: Send) -> Receive:
        """Make a `receive` that answers by itself what must not reach the SDK."""
        rpc = scope["path"] == "/mcp"

        async def guarded() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive":
                    return message
                text = message.get("text")
                if text is not None and not rpc and _is_ordinary(text):
                    return message
                try:
                    return {"type": "websocket.receive", "text": self._checked(text, rpc)}
                except Refusal as refusal:
                    reply = _rpc_error(refusal) if rpc else _ws_error(refusal)
                try:
                    await send({"type": "websocket.send", "text": json.dumps(reply)})
                except OSError:  # gone while we answered
                    return {"type": "websocket.disconnect", "code": 1006}

        return guarded

    def _checked(self, text: str | None, rpc: bool) -> str:
        """The frame as it may be passed on.

        Raises:
            Refusal: it may not.
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


def _is_ordinary(text: str) -> bool:
    """Whether a frame is surely harmless, told in under a microsecond; only the others are parsed here."""
    return (
        text[:1] == "{"
        and len(text) < _SHORT_CHARS
        and text.count("{") + text.count("[") <= MAX_DEPTH
        and not has_surrogate_escape(text)
    )


def _check_rpc(value: Any) -> None:
    """Refuse what would make the SDK's JSON-RPC handler fail; what else is wrong with a request it says itself."""
    if not isinstance(value, dict):
        raise Refusal(422, f"Expected one JSON-RPC request object, got {shown(value)}. Send requests one by one.")
    params = value.get("params")
    session_id = params.get("session_id") if isinstance(params, dict) else None
    if not isinstance(session_id, str | None):
        raise Refusal(
            422, f"Expected params.session_id to be text, got {shown(session_id)}. Send the id you were given."
        )


def _refused(scope: Scope, refusal: Refusal) -> Response:
    if scope["path"] == "/mcp" and refusal.status != 413:  # as the SDK does: JSON-RPC errors come with a 200
        return JSONResponse(_rpc_error(refusal))
    return JSONResponse({"detail": str(refusal)}, refusal.status, refusal.headers)


def _rpc_error(refusal: Refusal) -> dict[str, Any]:
    code = JsonRpcErrorCode.PARSE_ERROR if refusal.status == 400 else JsonRpcErrorCode.INVALID_REQUEST
    return JsonRpcResponse.error_response(code, str(refusal)).model_dump()


def _ws_error(refusal: Refusal) -> dict[str, Any]:
    code = WSErrorCode.INVALID_JSON if refusal.status == 400 else WSErrorCode.VALIDATION_ERROR
    return {"type": "error", "data": {"message": str(refusal), "code": code.value}}


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise Refusal(400, f"Expected JSON in UTF-8; byte {exc.start} is none. Send it as UTF-8.") from None


def replay(raw: bytes, receive: Receive) -> Receive:
    """Make a `receive` that gives a body once more, and then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": raw, "more_body": False}

    return replayed
