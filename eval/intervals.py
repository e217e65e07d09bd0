"""Intervals and tests that the figures rest on: a bootstrap over families, exact McNemar, Holm; Wilson's is `telemetry.scoring.wilson`.

Incidents of one scenario family resemble each other, so a resample draws whole families with replacement. A draw is a vector of how often
each family was taken; whatever is a function of per-family sums is then resampled by one matrix product. Tests are statsmodels'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache

import numpy as np

from telemetry.scoring import CONFIDENCE

MEASURING = ("scipy", "threadpoolctl")  # libraries without which there are no metrics
RESAMPLES = 10_000
LEAST_FAMILIES = 2  # one family does not say how families differ

Interval = tuple[float, float]


def rounded(value: float) -> float:
    """Round a figure as results store it, to six decimals."""
    return round(float(value), 6)


@lru_cache(maxsize=8)  # of runs over the same sets, and of groups of a set
def draws(families: int, *, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Draw how often each family is taken in each resample.

    Returns:
        Counts, resamples x families; every row sums to `families`. The array is read-only.
    """
    shares = np.full(families, 1 / families)
    drawn = np.random.default_rng(seed).multinomial(families, shares, size=resamples).astype(float)
    drawn.flags.writeable = False
    return drawn


def one_thread() -> AbstractContextManager[object]:
    """Hold numpy to one thread: a product of resamples and sums takes a millisecond there, and longer if threads wait for each other."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def per_family(values: np.ndarray, families: np.ndarray, number: int) -> np.ndarray:
    """Sum `values` (one an item) over each of `number` families, given each item's family as a number."""
    return np.bincount(families, weights=values, minlength=number)


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide `above` by `below`; nan if `below` is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def percentiles(samples: np.ndarray, families: int) -> Interval | None:
    """Return the expanded percentile interval of figures resampled over so many families.

    Plain percentiles are too narrow where families are few. These lie as much farther out as a t interval is wider than a normal one that takes
    the resamples' spread as it is (Hesterberg 2015, What teachers should know about the bootstrap, The American Statistician 69).

    Args:
        samples: the figure in each resample, nan where it is not defined; those are left out.
        families: how many were drawn from, 2 or more.

    Returns:
        The bounds, or None if the figure is not defined in more than half of the resamples.
    """
    from scipy.special import ndtr, stdtrit

    defined = samples[~np.isnan(samples)]
    if 2 * len(defined) < len(samples) or not len(defined):
        return None
    share = ndtr(_widened(families) * stdtrit(families - 1, (1 - CONFIDENCE) / 2))
    low, high = np.quantile(defined, [share, 1 - share])
    return float(low), float(high)


def _widened(families: int) -> float:
    """Return the factor by which the resamples' spread is smaller than the unbiased estimate."""
    return math.sqrt(families / (families - 1))


def bootstrap_p(differences: np.ndarray, families: int) -> float:
    """Return the two-sided p-value of no difference: one minus the confidence of the widest interval of `percentiles` that leaves out 0.

    One resample is added to each side, so that the value is never 0. Where no resample reaches 0, how many there are would set the value, and a
    correction for many comparisons would hide the clearest difference: it is then taken from a t distribution with the resamples' spread, and is
    at least what swapping the two defenders family by family could show.
    """
    from scipy.special import ndtri, stdtr

    defined = differences[~np.isnan(differences)]
    beyond = min(int(np.sum(defined <= 0)), int(np.sum(defined >= 0)))
    side = (beyond + 1) / (len(defined) + 1)
    if side >= 0.5:
        return 1.0
    p = float(2 * stdtr(families - 1, ndtri(side) / _widened(families)))
    if beyond:
        return p
    spread = float(defined.std()) * _widened(families)
    tail = float(2 * stdtr(families - 1, -abs(defined.mean()) / spread)) if spread else 0.0
    return min(p, max(tail, 2.0 ** (1 - families)))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided McNemar p-value, from the items that only one of two defenders gets right."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's step-down method, in their order."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if len(p_values) else []
