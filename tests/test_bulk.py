"""Bulk generation: the same rows as one by one, the same bytes however often it was stopped, bounded work ahead."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from env import OpenSOCEnv
from generator import generate
from players.prompt import messages
from schema import BadRequestError
from train.bulk import COLUMNS, DEFAULT_COLUMNS, Run, main, parts_in_order, write_file
from verifier import compute_ground_truth

ROOT = Path(__file__).resolve().parent.parent
RUN = Run("stage3_mixed", 50, chunk=20, columns=COLUMNS)
LONG = Run("stage1_basic", 600, chunk=20)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("bulk") / "rows.parquet"
    write_file(RUN, path, workers=2)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of LONG, made without a stop."""
    path = tmp_path_factory.mktemp("bulk") / "rows.parquet"
    write_file(LONG, path, workers=2)
    return path.read_bytes()


def started(out, run=LONG):
    """A process that writes a run's file, with nothing of its own beside it."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                from pathlib import Path
                from train.bulk import Run, write_file
                if __name__ == "__main__":
                    write_file({run!r}, Path({str(out)!r}), workers=2)
            """),
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


# ---------------------------------------------------------------- rows
def test_rows_are_those_of_generator_verifier_and_prompt_one_by_one(written):
    rows = pq.read_table(written).to_pylist()

    assert len(rows) == RUN.n
    for index, row in enumerate(rows):
        case = generate(RUN.task, index)
        truth = compute_ground_truth(case.incident, case.world)
        seen = OpenSOCEnv().reset(seed=index, task=RUN.task).model_dump()
        observation = {name: seen[name] for name in ("alert", "log_window", "context")}
        assert row == {
            "id": f"train/stage3_mixed/{index}",
            "task": "stage3_mixed",
            "split": "train",
            "family": case.family,
            "action": truth.action,
            "evidence_log_ids": list(truth.evidence_log_ids),
            "techniques": list(truth.techniques),
            "rule_ids": list(truth.rule_ids),
            "prompt": messages(seen),
            "observation": row["observation"],
        }
        assert json.loads(row["observation"]) == observation
        assert messages(json.loads(row["observation"])) == row["prompt"]


def test_arguments_reach_the_rows(tmp_path):
    out = tmp_path / "rows.parquet"
    run = Run("stage2_multi", 5, "val", 7, "secret", "escalate", "compact", ("id", "action", "prompt"), chunk=2)

    write_file(run, out, workers=1)

    rows = pq.read_table(out).to_pylist()
    assert [row["id"] for row in rows] == [f"val/stage2_multi/{index}/escalate" for index in range(7, 12)]
    assert [row["action"] for row in rows].count("escalate") >= 4
    case = generate("stage2_multi", 7, split="val", salt="secret", label="escalate")
    seen = {
        "alert": None,
        "log_window": case.lines,
        "context": case.world.slice_for(case.lines),
    }
    assert (
        rows[0]["prompt"][1]["content"].splitlines()[1:]
        == messages(seen | {"alert": {"title": "", "severity": "low", "log_id": case.world.alerted}}, "compact")[1][
            "content"
        ].splitlines()[1:]
    )
    assert "secret" not in (pq.read_schema(out).metadata[b"opensoc"]).decode()


def test_row_groups_are_chunks_and_texts_are_compressed(written):
    file = pq.ParquetFile(written)

    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [20, 20, 10]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_datasets_reads_the_file(written, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (extra `train`)")

    rows = datasets.Dataset.from_parquet(str(written), cache_dir=str(tmp_path))

    assert rows.column_names == list(COLUMNS)
    assert rows[49]["prompt"][0]["role"] == "system"


# ---------------------------------------------------------------- stops
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path, whole):
    out, parts = tmp_path / "rows.parquet", tmp_path / "rows.parquet.parts"
    process = started(out)
    wait_for(lambda: len(list(parts.glob("*.arrow"))) >= 3)
    process.kill()
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("*.arrow")}
    assert not out.exists()
    assert len(kept) < LONG.chunks()
    again: dict[Path, int] = {}

    def seen(_):
        again.update({path: path.stat().st_mtime_ns for path in kept if path.exists()})

    write_file(LONG, out, workers=2, seen=seen)

    assert out.read_bytes() == whole
    assert again == kept  # none was made anew
    assert list(tmp_path.iterdir()) == [out]


def test_no_worker_outlives_a_killed_parent(tmp_path):
    out = tmp_path / "rows.parquet"
    process = started(out, Run("stage1_basic", 100_000, chunk=20))
    wait_for(lambda: list(out.with_name("rows.parquet.parts").glob("*.arrow")))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()

    wait_for(lambda: not any(_runs(child) for child in children), seconds=20)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_an_interrupted_command_says_so_and_goes_on(tmp_path):
    out = tmp_path / "rows.parquet"
    command = [sys.executable, "-m", "generator", "--n", "40000", "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a job in the background ignores it
    )
    wait_for(lambda: list(out.with_name("rows.parquet.parts").glob("*.arrow")))
    process.send_signal(signal.SIGINT)

    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "the same command goes on from here" in said
    assert "Traceback" not in said


