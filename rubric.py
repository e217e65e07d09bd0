"""Rewards: two tables of figures, and the rubric tree that reads them.

`TABLES["standard"]` holds the project's fixed figures; `TABLES["hardened"]` mends their known weak spots (an escalation nearly
free, a malformed answer cheaper than an honest mistake, an attacker paid for what nobody can learn). The tree's leaves are
named components whose last scores can be read one by one; a component that was not scored is None.

The first part needs no OpenEnv package; `docs/rubric.md` and `openenv.yaml` repeat the tables, and a test compares the three.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import ValidationError

from openenv_base import Rubric
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


# ---------------------------------------------------------------- what a rubric judges
@dataclass(frozen=True, slots=True)
class DefenderTurn:
    """A defender's answer beside the truth; `triage` is None for a malformed answer."""

    triage: Triage | None
    truth: GroundTruth


@dataclass(frozen=True, slots=True)
class AttackerTurn:
    """An attacker's incident and what became of it.

    `valid` says whether the schema took it, `reasons` why the gate refused it, `novel` whether the play is new. `fooled`
    is None before the defender has answered; `success_rate` is the defender's share of successes on this play, this
    one counted, in (0, 1).
    """

    valid: bool
    reasons: tuple[str, ...]
    novel: bool
    fooled: bool | None
    success_rate: float

    @property
    def admitted(self) -> bool:
        """Whether the defender gets to see it."""
        return self.valid and not self.reasons


class _Scored(Rubric):
    """A rubric whose `forward` is never a coroutine; the SDK's question whether it is one costs more than the answer."""

    def __call__(self, action: object, observation: object = None) -> float:
        self._run_forward_pre_hooks(action, observation)
        return self._finish_forward(action, observation, self.forward(action, observation))

    def reset(self) -> None:
        """Forget the last episode's scores, those of all below too."""
        for scored in (self, *self.rubrics()):
            object.__setattr__(scored, "last_score", None)


class _Leaf(_Scored):
    def __init__(self, table: RewardTable) -> None:
        super().__init__()
        self.table = table


class Decision(_Leaf):
    """The 5x5 table's cell for the action; 0 for a malformed answer."""

    def forward(self, action: DefenderTurn, observation: object = None) -> float:
        return self.table.defender[action.truth.action][action.triage.action] if action.triage else 0.0


class Citation(_Leaf):
    """The bonus for a cited line that is evidence."""

    def forward(self, action: DefenderTurn, observation: object = None) -> float:
        hit = action.triage is not None and action.triage.cited_log_id in action.truth.evidence_log_ids
        return self.table.citation if hit else 0.0


class Format(_Leaf):
    """The penalty for an answer that does not have the asked form."""

    def forward(self, action: DefenderTurn, observation: object = None) -> float:
        return 0.0 if action.triage else self.table.malformed


class Admission(_Leaf):
    """The attacker's penalty for an incident that the schema or the gate refuses."""

    def forward(self, action: AttackerTurn, observation: object = None) -> float:
        figures = self.table.attacker
        if not action.valid:
            return figures.schema_failure
        return figures.implausible if action.reasons else 0.0


class Novelty(_Leaf):
    """The attacker's bonus for an admitted play that is new."""

    def forward(self, action: AttackerTurn, observation: object = None) -> float:
        return self.table.attacker.novelty if action.admitted and action.novel else 0.0


class Deception(_Leaf):
    """What the attacker earns by the defender's answer; 0 before there is one."""

    def forward(self, action: AttackerTurn, observation: object = None) -> float:
        figures = self.table.attacker
        if not action.admitted or action.fooled is None:
            return 0.0
        if figures.learnable:
            return figures.fooled * 4 * action.success_rate * (1 - action.success_rate)
        return figures.fooled if action.fooled else figures.defended


class _Sum(_Scored):
    """A player's reward: the sum of its named components (OpenEnv's containers assume scores in [0, 1])."""

    def forward(self, action: object, observation: object = None) -> float:
        return round(sum(child(action, observation) for child in self._rubric_children.values()), 6)


class DefenderRubric(_Sum):
    """decision + citation + format."""

    def __init__(self, table: RewardTable) -> None:
        super().__init__()
        self.decision = Decision(table)
        self.citation = Citation(table)
        self.format = Format(table)


class AttackerRubric(_Sum):
    """admission + novelty + deception."""

    def __init__(self, table: RewardTable) -> None:
        super().__init__()
        self.admission = Admission(table)
        self.novelty = Novelty(table)
        self.deception = Deception(table)


class OpenSOCRubric(_Scored):
    """Both players' rubrics; scores whichever turn it is given."""

    def __init__(self, table: TableName = "standard") -> None:
        super().__init__()
        self.table_name = table
        self.defender = DefenderRubric(TABLES[table])
        self.attacker = AttackerRubric(TABLES[table])
        self._all = (self, *self.rubrics())
        self._leaves = tuple((name, child) for name, child in self.named_rubrics() if not list(child.children()))

    def forward(self, action: DefenderTurn | AttackerTurn, observation: object = None) -> float:
        return float((self.defender if isinstance(action, DefenderTurn) else self.attacker)(action, observation))

    def reset(self) -> None:
        """Forget the last episode's scores."""
        for scored in self._all:
            object.__setattr__(scored, "last_score", None)

    def components(self) -> dict[str, float | None]:
        """The last episode's scores by name (`defender.decision`); None where nothing was scored."""
        return {name: leaf.last_score for name, leaf in self._leaves}


# ---------------------------------------------------------------- a defender's answer, from its content to its reward
class ScoredTriage(NamedTuple):
    """A defender's answer with its reward: `triage` is None for a malformed one, and `fault` then says why."""

    triage: Triage | None
    fault: str
    reward: float
    components: dict[str, float]


def read_triage(content: object, log_ids: Collection[str]) -> tuple[Triage | None, str]:
    """The triage that a defender's answer holds, or None and a sentence that says why it is malformed.

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
        The triage, why it is malformed, its reward in `REWARD_RANGE`, and the reward's components by their names in the rubric tree.
    """
    triage, fault = read_triage(answer, log_ids)
    rubric = DefenderRubric(TABLES[table])
    reward = float(rubric(DefenderTurn(triage, truth)))
    parts = {f"defender.{name}": float(leaf.last_score or 0.0) for name, leaf in rubric.named_rubrics()}
    return ScoredTriage(triage, fault, reward, parts)


def tables_as_data() -> dict[str, dict[str, object]]:
    """Both tables as plain data, in the form in which `openenv.yaml` holds them."""
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
