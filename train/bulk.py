"""Generated incidents in bulk: labelled rows with prompts, one Parquet file, all cores, memory that does not grow with their number.

    python -m generator --task stage3_mixed --n 1000000 --out incidents.parquet

Workers make chunks of CHUNK rows and leave each as a part beside the file; the parent puts the parts in order into the Parquet
file. The same command after a stop, however hard, keeps the parts that are there, and ends in the same bytes. Without --out
incidents are printed as JSON lines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from env import defender_view
from generator import GENERATOR_VERSION, generate
from players.prompt import DENSITIES, Density, messages
from schema import LABELS, TASKS, VERSION, BadRequestError, Label, Task
from tasks.registry import SPLITS, Split
from verifier import compute_ground_truth

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1_000  # rows of a part, and of a row group
LINE_S = 5.0  # between two lines of progress where there is no terminal
LABEL_COLUMNS = ("action", "evidence_log_ids", "techniques", "rule_ids")
COLUMNS = ("id", "task", "split", "family", *LABEL_COLUMNS, "prompt", "observation")
DEFAULT_COLUMNS = COLUMNS[:-1]  # a prompt holds what the observation holds, at half the bytes of both


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be made: everything that decides the bytes of the file, and nothing else."""

    task: Task
    n: int
    split: Split = "train"
    start: int = 0
    salt: str = ""
    label: Label | None = None
    density: Density = "full"
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    chunk: int = CHUNK

    def identity(self) -> str:
        """The run as JSON, as it stands beside the parts and in the file's metadata; of the salt only a hash."""
        salt = hashlib.sha256(self.salt.encode()).hexdigest()[:16] if self.salt else ""
        return json.dumps(
            {**asdict(self), "salt_hash": salt, "opensoc": VERSION, "generator": GENERATOR_VERSION}
            | {"salt": bool(salt)}
        )

    def chunks(self) -> int:
        """How many parts there are; all are full but the last."""
        return -(-self.n // self.chunk)

    def indexes(self, chunk: int) -> range:
        """The indexes of a part's incidents."""
        first = self.start + chunk * self.chunk
        return range(first, min(first + self.chunk, self.start + self.n))


# ---------------------------------------------------------------- rows
def make_row(run: Run, index: int) -> dict[str, Any]:
    """One incident with its label and prompt, in the columns of the run."""
    case = generate(run.task, index, split=run.split, salt=run.salt, label=run.label)
    row: dict[str, Any] = {
        "id": f"{run.split}/{run.task}/{index}" + (f"/{run.label}" if run.label else ""),
        "task": run.task,
        "split": run.split,
        "family": case.family,
    }
    if not {*LABEL_COLUMNS}.isdisjoint(run.columns):
        truth = compute_ground_truth(case.incident, case.world)
        row |= {name: getattr(truth, name) for name in LABEL_COLUMNS}
    if "prompt" in run.columns or "observation" in run.columns:
        observation = defender_view(case.incident, case.world, case.lines)
        if "prompt" in run.columns:
            row["prompt"] = messages(observation, run.density)
        if "observation" in run.columns:
            row["observation"] = json.dumps(
                {name: observation[name] for name in ("alert", "log_window", "context")}, separators=(",", ":")
            )
    return {name: row[name] for name in run.columns}


def make_table(run: Run, chunk: int) -> pa.Table:
    """A part's rows. Texts of prompts are dictionary-encoded, as most of a prompt is said in many."""
    import pyarrow as pa

    rows = [make_row(run, index) for index in run.indexes(chunk)]
    arrays = {name: [row[name] for row in rows] for name in run.columns}
    if "prompt" in arrays:
        arrays["prompt"] = _prompts(arrays["prompt"])
    return pa.table(arrays, schema=arrow_schema(run, packed=True))


def _prompts(prompts: list[list[dict[str, str]]]) -> pa.Array:
    import pyarrow as pa

    said = [message for prompt in prompts for message in prompt]
    ends, texts = [0], dict[str, int]()
    for prompt in prompts:
        ends.append(ends[-1] + len(prompt))
    codes = [texts.setdefault(message["content"], len(texts)) for message in said]
    contents = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(texts), pa.string()))
    roles = pa.array([message["role"] for message in said], pa.string())
    return pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays([roles, contents], names=["role", "content"]))


