"""Worked examples before the question: which, in what order, and that they change the prompt and nothing else."""

import threading

import pytest

from eval import run
from eval.items import fresh
from fake_endpoint import ANSWER, Fake, serving
from players import Options
from players.prompt import messages
from players.reply import parse
from players.shots import examples, question
from runs.ending import WRONG
from schema import LABELS
from tasks.sets import load_set
from verifier.decision import judge_observation
from verifier.playbook import playbook_for

SEEN = fresh("val", 1, 0).rows[0]["observation"]


@pytest.mark.parametrize("density", ["full", "compact"])
def test_without_examples_the_question_is_the_prompt(density):
    assert question(SEEN, density) == messages(SEEN, density)


def test_each_action_is_shown_in_turn_with_its_right_answer_and_the_question_comes_last():
    chat = question(SEEN, "compact", 6)

    assert [turn["role"] for turn in chat] == ["system", *["user", "assistant"] * 6, "user"]
    assert [parse(turn["content"]).answer["action"] for turn in chat[2::2]] == [*LABELS, LABELS[0]]
    assert (chat[0], chat[-1]) == tuple(messages(SEEN, "compact"))


def test_the_examples_are_the_shortest_of_the_training_set():
    chosen = examples("compact", 5)
    length = {
        row["id"]: len(messages(row["observation"], "compact")[1]["content"]) for row in load_set("sft_train").rows
    }
    rivals = [row for row in load_set("sft_train").rows if row["ground_truth"]["action"] == LABELS[3]]

    assert chosen[3]["id"] == min((row["id"] for row in rivals), key=length.get)
    assert {row["split"] for row in chosen} == {"train"}
    assert judge_observation(chosen[3]["observation"]).action == LABELS[3]


def test_in_full_one_playbook_serves_the_examples_too():
    chat = question(SEEN, "full", 2)
    windows = [*(row["observation"] for row in examples("full", 2)), SEEN]

    assert sum("PLAYBOOK" in turn["content"] for turn in chat) == 1
    assert playbook_for([line for seen in windows for line in seen["log_window"]]) in chat[0]["content"]


def test_an_endpoint_is_sent_the_examples(tmp_path, monkeypatch):
    pytest.importorskip("openai", reason="openai is not installed; the extra `eval` brings it")
    monkeypatch.setattr("eval.run.measure", lambda lines, *, seed: {})
    with serving(Fake(lambda number, body: ANSWER)) as fake:
        call = ["--defender", fake.url, "--split", "val", "--n", "1", "--density", "compact", "--out", str(tmp_path)]
        assert run.main([*call, "--shots", "5"]) == 0
        assert run.main([*call, "--shots", "4"]) == WRONG  # another run

    (body,) = fake.seen
    assert len(body["messages"]) == 12


def test_less_than_none_is_refused(tmp_path, capsys):
    assert run.main(["--defender", "keyword", "--shots", "-1", "--out", str(tmp_path)]) == WRONG
    assert "Expected 0 or more as --shots, and got -1" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # others' deprecations
def test_a_model_reads_them_once_and_answers_as_if_it_had_read_them_each_time(tmp_path):
    pytest.importorskip("transformers").set_seed(0)
    import torch

    from players.local import LocalModel
    from toy_model import make_toy

    torch.set_num_threads(1)
    rows = fresh("val", 3, 0).rows
    options = Options(density="compact", shots=2, max_tokens=8, batch_size=2, device="cpu")
    model = LocalModel.open(make_toy(tmp_path, context=1 << 15), options)
    reads = []
    read = model._model.forward
    model._model.forward = lambda *args, **how: reads.append(how.get("input_ids", *args).shape) or read(*args, **how)
    texts = {place: reply for part in model.stream(rows, threading.Event()) for place, reply in part}

    chats = [question(row["observation"], "compact", 2) for row in rows]
    sizes = [len(model._tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]) for chat in chats]
    assert [texts[place].usage["prompt_tokens"] for place in range(3)] == sizes
    head = len(model._tokenizer(model._opening)["input_ids"])
    assert [tuple(shape) for shape in reads if shape[1] == head] == [(1, head)]
    assert max(shape[1] for shape in reads if shape[1] != head) == max(sizes) - head
    for row, chat in zip(rows, chats, strict=True):
        model._opening = ""
        (whole,) = model._generate(
            [model._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)]
        )
        assert whole[0] == texts[rows.index(row)].text
    assert model.settings["shots"] == 2
    assert "dtype" not in model.settings


@pytest.mark.filterwarnings("ignore")  # others' deprecations
def test_a_model_is_read_in_the_type_that_is_asked_for(toy):
    pytest.importorskip("transformers")
    from players.local import LocalModel

    model = LocalModel.open(toy, Options(dtype="bfloat16", device="cpu"))
    assert str(model._model.dtype) == "torch.bfloat16"
    assert model.settings["dtype"] == "bfloat16"
