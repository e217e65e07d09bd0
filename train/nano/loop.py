"""A plain loop for models of our own size: pretraining, SFT, rejection sampling and GRPO on a CPU, one incident at a time on each core.

At this size the work lies in the prompt, so nothing is padded: an incident is read once, and all its answers follow it in one sequence under a mask
that hides them from each other. Threads share the weights, each takes a part of the batch; their gradients are added in a fixed order, so the same
command gives the same weights. A checkpoint holds weights, optimizer and place in the stream of incidents; it is written aside and
renamed, and the same command goes on from the last one.

`train.sft` and `train.grpo` call this for presets and for checkpoints made here; hub models go through TRL.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from players.codec import MARK, Coder, load
from players.decode import on_device
from runs.ending import interruptible
from schema import BadRequestError
from train.command import SAVING, StoppedError
from train.data import Row
from train.monitor import Log
from train.nano.muon import Muon
from train.nano.objectives import Lesson

CLIP = 1.0  # norm of a step's gradient
WARM_UP = 20  # steps
FIXED_LINES = 6  # log lines that the rest of a prompt is about as long as


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast a run learns.

    Args:
        out: its directory.
        steps: optimizer steps at most; None for no limit.
        seconds: time for training at most, evaluation not counted; None for no limit.
        batch: incidents a step.
        lr: learning rate after the warm-up.
        decay: the last share of the run over which the rate falls to a twentieth.
        seed: of the incidents and the samples.
        threads: cores.
        save_s: seconds between checkpoints.
        eval_every: steps between evaluations; 0 for none.
        muon: the optimizer; without it AdamW alone.
        device: where the model is, `cpu` or as torch names it (`cuda`).
    """

    out: Path
    steps: int | None = None
    seconds: float | None = None
    batch: int = 16
    lr: float = 3e-3
    decay: float = 0.3
    seed: int = 0
    threads: int = 2
    save_s: float = 60.0
    eval_every: int = 0
    muon: bool = True
    device: str = "cpu"

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is done, 0 to 1."""
        return max(step / self.steps if self.steps else 0.0, seconds / self.seconds if self.seconds else 0.0)


# ---------------------------------------------------------------- checkpoints
def save(
    model: Any,
    tokenizer: Any,
    path: Path,
    *,
    about: Mapping[str, Any],
    optimizer: Any = None,
    state: Any = None,
    kept: Path | None = None,
) -> None:
    """Write a checkpoint aside, then put it in the old one's place.

    Args:
        model: what is saved.
        tokenizer: goes with it.
        path: the checkpoint's directory.
        about: what is written beside the weights.
        optimizer: for a run that goes on.
        state: for a run that goes on.
        kept: the checkpoint that is there should this fail; None for the old one at `path`.

    Raises:
        StoppedError: it cannot be written (a full disk, say); the one before it stays.
    """
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    aside, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        (aside / MARK).write_text(json.dumps(dict(about), indent=1) + "\n", "utf-8")
        if state is not None:
            torch.save({"optimizer": optimizer.state_dict(), "state": state}, aside / STATE)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        aside.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save tells of a full disk by a RuntimeError
        shutil.rmtree(aside, ignore_errors=True)
        raise StoppedError(
            f"Could not save a checkpoint to {str(path)!r}: {error}; {_before(kept or path)}. Make room and give the same command again."
        ) from error


def _before(path: Path) -> str:
    """Which checkpoint is there, in words."""
    return f"the checkpoint before it is kept in {str(path)!r}" if path.exists() else "there is no earlier one"


def finish(model: Any, tokenizer: Any, out: Path, *, about: Mapping[str, Any]) -> None:
    """Put a model into a run's own directory, file by file, the mark last.

    Raises:
        StoppedError: it cannot be written.
    """
    aside = out / ".model"
    save(model, tokenizer, aside, about=about, kept=out / LAST)
    for file in sorted(aside.iterdir(), key=lambda file: file.name == MARK):
        file.replace(out / file.name)
    aside.rmdir()


STATE = "state.pt"
LAST = "last"  # a run's newest checkpoint, with what a resumed run needs


def _held(path: Path) -> dict[str, Any]:
    """Optimizer and state of a run that goes on."""
    try:
        held: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        return {name: held[name] for name in ("optimizer", "state")}
    except Exception as error:  # torch, pickle and zipfile each have their own
        raise BadRequestError(
            f"expected the state of a run in {str(path)!r}; reading it gave {type(error).__name__}: {str(error)[:200]}; "
            "start over with --fresh, or from the weights beside it with another --out"
        ) from error


# ---------------------------------------------------------------- the loop
Evaluate = Callable[[Any, Coder], dict[str, float]]
Notice = Callable[[dict[str, Any]], None]


class Loop:
    """A run: batch after batch, with its log and its checkpoints in one directory.

    Args:
        plan: how long and how fast.
        start: gives the model and the tokenizer where it begins; a run that was cut off begins at its last checkpoint instead.
        about: what is written beside the weights.
        evaluate: figures on held-out incidents, every `plan.eval_every` steps and at the end.
        notice: is called with each logged line.
    """

    def __init__(
        self,
        plan: Plan,
        start: Callable[[], tuple[Any, Any]],
        *,
        about: Mapping[str, Any],
        evaluate: Evaluate | None = None,
        notice: Notice | None = None,
    ) -> None:
        self.plan, self.about, self.evaluate, self.notice = plan, dict(about), evaluate, notice
        self.step, self.place, self.seconds, self.done = 0, 0, 0.0, False
        plan.out.mkdir(parents=True, exist_ok=True)
        state = None
        begun = (plan.out / LAST).exists() or (plan.out / f".{LAST}.old").exists()
        model, tokenizer = load(plan.out / LAST) if begun else start()
        if begun:
            held = _held(plan.out / LAST / STATE)
            state = held["state"]
            if state["decides"] != self._decides():
                raise BadRequestError(
                    f"expected the settings of the run in {str(plan.out)!r}, {state['decides']}; got {self._decides()}; give another --out or the same settings"
                )
        self.model, self.tokenizer, self.coder = model.to(plan.device), tokenizer, Coder(tokenizer)
        self.optimizer = Muon(model, plan.lr, muon=plan.muon)
        self.log = Log(plan.out / "log.jsonl")
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        if state is not None:
            self.optimizer.load_state_dict(held["optimizer"])
            self.step, self.place, self.seconds, self.done = (
                state[name] for name in ("step", "place", "seconds", "done")
            )
        self.log.cut(self.step)

    def _decides(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "batch": plan.batch,
            "lr": plan.lr,
            "seed": plan.seed,
            **{k: v for k, v in self.about.items() if k == "method"},
        }

    def run(self, rows: Callable[[int], Row], lesson: Lesson) -> Any:
        """Learn until the plan is done; gives the model.

        Args:
            rows: the row at a place of the stream.
            lesson: what is learned from a row.

        Raises:
            StoppedError: the loss is not a number, or a checkpoint cannot be written.
            KeyboardInterrupt: Ctrl-C, after the step under way is finished and saved.
        """
        torch.set_num_threads(1)
        saved, began = time.monotonic(), time.monotonic()
        before = self.seconds
        stop = threading.Event()
        with ThreadPoolExecutor(self.plan.threads) as pool, interruptible(stop, SAVING):
            while not self.done:
                done = self.plan.share(self.step, self.seconds)
                if done >= 1:
                    break
                self._step(pool, rows, lesson, done)
                self.seconds = before + time.monotonic() - began
                if self.evaluate and self.plan.eval_every and self.step % self.plan.eval_every == 0:
                    at = time.monotonic()
                    self._write({"step": self.step, **self.evaluate(self.model, self.coder)})
                    began += time.monotonic() - at
                if stop.is_set() or time.monotonic() - saved > self.plan.save_s:
                    self.checkpoint()
                    saved = time.monotonic()
                if stop.is_set():
                    raise KeyboardInterrupt
        if not self.done:
            self.done = True
            self.checkpoint()
        return self.model

    def _step(self, pool: ThreadPoolExecutor, rows: Callable[[int], Row], lesson: Lesson, done: float) -> None:
        began = time.perf_counter()
        batch = [{**rows(place), "place": place} for place in range(self.place, self.place + self.plan.batch)]
        made_s = time.perf_counter() - began
        self.place += self.plan.batch
        parts = _evenly(batch, self.plan.threads)
        drawn = list(pool.map(partial(lesson.draw, self.model, self.coder), parts))
        drawn_s = time.perf_counter() - began - made_s
        learned = list(pool.map(partial(self._part, lesson), parts, drawn))
        logs = [log for _, part in learned for log in part]
        sums = [gradients for gradients, _ in learned if gradients]
        if any(not math.isfinite(log.get("loss", 0.0)) for log in logs):
            raise self._no_number("loss")
        if sums:
            for place, weight in enumerate(self._weights):
                weight.grad = torch.stack([gradients[place] for gradients in sums]).sum(0) / len(batch)
            if not torch.nn.utils.clip_grad_norm_(self._weights, CLIP).isfinite():
                raise self._no_number("gradient")
            fall = 1.0 if done < 1 - self.plan.decay else max(0.05, (1 - done) / max(self.plan.decay, 1e-9))
            for group in self.optimizer.param_groups:
                group["lr"] = self.plan.lr * fall * min(1.0, (self.step + 1) / WARM_UP)
            self.optimizer.step()
        self.step += 1
        self._write(_summary(logs, self.step, self.place, time.perf_counter() - began, made_s, drawn_s))

    def _part(
        self, lesson: Lesson, rows: Sequence[Row], drawn: Sequence[Any]
    ) -> tuple[list[torch.Tensor] | None, list[dict[str, Any]]]:
        total, logs = None, []
        for row, one in zip(rows, drawn, strict=True):
            with on_device(self.model):
                loss, log = lesson.loss(self.model, self.coder, row, one)
            logs.append(log)
            if loss is not None:
                gradients = torch.autograd.grad(loss, self._weights, allow_unused=True, materialize_grads=True)
                total = list(gradients) if total is None else [a.add_(b) for a, b in zip(total, gradients, strict=True)]
        return total, logs

    def _no_number(self, what: str) -> StoppedError:
        return StoppedError(
            f"Stopped: the {what} of step {self.step + 1} is not a number, and the step was not taken; {self.kept}. Give a lower --lr."
        )

    @property
    def kept(self) -> str:
        """Which checkpoint of the run is there, in words."""
        return _before(self.plan.out / LAST)

    def checkpoint(self) -> None:
        """Save what a resumed run needs.

        Raises:
            StoppedError: a weight is not a number, or it cannot be written; the checkpoint before it stays.
        """
        if not all(weight.isfinite().all() for weight in self._weights):
            raise StoppedError(
                f"Stopped: a weight is not a number after step {self.step}, and it was not saved; {self.kept}. Give a lower --lr."
            )
        state = {
            "step": self.step,
            "place": self.place,
            "seconds": self.seconds,
            "done": self.done,
            "decides": self._decides(),
        }
        about = {**self.about, "step": self.step, "incidents": self.place, "seconds": round(self.seconds, 1)}
        save(self.model, self.tokenizer, self.plan.out / LAST, about=about, optimizer=self.optimizer, state=state)

    def _write(self, line: dict[str, Any]) -> None:
        self.log.add(line)
        if self.notice:
            self.notice(line)


def _evenly(batch: Sequence[Row], parts: int) -> list[list[Row]]:
    """A batch in parts of about equal work: the longest windows first, each to the part that has least."""
    dealt: list[list[Row]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for row in sorted(batch, key=lambda row: -len(row["observation"]["log_window"])):
        least = loads.index(min(loads))
        dealt[least].append(row)
        loads[least] += FIXED_LINES + len(row["observation"]["log_window"])
    return dealt


def _summary(
    logs: Sequence[Mapping[str, Any]], step: int, place: int, took_s: float, made_s: float, drawn_s: float
) -> dict[str, Any]:
    """A step's line: means over its incidents; sums of tokens and times."""
    line: dict[str, Any] = {"step": step, "incidents": place}
    for name in dict.fromkeys(name for log in logs for name in log):
        values = [log[name] for log in logs if name in log]
        if name in ("tokens", "judging_s"):
            line[name] = round(sum(values), 5)
        else:
            line[name] = round(statistics.fmean(values), 6)
    return {**line, "step_s": round(took_s, 4), "made_s": round(made_s, 4), "drawn_s": round(drawn_s, 4)}
