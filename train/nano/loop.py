"""A plain loop for models of our own size: pretraining, SFT, rejection sampling and GRPO.

On a CPU the work lies in the prompt, so nothing is padded: an incident is read once, and all its answers follow it in one sequence under a mask
that hides them from each other. Threads share the weights, each takes a part of the batch; their gradients are added in a fixed order, so the same
command gives the same weights. On a GPU a step learns from a large batch in padded parts (`wide`), whose rows worker processes make ahead.
A checkpoint holds weights, optimizer and how many incidents were read; it is written aside and renamed, and the same command resumes from
the last one.

`train.sft` and `train.grpo` call this for presets and for checkpoints made here; hub models go through TRL.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from players.codec import PromptCodec, load
from players.decode import on_device
from runs.ending import StoppedError, interruptible
from runs.files import restore_directory
from runs.workers import worker_processes
from schema import BadRequestError, Row
from train.command import SAVING
from train.log import Log
from train.nano.batches import Ahead
from train.nano.checkpoint import LAST, STATE, read_state, remaining, save
from train.nano.muon import Muon
from train.nano.objectives import Objective
from train.nano.wide import Learning, Times, Wide

CLIP = 1.0  # norm of a step's gradient
WARM_UP = 20  # steps
TOKENIZER = "tokenizer"  # the directory from which worker processes read it
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
        wide: padded batches instead of one incident at a time.
        compiles: whether the model is compiled for long wide runs on a GPU.
        bf16: whether wide batches are read in bfloat16 on a CPU too.
        workers: processes that make the rows of wide batches; 0 makes them in this one.
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
    wide: bool = False
    compiles: bool = True
    bf16: bool = False
    workers: int = 0

    def share(self, step: int, seconds: float) -> float:
        """Return how much of the run is done, 0 to 1."""
        return max(step / self.steps if self.steps else 0.0, seconds / self.seconds if self.seconds else 0.0)


# ---------------------------------------------------------------- the loop
Learn = Callable[[int, int], Learning]  # from a batch: its first index and its number of incidents
Evaluate = Callable[[Any, Any], dict[str, float]]  # of a model and its tokenizer
Notice = Callable[[dict[str, Any]], None]


class Loop:
    """A run: batch after batch, with its log and its checkpoints in one directory.

    Args:
        plan: how long and how fast.
        start: gives the model and the tokenizer where it begins; a run that was cut off begins at its last checkpoint instead.
        about: what is written beside the weights.
        evaluate: figures on held-out incidents, every `plan.eval_every` steps and at the end.
        notice: is called with each logged line.
        tell: is called with each row and what is logged of it, in the order of the rows.
        codec: how rows become tokens; the attacker's is learned in wide batches alone.
    """

    def __init__(
        self,
        plan: Plan,
        start: Callable[[], tuple[Any, Any]],
        *,
        about: Mapping[str, Any],
        evaluate: Evaluate | None = None,
        notice: Notice | None = None,
        tell: Callable[[Row, Mapping[str, Any]], None] | None = None,
        codec: type[PromptCodec] = PromptCodec,
    ) -> None:
        self.plan, self.about, self.evaluate, self.notice, self.tell = plan, dict(about), evaluate, notice, tell
        self.step, self.incidents, self.seconds, self.done = 0, 0, 0.0, False
        plan.out.mkdir(parents=True, exist_ok=True)
        restore_directory(plan.out / LAST)
        resumes = (plan.out / LAST).exists()
        model, tokenizer = load(plan.out / LAST) if resumes else start()
        self.model, self.tokenizer, self.coder = model.to(plan.device), tokenizer, codec(tokenizer)
        self.optimizer = Muon(model, plan.lr, muon=plan.muon)
        self.log = Log(plan.out / "log.jsonl")
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        if resumes:
            self._resume(read_state(plan.out / LAST / STATE))
        self.log.cut(self.step)

    def _resume(self, stored: Mapping[str, Any]) -> None:
        state = stored["state"]
        if state["settings"] != self._settings():
            raise BadRequestError(
                f"expected the settings of the run in {str(self.plan.out)!r}, {state['settings']}; got {self._settings()}; "
                "give another --out or the same settings"
            )
        self.optimizer.load_state_dict(stored["optimizer"])
        self.step, self.incidents = state["step"], state["incidents"]
        self.seconds, self.done = state["seconds"], state["done"]

    def _settings(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share."""
        plan = self.plan
        method = {name: value for name, value in self.about.items() if name == "method"}
        return {"batch": plan.batch, "lr": plan.lr, "seed": plan.seed, **method}

    def run(self, rows: Callable[[int], Row], objective: Objective) -> Any:
        """Learn until the plan is done, and return the model.

        Args:
            rows: gives the row at an index of the stream.
            objective: what is learned from a row.

        Raises:
            StoppedError: the loss is not a number, or a checkpoint cannot be written.
            KeyboardInterrupt: Ctrl-C, after the step under way is finished and saved.
        """
        torch.set_num_threads(self.plan.threads if self.plan.wide else 1)
        saved, began = time.monotonic(), time.monotonic()
        before = self.seconds
        stop = threading.Event()
        with self._learner(rows, objective) as learn, interruptible(stop, SAVING):
            while not self.done:
                done = self.plan.share(self.step, self.seconds)
                if done >= 1:
                    break
                self._step(learn, done)
                self.seconds = before + time.monotonic() - began
                if self.evaluate and self.plan.eval_every and self.step % self.plan.eval_every == 0:
                    paused = time.monotonic()
                    self._write({"step": self.step, **self.evaluate(self.model, self.tokenizer)})
                    began += time.monotonic() - paused
                if stop.is_set() or time.monotonic() - saved > self.plan.save_s:
                    self.checkpoint()
                    saved = time.monotonic()
                if stop.is_set():
                    raise KeyboardInterrupt
        if not self.done:
            self.done = True
            self.checkpoint()
        return self.model

    @contextmanager
    def _learner(self, rows: Callable[[int], Row], objective: Objective) -> Iterator[Learn]:
        """Give what draws and learns from a batch: one incident at a time on each core, or wide."""
        if not self.plan.wide:
            with ThreadPoolExecutor(self.plan.threads) as pool:
                yield partial(self._learn_in_parts, pool, rows, objective)
            return
        tokenizer = self.plan.out / TOKENIZER
        self.tokenizer.save_pretrained(tokenizer)
        with worker_processes(self.plan.workers) if self.plan.workers else nullcontext() as executor:
            ahead = Ahead(rows, tokenizer, executor, answered=objective.answered, codec=type(self.coder))
            ahead.ask(self.incidents, self.plan.batch)  # workers begin while the model is compiled
            wide = Wide(
                self.model,
                self.coder,
                ahead,
                compiles=self.plan.compiles and objective.compiles,
                bf16=self.plan.bf16,
            )
            yield partial(wide.learn, objective)

    def _step(self, learn: Learn, done: float) -> None:
        """Learn from a batch, and take an optimizer step."""
        began = time.perf_counter()
        sums, logs, times = learn(self.incidents, self.plan.batch)
        self.incidents += self.plan.batch
        if any(not math.isfinite(log.get("loss", 0.0)) for log in logs):
            raise self._no_number("loss")
        if sums:
            self._update(sums, done)
        self.step += 1
        self._write(_summary(logs, self.step, self.incidents, time.perf_counter() - began, times))

    def _learn_in_parts(
        self, pool: ThreadPoolExecutor, rows: Callable[[int], Row], objective: Objective, first: int, number: int
    ) -> Learning:
        """Draw and learn from a batch, in parts on all cores."""
        began = time.perf_counter()
        batch = [{**rows(index), "index": index} for index in range(first, first + number)]
        made_s = time.perf_counter() - began
        parts = _evenly(batch, self.plan.threads)
        drawn = list(pool.map(partial(objective.draw, self.model, self.coder), parts))
        times = Times(made_s, time.perf_counter() - began - made_s)
        learned = list(pool.map(partial(self._part, objective), parts, drawn))
        logs = [log for _, part in learned for log in part]
        if self.tell:
            told = zip((row for part in parts for row in part), logs, strict=True)
            for row, log in sorted(told, key=lambda pair: pair[0]["index"]):
                self.tell(row, log)
        return [gradients for gradients, _ in learned if gradients], logs, times

    def _part(
        self, objective: Objective, rows: Sequence[Row], drawn: Sequence[Any]
    ) -> tuple[list[torch.Tensor] | None, list[dict[str, Any]]]:
        """Return the sum of a part's gradients, None if nothing is learned from it, and what is logged of each row."""
        total, logs = None, []
        for row, prepared in zip(rows, drawn, strict=True):
            with on_device(self.model):
                loss, log = objective.loss(self.model, self.coder, row, prepared)
            logs.append(log)
            if loss is not None:
                gradients = torch.autograd.grad(loss, self._weights, allow_unused=True, materialize_grads=True)
                total = list(gradients) if total is None else [a.add_(b) for a, b in zip(total, gradients, strict=True)]
        return total, logs

    def _update(self, sums: Sequence[Sequence[torch.Tensor]], done: float) -> None:
        """Move the weights by the mean gradient, at the rate of this share of the run."""
        for index, weight in enumerate(self._weights):
            weight.grad = torch.stack([gradients[index] for gradients in sums]).sum(0) / self.plan.batch
        if not torch.nn.utils.clip_grad_norm_(self._weights, CLIP).isfinite():
            raise self._no_number("gradient")
        fall = 1.0 if done < 1 - self.plan.decay else max(0.05, (1 - done) / max(self.plan.decay, 1e-9))
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr * fall * min(1.0, (self.step + 1) / WARM_UP)
        self.optimizer.step()

    def _no_number(self, what: str) -> StoppedError:
        return StoppedError(
            f"Stopped: the {what} of step {self.step + 1} is not a number, and the step was not taken; {self.remaining}. Give a lower --lr."
        )

    @property
    def remaining(self) -> str:
        """Say which checkpoint of the run is there."""
        return remaining(self.plan.out / LAST)

    def checkpoint(self) -> None:
        """Save what a resumed run needs.

        Raises:
            StoppedError: a weight is not a number, or it cannot be written; the checkpoint before it stays.
        """
        if not all(weight.isfinite().all() for weight in self._weights):
            raise StoppedError(
                f"Stopped: a weight is not a number after step {self.step}, and it was not saved; {self.remaining}. Give a lower --lr."
            )
        state = {
            "step": self.step,
            "incidents": self.incidents,
            "seconds": self.seconds,
            "done": self.done,
            "settings": self._settings(),
        }
        about = {**self.about, "step": self.step, "incidents": self.incidents, "seconds": round(self.seconds, 1)}
        resumable = {"optimizer": self.optimizer.state_dict(), "state": state}
        save(self.model, self.tokenizer, self.plan.out / LAST, about=about, resumable=resumable)

    def _write(self, line: dict[str, Any]) -> None:
        self.log.add(line)
        if self.notice:
            self.notice(line)


