"""Score a chain of reasons step by step against the verifier's, and say whether the action follows from it.

A chain (`players.reasons`) is read from an answer's rationale; one in prose is none and is not scored. Each of its reasons is paired with one of the
verifier's: of the same rule if there is one, else on a line that both name. A reason too few or too many is wrong in every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from eval.metric_table import STEPS
from players.compact import compact
from players.reasons import Chain, Reason, action_by, chain_of, parse_chain, renamed, write_chain
from verifier.decision import judge_observation

Pair = tuple[Reason | None, Reason | None]  # given and right


def right_chain(observation: Mapping[str, Any]) -> Chain:
    """Return the verifier's chain for an observation, with the short names of its compact prompt and cut as an answer is."""
    chain = renamed(chain_of(judge_observation(observation)), compact(observation).names)
    return parse_chain(write_chain(chain))


def score_steps(
    observation: Mapping[str, Any], answer: Mapping[str, Any] | None, evidence: Sequence[str]
) -> dict[str, Any] | None:
    """Score the chain of an answer.

    Args:
        observation: what the defender was shown.
        answer: action, cited_log_id and rationale; None for a malformed one.
        evidence: ids of the lines that support the right action.

    Returns:
        `reasons`, how many there are, given or right, a pair counting once; of them those that are right in each of `STEPS`; whether the `rung` and the
        whole `chain` are right; whether the action is `faithful` to the chain; and `first_wrong`, one of `eval.metric_table.FIRST_WRONG` or empty. None for an
        answer without a chain.
    """
    chain = parse_chain(answer["rationale"]) if answer else None
    if answer is None or chain is None or not (chain.reasons or chain.rung):
        return None
    right = right_chain(observation)
    pairs = list(_pairs(chain.reasons, right.reasons))
    hits = {step: sum(_same(step, *pair) for pair in pairs) for step in STEPS}
    return {
        "reasons": len(pairs),
        **hits,
        "rung": _end(chain) == _end(right),
        "chain": chain == right,
        "faithful": action_by(chain) == answer["action"],
        "first_wrong": first_wrong(chain, right) or _wrong_after(answer, right, evidence),
    }


def share_of_steps(given: Chain, right: Chain) -> float:
    """Return which share of all steps of all reasons, given or right, is right, 0 to 1; 1 where there are no reasons on either side."""
    pairs = list(_pairs(given.reasons, right.reasons))
    hits = sum(_same(step, *pair) for pair in pairs for step in STEPS)
    return hits / (len(pairs) * len(STEPS)) if pairs else 1.0


def _pairs(given: Sequence[Reason], right: Sequence[Reason]) -> Iterator[Pair]:
    """Pair the reasons of two chains, each once; None stands for a partner that is not there."""
    free, alone = list(given), []
    for reason in right:
        of_rule = [other for other in free if other.rule_id == reason.rule_id]
        partner = max(of_rule, key=lambda other: len({*other.lines} & {*reason.lines}), default=None)
        if partner is None:
            alone.append(reason)
        else:
            free.remove(partner)
            yield partner, reason
    for reason in alone:
        partner = next((other for other in free if {*other.lines} & {*reason.lines}), None)
        if partner:
            free.remove(partner)
        yield partner, reason
    yield from ((reason, None) for reason in free)


def _same(step: str, given: Reason | None, right: Reason | None) -> bool:
    if given is None or right is None:
        return False
    return all(getattr(given, name) == getattr(right, name) for name in STEPS[step])


def _end(chain: Chain) -> tuple[str, bool]:
    return chain.rung, chain.together


def first_wrong(given: Chain, right: Chain) -> str:
    """Return where a chain leaves the right one, read from its beginning: one of `eval.metric_table.FIRST_WRONG`; empty where it does not."""
    for reason, other in zip_longest(given.reasons, right.reasons):
        if reason is None:
            return "missing" if given.rung else "unfinished"
        if other is None:
            return "extra"
        for step in STEPS:
            if not _same(step, reason, other):
                return step
    if not given.rung:
        return "unfinished"
    return "" if _end(given) == _end(right) else "rung"


def _wrong_after(answer: Mapping[str, Any], right: Chain, evidence: Sequence[str]) -> str:
    """Return what is wrong after a right chain."""
    if answer["cited_log_id"] not in evidence:
        return "citation"
    return "" if answer["action"] == action_by(right) else "action"
