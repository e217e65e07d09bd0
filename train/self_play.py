"""Self-play with gradients to both seats: python -m train.self_play --attacker DIR --defender DIR --rounds 8 --out out/self-play

A round has two halves: the attacker learns by GRPO against frozen defenders, which are drawn from all generations by how hard they are; then the
defender learns by GRPO from the incidents of all attackers, hard ones more often, and from generated ones. Both seats begin at checkpoints of small models that `train.sft`
made (`--seat attacker` for the attacker's).

Exit code: 0 done; 1 stopped before the end, with the reason; 2 a wrong call; 130 interrupted. After 1 and 130 the same command goes on
from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rubric import TableName
from schema import TASKS
from train.command import DEVICE, FRESH, OUT, SEED, THREADS, Command, Flag, resolved

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
            Flag("--attacker", "checkpoint where the attacker begins", required=True, metavar="DIR"),
            Flag("--defender", "checkpoint where the defender begins", required=True, metavar="DIR"),
            OUT,
            FRESH,
            SEED,
        ),
        "rounds": (
            Flag("--rounds", "attacker, then defender; more may be asked for later", int, 8, metavar="N", free=True),
            Flag("--attacker-steps", "of the attacker's half", int, 100, metavar="N"),
            Flag("--defender-steps", "of the defender's half", int, 100, metavar="N"),
            Flag("--attacker-minutes", "of the attacker's half at most", float, metavar="M"),
            Flag("--defender-minutes", "of the defender's half at most", float, metavar="M"),
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
            Flag("--attacker-lr", "learning rate", float, 3e-4),
            Flag("--defender-lr", "learning rate", float, 3e-4),
            Flag("--temperature", "of the samples", float, 1.0),
            Flag("--kl-coef", "weight of each seat's divergence from where its half began", float, 0.02, zero=True),
            Flag("--steps-coef", "weight of the right steps of a defender's chain", float, 0.0, zero=True),
            Flag("--anchor", "labelled rows that the defender learns beside; none for none", default="sft_train"),
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
            Flag("--bf16", "read in bfloat16 on a CPU too", None, free=True),
            Flag("--eval-n", "incidents of val after each round; 0 for none", int, 200, zero=True, free=True),
        ),
    },
    (__doc__ or "").split("\n\n")[-1],
)


def train(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Play the rounds; return the run's directory."""
    from train.nano.self_play import self_play  # needs torch

    fixed = {"wide": True, "eval_every": 0, "compiles": False, "density": "compact"}
    return self_play(COMMAND, resolved(args, **fixed), argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    return COMMAND.run(argv, train)


if __name__ == "__main__":
    sys.exit(main())
