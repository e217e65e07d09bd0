"""TRL's trainers, watched by one callback: whole checkpoints, a stop before a NaN does harm, a log, evaluation while training, collapse.

A checkpoint whose `trainer_state.json` is there is whole, as transformers writes that last; others are removed. A loss or a weight that is not a
number stops the run before it is stepped on or saved. Import this after `hub.prepare`.
"""

from __future__ import annotations

import math
import shutil
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl.distributed import DistributedBackend
from trl.models import unwrap_model_for_generation

from players.base import Options
from players.local import LocalModel
from players.weights import is_adapter
from runs.directory import RUN
from runs.ending import StoppedError, interruptible
from runs.files import move_files
from runs.progress import Progress, progress
from schema import BadRequestError, OpenSOCError, Row
from train.command import SAVING, is_main
from train.log import Log
from train.monitor import Collapse, Validation

STATE = "trainer_state.json"  # the last file of a checkpoint that transformers writes
LINE_S = 10.0  # between two lines of progress if there is no terminal
SHOWN = ("loss", "reward", "triage/accuracy", "frac_reward_zero_std", "entropy")
NOT_OF_A_MODEL = ("training_args.bin", "README.md")  # of the trainer, and a page that says nothing


class TrainedError(Exception):
    """The checkpoint that was loaded is of the last step: nothing is left to train."""


# ---------------------------------------------------------------- what no callback can do
class Guarded:
    """Methods for a trainer: the loss is checked before it is stepped on (no callback is handed it), and no card is written."""

    state: Any
    watcher: Watcher

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if not bool(loss.isfinite().all()):
            raise self.watcher.not_finite("the loss")
        return loss

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: run.json says how a model was made."""


class TimedGeneration(Guarded):
    """Methods for GRPO's trainer, whose generation is timed; TRL has no public method or callback around it."""

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        generated = super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        self.watcher.generating_s += time.perf_counter() - started
        self.watcher.generated += sum(map(len, generated[0]))
        return generated


