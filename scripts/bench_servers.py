"""Start servers and load them, for the benches: OpenSOC and a minimal environment on the OpenEnv SDK's base classes, over WebSocket and HTTP.

CPU time is the server process's own (user and system), so other load on the machine disturbs it little. The module reads /proc, so it runs on
Linux alone, and it talks to loopback alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "a benchmark's answer"}
HEALTH_TIMEOUT_S = 180
SESSIONS = 8  # that play at once
LEAST = 2000  # episodes, however slow the machine is: the first ones fill what is filled once in a process's life
HELD = 4096  # HTTP episodes that a server holds by default


class Plan(NamedTuple):
    """What an episode sends: data of the reset and of the step, and from which seeds the reset draws one, if from any."""

    reset: dict[str, Any]
    step: dict[str, Any]
    seeds: range = range(0)

    def draw(self) -> dict[str, Any]:
        """Return the data of one reset."""
        return self.reset | ({"seed": random.choice(self.seeds)} if self.seeds else {})


PLANS = {"opensoc": Plan({}, {"submit_triage": TRIAGE}), "echo": Plan({}, {"message": "hello"})}

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


# ---------------------------------------------------------------- a server
def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(
    kind: str,
    checkout: Path = ROOT,
    *,
    environ: Mapping[str, str] | None = None,
    log: Any = subprocess.DEVNULL,
    before: Sequence[str] = (),
) -> Iterator[tuple[str, int, float]]:
    """Run a server of a kind; yield its URL, its process id and the seconds until it was healthy.

    Args:
        kind: `opensoc` or `echo`.
        checkout: where OpenSOC lies.
        environ: variables beside those of this process.
        log: where its standard error goes.
        before: a command that runs the server's, such as `prlimit --nofile=64`.
    """
    port = free_port()
    command = (
        [sys.executable, "server.py", "--host", "127.0.0.1", "--port", str(port)]
        if kind == "opensoc"
        else [sys.executable, "-c", ECHO_SERVER, str(port)]
    )
    started = time.perf_counter()
    process = subprocess.Popen(
        [*before, *command], cwd=checkout, stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **(environ or {})}
    )
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


# ---------------------------------------------------------------- episodes on it
Player = Callable[[], Awaitable[None]]  # plays an episode


def message(kind: str, data: dict[str, Any]) -> str:
    """Write a message of the SDK's WebSocket."""
    return json.dumps({"type": kind, "data": data})


@contextlib.asynccontextmanager
async def by_socket(url: str, plan: Plan) -> Any:
    """Open a WebSocket session; yields its player."""
    import websockets

    async with websockets.connect(url.replace("http", "ws", 1) + "/ws", compression=None, max_size=None) as session:

        async def play() -> None:
            for kind, data in (("reset", plan.draw()), ("step", plan.step)):
                await session.send(message(kind, data))
                reply = await session.recv()
                if reply.startswith('{"type":"error"'):
                    raise SystemExit(f"the server answered {reply[:300]}")

        yield play


@contextlib.asynccontextmanager
async def by_http(url: str, plan: Plan) -> Any:
    """Open an HTTP connection; yields its player."""
    import httpx

    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:

        async def play() -> None:
            episode_id = await begun(client, plan)
            await post(client, "/step", {"action": plan.step} | ({"episode_id": episode_id} if episode_id else {}))

        yield play


async def begun(client: Any, plan: Plan) -> str | None:
    """Begin an episode over HTTP and return its id; None of a server that has none."""
    reply = await post(client, "/reset", plan.draw())
    return reply.get("episode_id") or reply["observation"].get("episode_id")


async def post(client: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a request and return its answer."""
    reply = await client.post(path, json=body)
    if reply.status_code != 200:
        raise SystemExit(f"the server answered {reply.status_code} to {path}: {reply.text[:300]}")
    return dict(reply.json())


async def load(url: str, plan: Plan, road: Callable[[str, Plan], Any], seconds: float) -> int:
    """Play on some sessions for a while and for LEAST episodes; returns how many episodes were played."""
    count = 0

    async def session() -> None:
        nonlocal count
        async with road(url, plan) as play:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or count < LEAST:
                await play()
                count += 1

    await asyncio.gather(*(session() for _ in range(SESSIONS)))
    return count


async def cpu_per_episode_us(url: str, pid: int, plan: Plan, road: Callable[[str, Plan], Any], seconds: float) -> float:
    """Measure a server's CPU time for an episode in microseconds, after a warm-up."""
    await load(url, plan, road, 1.0)
    before = cpu_s(pid)
    count = await load(url, plan, road, seconds)
    return (cpu_s(pid) - before) * 1e6 / count


# ---------------------------------------------------------------- a plain caller
class Answer(NamedTuple):
    """What a server answered: status, headers by their names in lower case, and the JSON object."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Caller:
    """A caller over one connection, who sends no cookie and no name of a program. It costs the machine less than a library does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to a server."""
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and read its answer."""
        content = b"" if body is None else json.dumps(body).encode()
        fields = {"host": "loopback", **(headers or {}), **({"content-length": len(content)} if content else {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        names = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        content = await self._reader.readexactly(int(names["content-length"]))
        return Answer(int(first.split()[1]), names, json.loads(content))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


# ---------------------------------------------------------------- many held at once
@contextlib.asynccontextmanager
async def http_episodes_held(url: str, plan: Plan, number: int) -> Any:
    """Begin HTTP episodes and leave them running; yields a function that plays them all to their end and counts those that were."""
    import httpx

    gate = asyncio.Semaphore(SESSIONS)
    limits = httpx.Limits(max_connections=SESSIONS, max_keepalive_connections=SESSIONS)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False) as client:

        async def begin() -> str | None:
            async with gate:
                return await begun(client, plan)

        ids = await asyncio.gather(*(begin() for _ in range(number)))

        async def end(episode_id: str | None) -> bool:
            async with gate:
                return bool((await post(client, "/step", {"action": plan[1], "episode_id": episode_id}))["done"])

        async def answer() -> int:
            return sum(await asyncio.gather(*map(end, ids)))

        yield answer


async def sockets_held(url: str, pid: int, plan: Plan, number: int) -> tuple[int, float]:
    """Open WebSocket sessions, reset each, keep all; then step on each. Returns how many answered, and the server's memory meanwhile in MiB."""
    import websockets

    gate = asyncio.Semaphore(64)
    sessions: list[Any] = []

    async def begin() -> None:
        async with gate:
            session = await websockets.connect(
                url.replace("http", "ws", 1) + "/ws", compression=None, open_timeout=60, ping_interval=None
            )
            await session.send(message("reset", plan[0]))
            await session.recv()
            sessions.append(session)

    await asyncio.gather(*(begin() for _ in range(number)))
    memory = rss_mb(pid)

    async def end(session: Any) -> bool:
        await session.send(message("step", plan[1]))
        reply = json.loads(await session.recv())
        await session.close()
        return bool(reply["type"] == "observation" and reply["data"]["done"])

    return sum(await asyncio.gather(*map(end, sessions))), memory
