"""A whole training line on two cores: python -m train.nano.pipeline --line scarce --out out/train-tiny

`--line scarce`, where labels are few and rewards are plenty: unlabelled pretraining of a preset, SFT on the 600 frozen rows, GRPO on fresh incidents; with
--best-of rejection sampling from the same SFT beside it, on as many incidents. `--line plentiful`, where labels are free: SFT on fresh incidents, those of the
first stage before all, then GRPO. Then every model on `val`, `val_family` and `test_seed`, greedy and sampled, and the curves.

Each part is a command of its own (`train.nano.pretrain`, `train.sft`, `train.grpo`, `eval.run`, `eval.plot_training`) with a directory under
--out, and is not done twice: after a stop, however hard, the same command goes on, also where --out was copied to another machine. What is
printed is read from those files, and kept in `summary.json`.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from runs.directory import RUN
from runs.files import write_json
from schema import TASKS, BadRequestError, Task
from train.command import THREADS, Command, Flag, resolved, tasks_of
from train.nano.checkpoint import read_record
from train.nano.outcome import SETS, WAYS, show, summary
from train.nano.presets import PRESETS

STAGES: Mapping[str, tuple[Task, ...]] = {"scarce": TASKS[:2], "plentiful": TASKS}  # of GRPO
SHARES = {
    "scarce": {"pretrain": 0.15, "grpo": 0.6},
    "plentiful": {"sft": 0.55, "grpo": 0.25},
}  # of --hours; the rest is evaluation, and SFT where labels are scarce
ENDLESS = 100_000_000  # incidents: more than any hours take


class Step(NamedTuple):
    """One command of the line."""

    module: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"python -m {self.module} {shlex.join(self.arguments)}"


# ---------------------------------------------------------------- the line
def home(args: argparse.Namespace, seed: int) -> Path:
    """Return the directory of a seed's models."""
    return Path(args.out) / f"seed-{seed}"


def models(args: argparse.Namespace, seed: int) -> dict[str, Path]:
    """Return a seed's models that are evaluated, by their names in the tables, each after what it began from."""
    out, last = home(args, seed), args.stages[-1]
    beside = {"best_of": out / "best_of" / last} if args.best_of else {}
    return {"sft": out / "sft", **beside, "grpo": out / "grpo" / last}


def steps(args: argparse.Namespace) -> Iterator[Step]:
    """Yield all commands in their order: a seed is trained and measured before the next."""
    for seed in args.seeds:
        yield from _training(args, seed)
        yield from _evaluation(args, seed)


def _training(args: argparse.Namespace, seed: int) -> Iterator[Step]:
    out, common = home(args, seed), ("--seed", str(seed), "--threads", str(args.threads))
    start: tuple[str, ...]
    if args.line == "scarce":
        length = _length(args, "pretrain", args.pretrain_steps)
        yield Step("train.nano.pretrain", ("--model", args.preset, "--out", f"{out}/pretrain", *length, *common))
        start = ("--model", f"{out}/pretrain", "--epochs", f"{args.epochs:g}")
    else:
        labels = ("--generate", str(ENDLESS if args.hours else args.labels), "--easy-first", str(args.easy_first))
        start = ("--model", args.preset, *labels, *(_length(args, "sft", 0) if args.hours else ()))
    yield Step("train.sft", (*start, "--out", f"{out}/sft", *common))
    stages = ("--model", f"{out}/sft", "--stages", ",".join(args.stages), "--reward-table", args.reward_table)
    watched = ("--eval-every", str(args.eval_every), "--eval-n", "200")
    length = _length(args, "grpo", args.grpo_steps)
    yield Step("train.grpo", (*stages, "--out", f"{out}/grpo", *length, *watched, *common))
    if args.best_of:
        length = ("--steps", str(_steps_of_grpo(args, out)))
        yield Step("train.grpo", (*stages, "--best-of", "--out", f"{out}/best_of", *length, *watched, *common))


def _length(args: argparse.Namespace, part: str, count: int) -> tuple[str, ...]:
    """Return how long a part trains: its share of a seed's hours, or its steps (of GRPO those of a stage)."""
    if not args.hours:
        return ("--steps", str(count))
    minutes = args.hours * 60 / len(args.seeds) * SHARES[args.line][part]
    if part == "grpo":
        minutes /= len(args.stages) * (2 if args.best_of else 1)
    return ("--minutes", f"{minutes:g}")


