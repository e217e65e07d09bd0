"""What an operator sees: the log in lines of JSON, request ids, figures, readiness."""

import asyncio
import io
import json
import logging
import os
import subprocess
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from app_runtime import journal, watch
from app_runtime.journal import JsonLine
from app_runtime.watch import Figures, Processes, Watch, pids
from app_runtime.workers import COUNTED_IN
from local_provider import ServerProcess
from service import TRIAGE, begin, problem, serve

ROOT = Path(__file__).resolve().parent.parent
DIRECT = {"trust_env": False, "timeout": 120}
HOSTILE = 'x\n2030-01-01 CRITICAL fake line \x1b[31mRED\u2028\x85 {"level": "ERROR"}'


def record(message, *args, **more):
    made = logging.LogRecord("opensoc.test", logging.ERROR, __file__, 1, message, args, more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


# ---------------------------------------------------------------- lines
def test_no_text_of_a_caller_begins_a_line_or_colours_a_terminal():
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    line = JsonLine().format(record("got %s", HOSTILE, exc_info=info, fields={"path": HOSTILE, "level": HOSTILE}))

    assert line.isascii()
    assert line.isprintable()  # no line break, no escape
    told = json.loads(line)
    assert (told["level"], told["message"], told["path"]) == ("ERROR", f"got {HOSTILE}", HOSTILE)
    assert told["traceback"].startswith("Traceback")


def test_a_line_is_bounded():
    line = JsonLine().format(record("%s", "x" * 1_000_000))

    assert len(json.loads(line)["message"]) == journal.MAX_MESSAGE


def test_a_reader_of_the_log_that_stops_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(journal, "MAX_WAITING", 3)
    lines = journal._Lines(journal.queue.Queue(journal.MAX_WAITING))
    lines.setFormatter(JsonLine())
    for number in range(10):
        lines.handle(record("%s", number))

    assert [json.loads(lines.queue.get_nowait().msg)["message"] for _ in range(3)] == ["0", "1", "2"]
    assert lines.queue.empty()


# ---------------------------------------------------------------- the server's own log
def test_a_call_is_a_line_with_its_request_id_and_without_its_query():
    with ServerProcess(ROOT, env={"OPENSOC_ACCESS_LOG": "1", "OPENSOC_DEMO": "0"}) as process:
        url = process.base_url
        reply = httpx.post(f"{url}/reset?episode_id=secret-id", headers={"X-Request-ID": "mine-1"}, **DIRECT)
        httpx.get(f"{url}/%0aERROR%1b[31m", headers={"X-Request-ID": "a b"}, **DIRECT)
        with connect("ws" + url[4:] + "/ws", proxy=None, open_timeout=120) as ws:
            ws.send('{"type":"reset","data":{}}')
            ws.recv()
            told_id = ws.response.headers["X-Request-ID"]
        time.sleep(0.5)
        lines = process.logs().splitlines()

    assert reply.headers["X-Request-ID"] == "mine-1"
    assert lines[0].startswith("OpenSOC listens on")
    calls = [json.loads(line) for line in lines[1:]]
    assert {call["logger"] for call in calls} == {"opensoc.access"}
    calls = [call for call in calls if call["path"] != "/health"]  # asked until the server was there
    assert [(call["method"], call["path"], call["status"]) for call in calls] == [
        ("POST", "/reset", 200),
        ("GET", "/\nERROR\x1b[31m", 404),
        ("WS", "/ws", 1000),
    ]
    assert calls[0]["request_id"] == "mine-1"
    assert calls[1]["request_id"] != "a b"
    assert (calls[2]["request_id"], calls[2]["frames"]) == (told_id, 1)
    assert "secret-id" not in "".join(lines)


def test_a_line_has_the_path_that_was_called_below_a_mounted_application_too(monkeypatch):
    called = []
    monkeypatch.setattr(watch.access_log, "isEnabledFor", lambda _: True)
    monkeypatch.setattr(watch.access_log, "info", lambda _, extra: called.append(extra["fields"]["path"]))

    with serve() as client:
        paths = ["/docs/files/swagger-ui.css", "/docs/files/none", "/demo/none", "/tasks"]
        for path in paths:
            client.get(path)

    assert called == paths


@pytest.mark.parametrize(
    ("path", "pattern", "route"),
    [
        ("/demo/", "/{x}", "/demo"),
        ("/demo/config", None, "/demo"),
        ("/demos", None, "other"),
        ("/a/1", "/a/{n}", "/a/{n}"),
    ],
)
def test_calls_of_the_demo_count_as_its_own(path, pattern, route):
    figures, scope = Figures(), {"type": "http", "method": "GET", "path": path, "headers": [], "client": None}

    async def mounted(scope, receive, send):
        scope |= {"root_path": "/demo", "route": pattern and SimpleNamespace(path=pattern)}
        await send({"type": "http.response.start", "status": 200})

    async def nothing(*_):
        return {}

    asyncio.run(Watch(mounted, figures=figures)(scope, nothing, nothing))

    samples = [sample for metric in figures.requests.collect() for sample in metric.samples]
    assert {sample.labels["route"] for sample in samples} == {route}


def test_an_error_of_ours_is_one_line_that_quotes_nobody(monkeypatch):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    monkeypatch.setattr(logging.getLogger("opensoc"), "handlers", [handler])

    def fails(*_):
        raise RuntimeError(HOSTILE)

    with serve() as client:
        monkeypatch.setattr(client.app.state.episodes, "start", fails)
        problem(client.post("/reset", headers={"X-Request-ID": "r-1"}), 500)

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["request_id"] == "r-1"
    assert "CRITICAL" not in line


# ---------------------------------------------------------------- request ids
@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "\u00e9".encode(), "a;b"])
def test_what_is_no_request_id_is_replaced(client, sent):
    made = client.get("/tasks", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

    assert len(made) == 32
    assert made != client.get("/tasks").headers["X-Request-ID"]


def test_every_answer_has_the_request_id_that_came(client):
    for method, path, body in (("GET", "/nowhere", b""), ("POST", "/step", b"{"), ("POST", "/mcp", b"[]")):
        reply = client.request(method, path, content=body, headers={"X-Request-ID": "Az0._:-"})
        assert reply.headers["X-Request-ID"] == "Az0._:-"


# ---------------------------------------------------------------- figures
def figures(client):
    samples = (
        sample for family in text_string_to_metric_families(client.get("/metrics").text) for sample in family.samples
    )
    return {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}


def test_calls_are_counted_by_route_and_status_and_no_caller_makes_a_name():
    with serve() as client:
        episode_id = begin(client)["episode_id"]
        client.post("/step", json={"submit_triage": TRIAGE}, params={"episode_id": episode_id})
        client.post("/step", json={})
        for path in ("/a", "/b"):
            client.get(path)
        client.request("BREW", "/tasks")
        with client.websocket_connect("/ws") as ws:
            ws.send_text('{"type": "reset", "data": {}}')
            ws.receive_json()
            seen = figures(client)
        after = figures(client)

    assert seen["opensoc_requests_total", "/reset", "200", "POST"] == 1
    assert seen["opensoc_requests_total", "/step", "200", "POST"] == 1
    assert seen["opensoc_requests_total", "/step", "422", "POST"] == 1
    assert seen["opensoc_requests_total", "404", "GET", "other"] == 2
    assert {key for key in seen if "BREW" in key} == set()
    assert seen["opensoc_request_seconds_count", "/reset"] == 1
    assert (seen["opensoc_sockets", "/ws"], after["opensoc_sockets", "/ws"]) == (1, 0)
    assert seen["opensoc_frames_total", "/ws"] == 1
    assert (seen["opensoc_episodes",], seen["opensoc_sessions",]) == (1, 1)
    assert ("process_resident_memory_bytes",) in seen


def test_processes_that_count_together_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv(COUNTED_IN, str(tmp_path))
    other = os.getpid() + 1
    for name in (f"gauge_livesum_{other}.db", f"gauge_livesum_{os.getpid()}.db", f"counter_{os.getppid()}.db"):
        (tmp_path / name).touch()

    assert pids() == [os.getpid(), other]


def test_figures_of_processes_are_summed():
    """Two that wait for lines: this process opens and closes files while it is read."""
    cat = partial(subprocess.Popen, ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with cat() as one, cat() as other:
        for each in (one, other):
            each.stdin.write(b"ready\n")
            each.stdin.flush()
            assert each.stdout.readline() == b"ready\n"  # it has opened what it needs
        first, second, both = (
            {metric.name: metric.samples[0].value for metric in Processes(lambda each=each: each).collect()}
            for each in ([one.pid], [other.pid], [one.pid, other.pid])
        )
    assert second["process_open_fds"] > 0
    assert both["process_open_fds"] == first["process_open_fds"] + second["process_open_fds"]
    assert both["process_start_time_seconds"] == min(each["process_start_time_seconds"] for each in (first, second))
    assert list(Processes(lambda: [other.pid]).collect()) == []


def test_figures_can_be_closed():
    with serve(metrics=False) as client:
        problem(client.get("/metrics"), 404)
    with serve(token="0123456789abcdef") as client:
        problem(client.get("/metrics"), 401)


# ---------------------------------------------------------------- readiness
def test_a_full_server_is_alive_and_not_ready():
    with serve(max_episodes=1, max_sessions=1) as client:
        assert client.get("/ready").json() == {"status": "ready"}
        episode_id = begin(client)["episode_id"]
        assert "places for episodes" in problem(client.get("/ready"), 503)
        assert client.get("/health").status_code == 200
        client.post("/step", json={"submit_triage": TRIAGE}, params={"episode_id": episode_id})
        assert client.get("/ready").status_code == 200
        with client.websocket_connect("/ws") as ws:
            ws.send_text('{"type": "reset", "data": {}}')
            ws.receive_json()
            assert "places for WebSocket" in problem(client.get("/ready"), 503)
