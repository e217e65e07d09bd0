"""The client package: what goes over the wire, what is repeated and what never is, and whole episodes on the server."""

import asyncio
import functools
import json
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from websockets.sync.server import serve

import schema
from client import (
    EpisodeLostError,
    OpenSOCAction,
    OpenSOCClient,
    OpenSOCClientError,
    OpenSOCEnv,
    StepResult,
    play,
    screens,
)
from client.client import OpensocAction, OpensocEnv, OpenSOCObservation, OpensocObservation

ROOT = Path(__file__).resolve().parent.parent
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd."}
RESET = {
    "observation": {"alert": {"log_id": "L1-1"}, "role": "defender"},
    "reward": None,
    "done": False,
    "episode_id": "e1",
}


class Wire:
    """A server of canned answers that keeps what it was sent and how long the client paused."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.pauses = []
        self.client = OpenSOCClient(
            "http://soc.test", transport=httpx.MockTransport(self.answer), sleep=self.pauses.append
        )

    def answer(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def sent(self):
        """(method, path, query, body) of every request."""
        return [
            (r.method, r.url.path, dict(r.url.params), json.loads(r.content) if r.content else None)
            for r in self.requests
        ]


def in_episode(*answers):
    """A wire whose client has already reset."""
    wire = Wire(RESET, *answers)
    wire.client.reset()
    wire.requests.clear()
    return wire


# ---------------------------------------------------------------- the playbook by its hash
def test_a_playbook_that_came_as_a_hash_is_filled_in_and_asked_for_once():
    named = {**RESET, "observation": {**RESET["observation"], "playbook": "", "playbook_hash": "ab.12"}}
    wire = Wire(named, {"playbook_hash": "ab.12", "playbook": "Decide."}, named, named)

    seen = [
        wire.client.reset(playbook="hash")["playbook"],
        wire.client.reset()["playbook"],
        wire.client.step(x=1)["playbook"],
    ]

    assert seen == ["Decide."] * 3
    assert [sent[:2] for sent in wire.sent()] == [
        ("POST", "/reset"),
        ("GET", "/playbook/ab.12"),
        ("POST", "/reset"),
        ("POST", "/step"),
    ]
    assert wire.sent()[0][3]["playbook"] == "hash"


def test_both_clients_fill_in_the_servers_playbook(url):
    with OpenSOCClient(url) as client, OpenSOCEnv(url).sync() as env:
        whole = client.reset(task="stage3_mixed", seed=7)["playbook"]
        short = client.reset(task="stage3_mixed", seed=7, playbook="hash")
        seen = env.reset(task="stage3_mixed", seed=7, playbook="hash").observation

        assert short["playbook_hash"] == seen.playbook_hash != ""
        assert short["playbook"] == seen.playbook == whole
        assert env.step(OpenSOCAction(submit_triage=TRIAGE)).observation.playbook == ""


# ---------------------------------------------------------------- words
def test_the_client_knows_the_same_words_as_the_server():
    assert set(play.TASKS) == set(schema.TASKS)
    assert set(play.MODES) == set(schema.MODES)
    assert tuple(screens.ACTIONS) == schema.LABELS


def test_importing_the_client_does_not_import_the_sdk():
    code = "import client, sys; client.OpenSOCClient(); print('openenv' in sys.modules, 'fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]


def test_the_package_says_which_names_it_has():
    import client

    with pytest.raises(AttributeError, match=r"no attribute 'Client'.*OpenSOCClient"):
        client.Client  # noqa: B018


# ---------------------------------------------------------------- requests
def test_reset_is_remembered_and_named_in_every_call():
    wire = Wire(RESET, RESET, {}, {})
    wire.client.reset(task="stage2_multi", mode="self_play", seed=7, split="val")
    wire.client.step(submit_triage=TRIAGE)
    wire.client.state()
    wire.client.grade()

    assert wire.sent() == [
        ("POST", "/reset", {}, {"task": "stage2_multi", "mode": "self_play", "seed": 7, "split": "val"}),
        ("POST", "/step", {"episode_id": "e1"}, {"submit_triage": TRIAGE}),
        ("GET", "/state", {"episode_id": "e1"}, None),
        ("GET", "/grade", {"episode_id": "e1"}, None),
    ]


def test_a_step_may_say_again_which_episode_it_is_of():
    wire = Wire(RESET, RESET)
    wire.client.reset(task="stage1_basic", mode="defender_only", seed=1)
    wire.client.step({"submit_triage": TRIAGE}, task="stage1_basic", mode="defender_only", seed=1)

    assert wire.sent()[-1] == (
        "POST",
        "/step",
        {"episode_id": "e1", "task": "stage1_basic", "mode": "defender_only", "seed": "1"},
        {"submit_triage": TRIAGE},
    )


OWNERS_SNIPPET = """
from client import OpenSOCClient
c = OpenSOCClient()
obs = c.reset(task="stage1_basic", mode="defender_only", seed=1)
result = c.step({"submit_triage": {"action": "monitor", "cited_log_id": "L1-0", "rationale": "ok"}},
                task="stage1_basic", mode="defender_only", seed=1)
