"""What is right for the attacker's seat of every model: how its replies are judged and paid, and which defender it meets.

What an incident earns is the rubric's (`rubric.score_attacker`): the mean over several sampled answers of the defender, whose share of right ones is the
success rate of the hardened table. An incident that is not what was asked for earns admission alone, so that all five truths are played; one that comes
again and again within a step is refused, as the gate refuses a play that was seen before.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from generator.known_plays import KNOWN_PLAYS
from players.attackers.attempts import attempt, refusal_kinds
from players.attackers.base import asked_in_turn
from rubric import TABLES, AttackerTurn, TableName, reward_of, score_attacker
from schema import LABELS, Label, Row
from verifier.decision import judge_observation
from verifier.plausibility import MAX_SEEN

ANSWERS = 4  # of the defender to an incident


# ---------------------------------------------------------------- a reply
class Question(NamedTuple):
    """What asks a defender about an incident, in its model's own form, and how many tokens that is."""

    prompt: Any
    size: int


class Crafted(NamedTuple):
    """What became of a reply. `question` is for a defender (None if it was refused), `refusal` is its kind in words, `hole` what is wrong with the
    verifier itself."""

    turn: AttackerTurn
    play: str
    truth: Label | None
    question: Question | None
    content: dict[str, Any]
    refusal: str
    hole: str = ""


def crafted(row: Row, text: str | None, *, gated: bool, ask: Callable[[Row], Question], most: int) -> Crafted:
    """Judge a reply to a brief by reader, schema and, if it is asked, the gate.

    Args:
        row: of `train.attacks.brief_row`.
        text: the reply; None for none.
        gated: whether the gate is asked.
        ask: makes the question of an incident as defenders are shown it.
        most: tokens of a question.
    """
    made = attempt(row["brief"], text, salt=row["salt"], gated=gated)
    if made.scenario is None or made.admission is None:
        return Crafted(made.turn(), "", None, None, {}, refusal_kinds(made)[0][1])
    shown, truth = made.row, made.scenario.truth.action
    question = ask(dict(shown))
    if question.size > most:
        return _refused("it is longer than a defender's prompt may be")
    judged = judge_observation(shown["observation"]).action
    hole = "" if judged == truth else f"judge_observation says {judged}, the environment {truth}"
    return Crafted(made.turn(), made.admission.play, truth, question, dict(made.craft.content or {}), "", hole)


def _refused(reason: str) -> Crafted:
    return Crafted(AttackerTurn(valid=True, reasons=(reason,)), "", None, None, {}, reason)


def without_repeats(groups: Sequence[Sequence[Crafted]]) -> list[list[Crafted]]:
    """Refuse what comes too often within a step: a play with a question of the same size."""
    times: Counter[str] = Counter()

    def allowed(one: Crafted) -> Crafted:
        if one.question is None:
            return one
        name = f"{one.play} {one.question.size}"
        times[name] += 1
        return one if times[name] <= MAX_SEEN else _refused("this play was seen before")

    return [[allowed(one) for one in group] for group in groups]


# ---------------------------------------------------------------- what it earns
def deception_reward(one: Crafted, right: float | None, *, on_target: bool, table: TableName) -> float:
    """Return what an incident earns over a defender's `ANSWERS` answers, of which the share `right` was right; None if it was not asked."""
    weights = TABLES[table]
    if right is None or not on_target:
        return reward_of(score_attacker(one.turn, weights))
    rate = (right * ANSWERS + 1) / (ANSWERS + 2)  # Laplace's rule of succession, as the environment has it
    novel = one.play not in KNOWN_PLAYS
    fooled, known = (
        reward_of(score_attacker(AttackerTurn(valid=True, novel=novel, fooled=fooled, success_rate=rate), weights))
        for fooled in (True, False)
    )
    return (1 - right) * fooled + right * known


def attack_figures(places: Sequence[int], group: Sequence[Crafted], rights: Sequence[float | None]) -> dict[str, float]:
    """Return what the log says of incidents: shares of all, and of the admitted ones."""
    admitted = [(one, right) for one, right in zip(group, rights, strict=True) if right is not None]
    asked = [one.truth == asked_in_turn(place) for place, one in zip(places, group, strict=True)]
    return {
        "admitted": len(admitted) / len(group),
        "unreadable": statistics.fmean(not one.turn.valid for one in group),
        "on_target": statistics.fmean(asked),
        **({"fooled": statistics.fmean(1 - right for _, right in admitted)} if admitted else {}),
        "novel": statistics.fmean(one.play not in KNOWN_PLAYS for one, _ in admitted) if admitted else 0.0,
        "distinct": len({one.play for one, _ in admitted}) / len(group),
        **{f"truth/{label}": statistics.fmean(one.truth == label for one in group) for label in LABELS},
    }


# ---------------------------------------------------------------- what is kept
class Step(NamedTuple):
    """The incidents of a step, side by side: the rows of their briefs, what became of them, and the share of an opponent's right answers (None if it was
    not asked). `chance` names the draw of those that are kept."""

    rows: Sequence[Row]
    group: Sequence[Crafted]
    rights: Sequence[float | None]
    opponent: int
    chance: str


Store = Callable[[Step], None]


# ---------------------------------------------------------------- the defenders that it plays against
def draw_opponent(seed: int, place: int, number: int, wins: Mapping[int, float]) -> int:
    """Draw a defender's generation by how hard it is (prioritised fictitious self-play; O. Vinyals and others, AlphaStar, 2019).

    Args:
        seed: of the draws.
        place: of the stream's incidents that it is to meet.
        number: how many generations there are.
        wins: the attacker's share of fooled answers against each that it has met.
    """
    weights = [(1 - wins.get(generation, 0.5)) ** 2 + 0.02 for generation in range(number)]
    return Random(f"{seed}/{place}").choices(range(number), weights)[0]
