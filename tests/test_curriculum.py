"""A curriculum draws what is neither mastered nor hopeless, and all of it follows from its log."""

import json
from collections import Counter
from random import Random

import pytest

from adapters.pettingzoo_env import SelfPlayEnv
from env import OpenSOCEnv
from generator.curriculum import Curriculum
from generator.incidents import generate, story_of
from schema import TASKS, BadRequestError
from train.data import CurriculumRows, row_of
from verifier import compute_ground_truth


def answered(curriculum, number, chance, seed=0):
    """The items of so many draws, each answered right by a chance that depends on the item."""
    rng, items = Random(seed), []
    for _ in range(number):
        item = curriculum.draw()
        curriculum.record(item, right=rng.random() < chance(item))
        items.append(item)
    return items


def test_an_item_is_an_ordinary_incident_with_the_story_that_it_names():
    curriculum = Curriculum(seed=2, split="val_family")

    for _ in range(20):
        item = curriculum.draw()
        case = generate(item.task, item.seed, split="val_family")
        family, plan = story_of(item.task, item.seed, split="val_family")
        assert (case.family, family.rules[0], plan.explanation or plan.strength) == (
            family.name,
            item.rule,
            item.context,
        )


def test_contexts_that_are_mastered_or_hopeless_are_drawn_less():
    chances = {"below": 0.98, "confirmed": 0.02}
    items = answered(Curriculum(seed=1), 600, lambda item: chances.get(item.context, 0.5))
    plain = Counter(Curriculum(seed=1000 + number).draw().context for number in range(600))
    late = Counter(item.context for item in items[200:])

    assert late["below"] / 400 < plain["below"] / 600 / 2
    assert late["confirmed"] / 400 < plain["confirmed"] / 600 / 2
    assert min(late["below"], late["confirmed"]) > 0  # and come back now and then


def test_a_task_that_is_mastered_gives_way():
    items = answered(Curriculum(seed=5), 300, lambda item: 1.0 if item.task == TASKS[0] else 0.5)

    assert Counter(item.task for item in items[100:])[TASKS[0]] < 20  # a quarter would be 50


def test_the_log_alone_decides_what_comes(tmp_path):
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    whole = answered(Curriculum(seed=3, log=other), 30, lambda item: 0.5)
    first = answered(Curriculum(seed=3, log=path), 20, lambda item: 0.5)
    resumed = Curriculum(seed=3, log=path)

    assert first == whole[:20]
    assert resumed.draws == 20
    assert resumed.draw() == whole[20]
    assert Curriculum(seed=4).draw() != whole[0]
    assert Curriculum(seed=3, tasks=("stage2_multi",)).draw().task == "stage2_multi"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[:-5], "is cut off in line 4"),
        (lambda text: text + "[1]\n", "line 5: expected a JSON object"),
        (lambda text: text + '{"task": "stage1_basic"}\n', "line 5: expected an item and how it went"),
        (lambda text: text.replace('"seed":7', '"seed":8', 1), "log of another curriculum"),
        (lambda text: "", "is cut off in line 1"),
    ],
)
def test_a_log_that_does_not_fit_is_refused(tmp_path, spoil, said):
    path = tmp_path / "log.jsonl"
    answered(Curriculum(seed=7, log=path), 3, lambda item: 1)
    path.write_text(spoil(path.read_text()))

    with pytest.raises(BadRequestError, match=said):
        Curriculum(seed=7, log=path)


def test_unknown_splits_and_tasks_are_refused():
    with pytest.raises(BadRequestError, match="split must be one of"):
        Curriculum(split="all")
    with pytest.raises(BadRequestError, match="expected at least one of"):
        Curriculum(tasks=())
    with pytest.raises(BadRequestError, match="another salt"):
        OpenSOCEnv(salt="x", curriculum=Curriculum())


def test_an_environment_plays_what_its_curriculum_draws_and_tells_it(tmp_path):
    path = tmp_path / "log.jsonl"
    env, same = OpenSOCEnv(curriculum=Curriculum(seed=9, log=path)), Curriculum(seed=9)
    for right in (True, False, True):
        item = same.draw()
        observation = env.reset()
        case = generate(item.task, item.seed)
        truth = compute_ground_truth(case.incident, case.world)
        action = truth.action if right else next(a for a in ("dismiss", "monitor") if a != truth.action)
        assert [line["log_id"] for line in observation.log_window] == [line["log_id"] for line in case.lines]
        env.step({"submit_triage": {"action": action, "cited_log_id": "L1-0", "rationale": "x"}})
        same.record(item, right=right)

    entries = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [entry["right"] for entry in entries] == [1.0, 0.0, 1.0]
    assert (
        env.reset(seed=4, task="stage2_multi").log_window == OpenSOCEnv().reset(seed=4, task="stage2_multi").log_window
    )
    assert len(path.read_text().splitlines()) == 4  # an episode with a seed of its own is none of the curriculum's


def test_a_draw_that_the_log_has_is_what_it_was(tmp_path):
    first = answered(Curriculum(seed=3, log=tmp_path / "a.jsonl"), 10, lambda item: 0.5)
    again = Curriculum(seed=3, log=tmp_path / "a.jsonl")

    assert [again.draw(number) for number in range(10)] == first
    before = again.draw(10)
    again.record(first[4], right=True)  # answered long ago
    assert again.draw(10) == before


def test_rows_are_drawn_as_answers_come_in():
    asked = []
    rows = CurriculumRows(
        Curriculum(seed=6, salt="train/5"), lambda task, seed: asked.append(seed) or row_of(5, task, seed)
    )
    first = rows(0)
    rows.tell(first["task"], first["seed"], 1.0)
    rows.tell(first["task"], first["seed"], 0.0)  # told once already

    assert first["observation"] == row_of(5, first["task"], first["seed"])["observation"]
    assert asked == [first["seed"]]
    assert rows._curriculum.draws == 1
    assert rows(0)["seed"] == first["seed"]
    assert rows(1)["seed"] != first["seed"]


def test_self_play_is_remembered_by_its_task_alone():
    curriculum = Curriculum(seed=1)
    game = SelfPlayEnv(curriculum=curriculum)
    game.reset()
    while game.agents:
        agent = game.agent_selection
        if game.terminations[agent]:
            game.step(None)
            continue
        space = game.action_space(agent)
        space.seed(1)
        game.step(space.sample())

    assert curriculum.draws == 1
    assert {kind for kind, _ in curriculum._successes} <= {"task"}
