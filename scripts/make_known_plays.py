#!/usr/bin/env python3
"""Write generator/known_plays.py, the plays that earn an attacker no novelty: python scripts/make_known_plays.py"""

import argparse
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "generator" / "known_plays.py"
sys.path.insert(0, str(ROOT))

from generator.incidents import generate  # noqa: E402
from schema import TASKS  # noqa: E402
from verifier.decision import compute_ground_truth  # noqa: E402
from verifier.plausibility import signature  # noqa: E402

INCIDENTS = 150  # of each task
HEAD = '''"""Signatures of what the generator plays of itself; made by scripts/make_known_plays.py, do not edit."""

_SIGNATURES = """
'''
FOOT = '''
"""
KNOWN_PLAYS = frozenset(_SIGNATURES.split())
'''


def known_plays() -> list[str]:
    """Collect the signatures of the generator's incidents, in order."""
    cases = (generate(task, index, split="val") for task in TASKS for index in range(INCIDENTS))
    return sorted({signature(case.incident, compute_ground_truth(case.incident, case.world)) for case in cases})


def module_text() -> str:
    """Write the module."""
    return HEAD + textwrap.fill(" ".join(known_plays()), 118) + FOOT


if __name__ == "__main__":
    argparse.ArgumentParser(
        description="Write generator/known_plays.py, the plays that earn an attacker no novelty."
    ).parse_args()
    TARGET.write_text(module_text(), encoding="utf-8")
    print(f"Wrote {TARGET.relative_to(ROOT)}.")
