"""Render the prompts of the frozen sets: python -m eval.sets --prompts full --out DIR [--only NAME ...]

A frozen row holds the observation, from which every prompt can be rendered. `load_set` adds the prompt to each row. The command writes chat rows
for trainers of other projects, one JSON object a line: `id`, `prompt` (a system and a user message) and, in the set that is for training,
`completion` (the right answer as the assistant's message).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from players.base import DENSITIES, Density
from players.prompt import answer_text, messages
from runs.files import write_atomically
from runs.progress import track
from schema import OpenSOCError, Row
from tasks.sets import NAMES, FrozenSet, expand
from tasks.sets import load_set as load_rows

FOR_TRAINING = ("sft_train",)  # the sets whose chat rows hold the right answer


def load_set(path_or_name: str | Path, *, prompts: Density | None = None) -> FrozenSet:
    """Load a frozen set, with each row's chat messages under `prompt` if a density is given.

    Args:
        path_or_name: one of `tasks.sets.NAMES`, or a path to a .jsonl file of the same form, plain or packed (.jsonl.gz).
        prompts: `full`, `compact` or `legend`; None adds no prompt.

    Raises:
        BadRequestError: no such set, file or density, a file that is cut off, another hash than the manifest's, or a line that is no row.
    """
    frozen = load_rows(path_or_name)
    if prompts is None:
        return frozen
    return replace(frozen, rows=[{**row, "prompt": messages(row["observation"], prompts)} for row in frozen.rows])


def labelled_chat(row: Mapping[str, Any], density: Density) -> Row:
    """Return a row as trainers take it: `prompt` and `completion` (the right answer), both as chat messages."""
    return {
        "prompt": messages(row["observation"], density),
        "completion": [{"role": "assistant", "content": answer_text(row["observation"], density)}],
    }


def _chat(row: Row, density: Density, *, answer: bool) -> Row:
    chat = labelled_chat(row, density) if answer else {"prompt": messages(row["observation"], density)}
    return {"id": row["id"], **chat}


def _write_chats(name: str, density: Density, out: Path) -> Path:
    """Write the chat rows of a set to `out/NAME.DENSITY.jsonl`, whole or not at all, and return the path.

    Args:
        name: one of `tasks.sets.NAMES`.
        density: of the prompts and answers.
        out: the folder; it is made if it is missing.

    Raises:
        BadRequestError: the set cannot be loaded.
        OSError: the file cannot be written.
    """
    rows = load_rows(name).rows
    chats = (
        _chat(row, density, answer=name in FOR_TRAINING) for row in track(rows, f"rows of {name}", total=len(rows))
    )
    path = out / f"{name}.{density}.jsonl"
    write_atomically(path, b"".join(json.dumps(chat, separators=(",", ":")).encode() + b"\n" for chat in chats))
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Write chat rows; return 1 if a set cannot be read or a file not written."""
    args = _arguments(argv)
    return exit_code(lambda: _write_all(args.only, args.prompts, args.out), args.out)


def exit_code(work: Callable[[], int | None], out: Path) -> int:
    """Do a command's work in the folder of sets `out`, and return its code; where a file or a set stops it, say so and return 1."""
    try:
        return work() or 0
    except OSError as error:
        print(f"{error.filename or out}: {error.strerror}; expected a folder of sets", file=sys.stderr)
    except OpenSOCError as error:
        print(error, file=sys.stderr)
    return 1


def _write_all(names: Sequence[str], density: Density, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    for name in expand(names):
        path = _write_chats(name, density, out)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.sets",
        description="Write frozen sets as chat rows for other trainers: one JSON object a line with id, prompt and, "
        f"for {', '.join(FOR_TRAINING)}, completion (the right answer).",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=list(NAMES),
        choices=(*NAMES, "benchmark"),
        metavar="NAME",
        help=f"which sets, of {', '.join(NAMES)}, or benchmark for the three test sets (default: all)",
    )
    parser.add_argument(
        "--prompts",
        required=True,
        choices=DENSITIES,
        help="full, with playbook and names; compact, for small models; or legend, compact with how to read it",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the files, NAME.full.jsonl or NAME.compact.jsonl",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
