"""Keep what a process has freed from staying with it: how glibc's allocator is set."""

from __future__ import annotations

import contextlib
import ctypes

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # mallopt's parameters (glibc, "Malloc Tunable Parameters")
HEAPS = 2  # by default there are eight for each core, and each keeps what its threads freed
LARGE_BYTES = 1 << 20  # larger blocks, as a model's buffers are, go back to the system when they are freed


def bound_heaps() -> bool:
    """Let all threads share two heaps, and give large blocks back; return whether the C library could be told."""
    told = False
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than glibc, or Windows
        mallopt = ctypes.CDLL(None).mallopt
        told = mallopt(_ARENA_MAX, HEAPS) == 1 and mallopt(_MMAP_THRESHOLD, LARGE_BYTES) == 1
    return told
