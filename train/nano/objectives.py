"""Objectives of small models: a loss from one incident's prompt, from its right answer, or from a group of the model's own answers.

An incident is read once, without padding (in wide batches with it), and all its answers follow it in one sequence under a mask that hides them from each other.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional as F

from eval.steps import right_chain, share_of_steps
from players.codec import PromptCodec
from players.decode import Answers, answers
from players.reasons import Chain, action_by, parse_chain
from players.scoring import Score, score_reply
from rubric import TableName
from schema import LABELS, Row
from train.nano.forward import answer_losses
from train.nano.lessons import Lesson

if TYPE_CHECKING:
    from train.nano.batches import Ahead, Example

SCALE = 40  # tokens of an answer that losses are divided by, about as many as a chain has
CITATION, FORMAT = "defender.citation", "defender.format"
ANCHOR_EVERY = 4  # incidents of GRPO for which one labelled row is learned beside


# ---------------------------------------------------------------- from one row
Learned = tuple[torch.Tensor | None, dict[str, Any]]  # a loss, None if nothing is learned, and what is logged


class Objective:
    """Learn from rows: `draw` prepares some together, `loss` learns from one. A row's `index` is its place in the stream.

    Of a wide batch `lessons` says what is learned, `lesson_loss` is the loss; `reference` is a frozen model whose logits it needs, if any.
    `compiles` says that steps are many enough for the model to be compiled first, `answered` that it learns from right answers.
    """

    reference: Any = None
    compiles = True
    answered = True

    def draw(self, model: Any, coder: PromptCodec, rows: Sequence[Row]) -> list[Any]:
        """Return what `loss` needs for each row; made for all before any is learned from."""
        return [None] * len(rows)

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Any) -> Learned:
        """Return the loss of a row, and what is logged of it."""
        raise NotImplementedError

    def lessons(
        self, model: Any, coder: PromptCodec, ahead: Ahead, examples: Sequence[Example]
    ) -> tuple[list[Lesson], list[dict[str, Any]]]:
        """Return what is learned from each example of a wide batch (no answers: nothing), and what is logged of it."""
        lessons = [self.lesson(example) for example in examples]
        return lessons, [{"tokens": lesson.size} for lesson in lessons]

    def lesson(self, example: Example) -> Lesson:
        """Return what is learned from an example alone."""
        raise NotImplementedError

    def anchors(self, coder: PromptCodec, examples: Sequence[Example]) -> list[Lesson]:
        """Return labelled lessons that are learned beside."""
        return []

    def lesson_loss(
        self, coder: PromptCodec, lessons: Sequence[Lesson], logits: torch.Tensor, start: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the sum of the losses of lessons, and what is logged of them.

        Args:
            coder: of the model.
            lessons: what is learned.
            logits: before each token of the answers, lesson after lesson.
            start: the same of `reference`; None if there is none.
        """
        return answer_losses(lessons, logits), {}


class LanguageModelling(Objective):
    """Next-token loss on a prompt alone: no label, no verifier."""

    answered = False

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Any) -> Learned:
        tokens = torch.tensor([coder.prompt(row)])
        hidden = model.model(tokens).last_hidden_state[0, :-1]
        loss = F.cross_entropy(model.lm_head(hidden), tokens[0, 1:])
        return loss, {"loss": loss.item(), "tokens": tokens.numel()}

    def lesson(self, example: Example) -> Lesson:
        return Lesson(example.prompt[:1], [example.prompt[1:]])


class Supervised(Objective):
    """Loss on the right answer alone."""

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Any) -> Learned:
        return _answer_loss(model, *coder.lesson(row))

    def lesson(self, example: Example) -> Lesson:
        return Lesson(example.prompt, [example.answer])


def _answer_loss(model: Any, prompt: list[int], answer: list[int]) -> Learned:
    """Return the mean loss of an answer's tokens after a prompt."""
    hidden = model.model(torch.tensor([prompt + answer])).last_hidden_state[0, len(prompt) - 1 : -1]
    loss = F.cross_entropy(model.lm_head(hidden), torch.tensor(answer))
    return loss, {"loss": loss.item(), "tokens": len(prompt) + len(answer)}


