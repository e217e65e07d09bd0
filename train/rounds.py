"""Rounds of self-play: the attacker's half against frozen defenders, then the defender's against the archive, whatever the models are.

A run's directory has a directory for each half of a round (`rounds/000-attacker`, `rounds/000-defender`: checkpoint, log, settings), incidents.jsonl with
what attackers wrote, holes.jsonl with what looks like a fault of the verifier, and log.jsonl with a line for each round. The same command goes on where it
was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal

from runs.files import JsonLines, write_json
from runs.provenance import stable_seed
from schema import BadRequestError, Row
from train.archive import (
    INCIDENTS,
    IncidentArchive,
    StoredIncident,
    checked_incidents,
    mixed_row,
    read_incidents,
)
from train.attacks import brief_row
from train.command import Command, close_run, resolved, tasks_of
from train.deception import ANSWERS, Crafted, Step, Store
from train.log import Log

Seat = Literal["attacker", "defender"]
STORED = 48  # incidents of a step that are kept
NO_CHANCE = "no answer was right: does the window say what decides?"
RECENT = 2  # rounds whose games say how hard a defender is
HOLES, LOG, REFUSALS = "holes.jsonl", "log.jsonl", "refusals.json"
OF_ATTACKER = (
    *("reward", "admitted", "unreadable", "on_target", "fooled", "novel", "distinct", "entropy", "kl"),
    *("truth/dismiss", "truth/monitor", "truth/quarantine_host", "truth/block_ip", "truth/escalate"),
)
OF_DEFENDER = ("reward", "accuracy", "faithful", "format_ok", "frac_reward_zero_std", "entropy", "kl")


class Rounds(ABC):
    """A run of self-play in its directory."""

    prefix: ClassVar[str] = ""  # of the defender's figures in its half's log

    def __init__(self, command: Command, args: argparse.Namespace, argv: Sequence[str]) -> None:
        self.command, self.args, self.argv, self.out = command, args, argv, Path(args.out)
        self.without = args.without.split(",")
        self.tasks = tasks_of(args.tasks, "--tasks")
        self.gated = "gate" not in self.without
        self.archive = IncidentArchive(self.out / INCIDENTS, gated=self.gated)
        self.log = Log(self.out / LOG)
        self.table = "standard" if "learnability" in self.without else args.reward_table  # of the attacker

    @classmethod
    def play(cls, command: Command, args: argparse.Namespace, argv: Sequence[str]) -> Path:
        """Play so many rounds, or go on with them, and return the run's directory.

        Raises:
            OpenSOCError: a wrong call, or training stopped.
            KeyboardInterrupt: it was asked to stop, and saved.
        """
        record = command.open_run(args.out, argv, args, fresh=args.fresh)
        run = cls(command, args, argv)
        run.tell_losses()
        done = max((int(line["step"]) for line in run.log.lines()), default=0)
        for round_ in range(done, args.rounds):
            run.attack(round_)
            run.defend(round_)
            line = run.report(round_)
            run.log.add(line)
            print(f"round {round_ + 1} of {args.rounds}: {_note(line)}", flush=True)
        close_run(args.out, record, rounds=args.rounds)
        return Path(args.out)

    def tell_losses(self) -> None:
        """Say on stderr of which rounds the archive holds fewer incidents than the log counted."""
        for line in self.log.lines():
            round_, stored = int(line["step"]) - 1, line.get("attacker/stored", 0)
            if (left := self.archive.rounds[round_]) < stored:
                print(
                    f"Of the {stored} incidents of round {round_ + 1}, {INCIDENTS} holds {left}: the others are gone. The run goes on without them; "
                    "to keep them, stop it and put the file back.",
                    file=sys.stderr,
                )

    @abstractmethod
    def start(self, seat: Seat) -> Path:
        """Return the model where a seat begins."""

    @abstractmethod
    def train_attacker(self, round_: int, out: Path, start: Path, rows: Any, store: Store) -> None:
        """Train the attacker's half into a directory, or resume it, on rows of `brief_row`."""

    @abstractmethod
    def train_defender(self, round_: int, out: Path, start: Path, rows: Any) -> None:
        """Train the defender's half into a directory, or resume it, on rows of `mixed_row`."""

    @abstractmethod
    def validate(self, model: Path) -> dict[str, Any]:
        """Return a defender's figures on `val`."""

    def path(self, round_: int, seat: Seat) -> Path:
        """Return the model of a seat after so many rounds; before the first, where it began."""
        return self.start(seat) if round_ < 0 else self.out / "rounds" / f"{round_:03d}-{seat}"

    def trained(self, round_: int, seat: Seat) -> Path:
        """Return the newest model of a seat at a round: the start where the seat is frozen."""
        return self.path(-1 if seat in self.without else round_, seat)

    # ------------------------------------------------------------ the attacker's half
    def attack(self, round_: int) -> None:
        """Let the attacker play against frozen defenders, and learn."""
        out = self.path(round_, "attacker")
        rows = partial(brief_row, f"self-play/{self.args.seed}/{round_}", self.tasks, "train")
        known = {(incident.round, incident.seed) for incident in read_incidents(self.out / INCIDENTS)}
        refusals: Counter[str] = Counter()

        def store(step: Step) -> None:
            """Keep some of the incidents, what looks like a hole, and the refusals by kind."""
            games = [
                (self._stored(round_, step.opponent, row, one, right), one.hole)
                for row, one, right in zip(step.rows, step.group, step.rights, strict=True)
                if right is not None
            ]
            chosen = Random(step.chance).sample(games, min(STORED, len(games)))
            holes = [game for game in games if game[1]]
            holes += [(incident, NO_CHANCE) for incident, hole in chosen if not incident.rights and not hole]
            refusals.update(one.refusal for one in step.group if one.refusal)
            JsonLines(self.out / HOLES).append([incident.model_dump() | {"hole": hole} for incident, hole in holes])
            self.archive.add(incident for incident, _ in chosen if (incident.round, incident.seed) not in known)

        self.train_attacker(round_, out, self.trained(round_ - 1, "attacker"), rows, store)
        if refusals:
            write_json(out / REFUSALS, dict(refusals.most_common(40)))

    def _stored(self, round_: int, opponent: int, row: Row, one: Crafted, right: float) -> StoredIncident:
        brief = row["brief"]
        assert one.truth is not None, "what a defender was asked about has a truth"
        return StoredIncident(
            round=round_,
            opponent=opponent,
            task=brief.task,
            seed=brief.seed,
            split=brief.split,
            salt=row["salt"],
            asked=brief.asked,
            content=one.content,
            truth=one.truth,
            play=one.play,
            rights=round(right * ANSWERS),
            times=ANSWERS,
            gated=self.gated,
        )

    def opponents(self, round_: int) -> list[Path]:
        """Return the defenders that a round's attacker may meet, generation after generation."""
        generations = range(-1, round_) if "archive" not in self.without else [round_ - 1]
        return list(dict.fromkeys(self.trained(generation, "defender") for generation in generations))

    def opponents_seed(self, round_: int) -> int:
        """Return the seed of a round's draws of opponents."""
        return stable_seed(f"opponents/{self.args.seed}/{round_}")

    def samples_seed(self, round_: int, seat: Seat) -> int:
        """Return the seed of a half's samples."""
        return stable_seed(f"samples/{self.args.seed}/{round_}/{seat}")

    def half(self, seat: Seat, start: Path, **more: Any) -> argparse.Namespace:
        """Return the settings of a seat's half."""
        given = vars(self.args)
        named = {name: given[f"{seat}_{name}"] for name in ("lr", "steps", "minutes") if f"{seat}_{name}" in given}
        return resolved(self.args, attacker_phase=seat == "attacker", model=str(start), **(named | more))

    def wins(self, round_: int) -> Mapping[int, float]:
        """Return the share of fooled answers of each opponent in the last rounds."""
        games = defaultdict(list)
        for incident in read_incidents(self.out / INCIDENTS):
            if round_ - RECENT <= incident.round < round_:
                games[incident.opponent].append(1 - incident.rights / incident.times)
        return {opponent: statistics.fmean(shares) for opponent, shares in games.items()}

    # ------------------------------------------------------------ the defender's half
    def defend(self, round_: int) -> None:
        """Let the defender learn from the archive and from generated incidents."""
        out = self.path(round_, "defender")
        if "defender" in self.without:
            return
        stream = stable_seed(f"self-play/{self.args.seed}/{round_}/defender")
        rows = partial(mixed_row, self._snapshot(round_, out), stream, self.args.generated, tuple(self.tasks))
        self.train_defender(round_, out, self.trained(round_ - 1, "defender"), rows)

    def _snapshot(self, round_: int, out: Path) -> Path:
        """Copy the archive as it stands now, so that a resumed half draws the same rows; one that is there is judged anew."""
        path = out / INCIDENTS
        if path.exists():
            checked_incidents(path, gated=self.gated)
        else:
            out.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".new")
            if "archive" in self.without:
                first, *rows = JsonLines(self.out / INCIDENTS).read()
                JsonLines(aside).append([first, *(row for row in rows if row["round"] == round_)])
            else:
                shutil.copyfile(self.out / INCIDENTS, aside)
            aside.rename(path)
        return path

    # ------------------------------------------------------------ a round's line
    def report(self, round_: int) -> dict[str, Any]:
        """Return what a round's line says: means over the halves, and the defender's figures on `val`."""
        line: dict[str, Any] = {"step": round_ + 1}
        seats: tuple[tuple[Seat, Sequence[str]], ...] = (("attacker", OF_ATTACKER), ("defender", OF_DEFENDER))
        for seat, names in seats:
            steps = list(Log(self.path(round_, seat) / LOG).lines())
            for name in names:
                keys = {name} if seat == "attacker" else {name, self.prefix + name}
                if values := [step[key] for step in steps for key in keys & step.keys()]:
                    line[f"{seat}/{name}"] = round(statistics.fmean(values), 5)
        written = [incident for incident in read_incidents(self.out / INCIDENTS) if incident.round == round_]
        line["attacker/plays"] = len({incident.play for incident in written})
        line["attacker/stored"] = len(written)
        line["wins"] = {str(opponent): round(share, 4) for opponent, share in self.wins(round_ + 1).items()}
        refusals = self.path(round_, "attacker") / REFUSALS
        if refusals.exists():
            line["refusals"] = _counts(refusals)
        if self.args.eval_n:
            line |= self.validate(self.trained(round_, "defender"))
        return line


def _counts(path: Path) -> dict[str, int]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BadRequestError(
            f"Expected the refusals of a half by kind in {str(path)!r}, and got {type(error).__name__}: {error}; remove the file, and run the same command again."
        ) from error


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
