"""Unpacking: whoever has an export alone trains on from a checkpoint that says what the export says."""

import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import pytest

from players.codec import CONTEXT, PromptCodec, load
from players.embedded import GRAPH, TOKENIZER, Embedded
from players.prompt import user_text
from players.weights import ABOUT, TEXT_VERSION
from tasks.sets import load_set
from train import sft
from train.nano import export, unpack
from train.nano.checkpoint import history, save
from train.nano.model import train_tokenizer
from train.nano.onnx_graph import graph_of

for name in ("transformers", "onnx", "onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is not installed; the extra `train` brings it")
torch = pytest.importorskip("torch", reason="torch is not installed; the extra `train` brings it")

ROWS = load_set("holdout").rows
SHORT = 10  # tokens of an answer
RUNS = [{"command": "python -m train.sft --model nano ", "commit": "c" * 40, "steps": 9, "incidents": 144}]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([user_text(row["observation"], "compact") for row in ROWS[:40]], 1000)


def wild(tokenizer, **settings):
    """A small model with random weights, biases included, large enough that other prompts get other nonsense."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(5)
    size = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    also = {"num_key_value_heads": 4, "tie_word_embeddings": True, "max_position_embeddings": CONTEXT, **settings}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), initializer_range=0.1, **size, **also, **ends))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return model.eval()


def rounded(model):
    """The model with each matrix as 8 bits hold it."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                blocks = weight.view(len(weight), -1, math.gcd(weight.shape[1], 64))
                scales = blocks.abs().amax(2, keepdim=True) / 127
                blocks.copy_((blocks / scales).round() * scales)
    return model


def logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits


@pytest.fixture(scope="module", params=["no", "yes"], ids=["float32", "int8"])
def made(request, tokenizer, tmp_path_factory):
    """A checkpoint, its export, and what was unpacked from that."""
    home = tmp_path_factory.mktemp("made")
    save(wild(tokenizer), tokenizer, home / "checkpoint", about={"method": "sft", "runs": RUNS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "LONGEST", SHORT)
        export.export(home / "checkpoint", home / "defender", int8=request.param, items=1)
        assert unpack.main([str(home / "defender"), "--out", str(home / "again")]) == 0
        export.export(home / "again", home / "defender2", int8=request.param, items=1)
    return home


# ---------------------------------------------------------------- the same model
def test_what_was_unpacked_reads_and_answers_as_what_was_exported(made):
    (model, tokenizer), (old, old_tokenizer) = load(made / "again"), load(made / "checkpoint")
    eight_bits = Embedded(made / "defender").about.precision == "int8"
    old = rounded(old) if eight_bits else old

    for row in ROWS[:4]:
        read = PromptCodec(tokenizer).read(row)
        assert read == PromptCodec(old_tokenizer).read(row)
        assert (logits(model, read) - logits(old, read)).abs().max() <= (0 if eight_bits else 1e-5)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_exporting_again_gives_the_same_answers(made):
    once, again = Embedded(made / "defender"), Embedded(made / "defender2")

    replies = [once.generate(row["observation"]).tokens for row in ROWS[:4]]

    assert [again.generate(row["observation"]).tokens for row in ROWS[:4]] == replies
    assert len({*map(tuple, replies)}) > 2
    assert (made / "defender2" / TOKENIZER).read_bytes() == (made / "defender" / TOKENIZER).read_bytes()


@pytest.mark.parametrize("eight_bits", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"num_key_value_heads": 2, "tie_word_embeddings": False},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "rms_norm_eps": 1e-5},
        {"head_dim": 32},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_the_settings_of_other_qwen2_models_come_back(tokenizer, settings, eight_bits):
    model = wild(tokenizer, **settings)
    graph = graph_of(model, eight_bits=eight_bits).SerializeToString()

    again = unpack.model_of(graph, tokenizer).eval()

    names = {*settings, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}
    names |= {"max_position_embeddings", "eos_token_id", "pad_token_id", "rms_norm_eps", "rope_parameters"}
    for name in names:
        assert getattr(again.config, name) == getattr(model.config, name), name
    tokens = list(range(3, 60))
    assert torch.equal(logits(again, tokens), logits(rounded(model) if eight_bits else model, tokens))


