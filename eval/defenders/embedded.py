"""The embedded defender: the exported model of models/defender/, or of another directory, on one core and without torch."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedded import MODEL, Decision, Embedded
from eval.defenders.base import Defender, Options, Reply, Row, cut
from train.prompt import parse


class EmbeddedModel(Defender):
    """Greedy, one item at a time; its prompts have the density that the model was trained with, whatever `--density` says.

    A well-formed reply gains the probability of its action among the five as `confidence`.

    Args:
        options: max_tokens is read, and cannot lengthen an answer beyond the model's own limit.
        path: what `train.export` wrote.

    Raises:
        BadRequestError: there is no exported model, or it is damaged.
        OpenSOCError: onnxruntime or tokenizers is not installed.
    """

    kind = "embedded"
    batch = 8

    def __init__(self, options: Options, path: Path = MODEL) -> None:
        super().__init__("embedded" if path == MODEL else path.resolve().name)
        self._model = Embedded(path)
        self.density = self._model.about.density
        self._longest = min(options.max_tokens, self._model.about.longest)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, kind, a fingerprint of the export, and how it generates."""
        about = self._model.about
        how = {"precision": about.precision, "density": about.density, "max_tokens": self._longest}
        return {**super().settings, "fingerprint": about.fingerprint, **how}

    def answer(self, batch: Sequence[Row]) -> list[Reply]:
        """Reply to each row."""
        return [self._reply(row) for row in batch]

    def _reply(self, row: Row) -> Reply:
        started = time.perf_counter()
        decision = self._model.decide(row["observation"], longest=self._longest)
        took_s = round(time.perf_counter() - started, 4)
        usage = {"prompt_tokens": decision.prompt_tokens, "completion_tokens": len(decision.tokens), "cost": None}
        return Reply(cut(_with_confidence(decision)), decision.fault, decision.prompt, took_s, usage)


def _with_confidence(decision: Decision) -> str | None:
    """The reply, with the confidence in its object where it is nothing but a well-formed one."""
    if decision.text is None or decision.confidence is None or parse(decision.text).answer is None:
        return decision.text
    try:
        said = json.loads(decision.text)
    except ValueError:  # there is more in the reply than the answer: it stays as it is
        return decision.text
    return json.dumps({**said, "confidence": round(decision.confidence, 4)})
