"""Count sign-ins that a daemon tells in several log lines: one try is one event, and what is no try is none.

sshd tells one wrong password by its own line, by PAM's, by "Invalid user" and by the end of the connection; a server that
takes keys alone tells only the end. `SignIns` puts the lines of one connection together (host, process id and
address) and lets the best kind of line speak for it; the others are named as its parts. Sources: OpenSSH auth.c, auth2.c,
packet.c and auth-pam.c (message texts); Linux-PAM pam_unix; the Linux audit documentation (USER_AUTH, USER_LOGIN, USER_ERR).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event, located
from telemetry.importers.syslog import MAX_MESSAGE, Message

MAX_REPEATS = 1000  # tries that one line may stand for
CONNECTION_S = 900  # lines of one process id that lie further apart are other connections
MAX_LINES = 2000  # of one connection
OPEN_CONNECTIONS = 1000  # whose lines may still come
AT_ONCE_S = 5  # lines without process id and port that lie further apart are other tries


class Teller(IntEnum):
    """Say how well a line tells a try; of one connection only the lines of the best kind count."""

    ENTRY = 0  # let in
    SESSION = 1
    CHECK = 2
    CREDENTIAL = 3  # a wrong credential
    DAEMON = 4
    MODULE = 5
    SIGN = 6  # no credential is seen, but that somebody tried


@dataclass(frozen=True, slots=True)
class Try:
    """One line about a sign-in: who told it, of which connection, how many tries it stands for, and the event's values."""

    record: int
    time: datetime | None
    teller: Teller
    host: str
    pid: str
    values: Mapping[str, Any]
    port: str = ""
    count: int = 1
    module: str = ""


_FROM = r"(?P<src_ip>[\w.:%-]+)(?: port (?P<port>\d+))?"
_SSHD: tuple[tuple[Teller, re.Pattern[str], str], ...] = (
    (Teller.ENTRY, re.compile(rf"Accepted (?P<auth_protocol>\S+) for (?P<user_name>.*?) from {_FROM}"), ""),
    (
        Teller.SIGN,
        re.compile(
            rf"Failed (?P<auth_protocol>none|publickey|hostbased) for (?:(?:invalid|illegal) user )?(?P<user_name>.*?) from {_FROM}"
        ),
        "",
    ),
    (
        Teller.CREDENTIAL,
        re.compile(rf"Failed (?P<auth_protocol>\S+) for (?:(?:invalid|illegal) user )?(?P<user_name>.*?) from {_FROM}"),
        "",
    ),
    (
        Teller.DAEMON,
        re.compile(
            rf"error: PAM: (?P<status>[\w ]{{1,80}}) for (?:(?:invalid|illegal) user )?(?P<user_name>.*?) from {_FROM}"
        ),
        "",
    ),
    (
        Teller.SIGN,
        re.compile(rf"(?:Invalid|Illegal) user (?P<user_name>.*?) ?from {_FROM}"),
        "no such user",
    ),
    (
        Teller.SIGN,
        re.compile(rf"maximum authentication attempts exceeded for (?:invalid user )?(?P<user_name>.*?) from {_FROM}"),
        "too many attempts",
    ),
    (
        Teller.SIGN,
        re.compile(
            r"(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting) (?:authenticating|invalid) user (?P<user_name>.*?) ?(?P<src_ip>[\da-fA-F.:]+) port (?P<port>\d+)\b.*?"
            r"(?:\[preauth\]|Too many authentication failures)"
        ),
        "left before signing in",
    ),
    (
        Teller.SIGN,
        re.compile(rf"User (?P<user_name>\S*) from {_FROM} not allowed because"),
        "not allowed",
    ),
    (
        Teller.SIGN,
        re.compile(rf"(?P<user_name>ROOT) LOGIN REFUSED FROM {_FROM}"),
        "not allowed",
    ),
    (
        Teller.SIGN,
        re.compile(rf"Received disconnect from {_FROM}:? ?(?:\d+: .*)?\[preauth\]"),
        "left before signing in",
    ),
)
SSH_DAEMONS = frozenset({"sshd", "sshd-session", "sshd-auth", "ssh", "dropbear", "com.openssh.sshd"})
_NESTED = re.compile(r"(?:sshd(?:-session)?(?:\[\d+\])?: )?(?:(?:error|fatal|info): (?!PAM:))?")
_DROPBEAR = (
    (
        Teller.ENTRY,
        re.compile(
            r"(?P<auth_protocol>P\w+) auth succeeded for '(?P<user_name>[^']*)'.* from (?P<src_ip>[\w.:]+?):(?P<port>\d+)$"
        ),
        "",
    ),
    (
        Teller.CREDENTIAL,
        re.compile(
            r"Bad (?P<auth_protocol>\S+) attempt for '(?P<user_name>[^']*)' from (?P<src_ip>[\w.:]+?):(?P<port>\d+)$"
        ),
        "",
    ),
    (
        Teller.CREDENTIAL,
        re.compile(r"Login attempt for nonexistent user .*from (?P<src_ip>[\w.:]+?):(?P<port>\d+)$"),
        "no such user",
    ),
)
_PAM_FAILURE = re.compile(
    r"(?P<module>pam_\w+)(?:\((?P<service>[\w-]+):\w+\))?:?\s+authentication failure;.*?\brhost=(?P<src_ip>\S*)(?:\s+user=(?P<user_name>\S+))?"
)
_PAM_MORE = re.compile(
    r"PAM:? (?P<count>\d{1,3}) more authentication failures?;.*?\brhost=(?P<src_ip>\S*)(?:\s+user=(?P<user_name>\S+))?"
)
_PAM_UNKNOWN = re.compile(r"pam_\w+(?:\([\w-]+:\w+\))?:?\s+check pass; user unknown")
_SESSION = re.compile(
    r"pam_\w+\((?P<service>[\w-]+):session\): session (?P<what>opened|closed) for user (?P<user_name>[^\s(]+)"
)
_REPEATED = re.compile(r"message repeated (?P<count>\d{1,6}) times?: \[\s?(?P<text>.*?)\]?$", re.DOTALL)
LAST_REPEATED = re.compile(r"(?:--- )?last message repeated (?P<count>\d{1,6}) times?(?: ---)?$")


