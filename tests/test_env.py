"""The episode: turns, rewards, what is judged and what is refused, and what nobody may see."""

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import OpenSOCAction
from contract import InProcess, play_defender_only, right_answer
from env import Archive, OpenSOCEnv
from generator import generate
from generator.known_plays import KNOWN_PLAYS
from schema import CATEGORIES, CATEGORY_ALIASES, TASKS, BadRequestError, Incident, TurnError
from tasks.registry import task_at

ROOT = Path(__file__).resolve().parent.parent
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "unsure"}


def crafted(seed=3, **changes):
    """An incident that belongs into the self-play world of a seed: the generator's own for it."""
    incident = generate("stage1_basic", seed).incident.model_dump(exclude_none=True)
    return {**incident, **changes}


# ---------------------------------------------------------------- the two modes
@pytest.mark.parametrize("task", TASKS)
def test_defender_only_takes_one_step_and_the_oracle_earns_the_maximum(task):
    player = InProcess()
    for seed in range(40):
        play_defender_only(player.reset, player.step, task, seed)


def test_self_play_is_attacker_then_defender():
    env = OpenSOCEnv()
    first = env.reset(seed=3, mode="self_play")
    second = env.step({"craft_incident": crafted()})
    third = env.step(right_answer(second.model_dump()))

    assert [(o.role, o.turn, o.done) for o in (first, second, third)] == [
        ("attacker", 0, False),
        ("defender", 1, False),
        ("none", 2, True),
    ]
    assert (first.reward, second.reward, third.reward) == (None, 0.0, 1.1)
    assert third.rewards == {"attacker": 0.0, "defender": 1.1}
    assert first.alert is None
    assert first.log_window == []
    assert len(first.context["hosts"]) == 42


def test_the_attacker_is_paid_when_the_defender_errs():
    env = OpenSOCEnv()
    env.reset(seed=3, mode="self_play")
    seen = env.step({"craft_incident": crafted()})
    right = right_answer(seen.model_dump())["submit_triage"]["action"]
    wrong = "monitor" if right != "monitor" else "dismiss"
    last = env.step({"submit_triage": {**TRIAGE, "action": wrong}})

    assert last.rewards["attacker"] == 1.0
    assert last.rewards["defender"] < 0


@pytest.mark.parametrize(
    ("content", "reward", "reason"),
    [
        (None, None, None),  # that is no action at all, see below
        (7, -0.5, "malformed"),
        ({"x": 1}, -0.5, "Field required"),
        (crafted(target_label="panic"), -0.5, "target_label"),
        (crafted(events=[]), -0.5, "at least 1"),
        (crafted(events=crafted()["events"] * 2500), -0.5, "at most 40"),
        (crafted(narrative="safe \u202etxt.exe"), -0.5, "narrative"),
        (crafted(narrative="bell \x07"), -0.5, "narrative"),
        (crafted(events=crafted()["events"] * 2), 0.0, "unique"),
        (crafted(category="exfiltration", events=crafted()["events"][:1]), 0.0, "exfiltration needs"),
    ],
)
def test_a_refused_incident_ends_the_episode_with_its_price_and_reason(content, reward, reason):
    env = OpenSOCEnv()
    env.reset(seed=3, mode="self_play")
    if content is None:
        with pytest.raises(BadRequestError):
            env.step({})
        return
    last = env.step({"craft_incident": content})

    assert (last.done, last.reward) == (True, reward)
    assert reason in last.feedback
    assert last.rewards == {"attacker": reward, "defender": None}
    assert last.grade["ground_truth"] is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        "dismiss",
        3.5,
        float("nan"),
        {**TRIAGE, "action": "panic"},
        {**TRIAGE, "action": ["monitor"]},
        {**TRIAGE, "extra": 1},
        {**TRIAGE, "\ud800": 1},
        {"action": "monitor", "cited_log_id": "L1-1"},
        {**TRIAGE, "cited_log_id": 1},
        {**TRIAGE, "cited_log_id": "L9-99"},
        {**TRIAGE, "cited_log_id": "L1-1\n"},
        {**TRIAGE, "confidence": float("nan")},
        {**TRIAGE, "confidence": 1.01},
        {**TRIAGE, "confidence": "0.5"},
        {**TRIAGE, "rationale": "x" * 3000},
    ],
)
def test_a_malformed_answer_is_a_turn_played(content):
    env = OpenSOCEnv()
    env.reset(seed=3)
    last = env.step({"submit_triage": content})

    assert (last.done, last.reward) == (True, -0.1)
    assert "malformed" in last.feedback
    assert last.grade["action"] is None
    last.model_dump_json()  # what was said can be told on


