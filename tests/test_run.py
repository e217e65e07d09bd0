"""eval.run: what a run writes, that it goes on where it stopped, and what it says to bad input."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from eval import items, metrics, rollouts, run
from eval.metric_table import names_in
from eval.recorded import measure_recordings, recordings
from eval.runs import load_run
from runs.ending import DONE, STOPPED, WRONG
from runs.files import RESERVE
from schema import BadRequestError
from tasks import sets
from tasks.sets import RECORDED, FrozenSet
from test_runs import Disk
from world import World

pytestmark = pytest.mark.usefixtures("few_resamples")

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "real"
SAMPLE = ROOT / "tests" / "data" / "real_logs"
ASKED = Counter()
MEASURE = metrics.measure


def counts(row):
    ASKED[row["id"]] += 1
    return {"action": "monitor", "cited_log_id": "L1-1", "rationale": "counted"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nobody was asked yet, and intervals are drawn roughly: what they are is tested elsewhere."""
    ASKED.clear()
    monkeypatch.setattr(run, "measure", partial(MEASURE, resamples=50))


def call(out, *more, defender="test_run:counts", n=20):
    return run.main(["--defender", defender, "--split", "val", "--n", str(n), "--out", str(out), *more])


def lines(out):
    return [json.loads(line) for line in (out / "rollouts.jsonl").read_text().splitlines()]


def stored(out, name="run"):
    return json.loads((out / f"{name}.json").read_text())


# ---------------------------------------------------------------- what is written
def test_a_run_names_all_that_it_hangs_on(tmp_path):
    assert call(tmp_path, "--seed", "4", "--table", "hardened") == DONE

    found = stored(tmp_path)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert found["commit"].rstrip("+") == (head or found["opensoc"])
    assert (
        found["command"]
        == f"python -m eval.run --defender test_run:counts --split val --n 20 --out {tmp_path} --seed 4 --table hardened"
    )
    assert found["sets"] == [{"name": "val", "sha256": items.fresh("val", 20, 4).sha256, "items": 20}]
    assert (found["seed"], found["density"], found["reward_table"], found["complete"]) == (4, "full", "hardened", True)
    assert found["defender"]["kind"] == "function"
    assert found["libraries"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["started"] <= found["finished"]
    written = stored(tmp_path, "metrics")
    assert written["run"] == found
    assert written["metrics"]["val"]["items"] == written["totals"]["items"] == 20
    assert load_run(tmp_path).name == "test_run:counts"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "rollouts.jsonl", "run.json"]


def test_a_rollout_repeats_its_item_and_how_its_reward_came_about(tmp_path):
    call(tmp_path)

    for line, row in zip(lines(tmp_path), items.fresh("val", 20, 0).rows, strict=True):
        truth = row["ground_truth"]
        right, cited = truth["action"] == "monitor", "L1-1" in truth["evidence_log_ids"]
        assert [line[name] for name in ("id", "task", "split", "family", "weight")] == [
            row["id"],
            row["task"],
            "val",
            row["family"],
            1.0,
        ]
        assert (line["label"], line["evidence"]) == (truth["action"], truth["evidence_log_ids"])
        assert line["window"] == [event["log_id"] for event in row["observation"]["log_window"]]
        assert line["answer"] == {
            "action": "monitor",
            "cited_log_id": "L1-1",
            "rationale": "counted",
            "confidence": None,
        }
        assert (line["action"], line["fault"]) == ("monitor", "")
        assert line["components"]["defender.citation"] == (0.1 if cited else 0.0)
        assert (line["components"]["defender.decision"] == 1.0) == right
        assert line["reward"] == pytest.approx(sum(line["components"].values()))


