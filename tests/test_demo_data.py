"""What the demo shows: incidents by seed and link, answers and their scores, the visitor's game."""

import json
import threading
import time

import pytest

import demo_data
import generator
from demo_data import (
    MAX_SEED,
    ROUNDS,
    Game,
    ask,
    baked,
    described,
    from_link,
    generated,
    scored,
)
from env import OpenSOCEnv
from players import PLAYERS
from players.base import Baseline, PlayerError
from players.prompt import answer_text, rationale_in_words
from schema import LABELS, TASKS, BadRequestError
from verifier import compute_ground_truth

TABLES = ("standard", "hardened")
SOME = [(task, seed) for task in TASKS for seed in range(6)]


@pytest.fixture
def fresh_file(tmp_path, monkeypatch):
    """Puts another file in the place of the baked incidents."""

    def written(text):
        path = tmp_path / "demo_examples.json"
        if text is not None:
            path.write_text(text, "utf-8")
        monkeypatch.setattr(demo_data, "BAKED", path)
        forget()

    def forget():
        for remembered in (demo_data.baked_file, demo_data.baked, demo_data.stored_answers, demo_data.opener):
            remembered.cache_clear()

    yield written
    forget()


@pytest.fixture
def opened():
    """Forgets which defenders are open, before and after."""
    for forget in (demo_data._opened.cache_clear, demo_data.defender_names.cache_clear):
        forget()
    yield
    for forget in (demo_data._opened.cache_clear, demo_data.defender_names.cache_clear):
        forget()


def file_of(pairs):
    return json.dumps({"pairs": pairs, "checkpoints": [{"name": "old", "title": "m"}, {"name": "new", "title": "m"}]})


def pair(before, after="{}"):
    seen = generated("stage1_basic", 3).observation
    return {
        "task": "stage1_basic",
        "observation": {name: seen[name] for name in ("alert", "log_window", "context")},
        "answers": [{"reply": before}, {"reply": after}],
    }


def right_answer(case):
    return {"action": case.truth.action, "cited_log_id": case.truth.evidence_log_ids[0], "rationale": "it is"}


def episode(case, answer, table):
    """The reward and the defender's components of an episode in which this is answered."""
    env = OpenSOCEnv(salt=demo_data.SALT, reward_table=table)
    env.reset(int(case.link["seed"]), task=case.task, split=demo_data.SPLIT)
    reward = env.step({"submit_triage": answer}).reward
    parts = env.grade()["components"]
    return reward, {name: value for name, value in parts.items() if name.startswith("defender.")}


# ---------------------------------------------------------------- incidents
@pytest.mark.parametrize(("task", "seed"), SOME)
def test_an_incident_is_the_generators_and_its_truth_the_verifiers(task, seed):
    case = generated(task, seed)
    made = generator.generate(task, seed, split="val", salt="demo")
    truth = compute_ground_truth(made.incident, made.world)

    assert case.observation["log_window"] == list(made.lines)
    assert (case.truth.action, case.truth.evidence_log_ids) == (truth.action, truth.evidence_log_ids)
    assert case.truth.rule_ids == truth.rule_ids
    assert set(case.observation) == {"alert", "log_window", "context"}
    assert (case.task, case.stored, case.title) == (task, {}, f"Live incident {seed} · {demo_data.TASK_WORDS[task]}")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_incident_says_nothing_of_the_episode_of_its_seed(split):
    for task, seed in SOME:
        seen = OpenSOCEnv().reset(seed, task=task, split=split).model_dump()

        assert seen["log_window"] != generated(task, seed).observation["log_window"]


def test_a_link_leads_back_to_its_incident():
    for case in (generated("stage3_mixed", 12), generated("stage1_basic", MAX_SEED), baked(1), baked(50)):
        assert from_link(case.link) == case
    assert len({case.id for case in (generated("stage3_mixed", 12), generated("stage1_basic", 12), baked(12))}) == 3


