"""Write the rules' own examples, which drills set among an incident's lines: python scripts/collect_examples.py

What the tests of the rules judge is recorded while they run, each example once, with the rules that find something in it, or, where none does, those that
look at its lines. Run it after a rule or its tests have changed.

Exit code: 0 written; 1 a test failed, and the file is as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from glob import glob
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pytest  # noqa: E402

import incidents  # noqa: E402 - of the tests
from runs.files import write_atomically  # noqa: E402
from schema import epoch_s, log_id_at  # noqa: E402
from tasks.sets import pack  # noqa: E402
from train.drills import EXAMPLES, rules_of  # noqa: E402

MOST_LINES = 24  # of an example; longer ones are bursts of one line


def collect() -> tuple[int, list[list[dict[str, Any]]]]:
    """Run the tests of the rules; return pytest's exit code and the rows of each incident that they made."""
    made: list[list[dict[str, Any]]] = []
    make = incidents.incident

    def recorded(*rows: dict[str, Any], **claim: Any) -> Any:
        made.append([{name: value for name, value in row.items() if name != "log_id"} for row in rows])
        return make(*rows, **claim)

    incidents.incident = recorded  # before the tests are imported, which take it by name
    files = sorted(glob(str(ROOT / "tests" / "test_rules*.py")))
    quiet = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return pytest.main([*quiet, *files]), made


def lines_of(made: list[list[dict[str, Any]]]) -> list[str]:
    """Return the examples as lines of the file, each once."""
    lines: dict[str, None] = {}
    world = incidents.world()
    for rows in made:
        if not rows or len(rows) > MOST_LINES:
            continue
        ordered = sorted(rows, key=lambda row: epoch_s(row["timestamp"]))
        rules = rules_of([{**row, "log_id": log_id_at(place)} for place, row in enumerate(ordered)], world)
        if rules:
            lines[json.dumps({"rules": rules, "lines": ordered}, separators=(",", ":"))] = None
    return list(lines)


def main() -> int:
    """Write the file, and return the exit code."""
    argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[0] + ".").parse_args()
    failed, made = collect()
    if failed:
        print("Expected the tests of the rules to pass, and some failed; mend them first.", file=sys.stderr)
        return 1
    lines = lines_of(made)
    write_atomically(EXAMPLES, pack(EXAMPLES, ("\n".join(lines) + "\n").encode()))
    print(f"Wrote {len(lines):,} examples to {EXAMPLES.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
