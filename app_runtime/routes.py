"""OpenSOC's own HTTP routes: /reset /step /state /grade /tasks, on episodes that outlive a request.

A handler finds the episode, calls one method and returns its result. Bodies were parsed by `guard.Guard`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from pydantic_core import to_json
from starlette._utils import get_route_path

from env import one_action
from schema import shown
from tasks.registry import catalogue
from verifier.playbook import playbook_of

from .episodes import Episode, Episodes
from .guard import BODY, EPISODE_PATHS
from .json_input import read_json
from .refusal import Refusal, wrong_form
from .shapes import (
    ACTIONS,
    ID_PARAMETERS,
    NAME_SCHEMA,
    STEP_SCHEMA,
    UNCLEAR,
    UNKNOWN,
    EpisodeQuery,
    Grade,
    OpenSOCState,
    Playbook,
    Reply,
    ResetBody,
    ResetQuery,
    StepBody,
    body_doc,
    problems,
    query_doc,
    reply,
)

router = APIRouter(tags=["OpenSOC"])
COOKIE = "opensoc_caller"
_NAMED = re.compile(r'"episode_id"\s*:\s*"([^"\\]*)"')
_MOST_NAMES = 4  # in one body, which has one
_COOKIE_VALUE = re.compile(r"[A-Za-z0-9_-]{16,64}")


_ABOUT = query_doc(EpisodeQuery, *ID_PARAMETERS)  # what a call about an episode may hold beside its body


# ---------------------------------------------------------------- routes
@router.post(
    "/reset",
    operation_id="reset",
    response_model=Reply,
    responses=problems({409: "The chosen episode_id is in use.", 429: "No room; see Retry-After."}),
    openapi_extra=query_doc(ResetQuery) | body_doc(ResetBody.model_json_schema(), required=False),
)
async def reset(request: Request) -> Response:
    """Begin an episode. What to play may stand in the query, in the body, or in both if they agree."""
    query = vars(ResetQuery.read(request))
    arguments = _merged(query, _object(request))
    strange = request.query_params.keys() - query.keys()
    caller = _Caller.of(request)
    chosen = arguments.pop("episode_id", None)
    _, observation = _episodes(request).start(dict.fromkeys(strange) | arguments, owners=caller.owners, name=chosen)
    response = _json(reply(observation))
    if caller.is_new:
        https = request.scope["scheme"] == "https"
        response.set_cookie(COOKIE, caller.cookie, httponly=True, samesite="lax", secure=https)
    return response


@router.post(
    "/step",
    operation_id="step",
    response_model=Reply,
    responses=problems({404: UNKNOWN, 409: f"{UNCLEAR}, or it is not the time for this action."}),
    openapi_extra=_ABOUT | body_doc(STEP_SCHEMA, required=True),
)
async def step(request: Request) -> Response:
    """Play one turn. `task`, `mode` and `seed` choose among the caller's episodes where no episode_id is sent."""
    episode = _find(request, to_play=True)
    action = _action(_object(request))
    return _json(reply(_episodes(request).step(episode, action)))


@router.get(
    "/state",
    operation_id="state",
    response_model=OpenSOCState,
    responses=problems({404: UNKNOWN, 409: f"{UNCLEAR}."}),
    openapi_extra=_ABOUT,
)
async def state(request: Request) -> Response:
    """Tell where an episode stands: turns taken, whose turn it is, whether it is done."""
    return _json(_find(request).env.state.model_dump())


_GRADE_PROBLEMS = problems({404: UNKNOWN, 409: f"{UNCLEAR}, or it is not done."})


@router.get("/grade", operation_id="grade", response_model=Grade, responses=_GRADE_PROBLEMS, openapi_extra=_ABOUT)
async def grade(request: Request) -> Response:
    """Explain a finished episode: reward by component, ground truth, findings, evidence."""
    return _json(_find(request).env.grade())


@router.post(
    "/grade",
    operation_id="grade_post",
    response_model=Grade,
    responses=_GRADE_PROBLEMS,
    openapi_extra=_ABOUT | body_doc(NAME_SCHEMA, required=False),
)
async def grade_post(request: Request) -> Response:
    """Explain a finished episode, as GET does; the episode_id may stand in the body too."""
    return await grade(request)


@router.get("/tasks", operation_id="tasks")
async def tasks() -> dict[str, Any]:
    """List what can be played: tasks, modes, splits, and the answers a defender may give."""
    return catalogue()


@router.get(
    "/playbook/{name}",
    operation_id="playbook",
    response_model=Playbook,
    responses=problems({404: "No playbook of this version has that hash."}),
)
async def playbook(name: str) -> Response:
    """Give the playbook of a hash, as an observation holds it whose /reset asked for `playbook=hash`."""
    text = playbook_of(name)
    if text is None:
        raise Refusal(
            404,
            f"No playbook has the hash {shown(name)} here: the rules may have changed. Send a playbook_hash of a new episode.",
        )
    return Response(
        to_json({"playbook_hash": name, "playbook": text}),
        media_type="application/json",
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )


# ---------------------------------------------------------------- from a request to an episode
@dataclass(frozen=True, slots=True)
class _Caller:
    """Who is asking: by the cookie that /reset set, or by address and program where there is none."""

    cookie: str
    address: str
    is_new: bool  # no cookie came

    @classmethod
    def of(cls, request: Request) -> _Caller:
        """Tell a request's caller; a new one gets a cookie that cannot be guessed."""
        sent = request.cookies.get(COOKIE, "")
        is_new = not _COOKIE_VALUE.fullmatch(sent)
        host = request.client.host if request.client else ""
        return cls(secrets.token_urlsafe(16) if is_new else sent, f"{host} {request.headers.get('user-agent')}", is_new)

    @property
    def owners(self) -> tuple[str, ...]:
        """To whom a new episode belongs; by address only until the cookie comes back."""
        return (self.cookie, self.address) if self.is_new else (self.cookie,)


