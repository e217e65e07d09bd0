"""What watches over a trainer of TRL: safe checkpoints, a stop before a NaN does harm, a log, evaluation while it trains, collapse.

`watched(SFTTrainer)` is a class with all of it. A checkpoint is written aside and renamed, so one that is in its place is whole. A loss or
a weight that is not a number stops the run before it is stepped on or saved.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from players.prompt import messages
from runs.ending import interruptible
from schema import BadRequestError, OpenSOCError
from train.command import SAVING, UNFINISHED, StoppedError, is_main
from train.monitor import Collapse, Examination, Log

PRINTED_S = 10.0  # between two lines of progress where there is no terminal


# ---------------------------------------------------------------- checkpoints
def last_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint of a folder; what an earlier call left unfinished is removed."""
    from transformers.trainer_utils import get_last_checkpoint

    if not folder.is_dir():
        return None
    if is_main():
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    found = get_last_checkpoint(str(folder))
    return Path(found) if found else None


@contextmanager
def _written(what: str, where: Path, good: Path | None) -> Iterator[None]:
    """Translate a failure to write: libraries raise errors of their own for a full disk."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(where, ignore_errors=True)
        kept = f"the last good checkpoint is {str(good)!r}" if good else "there is no earlier checkpoint"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise StoppedError(
            f"Expected room for {what}, and writing it failed: {reason}; {kept}. Make room and run the same command to go on."
        ) from error


# ---------------------------------------------------------------- the trainer
class Watching:
    """The methods that `watched` puts before a trainer's own. Everything of the run is given to `watch`."""

    accelerator: Any
    args: Any
    control: Any
    is_fsdp_enabled: bool
    model: Any
    model_wrapped: Any
    processing_class: Any
    state: Any

    _aside = False
    _bar: Any = None
    _since = 0.0

    def watch(
        self,
        log: Log,
        stop: threading.Event,
        *,
        record: Path,
        examination: Examination | None = None,
        collapse: Collapse | None = None,
        reward: Any = None,
    ) -> None:
        """Say what is watched.

        Args:
            log: where each step's figures go.
            stop: set when the run is to save and end.
            record: the run's settings, copied into every checkpoint.
            examination: what is evaluated.
            collapse: when to stop, of GRPO.
            reward: what has `seconds` that scoring took, of GRPO.
        """
        self._log, self._stop, self._record = log, stop, record
        self._examination, self._collapse, self._reward = examination, collapse, reward
        self.collapsed: str | None = None
        self._generated, self._generating_s = 0, 0.0
        self._tokens: float | None = None
        from transformers import PrinterCallback

        self.remove_callback(PrinterCallback)  # type: ignore[attr-defined]
        self.add_callback(_callback(self))  # type: ignore[attr-defined]

    # ------------------------------------------------------------ a step
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step < self.state.max_steps:  # a checkpoint of the last step is not trained on
            super()._run_epoch(*args, **kwargs)  # type: ignore[misc]

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if not bool(loss.isfinite().all()):
            raise StoppedError(self._not_finite("the loss"))
        return loss

    def _not_finite(self, what: str) -> str:
        good = last_checkpoint(Path(self.args.output_dir))
        kept = f"The last good checkpoint is {str(good)!r}" if good else "There is no checkpoint yet"
        told = f"{what} is not a finite number after step {self.state.global_step}"
        self._log.add({"step": self.state.global_step, "stopped": told})
        return (
            f"Stopped: {told}; its update was not made. {kept}. Lower --lr or raise --warmup, with another --out or --fresh; "
            "the same command would come here again."
        )

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        made = super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        self._generating_s += time.perf_counter() - started
        self._generated += sum(map(len, made[0]))
        return made

    # ------------------------------------------------------------ figures
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        now = time.perf_counter()
        if self._since and "loss" in logs:
            elapsed = max(now - self._since, 1e-9)
            if self._reward is not None:
                logs["time/reward_share"] = self._reward.seconds / elapsed
                logs["time/generate_tokens_per_s"] = self._generated / max(self._generating_s, 1e-9)
                self._reward.seconds, self._generated, self._generating_s = 0.0, 0, 0.0
            logs["time/log_s"] = elapsed
            self._since = now
        super().log(logs, start_time)  # type: ignore[misc]
        tokens = logs.get("num_tokens")
        if tokens is not None and "time/log_s" in logs:
            if self._tokens is not None:
                logs["time/tokens_per_s"] = (tokens - self._tokens) / logs["time/log_s"]
            self._tokens = tokens
        self._log.add({"step": self.state.global_step, **logs})
        reason = self._collapse.after(logs) if self._collapse else None
        if reason and not self.collapsed:
            self.collapsed = reason
            self._log.add({"step": self.state.global_step, "stopped": reason})
            self.control.should_training_stop = True
            self.control.should_save = False  # what has collapsed is not worth a checkpoint

    def examine(self) -> dict[str, Any]:
        """Evaluate now: greedy answers, logged and returned. Training goes on as if it had not been."""
        assert self._examination
        started = time.perf_counter()
        rows, world, rank = self._examination.rows, self.accelerator.num_processes, self.accelerator.process_index
        # sharded weights are gathered by all processes together, so all of them have to do the same
        mine = list(range(len(rows))) if self.is_fsdp_enabled or world == 1 else list(range(rank, len(rows), world))
        prompts = [messages(rows[place]["observation"], self._examination.density) for place in mine]
        pairs = list(zip(mine, self._greedy(prompts), strict=True))
        if len(mine) < len(rows):
            from accelerate.utils import gather_object

            pairs = gather_object(pairs)
        texts = dict(pairs)
        figures = self._examination.figures([texts[place] for place in range(len(rows))])
        figures["val/seconds"] = round(time.perf_counter() - started, 3)
        line = {"step": self.state.global_step, **figures}
        self._log.add(line)
        self.state.log_history.append(line)
        if self._since:
            self._since += time.perf_counter() - started
        return figures

    def _greedy(self, prompts: Sequence[list[dict[str, str]]]) -> list[str]:
        import torch
        from trl.distributed import DistributedBackend
        from trl.models import unwrap_model_for_generation

        assert self._examination
        tokenizer, batch = self.processing_class, self._examination.batch
        texts = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in prompts]
        order = sorted(range(len(texts)), key=lambda place: (-len(texts[place]), place))
        side, tokenizer.padding_side = tokenizer.padding_side, "left"
        training = self.model.training
        self.model.eval()
        replies: dict[int, str] = {}
        try:
            with (
                unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model,
                torch.no_grad(),
                DistributedBackend(self.accelerator).summon_full_params(self.model_wrapped, recurse=False),
            ):
                for start in range(0, len(order), batch):
                    places = order[start : start + batch]
                    asked = tokenizer(
                        [texts[place] for place in places], add_special_tokens=False, padding=True, return_tensors="pt"
                    ).to(self.accelerator.device)
                    made = model.generate(
                        **{name: asked[name] for name in ("input_ids", "attention_mask")},
                        do_sample=False,
                        temperature=None,
                        top_k=None,
                        top_p=None,
                        max_new_tokens=self._examination.tokens,
                        pad_token_id=tokenizer.pad_token_id,
                        eos_token_id=self._ends(),
                    )
                    said = tokenizer.batch_decode(made[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
                    replies |= zip(places, said, strict=True)
        finally:
            tokenizer.padding_side = side
            self.model.train(training)
        return [replies[place] for place in range(len(prompts))]

    def _ends(self) -> list[int]:
        ends = self.model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        return list(dict.fromkeys([*ends, self.processing_class.eos_token_id]))

    # ------------------------------------------------------------ saving
    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)  # type: ignore[misc]
        return str(Path(folder) / UNFINISHED) if self._aside else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        from transformers.trainer_utils import rotate_checkpoints

        folder = Path(self.args.output_dir)
        aside, name = folder / UNFINISHED, f"checkpoint-{self.state.global_step}"
        if not self._finite():
            raise StoppedError(self._not_finite("a weight"))
        self._aside = True
        try:
            with _written(
                f"the checkpoint of step {self.state.global_step} in {str(folder)!r}", aside, last_checkpoint(folder)
            ):
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
                if is_main():
                    shutil.copy(self._record, aside / name / "run.json")
        finally:
            self._aside = False
        self.accelerator.wait_for_everyone()
        if is_main():
            shutil.rmtree(folder / name, ignore_errors=True)
            (aside / name).rename(folder / name)
            shutil.rmtree(aside, ignore_errors=True)
            rotate_checkpoints(output_dir=str(folder), save_total_limit=self.args.save_total_limit, use_mtime=False)
        self.accelerator.wait_for_everyone()

    def _finite(self) -> bool:
        weights = (getattr(one, "_local_tensor", one) for one in self.model.parameters() if one.requires_grad)
        return all(bool(one.detach().isfinite().all()) for one in weights)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)  # type: ignore[misc]
        # the adapter that GRPO compares with is where the stage began, and not part of what it made
        shutil.rmtree(Path(output_dir or self.args.output_dir) / "ref", ignore_errors=True)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: run.json says how a model was made."""

    def _send_telemetry(self) -> None:
        """None is sent."""

    def finish(self, out: Path) -> None:
        """Save the trained model and its tokenizer into a directory: aside, then file by file, the weights before what names them.

        Raises:
            StoppedError: there is no room, or a weight is not a number.
        """
        if not self._finite():
            raise StoppedError(self._not_finite("a weight"))
        aside = out / UNFINISHED
        with _written(f"the model in {str(out)!r}", aside, last_checkpoint(Path(self.args.output_dir))):
            self.save_model(str(aside), _internal_call=True)
            if is_main():
                self.processing_class.save_pretrained(str(aside))
        self.accelerator.wait_for_everyone()
        if is_main():
            for name in ("training_args.bin", "README.md"):  # of the trainer, and a page that says nothing
                (aside / name).unlink(missing_ok=True)
            for file in sorted(aside.iterdir(), key=lambda file: (file.name.endswith("config.json"), file.name)):
                os.replace(file, out / file.name)
            aside.rmdir()
        self.accelerator.wait_for_everyone()


def trainer_settings(args: Namespace) -> dict[str, Any]:
    """What both trainers are told in the same way."""
    import torch

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


def watched(trainer: type) -> Any:
    """A trainer's class with everything of this module."""
    return type(f"Watched{trainer.__name__}", (Watching, trainer), {})