def test_confidence_is_kept_and_never_paid():
    rewards = []
    for confidence in (None, 0.0, 0.5, 1):
        env = OpenSOCEnv()
        env.reset(seed=3)
        rewards.append(env.step({"submit_triage": {**TRIAGE, "confidence": confidence}}).reward)
        assert env.grade()["confidence"] == confidence

    assert len(set(rewards)) == 1


# ---------------------------------------------------------------- requests at the wrong time, or not to be played
def test_steps_before_reset_after_done_and_after_close_are_refused():
    env = OpenSOCEnv()
    with pytest.raises(TurnError, match="call reset"):
        env.step({"submit_triage": TRIAGE})
    with pytest.raises(TurnError, match="before the episode is done"):
        env.grade()
    env.reset(seed=1)
    with pytest.raises(TurnError, match="before the episode is done"):
        env.grade()
    env.step({"submit_triage": TRIAGE})
    with pytest.raises(TurnError, match="done"):
        env.step({"submit_triage": TRIAGE})
    env.close()
    env.close()
    with pytest.raises(TurnError, match="closed"):
        env.step({"submit_triage": TRIAGE})
    with pytest.raises(TurnError, match="closed"):
        env.reset()


@pytest.mark.parametrize(
    ("mode", "action"), [("self_play", {"submit_triage": TRIAGE}), ("defender_only", {"craft_incident": crafted()})]
)
def test_the_other_players_turn_is_refused_and_costs_nothing(mode, action):
    env = OpenSOCEnv()
    env.reset(seed=3, mode=mode)
    with pytest.raises(TurnError, match="turn"):
        env.step(action)

    assert env.state.step_count == 0


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"submit_triage": TRIAGE, "craft_incident": {}},
        {"dismiss": {}},
        {"submit_triage": TRIAGE, "more": 1},
        OpenSOCAction(),
        OpenSOCAction(submit_triage=TRIAGE, craft_incident={}),
        "submit_triage",
        None,
    ],
)
def test_no_action_or_two_is_refused_and_costs_nothing(action):
    env = OpenSOCEnv()
    env.reset(seed=3)
    with pytest.raises(BadRequestError, match="expected"):
        env.step(action)

    assert (env.state.step_count, env.state.done) == (0, False)


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"seed": 2**63},
        {"seed": "abc"},
        {"seed": 1.5},
        {"seed": True},
        {"task": "stage9"},
        {"task": ["stage1_basic"]},
        {"mode": "spectator"},
        {"split": "exam"},
        {"index": 10**9},
        {"index": "one"},
        {"episode_id": ""},
        {"episode_id": 7},
        {"episode_id": "x" * 256},
    ],
)
def test_a_bad_reset_is_refused_in_words_and_the_running_episode_lives_on(options):
    env = OpenSOCEnv()
    env.reset(seed=3)
    before = env.state
    with pytest.raises(BadRequestError, match=r"must be"):
        env.reset(**options)

    assert env.state == before
    assert env.step({"submit_triage": TRIAGE}).done


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("spilt", "split"),
        ("taks", "task"),
        ("sed", "seed"),
        ("Mode", "mode"),
        ("idx", "index"),
        ("self", "seed"),
        ("episode", "episode_id"),
    ],
)
def test_an_argument_that_reset_does_not_take_is_refused_with_the_nearest_that_it_takes(name, nearest):
    env = OpenSOCEnv()
    env.reset(seed=3)
    before = env.state
    with pytest.raises(BadRequestError) as caught:
        env.reset(**{"seed": 3, name: "test_family"})

    assert str(caught.value) == (
        f"reset takes task, mode, split, seed, index, episode_id, playbook; got '{name}'. Did you mean {nearest}?"
    )
    assert env.state == before


def test_empty_options_are_taken_and_filled_ones_refused():
    assert (
        OpenSOCEnv().reset(seed=1, options={}) == OpenSOCEnv().reset(seed=1, options=None) == OpenSOCEnv().reset(seed=1)
    )
    with pytest.raises(BadRequestError, match="as arguments of reset itself"):
        OpenSOCEnv().reset(options={"task": "stage2_multi"})


@pytest.mark.parametrize(("alias", "category"), [*CATEGORY_ALIASES.items(), *zip(CATEGORIES, CATEGORIES, strict=True)])
def test_a_category_may_have_the_name_of_what_is_done(alias, category):
    incident = crafted(category=alias)

    assert Incident.model_validate(incident) == Incident.model_validate({**incident, "category": category})
    assert set(CATEGORY_ALIASES.values()) == set(CATEGORIES)


