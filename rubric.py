"""Rewards: two tables of figures, and the named components that are scored by them.

`TABLES["standard"]` holds the project's fixed figures; `TABLES["hardened"]` mends their known weak spots (an escalation nearly
free, a malformed answer cheaper than an honest mistake, an attacker paid for what nobody can learn). A reward is the sum of
its components; one that was not scored is None.

`docs/rubric.md` and `openenv.yaml` repeat the tables, and a test compares the three.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import ValidationError

from schema import LABELS, Label, Triage, faults
from verifier.truth import GroundTruth

TableName = Literal["standard", "hardened"]


@dataclass(frozen=True, slots=True)
class AttackerFigures:
    """What an attacker's incident earns. `fooled` is paid when the defender errs; where `learnable` is True it is scaled by
    4p(1-p) instead, p being the share of the defender's successes on this play, so that it peaks at one half."""

    schema_failure: float
    implausible: float
    defended: float
    fooled: float
    novelty: float
    learnable: bool


@dataclass(frozen=True, slots=True)
class RewardTable:
    """All figures of one table. `defender[truth][answer]` is the defender's reward for an action."""

    defender: Mapping[Label, Mapping[Label, float]]
    citation: float
    malformed: float
    attacker: AttackerFigures


def _square(*rows: tuple[float, ...]) -> Mapping[Label, Mapping[Label, float]]:
    return {truth: dict(zip(LABELS, row, strict=True)) for truth, row in zip(LABELS, rows, strict=True)}


TABLES: Mapping[TableName, RewardTable] = {
    # Fixed: +1 correct, -1 dismissed malice, -0.3 over-reaction on benign, -0.05 unnecessary escalation. Ours: acting late
    # (monitor) costs 0.6, more than acting with the wrong tool (0.3); a heavy hand on what is only suspicious costs 0.2.
    "standard": RewardTable(
        defender=_square(
            # dismiss monitor quarantine_host block_ip escalate
            (1.0, -0.05, -0.3, -0.3, -0.05),  # dismiss
            (-1.0, 1.0, -0.2, -0.2, -0.05),  # monitor
            (-1.0, -0.6, 1.0, -0.3, -0.05),  # quarantine_host
            (-1.0, -0.6, -0.3, 1.0, -0.05),  # block_ip
            (-1.0, -0.6, -0.3, -0.3, 1.0),  # escalate
        ),
        citation=0.1,
        malformed=-0.1,
        attacker=AttackerFigures(-0.5, 0.0, 0.0, 1.0, 0.2, learnable=False),
    ),
    # correct > an escalation too many > wrong > malformed, whatever the truth is
    "hardened": RewardTable(
        defender=_square(
            (1.0, -0.4, -0.7, -0.7, -0.25),
            (-0.9, 1.0, -0.5, -0.5, -0.25),
            (-0.9, -0.7, 1.0, -0.5, -0.25),
            (-0.9, -0.7, -0.5, 1.0, -0.25),
            (-0.9, -0.7, -0.5, -0.5, 1.0),
        ),
        citation=0.1,
        malformed=-1.0,
        attacker=AttackerFigures(-0.5, -0.2, 0.0, 1.0, 0.2, learnable=True),
    ),
}
REWARD_RANGE = (-1.0, 1.1)  # of any single step, in both tables
ATTACKER_RANGE = (-0.5, 1.2)  # of an attacker's total


# ---------------------------------------------------------------- components
COMPONENTS = (
    "defender.decision",
    "defender.citation",
    "defender.format",
    "attacker.admission",
    "attacker.novelty",
    "attacker.deception",
)


@dataclass(frozen=True, slots=True)
class AttackerTurn:
    """An attacker's incident and what became of it.

    `valid` says whether the schema took it, `reasons` why the gate refused it, `novel` whether the play is new. `fooled`
    is None before the defender has answered; `success_rate` is the defender's share of successes on this play, this
    one counted, in (0, 1).
    """

    valid: bool
    reasons: tuple[str, ...] = ()
    novel: bool = False
    fooled: bool | None = None
    success_rate: float = 0.5

    @property
    def admitted(self) -> bool:
        """Whether the defender gets to see it."""
        return self.valid and not self.reasons


