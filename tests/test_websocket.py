"""Episodes over the SDK's WebSocket: what reaches the environment, and what a bad frame gets instead of a closed socket."""

import asyncio
import json

import pytest
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected

from app_runtime.guard import Guard
from env import OpenSOCEnv
from service import TRIAGE, serve, strict

RESET = '{"type":"reset","data":{"seed":5}}'
STEP = json.dumps({"type": "step", "data": {"submit_triage": TRIAGE}})


def tell(ws, frame):
    """Send a frame, text or bytes, and give the answer."""
    ws.send_text(frame) if isinstance(frame, str) else ws.send_bytes(frame)
    return strict(ws.receive_text())


def deep(levels):
    return "[" * levels + "]" * levels


BAD_FRAMES = {
    "no JSON": ("hello", "INVALID_JSON"),
    "broken": ('{"type":', "INVALID_JSON"),
    "an array": ("[]", "VALIDATION_ERROR"),
    "a number": ("5", "VALIDATION_ERROR"),
    "null": ("null", "VALIDATION_ERROR"),
    "binary": (b"\x00\x01", "VALIDATION_ERROR"),
    "binary JSON": (RESET.encode(), "VALIDATION_ERROR"),
    "2 MB": (json.dumps({"type": "step", "data": {"submit_triage": "x" * 2_000_000}}), "VALIDATION_ERROR"),
    "5,000 deep": (f'{{"type":"step","data":{{"submit_triage":{deep(5000)}}}}}', "INVALID_JSON"),
    "300 deep in an error": (f'{{"type":"step","data":{deep(300)}}}', "INVALID_JSON"),
    "900 deep in an error": (f'{{"type":"reset","data":{deep(900)}}}', "INVALID_JSON"),
    "5,000 digits": ('{"type":"reset","data":{"seed":%s}}' % ("1" * 5000), "INVALID_JSON"),
    "lone surrogate in an error": (r'{"type":"step","data":"\ud800"}', "VALIDATION_ERROR"),
    "lone surrogate as type": (r'{"type":"\udfff"}', "UNKNOWN_TYPE"),
    "NaN in an error": ('{"type":"reset","data":NaN}', "VALIDATION_ERROR"),
    "no type": ("{}", "UNKNOWN_TYPE"),
    "unknown type": ('{"type":"play"}', "UNKNOWN_TYPE"),
    "type of another type": ('{"type":{}}', "UNKNOWN_TYPE"),
    "extra field": ('{"type":"state","data":{}}', "VALIDATION_ERROR"),
    "step without data": ('{"type":"step"}', "VALIDATION_ERROR"),
    "no action": ('{"type":"step","data":{}}', "EXECUTION_ERROR"),
    "two actions": ('{"type":"step","data":{"submit_triage":{},"craft_incident":{}}}', "EXECUTION_ERROR"),
    "unknown action": ('{"type":"step","data":{"triage":{}}}', "EXECUTION_ERROR"),
    "other player's turn": ('{"type":"step","data":{"craft_incident":{}}}', "EXECUTION_ERROR"),
    "metadata of another type": ('{"type":"step","data":{"submit_triage":{},"metadata":1}}', "VALIDATION_ERROR"),
    "seed as text": ('{"type":"reset","data":{"seed":"abc"}}', "EXECUTION_ERROR"),
    "seed below zero": ('{"type":"reset","data":{"seed":-1}}', "EXECUTION_ERROR"),
    "seed NaN": ('{"type":"reset","data":{"seed":NaN}}', "EXECUTION_ERROR"),
    "seed infinite": ('{"type":"reset","data":{"seed":1e999}}', "EXECUTION_ERROR"),
    "unknown task": ('{"type":"reset","data":{"task":"stage9"}}', "EXECUTION_ERROR"),
    "task as list": ('{"type":"reset","data":{"task":["stage1_basic"]}}', "EXECUTION_ERROR"),
    "mode as object": ('{"type":"reset","data":{"mode":{}}}', "EXECUTION_ERROR"),
    "unknown split": ('{"type":"reset","data":{"split":"secret"}}', "EXECUTION_ERROR"),
    "index out of range": ('{"type":"reset","data":{"index":10000000000}}', "EXECUTION_ERROR"),
    "episode_id as number": ('{"type":"reset","data":{"episode_id":5}}', "EXECUTION_ERROR"),
}


