#!/usr/bin/env python3
"""Check the import contracts of pyproject.toml: python scripts/lint_imports.py

import-linter reads packages only, and half of ours are single files at the root. So the check runs on a copy in which
every `name.py` stands as the package `name/__init__.py`; module names and line numbers stay the same.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"scripts", "tests"}  # they may import anything


def copy_as_packages(root: Path, target: Path) -> set[str]:
    """Copy the root's modules and packages to `target`, all of them as packages, and return their names."""
    names = set()
    for path in root.iterdir():
        if path.suffix == ".py":
            (target / path.stem).mkdir()
            shutil.copy(path, target / path.stem / "__init__.py")
        elif path.name not in OUTSIDE and (path / "__init__.py").is_file():
            shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            continue
        names.add(path.stem)
    return names


def main() -> int:
    argparse.ArgumentParser(description="Check the import contracts of pyproject.toml.").parse_args()
    config = ROOT / "pyproject.toml"
    listed = set(tomllib.loads(config.read_text())["tool"]["importlinter"]["root_packages"])
    with tempfile.TemporaryDirectory() as directory:
        present = copy_as_packages(ROOT, Path(directory))
        if present != listed:
            sys.exit(
                "Expected root_packages in pyproject.toml to list the modules at the root: "
                f"it lacks {sorted(present - listed)}, and there is no {sorted(listed - present)}."
            )
        shutil.copy(config, directory)
        return subprocess.run(
            [Path(sysconfig.get_path("scripts"), "lint-imports"), "--no-logo", "--no-cache"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": directory},
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
