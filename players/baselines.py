"""Play without any library: one action always, one at random, the commonest, a keyword rule, and the verifier itself."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

from players.base import Baseline, Row
from schema import LABELS, Label
from tasks.sets import load_set
from verifier.decision import judge_observation

# From the gravest down; the first pattern that a line matches is the answer.
_PATTERNS: dict[Label, str] = {
    "escalate": r"mimikatz|ntds\.dit|lsass\.exe|delete shadows|domain admins|dcsync|log_clear",
    "quarantine_host": r"-enc\w*\s|frombase64|mshta|regsvr32|certutil.{0,40}http|rundll32.{0,60}http|\\temp\\.{0,60}\.exe",
    "block_ip": r"\bfailure\b|/login|sqlmap|nmap|\.(?:top|xyz|ru)\b",
    "monitor": r"schtasks|service_install|unsigned|\\currentversion\\run|psexec|0x17\b",
}
WORDS = {action: re.compile(pattern, re.IGNORECASE) for action, pattern in _PATTERNS.items()}


class Constant(Baseline):
    """Give one action to everything and cite the alert's line."""

    def __init__(self, action: Label) -> None:
        super().__init__(f"always_{action}")
        self._action = action

    def triage(self, row: Row) -> dict[str, Any]:
        """Return the one action."""
        cited = row["observation"]["alert"]["log_id"]
        return {"action": self._action, "cited_log_id": cited, "rationale": "the same for every alert"}


class AtRandom(Baseline):
    """Draw one of the five actions and a line; an item's draw depends on the seed and its id alone, so order does not matter."""

    def __init__(self, seed: int) -> None:
        super().__init__("random")
        self._seed = seed

    def triage(self, row: Row) -> dict[str, Any]:
        """Draw evenly."""
        chance = Random(f"{self._seed}/{row['id']}")
        cited = chance.choice(row["observation"]["log_window"])["log_id"]
        return {"action": chance.choice(LABELS), "cited_log_id": cited, "rationale": "drawn by lot"}


class Majority(Constant):
    """Give the commonest action of `data/sft_train.jsonl`; of several that are equally common, the mildest."""

    def __init__(self) -> None:
        counts = Counter(row["ground_truth"]["action"] for row in load_set("sft_train").rows)
        super().__init__(max(LABELS, key=lambda label: counts[label]))
        self.name = "majority"


class Keyword(Baseline):
    """Answer by the first of `WORDS` that any line holds; dismiss if none does."""

    def __init__(self) -> None:
        super().__init__("keyword")

    def triage(self, row: Row) -> dict[str, Any]:
        """Return the gravest word's action."""
        observation = row["observation"]
        lines = [(line["log_id"], " ".join(map(str, line["fields"].values()))) for line in observation["log_window"]]
        for action, pattern in WORDS.items():
            for log_id, text in lines:
                match = pattern.search(text)
                if match:
                    return {"action": action, "cited_log_id": log_id, "rationale": f"a line holds {match[0][:80]!r}"}
        return {
            "action": "dismiss",
            "cited_log_id": observation["alert"]["log_id"],
            "rationale": "no word of the list was found",
        }


class VerifierOracle(Baseline):
    """Answer what the verifier says of the observation alone; the stored ground truth is not read."""

    def __init__(self) -> None:
        super().__init__("verifier_oracle")

    def triage(self, row: Row) -> dict[str, Any]:
        """Return the verifier's answer."""
        truth = judge_observation(row["observation"])
        return {
            "action": truth.action,
            "cited_log_id": truth.evidence_log_ids[0],
            "rationale": truth.explanation[:1000],
            "confidence": 1.0,
        }
