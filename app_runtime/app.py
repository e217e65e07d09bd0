"""Put the service together: OpenSOC's routes, the OpenEnv SDK's, and the guard around both."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic.json_schema import models_json_schema
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException

from env import OpenSOCEnv
from pool import Pool
from schema import BadRequestError, Incident, OpenSOCError, Triage, TurnError

from .admission import Admission
from .benchmark import BenchmarkEnv, GradeBook
from .browsers import Browsers
from .episodes import Episodes
from .guard import Guard
from .openenv import ServedEnv
from .refusal import Refusal, wrong_form
from .root_path import RootPath
from .routes import router
from .sessions import Sessions
from .settings import Settings
from .shapes import OpenSOCAction, OpenSOCObservation, OpenSOCState
from .triage import TriageDesk, triage_router
from .watch import Figures, Watch, watch_router

_DEMO = "/demo"  # where `demo_app.mount` puts it
_DESCRIPTION = """OpenSOC is a reinforcement-learning environment for security alert triage, on the OpenEnv contract.

Begin an episode with POST /reset, answer with POST /step, and see it explained with GET /grade. The same episodes are
played over the WebSocket at /ws, and with tools at /mcp."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: None reads the environment variables.

    Raises:
        OpenSOCError: an environment variable has a wrong value, or the pool cannot be used.
    """
    settings = settings or Settings.from_env()
    pool = Pool(settings.pool, settings.salt) if settings.pool else None
    book = GradeBook(counting=bool(settings.salt), held_until=settings.hold_grades)
    kind = functools.partial(BenchmarkEnv, book) if book.counting or book.held_until else OpenSOCEnv
    make_env = functools.partial(kind, reward_table=settings.reward_table, salt=settings.salt, pool=pool)
    episodes = Episodes(
        make_env, max_episodes=settings.max_episodes, ttl_s=settings.episode_ttl_s, share=settings.caller_share
    )
    app = FastAPIOffline(  # /docs and /redoc need no other host
        title="OpenSOC",
        version="1.0.0",  # of the OpenEnv HTTP profile, which the SDK's validator reads here
        description=_DESCRIPTION,
        lifespan=_lifespan,
        # A field with a default may be absent from our answers too (`reward` and `done` stand outside the observation).
        separate_input_output_schemas=False,
        static_url="/docs/files",
    )
    app.state.episodes = episodes
    app.include_router(router)
    if settings.triage:
        app.include_router(triage_router(TriageDesk(settings.triage_per_minute)))
    sessions = _add_sdk_routes(
        app,
        functools.partial(ServedEnv, make_env=make_env, episodes=episodes, repository=settings.repository),
        settings,
    )
    figures = Figures()
    app.include_router(watch_router(figures if settings.metrics else None, episodes, sessions))
    app.add_middleware(Guard, max_body_bytes=settings.max_body_bytes, request_s=settings.request_timeout_s)
    if settings.token or settings.calls_per_minute:
        app.add_middleware(Admission, token=settings.token, per_minute=settings.calls_per_minute)
    app.add_middleware(Browsers, frame_ancestors=settings.frame_ancestors)
    app.add_middleware(Watch, figures=figures)
    if settings.root_path:  # outside of the rest, which reads paths below it
        _check_free(settings.root_path, app.routes)
        app.add_middleware(RootPath, root_path=settings.root_path)
    for error, handler in _HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.openapi = functools.partial(_openapi, app, app.openapi)  # type: ignore[method-assign]
    return app


def _check_free(root_path: str, routes: Iterable[Any]) -> None:
    """Refuse a root path that begins as a path of the service does: nobody could tell whether a proxy took it off.

    Raises:
        OpenSOCError: there is such a path.
    """
    first = f"/{root_path.split('/')[1]}"
    if first == _DEMO or any(first == f"/{path.split('/')[1]}" for path in _paths(routes)):
        raise OpenSOCError(
            f"Expected a root path that no path of the service begins with, got {root_path} as OPENSOC_ROOT_PATH: {first} is one. "
            "Choose another, such as /opensoc."
        )


def _paths(routes: Iterable[Any]) -> Iterator[str]:
    for route in routes:
        yield from _paths(route.original_router.routes) if hasattr(route, "original_router") else [route.path]


def _add_sdk_routes(app: FastAPI, make_env: functools.partial[ServedEnv], settings: Settings) -> Sessions:
    """Add the SDK's routes but for /reset, /step and /state, which make a new environment at every call."""
    server = Sessions(
        make_env,
        OpenSOCAction,
        OpenSOCObservation,
        env_name="opensoc",
        state_cls=OpenSOCState,
        sockets=settings.max_sessions,
        socket_idle_s=settings.session_timeout_s,
        detached=settings.max_mcp_sessions,
        detached_idle_s=settings.mcp_session_timeout_s,
        share=settings.caller_share,
    )
    ours = list(app.router.routes)
    server.register_routes(app)
    app.router.routes[:] = [
        route
        for route in app.router.routes
        if route in ours or getattr(route, "path", None) not in ("/reset", "/step", "/state")
    ]
    return server


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run what the SDK registered for start and stop (its reaper of idle sessions); a lifespan replaces both lists."""
    for start in app.router.on_startup:
        await start()
    yield
    for stop in app.router.on_shutdown:
        await stop()


# ---------------------------------------------------------------- errors
def _problem(status: int, sentence: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status, headers)


async def _on_refusal(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, Refusal)
    return _problem(exc.status, str(exc), exc.headers)


async def _on_bad_request(_: Request, exc: Exception) -> JSONResponse:
    return _problem(422, str(exc))


async def _on_wrong_time(_: Request, exc: Exception) -> JSONResponse:
    return _problem(409, str(exc))


async def _on_invalid(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    return _problem(422, wrong_form(exc))


async def _on_http_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    path, sentence, headers = get_route_path(request.scope), str(exc.detail), dict(exc.headers or {})
    if exc.status_code == 404 and sentence == "Not Found":
        sentence = f"There is no {path} here. GET /openapi.json lists what there is."
    if exc.status_code == 405:
        # One path may have several routes, and the framework tells the methods of the first.
        ours = {
            method
            for route in router.routes
            if getattr(route, "path", "") == path
            for method in getattr(route, "methods", ())
        }
        headers["Allow"] = ", ".join(sorted(ours)) or headers.get("Allow", "")
        sentence = f"{path} takes {headers['Allow']}, not {request.method}. Send it so."
    return _problem(exc.status_code, sentence, headers)


_HANDLERS: dict[type[Exception], Any] = {
    Refusal: _on_refusal,
    BadRequestError: _on_bad_request,
    TurnError: _on_wrong_time,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http_error,
}


def _openapi(app: FastAPI, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Build the OpenAPI document, with the forms of the two actions, and with one form of error, as all routes have it."""
    if app.openapi_schema is None:
        document = build()
        schemas = document["components"]["schemas"]
        _, answers = models_json_schema(
            [(Triage, "validation"), (Incident, "validation")], ref_template="#/components/schemas/{model}"
        )
        schemas |= answers["$defs"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            if "422" in operation["responses"]:
                operation["responses"]["422"]["content"] = problem
        app.openapi_schema = document
    return app.openapi_schema
