"""Every format that docs/real_logs.md lists is read from a file to an event with its own time, in every packing."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest

from evtx_files import evtx_file
from schema import EVENT_TYPES, NO_TIME
from scripts.coverage_tables import (
    CATEGORIES,
    NARROW,
    SAMPLES,
    SERVICES,
    attack_layer,
    formats_table,
    log_sources,
    samples_of,
    slug,
)
from telemetry.importers import FORMATS, format_of
from telemetry.importers.events import Skipped
from telemetry.importers.reading import read_records
from telemetry.judging import Judgement, find_files, judge_file
from verifier.rules import RULES
from world import World

ROWS = {row.name: row for row in FORMATS}
READ = [row.name for row in FORMATS if row.log_sources]  # the others name what becomes nothing
PATHS = sorted(SAMPLES.iterdir())


def judged(path: Path) -> Judgement:
    return judge_file((path.name, path), World())


def times(judgement: Judgement) -> list[str]:
    return [event["timestamp"] for event in judgement.events]


# ---------------------------------------------------------------- formats
def test_formats_have_names_of_their_own():
    assert len({slug(name) for name in ROWS}) == len(FORMATS)


def test_every_sample_is_named_after_a_format():
    slugs = {slug(name) for name in ROWS}

    assert [path.name for path in PATHS if path.name.split(".")[0].split("--")[0] not in slugs] == []


@pytest.mark.parametrize("name", ROWS)
def test_a_format_has_a_sample_whose_records_have_its_shape(name):
    """A message that several lines make up has no shape before it is whole; one sample of a format may be such."""
    shapes = {
        row.name
        for path in samples_of(ROWS[name])
        for raw in read_records(path)
        if not isinstance(raw, Skipped) and (row := format_of(raw))
    }

    assert name in shapes


@pytest.mark.parametrize("path", [path for name in READ for path in samples_of(ROWS[name])], ids=lambda path: path.name)
def test_a_sample_gives_events_and_each_has_its_own_time(path):
    judgement = judged(path)

    assert (judgement.error, judgement.reason) == ("", "")
    assert NO_TIME not in times(judgement)


@pytest.mark.parametrize("name", [name for name in ROWS if name not in READ])
def test_what_becomes_no_event_says_why(name):
    reasons = [reason for path in samples_of(ROWS[name]) for reason in judged(path).left_out_reasons]

    assert reasons
    assert not any("not recognised" in reason for reason in reasons)


# ---------------------------------------------------------------- kinds of files
WHOAMI = {
    "provider": "Microsoft-Windows-Sysmon",
    "id": "1",
    "time": "2031-05-06T08:00:00.0000000Z",
    "channel": "Microsoft-Windows-Sysmon/Operational",
    "computer": "DESK-9.quill.test",
    "data": {"Image": r"C:\Windows\System32\whoami.exe", "CommandLine": "whoami /all", "User": r"QUILL\r.prell"},
}
LINE = (
    json.dumps(
        {
            "Event": {
                "System": {
                    "Provider": {"#attributes": {"Name": WHOAMI["provider"]}},
                    "EventID": 1,
                    "TimeCreated": {"#attributes": {"SystemTime": WHOAMI["time"]}},
                    "Computer": WHOAMI["computer"],
                },
                "EventData": WHOAMI["data"],
            }
        }
    )
    + "\n"
)
XML = (
    '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><Provider Name="Microsoft-Windows-Sysmon"/>'
    '<EventID>1</EventID><TimeCreated SystemTime="2031-05-06T08:00:00.0000000Z"/><Computer>DESK-9.quill.test</Computer></System>'
    r'<EventData><Data Name="Image">C:\Windows\System32\whoami.exe</Data><Data Name="CommandLine">whoami /all</Data>'
    r'<Data Name="User">QUILL\r.prell</Data></EventData></Event>'
)
CSV = (
    "EventTime,SourceName,EventID,Hostname,Image,CommandLine,User\n"
    r"2031-05-06T08:00:00Z,Microsoft-Windows-Sysmon,1,DESK-9.quill.test,C:\Windows\System32\whoami.exe,whoami /all,QUILL\r.prell"
    "\n"
)
ZEEK = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tquery\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tstring\n1935734400.000000\tCx1\t10.71.4.9\t50112\t10.71.8.20\t53\tfiles.quill.test\n"
)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("inside/log.jsonl", content)
    return buffer.getvalue()


def zstandard(content: bytes) -> bytes:
    import zstandard as library

    return library.compress(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("binary.evtx", evtx_file([XML])),
        ("binary.evtx.gz", gzip.compress(evtx_file([XML]))),
        ("line.xml", XML.encode()),
        ("document.xml", f"<?xml version='1.0'?>\n<Events>\n{XML}\n</Events>\n".encode()),
        ("wide.xml", XML.encode("utf-16")),
        ("lines.jsonl", LINE.encode()),
        ("lines.jsonl.gz", gzip.compress(LINE.encode())),
        ("lines.jsonl.zst", zstandard(LINE.encode())),
        ("wide.json", LINE.encode("utf-16")),
        ("marked.json", b"\xef\xbb\xbf" + LINE.encode()),
        ("table.csv", CSV.encode()),
        ("wide.csv", CSV.encode("utf-16")),
    ],
)
def test_one_program_start_is_the_same_event_from_every_kind_of_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)

    judgement = judged(path)

    assert [event["timestamp"][:19] for event in judgement.events] == ["2031-05-06T08:00:00"]
    fields = judgement.events[0]["fields"]
    assert {key: fields[key] for key in ("activity", "process_path", "process_cmd_line", "device_hostname")} == {
        "activity": "launch",
        "process_path": r"C:\Windows\System32\whoami.exe",
        "process_cmd_line": "whoami /all",
        "device_hostname": "DESK-9.quill.test",
    }


def test_a_member_of_an_archive_is_a_recording(tmp_path):
    path = tmp_path / "logs.zip"
    path.write_bytes(zipped(LINE.encode()))

    (file,) = find_files([path]).files

    assert times(judge_file(file, World())) == ["2031-05-06T08:00:00Z"]


def test_a_table_of_zeek_is_read_by_the_fields_that_it_names(tmp_path):
    path = tmp_path / "dns.log"
    path.write_text(ZEEK)

    (event,) = judged(path).events

    assert (event["event_type"], event["fields"]["query_hostname"]) == ("dns_query", "files.quill.test")
    assert event["timestamp"].startswith("2031-05-05T08:00:00")


# ---------------------------------------------------------------- tables of the documents
def test_the_table_of_formats_has_a_row_for_each_and_says_what_it_becomes():
    rows = formats_table().splitlines()[2:]

    assert [row.split(" | ")[0] for row in rows] == [f"| {row.name}" for row in FORMATS]
    okta = next(row for row in rows if row.startswith("| Okta system log |"))
    assert okta.endswith("| `okta/okta` | `cloud_api`, `logon` |")


def test_the_log_sources_become_types_that_exist_and_cover_the_formats():
    sources = log_sources()

    assert set().union(*sources.values()) <= set(EVENT_TYPES)
    assert {source for row in FORMATS for source in row.log_sources} <= set(sources)
    assert [source for source, types in sources.items() if not types] == []
    assert {source: set(types) for source, types in NARROW.items()} == {source: sources[source] for source in NARROW}
    assert sources["windows/process_creation"] == {"process"}
    assert sources["windows/registry_event"] == {"registry"}
    assert sources["windows/windefend"] == {"control_change", "detection"}
    assert len(set(SERVICES) & set(CATEGORIES)) == 0


def test_the_layer_scores_every_technique_by_its_rules():
    layer = attack_layer()

    assert (layer["domain"], layer["versions"]["layer"]) == ("enterprise-attack", "4.5")
    assert sum(entry["score"] for entry in layer["techniques"]) == len(RULES)
    roasting = next(entry for entry in layer["techniques"] if entry["techniqueID"] == "T1558.003")
    assert (roasting["tactic"], roasting["comment"]) == ("credential-access", "kerberoasting")
    keys = [(entry["techniqueID"], entry["tactic"]) for entry in layer["techniques"]]
    assert len(keys) == len(set(keys))
