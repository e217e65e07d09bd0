#!/usr/bin/env python3
"""Play for long on one server, and measure whether its memory grows: python scripts/soak.py [--episodes 200000]

Episodes over HTTP, over WebSockets, and with MCP's tools over both take turns, each with a new session every 20 episodes. The resident memory is read 60 times; the slope is
a straight line through what was read after the first third, when the store of finished episodes is full. It exits with 1 where an episode failed, the log holds an error,
files stay open, or the memory grows by more than --bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import websockets
from bench_servers import ROOT, cpu_s, rss_mb, server

TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd, and nothing explains it."}
PER_SESSION = 20  # episodes
READINGS = 60


class Soak:
    """A number of clients who share the episodes that are left to play.

    Args:
        url: the server's.
        pid: its process.
        episodes: so many are played.
    """

    def __init__(self, url: str, pid: int, episodes: int) -> None:
        self.url, self.pid, self.left, self.total = url, pid, episodes, episodes
        self.failed: Counter[str] = Counter()
        self.memory: list[tuple[int, float]] = []  # episodes played, MiB

    def take(self) -> int | None:
        """Take the next episode; None where all are taken."""
        if self.left <= 0:
            return None
        self.left -= 1
        played = self.total - self.left
        if played % max(1, self.total // READINGS) == 0:
            self.memory.append((played, rss_mb(self.pid)))
        return played

    async def client(self, kind: str, http: httpx.AsyncClient) -> None:
        """Play until nothing is left."""
        while (seed := self.take()) is not None:
            try:
                await getattr(self, kind)(http, seed)
            except (OSError, httpx.HTTPError, websockets.WebSocketException, KeyError, ValueError) as error:
                self.failed[f"{kind}: {type(error).__name__}"] += 1

    async def over_http(self, http: httpx.AsyncClient, seed: int) -> None:
        for number in range(PER_SESSION):
            if number and self.take() is None:
                return
            episode_id = (await http.post("/reset", json={"seed": seed + number})).json()["episode_id"]
            done = await http.post("/step", json={"submit_triage": TRIAGE, "episode_id": episode_id})
            self.count("over_http", done.json()["done"])

    async def over_socket(self, http: httpx.AsyncClient, seed: int) -> None:
        async with websockets.connect("ws" + self.url[4:] + "/ws", compression=None, proxy=None) as ws:
            for number in range(PER_SESSION):
                if number and self.take() is None:
                    return
                for message in (
                    {"type": "reset", "data": {"seed": seed + number}},
                    {"type": "step", "data": {"submit_triage": TRIAGE}},
                ):
                    await ws.send(json.dumps(message))
                    reply = json.loads(await ws.recv())
                self.count("over_socket", reply["data"]["done"])

    async def with_tools(self, http: httpx.AsyncClient, seed: int) -> None:
        episode_id = (await http.post("/reset", json={"seed": seed})).json()["episode_id"]
        call = {"name": "submit_triage", "arguments": {**TRIAGE, "episode_id": episode_id}}
        reply = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
        self.count("with_tools", "error" not in reply.json())

    async def with_sessions(self, http: httpx.AsyncClient, seed: int) -> None:
        def rpc(method: str, **params: Any) -> dict[str, Any]:
            return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}

        made = (await http.post("/mcp", json=rpc("openenv/session/create"))).json()
        session = made["result"]["session_id"]
        called = await http.post(
            "/mcp", json=rpc("tools/call", session_id=session, name="craft_incident", arguments={})
        )
        self.count("with_sessions", "error" not in called.json())
        await http.post("/mcp", json=rpc("openenv/session/close", session_id=session))

    def count(self, kind: str, is_right: bool) -> None:
        """Count an episode that did not end as it should."""
        if not is_right:
            self.failed[f"{kind}: not done"] += 1

    def slope(self) -> float:
        """Return the growth after the first third, in KiB an episode."""
        late = [(played, mib * 1024) for played, mib in self.memory if played > self.total / 3]
        return statistics.linear_regression(*zip(*late, strict=True)).slope


async def soak(url: str, pid: int, episodes: int, clients: int) -> Soak:
    """Play them all."""
    work = Soak(url, pid, episodes)
    kinds = ("over_http", "over_socket", "with_tools", "with_sessions")
    async with httpx.AsyncClient(
        base_url=url, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=clients)
    ) as http:
        await asyncio.gather(*(work.client(kinds[number % 4], http) for number in range(clients)))
        await asyncio.sleep(1)
    return work


def open_files(pid: int) -> int:
    """Count the files that a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def log_errors(path: Path) -> list[str]:
    """Return the lines of a server's log that tell of an error."""
    return [
        line
        for line in path.read_text("utf-8", "replace").splitlines()
        if "Traceback" in line or '"level": "ERROR"' in line
    ]


def main() -> int:
    """Soak a server and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--episodes", type=int, default=200_000, help="episodes of all kinds together (default: %(default)s)"
    )
    parser.add_argument("--clients", type=int, default=16, help="default: %(default)s")
    parser.add_argument(
        "--places", type=int, default=4096, help="OPENSOC_MAX_EPISODES of the server (default: %(default)s)"
    )
    parser.add_argument(
        "--bound", type=float, default=0.2, help="KiB an episode that the memory may grow (default: %(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        log = Path(home, "log")
        environ = {"OPENSOC_MAX_EPISODES": str(args.places), "PYTHONPATH": str(ROOT)}
        with log.open("wb") as stream, server("opensoc", environ=environ, log=stream) as (url, pid, _):
            before = open_files(pid)
            work = asyncio.run(soak(url, pid, args.episodes, args.clients))
            spent, left = cpu_s(pid), open_files(pid) - before
        errors = log_errors(log)
    print(
        f"{work.total} episodes, {sum(work.failed.values())} failed {dict(work.failed)}, {len(errors)} errors in the log, {left} files left open, {spent:.0f} s of CPU"
    )
    print(
        "MiB by thousand episodes: "
        + ", ".join(f"{played / 1000:.0f}: {mib:.0f}" for played, mib in work.memory[:: max(1, READINGS // 12)])
    )
    print(f"slope after the first third: {work.slope():.3f} KiB an episode (bound {args.bound:g})")
    return 1 if work.failed or errors or left > 8 or work.slope() > args.bound else 0


if __name__ == "__main__":
    sys.exit(main())
