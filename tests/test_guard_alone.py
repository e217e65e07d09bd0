"""The guard around a stand-in for the application: each of its conditions by itself, at its bounds. What comes through is recorded."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from app_runtime.guard import _SHORT_CHARS, BODY, Guard, _head_bytes
from app_runtime.json_input import MAX_DEPTH
from app_runtime.quota import HOLDER
from app_runtime.refusal import MAX_HEAD_BYTES
from app_runtime.sessions import LINE

MAX = 5000  # bytes of a body, characters of a frame
JSON = (b"content-type", b"application/json")


def scope_of(kind="http", path="/reset", method="POST", headers=(), query=b""):
    return {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [*headers],
        "client": ("::ffff:10.1.2.3", 5),
    }


def run(app, scope, messages, request_s=None, max_body_bytes=MAX):
    """Return what the guard sent for a scope and the messages that came; an exception among them is raised to who receives."""
    sent, came = [], iter(messages)

    async def receive():
        message = next(came, None)
        if message is None:
            await asyncio.sleep(3600)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(message):
        sent.append(message)

    async def within():
        await asyncio.wait_for(Guard(app, max_body_bytes=max_body_bytes, request_s=request_s)(scope, receive, send), 5)

    asyncio.run(within())
    return sent


def answer(sent):
    text = b"".join(message.get("body", b"") for message in sent).decode()
    return SimpleNamespace(status=sent[0]["status"], text=text)


class App:
    """Reads a body to its end, and records it beside what the guard left in the scope and around."""

    def __init__(self, fault=None, after_start=False):
        self.fault, self.after_start, self.came = fault, after_start, []

    async def __call__(self, scope, receive, send):
        if self.fault and not self.after_start:
            raise self.fault
        self.came.append(SimpleNamespace(value=scope[BODY], raw=(await receive()).get("body"), holder=HOLDER.get()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.fault:
            raise self.fault
        await send({"type": "http.response.body", "body": b"from the application"})


def post(raw, path="/reset", *, headers=None, method="POST", app=None, **options):
    """Post a body in one part, or several, and return the answer and what came through."""
    app = app or App()
    parts = raw if isinstance(raw, list) else [raw]
    length = str(sum(map(len, parts))).encode()
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts[:-1]]
    messages.append({"type": "http.request", "body": parts[-1], "more_body": False})
    headers = [JSON, (b"content-length", length)] if headers is None else headers
    told = answer(run(app, scope_of(path=path, method=method, headers=headers), messages, **options))
    return SimpleNamespace(**vars(told), came=app.came)


CHUNKED = [JSON, (b"transfer-encoding", b"chunked")]


# ---------------------------------------------------------------- bodies
@pytest.mark.parametrize("headers", [None, CHUNKED])
@pytest.mark.parametrize("parts", [[b'{"a": 1}'], [b'{"a"', b": 1", b"}"]])
def test_a_body_is_parsed_once_and_replayed(parts, headers):
    (came,) = post(parts, headers=headers).came

    assert (came.value, came.raw, came.holder) == ({"a": 1}, b'{"a": 1}', "10.1.2.3")


@pytest.mark.parametrize("path", ["/step", "/grade", "/triage"])
def test_the_body_of_some_paths_stays_text(path):
    assert post(b"{no json", path).came[0].value == "{no json"


@pytest.mark.parametrize("raw", [b"", b" \n"])
def test_a_body_of_blanks_is_none(raw):
    assert post(raw).came[0].value is None


@pytest.mark.parametrize(("method", "headers"), [("GET", None), ("HEAD", None), ("POST", [])])
def test_what_has_no_body_is_not_read(method, headers):
    assert post(b"{", method=method, headers=headers).came[0].value is None


@pytest.mark.parametrize("headers", [None, CHUNKED, [JSON, (b"content-length", b"5")]])
@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
def test_the_longest_body_is_taken_and_no_longer_one(headers, more, status):
    half = MAX // 2
    parts = [b" " * half, b" " * (MAX - half + more)]
    told = post(parts, headers=headers)

    assert (told.status, len(told.came)) == (status, status == 200)


def test_what_is_declared_too_long_is_refused_unread():
    app = App()
    headers = [JSON, (b"content-length", str(MAX + 1).encode())]

    assert answer(run(app, scope_of(headers=headers), [])).status == 413
    assert (
        answer(
            run(app, scope_of(headers=[*headers[:1], (b"content-length", str(MAX).encode())]), [], request_s=0.01)
        ).status
        == 408
    )


def test_a_body_that_breaks_off_is_refused():
    app = App()
    told = answer(
        run(
            app,
            scope_of(headers=CHUNKED),
            [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}],
        )
    )

    assert (told.status, app.came) == (408, [])


def test_a_lone_surrogate_of_a_body_is_no_more_in_what_is_replayed():
    (came,) = post(rb'{"a": "\ud800"}').came

    assert (came.value, json.loads(came.raw)) == ({"a": "?"}, {"a": "?"})


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"a": NaN}', b"[" * 70 + b"]" * 70])
def test_what_is_no_json_is_refused(raw):
    assert (post(raw).status, post(raw).came) == (400, [])


# ---------------------------------------------------------------- JSON-RPC over HTTP
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[]", -32600),
        (b"5", -32600),
        (b"{", -32700),
        (b'{"params": {"session_id": 5}}', -32600),
        (b'{"params": {"session_id": []}}', -32600),
    ],
)
def test_a_request_that_the_sdk_could_not_take_is_an_error_of_json_rpc(raw, code):
    told = post(raw, "/mcp")

    assert (told.status, told.came) == (200, [])
    assert json.loads(told.text)["error"]["code"] == code


@pytest.mark.parametrize(
    "raw",
    [b'{"params": {"session_id": "a"}}', b'{"params": {"session_id": null}}', b'{"params": [1]}', b'{"params": "a"}'],
)
def test_another_request_is_the_sdk_s_to_judge(raw):
    assert post(raw, "/mcp").came[0].value == json.loads(raw)


def test_bounds_of_bytes_have_their_status_on_every_path():
    assert post(b" " * (MAX + 1), "/mcp").status == 413
    long = scope_of(path="/mcp", headers=[(b"a", b"b" * MAX_HEAD_BYTES)])
    assert answer(run(App(), long, [])).status == 431


# ---------------------------------------------------------------- heads
def test_the_head_is_counted_with_all_its_parts():
    bare = _head_bytes(scope_of(path=""))
    assert bare == 0
    assert _head_bytes(scope_of(path="/abc", query=b"de", headers=[(b"f", b"gh")])) == 4 + 2 + 3 + len(": \r\n")
    assert _head_bytes({"type": "http"}) == 0


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_longest_head_is_taken_and_no_longer_one(kind, more, status):
    app = App() if kind == "http" else Sdk()
    path = "/" + "a" * (MAX_HEAD_BYTES - 1 + more)
    scope = scope_of(kind, path=path, method="GET") | {"extensions": {"websocket.http.response": {}}}
    sent = run(app, scope, [{"type": "http.request"}] if kind == "http" else [{"type": "websocket.disconnect"}])

    assert bool(app.came) == (status == 200)
    if status == 431:
        assert sent[0]["status"] == 431


# ---------------------------------------------------------------- faults
def test_a_fault_of_ours_is_told_without_its_text(caplog):
    told = post(b"{}", app=App(RuntimeError("secret")))

    assert told.status == 500
    assert "our side" in told.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in told.text + caplog.text


def test_a_fault_after_the_answer_began_sends_nothing_more():
    app = App(RuntimeError("late"), after_start=True)
    sent = run(app, scope_of(method="GET"), [{"type": "http.request"}])

    assert [message["type"] for message in sent] == ["http.response.start"]


# ---------------------------------------------------------------- WebSockets
class Sdk:
    """Takes frames until the connection ends."""

    def __init__(self, fault=None):
        self.came, self.fault, self.line = [], fault, None

    async def __call__(self, scope, receive, send):
        self.line = LINE.get()
        while True:
            message = await receive()
            self.came.append(message.get("text", message["type"]))
            if self.fault:
                raise self.fault
            if message["type"] == "websocket.disconnect":
                return


def frames(*texts, path="/ws", sdk=None):
    """Send frames over one connection; return what came through and what was replied."""
    sdk = sdk or Sdk()
    messages = [
        text
        if isinstance(text, Exception)
        else {"type": "websocket.receive", **({"text": text} if isinstance(text, str) else {"bytes": text})}
        for text in texts
    ]
    sent = run(sdk, scope_of("websocket", path=path), [*messages, {"type": "websocket.disconnect", "code": 1000}])
    return SimpleNamespace(
        came=sdk.came, sent=sent, replies=[json.loads(message["text"]) for message in sent if "text" in message]
    )


NESTED = '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH
LISTS = '{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "reset"}',
        '{"type": "step", "data": {"submit_triage": {"confidence": NaN}}}',
        json.dumps({"a": "b" * (MAX - 9)}),
        NESTED,
        LISTS,
        "{not json",  # short, and the SDK's own to refuse
    ],
)
def test_a_frame_that_the_sdk_can_take_comes_through_as_it_is(text):
    assert frames(text).came == [text, "websocket.disconnect"]


def test_frames_of_a_session_go_on_after_one_that_was_refused():
    told = frames("[]", '{"a": 1}', b"\0", '{"b": 1}')

    assert told.came == ['{"a": 1}', '{"b": 1}', "websocket.disconnect"]
    assert [reply["data"]["code"] for reply in told.replies] == ["VALIDATION_ERROR"] * 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"type": "reset"}', "VALIDATION_ERROR"),
        ("", "INVALID_JSON"),
        ("[", "INVALID_JSON"),
        ("5", "VALIDATION_ERROR"),
        ("[]", "VALIDATION_ERROR"),
        (' {"a":' + "1", "INVALID_JSON"),
        (json.dumps({"a": "b" * (MAX - 8)}), "VALIDATION_ERROR"),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "INVALID_JSON"),
        ('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "INVALID_JSON"),
        ('{"a": ' + "1" * 4500 + "}", "INVALID_JSON"),
    ],
)
def test_a_frame_that_would_end_the_session_is_answered(text, code):
    told = frames(text)

    assert told.came == ["websocket.disconnect"]
    assert [reply["data"]["code"] for reply in told.replies] == [code]


def test_a_number_of_thousands_of_digits_needs_a_frame_that_is_checked():
    assert len('{"a": ' + "1" * 4301 + "}") > _SHORT_CHARS > 0
    assert _SHORT_CHARS <= 4301


def test_a_lone_surrogate_of_a_frame_is_replaced():
    assert frames(r'{"a": "\ud800"}').came == ['{"a": "?"}', "websocket.disconnect"]


def test_frames_of_mcp_are_checked_and_answered_as_json_rpc():
    told = frames('{"params": {"session_id": 5}}', "[]", "{", '{"params": {"session_id": "a"}}', path="/mcp")

    assert told.came == ['{"params": {"session_id": "a"}}', "websocket.disconnect"]
    assert [reply["error"]["code"] for reply in told.replies] == [-32600, -32600, -32700]


@pytest.mark.parametrize(("path", "rpc"), [("/ws", False), ("/mcp", True)])
def test_the_line_of_a_connection_is_known_while_it_lasts_and_speaks_its_language(path, rpc):
    sdk = Sdk()
    frames('{"a": 1}', path=path, sdk=sdk)

    assert sdk.line is not None
    assert ("jsonrpc" in sdk.line._reply()) == rpc
    assert sdk.line.is_gone


@pytest.mark.parametrize("fault", [OSError("gone"), BrokenPipeError()])
def test_a_client_that_went_away_is_no_fault(fault, caplog):
    assert frames('{"a": 1}', sdk=Sdk(fault)).sent == []
    assert caplog.text == ""


def test_a_fault_of_ours_closes_the_connection_without_its_text(caplog):
    told = frames('{"a": 1}', sdk=Sdk(RuntimeError("secret")))

    assert [(message["type"], message["code"]) for message in told.sent] == [("websocket.close", 1011)]
    assert "secret" not in caplog.text
    assert "RuntimeError" in caplog.text


def test_a_client_that_goes_away_while_it_is_answered_has_left():
    sdk = Sdk()

    async def within():
        async def receive():
            return {"type": "websocket.receive", "text": "[]"}

        async def send(message):
            raise OSError

        await asyncio.wait_for(Guard(sdk, max_body_bytes=MAX)(scope_of("websocket", path="/ws"), receive, send), 5)

    asyncio.run(within())

    assert sdk.came == ["websocket.disconnect"]
