"""Attack by the embedded attacker: a small model of our own that runs on onnxruntime, tokenizers and numpy alone.

`python -m train.nano.export_attacker CHECKPOINT` writes what it reads, models/attacker/.
"""

from __future__ import annotations

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
from players.base import Options, Reply, cut
from players.embedded import About, Embedded
from runs.provenance import stable_seed
from schema import BadRequestError

AGAIN = 0.7  # temperature of a second try of a greedy attacker
MODEL = Path(__file__).resolve().parent.parent.parent / "models" / "attacker"


class EmbeddedAttacker(Attacker):
    """Writes greedily at temperature 0, else samples from the seed and the brief's id.

    What schema or gate would refuse it writes again, sampled, as often as `options.tries` says: both are public, and it may ask them as anybody may.

    Args:
        options: temperature, seed and tries are read.
        path: what `train.nano.export_attacker` wrote.

    Raises:
        BadRequestError: there is no exported attacker, or it is damaged.
        OpenSOCError: onnxruntime or tokenizers is not installed.
    """

    kind = "embedded"
    batch = 8

    def __init__(self, options: Options, path: Path = MODEL) -> None:
        super().__init__("embedded" if path == MODEL else path.resolve().name)
        self._model, self._options = Embedded(path), options
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
        }
        return {**super().settings, "fingerprint": self._model.about.fingerprint, **how}

    def craft(self, briefs: Sequence[Brief]) -> list[Reply]:
        """Write an incident for each brief, on as many cores as there are."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(self._reply, briefs))

    def _reply(self, brief: Brief) -> Reply:
        started = time.perf_counter()
        for number in range(self._options.tries):
            text, fault = self._model.complete(incident_question(brief, "compact"), choose=self._chooser(brief, number))
            if number == self._options.tries - 1 or attempt(brief, text).scenario is not None:
                break
        return Reply(cut(text), fault, latency_s=round(time.perf_counter() - started, 4))

    def _chooser(self, brief: Brief, number: int) -> Callable[[Any], int] | None:
        """Return what draws the tokens of a brief's incident at a try; None for the likeliest ones."""
        temperature = self._options.temperature or (AGAIN if number else 0.0)
        if temperature <= 0:
            return None
        import numpy as np

        rng = np.random.default_rng(stable_seed(f"{self._options.seed}/{brief.id}/{number}"))
        return partial(_drawn, rng, temperature)


def _drawn(rng: Any, temperature: float, logits: Any) -> int:
    """Draw a token by its probability at a temperature."""
    import numpy as np

    weights = np.exp((logits - logits.max()).astype(np.float64) / temperature).cumsum()
    return int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
