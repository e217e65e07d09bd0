"""The verifier: the ladder, rung by rung, and what never changes a decision."""

import dataclasses
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env import OpenSOCEnv
from generator import generate
from incidents import (
    ENCODED,
    EVIL,
    INSTALLED,
    POWERSHELL,
    STEADY,
    call,
    clock,
    event,
    explained,
    failures,
    incident,
    launch,
    listed,
    logon,
    probes,
    ticket,
    truth_of,
    world,
    write,
)
from schema import CATEGORIES, LABELS, TASKS, Incident, epoch_s, iso_time
from tasks.registry import SPLITS
from verifier import GroundTruth, compute_ground_truth, declaration_for, judge_observation, rules_on
from world import World

QUIET = launch(0, INSTALLED)
MONITORED = launch(0, POWERSHELL, "powershell iex 1")  # suspicious


def implant(at=0, host="WKS-01", user="ana"):
    """Confirmed, on a host."""
    return event(at, "process_inject", "remote_thread", process_path=EVIL, target_path=POWERSHELL, host=host, user=user)


def visitor(at=0, host="WKS-01", src="203.0.113.9"):
    """Confirmed, from an address: intelligence lists it."""
    return call(at, None, "10.20.1.11", activity="flow", host=host, user=None, src_ip=src)


def damage(at=0, host="WKS-01", user="ana"):
    """Confirmed, and the harm is done: eight files are encrypted."""
    return [write(at + n, f"D:\\{n}.pdf.locked", INSTALLED, "modify", host=host, user=user) for n in range(8)]


def roasting(at=0):
    """Confirmed, of an identity on an unknown host."""
    fields = {"ticket_encryption": "0x17", "user_name": "ana", "user": None, "host": "OTHER"}
    return [event(at + n, "kerberos", "tgs", service_name=f"s{n}", **fields) for n in range(5)]


BAD = listed("203.0.113.9")


def decided(*rows, **parts):
    truth = truth_of(*rows, **{"indicators": BAD, **parts})
    return truth.action, truth.rule_ids, truth.evidence_log_ids


# ---------------------------------------------------------------- the rungs
def test_nothing_found_is_dismissed_on_the_alert_s_line():
    assert decided(QUIET, launch(1, INSTALLED), alerted="L1-1") == ("dismiss", (), ("L1-1",))


@pytest.mark.parametrize("alerted", ["", "L9-9"])
def test_where_nobody_says_what_raised_the_alert_it_is_the_last_line(alerted):
    later = [launch(5, INSTALLED, log_id="L1-7"), launch(1, INSTALLED, log_id="L1-8")]

    assert decided(*later, alerted=alerted) == ("dismiss", (), ("L1-7",))


def test_suspicion_is_monitored_on_its_own_lines():
    assert decided(MONITORED, launch(1, INSTALLED), alerted="L1-2") == ("monitor", ("download-cradle",), ("L1-1",))


def test_hostile_code_on_a_host_is_quarantined():
    assert decided(QUIET, implant(1), alerted="L1-1") == ("quarantine_host", ("code-injection",), ("L1-2",))


def test_a_hostile_address_is_blocked():
    assert decided(visitor(0), launch(1, INSTALLED)) == ("block_ip", ("known-bad-address",), ("L1-1",))


@pytest.mark.parametrize(
    ("rows", "rule_ids", "last"),
    [
        (damage(), ("mass-encryption",), 8),
        ([implant(host="DIR-01")], ("code-injection",), 1),
        ([implant(user="root.admin")], ("code-injection",), 1),
        ([implant(user="CORP\\root.admin")], ("code-injection",), 1),
        ([visitor(host="DIR-01")], ("known-bad-address",), 1),
        ([implant(0), implant(1, "WKS-02"), visitor(2, "WKS-03")], ("code-injection", "known-bad-address"), 3),
        (roasting(), ("kerberoasting",), 5),
        (
            [*failures(5, src="10.20.1.12"), logon(60, "success", src="10.20.1.12")],
            ("password-guessing",),
            6,
        ),
    ],
)
def test_what_is_escalated(rows, rule_ids, last):
    assert decided(*rows) == ("escalate", rule_ids, tuple(f"L1-{number}" for number in range(1, last + 1)))


def test_three_hosts_are_several_and_two_are_not():
    two = [implant(0), implant(1, "WKS-02"), implant(2, "WKS-02", "ben")]

    assert decided(*two)[0] == "quarantine_host"
    assert decided(*two, implant(3, "WKS-03"))[0] == "escalate"
    assert decided(*two, implant(3, "UNKNOWN"))[0] == "escalate"
    assert decided(*two, implant(3, None))[0] == "quarantine_host"


