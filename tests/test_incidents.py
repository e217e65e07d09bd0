"""Incidents as lines: what is written is read back, what is no incident is refused in words."""

import json

import pytest

from env import OpenSOCEnv
from generator.incidents import generate
from players.attackers.attempts import attempt, brief_of
from players.attackers.base import attacker_text
from players.incidents import read_craft, write_incident
from schema import TASKS, Incident, epoch_s

BRIEF = brief_of("stage1_basic", 5)


def lines_of(*events, claim="dismiss discovery"):
    return "\n".join([claim, *events])


LOGON = "-600 logon.success device_hostname=@host1 actor_user=@user1 user_name=@user1 logon_type=2"


@pytest.mark.parametrize("task", TASKS)
def test_a_generated_incident_is_read_back_as_it_was(task):
    for index in range(40):
        case = generate(task, index)
        context = case.world.to_context()
        craft = read_craft(write_incident(case.incident, context), context)
        assert Incident.model_validate(craft.content) == case.incident


def test_short_names_stand_for_names_and_in_addresses_for_addresses():
    host = next(host for host in BRIEF.context["hosts"] if host["criticality"] == "standard")
    line = "-9 net_conn.open device_hostname=@host1 src_ip=@host1 dst_ip=203.0.113.9 dst_port=443 bytes_out=6:800000"
    (event,) = read_craft(lines_of(line), BRIEF.context).content["events"]
    assert event["log_id"] == "L1-0"
    assert event["fields"] == {
        "activity": "open",
        "device_hostname": host["name"],
        "src_ip": host["ip"],
        "dst_ip": "203.0.113.9",
        "dst_port": 443,
        "bytes_out": 800000,
    }


def test_an_incident_that_would_end_after_now_is_moved_back_as_a_whole():
    line = "-5 logon.success device_hostname=@host1 user_name=@user1 logon_type=2"
    events = read_craft(lines_of(line, line.replace("-5", "+600")), BRIEF.context).content["events"]
    times = [epoch_s(event["timestamp"]) - epoch_s(BRIEF.context["now"]) for event in events]
    assert times == [-601, -1]


def test_what_follows_from_other_parts_is_read_over():
    events = read_craft(
        lines_of(LOGON + " names=@host1 is=shell rules=log-cleared during=@t1 near=@t2 L1-7"), BRIEF.context
    ).content["events"]
    assert events == read_craft(lines_of(LOGON), BRIEF.context).content["events"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("arn:aws:iam::210987654321:user/no.body", "arn:aws:iam::210987654321:user/{}"),
        ("no.body@corp.example", "{}@corp.example"),
        ("no.body", "{}"),
        ("arn:aws:iam::210987654321:root", "arn:aws:iam::210987654321:root"),
    ],
)
def test_the_identity_of_a_call_names_its_account(written, read):
    account = BRIEF.context["accounts"][0]["name"]
    line = "-9 cloud_api.call actor_user={} user_uid={} api_service=iam.amazonaws.com api_operation=GetUser"
    event = read_craft(lines_of(line.format(account, written)), BRIEF.context).content["events"][0]
    assert event["fields"]["user_uid"] == read.format(account)
    stranger = read_craft(lines_of(line.format("a.stranger", written)), BRIEF.context).content["events"][0]
    assert stranger["fields"]["user_uid"] == written


def test_json_is_read_within_an_action_a_fence_and_after_reasoning():
    content = read_craft(lines_of(LOGON), BRIEF.context).content
    for reply in (json.dumps(content), "```json\n" + json.dumps({"craft_incident": content}) + "\n```"):
        assert read_craft("<think>{hm}</think>" + reply, BRIEF.context).content == content


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (None, "got none"),
        ("  \n", "got none"),
        ("x" * 200_001, "within 200000 characters"),
        ("escalate", "expected the claim"),
        (lines_of(*["-9 x.y"] * 10_000), "at most 40 events"),
        (lines_of("-9 logon.success device_hostname=@host999"), "short names of this world"),
        (lines_of("-9 logon.success device_hostname=@t1"), "short names of this world"),
        (lines_of("-9 teleport.success device_hostname=@host1"), "a type that exists"),
        (lines_of("soon logon.success"), "expected seconds"),
        (lines_of("-9 logon.success user_name=a user_name=b"), "each field once"),
        (lines_of("-9 logon.success user_name=`a b"), "name=value between single spaces"),
        (lines_of("-999999999 logon.success user_name=a"), "between two events"),
        ('{"target_label": "dismiss"}', "target_label, category and events"),
        ('{"events": [', "not valid"),
        ("[" * 100_000, "expected the claim"),
        ('{"events": ' + "[" * 100_000, "not valid"),
    ],
)
def test_what_is_no_incident_is_refused_in_words(reply, fault):
    craft = read_craft(reply, BRIEF.context)
    assert craft.content is None
    assert fault in craft.fault
    assert len(craft.fault) < 300


def test_an_attempt_is_judged_as_a_step_of_the_environment_judges_it():
    for task in TASKS:
        case = generate(task, 11)
        brief = brief_of(task, 11)
        text = write_incident(case.incident, brief.context)
        made = attempt(brief, text)
        env = OpenSOCEnv()
        env.reset(task=task, seed=11, mode="self_play")
        shown = env.step({"craft_incident": made.craft.content})
        assert made.refusal == ""
        assert made.row["observation"] == {
            "alert": shown.alert,
            "log_window": shown.log_window,
            "context": shown.context,
        }
        truth = made.scenario.truth
        env.step({"submit_triage": {"action": truth.action, "cited_log_id": "L1-0", "rationale": ""}})
        assert env.grade()["ground_truth"] == truth.to_dict()


def test_what_the_gate_refuses_is_told():
    made = attempt(BRIEF, lines_of("-9 logon.success device_hostname=nowhere actor_user=@user1 user_name=@user1"))
    assert made.scenario is None
    assert "there is no host 'nowhere' in this world" in made.refusal
    assert made.turn().valid
    assert not made.turn().admitted
    assert not attempt(BRIEF, "").turn().valid


def test_a_prompt_says_the_world_and_what_is_asked():
    text = attacker_text(BRIEF._replace(asked="escalate", past=("dismiss fooled",)))
    assert text.endswith("\npast dismiss fooled\nask escalate")
    assert "@host1 workstation" in text
