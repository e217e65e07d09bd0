"""Bulk generation: the same rows as one by one, the same bytes however often it was stopped, bounded work ahead."""

import gc
import json
import resource
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from env import OpenSOCEnv
from generator import generate
from players.prompt import messages
from scenario import Scenario
from schema import BadRequestError
from train.data import COLUMNS, DEFAULT_COLUMNS, BulkRun, main, make_row, parts_in_order, processes, write_file
from verifier import compute_ground_truth

ROOT = Path(__file__).resolve().parent.parent
RUN = BulkRun("stage3_mixed", 50, chunk=20, columns=COLUMNS)
LONG = BulkRun("stage1_basic", 600, chunk=20)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("bulk") / "rows.parquet"
    write_file(RUN, path, workers=2)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of LONG, made without a stop and by one worker."""
    path = tmp_path_factory.mktemp("bulk") / "rows.parquet"
    write_file(LONG, path, workers=1)
    return path.read_bytes()


def started(out, run=LONG):
    """A process that writes a run's file, with nothing of its own beside it."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                from pathlib import Path
                from train.data import BulkRun, write_file
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
    run = BulkRun("stage2_multi", 5, "val", 7, "secret", "escalate", "compact", ("id", "action", "prompt"), chunk=2)

    write_file(run, out, workers=1)

    rows = pq.read_table(out).to_pylist()
    assert [row["id"] for row in rows] == [f"val/stage2_multi/{index}/escalate" for index in range(7, 12)]
    assert [row["action"] for row in rows].count("escalate") >= 4
    seen = Scenario(generate("stage2_multi", 7, split="val", salt="secret", label="escalate")).view()
    assert rows[0]["prompt"] == messages(seen, "compact")
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

    def report(_):
        again.update({path: path.stat().st_mtime_ns for path in kept if path.exists()})

    write_file(LONG, out, workers=2, report=report)

    assert out.read_bytes() == whole
    assert again == kept  # none was made anew
    assert list(tmp_path.iterdir()) == [out]


def test_no_worker_outlives_a_killed_parent(tmp_path):
    out = tmp_path / "rows.parquet"
    process = started(out, BulkRun("stage1_basic", 100_000, chunk=20))
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
    command = [
        sys.executable,
        "-m",
        "generator",
        "--n",
        "40000",
        "--workers",
        "1",
        "--columns",
        "id",
        "--out",
        str(out),
    ]
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

    _, said = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "the same command resumes from here" in said
    assert "Traceback" not in said


def test_a_complete_file_is_left_alone(written):
    before = written.stat().st_mtime_ns

    write_file(RUN, written, workers=1)

    assert written.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other",
    [
        BulkRun("stage3_mixed", 51, chunk=20, columns=COLUMNS),
        BulkRun("stage1_basic", 50, chunk=20, columns=COLUMNS),
        BulkRun("stage3_mixed", 50, salt="x", chunk=20, columns=COLUMNS),
        BulkRun("stage3_mixed", 50, chunk=20),
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
        [sys.executable, "-m", "generator", "--n", "100", "--workers", "1", "--out", str(out)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )

    assert done.returncode == 1
    assert f"cannot write {out}" in done.stderr
    assert "MiB are free" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- memory
def test_work_ahead_of_the_writer_is_bounded(tmp_path):
    begun = []

    def submit(run, chunk, path):
        begun.append(chunk)
        future = Future()
        future.set_result(None)
        return future

    parts = parts_in_order(LONG, tmp_path, ".arrow", submit, 2)

    assert next(parts) == tmp_path / "rows-0000000.arrow"
    assert begun == [0, 1, 2, 3, 4, 5]  # three a worker
    assert next(parts) == tmp_path / "rows-0000001.arrow"
    assert begun == [0, 1, 2, 3, 4, 5, 6]


def test_parts_that_are_there_are_not_made_again(tmp_path):
    for chunk in (0, 2):
        (tmp_path / f"rows-000000{chunk}.arrow").touch()
    begun = []

    def submit(run, chunk, path):
        begun.append(chunk)
        future = Future()
        future.set_result(None)
        return future

    list(parts_in_order(BulkRun("stage1_basic", 80, chunk=20), tmp_path, ".arrow", submit, 2))

    assert begun == [1, 3]


def test_work_that_is_not_begun_at_the_end_is_not_made(tmp_path):
    with processes(1) as submit:
        futures = [submit(LONG, chunk, tmp_path / f"{chunk}.arrow") for chunk in range(20)]
        futures[0].result()

    assert (tmp_path / "0.arrow").exists()
    assert futures[-1].cancelled()
    assert not (tmp_path / "19.arrow").exists()


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


@pytest.mark.parametrize(("more", "module", "extra"), [([], "pyarrow", "bulk"), (["--ray", "local"], "ray", "ray")])
def test_a_library_that_is_not_installed_is_told_before_any_work(tmp_path, capsys, monkeypatch, more, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "rows.parquet"

    assert main(["--n", "3", "--out", str(out), *more]) == 2

    assert capsys.readouterr().err == (
        f"Expected {module} for this command, which the server's environment does not have; run "
        f"pip install torch, then pip install -r requirements-dev.txt; or pip install '.[{extra}]', in the checkout.\n"
    )
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- Ray
def test_a_local_ray_makes_the_parts_that_lack_and_the_same_rows(written, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    rows = pq.read_table(written)
    # an earlier call made the first part and was stopped in the second
    (tmp_path / "_run.json").write_text(RUN.identity())
    pq.write_table(rows.slice(0, RUN.chunk), tmp_path / "rows-0000000.parquet")
    (tmp_path / "_rows-0000001.parquet.17").write_text("half a file")
    before = (tmp_path / "rows-0000000.parquet").stat().st_mtime_ns

    script = f"""
        import sys
        from functools import partial
        from pathlib import Path
        import ray
        from train.data import BulkRun, _write
        ray.init = partial(ray.init, num_cpus=1, include_dashboard=False)
        sys.exit(_write({RUN!r}, Path({str(tmp_path)!r}), 1, "local"))
    """  # the command's own parts hold 1,000 rows
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert "50 of 50 incidents" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "_run.json",
        *(f"rows-000000{number}.parquet" for number in range(3)),
    ]
    assert (tmp_path / "rows-0000000.parquet").stat().st_mtime_ns == before
    assert pq.read_table(tmp_path).to_pylist() == rows.to_pylist()


def test_ray_refuses_another_commands_directory(tmp_path, capsys):
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    (tmp_path / "_run.json").write_text(LONG.identity())

    assert main(["--n", "3", "--out", str(tmp_path), "--ray", "local"]) == 2
    assert "made by another command" in capsys.readouterr().err


def test_rows_in_bulk_leave_no_cycles_behind():
    run = BulkRun("stage3_mixed", 60)
    make_row(run, 0)
    gc.collect()
    gc.disable()
    try:
        for index in range(60):
            make_row(run, index)
        assert gc.collect() < 60  # workers do without the collector
    finally:
        gc.enable()
