"""The admission gate against hand-written pools: hostile incidents refused for the right reason, powerless ones harmless, honest ones admitted.

The payloads in tests/data/ are templates over the world of seed 3 of stage1_basic: `<wks>` stands for a standard workstation, `<wks.ip>` for
its address, `<now-600>` for ten minutes before the alert, `<wks~wide>` for its name in wide letters; `world_words` has them all.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from env import Archive, OpenSOCEnv
from generator import generate
from schema import Incident, epoch_s, iso_time
from verifier import check_plausibility, compute_ground_truth, judge_observation

DATA = Path(__file__).parent / "data"
WORLD = generate("stage1_basic", 3).world
PLACEHOLDER = re.compile(r"<(now-(?P<before>-?\d+)|(?P<word>[a-z]+\d?(?:\.ip)?)(?:~(?P<form>[a-z]+))?)>")
FORMS = {
    "homoglyph": lambda name: name.replace("K", "\u041a", 1).replace("e", "\u0435", 1),
    "lower": str.lower,
    "wide": lambda name: "".join(chr(ord(letter) + 0xFEE0) for letter in name),
}


def world_words():
    """What placeholders stand for."""
    hosts, accounts = list(WORLD.hosts.values()), list(WORLD.accounts.values())
    standard = [host for host in hosts if host["criticality"] == "standard"]
    named = {
        "wks": next(host for host in standard if host["role"] == "workstation"),
        "web": next(host for host in standard if host["role"] == "web_server"),
        "fil": next(host for host in standard if host["role"] == "file_server"),
        "crown": next(host for host in hosts if host["criticality"] == "crown_jewel"),
    }
    words = {name: host["name"] for name, host in named.items()} | {
        f"{name}.ip": host["ip"] for name, host in named.items()
    }
    people = [account["name"] for account in accounts if account["kind"] == "person" and not account["privileged"]]
    services = [account["name"] for account in accounts if account["kind"] == "service" and not account["privileged"]]
    words |= {f"user{number or ''}": name for number, name in zip((0, 2, 3, 4, 5), people, strict=False)}
    words |= {"svc": services[0], "svc2": services[1]}
    words["admin"] = next(account["name"] for account in accounts if account["privileged"])
    words["scanner"] = WORLD.scanners[1]["ip"]
    words["listed"] = next(
        row["value"] for row in WORLD.indicators if row["confidence"] == "high" and row["value"][-1].isdigit()
    )
    words["nobody.ip"] = WORLD.networks[0].replace("0.0/16", "250.9")
    return words | {"out": "185.60.12.7", "out2": "94.20.33.8"}


WORDS = world_words()


def filled(text):
    """A payload's text for this world."""

    def value(found):
        if found["before"] is not None:
            now = datetime.fromisoformat(WORLD.now) - timedelta(seconds=int(found["before"]))
            return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = WORDS[found["word"]]
        return FORMS[found["form"]](name) if found["form"] else name

    return PLACEHOLDER.sub(value, text)


def pool(name):
    return json.loads(filled((DATA / f"{name}_incidents.json").read_text(encoding="utf-8")))


HOSTILE, POWERLESS, HONEST = pool("hostile"), pool("powerless"), pool("honest")


def play(incident, **options):
    env = OpenSOCEnv(**options)
    env.reset(seed=3, task="stage1_basic", mode="self_play")
    return env.step({"craft_incident": incident})


def named(items):
    return pytest.mark.parametrize("item", items, ids=[item["name"] for item in items])


def test_the_pools_are_large_enough_and_their_names_differ():
    assert len(HOSTILE) >= 40
    assert len(HONEST) >= 20
    names = [item["name"] for items in (HOSTILE, POWERLESS, HONEST) for item in items]
    assert len(names) == len(set(names))


@named(HOSTILE)
def test_a_hostile_incident_is_refused_for_its_reason_alone(item):
    seen = play(item["incident"])

    assert seen.done is True
    assert seen.rewards["attacker"] <= 0
    assert item["reason"] in seen.feedback
    reasons = seen.grade["plausibility"]
    allowed = [item["reason"], item.get("also", item["reason"])]
    assert [reason for reason in reasons if not any(words in reason for words in allowed)] == []


@named(POWERLESS)
def test_a_forged_excuse_is_admitted_and_changes_nothing(item):
    seen = play(item["incident"])

    assert seen.feedback == "The incident was admitted."
    assert judge_observation(seen.model_dump()).action == item["action"]


@named(HONEST)
def test_an_honest_incident_is_admitted_and_is_what_its_author_says(item):
    incident = Incident.model_validate(item["incident"])

    assert check_plausibility(incident, WORLD) == []
    assert compute_ground_truth(incident, WORLD).action == incident.target_label
    assert play(item["incident"]).feedback == "The incident was admitted."


def test_the_same_play_again_and_again_is_refused():
    archive = Archive()
    seen = []
    for _ in range(4):
        env = OpenSOCEnv(archive=archive)
        env.reset(seed=3, mode="self_play")
        first = env.step({"craft_incident": HONEST[1]["incident"]})
        seen.append(first.done)
        if not first.done:
            env.step({"submit_triage": {"action": "monitor", "cited_log_id": "L1-1", "rationale": ""}})

    assert seen == [False, False, False, True]
    assert "seen 3 times already" in first.feedback


def signed_in(number, time, host):
    fields = {
        "activity": "success",
        "device_hostname": host,
        "user_name": WORDS["user"],
        "logon_type": 2,
        "status": "0x0",
    }
    return {"timestamp": f"{WORLD.now[:10]}T{time}Z", "log_id": f"L1-{number}", "event_type": "logon", "fields": fields}


def test_the_gate_judges_the_line_that_will_raise_the_alert():
    """A sensor's outage that the window touches for 62 s, 2 more than count: an edge if the alert is on that host's line.

    Of a crafted incident the seed chooses the line of the alert; here it is the last one.
    """

    def played(seed, on_sensor):
        world = generate("stage1_basic", seed).world
        (sensor,), (user, *_) = world.sensors, world.accounts
        elsewhere = next(name for name in world.hosts if name != sensor["host"])
        ends = epoch_s(sensor["silent_to"])
        places = ((2, ends - 62, elsewhere), (3, ends + 198, sensor["host"] if on_sensor else elsewhere))
        rows = [{**signed_in(number, "00:00:00", host), "timestamp": iso_time(at)} for number, at, host in places]
        for row in rows:
            row["fields"] = {**row["fields"], "user_name": user}
        env = OpenSOCEnv()
        env.reset(seed=seed, task="stage1_basic", mode="self_play")
        return env.step({"craft_incident": {"target_label": "dismiss", "category": "benign_activity", "events": rows}})

    def fits(world):
        kinds = [sensor["telemetry"] for sensor in world.sensors]
        return kinds == ["identity"] and epoch_s(world.sensors[0]["silent_to"]) + 200 < epoch_s(world.now)

    seeds = [seed for seed in range(400) if fits(generate("stage1_basic", seed).world)]
    seed = next(seed for seed in seeds if played(seed, on_sensor=False).alert.get("log_id") == "L1-3")
    admitted, refused = played(seed, on_sensor=False), played(seed, on_sensor=True)

    assert admitted.done is False
    assert refused.done is True
    assert "edge of a threshold" in refused.feedback
