"""Comparisons: what is shown, what is not, and what cannot be compared."""

import json
import subprocess
import sys

import pytest

from eval.compare import RESAMPLED, compare, main
from eval.intervals import mcnemar_p
from eval.runs import load_run
from schema import BadRequestError
from stored_runs import TRUTHS, always_dismiss, oracle, played, right_in, rollout, write_run


@pytest.fixture
def run(tmp_path):
    def made(name, rollouts, **info):
        return load_run(write_run(tmp_path / name, name, rollouts, **info))

    return made


def by_metric(found):
    return {one.metric: one for one in found}


def test_a_clear_difference_is_shown_with_its_size_and_its_interval(run):
    found = by_metric(compare([run("weak", played(right_in(4))), run("strong", played(right_in(9)))], resamples=2000))

    accuracy = found["accuracy"]
    assert accuracy.difference == pytest.approx(0.5)
    assert 0 < accuracy.low < 0.5 < accuracy.high < 1
    assert accuracy.verdict.startswith("accuracy: strong is better than weak by 50.0 points [")
    assert found["mean_reward"].verdict.startswith("mean_reward: strong is better than weak by 1.050 of reward [")


def test_less_dismissed_malice_is_better(run):
    found = by_metric(compare([run("oracle", played(oracle)), run("sleepy", played(always_dismiss))], resamples=500))

    assert found["dismiss_on_malicious"].difference == 1.0
    assert found["dismiss_on_malicious"].verdict.startswith(
        "dismiss_on_malicious: oracle is better than sleepy by 100.0 points [100.0, 100.0]"
    )


def test_the_same_answers_show_no_difference(run):
    for one in compare([run("a", played(right_in(5))), run("b", played(right_in(5)))], resamples=500):
        assert (one.difference, one.p) == (0.0, 1.0)
        assert "no difference shown between a and b" in one.verdict


def test_accuracy_is_tested_by_mcnemar_on_the_items_that_only_one_gets_right(run):
    """Of 200 items both are right but on 12: 9 that only the second gets right, and 3 that only the first does."""
    first = played(lambda number, truth: truth if number >= 9 else "dismiss" if truth != "dismiss" else "monitor")
    second = played(lambda number, truth: truth if not 9 <= number < 12 else "monitor")
    [one] = compare([run("first", first), run("second", second)], metrics=["accuracy"], resamples=500)

    assert one.p == pytest.approx(mcnemar_p(3, 9)) == pytest.approx(2 * (1 + 12 + 66 + 220) / 2**12)
    assert one.difference == pytest.approx(6 / 200)
    assert "no difference shown" in one.verdict


def test_what_one_family_shows_is_no_difference_between_defenders(run):
    """All of the gain lies in one family of twenty: McNemar alone would call it shown."""
    gain = [rollout(number, "monitor", "monitor" if number % 20 == 0 else "dismiss") for number in range(400)]
    none = [rollout(number, "monitor", "dismiss") for number in range(400)]
    [one] = compare([run("none", none), run("gain", gain)], metrics=["accuracy"], resamples=2000)

    assert one.p < 0.001
    assert one.low == 0.0
    assert "no difference shown" in one.verdict


def test_several_runs_are_corrected_by_holm(run):
    runs = [run(name, played(right_in(share))) for name, share in (("a", 4), ("b", 5), ("c", 6))]
    found = compare(runs, metrics=["accuracy"], resamples=500)

    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert min(one.p_corrected for one in found) == pytest.approx(3 * min(one.p for one in found))
    assert all(one.p_corrected >= one.p for one in found)


def test_a_focus_compares_one_with_the_others_alone(run):
    runs = [run(f"d{share}", played(right_in(share))) for share in (3, 5, 7)]

    found = compare(runs, metrics=["accuracy"], focus="d5", resamples=200)

    assert [(one.first, one.second) for one in found] == [("d3", "d5"), ("d5", "d7")]


def test_a_clear_difference_is_shown_among_many_comparisons(run):
    """With 2,000 resamples and 28 comparisons no p-value that is counted from the resamples alone would be small enough."""
    runs = [run(f"weak{number}", played(always_dismiss)) for number in range(7)] + [run("oracle", played(oracle))]

    found = compare(runs, metrics=["mean_reward"], resamples=2000)

    shown = [one.verdict for one in found if "better" in one.verdict]
    assert len(found) == 28
    assert len(shown) == 7
    assert all("oracle is better than weak" in verdict for verdict in shown)


