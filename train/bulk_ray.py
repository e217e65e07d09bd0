"""The same work on a Ray cluster: Ray Data makes the rows on its nodes and writes the Parquet.

    python -m generator --task stage3_mixed --n 100000000 --out /shared/incidents --ray auto

--out is a directory that every node sees. It fills by shards of SHARD chunks, each a directory of Parquet files that appears when it
is complete, so the same command after a stop goes on with the shards that lack. The checkout travels to the nodes; what it
needs (requirements.txt, pyarrow) has to be installed there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.data import DataContext, SaveMode
from ray.data.datasource import FilenameProvider

from train.bulk import PARQUET, Run, arrow_schema, check_same, make_table

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = 100  # chunks
ROOT = Path(__file__).resolve().parent.parent
_LEFT_HERE = [".git", "data", "docs", "tests", "validation", "shared", "*.parquet", "*.parquet.parts"]


class _ByTask(FilenameProvider):
    """Names that are the same at each run; Ray's own hold a random number."""

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        return f"rows-{task_index:04d}.parquet"


def write_directory(run: Run, out: Path, *, address: str, seen: Callable[[int], None] = lambda rows: None) -> None:
    """Make a run's rows on a cluster, or go on where an earlier call was stopped.

    Args:
        out: a directory on a file system that all nodes share.
        address: of the cluster, as `ray.init` takes it; `local` starts one on this machine.
        seen: is told after each shard how many rows are there.

    Raises:
        BadRequestError: another command left the directory.
        ConnectionError: there is no cluster at the address.
    """
    said = out / "_run.json"  # readers of Parquet pass over names that begin so
    if said.exists():
        check_same(run, str(out), said.read_text())
    out.mkdir(parents=True, exist_ok=True)
    said.write_text(run.identity())
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address=address,
            runtime_env={"working_dir": str(ROOT), "excludes": _LEFT_HERE},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        for shard in range(-(-run.chunks() // SHARD)):
            chunks = range(shard * SHARD, min((shard + 1) * SHARD, run.chunks()))
            _write_shard(run, chunks, out, f"shard-{shard:06d}")
            seen(run.indexes(chunks[-1]).stop - run.start)
    finally:
        if started:
            ray.shutdown()


def _write_shard(run: Run, chunks: range, out: Path, name: str) -> None:
    if (out / name).exists():
        return
    unfinished = out / f"_{name}"
    rows = ray.data.range(len(chunks), override_num_blocks=len(chunks))
    rows = rows.map_batches(partial(_make, run, chunks.start), batch_size=None, batch_format="pyarrow")
    rows.write_parquet(
        str(unfinished), filename_provider=_ByTask(), mode=SaveMode.OVERWRITE, row_group_size=run.chunk, **PARQUET
    )
    unfinished.rename(out / name)


def _make(run: Run, first: int, batch: pa.Table) -> pa.Table:
    """The rows of the one chunk that a batch names."""
    return make_table(run, first + batch["id"][0].as_py()).cast(arrow_schema(run))
