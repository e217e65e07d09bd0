"""Pack what a visitor wrote as an attacker into an address that shows the same round again, and read it back. Imports no gradio."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import TYPE_CHECKING, Any

from schema import BadRequestError, OpenSOCError

if TYPE_CHECKING:
    from demo.draft import IncidentDraft

MAX_EDIT = 4_000  # characters in an address


def packed(draft: IncidentDraft, first: IncidentDraft) -> str:
    """Pack the difference of a draft from the one it began as: events that stayed are named by their ids alone.

    Returns:
        letters that an address may hold; empty where the draft cannot be read, or needs more than `MAX_EDIT` of them.
    """
    try:
        content = draft.read()
    except OpenSOCError:
        return ""
    events, before = content.get("events"), _events(first)
    if not isinstance(events, list):
        return ""
    short = [event["log_id"] if _is_among(event, before) else event for event in events]
    raw = json.dumps({**content, "events": short}, separators=(",", ":")).encode()
    edit = base64.urlsafe_b64encode(zlib.compress(raw, 9)).decode().rstrip("=")
    return edit if len(edit) <= MAX_EDIT else ""


def unpacked(edit: str, first: IncidentDraft, longest: int) -> IncidentDraft:
    """Return the draft that was packed; see `packed`. Of its text at most `longest` bytes are unpacked.

    Raises:
        BadRequestError: the address holds no such edit.
    """
    before = _events(first)
    try:
        raw = base64.urlsafe_b64decode(edit[:MAX_EDIT] + "=" * (-len(edit[:MAX_EDIT]) % 4))
        content = json.loads(zlib.decompressobj().decompress(raw, longest))
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
