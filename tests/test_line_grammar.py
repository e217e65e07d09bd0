"""The grammar of incidents as lines: what is generated lies within it, what reader, schema or gate refuse does not, and what is drawn from it is admitted."""

import re
import string
from random import Random

import pytest

from generator.incidents import generate
from players.attackers.attempts import attempt, brief_of
from players.attackers.grammar import LineGrammar
from players.incidents import read_craft, write_incident
from schema import Incident
from train.attacks import attack_row
from verifier.plausibility import line_faults
from world import World

BRIEF = brief_of("stage1_basic", 5)
HOST, OTHER = BRIEF.context["hosts"][:2]
CLAIM = "escalate exfiltration\n"
LOGON = CLAIM + "-600 logon.success device_hostname=@host1 actor_user=@user1 user_name=@user1 logon_type=2"
CALL = CLAIM + "-9 cloud_api.call actor_user=@user1 user_uid=arn:aws:iam::123456789012:user/x"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
FLOW = CLAIM + f"-60 net_conn.open device_hostname={HOST['name']} src_ip={HOST['ip']}"


@pytest.fixture(scope="module")
def grammar():
    return LineGrammar(BRIEF.context)


@pytest.mark.parametrize("index", range(20))
def test_a_generated_incident_lies_within_it_at_each_word(index):
    row = attack_row(9, index)
    grammar, text = LineGrammar(row["brief"].context), row["incident"]
    ends = [match.end() for match in re.finditer(r"\w+|\W", text)]
    stops = [text[:end] for end in ends if not grammar.goes_on(text[:end])]
    assert stops == []
    assert grammar.may_end(text)
    assert grammar.finished(text) == text


@pytest.mark.parametrize(
    ("begun", "on", "off"),
    [
        ("", "q", "x"),
        ("block_ip ", "impact", "ruin"),
        (CLAIM, "-", "+"),
        (CLAIM + "-", "86400", "86401"),
        (CLAIM + "-9 ", "logon.success", "logon.launch"),
        (CLAIM + "-9 logon.success ", "user_name=", "file_path="),
        (LOGON, " status=", " user_name="),
        (LOGON, " status=0x0 ", " status=0xc000006d "),
        (CLAIM + "-9 logon.failure device_hostname=@host1", " status=0xc000006d ", " status=0x0 "),
        (CLAIM + "-9 logon.success device_hostname=", "@host1", "@host999"),
        (CLAIM + "-9 logon.success device_hostname=", "@host1", "@user1"),
        (CLAIM + "-9 logon.success user_name=", "@user1 ", "a.stranger "),
        (CLAIM + "-9 logon.failure user_name=", "a.stranger ", "@stranger"),
        (CALL + ' resources=`{"instanceIds":["i-', "0b4b" * 4 + "0", "0b4b" * 4 + "0b"),
        (CLAIM + "-9 process.launch process_cmd_line=`certutil ", SHA256, SHA256 + "b"),
        (LOGON + "\n", "+86300", "+86400"),
        (LOGON + "\n", "note `a`", "note a"),
        (LOGON + "\nnote `a`", "", "\n"),
        (FLOW, " dst_ip=198.51.7.9 direction=outbound", " dst_ip=198.51.7.9 direction=inbound"),
        (FLOW, " dst_ip=198.51.7.9", " dst_ip=198.51.7.999"),
        (FLOW, f" dst_ip={OTHER['ip']}", f" dst_ip={HOST['ip']} "),
        (FLOW + " dst_ip=", "8.8.8.8", "192.168.250.250 "),
        (CALL, " user_type=IAMUser", " user_type=Root "),
        (CALL + " cloud_account=", "123456789012", "2"),
        (CLAIM + "-9 cloud_api.call user_uid=arn:aws:iam::", "1", "x"),
        (CLAIM + "-9 process.launch process_path=", "C:\\a.exe ", 'C:\\a.exe" '),
        (CLAIM + "-9 process.launch process_cmd_line=`a", "1" * 15, "1" * 16),
        (CLAIM + "-9 registry.set reg_key_path=HKCR\\CLSID\\", "{0", "{x"),
        (CLAIM + "-9 kerberos.tgs service_name=cifs/", HOST["name"], "NOBODY"),
    ],
)
def test_what_nobody_takes_does_not_go_on(grammar, begun, on, off):
    assert grammar.goes_on(begun + on)
    assert not grammar.goes_on(begun + off)


@pytest.mark.parametrize(
    "line", ["", "-9", "-9 process.launch device_hostname=@host1", LOGON.split("\n")[1] + " status="]
)
def test_an_incident_does_not_end_within_a_line_or_without_what_its_record_always_says(grammar, line):
    assert not grammar.may_end(CLAIM + line)
    assert grammar.finished(LOGON + "\n" + line).startswith(LOGON.replace("exfiltration", "credential_access"))


def test_a_claim_that_the_events_cannot_bear_is_replaced(grammar):
    finished = grammar.finished(LOGON)
    assert attempt(BRIEF, LOGON).refusal.startswith("exfiltration needs")
    assert attempt(BRIEF, finished).refusal == ""
    assert finished.split("\n")[1:] == LOGON.split("\n")[1:]


def test_a_text_without_a_whole_line_stays_as_it_is(grammar):
    assert grammar.finished("no incident") == "no incident"


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_drawn_from_it_is_taken_by_reader_schema_and_the_lines_of_the_gate(grammar, seed):
    """Letters drawn at random, and pieces of a generated incident of another world: the worst writer there is."""
    rng, text = Random(seed), ""
    case = generate("stage3_mixed", seed)
    strange = write_incident(case.incident, case.world.to_context()).replace("\n", " ").split(" ")
    for _ in range(150):
        pieces = rng.sample([*string.printable[:95], "\n", *(f" {piece}" for piece in strange), *strange], 60)
        text += next((piece for piece in pieces if grammar.goes_on(text + piece)), "")
    lines = text.split("\n")
    whole = ["\n".join(lines[:end]) for end in range(2, len(lines) + 1) if grammar.may_end("\n".join(lines[:end]))]
    for incident in whole:
        craft = read_craft(incident, BRIEF.context)
        assert craft.fault == ""
        assert line_faults(Incident.model_validate(craft.content), World.from_context(BRIEF.context)) == []
