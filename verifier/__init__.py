"""Ground truth: what an incident is and what should be done, computed from its events and its world alone.

Pure: no clock, no randomness, no network, no memory. `window` holds what rules read and say, `rules` the rules by
tactic, `context` what explains a finding, `decision` the ladder, `plausibility` the gate that admits an attacker's incident,
`playbook` the same in words.
"""

from verifier.decision import compute_ground_truth, declaration_for, judge_observation
from verifier.plausibility import check_plausibility, signature
from verifier.playbook import playbook_for, playbook_text, rules_on
from verifier.rules import RULES
from verifier.truth import GroundTruth
from verifier.window import Finding

__all__ = [
    "RULES",
    "Finding",
    "GroundTruth",
    "check_plausibility",
    "compute_ground_truth",
    "declaration_for",
    "judge_observation",
    "playbook_for",
    "playbook_text",
    "rules_on",
    "signature",
]
