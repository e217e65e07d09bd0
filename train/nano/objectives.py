"""What a small model learns from one incident: a loss from its prompt, from an answer, or from a group of its own answers.

An incident is read once, without padding, and all its answers follow it in one sequence under a mask that hides them from each other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from players.codec import LONGEST, Coder
from players.decode import Answers, answers
from players.scoring import Score, score_reply
from rubric import TableName
from schema import LABELS
from train.data import Row

SCALE = 10  # tokens of an answer that losses are divided by
DECISION, CITATION, FORMAT = "defender.decision", "defender.citation", "defender.format"
ANCHOR_EVERY = 4  # incidents of GRPO for which one labelled row is learned beside
KL_EVERY = 8  # incidents between two whose KL divergence is measured where it does not count


# ---------------------------------------------------------------- what is learned from one row
Learned = tuple[torch.Tensor | None, dict[str, Any]]  # a loss, or None where nothing is learned; what is logged


class Lesson:
    """What is learned from rows: `draw` prepares some together, `loss` learns from one."""

    def draw(self, model: Any, coder: Coder, rows: Sequence[Row]) -> list[Any]:
        """What is needed of each row before any is learned from."""
        return [None] * len(rows)

    def loss(self, model: Any, coder: Coder, row: Row, drawn: Any) -> Learned:
        """What is learned from a row."""
        raise NotImplementedError


class OfPrompt(Lesson):
    """Next-token loss on a prompt alone: no label, no verifier."""

    def loss(self, model: Any, coder: Coder, row: Row, drawn: Any) -> Learned:
        tokens = torch.tensor([coder.prompt(row)])
        hidden = model.model(tokens).last_hidden_state[0, :-1]
        loss = F.cross_entropy(model.lm_head(hidden), tokens[0, 1:])
        return loss, {"loss": loss.item(), "tokens": tokens.numel()}


class OfAnswer(Lesson):
    """Loss on the right answer alone."""

    def loss(self, model: Any, coder: Coder, row: Row, drawn: Any) -> Learned:
        return _of_answer(model, coder.prompt(row), coder.answer(row))


def _of_answer(model: Any, prompt: list[int], told: list[int]) -> Learned:
    hidden = model.model(torch.tensor([prompt + told])).last_hidden_state[0, len(prompt) - 1 : -1]
    loss = F.cross_entropy(model.lm_head(hidden), torch.tensor(told))
    return loss, {"loss": loss.item(), "tokens": len(prompt) + len(told)}


def logits_of(model: Any, prompt: Sequence[int], told: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The logits before each token of several answers to one prompt (tokens x vocabulary each), the prompt read once.

    The answers stand one after another in one sequence; the mask lets each see the prompt and itself alone, and its places count on from the prompt.
    """
    first, size = len(prompt), len(prompt) + sum(map(len, told))
    seen = torch.ones(size, size, dtype=torch.bool).tril()
    places, spans, start = list(range(first)), [], first
    for answer in told:
        end = start + len(answer)
        seen[start:end, first:start] = False
        places += range(first, first + len(answer))
        spans.append((start, end))
        start = end
    tokens = torch.tensor([[*prompt, *(token for answer in told for token in answer)]])
    read = model.model(tokens, attention_mask=seen[None, None], position_ids=torch.tensor([places]))
    hidden = read.last_hidden_state[0]
    before = [torch.cat((hidden[first - 1 : first], hidden[start : end - 1])) for start, end in spans]
    return list(model.lm_head(torch.cat(before)).split([len(answer) for answer in told]))


# ---------------------------------------------------------------- what is learned from rewards
class Group(NamedTuple):
    """A group of answers to one row, what each earned, the seconds that judging took, and how often each action stands in the answers to all the
    rows that were drawn together (one more than counted, so none has a share of 0)."""

    prompt: list[int]
    answers: Answers
    judged: list[Score]
    judging_s: float
    shares: list[float]


