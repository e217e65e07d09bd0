"""Bound what browsers do with the service: which pages may embed it, and that no other site's page makes calls to it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from .refusal import Refusal

_SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing (RFC 9110, section 9.2.1)
_CSP, _LOCATION = b"content-security-policy", b"location"
_NO_PAGE = "default-src 'none'"
# Swagger UI and ReDoc, with files of this host alone
_DOCS = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
_DOCS_AT = ("/docs", "/redoc")
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
Header = tuple[bytes, bytes]


class Browsers:
    """ASGI middleware: a content security policy for every answer, redirects without a host, and no calls from other sites.

    A page of another site may make a browser send a form, an empty POST or a text without asking ("simple requests" of the Fetch
    standard), and open WebSockets. Both are refused with a 403. JSON is not among what a page may send unasked, so it passes; clients
    that are no browsers send neither Sec-Fetch-Site nor Origin, and pass too.

    Args:
        app: the application.
        frame_ancestors: who may embed a page, in the words of the CSP directive: `'self' https://huggingface.co`.
    """

    def __init__(self, app: ASGIApp, *, frame_ancestors: str) -> None:
        self._app = app
        self._ancestors = f"; frame-ancestors {frame_ancestors}".encode()
        self._answer: list[Header] = [*_ALWAYS, (_CSP, _NO_PAGE.encode() + self._ancestors)]
        self._docs: list[Header] = [*_ALWAYS, (_CSP, _DOCS.encode() + self._ancestors)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket" and _is_of_another_site(Headers(scope=scope)):
            refusal = _refuse("a WebSocket")
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        bound = self._bound(scope, send)
        if scope["method"] not in _SAFE:
            headers = Headers(scope=scope)
            if not _is_json(headers.get("content-type", "")) and _is_of_another_site(headers):
                await _refuse(f"{scope['method']} without JSON")(scope, receive, bound)
                return
        await self._app(scope, receive, bound)

    def _bound(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that completes the headers of an answer."""

        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._completed(scope, message["headers"])}
            await send(message)

        return bound

    def _completed(self, scope: Scope, headers: Sequence[Header]) -> list[Header]:
        names = {name for name, _ in headers}
        if names.isdisjoint((_CSP, _LOCATION)):
            return [*headers, *(self._docs if get_route_path(scope) in _DOCS_AT else self._answer)]
        completed = [header for header in _ALWAYS if header[0] not in names]
        for name, value in headers:
            if name == _CSP:
                value += self._ancestors
            elif name == _LOCATION:
                value = _without_host(scope, value)
            completed.append((name, value))
        return completed


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _is_of_another_site(headers: Headers) -> bool:
    """Tell whether a browser sent this for a page of another site or host."""
    site = headers.get("sec-fetch-site")  # browsers send it over TLS and to the loopback
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    hosts = {headers.get("host"), headers.get("x-forwarded-host", "").partition(",")[0].strip()} - {""}
    return urlsplit(origin).netloc not in hosts  # that of "null" is empty


def _without_host(scope: Scope, location: bytes) -> bytes:
    """Return where a redirect leads; within this service without scheme and host, which a proxy may show as others."""
    address = urlsplit(location.decode("latin-1"))
    if address.netloc != Headers(scope=scope).get("host"):
        return location
    return address._replace(scheme="", netloc="").geturl().encode("latin-1")


def _refuse(what: str) -> JSONResponse:
    refusal = Refusal(
        403,
        f"Expected a call from a page of this service or from a program, got {what} that a browser sent for a page of "
        "another site. Send it from a program, or serve your page from this host.",
    )
    return JSONResponse({"detail": str(refusal)}, refusal.status)
