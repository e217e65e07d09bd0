"""Windows events in each shape that people export: the same event is the same draft, whatever it was exported as."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.importers import import_records
from telemetry.importers.blocks import BAD_BLOCK, LONG_BLOCK, MAX_BLOCK, form_of, read_blocks
from telemetry.importers.events import DraftEvent, Skipped
from telemetry.importers.reading import read_records
from telemetry.importers.unwrapping import unwrap
from tests.windows_renderings import EVENTS, RENDERINGS, evtx

SAMPLES = Path(__file__).parent / "data" / "formats"
MOMENT = datetime(2033, 2, 11, 6, 7, 8, 250_000, UTC)


def draft(raw: Any) -> DraftEvent:
    (result,) = import_records(list(unwrap(raw)))
    assert isinstance(result, DraftEvent), result
    return result


def facts(event: DraftEvent) -> dict[str, Any]:
    return {"event_type": event.event_type, **event.fields.model_dump(exclude_none=True)}


@pytest.mark.parametrize("event", list(EVENTS))
@pytest.mark.parametrize("shape", list(RENDERINGS))
def test_an_event_is_the_same_draft_in_every_shape(shape, event):
    expected, got = draft(evtx(EVENTS[event])), draft(RENDERINGS[shape](EVENTS[event]))

    assert got.time == MOMENT
    assert facts(got) == facts(expected)


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="¦"), min_size=1, max_size=40
)


@given(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), st.sampled_from(sorted(RENDERINGS)))
def test_whatever_a_command_line_holds_it_is_the_same_in_every_shape(command, shape):
    event = replace(EVENTS["sysmon"], data={**EVENTS["sysmon"].data, "CommandLine": f"cmd.exe /c {command}"})

    got = facts(draft(RENDERINGS[shape](event)))

    assert got["process_cmd_line"] == facts(draft(evtx(event)))["process_cmd_line"]
    assert got["process_path"] == "C:\\Windows\\System32\\whoami.exe"


def shown(provider: str, log: str, event_id: int, message: str, **columns: Any) -> dict[str, Any]:
    """Import a record of which only the rendered message is left."""
    raw = {"Id": event_id, "ProviderName": provider, "LogName": log, "TimeCreated": "2033-02-11T06:07:08.25Z"}
    return facts(draft({**raw, "Message": message, **columns}))


AUDIT = "Microsoft-Windows-Security-Auditing"
SUBJECT = (
    "Subject:\r\n\tSecurity ID:\t\tS-1-5-21-1\r\n\tAccount Name:\t\tivo\r\n\tAccount Domain:\t\tALDER\r\n"
    "\tLogon ID:\t\t0x3E7AB\r\n\r\n"
)


def test_a_section_decides_whose_account_a_message_names():
    message = (
        f"An account was successfully logged on.\r\n\r\n{SUBJECT}Logon Information:\r\n\tLogon Type:\t\t10\r\n\r\n"
        "New Logon:\r\n\tAccount Name:\t\trosa\r\n\tLogon ID:\t\t0x99\r\n\tNetwork Account Name:\t-\r\n\r\n"
        "Network Information:\r\n\tWorkstation Name:\tWKS\r\n\tSource Network Address:\t10.1.1.1\r\n"
    )

    assert shown(AUDIT, "Security", 4624, message) == {
        "event_type": "logon",
        "activity": "success",
        "user_name": "rosa",
        "actor_user": "ivo",
        "session_uid": "0x99",
        "logon_type": 10,
        "src_ip": "10.1.1.1",
        "src_hostname": "WKS",
    }


def test_a_message_whose_lines_were_joined_is_read_by_the_labels_that_it_may_show():
    message = (
        f"A new process has been created.\n\nCreator {SUBJECT}Target Subject:\n\tAccount Name:\t\t-\n\n"
        "Process Information:\n\tNew Process ID:\t\t0x1e4\n\tNew Process Name:\tC:\\Windows\\System32\\net.exe\n"
        "\tMandatory Label:\t\tMandatory Label\\High Mandatory Level\n\tCreator Process Name:\tC:\\a b.exe\n"
        "\tProcess Command Line:\tnet user x: /add\n"
    )
    joined = shown(AUDIT, "Security", 4688, " ".join(message.split()))

    assert joined == shown(AUDIT, "Security", 4688, message)
    assert joined == {
        "event_type": "process",
        "activity": "launch",
        "process_path": "C:\\Windows\\System32\\net.exe",
        "process_cmd_line": "net user x: /add",
        "process_pid": 484,
        "process_integrity": "High",
        "parent_path": "C:\\a b.exe",
        "actor_user": "ivo",
        "session_uid": "0x3e7ab",
    }


def test_a_value_over_several_lines_is_read_whole():
    task = (
        f"A scheduled task was created.\n\n{SUBJECT}Task Information:\n\tTask Name: \t\t\\Sync\n\tTask Content: \t\t"
        '<?xml version="1.0" encoding="UTF-16"?>\n<Task>\n <Actions>\n  <Exec>\n   <Command>C:\\a.exe</Command>\n'
        "<Arguments>-q: x</Arguments>\n</Exec></Actions>\n</Task>\n\nOther Information:\n\tProcessCreationTime: \t\t1"
    )
    rights = f"Special privileges.\n\n{SUBJECT}Privileges:\t\tSeSecurityPrivilege\n\t\t\tSeDebugPrivilege"

    assert shown(AUDIT, "Security", 4698, task)["job_cmd_line"] == "C:\\a.exe -q: x"
    assert shown(AUDIT, "Security", 4672, rights)["privileges"] == "SeSecurityPrivilege SeDebugPrivilege"


@pytest.mark.parametrize(
    ("provider", "log", "event_id", "message", "told"),
    [
        (
            "Service Control Manager",
            "System",
            7040,
            "The start type of the Windows Event Log service was changed from auto start to disabled.",
            {"service_name": "Windows Event Log", "start_type": "disabled", "status": "auto start"},
        ),
        (
            "Microsoft-Windows-TaskScheduler",
            "Microsoft-Windows-TaskScheduler/Operational",
            106,
            'User "ALDER\\ivo"  registered Task Scheduler task "\\Sync"',
            {"actor_user": "ALDER\\ivo", "job_name": "\\Sync", "activity": "create"},
        ),
        (
            "Microsoft-Windows-TerminalServices-RemoteConnectionManager",
            "Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational",
            1149,
            "Remote Desktop Services: User authentication succeeded:\n\nUser: ivo\nDomain: A\nSource Network Address: 203.0.113.9",
            {"user_name": "ivo", "src_ip": "203.0.113.9"},
        ),
        (
            "Microsoft-Windows-Bits-Client",
            "Microsoft-Windows-Bits-Client/Operational",
            59,
            "BITS started the x transfer job that is associated with the http://files.example.test/a.exe URL.",
            {"url": "http://files.example.test/a.exe", "dst_hostname": "files.example.test"},
        ),
        (
            "Microsoft-Windows-Windows Defender",
            "Microsoft-Windows-Windows Defender/Operational",
            1116,
            "Microsoft Defender Antivirus has detected malware.\n \tName: Trojan:X\n \tSeverity: Severe\n \tPath: file:_C:\\a.exe",
            {"finding_title": "Trojan:X", "severity": "Severe", "file_path": "file:_C:\\a.exe"},
        ),
    ],
)
def test_a_sentence_or_list_of_other_logs_is_read(provider, log, event_id, message, told):
    assert shown(provider, log, event_id, message).items() >= told.items()


def test_windows_keeps_a_message_that_says_nothing_of_an_event_as_no_values():
    assert shown(AUDIT, "Security", 4688, "Ein neuer Prozess wurde erstellt.") == {
        "event_type": "process",
        "activity": "launch",
    }


# ---------------------------------------------------------------- samples of each tool's file
def sample(name: str) -> list[DraftEvent]:
    return [result for result in import_records(read_records(SAMPLES / name)) if isinstance(result, DraftEvent)]


def test_an_event_that_meets_two_rules_of_hayabusa_counts_once():
    assert len(sample("hayabusa-timeline--json.json")) == 1


def test_hayabusas_abbreviations_are_the_events_values():
    launch, failed = map(facts, sample("hayabusa-timeline.csv"))

    assert (
        launch.items()
        >= {
            "process_path": "C:\\Windows\\System32\\whoami.exe",
            "process_cmd_line": "whoami /all",
            "parent_path": "C:\\Windows\\System32\\cmd.exe",
            "actor_user": "ALDER\\rosa.lind",
        }.items()
    )
    assert (failed["user_name"], failed["logon_type"], failed["src_ip"]) == ("rosa.lind", 3, "203.0.113.44")


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("get-winevent--table.csv", datetime(2033, 2, 13, 6, 7, 8, tzinfo=UTC)),
        ("event-viewer-table.csv", datetime(2033, 2, 13, 6, 7, 8, tzinfo=UTC)),
        ("windows-events-in-splunk--message-fields.jsonl", MOMENT),
        ("windows-events-in-splunk--raw-text.jsonl", MOMENT),
        ("windows-events-in-flat-records--get-eventlog.jsonl", MOMENT),
        ("windows-events-in-flat-records--fluent-bit.jsonl", datetime(2033, 2, 11, 6, 7, 8, tzinfo=UTC)),
    ],
)
def test_a_failed_sign_in_keeps_time_account_and_address_in_tables_and_text(name, moment):
    (failed,) = sample(name)

    assert failed.time == moment
    assert (failed.activity, facts(failed)["user_name"], facts(failed)["src_ip"]) == (
        "failure",
        "rosa.lind",
        "203.0.113.44",
    )


@pytest.mark.parametrize("name", ["windows-events-in-ecs.jsonl", "winlogbeat-and-elastic-agent--moved-to-ecs.jsonl"])
def test_event_data_that_moved_to_ecs_fields_are_the_events_values(name):
    (launch,) = sample(name)

    assert (
        facts(launch).items()
        >= {
            "process_path": "C:\\Windows\\System32\\whoami.exe",
            "process_cmd_line": 'whoami /all "a: b"',
            "process_pid": 5120,
            "parent_cmd_line": "cmd.exe /k",
            "actor_user": "ALDER\\rosa.lind",
        }.items()
    )


# ---------------------------------------------------------------- blocks of lines
@pytest.mark.parametrize(
    "name",
    [
        "windows-event-log-evtx-xml--evtx-dump.txt",
        "windows-event-log-evtx-xml--evtx-dump-xml.xml",
        "get-winevent--wevtutil.txt",
    ],
)
def test_a_file_of_blocks_holds_the_same_events_as_one_of_lines(name):
    events = sample(name)

    assert [event.time for event in events] == [MOMENT, MOMENT]
    assert [facts(event) for event in events] == [facts(draft(evtx(EVENTS[name]))) for name in ("sysmon", "failed")]


def test_a_list_of_powershell_keeps_a_message_over_several_lines():
    launch, failed = sample("get-winevent--format-list.txt")

    assert launch.time == datetime(2033, 2, 13, 6, 7, 8, tzinfo=UTC)
    assert facts(launch)["process_cmd_line"] == 'whoami /all "a: b"'
    assert (facts(failed)["user_name"], facts(failed)["src_ip"]) == ("rosa.lind", "203.0.113.44")


def test_splunks_classic_text_is_cut_at_the_times_that_open_its_events():
    failed, service = sample("windows-events-in-splunk--classic.log")

    assert failed.time == MOMENT
    assert (facts(failed)["user_name"], facts(service)["service_cmd_line"]) == ("rosa.lind", "C:\\Tools\\helper.exe -q")


def test_text_that_only_looks_like_blocks_is_none():
    assert form_of("Record 1 of the book\n{x}") is None
    assert form_of("Event[0]:\nsomething else") is None
    assert form_of("Name : x\nOwner : y\n") is None
    assert form_of("") is None


def test_a_block_that_is_too_long_or_broken_is_named_and_the_next_is_read():
    form = form_of("Record 1\n{")
    assert form is not None
    lines = ["Record 1\n", '{"a": 1\n', "Record 2\n", "x" * MAX_BLOCK + "\n", "Record 3\n", '{"a": 3}\n']

    assert list(read_blocks(lines, form)) == [Skipped(BAD_BLOCK), Skipped(LONG_BLOCK), {"a": 3}]


@given(st.text(max_size=400), st.sampled_from(["Record 1\n{", "Event[0]:\n  Log Name: x\n", "Id : 1\nMessage : 2\n"]))
def test_no_text_after_a_blocks_beginning_raises(text, head):
    form = form_of(head)
    assert form is not None

    assert list(read_blocks(f"{head}{text}".splitlines(keepends=True), form))


def test_an_event_behind_a_syslog_frame_is_read():
    (launch,) = sample("windows-event-log-evtx-xml--sysmon-for-linux.log")

    assert (launch.time, facts(launch)["process_cmd_line"]) == (MOMENT, "curl -s http://files.example.test")


def test_evtxecmd_without_its_payload_gives_what_its_maps_filled():
    launch, failed = sample("evtxecmd--without-payload.csv")

    assert facts(launch)["process_cmd_line"] == 'whoami /all "a: b"'
    assert (
        facts(failed).items()
        >= {
            "user_name": "rosa.lind",
            "logon_type": 3,
            "src_ip": "203.0.113.44",
            "src_hostname": "WKS-77",
        }.items()
    )
