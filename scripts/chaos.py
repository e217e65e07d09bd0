#!/usr/bin/env python3
"""Make a server's life hard, and measure what its other callers notice: python scripts/chaos.py [NAME ...] [--markdown]

Each fault gets a server of its own. A peer plays episodes over HTTP, a call every 20 ms, before the fault, while it lasts and after it; the table says how many of his calls failed or took
longer than 10 s, and how long they took. `read_only` needs root and Linux's `unshare`, `no_files` needs `prlimit`; where they are missing the row says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from bench_servers import ROOT, rss_mb, server

TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd."}
EVERY_S, LONGEST_S, PHASE_S = 0.02, 10.0, 4.0
# A clock that another process turns: `time.time` and all that is made of it, as NTP or an operator would.
TURNED_CLOCK = """
import os, runpy, sys, time
real = time.time
def turned():
    try:
        with open(os.environ["TURNED"]) as file:
            return real() + float(file.read() or 0)
    except OSError:
        return real()
time.time = turned
sys.argv = sys.argv[2:]  # after the interpreter that would have run the server
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Peer:
    """Another caller: his calls by phase, in ms; None where one failed."""

    url: str
    phase: str = "before"
    calls: dict[str, list[float | None]] = field(default_factory=dict)

    async def play(self) -> None:
        """Play until cancelled, on a new connection where the old one broke."""
        async with httpx.AsyncClient(base_url=self.url, timeout=LONGEST_S, trust_env=False) as http:
            while True:
                seen = await self.call(http, "/reset", {"seed": 1})
                await self.call(
                    http, "/step", {"submit_triage": TRIAGE, "episode_id": (seen or {}).get("episode_id", "")}
                )

    async def call(self, http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Make one call and note how long it took."""
        phase, begun, reply = self.phase, time.perf_counter(), None
        with contextlib.suppress(httpx.HTTPError):
            reply = await http.post(path, json=body)
        is_right = reply is not None and reply.status_code == 200
        self.calls.setdefault(phase, []).append((time.perf_counter() - begun) * 1000 if is_right else None)
        await asyncio.sleep(EVERY_S)
        return reply.json() if reply is not None and is_right else None

    def told(self, phase: str) -> str:
        """Say how a phase went."""
        calls = self.calls.get(phase, [])
        good = [ms for ms in calls if ms is not None]
        middle = f"{statistics.median(good):.0f} / {max(good):.0f}" if good else "-"
        return f"{len(calls)}, {len(calls) - len(good)} failed, {middle}"


@dataclass(frozen=True)
class Fault:
    """One fault: what it does while it lasts, and the server it is done to."""

    name: str
    text: str
    strike: Callable[[str, int, Path], Any]  # an asynchronous context: url, process, a directory
    environ: dict[str, str] = field(default_factory=dict)
    log: str = os.devnull
    before: tuple[str, ...] = ()
    needs: str = ""  # a program


def connect(url: str) -> socket.socket:
    """Open a connection to a server."""
    at = urlsplit(url)
    return socket.create_connection((at.hostname, at.port), timeout=LONGEST_S)


@contextlib.asynccontextmanager
async def nothing(url: str, pid: int, home: Path) -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def slow_clients(url: str, pid: int, home: Path) -> AsyncIterator[None]:
    """Send halves of requests, and read nothing."""
    parts = (
        b"",
        b"POST /reset HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /reset HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
    )
    held = []
    for number in range(600):
        held.append(await asyncio.to_thread(connect, url))
        if part := parts[number % len(parts)]:
            held[-1].send(part)
    yield
    for each in held:
        each.close()


@contextlib.asynccontextmanager
async def many_connections(url: str, pid: int, home: Path) -> AsyncIterator[None]:
    """Open more connections than the server has files."""
    held = []
    for _ in range(400):
        with contextlib.suppress(OSError):
            held.append(await asyncio.to_thread(connect, url))
    yield
    for each in held:
        each.close()


@contextlib.asynccontextmanager
async def many_errors(url: str, pid: int, home: Path) -> AsyncIterator[None]:
    """Make the log run on, by calls that each write a line."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=LONGEST_S) as http:

        async def ask() -> None:
            for _ in range(400):
                with contextlib.suppress(httpx.HTTPError):
                    await http.get("/" + "x" * 200)

        await asyncio.gather(*(ask() for _ in range(4)))
    yield


@contextlib.asynccontextmanager
async def turned_clock(url: str, pid: int, home: Path) -> AsyncIterator[None]:
    """Turn the clock two hours on, and back behind where it was."""
    for hours in (2, -2):
        (home / "turned").write_text(str(hours * 3600))
        await asyncio.sleep(1)
    yield


@contextlib.asynccontextmanager
async def reconnects(url: str, pid: int, home: Path) -> AsyncIterator[None]:
    """Break off 300 WebSockets at once, and come again, three times."""
    import websockets

    async def come_and_go() -> None:
        with contextlib.suppress(OSError, websockets.WebSocketException):
            ws = await websockets.connect("ws" + url[4:] + "/ws", proxy=None, open_timeout=30)
            await ws.send('{"type": "reset", "data": {}}')
            await ws.recv()
            ws.transport.abort()

    for _ in range(3):
        await asyncio.gather(*(come_and_go() for _ in range(300)))
    yield


READ_ONLY = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs none /dev/shm && mount -o remount,ro,bind / && exec env TMPDIR=/dev/shm HOME=/dev/shm "$@"',
    "sh",
)
FAULTS = (
    Fault("nothing", "nothing, to compare with", nothing),
    Fault("slow_clients", "600 connections: mute, half headers, half bodies", slow_clients),
    Fault("no_files", "64 files for the process, 400 connections", many_connections, before=("prlimit", "--nofile=64:64"), needs="prlimit"),
    Fault("full_disk", "the log on a full disk (/dev/full), 1,600 lines", many_errors, {"OPENSOC_ACCESS_LOG": "1"}, log="/dev/full"),
    Fault("stuck_log", "the log in a pipe that nobody reads, 1,600 lines", many_errors, {"OPENSOC_ACCESS_LOG": "1"}, log="pipe"),
    Fault("read_only", "a read-only file system, with a small one for temporary files", nothing, before=READ_ONLY, needs="unshare"),
    Fault("turned_clock", "the clock two hours on, then two hours back", turned_clock, before=(sys.executable, "-c", TURNED_CLOCK)),
    Fault("reconnects", "300 WebSockets broken off and opened anew, three times", reconnects),
)  # fmt: skip


