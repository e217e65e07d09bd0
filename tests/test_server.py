"""`server.py` as a process, over real sockets: its start, the limits that only a network has, and the SDK's own client."""

import gc
import json
import resource
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
import uvicorn
from openenv.core.mcp_client import MCPToolClient
from websockets.sync.client import connect

import app_runtime.app
import server
from app_runtime import journal
from app_runtime.settings import Settings
from local_provider import ServerProcess
from service import TRIAGE, strict

ROOT = Path(__file__).resolve().parent.parent
DIRECT = {"trust_env": False, "timeout": 120}  # no proxy between us and the loopback
MB = 1_000_000


# ---------------------------------------------------------------- the start
class Server:
    """Stands for uvicorn's: notes where it would have listened, in place of serving."""

    calls: ClassVar[list] = []

    def __init__(self, config):
        pass

    def run(self, sockets):
        self.calls.append([listener.getsockname() for listener in sockets])
        for listener in sockets:
            listener.close()


@pytest.fixture
def started(monkeypatch):
    """The addresses on which `main` would have served."""
    monkeypatch.setattr(Server, "calls", [])
    monkeypatch.setattr(uvicorn, "Server", Server)
    for name in ("_raise_file_limit", "_calm_the_collector"):  # these would outlive the test
        monkeypatch.setattr(server, name, lambda: None)
    for name in ("PORT", "OPENSOC_HOST", "OPENSOC_MAX_EPISODES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(journal, "set_up", lambda **_: None)
    monkeypatch.setenv("OPENSOC_DEMO", "0")  # test_demo_app.py has the demo
    yield Server.calls
    vars(server).pop("app", None)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_the_owners_port_is_the_default():
    assert (Settings().host, Settings().port) == ("0.0.0.0", 7860)


def test_a_variable_overrides_the_default_and_a_flag_the_variable(started, monkeypatch):
    first, second = free_port(), free_port()
    monkeypatch.setenv("PORT", str(first))
    server.main([])
    server.main(["--host", "127.0.0.1", "--port", str(second)])

    assert started == [[("0.0.0.0", first)], [("127.0.0.1", second)]]


def test_a_busy_port_is_told_before_anything_is_said_to_listen(started, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SystemExit,
            match=f"cannot start. Expected to listen on 127.0.0.1 port {port}, and got: Address already in use",
        ):
            server.main(["--host", "127.0.0.1", "--port", str(port)])

    assert capsys.readouterr().out == ""
    assert not started


@pytest.mark.parametrize(
    "host", ["999.1.1.1", "1:2", "a..b", "x" * 70], ids=["no address", "no IPv6", "no label", "too long"]
)
def test_what_is_no_address_is_refused_in_a_sentence(started, host):
    with pytest.raises(SystemExit, match=rf"cannot start. Expected to listen on {host} port 0, and got: [\w -]+"):
        server.main(["--host", host, "--port", "0"])
    assert not started


def test_a_second_port_that_is_busy_is_told_too(started, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OPENSOC_ALSO_PORT", str(taken.getsockname()[1]))
        with pytest.raises(
            SystemExit, match=r"cannot start. Expected to listen on 127.0.0.1 port .*Address already in use"
        ):
            server.main(["--host", "127.0.0.1", "--port", str(free_port())])


def test_every_address_of_ipv6_is_every_address_of_ipv4_too(started, monkeypatch, capsys):
    first, second = free_port(), free_port()
    monkeypatch.setenv("OPENSOC_ALSO_PORT", str(second))
    server.main(["--host", "::", "--port", str(first)])

    assert [address[:2] for address in started[0]] == [("::", first), ("::", second)]
    assert f"listens on http://[::]:{first} " in capsys.readouterr().out
    with server._bind("::", free_port()) as listener:
        listener.listen()
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=60).close()


def test_a_variable_that_sets_nothing_is_told_at_the_start(started, monkeypatch, capsys):
    monkeypatch.setenv("OPENSOC_SALTT", "s3cret")
    server.main(["--host", "127.0.0.1", "--port", "0"])

    told = capsys.readouterr().err
    assert "Warning: The environment variable 'OPENSOC_SALTT' sets nothing" in told
    assert "s3cret" not in told


def test_a_second_port_serves_the_same_episodes_and_ctrl_c_ends_both_without_a_traceback():
    second = free_port()
    with ServerProcess(ROOT, env={"OPENSOC_ALSO_PORT": str(second), "OPENSOC_DEMO": "0"}) as process:
        episode_id = httpx.post(f"{process.base_url}/reset", params={"seed": 1}, **DIRECT).json()["episode_id"]
        state = httpx.get(f"http://127.0.0.1:{second}/state", params={"episode_id": episode_id}, **DIRECT)
        process.process.send_signal(signal.SIGINT)
        code = process.process.wait(timeout=120)
        said = process.logs()

    assert state.json()["episode_id"] == episode_id
    assert code == 130
    assert "Traceback" not in said


def test_the_app_can_be_named_to_uvicorn(started, capsys):
    assert "/step" in server.app.openapi()["paths"]
    assert server.app is server.app
    assert capsys.readouterr().err == f"Warning: {server.UNBOUNDED}\n"
    with pytest.raises(AttributeError, match="no attribute 'application'"):
        server.application  # noqa: B018


def test_garbage_is_collected_from_the_end_of_the_start_on(started, monkeypatch):
    during = []
    create = app_runtime.app.create_app
    monkeypatch.setattr(
        app_runtime.app, "create_app", lambda settings: during.append(gc.isenabled()) or create(settings)
    )
    monkeypatch.setattr(sys, "argv", ["server.py", "--host", "127.0.0.1", "--port", str(free_port())])
    for name in ("freeze", "set_threshold"):  # these would outlive the test
        monkeypatch.setattr(gc, name, lambda *_: None)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        runpy.run_path(str(ROOT / "server.py"), run_name="__main__")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        sys.setswitchinterval(0.005)

    assert (during, gc.isenabled(), len(started)) == ([False], True, 1)


def test_the_app_of_uvicorn_warns_as_our_command_does(started, monkeypatch, capsys):
    monkeypatch.setenv("OPENSOC_SALTT", "x")
    monkeypatch.setenv("OPENSOC_SALT", "short")
    assert server.app

    _, typo, doubt = capsys.readouterr().err.splitlines()
    assert "'OPENSOC_SALTT' sets nothing" in typo
    assert doubt.startswith("Warning: OPENSOC_SALT has fewer than 16 characters")


def test_a_wrong_setting_stops_the_start_with_a_sentence(started, monkeypatch):
    monkeypatch.setenv("OPENSOC_MAX_EPISODES", "many")

    with pytest.raises(SystemExit, match=r"OpenSOC cannot start.*OPENSOC_MAX_EPISODES.*'many'"):
        server.main([])
    assert not started


# ---------------------------------------------------------------- real sockets
def test_ten_megabytes_are_refused_and_the_connection_can_be_used_again(url):
    with httpx.Client(base_url=url, **DIRECT) as client:
        for _ in range(3):
            reply = client.post("/step", content=b"x" * 10 * MB)
            assert reply.status_code == 413
            assert strict(reply.text)["detail"]
        assert client.post("/reset", json={"seed": 1}).status_code == 200


def test_ten_megabytes_in_chunks_are_refused(url):
    with httpx.Client(base_url=url, **DIRECT) as client:
        assert client.post("/step", content=iter([b"x" * MB] * 10)).status_code == 413
        assert client.post("/reset").status_code == 200


def test_a_frame_of_one_megabyte_is_answered_and_the_episode_lives_on(url):
    with connect("ws" + url[4:] + "/ws", proxy=None, open_timeout=120, max_size=None) as ws:
        ws.send('{"type":"reset","data":{"seed":1}}')
        assert strict(ws.recv())["type"] == "observation"
        ws.send(json.dumps({"type": "step", "data": {"submit_triage": "x" * MB}}))
        assert strict(ws.recv())["data"]["code"] == "VALIDATION_ERROR"
        ws.send(b"\x00")
        assert strict(ws.recv())["data"]["code"] == "VALIDATION_ERROR"
        ws.send(json.dumps({"type": "step", "data": {"submit_triage": TRIAGE}}))
        assert strict(ws.recv())["data"]["done"] is True


def test_a_client_that_leaves_in_the_middle_harms_nobody(url):
    for _ in range(3):
        with connect("ws" + url[4:] + "/ws", proxy=None, open_timeout=120) as ws:
            ws.send('{"type":"reset","data":{}}')
            ws.send(b"\x00" * 1000)
            ws.socket.shutdown(socket.SHUT_RDWR)
    assert httpx.get(url + "/health", **DIRECT).json() == {"status": "healthy"}


def test_the_sdks_tool_client_plays_an_episode(url):
    with MCPToolClient(base_url=url).sync() as client:
        assert {tool.name for tool in client.list_tools()} == {"craft_incident", "submit_triage"}
        reset = client.reset(seed=5)
        result = client.call_tool("submit_triage", **TRIAGE)
        state = client.state()

    assert result["episode_id"] == reset.observation.episode_id == state.episode_id
    assert result["done"] is True
