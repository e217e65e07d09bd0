"""The embedded attacker: what it writes, again and otherwise, and which exports it refuses."""

import json
import shutil

import pytest

from players.attackers import open_attacker
from players.attackers.attempts import attempt, brief_of
from players.attackers.embedded import MODEL, EmbeddedAttacker
from players.base import Options
from players.embedded import MODEL as DEFENDER
from players.embedded import EmbeddedModel, likeliest
from schema import LABELS, BadRequestError
from train.nano import export_attacker

BRIEFS = [brief_of("stage1_basic", seed, split="val", asked=LABELS[seed % 5]) for seed in range(6)]


@pytest.fixture(scope="module")
def greedy():
    return open_attacker("embedded", Options())


def test_it_writes_the_same_incident_for_a_brief_alone_and_among_others(greedy):
    replies = [reply.text for reply in greedy.craft(BRIEFS)]
    assert replies[2] == greedy.craft(BRIEFS[2:3])[0].text
    admitted = [attempt(brief, text).scenario is not None for brief, text in zip(BRIEFS, replies, strict=True)]
    assert sum(admitted) >= 4
    assert len(set(replies)) == len(replies)


def test_samples_depend_on_seed_and_brief():
    first, again, other = (
        EmbeddedAttacker(Options(temperature=1.0, seed=seed)).craft(BRIEFS[:1])[0].text for seed in (1, 1, 2)
    )
    assert first == again != other


def test_it_tries_again_where_gate_or_schema_refuses(greedy, monkeypatch):
    model, asked = greedy._model, []

    def complete(chat, choose):
        asked.append(choose)
        return ("nothing", "") if len(asked) < 3 else ("dismiss discovery\n-60 nothing", "")

    several = EmbeddedAttacker(Options(tries=4))
    monkeypatch.setattr(several._model, "complete", complete)
    assert several.craft(BRIEFS[:1])[0].text == "dismiss discovery\n-60 nothing"
    assert len(asked) == 4
    assert [choose._choose is likeliest for choose in asked] == [True, False, False, False]
    assert model is not several._model


def test_it_writes_within_the_grammar_and_freely_where_it_is_asked_to():
    brief = brief_of("stage1_basic", 3, split="val", salt="export", asked="block_ip")
    held, free = (
        attempt(brief, EmbeddedAttacker(Options(), free=free).craft([brief])[0].text, salt="export")
        for free in (False, True)
    )
    assert held.refusal == ""
    assert "should match pattern" in free.refusal
    assert EmbeddedAttacker(Options()).settings != EmbeddedAttacker(Options(), free=True).settings


def test_its_settings_tell_exports_and_ways_to_write_apart(greedy):
    about = json.loads((MODEL / "attacker.json").read_text())
    assert greedy.settings["kind"] == "embedded"
    assert greedy.settings["name"] == "embedded"
    assert greedy.settings["tries"] == 1
    assert len(greedy.settings["fingerprint"]) == 64
    assert about["seat"] == "attacker"
    for way in export_attacker.WAYS:
        assert about["measured"][way]["admitted"]["n"] == 100
    for way in ("greedy", "at 0.7", "at 1"):
        assert about["measured"][way]["admitted"]["value"] >= 0.9
        assert all(about["measured"][way]["truths"].values())


def test_a_seat_is_not_played_by_a_model_of_the_other():
    with pytest.raises(BadRequestError, match=r"Expected an exported attacker .*, and found a defender"):
        EmbeddedAttacker(Options(), DEFENDER)
    with pytest.raises(BadRequestError, match=r"Expected an exported defender .*, and found an attacker"):
        EmbeddedModel(Options(), MODEL)


def test_the_card_alone_is_written_anew_and_nothing_else(tmp_path, capsys):
    copy = tmp_path / "attacker"
    shutil.copytree(MODEL, copy)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    (copy / "README.md").write_text("stale\n")

    assert export_attacker.main(["--out", str(copy)]) == 0
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before

    assert export_attacker.main(["--out", str(DEFENDER)]) == 2
    assert "Expected an exported attacker" in capsys.readouterr().err
