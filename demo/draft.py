"""Hold the incident that a visitor writes as an attacker: read it, change it, judge it, and send it at a defender."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast, get_args

from demo_data import SALT, SPLIT, DemoCase, GateResult, ScoredAnswer, ask, generated
from env import OpenSOCEnv
from rubric import TableName, Verdict, verdict_of
from scenario import OBSERVED
from schema import (
    EVENT_TYPES,
    FIELDS_OF,
    MAX_EVENTS,
    BadRequestError,
    Incident,
    Task,
    shown,
    visible,
)
from verifier.decision import judge_observation
from verifier.plausibility import bearable_categories
from verifier.rules import RULES
from verifier.truth import GroundTruth
from world import World

MAX_DRAFT = 200_000  # characters of an incident's JSON that are read at all
MAX_SHOWN = 1_000  # characters of a value of an incident that the form shows where it has to write it otherwise
MAX_DEPTH = 20  # of an incident's JSON; one that is admitted nests 4 deep
_WHOLE = re.compile(r" *[0-9]{1,18} *", re.ASCII)


class IncidentDraft(NamedTuple):
    """An incident that a visitor writes in the world of a task and a seed; `text` is its JSON, whatever was typed."""

    task: Task
    seed: int
    text: str

    @classmethod
    def of(cls, case: DemoCase) -> IncidentDraft:
        """Return the draft of a generated incident, to begin with."""
        truth, tactics = case.truth, _tactics(case.truth)
        incident = {
            "target_label": truth.action,
            "category": "benign_activity",
            "narrative": case.observation["alert"].get("narrative", ""),
            "events": case.observation["log_window"],
        }
        world = World.from_context(case.observation["context"])
        claims = bearable_categories(Incident.model_validate(incident), world) or ("benign_activity",)
        incident["category"] = next((category for category in claims if category in tactics), claims[-1])
        draft = cls(case.task, int(case.link["seed"]), json.dumps(incident, indent=1))
        judged = draft.judged().case  # the alert may fire on another line here, and a silent sensor matters by that
        return draft._written({**incident, "target_label": judged.truth.action}) if judged else draft

    def _environment(self, table: TableName = "standard") -> OpenSOCEnv:
        environment = OpenSOCEnv(salt=SALT, reward_table=table)
        environment.reset(self.seed, task=self.task, split=SPLIT, mode="self_play")
        return environment

    def read(self) -> dict[str, Any]:
        """Return the draft as data.

        Raises:
            BadRequestError: it is no JSON object, or too long.
        """
        if len(self.text) > MAX_DRAFT:
            raise BadRequestError(
                f"Expected an incident of at most {MAX_DRAFT:,} characters, and got {len(self.text):,}; shorten it."
            )
        value = _json(self.text)
        if not isinstance(value, dict):
            raise BadRequestError(f"Expected a JSON object, and got {shown(type(value).__name__)}; write one.")
        if _is_deeper(value, MAX_DEPTH):
            raise _too_deep()
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise BadRequestError(
                "Expected text of whole characters, and got half of one (a lone surrogate such as \\ud800); remove it."
            ) from None
        return value

    def judged(self) -> GateResult:
        """Return what the gate says, and the incident as its defender would get it."""
        try:
            self.read()
        except BadRequestError as error:  # a text of any length came, and is not kept
            return GateResult(None, (str(error),), "")
        return _judged(self)

    def sent(self, defender: str, table: TableName = "standard") -> Sent:
        """Send the draft at a defender: the gate's word, the defender's answers before and after the edit, and the environment's grade of both players.

        Raises:
            BadRequestError: there is no such defender.
        """
        judged = self.judged()
        if judged.case is None:
            return Sent(judged, None, None, {})
        before, answer = ask(defender, _begun(self.task, self.seed), table), ask(defender, judged.case, table)
        environment = self._environment(table)
        environment.step({"craft_incident": self.read()})
        environment.step({"submit_triage": answer.triage})
        return Sent(judged, before, answer, environment.grade())

    def is_edited(self) -> bool:
        """Return whether it says anything else than the incident that it began as."""
        return self.read() != IncidentDraft.of(generated(self.task, self.seed)).read()

    # ------------------------------------------------------------ the form
    def head(self) -> tuple[str, str, str]:
        """Return target_label, category and narrative, each empty if it is no text."""
        value = self.read()
        label, category, narrative = (value.get(name) for name in ("target_label", "category", "narrative"))
        return _text(label), _text(category), _text(narrative)

    def with_head(self, label: str, category: str, narrative: str) -> IncidentDraft:
        """Return the draft with another head."""
        return self._written({**self.read(), "target_label": label, "category": category, "narrative": narrative})

    def line_ids(self) -> list[str]:
        """Return the ids of the lines."""
        return [str(event.get("log_id")) for event in self._events(self.read())]

    def line(self, log_id: str) -> list[list[str]]:
        """Return a line as rows of name and value, as `in_form` shows them: time, then every field that its type has, empty where it is not set."""
        event = self._event(self.read(), log_id)
        given = event.get("fields")
        fields: dict[str, Any] = given if isinstance(given, dict) else {}
        names = list(dict.fromkeys(["activity", *_known_fields(event), *fields]))
        values = [("timestamp", event.get("timestamp")), *((name, fields.get(name)) for name in names)]
        return [[in_form(name), in_form(value)] for name, value in values]

    def with_line(self, log_id: str, rows: list[list[str]]) -> IncidentDraft:
        """Return the draft with other values in a line; an empty one is left out, and one that reads as `line` showed it stays as it is.

        Raises:
            BadRequestError: there is no such line, or the rows are no pairs of name and value.
        """
        value = self.read()
        event = self._event(value, log_id)
        try:
            texts = {str(name): "" if text is None else str(text) for name, text in rows}
        except (TypeError, ValueError):
            raise BadRequestError(f"Expected rows of name and value, and got {shown(rows)}.") from None
        stamp = texts.pop("timestamp", None)
        if stamp is not None and stamp != in_form(event.get("timestamp")):
            event["timestamp"] = stamp
        event["fields"] = _typed_fields(event, texts)
        return self._written(value)

    def with_new_line(self, event_type: str) -> tuple[IncidentDraft, str]:
        """Return the draft with another line at its end, at the time of the last, and that line's id.

        Raises:
            BadRequestError: there is no such event type, or no room.
        """
        value = self.read()
        events = self._events(value)
        if event_type not in EVENT_TYPES:
            raise BadRequestError(
                f"Expected an event type, one of {', '.join(EVENT_TYPES)}, and got {shown(event_type)}."
            )
        if len(events) >= MAX_EVENTS:
            raise BadRequestError(f"Expected at most {MAX_EVENTS} lines, and there are {len(events)}; remove one.")
        event = self._new_event(events, event_type)
        return self._written({**value, "events": [*events, event]}), event["log_id"]

    def _new_event(self, events: list[dict[str, Any]], event_type: str) -> dict[str, Any]:
        """Return an event on the host and by the account of the last one."""
        taken = {str(event.get("log_id")) for event in events}
        last = events[-1] if events else {}
        known = last.get("fields")
        known = known if isinstance(known, dict) else {}
        return {
            "event_type": event_type,
            "fields": {
                "activity": get_args(FIELDS_OF[event_type].model_fields["activity"].annotation)[0],
                **{name: known[name] for name in ("device_hostname", "actor_user") if known.get(name)},
            },
            "timestamp": last.get("timestamp") or world_of(self.task, self.seed)["now"],
            "log_id": next(name for name in (f"L9-{index}" for index in range(1, 100)) if name not in taken),
        }

    def without_line(self, log_id: str) -> IncidentDraft:
        """Return the draft without a line.

        Raises:
            BadRequestError: there is no such line.
        """
        value = self.read()
        removed = self._event(value, log_id)
        return self._written({**value, "events": [event for event in value["events"] if event is not removed]})

    def _written(self, value: Mapping[str, Any]) -> IncidentDraft:
        return self._replace(text=json.dumps(value, indent=1))

    @staticmethod
    def _events(value: Mapping[str, Any]) -> list[dict[str, Any]]:
        events = value.get("events")
        return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []

    def _event(self, value: Mapping[str, Any], log_id: str) -> dict[str, Any]:
        for event in self._events(value):
            if str(event.get("log_id")) == log_id:
                return event
        raise BadRequestError(f"Expected a line of the incident, and got {shown(log_id)}; choose one.")


class Sent(NamedTuple):
    """What came of a draft that was sent: the gate's word, the defender's answer to the incident that the draft began as (`before`) and to the draft, and the
    environment's grade. A draft that was refused has no answers."""

    judged: GateResult
    before: ScoredAnswer | None
    answer: ScoredAnswer | None
    grade: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """Who won; a win counts only where the defender was right before the edit."""
        return verdict_of(self.before and self.before.right, self.answer and self.answer.right)


