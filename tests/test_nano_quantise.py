"""Putting a checkpoint on an 8-bit grid."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the extra `train` brings it")
pytest.importorskip("transformers", reason="transformers is not installed; the extra `train` brings it")
from players import codec  # noqa: E402
from train.nano import quantise  # noqa: E402
from train.nano.checkpoint import history, save  # noqa: E402
from train.nano.model import make, train_tokenizer  # noqa: E402

MARK = {"method": "grpo", "step": 7, "incidents": 112}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint of random weights as training leaves it."""
    from players.prompt import user_text
    from tasks.sets import load_set

    tokenizer = train_tokenizer(
        (user_text(row["observation"], "compact") for row in load_set("holdout").rows[:40]), 900
    )
    path = tmp_path_factory.mktemp("made") / "checkpoint"
    save(make("nano", tokenizer, seed=1), tokenizer, path, about=MARK)
    run = {"command": "python -m train.grpo --model nano", "commit": "c" * 40, "steps": 7, "incidents": 112}
    (path / "run.json").write_text(json.dumps({**run, "settings": {"model": "nano"}}))
    return path


def call(made, out, *more):
    return quantise.main([str(made), "--out", str(out), "--eval-n", "4", *more])


def figures(monkeypatch, before, after):
    """Let the comparison find these accuracies."""
    given = iter([before, after])
    found = lambda *_: {"val/accuracy": next(given), "val/macro_f1": 0.5}  # noqa: E731
    monkeypatch.setattr("train.nano.methods.measure", found)


def test_numbers_and_scales_make_up_a_row():
    matrix = torch.tensor([[1.27, -0.634, 0.0], [0.0, 0.0, 0.0], [-3.0, 1.0, 2.0]])

    numbers, scales = quantise.whole(matrix)

    assert numbers.tolist() == [[127, -63, 0], [0, 0, 0], [-127, 42, 85]]
    assert (numbers.dtype, tuple(scales.shape)) == (torch.int8, (3, 1))
    assert scales[[0, 2]].flatten().tolist() == pytest.approx([0.01, 3 / 127])
    assert torch.equal(numbers[1] * scales[1], torch.zeros(3))


def test_what_is_on_the_grid_stays():
    matrix = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    numbers, scales = quantise.whole(matrix)
    again, same = quantise.whole(numbers * scales)

    assert torch.equal(again, numbers)
    assert torch.allclose(same, scales, rtol=1e-6, atol=0)
    assert (matrix - numbers * scales).abs().max() <= scales.max() / 2 * (1 + 1e-5)


def test_a_rounded_checkpoint_is_one_like_any_other(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, "made")

    assert call("made", "eight") == 0

    model, _ = codec.load("eight")
    before = dict(codec.load("made")[0].named_parameters())
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            assert all(len(row.unique()) <= 255 for row in weight)
            assert not torch.equal(weight, before[name])
        else:
            assert torch.equal(weight, before[name])
    assert json.loads((tmp_path / "eight" / "opensoc.json").read_text()) == {**MARK, "rounded_to_bits": 8}
    run = json.loads((tmp_path / "eight" / "run.json").read_text())
    assert run["complete"]
    assert set(run["val"]) == {"n", "before", "after"}
    told = capsys.readouterr().out
    assert f"on 4 incidents of val, before and after: accuracy {run['val']['before']['accuracy']:.3f} and" in told
    commands = [one["command"] for one in history(tmp_path / "eight")]
    assert commands == [
        "python -m train.grpo --model nano",
        "python -m train.nano.quantise made --out eight --eval-n 4",
    ]

    assert call("made", "eight") == 0
    assert "is complete" in capsys.readouterr().err


@pytest.mark.parametrize(("after", "code"), [(0.49, 0), (0.489, 1), (0.6, 0)])
def test_it_may_lose_a_point(made, tmp_path, monkeypatch, capsys, after, code):
    figures(monkeypatch, 0.5, after)

    assert call(made, tmp_path / "eight") == code

    assert (tmp_path / "eight" / "model.safetensors").exists() == (code == 0)
    assert ("it is 1.1: nothing was written" in capsys.readouterr().err) == (code == 1)


@pytest.mark.parametrize(
    ("more", "told"),
    [(["--eval-n", "0"], "eval-n"), (["--threads", "-1"], "threads")],
)
def test_wrong_numbers_are_told(made, tmp_path, capsys, more, told):
    assert call(made, tmp_path / "eight", *more) == 2
    assert told in capsys.readouterr().err


def test_without_a_checkpoint_it_says_so(tmp_path, capsys):
    assert call(tmp_path / "none", tmp_path / "eight") == 2
    assert "Expected a checkpoint with config.json" in capsys.readouterr().err


def test_a_checkpoint_is_not_rounded_onto_itself(made, tmp_path, capsys):
    own = shutil.copytree(made, tmp_path / "own")
    kept = (own / "model.safetensors").read_bytes()

    assert call(own, own / ".") == 2

    assert "Expected another directory" in capsys.readouterr().err
    assert (own / "model.safetensors").read_bytes() == kept
