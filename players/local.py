"""A transformers model directory, or a PEFT adapter on its base model: batched generation on this machine.

Prompts go through the tokenizer's chat template and are padded on the left. Nothing is downloaded: a directory that is not there is an
error. Needs the extra `train` (torch, transformers, peft).
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from players.base import Arrived, Options, PlayerError, Reply, Row, Streaming, cut
from players.shots import Question, question_of
from players.weights import fingerprint, is_adapter, load_model, loading
from schema import BadRequestError


class LocalModel(Streaming):
    """Generates on this machine; greedy at temperature 0, else sampled from the seed.

    Args:
        model: a causal language model of transformers or PEFT.
        tokenizer: with a chat template; pads on the left.
        options: batch_size, density, shots, max_tokens, temperature and seed are read.
        path: where it was read; None for a model that is in memory alone.
        question: the chat that asks about a row; by default for a triage, as the options say.
    """

    kind = "model"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        options: Options,
        *,
        path: Path | None = None,
        question: Question | None = None,
    ) -> None:
        import torch

        super().__init__(path.resolve().name if path else "model")
        self._torch, self._model, self._tokenizer = torch, model, tokenizer
        self._path, self._options, self.batch = path, options, options.batch_size
        self._question = question or question_of(options)
        self._opening = ""  # of the prompts of a batch: system message and worked examples
        self._remembered: tuple[str, Any, Any] = ("", None, None)
        self._longest = getattr(model.config, "max_position_embeddings", None) or 1 << 30

    @classmethod
    def open(cls, path: Path, options: Options, question: Question | None = None) -> LocalModel:
        """Read a directory with `config.json`, or with `adapter_config.json`, whose base model is a directory too or in the local cache.

        Raises:
            BadRequestError: the directory holds neither, or cannot be loaded, or its tokenizer has no chat template.
            OpenSOCError: torch, transformers or peft is not installed.
        """
        model, tokenizer = load_model(path, dtype=options.dtype)
        with loading(path):
            model = model.to(_device(options.device)).eval()
        if not tokenizer.chat_template:
            raise BadRequestError(
                f"Expected a chat template in the tokenizer of {str(path)!r}, and it has none; save one with it."
            )
        return cls(model, tokenizer, options, path=path, question=question)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, kind, a fingerprint of the files, and how it generates."""
        options = self._options
        how: dict[str, Any] = {"max_tokens": options.max_tokens, "temperature": options.temperature}
        how |= {"shots": options.shots} if options.shots else {}
        how |= {"dtype": options.dtype} if options.dtype != "auto" else {}
        path = self._path
        return {
            **super().settings,
            **({"adapter": is_adapter(path), "fingerprint": fingerprint(path)} if path else {}),
            **how,
        }

    def stream(self, rows: Sequence[Row], stop: threading.Event) -> Iterator[Arrived]:
        """Batches of prompts of like length, the longest first: what does not fit into memory shows at once."""
        prompts = list(map(self._question, rows))
        lengths = [sum(len(message["content"]) for message in prompt) for prompt in prompts]
        order = sorted(range(len(rows)), key=lambda index: (-lengths[index], index))
        for start in range(0, len(order), self.batch):
            if stop.is_set():
                return
            indexes = order[start : start + self.batch]
            if self._options.temperature > 0:  # greedy replies leave the caller's random numbers alone
                self._torch.manual_seed(_seed(self._options.seed, [rows[index]["id"] for index in indexes]))
            yield list(zip(indexes, self._replies([prompts[index] for index in indexes]), strict=True))

    def _replies(self, prompts: list[list[dict[str, str]]]) -> list[Reply]:
        """Replies to one batch; halved where it does not fit into the device's memory."""
        texts = [
            self._tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            for prompt in prompts
        ]
        if self._options.shots:
            self._opening = self._tokenizer.apply_chat_template(prompts[0][:-1], tokenize=False)
        sizes = [len(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]
        room = self._longest - self._options.max_tokens
        fits = [index for index, size in enumerate(sizes) if size <= room]
        replies: dict[int, Reply] = {
            index: Reply(
                None,
                f"the prompt has {sizes[index]} tokens, and the model has room for {room} before its answer",
                prompts[index],
            )
            for index in set(range(len(prompts))) - set(fits)
        }
        started = time.perf_counter()
        made = self._generated([texts[index] for index in fits])
        each_s = round((time.perf_counter() - started) / len(fits), 4) if fits else 0.0
        for index, (text, tokens) in zip(fits, made, strict=True):
            usage = {"prompt_tokens": sizes[index], "completion_tokens": tokens, "cost": None}
            reply = cut(text)
            replies[index] = Reply(reply, "" if reply else "the model gave nothing", prompts[index], each_s, usage)
        return [replies[index] for index in range(len(prompts))]

    def _generated(self, texts: list[str]) -> list[tuple[str, int]]:
        """Text and number of tokens for each prompt."""
        if not texts:
            return []
        try:
            return self._generate(texts)
        except self._torch.OutOfMemoryError as error:
            if len(texts) == 1:
                raise PlayerError(
                    "Expected one prompt to fit into the device's memory, and it does not; use a larger device, --density compact or a smaller model."
                ) from error
        self._torch.cuda.empty_cache()
        half = len(texts) // 2
        return self._generated(texts[:half]) + self._generated(texts[half:])

    def _generate(self, texts: list[str]) -> list[tuple[str, int]]:
        options, tokenizer = self._options, self._tokenizer
        batch = self._encode(texts)
        how = (
            {"do_sample": True, "temperature": options.temperature, "top_k": 0, "top_p": 1.0}
            if options.temperature > 0
            else {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
        )
        with self._torch.no_grad():
            made = self._model.generate(
                **batch,
                **how,
                max_new_tokens=options.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=self._ends(),
            )
        answers = made[:, batch["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
        counts = (answers != tokenizer.pad_token_id).sum(dim=1).tolist()
        return list(zip(texts, counts, strict=True))

    def _encode(self, texts: list[str]) -> dict[str, Any]:
        """Return a batch for `generate`; what all of its texts open with is read once for all batches, where there are worked examples."""
        opening = self._opening if all(text.startswith(self._opening) for text in texts) else ""
        rests = [text[len(opening) :] for text in texts]
        batch = self._tokenizer(rests, add_special_tokens=False, padding=True, return_tensors="pt")
        batch = dict(batch.to(self._model.device))
        if not opening:
            return batch
        ids, cache = self._read(opening)
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(len(texts))
        heads = {
            "input_ids": ids.expand(len(texts), -1),
            "attention_mask": self._torch.ones_like(ids).expand(len(texts), -1),
        }
        joined = {name: self._torch.cat([head, batch[name]], dim=1) for name, head in heads.items()}
        return {**joined, "past_key_values": cache}

    def _read(self, opening: str) -> tuple[Any, Any]:
        """Return the tokens of an opening and the model's cache after them; the last one is remembered."""
        if self._remembered[0] != opening:
            ids = self._tokenizer(opening, add_special_tokens=False, return_tensors="pt").input_ids.to(
                self._model.device
            )
            with self._torch.no_grad():
                cache = self._model(ids, use_cache=True, logits_to_keep=1).past_key_values
            self._remembered = opening, ids, cache
        return self._remembered[1:]

    def _ends(self) -> list[int]:
        """Return the tokens that end a reply: those of the model, and the tokenizer's, which training teaches."""
        ends = self._model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        return list(dict.fromkeys([*ends, self._tokenizer.eos_token_id]))


def _device(wanted: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _seed(seed: int, ids: Sequence[str]) -> int:
    """Derive a batch's own seed, so that its samples do not depend on the batches before it."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, *ids]).encode()).digest()[:8], "big") >> 1
