"""A chain of reasons is scored step by step against the verifier's, with the first wrong step; prose is not scored."""

import json

import pytest

from eval.items import fresh
from eval.metric_table import STEPS
from eval.metrics import measure
from eval.reverify import drifts
from eval.rollouts import rollout
from eval.steps import first_wrong, right_chain, score_steps, share_of_steps
from players.base import Baseline, Reply
from players.prompt import answer_text
from players.reasons import Chain, Reason, write_chain
from train.monitor import Validation

SHELL = Reason("remote-shell", ("L1-4",), "confirmed", "host", hosts=("@host1",), accounts=("@user1",), tool="nc")
WRITTEN = Reason("unit-written", ("L1-3",), "suspicious", "host", hosts=("@host1",), explanation="@t1")
RIGHT = Chain((WRITTEN, SHELL), "host")
ALL_RIGHT = {"reasons": 2, **dict.fromkeys(STEPS, 2), "rung": True, "chain": True, "faithful": True, "first_wrong": ""}


@pytest.fixture(autouse=True)
def verifiers_chain(request, monkeypatch):
    if "unpatched" not in request.fixturenames:
        monkeypatch.setattr("eval.steps.right_chain", lambda observation: RIGHT)


@pytest.fixture
def unpatched():
    """Let the verifier say what is right."""


def scored(chain, action="quarantine_host", cited="L1-4"):
    answer = {"rationale": write_chain(chain), "cited_log_id": cited, "action": action}
    return score_steps({}, answer, ["L1-4"])


def test_a_right_chain_is_right_in_every_step():
    assert scored(RIGHT) == ALL_RIGHT


@pytest.mark.parametrize(
    ("change", "step", "faithful"),
    [
        ({"lines": ("L1-5",)}, "lines", True),
        ({"strength": "suspicious"}, "strengths", False),
        ({"scope": "data"}, "scopes", False),
        ({"harm": True}, "scopes", False),
        ({"hosts": ("@crown1",)}, "entities", False),
        ({"accounts": ()}, "entities", True),
        ({"tool": "ncat"}, "means", True),
        ({"remote": "@out1"}, "means", True),
        ({"explanation": "@t1"}, "explanations", False),
    ],
)
def test_a_wrong_step_is_wrong_alone(change, step, faithful):
    answer = scored(Chain((WRITTEN, SHELL._replace(**change)), "host"))

    assert answer == {**ALL_RIGHT, step: 1, "chain": False, "faithful": faithful, "first_wrong": step}


def test_reasons_pair_by_rule_else_by_line_and_a_wrong_order_is_wrong_where_it_begins():
    assert scored(Chain((SHELL, WRITTEN), "host")) == {**ALL_RIGHT, "chain": False, "first_wrong": "rules"}
    assert scored(Chain((WRITTEN, SHELL._replace(rule_id="other")), "host")) == {
        **ALL_RIGHT,
        "rules": 1,
        "chain": False,
        "first_wrong": "rules",
    }
    elsewhere = SHELL._replace(rule_id="other", lines=("L1-9",))
    assert scored(Chain((WRITTEN, elsewhere), "host")) == {
        **ALL_RIGHT,
        **dict.fromkeys(STEPS, 1),
        "reasons": 3,
        "chain": False,
        "first_wrong": "rules",
    }


def test_of_two_reasons_of_a_rule_the_one_on_the_same_line_is_the_pair():
    twice = SHELL._replace(lines=("L1-2",), strength="suspicious")

    assert scored(Chain((WRITTEN, twice, SHELL), "host")) == {
        **ALL_RIGHT,
        "reasons": 3,
        "chain": False,
        "first_wrong": "lines",
    }


def test_reasons_too_few_or_too_many_are_wrong_in_every_step():
    missing = scored(Chain((WRITTEN,), "explained"), "dismiss")
    extra = scored(Chain((WRITTEN, SHELL, SHELL._replace(rule_id="third", lines=("L1-8",))), "host"))

    assert missing == {
        **ALL_RIGHT,
        **dict.fromkeys(STEPS, 1),
        "rung": False,
        "chain": False,
        "first_wrong": "missing",
    }
    assert extra == {**ALL_RIGHT, "reasons": 3, "chain": False, "first_wrong": "extra"}


def test_what_comes_after_the_reasons_can_be_wrong_too():
    assert scored(Chain((WRITTEN, SHELL), "several"))["first_wrong"] == "rung"
    assert scored(Chain((WRITTEN, SHELL), "host", together=True))["rung"] is False
    assert scored(RIGHT, cited="L1-3") == {**ALL_RIGHT, "first_wrong": "citation"}
    assert scored(RIGHT, "block_ip") == {**ALL_RIGHT, "faithful": False, "first_wrong": "action"}


def test_a_chain_that_breaks_off_is_unfinished_and_nothing_follows_from_it():
    text = write_chain(RIGHT).removesuffix(" so=host")
    answer = score_steps({}, {"rationale": text, "cited_log_id": "L1-4", "action": "quarantine_host"}, ["L1-4"])

    assert answer == {**ALL_RIGHT, "rung": False, "chain": False, "faithful": False, "first_wrong": "unfinished"}
    assert first_wrong(Chain((WRITTEN,), ""), RIGHT) == "unfinished"


