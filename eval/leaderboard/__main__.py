"""Check and fill the leaderboard: python -m eval.leaderboard validate FILE_OR_RUN | add RUN | schema

`validate` takes a board or a run directory; `add` checks a run as `validate` does and puts it on the board. Exits with 0, or with 2 and the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.bake_demo import write
from eval.leaderboard import BOARD, SCHEMA, add, entry_of, load_board, schema_text
from schema import OpenSOCError


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m eval.leaderboard", description="Check and fill the leaderboard.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    validate = verbs.add_parser("validate", help="check a board, or a run that is to be submitted")
    validate.add_argument("path", type=Path, metavar="FILE_OR_RUN", help="a leaderboard file, or a run directory")
    adding = verbs.add_parser("add", help="check a run and put it on the board")
    adding.add_argument("path", type=Path, metavar="RUN", help="a run directory that eval.run wrote")
    adding.add_argument(
        "--board", type=Path, default=BOARD, metavar="FILE", help="the board (default: the project's own)"
    )
    verbs.add_parser("schema", help="write schema.json anew")
    args = parser.parse_args(argv)
    try:
        print(_schema() if args.verb == "schema" else _validate(args.path) if args.verb == "validate" else _add(args))
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _schema() -> str:
    write(SCHEMA, schema_text())
    return f"wrote {SCHEMA.name}"


def _validate(path: Path) -> str:
    if path.is_dir():
        entry = entry_of(path)
        return f"{entry.name}: every figure follows from the rollouts and the frozen sets ({', '.join(entry.sets)})."
    return f"{path}: {len(load_board(path).entries)} entries, each in form."


def _add(args: argparse.Namespace) -> str:
    board = load_board(args.board)
    entry = entry_of(args.path)
    filled = add(board, entry)
    write(args.board, filled.model_dump_json(indent=1) + "\n")
    place = [one.name for one in filled.entries].index(entry.name) + 1
    return f"{entry.name} stands at {place} of {len(filled.entries)} in {args.board}."


if __name__ == "__main__":
    sys.exit(main())
