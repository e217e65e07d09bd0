"""Lead to the demo: the ways to its page, wherever it is served."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from demo.fence import PATH

_ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#4f46e5" d="M8 1l6 2v5c0 4-3 6-6 7-3-1-6-3-6-7V3z"/></svg>'


def add_entrance(app: FastAPI) -> None:
    """Lead `GET /` and `GET /demo` to the page, and answer the browser's question for an icon."""
    app.add_route("/", _to_the_page, include_in_schema=False)
    app.add_route(PATH, _to_the_page, include_in_schema=False)
    app.add_route("/favicon.ico", _icon, include_in_schema=False)


async def _to_the_page(request: Request) -> Response:
    """Lead to the page, with the query that came, below whatever path the service stands at."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PATH}/{query}")


async def _icon(request: Request) -> Response:
    return Response(_ICON, media_type="image/svg+xml")
