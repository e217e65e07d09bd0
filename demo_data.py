"""What the demo shows, without a web framework: incidents, defenders and their answers, the visitor's game.

An incident is made from a task and a seed, or was stored with the answers of every checkpoint of a training (data/demo_examples.json). Answers are scored and
explained by the environment's own rubric and verifier. Nothing here remembers a visitor: who calls keeps what he is given.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, cast

from generator.incidents import generate
from players import is_available, open_player
from players.base import Options, Player
from players.labels import DEFENDERS, defender_in_words
from players.prompt import rationale_in_words
from players.reply import parse
from players.scoring import score_answer
from rubric import TableName
from scenario import item_of
from schema import (
    TASKS,
    BadRequestError,
    Label,
    OpenSOCError,
    Task,
    shown,
)
from tasks.registry import Split
from verifier.decision import judge_observation
from verifier.truth import GroundTruth

ROOT = Path(__file__).resolve().parent
BAKED = ROOT / "data" / "demo_examples.json"
ARENA = ROOT / "data" / "demo_arena.json"  # the arena's stored games (`eval.bake_arena`)
RESULTS = ROOT / "docs" / "results.json"
SET_WORDS = {  # what is new in a set, beside the incidents
    "test_seed": "new organisations",
    "test_family": "attack families never shown",
    "test_tactic": "tactics never shown",
}
SALT = "demo"  # what the demo reveals says nothing of an episode of /reset, whatever secret that has
SPLIT: Split = "val"  # never trained on
MAX_SEED = 999_999  # seeds that a person can read out
ROUNDS = 10
SHOWN_REPLY = 20  # characters of a reply that cannot be read
ACTING: tuple[Label, ...] = ("quarantine_host", "block_ip", "escalate")  # what is done against an attack
TASK_WORDS: Mapping[str, str] = {task: " ".join((task[:5], f"{task[5]},", task.partition("_")[2])) for task in TASKS}


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
        """Name the incident, so that a defender that draws lots draws the same."""
        return "demo/" + ("/".join(self.link.values()) or self.title)


def new_seed() -> int:
    """Draw a seed."""
    return secrets.randbelow(MAX_SEED + 1)


@lru_cache(maxsize=256, typed=True)  # True is no seed, though it equals 1
def generated(task: Task, seed: int) -> DemoCase:
    """Return the incident of a task and a seed.

    Raises:
        BadRequestError: no such task, or a seed out of 0 to 999,999.
    """
    if task not in TASKS:
        raise BadRequestError(f"Expected a task, one of {', '.join(TASKS)}, and got {shown(task)}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise BadRequestError(f"Expected a seed from 0 to {MAX_SEED}, and got {shown(seed)}.")
    observation = item_of(generate(task, seed, split=SPLIT, salt=SALT))["observation"]
    return DemoCase(
        f"Live incident {seed} · {TASK_WORDS[task]}",
        {"task": task, "seed": str(seed)},
        task,
        observation,
        judge_observation(observation),
        {},
    )


@cache
def baked_file() -> dict[str, Any]:
    """Read data/demo_examples.json; without the file there are neither incidents nor checkpoints."""
    try:
        return cast("dict[str, Any]", json.loads(BAKED.read_text("utf-8")))
    except FileNotFoundError:
        return {"pairs": [], "checkpoints": []}


def checkpoints() -> list[dict[str, Any]]:
    """Return what is known of the checkpoints whose answers are stored, in the order of training; see `eval.bake_demo`."""
    return list(baked_file()["checkpoints"])


def right_at(number: int) -> list[int]:
    """Return the places of the checkpoints that answer a stored incident right, from 0; incidents count from 1."""
    pair = baked_file()["pairs"][number - 1]
    return [place for place, answer in enumerate(pair["answers"]) if answer["action"] == pair["label"]]


@cache
def opener() -> int:
    """Return the number of the stored incident to begin with: the first attack on which training changed the answer from wrong to fully right, else the first incident."""
    last = len(checkpoints()) - 1
    for number, pair in enumerate(baked_file()["pairs"], 1):
        best = pair["answers"][last]["reward"] >= max(answer["reward"] for answer in pair["answers"])
        changed = 0 not in right_at(number) and last in right_at(number)
        if best and changed and pair["label"] in ACTING:
            return number
    return 1


@cache
def odds() -> list[tuple[str, dict[str, Any]]]:
    """Return how often the shipped model is right on new incidents, with intervals, by what is new about them; empty where nothing was measured."""
    try:
        sets = json.loads(RESULTS.read_text("utf-8"))["sets"]
    except FileNotFoundError:
        return []
    return [(words, sets[name]["metrics"]["accuracy"]["after"]) for name, words in SET_WORDS.items() if name in sets]


@lru_cache(maxsize=64, typed=True)
def baked(number: int) -> DemoCase:
    """Return one of the stored incidents, counted from 1.

    Raises:
        BadRequestError: there is none of this number.
    """
    pairs = baked_file()["pairs"]
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(pairs):
        raise BadRequestError(f"Expected one of the {len(pairs)} stored incidents, and got {shown(number)}.")
    pair = pairs[number - 1]
    replies = [answer["reply"] or "" for answer in pair["answers"]]
    return DemoCase(
        f"Incident {number} of {len(pairs)} · {TASK_WORDS[pair['task']]}",
        {"baked": str(number)},
        pair["task"],
        pair["observation"],
        judge_observation(pair["observation"]),
        dict(zip((each["name"] for each in checkpoints()), replies, strict=True)),
    )


@lru_cache(maxsize=128)
def stored_answers(number: int, table: TableName = "standard") -> tuple[ScoredAnswer, ...]:
    """Return what each checkpoint answered to a stored incident, in the order of training."""
    case = baked(number)
    return tuple(ask(each["name"], case, table)._replace(who=each["title"]) for each in checkpoints())


def from_link(query: Mapping[str, str]) -> DemoCase:
    """Return the incident that a page's address asks for: `baked`, or `task` and `seed`; what is missing is drawn.

    Raises:
        BadRequestError: there is no such incident.
    """
    if "baked" in query:
        return baked(_number(query["baked"], "baked"))
    seed = _number(query["seed"], "seed") if query.get("seed") else new_seed()
    return generated(cast(Task, query.get("task") or TASKS[0]), seed)


def is_seed(text: str) -> bool:
    """Tell whether a text of an address is a seed in digits, 0 to `MAX_SEED`."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_SEED))


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
    """Return a defender's name as a person reads it, with the one that commands take."""
    return f"{defender_in_words(name)} ({name})" if name in DEFENDERS else name


