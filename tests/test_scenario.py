"""One incident for a group of answers: it is made once, remembered for a while, and no player changes what another sees."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import scenario
from env import OpenSOCEnv
from scenario import REMEMBERED, recall
from schema import TASKS

TRIAGE = {"submit_triage": {"action": "monitor", "cited_log_id": "L1-1", "rationale": "a test"}}


@pytest.fixture(autouse=True)
def empty_memory():
    recall.cache_clear()
    yield
    recall.cache_clear()


def count(monkeypatch, name):
    """Count the calls of a function of `scenario` by their first argument."""
    calls, original = [], getattr(scenario, name)

    def counted(*arguments, **options):
        calls.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(scenario, name, counted)
    return calls


def containers(value):
    """Yield the id of every list and dict in a value, however deep."""
    if isinstance(value, dict | list):
        yield id(value)
        for part in value.values() if isinstance(value, dict) else value:
            yield from containers(part)


def played(seed, task):
    env = OpenSOCEnv()
    shown = env.reset(seed=seed, task=task).model_dump_json()
    return shown, env.step(TRIAGE).model_dump_json()


def test_a_group_of_eight_answers_pays_for_one_incident_one_playbook_and_one_truth(monkeypatch):
    made = [count(monkeypatch, name) for name in ("generate", "judge_rows", "rules_in_play")]
    for _ in range(8):
        played(5, "stage3_mixed")
    assert [len(calls) for calls in made] == [1, 1, 1]


@pytest.mark.parametrize("task", TASKS)
def test_two_views_of_an_incident_share_nothing_that_can_be_changed(task):
    for seed in range(20):
        views = [recall(task, seed, "train", "").view() for _ in range(2)]
        first, second = (set(containers(view)) for view in views)
        assert views[0] == views[1]
        assert len(first) > 20
        assert first.isdisjoint(second)


def test_a_grade_that_is_changed_leaves_the_next_episodes_as_they_are():
    before = played(7, "stage2_multi")
    env = OpenSOCEnv()
    env.reset(seed=7, task="stage2_multi")
    grade = env.step(TRIAGE).grade
    for rows in grade["ground_truth"].values():
        if isinstance(rows, list):
            rows.clear()
    assert played(7, "stage2_multi") == before


def test_the_last_incidents_are_remembered_and_older_ones_made_anew(monkeypatch):
    made = count(monkeypatch, "generate")
    for seed in [*range(REMEMBERED), *range(REMEMBERED)]:
        recall("stage1_basic", seed, "train", "")
    assert len(made) == REMEMBERED
    recall("stage1_basic", REMEMBERED, "train", "")
    recall("stage1_basic", 0, "train", "")
    assert [arguments[1] for arguments in made[REMEMBERED:]] == [REMEMBERED, 0]


def test_a_salt_a_split_and_a_task_have_incidents_of_their_own():
    views = [
        recall("stage1_basic", 3, "train", ""),
        recall("stage1_basic", 3, "train", "salt"),
        recall("stage1_basic", 3, "val", ""),
        recall("stage2_multi", 3, "train", ""),
    ]
    assert len({json.dumps(view.view()) for view in views}) == 4


def test_threads_that_play_the_same_and_other_seeds_see_what_one_thread_sees():
    seeds = [seed for seed in range(2 * REMEMBERED) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(played, seeds, ["stage3_mixed"] * len(seeds)))
    recall.cache_clear()
    alone = {seed: played(seed, "stage3_mixed") for seed in set(seeds)}
    assert together == [alone[seed] for seed in seeds]
