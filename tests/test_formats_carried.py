"""Records in what a tool, a console or a collector puts around them: which event each sample becomes, with its own time."""

import json
from pathlib import Path

import pytest

from telemetry.importers import UNKNOWN_SHAPE, import_records
from telemetry.importers.events import Skipped
from telemetry.judging import judge_file
from world import World

MORNING = "2027-04-06T09:20:01Z"
SAMPLES = Path(__file__).parent / "data" / "formats"


def first_event(name, *fields):
    """Read a sample and return its first event's time and the fields that are asked for."""
    event = judge_file((name, SAMPLES / name), World()).events[0]
    return event["timestamp"], *(event["fields"].get(field) for field in fields)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        (
            "syslog--macos-process-title.log",
            ("activity", "user_name", "src_ip"),
            ("2027-04-06T09:20:01.118203Z", "failure", "bianca", "198.51.100.23"),
        ),
        (
            "syslog--wazuh-archives.json",
            ("activity", "user_name", "device_hostname"),
            ("2027-04-06T09:20:01.118000Z", "failure", "bianca", "shop-3"),
        ),
        (
            "systemd-journal--json-seq.json",
            ("activity", "user_name"),
            (MORNING, "failure", "bianca"),
        ),
        (
            "windows-events-in-flat-records--velociraptor.csv",
            ("activity", "process_cmd_line", "actor_user"),
            (MORNING, "launch", "whoami", "ATELIER\\bianca"),
        ),
        (
            "syslog--search-export.csv",
            ("activity", "user_name", "device_hostname"),
            ("2027-04-06T09:20:01.500000Z", "failure", "bianca", "shop-3"),
        ),
        (
            "suricata-fast-log.log",
            ("finding_title", "severity", "src_ip", "dst_ip"),
            ("2027-04-06T09:20:01.250000Z", "An odd handshake - Misc Attack", "medium", "192.0.2.40", "198.51.100.23"),
        ),
        (
            "suricata-fast-log--syslog.log",
            ("finding_title", "severity", "device_hostname"),
            (MORNING, "An odd handshake - Misc Attack (blocked)", None, "ids-1"),
        ),
        *(
            (
                name,
                ("activity", "user_name", "src_ip", "logon_type"),
                (MORNING, "failure", "bianca", "198.51.100.23", 3),
            )
            for name in (
                "snare-windows-events.log",
                "snare-windows-events--syslog.log",
                "get-winevent--few-columns.csv",
                "get-winevent--cloudwatch-text.json",
                "windows-event-log-evtx-xml--cloudwatch.json",
                "windows-event-log-evtx-xml--collector.jsonl",
                "windows-event-log-evtx-xml--queue.jsonl",
                "windows-events-in-flat-records--agent-payload.json",
                "windows-events-in-flat-records--wmi.json",
            )
        ),
        *(
            (
                name,
                ("activity", "user_name", "src_ip", "device_hostname", "logon_process"),
                (MORNING, "failure", "bianca", "198.51.100.23", "shop-3", "sshd"),
            )
            for name in (
                "syslog--compose.log",
                "syslog--kubectl.log",
                "syslog--loki.json",
                "syslog--strings.json",
                "syslog-in-columns--attributes.json",
                "systemd-journal--verbose.log",
            )
        ),
        *(
            (name, ("process_path", "process_cmd_line", "actor_user"), (MORNING, "/usr/bin/id", "id", "bianca"))
            for name in (
                "elastic-defend-and-ecs--datarows.json",
                "elastic-defend-and-ecs--query.json",
                "osquery-results--fleet.json",
            )
        ),
        (
            "laurel.jsonl",
            ("process_path", "process_cmd_line", "actor_user"),
            (MORNING, "/usr/bin/id", "id -un", "bianca"),
        ),
        (
            "zeek-ssh--commas.log",
            ("activity", "src_ip", "target_hostname"),
            (MORNING, "failure", "198.51.100.23", "192.0.2.40"),
        ),
        (
            "event-viewer-table--german.csv",
            ("activity", "user_name", "src_ip", "logon_type"),
            ("2027-04-16T09:20:01Z", "failure", "bianca", "198.51.100.23", 3),
        ),
        ("syslog--cef-bare.log", ("finding_title", "actor_user"), (MORNING, "Odd file", "bianca")),
        (
            "w3c-access-log.log",
            ("url", "src_ip", "status_code", "user_agent"),
            (MORNING, "https://192.0.2.40/shop/list?page=2", "198.51.100.23", 200, "Mozilla/5.0 (X11)"),
        ),
        (
            "w3c-access-log--cloudfront.log",
            ("url", "src_ip", "status_code", "bytes_in"),
            (MORNING, "https://d1.cloudfront.net/list", "198.51.100.23", 403, 812),
        ),
        (
            "windows-firewall-log.log",
            ("activity", "src_ip", "dst_port", "direction"),
            (MORNING, "block", "198.51.100.23", 445, "inbound"),
        ),
        (
            "google-workspace-console.csv",
            ("activity", "user_name", "src_ip", "status"),
            (MORNING, "failure", "bianca@atelier.example", "198.51.100.23", "Failed Login"),
        ),
        (
            "google-workspace-console--admin.csv",
            ("api_service", "api_operation", "actor_user"),
            (MORNING, "workspace/admin", "ASSIGN_ROLE", "bianca@atelier.example"),
        ),
    ],
)
def test_a_record_is_read_out_of_what_is_around_it(name, fields, expected):
    assert first_event(name, *fields) == expected


