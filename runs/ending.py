"""How a command ends: exit codes, an orderly stop at Ctrl-C, and one sentence on stderr for each kind of end."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import ParamSpec

from schema import OpenSOCError

DONE, STOPPED, WRONG, INTERRUPTED = 0, 1, 2, 130
FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk without room


Arguments = ParamSpec("Arguments")


class StoppedError(OpenSOCError):
    """A run stopped before its end, and why; the same command goes on."""


@contextmanager
def interruptible(stop: threading.Event, notice: str) -> Iterator[None]:
    """Set an event at the first Ctrl-C or termination, and raise KeyboardInterrupt at the second.

    Outside the main thread, where no signal arrives, nothing is changed.

    Args:
        stop: what the work under way looks at.
        notice: what is printed at the first, without the words on the second.
    """

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print(f"\n{notice}; once more to drop it.", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, interrupt) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def refusing(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Let a command say on stderr what was wrong with a call, and return WRONG, where it would raise an OpenSOCError."""

    @wraps(main)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except OpenSOCError as error:
            print(error, file=sys.stderr)
            return WRONG

    return guarded


def exit_code(work: Callable[[], object], stored: str) -> int:
    """Do the work of a command, say on stderr why it did not come to its end, and return the exit code.

    Args:
        work: raises StoppedError or OSError if it stopped, another OpenSOCError if the call was wrong.
        stored: says what a stop or an interrupt leaves, for instance "what was answered is stored".
    """
    try:
        work()
    except StoppedError as error:
        code, message = STOPPED, str(error)
    except OSError as error:
        again = "Make room, and run" if error.errno in FULL else "Run"
        code, message = STOPPED, f"Stopped: {error}; {stored}. {again} the same command to go on."
    except OpenSOCError as error:
        code, message = WRONG, str(error)
    except KeyboardInterrupt:
        code, message = INTERRUPTED, f"Interrupted; {stored}. Run the same command to go on."
    else:
        return DONE
    print(message, file=sys.stderr)
    return code
