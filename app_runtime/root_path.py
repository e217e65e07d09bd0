"""Serve below a path, such as /opensoc/: behind a proxy that takes the path off, and behind one that leaves it on."""

from __future__ import annotations

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """ASGI middleware that tells the application where the world sees it; addresses that it gives out begin with this path.

    Args:
        app: the application.
        root_path: the path, without a slash at its end.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app = app
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = get_route_path(scope)
            if path == self._root or path.startswith(f"{self._root}/"):
                path = path[len(self._root) :]
            scope = {**scope, "root_path": self._root, "path": f"{self._root}{path or '/'}"}
        await self._app(scope, receive, send)
