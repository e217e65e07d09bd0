"""Measure what a step costs while many episodes are held, and the server's memory with a full store and 2,000 sockets: python scripts/bench_held.py [--soak 200000]

1. The server's CPU time for a step whose call holds no id and no cookie, with 50 and with nearly all places taken by running episodes of the same address.
2. Resident memory, idle, with a full store, and with 2,000 WebSocket sessions beside it; `openenv.yaml` declares the most.
3. Resident memory of a server for 4,096 WebSocket sessions with a running episode each, and how many of them answered.
4. With `--soak N`: memory while N episodes are played over HTTP, and its slope over the second half.

CPU time and memory are the server process's own, so other load disturbs them little. Linux alone, loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
from typing import Any

from bench_servers import (
    HELD,
    PLANS,
    TRIAGE,
    Caller,
    by_socket,
    cpu_s,
    http_episodes_held,
    load,
    rss_mb,
    server,
    sockets_held,
)

STEPS = 2000
GROUP = 100  # more than these and the held ones fit in no store
SOCKETS = 2000
MANY_SOCKETS = 4096


async def played(caller: Caller, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a request that must succeed and return its answer."""
    answer = await caller.call("POST", path, body)
    if answer.status != 200:
        raise SystemExit(f"the server answered {answer.status} to {path}: {answer.body}")
    return answer.body


async def step_us(url: str, pid: int, first_seed: int) -> float:
    """Measure the CPU time of a step without an id, of groups of them between which the resets are not counted."""
    caller = await Caller.connect(url)
    queries = [f"?task=stage1_basic&mode=defender_only&seed={first_seed + number}" for number in range(STEPS)]
    spent = 0.0
    for start in range(0, STEPS, GROUP):
        group = queries[start : start + GROUP]
        for query in group:
            await played(caller, f"/reset{query}", {})
        before = cpu_s(pid)
        for query in group:
            await played(caller, f"/step{query}", {"submit_triage": TRIAGE})
        spent += cpu_s(pid) - before
    return spent * 1e6 / STEPS


async def report_steps(url: str, pid: int) -> None:
    """Print the cost of a step with few and with many episodes held."""
    caller = await Caller.connect(url)
    await step_us(url, pid, 10**6)  # fills what is filled once
    held = 0
    for number in (50, HELD - GROUP):
        while held < number:
            await played(caller, "/reset", {"task": "stage1_basic", "mode": "defender_only", "seed": held})
            held += 1
        print(f"A step without an id, {number:,} held: {await step_us(url, pid, 10**7 * number):,.0f} us of CPU")


async def report_memory(url: str, pid: int) -> None:
    """Print the memory with a full store, and with sockets beside it."""
    async with http_episodes_held(url, PLANS["opensoc"], HELD - 8) as answer:
        print(f"{HELD - 8:,} running HTTP episodes: {rss_mb(pid):,.0f} MiB")
        answered, memory = await sockets_held(url, pid, PLANS["opensoc"], SOCKETS)
        print(f"and {SOCKETS:,} WebSocket sessions: {memory:,.0f} MiB, {answered:,} answered")
        print(f"{await answer():,} of the HTTP episodes answered; then {rss_mb(pid):,.0f} MiB")


async def report_sockets(url: str, pid: int) -> None:
    """Print what a WebSocket session with a running episode takes."""
    await load(url, PLANS["opensoc"], by_socket, 1.0)  # fills what is filled once
    idle = rss_mb(pid)
    answered, memory = await sockets_held(url, pid, PLANS["opensoc"], MANY_SOCKETS)
    each = (memory - idle) * 1024**2 / MANY_SOCKETS / 1000
    print(
        f"{MANY_SOCKETS:,} WebSocket sessions: {answered:,} answered, {idle:,.0f} to {memory:,.0f} MiB, {each:.1f} KB each"
    )


async def report_soak(url: str, pid: int, number: int) -> None:
    """Print the memory while episodes are played over HTTP, and how much each of the second half adds."""
    memory: list[tuple[int, float]] = []
    caller = await Caller.connect(url)
    for index in range(number):
        reset = await played(caller, "/reset", PLANS["opensoc"][0])
        await played(caller, "/step", {"submit_triage": TRIAGE, "episode_id": reset["episode_id"]})
        if (index + 1) % (number // 20) == 0:
            memory.append((index + 1, rss_mb(pid)))
            print(f"{index + 1:>9,} episodes: {memory[-1][1]:,.0f} MiB", flush=True)
    slope = statistics.linear_regression(*zip(*memory[10:], strict=True)).slope
    print(f"Slope of the second half: {slope * 1024 * 1024:.0f} bytes an episode")


def main() -> None:
    """Measure and print, a server for each part."""
    parser = argparse.ArgumentParser(description="Measure the service with many episodes held.")
    parser.add_argument(
        "--soak", type=int, default=0, metavar="N", help="play N episodes over HTTP, at least 20, and watch the memory"
    )
    args = parser.parse_args()
    with server("opensoc") as (url, pid, _):
        asyncio.run(report_steps(url, pid))
    with server("opensoc") as (url, pid, _):
        print(f"Idle: {rss_mb(pid):,.0f} MiB")
        asyncio.run(report_memory(url, pid))
        if args.soak:
            asyncio.run(report_soak(url, pid, args.soak))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with server("opensoc", environ={"OPENSOC_MAX_SESSIONS": str(MANY_SOCKETS + 8)}) as (url, pid, _):
        asyncio.run(report_sockets(url, pid))


if __name__ == "__main__":
    main()
