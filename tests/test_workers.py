"""Several processes on one port: who has which sessions, and what is lost with one of them."""

import contextlib
import os
import signal
import time
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app_runtime import Settings, create_app
from app_runtime.workers import Unshared, processes_wanted, strange_variables
from conftest import ROOT
from local_provider import ServerProcess
from service import TRIAGE, problem, strict

DIRECT = {"trust_env": False, "timeout": 120}
SLOW_S = 120  # for a process to start on a busy machine
CREATE = {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create", "params": {}}


def pair():
    """A server of two processes."""
    return ServerProcess(ROOT, env={"OPENSOC_WORKERS": "2", "OPENSOC_DEMO": "0"}, timeout_s=SLOW_S)


@pytest.fixture(scope="module")
def two():
    """One for the tests that leave it whole."""
    with pair() as process:
        yield process
        assert "Traceback" not in process.logs()


def wait_for_worker(process):
    deadline = time.monotonic() + SLOW_S
    while time.monotonic() < deadline:
        for worker in children(process.process.pid):
            before = sockets(worker)
            with socket_of(process), socket_of(process):  # in turns: one of the two is the worker's
                if sockets(worker) == before + 1:
                    return worker
        time.sleep(0.2)
    raise AssertionError(f"Expected a second process that serves, got: {process.logs()}")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets(pid):
    """How many sockets a process holds."""
    held = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held += os.readlink(link).startswith("socket:")
    return held


def socket_of(process, query=""):
    return connect(f"ws{process.base_url[4:]}/ws{query}", proxy=None, open_timeout=120)


def tell(ws, frame):
    ws.send(frame)
    return strict(ws.recv())


def lives(ws):
    try:
        return tell(ws, '{"type":"state"}')["type"] == "state"
    except ConnectionClosed:
        return False


def test_a_process_that_dies_takes_its_own_sessions_and_no_others(two):
    process, worker = two, wait_for_worker(two)
    with contextlib.ExitStack() as stack, httpx.Client(base_url=process.base_url, **DIRECT) as client:
        held = [stack.enter_context(socket_of(process)) for _ in range(20)]
        assert {tell(ws, '{"type":"reset","data":{"seed":1}}')["type"] for ws in held} == {"observation"}
        episodes = [client.post("/reset").json()["episode_id"] for _ in range(10)]
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.5)

        assert sum(map(lives, held)) == 10
        for episode_id in episodes:
            played = client.post("/step", params={"episode_id": episode_id}, json={"submit_triage": TRIAGE})
            assert played.json()["done"] is True
        assert wait_for_worker(process) != worker  # another has taken its place
    assert "A worker process ended (-9)" in process.logs()


def figure(process, sample):
    """The value of a sample of /metrics, as it is written there."""
    lines = httpx.get(f"{process.base_url}/metrics", **DIRECT).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample)), 0.0)


def test_figures_are_sums_over_the_processes_and_outlive_one(two):
    worker = wait_for_worker(two)
    until(lambda: figure(two, 'opensoc_sockets{route="/ws"}') == 0)
    before = figure(two, 'opensoc_frames_total{route="/ws"}')
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket_of(two)) for _ in range(4)]  # in turns
        assert all(lives(ws) for ws in held)
        assert figure(two, 'opensoc_sockets{route="/ws"}') == figure(two, "opensoc_sessions ") == 4
        assert figure(two, 'opensoc_frames_total{route="/ws"}') == before + 4

        os.kill(worker, signal.SIGKILL)
        until(lambda: figure(two, 'opensoc_sockets{route="/ws"}') == figure(two, "opensoc_sessions ") == 2)
        assert figure(two, 'opensoc_frames_total{route="/ws"}') == before + 4


def until(holds):
    deadline = time.monotonic() + SLOW_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_ids_of_http_and_mcp_are_found_over_any_connection(two):
    process = two
    wait_for_worker(process)
    for _ in range(20):  # each call on a connection of its own
        episode_id = httpx.post(f"{process.base_url}/reset", **DIRECT).json()["episode_id"]
        answer = {"episode_id": episode_id, "submit_triage": TRIAGE}
        assert httpx.post(f"{process.base_url}/step", json=answer, **DIRECT).json()["done"] is True
    for _ in range(4):
        made = httpx.post(f"{process.base_url}/mcp", json=CREATE, **DIRECT).json()["result"]["session_id"]
        with socket_of(process, f"?session_id={made}") as ws:
            assert tell(ws, '{"type":"state"}')["type"] == "state"


@pytest.mark.slow
def test_where_the_first_process_dies_the_others_play_their_sessions_to_the_end():
    with pair() as process, contextlib.ExitStack() as stack:
        worker = wait_for_worker(process)
        held = [stack.enter_context(socket_of(process)) for _ in range(6)]
        for ws in held:
            tell(ws, '{"type":"reset","data":{"seed":1}}')
        os.kill(process.process.pid, signal.SIGKILL)
        time.sleep(1.5)
        assert sum(map(lives, held)) == 3
    deadline = time.monotonic() + SLOW_S
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{worker}").exists()


# ---------------------------------------------------------------- processes that other servers start
@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (["uvicorn", "server:app"], {}, 1),
        (["uvicorn", "server:app", "--workers", "4"], {}, 4),
        (["uvicorn", "--workers=3", "server:app"], {"WEB_CONCURRENCY": "8"}, 3),
        (["gunicorn", "-w", "2", "-k", "uvicorn.workers.UvicornWorker", "server:app"], {}, 2),
        (["uvicorn", "server:app"], {"WEB_CONCURRENCY": "8"}, 8),
        (["uvicorn", "server:app"], {"WEB_CONCURRENCY": "many"}, 1),
    ],
)
def test_the_processes_of_other_servers_are_noticed(argv, environ, expected):
    assert processes_wanted(argv, environ) == expected


def test_several_processes_that_share_nothing_refuse_what_one_alone_would_find():
    app = create_app(Settings(demo=False))
    app.add_middleware(Unshared, processes=4)
    with TestClient(app) as client:
        for method, path in (
            ("POST", "/reset"),
            ("POST", "/step"),
            ("GET", "/state"),
            ("GET", "/grade"),
            ("POST", "/mcp"),
        ):
            assert "OPENSOC_WORKERS=4" in problem(client.request(method, path), 503)
        assert client.get("/health").status_code == 200
        with client.websocket_connect("/ws") as ws:
            ws.send_text('{"type":"reset","data":{}}')
            assert strict(ws.receive_text())["type"] == "observation"


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({}, 0),
        ({"WEB_CONCURRENCY": "1"}, 0),
        ({"WEB_CONCURRENCY": "4"}, 1),
        ({"WEB_CONCURRENCY": "4", "OPENSOC_WORKERS": "2"}, 0),
    ],
)
def test_a_variable_of_other_servers_is_named(environ, count):
    assert len(strange_variables(environ)) == count
