"""Name the frozen sets under data/, and load them with their hashes checked.

    rows = load_set("holdout").rows

`python -m eval.build_sets` makes them; data/manifest.json has the sha256, the contents and the rebuild command of each. The sets of
data/benchmark are packed by gzip (RFC 1952), whose bytes differ between versions of zlib, so hashes are those of the text inside.
Rows hold no prompt: `eval.sets.load_set` renders it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
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
    **{name: f"benchmark/{name}.jsonl.gz" for name in (*BENCHMARK, "pairs", "injection", "invariance")},
}
NAMES = tuple(PATHS)
PACKED = ".gz"  # how the name of a packed file ends
SUFFIXES = (".jsonl", f".jsonl{PACKED}")  # of files that hold a set
FIELDS = ("id", "task", "split", "family", "observation", "ground_truth", "weight")  # of every row
MANIFEST = "manifest.json"
SETS_VERSION = 2  # another benchmark than version 1, of 48 families and 47 rules that fired (tag sets-1)
_PARSED: dict[str, Sequence[Row]] = {}  # rows by the sha256 of their text: a process parses a set once


@dataclass(frozen=True, slots=True)
class FrozenSet:
    """A loaded set: rows in the order of the file, each with at least `FIELDS`. `sha256` is that of the file's text, unpacked.

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
    """Return the command that makes a set's text again, byte for byte."""
    return f"python -m eval.build_sets --only {name} --out data"


def load_set(path_or_name: str | Path) -> FrozenSet:
    """Load a set by its name, or any file of the same form by its path.

    Args:
        path_or_name: one of `NAMES`, or a path to a .jsonl file, plain or packed (.jsonl.gz).

    Raises:
        BadRequestError: no such set or file, one that is cut off, another hash than the manifest's, or a line that is no row.
    """
    named = str(path_or_name) in PATHS
    path = DATA / PATHS[str(path_or_name)] if named else Path(path_or_name)
    content = _content(path, named)
    sha256 = hashlib.sha256(content).hexdigest()
    _verify(path, sha256, str(path_or_name) if named else "")
    name = str(path_or_name) if named else set_name(path)
    if sha256 not in _PARSED:
        _PARSED[sha256] = _rows(path, content)
    return FrozenSet(name, path, sha256, _PARSED[sha256])


def set_name(path: Path) -> str:
    """Return the name of a file's set: the file's without .jsonl or .jsonl.gz."""
    return _unpacked(path).stem


def read_text(path: Path) -> bytes:
    """Read the lines of a set's file, unpacked if its name ends in `PACKED`.

    Raises:
        BadRequestError: it holds no line, or it is packed and cut off or damaged.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    name = set_name(path)
    todo = f"Restore it, or run `{rebuild_command(name)}`." if name in PATHS else "Fetch it again, or make it anew."
    try:
        text = gzip.decompress(content) if path.suffix == PACKED else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadRequestError(
            f"expected a whole gzip file at {path}, and it is cut off or damaged ({error}). {todo}"
        ) from error
    if not text or text.isspace():
        raise BadRequestError(f"{path} holds no row; expected one JSON object a line. {todo}")
    return text


def pack(path: Path, text: bytes) -> bytes:
    """Return what a set's file holds for its text: gzip without a time if the path ends in `PACKED`, else the text itself."""
    return gzip.compress(text, mtime=0) if path.suffix == PACKED else text


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
        return read_text(path)
    except OSError as error:
        todo = f"run `{rebuild_command(set_name(path))}`" if named else f"or one of {', '.join(NAMES)}, benchmark"
        raise BadRequestError(f"expected a frozen set at {path}: {error.strerror}; {todo}") from error


def _verify(path: Path, sha256: str, name: str) -> None:
    """Compare a text's hash with the manifest's; a file that no manifest lists, packed or not, passes, a named set does not."""
    data = DATA if name else next((folder for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)
    if data is None:
        return
    sets = load_manifest(data)["sets"]
    base = data if name else data.resolve()
    file = _unpacked(path if name else path.resolve())
    entry = next((entry for entry in sets.values() if _unpacked(base / entry["path"]) == file), None)
    if entry is None and not name:
        return
    expected = entry["sha256"] if entry else "none in the manifest"
    if expected != sha256:
        raise BadRequestError(
            f"{path} is not the frozen file: expected sha256 {expected}, found {sha256}. "
            f"Restore it, or run `{rebuild_command(set_name(path))}`."
        )


def _unpacked(path: Path) -> Path:
    """Return the path without the ending of a packed file."""
    return path.with_name(path.name.removesuffix(PACKED))


def _rows(path: Path, content: bytes) -> list[Row]:
    lines = enumerate(content.splitlines(), 1)
    return [_row(f"{path}, line {number}", line) for number, line in lines if line.strip()]


def _row(source: str, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{source}: expected a JSON object; {error}") from error
    missing = [name for name in FIELDS if not isinstance(row, Mapping) or name not in row]
    if missing:
        raise BadRequestError(f"{source}: expected a row with {', '.join(FIELDS)}; it lacks {', '.join(missing)}")
    return dict(row)
