"""Write answers of a small Qwen2 model: each prompt is read once, and its answers, and those of other prompts, are written side by side.

`transformers.generate` reads a prompt once for each of its answers and pads all prompts to one length; here a prompt is read alone, without
padding (on a GPU with others of like length), and the attention to it is one product for all its answers. `scripts/bench_train.py` measures both,
a test holds that they say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

TOGETHER = 64  # prompts that a GPU reads side by side


class Answers(NamedTuple):
    """One prompt's answers: the tokens of each, with its end token if it came; `entropy` is the mean over all tokens, in nats."""

    tokens: list[list[int]]
    entropy: float


def on_device(model: Any) -> AbstractContextManager[Any]:
    """Return a context in which new tensors are made where the model is."""
    import torch

    return nullcontext() if model.device.type == "cpu" else torch.device(model.device)


def answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    number: int = 1,
    temperature: float = 0.0,
    longest: int = 64,
    end: int,
    seeds: Sequence[int] = (),
) -> list[Answers]:
    """Continue each prompt `number` times, greedily at temperature 0.

    Args:
        model: a Qwen2ForCausalLM with as many key heads as query heads.
        prompts: their tokens, at least one each.
        longest: tokens of an answer at most.
        end: the token that ends an answer.
        seeds: one for each prompt, for samples; what is drawn does not depend on the other prompts.
    """
    import torch

    if not prompts:
        return []
    with torch.no_grad(), on_device(model):
        cache, pages = _Cache(model, prompts, number, longest), _Pages(len(prompts), number, end)
        luck = _luck(seeds, number, longest).to(model.device) if temperature > 0 else None
        logits = cache.first_logits()
        for step in range(longest):
            chosen, nats = _greedy(logits) if luck is None else _sampled(logits / temperature, luck[..., step, None])
            if not pages.write(chosen.tolist(), nats.tolist()) or step == longest - 1:
                break
            logits = cache.next_logits(chosen, step)
        return pages.answers()


# ---------------------------------------------------------------- which token comes next
def _luck(seeds: Sequence[int], number: int, longest: int) -> torch.Tensor:
    """Return a throw for each token (prompts x number x longest), the same on every device."""
    import torch

    throws = [
        torch.rand(number, longest, generator=torch.Generator("cpu").manual_seed(seed), device="cpu") for seed in seeds
    ]
    return torch.stack(throws)