class OfRewards(Lesson):
    """Draws groups of answers and judges them.

    Args:
        table: the reward table.
        group: answers to an incident.
        temperature: of the samples.
        seed: of the samples, with a row's place.
    """

    def __init__(self, *, table: TableName, group: int = 8, temperature: float = 1.0, seed: int = 0) -> None:
        self.table, self.group, self.temperature, self.seed = table, group, temperature, seed

    def draw(self, model: Any, coder: Coder, rows: Sequence[Row]) -> list[Group]:
        prompts = [coder.prompt(row) for row in rows]
        seeds = [(self.seed * 1_000_003 + row["place"]) % (1 << 62) for row in rows]
        drawn = answers(
            model, prompts, number=self.group, temperature=self.temperature, longest=LONGEST, end=coder.end, seeds=seeds
        )
        made = []
        for row, prompt, mine in zip(rows, prompts, drawn, strict=True):
            began = time.perf_counter()
            judged = [score_reply(coder.text(tokens), row, self.table) for tokens in mine.tokens]
            made.append(Group(prompt, mine, judged, time.perf_counter() - began, []))
        said = [one.action for group in made for one in group.judged]
        shares = [(said.count(label) + 1) / (len(said) + len(LABELS)) for label in LABELS]
        return [group._replace(shares=shares) for group in made]

    def log(self, drawn: Group) -> dict[str, Any]:
        """What a group tells of the policy."""
        judged = drawn.judged
        rewards = [one.reward for one in judged]
        return {
            "reward": statistics.fmean(rewards),
            "accuracy": statistics.fmean(one.right for one in judged),
            "format_ok": statistics.fmean(one.action is not None for one in judged),
            "frac_reward_zero_std": float(max(rewards) - min(rewards) < 1e-6),
            "entropy": drawn.answers.entropy,
            **{
                name.replace("defender.", "triage/"): statistics.fmean(one.components[name] for one in judged)
                for name in judged[0].components
            },
            **{f"triage/share/{label}": statistics.fmean(one.action == label for one in judged) for label in LABELS},
            "tokens": len(drawn.prompt) + sum(map(len, drawn.answers.tokens)),
            "judging_s": drawn.judging_s,
        }