def _callback(trainer: Any) -> Any:
    """What happens at the ends of steps: evaluation, the stop that Ctrl-C asks for, the bar."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            trainer._log.cut(state.global_step)
            if trainer._collapse:
                trainer._collapse.recall(trainer._log, state.global_step)
            self.bar = trainer._bar = _bar()
            self.said = 0.0
            self.bar.start()
            self.task = self.bar.add_task("training", total=state.max_steps, completed=state.global_step, told="")
            if trainer._examination and trainer._examination.every and not state.global_step:
                trainer.examine()
            trainer._since = time.perf_counter()
            trainer._tokens = None if state.global_step else 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            every = trainer._examination.every if trainer._examination else 0
            if every and (state.global_step % every == 0 or state.global_step >= state.max_steps):
                trainer.examine()
            if _any(trainer.accelerator, trainer._stop.is_set()):
                trainer._stop.set()
                control.should_save = control.should_training_stop = True
            self.bar.update(self.task, completed=state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            told = " ".join(
                f"{name.rsplit('/', 1)[-1]} {logs[name]:.3f}"
                for name in ("loss", "reward", "triage/accuracy", "frac_reward_zero_std", "entropy")
                if isinstance(logs.get(name), float) and math.isfinite(logs[name])
            )
            self.bar.update(self.task, told=told)
            if told and is_main() and not sys.stderr.isatty() and time.monotonic() - self.said > PRINTED_S:
                self.said = time.monotonic()
                print(f"step {state.global_step} of {state.max_steps}: {told}", file=sys.stderr)

    return Steps()


def _any(accelerator: Any, here: bool) -> bool:
    """Whether it holds in any process: all of them have to stop at the same step."""
    if accelerator.num_processes == 1:
        return here
    import torch

    mine = torch.tensor(float(here), device=accelerator.device)
    return bool(accelerator.reduce(mine, reduction="sum") > 0)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
        console=Console(stderr=True),
        disable=not (sys.stderr.isatty() and is_main()),
    )


def run(trainer: Any, checkpoints: Path) -> None:
    """Train from the last checkpoint on, or from the start.

    Raises:
        StoppedError: the policy collapsed, a loss or weight is not a number, or there is no room.
        BadRequestError: the last checkpoint cannot be read.
        KeyboardInterrupt: it was asked to stop, and a checkpoint is in its place.
    """
    last = last_checkpoint(checkpoints)
    if last:
        print(f"Going on from {str(last)!r}.", file=sys.stderr)
    try:
        with interruptible(trainer._stop, SAVING):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    except Exception as error:  # torch, pickle, safetensors and json each have their own
        if last is None or trainer._bar or isinstance(error, OpenSOCError):  # the bar is there once all is read
            raise
        told = (str(error).strip().splitlines() or [""])[0][:200]
        raise BadRequestError(
            f"Expected a whole checkpoint in {str(last)!r}, and reading it gave {type(error).__name__}: {told}; remove it to go on from "
            "the one before, or start over with --fresh."
        ) from error
    finally:
        if trainer._bar:
            trainer._bar.stop()
    if trainer._stop.is_set():
        raise KeyboardInterrupt
    if trainer.collapsed:
        good = last_checkpoint(checkpoints)
        raise StoppedError(
            f"Stopped at step {trainer.state.global_step}: {trainer.collapsed}. "
            + (f"The last checkpoint before it is {str(good)!r}. " if good else "")
            + "Try a lower --lr, --beta 0.04, incidents of middling difficulty or more SFT, with another --out or --fresh."
        )


def quiet() -> None:
    """Settings of the libraries' own bars, telemetry and counters, before they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def with_trl() -> None:
    """See that what training needs is installed.

    Raises:
        BadRequestError: it is not.
    """
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import peft  # noqa: F401
        import torch  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        raise BadRequestError(
            f"Expected {error.name} for training, and it is not installed; `pip install -r requirements-train.txt` after torch."
        ) from error
