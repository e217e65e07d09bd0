"""Linux audit records: auditd's own lines, `ausearch` in its forms, and Auditbeat's documents.

auditd splits one event over several lines with the same serial number (SYSCALL, EXECVE, PATH, ...); the lines of one
serial become one event at the line that says most, and the others are named as parts of it. Lines may be raw, enriched (names
behind a separator), interpreted (`ausearch -i`), or come through syslog and the kernel's ring buffer. Sources: the Linux audit
documentation (record types; system call numbers of x86-64, i386 and arm64), ausearch(8), Elastic "Auditbeat auditd module".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from schema import MAX_TEXT, ProcessFields
from telemetry.importers.events import DraftEvent, Imported, Skipped, draft_event, located
from telemetry.importers.sign_in_lines import Teller, Try
from telemetry.importers.syslog import read_message
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_text, first_of, is_blank, mapping

_HEAD = re.compile(
    r"(?:node=(?P<node>\S+) )?type=(?P<type>\w+)(?:\[\d+\])? (?:msg=)?audit\((?P<time>[^()]{1,48}):(?P<serial>\d+)\)\s?:\s?(?P<rest>.*)",
    re.DOTALL,
)
_PAIR = re.compile(r"""([A-Za-z0-9_-]+)=("[^"]*"|[^\s']+)""")
_INTERPRETED = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_-]{0,30})=")
_KINDS = {  # the kernel's numbers, where a line comes through its ring buffer
    "1100": "USER_AUTH",
    "1101": "USER_ACCT",
    "1103": "CRED_ACQ",
    "1104": "CRED_DISP",
    "1105": "USER_START",
    "1106": "USER_END",
    "1112": "USER_LOGIN",
    "1123": "USER_CMD",
    "1130": "SERVICE_START",
    "1131": "SERVICE_STOP",
    "1300": "SYSCALL",
    "1302": "PATH",
    "1305": "CONFIG_CHANGE",
    "1306": "SOCKADDR",
    "1307": "CWD",
    "1309": "EXECVE",
    "1325": "NETFILTER_CFG",
    "1327": "PROCTITLE",
}
_CALLS = {
    "c000003e": {
        "59": "execve",
        "322": "execveat",
        "42": "connect",
        "43": "accept",
        "288": "accept4",
        "2": "open",
        "257": "openat",
        "85": "creat",
        "76": "truncate",
        "175": "init_module",
        "313": "finit_module",
    },
    "40000003": {
        "11": "execve",
        "358": "execveat",
        "362": "connect",
        "364": "accept4",
        "5": "open",
        "295": "openat",
        "128": "init_module",
    },
    "c00000b7": {
        "221": "execve",
        "281": "execveat",
        "203": "connect",
        "202": "accept",
        "242": "accept4",
        "56": "openat",
        "105": "init_module",
        "273": "finit_module",
    },
}
_LAUNCHES, _ACCEPTS, _MODULES = ("execve", "execveat"), ("accept", "accept4"), ("init_module", "finit_module")
_OPENS = {"open": "a1", "openat": "a2", "creat": "", "truncate": ""}  # the argument that holds the flags
_WRITE_BITS = 3  # O_WRONLY 1, O_RDWR 2
_QUIET_PROGRAMS = frozenset(
    {"cron", "crond", "sudo", "systemd", "polkit-agent-helper-1"}
)  # sessions that no person signs in to


@dataclass(slots=True)
class AuditLine:
    """One auditd line: its type, serial number and values."""

    record: int
    kind: str
    serial: str
    time: datetime | None
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


# ---------------------------------------------------------------- lines
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


def _interpreted_values(kind: str, text: str) -> dict[str, str]:
    """Read a line of `ausearch -i`, whose values have spaces and no quotes: each goes on to the next name."""
    if kind == "PROCTITLE":
        return {"proctitle": text.partition("proctitle=")[2].strip()}
    names = [(match[1], match.start(), match.end()) for match in _INTERPRETED.finditer(text)]
    if kind == "EXECVE":
        names = [name for name in names if re.fullmatch(r"argc|a\d{1,4}", name[0])]
    values: dict[str, str] = {}
    for index, (name, _, start) in enumerate(names):
        end = names[index + 1][1] if index + 1 < len(names) else len(text)
        value = text[start:end].strip()
        value = value.removesuffix("}").rstrip() if kind == "SOCKADDR" else value
        values.setdefault(
            name,
            value[1:-1] if kind == "EXECVE" and len(value) > 1 and value[0] == value[-1] == '"' else value.strip("'\""),
        )
    return values


