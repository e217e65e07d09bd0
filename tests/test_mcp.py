"""The two tools at /mcp: how they are listed, and which episode a call plays."""

import json

import pytest
from openenv.core.env_server.mcp_types import RESERVED_TOOL_NAMES

from schema import Incident, Triage
from service import TRIAGE, begin, serve, strict


def rpc(method, **params):
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def ask(client, method, **params):
    """Call over HTTP and give the JSON-RPC answer."""
    reply = client.post("/mcp", json=rpc(method, **params))
    assert reply.status_code == 200
    answer = strict(reply.text)
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer


def call(client, name, **arguments):
    """Call a tool over HTTP and give its result."""
    return ask(client, "tools/call", name=name, arguments=arguments)["result"]


def tell(ws, message):
    """Send a frame, ready or to be written as JSON, and give the answer."""
    ws.send_text(message if isinstance(message, str) else json.dumps(message))
    return strict(ws.receive_text())


# ---------------------------------------------------------------- the list
def test_both_tools_are_listed_with_their_forms(client):
    tools = {tool["name"]: tool for tool in ask(client, "tools/list")["result"]["tools"]}

    assert set(tools) == {"craft_incident", "submit_triage"}
    assert not RESERVED_TOOL_NAMES & set(tools)
    for name, model in (("craft_incident", Incident), ("submit_triage", Triage)):
        assert len(tools[name]["description"]) > 50
        assert set(tools[name]["inputSchema"]["properties"]) == {*model.model_fields, "episode_id"}
        assert "episode_id" not in tools[name]["inputSchema"]["required"]


def test_the_list_is_the_same_over_every_road(client):
    over_http = ask(client, "tools/list")["result"]
    with client.websocket_connect("/mcp") as ws:
        assert tell(ws, rpc("tools/list"))["result"] == over_http
    with client.websocket_connect("/ws") as ws:
        assert tell(ws, {"type": "mcp", "data": rpc("tools/list")})["data"]["result"] == over_http


# ---------------------------------------------------------------- which episode
def test_a_call_may_name_an_episode_begun_over_http(client):
    episode_id = begin(client, seed=3)["episode_id"]
    result = call(client, "submit_triage", episode_id=episode_id, **TRIAGE)

    assert (result["episode_id"], result["done"]) == (episode_id, True)
    assert result["reward"] == client.get("/grade").json()["rewards"]["defender"]


def test_an_answer_to_nothing_begins_an_episode_and_is_not_played(client):
    first = call(client, "submit_triage", **TRIAGE)
    assert (first["done"], first["reward"]) == (False, None)
    assert first["observation"]["role"] == "defender"
    assert "call submit_triage again" in first["message"]

    second = call(client, "submit_triage", episode_id=first["episode_id"], **TRIAGE)

    assert (second["episode_id"], second["done"]) == (first["episode_id"], True)
    assert second["observation"]["grade"]["ground_truth"]
    assert client.get("/grade", params={"episode_id": first["episode_id"]}).status_code == 200


def test_an_incident_begins_a_self_play_episode_and_is_played(client):
    result = call(client, "craft_incident", target_label="dismiss", category="execution", events=[])

    assert (result["observation"]["mode"], result["done"], result["reward"]) == ("self_play", True, -0.5)


@pytest.mark.parametrize("road", ["/ws", "/mcp"])
def test_a_session_that_was_reset_plays_its_own_episode(client, road):
    session_id = ask(client, "openenv/session/create")["result"]["session_id"]
    with client.websocket_connect(f"/ws?session_id={session_id}") as ws:
        reset = tell(ws, {"type": "reset", "data": {"seed": 5}})["data"]
        if road == "/ws":
            message = {"type": "mcp", "data": rpc("tools/call", name="submit_triage", arguments=TRIAGE)}
            result = tell(ws, message)["data"]["result"]
        else:
            params = {"name": "submit_triage", "arguments": TRIAGE, "session_id": session_id}
            result = ask(client, "tools/call", **params)["result"]
        state = tell(ws, {"type": "state"})["data"]

    assert (result["episode_id"], result["done"]) == (reset["observation"]["episode_id"], True)
    assert (state["step_count"], state["done"]) == (1, True)


