"""What came of a training: curves and price from its directories, the change between two runs, and the page made of both."""

import json
import struct

import pytest

from eval.curves import learning_curves, price, read_training
from eval.results import RESULTS, TACTICS, TOLD, main, results
from eval.runs import load_runs
from eval.steps import score_steps
from players.prompt import answer_text
from schema import BadRequestError
from scripts.results_page import results_page
from stored_runs import answered, frozen_rows, serve, write_run

pytestmark = pytest.mark.usefixtures("few_resamples")

ROWS = frozen_rows(40)


def training(path, *lines, **run):
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(run))
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# ---------------------------------------------------------------- curves and price
LOG = (
    {"step": 1, "incidents": 16, "loss": 3.0, "step_s": 30.0},
    {"step": 2, "incidents": 32, "loss": 2.0, "step_s": 60.0},
    {"step": 2, "val/n": 9, "val/accuracy": 0.25, "val/macro_f1": 0.5},
    {"step": 3, "incidents": 48, "loss": 1.5, "step_s": 90.0},
    {"step": 3, "val/n": 9, "val/accuracy": 0.75, "val/chain_right": 0.125},
)


def test_curves_count_incidents_and_the_price_is_the_time_of_all_cores(tmp_path):
    path = training(tmp_path / "sft", *LOG, command="python -m train.sft", settings={"seed": 7, "threads": 2})

    read = read_training("SFT", path)

    assert (read["name"], read["seed"], read["incidents"], read["seconds"]) == ("SFT", 7, 48, 180.0)
    assert read["curves"] == {
        "accuracy": [(32, 0.25), (48, 0.75)],
        "macro_f1": [(32, 0.5)],
        "chain_right": [(48, 0.125)],
        "loss": [(16, 3.0), (32, 2.0), (48, 1.5)],
    }
    assert price(read) == {"core_hours": 0.1, "gpu_minutes": 0.0}


def test_a_run_on_a_gpu_costs_minutes_by_its_own_clock(tmp_path):
    path = training(tmp_path / "grpo", *LOG, settings={"device": "cuda", "threads": 1}, seconds=330.0)

    assert price(read_training("GRPO", path)) == {"core_hours": 0.0, "gpu_minutes": 5.5}


