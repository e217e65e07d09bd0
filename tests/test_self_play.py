"""Self-play of small models: what an incident earns, what is stored, who is met, and what is refused."""

import json
from collections import Counter
from contextlib import nullcontext
from random import Random

import pytest

from generator.incidents import generate
from players.attackers.attempts import brief_of
from players.attackers.nano import IncidentCodec, NanoAttacker
from players.base import Options
from players.codec import load
from players.decode import Answers
from players.incidents import write_incident
from rubric import AttackerTurn
from scenario import judged_item
from schema import LABELS, BadRequestError
from tests.nano_start import make_start, shrink
from train import self_play
from train.archive import IncidentArchive, StoredIncident, checked_incidents, mixed_row, read_incidents
from train.attacks import _cut, attack_row
from train.deception import Crafted, Question, deception_reward, without_repeats
from train.log import Log
from train.nano.attacks import Deceive, Opponents
from train.nano.self_play import SmallRounds
from verifier.decision import judge_observation


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint that knows the form of an answer a little."""
    return make_start(tmp_path_factory.mktemp("start"))


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    """Make few rows, in this process: workers take seconds to start, and tests/test_wide.py tries them."""
    shrink(monkeypatch)
    monkeypatch.setattr("train.nano.self_play.ANCHORS", 8)
    monkeypatch.setattr("train.nano.loop.worker_processes", lambda number: nullcontext())


def own_incident(brief, salt):
    """The generator's incident of a brief's world, cut short, as lines."""
    case = generate(brief.task, brief.seed, split=brief.split, salt=salt)
    case = _cut(case, Random(0), 40)
    return write_incident(case.incident, brief.context)


def writes(monkeypatch, text_of):
    """Let the attacker's seat write what a function of its brief gives, again and again for a group."""

    def sample(self, model, coder, prompts, places):
        rows = [self._rows(place) for place in places]
        texts = [[text_of(row, number) for number in range(self.group)] for row in rows]
        return [Answers([[*coder.tokenizer(text).input_ids, coder.end] for text in group], 1.0) for group in texts]

    monkeypatch.setattr(Deceive, "_sample", sample)


def play(start, out, *flags):
    common = (
        "--rounds 1 --attacker-steps 1 --defender-steps 1 --briefs 5 --groups 2 --group-size 2 --eval-n 0 --threads 1"
    )
    return self_play.main(
        ["--attacker", str(start), "--defender", str(start), "--out", str(out), *common.split(), *flags]
    )


def test_generated_rows_ask_for_what_the_verifier_says_and_are_admitted():
    rows = [attack_row(1, index) for index in range(40)]
    assert {row["brief"].asked for row in rows} == set(LABELS)
    assert rows == [attack_row(1, index) for index in range(40)]
    assert all(row["incident"].startswith(f"{row['brief'].asked} ") for row in rows)
    assert max(row["incident"].count("\n") for row in rows) <= 9
    assert rows[0]["id"] != attack_row(2, 0)["id"] or rows[0]["incident"] != attack_row(2, 0)["incident"]


def test_a_round_stores_what_was_admitted_and_goes_on_after_it(start, tmp_path, monkeypatch, capsys):
    writes(monkeypatch, lambda row, number: own_incident(row["brief"], row["salt"]) if number else "nothing at all")
    out = tmp_path / "run"
    assert play(start, out) == 0
    incidents = checked_incidents(out / "incidents.jsonl", gated=True)
    assert 3 <= len(incidents) <= 5
    for incident in incidents:
        scenario = incident.admission().scenario
        assert scenario.truth.action == incident.truth
        assert judge_observation(judged_item(scenario)["observation"]) == scenario.truth
    (line,) = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    assert line["attacker/admitted"] == len(incidents) / 10
    assert line["attacker/unreadable"] == 0.5
    assert line["refusals"]["expected the claim, an action and a category, in the first line"] == 5
    assert line["defender/reward"] <= 1.1
    holes = [json.loads(text) for text in (out / "holes.jsonl").read_text().splitlines()]
    assert len(holes) == sum(incident.rights == 0 for incident in incidents) > 0
    assert {hole["hole"] for hole in holes} == {"no answer was right: does the window say what decides?"}
    assert set(line["wins"]) == {"0"}
    assert play(start, out, "--rounds", "2") == 0
    assert {incident.round for incident in read_incidents(out / "incidents.jsonl")} == {0, 1}
    assert len((out / "log.jsonl").read_text().splitlines()) == 2
    assert load(out / "rounds" / "001-defender")


