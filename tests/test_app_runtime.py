"""The parts of the web service, one by one: settings, JSON input, the store of episodes, the served environment."""

import asyncio
import gc
import json
import weakref
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app_runtime.app import create_app
from app_runtime.episodes import Episodes
from app_runtime.guard import _is_ordinary
from app_runtime.json_input import MAX_DEPTH, read_json
from app_runtime.openenv import Loan, ServedEnv, safe_errors
from app_runtime.refusal import OUR_FAULT, InternalError, Refusal, safe_error
from app_runtime.settings import Settings
from app_runtime.shapes import OpenSOCAction, OpenSOCObservation, OpenSOCState, ResetBody
from contract import right_answer
from env import OpenSOCEnv
from schema import MODES, TASKS, BadRequestError, OpenSOCError
from tasks.registry import SPLITS


# ---------------------------------------------------------------- settings
def test_settings_come_from_the_environment():
    variables = {"PORT": "8000", "OPENSOC_SALT": "s3cret", "OPENSOC_MAX_EPISODES": "7", "OPENSOC_EPISODE_TTL_S": "1.5"}

    settings = Settings.from_env(variables)

    assert (settings.port, settings.salt, settings.max_episodes, settings.episode_ttl_s) == (8000, "s3cret", 7, 1.5)
    assert (settings.host, settings.reward_table, settings.max_sessions) == ("0.0.0.0", "standard", 2048)


def test_an_empty_variable_counts_as_unset():
    assert Settings.from_env({"PORT": "", "OPENSOC_REWARD_TABLE": ""}) == Settings()


def test_a_flag_goes_before_a_variable():
    assert Settings.from_env({"PORT": "8000"}, port=9000, host=None).port == 9000


@pytest.mark.parametrize(
    ("variables", "flags", "named"),
    [
        ({"PORT": "http"}, {}, "environment variable PORT"),
        ({"PORT": "65536"}, {}, "environment variable PORT"),
        ({}, {"port": -1}, "--port"),
        ({"OPENSOC_MAX_EPISODES": "0"}, {}, "OPENSOC_MAX_EPISODES"),
        ({"OPENSOC_EPISODE_TTL_S": "nan"}, {}, "OPENSOC_EPISODE_TTL_S"),
        ({"OPENSOC_SESSION_TIMEOUT_S": "0"}, {}, "OPENSOC_SESSION_TIMEOUT_S"),
        ({"OPENSOC_SESSION_TIMEOUT_S": "1e300"}, {}, "OPENSOC_SESSION_TIMEOUT_S"),
        ({"OPENSOC_EPISODE_TTL_S": "1e-9"}, {}, "at least 1 s as OPENSOC_EPISODE_TTL_S, got 1e-09"),
        ({"OPENSOC_ALSO_PORT": "7860"}, {}, "two ports, got 7860 as PORT and as OPENSOC_ALSO_PORT"),
        ({"OPENSOC_REWARD_TABLE": "generous"}, {}, "OPENSOC_REWARD_TABLE"),
        ({"OPENSOC_HOLD_GRADES": "1"}, {}, "OPENSOC_HOLD_GRADES; .*a moment such as"),
        ({"OPENSOC_HOLD_GRADES": "1800000000"}, {}, "OPENSOC_HOLD_GRADES"),
        ({"OPENSOC_HOLD_GRADES": "2030-01-01T00:00:00"}, {}, "OPENSOC_HOLD_GRADES"),
        ({"OPENSOC_SALT": " \n"}, {}, "OPENSOC_SALT; .*got blanks"),
        ({"OPENSOC_FRAME_ANCESTORS": "none"}, {}, "with their quotes"),
        ({"OPENSOC_FRAME_ANCESTORS": "Self https://a"}, {}, "with their quotes"),
        ({"OPENSOC_FRAME_ANCESTORS": "https://\u00e4"}, {}, "ASCII"),
    ],
)
def test_a_wrong_setting_is_named(variables, flags, named):
    with pytest.raises(OpenSOCError, match=named):
        Settings.from_env(variables, **flags)


