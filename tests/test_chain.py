"""One run through everything that reads it: eval.run, metrics, compare, reverify, pictures, demo, report, leaderboard."""

import hashlib
import json
from pathlib import Path

import pytest

from eval import bake_demo, compare, leaderboard, plot_results, report, reverify, run
from eval.leaderboard import __main__ as board
from eval.runs import load_run
from runs.ending import DONE
from tasks import sets

pytestmark = pytest.mark.usefixtures("few_resamples")

# Few rows of each frozen set; two lines make a pair.
TAKEN = {
    "holdout": 60,
    "test_seed": 20,
    "test_family": 20,
    "test_tactic": 20,
    "pairs": 12,
    "injection": 30,
    "invariance": 12,
}
ROUGH = ("--resamples", "200")  # what intervals are is tested elsewhere
DEFENDERS = ("always_dismiss", "keyword", "verifier_oracle")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of frozen sets that are the first rows of the project's own."""
    folder = tmp_path_factory.mktemp("data")
    entries = {}
    for name, number in TAKEN.items():
        text = b"".join(sets.read_text(sets.DATA / sets.PATHS[name]).splitlines(keepends=True)[:number])
        place = folder / sets.PATHS[name]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(sets.pack(place, text))
        entries[name] = {"path": sets.PATHS[name], "sha256": hashlib.sha256(text).hexdigest(), "rows": number}
    (folder / "manifest.json").write_text(json.dumps({"sets": entries}))
    return folder


@pytest.fixture(scope="module")
def runs(small, tmp_path_factory):
    """The run directory of each defender over all the sets."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "DATA", small)
        for name in DEFENDERS:
            assert run.main(["--defender", name, "--split", "all", "--out", str(folder / name)]) == DONE
    return {name: str(folder / name) for name in DEFENDERS}


@pytest.fixture(autouse=True)
def at_hand(small, monkeypatch):
    monkeypatch.setattr(sets, "DATA", small)


def stored(path):
    return json.loads((Path(path) / "metrics.json").read_text())["metrics"]


def flat(metrics, name=""):
    """Every number in nested metrics, by the path to it; nan for what is not there."""
    if isinstance(metrics, dict | list):
        inside = metrics.items() if isinstance(metrics, dict) else enumerate(metrics)
        return {key: one for part, value in inside for key, one in flat(value, f"{name}/{part}").items()}
    return {name: float("nan") if metrics is None else metrics} if not isinstance(metrics, str) else {}


def test_the_metrics_of_a_run_are_those_of_its_rollouts(runs):
    for path in runs.values():
        read, said = load_run(path), stored(path)

        assert set(said) == set(read.sets) == {"benchmark", *TAKEN}
        for name, metrics in said.items():
            assert flat(read.metrics(name)) == pytest.approx(flat(metrics), abs=2e-6, nan_ok=True)
    assert stored(runs["verifier_oracle"])["pairs"]["pair_accuracy"]["value"] == 1.0
    assert stored(runs["always_dismiss"])["injection"]["injection_flip_rate"]["value"] == 0.0


def test_runs_are_compared(runs, capsys):
    assert compare.main([*runs.values()]) == 0

    said = capsys.readouterr().out
    assert said.startswith("benchmark, 60 items")
    assert "accuracy: verifier_oracle is better than keyword by " in said
    assert "dismiss_on_malicious: verifier_oracle is better than always_dismiss by 100.0 points" in said


def test_every_rollout_is_scored_as_it_was_and_what_is_changed_is_found(runs, tmp_path, capsys):
    for name, path in runs.items():
        assert reverify.main([path]) == 0
        assert capsys.readouterr().out == f"{name}: {sum(TAKEN.values())} rollouts, each scored today as it was.\n"

    for file in Path(runs["keyword"]).iterdir():
        text = file.read_text()
        if file.name == "rollouts.jsonl":
            first, _, rest = text.partition("\n")
            text = json.dumps({**json.loads(first), "reward": 1.09}) + "\n" + rest
        (tmp_path / file.name).write_text(text)
    assert reverify.main([str(tmp_path)]) == 1
    assert "1 of 174 rollouts are scored otherwise today (reward 1)" in capsys.readouterr().out
    assert board.main(["validate", str(tmp_path)]) == 2


def test_the_pictures_the_pairs_and_the_page_are_made(runs, tmp_path, capsys):
    assert plot_results.main([*runs.values(), "--out", str(tmp_path / "pictures"), *ROUGH]) == 0
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    kinds = (
        "dismiss_on_malicious",
        "macro_f1_by_split",
        "confusion",
        "reward_by_stage",
        "calibration",
        "ppv",
        "injection_flips",
    )
    assert drawn == {f"{kind}.{form}" for kind in kinds for form in ("png", "csv")}

    demo = tmp_path / "demo.json"
    asked = ["--run", f"before={runs['keyword']}", "--run", f"after={runs['verifier_oracle']}", "--out", str(demo)]
    assert bake_demo.main(asked) == 0
    baked = json.loads(demo.read_text())
    assert (len(baked["pairs"]), baked["checkpoints"][1]["right"]) == (50, 50)

    page = tmp_path / "report.html"
    assert report.main([*runs.values(), "--focus", "keyword", "--out", str(page), *ROUGH]) == 0
    text = page.read_text()
    figure = stored(runs["keyword"])["benchmark"]["macro_f1"]
    assert f"<td>{figure['value']:.3f}<small>" in text
    assert "keyword is worse on macro-F1 than verifier_oracle (by " in text
    capsys.readouterr()


def test_the_runs_stand_on_a_leaderboard(runs, tmp_path, capsys):
    file = tmp_path / "board.json"
    file.write_text('{"version": 1, "entries": []}')
    for path in runs.values():
        assert board.main(["add", path, "--board", str(file)]) == 0

    assert board.main(["validate", str(file)]) == 0
    assert [entry.name for entry in leaderboard.load_board(file).entries] == [
        "verifier_oracle",
        "keyword",
        "always_dismiss",
    ]
    capsys.readouterr()
