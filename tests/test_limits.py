"""What one connection may take: bytes and seconds for a request, a WebSocket's place only as long as its peer is there."""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app_runtime.guard import Guard
from app_runtime.memory import bound_heaps
from app_runtime.refusal import MAX_HEAD_BYTES
from local_provider import ServerProcess
from service import strict

ROOT = Path(__file__).resolve().parent.parent
SLOW_S = 120  # for what comes soon where the machine does nothing else
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture(scope="module")
def hasty():
    """A server whose limits of time are so short that a test can wait for them."""
    env = {"OPENSOC_DEMO": "0", "OPENSOC_REQUEST_TIMEOUT_S": "3", "OPENSOC_PING_TIMEOUT_S": "3"}
    with ServerProcess(ROOT, env=env | {"OPENSOC_MAX_SESSIONS": "2"}) as process:
        yield process
        assert "Traceback" not in process.logs()


def dial(process):
    port = int(process.base_url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=SLOW_S)


def answer(sock):
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:  # closed with bytes of ours unread
        pass
    return b"".join(parts).decode("latin-1")


def has_ended(sock):
    """Send one byte more, and tell whether the other side has answered or closed."""
    try:
        sock.sendall(b"a")
        return sock.recv(1) in (b"", b"H")
    except TimeoutError:
        return False
    except OSError:
        return True


def status(text):
    return int(text.split()[1])


HALVES = {
    "headers": "GET /health HTTP/1.1\r\nHost:",
    "body": "POST /reset HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "chunk": "POST /reset HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    "empty line": "\r\n",
    "nothing": "",
    "no body": "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
}


def test_half_a_request_is_ended_and_told_why_and_a_mute_connection_is_ended(hasty):
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        dialled = {name: stack.enter_context(dial(hasty)) for name in HALVES}
        for name, sock in dialled.items():
            sock.sendall(HALVES[name].encode())
        texts = {name: answer(sock) for name, sock in dialled.items()}

    assert time.monotonic() - begun > 0.5
    for name in ("headers", "body", "chunk", "empty line"):
        assert status(texts[name]) == 408, name
        assert "within 3 s" in strict(texts[name].partition("\r\n\r\n")[2])["detail"], name


def test_a_command_line_of_uvicorn_may_name_the_bounded_protocols():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    names = ["--http", "app_runtime.connections:BoundedHttp", "--ws", "app_runtime.connections:BoundedWebSocket"]
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", str(port), *names]
    env = {**os.environ, "OPENSOC_DEMO": "0", "OPENSOC_REQUEST_TIMEOUT_S": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            said = [
                half_told(port, *sent) for sent in (["GET /health HTTP/1.1\r\nHost:"], [HANDSHAKE, "\x01\x81\0\0\0\0a"])
            ]
        finally:
            process.terminate()

    assert status(said[0]) == 408
    assert "within 1 s" in said[0]
    assert "a message takes at most 1 s" in said[1]


def half_told(port, sent, then=""):
    """What a server says of a half-sent request, or of the message after its answer, before it ends the connection; it may be starting yet."""
    deadline = time.monotonic() + 200
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                sock.sendall(sent.encode())
                if then:
                    assert sock.recv(65536).startswith(b"HTTP/1.1 101")
                    sock.sendall(then.encode("latin-1"))
                return answer(sock)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_bytes_that_trickle_in_do_not_extend_the_time(hasty):
    with dial(hasty) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nX: ")
        sock.settimeout(0.1)
        begun = time.monotonic()
        while not has_ended(sock):
            assert time.monotonic() - begun < SLOW_S


def test_a_slow_request_does_not_cost_the_one_before_it_on_its_connection(hasty):
    whole = b"POST /reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with dial(hasty) as sock:
        sock.sendall(whole + whole[:20])
        text = answer(sock)

    assert text.startswith("HTTP/1.1 200")
    assert "HTTP/1.1 408" in text


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"X: " + b"a" * (MAX_HEAD_BYTES - 1000), 200),
        (b"X: " + b"a" * (MAX_HEAD_BYTES + 1000), 431),
        (b"a: b\r\n" * (MAX_HEAD_BYTES // 6 + 1), 431),
    ],
    ids=["just short enough", "one long header", "many short ones"],
)
def test_the_head_of_a_request_is_bounded(hasty, sent, expected):
    with dial(hasty) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + sent.rstrip() + b"\r\n\r\n")
        assert status(answer(sock)) == expected


