"""Supervised fine-tuning on verifier-labelled incidents: python -m train.sft --model PATH_OR_HUB_ID_OR_PRESET --out out/sft

The rows are the 600 of the frozen set `sft_train`, another file of that form, or fresh ones (`--generate N`) from the `train` families. The
loss is on the answer alone. Hub models and directories get a LoRA adapter (`--full` for all weights) through TRL's SFTTrainer; presets and what
they became are trained by the plain loop. The defaults are for Qwen2.5-3B-Instruct on one 24 GB GPU.

Exit code: 0 trained; 1 stopped before the end, with the reason; 2 a wrong call; 130 interrupted. After 1 and 130 the same command goes on
from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.sets import labelled_chat
from runs.provenance import stable_seed
from schema import TASKS
from train.command import add_common, close_run, is_complete, open_run, settings_of, tasks_of, train_by
from train.data import SFT_SET, Row, drop_too_long, fresh, labelled, validation_rows

LR_LORA, LR_FULL = 2e-4, 1e-5


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, resolved."""
    parser = argparse.ArgumentParser(
        prog="python -m train.sft",
        description="Fine-tune a defender on labelled incidents.",
        epilog=(__doc__ or "").split("\n\n")[-1],
    )
    add_common(
        parser,
        lr=f"default: {LR_LORA:g} for an adapter, {LR_FULL:g} with --full; plain loop: 0.002, with --generate 0.004",
        steps="default: --epochs of the rows",
    )
    rows = parser.add_argument_group("rows")
    rows.add_argument(
        "--data",
        default=SFT_SET,
        metavar="NAME_OR_FILE",
        help=f"a frozen set or a file of its form (default: {SFT_SET})",
    )
    rows.add_argument("--limit", type=int, metavar="N", help="only N of its rows, all tasks in proportion")
    rows.add_argument(
        "--generate", type=int, metavar="N", help="N fresh labelled rows from the train families instead of --data"
    )
    rows.add_argument(
        "--tasks", default=",".join(TASKS), metavar="TASKS", help="of --generate, taken in turn (default: all four)"
    )
    add = parser.add_argument_group("of SFT").add_argument
    add("--epochs", type=float, default=2.0, metavar="N", help="passes over the rows (default: 2)")
    add("--batch-size", type=int, default=1, metavar="N", help="rows on a device at once (TRL; default: 1)")
    add(
        "--accumulate",
        type=int,
        default=8,
        metavar="N",
        help="batches of one optimizer step (TRL; default: 8; plain loop: 16 rows)",
    )
    add(
        "--eval-every",
        type=int,
        default=0,
        metavar="STEPS",
        help="steps between evaluations on val; 0 for none (default: 0)",
    )
    return parser.parse_args(argv)


def rows_of(args: argparse.Namespace) -> list[Row]:
    """The labelled rows that are asked for.

    Raises:
        BadRequestError: there is no such set, or it has no labels.
    """
    if args.generate:
        return list(fresh(stable_seed(f"sft/{args.seed}"), number=args.generate, tasks=tasks_of(args.tasks, "--tasks")))
    return labelled(args.data, limit=args.limit)


def examples(rows: Sequence[Row], density: Any) -> list[dict[str, Any]]:
    """Return rows as TRL takes them: prompt and completion, both as chat messages."""
    return [labelled_chat(row, density) for row in rows]


def train(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Train with TRL, or go on with it; where the model is.

    Raises:
        StoppedError: it stopped before the end.
        OpenSOCError: a wrong call.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    from train import hub
    from train import monitor as signs
    from train import trl_trainer as watch

    if args.backend == "unsloth":
        hub.have_unsloth()
    watch.with_trl()
    args.lr = args.lr or (LR_FULL if args.full else LR_LORA)
    run = open_run(args.out, "train.sft", argv, settings_of(args), fresh=args.fresh)
    if is_complete(args.out, run):
        return Path(args.out)
    watch.quiet()

    # the model, and what fits into its context
    loaded = hub.load(
        args.model,
        full=args.full,
        rank=args.lora_rank,
        alpha=args.lora_alpha,
        seed=args.seed,
        checkpointing=args.checkpointing,
        max_length=args.max_length,
        unsloth=args.backend == "unsloth",
    )
    rows = rows_of(args)
    made = examples(rows, args.density)
    sizes = hub.lengths(
        loaded.tokenizer, [one["prompt"] for one in made], [one["completion"][0]["content"] for one in made]
    )
    names = [row["id"] for row in rows]
    kept = drop_too_long(made, names, sizes, loaded.context, skip=args.skip_long, what="prompt and answer")

    # the trainer
    trainer = _trainer(args, loaded, kept)
    examination = None
    if args.eval_every:
        examination = signs.Examination(
            rows=validation_rows(args.seed, args.eval_n),
            density=args.density,
            table="hardened",
            tokens=args.eval_tokens or hub.answer_room(loaded.tokenizer, args.density),
            batch=args.eval_batch,
            every=args.eval_every,
        )
    trainer.watch(
        signs.Log(args.out / "log.jsonl"), threading.Event(), record=args.out / "run.json", examination=examination
    )

    # training, and the model in its place
    watch.run(trainer, args.out / "checkpoints")
    trainer.finish(args.out)
    tokens = int(trainer._total_train_tokens)
    close_run(
        args.out, run, steps=trainer.state.global_step, rows=len(kept), left_out=len(made) - len(kept), tokens=tokens
    )
    return Path(args.out)


def _trainer(args: argparse.Namespace, loaded: Any, kept: Sequence[Mapping[str, Any]]) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from train.trl_head import use_plain_head
    from train.trl_trainer import trainer_settings, watched

    use_plain_head()
    steps = args.steps or -(-int(len(kept) * args.epochs) // (args.batch_size * args.accumulate))
    config = SFTConfig(
        output_dir=str(args.out / "checkpoints"),
        gradient_accumulation_steps=args.accumulate,
        num_train_epochs=args.epochs,
        max_steps=args.steps or -1,
        lr_scheduler_type="cosine",
        warmup_steps=int(args.warmup * steps),
        **trainer_settings(args),
        completion_only_loss=True,
        max_length=None,  # what is too long was found before
    )
    return watched(SFTTrainer)(
        model=loaded.model,
        args=config,
        train_dataset=Dataset.from_list(list(kept)),
        processing_class=loaded.tokenizer,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    return train_by(arguments, argv, train, "sft")


if __name__ == "__main__":
    sys.exit(main())
