"""What an attacker learned, as a page: plays and context counted, incidents told."""

from collections import Counter

import pytest

from eval import cross_play, plays
from eval.attacks import briefs_of
from eval.plays import Played, chosen, compared, context_of, play_in_words, read_sides, told
from players.attackers.attempts import attempt
from players.attackers.scripted import Generated
from schema import BadRequestError

BRIEFS = briefs_of("val", 10, 0)


def played(index, *, action="dismiss", answer=None, fault=""):
    attempted = attempt(BRIEFS[index], Generated().craft([BRIEFS[index]])[0].text)
    truth = attempted.scenario.truth.action
    return Played(attempted, action != truth, {"action": action, "answer": answer, "fault": fault})


def test_a_play_is_told_by_its_findings_and_what_follows():
    words = {play_in_words(played(index)) for index in range(10)}
    assert "no finding: dismiss" in words
    assert any("confirmed" in text and text.endswith(": escalate") for text in words)


def test_what_is_compared_counts_once_for_each_incident_and_the_commonest_after_first():
    before, after = [played(0)], [played(1), played(2), played(2)]
    rows = compared(before, after, lambda one: [one.truth.action, one.truth.action], 5)
    actions = [one.truth.action for one in after]
    assert [row[0] for row in rows] == [actions[1], actions[0], "dismiss"]
    assert rows[0] == [actions[1], "-", "66.7%, wrong on 2 of 2"]
    assert rows[2] == ["dismiss", "100.0%, wrong on 0 of 1", "-"]


def test_context_names_what_an_incident_uses_or_says_that_there_is_nothing():
    contexts = Counter(name for index in range(10) for name in context_of(played(index)))
    assert contexts["a reporter's words"] >= 5
    assert all(name for name in contexts)


def test_incidents_are_chosen_one_a_play_where_the_defender_was_wrong():
    side = [played(0), played(1), played(2), played(2)]
    picked = chosen(side, 5)
    assert [one.attempt.brief.id for one in picked] == [side[2].attempt.brief.id, side[1].attempt.brief.id]


def test_an_incident_is_told_with_the_answer_as_plain_text():
    text = told(played(4, answer={"rationale": "see `this`\n# no heading <b>"}))
    assert "The verifier: " in text
    assert "The defender answered **dismiss** for **escalate**: `see 'this' # no heading <b>`" in text
    assert text.count("```") == 2
    assert "nothing that can be read" in told(played(4, action=None, fault="no JSON object"))


def test_the_page_reads_what_cross_play_wrote(tmp_path, capsys):
    out = tmp_path / "out"
    call = ["--attackers", "generator", "edits", "--defenders", "always_dismiss", "--n", "5", "--out", str(out)]
    assert cross_play.main(call) == 0
    assert plays.main([str(out), "--before", "generator", "--after", "edits", "--against", "always_dismiss"]) == 0
    text = capsys.readouterr().out
    assert "## What edits plays against always_dismiss, beside generator" in text
    assert text.count("The defender answered **dismiss** for") == 4
    with pytest.raises(BadRequestError, match=r"one of generator, edits, and got 'nobody'"):
        read_sides(out, ["nobody"], "always_dismiss")
    assert plays.main([str(tmp_path), "--before", "a", "--after", "b", "--against", "c"]) == 2
