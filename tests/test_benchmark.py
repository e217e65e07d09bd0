"""A benchmark's answers: what is told of a game that was graded before, and what is withheld until a deadline."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from app_runtime import benchmark
from app_runtime.benchmark import BenchmarkEnv, GradeBook
from app_runtime.settings import Settings
from contract import right_answer
from env import OpenSOCEnv
from schema import OpenSOCError
from service import TRIAGE, begin, problem, serve

DEADLINE = datetime(2030, 1, 1, tzinfo=UTC)
ACTION = {"submit_triage": TRIAGE}
RESET = {"type": "reset", "data": {"split": "val", "index": 9}}
STEP = {"type": "step", "data": ACTION}


def end(client, **asked):
    return client.post("/step", json=ACTION, params={"episode_id": begin(client, **asked)["episode_id"]}).json()


def told(ws, message):
    ws.send_text(json.dumps(message))
    return ws.receive_json()["data"]


# ---------------------------------------------------------------- graded before
def test_a_game_that_was_graded_says_so_at_its_reset_and_in_its_grade():
    with serve(salt="s3cret") as client:
        first = end(client, split="val", index=9)
        again = begin(client, split="val", index=9)
        last = client.post("/step", json=ACTION, params={"episode_id": again["episode_id"]}).json()
        other = begin(client, split="val", index=10)

    assert first["observation"]["grade"]["graded_before"] == 0
    assert again["metadata"] == {"graded_before": 1}
    assert (last["metadata"], last["observation"]["grade"]["graded_before"]) == ({"graded_before": 1}, 1)
    assert "graded_before" not in json.dumps(other)


def test_a_seed_that_was_drawn_counts_and_so_do_sockets_and_tools():
    with serve(salt="s3cret") as client:
        seed = end(client)["observation"]["grade"]["seed"]
        assert begin(client, seed=seed)["metadata"] == {"graded_before": 1}
        with client.websocket_connect("/ws") as ws:
            told(ws, RESET)
            assert told(ws, STEP)["observation"]["grade"]["graded_before"] == 0
            assert told(ws, RESET)["metadata"] == {"graded_before": 1}
        episode_id = begin(client, split="val", index=9)["episode_id"]
        call = {"name": "submit_triage", "arguments": {**TRIAGE, "episode_id": episode_id}}
        client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
        assert begin(client, split="val", index=9)["metadata"] == {"graded_before": 2}


def test_two_that_run_side_by_side_count_by_the_grade_and_not_by_the_reset():
    with serve(salt="s3cret") as client:
        ids = [begin(client, seed=1)["episode_id"] for _ in range(2)]
        grades = [client.post("/step", json=ACTION, params={"episode_id": each}).json() for each in ids]

    assert [grade["observation"]["grade"]["graded_before"] for grade in grades] == [0, 1]


def test_without_a_salt_nothing_is_counted():
    with serve() as client:
        end(client, seed=1)
        assert "graded_before" not in json.dumps(end(client, seed=1))


def test_numbered_tasks_are_never_forgotten_and_other_seeds_are_in_turn(monkeypatch):
    monkeypatch.setattr(benchmark, "MAX_REMEMBERED", 2)
    book = GradeBook(counting=True)
    games = [{"task": "stage1_basic", "split": "val", "seed": seed} for seed in (0, 499, 500, 501, 502)]
    for game in games:
        book.record(game)

    assert [book.times(game) for game in games] == [1, 1, 0, 1, 1]


# ---------------------------------------------------------------- grades that are held
def test_while_grades_are_held_no_answer_tells_how_good_it_was():
    with serve(hold_grades=DEADLINE) as client:
        replies = [end(client, seed=3)]
        with client.websocket_connect("/ws") as ws:
            told(ws, RESET)
            replies.append(told(ws, STEP))
        episode_id = begin(client, seed=3)["episode_id"]
        call = {"name": "submit_triage", "arguments": {**TRIAGE, "episode_id": episode_id}}
        mcp = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).json()
        replies.append(mcp["result"]["data"] if "data" in mcp["result"] else mcp["result"])
        sentence = problem(client.get("/grade", params={"episode_id": episode_id}), 409)
        truth = OpenSOCEnv()
        truth.reset(seed=3)
        explanation = truth.step(ACTION).grade["ground_truth"]["explanation"]

    assert "held back until 2030-01-01T00:00:00+00:00" in sentence
    for reply in replies:
        assert reply["reward"] is None
        assert reply["done"] is True
        seen = reply["observation"]
        assert (seen["rewards"], seen["grade"]) == ({}, None)
        assert seen["feedback"].startswith("The answer was taken. Grades are held back until 2030")
        assert explanation not in json.dumps(reply)


def test_a_right_and_a_wrong_answer_end_alike_while_grades_are_held():
    def closing(answer):
        env = BenchmarkEnv(GradeBook(counting=True, held_until=DEADLINE))
        first = env.reset(seed=5)
        return env.step(answer(first.model_dump())).model_dump()

    assert closing(right_answer) == closing(lambda _: {"submit_triage": "no answer at all"})


def test_after_the_deadline_a_finished_episode_is_explained(caplog):
    now = [DEADLINE - timedelta(seconds=1)]
    env = BenchmarkEnv(GradeBook(counting=False, held_until=DEADLINE, clock=lambda: now[0]))
    env.reset(seed=3)
    with caplog.at_level(logging.INFO, "opensoc.grades"):
        assert env.step(ACTION).grade is None
    now[0] = DEADLINE

    assert env.grade()["ground_truth"]["action"]
    (record,) = caplog.records
    assert (record.fields["seed"], record.fields["split"], record.fields["action"]) == (3, "train", TRIAGE["action"])
    assert record.fields["rewards"] == env.grade()["rewards"]
    assert "ground_truth" not in record.fields


@pytest.mark.parametrize("deadline", ["soon", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z"])
def test_a_deadline_is_a_moment_with_a_zone(deadline):
    with pytest.raises(OpenSOCError, match="environment variable OPENSOC_HOLD_GRADES"):
        Settings.from_env({"OPENSOC_HOLD_GRADES": deadline})
    assert Settings.from_env({"OPENSOC_HOLD_GRADES": "2030-01-01T00:00:00Z"}).hold_grades == DEADLINE
