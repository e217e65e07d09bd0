"""A confidence that is worth stating: chosen and fitted on one set, measured on another."""

import math

import pytest

from players.embedded import Certainty
from train.nano.calibration import Judged, calibrate


def judged(pairs):
    """Answers that are right or wrong, each with how sure the model was."""
    lines = [
        {
            "id": str(number), "set": "val", "task": "stage1_basic", "split": "val", "family": f"family{number % 7}",
            "weight": 1.0, "label": "dismiss", "evidence": ["L1-1"], "reward": 0.0,
            "action": "dismiss" if right else "escalate", "answer": {"action": "dismiss", "cited_log_id": "L1-1"},
        }
        for number, (right, _) in enumerate(pairs)
    ]  # fmt: skip
    return Judged(lines, [certainty for _, certainty in pairs])


def sure(weakest, *, action=-1e-9):
    return Certainty(action=action, reply=-0.5, weakest=weakest, mean=-0.1)


# Of those at e^-1 as many are right as e^-0.5 says, of those at e^-3 as many as e^-1.5 says: a temperature of 2.
HONEST = [(number < 607, sure(-1.0)) for number in range(1000)] + [(number < 223, sure(-3.0)) for number in range(1000)]


def test_what_tells_right_from_wrong_is_stated_at_the_temperature_that_fits():
    fitted = calibrate(judged(HONEST), judged(HONEST))

    assert (fitted.of, fitted.stated) == ("weakest", True)
    assert fitted.temperature == pytest.approx(2.0, rel=0.01)
    assert fitted.confidence(sure(-3.0)) == pytest.approx(math.exp(-1.5), rel=0.01)
    assert fitted.test_seed.n == 2000
    assert fitted.test_seed.ece < 0.01
    assert fitted.test_seed.ece_before == pytest.approx(1 - 0.415)  # the action's own probability is near 1
    assert fitted.test_seed.brier == pytest.approx((0.607 * 0.393 + 0.223 * 0.777) / 2, abs=1e-3)


def test_it_is_not_stated_where_another_set_shows_it_wrong():
    shifted = [(right and number % 4 > 0, certainty) for number, (right, certainty) in enumerate(HONEST)]

    fitted = calibrate(judged(HONEST), judged(shifted))

    assert fitted.stated is False
    assert fitted.val.ece < 0.01
    assert fitted.test_seed.ece == pytest.approx(0.104, abs=0.003)


def test_answers_without_an_action_do_not_count():
    silent = judged([*HONEST, (False, None)])
    unread = judged(HONEST)
    unread.lines[0]["action"] = None

    assert calibrate(silent, unread).val.n == 2000
    assert calibrate(silent, unread).test_seed.n == 1999
    assert calibrate(judged([(True, None)]), unread) is None
    assert calibrate(unread, judged([(True, None)])) is None


@pytest.mark.parametrize("right", [True, False])
def test_a_set_with_one_outcome_gives_an_extreme_temperature_and_no_error(right):
    fitted = calibrate(judged([(right, sure(-1.0))] * 9), judged(HONEST))

    assert (fitted.temperature > 10, fitted.stated) == (right, False)
