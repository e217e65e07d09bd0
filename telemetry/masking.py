"""Mask in recorded lines what a model may know by heart: host and user names, user agents, dates.

Public recordings are public: a name or a day may have been seen in training. Names are replaced one for one wherever they stand, in paths and
command lines too, so that what belongs together still does. Times move by whole days. Names that mean something everywhere (SYSTEM,
Administrator, root) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from schema import NO_TIME

DAY = datetime(2026, 3, 2, tzinfo=UTC)  # the day of every window's first line
_DAY = DAY.isoformat()
HOSTS = ("device_hostname", "src_hostname")
USERS = ("actor_user", "user_name", "run_as")
EVERYWHERE = frozenset(
    [
        "system",
        "root",
        "administrator",
        "admin",
        "administrators",
        "guest",
        "user",
        "users",
        "default",
        "public",
        "everyone",
        "nobody",
        "anonymous",
        "krbtgt",
        "local",
        "service",
        "network",
        "localsystem",
        "localservice",
        "networkservice",
        "www-data",
        "daemon",
        "sshd",
        "none",
        "unknown",
    ]
)
SHORTEST = 3  # characters; shorter names stand in too many other words


def masked(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return new lines with names and dates replaced; the verifier's decision on them stays the same but for rules on the replaced words."""
    names = _names(lines)
    pattern = re.compile(
        "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in sorted(names, key=len, reverse=True)),
        re.IGNORECASE,
    )
    days = _days(lines)
    return [
        {
            **line,
            "timestamp": _moved(line["timestamp"], days),
            "fields": {name: _masked_field(name, value, names, pattern) for name, value in line["fields"].items()},
        }
        for line in lines
    ]


def _masked_field(name: str, value: Any, names: Mapping[str, str], pattern: re.Pattern[str]) -> Any:
    if name == "user_agent":
        return "client"
    if isinstance(value, list):
        return [_masked_field(name, part, names, pattern) for part in value]
    return pattern.sub(lambda match: names[match[0].lower()], value) if isinstance(value, str) and names else value


def _names(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return names in lower case, each with what replaces it, numbered in order of appearance."""
    names: dict[str, str] = {}
    for kind, present in (("HOST", _hosts(lines)), ("user", _users(lines))):
        new = [
            name for name in dict.fromkeys(map(str.lower, present)) if len(name) >= SHORTEST and name not in EVERYWHERE
        ]
        for name in new:
            names.setdefault(name, f"{kind}{len(names) + 1}")
    return names


def _hosts(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for line in lines:
        for field in HOSTS:
            name = str(line["fields"].get(field) or "").strip("\\")
            if not re.fullmatch(r"[\d.:]*", name):
                yield name.split(".")[0]


def _users(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for line in lines:
        for field in USERS:
            name = str(line["fields"].get(field) or "").rpartition("\\")[2].split("@")[0].rpartition("/")[2]
            if not name.endswith("$") and " " not in name:
                yield name


def _days(lines: Sequence[Mapping[str, Any]]) -> timedelta:
    first = datetime.fromisoformat(
        min((line["timestamp"] for line in lines if line["timestamp"] != NO_TIME), default=_DAY)
    )
    return DAY - first.replace(hour=0, minute=0, second=0, microsecond=0)


def _moved(timestamp: str, days: timedelta) -> str:
    if timestamp == NO_TIME:
        return timestamp
    rest = timestamp.partition("T")[2]
    return f"{(datetime.fromisoformat(timestamp) + days).date().isoformat()}T{rest}"
