"""Asides: somebody who has no say speaks to the analyst in an incident that is trained on."""

from random import Random

import pytest

from generator.incidents import generate
from generator.injection import _TEXTS
from schema import MAX_EVENTS, TASKS, Incident, epoch_s
from train.asides import with_aside
from train.data import Shares, training_row
from verifier.decision import judge_rows


@pytest.fixture(scope="module")
def pairs():
    cases = [generate(TASKS[index % 4], index) for index in range(200)]
    return [(case, with_aside(case, Random(index))) for index, case in enumerate(cases)]


def test_an_aside_is_one_line_more_or_another_narrative(pairs):
    lines = 0
    for case, spoken in pairs:
        more = len(spoken.lines) - len(case.lines)
        assert more in (0, 1)
        assert more or spoken.narrative != case.narrative
        assert len(spoken.lines) <= MAX_EVENTS
        lines += more
    assert 140 < lines < 200


def test_it_is_a_valid_incident_in_order_with_the_alert_on_its_line(pairs):
    for case, spoken in pairs:
        Incident.model_validate(
            {
                "target_label": spoken.label,
                "category": spoken.category,
                "events": spoken.lines,
                "narrative": spoken.narrative,
            }
        )
        times = [epoch_s(line["timestamp"]) for line in spoken.lines]
        assert times == sorted(times)
        alerted = {line["log_id"]: line["fields"] for line in spoken.lines}[spoken.world.alerted]
        assert alerted == {line["log_id"]: line["fields"] for line in case.lines}[case.world.alerted]


def test_whoever_speaks_changes_no_decision(pairs):
    assert [judge_rows(spoken.lines, spoken.world).action for _, spoken in pairs] == [
        judge_rows(case.lines, case.world).action for case, _ in pairs
    ]


def test_no_text_of_the_injection_twins_is_said(pairs):
    held_out = {text.split("{")[0].lower() for texts in _TEXTS.values() for text in texts if len(text) > 20}
    for _, spoken in pairs:
        said = " ".join(
            [spoken.narrative, *(str(value) for line in spoken.lines for value in line["fields"].values())]
        ).lower()
        assert not [text for text in held_out if text and text in said]


def test_training_rows_hold_asides_as_often_as_is_asked():
    plain = [training_row(5, index) for index in range(80)]
    some = sum(row != training_row(5, index, shares=Shares(asides=0.5)) for index, row in enumerate(plain))
    every = sum(row != training_row(5, index, shares=Shares(asides=1.0)) for index, row in enumerate(plain))
    assert plain == [training_row(5, index, shares=Shares(asides=0.0)) for index in range(80)]
    assert every == 80
    assert 25 < some < 55
