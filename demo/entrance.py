"""Lead to the demo, wherever it is served, and from it: to the repository, the docs, the models' cards and the API."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from demo.fence import PATH

ROOT = Path(__file__).resolve().parent.parent
# What the links lead to. Without a repository the server shows the files themselves, as text.
PAGES = {"Docs": "docs/README.md", "Model card": "models/defender/README.md", "README": "README.md"}
SOCIAL = ROOT / "docs" / "images" / "social.png"
_ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#4f46e5" d="M8 1l6 2v5c0 4-3 6-6 7-3-1-6-3-6-7V3z"/></svg>'


class Link(NamedTuple):
    """A link from the page: its words and its address, which begins with `../` where it leads to this server."""

    name: str
    address: str


def links(repository: str) -> list[Link]:
    """Return where the page leads to.

    Args:
        repository: the address of the repository, from which files are linked as hubs have it (`/blob/main/`); empty where there is none.
    """
    base = f"{repository}/blob/main" if repository else "../files"
    pages = [Link(name, f"{base}/{path}") for name, path in PAGES.items()]
    return [*([Link("Repository", repository)] if repository else []), *pages, Link("API", "../docs")]


def add_entrance(app: FastAPI) -> None:
    """Lead `GET /`, `/web` and `/demo` to the page, and answer for its icon, its picture and the files that it links to."""
    for path in ("/", "/web", "/web/", PATH):  # hubs of OpenEnv open /web
        app.add_route(path, _to_the_page, include_in_schema=False)
    app.add_route("/favicon.ico", _icon, include_in_schema=False)
    app.add_route("/social.png", _picture, include_in_schema=False)
    app.add_route("/files/{path:path}", _file, include_in_schema=False)


async def _to_the_page(request: Request) -> Response:
    """Lead to the page, with the query that came, below whatever path the service stands at."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PATH}/{query}")


async def _icon(request: Request) -> Response:
    return Response(_ICON, media_type="image/svg+xml")


async def _picture(request: Request) -> Response:
    """Send the picture that stands beside a shared address."""
    if not SOCIAL.is_file():
        raise HTTPException(404)
    return Response(SOCIAL.read_bytes(), media_type="image/png")


def _is_page(path: str) -> bool:
    return path in PAGES.values() or (path.startswith("docs/") and path.count("/") == 1 and path.endswith(".md"))


async def _file(request: Request) -> Response:
    """Send a page of the repository as text."""
    path = request.path_params["path"]
    if not _is_page(path) or not (ROOT / path).is_file():
        raise HTTPException(404)
    return Response((ROOT / path).read_bytes(), media_type="text/plain; charset=utf-8")
