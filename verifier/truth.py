"""Hold what the verifier says of an incident, as an object, as plain data and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from schema import Label
from verifier.context import SEVERAL_HOSTS
from verifier.window import Finding

Rung = Literal[
    "harm",
    "crown",
    "privileged",
    "several",
    "host",
    "outside",
    "neither",
    "suspicious",
    "silent",
    "explained",
    "nothing",
]
LADDER: Mapping[Rung, tuple[Label, str]] = {  # from the gravest rung down: what follows, and why
    "harm": ("escalate", "harm is already done"),
    "crown": ("escalate", "a crown jewel is concerned"),
    "privileged": ("escalate", "a privileged identity is concerned"),
    "several": ("escalate", f"{SEVERAL_HOSTS} or more hosts are concerned"),
    "host": ("quarantine_host", "hostile code runs on one host"),
    "outside": ("block_ip", "a hostile external address is at work and no host is compromised"),
    "neither": ("escalate", "it is confirmed, and there is neither a host to isolate nor an address to block"),
    "suspicious": ("monitor", "what was found is suspicious, not confirmed, and nothing explains it"),
    "silent": ("monitor", "nothing is found, but the sensor behind the alert was silent"),
    "explained": ("dismiss", "every finding is explained"),
    "nothing": ("dismiss", "no rule finds anything"),
}

BEAR_OUT = "different suspicious things bear each other out; "  # stands before the reason where they do


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What the verifier says of an incident.

    `findings` holds explained ones too (their `explained_by` says by what). `evidence_log_ids` are the lines that
    support the action, in time order, never empty. `why` is the ladder's reason, `rung` the same in a word (empty where it was read from a row, or where no rung gave the action), and `together` says
    that suspicious findings bear each other out.
    """

    action: Label
    findings: tuple[Finding, ...]
    evidence_log_ids: tuple[str, ...]
    techniques: tuple[str, ...]
    rule_ids: tuple[str, ...]
    why: str
    rung: Rung | Literal[""] = ""
    together: bool = False

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> GroundTruth:
        """Rebuild the ground truth that a row stores, as far as answers are scored by it: without findings, `why`, `rung` and `together`.

        Args:
            stored: `action`, and where the row has them `evidence_log_ids`, `techniques` and `rule_ids`.
        """
        return cls(
            action=stored["action"],
            findings=(),
            evidence_log_ids=tuple(stored.get("evidence_log_ids", ())),
            techniques=tuple(stored.get("techniques", ())),
            rule_ids=tuple(stored.get("rule_ids", ())),
            why="",
        )

    @property
    def explanation(self) -> str:
        """Explain the three steps in words, one line each."""
        findings = [
            f"{finding.rule_id} ({finding.technique}, {finding.strength}) in {', '.join(finding.evidence)}"
            for finding in self.findings
        ]
        context = [
            f"{finding.rule_id} is explained by {finding.explained_by}"
            for finding in self.findings
            if finding.explained_by
        ]
        live = [finding.rule_id for finding in self.findings if not finding.explained_by]
        return "\n".join(
            (
                f"Findings: {'; '.join(findings) or 'none'}.",
                f"Context: {'; '.join(context) or 'nothing is explained'}{'; unexplained: ' + ', '.join(live) if live else ''}.",
                f"Decision: {self.action}, because {self.why}.",
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for files and the wire."""
        return {
            "action": self.action,
            "evidence_log_ids": list(self.evidence_log_ids),
            "techniques": list(self.techniques),
            "rule_ids": list(self.rule_ids),
            "explanation": self.explanation,
            "findings": [
                {
                    "rule_id": finding.rule_id,
                    "technique": finding.technique,
                    "strength": finding.strength,
                    "scope": finding.scope,
                    "evidence": list(finding.evidence),
                    "explained_by": finding.explained_by or None,
                }
                for finding in self.findings
            ],
        }