def read_audit(line: str, record: int) -> AuditLine | None:
    """Parse one line of an audit log, also behind a frame of syslog; None for text of another kind."""
    match = _HEAD.search(line) if "audit(" in line else None
    if not match:
        return None
    kind, is_raw = _KINDS.get(match["type"], match["type"]), match["time"].replace(".", "").isdecimal()
    rest = match["rest"].replace("\x1d", " ").replace("msg='", " ")
    values = _values(rest) if is_raw else _interpreted_values(kind, rest)
    node = match["node"] or ""
    if not node and match.start():
        frame = read_message(line, record)
        node = frame.host if frame else ""
    return AuditLine(record, kind, match["serial"], read_time(match["time"]), node, values)


def is_enrichment(line: str) -> bool:
    """Return whether a line is the second half of an enriched one, which some exports cut off at the separator."""
    return re.match(r"(?:ARCH=\w+ SYSCALL=|[AOESF]?[UG]ID=|SADDR=\{|AUID=)", line.strip()) is not None


def is_separator(line: str) -> bool:
    """Return whether a line only parts the events of `ausearch`: a rule, or the time in words."""
    return line.strip() == "----" or line.startswith("time->")


def enrich(line: AuditLine, text: str) -> None:
    """Add to an audit line the names that its second half gives."""
    line.values.update(_values(text))


# ---------------------------------------------------------------- what an audit event becomes
def _user(values: Mapping[str, str]) -> str | None:
    """Name the acting account: by the name that enrichment or interpretation gives, else root for number 0; other numbers name nobody."""
    for name in ("UID", "AUID", "uid", "auid"):
        value = values.get(name, "")
        if value and value not in ("unset", "unknown") and not value.lstrip("-").isdecimal():
            return value
        if name == "uid" and value == "0":
            return "root"
    return None


def _call(values: Mapping[str, str]) -> str:
    """Return the name of a system call; its number where the architecture's numbers are not known."""
    number = values.get("syscall", "")
    return values.get("SYSCALL") or _CALLS.get(values.get("arch", ""), {}).get(number, number)


def _command(values: Mapping[str, str]) -> str:
    parts = []
    for index in range(4096):
        part = values.get(f"a{index}")
        if part is None:
            break
        parts.append(_unhex(part))
    return " ".join(part if re.fullmatch(r"[\w@%+=:,./-]+", part) else shlex.quote(part) for part in parts)


def _actor(call: Mapping[str, str]) -> dict[str, Any]:
    return {"process_path": _unhex(call.get("exe", "")), "actor_user": _user(call), "session_uid": call.get("ses")}


