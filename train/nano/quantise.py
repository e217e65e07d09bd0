"""Put a checkpoint's matrices on an 8-bit grid: python -m train.nano.quantise CHECKPOINT --out DIR

Quantising during export flips close decisions. Quantise the checkpoint first: then what is measured is what is shipped. Each row of a matrix, one for each output, becomes whole numbers from
-127 to 127 times one scale: symmetric and per channel, as the specification of ONNX's QuantizeLinear has it.

    python -m train.nano.quantise out/grpo/stage4_adversarial --out out/defender
    python -m train.nano.export out/defender

Exit code: 0 rounded; 1 it loses too much, or cannot be written; 2 a wrong call; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from players.base import MARK
from runs.ending import StoppedError
from schema import BadRequestError
from train.command import OUT, SEED, THREADS, Command, Flag, close_run, is_complete
from train.nano.checkpoint import Checkpoint, finish, read_record

TOP = 127  # the largest whole number; -128 has no counterpart
MAY_LOSE = 0.01  # of the accuracy


def whole(matrix: Any) -> tuple[Any, Any]:
    """Split a matrix into whole numbers and scales.

    Args:
        matrix: float tensor [outputs, inputs].

    Returns:
        int8 tensor [outputs, inputs] and float32 tensor [outputs, 1]; their product is on the grid, and a matrix that is on it stays as it is.
    """
    import torch

    rows = matrix.detach().float()
    scales = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / TOP
    return (rows / scales).round().to(torch.int8), scales


def round_model(model: Any) -> int:
    """Round every matrix of a model in place, and return how many there are."""
    import torch

    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    with torch.no_grad():
        for weight in matrices:
            numbers, scales = whole(weight)
            weight.copy_(numbers * scales)
    return len(matrices)


def _round_checkpoint(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Round a checkpoint, and compare it with what it was on fresh incidents of the split `val`.

    Raises:
        BadRequestError: there is no checkpoint, or --out is its own directory or holds another run.
        StoppedError: it loses more than `MAY_LOSE`, or cannot be written.
    """
    from train.nano import methods  # needs torch

    if args.out.resolve() == args.model.resolve():
        raise BadRequestError(
            f"Expected another directory as --out than the checkpoint's own, and got {str(args.out)!r}."
        )
    source = Checkpoint(args.model)
    run = COMMAND.open_run(args.out, argv, args)
    if is_complete(args.out, run):
        return Path(args.out)
    measure = partial(methods.measure, methods.validation(args), args.threads, source.model, source.tokenizer)
    before = _short(measure())
    matrices = round_model(source.model)
    after = _short(measure())
    both = ", ".join(f"{name} {before[name]:.3f} and {after[name]:.3f}" for name in before)
    print(f"{matrices} matrices rounded; on {args.eval_n} incidents of val, before and after: {both}")
    _check_loss(before["accuracy"] - after["accuracy"])
    about = {**read_record(args.model / MARK), "rounded_to_bits": 8}
    finish(source.model, source.tokenizer, args.out, about=about)
    close_run(args.out, run, val={"n": args.eval_n, "before": before, "after": after})
    return Path(args.out)


def _short(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(figures[f"val/{name}"], 6) for name in ("accuracy", "macro_f1")}


def _check_loss(lost: float) -> None:
    if lost > MAY_LOSE + 1e-9:
        raise StoppedError(
            f"Expected to lose at most {MAY_LOSE * 100:.0f} point of accuracy, and it is {lost * 100:.1f}: nothing was written. Train it "
            "on, ask more incidents (--eval-n), or export it as it is, in float32."
        )


# ---------------------------------------------------------------- the command
COMMAND = Command(
    "train.nano.quantise",
    "Put a checkpoint's matrices on an 8-bit grid, so that an 8-bit export says the same.",
    {
        "": (
            Flag("model", "directory of a small Qwen2 checkpoint", Path, metavar="CHECKPOINT"),
            replace(OUT, help="where the rounded one is written"),
            Flag("--eval-n", "incidents of the split val to compare on", int, 400, metavar="N", free=True),
            replace(THREADS, help="cores that share them", trainer="", free=True),
            replace(SEED, help="of the incidents"),
        )
    },
    (__doc__ or "").split("\n\n")[-1],
)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    return COMMAND.run(argv, _round_checkpoint)


if __name__ == "__main__":
    sys.exit(main())
