"""Pretrain a small defender on prompts without labels: python -m train.nano.pretrain --model nano --out out/pretrain --steps 300

Next-token prediction on fresh prompts of the `train` families, by the plain loop; the verifier is not asked. The tokenizer is made first, from other
prompts of the same kind. What comes out is for `train.sft`.

Exit code: 0 trained; 1 stopped before the end, with the reason; 2 a wrong call; 130 interrupted. The same command goes on from
the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from train.command import BATCH, BF16, COMPILE, DEVICE, FRESH, OUT, SEED, THREADS, WIDE, Command, Flag, resolved
from train.nano.presets import PRESETS

STEPS = 300
COMMAND = Command(
    "train.nano.pretrain",
    "Pretrain a small defender on unlabelled prompts.",
    {
        "": (
            Flag(
                "--model",
                "how large",
                default="nano",
                default_text="nano, about 1M parameters",
                choices=tuple(PRESETS),
            ),
            OUT,
            FRESH,
            Flag(
                "--steps",
                "optimizer steps",
                int,
                default_text=f"{STEPS}, or --minutes alone",
                metavar="N",
            ),
            Flag("--minutes", "of training at most; with --steps whichever comes first", float, metavar="MIN"),
            Flag("--lr", "learning rate after the warm-up", float, default_text="0.005", metavar="RATE"),
            replace(THREADS, trainer=""),
            DEVICE,
            replace(WIDE, trainer=""),
            replace(BF16, trainer=""),
            replace(COMPILE, trainer=""),
            replace(BATCH, trainer=""),
            replace(SEED, help="of weights and prompts"),
        )
    },
    (__doc__ or "").split("\n\n")[-1],
)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""

    def work(args: argparse.Namespace, argv: Sequence[str]) -> Path:
        from train.nano import methods  # needs torch

        steps = STEPS if args.steps is None and args.minutes is None else args.steps
        return methods.pretrain(COMMAND, resolved(args, steps=steps, eval_every=0), argv)

    return COMMAND.run(argv, work)


if __name__ == "__main__":
    sys.exit(main())
