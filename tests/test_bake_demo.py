"""The demo's pairs: balanced, drawn without a look at the answers, the same each time."""

import json
from collections import Counter

import pytest

from eval.bake_demo import bake, draw, main
from eval.runs import load_run
from schema import LABELS, TASKS, BadRequestError
from stored_runs import answered, frozen_rows, oracle, played, right_in, rollout, serve, write_run

ROWS = frozen_rows(60)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    serve(monkeypatch, holdout=ROWS)
    before = [answered(row, "dismiss") for row in ROWS]
    after = [answered(row, row["ground_truth"]["action"]) for row in ROWS]
    return write_run(tmp_path / "before", "base", before), write_run(tmp_path / "after", "trained", after)


def many():
    return [
        rollout(number, LABELS[number % 5], "dismiss", task=TASKS[number // 5 % 4], family="f") for number in range(400)
    ]


def test_fifty_pairs_are_even_over_tasks_and_actions():
    taken = draw(many(), 50, 0)

    assert Counter(row["label"] for row in taken) == dict.fromkeys(LABELS, 10)
    assert sorted(Counter(row["task"] for row in taken).values()) == [12, 12, 13, 13]
    assert len({row["id"] for row in taken}) == 50


def test_where_a_kind_is_rare_the_others_fill_up():
    rows = [row for row in many() if row["label"] != "escalate" or row["task"] == "stage1_basic"][:200]

    assert len(draw(rows, 50, 0)) == 50


def test_answers_do_not_decide_what_is_drawn():
    right, wrong = played(oracle), played(right_in(0))

    assert [row["id"] for row in draw(right, 50, 0)] == [row["id"] for row in draw(wrong, 50, 0)]
    assert [row["id"] for row in draw(right, 50, 0)] != [row["id"] for row in draw(right, 50, 1)]


def test_the_file_holds_what_was_seen_and_what_was_answered(runs, tmp_path, capsys):
    out = tmp_path / "demo" / "examples.json"
    command = ["--run", f"base={runs[0]}", "--run", f"trained={runs[1]}", "--out", str(out)]

    assert main(command) == 0
    first = out.read_bytes()
    assert main(command) == 0
    assert out.read_bytes() == first

    baked = json.loads(first)
    before, after = baked["checkpoints"]
    assert (len(baked["pairs"]), after["right"]) == (50, 50)
    assert before["right"] == sum(pair["label"] == "dismiss" for pair in baked["pairs"]) < 20
    assert (after["name"], after["title"], after["accuracy"]["value"]) == ("trained", "trained", 1.0)
    [row] = [row for row in ROWS if row["id"] == baked["pairs"][0]["id"]]
    assert baked["pairs"][0]["observation"] == row["observation"]
    assert baked["pairs"][0]["answers"][0]["answer"]["action"] == "dismiss"
    assert f"50 items; right: base {before['right']}, trained 50" in capsys.readouterr().out


def test_other_checkpoints_join_those_that_are_stored(runs, tmp_path):
    out = tmp_path / "demo.json"
    before, after = runs
    assert main(["--run", f"base={before}", "--run", f"trained={before}", "--out", str(out)]) == 0
    first = json.loads(out.read_text())

    assert main(["--run", f"trained={after}", "--run", f"more={after}", "--keep", "--out", str(out)]) == 0

    joined = json.loads(out.read_text())
    assert [(each["name"], each["right"]) for each in joined["checkpoints"]] == [
        ("base", first["checkpoints"][0]["right"]),
        ("trained", 50),
        ("more", 50),
    ]
    for pair, old in zip(joined["pairs"], first["pairs"], strict=True):
        assert [answer["action"] for answer in pair["answers"]] == ["dismiss", pair["label"], pair["label"]]
        assert {**pair, "answers": 0} == {**old, "answers": 0}
    kept = out.read_text()
    assert main(["--run", f"trained={after}", "--seed", "1", "--keep", "--out", str(out)]) == 2
    assert out.read_text() == kept


def test_runs_over_other_versions_are_refused(runs, tmp_path):
    other = write_run(tmp_path / "other", "other", [answered(row, "dismiss") for row in ROWS], sha256="1" * 64)

    with pytest.raises(BadRequestError, match="the hashes differ"):
        bake({"one": load_run(runs[0]), "two": load_run(other)})
