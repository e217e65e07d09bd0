"""Limit what an endpoint is asked for: a rate in requests a minute and a total in USD."""

from __future__ import annotations

import asyncio
import threading
import time

from players.base import PlayerError

PATIENCE_S = 0.2  # how long a wait goes on after `stop` was set


class Pace:
    """Space requests evenly, so that none of a minute's share comes at once; retries count too."""

    def __init__(self, rpm: float | None, stop: threading.Event) -> None:
        self._gap_s = 60 / rpm if rpm else 0.0
        self._next = 0.0
        self._stop = stop

    async def turn(self) -> None:
        """Wait for the next free moment."""
        if self._gap_s:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._gap_s
            await patient(mine - now, self._stop)


class Budget:
    """Hold back what a request may cost before it is sent, so that the sum stays under the limit whatever the replies are."""

    def __init__(self, limit: float | None, spent: float) -> None:
        self.spent = spent
        self._limit = limit
        self._held = 0.0
        self._holders = 0
        self._freed = asyncio.Condition()

    async def hold(self, most: float) -> None:
        """Wait until `most` USD fit under the limit.

        Raises:
            PlayerError: they never will, since nothing is under way any more.
        """
        async with self._freed:
            while self._limit is not None and self.spent + self._held + most > self._limit:
                if not self._holders:
                    raise PlayerError(
                        f"Stopped at the cost limit: {self.spent:.4f} USD of {self._limit:g} are spent, and the next request may cost {most:.4f}; "
                        "what was answered is stored. Run the same command with a higher --max-cost for the rest."
                    )
                await self._freed.wait()
            self._held += most
            self._holders += 1

    async def settle(self, most: float, cost: float) -> None:
        """Replace the amount that was held back by the cost."""
        async with self._freed:
            self._held -= most
            self._holders -= 1
            self.spent += cost
            self._freed.notify_all()


async def patient(seconds: float, stop: threading.Event) -> None:
    """Sleep, but not much longer once `stop` is set."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop.is_set():
        await asyncio.sleep(min(left, PATIENCE_S))
