"""Self-play of chat models: real steps of both seats on a toy model, what they leave behind, and what is not done twice."""

import json

import pytest

from env import OpenSOCEnv
from players.weights import is_adapter
from schema import LABELS
from tests.test_self_play import own_incident
from toy_model import same
from train import self_play
from train.archive import checked_incidents

# others' deprecations are not ours
pytestmark = pytest.mark.filterwarnings("ignore")
FLAGS = "--density compact --briefs 2 --groups 2 --group-size 2 --batch-size 4 --max-answer 8 --eval-n 0 --seed 3"
STEPS = "--attacker-steps 1 --defender-steps 1 --lora-rank 4 --attacker-lr 0.01 --defender-lr 0.01"


@pytest.fixture(autouse=True)
def _small():
    pytest.importorskip("trl")
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def scripted(monkeypatch):
    """Let each group hold one reply that is taken and one that is not: an incident of the brief's world, or a triage; count the halves' steps."""
    from trl import GRPOTrainer

    seats = []

    def replies(self, prompt_ids, *args, **how):
        reward = self.reward_funcs[0]
        seats.append(reward.__name__)

        def text(place):
            if place % 2:
                return "nothing at all"
            if reward.__name__ == "deception":
                row = reward._rows(place // 2)
                return own_incident(row["brief"], row["salt"])
            return json.dumps({"action": LABELS[place], "cited_log_id": "L1-1", "rationale": "so"})

        ends = self.processing_class.eos_token_id
        return [[*self.processing_class.encode(text(place)), ends] for place in range(len(prompt_ids))], None

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", replies)
    return seats


def play(model, out, *flags):
    return self_play.main(
        ["--model", str(model), "--out", str(out), *FLAGS.split(), *STEPS.split(), "--max-incident", "900", *flags]
    )


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_both_seats_learn_round_after_round_and_no_half_is_done_twice(toy, tmp_path, scripted, capsys):
    assert play(toy, tmp_path, "--rounds", "1") == 0
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob("rounds/000-*/adapter_model.safetensors")}
    (tmp_path / "log.jsonl").write_text("")  # as if the end of the round had been cut off
    assert play(toy, tmp_path, "--rounds", "2") == 0

    assert scripted == ["deception", "triage"] * 2
    halves = [tmp_path / "rounds" / f"{round_:03d}-{seat}" for round_ in (0, 1) for seat in ("attacker", "defender")]
    adapters = [tmp_path / "start" / "attacker", tmp_path / "start" / "defender", *halves]
    assert not any(same(one, other) for place, one in enumerate(adapters) for other in adapters[:place])
    for half in halves:
        assert json.loads((half / "run.json").read_text())["complete"]
        assert not any(is_adapter(folder) for folder in half.iterdir() if folder.is_dir())
        assert json.loads((half / "adapter_config.json").read_text())["base_model_name_or_path"] == str(toy)
    assert first == {path: path.stat().st_mtime_ns for path in tmp_path.glob("rounds/000-*/adapter_model.safetensors")}

    lines = log_of(tmp_path)
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert line["attacker/admitted"] == line["attacker/unreadable"] == 0.5
        assert line["attacker/fooled"] == 1.0  # the toy writes no answer that can be read
        assert line["refusals"] == {"expected the claim, an action and a category, in the first line": 2}
        assert line["defender/format_ok"] == 0.5
        assert "attacker/kl" in line
        assert "defender/kl" in line
    incidents = checked_incidents(tmp_path / "incidents.jsonl", gated=True)
    assert [incident.round for incident in incidents] == [0, 0, 1, 1]
    assert {incident.opponent for incident in incidents} <= {0, 1}
    assert len((tmp_path / "holes.jsonl").read_text().splitlines()) == 4  # no answer to them was right


def test_a_frozen_defender_is_asked_without_a_trace_in_the_seat_that_learns(toy, tmp_path):
    import torch

    from train import hub
    from train.trl_self_play import ANSWERS, ChatRounds, Opponents, chat_settings

    args = self_play.COMMAND.parse(["--model", str(toy), "--out", str(tmp_path), *FLAGS.split(), *STEPS.split()])
    args = chat_settings(args)
    rounds = ChatRounds(self_play.COMMAND, args, [])
    loaded = hub.load(str(rounds.start("attacker")), args)
    options = rounds._options(loaded.tokenizer, temperature=1.0, seed=1)
    opponents = Opponents(loaded, [rounds.start("defender")], lambda place: 0, options)
    observation = OpenSOCEnv().reset(task="stage1_basic", seed=0, split="train").model_dump()
    question = opponents.ask({"observation": observation})
    trained = [name for name, weight in loaded.model.named_parameters() if weight.requires_grad]
    state = torch.get_rng_state()
    answers = opponents.answered(0, [question, question], 5)
    assert answers == opponents.answered(0, [question, question], 5)
    assert [len(group) for group in answers] == [ANSWERS, ANSWERS]
    assert bool((torch.get_rng_state() == state).all())
    assert loaded.model.active_adapter == "default"
    assert trained == [name for name, weight in loaded.model.named_parameters() if weight.requires_grad]
    assert all(".default." in name for name in trained)


def test_the_plan_says_what_both_seats_cost(toy, tmp_path, capsys):
    assert play(toy, tmp_path / "run", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "train.self_play, the attacker, on one L4; nothing was loaded" in printed
    assert "8 steps of 4 texts, and 128 prompts of evaluations" in printed
    assert "train.self_play, the defender, on one L4" in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--attacker", "a"], "Expected --attacker and --defender with checkpoints of small models, or --model"),
        (["--model", "TOY", "--anchor", "none"], "--anchor is of the plain loop alone"),
        (["--attacker", "a", "--defender", "b", "--lora-rank", "8"], "--lora-rank is of TRL alone"),
        (["--model", "TOY", "--attacker", "TOY", "--batch-size", "4"], "Expected a LoRA adapter as --attacker"),
        (["--model", "TOY", "--briefs", "3", "--group-size", "3"], "to be a multiple of --batch-size"),
    ],
)
def test_flags_that_do_not_fit_are_refused(toy, tmp_path, capsys, flags, reason):
    given = [str(toy) if flag == "TOY" else flag for flag in flags]
    assert self_play.main([*given, "--out", str(tmp_path / "run")]) == 2
    assert reason in " ".join(capsys.readouterr().err.split())
