"""Self-play in TRL, in each round the attacker's GRPO and then the defender's: `main("out/sft", "out/loop")` begins with a chat model's directory."""

from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from generator import generate
from players import Options, open_player
from players.attackers.attempts import attempt, brief_of
from players.attackers.base import asked_in_turn
from players.attackers.chat import incident_question
from players.prompt import messages
from players.scoring import score_reply
from rubric import TABLES, reward_of, score_attacker
from scenario import item_of, judged_item
from schema import TASKS


def learn(model: str, out: str, prompts: list[Any], reward: Any, **settings: Any) -> str:
    """Train by GRPO on the prompts, whose numbers the reward gets as `row`, and return where the model is."""
    args = GRPOConfig(output_dir=out, report_to=[], save_strategy="no", **settings)
    rows = Dataset.from_list([{"prompt": prompt, "row": row} for row, prompt in enumerate(prompts)])
    trainer = GRPOTrainer(model=model, reward_funcs=reward, args=args, train_dataset=rows)
    trainer.train()
    trainer.save_model(out)
    return out


def main(model: str, out: str, rounds: int = 4, number: int = 256, longest: int = 2048, **settings: Any) -> None:
    """Play rounds of so many briefs, and of so many attacks beside as many generated incidents."""
    attacker, defender, archive = model, model, list[dict[str, Any]]()

    def attack(completions: Any, row: Any, **_: Any) -> list[float]:
        attempts = [attempt(briefs[index], chat[-1]["content"]) for index, chat in zip(row, completions, strict=True)]
        written = {index: judged_item(made.scenario) for index, made in enumerate(attempts) if made.scenario}
        answers = frozen.answer([attempts[index].row for index in written])
        pairs = zip(written.items(), answers, strict=True)
        fooled = {index: not score_reply(answer.text, item).right for (index, item), answer in pairs}
        archive.extend(written.values())
        turns = [attempted.turn(fooled=fooled.get(index)) for index, attempted in enumerate(attempts)]
        return [reward_of(score_attacker(turn, TABLES["standard"])) for turn in turns]

    def defend(completions: Any, row: Any, **_: Any) -> list[float]:
        pairs = zip(completions, row, strict=True)
        return [score_reply(chat[-1]["content"], items[index], "hardened").reward for chat, index in pairs]

    for first in range(0, rounds * number, number):
        briefs = [brief_of(TASKS[seed % 4], seed, asked=asked_in_turn(seed)) for seed in range(first, first + number)]
        frozen = open_player(defender, Options(density="legend"))
        asked = [incident_question(brief, "legend") for brief in briefs]
        attacker = learn(attacker, f"{out}/attacker-{first}", asked, attack, max_completion_length=longest, **settings)
        items = [*archive[-number:], *(item_of(generate(brief.task, brief.seed)) for brief in briefs)]
        asked = [messages(item["observation"], "legend") for item in items]
        defender = learn(defender, f"{out}/defender-{first}", asked, defend, max_completion_length=512, **settings)
