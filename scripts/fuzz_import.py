"""Give every reader damaged files until one raises: python scripts/fuzz_import.py [--inputs 100000]

It runs the suite's own tests on files of any bytes (`tests/test_reading_fuzz.py`) with as many inputs as are asked for, half of them as
files and half as texts. It prints how many there were; an input that raises is shrunk, printed and ends the command with 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description="Give every reader damaged files until one raises.")
    parser.add_argument("--inputs", type=int, default=100_000, help="how many inputs (default: 100,000)")
    args = parser.parse_args()
    from hypothesis import HealthCheck, given, settings

    import test_reading_fuzz as fuzz

    many = settings(
        max_examples=args.inputs // 2, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "fuzzed.log"

        @many
        @given(content=fuzz.CONTENTS)
        def files(content: bytes) -> None:
            path.write_bytes(content)
            fuzz.imported(path)

        @many
        @given(text=fuzz.TEXTS)
        def texts(text: str) -> None:
            fuzz.imported_text(text)

        files()
        texts()
    print(f"{args.inputs // 2 * 2:,} inputs, none raised, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