print(result)
"""


def test_the_shortest_session_in_python_runs(url, monkeypatch, capsys):
    monkeypatch.setattr("client.OpenSOCClient", functools.partial(OpenSOCClient, url))
    exec(OWNERS_SNIPPET, {})

    assert "'done': True" in capsys.readouterr().out


def test_a_step_that_says_another_task_is_refused(url):
    with OpenSOCClient(url) as client:
        client.reset(task="stage1_basic", seed=1)
        with pytest.raises(OpenSOCClientError, match="stage2_multi") as caught:
            client.step({"submit_triage": TRIAGE}, task="stage2_multi")

    assert caught.value.status == 422


def test_an_argument_that_reset_does_not_take_is_refused_in_the_servers_words(url):
    with OpenSOCClient(url) as client, pytest.raises(OpenSOCClientError, match="Did you mean split"):
        client.reset(spilt="test_family")


def test_a_seed_of_none_is_left_to_the_server():
    wire = Wire(RESET)
    wire.client.reset()

    assert wire.sent() == [("POST", "/reset", {}, {"task": "stage1_basic", "mode": "defender_only"})]


@pytest.mark.parametrize(
    ("play_turn", "body"),
    [
        (lambda c: c.step({"submit_triage": TRIAGE}), {"submit_triage": TRIAGE}),
        (lambda c: c.step(submit_triage=TRIAGE), {"submit_triage": TRIAGE}),
        (lambda c: c.step(action={"submit_triage": TRIAGE}), {"submit_triage": TRIAGE}),
        (lambda c: c.step({"action": {"submit_triage": TRIAGE}}), {"action": {"submit_triage": TRIAGE}}),
        (lambda c: c.step(OpenSOCAction(submit_triage=TRIAGE)), {"submit_triage": TRIAGE}),
        (lambda c: c.submit_triage("monitor", "L1-1", "Odd."), {"submit_triage": TRIAGE}),
        (lambda c: c.submit_triage("monitor", "L1-1", "Odd.", 0.5), {"submit_triage": {**TRIAGE, "confidence": 0.5}}),
        (lambda c: c.step(submit_triage=None), {"submit_triage": None}),
        (
            lambda c: c.craft_incident("dismiss", "execution", [], "x"),
            {"craft_incident": {"target_label": "dismiss", "category": "execution", "events": [], "narrative": "x"}},
        ),
    ],
)
def test_every_spelling_of_a_step_goes_out_as_it_was_said(play_turn, body):
    wire = in_episode(RESET)
    play_turn(wire.client)

    assert wire.sent() == [("POST", "/step", {"episode_id": "e1"}, body)]


def test_a_result_reads_as_a_dict_and_by_attribute():
    result = StepResult({**RESET, "reward": 1.1, "done": True})

    assert result.observation == result["observation"] == {"alert": {"log_id": "L1-1"}, "role": "defender"}
    assert (result.reward, result["reward"], result.done, result["done"], result.episode_id) == (
        1.1,
        1.1,
        True,
        True,
        "e1",
    )
    assert result["alert"] == {"log_id": "L1-1"}
    assert json.loads(json.dumps(result)) == {**RESET, "reward": 1.1, "done": True}
    with pytest.raises(KeyError, match="narrative"):
        result["narrative"]


@pytest.mark.parametrize("call", ["state", "grade", "step"])
def test_a_call_without_an_episode_is_not_sent(call):
    wire = Wire()
    with pytest.raises(OpenSOCClientError, match="call reset\\(\\) first"):
        getattr(wire.client, call)()

    assert wire.sent() == []


@pytest.mark.parametrize(("action", "words"), [("dismiss", "a str came"), (["dismiss"], "a list came")])
def test_a_step_that_is_no_object_is_not_sent(action, words):
    wire = in_episode()
    with pytest.raises(OpenSOCClientError, match=words):
        wire.client.step(action)


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_json_cannot_carry_is_not_sent(value):
    wire = in_episode()
    with pytest.raises(OpenSOCClientError, match="plain data that JSON can carry"):
        wire.client.submit_triage("monitor", "L1-1", "Odd.", value)


@pytest.mark.parametrize("url", ["127.0.0.1:7860", "ws://127.0.0.1:7860", "", None, "http://"])
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(ValueError, match="Expected base_url as in http"):
        OpenSOCClient(url)


# ---------------------------------------------------------------- trying again
def test_a_missing_server_is_tried_again_with_growing_pauses():
    wire = in_episode(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(OpenSOCClientError, match=r"nothing answered.*make serve") as caught:
        wire.client.step(submit_triage=TRIAGE)

    assert caught.value.status is None
    assert len(wire.requests) == 4
    assert [round(pause / wait) for pause, wait in zip(wire.pauses, [0.2, 0.4, 0.8], strict=True)] == [1, 1, 1]


@pytest.mark.parametrize(
    "error", [httpx.ReadError("reset by peer"), httpx.RemoteProtocolError("gone"), httpx.ReadTimeout("")]
)
def test_a_step_that_may_have_been_played_is_never_sent_twice(error):
    wire = in_episode(error, RESET)
    with pytest.raises(OpenSOCClientError, match="it is not sent a second time"):
        wire.client.step(submit_triage=TRIAGE)

    assert len(wire.requests) == 1


@pytest.mark.parametrize("call", ["state", "grade", "tasks", "health", "reset"])
def test_what_does_no_harm_twice_is_repeated_when_the_connection_breaks(call):
    wire = in_episode(httpx.ReadError("reset by peer"), RESET)

    assert getattr(wire.client, call)() == RESET
    assert len(wire.requests) == 2


def test_a_reset_under_a_chosen_name_is_not_repeated():
    wire = Wire(httpx.ReadError("reset by peer"), RESET)
    with pytest.raises(OpenSOCClientError, match="may have been played"):
        wire.client.reset(episode_id="mine")


def test_a_full_server_is_asked_again_after_the_time_it_names():
    wire = in_episode(httpx.Response(429, headers={"Retry-After": "3"}), httpx.Response(429), RESET)
    wire.client.step(submit_triage=TRIAGE)

    assert wire.pauses[0] == 3
    assert 0.3 <= wire.pauses[1] <= 0.5


@pytest.mark.parametrize(("wait", "requests"), [("30", 4), ("31", 1)])
def test_a_long_wait_is_reported_and_not_waited_for(wait, requests):
    full = httpx.Response(429, headers={"Retry-After": wait}, json={"detail": "All 512 episodes are taken."})
    wire = in_episode(*[full] * 4)
    with pytest.raises(OpenSOCClientError, match=r"429: All 512 episodes are taken\.") as caught:
        wire.client.reset()

    assert caught.value.status == 429
    assert len(wire.requests) == requests


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(409, json={"detail": "The episode is over."}), "POST /step got 409: The episode is over."),
        (httpx.Response(422, json={"detail": [{"msg": "a"}, {"msg": "b"}]}), "POST /step got 422: a; b"),
        (httpx.Response(502, text="<html>Bad gateway"), "POST /step got 502: <html>Bad gateway"),
        (httpx.Response(500), "POST /step got 500: Internal Server Error"),
        (httpx.Response(200, text="<html>hello"), "POST /step was answered with something else than JSON"),
    ],
)
def test_an_error_carries_the_servers_sentence(answer, message):
    wire = in_episode(answer)
    with pytest.raises(OpenSOCClientError) as caught:
        wire.client.step(submit_triage=TRIAGE)

    assert str(caught.value).startswith(message)
    assert caught.value.status == answer.status_code
    assert len(wire.requests) == 1


# ---------------------------------------------------------------- on the server
def test_an_episode_over_http(url):
    with OpenSOCClient(url) as client:
        first = client.reset(task="stage1_basic", mode="defender_only", seed=42)
        again = client.reset(task="stage1_basic", mode="defender_only", seed=42)
        assert {**first.observation, "episode_id": ""} == {**again.observation, "episode_id": ""}
        assert first.episode_id != again.episode_id

        assert client.state()["done"] is False
        with pytest.raises(OpenSOCClientError) as early:
            client.grade()
        closing = client.submit_triage("monitor", again["alert"]["log_id"], "A first guess.")
        assert closing.done
        assert isinstance(closing.reward, float)
        grade = client.grade()
        with pytest.raises(OpenSOCClientError) as late:
            client.submit_triage("monitor", again["alert"]["log_id"], "Once more.")

    assert (early.value.status, late.value.status) == (409, 409)
    assert grade["episode_id"] == again.episode_id
    assert grade["rewards"]["defender"] == closing.reward
    assert grade["ground_truth"]["action"] in schema.LABELS


def test_the_answer_that_the_grade_names_earns_the_maximum(url):
    with OpenSOCClient(url) as client:
        client.reset(task="stage2_multi", seed=5)
        client.step(submit_triage=TRIAGE)
        truth = client.grade()["ground_truth"]
        client.reset(task="stage2_multi", seed=5)

        assert client.submit_triage(truth["action"], truth["evidence_log_ids"][0], "Known by now.").reward == 1.1


def test_a_malformed_answer_is_scored_and_not_raised(url):
    with OpenSOCClient(url) as client:
        client.reset(seed=1)
        result = client.step(submit_triage={"action": "panic"})

    assert (result.done, result.reward) == (True, -0.1)
    assert result["feedback"]


def test_an_incident_that_is_none_ends_the_episode(url):
    with OpenSOCClient(url) as client:
        assert client.reset(mode="self_play", seed=1)["role"] == "attacker"
        result = client.craft_incident("dismiss", "execution", events=[])

    assert (result.done, result.reward) == (True, -0.5)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(url, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with OpenSOCClient(url) as client:
        assert client.health() == {"status": "healthy"}


def test_tasks_name_all_four(url):
    with OpenSOCClient(url) as client:
        text = json.dumps(client.tasks())

    assert [task for task in schema.TASKS if task not in text] == []


# ---------------------------------------------------------------- over a WebSocket
def test_an_episode_over_a_websocket(url):
    with OpenSOCEnv(url).sync() as env:
        result = env.reset(task="stage1_basic", mode="defender_only", seed=42)
        assert isinstance(result.observation, OpenSOCObservation)
        assert (result.observation.role, result.reward, result.done) == ("defender", None, False)
        result = env.step(OpenSOCAction(submit_triage={**TRIAGE, "cited_log_id": result.observation.alert["log_id"]}))
        state = env.state()

    assert result.done
    assert result.observation.grade["rewards"]["defender"] == result.reward
    assert (state.episode_id, state.step_count, state.done) == (result.observation.episode_id, 1, True)


def test_http_and_websocket_show_the_same_episode(url):
    with OpenSOCClient(url) as client, OpenSOCEnv(url).sync() as env:
        over_http = client.reset(task="stage3_mixed", seed=11)
        over_socket = env.reset(task="stage3_mixed", seed=11).observation.model_dump()

    assert {name: over_socket[name] for name in over_http.observation if name != "episode_id"} == {
        name: value for name, value in over_http.observation.items() if name != "episode_id"
    }


def test_the_websocket_client_is_asynchronous_by_itself(url):
    async def rewards(seed):
        async with OpenSOCEnv(url) as env:
            await env.reset(seed=seed)
            return (await env.step({"submit_triage": {"action": "panic"}})).reward

    async def both():
        return await asyncio.gather(rewards(1), rewards(2))

    assert asyncio.run(both()) == [-0.1, -0.1]


def test_a_step_on_another_connection_is_refused(url):
    with OpenSOCEnv(url).sync() as env:
        env.reset(seed=1)
        env.disconnect()
        with pytest.raises(EpisodeLostError, match="reset\\(\\) for a new one"):
            env.step(OpenSOCAction(submit_triage=TRIAGE))
        with pytest.raises(EpisodeLostError):
            env.state()
        env.reset(seed=1)

        assert env.step(OpenSOCAction(submit_triage={})).done


def test_a_step_before_reset_gets_the_servers_sentence(url):
    with OpenSOCEnv(url).sync() as env, pytest.raises(RuntimeError, match="reset"):
        env.step(OpenSOCAction(submit_triage=TRIAGE))


def test_a_connection_that_closes_under_way_ends_the_episode():
    def answer_once_and_close(socket):
        socket.recv()
        socket.send(json.dumps({"type": "observation", "data": {"observation": {}, "reward": None, "done": False}}))
        socket.recv()
        socket.close()

    with serve(answer_once_and_close, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        with OpenSOCEnv(f"http://127.0.0.1:{port}").sync() as env:
            env.reset()
            with pytest.raises(EpisodeLostError, match="whether the step was counted is not known"):
                env.step(OpenSOCAction(submit_triage=TRIAGE))
            with pytest.raises(EpisodeLostError, match="is gone"):
                env.step(OpenSOCAction(submit_triage=TRIAGE))
        server.shutdown()


def test_the_names_that_the_sdk_looks_for_are_there():
    assert (OpensocEnv, OpensocAction, OpensocObservation) == (OpenSOCEnv, OpenSOCAction, OpenSOCObservation)
