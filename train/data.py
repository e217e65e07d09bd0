"""Training data: rows for the trainers, and labelled incidents in bulk: python -m train.data --task stage3_mixed --n 1000000 --out rows.parquet

**Rows.** A row is a frozen set's: id, task, split, family, observation (alert, log_window, context) and ground_truth (action,
evidence_log_ids, techniques, rule_ids). Fresh rows come from the `train` families and worlds alone, by index: the same index of the same seed
is the same incident in every process, so a resumed run sees the incidents that it would have seen.

**In bulk.** Workers write parts of CHUNK rows and rename each when it is whole; the same command after a stop, however hard, makes the parts that lack.
On this machine the parts lie beside the file and become one Parquet file, the same bytes however often it was stopped. On a Ray cluster (`--ray`)
each part is a Parquet file of the directory --out, which every node sees. Without --out, incidents are printed as JSON lines.

Exit code: 0 done; 1 no room, or a worker was killed; 2 a wrong call; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from generator.curriculum import Curriculum, Item
from generator.incidents import GENERATOR_VERSION, generate, incident_seed
from players.base import DENSITIES, Density
from players.other_words import in_other_words
from players.prompt import messages
from runs.arguments import natural, positive
from runs.extras import require
from runs.progress import progress
from runs.provenance import ROOT, salt_hash, stable_seed
from runs.workers import worker_processes
from scenario import OBSERVED, Scenario, item_of
from schema import LABELS, TASKS, VERSION, BadRequestError, Label, OpenSOCError, Row, Task
from tasks.registry import SPLITS, Split
from tasks.sets import load_set
from train.asides import with_aside
from train.command import tasks_of
from train.drills import drilled

if TYPE_CHECKING:
    import pyarrow as pa

Report = Callable[[int], None]  # is told how many rows are there
SFT_SET = "sft_train"
CHUNK = 1_000  # rows of a part, and of a row group
LINE_S = 5.0  # between two lines of progress where there is no terminal
AHEAD = 3  # parts a worker that are under way at once, so that none waits
MOST_WORDS = 3  # of an incident that are told in other words
RENAMED = "renamed"  # the key of a row that is told with other names of rules: what they are drawn from
LABEL_COLUMNS = ("action", "evidence_log_ids", "techniques", "rule_ids")
COLUMNS = ("id", "task", "split", "family", *LABEL_COLUMNS, "prompt", "observation")
DEFAULT_COLUMNS = COLUMNS[:-1]  # a prompt holds what the observation holds, at half the bytes of both
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
LEFT_HERE = (".git", "data", "docs", "tests", "validation", "shared", "*.parquet", "*.parquet.parts")


# ---------------------------------------------------------------- rows of the trainers
def frozen(name: str = SFT_SET, *, limit: int | None = None) -> list[Row]:
    """Return the rows of a frozen set, by name or path; with `limit`, so many of them that every task has its share.

    Raises:
        BadRequestError: there is no such set, or its file is not the one that the manifest names.
    """
    rows = list(load_set(name).rows)
    return rows[:: max(1, len(rows) // limit)][:limit] if limit else rows


def labelled(name: str, *, limit: int | None = None) -> list[Row]:
    """Return the rows of a set in which every row says which action is right, and by which lines and rules.

    Raises:
        BadRequestError: there is no such set, it is empty, or a row lacks its label.
    """
    rows = frozen(name, limit=limit)
    lacking = next(((row["id"], lack) for row in rows if (lack := _lack(row["ground_truth"]))), None)
    if lacking or not rows:
        fault = f"{lacking[0]!r} says {lacking[1]}" if lacking else "there are none"
        raise BadRequestError(
            f"Expected rows with a right action in {name!r}, and {fault}; correct it, or give another file."
        )
    return rows


def _lack(truth: Any) -> str:
    """Say what a ground truth lacks for an answer to be made of it; empty if nothing."""
    if not isinstance(truth, dict) or truth.get("action") not in LABELS:
        return f"none of {', '.join(LABELS)}"
    if not (truth.get("evidence_log_ids") and _are_texts(truth["evidence_log_ids"])):
        return "no line of evidence (evidence_log_ids, a list of one log id or more)"
    return "" if _are_texts(truth.get("rule_ids")) else "no rules (rule_ids, a list that may be empty)"


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def drop_too_long(
    items: Sequence[Row], names: Sequence[str], sizes: Sequence[int], room: int, *, skip: bool, what: str
) -> list[Row]:
    """Return the items that fit, in their order.

    Args:
        items: the training data.
        names: the names of their incidents, for the error.
        sizes: their tokens.
        room: the most tokens.
        skip: leave out and count longer ones, instead of an error.
        what: what the room is for, in words.

    Raises:
        BadRequestError: one is longer, or none is left.
    """
    long = [index for index, size in enumerate(sizes) if size > room]
    if long and not skip:
        worst = max(long, key=lambda index: sizes[index])
        raise BadRequestError(
            f"Expected at most {room} tokens ({what}), and {len(long)} of {len(items)} incidents are longer, {names[worst]} the most "
            f"with {sizes[worst]}; use --density compact, a model with a longer context, or --skip-long to leave them out."
        )
    if long:
        print(f"{len(long)} of {len(items)} incidents are longer than {room} tokens and are left out.", file=sys.stderr)
    if len(long) == len(items):
        raise BadRequestError(
            f"Expected incidents of at most {room} tokens ({what}), and all {len(items)} are longer; use --density compact or a longer context."
        )
    return [item for item, size in zip(items, sizes, strict=True) if size <= room]


def fresh(
    seed: int, *, start: int = 0, number: int | None = None, tasks: Sequence[Task] = TASKS, split: Split = "train"
) -> Iterator[Row]:
    """Yield labelled incidents from index `start` on, task by task in turn, each with the five actions equally often.

    Args:
        seed: which stream; two seeds share no incident.
        start: the first index.
        number: how many; None for no end.
        tasks: which tasks take turns.
        split: which families and worlds; `train` for what is trained on.

    Raises:
        BadRequestError: no task is given, or there is no such task.
    """
    if not tasks or not set(tasks) <= set(TASKS):
        raise BadRequestError(f"expected at least one of {', '.join(TASKS)}; got {list(tasks)!r}")
    for index in islice(count(start), number):
        yield training_row(seed, index, tasks=tasks, split=split)


def sft_rows(args: argparse.Namespace) -> list[Row]:
    """Return the labelled rows that the flags of SFT ask for: `--generate` fresh ones, or those of `--data`.

    Raises:
        BadRequestError: there is no such set, or it has no labels.
    """
    if args.generate:
        tasks = tasks_of(args.tasks, "--tasks")
        return list(fresh(stable_seed(f"sft/{args.seed}"), number=args.generate, tasks=tasks))
    return labelled(args.data, limit=args.limit)


def validation_rows(seed: int, number: int, tasks: Sequence[Task] = TASKS, *, split: Split = "val") -> list[Row]:
    """Return the fresh incidents of a split, `val` or `val_family`, on which a run with this seed is evaluated."""
    return list(fresh(stable_seed(f"val/{seed}"), number=number, tasks=tasks, split=split))


class Shares(NamedTuple):
    """Of fresh incidents, the shares that are told otherwise than their families tell them, each from 0 to 1.

    Args:
        other_words: in other words of the playbook (`players.other_words`).
        drills: with a rule's own example among the lines (`train.drills`).
        asides: with somebody among them who has no say and speaks to the analyst (`train.asides`).
        other_names: with rules under each other's names (`train.aliases`).
    """

    other_words: float = 0.0
    drills: float = 0.0
    asides: float = 0.0
    other_names: float = 0.0


AS_TOLD = Shares()


def training_row(
    seed: int, index: int, *, tasks: Sequence[Task] = TASKS, split: Split = "train", shares: Shares = AS_TOLD
) -> Row:
    """Return the row at one index of a stream.

    Args:
        seed: of the stream.
        index: in the stream, from 0.
        tasks: taken in turn.
        split: whose families are told.
        shares: of what is told otherwise.
    """
    task = tasks[index % len(tasks)]
    return row_of(seed, task, index // len(tasks), split=split, shares=shares)


def easy_first(easy: int, seed: int, tasks: Sequence[Task], shares: Shares, index: int) -> Row:
    """Return the fresh row of supervised training at an index: so many of the first stage come before those of all tasks.

    It is here since workers make these rows, and need no torch for it.
    """
    if index < easy:
        return training_row(stable_seed(f"sft/{seed}/easy"), index, tasks=TASKS[:1], shares=shares)
    return training_row(stable_seed(f"sft/{seed}"), index - easy, tasks=tasks, shares=shares)


def row_of(stream: int, task: Task, seed: int, *, split: Split = "train", shares: Shares = AS_TOLD) -> Row:
    """Return the row of a task and a seed of a stream; each share is a chance."""
    salt = f"train/{stream}"
    case = generate(task, seed, split=split, salt=salt)

    def drawn(share: float, name: str) -> Random | None:
        """Return what draws the rest where the chance says so."""
        rng = Random(incident_seed(name, task, seed, salt))
        return rng if share and rng.random() < share else None

    if rng := drawn(shares.drills, "drill"):
        case = drilled(case, rng)
    if rng := drawn(shares.asides, "aside"):
        case = with_aside(case, rng)
    if rng := drawn(shares.other_words, "other words"):
        case = in_other_words(case, rng, times=MOST_WORDS)
    row = {"id": f"{split}-{stream}-{task}-{seed}", "task": task, "split": split, **item_of(case)}
    return row | {RENAMED: row["id"]} if drawn(shares.other_names, "other names") else row


CURRICULUM = "curriculum.jsonl"  # a curriculum's log, in the directory of a stage


class CurriculumRows:
    """Rows that a curriculum draws by how a run's groups of answers went.

    Args:
        curriculum: draws; it has the split and the salt.
        make: what a task and a seed become: a row.
    """

    def __init__(self, curriculum: Curriculum, make: Callable[[Task, int], Row]) -> None:
        self._curriculum, self._make = curriculum, make
        self._items: dict[tuple[str, int], Item] = {}  # that wait for how they went

    def __call__(self, index: int) -> Row:
        """Return the row at an index: drawn now, or before the run was cut off."""
        item = self._curriculum.draw(index)
        self._items[item.task, item.seed] = item
        return {**self._make(item.task, item.seed), "task": item.task, "seed": item.seed}

    def tell(self, task: str, seed: int, right: float) -> None:
        """Tell which share of the answers to a row was right."""
        item = self._items.pop((task, seed), None)
        if item is not None:
            self._curriculum.record(item, right=right)


# ---------------------------------------------------------------- rows in bulk
@dataclass(frozen=True, slots=True)
class BulkRun:
    """The settings that decide the bytes of a bulk file, and nothing else."""

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
        """Return the run as JSON, as it stands beside the parts and in the file's metadata; of the salt only a hash."""
        return json.dumps(
            {**asdict(self), "salt_hash": salt_hash(self.salt), "opensoc": VERSION, "generator": GENERATOR_VERSION}
            | {"salt": bool(self.salt)}
        )

    def chunks(self) -> int:
        """Return how many parts there are; all are full but the last."""
        return -(-self.n // self.chunk)

    def indexes(self, chunk: int) -> range:
        """Return the indexes of a part's incidents."""
        first = self.start + chunk * self.chunk
        return range(first, min(first + self.chunk, self.start + self.n))


def make_row(run: BulkRun, index: int) -> Row:
    """Make one incident with its label and prompt, in the columns of the run."""
    scenario = Scenario(generate(run.task, index, split=run.split, salt=run.salt, label=run.label))
    row: Row = {
        "id": f"{run.split}/{run.task}/{index}" + (f"/{run.label}" if run.label else ""),
        "task": run.task,
        "split": run.split,
        "family": scenario.case.family,
    }
    if not {*LABEL_COLUMNS}.isdisjoint(run.columns):
        row |= {name: getattr(scenario.truth, name) for name in LABEL_COLUMNS}
    if "prompt" in run.columns or "observation" in run.columns:
        view = scenario.view()
        if "prompt" in run.columns:
            row["prompt"] = messages(view, run.density)
        if "observation" in run.columns:
            observation = {name: view[name] for name in OBSERVED}
            row["observation"] = json.dumps(observation, separators=(",", ":"))
    return {name: row[name] for name in run.columns}


def _make_table(run: BulkRun, chunk: int) -> pa.Table:
    """Make the rows of a part. Texts of prompts are dictionary-encoded, as most of a prompt stands in many."""
    import pyarrow as pa

    rows = [make_row(run, index) for index in run.indexes(chunk)]
    arrays = {name: [row[name] for row in rows] for name in run.columns}
    if "prompt" in arrays:
        arrays["prompt"] = _prompts(arrays["prompt"])
    return pa.table(arrays, schema=arrow_schema(run, packed=True))


def _prompts(prompts: list[list[dict[str, str]]]) -> pa.Array:
    import pyarrow as pa

    chat = [message for prompt in prompts for message in prompt]
    ends, texts = [0], dict[str, int]()
    for prompt in prompts:
        ends.append(ends[-1] + len(prompt))
    codes = [texts.setdefault(message["content"], len(texts)) for message in chat]
    contents = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(texts), pa.string()))
    roles = pa.array([message["role"] for message in chat], pa.string())
    return pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays([roles, contents], names=["role", "content"]))


