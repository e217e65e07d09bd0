"""Answers of a small Qwen2 model: each prompt is read once, and its answers, and those of other prompts, are written side by side.

`transformers.generate` reads a prompt once for each of its answers and pads all prompts to one length; here a prompt is read alone, without
padding, and the attention to it is one product for all its answers. `scripts/bench_train.py` measures both, a test holds that they say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


class Answers(NamedTuple):
    """One prompt's answers: the tokens of each, its end token included where it came; `entropy` is the mean over all tokens, in nats."""

    tokens: list[list[int]]
    entropy: float


def _luck(number: int, longest: int, seed: int) -> torch.Tensor:
    """The same throws on every device."""
    import torch

    return torch.rand(number, longest, generator=torch.Generator("cpu").manual_seed(seed), device="cpu")


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary places (J. Su and others, RoFormer, 2021)."""
    import torch

    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def on_device(model: Any) -> AbstractContextManager[Any]:
    """Where a model is not on the CPU: within it new tensors are made where the model is."""
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
        return _answers(model, prompts, number, temperature, longest, end, seeds)


def _answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    number: int,
    temperature: float,
    longest: int,
    end: int,
    seeds: Sequence[int],
) -> list[Answers]:
    import torch
    from torch.nn import functional as F

    core, config = model.model, model.config
    groups, heads = len(prompts), config.num_attention_heads
    width = config.hidden_size // heads
    eps = config.rms_norm_eps

    # read
    most = max(map(len, prompts))
    old_k = [torch.zeros(groups, heads, most, width) for _ in core.layers]
    old_v = [torch.zeros(groups, heads, most, width) for _ in core.layers]
    hidden = torch.zeros(groups, 1, config.hidden_size)
    unseen = torch.zeros(groups, 1, 1, most)
    for group, prompt in enumerate(prompts):
        read = core(torch.tensor([list(prompt)]), use_cache=True)
        hidden[group] = read.last_hidden_state[0, -1]
        for place, layer in enumerate(read.past_key_values.layers):
            old_k[place][group, :, : len(prompt)] = layer.keys[0]
            old_v[place][group, :, : len(prompt)] = layer.values[0]
        unseen[group, ..., len(prompt) :] = float("-inf")
    old_k = [k.transpose(-1, -2).contiguous() / width**0.5 for k in old_k]
    own_k = [torch.zeros(groups, heads, number, longest, width) for _ in core.layers]
    own_v = [torch.zeros(groups, heads, number, longest, width) for _ in core.layers]
    places = torch.tensor([len(prompt) for prompt in prompts])[:, None] + torch.arange(longest)
    all_cos, all_sin = (
        part[:, None, None] for part in core.rotary_emb(hidden, places)
    )  # groups x 1 x 1 x longest x width
    luck = (
        torch.stack([_luck(number, longest, seed) for seed in seeds]).to(model.device)
        if temperature > 0
        else torch.zeros(0)
    )

    # write
    told: list[list[list[int]]] = [[[] for _ in range(number)] for _ in prompts]
    entropies, counted = [0.0] * groups, [0] * groups
    logits = F.linear(hidden, model.lm_head.weight).expand(groups, number, -1)
    for at in range(longest):
        if temperature > 0:
            spread = F.softmax(logits / temperature, dim=-1)
            below = spread.cumsum(-1)
            chosen = (below < luck[..., at, None] * below[..., -1:]).sum(-1).clamp_max(spread.shape[-1] - 1)
            nats = (spread * spread.clamp_min(1e-9).log()).sum(-1).neg().tolist()
        else:
            chosen = logits.argmax(dim=-1)
            nats = [[0.0] * number] * groups
        going = False
        for group, said in enumerate(chosen.tolist()):
            for row, token in enumerate(said):
                mine = told[group][row]
                if not mine or mine[-1] != end:
                    mine.append(token)
                    entropies[group] += nats[group][row]
                    counted[group] += 1
                    going = going or token != end
        if not going or at == longest - 1:
            break
        x = F.embedding(chosen, core.embed_tokens.weight)
        cos, sin = all_cos[..., at, :], all_sin[..., at, :]
        for place, layer in enumerate(core.layers):
            attention = layer.self_attn
            h = F.rms_norm(x, x.shape[-1:], layer.input_layernorm.weight, eps)
            q, k, v = (
                part(h).view(groups, number, heads, width).transpose(1, 2)
                for part in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            q = _turned(q, cos, sin)
            own_k[place][..., at, :] = _turned(k, cos, sin)
            own_v[place][..., at, :] = v
            mine_k, mine_v = own_k[place][..., : at + 1, :], own_v[place][..., : at + 1, :]
            to_prompt = q @ old_k[place] + unseen
            to_own = (mine_k @ q[..., None])[..., 0] / width**0.5
            weights = F.softmax(torch.cat((to_prompt, to_own), dim=-1), dim=-1)
            out = weights[..., :most] @ old_v[place] + (weights[..., None, most:] @ mine_v)[..., 0, :]
            x = x + attention.o_proj(out.transpose(1, 2).reshape(groups, number, -1))
            x = x + layer.mlp(F.rms_norm(x, x.shape[-1:], layer.post_attention_layernorm.weight, eps))
        logits = F.linear(F.rms_norm(x, x.shape[-1:], core.norm.weight, eps), model.lm_head.weight)
    return [Answers(*one) for one in zip(told, (a / b for a, b in zip(entropies, counted, strict=True)), strict=True)]
