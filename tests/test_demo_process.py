"""The demo in a process of its own (OPENSOC_DEMO=process): the same page and fence, and a service that outlives it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from demo.relay import ROOT_PATH, Relay, _passed_on, _target
from local_provider import ServerProcess

ROOT = Path(__file__).resolve().parent.parent
DIRECT = {"trust_env": False, "timeout": 120}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def children(pid):
    """The processes that a process started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(what, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if value := what():
                return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture(scope="module")
def served():
    with ServerProcess(ROOT, env={"OPENSOC_DEMO": "process"}, timeout_s=240) as server:
        with httpx.Client(base_url=server.base_url, **DIRECT) as client:
            wait_for(lambda: client.get("/demo/").status_code == 200)
            yield server, client
        assert "Traceback" not in server.logs()


def test_a_click_is_answered_by_the_other_process(served):
    _, client = served
    config = client.get("/demo/config").json()
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "on_draw")
    sent = {"data": [None, "stage1_basic", "keyword", "random"], "fn_index": number, "session_hash": "a"}
    assert client.post("/demo/gradio_api/queue/join", json=sent).status_code == 200
    events = client.get("/demo/gradio_api/queue/data?session_hash=a").text

    done = [json.loads(line.removeprefix("data:")) for line in events.splitlines() if "process_completed" in line]
    assert [one["success"] for one in done] == [True]
    assert "card answer" in events


def test_the_fence_stands_there_too(served):
    _, client = served
    named = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    click = {"data": [named], "fn_index": 6, "session_hash": "a"}

    assert client.get("/demo/gradio_api/file=/etc/hostname").status_code == 404
    assert client.post("/demo/gradio_api/queue/join", json=click).status_code == 422
    page = client.get("/demo/", headers={ROOT_PATH: "/elsewhere", "x-forwarded-for": "9.9.9.9"})
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert [name for name, _ in page.headers.raw].count(b"date") == 1
    assert "/elsewhere" not in page.text


def test_gradio_is_in_the_demos_process_alone(served):
    server, _ = served
    (child,) = children(server.process.pid)

    # Gradio imports pandas, whose libraries are mapped
    assert ["/pandas/" in Path(f"/proc/{pid}/maps").read_text() for pid in (server.process.pid, child)] == [False, True]


def test_the_socket_is_for_its_owner_alone(served):
    server, _ = served
    (child,) = children(server.process.pid)
    command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
    socket = Path(command[command.index("--socket") + 1])

    assert socket.parent.stat().st_mode & 0o077 == 0


def test_the_service_goes_on_while_the_demo_comes_back(served):
    server, client = served
    (child,) = children(server.process.pid)
    os.kill(child, signal.SIGKILL)
    gone = wait_for(lambda: (answer := client.get("/demo/")).status_code == 503 and answer)

    assert gone.headers["retry-after"] == "10"
    assert "The demo is starting" in gone.json()["detail"]
    assert client.post("/reset", json={"seed": 1}).status_code == 200
    wait_for(lambda: client.get("/demo/").status_code == 200)
    assert children(server.process.pid) != [child]


def test_the_demo_ends_with_a_service_that_is_killed(served):
    """The last test that has `served`."""
    server, _ = served
    (child,) = children(server.process.pid)
    server.process.kill()
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text())


# ---------------------------------------------------------------- what is passed on
SCOPE = {
    "type": "http",
    "method": "GET",
    "scheme": "https",
    "client": ("192.0.2.7", 5),
    "root_path": "/opensoc/demo",
    "path": "/opensoc/demo/a b/ü",
    "query_string": b"seed=5",
    "headers": [
        (b"host", b"shown.example"),
        (b"connection", b"keep-alive"),
        (b"x-forwarded-for", b"9.9.9.9"),
        (b"x-opensoc-root-path", b"/evil"),
        (b"accept", b"*/*"),
    ],
}


def test_the_process_is_told_who_asks_and_nothing_that_a_caller_claims():
    assert _passed_on(SCOPE) == [
        ("host", "shown.example"),
        ("accept", "*/*"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        (ROOT_PATH, "/opensoc"),
    ]
    assert _target(SCOPE) == b"/demo/a%20b/%C3%BC?seed=5"


def test_a_process_that_fails_at_once_is_not_started_again_and_again(monkeypatch):
    monkeypatch.setattr(Relay, "_command", [sys.executable, "-c", ""])

    async def asked_thrice():
        relay = Relay("standard", max_body_bytes=1024)
        started = []
        for _ in range(3):
            await relay.start()
            started.append(relay._process.pid)
            relay._process.wait()
        await relay.stop()
        return set(started)

    assert len(asyncio.run(asked_thrice())) == 1


def test_no_websocket_is_passed_on():
    sent = []

    async def note(message):
        sent.append(message["type"])

    asyncio.run(Relay("standard", max_body_bytes=1024)({"type": "websocket"}, None, note))

    assert sent == ["websocket.close"]
