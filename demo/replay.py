"""Pack what a visitor wrote as an attacker into an address that shows the same round again, and read it back. Imports no gradio."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from functools import lru_cache
from typing import Any

from demo.draft import MAX_DRAFT, IncidentDraft
from demo_data import generated
from schema import BadRequestError, OpenSOCError, Task

MAX_EDIT = 4_000  # characters in an address


@lru_cache(maxsize=64)
def begun(task: Task, seed: int) -> IncidentDraft:
    """Return the draft that an attack on a task and a seed begins with.

    Raises:
        BadRequestError: no such task, or a seed out of 0 to 999,999.
    """
    return IncidentDraft.of(generated(task, seed))


def packed(draft: IncidentDraft) -> str:
    """Pack the difference of a draft from the one it began as: events that stayed are named by their ids alone.

    Returns:
        letters that an address may hold; empty where the draft cannot be read, or needs more than `MAX_EDIT` of them.
    """
    try:
        content = draft.read()
    except OpenSOCError:
        return ""
    events, before = content.get("events"), _events(begun(draft.task, draft.seed))
    if not isinstance(events, list):
        return ""
    short = [event["log_id"] if _is_among(event, before) else event for event in events]
    raw = json.dumps({**content, "events": short}, separators=(",", ":")).encode()
    edit = base64.urlsafe_b64encode(zlib.compress(raw, 9)).decode().rstrip("=")
    return edit if len(edit) <= MAX_EDIT else ""


def unpacked(task: Task, seed: int, edit: str) -> IncidentDraft:
    """Return the draft that was packed; see `packed`.

    Raises:
        BadRequestError: the address holds no such edit, task or seed.
    """
    first = begun(task, seed)
    before = _events(first)
    try:
        raw = base64.urlsafe_b64decode(edit[:MAX_EDIT] + "=" * (-len(edit[:MAX_EDIT]) % 4))
        content = json.loads(zlib.decompressobj().decompress(raw, MAX_DRAFT))
        events = [before[event] if isinstance(event, str) else event for event in content["events"]]
        return first._replace(text=json.dumps({**content, "events": events}, indent=1))
    except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, RecursionError):
        raise BadRequestError(
            "Expected a link that Send gave, and this one holds no incident that can be read; begin a round of your own."
        ) from None


def _events(draft: IncidentDraft) -> dict[str, Any]:
    return {event["log_id"]: event for event in draft.read()["events"]}


def _is_among(event: Any, before: dict[str, Any]) -> bool:
    log_id = event.get("log_id") if isinstance(event, dict) else None
    return isinstance(log_id, str) and before.get(log_id) == event
