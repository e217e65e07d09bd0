"""OpenSOC's own HTTP routes: what the owner's contract says, what bad input gets, and who sees whose episode."""

import asyncio
import json
import random
from http.cookiejar import DefaultCookiePolicy

import httpx
import pytest
from starlette.testclient import TestClient

from app_runtime import Settings, create_app, json_input, routes
from env import OpenSOCEnv
from schema import LABELS, MODES, TASKS, BadRequestError
from service import TRIAGE, begin, problem, serve, strict


@pytest.fixture
def curl():
    """A caller that keeps no cookies."""
    with serve() as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


def incident(**changes):
    """An incident of the right form; whether it is plausible is another matter."""
    event = {
        "event_type": "process",
        "fields": {"activity": "launch", "process_path": "C:\\Windows\\System32\\cmd.exe"},
        "timestamp": "2026-03-02T09:14:07Z",
        "log_id": "L1-1",
    }
    return {"target_label": "monitor", "category": "execution", "events": [event], "narrative": "", **changes}


# ---------------------------------------------------------------- an episode
@pytest.mark.parametrize("task", TASKS)
def test_a_defender_plays_an_episode(client, task):
    first = begin(client, task=task, seed=42)
    assert set(first) == {"observation", "reward", "done", "episode_id"}
    assert (first["reward"], first["done"]) == (None, False)
    seen = first["observation"]
    assert (seen["task"], seen["mode"], seen["role"], seen["turn"]) == (task, "defender_only", "defender", 0)
    assert seen["episode_id"] == first["episode_id"]

    last = client.post("/step", params={"episode_id": first["episode_id"]}, json={"submit_triage": TRIAGE}).json()
    assert last["done"] is True
    assert isinstance(last["reward"], float)
    assert (last["episode_id"], last["observation"]["turn"]) == (first["episode_id"], 1)

    grade = client.get("/grade").json()
    assert grade["ground_truth"]["action"] in LABELS
    assert grade["rewards"]["defender"] == last["reward"]
    assert grade["seed"] == 42
    assert client.post("/grade", json={"episode_id": first["episode_id"]}).json() == grade


def test_an_attacker_begins_in_self_play(client):
    first = begin(client, mode="self_play", seed=1)
    assert first["observation"]["role"] == "attacker"

    last = client.post("/step", json={"craft_incident": {"no": "incident"}}).json()

    assert (last["done"], last["reward"]) == (True, -0.5)
    assert client.get("/grade").json()["ground_truth"] is None


@pytest.mark.parametrize("place", ["params", "json"])
def test_the_playbook_is_left_off_the_wire_where_it_is_asked_for_by_its_hash(client, place):
    asked = {"task": "stage3_mixed", "seed": 7}
    whole = client.post("/reset", json=asked)
    short = client.post("/reset", **{place: {**asked, "playbook": "hash"}})
    text, seen = whole.json()["observation"]["playbook"], short.json()["observation"]
    answer = client.get(f"/playbook/{seen['playbook_hash']}")

    assert (seen["playbook"], whole.json()["observation"]["playbook_hash"]) == ("", "")
    assert answer.json() == {"playbook_hash": seen["playbook_hash"], "playbook": text}
    assert "immutable" in answer.headers["cache-control"]
    assert len(short.content) < 0.35 * len(whole.content)
    assert "0.0" in problem(client.get("/playbook/0.0"), 404)
    problem(client.post("/reset", json={"playbook": "none"}), 422)


def test_the_owners_calls_work_as_written(curl):
    """Query parameters, a body that is JSON by its look alone, no cookies, no ids, twice in a row."""
    for _ in range(2):
        query = "task=stage1_basic&mode=defender_only&seed=42"
        assert curl.post(f"/reset?{query}").json()["done"] is False
        form = {"content-type": "application/x-www-form-urlencoded"}
        played = curl.post(f"/step?{query}", content=json.dumps({"submit_triage": TRIAGE}), headers=form)
        assert played.json()["done"] is True
        assert curl.get("/state").json()["step_count"] == 1
        assert curl.get("/grade").json()["task"] == "stage1_basic"


