"""The OpenAPI document against the server: Schemathesis sends what it allows and what it forbids."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from app_runtime import Settings, create_app
from service import TRIAGE, begin, problem, serve, strict

OURS = ("/reset", "/step", "/state", "/grade", "/tasks")
EASY = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def document(app, *modes):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(modes=modes)
    return schema


@pytest.fixture(scope="module")
def app():
    return create_app(Settings())


def each(schema, check):
    """Send what Schemathesis makes of every operation. Its plugin makes it when tests are collected, which every process does."""
    load_all_checks()
    results = [
        result.ok() for result in get_all_tests(schema=schema, test_func=EASY(check), settings=None, given_kwargs={})
    ]
    assert results
    for _, send in results:
        send()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", OURS)
def test_our_routes_keep_to_their_document(app, path):
    def keep(case):
        reply = case.call()
        # What several places say of one thing must agree, and an index lie in its split: no schema can say so.
        beyond = reply.status_code == 422 and any(
            words in reply.text for words in ("the same", "otherwise", "index must be")
        )
        case.validate_response(reply, excluded_checks=[positive_data_acceptance] if beyond else [])

    each(document(app, *GenerationMode).include(path=path), keep)


@pytest.mark.parametrize("path", ["/step", "/state", "/grade"])
def test_our_routes_keep_to_their_document_where_there_is_an_episode(app, path):
    client = TestClient(app)

    def keep(case):
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

    each(document(app, GenerationMode.POSITIVE).include(path=path), keep)


def test_the_sdks_routes_never_fail(app):
    def keep(case):
        case.call_and_validate(checks=[not_a_server_error])

    each(document(app, *GenerationMode).exclude(path_regex=f"^({'|'.join(OURS)})$"), keep)


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
