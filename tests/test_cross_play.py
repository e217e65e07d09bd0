"""Cross-play: what is measured of attackers, of pairs, and how a run goes on."""

import csv
import json

import pytest

from eval import cross_play as command
from eval.attacks import briefs_of, gain, measure_attempts, self_similarity, share
from eval.charts import png
from eval.cross_play import Entrant, main
from eval.cross_table import heat_map, table_page
from eval.runs import load_run
from players.attackers.attempts import attempt, refusal_kinds
from players.attackers.base import Attacker
from players.attackers.scripted import Generated
from players.base import PlayerError, Reply
from schema import LABELS, TASKS

BRIEFS = briefs_of("val", 20, 0)
EXTERNAL = "-9 net_conn.open device_hostname=@host1 src_ip=@host1 dst_ip=203.0.113.9 dst_port=443 bytes_out=6:800000"


class Scripted(Attacker):
    """An attacker whose reply to a brief a function gives; it counts what it was asked."""

    kind = "scripted"

    def __init__(self, name, reply, breaks_after=None):
        super().__init__(name)
        self.reply, self.asked, self.breaks_after = reply, 0, breaks_after

    def craft(self, briefs):
        if self.breaks_after is not None and self.asked >= self.breaks_after:
            raise PlayerError("the endpoint is gone")
        self.asked += len(briefs)
        return [Reply(self.reply(brief)) for brief in briefs]


def generated(brief):
    return Generated().craft([brief])[0].text


@pytest.fixture
def entrants(monkeypatch):
    """Attackers by name, which the command opens in place of its own."""
    named = {
        "generator": Scripted("generator", generated),
        "silent": Scripted("silent", lambda brief: None),
        "half": Scripted("half", lambda brief: generated(brief) if brief.task == TASKS[0] else "no incident"),
    }
    monkeypatch.setattr(command, "open_attacker", lambda spec, options: named[spec])
    return named


def played(out, *attackers, defenders=("always_dismiss", "always_escalate"), n=20):
    call = ["--attackers", *attackers, "--defenders", *defenders, "--n", str(n), "--out", str(out)]
    return main(call)


def result(out):
    return json.loads((out / "cross_play.json").read_text())


# ---------------------------------------------------------------- figures
def test_briefs_take_the_tasks_in_turn_and_ask_for_each_action_equally_often():
    assert [brief.task for brief in BRIEFS[:5]] == [*TASKS, TASKS[0]]
    assert [brief.asked for brief in BRIEFS[:6]] == [*LABELS, LABELS[0]]
    assert len({(brief.task, brief.asked) for brief in BRIEFS}) == 20
    assert briefs_of("val", 1, 3)[0].seed == 300_000


def test_a_share_is_as_uncertain_as_the_plays_that_it_rests_on():
    hits = [True] * 20 + [False] * 20
    assert share(hits, [f"play {index}" for index in range(40)])["low"] == pytest.approx(0.34, abs=0.02)
    assert share(hits, ["a"] * 20 + ["b"] * 20)["low"] == 0.0
    assert share([True] * 10, ["a"] * 10) == {
        "value": 1.0,
        "low": pytest.approx(0.7225, abs=1e-3),
        "high": 1.0,
        "n": 10,
    }
    assert share([], []) == {"value": None, "low": None, "high": None, "n": 0}


def test_a_gain_is_a_difference_of_shares_and_has_no_interval_on_a_single_play():
    few, many = [True] * 2 + [False] * 18, [True] * 18 + [False] * 2
    plays = [f"play {index}" for index in range(20)]
    shown = gain(few, plays, many, plays)
    assert shown["difference"] == 0.8
    assert 0.5 < shown["low"] < 0.8 < shown["high"] < 1.0
    assert gain(few, plays, many, ["same"] * 20) == {"difference": 0.8, "low": None, "high": None}
    assert gain([], [], many, plays)["difference"] is None