# ---------------------------------------------------------------- the callback
class Watcher(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Watches a trainer.

    Args:
        trainer: made with the methods of `Guarded`.
        out: the run's directory.
        validation: the incidents that it is evaluated on.
        options: how they are asked: batch_size, density and max_tokens.
        collapse: when to stop, of GRPO.
        reward: has the `seconds` that scoring took, of GRPO.
    """

    def __init__(
        self,
        trainer: Any,
        out: Path,
        *,
        validation: Validation,
        options: Options,
        collapse: Collapse | None = None,
        reward: Any = None,
    ) -> None:
        self.trainer, self.out, self.checkpoints = trainer, out, Path(trainer.args.output_dir)
        self.validation, self.options, self.collapse, self.reward = validation, options, collapse, reward
        self.log, self.stop, self.collapsed = Log(out / "log.jsonl"), threading.Event(), ""
        self.generated, self.generating_s, self.tokens = 0, 0.0, 0.0
        self.since, self.saving = 0.0, False
        self.bar: Progress | None = None
        self.closing = ExitStack()
        trainer.watcher = self
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take up the log where the checkpoint stands, and evaluate what training starts from."""
        self.log.cut(state.global_step)
        if self.collapse:
            self.collapse.replay(self.log, state.global_step)
        shown = progress(state.max_steps, "steps", done=state.global_step, line_s=LINE_S)
        self.bar = self.closing.enter_context(shown) if is_main() else Progress(state.max_steps, "steps")
        if state.global_step >= state.max_steps:
            raise TrainedError
        if self.validation.every and not state.global_step:
            self.evaluate()
        self.since = time.perf_counter()
        self.tokens = (
            math.nan if state.global_step else 0.0
        )  # a resumed run's first line does not say how many came before

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate if it is time to, stop if that is asked for, and see that what is about to be saved is finite."""
        every = self.validation.every
        if every and (state.global_step % every == 0 or state.global_step >= state.max_steps):
            self.evaluate()
        if _any(self.trainer.accelerator, self.stop.is_set()):
            self.stop.set()
            control.should_save = control.should_training_stop = True
        if control.should_save:
            self.check_weights()
            self.saving = True
        if self.bar:
            self.bar.update(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the run's settings beside a checkpoint, and take out the adapters that were not trained."""
        self.saving = False
        folder = self.checkpoints / f"checkpoint-{state.global_step}"
        if is_main():
            _leave_one_adapter(folder)
            shutil.copy(self.out / RUN, folder / RUN)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Log a step with its times, and stop a policy that has collapsed."""
        line = {"step": state.global_step, **(logs or {})}
        line |= self._times(line)
        self.log.add(line)
        if self.bar:
            values = ((name.rsplit("/", 1)[-1], line.get(name)) for name in SHOWN)
            note = " ".join(f"{name} {value:.3f}" for name, value in values if isinstance(value, float))
            self.bar.update(note=note or None)
        reason = self.collapse.update(line) if self.collapse else None
        if reason and not self.collapsed:
            self.collapsed = reason
            self.log.add({"step": state.global_step, "stopped": reason})
            control.should_training_stop = True
            control.should_save = self.saving = False  # what has collapsed is not worth a checkpoint

    def _times(self, line: dict[str, Any]) -> dict[str, float]:
        """Return the seconds since the last logged step, and what was done in them."""
        if not self.since or "loss" not in line:
            return {}
        now = time.perf_counter()
        elapsed = max(now - self.since, 1e-9)
        self.since = now
        times = {"time/log_s": elapsed}
        if self.reward is not None:
            times["time/reward_share"] = self.reward.seconds / elapsed
            times["time/generate_tokens_per_s"] = self.generated / max(self.generating_s, 1e-9)
            self.reward.seconds, self.generated, self.generating_s = 0.0, 0, 0.0
        if "num_tokens" in line:
            if not math.isnan(self.tokens):
                times["time/tokens_per_s"] = (line["num_tokens"] - self.tokens) / elapsed
            self.tokens = line["num_tokens"]
        return times

    # ------------------------------------------------------------ evaluation
    def evaluate(self) -> None:
        """Evaluate and log the model as it is; training goes on as if it had not been."""
        started = time.perf_counter()
        trainer, rows = self.trainer, self.validation.rows
        world, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
        # sharded weights are gathered by all processes together, so all of them have to do the same
        mine = list(range(len(rows))) if trainer.is_fsdp_enabled or world == 1 else list(range(rank, len(rows), world))
        pairs = list(zip(mine, self._replies([rows[index] for index in mine]), strict=True))
        if len(mine) < len(rows):
            from accelerate.utils import gather_object

            pairs = gather_object(pairs)
        texts = dict(pairs)
        figures = self.validation.figures([texts[index] for index in range(len(rows))])
        figures["val/seconds"] = round(time.perf_counter() - started, 3)
        line = {"step": trainer.state.global_step, **figures}
        self.log.add(line)
        trainer.state.log_history.append(line)
        if self.since:
            self.since += time.perf_counter() - started

    def _replies(self, rows: Sequence[Row]) -> list[str | None]:
        trainer, tokenizer = self.trainer, self.trainer.processing_class
        side, training = tokenizer.padding_side, trainer.model.training
        tokenizer.padding_side = "left"
        trainer.model.eval()
        try:
            with (
                unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model,
                DistributedBackend(trainer.accelerator).summon_full_params(trainer.model_wrapped, recurse=False),
            ):
                return [reply.text for reply in LocalModel(model, tokenizer, self.options).answer(rows)]
        finally:
            tokenizer.padding_side = side
            trainer.model.train(training)

    # ------------------------------------------------------------ what is not a number
    def check_weights(self) -> None:
        """See that the trained weights are finite.

        Raises:
            StoppedError: one is not.
        """
        weights = (weight for weight in self.trainer.model.parameters() if weight.requires_grad)
        local = (getattr(weight, "_local_tensor", weight).detach() for weight in weights)
        if not all(bool(weight.isfinite().all()) for weight in local):
            raise self.not_finite("a weight")

    def not_finite(self, what: str) -> StoppedError:
        """Log that something is not a number, and return the error that says so."""
        step = self.trainer.state.global_step
        good = _last_checkpoint(self.checkpoints)
        rest = f"The last good checkpoint is {str(good)!r}" if good else "There is no checkpoint yet"
        reason = f"{what} is not a finite number after step {step}"
        self.log.add({"step": step, "stopped": reason})
        return StoppedError(
            f"Stopped: {reason}; its update was not made. {rest}. Lower --lr or raise --warmup, with another --out or --fresh; "
            "the same command would come here again."
        )


def _leave_one_adapter(folder: Path) -> None:
    """Take out the adapters that were not trained: they stand in folders of their own within the trained one's."""
    for path in filter(is_adapter, folder.iterdir()):
        shutil.rmtree(path, ignore_errors=True)


def _any(accelerator: Any, here: bool) -> bool:
    """Return whether it holds in any process: all of them have to stop at the same step."""
    if accelerator.num_processes == 1:
        return here
    mine = torch.tensor(float(here), device=accelerator.device)
    return bool(accelerator.reduce(mine, reduction="sum") > 0)


# ---------------------------------------------------------------- a run
def trainer_settings(args: Namespace) -> dict[str, Any]:
    """Return the settings that both trainers share."""
    gpu = torch.cuda.is_available()
    return {
        "per_device_train_batch_size": args.batch_size,
        "learning_rate": args.lr,
        "weight_decay": args.weight_decay,
        "gradient_checkpointing": args.checkpointing,
        "bf16": gpu and torch.cuda.is_bf16_supported(),
        "use_cpu": not gpu,
        "save_strategy": "steps",
        "save_steps": args.save_every,
        "save_total_limit": args.keep,
        "logging_steps": args.log_every,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": [],
        "seed": args.seed,
        "data_seed": args.seed,
    }


def evaluation_options(args: Namespace, tokens: int) -> Options:
    """Return how a model is asked while it trains: replies of at most `tokens`, unless --eval-tokens says otherwise."""
    return Options(density=args.density, batch_size=args.eval_batch, max_tokens=args.eval_tokens or tokens)


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the latest whole checkpoint of a folder; others are removed."""
    if not folder.is_dir():
        return None
    if is_main():
        for path in folder.iterdir():
            if not (path / STATE).is_file():
                shutil.rmtree(path, ignore_errors=True)
    latest = get_last_checkpoint(str(folder))
    return Path(latest) if latest else None


def run(watcher: Watcher) -> None:
    """Train from the last checkpoint on, or from the start, and save the model into the run's directory.

    Raises:
        StoppedError: the policy collapsed, a loss or weight is not a number, or there is no room.
        BadRequestError: the last checkpoint cannot be read.
        KeyboardInterrupt: it was asked to stop, and a checkpoint is in its place.
    """
    last = _last_checkpoint(watcher.checkpoints)
    if last and is_main():
        print(f"Resuming from {str(last)!r}.", file=sys.stderr)
    try:
        with watcher.closing, interruptible(watcher.stop, SAVING):
            watcher.trainer.train(resume_from_checkpoint=str(last) if last else None)
    except TrainedError:
        pass
    except Exception as error:  # torch, pickle, safetensors and json each have their own
        known = _translated(watcher, last, error)
        if known is None:
            raise
        raise known from error
    if watcher.stop.is_set():
        raise KeyboardInterrupt
    if watcher.collapsed:
        good = _last_checkpoint(watcher.checkpoints)
        raise StoppedError(
            f"Stopped at step {watcher.trainer.state.global_step}: {watcher.collapsed}. "
            + (f"The last checkpoint before it is {str(good)!r}. " if good else "")
            + "Try a lower --lr, --kl-coef 0.04, incidents of middling difficulty or more SFT, with another --out or --fresh."
        )
    _save_model(watcher)


def _translated(watcher: Watcher, last: Path | None, error: Exception) -> OpenSOCError | None:
    """Return what a library's error means: no room for a checkpoint, or a broken one; None if it means neither."""
    if isinstance(error, OpenSOCError):
        return None
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if watcher.saving and isinstance(error, OSError | RuntimeError | SafetensorError):
        step = watcher.trainer.state.global_step
        return _no_room(f"the checkpoint of step {step} in {str(watcher.checkpoints)!r}", watcher.checkpoints, reason)
    if last and watcher.bar is None:  # the bar is there once all is read
        return BadRequestError(
            f"Expected a whole checkpoint in {str(last)!r}, and reading it gave {type(error).__name__}: {reason}; remove it to go on from "
            "the one before, or start over with --fresh."
        )
    return None


def _no_room(what: str, checkpoints: Path, reason: str) -> StoppedError:
    good = _last_checkpoint(checkpoints)
    rest = f"the last good checkpoint is {str(good)!r}" if good else "there is no earlier checkpoint"
    return StoppedError(
        f"Expected room for {what}, and writing it failed: {reason}; {rest}. Make room and run the same command to go on."
    )


def _save_model(watcher: Watcher) -> None:
    """Save the trained model and its tokenizer into the run's directory: aside, then file by file, the weights before what names them.

    Raises:
        StoppedError: there is no room, or a weight is not a number.
    """
    watcher.check_weights()
    trainer, aside = watcher.trainer, watcher.out / ".unfinished"
    try:
        trainer.save_model(str(aside))
        if is_main():
            trainer.processing_class.save_pretrained(str(aside))
    except (OSError, RuntimeError, SafetensorError) as error:  # libraries raise errors of their own for a full disk
        shutil.rmtree(aside, ignore_errors=True)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise _no_room(f"the model in {str(watcher.out)!r}", watcher.checkpoints, reason) from error
    trainer.accelerator.wait_for_everyone()
    if is_main():
        for name in NOT_OF_A_MODEL:
            (aside / name).unlink(missing_ok=True)
        _leave_one_adapter(aside)
        move_files(aside, watcher.out, last=lambda name: name.endswith("config.json"))
    trainer.accelerator.wait_for_everyone()
