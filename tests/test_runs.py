"""runs: a run's directory, its files, its log, its progress and its end."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runs import files
from runs.directory import LOCK, close_run, locked, new_run, open_run
from runs.ending import DONE, INTERRUPTED, STOPPED, WRONG, StoppedError, exit_code, interruptible
from runs.extras import MissingExtraError, require
from runs.files import (
    RESERVE,
    DiskFullError,
    JsonLines,
    held_room,
    move_files,
    replace_directory,
    write_atomically,
    write_json,
)
from runs.progress import progress, track
from schema import BadRequestError

ROOT = Path(__file__).resolve().parent.parent


def begin(out, *, fresh=False, files=None, writes=True, **settings):
    run = new_run("python -m a.command", ("pydantic",), settings={"seed": 0, "steps": 3, **settings})
    return open_run(out, run, shares=all_but_steps, files=files, fresh=fresh, writes=writes)


def all_but_steps(run):
    return {name: value for name, value in run["settings"].items() if name != "steps"}


def stored(out):
    return json.loads((out / "run.json").read_text())


# ---------------------------------------------------------------- the directory
def test_a_new_run_names_command_commit_versions_and_settings(tmp_path):
    run = begin(tmp_path / "a" / "run", seed=4)

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert stored(tmp_path / "a" / "run") == run
    assert run["commit"].rstrip("+") == (head or run["opensoc"])
    assert run["libraries"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert list(run["libraries"]) == ["python", "pydantic"]
    assert (run["command"], run["settings"]) == ("python -m a.command", {"seed": 4, "steps": 3})
    assert (run["finished"], run["complete"]) == (None, False)


def test_a_resumed_run_keeps_its_beginning_and_notes_the_resumption(tmp_path):
    first = begin(tmp_path)
    again = begin(tmp_path, steps=5)

    assert again == stored(tmp_path)
    [resumed] = again.pop("resumed")
    assert again == first
    assert resumed.keys() == {"at", "commit", "command"}


def test_a_complete_run_stays_complete_and_as_it_is(tmp_path):
    close_run(tmp_path, begin(tmp_path), steps=3)
    before = (tmp_path / "run.json").read_bytes()
    run = begin(tmp_path)

    assert (run["complete"], run["steps"]) == (True, 3)
    assert run["started"] <= run["finished"]
    assert (tmp_path / "run.json").read_bytes() == before


def test_other_settings_are_refused_and_named_and_the_run_stays(tmp_path):
    begin(tmp_path, name="x" * 300, gone=1)
    before = (tmp_path / "run.json").read_bytes()

    with pytest.raises(BadRequestError) as refusal:
        begin(tmp_path, seed=1, name="y", new=[1, 2])

    text = str(refusal.value)
    assert (
        'gone was 1, is null; name was "' + "x" * 199 + '..., is "y"; new was null, is [1, 2]; seed was 0, is 1.'
        in text
    )
    assert "another --out, or --fresh to start over" in text
    assert (tmp_path / "run.json").read_bytes() == before


def test_fresh_forgets_all_that_a_run_left(tmp_path):
    begin(tmp_path)
    (tmp_path / "log.jsonl").write_text("{}\n")
    (tmp_path / "checkpoints" / "last").mkdir(parents=True)

    run = begin(tmp_path, fresh=True, seed=9)

    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert run["settings"]["seed"] == 9
    assert "resumed" not in run


def test_fresh_forgets_the_named_files_alone(tmp_path):
    begin(tmp_path)
    for name in ("rollouts.jsonl", "notes.txt"):
        (tmp_path / name).write_text("kept?")

    begin(tmp_path, fresh=True, files=("rollouts.jsonl", "metrics.json"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "run.json"]


def test_fresh_leaves_a_directory_that_holds_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("kept")

    begin(tmp_path, fresh=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "run.json"]


def test_files_of_a_run_without_run_json_are_refused(tmp_path):
    (tmp_path / "rollouts.jsonl").write_text("{}\n")

    with pytest.raises(BadRequestError, match=r"Expected run.json beside rollouts.jsonl in .*--fresh"):
        begin(tmp_path, files=("rollouts.jsonl",))
    assert begin(tmp_path, files=("rollouts.jsonl",), fresh=True)["complete"] is False


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"settings": 1}', '{"settings": {"seed": 0}}'])
def test_a_damaged_run_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)

    with pytest.raises(BadRequestError, match=r"Expected a run in .*run.json.*--fresh"):
        begin(tmp_path)
    assert (tmp_path / "run.json").read_text() == content


def test_a_process_that_does_not_write_leaves_no_trace_and_does_not_read_what_fresh_removes(tmp_path):
    begin(tmp_path)
    before = (tmp_path / "run.json").read_bytes()

    assert begin(tmp_path, fresh=True, writes=False, seed=7)["settings"]["seed"] == 7
    assert begin(tmp_path, writes=False)["settings"]["seed"] == 0
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_directory_that_cannot_be_made_is_a_wrong_call(tmp_path):
    (tmp_path / "file").write_text("")

    for opened in (lambda out: locked(out).__enter__(), begin):
        with pytest.raises(BadRequestError, match=r"Expected a directory to write to at .*give another --out"):
            opened(tmp_path / "file")


# ---------------------------------------------------------------- one process at a time
def test_a_second_command_is_refused_until_the_first_ends(tmp_path):
    out = tmp_path / "out"
    with locked(out):
        (out / "something").write_text("")
        with pytest.raises(BadRequestError, match="another command does; wait for it"), locked(out):
            pass
        assert (out / LOCK).exists()

    with locked(out):
        pass
    assert [path.name for path in out.iterdir()] == ["something"]


def test_a_directory_that_nothing_was_written_to_goes_again(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "out"):
        raise KeyError
    with locked(tmp_path):
        pass

    assert not (tmp_path / "out").exists()
    assert tmp_path.exists()


def test_a_killed_command_holds_nothing(tmp_path):
    script = f"import time, pathlib, runs.directory as d\nwith d.locked(pathlib.Path({str(tmp_path)!r})):\n print('in', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    with pytest.raises(BadRequestError), locked(tmp_path):
        pass
    process.kill()
    process.communicate()

    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass


# ---------------------------------------------------------------- files and directories
def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file.json"
    write_json(path, {"name": "Zoë", "path": Path("p")})
    assert path.read_text("utf-8") == '{\n "name": "Zoë",\n "path": "p"\n}\n'
    write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"

    monkeypatch.setattr(Path, "replace", lambda path, target: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no room")))
    with pytest.raises(OSError, match="no room"):
        write_atomically(path, "new")

    assert [entry.read_bytes() for entry in path.parent.iterdir()] == [b"\x00\xff"]


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_directory_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "model"
    for content in ("old", "new"):
        with replace_directory(path) as aside:
            (aside / content).write_text(content)

    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_directory_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "model"
    with replace_directory(path) as aside:
        (aside / "old").write_text("")

    def breaks_off():
        with replace_directory(path) as aside:
            (aside / "new").write_text("")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        breaks_off()

    assert names(path) == ["old"]
    assert names(tmp_path) == ["model"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "model"
    with replace_directory(path) as aside:
        (aside / "old").write_text("")
    path.rename(tmp_path / ".model.old")  # what a kill leaves
    (tmp_path / ".model.new").mkdir()

    files.restore_directory(path)

    assert names(path) == ["old"]
    assert names(tmp_path) == ["model"]


def test_files_are_moved_with_the_mark_last(tmp_path, monkeypatch):
    source, moved = tmp_path / "source", []
    source.mkdir()
    for name in ("config.json", "a.bin", "z.bin"):
        (source / name).write_text(name)
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: moved.append(path.name) or replace(path, target))

    move_files(source, tmp_path, last=lambda name: name == "config.json")

    assert moved == ["a.bin", "z.bin", "config.json"]
    assert names(tmp_path) == ["a.bin", "config.json", "z.bin"]


# ---------------------------------------------------------------- the log
ROWS = [{"step": 1}, {"step": 2, "text": "Zoë\n\ud800"}, {"step": 3}]


@pytest.fixture
def log(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl", keys=("step",))
    log.append(ROWS[:1])
    log.append(ROWS[1:])
    return log


def test_a_log_gives_back_its_rows_in_order(log, tmp_path):
    assert list(log.read()) == ROWS
    assert list(JsonLines(tmp_path / "none.jsonl").read()) == []
    JsonLines(tmp_path / "none.jsonl").cut()
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("torn", ["", '{"step": 4, "t', "\x00" * 40, '{"step": 4}', "[]\n", '{"other": 1}\n'])
def test_a_torn_last_line_is_not_read_and_cut_off(log, torn):
    before = log.path.read_bytes()
    log.path.write_bytes(before + torn.encode())

    assert list(log.read()) == ROWS
    log.cut()
    assert log.path.read_bytes() == before


@pytest.mark.parametrize("damaged", ['{"step": 2', "[]", "{}"])
def test_a_damaged_line_in_the_middle_is_told_and_nothing_is_lost(log, damaged):
    lines = log.path.read_text().splitlines()
    log.path.write_text("\n".join([lines[0], damaged, lines[2]]) + "\n")
    before = log.path.read_bytes()

    for read in (lambda: list(log.read()), log.cut):
        with pytest.raises(BadRequestError, match=r"JSON object with step in line 2 of .*log.jsonl.*--fresh"):
            read()
    assert log.path.read_bytes() == before


def test_rows_that_follow_a_torn_line_stand_alone(log):
    before = log.path.read_bytes()
    log.path.write_bytes(before + b'{"step": 4, "t')

    log.append([{"step": 5}])
    assert list(log.read()) == [*ROWS, {"step": 5}]


def test_a_line_that_lies_too_deep_is_told(log):
    log.path.write_bytes(b'{"step": ' + b"[" * 9_000 + b"]" * 9_000 + b"}\n" + log.path.read_bytes())

    with pytest.raises(BadRequestError, match=r"JSON object with step in line 1 of"):
        list(log.read())


@pytest.mark.parametrize("id_", [5, None, [1], {"a": 1}])
def test_what_has_to_be_text_is_text(log, id_):
    named = JsonLines(log.path.parent / "named.jsonl", keys=("step",), texts=("id",))
    named.append([{"id": id_, "step": 1}, {"id": "a", "step": 2}])

    with pytest.raises(BadRequestError, match=r"JSON object with id \(text\) and step in line 1 of"):
        list(named.read())


def test_a_directory_in_a_log_s_place_is_told(tmp_path):
    with pytest.raises(BadRequestError, match=r"lines of JSON in .*IsADirectoryError.*put the file back"):
        list(JsonLines(tmp_path).read())


def test_a_log_is_cut_back_to_a_step(log):
    log.cut(lambda row: row["step"] <= 2)

    assert list(log.read()) == ROWS[:2]


class Disk:
    """Stands for os.write and os.posix_fallocate on a disk of so many bytes, over the files of one directory."""

    def __init__(self, out, room):
        self.out, self.room = out, room
        self.write, self.fallocate = os.write, os.posix_fallocate

    def used(self):
        return sum(path.stat().st_size for path in self.out.iterdir())

    def os_write(self, descriptor, data):
        free = self.room - self.used()
        if free <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.write(descriptor, data[:free])

    def posix_fallocate(self, descriptor, start, size):
        if self.used() + size > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.fallocate(descriptor, start, size)

    def install(self, monkeypatch):
        monkeypatch.setattr(files.os, "write", self.os_write)
        monkeypatch.setattr(files.os, "posix_fallocate", self.posix_fallocate)
        return self


def test_a_full_disk_frees_the_reserve_for_the_last_rows(tmp_path, monkeypatch):
    Disk(tmp_path, RESERVE + 100).install(monkeypatch)
    with held_room(tmp_path / ".reserve") as reserve:
        log = JsonLines(tmp_path / "log.jsonl", sync=True, reserve=reserve)
        log.append([{"text": "x" * 50}])
        with pytest.raises(DiskFullError, match="the disk is full; what was answered is stored") as full:
            log.append([{"text": "y" * 200}])

    assert full.value.stored
    assert [len(row["text"]) for row in log.read()] == [50, 200]
    assert names(tmp_path) == ["log.jsonl"]


@pytest.mark.parametrize("held", [False, True])
def test_rows_that_do_not_fit_leave_no_torn_line(tmp_path, monkeypatch, held):
    log = JsonLines(tmp_path / "log.jsonl", reserve=tmp_path / ".reserve" if held else None)
    log.append([{"text": "x"}])
    Disk(tmp_path, 1000).install(monkeypatch)
    before = log.path.read_bytes()

    with pytest.raises(DiskFullError, match="came last are not stored") as full:
        log.append([{"text": "y" * 2000}])

    assert not full.value.stored
    assert log.path.read_bytes() == before


def test_other_faults_of_a_disk_are_not_taken_for_a_full_one(log, monkeypatch):
    def fails(descriptor, data):
        raise OSError(errno.EIO, "broken")

    before = log.path.read_bytes()
    monkeypatch.setattr(files.os, "write", fails)

    with pytest.raises(OSError, match="broken"):
        log.append([{"step": 4}])
    assert log.path.read_bytes() == before


def test_room_that_is_not_there_is_told_before_the_work(tmp_path, monkeypatch):
    Disk(tmp_path, RESERVE - 1).install(monkeypatch)

    with pytest.raises(DiskFullError, match="the disk is full"), held_room(tmp_path / ".reserve"):
        pass
    assert names(tmp_path) == []


def test_a_file_system_that_holds_no_room_back_is_no_hindrance(tmp_path, monkeypatch):
    def fails(*args):
        raise OSError(errno.EOPNOTSUPP, "cannot")

    monkeypatch.setattr(files.os, "posix_fallocate", fails)
    with held_room(tmp_path / ".reserve") as reserve:
        assert not reserve.exists()


# ---------------------------------------------------------------- the end of a command
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, DONE, ""),
        (StoppedError("It stopped."), STOPPED, "It stopped.\n"),
        (BadRequestError("Expected one."), WRONG, "Expected one.\n"),
        (KeyboardInterrupt(), INTERRUPTED, "Interrupted; all is kept. Run the same command to go on.\n"),
        (
            OSError(errno.ENOSPC, "full"),
            STOPPED,
            f"Stopped: [Errno {errno.ENOSPC}] full; all is kept. Make room, and run the same command to go on.\n",
        ),
        (
            OSError(errno.EIO, "broken"),
            STOPPED,
            f"Stopped: [Errno {errno.EIO}] broken; all is kept. Run the same command to go on.\n",
        ),
    ],
)
def test_each_end_has_its_exit_code_and_sentence(capsys, error, code, said):
    def work():
        if error:
            raise error

    assert exit_code(work, "all is kept") == code
    assert capsys.readouterr().err == said


def test_exit_codes_are_those_of_the_readme():
    assert (DONE, STOPPED, WRONG, INTERRUPTED) == (0, 1, 2, 130)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_sets_the_event_and_the_second_raises(capsys, number):
    stop, before = threading.Event(), signal.getsignal(number)

    def interrupted_twice():
        with interruptible(stop, "Saving"):
            signal.raise_signal(number)
            assert stop.is_set()
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()

    assert capsys.readouterr().err == "\nSaving; once more to drop it.\n"
    assert signal.getsignal(number) is before


# ---------------------------------------------------------------- what is installed
def test_libraries_that_lack_are_named_with_the_environment_that_has_them(monkeypatch):
    for module in ("scipy", "sklearn"):
        monkeypatch.setitem(sys.modules, module, None)
    require("eval", "json")

    with pytest.raises(MissingExtraError) as error:
        require("eval", "scipy", "json", "sklearn")

    assert str(error.value) == (
        "Expected scipy and sklearn for this command, which the server's environment does not have; run "
        "pip install torch, then pip install -r requirements-dev.txt; or pip install '.[eval]', in the checkout."
    )


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("eval.run", ["--defender", "keyword", "--out", "out"]),
        ("eval.audit", ["--quick"]),
        ("eval.compare", ["a", "b"]),
        ("eval.report", ["a", "--out", "page.html"]),
        ("eval.plot_results", ["a", "--out", "pictures"]),
        ("eval.plot_training", ["log.jsonl", "--out", "pictures"]),
        ("eval.leaderboard.__main__", ["add", "a"]),
        ("telemetry.__main__", ["--manifest", "manifest.csv", "a"]),
    ],
)
def test_a_command_in_the_servers_environment_alone_names_the_other_before_any_work(
    tmp_path, monkeypatch, capsys, command, arguments
):
    (tmp_path / "manifest.csv").write_text("file,malicious\na,yes\n")
    for module in ("matplotlib", "pyarrow", "scipy", "sklearn", "statsmodels", "threadpoolctl"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)

    assert importlib.import_module(command).main(arguments) == 2

    assert (
        "pip install torch, then pip install -r requirements-dev.txt; or pip install '.[eval]', in the checkout."
        in capsys.readouterr().err
    )
    assert names(tmp_path) == ["manifest.csv"]


# ---------------------------------------------------------------- progress
def test_progress_is_silent_where_nobody_watches(capsys):
    assert list(track("abc", "letters", total=3)) == ["a", "b", "c"]
    with progress(2, "steps") as bar:
        bar.advance(note="half")
        assert (bar.done, bar.note) == (1, "half")

    assert capsys.readouterr() == ("", "")


def test_progress_in_lines_ends_with_all_and_says_rate_and_time_left(capsys):
    with progress(2000, "incidents", done=500, line_s=0.0) as bar:
        bar.update(1000, note="loss 0.5")
        bar.advance(1000)

    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("1,000 of 2,000 incidents, ")
    assert first.endswith(" s left, loss 0.5")
    assert last.startswith("2,000 of 2,000 incidents, ")


def test_lines_of_progress_keep_their_distance(capsys):
    with progress(3, "incidents", line_s=1e9) as bar:
        for _ in range(3):
            bar.advance()

    assert [line.split(", ")[0] for line in capsys.readouterr().err.splitlines()] == ["3 of 3 incidents"]


def test_a_person_who_watches_sees_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress(4, "items", done=1) as bar:
        bar.advance(3, "0.5 USD")

    drawn = capsys.readouterr().err
    assert "items" in drawn
    assert "4/4" in drawn
    assert "0.5 USD" in drawn
