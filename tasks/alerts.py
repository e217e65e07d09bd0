"""The SIEM's alert catalogue: the title and severity of the alert that fires on each event type.

Each event type has one title, shared by every decision: a title says what the sensor saw and never what is true.
"""

from __future__ import annotations

from typing import Literal

from schema import Alert

_TITLES: dict[str, tuple[str, Literal["low", "medium", "high"]]] = {
    "process": ("Unusual program start", "medium"),
    "process_access": ("Process opened by another process", "high"),
    "process_inject": ("Thread started in another process", "high"),
    "module_load": ("Rare module loaded", "low"),
    "file": ("File written in watched folder", "medium"),
    "registry": ("Watched registry value changed", "medium"),
    "net_conn": ("Rare network destination", "medium"),
    "dns_query": ("Rare domain looked up", "low"),
    "http": ("Unusual web request", "medium"),
    "logon": ("Unusual sign-in", "medium"),
    "kerberos": ("Unusual ticket request", "medium"),
    "privilege": ("Sensitive privilege used", "low"),
    "account": ("Account or key changed", "medium"),
    "group": ("Group membership activity", "medium"),
    "service": ("Service activity", "medium"),
    "task": ("Scheduled task activity", "medium"),
    "share": ("Unusual share access", "low"),
    "pipe": ("Named pipe activity", "low"),
    "script": ("Script activity", "medium"),
    "wmi": ("WMI activity", "medium"),
    "directory": ("Directory object accessed", "high"),
    "object_access": ("Watched object opened", "low"),
    "control_change": ("Security control changed", "high"),
    "detection": ("Finding of another product", "medium"),
    "cloud_api": ("Unusual cloud call", "medium"),
}


def alert_on(event_type: str, log_id: str, narrative: str) -> Alert:
    """Make the alert that fires on a line; the narrative becomes the reporter's note, unchanged."""
    title, severity = _TITLES[event_type]
    alert: Alert = {"title": title, "severity": severity, "log_id": log_id}
    if narrative:
        alert["narrative"] = narrative
    return alert


TITLES: tuple[str, ...] = tuple(title for title, _ in _TITLES.values())
