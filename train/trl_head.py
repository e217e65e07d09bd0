"""TRL's fused language-model head in plain torch, for machines without a GPU: TRL 1.15 computes it in a Triton kernel."""

from __future__ import annotations

from typing import Any


class PlainHead:
    """Log-probabilities and entropies of target tokens, with the call of TRL's own head."""

    @staticmethod
    def apply(
        hidden: Any,
        weight: Any,
        bias: Any,
        targets: Any,
        temperature: float,
        chunk: int,
        softcap: float | None,
        scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[Any, Any, None, None, Any]:
        """Compute what TRL asks of its head for `n` tokens.

        Args:
            hidden: last hidden states, n x width.
            weight: the head's matrix, vocabulary x width.
            bias: the head's bias, or None.
            targets: ids of the tokens, n.
            temperature: the divisor of the logits.
            chunk: not used; all logits are made at once.
            softcap: the model's bound of its logits, or None.
            scale: the model's factor of its logits.
            outputs: names of further results; `is_top1` is computed, TRL's other two serve losses that are not used here.

        Returns:
            Log-probabilities and entropies (n, float32), None twice, and whether each target is the likeliest token.
        """
        import torch

        logits = torch.nn.functional.linear(hidden, weight, bias).float() * scale
        if softcap:
            logits = softcap * torch.tanh(logits / softcap)
        log_probs = (logits / temperature).log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        top = log_probs.argmax(-1) == targets if "is_top1" in outputs else None
        return log_probs.gather(-1, targets[:, None])[:, 0], entropy, None, None, top


def use_plain_head() -> bool:
    """Replace TRL's head by the plain one if there is no GPU, and return whether that was done."""
    import torch
    import trl.trainer.utils

    if torch.cuda.is_available():
        return False
    trl.trainer.utils._ChunkedLogProbFunction = PlainHead
    return True
