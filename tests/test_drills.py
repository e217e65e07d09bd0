"""Drills: a rule's own example among an incident's lines, in the incident's world, judged by the verifier."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from generator.incidents import generate
from incidents import world
from schema import TASKS, Incident, epoch_s
from tasks.families import HELD_OUT_TACTIC
from train.data import Shares, training_row
from train.drills import OWN_HOSTS, drilled, examples
from verifier.decision import judge_rows
from verifier.rules import RULES

HELD_OUT = {rule.rule_id for rule in RULES if rule.tactic == HELD_OUT_TACTIC}


@pytest.fixture(scope="module")
def drills():
    cases = [generate(TASKS[index % 4], index) for index in range(600)]
    return [(case, drilled(case, Random(index))) for index, case in enumerate(cases)]


def test_every_rule_has_examples_but_those_of_the_held_out_tactic():
    assert set(examples()) == {rule.rule_id for rule in RULES} - HELD_OUT


def test_no_example_shows_a_held_out_rule():
    for of_rule in examples().values():
        for example in of_rule:
            rows = [{**line, "log_id": f"L1-{place}"} for place, line in enumerate(example.lines)]
            assert not HELD_OUT & {finding.rule_id for finding in judge_rows(rows, world()).findings}


def test_a_drill_is_a_valid_incident_with_its_lines_in_order(drills):
    for case, drill in drills:
        Incident.model_validate(
            {"target_label": case.label, "category": case.category, "events": drill.lines, "narrative": case.narrative}
        )
        assert [line["log_id"] for line in drill.lines] == [f"L1-{place}" for place in range(len(drill.lines))]
        times = [epoch_s(line["timestamp"]) for line in drill.lines]
        assert times == sorted(times)
        assert times[-1] <= epoch_s(case.world.now)
        assert drill.world == replace(case.world, alerted=drill.world.alerted)
        assert drill.world.alerted in {line["log_id"] for line in drill.lines}


def test_it_happens_on_hosts_of_the_incidents_world(drills):
    places = Counter(
        line["fields"].get("device_hostname") in case.world.hosts
        for case, drill in drills
        for line in drill.lines
        if line["fields"].get("device_hostname")
    )
    assert places[False] / places.total() < 0.02  # machines that an example names beside those of its organisation
    assert not any(
        line["fields"].get("device_hostname") in OWN_HOSTS.keys() - case.world.hosts.keys()
        for case, drill in drills
        for line in drill.lines
    )


def test_most_rules_find_something_and_near_misses_are_among_them(drills):
    found = [{finding.rule_id for finding in judge_rows(drill.lines, drill.world).findings} for _, drill in drills]
    assert len(set().union(*found)) > 110
    assert sum(not rules for rules in found) > 40


def test_the_same_chance_gives_the_same_drill():
    case = generate("stage1_basic", 3)
    assert drilled(case, Random(5)).lines == drilled(case, Random(5)).lines
    assert drilled(case, Random(5)).lines != drilled(case, Random(6)).lines


def test_training_rows_are_drilled_as_often_as_is_asked():
    plain = [training_row(5, index) for index in range(80)]
    assert plain == [training_row(5, index, shares=Shares(drills=0.0)) for index in range(80)]
    some = sum(row != training_row(5, index, shares=Shares(drills=0.5)) for index, row in enumerate(plain))
    every = sum(row != training_row(5, index, shares=Shares(drills=1.0)) for index, row in enumerate(plain))
    assert 25 < some < 55
    assert every == 80
