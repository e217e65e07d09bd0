"""Fine-tuning: real steps on a toy model, what is kept when it ends early, and what is said of bad input."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from players.prompt import answer_text, messages
from players.weights import load_tokenizer
from schema import OpenSOCError
from toy_model import CHATML, make_toy, same, short_rows, weights
from train import grpo, hub, sft
from train import trl_trainer as watch
from train.command import resolved
from train.data import frozen, sft_rows
from train.nano import methods

ROOT = Path(__file__).resolve().parent.parent
# others' deprecations are not ours; what concerns us is asserted
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = ["--density", "compact", "--accumulate", "2", "--seed", "3"]


@pytest.fixture(scope="module", autouse=True)
def _small():
    pytest.importorskip("trl")
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def train(model, out, *flags):
    """Train on the rows beside a model, if there are some."""
    beside = Path(model).parent / "short.jsonl"
    data = ["--data", str(beside)] if beside.exists() else ["--limit", "8"]
    return sft.main(["--model", str(model), "--out", str(out), *SMALL, *data, *flags])


def run_of(out):
    return json.loads((out / "run.json").read_text())


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def checkpoints(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


# ---------------------------------------------------------------- training
def test_two_steps_make_an_adapter_that_evaluation_takes(toy, tmp_path):
    from players import Options, open_player

    out = tmp_path / "out"
    assert (
        train(toy, out, "--steps", "2", "--save-every", "1", "--eval-every", "2", "--eval-n", "5", "--eval-tokens", "4")
        == 0
    )

    run, log = run_of(out), log_of(out)
    assert (run["complete"], run["steps"], run["rows"], run["seed"]) == (True, 2, 8, 3)
    assert run["settings"]["lr"] == 2e-4
    assert len(run["commit"]) >= 5
    assert json.loads((out / "checkpoints" / "checkpoint-2" / "run.json").read_text())["settings"] == run["settings"]
    assert [line["step"] for line in log if "loss" in line] == [1, 2]
    assert [line["val/n"] for line in log if "val/n" in line] == [5, 5]
    assert all(line["val/format_ok"] == 0 and line["val/mean_reward"] == -1 for line in log if "val/n" in line)
    assert next(line for line in log if "loss" in line)["time/tokens_per_s"] > 0
    moved = {name: bool(value.any()) for name, value in weights(out).items() if "lora_B" in name}
    assert len(moved) == 7
    assert all(moved.values())
    defender = open_player(str(out), Options(density="compact", max_tokens=4))
    assert defender.settings["adapter"] is True
    assert len(defender.answer(frozen(limit=2))) == 2
    assert train(toy, out, "--steps", "2", "--save-every", "1") == 0  # complete: nothing is done again
    assert log_of(out) == log
    assert train(toy, tmp_path / "unseen", "--steps", "2") == 0
    assert same(out, tmp_path / "unseen")  # evaluation changes nothing


def test_full_training_moves_every_weight(toy, tmp_path):
    assert train(toy, tmp_path, "--steps", "2", "--full", "--generate", "6") == 0

    before, after = weights(toy), weights(tmp_path)
    assert before.keys() == after.keys()
    assert all(bool((before[name] != after[name]).any()) for name in before)
    assert run_of(tmp_path)["rows"] == 6


def test_the_loss_is_on_the_answer_alone(toy, tmp_path):
    args = sft.COMMAND.parse(["--model", str(toy), "--out", str(tmp_path), *SMALL, "--lr", "1e-4"])
    [row] = rows = frozen(limit=1)
    loaded = hub.load(str(toy), resolved(args, full=True))
    data = sft.make_trainer(args, loaded, sft.examples(rows, "compact")).train_dataset[0]

    learned = [label for label in data["labels"] if label != -100]
    assert loaded.tokenizer.decode(learned) == answer_text(row["observation"], "compact") + "<|im_end|>\n"
    read = loaded.tokenizer.decode(data["input_ids"][: -len(learned)])
    assert read == loaded.tokenizer.apply_chat_template(
        messages(row["observation"], "compact"), tokenize=False, add_generation_prompt=True
    )


def test_fresh_rows_come_from_the_train_families(tmp_path):
    args = sft.COMMAND.parse(["--out", str(tmp_path), "--generate", "8"])
    other = sft.COMMAND.parse(["--out", str(tmp_path), "--generate", "8", "--seed", "1"])

    assert {row["split"] for row in sft_rows(args)} == {"train"}
    assert sft_rows(args) == sft_rows(args)
    assert not {row["id"] for row in sft_rows(args)} & {row["id"] for row in sft_rows(other)}


# ---------------------------------------------------------------- ends before the end
def test_ctrl_c_saves_and_the_same_command_goes_on_as_if_nothing_had_been(toy, tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = ["--steps", "4", "--save-every", "100"]
    assert train(toy, whole, *flags) == 0

    steps = watch.Guarded.training_step
    with monkeypatch.context() as patch:

        def pressed(self, *args, **kwargs):
            if self.state.global_step == 1:
                os.kill(os.getpid(), signal.SIGINT)
                patch.setattr(watch.Guarded, "training_step", steps)
            return steps(self, *args, **kwargs)

        patch.setattr(watch.Guarded, "training_step", pressed)
        assert train(toy, cut, *flags) == 130
    assert "Run the same command to go on" in capsys.readouterr().err
    assert checkpoints(cut) == ["checkpoint-2"]
    assert not (cut / "adapter_model.safetensors").exists()

    assert train(toy, cut, *flags) == 0
    assert "checkpoint-2" in capsys.readouterr().err
    assert same(whole, cut)
    assert [line["step"] for line in log_of(cut) if "loss" in line] == [1, 2, 3, 4]


def test_a_crash_between_checkpoints_does_its_steps_again(toy, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = ["--steps", "4", "--save-every", "2"]
    assert train(toy, whole, *flags) == 0

    step = watch.Guarded.training_step
    with monkeypatch.context() as patch:

        def crashes(self, *args, **kwargs):
            if self.state.global_step == 3:
                raise ZeroDivisionError
            return step(self, *args, **kwargs)

        patch.setattr(watch.Guarded, "training_step", crashes)
        with pytest.raises(ZeroDivisionError):
            train(toy, cut, *flags)
    shutil.copytree(cut / "checkpoints" / "checkpoint-2", cut / "checkpoints" / "checkpoint-3")
    (cut / "checkpoints" / "checkpoint-3" / "trainer_state.json").unlink()  # as a kill while it was written leaves it
    assert [line["step"] for line in log_of(cut) if "loss" in line] == [1, 2, 3]

    assert train(toy, cut, *flags) == 0
    assert same(whole, cut)
    assert [line["step"] for line in log_of(cut) if "loss" in line] == [1, 2, 3, 4]
    assert checkpoints(cut) == ["checkpoint-2", "checkpoint-4"]


def test_a_kill_while_the_model_is_put_in_its_place_is_made_good(toy, tmp_path):
    assert train(toy, tmp_path, "--steps", "2") == 0
    made = weights(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    (tmp_path / "run.json").write_text(json.dumps(run_of(tmp_path) | {"complete": False}))

    assert train(toy, tmp_path, "--steps", "2") == 0
    assert all(bool((made[name] == value).all()) for name, value in weights(tmp_path).items())
    assert run_of(tmp_path)["steps"] == 2
    assert checkpoints(tmp_path) == ["checkpoint-2"]


def test_a_broken_checkpoint_is_told(toy, tmp_path, capsys):
    assert train(toy, tmp_path, "--steps", "2", "--save-every", "1") == 0
    (tmp_path / "run.json").write_text(json.dumps(run_of(tmp_path) | {"complete": False}))
    last = tmp_path / "checkpoints" / "checkpoint-2"
    for file in ("optimizer.pt", "adapter_model.safetensors", "trainer_state.json", "scheduler.pt"):
        whole = (last / file).read_bytes()
        (last / file).write_bytes(b"torn")

        assert train(toy, tmp_path, "--steps", "2", "--save-every", "1") == 2, file
        assert f"Expected a whole checkpoint in {str(last)!r}, and reading it gave" in capsys.readouterr().err, file
        (last / file).write_bytes(whole)
    shutil.rmtree(last)
    assert train(toy, tmp_path, "--steps", "2", "--save-every", "1") == 0


@pytest.mark.parametrize(("rate", "what", "kept"), [("1e30", "the loss", ["checkpoint-1"]), ("1e39", "a weight", [])])
def test_what_is_not_a_number_stops_the_run_and_is_not_saved(toy, tmp_path, capsys, rate, what, kept):
    assert train(toy, tmp_path, "--steps", "4", "--save-every", "1", "--warmup", "0", "--lr", rate) == 1

    assert f"Stopped: {what} is not a finite number after step 1" in capsys.readouterr().err
    assert checkpoints(tmp_path) == kept
    assert all(
        bool(value.isfinite().all()) for name in kept for value in weights(tmp_path / "checkpoints" / name).values()
    )
    assert log_of(tmp_path)[-1] == {"step": 1, "stopped": f"{what} is not a finite number after step 1"}
    assert not run_of(tmp_path)["complete"]


def test_a_disk_that_fills_while_saving_keeps_the_last_good_checkpoint(toy, tmp_path, monkeypatch, capsys):
    flags = ["--steps", "3", "--save-every", "1"]
    check, limits = watch.Watcher.check_weights, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills(self):
        check(self)
        if self.trainer.state.global_step == 2:  # files may not grow beyond this: writing fails in the middle
            resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, limits[1]))

    try:
        with monkeypatch.context() as patch:
            patch.setattr(watch.Watcher, "check_weights", fills)
            assert train(toy, tmp_path, *flags) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert "Expected room for the checkpoint of step 2" in said
    assert "checkpoint-1" in said
    assert checkpoints(tmp_path) == ["checkpoint-1"]

    assert train(toy, tmp_path, *flags) == 0
    assert run_of(tmp_path)["steps"] == 3


def test_a_run_with_other_settings_is_not_gone_on_with(toy, tmp_path, capsys):
    assert train(toy, tmp_path, "--steps", "1") == 0
    assert train(toy, tmp_path, "--steps", "1", "--lr", "0.5") == 2
    assert "lr was 0.0002, is 0.5" in capsys.readouterr().err
    assert train(toy, tmp_path, "--steps", "1", "--lr", "0.5", "--fresh") == 0
    assert run_of(tmp_path)["settings"]["lr"] == 0.5


# ---------------------------------------------------------------- models that are none
def test_a_directory_that_is_no_model_is_said_to_be_none(toy, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    shutil.copytree(toy, broken)
    (broken / "model.safetensors").write_bytes(b"\x07" * 100)
    strange = tmp_path / "strange"
    shutil.copytree(toy, strange)
    (strange / "tokenizer.json").write_text("{}")
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "adapter_config.json").write_text('{"base_model')

    for model, says in [
        (tmp_path / "absent", "Expected a model's directory"),
        (tmp_path / "empty", "there is neither"),
        (broken, "loading it gave"),
        (strange, "loading it gave"),
        (cut, "loading it gave"),
    ]:
        assert train(model, out, "--steps", "1", "--fresh") == 2
        said = capsys.readouterr().err
        assert says in said
        assert str(model) in said


def test_a_hub_name_without_a_network_is_refused_at_once(tmp_path, capsys, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as silent:  # takes the call and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "HUB_S", 0.3)
        assert train("nobody/nothing", tmp_path, "--steps", "1") == 2
    assert "the hub could not be reached" in capsys.readouterr().err
    assert train("nobody/nothing", tmp_path, "--steps", "1") == 2  # now nobody listens
    assert "the hub could not be reached" in capsys.readouterr().err


def test_a_hub_name_is_taken_from_the_cache_by_training_and_evaluation(toy, tmp_path, monkeypatch, offline):
    from huggingface_hub import constants

    from players import Options, open_player

    home = tmp_path / "hub" / "models--nobody--toy"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    shutil.copytree(toy, home / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    assert train("nobody/toy", tmp_path / "out", "--steps", "1") == 0
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "nobody/toy"
    assert open_player(str(tmp_path / "out"), Options()).settings["adapter"]


def test_offline_a_name_that_is_not_cached_is_refused(tmp_path, offline, capsys):
    assert train("nobody/nothing", tmp_path, "--steps", "1") == 2
    assert "HF_HUB_OFFLINE" in capsys.readouterr().err


# ---------------------------------------------------------------- chat templates
REFUSES = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
DROPS = CHATML.replace("{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}")


@pytest.mark.parametrize("template", [REFUSES, DROPS])
def test_a_template_without_a_system_role_gets_the_system_text_in_the_user_message(tmp_path, capsys, template):
    from transformers import AutoTokenizer

    short_rows(tmp_path / "short.jsonl")
    model = make_toy(tmp_path / "toy", template=template)
    assert train(model, tmp_path / "out", "--steps", "1") == 0

    assert "knows no system role" in capsys.readouterr().err
    saved = AutoTokenizer.from_pretrained(tmp_path / "out")
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]
    text = "<|im_start|>user\nS\n\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    assert saved.apply_chat_template(chat, tokenize=False) == text
    assert saved.apply_chat_template(chat[1:], tokenize=False) == text.replace("S\n\n", "")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (None, "it has none"),
        ("{{ messages[0]['no'] }}", "render a conversation"),
        ("{{ messages[0]['content'] + 1 }}", "render a conversation"),
    ],
)
def test_a_model_that_cannot_chat_is_refused(tmp_path, capsys, template, says):
    model = make_toy(tmp_path / "toy", template=template)

    assert train(model, tmp_path / "out", "--steps", "1") == 2
    assert says in capsys.readouterr().err


# ---------------------------------------------------------------- lengths
def test_what_is_longer_than_the_context_is_named_or_left_out(toy, tmp_path, capsys):
    tokenizer = load_tokenizer(toy)
    rows = frozen(str(toy.parent / "short.jsonl"))
    made = sft.examples(rows, "compact")
    sizes = hub.lengths(tokenizer, [one["prompt"] for one in made], [one["completion"][0]["content"] for one in made])
    longest = max(range(8), key=sizes.__getitem__)
    room = str(max(sizes) - 1)

    assert train(toy, tmp_path, "--steps", "1", "--max-length", room, "--fresh") == 2
    said = capsys.readouterr().err
    assert f"at most {room} tokens" in said
    assert f"{rows[longest]['id']} the most with {max(sizes)}" in said

    assert train(toy, tmp_path, "--steps", "1", "--max-length", room, "--skip-long", "--fresh") == 0
    assert (run_of(tmp_path)["rows"], run_of(tmp_path)["left_out"]) == (7, 1)
    assert "1 of 8 incidents are longer" in capsys.readouterr().err

    assert train(toy, tmp_path, "--steps", "1", "--max-length", str(max(sizes)), "--fresh") == 0
    assert train(toy, tmp_path, "--steps", "1", "--max-length", "5", "--skip-long", "--fresh") == 2
    assert "all 8 are longer" in capsys.readouterr().err


# ---------------------------------------------------------------- backends and calls
def test_presets_and_what_they_became_go_to_the_plain_loop(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(methods, "sft", lambda command, args, argv: seen.append(args) or args.out)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "opensoc.json").write_text("{}")

    assert sft.main(["--model", "nano", "--out", str(tmp_path / "out"), "--steps", "2"]) == 0
    assert sft.main(["--model", str(tmp_path / "made"), "--out", str(tmp_path / "out")]) == 0
    assert [(args.model, args.backend, args.steps) for args in seen] == [
        ("nano", "plain", 2),
        (str(tmp_path / "made"), "plain", None),
    ]


@pytest.mark.parametrize(
    ("model", "backend", "says"), [("nano", "trl", "--backend plain"), ("some/model", "plain", "Expected a preset")]
)
def test_a_backend_that_does_not_fit_the_model_is_refused(tmp_path, capsys, model, backend, says):
    assert train(model, tmp_path / "out", "--backend", backend) == 2
    assert says in capsys.readouterr().err


def test_unsloth_is_asked_for_by_name_and_missed_by_name(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "unsloth", None)
    assert train(toy, tmp_path, "--backend", "unsloth", "--steps", "1") == 2
    assert "pip install -r requirements-unsloth.txt" in capsys.readouterr().err


@pytest.mark.parametrize("command", [sft, grpo])
def test_unsloth_is_there_before_what_it_replaces(toy, tmp_path, monkeypatch, command):
    """It replaces parts of trl and transformers, and does nothing to what is imported already."""
    order = []
    monkeypatch.setattr(hub, "require_unsloth", lambda: order.append("unsloth"))

    def require_trl():
        order.append("trl")
        raise OpenSOCError("far enough")

    monkeypatch.setattr(hub, "require_trl", require_trl)
    assert command.main(["--model", str(toy), "--out", str(tmp_path), "--backend", "unsloth"]) == 2
    assert order == ["unsloth", "trl"]


def test_flags_of_the_plain_loop_are_refused_by_trl(toy, tmp_path, capsys):
    assert train(toy, tmp_path / "out", "--minutes", "3", "--threads", "1") == 2
    assert "--minutes, --threads are of the plain loop alone" in capsys.readouterr().err


def test_unsloth_loads_and_wraps_what_is_trained(toy, tmp_path, monkeypatch):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    asked = []

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(model_name, **how):
            asked.append(("load", model_name, how["load_in_4bit"], how["full_finetuning"]))
            return AutoModelForCausalLM.from_pretrained(model_name), None

        @staticmethod
        def get_peft_model(model, r, lora_alpha, target_modules, random_state, **how):
            asked.append(("wrap", r, lora_alpha, random_state, how["use_gradient_checkpointing"]))
            return get_peft_model(model, LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=target_modules))

    monkeypatch.setitem(sys.modules, "unsloth", types.SimpleNamespace(FastLanguageModel=FastLanguageModel))

    assert train(toy, tmp_path, "--backend", "unsloth", "--steps", "2", "--lora-rank", "4") == 0
    assert asked == [("load", str(toy), False, False), ("wrap", 4, 32, 3, "unsloth")]
    assert all(value.shape[0] == 4 for name, value in weights(tmp_path).items() if "lora_A" in name)


@pytest.mark.parametrize(
    "flags", [["--steps", "0"], ["--lr", "nan"], ["--warmup", "1.5"], ["--epochs", "-1"], ["--seed", "-1"]]
)
def test_numbers_out_of_range_are_refused(toy, tmp_path, capsys, flags):
    assert train(toy, tmp_path, *flags) == 2
    assert f"as {flags[0]}, and got" in capsys.readouterr().err


def test_rows_without_labels_are_refused(toy, tmp_path, capsys):
    assert train(toy, tmp_path, "--data", "no_such_set") == 2
    assert "no_such_set" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["train.sft", "train.grpo"])
def test_help_needs_no_torch_and_every_flag_has_a_text(module):
    code = (
        f"import sys, {module} as m\nfor flag in ('torch', 'transformers', 'trl', 'numpy'):\n    assert flag not in sys.modules, flag\n"
        "import argparse\nargparse.ArgumentParser.parse_args = lambda parser, argv: print(*[a.option_strings[0] for a in parser._actions if not a.help])\n"
        "m.COMMAND.parse([])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "kind", "processes", "machines"),
    [("one_gpu", "NO", 1, 1), ("many_gpus", "FSDP", 8, 1), ("many_nodes", "FSDP", 16, 2)],
)
def test_accelerate_reads_the_configurations(name, kind, processes, machines):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "train" / "configs" / f"{name}.yaml"))

    assert (config.distributed_type.value, config.num_processes, config.num_machines) == (kind, processes, machines)
    assert config.mixed_precision == "bf16"


def test_the_plain_head_is_what_torch_computes():
    import torch
    from torch.nn.functional import cross_entropy

    from train.trl_head import PlainHead

    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(5, 8), torch.randn(11, 8), torch.tensor([0, 3, 10, 2, 2])
    logits = 3 * torch.tanh(2 * hidden @ weight.T / 3) / 0.7
    logs, entropy, _, _, top = PlainHead.apply(hidden, weight, None, targets, 0.7, 4, 3.0, 2.0, ("entropy", "is_top1"))

    assert torch.allclose(-logs, cross_entropy(logits, targets, reduction="none"), atol=1e-5)
    assert torch.allclose(entropy, torch.distributions.Categorical(logits=logits).entropy(), atol=1e-5)
    assert top.tolist() == (logits.argmax(-1) == targets).tolist()


def test_pins_of_training_are_those_that_are_tested():
    def pins(name):
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.M))

    tested, trained, unsloth = (pins(f"requirements-{name}.txt") for name in ("dev", "train", "unsloth"))
    own = ("accelerate", "datasets", "peft", "transformers", "trl")

    assert trained.items() <= tested.items()
    assert "torch" not in trained
    assert {name: unsloth[name] for name in own} == {name: tested[name] for name in own}
    assert unsloth["unsloth"].startswith("2026.10.")


def test_other_processes_leave_the_files_to_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    args = sft.COMMAND.parse(["--out", str(tmp_path / "out")])
    sft.COMMAND.open_run(tmp_path / "out", [], args)

    assert list((tmp_path / "out").iterdir()) == []


def test_help_names_the_trainer_and_the_default_of_a_flag():
    flags = {flag.name: flag for flag in grpo.COMMAND.flags()}
    told = {
        name: flags[name]._help() for name in ("--warmup", "--minutes", "--full", "--eval-n", "--max-length", "--fresh")
    }

    assert told == {
        "--warmup": "share of the steps, 0 to 1 (TRL; default: 0.03)",
        "--minutes": "of training at most, evaluation not counted; with --steps whichever comes first (plain loop)",
        "--full": "train all weights instead of a LoRA adapter (TRL)",
        "--eval-n": "incidents of the split val, the five actions equally (default: 100)",
        "--max-length": "longest prompt and answer together (TRL; default: the model's context)",
        "--fresh": "forget the run that is in --out and start over",
    }