def test_the_same_command_plays_on_where_it_was_stopped(start, tmp_path, monkeypatch):
    writes(monkeypatch, lambda row, number: own_incident(row["brief"], row["salt"]))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert play(start, whole) == 0
    with monkeypatch.context() as patch:
        patch.setattr("train.rounds.Rounds.defend", lambda self, round_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert play(start, cut) == 130
    assert play(start, cut) == 0
    first, second = ((out / "incidents.jsonl").read_bytes() for out in (whole, cut))
    assert first == second
    first, second = ((out / "rounds/000-defender/model.safetensors").read_bytes() for out in (whole, cut))
    assert first == second != (start / "model.safetensors").read_bytes()


@pytest.mark.parametrize("left_out", ["gate", "learnability", "archive", "attacker", "defender"])
def test_each_part_can_be_left_out(start, tmp_path, monkeypatch, left_out):
    writes(monkeypatch, lambda row, number: own_incident(row["brief"], row["salt"]))
    out = tmp_path / "run"
    assert play(start, out, "--without", left_out, "--rounds", "2", "--briefs", "2") == 0
    frozen = {"attacker": "001-attacker", "defender": ""}.get(left_out)
    if left_out == "attacker":
        assert (out / "rounds" / frozen / "model.safetensors").read_bytes() == (
            start / "model.safetensors"
        ).read_bytes()
    assert (out / "rounds" / "000-defender").exists() is (left_out != "defender")


def test_ablations_have_names(capsys):
    with pytest.raises(SystemExit):
        self_play.main(["--attacker", "a", "--defender", "b", "--out", "c", "--without", "luck"])
    assert "expected some of gate, learnability, archive, attacker, defender; got 'luck'" in capsys.readouterr().err


# ---------------------------------------------------------------- what an incident earns
def crafted(play="p", truth="dismiss", size=10):
    return Crafted(AttackerTurn(valid=True), play, truth, Question(None, size), {}, "")


def paid(right, *, table="hardened", one=None, on_target=True):
    return deception_reward(one or crafted(), right, on_target=on_target, table=table)


def test_the_hardened_table_pays_most_where_the_defender_succeeds_half_the_time():
    assert paid(0.5) == pytest.approx(1.2)
    assert paid(0.25) == paid(0.75)
    assert paid(0.0) < paid(0.25) < paid(0.5)


def test_the_standard_table_pays_for_each_answer_that_was_fooled():
    assert {right: paid(right, table="standard") for right in (0.0, 0.25, 1.0)} == {
        0.0: pytest.approx(1.2),
        0.25: pytest.approx(0.95),
        1.0: pytest.approx(0.2),
    }


def test_what_was_not_asked_for_or_refused_earns_no_deception():
    assert paid(0.0, on_target=False) == 0.0
    refused = Crafted(AttackerTurn(valid=True, reasons=("r",)), "", None, None, {}, "r")
    assert paid(None, one=refused, on_target=False) == -0.2
    unread = Crafted(AttackerTurn(valid=False), "", None, None, {}, "r")
    assert paid(None, one=unread, on_target=False) == -0.5


def test_the_same_incident_for_ever_is_refused_from_the_fourth_on():
    groups = without_repeats([[crafted() for _ in range(3)], [crafted(), crafted("q")]])
    assert [one.refusal for group in groups for one in group] == ["", "", "", "this play was seen before", ""]
    assert not groups[1][0].turn.admitted


def test_hard_defenders_are_met_more_often_and_none_is_forgotten():
    opponents = Opponents(None, ["a", "b", "c"], {0: 0.9, 2: 0.1}, 7)
    met = Counter(opponents.draw(place) for place in range(4_000))
    assert met[2] > met[1] > met[0] > 40


# ---------------------------------------------------------------- the archive
def stored(seed=3, **more):
    brief = brief_of("stage1_basic", seed, salt="s")
    case = generate("stage1_basic", seed, salt="s")
    content = {
        "target_label": "dismiss",
        "category": case.category,
        "events": case.lines,
    }
    fields = {"round": 0, "opponent": 0, "task": "stage1_basic", "seed": seed, "split": "train", "salt": "s"}
    fields |= {"asked": brief.asked, "content": content, "truth": "dismiss", "play": "p", "rights": 1, "times": 4}
    admission = StoredIncident(**fields).admission()
    judged = {"truth": admission.scenario.truth.action, "play": admission.play}
    return StoredIncident(**(fields | judged | more))


def changed(line, **change):
    """Change the object of a line."""
    return json.dumps(json.loads(line) | change) + "\n"


def test_rows_come_from_the_archive_and_the_generator_hard_ones_more_often(tmp_path):
    path = tmp_path / "incidents.jsonl"
    IncidentArchive(path).add([stored(3, rights=4), stored(4, rights=0)])
    rows = [mixed_row(path, 1, 0.5, ("stage2_multi",), index) for index in range(300)]
    assert rows[:20] == [mixed_row(path, 1, 0.5, ("stage2_multi",), index) for index in range(20)]
    names = Counter(row["id"].rpartition("-")[0] if row["id"].startswith("attack") else "generated" for row in rows)
    assert 110 < names["generated"] < 190
    assert names["attack-0-stage1_basic-4"] > 5 * names["attack-0-stage1_basic-3"] > 0


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda lines: [json.dumps(json.loads(lines[0]) | {"generator": "0"}) + "\n", *lines[1:]], "incidents of"),
        (lambda lines: lines[1:], "Expected incidents of"),
        (lambda lines: [lines[0], lines[1].replace('"truth": "', '"truth": "x')], "truth"),
        (lambda lines: [lines[0], json.dumps(json.loads(lines[1]) | {"rights": -1}) + "\n"], "rights"),
        (lambda lines: [lines[0], json.dumps(json.loads(lines[1]) | {"salt": "other"}) + "\n"], "that the gate admits"),
        (lambda lines: [lines[0], '{"round": 0}\n'], "Field required"),
        (lambda lines: [changed(lines[0], playbook=["x"] * 9_000), *lines[1:]], "its first line says playbook"),
        (lambda lines: [lines[0], changed(lines[1], rights=5)], "at most all answers are right; got 5 of 4"),
        (lambda lines: [lines[0], changed(lines[1], rights="1")], "rights"),
        (lambda lines: [lines[0], changed(lines[1], opponent=1)], "no defender of generation 1"),
        (lambda lines: [lines[0], changed(lines[1], seed=10**30)], "seed"),
        (lambda lines: [lines[0], changed(lines[1], split="test_seed")], "worlds of train; got test_seed"),
        (lambda lines: [lines[0], changed(lines[1], gated=False)], "the gate was not asked, and this run does ask it"),
        (lambda lines: [lines[0], changed(lines[1], play="0" * 16)], "and the line says '0000000000000000'"),
        (lambda lines: [lines[0], "[" * 9_000 + "]" * 9_000 + "\n", lines[1]], "a JSON object in line 2"),
        (lambda lines: [lines[0], changed(lines[1], content={"events": [float("nan")]})], "that the gate admits"),
        (lambda lines: [changed(lines[0], generator="0"), lines[1][:-20]], "its first line says generator '0'"),
    ],
)
def test_an_archive_that_was_tampered_with_is_refused(tmp_path, spoil, fault):
    path = tmp_path / "incidents.jsonl"
    IncidentArchive(path).add([stored()])
    path.write_text("".join(spoil(path.read_text().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(BadRequestError, match=fault) as refused:
        IncidentArchive(path)
    assert len(str(refused.value)) < 1000
    assert path.read_bytes() == before


def test_a_line_that_was_cut_off_is_forgotten(tmp_path):
    path = tmp_path / "incidents.jsonl"
    IncidentArchive(path).add([stored(3), stored(4)])
    path.write_bytes(path.read_bytes()[:-20])
    IncidentArchive(path).add([stored(5)])
    assert [incident.seed for incident in read_incidents(path)] == [3, 5]


@pytest.mark.parametrize("kept", [0, 5])
def test_an_archive_that_was_torn_in_its_first_line_is_begun_anew(tmp_path, kept):
    path = tmp_path / "incidents.jsonl"
    IncidentArchive(path)
    path.write_bytes(path.read_bytes()[:kept])
    IncidentArchive(path).add([stored(3)])
    assert [incident.seed for incident in read_incidents(path)] == [3]


def rounds_in(out, *incidents):
    """A run in its directory, without models."""
    rounds = object.__new__(SmallRounds)
    rounds.out, rounds.gated, rounds.without = out, True, []
    rounds.archive, rounds.log = IncidentArchive(out / "incidents.jsonl"), Log(out / "log.jsonl")
    rounds.archive.add(incidents)
    return rounds


def test_the_copy_that_a_half_draws_from_is_judged_anew_as_well(tmp_path):
    rounds = rounds_in(tmp_path, stored())
    path = rounds._snapshot(0, tmp_path / "half")
    assert rounds._snapshot(0, tmp_path / "half") == path
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + changed(second, salt="other"))
    with pytest.raises(BadRequestError, match=r"that the gate admits .* in line 2"):
        rounds._snapshot(0, tmp_path / "half")


def test_incidents_that_are_gone_from_the_archive_are_told(tmp_path, capsys):
    rounds_in(tmp_path, stored(3), stored(4)).log.add({"step": 1, "attacker/stored": 2})
    rounds_in(tmp_path).tell_losses()
    assert capsys.readouterr().err == ""
    path = tmp_path / "incidents.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    rounds_in(tmp_path).tell_losses()
    assert "Of the 2 incidents of round 1, incidents.jsonl holds 1" in capsys.readouterr().err


# ---------------------------------------------------------------- the small model
def test_a_small_model_writes_an_incident_for_each_brief_alike_alone_and_together(start):
    attacker = NanoAttacker.open(start, Options(temperature=1.0, seed=4))
    attacker._coder.__class__.longest, before = 12, IncidentCodec.longest
    try:
        briefs = [brief_of("stage1_basic", seed, asked="escalate") for seed in range(3)]
        together = [reply.text for reply in attacker.craft(briefs)]
        assert together == [attacker.craft([brief])[0].text for brief in briefs]
    finally:
        IncidentCodec.longest = before
    assert attacker.settings["kind"] == "model"
    assert len(attacker.settings["fingerprint"]) > 10
