"""Read recordings into raw records: a file of any kind, recognised by what is in it and never by its ending.

Binary Windows event logs (EVTX), Windows events as XML, JSON lines, JSON documents, tables (`tables`) and lines of text, also
mixed; packed or in an archive (`archives`). Everything is read as a stream, in memory that the file's size does not move. What
cannot be read is named by its first bytes, with the way out (`magic`); what breaks in the middle costs itself alone.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import orjson

from telemetry.importers.archives import is_archive, open_source
from telemetry.importers.blocks import form_of, read_blocks
from telemetry.importers.containers import FileError, Source, source_of
from telemetry.importers.events import Skipped
from telemetry.importers.magic import EVTX, Unreadable, unreadable
from telemetry.importers.tables import LONG_ROW, TaggedTable, csv_rows, header_of
from telemetry.importers.unwrapping import LISTS, is_bare, unwrap
from telemetry.importers.xml_events import EventTexts, decoded, is_xml

_SPACES = b" \t\r\n\v\f\x1e"  # RFC 7464 separates values by record separators
MAX_LINE = 4_000_000  # bytes; the longest script blocks are far below
MOST_FAULTS = 1000  # records of an event log that cannot be read, one after the other; then its rest is left out
_OPENS = re.compile(rb"[\s\x1e]*(?:\{|\[\s*(?:[\[{\"\]]|$))")  # JSON, and no text whose lines begin with a bracket
_HEADER, _CHUNK = (
    4096,
    65536,
)  # bytes of a binary event log's header and of each chunk (libevtx, "Windows XML Event Log (EVTX)")
MAX_ELEMENT = 16 << 20  # bytes of one record in a long JSON document
BAD_LINE = "a line that is not valid JSON"
BAD_DOCUMENT = "a JSON document that breaks off or is not valid: its rest is left out"
BAD_EVENT = "a record of the Windows event log (EVTX) that cannot be read"
LONG_LINE = f"a line of more than {MAX_LINE} bytes"
BREAKS_OFF = "the file breaks off"
_LIST_AT = (*LISTS, "hits.hits")

Record = Mapping[str, Any] | Skipped


def read_records(path: Path, on_bytes: Callable[[int], None] | None = None) -> Iterator[Record]:
    """Yield the records of a file in their order; what cannot be read is a `Skipped` with its reason.

    Args:
        path: a file, or a member of a zip archive (`logs.zip/system.jsonl`).
        on_bytes: is told again and again how many bytes of the file were read.

    Raises:
        FileError: the file cannot be opened, is empty or holds nothing readable; the last is known only at its end.
    """
    with open_source(path, on_bytes) as source:
        yield from _records(source, path.name, repr(str(path)))


def read_text(text: str, name: str = "the text") -> Iterator[Record]:
    """Yield the records of a text that a caller gives, as `read_records` does those of a file; no file is touched.

    Args:
        text: an export, as it stands in its file.
        name: what to call it in errors; an ending of `.csv` says that it is a table.

    Raises:
        FileError: it is empty or holds nothing readable.
    """
    raw = io.BytesIO(text.encode("utf-8", "replace"))
    yield from _records(source_of(cast(io.RawIOBase, raw)), name, repr(name))


def kind_of(path: Path) -> Unreadable | None:
    """Return what a file is that cannot be read; None where it can be tried.

    Raises:
        FileError: the file cannot be opened.
    """
    if is_archive(path):
        return None
    with open_source(path) as source:
        return unreadable(source.head, path.name)


def _records(source: Source, name: str, shown: str) -> Iterator[Record]:
    """Yield a source's records, and refuse it at its end if there was none."""
    kind = unreadable(source.head, name)
    if kind:
        raise FileError(f"Expected a recording in {shown}, and it is {kind.name}; {kind.way}.")
    count, first = 0, ""
    is_read = False
    for record in _parts(source, name):
        yield record
        count += 1
        if not isinstance(record, Skipped):
            is_read = True
        elif not first:
            first = record.reason
    if is_read:
        if source.fault:
            yield Skipped(f"{BREAKS_OFF}: {source.fault}")
        return
    if source.fault:
        raise FileError(f"Expected a readable recording in {shown}, and got {source.fault}; leave the file out.")
    if not count:
        if source.head.startswith(EVTX):
            raise FileError(
                f"Expected records in {shown}, and it is a Windows event log (EVTX) without any; export it anew."
            )
        raise FileError(f"Expected records in {shown}, and the file is empty; take another.")
    raise FileError(
        f"Expected records in {shown}, and none of {count} can be read (first: {first}); export it as JSON lines."
    )