def test_what_a_set_says_of_pairs_is_repeated():
    row = items.fresh("val", 1, 0).rows[0] | {
        "pair": "p1",
        "edit": "time",
        "side": "twin",
        "tier": "plain",
        "wanted": "dismiss",
    }

    line = rollouts.rollout("pairs", row, rollouts.Reply("{}"), "standard")

    assert [line[name] for name in ("pair", "edit", "side", "tier", "wanted")] == [
        "p1",
        "time",
        "twin",
        "plain",
        "dismiss",
    ]


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("no answer at all", "JSON"),
        ('{"action": "monitor", "cited_log_id": "L9-99", "rationale": ""}', "L9-99 is not in the log window"),
        ('{"action": "panic", "cited_log_id": "L1-1", "rationale": ""}', "action"),
    ],
)
def test_a_malformed_answer_is_scored_as_one(reply, fault):
    line = rollouts.rollout("val", items.fresh("val", 1, 0).rows[0], rollouts.Reply(reply), "standard")

    assert fault in line["fault"]
    assert (line["reply"], line["answer"], line["action"], line["reward"]) == (reply, None, None, -0.1)


# ---------------------------------------------------------------- going on
def test_a_run_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "counts", stops_at_ten_once := _stopping(10))
    assert call(tmp_path) == STOPPED
    assert "the tenth" in capsys.readouterr().err
    assert (len(lines(tmp_path)), stored(tmp_path)["complete"]) == (10, False)
    assert not (tmp_path / "metrics.json").exists()

    assert call(tmp_path) == DONE

    assert set(stops_at_ten_once.asked.values()) == {1}
    assert [line["id"] for line in lines(tmp_path)] == [row["id"] for row in items.fresh("val", 20, 0).rows]
    assert [again["command"] for again in stored(tmp_path)["resumed"]] == [stored(tmp_path)["command"]]


def _stopping(at):
    """A function that fails once, at its so-manieth item, and counts whom it was asked."""

    def answer(row):
        if len(answer.asked) == at and not answer.failed:
            answer.failed = True
            raise RuntimeError("the tenth")
        answer.asked[row["id"]] += 1
        return {"action": "monitor", "cited_log_id": "L1-1", "rationale": ""}

    answer.asked, answer.failed = Counter(), False
    return answer


def test_a_complete_run_asks_nobody_again(tmp_path):
    call(tmp_path)
    before = (tmp_path / "rollouts.jsonl").read_bytes()

    assert call(tmp_path) == DONE

    assert set(ASKED.values()) == {1}
    assert (tmp_path / "rollouts.jsonl").read_bytes() == before


def test_a_torn_last_line_is_dropped_and_asked_again(tmp_path):
    call(tmp_path)
    path = tmp_path / "rollouts.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:-1]) + '{"id": "val-0-19", "set": "v')

    assert call(tmp_path) == DONE

    assert path.read_text().splitlines(keepends=True)[:-1] == whole[:-1]
    assert Counter(line["id"] for line in lines(tmp_path)) == Counter(
        row["id"] for row in items.fresh("val", 20, 0).rows
    )
    assert ASKED["val-0-19"] == 2


def test_the_order_of_the_lines_changes_no_figure(tmp_path):
    call(tmp_path)
    before = stored(tmp_path, "metrics")["metrics"]
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::-1]))

    call(tmp_path)

    assert stored(tmp_path, "metrics")["metrics"] == before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--seed", "1"), "seed was 0, is 1"),
        (("--table", "hardened"), 'reward_table was "standard", is "hardened"'),
        (("--density", "compact"), "density"),
        (("--n", "21"), "sets"),
        (("--defender", "always_dismiss"), "defender"),
        (("--name", "another"), "defender"),
    ],
)
def test_other_settings_in_the_same_directory_are_refused(tmp_path, capsys, more, told):
    call(tmp_path)
    before = (tmp_path / "rollouts.jsonl").read_bytes()

    assert call(tmp_path, *more) == WRONG

    said = capsys.readouterr().err
    assert told in said
    assert "--fresh" in said
    assert (tmp_path / "rollouts.jsonl").read_bytes() == before
    assert call(tmp_path, *more, "--fresh") == DONE
    assert load_run(tmp_path).info.complete


# ---------------------------------------------------------------- full disk
def test_a_full_disk_ends_the_run_keeps_whole_lines_and_the_same_command_goes_on(tmp_path, capsys, monkeypatch):
    full = Disk(tmp_path, RESERVE + 8000).install(monkeypatch)

    assert call(tmp_path) == STOPPED

    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert "what was answered is stored" in said
    assert len(lines(tmp_path)) == sum(ASKED.values()) < 20  # the last answer went into the room that was held back
    assert not list(tmp_path.glob(".*"))
    full.room += 10**7
    assert call(tmp_path) == DONE
    assert set(ASKED.values()) == {1}
    assert len(lines(tmp_path)) == 20


