"""The attacker's seat of small models in self-play: groups of incidents, judged by the gate and by a frozen defender's answers, and pushed by how they stand
in their group. What is right for the seat of every model is in `train.deception`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from players.attackers.base import asked_in_turn
from players.codec import CONTEXT, PromptCodec
from players.decode import Answers, answers
from players.reply import parse
from schema import Row
from train.deception import (
    ANSWERS,
    Crafted,
    Question,
    Step,
    Store,
    attack_figures,
    crafted,
    deception_reward,
    draw_opponent,
    without_repeats,
)
from train.nano.batches import tokenizer_at
from train.nano.lessons import Lesson
from train.nano.objectives import GRPO, Push, standard_scores

if TYPE_CHECKING:
    from train.nano.batches import Ahead, Example

TOGETHER = 512  # incidents whose answers are written side by side


# ---------------------------------------------------------------- in the workers
def craft_group(tokenizer: Path, gated: bool, row: Row, texts: Sequence[str]) -> list[Crafted]:
    """Judge the replies to a brief by reader, schema and, if it is asked, the gate."""
    coder = PromptCodec(tokenizer_at(tokenizer))

    def ask(shown: Row) -> Question:
        tokens = coder.read(shown)
        return Question(np.array(tokens, np.uint16), len(tokens))

    return [crafted(row, text, gated=gated, ask=ask, most=CONTEXT - coder.longest) for text in texts]


# ---------------------------------------------------------------- the defenders that it plays against
class Opponents:
    """Frozen defenders, drawn by how hard they are.

    Args:
        coder: of their tokenizer.
        models: generation after generation.
        wins: the attacker's share of fooled answers against each that it has met.
        seed: of the draws.
    """

    def __init__(self, coder: PromptCodec, models: Sequence[Any], wins: Mapping[int, float], seed: int) -> None:
        self.coder, self.models, self._wins, self._seed = coder, models, wins, seed

    def draw(self, place: int) -> int:
        """Return the generation that the incidents at a place of the stream are played against."""
        return draw_opponent(self._seed, place, len(self.models), self._wins)


# ---------------------------------------------------------------- the objective
class Deceive(GRPO):
    """GRPO for the attacker's seat.

    Args:
        opponents: who answers.
        store: is handed each step.
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
        rows: Callable[[int], Row],
        gated: bool = True,
        learns: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.opponents, self._store, self._rows = opponents, store, rows
        self._gated, self._learns = gated, learns

    def lessons(
        self, model: Any, coder: PromptCodec, ahead: Ahead, examples: Sequence[Example]
    ) -> tuple[list[Lesson], list[dict[str, Any]]]:
        """Draw a group of incidents for each brief, let a defender answer those that the gate admits, and say what is learned."""
        prompts, places = [example.prompt.tolist() for example in examples], [example.place for example in examples]
        drawn = self._sample(model, coder, prompts, places)
        began = time.perf_counter()
        judge = partial(craft_group, ahead.tokenizer, self._gated)
        groups = without_repeats(ahead.judge(judge, places, [reply.tokens for reply in drawn]))
        judging_s = (time.perf_counter() - began) / len(examples)
        opponent = self.opponents.draw(places[0])
        flat = [one for group in groups for one in group]
        rights = self._answered(opponent, flat, places[0])
        shares = [rights[start : start + self.group] for start in range(0, len(rights), self.group)]
        lessons, logs = [], []
        for place, prompt, replies, group, share in zip(places, prompts, drawn, groups, shares, strict=True):
            rewards = [
                deception_reward(one, right, on_target=one.truth == asked_in_turn(place), table=self.table)
                for one, right in zip(group, share, strict=True)
            ]
            lessons.append(self._lesson(prompt, replies, rewards))
            logs.append(self._log(place, prompt, replies, group, share, rewards) | {"judging_s": judging_s})
        rows = [row for place in places for row in [self._rows(place)] * self.group]
        self._store(Step(rows, flat, rights, opponent, f"{self.seed}/{places[0]}"))
        return lessons, logs

    def anchors(self, coder: PromptCodec, examples: Sequence[Example]) -> list[Lesson]:
        return super().anchors(coder, examples) if self._learns else []

    def _answered(self, opponent: int, group: Sequence[Crafted], place: int) -> list[float | None]:
        """Return the share of right answers of a defender to each incident; None for one that it did not get."""
        admitted = [index for index, one in enumerate(group) if one.truth]
        rights: list[float | None] = [None] * len(group)
        model, coder = self.opponents.models[opponent], self.opponents.coder
        for start in range(0, len(admitted), TOGETHER):
            part = admitted[start : start + TOGETHER]
            replies = answers(
                model,
                [question.prompt.tolist() for index in part if (question := group[index].question)],
                number=ANSWERS,
                temperature=1.0,
                longest=coder.longest,
                end=coder.end,
                seeds=[(self.seed * 7_919 + place * 1_000_003 + index) % (1 << 62) for index in part],
            )
            for index, reply in zip(part, replies, strict=True):
                actions = [(parse(coder.text(tokens)).answer or {}).get("action") for tokens in reply.tokens]
                rights[index] = statistics.fmean(action == group[index].truth for action in actions)
        return rights

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
        return {
            "reward": statistics.fmean(rewards),
            **attack_figures([place] * len(group), group, rights),
            "frac_reward_zero_std": float(max(rewards) - min(rewards) < 1e-6),
            "entropy": replies.entropy,
            "tokens": len(prompt) + sum(map(len, replies.tokens)),
        }
