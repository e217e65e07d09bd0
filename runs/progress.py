"""How far a long work is, on stderr: a bar with an end in sight if a person watches, else nothing or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Progress:
    """Counts what is done; it draws nothing.

    Args:
        total: how much there is to do.
        what: is counted, a plural noun.
        done: how much was done before; it does not count for the rate.
    """

    def __init__(self, total: float, what: str, done: float = 0) -> None:
        self.total, self.what, self.done, self.note = total, what, done, ""

    def advance(self, count: float = 1, note: str | None = None) -> None:
        """Count what was done now."""
        self.update(self.done + count, note)

    def update(self, done: float | None = None, note: str | None = None) -> None:
        """Say how much is done in all, and what stands beside it; None leaves it as it is."""
        self.done = self.done if done is None else done
        self.note = self.note if note is None else note
        self.draw()

    def draw(self) -> None:
        """Draw what is done: here nothing."""

    def close(self) -> None:
        """Draw no more."""


class _Lines(Progress):
    """Prints a line when the last is old, and one at the end."""

    def __init__(self, total: float, what: str, done: float, every_s: float) -> None:
        super().__init__(total, what, done)
        self.every_s, self.before = every_s, done
        self.began = self.drawn = time.monotonic()

    def draw(self) -> None:
        now = time.monotonic()
        if self.done < self.total and now - self.drawn < self.every_s:
            return
        self.drawn = now
        rate = (self.done - self.before) / max(now - self.began, 1e-9)
        left = f"{(self.total - self.done) / rate:,.0f} s left" if rate > 0 else "time left unknown"
        parts = (f"{self.done:,.0f} of {self.total:,.0f} {self.what}", f"{rate:,.0f}/s", left, self.note)
        print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)


class _Bar(Progress):
    """Draws a bar with the rate and the time left."""

    def __init__(self, total: float, what: str, done: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:,.1f}/s" if task.speed else "-/s")

        super().__init__(total, what, done)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        console = Console(stderr=True, force_jupyter=False)
        self.bar = RichProgress(
            *columns, TextColumn("{task.fields[note]}"), console=console, transient=True, speed_estimate_period=60
        )
        self.task = self.bar.add_task(what, total=total, note="")
        self.bar.update(self.task, completed=done)
        self.bar.start()

    def draw(self) -> None:
        self.bar.update(self.task, completed=self.done, note=self.note)

    def close(self) -> None:
        self.bar.stop()


@contextmanager
def progress(total: float, what: str, *, done: float = 0, line_s: float | None = None) -> Iterator[Progress]:
    """Show on stderr how far a work is.

    Args:
        total: how much there is to do.
        what: is counted, a plural noun such as "incidents".
        done: how much was done before.
        line_s: seconds between two lines if nobody watches; None for no lines.
    """
    shown: Progress
    if sys.stderr.isatty():
        shown = _Bar(total, what, done)
    elif line_s is not None:
        shown = _Lines(total, what, done, line_s)
    else:
        shown = Progress(total, what, done)
    try:
        yield shown
    finally:
        shown.close()


def track(items: Iterable[Item], what: str, *, total: int) -> Iterator[Item]:
    """Yield items, and show on stderr how many are done."""
    with progress(total, what) as bar:
        for item in items:
            yield item
            bar.advance()
