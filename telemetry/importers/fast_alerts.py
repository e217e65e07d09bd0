"""Read alerts that Suricata and Snort write as one line, to a file of their own or to syslog.

Sources: Suricata documentation, "Output: fast.log" and "syslog alerting compatibility"; Snort manual, "alert_fast" and "alert_syslog".
"""

from __future__ import annotations

import re
from calendar import month_abbr
from datetime import datetime

from telemetry.importers.events import Imported, draft_event
from telemetry.importers.times import read_time

SEVERITIES = {"1": "high", "2": "medium", "3": "low", "4": "informational"}  # of classification.config
_ALERT = re.compile(
    r"(?:(?P<month>\d\d)/(?P<day>\d\d)(?:/(?P<year>\d\d(?:\d\d)?))?-(?P<clock>\d\d:\d\d:\d\d(?:\.\d+)?)\s+)?"
    r"(?:\[(?P<action>w?Drop)\]\s+)?(?:\[\*\*\]\s+)?\[\d+:\d+:\d+\]:?\s+(?P<title>.*?)(?:\s+\[\*\*\])?\s+"
    r"(?:\[Classification: (?P<category>[^\]]*)\]\s+)?\[Priority: (?P<priority>\d)\]:?\s+(?:<[^>]*>\s+)?"
    r"\{[\w-]+\}\s+(?P<src>\S+) -> (?P<dst>\S+)",
    re.ASCII,
)


def read_alert(text: str, host: str = "") -> Imported | None:
    """Return the alert that a line tells; None for a line of another kind."""
    match = _ALERT.match(text)
    if not match:
        return None
    title = " - ".join(part for part in (match["title"], match["category"]) if part)
    is_blocked = match["action"] == "Drop"  # what was stopped did no harm
    values = {
        "finding_title": f"{title} (blocked)" if is_blocked else title,
        "severity": None if is_blocked else SEVERITIES.get(match["priority"]),
        "src_ip": _address(match["src"]),
        "dst_ip": _address(match["dst"]),
        "device_hostname": host,
    }
    return draft_event("detection", "ids_notice", values)


def time_of_alert(text: str) -> datetime | None:
    """Return when an alert was raised, month first; Snort leaves the year out."""
    match = _ALERT.match(text)
    if not match or not match["clock"]:
        return None
    if match["year"] is None:
        return read_time(f"{month_abbr[min(int(match['month']), 12)]} {match['day']} {match['clock']}")
    year = match["year"] if len(match["year"]) == 4 else f"20{match['year']}"
    return read_time(f"{year}-{match['month']}-{match['day']} {match['clock']}")


def _address(end: str) -> str:
    """Return an end without its port; an IPv6 address is written in full, so that a ninth part is the port."""
    return end.rpartition(":")[0] if end.count(":") in (1, 8) else end
