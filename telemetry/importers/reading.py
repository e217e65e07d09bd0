"""Files of recorded telemetry: one file is one recording, one line or array element is one record.

JSON lines, JSON arrays (also under `Records`, `records` or `value`, as CloudTrail and Azure export them), CSV tables
and plain log text, each also gzipped; UTF-8, or UTF-16 with a byte order mark as PowerShell writes it. Sizes are
bounded, since such files come from anywhere.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO, cast

from schema import OpenSOCError
from telemetry.importers.events import Skipped
from telemetry.importers.unwrapping import unwrap

MAX_RECORDS = 100_000
MAX_LINE = 4_000_000  # characters; the longest script blocks are far below
MAX_DOCUMENT = 400_000_000  # characters of a JSON document that is read as a whole
_KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".log", ".txt")
SUFFIXES = tuple(chain.from_iterable((kind, f"{kind}.gz") for kind in _KINDS))
BAD_LINE = "a line that is not valid JSON"
LONG_LINE = f"a line of more than {MAX_LINE} characters"

Record = Mapping[str, Any] | Skipped


class FileError(OpenSOCError):
    """A file that holds no recording that can be read."""


def read_records(path: Path) -> list[Record]:
    """Read the records of a file in their order; a line that cannot be read is a `Skipped` with its reason.

    Raises:
        FileError: the file cannot be opened or unpacked, is empty, holds nothing readable, or is too large.
    """
    try:
        with _open(path) as handle:
            records = list(islice(_records(handle, path), MAX_RECORDS + 1))
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeError) as error:
        raise FileError(
            f"Expected a readable recording in {str(path)!r}, and got {type(error).__name__}: {error}; "
            "leave the file out."
        ) from error
    if not records:
        raise FileError(f"Expected records in {str(path)!r}, and the file is empty; leave it out.")
    if len(records) > MAX_RECORDS:
        raise FileError(
            f"Expected at most {MAX_RECORDS} records in {str(path)!r}, and there are more; "
            "split the file by host or time."
        )
    if all(isinstance(record, Skipped) for record in records):
        reason = cast(Skipped, records[0]).reason
        raise FileError(
            f"Expected JSON records in {str(path)!r}, and none of {len(records)} can be read "
            f"(first: {reason}); export it as JSON lines."
        )
    return records


def _open(path: Path) -> TextIO:
    """Open the file's text, unpacked. Bytes that are no text become U+FFFD: one of them must not lose the rest of a line."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if packed else path.open("rb") as raw:
        mark = raw.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if packed:
        return cast(TextIO, gzip.open(path, "rt", encoding=encoding, errors="replace"))
    return path.open("rt", encoding=encoding, errors="replace")


def _records(handle: TextIO, path: Path) -> Iterator[Record]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".csv"):
        return chain.from_iterable(unwrap(_row(row)) for row in csv.DictReader(handle))
    if name.endswith(".json"):
        return _document(handle)
    return _lines(handle, text=not name.endswith((".jsonl", ".ndjson")))


def _row(row: Mapping[str | None, Any]) -> Record:
    """Return a table's row without empty cells and without cells beyond the header."""
    return {name: value for name, value in row.items() if name is not None and value}


def _lines(handle: TextIO, *, text: bool) -> Iterator[Record]:
    """Yield one record a line; if `text` is set, a line that opens no object is a record {"raw": line}."""
    while line := handle.readline(MAX_LINE):
        if len(line) >= MAX_LINE and not line.endswith("\n"):
            while (rest := handle.readline(MAX_LINE)) and not rest.endswith("\n"):
                pass
            yield Skipped(LONG_LINE)
        elif line.strip():
            if text and not line.lstrip().startswith("{"):
                yield {"raw": line.rstrip("\r\n")}
            else:
                yield from _parsed(line)


def _parsed(text: str) -> Iterator[Record]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return iter((Skipped(BAD_LINE),))
    return unwrap(value)


def _document(handle: TextIO) -> Iterator[Record]:
    """Parse a whole JSON document: a list, an object that holds one, a single record; else the lines one by one."""
    text = handle.read(MAX_DOCUMENT + 1)
    if len(text) > MAX_DOCUMENT:
        raise FileError(f"Expected a JSON document of at most {MAX_DOCUMENT} characters; export it as JSON lines.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return chain.from_iterable(_parsed(line) for line in text.splitlines() if line.strip())
    return unwrap(value)
