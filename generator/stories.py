"""Choose the story that decides an incident, and those that are told harmlessly beside it.

A goal, the decision to aim at, has a deck: the rules that can lead to it, each with the families that are for the rule and the plans
by which they lead there. A rule is drawn, then a family, then a plan, so that a rule with many families is played no more than one with a
single one. What serves one goal alone is drawn more often for it than what serves all, so that every rule is played about equally often.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Literal

from schema import LABELS, Label
from tasks.families import TRAIN_FAMILIES, families_of
from tasks.registry import Split, TaskSpec
from tasks.scene import Explanation, Family, Plan, Scene, Strength

Told = tuple[Family, Plan]
Kind = Literal["host", "network", "cloud"]
# Hosts are quarantined, addresses blocked, and work on clouds is blocked or escalated: each kind of story is told as often under the
# decisions that it alone can lead to (40 %) as any other, so that the kind of line says little.
SHARES: dict[Kind, float] = {"host": 0.48, "network": 0.25, "cloud": 0.27}
BESIDE: dict[Kind, float] = {"host": 0.5, "network": 0.18, "cloud": 0.32}  # of the look-alikes
OTHER_KIND = 0.95  # of the look-alikes that are of a kind not told yet
ACTED_ON = 2.5  # weight of a look-alike on clouds that can be acted on, since it has more lines than one that cannot
OUTSIDE = 0.85  # of work on clouds that is not to be blocked
EXPLAINED = 0.85  # of the look-alikes that can be explained; the rest lack a relation


@dataclass(frozen=True, slots=True)
class Deck:
    """Rules to draw from: what each is told by (for each family, its plans), and the sums of their weights up to each."""

    rules: tuple[tuple[tuple[Told, ...], ...], ...]
    sums: tuple[float, ...]

    def draw(self, scene: Scene) -> Told:
        """Draw a rule by its weight, of it a family, and of that a plan."""
        sums = self.sums
        return scene.pick(scene.pick(self.rules[bisect(sums, scene.random() * sums[-1])]))


def choose(scene: Scene, goal: Label, spec: TaskSpec, split: Split) -> Told:
    """Choose the story that decides, and how it is told. Crown jewel and privilege are drawn where the goal allows any."""
    family, plan = _deck(goal, split, spec.single).draw(scene)
    if goal in ("dismiss", "monitor"):
        plan = Plan(plan.strength, plan.explanation, scene.chance(0.4), scene.chance(0.4), scene.chance(OUTSIDE))
    return family, plan


def look_alike(scene: Scene, told: set[Kind]) -> Told:
    """Choose something of a training family that decides nothing, harmless or explained, rather of a kind not told yet; add its kind to `told`."""
    new = scene.chance(OTHER_KIND) and len(told) < len(SHARES)
    family, _ = _beside(frozenset(SHARES.keys() - told if new else told)).draw(scene)
    told.add(kind_of(family))
    crown, privileged, outside = scene.chance(0.4), scene.chance(0.4), scene.chance(OUTSIDE)
    explanations: tuple[Explanation, ...] = family.explanations
    if explanations and scene.chance(EXPLAINED):
        explanation = scene.pick(explanations)
        return family, Plan(
            scene.pick(explained_strengths(family, explanation)), explanation, crown, privileged, outside
        )
    return family, Plan("below", "", crown, privileged, outside)


def kind_of(family: Family) -> Kind:
    """Return where a story happens: on a cloud's control plane, or where an address can be blocked, or on hosts."""
    if family.platform in ("cloud", "kubernetes", "saas"):
        return "cloud"
    return "network" if "block_ip" in family.reaches else "host"


def explained_strengths(family: Family, explanation: Explanation) -> tuple[Strength, ...]:
    """List the strengths that an explanation can explain; an authorised scanner probes for real."""
    return (
        ("confirmed",)
        if explanation == "scanner"
        else tuple(strength for strength in family.strengths if strength != "below")
    )


def plans_to(goal: Label, family: Family) -> list[Plan]:
    """List the plans by which a family leads to a decision."""
    if goal == "dismiss":
        explained = [
            Plan(strength, explanation)
            for explanation in family.explanations
            for strength in explained_strengths(family, explanation)
        ]
        return [*explained, Plan("below")]
    if goal == "monitor":
        return [Plan("suspicious")] if "suspicious" in family.strengths else []
    if goal == "escalate" and "confirmed" in family.strengths:
        plans = []
        if family.names_host:
            plans += [Plan("confirmed", on_crown_jewel=True, outside=True)]
        if family.names_account:
            plans += [Plan("confirmed", privileged=True, outside=True)]
        return plans + ([Plan("confirmed")] if goal in family.reaches else [])
    return [Plan("confirmed", outside=goal == "block_ip")] if goal in family.reaches else []


# ---------------------------------------------------------------- decks
@cache
def _deck(goal: Label, split: Split, single: bool) -> Deck:
    """Make the deck of a goal; with `single`, of families whose story one line decides, where there are any."""
    families = families_of(split)
    told = [(family, plan) for family in families for plan in plans_to(goal, family)]
    alone = [(family, plan) for family, plan in told if family.single]
    return _made(alone if single and alone else told, _weights(families, -0.6))


@cache
def _beside(kinds: frozenset[Kind]) -> Deck:
    """Make the deck of look-alikes of some kinds; the plans in it are not used."""
    told = [(family, Plan("below")) for family in TRAIN_FAMILIES if kind_of(family) in kinds]
    weights = _weights(TRAIN_FAMILIES, -0.2)
    acted_on = {family.rules[0] for family in TRAIN_FAMILIES if kind_of(family) == "cloud" and family.reaches}
    return _made(
        told, {rule: ACTED_ON * weight if rule in acted_on else weight for rule, weight in weights.items()}, BESIDE
    )


def _weights(families: Iterable[Family], power: float) -> dict[str, float]:
    """Weigh rules by a power of the number of goals that they serve, so that one that serves few is not played less."""
    rules = {family.rules[0] for family in families}
    return {rule: max(1, len(_goals_of(rule, families))) ** power for rule in rules}


def _goals_of(rule: str, families: Iterable[Family]) -> set[Label]:
    """Collect the decisions to which the families for a rule lead by a finding, explained or not; of those that meet no other rule, if any."""
    own = [family for family in families if family.rules[0] == rule]
    return {
        goal
        for family in [family for family in own if len(family.rules) == 1] or own
        for goal in LABELS
        if any(plan.strength != "below" for plan in plans_to(goal, family))
    }


def _made(told: Iterable[Told], weights: Mapping[str, float], shares: Mapping[Kind, float] = SHARES) -> Deck:
    """Make a deck in which each kind that there is has its share, and in it each rule its weight."""
    groups: dict[tuple[Kind, str], dict[str, list[Told]]] = {}
    for family, plan in told:
        rule = groups.setdefault((kind_of(family), family.rules[0]), {})
        rule.setdefault(family.name, []).append((family, plan))
    sizes = {kind: sum(weights[rule] for of, rule in groups if of == kind) for kind in SHARES}
    return Deck(
        tuple(tuple(map(tuple, families.values())) for families in groups.values()),
        tuple(accumulate(shares[kind] * weights[rule] / sizes[kind] for kind, rule in groups)),
    )
