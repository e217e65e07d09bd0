"""Say what a run of TRL's trainers costs, before anything is loaded: tokens, memory and hours on one GPU.

    tokens   of the run's own prompts and right answers, by the model's tokenizer where it is at hand, else by their characters
    memory   weights, what is trained, activations, logits, caches: the two tight moments, training and generating
    hours    floating-point operations at a share of the GPU's peak; for each generated token one pass over weights and caches at a
             share of its bandwidth

The arithmetic is that of a Llama-like transformer (grouped attention, gated MLP). The two shares are assumptions, not measurements.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from players.base import Density
from players.prompt import answer_text, messages
from players.weights import base_name, cached, is_adapter, is_model, load_tokenizer
from schema import BadRequestError, Row
from train import hub
from train.command import OWNERS_MODEL
from train.gpus import GPUS, Gpu

MEASURED = 200  # prompts whose lengths are taken
COMPUTE_SHARE, BANDWIDTH_SHARE = 0.35, 0.6  # of the peaks, that a trainer and a generating loop reach
USABLE = 0.92  # of the memory: the rest is the driver's and fragments
TRAINED_BYTES = 16  # of a trained weight: float32, its gradient, AdamW's two means
LOGIT_BYTES = 10  # of a logit in training: bf16, float32 and its gradient
# Characters of a token of chat prompts and of answers, measured with SmolLM2's tokenizer on every sixth row of sft_train. Qwen2.5's, which
# splits digits as that one does and has three times its words, makes fewer tokens of the same text.
CHARACTERS: Mapping[Density, float] = {"full": 3.13, "compact": 2.16, "legend": 2.62}
ANSWER_CHARACTERS = 2.6


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's config decides its cost."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int
    vocab: int
    tied: bool

    @property
    def head_dim(self) -> int:
        """Return the width of one head."""
        return self.hidden // self.heads

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Return the matrices of a layer, (in, out): query, key, value, output, gate, up, down."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, (self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden)]

    @property
    def parameters(self) -> int:
        """Return the weights of all matrices."""
        layer = sum(rows * columns for rows, columns in self.matrices)
        return self.layers * layer + self.vocab * self.hidden * (1 if self.tied else 2)

    def adapter(self, rank: int) -> int:
        """Return the weights of a LoRA adapter on every matrix of the layers."""
        return self.layers * rank * sum(rows + columns for rows, columns in self.matrices)

    def forward(self, tokens: float, length: float) -> float:
        """Return the operations of one pass over so many tokens of texts of a length."""
        attention = 2 * self.layers * self.heads * self.head_dim * length
        return tokens * (2 * (self.parameters - (0 if self.tied else self.vocab * self.hidden)) + attention)

    @property
    def cache(self) -> int:
        """Return the bytes that a token takes in the cache of keys and values, in bf16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


# config.json of Qwen/Qwen2.5-3B-Instruct on the hub, which cannot be asked everywhere
OWNERS_SHAPE = Shape(36, 2048, 16, 2, 11008, 151_936, True)


# ---------------------------------------------------------------- model and lengths
def find_model(named: str) -> tuple[Shape, Path | None]:
    """Return a model's shape, and its directory if it is at hand; the owner's model needs none.

    Raises:
        BadRequestError: it is neither a directory nor in the local cache, or its config has another form.
    """
    path = Path(named) if Path(named).is_dir() else cached(named)
    if path and is_adapter(path):
        return find_model(base_name(path))
    if path and is_model(path):
        return _shape_of(path), path
    if named != OWNERS_MODEL:
        raise BadRequestError(
            f"Expected the config of {named!r} for --dry-run, and it is neither a directory here nor in the local cache; "
            f"give one that is, or leave --model out for {OWNERS_MODEL}."
        )
    return OWNERS_SHAPE, None


