"""Ctrl-C that lets what is under way come to its end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
