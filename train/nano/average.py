"""Average the weights of a checkpoint and of one that was trained on from it: python -m train.nano.average BEFORE AFTER --share 0.7 --out DIR

A training on new incidents forgets some of the old ones. Weights between the two checkpoints keep most of what either can (M. Wortsman and others, Robust fine-tuning of
zero-shot models, 2022). The share is chosen on `val` and `val_family`. What is written is a checkpoint, which the trainers and `train.nano.export` take:

    python -m train.nano.average out/before out/after --share 0.7 --out out/average
    python -m train.nano.export out/average

Exit code: 0 done; 2 a wrong call, or checkpoints of other shapes.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from players.base import MARK
from runs.ending import refusing
from runs.provenance import commit
from schema import BadRequestError
from train.nano.checkpoint import Checkpoint, check_free, history, read_record, save


def average(before: Path, after: Path, out: Path, *, share: float, command: str = "") -> None:
    """Write the checkpoint between two others.

    Args:
        before, after: checkpoints of one model, with the same tokenizer.
        out: the directory to write, where nothing may be.
        share: of `after`, from 0 to 1; the rest is `before`'s.
        command: that made it, for the card.

    Raises:
        BadRequestError: a checkpoint cannot be read, they have other weights or tokenizers, or `out` is taken.
        OpenSOCError: a library is not installed, or the checkpoint cannot be written.
    """
    if not 0 <= share <= 1:
        raise BadRequestError(f"Expected 0 to 1 as --share, and got {share:g}.")
    check_free(out)
    first, second = Checkpoint(before), Checkpoint(after)
    old, new = first.model.state_dict(), second.model.state_dict()
    shapes = [{name: tuple(weight.shape) for name, weight in state.items()} for state in (old, new)]
    if shapes[0] != shapes[1] or first.tokenizer.get_vocab() != second.tokenizer.get_vocab():
        raise BadRequestError(
            f"Expected two checkpoints of one model, and {str(before)!r} and {str(after)!r} have other weights or words; give a checkpoint and what was trained on from it."
        )
    second.model.load_state_dict({name: old[name].lerp(new[name], share) for name in new})
    save(second.model, second.tokenizer, out, about=_record(after, command))


def _record(after: Path, command: str) -> dict[str, Any]:
    """Return what the later checkpoint says of its training, and all commands that led here."""
    made_by = {"command": command, "commit": commit()}
    step = {**made_by, "steps": 0, "incidents": 0, "seconds": 0}
    return {**read_record(after / MARK), "method": "average", **made_by, "runs": [*history(after), step]}


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Average two checkpoints, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.average",
        description="Average the weights of a checkpoint and of one that was trained on from it.",
    )
    add = parser.add_argument
    add("before", type=Path, help="directory of the checkpoint that training began from")
    add("after", type=Path, help="directory of the checkpoint that it led to")
    add("--share", type=float, default=0.5, metavar="SHARE", help="of the later weights, 0 to 1 (default: 0.5)")
    add("--out", type=Path, required=True, metavar="DIR", help="where to write the checkpoint")
    given = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(given)
    average(args.before, args.after, args.out, share=args.share, command=f"{parser.prog} {shlex.join(given)}")
    print(f"Wrote {args.out}: {args.share:g} of {args.after}, the rest of {args.before}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
