"""Stored rollouts scored again: what holds, what drifts, and what a run may not claim."""

import json

import pytest

import eval.run
from eval import reverify
from eval.runs import load_run
from schema import LABELS, BadRequestError
from stored_runs import answered, frozen_rows, serve, write_run

ROWS = frozen_rows(20)


def honest():
    """A run that answers every action and, for the last item, nothing that can be read."""
    actions = [LABELS[number % len(LABELS)] for number in range(len(ROWS) - 1)]
    return [answered(row, action) for row, action in zip(ROWS, [*actions, None], strict=True)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    serve(monkeypatch, holdout=ROWS)
    return lambda rollouts, **info: write_run(tmp_path / "run", "made", rollouts, **info)


def test_a_run_that_is_scored_as_it_was_has_no_drift(run, capsys):
    assert reverify.main([str(run(honest()))]) == 0
    assert capsys.readouterr().out == "made: 20 rollouts, each scored today as it was.\n"


def changed(number, **parts):
    rows = honest()
    rows[number] = {**rows[number], **parts}
    return rows


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"reward": 1.1}, ["reward"]),
        ({"label": "escalate"}, ["label"]),
        ({"evidence": ["L9-9"]}, ["evidence"]),
        ({"action": None}, ["action"]),
        ({"weight": 50.0}, ["weight"]),
        ({"family": "another"}, ["family"]),
        ({"reply": "nothing"}, ["action", "answer", "reward"]),
        ({"answer": {"action": "dismiss", "cited_log_id": "L1-99", "rationale": ""}}, ["answer"]),
    ],
)
def test_whatever_is_otherwise_today_is_named(run, parts, what):
    number = next(number for number, row in enumerate(honest()) if row["label"] != "escalate" and row["reward"] < 1)

    found = reverify.reverify(load_run(run(changed(number, **parts))))

    assert [(one.id, one.what) for one in found] == [(f"holdout-{number}", name) for name in what]


def test_another_figure_in_the_rubric_is_drift(run, capsys):
    """Scored under `standard`, said to be scored under `hardened`."""
    assert reverify.main([str(run(honest(), reward_table="hardened")), "--json"]) == 1

    told = json.loads(capsys.readouterr().out)
    assert list(told["drift"]) == ["reward"]
    assert {"id": "holdout-19", "set": "holdout", "what": "reward", "was": -0.1, "now": -1.0} in told["changed"]


def test_a_drift_is_printed_with_what_was_and_what_is(run, capsys):
    assert reverify.main([str(run(changed(19, reward=0.5)))]) == 1
    assert capsys.readouterr().out == (
        "made: 1 of 20 rollouts are scored otherwise today (reward 1).\n  holdout holdout-19: reward was 0.5 and is -0.1\n"
    )


def test_another_version_of_the_set_is_refused(run, capsys):
    assert reverify.main([str(run(honest(), sha256="1" * 64))]) == 2
    assert "check out the version that the run was made with" in capsys.readouterr().err


def test_incidents_of_val_are_made_again(tmp_path):
    asked = ["--defender", "keyword", "--split", "val", "--n", "8", "--seed", "3", "--out", str(tmp_path)]
    assert eval.run.main(asked) == 0

    assert reverify.reverify(load_run(tmp_path)) == []
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**about, "seed": 4}))
    with pytest.raises(BadRequestError, match="the set here has"):
        reverify.reverify(load_run(tmp_path))


def test_a_file_of_ones_own_cannot_be_scored_again(tmp_path):
    rows = [{**row, "set": "mine"} for row in honest()]
    with pytest.raises(BadRequestError, match="is over 'mine', a file of its own"):
        reverify.reverify(load_run(write_run(tmp_path, "made", rows)))


def test_a_run_that_leaves_items_out_is_refused(run):
    with pytest.raises(BadRequestError, match="'holdout-19' is in one of both only"):
        reverify.reverify(load_run(run(honest()[:-1])))