@pytest.mark.parametrize(("frame", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_a_bad_frame_is_answered_and_the_episode_lives_on(client, frame, code):
    with client.websocket_connect("/ws") as ws:
        before = tell(ws, RESET)
        answer = tell(ws, frame)
        state = tell(ws, '{"type":"state"}')["data"]
        after = tell(ws, STEP)

    assert (answer["type"], answer["data"]["code"]) == ("error", code)
    assert answer["data"]["message"]
    assert "Traceback" not in answer["data"]["message"]
    assert (state["episode_id"], state["step_count"]) == (before["data"]["observation"]["episode_id"], 0)
    assert after["data"]["done"] is True


@pytest.mark.parametrize("levels", [61, 62])
def test_nesting_is_taken_up_to_the_same_depth_as_over_http(client, levels):
    body = f'{{"submit_triage":{{"a":{deep(levels)}}}}}'
    client.post("/reset")
    with client.websocket_connect("/ws") as ws:
        tell(ws, RESET)
        over_ws = tell(ws, f'{{"type":"step","data":{body}}}')["type"]
    over_http = client.post("/step", content=f'{{"action":{body}}}').status_code

    assert (over_ws, over_http) == (("observation", 200) if levels == 61 else ("error", 400))


def test_an_answer_with_nan_is_scored(client):
    frame = '{"type":"step","data":{"submit_triage":{"action":"monitor","cited_log_id":"L1-1","rationale":"","confidence":NaN}}}'
    with client.websocket_connect("/ws") as ws:
        tell(ws, RESET)
        played = tell(ws, frame)

    assert (played["data"]["done"], played["data"]["reward"]) == (True, -0.1)


def test_a_long_incident_is_read(client):
    events = [
        {
            "event_type": "process",
            "fields": {"activity": "launch", "process_cmd_line": "x" * 2000},
            "timestamp": "2026-03-02T09:14:07Z",
            "log_id": f"L1-{number}",
        }
        for number in range(1, 41)
    ]
    crafted = {"target_label": "dismiss", "category": "execution", "events": events}
    with client.websocket_connect("/ws") as ws:
        tell(ws, '{"type":"reset","data":{"mode":"self_play"}}')
        played = tell(ws, json.dumps({"type": "step", "data": {"craft_incident": crafted}}))

    assert played["type"] == "observation"
    assert "plausible" in played["data"]["observation"]["feedback"]


def test_a_step_before_reset_and_after_the_end_is_refused(client):
    with client.websocket_connect("/ws") as ws:
        assert "reset" in tell(ws, STEP)["data"]["message"]
        tell(ws, RESET)
        tell(ws, STEP)
        assert "done" in tell(ws, STEP)["data"]["message"]


@pytest.mark.parametrize(("name", "nearest"), [("spilt", "split"), ("self", "seed")])
def test_an_argument_that_reset_does_not_take_is_refused(client, name, nearest):
    with client.websocket_connect("/ws") as ws:
        refusal = tell(ws, json.dumps({"type": "reset", "data": {name: 1, "seed": 5}}))
        assert refusal["type"] == "error"
        assert refusal["data"]["message"].endswith(f"got '{name}'. Did you mean {nearest}?")
        assert tell(ws, '{"type":"reset","data":{"seed":5,"options":{}}}')["type"] == "observation"


def test_sockets_do_not_share_an_episode(client):
    with client.websocket_connect("/ws") as one, client.websocket_connect("/ws") as two:
        tell(one, '{"type":"reset","data":{"seed":1,"episode_id":"same"}}')
        tell(two, '{"type":"reset","data":{"seed":2,"episode_id":"same"}}')
        tell(one, STEP)
        assert tell(one, '{"type":"state"}')["data"]["done"] is True
        assert tell(two, '{"type":"state"}')["data"]["done"] is False


def test_a_mistake_of_ours_is_told_without_its_text(client, monkeypatch, caplog):
    def fail(self, *args, **kwargs):
        raise RuntimeError("the ground truth is escalate")

    with client.websocket_connect("/ws") as ws:
        tell(ws, RESET)
        for name, frame in (("_triage", STEP), ("reset", RESET)):
            with monkeypatch.context() as patch:
                patch.setattr(OpenSOCEnv, name, fail)
                answer = tell(ws, frame)
            assert answer["data"]["code"] == "EXECUTION_ERROR"
            assert "escalate" not in answer["data"]["message"]
        assert tell(ws, RESET)["type"] == "observation"
    assert caplog.text.count("RuntimeError\n") == 2


def test_a_session_too_many_is_told_so():
    with serve(max_sessions=2) as client:
        with client.websocket_connect("/ws") as one, client.websocket_connect("/ws"):
            with client.websocket_connect("/ws") as third:
                assert strict(third.receive_text())["data"]["code"] == "CAPACITY_REACHED"
            assert tell(one, RESET)["type"] == "observation"
        with client.websocket_connect("/ws") as ws:
            assert tell(ws, RESET)["type"] == "observation"


def test_an_idle_session_gives_up_its_place_and_is_told_so():
    with serve(max_sessions=1, session_timeout_s=0.2) as client, client.websocket_connect("/ws") as idle:
        tell(idle, RESET)
        assert strict(idle.receive_text())["data"]["message"].startswith("Nothing came for 0.2 s")
        assert idle.receive()["code"] == 1013
        with client.websocket_connect("/ws") as ws:
            assert tell(ws, RESET)["type"] == "observation"


# ---------------------------------------------------------------- who goes away
@pytest.mark.parametrize("gone", [WebSocketDisconnect(1006), WebSocketDisconnected(), ConnectionResetError()])
def test_a_client_that_goes_away_under_a_reply_is_no_error(gone, caplog):
    assert _ended(gone) == []
    assert not caplog.records


def test_an_error_in_a_session_closes_it_and_is_logged_without_its_text(caplog):
    assert _ended(RuntimeError("a caller's text")) == [{"type": "websocket.close", "code": 1011, "reason": ""}]
    assert "RuntimeError" in caplog.text
    assert "a caller's text" not in caplog.text


def _ended(error):
    """What the guard sends when the application ends with an error."""
    sent = []

    async def broken(scope, receive, send):
        raise error

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(broken, max_body_bytes=1024)({"type": "websocket", "path": "/ws"}, None, send))
    return sent