def test_a_variable_that_sets_nothing_is_named_with_the_one_that_may_be_meant():
    variables = {
        "OPENSOC_SALTT": "s3cret",
        "OPENSOC_COLOUR": "red",
        "OPENSOC_SALT": "x",
        "OPENSOC_SCREENSHOTS": "",
        "PATH": "/",
    }

    assert Settings.unknown_variables(variables) == [
        "The environment variable 'OPENSOC_COLOUR' sets nothing: there is no such setting.",
        "The environment variable 'OPENSOC_SALTT' sets nothing: there is no such setting. Is OPENSOC_SALT meant?",
    ]
    assert Settings.unknown_variables({"opensoc_salt": "s3cret"}) == [
        "The environment variable 'opensoc_salt' sets nothing: there is no such setting. "
        "Is OPENSOC_SALT meant? It keeps its default."
    ]


@pytest.mark.parametrize("name", ["OPENSOCSALT", "OPEN_SOC_SALT", "OPENSCO_SALT", "opensocsalt"])
def test_a_typo_in_the_prefix_is_named_too(name):
    (sentence,) = Settings.unknown_variables({name: "s3cret", "SALT": "x", "HF_TOKEN": "x", "PORT": "1", "HOST": "y"})

    assert f"'{name}' sets nothing" in sentence
    assert "Is OPENSOC_SALT meant?" in sentence


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OPENSOC_HOLD_GRADES": "2020-01-31T12:00:00Z"}, ["OPENSOC_HOLD_GRADES"]),
        ({"OPENSOC_SALT": "a"}, ["OPENSOC_SALT"]),
        (
            {"OPENSOC_SALT": "a" * 15, "OPENSOC_HOLD_GRADES": "2020-01-31T12:00:00Z"},
            ["OPENSOC_HOLD_GRADES", "OPENSOC_SALT"],
        ),
        ({"OPENSOC_SALT": "a" * 16, "OPENSOC_HOLD_GRADES": "2999-01-31T12:00:00+02:00"}, []),
        ({}, []),
    ],
)
def test_a_setting_that_does_hardly_what_is_wanted_is_told(variables, named):
    sentences = Settings.from_env(variables).doubts()

    assert [sentence.split()[0] for sentence in sentences] == named
    assert not any("aaa" in sentence for sentence in sentences)


@pytest.mark.parametrize("path", ["/demo", "/demo/x", "/reset", "/ws", "/docs", "/playbook", "/ready"])
def test_a_root_path_that_begins_as_one_of_ours_is_refused(path):
    with pytest.raises(OpenSOCError, match=f"got {path} as OPENSOC_ROOT_PATH"):
        create_app(Settings(root_path=path))


@pytest.mark.parametrize("path", ["/opensoc", "/demos", "/a/demo", "/"])
def test_another_root_path_is_taken(path):
    assert create_app(Settings(root_path=path))


def test_the_salt_is_not_printed():
    assert "s3cret" not in repr(Settings(salt="s3cret"))


# ---------------------------------------------------------------- JSON input
def nested(levels):
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        '{"a": -Infinity}',
        nested(MAX_DEPTH + 1),
        nested(5000),
        '{"a":' * 5000 + "1" + "}" * 5000,
        "1" * 5000,
        "\ufeff{}",
    ],
)
def test_what_is_no_usable_json_is_refused(text):
    with pytest.raises(Refusal, match="Expected JSON") as caught:
        read_json(text)
    assert caught.value.status == 400


def test_nesting_is_taken_up_to_the_limit():
    value = read_json(nested(MAX_DEPTH))

    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


def test_width_is_not_depth():
    assert read_json("[" + ",".join(["[{}]"] * 1000) + "]") == [[{}]] * 1000


def test_nan_is_taken_where_it_is_asked_for():
    assert str(read_json('[NaN, {"a": Infinity}]', finite=False)) == "[nan, {'a': inf}]"


def test_a_lone_surrogate_becomes_a_question_mark():
    assert read_json(r'{"\ud800": ["\uD83D\uDE00", "a\udc00b"]}') == {"?": ["\N{GRINNING FACE}", "a?b"]}


@pytest.mark.parametrize(
    "text", ["[]", '""', " {}", "{" * 65, r'{"a": "\ud800"}', r'{"a": "\uDFFF"}', '{"a":' + "1" * 4300]
)
def test_a_suspicious_frame_is_not_ordinary(text):
    assert not _is_ordinary(text)


