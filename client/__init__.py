"""Client of OpenSOC: `OpenSOCClient` over HTTP, `OpenSOCSession` over WebSocket (`OpenSOCEnv` is another name of it), `python -m client.play` for a person.

Stands alone: it imports nothing of the server and is installed as `opensoc_env`. The WebSocket classes are loaded on
first use, as the OpenEnv SDK behind them takes seconds to import and the HTTP client needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .http_client import OpenSOCClient, OpenSOCClientError, StepResult

if TYPE_CHECKING:
    from .client import (
        EpisodeLostError,
        OpenSOCAction,
        OpenSOCEnv,
        OpenSOCObservation,
        OpenSOCSession,
        OpenSOCState,
    )

__all__ = [
    "EpisodeLostError",
    "OpenSOCAction",
    "OpenSOCClient",
    "OpenSOCClientError",
    "OpenSOCEnv",
    "OpenSOCObservation",
    "OpenSOCSession",
    "OpenSOCState",
    "StepResult",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.client"), name)