def arrow_schema(run: Run, *, packed: bool = False) -> pa.Schema:
    """The file's schema; `packed` is that of the parts, whose prompts are dictionary-encoded."""
    import pyarrow as pa

    content = pa.dictionary(pa.int32(), pa.string()) if packed else pa.string()
    names = pa.list_(pa.string())
    types = {
        **dict.fromkeys(COLUMNS, pa.string()),
        **dict.fromkeys(LABEL_COLUMNS[1:], names),
        "prompt": pa.list_(pa.struct([("role", pa.string()), ("content", content)])),
    }
    return pa.schema([(name, types[name]) for name in run.columns], metadata={"opensoc": run.identity()})


# ---------------------------------------------------------------- parts, made by workers
def _begin() -> None:
    """Start a worker: the parent alone hears Ctrl-C, and no worker outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make_part(run: Run, chunk: int, path: Path) -> None:
    import pyarrow.feather as feather

    unfinished = path.with_suffix(f".{os.getpid()}")
    feather.write_feather(make_table(run, chunk), unfinished, compression="lz4", chunksize=run.chunk)
    unfinished.rename(path)


def parts_in_order(run: Run, folder: Path, workers: int) -> Iterator[Path]:
    """Every part's path in order, as soon as it is there. So many are under way that no worker waits, and no more."""
    waiting: deque[tuple[Path, Future[None] | None]] = deque()
    paths = ((chunk, folder / f"{chunk:07d}.arrow") for chunk in range(run.chunks()))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        try:
            while True:
                for chunk, path in islice(paths, 3 * workers - len(waiting)):
                    waiting.append((path, None if path.exists() else pool.submit(_make_part, run, chunk, path)))
                if not waiting:
                    return
                path, made = waiting.popleft()
                if made:
                    made.result()
                yield path
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


# ---------------------------------------------------------------- the file
def write_file(run: Run, out: Path, *, workers: int, seen: Callable[[int], None] = lambda rows: None) -> None:
    """Make the Parquet file of a run, or go on where an earlier call was stopped.

    Args:
        out: the file; the parts lie in `<out>.parts` until it is complete.
        workers: processes that make rows.
        seen: is told after each part how many rows are in the file.

    Raises:
        BadRequestError: another command left the file or the parts.
    """
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    if out.exists():
        check_same(run, str(out), _written_by(out))
        shutil.rmtree(out.with_name(out.name + ".parts"), ignore_errors=True)
        return seen(run.n)
    folder, unfinished = _open_parts(run, out), out.with_name(out.name + ".unfinished")
    schema = arrow_schema(run)
    with pq.ParquetWriter(unfinished, schema, **PARQUET) as writer:
        for chunk, path in enumerate(parts_in_order(run, folder, workers)):
            writer.write_table(feather.read_table(path, memory_map=False).cast(schema))
            seen(run.indexes(chunk).stop - run.start)
    unfinished.rename(out)
    shutil.rmtree(folder)


# Texts are long and seldom the same: zstd finds what prompts have in common, a dictionary does not.
PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": [
        *("task", "split", "family", "action"),
        *(f"{name}.list.element" for name in LABEL_COLUMNS[1:]),
        "prompt.list.element.role",
    ],
}


def _open_parts(run: Run, out: Path) -> Path:
    """The folder of the parts, with the run written beside them."""
    folder = out.with_name(out.name + ".parts")
    said = folder / "run.json"
    if said.exists():
        check_same(run, str(folder), said.read_text())
    else:
        folder.mkdir(parents=True, exist_ok=True)
        said.write_text(run.identity())
    return folder


