"""GRPO: real steps on a toy model, stage after stage, resumed after an interruption, stopped when the policy collapses."""

import json
import os
import signal
import types

import pytest

from env import OpenSOCEnv
from players.weights import load_tokenizer
from schema import LABELS
from toy_model import same, weights
from train import grpo
from train import trl_trainer as watch
from train.monitor import Collapse
from train.nano import methods

# others' deprecations are not ours; what concerns us is asserted
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = [
    "--density",
    "compact",
    "--group-size",
    "2",
    "--groups",
    "2",
    "--batch-size",
    "4",
    "--max-answer",
    "100",
    "--seed",
    "3",
]
TWO = ["--stages", "stage1_basic,stage2_multi", "--steps", "2"]


@pytest.fixture(scope="module", autouse=True)
def _small():
    pytest.importorskip("trl")
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def scripted(monkeypatch):
    """Make every trainer say what a function of the place among its answers and of the trainer says, instead of sampling."""
    from trl import GRPOTrainer

    def put(say):
        def answers(self, prompt_ids, *args, **how):
            texts = [say(place) for place in range(len(prompt_ids))]
            ends = self.processing_class.eos_token_id
            return [[*self.processing_class.encode(text), ends] for text in texts], None

        monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", answers)

    return put


def said(action, line="L1-1"):
    return json.dumps({"action": action, "cited_log_id": line, "rationale": "so"})


def by_turns(place):
    """A group's two answers differ, so there is something to learn."""
    return said(LABELS[place % 5]) if place % 2 else "no answer"


def train(model, out, *flags):
    return grpo.main(["--model", str(model), "--out", str(out), *SMALL, *flags])