@pytest.mark.parametrize(
    "rows", [[launch(0, POWERSHELL, "iex 1", host="DIR-01")], [launch(0, POWERSHELL, "iex 1", user="root.admin")]]
)
def test_suspicion_of_the_important_stays_suspicion(rows):
    assert decided(*rows)[0] == "monitor"


HARM, CROWN, PRIVILEGED = damage(0), implant(20, "DIR-01"), implant(30, "WKS-02", "root.admin")


@pytest.mark.parametrize(
    ("rows", "action", "evidence"),
    [
        ([*HARM, CROWN, PRIVILEGED, visitor(40, "WKS-03")], "escalate", "12345678"),
        ([MONITORED, CROWN, PRIVILEGED, visitor(40, "WKS-03")], "escalate", "2"),
        ([MONITORED, implant(1, "WKS-03"), PRIVILEGED, visitor(40)], "escalate", "3"),
        ([MONITORED, implant(1), implant(2, "WKS-02"), visitor(40, "WKS-03")], "escalate", "234"),
        ([MONITORED, implant(1), implant(2, "WKS-02"), visitor(40)], "quarantine_host", "23"),
        ([MONITORED, visitor(1), *roasting(2)], "block_ip", "2"),
        ([MONITORED, *roasting(2)], "escalate", "23456"),
    ],
)
def test_the_gravest_rung_that_holds_decides(rows, action, evidence):
    truth = truth_of(*rows, indicators=BAD)

    assert (truth.action, "".join(log_id[3:] for log_id in truth.evidence_log_ids)) == (action, evidence)


# ---------------------------------------------------------------- context and decision
EXCUSE = ticket(tool="evil.exe")


def test_what_is_explained_is_dismissed_on_its_lines_and_the_alert_s():
    rows = [launch(0, INSTALLED), implant(10), launch(20, INSTALLED), implant(30)]

    assert decided(*rows, tickets=[EXCUSE], alerted="L1-3") == (
        "dismiss",
        ("code-injection",),
        ("L1-2", "L1-3", "L1-4"),
    )


@pytest.mark.parametrize(
    ("beside", "action", "evidence"),
    [
        (launch(1, POWERSHELL, "iex 1"), "monitor", ("L1-2",)),
        (implant(1, "WKS-02"), "quarantine_host", ("L1-2",)),
        (visitor(1), "block_ip", ("L1-2",)),
        (implant(1, "DIR-01"), "escalate", ("L1-2",)),
    ],
)
def test_what_is_explained_does_not_hide_what_is_not(beside, action, evidence):
    assert decided(implant(0), beside, tickets=[EXCUSE])[::2] == (action, evidence)


def test_an_explained_host_does_not_count_among_several():
    rows = [implant(0), implant(1, "WKS-02"), implant(2, "WKS-03")]

    assert decided(*rows, tickets=[EXCUSE])[0] == "quarantine_host"


# ---------------------------------------------------------------- missing telemetry
def silence(start=100, end=160, host="WKS-01", telemetry="endpoint"):
    return [{"host": host, "telemetry": telemetry, "silent_from": clock(start), "silent_to": clock(end)}]


LONG = [launch(0, INSTALLED), launch(300, INSTALLED, host="WKS-02")]  # the alert is on the first


@pytest.mark.parametrize(
    ("sensors", "action"),
    [
        (silence(), "monitor"),
        (silence(100, 159), "dismiss"),
        (silence(-500, 60), "monitor"),
        (silence(-500, 59), "dismiss"),
        (silence(240, 9000), "monitor"),
        (silence(241, 9000), "dismiss"),
        (silence(-900, 9000), "monitor"),
        (silence(-900, -100), "dismiss"),
        (silence(160, 100), "dismiss"),
        (silence(host="WKS-02"), "dismiss"),
        (silence(host=""), "dismiss"),
        (silence(telemetry="network"), "dismiss"),
        (silence(telemetry="identity"), "dismiss"),
        ([*silence(host="WKS-02"), *silence(0, 10), *silence()], "monitor"),
    ],
)
def test_a_sensor_silent_for_a_minute_of_the_window_is_monitored(sensors, action):
    assert decided(*LONG, sensors=sensors, alerted="L1-1") == (action, (), ("L1-1",))


@pytest.mark.parametrize(
    ("alerting", "telemetry"),
    [
        (event(0, "dns_query", "query", query_hostname="a.b"), "network"),
        (logon(0, "success"), "identity"),
        (event(0, "detection", "malware"), "endpoint"),
    ],
)
def test_only_the_sensor_of_the_alert_s_kind_counts(alerting, telemetry):
    for silent in ("endpoint", "network", "identity"):
        action = decided(alerting, LONG[1], sensors=silence(telemetry=silent), alerted="L1-1")[0]

        assert action == ("monitor" if silent == telemetry else "dismiss")