def test_what_a_link_leaves_out_is_drawn(monkeypatch):
    monkeypatch.setattr(demo_data, "new_seed", lambda: 77)

    assert from_link({}).link == {"task": "stage1_basic", "seed": "77"}
    assert from_link({"task": "", "seed": ""}).link == {"task": "stage1_basic", "seed": "77"}
    assert from_link({"task": "stage2_multi"}).link == {"task": "stage2_multi", "seed": "77"}
    assert from_link({"seed": " 5 ", "other": "<b>"}).link == {"task": "stage1_basic", "seed": "5"}
    assert from_link({"baked": "3", "seed": "x"}) == baked(3)


def test_seeds_are_drawn_from_all_that_a_person_can_read_out(monkeypatch):
    drawn = {demo_data.new_seed() for _ in range(200)}
    monkeypatch.setattr(demo_data.secrets, "randbelow", lambda number: number - 1)

    assert len(drawn) > 150
    assert all(0 <= seed <= MAX_SEED for seed in drawn)
    assert demo_data.new_seed() == MAX_SEED == 999_999


@pytest.mark.parametrize(
    ("text", "is_one"), [("0", True), ("999999", True), ("1000000", False), ("", False), ("-1", False), ("²", False)]
)
def test_a_seed_of_an_address_is_digits_up_to_the_largest(text, is_one):
    assert demo_data.is_seed(text) is is_one


@pytest.mark.parametrize("seed", [-1, 1_000_000, True, 1.0, "1", None, float("nan")])
def test_a_seed_that_is_none_is_refused(seed):
    generated("stage1_basic", 1)  # which equals two of them
    with pytest.raises(BadRequestError, match=r"Expected a seed from 0 to 999999, and got "):
        generated("stage1_basic", seed)


@pytest.mark.parametrize("number", [0, 51, -1, True, 1.0, "1", None])
def test_a_baked_incident_that_is_not_there_is_refused(number):
    baked(1)
    with pytest.raises(BadRequestError, match="Expected one of the 50 stored incidents, and got "):
        baked(number)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"task": "stage9"}, "Expected a task, one of stage1_basic, .*got 'stage9'"),
        ({"task": "<script>" * 1000}, "Expected a task"),
        ({"seed": "-1"}, "Expected a seed from 0 to 999999, and got -1"),
        ({"seed": "1e3"}, "Expected a whole number as seed, and got '1e3'"),
        ({"seed": "9" * 5000}, "Expected a whole number as seed"),
        ({"seed": "9" * 4000}, "Expected a seed from 0 to 999999"),
        ({"seed": "\ud800\u202e"}, r"got '\\ud800\\u202e'"),
        ({"seed": "0x10"}, "Expected a whole number"),
        ({"baked": ""}, "Expected a whole number as baked, and got ''"),
        ({"baked": "0"}, "Expected one of the 50 stored incidents, and got 0"),
        ({"baked": "51", "task": "stage1_basic", "seed": "1"}, "and got 51"),
        ({"baked": "1.0"}, "Expected a whole number as baked"),
        ({"baked": None}, "Expected a whole number as baked"),
    ],
)
def test_a_link_to_nothing_is_refused_in_a_short_plain_sentence(query, told):
    with pytest.raises(BadRequestError, match=told) as refused:
        from_link(query)

    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 220


