"""Every kind of defender: what it is shown, what it says, and what is said when it cannot be had."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from eval import run
from eval.items import fresh
from eval.rollouts import rollout
from players import PLAYERS, Options, PlayerError, is_available, open_player
from players.attackers import ATTACKERS
from players.embedded import MODEL
from players.function import Function
from players.labels import ATTACKERS as ATTACKER_LABELS
from players.labels import DEFENDERS, attacker_in_words, defender_in_words
from players.prompt import messages
from runs.ending import DONE, WRONG
from schema import LABELS, BadRequestError
from tasks.sets import load_set

ROOT = Path(__file__).resolve().parent.parent

ROWS = fresh("val", 40, 0).rows
SHOWN = [{name: row[name] for name in ("id", "task", "observation")} for row in ROWS]


def answers(defender, rows=SHOWN):
    """The parsed answers of a defender, in the order of the rows."""
    replies = dict(pair for part in defender.stream(rows, threading.Event()) for pair in part)
    full = {row["id"]: row for row in ROWS}
    return [rollout("val", full[row["id"]], replies[place], "standard") for place, row in enumerate(rows)]


def actions(defender, rows=SHOWN):
    return [line["action"] for line in answers(defender, rows)]


# ---------------------------------------------------------------- built in
def test_whoever_has_a_name_has_one_label_that_people_read():
    assert set(DEFENDERS) == set(PLAYERS)
    assert set(ATTACKER_LABELS) == set(ATTACKERS)
    assert (defender_in_words("embedded"), attacker_in_words("embedded")) == ("Shipped model", "Trained attacker")
    assert attacker_in_words("trained attacker") == "Trained attacker"  # as a cross-play may name it
    assert (defender_in_words("out/run"), attacker_in_words("out/run")) == ("out/run", "out/run")


@pytest.mark.parametrize("label", LABELS)
def test_a_constant_gives_its_action_and_cites_the_alerts_line(label):
    lines = answers(open_player(f"always_{label}", Options()))

    assert {line["action"] for line in lines} == {label}
    assert [line["answer"]["cited_log_id"] for line in lines] == [row["observation"]["alert"]["log_id"] for row in ROWS]


def test_random_hangs_on_seed_and_item_and_not_on_order():
    forwards = actions(open_player("random", Options(seed=1)))

    assert actions(open_player("random", Options(seed=1)), SHOWN[::-1])[::-1] == forwards
    assert actions(open_player("random", Options(seed=2))) != forwards
    assert set(forwards) == set(LABELS)


def test_majority_gives_the_commonest_action_of_the_training_set():
    counts = Counter(row["ground_truth"]["action"] for row in load_set("sft_train").rows)

    (given,) = set(actions(open_player("majority", Options())))
    assert counts[given] == max(counts.values())


def line(log_id, **fields):
    return {
        "event_type": "process",
        "fields": {"activity": "launch", **fields},
        "timestamp": "2026-03-02T09:00:00Z",
        "log_id": log_id,
    }


@pytest.mark.parametrize(
    ("commands", "action", "cited"),
    [
        (["notepad.exe a.txt", "cmd.exe /c dir"], "dismiss", "L1-2"),
        (["cmd.exe /c dir", "schtasks.exe /query"], "monitor", "L1-2"),
        (["sqlmap -u x", "schtasks.exe /query"], "block_ip", "L1-1"),
        (["schtasks.exe /query", "powershell.exe -enc AAAA"], "quarantine_host", "L1-2"),
        (["powershell.exe -enc AAAA", "vssadmin delete shadows /all"], "escalate", "L1-2"),
    ],
)
def test_the_gravest_keyword_decides_and_its_line_is_cited(commands, action, cited):
    window = [line(f"L1-{number}", process_cmd_line=command) for number, command in enumerate(commands, 1)]
    row = {"id": "x", "task": "t", "observation": {"alert": {"log_id": "L1-2"}, "log_window": window, "context": {}}}

    (reply,) = open_player("keyword", Options()).answer([row])

    said = json.loads(reply.text)
    assert (said["action"], said["cited_log_id"]) == (action, cited)


def test_the_bag_of_words_learns_its_training_set_and_says_how_sure_it_is():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed; the extra `eval` brings it")
    train = load_set("sft_train").rows[:200]
    defender = open_player("bag_of_words", Options())

    said = [json.loads(reply.text) for reply in defender.answer(train)]

    right = sum(one["action"] == row["ground_truth"]["action"] for one, row in zip(said, train, strict=True))
    assert right > 120  # by chance about 40
    assert all(0.2 <= one["confidence"] <= 1 for one in said)


def test_the_oracle_earns_the_maximum_on_every_item():
    assert {line["reward"] for line in answers(open_player("verifier_oracle", Options()))} == {1.1}


def test_the_oracle_does_not_read_the_stored_truth():
    """It is shown an item whose stored truth is wrong, and answers by what it sees."""
    row = {**ROWS[0], "ground_truth": {"action": "none of them", "evidence_log_ids": ["L9-9"]}}
    (reply,) = open_player("verifier_oracle", Options()).answer([row])

    assert json.loads(reply.text)["action"] == ROWS[0]["ground_truth"]["action"]


@pytest.mark.parametrize("name", ["always_panic", "gpt", "no/such/dir", "", "a:b:c", "keywords"])
def test_an_unknown_defender_is_told_what_there_is(name):
    with pytest.raises(BadRequestError) as error:
        open_player(name, Options())

    for known in (*PLAYERS, "directory", "URL", "module:function"):
        assert known in str(error.value)


def test_the_players_are_listed_with_a_sentence_each(capsys):
    assert run.main(["--defender", "list"]) == DONE

    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == list(PLAYERS)
    assert lines["always_dismiss"] == "answers dismiss to every alert and cites the alert's line"
    assert lines["keyword"] == "answers by the gravest of a few words that any line holds, and cites that line"


def test_the_documentation_lists_every_player_in_the_same_words():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", (ROOT / "docs" / "defenders.md").read_text("utf-8"), re.MULTILINE)

    assert {name: sentence.replace("`", "") for name, sentence in rows} == {
        name: player.summary for name, player in PLAYERS.items()
    }


@pytest.mark.parametrize("name", PLAYERS)
def test_a_player_is_not_available_where_a_library_of_it_is_missing(monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda library: None)

    assert is_available(name) is (name not in ("bag_of_words", "embedded", "smollm2"))


@pytest.mark.parametrize("exported", [True, False])
def test_the_embedded_player_is_available_where_its_model_is(monkeypatch, exported):
    monkeypatch.setattr("players.weights.is_exported", lambda folder: exported)

    assert is_available("embedded") is exported
    assert is_available("keyword")


# ---------------------------------------------------------------- functions
SEEN = []


def remembers(row):
    SEEN.append(row)
    return {"action": "monitor", "cited_log_id": row["observation"]["alert"]["log_id"], "rationale": "it is there"}


def as_text(row):
    return 'I say: {"action": "escalate", "cited_log_id": "L1-1", "rationale": "so"}'


def nothing(row):
    return None


def number(row):
    return 5


def unserializable(row):
    return {"action": {1, 2}}


def raises(row):
    raise KeyError("my own fault")


async def raises_later(row):
    await asyncio.sleep(0)
    raise KeyError("my own fault")


NOW, MOST = 0, 0


async def slow(row):
    global NOW, MOST
    NOW += 1
    MOST = max(MOST, NOW)
    await asyncio.sleep(0.05)
    NOW -= 1
    return {"action": "monitor", "cited_log_id": "L1-1", "rationale": row["id"]}


def test_a_function_is_shown_the_observation_and_nothing_that_tells_the_truth():
    SEEN.clear()

    assert set(actions(open_player("test_players:remembers", Options()))) == {"monitor"}

    assert [row["id"] for row in SEEN] == [row["id"] for row in ROWS]
    assert set(SEEN[0]) == {"id", "task", "observation"}
    assert set(SEEN[0]["observation"]) == {"instructions", "alert", "log_window", "context", "playbook"}


@pytest.mark.parametrize("name", [name for name, entry in PLAYERS.items() if not entry.slow])
def test_no_defender_is_shown_the_truth(tmp_path, monkeypatch, name):
    if name == "embedded" and not MODEL.is_dir():
        pytest.skip("models/defender is not made yet: python -m train.nano.export CHECKPOINT")
    shown = []
    kind = type(open_player(name, Options()))
    stream = kind.stream
    monkeypatch.setattr(kind, "stream", lambda self, rows, stop: shown.extend(rows) or stream(self, rows, stop))

    assert run.main(["--defender", name, "--split", "val", "--n", "3", "--out", str(tmp_path)]) == DONE

    assert [set(row) for row in shown] == [{"id", "task", "observation"}] * 3
    assert "ground_truth" not in json.dumps(shown)


def test_a_function_may_answer_in_text_or_with_nothing():
    assert set(actions(open_player("test_players:as_text", Options()))) == {"escalate"}
    lines = answers(open_player("test_players:nothing", Options()))
    assert {(line["action"], line["fault"], line["reward"]) for line in lines} == {
        (None, "the function gave nothing", -0.1)
    }


def test_an_async_function_is_called_side_by_side():
    global MOST
    MOST = 0

    lines = answers(open_player("test_players:slow", Options(concurrency=16)))

    assert MOST == 16
    assert [line["answer"]["rationale"] for line in lines] == [row["id"] for row in ROWS]


def test_answers_come_in_the_order_of_the_rows():
    replies = Function("test_players:slow", Options()).answer(SHOWN)

    assert [json.loads(reply.text)["rationale"] for reply in replies] == [row["id"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("number", "got int"),
        ("unserializable", "TypeError"),
        ("raises", "my own fault"),
        ("raises_later", "my own fault"),
    ],
)
def test_a_broken_function_ends_the_run_and_names_the_item(name, told):
    with pytest.raises(PlayerError, match=told) as error:
        answers(open_player(f"test_players:{name}", Options(concurrency=1)))

    assert ROWS[0]["id"] in str(error.value)


@pytest.mark.parametrize("spec", ["no_such_module:f", "test_players:no_such", "test_players:SEEN"])
def test_a_function_that_is_not_there_is_a_wrong_call(spec):
    with pytest.raises(BadRequestError, match=spec):
        open_player(spec, Options())


def test_nothing_new_is_asked_after_stop():
    stop = threading.Event()
    stop.set()
    for spec in ("always_dismiss", "test_players:as_text", "test_players:slow"):
        assert list(open_player(spec, Options()).stream(SHOWN, stop)) == []


# ---------------------------------------------------------------- models on this machine
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COMPACT = Options(density="compact", max_tokens=12, batch_size=4)
SOME = [  # windows of different lengths, and short: a random model reads them all the same
    {
        **row,
        "observation": {
            **row["observation"],
            "log_window": row["observation"]["log_window"][: 1 + place % 3],
            "context": {},
        },
    }
    for place, row in enumerate(SHOWN[:6])
]


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers", reason="transformers is not installed; the extra `train` brings it")
    torch = pytest.importorskip("torch", reason="torch is not installed; the extra `train` brings it")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so small a model more only wait for each other
    yield torch
    torch.set_num_threads(threads)


def make_model(torch, path, seed=0, chat_template=CHATML, **more):
    """A random Qwen2 of two narrow layers with a tokenizer of its own, as save_pretrained writes them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([messages(row["observation"], "compact")[1]["content"] for row in ROWS], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=chat_template
    )
    tokenizer.save_pretrained(path)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=4096, initializer_range=0.5, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **more,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(torch, tmp_path_factory):
    return make_model(torch, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(torch, model):
    peft = pytest.importorskip("peft", reason="peft is not installed; the extra `train` brings it")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    base = AutoModelForCausalLM.from_pretrained(model)
    path = model.parent / "adapter"
    peft.get_peft_model(base, config).save_pretrained(path)
    return path


def texts(path, options=COMPACT, rows=SOME):
    return [reply.text for reply in open_player(str(path), options).answer(rows)]


def options(**more):
    from dataclasses import replace

    return replace(COMPACT, **more)


def test_batches_of_prompts_of_any_length_say_what_single_prompts_say(model):
    assert (
        texts(model, options(batch_size=1))
        == texts(model, options(batch_size=6))
        == texts(model, options(batch_size=4))
    )


def test_a_model_says_what_generate_says(torch, model):
    """Its prompt is split as its tokenizer.json says, and not as AutoTokenizer would have it for any Qwen2."""
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, loaded = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    prompt = messages(SOME[0]["observation"], "compact")
    text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids])
    assert ids[0].tolist() != tokenizer(text)["input_ids"]
    made = loaded.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)[
        0, ids.shape[1] :
    ]

    (reply,) = open_player(str(model), COMPACT).answer(SOME[:1])

    assert reply.text == tokenizer.decode(made, skip_special_tokens=True)
    assert reply.prompt == prompt
    assert reply.usage == {
        "prompt_tokens": ids.shape[1],
        "completion_tokens": int((made != tokenizer.pad_token_id).sum()),
        "cost": None,
    }


