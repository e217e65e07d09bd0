"""The plain loop and its commands: resuming, stopping, bad input, and the whole line."""

import fcntl
import json
import shutil
import signal
import threading
from functools import partial
from pathlib import Path

import pytest
import torch

from players.codec import PromptCodec, load
from players.weights import TEXT_VERSION
from runs.directory import LOCK
from runs.ending import StoppedError
from schema import TASKS, BadRequestError
from tests.nano_start import ROWS, make_start, shrink
from train import grpo, sft
from train.data import AS_TOLD, easy_first, labelled
from train.nano import checkpoint, loop, methods, outcome, pipeline, pretrain
from train.nano.checkpoint import save
from train.nano.loop import Loop, Plan
from train.nano.objectives import GRPO, Supervised


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint that knows the form of an answer a little."""
    return make_start(tmp_path_factory.mktemp("start"))


def weights(path):
    return torch.cat([weight.flatten() for weight in load(path)[0].parameters()])


def logged(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


def read_run(out):
    return json.loads((out / "run.json").read_text("utf-8"))


def stored(row):
    """A line of a file of rows."""
    return json.dumps({**row, "family": "mine", "weight": 1.0}) + "\n"


def looped(start, out, *, lesson=None, rows=ROWS, notice=None, **plan):
    how = {"steps": 4, "batch": 2, "lr": 1e-3, **plan}
    run = Loop(Plan(out, **how), partial(load, start), about={"method": "test"}, notice=notice)
    run.run(rows, lesson or Supervised())
    return run


# ---------------------------------------------------------------- the loop
@pytest.mark.parametrize("lesson", [Supervised, partial(GRPO, table="hardened", group=4)])
def test_a_run_that_was_interrupted_ends_in_the_same_weights(start, tmp_path, lesson):
    looped(start, tmp_path / "whole", lesson=lesson())

    def stop_at_two(step):
        if step["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        looped(start, tmp_path / "cut", lesson=lesson(), notice=stop_at_two)
    assert [step["step"] for step in logged(tmp_path / "cut")] == [1, 2]
    looped(start, tmp_path / "cut", lesson=lesson())

    assert torch.equal(weights(tmp_path / "whole" / "last"), weights(tmp_path / "cut" / "last"))
    assert [step["step"] for step in logged(tmp_path / "cut")] == [1, 2, 3, 4]


def test_a_killed_run_goes_on_from_its_last_checkpoint(start, tmp_path):
    looped(start, tmp_path / "whole")

    def die_at_three(step):
        if step["step"] == 3:
            raise MemoryError

    with pytest.raises(MemoryError):
        looped(start, tmp_path / "cut", notice=die_at_three, save_s=0.0)
    run = looped(start, tmp_path / "cut")

    assert torch.equal(weights(tmp_path / "whole" / "last"), weights(tmp_path / "cut" / "last"))
    assert (run.step, run.incidents) == (4, 8)


def test_threads_share_a_step_and_leave_the_sum_as_it_is(start, tmp_path):
    one, two = (looped(start, tmp_path / str(threads), threads=threads, batch=6, steps=1) for threads in (1, 2))

    torch.testing.assert_close(weights(one.plan.out / "last"), weights(two.plan.out / "last"), atol=1e-4, rtol=0)


def test_other_settings_are_refused(start, tmp_path):
    looped(start, tmp_path, steps=1)
    with pytest.raises(BadRequestError, match="give another --out or the same settings"):
        looped(start, tmp_path, lr=5e-4)


def test_a_loss_that_is_no_number_stops_before_the_step(start, tmp_path):
    def rows(place):
        return ROWS(place)

    class Breaks(Supervised):
        def loss(self, model, coder, row, drawn):
            loss, log = super().loss(model, coder, row, drawn)
            return (loss * float("nan"), {**log, "loss": float("nan")}) if row["index"] >= 4 else (loss, log)

    with pytest.raises(StoppedError, match=r"the loss of step 3 is not a number.*last.*lower --lr"):
        looped(start, tmp_path, lesson=Breaks(), save_s=0.0)
    assert weights(tmp_path / "last").isfinite().all()
    assert len(logged(tmp_path)) == 2


def test_a_gradient_that_is_no_number_is_not_stepped_on(start, tmp_path):
    class Breaks(Supervised):
        def loss(self, model, coder, row, drawn):
            loss, log = super().loss(model, coder, row, drawn)
            return (loss * float("inf") if row["index"] >= 4 else loss), log

    with pytest.raises(StoppedError, match=r"the gradient of step 3 is not a number.*last"):
        looped(start, tmp_path, lesson=Breaks(), save_s=0.0)
    assert weights(tmp_path / "last").isfinite().all()


def test_a_weight_that_is_no_number_is_not_saved(start, tmp_path):
    run = looped(start, tmp_path)
    with torch.no_grad():
        next(run.model.parameters()).fill_(float("nan"))

    with pytest.raises(StoppedError, match="a weight is not a number after step 4"):
        run.checkpoint()
    assert weights(tmp_path / "last").isfinite().all()


def test_a_model_that_cannot_be_put_in_its_place_is_kept_as_a_checkpoint(start, tmp_path, monkeypatch):
    run = looped(start, tmp_path)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.model, "save_pretrained", full)
    with pytest.raises(StoppedError, match=r"the checkpoint before it is kept in '.*last'"):
        checkpoint.finish(run.model, run.tokenizer, tmp_path, about={})


def test_a_full_disk_leaves_the_checkpoint_before(start, tmp_path, monkeypatch):
    model, tokenizer = load(start)
    save(model, tokenizer, tmp_path / "kept", about={"n": 1})
    before = weights(tmp_path / "kept")

    def full(path):
        path.joinpath("model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with torch.no_grad():
        next(model.parameters()).zero_()
    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(StoppedError, match=r"No space left on device; the checkpoint before it is kept in .*Make room"):
        save(model, tokenizer, tmp_path / "kept", about={"n": 2})

    assert torch.equal(weights(tmp_path / "kept"), before)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_checkpoint_between_two_names_is_found(start, tmp_path):
    model, tokenizer = load(start)
    save(model, tokenizer, tmp_path / "last", about={})
    (tmp_path / "last").rename(tmp_path / ".last.old")

    assert torch.equal(weights(tmp_path / "last"), weights(start))


@pytest.mark.parametrize(("file", "content"), [("model.safetensors", b"cut"), ("config.json", b"{")])
def test_a_broken_checkpoint_is_told(start, tmp_path, file, content):
    model, tokenizer = load(start)
    save(model, tokenizer, tmp_path / "broken", about={})
    (tmp_path / "broken" / file).write_bytes(content)
    with pytest.raises(BadRequestError, match="Expected a whole transformers model or PEFT adapter in"):
        load(tmp_path / "broken")
    with pytest.raises(BadRequestError, match=r"expected a checkpoint of train.nano.methods \(opensoc.json in it\)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"text_version": 1}, "learned version 1: .*train it anew"),
        ({}, "learned version 1: "),
        ({"text_version": 99}, "learned version 99: "),
        ([], "Expected opensoc.json in .* as train.nano writes it"),
    ],
)
def test_a_checkpoint_of_another_text_is_refused(start, tmp_path, capsys, content, says):
    shutil.copytree(start, tmp_path / "old")
    (tmp_path / "old" / "opensoc.json").write_text(json.dumps(content))

    for read in (load, checkpoint.Checkpoint):
        with pytest.raises(BadRequestError, match=says):
            read(tmp_path / "old")
    assert sft.main(["--model", str(tmp_path / "old"), "--out", str(tmp_path / "x"), "--steps", "1"]) == 2
    assert "old" in capsys.readouterr().err


def test_a_checkpoint_says_which_text_it_learned(start):
    assert json.loads((start / "opensoc.json").read_text("utf-8"))["text_version"] == TEXT_VERSION


@pytest.mark.parametrize("content", [b"", b"half a checkpoint"])
def test_a_broken_state_is_told(start, tmp_path, content):
    looped(start, tmp_path)
    (tmp_path / "last" / "state.pt").write_bytes(content)

    with pytest.raises(BadRequestError, match=r"expected the state of a run in .*state\.pt.*--fresh"):
        looped(start, tmp_path)


def test_work_is_dealt_evenly():
    rows = [{"observation": {"log_window": [0] * size}} for size in (40, 4, 4, 4, 30, 10)]
    parts = loop._evenly(rows, 2)
    loads = [sum(6 + len(row["observation"]["log_window"]) for row in part) for part in parts]

    assert sum(map(len, parts)) == 6
    assert abs(loads[0] - loads[1]) <= 12


# ---------------------------------------------------------------- the commands
@pytest.fixture
def short(monkeypatch):
    """The least models, small steps and short answers: a model that knows nothing runs on."""
    shrink(monkeypatch)


def test_the_commands_train_one_after_the_other_and_do_nothing_twice(short, tmp_path, capsys):
    first, second, third = (str(tmp_path / name) for name in ("pre", "sft", "grpo"))
    assert pretrain.main(["--model", "nano", "--out", first, "--steps", "2"]) == 0
    assert sft.main(["--model", first, "--out", second, "--steps", "2", "--limit", "4"]) == 0
    stages = ["--stages", "stage1_basic,stage2_multi", "--group-size", "2", "--eval-every", "1", "--eval-n", "5"]
    assert grpo.main(["--model", second, "--out", third, "--steps", "1", *stages]) == 0

    rates = [
        json.loads((Path(run) / "run.json").read_text("utf-8"))["settings"]["lr"] for run in (first, second, third)
    ]
    assert rates == [5e-3, 2e-3, 3e-3]
    assert json.loads((tmp_path / "grpo" / "run.json").read_text("utf-8"))["complete"]
    last = tmp_path / "grpo" / "stage2_multi"
    assert json.loads((last / "run.json").read_text("utf-8"))["complete"]
    assert json.loads((last / "opensoc.json").read_text("utf-8"))["method"] == "grpo"
    figures = {name for step in logged(last) for name in step}
    wanted = {
        "reward",
        "accuracy",
        "faithful",
        "format_ok",
        "entropy",
        "kl",
        "frac_reward_zero_std",
        "val/accuracy",
        "val/macro_f1",
    }
    assert (
        wanted | {"triage/decision", "triage/citation", "triage/format", "triage/share/dismiss", "judging_s"} <= figures
    )
    before = weights(last)
    assert grpo.main(["--model", second, "--out", third, "--steps", "1", *stages]) == 0
    assert torch.equal(weights(last), before)
    assert "is complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags", "says"),
    [
        (sft, ["--model", "nano", "--steps", "0"], "more than 0"),
        (sft, ["--model", "nowhere", "--backend", "plain"], "a directory that the plain loop made"),
        (sft, ["--model", "nano", "--backend", "trl"], "leave --backend out"),
        (grpo, ["--model", "nano", "--stages", "stage9"], "as --stages, each once"),
        (pretrain, ["--minutes", "0"], "more than 0"),
        (pretrain, ["--steps", "0"], "more than 0"),
        (sft, ["--model", "nano", "--batch-size", "4", "--warmup", "0.5"], "--batch-size, --warmup are of TRL alone"),
        (sft, ["--model", "nano", "--generate", "8", "--easy-first", "9"], "at most --generate (8)"),
        (sft, ["--model", "nano", "--easy-first", "1"], "at most --generate (0)"),
        (grpo, ["--model", "nano", "--use-vllm"], "--use-vllm is of TRL alone"),
        (grpo, ["--model", "nano", "--anchor", "unlabelled.jsonl"], "says none of dismiss"),
    ],
)
def test_a_wrong_call_says_what_is_expected(tmp_path, capsys, command, flags, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unlabelled.jsonl").write_text(stored({**ROWS(0), "ground_truth": {}}))
    assert command.main([*flags, "--out", str(tmp_path / "x")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "model", "data"), [(grpo, "stage1_basic", None), (sft, ".", None), (sft, "../start", "mine.jsonl")]
)
def test_a_fresh_run_does_not_remove_what_it_starts_from(start, tmp_path, capsys, command, model, data):
    out = tmp_path / "out"
    shutil.copytree(start, out / "stage1_basic")
    shutil.copytree(start, out, dirs_exist_ok=True)
    shutil.copytree(start, tmp_path / "start")
    (out / "run.json").write_text("{}")
    (out / "mine.jsonl").write_text(stored(ROWS(0)))
    held = sorted(out.rglob("*.*"))

    rows = ["--data", str(out / data)] if data else []
    assert command.main(["--model", str(out / model), "--out", str(out), "--fresh", "--steps", "1", *rows]) == 2
    assert f"Expected --{'data' if data else 'model'} outside of" in capsys.readouterr().err
    assert [file for file in sorted(out.rglob("*.*")) if file.name != LOCK] == held


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ({"evidence_log_ids": []}, "says no line of evidence"),
        ({"evidence_log_ids": "L1-1"}, "says no line of evidence"),
        ({"evidence_log_ids": [None]}, "says no line of evidence"),
        ({"rule_ids": None}, "says no rules"),
        ({"rule_ids": [1]}, "says no rules"),
        ({"action": "shrug"}, "says none of dismiss"),
    ],
)
def test_rows_that_no_answer_can_be_made_of_are_named(tmp_path, truth, says):
    row = ROWS(0)
    file = tmp_path / "mine.jsonl"
    file.write_text(stored(ROWS(1)) + stored({**row, "ground_truth": row["ground_truth"] | truth}))
    with pytest.raises(BadRequestError, match=f"{row['id']}' {says}"):
        labelled(str(file))


def reinforced(start, out, *flags):
    """The exit code of GRPO on stage 1 in groups of two, without evaluation."""
    how = ["--stages", "stage1_basic", "--eval-every", "0", "--group-size", "2"]
    return grpo.main(["--model", str(start), "--out", str(out), *how, *flags])


def test_a_curriculum_draws_and_a_run_that_goes_on_finds_what_was_drawn(short, start, tmp_path):
    flags = ("--curriculum", "--groups", "2", "--max-zero-variance", "1", "--max-one-action", "1", "--anchor", "none")
    assert reinforced(start, tmp_path / "a", "--steps", "3", *flags) == 0

    head, *entries = map(json.loads, (tmp_path / "a/stage1_basic/curriculum.jsonl").read_text("utf-8").splitlines())
    assert (head["split"], head["tasks"]) == ("train", ["stage1_basic"])
    assert [entry["draw"] for entry in entries] == list(range(6))
    assert {entry["right"] for entry in entries} <= {0.0, 0.5, 1.0}


def test_a_policy_that_gives_one_answer_stops_the_run(short, start, tmp_path, capsys):
    limits = ["--collapse-window", "2", "--max-zero-variance", "0", "--max-one-action", "0"]
    code = reinforced(start, tmp_path, "--steps", "9", *limits)

    assert code == 1
    assert "Stopped:" in capsys.readouterr().err
    assert "stopped" in logged(tmp_path / "stage1_basic")[-1]
    assert not (tmp_path / "stage1_basic" / "last").exists()  # what has collapsed is not worth a checkpoint


def test_a_collapse_is_seen_again_when_the_run_goes_on(short, start, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "Plan", partial(Plan, save_s=0.0))
    flags = ["--steps", "4", "--collapse-window", "3", "--max-one-action", "1", "--max-zero-variance"]
    stops = []
    for _ in range(2):
        assert reinforced(start, tmp_path, *flags, "0") == 1
        stops.append(logged(tmp_path / "stage1_basic")[-1])
        assert json.loads((tmp_path / "stage1_basic" / "last" / "opensoc.json").read_text())["step"] == 2
    assert [stop["step"] for stop in stops] == [3, 3]
    assert "a higher limit" in capsys.readouterr().err

    assert reinforced(start, tmp_path, *flags, "1") == 0
    assert [one["step"] for one in logged(tmp_path / "stage1_basic")] == [1, 2, 3, 4]


def test_a_full_disk_that_meets_the_log_stops_without_a_traceback(short, start, tmp_path, monkeypatch, capsys):
    def full(self, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop.Log, "add", full)
    assert sft.main(["--model", str(start), "--out", str(tmp_path / "x"), "--steps", "2", "--limit", "4"]) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "run the same command to go on" in said


def test_two_commands_do_not_train_in_one_directory(short, start, tmp_path, capsys):
    call = ["--model", str(start), "--out", str(tmp_path), "--steps", "1", "--limit", "4"]
    with (tmp_path / LOCK).open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert sft.main(call) == 2
    assert "another command does; wait for it" in capsys.readouterr().err
    assert not (tmp_path / "run.json").exists()
    assert sft.main(call) == 0
    assert sft.main([*call, "--fresh"]) == 0


def test_so_small_a_share_of_an_epoch_is_one_step(short, start, tmp_path):
    call = ["--model", str(start), "--out", str(tmp_path), "--limit", "4", "--epochs", "0.01"]
    assert sft.main(call) == 0
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 1


def test_a_prompt_that_is_too_long_is_named_or_left_out(short, start, tmp_path, capsys):
    rows = [ROWS(place) for place in range(4)]
    rows[2]["observation"]["log_window"] *= 300
    (tmp_path / "mine.jsonl").write_text("".join(map(stored, rows)))
    call = [
        "--model",
        str(start),
        "--out",
        str(tmp_path / "out"),
        "--data",
        str(tmp_path / "mine.jsonl"),
        "--epochs",
        "1",
    ]

    assert sft.main(call) == 2
    assert f"1 of 4 incidents are longer, {rows[2]['id']} the most" in capsys.readouterr().err
    assert sft.main([*call, "--skip-long"]) == 0
    assert "1 of 4 incidents are longer" in capsys.readouterr().err
    assert (
        json.loads((tmp_path / "out" / "run.json").read_text())["incidents"] == 4
    )  # two batches of two, of three rows


def test_labelled_rows_beside_grpo_that_are_too_long_are_named_or_left_out(short, start, tmp_path, capsys):
    rows = [ROWS(place) for place in range(4)]
    rows[3]["observation"]["log_window"] *= 300
    (tmp_path / "mine.jsonl").write_text("".join(map(stored, rows)))
    how = ["--steps", "1", "--groups", "2", "--anchor", str(tmp_path / "mine.jsonl")]

    assert reinforced(start, tmp_path / "out", *how) == 2
    assert f"1 of 4 incidents are longer, {rows[3]['id']} the most" in capsys.readouterr().err
    assert reinforced(start, tmp_path / "other", *how, "--skip-long") == 0


def test_what_a_run_was_trained_with_stands_in_its_settings(short, start, tmp_path):
    assert reinforced(start, tmp_path, "--steps", "1") == 0

    settings = json.loads((tmp_path / "stage1_basic" / "run.json").read_text())["settings"]
    wanted = {
        "density": "compact",
        "groups": 2,
        "lr": 3e-3,
        "entropy_coef": 0.1,
        "balance_coef": 2.0,
        "kl_coef": 0.02,
        "steps": 1,
    }
    assert {name: settings[name] for name in wanted} == wanted


def test_easy_incidents_come_first_and_none_comes_twice():
    rows = [easy_first(3, 0, ("stage2_multi", "stage1_basic"), AS_TOLD, index) for index in range(7)]

    assert [row["task"] for row in rows] == ["stage1_basic"] * 3 + ["stage2_multi", "stage1_basic"] * 2
    assert len({row["id"] for row in rows}) == 7
    assert rows[4:] == [easy_first(0, 0, ("stage2_multi", "stage1_basic"), AS_TOLD, index) for index in range(1, 4)]


def test_a_later_stage_has_the_earlier_ones_in_it():
    assert methods._with_earlier(["stage1_basic"]) == ("stage1_basic",)
    assert methods._with_earlier(["stage1_basic", "stage2_multi"]) == ("stage2_multi", "stage1_basic")
    mixed = methods._with_earlier(["stage1_basic", "stage2_multi", "stage3_mixed"])
    assert mixed == ("stage3_mixed", "stage1_basic", "stage3_mixed", "stage2_multi")


# ---------------------------------------------------------------- the line
SHORT = ["--stages", "stage1_basic", "--grpo-steps", "1", "--eval-every", "0", "--val", "8"]


def test_the_line_of_scarce_labels_trains_measures_and_prints_from_its_files(
    short, few_resamples, tmp_path, capsys, monkeypatch
):
    for name in ("SETS", "CHOSEN_BY"):
        monkeypatch.setattr(outcome, name, ("val",))
    monkeypatch.setattr(pipeline, "SETS", ("val",))
    flags = ["--pretrain-steps", "1", "--epochs", "0.02", "--best-of", *SHORT]
    assert pipeline.main(["--out", str(tmp_path), *flags]) == 0

    stored = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    home, figures = tmp_path / "seed-0", stored["seeds"]["0"]
    assert list(figures["sets"]["val"]) == ["sft", "best_of", "grpo"]
    assert list(figures["gains"]) == ["grpo over sft", "best_of over sft", "grpo over best_of"]
    assert list(figures["gains"]["grpo over sft"]["val"]) == ["all", *TASKS]
    metrics = json.loads((home / "eval" / "sft-greedy" / "metrics.json").read_text("utf-8"))["metrics"]["val"]
    assert figures["sets"]["val"]["sft"]["greedy"]["accuracy"]["value"] == metrics["accuracy"]["value"]
    assert (home / "pictures" / "stage1_basic" / "training.png").is_file()
    counts = [run["incidents"] for run in map(read_run, (home / "grpo/stage1_basic", home / "best_of/stage1_basic"))]
    assert counts == [2, 2]
    said = capsys.readouterr()
    assert "[11 of 11] $ python -m eval.plot_training" in said.err
    assert f"Chosen by val: {stored['chosen']['model']} of seed 0, {home}" in said.out


def test_the_line_of_plentiful_labels_takes_easy_ones_first_for_each_seed(
    short, few_resamples, tmp_path, monkeypatch, capsys
):
    for name in ("SETS", "CHOSEN_BY"):
        monkeypatch.setattr(outcome, name, ("val",))
    monkeypatch.setattr(pipeline, "SETS", ("val",))
    flags = ["--line", "plentiful", "--labels", "4", "--easy-first", "2", "--seeds", "3,5", *SHORT]
    assert pipeline.main(["--out", str(tmp_path), *flags]) == 0

    settings = [read_run(tmp_path / f"seed-{seed}" / "sft")["settings"] for seed in (3, 5)]
    assert [(run["seed"], run["easy_first"], run["generate"]) for run in settings] == [(3, 2, 4), (5, 2, 4)]
    stored = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert list(stored["seeds"]) == ["3", "5"]
    values = [one["sets"]["val"]["grpo"]["greedy"]["accuracy"]["value"] for one in stored["seeds"].values()]
    assert stored["means"]["val"]["grpo"]["accuracy"] == {
        "mean": pytest.approx(sum(values) / 2),
        "least": min(values),
        "most": max(values),
    }
    assert "mean of the seeds" in capsys.readouterr().out


def test_a_line_that_was_copied_goes_on_elsewhere(short, tmp_path, monkeypatch, capsys):
    """Its directory, the number of cores and the working directory may be others."""
    first, second = tmp_path / "here" / "line", tmp_path / "there" / "copied"
    flags = ["--pretrain-steps", "1", "--epochs", "0.02", *SHORT]
    train = grpo.main
    monkeypatch.setattr(grpo, "main", lambda argv: 130)
    with pytest.raises(SystemExit):
        pipeline.main(["--out", str(first), *flags])
    first.parent.rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "gone" / "line", second)
    monkeypatch.setattr(grpo, "main", train)
    monkeypatch.setattr(pipeline, "_evaluation", lambda args, seed: iter(()))
    monkeypatch.setattr(pipeline, "summary", lambda lines: {})
    monkeypatch.setattr(pipeline, "show", lambda figures: None)

    assert pipeline.main(["--out", str(second), "--threads", "1", *flags]) == 0
    said = capsys.readouterr().err
    assert f"The run in '{second}/seed-0/pretrain' is complete" in said
    commands = [step["command"].split()[2] for step in checkpoint.history(second / "seed-0/grpo/stage1_basic")]
    assert commands == ["train.nano.pretrain", "train.sft", "train.grpo"]


def test_hours_are_divided_among_seeds_stages_and_rivals():
    args = pipeline.COMMAND.parse(["--hours", "6", "--best-of"])
    args.seeds, args.stages = [0, 1, 2], ["stage1_basic", "stage2_multi"]
    training = [step.arguments for step in pipeline._training(args, 1)]
    minutes = [float(flags[flags.index("--minutes") + 1]) if "--minutes" in flags else None for flags in training]

    assert minutes == [
        18.0,
        None,
        18.0,
        None,
    ]  # 120 a seed: .15 of it, the rows, .6 of it over two stages of two rivals
    assert training[3][training[3].index("--steps") + 1] == "150"  # as many as GRPO took, once it has


@pytest.mark.parametrize("text", ["", "0,", "0,0", "-1", "1.5", "a"])
def test_seeds_that_are_none_are_refused(tmp_path, capsys, text):
    assert pipeline.main(["--out", str(tmp_path), f"--seeds={text}"]) == 2
    assert "as --seeds, each once, such as 0,1,2" in capsys.readouterr().err


def figures_of(**macro_f1):
    """Figures of a seed in which greedy macro-F1 of a model on val, val_family and test_seed is as given."""
    sets = dict(zip(outcome.SETS, range(3), strict=True))
    return {
        "sets": {
            chosen: {name: {"greedy": {"macro_f1": {"value": values[place]}}} for name, values in macro_f1.items()}
            for chosen, place in sets.items()
        }
    }


def test_a_model_is_chosen_by_val_and_val_family_never_by_a_test_set():
    seeds = {"0": figures_of(sft=(0.5, 0.2, 0.9), grpo=(0.4, 0.4, 0.1)), "1": figures_of(sft=(0.6, 0.1, 1.0))}
    paths = {("0", "sft"): "a", ("0", "grpo"): "b", ("1", "sft"): "c"}

    assert outcome._chosen(seeds, paths) == {
        "seed": 0,
        "model": "grpo",
        "path": "b",
        "macro_f1": {"val": 0.4, "val_family": 0.4},
    }


def test_a_command_that_fails_ends_the_line_with_its_code(short, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "main", lambda argv: 130)
    with pytest.raises(SystemExit) as ended:
        pipeline.main(["--out", str(tmp_path)])
    assert ended.value.code == 130
    assert pipeline.main(["--out", str(tmp_path), "--stages", "nothing"]) == 2
    assert pipeline.main(["--out", str(tmp_path), "--val", "3"]) == 2


@pytest.mark.parametrize(
    ("stop", "code", "says"),
    [(KeyboardInterrupt, 130, "Run the same command"), (OSError(28, "No space left on device"), 1, "No space left")],
)
def test_a_line_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch, capsys, stop, code, says):
    def stops(lines):
        raise stop

    monkeypatch.setattr(pipeline, "walk", lambda steps: None)
    monkeypatch.setattr(pipeline, "summary", stops)
    assert pipeline.main(["--out", str(tmp_path)]) == code
    assert says in capsys.readouterr().err


def test_a_comma_too_many_is_no_stage(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline, "walk", lambda steps: None)
    monkeypatch.setattr(pipeline, "summary", lambda lines: seen.append(lines[0][1]["grpo"].name) or {})
    monkeypatch.setattr(pipeline, "show", lambda figures: None)

    assert pipeline.main(["--out", str(tmp_path), "--stages", "stage1_basic,stage2_multi,"]) == 0
    assert seen == ["stage2_multi"]


def test_a_run_in_a_thread_cannot_be_interrupted_and_runs_on(start, tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(looped(start, tmp_path, steps=1).step))
    thread.start()
    thread.join()

    assert done == [1]


def test_a_small_model_answers_for_eval_run(start, tmp_path):
    from players import Options, open_player

    model, tokenizer = load(start)
    save(model, tokenizer, tmp_path / "model", about={})
    rows = [{name: row[name] for name in ("id", "task", "observation")} for row in map(ROWS, range(10))]
    long = {
        **rows[0],
        "observation": {**rows[0]["observation"], "log_window": rows[0]["observation"]["log_window"] * 200},
    }
    defender = open_player(str(tmp_path / "model"), Options(temperature=1.0))
    together, alone = defender.answer([*rows, long]), defender.answer(rows[3:4])

    assert defender.kind == "model"
    assert [reply.text for reply in together[3:4]] == [reply.text for reply in alone]
    assert together[-1].text is None
    assert "at most 3904 tokens" in together[-1].fault
    assert together[0].usage["prompt_tokens"] == len(PromptCodec(tokenizer).prompt(rows[0]))


def test_a_device_that_is_not_there_is_told(tmp_path, capsys):
    code = pretrain.main(["--model", "nano", "--out", str(tmp_path), "--steps", "1", "--device", "cuda:77"])

    assert code == 2
    assert "--device" in capsys.readouterr().err
