"""Exports of Defender, Sentinel and endpoint products: what their rows become, exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from telemetry.importers import import_records
from telemetry.importers.events import DraftEvent
from telemetry.importers.reading import read_records

FORMATS = Path(__file__).parent / "data" / "formats"


def events(name: str) -> list[DraftEvent]:
    results = import_records(read_records(FORMATS / name))
    return [result for result in results if isinstance(result, DraftEvent)]


def facts(event: DraftEvent) -> dict[str, Any]:
    return {"event_type": event.event_type, **event.fields.model_dump(exclude_none=True)}


@pytest.mark.parametrize(
    "name", ["projected-columns.csv", "streaming-api.jsonl", "log-analytics-api.json", "hunting-api.json"]
)
def test_a_launch_is_the_same_by_whatever_road_defender_exports_it(name):
    (event,) = events(f"defender-deviceprocessevents--{name}")

    assert event.time == datetime(2032, 4, 7, 10, 20, 30, 125_000, UTC)
    assert facts(event) == {
        "event_type": "process",
        "activity": "launch",
        "process_path": "C:\\Windows\\System32\\net.exe",
        "process_cmd_line": "net user /domain",
        "parent_path": "c:\\windows\\system32\\cmd.exe",
        "parent_cmd_line": "cmd.exe /c start",
        "device_hostname": "wks-22.larch.test",
        "actor_user": "noor.haddad",
    }


def test_defenders_device_events_are_typed_by_their_action():
    task, script, rule, pipe = (facts(event) for event in events("defender-deviceevents.jsonl"))

    assert (task["event_type"], task["job_name"], task["job_cmd_line"]) == ("task", "\\Sync", "C:\\Tools\\sync.exe -q")
    assert (script["activity"], script["script_text"]) == ("pipeline", "Get-ADUser")
    assert (rule["event_type"], rule["finding_title"]) == ("detection", "AsrOfficeChildProcessBlocked")
    assert (pipe["activity"], pipe["pipe_name"]) == ("connect", "\\lsass")


def test_a_sign_in_of_defender_keeps_type_reason_and_source():
    (failed,) = events("defender-devicelogonevents.jsonl")

    assert facts(failed) == {
        "event_type": "logon",
        "activity": "failure",
        "user_name": "noor.haddad",
        "logon_type": 3,
        "auth_protocol": "NTLM",
        "src_ip": "10.8.0.77",
        "src_hostname": "wks-31",
        "status": "InvalidUserNameOrPassword",
        "device_hostname": "wks-22.larch.test",
        "session_uid": "71234",
    }


def test_names_that_the_answer_to_a_connection_holds_are_a_query():
    connection, query = (facts(event) for event in events("defender-devicenetworkevents.jsonl"))

    assert (connection["dst_ip"], connection["dst_hostname"]) == ("203.0.113.9", "files.example.test")
    assert (query["query_hostname"], query["answers"]) == ("files.example.test", '["203.0.113.9"]')


def test_a_registry_key_has_sysmons_name():
    (change,) = events("defender-deviceregistryevents.jsonl")

    assert facts(change)["reg_key_path"] == "HKCU\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\Sync"


def test_a_membership_of_a_directory_names_group_and_member():
    (change,) = events("defender-identitydirectoryevents.jsonl")

    assert (facts(change)["activity"], facts(change)["group_name"], facts(change)["user_name"]) == (
        "member_add",
        "Domain Admins",
        "Ivo Lund",
    )


def test_alerts_are_detections():
    (alert,) = events("defender-and-sentinel-alerts.csv")
    (evidence,) = events("defender-and-sentinel-alerts--evidence.jsonl")

    assert (alert.activity, facts(alert)["severity"]) == ("ids_notice", "Medium")
    assert (evidence.activity, facts(evidence)["file_path"]) == ("malware", "C:\\Users\\noor\\a.ps1")
