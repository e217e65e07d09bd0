"""What a run would cost: figures that agree with real models, and a plan that loads and writes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from players.prompt import messages
from train import grpo, plan, sft
from train.command import OWNERS_MODEL
from train.data import frozen
from train.plan import GPUS, OWNERS_SHAPE, Shape, Work, evaluations_of, find_model

ROOT = Path(__file__).resolve().parent.parent


def printed(command, capsys, *flags, out):
    assert command.main(["--out", str(out), "--dry-run", *flags]) == 0
    said = capsys.readouterr().out
    assert not out.exists()
    return dict(line.split(maxsplit=1) for line in said.splitlines())


def test_the_owners_model_has_the_size_that_its_card_says():
    assert OWNERS_SHAPE.parameters == 3_085_938_688 - 36 * (2048 + 2 * 256) - 73 * 2048  # without biases and norms
    assert OWNERS_SHAPE.adapter(16) == 29_933_568
    assert OWNERS_SHAPE.cache == 36 * 2 * 2 * 128 * 2
    short = OWNERS_SHAPE.forward(1, 0)
    assert short == 2 * OWNERS_SHAPE.parameters
    assert OWNERS_SHAPE.forward(1, 1000) - short == 2 * 36 * 2048 * 1000  # scores and values, half of the square


@pytest.mark.filterwarnings("ignore")
def test_sizes_agree_with_a_real_model_and_its_adapter(toy):
    pytest.importorskip("peft")
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    shape, path = find_model(str(toy))
    model = AutoModelForCausalLM.from_pretrained(toy)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))

    assert path == toy
    assert shape.parameters == matrices
    assert shape.adapter(4) == sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


def test_the_defaults_fit_an_l4_and_three_and_a_half_hours(tmp_path, capsys):
    tuned = printed(sft, capsys, out=tmp_path / "none")
    reinforced = printed(grpo, capsys, out=tmp_path / "none")

    hours = sum(float(each["hours"].split("together ")[1]) for each in (tuned, reinforced))
    assert 2.5 < hours < 3.3  # the rest is for installing, downloading and evaluating
    assert "FIT" not in tuned["memory"] + reinforced["memory"]
    assert tuned["tokens"].endswith("150 steps of 8 texts")
    assert reinforced["tokens"].endswith("120 steps of 32 texts, and 800 prompts of evaluations")
    assert tuned["model"] == f"{OWNERS_MODEL}: 3.09e9 parameters (its published config), an adapter of 29.9e6"


def test_prompts_with_the_playbook_do_not_fit_an_l4(tmp_path, capsys):
    said = printed(sft, capsys, "--density", "full", out=tmp_path / "none")

    assert said["memory"].endswith("DOES NOT FIT")


def test_lengths_are_those_of_the_models_own_tokenizer(toy, tmp_path, capsys):
    from players.weights import load_tokenizer

    said = printed(sft, capsys, "--model", str(toy), "--limit", "4", "--density", "compact", out=tmp_path / "none")
    tokenizer = load_tokenizer(toy)
    chats = [messages(row["observation"], "compact") for row in frozen(limit=4)]
    sizes = [len(tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]) for chat in chats]

    assert said["prompts"].startswith(f"compact: {sum(sizes) / 4:,.0f} tokens on average, {max(sizes):,} at most; ")
    assert said["prompts"].endswith("(4 measured by its own tokenizer)")


def test_hours_follow_from_operations_and_bytes():
    shape = Shape(2, 8, 2, 1, 16, 100, True)
    lengths = plan.Lengths(100.0, 150, 10, "")
    args = sft.COMMAND.parse(["--out", "x"])

    hours = plan._hours(shape, lengths, GPUS["L4"], args, Work(5, 4, 2, sampled=True))
    operations = 2 * shape.parameters + 2 * 2 * 8 * 110
    assert hours["training"] == pytest.approx(3 * 20 * 110 * operations / (121e12 * 0.35) / 3600)
    reading = 20 * 100 * (2 * shape.parameters + 2 * 2 * 8 * 100) / (121e12 * 0.35)
    writing = 5 * 10 * (2 * shape.parameters + 4 * 110 * (2 * 2 * 2 * 4)) / (300e9 * 0.6)
    assert hours["generating"] == pytest.approx((reading + writing) / 3600)


@pytest.mark.parametrize(("steps", "every", "times"), [(30, 50, 2), (100, 50, 3), (101, 50, 4), (30, 0, 0)])
def test_evaluations_stand_at_the_start_in_between_and_at_the_end(steps, every, times):
    assert evaluations_of(steps, every) == times


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "some/model"], "Expected the config of 'some/model' for --dry-run"),
        (["--model", "nano"], "--dry-run is of TRL alone"),
        (["--steps", "0"], "Expected more than 0 as --steps, and got 0."),
    ],
)
def test_what_cannot_be_planned_is_refused(tmp_path, capsys, flags, said):
    assert sft.main(["--out", str(tmp_path / "none"), "--dry-run", *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_config_of_another_form_is_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"n_layer": 2}))

    assert sft.main(["--out", str(tmp_path / "none"), "--dry-run", "--model", str(tmp_path)]) == 2
    assert "'num_attention_heads' is amiss" in capsys.readouterr().err


def test_a_plan_needs_no_torch(tmp_path):
    code = "import sys; from train import sft; sft.main(['--out', 'x', '--dry-run']); print({'torch', 'transformers'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "set()"