def arrow_schema(run: BulkRun, *, packed: bool = False) -> pa.Schema:
    """Return the file's schema; `packed` is that of the parts, whose prompts are dictionary-encoded."""
    import pyarrow as pa

    content = pa.dictionary(pa.int32(), pa.string()) if packed else pa.string()
    names = pa.list_(pa.string())
    types = {
        **dict.fromkeys(COLUMNS, pa.string()),
        **dict.fromkeys(LABEL_COLUMNS[1:], names),
        "prompt": pa.list_(pa.struct([("role", pa.string()), ("content", content)])),
    }
    return pa.schema([(name, types[name]) for name in run.columns], metadata={"opensoc": run.identity()})


# ---------------------------------------------------------------- parts, written by workers
Submit = Callable[[BulkRun, int, Path], "Future[None]"]


def _write_part(run: BulkRun, chunk: int, path: Path) -> None:
    """Write a part aside and rename it: Parquet as a part of a directory, else as fast as it can be read again."""
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    table, unfinished = _make_table(run, chunk), path.with_name(f"_{path.name}.{os.getpid()}")
    if path.suffix == ".parquet":
        pq.write_table(table.cast(arrow_schema(run)), unfinished, row_group_size=run.chunk, **PARQUET)
    else:
        feather.write_feather(table, unfinished, compression="lz4", chunksize=run.chunk)
    unfinished.rename(path)


