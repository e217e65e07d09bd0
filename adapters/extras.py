"""The error for a library that an adapter needs and that is not installed."""

from __future__ import annotations

from schema import OpenSOCError


class MissingExtraError(OpenSOCError, ImportError):
    """An optional library is not installed; the message says which extra brings it."""


def missing(error: ModuleNotFoundError, *extras: str) -> MissingExtraError:
    """The error to raise `from error` when a module that any of the extras brings is not found."""
    ways = " or ".join(f"pip install '.[{extra}]'" for extra in extras)
    return MissingExtraError(
        f"Expected the module {error.name!r} for this adapter, and it is not installed; run {ways} in the checkout."
    )