# ---------------------------------------------------------------- wrong calls
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--split", "no_such"), "expected some of holdout"),
        (("--split", ""), "expected some of holdout"),
        (("--split", "real"), "--manifest"),
        (("--manifest", "m.csv"), "--split real"),
        (("--n", "0"), "--n"),
        (("--limit", "-1"), "--limit"),
        (("--concurrency", "0"), "--concurrency"),
        (("--temperature", "nan"), "--temperature"),
        (("--timeout", "inf"), "--timeout"),
        (("--seed", "-1"), "--seed"),
        (("--request", "[]"), "--request"),
        (("--request", '{"model": "x"}'), "--request"),
        (("--defender", "no_such"), "always_dismiss"),
    ],
)
def test_a_wrong_call_says_what_was_expected(tmp_path, capsys, more, told):
    args = ["--defender", "test_run:counts", "--out", str(tmp_path / "out"), *more]

    assert run.main(args) == WRONG

    assert told in capsys.readouterr().err
    assert not ASKED
    assert not (tmp_path / "out").exists()


def test_a_run_needs_a_directory(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert call(tmp_path / "file") == WRONG
    assert run.main(["--defender", "always_dismiss"]) == WRONG
    assert "--out" in capsys.readouterr().err


def test_groups_of_sets_stand_for_their_members():
    tests = ["test_seed", "test_family", "test_tactic"]

    assert items.split_names(["benchmark"]) == tests
    assert items.split_names(["holdout,test_seed", "benchmark"]) == ["holdout", *tests]
    assert items.split_names(["mine.jsonl", "mine.jsonl.gz"]) == ["mine.jsonl", "mine.jsonl.gz"]
    assert items.split_names(["all"]) == ["holdout", *tests, "pairs", "injection", "invariance"]


@pytest.mark.parametrize("name", ["real", "val", "benchmark"])
def test_a_file_does_not_take_the_name_of_another_set(tmp_path, capsys, name):
    path = tmp_path / f"{name}.jsonl"
    shutil.copy(sets.DATA / "holdout.jsonl", path)

    assert run.main(["--defender", "test_run:counts", "--split", str(path), "--out", str(tmp_path)]) == WRONG
    assert f"{name!r} is; rename it" in capsys.readouterr().err


def test_two_sets_of_one_name_are_refused(tmp_path, capsys):
    shutil.copy(sets.DATA / "holdout.jsonl", tmp_path)

    asked = f"holdout,{tmp_path / 'holdout.jsonl'}"
    assert run.main(["--defender", "test_run:counts", "--split", asked, "--out", str(tmp_path)]) == WRONG
    assert "'holdout' comes twice" in capsys.readouterr().err


# ---------------------------------------------------------------- frozen sets
def test_the_owners_rows_come_out_of_the_holdout(tmp_path, capsys):
    """Accuracy, macro-F1, dismissed malice and over-reaction, to two digits; and they are what a run prints."""
    for name, *figures in (("always_dismiss", 0.13, 0.05, 1.0, 0.0), ("verifier_oracle", 1.0, 1.0, 0.0, 0.0)):
        assert run.main(["--defender", name, "--out", str(tmp_path / name)]) == DONE
        found = stored(tmp_path / name, "metrics")["metrics"]["holdout"]
        printed = capsys.readouterr().out
        for metric, figure in zip(names_in("run"), figures, strict=False):
            assert round(found[metric]["value"], 2) == figure
            assert re.search(rf"{metric} +│ {found[metric]['value']:.3f} +│", printed)
        assert found["accuracy"]["n"] == 200


def test_a_constant_on_the_benchmark_takes_less_than_ten_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "measure", MEASURE)
    started = time.process_time()

    assert run.main(["--defender", "always_dismiss", "--split", "benchmark", "--out", str(tmp_path)]) == DONE

    assert time.process_time() - started < 10  # the processor's time: others work on this machine too
    found = stored(tmp_path, "metrics")["metrics"]
    assert set(found) == {"test_seed", "test_family", "test_tactic", "benchmark"}
    assert found["benchmark"]["items"] == len(lines(tmp_path)) >= 2000


