"""Pictures: which are drawn from what, what stands in their data, and that every one opens."""

import csv
import json
import struct

import pytest

from eval import plot_results, plot_training
from eval.charts import png, save
from eval.runs import load_runs
from schema import TASKS
from stored_runs import always_dismiss, oracle, played, right_in, rollout, with_confidence, write_run

pytestmark = pytest.mark.usefixtures("few_resamples")

FEW = 200


def twins(flipped):
    """Twenty clean and poisoned twins, of which so many flip."""
    return [
        rollout(
            number,
            "monitor",
            "dismiss" if side == "twin" and number < flipped else "monitor",
            id=f"{number}-{side}",
            set="injection",
            pair=number,
            side=side,
            tier="plain",
        )
        for number in range(20)
        for side in ("base", "twin")
    ]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    sure = [with_confidence(row, 0.75) for row in played(right_in(8))]
    return [
        str(write_run(home / "a", "always_dismiss", [*played(always_dismiss), *twins(0)])),
        str(write_run(home / "b", "oracle", [*played(oracle), *twins(0)])),
        str(write_run(home / "c", "a model with a rather long name, 1.5B", [*sure, *twins(7)])),
    ]


@pytest.fixture(scope="module")
def charts(few_resamples, paths):
    return {chart.name: chart for chart in plot_results.charts(load_runs(paths), resamples=FEW)}


def data(chart):
    return {tuple(row.values())[:2]: row for row in chart.rows}


def test_every_picture_is_saved_with_its_data(paths, tmp_path, capsys):
    audit = tmp_path / "audit.json"
    audit.write_text(json.dumps({"checks": [{"name": "fields", "task": TASKS[1], "figure": "0.249 [0.221, 0.279] x"}]}))
    out = tmp_path / "pictures"

    assert plot_results.main([*paths, "--out", str(out), "--audit", str(audit), "--resamples", str(FEW)]) == 0

    names = ["dismiss_on_malicious", "macro_f1_by_split", "confusion", "reward_by_stage", "calibration", "ppv"]
    names += ["injection_flips", "shortcuts"]
    assert capsys.readouterr().out.splitlines() == [f"wrote {out / name}.png" for name in names]
    for name in names:
        picture = (out / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", picture[16:24])
        assert (picture[:8], width) == (b"\x89PNG\r\n\x1a\n", 1376)
        assert 200 < height < 2500
        assert list(csv.DictReader((out / f"{name}.csv").read_text().splitlines()))


def test_the_data_are_the_metrics(charts):
    dismissed = {row["model"]: row["value"] for row in charts["dismiss_on_malicious"].rows}
    assert (dismissed["always_dismiss"], dismissed["oracle"]) == (1.0, 0.0)
    flips = {row["model"]: (row["tier"], row["value"], row["n"]) for row in charts["injection_flips"].rows}
    assert flips["a model with a rather long name, 1.5B"] == ("plain", 0.35, 20)
    assert data(charts["reward_by_stage"])["oracle", "stage4_adversarial"]["value"] == 1.1
    counts = [row for row in charts["confusion"].rows if row["model"] == "always_dismiss" and row["count"]]
    assert [(row["truth"], row["answer"], row["count"]) for row in counts[:2]] == [
        ("dismiss", "dismiss", 26),
        ("monitor", "dismiss", 43),
    ]
    assert {row["model"] for row in charts["calibration"].rows} == {"a model with a rather long name, 1.5B"}
    assert charts["ppv"].rows[0]["value"] is None  # always_dismiss raises no alarm


def test_what_the_runs_hold_nothing_for_is_left_out_with_the_reason(tmp_path, capsys):
    path = write_run(tmp_path / "a", "plain", played(right_in(5)))

    assert plot_results.main([str(path), "--out", str(tmp_path / "out"), "--resamples", str(FEW)]) == 0

    told = capsys.readouterr().out
    assert "left out calibration: no answer states a confidence" in told
    assert "left out injection_flips: no run has the set injection" in told
    assert not (tmp_path / "out" / "calibration.png").exists()


def test_a_picture_is_the_same_each_time_and_another_in_the_dark(charts):
    chart = charts["dismiss_on_malicious"]

    assert png(chart) == png(chart)
    assert png(chart) != png(chart, dark=True)


def test_the_shortcut_chart_reads_the_audits_own_output():
    from eval.audit import Check

    checks = [
        Check("fields", "stage2_multi", "0.249 [0.221, 0.279] alert.title"),
        Check("trees", "stage2_multi", "0.234 [0.199, 0.265] boosted trees; seen families 0.912"),
        Check("bytes", "all", "0a1b2c"),
    ]
    chart = plot_results.shortcuts({"checks": [vars_of(check) for check in checks]})

    assert [(row["probe"], row["value"], row["bound"]) for row in chart.rows] == [
        ("best field, accuracy", 0.249, 0.25),
        ("boosted trees, macro-F1", 0.234, 0.45),
    ]


def vars_of(check):
    return {"name": check.name, "task": check.task, "figure": check.figure, "offending": check.offending}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"checks": 3}'])
