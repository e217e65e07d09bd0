"""Minimal pairs: of the twins that the generator proposes, those that the verifier tells apart.

A flipped twin has another decision, also with slightly stricter and slightly looser thresholds, so that no pair hangs on an edge.
"""

from __future__ import annotations

from random import Random

from generator.incidents import Case
from generator.twins import Twin, proposals
from schema import Label
from verifier.decision import compute_ground_truth
from verifier.plausibility import check_plausibility

OF_THE_CLAIM = "the category is"  # a twin keeps its author's claim, which its events may no longer bear


def label(case: Case) -> Label:
    """Return the right decision on a case."""
    return compute_ground_truth(case.incident, case.world).action


def flip(case: Case, rng: Random) -> Twin | None:
    """Return the first twin, in a seeded order, that differs in one edit and in the decision; None if no edit flips it."""
    before = label(case)
    return next(
        (twin for twin in proposals(case, rng) if label(twin.case) != before and is_admissible(twin.case)), None
    )


def is_admissible(case: Case) -> bool:
    """Return whether the gate would admit a twin, its author's claimed category aside."""
    return all(reason.startswith(OF_THE_CLAIM) for reason in check_plausibility(case.incident, case.world))