def score_defender(triage: Triage | None, truth: GroundTruth, table: RewardTable) -> dict[str, float]:
    """Score the components of a defender's answer by their names.

    Args:
        triage: the answer; None for a malformed one, which earns the penalty for its form alone.
        truth: what the verifier says; its action and evidence are read.
        table: which figures count.
    """
    if triage is None:
        return {"defender.decision": 0.0, "defender.citation": 0.0, "defender.format": table.malformed}
    return {
        "defender.decision": table.defender[truth.action][triage.action],
        "defender.citation": table.citation if triage.cited_log_id in truth.evidence_log_ids else 0.0,
        "defender.format": 0.0,
    }


def score_attacker(turn: AttackerTurn, table: RewardTable) -> dict[str, float]:
    """Score the components of an attacker's turn by their names."""
    figures = table.attacker
    refusal = figures.implausible if turn.reasons else 0.0
    return {
        "attacker.admission": refusal if turn.valid else figures.schema_failure,
        "attacker.novelty": figures.novelty if turn.admitted and turn.novel else 0.0,
        "attacker.deception": _deception(turn, figures),
    }


def _deception(turn: AttackerTurn, figures: AttackerFigures) -> float:
    """Score what the defender's answer earns the attacker; 0 before there is one."""
    if not turn.admitted or turn.fooled is None:
        return 0.0
    if figures.learnable:
        return figures.fooled * 4 * turn.success_rate * (1 - turn.success_rate)
    return figures.fooled if turn.fooled else figures.defended


def reward_of(components: Mapping[str, float]) -> float:
    """Sum the components of a player's reward, to six digits."""
    return round(sum(components.values()), 6)


# ---------------------------------------------------------------- a defender's answer, from its content to its reward
class ScoredTriage(NamedTuple):
    """A defender's answer with its reward: `triage` is None for a malformed one, and `fault` then says why."""

    triage: Triage | None
    fault: str
    reward: float
    components: dict[str, float]


def read_triage(content: object, log_ids: Collection[str]) -> tuple[Triage | None, str]:
    """Read the triage that a defender's answer holds; where it is malformed, give None and a sentence that says why.

    Args:
        content: what `submit_triage` holds, as plain data; anything may come.
        log_ids: the lines of the log window; an answer cites one of them.
    """
    try:
        triage = Triage.model_validate(content)
    except ValidationError as error:
        return None, f"The submit_triage is malformed: {faults(error, 'submit_triage')}."
    if triage.cited_log_id not in log_ids:
        return None, f"The answer is malformed: cited_log_id {triage.cited_log_id} is not in the log window."
    return triage, ""


def score_triage(
    answer: object, truth: GroundTruth, log_ids: Collection[str], table: TableName = "standard"
) -> ScoredTriage:
    """Score an answer as a step of the environment scores it, without an episode.

    Args:
        answer: what `submit_triage` would hold; None for an answer that could not be read at all.
        truth: what the verifier says; its action and evidence are read.
        log_ids: the lines of the log window.
        table: which figures count.

    Returns:
        The triage, why it is malformed, its reward in `REWARD_RANGE`, and the reward's components by their names.
    """
    triage, fault = read_triage(answer, log_ids)
    components = score_defender(triage, truth, TABLES[table])
    return ScoredTriage(triage, fault, reward_of(components), components)


def tables_as_data() -> dict[str, dict[str, object]]:
    """Give both tables as plain data, in the form in which `openenv.yaml` holds them."""
    return {
        name: {
            "defender": {truth: dict(row) for truth, row in table.defender.items()},
            "citation": table.citation,
            "malformed": table.malformed,
            "attacker": {
                "schema_failure": table.attacker.schema_failure,
                "implausible": table.attacker.implausible,
                "defended": table.attacker.defended,
                "fooled": table.attacker.fooled,
                "novelty": table.attacker.novelty,
                "learnable": table.attacker.learnable,
            },
        }
        for name, table in TABLES.items()
    }


# ---------------------------------------------------------------- who won
Verdict = Literal["refused", "held", "won", "wrong before"]


def verdict_of(before: bool | None, after: bool | None) -> Verdict:
    """Say who won a round. A win counts only where the defender was right before the attacker's edit.

    Args:
        before: whether the defender was right on the incident before the edit; None where there is none.
        after: whether it is right on the attacker's incident; None where that was refused.
    """
    if after is None:
        return "refused"
    if after:
        return "held"
    return "won" if before else "wrong before"
