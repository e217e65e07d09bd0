"""A pool: the incidents of numbered tasks, made and judged once, which episodes read instead of making them anew.

    python -m generator --pool train.pool --n 10000                          the first 40,000 numbered tasks of the split train
    OpenSOCEnv(pool=Pool(Path("train.pool"))), OPENSOC_POOL=train.pool       episodes of these tasks read it; all others are as ever

An episode is the same to the byte with and without a pool. The file: a header of one line (JSON, HEADER_BYTES long), a line of JSON for each
incident (seed by seed, the tasks of a seed side by side), and where each of these lines begins (64-bit numbers, least byte first). Nothing but
JSON and numbers is read, an incident at a time, so memory does not grow with the file; processes share the system's cache of it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import struct
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import cache, cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generator.incidents import GENERATOR_VERSION, generate
from runs.arguments import natural, positive
from runs.ending import StoppedError, exit_code
from runs.files import written_aside
from runs.progress import Progress, progress
from runs.provenance import ROOT, salt_hash
from runs.workers import worker_processes
from scenario import OBSERVED, REMEMBERED, Scenario, recall
from schema import MAX_SEED, TASKS, BadRequestError, OpenSOCError, Task, faults, shown
from tasks.registry import SPLITS, Split
from verifier.playbook import defender_instructions, playbook_of_rules, playbook_text, rules_in_play
from verifier.truth import GroundTruth
from verifier.window import Finding
from world import World

HEADER_BYTES = 1024
CHUNK = 100  # seeds that a worker makes at once
AHEAD = 3  # chunks a worker that are under way at once, so that none waits
LINE_S = 5.0  # between two lines of progress where there is no terminal
DECIDING = (
    "schema.py",
    "world.py",
    "scenario.py",
    "tasks",
    "generator",
    "verifier",
)  # the code that an answer depends on
_PLACE = struct.Struct("<Q")
_BEGINNING = b'{"opensoc_pool":'
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Contents(BaseModel):
    """What a pool holds: `n` seeds from `start` of each task, in one split, of one salt, by one version of generator and verifier.

    `playbook` hashes the playbook's words, `code` the modules that an answer depends on. `salt_hash` is empty for incidents without
    a salt; the salt itself stands nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    opensoc_pool: Literal[1] = 1  # the format
    generator: str = GENERATOR_VERSION
    playbook: _Hash
    code: _Hash
    salt_hash: Annotated[str, Field(pattern="^([0-9a-f]{16})?$")]
    split: Split
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=len(TASKS))]
    start: Annotated[int, Field(ge=0, le=MAX_SEED)]
    n: Annotated[int, Field(ge=1, le=MAX_SEED)]

    def command(self, path: Path) -> str:
        """Write the command that makes the pool, without its salt."""
        salt = " --salt ..." if self.salt_hash else ""
        return f"python -m generator --pool {path} --task {' '.join(self.tasks)} --split {self.split} --start {self.start} --n {self.n}{salt}"


class Header(Contents):
    """The first line of a file: what it holds, and what proves that it is whole.

    `size` counts the bytes of the whole file; `sha256` is of all that follows the header, and then of the header without it.
    """

    size: Annotated[int, Field(ge=HEADER_BYTES)]
    sha256: _Hash


def contents_of(tasks: Iterable[Task], split: Split, start: int, n: int, salt: str) -> Contents:
    """Describe the pool that this version makes."""
    return Contents(
        playbook=playbook_hash(),
        code=_code_hash(),
        salt_hash=salt_hash(salt),
        split=split,
        tasks=tuple(tasks),
        start=start,
        n=n,
    )


@cache
def playbook_hash() -> str:
    """Return the sha256 of the playbook's words."""
    return hashlib.sha256(playbook_text().encode()).hexdigest()


