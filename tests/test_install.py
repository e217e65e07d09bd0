"""What `make serve` says while it installs."""

import subprocess
import sys

import pytest

from conftest import ROOT
from scripts import install

REQUIREMENTS = (
    "".join(f"package-{number}==1.0 \\\n    --hash=sha256:ab\n    # via\n" for number in range(52))
    + "slim[client]==3 ; sys_platform == 'win32' \\\n"
)


def test_packages_are_counted_to_ten_and_once():
    assert install.packages(REQUIREMENTS + "slim==3 \\\n") == 50


def test_every_25th_package_and_the_two_turns_are_told():
    lines = [f"Collecting package-{number}==1.0 (from -r requirements.txt)" for number in range(52)]
    lines[3] = "Processing /wheels/package-3.whl (from -r requirements.txt)"
    lines += ["  Downloading x.whl (3 MB)", "Installing collected packages: a, b", "Successfully installed a b"]
    seconds = iter([100.0, 112.4, 124.6, 130.0, 155.0])

    assert list(install.progress(lines, 50, lambda: next(seconds))) == [
        "   12 s  25 of about 50 packages fetched",
        "   25 s  50 of about 50 packages fetched",
        "   30 s  all fetched; now they are unpacked",
        "   55 s  installed",
    ]


def test_a_failure_is_pips_own_and_its_exit_code_too(tmp_path):
    (tmp_path / "requirements.txt").write_text("no-such-package\n")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "install.py", tmp_path / "requirements.txt"],
        capture_output=True,
        text=True,
        env={"PIP_NO_INDEX": "1"},
    )

    assert done.returncode == 1
    assert done.stdout.startswith("Installing what the server needs: about 0 packages")
    assert "Hashes are required" in done.stderr or "No matching distribution" in done.stderr


@pytest.mark.parametrize(
    "line", ["\t@$(BIN)/python scripts/install.py requirements.txt\n", "\t@exec $(BIN)/python server.py\n"]
)
def test_make_serve_installs_by_it_and_starts_the_server(line):
    assert line in (ROOT / "Makefile").read_text()
