"""Measure OpenSOC beside its peers, and beside an older checkout, for whoever changes its speed: python scripts/bench_env.py [--quick] [--against CHECKOUT]

1. In process, one core: whole episodes (generate, render, judge, reward) of each task, fresh, in groups of 8 answers to one seed, and from a pool;
   the peers are reasoning-gym's items (make one, score one answer; the median of its generators) and the SDK's minimal echo environment.
2. In bulk: rows of stage 3 with labels and prompts in a Parquet file, by two processes.
3. Served by one worker, 8 sessions: the server's CPU time for an episode of stages 1 and 3 over WebSocket and over HTTP, fresh and from a pool, and
   over HTTP with 4,096 episodes held; the peer is the SDK's minimal synchronous echo environment. The servers run side by side and are loaded in turn.
4. A client holds 1,000 WebSocket sessions at once, and servers start: left out with --against.

With `--against CHECKOUT` every figure of the first three parts is measured there too, and each bound of the project's speed stands in a line with its
ratio. All that is compared is measured in turn, round by round; the medians count, and the medians of the ratios round by round. CPU time is the
process's own, so other load disturbs it little; read the ratios. The command runs on Linux alone, and talks to loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from bench_generator import whole
from bench_servers import (
    ECHO_SERVER,
    HELD,
    PLANS,
    ROOT,
    SESSIONS,
    Plan,
    by_http,
    by_socket,
    cpu_per_episode_us,
    cpu_s,
    http_episodes_held,
    load,
    rss_mb,
    server,
    sockets_held,
)

TASKS = ("stage1_basic", "stage2_multi", "stage3_mixed", "stage4_adversarial")
GROUP = 8
SEEDS = (10_000, 400)  # the first, and how many
WORKERS = 2
BOUNDS = (  # of this working tree's figure over the other's: what must hold on any machine
    ("fresh, stage 3, episodes/s", "stage3_mixed fresh", "stage3_mixed fresh", 1.05),
    ("groups of 8, stage 3, episodes/s", "stage3_mixed group", "stage3_mixed group", 1.4),
    ("from the pool here, fresh there, stage 3, episodes/s", "stage3_mixed pool", "stage3_mixed fresh", 5.0),
    ("bulk, two processes, rows/s", "bulk", "bulk", 1.15),
)

# The first pass over the incidents fills what is filled once in a process's life; the least of the others counts (the machine is shared).
EPISODES = """
import json, sys, time
from pathlib import Path
from env import OpenSOCEnv

task, seconds, group, pool, action = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], json.loads(sys.argv[5])
options = {}
if pool:
    from pool import Pool
    options["pool"] = Pool(Path(pool))
env, first, number = OpenSOCEnv(**options), int(sys.argv[6]), int(sys.argv[7]) // group
seeds, passes, size, events = range(first, first + number), [], 0, 0
for seed in seeds:
    seen = env.reset(seed=seed, task=task)
    size += len(json.dumps([seen.log_window, seen.context, seen.alert], separators=(",", ":")))
    events += len(seen.log_window)
end = time.process_time() + seconds
while not passes or time.process_time() < end:
    start = time.process_time()
    for seed in seeds:
        for _ in range(group):
            env.reset(seed=seed, task=task)
            env.step(action)
    passes.append(time.process_time() - start)
print(json.dumps({"us": min(passes) * 1e6 / number / group, "kb": size / 1024 / number, "events": events / number}))
"""

ECHO = (
    ECHO_SERVER.partition("if __name__")[0]
    + """
import json, time
env, action, passes = Echo(), EchoAction(message="hello"), []
while sum(passes) < float(sys.argv[1]):
    start = time.process_time()
    for _ in range(2000):
        env.reset()
        env.step(action)
    passes.append(time.process_time() - start)
print(json.dumps({"us": min(passes) * 1e6 / 2000}))
"""
)

# A generator that does not start with its defaults is left out; some print while they work.
ITEMS = """
import contextlib, json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
import reasoning_gym
from reasoning_gym.factory import DATASETS

share, costs, sizes = float(sys.argv[1]) / len(DATASETS), [], []

def play(name):
    items = reasoning_gym.create_dataset(name, size=50, seed=7)
    items.score_answer(answer="5", entry=items[0])
    count, size, start = 0, 0, time.process_time()
    while count < 49 and (not count or time.process_time() - start < share):
        count += 1
        item = items[count]
        items.score_answer(answer="5", entry=item)
        size += len(item["question"].encode())
    costs.append((time.process_time() - start) * 1e6 / count)
    sizes.append(size / 1024 / count)

