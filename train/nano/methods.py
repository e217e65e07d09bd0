"""The methods of small models: what `train.nano.pretrain`, `train.sft` and `train.grpo` do with presets and checkpoints made here.

The loop is in `loop`, what is learned from an incident in `objectives`. A run ends by `--steps` or `--minutes`, whichever comes first; counted in
steps it gives the same weights again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from eval.metric_table import names_in
from generator.curriculum import Curriculum
from players.attackers.nano import IncidentCodec
from players.base import Options
from players.codec import CONTEXT, LONGEST, PromptCodec, load
from players.nano import NanoModel
from players.prompt import user_text
from runs.ending import StoppedError
from runs.progress import progress
from runs.provenance import stable_seed
from schema import TASKS, BadRequestError, Row, Task
from train.aliases import AliasCodec
from train.attacks import attack_row
from train.command import Command, check_device, close_run, is_complete, resolved, tasks_of
from train.data import (
    CURRICULUM,
    CurriculumRows,
    Shares,
    drop_too_long,
    easy_first,
    fresh,
    labelled,
    row_of,
    sft_rows,
    training_row,
    validation_rows,
)
from train.monitor import Collapse, Validation, report_reward_share
from train.nano.checkpoint import finish
from train.nano.loop import Loop, Plan
from train.nano.model import make, train_tokenizer
from train.nano.objectives import GRPO, LanguageModelling, Objective, RejectionSampling, Supervised
from train.nano.presets import PRESETS

BATCH, WIDE_BATCH = 16, 256  # incidents of a step
ENTROPY, BALANCE = 0.1, 2.0  # weights of GRPO's bonuses (train/LOG.md)
KL = 0.02  # weight of its divergence from the stage's start
GROUPS, WIDE_GROUPS = 32, 128  # of a step of GRPO
STEPS = 300  # of a stage of GRPO
LINE_S = 10.0  # between two lines of progress of a wide run, where there is no terminal
TOKENIZER_ROWS = 4_000  # prompts that a tokenizer is made from
LEARNING_RATES = {"pretrain": 5e-3, "sft": 2e-3, "labels": 4e-3, "grpo": 3e-3, "best_of": 3e-3}
SHOWN = (
    *("loss", "reward", "accuracy", "faithful", "format_ok", "frac_reward_zero_std", "entropy", "kl"),
    *("incidents_per_s", "tokens_per_s", "waiting"),
)


@dataclass(frozen=True, slots=True)
class Method:
    """How a run learns.

    Args:
        name: is written beside the weights.
        start: gives the model and the tokenizer where it begins.
        rows: gives the row at an index of the stream.
        objective: makes what is learned from a row.
        batch: incidents a step.
        tasks: of the incidents that it is evaluated on.
        collapse: when to stop, of GRPO.
        tell: is called with each row and what is logged of it.
        ahead: whether worker processes can make its rows.
        codec: how rows become tokens.
    """

    name: str
    start: Callable[[], tuple[Any, Any]]
    rows: Callable[[int], Row]
    objective: Callable[[], Objective]
    batch: int
    tasks: Sequence[Task] = TASKS
    collapse: Collapse | None = None
    tell: Callable[[Row, Mapping[str, Any]], None] | None = None
    ahead: bool = True
    codec: type[PromptCodec] = PromptCodec


# ---------------------------------------------------------------- the commands
def pretrain(command: Command, args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Make a preset, teach it the next token of unlabelled prompts of the `train` families, and return where it is.

    Raises:
        OpenSOCError: a wrong call, or training stopped.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    stream = stable_seed(f"pretrain/{args.seed}")
    start = partial(_preset, args.model, stream + 1, args.seed)
    method = Method("pretrain", start, partial(training_row, stream), LanguageModelling, _batch(args))
    args = resolved(args, lr=args.lr or LEARNING_RATES["pretrain"])
    return run_method(command, args, argv, args.out, method, fresh=args.fresh)


def sft(command: Command, args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Learn the right answers of labelled rows: frozen ones over and over, or fresh ones, each once."""
    batch = _batch(args)
    if args.easy_first > (args.generate or 0):
        raise BadRequestError(
            f"Expected --easy-first of at most --generate ({args.generate or 0}), of which they are, and got {args.easy_first}."
        )
    codec: type[PromptCodec] = PromptCodec
    if args.seat == "attacker":
        _check_attacker(args)
        codec, steps = IncidentCodec, -(-args.generate // batch)
        rows: Callable[[int], Row] = partial(
            attack_row, stable_seed(f"sft/{args.seed}/attacker"), tasks=tasks_of(args.tasks, "--tasks")
        )
    elif args.generate:
        shares = Shares(*(getattr(args, name) for name in Shares._fields))
        steps = -(-args.generate // batch)
        rows = partial(easy_first, args.easy_first, args.seed, tasks_of(args.tasks, "--tasks"), shares)
        codec = AliasCodec
    else:
        known = _drop_too_long(sft_rows(args), args)
        steps = max(1, -(-int(len(known) * args.epochs) // batch))
        rows = _in_turns(known, args.seed)
    rate = LEARNING_RATES["labels" if args.generate else "sft"]
    args = resolved(args, steps=args.steps or steps, lr=args.lr or rate, density="compact")
    name = "sft" if args.seat == "defender" else "sft of the attacker"
    method = Method(name, partial(_start, args.model), rows, Supervised, batch, ahead=bool(args.generate), codec=codec)
    return run_method(command, args, argv, args.out, method, fresh=args.fresh)


def _check_attacker(args: argparse.Namespace) -> None:
    """Refuse what only a defender learns from."""
    if (
        not args.generate
        or not _is_wide(args)
        or args.easy_first
        or any(getattr(args, name) for name in Shares._fields)
        or args.eval_every
    ):
        raise BadRequestError(
            "Expected --seat attacker with --generate N and --wide, and without --easy-first, --other-words, --drills and --eval-every; "
            "its incidents are generated, and read in wide batches."
        )


def _is_wide(args: argparse.Namespace) -> bool:
    return bool(args.wide or args.device != "cpu")


def _batch(args: argparse.Namespace) -> int:
    """Return the incidents of a step."""
    return int(args.batch or (WIDE_BATCH if _is_wide(args) else BATCH))


def _in_turns(known: Sequence[Row], seed: int) -> Callable[[int], Row]:
    """Return an endless stream of rows: all of them again and again, each turn in another order."""

    @lru_cache(maxsize=2)  # a batch lies in two turns at most
    def order(turn: int) -> list[Row]:
        mixed = list(known)
        random.Random(stable_seed(f"order/{seed}/{turn}")).shuffle(mixed)
        return mixed

    return lambda index: order(index // len(known))[index % len(known)]


def grpo(command: Command, args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Learn from rewards on fresh incidents, stage after stage; half of a later stage's incidents are of the earlier ones."""
    stages, name = tasks_of(args.stages, "--stages"), "best_of" if args.best_of else "grpo"
    args = resolved(
        args,
        steps=args.steps or (None if args.minutes else STEPS),
        density="compact",
        groups=args.groups or (WIDE_GROUPS if _is_wide(args) else GROUPS),
        lr=args.lr or LEARNING_RATES[name],
        entropy_coef=ENTROPY if args.entropy_coef is None else args.entropy_coef,
        balance_coef=BALANCE if args.balance_coef is None else args.balance_coef,
        kl_coef=KL if args.kl_coef is None else args.kl_coef,
    )
    if args.curriculum and _is_wide(args):
        raise BadRequestError(
            "Expected --curriculum on a CPU and without --wide, whose rows are made ahead; leave it out."
        )
    anchor = [] if args.anchor == "none" or args.best_of else _drop_too_long(labelled(args.anchor), args)
    random.Random(stable_seed(f"anchor/{args.seed}")).shuffle(anchor)
    run = command.open_run(args.out, argv, args, fresh=args.fresh)
    before = args.model
    courses = _courses(stages, mixed=args.mixed)
    for stage, tasks in courses.items():
        stream = stable_seed(f"grpo/{args.seed}/{stage}")
        drawn = _drawn(args.out / stage, stream, sorted(set(tasks))) if args.curriculum else None
        method = Method(
            name,
            partial(_start, before),
            drawn or partial(training_row, stream, tasks=tasks),
            partial(_objective, args, stage, anchor, before),
            args.groups,
            tasks if args.mixed else tasks[:1],
            None if args.best_of else Collapse(args.collapse_window, args.max_zero_variance, args.max_one_action),
            partial(_tell, drawn) if drawn else None,
        )
        before = str(run_method(command, args, argv, args.out / stage, method))
    close_run(args.out, run, stages=list(courses))
    return Path(before)


def _courses(stages: Sequence[Task], *, mixed: bool) -> dict[str, Sequence[Task]]:
    """Return which tasks take turns in each run: in one run all of them, or stage after stage with what came before."""
    if mixed:
        return {"mixed": stages}
    return {stage: _with_earlier(stages[: index + 1]) for index, stage in enumerate(stages)}


def _drawn(out: Path, stream: int, tasks: Sequence[Task]) -> CurriculumRows:
    """Return the rows that a curriculum draws, with its log in the stage's directory."""
    curriculum = Curriculum(tasks=tasks, seed=stream, salt=f"train/{stream}", log=out / CURRICULUM)
    return CurriculumRows(curriculum, partial(row_of, stream))


def _tell(drawn: CurriculumRows, row: Row, log: Mapping[str, Any]) -> None:
    drawn.tell(row["task"], row["seed"], log["accuracy"])


def _objective(args: argparse.Namespace, stage: str, anchor: Sequence[Row], before: str) -> Objective:
    how: dict[str, Any] = {
        "table": args.reward_table,
        "group": args.group_size,
        "temperature": args.temperature,
        "seed": stable_seed(f"samples/{args.seed}/{stage}"),
    }
    if args.best_of:
        return RejectionSampling(**how)
    bonuses = {"steps": args.steps_coef, "entropy": args.entropy_coef, "balance": args.balance_coef, "kl": args.kl_coef}
    reference = _start(before)[0].requires_grad_(False).to(args.device) if args.kl_coef else None
    return GRPO(anchor=anchor, reference=reference, **bonuses, **how)


def _with_earlier(stages: Sequence[Task]) -> tuple[Task, ...]:
    """Return the last stage in every other place, the earlier ones in turn between."""
    *earlier, last = stages
    return tuple(task for stage in earlier for task in (last, stage)) or (last,)


def _drop_too_long(rows: Sequence[Row], args: argparse.Namespace) -> list[Row]:
    """Return the rows whose prompts leave room for an answer.

    Raises:
        BadRequestError: one does not, and none are to be left out.
    """
    coder, names = PromptCodec(_start(args.model)[1]), [str(row["id"]) for row in rows]
    sizes = [len(coder.read(row)) for row in rows]
    return drop_too_long(rows, names, sizes, CONTEXT - LONGEST, skip=args.skip_long, what="a prompt")


def _start(model: str) -> tuple[Any, Any]:
    """Read a checkpoint made here, or make a preset without any training."""
    return _preset(model, stable_seed("tokenizer")) if model in PRESETS else load(model)


def _preset(preset: str, stream: int, seed: int = 0) -> tuple[Any, Any]:
    """Make a preset with random weights, and its tokenizer from the prompts of a stream."""
    tokenizer = _tokenizer(PRESETS[preset].vocabulary, stream)
    return make(preset, tokenizer, seed=seed), tokenizer


@lru_cache(maxsize=1)
def _tokenizer(vocabulary: int, stream: int) -> Any:
    texts = (user_text(row["observation"], "compact") for row in fresh(stream, number=TOKENIZER_ROWS))
    return train_tokenizer(texts, vocabulary)


# ---------------------------------------------------------------- a run
def run_method(
    command: Command, args: argparse.Namespace, argv: Sequence[str], out: Path, method: Method, *, fresh: bool = False
) -> Path:
    """Begin a run in its directory, resume it, or find it complete; return the directory."""
    check_device(args.device)
    run = command.open_run(out, argv, args, fresh=fresh)
    if is_complete(out, run):
        return out
    plan = _plan(args, out, method)
    evaluate = partial(measure, validation(args, method.tasks), args.threads) if args.eval_every else None
    with progress(100, f"% of {out.name}", line_s=LINE_S if plan.wide else None) as bar:

        def notice(line: dict[str, Any]) -> None:
            bar.update(100 * plan.share(loop.step, loop.seconds), _note(line))
            if evaluate and "val/n" in line:
                print(f"{out.name}, step {line['step']}: {_figures(line)}", file=sys.stderr)
            if method.collapse and (reason := method.collapse.update(line)):
                loop.log.add({"step": loop.step, "stopped": reason})
                raise StoppedError(  # what has collapsed is not worth a checkpoint
                    f"Stopped: {reason}; {loop.remaining}. The same command would come here again: "
                    "give --fresh or another --out with other settings, or a higher limit."
                )

        about = {"method": method.name, "command": run["command"], "commit": run["commit"]}
        loop = Loop(
            plan, method.start, about=about, evaluate=evaluate, notice=notice, tell=method.tell, codec=method.codec
        )
        if method.collapse:
            method.collapse.replay(loop.log, loop.step)
        model = loop.run(method.rows, method.objective())
    if shares := [line["judging_s"] / line["step_s"] for line in loop.log.lines() if "judging_s" in line]:
        report_reward_share(out.name, shares)
    finish(model, loop.tokenizer, out, about={**loop.about, "step": loop.step, "incidents": loop.incidents})
    close_run(out, run, steps=loop.step, incidents=loop.incidents, seconds=round(loop.seconds, 1))
    return out


def _plan(args: argparse.Namespace, out: Path, method: Method) -> Plan:
    if args.steps is None and not args.minutes:  # SFT counts its rows
        raise BadRequestError("Expected --steps or --minutes, and got neither; say how long to train.")
    return Plan(
        out,
        steps=args.steps,
        seconds=args.minutes * 60 if args.minutes else None,
        batch=method.batch,
        lr=args.lr,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        wide=_is_wide(args),
        compiles=args.compiles,
        bf16=args.bf16,
        workers=max(1, (os.cpu_count() or 1) - 1) if method.ahead else 0,
        eval_every=args.eval_every,
    )


def _note(line: dict[str, Any]) -> str:
    return f"step {line['step']}: " + ", ".join(f"{name} {line[name]:.4g}" for name in SHOWN if name in line)


def _figures(line: dict[str, Any]) -> str:
    return ", ".join(f"{name} {line[f'val/{name}']:.3f}" for name in names_in("training") if f"val/{name}" in line)


def validation(args: argparse.Namespace, tasks: Sequence[Task] = TASKS) -> Validation:
    """Return fresh incidents of the split `val`, as many as `--eval-n` says."""
    rows = validation_rows(args.seed, args.eval_n, tasks)
    return Validation(rows, getattr(args, "reward_table", "hardened"))


def measure(validation: Validation, threads: int, model: Any, tokenizer: Any) -> dict[str, Any]:
    """Ask a small model in memory greedily, and return the figures of its answers."""
    return validation.measure(NanoModel(model, tokenizer, Options(density="compact"), threads=threads))