def logits_of(model: Any, prompt: Sequence[int], replies: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Return the logits before each token of several answers to one prompt (tokens x vocabulary each); the prompt is read once.

    The answers stand one after another in one sequence; the mask lets each see the prompt and itself alone, and its positions count on from the prompt.
    """
    first, size = len(prompt), len(prompt) + sum(map(len, replies))
    mask = torch.ones(size, size, dtype=torch.bool).tril()
    positions, spans, start = list(range(first)), [], first
    for reply in replies:
        end = start + len(reply)
        mask[start:end, first:start] = False
        positions += range(first, first + len(reply))
        spans.append((start, end))
        start = end
    tokens = torch.tensor([[*prompt, *(token for reply in replies for token in reply)]])
    output = model.model(tokens, attention_mask=mask[None, None], position_ids=torch.tensor([positions]))
    hidden = output.last_hidden_state[0]
    before = [torch.cat((hidden[first - 1 : first], hidden[start : end - 1])) for start, end in spans]
    return list(model.lm_head(torch.cat(before)).split([len(reply) for reply in replies]))


# ---------------------------------------------------------------- from rewards
class Judged(NamedTuple):
    """How an answer was judged: its score, whether its action is the one that follows from the chain of reasons in it, and which share of the chain's
    steps is right (0 where that is not asked)."""

    score: Score
    faithful: bool
    steps: float = 0.0

    @property
    def honest(self) -> bool:
        """Return whether the action is right and follows from the chain: a contradiction is no merit, whatever it hits."""
        return self.score.right and self.faithful


def judge(reply: str, row: Row, table: TableName, right: Chain | None = None) -> Judged:
    """Score a reply to a row; one that cannot be read is not faithful. With the right chain its steps are scored too."""
    score = score_reply(reply, row, table)
    if score.triage is None:
        return Judged(score, faithful=False)
    chain = parse_chain(score.triage.rationale)
    steps = share_of_steps(chain, right) if right and (chain.reasons or chain.rung) else 0.0
    return Judged(score, action_by(chain) == score.action, steps)


def judge_group(table: TableName, steps: bool, row: Row, replies: Sequence[str]) -> list[Judged]:
    """Score the replies to a row, on request step by step."""
    right = right_chain(row["observation"]) if steps else None
    return [judge(reply, row, table, right) for reply in replies]


class Group(NamedTuple):
    """A group of answers to one row with how they were judged, and the seconds that judging took.

    `shares`: each action's share of the answers to all rows that were drawn together, add-one smoothed, so that none is 0.
    """

    prompt: list[int]
    answers: Answers
    judged: list[Judged]
    judging_s: float
    shares: list[float]


class GroupReward(Objective):
    """Draw groups of answers and judge them.

    Args:
        table: the reward table.
        group: answers to an incident.
        temperature: of the samples.
        seed: of the samples, with a row's index.
        steps: weight of the share of right steps in a chain; 0 does not score them.
    """

    compiles = False
    answered = False

    def __init__(
        self, *, table: TableName, group: int = 8, temperature: float = 1.0, seed: int = 0, steps: float = 0.0
    ) -> None:
        self.table, self.group, self.temperature, self.seed, self.steps = table, group, temperature, seed, steps

    def draw(self, model: Any, coder: PromptCodec, rows: Sequence[Row]) -> list[Group]:
        prompts = [coder.prompt(row) for row in rows]
        groups = []
        for row, prompt, replies in zip(
            rows, prompts, self._sample(model, coder, prompts, [row["index"] for row in rows]), strict=True
        ):
            began = time.perf_counter()
            judged = judge_group(self.table, bool(self.steps), row, [coder.text(tokens) for tokens in replies.tokens])
            groups.append(Group(prompt, replies, judged, time.perf_counter() - began, []))
        return _with_shares(groups)

    def _sample(
        self, model: Any, coder: PromptCodec, prompts: Sequence[list[int]], places: Sequence[int]
    ) -> list[Answers]:
        """Return a group of answers to each prompt; `places` are those of the rows in the stream."""
        seeds = [(self.seed * 1_000_003 + place) % (1 << 62) for place in places]
        return answers(
            model,
            prompts,
            number=self.group,
            temperature=self.temperature,
            longest=coder.longest,
            end=coder.end,
            seeds=seeds,
        )

    def lessons(
        self, model: Any, coder: PromptCodec, ahead: Ahead, examples: Sequence[Example]
    ) -> tuple[list[Lesson], list[dict[str, Any]]]:
        """Draw a group for each example, which the workers judge, and say what is learned from it."""
        prompts, places = [example.prompt.tolist() for example in examples], [example.place for example in examples]
        drawn = self._sample(model, coder, prompts, places)
        began = time.perf_counter()
        judged = ahead.judge(
            partial(judge_group, self.table, bool(self.steps)), places, [replies.tokens for replies in drawn]
        )
        judging_s = (time.perf_counter() - began) / len(examples)
        groups = [Group(*parts, judging_s, []) for parts in zip(prompts, drawn, judged, strict=True)]
        groups = _with_shares(groups)
        return [self.group_lesson(coder, group) for group in groups], [self.log(group) for group in groups]

    def group_lesson(self, coder: PromptCodec, group: Group) -> Lesson:
        """Return what is learned from a group; no answers if nothing."""
        raise NotImplementedError

    def log(self, group: Group) -> dict[str, Any]:
        """Return what a group tells of the policy."""
        scores = [reply.score for reply in group.judged]
        rewards = [score.reward for score in scores]
        return {
            "reward": statistics.fmean(rewards),
            "accuracy": statistics.fmean(score.right for score in scores),
            "faithful": statistics.fmean(reply.faithful for reply in group.judged),
            **({"steps_right": statistics.fmean(reply.steps for reply in group.judged)} if self.steps else {}),
            "format_ok": statistics.fmean(score.action is not None for score in scores),
            "frac_reward_zero_std": float(max(rewards) - min(rewards) < 1e-6),
            "entropy": group.answers.entropy,
            **{
                name.replace("defender.", "triage/"): statistics.fmean(score.components[name] for score in scores)
                for name in scores[0].components
            },
            **{
                f"triage/share/{label}": statistics.fmean(score.action == label for score in scores) for label in LABELS
            },
            "tokens": len(group.prompt) + sum(map(len, group.answers.tokens)),
            "judging_s": group.judging_s,
        }


def _with_shares(groups: Sequence[Group]) -> list[Group]:
    """Put into each group which share of all answers each action has."""
    actions = [reply.score.action for group in groups for reply in group.judged]
    shares = [(actions.count(label) + 1) / (len(actions) + len(LABELS)) for label in LABELS]
    return [group._replace(shares=shares) for group in groups]


class Advantage(NamedTuple):
    """Weights of an answer's tokens: those of the chain and the cited line, and those of the action."""

    chain: float
    action: float


class Push(NamedTuple):
    """An answer of a group once, however often it came.

    `weights`: of each token's log-probability, the answers' advantages over the group's size. `share`: of the group. `action`: where the action stands
    among the tokens; their number where there is none. `prices`: what each of the five actions costs beside.
    """

    tokens: tuple[int, ...]
    weights: list[float]
    share: float
    action: int
    prices: list[float]


class GRPO(GroupReward):
    """GRPO (Z. Shao and others, DeepSeekMath, 2024): each answer is pushed by how it stands in its group.

    On-policy with one step a batch, so the ratio of the policies is 1 and clipping never bites; the sum over tokens is divided by a
    constant (Dr. GRPO, Z. Liu and others, 2025), so that long answers are not favoured. Decision, citation and format are each set against their
    own group mean and spread, so that the small bonus for a cited line is learned beside the decision, and push the tokens that they speak of: the
    chain and the cited line all three, the action decision and form. A decision counts only if it is right and follows from the chain, so the chain
    is what is learned, not a guess behind it; on request (`steps`) each right step of the chain counts too. It counts as right or wrong: with a table's figures a policy that knows little first learns
    the action that is wrong most cheaply, and then explores no other.

    `pushes` says what a group asks of each answer's tokens, `push_loss` is the loss of pushes of one group or of many.

    Args:
        entropy: weight of a bonus for an action that is not certain.
        balance: weight of a bonus for actions that were rare in the batch, so that no action dies out; without it the first two that are told apart
            starve the other three.
        kl: weight of the divergence from the start policy, over the whole vocabulary at each token of the answers.
        reference: the start policy, frozen; None without that term.
        anchor: labelled rows that are learned beside, one for every `ANCHOR_EVERY` incidents, so that form and rationale stay what SFT made them.
        others: as of `GroupReward`.
    """

    def __init__(
        self,
        *,
        entropy: float = 0.0,
        balance: float = 0.0,
        kl: float = 0.0,
        reference: Any = None,
        anchor: Sequence[Row] = (),
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.entropy, self.balance, self.anchor = entropy, balance, anchor
        self.kl, self.reference = kl, reference if kl else None
        self._anchors: dict[int, Lesson] = {}

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Group) -> Learned:
        """Compare the answers of a row's group; equal ones are read once."""
        loss, log = self._group_loss(model, coder, drawn)
        if not self.anchor or row["index"] % ANCHOR_EVERY:
            return loss, log
        lesson = self._anchor_lesson(coder, row["index"])
        anchor_loss, anchor_log = _answer_loss(model, list(lesson.prompt), list(lesson.answers[0]))
        return anchor_loss if loss is None else loss + anchor_loss, {**log, "anchor_loss": anchor_log["loss"]}

    def _group_loss(self, model: Any, coder: PromptCodec, drawn: Group) -> Learned:
        log, pushes = self.log(drawn), self.pushes(coder, drawn)
        if not self.teaches(pushes):
            return None, log
        replies = [push.tokens for push in pushes]
        start = None
        if self.reference is not None:
            with torch.no_grad():
                start = torch.cat(logits_of(self.reference, drawn.prompt, replies))
        loss, parts = self.push_loss(coder, pushes, torch.cat(logits_of(model, drawn.prompt, replies)), start)
        return loss, {**log, "loss": loss.item(), **parts}

    # -- wide batches
    def group_lesson(self, coder: PromptCodec, group: Group) -> Lesson:
        pushes = self.pushes(coder, group)
        taught = pushes if self.teaches(pushes) else []
        return Lesson(group.prompt, [push.tokens for push in taught], taught)

    def lesson_loss(
        self, coder: PromptCodec, lessons: Sequence[Lesson], logits: torch.Tensor, start: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return self.push_loss(coder, [push for lesson in lessons for push in lesson.asked], logits, start)

    def anchors(self, coder: PromptCodec, examples: Sequence[Example]) -> list[Lesson]:
        if not self.anchor:
            return []
        places = [example.place for example in examples if example.place % ANCHOR_EVERY == 0]
        return [self._anchor_lesson(coder, place) for place in places]

    def _anchor_lesson(self, coder: PromptCodec, place: int) -> Lesson:
        """Return the labelled lesson beside the row at a place of the stream."""
        number = place // ANCHOR_EVERY % len(self.anchor)
        if number not in self._anchors:
            row = self.anchor[number]
            self._anchors[number] = Lesson(coder.prompt(row), [coder.answer(row)])
        return self._anchors[number]

    # -- what a group asks
    def advantages(self, judged: Sequence[Judged]) -> list[Advantage]:
        """Return how each of a group's answers is pushed."""
        decisions = standard_scores([float(reply.honest) for reply in judged])
        citations, formats = (
            standard_scores([reply.score.components[name] for reply in judged]) for name in (CITATION, FORMAT)
        )
        steps = [self.steps * score for score in standard_scores([reply.steps for reply in judged])]
        return [
            Advantage(chain=decision + citation + form + step, action=decision + form)
            for decision, citation, form, step in zip(decisions, citations, formats, steps, strict=True)
        ]

    def pushes(self, coder: PromptCodec, group: Group) -> list[Push]:
        """Return a group's answers, equal ones together, each with the weights of its tokens."""
        prices = [self.balance * math.log(share) for share in group.shares]
        pushes: dict[tuple[int, ...], Push] = {}
        for tokens, advantage in zip(map(tuple, group.answers.tokens), self.advantages(group.judged), strict=True):
            push = pushes.get(tokens)
            if push is None:
                push = Push(tokens, [0.0] * len(tokens), 0.0, coder.places(tokens)[1], prices)
            chain, action = (weight / self.group for weight in advantage)
            weights = [weight + (chain if at < push.action else action) for at, weight in enumerate(push.weights)]
            pushes[tokens] = push._replace(weights=weights, share=push.share + 1 / self.group)
        return list(pushes.values())

    def teaches(self, pushes: Sequence[Push]) -> bool:
        """Return whether anything is learned from pushes."""
        return bool(self.entropy or self.balance or self.kl) or any(any(push.weights) for push in pushes)

    def push_loss(
        self, coder: PromptCodec, pushes: Sequence[Push], logits: torch.Tensor, start: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of the pushes of one group or of several (their sum), and what is logged of it.

        Args:
            pushes: what is asked, one push after another in the logits.
            coder, logits, start: as of `lesson_loss`.
        """
        tokens = torch.tensor([token for push in pushes for token in push.tokens])
        weights = torch.tensor([weight for push in pushes for weight in push.weights])
        likelihoods = F.log_softmax(logits / self.temperature, dim=-1)
        loss = -(weights * likelihoods.gather(1, tokens[:, None])[:, 0]).sum()
        if self.entropy or self.balance:
            loss = loss + self._price(coder, pushes, logits)
        if start is None:
            return loss / SCALE, {}
        shares = torch.tensor([push.share for push in pushes for _ in push.tokens])
        apart = likelihoods - F.log_softmax(start / self.temperature, dim=-1)
        divergence = shares @ (likelihoods.exp() * apart).sum(-1)
        return (loss + self.kl * divergence) / SCALE, {"kl": (divergence / shares.sum()).item()}

    def _price(self, coder: PromptCodec, pushes: Sequence[Push], logits: torch.Tensor) -> torch.Tensor:
        """Return what the choice of the actions costs: certainty, and actions that are common."""
        firsts = accumulate((len(push.tokens) for push in pushes), initial=0)
        acting = [(first, push) for first, push in zip(firsts, pushes, strict=False) if push.action < len(push.tokens)]
        if not acting:
            return torch.zeros(())
        places = torch.tensor([first + push.action for first, push in acting])
        choice = F.log_softmax(logits[places][:, coder.actions] / self.temperature, dim=-1)
        prices = self.entropy * choice + torch.tensor([push.prices for _, push in acting])
        return torch.tensor([push.share for _, push in acting]) @ (choice.exp() * prices).sum(-1)


def standard_scores(values: Sequence[float]) -> list[float]:
    """Return how far each value lies from the mean, in standard deviations; 0 if all are equal."""
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    return [(value - mean) / spread if spread > 1e-6 else 0.0 for value in values]


class RejectionSampling(GroupReward):
    """Learn the best-paid answer of a group whose action is right and follows from its chain; the plain competitor of GRPO."""

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Group) -> Learned:
        log, best = self.log(drawn), self._best(drawn)
        if best is None:
            return None, log
        loss, answer_log = _answer_loss(model, drawn.prompt, best)
        return loss, {**log, "loss": answer_log["loss"]}

    def group_lesson(self, coder: PromptCodec, group: Group) -> Lesson:
        best = self._best(group)
        return Lesson(group.prompt, [] if best is None else [best])

    def _best(self, group: Group) -> list[int] | None:
        judged = group.judged
        best = max(range(self.group), key=lambda index: (judged[index].honest, judged[index].score.reward))
        return group.answers.tokens[best] if judged[best].honest else None
