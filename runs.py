"""A run: where it comes from, and what ends it. Evaluation and training write commit, versions and time into `run.json`."""

from __future__ import annotations

import hashlib
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from types import FrameType

from schema import VERSION

ROOT = Path(__file__).resolve().parent


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


@contextmanager
def interruptible(stop: threading.Event, told: str) -> Iterator[None]:
    """The first Ctrl-C or termination sets the event and prints a line, the second raises KeyboardInterrupt at once.

    Outside the main thread, where no signal arrives, nothing is changed.

    Args:
        stop: what the work under way looks at.
        told: what is printed, without the word on the second Ctrl-C.
    """

    def interrupted(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print(f"\n{told}; once more to drop it.", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stable_seed(text: str) -> int:
    """A whole number from a text, the same in every process: seeds of streams that go together."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
