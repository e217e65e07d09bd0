"""The whole training line on a CPU: python -m train.nano.pipeline --out out/train-tiny

Unlabelled pretraining of a preset, SFT on the 600 frozen rows, GRPO on fresh incidents; then every model on `val` and `test_seed`, greedy and sampled,
with intervals, and the curves. Each part is a command of its own (`train.nano.pretrain`, `train.sft`, `train.grpo`, `eval.run`,
`eval.plot_training`) with a directory under --out, and is not done twice: after a kill the same command resumes. What is printed is read
from those files, and kept in `summary.json`.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from eval.compare import compare
from eval.runs import load_run
from runs.files import write_json
from schema import TASKS, BadRequestError
from train.command import SEED, THREADS, Command, Flag, resolved, tasks_of
from train.nano.presets import PRESETS

SETS = ("val", "val_family", "test_seed")
SAMPLED = 1.0  # temperature
WIDTH = 120  # characters of the printed tables, at least
HOURS = {"pretrain": 0.2, "grpo": 0.6}  # shares of --hours; the rest is SFT and evaluation


class Step(NamedTuple):
    """One command of the line."""

    module: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"python -m {self.module} {shlex.join(self.arguments)}"


# ---------------------------------------------------------------- the line
def models(args: argparse.Namespace) -> dict[str, Path]:
    """Return the models that are evaluated, by their names in the tables."""
    last = args.stages.split(",")[-1]
    return {"pretrained": args.out / "pretrain", "sft": args.out / "sft", "grpo": args.out / "grpo" / last}


def training(args: argparse.Namespace) -> Iterator[Step]:
    """Yield the commands that train, in their order."""
    out, stages = args.out, args.stages.split(",")
    common = ("--seed", str(args.seed), "--threads", str(args.threads))

    def long(part: str, steps: int, parts: int = 1) -> tuple[str, ...]:
        if args.hours:
            return ("--minutes", f"{args.hours * 60 * HOURS[part] / parts:g}")
        return ("--steps", str(steps))

    yield Step(
        "train.nano.pretrain",
        ("--model", args.preset, "--out", f"{out}/pretrain", *long("pretrain", args.pretrain_steps), *common),
    )
    yield Step(
        "train.sft",
        ("--model", f"{out}/pretrain", "--out", f"{out}/sft", "--epochs", f"{args.epochs:g}", *common),
    )
    grpo = ("--stages", args.stages, *long("grpo", args.grpo_steps, len(stages)), "--reward-table", args.reward_table)
    watched = ("--eval-every", str(args.eval_every), "--eval-n", "200")
    yield Step("train.grpo", ("--model", f"{out}/sft", "--out", f"{out}/grpo", *grpo, *watched, *common))


def evaluation(args: argparse.Namespace) -> Iterator[Step]:
    """Yield the commands that evaluate and draw."""
    for name, path in models(args).items():
        for way, temperature in (("greedy", 0.0), ("sampled", SAMPLED)):
            how = (
                "--n",
                str(args.val),
                "--seed",
                str(args.seed),
                "--density",
                "compact",
                "--temperature",
                f"{temperature:g}",
            )
            out = ("--name", name, "--out", f"{args.out}/eval/{name}-{way}")
            yield Step("eval.run", ("--defender", str(path), "--split", ",".join(SETS), *how, *out))
    for stage in args.stages.split(","):
        yield Step(
            "eval.plot_training", (f"{args.out}/grpo/{stage}/log.jsonl", "--out", f"{args.out}/pictures/{stage}")
        )


def walk(steps: Iterator[Step]) -> None:
    """Run commands one after another.

    Raises:
        SystemExit: one did not end well, with its exit code.
    """
    for step in steps:
        print(f"\n$ {step}", file=sys.stderr)
        code = importlib.import_module(step.module).main(list(step.arguments))
        if code:
            raise SystemExit(code)


# ---------------------------------------------------------------- what came of it
def summary(args: argparse.Namespace) -> dict[str, Any]:
    """Return figures of every model and GRPO's gain over SFT by task, from the run directories under --out."""
    figures: dict[str, Any] = {}
    runs = {}
    for name in models(args):
        for way in ("greedy", "sampled"):
            run = load_run(args.out / "eval" / f"{name}-{way}")
            runs[name, way] = run
            for chosen in SETS:
                metrics = run.metrics(chosen)
                figures.setdefault(chosen, {}).setdefault(name, {})[way] = {
                    **{
                        metric: _short(metrics[metric])
                        for metric in ("accuracy", "macro_f1", "format_ok", "mean_reward")
                    },
                    "macro_f1_by_task": {task: _short(metrics["by_task"][task]["macro_f1"]) for task in TASKS},
                }
    gains: dict[str, dict[str, Any]] = {}
    for chosen in SETS:
        for task in (None, *TASKS):
            pair = [runs["sft", "greedy"], runs["grpo", "greedy"]]
            (gain,) = compare(pair, chosen, metrics=["macro_f1"], task=task)
            gains.setdefault(chosen, {})[task or "all"] = {
                "difference": gain.difference,
                "low": gain.low,
                "high": gain.high,
            }
    return {"sets": figures, "grpo_over_sft_macro_f1": gains}


