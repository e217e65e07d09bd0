"""How the demo says things in words; the client's copy of them is held equal here."""

import pytest

from client import screens
from demo import words
from demo_data import generated
from schema import EVENT_TYPES, LABELS, TASKS
from verifier.rules import RULES

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

    for line in lines:
        assert words.summary(line["event_type"], line["fields"]) == screens.summary(line).plain


def test_a_long_value_is_cut_and_its_length_told():
    assert words.cut("x" * 2_000) == "x" * 2_000
    assert words.cut("x" * 2_001) == "x" * 2_000 + "… (2,001 characters)"
    assert words.shortened("x" * 121) == "x" * 119 + "…"


def test_rules_say_in_words_what_they_look_for():
    assert all(words.rule_summary(rule.rule_id) == rule.summary != "" for rule in RULES)
    assert words.rule_summary("no-such-rule") == ""