def test_a_file_that_is_no_audit_is_refused(paths, tmp_path, capsys, text):
    (tmp_path / "audit.json").write_text(text)

    assert plot_results.main([*paths, "--out", str(tmp_path), "--audit", str(tmp_path / "audit.json")]) == 2
    assert "Expected the output of python -m eval.audit --json" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(paths, tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert plot_results.main([paths[0], "--out", str(tmp_path / "file"), "--resamples", "10"]) == 2
    assert "give another --out" in capsys.readouterr().err


# ---------------------------------------------------------------- training
TRL = [
    {"step": 2, "reward": 0.5, "rewards/accuracy/mean": 0.4, "kl": 0.01, "frac_reward_zero_std": 0.25, "loss": 1.0},
    {"step": 1, "reward": 0.1, "rewards/accuracy/mean": 0.2, "kl": 0.0, "frac_reward_zero_std": 0.5, "entropy": 1.1},
    {"step": 2, "train_runtime": 12.0},
]


def test_what_train_grpo_logs_through_trl_is_drawn(tmp_path):
    (tmp_path / "log.jsonl").write_text(
        '{"step": 1, "reward": 0.1, "triage/accuracy": 0.25, "triage/format_ok": 0.5}\n'
    )

    chart = plot_training.training(plot_training.read_log(tmp_path / "log.jsonl"))

    drawn = {row["measure"]: row["value"] for row in chart.rows}
    assert drawn == {"reward": 0.1, "accuracy": 0.25, "format OK": 0.5}


def test_a_trainer_state_and_json_lines_give_the_same_curves(tmp_path):
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": TRL}))
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TRL))

    charts = [plot_training.training(plot_training.read_log(tmp_path / name)) for name in ("", "log.jsonl")]

    assert charts[0].rows == charts[1].rows
    assert [(row["measure"], row["step"], row["value"]) for row in charts[0].rows] == [
        ("reward", 1, 0.1),
        ("reward", 2, 0.5),
        ("accuracy", 1, 0.2),
        ("accuracy", 2, 0.4),
        ("KL to the start", 1, 0.0),
        ("KL to the start", 2, 0.01),
        ("entropy", 1, 1.1),
        ("zero-variance groups", 1, 0.5),
        ("zero-variance groups", 2, 0.25),
    ]


def test_a_training_log_is_drawn(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps({"step": n, "reward": n / 50, "format_ok": 1.0}) + "\n" for n in range(50))
    )

    assert plot_training.main([str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "out")]) == 0
    assert len(list(csv.DictReader((tmp_path / "out" / "training.csv").read_text().splitlines()))) == 100


@pytest.mark.parametrize(
    "text", ["", '{"step": 1, "loss": 2.0}', '{"reward": 1.0}', "no json", '{"step": 1, "reward": NaN}']
)
def test_a_log_without_any_measure_is_refused(tmp_path, capsys, text):
    (tmp_path / "log.jsonl").write_text(text)

    assert plot_training.main([str(tmp_path / "log.jsonl"), "--out", str(tmp_path)]) == 2
    assert "Expected" in capsys.readouterr().err


def test_saving_makes_the_folder(tmp_path):
    chart = plot_training.training([{"step": 1, "reward": 0.5}])

    assert [path.name for path in save(chart, tmp_path / "a" / "b")] == ["training.png", "training.csv"]
