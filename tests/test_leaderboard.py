"""The leaderboard takes what follows from its rollouts, and nothing else."""

import json

import jsonschema
import pytest

from eval.leaderboard import BOARD, KEPT, SCHEMA, load_board, schema_text
from eval.leaderboard.__main__ import main
from eval.runs import load_run
from schema import LABELS
from stored_runs import answered, frozen_rows, serve, write_run

pytestmark = pytest.mark.usefixtures("few_resamples")

ROWS = frozen_rows(40)


def submitted(path, name, actions, change=lambda metrics: None):
    """A run directory with its metrics.json, as eval.run leaves it; `change` may cook the figures."""
    write_run(path, name, [answered(row, action) for row, action in zip(ROWS, actions, strict=True)])
    metrics = {"holdout": load_run(path).metrics("holdout", resamples=200)}
    change(metrics)
    (path / "metrics.json").write_text(json.dumps({"metrics": metrics}))
    return path


@pytest.fixture
def board(tmp_path, monkeypatch):
    serve(monkeypatch, holdout=ROWS)
    path = tmp_path / "board.json"
    path.write_text('{"version": 1, "entries": []}')
    return path


RIGHT = [row["ground_truth"]["action"] for row in ROWS]


def names(board):
    return [entry["name"] for entry in json.loads(board.read_text())["entries"]]


def test_runs_are_added_the_best_first_and_replaced_by_name(board, tmp_path, capsys):
    runs = [
        submitted(tmp_path / "a", "sleepy", ["dismiss"] * 40),
        submitted(tmp_path / "b", "oracle", RIGHT),
        submitted(tmp_path / "c", "sleepy", [*RIGHT[:20], *[None] * 20]),
    ]

    for run in runs:
        assert main(["add", str(run), "--board", str(board)]) == 0

    assert names(board) == ["oracle", "sleepy"]
    assert "sleepy stands at 2 of 2" in capsys.readouterr().out
    told = json.loads(board.read_text())["entries"]
    assert told[0]["sets"]["holdout"]["metrics"]["accuracy"]["value"] == 1.0
    assert told[1]["sets"]["holdout"]["metrics"]["format_ok"]["value"] == 0.5
    jsonschema.validate(json.loads(board.read_text()), json.loads(SCHEMA.read_text()))
    assert main(["validate", str(board)]) == 0


def test_a_run_can_be_checked_before_it_is_submitted(board, tmp_path, capsys):
    assert main(["validate", str(submitted(tmp_path / "a", "oracle", RIGHT))]) == 0
    assert "oracle: every figure follows from the rollouts and the frozen sets (holdout)." in capsys.readouterr().out


@pytest.mark.parametrize("metric", KEPT)
def test_a_figure_that_does_not_follow_from_the_rollouts_is_refused(board, tmp_path, capsys, metric):
    def better(metrics):
        metrics["holdout"][metric]["value"] = 0.987

    run = submitted(tmp_path / "a", "cook", [LABELS[number % 5] for number in range(40)], better)

    assert main(["add", str(run), "--board", str(board)]) == 2
    assert f"{metric} of holdout is stated as 0.987" in capsys.readouterr().err
    assert names(board) == []


def test_rollouts_that_do_not_follow_from_their_replies_are_refused(board, tmp_path, capsys):
    """Answers and figures agree with each other, and the replies say something else."""
    run = submitted(tmp_path / "a", "forger", RIGHT)
    rows = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    number = next(number for number, label in enumerate(RIGHT) if label != "dismiss")
    rows[number]["reply"] = rows[number]["reply"].replace(RIGHT[number], "dismiss")
    (run / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert main(["add", str(run), "--board", str(board)]) == 2
    assert (
        f"'holdout-{number}' of holdout has action '{RIGHT[number]}' where 'dismiss' comes out"
        in capsys.readouterr().err
    )


def test_a_run_without_metrics_is_refused(board, tmp_path, capsys):
    run = submitted(tmp_path / "a", "oracle", RIGHT)
    (run / "metrics.json").unlink()

    assert main(["validate", str(run)]) == 2
    assert "metrics.json" in capsys.readouterr().err


def _entry(board, tmp_path):
    main(["add", str(submitted(tmp_path / "a", "oracle", RIGHT)), "--board", str(board)])
    return json.loads(board.read_text())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda told: told["entries"].append(told["entries"][0]), "'oracle' comes more than once"),
        (lambda told: told["entries"][0].update(note="best"), "Extra inputs are not permitted"),
        (lambda told: told["entries"][0].update(rollouts_sha256="x"), "rollouts_sha256"),
        (
            lambda told: told["entries"][0]["sets"]["holdout"]["metrics"].pop("macro_f1"),
            "metrics are macro_f1 and others",
        ),
        (
            lambda told: told["entries"][0]["sets"]["holdout"]["metrics"].update(
                luck={"value": 1, "low": None, "high": None, "n": 1}
            ),
            "unknown ['luck']",
        ),
        (
            lambda told: told["entries"][0]["sets"]["holdout"]["metrics"]["accuracy"].update(low=1.0, high=0.5),
            "lies above high",
        ),
        (
            lambda told: told["entries"][0]["sets"]["holdout"]["metrics"]["accuracy"].update(value=None),
            "without a value",
        ),
        (
            lambda told: told["entries"][0]["sets"]["holdout"]["metrics"]["accuracy"].update(high=None),
            "without the other",
        ),
        (lambda told: told.update(version=2), "version"),
    ],
)
def test_a_board_out_of_form_is_refused(board, tmp_path, capsys, spoil, said):
    told = _entry(board, tmp_path)
    spoil(told)
    board.write_text(json.dumps(told))

    assert main(["validate", str(board)]) == 2
    assert said in capsys.readouterr().err


def test_an_entry_may_be_older_than_a_metric(board, tmp_path):
    told = _entry(board, tmp_path)
    del told["entries"][0]["sets"]["holdout"]["metrics"]["ece"]
    board.write_text(json.dumps(told))

    assert "ece" not in load_board(board).entries[0].sets["holdout"].metrics


def test_the_projects_own_board_and_schema_are_in_form():
    load_board(BOARD)
    assert SCHEMA.read_text("utf-8") == schema_text()


def test_a_run_may_be_older_than_a_metric_which_is_then_computed_anew(board, tmp_path):
    run = submitted(tmp_path / "a", "old", RIGHT, lambda metrics: metrics["holdout"].pop("chain_given"))

    assert main(["add", str(run), "--board", str(board)]) == 0
    assert load_board(board).entries[0].sets["holdout"].metrics["chain_given"].value == 0.0
    without = submitted(tmp_path / "b", "new", RIGHT, lambda metrics: metrics["holdout"].pop("macro_f1"))
    assert main(["add", str(without), "--board", str(board)]) == 2
