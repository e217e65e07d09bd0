"""Errors that a caller meets, and how they are worded; no ground truth is ever part of one."""

from __future__ import annotations

import logging
import traceback

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from schema import OpenSOCError, faults

log = logging.getLogger("opensoc")
OUR_FAULT = (
    "Something went wrong on our side and was logged; other episodes are not affected. Call POST /reset for a new one."
)


class Refusal(OpenSOCError):
    """A request that is turned down with a 4xx.

    Args:
        status: the HTTP status.
        sentence: what was expected, what came and what to do.
        retry_after_s: seconds after which it may work, for a 429.
    """

    def __init__(self, status: int, sentence: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


MAX_HEAD_BYTES = 64 * 1024  # of a request line and its headers, trailers and marks of chunks


def long_head() -> Refusal:
    """Return what is told of a request whose headers are too long."""
    return Refusal(
        431, f"Expected headers of at most {MAX_HEAD_BYTES} bytes in all, got more. Send fewer or shorter ones."
    )


class InternalError(OpenSOCError):
    """Our own mistake, as a caller is told of it."""


def safe_error(exc: Exception) -> InternalError:
    """Log where an exception came from and return one that is safe to show.

    The exception's own text is kept out of both: it may quote an episode's ground truth or a caller's data.
    """
    log.error("%s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
    return InternalError(OUR_FAULT)


def wrong_form(error: ValidationError | RequestValidationError) -> str:
    """Turn pydantic's findings into a sentence about the first of them."""
    return f"Wrong value of {faults(error, 'the body', most=1, quoting=True)}. Correct it and send it again."
