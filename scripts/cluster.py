"""Kill one of two nodes behind nginx or HAProxy, and count what is lost: python scripts/cluster.py [--balancer nginx] [--sessions 500]

The balancers' files are those of deploy/. Each node has a network namespace of its own where the machine allows it, else an
address of the loopback. Half of the sessions are WebSockets (`OpenSOCSession`), half HTTP callers with addresses of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PORT = 7860
NODES = ("10.77.1.2", "10.77.2.2")
FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}  # of deploy/, with the names one and two
LOOPBACK = ("127.77.1.2", "127.77.2.2")
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "one of many sessions"}
START_S = 180
AT_ONCE = 50  # sessions that begin at the same time
UNSHARE = ["unshare", "--net", "--"]
INSIDE = "OPENSOC_CLUSTER_INSIDE"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


# ---------------------------------------------------------------- nodes
def isolates() -> bool:
    """Tell whether this machine lets us make network namespaces and links between them."""
    trial = "ip link add trial0 type veth peer name trial1"
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run([*UNSHARE, "sh", "-c", trial], capture_output=True, env={"PATH": PATH}).returncode == 0
    return False


class Node:
    """A server of OpenSOC at an address, in a namespace of its own or not."""

    def __init__(self, address: str, number: int, *, isolated: bool, log: Path, workers: int) -> None:
        self.url = f"http://{address}:{PORT}"
        environ = {
            "PATH": PATH,
            "HOME": str(log.parent),
            "PORT": str(PORT),
            "OPENSOC_HOST": address,
            "OPENSOC_DEMO": "0",
            "OPENSOC_WORKERS": str(workers),
            "FORWARDED_ALLOW_IPS": "10.77.0.0/16,127.0.0.0/8",
        }
        command = [sys.executable, "server.py"]
        if isolated:
            wait = f"read ready; ip link set lo up; ip addr add {address}/24 dev node{number}; ip link set node{number} up; exec "
            command = [*UNSHARE, "sh", "-c", wait + " ".join(command)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        if isolated:
            time.sleep(0.5)  # until the namespace is there
            near = f"{address.rpartition('.')[0]}.1/24"
            for line in (
                f"ip link add host{number} type veth peer name node{number}",
                f"ip link set node{number} netns {self.process.pid}",
                f"ip addr add {near} dev host{number}",
                f"ip link set host{number} up",
            ):
                subprocess.run(line.split(), check=True, env={"PATH": PATH})
            assert self.process.stdin
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def wait(self) -> None:
        """Wait until the node answers.

        Raises:
            TimeoutError: it did not, for START_S.
        """
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + "/health", trust_env=False).status_code == 200:
                    return
            time.sleep(0.2)
        raise TimeoutError(f"Expected an answer of {self.url} within {START_S} s, got none.")

    def held(self) -> tuple[int, int]:
        """Count its WebSocket sessions and its HTTP episodes."""
        text = httpx.get(self.url + "/metrics", trust_env=False).text
        counts = dict(re.findall(r"^(opensoc_sessions|opensoc_episodes) ([\d.]+)", text, re.M))
        return int(float(counts["opensoc_sessions"])), int(float(counts["opensoc_episodes"]))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process and wait for it."""
        self.process.send_signal(how)
        self.process.wait()


# ---------------------------------------------------------------- the balancer
def configuration(kind: str, home: Path, nodes: Sequence[str]) -> list[str]:
    """Write the balancer's file with the nodes' addresses, and return the command that runs it."""
    lines = (ROOT / "deploy" / FILES[kind]).read_text("utf-8").replace("/tmp/", f"{home}/")
    for name, address in zip(("one", "two"), nodes, strict=True):
        lines = lines.replace(f"{name}:{PORT}", f"{address}:{PORT}")
    for word in ("listen ", "bind :"):
        lines = lines.replace(f"{word}{PORT}", f"{word.rstrip(' :')} 127.0.0.1:{PORT}")
    file = home / FILES[kind]
    file.write_text(lines)
    return ["haproxy", "-db", "-f", str(file)] if kind == "haproxy" else ["nginx", "-c", str(file), "-g", "daemon off;"]


@contextlib.contextmanager
def cluster(kind: str, workers: int = 1) -> Iterator[list[Node]]:
    """Run two nodes and a balancer at 127.0.0.1:7860."""
    isolated = os.environ.get(INSIDE) == "1"
    if isolated:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env={"PATH": PATH})
    addresses = NODES if isolated else LOOPBACK
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        home, nodes = Path(name), []
        home.chmod(0o755)  # nginx's workers are another user
        for number, address in enumerate(addresses):
            nodes.append(Node(address, number, isolated=isolated, log=home / f"node{number}.log", workers=workers))
            stack.callback(nodes[-1].stop)
        for node in nodes:
            node.wait()
        balancer = subprocess.Popen(configuration(kind, home, addresses), env={"PATH": PATH}, stderr=subprocess.DEVNULL)
        stack.callback(balancer.wait)
        stack.callback(balancer.terminate)
        Node.wait(_At(f"http://127.0.0.1:{PORT}"))  # type: ignore[arg-type]
        time.sleep(1.5)  # in which the balancer has looked at both nodes
        yield nodes