@cache
def _opened(name: str) -> Player:
    return open_player(name, Options())


class ScoredAnswer(NamedTuple):
    """What a defender answered: `triage` is None for a malformed answer, and `fault` then says why. `right` compares with the verifier.

    `steps` names the checkpoints, by place, with which the page shows the answer; empty for always. `reply` is the beginning of a stored reply that cannot be read.
    """

    who: str
    triage: dict[str, Any] | None
    fault: str
    right: bool
    reward: float
    components: dict[str, float]
    took_ms: float | None
    steps: str = ""
    reply: str = ""


def scored(
    who: str, content: object, case: DemoCase, table: TableName, *, fault: str = "", took_ms: float | None = None
) -> ScoredAnswer:
    """Score what `submit_triage` would hold, as a step of the environment does; a chain of reasons is then told in sentences."""
    item = {"observation": case.observation, "ground_truth": case.truth}
    score = score_answer(content, item, table, fault=fault)
    triage = score.answer
    if triage:
        triage["rationale"] = rationale_in_words(triage["rationale"], case.observation)
    return ScoredAnswer(who, triage, score.fault, score.right, score.reward, score.components, took_ms)


def ask(name: str, case: DemoCase, table: TableName = "standard") -> ScoredAnswer:
    """Return a defender's answer to an incident, or the one that was baked under this name.

    Raises:
        BadRequestError: there is no such defender, or no answer of it was baked for this incident.
        OpenSOCError: it cannot be opened here.
    """
    if name in case.stored:
        stored = case.stored[name]
        parsed = parse(stored)
        answer = scored(defender_in_words(name), parsed.answer, case, table, fault=parsed.fault)
        return answer if answer.triage else answer._replace(reply=stored[:SHOWN_REPLY])
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
    return scored(described(name), parsed.answer, case, table, fault=reply.fault or parsed.fault, took_ms=took_ms)