def parts_in_order(run: BulkRun, folder: Path, suffix: str, submit: Submit, workers: int) -> Iterator[Path]:
    """Yield every part's path in order, as soon as it is there; at most AHEAD parts a worker are under way.

    Args:
        run: the rows.
        folder: where they lie.
        suffix: `.parquet`, or `.arrow` for parts that are read again.
        submit: begins to write one.
        workers: how many write at once.
    """
    waiting: deque[tuple[Path, Future[None] | None]] = deque()
    paths = ((chunk, folder / f"rows-{chunk:07d}{suffix}") for chunk in range(run.chunks()))
    while True:
        for chunk, path in islice(paths, AHEAD * workers - len(waiting)):
            waiting.append((path, None if path.exists() else submit(run, chunk, path)))
        if not waiting:
            return
        path, future = waiting.popleft()
        if future:
            future.result()
        yield path


@contextmanager
def processes(workers: int) -> Iterator[Submit]:
    """Start worker processes on this machine that write parts."""
    with worker_processes(workers) as executor:
        yield lambda run, chunk, path: executor.submit(_write_part, run, chunk, path)


@contextmanager
def cluster(address: str) -> Iterator[tuple[Submit, int]]:
    """Connect to a Ray cluster; yields its `submit` and how many cores it has.

    Args:
        address: as `ray.init` takes it; `local` starts one on this machine.

    Raises:
        ConnectionError: there is no cluster at the address.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    environment = {"working_dir": str(ROOT), "excludes": list(LEFT_HERE)}
    ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    write = ray.remote(_write_part)
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call, unused-ignore]
        yield lambda *part: write.remote(*part).future(), cores
    finally:
        ray.shutdown()


# ---------------------------------------------------------------- the file, the directory
def write_file(run: BulkRun, out: Path, *, workers: int, report: Report = lambda rows: None) -> None:
    """Write the Parquet file of a run, or resume where an earlier call was stopped.

    Args:
        run: the rows.
        out: the file; the parts lie in `<out>.parts` until it is complete.
        workers: processes that make rows.
        report: is told after each part how many rows are in the file.

    Raises:
        BadRequestError: another command left the file or the parts.
    """
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    folder, unfinished = out.with_name(f"{out.name}.parts"), out.with_name(f"{out.name}.unfinished")
    if out.exists():
        _check_same(run, out, _written_by(out))
        shutil.rmtree(folder, ignore_errors=True)
        return report(run.n)
    _open_directory(run, folder, "run.json")
    schema = arrow_schema(run)
    with processes(workers) as submit, pq.ParquetWriter(unfinished, schema, **PARQUET) as writer:
        for chunk, path in enumerate(parts_in_order(run, folder, ".arrow", submit, workers)):
            writer.write_table(feather.read_table(path, memory_map=False).cast(schema))
            report(run.indexes(chunk).stop - run.start)
    unfinished.rename(out)
    shutil.rmtree(folder)
    return None


def _write_directory(run: BulkRun, out: Path, *, address: str, report: Report = lambda rows: None) -> None:
    """Write a directory of Parquet files on a Ray cluster, or resume where an earlier call was stopped.

    Args:
        run: the rows.
        out: a directory on a file system that all nodes share.
        address: of the cluster.
        report: is told after each part how many rows are there.

    Raises:
        BadRequestError: another command left the directory.
        ConnectionError: there is no cluster at the address.
    """
    _open_directory(run, out, "_run.json")  # readers of Parquet pass over names that begin so
    for unfinished in out.glob("_rows-*"):
        unfinished.unlink()
    with cluster(address) as (submit, workers):
        for chunk, _ in enumerate(parts_in_order(run, out.absolute(), ".parquet", submit, workers)):
            report(run.indexes(chunk).stop - run.start)


def _open_directory(run: BulkRun, folder: Path, name: str) -> None:
    """Make a directory of parts with the run written beside them, or check that the one that is there is of this run."""
    record = folder / name
    if record.exists():
        _check_same(run, folder, record.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(run.identity())


def _written_by(out: Path) -> str:
    """Return the run that a file says it is of; empty for a file of another making."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return str((pq.read_schema(out).metadata or {}).get(b"opensoc", b"").decode())
    except pa.ArrowInvalid:
        return ""


