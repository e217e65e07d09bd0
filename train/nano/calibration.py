"""How far a stated confidence can be trusted: which of the model's own figures is stated, at which temperature, and how it then agrees with what is right.

By the time the model names its action, the chain that it wrote has decided, so the action's own probability is near 1 whether the chain is right or wrong.
Whether the chain is right shows in the tokens before it. Hence the four figures of `Certainty`: each is fitted on `val` by one temperature, and the one whose
confidence is the best there (Brier score) is stated; `test_seed` says how far that holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from players.embedded import Calibration, Certainty, Reliability

MOST_ECE = 0.05  # on `test_seed`; above it no confidence is stated
RANGE = (-4.0, 4.0)  # of a temperature's natural logarithm
SURE = 1e-6  # from 0 and 1, at least, where a likelihood is taken


class Judged(NamedTuple):
    """Answered incidents of one set: their lines of eval.rollouts, and how sure the model was of each (None where it named no action)."""

    lines: Sequence[Mapping[str, Any]]
    certainties: Sequence[Certainty | None]


def calibrate(val: Judged, test_seed: Judged) -> Calibration | None:
    """Choose what a confidence is made of and its temperature on `val`, and measure it on both; None where no answer on `val` or none on `test_seed` can be read."""
    import numpy as np

    right = np.array([_is_right(line) for line, _ in _sure(val)])
    if not len(right) or not _sure(test_seed):
        return None
    fits = []
    for name in Certainty._fields:
        logs = np.array([getattr(certainty, name) for _, certainty in _sure(val)])
        temperature = _temperature(logs, right)
        fits.append((float(((np.exp(logs / temperature) - right) ** 2).mean()), name, temperature))
    _, of, temperature = min(fits, key=lambda fit: fit[0])
    both = {name: _reliability(judged, of, temperature) for name, judged in (("val", val), ("test_seed", test_seed))}
    return Calibration.model_validate(
        {"of": of, "temperature": temperature, "stated": both["test_seed"].ece <= MOST_ECE, **both}
    )


def _sure(judged: Judged) -> list[tuple[Mapping[str, Any], Certainty]]:
    pairs = zip(judged.lines, judged.certainties, strict=True)
    return [(line, certainty) for line, certainty in pairs if certainty and line["action"] is not None]


def _is_right(line: Mapping[str, Any]) -> bool:
    return bool(line["action"] == line["label"])


def _temperature(logs: Any, right: Any) -> float:
    """Return the temperature at which the confidences make what was right and wrong the likeliest."""
    import numpy as np
    from scipy.optimize import minimize_scalar

    def loss(of_temperature: float) -> float:
        confidence = np.clip(np.exp(logs / np.exp(of_temperature)), SURE, 1 - SURE)
        return float(-np.log(np.where(right, confidence, 1 - confidence)).mean())

    return round(float(np.exp(minimize_scalar(loss, bounds=RANGE, method="bounded").x)), 6)


def _reliability(judged: Judged, of: str, temperature: float) -> Reliability:
    """Measure the confidence, and beside it the action's probability as it is."""
    import numpy as np

    sure = _sure(judged)
    before, ece_before = _measured(judged, [float(np.exp(certainty.action)) for _, certainty in sure])
    brier, ece = _measured(judged, [float(np.exp(getattr(certainty, of) / temperature)) for _, certainty in sure])
    return Reliability(n=len(sure), ece=ece, brier=brier, ece_before=ece_before, brier_before=before)


def _measured(judged: Judged, confidences: Sequence[float]) -> tuple[float, float]:
    """Return Brier score and expected calibration error as evaluations have them."""
    from eval.metrics import measure

    stated = iter(confidences)
    lines = [{**line, "answer": {**line["answer"], "confidence": next(stated)}} for line, _ in _sure(judged)]
    metrics = measure(lines, resamples=1)
    return round(metrics["brier"]["value"], 6), round(metrics["ece"]["value"], 6)
