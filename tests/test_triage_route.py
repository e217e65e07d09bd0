"""POST /triage: the report of `python -m telemetry --json` on a text, bounded, and nothing of the host."""

import json

import pytest
from fastapi.testclient import TestClient

from app_runtime import create_app
from app_runtime.settings import Settings
from demo.recorded import SAMPLES
from telemetry.__main__ import main

GUESSING = (SAMPLES / "sshd_guessing.log").read_text("utf-8")


@pytest.fixture
def client():
    with TestClient(create_app(Settings(demo=False, triage_per_minute=12))) as opened:
        yield opened


def test_a_log_as_the_body_gets_the_commands_report(client, capsys):
    answer = client.post("/triage?name=sshd_guessing.log", content=GUESSING)
    main(["--json", str(SAMPLES / "sshd_guessing.log")])
    expected = json.loads(capsys.readouterr().out)
    expected["recordings"][0]["path"] = ""
    assert answer.status_code == 200
    assert answer.json()["recordings"] == expected["recordings"]
    assert answer.json()["summary"].items() <= expected["summary"].items()


def test_a_json_log_is_taken_as_it_is(client):
    answer = client.post("/triage", content=(SAMPLES / "cloudtrail_bucket.json").read_bytes())
    assert answer.json()["recordings"][0]["events_used"] == 4


def test_an_object_with_text_brings_a_world_and_a_player(client):
    body = {
        "text": GUESSING,
        "name": "night",
        "defender": "always_monitor",
        "world": {"networks": ["198.51.100.0/24"]},
        "details": True,
    }
    row = client.post("/triage", json=body).json()["recordings"][0]
    assert row["file"] == "night"
    assert row["triage"]["action"] == "monitor"
    assert row["action"] != "block_ip"  # the address is one of ours now
    assert len(row["events"]) == row["events_used"]


@pytest.mark.parametrize(
    ("query", "content", "words"),
    [
        ("", b"", "Expected a log as the body"),
        ("", b"\x00\x01\x02\x03", "Expected"),
        ("?defender=/etc/passwd", b"a line", "Unknown defender"),
        ("?defender=http://127.0.0.1:1/v1", b"a line", "Unknown defender"),
        ("?defender=os:system", b"a line", "Unknown defender"),
        ("", json.dumps({"text": "a", "world": {"tickets": [{}]}}).encode(), "tickets.0.ticket_id"),
        ("", json.dumps({"text": "a", "name": 5}).encode(), "name"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(client, query, content, words):
    answer = client.post(f"/triage{query}", content=content)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_lines_that_no_format_knows_have_no_decision_and_a_reason(client):
    row = client.post("/triage", content="hello\nworld").json()["recordings"][0]
    assert row["action"] is None
    assert row["reason"]


def test_a_caller_over_the_rate_is_told_when_to_come_back(client):
    answers = [client.post("/triage", content="a line") for _ in range(13)]
    assert [answer.status_code for answer in answers] == [200] * 12 + [429]
    assert answers[-1].headers["retry-after"] == "60"


def test_a_log_above_the_limit_of_bodies_is_refused():
    with TestClient(create_app(Settings(demo=False, max_body_bytes=2048))) as small:
        assert small.post("/triage", content="x" * 4000).status_code == 413


def test_a_setting_takes_the_route_away():
    with TestClient(create_app(Settings(demo=False, triage=False))) as closed:
        assert closed.post("/triage", content=GUESSING).status_code == 404
