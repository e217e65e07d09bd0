"""The verifier itself as a defender: what a player can reach who applies the playbook to the observation without a mistake."""

from __future__ import annotations

from typing import Any

from eval.defenders.base import Baseline, Row
from verifier import judge_observation


class VerifierOracle(Baseline):
    """Tells the answer from the observation alone; the stored ground truth is not read."""

    def __init__(self) -> None:
        super().__init__("verifier_oracle")

    def triage(self, row: Row) -> dict[str, Any]:
        """What the verifier says of what is seen."""
        truth = judge_observation(row["observation"])
        return {
            "action": truth.action,
            "cited_log_id": truth.evidence_log_ids[0],
            "rationale": truth.explanation[:1000],
            "confidence": 1.0,
        }
