"""Put a defender in front of OpenSOC: python -m eval.run --defender keyword --split holdout --out out/keyword

A defender is a built-in (`--defender list` names them; `embedded` is the small model of models/defender/), a directory with a transformers
model, a PEFT adapter or an exported defender, the URL of an OpenAI-compatible endpoint, or module:function. The directory `--out` gets
run.json (what ran), rollouts.jsonl (one line an item) and, when all is answered, metrics.json. The same command resumes a run that a crash,
a kill, Ctrl-C, a full disk or a dead endpoint ended, and asks nothing twice.

Exit code: 0 all answered and measured; 1 stopped before the end (the same command resumes); 2 a wrong call, other settings in `--out`, a
missing or tampered set; 130 interrupted (Ctrl-C or a termination; the same command resumes).
"""

from __future__ import annotations

import argparse
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.asking import add_asking, check_numbers, keep, options_of
from eval.intervals import MEASURING
from eval.items import FRESH, fresh, frozen, split_names
from eval.items import NAMES as SPLITS
from eval.metric_table import interval_text, names_in, value_text
from eval.metrics import measure
from eval.recorded import measure_recordings, recordings
from eval.rollouts import RolloutStore, open_store, rollout
from players import PLAYERS, Player, Reply, open_player
from rubric import TABLES, TableName
from runs.directory import Run, new_run
from runs.ending import DONE, exit_code, interruptible
from runs.extras import require
from runs.progress import progress
from schema import BadRequestError
from tasks.sets import BENCHMARK, RECORDED, FrozenSet
from telemetry.declaring import load_world
from telemetry.scoring import load_manifest

LIBRARIES = (
    "numpy",
    "onnxruntime",
    "openai",
    "peft",
    "pydantic",
    "scikit-learn",
    "scipy",
    "statsmodels",
    "tenacity",
    "tokenizers",
    "torch",
    "transformers",
)


# ---------------------------------------------------------------- the call
def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.run", description="Evaluate a defender.", epilog=(__doc__ or "").split("\n\n")[-1]
    )
    _add_run(parser)
    add_asking(parser)
    _add_recordings(parser.add_argument_group("the split real"))
    return parser.parse_args(argv)


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    who = f"{', '.join(PLAYERS)}; a directory; a URL; module:function; or `list`"
    add("--defender", required=True, metavar="NAME_OR_PATH_OR_URL", help=who)
    add("--split", action="append", metavar="NAMES", help=f"comma-separated, of {', '.join(SPLITS)} (default: holdout)")
    add("--out", type=Path, metavar="DIR", help="the run's directory; a run that is there is resumed")
    add("--name", default="", help="what to call the defender in tables (default: its own name)")
    add("--fresh", action="store_true", help="forget the run that is in --out and start over")
    add("--limit", type=int, metavar="N", help="only the first N items of each set")
    add(
        "--n",
        type=int,
        default=400,
        metavar="N",
        help="items of val and of val_family, made with --seed (default: 400)",
    )
    drawn = "of what is drawn: random, sampling, the splits val and val_family, bootstraps (default: 0)"
    add("--seed", type=int, default=0, help=drawn)
    shots = "worked examples of sft_train before the question of a model or an endpoint (default: 0)"
    add("--shots", type=int, default=0, metavar="N", help=shots)
    add("--table", choices=list(TABLES), default="standard", help="which rewards (default: standard)")


