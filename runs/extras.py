"""The one error for libraries that a command or an adapter needs and that are not installed."""

from __future__ import annotations

from importlib.util import find_spec

from schema import OpenSOCError


class MissingExtraError(OpenSOCError, ImportError):
    """An optional library is not installed; the message says which extra brings it."""


def missing(error: ModuleNotFoundError, *extras: str) -> MissingExtraError:
    """Return the error to raise `from error` when a module that any of the extras brings is not found."""
    ways = " or ".join(f"pip install '.[{extra}]'" for extra in extras)
    return MissingExtraError(
        f"Expected the module {error.name!r} for this adapter, and it is not installed; run {ways} in the checkout."
    )


def require(extra: str, *modules: str) -> None:
    """See, before any work, that libraries are installed which the server's environment lacks.

    Args:
        extra: of pyproject.toml, which brings them.
        modules: their names when imported.

    Raises:
        MissingExtraError: some are not installed.
    """
    if lacking := [module for module in modules if find_spec(module) is None]:
        raise MissingExtraError(
            f"Expected {' and '.join(lacking)} for this command, which the server's environment does not have; run "
            f"pip install torch, then pip install -r requirements-dev.txt; or pip install '.[{extra}]', in the checkout."
        )
