"""How the demo says things in words; the client's copy of them is held equal here."""

import pytest

from client import screens
from demo import words
from demo_data import generated
from schema import EVENT_TYPES, LABELS, TASKS
from verifier.rules import RULES
from verifier.truth import BEAR_OUT, LADDER

VALUES = [
    None,
    True,
    False,
    0,
    1.5,
    "",
    "plain",
    ["a", 1],
    {"a": None, "b": [True]},
    "\u202egnp.exe",
    "a\x00\r\n",
    "e" + "\u0301" * 5,
]


def test_the_client_has_the_same_words():
    assert words.ACTIONS == screens.ACTIONS
    assert words.PHRASES == screens.PHRASES
    assert list(words.ACTIONS) == list(LABELS)
    assert set(words.PHRASES) <= set(EVENT_TYPES)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_client_shows_the_same_values(value):
    assert words.readable(value) == screens.visible(value)


def test_the_client_summarises_lines_in_the_same_words():
    lines = [line for task in TASKS for seed in range(10) for line in generated(task, seed).observation["log_window"]]
    lines += [
        {"event_type": "other", "fields": {"activity": "x", "text": text, "user_name": None}}
        for text in ("x" * 200, "\u200b")
    ]
    lines.append({"event_type": "registry", "fields": {"reg_key_path": "HKCU\\A", "reg_value_data": ""}})

    for line in lines:
        assert words.summary(line["event_type"], line["fields"]) == screens.summary(line).plain


def test_a_long_value_is_cut_and_its_length_told():
    assert words.cut("x" * 2_000) == "x" * 2_000
    assert words.cut("x" * 2_001) == "x" * 2_000 + "… (2,001 characters)"
    assert words.shortened("x" * 121) == "x" * 119 + "…"


def test_rules_say_in_words_what_they_look_for():
    assert all(words.rule_summary(rule.rule_id) == rule.summary != "" for rule in RULES)
    assert words.rule_summary("no-such-rule") == ""


def test_a_phrase_leaves_out_what_is_empty_and_begins_with_no_separator():
    assert words.phrase("registry", {"reg_key_path": "HKCU\\A", "reg_value_data": ""}) == "HKCU\\A"
    assert words.phrase("task", {"job_cmd_line": "/usr/bin/rotate"}) == "/usr/bin/rotate"


def test_a_phrase_whose_middle_is_missing_has_no_stray_separator():
    fields = {"process_path": "svchost.exe", "bytes_in": 66684}
    assert words.phrase("net_conn", fields) == "svchost.exe: 66684 bytes in"
    assert words.phrase("service", {"run_as": "root"}) == "as root"
    assert (
        words.phrase("process", {"process_path": "a.exe", "process_cmd_line": "a.exe : , b"})
        == "a.exe ran: a.exe : , b"
    )


def test_what_a_phrase_does_not_name_is_left_over_in_words():
    fields = {"activity": "success", "user_name": "ann", "logon_process": "sshd", "is_remote": True}

    assert words.phrase("logon", fields) == "ann"
    assert words.left_over("logon", fields) == "logon process sshd, is remote yes"


def test_a_description_is_cut_after_a_clause():
    assert words.first_clauses("one, two; three", 15) == "one, two; three"
    assert words.first_clauses("one, two; three", 14) == "one, two"
    assert words.first_clauses("one, two; three", 7) == "one"
    assert words.first_clauses("x" * 20, 7) == "x" * 20


def test_the_verifiers_reasons_are_told_in_plainer_words():
    assert {
        reason for reason in words.PLAINER if reason not in {BEAR_OUT, *(why for _, why in LADDER.values())}
    } == set()
    told = words.reason_in_words(BEAR_OUT + LADDER["privileged"][1])
    assert told == "independent suspicious findings confirm each other, and a privileged account is involved"
    assert not any("concerned" in words.reason_in_words(why) for _, why in LADDER.values())


def test_every_type_of_event_has_a_name():
    assert list(words.TYPE_NAMES) == list(EVENT_TYPES)
