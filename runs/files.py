"""Files that are whole or not there at all, directories that are replaced in one step, and logs that a kill or a full disk cannot tear."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from runs.ending import FULL, StoppedError
from schema import BadRequestError, Row

RESERVE = 16 * 2**20  # bytes held back so that 64 answers in flight can still be stored when the disk is full


class DiskFullError(StoppedError):
    """There is no room for more of a run; `stored` says whether the lines that met the end were still stored."""

    def __init__(self, out: Path, *, stored: bool) -> None:
        fate = "what was answered is stored" if stored else "the answers that came last are not stored"
        super().__init__(
            f"Expected room for the run in {str(out)!r}, and the disk is full; {fate}. Make room and run the same command again."
        )
        self.stored = stored


# ---------------------------------------------------------------- a file, a directory
@contextmanager
def written_aside(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write beside its place, which takes its place if the block ends without an error. Its directory is made if it is missing.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    aside = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: beside its place, then renamed.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with written_aside(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as JSON, whole or not at all.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")


def write_output(path: Path, content: str | bytes) -> None:
    """Write the file that a command was asked for, whole or not at all.

    Raises:
        BadRequestError: it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise BadRequestError(
            f"Expected to write {str(path)!r}, and could not ({error}); give another place."
        ) from error


@contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Give an empty directory, which takes the place of `path` if the block ends without an error.

    A kill leaves the old directory where it was, or beside it for `restore_directory`.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    restore_directory(path)
    aside, old = _beside(path)
    aside.mkdir(parents=True)
    try:
        yield aside
        if path.exists():
            path.rename(old)
        aside.rename(path)
    finally:
        restore_directory(path)


def restore_directory(path: Path) -> None:
    """Put back the directory that a replacement moved out of its place and did not replace, and clear its remains."""
    aside, old = _beside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    for remains in (aside, old):
        shutil.rmtree(remains, ignore_errors=True)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")


def move_files(source: Path, target: Path, *, last: Callable[[str], bool]) -> None:
    """Move a directory's files into another, those whose names are `last` after the others, and remove it."""
    for file in sorted(source.iterdir(), key=lambda file: (last(file.name), file.name)):
        file.replace(target / file.name)
    source.rmdir()


# ---------------------------------------------------------------- a log
class JsonLines:
    """A file of JSON objects, one a line, that is appended to batch by batch; a last line that a kill tore is not read.

    Args:
        path: of the file; the first batch makes it.
        keys: what every object has.
        texts: what every object has as text.
        sync: whether a batch is on the disk before `append` returns.
        reserve: a file of held-back room, which is freed when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        keys: Collection[str] = (),
        texts: Collection[str] = (),
        sync: bool = False,
        reserve: Path | None = None,
    ) -> None:
        self.path, self.keys, self.texts, self.sync, self.reserve = path, keys, texts, sync, reserve

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows at the end, all or none; a torn last line goes before.

        Raises:
            BadRequestError: a line before the torn one is no JSON object, or lacks a key.
            DiskFullError: there is no room, or there was none before the reserve was freed; `stored` says which.
            OSError: they cannot be written for another reason.
        """
        text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        data = text.encode("utf-8", "backslashreplace")
        if self._is_torn():
            self.cut()
        if self._is_written(data):
            return
        if self.reserve:
            self.reserve.unlink(missing_ok=True)
        raise DiskFullError(self.path.parent, stored=self.reserve is not None and self._is_written(data))

    def read(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            BadRequestError: the file cannot be read, or a line before the last is no JSON object, or lacks a key.
        """
        return (row for row, _ in self._lines())

    def cut(self, stays: Callable[[Row], bool] = lambda row: True) -> None:
        """Cut the file off before the first row that does not stay, and before a torn last line.

        Raises:
            BadRequestError: the file cannot be read, or a line before that is no JSON object, or lacks a key.
        """
        end = 0
        for row, size in self._lines():
            if not stays(row):
                break
            end += size
        if self.path.exists():
            os.truncate(self.path, end)

    def _lines(self) -> Iterator[tuple[Row, int]]:
        """Yield the rows with the bytes of their lines."""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    row = self._row(line)
                    if row is None:
                        if file.read(1):
                            raise BadRequestError(
                                f"Expected {self._form()} in line {number} of {str(self.path)!r}, and found something else; "
                                "remove that line, or start over with --fresh."
                            )
                        return
                    yield row, len(line)
        except OSError as error:
            raise BadRequestError(
                f"Expected lines of JSON in {str(self.path)!r}, and got {type(error).__name__}: {error}; put the file back, or start over with --fresh."
            ) from error

    def _is_torn(self) -> bool:
        """Return whether the last line has no end."""
        try:
            with self.path.open("rb") as file:
                return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        except OSError:  # not there yet, or told when it is written to
            return False

    def _row(self, line: bytes) -> Row | None:
        """Return a line's object, or None for a line that is not whole."""
        try:
            row = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(row, dict) or not row.keys() >= {*self.keys, *self.texts}:
            return None
        return row if all(isinstance(row[name], str) for name in self.texts) else None

    def _form(self) -> str:
        """Say what every line is."""
        names = [*(f"{name} (text)" for name in self.texts), *self.keys]
        return f"a JSON object{' with ' + ' and '.join(names) if names else ''}"

    def _is_written(self, data: bytes) -> bool:
        """Write bytes at the end, all or none, and return whether there was room."""
        with self.path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(file.fileno(), left) :]
                if self.sync:
                    os.fsync(file.fileno())
            except OSError as error:
                file.truncate(before)
                if error.errno in FULL:
                    return False
                raise
        return True


@contextmanager
def held_room(path: Path) -> Iterator[Path]:
    """Hold room on the disk back in a file, which goes at the end; a file system that cannot do so holds none.

    Raises:
        DiskFullError: there is not so much room.
    """
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in FULL:
            raise DiskFullError(path.parent, stored=True) from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
