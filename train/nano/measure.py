"""Measure a small defender on fresh incidents of held-out splits: python -m train.nano.measure out/sft --device cuda

Greedy, or sampled with --temperature; all prompts are answered side by side on a GPU. Prints accuracy, macro-F1, format and evidence cited of each
split and of each task in it, and writes them to --out as JSON.

Exit code: 0 measured; 2 a wrong call.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from players.base import Options
from runs.arguments import positive
from runs.ending import exit_code
from runs.files import write_json
from runs.provenance import stable_seed
from tasks.registry import SPLITS
from train.command import check_device
from train.data import fresh

SETS = "val,val_family"
SHOWN = ("accuracy", "macro_f1", "format_ok", "citation_recall", "dismiss_on_malicious", "over_reaction")


def figures(player: Any, split: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Return the metrics of a small model on fresh incidents of a split: of all, and of each task."""
    from eval.metrics import measure
    from eval.rollouts import rollout

    began = time.monotonic()
    rows = list(fresh(stable_seed(f"measure/{args.seed}"), number=args.n, split=split))
    replies = player.answer(rows)
    metrics = measure(
        [rollout(split, row, reply, "hardened") for row, reply in zip(rows, replies, strict=True)], resamples=1
    )
    by_task = {task: _values(part) for task, part in metrics["by_task"].items()}
    return {"n": len(rows), "seconds": round(time.monotonic() - began, 1), "all": _values(metrics), **by_task}


def _values(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics[name]["value"] for name in SHOWN if name in metrics}


def lines(name: str, measured: dict[str, Any]) -> Iterator[str]:
    """Yield what is printed of a split."""
    yield f"{name}: {measured['n']} incidents in {measured['seconds']} s"
    for part, values in measured.items():
        if isinstance(values, dict):
            cells = ", ".join(f"{metric} {value:.3f}" for metric, value in values.items() if value is not None)
            yield f"  {part:<20}{cells}"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.nano.measure", description="Measure a small defender.")
    parser.add_argument("model", type=Path, help="a directory that the plain loop made")
    parser.add_argument("--split", default=SETS, help=f"comma-separated, of {', '.join(SPLITS)} (default {SETS})")
    parser.add_argument("--n", type=positive, default=400, help="incidents of each split (default 400)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 for greedy (default)")
    parser.add_argument("--seed", type=int, default=0, help="of the incidents")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU (default cpu)")
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args(argv)
    return exit_code(lambda: _measure(args), "nothing is kept")


def _measure(args: argparse.Namespace) -> None:
    from players.nano import NanoModel

    check_device(args.device)
    options = Options(density="compact", temperature=args.temperature, device=args.device)
    player = NanoModel.open(args.model, options)
    measured = {split: figures(player, split, args) for split in args.split.split(",")}
    for split, values in measured.items():
        print("\n".join(lines(split, values)))
    if args.out:
        write_json(args.out, {"model": str(args.model), "temperature": args.temperature, **measured})


if __name__ == "__main__":
    sys.exit(main())
