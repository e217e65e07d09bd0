"""What an attacker learned, as a page: plays and context counted, incidents told."""

import json
import shutil
from collections import Counter

import pytest

from eval import bake_arena, cross_play, plays
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


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    out = tmp_path_factory.mktemp("cross")
    call = ["--attackers", "generator", "edits", "--defenders", "always_dismiss", "--n", "4", "--out", str(out)]
    assert cross_play.main(call) == 0
    return out


def of_line(**change):
    """Change the second line of a file."""

    def spoil(path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[1] |= change
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return spoil


def of_object(change):
    def spoil(path):
        stored = json.loads(path.read_text())
        change(stored)
        path.write_text(json.dumps(stored))

    return spoil


DEEP = "[" * 9_000 + "]" * 9_000
BAKE, TELL = "bake_arena", "plays"


@pytest.mark.parametrize(
    ("file", "spoil", "commands", "told"),
    [
        ("attempts.jsonl", of_line(id="moon"), (BAKE, TELL), "in line 2 of"),
        ("attempts.jsonl", of_line(id=[1]), (BAKE, TELL), "id (text) and reply in line 2"),
        ("attempts.jsonl", of_line(attacker=[1]), (BAKE, TELL), "attacker (text)"),
        ("attempts.jsonl", of_line(attacker="other"), (BAKE, TELL), "1 of them, val-stage2_multi-0-monitor first"),
        ("attempts.jsonl", of_line(reply=5), (BAKE, TELL), "and got 5 to 'val-stage2_multi-0-monitor'"),
        ("attempts.jsonl", of_line(usage=[1]), (BAKE, TELL), "a cost of 0 USD or more"),
        ("attempts.jsonl", lambda path: path.write_bytes(path.read_bytes()[:-30]), (BAKE, TELL), "1 of them, "),
        ("attempts.jsonl", lambda path: path.write_bytes(b"\xff\xfe" * 9), (BAKE, TELL), "and it has 0"),
        ("attempts.jsonl", lambda path: path.write_text(f"{DEEP}\n{DEEP}\n"), (BAKE, TELL), "in line 1 of"),
        ("attempts.jsonl", lambda path: path.unlink(), (BAKE, TELL), "and it has 0"),
        ("cross_play.json", lambda path: path.write_text("[1]"), (BAKE,), "has another form"),
        ("cross_play.json", lambda path: path.write_text("null"), (BAKE,), "has another form"),
        ("cross_play.json", lambda path: path.write_text(DEEP), (BAKE,), "gave RecursionError"),
        ("cross_play.json", lambda path: path.write_text('{"run": {'), (BAKE,), "gave JSONDecodeError"),
        ("cross_play.json", of_object(lambda stored: stored.pop("run")), (BAKE,), "run: Field required"),
        ("cross_play.json", of_object(lambda stored: stored["pairs"].pop()), (BAKE,), "each attacker against each"),
        ("cross_play.json", of_object(lambda stored: stored.update(pairs=[1])), (BAKE,), "pairs.0"),
        ("cross_play.json", of_object(lambda stored: stored["run"].update(briefs=10**9)), (BAKE,), "and it has 8"),
        ("cross_play.json", of_object(lambda stored: stored["run"].update(seed=-1)), (BAKE,), "run.seed"),
        ("run.json", lambda path: path.write_text("[1]"), (TELL,), "has another form"),
        ("run.json", lambda path: path.write_text(DEEP), (TELL,), "gave RecursionError"),
        ("run.json", of_object(lambda stored: stored.update(briefs=10**9)), (TELL,), "and it has 8"),
        ("run.json", of_object(lambda stored: stored.update(attackers=["edits"])), (TELL,), "attackers.0"),
        ("run.json", of_object(lambda stored: stored.update(split="moon")), (TELL,), "split"),
        ("defenders", shutil.rmtree, (BAKE, TELL), "the runs of the defenders"),
    ],
)
def test_a_cross_play_that_was_spoiled_is_refused_with_the_reason(
    crossed, tmp_path, capsys, file, spoil, commands, told
):
    for command in commands:
        out = shutil.copytree(crossed, tmp_path / command)
        spoil(out / file)
        flags = {
            BAKE: ["--out", str(tmp_path / "arena.json"), "--images", str(tmp_path / "images")],
            TELL: ["--before", "generator", "--after", "edits", "--against", "always_dismiss"],
        }
        assert {BAKE: bake_arena, TELL: plays}[command].main([str(out), *flags[command]]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "arena.json").exists()
