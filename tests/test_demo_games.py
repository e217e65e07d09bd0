"""The arena's games: stored ones are judged anew, live ones played, and a win is counted in one way."""

import json
from itertools import product
from urllib.parse import parse_qsl

import pytest

from demo import games
from demo_data import MAX_SEED
from eval import bake_arena, cross_play
from players.labels import defender_in_words
from rubric import verdict_of
from schema import BadRequestError
from verifier.decision import judge_observation


@pytest.fixture(scope="module")
def baked(tmp_path_factory):
    """The arena's file of a small cross-play."""
    out = tmp_path_factory.mktemp("arena")
    players = ["--attackers", "generator", "edits", "--defenders", "keyword", "always_escalate"]
    assert cross_play.main([*players, "--n", "8", "--out", str(out / "cross")]) == 0
    call = [str(out / "cross"), "--rounds", "6", "--out", str(out / "arena.json"), "--images", str(out / "images")]
    assert bake_arena.main(call) == 0
    assert (out / "images" / "cross_play.png").stat().st_size > 5_000
    return json.loads((out / "arena.json").read_text())


@pytest.fixture
def arena(baked, monkeypatch):
    monkeypatch.setattr(games, "arena_file", lambda: baked)
    games._stored_case.cache_clear()
    yield baked
    games._stored_case.cache_clear()


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (True, False, "won"),
        (False, False, "wrong before"),
        (None, False, "wrong before"),
        (True, True, "held"),
        (False, True, "held"),
        (True, None, "refused"),
    ],
)
def test_a_win_needs_a_defender_that_was_right_before(before, after, verdict):
    assert verdict_of(before, after) == verdict


def test_stored_games_are_judged_anew_as_they_were(arena):
    assert (games.stored_attackers(), games.stored_defenders()) == (["edits"], ["keyword", "always_escalate"])
    for defender, number in product(games.stored_defenders(), range(6)):
        bout = games.stored_round("edits", defender, number)
        assert bout.verdict == games.verdicts("edits", defender)[number]
        assert bout.case.truth.action == judge_observation(bout.case.observation).action == bout.asked
        assert bout.after.who == defender_in_words(defender)
        assert bout.title == f"round {number + 1} of 6"


def test_after_the_last_round_comes_the_first(arena):
    assert games.stored_round("edits", "keyword", 6).title == "round 1 of 6"


def test_the_generator_beside_itself_never_wins(arena):
    for defender in games.stored_defenders():
        assert {*games.verdicts("generator", defender)} <= {"held", "wrong before"}


def test_a_refused_incident_is_shown_with_the_gates_reasons(arena, monkeypatch):
    unreal = arena["incidents"]["edits"][0].replace("device_hostname=@host1", "device_hostname=NOWHERE")
    lines = unreal.split("\n")
    refused = "\n".join([lines[0], "-9 logon.success device_hostname=NOWHERE user_name=nobody.here logon_type=2"])
    stored = {**arena, "incidents": {**arena["incidents"], "edits": [refused] * 6}}
    monkeypatch.setattr(games, "arena_file", lambda: stored)
    bout = games.stored_round("edits", "keyword", 0)
    assert (bout.verdict, bout.case, bout.after) == ("refused", None, None)
    assert any("there is no host 'NOWHERE' in this world" in reason for reason in bout.reasons)
    assert bout.before is not None


def test_the_address_of_a_stored_round_shows_it_again(arena):
    bout = games.stored_round("edits", "keyword", 7)
    assert (bout.place, bout.query) == (1, "arena=edits&against=keyword&round=2")
    assert games.linked_round(dict(parse_qsl(bout.query))) == bout


def test_the_address_of_a_live_round_plays_it_again():
    bout = games.live_round("edits", "keyword", "stage2_multi", 11)
    assert (bout.place, bout.query) == (None, "arena=edits&against=keyword&live=stage2_multi&world=11")
    again = games.linked_round(dict(parse_qsl(bout.query)))
    assert (again.case, again.verdict, again.query) == (bout.case, bout.verdict, bout.query)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"round": "-1"},
        {"round": "two"},
        {"round": "²"},
        {"live": "stage9", "world": "1"},
        {"live": "stage2_multi", "world": str(MAX_SEED + 1)},
    ],
)
def test_an_address_that_names_no_round_is_refused_in_words(arena, wrong):
    with pytest.raises(BadRequestError, match="Expected a link of the arena"):
        games.linked_round({"arena": "edits", "against": "keyword", **wrong})


def test_games_that_are_not_there_are_refused_in_words(arena):
    with pytest.raises(BadRequestError, match="there is none of 'nobody' against 'keyword'"):
        games.stored_round("nobody", "keyword", 0)
    with pytest.raises(BadRequestError, match="one of embedded, edits, generator, and got 'nobody'"):
        games.live_round("nobody", "keyword", "stage1_basic", 1)


@pytest.mark.parametrize("attacker", games.LIVE)
def test_a_live_round_is_played_in_the_world_of_a_seed(attacker):
    bout = games.live_round(attacker, "keyword", "stage2_multi", 11)
    assert bout.title == "live, seed 11 · stage 2, multi"
    assert bout == games.live_round(attacker, "keyword", "stage2_multi", 11)._replace(
        before=bout.before, after=bout.after
    )
    assert bout.verdict == verdict_of(bout.before.right, bout.after.right)
    if attacker == games.BEFORE:
        assert bout.case.observation == bout.before_case.observation


def test_without_a_file_there_are_no_games(monkeypatch, tmp_path):
    monkeypatch.setattr(games, "ARENA", tmp_path / "none.json")
    games.arena_file.cache_clear()
    assert (games.stored_attackers(), games.stored_defenders()) == ([], [])
    games.arena_file.cache_clear()


def test_only_a_cross_play_with_the_generator_can_be_baked(tmp_path, capsys):
    assert bake_arena.main([str(tmp_path)]) == 2
    run = {"command": "", "commit": None, "split": "val", "seed": 0, "briefs": 1, "attackers": []}
    share = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 4}
    pair = {"attacker": "edits", "defender": "keyword", "success": share, "success_of_briefs": share}
    result = {"run": run, "attackers": {"edits": {}}, "defenders": ["keyword"], "pairs": [pair]}
    (tmp_path / "cross_play.json").write_text(json.dumps(result))
    assert bake_arena.main([str(tmp_path)]) == 2
    assert "Expected the attacker 'generator'" in capsys.readouterr().err