def test_a_limit_takes_the_first_items(tmp_path):
    assert run.main(["--defender", "always_dismiss", "--limit", "5", "--out", str(tmp_path)]) == DONE

    assert [line["id"] for line in lines(tmp_path)] == [row["id"] for row in items.frozen("holdout").rows[:5]]


@pytest.mark.parametrize("trouble", ["tampered", "missing"])
def test_a_tampered_or_missing_set_is_told_and_nobody_is_asked(tmp_path, capsys, monkeypatch, trouble):
    copy = tmp_path / "data"
    copy.mkdir()
    for name in ("holdout.jsonl", "manifest.json"):
        shutil.copy(sets.DATA / name, copy / name)
    path = copy / "holdout.jsonl"
    path.write_bytes(path.read_bytes().replace(b"monitor", b"dismiss", 1)) if trouble == "tampered" else path.unlink()
    monkeypatch.setattr(sets, "DATA", copy)

    assert run.main(["--defender", "test_run:counts", "--out", str(tmp_path / "out")]) == WRONG

    said = capsys.readouterr().err
    assert str(path) in said
    assert ("sha256" in said) == (trouble == "tampered")
    assert not ASKED


# ---------------------------------------------------------------- real recordings
def on_recordings(out, *more, manifest=SAMPLE / "manifest.csv", defender="verifier_oracle"):
    return run.main(["--defender", defender, "--split", "real", "--manifest", str(manifest), "--out", str(out), *more])


