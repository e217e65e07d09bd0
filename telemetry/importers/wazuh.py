"""Wazuh's alerts whose rule spoke of something else than a Windows event: the log line in it, the cloud's record, or the alert.

Windows events are read by `windows_shapes`. Source: Wazuh documentation, "Alert generation: alerts.json" (rule, agent, data,
full_log, decoder, syscheck).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_int, first_of, mapping

Raw = Mapping[str, Any]
_HIGH, _MEDIUM = 12, 7  # levels from which a rule is high or medium (Wazuh, "Rules classification")
_FILE_EVENTS = {"added": "create", "modified": "modify", "deleted": "delete"}


def is_wazuh(raw: Raw) -> bool:
    """Return whether a record is an alert of Wazuh."""
    rule = mapping(raw.get("rule"))
    return "level" in rule and "agent" in raw and ("full_log" in raw or "data" in raw or "syscheck" in raw)


def convert_wazuh(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when an alert was raised, and the file event or the detection that it is."""
    rule, data, check = mapping(raw.get("rule")), mapping(raw.get("data")), mapping(raw.get("syscheck"))
    moment = read_time(first_of(raw, ("timestamp", "@timestamp")))
    host = mapping(raw.get("agent")).get("name")
    if check:
        audit = mapping(check.get("audit"))
        values = {
            "device_hostname": host,
            "actor_user": mapping(audit.get("user")).get("name") or check.get("uname_after"),
            "file_path": check.get("path"),
            "process_path": mapping(audit.get("process")).get("name"),
            "file_hashes": first_of(check, ("sha256_after", "sha1_after", "md5_after")),
        }
        return moment, draft_event("file", _FILE_EVENTS.get(str(check.get("event")), "modify"), values)
    level = clean_int(rule.get("level")) or 0
    values = {
        "device_hostname": host,
        "actor_user": first_of(data, ("srcuser", "dstuser")),
        "finding_title": rule.get("description") or f"rule {rule.get('id')}",
        "severity": "high" if level >= _HIGH else "medium" if level >= _MEDIUM else "low",
        "src_ip": data.get("srcip"),
        "dst_ip": data.get("dstip"),
        "file_path": data.get("file"),
    }
    return moment, draft_event("detection", "ids_notice", values)


FORMATS = (
    Format(
        "Wazuh alerts",
        is_wazuh,
        convert_wazuh,
        ("linux/syslog",),
        "alerts.json of a Wazuh manager, or documents of its indexer",
    ),
)
