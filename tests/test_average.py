"""Weights between a checkpoint and one that was trained on from it, with what led to both."""

import pytest

from players.base import MARK
from players.prompt import user_text
from runs.provenance import commit
from schema import BadRequestError
from tasks.sets import load_set
from train.nano import average
from train.nano.checkpoint import history, read_record, save

pytest.importorskip("transformers", reason="transformers is not installed; the extra `train` brings it")
torch = pytest.importorskip("torch", reason="torch is not installed; the extra `train` brings it")

from train.nano.model import make, train_tokenizer  # noqa: E402 - needs torch

RUNS = [{"command": "python -m train.sft --model nano", "steps": 9}]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([user_text(row["observation"], "compact") for row in load_set("holdout").rows[:40]], 1000)


@pytest.fixture(scope="module")
def both(tokenizer, tmp_path_factory):
    """Two checkpoints with weights of their own."""
    root = tmp_path_factory.mktemp("checkpoints")
    for seed, name in ((1, "before"), (2, "after")):
        save(make("nano", tokenizer, seed=seed), tokenizer, root / name, about={"incidents": 10 * seed, "runs": RUNS})
    return root


def weights(path):
    from train.nano.checkpoint import Checkpoint

    return Checkpoint(path).model.state_dict()


def test_the_share_of_each_weight_is_the_later_checkpoints(both, tmp_path, capsys):
    out = tmp_path / "average"
    assert average.main([str(both / "before"), str(both / "after"), "--share", "0.7", "--out", str(out)]) == 0
    assert "0.7 of" in capsys.readouterr().out

    before, after, between = (weights(path) for path in (both / "before", both / "after", out))
    assert before.keys() == between.keys()
    for name, weight in between.items():
        torch.testing.assert_close(weight, 0.3 * before[name] + 0.7 * after[name])
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_it_says_what_led_to_it(both, tmp_path):
    out = tmp_path / "average"
    average.average(both / "before", both / "after", out, share=0.5, command="python -m train.nano.average")

    record = read_record(out / MARK)
    assert (record["method"], record["incidents"], record["commit"]) == ("average", 20, commit())
    assert [run["command"] for run in history(out)] == [RUNS[0]["command"], "python -m train.nano.average"]


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan"])
def test_a_share_outside_of_0_to_1_is_refused(both, tmp_path, capsys, share):
    call = [str(both / "before"), str(both / "after"), "--share", share, "--out", str(tmp_path / "average")]
    assert average.main(call) == 2
    assert "Expected 0 to 1 as --share" in capsys.readouterr().err


def test_what_is_there_is_kept(both):
    with pytest.raises(BadRequestError, match="give another --out"):
        average.average(both / "before", both / "after", both / "before", share=0.5)


def test_checkpoints_of_other_shapes_are_refused(both, tokenizer, tmp_path):
    save(make("mini", tokenizer, seed=1), tokenizer, tmp_path / "mini", about={})
    with pytest.raises(BadRequestError, match="two checkpoints of one model"):
        average.average(both / "before", tmp_path / "mini", tmp_path / "average", share=0.5)
    assert not (tmp_path / "average").exists()
