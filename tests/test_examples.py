"""The loops for outside trainers run, are short, and learn from what the game pays."""

import re
from pathlib import Path

import pytest

from players.attackers import Options, open_attacker
from players.attackers.attempts import brief_of
from players.attackers.base import asked_in_turn
from schema import TASKS

FOLDER = Path(__file__).resolve().parent.parent / "adapters" / "examples"


@pytest.mark.parametrize("name", ["pettingzoo_loop", "trl_loop"])
def test_an_example_has_sixty_lines_at_most(name):
    assert len((FOLDER / f"{name}.py").read_text("utf-8").splitlines()) <= 60


def test_the_pettingzoo_loop_plays_its_rounds(capsys):
    pytest.importorskip("pettingzoo")
    from adapters.examples import pettingzoo_loop

    pettingzoo_loop.main(rounds=1, episodes=12)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(";")[0] for line in lines] == ["attacker_0 learns", "defender_0 learns"]
    assert all(re.search(r"attacker_0 [+-]\d\.\d{3}, defender_0 [+-]\d\.\d{3}$", line) for line in lines)


def test_a_policy_comes_to_prefer_what_pays_more_than_usual():
    pytest.importorskip("pettingzoo")
    from adapters.examples.pettingzoo_loop import Policy

    policy = Policy(3, reads=True)
    for _ in range(20):
        policy.learn("logon.failure after logon.failure", 2, 1.0)
        policy.learn("file.create somewhere", 1, 1.0)
        policy.learn("file.create somewhere", 2, -1.0)
    assert policy.odds("logon.failure")[0].argmax() == 2
    assert policy.odds("file.create somewhere")[0].argmax() == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # others' deprecations
def test_the_trl_loop_trains_both_seats_and_defends_what_was_written(tmp_path, monkeypatch):
    utils = pytest.importorskip("trl.trainer.utils")
    import torch
    from trl import GRPOTrainer

    from adapters.examples import trl_loop
    from toy_model import make_toy
    from train.trl_head import PlainHead

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", PlainHead)  # TRL's own is a kernel for GPUs

    torch.set_num_threads(1)
    briefs = [brief_of(TASKS[seed % 4], seed, asked=asked_in_turn(seed)) for seed in range(2)]
    written = [reply.text for reply in open_attacker("generator", Options()).craft(briefs)]
    asked = []

    def answers(trainer, prompts, *args, **how):
        words = trainer.processing_class
        texts = [words.decode(prompt) for prompt in prompts]
        asked.extend(texts)
        replies = [written[place % 2] if "You play the attacker" in text else "no" for place, text in enumerate(texts)]
        return [[*words.encode(reply), words.eos_token_id] for reply in replies], None

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", answers)
    toy = str(make_toy(tmp_path / "toy", context=1 << 15))
    settings = {"max_steps": 1, "num_generations": 2, "per_device_train_batch_size": 4, "use_cpu": True}
    trl_loop.main(toy, str(tmp_path / "out"), rounds=1, number=2, **settings)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["attacker-0", "defender-0"]
    assert (tmp_path / "out" / "defender-0" / "config.json").is_file()
    assert ["You play the attacker" in text for text in asked] == [True] * 4 + [False] * 4