def test_cloud_calls_have_no_sensor_that_could_be_silent():
    rows = [event(0, "cloud_api", "call", api_operation="ListBuckets"), LONG[1]]

    assert decided(*rows, sensors=silence(), alerted="L1-1")[0] == "dismiss"


def test_silence_asks_for_monitoring_only_where_nothing_unexplained_is_left():
    rows = [implant(0), launch(300, INSTALLED)]

    assert decided(*rows, sensors=silence(), alerted="L1-2") == ("quarantine_host", ("code-injection",), ("L1-1",))
    assert decided(*rows, sensors=silence(), alerted="L1-2", tickets=[EXCUSE]) == ("monitor", (), ("L1-2",))


# ---------------------------------------------------------------- odd worlds
def test_in_an_empty_world_private_addresses_are_ours_and_nobody_is_important():
    rows = [
        implant(0, "DIR-01", "root.admin"),
        call(1, EVIL, "192.168.7.7"),
        call(2, EVIL, "fd00::1"),
        call(3, EVIL, "::ffff:10.1.2.3"),
    ]
    truth = compute_ground_truth(incident(*rows))

    assert (truth.action, truth.evidence_log_ids) == ("quarantine_host", ("L1-1",))
    assert truth == compute_ground_truth(incident(*rows), World())


def test_a_stored_truth_is_rebuilt_without_what_no_row_stores():
    truth = truth_of(implant())
    stored = {
        "action": "quarantine_host",
        "evidence_log_ids": ["L1-1"],
        "techniques": ["T1055"],
        "rule_ids": ["code-injection"],
    }

    assert GroundTruth.from_dict(stored) == GroundTruth(
        "quarantine_host", (), ("L1-1",), ("T1055",), ("code-injection",), ""
    )
    assert GroundTruth.from_dict(truth.to_dict()) == dataclasses.replace(truth, findings=(), why="", rung="")
    assert GroundTruth.from_dict({"action": "dismiss"}) == GroundTruth("dismiss", (), (), (), (), "")


@pytest.mark.parametrize(
    ("address", "is_external"), [("2001:db8::1", True), ("::ffff:8.8.8.8", True), ("fe80::1", False)]
)
def test_version_6_addresses_are_ours_or_not(address, is_external):
    rows = [launch(0, POWERSHELL, "iex 1"), call(1, POWERSHELL, address)]

    assert decided(*rows)[0] == ("quarantine_host" if is_external else "monitor")


def test_the_truth_is_plain_data_that_explains_itself():
    truth = truth_of(implant(0), MONITORED, tickets=[EXCUSE])
    told = json.loads(json.dumps(truth.to_dict()))

    assert told["action"] == "monitor"
    assert [finding["explained_by"] for finding in told["findings"]] == [None, "ticket CHG-1"]
    assert told["explanation"].splitlines() == [
        "Findings: download-cradle (T1059.001, suspicious) in L1-2; code-injection (T1055, confirmed) in L1-1.",
        "Context: code-injection is explained by ticket CHG-1; unexplained: download-cradle.",
        "Decision: monitor, because what was found is suspicious, not confirmed, and nothing explains it.",
    ]


# ---------------------------------------------------------------- generated incidents
CASES = st.builds(
    lambda task, split, index: generate(task, index, split=split),
    st.sampled_from(TASKS),
    st.sampled_from(SPLITS),
    st.integers(0, 10**6),
)
ADDRESS = re.compile(r"\b(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\b")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def rewritten(case, change):
    """A case with its incident and its whole world rewritten as text."""
    lines = json.loads(change(json.dumps(case.lines)))
    context = json.loads(change(json.dumps(case.world.to_context())))
    told = {"target_label": "dismiss", "category": "benign_activity", "events": lines}
    return Incident.model_validate(told), World.from_context(context, alerted=case.world.alerted)


def judged(told, around):
    truth = compute_ground_truth(told, around)
    return truth.action, truth.evidence_log_ids, truth.rule_ids


@settings(STEADY, max_examples=120)
@given(CASES, st.randoms(use_true_random=False))
def test_the_listing_order_changes_nothing(case, random):
    events = list(case.incident.events)
    random.shuffle(events)
    shuffled = case.incident.model_copy(update={"events": events})

    assert compute_ground_truth(shuffled, case.world) == compute_ground_truth(case.incident, case.world)


@settings(STEADY, max_examples=60)
@given(CASES, st.randoms(use_true_random=False))
def test_the_order_of_lines_of_one_minute_changes_nothing(case, random):
    events = [event.model_copy(update={"timestamp": event.timestamp[:17] + "00Z"}) for event in case.incident.events]
    truth = compute_ground_truth(case.incident.model_copy(update={"events": events}), case.world)
    random.shuffle(events)

    assert compute_ground_truth(case.incident.model_copy(update={"events": events}), case.world) == truth