# ---------------------------------------------------------------- where it comes from
def test_the_checkpoint_says_where_it_comes_from_and_so_does_the_next_export(made):
    about = Embedded(made / "defender").about
    mark = json.loads((made / "again" / "opensoc.json").read_text())

    assert (mark["text_version"], mark["method"], mark["runs"]) == (TEXT_VERSION, "sft", RUNS)
    assert mark["unpacked_from"] == {"precision": about.precision, "fingerprint": about.fingerprint}
    assert "| `python -m train.sft --model nano ` |" in (made / "defender2" / "README.md").read_text()
    assert "python -m train.nano.unpack" in (made / "defender2" / "README.md").read_text()


def test_training_goes_on_from_it(made, tmp_path):
    start, out = made / "again", tmp_path / "further"

    how = ["--generate", "2", "--batch", "2", "--threads", "1", "--eval-n", "1"]
    assert sft.main(["--model", str(start), "--out", str(out), *how]) == 0

    weights = [load(path)[0].model.layers[0].mlp.up_proj.weight for path in (start, out)]
    assert not torch.equal(*weights)
    assert [run["steps"] for run in history(out)] == [9, 1]


# ---------------------------------------------------------------- refusals
@pytest.fixture
def ours(made, tmp_path):
    """An export to break."""
    return Path(shutil.copytree(made / "defender", tmp_path / "defender"))


def refused(directory, out, capsys):
    code = unpack.main([str(directory), "--out", str(out)])
    assert (code, out.exists()) == (2, False)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 1}, "Expected .*defender.json as train.nano.export writes it; format: "),
        ({"text_version": 1}, f"Expected a model of version {TEXT_VERSION} of the compact text, and .* learned version 1"),
        ({"end": 0}, "Expected an export with the ChatML template .* ends an answer with token 0"),
        ({"template": ["<s>", "<u>", "<a>"]}, "Expected an export with the ChatML template .* begins a prompt with '<s>'"),
    ],
    ids=["format", "text", "end", "template"],
)  # fmt: skip
def test_an_export_of_another_form_is_refused(ours, tmp_path, capsys, changes, reason):
    (ours / ABOUT).write_text(json.dumps({**json.loads((ours / ABOUT).read_text()), **changes}))

    assert re.match(reason, refused(ours, tmp_path / "out", capsys))


def test_who_trains_on_may_take_an_export_of_an_older_text(ours, tmp_path):
    (ours / ABOUT).write_text(json.dumps({**json.loads((ours / ABOUT).read_text()), "text_version": 1}))

    assert unpack.main([str(ours), "--any-text", "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "opensoc.json").read_text())["text_version"] == TEXT_VERSION


def test_where_no_export_is_nothing_is_written(made, tmp_path, capsys):
    assert "there is no such directory; make it with" in refused(tmp_path / "nowhere", tmp_path / "out", capsys)
    assert "could not read" in refused(made / "checkpoint", tmp_path / "out", capsys)


@pytest.mark.parametrize("content", [b"nonsense", b""])
def test_a_graph_of_another_make_is_refused(ours, tmp_path, capsys, content):
    (ours / GRAPH).write_bytes(content)
    about = json.loads((ours / ABOUT).read_text())
    about["files"][GRAPH] = hashlib.sha256(content).hexdigest()
    (ours / ABOUT).write_text(json.dumps(about))

    assert "Expected a Qwen2 model as train.nano.export writes it in" in refused(ours, tmp_path / "out", capsys)


def test_nothing_that_is_there_is_replaced(made, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")

    assert unpack.main([str(made / "defender"), "--out", str(tmp_path)]) == 2

    assert "Expected nothing in" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