def _launch(event: AuditEvent, programs: Mapping[str, str]) -> Imported:
    call, title = event.values("SYSCALL"), event.values("PROCTITLE").get("proctitle", "")
    if call.get("success") == "no":
        return Skipped("a program that could not be started")
    values = {
        **_actor(call),
        "process_path": _unhex(call.get("exe", "")) or event.values("EXECVE").get("a0"),
        "process_cmd_line": _command(event.values("EXECVE")) or _unhex(title).strip(),
        "process_pid": call.get("pid"),
        "parent_path": programs.get(call.get("ppid", "")),
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


def _peer(values: Mapping[str, str]) -> tuple[str, int] | None:
    """Return the address and port of a SOCKADDR line: in hexadecimal, or as `ausearch -i` writes them."""
    peer = _socket(values.get("saddr", ""))
    address, port = values.get("laddr", ""), values.get("lport", "")
    if older := re.search(r"inet6? host:(\S+) serv:(\d+)", values.get("saddr", "")):
        address, port = older.groups()
    return peer or ((address, int(port)) if address and port.isdecimal() else None)


def _connection(event: AuditEvent) -> Imported:
    call = event.values("SYSCALL")
    peer = _peer(event.values("SOCKADDR"))
    if peer is None:
        return Skipped("audit event of a socket that is no internet address")
    came_in = _call(call) in _ACCEPTS
    ends = {"src_ip": peer[0], "src_port": peer[1]} if came_in else {"dst_ip": peer[0], "dst_port": peer[1]}
    return draft_event("net_conn", "open", {**ends, "direction": "inbound" if came_in else None, **_actor(call)})


def _writes(call: Mapping[str, str]) -> bool:
    """Return whether a system call opens a file to write it, by its flags."""
    place = _OPENS.get(_call(call))
    if place is None:
        return False
    flags = call.get(place, "") if place else "1"
    if "O_" in flags:
        return "O_WRONLY" in flags or "O_RDWR" in flags
    return re.fullmatch(r"(?:0x)?[0-9a-f]{1,16}", flags) is not None and int(flags, 16) & _WRITE_BITS != 0


def _file(event: AuditEvent) -> Imported:
    call = event.values("SYSCALL")
    if call.get("success") == "no":
        return Skipped("a system call on a file that failed")
    folder = _unhex(event.values("CWD").get("cwd", ""))
    writes = _writes(call)
    for line in event.lines:
        nametype = line.values.get("nametype", "")
        activity = {"CREATE": "create", "DELETE": "delete", "NORMAL": "modify" if writes else None}.get(nametype)
        if line.kind == "PATH" and activity:
            name = _unhex(line.values.get("name", ""))
            path = name if name.startswith("/") or not folder else f"{folder.rstrip('/')}/{name}"
            return draft_event("file", activity, {"file_path": path, **_actor(call)})
    return Skipped(f"no mapping for auditd system call {call.get('syscall', '?')}")


def _module(event: AuditEvent) -> Imported:
    call = event.values("SYSCALL")
    paths = [_unhex(line.values.get("name", "")) for line in event.lines if line.kind in ("PATH", "KERN_MODULE")]
    actor = {name: value for name, value in _actor(call).items() if name != "session_uid"}
    return draft_event("module_load", "driver", {"file_path": next(filter(None, paths), None), **actor})


def _session_end(line: AuditLine) -> Imported:
    values = {
        "user_name": _account_name(line.values),
        "src_ip": line.values.get("addr"),
        "logon_process": line.values.get("exe"),
    }
    return draft_event(
        "logon", "logoff", {**values, "session_uid": line.values.get("ses"), "actor_user": _user(line.values)}
    )


def _account_name(values: Mapping[str, str]) -> str | None:
    return _unhex(values.get("acct", "")) or values.get("AUID") or values.get("id")


def _sudo(line: AuditLine) -> Imported:
    """Make a launch of what sudo ran; a try that was refused launched nothing."""
    command = _unhex(line.values.get("cmd", ""))
    actor = line.values.get("AUID") or line.values.get("auid" if not line.values.get("auid", "0").isdecimal() else "")
    if line.values.get("res") in ("failed", "0"):
        values = {"user_name": _user(line.values), "privileges": command, "actor_user": actor, "outcome": "failure"}
        return draft_event("privilege", "sudo", values)
    program = command.partition(" ")[0]
    values = {"actor_user": actor, "process_path": program if program.startswith("/") else None}
    return draft_event("process", "launch", {**values, "process_cmd_line": command})


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


def _management(line: AuditLine) -> Imported:
    group = _unhex(line.values.get("grp", ""))
    if group and "add" in line.values.get("op", ""):
        values = {
            "group_name": group,
            "user_name": _unhex(line.values.get("acct", "")),
            "actor_user": _user(line.values),
        }
        return draft_event("group", "member_add", values)
    result: Imported = _account("modify")(line)
    return result


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
    "USER_END": _session_end,
    "USER_LOGOUT": _session_end,
    "USER_CMD": _sudo,
    "SERVICE_START": _service,
    "SERVICE_STOP": _service,
    "ADD_USER": _account("create"),
    "DEL_USER": _account("delete"),
    "USER_CHAUTHTOK": _account("password_change"),
    "USER_MGMT": _management,
    "CONFIG_CHANGE": _policy,
    "DAEMON_END": _policy,
}
_SIGN_INS = ("USER_LOGIN", "USER_AUTH", "USER_ERR", "USER_START")


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
    name = _call(call.values)
    if name in _LAUNCHES:
        return call, _launch(event, programs)
    if name == "connect" or name in _ACCEPTS:
        return call, _connection(event)
    return call, _module(event) if name in _MODULES else _file(event)


