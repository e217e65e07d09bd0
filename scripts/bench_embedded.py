"""Time the embedded defender on one core, for whoever exports one: python scripts/bench_embedded.py [--model DIR] [--items 200]

The defender decides one item of the frozen hold-out after another, each from observation to answer, with one thread on one core. The command prints
the model's loading time, its memory, and the median, 99th percentile and longest time of a decision beside their limits: 400 ms at the median, a second at the 99th percentile. It gives each by the
clock and by the processor's own time, which other load on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEDIAN_MS, P99_MS = 400, 1000  # the limits


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the embedded defender on one core.")
    parser.add_argument("--model", type=Path, metavar="DIR", help="an exported defender (default: models/defender)")
    parser.add_argument("--items", type=int, default=200, help="how many decisions (default: 200)")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    from players.embedded import MODEL, Embedded
    from schema import OpenSOCError
    from tasks.sets import load_set

    rows = load_set("holdout").rows[: args.items]
    started = time.perf_counter()
    try:
        model = Embedded(args.model or MODEL)
    except OpenSOCError as error:
        sys.exit(str(error))
    loaded_s = time.perf_counter() - started
    clock, processor, decisions = [], [], []
    for row in rows:
        started, used = time.perf_counter(), time.process_time()
        decisions.append(model.generate(row["observation"]))
        clock.append(1000 * (time.perf_counter() - started))
        processor.append(1000 * (time.process_time() - used))
    read = [decision.prompt_tokens for decision in decisions]
    said = statistics.mean(len(decision.tokens) for decision in decisions)
    print(f"{model.about.precision}, {model.about.parameters:,} parameters, loaded in {loaded_s:.2f} s")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    print(f"prompts of {min(read)} to {max(read)} tokens, replies of {said:.1f} on average")
    for name, took in (("clock", clock), ("processor", processor)):
        times = sorted(took)
        print(
            f"{name:<9} ms a decision: median {times[len(times) // 2]:.0f} (limit {MEDIAN_MS}), "
            f"99 % within {times[len(times) * 99 // 100]:.0f} (limit {P99_MS}), longest {times[-1]:.0f}"
        )


if __name__ == "__main__":
    main()
