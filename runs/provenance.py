"""Where a run comes from: commit, versions and time, as run.json keeps them."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from schema import VERSION

ROOT = Path(__file__).resolve().parent.parent


def commit() -> str:
    """Return the checkout's commit, with `+` if files differ from it; the package's version outside of a checkout."""
    git = partial(subprocess.run, capture_output=True, text=True, cwd=ROOT, timeout=20)
    try:
        head = git(["git", "rev-parse", "HEAD"])
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.TimeoutExpired):
        return VERSION
    return VERSION if head.returncode else head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those libraries that are installed."""
    installed = {"python": platform.python_version()}
    for name in names:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def now_text() -> str:
    """Return the time now, in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stable_seed(text: str) -> int:
    """Return a whole number that a text always gives, in every process: seeds of streams that belong together."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def salt_hash(salt: str) -> str:
    """Return what a file may say of a salt: 16 hexadecimal digits, or nothing where there is none."""
    return hashlib.sha256(salt.encode()).hexdigest()[:16] if salt else ""
