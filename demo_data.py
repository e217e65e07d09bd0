"""What the demo shows, without a web framework: incidents, defenders and their answers, the visitor's game, an attacker's draft.

An incident is made from a task and a seed, or was baked with two stored answers (data/demo_examples.json). Answers are scored and
explained by the environment's own rubric and verifier. Nothing here remembers a visitor: who calls keeps what he is given.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from env import OpenSOCEnv
from generator.incidents import generate
from players import PLAYERS, is_available, open_player
from players.base import Options, Player
from players.prompt import parse
from players.scoring import SHOWN, item_of, score_answer
from rubric import TableName
from schema import (
    CATEGORIES,
    EVENT_TYPES,
    FIELDS_OF,
    MAX_EVENTS,
    TASKS,
    BadRequestError,
    OpenSOCError,
    Task,
    shown,
    visible,
)
from tasks.registry import Split
from verifier.decision import judge_observation
from verifier.truth import GroundTruth

ROOT = Path(__file__).resolve().parent
BAKED = ROOT / "data" / "demo_examples.json"
SALT = "demo"  # what the demo reveals says nothing of an episode of /reset, whatever secret that has
SPLIT: Split = "val"  # never trained on
MAX_SEED = 999_999  # seeds that a person can read out
ROUNDS = 10
MAX_DRAFT = 200_000  # characters of an incident's JSON that are read at all
MAX_SHOWN = 1_000  # characters of a value of an incident that the form shows where it has to write it otherwise
MAX_DEPTH = 20  # of an incident's JSON; one that is admitted nests 4 deep


# ---------------------------------------------------------------- incidents
class DemoCase(NamedTuple):
    """An incident as the demo shows it. `link` holds the query of the page that shows it again; `stored` the answers that were baked."""

    title: str
    link: dict[str, str]
    task: Task
    observation: dict[str, Any]
    truth: GroundTruth
    stored: dict[str, str]

    @property
    def id(self) -> str:
        """Names the incident, so that a defender that draws lots draws the same."""
        return "demo/" + ("/".join(self.link.values()) or self.title)


def new_seed() -> int:
    """Any seed."""
    return secrets.randbelow(MAX_SEED + 1)


@lru_cache(maxsize=256, typed=True)  # True is no seed, though it equals 1
def generated(task: Task, seed: int) -> DemoCase:
    """The incident of a task and a seed.

    Raises:
        BadRequestError: no such task, or a seed out of 0 to 999,999.
    """
    if task not in TASKS:
        raise BadRequestError(f"Expected a task, one of {', '.join(TASKS)}, and got {shown(task)}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise BadRequestError(f"Expected a seed from 0 to {MAX_SEED}, and got {shown(seed)}.")
    observation = item_of(generate(task, seed, split=SPLIT, salt=SALT))["observation"]
    return DemoCase(
        f"Incident {seed} of {task}",
        {"task": task, "seed": str(seed)},
        task,
        observation,
        judge_observation(observation),
        {},
    )


@cache
def baked_file() -> dict[str, Any]:
    """data/demo_examples.json; no pairs where it is not there."""
    try:
        return cast("dict[str, Any]", json.loads(BAKED.read_text("utf-8")))
    except FileNotFoundError:
        return {"pairs": [], "before": {"defender": ""}, "after": {"defender": ""}}


def baked_names() -> tuple[str, str]:
    """How the two stored answers are called."""
    before, after = (baked_file()[when]["defender"] for when in ("before", "after"))
    return f"{before} (baked, before)", f"{after} (baked, after)"


@lru_cache(maxsize=64, typed=True)
def baked(number: int) -> DemoCase:
    """One of the baked incidents, counted from 1.

    Raises:
        BadRequestError: there is none of this number.
    """
    pairs = baked_file()["pairs"]
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(pairs):
        raise BadRequestError(f"Expected one of the {len(pairs)} baked incidents, and got {shown(number)}.")
    pair = pairs[number - 1]
    replies = [pair[when]["reply"] or "" for when in ("before", "after")]
    return DemoCase(
        f"Baked incident {number} of {len(pairs)}, {pair['task']}",
        {"baked": str(number)},
        pair["task"],
        pair["observation"],
        judge_observation(pair["observation"]),
        dict(zip(baked_names(), replies, strict=True)),
    )


def from_link(query: Mapping[str, str]) -> DemoCase:
    """The incident that a page's address asks for: `baked`, or `task` and `seed`; what is missing is drawn.

    Raises:
        BadRequestError: there is no such incident.
    """
    if "baked" in query:
        return baked(_number(query["baked"], "baked"))
    seed = _number(query["seed"], "seed") if query.get("seed") else new_seed()
    return generated(cast(Task, query.get("task") or TASKS[0]), seed)


def _number(text: object, name: str) -> int:
    try:
        return int(cast(str, text))
    except (TypeError, ValueError):
        raise BadRequestError(f"Expected a whole number as {name}, and got {shown(text)}.") from None


# ---------------------------------------------------------------- defenders
OFFERED = ("embedded", "keyword", "bag_of_words", "random", "always_escalate", "always_dismiss")  # the best first
_opening = threading.Lock()


@cache
def defender_names() -> tuple[str, ...]:
    """Name the defenders that can answer here, the best first."""
    return tuple(name for name in OFFERED if is_available(name))


def described(name: str) -> str:
    """Return a defender's name as a person reads it."""
    return f"{name} ({PLAYERS[name].label})" if name in PLAYERS else name