def unfolded(message: Message) -> tuple[int, str]:
    """Return how many messages a line stands for (rsyslog folds repeats into one), and their text."""
    match = _REPEATED.match(message.text[:MAX_MESSAGE])
    return (min(int(match["count"]), MAX_REPEATS), match["text"]) if match else (1, message.text[:MAX_MESSAGE])


def read_try(message: Message) -> Try | None:
    """Return what a message of sshd, or of PAM on behalf of any program, says about a sign-in; None for anything else."""
    count, text = unfolded(message)
    is_sshd = not message.program or message.program.lower() in SSH_DAEMONS
    text = _NESTED.sub("", text, count=1) if is_sshd else text
    patterns = (*_SSHD, *_DROPBEAR) if is_sshd else ()
    for teller, pattern, status in patterns:
        match = pattern.match(text)
        if match:
            return _try(message, teller, match, status, count)
    if match := _PAM_FAILURE.match(text):
        return _try(message, Teller.MODULE, match, "", count)
    if match := _PAM_MORE.match(text):
        return _try(message, Teller.MODULE, match, "", count * min(int(match["count"]), MAX_REPEATS))
    return None


def _try(message: Message, teller: Teller, match: re.Match[str], status: str, count: int) -> Try:
    parts = match.groupdict(default="")
    values = {
        "user_name": parts.get("user_name"),
        "src_ip": parts.get("src_ip"),
        "auth_protocol": parts.get("auth_protocol"),
        "status": parts.get("status") or status,
        "logon_process": message.program or parts.get("service"),
        "device_hostname": message.host,
    }
    return Try(
        message.record,
        message.time,
        teller,
        message.host,
        message.pid,
        values,
        parts.get("port", ""),
        count,
        parts.get("module", ""),
    )


