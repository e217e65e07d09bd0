"""Wide batches: rows made ahead, lessons packed, and the same gradients as one incident at a time gives."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from players import decode
from players.codec import PromptCodec, load
from players.decode import answers
from runs.workers import worker_processes
from scripts import carry
from tests.nano_start import ROWS, judge_by_number, make_start, shrink
from train import grpo, sft
from train.nano import forward, measure, methods
from train.nano import model as nano_model
from train.nano.batches import Ahead
from train.nano.forward import Reader, batch_of
from train.nano.lessons import Lesson, pack, padded
from train.nano.loop import Loop, Plan
from train.nano.muon import Muon, orthogonal
from train.nano.objectives import GRPO, LanguageModelling, Supervised
from train.nano.presets import PRESETS


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint that knows the form of an answer a little."""
    return make_start(
        tmp_path_factory.mktemp("start"), size=replace(PRESETS["nano"], vocabulary=1200), steps=20, batch=4
    )


def weights(path):
    return torch.cat([weight.flatten() for weight in load(path)[0].parameters()])


def looped(start, out, objective, monkeypatch, **plan):
    """A run of one step, and the gradient that it took."""
    taken = []
    before = Loop._update

    def update(self, sums, done):
        before(self, sums, done)
        taken.append(torch.cat([weight.grad.flatten() for weight in self._weights]))

    monkeypatch.setattr(Loop, "_update", update)
    run = Loop(Plan(out, **{"steps": 1, "batch": 6, "threads": 1, **plan}), partial(load, start), about={"method": "x"})
    run.run(ROWS, objective)
    monkeypatch.setattr(Loop, "_update", before)
    return taken[0], next(iter(run.log.lines()))


def reinforced(start):
    reference = nano_model.make("nano", load(start)[1], seed=5)
    return GRPO(
        table="hardened", group=3, entropy=0.1, balance=2.0, kl=0.1, reference=reference, anchor=[ROWS(90), ROWS(91)]
    )


@pytest.mark.parametrize(
    "objective",
    [
        lambda start: Supervised(),
        lambda start: LanguageModelling(),
        reinforced,
    ],
)
def test_a_wide_batch_has_the_gradient_of_its_incidents_one_by_one(start, tmp_path, monkeypatch, objective):
    narrow, log = looped(start, tmp_path / "narrow", objective(start), monkeypatch)
    wide, wide_log = looped(start, tmp_path / "wide", objective(start), monkeypatch, wide=True)

    assert narrow.abs().max() > 1e-3
    assert (wide - narrow).abs().max() < 2e-6
    assert {name: wide_log[name] for name in ("incidents", "tokens")} == {
        name: log[name] for name in ("incidents", "tokens")
    }


def test_a_wide_run_that_was_killed_ends_in_the_same_weights(start, tmp_path):
    how = {"batch": 4, "wide": True, "save_s": 0.0, "threads": 1}
    Loop(Plan(tmp_path / "whole", steps=2, **how), partial(load, start), about={}).run(ROWS, Supervised())

    def die_at_two(line):
        if line["step"] == 2:
            raise MemoryError

    with pytest.raises(MemoryError):
        Loop(Plan(tmp_path / "cut", steps=2, **how), partial(load, start), about={}, notice=die_at_two).run(
            ROWS, Supervised()
        )
    Loop(Plan(tmp_path / "cut", steps=2, **how), partial(load, start), about={}).run(ROWS, Supervised())

    assert torch.equal(weights(tmp_path / "whole" / "last"), weights(tmp_path / "cut" / "last"))


# ---------------------------------------------------------------- rows ahead
def test_workers_make_the_rows_that_this_process_makes(start):
    coder = PromptCodec(load(start)[1])
    here = Ahead(ROWS, start)
    with worker_processes(1) as executor:
        ahead = Ahead(ROWS, start, executor)
        for first, number in ((5, 3), (8, 1), (30, 4), (100, 1)):  # a worker makes 32 at a time
            for made, wanted in zip(ahead.take(first, number), here.take(first, number), strict=True):
                assert made.place == wanted.place
                assert made.prompt.tolist() == wanted.prompt.tolist() == coder.prompt(ROWS(made.place))
                assert made.answer.tolist() == wanted.answer.tolist() == coder.answer(ROWS(made.place))
        replies = [[coder.answer(ROWS(place))] for place in range(9)]
        judged = ahead.judge(judge_by_number, range(9), replies)

    assert judged == here.judge(judge_by_number, range(9), replies)
    assert judged[8] == (ROWS(8)["id"], [coder.text(coder.answer(ROWS(8)))])


def test_lessons_of_like_length_are_packed_together():
    sizes = (10, 200, 60, 5, 130)
    lessons = [Lesson(range(size - 2), [[1, 2]]) for size in sizes]

    assert [padded(size) for size in (1, 64, 65)] == [64, 64, 128]
    assert list(pack(lessons, 400)) == [[3, 0, 2], [4], [1]]
    assert list(pack(lessons, 64)) == [[3], [0], [2], [4], [1]]
    assert list(pack([], 64)) == []