def decisions_of_real_logs(manifest, folder):
    done = subprocess.run(
        [sys.executable, "-m", "telemetry", "--json", "--manifest", str(manifest), str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_verifier_as_a_defender_decides_as_the_importer_does(tmp_path):
    assert on_recordings(tmp_path, "--unmasked") == DONE

    expected = decisions_of_real_logs(SAMPLE / "manifest.csv", SAMPLE)
    labelled = {
        row["file"]: row["action"]
        for row in expected["recordings"]
        if row["file"] not in expected["summary"]["score"]["unlabelled"]
    }
    assert {line["id"]: line["action"] for line in lines(tmp_path) if "without" not in line["id"]} == labelled
    assert stored(tmp_path, "metrics")["metrics"]["real"]["recordings"] == {
        **expected["summary"]["score"],
        "unlabelled": [],
    }


def test_a_recording_has_no_reward(tmp_path):
    on_recordings(tmp_path)

    assert {(line["label"], line["reward"], str(line["components"])) for line in lines(tmp_path)} == {
        (None, None, "{}")
    }


def test_what_reads_runs_leaves_recordings_out(tmp_path):
    both = [
        "--split",
        "val,real",
        "--n",
        "8",
        "--manifest",
        str(SAMPLE / "manifest.csv"),
        "--out",
        str(tmp_path / "both"),
    ]
    run.main(["--defender", "verifier_oracle", *both])
    on_recordings(tmp_path / "alone")

    read = load_run(tmp_path / "both")
    assert (read.sets, len(read.rollouts("val"))) == (["val"], 8)
    with pytest.raises(BadRequestError, match="is over recordings alone"):
        load_run(tmp_path / "alone")


def recording(name, group, malicious):
    return {
        "id": name, "task": "real", "split": "real", "family": group, "weight": 1.0, "ground_truth": None, "records": 3,
        "recording": {"file": name, "malicious": malicious, "group": group}, "observation": {"log_window": []},
    }  # fmt: skip


def decided(rows, actions):
    return [
        {"id": row["id"], "action": action, "window": ["L1-1"], "fault": ""}
        for row, action in zip(rows, actions, strict=True)
    ]


def measured(rows, said, resamples):
    labels = {row["id"]: row["recording"] for row in rows}
    return measure_recordings(FrozenSet(RECORDED, Path("m"), "0", rows), said, labels, resamples=resamples)


def test_rates_on_recordings_are_one_decision_each():
    """3 of 4 malicious noticed, 2 acted upon, 1 of 2 benign noticed: by hand; Wilson's interval of 3 of 4 is [0.3006, 0.9544]."""
    rows = [recording(f"m{number}", f"g{number}", "yes") for number in range(4)] + [
        recording(f"b{number}", f"h{number}", "no") for number in range(2)
    ]
    said = decided(rows, ["escalate", "block_ip", "monitor", "dismiss", "monitor", None])

    found = measured(rows, said, resamples=200)

    assert [found["noticed_recall"][name] for name in ("value", "low", "high", "n")] == [0.75, 0.3006, 0.9544, 4]
    assert found["acted_recall"]["value"] == 0.5
    assert found["noticed_false_positives"]["value"] == 0.5
    assert found["acted_false_positives"]["value"] == 0.0
    assert found["noticed_precision_at_50_50"]["value"] == 0.6
    assert found["acted_precision_at_50_50"]["value"] == 1.0
    assert found["format_ok"]["value"] == 1.0


def test_recordings_of_one_group_count_as_one_in_the_clustered_interval():
    """40 recordings of 2 groups, one noticed whole and one missed whole: what is known is 2 draws, not 40."""
    rows = [recording(f"m{number}", f"g{number % 2}", "yes") for number in range(40)]
    said = decided(rows, ["escalate", "dismiss"] * 20)

    found = measured(rows, said, resamples=500)["noticed_recall"]

    assert (found["by_group"]["low"], found["by_group"]["high"]) == (0.0, 1.0)
    assert (found["low"], found["high"]) == (0.352, 0.648)


def test_names_dates_and_agents_are_masked_and_what_belongs_together_stays_together():
    from telemetry.masking import masked

    seen = [
        {
            "event_type": "process", "log_id": "L1-1", "timestamp": "2020-09-04T23:59:58.5Z",
            "fields": {"device_hostname": "WKS7.corp.example", "actor_user": "CORP\\jdoe", "process_path": "C:\\Users\\jdoe\\a.exe", "process_cmd_line": "dir \\\\wks7\\c$ /u:JDOE jdoes"},
        },
        {
            "event_type": "http", "log_id": "L1-2", "timestamp": "2020-09-05T00:00:01Z",
            "fields": {"device_hostname": "DC", "actor_user": "NT AUTHORITY\\SYSTEM", "user_agent": "stratus-red-team", "dst_port": 80, "resources": ["user/jdoe", "x"]},
        },
    ]  # fmt: skip

    first, second = masked(seen)

    assert first["fields"] == {
        "device_hostname": "HOST1.corp.example",
        "actor_user": "CORP\\user2",
        "process_path": "C:\\Users\\user2\\a.exe",
        "process_cmd_line": "dir \\\\HOST1\\c$ /u:user2 jdoes",
    }
    assert second["fields"] == {
        "device_hostname": "DC",
        "actor_user": "NT AUTHORITY\\SYSTEM",
        "user_agent": "client",
        "dst_port": 80,
        "resources": ["user/user2", "x"],
    }
    assert [line["timestamp"] for line in (first, second)] == ["2026-03-02T23:59:58.5Z", "2026-03-03T00:00:01Z"]


@pytest.mark.parametrize("missing", ["manifest", "recordings"])
def test_missing_recordings_are_a_wrong_call(tmp_path, capsys, missing):
    manifest = tmp_path / "none.csv"
    if missing == "recordings":
        shutil.copy(SAMPLE / "manifest.csv", manifest)

    assert on_recordings(tmp_path / "out", manifest=manifest) == WRONG
    assert str(manifest) in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="the recordings are not here")
def test_masking_hardly_moves_the_verifier_on_recordings():
    from verifier import judge_observation

    found = {
        mask: recordings(REAL / "manifest.csv", [], World.from_context({}), mask=mask).rows for mask in (False, True)
    }
    actions = [
        [judge_observation(row["observation"]).action if row["observation"]["log_window"] else None for row in rows]
        for rows in found.values()
    ]

    assert len(actions[0]) > 300
    assert sum(plain != masked for plain, masked in zip(*actions, strict=True)) <= 3
