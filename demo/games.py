"""Play an attacker against a defender for the arena: stored games (data/demo_arena.json) and live rounds. Imports no gradio.

A round asks the defender twice: for the generator's incident in a world, and for the attacker's in the same one. The attacker wins where the defender was right
before, and is wrong now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

from demo_data import ARENA, OFFERED, SPLIT, TASK_WORDS, DemoCase, ScoredAnswer, ask, is_seed
from players.attackers import Attacker, Options, open_attacker
from players.attackers.attempts import Attempt, attempt, brief_of
from players.attackers.base import Brief, asked_in_turn
from players.labels import attacker_in_words
from rubric import TableName, Verdict, verdict_of
from schema import TASKS, BadRequestError, Task, shown

BEFORE = "generator"
TRIES = 4  # before an attacker hands in what schema and gate refuse; both are public
LIVE = ("embedded", "edits", BEFORE)  # attackers that write while the visitor waits


class Bout(NamedTuple):
    """A round: who played, what the attacker was asked for (empty for any), and what became of both incidents.

    `case` and `after` are None where the gate refused the attacker's incident, `reasons` then says why; `before_case` and `before` are None where the generator has none that
    fits. `place` is the round's number in a stored game, from 0; None for a live one. `query` is the address that shows the round again.
    """

    attacker: str
    defender: str
    title: str
    asked: str
    reasons: tuple[str, ...]
    before_case: DemoCase | None
    before: ScoredAnswer | None
    case: DemoCase | None
    after: ScoredAnswer | None
    place: int | None = None
    query: str = ""

    @property
    def verdict(self) -> Verdict:
        """Who won."""
        return verdict_of(self.before and self.before.right, self.after and self.after.right)


# ---------------------------------------------------------------- stored games
@cache
def arena_file() -> dict[str, Any]:
    """Read data/demo_arena.json; without the file there are no games."""
    try:
        return dict(json.loads(ARENA.read_text("utf-8")))
    except FileNotFoundError:
        return {"briefs": [], "incidents": {}, "games": [], "pairs": []}


def stored_attackers() -> list[str]:
    """Name the attackers whose games are stored, the last one, who learned most, first."""
    return [name for name in reversed(arena_file()["incidents"]) if name != BEFORE]


def stored_defenders() -> list[str]:
    """Name the defenders of the stored games: first those that are not offered elsewhere, then the best first."""
    names = dict.fromkeys(game["defender"] for game in arena_file()["games"])
    return sorted(names, key=lambda name: OFFERED.index(name) if name in OFFERED else -1)


def verdicts(attacker: str, defender: str) -> list[Verdict]:
    """Return who won each round of a stored game.

    Raises:
        BadRequestError: no such game is stored.
    """
    return list(_game(attacker, defender)["verdicts"])


def _game(attacker: str, defender: str) -> dict[str, Any]:
    for game in arena_file()["games"]:
        if (game["attacker"], game["defender"]) == (attacker, defender):
            return dict(game)
    raise BadRequestError(
        f"Expected a stored game, and there is none of {shown(attacker)} against {shown(defender)}; choose others, or play a live round."
    )


def stored_round(attacker: str, defender: str, number: int, table: TableName = "standard") -> Bout:
    """Return a round of a stored game, judged anew; `number` counts from 0, and begins again after the last.

    Raises:
        BadRequestError: no such game is stored.
    """
    game, count = _game(attacker, defender), len(arena_file()["briefs"])
    place = number % count
    replies = [_game(name, defender)["answers"][place] or "" for name in (BEFORE, attacker)]
    cases = [_stored_case(name, place) for name in (BEFORE, attacker)]
    before, after = (
        (case and case._replace(stored={defender: reply})) for (case, _), reply in zip(cases, replies, strict=True)
    )
    title = f"round {place + 1} of {count}"
    asked = str(arena_file()["briefs"][place]["asked"] or "")
    bout = _bout(game["attacker"], defender, title, asked, cases[1][1], before, after, table)
    return bout._replace(place=place, query=urlencode({"arena": attacker, "against": defender, "round": place + 1}))


@lru_cache(maxsize=256)
def _stored_case(attacker: str, place: int) -> tuple[DemoCase | None, tuple[str, ...]]:
    stored = arena_file()
    row = stored["briefs"][place]
    brief = brief_of(row["task"], row["seed"], split=stored["split"], asked=row["asked"])
    return _case(attempt(brief, stored["incidents"][attacker][place]), attacker)


# ---------------------------------------------------------------- live rounds
def live_round(attacker: str, defender: str, task: Task, seed: int, table: TableName = "standard") -> Bout:
    """Let an attacker write in the world of a task and a seed, and a defender answer.

    Raises:
        BadRequestError: the attacker or the defender does not play here.
    """
    if attacker not in LIVE:
        raise BadRequestError(
            f"Expected an attacker that writes here, one of {', '.join(LIVE)}, and got {shown(attacker)}."
        )
    brief = brief_of(task, seed, split=SPLIT, asked=asked_in_turn(seed))
    before, _ = _written(BEFORE, brief)
    case, reasons = _written(attacker, brief)
    bout = _bout(
        attacker, defender, f"live, seed {seed} · {TASK_WORDS[task]}", brief.asked or "", reasons, before, case, table
    )
    return bout._replace(query=urlencode({"arena": attacker, "against": defender, "live": task, "world": seed}))


def linked_round(query: Mapping[str, str], table: TableName = "standard") -> Bout:
    """Return the round that an address names: of a stored game by its number, or a live one, played again in its world.

    Raises:
        BadRequestError: it names none.
    """
    attacker, defender, task = query.get("arena", ""), query.get("against", ""), query.get("live", "")
    number = query.get("world" if task else "round", "")
    if not is_seed(number) or (task and task not in TASKS):
        raise BadRequestError(
            "Expected a link of the arena (arena=ATTACKER, against=DEFENDER, and round=NUMBER or live=TASK with world=SEED), and got another; watch a game of your own."
        )
    if task:
        return live_round(attacker, defender, task, int(number), table)
    return stored_round(attacker, defender, int(number) - 1, table)


@cache
def _opened(name: str) -> Attacker:
    return open_attacker(name, Options(tries=TRIES))


def _written(name: str, brief: Brief) -> tuple[DemoCase | None, tuple[str, ...]]:
    (reply,) = _opened(name).craft([brief])
    if reply.text is None:
        return None, (reply.fault,)
    return _case(attempt(brief, reply.text), name)


# ---------------------------------------------------------------- a round
def _case(attempted: Attempt, attacker: str) -> tuple[DemoCase | None, tuple[str, ...]]:
    """Return an admitted incident, or why it was refused."""
    if attempted.scenario is None or attempted.admission is None:
        reasons = attempted.admission.reasons if attempted.admission else ()
        return None, reasons or (attempted.refusal,)
    title, row = f"Incident by: {attacker_in_words(attacker)} · {TASK_WORDS[attempted.brief.task]}", attempted.row
    return DemoCase(title, {}, attempted.brief.task, row["observation"], attempted.scenario.truth, {}), ()


def _bout(
    attacker: str,
    defender: str,
    title: str,
    asked: str,
    reasons: tuple[str, ...],
    before: DemoCase | None,
    case: DemoCase | None,
    table: TableName,
) -> Bout:
    answers = [each and ask(defender, each, table) for each in (before, case)]
    return Bout(attacker, defender, title, asked, reasons, before, answers[0], case, answers[1])
