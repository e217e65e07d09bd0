"""The adapters: what their libraries ask of them, the environment's own rewards through each, and the page that shows them."""

import asyncio
import gc
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from env import Archive, OpenSOCEnv
from rubric import TABLES
from schema import LABELS, BadRequestError, TurnError
from verifier import judge_observation

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (.+?)$.*?^```python\n(.*?)^```", PAGE, re.M | re.S))
# others' deprecations are not ours; what concerns us is asserted
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def leftovers_go_now():
    """Inspect leaves streams open: they are collected while its warnings are ignored, not when the run ends."""
    gc.freeze()  # what a test before this one imported need not be searched again
    yield
    gc.collect()


def right_answer(observation):
    """The oracle's answer to an observation, as plain data."""
    truth = judge_observation(observation)
    return {"action": truth.action, "cited_log_id": truth.evidence_log_ids[0], "rationale": "by the playbook"}


def seen(task="stage1_basic", seed=0, split="train"):
    return OpenSOCEnv().reset(task=task, seed=seed, split=split).model_dump()


def paid(answer, *, table="standard", **where):
    """What the environment itself pays for the content of submit_triage."""
    env = OpenSOCEnv(reward_table=table)
    env.reset(**where)
    return env.step({"submit_triage": answer}).reward


# ---------------------------------------------------------------- without the libraries
@pytest.mark.parametrize(
    ("module", "hidden", "says"),
    [
        ("adapters.gym_env", "gymnasium", "pip install '.[gym]'"),
        ("adapters.pettingzoo_env", "pettingzoo", "pip install '.[pettingzoo]'"),
        ("adapters.pettingzoo_env", "gymnasium", "pip install '.[pettingzoo]'"),
        ("adapters.inspect_task", "inspect_ai", "pip install '.[inspect]'"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(module, hidden, says):
    code = f"import sys\nsys.modules[{hidden!r}] = None\ntry:\n    import {module}\nexcept ImportError as error:\n    print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("MissingExtraError ")
    assert hidden in done.stdout
    assert says in done.stdout


def test_rewards_need_no_trl_and_a_dataset_says_that_it_does(monkeypatch):
    from train import reward as trl_reward

    monkeypatch.setitem(sys.modules, "datasets", None)

    assert trl_reward.TriageReward()(completions=["{}"], task=["stage1_basic"], seed=[1]) == [-1.0]
    with pytest.raises(ImportError, match=re.escape("pip install '.[train]'")):
        trl_reward.dataset(1)


# ---------------------------------------------------------------- TRL
class TestTrl:
    @pytest.mark.parametrize("table", list(TABLES))
    @pytest.mark.parametrize("split", ["train", "test_family"])
    def test_a_reward_is_the_environments_for_every_action(self, table, split):
        from train.reward import TriageReward

        reward = TriageReward(reward_table=table)
        for seed in range(10):
            where = {"task": "stage3_mixed", "seed": seed, "split": split}
            cited = seen(**where)["alert"]["log_id"]
            answers = [{"action": action, "cited_log_id": cited, "rationale": ""} for action in LABELS]
            replies = [json.dumps(answer) for answer in answers]

            expected = [paid(answer, table=table, **where) for answer in answers]
            assert reward(["?"] * 5, replies, **{name: [value] * 5 for name, value in where.items()}) == expected
            assert expected.count(max(expected)) == 1

    @pytest.mark.parametrize(
        "shape",
        [
            lambda text: text,
            lambda text: [{"role": "assistant", "content": text}],
            lambda text: [{"role": "assistant", "content": "Let me see."}, {"role": "assistant", "content": text}],
            lambda text: [{"role": "assistant", "content": [{"type": "text", "text": text}]}],
            lambda text: {"role": "assistant", "content": text},
        ],
    )
    def test_plain_and_conversational_completions_score_alike(self, shape):
        from train.reward import TriageReward

        right = json.dumps(right_answer(seen(seed=7)))

        assert TriageReward()(["?"], [shape(right)], task=["stage1_basic"], seed=[7]) == [1.1]

    @pytest.mark.parametrize(
        "completion",
        [
            "",
            "   ",
            "escalate",
            "{",
            "null",
            "[]",
            '{"action": "panic", "cited_log_id": "L1-1", "rationale": ""}',
            '{"action": "monitor", "cited_log_id": "L9-99", "rationale": ""}',
            '{"action": ["monitor"], "cited_log_id": 1, "rationale": null}',
            '{"a":' * 5000,
            "\ud800\x00",
            None,
            17,
            1.5,
            b"{}",
            [],
            {},
            [[]],
            [None],
            ["text"],
            [{"role": "assistant"}],
            [{"role": "assistant", "content": None}],
            [{"role": "assistant", "content": [None, {"type": "text", "text": 3}]}],
            [{"role": "assistant", "content": "", "tool_calls": [{}]}],
            ...,
        ],
        ids=lambda completion: ascii(completion)[:30],
    )
    def test_what_cannot_be_read_is_scored_as_malformed_and_never_raises(self, completion):
        from train.reward import TriageReward

        for table in TABLES:
            reward = TriageReward(reward_table=table)
            assert reward(["?"], [completion], task=["stage1_basic"], seed=[0]) == [TABLES[table].malformed]

    def test_only_text_counts_as_a_reply(self):
        from train.reward import reply_text

        said = [reply_text(completion) for completion in (17, None, {"content": 3}, [], [{"content": "a"}], "b")]
        assert said == [None, None, None, "", "a", "b"]

    def test_components_and_what_was_wrong_are_logged(self):
        from train.reward import TriageReward

        metrics, columns = {}, {}
        right = json.dumps(right_answer(seen(seed=3)))
        rewards = TriageReward()(
            completions=[right, "no"],
            task=["stage1_basic"] * 2,
            seed=[3, 3],
            log_metric=metrics.__setitem__,
            log_extra=columns.__setitem__,
        )

        assert rewards == [1.1, -1.0]
        said = {f"triage/share/{action}": 0.5 if action == json.loads(right)["action"] else 0.0 for action in LABELS}
        assert metrics == pytest.approx(
            {
                "triage/decision": 0.5,
                "triage/citation": 0.05,
                "triage/format": -0.5,
                "triage/accuracy": 0.5,
                "triage/format_ok": 0.5,
                **said,
            }
        )
        assert columns["action"] == [json.loads(right)["action"], "malformed"]
        assert columns["feedback"][1].startswith("expected one JSON object")

    @pytest.mark.parametrize("columns", [{}, {"task": ["stage1_basic"]}, {"task": ["stage1_basic"], "seed": []}])
    def test_a_row_that_names_no_incident_is_an_error(self, columns):
        from train.reward import TriageReward

        with pytest.raises(BadRequestError, match="columns task and seed"):
            TriageReward()(completions=["{}"], **columns)

    def test_rows_show_what_the_environment_shows(self):
        from players.prompt import messages
        from train.reward import rows

        made = rows(3, task="stage4_adversarial", split="val", start=5)

        assert [(row["task"], row["seed"], row["split"]) for row in made] == [
            ("stage4_adversarial", seed, "val") for seed in (5, 6, 7)
        ]
        assert [row["prompt"] for row in made] == [
            messages(seen(task="stage4_adversarial", seed=seed, split="val")) for seed in (5, 6, 7)
        ]

    def test_a_tools_rows_ask_for_a_call_and_keep_the_playbook(self):
        from train.reward import rows

        [full] = rows(1, tool=True)
        [compact] = rows(1, tool=True, density="compact")

        assert "submit_triage" in full["prompt"][0]["content"]
        assert seen()["playbook"] in full["prompt"][0]["content"]
        assert len(compact["prompt"][0]["content"]) < 200
        assert full["prompt"][1] == rows(1)[0]["prompt"][1]

    def test_the_tool_pays_what_the_reward_function_pays(self):
        from train.reward import TriageReward, TriageTool

        tool, reward = TriageTool(), TriageReward()
        for seed in range(20):
            answer = {"action": LABELS[seed % 5], "cited_log_id": "L1-1", "rationale": "because"}
            tool.reset(prompt=[], task="stage2_multi", seed=seed, split="train")
            feedback = tool.submit_triage(**answer)

            assert [tool.get_reward()] == reward(completions=[json.dumps(answer)], task=["stage2_multi"], seed=[seed])
            assert feedback == f"The answer {answer['action']} was taken."

    def test_the_first_call_counts_and_none_is_malformed(self):
        from train.reward import TriageTool

        tool = TriageTool()
        tool.reset(task="stage1_basic", seed=1)
        answer = right_answer(seen(seed=1))
        tool.submit_triage("panic", "L1-1", "because")
        with pytest.raises(TurnError):
            tool.submit_triage(**answer)
        assert tool.get_reward() == tool.get_reward() == -1.0

        tool.reset(task="stage1_basic", seed=1)
        assert tool.get_reward() == -1.0
        tool.reset(task="stage1_basic", seed=1)
        tool.submit_triage(**answer)
        assert tool.get_reward() == 1.1


@pytest.fixture
def grpo(monkeypatch, tmp_path, capsys):
    """The page's example, run in an empty folder: its names, and what it printed as `printed`."""
    pytest.importorskip("trl")
    import torch
    import trl.trainer.utils

    from train.trl_head import PlainHead

    torch.set_num_threads(1)

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", PlainHead)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return run_example("TRL") | {"printed": capsys.readouterr().out}


def run_example(name):
    names = {"__name__": "example"}
    exec(compile(EXAMPLES[name], f"docs/adapters.md, {name}", "exec"), names)
    return names


def test_grpo_trains_on_both_rewards(grpo):
    """A toy model says nothing that can be read, so both pay -1; scripted replies then earn what they should."""
    from trl import GRPOTrainer

    assert re.findall(r"^mean reward (.*)$", grpo["printed"], re.M) == ["-1.0", "-1.0"]
    tokenizer, settings = grpo["tokenizer"], grpo["settings"]

    class Scripted(GRPOTrainer):
        """Says the right answer and a wrong one by turns, the first time; then nothing more."""

        def _generate_single_turn(self, prompt_ids, *args, **options):
            if len(prompt_ids) != 4 or options.get("num_generations") == 1:
                return [[tokenizer.eos_token_id] for _ in prompt_ids], None
            return [[*tokenizer.encode(reply), tokenizer.eos_token_id] for reply in self.script], None

    def trained(data, wrap, **how):
        model = grpo["Qwen2ForCausalLM"](grpo["config"])
        settings.max_completion_length = 600
        trainer = Scripted(model=model, args=settings, train_dataset=data, processing_class=tokenizer, **how)
        inputs = next(iter(trainer.get_train_dataloader()))
        answers = [right_answer(seen(seed=row["seed"])) for row in inputs]
        for answer in answers[::2]:
            answer["action"] = "dismiss" if answer["action"] != "dismiss" else "monitor"
        trainer.script = [wrap(answer) for answer in answers]
        trainer.train()
        expected = [
            paid(answer, table="hardened", seed=row["seed"]) for answer, row in zip(answers, inputs, strict=True)
        ]
        return trainer.state.log_history[0], expected

    logged, expected = trained(grpo["data"], json.dumps, reward_funcs=grpo["TriageReward"]())
    assert logged["reward"] == pytest.approx(sum(expected) / 4, abs=1e-5)
    assert logged["rewards/triage/mean"] == logged["reward"]
    assert logged["triage/decision"] + logged["triage/citation"] == pytest.approx(logged["reward"], abs=1e-5)
    assert logged["grad_norm"] > 0

    def call(answer):
        return f"<tool_call>\n{json.dumps({'name': 'submit_triage', 'arguments': answer})}\n</tool_call>"

    logged, expected = trained(grpo["tools"], call, environment_factory=grpo["TriageTool"])
    assert logged["rewards/TriageTool/mean"] == pytest.approx(sum(expected) / 4, abs=1e-5)
    assert logged["tools/call_frequency"] == 1.0
    assert logged["tools/failure_frequency"] == 0.0
    assert logged["grad_norm"] > 0


# ---------------------------------------------------------------- Gymnasium
@pytest.fixture
def gym_env():
    pytest.importorskip("gymnasium")
    from adapters import gym_env

    return gym_env


class TestGymnasium:
    @pytest.mark.parametrize("answers", ["menu", "text"])
    def test_check_env_passes_without_a_warning(self, gym_env, answers, recwarn):
        import gymnasium
        from gymnasium.utils.env_checker import check_env

        made = gymnasium.make("OpenSOC/Triage-v0", answers=answers, render_mode="ansi")
        check_env(made.unwrapped)

        assert [str(warning.message) for warning in recwarn] == []

    def test_it_plays_the_environments_incidents_for_its_rewards(self, gym_env):
        env = gym_env.TriageEnv(task="stage2_multi", split="val", reward_table="hardened", answers="text")
        for seed in range(20):
            text, info = env.reset(seed=seed)
            where = {"task": "stage2_multi", "split": "val", "seed": seed}
            answer = right_answer(seen(**where)) | {"action": LABELS[seed % 5]}
            closing, reward, terminated, truncated, after = env.step(json.dumps(answer))

            assert text == "\n\n".join(message["content"] for message in info["messages"])
            assert reward == paid(answer, table="hardened", **where)
            assert (terminated, truncated) == (True, False)
            assert after["grade"]["ground_truth"]["action"] in closing

    def test_the_menu_means_actions_and_lines(self, gym_env):
        env = gym_env.TriageEnv()
        for seed in range(20):
            _, info = env.reset(seed=seed)
            right = right_answer(seen(seed=seed))
            choice = {"action": LABELS.index(right["action"]), "cite": info["log_ids"].index(right["cited_log_id"])}
            assert env.step(choice)[1] == 1.1

    def test_a_line_that_is_not_there_is_masked_and_malformed(self, gym_env):
        env = gym_env.TriageEnv()
        _, info = env.reset(seed=0)
        lines = len(info["log_ids"])

        assert info["action_mask"]["cite"].tolist() == [1] * lines + [0] * (40 - lines)
        assert env.step({"action": 0, "cite": lines})[1] == TABLES["standard"].malformed

    @pytest.mark.parametrize("action", [None, 3, {}, {"action": 5, "cite": 0}, {"action": 0, "cite": 40}, "dismiss"])
    def test_an_action_outside_the_menu_is_an_error(self, gym_env, action):
        env = gym_env.TriageEnv()
        env.reset(seed=0)

        with pytest.raises(BadRequestError, match="expected an action in"):
            env.step(action)

    @pytest.mark.parametrize("reply", ["", "é\x00", None, 3, "{", "dismiss"])
    def test_any_reply_is_played(self, gym_env, reply):
        env = gym_env.TriageEnv(answers="text")
        env.reset(seed=0)

        assert env.step(reply)[1] == TABLES["standard"].malformed

    def test_seeds_draw_incidents_and_options_choose_them(self, gym_env):
        env = gym_env.TriageEnv()

        def drawn(seed):
            first, _ = env.reset(seed=seed)
            return [first, *(env.reset()[0] for _ in range(3))]

        assert drawn(1) == drawn(1)
        assert len({*drawn(1), *drawn(2)}) == 8
        chosen, _ = env.reset(options={"split": "val", "index": 7})
        assert chosen == gym_env.TriageEnv(task="stage4_adversarial", split="val").reset(seed=1)[0]

    def test_text_that_is_not_ascii_is_shown_escaped(self, gym_env):
        from adapters.spaces import reading, shown

        assert shown("é\t→\U0001f6e1 a\n") == "\\xe9\\t\\u2192\\U0001f6e1 a\n"
        assert reading().contains(shown("".join(map(chr, range(0x3000)))))

    def test_every_observation_lies_in_its_space(self, gym_env):
        for split in ("train", "test_family"):
            env = gym_env.TriageEnv(task="stage4_adversarial", split=split)
            for seed in range(40):
                assert env.observation_space.contains(env.reset(seed=seed)[0])
                assert env.observation_space.contains(env.step(env.action_space.sample())[0])

    def test_no_truth_is_shown_before_the_answer(self, gym_env):
        env = gym_env.TriageEnv(render_mode="ansi")
        text, info = env.reset(seed=0)

        assert env.render() == text
        assert set(info) == {"messages", "log_ids", "action_mask"}
        env.step({"action": 0, "cite": 0})
        assert env.render() != text

    def test_vector_environments_work(self, gym_env):
        import gymnasium

        envs = gymnasium.make_vec("OpenSOC/Triage-v0", num_envs=3, vectorization_mode="sync")
        texts, _ = envs.reset(seed=5)
        _, rewards, *_ = envs.step(envs.action_space.sample())

        assert list(texts) == [gym_env.TriageEnv().reset(seed=seed)[0] for seed in (5, 6, 7)]
        assert len(rewards) == 3

    def test_a_misspelt_option_of_reset_is_refused(self, gym_env):
        with pytest.raises(BadRequestError, match="Did you mean split"):
            gym_env.TriageEnv().reset(options={"spilt": "val"})

    @pytest.mark.parametrize("options", [{"answers": "speech"}, {"reward_table": "kind"}])
    def test_an_unknown_option_is_an_error(self, gym_env, options):
        with pytest.raises(BadRequestError, match="must be one of"):
            gym_env.TriageEnv(**options)


# ---------------------------------------------------------------- PettingZoo
@pytest.fixture
def zoo():
    pytest.importorskip("pettingzoo")
    from adapters import pettingzoo_env

    return pettingzoo_env


def played(game, seed, attack, answer):
    """An episode's rewards by agent: `attack` and `answer` make an action from the agent's space and info."""
    game.reset(seed=seed)
    earned = dict.fromkeys(game.possible_agents, 0.0)
    for agent in game.agent_iter():
        observation, reward, terminated, _, info = game.last()
        assert game.observation_space(agent).contains(observation)
        earned[agent] += reward
        mover = attack if agent == "attacker_0" else answer
        game.step(None if terminated else mover(game.action_space(agent), info))
    return earned, info["grade"]


def menu(**choice):
    return lambda space, info: {"target": 0, "edit": 0, "text": 0} | choice


def sampled(space, info):
    return space.sample(info.get("action_mask"))


class TestPettingZoo:
    @pytest.mark.parametrize("answers", ["menu", "text"])
    def test_the_librarys_own_tests_pass(self, zoo, answers, capsys, recwarn):
        from pettingzoo.test import api_test, seed_test

        api_test(zoo.env(answers=answers, render_mode="ansi"), num_cycles=100)
        seed_test(lambda: zoo.env(answers=answers))

        assert "Passed API test" in capsys.readouterr().out
        warned = {str(warning.message) for warning in recwarn}
        assert [text for text in warned if "spaces.box" not in text and "not a NumPy array" not in text] == []

    def test_sampled_actions_are_played_to_the_end_and_often_admitted(self, zoo):
        game = zoo.env(task="stage3_mixed")
        for agent in game.possible_agents:
            game.action_space(agent).seed(0)
        grades = [played(game, seed, sampled, sampled) for seed in range(90)]
        admitted = [grade for _, grade in grades if grade["ground_truth"]]

        assert 60 < len(admitted) < 90
        assert {grade["ground_truth"]["action"] for grade in admitted} == set(LABELS)

    def test_rewards_are_the_rubrics(self, zoo):
        game = zoo.env(task="stage2_multi", archive=Archive())
        for agent in game.possible_agents:
            game.action_space(agent).seed(1)
        seen_rewards = set()
        for seed in range(50):
            earned, grade = played(game, seed, sampled, sampled)
            rewards = grade["rewards"]
            assert earned == pytest.approx(
                {"attacker_0": rewards["attacker"], "defender_0": rewards["defender"] or 0.0}
            )
            seen_rewards.add(round(rewards["attacker"], 2))
        assert {0.0, 1.0} <= seen_rewards

    def test_a_right_defender_earns_the_most_and_the_attacker_novelty_at_best(self, zoo):
        game, turns = zoo.env(), 0
        for seed in range(30):
            choice = {"target": seed % 5, "edit": 0, "text": seed % 6}
            beside = OpenSOCEnv()
            beside.reset(seed=seed, mode="self_play")
            told = beside.step({"craft_incident": zoo.crafted(choice, "stage1_basic", seed, split="train")})
            game.reset(seed=seed)
            game.step(choice)
            assert game.rewards == {"attacker_0": told.reward, "defender_0": 0.0}
            if not told.done:
                right, turns = right_answer(told.model_dump()), turns + 1
                cite = game.infos["defender_0"]["log_ids"].index(right["cited_log_id"])
                game.step({"action": LABELS.index(right["action"]), "cite": cite})
                assert game.rewards == {"attacker_0": 0.0, "defender_0": 1.1}
        assert turns > 20

    def test_a_refused_incident_ends_the_episode(self, zoo):
        earned, grade = played(zoo.env(answers="text"), 0, lambda *_: "no JSON", sampled)

        assert earned == {"attacker_0": -0.5, "defender_0": 0.0}
        assert grade["ground_truth"] is None

    @pytest.mark.parametrize("text", ["", "{}", "[" * 50_000, None, 4, "null", '{"events": []}'])
    def test_no_text_of_an_attacker_breaks_it(self, zoo, text):
        earned, _ = played(zoo.env(answers="text"), 0, lambda *_: text, sampled)

        assert earned["attacker_0"] == -0.5

    def test_an_attacker_may_write_what_the_menu_offers(self, zoo):
        choice, deserved = {"target": 4, "edit": 0, "text": 0}, []
        for seed in range(10):
            incident = json.dumps(zoo.crafted(choice, "stage1_basic", seed, split="train"))
            by_text = played(zoo.env(answers="text"), seed, lambda *_, told=incident: told, lambda *_: "no")
            by_menu = played(zoo.env(), seed, menu(target=4), lambda space, info: {"action": 0, "cite": 39})

            assert by_text[0] == by_menu[0]
            assert by_text[0]["defender_0"] == -0.1
            assert by_text[1]["ground_truth"] == by_menu[1]["ground_truth"]
            deserved.append(by_text[1]["ground_truth"]["action"])
        assert "escalate" in deserved

    def test_every_edit_and_text_changes_some_incident(self, zoo):
        plain = menu()(None, None)
        for name, count in (("edit", len(zoo.EDITS)), ("text", 6), ("target", 5)):
            for choice in range(1, count):
                assert any(
                    zoo.crafted(plain | {name: choice}, "stage3_mixed", seed, split="train")
                    != zoo.crafted(plain, "stage3_mixed", seed, split="train")
                    for seed in range(5)
                ), (name, choice)

    def test_the_defender_sees_nothing_before_its_turn_and_nobody_the_truth(self, zoo):
        game = zoo.env()
        game.reset(seed=0)

        assert game.observe("defender_0") == {"text": ""}
        assert game.infos == {"attacker_0": {}, "defender_0": {}}
        game.step({"target": 4, "edit": 0, "text": 0})
        assert game.observe("attacker_0") == {"text": "The incident was admitted."}
        assert set(game.infos["defender_0"]) == {"messages", "log_ids", "action_mask"}


# ---------------------------------------------------------------- Inspect AI
@pytest.fixture
def inspect_task(monkeypatch, tmp_path):
    pytest.importorskip("inspect_ai")
    from adapters import inspect_task

    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path))
    return inspect_task


def evaluated(task, reply):
    """The scores' means by name, and the log, of a mock model whose reply is a function of what the user said."""
    import inspect_ai
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def say(messages, tools, choice, config):
        output = ModelOutput.from_content("mock", reply(messages[-1].text))
        output.usage = ModelUsage()  # otherwise the mock model counts tokens with a table from the network
        return output

    [log] = inspect_ai.eval(
        task, model=get_model("mockllm/model", custom_outputs=say), display="none", log_realtime=False
    )
    assert log.status == "success", log.error
    return {score.name: score.metrics["mean"].value for score in log.results.scores}, log


def frozen_row(seed, task="stage2_multi", split="val"):
    """An incident in the form of a frozen row."""
    observation = {name: seen(task, seed, split)[name] for name in ("alert", "log_window", "context")}
    truth = judge_observation(observation).to_dict()
    about = {"id": f"{split}-{task}-{seed}", "task": task, "split": split, "family": "none", "weight": 1.0}
    return {**about, "observation": observation, "ground_truth": truth}


@pytest.fixture
def rows(tmp_path):
    """Twenty rows, in a file too."""
    made = [frozen_row(seed) for seed in range(20)]
    (tmp_path / "twenty.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return made


class TestInspect:
    def test_a_constant_gets_its_known_figures_on_the_holdout(self, inspect_task):
        answer = json.dumps({"action": "dismiss", "cited_log_id": "L1-1", "rationale": ""})
        task = inspect_task.opensoc(density="compact")
        figures, log = evaluated(task, lambda said: answer)

        assert len(task.dataset) == 200
        assert figures["accuracy"] == pytest.approx(0.13)
        assert (figures["dismiss_on_malicious"], figures["format_ok"]) == (1.0, 1.0)
        [score] = [score for score in log.results.scores if score.name == "dismiss_on_malicious"]
        assert (score.scored_samples, score.unscored_samples) == (174, 26)

    @pytest.mark.parametrize("table", list(TABLES))
    def test_the_oracle_and_the_silent_get_theirs(self, inspect_task, rows, tmp_path, table):
        from players.prompt import user_text

        right = {user_text(row["observation"], "compact"): json.dumps(right_answer(row["observation"])) for row in rows}
        task = inspect_task.opensoc(str(tmp_path / "twenty.jsonl"), density="compact", reward_table=table)
        best, _ = evaluated(task, right.__getitem__)
        silent, log = evaluated(task, lambda said: "")

        names = ("accuracy", "reward", "dismiss_on_malicious", "format_ok", "answered")
        assert best == pytest.approx(dict(zip(names, (1.0, 1.1, 0.0, 1.0, 1.0), strict=True)))
        assert silent == pytest.approx(dict(zip(names, (0.0, TABLES[table].malformed, 0.0, 0.0, 1.0), strict=True)))
        assert log.samples[0].scores["verifier_scorer"].explanation.startswith("expected a reply")

    def test_a_request_that_fails_counts_as_no_answer(self, inspect_task, rows, tmp_path):
        replies = iter(range(20))

        def reply(said):
            if next(replies) % 4 == 3:
                raise RuntimeError("provider down")
            return '{"action": "dismiss", "cited_log_id": "L1-1", "rationale": "x"}'

        figures, log = evaluated(inspect_task.opensoc(str(tmp_path / "twenty.jsonl"), density="compact"), reply)

        assert (figures["answered"], figures["format_ok"]) == (0.75, 0.75)
        assert {score.name: score.scored_samples for score in log.results.scores}["accuracy"] == 20
        told = [sample.scores["verifier_scorer"].explanation for sample in log.samples]
        assert sum(text.startswith("the request failed: provider down") for text in told) == 5

    def test_the_benchmark_is_its_three_sets(self, inspect_task, monkeypatch, tmp_path, rows):
        from types import SimpleNamespace

        asked = []
        monkeypatch.setattr(
            inspect_task, "load_set", lambda name: asked.append(name) or SimpleNamespace(rows=[{**rows[0], "id": name}])
        )
        task = inspect_task.opensoc("benchmark")

        assert asked == ["test_seed", "test_family", "test_tactic"]
        assert [made.id for made in task.dataset] == asked

    @pytest.mark.parametrize("density", ["full", "compact"])
    def test_a_sample_holds_the_prompt_and_no_truth_in_it(self, inspect_task, rows, density):
        from players.prompt import messages

        made = inspect_task.sample(rows[0], density)
        asked = [{"role": part.role, "content": part.content} for part in made.input]

        assert asked == messages(rows[0]["observation"], density=density)
        assert made.target == rows[0]["ground_truth"]["action"]
        assert "ground_truth" not in made.metadata

    def test_a_reply_is_scored_as_the_environment_scores_it(self, inspect_task):
        from types import SimpleNamespace

        where = {"task": "stage3_mixed", "split": "val", "seed": 5}
        score = inspect_task.verifier_scorer("hardened")
        for reply in [*({"action": a, "cited_log_id": "L1-1", "rationale": ""} for a in LABELS), {}, None]:
            state = SimpleNamespace(
                metadata={"observation": seen(**where)},
                output=SimpleNamespace(completion=json.dumps(reply), error=None),
            )
            value = asyncio.run(score(state, None)).value
            assert value["reward"] == paid(reply, table="hardened", **where)
            assert math.isnan(value["dismiss_on_malicious"]) == (judge_observation(seen(**where)).action == "dismiss")

    def test_inspects_command_finds_the_task(self, inspect_task):
        command = [Path(sys.executable).with_name("inspect"), "list", "tasks", "adapters"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)

        assert "adapters/inspect_task.py@opensoc" in done.stdout, done.stderr

    def test_the_file_loads_by_its_path_alone(self, inspect_task, tmp_path):
        code = (
            f"import runpy; print(runpy.run_path({str(ROOT / 'adapters' / 'inspect_task.py')!r})['opensoc'].__name__)"
        )
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environ)

        assert done.stdout == "opensoc\n", done.stderr


# ---------------------------------------------------------------- the page
@pytest.mark.parametrize(
    ("name", "library"), [("Gymnasium", "gymnasium"), ("PettingZoo", "pettingzoo"), ("Inspect AI", "inspect_ai")]
)
def test_the_pages_example_runs(name, library, monkeypatch, tmp_path, capsys):
    pytest.importorskip(library)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    run_example(name)

    assert len(capsys.readouterr().out.split()) >= 4


def test_the_page_has_an_example_for_each_adapter_and_its_commands_are_extras():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert list(EXAMPLES) == ["TRL", "Gymnasium", "PettingZoo", "Inspect AI"]
    assert set(re.findall(r"'\.\[(\w+)\]'", PAGE)) == {"train", "gym", "pettingzoo", "inspect"} <= set(extras)
