"""Self-play of chat models through TRL: two LoRA adapters, one a seat, on one base.

In a half of a round the base is loaded once. The seat that learns is the adapter `default` (TRL compares with where that one began); the defenders that an
attacker meets are further adapters on the same base, frozen, switched to while they answer. Both seats begin at new adapters, or at what `train.sft` made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from players.attackers.base import Brief, asked_in_turn
from players.attackers.chat import incident_question
from players.base import Density, Options
from players.incidents import read_craft
from players.local import LocalModel
from players.prompt import messages
from players.reply import parse
from players.weights import base_name, is_adapter, load_tokenizer
from runs.provenance import stable_seed
from schema import BadRequestError, Row
from train import hub
from train.attacks import attack_row
from train.command import LR_GRPO, close_run, is_complete, resolved
from train.data import drop_too_long, fresh, validation_rows
from train.deception import (
    ANSWERS,
    Crafted,
    Question,
    Step,
    Store,
    attack_figures,
    crafted,
    deception_reward,
    draw_opponent,
    without_repeats,
)
from train.grpo_trainer import TimedReward, accumulation, make_trainer
from train.monitor import Validation
from train.plan import Work, plan
from train.reward import reply_text
from train.rounds import Rounds, Seat

MEASURED = 20  # generated incidents whose lengths say how long one may be
OF_TRL = {  # what self-play leaves as `train.grpo` has it
    "backend": "trl",
    "full": False,
    "loss_type": "dr_grpo",
    "scale_rewards": "none",
    "epsilon": 0.2,
    "entropy_coef": 0.0,
    "use_vllm": False,
    "max_length": None,
    "eval_every": 0,
    "eval_tokens": None,
}


def chat_settings(args: argparse.Namespace) -> argparse.Namespace:
    """Return the settings of a run with what `train.grpo` has beside.

    Raises:
        BadRequestError: a step does not divide by what the device takes at once.
    """
    rates = {name: getattr(args, name) or LR_GRPO for name in ("attacker_lr", "defender_lr")}
    args = resolved(args, **OF_TRL, **rates)
    for groups in (args.briefs, args.groups):
        accumulation(resolved(args, groups=groups))
    return args


class ChatRounds(Rounds):
    """Self-play of chat models. Where its half ends, an adapter lies in a half's directory as `train.grpo` writes it."""

    prefix = "triage/"

    def start(self, seat: Seat) -> Path:
        """Return the adapter where a seat begins: the given one, or a new one of the base, which is written once."""
        given = self.args.attacker if seat == "attacker" else self.args.defender
        if given:
            return _of_base(Path(given), self.args.model, f"--{seat}")
        path = self.out / "start" / seat
        if not is_adapter(path):
            seed = self.args.seed + (seat == "defender")  # two seats, two adapters
            loaded = hub.load(self.args.model, resolved(self.args, seed=seed))
            aside = path.with_suffix(".new")
            shutil.rmtree(aside, ignore_errors=True)
            loaded.model.save_pretrained(str(aside))
            loaded.tokenizer.save_pretrained(str(aside))
            aside.rename(path)
        return path

    # ------------------------------------------------------------ the two halves
    def train_attacker(self, round_: int, out: Path, start: Path, rows: Callable[[int], Row], store: Store) -> None:
        args, paths = self.args, self.opponents(round_)
        half = self.half("attacker", start, groups=self.args.briefs, **self._rate("attacker"))

        def made(loaded: hub.Loaded) -> tuple[list[dict[str, Any]], Any, int]:
            longest = args.max_incident or incident_room(loaded.tokenizer, args.density)
            prompts = [
                {"prompt": incident_question(rows(place)["brief"], args.density), "place": place}
                for place in range(half.steps * half.groups)
            ]
            opponents = Opponents(
                loaded,
                paths,
                partial(draw_opponent, self.opponents_seed(round_), number=len(paths), wins=self.wins(round_)),
                self._options(loaded.tokenizer, temperature=1.0, seed=self.samples_seed(round_, "attacker")),
            )
            reward = DeceptionReward(opponents, rows, table=self.table, gated=self.gated, store=store)
            return prompts, reward, longest

        self._train(half, out, start, made)

    def train_defender(self, round_: int, out: Path, start: Path, rows: Callable[[int], Row]) -> None:
        args = self.args
        half = self.half("defender", start, **self._rate("defender"))

        def made(loaded: hub.Loaded) -> tuple[list[dict[str, Any]], Any, int]:
            longest = args.max_answer or hub.answer_room(loaded.tokenizer, args.density)
            prompts = [
                {
                    "prompt": messages(row["observation"], args.density),
                    "task": row["task"],
                    "seed": place,
                    "split": row["split"],
                }
                for place in range(half.steps * half.groups)
                for row in [rows(place)]
            ]
            reward = TimedReward(reward_table=args.reward_table, item=lambda task, place, split: rows(place))
            return prompts, reward, longest

        self._train(half, out, start, made)

    def _rate(self, seat: Seat) -> dict[str, float]:
        """Return the learning rate of a seat: none for one that is frozen and plays alone."""
        return {"lr": 0.0} if seat in self.without else {}

    def _train(self, half: argparse.Namespace, out: Path, start: Path, made: Callable[..., Any]) -> None:
        """Train a half with TRL from its last checkpoint on; one that is complete is left as it is."""
        from datasets import Dataset

        from train.trl_trainer import Watcher, evaluation_options, run

        record = self.command.open_run(out, self.argv, half)
        if is_complete(out, record):
            return
        loaded = hub.load(str(start), half)
        prompts, reward, longest = made(loaded)
        sizes = hub.lengths(loaded.tokenizer, [row["prompt"] for row in prompts])
        what = f"the context of {loaded.context} without {longest} for the answer"
        drop_too_long(
            prompts,
            [f"place {place}" for place in range(len(prompts))],
            sizes,
            loaded.context - longest,
            skip=False,
            what=what,
        )
        trainer = make_trainer(half, out, loaded, Dataset.from_list(prompts), longest, reward)
        watcher = Watcher(
            trainer, out, validation=Validation([]), options=evaluation_options(half, longest), reward=reward
        )
        run(watcher)
        close_run(out, record, steps=trainer.state.global_step)

    # ------------------------------------------------------------ evaluation
    def _options(self, tokenizer: Any, **more: Any) -> Options:
        args = self.args
        longest = args.max_answer or hub.answer_room(tokenizer, args.density)
        return Options(density=args.density, batch_size=args.eval_batch, max_tokens=longest, **more)

    def validate(self, model: Path) -> dict[str, Any]:
        """Ask a defender the incidents of `val` greedily."""
        args = self.args
        options = self._options(load_tokenizer(model))
        rows = validation_rows(args.seed, args.eval_n, self.tasks)
        return Validation(rows, args.reward_table).measure(LocalModel.open(model, options))