def _add_recordings(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--manifest", type=Path, metavar="CSV", help="labels of recordings: columns file and malicious, perhaps group")
    folders = "where they are (default: beside the manifest)"
    add("--recordings", type=Path, nargs="+", default=[], metavar="DIR", help=folders)
    world = "the organisation around them (schema.Context); names are then not masked"
    add("--world", type=Path, metavar="JSON", help=world)
    add("--unmasked", action="store_true", help="show host names, user names, user agents and dates as recorded")


# ---------------------------------------------------------------- the sets
def _load_sets(args: argparse.Namespace) -> list[FrozenSet]:
    """Load the sets that --split names."""
    names = split_names(args.split or ["holdout"])
    if (RECORDED in names) != bool(args.manifest):
        raise BadRequestError("Expected --manifest FILE with --split real, and one came without the other; give both.")
    sets = [_load_set(name, args) for name in names]
    for name, times in Counter(items.name for items in sets).items():
        if times > 1:
            raise BadRequestError(
                f"Expected sets of different names, and {name!r} comes twice; rename one of the files."
            )
    return sets


def _load_set(name: str, args: argparse.Namespace) -> FrozenSet:
    if name in FRESH:
        return fresh(name, min(args.n, args.limit or args.n), args.seed)
    if name != RECORDED:
        return frozen(name, args.limit)
    mask = not (args.unmasked or args.world)
    items = recordings(args.manifest, args.recordings, load_world(args.world), mask=mask)
    return items if args.limit is None else replace(items, rows=items.rows[: args.limit])


# ---------------------------------------------------------------- asking
def describe(command: str, args: argparse.Namespace, defender: Player, sets: Sequence[FrozenSet]) -> Run:
    """Return a defender's run over some sets as run.json holds it."""
    return new_run(
        command,
        LIBRARIES,
        defender=defender.settings,
        seed=args.seed,
        density=defender.density or args.density,
        reward_table=args.table,
        sets=[{"name": items.name, "sha256": items.sha256, "items": len(items.rows)} for items in sets],
    )


Item = tuple[str, dict[str, Any]]  # name of its set, row


def ask(store: RolloutStore, defender: Player, sets: Sequence[FrozenSet], table: TableName) -> None:
    """Ask what is not answered yet, and store each batch as it arrives.

    Raises:
        StoppedError: it stopped; what arrived is stored, or the error says otherwise.
        KeyboardInterrupt: it was asked to stop, and what was under way is stored.
    """
    items = [(part.name, row) for part in sets for row in part.rows if (part.name, row["id"]) not in store.done]
    silent = [item for item in items if not item[1]["observation"]["log_window"]]
    store.append([rollout(name, row, Reply(None, "no usable event: nothing was asked"), table) for name, row in silent])
    stop = threading.Event()
    with interruptible(stop, "Waiting for what is under way"):
        _ask_items(store, defender, [item for item in items if item[1]["observation"]["log_window"]], table, stop)
    if stop.is_set():
        raise KeyboardInterrupt


def _ask_items(
    store: RolloutStore, defender: Player, items: Sequence[Item], table: TableName, stop: threading.Event
) -> None:
    rows = [{name: row[name] for name in ("id", "task", "observation")} for _, row in items]
    with progress(len(store.done) + len(items), "items", done=len(store.done)) as bar:
        keep(
            defender.stream(rows, stop),
            lambda batch: store.append([rollout(*items[index], reply, table) for index, reply in batch]),
            stop,
            bar,
            lambda: f"{store.spent:.4f} USD",
        )


# ---------------------------------------------------------------- measuring
def _measure(store: RolloutStore, sets: Sequence[FrozenSet], seed: int) -> dict[str, Any]:
    """Measure each set, the benchmark if all of it was asked, and the whole run's cost and faults."""
    lines = _lines_by_set(store, sets)
    metrics = {items.name: _measure_set(items, lines[items.name], seed) for items in sets}
    if all(name in lines for name in BENCHMARK):
        metrics["benchmark"] = measure([line for name in BENCHMARK for line in lines[name]], seed=seed)
    return {"metrics": metrics, "totals": _totals([line for part in lines.values() for line in part])}


def _lines_by_set(store: RolloutStore, sets: Sequence[FrozenSet]) -> dict[str, list[dict[str, Any]]]:
    """Read the rollouts without their texts, in the order of their ids: no figure depends on who answered first."""
    lines: dict[str, list[dict[str, Any]]] = {items.name: [] for items in sets}
    for line in store.log.read():
        lines[line["set"]].append({name: value for name, value in line.items() if name not in ("prompt", "reply")})
    return {name: sorted(part, key=lambda line: str(line["id"])) for name, part in lines.items()}


def _measure_set(items: FrozenSet, lines: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    if items.name == RECORDED:
        return measure_recordings(items, lines, load_manifest(items.path), seed=seed)
    return measure(lines, seed=seed)


def _totals(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Count items, malformed answers by reason, tokens, cost in USD and the mean time of an item."""
    used = [line["usage"] for line in lines if line["usage"]]
    costs = [usage["cost"] for usage in used if usage["cost"] is not None]
    faults = Counter(line["fault"][:120] for line in lines if line["fault"])
    return {
        "items": len(lines),
        "faults": dict(faults.most_common(20)),
        "prompt_tokens": sum(usage["prompt_tokens"] for usage in used) if used else None,
        "completion_tokens": sum(usage["completion_tokens"] for usage in used) if used else None,
        "cost": round(sum(costs), 6) if costs else None,
        "latency_s": round(sum(line["latency_s"] for line in lines) / len(lines), 6) if lines else None,
    }


def _print(defender: str, results: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=120)
    for name, metrics in results.items():
        table = Table("metric", "value", "95 % interval", "items", title=f"{defender} on {name}")
        printed = names_in("run") if name != RECORDED else metrics
        for key in printed:
            metric = metrics.get(key)
            if isinstance(metric, Mapping) and metric.keys() >= {"low", "high"} and metric.get("value") is not None:
                table.add_row(key, value_text(metric), interval_text(metric, "-"), str(metric.get("n", "")))
        console.print(table)
    console.print(f"All of it: {out / 'metrics.json'}", highlight=False, soft_wrap=True)


# ---------------------------------------------------------------- all together
def evaluate(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Begin a run, or resume the one that is there, and measure it.

    Raises:
        StoppedError: it stopped before the end.
        OpenSOCError: a wrong call.
    """
    check_numbers(args)
    require("eval", *MEASURING)
    sets = _load_sets(args)
    defender = open_player(args.defender, options_of(args))
    defender.name = args.name or defender.name
    run = describe(f"python -m eval.run {shlex.join(argv)}", args, defender, sets)
    with open_store(args.out, run, fresh=args.fresh) as store:
        if store.done:
            print(f"{len(store.done)} items are answered already; asking the rest.", file=sys.stderr)
        defender.spent = store.spent
        ask(store, defender, sets, args.table)
        results = _measure(store, sets, args.seed)
        store.finish(results)
    _print(defender.name, results["metrics"], args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _arguments(argv)
    if args.defender == "list":
        print("\n".join(f"{name:24}{entry.summary}" for name, entry in PLAYERS.items()))
        return DONE
    return exit_code(lambda: evaluate(args, argv), "what was answered is stored")


if __name__ == "__main__":
    sys.exit(main())
