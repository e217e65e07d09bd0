"""Define the requests and answers of OpenSOC's HTTP routes, and their descriptions in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from openenv.core.env_server.serialization import serialize_observation
from openenv.core.env_server.types import Action
from openenv.core.env_server.types import Observation as SDKObservation
from openenv.core.env_server.types import State as SDKState
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from env import PLAYBOOKS, LogLine, Observation, Role
from schema import LABELS, MAX_SEED, MODES, TASKS, Alert, Context, Mode, Task, shown
from tasks.registry import SPLITS, Split

from .refusal import Refusal

ACTIONS = ("submit_triage", "craft_incident")
NAME_PATTERN = r"^[A-Za-z0-9._:-]{1,255}$"


# ---------------------------------------------------------------- OpenEnv's models, with our fields
class OpenSOCAction(Action):
    """What a player says. Exactly one of the two is given; its content is taken as it is and judged by the environment."""

    model_config = ConfigDict(extra="allow")
    submit_triage: Any = Field(
        default=None,
        description=f"The defender's answer: {{action: one of {', '.join(LABELS)}; cited_log_id: the id of a line of the log window; "
        "rationale: text; confidence: optional, 0 to 1}.",
        examples=[{"action": "monitor", "cited_log_id": "L1-3", "rationale": "unexplained service install"}],
    )
    craft_incident: Any = Field(
        default=None,
        description="The attacker's incident: {target_label, category, events: [{event_type, fields, timestamp, log_id}], narrative}.",
    )


class OpenSOCObservation(SDKObservation):
    """What the player sees whose turn it is; on the closing observation, how the episode went."""

    episode_id: str = Field(description="Names the episode.")
    task: str = Field(description="The task that is played.")
    mode: str = Field(description="self_play or defender_only.")
    role: Role = Field(description="Whose turn it is; none when the episode is done.")
    turn: int = Field(ge=0, description="Steps taken so far.")
    instructions: str = Field(default="", description="What is asked, and in which form.")
    alert: Alert | None = Field(default=None, description="What the SIEM raised (defender).")
    log_window: list[LogLine] = Field(default_factory=list, description="The events in time order (defender).")
    context: Context | None = Field(
        default=None, description="The world: its slice around the window (defender), or all of it (attacker)."
    )
    playbook: str = Field(default="", description="The SOC's rules, context and ladder.")
    playbook_hash: str = Field(
        default="", description="In place of the playbook, where /reset asked so: GET /playbook/{hash} gives the text."
    )
    feedback: str = Field(default="", description="How the last answer was taken.")
    rewards: dict[str, float | None] = Field(default_factory=dict, description="Both players' totals, when done.")
    grade: dict[str, Any] | None = Field(default=None, description="Everything explained, when done.")


class OpenSOCState(SDKState):
    """Where an episode stands; holds no ground truth."""

    task: str | None = None
    mode: str | None = None
    role: Role = "none"
    done: bool = False
    reward_table: str = "standard"


def reply(observation: Observation) -> dict[str, Any]:
    """Return the answer of /reset, /step and the MCP tools: the SDK's form and the episode's id."""
    return {**serialize_observation(observation), "episode_id": observation.episode_id}


# ---------------------------------------------------------------- bodies and answers
def _whole(value: object) -> object:
    """Turn 5.0 into 5, as JSON Schema and languages with one kind of number do not tell them apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Field(ge=0, le=MAX_SEED), BeforeValidator(_whole)]


PlaybookForm = Literal["text", "hash"]
PLAYBOOK_ABOUT = "What observations hold of the playbook: its text where nothing is said, or its hash."


class ResetBody(BaseModel):
    """Body of POST /reset. A field that is not listed is refused."""

    # The environment refuses what it does not know, in the same words everywhere.
    model_config = ConfigDict(strict=True, extra="allow", json_schema_extra={"additionalProperties": False})
    task: Task | None = Field(None, description="Difficulty; `stage1_basic` where none is given.")
    mode: Mode | None = Field(None, description="Who plays: `defender_only` where none is given.")
    seed: Whole | None = Field(None, description="The same seed gives the same episode; none, a random one.")
    split: Split | None = Field(None, description="Which incidents; `train` where none is given.")
    index: Whole | None = Field(None, description="A numbered task of the split, in place of task and seed.")
    playbook: PlaybookForm | None = Field(None, description=PLAYBOOK_ABOUT)
    episode_id: str | None = Field(
        None, pattern=NAME_PATTERN, description="Name of your own for the episode; none, and the answer holds one."
    )


class StepBody(BaseModel):
    """What POST /step takes beside the action."""

    model_config = ConfigDict(strict=True, extra="forbid")
    submit_triage: Any = None
    craft_incident: Any = None
    action: dict[str, Any] | None = None
    episode_id: str | None = None
    timeout_s: float | None = Field(None, gt=0)
    request_id: str | None = Field(None, max_length=255)
    metadata: dict[str, Any] | None = None


class Reply(BaseModel):
    """Answer of /reset and /step."""

    observation: OpenSOCObservation
    reward: float | None = Field(description="Reward of this step; null after a reset.")
    done: bool
    episode_id: str = Field(description="Send it with every call that is about this episode.")
    metadata: dict[str, Any] | None = None


class Grade(BaseModel):
    """Answer of /grade: the episode explained."""

    model_config = ConfigDict(extra="allow")
    episode_id: str
    task: Task
    mode: Mode
    rewards: dict[str, float | None]
    components: dict[str, float | None] = Field(description="Parts of the rewards; null where not scored.")
    ground_truth: dict[str, Any] | None = Field(description="Null where the incident was refused.")
    feedback: str


class Playbook(BaseModel):
    """Answer of /playbook/{hash}."""

    playbook_hash: str
    playbook: str = Field(description="The text that an observation would hold.")