def test_the_gate_takes_a_category_by_another_name_as_its_tactic():
    feedback = {}
    for category in ("exfiltration", "data_exfiltration"):
        env = OpenSOCEnv()
        env.reset(seed=3, mode="self_play")
        feedback[category] = env.step(
            {"craft_incident": crafted(category=category, events=crafted()["events"][:1])}
        ).feedback

    assert feedback["exfiltration"] == feedback["data_exfiltration"]
    assert "exfiltration needs an external destination" in feedback["data_exfiltration"]


# ---------------------------------------------------------------- determinism and secrecy
@pytest.mark.parametrize("mode", ["defender_only", "self_play"])
def test_same_seed_and_actions_give_the_same_bytes_in_a_used_and_a_fresh_environment(mode):
    def played(env):
        parts = [env.reset(seed=3, mode=mode, task="stage4_adversarial")]
        if mode == "self_play":
            parts.append(
                env.step({"craft_incident": generate("stage4_adversarial", 3).incident.model_dump(exclude_none=True)})
            )
        parts.append(env.step({"submit_triage": TRIAGE}))
        return [part.model_dump_json() for part in parts]

    used = OpenSOCEnv()
    for seed in range(5):
        used.reset(seed=seed)
        used.step({"submit_triage": TRIAGE})

    assert played(used) == played(used) == played(OpenSOCEnv())


def test_without_a_seed_episodes_differ_and_their_names_tell_nothing():
    first, second = (OpenSOCEnv().reset() for _ in range(2))

    assert first.episode_id != second.episode_id
    assert first.log_window != second.log_window
    assert "seed" not in json.dumps(first.model_dump(exclude={"playbook", "instructions"}))


@pytest.mark.parametrize("task", TASKS)
def test_nothing_before_the_end_tells_the_label_or_the_family(task):
    env = OpenSOCEnv()
    for seed in range(60):
        first = env.reset(seed=seed, task=task)
        case = generate(task, seed)
        shown = json.dumps(first.model_dump(exclude={"playbook", "instructions"})) + env.state.model_dump_json()
        assert first.grade is None
        assert first.rewards == {}
        for word in (f': "{case.family}"', "target_label", "ground_truth", '"category"', "explained"):
            assert word not in shown


# ---------------------------------------------------------------- the archive, and the task API
def test_novelty_is_paid_for_new_plays_alone():
    archive = Archive()
    rewards = []
    for _ in range(5):
        env = OpenSOCEnv(archive=archive)
        env.reset(seed=3, mode="self_play")
        rewards.append(env.step({"craft_incident": novel_incident()}).reward)
        if not env.state.done:
            env.step({"submit_triage": TRIAGE})

    assert rewards == [0.2, 0.0, 0.0, 0.0, 0.0]
    assert env.state.done  # the fifth time it is refused: seen three times already
    assert "seen" in env.grade()["feedback"]


def novel_incident():
    """A play that no family has: a log cleared while a key is made for another account."""
    world = generate("stage1_basic", 3).world
    hosts = list(world.hosts.values())
    people = [name for name, account in world.accounts.items() if not account["privileged"]]
    day = world.now[:11]
    return {
        "target_label": "monitor",
        "category": "defense_evasion",
        "narrative": "",
        "events": [
            {
                "event_type": "control_change",
                "fields": {
                    "activity": "log_clear",
                    "device_hostname": hosts[1]["name"],
                    "actor_user": people[0],
                    "control_name": "Security",
                },
                "timestamp": f"{day}05:00:00Z",
                "log_id": "L1-1",
            },
            {
                "event_type": "account",
                "fields": {
                    "activity": "key_create",
                    "device_hostname": hosts[1]["name"],
                    "actor_user": people[0],
                    "user_name": people[1],
                    "attributes": "key",
                },
                "timestamp": f"{day}05:05:00Z",
                "log_id": "L1-2",
            },
            {
                "event_type": "process_inject",
                "fields": {
                    "activity": "remote_thread",
                    "device_hostname": hosts[1]["name"],
                    "actor_user": people[0],
                    "process_path": "D:\\Tools\\a.exe",
                    "target_path": "C:\\Windows\\explorer.exe",
                },
                "timestamp": f"{day}05:06:00Z",
                "log_id": "L1-3",
            },
        ],
    }


def test_without_an_archive_nothing_is_remembered():
    env = OpenSOCEnv()
    rewards = []
    for _ in range(3):
        env.reset(seed=3, mode="self_play")
        rewards.append(env.step({"craft_incident": novel_incident()}).reward)
        env.step({"submit_triage": TRIAGE})

    assert rewards == [0.2, 0.2, 0.2]


def test_known_plays_are_the_generators():
    """Where this fails, run `python scripts/make_known_plays.py`."""
    made = runpy.run_path(str(ROOT / "scripts" / "make_known_plays.py"))

    assert len(KNOWN_PLAYS) > 100
    assert sorted(KNOWN_PLAYS) == made["known_plays"]()
    assert (ROOT / "generator" / "known_plays.py").read_text(encoding="utf-8") == made["module_text"]()