def test_the_usual_frames_are_ordinary():
    answer = {"action": "monitor", "cited_log_id": "L1-3", "rationale": "caf\u00e9 " * 100}

    assert _is_ordinary(json.dumps({"type": "reset", "data": {"seed": 5}}))
    assert _is_ordinary(json.dumps({"type": "step", "data": {"submit_triage": answer}}))


# ---------------------------------------------------------------- sentences
def test_an_unexpected_error_is_logged_and_shown_without_its_text(caplog):
    try:
        raise KeyError("the ground truth is escalate")
    except KeyError as exc:
        safe = safe_error(exc)

    assert str(safe) == OUR_FAULT
    assert "KeyError" in caplog.text
    assert "test_app_runtime.py" in caplog.text  # where it came from
    assert "the ground truth is" not in caplog.text.replace('raise KeyError("the ground truth is escalate")', "")


# ---------------------------------------------------------------- the store of episodes
class FakeEnv:
    """Ends at the step that says so."""

    def __init__(self):
        self.closed = False

    def reset(self, seed=None, episode_id=None, *, task="stage1_basic", mode="defender_only", **other):
        self.observation = SimpleNamespace(episode_id=episode_id, task=task, mode=mode, done=False)
        return self.observation

    def step(self, action):
        self.observation.done = action.get("submit_triage") is not None
        return self.observation

    def close(self):
        self.closed = True


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def store(*, max_episodes=10, ttl_s=60.0):
    clock = Clock()
    return Episodes(FakeEnv, max_episodes=max_episodes, ttl_s=ttl_s, clock=clock), clock


def begin(episodes, owner="us", **asked):
    name = asked.pop("name", None)
    return episodes.start(asked, owners=[owner], name=name)[0]


def finish(episodes, episode, answer="monitor"):
    episodes.step(episode, {"submit_triage": answer})


def test_ids_of_the_server_cannot_be_guessed():
    episodes, _ = store(max_episodes=1000)
    ids = {begin(episodes).episode_id for _ in range(1000)}

    assert len(ids) == 1000
    assert min(len(one) for one in ids) >= 22  # 128 bits


def test_an_episode_lives_from_its_last_use():
    episodes, clock = store(ttl_s=60)
    episode = begin(episodes)
    clock.now += 59.9
    assert episodes.find(episode.episode_id) is episode
    clock.now += 59.9
    episodes.step(episode, {"craft_incident": 1})
    clock.now += 59.9
    assert episodes.latest("us", certain=True) is episode
    clock.now += 60

    with pytest.raises(Refusal) as caught:
        episodes.find(episode.episode_id)
    assert caught.value.status == 404
    assert episode.env.closed


def test_a_finished_episode_can_be_found_until_it_expires():
    episodes, clock = store(ttl_s=60)
    episode = begin(episodes)
    finish(episodes, episode)
    clock.now += 59.9

    assert episodes.find(episode.episode_id) is episode


def test_nothing_is_left_of_what_expired():
    episodes, clock = store(ttl_s=60)
    gone = [begin(episodes, "us"), begin(episodes, "us", name="mine"), begin(episodes, "them")]
    finish(episodes, gone[0])
    clock.now += 60
    begin(episodes, "new")

    assert len(episodes) == 1
    assert all(episode.env.closed for episode in gone)
    assert {call.owner for call in episodes._by_call} == {"new"}
    assert len(episodes._by_id) == 1


def test_a_full_store_drops_the_least_recently_used_finished_episode_first():
    episodes, _ = store(max_episodes=3)
    first, second, running = begin(episodes), begin(episodes), begin(episodes)
    finish(episodes, first)
    finish(episodes, second)
    episodes.find(first.episode_id)
    begin(episodes)

    assert len(episodes) == 3
    assert (first.env.closed, second.env.closed, running.env.closed) == (False, True, False)


def test_a_store_full_of_running_episodes_says_when_to_come_back():
    episodes, clock = store(max_episodes=2, ttl_s=60)
    first = begin(episodes)
    clock.now += 10
    second = begin(episodes)
    clock.now += 10.5

    with pytest.raises(Refusal) as caught:
        begin(episodes)

    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "40"})
    assert not first.env.closed
    clock.now += 40
    begin(episodes)
    assert (first.env.closed, second.env.closed) == (True, False)


