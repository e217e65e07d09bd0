"""Self-play of small models: both halves of a round by the plain loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from players.attackers.nano import IncidentCodec
from players.codec import PromptCodec, load
from runs.provenance import stable_seed
from train.attacks import attack_row
from train.data import labelled
from train.deception import Store
from train.nano.attacks import Deceive, Opponents
from train.nano.methods import BALANCE, ENTROPY, Method, measure, run_method, validation
from train.nano.objectives import GRPO, Objective
from train.rounds import Rounds, Seat

ANCHORS = 256  # generated incidents that the attacker's seat learns beside


class SmallRounds(Rounds):
    """Self-play of small models, each seat with a checkpoint of its own."""

    def start(self, seat: Seat) -> Path:
        return Path(self.args.attacker if seat == "attacker" else self.args.defender)

    def train_attacker(self, round_: int, out: Path, start: Path, rows: Any, store: Store) -> None:
        objective = partial(self._deceive, round_, start, rows, store)
        method = Method(
            "self-play of the attacker", partial(load, start), rows, objective, self.args.briefs, codec=IncidentCodec
        )
        run_method(self.command, self.half("attacker", start), self.argv, out, method)

    def _deceive(self, round_: int, start: Path, rows: Any, store: Store) -> Objective:
        args = self.args
        models = [load(path) for path in self.opponents(round_)]
        frozen = [model.requires_grad_(False).to(args.device) for model, _ in models]
        stream = stable_seed(f"anchors/{args.seed}")
        return Deceive(
            opponents=Opponents(PromptCodec(models[0][1]), frozen, self.wins(round_), self.opponents_seed(round_)),
            store=store,
            rows=rows,
            gated=self.gated,
            learns="attacker" not in self.without,
            table=self.table,
            anchor=[attack_row(stream, index, tasks=self.tasks) for index in range(ANCHORS)],
            reference=self._reference(start),
            kl=args.kl_coef,
            group=args.group_size,
            temperature=args.temperature,
            seed=self.samples_seed(round_, "attacker"),
        )

    def _reference(self, start: Path) -> Any:
        return load(start)[0].requires_grad_(False).to(self.args.device) if self.args.kl_coef else None

    def train_defender(self, round_: int, out: Path, start: Path, rows: Any) -> None:
        objective = partial(self._protect, round_, start)
        method = Method("self-play of the defender", partial(load, start), rows, objective, self.args.groups)
        run_method(self.command, self.half("defender", start), self.argv, out, method)

    def _protect(self, round_: int, start: Path) -> Objective:
        args = self.args
        return GRPO(
            anchor=[] if args.anchor == "none" else labelled(args.anchor),
            reference=self._reference(start),
            kl=args.kl_coef,
            entropy=ENTROPY,
            balance=BALANCE,
            steps=args.steps_coef,
            table=args.reward_table,
            group=args.group_size,
            temperature=args.temperature,
            seed=self.samples_seed(round_, "defender"),
        )

    def validate(self, model: Path) -> dict[str, Any]:
        weights, tokenizer = load(model)
        return measure(validation(self.args), self.args.threads, weights.to(self.args.device), tokenizer)