def test_the_first_incident_of_a_process_generates_no_others(monkeypatch):
    env = OpenSOCEnv()
    env.reset(seed=3, mode="self_play")
    monkeypatch.setattr("scenario.generate", None)

    assert env.step({"craft_incident": novel_incident()}).reward == 0.2


def test_an_index_names_the_task_and_seed_that_are_played():
    for split, index, task, seed in (
        ("train", 0, TASKS[0], 0),
        ("test_family", 2799, TASKS[3], 699),
        ("val", 6, TASKS[2], 1),
    ):
        assert task_at(split, index) == (task, seed)
        assert (
            OpenSOCEnv().reset(split=split, index=index).log_window
            == OpenSOCEnv().reset(split=split, task=task, seed=seed).log_window
        )
    for split, index in (("exam", 0), ("val", 2000), ("val", -1), ("val", True), ("val", "0")):
        with pytest.raises(IndexError):
            task_at(split, index)


IMPORTS = """
import sys
from env import OpenSOCEnv
env = OpenSOCEnv()
first = env.reset(seed=1)
last = env.step({"submit_triage": {"action": "monitor", "cited_log_id": first.log_window[0]["log_id"], "rationale": "x"}})
roots = {name.partition(".")[0] for name in sys.modules}
print(last.done, sorted(roots & {"openenv", "fastapi", "starlette", "uvicorn", "gradio", "fastmcp", "torch", "numpy"}), len(sys.modules) < 700)
"""


def test_an_episode_is_played_in_process_without_openenv_or_a_web_package():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout == "True [] True\n"


# ---------------------------------------------------------------- anything at all
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(content=ANYTHING, mode=st.sampled_from(["defender_only", "self_play"]))
def test_whatever_is_said_the_episode_ends_in_order(content, mode):
    env = OpenSOCEnv()
    env.reset(seed=1, mode=mode)
    name = "submit_triage" if mode == "defender_only" else "craft_incident"
    try:
        last = env.step({name: content})
    except BadRequestError:
        assert content is None
        return

    assert last.done
    assert math.isfinite(last.reward)
    assert -1.0 <= last.reward <= 1.1
    last.model_dump_json()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_mutated_incident_is_scored_or_admitted(data):
    incident = crafted()
    for _ in range(data.draw(st.integers(1, 3))):
        event = data.draw(st.sampled_from(incident["events"]))
        place = data.draw(st.sampled_from([event, event["fields"], incident]))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(ANYTHING)
        if (
            not isinstance(incident.get("events"), list)
            or not all(isinstance(e, dict) and isinstance(e.get("fields"), dict) for e in incident["events"])
            or not incident["events"]
        ):
            break
    env = OpenSOCEnv()
    env.reset(seed=3, mode="self_play")
    second = env.step({"craft_incident": incident})

    assert second.reward in (-0.5, 0.0, 0.2)
    assert second.done or second.role == "defender"
    second.model_dump_json()


def test_what_a_player_does_with_an_observation_changes_no_other_episode():
    env = OpenSOCEnv()
    for task in TASKS:
        for seed in range(20):
            untouched = OpenSOCEnv().reset(seed=seed, task=task).model_dump_json()
            first = env.reset(seed=seed, task=task)
            for row in first.log_window:
                row["fields"].clear()
                row["timestamp"] = ""
            for rows in first.context.values():
                for row in rows if isinstance(rows, list) else []:
                    if isinstance(row, dict):
                        for name, value in row.items():
                            if isinstance(value, list):
                                value.clear()
                            row[name] = "approved" if name == "status" else None
            first.context.clear()
            first.log_window.clear()
            assert OpenSOCEnv().reset(seed=seed, task=task).model_dump_json() == untouched
            again = OpenSOCEnv().reset(seed=seed, task=task)
            assert env.step(right_answer(again.model_dump())).reward == 1.1


def test_an_attackers_incident_leaves_the_generated_one_of_that_seed_alone():
    before = OpenSOCEnv().reset(seed=3).model_dump_json()
    env = OpenSOCEnv()
    env.reset(seed=3, mode="self_play")
    env.step({"craft_incident": novel_incident()})

    assert OpenSOCEnv().reset(seed=3).model_dump_json() == before


def test_an_answer_after_other_sessions_generates_nothing_again(monkeypatch):
    sessions = [OpenSOCEnv() for _ in range(8)]
    for seed, session in enumerate(sessions):
        session.reset(seed=seed)
    monkeypatch.setattr("scenario.generate", None)

    assert all(session.step({"submit_triage": TRIAGE}).done for session in sessions)