def test_sampling_hangs_on_the_seed(model):
    hot = [texts(model, options(temperature=1.0, seed=seed)) for seed in (0, 0, 1)]

    assert hot[0] == hot[1] != hot[2]
    assert hot[0] != texts(model)


def test_an_adapter_changes_what_its_base_says(model, adapter):
    said = texts(adapter)

    assert said == texts(adapter)
    assert said != texts(model)


def test_weights_that_were_cut_short_are_a_wrong_call(model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(BadRequestError, match="loading it gave"):
        open_player(str(broken), COMPACT)


def test_an_adapter_without_its_base_is_a_wrong_call(adapter, tmp_path):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "nowhere/base"}))

    with pytest.raises(BadRequestError, match="nowhere/base"):
        open_player(str(tmp_path), COMPACT)


def test_a_prompt_that_does_not_fit_is_answered_with_that_fault(torch, tmp_path):
    path = make_short(torch, tmp_path / "short")

    replies = open_player(str(path), COMPACT).answer(SOME)

    assert all(reply.text is None and "room for 28" in reply.fault for reply in replies)


def make_short(torch, path):
    make_model(torch, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    return path


def test_a_batch_that_does_not_fit_into_memory_is_halved(torch, model, monkeypatch):
    defender = open_player(str(model), options(batch_size=6))
    expected = [reply.text for reply in defender.answer(SOME)]
    generate, sizes = defender._generate, []

    def small(texts):
        sizes.append(len(texts))
        if len(texts) > 2:
            raise torch.OutOfMemoryError("too many")
        return generate(texts)

    monkeypatch.setattr(defender, "_generate", small)
    assert [reply.text for reply in defender.answer(SOME)] == expected
    assert sizes == [6, 3, 1, 2, 3, 1, 2]

    monkeypatch.setattr(defender, "_generate", lambda texts: (_ for _ in ()).throw(torch.OutOfMemoryError("no room")))
    with pytest.raises(PlayerError, match="one prompt to fit"):
        defender.answer(SOME)


def test_a_model_without_a_chat_template_is_a_wrong_call(torch, tmp_path):
    with pytest.raises(BadRequestError, match="chat template"):
        open_player(str(make_model(torch, tmp_path / "plain", chat_template=None)), COMPACT)


@pytest.mark.parametrize("content", [None, "{}", "no json", '{"model_type": "no-such-model"}'])
def test_a_directory_without_a_model_is_a_wrong_call(torch, tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)

    with pytest.raises(BadRequestError, match=str(tmp_path)):
        open_player(str(tmp_path), COMPACT)


def test_a_run_on_a_model_is_not_resumed_with_other_weights(torch, model, tmp_path, capsys):
    path = make_model(torch, tmp_path / "model")
    call = [
        "--defender",
        str(path),
        "--split",
        "val",
        "--n",
        "3",
        "--density",
        "compact",
        "--max-tokens",
        "4",
        "--out",
        str(tmp_path / "out"),
    ]
    assert run.main(call) == DONE

    make_model(torch, path, seed=7)

    assert run.main(call) == WRONG
    assert "fingerprint" in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path):
    """With torch and openai hidden, everything else works and these two say what to install."""
    (tmp_path / "config.json").write_text("{}")
    code = (
        "import sys\n"
        "class Hiding:\n"
        "    def __init__(self, finder):\n"
        "        self.finder = finder\n"
        "    def find_spec(self, name, *more):\n"
        "        return None if name in ('torch', 'openai') else self.finder.find_spec(name, *more)\n"
        "    def __getattr__(self, name):\n"
        "        return getattr(self.finder, name)\n"
        "sys.meta_path[:] = map(Hiding, sys.meta_path)\n"
        "from eval import run\n"
        f"out = ['--split', 'val', '--n', '1', '--out', {str(tmp_path / 'out')!r}]\n"
        f"print([run.main(['--defender', name, *out]) for name in ({str(tmp_path)!r}, 'http://127.0.0.1:1', 'always_dismiss')])\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=280, check=True
    )

    assert done.stdout.rstrip().endswith("[2, 2, 0]")
    assert "Expected torch for this command" in done.stderr
    assert "pip install '.[train]'" in done.stderr
    assert "the extra `eval`" in done.stderr