def _steps_of_grpo(args: argparse.Namespace, out: Path) -> int:
    """Return the steps that a stage of GRPO took in the mean, rounded up; the flag's before it is trained."""
    taken = [int(read_record(out / "grpo" / stage / RUN).get("steps") or 0) for stage in args.stages]
    return -(-sum(taken) // len(taken)) or int(args.grpo_steps)


def _evaluation(args: argparse.Namespace, seed: int) -> Iterator[Step]:
    out = home(args, seed)
    how = ("--n", str(args.val), "--seed", str(seed), "--density", "compact")
    for name, path in models(args, seed).items():
        for way, temperature in WAYS.items():
            where = ("--name", name, "--out", f"{out}/eval/{name}-{way}")
            asked = ("--defender", str(path), "--split", ",".join(SETS), "--temperature", f"{temperature:g}")
            yield Step("eval.run", (*asked, *how, *where))
    for stage in args.stages:
        log = out / "grpo" / stage / "log.jsonl"
        yield Step("eval.plot_training", (str(log), "--out", f"{out}/pictures/{stage}"))


def walk(make: Callable[[], Iterator[Step]]) -> None:
    """Run commands one after another.

    Args:
        make: yields them; each is asked for when those before it are done.

    Raises:
        SystemExit: one did not end well, with its exit code.
    """
    total = sum(1 for _ in make())
    for number, step in enumerate(make(), 1):
        print(f"\n[{number} of {total}] $ {step}", file=sys.stderr)
        code = importlib.import_module(step.module).main(list(step.arguments))
        if code:
            raise SystemExit(code)


# ---------------------------------------------------------------- the command
COMMAND = Command(
    "train.nano.pipeline",
    "Train a small defender from nothing, and measure it.",
    {
        "": (
            Flag("--line", "whether labels are few or free", default="scarce", choices=tuple(STAGES)),
            Flag("--out", "where all goes", Path, Path("out/train-tiny"), metavar="DIR"),
            Flag("--preset", "how large a model", default="nano", choices=tuple(PRESETS)),
            Flag(
                "--hours",
                "train and measure about so long in all, the seeds equally, instead of by steps",
                float,
                metavar="H",
            ),
            Flag("--seeds", "of all, one whole line for each", default="0", metavar="N,N,..."),
            Flag(
                "--stages",
                "of GRPO, in order",
                default_text="scarce: the first two; plentiful: all four",
                default="",
                metavar="TASKS",
            ),
            Flag("--grpo-steps", "of each stage, of 32 incidents", int, 150, metavar="N"),
            Flag("--best-of", "rejection sampling beside GRPO, on as many incidents", None),
            Flag(
                "--eval-every", "steps of GRPO between looks at val; 0 for none", int, 100, metavar="STEPS", zero=True
            ),
            Flag("--val", "incidents of val and of val_family, all four tasks", int, 800, metavar="N"),
            Flag("--reward-table", "of GRPO", default="hardened", choices=("hardened", "standard")),
            replace(THREADS, help="cores", trainer=""),
        ),
        "scarce labels": (
            Flag("--pretrain-steps", "of 16 prompts", int, 200, metavar="N"),
            Flag("--epochs", "passes of SFT over the 600 rows", float, 2.0, metavar="N"),
        ),
        "plentiful labels": (
            Flag(
                "--labels",
                "fresh incidents of SFT, each once; with --hours as many as it takes",
                int,
                24_000,
                metavar="N",
            ),
            Flag(
                "--easy-first", "of these, those of the first stage that come first", int, 9_600, metavar="N", zero=True
            ),
        ),
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    return COMMAND.run(argv, _whole_line)


def _whole_line(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Train and measure every model, write the summary and print it.

    Raises:
        BadRequestError: --stages, --seeds or --val is none that the line can take.
        StoppedError: a command of the line did not come to its end.
    """
    stages = tasks_of(args.stages, "--stages") if args.stages else STAGES[args.line]
    chosen = resolved(args, stages=stages, seeds=seeds_of(args.seeds))
    if args.val < len(TASKS):
        raise BadRequestError(f"Expected --val of {len(TASKS)} or more, one incident of each task, and got {args.val}.")
    walk(lambda: steps(chosen))
    found = summary({seed: (home(chosen, seed) / "eval", models(chosen, seed)) for seed in chosen.seeds})
    command = f"python -m {COMMAND.module} {shlex.join(argv)}".strip()
    write_json(args.out / "summary.json", {"command": command, "line": args.line, **found})
    show(found)
    return Path(args.out)


def seeds_of(text: str) -> list[int]:
    """Return the seeds that `--seeds` names.

    Raises:
        BadRequestError: there is none, one is no whole number from 0 on, or one comes twice.
    """
    names = text.split(",")
    if not all(name.isascii() and name.isdigit() for name in names) or len({int(name) for name in names}) < len(names):
        raise BadRequestError(
            f"Expected whole numbers from 0 on as --seeds, each once, such as 0,1,2, and got {text!r}."
        )
    return [int(name) for name in names]


if __name__ == "__main__":
    sys.exit(main())
