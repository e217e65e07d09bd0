"""Score what a player answers to an item.

An item (`scenario.item_of`) is a row as the frozen sets hold it: `observation` (alert, log_window, context) is what the player is shown, and
`ground_truth` (action, evidence_log_ids, techniques, rule_ids) what the verifier says, as plain data or as a `GroundTruth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from players.reply import parse
from rubric import TableName, score_triage
from schema import Label, Triage
from verifier.truth import GroundTruth


class Score(NamedTuple):
    """What an answer is worth: `triage` is None for a malformed answer, and `fault` then says why.

    `reward` lies in `rubric.REWARD_RANGE`, `components` are its parts by their names in the rubric (`defender.decision`); `right` says that the
    action is the verifier's.
    """

    triage: Triage | None
    fault: str
    reward: float
    components: dict[str, float]
    right: bool

    @property
    def action(self) -> Label | None:
        """Return the action; None for a malformed answer."""
        return self.triage.action if self.triage else None

    @property
    def answer(self) -> dict[str, Any] | None:
        """Return the answer as plain data; None for a malformed one."""
        return self.triage.model_dump() if self.triage else None


def score_reply(reply: str | None, item: Mapping[str, Any], table: TableName = "standard") -> Score:
    """Score a reply as a step of the environment scores the answer in it.

    Args:
        reply: the raw text of a player; None for none.
        item: `observation` and `ground_truth` are read.
        table: the reward table.
    """
    parsed = parse(reply)
    return score_answer(parsed.answer, item, table, fault=parsed.fault)


def score_answer(content: object, item: Mapping[str, Any], table: TableName = "standard", *, fault: str = "") -> Score:
    """Score what `submit_triage` would hold, as a step of the environment scores it.

    Args:
        content: an answer as plain data; anything may come.
        item: `observation` and `ground_truth` are read.
        table: the reward table.
        fault: why there is no answer; by default why `content` is malformed.
    """
    stored = item["ground_truth"]
    truth = stored if isinstance(stored, GroundTruth) else GroundTruth.from_dict(stored)
    log_ids = [line["log_id"] for line in item["observation"]["log_window"]]
    triage, malformed, reward, components = score_triage(content, truth, log_ids, table)
    right = triage is not None and triage.action == truth.action
    return Score(triage, "" if triage else fault or malformed, reward, components, right)
