"""A small model made by `train` in the attacker's seat: it reads a world, and writes an incident as lines.

Needs the extra `train` (torch, transformers).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from players.attackers.base import Attacker, Brief
from players.attackers.chat import incident_question
from players.base import Options, Reply, Row, cut
from players.codec import PromptCodec, load_for_play
from players.decode import answers
from players.weights import fingerprint
from runs.provenance import stable_seed

TOGETHER, TOGETHER_ON_GPU = 16, 256  # briefs whose incidents are written side by side


class IncidentCodec(PromptCodec):
    """Encodes briefs and incidents: a row has `id`, `brief` and, where it is learned from, `incident`, an incident as lines."""

    longest: ClassVar[int] = 448

    def chat(self, row: Row) -> list[dict[str, str]]:
        """Return the messages that ask for an incident."""
        return incident_question(row["brief"], "compact")

    def answer(self, row: Row) -> list[int]:
        """Encode the incident, with its end."""
        return [*self.tokenizer(row["incident"]).input_ids, self.end]


class NanoAttacker(Attacker):
    """Writes greedily at temperature 0, else samples from the seed and the brief's id.

    Args:
        model: a small Qwen2 model.
        tokenizer: as `train.nano` makes it.
        options: temperature and seed are read.
        path: where it was read; None for a model that is in memory alone.
    """

    kind = "model"

    def __init__(self, model: Any, tokenizer: Any, options: Options, *, path: Path | None = None) -> None:
        super().__init__(path.resolve().name if path else "model")
        self._model, self._coder, self._options, self._path = model, IncidentCodec(tokenizer), options, path
        self._together = TOGETHER if model.device.type == "cpu" else TOGETHER_ON_GPU

    @classmethod
    def open(cls, path: Path, options: Options) -> NanoAttacker:
        """Read a checkpoint's directory, with `opensoc.json`.

        Raises:
            BadRequestError: the checkpoint cannot be read.
            OpenSOCError: torch or transformers is not installed.
        """
        return cls(*load_for_play(path, options.device), options, path=path)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, kind, a fingerprint of the files, and how it writes."""
        how = {"temperature": self._options.temperature}
        return {**super().settings, **({"fingerprint": fingerprint(self._path)} if self._path else {}), **how}

    def craft(self, briefs: Sequence[Brief]) -> list[Reply]:
        """Write an incident for each brief."""
        parts = [briefs[start : start + self._together] for start in range(0, len(briefs), self._together)]
        return [reply for part in parts for reply in self._replies(part)]

    def _replies(self, briefs: Sequence[Brief]) -> list[Reply]:
        began = time.perf_counter()
        prompts = [self._coder.prompt({"id": brief.id, "brief": brief}) for brief in briefs]
        drawn = answers(
            self._model,
            prompts,
            temperature=self._options.temperature,
            longest=self._coder.longest,
            end=self._coder.end,
            seeds=[stable_seed(f"{self._options.seed}/{brief.id}") for brief in briefs],
        )
        share = (time.perf_counter() - began) / len(briefs)
        return [Reply(cut(self._coder.text(answer.tokens[0])), latency_s=share) for answer in drawn]
