"""The fence around the demo, at the root and below a path: no file of the host comes back, odd calls are told in words, nobody is thrown out."""

import asyncio
import gc
import json
import re
from types import SimpleNamespace

import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

from app_runtime import Settings
from app_runtime.guard import BODY
from demo import fence
from demo.fence import HEARTBEAT, JOIN, PATH, Fence
from demo.visits import Visits
from server import whole_app

CANARY = "canary-5d1f0c"  # what the file holds that nobody may see
SALT = "salt-77c2ae"

# Gradio leaves the event loops that it asked for open; they are collected here, where nobody minds.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", params=["", "/x", "/demo"])
def service(request):
    """A client of the service below a path, as `uvicorn --root-path` puts it."""
    app = whole_app(Settings(salt=SALT))
    with TestClient(app, root_path=request.param, raise_server_exceptions=False) as client:
        client.base_url = client.base_url.join(f"{request.param}/")
        yield client
    gc.collect()


@pytest.fixture(scope="module")
def app(service):
    return service.app


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    file = tmp_path_factory.mktemp("host") / "canary.txt"
    file.write_text(CANARY)
    return file


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where Gradio keeps the files that it was made to read."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


def demo(app):
    return next(route for route in app.routes if isinstance(route, Mount) and route.path == PATH)


def clicks(app):
    """The page's clicks: how many values each carries, by number."""
    return {number: len(function.inputs) for number, function in demo(app).app._page.blocks.fns.items()}


def join(service, data, number, session="thief", **more):
    return service.post(f"demo{JOIN}", json={"data": data, "fn_index": number, "session_hash": session, **more})


def told(service, session):
    """What came of the clicks of a session."""
    return service.get(f"demo/gradio_api/queue/data?session_hash={session}").text


def secret(text):
    return [one for one in (CANARY, SALT) if one in text]


# ---------------------------------------------------------------- files
def test_no_route_gives_a_file_of_the_host(app, service, canary, kept):
    paths = _paths(app.routes) | {f"/demo{path}" for path in _paths(demo(app).routes)}
    assert len(paths) > 50
    for path in sorted(paths):
        if "heartbeat" in path:  # a stream without an end
            continue
        for name in (str(canary), f"..{canary}", f"{'../' * 12}{canary}", f"%2e%2e{canary}", "/proc/self/environ"):
            filled = re.sub(r"\{[^}]*\}", name.lstrip("/") if "=" not in path else name, path).lstrip("/")
            for method in ("GET", "POST"):
                answer = service.request(method, filled, json={} if method == "POST" else None)
                assert not secret(answer.text), (method, filled)
    assert list(kept.iterdir()) == []


def _paths(routes):
    """The paths of routes, of included routers too."""
    below = (
        path for route in routes if hasattr(route, "original_router") for path in _paths(route.original_router.routes)
    )
    return {*below, *(route.path for route in routes if getattr(route, "path", "") and not isinstance(route, Mount))}


@pytest.mark.parametrize("form", ["value", "in a list", "in a table", "with an address"])
def test_no_click_reads_a_file_of_the_host(app, service, canary, kept, form):
    path = str(canary) if form != "with an address" else f"file://{canary}"
    named = {"path": path, "url": path, "orig_name": "a", "meta": {"_type": "gradio.FileData"}}
    table = {"headers": ["field", "value"], "data": [["process_path", named]], "metadata": None}
    value = {"in a list": [named], "in a table": table}.get(form, named)
    for number, inputs in clicks(app).items():
        for place in range(inputs):
            answer = join(service, [None] * place + [value] + [None] * (inputs - place - 1), number)
            assert answer.status_code == 422, (number, place)
            assert set(answer.json()) == {"detail"}
    assert list(kept.iterdir()) == []


def test_a_click_with_a_file_s_name_as_text_is_answered_without_the_file(app, service, canary, kept):
    for number, inputs in clicks(app).items():
        session = f"named{number}"
        answer = join(service, [str(canary)] * inputs, number, session, event_data={"path": str(canary)})
        assert answer.status_code == 200
        assert not secret(told(service, session)), number
    assert list(kept.iterdir()) == []


def test_the_fence_stands_below_a_path_too(service):
    page = service.get("demo/")

    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert service.get("demo/gradio_api/openapi.json").status_code == 404
    assert service.get("demo/gradio_api/queue/status").status_code == 404


@pytest.mark.parametrize(
    ("path", "where"),
    [("", "/demo/"), ("demo", "/demo/"), ("demo?task=stage2_multi&seed=5", "/demo/?task=stage2_multi&seed=5")],
)
def test_the_ways_to_the_demo_stay_below_the_path(service, path, where):
    answer = service.get(path, follow_redirects=False)

    assert answer.headers["location"] == f"{service.base_url.path.rstrip('/')}{where}"


def test_a_websocket_of_the_demo_is_closed(app):
    sent = []

    async def note(message):
        sent.append(message["type"])

    asyncio.run(demo(app).app({"type": "websocket", "path": "/demo/x", "root_path": PATH}, None, note))

    assert sent == ["websocket.close"]