def run_of(out):
    return json.loads((out / "run.json").read_text())


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def checkpoints(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


# ---------------------------------------------------------------- training
def test_stages_follow_each_other_and_log_everything(toy, tmp_path, scripted, capsys):
    scripted(by_turns)
    flags = [*TWO, "--eval-every", "2", "--eval-n", "5", "--eval-tokens", "4", "--lr", "0.01"]
    assert train(toy, tmp_path, *flags) == 0

    first, second = tmp_path / "stage1_basic", tmp_path / "stage2_multi"
    assert run_of(first)["settings"]["start"] == str(toy)
    assert run_of(second)["settings"]["start"] == str(first)
    assert all(run_of(path)["complete"] for path in (tmp_path, first, second))
    assert run_of(first)["incidents"] == 4
    moved = weights(first)
    assert all(bool(value.any()) for name, value in moved.items() if "lora_B" in name)
    assert any(bool((value != weights(second)[name]).any()) for name, value in moved.items())
    log = log_of(first)
    assert [line["val/n"] for line in log if "val/n" in line] == [5, 5]
    steps = [line for line in log if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2]
    for line in steps:
        assert line["reward"] == pytest.approx(
            sum(line[f"triage/{name}"] for name in ("decision", "citation", "format")), abs=1e-5
        )
        assert line["triage/format_ok"] == sum(line[f"triage/share/{action}"] for action in LABELS) == 0.5
        assert line["frac_reward_zero_std"] == 0.0
        assert line["entropy"] > 1
        assert 0 < line["time/reward_share"] < 1
        assert {"triage/accuracy", "time/tokens_per_s", "time/generate_tokens_per_s"} <= line.keys()
    assert "stage1_basic: rewards took" in capsys.readouterr().err

    assert train(toy, tmp_path, *flags) == 0  # complete: nothing is done again
    assert "stage1_basic is complete" in capsys.readouterr().err
    assert log_of(first) == log


def test_rewards_are_the_environments_for_the_incidents_of_the_run(toy, tmp_path, scripted):
    scripted(lambda place: said("escalate"))
    flags = ["--stages", "stage3_mixed", "--steps", "1", "--reward-table", "standard", "--eval-every", "0"]
    assert train(toy, tmp_path, *flags) == 0

    args = grpo.COMMAND.parse(["--out", "x", *SMALL, *flags])
    loaded = types.SimpleNamespace(tokenizer=_tokenizer(toy), context=4096)
    made, left_out = grpo.incidents(args, "stage3_mixed", loaded, 100)
    env, paid = OpenSOCEnv(reward_table="standard"), []
    for row in made:
        env.reset(task=row["task"], seed=row["seed"], split=row["split"])
        paid.append(env.step({"submit_triage": json.loads(said("escalate"))}).reward)
    assert (len(made), left_out, {row["split"] for row in made}) == (2, 0, {"train"})
    [line] = [line for line in log_of(tmp_path / "stage3_mixed") if "loss" in line]
    assert line["reward"] == pytest.approx(sum(paid) / 2, abs=1e-5)
    assert line["frac_reward_zero_std"] == 1.0


def _tokenizer(path):

    return load_tokenizer(path)


def test_a_toy_samples_and_steps_by_itself(toy, tmp_path):
    assert (
        train(
            toy,
            tmp_path,
            "--stages",
            "stage1_basic",
            "--steps",
            "2",
            "--full",
            "--eval-every",
            "0",
            "--max-answer",
            "8",
        )
        == 0
    )

    steps = [line for line in log_of(tmp_path / "stage1_basic") if "loss" in line]
    assert [line["reward"] for line in steps] == [-1.0, -1.0]
    assert all(line["completions/max_length"] <= 8 and line["time/generate_tokens_per_s"] > 0 for line in steps)


def test_a_curriculum_draws_while_the_trainer_goes_on(toy, tmp_path, scripted):
    scripted(lambda place: said("escalate" if place % 2 else "monitor"))
    flags = ["--stages", "stage3_mixed", "--steps", "3", "--curriculum", "--eval-every", "0"]
    assert train(toy, tmp_path, *flags, "--max-zero-variance", "1") == 0

    text = (tmp_path / "stage3_mixed" / "curriculum.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in text[1:]]
    assert [entry["draw"] for entry in entries] == list(range(6))  # two groups a step
    assert {entry["right"] for entry in entries} <= {0.0, 0.5}


def test_evaluation_leaves_what_is_sampled_as_it_is(toy, tmp_path):
    entropies = []
    for every in ("0", "1"):
        out = tmp_path / every
        flags = [
            "--stages",
            "stage1_basic",
            "--steps",
            "2",
            "--max-answer",
            "8",
            "--eval-every",
            every,
            "--eval-n",
            "3",
        ]
        assert train(toy, out, *flags) == 0
        entropies.append([line["entropy"] for line in log_of(out / "stage1_basic") if "loss" in line])

    assert entropies[0] == entropies[1]
    assert len(entropies[0]) == 2


def test_after_ctrl_c_the_same_command_goes_on_as_if_nothing_had_been(toy, tmp_path, scripted, monkeypatch, capsys):
    scripted(by_turns)
    start, whole, cut = tmp_path / "start", tmp_path / "whole", tmp_path / "cut"
    # from an adapter and with a KL term: what it is compared with is the stage's start, not where it was taken up again
    assert train(toy, start, "--stages", "stage1_basic", "--steps", "1", "--lr", "0.1", "--eval-every", "0") == 0
    adapter = start / "stage1_basic"
    flags = [
        "--stages",
        "stage1_basic,stage2_multi",
        "--steps",
        "3",
        "--lr",
        "0.1",
        "--beta",
        "0.5",
        "--eval-every",
        "0",
    ]
    assert train(adapter, whole, *flags) == 0

    steps = watch.Guarded.training_step
    with monkeypatch.context() as patch:

        def pressed(self, *args, **kwargs):
            if self.state.global_step == 1:
                os.kill(os.getpid(), signal.SIGINT)
                patch.setattr(watch.Guarded, "training_step", steps)
            return steps(self, *args, **kwargs)

        patch.setattr(watch.Guarded, "training_step", pressed)
        assert train(adapter, cut, *flags) == 130
    whole, cut = whole / "stage1_basic", cut / "stage1_basic"
    assert checkpoints(cut) == ["checkpoint-2"]
    capsys.readouterr()

    assert train(adapter, cut.parent, *flags) == 0
    assert "checkpoint-2" in capsys.readouterr().err
    assert same(whole, cut)
    kl = [[line["kl"] for line in log_of(path) if "kl" in line] for path in (whole, cut)]
    assert kl[0] == kl[1]
    assert kl[0][0] == 0.0 < kl[0][2]
    assert not list(cut.rglob("ref"))


# ---------------------------------------------------------------- collapse
def step(equal=0.0, one=0.0, readable=1.0):
    rest = {f"triage/share/{action}": (1 - one) / 4 for action in LABELS[1:]}
    return {"frac_reward_zero_std": equal, "triage/format_ok": readable, f"triage/share/{LABELS[0]}": one, **rest}


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([step(equal=1.0)] * 3, None),
        ([step(equal=0.8)] * 4, None),
        ([step(equal=0.81)] * 4, "all rewards were equal in 81% of the groups over 4 steps"),
        ([step(equal=1.0, readable=0.4)] * 4, "60% of the answers cannot be read: do SFT first"),
        ([step(equal=1.0)] * 3 + [step(equal=0.0)], None),
        ([step(one=0.9)] * 4, None),
        ([step(one=0.91)] * 4, f"{LABELS[0]} was 91% of the answers over 4 steps"),
        ([step()] * 9 + [step(one=1.0)] * 4, f"{LABELS[0]} was 100%"),
        ([{"loss": 1.0}] * 9, None),
    ],
)
def test_collapse_is_seen_over_a_whole_window(steps, says):
    collapse = Collapse(window=4, zero_variance=0.8, one_action=0.9)
    reasons = [collapse.update(one) for one in steps]

    assert all(reason is None for reason in reasons[:-1])
    assert (says in reasons[-1]) if says else reasons[-1] is None