def _short(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metric[name] for name in ("value", "low", "high", "n")}


def show(figures: Mapping[str, Any]) -> None:
    """Print the summary: every model on each set, then the stages side by side."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.width = max(console.width, WIDTH)  # five columns with intervals; cut ones would tell nothing
    for chosen, by_name in figures["sets"].items():
        table = Table(title=f"{chosen}, with 95 % intervals", title_justify="left", box=box.SIMPLE)
        for column in ("model", "answers", "accuracy", "macro-F1", "format"):
            table.add_column(column, no_wrap=True)
        for name, ways in by_name.items():
            for way, row in ways.items():
                table.add_row(
                    name, way, _cell(row["accuracy"]), _cell(row["macro_f1"]), f"{row['format_ok']['value']:.3f}"
                )
        console.print(table)
        table = Table(title=f"{chosen}, greedy macro-F1 by stage", title_justify="left", box=box.SIMPLE)
        trained = [name for name in by_name if name != "pretrained"]
        for column in ("stage", *trained):
            table.add_column(column, no_wrap=True)
        for task in TASKS:
            cells = [by_name[name]["greedy"]["macro_f1_by_task"][task] for name in trained]
            table.add_row(task.split("_")[0], *(_cell(cell, digits=2) for cell in cells))
        console.print(table)
    for chosen, by_task in figures["grpo_over_sft_macro_f1"].items():
        console.print(f"{chosen}: greedy macro-F1, GRPO over the SFT on 600 rows", highlight=False)
        for task, gain in by_task.items():
            shown = {name: value for name, value in gain.items() if value is not None}
            spread = f" [{gain['low']:+.3f}, {gain['high']:+.3f}]" if len(shown) == 3 else ""
            console.print(f"  {task:<20}{gain['difference']:+.3f}{spread}", highlight=False)


def _cell(metric: Mapping[str, Any], digits: int = 3) -> str:
    value = f"{metric['value']:.{digits}f}"
    return value if metric["low"] is None else f"{value} [{metric['low']:.{digits}f}, {metric['high']:.{digits}f}]"


# ---------------------------------------------------------------- the command
COMMAND = Command(
    "train.nano.pipeline",
    "Train a small defender from nothing, and measure it.",
    {
        "": (
            Flag("--out", "where all goes", Path, Path("out/train-tiny"), metavar="DIR"),
            Flag("--preset", "how large a model", default="nano", choices=tuple(PRESETS)),
            Flag("--stages", "of GRPO, in order", default="stage1_basic,stage2_multi", metavar="TASKS"),
            Flag(
                "--hours",
                "train about so long instead of by steps: a fifth pretraining, three fifths GRPO",
                float,
                metavar="H",
            ),
            Flag("--pretrain-steps", "of 16 prompts", int, 200, metavar="N"),
            Flag("--epochs", "passes of SFT over the 600 rows", float, 2.0, metavar="N"),
            Flag("--grpo-steps", "of each stage, of 32 incidents", int, 150, metavar="N"),
            Flag(
                "--eval-every", "steps of GRPO between looks at val; 0 for none", int, 100, metavar="STEPS", zero=True
            ),
            Flag("--val", "incidents of the split val, all four tasks", int, 800, metavar="N"),
            Flag("--reward-table", "of GRPO", default="hardened", choices=("hardened", "standard")),
            replace(THREADS, help="cores", trainer=""),
            replace(SEED, help="of all"),
        )
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    return COMMAND.run(argv, _whole_line)


def _whole_line(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Train and measure every model, write the summary and print it.

    Raises:
        BadRequestError: --stages or --val is none that the line can take.
        StoppedError: a command of the line did not come to its end.
    """
    chosen = resolved(args, stages=",".join(tasks_of(args.stages, "--stages")))
    if args.val < len(TASKS):
        raise BadRequestError(f"Expected --val of {len(TASKS)} or more, one incident of each task, and got {args.val}.")
    walk(training(chosen))
    walk(evaluation(chosen))
    figures = {"command": f"python -m {COMMAND.module} {shlex.join(argv)}".strip(), **summary(chosen)}
    write_json(args.out / "summary.json", figures)
    show(figures)
    return Path(args.out)


if __name__ == "__main__":
    sys.exit(main())
