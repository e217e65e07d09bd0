"""Serve WebSockets in several processes on one port (OPENSOC_WORKERS).

The first process accepts every connection, and answers HTTP and MCP by itself: their episodes are found by ids, and so live in one process.
A WebSocket's episode needs nobody else, so its connection is handed over, as an open file, to the processes in turn, the first among them. A
process that dies takes its own sessions with it and no others, and another is started in its place.

Other servers (`uvicorn --workers`, gunicorn) start processes that know nothing of each other; there, HTTP episodes are refused with a sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead
from starlette._utils import get_route_path
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from schema import OpenSOCError

log = logging.getLogger("opensoc")
_MAX_HEAD = 2**17  # bytes of one request's head on the channel, which `connections` bounds by half of it
_AGAIN_S = 1.0  # between two starts of a process that dies at once
_LOOK_S = 0.5  # between two looks whether a process whose parent died has sessions left
_STOP_S = 10.0
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"  # the folder of prometheus-client's multiprocess mode


class Worker:
    """One process beside the first, and the channel on which connections go to it.

    Args:
        command: what runs it, but for the number of its end of the channel.
        on_end: called once it has died.
    """

    def __init__(self, command: Sequence[str], on_end: Callable[[Worker], None]) -> None:
        self._on_end = on_end
        self.is_ready = False  # to serve; a process takes seconds to start
        self._channel, theirs = channel()
        with theirs:  # a session of its own, as Ctrl-C is for the first process to pass on
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno())], pass_fds=[theirs.fileno()], start_new_session=True
            )
        asyncio.get_running_loop().add_reader(self._channel, self._hear)

    def hand_over(self, connection: int, head: bytes) -> bool:
        """Send an open connection and what was read of it; return whether the process takes it."""
        try:
            socket.send_fds(self._channel, [head], [connection])
        except OSError:  # it is dead, or takes none just now
            return False
        return True

    def terminate(self) -> None:
        """Ask the process to end as the first ends: what is under way is finished."""
        self._close()
        self.process.terminate()

    def _hear(self) -> None:
        self.is_ready = _received(self._channel) != b""
        if not self.is_ready:
            self._close()
            self.process.kill()  # what has closed its end serves nobody
            code = self.process.wait()
            if COUNTED_IN in os.environ:  # its open sockets are none any more; what else it has counted stays
                mark_process_dead(self.process.pid)  # type: ignore[no-untyped-call]
            log.warning("A worker process ended (%d), and its WebSocket sessions with it. Another is started.", code)
            self._on_end(self)

    def _close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()


class Crew:
    """The processes beside the first.

    Args:
        command: what runs one of them, but for the number of its end of the channel.
        others: how many there are; 0 leaves all connections to the first.
    """

    def __init__(self, command: Sequence[str], others: int) -> None:
        self._command = command
        self._others = others
        self._workers: list[Worker] = []
        self._turn = 0
        self._is_ending = False

    def hand_over(self, transport: asyncio.Transport, head: bytes) -> bool:
        """Give a connection to the process whose turn it is; return whether that is another than the first."""
        ready = [worker for worker in self._workers if worker.is_ready]
        self._turn = (self._turn + 1) % (len(ready) + 1)
        if not self._turn or not ready[self._turn - 1].hand_over(transport.get_extra_info("socket").fileno(), head):
            return False
        transport.abort()  # closes our number of the connection, which lives on in the other process
        return True

    def start(self) -> None:
        """Start the processes, on the running event loop."""
        for _ in range(self._others):
            self._start_one()

    async def stop(self) -> None:
        """End the processes, and wait until they have gone."""
        self._is_ending = True
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.terminate()
        await asyncio.gather(*(asyncio.to_thread(_wait, worker.process) for worker in workers))

    def _start_one(self) -> None:
        if not self._is_ending:
            self._workers.append(Worker(self._command, self._replace))

    def _replace(self, worker: Worker) -> None:
        self._workers.remove(worker)
        asyncio.get_running_loop().call_later(_AGAIN_S, self._start_one)


class FirstServer(uvicorn.Server):
    """The server of the first process, which starts and stops the others.

    Args:
        config: uvicorn's.
        crew: the others.
        scratch: a folder that is deleted at the end.
    """

    def __init__(self, config: uvicorn.Config, crew: Crew, scratch: Path | None = None) -> None:
        super().__init__(config)
        self._crew = crew
        self._scratch = scratch

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._crew.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.gather(super().shutdown(sockets), self._crew.stop())
        if self._scratch:  # here, as uvicorn ends by the signal that came, and nothing runs after it
            shutil.rmtree(self._scratch, ignore_errors=True)


class WorkerServer(uvicorn.Server):
    """The server of another process: it listens nowhere, and serves the connections that come over its channel.

    Where the first process has died it plays its sessions to their end, and then ends too.

    Args:
        config: as for the first.
        number: the open file that is this end of the channel.
    """

    def __init__(self, config: uvicorn.Config, number: int) -> None:
        super().__init__(config)
        self._channel = socket.socket(fileno=number)
        self._channel.setblocking(False)
        self._adopting: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        asyncio.get_running_loop().add_reader(self._channel, self._take)
        self._channel.send(b"r")

    def _take(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            head, numbers, _, _ = socket.recv_fds(self._channel, _MAX_HEAD, 1)
        except BlockingIOError:
            return
        if numbers:
            task = loop.create_task(self._adopt(socket.socket(fileno=numbers[0]), head))
        else:
            loop.remove_reader(self._channel)
            task = loop.create_task(self._play_out())
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, connection: socket.socket, head: bytes) -> None:
        """Serve a connection as if it had been accepted here, and its request had just come."""
        connection.setblocking(False)
        try:
            _, protocol = await asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, connection)
        except OSError:  # the client has gone in the meantime
            connection.close()
            return
        protocol.data_received(head)

    def _make_protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def _play_out(self) -> None:
        while self.server_state.connections and not self.should_exit:
            await asyncio.sleep(_LOOK_S)
        self.should_exit = True


class Unshared:
    """ASGI middleware of one of several processes that know nothing of each other: it refuses what one of them alone would find again.

    Args:
        app: the application.
        processes: how many there are.
    """

    PATHS = ("/reset", "/step", "/state", "/grade", "/mcp")

    def __init__(self, app: ASGIApp, *, processes: int) -> None:
        self._app = app
        self._sentence = (
            f"Expected one process, and this server was started with {processes} that share no episodes: a step would seldom meet its own. Play over "
            f"the WebSocket at /ws, or start `python server.py` with OPENSOC_WORKERS={processes}, which keeps HTTP episodes in one process."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and get_route_path(scope) in self.PATHS:
            app = JSONResponse({"detail": self._sentence}, 503)
        await app(scope, receive, send)


def count_together() -> Path:
    """Let the processes of a service count in files of one folder, so that `/metrics` tells of all (prometheus-client's multiprocess mode).

    Returns:
        the folder, which is of no use once the service has ended.

    Raises:
        OpenSOCError: there is no place for temporary files.
    """
    try:
        folder = tempfile.mkdtemp(prefix="opensoc-figures-")
    except OSError as error:
        raise OpenSOCError(
            f"Expected a place for temporary files, in which several processes count together, and got: {error.strerror}. "
            "Set TMPDIR, or OPENSOC_METRICS=0, or leave OPENSOC_WORKERS at 1."
        ) from error
    os.environ[COUNTED_IN] = folder
    # It was chosen when the library was imported.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    return Path(folder)


def processes_wanted(argv: Sequence[str] = sys.argv, environ: Mapping[str, str] = os.environ) -> int:
    """Tell how many processes uvicorn or gunicorn was told to start: by --workers, -w or WEB_CONCURRENCY."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-w", "--workers", default=environ.get("WEB_CONCURRENCY", "1"))
    wanted = str(parser.parse_known_args(list(argv[1:]))[0].workers)
    return int(wanted) if wanted.isdecimal() else 1


def strange_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Say which variables that mean something to other servers set nothing here."""
    given = environ.get("WEB_CONCURRENCY", "")
    if given in ("", "1") or environ.get("OPENSOC_WORKERS"):
        return []
    return [f"WEB_CONCURRENCY={given!r} sets nothing here: OPENSOC_WORKERS says how many processes serve."]


def channel() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a channel that keeps messages apart and tells of the other side's end.

    Raises:
        OpenSOCError: the system has none.
    """
    try:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except (AttributeError, OSError) as error:
        raise OpenSOCError("Expected Linux for OPENSOC_WORKERS above 1, got another system. Leave it at 1.") from error
    for end in ends:
        end.setblocking(False)
    return ends


def _received(channel: socket.socket) -> bytes:
    """Read what a process said: a byte once it is ready, and nothing after its end."""
    try:
        return channel.recv(1)
    except OSError:
        return b""


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