class _At:
    def __init__(self, url: str) -> None:
        self.url = url


# ---------------------------------------------------------------- sessions
class Caller:
    """One caller over HTTP, with an address of its own, which may begin again after a loss."""

    def __init__(self, number: int) -> None:
        transport = httpx.AsyncHTTPTransport(local_address=f"127.1.{number // 250}.{number % 250 + 1}", retries=1)
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", transport=transport, timeout=60)
        self.episode_id = ""

    async def reset(self) -> None:
        reply = await self._client.post("/reset")
        reply.raise_for_status()
        self.episode_id = reply.json()["episode_id"]

    async def step(self) -> str:
        """Play the turn; return what the caller is told if the episode is lost, and nothing else."""
        reply = await self._client.post("/step", params={"episode_id": self.episode_id}, json={"submit_triage": TRIAGE})
        if reply.status_code == 200 and reply.json()["done"]:
            return ""
        return f"{reply.status_code}: {reply.json()['detail']}"

    async def close(self) -> None:
        await self._client.aclose()


class Player:
    """One session over a WebSocket, by the client that we ship."""

    def __init__(self, number: int) -> None:
        from client import OpenSOCSession  # needs OpenEnv's SDK, which takes seconds to import

        self._session = OpenSOCSession(f"http://127.0.0.1:{PORT}")

    async def reset(self) -> None:
        await self._session.reset()

    async def step(self) -> str:
        """Play the turn; return what the player is told if the episode is lost, and nothing else."""
        from client import EpisodeLostError, OpenSOCAction

        try:
            result = await self._session.step(OpenSOCAction(submit_triage=TRIAGE))
        except EpisodeLostError as error:
            return f"EpisodeLostError: {error}"
        return "" if result.done else "The episode is not done."

    async def close(self) -> None:
        await self._session.close()


async def _all(calls: list[Any]) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Any) -> Any:
        async with gate:
            return await call

    return await asyncio.gather(*map(one, calls))


async def _begin_again(each: Any) -> float:
    """Return the seconds until a session that was lost plays again."""
    begun = time.monotonic()
    while True:
        try:
            await each.reset()
            assert await each.step() == ""
        except (httpx.HTTPError, OSError, AssertionError):
            if time.monotonic() - begun > 60:
                raise
            await asyncio.sleep(0.1)
        else:
            return time.monotonic() - begun


async def measure(nodes: list[Node], sessions: int) -> dict[str, Any]:
    """Begin the sessions, kill the first node, and play every session's turn."""
    kinds: dict[str, list[Any]] = {
        "WebSocket": [Player(number) for number in range(sessions // 2)],
        "HTTP": [Caller(number) for number in range(sessions - sessions // 2)],
    }
    everybody = [each for group in kinds.values() for each in group]
    await _all([each.reset() for each in everybody])
    held = [node.held() for node in nodes]
    nodes[0].stop(signal.SIGKILL)
    rows: dict[str, Any] = {}
    for place, (kind, group) in enumerate(kinds.items()):
        told = await _all([each.step() for each in group])
        lost = [each for each, words in zip(group, told, strict=True) if words]
        back = await _all([_begin_again(each) for each in lost])
        rows[kind] = {
            "held by the node that died": held[0][place],
            "held by the other": held[1][place],
            "lost": len(lost),
            "told in a sentence": sum("reset" in words.lower() for words in told if words),
            "longest until it played again, s": round(max(back, default=0), 1),
            "words": sorted({re.sub(r"'[^']*'", "'...'", words) for words in told if words}),
        }
    await asyncio.gather(*(each.close() for each in everybody), return_exceptions=True)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Measure behind each balancer that is installed."""
    parser = argparse.ArgumentParser(description="Kill one of two nodes behind a balancer, and count what is lost.")
    parser.add_argument("--balancer", choices=("nginx", "haproxy"), action="append", help="default: both")
    parser.add_argument("--sessions", type=int, default=500, help="half over WebSockets, half over HTTP")
    parser.add_argument("--workers", type=int, default=1, help="OPENSOC_WORKERS of each node")
    parser.add_argument("--loopback", action="store_true", help="addresses of the loopback in place of namespaces")
    args = parser.parse_args(argv)
    if INSIDE not in os.environ and not args.loopback and isolates():
        command = [*UNSHARE, sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode)
    for kind in args.balancer or ("nginx", "haproxy"):
        if not shutil.which(kind, path=PATH):
            print(json.dumps({"balancer": kind, "skipped": f"{kind} is not installed (apt-get install {kind})"}))
            continue
        with cluster(kind, args.workers) as nodes:
            rows = asyncio.run(measure(nodes, args.sessions))
        print(json.dumps({"balancer": kind, "namespaces": os.environ.get(INSIDE) == "1", **rows}, indent=1), flush=True)


if __name__ == "__main__":
    main()
