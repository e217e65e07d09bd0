#!/usr/bin/env python3
"""Send a server what nobody should, and see that it answers in order: python scripts/fuzz.py [--requests 100000 --frames 20000 --seed 1]

Requests to every route that /openapi.json lists and to some that are not there, with good, mangled and hostile values; frames to /ws and /mcp. It exits with 1 where an answer is a 5xx,
an error has another form than ours, an answer before an episode's end tells the ground truth, a socket stays silent or closes, or the log holds an error.
The same seed sends the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx
import websockets
from bench_servers import ROOT, server
from soak import log_errors

LEAKS = ('"ground_truth":{', '"explanation":"', '"rule_ids":[', '"findings":[')  # of a grade that is told
ANSWER_S = 30.0
PER_SOCKET = 60  # frames
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd."}
TEXTS = (
    "",
    "a",
    "\x00",
    "\x1b[31m",
    "\n2030-01-01 CRITICAL",
    "../../etc/passwd",
    "\u202e",
    "\U0001f600",
    "x" * 5000,
    "null",
    "L1-1",
    "stage1_basic",
    "${jndi:ldap://x}",
    "<script>",
)
NUMBERS = (0, -0.0, -1, 1, 1.5, 2**63 - 1, 2**63, 1e308, 1e-300, True)
RAW = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'"\\ud800"',
    b"NaN",
    b'{"a":' * 500,
    b"[" * 100_000,
    b"1" * 5000,
    b'{"action":{}}',
    b"{}" * 3,
)


class Fuzzer:
    """Draws what is sent, and counts what comes back.

    Args:
        url: the server's.
        chance: decides everything that is sent.
    """

    def __init__(self, url: str, chance: Random) -> None:
        self.url, self.chance = url, chance
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.ids: list[str] = ["never-was"]

    # ------------------------------------------------------------ what is drawn
    def value(self, depth: int = 0) -> Any:
        """Draw any JSON value."""
        kind = self.chance.random()
        if depth > 3 or kind < 0.45:
            return self.chance.choice(TEXTS)
        if kind < 0.7:
            return self.chance.choice((*NUMBERS, None, False))
        if kind < 0.85:
            return [self.value(depth + 1) for _ in range(self.chance.randrange(4))]
        return {
            self.chance.choice(("action", "seed", "task", "events", "fields", "session_id", "x", "")): self.value(
                depth + 1
            )
            for _ in range(3)
        }

    def body(self) -> dict[str, Any]:
        """Draw an object that a route may half understand."""
        good: dict[str, Any] = {
            "task": "stage2_multi", "seed": self.chance.randrange(50), "mode": self.chance.choice(("defender_only", "self_play")),
            "submit_triage": TRIAGE, "craft_incident": {"target_label": "escalate", "category": "execution", "events": [], "narrative": ""},
            "episode_id": self.chance.choice(self.ids), "split": "val", "index": 3, "method": "tools/call", "jsonrpc": "2.0", "id": 1,
            "params": {"name": "submit_triage", "arguments": {**TRIAGE, "episode_id": self.chance.choice(self.ids)}},
        }  # fmt: skip
        chosen = {name: good[name] for name in self.chance.sample(sorted(good), self.chance.randrange(1, 5))}
        if self.chance.random() < 0.5:
            chosen[self.chance.choice([*chosen, "extra"])] = self.value()
        return chosen

    def content(self) -> bytes:
        """Draw a body in bytes: an object, or what is none."""
        if self.chance.random() < 0.15:
            return self.chance.choice(RAW)
        raw = json.dumps(self.body()).encode()
        if self.chance.random() < 0.1:
            place = self.chance.randrange(len(raw))
            raw = raw[:place] + bytes([self.chance.randrange(256)]) + raw[place + 1 :]
        return raw

    # ------------------------------------------------------------ HTTP
    async def request(self, http: httpx.AsyncClient, routes: list[tuple[str, str]]) -> None:
        """Send one request and look at its answer."""
        method, path = self.chance.choice(routes)
        if "{" in path:
            path = path.replace(
                path[path.index("{") : path.index("}") + 1], self.chance.choice(("opensoc", "x", "%2e%2e"))
            )
        params = {name: str(value)[:200] for name, value in self.body().items()} if self.chance.random() < 0.4 else {}
        content = self.content() if method not in ("GET", "HEAD") or self.chance.random() < 0.05 else None
        headers = {"content-type": self.chance.choice(("application/json", "text/plain", "multipart/form-data"))}
        if self.chance.random() < 0.1:
            headers[self.chance.choice(("X-Episode-Id", "X-Request-ID", "Cookie"))] = (
                "\x01\x7f'\"" + "y" * self.chance.randrange(300)
            )
        try:
            reply = await http.request(method, path, params=params, content=content, headers=headers, timeout=ANSWER_S)
        except httpx.HTTPError as error:
            self.faults[f"{method} {path}: {type(error).__name__}"] += 1
            return
        self.look(method, path, reply)

    def look(self, method: str, path: str, reply: httpx.Response) -> None:
        """Count a status, and what is wrong with an answer."""
        self.statuses[f"{reply.status_code}"] += 1
        text = reply.text
        if reply.status_code >= 500 and path != "/ready":
            self.faults[f"{method} {path}: {reply.status_code}"] += 1
        if reply.status_code >= 400 and method != "HEAD" and not text.replace(" ", "").startswith('{"detail":"'):
            self.faults[f"{method} {path}: {reply.status_code} in another form"] += 1
        if "Traceback" in text:
            self.faults[f"{method} {path}: a traceback"] += 1
        if path == "/reset" and reply.status_code == 200:
            self.ids = [*self.ids[-200:], reply.json()["episode_id"]]
        is_over = '"done":true' in text or path in ("/grade", "/openapi.json", "/triage")
        if not is_over and any(leak in text.replace(" ", "") for leak in LEAKS):
            self.faults[f"{method} {path}: a leak"] += 1

    # ------------------------------------------------------------ WebSocket
    def frame(self, path: str) -> str | bytes:
        """Draw a frame."""
        kind = self.chance.random()
        if kind < 0.1:
            return self.chance.choice(RAW)
        if kind < 0.2:
            return self.chance.choice([raw.decode("latin-1") for raw in RAW if raw])
        if path == "/mcp":
            return json.dumps(
                {
                    **self.body(),
                    "method": self.chance.choice(("tools/list", "tools/call", "openenv/session/create", "x")),
                }
            )
        kinds = ("reset", "step", "state", "x", 1, None)
        return json.dumps({"type": self.chance.choice(kinds), "data": self.body() if kind < 0.9 else self.value()})

    async def socket(self, path: str) -> None:
        """Send frames over one socket, and see each answered."""
        async with websockets.connect("ws" + self.url[4:] + path, compression=None, proxy=None, max_size=None) as ws:
            for _ in range(PER_SOCKET):
                sent = self.frame(path)
                if not sent:
                    continue
                try:
                    await ws.send(sent)
                    text = str(await asyncio.wait_for(ws.recv(), ANSWER_S))
                except (TimeoutError, websockets.ConnectionClosed) as error:
                    self.faults[f"WS {path}: {type(error).__name__} after {sent[:60]!r}"] += 1
                    return
                self.statuses[f"WS {path}"] += 1
                if "Traceback" in text or (
                    '"done":true' not in text.replace(" ", "") and any(leak in text.replace(" ", "") for leak in LEAKS)
                ):
                    self.faults[f"WS {path}: a leak"] += 1


async def fuzz(url: str, requests: int, frames: int, seed: int) -> Fuzzer:
    """Send them all."""
    fuzzer = Fuzzer(url, Random(seed))
    async with httpx.AsyncClient(base_url=url, trust_env=False, limits=httpx.Limits(max_connections=16)) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
        routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
        routes += [
            ("GET", "/nowhere"),
            ("PUT", "/reset"),
            ("POST", "/demo/gradio_api/queue/join"),
            ("GET", "/demo/gradio_api/file=/etc/passwd"),
            ("POST", "/reset"),
            ("POST", "/step"),
            ("POST", "/mcp"),
        ]
        left = requests

        async def send() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await fuzzer.request(http, routes)

        await asyncio.gather(*(send() for _ in range(12)))
    for number in range(0, frames, PER_SOCKET):
        await fuzzer.socket(("/ws", "/mcp")[number // PER_SOCKET % 2])
    return fuzzer


def main() -> int:
    """Fuzz a server and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        log = Path(home, "log")
        with log.open("wb") as stream, server("opensoc", environ={"PYTHONPATH": str(ROOT)}, log=stream) as (url, _, _):
            done = asyncio.run(fuzz(url, args.requests, args.frames, args.seed))
        errors = log_errors(log)
    print(f"answers: {dict(sorted(done.statuses.items()))}")
    print(f"faults: {sum(done.faults.values())}, errors in the log: {len(errors)}")
    for fault, times in done.faults.most_common(20):
        print(f"  {times} x {fault}")
    for line in errors[:5]:
        print(f"  {line[:300]}")
    return 1 if done.faults or errors else 0


if __name__ == "__main__":
    sys.exit(main())
