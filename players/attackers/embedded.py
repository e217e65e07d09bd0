"""Attack by the embedded attacker: a small model of our own that runs on onnxruntime, tokenizers and numpy alone.

It writes what the grammar of incidents allows (`players.attackers.grammar`), token by token. A checkpoint in training writes freely, and learns from what is refused.
`python -m train.nano.export_attacker CHECKPOINT` writes what it reads, models/attacker/.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from players.attackers.attempts import attempt
from players.attackers.base import Attacker, Brief
from players.attackers.chat import incident_question
from players.attackers.grammar import LineGrammar
from players.base import Options, Reply, cut
from players.embedded import About, Embedded, likeliest
from runs.provenance import stable_seed
from schema import BadRequestError

AGAIN = 0.7  # temperature of a second try of a greedy attacker
Choice = Callable[[Any], int]  # from logits (float32 array [vocabulary]) to a token
MODEL = Path(__file__).resolve().parent.parent.parent / "models" / "attacker"


class EmbeddedAttacker(Attacker):
    """Writes greedily at temperature 0, else samples from the seed and the brief's id.

    What schema or gate would refuse it writes again, sampled, as often as `options.tries` says: both are public, and it may ask them as anybody may.

    Args:
        options: temperature, seed and tries are read.
        path: what `train.nano.export_attacker` wrote.
        free: whether it writes without the grammar, as a checkpoint does.

    Raises:
        BadRequestError: there is no exported attacker, or it is damaged.
        OpenSOCError: onnxruntime or tokenizers is not installed.
    """

    kind = "embedded"
    batch = 8

    def __init__(self, options: Options, path: Path = MODEL, *, free: bool = False) -> None:
        super().__init__("embedded" if path == MODEL else path.resolve().name)
        self._model, self._options, self._free = Embedded(path), options, free
        if self._model.about.seat != "attacker":
            raise BadRequestError(
                f"Expected an exported attacker in {str(path)!r}, and found a {self._model.about.seat}; give it as --defender."
            )

    @property
    def about(self) -> About:
        """What lies beside the export's weights: what made it, and what was measured."""
        return self._model.about

    @property
    def settings(self) -> dict[str, Any]:
        """Return name, kind, a fingerprint of the export, and how it writes."""
        how = {
            "precision": self._model.about.precision,
            "temperature": self._options.temperature,
            "tries": self._options.tries,
            "grammar": not self._free,
        }
        return {**super().settings, "fingerprint": self._model.about.fingerprint, **how}

    def craft(self, briefs: Sequence[Brief]) -> list[Reply]:
        """Write an incident for each brief, on as many cores as there are."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(self._reply, briefs))

    def _reply(self, brief: Brief) -> Reply:
        started = time.perf_counter()
        grammar = None if self._free else LineGrammar(brief.context)
        for number in range(self._options.tries):
            text, fault = self._write(brief, self._chooser(brief, number), grammar)
            if number == self._options.tries - 1 or attempt(brief, text).scenario is not None:
                break
        return Reply(cut(text), fault, latency_s=round(time.perf_counter() - started, 4))

    def _write(self, brief: Brief, choose: Choice, grammar: LineGrammar | None) -> tuple[str | None, str]:
        """Return the incident that is written for a brief, or None and why there is none."""
        question = incident_question(brief, "compact")
        if grammar is None:
            return self._model.complete(question, choose=choose)
        text, fault = self._model.complete(
            question, choose=_Keeping(grammar, self._model.pieces, self._model.about.end, choose)
        )
        return text and grammar.finished(text), fault

    def _chooser(self, brief: Brief, number: int) -> Choice:
        """Return what chooses the tokens of a brief's incident at a try."""
        temperature = self._options.temperature or (AGAIN if number else 0.0)
        if temperature <= 0:
            return likeliest
        import numpy as np

        rng = np.random.default_rng(stable_seed(f"{self._options.seed}/{brief.id}/{number}"))
        return partial(_drawn, rng, temperature)


class _Keeping:
    """Chooses tokens within a grammar: one that does not go on is ruled out, and another is chosen."""

    def __init__(self, grammar: LineGrammar, pieces: Sequence[str], end: int, choose: Choice) -> None:
        self._grammar, self._pieces, self._end, self._choose = grammar, pieces, end, choose
        self._text = ""

    def __call__(self, logits: Any) -> int:
        left = logits.copy()
        while left.max() > -math.inf:
            token = self._choose(left)
            if token == self._end and self._grammar.may_end(self._text):
                return token
            if self._pieces[token] and self._grammar.goes_on(self._text + self._pieces[token]):
                self._text += self._pieces[token]
                return token
            left[token] = -math.inf
        return self._end


def _drawn(rng: Any, temperature: float, logits: Any) -> int:
    """Draw a token by its probability at a temperature."""
    import numpy as np

    weights = np.exp((logits - logits.max()).astype(np.float64) / temperature).cumsum()
    return int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
