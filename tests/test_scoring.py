"""Items of generated incidents, and the scores of replies to them."""

import json

import pytest

from env import OpenSOCEnv
from generator import generate
from players.scoring import Score, score_answer, score_reply
from rubric import TABLES
from scenario import item_of
from tasks.sets import load_set
from verifier import judge_observation

ROW = load_set("holdout").rows[3]
RIGHT = {
    "action": ROW["ground_truth"]["action"],
    "cited_log_id": ROW["ground_truth"]["evidence_log_ids"][0],
    "rationale": "so",
}


def test_an_item_is_what_an_episode_shows_and_grades():
    env = OpenSOCEnv(salt="s")
    shown = env.reset(7, task="stage3_mixed", split="val").model_dump()
    env.step({"submit_triage": None})
    truth = env.grade()["ground_truth"]

    item = item_of(generate("stage3_mixed", 7, split="val", salt="s"))

    assert set(item) == {"family", "observation", "ground_truth"}
    assert item["observation"] == {name: shown[name] for name in ("alert", "log_window", "context")}
    assert item["ground_truth"] == {
        name: json.loads(json.dumps(truth[name])) for name in ("action", "evidence_log_ids", "techniques", "rule_ids")
    }


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "reply", [json.dumps(RIGHT), json.dumps({**RIGHT, "action": "monitor"}), "no answer", "", None]
)
def test_a_reply_earns_what_an_episode_pays(reply, table):
    env = OpenSOCEnv(reward_table=table)
    env.reset(5, task="stage2_multi")
    shown = env.reset(5, task="stage2_multi").model_dump()
    item = {"observation": shown, "ground_truth": judge_observation(shown)}
    content = json.loads(reply) if reply and reply.startswith("{") else None
    if content:
        content["cited_log_id"] = shown["alert"]["log_id"]
        reply = json.dumps(content)
    env.step({"submit_triage": content})

    score = score_reply(reply, item, table)

    assert score.reward == env.grade()["rewards"]["defender"]
    assert score.right == (content is not None and content["action"] == item["ground_truth"].action)
    assert (score.action, score.answer and score.answer["action"]) == (content and content["action"],) * 2
    assert bool(score.fault) == (content is None)


def test_a_stored_truth_scores_as_the_verifiers_own():
    stored = score_reply(json.dumps(RIGHT), ROW, "hardened")

    assert stored == score_reply(
        json.dumps(RIGHT), {**ROW, "ground_truth": judge_observation(ROW["observation"])}, "hardened"
    )
    assert (stored.reward, stored.right, stored.fault) == (1.1, True, "")


def test_a_malformed_answer_keeps_the_fault_that_came_with_it():
    assert score_answer({}, ROW, fault="silent") == Score(
        None, "silent", -0.1, {"defender.decision": 0.0, "defender.citation": 0.0, "defender.format": -0.1}, False
    )
    assert "cited_log_id L9-9 is not in the log window" in score_answer({**RIGHT, "cited_log_id": "L9-9"}, ROW).fault
