"""Files of every kind: recognised by what is in them, packed or not, whole or broken."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from evtx_files import evtx_file
from telemetry.importers.containers import FileError
from telemetry.importers.events import Skipped
from telemetry.importers.reading import BAD_EVENT, BAD_LINE, BREAKS_OFF, LONG_LINE, read_records, read_text
from telemetry.importers.tables import BAD_ROW, HEADER_AGAIN, LONG_ROW
from telemetry.importers.times import read_time
from telemetry.importers.xml_events import BROKEN, HARMFUL, TOO_LONG
from telemetry.judging import find_files, judge
from telemetry.windowing import Pool
from world import World

LINES = '{"raw": "one"}\n{"raw": "two"}\n'
EVENT = (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>"
    "<Provider Name='Microsoft-Windows-Security-Auditing'/><EventID Qualifiers='0'>4688</EventID>"
    "<TimeCreated SystemTime='2031-05-06T07:08:09.5Z'/><Channel>Security</Channel><Computer>desk-3</Computer>"
    "<Security UserID='S-1-5-18'/></System><EventData><Data Name='NewProcessName'>C:\\a &amp; b.exe</Data>"
    "<Data Name='Empty'></Data></EventData></Event>"
)
RECORD = {
    "Event": {
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Security-Auditing"}},
            "EventID": {"#attributes": {"Qualifiers": "0"}, "#text": "4688"},
            "TimeCreated": {"#attributes": {"SystemTime": "2031-05-06T07:08:09.5Z"}},
            "Channel": "Security",
            "Computer": "desk-3",
            "Security": {"#attributes": {"UserID": "S-1-5-18"}},
        },
        "EventData": {"NewProcessName": "C:\\a & b.exe", "Empty": ""},
    }
}


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return packed.getvalue()


# ---------------------------------------------------------------- containers
@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        zstandard.compress,
        lambda data: gzip.compress(gzip.compress(data)),
    ],
)
def test_packed_lines_are_read_whatever_the_file_is_called(tmp_path, pack):
    path = written(tmp_path, "export.bin", pack(LINES.encode()))

    assert list(read_records(path)) == [{"raw": "one"}, {"raw": "two"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_is_read_in_the_encodings_of_windows(tmp_path, encoding):
    path = written(tmp_path, "text.jsonl", '{"raw": "Müller"}\n{"raw": "b"}\n'.encode(encoding))

    assert list(read_records(path)) == [{"raw": "Müller"}, {"raw": "b"}]


def test_a_cut_gzip_file_gives_what_it_holds_and_says_that_it_breaks_off(tmp_path):
    path = written(tmp_path, "cut.jsonl.gz", gzip.compress(LINES.encode())[:-9])

    *records, last = read_records(path)

    assert records[:1] == [{"raw": "one"}]
    assert isinstance(last, Skipped)
    assert last.reason.startswith(f"{BREAKS_OFF}: EOFError")


def test_content_that_unpacks_to_far_more_than_logs_do_ends_there(tmp_path, monkeypatch):
    monkeypatch.setattr("telemetry.importers.containers.FREE_BYTES", 1 << 20)
    path = written(tmp_path, "bomb.log.gz", gzip.compress((b"x" * 999 + b"\n") * 20_000))

    assert list(read_records(path))[-1] == Skipped(f"{BREAKS_OFF}: it unpacks to more than 300 times its size")


@pytest.mark.parametrize(("pack", "is_copied"), [(bytes, False), (gzip.compress, True)])
def test_an_event_log_is_copied_only_where_it_is_packed_and_its_progress_is_told(
    tmp_path, monkeypatch, pack, is_copied
):
    content = evtx_file([EVENT] * 2500)
    path = written(tmp_path, "log.evtx", pack(content))
    monkeypatch.setattr("telemetry.importers.containers.HEAD", 1 << 18)
    copies, told = [], []
    copy = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: copies.append(copy()) or copies[-1])

    assert sum(1 for _ in read_records(path, told.append)) == 2500
    assert bool(copies) == is_copied
    assert told == sorted(told)
    assert len(content) // 2 < told[-1] <= len(content) or is_copied


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_cut_event_log_gives_the_records_before_the_cut_and_says_that_it_breaks_off(tmp_path, pack):
    path = written(tmp_path, "cut.evtx", pack(evtx_file([EVENT] * 300)[:8200]))

    *records, bad, last = read_records(path)

    assert records == [RECORD] * 4
    assert bad == Skipped(BAD_EVENT)
    assert last == Skipped(f"{BREAKS_OFF}: it ends within a chunk")


def test_each_member_of_an_archive_is_a_file_of_its_own(tmp_path):
    path = written(tmp_path, "logs.zip", archive(**{"a/one.jsonl": LINES.encode(), "two.log": b"hello\n"}))

    files, errors, _ = find_files([path])

    assert [name for name, _ in files] == ["logs.zip/a/one.jsonl", "logs.zip/two.log"]
    assert errors == []
    assert [list(read_records(member)) for _, member in files] == [[{"raw": "one"}, {"raw": "two"}], [{"raw": "hello"}]]


def test_members_that_lead_out_of_an_archive_or_are_archives_are_named_and_left_out(tmp_path):
    path = written(
        tmp_path, "logs.zip", archive(**{"../out.log": b"x\n", "in.zip": archive(a=b"x\n"), "ok.log": b"x\n"})
    )

    files, errors, _ = find_files([path])

    assert [name for name, _ in files] == ["logs.zip/ok.log"]
    assert [error.partition("it is ")[2] for error in errors] == [
        "a path out of the archive; it is not read.",
        "an archive in an archive; unpack it.",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xd4\xc3\xb2\xa1" + bytes(40), r"packet capture \(pcap\); let Zeek"),
        (b"SQLite format 3\x00" + bytes(40), "SQLite database; write its table as CSV"),
        (b"PAR1" + bytes(range(40)), "Parquet table"),
        (b"%PDF-1.7\n", "PDF document"),
        (archive(**{"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<x/>"}), "save the sheet as CSV"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b'\r\n<Objs Version="1.1.0.1">', "ConvertTo-Json"),
        (b"-----BEGIN PGP MESSAGE-----\n", "decrypt it first"),
        (bytes(range(256)) * 8, r"binary of no known kind \(first bytes 00 01 02"),
        (b"ElfFile\x00" + bytes(120), r"Windows event log \(EVTX\)"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_first_bytes_with_the_way_out(tmp_path, content, says):
    with pytest.raises(FileError, match=says):
        list(read_records(written(tmp_path, "thing.log", content)))


def test_files_of_a_folder_that_are_no_recordings_are_named_with_the_reason(tmp_path):
    written(tmp_path, "a.xml", EVENT.encode())
    written(tmp_path, "b.pcap", b"\xd4\xc3\xb2\xa1" + bytes(40))
    written(tmp_path, "README.md", b"# words\n")
    written(tmp_path, ".hidden", b"x\n")

    files, errors, skipped = find_files([tmp_path])

    assert [name for name, _ in files] == ["a.xml"]
    assert errors == []
    assert [sentence.partition(";")[0] for sentence in skipped] == [
        ".hidden: a hidden file",
        "README.md: .md files hold no records",
        "b.pcap: it is a packet capture (pcap)",
    ]


# ---------------------------------------------------------------- XML
@pytest.mark.parametrize(
    "text",
    [
        EVENT,
        f"<?xml version='1.0' encoding='utf-8'?>\n<Events>{EVENT}</Events>",
        EVENT.replace(" xmlns='http://schemas.microsoft.com/win/2004/08/events/event'", ""),
        EVENT.replace("><", ">\r\n  <"),
        EVENT.replace("<", "<ev:").replace("<ev:/", "</ev:").replace("xmlns=", "xmlns:ev="),
    ],
)
def test_an_event_as_xml_has_the_shape_that_evtx_converters_write(text):
    assert list(read_text(text)) == [RECORD]


@pytest.mark.parametrize("between", ["", "\n", "\n\n  "])
def test_several_events_after_each_other_are_several_records(between):
    assert list(read_text(between.join([EVENT] * 3))) == [RECORD] * 3


def test_data_without_names_is_a_list_and_rendered_text_is_kept():
    text = (
        EVENT.replace(" Name='NewProcessName'", "")
        .replace(" Name='Empty'", "")
        .replace("</Event>", "<RenderingInfo Culture='en-US'><Message>It ran.</Message></RenderingInfo></Event>")
    )

    [record] = read_text(text)

    assert record["Event"]["EventData"] == {"Data": {"#text": ["C:\\a & b.exe", ""]}}
    assert record["Event"]["RenderingInfo"]["Message"] == "It ran."


def test_a_broken_event_loses_itself_alone():
    broken = EVENT.replace("</System>", "")

    assert list(read_text(EVENT + broken + EVENT)) == [RECORD, Skipped(BROKEN), RECORD]


def test_entities_are_refused_and_never_expanded():
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><Events>'

    records = list(read_text(bomb + EVENT + EVENT.replace("desk-3", "&b;") + "</Events>"))

    assert records == [Skipped(HARMFUL), RECORD, Skipped(BROKEN)]


def test_an_event_as_text_in_a_search_result_is_read():
    assert list(read_text(json.dumps({"preview": False, "result": {"_raw": EVENT}}))) == [RECORD]


def test_attributes_that_stand_beside_their_elements_are_put_into_them():
    beside = {
        "Event": {
            "System": {"Provider_attributes": {"Name": "P"}, "EventID": 7, "EventID_attributes": {"Qualifiers": 1}},
            "EventData": {"a": "b"},
        }
    }

    assert list(read_text(json.dumps(beside))) == [
        {
            "Event": {
                "System": {
                    "Provider": {"#attributes": {"Name": "P"}},
                    "EventID": {"#attributes": {"Qualifiers": 1}, "#text": 7},
                },
                "EventData": {"a": "b"},
            }
        }
    ]


# ---------------------------------------------------------------- JSON
@pytest.mark.parametrize(
    "text",
    [
        '[{"raw": "one"}, {"raw": "two"}]',
        '{"raw":\n "one"}\n{"raw":\n "two"}\n',
        '{"raw": "one"}{"raw": "two"}',
        '{"Records": [{"raw": "one"}]}\n{"Records": [{"raw": "two"}]}',
        '[\n{"raw": "one"},\n{"raw": "two"}\n]\n',
    ],
)
def test_json_is_read_in_every_arrangement(text):
    assert list(read_text(text)) == [{"raw": "one"}, {"raw": "two"}]


@pytest.mark.parametrize(
    "text", ["[%s]", '{"Records": [%s]}', '{"hits": {"total": 2, "hits": [%s]}}', '{"x": {"y": [1]}, "value": [%s]}']
)
def test_a_long_document_is_read_element_by_element(monkeypatch, text):
    monkeypatch.setattr("telemetry.importers.containers.HEAD", 256)
    elements = [{"raw": f"line {number}", "n": 1.5} for number in range(50)]

    assert list(read_text(text % ", ".join(map(json.dumps, elements)))) == elements


def test_a_long_document_that_breaks_off_keeps_what_came_before(monkeypatch):
    monkeypatch.setattr("telemetry.importers.containers.HEAD", 64)
    text = json.dumps([{"raw": str(number)} for number in range(9)])

    records = list(read_text(text[:-20]))

    assert records[0] == {"raw": "0"}
    assert isinstance(records[-1], Skipped)


def test_json_that_is_nested_ten_thousand_deep_is_one_bad_line():
    assert list(
        read_text('{"raw": "a"}\n' + '{"a":' * 10_000 + "1" + "}" * 10_000 + '\n{"raw": "b"}\n', "x.jsonl")
    ) == [
        {"raw": "a"},
        Skipped(BAD_LINE),
        {"raw": "b"},
    ]


# ---------------------------------------------------------------- tables
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", ["", "sep=%s\n", "\ufeff"])
def test_a_table_is_known_by_its_header(delimiter, before):
    lines = (["Time [UTC]", "User", "Host"], ["2031-01-02 03:04:05", "eve", ""])
    text = (before.replace("%s", delimiter)) + "\r\n".join(
        delimiter.join(f'"{cell}"' for cell in line) for line in lines
    )

    assert list(read_text(text, "export.csv")) == [{"Time": "2031-01-02 03:04:05", "User": "eve"}]


@pytest.mark.parametrize(
    ("zone", "seconds"),
    [("[UTC]", 0), ("[Local Time]", 0), ("[UTC+01:00]", 3600), ("(UTC-3)", -10800), ("[UTC+0530]", 19800)],
)
def test_the_offset_of_a_header_is_that_of_its_times(zone, seconds):
    (row,) = read_text(f"Time {zone},User,Host\n2031-01-02 03:04:05,eve,a\n", "export.csv")

    assert (row["User"], row["Host"]) == ("eve", "a")
    assert read_time(row["Time"]) == datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC) - timedelta(seconds=seconds)


def test_lines_before_a_header_are_passed_over_in_a_file_that_says_that_it_is_a_table():
    text = 'Report of last week\n\nTime,User\n2031-01-02 03:04:05,"a\nb"\n'

    assert list(read_text(text, "export.csv")) == [{"Time": "2031-01-02 03:04:05", "User": "a\nb"}]


def test_rows_that_do_not_fit_their_header_are_named():
    text = "Time,User,Host\n2031-01-02 03:04:05,a,b,c\nTime,User,Host\n2031-01-02 03:04:06,a\n"

    assert list(read_text(text, "x.csv")) == [
        Skipped(LONG_ROW),
        Skipped(HEADER_AGAIN),
        {"Time": "2031-01-02 03:04:06", "User": "a"},
    ]


def test_lines_with_commas_are_no_table():
    line = "Jan  2 03:04:05 web sshd[7]: Failed, twice, at once"

    assert list(read_text(f"{line}\n{line}\n")) == [{"raw": line}] * 2


def test_a_zeek_log_gives_records_with_its_path_and_without_unset_fields():
    text = (
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n#open\t2031-01-02-03-04-05\n"
        "#fields\tts\tuid\tquery\tanswers\trtt\n#types\ttime\tstring\tstring\tset[addr]\tinterval\n"
        "1925000000.5\tC1\ta.test\t192.0.2.1,192.0.2.2\t-\n#close\t2031-01-02-04-00-00\n"
    )

    assert list(read_text(text)) == [
        {"_path": "dns", "ts": "1925000000.5", "uid": "C1", "query": "a.test", "answers": ["192.0.2.1", "192.0.2.2"]}
    ]


def test_a_log_that_names_its_fields_gives_records():
    text = "#Version: 1.0\n#Fields: date time c-ip cs-uri-stem\n2031-01-02 03:04:05 192.0.2.1 /a\n2031-01-02 03:04:06 - /b\n"

    assert list(read_text(text)) == [
        {"date": "2031-01-02", "time": "03:04:05", "c-ip": "192.0.2.1", "cs-uri-stem": "/a"},
        {"date": "2031-01-02", "time": "03:04:06", "cs-uri-stem": "/b"},
    ]


def test_formats_may_be_mixed_in_one_file():
    assert list(read_text(f'{{"raw": "a"}}\n{EVENT}\n# a remark\nplain words\n[1] not json\n')) == [
        {"raw": "a"},
        RECORD,
        {"raw": "# a remark"},
        {"raw": "plain words"},
        {"raw": "[1] not json"},
    ]


# ---------------------------------------------------------------- streams
def test_a_recording_that_is_longer_than_the_pool_gives_a_full_window_and_counts_every_record(monkeypatch):
    monkeypatch.setattr("telemetry.judging.Pool", lambda: Pool(100))
    names = (f"C:\\a{number}.exe" for number in range(500))
    quiet = [{"Event": {**RECORD["Event"], "EventData": {"NewProcessName": name}}} for name in names]

    judgement = judge(quiet, World())

    assert (judgement.records, judgement.events_used, judgement.events_left_out) == (500, 40, 460)


# ---------------------------------------------------------------- event logs
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_binary_event_log_gives_its_records(tmp_path, pack):
    path = written(tmp_path, "log", pack(evtx_file([EVENT] * 200)))

    assert list(read_records(path)) == [RECORD] * 200


def test_a_damaged_record_of_an_event_log_loses_no_other_chunk(tmp_path):
    content = bytearray(evtx_file([EVENT] * 200))
    content[4096 + 512 + 24 : 4096 + 512 + 64] = b"\xff" * 40

    records = list(read_records(written(tmp_path, "log.evtx", bytes(content))))

    assert Skipped(BAD_EVENT) in records
    assert records.count(RECORD) >= 100


def test_a_cut_event_log_gives_what_it_holds(tmp_path):
    content = evtx_file([EVENT] * 200)

    records = list(read_records(written(tmp_path, "log.evtx", content[: 4096 + 65_536 + 900])))

    assert records.count(RECORD) >= 60


# ---------------------------------------------------------------- bad input
def test_a_line_that_never_ends_is_named_and_the_next_is_read(monkeypatch):
    monkeypatch.setattr("telemetry.importers.containers.HEAD", 1 << 18)
    monkeypatch.setattr("telemetry.importers.reading.MAX_LINE", 1 << 12)
    line = '{"raw": "' + "x" * (1 << 18) + '"}\n'

    assert list(read_text(line + '{"raw": "b"}\n')) == [Skipped(LONG_LINE), {"raw": "b"}]


def test_a_first_line_that_is_broken_costs_itself_alone_in_a_long_file(monkeypatch):
    monkeypatch.setattr("telemetry.importers.containers.HEAD", 64)
    good = [{"raw": str(number)} for number in range(50)]

    assert list(read_text('{"raw": "cut\n' + "".join(json.dumps(record) + "\n" for record in good))) == [
        Skipped(BAD_LINE),
        *good,
    ]


def test_an_event_that_never_ends_is_named_and_the_next_is_read(monkeypatch):
    monkeypatch.setattr("telemetry.importers.xml_events.LARGEST", 5000)
    monkeypatch.setattr("telemetry.importers.reading.MAX_LINE", 1000)
    endless = EVENT.replace("desk-3", "x" * 20_000)

    assert list(read_text(EVENT + endless + EVENT)) == [RECORD, Skipped(TOO_LONG), RECORD]


def test_events_are_cut_out_wherever_the_pieces_end(monkeypatch):
    for size in (7, 64, 200):
        monkeypatch.setattr("telemetry.importers.reading.MAX_LINE", size)
        assert list(read_text(f"<Events>{EVENT * 3}</Events>")) == [RECORD] * 3


def test_a_quote_that_is_never_closed_loses_its_rows_alone(monkeypatch):
    monkeypatch.setattr("telemetry.importers.tables.LONGEST_CELL", 200)
    text = 'Time,User\n2031-01-02 03:04:05,"a\n' + "2031-01-02 03:04:06,b\n" * 40

    records = list(read_text(text, "x.csv"))

    assert records[0] == Skipped(BAD_ROW)
    assert records[-1] == {"Time": "2031-01-02 03:04:06", "User": "b"}


def test_a_file_that_grows_or_shrinks_while_it_is_read_gives_whole_records(tmp_path):
    line = b'{"raw": "a"}'.ljust(999) + b"\n"
    path = written(tmp_path, "live.jsonl", line * 26_000)  # three times what is read ahead
    records = read_records(path)
    first = next(records)
    path.write_bytes(b'{"raw": "a"}\n')

    rest = list(records)

    assert first == {"raw": "a"}
    assert {"a"} == {record["raw"] for record in rest if not isinstance(record, Skipped)}
    assert sum(isinstance(record, Skipped) for record in rest) <= 1