@lru_cache(maxsize=64)
def _begun(task: Task, seed: int) -> DemoCase:
    """Return the incident that a draft begins as, as the defender would get it without an edit."""
    generated_case = generated(task, seed)
    return IncidentDraft.of(generated_case).judged().case or generated_case


@lru_cache(maxsize=64)
def world_of(task: Task, seed: int) -> dict[str, Any]:
    """Return all that the attacker may know of the world of a task and a seed: the rows of `schema.Context`."""
    environment = OpenSOCEnv(salt=SALT)
    observation = environment.reset(seed, task=task, split=SPLIT, mode="self_play")
    return cast("dict[str, Any]", observation.context)


@lru_cache(maxsize=32)
def _judged(draft: IncidentDraft) -> GateResult:
    content = draft.read()
    claimed = content.get("target_label")
    environment = draft._environment()
    turn = environment.step({"craft_incident": content})
    if turn.done:
        reasons = environment.grade()["plausibility"] or [turn.feedback]
        return GateResult(None, tuple(reasons), claimed if isinstance(claimed, str) else "")
    rows = turn.model_dump()
    observation = {name: rows[name] for name in OBSERVED}
    case = DemoCase("Your incident", {}, draft.task, observation, judge_observation(observation), {})
    return GateResult(case, (), cast(str, claimed))


