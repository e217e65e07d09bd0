"""Read Windows events that Snare's agent, or NXLog in its form, writes as one line of cells between tabs.

Source: InterSect Alliance, "Snare for Windows: event output format" (MSWinEventLog).
"""

from __future__ import annotations

import re
from typing import Any

_MARK = re.compile(r"(?:(?P<host>\S+)[\t ])?MSWinEventLog(?:\t|#011)")
_JOINED = re.compile(
    r" {2,}(?=[A-Z][A-Za-z]*(?: [A-Za-z]+){0,5}:(?: |$))"
)  # the message's lines, each before its label
_CELLS = 14  # the mark, the criticality, ... and the message; a counter may follow


def snare_event(text: str) -> dict[str, Any] | None:
    """Return a line's event as Get-WinEvent would show it; None for a line of another kind."""
    match = _MARK.match(text)
    if not match:
        return None
    cells = text[match.end() :].replace("#011", "\t").split("\t")
    if len(cells) < _CELLS - 1:
        return None
    _, channel, _, time, event_id, provider, user, _, outcome, computer, _, _, message = cells[: _CELLS - 1]
    return {
        "LogName": channel,
        "ProviderName": provider,
        "Id": event_id,
        "TimeCreated": time,
        "MachineName": computer or match["host"],
        "UserId": user,
        "KeywordsDisplayNames": outcome,
        "Message": _JOINED.sub("\n", message.strip()),
    }
