"""Odd and hostile input: nothing raises, nothing is slow, and the truth stays the same in any order and when rendered."""

import itertools
import json
import re
import time
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from generator import generate
from incidents import (
    ADDRESSES,
    EVIL,
    INSTALLED,
    OUTSIDE,
    POWERSHELL,
    SERVICES,
    STEADY,
    SYSTEM32,
    clock,
    incident,
    launch,
    listed,
    ticket,
    world,
)
from schema import EVENT_CLASSES, LABELS, MAX_LONG_TEXT, TASKS, Incident
from verifier import check_plausibility, compute_ground_truth, plausibility, signature, window
from verifier.rules import execution, identity, network, tampering
from world import World

WORDS = st.sampled_from(
    [
        "", " ", "a", "\\", "/", ".", "..", "...", "-", '"', "%", "$", "@", "\\\\", "a@b\\c", "arn:", "arn:aws:iam::1:user/ana", "ana", "CORP\\ben", "root.admin@x",
        "SYSTEM", "WKS-01", "WKS-01$", "DIR-01", INSTALLED, EVIL, POWERSHELL, SYSTEM32 + "cmd.exe", SERVICES, SYSTEM32 + "lsass.exe", "C:\\Office\\WINWORD.EXE", "C:/Users/ana/a.exe",
        "/tmp/x", "lsass.exe", "x.dmp", "D:\\a.pdf.locked", "a.zip", "iex", "powershell.exe -enc " + "A" * 40, "vssadmin delete shadows", "off", "0x0", "krbtgt",
        "Domain Admins", "StopLogging", "CommandLineEventConsumer", "HKLM\\CurrentVersion\\Run\\x", "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2", "bad.example",
        "x" * 40 + ".evil.com", "/.env", "\u0130\u212a\u03a3", "\U0001f600", "\ud7ff", "\u00a0",
    ]
)  # fmt: skip
IPS = st.sampled_from(
    [*ADDRESSES.values(), OUTSIDE, "10.20.200.5", "::1", "::", "fe80::1", "2001:db8::1", "::ffff:10.20.1.11", "::ffff:1.2.3.4", "1.2.3", "f", ":", ".", "0.0.0.0"]
)  # fmt: skip
STAMPS = st.sampled_from(
    [clock(0), clock(0), clock(1), clock(299.5), clock(300), clock(600), "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2024-02-29T12:00:00.1Z", "1969-12-31T23:59:59Z"]
)  # fmt: skip


def values_of(field):
    """Odd values of a field, by its JSON schema."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    kind = kinds[0]
    if "enum" in kind or "const" in kind:
        return st.sampled_from(kind.get("enum") or [kind["const"]])
    if kind["type"] == "integer":
        return st.sampled_from([kind["minimum"], kind["maximum"], 3])
    if kind.get("maxLength") == 45:
        return IPS
    if "maxLength" not in kind:
        return st.sampled_from(["0x0", "0x10", "0x17", "0xffffffffffffffff", "0x1FFFFF"])
    visible = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=30)
    return st.one_of(WORDS, WORDS, visible)


def events_of(event_type):
    properties = EVENT_CLASSES[event_type].model_fields["fields"].annotation.model_json_schema()["properties"]
    fields = st.fixed_dictionaries(
        {"activity": values_of(properties["activity"])},
        optional={name: values_of(field) for name, field in properties.items() if name != "activity"},
    )
    return st.fixed_dictionaries({"event_type": st.just(event_type), "timestamp": STAMPS, "fields": fields})


INCIDENTS = st.lists(st.one_of([events_of(event_type) for event_type in EVENT_CLASSES]), min_size=1, max_size=14)
AROUND = world(
    indicators=[*listed("bad.example"), *listed(OUTSIDE, "low")],
    tickets=[ticket(), ticket(tool="evil.exe", hosts=["WKS-01", "DIR-01"])],
    sensors=[{"host": "WKS-01", "telemetry": "endpoint", "silent_from": clock(0), "silent_to": clock(300)}],
    alerted="L1-1",
)
ODD = settings(STEADY, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@ODD
@given(INCIDENTS, st.booleans())
def test_odd_input_is_judged_and_never_raises(rows, numbered):
    told = incident(*(rows if numbered else [{**row, "log_id": "L1-1"} for row in rows]))
    truth = compute_ground_truth(told, AROUND)
    shown = AROUND.slice_for([row.model_dump(exclude_none=True) for row in told.events])

    assert truth.action in LABELS
    assert truth.evidence_log_ids
    assert compute_ground_truth(told, World.from_context(shown, alerted="L1-1")) == truth  # what is rendered is enough
    assert isinstance(compute_ground_truth(told, World()).action, str)
    assert all(isinstance(reason, str) for reason in check_plausibility(told, AROUND))
    assert isinstance(check_plausibility(told, World()), list)
    assert isinstance(signature(told, truth), str)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["repeat", "user", "host", "drop", "odd", "time"]), st.integers(0, 39), st.integers(0, 9), WORDS
    ),
    min_size=1,
    max_size=8,
)


def spoiled(case, edits):
    """A generated incident's lines after some edits: lines repeated, other users and hosts, fields emptied or made odd."""
    rows = json.loads(json.dumps(case.lines))
    users, hosts = list(case.world.accounts), list(case.world.hosts)
    for edit, line, choice, word in edits:
        row = rows[line % len(rows)]
        texts = [
            name
            for name, value in row["fields"].items()
            if isinstance(value, str) and ("path" in name or "name" in name)
        ]
        if edit == "repeat":
            rows += [{**row, "fields": dict(row["fields"])} for _ in range(min(choice, 40 - len(rows)))]
        elif edit == "user":
            row["fields"]["actor_user"] = ("", "CORP\\")[choice % 2] + users[choice]
        elif edit == "host":
            row["fields"]["device_hostname"] = hosts[choice]
        elif edit == "time":
            row["timestamp"] = rows[choice % len(rows)]["timestamp"]
        elif texts and edit == "drop":
            del row["fields"][texts[choice % len(texts)]]
        elif texts:
            row["fields"][texts[choice % len(texts)]] = word
    for number, row in enumerate(rows, 1):
        row["log_id"] = f"L1-{number}"
    return Incident.model_validate({"target_label": "dismiss", "category": "benign_activity", "events": rows})


