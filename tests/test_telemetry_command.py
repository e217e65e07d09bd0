"""python -m telemetry: a declared world, a player beside the verifier, the page, and what the exit code says."""

import json

import pytest

from demo.recorded import SAMPLES
from players.base import Baseline
from players.prompt import answer_text
from schema import OpenSOCError
from telemetry.__main__ import main
from telemetry.declaring import EXAMPLE, declared_world, load_world
from telemetry.judging import judge_text
from telemetry.triaging import triage_recordings
from world import EMPTY_WORLD

SHADOW_COPY = {
    "Event": {
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
            "EventID": 1,
            "Channel": "Microsoft-Windows-Sysmon/Operational",
            "Computer": "lab-<b>7</b>",
            "TimeCreated": {"#attributes": {"SystemTime": "2031-05-06T08:00:00.000000Z"}},
        },
        "EventData": {
            "Image": r"C:\Windows\System32\vssadmin.exe",
            "CommandLine": "vssadmin delete shadows /all",
            "ParentImage": r"C:\Windows\System32\cmd.exe",
            "User": r"LAB\n.brandt",
        },
    }
}


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "copies.jsonl"
    path.write_text(json.dumps(SHADOW_COPY), "utf-8")
    return path


def run(capsys, *words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


def test_a_recording_is_judged_and_a_player_answers_beside_it(recording, capsys):
    code, printed = run(capsys, "--json", "--defender", "always_monitor", recording)
    row = json.loads(printed.out)["recordings"][0]
    assert (code, row["rule_ids"], row["evidence_log_ids"]) == (0, ["recovery-inhibited"], ["L1-0"])
    assert row["triage"]["action"] == "monitor"
    assert row["triage"]["cited_log_id"] == "L1-0"
    assert row["triage"]["fault"] == ""


def test_the_printed_report_names_decision_reason_evidence_and_the_players_answer(recording, capsys):
    _, printed = run(capsys, "--defender", "always_monitor", recording)
    for text in ("T1490", "Decision:", "vssadmin delete shadows", "always_monitor: monitor, citing L1-0."):
        assert text in printed.out


def test_the_page_stands_alone_and_shows_recorded_markup_as_text(recording, tmp_path, capsys):
    page = tmp_path / "page.html"
    code, _ = run(capsys, "--html", page, recording)
    text = page.read_text("utf-8")
    assert code == 0
    assert "lab-&lt;b&gt;7&lt;/b&gt;" in text
    assert "<b>7" not in text
    assert "<script" not in text
    assert "http-equiv" in text


def test_a_log_whose_lines_name_no_year_says_which_one_stands_for_it(capsys):
    _, printed = run(capsys, "--json", SAMPLES / "sshd_guessing.log", SAMPLES / "sysmon_macro.jsonl")
    yearless, dated = json.loads(printed.out)["recordings"]
    assert (yearless["without_year"], dated["without_year"]) == (True, False)
    assert yearless["notes"][0] == "The log's lines name no year; 1992 stands for the first."


def test_an_unknown_player_is_a_wrong_call(recording, capsys):
    code, printed = run(capsys, "--defender", "nobody", recording)
    assert code == 2
    assert "always_dismiss" in printed.err


def test_nothing_usable_ends_with_one(tmp_path, capsys):
    path = tmp_path / "empty.jsonl"
    path.write_text('{"some": "record"}', "utf-8")
    assert run(capsys, path)[0] == 1


# ---------------------------------------------------------------- the declared world
def test_the_example_declares_every_part(tmp_path, capsys):
    assert main(["world", "--example"]) == 0
    path = tmp_path / "world.yaml"
    path.write_text(capsys.readouterr().out, "utf-8")
    world = load_world(path)
    assert path.read_text("utf-8") == EXAMPLE == (SAMPLES / "world.yaml").read_text("utf-8")
    assert world.networks == ("10.20.0.0/16", "192.168.20.0/24")
    assert world.hosts["DC-01"]["criticality"] == "crown_jewel"
    assert world.tickets[0]["tool"] == "directory replication"
    assert main(["world", "--check", str(path)]) == 0


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ({"tickets": [{"id": "C-1"}]}, ("tickets.0.ticket_id", "starts_at", "--example")),
        ({"hosts": [{"name": "a", "crown_jewel": True}]}, ("hosts.0.crown_jewel", "criticality")),
        ({"network": ["10.0.0.0/8"]}, ("network", "networks, hosts")),
        ({"networks": ["ten"]}, ("networks.0",)),
        (
            {"sensors": [{"host": "a", "telemetry": "endpoint", "silent_from": "soon", "silent_to": "later"}]},
            ("2026-03-02T09:00:00Z",),
        ),
        (["networks"], ("Expected an object", "list")),
    ],
)
def test_a_wrong_world_is_refused_with_the_place_and_what_was_expected(declaration, words):
    with pytest.raises(OpenSOCError) as refusal:
        declared_world(declaration)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_times_of_a_declared_world_may_be_written_as_yaml_writes_them(tmp_path):
    path = tmp_path / "world.yaml"
    path.write_text(
        "tickets:\n- {ticket_id: C-1, hosts: [a], accounts: [b], tool: x.exe, starts_at: 2031-05-06 08:00:00, ends_at: 2031-05-06T10:00:00+01:00}",
        "utf-8",
    )
    ticket = load_world(path).tickets[0]
    assert (ticket["starts_at"], ticket["ends_at"]) == ("2031-05-06T08:00:00Z", "2031-05-06T09:00:00Z")


def test_an_alias_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]", "utf-8")
    with pytest.raises(OpenSOCError, match="aliases"):
        load_world(path)


class ChainPlayer(Baseline):
    """Answers as the verifier, with the chain of reasons."""

    def triage(self, row):
        return json.loads(answer_text(row["observation"], "compact"))


def test_a_players_chain_of_reasons_is_told_in_sentences():
    judgement = judge_text(json.dumps(SHADOW_COPY), EMPTY_WORLD, name="copies")
    triage_recordings(ChainPlayer("chains"), [judgement], EMPTY_WORLD)

    assert judgement.triage["action"] == judgement.action == "monitor"
    assert judgement.triage["rationale"] == (
        "recovery-inhibited in L1-0: suspicious, on lab-<b>7</b> by n.brandt with vssadmin.exe; nothing explains it. "
        "So monitor: what was found is suspicious, not confirmed, and nothing explains it."
    )
