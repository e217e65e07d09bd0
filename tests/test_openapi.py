"""The OpenAPI document against the server: Schemathesis sends what it allows and what it forbids."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from app_runtime import Settings, create_app
from service import TRIAGE, begin, problem, serve, strict

pytest_plugins = ["schemathesis.pytest.plugin"]  # not loaded by itself: see pyproject.toml
OURS = "^/(reset|step|state|grade|tasks)$"
EASY = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def document(app, *modes):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(modes=modes)
    return schema


APP = create_app(Settings())
SCHEMA = document(APP, *GenerationMode)
ALLOWED = document(APP, GenerationMode.POSITIVE)


@SCHEMA.include(path_regex=OURS).parametrize()
@EASY
def test_our_routes_keep_to_their_document(case):
    reply = case.call()
    # What several places say of one thing must agree, and an index lie in its split: no schema can say so.
    beyond = reply.status_code == 422 and any(
        words in reply.text for words in ("the same", "otherwise", "index must be")
    )
    case.validate_response(reply, excluded_checks=[positive_data_acceptance] if beyond else [])


@ALLOWED.include(path_regex="^/(step|state|grade)$").parametrize()
@EASY
def test_our_routes_keep_to_their_document_where_there_is_an_episode(case):
    client = TestClient(APP)
    mode = "self_play" if isinstance(case.body, dict) and "craft_incident" in str(case.body) else "defender_only"
    ours = {"X-Episode-Id": begin(client, mode=mode)["episode_id"]}
    if case.path == "/grade":
        answer = client.post("/step", headers=ours, json={"submit_triage": None})
        assert answer.status_code == 200
    case.headers, case.query = ours, {}
    if isinstance(case.body, dict):
        case.body.pop("episode_id", None)

    reply = case.call()

    case.validate_response(reply)
    assert reply.status_code == 200


@SCHEMA.exclude(path_regex=OURS).parametrize()
@EASY
def test_the_sdks_routes_never_fail(case):
    case.call_and_validate(checks=[not_a_server_error])


def test_the_document_is_without_doubles():
    with serve() as client:
        paths = client.get("/openapi.json").json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]

    assert len(ids) == len(set(ids))
    assert {"reset", "step", "state", "grade", "grade_post", "tasks"} <= set(ids)
    assert {"/health", "/schema", "/metadata", "/mcp", "/list_environments"} <= set(paths)
    assert "HTTPValidationError" not in json.dumps(paths)


# ---------------------------------------------------------------- anything at all
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture(scope="module")
def client():
    with serve(max_episodes=50) as client:
        yield client


@given(answer=ANY_JSON)
@settings(EASY, max_examples=60)
def test_any_answer_over_http_is_a_turn_or_a_sentence(client, answer):
    episode_id = begin(client, seed=1)["episode_id"]
    reply = client.post("/step", params={"episode_id": episode_id}, content=json.dumps({"submit_triage": answer}))

    try:
        strict(reply.request.content)
    except AssertionError:
        problem(reply, 400)  # NaN or Infinity
    else:
        assert reply.status_code == 200
        assert strict(reply.text)["done"] is True


@given(body=st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
@settings(EASY, max_examples=60)
def test_any_body_gets_an_answer(client, body):
    for path in ("/reset", "/step", "/grade", "/mcp", "/opensoc/task"):
        reply = client.post(path, content=body)
        assert reply.status_code < 500
        assert strict(reply.text)


@given(frames=st.lists(st.binary(max_size=100) | st.text(max_size=100) | ANY_JSON.map(json.dumps), max_size=5))
@settings(EASY, max_examples=60)
def test_any_frames_leave_the_socket_open(client, frames):
    with client.websocket_connect("/ws") as ws:
        for frame in frames:
            ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_text(frame)
            assert strict(ws.receive_text())["type"] == "error"
        ws.send_json({"type": "reset", "data": {}})
        assert ws.receive_json()["type"] == "observation"
        ws.send_json({"type": "step", "data": {"submit_triage": TRIAGE}})
        assert ws.receive_json()["data"]["done"] is True


@given(kind=st.sampled_from(["reset", "step", "mcp"]), data=ANY_JSON)
@settings(EASY, max_examples=60)
def test_any_data_leaves_the_socket_open(client, kind, data):
    with client.websocket_connect("/ws") as ws:
        ws.send_text(json.dumps({"type": kind, "data": data}))
        assert strict(ws.receive_text())["type"] in ("error", "observation", "mcp")
        ws.send_json({"type": "state"})
        assert ws.receive_json()["type"] == "state"