def test_a_run_that_was_killed_is_read_as_far_as_it_came(tmp_path):
    path = training(tmp_path / "sft", *LOG[:2])
    with (path / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "inci')

    read = read_training("SFT", path)

    assert (read["incidents"], read["seconds"], read["curves"]) == (32, 90.0, {"loss": [(16, 3.0), (32, 2.0)]})


def test_a_loss_of_many_steps_is_drawn_as_means(tmp_path):
    steps = [{"step": n, "incidents": n, "loss": float(n % 2)} for n in range(1, 121)]

    loss = read_training("SFT", training(tmp_path / "sft", *steps))["curves"]["loss"]

    assert loss == [(2 * n, 0.5) for n in range(1, 61)]


@pytest.mark.parametrize("lines", [None, ({"epoch": 1},)])
def test_a_directory_without_steps_is_refused(tmp_path, lines):
    path = training(tmp_path / "no", *lines) if lines else tmp_path

    with pytest.raises(BadRequestError, match=r"Expected a training run with log\.jsonl"):
        read_training("SFT", path)


def test_curves_of_several_seeds_are_lines_of_one_picture(tmp_path):
    seeds = [read_training("SFT", training(tmp_path / f"{n}", *LOG, settings={"seed": n})) for n in (1, 2)]

    rows = learning_curves(seeds).rows

    assert [(row["seed"], row["incidents"], row["value"]) for row in rows if row["measure"] == "accuracy"] == [
        (1, 32, 0.25),
        (1, 48, 0.75),
        (2, 32, 0.25),
        (2, 48, 0.75),
    ]


# ---------------------------------------------------------------- two runs
def with_chain(row, action):
    """The rollout of an answer with the right chain, and this action."""
    answer = json.loads(answer_text(row["observation"], "compact"))
    line = answered(row, action, rationale=answer["rationale"])
    return {**line, "steps": score_steps(row["observation"], line["answer"], line["evidence"])}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A run that dismisses everything, and one with the right chains that calls in the responders every fourth time."""
    serve(monkeypatch, holdout=ROWS)
    before = [answered(row, "dismiss") for row in ROWS]
    after = [
        with_chain(row, "escalate" if index % 4 == 0 else row["ground_truth"]["action"])
        for index, row in enumerate(ROWS)
    ]
    return [
        str(write_run(tmp_path / name, name, rollouts)) for name, rollouts in (("plain", before), ("trained", after))
    ]


def right(index, row):
    return row["ground_truth"]["action"] in ("escalate",) if index % 4 == 0 else True


def test_the_change_is_the_difference_of_the_runs(runs):
    part = results(*load_runs(runs))["sets"]["holdout"]
    accuracies = [
        sum(row["ground_truth"]["action"] == "dismiss" for row in ROWS) / 40,
        sum(right(index, row) for index, row in enumerate(ROWS)) / 40,
    ]
    change = part["metrics"]["accuracy"]

    assert (part["items"], part["sha256"]) == (40, {"holdout": "0" * 64})
    assert [change[side]["value"] for side in ("before", "after")] == accuracies
    assert change["difference"]["difference"] == pytest.approx(accuracies[1] - accuracies[0])
    assert change["difference"]["low"] < change["difference"]["difference"] < change["difference"]["high"]
    assert part["metrics"]["dismiss_on_malicious"]["before"]["value"] == 1.0
    assert part["metrics"]["citation_recall"]["difference"] == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_accuracy_is_counted_by_rule_by_tactic_and_by_what_training_tells(runs):
    stored = results(*load_runs(runs))
    by_rule, by_tactic, untold = {}, {}, []
    for index, row in enumerate(ROWS):
        rules = row["ground_truth"]["rule_ids"]
        for rule in rules:
            by_rule.setdefault(rule, []).append(right(index, row))
        for tactic in {TACTICS[rule] for rule in rules}:
            by_tactic.setdefault(tactic, []).append(right(index, row))
        untold += [index for rule in rules if rule not in TOLD]

    for table, hits in (("rules", by_rule), ("tactics", by_tactic)):
        assert {part["name"]: (part["n"], part["after"]["value"]) for part in stored[table]} == {
            name: (len(hit), round(sum(hit) / len(hit), 6)) for name, hit in hits.items()
        }
    assert not untold  # the split is training's
    assert {part["name"]: part["n"] for part in stored["told"]} == {
        "told in training": sum(bool(row["ground_truth"]["rule_ids"]) for row in ROWS),
        "no rule finds anything": sum(not row["ground_truth"]["rule_ids"] for row in ROWS),
    }


def test_wrong_answers_are_told_beside_the_right_chain(runs):
    stored = results(*load_runs(runs))
    wrong = [row["id"] for index, row in enumerate(ROWS) if not right(index, row)]

    assert sorted(case["id"] for case in stored["left_wrong"]) == sorted(wrong)
    for case in stored["left_wrong"]:
        assert (case["said"], case["first_wrong"]) == (case["right_chain"], "action")
    assert stored["steps"]["holdout"]["first_wrong"] == {"action": len(wrong), "none": 40 - len(wrong)}
    assert stored["steps"]["holdout"]["figures"]["chain_right"]["value"] == 1.0
    assert stored["calibration"] == {}


def test_the_command_writes_data_pictures_and_what_the_page_is_made_of(runs, tmp_path, capsys):
    sft = training(tmp_path / "sft", *LOG, command="python -m train.sft --seed 1", settings={"threads": 2})
    out = tmp_path / "docs"

    code = main(["--before", runs[0], "--after", runs[1], "--trained", f"SFT={sft}", "--out", str(out)])

    assert code == 0
    said = capsys.readouterr().out.splitlines()
    drawn = ["before_after", "accuracy_by_tactic", "accuracy_by_told", "steps", "learning_curves"]
    assert said[0] == f"wrote {out / RESULTS}"
    assert [line for line in said[1:] if line.startswith("wrote")] == [
        f"wrote {out / 'images' / name}.png" for name in drawn
    ]
    assert "left out reliability: no answer states a confidence" in said
    for name in drawn:
        assert struct.unpack(">I", (out / "images" / f"{name}.png").read_bytes()[16:20]) == (1376,)

    page = results_page(json.loads((out / RESULTS).read_text()), out / "images")

    assert "| `holdout` | accuracy | " in page
    assert "![Step by step](images/steps.png)" in page
    assert "| SFT | 0 | 48 | cpu | 3.0 | 0.10 | 0.0 |" in page
    assert page.count("- first wrong: action") == page.count("### `holdout-")
    assert "## Calibration" not in page

    again = ["--before", runs[0], "--after", runs[1], "--trained", str(out / RESULTS), "--out", str(tmp_path / "again")]
    assert main(again) == 0
    kept, first = (json.loads((place / RESULTS).read_text())["trainings"] for place in (tmp_path / "again", out))
    assert kept == first
    assert first[0]["name"] == "SFT"


def test_runs_of_one_name_are_refused(runs, capsys):
    assert main(["--before", runs[0], "--after", runs[0]]) == 2
    assert "Expected each defender once" in capsys.readouterr().err
    assert main(["--before", runs[0], "--after", runs[1], "--trained", "out/sft"]) == 2
    assert "Expected --trained NAME=DIR" in capsys.readouterr().err
    assert main(["--before", runs[0], "--after", runs[1], "--trained", "none/results.json"]) == 2
    assert "Expected results.json as this command writes it at 'none/results.json'" in capsys.readouterr().err


def test_what_a_model_wrote_cannot_break_the_page(runs, tmp_path):
    stored = results(*load_runs(runs))
    stored |= {"command": "c", "commit": "d" * 40}
    stored["left_wrong"][0] |= {"said": "`x` |\n# <b>title</b>"}

    assert "- said `'x' \\| # <b>title</b>`\n" in results_page(stored, tmp_path)
