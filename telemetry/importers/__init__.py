"""Import recorded telemetry: raw records in, draft events of `schema.py` out, or why a record is skipped.

One module for each family of sources; every module says where its mapping comes from. `import_records` finds the
family of each record by its shape and gives one result for every record, in their order: nothing disappears without a
reason. Known records within an unknown one take its place. The conditions of a recording that no record states are not made
up: a missing field stays missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from telemetry.importers import (
    asim,
    aws,
    azure,
    cloudtrail,
    defender,
    endpoint,
    entra,
    github,
    google,
    kubernetes,
    okta,
    osquery,
    products,
    purview,
    saas,
    suricata,
    text,
    w3c,
    wazuh,
    windows_logs,
    zeek,
)
from telemetry.importers.attempts import Attempts
from telemetry.importers.events import DraftEvent, Imported, Skipped, located, with_scope
from telemetry.importers.formats import Format
from telemetry.importers.times import FileTimes
from telemetry.importers.unwrapping import is_bare
from telemetry.importers.within import Search
from world import PRIVATE_NETWORKS

UNKNOWN_SHAPE = "record shape not recognised"
FORMATS: tuple[Format, ...] = (  # in the order in which a record's shape is tried
    *windows_logs.FORMATS,
    *cloudtrail.FORMATS,
    *zeek.FORMATS,
    *defender.FORMATS,
    *asim.FORMATS,
    *entra.FORMATS,
    *purview.FORMATS,
    *kubernetes.FORMATS,
    *okta.FORMATS,
    *github.FORMATS,
    *google.FORMATS,
    *aws.FORMATS,
    *saas.FORMATS,
    *suricata.FORMATS,
    *text.FORMATS,
    *osquery.FORMATS,
    *wazuh.FORMATS,
    *w3c.FORMATS,
    *products.FORMATS,
    *azure.FORMATS,
    *endpoint.FORMATS,  # any ECS document that no other family knows
)


MANY_ORIGINALS = 100_000  # records that a later one is compared with; a recording's repeats lie near each other


def import_records(
    records: Iterable[Mapping[str, Any] | Skipped], *, networks: tuple[str, ...] = PRIVATE_NETWORKS
) -> list[Imported]:
    """Return what each raw record of one recording becomes, numbered from 0 in their order (`import_stream` has the arguments).

    A record of unknown shape that holds known ones gives way to these, so there may be more results than records.
    """
    times = FileTimes()
    results = sorted(import_stream(records, times, networks=networks), key=lambda result: result.record)
    return [result if isinstance(result, Skipped) else settled(result, times) for result in results]


def import_stream(
    records: Iterable[Mapping[str, Any] | Skipped], times: FileTimes, *, networks: tuple[str, ...] = PRIVATE_NETWORKS
) -> Iterator[Imported]:
    """Yield what each raw record of one recording becomes, as soon as it is known: of an audit event with its last line.

    Args:
        records: parsed records; a `Skipped` stands for one that could not be parsed, and stays.
        times: notes the times; after the last record, `settled` gives a draft its own.
        networks: address ranges of the organisation, from which a connection's `dst_scope` is derived.
    """
    log = text.TextLog(format_of)
    originals = Originals()
    attempts = Attempts()
    for record, shape in enumerate(_recognised(records)):
        if isinstance(shape, Skipped):
            yield replace(shape, record=record)
            continue
        raw, is_log, row = shape
        if is_log:
            for result in log.feed(record, raw):
                yield _noted(result, times, networks)
        else:
            time, result = row.convert(raw) if row else (None, Skipped(UNKNOWN_SHAPE))
            result = originals.once(_noted(located(result, time, record), times, networks), raw)
            yield from attempts.take(result, row.name, row.attempt(raw)) if row and row.attempt else (result,)
    yield from attempts.close()
    for result in log.close():
        yield _noted(result, times, networks)


class _Shape(NamedTuple):
    """A record, whether it is read beside the file's other lines, and its format; of an unknown one neither."""

    raw: Mapping[str, Any]
    is_log: bool
    row: Format | None

    @property
    def is_known(self) -> bool:
        return self.is_log or self.row is not None


def _shape_of(raw: Mapping[str, Any]) -> _Shape:
    """Recognise a record, or the log line in it."""
    is_log = not is_bare(raw) and _is_log(raw)
    row = None if is_log else format_of(raw)
    line = None if row or is_log else text.line_in(raw)
    return _Shape(raw, is_log, row) if line is None else _shape_of_line(line)


def _shape_of_line(line: Mapping[str, Any]) -> _Shape:
    is_log = _is_log(line)
    return _Shape(line, is_log, None if is_log else format_of(line))


def _recognised(records: Iterable[Mapping[str, Any] | Skipped]) -> Iterator[_Shape | Skipped]:
    """Yield each record with its shape; an unknown one that holds known records gives way to these."""
    search = Search(lambda raw: _shape_of(raw).is_known)
    for raw in records:
        if isinstance(raw, Skipped):
            yield raw
            continue
        shape = _shape_of(raw)
        inner = [] if shape.is_known else search.records(raw)
        if inner:
            yield from (record if isinstance(record, Skipped) else _shape_of(record) for record in inner)
        else:
            yield shape


def _is_log(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is read beside the file's other lines."""
    return text.is_text(raw) and not aws.is_flow_line(raw)


def settled(draft: DraftEvent, times: FileTimes) -> DraftEvent:
    """Return a draft with the time that the whole file tells."""
    time = times.settle(draft.time)
    return draft if time is draft.time else replace(draft, time=time)


def format_of(raw: Mapping[str, Any]) -> Format | None:
    """Return the first format whose shape a record has."""
    return next((row for row in FORMATS if row.has_shape(raw)), None)


def _noted(result: Imported, times: FileTimes, networks: tuple[str, ...]) -> Imported:
    if isinstance(result, Skipped):
        return result
    time = times.note(result.time)
    return with_scope(result if time is result.time else replace(result, time=time), networks)


class Originals:
    """The records of one recording that a later one may repeat, by their hash: the last `MANY_ORIGINALS` or up to twice as many."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}

    def once(self, result: Imported, raw: Mapping[str, Any]) -> Imported:
        """Return the result, or that the very same record came before."""
        if isinstance(result, Skipped):
            return result
        try:
            text = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # a number beyond 64 bits, a lone surrogate
            text = repr(raw).encode("utf-8", "backslashreplace")
        key = blake2b(text, digest_size=8).digest()
        if len(self._recent) >= MANY_ORIGINALS:
            self._older, self._recent = self._recent, {}
        record = self._older.get(key)
        record = self._recent.setdefault(key, result.record) if record is None else record
        return result if record == result.record else Skipped(f"duplicate of record {record}", result.record)