@pytest.mark.parametrize(
    "body",
    [
        {"submit_triage": TRIAGE},
        {"action": {"submit_triage": TRIAGE}},
        {"action": {"submit_triage": TRIAGE, "metadata": {"from": "a model"}}},
        {"submit_triage": TRIAGE, "timeout_s": 2.5, "request_id": "r1", "metadata": {}},
        {"action": {"submit_triage": TRIAGE}, "timeout_s": None, "request_id": None},
    ],
)
def test_every_envelope_plays_the_same_turn(client, body):
    begin(client, seed=3)
    env = OpenSOCEnv()
    env.reset(3)

    assert client.post("/step", json=body).json()["reward"] == env.step({"submit_triage": TRIAGE}).reward


def test_a_reset_may_come_as_query_body_or_both(client):
    asked = {"task": "stage3_mixed", "mode": "self_play", "seed": 9, "split": "val"}
    by_query = client.post("/reset", params=asked).json()
    by_body = client.post("/reset", json=asked).json()
    by_both = client.post("/reset", params={"task": "stage3_mixed", "seed": 9}, json=asked).json()

    for reply in (by_query, by_body, by_both):
        assert reply["observation"] | {"episode_id": ""} == by_query["observation"] | {"episode_id": ""}
    assert by_query["observation"]["mode"] == "self_play"


@pytest.mark.parametrize("content", [b"", b" \n", b"{}", b'{"seed": null, "task": null}'])
def test_a_reset_needs_no_body(client, content):
    assert client.post("/reset", content=content).status_code == 200


def test_a_numbered_task_can_be_reset(client):
    one = begin(client, split="val", index=6)
    task = client.post("/opensoc/task", json={"split": "val", "index": 6}).json()["task"]

    assert one["observation"]["task"] == task["task"]
    assert "detail" in client.post("/reset", json={"split": "val", "index": 10**9}).json()


@pytest.mark.parametrize("name", ["spilt", "taks", "self"])
def test_an_argument_that_reset_does_not_take_is_refused_in_query_and_body_as_in_process(client, name):
    with pytest.raises(BadRequestError, match="Did you mean") as caught:
        OpenSOCEnv().reset(**{name: "x"})
    for asked in ({"params": {name: "x"}}, {"json": {name: "x"}}, {"json": {name: None}}):
        assert problem(client.post("/reset", **asked), 422) == str(caught.value)

    assert begin(client, seed=1, options={})["observation"]["metadata"] == {}


def test_a_chosen_episode_id_is_used(client):
    assert begin(client, episode_id="run-1:ep.2")["observation"]["episode_id"] == "run-1:ep.2"
    assert client.get("/state", headers={"X-Episode-Id": "run-1:ep.2"}).json()["episode_id"] == "run-1:ep.2"
    problem(client.post("/reset", json={"episode_id": "run-1:ep.2"}), 409)


def test_the_episode_may_be_named_in_query_body_and_header(client):
    episode_id = begin(client, seed=1)["episode_id"]
    begin(client, seed=2)  # the last reset

    assert client.get("/state", params={"episode_id": episode_id}).json()["episode_id"] == episode_id
    assert client.get("/state", headers={"X-Episode-Id": episode_id}).json()["episode_id"] == episode_id
    played = client.post(
        "/step",
        params={"episode_id": episode_id},
        headers={"X-Episode-Id": episode_id},
        json={"submit_triage": TRIAGE, "episode_id": episode_id},
    )
    assert played.json()["episode_id"] == episode_id
    assert client.post("/grade", json={"episode_id": episode_id}).json()["episode_id"] == episode_id


def test_tasks_lists_what_can_be_played(client):
    listed = client.get("/tasks").json()

    assert [task["name"] for task in listed["tasks"]] == list(TASKS)
    assert sorted(listed["modes"]) == sorted(MODES)
    assert listed["actions"] == list(LABELS)
    for split in listed["splits"]:
        assert begin(client, split=split["name"])["done"] is False


# ---------------------------------------------------------------- same seed, same bytes
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_http_websocket_and_process_give_the_same_bytes(client, task, mode):
    asked = {"task": task, "mode": mode, "seed": 11, "episode_id": "same"}
    action = {"craft_incident": incident()} if mode == "self_play" else {"submit_triage": TRIAGE}
    over_http = [client.post("/reset", json=asked).text, client.post("/step", json=action).text]
    over_ws = []
    with client.websocket_connect("/ws") as ws:
        for frame in ({"type": "reset", "data": asked}, {"type": "step", "data": action}):
            ws.send_json(frame)
            over_ws.append(ws.receive_text())
    env = OpenSOCEnv()
    in_process = [env.reset(**asked), env.step(action)]

    for http, socket, observation in zip(over_http, over_ws, in_process, strict=True):
        inner = observation.model_dump_json(exclude={"reward", "done"})
        assert f'"observation":{inner},' in http
        assert f'"observation":{inner},' in socket
        assert json.loads(http)["reward"] == json.loads(socket)["data"]["reward"] == observation.reward