# ---------------------------------------------------------------- baked incidents
def test_every_baked_incident_holds_what_its_file_says():
    pairs = json.loads(demo_data.BAKED.read_text("utf-8"))["pairs"]
    for number, row in enumerate(pairs, start=1):
        case = baked(number)

        assert case.observation == row["observation"]
        assert (case.truth.action, list(case.truth.evidence_log_ids)) == (row["label"], row["evidence"])
        assert case.title == f"Incident {number} of 50 · {demo_data.TASK_WORDS[row['task']]}"
        for place, stored in enumerate(row["answers"]):
            answer = demo_data.stored_answers(number)[place]
            said = stored["answer"] and {
                **stored["answer"],
                "rationale": rationale_in_words(stored["answer"]["rationale"], row["observation"]),
            }
            assert (answer.triage, answer.fault, answer.reward) == (said, stored["fault"], stored["reward"])
            assert answer.right == (stored["action"] == row["label"]) == (place in demo_data.right_at(number))
            assert answer.who == demo_data.checkpoints()[place]["title"]
            assert answer.took_ms is None


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (None, "got none"),
        ("", "got none"),
        ("<script>alert(1)</script>", "got none"),
        ('{"action": "panic"}', "the answer is malformed: action"),
        ('{"action": "dismiss", "cited_log_id": "L9-99", "rationale": ""}', "L9-99 is not in the log window"),
        ('{"action": "dismiss"', "ends within"),
        ("[" * 100_000, "got none"),
    ],
)
def test_a_stored_answer_that_cannot_be_read_is_scored_as_malformed(fresh_file, reply, fault):
    fresh_file(file_of([pair(reply)]))
    case = baked(1)
    answer = ask("old", case)

    assert list(case.stored) == ["old", "new"]
    assert (answer.triage, answer.right, answer.reward) == (None, False, -0.1)
    assert fault in answer.fault
    assert ask("old", case, "hardened").reward == -1.0


def test_both_stored_answers_of_one_defender_are_kept_apart(fresh_file):
    first, second = (json.dumps({"action": name, "cited_log_id": "L1-1", "rationale": ""}) for name in LABELS[:2])
    fresh_file(file_of([pair(first, second)]))

    answers = demo_data.stored_answers(1)
    assert [(answer.who, answer.triage["action"]) for answer in answers] == [("m", "dismiss"), ("m", "monitor")]


def test_the_page_opens_on_an_attack_that_training_changed_from_wrong_to_fully_right(fresh_file):
    rows = [
        {"label": label, "answers": [{"action": action, "reward": reward} for action, reward in answers]}
        for label, *answers in (
            ("block_ip", ("block_ip", 1.1), ("block_ip", 1.1), ("block_ip", 1.1)),
            ("escalate", ("dismiss", -1.0), ("dismiss", -1.0), ("block_ip", -0.3)),
            ("monitor", ("dismiss", -1.0), ("monitor", 1.1), ("monitor", 1.1)),
            ("block_ip", ("dismiss", -1.0), ("block_ip", 1.1), ("block_ip", 0.9)),  # cites a worse line in the end
            ("block_ip", ("dismiss", -1.0), ("dismiss", -1.0), ("block_ip", 1.1)),
        )
    ]
    fresh_file(json.dumps({"pairs": rows, "checkpoints": [{"name": name} for name in ("old", "newer", "new")]}))

    assert [demo_data.right_at(number) for number in range(1, 6)] == [[0, 1, 2], [], [1, 2], [1, 2], [2]]
    assert demo_data.opener() == 5


def test_the_odds_are_those_of_the_results_file(tmp_path, monkeypatch):
    share = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 8}
    stored = {"sets": {"test_seed": {"metrics": {"accuracy": {"after": share}}}}}
    (tmp_path / "results.json").write_text(json.dumps(stored), "utf-8")
    monkeypatch.setattr(demo_data, "RESULTS", tmp_path / "results.json")
    demo_data.odds.cache_clear()
    assert demo_data.odds() == [("new organisations", share)]

    monkeypatch.setattr(demo_data, "RESULTS", tmp_path / "none.json")
    demo_data.odds.cache_clear()
    assert demo_data.odds() == []
    demo_data.odds.cache_clear()


def test_without_the_file_there_is_nothing_baked(fresh_file):
    fresh_file(None)

    assert demo_data.baked_file()["pairs"] == []
    assert demo_data.checkpoints() == []
    with pytest.raises(BadRequestError, match="Expected one of the 0 stored incidents, and got 1"):
        baked(1)


# ---------------------------------------------------------------- defenders
def test_every_defender_that_is_offered_answers_as_an_episode_scores_it():
    for name in demo_data.defender_names():
        for task, seed in SOME[::5]:
            case = generated(task, seed)
            for table in TABLES:
                answer = ask(name, case, table)

                assert answer.who == described(name)
                assert (answer.fault, answer.right) == ("", answer.triage["action"] == case.truth.action)
                assert (answer.reward, answer.components) == episode(case, answer.triage, table)
                assert 0 <= answer.took_ms < 60_000
        assert ask(name, baked(1)).triage