def test_incidents_are_as_alike_as_the_parts_that_two_of_them_share():
    a, b, c = frozenset("wx"), frozenset("xy"), frozenset("z")
    assert self_similarity([a, a, a]) == 1.0
    assert self_similarity([a, b, c]) == pytest.approx((1 / 3) / 3, abs=1e-6)
    assert self_similarity([a]) is None


@pytest.mark.parametrize(
    ("reply", "kinds"),
    [
        (None, [("reader", "expected an incident, as lines or as one JSON object")]),
        (
            "dismiss discovery\nno line",
            [("reader", "expected seconds, type.activity and name=value parts, and a type that exists")],
        ),
        (
            "dismiss exfiltration\n-9 logon.success device_hostname=@host1 actor_user=nobody.here user_name=nobody.here logon_type=2",
            [
                ("gate", "there is no account … in this world"),
                ("gate", "exfiltration needs an external destination and bytes that go there"),
            ],
        ),
    ],
)
def test_refusals_are_told_apart_without_names_and_numbers(reply, kinds):
    assert refusal_kinds(attempt(BRIEFS[0], reply)) == kinds


def test_the_schema_refuses_by_its_own_name():
    ((by, kind),) = refusal_kinds(attempt(BRIEFS[0], "dismiss discovery\n-9 logon.success no_such=1"))
    assert by == "schema"
    assert "…" in kind


def test_an_attacker_is_measured_by_what_was_admitted():
    attempts = [attempt(brief, generated(brief)) for brief in BRIEFS[:10]] + [attempt(BRIEFS[10], None)] * 2
    measured = measure_attempts(attempts)
    assert (measured["briefs"], measured["admission"]["n"], measured["as_asked"]["value"]) == (12, 12, 1.0)
    assert measured["admission"]["value"] == pytest.approx(10 / 12, abs=1e-6)
    assert measured["truths"] == dict.fromkeys(LABELS, 2)
    assert sum(measured["tasks"].values()) == 10
    assert measured["refusals"] == [
        {"by": "reader", "kind": "expected an incident, as lines or as one JSON object", "count": 2}
    ]
    assert 0 < measured["self_similarity"] < 0.5


def test_one_incident_for_ever_is_one_play():
    attempts = [attempt(BRIEFS[0], f"monitor command_and_control\n{EXTERNAL}")] * 5
    measured = measure_attempts(attempts)
    assert (measured["plays"], measured["self_similarity"]) == (1, 1.0)


# ---------------------------------------------------------------- a whole cross-play
def test_every_attacker_meets_every_defender_on_the_same_briefs(entrants, tmp_path):
    assert played(tmp_path / "out", "generator", "half") == 0
    found = result(tmp_path / "out")
    pairs = {(pair["attacker"], pair["defender"]): pair for pair in found["pairs"]}
    assert pairs["generator", "always_dismiss"]["success"]["value"] == 0.8
    assert pairs["generator", "always_dismiss"]["dismissed"] == 16
    assert pairs["half", "always_dismiss"]["success"]["n"] == 5
    assert pairs["half", "always_dismiss"]["success_of_briefs"]["value"] == 0.2
    assert pairs["generator", "always_escalate"]["by_truth"]["escalate"] == {"wrong": 0, "n": 4}
    assert found["attackers"]["generator"]["misjudged"] == []
    (difference,) = [each for each in found["differences"] if each["attacker"] == "generator"]
    assert (difference["first"], difference["second"], difference["difference"]) == (
        "always_dismiss",
        "always_escalate",
        0.0,
    )
    assert {(each["defender"], each["second"]) for each in found["gains"]} == {
        ("always_dismiss", "half"),
        ("always_escalate", "half"),
    }


def test_defenders_runs_are_runs_that_other_commands_read(entrants, tmp_path):
    played(tmp_path / "out", "generator")
    run = load_run(tmp_path / "out" / "defenders" / "always_dismiss")
    assert run.sets == ["generator"]
    assert len({row["family"] for row in run.rollouts("generator")}) > 10