# ---------------------------------------------------------------- malformed answers are played
ANSWERS = [
    None,
    5,
    "monitor",
    [],
    {},
    {**TRIAGE, "action": "panic"},
    {**TRIAGE, "extra": 1},
    {**TRIAGE, "cited_log_id": "L9-99"},
    {**TRIAGE, "cited_log_id": ["L1-1"]},
    {**TRIAGE, "confidence": "high"},
    {**TRIAGE, "rationale": "x" * 100_000},
    {"action": "monitor"},
]


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_a_malformed_answer_is_scored_alike_over_http_and_websocket(client, answer):
    begin(client, seed=4)
    over_http = client.post("/step", content=json.dumps({"submit_triage": answer}))
    with client.websocket_connect("/ws") as ws:
        ws.send_json({"type": "reset", "data": {"seed": 4}})
        ws.receive_json()
        ws.send_text(json.dumps({"type": "step", "data": {"submit_triage": answer}}))
        over_ws = ws.receive_json()

    assert over_http.status_code == 200
    played = over_http.json()
    assert (played["done"], played["reward"]) == (True, -0.1)
    assert "malformed" in played["observation"]["feedback"]
    assert over_ws["data"]["reward"] == -0.1
    assert over_ws["data"]["observation"]["feedback"] == played["observation"]["feedback"]


def test_a_lone_surrogate_is_played_like_any_character(client):
    begin(client, seed=4)
    plain = client.post("/step", json={"submit_triage": TRIAGE}).json()["reward"]
    begin(client, seed=4)
    odd = client.post("/step", content=json.dumps({"submit_triage": {**TRIAGE, "rationale": "\ud800"}}))

    assert odd.json()["reward"] == plain


@pytest.mark.parametrize(
    "crafted",
    [
        None,
        [],
        incident(events=incident()["events"] * 300),
        incident(narrative="\u202etxt.exe"),
        incident(narrative="a\x00b"),
        incident(target_label="panic"),
    ],
    ids=["null", "list", "300 events", "direction override", "control character", "label"],
)
def test_a_malformed_incident_is_scored(client, crafted):
    begin(client, mode="self_play", seed=4)
    played = client.post("/step", json={"craft_incident": crafted}).json()

    assert (played["done"], played["reward"]) == (True, -0.5)
    assert played["observation"]["feedback"]


