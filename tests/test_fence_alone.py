"""The fence around a stand-in for Gradio: each of its conditions by itself, at its bounds. What comes through to Gradio is recorded."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from app_runtime.guard import BODY
from demo.fence import BELOW, CANCEL, DATA, HEARTBEAT, JOIN, MAX_NUMBER, MOST_STREAMS, PATH, RESET, ROUTES, Fence

CLICK = {"data": ["a"], "fn_index": 7, "session_hash": "abc"}
CANCELLED = {"event_id": "e", "session_hash": "abc", "fn_index": 7}
TEXT = [(b"content-type", b"text/plain")]
GRADIO = "gradio 1f3c"  # what the stand-in answers


class StandIn:
    """What the fence stands around, and what it asks the page."""

    def __init__(self, status=200, *, waiting=("abc",), full=False):
        self.status, self.waiting, self.full = status, waiting, full
        self.came, self.inside, self.most_inside = [], 0, 0

    def inputs(self, click):
        return {7: 1, 8: 0, 9: 3}.get(click)

    def is_waiting(self, session):
        return session in self.waiting

    def welcome(self, session, address):
        return not self.full

    async def __call__(self, scope, receive, send):
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await asyncio.sleep(0)
        body = json.loads((await receive())["body"]) if receive else None
        self.came.append(
            SimpleNamespace(body=body, **{name: scope.get(name) for name in ("path", "query_string", "type")})
        )
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": self.status, "headers": TEXT})
            await send({"type": "http.response.body", "body": GRADIO.encode()})
        self.inside -= 1


def scope_of(method, path, body=None, query=b""):
    return {
        "type": "http",
        "method": method,
        "root_path": PATH,
        "path": f"{PATH}{path}",
        "query_string": query,
        "headers": [],
        "client": ("1.1.1.1", 1),
        BODY: body,
    }


def call(method, path, body=None, query=b"", gradio=None):
    """Return status, headers and text of one call, and what came through."""
    gradio = gradio or StandIn()
    sent = []

    async def note(message):
        sent.append(message)

    asyncio.run(Fence(gradio, gradio)(scope_of(method, path, body, query), None, note))
    (start,) = [message for message in sent if message["type"] == "http.response.start"]
    text = b"".join(message.get("body", b"") for message in sent).decode()
    return SimpleNamespace(status=start["status"], headers=dict(start["headers"]), text=text, came=gradio.came)


def refused(answer, status, words=""):
    assert (answer.status, answer.came) == (status, [])
    assert words in json.loads(answer.text)["detail"]
    assert GRADIO not in answer.text
    return True


# ---------------------------------------------------------------- routes
@pytest.mark.parametrize(
    "path",
    [*(path for path, method in ROUTES.items() if method == "GET" and path != DATA), *(f"{one}a" for one in BELOW)],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_listed_comes_through_with_the_policy(method, path):
    answer = call(method, path)

    assert (answer.status, len(answer.came)) == (200, 1)
    assert b"content-security-policy" in answer.headers
    assert answer.headers[b"content-type"] == b"text/plain"


@pytest.mark.parametrize(
    "path",
    [
        "/file=/etc/passwd",
        "/assets",
        "/gradio_api/file=x",
        "/gradio_api/upload",
        "/gradio_api/heartbeat",
        "/x/assets/a",
        "//",
        "/config/",
        "/CONFIG",
        "/assets/../../secret",
        "/assets/..",
        "/static/a..b/",
        "/svelte/..\\..\\secret",
        "/assets/a\\b",
        "/gradio_api/heartbeat/../file=x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_is_not_listed_or_leads_upwards_is_refused(method, path):
    assert refused(call(method, path), 404, "There is no /demo/")


@pytest.mark.parametrize("path", [*ROUTES, *(f"{one}a" for one in BELOW)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_refused_and_the_right_one_named(method, path):
    right = ROUTES.get(path, "GET")
    if method == right or (method, right) == ("HEAD", "GET"):
        return
    answer = call(method, path, CLICK)

    assert refused(answer, 405, f"This takes {right}")
    assert answer.headers[b"allow"] == right.encode()


def test_a_websocket_is_closed_and_the_start_of_the_server_is_passed_on():
    gradio, sent = StandIn(), []

    async def note(message):
        sent.append(message)

    async def all_three():
        gate = Fence(gradio, gradio)
        await gate({"type": "websocket", "path": f"{PATH}/config", "root_path": PATH}, None, note)
        assert gradio.came == []
        await gate({"type": "lifespan"}, None, note)

    asyncio.run(all_three())

    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
    assert [one.type for one in gradio.came] == ["lifespan"]


def test_a_query_has_the_names_that_the_page_sends_each_once():
    query = b"view=api&seed=1&task=a%26b&file=/etc/passwd&seed=2&__theme=&session_hash"

    (came,) = call("GET", "/config", query=query).came

    assert came.query_string == b"seed=2&task=a%26b&__theme=&session_hash="


# ---------------------------------------------------------------- clicks
def click(**changed):
    return {name: value for name, value in {**CLICK, **changed}.items() if value != "left out"}


def test_a_click_comes_through_with_what_the_page_sends():
    sent = click(trigger_id=5, event_data={"path": "/etc/passwd"}, username="root", api_name="x")

    (came,) = call("POST", JOIN, sent).came

    assert came.body == {**CLICK, "trigger_id": 5}


@pytest.mark.parametrize(
    "changed",
    [
        {"fn_index": 8, "data": []},
        {"fn_index": 9, "data": [1, None, True]},
        {"data": [MAX_NUMBER]},
        {"data": [-MAX_NUMBER]},
        {"data": [1.5]},
        {"data": [{"headers": ["a"], "data": [["b"]], "metadata": None, "display_value": None, "styling": None}]},
        {"session_hash": "a" * 64},
        {"session_hash": "A-z_9"},
        {"trigger_id": None},
        {"trigger_id": 0},
        {"trigger_id": 10**6 - 1},
    ],
)
def test_an_honest_click_comes_through(changed):
    assert len(call("POST", JOIN, click(**changed)).came) == 1


FILE = {"path": "/etc/passwd"}
ODD_DATA = [
    "left out", None, "a", {"0": "a"}, [FILE], [[FILE]], [{"data": [[FILE]]}], [{"headers": FILE}], [{"data": [], "url": "x"}],
    [MAX_NUMBER + 1], [-MAX_NUMBER - 1], [float("inf")], [float("-inf")], [[float("inf")]], [{"data": [[MAX_NUMBER + 1]]}],
]  # fmt: skip


@pytest.mark.parametrize("data", ODD_DATA)
def test_a_click_of_other_values_is_refused(data):
    assert refused(call("POST", JOIN, click(data=data)), 422, "texts, numbers, lists and tables")


@pytest.mark.parametrize("body", [None, [], "a", 5, [CLICK]])
def test_a_click_that_is_no_object_is_refused(body):
    assert refused(call("POST", JOIN, body), 422, "texts, numbers, lists and tables")


@pytest.mark.parametrize(
    "session", ["left out", None, "", 5, ["abc"], "a" * 65, "a b", "abc\n", "a/b", "\u00e9", "a.b"]
)
def test_a_click_of_no_session_is_refused(session):
    assert refused(call("POST", JOIN, click(session_hash=session)), 422, "session_hash of 1 to 64")


@pytest.mark.parametrize("number", [None, "7", 7.0, True, -1, 10**6, [7]])
@pytest.mark.parametrize("name", ["fn_index", "trigger_id"])
def test_a_click_of_another_number_is_refused(name, number):
    if (name, number) == ("trigger_id", None):
        return
    assert refused(call("POST", JOIN, click(**{name: number})), 422, "small whole numbers")


@pytest.mark.parametrize(("number", "data"), [(7, []), (7, ["a", "b"]), (8, ["a"]), (9, ["a", "b"])])
def test_a_click_of_more_or_fewer_values_is_refused(number, data):
    assert refused(call("POST", JOIN, click(fn_index=number, data=data)), 422, f"got {len(data)}")


def test_a_click_that_the_page_does_not_have_is_refused():
    assert refused(call("POST", JOIN, click(fn_index=6)), 422, "got 6")


def test_a_click_for_which_there_is_no_room_is_told_when_to_come_back():
    answer = call("POST", JOIN, CLICK, gradio=StandIn(full=True))

    assert refused(answer, 503, "try again in 5 seconds")
    assert answer.headers[b"retry-after"] == b"5"


def test_one_click_is_taken_in_at_a_time():
    gradio = StandIn()

    async def nothing(_):
        pass

    async def many():
        gate = Fence(gradio, gradio)
        await asyncio.gather(*(gate(scope_of("POST", JOIN, CLICK), None, nothing) for _ in range(5)))

    asyncio.run(many())

    assert (len(gradio.came), gradio.most_inside) == (5, 1)


# ---------------------------------------------------------------- what comes of a click
@pytest.mark.parametrize("path", [CANCEL, RESET])
def test_a_visitor_cancels_what_it_began(path):
    assert len(call("POST", path, CANCELLED).came) == 1


def test_a_reset_names_an_event_alone():
    assert len(call("POST", RESET, {"event_id": "e"}).came) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(
            (path, body)
            for path in (CANCEL, RESET)
            for body in (None, [], "e", {}, {"event_id": 5}, {"event_id": None})
        ),
        (CANCEL, {"event_id": "e"}),
        (CANCEL, {**CANCELLED, "session_hash": "a b"}),
        (CANCEL, {**CANCELLED, "session_hash": 5}),
        (CANCEL, {**CANCELLED, "fn_index": -1}),
        (CANCEL, {**CANCELLED, "event_id": 5}),
    ],
)
def test_another_cancelling_is_refused(path, body):
    assert refused(call("POST", path, body), 422, "what the page itself sends")


def test_answers_come_to_a_visitor_who_waits_for_some():
    assert len(call("GET", DATA, query=b"session_hash=abc").came) == 1
    assert refused(call("GET", DATA, query=b"session_hash=abd"), 404, "No click of this visitor")


@pytest.mark.parametrize("session", ["", "a" * 65, "a%20b", "abc%0a"])
def test_a_stream_of_no_session_is_refused(session):
    everybody = StandIn(waiting=("", "a" * 65, "a b", "abc\n"))
    assert refused(call("GET", DATA, query=f"session_hash={session}".encode(), gradio=everybody), 422, "session_hash")
    assert refused(call("GET", HEARTBEAT + session.replace("%20", " ").replace("%0a", "\n")), 422, "session_hash")


@pytest.mark.parametrize("path", [DATA, f"{HEARTBEAT}abc"])
def test_streams_of_an_address_are_counted_while_they_last(path):
    leave, statuses = asyncio.Event(), []

    async def gradio(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await leave.wait()
        raise OSError  # the visitor went away

    async def note(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def opened():
        gate = Fence(gradio, StandIn())
        calls = [
            asyncio.create_task(gate(scope_of("GET", path, query=b"session_hash=abc"), None, note))
            for _ in range(MOST_STREAMS + 1)
        ]
        await asyncio.sleep(0.05)
        held = dict(gate._streams)
        leave.set()
        await asyncio.gather(*calls, return_exceptions=True)
        return held, gate._streams

    assert asyncio.run(opened()) == ({"1.1.1.1": MOST_STREAMS}, {})
    assert statuses == [200] * MOST_STREAMS + [503]


# ---------------------------------------------------------------- Gradio's answers
@pytest.mark.parametrize("path", ["/config", JOIN, f"{HEARTBEAT}abc"])
@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_an_error_of_gradio_s_is_told_in_our_words(path, status):
    answer = call(ROUTES.get(path, "GET"), path, CLICK, gradio=StandIn(status))

    assert answer.status == status
    assert GRADIO not in answer.text
    words = {404: "nothing of this name", 500: "our side", 503: "try again in 5 seconds"}
    assert words.get(status, "Expected what the page itself sends") in json.loads(answer.text)["detail"]


@pytest.mark.parametrize("status", [200, 206, 304, 307, 399])
def test_another_answer_of_gradio_s_is_passed_on(status):
    answer = call("GET", "/config", gradio=StandIn(status))

    assert (answer.status, answer.text) == (status, GRADIO)