def test_a_policy_that_says_one_thing_stops_with_the_reason(toy, tmp_path, scripted, capsys):
    scripted(lambda place: said("monitor", line=f"L1-{1 + place % 2}"))
    flags = [
        "--stages",
        "stage1_basic,stage2_multi",
        "--steps",
        "6",
        "--collapse-window",
        "3",
        "--max-zero-variance",
        "1",
    ]
    assert train(toy, tmp_path, *flags, "--eval-every", "0", "--save-every", "1") == 1

    told = "monitor was 100% of the answers over 3 steps, above the limit of 90%"
    said_so = capsys.readouterr().err
    assert f"Stopped at step 3: {told}" in said_so
    assert "checkpoint-2" in said_so
    out = tmp_path / "stage1_basic"
    assert [line["stopped"].startswith(told) for line in log_of(out) if "stopped" in line] == [True]
    assert checkpoints(out) == ["checkpoint-1", "checkpoint-2"]
    assert not run_of(out)["complete"]
    assert not (tmp_path / "stage2_multi").exists()

    # the same command remembers the two steps before
    assert train(toy, tmp_path, *flags, "--eval-every", "0", "--save-every", "1") == 1
    assert f"Stopped at step 3: {told}" in capsys.readouterr().err


def test_a_policy_that_cannot_be_read_is_sent_to_sft(toy, tmp_path, scripted, capsys):
    scripted(lambda place: "no")
    assert (
        train(toy, tmp_path, "--stages", "stage1_basic", "--steps", "5", "--collapse-window", "2", "--eval-every", "0")
        == 1
    )
    assert "100% of the answers cannot be read: do SFT first" in capsys.readouterr().err


# ---------------------------------------------------------------- bad input
def test_a_prompt_that_leaves_no_room_for_the_answer_is_named_or_left_out(toy, tmp_path, scripted, capsys):
    from train import hub

    scripted(by_turns)
    args = grpo.COMMAND.parse(["--out", "x", *SMALL, "--steps", "2", "--stages", "stage1_basic"])
    made, _ = grpo.incidents(args, "stage1_basic", types.SimpleNamespace(tokenizer=_tokenizer(toy), context=4096), 100)
    sizes = hub.lengths(_tokenizer(toy), [row["prompt"] for row in made])
    longest = max(range(4), key=sizes.__getitem__)
    flags = ["--steps", "2", "--stages", "stage1_basic", "--eval-every", "0", "--max-length", str(max(sizes) + 99)]

    assert train(toy, tmp_path, *flags) == 2
    said_so = capsys.readouterr().err
    assert f"stage1_basic seed {made[longest]['seed']} the most with {max(sizes)}" in said_so
    assert "without 100 for the answer" in said_so
    assert train(toy, tmp_path, *flags, "--skip-long", "--fresh") == 0
    run = run_of(tmp_path / "stage1_basic")
    assert run["incidents"] == 4
    assert run["left_out"] >= 1


def test_incidents_that_are_too_long_are_replaced_until_there_are_enough(monkeypatch):
    from train import hub

    drawn = []

    def lengths(tokenizer, prompts):
        drawn.extend(prompts)
        return [1 if place % 4 == 0 else 99 for place in range(len(drawn) - len(prompts), len(drawn))]

    monkeypatch.setattr(hub, "lengths", lengths)
    flags = ["--steps", "3", "--groups", "1", "--skip-long", "--density", "compact"]
    args = grpo.COMMAND.parse(["--out", "x", *flags])
    made, left_out = grpo.incidents(args, "stage1_basic", types.SimpleNamespace(tokenizer=None, context=50), 10)

    assert [row["prompt"] for row in made] == drawn[0:9:4]
    assert left_out == 6


@pytest.mark.parametrize("flag", ["--use-vllm", "--use_vllm"])
def test_vllm_is_missed_by_name(toy, tmp_path, capsys, monkeypatch, flag):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert train(toy, tmp_path, *TWO, flag) == 2
    assert "Expected vLLM for --use-vllm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--stages", "stage9"], "as --stages"),
        (["--stages", "stage1_basic,stage1_basic"], "each once"),
        (["--stages", ""], "as --stages"),
        (["--batch-size", "3"], "multiple of --batch-size"),
        (["--group-size", "1", "--groups", "4"], "--group-size of 2 or more"),
        (["--temperature", "0"], "as --temperature"),
        (["--max-one-action", "1.1"], "as --max-one-action"),
        (["--beta", "-1"], "as --kl-coef"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(toy, tmp_path, capsys, flags, says):
    assert train(toy, tmp_path / "out", *flags) == 2
    assert says in capsys.readouterr().err


def test_an_adapter_is_not_trained_in_full(toy, tmp_path, scripted, capsys):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")

    assert train(tmp_path / "adapter", tmp_path / "out", *TWO, "--full") == 2
    assert "is an adapter" in capsys.readouterr().err


def test_presets_go_to_the_plain_loop(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(methods, "grpo", lambda command, args, argv: seen.append(args) or args.out)

    assert grpo.main(["--model", "mini", "--out", str(tmp_path), "--balance-coef", "0.1"]) == 0
    assert [(args.model, args.backend, args.balance_coef, args.reward_table) for args in seen] == [
        ("mini", "plain", 0.1, "hardened")
    ]
