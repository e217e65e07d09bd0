"""A keyword rule, as a first detection content pack might have it: the gravest word found decides, and its line is cited.

It reads the lines' fields as text and nothing of their relations, times or context.
"""

from __future__ import annotations

import re
from typing import Any

from eval.defenders.base import Baseline, Row
from schema import Label

# From the gravest down; the first pattern that a line matches is the answer.
_PATTERNS: dict[Label, str] = {
    "escalate": r"mimikatz|ntds\.dit|lsass\.exe|delete shadows|domain admins|dcsync|log_clear",
    "quarantine_host": r"-enc\w*\s|frombase64|mshta|regsvr32|certutil.{0,40}http|rundll32.{0,60}http|\\temp\\.{0,60}\.exe",
    "block_ip": r"\bfailure\b|/login|sqlmap|nmap|\.(?:top|xyz|ru)\b",
    "monitor": r"schtasks|service_install|unsigned|\\currentversion\\run|psexec|0x17\b",
}
WORDS = {action: re.compile(pattern, re.IGNORECASE) for action, pattern in _PATTERNS.items()}


class Keyword(Baseline):
    """The first of `WORDS` that any line holds; dismiss where none does."""

    def __init__(self) -> None:
        super().__init__("keyword")

    def triage(self, row: Row) -> dict[str, Any]:
        """The gravest word's action."""
        seen = row["observation"]
        lines = [(line["log_id"], " ".join(map(str, line["fields"].values()))) for line in seen["log_window"]]
        for action, pattern in WORDS.items():
            for log_id, text in lines:
                found = pattern.search(text)
                if found:
                    return {"action": action, "cited_log_id": log_id, "rationale": f"a line holds {found[0][:80]!r}"}
        return {
            "action": "dismiss",
            "cited_log_id": seen["alert"]["log_id"],
            "rationale": "no word of the list was found",
        }
