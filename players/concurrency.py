"""Keep many requests in flight from a plain loop: replies come out as they arrive, and nothing under way is dropped at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from players.base import Arrived, Reply

Ask = Callable[[int], Awaitable[Reply | None]]  # None: no answer, the item stays open


@asynccontextmanager
async def _no_context() -> AsyncIterator[None]:
    """Open nothing."""
    yield


def in_flight(
    number: int,
    ask: Ask,
    *,
    at_once: int,
    stop: threading.Event,
    opened: Callable[[], AbstractAsyncContextManager[object]] = _no_context,
) -> Iterator[Arrived]:
    """Ask 0 to `number` - 1, at most `at_once` at a time, and yield whatever has arrived.

    After `stop` is set or `ask` has raised, nothing new is asked, what is under way arrives, and the first error is raised.

    Args:
        number: how many to ask.
        ask: asks one.
        at_once: requests in flight.
        stop: set from outside to end early.
        opened: a context that is open while anything is asked, on the same event loop.
    """
    arrived: asyncio.Queue[tuple[int, Reply] | None] = asyncio.Queue()
    waiting = iter(range(number))
    errors: list[Exception] = []

    async def worker() -> None:
        for index in waiting:
            if errors or stop.is_set():
                return
            try:
                reply = await ask(index)
            except Exception as error:  # raised again below, once the others are done
                errors.append(error)
                return
            if reply is not None:
                arrived.put_nowait((index, reply))

    async def all_workers() -> None:
        try:
            async with opened():
                await asyncio.gather(*(worker() for _ in range(min(at_once, number))))
        finally:
            arrived.put_nowait(None)

    async def begin() -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(all_workers())

    async def some() -> list[tuple[int, Reply] | None]:
        batch = [await arrived.get()]
        while not arrived.empty():
            batch.append(arrived.get_nowait())
        return batch

    async def end() -> None:
        await work

    with asyncio.Runner() as runner:
        work = runner.run(begin())
        going = True
        while going:
            news = runner.run(some())
            going = None not in news
            batch = [pair for pair in news if pair is not None]
            if batch:
                yield batch
        runner.run(end())
    if errors:
        raise errors[0]
