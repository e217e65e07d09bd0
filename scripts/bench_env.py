"""Measure OpenSOC beside the SDK's minimal environment for whoever changes its speed, in one run: python scripts/bench_env.py [--quick] [--against CHECKOUT]

1. In process, one core plays episodes of each task (generate, render, verify, reward) and of the SDK's echo environment: episodes a second.
2. Over WebSocket, 8 sessions play on one worker of OpenSOC and of the SDK's minimal synchronous echo environment, in turn: the server's CPU time
   for an episode (reset and step).
3. A client holds 1,000 WebSocket sessions at once: memory, and whether every session still answers.
4. Both servers start in turn: the seconds until the first 200 of /health.

With `--against CHECKOUT` this working tree and another one play the first two parts in turn, and nothing else is measured: the ratios of
the medians say whether a change costs speed.

CPU time is the server process's own (user and system), so other load on the machine disturbs it little; read the ratios. The command reads /proc, so it
runs on Linux alone, and it talks to loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TASKS = ("stage1_basic", "stage2_multi", "stage3_mixed", "stage4_adversarial")
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "a benchmark's answer"}
HEALTH_TIMEOUT_S = 60
Plan = tuple[dict[str, Any], dict[str, Any]]  # data of the reset and of the step
OURS: Plan = ({}, {"submit_triage": TRIAGE})
ECHO: Plan = ({}, {"message": "hello"})

ECHO_SERVER = """
import sys, uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_app

class EchoAction(Action):
    message: str = ""

class EchoObservation(Observation):
    echoed: str = ""

class Echo(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._state = State(episode_id="echo")

    def reset(self, seed=None, episode_id=None, **options):
        self._state = State(episode_id=episode_id or "echo")
        return EchoObservation(echoed="ready", reward=0.0)

    def step(self, action, timeout_s=None, **options):
        self._state.step_count += 1
        return EchoObservation(echoed=action.message, reward=1.0, done=True)

    @property
    def state(self):
        return self._state

if __name__ == "__main__":
    app = create_app(Echo, EchoAction, EchoObservation, env_name="echo", max_concurrent_envs=100_000)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False, backlog=4096, ws_per_message_deflate=False)
"""


# The first pass over the incidents fills what is filled once in a process's life; the least of the others counts (the machine is shared).
EPISODES = """
import json, sys, time
from env import OpenSOCEnv

task, seconds, action = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
env, seeds, passes = OpenSOCEnv(), range(10_000, 10_400), []
end = time.process_time() + seconds
while len(passes) < 2 or time.process_time() < end:
    start = time.process_time()
    for seed in seeds:
        env.reset(seed=seed, task=task)
        env.step(action)
    passes.append(time.process_time() - start)
print(min(passes[1:]) * 1e6 / len(seeds))
"""


# ---------------------------------------------------------------- in process
def episode_us(task: str, seconds: float, checkout: Path = ROOT) -> float:
    """Measure the CPU time of a whole episode in a process of its own, in microseconds."""
    command = [sys.executable, "-c", EPISODES, task, str(seconds), json.dumps(OURS[1])]
    return float(subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout)


def echo_per_second(seconds: float) -> float:
    """Count the same of the SDK's echo environment: what the base classes cost."""
    space: dict[str, Any] = {"__name__": "echo"}
    exec(compile(ECHO_SERVER, "echo", "exec"), space)
    env, action = space["Echo"](), space["EchoAction"](message="hello")
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds / 5:
        env.reset()
        env.step(action)
        done += 1
    return done / spent


# ---------------------------------------------------------------- servers
def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(kind: str, checkout: Path = ROOT) -> Iterator[tuple[str, int, float]]:
    """Run a server of a kind; yield its URL, its process id and the seconds until it was healthy."""
    port = free_port()
    command = (
        [sys.executable, "server.py", "--host", "127.0.0.1", "--port", str(port)]
        if kind == "opensoc"
        else [sys.executable, "-c", ECHO_SERVER, str(port)]
    )
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
                if reply.status == 200:
                    break
            if process.poll() is not None or time.perf_counter() - started > HEALTH_TIMEOUT_S:
                raise SystemExit(f"the {kind} server did not come up; run `{' '.join(command[:4])}` to see why")
            time.sleep(0.01)
        yield url, process.pid, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def cpu_s(pid: int) -> float:
    """Read the user and system seconds of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Read the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def message(kind: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "data": data})


async def play(socket_: Any, plan: Plan) -> None:
    """One episode on an open socket."""
    for kind, data in zip(("reset", "step"), plan, strict=True):
        await socket_.send(message(kind, data))
        reply = await socket_.recv()
        if reply.startswith('{"type":"error"'):
            raise SystemExit(f"the server answered {reply[:300]}")


async def load(url: str, plan: Plan, *, sessions: int, seconds: float) -> int:
    """Play on some sessions for a while; returns how many episodes were played."""
    import websockets

    played = 0

    async def session() -> None:
        nonlocal played
        async with websockets.connect(url.replace("http", "ws", 1) + "/ws", compression=None, max_size=None) as socket_:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                await play(socket_, plan)
                played += 1

    await asyncio.gather(*(session() for _ in range(sessions)))
    return played


def cpu_per_episode_us(kind: str, plan: Plan, seconds: float, checkout: Path = ROOT) -> float:
    """Measure the server's CPU time for an episode in microseconds, after a second of warm-up."""
    with server(kind, checkout) as (url, pid, _):
        asyncio.run(load(url, plan, sessions=8, seconds=1.0))
        before = cpu_s(pid)
        played = asyncio.run(load(url, plan, sessions=8, seconds=seconds))
        return (cpu_s(pid) - before) * 1e6 / played


