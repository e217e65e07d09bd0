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
import importlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rubric import TABLES
from runs.provenance import stable_seed
from schema import TASKS, BadRequestError, Task
from train.command import add_common, close_run, open_run, settings_of, tasks_of, train_by
from train.data import SFT_SET, drop_too_long, validation_rows
from train.reward import TriageReward
from train.reward import rows as reward_rows

STEPS = 200  # of a stage
GROUPS = 4  # incidents of a step
DRAWN = 64  # incidents at a time where too long ones are left out, at least
LR_LORA, LR_FULL = 1e-5, 1e-6
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo")


class TimedReward(TriageReward):
    """The reward that also says how long it took: `seconds`, to be set back by who reads it."""

    seconds = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> list[float]:
        """As `TriageReward`."""
        started = time.perf_counter()
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started


# ---------------------------------------------------------------- the call
def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, resolved."""
    parser = argparse.ArgumentParser(
        prog="python -m train.grpo",
        description="Train a defender with GRPO on fresh incidents.",
        epilog=(__doc__ or "").split("\n\n")[-1],
    )
    add_common(
        parser,
        lr=f"default: {LR_LORA:g} for an adapter, {LR_FULL:g} with --full; plain loop: 0.003",
        steps=f"of each stage; default: {STEPS}; plain loop: 300, or --minutes alone",
    )
    add = parser.add_argument_group("of GRPO").add_argument
    add(
        "--stages",
        default=",".join(TASKS),
        metavar="TASKS",
        help=f"comma-separated, in order (default: {','.join(TASKS)})",
    )
    add("--reward-table", choices=list(TABLES), default="hardened", help="which rewards (default: hardened)")
    add("--group-size", type=int, default=8, metavar="N", help="answers to each incident (default: 8)")
    add(
        "--groups",
        type=int,
        metavar="N",
        help="incidents of one optimizer step, over all devices (default: 4; plain loop: 32)",
    )
    add(
        "--batch-size",
        type=int,
        default=4,
        metavar="N",
        help="answers on a device at once in a pass of training (TRL; default: 4)",
    )
    add("--temperature", type=float, default=1.0, help="of sampling, above 0 (default: 1)")
    add(
        "--max-answer",
        type=int,
        metavar="TOKENS",
        help="longest answer (TRL; default: just above the longest right one)",
    )
    add("--beta", type=float, default=0.0, help="weight of the KL term against the stage's start (default: 0, none)")
    add("--loss-type", choices=LOSSES, default="dr_grpo", help="how token losses are averaged (TRL; default: dr_grpo)")
    add(
        "--scale-rewards",
        choices=("none", "group", "batch"),
        default="none",
        help="what advantages are divided by (TRL; default: none)",
    )
    add("--epsilon", type=float, default=0.2, help="clip of the probability ratio, each side (TRL; default: 0.2)")
    add(
        "--best-of",
        action="store_true",
        help="rejection sampling instead: learn the best-paid answer of each group where its action is right (plain loop)",
    )
    add(
        "--raw-rewards",
        action="store_true",
        help="compare decisions by the reward table's figures; by default a decision counts as right or wrong (plain loop)",
    )
    add("--entropy-coef", type=float, help="weight of an entropy bonus (default: 0; plain loop: 0.1)")
    add(
        "--anchor",
        default=SFT_SET,
        metavar="NAME_OR_FILE",
        help=f"labelled rows learned beside, one for every four incidents; none for none (plain loop; default: {SFT_SET})",
    )
    add(
        "--balance-coef",
        type=float,
        metavar="WEIGHT",
        help="of a bonus for actions that were rare in the batch's answers (plain loop; default: 2)",
    )
    add(
        "--eval-every",
        type=int,
        default=50,
        metavar="STEPS",
        help="steps between evaluations on val; 0 for none (default: 50)",
    )

    collapse = parser.add_argument_group("early stop").add_argument
    collapse(
        "--collapse-window",
        type=int,
        default=20,
        metavar="STEPS",
        help="steps that are looked at together (default: 20)",
    )
    collapse(
        "--max-zero-variance",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="of groups with equal rewards, 0 to 1; 1 never stops (default: 0.95)",
    )
    collapse(
        "--max-one-action",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of one action in the answers, 0 to 1; 1 never stops (default: 0.9)",
    )

    vllm = parser.add_argument_group("generation with vLLM (TRL)").add_argument
    vllm("--use-vllm", "--use_vllm", action="store_true", help="generate with vLLM, installed in this environment")
    vllm(
        "--vllm-mode",
        "--vllm_mode",
        choices=("colocate", "server"),
        default="colocate",
        help="on the training GPUs, or a server of its own (default: colocate)",
    )
    vllm(
        "--vllm-memory",
        type=float,
        default=0.3,
        metavar="SHARE",
        help="of the GPU's memory for vLLM when colocated, 0 to 1 (default: 0.3)",
    )
    vllm(
        "--vllm-server",
        default="",
        metavar="URL",
        help="the server's address with --vllm-mode server (default: localhost, port 8000)",
    )
    return parser.parse_args(argv)


def accumulation(args: argparse.Namespace) -> int:
    """Passes of one optimizer step on each device.

    Raises:
        BadRequestError: a step's answers do not divide by what the devices take at once, or a group is one answer.
    """
    answers = args.groups * args.group_size
    at_once = args.batch_size * int(os.environ.get("WORLD_SIZE", "1"))
    if args.group_size < 2 or answers % at_once:
        raise BadRequestError(
            f"Expected --group-size of 2 or more, and --groups x --group-size ({answers} answers) to be a multiple of --batch-size x devices "
            f"({at_once}); change one of them."
        )
    return int(answers // at_once)


def _vllm(args: argparse.Namespace) -> dict[str, Any]:
    if not args.use_vllm:
        return {}
    if importlib.util.find_spec("vllm") is None:
        raise BadRequestError(
            "Expected vLLM for --use-vllm, and it is not installed; install it into an environment for training alone, or leave the flag out."
        )
    server = {"vllm_server_base_url": args.vllm_server} if args.vllm_server else {}
    return {"use_vllm": True, "vllm_mode": args.vllm_mode, "vllm_gpu_memory_utilization": args.vllm_memory, **server}


# ---------------------------------------------------------------- training
def train(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Train all stages, or go on with them; where the last one is.

    Raises:
        StoppedError: a stage stopped before its end.
        OpenSOCError: a wrong call.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    from train import hub
    from train import trl_trainer as watch

    if args.backend == "unsloth":
        hub.have_unsloth()
    watch.with_trl()
    stages = tasks_of(args.stages, "--stages")
    args.steps, args.groups = args.steps or STEPS, args.groups or GROUPS
    accumulation(args)
    _vllm(args)
    args.lr = args.lr or (LR_FULL if args.full else LR_LORA)
    run = open_run(args.out, "train.grpo", argv, settings_of(args), fresh=args.fresh)
    watch.quiet()
    start = args.model
    for stage in stages:
        start = str(_stage(args, argv, stage, start))
    close_run(args.out, run, stages=stages)
    return Path(start)


def _stage(args: argparse.Namespace, argv: Sequence[str], stage: Task, start: str) -> Path:
    """One stage: its model from where the last one ended, its incidents, its trainer."""
    from train import hub
    from train import monitor as signs
    from train import trl_trainer as watch

    out = Path(args.out) / stage
    run = open_run(out, "train.grpo", argv, settings_of(args) | {"stage": stage, "start": start}, fresh=False)
    if run["complete"]:
        print(f"{stage} is complete.", file=sys.stderr)
        return out
    loaded = hub.load(
        start,
        full=args.full,
        rank=args.lora_rank,
        alpha=args.lora_alpha,
        seed=args.seed,
        checkpointing=args.checkpointing,
        max_length=args.max_length,
        unsloth=args.backend == "unsloth",
    )
    most = args.max_answer or hub.answer_room(loaded.tokenizer, args.density)
    made, left_out = incidents(args, stage, loaded, most)
    reward = TimedReward(reward_table=args.reward_table)
    trainer = _trainer(args, out, loaded, made, most, reward)
    examination = None
    if args.eval_every:
        examination = signs.Examination(
            rows=validation_rows(args.seed, args.eval_n, (stage,)),
            density=args.density,
            table=args.reward_table,
            tokens=args.eval_tokens or most,
            batch=args.eval_batch,
            every=args.eval_every,
        )
    log = signs.Log(out / "log.jsonl")
    trainer.watch(
        log,
        threading.Event(),
        record=out / "run.json",
        examination=examination,
        collapse=signs.Collapse(args.collapse_window, args.max_zero_variance, args.max_one_action),
        reward=reward,
    )
    watch.run(trainer, out / "checkpoints")
    trainer.finish(out)
    share = signs.told_share(stage, [line["time/reward_share"] for line in log.lines() if "time/reward_share" in line])
    close_run(out, run, steps=trainer.state.global_step, incidents=len(made), left_out=left_out, reward_share=share)
    return out


def incidents(args: argparse.Namespace, stage: Task, loaded: Any, answer: int) -> tuple[list[dict[str, Any]], int]:
    """The stage's fresh incidents in their order, as many as its steps take, and how many were too long.

    Raises:
        BadRequestError: one is too long, and none are to be left out.
    """
    from train import hub

    wanted, begin = args.steps * args.groups, stable_seed(f"grpo/{args.seed}/{stage}")
    kept: list[dict[str, Any]] = []
    seen = 0
    while len(kept) < wanted:
        number = max(wanted - len(kept), DRAWN if args.skip_long else 0)  # of a few all might be too long by chance
        made = reward_rows(number, task=stage, start=begin + seen, density=args.density)
        sizes = hub.lengths(loaded.tokenizer, [row["prompt"] for row in made])
        names = [f"{stage} seed {row['seed']}" for row in made]
        what = f"the context of {loaded.context} without {answer} for the answer"
        fits = drop_too_long(made, names, sizes, loaded.context - answer, skip=args.skip_long, what=what)
        kept += fits
        seen += len(made)
    kept = kept[:wanted]
    return kept, kept[-1]["seed"] + 1 - begin - wanted


def _trainer(
    args: argparse.Namespace, out: Path, loaded: Any, made: list[dict[str, Any]], answer: int, reward: Any
) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from train.trl_head import use_plain_head
    from train.trl_trainer import trainer_settings, watched

    use_plain_head()
    config = GRPOConfig(
        output_dir=str(out / "checkpoints"),
        gradient_accumulation_steps=accumulation(args),
        num_generations=args.group_size,
        max_completion_length=answer,
        max_steps=args.steps,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=int(args.warmup * args.steps),
        **trainer_settings(args),
        temperature=args.temperature,
        beta=args.beta,
        loss_type=args.loss_type,
        scale_rewards=args.scale_rewards,
        epsilon=args.epsilon,
        entropy_coef=args.entropy_coef or 0.0,
        shuffle_dataset=False,  # fresh incidents need no order
        **_vllm(args),
    )
    return watched(GRPOTrainer)(
        model=loaded.model,
        args=config,
        reward_funcs=reward,
        train_dataset=Dataset.from_list(made),
        processing_class=loaded.tokenizer,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    return train_by(arguments, argv, train, "grpo")


if __name__ == "__main__":
    sys.exit(main())