def _parts(source: Source, name: str) -> Iterator[Record]:
    """Choose how to read a source by its beginning."""
    if source.head.startswith(EVTX):
        return _event_log(source)
    start = source.head[:200].lstrip(_SPACES)[:1]
    if _OPENS.match(source.head) and not _is_in_lines(source):
        return _document(source)
    if form := form_of(decoded(source.head[:65536])):
        return chain.from_iterable(map(unwrap, read_blocks(map(decoded, _bounded_lines(source)), form)))
    ending = name.lower().split(".")
    header = None
    if start not in (b"{", b"[", b"<", b"#") or source.head.lstrip().startswith(b"#TYPE "):  # PowerShell's Export-Csv
        header = header_of(decoded(source.head[:65536]), is_table=any(part in ("csv", "tsv") for part in ending[-2:]))
    if header:
        return chain.from_iterable(unwrap(row) for row in csv_rows(map(decoded, _bounded_lines(source)), header))
    return _lines(source, text=not any(part in ("jsonl", "ndjson", "json") for part in ending[-2:]))


# ---------------------------------------------------------------- lines
def _lines(source: Iterable[bytes] | Source, *, text: bool) -> Iterator[Record]:
    """Yield what each line holds: JSON, a Windows event as XML, a row of a tagged table, or text as {"raw": line}.

    Args:
        source: the bytes.
        text: whether a line that is nothing else is text; else it is no valid JSON.
    """
    table, events = TaggedTable(), EventTexts()
    in_xml = False
    for line in _bounded_lines(cast(Source, source)):
        start = line.lstrip(_SPACES)[:1]
        if in_xml or (start == b"<" and is_xml(line)):
            yield from events.feed(line)
            in_xml = events.is_open or not line.endswith(b"\n")
        elif len(line) >= MAX_LINE:
            yield Skipped(LONG_LINE)
        elif start == b"{" or (start == b"[" and not text):
            yield from _parsed(line)
        elif b"<Event>" in line:  # behind a frame, as Sysmon for Linux writes to syslog
            yield from events.feed(line[line.index(b"<Event>") :])
        elif start and not (start == b"#" and table.tag(decoded(line))):
            yield from _row_or_text(table, line, text=text)
    yield from events.close()


def _bounded_lines(source: Source) -> Iterator[bytes]:
    """Yield lines; of one that is too long only as much as fits, unless it is XML, whose events are cut out of the pieces."""
    while line := source.readline(MAX_LINE):
        yield line
        if len(line) >= MAX_LINE and not line.endswith(b"\n"):
            is_wanted = is_xml(line)
            while rest := source.readline(MAX_LINE):
                if is_wanted:
                    yield rest
                if rest.endswith(b"\n"):
                    break


def _row_or_text(table: TaggedTable, line: bytes, *, text: bool) -> Iterator[Record]:
    if table.names:
        row = table.row(decoded(line))
        if row is not None:
            return unwrap(row)
        if not text:
            return iter((Skipped(LONG_ROW),))
    return iter(({"raw": decoded(line).rstrip("\r\n").strip("\0")},)) if text else iter((Skipped(BAD_LINE),))


def _parsed(line: bytes) -> Iterator[Record]:
    value = parsed_json(line.lstrip(_SPACES))
    return iter((Skipped(BAD_LINE),)) if value is _NOTHING else unwrap(value)


_NOTHING: Any = object()