async def strike(fault: Fault, url: str, pid: int, home: Path) -> Peer:
    """Let the peer play before, during and after a fault."""
    peer = Peer(url)
    playing = asyncio.create_task(peer.play())
    await asyncio.sleep(PHASE_S)
    peer.phase = "during"
    async with fault.strike(url, pid, home):
        await asyncio.sleep(PHASE_S)
    peer.phase = "after"
    await asyncio.sleep(PHASE_S)
    playing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await playing
    return peer


def row(fault: Fault) -> tuple[str, ...]:
    """Run one fault; return its row of the table."""
    if fault.needs and not shutil.which(fault.needs):
        return (fault.name, fault.text, f"not run: {fault.needs} is missing", "", "", "")
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as stack:
        if fault.log == "pipe":
            reader, log = os.pipe()
            stack.callback(os.close, reader)
            stack.callback(os.close, log)
        else:
            log = os.open(fault.log, os.O_WRONLY)
            stack.callback(os.close, log)
        environ = {**fault.environ, "TURNED": f"{home}/turned"}
        try:
            url, pid, _ = stack.enter_context(server("opensoc", environ=environ, log=log, before=fault.before))
        except SystemExit:
            return (fault.name, fault.text, "not run: the server cannot be started so here", "", "", "")
        peer = asyncio.run(strike(fault, url, pid, Path(home)))
        return (fault.name, fault.text, *map(peer.told, ("before", "during", "after")), f"{rss_mb(pid):.0f}")


def main() -> int:
    """Strike with each fault and print the table."""
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; none are all")
    args = parser.parse_args()
    if unknown := set(args.names) - set(names):
        parser.error(f"expected names of {', '.join(names)}, got {', '.join(sorted(unknown))}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    print(
        f"{datetime.date.today().isoformat()}, commit {commit}. Of the peer's calls: how many, how many failed, ms in the middle / at most.\n"
    )
    print("| fault | | before | during | after | MiB |\n|---|---|---|---|---|---|")
    failed = False
    for fault in FAULTS:
        if not args.names or fault.name in args.names:
            cells = row(fault)
            failed |= ", 0 failed" not in cells[4]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
