"""Events without a time: they satisfy no bound in time and no order, wherever the verifier compares times."""

import math

from schema import NO_TIME, Incident, epoch_s
from verifier.decision import compute_ground_truth
from verifier.plausibility import check_plausibility
from world import World


def sign_ins(times):
    events = [
        {
            "event_type": "logon",
            "log_id": f"L1-{index}",
            "timestamp": time,
            "fields": {
                "activity": "failure" if index <= 8 else "success",
                "user_name": "n.brandt",
                "src_ip": "198.51.100.9",
                "device_hostname": "vpn-2",
            },
        }
        for index, time in enumerate(times, 1)
    ]
    return Incident.model_validate({"target_label": "dismiss", "category": "benign_activity", "events": events})


TIMED = [f"2031-05-06T08:00:{second:02d}Z" for second in range(9)]


def test_a_time_that_is_unknown_is_not_a_number():
    assert math.isnan(epoch_s(NO_TIME))


def test_untimed_failures_are_no_burst_and_no_guess():
    assert compute_ground_truth(sign_ins(TIMED), World.from_context({})).rule_ids == ("password-guessing",)
    assert compute_ground_truth(sign_ins([NO_TIME] * 9), World.from_context({})).action == "dismiss"
    assert compute_ground_truth(sign_ins([*TIMED[:3], *[NO_TIME] * 6]), World.from_context({})).action == "dismiss"


def test_the_gate_refuses_an_incident_with_an_untimed_event():
    reasons = check_plausibility(sign_ins([*TIMED[:8], NO_TIME]), World.from_context({}))
    assert any("needs the time" in reason for reason in reasons)