def test_a_complete_file_is_left_alone(written):
    before = written.stat().st_mtime_ns

    write_file(RUN, written, workers=1)

    assert written.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other",
    [
        Run("stage3_mixed", 51, chunk=20, columns=COLUMNS),
        Run("stage1_basic", 50, chunk=20, columns=COLUMNS),
        Run("stage3_mixed", 50, salt="x", chunk=20, columns=COLUMNS),
        Run("stage3_mixed", 50, chunk=20),
    ],
)
def test_another_command_is_refused(written, other):
    with pytest.raises(BadRequestError, match="was made by another command"):
        write_file(other, written, workers=1)


def test_another_command_is_refused_over_the_parts_of_a_stopped_one(tmp_path):
    out = tmp_path / "rows.parquet"
    (tmp_path / "rows.parquet.parts").mkdir()
    (tmp_path / "rows.parquet.parts" / "run.json").write_text(LONG.identity())

    with pytest.raises(BadRequestError, match="another command"):
        write_file(RUN, out, workers=1)


def test_a_file_of_another_making_is_refused(tmp_path, capsys):
    out = tmp_path / "rows.parquet"
    out.write_text("my thesis")

    assert main(["--n", "3", "--out", str(out), "--workers", "1"]) == 2
    assert "made by another command" in capsys.readouterr().err
    assert out.read_text() == "my thesis"


def test_a_full_disk_is_said_plainly(tmp_path):
    out = tmp_path / "rows.parquet"

    done = subprocess.run(
        [sys.executable, "-m", "generator", "--n", "1000", "--workers", "1", "--out", str(out)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )

    assert done.returncode == 1
    assert f"cannot write {out}" in done.stderr
    assert "MiB are free" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- memory
def test_work_ahead_of_the_writer_is_bounded(tmp_path):
    parts = parts_in_order(LONG, tmp_path, 2)
    made = lambda: len(list(tmp_path.glob("*.arrow")))  # noqa: E731

    assert next(parts).name == "0000000.arrow"
    wait_for(lambda: made() >= 6)  # three a worker, the first among them
    time.sleep(2)
    assert made() == 6

    assert next(parts).name == "0000001.arrow"
    parts.close()
    assert made() <= 7  # what was not begun is not made


# ---------------------------------------------------------------- the command
def test_without_out_incidents_are_printed_as_lines(capsys):
    assert main(["--task", "stage2_multi", "--n", "2", "--start", "5"]) == 0

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    case = generate("stage2_multi", 5)
    assert [row["index"] for row in rows] == [5, 6]
    assert rows[0]["incident"] == case.incident.model_dump(exclude_none=True)
    assert rows[0]["context"] == case.world.slice_for(case.lines)


@pytest.mark.parametrize("given", [["--n", "0"], ["--n", "many"], ["--start", "-1"], ["--columns", "answer"]])
def test_odd_arguments_are_refused(given, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(given)

    assert stopped.value.code == 2
    assert given[0] in capsys.readouterr().err


def test_progress_is_told_by_lines_where_there_is_no_terminal(tmp_path, capsys):
    assert main(["--n", "30", "--out", str(tmp_path / "rows.parquet"), "--workers", "1"]) == 0

    assert "30 of 30 incidents" in capsys.readouterr().err


def test_the_default_leaves_out_what_the_prompt_holds():
    assert tuple(name for name in COLUMNS if name != "observation") == DEFAULT_COLUMNS


# ---------------------------------------------------------------- Ray
ON_RAY = """
import sys
from pathlib import Path
from train import bulk_ray
from train.bulk import Run

if __name__ == "__main__":
    bulk_ray.SHARD = 2
    bulk_ray.write_directory(Run("stage3_mixed", 70, chunk=20), Path(sys.argv[1]), address="local")
"""


def test_a_local_ray_goes_on_by_shards_and_writes_the_same_rows(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    run, out = Run("stage3_mixed", 70, chunk=20), tmp_path / "ray"
    write_file(run, tmp_path / "rows.parquet", workers=2)
    rows = pq.read_table(tmp_path / "rows.parquet")
    (out / "shard-000000").mkdir(parents=True)  # an earlier call made the first shard and was stopped in the second
    (out / "_shard-000001").mkdir()
    (out / "_run.json").write_text(run.identity())
    pq.write_table(rows.slice(0, 40), out / "shard-000000" / "rows-0000-0.parquet")
    (out / "_shard-000001" / "rows-0000-0.parquet").write_text("half a file")
    before = (out / "shard-000000" / "rows-0000-0.parquet").stat().st_mtime_ns

    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=240,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in out.iterdir()) == ["_run.json", "shard-000000", "shard-000001"]
    assert (out / "shard-000000" / "rows-0000-0.parquet").stat().st_mtime_ns == before
    assert sorted(path.name for path in (out / "shard-000001").iterdir()) == [
        "rows-0000-0.parquet",
        "rows-0001-0.parquet",
    ]
    assert pq.read_table(out).to_pylist() == rows.to_pylist()


def test_ray_refuses_another_commands_directory(tmp_path, capsys):
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    (tmp_path / "_run.json").write_text(LONG.identity())

    assert main(["--n", "3", "--out", str(tmp_path), "--ray", "local"]) == 2
    assert "made by another command" in capsys.readouterr().err