with contextlib.redirect_stdout(sys.stderr):
    for name in sorted(DATASETS):
        with contextlib.suppress(Exception):
            play(name)
per_kb = statistics.median([us / kb for us, kb in zip(costs, sizes)])
print(json.dumps({"us": statistics.median(costs), "us_per_kb": per_kb, "generators": len(costs)}))
"""

Figures = dict[str, float]
Measure = Callable[[], Figures]  # `us`, or `per_s`, and what else it tells


class Side(NamedTuple):
    """A measured figure: of this working tree (`here`), of the other (`there`), or of a peer by its name."""

    figure: str
    whose: str


# ---------------------------------------------------------------- in process
def printed(code: str, *arguments: object, checkout: Path = ROOT) -> Figures:
    """Run code in a process of its own, and read the JSON object that it prints last."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"a measurement in {checkout} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def episodes(task: str, seconds: float, checkout: Path = ROOT, *, group: int = 1, pool: Path | None = None) -> Figures:
    """Measure the CPU time of a whole episode, and how large its incident is."""
    figures = printed(
        EPISODES, task, seconds, group, pool or "", json.dumps(PLANS["opensoc"][1]), *SEEDS, checkout=checkout
    )
    return figures | {"us_per_kb": figures["us"] / figures["kb"], "us_per_event": figures["us"] / figures["events"]}


