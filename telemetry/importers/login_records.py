"""Read the login records of Linux as tools print them: `last`, `lastb` and `utmpdump`.

btmp holds refused sign-ins, wtmp those that were let in; sshd writes the line `ssh:notty` to btmp alone. Sources: last(1), utmpdump(1), utmp(5).
"""

from __future__ import annotations

import re
from datetime import datetime

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.times import read_time

_LAST = re.compile(
    r"(?P<user>\S+)?\s+(?P<line>ssh:notty|pts/\d+|tty\w+|:\d+)\s+(?P<source>[\w.:%-]+)\s+[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2})\s+(?P<day>\d{1,2}) "
    r"(?P<clock>\d\d:\d\d)(?P<seconds>:\d\d)?(?: (?P<year>\d{4}))?\s*(?:$|-|still|gone)",
    re.ASCII,
)
_DUMPED = re.compile(
    r"\[(?P<type>\d)\] \[\d+\s*\] \[[^\]]*\] \[(?P<user>[^\]]*)\] \[(?P<line>[^\]]*)\] \[(?P<source>[^\]]*)\] \[(?P<address>[^\]]*)\] \[(?P<time>[^\]]+)\]",
    re.ASCII,
)
_OTHER = re.compile(r"(?:reboot|shutdown|runlevel)\s+(?:system|~)|[bw]tmp(?:\.\d+)? begins ", re.ASCII)
_REFUSED = "ssh:notty"
_USER_PROCESS = "7"


def read_login_record(text: str) -> tuple[datetime | None, Imported] | None:
    """Return when a line's sign-in was and what it becomes; None for a line of another kind."""
    if match := _LAST.match(text):
        year = f" {match['year']}" if match["year"] else ""
        moment = read_time(f"{match['month']} {match['day']:>2}{year} {match['clock']}{match['seconds'] or ':00'}")
        return moment, _sign_in(match["user"], match["line"], match["source"])
    if match := _DUMPED.match(text):
        line, time = match["line"].strip(), read_time(match["time"].replace(",", "."))
        if line != _REFUSED and match["type"] != _USER_PROCESS:
            return time, Skipped("a login record of no sign-in")
        address = match["address"].strip()
        source = match["source"].strip() if address in ("", "0.0.0.0") else address
        return time, _sign_in(match["user"].strip(), line, source)
    return (None, Skipped("a login record of no sign-in")) if _OTHER.match(text) else None


def _sign_in(user: str | None, line: str, source: str) -> Imported:
    values = {"user_name": user, "src_ip": source, "logon_process": "sshd" if line == _REFUSED else line}
    return draft_event("logon", "failure" if line == _REFUSED else "success", values)