@cache
def _opened(name: str) -> Player:
    return open_player(name, Options())


class ScoredAnswer(NamedTuple):
    """What a defender answered: `triage` is None for a malformed answer, and `fault` then says why. `right` compares with the verifier."""

    who: str
    triage: dict[str, Any] | None
    fault: str
    right: bool
    reward: float
    components: dict[str, float]
    took_ms: float | None


def scored(
    who: str, content: object, case: DemoCase, table: TableName, *, fault: str = "", took_ms: float | None = None
) -> ScoredAnswer:
    """Score what `submit_triage` would hold, as a step of the environment does."""
    item = {"observation": case.observation, "ground_truth": case.truth}
    score = score_answer(content, item, table, fault=fault)
    return ScoredAnswer(who, score.answer, score.fault, score.right, score.reward, score.components, took_ms)


def ask(name: str, case: DemoCase, table: TableName = "standard") -> ScoredAnswer:
    """A defender's answer to an incident, or the one that was baked under this name.

    Raises:
        BadRequestError: there is no such defender, or no answer of it was baked for this incident.
        OpenSOCError: it cannot be opened here.
    """
    if name in case.stored:
        parsed = parse(case.stored[name])
        return scored(name, parsed.answer, case, table, fault=parsed.fault)
    if name not in defender_names():
        raise BadRequestError(
            f"Expected a defender that answers this incident, one of {', '.join((*defender_names(), *case.stored))}, and got {shown(name)}."
        )
    with _opening:  # two visitors must not fit the same model at once
        defender = _opened(name)
    started = time.perf_counter()
    (reply,) = defender.answer([{"id": case.id, "task": case.task, "observation": case.observation}])
    took_ms = (time.perf_counter() - started) * 1000
    parsed = parse(reply.text)
    return scored(name, parsed.answer, case, table, fault=reply.fault or parsed.fault, took_ms=took_ms)


def warm_up() -> None:
    """Open every defender and draw what is drawn lazily, so that the first visitor does not wait."""
    case = generated(TASKS[0], 0)
    for name in defender_names():
        try:
            ask(name, case)
        except OpenSOCError:  # whoever asks for it is told
            continue
    IncidentDraft.of(case).judged()


# ---------------------------------------------------------------- the visitor's game
class Round(NamedTuple):
    """One incident of a game: what both answered."""

    you: ScoredAnswer
    model: ScoredAnswer


class Game(NamedTuple):
    """Ten incidents against a defender; `rounds` are those that were answered."""

    against: str
    task: Task
    rounds: tuple[Round, ...] = ()
    case: DemoCase | None = None

    @property
    def over(self) -> bool:
        """Whether all incidents were answered."""
        return len(self.rounds) >= ROUNDS

    @property
    def waiting(self) -> bool:
        """Whether an incident waits for the visitor's answer."""
        return self.case is not None

    def dealt(self) -> Game:
        """The game with its next incident."""
        return self if self.over or self.waiting else self._replace(case=generated(self.task, new_seed()))

    def answered(self, action: str, cited: str, table: TableName = "standard") -> Game:
        """The game after the visitor's answer to its incident; the model answers the same one.

        Raises:
            BadRequestError: no incident waits for an answer.
        """
        if self.case is None:
            raise BadRequestError("Expected an incident that waits for an answer, and there is none; take the next.")
        you = scored("you", {"action": action, "cited_log_id": cited, "rationale": "by a visitor"}, self.case, table)
        return self._replace(rounds=(*self.rounds, Round(you, ask(self.against, self.case, table))), case=None)

    def totals(self) -> dict[str, tuple[int, float]]:
        """Right answers and reward of both."""
        sides = {"you": [one.you for one in self.rounds], self.against: [one.model for one in self.rounds]}
        return {
            name: (sum(one.right for one in answers), round(sum(one.reward for one in answers), 2))
            for name, answers in sides.items()
        }


# ---------------------------------------------------------------- an attacker's draft
class GateResult(NamedTuple):
    """What the environment makes of a draft. `case` is the incident as the defender gets it, None where it was refused; `reasons` say why."""

    case: DemoCase | None
    reasons: tuple[str, ...]
    claimed: str