def test_a_refused_reset_costs_nobody_an_episode():
    episodes = Episodes(OpenSOCEnv, max_episodes=1, ttl_s=60)
    episode, _ = episodes.start({"seed": 1}, owners=["us"])
    finish(episodes, episode)
    with pytest.raises(BadRequestError):
        episodes.start({"seed": -1}, owners=["them"])

    assert episodes.find(episode.episode_id) is episode


def test_the_next_to_expire_need_not_be_the_first_that_began():
    episodes, clock = store(ttl_s=60)
    first, second = begin(episodes), begin(episodes)
    clock.now += 30
    episodes.find(first.episode_id)
    clock.now += 30

    assert episodes.latest("us", certain=True, to_play=True) is first
    assert (first.env.closed, second.env.closed) == (False, True)


def test_who_asks_without_an_id_keeps_the_episode_too():
    episodes, clock = store(ttl_s=60)
    episode = begin(episodes)
    for _ in range(3):
        clock.now += 59
        assert episodes.latest("us", certain=False) is episode


def test_a_store_is_full_of_running_episodes_that_have_not_expired(monkeypatch):
    episodes, clock = store(max_episodes=2, ttl_s=60)
    begun = []
    for holder in ("here", "there"):
        monkeypatch.setattr("app_runtime.episodes.HOLDER", SimpleNamespace(get=lambda holder=holder: holder))
        begun.append(begin(episodes))
    assert episodes.is_full
    finish(episodes, begun[0])
    assert not episodes.is_full
    monkeypatch.setattr("app_runtime.episodes.HOLDER", SimpleNamespace(get=lambda: "here"))
    begin(episodes, seed=1)
    assert episodes.is_full
    clock.now += 60

    assert not episodes.is_full


def test_an_id_that_the_client_chose_is_found_by_its_owner_only():
    episodes, _ = store()
    ours, theirs = begin(episodes, "us", name="demo"), begin(episodes, "them", name="demo")

    assert episodes.find("demo", "us") is ours
    assert episodes.find("demo", "them") is theirs
    with pytest.raises(Refusal) as foreign:
        episodes.find("demo", "others")
    with pytest.raises(Refusal) as unknown:
        episodes.find("omed", "others")
    assert foreign.value.status == unknown.value.status == 404
    assert str(foreign.value) == str(unknown.value).replace("omed", "demo")


def test_an_id_that_the_server_made_is_found_by_whoever_knows_it():
    episodes, _ = store()
    episode = begin(episodes, "us")

    assert episodes.find(episode.episode_id, "them") is episode


def test_an_id_that_the_server_made_is_no_name_for_another_episode():
    episodes, _ = store()
    episode = begin(episodes, "us")
    begin(episodes, "them", name=episode.episode_id)

    assert episodes.find(episode.episode_id, "them") is episode


def test_a_name_is_in_use_for_all_who_share_an_address():
    episodes, _ = store()
    episodes.start({}, owners=["our-cookie", "office"], name="demo")

    with pytest.raises(Refusal, match="still running") as caught:
        episodes.start({}, owners=["their-cookie", "office"], name="demo")
    assert caught.value.status == 409


def test_a_chosen_id_is_free_again_after_the_end():
    episodes, _ = store()
    first = begin(episodes, name="demo")
    with pytest.raises(Refusal) as caught:
        begin(episodes, name="demo")
    assert caught.value.status == 409
    finish(episodes, first)
    second = begin(episodes, name="demo")

    assert episodes.find("demo", "us", to_play=True) is second
    assert episodes.find("demo", "us", certain=True) is second


def test_a_name_that_two_have_taken_after_each_other_gives_neither_the_others_grade():
    episodes, _ = store()
    for answer in ("escalate", "escalate", "dismiss"):
        last = begin(episodes, name="demo", seed=42)
        assert episodes.find("demo", "us", to_play=True) is last
        finish(episodes, last, answer)
        if answer == "escalate":
            assert episodes.find("demo", "us") is last

    with pytest.raises(Refusal, match=r"3 episodes .* Choose a name") as caught:
        episodes.find("demo", "us")
    assert caught.value.status == 409


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "\u00e9", "a\n", "x" * 256])
def test_a_chosen_id_has_plain_characters(name):
    with pytest.raises(ValidationError, match="pattern"):
        ResetBody.model_validate({"episode_id": name})


