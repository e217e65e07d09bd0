"""Figures of pages: each is read from its file by a key, put into its mark, and missed where no file holds it."""

import json

import pytest

from scripts.figures import figures, fill, noun

METRIC = {"value": 0.85774, "low": 0.829349, "high": 0.883648, "n": 1700}


def stored(root, name, data):
    """Write a file of figures below a root."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")


def test_a_metric_of_the_leaderboard_is_keyed_by_defender_set_and_metric(tmp_path):
    sets = {"test_seed": {"items": 1700, "metrics": {"macro_f1": METRIC}}}
    stored(tmp_path, "eval/leaderboard/leaderboard.json", {"entries": [{"name": "small (first)", "sets": sets}]})
    known = figures(tmp_path)

    assert {key: text for key, text in known.items() if key.startswith("small_first.test_seed")} == {
        "small_first.test_seed.items": "1,700",
        "small_first.test_seed.macro_f1": "0.858",
        "small_first.test_seed.macro_f1.interval": "[0.829, 0.884]",
        "small_first.test_seed.macro_f1.full": "0.858 [0.829, 0.884]",
        "small_first.test_seed.macro_f1.percent": "86 %",
        "small_first.test_seed.macro_f1.percent.full": "86 % [83, 88]",
        "small_first.test_seed.macro_f1.n": "1,700",
    }


def test_a_difference_is_signed(tmp_path):
    stored(tmp_path, "docs/results.json", {"sets": {"val": {"difference": 0.5, "low": -0.1, "high": 0.75}}})

    assert figures(tmp_path)["results.val.full"] == "+0.500 [-0.100, +0.750]"


def test_what_was_not_measured_has_no_key(tmp_path):
    missing = {"value": None, "low": None, "high": None, "n": 0}
    stored(tmp_path, "docs/benchmarks.json", {"speed": missing, "start_s": 5.04, "memory_mib": 271})
    known = figures(tmp_path)

    assert [key for key in known if key.startswith("benchmarks.speed") and not key.endswith(".n")] == []
    assert (known["benchmarks.start_s"], known["benchmarks.memory_mib"]) == ("5.040", "271")


def test_the_first_and_the_last_checkpoint_are_before_and_after(tmp_path):
    checkpoints = [{"name": name, "right": right} for name, right in (("untrained", 7), ("sft", 20), ("shipped", 27))]
    stored(tmp_path, "data/demo_examples.json", {"checkpoints": checkpoints, "pairs": [{"label": "dismiss"}]})
    known = figures(tmp_path)

    assert (known["examples.before.right"], known["examples.after.right"]) == ("7", "27")
    assert (known["examples.after.name"], known["examples.checkpoints.sft.right"]) == ("shipped", "20")
    assert [key for key in known if key.startswith("examples.pairs")] == []


def test_the_audit_and_the_charts_give_figures(tmp_path):
    check = {"name": "fields", "task": "stage1_basic", "figure": "0.314 [0.283, 0.346] log_window.event_type"}
    plain = {"name": "refusals", "task": "all", "figure": "0 of 24000"}
    checks = [{**entry, "split": split, "offending": ""} for entry, split in ((check, "train"), (plain, "all"))]
    checks[0]["offending"] = "log_window.event_type"
    stored(tmp_path, "data/audit.json", {"checks": checks})
    stored(tmp_path, "docs/images/gains.csv", "set,model,value,low,high,n\nthe hold-out,small,0.5,0.25,0.75,8\n")
    stored(tmp_path, "docs/images/curve.csv", "run,value\nfirst,0.5\n")
    known = figures(tmp_path)

    assert known["audit.fields.stage1_basic.train.interval"] == "[0.283, 0.346]"
    assert known["audit.refusals.all.all"] == "0"
    assert (known["audit.checks"], known["audit.failing"]) == ("2", "1")
    assert known["gains.the_hold_out.small.full"] == "0.500 [0.250, 0.750]"
    assert [key for key in known if key.startswith("curve")] == []


def test_fill_puts_each_figure_into_its_mark_and_leaves_the_rest():
    page = "It is <!--=a.b-->0.1<!--/-->, before <!--=a.c--><!--/-->; <!-- a remark -->0.1."
    once = fill(page, {"a.b": "0.9", "a.c": "0.4"})

    assert once == "It is <!--=a.b-->0.9<!--/-->, before <!--=a.c-->0.4<!--/-->; <!-- a remark -->0.1."
    assert fill(once, {"a.b": "0.9", "a.c": "0.4"}) == once


def test_fill_names_what_is_like_an_unknown_key():
    with pytest.raises(KeyError, match=r"got 'small\.holdot\.f1'; near it: small\.holdout\.f1\."):
        fill("<!--=small.holdot.f1-->1<!--/-->", {"small.holdout.f1": "0.5"})


def test_a_name_becomes_a_part_of_a_key():
    assert [noun(name) for name in ("Embedded (first)", "stage1_basic", "best pair, accuracy")] == [
        "embedded_first",
        "stage1_basic",
        "best_pair_accuracy",
    ]