def session_of(message: Message) -> tuple[str, str, str] | None:
    """Return the service, what happens (opened or closed) and the user of a line about a PAM session; None for anything else."""
    match = _SESSION.match(message.text[:MAX_MESSAGE])
    return (match["service"], match["what"], match["user_name"]) if match else None


def is_part_of_try(message: Message) -> bool:
    """Return whether a line only accompanies a wrong password that other lines tell."""
    return _PAM_UNKNOWN.match(message.text[:MAX_MESSAGE]) is not None


# ---------------------------------------------------------------- counting
class SignIns:
    """Counts the sign-ins that lines tell, as they come; a connection is told when its lines are complete."""

    def __init__(self) -> None:
        self.connections: dict[tuple[str, ...], list[Try]] = {}

    def take(self, line: Try) -> list[Imported]:
        """Take the next line; return what is complete by now.

        Lines belong to one connection by host and process id; without a process id by host, address and account.
        """
        source, account = (str(line.values.get(name) or "") for name in ("src_ip", "user_name"))
        key = (line.host, line.pid) if line.pid else (line.host, "", source, account)
        results: list[Imported] = []
        lines = self.connections.get(key)
        if lines and (_is_apart(lines[-1], line) or len(lines) >= MAX_LINES):
            results += _told(self.connections.pop(key))
        self.connections.setdefault(key, []).append(line)
        if len(self.connections) > OPEN_CONNECTIONS:
            results += _told(self.connections.pop(next(iter(self.connections))))
        return results

    def close(self) -> list[Imported]:
        """Return what is still open at the file's end."""
        results = [result for lines in self.connections.values() for result in _told(lines)]
        self.connections.clear()
        return results


def _told(lines: list[Try]) -> list[Imported]:
    """Return what the lines of a connection become: an event for each try, and for each line at least one result."""
    tellers = _tellers(lines)
    results: list[Imported] = []
    for line in lines:
        if any(line is teller for teller in tellers):
            results += _events(line)
        else:
            results.append(Skipped(f"part of a sign-in: told by record {tellers[0].record}", line.record))
    return results


def _is_apart(first: Try, second: Try, seconds: float = CONNECTION_S) -> bool:
    if first.time is None or second.time is None:
        return False
    return abs((second.time - first.time).total_seconds()) > seconds


def _tellers(lines: list[Try]) -> list[Try]:
    """Choose the lines of a connection that stand for its tries, in their order.

    Wrong passwords all count. Where only signs tell of tries, one for each port counts (or for each account, where no port is named),
    and none where that connection was let in.
    """
    entries = _best([line for line in lines if line.teller <= Teller.CHECK])
    counted = _best([line for line in lines if Teller.CHECK < line.teller < Teller.SIGN])
    modules = [line.module for line in counted if line.module]
    counted = [line for line in counted if line.module in ("", *modules[:1])]
    known = [*entries, *counted]
    for line in lines:
        if line.teller is Teller.SIGN and not any(_is_same_try(line, other) for other in known):
            known.append(line)
    return sorted(known, key=lambda line: line.record)


def _best(lines: list[Try]) -> list[Try]:
    best = min((line.teller for line in lines), default=None)
    return [line for line in lines if line.teller is best]


def _is_same_try(sign: Try, other: Try) -> bool:
    """Return whether a sign speaks of a try that another line of its connection tells: by the port, else by the account."""
    if sign.port and other.port:
        return sign.port == other.port
    sources = sign.values.get("src_ip"), other.values.get("src_ip")
    if all(sources) and sources[0] != sources[1]:
        return False
    if not sign.pid and _is_apart(sign, other, AT_ONCE_S):
        return False
    names = sign.values.get("user_name"), other.values.get("user_name")
    return not all(names) or names[0] == names[1]


def _events(line: Try) -> list[Imported]:
    activity = "success" if line.teller <= Teller.CHECK else "failure"
    result = located(draft_event("logon", activity, line.values), line.time, line.record)
    return [result] * max(1, min(line.count, MAX_REPEATS))