def _evenly(batch: Sequence[Row], parts: int) -> list[list[Row]]:
    """Deal a batch into parts of about equal work: the longest windows first, each to the part that has least."""
    dealt: list[list[Row]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for row in sorted(batch, key=lambda row: -len(row["observation"]["log_window"])):
        least = loads.index(min(loads))
        dealt[least].append(row)
        loads[least] += FIXED_LINES + len(row["observation"]["log_window"])
    return dealt


def _summary(
    logs: Sequence[Mapping[str, Any]], step: int, incidents: int, took_s: float, times: Times
) -> dict[str, Any]:
    """Return a step's line: means over its incidents; sums of tokens and times."""
    line: dict[str, Any] = {"step": step, "incidents": incidents}
    for name in dict.fromkeys(name for log in logs for name in log):
        values = [log[name] for log in logs if name in log]
        if name in ("tokens", "judging_s"):
            line[name] = round(sum(values), 5)
        else:
            line[name] = round(statistics.fmean(values), 6)
    line |= {
        f"{name}_per_s": round(count / took_s, 1)
        for name, count in (("incidents", len(logs)), ("tokens", line.get("tokens", 0)))
    }
    line |= {"step_s": round(took_s, 4), "made_s": round(times.made_s, 4), "drawn_s": round(times.drawn_s, 4)}
    return {**line, "waiting": round(times.made_s / took_s, 4)}
