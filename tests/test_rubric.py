"""Both tables: the fixed figures, who loses to whom, and the same numbers in three places."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from env import OpenSOCEnv
from generator import generate
from rubric import (
    ATTACKER_RANGE,
    COMPONENTS,
    REWARD_RANGE,
    TABLES,
    AttackerTurn,
    reward_of,
    score_attacker,
    score_defender,
    score_triage,
    tables_as_data,
)
from schema import LABELS, TASKS, Triage
from verifier import compute_ground_truth, judge_observation

ROOT = Path(__file__).resolve().parent.parent


@cache
def judged():
    """Every case with its truth, made where a test asks for them, as each process collects the tests."""
    cases = [generate(task, index) for task in TASKS for index in range(150)]
    return [(case, compute_ground_truth(case.incident, case.world)) for case in cases]


def triage(action, cited="L1-1"):
    return Triage(action=action, cited_log_id=cited, rationale="because")


def defended(answer, truth, table):
    return reward_of(score_defender(answer, truth, TABLES[table]))


def attacked(turn, table):
    return reward_of(score_attacker(turn, TABLES[table]))


def mean_reward(table, player):
    rewards = [defended(player(case, truth), truth, table) for case, truth in judged()]
    return sum(rewards) / len(rewards)


def oracle(case, truth):
    return triage(truth.action, truth.evidence_log_ids[0])


def never_answers(case, truth):
    return None


def follows_the_label(case, truth):
    """Echoes what the author of the incident claims, shifted as a liar would: the next milder action."""
    return triage(LABELS[max(0, LABELS.index(case.incident.target_label) - 1)])


def always(action):
    return lambda case, truth: triage(action, case.world.alerted)


def cites_at_random(case, truth):
    return triage(truth.action, case.lines[-1]["log_id"])


def test_the_fixed_figures_of_the_standard_table():
    table = TABLES["standard"]

    assert [table.defender[label][label] for label in LABELS] == [1.0] * 5
    assert [table.defender[label]["dismiss"] for label in LABELS[1:]] == [-1.0] * 4
    assert table.defender["dismiss"]["quarantine_host"] == table.defender["dismiss"]["block_ip"] == -0.3
    assert [table.defender[label]["escalate"] for label in LABELS[:4]] == [-0.05] * 4
    assert (table.citation, table.malformed) == (0.1, -0.1)
    attacker = table.attacker
    assert (attacker.fooled, attacker.schema_failure, attacker.novelty, attacker.implausible) == (1.0, -0.5, 0.2, 0.0)


def test_acting_late_costs_more_than_the_wrong_tool():
    for table in TABLES.values():
        for truth in ("quarantine_host", "block_ip"):
            wrong_tool = {"quarantine_host": "block_ip", "block_ip": "quarantine_host"}[truth]
            assert table.defender[truth]["monitor"] < table.defender[truth][wrong_tool]


def test_hardened_orders_correct_escalation_wrong_malformed_in_every_row():
    table = TABLES["hardened"]
    for truth, row in table.defender.items():
        wrong = [reward for action, reward in row.items() if action not in (truth, "escalate")]
        escalation = row["escalate"] if truth != "escalate" else row[truth]
        assert row[truth] >= escalation > max(wrong)
        assert min(wrong) + table.citation > table.malformed


def test_the_tables_stand_alike_in_code_manifest_and_document():
    manifest = yaml.safe_load((ROOT / "openenv.yaml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "rubric.md").read_text(encoding="utf-8")

    assert manifest["rewards"] == tables_as_data()
    assert manifest["reward_range"] == manifest["validation"]["reward"]["range"] == list(REWARD_RANGE)
    for name, table in TABLES.items():
        section = page.split(f"## `{name}`")[1].split("\n## ")[0]
        rows = {
            row[0]: [float(cell) for cell in row[1:]]
            for row in re.findall(r"^\| (\w+) \|" + r" (-?[\d.]+) \|" * 5 + "$", section, re.M)
        }
        assert rows == {truth: list(cells.values()) for truth, cells in table.defender.items()}
        assert f"Citation {table.citation:+g}, malformed {table.malformed:+g}" in section
        figures = table.attacker
        numbers = re.search(r"defender wrong \|\n\|---.*\n\| (.*) \|", section).group(1).split(" | ")
        assert [float(number) for number in numbers[:3]] == [
            figures.schema_failure,
            figures.implausible,
            figures.novelty,
        ]
        if not figures.learnable:
            assert [float(number) for number in numbers[3:]] == [figures.defended, figures.fooled]


@pytest.mark.parametrize("table", TABLES)
def test_the_oracle_earns_the_maximum_on_every_item(table):
    assert {defended(oracle(case, truth), truth, table) for case, truth in judged()} == {1.1}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("action", LABELS)
def test_every_constant_stays_far_below_the_oracle(table, action):
    assert mean_reward(table, always(action)) < mean_reward(table, oracle) - 0.5


def test_who_loses_to_whom_under_standard():
    figures = {name: mean_reward("standard", player) for name, player in {
        "oracle": oracle,
        "cites": cites_at_random,
        "escalates": always("escalate"),
        "silent": never_answers,
        "echoes": follows_the_label,
        "dismisses": always("dismiss"),
    }.items()}  # fmt: skip

    assert figures["oracle"] > figures["cites"] > figures["escalates"] > figures["silent"] > figures["dismisses"]
    assert figures["silent"] == pytest.approx(-0.1)
    assert figures["echoes"] < figures["silent"]


def test_who_loses_to_whom_under_hardened():
    silent = mean_reward("hardened", never_answers)

    assert silent == -1.0
    assert all(mean_reward("hardened", always(action)) > silent for action in LABELS)  # trying beats silence
    assert mean_reward("hardened", follows_the_label) > silent
    assert mean_reward("hardened", always("escalate")) < 0.1  # an escalation is a budget, not a living


@pytest.mark.parametrize("table", TABLES)
def test_rewards_lie_in_their_range(table):
    rewards = [
        defended(answer, truth, table)
        for _, truth in judged()[:200]
        for answer in [
            None,
            *(triage(action, cited) for action in LABELS for cited in ("L1-1", truth.evidence_log_ids[0])),
        ]
    ]

    assert REWARD_RANGE[0] <= min(rewards)
    assert max(rewards) <= REWARD_RANGE[1]


@pytest.mark.parametrize(
    ("turn", "standard", "hardened"),
    [
        (AttackerTurn(False, (), False, None, 0.5), -0.5, -0.5),
        (AttackerTurn(True, ("no such host",), False, None, 0.5), 0.0, -0.2),
        (AttackerTurn(True, (), True, None, 0.5), 0.2, 0.2),
        (AttackerTurn(True, (), False, False, 2 / 3), 0.0, 8 / 9),
        (AttackerTurn(True, (), False, True, 0.5), 1.0, 1.0),
        (AttackerTurn(True, (), True, True, 0.05), 1.2, 0.2 + 4 * 0.05 * 0.95),
    ],
)
def test_the_attackers_reward(turn, standard, hardened):
    assert attacked(turn, "standard") == pytest.approx(standard, abs=1e-6)
    assert attacked(turn, "hardened") == pytest.approx(hardened, abs=1e-6)
    assert ATTACKER_RANGE[0] <= standard <= ATTACKER_RANGE[1]


def test_hardened_pays_the_attacker_most_where_the_defender_succeeds_half_the_time():
    pay = {
        rate: attacked(AttackerTurn(True, (), False, True, rate), "hardened") for rate in (0.05, 0.25, 0.5, 0.75, 0.95)
    }

    assert max(pay, key=pay.get) == 0.5
    assert pay[0.05] < 0.2  # what nobody solves hardly pays


def test_components_are_named_alike_in_both_tables():
    _, truth = judged()[0]
    for table in TABLES.values():
        names = (*score_defender(None, truth, table), *score_attacker(AttackerTurn(valid=False), table))
        assert names == COMPONENTS

    assert score_defender(triage(truth.action, truth.evidence_log_ids[0]), truth, TABLES["standard"]) == {
        "defender.decision": 1.0,
        "defender.citation": 0.1,
        "defender.format": 0.0,
    }


# ---------------------------------------------------------------- an answer without an episode
@pytest.mark.parametrize("table", list(TABLES))
@pytest.mark.parametrize(
    "answer",
    [
        {"action": "monitor", "cited_log_id": "L1-1", "rationale": "because", "confidence": 0.5},
        {"action": "dismiss", "cited_log_id": "L1-1", "rationale": ""},
        {"action": "dismiss", "cited_log_id": "L9-99", "rationale": ""},
        {"action": "panic", "cited_log_id": "L1-1", "rationale": ""},
        {},
        [],
        None,
        "dismiss",
    ],
)
def test_an_answer_scores_the_same_with_and_without_an_episode(table, answer):
    env = OpenSOCEnv(reward_table=table)
    for seed in range(5):
        seen = env.reset(seed=seed, task="stage2_multi")
        grade = env.step({"submit_triage": answer}).grade
        truth = judge_observation(seen.model_dump())
        scored = score_triage(answer, truth, {line["log_id"] for line in seen.log_window}, table)

        assert scored.reward == grade["rewards"]["defender"]
        assert scored.components == {
            name: score for name, score in grade["components"].items() if name.startswith("defender.")
        }
        assert (scored.triage.action if scored.triage else None) == grade["action"]
        assert scored.fault in ("", grade["feedback"])
        assert bool(scored.fault) == (scored.triage is None)
