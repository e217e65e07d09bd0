"""Attackers: what each writes goes through reader, schema and gate, is the same each time, and deserves what was asked."""

import threading

import pytest

from fake_endpoint import Fake, serving
from generator.incidents import generate, organisations
from players.attackers import Options, open_attacker
from players.attackers.attempts import attempt, brief_of
from players.attackers.base import asked_in_turn
from players.base import PlayerError
from players.incidents import read_craft, write_incident
from schema import LABELS, TASKS, BadRequestError

NAMES = ("generator", "edits")


def briefs(number, *, first=300, **options):
    return [
        brief_of(TASKS[index // 5 % 4], first + index, asked=asked_in_turn(index), **options) for index in range(number)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_incident_is_admitted_and_deserves_what_was_asked_and_claimed(name):
    asked = briefs(20)
    made = [
        attempt(brief, reply.text)
        for brief, reply in zip(asked, open_attacker(name, Options()).craft(asked), strict=True)
    ]
    assert [attempted.refusal for attempted in made] == [""] * 20
    assert [attempted.scenario.truth.action for attempted in made] == list(LABELS) * 4
    assert [attempted.craft.content["target_label"] for attempted in made] == list(LABELS) * 4


def test_the_generator_writes_its_own_incident_where_nothing_is_asked():
    brief = brief_of("stage3_mixed", 41)
    [reply] = open_attacker("generator", Options()).craft([brief])
    assert (
        reply.text.split("\n")[1:]
        == write_incident(generate("stage3_mixed", 41).incident, brief.context).split("\n")[1:]
    )


@pytest.mark.parametrize("split", ["val", "test_family"])
def test_the_generator_stays_in_the_brief_s_world_whatever_the_split(split):
    asked = briefs(5, split=split)
    for brief, reply in zip(asked, open_attacker("generator", Options()).craft(asked), strict=True):
        assert attempt(brief, reply.text).scenario.truth.action == brief.asked


def test_a_world_of_another_salt_gets_an_incident_too():
    brief = brief_of("stage2_multi", 8, salt="secret", asked="escalate")
    [reply] = open_attacker("generator", Options()).craft([brief])
    assert attempt(brief, reply.text).scenario.truth.action == "escalate"


@pytest.mark.parametrize("name", NAMES)
def test_a_world_of_no_organisation_gets_none_and_is_told(name):
    brief = brief_of("stage1_basic", 8)
    foreign = brief._replace(context={**brief.context, "hosts": brief.context["hosts"][1:]})
    [reply] = open_attacker(name, Options()).craft([foreign])
    assert reply.text is None
    assert reply.fault == "no generated incident of 24 that fit this world the gate admits"


def test_edits_follow_from_seed_and_brief_and_differ_from_the_generator_s():
    asked = briefs(10)
    first, again, other = (
        [reply.text for reply in open_attacker("edits", Options(seed=seed)).craft(asked)] for seed in (1, 1, 2)
    )
    plain = [reply.text for reply in open_attacker("generator", Options()).craft(asked)]
    assert first == again
    assert not set(first) & (set(other) | set(plain))


def test_an_incident_in_another_organisation_keeps_the_organisation():
    home = list(organisations("train"))[7]
    case = generate("stage1_basic", 3, organisation=home)
    assert case.world.hosts is home.hosts
    assert generate("stage1_basic", 3).world.hosts is not home.hosts


def test_a_stream_gives_batches_in_order_and_ends_when_it_is_told_to():
    attacker = open_attacker("generator", Options())
    attacker.batch = 2
    stop = threading.Event()
    stream = attacker.stream(briefs(5), stop)
    assert [index for index, _ in next(stream)] == [0, 1]
    stop.set()
    assert list(stream) == []


@pytest.mark.parametrize("spec", ["", "nobody", "/nowhere"])
def test_an_unknown_attacker_is_refused_with_the_names_there_are(spec):
    with pytest.raises(BadRequestError, match="expected one of generator, edits"):
        open_attacker(spec, Options())


# ---------------------------------------------------------------- from outside
def a_function(row):
    assert sorted(row) == ["asked", "id", "observation", "past", "task"]
    assert sorted(row["observation"]) == ["context", "instructions"]
    brief = brief_of(row["task"], int(row["id"].split("-")[2]), asked=row["asked"])
    if row["asked"] == "dismiss":
        return None
    text = open_attacker("generator", Options()).craft([brief])[0].text
    return read_craft(text, brief.context).content if row["asked"] == "monitor" else text


def a_deep_one(row):
    answer = {}
    for _ in range(9_000):
        answer = {"events": answer}
    return answer


def test_a_function_s_answer_that_lies_too_deep_is_told():
    with pytest.raises(PlayerError, match=r"it raised RecursionError.*correct the function"):
        open_attacker("test_attackers:a_deep_one", Options()).craft(briefs(1))


def test_a_function_gives_lines_a_dict_or_nothing():
    asked = briefs(5)
    attacker = open_attacker("test_attackers:a_function", Options())
    replies = attacker.craft(asked)
    made = [attempt(brief, reply.text) for brief, reply in zip(asked, replies, strict=True)]
    assert replies[0].fault == "the function gave nothing"
    assert [attempted.scenario.truth.action for attempted in made[1:]] == list(LABELS)[1:]
    assert attacker.settings["kind"] == "function"


@pytest.mark.parametrize(
    ("density", "system", "user"),
    [
        ("full", "Invent an incident in this world", '{"asked": "dismiss", "past": ["monitor fooled"]'),
        ("legend", "You play the attacker", "now 20"),
        ("compact", "Write an incident", "now 20"),
    ],
)
def test_an_endpoint_is_asked_for_an_incident_in_each_density(density, system, user):
    [brief] = briefs(1)
    brief = brief._replace(past=("monitor fooled",))
    text = open_attacker("generator", Options()).craft([brief])[0].text
    with serving(Fake(reply=lambda number, body: text)) as fake:
        attacker = open_attacker(fake.url, Options(density=density))
        [reply] = attacker.craft([brief])
    sent = [message["content"] for message in fake.seen[0]["messages"]]
    assert sent[0].startswith(system)
    assert sent[1].startswith(user)
    assert "dismiss" in sent[1]
    assert attempt(brief, reply.text).scenario.truth.action == "dismiss"
    assert attacker.settings["density"] == density
    assert attacker.settings["kind"] == "endpoint"


def test_an_attacker_takes_no_worked_examples():
    with pytest.raises(BadRequestError, match="no worked examples"):
        open_attacker("http://localhost:9/v1", Options(shots=1, model="x"))


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(
        BadRequestError, match=r"config.json, adapter_config.json, defender.json, attacker.json or opensoc.json"
    ):
        open_attacker(str(tmp_path), Options())


@pytest.mark.slow
def test_a_model_on_this_machine_is_asked_in_short_names(tmp_path):
    pytest.importorskip("transformers")
    from toy_model import make_toy

    attacker = open_attacker(
        str(make_toy(tmp_path, context=1 << 15)), Options(density="compact", max_tokens=4, device="cpu")
    )
    [reply] = attacker.craft(briefs(1))
    assert reply.prompt[0]["content"] == "Write an incident: claim, events, note."
    assert reply.usage["completion_tokens"] <= 4
