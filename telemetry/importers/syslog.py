"""Read a log line's frame: when, on which host and by which program it was written, and what is left: the message.

Frames: RFC 3164 with and without PRI (also with a year or a zone beside the date, ISO time, Cisco's clock), RFC 5424 with
structured data, octet counts of RFC 6587, `journalctl -o short*`, the kernel ring buffer's own stamp, macOS `log show` in
its default and syslog styles, and the container runtimes' CRI lines. What is in a frame may have a frame of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from telemetry.importers.times import read_time

MAX_MESSAGE = 8192  # characters of a message that are looked at


@dataclass(frozen=True, slots=True)
class Message:
    """One log message: the raw record's number, its time (None where it bears none), host, program, process id, text."""

    record: int
    time: datetime | None
    host: str
    program: str
    pid: str
    text: str


MessageRow = tuple[re.Pattern[str], str, str, Mapping[str, Any]]


def message_row(pattern: str, event_type: str, activity: str, **fixed: Any) -> MessageRow:
    """Make a row of a table of messages: what the text looks like, the event that it becomes, and fields that it does not hold."""
    return re.compile(pattern), event_type, activity, fixed


_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:\s?(?:Z|UTC|GMT|[ECMP][SD]T|CES?T|[+-]\d\d:?\d\d))?"
_CLASSIC = r"[A-Z][a-z]{2}\s+\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:[.,]\d+)?(?: \d{4}(?=[ :]))?(?: (?:Z|UTC|GMT|[A-Z]{3,4}(?=:)|[+-]\d{4})(?=[ :]))?"
_TIME = rf"(?:[*.]?(?:[A-Z][a-z]{{2}} )?(?P<time>{_ISO}|{_CLASSIC}|\d{{4}} [A-Z][a-z]{{2}}\s+\d{{1,2}} \d\d:\d\d:\d\d|\d{{10}}\.\d{{1,9}})|\[ *\d+\.\d+\])"
_COUNT = re.compile(r"\d{1,6} (?=<\d{1,3}>)", re.ASCII)
_PRI = re.compile(r"<\d{1,3}>", re.ASCII)
_RFC5424 = re.compile(
    r"[1-9]\d? (?P<time>\S+) (?P<host>\S+) (?P<program>\S+) (?P<pid>\S+) \S+ "
    r"(?:-|(?:\[(?:[^\]\"\\]|\\.|\"(?:[^\"\\]|\\.){0,2000}\"){0,200}\])+)(?: \ufeff?(?P<text>.*))?$",
    re.DOTALL | re.ASCII,
)
_TIMED = re.compile(rf"{_TIME}:?\s+(?P<rest>.*)", re.DOTALL | re.ASCII)
_UNIFIED = re.compile(  # macOS, `log show`: thread, level, activity, process id, time to live, program and library
    r"0x[0-9a-f]+\s+(?:Default|Info|Debug|Error|Fault|Activity)\s+0x[0-9a-f]+\s+(?P<pid>\d+)\s+\d+\s+(?P<program>[\w.-]+): "
    r"(?:\([^)]{1,80}\) )?(?:\[[^\]]{1,120}\] )?(?P<text>.*)",
    re.DOTALL | re.ASCII,
)
_CRI = re.compile(r"(?P<time>\S+Z|\S+[+-]\d\d:\d\d) (?:stdout|stderr) [FP](?::\S*)? (?P<text>.*)", re.DOTALL)
_LEVEL = re.compile(  # facility and level, which BusyBox and OpenWrt write before the program
    r"^((?:[\w.:/-]+ )?)(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-7])"
    r"\.(?:emerg|alert|crit|err|error|warn|warning|notice|info|debug) (?=\S+: )"
)
_COOKIE = re.compile(r"@cee:\s*(?=\{)")  # CEE, "Log Syntax": an object follows
_PROGRAM = r"(?P<program>[\w./@+-]{1,120}?)(?:\((?P<module>[\w:-]{1,60})\))?(?:\[(?P<pid>\d+)(?::\d+)?\])?"
_TITLE = r"(?:: [\w.@-]+ \[\w+\]\[(?P<titled_pid>\d+)\])?"  # sshd's process title, which macOS writes for its name
_HOST_AND_PROGRAM = re.compile(
    rf"(?P<host>[\w.:/-]+)\s+{_PROGRAM}(?: \([^)]{{1,80}}\))?{_TITLE}:(?:\s+(?P<text>.*)|$)", re.DOTALL
)
_ASA = re.compile(r"(?:(?P<host>[\w.-]+)\s+)?:?\s*(?P<text>%(?:ASA|FTD|PIX)-(?:\w+-)?\d-\d{6}:.*)", re.DOTALL)
_PROGRAM_ALONE = re.compile(rf"{_PROGRAM}:\s+(?P<text>.*)", re.DOTALL)
_HOST_ALONE = re.compile(r"(?!\d+ )(?P<host>[\w.:-]+)\s+(?P<text>\S.*)", re.DOTALL)


def read_message(line: str, record: int = 0, time: datetime | None = None) -> Message | None:
    """Return the message of a log line; None where the line has no frame that is known.

    Args:
        time: what the line's wrapping says, for a line that bears no time itself.
    """
    text = line.lstrip("\ufeff")
    text = _PRI.sub("", _COUNT.sub("", text, count=1), count=1)
    message = _structured(text, record) or _contained(text, record) or _classic(text, record)
    if message is None:
        return None
    has_date = message.time is not None and getattr(message.time, "order", None) != "no year"
    return message if has_date or time is None else replace(message, time=time)


def _structured(text: str, record: int) -> Message | None:
    match = _RFC5424.match(text)
    if not match:
        return None
    host, program, pid = ("" if match[part] == "-" else match[part] for part in ("host", "program", "pid"))
    return Message(record, read_time(match["time"]), host, _base(program), pid, _bare(match["text"] or ""))


def _contained(text: str, record: int) -> Message | None:
    """Return what a container wrote, by the runtime's line (Kubernetes, CRI logging format); its own frame counts first."""
    match = _CRI.match(text)
    if not match:
        return None
    time = read_time(match["time"])
    return read_message(match["text"], record, time) or Message(record, time, "", "", "", match["text"])


def _classic(text: str, record: int) -> Message | None:
    timed = _TIMED.match(text)
    if not timed:
        return None
    time, rest = read_time(timed["time"]) if timed["time"] else None, _LEVEL.sub(r"\1", timed["rest"])
    for pattern in (_UNIFIED, _ASA, _HOST_AND_PROGRAM, _PROGRAM_ALONE, _HOST_ALONE):
        match = pattern.match(rest)
        if match:
            parts = match.groupdict(default="")
            return Message(
                record,
                time,
                parts.get("host", ""),
                _base(parts.get("program", "")),
                parts.get("pid") or parts.get("titled_pid", ""),
                _bare(parts.get("text", "")),
            )
    return None


def _bare(text: str) -> str:
    """Return a message's text without the mark and the cookie before it."""
    return _COOKIE.sub("", text.lstrip("\ufeff"), count=1)


def _base(program: str) -> str:
    """Return a program's name without its folder and the ending of a systemd unit."""
    return program.rpartition("/")[2].removesuffix(".service")
