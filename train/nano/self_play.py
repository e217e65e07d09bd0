"""Self-play of small models: rounds of the attacker's GRPO against frozen defenders, then of the defender's against the archive.

A run's directory has a directory for each half of a round (`rounds/000-attacker`, `rounds/000-defender`: checkpoint, log, settings), incidents.jsonl with
what attackers wrote, holes.jsonl with what looks like a fault of the verifier, and log.jsonl with a line for each round. The same command goes on where it
was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from players.attackers.nano import IncidentCodec
from players.codec import PromptCodec, load
from runs.files import JsonLines
from runs.provenance import stable_seed
from train.archive import INCIDENTS, IncidentArchive, StoredIncident, mixed_row, read_incidents
from train.attacks import attack_row
from train.command import Command, close_run, resolved, tasks_of
from train.data import labelled
from train.log import Log
from train.nano.attacks import Deceive, Opponents, brief_row
from train.nano.methods import BALANCE, ENTROPY, Method, measure, run_method, validation
from train.nano.objectives import GRPO, Objective

ANCHORS = 256  # generated incidents that the attacker's seat learns beside
RECENT = 2  # rounds whose games say how hard a defender is
HOLES, LOG = "holes.jsonl", "log.jsonl"
OF_ATTACKER = (
    *("reward", "admitted", "unreadable", "on_target", "fooled", "novel", "distinct", "entropy", "kl"),
    *("truth/dismiss", "truth/monitor", "truth/quarantine_host", "truth/block_ip", "truth/escalate"),
)
OF_DEFENDER = ("reward", "accuracy", "faithful", "format_ok", "frac_reward_zero_std", "entropy", "kl")


class _Run:
    """A run of self-play in its directory."""

    def __init__(self, command: Command, args: argparse.Namespace, argv: Sequence[str]) -> None:
        self.command, self.args, self.argv, self.out = command, args, argv, Path(args.out)
        self.without = args.without.split(",")
        self.tasks = tasks_of(args.tasks, "--tasks")
        self.archive = IncidentArchive(self.out / INCIDENTS)
        self.log = Log(self.out / LOG)

    def path(self, round_: int, seat: str) -> Path:
        """Return the model of a seat after so many rounds; before the first, where it began."""
        if round_ < 0:
            return Path(self.args.attacker if seat == "attacker" else self.args.defender)
        return self.out / "rounds" / f"{round_:03d}-{seat}"

    def trained(self, round_: int, seat: str) -> Path:
        """Return the newest model of a seat at a round: the start where the seat is frozen."""
        return self.path(-1 if seat in self.without else round_, seat)

    # ------------------------------------------------------------ the attacker's half
    def attack(self, round_: int) -> None:
        """Let the attacker play against frozen defenders, and learn."""
        args = self.args
        start = self.trained(round_ - 1, "attacker")
        rows = partial(brief_row, f"self-play/{args.seed}/{round_}", self.tasks, "train")
        known = {(incident.round, incident.seed) for incident in read_incidents(self.out / INCIDENTS)}
        refusals: Counter[str] = Counter()

        def store(incidents: Sequence[StoredIncident], holes: Sequence[dict[str, Any]], kinds: Counter[str]) -> None:
            refusals.update(kinds)
            self.archive.add(incident for incident in incidents if (incident.round, incident.seed) not in known)
            JsonLines(self.out / HOLES).append(holes)

        how = {"attacker_phase": True, "model": str(start), "lr": args.attacker_lr}
        half = resolved(args, **how, steps=args.attacker_steps, minutes=args.attacker_minutes)
        objective = partial(self._deceive, round_, start, rows, store)
        method = Method(
            "self-play of the attacker", partial(load, start), rows, objective, args.briefs, codec=IncidentCodec
        )
        out = self.path(round_, "attacker")
        run_method(self.command, half, self.argv, out, method)
        if refusals:
            (out / "refusals.json").write_text(json.dumps(dict(refusals.most_common(40)), indent=1), "utf-8")

    def _deceive(self, round_: int, start: Path, rows: Any, store: Any) -> Objective:
        args = self.args
        generations = range(-1, round_) if "archive" not in self.without else [round_ - 1]
        paths = list(dict.fromkeys(self.trained(generation, "defender") for generation in generations))
        models = [load(path) for path in paths]
        frozen = [model.requires_grad_(False).to(args.device) for model, _ in models]
        wins = self._wins(round_)
        opponents = Opponents(
            PromptCodec(models[0][1]),
            frozen,
            [wins.get(number) for number in range(len(frozen))],
            stable_seed(f"opponents/{args.seed}/{round_}"),
        )
        stream = stable_seed(f"anchors/{args.seed}")
        return Deceive(
            opponents=opponents,
            store=store,
            round_=round_,
            rows=rows,
            gated="gate" not in self.without,
            learns="attacker" not in self.without,
            table="standard" if "learnability" in self.without else args.reward_table,
            anchor=[attack_row(stream, index, tasks=self.tasks) for index in range(ANCHORS)],
            reference=load(start)[0].requires_grad_(False).to(args.device) if args.kl_coef else None,
            kl=args.kl_coef,
            group=args.group_size,
            temperature=args.temperature,
            seed=stable_seed(f"samples/{args.seed}/{round_}/attacker"),
        )

    def _wins(self, round_: int) -> Mapping[int, float]:
        """Return the share of fooled answers of each opponent in the last rounds."""
        games = defaultdict(list)
        for incident in read_incidents(self.out / INCIDENTS):
            if round_ - RECENT <= incident.round < round_:
                games[incident.opponent].append(1 - incident.rights / incident.times)
        return {opponent: statistics.fmean(shares) for opponent, shares in games.items()}

    # ------------------------------------------------------------ the defender's half
    def defend(self, round_: int) -> None:
        """Let the defender learn from the archive and from generated incidents."""
        args, out = self.args, self.path(round_, "defender")
        if "defender" in self.without:
            return
        start = self.trained(round_ - 1, "defender")
        stream = stable_seed(f"self-play/{args.seed}/{round_}/defender")
        rows = partial(mixed_row, self._snapshot(round_, out), stream, args.generated, tuple(self.tasks))
        half = resolved(
            args,
            attacker_phase=False,
            model=str(start),
            lr=args.defender_lr,
            steps=args.defender_steps,
            minutes=args.defender_minutes,
        )
        method = Method(
            "self-play of the defender", partial(load, start), rows, partial(self._protect, round_, start), args.groups
        )
        run_method(self.command, half, self.argv, out, method)

    def _snapshot(self, round_: int, out: Path) -> Path:
        """Copy the archive as it stands now, so that a resumed half draws the same rows."""
        path = out / INCIDENTS
        if not path.exists():
            out.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".new")
            if "archive" in self.without:
                first, *rows = JsonLines(self.out / INCIDENTS).read()
                JsonLines(aside).append([first, *(row for row in rows if row["round"] == round_)])
            else:
                shutil.copyfile(self.out / INCIDENTS, aside)
            aside.rename(path)
        return path

    def _protect(self, round_: int, start: Path) -> Objective:
        args = self.args
        return GRPO(
            anchor=[] if args.anchor == "none" else labelled(args.anchor),
            reference=load(start)[0].requires_grad_(False).to(args.device) if args.kl_coef else None,
            kl=args.kl_coef,
            entropy=ENTROPY,
            balance=BALANCE,
            steps=args.steps_coef,
            table=args.reward_table,
            group=args.group_size,
            temperature=args.temperature,
            seed=stable_seed(f"samples/{args.seed}/{round_}/defender"),
        )

    # ------------------------------------------------------------ a round's line
    def report(self, round_: int) -> dict[str, Any]:
        """Return what a round's line says: means over the halves, and the defender's figures on `val`."""
        line: dict[str, Any] = {"step": round_ + 1}
        for seat, names in (("attacker", OF_ATTACKER), ("defender", OF_DEFENDER)):
            steps = list(Log(self.path(round_, seat) / LOG).lines())
            for name in names:
                if values := [step[name] for step in steps if name in step]:
                    line[f"{seat}/{name}"] = round(statistics.fmean(values), 5)
        written = [incident for incident in read_incidents(self.out / INCIDENTS) if incident.round == round_]
        line["attacker/plays"] = len({incident.play for incident in written})
        line["attacker/stored"] = len(written)
        line["wins"] = {str(opponent): round(share, 4) for opponent, share in self._wins(round_ + 1).items()}
        refusals = self.path(round_, "attacker") / "refusals.json"
        if refusals.exists():
            line["refusals"] = json.loads(refusals.read_text("utf-8"))
        if self.args.eval_n:
            model, tokenizer = load(self.trained(round_, "defender"))
            line |= measure(validation(self.args), self.args.threads, model.to(self.args.device), tokenizer)
        return line


def self_play(command: Command, args: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Play so many rounds, or go on with them, and return the run's directory.

    Raises:
        OpenSOCError: a wrong call, or training stopped.
        KeyboardInterrupt: it was asked to stop, and saved.
    """
    record = command.open_run(args.out, argv, args, fresh=args.fresh)
    run = _Run(command, args, argv)
    done = max((int(line["step"]) for line in run.log.lines()), default=0)
    for round_ in range(done, args.rounds):
        run.attack(round_)
        run.defend(round_)
        line = run.report(round_)
        run.log.add(line)
        print(f"round {round_ + 1} of {args.rounds}: {_note(line)}", flush=True)
    close_run(args.out, record, rounds=args.rounds)
    return Path(args.out)


def _note(line: Mapping[str, Any]) -> str:
    names = (
        "attacker/admitted",
        "attacker/fooled",
        "attacker/plays",
        "defender/accuracy",
        "val/accuracy",
        "val/macro_f1",
    )
    return ", ".join(f"{name} {line[name]:.3g}" for name in names if name in line)
