"""Install the server's pinned packages and say meanwhile how far it is: python scripts/install.py requirements.txt

pip alone says nothing, or a line for each of a hundred packages; what it says is printed where it fails. Standard library only, as it runs
before anything is installed. Exit code: pip's.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

STEP = 25  # packages between two lines
# What is installed is compiled when it is first imported, and most of it never is.
PIP = ("pip", "install", "--no-compile", "--disable-pip-version-check", "--progress-bar=off", "--require-hashes", "-r")
SAYS = (
    "Installing what the server needs: about {total} packages, 140 MB to download and 475 MB on the disk.\n"
    "This happens once and takes 1 to 5 minutes, most of them for the download."
)


def packages(requirements: str) -> int:
    """Count the packages that a requirements file pins, to ten, as some of them are for other systems."""
    return round(len(set(re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", requirements))), -1)


def progress(lines: Iterable[str], total: int, clock: Callable[[], float] = time.monotonic) -> Iterator[str]:
    """Turn pip's lines into a few sentences."""
    begun, fetched = clock(), 0
    for line in lines:
        if line.startswith(("Collecting ", "Processing ")):
            fetched += 1
            if fetched % STEP == 0:
                yield f"{clock() - begun:5.0f} s  {fetched} of about {total} packages fetched"
        elif line.startswith("Installing collected packages"):
            yield f"{clock() - begun:5.0f} s  all fetched; now they are unpacked"
        elif line.startswith("Successfully installed"):
            yield f"{clock() - begun:5.0f} s  installed"


def main(argv: Sequence[str]) -> int:
    """Install, and return pip's exit code."""
    parser = argparse.ArgumentParser(
        description="Install the server's pinned packages, and say meanwhile how far it is."
    )
    parser.add_argument("path", metavar="REQUIREMENTS")
    path = parser.parse_args(argv).path
    total = packages(Path(path).read_text("utf-8"))
    print(SAYS.format(total=total), flush=True)
    command = [sys.executable, "-m", *PIP, path]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as pip,
    ):
        assert pip.stdout
        for sentence in progress(pip.stdout, total):
            print(sentence, flush=True)
        if pip.wait():
            said.seek(0)
            print(*said, sep="", end="", file=sys.stderr)
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