def test_an_attacker_of_whom_nothing_is_admitted_has_no_success(entrants, tmp_path):
    assert played(tmp_path / "out", "generator", "silent") == 0
    found = result(tmp_path / "out")
    pair = next(pair for pair in found["pairs"] if pair["attacker"] == "silent")
    assert pair["success"] == {"value": None, "low": None, "high": None, "n": 0}
    assert pair["success_of_briefs"]["value"] == 0.0
    assert "none\nadmitted" in heat_map(found).alt or "none admitted" in heat_map(found).alt


def test_where_nobody_is_admitted_the_reason_is_told(entrants, tmp_path, capsys):
    assert played(tmp_path / "out", "silent") == 2
    assert "expected an incident, as lines or as one JSON object; got none" in capsys.readouterr().err


def test_a_cross_play_that_stopped_asks_nothing_twice(entrants, tmp_path):
    entrants["generator"].batch = 8
    entrants["generator"].breaks_after = 8
    assert played(tmp_path / "out", "generator") == 1
    assert not (tmp_path / "out" / "cross_play.json").exists()
    entrants["generator"].breaks_after = None
    assert played(tmp_path / "out", "generator") == 0
    assert entrants["generator"].asked == 20
    before = result(tmp_path / "out")
    assert played(tmp_path / "out", "generator") == 0
    assert entrants["generator"].asked == 20
    assert result(tmp_path / "out")["pairs"] == before["pairs"]


def test_another_cross_play_is_refused_in_the_same_directory(entrants, tmp_path, capsys):
    played(tmp_path / "out", "generator")
    assert played(tmp_path / "out", "half") == 2
    assert "attackers was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "moon"}, "to 'moon'; remove that line"),
        ({"id": None}, "id (text)"),
        ({"attacker": {}}, "attacker (text)"),
        ({"reply": {"events": []}}, "Expected a reply (text or null)"),
        ({"usage": {"cost": "much"}}, "a cost of 0 USD or more"),
    ],
)
def test_an_attempt_that_was_spoiled_by_hand_is_refused_and_nothing_is_lost(entrants, tmp_path, capsys, change, told):
    assert played(tmp_path / "a", "generator", n=4) == 0
    path = tmp_path / "a" / "attempts.jsonl"
    first, second, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, json.dumps(json.loads(second) | change) + "\n", *others]))
    before = path.read_bytes()
    assert played(tmp_path / "a", "generator", n=4) == 2
    assert told in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("attackers", "reason"),
    [(("generator", "generator"), "comes twice"), (("holdout=generator", "benchmark=half"), "name of a frozen set")],
)
def test_names_that_mean_two_things_are_refused(entrants, tmp_path, capsys, attackers, reason):
    assert played(tmp_path / "out", *attackers) == 2
    assert reason in capsys.readouterr().err


def test_a_name_may_stand_before_what_it_names():
    assert Entrant.of("g2=out/rounds/2") == ("g2", "out/rounds/2")
    assert Entrant.of("https://host/v1?a=b") == ("", "https://host/v1?a=b")
    assert Entrant.of("generator") == ("", "generator")


def test_the_page_and_the_picture_show_the_same_figures(entrants, tmp_path):
    played(tmp_path / "out", "generator", "half")
    found, page = result(tmp_path / "out"), (tmp_path / "out" / "cross_play.md").read_text()
    assert page == table_page(found)
    assert "| generator | 80.0% [58.4, 91.9] of 20 |" in page
    assert "| half | schema |" in page
    with (tmp_path / "out" / "cross_play.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == [str(pair["success"]["value"]) for pair in found["pairs"]]
    for name, dark in (("cross_play.png", False), ("cross_play_dark.png", True)):
        assert (tmp_path / "out" / name).read_bytes() == png(heat_map(found), dark=dark)