def _written_by(out: Path) -> str:
    """The run that a file says it is of; nothing for a file of another making."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return str((pq.read_schema(out).metadata or {}).get(b"opensoc", b"").decode())
    except pa.ArrowInvalid:
        return ""


def check_same(run: Run, place: str, found: str) -> None:
    """Raise a BadRequestError where what was found beside or in a file is not this run."""
    if found != run.identity():
        raise BadRequestError(
            f"{place} was made by another command: expected {run.identity()}, found {found or 'nothing'}; "
            "give another --out, or remove it"
        )


# ---------------------------------------------------------------- the command
def print_lines(run: Run) -> None:
    """Print incidents with their context, one JSON object a line."""
    for index in range(run.start, run.start + run.n):
        case = generate(run.task, index, split=run.split, salt=run.salt, label=run.label)
        incident, context = case.incident.model_dump(exclude_none=True), case.world.slice_for(case.lines)
        print(json.dumps({"index": index, "incident": incident, "context": context}))


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show rows done, the rate and the time left on stderr: a bar on a terminal, otherwise a line every LINE_S seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed or 0:,.0f}/s")

    console, said = Console(stderr=True), time.monotonic()
    bar = Progress(
        TextColumn("incidents"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(), console=console
    )
    bar.add_task("", total=total)
    task = bar.tasks[0]

    def seen(done: int) -> None:
        nonlocal said
        bar.update(task.id, completed=done)
        if not console.is_terminal and (done == total or time.monotonic() - said >= LINE_S):
            said = time.monotonic()
            left = f"{task.time_remaining:,.0f} s left" if task.time_remaining is not None else "time left unknown"
            print(f"{done:,} of {total:,} incidents, {task.speed or 0:,.0f}/s, {left}", file=sys.stderr, flush=True)

    with bar if console.is_terminal else nullcontext():
        yield seen


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = _parser().parse_args(argv)
    columns = tuple(name for name in COLUMNS if name in args.columns)
    run = Run(args.task, args.n, args.split, args.start, args.salt, args.label, args.density, columns)
    if args.out is None:
        print_lines(run)
        return 0
    try:
        with progress(run.n) as seen:
            if args.ray is None:
                write_file(run, args.out, workers=args.workers, seen=seen)
            else:
                from train.bulk_ray import write_directory

                write_directory(run, args.out, address=args.ray, seen=seen)
    except KeyboardInterrupt:
        print(f"stopped; {_AGAIN}", file=sys.stderr)
        return 130
    except BadRequestError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(f"a worker was killed, perhaps for want of memory: try fewer --workers; {_AGAIN}", file=sys.stderr)
        return 1
    except OSError as error:
        free = shutil.disk_usage(args.out.absolute().parent).free / 2**20 if args.out.absolute().parent.exists() else 0
        print(f"cannot write {args.out}: {error} ({free:,.0f} MiB are free); {_AGAIN}", file=sys.stderr)
        return 1
    return 0


_AGAIN = "the same command goes on from here"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generator",
        description="Generate labelled incidents with prompts into a Parquet file, or print incidents as JSON lines.",
    )
    parser.add_argument("--task", choices=TASKS, default=TASKS[0], help="default %(default)s")
    parser.add_argument("--split", choices=SPLITS, default="train", help="default %(default)s")
    parser.add_argument("--n", type=_positive, default=1, help="how many incidents (default 1)")
    parser.add_argument("--start", type=_natural, default=0, help="index of the first (default 0)")
    parser.add_argument("--salt", default="", help="secret salt of the seeds")
    parser.add_argument("--label", choices=LABELS, help="aim at one decision (default: the five equally often)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the Parquet file; the same command again goes on with it"
    )
    parser.add_argument("--workers", type=_positive, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--density", choices=DENSITIES, default="full", help="of prompts (default full)")
    parser.add_argument(
        "--columns",
        nargs="+",
        choices=COLUMNS,
        default=DEFAULT_COLUMNS,
        metavar="NAME",
        help=f"some of {', '.join(COLUMNS)} (default: all but observation, which the prompt holds)",
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="run on this Ray cluster (`local` starts one here); --out is then a directory"
    )
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not _natural(text):
        raise argparse.ArgumentTypeError("expected a whole number from 1, got 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