class Problem(BaseModel):
    """Every error."""

    detail: str = Field(description="What was expected, what came and what to do.")


# ---------------------------------------------------------------- the OpenAPI document
_ANSWER = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd, and nothing explains it."}
_ANY_JSON = "Any JSON is taken: one of another form is a turn played, and scored as malformed."
_TRIAGE: dict[str, Any] = {
    "description": f"The defender's answer. {_ANY_JSON}",
    "anyOf": [{"$ref": "#/components/schemas/Triage"}, {}],
    "examples": [_ANSWER],
}
_INCIDENT: dict[str, Any] = {
    "description": f"The attacker's incident. {_ANY_JSON}",
    "anyOf": [{"$ref": "#/components/schemas/Incident"}, {}],
}
_ONE_OF_TWO = [{"required": [name]} for name in ACTIONS]
STEP_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "One action, bare or in the OpenEnv envelope `action`.",
    "properties": {
        "submit_triage": _TRIAGE,
        "craft_incident": _INCIDENT,
        "action": {
            "type": "object",
            "properties": {"submit_triage": _TRIAGE, "craft_incident": _INCIDENT, "metadata": {}},
            "oneOf": _ONE_OF_TWO,
            "additionalProperties": False,
        },
        "episode_id": {"type": ["string", "null"], "description": "The episode, as POST /reset answered it."},
        "timeout_s": {"type": ["number", "null"], "exclusiveMinimum": 0, "description": "Not used: a step is instant."},
        "request_id": {"type": ["string", "null"], "maxLength": 255, "description": "Not used."},
        "metadata": {"type": ["object", "null"], "description": "Not used."},
    },
    "oneOf": [*_ONE_OF_TWO, {"required": ["action"]}],
    "additionalProperties": False,
    "examples": [{"submit_triage": _ANSWER}, {"action": {"submit_triage": _ANSWER}}],
}
NAME_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"episode_id": {"type": ["string", "null"]}}}


def body_doc(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def problems(what: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI entries for errors by status: those of every route, and those in `what`."""
    common = {400: "The body is no JSON.", 413: "The body is too long.", 422: "The request has another form."}
    return {status: {"model": Problem, "description": text} for status, text in {**common, **what}.items()}


UNKNOWN = "No such episode: expired, not yours, or never there."
UNCLEAR = "None or several episodes are meant"


# ---------------------------------------------------------------- parameters
def _absent_or(**schema: Any) -> WithJsonSchema:
    """Give the schema of an optional parameter, without the null that no query can hold."""
    return WithJsonSchema(schema)


_WHOLE = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
_TASK = Annotated[Task | None, _absent_or(type="string", enum=list(TASKS)), Field(description="Difficulty.")]
_MODE = Annotated[Mode | None, _absent_or(type="string", enum=list(MODES)), Field(description="Who plays.")]
_NUMBER = Annotated[int | None, _absent_or(**_WHOLE), Field(ge=0, le=MAX_SEED)]


class EpisodeQuery(BaseModel):
    """What the query says of the episode that a call is about, beside its id."""

    task: _TASK = None
    mode: _MODE = None
    seed: _NUMBER = None

    @classmethod
    def read(cls, request: Request) -> Self:
        """Read a request's query.

        FastAPI would do this for declared parameters one by one, which takes longer than the rest of a call.

        Raises:
            RequestValidationError: a value has another form.
            Refusal: 422 where a name has two values.
        """
        if not request.scope["query_string"]:
            return cls()
        query = request.query_params
        values = dict(query)
        if len(values) < len(query.multi_items()):
            _check_once(values, query.multi_items())
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RequestValidationError(
                [{**fault, "loc": ("query", *fault["loc"])} for fault in error.errors()]
            ) from None


class ResetQuery(EpisodeQuery):
    """What the query of a reset asks for."""

    split: Annotated[
        Split | None, _absent_or(type="string", enum=list(SPLITS)), Field(description="Which incidents.")
    ] = None
    index: _NUMBER = None
    playbook: Annotated[
        PlaybookForm | None, _absent_or(type="string", enum=list(PLAYBOOKS)), Field(description=PLAYBOOK_ABOUT)
    ] = None
    episode_id: Annotated[
        str | None,
        _absent_or(type="string", pattern=NAME_PATTERN),
        Field(pattern=NAME_PATTERN, description="Name of your own for the episode."),
    ] = None


def _check_once(values: dict[str, str], items: list[tuple[str, str]]) -> None:
    """Refuse a query that gives one name two values, as one that contradicts the body is refused."""
    for name, value in items:
        if value != values[name]:
            raise Refusal(
                422, f"The query says {shown(name)} twice: {shown(value)} and {shown(values[name])}. Send it once."
            )


def _parameter(name: str, schema: dict[str, Any], *, place: str = "query") -> dict[str, Any]:
    about = {key: schema[key] for key in schema if key == "description"}
    form = {key: schema[key] for key in schema if key not in ("description", "default")}
    return {"name": name, "in": place, "required": False, "schema": form, **about}


def query_doc(model: type[EpisodeQuery], *more: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI entry of a query that `EpisodeQuery.read` reads, and of more parameters."""
    fields = model.model_json_schema()["properties"].items()
    return {"parameters": [*(_parameter(name, schema) for name, schema in fields), *more]}


ID_PARAMETERS = (  # where an episode's id may stand
    _parameter(
        "episode_id",
        {"type": "string", "title": "Episode Id", "description": "The episode, as POST /reset answered it."},
    ),
    _parameter(
        "x-episode-id",
        {"type": "string", "title": "X-Episode-Id", "description": "The same, as a header."},
        place="header",
    ),
)