def _check_same(run: BulkRun, path: Path, identity: str) -> None:
    if identity != run.identity():
        raise BadRequestError(
            f"{path} was made by another command: expected {run.identity()}, found {identity or 'nothing'}; "
            "give another --out, or remove it"
        )


# ---------------------------------------------------------------- the command
def _print_lines(run: BulkRun) -> None:
    """Print incidents with their context, one JSON object a line."""
    for index in range(run.start, run.start + run.n):
        case = generate(run.task, index, split=run.split, salt=run.salt, label=run.label)
        incident, context = case.incident.model_dump(exclude_none=True), case.world.slice_for(case.lines)
        print(json.dumps({"index": index, "incident": incident, "context": context}))


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    args = _parser().parse_args(argv)
    columns = tuple(name for name in COLUMNS if name in args.columns)
    run = BulkRun(args.task, args.n, args.split, args.start, args.salt, args.label, args.density, columns)
    if args.out is None:
        _print_lines(run)
        return 0
    return _write(run, args.out, args.workers, args.ray)


def _write(run: BulkRun, out: Path, workers: int, address: str | None) -> int:
    """Write a file, or a directory if there is an address; say how it ended, and return the exit code."""
    again = "the same command resumes from here"
    try:
        require("bulk", "pyarrow")
        if address:
            require("ray", "ray")
        with progress(run.n, "incidents", line_s=LINE_S) as bar:
            if address is None:
                write_file(run, out, workers=workers, report=bar.update)
            else:
                _write_directory(run, out, address=address, report=bar.update)
    except KeyboardInterrupt:
        print(f"stopped; {again}", file=sys.stderr)
        return 130
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(f"a worker was killed, perhaps for want of memory: try fewer --workers; {again}", file=sys.stderr)
        return 1
    except OSError as error:
        free = shutil.disk_usage(out.absolute().parent).free / 2**20 if out.absolute().parent.exists() else 0
        print(f"cannot write {out}: {error} ({free:,.0f} MiB are free); {again}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.data",
        description="Generate labelled incidents with prompts into a Parquet file, or print incidents as JSON lines.",
        epilog="python -m generator --pool FILE stores incidents for quick episodes; python -m generator --pool --help tells how.",
    )
    parser.add_argument("--task", choices=TASKS, default=TASKS[0], help="default %(default)s")
    parser.add_argument("--split", choices=SPLITS, default="train", help="default %(default)s")
    parser.add_argument("--n", type=positive, default=1, help="how many incidents (default 1)")
    parser.add_argument("--start", type=natural, default=0, help="index of the first (default 0)")
    parser.add_argument("--salt", default="", help="secret salt of the seeds")
    parser.add_argument("--label", choices=LABELS, help="aim at one decision (default: the five equally often)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the Parquet file; the same command again resumes it")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: all cores)")
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


if __name__ == "__main__":
    sys.exit(main())
