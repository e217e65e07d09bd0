"""Read padded batches with a small Qwen2 model, and return the loss of weighted answers.

The arithmetic is that of transformers' Qwen2, written out as one function of tensors for a layer: it compiles once for all layers and lengths, takes
causal attention without a mask (flash attention on a GPU), and reads the 32-bit weights in another number format. A test holds that gradients
are those of the loop that reads one incident at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from train.nano.lessons import Lesson, padded

Layer = Callable[..., torch.Tensor]
LENGTHS = (100, 300)  # tokens of the batches on which a compiled layer is tried


class Batch(NamedTuple):
    """Lessons as tensors: n sequences of one length, and m tokens of answers.

    Args:
        tokens: n x length.
        positions: n x length, or 1 x length where each lesson has one answer.
        mask: n x 1 x length x length of what sees what, where a lesson has several answers; None for causal.
        before: m, the places before each token of an answer, lesson after lesson, in the n x length flattened.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    before: torch.Tensor


# ---------------------------------------------------------------- lessons as tensors
def batch_of(lessons: Sequence[Lesson], device: Any, pad: int) -> Batch:
    """Pad lessons on the right to one length, and at least to two sequences."""
    length, rows = padded(max(lesson.size for lesson in lessons)), max(2, len(lessons))  # one alone is compiled anew
    several = any(len(lesson.answers) > 1 for lesson in lessons)
    tokens = np.full((rows, length), pad, np.int64)
    positions = np.tile(np.arange(length), (rows if several else 1, 1))
    spans = np.zeros((rows, length), np.int64)  # 0 for the prompt, then the number of the answer
    before = []
    for row, lesson in enumerate(lessons):
        first = start = len(lesson.prompt)
        tokens[row, :first] = lesson.prompt
        for number, answer in enumerate(lesson.answers, 1):
            end = start + len(answer)
            tokens[row, start:end], spans[row, start:end] = answer, number
            if several:
                positions[row, start:end] = range(first, first + len(answer))
            before.append(row * length + np.array([first - 1, *range(start, end - 1)]))
            start = end
    arrays = tokens, positions, np.concatenate(before)
    sent = [torch.from_numpy(array).to(device) for array in arrays]
    mask = _mask(torch.from_numpy(spans).to(device)) if several else None
    return Batch(sent[0], sent[1], mask, sent[2])


def _mask(spans: torch.Tensor) -> torch.Tensor:
    """Return what sees what: all that stands before it in the prompt and in its own answer."""
    length = spans.shape[1]
    seen = (spans[:, None, :] == 0) | (spans[:, None, :] == spans[:, :, None])
    return (seen & torch.ones(length, length, dtype=torch.bool, device=spans.device).tril())[:, None]


def answer_losses(lessons: Sequence[Lesson], logits: torch.Tensor) -> torch.Tensor:
    """Return the sum over lessons with one answer of the mean loss of its tokens."""
    answers = [answer for lesson in lessons for answer in lesson.answers]
    targets = torch.from_numpy(np.concatenate([np.asarray(answer, np.int64) for answer in answers]))
    weights = np.concatenate([np.full(len(answer), 1 / len(answer), np.float32) for answer in answers])
    losses = F.cross_entropy(logits, targets.to(logits.device), reduction="none")
    return torch.from_numpy(weights).to(logits.device) @ losses


# ---------------------------------------------------------------- the model
class Reader:
    """Reads batches with a model.

    Args:
        model: a small Qwen2 model with float32 weights and as many key heads as query heads.
        dtype: in which it is read.
        compiles: whether its layer is compiled first; if that fails, it is said, and the layer is read as it is.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32, *, compiles: bool = False) -> None:
        self.model, self.dtype = model, dtype
        self._layer: Layer = partial(_layer, model.config.num_attention_heads, model.config.rms_norm_eps)
        self._marks = False
        if compiles:
            self._layer = _compiled(self)

    def of(self, model: Any) -> Reader:
        """Return a reader of another model that reads as this one does."""
        other = Reader(model, self.dtype)
        other._layer = self._layer
        return other

    def logits(self, batch: Batch) -> torch.Tensor:
        """Return the logits before each token of the answers (m x vocabulary), float32."""
        model, config, dtype = self.model.model, self.model.config, self.dtype
        cos, sin = (part[:, None].float() for part in model.rotary_emb(model.norm.weight, batch.positions))
        embedding = model.embed_tokens.weight
        x = F.embedding(batch.tokens, embedding)
        for layer in model.layers:
            norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
            weights = [weight.to(dtype) for weight in _weights(layer)]
            if self._marks:
                _mark(x, cos, sin)
            x = self._layer(x, cos, sin, batch.mask, *norms, *weights)
        chosen = x.flatten(0, 1).index_select(0, batch.before)
        chosen = F.rms_norm(chosen, chosen.shape[-1:], model.norm.weight, config.rms_norm_eps)
        return F.linear(chosen.to(dtype), embedding.to(dtype)).float()


def _weights(layer: Any) -> tuple[torch.Tensor, ...]:
    """Return a layer's matrices and biases in the order in which `_layer` takes them."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    return (
        *(part for projection in projections for part in (projection.weight, projection.bias)),
        attention.o_proj.weight,
        *(projection.weight for projection in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)),
    )


def _layer(
    heads: int,
    eps: float,
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    mask: torch.Tensor | None,
    *weights: torch.Tensor,
) -> torch.Tensor:
    """Return what a layer makes of n x length x width, which stays in float32; its products are in the format of the matrices."""
    norm, second, wq, bq, wk, bk, wv, bv, wo, gate, up, down = weights
    count, length, width = x.shape
    y = F.rms_norm(x, (width,), norm, eps).to(wq.dtype)
    shape = (count, length, heads, width // heads)
    q, k, v = (F.linear(y, w, b).view(shape).transpose(1, 2) for w, b in ((wq, bq), (wk, bk), (wv, bv)))
    q, k = _turned(q, cos, sin), _turned(k, cos, sin)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    x = x + F.linear(out.transpose(1, 2).reshape(count, length, width), wo)
    y = F.rms_norm(x, (width,), second, eps).to(wq.dtype)
    return x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate queries or keys to their positions, in float32."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def _compiled(reader: Reader) -> Layer:
    """Compile the layer for all lengths, and try it; return the plain one if that fails."""
    torch._dynamo.config.suppress_errors = True  # what fails later is read as it is
    compiled = reader.of(reader.model)
    compiled._marks = True
    try:
        compiled._layer = torch.compile(reader._layer)
        for size in LENGTHS:
            lessons = [Lesson(range(1, size + number), [[2, 3]]) for number in range(3)]
            compiled.logits(batch_of(lessons, reader.model.device, 0)).sum().backward()
            compiled._marks = False
        reader.model.zero_grad()
    except Exception as error:  # the compiler, Triton and the C compiler each have their own
        print(f"The layer is not compiled: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return reader._layer
    return compiled._layer


def _mark(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """Tell the compiler which sizes vary: how many sequences, and their length."""
    for tensor, sizes in ((x, (0, 1)), (cos, (2,)), (sin, (2,))):
        for size in sizes:
            torch._dynamo.maybe_mark_dynamic(tensor, size)
