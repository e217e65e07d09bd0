"""Serve OpenSOC: python server.py [--host 0.0.0.0] [--port 7860]

PORT and the OPENSOC_* variables (app_runtime/settings.py) set everything else; a flag overrides a variable.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from schema import OpenSOCError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from app_runtime.connections import HandOver
    from app_runtime.settings import Settings

SWITCH_S = 0.0001  # a thread that serves a click on the demo must not hold up the event loop for the usual 5 ms
UNBOUNDED = (
    "uvicorn alone bounds neither the time in which the headers of a request arrive, nor what of them it keeps until then, "
    "nor silence on a WebSocket. "
    "Start `python server.py`, or put a proxy that does before it."
)
BACKLOG = 4096  # connections that wait to be accepted; a thousand clients may come at once


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve OpenSOC over HTTP, WebSocket and MCP.")
    parser.add_argument("--host", help="address to listen on (default: OPENSOC_HOST, or 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port to listen on (default: PORT, or 7860)")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # the channel of a process beside the first
    args = parser.parse_args(argv)

    import uvicorn

    from app_runtime.journal import set_up
    from app_runtime.memory import bound_heaps
    from app_runtime.settings import Settings
    from app_runtime.workers import Crew, FirstServer, channel, count_together, strange_variables

    bound_heaps()
    if args.worker is not None:
        return _serve_as_worker(args.worker)

    sockets: list[socket.socket] = []
    scratch = None
    try:
        settings = Settings.from_env(host=args.host, port=args.port)
        for port in [settings.port] if settings.also_port is None else [settings.port, settings.also_port]:
            sockets.append(_bind(settings.host, port))
        if settings.workers > 1:
            for end in channel():  # tried before anything is said to listen
                end.close()
            scratch = count_together() if settings.metrics else None
        app = whole_app(settings)
    except OpenSOCError as exc:
        for bound in sockets:
            bound.close()
        sys.exit(f"OpenSOC cannot start. {exc}")
    for sentence in [*Settings.unknown_variables(), *settings.doubts(), *strange_variables()]:
        print(f"Warning: {sentence}", file=sys.stderr, flush=True)
    set_up(access=settings.access_log)
    _tune()
    demo = "; the demo is at /demo" if settings.demo else ""
    shared = (
        f"; {settings.workers} processes share the WebSockets, the first has HTTP and MCP"
        if settings.workers > 1
        else ""
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = sockets[0].getsockname()[1]
    print(f"OpenSOC listens on http://{host}:{port} (Ctrl-C stops it){demo}{shared}", flush=True)
    if settings.workers == 1:
        return uvicorn.Server(_config(app, settings)).run(sockets=sockets)
    crew = Crew([sys.executable, os.path.abspath(__file__), "--worker"], settings.workers - 1)
    FirstServer(_config(app, settings, crew.hand_over), crew, scratch).run(sockets=sockets)


def _serve_as_worker(number: int) -> None:
    """Serve the WebSockets that the first process hands over."""
    from app_runtime.journal import set_up
    from app_runtime.settings import Settings
    from app_runtime.workers import WorkerServer

    settings = Settings.from_env(demo=False)
    app = whole_app(settings)
    set_up(access=settings.access_log)
    _tune()
    WorkerServer(_config(app, settings), number).run()


def _config(app: FastAPI, settings: Settings, hand_over: HandOver | None = None) -> uvicorn.Config:
    import uvicorn

    from app_runtime.connections import uvicorn_options

    return uvicorn.Config(
        app,
        log_config=None,  # ours stands
        backlog=BACKLOG,
        timeout_graceful_shutdown=5,
        **uvicorn_options(
            max_frame_bytes=4 * settings.max_body_bytes,  # a frame is bounded in characters, of 4 bytes at most
            request_s=settings.request_timeout_s,
            ping_timeout_s=settings.ping_timeout_s,
            hand_over=hand_over,
        ),
    )


def _tune() -> None:
    """Set what holds for the whole process, once all is imported."""
    _raise_file_limit()
    _calm_the_collector()
    sys.setswitchinterval(SWITCH_S)


def _bind(host: str, port: int) -> socket.socket:
    """Bind a port, on which the server listens once it can answer.

    Raises:
        OpenSOCError: the port is taken, or this machine does not have the address.
    """
    listener = None
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # `::` is every address, those of IPv4 too
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except (OSError, UnicodeError) as error:  # no label of a host's name is longer than 63 characters
        if listener:
            listener.close()
        raise OpenSOCError(
            f"Expected to listen on {host} port {port}, and got: {getattr(error, 'strerror', None) or error}. "
            "Stop what uses it, or choose another: `make serve PORT=7861`, or --host and --port."
        ) from error
    return listener


def __getattr__(name: str) -> Any:
    """Make `server:app` for a command line of uvicorn, on first access, so that importing starts nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app_runtime.journal import set_up
    from app_runtime.memory import bound_heaps
    from app_runtime.settings import Settings
    from app_runtime.workers import Unshared, processes_wanted

    bound_heaps()
    settings = Settings.from_env()
    for sentence in [UNBOUNDED, *Settings.unknown_variables(), *settings.doubts()]:
        print(f"Warning: {sentence}", file=sys.stderr, flush=True)
    set_up(access=settings.access_log)
    app = whole_app(settings)
    if (processes := processes_wanted()) > 1:
        app.add_middleware(Unshared, processes=processes)
    return app


def whole_app(settings: Settings) -> FastAPI:
    """Make the service and, unless OPENSOC_DEMO=0, the demo at /demo.

    Raises:
        OpenSOCError: the demo's files are damaged.
    """
    from app_runtime.app import create_app

    app = create_app(settings)
    if settings.demo:
        os.environ.setdefault("MPLBACKEND", "agg")  # without it, matplotlib loads pyplot in a visitor's first click
        # Gradio computes statistics of all remembered clicks twice with every click, and no page shows them
        os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
        os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
        if settings.demo == "process":
            from demo.relay import mount

            return mount(
                app,
                settings.reward_table,
                max_body_bytes=settings.max_body_bytes,
                repository=settings.repository,
            )
        import demo_app

        demo_app.mount(app, settings.reward_table, settings.repository)
    return app


def _raise_file_limit() -> None:
    """Allow as many open sockets as the system permits, as the usual 1,024 is fewer than the sessions we hold."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such module
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _calm_the_collector() -> None:
    """Begin to collect garbage, and leave the imported libraries out of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


if __name__ == "__main__":
    gc.disable()  # until all is imported: walking thousands of modules again and again takes a seventh of the start's CPU
    try:
        main()
    except KeyboardInterrupt:  # uvicorn has shut down in order, and raises the signal anew
        sys.exit(130)
