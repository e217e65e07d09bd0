"""Reinforcement learning with the verifier's rewards: python -m train.grpo --model out/sft --out out/grpo

TRL's GRPOTrainer with the environment in process: every answer of a group is judged on the same fresh incident of the `train` families. The
stages are trained one after the other, each from what the one before it made, each with a directory of its own (`OUT/stage1_basic` ...)
that holds its adapter or model, checkpoints and log. Presets and what they became are trained by the plain loop. The defaults are for an
SFT adapter of Qwen2.5-3B-Instruct on one 24 GB GPU.

Exit code: 0 trained; 1 stopped before the end, with the reason (collapse, a loss that is no number, no room); 2 a wrong call; 130
interrupted. The same command goes on: finished stages are skipped, the unfinished one resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from generator.curriculum import Curriculum
from rubric import TABLES
from runs.provenance import stable_seed
from schema import TASKS, BadRequestError, Task
from train import hub
from train.command import LR_GRPO, PLAIN, TRL, Command, Flag, close_run, common_flags, resolved, tasks_of, train_by
from train.data import CURRICULUM, SFT_SET, CurriculumRows, drop_too_long, fresh, validation_rows
from train.gpus import FLAGS
from train.grpo_trainer import TimedReward, accumulation, make_trainer, vllm_settings
from train.monitor import Collapse, Validation, report_reward_share
from train.plan import MEASURED, Work, evaluations_of, plan
from train.reward import rows as reward_rows

STEPS = 30  # of a stage: four of them and SFT take three hours on an L4 (`--dry-run`)
GROUPS = 4  # incidents of a step
DRAWN = 64  # incidents at a time if too long ones are left out, at least
LR_FULL = 1e-6
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo")
OF_GRPO = (
    Flag("--stages", "comma-separated, in order", default=",".join(TASKS), metavar="TASKS"),
    Flag("--mixed", "all of --stages in one run, taken in turn", None, trainer=PLAIN),
    Flag("--reward-table", "which rewards", default="hardened", choices=list(TABLES)),
    Flag("--group-size", "answers to each incident", int, 8, metavar="N"),
    Flag(
        "--groups",
        "incidents of one optimizer step, over all devices",
        int,
        default_text="4; plain loop: 32, wide: 128",
        metavar="N",
    ),
    Flag(
        "--curriculum",
        "draw incidents by how answers on their task, rule and context went lately, about half right",
        None,
    ),
    Flag("--batch-size", "answers on a device at once in a pass of training", int, 4, metavar="N", trainer=TRL),
    Flag("--temperature", "of sampling, above 0", float, 1.0),
    Flag(
        "--max-answer",
        "longest answer",
        int,
        default_text="just above the longest right one",
        metavar="TOKENS",
        trainer=TRL,
    ),
    Flag(
        "--kl-coef",
        "weight of the KL term against the stage's start; 0 for none",
        float,
        default_text="0; plain loop: 0.02",
        zero=True,
        aliases=("--beta",),
    ),
    Flag("--loss-type", "how token losses are averaged", default="dr_grpo", choices=LOSSES, trainer=TRL),
    Flag(
        "--scale-rewards",
        "what advantages are divided by",
        default="none",
        choices=("none", "group", "batch"),
        trainer=TRL,
    ),
    Flag("--epsilon", "clip of the probability ratio, each side", float, 0.2, trainer=TRL),
    Flag(
        "--best-of",
        "rejection sampling instead: learn the best-paid answer of each group if its action is right",
        None,
        trainer=PLAIN,
    ),
    Flag("--entropy-coef", "weight of an entropy bonus", float, default_text="0; plain loop: 0.1", zero=True),
    Flag(
        "--steps-coef",
        "weight of the share of right steps in an answer's chain of reasons, beside decision, citation and form",
        float,
        0.0,
        default_text="0, none",
        trainer=PLAIN,
        zero=True,
    ),
    Flag(
        "--anchor",
        "labelled rows learned beside, one for every four incidents; none for none",
        default=SFT_SET,
        metavar="NAME_OR_FILE",
        trainer=PLAIN,
    ),
    Flag(
        "--balance-coef",
        "of a bonus for actions that were rare in the batch's answers",
        float,
        default_text="2",
        metavar="WEIGHT",
        trainer=PLAIN,
        zero=True,
    ),
    Flag(
        "--eval-every", "steps between evaluations on val; 0 for none", int, 50, metavar="STEPS", zero=True, free=True
    ),
)
EARLY_STOP = (
    Flag("--collapse-window", "steps that are looked at together", int, 20, metavar="STEPS", free=True),
    Flag(
        "--max-zero-variance",
        "of groups with equal rewards, 0 to 1; 1 never stops",
        float,
        0.95,
        metavar="SHARE",
        zero=True,
        share=True,
        free=True,
    ),
    Flag(
        "--max-one-action",
        "of one action in the answers, 0 to 1; 1 never stops",
        float,
        0.9,
        metavar="SHARE",
        zero=True,
        share=True,
        free=True,
    ),
)
VLLM = (
    Flag(
        "--use-vllm",
        "generate with vLLM, installed in this environment",
        None,
        trainer=TRL,
        aliases=("--use_vllm",),
    ),
    Flag(
        "--vllm-mode",
        "on the training GPUs, or a server of its own",
        default="colocate",
        choices=("colocate", "server"),
        trainer=TRL,
        aliases=("--vllm_mode",),
    ),
    Flag(
        "--vllm-memory",
        "of the GPU's memory for vLLM when colocated, 0 to 1",
        float,
        0.3,
        metavar="SHARE",
        trainer=TRL,
        share=True,
    ),
    Flag(
        "--vllm-server",
        "the server's address with --vllm-mode server",
        default="",
        default_text="localhost, port 8000",
        metavar="URL",
        trainer=TRL,
    ),
)
COMMAND = Command(
    "train.grpo",
    "Train a defender with GRPO on fresh incidents.",
    {
        **common_flags(
            lr=f"{LR_GRPO:g} for an adapter, {LR_FULL:g} with --full; plain loop: 0.003",
            steps=f"{STEPS} of each stage; plain loop: 300, or --minutes alone",
        ),
        "planning": FLAGS,
        "of GRPO": OF_GRPO,
        "early stop": EARLY_STOP,
        "generation with vLLM": VLLM,
    },
    (__doc__ or "").split("\n\n")[-1],
)


# ---------------------------------------------------------------- training
def train(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Train all stages with TRL, or resume them; return where the last one is.

    Raises:
        StoppedError: a stage stopped before its end.
        OpenSOCError: a wrong call.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    hub.prepare(args.backend)
    stages = tasks_of(args.stages, "--stages")
    args = resolved(
        args,
        steps=args.steps or STEPS,
        groups=args.groups or GROUPS,
        lr=args.lr or (LR_FULL if args.full else LR_GRPO),
    )
    accumulation(args)
    vllm_settings(args)
    if args.curriculum and args.skip_long:
        raise BadRequestError(
            "--curriculum draws no second incident for one that is too long; leave --skip-long out and take --density compact."
        )
    record = COMMAND.open_run(args.out, argv, args, fresh=args.fresh)
    start = args.model
    for stage in stages:
        start = str(_train_stage(args, argv, stage, start))
    close_run(args.out, record, stages=stages)
    return Path(start)


def _train_stage(args: argparse.Namespace, argv: Sequence[str], stage: Task, start: str) -> Path:
    """Train one stage: its model from where the last one ended, its incidents, its trainer."""
    from train.trl_trainer import Watcher, evaluation_options, run

    out = Path(args.out) / stage
    record = COMMAND.open_run(out, argv, args, stage=stage, start=start)
    if record["complete"]:
        print(f"{stage} is complete.", file=sys.stderr)
        return out
    loaded = hub.load(start, args)
    longest = args.max_answer or hub.answer_room(loaded.tokenizer, args.density)
    reward = TimedReward(reward_table=args.reward_table)
    count, left_out = args.steps * args.groups, 0
    if args.curriculum:
        reward.drawn = _drawn(args, out, stage, loaded, longest)
        data = _stream(reward.drawn, count)
    else:
        rows, left_out = incidents(args, stage, loaded, longest)
        data = _dataset(rows)
    trainer = make_trainer(args, out, loaded, data, longest, reward)
    held_out = validation_rows(args.seed, args.eval_n, (stage,)) if args.eval_every else []
    watcher = Watcher(
        trainer,
        out,
        validation=Validation(held_out, args.reward_table, args.eval_every),
        options=evaluation_options(args, longest),
        collapse=Collapse(args.collapse_window, args.max_zero_variance, args.max_one_action),
        reward=reward,
    )
    run(watcher)
    lines = (line.get("time/reward_share") for line in watcher.log.lines())
    share = report_reward_share(stage, [value for value in lines if value is not None])
    steps = trainer.state.global_step
    close_run(out, record, steps=steps, incidents=count, left_out=left_out, reward_share=share)
    return out


def incidents(args: argparse.Namespace, stage: Task, loaded: Any, answer: int) -> tuple[list[dict[str, Any]], int]:
    """Return the stage's fresh incidents in their order, as many as its steps take, and how many were too long.

    Raises:
        BadRequestError: one is too long, and none are to be left out.
    """
    wanted, begin = args.steps * args.groups, stable_seed(f"grpo/{args.seed}/{stage}")
    fitting: list[dict[str, Any]] = []
    drawn = 0
    while len(fitting) < wanted:
        count = max(wanted - len(fitting), DRAWN if args.skip_long else 0)  # of a few all might be too long by chance
        rows = reward_rows(count, task=stage, start=begin + drawn, density=args.density)
        sizes = hub.lengths(loaded.tokenizer, [row["prompt"] for row in rows])
        names = [f"{stage} seed {row['seed']}" for row in rows]
        what = f"the context of {loaded.context} without {answer} for the answer"
        fitting += drop_too_long(rows, names, sizes, loaded.context - answer, skip=args.skip_long, what=what)
        drawn += len(rows)
    fitting = fitting[:wanted]
    return fitting, fitting[-1]["seed"] + 1 - begin - wanted


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def _drawn(args: argparse.Namespace, out: Path, stage: Task, loaded: hub.Loaded, answer: int) -> CurriculumRows:
    """Return the rows that a curriculum draws; its log lies in the stage's directory."""
    curriculum = Curriculum(tasks=(stage,), seed=stable_seed(f"grpo/{args.seed}/{stage}"), log=out / CURRICULUM)

    def make(task: Task, seed: int) -> dict[str, Any]:
        (row,) = reward_rows(1, task=task, start=seed, density=args.density)
        what = f"the context of {loaded.context} without {answer} for the answer"
        sizes = hub.lengths(loaded.tokenizer, [row["prompt"]])
        drop_too_long([row], [f"{task} seed {seed}"], sizes, loaded.context - answer, skip=False, what=what)
        return row

    return CurriculumRows(curriculum, make)


