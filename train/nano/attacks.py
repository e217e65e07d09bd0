"""The attacker's seat in self-play: groups of incidents, judged by the gate and by a frozen defender's answers, and pushed by how they stand in their group.

What an incident earns is the rubric's (`rubric.score_attacker`): the mean over several sampled answers of the defender, whose share of right ones is the
success rate of the hardened table. An incident that is not what was asked for earns admission alone, so that all five truths are played; one that comes
again and again within a step is refused, as the gate refuses a play that was seen before.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from generator.known_plays import KNOWN_PLAYS
from players.attackers.attempts import attempt, brief_of
from players.attackers.base import asked_in_turn
from players.codec import CONTEXT, PromptCodec
from players.decode import Answers, answers
from players.prompt import parse
from rubric import TABLES, AttackerTurn, reward_of, score_attacker
from schema import LABELS, Label, Row, Task
from tasks.registry import Split
from train.archive import StoredIncident
from train.nano.batches import tokenizer_at
from train.nano.lessons import Lesson
from train.nano.objectives import GRPO, Push, standard_scores
from verifier.decision import judge_observation
from verifier.plausibility import MAX_SEEN

if TYPE_CHECKING:
    from train.nano.batches import Ahead, Example

ANSWERS = 4  # of the defender to an incident
TOGETHER = 512  # incidents whose answers are written side by side
STORED = 48  # incidents of a step that are kept
NO_CHANCE = "no answer was right: does the window say what decides?"


def brief_row(salt: str, tasks: Sequence[Task], split: Split, index: int) -> Row:
    """Return the row at an index of a stream: a brief, each action asked for in turn, and the salt of its world."""
    task = tasks[index // len(LABELS) % len(tasks)]
    brief = brief_of(task, index, split=split, salt=salt, asked=asked_in_turn(index))
    return {"id": brief.id, "brief": brief, "salt": salt}


# ---------------------------------------------------------------- in the workers
class Crafted(NamedTuple):
    """What became of a reply. `prompt` asks a defender about it (empty if it was refused), `refusal` is its kind in words, `hole` what is wrong with the
    verifier itself."""

    turn: AttackerTurn
    play: str
    truth: Label | None
    prompt: np.ndarray
    content: dict[str, Any]
    refusal: str
    hole: str = ""


def craft_group(tokenizer: Path, gated: bool, row: Row, texts: Sequence[str]) -> list[Crafted]:
    """Judge the replies to a brief by reader, schema and, if it is asked, the gate."""
    coder = PromptCodec(tokenizer_at(tokenizer))
    return [_crafted(coder, row, text, gated=gated) for text in texts]


def _crafted(coder: PromptCodec, row: Row, text: str, *, gated: bool) -> Crafted:
    made = attempt(row["brief"], text, salt=row["salt"], gated=gated)
    nothing = np.zeros(0, np.uint16)
    if made.scenario is None or made.admission is None:
        return Crafted(made.turn(), "", None, nothing, {}, kind_of_refusal(made.refusal))
    shown, truth = made.row, made.scenario.truth.action
    tokens = coder.read(dict(shown))
    if len(tokens) + coder.longest > CONTEXT:
        reason = "it is longer than a defender's prompt may be"
        return Crafted(AttackerTurn(valid=True, reasons=(reason,)), "", None, nothing, {}, reason)
    judged = judge_observation(shown["observation"]).action
    hole = "" if judged == truth else f"judge_observation says {judged}, the environment {truth}"
    return Crafted(
        made.turn(), made.admission.play, truth, np.array(tokens, np.uint16), dict(made.craft.content or {}), "", hole
    )


def kind_of_refusal(reason: str) -> str:
    """Return a refusal without what is special to one incident, so that its like can be counted."""
    first = reason.split("; ")[0]
    return re.sub(r"'[^']*'|\"[^\"]*\"|L\d+-\d+|\d+(?:\.\d+){0,3}", "*", first)[:120]


# ---------------------------------------------------------------- the defenders that it plays against
class Opponents:
    """Frozen defenders, drawn by how hard they are (prioritised fictitious self-play; O. Vinyals and others, AlphaStar, 2019).

    Args:
        coder: of their tokenizer.
        models: generation after generation.
        wins: of each, the attacker's share of fooled answers so far; None where it was not met.
        seed: of the draws.
    """

    def __init__(self, coder: PromptCodec, models: Sequence[Any], wins: Sequence[float | None], seed: int) -> None:
        self.coder, self.models, self._seed = coder, models, seed
        self._weights = [(1 - (0.5 if win is None else win)) ** 2 + 0.02 for win in wins]

    def draw(self, place: int) -> int:
        """Return the generation that the incidents at a place of the stream are played against."""
        return Random(f"{self._seed}/{place}").choices(range(len(self.models)), self._weights)[0]


# ---------------------------------------------------------------- the objective
Store = Callable[[Sequence[StoredIncident], Sequence[dict[str, Any]], Counter[str]], None]


class Deceive(GRPO):
    """GRPO for the attacker's seat.

    Args:
        opponents: who answers.
        store: is called with the incidents of a step that are kept, with what looks like a hole, and with the refusals by kind.
        round_: of the run, for what is kept.
        rows: gives the row at an index of the stream.
        gated: whether the gate is asked.
        learns: whether the seat learns; one that is frozen plays alone.
        others: as of `GRPO`; the bonuses for actions are not of this seat.
    """

    def __init__(
        self,
        *,
        opponents: Opponents,
        store: Store,
        round_: int,
        rows: Callable[[int], Row],
        gated: bool = True,
        learns: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.opponents, self._store, self._round, self._rows = opponents, store, round_, rows
        self._gated, self._learns = gated, learns

    def lessons(
        self, model: Any, coder: PromptCodec, ahead: Ahead, examples: Sequence[Example]
    ) -> tuple[list[Lesson], list[dict[str, Any]]]:
        """Draw a group of incidents for each brief, let a defender answer those that the gate admits, and say what is learned."""
        prompts, places = [example.prompt.tolist() for example in examples], [example.place for example in examples]
        drawn = self._sample(model, coder, prompts, places)
        began = time.perf_counter()
        crafted = ahead.judge(
            partial(craft_group, ahead.tokenizer, self._gated), places, [reply.tokens for reply in drawn]
        )
        crafted = _without_repeats(crafted)
        judging_s = (time.perf_counter() - began) / len(examples)
        opponent = self.opponents.draw(places[0])
        rights = self._answered(opponent, [one for group in crafted for one in group], places[0])
        shares = [rights[start : start + self.group] for start in range(0, len(rights), self.group)]
        lessons, logs = [], []
        for place, prompt, replies, group, share in zip(places, prompts, drawn, crafted, shares, strict=True):
            rewards = [
                self._reward(one, right, on_target=one.truth == asked_in_turn(place))
                for one, right in zip(group, share, strict=True)
            ]
            lessons.append(self._lesson(prompt, replies, rewards))
            logs.append(self._log(place, prompt, replies, group, share, rewards) | {"judging_s": judging_s})
        self._keep(places, crafted, shares, opponent)
        return lessons, logs

    def anchors(self, coder: PromptCodec, examples: Sequence[Example]) -> list[Lesson]:
        return super().anchors(coder, examples) if self._learns else []

    def _answered(self, opponent: int, crafted: Sequence[Crafted], place: int) -> list[float | None]:
        """Return the share of right answers of a defender to each incident; None for one that it did not get."""
        admitted = [index for index, one in enumerate(crafted) if one.truth]
        rights: list[float | None] = [None] * len(crafted)
        model, coder = self.opponents.models[opponent], self.opponents.coder
        for start in range(0, len(admitted), TOGETHER):
            part = admitted[start : start + TOGETHER]
            replies = answers(
                model,
                [crafted[index].prompt.tolist() for index in part],
                number=ANSWERS,
                temperature=1.0,
                longest=coder.longest,
                end=coder.end,
                seeds=[(self.seed * 7_919 + place * 1_000_003 + index) % (1 << 62) for index in part],
            )
            for index, reply in zip(part, replies, strict=True):
                actions = [(parse(coder.text(tokens)).answer or {}).get("action") for tokens in reply.tokens]
                rights[index] = statistics.fmean(action == crafted[index].truth for action in actions)
        return rights

    def _reward(self, one: Crafted, right: float | None, *, on_target: bool) -> float:
        """Return what an incident earns over the defender's answers."""
        table = TABLES[self.table]
        if right is None or not on_target:
            return reward_of(score_attacker(one.turn, table))
        rate = (right * ANSWERS + 1) / (ANSWERS + 2)  # Laplace's rule of succession, as the environment has it
        novel = one.play not in KNOWN_PLAYS
        turns = {
            fooled: AttackerTurn(valid=True, novel=novel, fooled=fooled, success_rate=rate) for fooled in (True, False)
        }
        return (1 - right) * reward_of(score_attacker(turns[True], table)) + right * reward_of(
            score_attacker(turns[False], table)
        )

    def _lesson(self, prompt: list[int], replies: Answers, rewards: Sequence[float]) -> Lesson:
        pushes: dict[tuple[int, ...], Push] = {}
        for tokens, score in zip(map(tuple, replies.tokens), standard_scores(rewards), strict=True):
            push = pushes.get(tokens) or Push(tokens, [0.0] * len(tokens), 0.0, len(tokens), [])
            weights = [weight + score / self.group for weight in push.weights]
            pushes[tokens] = push._replace(weights=weights, share=push.share + 1 / self.group)
        asked = list(pushes.values())
        taught = asked if self._learns and (self.kl or any(any(push.weights) for push in asked)) else []
        return Lesson(prompt, [push.tokens for push in taught], taught)

    def _log(
        self,
        place: int,
        prompt: Sequence[int],
        replies: Answers,
        group: Sequence[Crafted],
        rights: Sequence[float | None],
        rewards: Sequence[float],
    ) -> dict[str, Any]:
        asked = asked_in_turn(place)
        admitted = [(one, right) for one, right in zip(group, rights, strict=True) if right is not None]
        return {
            "reward": statistics.fmean(rewards),
            "admitted": len(admitted) / len(group),
            "unreadable": statistics.fmean(not one.turn.valid for one in group),
            "on_target": statistics.fmean(one.truth == asked for one in group),
            **({"fooled": statistics.fmean(1 - right for _, right in admitted)} if admitted else {}),
            "novel": statistics.fmean(one.play not in KNOWN_PLAYS for one, _ in admitted) if admitted else 0.0,
            "distinct": len({one.play for one, _ in admitted}) / len(group),
            "frac_reward_zero_std": float(max(rewards) - min(rewards) < 1e-6),
            "entropy": replies.entropy,
            **{f"truth/{label}": statistics.fmean(one.truth == label for one in group) for label in LABELS},
            "tokens": len(prompt) + sum(map(len, replies.tokens)),
        }

    def _keep(
        self,
        places: Sequence[int],
        crafted: Sequence[Sequence[Crafted]],
        shares: Sequence[Sequence[float | None]],
        opponent: int,
    ) -> None:
        """Hand on some of the step's incidents, and what looks like a hole."""
        admitted = [
            (place, one, right)
            for place, group, rights in zip(places, crafted, shares, strict=True)
            for one, right in zip(group, rights, strict=True)
            if right is not None
        ]
        chosen = Random(f"{self.seed}/{places[0]}").sample(admitted, min(STORED, len(admitted)))
        holes = [(found, found[1].hole) for found in admitted if found[1].hole]
        holes += [(found, NO_CHANCE) for found in chosen if not found[2] and not found[1].hole]
        rows = [self._stored(*found, opponent).model_dump() | {"hole": hole} for found, hole in holes]
        refusals = Counter(one.refusal for group in crafted for one in group if one.refusal)
        self._store([self._stored(*found, opponent) for found in chosen], rows, refusals)

    def _stored(self, place: int, one: Crafted, right: float, opponent: int) -> StoredIncident:
        row = self._rows(place)
        brief = row["brief"]
        return StoredIncident(
            round=self._round,
            opponent=opponent,
            task=brief.task,
            seed=brief.seed,
            split=brief.split,
            salt=row["salt"],
            asked=brief.asked,
            content=one.content,
            truth=one.truth,
            play=one.play,
            rights=round(right * ANSWERS),
            times=ANSWERS,
            gated=self._gated,
        )


def _without_repeats(crafted: Sequence[Sequence[Crafted]]) -> list[list[Crafted]]:
    """Refuse what comes too often within a step: a play with the same content."""
    seen: Counter[str] = Counter()
    kept = []
    for group in crafted:
        row = []
        for one in group:
            name = f"{one.play} {len(one.prompt)}"
            seen[name] += bool(one.truth)
            if one.truth and seen[name] > MAX_SEEN:
                turn = AttackerTurn(valid=True, reasons=("this play was seen before",))
                one = Crafted(turn, "", None, one.prompt[:0], {}, "this play was seen before")
            row.append(one)
        kept.append(row)
    return kept
