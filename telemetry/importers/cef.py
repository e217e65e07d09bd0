"""Read events that security products send to syslog in ArcSight's or QRadar's form, a header between bars and key=value pairs.

Sources: OpenText, "ArcSight Common Event Format (CEF) Implementation Standard"; IBM, "QRadar Log Event Extended Format (LEEF)".
"""

from __future__ import annotations

import re
from datetime import datetime

from telemetry.importers.events import Imported, draft_event
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_int, first_of

_HEAD = re.compile(r"(?P<form>CEF|LEEF):\s?(?P<version>[\d.]+)\|(?P<rest>.*)", re.DOTALL)
_BAR = re.compile(r"(?<!\\)\|")
_PAIR = re.compile(r"(?:^|\s)([\w.]+)=(.*?)(?=\s+[\w.]+=|$)", re.DOTALL)
_BLOCKED = re.compile(r"block|drop|den(?:y|ied)|reject", re.IGNORECASE)
_ALLOWED = re.compile(r"allow|accept|permit|pass", re.IGNORECASE)
_TIME = re.compile(r"\b(?:rt|start|end|devTime)=(.*?)(?=[\s^]+[\w.]+=|$)")
_WORDS = {"low": 2, "medium": 5, "high": 8, "very-high": 10, "unknown": 0}


def read_cef(text: str, host: str = "") -> Imported | None:
    """Return the connection that an event allows or blocks, else the detection that it is; None for a line of another kind."""
    head = _HEAD.match(text)
    cells = _BAR.split(head["rest"]) if head else []
    if not head or len(cells) < 5:
        return None
    is_leef = head["form"] == "LEEF"
    title, severity, pairs = (
        (cells[3], "", cells[4:]) if is_leef else (cells[4], cells[5], cells[6:]) if len(cells) > 6 else ("", "", [])
    )
    if not pairs:
        return None
    extension = "|".join(pairs)
    if is_leef:
        mark = pairs[0] if head["version"].startswith("2") and len(pairs) > 1 else "\t"
        extension = (pairs[-1] if len(pairs) > 1 else extension).replace(mark, " ")
    values = {name: value.strip() for name, value in _PAIR.findall(extension)}
    return _event(title, severity or str(values.get("sev") or ""), values, host)


def time_of_cef(text: str) -> datetime | None:
    """Return when an event that has no frame says that it was received or began."""
    match = _TIME.search(text)
    return read_time(match[1].strip()) if match else None


def _event(title: str, severity: str, values: dict[str, str], host: str) -> Imported:
    ends = {
        "src_ip": values.get("src"),
        "dst_ip": values.get("dst"),
        "device_hostname": first_of(values, ("dvchost",)) or host,
    }
    action, port = str(first_of(values, ("act", "action")) or ""), first_of(values, ("dpt", "dstPort"))
    activity = "block" if _BLOCKED.search(action) else "allow" if _ALLOWED.search(action) else ""
    if activity and port and values.get("src") and values.get("dst"):
        ports = {"src_port": first_of(values, ("spt", "srcPort")), "dst_port": port}
        return draft_event("net_conn", activity, {**ends, **ports})
    number = clean_int(severity) if severity.isdigit() else _WORDS.get(severity.lower(), 0)
    level = "high" if (number or 0) >= 7 else "medium" if (number or 0) >= 4 else "low"
    who = first_of(values, ("suser", "usrName", "duser"))
    return draft_event(
        "detection", "ids_notice", {**ends, "finding_title": title, "severity": level, "actor_user": who}
    )
