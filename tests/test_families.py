"""Scenario families: each plays what it claims, to the decision that it claims, and tells harmless things alike."""

import re
from collections import Counter
from functools import cache
from random import Random

import pytest

from generator.incidents import _finish
from generator.stories import explained_strengths, plans_to
from schema import LABELS, TASKS, BadRequestError
from tasks.families import FAMILIES, TRAIN_FAMILIES, families_of
from tasks.registry import SPLITS
from tasks.scene import Plan, Scene
from verifier import RULES, check_plausibility, compute_ground_truth
from world import make_organisation

SEEDS = range(8)
GATED = range(4)  # of these the gate is asked, which takes three times as long as the decision
BY_NAME = {family.name: family for family in FAMILIES}
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def scene_of(seed):
    return Scene(Random(seed), make_organisation(seed), "2026-03-02", 30_000)


def played(family, plan, seed):
    """A case that holds one story alone, and the ticket that explains it where the plan says so."""
    scene = scene_of(seed)
    scope = family.play(scene, plan)
    if plan.explanation == "ticket":
        scene.cover(scope)
    return _finish(scene, family, plan, "dismiss", 0, "")


@pytest.mark.parametrize("strength", ["suspicious", "confirmed", "certain"])
@pytest.mark.parametrize("explanation", ["", "scanner", "whim"])
def test_a_plan_that_a_family_cannot_tell_is_refused_in_a_sentence(strength, explanation):
    for family in FAMILIES:
        plan = Plan(strength, explanation)
        strengths = {*family.strengths, "confirmed"} if explanation == "scanner" else family.strengths
        if strength in strengths and explanation in ("", *family.explanations):
            continue
        scene = scene_of(0)
        with pytest.raises(BadRequestError) as refusal:
            family.play(scene, plan)

        assert str(refusal.value) == (
            f"the family {family.name} is told by the strengths {', '.join(family.strengths)} and the explanations "
            f"{', '.join(family.explanations) or 'none'}; got {strength!r} and {explanation!r}"
        )
        assert scene.lines == []


@cache
def judged(name, plan, seed):
    """The decision, the rules and what the gate says of a family's story: several tests ask for the same ones."""
    case = played(BY_NAME[name], plan, seed)
    truth = compute_ground_truth(case.incident, case.world)
    return truth.action, truth.rule_ids, check_plausibility(case.incident, case.world) if seed in GATED else []


def decision(family, plan, seed):
    return judged(family.name, plan, seed)[0]


def rules(family, plan, seed):
    return judged(family.name, plan, seed)[1]


def expected(family, plan):
    if plan.explanation or plan.strength == "below":
        return "dismiss"
    if plan.strength == "suspicious":
        return "monitor"
    if plan.on_crown_jewel or plan.privileged:
        return "escalate"
    return "block_ip" if plan.outside and "block_ip" in family.reaches else family.reaches[0]


def plans_of(family):
    """Every plan that a family may be given."""
    told = [(strength, "") for strength in family.strengths]
    told += [
        (strength, explanation)
        for explanation in family.explanations
        for strength in explained_strengths(family, explanation)
    ]
    crowns = (False, True) if family.names_host else (False,)
    standings = [(crown, flag) for crown in crowns for flag in ((False, True) if family.names_account else (False,))]
    sources = (False, True) if {"escalate", "block_ip"} <= set(family.reaches) else (False,)
    return [
        Plan(strength, explanation, *standing, outside)
        for strength, explanation in told
        for standing in standings
        for outside in sources
    ]


@each_family
def test_a_family_plays_every_plan_it_claims_to_the_decision_it_claims(family):
    for plan in plans_of(family):
        for seed in SEEDS:
            action, _, reasons = judged(family.name, plan, seed)
            assert action == expected(family, plan), (plan, seed)
            assert reasons == [], (plan, seed)


@each_family
def test_a_family_is_of_use_under_several_decisions(family):
    decisions = {decision(family, plan, 1) for plan in plans_of(family)}

    assert {"dismiss"} | set(family.reaches) <= decisions
    assert len(decisions) >= (2 if "confirmed" not in family.strengths or "escalate" in family.reaches else 3)


def shape(family, strength):
    """The fields that a strength's lines have by event type, and how many lines it has on average."""
    cases = [played(family, Plan(strength), seed) for seed in range(30)]
    names = {(line["event_type"], name) for case in cases for line in case.lines for name in line["fields"]}
    return names, sum(len(case.lines) for case in cases) / len(cases)


@each_family
def test_harmless_tellings_have_the_fields_and_the_length_of_hostile_ones(family):
    shapes = [shape(family, strength) for strength in family.strengths]

    assert all(names == shapes[0][0] for names, _ in shapes)
    assert max(length for _, length in shapes) - min(length for _, length in shapes) <= 1.2


def test_there_are_many_families_over_many_tactics_and_rules():
    assert len(FAMILIES) >= 44
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert len({family.category for family in FAMILIES}) >= 10
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", family.technique) for family in FAMILIES)
    found = Counter(
        rule_id
        for family in FAMILIES
        for strength in family.strengths
        for seed in SEEDS
        for rule_id in rules(family, Plan(strength), seed)
    )
    assert set(found) <= {rule.rule_id for rule in RULES}
    assert len(found) >= 45


def test_each_decision_is_led_to_by_many_training_families():
    reached = Counter()
    for family in TRAIN_FAMILIES:
        reached.update({decision(family, plan, 2) for plan in plans_of(family)})

    assert min(reached[label] for label in LABELS) >= 8
    types = {
        line["event_type"]
        for family in TRAIN_FAMILIES
        if "block_ip" in family.reaches
        for line in played(family, Plan("confirmed"), 2).lines
    }
    assert len(types) >= 6


def test_every_split_can_aim_at_every_decision_in_every_task():
    assert min(len(families_of(split)) for split in SPLITS) >= 8
    for split in SPLITS:
        for task in TASKS:
            assert all(any(plans_to(label, family) for family in families_of(split)) for label in LABELS), (split, task)


def test_every_tool_has_somebody_who_may_use_it():
    for seed in range(500):
        organisation = make_organisation(seed)
        departments = {account["department"] for account in organisation.accounts.values()}
        assert {tool["department"] for tool in organisation.tools} <= departments, seed


@each_family
def test_a_family_names_the_rules_that_it_meets(family):
    told = [plan for plan in plans_of(family) if plan.strength != "below" and not plan.explanation]
    met = set().union(*(rules(family, plan, seed) for plan in told for seed in SEEDS))

    assert met == set(family.rules)