def test_defenders_answer_alike_each_time():
    for name in demo_data.defender_names():
        for seed in range(8):
            case = generated("stage4_adversarial", seed)
            assert ask(name, case).triage == ask(name, case).triage


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"action": "dismiss"},
        {"action": "escalate", "confidence": 0.5},
        {"action": "panic"},
        {"cited_log_id": "L9-99"},
        {"cited_log_id": "<b>"},
        {"rationale": None},
        {"confidence": 2},
        {"more": "\ud800"},
    ],
)
def test_scores_are_those_of_an_episode(change, table):
    case = generated("stage2_multi", 4)
    content = {**right_answer(case), **change}
    answer = scored("you", content, case, table)

    assert (answer.reward, answer.components) == episode(case, content, table)
    assert answer.right == (answer.triage is not None and answer.triage["action"] == case.truth.action)
    assert bool(answer.fault) == (answer.triage is None)


@pytest.mark.parametrize("content", [None, [], "dismiss", 7, {}, {"action": []}])
def test_an_answer_of_no_form_is_scored_and_told(content):
    answer = scored("you", content, generated("stage1_basic", 0), "standard")

    assert (answer.triage, answer.right, answer.reward) == (None, False, -0.1)
    assert "malformed" in answer.fault
    assert scored("you", content, generated("stage1_basic", 0), "standard", fault="silent").fault == "silent"


@pytest.mark.parametrize("name", ["nobody", "", "keyword (stored)", "<script>", "verifier_oracle"])
def test_a_defender_that_is_not_there_is_refused(name):
    with pytest.raises(BadRequestError, match=r"Expected a defender that answers this incident, one of .*keyword, "):
        ask(name, generated("stage1_basic", 0))