def _find(request: Request, *, to_play: bool = False) -> Episode:
    """Find the episode that a request is about; see `Episodes.latest` for one that names none.

    That there is one is known before the body is parsed: whoever has none here costs no more than the reading of it.

    Raises:
        Refusal: 400 no JSON, 404 unknown, 409 none or ambiguous, 422 contradictory.
    """
    which = EpisodeQuery.read(request)
    caller, outside = _Caller.of(request), _names_outside(request)
    likely, episode = _first_known(request, outside or _likely_names(request), caller, which, to_play)
    name = _name(request, outside)
    if name != likely:
        episode = _look_up(request, name, caller, which, to_play)
    _episodes(request).claim(episode, caller.cookie)
    return episode


def _first_known(
    request: Request, names: Sequence[str | None], caller: _Caller, which: EpisodeQuery, to_play: bool
) -> tuple[str | None, Episode]:
    """Find the first of some names that is an episode's; raise what is wrong with the first where none is."""
    wrong = []
    for name in names:
        try:
            return name, _look_up(request, name, caller, which, to_play)
        except Refusal as refusal:
            wrong.append(refusal)
    raise wrong[0]


def _look_up(request: Request, name: str | None, caller: _Caller, which: EpisodeQuery, to_play: bool) -> Episode:
    episodes, certain = _episodes(request), not caller.is_new
    owner = caller.cookie if certain else caller.address
    if name is None:
        return episodes.latest(
            owner, certain=certain, task=which.task, mode=which.mode, seed=which.seed, to_play=to_play
        )
    episode = episodes.find(name, owner, certain=certain, to_play=to_play)
    if not episode.fits(which.task, which.mode, which.seed):
        raise Refusal(
            422,
            f"The episode named is of task {episode.task}, mode {episode.mode} and seed {episode.seed}, and the "
            f"query says otherwise: {which.task}, {which.mode}, {which.seed}. Send what agrees, or the id alone.",
        )
    return episode


def _names_outside(request: Request) -> tuple[str, ...]:
    """Read the episode_id in query and header, one at most."""
    names = {*request.query_params.getlist("episode_id"), *request.headers.getlist("x-episode-id")}
    _check_one(names)
    return tuple(names)


def _likely_names(request: Request) -> list[str | None]:
    """List what a request may name as its episode, without its body being parsed; None stands for a request that names none."""
    body = request.scope[BODY]
    if not isinstance(body, str):
        return [None]
    if "\\u" in body:  # which may be a letter of the name
        return [_name(request, ())]
    return [*_NAMED.findall(body)[:_MOST_NAMES], None]


def _name(request: Request, outside: Collection[str]) -> str | None:
    """Read the episode_id of a request, from wherever it stands.

    Raises:
        Refusal: 422 where two differ or one is no text.
    """
    in_body = _object(request).get("episode_id")
    if not isinstance(in_body, str | None):
        raise Refusal(
            422, f"Expected episode_id to be text, got {shown(in_body)}. Send the one that POST /reset answered."
        )
    names = {*outside} if in_body is None else {*outside, in_body}
    _check_one(names)
    return names.pop() if names else None


def _check_one(names: Collection[str]) -> None:
    if len(names) > 1:
        raise Refusal(
            422, f"Expected one episode_id, got {shown(sorted(names))}. Send the same everywhere, or only one."
        )


def _episodes(request: Request) -> Episodes:
    return request.app.state.episodes


def _object(request: Request) -> dict[str, Any]:
    """Give the body, parsed; {} where there is none."""
    body = request.scope[BODY]
    if isinstance(body, str) and get_route_path(request.scope) in EPISODE_PATHS:
        body = request.scope[BODY] = None if not body or body.isspace() else read_json(body)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Refusal(422, f"Expected a JSON object as the body, got {shown(body)}. Send an object.")
    return body


def _merged(query: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Merge what a reset asks for in the query and in the body; a field that nobody knows is left for the environment to refuse.

    Raises:
        Refusal: 422 where the body has another form or contradicts the query.
    """
    try:
        fields = ResetBody.model_validate(body).model_dump()
    except ValidationError as exc:
        raise Refusal(422, wrong_form(exc)) from None
    for name, value in query.items():
        if None not in (value, fields[name]) and value != fields[name]:
            raise Refusal(
                422,
                f"The query says {name}={shown(value)} and the body {shown(fields[name])}. Send one, or the same twice.",
            )
        if value is not None:
            fields[name] = value
    return {name: value for name, value in fields.items() if value is not None or name not in query}


def _action(body: dict[str, Any]) -> dict[str, Any]:
    """Take the one action out of a step's body, as `{"submit_triage": X}` or `{"craft_incident": X}`; X is the environment's to judge.

    Raises:
        Refusal: 422 for a field that a step does not take, or one of another form.
        BadRequestError: none or two actions.
    """
    try:
        step = StepBody.model_validate(body)
    except ValidationError as exc:
        raise Refusal(422, wrong_form(exc)) from None
    given = {name: getattr(step, name) for name in (*ACTIONS, "action") if name in body}
    name, content = one_action(step.action or {} if given.keys() == {"action"} else given)
    return {name: content}


def _json(content: Any) -> Response:
    """Written by pydantic's serialiser, as the SDK's WebSocket does: the same bytes for the same observation."""
    return Response(to_json(content), media_type="application/json")