def test_the_longest_chosen_id_is_taken():
    assert ResetBody.model_validate({"episode_id": "x" * 255}).episode_id == "x" * 255


# ---------------------------------------------------------------- the episode that a caller means
def refused(episodes, owner="us", *, certain=False, **wanted):
    with pytest.raises(Refusal) as caught:
        episodes.latest(owner, certain=certain, **wanted)
    assert caught.value.status == 409
    return str(caught.value)


def test_without_a_reset_the_caller_is_told_to_call_it():
    assert "POST /reset" in refused(store()[0])


def test_the_last_reset_is_meant():
    episodes, _ = store()
    begin(episodes)
    second = begin(episodes)

    assert episodes.latest("us", certain=True) is second


def test_task_mode_and_seed_choose():
    episodes, _ = store()
    wanted = begin(episodes, task="stage2_multi", mode="self_play", seed=7)
    begin(episodes, task="stage1_basic", mode="self_play", seed=7)
    begin(episodes, task="stage2_multi", mode="defender_only", seed=7)
    begin(episodes, task="stage2_multi", mode="self_play", seed=8)

    assert episodes.latest("us", certain=False, task="stage2_multi", mode="self_play", seed=7) is wanted
    refused(episodes, task="stage3_mixed")
    refused(episodes, seed=9)


def test_one_after_another_from_one_address_each_can_be_played():
    episodes, _ = store()
    for _ in range(3):
        episode = begin(episodes)
        assert episodes.latest("us", certain=False, to_play=True) is episode
        finish(episodes, episode)


def test_of_two_finished_games_of_one_address_none_is_taken():
    """The last one may be a stranger's, who began after we had ended."""
    episodes, _ = store()
    first = begin(episodes, seed=1)
    finish(episodes, first)
    assert episodes.latest("us", certain=False) is first
    second = begin(episodes, seed=2)
    assert "2 episodes" in refused(episodes)
    finish(episodes, second)
    sentence = refused(episodes)

    assert "episode_id" in sentence
    assert "1 rival." in sentence
    assert first.episode_id not in sentence
    assert second.episode_id not in sentence
    assert episodes.latest("us", certain=False, seed=1) is first
    assert episodes.latest("us", certain=True) is second


def test_side_by_side_from_one_address_is_ambiguous_while_both_run():
    episodes, _ = store()
    first, second = begin(episodes, seed=1), begin(episodes, seed=2)
    refused(episodes, to_play=True)
    finish(episodes, first)  # by its id

    assert episodes.latest("us", certain=False, to_play=True) is second


def test_without_a_seed_side_by_side_is_ambiguous():
    episodes, _ = store()
    begin(episodes), begin(episodes)

    refused(episodes, to_play=True)


def test_equal_episodes_of_one_address_serve_as_well_as_each_other():
    """Two people who run the README's example from one office at the same time."""
    episodes, _ = store()
    for _ in range(2):
        begin(episodes, seed=42)
    played = []
    for _ in range(2):
        episode = episodes.latest("us", certain=False, seed=42, to_play=True)
        finish(episodes, episode, "escalate")
        played.append(episode)

    assert played[0] is not played[1]
    assert episodes.latest("us", certain=False) in played


def test_a_grade_waits_for_the_rivals_that_still_run():
    """Who has not answered yet must not get the grade of him who has."""
    episodes, _ = store()
    first, _ = begin(episodes, seed=42), begin(episodes, seed=42)
    finish(episodes, first)

    refused(episodes, seed=42)


def test_equal_beginnings_with_different_answers_are_ambiguous():
    episodes, _ = store()
    first, second = begin(episodes, seed=42), begin(episodes, seed=42)
    finish(episodes, first, "escalate")
    finish(episodes, second, "dismiss")

    refused(episodes)


@pytest.mark.parametrize("seeds", [(0, 2**61 - 1), (1, 2**61)])
def test_seeds_that_hash_alike_are_different_games(seeds):
    episodes, _ = store()
    for seed in seeds:
        begin(episodes, seed=seed)

    refused(episodes, to_play=True)


