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


def test_what_an_endpoint_did_is_told_by_ecs_category_type_and_action():
    drafts = [(event.event_type, event.activity) for event in events("elastic-defend-and-ecs.jsonl")]
    launch, _, change, connection, query, module, failed, _ = map(facts, events("elastic-defend-and-ecs.jsonl"))

    assert drafts == [
        ("process", "launch"),
        ("file", "create"),
        ("registry", "set"),
        ("net_conn", "open"),
        ("dns_query", "query"),
        ("module_load", "dll"),
        ("logon", "failure"),
        ("detection", "malware"),
    ]
    assert (launch["process_cmd_line"], launch["parent_path"]) == ("net user /domain", "C:\\Windows\\System32\\cmd.exe")
    assert (launch["process_integrity"], launch["actor_user"]) == ("High", "LARCH\\noor")
    assert (change["reg_key_path"], change["reg_value_data"]) == ("HKLM\\SOFTWARE\\X\\Run\\Sync", "C:\\Tools\\sync.exe")
    assert (connection["dst_ip"], connection["dst_port"], connection["direction"]) == ("203.0.113.9", 443, "outbound")
    assert (query["query_hostname"], query["answers"]) == ("files.example.test", "203.0.113.9")
    assert module["signature_state"] == "unsigned"
    assert (failed["user_name"], failed["src_ip"]) == ("noor", "10.8.0.77")


@pytest.mark.parametrize("carrier", ["hit", "search-fields"])
def test_a_launch_in_ecs_is_read_in_a_hit_and_in_search_fields(carrier):
    (launch,) = events(f"elastic-defend-and-ecs--{carrier}.jsonl")

    assert (launch.event_type, launch.activity, facts(launch)["device_hostname"]) == ("process", "launch", "wks-22")
    assert facts(launch)["process_cmd_line"] in ("net user /domain", "curl -s http://files.example.test")


def test_an_alert_of_a_detection_rule_is_a_detection():
    (alert,) = events("elastic-defend-and-ecs--alert.jsonl")

    assert (alert.activity, facts(alert)["finding_title"], facts(alert)["severity"]) == (
        "ids_notice",
        "Unusual parent",
        "high",
    )


def test_a_falcon_event_is_typed_by_its_name():
    launch, connection, query, failed = map(facts, events("crowdstrike-falcon.jsonl"))

    assert (launch["process_cmd_line"], launch["process_pid"], launch["parent_path"]) == (
        "net user /domain",
        4312,
        "cmd.exe",
    )
    assert (connection["dst_ip"], connection["direction"]) == ("203.0.113.9", "outbound")
    assert query["query_hostname"] == "files.example.test"
    assert (failed["activity"], failed["logon_type"], failed["src_ip"]) == ("failure", 3, "10.8.0.77")


def test_a_row_that_osquery_adds_is_made_and_one_that_it_lists_or_removes_is_not():
    launch, connection, job = events("osquery-results.jsonl")

    assert launch.time == datetime(2032, 4, 7, 8, 20, 30, tzinfo=UTC)  # the event's own, not the log's
    assert facts(launch)["process_cmd_line"] == "curl -s http://files.example.test"
    assert facts(connection)["dst_ip"] == "203.0.113.9"
    assert (job.activity, facts(job)["job_cmd_line"]) == ("create", "/opt/sync")


def test_a_windows_event_in_osquery_is_that_event():
    (failed,) = events("osquery-windows-events.jsonl")

    assert (facts(failed)["user_name"], facts(failed)["status"]) == ("noor", "0xc000006a")
    assert failed.time == datetime(2032, 4, 7, 10, 20, 30, 125_000, UTC)


def test_an_alert_of_wazuh_is_its_log_line_else_a_file_event_or_a_detection():
    (line,) = events("wazuh-alerts--sshd.jsonl")
    alert, change = events("wazuh-alerts.jsonl")

    assert (line.event_type, facts(line)["user_name"], facts(line)["src_ip"]) == ("logon", "root", "203.0.113.9")
    assert line.time == alert.time == datetime(2032, 4, 7, 10, 20, 30, 125_000, UTC)  # the line names no year
    assert (alert.activity, facts(alert)["severity"]) == ("ids_notice", "high")
    assert (change.event_type, change.activity, facts(change)["file_path"]) == ("file", "modify", "/etc/passwd")


def test_rows_of_asim_are_typed_by_schema_and_event_type():
    rows = events("sentinel-asim.jsonl")
    launch, session, failed, query, value, _, member, call, request, alert = map(facts, rows)

    assert {row.time for row in rows} == {
        datetime(2032, 4, 7, 10, 20, 30, 125_000, UTC)
    }  # when it began, not when it came
    assert (launch["process_cmd_line"], launch["parent_path"], launch["actor_user"]) == (
        "net user /domain",
        "C:\\Windows\\System32\\cmd.exe",
        "LARCH\\noor",
    )
    assert (session["activity"], session["direction"], session["dst_port"]) == ("block", "outbound", 443)
    assert (failed["activity"], failed["user_name"], failed["src_ip"]) == ("failure", "noor", "10.8.0.77")
    assert query["query_hostname"] == "files.example.test"
    assert value["reg_key_path"] == "HKLM\\SOFTWARE\\X\\Run\\Sync"
    assert (member["event_type"], member["group_name"], member["actor_user"]) == ("group", "Admins", "ivo")
    assert (call["api_operation"], call["api_error"], call["resources"]) == ("Update policy", "Failure", "p1")
    assert (request["url"], request["status_code"]) == ("http://files.example.test/a", 200)
    assert (alert["activity"], alert["severity"]) == ("malware", "High")


def test_a_table_of_asim_is_known_by_its_type_column():
    (sign_in,) = events("sentinel-asim--table.csv")

    assert sign_in.time == datetime(2032, 4, 13, 9, 43, 21, 994_000, UTC)
    assert (sign_in.event_type, sign_in.activity, facts(sign_in)["user_name"]) == ("logon", "success", "noor")


def test_a_row_of_a_devices_timeline_is_read_as_its_table_is():
    (launch,) = events("defender-device-timeline.csv")

    assert launch.time == datetime(2032, 4, 7, 10, 20, 30, 125_000, UTC)
    assert (facts(launch)["process_path"], facts(launch)["process_cmd_line"], facts(launch)["device_hostname"]) == (
        "C:\\Windows\\System32\\net.exe",
        "net user /domain",
        "wks-22",
    )