def test_one_family_is_too_few_to_tell(run):
    rows = [rollout(number, family="only") for number in range(9)]
    found = compare([run("a", rows), run("b", rows)], resamples=500)

    assert {one.metric for one in found} == set(RESAMPLED) - {"dismiss_on_malicious"}  # nothing is malicious
    assert all("too few families" in one.verdict for one in found)


# ---------------------------------------------------------------- what cannot be compared
def change_sets(rows):
    return [{**row, "set": "pairs"} for row in rows]


@pytest.mark.parametrize(
    ("rows", "info", "said"),
    [
        (played(oracle), {"sha256": "1" * 64}, "the hashes differ"),
        (change_sets(played(oracle)), {}, "Expected a set that all runs have"),
        (played(oracle, TRUTHS[:-1]), {}, "Expected the same items in both runs, and 'item-199'"),
        (played(oracle, ["monitor", *TRUTHS[1:]]), {}, "Expected one truth for each item, and 'item-0'"),
        (played(oracle), {"reward_table": "hardened"}, "Expected rewards of one table"),
    ],
)
def test_runs_over_different_things_are_refused(run, rows, info, said):
    runs = [run("a", played(oracle)), run("b", rows, **info)]

    with pytest.raises(BadRequestError, match=said):
        compare(runs, resamples=10)


def damaged(path):
    lines = (path / "rollouts.jsonl").read_text().splitlines()
    (path / "rollouts.jsonl").write_text("\n".join([*lines[:4], lines[4][:30]]))


def shortened(path):
    lines = (path / "rollouts.jsonl").read_text().splitlines()
    (path / "rollouts.jsonl").write_text("\n".join(lines[:150]))


def doubled(path):
    lines = (path / "rollouts.jsonl").read_text().splitlines()
    (path / "rollouts.jsonl").write_text("\n".join([*lines[:-1], lines[0]]))


def stopped(path):
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "complete": False}))


def infinite(path):
    text = (path / "rollouts.jsonl").read_text()
    (path / "rollouts.jsonl").write_text(text.replace('"reward": 1.1', '"reward": Infinity', 1))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damaged, "line 5 is none"),
        (shortened, "Expected 200 rollouts of holdout"),
        (doubled, "has 'item-0' of holdout twice"),
        (stopped, "it stopped before its end; start it again, it resumes: python -m eval.run --defender b"),
        (infinite, "has another form: reward: Input should be a finite number"),
        (lambda path: (path / "run.json").unlink(), "run.json', and got no such file; give"),
        (
            lambda path: (path / "run.json").write_text("[]"),
            "has another form: the whole: Input should be a valid dict",
        ),
    ],
)
def test_a_damaged_run_is_refused_with_its_place(tmp_path, capsys, damage, said):
    a = write_run(tmp_path / "a", "a", played(oracle))
    b = write_run(tmp_path / "b", "b", played(oracle))
    damage(b)

    assert main([str(a), str(b), "--resamples", "10"]) == 2
    assert said in capsys.readouterr().err


def test_two_runs_of_one_name_are_refused(tmp_path, capsys):
    paths = [str(write_run(tmp_path / name, "same", played(oracle))) for name in "ab"]

    assert main(paths) == 2
    assert "'same' has 2 runs" in capsys.readouterr().err


def test_one_run_is_too_few(tmp_path, capsys):
    assert main([str(write_run(tmp_path / "a", "a", played(oracle)))]) == 2
    assert "Expected two runs or more" in capsys.readouterr().err


def test_the_benchmark_is_its_three_sets_together(run):
    rows = [
        rollout(number, "monitor", "monitor", set=name, split=name)
        for name in ("test_seed", "test_family", "test_tactic")
        for number in range(30)
    ]
    found = compare([run("a", rows), run("b", rows)], metrics=["accuracy"], resamples=10)

    assert found[0].items == 90


def test_the_command_prints_json(tmp_path):
    paths = [str(write_run(tmp_path / name, name, played(right_in(share)))) for name, share in (("a", 3), ("b", 9))]
    command = [sys.executable, "-m", "eval.compare", *paths, "--json", "--set", "holdout", "--metric", "macro_f1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)

    assert told["sha256"] == {"holdout": "0" * 64}
    assert [one["metric"] for one in told["comparisons"]] == ["macro_f1"]
