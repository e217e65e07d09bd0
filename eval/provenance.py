"""Where a run comes from: commit, versions, time. Evaluation and training write them into `run.json`, exports into `defender.json`."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from env import VERSION

ROOT = Path(__file__).resolve().parent.parent


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; the package's version where this is no checkout."""
    git = partial(subprocess.run, capture_output=True, text=True, cwd=ROOT, timeout=20)
    try:
        head = git(["git", "rev-parse", "HEAD"])
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.TimeoutExpired):
        return VERSION
    return VERSION if head.returncode else head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of those libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def now_text() -> str:
    """The time now, in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