def test_a_bare_mcp_socket_plays_by_episode_id(client):
    with client.websocket_connect("/mcp") as ws:
        first = tell(ws, rpc("tools/call", name="submit_triage", arguments=TRIAGE))["result"]
        arguments = {**TRIAGE, "episode_id": first["episode_id"]}
        assert tell(ws, rpc("tools/call", name="submit_triage", arguments=arguments))["result"]["done"] is True


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    "arguments",
    [{}, {"label": "monitor"}, {"action": "panic"}, {**TRIAGE, "extra": 1}, [1, 2], "monitor", 5, None],
)
def test_wrong_arguments_are_an_answer_and_scored(client, arguments):
    session_id = ask(client, "openenv/session/create")["result"]["session_id"]
    with client.websocket_connect(f"/ws?session_id={session_id}") as ws:
        tell(ws, {"type": "reset", "data": {}})
        params = {"name": "submit_triage", "arguments": arguments, "session_id": session_id}
        result = ask(client, "tools/call", **params)["result"]

    assert (result["done"], result["reward"]) == (True, -0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("submit_triage", {**TRIAGE, "episode_id": "nope"}, ["nope", "/reset"]),
        ("reset", {}, ["craft_incident", "submit_triage", "reset"]),
        ([], {}, ["name"]),
        ({"a": 1}, {}, ["craft_incident"]),
    ],
)
def test_a_call_that_cannot_be_played_is_an_error_with_a_sentence(client, name, arguments, words):
    error = ask(client, "tools/call", name=name, arguments=arguments)["error"]

    assert all(word in error["message"] for word in words), error


def test_the_other_players_tool_is_an_error_with_a_sentence(client):
    episode_id = begin(client)["episode_id"]
    error = ask(client, "tools/call", name="craft_incident", arguments={"episode_id": episode_id})["error"]

    assert "defender" in error["message"]
    assert client.get("/state").json()["step_count"] == 0


def test_a_chosen_id_cannot_be_guessed_through_a_tool(client):
    begin(client, episode_id="demo")

    assert (
        "demo" in ask(client, "tools/call", name="submit_triage", arguments={"episode_id": "demo"})["error"]["message"]
    )


def test_no_room_for_an_episode_is_an_error_with_a_sentence():
    with serve(max_episodes=1) as client:
        begin(client)
        assert "Try again" in ask(client, "tools/call", name="submit_triage", arguments=TRIAGE)["error"]["message"]


BAD_REQUESTS = {
    "empty": ("", -32700),
    "no JSON": ("hello", -32700),
    "NaN": ('{"jsonrpc": "2.0", "method": "tools/list", "id": NaN}', None),
    "deep": ("[" * 5000, -32700),
    "long number": ("1" * 5000, -32700),
    "a batch": ("[]", -32600),
    "no request": ("{}", -32600),
    "params as list": ('{"jsonrpc":"2.0","method":"tools/list","params":[]}', -32600),
    "unknown method": ('{"jsonrpc":"2.0","method":"tools/steal"}', -32601),
    "no tool": ('{"jsonrpc":"2.0","method":"tools/call"}', -32602),
    "session_id as list": ('{"jsonrpc":"2.0","method":"tools/list","params":{"session_id":[1]}}', -32600),
    "session_id to close as list": (
        '{"jsonrpc":"2.0","method":"openenv/session/close","params":{"session_id":{}}}',
        -32600,
    ),
    "unknown session": (r'{"jsonrpc":"2.0","method":"openenv/session/close","params":{"session_id":"\ud800"}}', -32602),
    "lone surrogates": (
        r'{"jsonrpc":"2.0","method":"tools/call","id":"\ud800","params":{"name":"\ud800"}}',
        -32603,
    ),
}


@pytest.mark.parametrize("road", ["POST", "socket"])
@pytest.mark.parametrize(("text", "code"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_bad_request_is_a_json_rpc_error_and_nothing_worse(client, text, code, road):
    if road == "POST":
        reply = client.post("/mcp", content=text)
        assert reply.status_code == 200
        answer = strict(reply.text)
    else:
        with client.websocket_connect("/mcp") as ws:
            answer = tell(ws, text)
            assert tell(ws, rpc("tools/list"))["result"]["tools"]  # the socket lives

    assert answer["jsonrpc"] == "2.0"
    assert answer["error"]["message"]
    assert code in (None, answer["error"]["code"])


def test_a_binary_frame_is_a_json_rpc_error(client):
    with client.websocket_connect("/mcp") as ws:
        ws.send_bytes(b"\x00")
        assert strict(ws.receive_text())["error"]["code"] == -32600
        assert tell(ws, rpc("tools/list"))["result"]["tools"]


def test_a_body_too_long_is_refused(client):
    assert client.post("/mcp", content=b" " * 10_000_000).status_code == 413
