"""A run's directory: one process at a time, its settings in run.json, resumed by the same command, refused to another.

with locked(out):
    run = open_run(out, new_run(command, libraries, settings=...), shares=..., fresh=args.fresh)
    ...
    close_run(out, run)
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from runs.ending import FULL
from runs.files import write_json
from runs.provenance import commit, now_text, versions
from schema import VERSION, BadRequestError, unread

LOCK = ".lock"
RUN = "run.json"
Run = dict[str, Any]


# ---------------------------------------------------------------- one process at a time
@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make a run's directory and hold it against every other command; it goes again if nothing was written to it.

    Raises:
        BadRequestError: another command runs there, or it cannot be made.
    """
    existed = out.exists()
    with _writable(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = _locked_file(out / LOCK)
    with lock:
        try:
            yield
        finally:
            (out / LOCK).unlink(missing_ok=True)
            if not existed:
                with suppress(OSError):
                    out.rmdir()


def _locked_file(path: Path) -> IO[str]:
    """Open and lock a file that no command removed in between."""
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise BadRequestError(
                f"Expected nobody else to write to {str(path.parent)!r}, and another command does; wait for it, or give another --out."
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """Translate what is wrong with a run's directory; a full disk is not."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise BadRequestError(
            f"Expected a directory to write to at {str(out)!r}, and got {unread(error)}; give another --out."
        ) from error


# ---------------------------------------------------------------- run.json
def new_run(command: str, libraries: Iterable[str], **settings: Any) -> Run:
    """Return what run.json holds of a run that begins: commit, command, settings, versions and time."""
    return {
        "opensoc": VERSION,
        "commit": commit(),
        "command": command,
        **settings,
        "libraries": versions(libraries),
        "started": now_text(),
        "finished": None,
        "complete": False,
    }


def settings_of(names: Sequence[str]) -> Callable[[Run], dict[str, Any]]:
    """Return what takes from a run the settings of some names, for `open_run`."""
    return lambda run: {name: run[name] for name in names}


def open_run(
    out: Path,
    run: Run,
    *,
    shares: Callable[[Run], Mapping[str, Any]],
    files: Sequence[str] | None = None,
    fresh: bool = False,
    writes: bool = True,
) -> Run:
    """Begin a run in its directory, or resume the one that is there; return what run.json holds.

    A run that was complete is returned as complete, and run.json stays as it is.

    Args:
        out: the directory; made if it is missing.
        run: what run.json is to hold, as `new_run` makes it.
        shares: takes from a run the settings that a resumed run must share with it.
        files: the names of what belongs to the run beside run.json; None for all that is in the directory.
        fresh: forget the run that is there.
        writes: False in those of several processes that only read.

    Raises:
        BadRequestError: the directory cannot be written, holds a run with other settings, or `files` without a run.
    """
    path = out / RUN
    with _writable(out):
        out.mkdir(parents=True, exist_ok=True)
        if fresh and writes:
            _forget(out, files)
        text = path.read_text("utf-8") if path.exists() and (writes or not fresh) else None
    if text is not None:
        run = _resumed(path, text, run, shares)
    elif writes:
        _check_alone(out, files or ())
    if writes and not run["complete"]:
        write_json(path, run)
    return run


def complete(run: Run, **figures: Any) -> Run:
    """Return a run that is over, with its figures."""
    return run | {"finished": now_text(), "complete": True, **figures}


def close_run(out: Path, run: Run, **figures: Any) -> None:
    """Mark a run as complete in run.json."""
    write_json(out / RUN, complete(run, **figures))


def _forget(out: Path, files: Sequence[str] | None) -> None:
    if files is None:
        names = [path.name for path in out.iterdir() if path.name != LOCK] if (out / RUN).exists() else []
    else:
        names = [RUN, *files]
    for name in names:
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)


def _check_alone(out: Path, files: Sequence[str]) -> None:
    for name in files:
        if (out / name).exists() and (out / name).stat().st_size:
            raise BadRequestError(
                f"Expected {RUN} beside {name} in {str(out)!r}, and there is none; give another --out or start over with --fresh."
            )


def _resumed(path: Path, text: str, run: Run, shares: Callable[[Run], Mapping[str, Any]]) -> Run:
    """Return the run of a run.json with the resumption noted."""
    try:
        before = json.loads(text)
        was, now = shares(before), json.loads(json.dumps(shares(run), default=str))
        again = {"at": run["started"], "commit": run["commit"], "command": run["command"]}
        resumed = [*before.get("resumed", []), again]
        over = bool(before["complete"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequestError(
            f"Expected a run in {str(path)!r}, and got {unread(error)}; give another --out or start over with --fresh."
        ) from error
    if different := [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]:
        changes = "; ".join(f"{name} was {_short(was.get(name))}, is {_short(now.get(name))}" for name in different)
        raise BadRequestError(
            f"Expected the settings of the run in {str(path.parent)!r}, and others came: {changes}. "
            "Give the same settings, another --out, or --fresh to start over."
        )
    return {**before, "resumed": resumed, "complete": over}


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