def warm_up() -> None:
    """Open the defenders that the page begins with, so that the first visitor does not wait; the others take memory (`bag_of_words` 90 MiB) for who asks them alone."""
    case = generated(TASKS[0], 0)
    for name in defender_names()[:2]:
        try:
            ask(name, case)
        except OpenSOCError:  # whoever asks for it is told
            continue


# ---------------------------------------------------------------- the visitor's game
class Round(NamedTuple):
    """One incident of a game: what both answered, the alert's title and the right action."""

    you: ScoredAnswer
    model: ScoredAnswer
    title: str
    action: Label


class Game(NamedTuple):
    """Ten incidents against a defender, drawn by `seed`; `rounds` are those that were answered."""

    against: str
    task: Task
    rounds: tuple[Round, ...] = ()
    case: DemoCase | None = None
    seed: int = 0

    @property
    def length(self) -> int:
        """Return how many incidents a game has."""
        return ROUNDS

    @property
    def over(self) -> bool:
        """Return whether all incidents were answered."""
        return len(self.rounds) >= self.length

    @property
    def waiting(self) -> bool:
        """Return whether an incident waits for the visitor's answer."""
        return self.case is not None

    def dealt(self) -> Game:
        """Return the game with its next incident."""
        return self if self.over or self.waiting else self._replace(case=generated(self.task, self._next_seed()))

    def _next_seed(self) -> int:
        digest = sha256(f"{self.task}/{self.seed}/{len(self.rounds)}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % (MAX_SEED + 1)

    @property
    def link(self) -> dict[str, str]:
        """Return the query of the page that begins a game of the same incidents."""
        return {"play": self.task, "game": str(self.seed)}

    def beaten(self) -> tuple[int, int]:
        """Count the rounds in which the visitor alone was right, and those in which the model alone was."""
        pairs = [(round_.you.right, round_.model.right) for round_ in self.rounds]
        return pairs.count((True, False)), pairs.count((False, True))

    def answered(self, action: str, cited: str, table: TableName = "standard") -> Game:
        """Return the game after the visitor's answer to its incident; the model answers the same one.

        Raises:
            BadRequestError: no incident waits for an answer.
        """
        if self.case is None:
            raise BadRequestError("Expected an incident that waits for an answer, and there is none; take the next.")
        you = scored("You", {"action": action, "cited_log_id": cited, "rationale": ""}, self.case, table)
        model = ask(self.against, self.case, table)
        ended = Round(you, model, self.case.observation["alert"]["title"], self.case.truth.action)
        return self._replace(rounds=(*self.rounds, ended), case=None)

    def totals(self) -> dict[str, tuple[int, float]]:
        """Return the right answers and the reward of both."""
        sides = {"you": [round_.you for round_ in self.rounds], self.against: [round_.model for round_ in self.rounds]}
        return {
            name: (sum(answer.right for answer in answers), round(sum(answer.reward for answer in answers), 2))
            for name, answers in sides.items()
        }


# ---------------------------------------------------------------- an attacker's draft
class GateResult(NamedTuple):
    """What the environment makes of a draft: the incident as the defender gets it, or the `reasons` why it was refused."""

    case: DemoCase | None
    reasons: tuple[str, ...]
    claimed: str
