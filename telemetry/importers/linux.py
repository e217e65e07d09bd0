"""Linux text logs: auditd records and syslog lines, one line for each raw record.

auditd splits one event over several lines with the same serial number (SYSCALL, EXECVE, PATH, ...); the lines of one
serial become one event at the line that says most, and the others are named as parts of it. Sources: the Linux audit
documentation (record types; system call numbers of x86-64) and the message texts of OpenSSH, sudo and shadow.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from schema import MAX_TEXT, ProcessFields
from telemetry.importers.events import DraftEvent, Imported, Skipped, draft_event, located
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_text

_HEAD = re.compile(
    r"(?:node=(?P<node>\S+) )?type=(?P<type>\w+) msg=audit\((?P<time>\d+\.\d+):(?P<serial>\d+)\):\s?(?P<rest>.*)",
    re.DOTALL,
)
_PAIR = re.compile(r"""([A-Za-z0-9_-]+)=("[^"]*"|[^\s']+)""")
_X86_64 = "c000003e"
_EXECVE, _CONNECT, _ACCEPT = ("59", "322"), ("42",), ("43", "288")
MAX_MESSAGE = 8192  # characters of a syslog message that are looked at


@dataclass(slots=True)
class AuditLine:
    """One auditd line: its type, serial number and values."""

    record: int
    kind: str
    serial: str
    time: str
    node: str
    values: dict[str, str]


@dataclass(slots=True)
class AuditEvent:
    """The lines of one serial number."""

    lines: list[AuditLine] = field(default_factory=list)

    def first(self, *kinds: str) -> AuditLine | None:
        """Return the first line of one of the types."""
        return next((line for line in self.lines if line.kind in kinds), None)

    def values(self, kind: str) -> dict[str, str]:
        """Return the values of the first line of a type; none if there is no such line."""
        line = self.first(kind)
        return line.values if line else {}


