"""Import recorded telemetry: raw records in, draft events of `schema.py` out, or why a record is skipped.

One module for each family of sources; every module says where its mapping comes from. `import_records` finds the
family of each record by its shape and gives one result for every record, in their order: nothing disappears without a
reason. The conditions of a recording that no record states are not made up: a missing field stays missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from telemetry.importers import (
    azure,
    cloudtrail,
    defender,
    entra,
    github,
    kubernetes,
    okta,
    purview,
    windows_logs,
    zeek,
)
from telemetry.importers.attempts import Attempts
from telemetry.importers.events import DraftEvent, Imported, Skipped, located, with_scope
from telemetry.importers.formats import Format
from telemetry.importers.linux import convert_text, is_text
from telemetry.importers.times import settle_times
from world import PRIVATE_NETWORKS

UNKNOWN_SHAPE = "record shape not recognised"
FORMATS: tuple[Format, ...] = (  # in the order in which a record's shape is tried
    *windows_logs.FORMATS,
    *cloudtrail.FORMATS,
    *zeek.FORMATS,
    *defender.FORMATS,
    *entra.FORMATS,
    *purview.FORMATS,
    *kubernetes.FORMATS,
    *okta.FORMATS,
    *github.FORMATS,
    *azure.FORMATS,
)


def import_records(
    records: Iterable[Mapping[str, Any] | Skipped], *, networks: tuple[str, ...] = PRIVATE_NETWORKS
) -> list[Imported]:
    """Return what each raw record of one recording becomes.

    Args:
        records: parsed records; a `Skipped` stands for one that could not be parsed, and stays.
        networks: address ranges of the organisation, from which a connection's `dst_scope` is derived.

    Returns:
        One result for each record, numbered from 0 in their order.
    """
    results: list[Imported] = []
    text: list[tuple[int, str]] = []
    originals: dict[object, tuple[int, Mapping[str, Any]]] = {}
    attempts = Attempts()
    for record, raw in enumerate(records):
        if isinstance(raw, Skipped):
            results.append(replace(raw, record=record))
        elif is_text(raw):
            text.append((record, str(raw["raw"])))
        else:
            row = format_of(raw)
            time, result = row.convert(raw) if row else (None, Skipped(UNKNOWN_SHAPE))
            results.append(_once(located(result, time, record), raw, originals))
            if row and row.attempt:
                attempts.settle(results, row.name, row.attempt(raw))
    results += convert_text(text)
    scoped = (with_scope(result, networks) if isinstance(result, DraftEvent) else result for result in results)
    return _with_settled_times(sorted(scoped, key=lambda result: result.record))


def format_of(raw: Mapping[str, Any]) -> Format | None:
    """Return the first format whose shape a record has."""
    return next((row for row in FORMATS if row.has_shape(raw)), None)


def _with_settled_times(results: Sequence[Imported]) -> list[Imported]:
    times = settle_times([result.time if isinstance(result, DraftEvent) else None for result in results])
    return [
        replace(result, time=time) if isinstance(result, DraftEvent) and result.time is not time else result
        for result, time in zip(results, times, strict=True)
    ]


def _once(result: Imported, raw: Mapping[str, Any], originals: dict[object, tuple[int, Mapping[str, Any]]]) -> Imported:
    """Return the result, or that the very same record came before; `originals` collects the records that came."""
    if isinstance(result, Skipped):
        return result
    record, original = originals.setdefault((result.time, result.fields), (result.record, raw))
    if record != result.record and original == raw:
        return Skipped(f"duplicate of record {record}", result.record)
    return result