@settings(STEADY, max_examples=80)
@given(CASES)
def test_other_names_and_addresses_change_nothing(case):
    hosts = {name: f"QQ{number}" for number, name in enumerate(case.world.hosts)}
    accounts = {name: f"who{number}" for number, name in enumerate(case.world.accounts)}
    names = hosts | accounts
    known = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    block = next(iter(case.world.hosts.values()))["ip"].split(".")[1]

    def renamed(text):
        text = known.sub(lambda match: names[match[0]], text)
        return ADDRESS.sub(lambda match: moved(*match.groups()), text)

    def moved(first, second, third, fourth):
        if (first, second) == ("10", block):
            return f"10.251.{third}.{fourth}"
        if (first, second) == ("192", "168"):
            return f"192.168.251.{fourth}"
        return f"{first}.{third}.{second}.{fourth}"  # elsewhere outside

    assert judged(*rewritten(case, renamed)) == judged(case.incident, case.world)


@settings(STEADY, max_examples=60)
@given(CASES, st.integers(-(10**9), 10**9))
def test_another_time_changes_nothing(case, seconds):
    def shifted(text):
        return MOMENT.sub(lambda match: iso_time(epoch_s(match[0]) + seconds), text)

    assert judged(*rewritten(case, shifted)) == judged(case.incident, case.world)


@settings(STEADY, max_examples=60)
@given(
    CASES, st.sampled_from(LABELS), st.sampled_from(CATEGORIES), st.sampled_from(["", "Answer escalate.", "x" * 1000])
)
def test_what_the_author_claims_changes_nothing(case, label, category, narrative):
    told = case.incident.model_copy(update={"target_label": label, "category": category, "narrative": narrative})

    assert compute_ground_truth(told, case.world) == compute_ground_truth(case.incident, case.world)


@settings(STEADY, max_examples=60)
@given(CASES)
def test_evidence_is_never_empty_and_always_of_the_window(case):
    truth = compute_ground_truth(case.incident, case.world)
    ids = [event.log_id for event in case.incident.events]

    assert truth.evidence_log_ids
    assert set(truth.evidence_log_ids) <= set(ids)
    assert len(set(truth.evidence_log_ids)) == len(truth.evidence_log_ids)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_rendered_is_enough_to_judge(task, split):
    env = OpenSOCEnv()
    for index in range(40):
        shown = json.loads(env.reset(seed=index, task=task, split=split).model_dump_json())
        case = generate(task, index, split=split)

        assert judge_observation(shown) == compute_ground_truth(case.incident, case.world), index


def test_pwsh_is_judged_alike_from_the_world_and_from_what_is_rendered():
    # The slice shows powershell.exe only where a line names it or runs a script.
    told = incident(launch(0, "C:\\Program Files\\PowerShell\\7\\pwsh.exe", "pwsh -enc " + "QUJD" * 8, user="ben"))
    around = world()
    shown = around.slice_for([row.model_dump(exclude_none=True) for row in told.events])

    assert compute_ground_truth(told, World.from_context(shown)) == compute_ground_truth(told, around)


# ---------------------------------------------------------------- what would explain it
@pytest.mark.parametrize(
    ("rows", "ways"),
    [
        (
            [launch(0.5, POWERSHELL, ENCODED)],
            "a ticket of powershell.exe by ana on WKS-01 from 2026-03-02T09:00:00Z to 2026-03-02T09:00:01Z, "
            "or the tool powershell.exe of the department of ana",
        ),
        ([launch(0, POWERSHELL, ENCODED, user=None)], ""),
        ([launch(0, POWERSHELL, ENCODED, host=None)], "the tool powershell.exe of the department of ana"),
        (probes(10, src="10.20.1.12"), "the scanner 10.20.1.12 of WKS-01"),
    ],
)
def test_what_would_have_to_be_declared(rows, ways):
    assert [declaration_for(finding) for finding in truth_of(*rows).findings] == [ways]


def test_the_ticket_that_a_declaration_names_explains_the_finding():
    rows = [launch(0.5, POWERSHELL, ENCODED)]

    assert explained(*rows) == [""]
    assert explained(*rows, tickets=[ticket(starts_at=clock(0), ends_at=clock(1))]) == ["ticket CHG-1"]


def test_which_rules_speak_of_a_line():
    assert rules_on("module_load", "driver") == ("kernel-module-inserted", "foreign-module", "odd-driver")
    assert rules_on("logon", "logoff") == ()
    with pytest.raises(KeyError):
        rules_on("logon", "tea")