@pytest.mark.parametrize(
    "others", [{"task": "stage2_multi"}, {"mode": "self_play"}, {"split": "val"}, {"seed": None, "index": 42}]
)
def test_games_that_differ_in_anything_are_ambiguous(others):
    episodes, _ = store()
    begin(episodes, seed=42)
    begin(episodes, **{"seed": 42, **others})

    refused(episodes, to_play=True)


def test_a_step_where_none_runs_finds_what_is_over():
    episodes, _ = store()
    for seed in (1, 2):
        last = begin(episodes, seed=seed)
        finish(episodes, last)

    assert episodes.latest("us", certain=False, to_play=True) is last


def test_an_abandoned_episode_of_the_same_seed_does_no_harm():
    episodes, _ = store()
    begin(episodes, seed=42)
    second = begin(episodes, seed=42)

    assert episodes.latest("us", certain=False, to_play=True) is second


def test_the_order_of_an_answer_s_fields_makes_no_other_game():
    episodes, _ = store()
    for answer in ({"action": "monitor", "rationale": "x"}, {"rationale": "x", "action": "monitor"}):
        last = begin(episodes, seed=42)
        finish(episodes, last, answer)

    assert episodes.latest("us", certain=False, seed=42) is last


@pytest.mark.parametrize("tasks", [TASKS, TASKS[::-1]])
def test_a_cookie_means_its_last_reset_of_whatever_task(tasks):
    episodes, _ = store()
    for task in tasks:
        last = begin(episodes, task=task)

    assert episodes.latest("us", certain=True) is last


def test_a_cookie_means_its_last_reset_whatever_ended_first():
    episodes, _ = store()
    first, second = begin(episodes, seed=1), begin(episodes, seed=2)
    finish(episodes, second)
    finish(episodes, first)

    assert episodes.latest("us", certain=True) is second


def test_nobody_gets_a_grade_in_place_of_one_that_made_room():
    """The first judge's episode is gone; the others have answered otherwise."""
    episodes, clock = store(max_episodes=2, ttl_s=60)
    finish(episodes, begin(episodes, seed=42, name="first"), "dismiss")
    clock.now += 1
    for name in ("second", "third"):
        last = begin(episodes, seed=42, name=name)
        finish(episodes, last, "escalate")

    assert "2 rivals" in refused(episodes, seed=42)
    assert episodes.latest("us", certain=True, seed=42) is last
    clock.now += 59
    assert episodes.latest("us", certain=False, seed=42) is last
    clock.now += 60
    refused(episodes, seed=42)
    assert not episodes._by_call


def from_addresses(monkeypatch, episodes, *addresses):
    """Begin an episode from each address, at the cost of whoever holds most."""
    for address in addresses:
        monkeypatch.setattr("app_runtime.episodes.HOLDER", SimpleNamespace(get=lambda address=address: address))
        begin(episodes, f"the owner at {address}")


def test_nobody_plays_on_another_s_episode_in_place_of_one_that_made_room(monkeypatch):
    """Both attackers have spoken; one of them lost his place, and his defender's turn would fall on the other's incident."""
    episodes, _ = store(max_episodes=2)
    begun = [begin(episodes, "office", seed=42, mode="self_play") for _ in range(2)]
    for episode, incident in zip(begun, ("a", "b"), strict=True):
        episodes.step(episode, {"craft_incident": incident})
    from_addresses(monkeypatch, episodes, "elsewhere")

    assert [episode.env.closed for episode in begun] == [True, False]
    assert "1 rival." in refused(episodes, "office", to_play=True)
    assert episodes.latest("office", certain=True, to_play=True) is begun[1]


def test_a_finished_episode_that_made_room_is_no_rival_of_who_plays(monkeypatch):
    episodes, _ = store(max_episodes=2)
    first, second = begin(episodes, "office", seed=42), begin(episodes, "office", seed=42)
    finish(episodes, first)
    from_addresses(monkeypatch, episodes, "elsewhere")

    assert first.env.closed
    assert episodes.latest("office", certain=False, to_play=True) is second
    refused(episodes, "office")


