"""Watch the service: a request id for every call, a line of the access log, figures for Prometheus, and whether newcomers find room.

A line and a figure name the route and never the query, in which ids of episodes stand.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from pydantic import BaseModel
from starlette._utils import get_route_path
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .episodes import Episodes
from .journal import REQUEST_ID
from .refusal import Refusal
from .sessions import Sessions
from .shapes import problems
from .workers import COUNTED_IN

_HEADER = b"x-request-id"
_LIVE = "gauge_livesum_{}.db"  # the library's file of a live process
_LEAST = ("process_start_time_seconds", "process_max_fds")
GONE = 499  # the status in log and figures where the caller left before the answer, as nginx has it
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_PATH = 200  # characters of a path that a line repeats
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_METHODS = frozenset(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
access_log = logging.getLogger("opensoc.access")


class Figures:
    """The figures of one service, in a registry of their own: of all its processes, where they count together (`workers.count_together`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_call: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.registry.register(Processes(pids))
        own: CollectorRegistry | None = self.registry
        if COUNTED_IN in os.environ:
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
            own = None  # its files hold them
        self.requests = Counter("opensoc_requests", "Calls.", ("method", "route", "status"), registry=own)
        self.seconds = Histogram(
            "opensoc_request_seconds", "Time to answer.", ("route",), buckets=BUCKETS_S, registry=own
        )
        self.sockets = Gauge(
            "opensoc_sockets", "Open WebSockets.", ("route",), registry=own, multiprocess_mode="livesum"
        )
        self.frames = Counter("opensoc_frames", "Frames that came over WebSockets.", ("route",), registry=own)
        self.sessions = Gauge(
            "opensoc_sessions", "WebSocket and MCP sessions.", registry=own, multiprocess_mode="livesum"
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a call; its figures are looked up once, which takes longer than counting."""
        key = (method, route, status)
        pair = self._of_call.get(key)
        if pair is None:
            pair = self._of_call[key] = (self.requests.labels(*key), self.seconds.labels(route))
        pair[0].inc()
        pair[1].observe(seconds)

    def add_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a figure of the process that is asked, which is read then."""
        self.registry.register(_Reading(name, text, read))


def pids() -> list[int]:
    """Return the processes that count together and live, this one first."""
    others = Path(os.environ[COUNTED_IN]).glob(_LIVE.format("*")) if COUNTED_IN in os.environ else ()
    return [os.getpid(), *sorted({int(path.stem.rpartition("_")[2]) for path in others} - {os.getpid()})]


class Processes(Collector):
    """`process_*` of several processes, on Linux: sums, but the earliest start and the smallest bound on files. Pages that they share count in each.

    Args:
        pids: returns their ids; one that has just died adds nothing.
    """

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[Metric]] = defaultdict(list)
        for pid in self._pids():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                by_name[metric.name].append(metric)
        for name, (metric, *more) in by_name.items():
            values = [each.samples[0].value for each in (metric, *more)]
            metric.samples = [metric.samples[0]._replace(value=min(values) if name in _LEAST else sum(values))]
            yield metric


class _Reading(Collector):
    """A figure that is read when somebody asks; a gauge of the library would leave a file where several processes count together."""

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> list[Metric]:
        return [GaugeMetricFamily(self._name, self._text, self._read())]


class Watch:
    """ASGI middleware around the whole application.

    A call's `X-Request-ID` is taken over where it has at most 64 letters, digits and `._:-`, else one is made; the answer has it, and so has
    every line that is logged meanwhile.
    """

    def __init__(self, app: ASGIApp, *, figures: Figures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == _HEADER), b"").decode("latin-1")
        request_id = sent if _ID.fullmatch(sent) else secrets.token_hex(16)
        token = REQUEST_ID.set(request_id)
        try:
            await (self._http if scope["type"] == "http" else self._socket)(scope, receive, send)
        finally:
            REQUEST_ID.reset(token)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status, sent_bytes, path = time.perf_counter(), GONE, 0, get_route_path(scope)

        async def send_and_note(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, REQUEST_ID.get().encode())]
            else:
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            seconds, route = time.perf_counter() - begun, _route(scope, path)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._figures.count(method, route, status, seconds)
            _log(scope, path, method=method, status=status, ms=round(seconds * 1000, 2), bytes=sent_bytes)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, frames, code, path = time.perf_counter(), 0, 1006, get_route_path(scope)
        route = path if path in ("/ws", "/mcp") else "other"
        open_sockets, came = self._figures.sockets.labels(route), self._figures.frames.labels(route)

        async def receive_and_count() -> Message:
            nonlocal frames, code
            message = await receive()
            if message["type"] == "websocket.receive":
                frames += 1
                came.inc()
            elif message["type"] == "websocket.disconnect":
                code = message.get("code") or code
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal code
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                message["headers"] = [*message.get("headers", ()), (_HEADER, REQUEST_ID.get().encode())]
                code = message.get("status", code)
            elif message["type"] == "websocket.close":
                code = message.get("code") or 1000
            await send(message)

        open_sockets.inc()
        try:
            await self._app(scope, receive_and_count, send_and_note)
        finally:
            open_sockets.dec()
            ms = round((time.perf_counter() - begun) * 1000, 2)
            _log(scope, path, method="WS", status=code, ms=ms, frames=frames)


def _route(scope: Scope, path: str) -> str:
    """Return the pattern of the route that answered; what no route of ours answered is one name, as a caller may ask for anything.

    The path is the one that was called: an application that is mounted below another one takes its own off in the scope.
    """
    pattern = getattr(scope.get("route"), "path", None)
    if path.startswith("/demo/"):
        return "/demo"
    return "other" if pattern is None else str(pattern)


def _log(scope: Scope, path: str, **fields: object) -> None:
    if access_log.isEnabledFor(logging.INFO):
        client = scope["client"][0] if scope.get("client") else ""
        fields = {"client": client, "path": path[:MAX_PATH], **fields}
        access_log.info("A call was answered.", extra={"fields": fields})


# ---------------------------------------------------------------- routes
class Readiness(BaseModel):
    """Answer of /ready."""

    status: str


def watch_router(figures: Figures | None, episodes: Episodes, sessions: Sessions) -> APIRouter:
    """Make the routes that an operator asks: /ready and, where there are figures to tell, /metrics."""
    router = APIRouter(tags=["Health"])

    @router.get("/ready", operation_id="ready", responses={503: problems({503: "No room for newcomers."})[503]})
    async def ready() -> Readiness:
        """Tell whether a newcomer can play now; /health tells whether the process answers at all."""
        if episodes.is_full:
            raise Refusal(503, "All places for episodes are taken by running ones. Send newcomers elsewhere, or wait.")
        if sessions.is_full:
            raise Refusal(503, "All places for WebSocket sessions are taken. Send newcomers elsewhere, or wait.")
        return Readiness(status="ready")

    if figures:
        figures.add_gauge("opensoc_episodes", "HTTP episodes, running and finished.", lambda: len(episodes))
        sessions.on_change = figures.sessions.set

        @router.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