# ---------------------------------------------------------------- sign-ins
def audit_try(event: AuditEvent) -> Try | None:
    """Return what an audit event says about a sign-in; None for another event, and for sessions that no person signs in to.

    A wrong password is told by PAM's check (USER_AUTH) before the login (USER_LOGIN); a key that a server does not take is no
    wrong password, so it counts once a connection at most.
    """
    line = event.first(*_SIGN_INS)
    if line is None or any(event.first(kind) for kind in _LINES):
        return None
    data, program = line.values, _unhex(line.values.get("exe", ""))
    failed = data.get("res", "") in ("failed", "0", "no")
    if not failed and program.rpartition("/")[2] in _QUIET_PROGRAMS:
        return None
    if failed:
        is_key = "key" in data.get("op", "")
        teller = (
            Teller.SIGN
            if is_key
            else {"USER_AUTH": Teller.CREDENTIAL, "USER_LOGIN": Teller.DAEMON}.get(line.kind, Teller.MODULE)
        )
    else:
        teller = {"USER_LOGIN": Teller.ENTRY, "USER_START": Teller.SESSION}.get(line.kind, Teller.CHECK)
    values = {
        "user_name": _account_name(data),
        "src_ip": data.get("addr"),
        "status": data.get("res"),
        "logon_process": program,
        "session_uid": data.get("ses"),
        "actor_user": _user(data),
        "device_hostname": line.node,
    }
    return Try(line.record, line.time, teller, line.node, data.get("pid", ""), values)


def audit_results(event: AuditEvent, programs: dict[str, str]) -> Sequence[Imported]:
    """Return what the lines of an audit event become, one result for each; `programs` learns which program has which process id."""
    teller, mapped = _convert(event, programs)
    result = located(mapped, teller.time, teller.record)
    if isinstance(result, DraftEvent) and teller.node:
        host = clean_text(teller.node, MAX_TEXT)
        result = replace(result, fields=result.fields.model_copy(update={"device_hostname": host}))
    if isinstance(result, DraftEvent) and isinstance(result.fields, ProcessFields):
        programs[str(result.fields.process_pid or "")] = result.fields.process_path or ""
    return [*audit_parts(event, teller.record), result]


def audit_parts(event: AuditEvent, teller: int) -> list[Imported]:
    """Name the lines of an audit event, but for the one that tells it, as its parts."""
    return [
        Skipped(f"part of audit event {line.serial}: told by record {teller}", line.record)
        for line in event.lines
        if line.record != teller
    ]


# ---------------------------------------------------------------- documents
def is_auditbeat(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is a document of Auditbeat's auditd module (also by Elastic Agent's auditd_manager)."""
    auditd = raw.get("auditd")
    return isinstance(auditd, dict) and any(name in auditd for name in ("message_type", "data", "summary", "result"))


def auditbeat_event(raw: Mapping[str, Any], record: int) -> AuditEvent:
    """Return the audit event that a document of Auditbeat tells, as the lines that it was made of."""
    auditd, process, user = mapping(raw.get("auditd")), mapping(raw.get("process")), mapping(raw.get("user"))
    data = {
        name: str(value) for name, value in mapping(auditd.get("data")).items() if not isinstance(value, dict | list)
    }
    host = str(
        first_of(mapping(raw.get("host")), ("hostname", "name"))
        or first_of(mapping(raw.get("agent")), ("hostname", "name"))
        or ""
    )
    time, serial = read_time(raw.get("@timestamp")), str(auditd.get("sequence") or "")
    result = {"fail": "failed"}.get(str(auditd.get("result")), str(auditd.get("result") or ""))
    source, target = mapping(raw.get("source")), mapping(raw.get("destination"))
    names = {
        "exe": process.get("executable"),
        "pid": process.get("pid"),
        "ppid": mapping(process.get("parent")).get("pid") or process.get("ppid"),
        "UID": user.get("name"),
        "AUID": mapping(user.get("audit")).get("name"),
        "acct": data.get("acct") or mapping(user.get("target")).get("name"),
        "addr": data.get("addr") or source.get("ip"),
        "res": result,
        "success": "no" if result == "failed" else "yes",
        "unit": data.get("unit"),
        "ses": auditd.get("session"),
    }
    values = {**data, **{name: str(value) for name, value in names.items() if not is_blank(value)}}
    if data.get("syscall", "").isalpha():
        values["SYSCALL"] = data["syscall"]
    kind = str(auditd.get("message_type") or ("syscall" if "syscall" in data else "")).upper()
    lines = [AuditLine(record, kind, serial, time, host, values)]
    arguments = process.get("args")
    if isinstance(arguments, list) and values.get("SYSCALL") in _LAUNCHES:
        texts = {f"a{number}": str(part) for number, part in enumerate(arguments)}
        lines.append(AuditLine(record, "EXECVE", serial, time, host, texts))
    paths = auditd.get("paths")
    for path in paths if isinstance(paths, list) else ():
        lines.append(
            AuditLine(record, "PATH", serial, time, host, {name: str(value) for name, value in mapping(path).items()})
        )
    if peer := target if target.get("ip") else source:
        lines.append(
            AuditLine(
                record,
                "SOCKADDR",
                serial,
                time,
                host,
                {"laddr": str(peer.get("ip") or ""), "lport": str(peer.get("port") or "")},
            )
        )
    return AuditEvent(lines)


def is_ausearch_row(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is a row of `ausearch --format csv`."""
    return "EVENT_KIND" in raw and "ACTION" in raw and "SERIAL_NUM" in raw


