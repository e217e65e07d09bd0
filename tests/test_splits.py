"""Splits: what each may play, what each rests on, and that every rule is told.

What a family meets is found by playing it in every plan it claims and asking the verifier, not read from what it says of itself.
"""

from collections import Counter
from functools import cache

import pytest

from generator import generate
from schema import TASKS
from tasks.families import FAMILIES, HELD_OUT_TACTIC, TRAIN_FAMILIES, families_of
from tasks.registry import SPLITS
from tasks.scene import Plan
from test_families import SEEDS, plans_of, played
from verifier import RULES, compute_ground_truth

TACTIC_OF = {rule.rule_id: rule.tactic for rule in RULES}
TRAINING = ("train", "val", "test_seed")
HELD_OUT = ("val_family", "test_family", "test_tactic")
FLOOR, CEILING = 0.003, 0.05  # of the training incidents in which a rule fires, of the findings that are one rule's
EXCUSES = {"ticket": "ticket", "approved": "tool", "authorised": "scanner"}  # by the first word of what explains
SAMPLE = 12_000  # incidents of each task: a share of .3 % is known to within .05 points


@cache
def roles(family):
    """What a family's rules come to: (rule, role) with the roles confirmed, suspicious, the three explanations, and met."""
    found = set()
    for plan in plans_of(family):
        for seed in SEEDS:
            case = played(family, plan, seed)
            truth = compute_ground_truth(case.incident, case.world)
            for finding in truth.findings:
                found.add((finding.rule_id, "met"))
                if finding.explained_by:
                    found.add((finding.rule_id, EXCUSES[finding.explained_by.split()[0]]))
                elif finding.rule_id in truth.rule_ids:
                    found.add((finding.rule_id, finding.strength))
    return frozenset(found)


def met(families):
    return {rule for family in families for rule, role in roles(family) if role == "met"}


def test_every_family_stands_in_one_kind_of_split():
    names = [{family.name for family in families_of(split)} for split in ("train", *HELD_OUT)]

    assert sum(map(len, names)) == len(set().union(*names)) == len(FAMILIES)
    assert all(families_of(split) == TRAIN_FAMILIES for split in TRAINING)
    assert len(FAMILIES) >= 150
    assert min(map(len, names)) >= 16


@pytest.mark.parametrize("split", ["val_family", "test_family"])
def test_held_out_families_rest_on_rules_that_training_tells(split):
    assert met(families_of(split)) <= met(TRAIN_FAMILIES)


def test_training_tells_every_rule_but_those_of_the_held_out_tactic():
    held_out = {rule for rule, tactic in TACTIC_OF.items() if tactic == HELD_OUT_TACTIC}

    assert met(TRAIN_FAMILIES) == set(TACTIC_OF) - held_out
    assert held_out <= met(families_of("test_tactic"))
    assert not held_out & met(families_of("val_family") + families_of("test_family"))


# No ticket can cover these: their findings name no program, and no work of UNNAMED_PROGRAM_WORK.
INEXCUSABLE = {
    "failures-on-host",
    "kerberoasting",
    "looking-around",
    "machine-name-ticket",
    "push-fatigue",
    "signing-key-read",
    "ticket-sweep",
    "ticket-without-preauth",
    "trust-made",
    "unanswered-calls",
}


# Suspicious is here what a sensor of the network sees of a caller without a name, and generated incidents have hosts' records alone.
CONFIRMED_IN_INCIDENTS = {"directory-replication"}


def roles_of(rule):
    return {role for family in FAMILIES for name, role in roles(family) if name == rule.rule_id}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_every_rule_decides_in_every_strength_that_it_can_have_and_is_excused_where_it_can_be(rule):
    found = roles_of(rule)
    only_suspicious = rule.summary.endswith("Suspicious.") and "onfirmed" not in rule.summary
    only_confirmed = rule.rule_id in CONFIRMED_IN_INCIDENTS or (
        rule.summary.endswith(("Confirmed.", "Confirmed, harm done.")) and "uspicious" not in rule.summary
    )
    expected = {"suspicious"} if only_suspicious else {"confirmed"} if only_confirmed else {"confirmed", "suspicious"}

    assert found & {"confirmed", "suspicious"} == expected
    assert bool(found & set(EXCUSES.values())) != (rule.rule_id in INEXCUSABLE)


def test_every_rule_has_a_harmless_telling_that_it_does_not_meet():
    """Of a family that meets it otherwise, with the fields and about as many lines as the hostile ones (tests/test_families.py)."""
    harmless = set()
    for family in FAMILIES:
        found = set()
        for seed in SEEDS:
            case = played(family, Plan("below"), seed)
            found |= {finding.rule_id for finding in compute_ground_truth(case.incident, case.world).findings}
        harmless |= set(family.rules) - found

    assert harmless == set(TACTIC_OF)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_plays_its_own_families_alone(split):
    names = {generate(task, index, split=split).family for task in TASKS for index in range(40)}

    assert names <= {family.name for family in families_of(split)}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_rule_fires_often_enough_and_none_too_often():
    fired, findings, total = Counter(), Counter(), 0
    for split, number in (("train", SAMPLE), ("test_tactic", SAMPLE // 3)):
        for task in TASKS:
            for index in range(number):
                case = generate(task, index, split=split)
                truth = compute_ground_truth(case.incident, case.world)
                fired.update({(split, finding.rule_id) for finding in truth.findings})
                if split == "train":
                    total += len(truth.findings)
                    findings.update(finding.rule_id for finding in truth.findings)
    rare = {}
    for rule, tactic in TACTIC_OF.items():
        split, number = ("test_tactic", SAMPLE // 3) if tactic == HELD_OUT_TACTIC else ("train", SAMPLE)
        share = fired[split, rule] / (number * len(TASKS))
        if share < FLOOR:
            rare[rule] = share

    assert rare == {}
    assert {rule: count / total for rule, count in findings.items() if count > CEILING * total} == {}
    assert not {rule for split, rule in fired if split == "train" and TACTIC_OF[rule] == HELD_OUT_TACTIC}
