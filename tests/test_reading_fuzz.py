"""Files of any bytes: every reader and importer gives records or a sentence, and never another error."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutations import PACKED, PLAIN, SAMPLES, damaged
from telemetry.importers import import_records
from telemetry.importers.containers import FileError
from telemetry.importers.reading import Record, read_records, read_text
from telemetry.judging import find_files

ROOT = Path(__file__).resolve().parent.parent
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONTENTS = st.one_of(damaged(PLAIN), damaged(PACKED), damaged(SAMPLES), st.binary(max_size=300))
TEXTS = st.one_of(st.text(max_size=300), damaged(PLAIN | SAMPLES).map(lambda content: content.decode("latin-1")))


def imported(path: Path) -> int:
    """Import whatever a path leads to, and return how many records it was; a file that is refused has none."""
    count = 0
    for _, member in find_files([path]).files:
        try:
            records = list(read_records(member))
        except FileError:
            continue
        count += numbered(records)
    return count


def imported_text(text: str) -> int:
    """Import a text, and return how many records it was; one that is refused has none."""
    try:
        records = list(read_text(text))
    except FileError:
        return 0
    return numbered(records)


def numbered(records: list[Record]) -> int:
    """Import records, and return how many results they gave: at least one each, since one of unknown shape gives way to the known ones that it holds."""
    results = import_records(records)
    assert [result.record for result in results] == list(range(len(results)))
    assert len(results) >= len(records)
    return len(results)


@pytest.mark.parametrize("kind", PLAIN | PACKED)
def test_an_undamaged_sample_gives_records(tmp_path, kind):
    path = tmp_path / "sample"
    path.write_bytes((PLAIN | PACKED)[kind])

    assert imported(path) > 0


def test_a_record_of_unknown_shape_gives_way_to_the_known_ones_that_it_holds():
    event = '{"Event": {"System": {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventID": 1}, "EventData": {"Image": "%s"}}}'

    assert len(list(read_text(f'{{"Kept": [{event % "a"}, {event % "b"}]}}'))) == 1
    assert imported_text(f'{{"Kept": [{event % "a"}, {event % "b"}]}}') == 2


@QUICK
@given(content=CONTENTS)
def test_no_file_raises(tmp_path, content):
    path = tmp_path / "fuzzed.log"
    path.write_bytes(content)

    assert imported(path) >= 0


@QUICK
@given(text=TEXTS)
def test_no_text_raises(text):
    assert imported_text(text) >= 0


@pytest.mark.parametrize(
    "text",
    [
        '{"_TRANSPORT": "audit", "_AUDIT_TYPE_NAME": "A", "_AUDIT_ID": "7", "__REALTIME_TIMESTAMP": "19\u00b2", "MESSAGE": "x"}',
        "0 ! \x1c ! ! ! ! ! ! ! 000000000 000000000 ACCEPT OK",
    ],
)
def test_what_once_raised_gives_a_record(text):
    assert imported_text(text) == 1


def test_fuzzing_by_coverage_asks_for_its_library_where_that_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "atheris", None)
    main = runpy.run_path(str(ROOT / "scripts" / "fuzz_import.py"))["main"]
    monkeypatch.setattr(sys, "argv", ["fuzz_import.py", "--atheris", "1"])

    with pytest.raises(
        SystemExit, match="Expected the library atheris, and it is not installed; `pip install atheris`"
    ):
        main()
