"""Give every reader damaged files until one raises: python scripts/fuzz_import.py [--inputs 100000] [--atheris SECONDS]

It runs the suite's own tests on files of any bytes (`tests/test_reading_fuzz.py`) with as many inputs as are asked for, half of them as
files and half as texts. It prints how many there were; an input that raises is shrunk, printed and ends the command with 1.
With `--atheris`, the library of that name (`pip install atheris`; it is optional) damages the same samples for some seconds, guided by
which lines of the importers an input reaches; libFuzzer prints what it does. An input that raises, and those that
reach new lines (the next run starts with them), stay under out/fuzz.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
FOUND = ROOT / "out" / "fuzz"


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description="Give every reader damaged files until one raises.")
    parser.add_argument("--inputs", type=int, default=100_000, help="how many inputs (default: 100,000)")
    parser.add_argument("--atheris", type=int, metavar="SECONDS", help="be guided by coverage, for some seconds")
    args = parser.parse_args()
    if args.atheris:
        fuzz_by_coverage(args.atheris)
    fuzz_by_samples(args.inputs)


def fuzz_by_samples(inputs: int) -> None:
    """Give the readers as many damaged samples, drawn by Hypothesis."""
    from hypothesis import HealthCheck, given, settings

    import test_reading_fuzz as fuzz

    many = settings(max_examples=inputs // 2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
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
    print(f"{inputs // 2 * 2:,} inputs, none raised, {time.perf_counter() - began:.0f} s")


def fuzz_by_coverage(seconds: int) -> NoReturn:
    """Give the readers what libFuzzer makes of the samples, each input as a file and as a text, and end the process.

    Raises:
        SystemExit: atheris is not installed.
    """
    try:
        import atheris
    except ModuleNotFoundError as error:
        raise SystemExit("Expected the library atheris, and it is not installed; `pip install atheris`.") from error
    with atheris.instrument_imports(include=["telemetry"]):
        import test_reading_fuzz as fuzz
    corpus, path = FOUND / "corpus", FOUND / "fuzzed.log"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate((fuzz.PLAIN | fuzz.PACKED | fuzz.SAMPLES).values()):
        (corpus / str(number)).write_bytes(content)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        fuzz.imported(path)
        fuzz.imported_text(content.decode("utf-8", "surrogateescape"))

    bounds = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=4096", f"-artifact_prefix={FOUND}/"]
    atheris.Setup([sys.argv[0], *bounds, str(corpus)], read)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
