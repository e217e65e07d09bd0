"""Put a checkpoint's matrices on an 8-bit grid: python -m train.nano.quantise CHECKPOINT --out DIR

A model that is rounded while it is exported answers otherwise wherever two answers are about equally likely. Rounded first, it is a checkpoint like
any other, is measured as it is, and its 8-bit export is the same function. Each row of a matrix, one for each output, becomes whole numbers from
-127 to 127 times one scale: symmetric and per channel, as the specification of ONNX's QuantizeLinear has it.

    python -m train.nano.quantise out/grpo/stage4_adversarial --out out/defender
    python -m train.nano.export out/defender

Exit code: 0 rounded; 1 it loses too much, or cannot be written; 2 a wrong call; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schema import BadRequestError
from train.command import StoppedError, check_ranges, close_run, exit_code, is_complete, open_run, settings_of

TOP = 127  # the largest whole number; -128 has no counterpart
MAY_LOSE = 0.01  # of the accuracy


def whole(matrix: Any) -> tuple[Any, Any]:
    """A matrix as whole numbers and scales.

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
    """Round every matrix of a model in place; how many there are."""
    import torch

    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    with torch.no_grad():
        for weight in matrices:
            numbers, scales = whole(weight)
            weight.copy_(numbers * scales)
    return len(matrices)


def rounded(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Round a checkpoint, and compare it with what it was on fresh incidents of the split `val`.

    Raises:
        BadRequestError: there is no checkpoint, or --out is its own directory or holds another run.
        StoppedError: it loses more than `MAY_LOSE`, or cannot be written.
    """
    from players.codec import MARK, Coder
    from train.nano.export import Checkpoint, written
    from train.nano.loop import finish
    from train.nano.methods import examination, examine

    if args.out.resolve() == args.model.resolve():
        raise BadRequestError(
            f"Expected another directory as --out than the checkpoint's own, and got {str(args.out)!r}."
        )
    source = Checkpoint(args.model)
    run = open_run(args.out, "train.nano.quantise", argv, settings_of(args), fresh=False)
    if is_complete(args.out, run):
        return Path(args.out)
    asked, coder = examination(args), Coder(source.tokenizer)
    before = examine(asked, args.threads, source.model, coder)
    matrices = round_model(source.model)
    after = examine(asked, args.threads, source.model, coder)
    found = {when: _short(figures) for when, figures in (("before", before), ("after", after))}
    told = ", ".join(f"{name} {found['before'][name]:.3f} and {found['after'][name]:.3f}" for name in found["before"])
    print(f"{matrices} matrices rounded; on {args.eval_n} incidents of val, before and after: {told}")
    lost = found["before"]["accuracy"] - found["after"]["accuracy"]
    if lost > MAY_LOSE + 1e-9:
        raise StoppedError(
            f"Expected to lose at most {MAY_LOSE * 100:.0f} point of accuracy, and it is {lost * 100:.1f}: nothing was written. Train it "
            "on, ask more incidents (--eval-n), or export it as it is, in float32."
        )
    made = written(args.model / MARK)
    finish(source.model, source.tokenizer, args.out, about={**made, "rounded_to_bits": 8})
    close_run(args.out, run, val={"n": args.eval_n, **found})
    return Path(args.out)


def _short(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(figures[f"val/{name}"], 6) for name in ("accuracy", "macro_f1")}


# ---------------------------------------------------------------- the command
def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, resolved."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.quantise",
        description="Put a checkpoint's matrices on an 8-bit grid, so that an 8-bit export says the same.",
        epilog=(__doc__ or "").split("\n\n")[-1],
    )
    add = parser.add_argument
    add("model", type=Path, metavar="CHECKPOINT", help="directory of a small Qwen2 checkpoint")
    add("--out", type=Path, required=True, metavar="DIR", help="where the rounded one is written")
    add("--eval-n", type=int, default=400, metavar="N", help="incidents of the split val to compare on (default: 400)")
    add("--threads", type=int, default=2, metavar="N", help="cores that share them (default: 2)")
    add("--seed", type=int, default=0, help="of the incidents (default: 0)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = arguments(argv)

    def work() -> Path:
        check_ranges(args)
        return rounded(args, argv)

    return exit_code(work, args.out)


if __name__ == "__main__":
    sys.exit(main())
