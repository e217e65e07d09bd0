"""What schema offers to everybody who tells a person of a value: quotes, faults, visible text."""

import json

import pytest
from pydantic import ValidationError

from schema import Triage, faults, shown, unread, visible


def test_a_value_is_shown_short_in_ascii_and_on_one_line():
    assert shown("spilt") == "'spilt'"
    assert shown("caf\u00e9\n") == "'caf\\xe9\\n'"
    for value in ("x" * 10**6, [[[[[[[[[[1]]]]]]]]]], {"a": list(range(10**5))}, 10**4000):
        assert len(shown(value)) <= 80


def test_the_first_faults_are_told_and_the_others_counted():
    with pytest.raises(ValidationError) as caught:
        Triage.model_validate({"action": "panic", "why": 1})

    assert faults(caught.value, "submit_triage", most=1) == (
        "action: Input should be 'dismiss', 'monitor', 'quarantine_host', 'block_ip' or 'escalate' (and 3 more)"
    )
    assert faults(caught.value, "submit_triage").count(";") == 2
    assert faults(caught.value, "submit_triage", most=1, quoting=True).endswith("; got 'panic' (and 3 more)")


def test_a_fault_of_the_whole_is_told_by_its_name():
    with pytest.raises(ValidationError) as caught:
        Triage.model_validate("dismiss")

    assert faults(caught.value, "submit_triage").startswith("submit_triage: Input should be")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("caf\u00e9", "caf\u00e9"),
        ("a\x00b\u200bc\u2028", "a\\x00b\\u200bc\\u2028"),
        ("a\nb", "a\\nb"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\u0300\u0301\u0302\u0303", "a\u0300\u0301\u0302\\u0303"),
    ],
)
def test_what_a_reader_cannot_see_is_written_out(text, written):
    assert visible(text) == written


def test_a_kept_character_stays():
    assert visible("a\nb\tc", keep="\n") == "a\nb\\tc"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "no JSON (Expecting value: line 1 column 1 (char 0))"),
        (b"\xff", "bytes that are no UTF-8"),
        (b"[" * 10_000, "JSON that is nested too deep"),
        (b"{}", "no field 'sets'"),
    ],
)
def test_what_stood_in_the_place_of_a_file_is_told_without_pythons_names(tmp_path, content, words):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises((OSError, ValueError, KeyError, RecursionError)) as caught:
        json.loads(path.read_text("utf-8"))["sets"]

    assert unread(caught.value) == words


def test_a_directory_in_the_place_of_a_file_is_told(tmp_path):
    with pytest.raises(OSError, match="directory") as caught:
        tmp_path.read_text("utf-8")

    assert unread(caught.value) == "a directory"
