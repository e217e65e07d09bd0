"""Name the frozen sets under data/, and load them with their hashes checked.

    rows = load_set("holdout").rows

`python -m eval.build_sets` makes them; data/manifest.json has the sha256, the contents and the rebuild command of each.
Rows hold no prompt: `eval.sets.load_set` renders it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schema import BadRequestError, Row

DATA = Path(__file__).resolve().parent.parent / "data"
BENCHMARK = ("test_seed", "test_family", "test_tactic")
RECORDED = "real"  # the set of recorded telemetry, which is not frozen
PATHS: dict[str, str] = {  # below data/
    "sft_train": "sft_train.jsonl",
    "holdout": "holdout.jsonl",
    **{name: f"benchmark/{name}.jsonl" for name in (*BENCHMARK, "pairs", "injection", "invariance")},
}
NAMES = tuple(PATHS)
FIELDS = ("id", "task", "split", "family", "observation", "ground_truth", "weight")  # of every row
MANIFEST = "manifest.json"
SETS_VERSION = 2  # another benchmark than version 1, of 48 families and 47 rules that fired (tag sets-1)
_PARSED: dict[str, Sequence[Row]] = {}  # rows by the sha256 of their file: a process parses a set once


@dataclass(frozen=True, slots=True)
class FrozenSet:
    """A loaded set: rows in the order of the file, each with at least `FIELDS`. `sha256` is that of the file.

    A process loads the rows of a set once and shares them, so no caller may change one.
    """

    name: str
    path: Path
    sha256: str
    rows: Sequence[Row]


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Replace `benchmark` among set names by the three test sets, each once."""
    return tuple(dict.fromkeys(part for name in names for part in (BENCHMARK if name == "benchmark" else (name,))))


def rebuild_command(name: str) -> str:
    """Return the command that makes a set again, byte for byte."""
    return f"python -m eval.build_sets --only {name} --out data"


def load_set(path_or_name: str | Path) -> FrozenSet:
    """Load a set by its name, or any file of the same form by its path.

    Args:
        path_or_name: one of `NAMES`, or a path to a .jsonl file.

    Raises:
        BadRequestError: no such set or file, another hash than the manifest's, or a line that is no row.
    """
    named = str(path_or_name) in PATHS
    path = DATA / PATHS[str(path_or_name)] if named else Path(path_or_name)
    content = _content(path, named)
    sha256 = hashlib.sha256(content).hexdigest()
    _verify(path, sha256, str(path_or_name) if named else "")
    name = str(path_or_name) if named else path.stem
    if sha256 not in _PARSED:
        _PARSED[sha256] = _rows(path, content)
    return FrozenSet(name, path, sha256, _PARSED[sha256])


def load_manifest(data: Path = DATA) -> dict[str, Any]:
    """Load data/manifest.json.

    Raises:
        BadRequestError: there is no manifest, or it cannot be read.
    """
    path = data / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        assert isinstance(manifest["sets"], dict)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise BadRequestError(
            f"expected a manifest of the frozen sets at {path}; it cannot be read ({type(error).__name__}). "
            "Run `python -m eval.build_sets --out data`."
        ) from error
    return dict(manifest)


def _content(path: Path, named: bool) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        todo = f"run `{rebuild_command(path.stem)}`" if named else f"or one of {', '.join(NAMES)}, benchmark"
        raise BadRequestError(f"expected a frozen set at {path}: {error.strerror}; {todo}") from error


def _verify(path: Path, sha256: str, name: str) -> None:
    """Compare a file's hash with the manifest's; a file that no manifest lists passes, a named set does not."""
    data = DATA if name else next((folder for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)
    if data is None:
        return
    sets = load_manifest(data)["sets"]
    base = data if name else data.resolve()
    file = path if name else path.resolve()
    entry = next((entry for entry in sets.values() if base / entry["path"] == file), None)
    if entry is None and not name:
        return
    expected = entry["sha256"] if entry else "none in the manifest"
    if expected != sha256:
        raise BadRequestError(
            f"{path} is not the frozen file: expected sha256 {expected}, found {sha256}. "
            f"Restore it, or run `{rebuild_command(path.stem)}`."
        )


def _rows(path: Path, content: bytes) -> list[Row]:
    lines = enumerate(content.splitlines(), 1)
    rows = [_row(f"{path}, line {number}", line) for number, line in lines if line.strip()]
    if not rows:
        raise BadRequestError(f"{path} holds no row; expected one JSON object a line")
    return rows


def _row(source: str, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{source}: expected a JSON object; {error}") from error
    missing = [name for name in FIELDS if not isinstance(row, Mapping) or name not in row]
    if missing:
        raise BadRequestError(f"{source}: expected a row with {', '.join(FIELDS)}; it lacks {', '.join(missing)}")
    return dict(row)
