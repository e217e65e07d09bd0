"""POST /triage: judge a log that a caller sends, as `python -m telemetry --json` judges a file.

The text is imported, judged and forgotten: nothing is stored, no file is opened. One log is judged at a time, in a thread
beside the event loop; callers are limited by address.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request, Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from players import PLAYERS, is_available, open_player
from players.base import Options, Player
from schema import BadRequestError, OpenSOCError
from telemetry.declaring import declared_world
from telemetry.importers.containers import FileError
from telemetry.judging import Judgement, judge_text
from telemetry.printing import summarise
from telemetry.triaging import triage_recordings
from world import World

from .guard import BODY
from .refusal import Refusal, wrong_form
from .shapes import problems

MOST_WAITING = 8  # logs that wait while one is judged


class TriageBody(BaseModel):
    """What POST /triage takes as JSON; any other body is the log itself."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(
        description="The log: JSON lines, a JSON document, XML, a table or plain lines, as it was exported."
    )
    name: str = Field("log", max_length=200, description="What the log is called in the answer.")
    world: dict[str, Any] | None = Field(
        None, description="The organisation around it (`python -m telemetry world --example`)."
    )
    defender: str | None = Field(None, description="A player by name to ask beside the verifier, such as embedded.")
    details: bool = Field(False, description="Whether every event and what became of every record is answered.")


class TriageDesk:
    """Judges one log at a time, within a caller's rate.

    Args:
        per_minute: logs that one address may send in a minute.
    """

    def __init__(self, per_minute: int) -> None:
        self._rate = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._turn = anyio.Lock()
        self._waiting = 0
        self._players: dict[str, Player] = {}

    def admit(self, address: str) -> None:
        """Count a caller's log.

        Raises:
            Refusal: 429, with the seconds after which there is room.
        """
        if self._waiting >= MOST_WAITING:
            raise Refusal(
                429, f"{MOST_WAITING} logs wait to be judged. Send yours again in a few seconds.", retry_after_s=5
            )
        if not self._limiter.hit(self._rate, address):
            raise Refusal(
                429,
                f"Expected at most {self._rate.amount} logs a minute from one address. Wait, and send it again.",
                retry_after_s=60,
            )

    async def judge(self, body: TriageBody) -> dict[str, Any]:
        """Return the report of `python -m telemetry --json` on one text."""
        self._waiting += 1
        try:
            async with self._turn:
                return await run_in_threadpool(self._report, body)
        finally:
            self._waiting -= 1

    def _report(self, body: TriageBody) -> dict[str, Any]:
        world = _world(body)
        player = self._player(body.defender) if body.defender else None
        judgement = _judged(body, world)
        if player:
            triage_recordings(player, [judgement], world)
        summary = summarise([judgement], "declared in the request" if body.world else "empty (nothing declared)")
        return {"recordings": [judgement.row(details=body.details)], "summary": summary}

    def _player(self, name: str) -> Player:
        """Open a player by its name alone: a caller names no directory, endpoint or function here."""
        available = [each for each, entry in PLAYERS.items() if is_available(each) and not entry.slow]
        if name not in available:
            raise BadRequestError(f"Unknown defender {name!r} here: expected one of {', '.join(available)}.")
        if name not in self._players:
            self._players[name] = open_player(name, Options(density="compact"))
        return self._players[name]


def _world(body: TriageBody) -> World:
    try:
        return declared_world(body.world)
    except OpenSOCError as error:
        raise BadRequestError(f"In the world of the request: {error}") from error


def _judged(body: TriageBody, world: World) -> Judgement:
    try:
        return judge_text(body.text, world, name=body.name)
    except FileError as error:
        raise BadRequestError(str(error)) from error


# ---------------------------------------------------------------- route
def triage_router(desk: TriageDesk) -> APIRouter:
    """Make the route of a service that judges logs."""
    router = APIRouter(tags=["Your logs"])

    @router.post(
        "/triage",
        operation_id="triage",
        responses=problems({413: "The log is too long.", 429: "Too many logs; see Retry-After."}),
        openapi_extra=_BODY_DOC,
    )
    async def triage(
        request: Request,
        defender: Annotated[str | None, Query(description="A player by name, such as embedded.")] = None,
        name: Annotated[str, Query(max_length=200, description="What the log is called in the answer.")] = "log",
        details: Annotated[bool, Query(description="Whether every event and record is answered.")] = False,
    ) -> Response:
        """Judge a log: the verifier's decision with its evidence and reason, and a player's triage beside it. Nothing is stored."""
        desk.admit(request.client.host if request.client else "")
        body = _body(request.scope[BODY], TriageBody(text="", name=name, defender=defender, details=details))
        return Response(to_json(await desk.judge(body)), media_type="application/json")

    return router


def _body(text: str | None, query: TriageBody) -> TriageBody:
    """Read a request: an object with `text` is one by itself; any other body is the log, and the query says the rest."""
    if not text or text.isspace():
        raise Refusal(422, "Expected a log as the body, and got none. Send the exported text.")
    if '"text"' in text and text.lstrip()[:1] == "{":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if (
            isinstance(value, dict)
            and value.keys() <= TriageBody.model_fields.keys()
            and isinstance(value.get("text"), str)
        ):
            try:
                return TriageBody.model_validate(value)
            except ValidationError as error:
                raise Refusal(422, wrong_form(error)) from None
    return query.model_copy(update={"text": text})


_BODY_DOC = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string", "description": "The log itself."}},
            "application/json": {"schema": TriageBody.model_json_schema()},
        },
    }
}
