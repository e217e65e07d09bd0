"""Importers of recorded telemetry: raw records in, draft events of `schema.py` out, or why a record is left out.

One module for each family of sources; every module says where its mapping comes from. `import_records` finds the
family of each record by its shape and gives one result for every record, in their order: nothing disappears without a
reason. The conditions of a recording that no record states are not made up: a missing field stays missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from telemetry.importers.azure import convert_azure, is_azure
from telemetry.importers.cloudtrail import convert_cloudtrail, is_cloudtrail
from telemetry.importers.draft import Draft, Left, misfit, with_scope
from telemetry.importers.linux import convert_text, is_text
from telemetry.importers.windows import is_windows
from telemetry.importers.windows_logs import convert_windows
from telemetry.importers.zeek import convert_zeek, is_zeek
from world import PRIVATE_NETWORKS

__all__ = ["Draft", "Left", "import_records"]

Mapped = tuple[str, str, dict[str, Any]] | str
UNKNOWN_SHAPE = "record shape not recognised"


def _convert(raw: Mapping[str, Any]) -> tuple[datetime | None, Mapped]:
    if is_windows(raw):
        record, mapped = convert_windows(raw)
        return (record.time if record else None), mapped
    if is_cloudtrail(raw):
        return convert_cloudtrail(raw)
    if is_zeek(raw):
        return convert_zeek(raw)
    if is_azure(raw):
        return convert_azure(raw)
    return None, UNKNOWN_SHAPE


def _import_one(raw: Mapping[str, Any], record: int, networks: tuple[str, ...]) -> Draft | Left:
    moment, mapped = _convert(raw)
    if isinstance(mapped, str):
        return Left(mapped, record)
    event_type, _, fields = mapped
    if event_type == "net_conn":
        with_scope(fields, networks)
    return Draft(event_type, fields, moment, record)


def import_records(
    records: Iterable[Mapping[str, Any] | Left], *, networks: tuple[str, ...] = PRIVATE_NETWORKS
) -> list[Draft | Left]:
    """What each raw record of one recording becomes.

    Args:
        records: parsed records; a `Left` stands for one that could not be parsed, and stays.
        networks: address ranges of the organisation, from which a connection's `dst_scope` is derived.

    Returns:
        One result for each record, numbered from 0 in their order.
    """
    results: list[Draft | Left] = []
    text: list[tuple[int, str]] = []
    first: dict[object, tuple[int, Mapping[str, Any]]] = {}
    for record, raw in enumerate(records):
        if isinstance(raw, Left):
            results.append(replace(raw, record=record))
        elif is_text(raw):
            text.append((record, str(raw["raw"])))
        else:
            result = _import_one(raw, record, networks)
            results.append(_once(result, raw, first))
    for result in convert_text(text):
        if isinstance(result, Draft) and result.event_type == "net_conn":
            result = replace(result, fields=with_scope(dict(result.fields), networks))
        results.append(result)
    checked = (_checked(result) for result in results)
    return sorted(checked, key=lambda result: result.record)


def _once(
    result: Draft | Left, raw: Mapping[str, Any], first: dict[object, tuple[int, Mapping[str, Any]]]
) -> Draft | Left:
    """The result, or that the very same record came before; `first` collects what came."""
    if isinstance(result, Left):
        return result
    key = (result.time, result.event_type, tuple(result.fields.items()))
    record, before = first.setdefault(key, (result.record, raw))
    if record != result.record and before == raw:
        return Left(f"duplicate of record {record}", result.record)
    return result


def _checked(result: Draft | Left) -> Draft | Left:
    """The result, or what the schema has against it."""
    if isinstance(result, Left):
        return result
    reason = misfit(result)
    return Left(reason, result.record) if reason else result
