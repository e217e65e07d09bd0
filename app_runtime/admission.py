"""Admit callers: those who know the deployment's token, where it has one, each within the rate of its address."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import math
import time
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from .refusal import Refusal

PROBES = ("/health", "/ready")  # for whoever watches the process: no token, and no rate
_UNMETERED = "/demo/"  # whose page consists of dozens of files; a click on it is a POST, and counted
_LONGEST_WAIT_S = 1.0  # between two looks whether a frame may pass


class Admission:
    """ASGI middleware around everything that costs something.

    A token is sent as `Authorization: Bearer TOKEN`, or as the password of `Basic`, for which a browser asks (RFC 6750, RFC 7617). A request
    above the rate is refused with a 429; a frame of a WebSocket waits instead, and with it whatever its client sends after it.

    Args:
        app: the application to guard.
        token: what a caller must know; empty admits everybody.
        per_minute: calls and frames of one address in a minute; None sets no bound.
    """

    def __init__(self, app: ASGIApp, *, token: str, per_minute: int | None) -> None:
        self._app = app
        self._token = token.encode()
        self._rate = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or get_route_path(scope) in PROBES:
            await self._app(scope, receive, send)
            return
        caller = address_of(scope)
        try:
            self._check_rate(scope, caller)
            self._check_token(Headers(scope=scope))
        except Refusal as refusal:
            response = JSONResponse({"detail": str(refusal)}, refusal.status, refusal.headers)
            if scope["type"] == "http":
                await response(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).send_denial_response(response)
            return
        if self._rate and scope["type"] == "websocket":
            receive = self._paced(receive, caller, self._rate)
        await self._app(scope, receive, send)

    # ------------------------------------------------------------ the rate
    def _check_rate(self, scope: Scope, caller: str) -> None:
        if scope.get("method") in ("GET", "HEAD") and get_route_path(scope).startswith(_UNMETERED):
            return
        if self._rate and not self._limiter.hit(self._rate, caller):
            raise Refusal(
                429,
                f"Expected at most {self._rate.amount} calls a minute from one address. Wait, and send it again.",
                retry_after_s=math.ceil(self._wait_s(caller, self._rate)),
            )

    def _wait_s(self, caller: str, rate: RateLimitItem) -> float:
        """Return the seconds after which the address has room again, at least a hundredth."""
        return max(0.01, self._limiter.get_window_stats(rate, caller).reset_time - time.time())

    def _paced(self, receive: Receive, caller: str, rate: RateLimitItem) -> Receive:
        """Make a `receive` that holds back frames above the rate."""

        async def receive_in_turn() -> Message:
            message = await receive()
            while message["type"] == "websocket.receive" and not self._limiter.hit(rate, caller):
                await asyncio.sleep(min(self._wait_s(caller, rate), _LONGEST_WAIT_S))
            return message

        return receive_in_turn

    # ------------------------------------------------------------ the token
    def _check_token(self, headers: Headers) -> None:
        if not self._token:
            return
        sent = headers.get("authorization", "")
        if not hmac.compare_digest(_token_in(sent), self._token):
            problem = Refusal(
                401,
                "Expected this deployment's token as the header `Authorization: Bearer TOKEN`, got "
                f"{'another' if sent else 'none'}. Ask whoever runs the server for it.",
            )
            scheme = "Basic" if "text/html" in headers.get("accept", "") else "Bearer"
            problem.headers = {"WWW-Authenticate": f'{scheme} realm="OpenSOC"'}
            raise problem


def _token_in(header: str) -> bytes:
    """Return the token of an Authorization header; empty where there is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def address_of(scope: Scope) -> str:
    """Return the address that a request counts for: an IPv6 client's network of 64 bits, as one host has all addresses in it."""
    return _counted(scope["client"][0]) if scope.get("client") else ""


@lru_cache(maxsize=4096)
def _counted(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:  # a socket of Unix, or a test
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), 64), strict=False))