_SENTENCE = re.compile(
    r"(?:On (?P<node>\S+) )?[Aa]t (?P<clock>\d\d:\d\d:\d\d) (?P<day>\d\d/\d\d/\d{2,4})\s+(?:system, )?(?P<who>[^,]{0,100}?)(?:, acting as (?P<as>[^,]{1,100}),)?,? "
    r"(?P<result>successfully|unsuccessfully) (?P<action>[\w-]+)(?: (?P<object>.*?))?(?: using (?P<how>.+))?$",
    re.DOTALL,
)


def read_sentence(text: str, record: int) -> Imported | None:
    """Return what a sentence of `ausearch --format text` becomes; None for text of another kind."""
    match = _SENTENCE.match(text)
    if not match:
        return None
    row = {
        "NODE": match["node"],
        "DATE": match["day"],
        "TIME": match["clock"],
        "SUBJ_PRIME": match["who"],
        "SUBJ_SEC": match["as"],
        "ACTION": match["action"],
        "RESULT": "failed" if match["result"] == "unsuccessfully" else "success",
        "OBJ_PRIME": match["object"],
        "HOW": match["how"],
    }
    return ausearch_result({name: value for name, value in row.items() if value}, record)


def ausearch_result(row: Mapping[str, Any], record: int) -> Imported:
    """Return what a row of `ausearch --format csv` becomes (audit normaliser: subject, action, object, how)."""
    time = read_time(f"{row.get('DATE', '')} {row.get('TIME', '')}")
    action, failed = str(row.get("ACTION", "")), row.get("RESULT") in ("failed", "fail", "no")
    user = first_of(row, ("SUBJ_SEC", "SUBJ_PRIME"))
    thing, how = str(row.get("OBJ_PRIME") or ""), row.get("HOW")
    common = {"device_hostname": row.get("NODE"), "actor_user": user, "session_uid": row.get("SESSION")}
    address = re.search(r"[\da-fA-F.:]*[.:][\da-fA-F.:]+", thing)
    made: Imported | None = None
    if action in ("executed", "executed-program") and not failed:
        made = draft_event(
            "process", "launch", {**common, "process_path": thing, "process_cmd_line": thing, "parent_path": how}
        )
    elif action == "connected-to" and address:
        made = draft_event(
            "net_conn", "open", {**common, "dst_ip": address[0], "dst_port": row.get("OBJ_SEC"), "process_path": how}
        )
    elif action in ("created-file", "deleted", "opened-file", "renamed", "changed-file-permissions-of") and not failed:
        activity = {"created-file": "create", "deleted": "delete"}.get(action, "modify")
        made = (
            draft_event("file", activity, {**common, "file_path": thing, "process_path": how})
            if action != "opened-file"
            else None
        )
    elif action in ("logged-in", "authenticated") or (failed and "log" in action):
        source = re.search(r"(?:from )?([\da-fA-F]{1,4}[.:][\da-fA-F.:]+)", f"{row.get('OBJ_SEC', '')} {thing}")
        values = {
            **common,
            "user_name": first_of(row, ("OBJ_PRIME", "SUBJ_PRIME")),
            "src_ip": source[1] if source else None,
            "logon_process": how,
        }
        made = draft_event("logon", "failure" if failed else "success", {**values, "actor_user": None})
    return located(made or Skipped(f"no mapping for ausearch action {action}"), time, record)
