"""A small model made by `train`: its prompt is read once for a reply, without padding, on the cores of this machine.

The same answers as `transformers.generate` gives, in a fraction of the time; its prompts are always `compact`.
Needs the extra `train` (torch, transformers).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from players.base import Arrived, Options, Reply, Row, Streaming, cut
from players.codec import LONGEST, PromptCodec, load_for_play
from players.decode import answers
from players.prompt import messages
from players.weights import fingerprint
from runs.provenance import stable_seed
from schema import BadRequestError

THREADS = 2
TOGETHER, TOGETHER_ON_GPU = 8, 256  # prompts whose replies are written side by side


class NanoModel(Streaming):
    """Greedy at temperature 0, else sampled from the seed and the item's id.

    Args:
        model: a small Qwen2 model.
        tokenizer: as `train.nano` makes it.
        options: temperature, max_tokens and seed are read.
        path: where it was read; None for a model that is in memory alone.
        threads: cores.
    """

    kind = "model"

    def __init__(
        self, model: Any, tokenizer: Any, options: Options, *, path: Path | None = None, threads: int = THREADS
    ) -> None:
        super().__init__(path.resolve().name if path else "model")
        self._model, self._coder, self._options, self._path = model, PromptCodec(tokenizer), options, path
        self._longest = min(LONGEST, options.max_tokens)
        on_cpu = model.device.type == "cpu"
        self._together, self._threads = (TOGETHER, threads) if on_cpu else (TOGETHER_ON_GPU, 1)
        self.batch = self._threads * self._together

    @classmethod
    def open(cls, path: Path, options: Options) -> NanoModel:
        """Read a checkpoint's directory, with `opensoc.json`.

        Raises:
            BadRequestError: the checkpoint cannot be read.
            OpenSOCError: torch or transformers is not installed.
        """
        return cls(*load_for_play(path, options.device), options, path=path)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, kind, a fingerprint of the files, and how it generates."""
        how = {"max_tokens": self._longest, "temperature": self._options.temperature, "density": "compact"}
        return {**super().settings, **({"fingerprint": fingerprint(self._path)} if self._path else {}), **how}

    def stream(self, rows: Sequence[Row], stop: threading.Event) -> Iterator[Arrived]:
        """Replies batch by batch."""
        parts = [rows[start : start + self._together] for start in range(0, len(rows), self._together)]
        with ThreadPoolExecutor(self._threads) as pool:
            for first in range(0, len(parts), self._threads):
                if stop.is_set():
                    return
                replies = list(pool.map(self._replies, parts[first : first + self._threads]))
                yield list(enumerate((reply for part in replies for reply in part), first * self._together))

    def _replies(self, rows: Sequence[Row]) -> list[Reply]:
        began = time.perf_counter()
        chats = [messages(row["observation"], "compact") for row in rows]
        prompts: dict[int, list[int]] = {}
        faults: dict[int, str] = {}
        for index, row in enumerate(rows):
            try:
                prompts[index] = self._coder.prompt(dict(row))
            except BadRequestError as error:
                faults[index] = str(error)
        drawn = answers(
            self._model,
            list(prompts.values()),
            temperature=self._options.temperature,
            longest=self._longest,
            end=self._coder.end,
            seeds=[stable_seed(f"{self._options.seed}/{rows[index]['id']}") for index in prompts],
        )
        tokens_of = {index: answer.tokens[0] for index, answer in zip(prompts, drawn, strict=True)}
        share = (time.perf_counter() - began) / len(rows)
        return [
            Reply(None, faults[index], chats[index])
            if index in faults
            else Reply(
                cut(self._coder.text(tokens_of[index])),
                "",
                chats[index],
                share,
                {"prompt_tokens": len(prompts[index]), "completion_tokens": len(tokens_of[index]), "cost": None},
            )
            for index in range(len(rows))
        ]
