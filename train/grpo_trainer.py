"""Make TRL's GRPO trainer: its settings from the flags, and a reward that is timed."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from players.scoring import Score
from schema import BadRequestError, Task
from train import hub
from train.data import CurriculumRows
from train.reward import TriageReward


class TimedReward(TriageReward):
    """A reward that counts the `seconds` that it took; whoever reads them sets them back. It tells a curriculum how groups went."""

    seconds = 0.0
    drawn: CurriculumRows | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> list[float]:
        """Score completions as `TriageReward` does."""
        started = time.perf_counter()
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started

    def judged(self, tasks: Sequence[Task], seeds: Sequence[int], scores: Sequence[Score]) -> None:
        """Tell the curriculum, where there is one, which share of each incident's answers was right."""
        if self.drawn:
            groups: dict[tuple[Task, int], list[bool]] = {}
            for task, seed, score in zip(tasks, seeds, scores, strict=True):
                groups.setdefault((task, int(seed)), []).append(score.right)
            for (task, seed), rights in groups.items():
                self.drawn.tell(task, seed, sum(rights) / len(rights))


def accumulation(args: argparse.Namespace) -> int:
    """Return the passes of one optimizer step on each device.

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


def vllm_settings(args: argparse.Namespace) -> dict[str, Any]:
    if not args.use_vllm:
        return {}
    if importlib.util.find_spec("vllm") is None:
        raise BadRequestError(
            "Expected vLLM for --use-vllm, and it is not installed; install it into an environment for training alone, or leave the flag out."
        )
    server = {"vllm_server_base_url": args.vllm_server} if args.vllm_server else {}
    return {"use_vllm": True, "vllm_mode": args.vllm_mode, "vllm_gpu_memory_utilization": args.vllm_memory, **server}


def make_trainer(args: argparse.Namespace, out: Path, loaded: hub.Loaded, data: Any, answer: int, reward: Any) -> Any:
    """Make TRL's trainer of a stage."""
    from trl import GRPOConfig, GRPOTrainer

    from train.trl_head import use_plain_head
    from train.trl_trainer import TimedGeneration, trainer_settings

    class Trainer(TimedGeneration, GRPOTrainer):  # type: ignore[misc, unused-ignore]
        pass

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
        beta=args.kl_coef or 0.0,
        loss_type=args.loss_type,
        scale_rewards=args.scale_rewards,
        epsilon=args.epsilon,
        entropy_coef=args.entropy_coef or 0.0,
        shuffle_dataset=False,  # fresh incidents need no order
        **vllm_settings(args),
    )
    return Trainer(
        model=loaded.model,
        args=config,
        reward_funcs=reward,
        train_dataset=data,
        processing_class=loaded.tokenizer,
    )