def test_only_defenders_that_can_answer_here_are_offered(monkeypatch, opened):
    monkeypatch.setattr("players.weights.is_exported", lambda folder: True)
    assert demo_data.defender_names()[:2] == ("embedded", "keyword")
    demo_data.defender_names.cache_clear()
    monkeypatch.setattr("players.weights.is_exported", lambda folder: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert demo_data.defender_names() == ("keyword", "random", "always_escalate", "always_dismiss")
    with pytest.raises(BadRequestError, match="got 'bag_of_words'"):
        ask("bag_of_words", generated("stage1_basic", 0))


def test_defenders_have_names_that_a_person_reads():
    assert described("keyword") == "List of bad words (keyword)"
    assert described("some checkpoint") == "some checkpoint"
    assert len({described(name) for name in demo_data.OFFERED}) == 6


def stand_in(monkeypatch, name, made):
    monkeypatch.setitem(PLAYERS, name, PLAYERS[name]._replace(open=made))


def test_two_visitors_open_a_defender_once(monkeypatch, opened):
    made = []

    class Slow(Baseline):
        def triage(self, row):
            return {"action": "monitor", "cited_log_id": row["observation"]["alert"]["log_id"], "rationale": row["id"]}

    def slowly(options):
        made.append(time.sleep(0.05))
        return Slow("slow")

    stand_in(monkeypatch, "keyword", slowly)
    case = generated("stage1_basic", 2)
    answers = []
    visitors = [threading.Thread(target=lambda: answers.append(ask("keyword", case))) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()

    assert len(made) == 1
    assert [answer.triage["rationale"] for answer in answers] == ["demo/stage1_basic/2"] * 4


def test_the_page_begins_with_two_open_defenders_and_one_that_cannot_be_opened_stops_nobody_else(monkeypatch, opened):
    def broken(options):
        raise PlayerError("Expected a model, and there is none.")

    reached = []
    names = demo_data.defender_names()
    dice = PLAYERS["random"].open
    stand_in(monkeypatch, names[0], broken)
    for name in names[1:]:
        stand_in(monkeypatch, name, lambda options, name=name: reached.append(name) or dice(options))
    demo_data.warm_up()

    assert reached == [names[1]]
    with pytest.raises(PlayerError, match="there is none"):
        ask(names[0], generated("stage1_basic", 0))


# ---------------------------------------------------------------- the game
@pytest.fixture
def seeds(monkeypatch):
    """Seeds 0, 1, 2 ... in the place of any."""
    numbers = iter(range(1000))
    monkeypatch.setattr(demo_data, "new_seed", lambda: next(numbers))


def test_a_game_has_ten_incidents_that_both_answer(seeds):
    game, rewards, rights = Game("keyword", "stage2_multi"), [[], []], [0, 0]
    for number in range(ROUNDS):
        assert (game.over, game.waiting) == (False, False)
        game = game.dealt()
        case = game.case
        assert case == generated("stage2_multi", int(case.link["seed"]))
        assert (game.waiting, game.dealt()) == (True, game)
        action = case.truth.action if number % 2 else "monitor"
        game = game.answered(action, case.truth.evidence_log_ids[0], "hardened")
        last = game.rounds[-1]
        model = ask("keyword", case, "hardened")
        assert last.model._replace(took_ms=None) == model._replace(took_ms=None)
        assert last.you.triage["action"] == action
        for place, answer in enumerate((last.you.triage, model.triage)):
            rewards[place].append(episode(case, answer, "hardened")[0])
            rights[place] += answer["action"] == case.truth.action

    assert (game.over, game.waiting, len(game.rounds)) == (True, False, 10)
    assert game.totals() == {
        "you": (rights[0], round(sum(rewards[0]), 2)),
        "keyword": (rights[1], round(sum(rewards[1]), 2)),
    }
    assert 5 <= rights[0] <= 10


def test_a_game_that_is_over_deals_no_more(seeds):
    game = Game("always_dismiss", "stage1_basic")
    for _ in range(ROUNDS):
        game = game.dealt().answered("dismiss", "")

    assert game.dealt() == game
    assert game.case is None
    with pytest.raises(BadRequestError, match="there is none; take the next"):
        game.answered("dismiss", "L1-1")


def test_an_answer_counts_once_and_only_where_an_incident_waits(seeds):
    game = Game("always_dismiss", "stage1_basic")
    with pytest.raises(BadRequestError, match="Expected an incident that waits for an answer"):
        game.answered("dismiss", "L1-1")
    after = game.dealt().answered("dismiss", "L1-1")

    with pytest.raises(BadRequestError, match="Expected an incident that waits for an answer"):
        after.answered("dismiss", "L1-1")


@pytest.mark.parametrize(("action", "cited"), [("dismiss", ""), ("panic", "L1-1"), ("<b>", "L9-99"), (None, None)])
def test_a_visitors_malformed_answer_is_scored_and_the_game_goes_on(seeds, action, cited):
    game = Game("always_dismiss", "stage1_basic").dealt().answered(action, cited)

    assert (game.rounds[0].you.reward, game.rounds[0].you.right) == (-0.1, False)
    assert game.totals()["you"] == (0, -0.1)
    assert game.dealt().waiting


# ---------------------------------------------------------------- chains of reasons
class ChainPlayer(Baseline):
    """Answers as the verifier, with the chain of reasons."""

    def triage(self, row):
        return json.loads(answer_text(row["observation"], "compact"))


@pytest.mark.parametrize("task", TASKS)
def test_a_chain_is_shown_in_sentences_live_and_baked(task, monkeypatch):
    case = generated(task, 3)
    reply = answer_text(case.observation, "compact")
    words = rationale_in_words(json.loads(reply)["rationale"], case.observation)
    monkeypatch.setattr(demo_data, "_opened", lambda name: ChainPlayer("keyword"))
    baked = case._replace(stored={"old": reply})

    assert ask("keyword", case).triage["rationale"] == ask("old", baked).triage["rationale"] == words
    assert ask("old", baked).right is True
