"""Rules on working on one host from another (ATT&CK Lateral Movement)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    REMOTE_WORK,
    LogonFields,
    PipeFields,
    RegistryFields,
    ShareFields,
    account_name,
)
from verifier.commands import launches, lines_by_meaning, started_by, told
from verifier.rules.kit import (
    MIN_SPREAD_HOSTS,
    NETWORK_LOGON,
    SERVER_PROGRAMS,
    SHELLS,
    Legacy,
    by_host_and_user,
    legacy_rule,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    is_installed,
    is_person_or_service,
    is_user_writable,
    kinds,
    one_program,
)

REMOTE_S = 300

MIN_PIPES = 3

REMOTE_PARENTS = frozenset(
    ("wmiprvse.exe", "winrshost.exe", "wsmprovhost.exe", "scrcons.exe", "mmc.exe", "psexesvc.exe", "spoolsv.exe")
)

_OWN_CHILDREN = frozenset(
    [
        "conhost.exe",
        "werfault.exe",
        "wmiprvse.exe",
        "wmiadap.exe",
        "unsecapp.exe",
        "msiexec.exe",
        "mofcomp.exe",
        "splwow64.exe",
        "spoolsv.exe",
        "mmc.exe",
        "csrss.exe",
    ]
)

_SHELL_PIPES = re.compile(r"-(?:stdin|stdout|stderr)\d*$|^\\(?:psexesvc|paexec|remcom_\w*|csexec\w*)", re.IGNORECASE)

_C2_PIPE = re.compile(
    r"^\\(?:msse-\w{1,8}-server|postex_\w{4}|postex_ssh_|msagent_\w{2}|status_\w{2}|dserpipe|gruntsvc|meterpreter)",
    re.IGNORECASE,
)

REMOTE_CONTROL = frozenset(
    (
        "svcctl",
        "atsvc",
        "winreg",
        "eventlog",
        "initshutdown",
        "efsrpc",
        "fssagentrpc",
        "ntsvcs",
        "itaskschedulerservice",
        "protected_storage",
    )
)

ENUMERATION = frozenset(("samr", "lsarpc", "srvsvc", "wkssvc"))

_ADMIN_SHARE = re.compile(r"\\(?:[a-z]|admin|print)\$$", re.IGNORECASE)

_CODE_FILE = re.compile(
    r"\.(?:exe|dll|sys|ps1|bat|cmd|vbs|js|hta|scr|msi|dmp|dit|hive)$|\\config\\(?:sam|system|security)$", re.IGNORECASE
)

_OUTPUT_FILE = re.compile(
    r"(?:^|\\)__\d{9,}|\\temp\\[^\\]{4,12}\.(?:tmp|dmp)$|^[^\\]{0,12}execute\.bat$", re.IGNORECASE
)


@legacy_rule(
    "remote-registry",
    "T1112",
    "defense_evasion",
    says="wmiprvse writes keys of services, Control or autostart. Suspicious.",
    source="ATT&CK T1112, T1047",
    needs=kinds(RegistryFields, "set"),
)
def remote_registry(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find registry work through WMI."""
    lines: list[Line] = [
        line
        for line in window.of(RegistryFields)
        if line.fields.activity == "set"
        and basename(line.fields.process_path) == "wmiprvse.exe"
        and _REMOTE_KEYS.search(line.fields.reg_key_path or "")
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


_REMOTE_KEYS = re.compile(r"\\(?:services|control|currentversion\\run\w*|shell\\open)\\", re.IGNORECASE)


@legacy_rule(
    "remote-command",
    "T1047",
    "lateral_movement",
    says=f"A child of wmiprvse, winrshost, wsmprovhost, scrcons, mmc -Embedding, psexesvc or spoolsv. Confirmed: output to a share, hidden or obfuscated, or a person's network logon at most {REMOTE_S} s before.",
    source="ATT&CK T1047, T1021.003, T1021.006, T1569.002",
    clues=[started_by(name) for name in REMOTE_PARENTS],
)
def remote_command(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that somebody starts from elsewhere."""
    known = window.view(lines_by_meaning)
    meant = ("output-to-share", "script-obfuscated", "script-offensive", "hidden-start")
    shared = {line.log_id for meaning in meant for line in known.get(meaning, ())}
    for line in launches(window):
        parent, name = basename(line.fields.parent_path), basename(line.fields.process_path)
        if (
            parent not in REMOTE_PARENTS
            or name in _OWN_CHILDREN
            or (parent == "mmc.exe" and "-embedding" not in (line.fields.parent_cmd_line or "").lower())
        ):
            continue
        if is_installed(line.fields.process_path) and "\\program files" in (line.fields.process_path or "").lower():
            continue  # a management agent's own
        logons = [
            logon
            for logon in window.of(LogonFields)
            if logon.fields.activity == "success"
            and logon.fields.logon_type == NETWORK_LOGON
            and logon.host == line.host
            and is_person_or_service(account_name(logon.fields.user_name))
            and logon.fields.src_ip not in (None, "127.0.0.1", "::1")
            and 0 <= line.time_s - logon.time_s <= window.limits.within(REMOTE_S)
        ]
        yield this.finding(
            [*logons, line],
            confirmed=bool(logons) or line.log_id in shared,
            scope="host",
            host=line.host,
            account=line.user,
            program=line.fields.process_path or "",
        )


@legacy_rule(
    "output-to-share",
    "T1021.002",
    "lateral_movement",
    says="A command writes to an administrative share (> \\\\host\\ADMIN$). Confirmed.",
    source="ATT&CK T1021.002, T1047",
    clues=("output-to-share",),
)
def output_to_share(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands whose output somebody else collects."""
    return told(window, this, "output-to-share", sure=True)


@legacy_rule(
    "remote-shell-pipe",
    "T1570",
    "lateral_movement",
    says="Pipes -stdin, -stdout, PSEXESVC, PAExec, RemCom or a framework's. Confirmed: the framework's, or by a program of another name.",
    source="ATT&CK T1570, T1569.002; Microsoft Sysinternals PsExec; Sysmon event 17",
    needs=(PipeFields,),
)
def remote_shell_pipe(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find the pipes of remote shells; one finding for each host."""
    made: dict[str, list[Line[PipeFields]]] = {}
    for line in window.of(PipeFields):
        if _SHELL_PIPES.search(line.fields.pipe_name or "") or _C2_PIPE.search(line.fields.pipe_name or ""):
            made.setdefault(line.host, []).append(line)
    for host, lines in made.items():
        framework = any(_C2_PIPE.search(line.fields.pipe_name or "") for line in lines)
        disguised = any(
            line.fields.activity == "create"
            and _SHELL_PIPES.search(line.fields.pipe_name or "")
            and basename(line.fields.process_path) not in ("psexesvc.exe", "paexec.exe", "")
            for line in lines
        )
        yield this.finding(
            lines,
            confirmed=framework or disguised,
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
        )


@legacy_rule(
    "remote-control-pipe",
    "T1021.002",
    "lateral_movement",
    says=f"From elsewhere a person opens svcctl, atsvc, winreg or eventlog, three of samr, lsarpc, srvsvc, wkssvc, or programs on C$ or ADMIN$. Confirmed: a tool's output, both, {MIN_PIPES} pipes, {MIN_SPREAD_HOSTS} hosts.",
    source="ATT&CK T1021.002, T1018, T1187; MS-SCMR, MS-TSCH, MS-RRP, MS-EVEN name the pipes",
    needs=(ShareFields, PipeFields),
)
def remote_control_pipe(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find hosts that are worked from elsewhere; one finding for each host and account."""
    groups: dict[tuple[str, str], list[Line[ShareFields]]] = {}
    for line in window.of(ShareFields):
        if is_person_or_service(line.user) and line.fields.src_ip not in (None, "127.0.0.1", "::1"):
            groups.setdefault((line.host, line.user), []).append(line)
    listed: dict[str, set[str]] = {}
    wanted: dict[tuple[str, str], list[Line[ShareFields]]] = {}
    for (host, user), lines in groups.items():
        listing = _opened(lines, ENUMERATION)
        if len({(line.fields.file_path or "").lower() for line in listing}) < window.limits.at_least(MIN_PIPES):
            listing = []
        if listing:
            listed.setdefault(user, set()).add(host)
        wanted[host, user] = listing
    for (host, user), lines in groups.items():
        control, listing = _opened(lines, REMOTE_CONTROL), wanted[host, user]
        files = [
            line
            for line in lines
            if _ADMIN_SHARE.search(line.fields.share_name or "") and _CODE_FILE.search(line.fields.file_path or "")
        ]
        output = [
            line
            for line in lines
            if _ADMIN_SHARE.search(line.fields.share_name or "") and _OUTPUT_FILE.search(line.fields.file_path or "")
        ]
        wide = len(listed.get(user, ())) >= window.limits.at_least(MIN_SPREAD_HOSTS)
        group: list[Line] = [*control, *listing, *files, *output]
        if group:
            yield this.of_one(
                group, confirmed=bool(output or (control and files) or (listing and wide)), program=REMOTE_WORK
            )
    reached: dict[str, list[Line[PipeFields]]] = {}
    for pipe in window.of(PipeFields):
        by_network = pipe.fields.activity == "connect" and (pipe.fields.process_path or "").lower() == "system"
        if by_network and (pipe.fields.pipe_name or "").lower().lstrip("\\") in REMOTE_CONTROL:
            reached.setdefault(pipe.host, []).append(pipe)
    for host, opened in reached.items():
        many = len({(pipe.fields.pipe_name or "").lower() for pipe in opened}) >= window.limits.at_least(MIN_PIPES)
        yield this.finding(opened, confirmed=many, scope="host", host=host, program=REMOTE_WORK)


def _opened(lines: list[Line[ShareFields]], pipes: frozenset[str]) -> list[Line[ShareFields]]:
    """The lines in which one of some pipes is opened over the network."""
    return [
        line
        for line in lines
        if (line.fields.share_name or "").upper().endswith("IPC$")
        and (line.fields.file_path or "").lower().lstrip("\\") in pipes
    ]


@legacy_rule(
    "share-mounted",
    "T1021.002",
    "lateral_movement",
    says="net use of another host's C$ or ADMIN$. Suspicious.",
    source="ATT&CK T1021.002",
    clues=("share-mounted",),
)
def share_mounted(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find mounted administrative shares."""
    return told(window, this, "share-mounted", sure=False)


@legacy_rule(
    "borrowed-logon",
    "T1550.002",
    "lateral_movement",
    says="Logon type 9 by seclogo, a person's Kerberos logon from loopback, or explicit credentials by a script host, server or user-writable program. Suspicious.",
    source="ATT&CK T1550.002, T1558, T1134.002, T1078; Security 4624/4648",
    needs=kinds(LogonFields, "success", "explicit_credentials"),
)
def borrowed_logon(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find sign-ins with somebody else's credentials."""
    lines: list[Line] = []
    for line in window.of(LogonFields):
        name, person = basename(line.fields.process_path), is_person_or_service(account_name(line.fields.user_name))
        passed = (
            line.fields.activity == "success"
            and line.fields.logon_type == 9
            and (line.fields.logon_process or "").lower() == "seclogo"
        )
        loop = (
            line.fields.activity == "success"
            and line.fields.logon_type == NETWORK_LOGON
            and (line.fields.auth_protocol or "").lower() == "kerberos"
            and line.fields.src_ip in ("127.0.0.1", "::1")
        )
        given = line.fields.activity == "explicit_credentials" and (
            name in SHELLS
            or name == "wmic.exe"
            or name in SERVER_PROGRAMS
            or is_user_writable(line.fields.process_path)
        )
        if person and (
            passed
            or loop
            or (given and account_name(line.fields.user_name) != line.user)
            or (given and is_user_writable(line.fields.process_path))
        ):
            lines.append(line)
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False, scope="identity")


@legacy_rule(
    "remote-execution",
    "T1021.006",
    "lateral_movement",
    says="A command starts a program on another host (winrs, psexec, wmic /node call, Invoke-Command, DCOM). Suspicious.",
    source="ATT&CK T1021.006, T1047, T1021.003, T1569.002",
    clues=("remote-execution",),
)
def remote_execution(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that run on another host."""
    return told(window, this, "remote-execution", sure=False)


RULES = (
    remote_registry,
    remote_command,
    output_to_share,
    remote_shell_pipe,
    remote_control_pipe,
    share_mounted,
    borrowed_logon,
    remote_execution,
)
