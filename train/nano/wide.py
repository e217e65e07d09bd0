"""Learn from a wide batch on a GPU: its examples come from worker processes, its lessons are read in padded parts of about equal size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from players.codec import PromptCodec
from players.decode import on_device
from train.nano.forward import Batch, Reader, answer_losses, batch_of
from train.nano.lessons import Lesson, pack

if TYPE_CHECKING:
    from train.nano.batches import Ahead
    from train.nano.objectives import Objective

TOKENS = {"cuda": 32_768, "cpu": 8_192}  # of a part, with its padding


class Times(NamedTuple):
    """Seconds of a step: waiting for rows, and drawing answers."""

    made_s: float
    drawn_s: float


Loss = Callable[[Sequence[Lesson]], tuple[torch.Tensor, dict[str, float]]]  # the sum over lessons, and what is logged
Gradients = Sequence[torch.Tensor]
Learning = tuple[list[Gradients], list[dict[str, Any]], Times]  # sums of gradients, what is logged of each incident


class Wide:
    """Learns from batches.

    Args:
        model: on its device; on a GPU it is read in bfloat16.
        coder: of its tokenizer.
        ahead: the examples.
        compiles: whether its layer is compiled on a GPU, which takes half a minute.
        bf16: whether it is read in bfloat16 on a CPU too.
    """

    def __init__(
        self, model: Any, coder: PromptCodec, ahead: Ahead, *, compiles: bool = False, bf16: bool = False
    ) -> None:
        device, on_gpu = model.device, model.device.type == "cuda"
        if on_gpu:
            torch.set_float32_matmul_precision("high")
        self.model, self.coder, self.ahead = model, coder, ahead
        self.reader = Reader(model, torch.bfloat16 if on_gpu or bf16 else torch.float32, compiles=compiles and on_gpu)
        self._most = TOKENS[device.type]
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]

    def learn(self, objective: Objective, first: int, number: int) -> Learning:
        """Draw and learn from the examples at some indexes."""
        began = time.perf_counter()
        examples = self.ahead.take(first, number)
        made_s = time.perf_counter() - began
        lessons, logs = objective.lessons(self.model, self.coder, self.ahead, examples)
        times = Times(made_s, time.perf_counter() - began - made_s)
        taught = [index for index, lesson in enumerate(lessons) if lesson.answers]
        total, parts = self._gradients(partial(self._loss, objective), [lessons[index] for index in taught])
        for index, log in zip(taught, parts, strict=True):
            logs[index] |= log
        beside, _ = self._gradients(self._answer_loss, objective.anchors(self.coder, examples))
        return [gradients for gradients in (total, beside) if gradients], logs, times

    def _gradients(self, loss_of: Loss, lessons: Sequence[Lesson]) -> tuple[Gradients, list[dict[str, Any]]]:
        """Return the sum of the gradients of lessons, and what is logged of each: the means of its part."""
        total: list[torch.Tensor] = []
        logs: list[dict[str, Any]] = [{}] * len(lessons)
        for part in pack(lessons, self._most):
            loss, log = loss_of([lessons[index] for index in part])
            gradients = torch.autograd.grad(loss, self._weights)
            total = [a.add_(b) for a, b in zip(total, gradients, strict=True)] if total else list(gradients)
            for index in part:
                logs[index] = {"loss": loss.item() / len(part), **log}
        return total, logs

    def _loss(self, objective: Objective, lessons: Sequence[Lesson]) -> tuple[torch.Tensor, dict[str, float]]:
        batch, start = self._batch(lessons), None
        if objective.reference is not None:
            with torch.no_grad():
                start = self.reader.of(objective.reference).logits(batch)
        logits = self.reader.logits(batch)
        with on_device(self.model):
            return objective.lesson_loss(self.coder, lessons, logits, start)

    def _answer_loss(self, lessons: Sequence[Lesson]) -> tuple[torch.Tensor, dict[str, float]]:
        return answer_losses(lessons, self.reader.logits(self._batch(lessons))), {}

    def _batch(self, lessons: Sequence[Lesson]) -> Batch:
        return batch_of(lessons, self.model.device, self.coder.tokenizer.pad_token_id)