class Grpo(OfRewards):
    """GRPO (Z. Shao and others, DeepSeekMath, 2024): each answer is pushed by how its reward stands in its group.

    On-policy with one step a batch, so the ratio of the policies is 1 and clipping never bites; the sum over tokens is divided by a
    constant (Dr. GRPO, Z. Liu and others, 2025), so that long answers are not favoured. Decision, citation and format are each set against their
    own group mean and spread, so that the small bonus for a cited line is learned beside the decision, and push what they speak of: the
    action its decision, the line before it both, and all tokens the form. The rationale, which nothing rewards, would only drift.

    Args:
        entropy: weight of a bonus for the entropy of each choice among the five actions, in nats.
        balance: weight of a bonus for the entropy of the actions over all answers drawn together: an action costs the logarithm of its share.
            Each choice may be as certain as it likes, and no action dies out; without it the first two that are told apart starve the other three.
        anchor: labelled rows that are learned beside, one for every `ANCHOR_EVERY` incidents, so that form and rationale stay what SFT made them.
        beta: weight of the KL divergence from `start`, estimated token by token (k3, J. Schulman, 2020).
        start: the frozen model that training began with; None leaves KL out.
        flat: whether a decision counts as right or wrong alone. With a table's figures a policy that knows little first learns the action
            that is wrong most cheaply, and then explores no other (train/LOG.md).
        others: as of `OfRewards`.
    """

    def __init__(
        self,
        *,
        entropy: float = 0.0,
        balance: float = 0.0,
        anchor: Sequence[Row] = (),
        beta: float = 0.0,
        start: Any = None,
        flat: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.entropy, self.balance, self.anchor = entropy, balance, anchor
        self.beta, self.start, self.flat = beta, start, flat

    def advantages(self, judged: Sequence[Score]) -> list[tuple[float, float, float]]:
        """How the rationale, the cited line and the action of each of a group's answers are pushed."""
        decisions = [float(one.right) if self.flat else one.components[DECISION] for one in judged]
        cited, formed = (_standing([one.components[name] for one in judged]) for name in (CITATION, FORMAT))
        return [(c, a + b + c, a + c) for a, b, c in zip(_standing(decisions), cited, formed, strict=True)]

    def loss(self, model: Any, coder: Coder, row: Row, drawn: Group) -> Learned:
        """Compare the answers of a row's group; equal ones are read once."""
        loss, log = self._of_group(model, coder, row, drawn)
        if not self.anchor or row["place"] % ANCHOR_EVERY:
            return loss, log
        known = self.anchor[row["place"] // ANCHOR_EVERY % len(self.anchor)]
        held, told = _of_answer(model, coder.prompt(known), coder.answer(known))
        return held if loss is None else loss + held, {**log, "anchor_loss": told["loss"]}

    def _of_group(self, model: Any, coder: Coder, row: Row, drawn: Group) -> Learned:
        log = self.log(drawn)
        advantages = self.advantages(drawn.judged)
        if not any(map(any, advantages)) and not (self.entropy or self.balance or self.beta):
            return None, log
        pushes: dict[tuple[int, ...], list[float]] = {}
        for tokens, push in zip(map(tuple, drawn.answers.tokens), advantages, strict=True):
            held = pushes.setdefault(tokens, [0.0] * 4)
            held[:] = [a + b / self.group for a, b in zip(held, (*push, 1.0), strict=True)]
        before: list[torch.Tensor] | None = None
        if self.start is not None and (self.beta or row["place"] % KL_EVERY == 0):
            with torch.no_grad():
                before = logits_of(self.start, drawn.prompt, list(pushes))
        price_of_share = self.balance * torch.tensor(drawn.shares).log()
        loss, kl = torch.zeros(()), 0.0
        for number, (tokens, logits) in enumerate(
            zip(pushes, logits_of(model, drawn.prompt, list(pushes)), strict=True)
        ):
            *sums, share = pushes[tokens]
            line, action = coder.places(tokens)
            which = torch.tensor(tokens)[:, None]
            spread = F.log_softmax(logits / self.temperature, dim=-1)
            said = spread.gather(1, which)[:, 0]
            parts = said.tensor_split((line, action))
            loss = loss - sum(weight * part.sum() for weight, part in zip(sums, parts, strict=True)) / SCALE
            if (self.entropy or self.balance) and action < len(tokens):
                chosen = F.log_softmax(logits[action, coder.actions] / self.temperature, dim=-1)
                price = self.entropy * chosen + price_of_share
                loss = loss + share * (chosen.exp() * price).sum() / SCALE
            if before is not None:
                apart = F.log_softmax(before[number] / self.temperature, dim=-1).gather(1, which)[:, 0] - said
                far = share * (apart.exp() - apart - 1).sum()
                kl += far.item()
                loss = loss + self.beta * far / SCALE
        return loss, {**log, "loss": loss.item(), **({"kl": kl} if before is not None else {})}


def _standing(values: Sequence[float]) -> list[float]:
    """How far each value lies from the mean, in standard deviations; 0 where all are equal."""
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    return [(value - mean) / spread if spread > 1e-6 else 0.0 for value in values]


class BestOf(OfRewards):
    """Rejection sampling: of a group of answers the best-paid one is learned, where its action is right; the plain competitor of GRPO."""

    def loss(self, model: Any, coder: Coder, row: Row, drawn: Group) -> Learned:
        """Choose and learn."""
        best = max(range(self.group), key=lambda place: drawn.judged[place].reward)
        log = self.log(drawn)
        if not drawn.judged[best].right:
            return None, log
        loss, told = _of_answer(model, drawn.prompt, drawn.answers.tokens[best])
        return loss, {**log, "loss": told["loss"]}