def in_form(value: Any) -> str:
    """Return a value of an incident as the form shows it: with hidden characters or heaps of marks it is written as escapes, and cut."""
    text = "" if value is None else str(value)
    escaped = visible(text, keep="\n")
    if text == escaped or len(escaped) <= MAX_SHOWN:
        return escaped
    return escaped[: MAX_SHOWN - 1] + "…"


# ---------------------------------------------------------------- the JSON
def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise BadRequestError(f"Expected JSON, and could not read it ({where}); correct it.") from None
    except ValueError:
        raise BadRequestError("Expected JSON, and a number in it is longer than can be read; shorten it.") from None


def _too_deep() -> BadRequestError:
    return BadRequestError(f"Expected JSON that nests at most {MAX_DEPTH} deep, and it nests deeper; flatten it.")


def _is_deeper(value: Any, room: int) -> bool:
    """Return whether a JSON value nests deeper than `room` levels."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(room == 0 or _is_deeper(part, room - 1) for part in parts)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tactics(truth: GroundTruth) -> set[str]:
    fired = {finding.rule_id for finding in truth.findings}
    return {rule.tactic for rule in RULES if rule.rule_id in fired}


def _typed_fields(event: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that the form's texts mean for an event."""
    old = event.get("fields")
    known = {in_form(name): (name, value) for name, value in old.items()} if isinstance(old, dict) else {}
    whole, fields = _whole_numbers(event), {}
    for label, text in texts.items():
        name, value = known.get(label, (label, None))
        if label in known and text == in_form(value):
            fields[name] = value
        elif text != "":
            fields[name] = int(text) if name in whole and _WHOLE.fullmatch(text) else text
    return fields


def _known_fields(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields that an event of this type may have; none if there is no such type."""
    kind = event.get("event_type")
    return FIELDS_OF[kind].model_fields if isinstance(kind, str) and kind in FIELDS_OF else {}


def _whole_numbers(event: Mapping[str, Any]) -> set[str]:
    """Return the fields of this event's type that hold whole numbers."""
    kinds = {name: str(field.annotation) for name, field in _known_fields(event).items()}
    return {name for name, kind in kinds.items() if "int" in kind and "Literal" not in kind}


@lru_cache(maxsize=64)
def begun(task: Task, seed: int) -> IncidentDraft:
    """Return the draft that an attack on a task and a seed begins with.

    Raises:
        BadRequestError: no such task, or a seed out of 0 to 999,999.
    """
    return IncidentDraft.of(generated(task, seed))
