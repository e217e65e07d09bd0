"""Minimal pairs: of the twins that the generator proposes, those that the verifier tells apart.

A flipped twin has another decision, also with slightly stricter and slightly looser thresholds, so that no pair hangs on an edge.
"""

from __future__ import annotations

from random import Random

from generator.incidents import Case
from generator.twins import Twin, proposals
from scenario import is_admissible, label


def flip(case: Case, rng: Random) -> Twin | None:
    """Return the first twin, in a seeded order, that differs in one edit and in the decision; None if no edit flips it."""
    before = label(case)
    return next(
        (twin for twin in proposals(case, rng) if label(twin.case) != before and is_admissible(twin.case)), None
    )
