"""What an importer makes of one raw record: an event with typed fields, or the reason why the record is skipped."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from schema import EVENT_CLASSES, FIELDS_OF, NO_TIME, EventBase, Fields, NetConnFields, faults
from telemetry.importers.values import clean_fields, timestamp
from world import in_networks


@dataclass(frozen=True, slots=True)
class DraftEvent:
    """An event without a log id yet.

    `time` is None where the record bears none; `record` is the raw record's number in its file, from 0.
    """

    event_type: str
    fields: Fields
    time: datetime | None = None
    record: int = 0

    @property
    def activity(self) -> str:
        """Name what was done, in the event type's own words."""
        activity: str = self.fields.activity  # type: ignore[attr-defined]  # every type has one
        return activity


@dataclass(frozen=True, slots=True)
class Skipped:
    """A raw record that becomes no event, and the reason in words."""

    reason: str
    record: int = 0


_NEVER = datetime.min.replace(tzinfo=UTC)
Imported = DraftEvent | Skipped  # what becomes of a record


def draft_event(event_type: str, activity: str, values: Mapping[str, Any]) -> Imported:
    """Make an event of raw values by the schema's names: each is cleaned, and the whole checked by the schema once.

    Raises:
        KeyError: the type has no field of such a name (a mistake in a mapping).
    """
    try:
        return DraftEvent(event_type, FIELDS_OF[event_type].model_validate(clean_fields(event_type, activity, values)))
    except ValidationError as error:
        return Skipped(f"the schema refuses {event_type}.{faults(error, 'fields', most=1)}")


def located(result: Imported, time: datetime | None, record: int) -> Imported:
    """Add to what a record becomes the record's time and number."""
    if isinstance(result, Skipped):
        return Skipped(result.reason, record)
    return replace(result, time=time, record=record)


@lru_cache(maxsize=65_536)
def scope_of(ip: str, networks: tuple[str, ...]) -> str:
    """Return `internal` for an address of ours and for one that never leaves a local network, such as multicast; else `external`."""
    address = ipaddress.ip_address(ip)
    local = address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local
    return "internal" if local or ip == "255.255.255.255" or in_networks(ip, networks) else "external"


def with_scope(draft: DraftEvent, networks: tuple[str, ...]) -> DraftEvent:
    """Add to a connection whether its destination lies inside; other events stay as they are."""
    if not isinstance(draft.fields, NetConnFields) or draft.fields.dst_ip is None:
        return draft
    scope = scope_of(draft.fields.dst_ip, networks)
    return replace(draft, fields=draft.fields.model_copy(update={"dst_scope": scope}))


def in_time_order(drafts: Sequence[DraftEvent]) -> list[DraftEvent]:
    """Sort drafts by time, then by record; those without a time come last."""
    return sorted(drafts, key=lambda draft: (draft.time is None, draft.time or _NEVER, draft.record))


def to_event(draft: DraftEvent, log_id: str) -> EventBase:
    """Return the schema's event for a draft; its time is `schema.NO_TIME` where the record bears none.

    Raises:
        ValidationError: the log id or the time is none of the schema's.
    """
    time = timestamp(draft.time) if draft.time else NO_TIME
    row = {"event_type": draft.event_type, "fields": draft.fields, "timestamp": time, "log_id": log_id}
    return EVENT_CLASSES[draft.event_type].model_validate(row)
