"""Measure bulk generation beside a peer for whoever changes its speed, in one run: python scripts/bench_generator.py [--quick]

1. One core makes rows: microseconds of CPU time of each step, in turn with a calibration loop, since a shared machine's speed drifts.
2. The whole command writes a Parquet file: incidents a second, CPU time of an incident with all its processes, the parent's peak memory for N and for
   4 N rows. A peer writes rows of the same size that it need not make up (json and pyarrow alone).

It reads the times of finished child processes, so it runs on Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TASK = "stage3_mixed"
BATCH = 200  # rows of a step at a time


def calibration_us() -> float:
    """Measure the CPU time of a loop in C that nothing in this project can make faster."""
    start = time.process_time()
    for _ in range(200):
        sum(range(1000))
    return (time.process_time() - start) / 200 * 1e6


def steps(rounds: int) -> dict[str, float]:
    """Measure the median CPU time of each step for a row in microseconds, and of the calibration loop."""
    from generator import generate
    from players.prompt import messages
    from scenario import Scenario
    from verifier import compute_ground_truth

    spent: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, make: Callable[[Any], Any], inputs: Any) -> list[Any]:
        start = time.process_time()
        made = [make(one) for one in inputs]
        spent[name].append((time.process_time() - start) / BATCH * 1e6)
        return made

    for number in range(rounds):
        spent["calibration loop"].append(calibration_us())
        cases = timed("generate", lambda index: generate(TASK, index), range(number * BATCH, (number + 1) * BATCH))
        timed("label", lambda case: compute_ground_truth(case.incident, case.world), cases)
        seen = timed("observe", lambda case: Scenario(case).view(), cases)
        timed("prompt", messages, seen)
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


PEER = """
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
sys.path.insert(0, {root!r})
from train.data import PARQUET, BulkRun, arrow_schema, make_row
run = BulkRun({task!r}, 1)
text, n = json.dumps(make_row(run, 0)), {n}
with pq.ParquetWriter({out!r}, arrow_schema(run), **PARQUET) as writer:
    for start in range(0, n, run.chunk):
        rows = [json.loads(text) for _ in range(min(run.chunk, n - start))]
        writer.write_table(pa.Table.from_pylist(rows, arrow_schema(run)))
"""


def whole(command: list[str], checkout: Path = ROOT) -> tuple[float, float, float]:
    """Run a command in a checkout; measure wall seconds, CPU seconds of all its processes, and the largest process's peak memory in MiB."""
    script = (
        "import resource, subprocess, sys, json, time; start = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=checkout, capture_output=True, text=True, check=True
    )
    wall, cpu, peak = json.loads(done.stdout)
    return wall, cpu, peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure bulk generation beside a peer.")
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON at the end")
    args = parser.parse_args()
    rows, rounds = (4_000, 10) if args.quick else (40_000, 40)
    sys.path.insert(0, str(ROOT))
    figures: dict[str, float] = {}

    print(f"One core, CPU us for a row of {TASK}")
    for name, value in steps(rounds).items():
        figures[f"{name}_us"] = value
        print(f"  {name:<20} {value:>8.1f}")

    with tempfile.TemporaryDirectory() as folder:
        for name, n in (("", rows), ("_of_4n", 4 * rows)):
            command = [sys.executable, "-m", "train.data", "--task", TASK, "--n", str(n)]
            wall, cpu, peak = whole([*command, "--out", f"{folder}/rows{n}.parquet"])
            figures |= {f"rows_per_s{name}": n / wall, f"cpu_us{name}": cpu / n * 1e6, f"peak_mib{name}": peak}
            print(
                f"Whole command, {n:,} rows, {os.cpu_count()} cores: {n / wall:,.0f} incidents/s, {cpu / n * 1e6:.0f} us of CPU each, "
                f"peak {peak:.0f} MiB a process"
            )
        peer = PEER.format(root=str(ROOT), task=TASK, n=rows, out=f"{folder}/peer.parquet")
        wall, cpu, _ = whole([sys.executable, "-c", peer])
        figures |= {"peer_us": cpu / rows * 1e6, "ratio": figures["cpu_us"] / (cpu / rows * 1e6)}
        print(
            f"Peer, one row {rows:,} times through json and pyarrow: {figures['peer_us']:.0f} us of CPU each; ratio {figures['ratio']:.2f}"
        )
    if args.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