# ---------------------------------------------------------------- malformed requests are refused
@pytest.mark.parametrize(
    ("query", "body", "words"),
    [
        ({"task": "stage9"}, None, ["stage1_basic", "stage9"]),
        ({"mode": "solo"}, None, ["self_play", "solo"]),
        ({"seed": "abc"}, None, ["seed", "abc"]),
        ({"seed": "-1"}, None, ["seed", "-1"]),
        ({"seed": str(2**63)}, None, ["seed"]),
        ({"split": "secret"}, None, ["split", "secret"]),
        ({"index": "-1"}, None, ["index"]),
        ({"episode_id": "a b"}, None, ["episode_id", "a b"]),
        ({}, {"task": "stage9"}, ["stage1_basic", "stage9"]),
        ({}, {"task": ["stage1_basic"]}, ["task"]),
        ({}, {"mode": {}}, ["mode"]),
        ({}, {"seed": "abc"}, ["seed", "abc"]),
        ({}, {"seed": "5"}, ["seed"]),
        ({}, {"seed": 1.5}, ["seed", "1.5"]),
        ({}, {"seed": True}, ["seed", "True"]),
        ({}, {"seed": -1}, ["seed", "-1"]),
        ({}, {"seed": 2**63}, ["seed"]),
        ({}, {"episode_id": ""}, ["episode_id"]),
        ({}, {"episode_id": "x" * 256}, ["episode_id"]),
        ({}, {"episode_id": 5}, ["episode_id", "5"]),
        ({}, [], ["object", "[]"]),
        ({}, "x", ["object", "x"]),
        ({"seed": "1"}, {"seed": 2}, ["1", "2"]),
        ({"task": "stage1_basic"}, {"task": "stage2_multi"}, ["stage1_basic", "stage2_multi"]),
    ],
)
def test_a_reset_that_cannot_be_played_is_refused(client, query, body, words):
    sentence = problem(client.post("/reset", params=query, json=body), 422)

    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        5,
        {"triage": TRIAGE},
        TRIAGE,
        {"submit_triage": TRIAGE, "craft_incident": {}},
        {"submit_triage": TRIAGE, "action": {"submit_triage": TRIAGE}},
        {"submit_triage": TRIAGE, "render": True},
        {"action": None},
        {"action": []},
        {"action": "monitor"},
        {"action": {}},
        {"action": TRIAGE},
        {"action": {"submit_triage": TRIAGE, "craft_incident": {}}},
        {"action": {"submit_triage": TRIAGE, "render": True}},
        {"action": {"action": {"submit_triage": TRIAGE}}},
        {"submit_triage": TRIAGE, "timeout_s": 0},
        {"submit_triage": TRIAGE, "timeout_s": "1"},
        {"submit_triage": TRIAGE, "request_id": "x" * 256},
        {"submit_triage": TRIAGE, "request_id": 5},
        {"submit_triage": TRIAGE, "metadata": []},
        {"submit_triage": TRIAGE, "episode_id": 5},
    ],
)
def test_a_step_of_another_form_is_refused_and_costs_no_turn(client, body):
    begin(client)

    problem(client.post("/step", json=body), 422)

    assert client.get("/state").json()["step_count"] == 0


@pytest.mark.parametrize("path", ["/reset", "/step", "/grade"])
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"submit_triage=1", 400),
        (b"\xff\xfe", 400),
        (b'{"submit_triage": NaN}', 400),
        (b'{"seed": Infinity}', 400),
        (b"[" * 5000 + b"]" * 5000, 400),
        (b'{"submit_triage":' * 5000 + b"1" + b"}" * 5000, 400),
        (b'{"seed": ' + b"1" * 5000 + b"}", 400),
        (b'{"submit_triage": "' + b"x" * 10_000_000 + b'"}', 413),
    ],
    ids=["broken", "a form", "not UTF-8", "NaN", "Infinity", "deep list", "deep object", "long number", "10 MB"],
)
def test_what_is_no_usable_json_is_refused(client, path, content, status):
    begin(client)

    problem(client.post(path, content=content), status)

    assert client.get("/state").json()["step_count"] == 0


def test_the_longest_body_is_taken_and_one_more_byte_is_not():
    with serve(max_body_bytes=2000) as client:
        begin(client)
        rest = len('{"submit_triage":""}')
        problem(client.post("/step", content='{"submit_triage":"%s"}' % ("x" * (2001 - rest))), 413)
        taken = client.post("/step", content='{"submit_triage":"%s"}' % ("x" * (2000 - rest)))
        assert taken.status_code == 200


def test_a_body_without_a_declared_length_is_bounded_too():
    with serve(max_body_bytes=2000) as client:
        problem(client.post("/reset", content=iter([b" " * 1000, b" " * 1000, b" "])), 413)
        assert client.post("/reset", content=iter([b" " * 1990, b'{"seed"', b":1}"])).status_code == 200


