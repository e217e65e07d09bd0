"""Play every attacker against every defender: python -m eval.cross_play --attackers generator edits --defenders embedded keyword --out out/cross

Attackers get the same briefs, the four tasks in turn, and are asked for each of the five actions equally often. What the gate admits of an attacker is a set of
incidents, and each defender is put in front of all sets, as `eval.run` does. A name may stand before either: `g2=out/rounds/2/attacker`. The directory `--out` gets

    run.json            what plays: attackers, defenders, briefs, commit, command, versions
    attempts.jsonl      one line an attacker and brief: the reply, and what became of it
    defenders/NAME/     a run of `eval.run` over the sets, which `eval.compare` and `eval.report` read
    cross_play.json     admission, mix and diversity of each attacker, success of each pair, differences; when all is answered
    cross_play.md, cross_play.png, cross_play_dark.png, cross_play.csv

The same command resumes. *Success* is the share of admitted incidents on which the defender's action is wrong; the share of all briefs stands beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from eval.asking import add_asking, add_tries, check_numbers, options_of
from eval.attacks import briefs_of, counted, gain, measure_attempts, share
from eval.attempts import ATTEMPTS, DEFENDERS, RESULT, AttemptStore, attempts_log
from eval.compare import compare
from eval.cross_table import heat_map, save_both, table_page
from eval.intervals import MEASURING
from eval.rollouts import open_store
from eval.run import LIBRARIES, ask, describe
from eval.runs import Run as DefenderRun
from eval.runs import load_runs
from players import Player, open_player
from players.attackers import open_attacker
from players.attackers.attempts import Attempt
from players.attackers.base import Attacker
from rubric import TABLES
from runs.directory import Run, close_run, locked, new_run, open_run, settings_of
from runs.ending import exit_code, interruptible
from runs.extras import require
from runs.files import JsonLines, held_room, write_atomically, write_json
from runs.progress import progress
from scenario import JUDGED
from schema import LABELS, BadRequestError, Row
from tasks.registry import SPLITS, Split
from tasks.sets import BENCHMARK, RECORDED, FrozenSet
from verifier.decision import judge_observation

PAGE = "cross_play.md"
DECIDES = ("attackers", "defenders", "split", "seed", "briefs", "reward_table", "density")
_NAMED = re.compile(r"([\w .+-]{1,60})=(.+)", re.DOTALL)


class Entrant(NamedTuple):
    """A name and what it stands for, as the command line gives it; the name is empty where none was given."""

    name: str
    spec: str

    @classmethod
    def of(cls, text: str) -> Entrant:
        """Read `NAME=SPEC` or `SPEC`."""
        match = _NAMED.fullmatch(text)
        return cls(match[1], match[2]) if match else cls("", text)


# ---------------------------------------------------------------- attackers
def craft_all(store: AttemptStore, attackers: Sequence[Attacker], number: int) -> None:
    """Give each attacker the briefs that it has not answered, and store each batch as it arrives.

    Raises:
        StoppedError: an attacker cannot go on; what arrived is stored.
        KeyboardInterrupt: it was asked to stop, and what was under way is stored.
    """
    stop = threading.Event()
    left = {attacker.name: store.left(attacker.name) for attacker in attackers}
    total = number * len(attackers)
    with (
        interruptible(stop, "Waiting for the incidents under way"),
        progress(total, "briefs", done=total - sum(map(len, left.values()))) as bar,
    ):
        for attacker in attackers:
            briefs, attacker.spent = left[attacker.name], store.spent[attacker.name]
            for arrived in attacker.stream(briefs, stop):
                store.append(attacker.name, [(briefs[index], reply) for index, reply in arrived])
                bar.advance(len(arrived), attacker.name)
            if stop.is_set():
                raise KeyboardInterrupt


def set_of(attacker: str, attempts: Sequence[Attempt], split: Split) -> FrozenSet:
    """Make a set of what the gate admitted of an attacker; an incident's family is its play."""
    rows = [_row(attempted, split) for attempted in attempts if attempted.scenario]
    digest = hashlib.sha256("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()).hexdigest()
    return FrozenSet(attacker, Path(ATTEMPTS), digest, rows)


def _row(attempted: Attempt, split: Split) -> Row:
    assert attempted.scenario is not None
    assert attempted.admission is not None
    truth = attempted.scenario.truth.to_dict()
    return {
        **attempted.row,
        "split": split,
        "family": attempted.admission.play,
        "ground_truth": {name: truth[name] for name in JUDGED},
        "weight": 1.0,
    }


# ---------------------------------------------------------------- defenders
def defend_all(out: Path, defenders: Sequence[Player], sets: Sequence[FrozenSet], args: argparse.Namespace) -> None:
    """Put each defender in front of all sets; a run of each is kept below `out`, and resumed.

    Raises:
        StoppedError: a defender cannot go on; what was answered is stored.
        KeyboardInterrupt: it was asked to stop, and what was under way is stored.
    """
    for index, defender in enumerate(defenders, 1):
        print(f"defender {index} of {len(defenders)}: {defender.name}", file=sys.stderr)
        run = describe(_command(args), args, defender, sets)
        with open_store(_home(out, defender.name), run) as store:
            defender.spent = store.spent
            ask(store, defender, sets, args.table)
            close_run(store.out, store.run)


def _home(out: Path, name: str) -> Path:
    return out / DEFENDERS / re.sub(r"[^\w.-]+", "-", name)


# ---------------------------------------------------------------- measuring
def measure(store: AttemptStore, attackers: Sequence[str], runs: Sequence[DefenderRun]) -> dict[str, Any]:
    """Return everything that the result file holds but the run itself.

    Returns:
        `attackers` (by name, as `measure_attempts`, and `misjudged`: ids of admitted incidents whose observation the verifier judges otherwise than the incident),
        `defenders`, `pairs`, `differences` (between two defenders on the incidents of an attacker) and `gains` (of an attacker over the first one, against a defender).
    """
    attempts = {name: store.of(name) for name in attackers}
    measured = {
        name: {**measure_attempts(attempts[name]), "misjudged": _misjudged(attempts[name])} for name in attackers
    }
    filled = [name for name in attackers if any(attempted.scenario for attempted in attempts[name])]
    return {
        "attackers": measured,
        "defenders": [run.name for run in runs],
        "pairs": [_pair(name, len(attempts[name]), run) for name in attackers for run in runs],
        "differences": [
            {"attacker": name, **asdict(comparison)}
            for name in filled
            for comparison in compare(runs, name, metrics=("accuracy",))
        ],
        "gains": [_gain(run, attackers[0], name) for run in runs for name in attackers[1:]],
    }


def _misjudged(attempts: Sequence[Attempt]) -> list[str]:
    """Return the briefs whose admitted incident a defender sees otherwise than the verifier judged it: there should be none."""
    return [
        attempted.brief.id
        for attempted in attempts
        if attempted.scenario
        and judge_observation(attempted.row["observation"]).action != attempted.scenario.truth.action
    ]


def _pair(attacker: str, briefs: int, run: DefenderRun) -> dict[str, Any]:
    rows = _answers(run, attacker)
    hits, plays = _hits(rows)
    by_truth = {label: [row["action"] != label for row in rows if row["label"] == label] for label in LABELS}
    return {
        "attacker": attacker,
        "defender": run.name,
        "success": share(hits, plays),
        "success_of_briefs": counted(sum(hits), briefs),
        "dismissed": sum(row["action"] == "dismiss" != row["label"] for row in rows),
        "malformed": sum(row["action"] is None for row in rows),
        "by_truth": {label: {"wrong": sum(of), "n": len(of)} for label, of in by_truth.items()},
    }


def _gain(run: DefenderRun, first: str, second: str) -> dict[str, Any]:
    sides = [_hits(_answers(run, name)) for name in (first, second)]
    return {"defender": run.name, "first": first, "second": second, **gain(*sides[0], *sides[1])}


def _answers(run: DefenderRun, attacker: str) -> list[dict[str, Any]]:
    """Return a defender's answers to an attacker's incidents, none where none was admitted."""
    return sorted(run.by_set.get(attacker, []), key=lambda row: str(row["id"]))


def _hits(rows: Sequence[Mapping[str, Any]]) -> tuple[list[bool], list[str]]:
    return [row["action"] != row["label"] for row in rows], [row["family"] for row in rows]


# ---------------------------------------------------------------- all together
def cross_play(args: argparse.Namespace) -> None:
    """Begin a cross-play, or resume the one that is there, and measure it.

    Raises:
        StoppedError: it stopped before the end.
        OpenSOCError: a wrong call.
    """
    check_numbers(args)
    require("eval", *MEASURING, "matplotlib", "statsmodels")
    attackers, defenders = _attackers(args), _defenders(args)
    briefs = briefs_of(args.split, args.n, args.seed)
    with _opened(args, _described(args, attackers, defenders)) as (run, log):
        store = AttemptStore(log, briefs)
        craft_all(store, attackers, len(briefs))
        names = [attacker.name for attacker in attackers]
        sets = [part for part in (set_of(name, store.of(name), args.split) for name in names) if part.rows]
        if not sets:
            raise BadRequestError(_nothing(store, names))
        defend_all(args.out, defenders, sets, args)
        runs = load_runs([_home(args.out, defender.name) for defender in defenders])
        result = {"run": run, **measure(store, names, runs)}
        write(args.out, result)
        close_run(args.out, run)
    print(f"wrote {args.out / PAGE}, {args.out / RESULT} and the heat map")


def write(out: Path, result: Mapping[str, Any]) -> None:
    """Write the result file, its page and the heat map into a directory."""
    save_both(heat_map(result), out)
    write_atomically(out / PAGE, table_page(result))
    write_json(out / RESULT, result)


def _nothing(store: AttemptStore, names: Sequence[str]) -> str:
    reasons = Counter(attempted.refusal[:200] for name in names for attempted in store.of(name))
    return (
        f"Expected incidents for the defenders, and the gate admitted none of {', '.join(names)}; the commonest refusal: "
        f"{reasons.most_common(1)[0][0]} Give attackers that write incidents."
    )


def _command(args: argparse.Namespace) -> str:
    return f"python -m eval.cross_play {shlex.join(args.argv)}"


def _described(args: argparse.Namespace, attackers: Sequence[Attacker], defenders: Sequence[Player]) -> Run:
    return new_run(
        _command(args),
        LIBRARIES,
        attackers=[attacker.settings for attacker in attackers],
        defenders=[defender.settings for defender in defenders],
        split=args.split,
        seed=args.seed,
        briefs=args.n,
        reward_table=args.table,
        density=args.density,
    )


@contextmanager
def _opened(args: argparse.Namespace, run: Run) -> Iterator[tuple[Run, JsonLines]]:
    """Open the directory for one process, with room held back for the incidents under way."""
    with locked(args.out):
        files = (ATTEMPTS, RESULT, PAGE, DEFENDERS)
        run = open_run(args.out, run, shares=settings_of(DECIDES), files=files, fresh=args.fresh)
        with held_room(args.out / ".reserve") as reserve:
            yield run, attempts_log(args.out, reserve=reserve)


def _attackers(args: argparse.Namespace) -> list[Attacker]:
    options = replace(options_of(args), temperature=args.attacker_temperature)
    attackers = [_renamed(open_attacker(spec, options), name) for name, spec in map(Entrant.of, args.attackers)]
    _check_names("attackers", [attacker.name for attacker in attackers], taken=(*BENCHMARK, "benchmark", RECORDED))
    return attackers


def _defenders(args: argparse.Namespace) -> list[Player]:
    defenders = [_renamed(open_player(spec, options_of(args)), name) for name, spec in map(Entrant.of, args.defenders)]
    _check_names("defenders", [str(_home(Path(), defender.name)) for defender in defenders])
    return defenders


Seat = TypeVar("Seat", Attacker, Player)


def _renamed(player: Seat, name: str) -> Seat:
    player.name = name or player.name
    return player


def _check_names(what: str, names: Sequence[str], *, taken: Sequence[str] = ()) -> None:
    for name, times in Counter(names).items():
        if times > 1 or name in taken:
            raise BadRequestError(
                f"Expected {what} of different names, and {name!r} {'comes twice' if times > 1 else 'is the name of a frozen set'}; "
                "put a name before one: NAME=SPEC."
            )


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.cross_play", description="Play every attacker against every defender."
    )
    add = parser.add_argument
    add("--attackers", nargs="+", required=True, metavar="[NAME=]SPEC", help="generator, edits, a directory ...")
    add("--defenders", nargs="+", required=True, metavar="[NAME=]SPEC", help="as --defender of eval.run")
    add("--out", type=Path, required=True, metavar="DIR", help="a cross-play that is there is resumed")
    add("--n", type=int, default=200, metavar="N", help="briefs of each attacker (default: 200)")
    add("--split", choices=SPLITS, default="val", help="of the worlds (default: val)")
    add("--seed", type=int, default=0, help="of worlds and of what is drawn (default: 0)")
    add("--fresh", action="store_true", help="forget what is in --out and start over")
    add("--table", choices=list(TABLES), default="standard", help="which rewards (default: standard)")
    add("--attacker-temperature", type=float, default=1.0, metavar="T", help="0 is greedy (default: 1)")
    add_asking(parser, max_tokens=2048)
    add_tries(parser)
    args = parser.parse_args(argv)
    args.argv = list(argv)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    args = _arguments(sys.argv[1:] if argv is None else argv)
    return exit_code(lambda: cross_play(args), "what was played is stored")


if __name__ == "__main__":
    sys.exit(main())
