"""Muon on the matrices, AdamW on the rest, in float32; on a GPU matrices of one shape go through Newton-Schulz together, in bfloat16.

Muon: momentum, then the nearest half-orthogonal matrix by five Newton-Schulz steps (K. Jordan and others, "Muon: An optimizer for hidden
layers in neural networks", 2024; the coefficients are from there, the scale 0.2 sqrt(max side) that lets both share a learning rate from J. Liu
and others, "Muon is scalable for LLM training", 2025). torch's own does the steps in bfloat16, which a CPU without such units does about a
hundred times more slowly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

STEPS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return the half-orthogonal matrices near one or several (... x rows x columns): all their singular values become about 1."""
    a, b, c = QUINTIC
    wide = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = wide @ wide.mT
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.mT if matrix.shape[-2] > matrix.shape[-1] else wide


def _alike(weights: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Put matrices of one shape together."""
    alike: dict[torch.Size, list[torch.Tensor]] = {}
    for weight in weights:
        alike.setdefault(weight.shape, []).append(weight)
    return list(alike.values())


class Muon(torch.optim.Optimizer):
    """Both rules in one optimizer, so that one state dict holds all.

    Args:
        model: its matrices in layers take Muon; embeddings, norms and biases take AdamW.
        lr: learning rate, of AdamW's size.
        muon: without it all take AdamW, which follows noisy gradients less far.
    """

    def __init__(self, model: torch.nn.Module, lr: float, *, muon: bool = True) -> None:
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        matrices = [
            weight
            for name, weight in named
            if muon and weight.ndim == 2 and "embed" not in name and "lm_head" not in name
        ]
        chosen = set(map(id, matrices))
        rest = [weight for _, weight in named if id(weight) not in chosen]
        groups = [{"params": part, "muon": own} for part, own in ((matrices, True), (rest, False)) if part]
        super().__init__(groups, {"lr": lr, "momentum": 0.95, "decay": 0.01, "betas": (0.9, 0.98), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step by the gradients."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not group["muon"]:
                for weight in weights:
                    self._adam(weight, group)
                continue
            for alike in _alike(weights):
                for weight, update in zip(alike, self._updates(alike, group), strict=True):
                    weight.mul_(1 - group["lr"] * group["decay"])
                    weight.add_(update, alpha=-group["lr"] * 0.2 * max(weight.shape) ** 0.5)

    def _updates(self, weights: Sequence[torch.Tensor], group: dict[str, Any]) -> Iterable[torch.Tensor]:
        """Return where matrices of one shape go."""
        ahead = []
        for weight in weights:
            momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            momentum.lerp_(weight.grad, 1 - group["momentum"])
            ahead.append(weight.grad.lerp(momentum, group["momentum"]))
        if weights[0].is_cuda:
            return orthogonal(torch.stack(ahead).bfloat16()).to(weights[0].dtype)
        return map(orthogonal, ahead)

    def _adam(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[weight], group["betas"]
        if not state:
            state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["step"] += 1
        state["mean"].lerp_(weight.grad, 1 - first)
        state["square"].mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
        mean = state["mean"] / (1 - first ** state["step"])
        square = state["square"] / (1 - second ** state["step"])
        weight.addcdiv_(mean, square.sqrt() + group["eps"], value=-group["lr"])