@cache
def _code_hash() -> str:
    """Hash the sources that an answer depends on, in the order of their names."""
    places = [ROOT / name for name in DECIDING]
    files = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    digests = (hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(b"".join(digests)).hexdigest()


# ---------------------------------------------------------------- one incident
def line_of(task: Task, seed: int, *, split: Split, salt: str) -> bytes:
    """Make the line of an incident: what the defender sees of it, and the ground truth by its fields, findings as rows of theirs."""
    scenario = Scenario(generate(task, seed, split=split, salt=salt))
    view, truth = scenario.view(), scenario.truth
    judged = {name: getattr(truth, name) for name in GroundTruth.__slots__}
    judged["findings"] = list(map(tuple, truth.findings))
    return orjson.dumps({name: view[name] for name in OBSERVED} | {"truth": judged}) + b"\n"


class StoredScenario(Scenario):
    """A scenario of a pool. What it shows and the ground truth come from the pool; its world, which self-play alone needs, is made as ever."""

    def __init__(self, content: bytes, task: Task, seed: int, split: Split, salt: str) -> None:
        row = orjson.loads(content)
        self._content = content
        self._truth = row.pop("truth")
        self._unseen = [row]  # rows that nobody was shown yet
        self._set = rules_in_play(row["log_window"])
        self._ids = [line["log_id"] for line in row["log_window"]]
        self._place = task, seed, split, salt

    @property
    def log_ids(self) -> frozenset[str]:
        """The ids of the lines, of which an answer cites one."""
        return frozenset(self._ids)

    @property
    def world(self) -> World:
        """The world in which the incident happened."""
        return recall(*self._place).world

    def view(self) -> dict[str, Any]:
        """Show the incident to the defender. The rows are his own: whoever comes after the first has them read again."""
        try:
            row = self._unseen.pop()
        except IndexError:
            row = orjson.loads(self._content)
            del row["truth"]
        return {"instructions": defender_instructions(), **row, "playbook": playbook_of_rules(self._set)}

    @cached_property
    def truth(self) -> GroundTruth:
        """What the verifier said when the pool was made."""
        fields = dict(zip(self._truth, _tuples(self._truth.values()), strict=True))
        findings = tuple(Finding._make(_tuples(row)) for row in self._truth["findings"])
        return GroundTruth(**fields | {"findings": findings})


@lru_cache(maxsize=REMEMBERED)
def _stored(content: bytes, task: Task, seed: int, split: Split, salt: str) -> StoredScenario:
    """Return the scenario of a line: one of the last ones, so that a group of answers pays once for what it shares."""
    return StoredScenario(content, task, seed, split, salt)


def _tuples(values: Iterable[Any]) -> list[Any]:
    return [tuple(value) if type(value) is list else value for value in values]


# ---------------------------------------------------------------- reading
class Pool:
    """An open pool. It is checked when it is opened, and may be shared by environments, threads and forked processes.

    Args:
        path: of the file that `python -m generator --pool` wrote.
        salt: of the environments that are to read it.

    Raises:
        BadRequestError: it is no pool, or one of another version or salt, or the file is cut off or changed.
    """

    def __init__(self, path: Path, salt: str = "") -> None:
        self.path, self._salt = path, salt
        try:
            if not path.is_file():
                raise FileNotFoundError(f"there is {'something else' if path.exists() else 'nothing'}")
            self._file = os.open(path, os.O_RDONLY)
        except (OSError, ValueError) as error:
            raise BadRequestError(
                f"Expected a pool of incidents at {str(path)!r}, and could not open it ({error}); "
                f"make one with python -m generator --pool {path} --n 10000, or correct the path."
            ) from error
        self._close = weakref.finalize(self, os.close, self._file)
        try:
            self.header = self._read_header()
            self._check_version()
            self.check(salt)
            self._check_whole()
        except BaseException:
            self._close()
            raise
        header = self.header
        self._columns = {task: column for column, task in enumerate(header.tasks)}
        self._places_at = header.size - _PLACE.size * (header.n * len(header.tasks) + 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pool, (self.path, self._salt)

    def check(self, salt: str) -> None:
        """Refuse another salt than that of the incidents.

        Raises:
            BadRequestError: they are of another.
        """
        if salt_hash(salt) != self.header.salt_hash:
            ours, theirs = ("this salt" if salt else "no salt"), ("another" if self.header.salt_hash else "none")
            raise BadRequestError(
                f"Expected incidents of {ours} in the pool {str(self.path)!r}, and they are of {theirs}; "
                "give the salt that they were made with, or make the pool again with --salt."
            )

    def find(self, task: Task, seed: int, split: Split) -> StoredScenario | None:
        """Read the scenario of a seed; None for one that the pool does not hold.

        Raises:
            OpenSOCError: the file was changed since it was opened.
        """
        header, column = self.header, self._columns.get(task)
        row = seed - header.start
        if column is None or split != header.split or not 0 <= row < header.n:
            return None
        places = os.pread(
            self._file, 2 * _PLACE.size, self._places_at + _PLACE.size * (row * len(header.tasks) + column)
        )
        try:
            begin, end = struct.unpack("<2Q", places)
            return _stored(os.pread(self._file, end - begin, begin), task, seed, split, self._salt)
        except (struct.error, ValueError, OSError) as error:
            raise OpenSOCError(
                f"Expected the pool {str(self.path)!r} to stay as it was opened, and it was changed; start again with a whole one."
            ) from error

    # ------------------------------------------------------------ what is refused
    def _read_header(self) -> Header:
        try:
            return Header.model_validate_json(os.pread(self._file, HEADER_BYTES, 0))
        except ValidationError as error:
            raise BadRequestError(
                f"Expected a pool of incidents in {str(self.path)!r}, and its first line is no header of one ({faults(error, 'header', most=1)}); "
                f"make one with python -m generator --pool, at another path."
            ) from None

    def _check_version(self) -> None:
        header = self.header
        ours = contents_of(header.tasks, header.split, header.start, header.n, "")
        for name, what in (("generator", "generator"), ("playbook", "playbook"), ("code", "code")):
            expected, found = getattr(ours, name), getattr(header, name)
            if expected != found:
                raise BadRequestError(
                    f"Expected incidents of {what} {expected[:12]} in the pool {str(self.path)!r}, and they are of {shown(found[:12])}; "
                    f"make it again: {header.command(self.path)}"
                )

    def _check_whole(self) -> None:
        header = self.header
        size = os.fstat(self._file).st_size
        if size != header.size:
            raise BadRequestError(
                f"Expected {header.size:,} bytes in the pool {str(self.path)!r}, and there are {size:,}: it was cut off or added to; "
                f"copy it again, or make it again: {header.command(self.path)}"
            )
        digest = hashlib.sha256()
        for begin in range(HEADER_BYTES, size, 2**20):
            digest.update(os.pread(self._file, 2**20, begin))
        if (found := _sealed(digest, header.model_dump(mode="json", exclude={"sha256"}))) != header.sha256:
            raise BadRequestError(
                f"Expected the sha256 {header.sha256[:12]} of the pool {str(self.path)!r}, and it is {found[:12]}: its bytes were changed; "
                f"copy it again, or make it again: {header.command(self.path)}"
            )


def _sealed(digest: Any, fields: dict[str, Any]) -> str:
    """Finish the hash of what follows a header with the header's other fields."""
    digest.update(orjson.dumps(fields))
    return str(digest.hexdigest())


# ---------------------------------------------------------------- writing
def write_pool(path: Path, contents: Contents, lines: Iterable[bytes]) -> None:
    """Write a pool, whole or not at all.

    Args:
        path: of the file; one that is there is replaced.
        contents: what the pool holds.
        lines: of its incidents, in order.

    Raises:
        BadRequestError: a file that is no pool is there.
        OSError: it cannot be written.
    """
    _check_replaceable(path)
    with written_aside(path) as file:
        file.write(bytes(HEADER_BYTES))
        digest, place, places = hashlib.sha256(), HEADER_BYTES, bytearray(_PLACE.pack(HEADER_BYTES))
        for line in lines:
            file.write(line)
            digest.update(line)
            place += len(line)
            places += _PLACE.pack(place)
        file.write(places)
        digest.update(places)
        fields = contents.model_dump(mode="json") | {"size": place + len(places)}
        file.seek(0)
        file.write(orjson.dumps(fields | {"sha256": _sealed(digest, fields)}).ljust(HEADER_BYTES - 1) + b"\n")


def _check_replaceable(path: Path) -> None:
    """Refuse to write over a file that is no pool, of whatever version."""
    if not path.exists():
        return
    with path.open("rb") as file:
        beginning = file.read(len(_BEGINNING))
    if beginning != _BEGINNING:
        raise BadRequestError(
            f"Expected nothing or a pool at {str(path)!r}, and found something else; give another --pool, or remove it."
        )


def make_lines(contents: Contents, salt: str, workers: int) -> Iterator[bytes]:
    """Yield the lines of a pool in order, made by worker processes; at most AHEAD chunks a worker are under way."""
    end = contents.start + contents.n
    chunks = (range(first, min(first + CHUNK, end)) for first in range(contents.start, end, CHUNK))
    with worker_processes(workers) as executor:
        waiting: deque[Future[list[bytes]]] = deque()
        while True:
            for seeds in islice(chunks, AHEAD * workers - len(waiting)):
                waiting.append(executor.submit(_chunk, contents.tasks, seeds, contents.split, salt))
            if not waiting:
                return
            yield from waiting.popleft().result()


def _chunk(tasks: Sequence[Task], seeds: range, split: Split, salt: str) -> list[bytes]:
    return [line_of(task, seed, split=split, salt=salt) for seed in seeds for task in tasks]


# ---------------------------------------------------------------- the command
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code(lambda: _write(args), "no pool was written")


def _write(args: argparse.Namespace) -> None:
    """Write the pool that the flags ask for."""
    contents = contents_of(dict.fromkeys(args.task), args.split, args.start, args.n, args.salt)
    lines = make_lines(contents, args.salt, args.workers)
    with progress(contents.n * len(contents.tasks), "incidents", line_s=LINE_S) as bar:
        try:
            write_pool(args.pool, contents, _counted(lines, bar))
        except BrokenProcessPool as error:
            raise StoppedError(
                "A worker was killed, perhaps for want of memory; no pool was written. Try fewer --workers."
            ) from error


def _counted(lines: Iterable[bytes], bar: Progress) -> Iterator[bytes]:
    for line in lines:
        yield line
        bar.advance()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generator",
        description="Store the incidents of numbered tasks in a pool, from which episodes read them instead of making them anew.",
    )
    parser.add_argument(
        "--pool", type=Path, required=True, metavar="FILE", help="the pool; one that is there is replaced"
    )
    parser.add_argument(
        "--task",
        nargs="+",
        choices=TASKS,
        default=TASKS,
        metavar="NAME",
        help=f"some of {', '.join(TASKS)} (default: all)",
    )
    parser.add_argument("--split", choices=SPLITS, default="train", help="default %(default)s")
    parser.add_argument(
        "--n", type=positive, required=True, help="how many seeds; each gives an incident of every task"
    )
    parser.add_argument("--start", type=natural, default=0, help="the first seed (default 0)")
    parser.add_argument("--salt", default="", help="secret salt of the environments that are to read it")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: all cores)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