def test_a_body_that_is_declared_too_long_is_refused_before_any_of_it_is_read():
    sent = []

    async def receive():
        raise AssertionError("Expected a refusal without a look at the body.")

    async def send(message):
        sent.append(message)

    headers = [(b"content-length", b"2001"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/reset", "query_string": b"", "headers": headers}
    asyncio.run(create_app(Settings(max_body_bytes=2000))(scope, receive, send))

    assert sent[0]["status"] == 413


def test_playing_out_of_turn_is_refused(client):
    begin(client, seed=1)
    assert "craft_incident" in problem(client.post("/step", json={"craft_incident": {}}), 409)
    problem(client.get("/grade"), 409)
    client.post("/step", json={"submit_triage": TRIAGE})
    problem(client.post("/step", json={"submit_triage": TRIAGE}), 409)
    begin(client, seed=1, mode="self_play")
    problem(client.post("/step", json={"submit_triage": TRIAGE}), 409)


def test_without_a_reset_there_is_nothing_to_play(client):
    for reply in (
        client.post("/step", json={"submit_triage": TRIAGE}),
        client.get("/state"),
        client.get("/grade"),
        client.post("/grade"),
    ):
        assert "/reset" in problem(reply, 409)


def test_an_id_that_is_not_there_is_refused(client):
    begin(client)
    for episode_id in ("nope", "", "x" * 5000, "../../etc/passwd", "\u202e"):
        sentence = problem(client.get("/state", params={"episode_id": episode_id}), 404)
        assert "/reset" in sentence
        assert len(sentence) < 400


def test_two_ids_that_disagree_are_refused(client):
    one, two = begin(client)["episode_id"], begin(client)["episode_id"]
    asked = {"params": {"episode_id": one}, "headers": {"X-Episode-Id": two}}

    problem(client.get("/state", **asked), 422)
    problem(client.post("/grade", params={"episode_id": one}, json={"episode_id": two}), 422)
    problem(client.get(f"/state?episode_id={one}&episode_id={two}"), 422)
    problem(client.post("/grade", json={"episode_id": 7}), 422)


@pytest.mark.parametrize("path", ["/reset", "/state"])
@pytest.mark.parametrize("query", ["seed=5&seed=6", "seed=6&seed=5&seed=6", "episode_id=a&episode_id=b"])
def test_a_query_that_says_two_things_of_one_name_is_refused(client, path, query):
    method = "POST" if path == "/reset" else "GET"

    assert "Send it once." in problem(client.request(method, f"{path}?{query}"), 422)


def test_a_query_may_say_the_same_twice(client):
    assert client.post("/reset?seed=5&seed=5&task=stage1_basic").status_code == 200


def test_an_id_that_contradicts_the_query_is_refused(client):
    episode_id = begin(client, task="stage2_multi", seed=5)["episode_id"]

    for query in ({"task": "stage1_basic"}, {"mode": "self_play"}, {"seed": 6}):
        problem(client.get("/state", params={"episode_id": episode_id, **query}), 422)
    agreeing = {"task": "stage2_multi", "mode": "defender_only", "seed": 5}
    assert client.get("/state", params={"episode_id": episode_id, **agreeing}).status_code == 200


def test_an_expired_episode_is_gone():
    with serve(episode_ttl_s=0.001) as client:
        episode_id = begin(client)["episode_id"]
        client.portal.call(asyncio.sleep, 0.002)
        problem(client.get("/state", params={"episode_id": episode_id}), 404)
        problem(client.get("/state"), 409)


def test_a_full_server_says_when_to_come_back():
    with serve(max_episodes=2, episode_ttl_s=60) as client:
        begin(client), begin(client)
        reply = client.post("/reset")
        problem(reply, 429)
        assert 55 <= int(reply.headers["Retry-After"]) <= 60
        client.post("/step", json={"submit_triage": TRIAGE})
        begin(client)  # in place of the finished one


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/reset", 405), ("DELETE", "/step", 405), ("POST", "/health", 405)],
)
def test_what_is_not_there_is_said_as_json(client, method, path, status):
    assert path in problem(client.request(method, path), status)


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/opensoc/tasks", b'{"split": NaN}', 400),
        ("/opensoc/tasks", b'{"split": "secret"}', 400),
        ("/opensoc/tasks", b"{}", 422),
        ("/opensoc/task", b'{"split": "train", "index": 1e400}', 422),
        ("/opensoc/task", b'{"split": "train", "index": -1}', 400),
        ("/opensoc/task_range", b"[" * 5000, 400),
        ("/elsewhere/tasks", b'{"split": "train"}', 404),
    ],
)
def test_the_sdks_task_routes_refuse_in_the_same_form(client, path, content, status):
    reply = client.post(path, content=content, headers={"content-type": "application/json"})

    assert reply.status_code == status
    assert isinstance(strict(reply.text)["detail"], str)