def _stream(drawn: CurriculumRows, count: int) -> Any:
    """Return so many rows as a dataset that draws each when the trainer comes to it."""
    from datasets import IterableDataset

    return IterableDataset.from_generator(lambda: map(drawn, range(count)))


def planned(args: argparse.Namespace) -> str:
    """Write what the run of these flags costs, all stages together.

    Raises:
        BadRequestError: the model's config is not at hand, or there are no such stages.
    """
    stages, steps, groups = tasks_of(args.stages, "--stages"), args.steps or STEPS, args.groups or GROUPS
    evaluations = evaluations_of(steps, args.eval_every)
    work = Work(
        len(stages) * steps,
        groups * args.group_size,
        args.batch_size,
        sampled=True,
        checked=len(stages) * evaluations * args.eval_n,
    )
    rows = list(fresh(stable_seed(f"plan/{args.seed}"), number=MEASURED, tasks=stages))
    return plan("train.grpo", args, rows, work)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""

    def by_plain(args: argparse.Namespace, argv: Sequence[str]) -> Path:
        from train.nano import methods  # needs torch

        return methods.grpo(COMMAND, args, argv)

    return train_by(COMMAND, argv, by_trl=train, by_plain=by_plain, plan=planned)


if __name__ == "__main__":
    sys.exit(main())