def _of_base(adapter: Path, base: str, flag: str) -> Path:
    """Return an adapter that stands on a base.

    Raises:
        BadRequestError: it is none, or stands on another.
    """
    if not is_adapter(adapter):
        raise BadRequestError(
            f"Expected a LoRA adapter as {flag} beside --model, and {str(adapter)!r} is none; give one that train.sft made."
        )
    named = base_name(adapter)
    if hub.local_directory(named).resolve() != hub.local_directory(base).resolve():
        raise BadRequestError(
            f"Expected an adapter of {base!r} as {flag}, and {str(adapter)!r} stands on {named!r}; give its base as --model."
        )
    return adapter


def incident_room(tokenizer: Any, density: Density) -> int:
    """Return the tokens that an incident gets: the longest of some generated ones in the density's form, and an eighth more."""
    rows = [attack_row(0, index) for index in range(MEASURED)]
    texts = [_texts(row, density)[1] for row in rows]
    return hub.room_for([len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]])


def _in_form(brief: Brief, lines: str, density: Density) -> str:
    return json.dumps(read_craft(lines, brief.context).content) if density == "full" else lines


# ---------------------------------------------------------------- the frozen defenders
class Opponents:
    """Defenders as frozen adapters on the base of the seat that learns.

    Args:
        loaded: the learning seat on the base.
        paths: of the defenders' adapters, generation after generation.
        draw: gives the generation that the incidents at a place are played against.
        options: how they are asked.
    """

    def __init__(self, loaded: hub.Loaded, paths: Sequence[Path], draw: Callable[[int], int], options: Options) -> None:
        self.model, self.tokenizer, self.draw, self.options = loaded.model, loaded.tokenizer, draw, options
        self.most, self.seed = loaded.context - options.max_tokens, options.seed
        for number, path in enumerate(paths):
            loaded.model.load_adapter(str(path), adapter_name=f"defender{number}", is_trainable=False)

    def ask(self, shown: Row) -> Question:
        """Return the question of an incident."""
        chat = messages(shown["observation"], self.options.density)
        (size,) = hub.lengths(self.tokenizer, [chat])
        return Question(chat, size)

    def answered(self, number: int, questions: Sequence[Question], place: int) -> list[list[str | None]]:
        """Return the actions of a defender's `ANSWERS` sampled answers to each question; training goes on as if nobody had asked."""
        import torch

        rows = [
            {"id": f"{place}-{index}-{time_}", "chat": question.prompt}
            for index, question in enumerate(questions)
            for time_ in range(ANSWERS)
        ]
        with self._switched(number), torch.random.fork_rng():
            player = LocalModel(self.model, self.tokenizer, self.options, question=lambda row: row["chat"])
            replies = player.answer(rows)
        actions = [(parse(reply.text).answer or {}).get("action") for reply in replies]
        return [actions[start : start + ANSWERS] for start in range(0, len(actions), ANSWERS)]

    @contextmanager
    def _switched(self, number: int) -> Iterator[None]:
        from trl.trainer.utils import use_adapter

        side, training = self.tokenizer.padding_side, self.model.training
        self.tokenizer.padding_side = "left"
        self.model.eval()
        try:
            with use_adapter(self.model, f"defender{number}"):
                yield
        finally:
            self.tokenizer.padding_side = side
            self.model.train(training)