# ---------------------------------------------------------------- never a crash, never the truth
def test_a_mistake_of_ours_is_a_sentence_and_harms_no_other_episode(client, monkeypatch, caplog):
    whole = begin(client, seed=1)["episode_id"]
    broken = begin(client, seed=2)["episode_id"]

    def fail(self, content):
        raise RuntimeError("the ground truth is escalate")

    with monkeypatch.context() as patch:
        patch.setattr(OpenSOCEnv, "_triage", fail)
        reply = client.post("/step", params={"episode_id": broken}, json={"submit_triage": TRIAGE})
    assert "escalate" not in problem(reply, 500)
    assert "escalate" not in caplog.text.replace('raise RuntimeError("the ground truth is escalate")', "")
    assert "RuntimeError" in caplog.text
    played = client.post("/step", params={"episode_id": whole}, json={"submit_triage": TRIAGE})
    assert played.json()["done"] is True


@pytest.mark.parametrize("task", TASKS)
def test_no_answer_before_the_end_holds_the_ground_truth(client, task):
    for seed in range(20):
        reset = client.post("/reset", json={"task": task, "seed": seed})
        before = [
            reset,
            client.get("/state"),
            client.get("/grade"),
            client.post("/step", json={"craft_incident": {}}),
            client.post("/step", json={"submit_triage": TRIAGE, "x": 1}),
            client.post("/reset", json={"task": task, "seed": seed, "episode_id": "\u202e"}),
        ]
        client.post("/step", json={"submit_triage": TRIAGE})
        truth = client.get("/grade").json()["ground_truth"]
        for reply in before:
            assert truth["explanation"] not in reply.text
            assert "ground_truth" not in reply.text
        assert reset.json()["observation"]["grade"] is None
        assert reset.json()["observation"]["rewards"] == {}


# ---------------------------------------------------------------- callers
def test_a_new_caller_gets_a_cookie_that_scripts_cannot_read():
    with serve() as client:
        cookie = client.post("/reset").headers["set-cookie"]
        assert cookie.startswith("opensoc_caller=")
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "set-cookie" not in client.post("/reset").headers


@pytest.mark.parametrize("value", ["short", "x" * 65, "has space in it, yes", "\u00e9" * 20])
def test_a_cookie_that_is_none_of_ours_counts_as_none(value):
    with serve() as client:
        sent = f"opensoc_caller={value}".encode("latin-1")
        assert "set-cookie" in client.post("/reset", headers=[(b"cookie", sent)]).headers


def test_two_callers_with_cookies_do_not_meet():
    with serve() as one:
        other = TestClient(one.app)
        first = begin(one, seed=1)["episode_id"]
        second = begin(other, seed=2)["episode_id"]

        assert one.get("/state").json()["episode_id"] == first
        assert other.get("/state").json()["episode_id"] == second
        problem(other.get("/state", params={"seed": 1}), 409)


def test_a_chosen_id_of_another_caller_is_not_found():
    with serve() as one:
        other = TestClient(one.app)
        begin(one, episode_id="demo", seed=1)
        begin(other)
        foreign = problem(other.get("/state", params={"episode_id": "demo"}), 404)
        unknown = problem(other.get("/state", params={"episode_id": "omed"}), 404)
        assert foreign == unknown.replace("omed", "demo")
        begin(other, episode_id="demo", seed=2)
        assert one.get("/state", params={"episode_id": "demo", "seed": 1}).status_code == 200


def test_callers_without_cookies_who_play_at_once_are_told_to_send_the_id(curl):
    first, second = begin(curl, seed=1)["episode_id"], begin(curl, seed=2)["episode_id"]
    sentence = problem(curl.post("/step", json={"submit_triage": TRIAGE}), 409)

    assert "episode_id" in sentence
    assert first not in sentence
    assert second not in sentence
    assert curl.post("/step?seed=1", json={"submit_triage": TRIAGE}).json()["episode_id"] == first
    assert curl.get("/state", params={"episode_id": second}).json()["step_count"] == 0


def test_programs_at_one_address_are_told_apart_by_their_user_agent(curl):
    one = curl.post("/reset", headers={"user-agent": "one"}).json()["episode_id"]
    two = curl.post("/reset", headers={"user-agent": "two"}).json()["episode_id"]

    assert curl.get("/state", headers={"user-agent": "one"}).json()["episode_id"] == one
    assert curl.get("/state", headers={"user-agent": "two"}).json()["episode_id"] == two


def test_a_caller_whose_cookie_came_back_is_not_mistaken_for_one_without(curl):
    keeper = TestClient(curl.app)
    begin(keeper, seed=1)
    ours = begin(curl, seed=2)["episode_id"]
    problem(curl.get("/state"), 409)
    keeper.get("/state")

    assert curl.get("/state").json()["episode_id"] == ours