class IncidentDraft(NamedTuple):
    """An incident that a visitor writes in the world of a task and a seed; `text` is its JSON, whatever was typed."""

    task: Task
    seed: int
    text: str

    @classmethod
    def of(cls, case: DemoCase) -> IncidentDraft:
        """A generated incident, to begin with."""
        truth = case.truth
        tactic = next((category for category in CATEGORIES if category in _tactics(truth)), "benign_activity")
        incident = {
            "target_label": truth.action,
            "category": tactic,
            "narrative": case.observation["alert"].get("narrative", ""),
            "events": case.observation["log_window"],
        }
        draft = cls(case.task, int(case.link["seed"]), json.dumps(incident, indent=1))
        judged = draft.judged().case  # the alert may fire on another line here, and a silent sensor matters by that
        return draft._written({**incident, "target_label": judged.truth.action}) if judged else draft

    def _environment(self, table: TableName = "standard") -> OpenSOCEnv:
        environment = OpenSOCEnv(salt=SALT, reward_table=table)
        environment.reset(self.seed, task=self.task, split=SPLIT, mode="self_play")
        return environment

    def read(self) -> dict[str, Any]:
        """The draft as data.

        Raises:
            BadRequestError: it is no JSON object, or too long.
        """
        if len(self.text) > MAX_DRAFT:
            raise BadRequestError(
                f"Expected an incident of at most {MAX_DRAFT:,} characters, and got {len(self.text):,}; shorten it."
            )
        try:
            value = json.loads(self.text)
        except RecursionError:
            raise BadRequestError(
                f"Expected JSON that nests at most {MAX_DEPTH} deep, and it nests deeper; flatten it."
            ) from None
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}: {error.msg}"
            raise BadRequestError(f"Expected JSON, and could not read it ({where}); correct it.") from None
        except ValueError:
            raise BadRequestError("Expected JSON, and a number in it is longer than can be read; shorten it.") from None
        if not isinstance(value, dict):
            raise BadRequestError(f"Expected a JSON object, and got {shown(type(value).__name__)}; write one.")
        if _deeper(value, MAX_DEPTH):
            raise BadRequestError(
                f"Expected JSON that nests at most {MAX_DEPTH} deep, and it nests deeper; flatten it."
            )
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise BadRequestError(
                "Expected text of whole characters, and got half of one (a lone surrogate such as \\ud800); remove it."
            ) from None
        return value

    def judged(self) -> GateResult:
        """What the gate says, and the incident as its defender would get it."""
        try:
            self.read()
        except BadRequestError as error:  # a text of any length came, and is not kept
            return GateResult(None, (str(error),), "")
        return _judged(self)

    def sent(
        self, defender: str, table: TableName = "standard"
    ) -> tuple[GateResult, ScoredAnswer | None, dict[str, Any]]:
        """Send the draft at a defender: the gate's word, the defender's answer, and the environment's grade of both players.

        Raises:
            BadRequestError: there is no such defender.
        """
        judged = self.judged()
        if judged.case is None:
            return judged, None, {}
        answer = ask(defender, judged.case, table)
        environment = self._environment(table)
        environment.step({"craft_incident": self.read()})
        environment.step({"submit_triage": answer.triage})
        return judged, answer, environment.grade()

    # ------------------------------------------------------------ the form
    def head(self) -> tuple[str, str, str]:
        """target_label, category and narrative, empty where they are not text."""
        value = self.read()
        return cast(
            "tuple[str, str, str]",
            tuple(
                text if isinstance(text := value.get(name), str) else ""
                for name in ("target_label", "category", "narrative")
            ),
        )

    def with_head(self, label: str, category: str, narrative: str) -> IncidentDraft:
        """The draft with another head."""
        return self._written({**self.read(), "target_label": label, "category": category, "narrative": narrative})

    def line_ids(self) -> list[str]:
        """The ids of its lines."""
        return [str(event.get("log_id")) for event in self._events(self.read())]

    def line(self, log_id: str) -> list[list[str]]:
        """A line as rows of name and value, as `in_form` shows them: time, then every field that its type has, empty where it is not set."""
        event = self._event(self.read(), log_id)
        given = event.get("fields")
        fields: dict[str, Any] = given if isinstance(given, dict) else {}
        names = list(dict.fromkeys(["activity", *_known_fields(event), *fields]))
        values = [("timestamp", event.get("timestamp")), *((name, fields.get(name)) for name in names)]
        return [[in_form(name), in_form(value)] for name, value in values]

    def with_line(self, log_id: str, rows: list[list[str]]) -> IncidentDraft:
        """The draft with other values in a line; an empty one is left out, and one that reads as `line` showed it stays as it is.

        Raises:
            BadRequestError: there is no such line, or the rows are no pairs of name and value.
        """
        value = self.read()
        event = self._event(value, log_id)
        try:
            given = {str(name): "" if text is None else str(text) for name, text in rows}
        except (TypeError, ValueError):
            raise BadRequestError(f"Expected rows of name and value, and got {shown(rows)}.") from None
        stamp = given.pop("timestamp", None)
        if stamp is not None and stamp != in_form(event.get("timestamp")):
            event["timestamp"] = stamp
        old = event.get("fields")
        held = {in_form(name): (name, one) for name, one in old.items()} if isinstance(old, dict) else {}
        whole, fields = _whole_numbers(event), {}
        for name, text in given.items():
            known, one = held.get(name, (name, None))
            if name in held and text == in_form(one):
                fields[known] = one
            elif text != "":
                fields[known] = int(text) if known in whole and _WHOLE.fullmatch(text) else text
        event["fields"] = fields
        return self._written(value)

    def with_new_line(self, event_type: str) -> tuple[IncidentDraft, str]:
        """The draft with another line at its end, at the time of the last, and that line's id.

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
        taken = {str(event.get("log_id")) for event in events}
        log_id = next(name for name in (f"L9-{number}" for number in range(1, 100)) if name not in taken)
        fields: dict[str, Any] = {"activity": get_args(FIELDS_OF[event_type].model_fields["activity"].annotation)[0]}
        last = events[-1] if events else {}
        for name in ("device_hostname", "actor_user"):
            if isinstance(last.get("fields"), dict) and last["fields"].get(name):
                fields[name] = last["fields"][name]
        stamp = last.get("timestamp") or world_of(self.task, self.seed)["now"]
        events.append({"event_type": event_type, "fields": fields, "timestamp": stamp, "log_id": log_id})
        value["events"] = events
        return self._written(value), log_id

    def without_line(self, log_id: str) -> IncidentDraft:
        """The draft without a line.

        Raises:
            BadRequestError: there is no such line.
        """
        value = self.read()
        gone = self._event(value, log_id)
        return self._written({**value, "events": [event for event in value["events"] if event is not gone]})

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


@lru_cache(maxsize=64)
def world_of(task: Task, seed: int) -> dict[str, Any]:
    """All that the attacker may know of the world of a task and a seed: the rows of `schema.Context`."""
    environment = OpenSOCEnv(salt=SALT)
    seen = environment.reset(seed, task=task, split=SPLIT, mode="self_play")
    return cast("dict[str, Any]", seen.context)


@lru_cache(maxsize=32)
def _judged(draft: IncidentDraft) -> GateResult:
    content = draft.read()
    claimed = content.get("target_label")
    environment = draft._environment()
    seen = environment.step({"craft_incident": content})
    if seen.done:
        reasons = environment.grade()["plausibility"] or [seen.feedback]
        return GateResult(None, tuple(reasons), claimed if isinstance(claimed, str) else "")
    whole = seen.model_dump()
    observation = {name: whole[name] for name in SHOWN}
    case = DemoCase("Your incident", {}, draft.task, observation, judge_observation(observation), {})
    return GateResult(case, (), cast(str, claimed))


def _tactics(truth: GroundTruth) -> set[str]:
    return {rule.tactic for rule in _rules() if rule.rule_id in {finding.rule_id for finding in truth.findings}}


@cache
def _rules() -> tuple[Any, ...]:
    from verifier import RULES

    return tuple(RULES)


@cache
def rule_says(rule_id: str) -> str:
    """What a rule looks for, in words."""
    return next((rule.summary for rule in _rules() if rule.rule_id == rule_id), "")


def in_form(value: Any) -> str:
    """A value of an incident as the form shows it: with hidden characters or heaps of marks it is written as escapes, and cut."""
    text = "" if value is None else str(value)
    told = "\n".join(visible(line) for line in text.split("\n"))
    return text if told == text else told if len(told) <= MAX_SHOWN else told[: MAX_SHOWN - 1] + "…"


_WHOLE = re.compile(r" *[0-9]{1,18} *", re.ASCII)


def _known_fields(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that an event of this type may have; none where there is no such type."""
    kind = event.get("event_type")
    return FIELDS_OF[kind].model_fields if isinstance(kind, str) and kind in FIELDS_OF else {}


def _whole_numbers(event: Mapping[str, Any]) -> set[str]:
    """The fields of this event's type that hold whole numbers."""
    kinds = {name: str(field.annotation) for name, field in _known_fields(event).items()}
    return {name for name, kind in kinds.items() if "int" in kind and "Literal" not in kind}


def _deeper(value: Any, room: int) -> bool:
    """Whether a JSON value nests deeper than so many levels."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(room == 0 or _deeper(one, room - 1) for one in inside)
