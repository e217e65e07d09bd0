"""Keep what visitors hold in Gradio: each one's state and waiting clicks, so that none throws out another, and errors without their texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
from gradio.state_holder import StateHolder

from app_runtime.refusal import safe_error

NOT_OFFERED = "Expected a value that this page offers; reload the page and try again."
BROKEN = "Something went wrong on our side and was logged. Try again, or reload the page."


class Visits(StateHolder):
    """Hold the visitors' states; where there is no room for one more, the address that holds the most loses its longest silent one.

    Args:
        page: whose visitors they are.
        most_waiting: how many clicks of one address may wait at a time.
    """

    def __init__(self, page: gr.Blocks, *, most_waiting: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.set_blocks(page)
        self._most_waiting = most_waiting
        self._addresses: dict[str, str] = {}  # by session

    # ------------------------------------------------------------ what the fence asks
    def inputs(self, click: int) -> int | None:
        """Return how many values a click carries, and None where the page has no such click."""
        function = self.blocks.fns.get(click)
        return None if function is None else len(function.inputs)

    def is_waiting(self, session: str) -> bool:
        """Tell whether answers are under way for a visitor."""
        return session in self.blocks._queue.pending_messages_per_session

    def welcome(self, session: str, address: str) -> bool:
        """Note from which address a visitor clicks, and tell whether one more of its clicks may wait."""
        address = self._addresses.setdefault(session, address)
        if len(self._addresses) > 4 * self.capacity:  # some clicks were refused and left no state
            self._addresses = {one: self._addresses.get(one, "") for one in [*self.session_data, session]}
        pending = self.blocks._queue.pending_event_ids_session
        waiting = sum(len(pending.get(one, ())) for one, other in self._addresses.items() if other == address)
        return waiting < self._most_waiting

    # ------------------------------------------------------------ what Gradio asks
    def update(self, session_id: str) -> None:
        """Note that a state was used, and drop another where there are too many."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            while len(self.session_data) > self.capacity:
                session = self._least_deserving()
                del self.session_data[session]
                self.time_last_used.pop(session, None)
                self._addresses.pop(session, None)

    def _least_deserving(self) -> str:
        """Return the longest silent session of the address that holds the most."""
        held = Counter(self._addresses.get(session, "") for session in self.session_data)
        most = max(held.values())
        return next(session for session in self.session_data if held[self._addresses.get(session, "")] == most)


# ---------------------------------------------------------------- errors
def quiet(page: gr.Blocks) -> None:
    """Keep the texts of visitors out of the log: Gradio prints the traceback of an error with the value that led to it."""
    page.preprocess_data = _refusing(page.preprocess_data)  # type: ignore[assignment, method-assign]
    page.process_api = _logging(page.process_api)  # type: ignore[assignment, method-assign]


def _refusing(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wrap what reads a click's values: one that its control cannot have offered is the visitor's own."""

    async def refusing(*given: Any, **named: Any) -> Any:
        try:
            return await read(*given, **named)
        except Exception as error:  # of every kind, by control
            raise gr.Error(NOT_OFFERED, print_exception=False) from error

    return refusing


def _logging(act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wrap what a click does: an error that is not worded for a visitor is logged without its text."""

    async def logging(*given: Any, **named: Any) -> Any:
        try:
            return await act(*given, **named)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            safe_error(error)
            raise gr.Error(BROKEN, print_exception=False) from None

    return logging