def _shape_of(path: Path) -> Shape:
    config = json.loads((path / "config.json").read_text("utf-8"))
    try:
        heads = int(config["num_attention_heads"])
        return Shape(
            int(config["num_hidden_layers"]),
            int(config["hidden_size"]),
            heads,
            int(config.get("num_key_value_heads") or heads),
            int(config["intermediate_size"]),
            int(config["vocab_size"]),
            bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequestError(
            f"Expected the config of a Llama-like model in {str(path)!r} for --dry-run, and {error} is amiss; leave the flag out."
        ) from error


class Lengths(NamedTuple):
    """Tokens of a run's texts: of prompts on average and at most, and of the longest right answer."""

    mean: float
    longest: int
    answer: int
    how: str


Texts = Callable[[Row, Density], tuple[hub.Messages, str]]


def triage_texts(row: Row, density: Density) -> tuple[hub.Messages, str]:
    """Return prompt and right answer of a row for the defender."""
    return messages(row["observation"], density), answer_text(row["observation"], density)


def measure(rows: Sequence[Row], density: Density, path: Path | None, texts: Texts = triage_texts) -> Lengths:
    """Measure the prompts and right answers of rows, at most `MEASURED` spread over them."""
    rows = rows[:: max(1, len(rows) // MEASURED)][:MEASURED]
    prompts, answers = zip(*(texts(row, density) for row in rows), strict=True)
    if path:
        tokenizer = load_tokenizer(path)
        sizes = hub.lengths(tokenizer, prompts)
        ends = [len(ids) for ids in tokenizer(answers, add_special_tokens=False)["input_ids"]]
        how = "by its own tokenizer"
    else:
        ratio = CHARACTERS[density]
        sizes = [round(sum(len(message["content"]) for message in chat) / ratio) for chat in prompts]
        ends = [round(len(text) / ANSWER_CHARACTERS) for text in answers]
        how = f"as characters / {ratio:g}, an upper bound"
    return Lengths(fmean(sizes), max(sizes), hub.room_for(ends), f"{len(rows)} measured {how}")


# ---------------------------------------------------------------- what it takes
@dataclass(frozen=True, slots=True)
class Work:
    """A run in numbers.

    Args:
        steps: optimizer steps.
        texts: prompt and answer, learned in a step.
        at_once: of them on the device in one pass.
        sampled: whether the answers are generated, all of a step together.
        checked: prompts that are answered in evaluations, over the whole run.
    """

    steps: int
    texts: int
    at_once: int
    sampled: bool = False
    checked: int = 0


def evaluations_of(steps: int, every: int) -> int:
    """Return how often a run of so many steps is evaluated: at its start, every so many steps and at its end."""
    return -(-steps // every) + 1 if every else 0


def plan(title: str, args: argparse.Namespace, rows: Sequence[Row], work: Work, texts: Texts = triage_texts) -> str:
    """Write the plan of a run.

    Args:
        title: the command.
        args: its flags: model, density, gpu, full, lora_rank, checkpointing, eval_batch are read.
        rows: what it trains on, or the like.
        work: how much of it.
        texts: gives prompt and right answer of a row.

    Raises:
        BadRequestError: as of `find_model`.
    """
    shape, path = find_model(args.model)
    lengths, gpu = measure(rows, args.density, path, texts), GPUS[args.gpu]
    hours = _hours(shape, lengths, gpu, args, work)
    gigabytes = _gigabytes(shape, lengths, args, work)
    tokens = work.steps * work.texts * (lengths.mean + lengths.answer)
    checked = f", and {work.checked:,} prompts of evaluations" if work.checked else ""
    trained = "all of them trained" if args.full else f"an adapter of {shape.adapter(args.lora_rank) / 1e6:.1f}e6"
    fits = max(gigabytes.values()) * 1e9 < USABLE * gpu.memory
    lines = {
        "model": f"{args.model}: {shape.parameters / 1e9:.2f}e9 parameters ({'its' if path else 'its published'} config), {trained}",
        "prompts": f"{args.density}: {lengths.mean:,.0f} tokens on average, {lengths.longest:,} at most; answers up to {lengths.answer} ({lengths.how})",
        "tokens": f"{tokens / 1e6:.1f} million: {work.steps:,} steps of {work.texts} texts{checked}",
        "memory": f"{_listed(gigabytes, '.1f', ' GB')} of {gpu.memory / 1e9:.0f} GB{'' if fits else ': DOES NOT FIT'}",
        "hours": f"{_listed(hours, '.2f')}; together {sum(hours.values()):.2f}",
        "assumed": f"{COMPUTE_SHARE:.0%} of {gpu.flops / 1e12:.0f} TFLOP/s (dense bf16), {BANDWIDTH_SHARE:.0%} of {gpu.bandwidth / 1e9:.0f} GB/s",
    }
    head = f"{title} on one {args.gpu}; nothing was loaded"
    return "\n".join([head, *(f"{name:8} {text}" for name, text in lines.items())])


def _listed(figures: Mapping[str, float], form: str, unit: str = "") -> str:
    return ", ".join(f"{name} {value:{form}}{unit}" for name, value in figures.items())


def _hours(shape: Shape, lengths: Lengths, gpu: Gpu, args: argparse.Namespace, work: Work) -> dict[str, float]:
    """Return the hours of training, and of generating and evaluating where that is done."""
    whole = lengths.mean + lengths.answer
    # forward and backward; forward once more where activations are not kept; backward for weights that are trained
    passes = 2 + bool(args.checkpointing) + bool(args.full)
    texts = work.steps * work.texts
    hours = {"training": passes * shape.forward(texts * whole, whole) / (gpu.flops * COMPUTE_SHARE)}
    if work.sampled:
        hours["generating"] = work.steps * _answering(shape, lengths, gpu, work.texts, work.texts)
    if work.checked:
        hours["evaluating"] = _answering(shape, lengths, gpu, work.checked, args.eval_batch)
    return {name: seconds / 3600 for name, seconds in hours.items()}


def _answering(shape: Shape, lengths: Lengths, gpu: Gpu, prompts: int, at_once: int) -> float:
    """Return the seconds that so many answers take: the prompts are read, then each batch goes on to its longest answer."""
    reading = shape.forward(prompts * lengths.mean, lengths.mean) / (gpu.flops * COMPUTE_SHARE)
    bytes_a_token = 2 * shape.parameters + at_once * shape.cache * (lengths.mean + lengths.answer)
    return reading + -(-prompts // at_once) * lengths.answer * bytes_a_token / (gpu.bandwidth * BANDWIDTH_SHARE)


def _gigabytes(shape: Shape, lengths: Lengths, args: argparse.Namespace, work: Work) -> dict[str, float]:
    """Return the gigabytes at the two tight moments, with the longest prompts."""
    longest = work.at_once * (lengths.longest + lengths.answer)
    frozen = 0 if args.full else 2 * shape.parameters
    held = frozen + TRAINED_BYTES * (shape.parameters if args.full else shape.adapter(args.lora_rank))
    layer = 2 * (8 * shape.hidden + 4 * shape.inner)  # bytes of a token's activations within a layer
    activations = longest * (2 * shape.hidden * shape.layers + layer * (1 if args.checkpointing else shape.layers))
    learned = work.at_once * lengths.answer if work.sampled else longest  # GRPO makes the logits of answers alone
    at_once = work.texts if work.sampled else args.eval_batch if work.checked else 0
    caches = at_once * shape.cache * (lengths.longest + lengths.answer)
    return {
        "training": (held + activations + LOGIT_BYTES * shape.vocab * learned) / 1e9,
        "generating": (held + caches + 4 * at_once * shape.vocab) / 1e9,
    }