# ---------------------------------------------------------------- the attacker's reward
class DeceptionReward:
    """A reward function for TRL's `reward_funcs`: what each incident of a step earns; `seconds` counts the time that it took.

    Args:
        opponents: who answers.
        rows: gives the row of a brief at a place of the stream.
        table: of rewards.
        gated: whether the gate is asked.
        store: is handed each step.
    """

    __name__ = "deception"

    def __init__(
        self,
        opponents: Opponents,
        rows: Callable[[int], Row],
        *,
        table: Any,
        gated: bool,
        store: Store,
    ) -> None:
        self.seconds = 0.0
        self._opponents, self._rows, self._table, self._gated = opponents, lru_cache(maxsize=64)(rows), table, gated
        self._store = store

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        *,
        place: Sequence[int],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Judge the incidents of a step, let a defender answer those that were admitted, and return the rewards."""
        began, rows = time.perf_counter(), [self._rows(index) for index in place]
        (group,) = without_repeats(
            [[self._crafted(row, reply_text(text)) for row, text in zip(rows, completions, strict=True)]]
        )
        opponent = self._opponents.draw(place[0])
        rights = self._rights(opponent, group, place[0])
        if log_metric:
            for name, value in attack_figures(place, group, rights).items():
                log_metric(name, value)
        self._store(Step(rows, group, rights, opponent, f"{self._opponents.seed}/{place[0]}"))
        self.seconds += time.perf_counter() - began
        return [
            deception_reward(one, right, on_target=one.truth == asked_in_turn(index), table=self._table)
            for index, one, right in zip(place, group, rights, strict=True)
        ]

    def _crafted(self, row: Row, text: str | None) -> Crafted:
        return crafted(row, text, gated=self._gated, ask=self._opponents.ask, most=self._opponents.most)

    def _rights(self, opponent: int, group: Sequence[Crafted], place: int) -> list[float | None]:
        asked = [(index, one.question) for index, one in enumerate(group) if one.question]
        answers = self._opponents.answered(opponent, [question for _, question in asked], place) if asked else []
        rights: list[float | None] = [None] * len(group)
        for (index, _), actions in zip(asked, answers, strict=True):
            rights[index] = statistics.fmean(action == group[index].truth for action in actions)
        return rights


# ---------------------------------------------------------------- what it costs
def planned(args: argparse.Namespace) -> str:
    """Write what the halves of all rounds cost, one seat after the other; the answers that attackers get stand as evaluations."""
    incidents = args.briefs * args.group_size
    steps = args.rounds * args.attacker_steps
    attacker = Work(steps, incidents, args.batch_size, sampled=True, checked=steps * incidents * ANSWERS)
    defender = Work(
        args.rounds * args.defender_steps,
        args.groups * args.group_size,
        args.batch_size,
        sampled=True,
        checked=args.rounds * args.eval_n,
    )
    briefs = [attack_row(0, index) for index in range(MEASURED)]
    rows = list(fresh(stable_seed(f"plan/{args.seed}"), number=MEASURED))
    return "\n\n".join(
        [
            plan("train.self_play, the attacker,", args, briefs, attacker, _texts),
            plan("train.self_play, the defender,", args, rows, defender),
        ]
    )


def _texts(row: Row, density: Density) -> tuple[hub.Messages, str]:
    return incident_question(row["brief"], density), _in_form(row["brief"], row["incident"], density)
