"""Self-play with gradients to both seats: python -m train.self_play --attacker DIR --defender DIR --rounds 8 --out out/self-play

A round has two halves: the attacker learns by GRPO against frozen defenders, which are drawn from all generations by how hard they are; then the
defender learns by GRPO from the incidents of all attackers, hard ones more often, and from generated ones. Both seats begin at checkpoints of small models that `train.sft`
made (`--seat attacker` for the attacker's); with --model, at LoRA adapters on one chat model, which TRL trains.

Exit code: 0 done; 1 stopped before the end, with the reason; 2 a wrong call; 130 interrupted. After 1 and 130 the same command goes on
from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from players import smollm2
from players.base import DENSITIES
from rubric import TableName
from runs.ending import exit_code
from schema import TASKS, BadRequestError
from train.command import (
    DEVICE,
    FRESH,
    LR_GRPO,
    OPTIMIZER,
    OUT,
    PLAIN,
    SEED,
    THREADS,
    TRL,
    WATCHING,
    Command,
    Flag,
    resolved,
)
from train.gpus import FLAGS

RATE = 3e-4  # of small models
RATES = f"{RATE:g}; chat models: {LR_GRPO:g}"
ROOM = "just above the longest generated one"
UNREAD = ("--full", "--eval-tokens")  # a seat is an adapter
WITHOUT = ("gate", "learnability", "archive", "attacker", "defender")  # what an ablation leaves out


def _ablations(text: str) -> str:
    if text and not set(text.split(",")) <= set(WITHOUT):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(WITHOUT)}; got {text!r}")
    return text


COMMAND = Command(
    "train.self_play",
    "Train an attacker and a defender against each other.",
    {
        "players": (
            Flag("--attacker", "where the attacker begins: a checkpoint, or an adapter of --model", metavar="DIR"),
            Flag("--defender", "where the defender begins, likewise", metavar="DIR"),
            Flag(
                "--model",
                f"a chat model's directory, a name on the hub or {smollm2.NAME}: each seat is an adapter on it, a new one unless it is given",
                trainer=TRL,
                metavar="PATH_OR_HUB_ID",
            ),
            Flag("--density", "of the chats of both seats", default="legend", choices=DENSITIES, trainer=TRL),
            OUT,
            FRESH,
            SEED,
        ),
        "rounds": (
            Flag("--rounds", "attacker, then defender; more may be asked for later", int, 8, metavar="N", free=True),
            Flag("--attacker-steps", "of the attacker's half", int, 100, metavar="N"),
            Flag("--defender-steps", "of the defender's half", int, 100, metavar="N"),
            Flag("--attacker-minutes", "of the attacker's half at most", float, metavar="M", trainer=PLAIN),
            Flag("--defender-minutes", "of the defender's half at most", float, metavar="M", trainer=PLAIN),
            Flag("--tasks", "taken in turn", default=",".join(TASKS), default_text="all four", metavar="TASKS"),
        ),
        "learning": (
            Flag("--briefs", "of a step of the attacker, a group of incidents each", int, 4, metavar="N"),
            Flag("--groups", "incidents of a step of the defender, a group of answers each", int, 16, metavar="N"),
            Flag("--group-size", "incidents or answers of a group", int, 8, metavar="N"),
            Flag(
                "--generated", "share of generated incidents in a defender's batch", float, 0.5, zero=True, share=True
            ),
            Flag("--reward-table", "standard or hardened", default="hardened", choices=get_args(TableName)),
            Flag("--attacker-lr", "learning rate", float, default_text=RATES),
            Flag("--defender-lr", "learning rate", float, default_text=RATES),
            Flag("--temperature", "of the samples", float, 1.0),
            Flag("--kl-coef", "weight of each seat's divergence from where its half began", float, 0.02, zero=True),
            Flag(
                "--steps-coef", "weight of the right steps of a defender's chain", float, 0.0, trainer=PLAIN, zero=True
            ),
            Flag(
                "--anchor",
                "labelled rows that the defender learns beside; none for none",
                default="sft_train",
                trainer=PLAIN,
            ),
            Flag(
                "--without",
                f"ablations, between commas: {', '.join(WITHOUT)}",
                _ablations,
                "",
                default_text="none",
                metavar="NAMES",
            ),
        ),
        "machine": (
            DEVICE,
            THREADS,
            Flag("--bf16", "read in bfloat16 on a CPU too", None, trainer=PLAIN, free=True),
            Flag("--eval-n", "incidents of val after each round; 0 for none", int, 200, zero=True, free=True),
        ),
        "chat models": (
            Flag("--batch-size", "texts on the device at once in a pass of training", int, 4, metavar="N", trainer=TRL),
            Flag("--max-incident", "longest incident", int, default_text=ROOM, metavar="TOKENS", trainer=TRL),
            Flag("--max-answer", "longest answer", int, default_text=ROOM, metavar="TOKENS", trainer=TRL),
            *(flag for flag in (*OPTIMIZER, *WATCHING) if flag.trainer == TRL and flag.name not in UNREAD),
        ),
        "planning": FLAGS,
    },
    (__doc__ or "").split("\n\n")[-1],
)


def train(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Play the rounds; return the run's directory."""
    args = chosen(args)
    if args.backend == "trl":
        from train import hub
        from train.trl_self_play import ChatRounds

        hub.prepare(args.backend)
        return ChatRounds.play(COMMAND, args, argv)
    from train.nano.self_play import SmallRounds  # needs torch

    fixed = {"wide": True, "eval_every": 0, "compiles": False, "density": "compact"}
    read = {flag.attribute: getattr(args, flag.attribute) for flag in COMMAND.flags() if flag.trainer != TRL}
    rates = {name: read[name] or RATE for name in ("attacker_lr", "defender_lr")}
    return SmallRounds.play(COMMAND, argparse.Namespace(**(read | fixed | rates)), argv)


def chosen(args: argparse.Namespace) -> argparse.Namespace:
    """Return the settings with those of the trainer that the models need.

    Raises:
        BadRequestError: neither a chat model nor two checkpoints are given, or a flag is of the other trainer.
    """
    if not args.model and not (args.attacker and args.defender):
        raise BadRequestError(
            "Expected --attacker and --defender with checkpoints of small models, or --model with a chat model; give one or the other."
        )
    COMMAND.check_trainer(resolved(args, backend="trl" if args.model else "plain"))
    if not args.model:
        return resolved(args, backend="plain")
    from train.trl_self_play import chat_settings  # takes TRL's command along

    return chat_settings(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    args = COMMAND.parse(argv)
    if not args.dry_run:
        return COMMAND.run(argv, train)

    def dry() -> None:
        COMMAND.check_ranges(args)
        settings = chosen(args)
        from train.trl_self_play import planned

        print(planned(settings))

    return exit_code(dry, "nothing was begun")


if __name__ == "__main__":
    sys.exit(main())