# ---------------------------------------------------------------- odd calls
ODD = {
    "an unknown click": {"fn_index": 999},
    "a click of another kind": {"fn_index": "1"},
    "a negative click": {"fn_index": -1},
    "a truth": {"fn_index": True},
    "no click": {"fn_index": None},
    "a long number": {"fn_index": int("1" * 400)},
    "an empty session": {"session_hash": ""},
    "a session of signs": {"session_hash": "a\n2026 CRITICAL \x1b[31m"},
    "a long session": {"session_hash": "a" * 65},
    "no session": {"session_hash": None},
    "an odd trigger": {"trigger_id": "x"},
    "too few values": {"data": []},
    "too many values": {"data": ["x"] * 9},
    "no list": {"data": {"a": 1}},
    "a long number as a value": {"data": [int("1" * 400)] * 5},
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_click_is_refused_in_words(app, service, what, capfd):
    first = next(number for number, inputs in clicks(app).items() if inputs == 5)
    sent = {"data": [None] * 5, "fn_index": first, "session_hash": "odd", **ODD[what]}
    answer = service.post(f"demo{JOIN}", json=sent)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Expected")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "queue/data", 422),
        ("GET", "queue/data?session_hash=", 422),
        ("GET", "queue/data?session_hash=nobody", 404),
        ("GET", "queue/join", 405),
        ("POST", "queue/data?session_hash=a", 405),
        ("POST", "cancel", 422),
        ("POST", "reset", 422),
        ("GET", "heartbeat/a%20b", 422),
        ("DELETE", "heartbeat/a", 405),
    ],
)
def test_an_odd_call_is_refused_in_words(service, method, path, status, capfd):
    answer = service.request(method, f"demo/gradio_api/{path}", json={"event_id": 5} if method == "POST" else None)

    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "value", ["x\n2026-11-27 CRITICAL fake line \x1b[31mRED", ["x\nCRITICAL"], {"data": "\x1b[31m"}]
)
def test_no_text_of_a_click_reaches_the_log(app, service, value, capfd, caplog):
    for number, inputs in clicks(app).items():
        session = f"loud{number}"
        assert join(service, [value] * inputs, number, session).status_code == 200
        told(service, session)

    logged = "".join([*capfd.readouterr(), caplog.text])
    assert "CRITICAL" not in logged
    assert "\x1b[31m" not in logged


def answered(status, body=b"Internal Server Error"):
    """What the fence makes of an answer of Gradio's."""

    async def gradio(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    page = SimpleNamespace(inputs=lambda _: 0, welcome=lambda *_: True)
    click = {"data": [], "fn_index": 1, "session_hash": "a"}
    scope = {"type": "http", "method": "POST", "root_path": PATH, "path": f"{PATH}{JOIN}", BODY: click}
    sent = []

    async def note(message):
        sent.append(message)

    asyncio.run(Fence(gradio, page)(scope, None, note))
    return sent


@pytest.mark.parametrize(("status", "says"), [(500, "our side"), (400, "Expected"), (503, "try again in 5 seconds")])
def test_an_error_of_gradio_s_is_told_in_our_form(status, says):
    start, body = answered(status)

    assert start["status"] == status
    assert says in json.loads(body["body"])["detail"]
    assert (b"retry-after" in dict(start["headers"])) == (status == 503)


# ---------------------------------------------------------------- a place for everybody
def visits(capacity, most_waiting=128):
    waiting = {}
    queue = SimpleNamespace(pending_event_ids_session=waiting, pending_messages_per_session={})
    default = SimpleNamespace(blocks={})
    page = SimpleNamespace(state_session_capacity=capacity, default_config=default, blocks={}, _queue=queue)
    return Visits(page, most_waiting=most_waiting), waiting


def test_who_opens_most_sessions_loses_his_own():
    held, _ = visits(4)
    for session, address in (("a", "1.1.1.1"), ("b", "2.2.2.2"), *((f"g{n}", "9.9.9.9") for n in range(100))):
        held.welcome(session, address)
        held[session]

    assert list(held.session_data) == ["a", "b", "g98", "g99"]


def test_the_longest_silent_goes_where_all_hold_alike():
    held, _ = visits(2)
    for session in ("a", "b", "a", "c"):
        held.welcome(session, f"{session}.address")
        held[session]

    assert list(held.session_data) == ["a", "c"]


def test_one_address_cannot_fill_the_queue():
    held, waiting = visits(4, most_waiting=2)
    assert held.welcome("a", "1.1.1.1")
    waiting["a"] = {"1", "2"}

    assert not held.welcome("a", "1.1.1.1")
    assert not held.welcome("b", "1.1.1.1")
    assert held.welcome("c", "2.2.2.2")


def test_one_address_cannot_hold_streams_without_end(monkeypatch):
    monkeypatch.setattr(fence, "MOST_STREAMS", 2)

    async def opened(addresses):
        leave, statuses = asyncio.Event(), []

        async def gradio(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await leave.wait()

        async def note(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        gate = Fence(gradio, SimpleNamespace(is_waiting=lambda _: True))
        scope = {"type": "http", "method": "GET", "root_path": PATH, "path": f"{PATH}{HEARTBEAT}a", "headers": []}
        calls = [asyncio.create_task(gate({**scope, "client": (one, 1)}, None, note)) for one in addresses]
        await asyncio.sleep(0.05)
        leave.set()
        await asyncio.gather(*calls)
        return statuses, gate._streams

    assert asyncio.run(opened(["1.1.1.1"] * 3 + ["2.2.2.2"])) == ([200, 200, 503, 200], {})


def test_clicks_that_leave_no_state_are_forgotten():
    held, _ = visits(2)
    for number in range(1_000):
        held.welcome(f"s{number}", "1.1.1.1")

    assert len(held._addresses) <= 9
