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
from pathlib import Path

from train.command import add_device, check_ranges, exit_code
from train.nano.model import PRESETS

STEPS = 300


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, resolved."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.pretrain",
        description="Pretrain a small defender on unlabelled prompts.",
        epilog=(__doc__ or "").split("\n\n")[-1],
    )
    add = parser.add_argument
    add("--model", choices=PRESETS, default="nano", help="how large (default: nano, about 1M parameters)")
    add("--out", type=Path, required=True, metavar="DIR", help="the run's directory; a run that is there goes on")
    add("--fresh", action="store_true", help="forget the run that is in --out and start over")
    add("--steps", type=int, metavar="N", help=f"optimizer steps of 16 prompts (default: {STEPS}, or --minutes alone)")
    add("--minutes", type=float, metavar="MIN", help="of training at most; with --steps whichever comes first")
    add("--lr", type=float, metavar="RATE", help="learning rate after the warm-up (default: 0.005)")
    add("--threads", type=int, default=2, metavar="N", help="cores that share a step (default: 2)")
    add_device(parser)
    add("--seed", type=int, default=0, help="of weights and prompts (default: 0)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = arguments(argv)
    if args.steps is None and args.minutes is None:
        args.steps = STEPS
    args.eval_every = 0

    def work() -> Path:
        check_ranges(args)
        from train.nano import methods as plain

        return plain.pretrain(args, argv)

    return exit_code(work, args.out)


if __name__ == "__main__":
    sys.exit(main())