def _greedy(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the likeliest tokens, and no entropy."""
    chosen = logits.argmax(dim=-1)
    return chosen, chosen * 0.0


def _sampled(logits: torch.Tensor, luck: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens drawn by their probabilities, and the entropy of each draw in nats."""
    spread = logits.softmax(dim=-1)
    below = spread.cumsum(-1)
    chosen = (below < luck * below[..., -1:]).sum(-1).clamp_max(spread.shape[-1] - 1)
    return chosen, (spread * spread.clamp_min(1e-9).log()).sum(-1).neg()


class _Pages:
    """The answers so far."""

    def __init__(self, groups: int, number: int, end: int) -> None:
        self._tokens: list[list[list[int]]] = [[[] for _ in range(number)] for _ in range(groups)]
        self._nats, self._count = [0.0] * groups, [0] * groups
        self._end = end

    def write(self, chosen: list[list[int]], nats: list[list[float]]) -> bool:
        """Add a token to each answer that has not ended; return whether one goes on."""
        going = False
        for group, answers in enumerate(self._tokens):
            for row, tokens in enumerate(answers):
                if not tokens or tokens[-1] != self._end:
                    tokens.append(chosen[group][row])
                    self._nats[group] += nats[group][row]
                    self._count[group] += 1
                    going = going or tokens[-1] != self._end
        return going

    def answers(self) -> list[Answers]:
        """Return each prompt's answers."""
        means = (nats / count for nats, count in zip(self._nats, self._count, strict=True))
        return [Answers(tokens, mean) for tokens, mean in zip(self._tokens, means, strict=True)]


# ---------------------------------------------------------------- the model
class _Cache:
    """Keys and values of each layer: of the prompts, padded to the longest, and of the answers to each."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], number: int, longest: int) -> None:
        import torch

        self._core, self._head, config = model.model, model.lm_head.weight, model.config
        self._groups, self._number, self._heads = len(prompts), number, config.num_attention_heads
        self._width, self._eps = config.hidden_size // self._heads, config.rms_norm_eps
        self._read(prompts, config.hidden_size)
        shape = (self._groups, self._heads, number, longest, self._width)
        self._own_k = [torch.zeros(shape) for _ in self._core.layers]
        self._own_v = [torch.zeros(shape) for _ in self._core.layers]
        positions = torch.tensor([len(prompt) for prompt in prompts])[:, None] + torch.arange(longest)
        # groups x 1 x 1 x longest x width
        self._cos, self._sin = (part[:, None, None] for part in self._core.rotary_emb(self._hidden, positions))

    def _read(self, prompts: Sequence[Sequence[int]], size: int) -> None:
        """Read the prompts, and keep what its answers attend to; what is padding is hidden by `_unseen`."""
        import torch

        self._most = max(map(len, prompts))
        shape = (self._groups, self._heads, self._most, self._width)
        keys = [torch.zeros(shape) for _ in self._core.layers]
        self._old_v = [torch.zeros(shape) for _ in self._core.layers]
        self._hidden = torch.zeros(self._groups, 1, size)
        self._unseen = torch.zeros(self._groups, 1, 1, self._most)
        for part in self._parts(prompts):
            longest = max(len(prompts[group]) for group in part)
            tokens = torch.tensor([[*prompts[group], *[0] * (longest - len(prompts[group]))] for group in part])
            output = self._core(tokens, use_cache=True)  # padding stands behind, where causal attention does not look
            for row, group in enumerate(part):
                size = len(prompts[group])
                self._hidden[group] = output.last_hidden_state[row, size - 1]
                for index, layer in enumerate(output.past_key_values.layers):
                    keys[index][group, :, :size] = layer.keys[row, :, :size]
                    self._old_v[index][group, :, :size] = layer.values[row, :, :size]
                self._unseen[group, ..., size:] = float("-inf")
        self._old_k = [key.transpose(-1, -2).contiguous() / self._width**0.5 for key in keys]

    def _parts(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return which prompts are read together: each alone on a CPU, on a GPU those of like length."""
        order = sorted(range(len(prompts)), key=lambda group: len(prompts[group]))
        number = 1 if self._core.device.type == "cpu" else TOGETHER
        return [order[start : start + number] for start in range(0, len(order), number)]

    def first_logits(self) -> torch.Tensor:
        """Return the logits of each answer's first token (groups x number x vocabulary)."""
        from torch.nn import functional as F

        return F.linear(self._hidden, self._head).expand(self._groups, self._number, -1)

    def next_logits(self, chosen: torch.Tensor, step: int) -> torch.Tensor:
        """Return the logits after the tokens that were chosen in a step."""
        from torch.nn import functional as F

        x = F.embedding(chosen, self._core.embed_tokens.weight)
        for index, layer in enumerate(self._core.layers):
            x = x + self._attend(layer.self_attn, index, self._norm(x, layer.input_layernorm), step)
            x = x + layer.mlp(self._norm(x, layer.post_attention_layernorm))
        return F.linear(self._norm(x, self._core.norm), self._head)

    def _norm(self, x: torch.Tensor, layer: Any) -> torch.Tensor:
        from torch.nn import functional as F

        return F.rms_norm(x, x.shape[-1:], layer.weight, self._eps)

    def _attend(self, attention: Any, index: int, x: torch.Tensor, step: int) -> torch.Tensor:
        """Return a layer's attention of the newest token of each answer to its prompt and to itself."""
        import torch

        shape = (self._groups, self._number, self._heads, self._width)
        q, k, v = (
            part(x).view(shape).transpose(1, 2) for part in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        cos, sin = self._cos[..., step, :], self._sin[..., step, :]
        q = _turned(q, cos, sin)
        self._own_k[index][..., step, :] = _turned(k, cos, sin)
        self._own_v[index][..., step, :] = v
        keys, values = self._own_k[index][..., : step + 1, :], self._own_v[index][..., : step + 1, :]
        to_prompt = q @ self._old_k[index] + self._unseen
        to_own = (keys @ q[..., None])[..., 0] / self._width**0.5
        weights = torch.cat((to_prompt, to_own), dim=-1).softmax(dim=-1)
        own = (weights[..., None, self._most :] @ values)[..., 0, :]
        out = weights[..., : self._most] @ self._old_v[index] + own
        turned: torch.Tensor = attention.o_proj(out.transpose(1, 2).reshape(self._groups, self._number, -1))
        return turned


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate a query or key to its position (J. Su and others, RoFormer, 2021)."""
    import torch

    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
