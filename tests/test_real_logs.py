"""The command line on recorded telemetry: reports, errors, scores; on the hand-made sample and, where it is there, on real data."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schema import OpenSOCError
from telemetry.__main__ import main
from telemetry.judging import find_files, incident_of, judge, judge_files
from telemetry.scoring import load_manifest, score, wilson
from world import World

ROOT = Path(__file__).parent.parent
SAMPLES = Path(__file__).parent / "data" / "real_logs"
REAL = ROOT.parent / "shared" / "real"


def report(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    assert main(["--json", *map(str, arguments)]) == code
    return json.loads(capsys.readouterr().out)


def of(report: dict[str, Any], file: str) -> dict[str, Any]:
    return next(row for row in report["recordings"] if row["file"] == file)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_report_names_decision_evidence_and_counts(capsys):
    row = of(report(capsys, SAMPLES / "guessing_flat.jsonl"), "guessing_flat.jsonl")

    assert row["action"] == "block_ip"
    assert row["rule_ids"] == ["password-guessing"]
    assert row["evidence_log_ids"] == [f"L1-{position}" for position in range(7)]
    assert (row["records"], row["events_used"], row["events_left_out"]) == (8, 7, 1)
    assert row["left_out_reasons"] == {"duplicate": 1}
    assert "password-guessing" in row["explanation"]


def test_a_folder_is_read_sorted_and_summed_up(capsys):
    found = report(capsys, SAMPLES, "--manifest", SAMPLES / "manifest.csv")

    files = [row["file"] for row in found["recordings"]]
    assert files == sorted(files)
    assert "manifest.csv" not in files
    summary = found["summary"]
    assert summary["recordings"] == len(files)
    assert summary["world"] == "empty (nothing declared)"
    assert summary["records"] == sum(row["records"] for row in found["recordings"])
    assert summary["events_used"] + summary["events_left_out"] == summary["records"]


def test_details_tell_for_every_record_what_became_of_it(capsys):
    row = of(report(capsys, "--details", SAMPLES / "macro_evtx.jsonl"), "macro_evtx.jsonl")

    assert row["records_became"] == [
        [0, "L1-0", "process launch"],
        [1, "L1-1", "process launch"],
        [2, "L1-2", "net_conn open"],
        [3, "L1-3", "file create"],
        [4, "L1-4", "script block"],
        [5, None, "Sysmon event 24: a clipboard change has no event type"],
        [6, None, "Sysmon event 255: an error of the sensor itself"],
    ]
    assert [event["log_id"] for event in row["events"]] == ["L1-0", "L1-1", "L1-2", "L1-3", "L1-4"]


def test_people_get_a_table_with_the_evidence(capsys):
    assert main([str(SAMPLES / "guessing_flat.jsonl"), "--details"]) == 0

    text = capsys.readouterr().out
    assert "block_ip" in text
    assert "src_ip=198.51.100.23" in text
    assert "record 7: left out: duplicate of record 6" in text


def test_a_declared_world_changes_what_is_ours(capsys, tmp_path):
    world = tmp_path / "world.json"
    world.write_text(json.dumps({"networks": ["198.51.100.0/24"]}))

    found = report(capsys, "--world", world, SAMPLES / "guessing_flat.jsonl")

    assert found["recordings"][0]["action"] != "block_ip"
    assert found["summary"]["world"] == f"declared in {world}"


def test_a_declared_world_decides_the_scope_of_connections(capsys, tmp_path):
    world = tmp_path / "world.json"
    world.write_text(json.dumps({"networks": ["203.0.113.0/24"]}))

    events = report(capsys, "--details", "--world", world, SAMPLES / "macro_evtx.jsonl")["recordings"][0]["events"]

    assert events[2]["fields"]["dst_scope"] == "internal"


@pytest.mark.parametrize("content", ["[1]", "{", '{"networks": ["10.0.0.0/99"]}', '{"hosts": [{"ip": "10.0.0.1"}]}'])
def test_a_world_that_cannot_be_read_is_a_sentence(capsys, tmp_path, content):
    world = tmp_path / "world.json"
    world.write_text(content)

    assert main(["--world", str(world), str(SAMPLES)]) == 2
    assert "python -m telemetry world --example" in capsys.readouterr().err


def test_a_recording_without_a_usable_event_has_no_decision_and_a_reason(capsys, tmp_path):
    path = write(tmp_path / "odd.jsonl", {"hello": 1}, {"hello": 2})

    assert main(["--json", str(path)]) == 1
    row = json.loads(capsys.readouterr().out)["recordings"][0]

    assert row["action"] is None
    assert row["reason"] == "no usable event: record shape not recognised"
    assert row["left_out_reasons"] == {"record shape not recognised": 2}


def test_bad_files_are_told_and_the_others_go_on(capsys, tmp_path):
    (tmp_path / "a_empty.jsonl").touch()
    (tmp_path / "b_cut.jsonl.gz").write_bytes(gzip.compress(b'{"raw": "x"}\n' * 999)[:-9])
    (tmp_path / "c_good.jsonl").write_text((SAMPLES / "guessing_flat.jsonl").read_text() + "{broken\n")

    assert main(["--json", str(tmp_path), str(tmp_path / "absent")]) == 1

    captured = capsys.readouterr()
    rows = json.loads(captured.out)["recordings"]
    assert [row["action"] for row in rows] == [None, None, "block_ip"]
    assert rows[1]["left_out_reasons"] == {
        "a line of text that is neither auditd's nor syslog's": 999,
        "the file breaks off: EOFError: Compressed file ended before the end-of-stream marker was reached": 1,
    }
    assert rows[2]["left_out_reasons"] == {"a line that is not valid JSON": 1, "duplicate": 1}
    assert "the file is empty" in captured.err
    assert "EOFError" in captured.err
    assert "there is none; give a path that exists" in captured.err


def test_a_path_that_is_not_there_is_one_sentence_and_no_empty_table(capsys, tmp_path):
    assert main([str(tmp_path / "absent")]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        captured.err
        == f"Expected a file or folder at '{tmp_path / 'absent'}', and there is none; give a path that exists.\n"
    )


def test_an_empty_folder_is_an_error(capsys, tmp_path):
    assert main(["--json", str(tmp_path)]) == 1
    assert "found none; give another folder" in capsys.readouterr().err


def test_gzipped_files_are_read_whatever_their_name(capsys, tmp_path):
    packed = tmp_path / "x.jsonl"
    packed.write_bytes(gzip.compress((SAMPLES / "guessing_flat.jsonl").read_bytes()))

    assert report(capsys, packed)["recordings"][0]["action"] == "block_ip"


def test_a_long_recording_fits_the_schema_and_says_what_did_not_fit_the_window(capsys):
    row = of(report(capsys, SAMPLES / "quiet_evtx.jsonl"), "quiet_evtx.jsonl")

    assert (row["action"], row["events_used"]) == ("dismiss", 40)
    assert row["left_out_reasons"] == {"window full: outside the chosen window (module_load dll)": 5}


def test_many_files_give_the_same_report_from_two_processes(capsys, tmp_path):
    text = (SAMPLES / "guessing_flat.jsonl").read_text()
    for number in range(30):
        (tmp_path / f"r{number:02d}.jsonl").write_text(text)

    rows = report(capsys, tmp_path)["recordings"]

    assert [row["file"] for row in rows] == [f"r{number:02d}.jsonl" for number in range(30)]
    assert {row["action"] for row in rows} == {"block_ip"}


# ---------------------------------------------------------------- scores
def labels(**malicious: str) -> dict[str, dict[str, str]]:
    return {
        name: {"file": name, "malicious": label, "platform": "windows", "signal": "high", "artefacts": ""}
        for name, label in malicious.items()
    }


def test_the_sample_is_scored_as_its_manifest_says(capsys):
    found = report(capsys, SAMPLES, "--manifest", SAMPLES / "manifest.csv")["summary"]["score"]

    assert (found["all"]["malicious"], found["all"]["benign"], found["labelled"]) == (4, 1, 5)
    assert found["all"]["noticed"]["true_positives"] == 4
    assert found["all"]["noticed"]["false_positives"] == 0
    assert found["clear_cases"]["malicious"] == 1
    assert set(found["parts"]) == {"signal=low", "log cleared by the recorder", "platform zeek"}
    assert found["not_judged"] == ["absent.jsonl"]
    assert "trail_cloudtrail.json" in found["unlabelled"]


def test_rates_intervals_and_balanced_precision_are_right():
    rows = [("a", "escalate", None, 9), ("b", "monitor", None, 9), ("c", "dismiss", None, 9), ("d", None, None, 9)]
    rows += [("e", "block_ip", None, 9), ("f", "dismiss", None, 9)]

    found = score(rows, labels(a="yes", b="yes", c="yes", d="yes", e="no", f="no"))["all"]

    # Wilson by hand: 2 of 4 -> (2 + 1.9208) / (4 + 3.8415) -+ ...
    assert found["noticed"] == {
        "true_positives": 2,
        "recall": 0.5,
        "recall_interval": [0.15, 0.85],
        "false_positives": 1,
        "false_positive_rate": 0.5,
        "false_positive_interval": [0.0945, 0.9055],
        "precision_at_50_50": 0.5,
    }
    assert found["acted"]["recall"] == 0.25
    assert found["acted"]["precision_at_50_50"] == 0.3333


def test_missed_and_flagged_recordings_are_named():
    found = score([("a", "dismiss", None, 9), ("b", "monitor", None, 9)], labels(a="yes", b="no"))

    assert (found["missed"], found["flagged"]) == (["a"], ["b"])


def test_a_log_cleared_by_the_recorder_can_be_left_out_of_the_count():
    marked = labels(a="yes", b="yes")
    marked["a"]["artefacts"] = "log_clear_by_recorder"

    found = score([("a", "monitor", "dismiss", 9), ("b", "monitor", "dismiss", 9)], marked)

    assert found["all"]["noticed"]["true_positives"] == 2
    assert found["without_log_clear"]["noticed"]["true_positives"] == 1


@pytest.mark.parametrize(
    ("hits", "of_all", "interval"), [(0, 10, [0.0, 0.2775]), (5, 10, [0.2366, 0.7634]), (1, 1, [0.2065, 1.0])]
)
def test_wilson_intervals_match_the_textbook(hits, of_all, interval):
    assert list(wilson(hits, of_all)) == pytest.approx(interval, abs=5e-5)


def test_a_rate_of_nothing_has_no_interval():
    noticed = score([("a", "monitor", "monitor", 9)], labels(a="yes"))["all"]["noticed"]

    assert (noticed["recall_interval"], noticed["false_positive_interval"]) == ([0.2065, 1.0], None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no such rows"),
        ("name,malicious\na,yes\n", "no such rows"),
        ("file,malicious\na,perhaps\n", "Expected yes or no"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_a_sentence(tmp_path, content, says):
    path = tmp_path / "manifest.csv"
    path.write_text(content)

    with pytest.raises(OpenSOCError, match=says):
        load_manifest(path)


def test_a_manifest_alone_names_the_folder_it_lies_in(capsys):
    assert main(["--json", "--manifest", str(SAMPLES / "manifest.csv")]) == 0
    alone = json.loads(capsys.readouterr().out)

    assert alone == report(capsys, SAMPLES, "--manifest", SAMPLES / "manifest.csv")


def test_neither_recordings_nor_a_manifest_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--json"])

    assert stopped.value.code == 2
    assert "expected a folder or files of recordings" in capsys.readouterr().err


def test_a_missing_manifest_is_a_sentence(capsys, tmp_path):
    assert main(["--manifest", str(tmp_path / "none.csv"), str(SAMPLES)]) == 2
    assert "Expected a manifest in" in capsys.readouterr().err


def test_without_a_manifest_no_scipy_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)

    assert main([str(SAMPLES / "guessing_flat.jsonl")]) == 0


# ---------------------------------------------------------------- the decision rests on events alone
def test_placeholders_of_the_incident_do_not_reach_the_decision():
    records = [json.loads(line) for line in (SAMPLES / "guessing_flat.jsonl").read_text().splitlines()]

    judged = judge(records, World.from_context({}), file="any name")

    assert judged == judge(records, World.from_context({}), file="any name")
    assert judged.action == "block_ip"


def test_cleared_logs_can_be_left_out_of_a_decision():
    clear = {"EventID": 1102, "Channel": "Security", "Message": "Account Name:\tines", "Hostname": "h"}

    judged = judge([clear], World.from_context({}))

    assert judged.action == "monitor"
    assert judged.action_without_log_clear is None


def test_an_incident_needs_at_least_one_event():
    with pytest.raises(ValueError, match="at least 1"):
        incident_of([])


# ---------------------------------------------------------------- real recordings
@pytest.mark.skipif(not REAL.exists(), reason="recorded telemetry is not at hand")
def test_real_recordings_are_imported_typed_and_judged():
    command = [
        sys.executable,
        "-m",
        "telemetry",
        "--json",
        "--manifest",
        str(REAL / "manifest.csv"),
        str(REAL / "dev"),
    ]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    summary = json.loads(done.stdout)["summary"]
    assert done.returncode == bool(summary["score"]["unread"]), done.stderr
    assert summary["recordings"] == 366
    assert summary["share_typed"] >= 0.94
    assert summary["score"]["labelled"] == 366
    assert not any("schema refuses" in reason for reason in summary["left_out_reasons"])


def test_what_was_not_read_is_in_no_rate_and_is_named():
    rows = [("a", "escalate", "escalate", 9, True), ("b", None, None, 0, False), ("c", None, None, 4, False)]

    found = score(rows, labels(a="yes", b="no", c="yes"))

    assert (found["all"]["malicious"], found["all"]["benign"]) == (1, 0)
    assert found["all"]["noticed"]["false_positive_rate"] is None
    assert found["unread"] == {"b": "benign", "c": "malicious"}
    assert found["missed"] == []


def test_a_run_over_files_that_hold_nothing_usable_ends_with_1(tmp_path, capsys):
    (tmp_path / "odd.jsonl").write_text('{"hello": "world"}\n')
    (tmp_path / "manifest.csv").write_text("file,malicious\nodd.jsonl,no\n")

    printed = report(capsys, "--manifest", tmp_path / "manifest.csv", code=1)

    assert printed["summary"]["score"]["all"]["benign"] == 0
    assert printed["summary"]["score"]["unread"] == {"odd.jsonl": "benign"}


def test_how_much_of_the_files_was_read_is_told(tmp_path):
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        path.write_text('{"hello": "world"}\n' * 10)
    told: list[float] = []

    list(judge_files([(path.name, path) for path in paths], World(), told.append))

    assert (told[-1], sorted(told) == told) == (380.0, True)


def test_labels_in_a_folder_are_no_recording_even_where_nobody_asks_for_a_score(tmp_path):
    (tmp_path / "labels.csv").write_text('"file",malicious\na.jsonl,no\n')
    (tmp_path / "table.csv").write_text("file,size\na.jsonl,9\n")

    found = find_files([tmp_path])

    assert [name for name, _ in found.files] == ["table.csv"]
    assert found.skipped == ["labels.csv: labels of recordings, which --manifest reads"]
