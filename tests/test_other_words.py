"""Incidents in other words of the playbook: the rule still finds the lines, and the words are its own."""

from random import Random

from generator.incidents import generate
from players.other_words import in_other_words
from schema import TASKS, Incident
from train.data import Shares, training_row
from verifier.decision import judge_rows


def told(number):
    cases = [generate(TASKS[index % 4], index) for index in range(number)]
    return [(case, in_other_words(case, Random(index))) for index, case in enumerate(cases)]


def test_a_word_is_replaced_by_another_of_the_same_rule_and_the_rule_still_finds_the_lines():
    changed = 0
    for case, retold in told(120):
        if retold is case:
            continue
        changed += 1
        before, after = (
            {(finding.rule_id, finding.evidence) for finding in judge_rows(one.lines, one.world).findings}
            for one in (case, retold)
        )
        assert before & after
        differing = [pair for pair in zip(case.lines, retold.lines, strict=True) if pair[0] != pair[1]]
        assert differing
        assert all(first["event_type"] == second["event_type"] for first, second in differing)
    assert changed > 40


def test_what_is_told_in_other_words_is_a_valid_incident():
    for case, retold in told(60):
        Incident.model_validate(
            {"target_label": case.label, "category": case.category, "events": retold.lines, "narrative": case.narrative}
        )


def test_the_same_chance_gives_the_same_words():
    case = next(case for case, retold in told(40) if retold is not case)
    assert in_other_words(case, Random(5)).lines == in_other_words(case, Random(5)).lines


def test_training_rows_are_told_in_other_words_as_often_as_is_asked():
    plain = [training_row(5, index) for index in range(80)]
    assert plain == [training_row(5, index, shares=Shares(other_words=0.0)) for index in range(80)]
    some = sum(row != training_row(5, index, shares=Shares(other_words=0.5)) for index, row in enumerate(plain))
    every = sum(row != training_row(5, index, shares=Shares(other_words=1.0)) for index, row in enumerate(plain))
    assert 0 < some < every