@pytest.mark.parametrize("clients", [40, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("keeps_cookies", [True, False])
def test_interleaving_clients_see_their_own_episodes(keeps_cookies, clients):
    async def play(app, number):
        """Three episodes, with other clients' calls in between; everything that comes back is ours."""
        rng = random.Random(number)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://opensoc") as client:
            for _ in range(3):
                seed, mode = rng.randrange(2**40), rng.choice(MODES)
                reset = (await client.post("/reset", json={"seed": seed, "mode": mode})).json()
                ours = {} if keeps_cookies else {"episode_id": reset["episode_id"]}
                if not keeps_cookies:
                    client.cookies.clear()
                await asyncio.sleep(rng.random() / 50)
                state = (await client.get("/state", params=ours)).json()
                assert (state["episode_id"], state["step_count"]) == (reset["episode_id"], 0)
                await asyncio.sleep(rng.random() / 50)
                action = {"craft_incident": {}} if mode == "self_play" else {"submit_triage": TRIAGE}
                step = (await client.post("/step", params=ours, json=action)).json()
                await asyncio.sleep(rng.random() / 50)
                grade = (await client.get("/grade", params=ours)).json()
                assert step["episode_id"] == grade["episode_id"] == reset["episode_id"]
                assert (grade["seed"], grade["mode"]) == (seed, mode)

    async def play_all():
        app = create_app(Settings())
        await asyncio.gather(*(play(app, number) for number in range(clients)))
        assert len(app.state.episodes) == 3 * clients

    asyncio.run(play_all())


# ---------------------------------------------------------------- what a long body costs
@pytest.fixture
def parsed(monkeypatch):
    """The lengths of the bodies that were parsed."""
    lengths = []

    def parse(text, **options):
        lengths.append(len(text))
        return json_input.read_json(text, **options)

    monkeypatch.setattr(routes, "read_json", parse)
    return lengths


@pytest.mark.parametrize(
    ("query", "content", "status"),
    [
        ({"episode_id": "nowhere"}, '{"submit_triage": ' + "[" * 9 + "]" * 9 + "}", 404),
        ({}, '{"episode_id": "nowhere", "submit_triage": {}}', 404),
        ({}, '{"submit_triage": {}}', 409),
        ({"episode_id": "nowhere"}, "{", 404),
    ],
)
def test_a_body_about_no_episode_is_not_parsed(client, parsed, query, content, status):
    problem(client.post("/step", params=query, content=content), status)
    assert parsed == []


def test_the_body_of_a_running_episode_is_parsed_once(client, parsed):
    episode_id = begin(client)["episode_id"]
    reply = client.post("/step", json={"episode_id": episode_id, "submit_triage": TRIAGE})
    assert reply.json()["done"] is True
    assert len(parsed) == 1


@pytest.mark.parametrize("key", ["episode_id", r"episode\u005fid"])
def test_a_name_in_an_answer_is_no_name_of_an_episode(client, key):
    mine = begin(client)["episode_id"]
    reply = client.post("/step", content=f'{{"submit_triage": {{"{key}": "nowhere"}}}}')
    assert (reply.json()["episode_id"], reply.json()["done"]) == (mine, True)


def test_a_name_with_an_escaped_letter_is_read(client):
    mine = begin(client, episode_id="mine-1")
    del client.cookies["opensoc_caller"]
    content = r'{"episode\u005fid": "mine\u002d1", "submit_triage": {}}'
    assert client.post("/step", content=content).json()["episode_id"] == mine["episode_id"]


@pytest.mark.parametrize(
    ("items", "status"), [(json_input.MAX_NODES, 422), (json_input.MAX_NODES + 1, 400)], ids=["most", "one too many"]
)
def test_the_values_of_a_body_are_counted(client, items, status):
    problem(client.post("/reset", content="[" + ",".join(["1"] * items) + "]"), status)


def test_commas_and_brackets_of_a_text_are_no_values(client):
    begin(client)
    text = 'a,[{\\"' * json_input.MAX_NODES
    reply = client.post("/step", content=f'{{"submit_triage": {{"rationale": "{text}"}}}}')
    assert reply.json()["done"] is True