@pytest.mark.parametrize(
    ("event", "description", "operation", "parameters", "rules"),
    [
        ("Assign Role", "Role _SEED_ADMIN_ROLE assigned to user leo@atelier.example", "ASSIGN_ROLE", {"ROLE_NAME": "_SEED_ADMIN_ROLE", "USER_EMAIL": "leo@atelier.example"}, ["tenant-role-granted"]),
        ("Grant Admin Privilege", "Admin privileges granted to leo@atelier.example", "GRANT_ADMIN_PRIVILEGE", {"USER_EMAIL": "leo@atelier.example"}, ["tenant-role-granted"]),
        ("User Settings", "leo@atelier.example assigned Groups admin privileges", "GRANT_DELEGATED_ADMIN_PRIVILEGES", {"USER_EMAIL": "leo@atelier.example", "NEW_VALUE": "Groups"}, ["tenant-role-granted"]),
        ("Unenroll User", "User leo@atelier.example unenrolled from Strong Auth.", "UNENROLL_USER_FROM_STRONG_AUTH", {"USER_EMAIL": "leo@atelier.example"}, ["tenant-factor-reset"]),
        ("Allow 2-Step", "Allow 2-Step Verification has been set from true to false", "ALLOW_STRONG_AUTHENTICATION", {"OLD_VALUE": "true", "NEW_VALUE": "false"}, ["tenant-factor-reset"]),
        ("Authorize Client", "API client access to your organization from client 1084 authorized for scopes https://mail.google.com/", "AUTHORIZE_API_CLIENT_ACCESS", {"API_CLIENT_NAME": "1084", "API_SCOPES": "https://mail.google.com/"}, ["tenant-consent-wide"]),
        ("Trust", "Sheet Mailer trusted for Atelier", "ADD_TO_TRUSTED_OAUTH2_APPS", {"OAUTH2_APP_NAME": "Sheet Mailer", "ORG_UNIT_NAME": "Atelier"}, ["tenant-consent-wide"]),
        ("Monitor", "Created an email monitor for leo@atelier.example to x@out.example that will expire on 2027-06-01", "CREATE_EMAIL_MONITOR", {"USER_EMAIL": "leo@atelier.example", "EMAIL_MONITOR_DEST_EMAIL": "x@out.example", "END_DATE_TIME": "2027-06-01"}, ["tenant-data-out"]),
        ("Forwarding", "leo has enabled out of domain email forwarding to x@out.example.", "email_forwarding_out_of_domain", {"actor": "leo", "email_forwarding_destination_address": "x@out.example"}, ["tenant-data-out"]),
        ("Customer Takeout Created", "a request to export all data", "CUSTOMER_TAKEOUT_CREATED", {}, ["tenant-data-out"]),
        ("Unassign Role", "Unassigned role _SEED_ADMIN_ROLE from user leo@atelier.example", "UNASSIGN_ROLE", {}, []),
        ("Allow 2-Step", "Allow 2-Step Verification has been set from false to true", "ALLOW_STRONG_AUTHENTICATION", {"OLD_VALUE": "false", "NEW_VALUE": "true"}, []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("header", ["Event,Description,Actor,Date,IP address", "Event name,Event description,Admin,Date,IP address"])  # fmt: skip
def test_the_sentence_of_workspaces_console_names_the_call_that_rules_know(
    tmp_path, header, event, description, operation, parameters, rules
):
    path = tmp_path / "admin.csv"
    path.write_text(f"{header}\n{event},{description},bianca@atelier.example,2027-04-06T11:20:01+02:00,198.51.100.23\n")

    judgement = judge_file(("admin.csv", path), World())

    (line,) = judgement.events
    assert (line["fields"]["api_operation"], line["fields"]["actor_user"]) == (operation, "bianca@atelier.example")
    assert json.loads(line["fields"]["resources"]) == {**parameters, "description": description}
    assert list(judgement.rule_ids) == rules


def test_cef_and_leef_in_syslog_are_connections_or_detections():
    events = judge_file(("syslog--cef.log", SAMPLES / "syslog--cef.log"), World()).events

    assert [(event["fields"]["activity"], event["fields"].get("finding_title")) for event in events] == [
        ("ids_notice", "Odd file"),
        ("block", None),
        ("ids_notice", "Odd call"),
    ]
    assert [event["fields"].get("severity") for event in events] == ["high", None, "medium"]
    assert events[1]["fields"]["dst_port"] == 22


# ---------------------------------------------------------------- wrappings that nobody documented
CALL = {"eventSource": "iam.amazonaws.com", "eventName": "ListUsers", "eventTime": MORNING, "userIdentity": {}}


def wrapped(record, levels):
    for level in range(levels):
        record = {f"level{level}": record, "version": 1}
    return record


@pytest.mark.parametrize(
    ("record", "calls"),
    [
        (wrapped(CALL, 4), ["ListUsers"]),
        (wrapped(CALL, 5), []),
        ({"batch": [CALL, CALL | {"eventName": "ListRoles"}]}, ["ListUsers", "ListRoles"]),
        ({"line": json.dumps(CALL), "offset": 7}, ["ListUsers"]),
        ({"line": json.dumps({"colour": "red"}), "offset": 7}, []),
    ],
)
def test_known_records_are_found_within_an_unknown_one_to_four_levels(record, calls):
    found = import_records([record])

    assert [result.fields.api_operation for result in found if not isinstance(result, Skipped)] == calls
    assert calls or [result.reason for result in found] == [UNKNOWN_SHAPE]


def test_records_after_fifty_of_the_same_keys_that_held_nothing_are_not_looked_through():
    empty = [{"body9": {"colour": number}} for number in range(50)]

    assert [isinstance(result, Skipped) for result in import_records([*empty[:49], {"body9": CALL}])][-1] is False
    assert [isinstance(result, Skipped) for result in import_records([*empty, {"body9": CALL}])][-1] is True


def test_a_line_that_names_its_container_without_a_record_behind_it_is_left_out():
    (result,) = import_records([{"raw": "web-1  | all is well"}])

    assert result.reason == "a line of text that is neither auditd's nor syslog's"