def is_text(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record is one line of text."""
    return isinstance(raw.get("raw"), str) and len(raw) <= 2


def _unhex(text: str) -> str:
    """Decode text with spaces or special characters, which auditd writes in hexadecimal, without quotes."""
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text):
        return bytes.fromhex(text).replace(b"\0", b" ").decode("utf-8", "replace")
    return text


def _values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in _PAIR.findall(text):
        values.setdefault(name, value[1:-1] if value[0] == '"' and len(value) > 1 else value)
    return values


def read_audit(line: str, record: int) -> AuditLine | None:
    """Parse one line of an audit log; None for text of another kind."""
    match = _HEAD.match(line)
    if not match:
        return None
    rest = match["rest"].replace("\x1d", " ").replace("msg='", " ")
    return AuditLine(record, match["type"], match["serial"], match["time"], match["node"] or "", _values(rest))


def _is_enrichment(line: str) -> bool:
    """Return whether a line is the second half of an enriched one, which some exports cut off at the separator."""
    return re.match(r"(?:ARCH=\w+ SYSCALL=|[AOESF]?[UG]ID=|SADDR=\{|AUID=)", line.strip()) is not None


# ---------------------------------------------------------------- what an audit event becomes
def _user(values: Mapping[str, str]) -> str | None:
    """Name the acting account: by the name that enrichment gives, else root for number 0; other numbers name nobody."""
    for name in ("UID", "AUID"):
        if values.get(name) and values[name] != "unset":
            return values[name]
    return "root" if values.get("uid") == "0" else None


def _command(values: Mapping[str, str]) -> str:
    parts = []
    for index in range(4096):
        part = values.get(f"a{index}")
        if part is None:
            break
        parts.append(_unhex(part))
    return " ".join(part if re.fullmatch(r"[\w@%+=:,./-]+", part) else shlex.quote(part) for part in parts)


def _launch(event: AuditEvent, programs: Mapping[str, str]) -> Imported:
    call, title = event.values("SYSCALL"), event.values("PROCTITLE").get("proctitle", "")
    values = {
        "process_path": _unhex(call.get("exe", "")) or event.values("EXECVE").get("a0"),
        "process_cmd_line": _command(event.values("EXECVE")) or _unhex(title).strip(),
        "process_pid": call.get("pid"),
        "parent_path": programs.get(call.get("ppid", "")),
        "actor_user": _user(call),
        "session_uid": call.get("ses"),
    }
    return draft_event("process", "launch", values)


def _socket(saddr: str) -> tuple[str, int] | None:
    """Return address and port of a sockaddr in hexadecimal (families 2 and 10: IPv4 and IPv6)."""
    try:
        data = bytes.fromhex(saddr)
    except ValueError:
        return None
    family = int.from_bytes(data[:2], "little")
    port = int.from_bytes(data[2:4], "big")
    if family == 2 and len(data) >= 8:
        return str(ip_address(data[4:8])), port
    if family == 10 and len(data) >= 24:
        return str(ip_address(data[8:24])), port
    return None


def _connection(event: AuditEvent) -> Imported:
    call = event.values("SYSCALL")
    peer = _socket(event.values("SOCKADDR").get("saddr", ""))
    if peer is None:
        return Skipped("audit event of a socket that is no internet address")
    came_in = call.get("syscall") in _ACCEPT
    ends = {"src_ip": peer[0], "src_port": peer[1]} if came_in else {"dst_ip": peer[0], "dst_port": peer[1]}
    values = {
        **ends,
        "direction": "inbound" if came_in else None,
        "process_path": _unhex(call.get("exe", "")),
        "actor_user": _user(call),
        "session_uid": call.get("ses"),
    }
    return draft_event("net_conn", "open", values)


def _file(event: AuditEvent) -> Imported:
    call = event.values("SYSCALL")
    for line in event.lines:
        activity = {"CREATE": "create", "DELETE": "delete"}.get(line.values.get("nametype", ""))
        if line.kind == "PATH" and activity:
            values = {
                "file_path": _unhex(line.values.get("name", "")),
                "process_path": _unhex(call.get("exe", "")),
                "actor_user": _user(call),
                "session_uid": call.get("ses"),
            }
            return draft_event("file", activity, values)
    return Skipped(f"no mapping for auditd system call {call.get('syscall', '?')}")


def _sign_in(line: AuditLine) -> Imported:
    data = line.values
    failed = data.get("res", "") in ("failed", "0", "no")
    remote = "ssh" in data.get("exe", "") or data.get("terminal", "") in ("ssh", "sshd")
    activity = "failure" if failed else "ssh_session" if remote and line.kind == "USER_START" else "success"
    if line.kind in ("USER_END", "USER_LOGOUT"):
        activity = "logoff"
    values = {
        "user_name": _unhex(data.get("acct", "")) or data.get("AUID") or data.get("id"),
        "src_ip": data.get("addr"),
        "status": data.get("res"),
        "logon_process": data.get("exe"),
        "session_uid": data.get("ses"),
        "actor_user": _user(data),
    }
    return draft_event("logon", activity, values)


def _sudo(line: AuditLine) -> Imported:
    values = {
        "user_name": _user(line.values),
        "privileges": _unhex(line.values.get("cmd", "")),
        "actor_user": line.values.get("AUID"),
    }
    return draft_event("privilege", "sudo", values)


def _service(line: AuditLine) -> Imported:
    status = "running" if line.kind == "SERVICE_START" else "stopped"
    return draft_event("service", "state", {"service_name": line.values.get("unit"), "status": status})


def _account(activity: str) -> Any:
    def make(line: AuditLine) -> Imported:
        values = {
            "user_name": _unhex(line.values.get("acct", "")) or line.values.get("id"),
            "attributes": line.values.get("op"),
            "src_ip": line.values.get("addr"),
            "actor_user": _user(line.values),
        }
        return draft_event("account", activity, values)

    return make


def _policy(line: AuditLine) -> Imported:
    data = line.values
    values = {
        "control_name": f"audit rules {_unhex(data.get('path', '')) or data.get('key', '')}".strip(),
        "new_value": data.get("op"),
        "actor_user": _user(data),
        "session_uid": data.get("ses"),
    }
    return draft_event("control_change", "audit_policy", values)


_LINES = {
    "USER_LOGIN": _sign_in,
    "USER_AUTH": _sign_in,
    "USER_START": _sign_in,
    "USER_END": _sign_in,
    "USER_LOGOUT": _sign_in,
    "USER_CMD": _sudo,
    "SERVICE_START": _service,
    "SERVICE_STOP": _service,
    "ADD_USER": _account("create"),
    "DEL_USER": _account("delete"),
    "USER_CHAUTHTOK": _account("password_change"),
    "USER_MGMT": _account("modify"),
    "CONFIG_CHANGE": _policy,
    "DAEMON_END": _policy,
}


def _netfilter(event: AuditEvent) -> Imported:
    call = event.values("SYSCALL")
    values = {
        "control_name": f"netfilter table {event.values('NETFILTER_CFG').get('table', '')}",
        "new_value": _unhex(event.values("PROCTITLE").get("proctitle", "")).strip(),
        "process_path": _unhex(call.get("exe", "")),
        "actor_user": _user(call),
    }
    return draft_event("control_change", "firewall", values)


def _convert(event: AuditEvent, programs: Mapping[str, str]) -> tuple[AuditLine, Imported]:
    """Return the line that stands for an audit event, and what it becomes."""
    for kind, make in _LINES.items():
        line = event.first(kind)
        if line:
            return line, make(line)
    call = event.first("SYSCALL")
    if netfilter := event.first("NETFILTER_CFG"):
        return netfilter, _netfilter(event)
    if executed := event.first("EXECVE"):
        return executed, _launch(event, programs)
    if call is None:
        return event.lines[0], Skipped(f"no mapping for auditd {event.lines[0].kind}")
    if call.values.get("arch") == _X86_64:
        number = call.values.get("syscall", "")
        if number in _EXECVE:
            return call, _launch(event, programs)
        if number in _CONNECT or number in _ACCEPT:
            return call, _connection(event)
    return call, _file(event)


# ---------------------------------------------------------------- syslog
_SYSLOG = re.compile(
    r"(?:<\d+>\d?\s*)?(?P<time>\w{3}\s+\d+ \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+)\s+(?P<host>\S+)\s+"
    r"(?P<program>[\w./-]+?)(?:\[(?P<pid>\d+)\])?:\s*(?P<text>.*)",
    re.DOTALL,
)
_MESSAGES: tuple[tuple[re.Pattern[str], str, str, Mapping[str, str]], ...] = (
    (
        re.compile(r"Failed (?P<auth_protocol>\S+) for (?:invalid user )?(?P<user_name>\S+) from (?P<src_ip>\S+)"),
        "logon",
        "failure",
        {},
    ),
    (
        re.compile(r"Invalid user (?P<user_name>\S*) from (?P<src_ip>\S+)"),
        "logon",
        "failure",
        {"status": "no such user"},
    ),
    (
        re.compile(r"Accepted (?P<auth_protocol>\S+) for (?P<user_name>\S+) from (?P<src_ip>\S+)"),
        "logon",
        "ssh_session",
        {},
    ),
    (
        re.compile(r"\s*(?P<actor_user>\S+) : .*?USER=(?P<user_name>\S+) ; (?:.*; )?COMMAND=(?P<privileges>.*)"),
        "privilege",
        "sudo",
        {},
    ),
    (re.compile(r"session opened for user (?P<user_name>[^\s(]+)"), "logon", "success", {}),
    (re.compile(r"session closed for user (?P<user_name>[^\s(]+)"), "logon", "logoff", {}),
    (
        re.compile(r"authentication failure;.*?rhost=(?P<src_ip>\S*)(?:\s+user=(?P<user_name>\S+))?"),
        "logon",
        "failure",
        {},
    ),
    (re.compile(r"new user: name=(?P<user_name>[^,\s]+)(?P<attributes>.*)"), "account", "create", {}),
    (re.compile(r"delete user '(?P<user_name>[^']+)'"), "account", "delete", {}),
    (re.compile(r"password changed for (?P<user_name>\S+)"), "account", "password_change", {}),
    (re.compile(r"add '(?P<user_name>[^']+)' to group '(?P<group_name>[^']+)'"), "group", "member_add", {}),
    (re.compile(r"\((?P<actor_user>[^)]+)\) CMD \((?P<job_cmd_line>.*)\)"), "task", "run", {}),
)


def convert_syslog(line: str, record: int) -> Imported:
    """Return what a syslog line becomes; only messages that the table knows become events."""
    match = _SYSLOG.match(line)
    if not match:
        return Skipped("a line of text that is neither auditd's nor syslog's", record)
    for pattern, event_type, activity, fixed in _MESSAGES:
        message = pattern.search(match["text"][:MAX_MESSAGE])
        if message:
            values = {**message.groupdict(), **fixed, "device_hostname": match["host"]}
            return located(draft_event(event_type, activity, values), read_time(match["time"]), record)
    return Skipped(f"no mapping for a syslog message of {match['program']}", record)


# ---------------------------------------------------------------- a whole file
OPEN_EVENTS = 1000  # audit events whose lines may still come; auditd writes an event's lines within a few of another's
MANY_PROGRAMS = 65_536  # process ids that a parent is looked up by


def convert_text(lines: Iterable[tuple[int, str]]) -> list[Imported]:
    """Return what the text lines of one file become, one result for every line, with its record number."""
    log = TextLog()
    results = [result for record, text in lines for result in log.feed(record, text)]
    return sorted([*results, *log.close()], key=lambda result: result.record)


class TextLog:
    """Converts the text lines of one file as they come; what an audit event becomes is told when its lines are complete.

    A parent is named by an earlier launch of the same recording with the parent's process id, never by anything else.
    """

    def __init__(self) -> None:
        self.events: dict[str, AuditEvent] = {}
        self.programs: dict[str, str] = {}
        self.last: AuditLine | None = None

    def feed(self, record: int, text: str) -> list[Imported]:
        """Take the next line; return what is complete by now."""
        line = read_audit(text, record)
        if line:
            self.events.setdefault(f"{line.node}/{line.serial}", AuditEvent()).lines.append(line)
            self.last = line
            return self._oldest() if len(self.events) > OPEN_EVENTS else []
        if self.last and _is_enrichment(text):
            self.last.values.update(_values(text))
            reason = f"part of audit event {self.last.serial}: names for the numbers of record {self.last.record}"
            return [Skipped(reason, record)]
        return [convert_syslog(text, record)]

    def close(self) -> list[Imported]:
        """Return what is still open at the file's end."""
        results: list[Imported] = []
        while self.events:
            results += self._oldest()
        return results

    def _oldest(self) -> list[Imported]:
        event = self.events.pop(next(iter(self.events)))
        while len(self.programs) > MANY_PROGRAMS:
            del self.programs[next(iter(self.programs))]
        return list(_audit_results(event, self.programs))


def _audit_results(event: AuditEvent, programs: dict[str, str]) -> Sequence[Imported]:
    teller, mapped = _convert(event, programs)
    parts: list[Imported] = [
        Skipped(f"part of audit event {line.serial}: told by record {teller.record}", line.record)
        for line in event.lines
        if line is not teller
    ]
    result = located(mapped, read_time(teller.time), teller.record)
    if isinstance(result, DraftEvent) and teller.node:
        host = clean_text(teller.node, MAX_TEXT)
        result = replace(result, fields=result.fields.model_copy(update={"device_hostname": host}))
    if isinstance(result, DraftEvent) and isinstance(result.fields, ProcessFields):
        programs[str(result.fields.process_pid or "")] = result.fields.process_path or ""
    return [*parts, result]