def test_a_running_episode_that_made_room_is_a_rival_whatever_its_task(monkeypatch):
    episodes, _ = store(max_episodes=2)
    first, second = begin(episodes, "office", task="stage2_multi"), begin(episodes, "office", task="stage1_basic")
    from_addresses(monkeypatch, episodes, "elsewhere")

    assert first.env.closed
    refused(episodes, "office", to_play=True)
    assert episodes.latest("office", certain=True, to_play=True) is second
    assert episodes.latest("office", certain=False, to_play=True, task="stage1_basic") is second


def test_a_step_where_the_running_one_made_room_finds_what_is_over(monkeypatch):
    episodes, _ = store(max_episodes=2)
    running, over = begin(episodes, "office", seed=42), begin(episodes, "office", seed=42)
    from_addresses(monkeypatch, episodes, "elsewhere")
    finish(episodes, over)

    assert running.env.closed
    assert episodes.latest("office", certain=False, seed=42, to_play=True) is over
    refused(episodes, "office", seed=42)


def test_of_episodes_that_made_room_the_last_are_remembered():
    episodes, _ = store(max_episodes=2)
    for seed in range(20):
        finish(episodes, begin(episodes, seed=seed, name=f"n{seed}"))

    assert len(episodes._evicted) == 2
    assert {call.name for call in episodes._by_call if hasattr(call, "name")} == {"n16", "n17", "n18", "n19"}
    with pytest.raises(Refusal, match="No episode 'n17'"):
        episodes.find("n17", "us")
    assert "POST /reset" in refused(episodes, seed=16)


def test_addresses_do_not_mix():
    episodes, _ = store()
    ours = begin(episodes, "us")
    begin(episodes, "them")

    assert episodes.latest("us", certain=False) is ours


def test_an_episode_whose_cookie_came_back_is_no_longer_known_by_address():
    episodes, _ = store()
    ours, _ = episodes.start({}, owners=["our-cookie", "office"])
    theirs, _ = episodes.start({}, owners=["their-cookie", "office"])
    refused(episodes, "office")
    episodes.claim(theirs, "made-up")
    refused(episodes, "office")
    episodes.claim(theirs, "their-cookie")

    assert episodes.latest("office", certain=False) is ours
    assert episodes.latest("their-cookie", certain=True) is theirs
    finish(episodes, theirs)
    assert episodes.latest("office", certain=False) is ours


# ---------------------------------------------------------------- the served environment
def served_env(**options):
    return ServedEnv(make_env=lambda: OpenSOCEnv(**options), episodes=Episodes(OpenSOCEnv, max_episodes=1, ttl_s=1))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mode", MODES)
def test_observations_and_states_fit_openenvs_models(task, mode):
    env = OpenSOCEnv()
    action = {"craft_incident": {}} if mode == "self_play" else {"submit_triage": {}}
    for observation in (env.reset(3, "same", task=task, mode=mode), env.step(action)):
        model = OpenSOCObservation.model_validate(observation.model_dump())
        assert json.loads(model.model_dump_json()) == json.loads(observation.model_dump_json())
        assert model.model_fields_set == set(OpenSOCObservation.model_fields)

        state = OpenSOCState.model_validate(env.state.model_dump())
        assert state.model_dump() == env.state.model_dump()


def test_the_served_environment_plays_what_ours_plays():
    served, ours = served_env(reward_table="hardened"), OpenSOCEnv(reward_table="hardened")
    answer = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "unsure"}

    assert served.reset(seed=3, task="stage2_multi") == ours.reset(seed=3, task="stage2_multi")
    assert served.step(OpenSOCAction(submit_triage=answer)) == ours.step({"submit_triage": answer})
    assert served.state == ours.state


