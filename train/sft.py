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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.sets import labelled_chat
from schema import TASKS, Row
from train import hub
from train.command import BATCH, PLAIN, TRL, Command, Flag, close_run, common_flags, is_complete, resolved, train_by
from train.data import SFT_SET, drop_too_long, sft_rows, validation_rows
from train.gpus import FLAGS
from train.monitor import Validation
from train.plan import Work, evaluations_of, plan

SEATS = ("defender", "attacker")
LR_LORA, LR_FULL = 2e-4, 1e-5


def _share(name: str, of: str) -> Flag:
    """Return the flag of a share of the fresh incidents, none unless it is given."""
    return Flag(name, of, float, 0.0, metavar="SHARE", trainer=PLAIN, zero=True, share=True)


COMMAND = Command(
    "train.sft",
    "Fine-tune a defender on labelled incidents.",
    {
        **common_flags(
            lr=f"{LR_LORA:g} for an adapter, {LR_FULL:g} with --full; plain loop: 0.002, with --generate 0.004",
            steps="--epochs of the rows",
        ),
        "rows": (
            Flag("--data", "a frozen set or a file of its form", default=SFT_SET, metavar="NAME_OR_FILE"),
            Flag("--limit", "only N of its rows, all tasks in proportion", int, metavar="N"),
            Flag("--generate", "N fresh labelled rows from the train families instead of --data", int, metavar="N"),
            Flag(
                "--easy-first",
                "of --generate, N of the first stage before the others",
                int,
                0,
                metavar="N",
                trainer=PLAIN,
                zero=True,
            ),
            _share(
                "--other-words",
                "of --generate, the share that is told in other words of the playbook than the families have",
            ),
            _share("--drills", "of --generate, the share with a rule's own example among the lines"),
            _share("--asides", "of --generate, the share in which somebody without a say speaks to the analyst"),
            _share(
                "--other-names",
                "of --generate, the share in which rules have each other's names, so that the names are read",
            ),
            Flag(
                "--seat",
                "who learns: the defender, or the attacker, who writes the incidents of --generate",
                choices=SEATS,
                default=SEATS[0],
                trainer=PLAIN,
            ),
            Flag(
                "--tasks",
                "of --generate, taken in turn",
                default=",".join(TASKS),
                default_text="all four",
                metavar="TASKS",
            ),
        ),
        "planning": FLAGS,
        "of SFT": (
            BATCH,
            Flag("--epochs", "passes over the rows", float, 2.0, metavar="N"),
            Flag("--batch-size", "rows on a device at once", int, 1, metavar="N", trainer=TRL),
            Flag("--accumulate", "batches of one optimizer step", int, 8, metavar="N", trainer=TRL),
            Flag(
                "--eval-every",
                "steps between evaluations on val; 0 for none",
                int,
                0,
                metavar="STEPS",
                zero=True,
                free=True,
            ),
        ),
    },
    (__doc__ or "").split("\n\n")[-1],
)


def examples(rows: Sequence[Row], density: Any) -> list[dict[str, Any]]:
    """Return rows as TRL takes them: prompt and completion, both as chat messages."""
    return [labelled_chat(row, density) for row in rows]


def train(args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Train with TRL, or resume it; return where the model is.

    Raises:
        StoppedError: it stopped before the end.
        OpenSOCError: a wrong call.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    hub.prepare(args.backend)
    from train.trl_trainer import Watcher, evaluation_options, run

    args = resolved(args, lr=args.lr or (LR_FULL if args.full else LR_LORA))
    record = COMMAND.open_run(args.out, argv, args, fresh=args.fresh)
    if is_complete(args.out, record):
        return Path(args.out)

    # the model, and what fits into its context
    loaded = hub.load(args.model, args)
    rows = sft_rows(args)
    chats = examples(rows, args.density)
    answers = [chat["completion"][0]["content"] for chat in chats]
    sizes = hub.lengths(loaded.tokenizer, [chat["prompt"] for chat in chats], answers)
    names = [row["id"] for row in rows]
    fitting = drop_too_long(chats, names, sizes, loaded.context, skip=args.skip_long, what="prompt and answer")

    # the trainer, and who watches it
    trainer = make_trainer(args, loaded, fitting)
    validation = Validation(validation_rows(args.seed, args.eval_n) if args.eval_every else [], every=args.eval_every)
    options = evaluation_options(args, hub.answer_room(loaded.tokenizer, args.density))
    run(Watcher(trainer, args.out, validation=validation, options=options))
    close_run(
        args.out,
        record,
        steps=trainer.state.global_step,
        rows=len(fitting),
        left_out=len(chats) - len(fitting),
        tokens=int(trainer._total_train_tokens),
    )
    return Path(args.out)


def make_trainer(args: argparse.Namespace, loaded: hub.Loaded, chats: Sequence[Mapping[str, Any]]) -> Any:
    """Make TRL's trainer of a model on chats."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from train.trl_head import use_plain_head
    from train.trl_trainer import Guarded, trainer_settings

    class Trainer(Guarded, SFTTrainer):  # type: ignore[misc, unused-ignore]
        pass

    use_plain_head()
    steps = args.steps or _steps(len(chats), args)
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
    return Trainer(
        model=loaded.model,
        args=config,
        train_dataset=Dataset.from_list(list(chats)),
        processing_class=loaded.tokenizer,
    )


def planned(args: argparse.Namespace) -> str:
    """Write what the run of these flags costs.

    Raises:
        BadRequestError: the model's config is not at hand, or there are no such rows.
    """
    rows = sft_rows(args)
    texts = args.batch_size * args.accumulate
    steps = args.steps or _steps(len(rows), args)
    evaluations = evaluations_of(steps, args.eval_every)
    return plan("train.sft", args, rows, Work(steps, texts, args.batch_size, checked=evaluations * args.eval_n))


def _steps(rows: int, args: argparse.Namespace) -> int:
    """Return the optimizer steps of --epochs over so many rows."""
    return -(-int(rows * args.epochs) // (args.batch_size * args.accumulate))


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""

    def by_plain(args: argparse.Namespace, argv: Sequence[str]) -> Path:
        from train.nano import methods  # needs torch

        return methods.sft(COMMAND, args, argv)

    return train_by(COMMAND, argv, by_trl=train, by_plain=by_plain, plan=planned)


if __name__ == "__main__":
    sys.exit(main())
