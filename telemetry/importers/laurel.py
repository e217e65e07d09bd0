"""Read audit events as laurel writes them: an object a serial, its lines by their kind, numbers beside the names they stand for.

Source: laurel, "laurel-about" (JSON-based log format). Values that auditd writes in hexadecimal are text already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from telemetry.importers.auditd import AuditEvent, AuditLine
from telemetry.importers.times import read_time

_KINDS = ("SYSCALL", "EXECVE", "USER_CMD", "USER_AUTH", "USER_LOGIN", "USER_START", "CONFIG_CHANGE", "SERVICE_START")


def is_laurel(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is an audit event of laurel."""
    identity = raw.get("ID")
    return (
        isinstance(identity, str) and ":" in identity and any(isinstance(raw.get(kind), dict | list) for kind in _KINDS)
    )


def laurel_event(raw: Mapping[str, Any], record: int) -> AuditEvent:
    """Return the audit event that a record tells, as the lines that it was made of."""
    time, _, serial = str(raw["ID"]).rpartition(":")
    moment, node = read_time(time), str(raw.get("NODE") or "")
    return AuditEvent(
        [
            AuditLine(record, kind, serial, moment, node, dict(_values(line)))
            for kind, lines in raw.items()
            for line in (lines if isinstance(lines, list) else [lines])
            if isinstance(line, Mapping) and kind.isupper()
        ]
    )


def _values(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a line's values as auditd names them; the list of a launch's arguments as a0, a1 ..."""
    for name, value in line.items():
        if name == "ARGV" and isinstance(value, list):
            yield from ((f"a{number}", str(part)) for number, part in enumerate(value))
        elif not isinstance(value, dict | list):
            yield name, str(value)
