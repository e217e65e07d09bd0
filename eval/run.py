"""Put a defender in front of OpenSOC: python -m eval.run --defender keyword --split holdout --out out/keyword

A defender is a built-in (`--defender list` names them; `embedded` is the small model of models/defender/), a directory with a transformers
model, a PEFT adapter or an exported defender, the URL of an OpenAI-compatible endpoint, or module:function. The directory `--out` gets run.json (what ran), rollouts.jsonl (one line an item) and, when all
is answered, metrics.json. A run that a crash, a kill, Ctrl-C, a full disk or a dead endpoint ended goes on with the same command, without
asking again for what is answered.

Exit code: 0 all answered and measured; 1 stopped before the end (the same command goes on); 2 a wrong call, other settings in `--out`, a
missing or tampered set; 130 interrupted (Ctrl-C or a termination; the same command goes on).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.intervals import MEASURING
from eval.items import FRESH, fresh, frozen, split_names
from eval.items import NAMES as SPLITS
from eval.metric_table import interval_text, names_in, value_text
from eval.rollouts import RolloutStore, open_store, rollout
from eval.runs import RECORDED
from players import PLAYERS, Options, Player, Reply, open_player
from rubric import TABLES
from runs.directory import Run, new_run
from runs.ending import DONE, exit_code, interruptible
from runs.extras import require
from runs.files import DiskFullError
from runs.progress import progress
from schema import BadRequestError
from tasks.sets import BENCHMARK

if TYPE_CHECKING:
    from tasks.sets import FrozenSet

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
    add = parser.add_argument
    add(
        "--defender",
        required=True,
        metavar="NAME_OR_PATH_OR_URL",
        help=f"{', '.join(PLAYERS)}; a directory; a URL; module:function; or `list`",
    )
    add("--split", action="append", metavar="NAMES", help=f"comma-separated, of {', '.join(SPLITS)} (default: holdout)")
    add("--out", type=Path, metavar="DIR", help="the run's directory; a run that is there goes on")
    add("--name", default="", help="what to call the defender in tables (default: its own name)")
    add("--fresh", action="store_true", help="forget the run that is in --out and start over")
    add("--limit", type=int, metavar="N", help="only the first N items of each set")
    add("--n", type=int, default=400, metavar="N", help="items of the split val, made with --seed (default: 400)")
    add(
        "--seed", type=int, default=0, help="of what is drawn: random, sampling, the split val, bootstraps (default: 0)"
    )
    add("--table", choices=list(TABLES), default="standard", help="which rewards (default: standard)")
    add(
        "--density",
        choices=("full", "compact"),
        default="full",
        help="of a model's prompt: with the playbook, or short; `embedded` has its own (default: full)",
    )
    add("--max-tokens", type=int, default=512, help="longest reply of a model, in tokens (default: 512)")
    add("--temperature", type=float, default=0.0, help="0 is greedy (default: 0)")

    local = parser.add_argument_group("a model on this machine")
    local.add_argument("--batch-size", type=int, default=16, help="prompts that are generated at once (default: 16)")
    local.add_argument("--device", default="auto", help="cpu, cuda, mps, cuda:1 ... (default: the best that is there)")

    remote = parser.add_argument_group("an endpoint (and, for --concurrency, an async function)")
    add = remote.add_argument
    add("--model", default="", help="the model's name there; may be left out where only one is served")
    add(
        "--key-env",
        default="",
        metavar="VARIABLE",
        help="the environment variable that holds the key; without it none is sent",
    )
    add("--concurrency", type=int, default=64, help="requests in flight (default: 64)")
    add(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds for one request, its whole reply included (default: 120)",
    )
    add("--attempts", type=int, default=6, help="for one item, before it stays open (default: 6)")
    add(
        "--backoff",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds before the second attempt; doubles, with jitter (default: 1)",
    )
    add("--rpm", type=float, metavar="N", help="most requests a minute, retries counted")
    add("--price-in", type=float, metavar="USD", help="per million prompt tokens")
    add("--price-out", type=float, metavar="USD", help="per million reply tokens")
    add("--max-cost", type=float, metavar="USD", help="stop before the run costs more, its earlier parts counted")
    add(
        "--request",
        type=json.loads,
        default={},
        metavar="JSON",
        help='more fields of a request; null removes one: {"max_tokens": null}',
    )

    real = parser.add_argument_group("the split real")
    real.add_argument(
        "--manifest", type=Path, metavar="CSV", help="labels of recordings: columns file and malicious, perhaps group"
    )
    real.add_argument(
        "--recordings",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="where they are (default: beside the manifest)",
    )
    real.add_argument(
        "--world",
        type=Path,
        metavar="JSON",
        help="the organisation around them (schema.Context); names are then not masked",
    )
    real.add_argument(
        "--unmasked", action="store_true", help="show host names, user names, user agents and dates as recorded"
    )
    return parser.parse_args(argv)


def _checked(args: argparse.Namespace) -> None:
    """Figures within their ranges, and what belongs together is there."""
    for name in ("n", "limit", "max_tokens", "batch_size", "concurrency", "attempts", "timeout", "rpm", "max_cost"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise BadRequestError(f"Expected a number above 0 as --{name.replace('_', '-')}, and got {value}.")
    for name in ("seed", "temperature", "backoff", "price_in", "price_out"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < float("inf"):
            raise BadRequestError(f"Expected 0 or more as --{name.replace('_', '-')}, and got {value}.")
    if not isinstance(args.request, dict) or {"messages", "model", "stream"} & args.request.keys():
        raise BadRequestError("Expected a JSON object as --request, without messages, model and stream.")
    if args.out is None:
        raise BadRequestError("Expected --out DIR, where the run is kept; add it.")


def _options(args: argparse.Namespace) -> Options:
    return Options(
        seed=args.seed,
        density=args.density,
        batch_size=args.batch_size,
        device=args.device,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        model=args.model,
        key_env=args.key_env,
        concurrency=args.concurrency,
        timeout_s=args.timeout,
        attempts=args.attempts,
        backoff_s=args.backoff,
        rpm=args.rpm,
        price_in=args.price_in,
        price_out=args.price_out,
        max_cost=args.max_cost,
        request=args.request,
    )


def _sets(args: argparse.Namespace) -> list[FrozenSet]:
    """What is asked."""
    names = split_names(args.split or ["holdout"])
    if (RECORDED in names) != bool(args.manifest):
        raise BadRequestError("Expected --manifest FILE with --split real, and one came without the other; give both.")
    sets = [_set(name, args) for name in names]
    twice = [name for name, times in Counter(one.name for one in sets).items() if times > 1]
    if twice:
        raise BadRequestError(
            f"Expected sets of different names, and {twice[0]!r} comes twice; rename one of the files."
        )
    return sets


def _set(name: str, args: argparse.Namespace) -> FrozenSet:
    if name == FRESH:
        return fresh(min(args.n, args.limit or args.n), args.seed)
    if name != RECORDED:
        return frozen(name, args.limit)
    from eval.recorded import recordings
    from telemetry.judging import load_world

    found = recordings(args.manifest, args.recordings, load_world(args.world), mask=not (args.unmasked or args.world))
    return found if args.limit is None else replace(found, rows=found.rows[: args.limit])


# ---------------------------------------------------------------- what ran
def _run(args: argparse.Namespace, argv: Sequence[str], defender: Player, sets: Sequence[FrozenSet]) -> Run:
    """Describe the run as run.json holds it."""
    return new_run(
        f"python -m eval.run {shlex.join(argv)}",
        LIBRARIES,
        defender=defender.settings,
        seed=args.seed,
        density=defender.density or args.density,
        reward_table=args.table,
        sets=[{"name": one.name, "sha256": one.sha256, "items": len(one.rows)} for one in sets],
    )


# ---------------------------------------------------------------- asking
def _ask(store: RolloutStore, defender: Player, sets: Sequence[FrozenSet], table: Any, stop: threading.Event) -> None:
    """Ask what is not answered yet, and store each batch as it arrives.

    Raises:
        StoppedError: it stopped; what arrived is stored, or the error says otherwise.
    """
    open_items = [(one.name, row) for one in sets for row in one.rows if (one.name, row["id"]) not in store.done]
    silent = [item for item in open_items if not item[1]["observation"]["log_window"]]
    asked = [item for item in open_items if item[1]["observation"]["log_window"]]
    store.append([rollout(name, row, Reply(None, "no usable event: nothing was asked"), table) for name, row in silent])
    full: DiskFullError | None = None
    shown = [{name: row[name] for name in ("id", "task", "observation")} for _, row in asked]
    total = sum(len(one.rows) for one in sets)
    with progress(total, "items", done=total - len(asked)) as bar:
        for batch in defender.stream(shown, stop):
            lines = [rollout(*asked[place], reply, table) for place, reply in batch]
            try:
                store.append(lines)
            except DiskFullError as error:
                stop.set()  # what is under way still comes, into the room that was held back
                full = error if full is None or not error.stored else full
            bar.advance(len(lines), f"{store.spent:.4f} USD")
    if full:
        raise full


# ---------------------------------------------------------------- measuring
def _measured(store: RolloutStore, sets: Sequence[FrozenSet], seed: int) -> dict[str, Any]:
    """Metrics of each set, of the benchmark where all of it was asked, and of the whole run's cost and faults."""
    from eval.metrics import measure

    lines: dict[str, list[dict[str, Any]]] = {one.name: [] for one in sets}
    for line in store.log.read():
        lines[line["set"]].append({name: value for name, value in line.items() if name not in ("prompt", "reply")})
    for some in lines.values():
        some.sort(key=lambda line: line["id"])  # figures that do not hang on who answered first
    metrics: dict[str, Any] = {}
    for one in sets:
        if one.name == RECORDED:
            from eval.recorded import measure_recordings
            from telemetry.scoring import load_manifest

            metrics[one.name] = measure_recordings(one, lines[one.name], load_manifest(one.path), seed=seed)
        else:
            metrics[one.name] = measure(lines[one.name], seed=seed)
    if all(name in lines for name in BENCHMARK):
        metrics["benchmark"] = measure([line for name in BENCHMARK for line in lines[name]], seed=seed)
    return {"metrics": metrics, "totals": _totals([line for some in lines.values() for line in some])}


def _totals(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Items, malformed answers by reason, tokens, cost in USD and the mean time of an item."""
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


def _print(defender: str, measured: Mapping[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=120)
    for name, metrics in measured["metrics"].items():
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
    _checked(args)
    require("eval", *MEASURING)
    sets = _sets(args)
    defender = open_player(args.defender, _options(args))
    defender.name = args.name or defender.name
    stop = threading.Event()
    with open_store(args.out, _run(args, argv, defender, sets), fresh=args.fresh) as store:
        if store.done:
            print(f"{len(store.done)} items are answered already; going on.", file=sys.stderr)
        defender.spent = store.spent
        with interruptible(stop, "Waiting for what is under way"):
            _ask(store, defender, sets, args.table, stop)
        if stop.is_set():
            raise KeyboardInterrupt
        measured = _measured(store, sets, args.seed)
        store.finish(measured)
    _print(defender.name, measured, args.out)


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
