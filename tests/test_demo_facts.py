"""What the records say on a line, in words."""

import pytest

from demo.facts import facts_of

EMPTY = {name: [] for name in ("hosts", "accounts", "tools", "scanners", "tickets", "indicators", "sensors")}
HOST = {"name": "WEB-01", "ip": "10.1.0.5", "role": "web_server", "criticality": "standard"}
ANA = {"name": "ana", "kind": "person", "privileged": False, "department": "it_ops"}
TICKET = {
    "ticket_id": "CHG-1",
    "status": "approved",
    "hosts": ["WEB-01"],
    "accounts": ["ana"],
    "tool": "tar",
    "starts_at": "2026-03-02T09:00:00Z",
    "ends_at": "2026-03-02T10:00:00Z",
}


def line(at="2026-03-02T09:30:00Z", **fields):
    return {"log_id": "L1-0", "timestamp": at, "event_type": "process", "fields": {"activity": "launch", **fields}}


def words(fields, at="2026-03-02T09:30:00Z", **context):
    return [fact.words for fact in facts_of(line(at, **fields), {**EMPTY, **context})]


def test_ordinary_hosts_and_accounts_are_not_worth_a_word():
    assert words({"device_hostname": "WEB-01", "actor_user": "CORP\\ana"}, hosts=[HOST], accounts=[ANA]) == []


def test_tier_and_privilege_are_told_by_name_or_address_the_gravest_first():
    crown = {**HOST, "criticality": "crown_jewel"}

    assert words(
        {"dst_ip": "10.1.0.5", "actor_user": "ana@corp.example"}, hosts=[crown], accounts=[{**ANA, "privileged": True}]
    ) == [
        "WEB-01 is a crown jewel (web server)",
        "ana is a privileged account",
    ]
    assert words({"device_hostname": "WEB-01"}, hosts=[{**HOST, "criticality": "lab"}]) == ["WEB-01 is a lab machine"]


@pytest.mark.parametrize(
    ("at", "beside"),
    [
        ("2026-03-02T09:30:00Z", "is within that time"),
        ("2026-03-02T08:48:00Z", "is 12 min before its start"),
        ("2026-03-02T10:00:20Z", "is 20 s after its end"),
        ("2026-03-02T13:00:00Z", "is 3 h after its end"),
    ],
)
def test_a_ticket_is_told_with_its_window_and_where_the_line_lies(at, beside):
    [told] = words(
        {"device_hostname": "WEB-01", "actor_user": "ana", "process_path": "/usr/bin/tar"}, at, tickets=[TICKET]
    )

    assert told == f"ticket CHG-1 (approved, 09:00 to 10:00): ana, tar, WEB-01; this line {beside}"


def test_a_ticket_of_another_host_account_and_program_is_not_told():
    assert (
        words({"device_hostname": "WEB-02", "actor_user": "ben", "process_path": "/usr/bin/tar"}, tickets=[TICKET])
        == []
    )


def test_intelligence_tools_scanners_and_silent_sensors_are_told():
    found = words(
        {
            "device_hostname": "WEB-01",
            "actor_user": "ana",
            "process_path": "C:\\tools\\procdump.exe",
            "url": "http://bad.example/x",
            "src_ip": "10.9.9.9",
        },
        accounts=[ANA],
        indicators=[{"value": "bad.example", "confidence": "low"}, {"value": "other.example", "confidence": "high"}],
        tools=[{"name": "procdump.exe", "department": "engineering"}],
        scanners=[{"ip": "10.9.9.9", "targets": ["10.1.0.0/24"]}],
        sensors=[
            {
                "host": "WEB-01",
                "telemetry": "endpoint",
                "silent_from": "2026-03-02T09:10:00Z",
                "silent_to": "2026-03-02T09:40:00Z",
            }
        ],
    )

    assert found == [
        "threat intelligence lists bad.example, low confidence",
        "procdump.exe is approved for engineering; ana is in IT operations",
        "10.9.9.9 is an authorised scanner of 10.1.0.0/24",
        "the endpoint sensor of WEB-01 was silent 09:10 to 09:40",
    ]
    assert facts_of(line(url="http://["), EMPTY) == []