# ---------------------------------------------------------------- the model
def test_a_layer_that_does_not_compile_is_read_as_it_is(start, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", broken)
    model, _ = load(start)
    batch = batch_of([Lesson(range(3, 40), [[5, 6]])], "cpu", 0)
    monkeypatch.setattr(forward, "LENGTHS", (10,))
    logits = Reader(model, compiles=True).logits(batch)

    assert torch.equal(logits, Reader(model).logits(batch))
    assert "The layer is not compiled: RuntimeError: no compiler" in capsys.readouterr().err


def test_prompts_that_are_read_side_by_side_are_answered_as_each_alone(start, monkeypatch):
    model, tokenizer = load(start)
    coder = PromptCodec(tokenizer)
    prompts = [coder.prompt(ROWS(place))[: 150 + 40 * place] for place in (2, 0, 1)]
    alone = answers(model, prompts, longest=8, end=coder.end)
    monkeypatch.setattr(decode._Cache, "_parts", lambda self, prompts: [[1, 2, 0]])

    assert answers(model, prompts, longest=8, end=coder.end) == alone


def test_matrices_of_one_shape_are_made_orthogonal_together():
    for shape in ((6, 10), (10, 6)):
        stack = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(orthogonal(stack), torch.stack([orthogonal(matrix) for matrix in stack]))


def test_muon_steps_matrices_of_all_shapes(start):
    model, _ = load(start)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    Muon(model, 1e-2).step()

    assert all(not torch.equal(weight, before[name]) for name, weight in model.named_parameters())


# ---------------------------------------------------------------- the commands
def test_the_commands_learn_wide_and_a_model_is_measured(start, tmp_path, monkeypatch, capsys):
    shrink(monkeypatch)
    monkeypatch.setattr(methods.os, "cpu_count", lambda: 2)
    out, wide = tmp_path / "sft", ["--wide", "--steps", "2", "--threads", "1"]
    how = ["--generate", "8", "--easy-first", "4", "--batch", "4"]
    assert sft.main(["--model", str(start), "--out", str(out), *how, *wide]) == 0
    how = [
        "--stages",
        "stage1_basic,stage2_multi",
        "--mixed",
        "--groups",
        "2",
        "--group-size",
        "2",
        "--eval-every",
        "0",
    ]
    assert grpo.main(["--model", str(out), "--out", str(tmp_path / "grpo"), "--backend", "plain", *how, *wide]) == 0

    steps = [json.loads(line) for line in (tmp_path / "grpo/mixed/log.jsonl").read_text().splitlines()]
    assert [step["incidents"] for step in steps] == [2, 4]
    assert {"reward", "entropy", "kl", "frac_reward_zero_std", "incidents_per_s", "waiting"} <= set(steps[0])
    capsys.readouterr()
    assert measure.main([str(out), "--split", "val", "--n", "4", "--out", str(tmp_path / "figures.json")]) == 0
    assert capsys.readouterr().out.startswith("val: 4 incidents in")
    assert set(json.loads((tmp_path / "figures.json").read_text())["val"]["all"]) >= {"accuracy", "macro_f1"}


def test_a_curriculum_is_not_made_ahead(start, tmp_path, capsys):
    call = ["--model", str(start), "--out", str(tmp_path), "--curriculum", "--wide", "--steps", "1"]
    assert grpo.main(call) == 2
    assert "Expected --curriculum on a CPU and without --wide" in capsys.readouterr().err


def test_a_checkpoint_is_carried_in_parts(start, tmp_path, monkeypatch):
    monkeypatch.setattr(carry, "PART", 400_000)
    carry.pack(start, tmp_path / "small")
    assert len(list(tmp_path.glob("small.*"))) > 1
    assert all(part.stat().st_size <= 400_000 for part in tmp_path.glob("small.*"))
    carry.join(tmp_path / "small", tmp_path / "joined")

    torch.testing.assert_close(weights(tmp_path / "joined"), weights(start), atol=1e-3, rtol=1e-3)


def test_what_is_packed_anew_leaves_no_part_of_a_longer_one(start, tmp_path, monkeypatch):
    monkeypatch.setattr(carry, "PART", 100_000)
    carry.pack(start, tmp_path / "small")
    assert len(list(tmp_path.glob("small.*"))) > 10
    monkeypatch.setattr(carry, "PART", 10_000_000)
    carry.pack(start, tmp_path / "small")

    assert [part.name for part in tmp_path.glob("small.*")] == ["small.0"]


def test_prompts_alone_ask_the_verifier_nothing(start):
    (example,) = Ahead(ROWS, start, answered=False).take(0, 1)
    (whole,) = Ahead(ROWS, start).take(0, 1)

    assert (LanguageModelling.answered, Supervised.answered, GRPO.answered) == (False, True, False)
    assert example.prompt.tolist() == whole.prompt.tolist()
    assert (len(example.answer), len(whole.answer) > 10) == (0, True)