def parsed_json(text: bytes) -> Any:
    """Parse one JSON value: quickly, or by the standard library where it takes more (NaN, lone surrogates, Windows-1252)."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(decoded(text))
        except (ValueError, RecursionError):
            return _NOTHING


# ---------------------------------------------------------------- documents
def _is_in_lines(source: Source) -> bool:
    """Return whether JSON has a value a line: the first one is, or, where it is broken and opens nothing, one of the next two."""
    first, newline, rest = source.head.lstrip(_SPACES).partition(b"\n")
    if not rest.strip():
        return not newline and not source.is_whole and not _list_place(source.head)  # a line that is too long
    if parsed_json(first) is not _NOTHING:
        return True
    opens = first.rstrip().endswith((b"{", b"[", b",", b":"))
    return not opens and any(parsed_json(line) is not _NOTHING for line in rest.split(b"\n", 2)[:2] if line[:1] == b"{")


def _document(source: Source) -> Iterator[Record]:
    """Read JSON that spans lines: one value, or several after each other; a long document element by element."""
    if not source.is_whole:
        return _long_document(source)
    value = parsed_json(source.head)
    return _values(decoded(source.head)) if value is _NOTHING else unwrap(value)


def _values(text: str) -> Iterator[Record]:
    """Yield what JSON values after each other hold; from what is none on, the lines one by one."""
    decoder = json.JSONDecoder()
    place = 0
    while match := _SPACE.match(text, place):
        place = match.end()
        if place >= len(text):
            return
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        yield from unwrap(value)
    yield from _lines(cast(Any, io.BytesIO(text[place:].encode("utf-8", "replace"))), text=False)


_SPACE = re.compile(r"[\s,\x1e]*")


class _Metered:
    """Bytes for a parser that holds on to what belongs to one record: it is bounded between two records."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.since = 0

    def read(self, size: int = -1) -> bytes:
        piece = self.source.read(size)
        self.since += len(piece)
        if self.since > MAX_ELEMENT:
            raise ValueError(f"one record takes more than {MAX_ELEMENT} bytes")
        return piece


def _long_document(source: Source) -> Iterator[Record]:
    """Yield the records of a document that is too long to parse as a whole."""
    import ijson

    metered = _Metered(source)
    place = _list_place(source.head)
    try:
        for element in ijson.items(metered, place, use_float=True, multiple_values=True):
            metered.since = 0
            yield from unwrap(element)
    except (ijson.JSONError, ValueError, RecursionError):
        yield Skipped(BAD_DOCUMENT)


def _list_place(head: bytes) -> str:
    """Name where a document's list of records stands, as `ijson` writes places: "item", "Records.item", or "" for none."""
    import ijson

    try:
        for place, event, _ in ijson.parse(io.BytesIO(head), multiple_values=True):
            if event == "start_array" and (not place or place in _LIST_AT):
                return f"{place}.item" if place else "item"
    except (ijson.JSONError, ValueError):
        pass
    return ""


# ---------------------------------------------------------------- event logs
def _event_log(source: Source) -> Iterator[Record]:
    """Yield the records of a binary Windows event log; the parser goes back and forth, so it reads a file."""
    import evtx

    with source.as_file() as whole, _in_chunks(whole) as file:
        try:
            records = evtx.PyEvtxParser(file, number_of_threads=1, indent=False).records_json()
        except (RuntimeError, OSError, ValueError) as error:
            yield Skipped(f"{BAD_EVENT}: {error}")
            return
        faults = 0
        while faults < MOST_FAULTS:
            try:
                for count, record in enumerate(cast(Iterator[dict[str, str]], records)):
                    faults = 0
                    if not count % 1000:
                        source.tell_progress(file)
                    yield from _event(record["data"])
                break
            except RuntimeError:
                faults += 1
                yield Skipped(BAD_EVENT)
        if file is not whole and not source.fault:
            yield Skipped(f"{BREAKS_OFF}: it ends within a chunk")


@contextmanager
def _in_chunks(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give an event log that ends with a chunk: of one that is cut a copy filled with zeros, since the parser drops a part of a chunk."""
    size = file.seek(0, io.SEEK_END)
    missing = (_HEADER - size) % _CHUNK if size > _HEADER else 0
    file.seek(0)
    if not missing:
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.write(bytes(missing))
        copy.seek(0)
        yield copy


def _event(text: str) -> Iterable[Record]:
    """Return the record that the parser wrote as JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # a lone surrogate, a number beyond 64 bits
        return _parsed(text.encode("utf-8", "replace"))
    return (value,) if is_bare(value) else unwrap(value)