@settings(ODD, max_examples=150)
@given(
    st.builds(lambda task, index: generate(task, index), st.sampled_from(TASKS), st.integers(0, 10**6)),
    EDITS,
    st.randoms(use_true_random=False),
)
def test_spoiled_incidents_are_judged_alike_in_any_order_and_from_what_is_rendered(case, edits, random):
    told = spoiled(case, edits)
    truth = compute_ground_truth(told, case.world)
    shown = case.world.slice_for([row.model_dump(exclude_none=True) for row in told.events])
    events = list(told.events)
    random.shuffle(events)

    assert compute_ground_truth(told, World.from_context(shown, alerted=case.world.alerted)) == truth
    assert compute_ground_truth(told.model_copy(update={"events": events}), case.world) == truth
    assert isinstance(check_plausibility(told, case.world), list)


def test_every_field_of_every_event_type_can_be_odd():
    for event_type, cls in EVENT_CLASSES.items():
        properties = cls.model_fields["fields"].annotation.model_json_schema()["properties"]
        for field in properties.values():
            values_of(field)
        assert get_args(cls.model_fields["event_type"].annotation) == (event_type,)


# `\d` in the schema's patterns takes the digits of every script, and the calendar check is skipped for days up to 28.
@pytest.mark.parametrize("stamp", ["\u0662\u0660\u0662\u0666-03-02T09:14:07Z", "2026-03-02T09:14:0\u0667Z"])
def test_digits_of_other_scripts_are_no_timestamp(stamp):
    with pytest.raises(ValidationError):
        Incident.model_validate(
            {
                "target_label": "dismiss",
                "category": "benign_activity",
                "events": [{**launch(0, INSTALLED), "timestamp": stamp, "log_id": "L1-1"}],
            }
        )


# ---------------------------------------------------------------- hostile text
def patterns(value):
    """The compiled patterns in a value, however deep in dicts and tuples."""
    if isinstance(value, re.Pattern):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ():
        yield from patterns(part)


PATTERNS = [
    pattern
    for module in (window, plausibility, execution, identity, network, tampering)
    for value in vars(module).values()
    for pattern in patterns(value)
]
PIECES = (
    "a", "ab", " ", "\\", "/", ".", "-", "%", "=", "1", "%27 ", "0x0", "..", "../", "c:\\", "c:/", "\\\\a\\b\\", "%a%\\", "\\users\\", "\\users\\a",
    "/home/a", "\\programdata\\", "\\device\\harddiskvolume1", "c:\\a.exe", ".exe ", ".dll", "http", "https://", "/format:", "/format: ", "/s ", "/s .inf",
    "/i: ", "vssadmin ", "vssadmin delete ", "delete  ", "wmic ", "shadowcopy delete ", "process  call ", "wbadmin ", "bcdedit recoveryenabled ",
    "union ", "union a", " or ", "; ", " -e ", " -enc AAAAAAAAAAAAAAAAAAA", "cmd ", "\\currentversion\\run", "\\winlogon\\", "script", "${jndi", "(", "'or",
)  # fmt: skip


def test_no_pattern_is_slow_on_hostile_text():
    hostile = [
        (first + second) * (MAX_LONG_TEXT // len(first + second))
        for first in PIECES
        for second in ("", " ", first[::-1], "!")
    ]
    hostile += [
        first * (1000 // len(first)) + second * (1000 // len(second))
        for first, second in itertools.product(PIECES, PIECES[:9])
    ]

    assert len(PATTERNS) >= 25
    for pattern in PATTERNS:
        for text in hostile:
            assert _seconds(pattern, text) < 0.05, (pattern.pattern, text[:60])


def _seconds(pattern, text):
    """The processor's time, whoever else has it in between."""
    start = time.process_time()
    pattern.search(text)
    return time.process_time() - start
