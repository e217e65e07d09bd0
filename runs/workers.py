"""Worker processes that leave Ctrl-C to their parent and end with it."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process


@contextmanager
def worker_processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes on this machine; what is not begun at the end is not done."""
    with ProcessPoolExecutor(number, mp_context=get_context("spawn"), initializer=_begin) as executor:
        try:
            yield executor
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Start a worker: the parent alone hears Ctrl-C, no worker outlives it, and nobody looks for cycles, which rows do not have."""
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