def test_the_rubric_tree_names_the_components_and_holds_their_last_scores():
    env = served_env()
    scores, calls = {}, []
    env.rubric.defender.citation.register_forward_hook(lambda *args: calls.append(args[-1]))
    assert [name for name, _ in env.rubric.named_rubrics()] == [
        "defender",
        "defender.decision",
        "defender.citation",
        "defender.format",
        "attacker",
        "attacker.admission",
        "attacker.novelty",
        "attacker.deception",
    ]

    seen = env.reset(seed=3)
    last = env.step(OpenSOCAction(**right_answer(seen.model_dump())))
    scores = {name: rubric.last_score for name, rubric in env.rubric.named_rubrics()}

    assert scores == {
        "defender": 1.1,
        "defender.decision": 1.0,
        "defender.citation": 0.1,
        "defender.format": 0.0,
        "attacker": None,
        "attacker.admission": None,
        "attacker.novelty": None,
        "attacker.deception": None,
    }
    assert (last.reward, env.rubric.last_score, calls) == (1.1, 1.1, [0.1])
    assert last.grade["components"] == {name: score for name, score in scores.items() if "." in name}
    env.reset(seed=3)
    assert {rubric.last_score for _, rubric in env.rubric.named_rubrics()} == {env.rubric.last_score} == {None}


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_session_goes_without_the_collector(mode):
    gc.disable()  # the server lets it run so seldom that a cycle in each session fills the memory
    try:
        env = served_env()
        env.reset(seed=3, mode=mode)
        env.step(OpenSOCAction(craft_incident={}) if mode == "self_play" else OpenSOCAction(submit_triage={}))
        left = [weakref.ref(part) for part in (env, env.rubric, env.rubric.defender, env._env)]
        env.close()
        del env
        assert [part() for part in left] == [None] * 4
    finally:
        gc.enable()


def test_a_session_lets_go_of_what_it_was_sent():
    env = served_env()
    fields = asyncio.run(env.reset_async(seed=3)).model_dump()
    assert fields["log_window"] == OpenSOCEnv().reset(seed=3).log_window

    env.end_loan()

    assert fields == {}
    answer = {"submit_triage": right_answer(OpenSOCEnv().reset(seed=3).model_dump())["submit_triage"]}
    assert asyncio.run(env.step_async(OpenSOCAction(**answer))).reward == 1.1


def test_a_socket_that_waits_for_its_player_holds_no_observation():
    with TestClient(create_app(Settings(demo=False))) as client, client.websocket_connect("/ws") as ws:
        ws.send_json({"type": "reset", "data": {"seed": 3}})
        assert ws.receive_json()["data"]["observation"]["log_window"]
        ws.send_json({"type": "state"})
        ws.receive_json()
        loans = [loan for loan in gc.get_objects() if isinstance(loan, Loan)]

    assert [loan.model_dump() for loan in loans if loan.model_dump()] == []


def test_a_dropped_episode_goes_without_the_collector():
    gc.disable()
    try:
        episodes = Episodes(OpenSOCEnv, max_episodes=1, ttl_s=60)
        episode, _ = episodes.start({"seed": 3}, owners=["cookie", "address"])
        finish(episodes, episode)
        left = weakref.ref(episode.env)
        del episode
        episodes.start({"seed": 4}, owners=["cookie", "address"])
        assert left() is None
    finally:
        gc.enable()


def test_the_rubric_tree_scores_the_attackers_turn_by_itself():
    env = served_env()
    env.reset(seed=3, mode="self_play")
    env.step(OpenSOCAction(craft_incident={}))

    assert env.rubric.last_score == env.rubric.attacker.last_score == env.rubric.attacker.admission.last_score == -0.5
    assert env.rubric.defender.last_score is None


def test_the_task_api_names_what_reset_plays():
    env = served_env()

    assert [split["name"] for split in env.list_splits()] == list(SPLITS)
    for split, index in (("train", 0), ("test_family", 2799), ("val", 6)):
        task = env.get_task(split, index)
        named = env.reset(split=split, index=index)
        spelt = OpenSOCEnv().reset(split=split, task=task["task"], seed=task["seed"])
        assert named.log_window == spelt.log_window
    assert len(env.list_tasks("train")) == 100
    assert [task["index"] for task in env.get_task_range("val", -2, None)] == [1998, 1999]
    for split, index in (("exam", 0), ("val", 2000), ("val", -1)):
        with pytest.raises(IndexError):
            env.get_task(split, index)


def test_an_unexpected_error_is_replaced_and_an_expected_one_goes_through():
    with pytest.raises(InternalError, match="on our side"), safe_errors():
        raise KeyError("the ground truth is escalate")
    with pytest.raises(Refusal, match="as it is"), safe_errors():
        raise Refusal(409, "as it is")
