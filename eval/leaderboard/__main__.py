"""Check and fill the leaderboards: python -m eval.leaderboard validate FILE_OR_RUN | add RUN | schema

`validate` takes a board or a run directory; `add` checks a run as `validate` does and puts it on the board: a run of `eval.run` on the defenders', one of `eval.attack` on the
attackers'. Exits with 0, or with 2 and the reason.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.intervals import MEASURING
from eval.leaderboard import (
    BOARD,
    KEPT,
    SCHEMA,
    Entry,
    Figure,
    Leaderboard,
    SetEntry,
    add,
    load_board,
    read_board,
    schema_text,
)
from eval.leaderboard.attackers import (
    ATTACKER_BOARD,
    ATTACKER_SCHEMA,
    AttackerBoard,
    AttackerEntry,
    add_attacker,
    attacker_entry,
    is_attack,
)
from eval.metric_table import RANKING
from eval.reverify import reverify
from eval.rollouts import ROLLOUTS
from eval.runs import BENCHMARK, Run, load_run, stored_metrics
from runs.ending import refusing
from runs.extras import require
from runs.files import write_output
from schema import BadRequestError

SAME = 1e-5  # figures are kept to six digits


# ---------------------------------------------------------------- submissions
def entry_of(path: Path) -> Entry:
    """Compute everything that a run directory says anew, and return the entry that it is worth.

    Args:
        path: a run directory.

    Raises:
        BadRequestError: the run is incomplete or damaged, its answers and rewards do not follow from its replies and the frozen sets, or the
            figures of its metrics.json do not follow from its rollouts.
    """
    require("eval", *MEASURING)
    run = load_run(path)
    drift = reverify(run)
    if drift:
        first = drift[0]
        raise BadRequestError(
            f"Expected rollouts that follow from their replies, and {first.id!r} of {first.set} has {first.what} {first.was!r} where "
            f"{first.now!r} comes out ({len(drift)} such); run it again on this version of OpenSOC."
        )
    _check_figures(run, stored_metrics(path))
    info = run.info
    return Entry(
        name=run.name,
        kind=info.defender.kind,
        opensoc=info.opensoc,
        commit=info.commit,
        command=info.command,
        seed=info.seed,
        density=info.density,
        reward_table=info.reward_table,
        rollouts_sha256=hashlib.sha256((path / ROLLOUTS).read_bytes()).hexdigest(),
        sets={name: _set_entry(run, name) for name in run.sets},
    )


def _set_entry(run: Run, name: str) -> SetEntry:
    metrics = run.metrics(name)
    figures = {metric: Figure(**{part: metrics[metric][part] for part in Figure.model_fields}) for metric in KEPT}
    return SetEntry(sha256=run.sha256(name), items=metrics["items"], metrics=figures)


def _check_figures(run: Run, stored: Mapping[str, Any]) -> None:
    """Check that every value that the run states is the one that its rollouts give."""
    for name in (name for name in run.sets if name in stored or name != BENCHMARK):
        metrics = run.metrics(name)
        stated = stored.get(name)
        if not isinstance(stated, dict):
            raise BadRequestError(
                f"Expected the metrics of {name} in metrics.json, and there are none; run eval.run again."
            )
        for metric, stated_value, comes_out in _values(stated, metrics):
            if not _same(stated_value, comes_out):
                raise BadRequestError(
                    f"Expected figures that follow from the rollouts, and {metric} of {name} is stated as {stated_value!r} where {comes_out!r} "
                    "comes out; run eval.run again."
                )


def _values(stated: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for metric in (
        metric for metric in KEPT if metric in stated or metric == RANKING
    ):  # a run may be older than a metric
        stated_value = stated.get(metric)
        yield (
            metric,
            stated_value.get("value") if isinstance(stated_value, dict) else stated_value,
            metrics[metric]["value"],
        )


def _same(stated_value: Any, comes_out: float | None) -> bool:
    if comes_out is None or not isinstance(stated_value, int | float):
        return stated_value is None and comes_out is None
    return abs(stated_value - comes_out) <= SAME


# ---------------------------------------------------------------- the command
@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m eval.leaderboard", description="Check and fill the leaderboards.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    validate = verbs.add_parser("validate", help="check a board, or a run that is to be submitted")
    validate.add_argument("path", type=Path, metavar="FILE_OR_RUN", help="a leaderboard file, or a run directory")
    adding = verbs.add_parser("add", help="check a run and put it on the board")
    adding.add_argument("path", type=Path, metavar="RUN", help="a run directory that eval.run or eval.attack wrote")
    adding.add_argument("--board", type=Path, metavar="FILE", help="the board (default: the project's own)")
    verbs.add_parser("schema", help="write the boards' schemas anew")
    args = parser.parse_args(argv)
    print(_schema() if args.verb == "schema" else _validate(args.path) if args.verb == "validate" else _add(args))
    return 0


def _schema() -> str:
    write_output(SCHEMA, schema_text())
    write_output(ATTACKER_SCHEMA, schema_text(AttackerBoard))
    return f"wrote {SCHEMA.name} and {ATTACKER_SCHEMA.name}"


def _validate(path: Path) -> str:
    if is_attack(path):
        attacker = attacker_entry(path)
        return f"{attacker.name}: every incident is judged as it was; {_successes(attacker)}."
    if path.is_dir():
        entry = entry_of(path)
        return f"{entry.name}: every figure follows from the rollouts and the frozen sets ({', '.join(entry.sets)})."
    return f"{path}: {len(_load(path).entries)} entries, each in form."


def _load(path: Path) -> Leaderboard | AttackerBoard:
    """Read a board of either kind; the attackers' says that it is."""
    if path.is_file() and b'"board"' in path.read_bytes()[:100]:
        return read_board(path, AttackerBoard, ATTACKER_SCHEMA)
    return load_board(path)


def _successes(entry: AttackerEntry) -> str:
    shares = ", ".join(f"{success.share.value:.3f} against {name}" for name, success in entry.success.items())
    return f"success {shares}"


def _add(args: argparse.Namespace) -> str:
    if is_attack(args.path):
        return _add_attacker(args.path, args.board or ATTACKER_BOARD)
    return _add_defender(args.path, args.board or BOARD)


def _add_defender(run: Path, path: Path) -> str:
    board = load_board(path)
    entry = entry_of(run)
    filled = add(board, entry)
    write_output(path, filled.model_dump_json(indent=1) + "\n")
    return _place(entry.name, [row.name for row in filled.entries], path)


def _add_attacker(run: Path, path: Path) -> str:
    board = read_board(path, AttackerBoard, ATTACKER_SCHEMA)
    entry = attacker_entry(run)
    filled = add_attacker(board, entry)
    write_output(path, filled.model_dump_json(indent=1) + "\n")
    return f"{_place(entry.name, [row.name for row in filled.entries], path)} It has {_successes(entry)}."


def _place(name: str, names: Sequence[str], path: Path) -> str:
    return f"{name} stands at {names.index(name) + 1} of {len(names)} in {path}."


if __name__ == "__main__":
    sys.exit(main())