async def hold(url: str, pid: int, plan: Plan, sessions: int) -> tuple[int, float]:
    """Open sessions, reset each, keep all; then step on each. Returns how many answered, and the server's memory meanwhile."""
    import websockets

    gate = asyncio.Semaphore(64)
    sockets: list[Any] = []

    async def begin() -> None:
        async with gate:
            socket_ = await websockets.connect(
                url.replace("http", "ws", 1) + "/ws", compression=None, open_timeout=60, ping_interval=None
            )
            await socket_.send(message("reset", plan[0]))
            await socket_.recv()
            sockets.append(socket_)

    await asyncio.gather(*(begin() for _ in range(sessions)))
    memory = rss_mb(pid)

    async def end(socket_: Any) -> bool:
        await socket_.send(message("step", plan[1]))
        reply = json.loads(await socket_.recv())
        await socket_.close()
        return bool(reply["type"] == "observation" and reply["data"]["done"])

    answered = await asyncio.gather(*(end(socket_) for socket_ in sockets))
    return sum(answered), memory


# ---------------------------------------------------------------- the report
def compare(other: Path, seconds: float, rounds: int) -> dict[str, float]:
    """Measure this working tree and another one in turn, and print medians and their ratios; above 1 this one is slower.

    Args:
        other: a checkout of this project, run with the interpreter that runs this script.
        seconds: of each measurement.
        rounds: how often each is measured.

    Returns:
        The ratio of each figure, by its name.
    """

    def served(checkout: Path) -> float:
        return cpu_per_episode_us("opensoc", OURS, seconds, checkout)

    measures: dict[str, Callable[[Path], float]] = {
        task: functools.partial(episode_us, task, seconds) for task in TASKS
    } | {"over WebSocket": served}
    ratios: dict[str, float] = {}
    print(f"CPU for an episode, us: here and in {other}, medians of {rounds}, in turn")
    for name, measure in measures.items():
        pairs = [(measure(ROOT), measure(other)) for _ in range(rounds)]
        here, there = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios[name] = here / there
        print(f"  {name:<20} {here:>6.0f} {there:>6.0f}   ratio {here / there:.3f}", flush=True)
    return ratios


def main() -> None:
    """Measure and print, one block a question."""
    parser = argparse.ArgumentParser(description="Measure OpenSOC beside the SDK's minimal environment.")
    parser.add_argument("--quick", action="store_true", help="a few seconds for each figure")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with another working tree and end")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    args = parser.parse_args()
    seconds, rounds = (2.0, 2) if args.quick else (5.0, 5)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.against:
        if not (args.against / "env.py").is_file():
            parser.error(f"--against expects a checkout of this project; {args.against} has no env.py")
        ratios = compare(args.against, seconds, rounds)
        if args.json:
            print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))
        return
    figures: dict[str, float] = {}

    print("In process, one core, episodes/s (generate, render, verify, reward)")
    for task in TASKS:
        figures[f"{task}_per_s"] = 1e6 / episode_us(task, seconds)
        print(f"  {task:<20} {figures[f'{task}_per_s']:>8,.0f}", flush=True)
    figures["echo_per_s"] = echo_per_second(seconds)
    print(f"  {'SDK echo, no payload':<20} {figures['echo_per_s']:>8,.0f}")

    print("Over WebSocket, 8 sessions, one worker: server CPU for an episode, us")
    pairs = [
        (cpu_per_episode_us("opensoc", OURS, seconds), cpu_per_episode_us("echo", ECHO, seconds)) for _ in range(rounds)
    ]
    figures["ws_us"], figures["ws_echo_us"] = (statistics.median(column) for column in zip(*pairs, strict=True))
    figures["ws_ratio"] = statistics.median(ours / echo for ours, echo in pairs)
    print(
        f"  OpenSOC {figures['ws_us']:.0f}, SDK sync echo {figures['ws_echo_us']:.0f}, ratio {figures['ws_ratio']:.2f} (median of {rounds} pairs)"
    )

    with server("opensoc") as (url, pid, _):
        empty = rss_mb(pid)
        answered, memory = asyncio.run(hold(url, pid, OURS, 1000))
        figures |= {"held": answered, "held_rss_mb": memory, "idle_rss_mb": empty}
    print(f"1,000 WebSocket sessions held: {answered} answered, {memory:.0f} MiB (idle {empty:.0f} MiB)")

    starts: dict[str, list[float]] = {"opensoc": [], "echo": []}
    for _ in range(rounds):
        for kind, times in starts.items():
            with server(kind) as (_, _, took):
                times.append(took)
    figures["start_s"], figures["start_echo_s"] = (statistics.median(times) for times in starts.values())
    figures["start_ratio"] = statistics.median(ours / echo for ours, echo in zip(*starts.values(), strict=True))
    print(
        f"Start to the first 200 of /health: OpenSOC {figures['start_s']:.2f} s, SDK {figures['start_echo_s']:.2f} s, ratio {figures['start_ratio']:.2f}"
    )
    if args.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
