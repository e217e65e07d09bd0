"""The window: what is kept of a long recording, what is left out, and that the rule is blind and repeatable."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from schema import EVENT_CLASSES, FIELDS_OF, MAX_EVENTS
from telemetry.importers.events import DraftEvent
from telemetry.windowing import WORTH, Pool, choose_window, worth_of

START = datetime(2031, 5, 6, 8, 0, tzinfo=UTC)


def event(event_type: str, activity: str, second: float, **fields: Any) -> DraftEvent:
    """An event of a host a number of seconds after the start; the second is its record number too."""
    values = {"activity": activity, "device_hostname": "wks-07", **fields}
    return DraftEvent(event_type, FIELDS_OF[event_type](**values), START + timedelta(seconds=second), int(second))


def modules(count: int, first: int = 0) -> list[DraftEvent]:
    """Library loads, the commonest noise."""
    return [
        event(
            "module_load",
            "dll",
            first + n,
            process_path="C:\\Windows\\svchost.exe",
            file_path=f"C:\\Windows\\lib{n}.dll",
        )
        for n in range(count)
    ]


def failure(second: int, user: str = "ines", source: str = "198.51.100.23") -> DraftEvent:
    return event("logon", "failure", second, user_name=user, src_ip=source, logon_type=3)


def kept_types(events: list[DraftEvent]) -> dict[str, int]:
    kept, _ = choose_window(events)
    return {name: sum(one.event_type == name for one in kept) for name in {one.event_type for one in kept}}


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (40, 40), (41, 40), (400, 40)])
def test_a_short_recording_stays_whole_and_a_long_one_fills_the_window(count, kept):
    window, left = choose_window(modules(count))

    assert len(window) == kept
    assert len(left) == count - kept
    assert {reason for _, reason in left} <= {"window full: outside the chosen window (module_load dll)"}


def test_no_events_give_no_window():
    assert choose_window([]) == ([], [])


def test_every_event_is_kept_or_left_out_once_and_the_window_is_in_time_order():
    events = modules(200) + [failure(300 + n) for n in range(60)]

    window, left = choose_window(events)

    assert sorted([one.record for one in window] + [one.record for one, _ in left]) == sorted(
        one.record for one in events
    )
    assert [one.time for one in window] == sorted(one.time for one in window)


def test_the_order_of_the_input_does_not_matter():
    events = modules(100) + [failure(300 + n, user=f"u{n % 7}") for n in range(60)]
    shuffled = list(events)
    random.Random(7).shuffle(shuffled)

    assert choose_window(shuffled)[0] == choose_window(events)[0]


def test_the_same_content_at_the_same_time_is_a_duplicate():
    twice = [event("pipe", "create", 1, pipe_name="\\a"), event("pipe", "create", 1, pipe_name="\\a")]

    window, left = choose_window([*twice, event("pipe", "create", 2, pipe_name="\\a")])

    assert [one.record for one in window] == [1, 2]
    assert left == [(twice[1], "duplicate of record 1")]


def test_attempts_at_the_same_time_are_no_duplicates():
    window, left = choose_window([failure(1), failure(1), failure(1)])

    assert len(window) == 3
    assert left == []


def test_a_rare_deed_is_kept_among_hundreds_of_launches():
    launches = [
        event("process", "launch", n, process_path=f"C:\\a{n}.exe", parent_path=f"C:\\p{n}.exe", actor_user="ines")
        for n in range(390)
    ]
    deeds = [
        event("service", "install", 500, service_name="x"),
        event("control_change", "audit_policy", 501, control_name="x"),
        event("account", "create", 502, user_name="x"),
    ]
    crowd = [event("service", "state", 400 + n, service_name=f"s{n}") for n in range(40)]

    window, _ = choose_window(launches + crowd + deeds)

    assert [one.record for one in window[-3:]] == [500, 501, 502]


@pytest.mark.parametrize(("count", "least"), [(5, 5), (12, 12), (300, 12)])
def test_repeated_failures_survive_in_numbers_that_can_be_counted(count, least):
    window, _ = choose_window([*modules(390, first=1000), *(failure(n) for n in range(count))])

    assert sum(one.event_type == "logon" for one in window) >= least


def test_a_spray_keeps_many_accounts_before_it_keeps_repeats():
    one_account = [failure(n, user="ines") for n in range(60)]
    spray = [failure(100 + n, user=f"user{n:02d}") for n in range(11)]

    window, _ = choose_window([*one_account, *spray, *modules(300, first=1000)])

    assert len({one.fields.user_name for one in window if one.event_type == "logon"}) == 12


def test_a_scan_keeps_many_ports():
    scan = [event("net_conn", "flow", n, src_ip="10.1.1.9", dst_ip="10.1.1.1", dst_port=n + 1) for n in range(200)]

    window, _ = choose_window([*modules(190, first=1000), *scan])

    assert len({one.fields.dst_port for one in window if one.event_type == "net_conn"}) >= 12


def test_no_bulk_type_crowds_out_another():
    loud = [event("script", "block", n, script_text=f"step {n}", host_application=f"host {n}") for n in range(300)]
    quiet = [event("dns_query", "query", 400 + n, query_hostname=f"n{n}.example") for n in range(5)]

    assert kept_types(loud + quiet)["dns_query"] == 5


def test_the_launch_its_parent_the_dropped_file_and_the_call_come_with_a_deed():
    path, parent = "C:\\Program Files\\Quill\\agent.exe", "C:\\Program Files\\Quill\\setup.exe"
    chain = [
        event(
            "process", "launch", 1, process_path=parent, parent_path="C:\\Windows\\explorer.exe", actor_user="SYSTEM"
        ),
        event("file", "create", 2, file_path=path, process_path=parent),
        event("process", "launch", 3, process_path=path, parent_path=parent, actor_user="SYSTEM"),
        event("process_inject", "remote_thread", 4, process_path=path, target_path="C:\\Windows\\spoolsv.exe"),
        event("net_conn", "open", 5, process_path=path, dst_ip="10.1.1.1", dst_port=8443, dst_scope="internal"),
    ]
    noise = [
        event(
            "process",
            "launch",
            100 + n,
            process_path=f"C:\\Windows\\tool{n}.exe",
            parent_path="C:\\Windows\\cmd.exe",
            actor_user="ines",
        )
        for n in range(100)
    ]

    window, _ = choose_window(chain + noise)

    assert [one.record for one in window[:5]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (event("service", "install", 1, service_name="x"), event("service", "state", 1, service_name="x")),
        (
            event("process_access", "open", 1, target_path="C:\\Windows\\System32\\lsass.exe", access_mask="0x1010"),
            event("process_access", "open", 1, target_path="C:\\Windows\\System32\\lsass.exe", access_mask="0x1000"),
        ),
        (
            event("net_conn", "open", 1, dst_ip="203.0.113.1", dst_scope="external"),
            event("net_conn", "open", 1, dst_ip="10.1.1.1", dst_scope="internal"),
        ),
        (
            event("module_load", "dll", 1, file_path="C:\\Users\\ines\\x.dll", signature_state="unsigned"),
            event("module_load", "dll", 1, file_path="C:\\Users\\ines\\x.dll", signature_state="signed"),
        ),
        (
            event("registry", "set", 1, reg_key_path="HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\x"),
            event("registry", "set", 1, reg_key_path="HKLM\\SOFTWARE\\Quill\\Size"),
        ),
        (
            event("kerberos", "tgs", 1, ticket_encryption="0x17", user_name="ines"),
            event("kerberos", "tgs", 1, ticket_encryption="0x12", user_name="ines"),
        ),
        (
            event("logon", "success", 1, logon_type=3, src_ip="10.1.1.1", user_name="ines"),
            event("logon", "success", 1, logon_type=3, src_ip="10.1.1.1", user_name="WKS-07$"),
        ),
        (
            event("cloud_api", "call", 1, api_operation="PutBucketPolicy"),
            event("cloud_api", "call", 1, api_operation="ListBuckets"),
        ),
        (
            event("process", "launch", 1, process_cmd_line="a.exe http://203.0.113.1/x", actor_user="ines"),
            event("process", "launch", 1, process_cmd_line="a.exe -x", actor_user="ines"),
        ),
        (
            event("share", "access", 1, share_name="\\\\*\\C$", file_path="x.exe", actor_user="ines"),
            event("share", "access", 1, share_name="\\\\*\\C$", file_path="x.exe", actor_user="WKS-07$"),
        ),
        (
            event("file", "create", 1, file_path="C:\\a\\x.dll"),
            event("file", "create", 1, file_path="C:\\a\\x.log"),
        ),
    ],
)
def test_facts_of_the_operation_raise_its_worth(better, worse):
    assert worth_of(better) > worth_of(worse)


def test_every_activity_of_the_schema_has_a_worth():
    for event_type, event_class in EVENT_CLASSES.items():
        fields = event_class.model_fields["fields"].annotation
        for activity in get_args(fields.model_fields["activity"].annotation):
            assert (event_type, activity) in WORTH or (event_type, "") in WORTH
            assert worth_of(event(event_type, activity, 1)) > 0


def test_a_long_recording_is_chosen_from_in_little_time():
    events = [event("file", "create", n, file_path=f"C:\\a\\{n}.log", process_path="C:\\a.exe") for n in range(5000)]

    assert len(choose_window(events)[0]) == MAX_EVENTS


def test_a_pool_keeps_what_is_worth_most_of_a_recording_of_any_length():
    pool, gone = Pool(200), []
    events = [*modules(300), event("service", "install", 400, service_name="x"), *modules(700, first=1000)]
    for one in events:
        gone += pool.add(one)

    window, left = choose_window(pool.events, earlier=pool.earlier)

    assert len(gone) + len(left) + len(window) == len(events)
    assert [one.record for one in window if one.event_type == "service"] == [400]
    assert len(pool.events) <= 200
