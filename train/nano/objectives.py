"""Objectives of small models: a loss from one incident's prompt, from its right answer, or from a group of the model's own answers.

An incident is read once, without padding, and all its answers follow it in one sequence under a mask that hides them from each other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from players.codec import LONGEST, PromptCodec
from players.decode import Answers, answers
from players.scoring import Score, score_reply
from rubric import TableName
from schema import LABELS, Row

SCALE = 10  # tokens of an answer that losses are divided by
CITATION, FORMAT = "defender.citation", "defender.format"
ANCHOR_EVERY = 4  # incidents of GRPO for which one labelled row is learned beside


# ---------------------------------------------------------------- from one row
Learned = tuple[torch.Tensor | None, dict[str, Any]]  # a loss, None if nothing is learned, and what is logged


class Objective:
    """Learn from rows: `draw` prepares some together, `loss` learns from one. A row's `index` is its place in the stream."""

    def draw(self, model: Any, coder: PromptCodec, rows: Sequence[Row]) -> list[Any]:
        """Return what `loss` needs for each row; made for all before any is learned from."""
        return [None] * len(rows)

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Any) -> Learned:
        """Return the loss of a row, and what is logged of it."""
        raise NotImplementedError


class LanguageModelling(Objective):
    """Next-token loss on a prompt alone: no label, no verifier."""

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Any) -> Learned:
        tokens = torch.tensor([coder.prompt(row)])
        hidden = model.model(tokens).last_hidden_state[0, :-1]
        loss = F.cross_entropy(model.lm_head(hidden), tokens[0, 1:])
        return loss, {"loss": loss.item(), "tokens": tokens.numel()}


class Supervised(Objective):
    """Loss on the right answer alone."""

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Any) -> Learned:
        return _answer_loss(model, coder.prompt(row), coder.answer(row))


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
class Group(NamedTuple):
    """A group of answers to one row with their rewards, and the seconds that judging took.

    `shares`: each action's share of the answers to all rows that were drawn together, add-one smoothed, so that none is 0.
    """

    prompt: list[int]
    answers: Answers
    judged: list[Score]
    judging_s: float
    shares: list[float]


class GroupReward(Objective):
    """Draw groups of answers and judge them.

    Args:
        table: the reward table.
        group: answers to an incident.
        temperature: of the samples.
        seed: of the samples, with a row's index.
    """

    def __init__(self, *, table: TableName, group: int = 8, temperature: float = 1.0, seed: int = 0) -> None:
        self.table, self.group, self.temperature, self.seed = table, group, temperature, seed

    def draw(self, model: Any, coder: PromptCodec, rows: Sequence[Row]) -> list[Group]:
        prompts = [coder.prompt(row) for row in rows]
        seeds = [(self.seed * 1_000_003 + row["index"]) % (1 << 62) for row in rows]
        drawn = answers(
            model, prompts, number=self.group, temperature=self.temperature, longest=LONGEST, end=coder.end, seeds=seeds
        )
        groups = []
        for row, prompt, replies in zip(rows, prompts, drawn, strict=True):
            began = time.perf_counter()
            judged = [score_reply(coder.text(tokens), row, self.table) for tokens in replies.tokens]
            groups.append(Group(prompt, replies, judged, time.perf_counter() - began, []))
        actions = [reply.action for group in groups for reply in group.judged]
        shares = [(actions.count(label) + 1) / (len(actions) + len(LABELS)) for label in LABELS]
        return [group._replace(shares=shares) for group in groups]

    def log(self, group: Group) -> dict[str, Any]:
        """Return what a group tells of the policy."""
        judged = group.judged
        rewards = [reply.reward for reply in judged]
        return {
            "reward": statistics.fmean(rewards),
            "accuracy": statistics.fmean(reply.right for reply in judged),
            "format_ok": statistics.fmean(reply.action is not None for reply in judged),
            "frac_reward_zero_std": float(max(rewards) - min(rewards) < 1e-6),
            "entropy": group.answers.entropy,
            **{
                name.replace("defender.", "triage/"): statistics.fmean(reply.components[name] for reply in judged)
                for name in judged[0].components
            },
            **{
                f"triage/share/{label}": statistics.fmean(reply.action == label for reply in judged) for label in LABELS
            },
            "tokens": len(group.prompt) + sum(map(len, group.answers.tokens)),
            "judging_s": group.judging_s,
        }


class Advantage(NamedTuple):
    """Weights of an answer's tokens: those of the rationale, of the cited line, and of the action."""

    rationale: float
    line: float
    action: float


class Push(NamedTuple):
    """An answer of a group once, however often it came: the sum of its advantages over the group's size, and its share of the group."""

    tokens: tuple[int, ...]
    advantage: Advantage
    share: float