def make_pool(folder: Path) -> Path:
    """Store the incidents that are played."""
    path, (start, n) = folder / "bench.pool", SEEDS
    command = [sys.executable, "-m", "generator", "--pool", str(path), "--start", str(start), "--n", str(n)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path


def in_process(seconds: float, other: Path | None, pool: Path) -> dict[Side, Measure]:
    """List what is measured in process."""
    measures: dict[Side, Measure] = {}
    for task in TASKS:
        for name, group in (("fresh", 1), ("group", GROUP)):
            for whose, checkout in sides(other).items():
                measures[Side(f"{task} {name}", whose)] = partial(episodes, task, seconds, checkout, group=group)
        measures[Side(f"{task} pool", "here")] = partial(episodes, task, seconds, pool=pool)
    measures[Side("an item", "SDK echo, no payload")] = partial(printed, ECHO, seconds / 2)
    if find_spec("reasoning_gym"):
        measures[Side("an item", "reasoning-gym")] = partial(printed, ITEMS, 5 * seconds)
    return measures


def sides(other: Path | None) -> dict[str, Path]:
    """Name the checkouts that are measured."""
    return {"here": ROOT} | ({"there": other} if other else {})


# ---------------------------------------------------------------- in bulk
def bulk(rows: int, folder: Path, checkout: Path) -> Figures:
    """Measure how fast the whole command writes rows of stage 3 into a Parquet file."""
    out = folder / "bulk.parquet"
    flags = ["--task", "stage3_mixed", "--n", str(rows), "--workers", str(WORKERS), "--out", str(out)]
    wall, cpu, peak = whole([sys.executable, "-m", "generator", *flags], checkout)
    size = out.stat().st_size
    out.unlink()
    return {"per_s": rows / wall, "mb_per_s": size / 1e6 / wall, "us": cpu * 1e6 / rows, "peak_mib": peak}


# ---------------------------------------------------------------- served
def served(url: str, pid: int, plan: Plan, road: Callable[..., Any], seconds: float) -> Figures:
    """Measure the CPU time for an episode of a server that has played some."""
    before = cpu_s(pid)
    count = asyncio.run(load(url, plan, road, seconds))
    return {"us": (cpu_s(pid) - before) * 1e6 / count}


def served_full(seconds: float, checkout: Path = ROOT) -> Figures:
    """Measure the CPU time for an HTTP episode on a server that holds nearly as many as it may, and play these to their end."""

    async def measured(url: str, pid: int) -> Figures:
        async with http_episodes_held(url, PLANS["opensoc"], HELD - SESSIONS) as answer:
            memory = rss_mb(pid)
            us = await cpu_per_episode_us(url, pid, PLANS["opensoc"], by_http, seconds)
            return {"us": us, "rss_mib": memory, "answered": await answer()}

    with server("opensoc", checkout) as (url, pid, _):
        return asyncio.run(measured(url, pid))


ROADS = {"WebSocket": by_socket, "HTTP": by_http}
SERVED = TASKS[::2]  # the tasks that are played on servers


def over_the_wire(seconds: float, other: Path | None, pool: Path, stack: ExitStack) -> dict[Side, Measure]:
    """Start the servers, and list what is measured on them."""
    measures: dict[Side, Measure] = {}
    start, number = SEEDS
    seeds = {"from a pool": range(start, start + number)}
    made = {"SDK echo": server("echo"), "from a pool": server("opensoc", environ={"OPENSOC_POOL": str(pool)})}
    made |= {whose: server("opensoc", checkout) for whose, checkout in sides(other).items()}
    for whose, each in made.items():
        url, pid, _ = stack.enter_context(each)
        for (name, road), task in product(ROADS.items(), SERVED):
            plan = PLANS["echo"]
            if whose != "SDK echo":
                plan = PLANS["opensoc"]._replace(reset={"task": task}, seeds=seeds.get(whose, range(0)))
            asyncio.run(load(url, plan, road, 1.0))  # fills what is filled once
            measures[Side(f"{name}, {task}", whose)] = partial(served, url, pid, plan, road, seconds)
    for whose, checkout in sides(other).items():
        measures[Side(f"HTTP, {HELD:,} held", whose)] = partial(served_full, seconds, checkout)
    return measures


# ---------------------------------------------------------------- rounds and ratios
class Rounds:
    """What was measured, round by round."""

    def __init__(self) -> None:
        self.figures: dict[Side, list[Figures]] = defaultdict(list)

    def measure(self, measures: Mapping[Side, Measure], rounds: int) -> None:
        """Measure all in turn, so many times."""
        for _ in range(rounds):
            for side, measure in measures.items():
                self.figures[side].append(measure())

    def median(self, side: Side, name: str = "us") -> float:
        """Return the median of a figure."""
        return statistics.median(figures[name] for figures in self.figures[side])

    def ratio(self, here: str, there: str, *, unit: str = "us", whose: str = "there", ours: str = "here") -> float:
        """Return how many times as fast this working tree is: the median of the ratios round by round."""
        pairs = zip(self.figures[Side(here, ours)], self.figures[Side(there, whose)], strict=True)
        ratios = (theirs[unit] / ours[unit] for ours, theirs in pairs)
        return statistics.median(1 / ratio if unit == "per_s" else ratio for ratio in ratios)


# ---------------------------------------------------------------- the report
def report_in_process(rounds: Rounds, other: Path | None) -> None:
    """Print the episodes a second of each task, and the peers' items."""
    print(
        "In process, one core            episodes/s   us     us/KB  us/event"
        + ("   there  times as fast" if other else "")
    )
    for task in TASKS:
        for name in ("fresh", "group", "pool"):
            side = Side(f"{task} {name}", "here")
            us, kb, event = (rounds.median(side, part) for part in ("us", "us_per_kb", "us_per_event"))
            label = {"fresh": task, "group": f"  groups of {GROUP}", "pool": "  from the pool"}[name]
            row = f"  {label:<28}{1e6 / us:>10,.0f}{us:>7.0f}{kb:>9.1f}{event:>9.1f}"
            if other:
                theirs = f"{task} fresh" if name == "pool" else side.figure
                row += f"{1e6 / rounds.median(Side(theirs, 'there')):>9,.0f}{rounds.ratio(side.figure, theirs):>9.2f}"
            print(row)
    us = rounds.median(Side("an item", "SDK echo, no payload"))
    print(f"  {'SDK echo, no payload':<28}{1e6 / us:>10,.0f}{us:>7.0f}")
    peer = Side("an item", "reasoning-gym")
    if peer in rounds.figures:
        us, kb, number = (rounds.median(peer, part) for part in ("us", "us_per_kb", "generators"))
        print(f"  {f'reasoning-gym, median of {number:.0f}':<28}{1e6 / us:>10,.0f}{us:>7.0f}{kb:>9.1f}")
    else:
        print("  reasoning-gym: not installed (pip install reasoning-gym)")


def report_bulk(rounds: Rounds, other: Path | None, rows: int) -> None:
    """Print the rows a second of the whole command."""
    for whose in sides(other):
        side = Side("bulk", whose)
        per_s, mb, us, peak = (rounds.median(side, part) for part in ("per_s", "mb_per_s", "us", "peak_mib"))
        print(
            f"In bulk, {rows:,} rows of stage 3, {WORKERS} processes, {whose}: {per_s:,.0f} rows/s, {mb:.1f} MB/s of Parquet, {us:.0f} us of CPU each, "
            f"peak {peak:.0f} MiB a process"
        )
    if other:
        print(
            f"  {rounds.ratio('bulk', 'bulk', unit='per_s'):.2f} times as fast, {rounds.ratio('bulk', 'bulk'):.2f} by CPU time"
        )


def report_served(rounds: Rounds, other: Path | None) -> None:
    """Print the server's CPU time for an episode on each road."""
    print(f"Served, {SESSIONS} sessions, one worker: server CPU for an episode, us")
    full = f"HTTP, {HELD:,} held"
    for figure in (*(f"{name}, {task}" for name, task in product(ROADS, SERVED)), full):
        here = Side(figure, "here")
        row = f"  {figure:<24}{rounds.median(here):>7.0f}"
        if other:
            row += (
                f"; there {rounds.median(Side(figure, 'there')):.0f}, {rounds.ratio(figure, figure):.2f} times as fast"
            )
        if figure == full:
            memory, answered = rounds.median(here, "rss_mib"), rounds.median(here, "answered")
            row += f"; {memory:.0f} MiB, {answered:,.0f} of {HELD - SESSIONS:,} answered at the end"
        else:
            echo = rounds.median(Side(figure, "SDK echo"))
            stored = rounds.median(Side(figure, "from a pool"))
            fresh_ratio = 1 / rounds.ratio(figure, figure, whose="SDK echo")
            stored_ratio = 1 / rounds.ratio(figure, figure, whose="SDK echo", ours="from a pool")
            row += (
                f", from a pool {stored:.0f}; SDK sync echo {echo:.0f}, ratios {fresh_ratio:.2f} and {stored_ratio:.2f}"
            )
        print(row)
    if not find_spec("echo_env"):
        print(
            "  The SDK's own echo environment (echo_env): not installed; the echo here stands on the SDK's base classes"
        )


def report_bounds(rounds: Rounds) -> None:
    """Print each bound with what was measured."""
    print("Bounds, as ratios to the other checkout")
    for words, here, there, bound in BOUNDS:
        ratio = rounds.ratio(here, there, unit="per_s" if here == "bulk" else "us")
        print(f"  {words:<54}{ratio:>6.2f}  bound {bound:.2f}: {'met' if ratio >= bound else 'not met'}")


def report_rest(rounds: int) -> Figures:
    """Measure and print how many sessions are held, and how long a start takes."""
    with server("opensoc") as (url, pid, _):
        empty = rss_mb(pid)
        answered, memory = asyncio.run(sockets_held(url, pid, PLANS["opensoc"], 1000))
    print(f"1,000 WebSocket sessions held: {answered} answered, {memory:.0f} MiB (idle {empty:.0f} MiB)")
    starts: dict[str, list[float]] = {"opensoc": [], "echo": []}
    for _ in range(rounds):
        for kind, times in starts.items():
            with server(kind) as (_, _, took):
                times.append(took)
    ours, echo = (statistics.median(times) for times in starts.values())
    ratio = statistics.median(mine / theirs for mine, theirs in zip(*starts.values(), strict=True))
    print(f"Start to the first 200 of /health: OpenSOC {ours:.2f} s, SDK {echo:.2f} s, ratio {ratio:.2f}")
    return {"held": answered, "held_rss_mib": memory, "idle_rss_mib": empty, "start_s": ours, "start_echo_s": echo}


def main() -> None:
    """Measure and print, one block a question."""
    parser = argparse.ArgumentParser(description="Measure OpenSOC beside its peers, and beside an older checkout.")
    parser.add_argument("--quick", action="store_true", help="a second for each figure, in two rounds")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="measure another working tree too")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON at the end")
    args = parser.parse_args()
    if args.against and not (args.against / "env.py").is_file():
        parser.error(f"--against expects a checkout of this project; {args.against} has no env.py")
    seconds, rounds, rows = (1.0, 2, 4_000) if args.quick else (3.0, 5, 20_000)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    taken = Rounds()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        pool = make_pool(folder)
        taken.measure(in_process(seconds, args.against, pool), rounds)
        report_in_process(taken, args.against)
        checkouts = sides(args.against).items()
        taken.measure(
            {Side("bulk", whose): partial(bulk, rows, folder, checkout) for whose, checkout in checkouts}, rounds
        )
        report_bulk(taken, args.against, rows)
        taken.measure(over_the_wire(seconds, args.against, pool, stack), rounds)
    report_served(taken, args.against)
    if args.against:
        report_bounds(taken)
    rest = {} if args.against else report_rest(rounds)
    if args.json:
        medians = {
            f"{side.figure}, {side.whose}, {part}": taken.median(side, part)
            for side in taken.figures
            for part in taken.figures[side][0]
        }
        print(json.dumps({name: round(value, 3) for name, value in (medians | rest).items()}))


if __name__ == "__main__":
    main()