def test_prose_and_malformed_answers_are_not_scored():
    assert score_steps({}, None, ["L1-4"]) is None
    assert (
        score_steps({}, {"rationale": "It looks odd.", "cited_log_id": "L1-4", "action": "monitor"}, ["L1-4"]) is None
    )


# ---------------------------------------------------------------- from rollouts to figures
class ChainPlayer(Baseline):
    """Answers as the verifier, but calls every confirmed finding of the odd items suspicious."""

    def __init__(self):
        super().__init__("chains")

    def triage(self, row):
        answer = json.loads(answer_text(row["observation"], "compact"))
        if int(row["id"].rsplit("-", 1)[1]) % 2:
            answer["rationale"] = answer["rationale"].replace(" confirmed ", " suspicious ")
        return answer


def test_rollouts_and_figures_hold_the_steps_of_real_incidents(unpatched):
    rows = fresh("val", 12, seed=0).rows
    lines = [
        rollout("val", row, reply, "standard") for row, reply in zip(rows, ChainPlayer().answer(rows), strict=True)
    ]
    changed = [
        index % 2 and " confirmed " in answer_text(row["observation"], "compact") for index, row in enumerate(rows)
    ]
    wrong = sum(map(bool, changed))
    metrics = measure(lines, resamples=50)

    assert 0 < wrong < 6
    assert [line["steps"]["first_wrong"] for line in lines] == ["strengths" if hit else "" for hit in changed]
    assert (metrics["chain_given"]["value"], metrics["chain_right"]["n"]) == (1.0, 12)
    assert metrics["chain_right"]["value"] == pytest.approx((12 - wrong) / 12, abs=1e-6)
    assert metrics["step_rules"]["value"] == metrics["rung_right"]["value"] == 1.0
    confirmed = sum(line["steps"]["reasons"] - line["steps"]["strengths"] for line in lines)
    reasons = sum(line["steps"]["reasons"] for line in lines)
    assert metrics["step_strengths"]["value"] == pytest.approx(1 - confirmed / reasons, abs=1e-6)
    assert metrics["step_strengths"]["low"] < metrics["step_strengths"]["value"]
    unfaithful = sum(bool(hit) and line["label"] != "dismiss" for hit, line in zip(changed, lines, strict=True))
    assert metrics["faithful"]["value"] == pytest.approx((12 - unfaithful) / 12, abs=1e-6)
    assert metrics["first_wrong"] == {"strengths": wrong, "none": 12 - wrong}
    assert not [drift for row, line in zip(rows, lines, strict=True) for drift in drifts(row, line, "standard")]
    lines[0]["steps"]["rules"] += 1
    assert [drift.what for drift in drifts(rows[0], lines[0], "standard")] == ["steps"]
    assert not list(drifts(rows[0], {name: part for name, part in lines[0].items() if name != "steps"}, "standard"))


def test_a_validation_logs_chains_where_there_are_any(unpatched):
    rows = fresh("val", 4, seed=0).rows
    validation = Validation(rows)
    plain = json.dumps(
        {"action": "monitor", "cited_log_id": rows[0]["observation"]["log_window"][0]["log_id"], "rationale": "odd"}
    )

    figures = validation.measure(ChainPlayer())
    assert figures["val/step_rules"] == 1.0
    assert (
        figures["val/chain_right"]
        == sum(
            index % 2 == 0 or " confirmed " not in write_chain(right_chain(row["observation"]))
            for index, row in enumerate(rows)
        )
        / 4
    )
    assert not [name for name in validation.figures([plain] * 4) if "chain" in name or "step" in name]


def test_a_recording_has_no_steps(unpatched):
    row = fresh("val", 1, seed=0).rows[0]
    bare = {name: part for name, part in row.items() if name != "ground_truth"}

    assert rollout("real", bare, Reply(answer_text(row["observation"], "compact")), "standard")["steps"] is None


@pytest.mark.parametrize(
    ("reasons", "share"),
    [
        (RIGHT.reasons, 1.0),
        ((), 0.0),
        (
            (RIGHT.reasons[0]._replace(strength="confirmed", tool="x"), *RIGHT.reasons[1:]),
            1 - 2 / (7 * len(RIGHT.reasons)),
        ),
        ((*RIGHT.reasons, RIGHT.reasons[0]._replace(rule_id="other")), len(RIGHT.reasons) / (len(RIGHT.reasons) + 1)),
    ],
)
def test_the_share_of_right_steps_counts_each_step_of_each_reason(reasons, share):
    assert share_of_steps(Chain(tuple(reasons), ""), RIGHT) == pytest.approx(share)


def test_a_chain_without_reasons_is_right_where_there_are_none():
    assert share_of_steps(Chain((), "nothing"), Chain((), "silent")) == 1.0