class GRPO(GroupReward):
    """GRPO (Z. Shao and others, DeepSeekMath, 2024): each answer is pushed by how its reward stands in its group.

    On-policy with one step a batch, so the ratio of the policies is 1 and clipping never bites; the sum over tokens is divided by a
    constant (Dr. GRPO, Z. Liu and others, 2025), so that long answers are not favoured. Decision, citation and format are each set against their
    own group mean and spread, so that the small bonus for a cited line is learned beside the decision, and push the tokens that they speak of: the
    action its decision, the line before it both, and all tokens the form. The rationale, which nothing rewards, would only drift. A decision counts
    as right or wrong: with a table's figures a policy that knows little first learns the action that is wrong most cheaply, and then explores no
    other (train/LOG.md).

    Args:
        entropy: weight of a bonus for the entropy of each choice among the five actions, in nats.
        balance: weight of a bonus for the entropy of the actions over all answers drawn together: an action costs the logarithm of its share.
            Each choice may be as certain as it likes, and no action dies out; without it the first two that are told apart starve the other three.
        anchor: labelled rows that are learned beside, one for every `ANCHOR_EVERY` incidents, so that form and rationale stay what SFT made them.
        others: as of `GroupReward`.
    """

    def __init__(
        self, *, entropy: float = 0.0, balance: float = 0.0, anchor: Sequence[Row] = (), **others: Any
    ) -> None:
        super().__init__(**others)
        self.entropy, self.balance, self.anchor = entropy, balance, anchor

    def advantages(self, judged: Sequence[Score]) -> list[Advantage]:
        """Return how each of a group's answers is pushed."""
        decisions = _standard_scores([float(reply.right) for reply in judged])
        citations, formats = (
            _standard_scores([reply.components[name] for reply in judged]) for name in (CITATION, FORMAT)
        )
        return [
            Advantage(rationale=form, line=decision + citation + form, action=decision + form)
            for decision, citation, form in zip(decisions, citations, formats, strict=True)
        ]

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Group) -> Learned:
        """Compare the answers of a row's group; equal ones are read once."""
        loss, log = self._group_loss(model, coder, drawn)
        if not self.anchor or row["index"] % ANCHOR_EVERY:
            return loss, log
        labelled = self.anchor[row["index"] // ANCHOR_EVERY % len(self.anchor)]
        anchor_loss, anchor_log = _answer_loss(model, coder.prompt(labelled), coder.answer(labelled))
        return anchor_loss if loss is None else loss + anchor_loss, {**log, "anchor_loss": anchor_log["loss"]}

    def _group_loss(self, model: Any, coder: PromptCodec, drawn: Group) -> Learned:
        log = self.log(drawn)
        advantages = self.advantages(drawn.judged)
        if not any(map(any, advantages)) and not (self.entropy or self.balance):
            return None, log
        pushes = self._pushes(drawn.answers.tokens, advantages)
        price_of_share = self.balance * torch.tensor(drawn.shares).log()
        loss = torch.zeros(())
        for push, logits in zip(pushes, logits_of(model, drawn.prompt, [push.tokens for push in pushes]), strict=True):
            loss = self._with_answer(loss, coder, push, logits / self.temperature, price_of_share)
        return loss, {**log, "loss": loss.item()}

    def _pushes(self, replies: Sequence[Sequence[int]], advantages: Sequence[Advantage]) -> list[Push]:
        pushes: dict[tuple[int, ...], Push] = {}
        for tokens, advantage in zip(map(tuple, replies), advantages, strict=True):
            push = pushes.get(tokens, Push(tokens, Advantage(0.0, 0.0, 0.0), 0.0))
            total = Advantage(*(a + b / self.group for a, b in zip(push.advantage, advantage, strict=True)))
            pushes[tokens] = Push(tokens, total, push.share + 1.0 / self.group)
        return list(pushes.values())

    def _with_answer(
        self, loss: torch.Tensor, coder: PromptCodec, push: Push, logits: torch.Tensor, price_of_share: torch.Tensor
    ) -> torch.Tensor:
        """Add an answer's part to a group's loss."""
        line, action = coder.places(push.tokens)
        chosen = F.log_softmax(logits, dim=-1).gather(1, torch.tensor(push.tokens)[:, None])[:, 0]
        parts = chosen.tensor_split((line, action))  # rationale, line, action
        loss = loss - sum(weight * part.sum() for weight, part in zip(push.advantage, parts, strict=True)) / SCALE
        if (self.entropy or self.balance) and action < len(push.tokens):
            choice = F.log_softmax(logits[action, coder.actions], dim=-1)
            price = self.entropy * choice + price_of_share
            loss = loss + push.share * (choice.exp() * price).sum() / SCALE
        return loss


def _standard_scores(values: Sequence[float]) -> list[float]:
    """Return how far each value lies from the mean, in standard deviations; 0 if all are equal."""
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    return [(value - mean) / spread if spread > 1e-6 else 0.0 for value in values]


class RejectionSampling(GroupReward):
    """Learn the best-paid answer of a group if its action is right; the plain competitor of GRPO."""

    def loss(self, model: Any, coder: PromptCodec, row: Row, drawn: Group) -> Learned:
        best = max(range(self.group), key=lambda index: drawn.judged[index].reward)
        log = self.log(drawn)
        if not drawn.judged[best].right:
            return None, log
        loss, answer_log = _answer_loss(model, drawn.prompt, drawn.answers.tokens[best])
        return loss, {**log, "loss": answer_log["loss"]}
