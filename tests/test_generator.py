"""Incidents from seeds: same arguments, same bytes; enough of everything; close to what was aimed at."""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from random import Random

import pytest

from generator import generate, incident_seed
from generator.incidents import _sensors
from schema import EVENT_TYPES, LABELS, TASKS, BadRequestError
from tasks.alerts import TITLES, alert_on
from tasks.families import FAMILIES, HELD_OUT_TACTIC, TRAIN_FAMILIES, families_of
from tasks.registry import SPLITS
from tasks.scene import Scene
from verifier import compute_ground_truth
from world import make_organisation

DIGEST = """
import hashlib, json, sys
from generator import generate
from schema import TASKS
digest = hashlib.sha256()
for task in TASKS:
    for index in range(40):
        case = generate(task, index)
        digest.update(json.dumps([case.lines, case.world.slice_for(case.lines), case.incident.narrative]).encode())
print(digest.hexdigest())
"""


def test_a_fresh_process_with_another_hash_seed_gives_the_same_bytes():
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1


def test_seeds_differ_by_split_task_index_and_salt():
    seeds = [
        incident_seed("train", "stage1_basic", 0),
        incident_seed("val", "stage1_basic", 0),
        incident_seed("train", "stage2_multi", 0),
        incident_seed("train", "stage1_basic", 1),
        incident_seed("train", "stage1_basic", 0, "secret"),
    ]

    assert len(set(seeds)) == 5


def test_a_salt_gives_other_incidents():
    assert generate("stage1_basic", 3, salt="secret").lines != generate("stage1_basic", 3).lines


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("label", LABELS)
def test_the_decision_that_was_aimed_at_is_nearly_always_the_verifiers(task, label):
    cases = [generate(task, index, label=label) for index in range(60)]

    hits = sum(compute_ground_truth(case.incident, case.world).action == label for case in cases)

    assert hits >= 56


@pytest.mark.parametrize("task", TASKS)
def test_decisions_come_about_equally_often(task):
    actions = Counter(
        compute_ground_truth(case.incident, case.world).action for case in (generate(task, i) for i in range(600))
    )

    assert set(actions) == set(LABELS)
    assert min(actions.values()) >= 75  # a fifth is 120
    assert max(actions.values()) <= 170


def test_event_types_and_titles_belong_to_no_decision():
    types, titles = defaultdict(set), defaultdict(set)
    for task in TASKS[1:]:
        for index in range(700):
            case = generate(task, index)
            action = compute_ground_truth(case.incident, case.world).action
            for line in case.lines:
                types[line["event_type"]].add(action)
                if line["log_id"] == case.world.alerted:
                    titles[alert_on(line["event_type"], line["log_id"], "")["title"]].add(action)

    assert set(types) == set(EVENT_TYPES)
    assert all(actions == set(LABELS) for actions in types.values())
    rare = {title for title, actions in titles.items() if actions != set(LABELS)}
    assert len(rare) <= 3, rare  # types that come as noise alone are alerted on seldom
    assert set(titles) <= set(TITLES)


@pytest.mark.parametrize(("task", "low", "high"), [("stage1_basic", 4, 34), ("stage4_adversarial", 6, 40)])
def test_windows_are_of_a_readable_length(task, low, high):
    lengths = [len(generate(task, index).lines) for index in range(400)]

    assert low <= min(lengths)
    assert max(lengths) <= high


def test_log_ids_follow_the_time():
    case = generate("stage3_mixed", 5)

    assert [line["log_id"] for line in case.lines] == [f"L1-{position}" for position in range(len(case.lines))]
    assert [line["timestamp"] for line in case.lines] == sorted(line["timestamp"] for line in case.lines)


def test_held_out_families_and_tactic_decide_no_training_incident():
    assert all(family.category == HELD_OUT_TACTIC for family in families_of("test_tactic"))
    for split in ("train", "val", "test_seed"):
        assert all(family.split == "train" and family.category != HELD_OUT_TACTIC for family in families_of(split))
    names = {generate(task, index).family for task in TASKS for index in range(150)}
    assert names <= {family.name for family in TRAIN_FAMILIES}
    assert len(FAMILIES) >= 12


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_all_five_decisions(split, task):
    actions = {
        compute_ground_truth(case.incident, case.world).action
        for case in (generate(task, i, split=split) for i in range(60))
    }

    assert actions == set(LABELS)


def test_worlds_of_test_seed_are_not_those_of_train():
    def names(split):
        return {
            name for index in range(200) for name in list(generate("stage1_basic", index, split=split).world.hosts)[:1]
        }

    assert len(names("train") & names("test_seed")) <= 1


def test_stage4_carries_hostile_text_and_stage1_none():
    def poisoned(task):
        return sum(
            bool(re.search(r"answer \w+\.|answered with|recommended_action|set action=|and obey|policy.update", text))
            for text in texts(task)
        )

    def texts(task):
        return [
            json.dumps([generate(task, index).lines, generate(task, index).incident.narrative]) for index in range(80)
        ]

    assert poisoned("stage1_basic") == 0
    assert poisoned("stage4_adversarial") >= 20


@pytest.mark.parametrize(("task", "split"), [("stage5", "train"), ("stage1_basic", "exam")])
def test_an_unknown_task_or_split_is_refused_in_words(task, split):
    with pytest.raises(BadRequestError, match="must be one of"):
        generate(task, 0, split=split)


def test_an_outage_finds_a_line_that_a_sensor_sees_where_the_story_has_none():
    scene = Scene(Random(1), make_organisation(1), "2026-03-02", 30_000)
    scene.add(30_500, "cloud_api", "call", api_service="s3.amazonaws.com", api_operation="ListBuckets")

    alerted = _sensors(scene, 0, outage=True)

    fields = scene.lines[alerted][1]["fields"]
    assert alerted > 0
    assert [sensor["host"] for sensor in scene.sensors] == [fields["device_hostname"]]
