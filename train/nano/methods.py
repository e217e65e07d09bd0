"""The training commands for models of our own size: what `train.nano.pretrain`, `train.sft` and `train.grpo` do with presets and checkpoints made here.

The loop is in `loop`, what is learned from an incident in `lessons`. A run ends by `--steps` or `--minutes`, whichever comes first; counted in steps
it gives the same weights again.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from eval.metric_table import names_in
from players.codec import CONTEXT, LONGEST, Coder, load
from players.decode import answers
from players.prompt import user_text
from rubric import TableName
from runs.provenance import stable_seed
from schema import TASKS, BadRequestError, Task
from train.command import StoppedError, check_device, close_run, is_complete, open_run, settings_of, tasks_of
from train.data import Row, drop_too_long, fresh, labelled, training_row, validation_rows
from train.monitor import Collapse, Examination, told_share
from train.nano import model as tiny
from train.nano.loop import Loop, Plan, finish
from train.nano.objectives import BestOf, Grpo, Lesson, OfAnswer, OfPrompt

BATCH = 16  # incidents of a step
TOGETHER = 8  # prompts whose answers are written side by side
ENTROPY, BALANCE = 0.1, 2.0  # weights of GRPO's bonuses (train/LOG.md)
GROUPS = 32  # of a step of GRPO
STEPS = 300  # of a stage of GRPO
TOKENIZER_ROWS = 4_000  # prompts that a tokenizer is made from
LEARNING_RATES = {"pretrain": 5e-3, "sft": 2e-3, "labels": 4e-3, "grpo": 3e-3, "best_of": 3e-3}
SHOWN = ("loss", "reward", "accuracy", "format_ok", "frac_reward_zero_std", "entropy", "kl")


# ---------------------------------------------------------------- the commands
def pretrain(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Make a preset and teach it the next token of unlabelled prompts of the `train` families; where it is.

    Raises:
        OpenSOCError: a wrong call, or training stopped.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    if args.model not in tiny.PRESETS:
        raise BadRequestError(
            f"Expected a preset, one of {', '.join(tiny.PRESETS)}, to pretrain, and got {args.model!r}."
        )
    args.lr = args.lr or LEARNING_RATES["pretrain"]
    stream = stable_seed(f"pretrain/{args.seed}")
    start = partial(_made, args.model, stream + 1, args.seed)
    return _run(args, argv, "pretrain", args.out, start, OfPrompt, partial(training_row, stream))


def sft(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Learn the right answers of labelled rows: frozen ones over and over, or fresh ones, each once."""
    if args.generate:
        steps = -(-args.generate // BATCH)
        row: Callable[[int], Row] = partial(
            training_row, stable_seed(f"sft/{args.seed}"), tasks=tasks_of(args.tasks, "--tasks")
        )
    else:
        from train.sft import rows_of

        rows = _drop_too_long(rows_of(args), args)
        steps = max(1, -(-int(len(rows) * args.epochs) // BATCH))

        @lru_cache(maxsize=2)  # a batch lies in two turns at most
        def order(turn: int) -> list[Row]:
            mixed = list(rows)
            random.Random(stable_seed(f"order/{args.seed}/{turn}")).shuffle(mixed)
            return mixed

        def row(place: int) -> Row:
            turn, number = divmod(place, len(rows))
            return order(turn)[number]

    args.steps, args.lr = args.steps or steps, args.lr or LEARNING_RATES["labels" if args.generate else "sft"]
    args.density = "compact"
    return _run(args, argv, "sft", args.out, partial(_start, args.model), OfAnswer, row)


def grpo(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Learn from rewards on fresh incidents, stage after stage; half of a later stage's incidents are of the earlier ones."""
    stages, before = tasks_of(args.stages, "--stages"), args.model
    args.steps = args.steps or (None if args.minutes else STEPS)
    method = "best_of" if args.best_of else "grpo"
    args.density, args.groups, args.lr = "compact", args.groups or GROUPS, args.lr or LEARNING_RATES[method]
    args.entropy_coef = ENTROPY if args.entropy_coef is None else args.entropy_coef
    args.balance_coef = BALANCE if args.balance_coef is None else args.balance_coef
    known = [] if args.anchor == "none" or args.best_of else _drop_too_long(labelled(args.anchor), args)
    random.Random(stable_seed(f"anchor/{args.seed}")).shuffle(known)
    run = open_run(args.out, "train.grpo", argv, settings_of(args), fresh=args.fresh)
    for number, stage in enumerate(stages):
        tasks = _with_earlier(stages[: number + 1])
        stream = stable_seed(f"grpo/{args.seed}/{stage}")

        def lesson(stage: Task = stage) -> Lesson:
            how: dict[str, Any] = {
                "table": args.reward_table,
                "group": args.group_size,
                "temperature": args.temperature,
                "seed": stable_seed(f"samples/{args.seed}/{stage}"),
            }
            if args.best_of:
                return BestOf(**how)
            start = _start(args.model)[0].to(args.device)
            return Grpo(
                anchor=known,
                entropy=args.entropy_coef,
                balance=args.balance_coef,
                beta=args.beta,
                start=start,
                flat=not args.raw_rewards,
                **how,
            )

        before = str(
            _run(
                args,
                argv,
                method,
                args.out / stage,
                partial(_start, before),
                lesson,
                partial(training_row, stream, tasks=tasks),
                tasks=(stage,),
            )
        )
    close_run(args.out, run, stages=stages)
    return Path(before)


def _with_earlier(stages: Sequence[Task]) -> tuple[Task, ...]:
    """The last stage in every other place, the earlier ones in turn between."""
    *earlier, last = stages
    return tuple(task for one in earlier for task in (last, one)) or (last,)


def _drop_too_long(rows: Sequence[Row], args: argparse.Namespace) -> list[Row]:
    """The rows whose prompts leave room for an answer.

    Raises:
        BadRequestError: one does not, and none are to be left out.
    """
    coder, names = Coder(_start(args.model)[1]), [str(row["id"]) for row in rows]
    sizes = [len(coder.read(row)) for row in rows]
    return drop_too_long(rows, names, sizes, CONTEXT - LONGEST, skip=args.skip_long, what="a prompt")


def _start(model: str) -> tuple[Any, Any]:
    """A checkpoint made here, or a preset without any training."""
    return _made(model, stable_seed("tokenizer")) if model in tiny.PRESETS else load(model)


def _made(preset: str, stream: int, seed: int = 0) -> tuple[Any, Any]:
    """A preset with random weights, and its tokenizer from the prompts of a stream."""
    tokenizer = _tokenizer(tiny.PRESETS[preset].vocabulary, stream)
    return tiny.make(preset, tokenizer, seed=seed), tokenizer


@lru_cache(maxsize=1)
def _tokenizer(vocabulary: int, stream: int) -> Any:
    texts = (user_text(row["observation"], "compact") for row in fresh(stream, number=TOKENIZER_ROWS))
    return tiny.train_tokenizer(texts, vocabulary)


# ---------------------------------------------------------------- a run
def _run(
    args: argparse.Namespace,
    argv: Sequence[str],
    method: str,
    out: Path,
    start: Callable[[], tuple[Any, Any]],
    lesson: Callable[[], Lesson],
    row: Callable[[int], Row],
    *,
    tasks: Sequence[Task] = TASKS,
) -> Path:
    """One run in its directory: begun, gone on with, or found complete."""
    check_device(args.device)
    module = "grpo" if method == "best_of" else method
    run = open_run(out, f"train.{module}", argv, settings_of(args), fresh=args.fresh and module != "grpo")
    if is_complete(out, run):
        return out
    plan = Plan(
        out,
        steps=args.steps,
        seconds=args.minutes * 60 if args.minutes else None,
        batch=args.groups if module == "grpo" else BATCH,
        lr=args.lr,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        eval_every=args.eval_every,
    )
    if plan.steps is None and plan.seconds is None:  # SFT counts its rows
        raise BadRequestError("Expected --steps or --minutes, and got neither; say how long to train.")
    evaluate = None
    if args.eval_every:
        evaluate = partial(examine, examination(args, tasks), args.threads)
    collapse = Collapse(args.collapse_window, args.max_zero_variance, args.max_one_action) if method == "grpo" else None
    with _progress(plan) as show:

        def notice(line: dict[str, Any]) -> None:
            show(line, plan.share(loop.step, loop.seconds))
            if collapse and (reason := collapse.after(line)):
                loop.log.add({"step": loop.step, "stopped": reason})
                raise StoppedError(  # what has collapsed is not worth a checkpoint
                    f"Stopped: {reason}; {loop.kept}. The same command would come here again: "
                    "give --fresh or another --out with other settings, or a higher limit."
                )

        about = {"method": method, "command": run["command"], "commit": run["commit"]}
        loop = Loop(plan, start, about=about, evaluate=evaluate, notice=notice)
        if collapse:
            collapse.recall(loop.log, loop.step)
        trained = loop.run(row, lesson())
    if shares := [line["judging_s"] / line["step_s"] for line in loop.log.lines() if "judging_s" in line]:
        told_share(out.name, shares)
    finish(trained, loop.tokenizer, out, about={**loop.about, "step": loop.step, "incidents": loop.place})
    close_run(out, run, steps=loop.step, incidents=loop.place, seconds=round(loop.seconds, 1))
    return out


def examination(args: argparse.Namespace, tasks: Sequence[Task] = TASKS) -> Examination:
    """Fresh incidents of the split `val`, as many as `--eval-n` says."""
    rows = validation_rows(args.seed, args.eval_n, tasks)
    table: TableName = getattr(args, "reward_table", "hardened")
    return Examination(rows=rows, density="compact", table=table, tokens=LONGEST)


def examine(asked: Examination, threads: int, model: Any, coder: Coder) -> dict[str, Any]:
    """Greedy figures on held-out incidents."""

    def replies(rows: Sequence[Row]) -> list[str]:
        drawn = answers(model, [coder.prompt(row) for row in rows], longest=LONGEST, end=coder.end)
        return [coder.text(one.tokens[0]) for one in drawn]

    parts = [asked.rows[first : first + TOGETHER] for first in range(0, len(asked.rows), TOGETHER)]
    with ThreadPoolExecutor(threads) as pool:
        return asked.figures([text for part in pool.map(replies, parts) for text in part])


@contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[dict[str, Any], float], None]]:
    """A bar with an end in sight; what it is given is a logged line and the share of the run that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True, force_jupyter=False)  # its own display meets the libraries' bars there
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(plan.out.name, total=1, told="")

        def show(line: dict[str, Any], done: float) -> None:
            if any(name.startswith("val/") for name in line):
                figures = ", ".join(
                    f"{name} {line[f'val/{name}']:.3f}" for name in names_in("training") if f"val/{name}" in line
                )
                console.print(f"{plan.out.name}, step {line['step']}: {figures}", highlight=False)
            else:
                told = ", ".join(f"{name} {line[name]:.3f}" for name in SHOWN if name in line)
                bar.update(task, completed=done, told=f"step {line['step']}: {told}")

        yield show