def test_a_header_without_an_end_is_cut_off(hasty):
    sent = 0
    with dial(hasty) as sock, contextlib.suppress(OSError):  # a reset or a broken pipe
        sock.sendall(b"GET /health HTTP/1.1\r\nX: ")
        while sent < 64 * 2**20:
            sock.sendall(b"a" * 2**16)
            sent += 2**16
    assert sent < 16 * 2**20  # what the kernel holds of a connection


def test_a_message_in_fragments_without_an_end_ends_its_connection(hasty):
    with (
        connect("ws" + hasty.base_url[4:] + "/ws", proxy=None, open_timeout=SLOW_S) as ws,
        pytest.raises(ConnectionClosed) as closed,
    ):
        ws.send(endless())
    assert closed.value.rcvd.code == 1008


def endless():
    """Fragments of one message, one every tenth of a second."""
    for _ in range(100):
        yield "x"
        time.sleep(0.1)


def test_a_frame_beyond_four_times_the_limit_ends_its_connection_and_a_shorter_one_does_not(hasty):
    with connect("ws" + hasty.base_url[4:] + "/ws", proxy=None, open_timeout=SLOW_S) as ws:
        ws.send(json.dumps({"type": "step", "data": {"x": "y" * 2**19}}))
        assert "at most 524288 bytes" in strict(ws.recv())["data"]["message"]
        ws.send("x" * (2**21 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
    assert closed.value.rcvd.code == 1009


def test_a_peer_that_answers_no_ping_gives_its_place_back_and_one_that_does_keeps_it(hasty):
    url = "ws" + hasty.base_url[4:] + "/ws"
    with connect(url, proxy=None, open_timeout=SLOW_S) as thinking, dial(hasty) as gone:
        thinking.send('{"type":"reset","data":{"seed":1}}')
        first = strict(thinking.recv())
        gone.sendall(HANDSHAKE.encode())
        assert gone.recv(4096).startswith(b"HTTP/1.1 101")
        assert code(url) == "CAPACITY_REACHED"
        begun = time.monotonic()
        while code(url) == "CAPACITY_REACHED":
            assert time.monotonic() - begun < SLOW_S
            time.sleep(0.1)
        time.sleep(4)  # longer than a ping may be unanswered
        thinking.send('{"type":"state"}')
        state = strict(thinking.recv())
    assert state["data"]["episode_id"] == first["data"]["observation"]["episode_id"]


def code(url):
    """What a newcomer is told: an error's code, or the type of the reply."""
    with connect(url, proxy=None, open_timeout=SLOW_S) as ws:
        with contextlib.suppress(ConnectionClosed):  # a newcomer without a place is told so, and closed
            ws.send('{"type":"state"}')
        reply = strict(ws.recv())
    return reply["data"].get("code", reply["type"])


# ---------------------------------------------------------------- whatever serves the application
def test_a_slow_body_is_refused_by_the_application_itself():
    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    async def unreached(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the body never came")

    answered: list[Message] = []

    async def send(message: Message) -> None:
        answered.append(message)

    scope = {"type": "http", "method": "POST", "path": "/reset", "headers": [(b"content-length", b"9")]}
    asyncio.run(Guard(unreached, max_body_bytes=100, request_s=0.05)(scope, never, send))

    assert answered[0]["status"] == 408
    assert json.loads(answered[1]["body"]) == {
        "detail": "Expected a whole body within 0.05 s, got a part of one. Send it faster, or a shorter one."
    }


# ---------------------------------------------------------------- memory
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"headers": [(b"x", b"a" * (MAX_HEAD_BYTES - 5))]}, 200),
        ({"headers": [(b"x", b"a" * (MAX_HEAD_BYTES - 4))]}, 431),
        ({"headers": [(b"a", b"b")] * (MAX_HEAD_BYTES // 6 + 1)}, 431),
        ({"headers": [], "raw_path": b"/" * (MAX_HEAD_BYTES + 1)}, 431),
        ({"headers": [], "query_string": b"a" * (MAX_HEAD_BYTES + 1)}, 431),
    ],
)
def test_the_application_itself_refuses_a_long_head(kind, more, status):
    async def reached(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    answered: list[Message] = []

    async def send(message: Message) -> None:
        answered.append(message)

    scope = {"type": kind, "method": "GET", "path": "/mcp", "extensions": {"websocket.http.response": {}}}
    asyncio.run(Guard(reached, max_body_bytes=100)({**scope, **more}, None, send))

    assert answered[0]["status"] == status


def test_glibc_is_told_of_two_heaps_and_of_large_blocks_and_another_library_of_nothing(monkeypatch):
    told = []
    libc = SimpleNamespace(mallopt=lambda *setting: told.append(setting) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    assert bound_heaps() is True
    assert told == [(-8, 2), (-3, 1_048_576)]

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert bound_heaps() is False
