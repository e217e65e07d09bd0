"""Rules on working on one host from another (ATT&CK Lateral Movement)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from schema import (
    REMOTE_WORK,
    DirectoryFields,
    LogonFields,
    PipeFields,
    ProcessFields,
    RegistryFields,
    ShareFields,
    account_name,
)
from verifier.commands import AUTOMATION, command_rule, is_automation, launches_by, lines_by_meaning
from verifier.rules.kit import (
    LOOPBACK,
    MIN_SPREAD_HOSTS,
    NETWORK_LOGON,
    SERVER_PROGRAMS,
    burst_of,
    follows,
    grouped,
    host_and_user,
    program_path,
)
from verifier.window import (
    SHELLS,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    finding,
    findings_by_host_and_user,
    is_installed,
    is_person_or_service,
    is_user_writable,
    one_program,
    rule,
    stems,
)

REMOTE_S = 300
MIN_PIPES = 3
NEW_CREDENTIALS_LOGON = 9
REMOTE_PARENTS = (
    "wmiprvse.exe",
    "winrshost.exe",
    "wsmprovhost.exe",
    "scrcons.exe",
    "mmc.exe",
    "psexesvc.exe",
    "spoolsv.exe",
)
OWN_CHILDREN = (
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
)

_SHELL_PIPES = re.compile(r"-(?:stdin|stdout|stderr)\d*$|^\\(?:psexesvc|paexec|remcom_\w*|csexec\w*)", re.IGNORECASE)

_C2_PIPE = re.compile(
    r"^\\(?:msse-\w{1,8}-server|postex_\w{4}|postex_ssh_|msagent_\w{2}|status_\w{2}|dserpipe|gruntsvc|meterpreter)",
    re.IGNORECASE,
)

_SERVICE_PROGRAMS = ("psexesvc.exe", "paexec.exe")
REMOTE_CONTROL = (
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
REMOTE_CALLS = (  # what changes another host or makes it give away its credentials
    "CreateServiceA",
    "CreateServiceW",
    "CreateServiceWOW64A",
    "CreateServiceWOW64W",
    "ChangeServiceConfigA",
    "ChangeServiceConfigW",
    "JobAdd",
    "NetrJobAdd",
    "SchRpcRegisterTask",
    "ExecMethod",
    "BaseRegSaveKey",
    "BaseRegSaveKeyEx",
    "BaseRegSetValue",
    "ElfrClearELFW",
    "EvtRpcClearLog",
    "RpcAddMonitor",
    "RpcAddPrintProcessor",
    "RpcAddPrinterDriverEx",
    "NetrDfsAddStdRoot",
    "NetrDfsRemoveStdRoot",
    "IsPathShadowCopied",
    "IsPathSupported",
)
_COERCION = "EfsRpc"  # what the names of all calls of that interface begin with
LISTING_CALLS = (
    "SamrEnumerateUsersInDomain",
    "SamrEnumerateGroupsInDomain",
    "SamrEnumerateAliasesInDomain",
    "SamrQueryDisplayInformation",
    "SamrQueryDisplayInformation2",
    "SamrQueryDisplayInformation3",
    "SamrGetMembersInGroup",
    "SamrGetMembersInAlias",
    "NetrSessionEnum",
    "NetrWkstaUserEnum",
)
_SESSION_CALLS = ("NetrSessionEnum", "NetrWkstaUserEnum")
MIN_ASKED_HOSTS = 10
_NOTICE_CALLS = ("RpcRemoteFindFirstPrinterChangeNotification", "RpcRemoteFindFirstPrinterChangeNotificationEx")
_PRINTING = ("RpcGet", "RpcEnum", "RpcStart")  # what the names of calls by which somebody prints begin with
_CHANNEL_CALLS = ("NetrServerAuthenticate2", "NetrServerAuthenticate3")
MIN_CHANNELS = 10  # a machine sets up a secure channel once
ENUMERATION = ("samr", "lsarpc", "srvsvc", "wkssvc")
_ADMIN_SHARE = re.compile(r"\\(?:[a-z]|admin|print)\$$", re.IGNORECASE)

_CODE_FILE = re.compile(
    r"\.(?:exe|dll|sys|ps1|bat|cmd|vbs|js|hta|scr|msi|dmp|dit|hive)$|\\config\\(?:sam|system|security)$", re.IGNORECASE
)

_OUTPUT_FILE = re.compile(
    r"(?:^|\\)__\d{9,}|(?:^|\\)(?:temp|system32)\\[^\\]{4,12}\.(?:tmp|dmp)$|^[^\\]{0,12}execute\.bat$", re.IGNORECASE
)


_REMOTE_KEYS = re.compile(r"\\(?:services|control|currentversion\\run\w*|shell\\open)\\", re.IGNORECASE)


@rule(
    "remote-registry",
    "T1112",
    "defense_evasion",
    on=((RegistryFields, "set"),),
    summary="wmiprvse sets a value below Services, Control, CurrentVersion\\Run or shell\\open. Suspicious.",
    source="ATT&CK T1112, T1047",
)
def remote_registry(values: Lines[RegistryFields], window: Window) -> Findings:
    lines = [
        line
        for line in values
        if basename(line.fields.process_path) == "wmiprvse.exe" and _REMOTE_KEYS.search(line.fields.reg_key_path or "")
    ]
    return findings_by_host_and_user(lines, confirmed=False)


@rule(
    "remote-command",
    "T1047",
    "lateral_movement",
    on=(launches_by(REMOTE_PARENTS),),
    summary=f"A child of {', '.join(stems(REMOTE_PARENTS)).replace('mmc', 'mmc -Embedding')}, other than {', '.join(stems(OWN_CHILDREN))} or a program installed in \\Program Files, and but for {AUTOMATION} or a child of wmiprvse as SYSTEM that is not user-writable and not told to do what confirms. "
    f"Confirmed: output to a share, hidden, obfuscated or offensive as by the rules of these names, or a network logon (type {NETWORK_LOGON}) of the same person, or of any where no person is named, from another address than {' or '.join(LOOPBACK)} at most {REMOTE_S} s before.",
    source="ATT&CK T1047, T1021.003, T1021.006, T1569.002",
)
def remote_command(children: Lines[ProcessFields], window: Window) -> Findings:
    for line in children:
        if _is_started_from_elsewhere(line.fields) and not is_automation(window, line):
            odd = line.log_id in window.view(_remote_shell_lines)
            if not odd and _is_local_management(line):
                continue
            logons = _logons_before(window, line)
            yield finding(
                [*logons, line],
                confirmed=bool(logons) or odd,
                host=line.host,
                account=line.user,
                program=line.fields.process_path or "",
            )


def _is_started_from_elsewhere(fields: ProcessFields) -> bool:
    parent, path = basename(fields.parent_path), fields.process_path or ""
    by_snap_in = parent == "mmc.exe" and "-embedding" not in (fields.parent_cmd_line or "").lower()
    by_agent = is_installed(path) and "\\program files" in path.lower()  # a management agent's own
    return not by_snap_in and not by_agent and basename(path) not in OWN_CHILDREN


def _is_local_management(line: Line[ProcessFields]) -> bool:
    """Return whether WMI starts a program as SYSTEM: what comes from elsewhere runs as the account that asks."""
    local = basename(line.fields.parent_path) == "wmiprvse.exe" and line.user.lower() == "system"
    return local and not is_user_writable(line.fields.process_path)


def _remote_shell_lines(window: Window) -> set[str]:
    """Collect the ids of lines whose commands do what a person at the keyboard has no reason for."""
    meanings = ("output-to-share", "script-obfuscated", "script-offensive", "hidden-start")
    known = window.view(lines_by_meaning)
    return {line.log_id for meaning in meanings for line in known.get(meaning, ())}


def _logons_before(window: Window, line: Line) -> Lines[LogonFields]:
    """List the network logons of persons from elsewhere to a line's host shortly before it."""
    return [
        logon
        for logon in window.of(LogonFields, "success")
        if logon.fields.logon_type == NETWORK_LOGON
        and logon.host == line.host
        and is_person_or_service(account := account_name(logon.fields.user_name))
        and (not is_person_or_service(line.user) or account.lower() == line.user.lower())
        and logon.fields.src_ip not in (None, *LOOPBACK)
        and follows(window, line, logon, REMOTE_S)
    ]


output_to_share = command_rule(
    "output-to-share",
    "T1021.002",
    "lateral_movement",
    meaning="output-to-share",
    confirmed=True,
    summary="A command writes to an administrative share (> \\\\host\\ADMIN$). Confirmed.",
    source="ATT&CK T1021.002, T1047",
)


@rule(
    "remote-shell-pipe",
    "T1570",
    "lateral_movement",
    on=(PipeFields,),
    summary="Pipes ending in -stdin, -stdout or -stderr, PSEXESVC, PAExec, RemCom, csexec or a framework's (msse-server, postex, postex_ssh, msagent, status, dserpipe, gruntsvc, meterpreter). "
    f"Confirmed: the framework's, or one made by another program than {' or '.join(_SERVICE_PROGRAMS)}.",
    source="ATT&CK T1570, T1569.002; Microsoft Sysinternals PsExec; Sysmon event 17",
)
def remote_shell_pipe(pipes: Lines[PipeFields], window: Window) -> Findings:
    for host, lines in grouped(pipes, _host_of_remote_shell).items():
        yield finding(
            lines,
            confirmed=any(_C2_PIPE.search(line.fields.pipe_name or "") or _is_disguised(line) for line in lines),
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
        )


def _host_of_remote_shell(line: Line[PipeFields]) -> str | None:
    name = line.fields.pipe_name or ""
    return line.host if _SHELL_PIPES.search(name) or _C2_PIPE.search(name) else None


def _is_disguised(line: Line[PipeFields]) -> bool:
    """Return whether the pipe of a remote shell is made by a program of another name."""
    return (
        line.fields.activity == "create"
        and bool(_SHELL_PIPES.search(line.fields.pipe_name or ""))
        and basename(line.fields.process_path) not in (*_SERVICE_PROGRAMS, "")
    )


@rule(
    "remote-control-pipe",
    "T1021.002",
    "lateral_movement",
    on=(ShareFields, PipeFields, (DirectoryFields, "rpc")),
    summary=f"From another address than {' or '.join(LOOPBACK)} a person, or somebody whom a sensor of the network cannot name (neither host nor account, but both addresses), opens {', '.join(REMOTE_CONTROL)} on IPC$, {MIN_PIPES} of {', '.join(ENUMERATION)}, or programs, scripts, dumps or hives (also \\config\\SAM, SYSTEM, SECURITY) on C$, ADMIN$ or PRINT$. "
    f"Confirmed: a tool's output there (__ and digits, a short .tmp or .dmp in \\Temp\\ or \\System32\\, execute.bat), control and programs, listing on {MIN_SPREAD_HOSTS} hosts, {MIN_PIPES} control pipes that System connects. "
    f"Such a sensor's calls (rpc_operation) count as control ({', '.join(REMOTE_CALLS)}, what begins with {_COERCION}, {MIN_CHANNELS} within {REMOTE_S} s of {', '.join(_CHANNEL_CALLS)}, {' or '.join(_NOTICE_CALLS)} where it sees none that begins with {', '.join(_PRINTING)}), and as listing ({MIN_PIPES} different ones of {', '.join(LISTING_CALLS)}, or {' or '.join(_SESSION_CALLS)} on {MIN_ASKED_HOSTS} addresses within {REMOTE_S} s).",
    source="ATT&CK T1021.002, T1018, T1187, T1569.002, T1053.005, T1210; MS-SCMR, MS-TSCH, MS-RRP, MS-EVEN, MS-EFSR, MS-DFSNM, MS-SAMR, MS-NRPC name the pipes and calls",
)
def remote_control_pipe(
    accesses: Lines[ShareFields], pipes: Lines[PipeFields], calls: Lines[DirectoryFields], window: Window
) -> Findings:
    asked = grouped(calls, _ends_at_sensor)
    visits = [_visit(window, lines, asked.pop(ends, [])) for ends, lines in grouped(accesses, _remote_visitor).items()]
    visits += [_visit(window, [], lines) for lines in asked.values()]
    for visit in visits:
        hosts = {other.host for other in visits if other.listing and other.user == visit.user}
        wide = len(hosts) >= window.limits.at_least(MIN_SPREAD_HOSTS)
        lines = [*visit.control, *visit.listing, *visit.files, *visit.output]
        if lines:
            yield finding(
                lines,
                confirmed=bool(visit.output or (visit.control and visit.files) or (visit.listing and wide)),
                host=window.host_at(visit.host) if visit.remote else visit.host,
                account="" if visit.remote else visit.user,
                program=REMOTE_WORK,
                remote=visit.remote,
            )
    sessions = [line for line in calls if _operation(line) in _SESSION_CALLS and _ends_at_sensor(line)]
    for source, lines in grouped(sessions, lambda line: line.fields.src_ip).items():
        swept = burst_of(window, lines, MIN_ASKED_HOSTS, REMOTE_S, different=lambda line: line.fields.dst_ip)
        if swept:
            yield finding(swept, confirmed=False, host="", program=REMOTE_WORK, remote=source)
    for host, opened in grouped(pipes, _host_controlled).items():
        many = len({(line.fields.pipe_name or "").lower() for line in opened}) >= window.limits.at_least(MIN_PIPES)
        yield finding(opened, confirmed=many, host=host, program=REMOTE_WORK)


class _Visit(NamedTuple):
    """What one account, or one address, opens and calls on one host over the network, by what it is good for."""

    host: str  # or its address, where a sensor of the network knows no more
    user: str  # or the visitor's address
    remote: str  # that address
    control: list[Line]
    listing: list[Line]
    files: list[Line]
    output: list[Line]


def _controlling_calls(window: Window, calls: Lines[DirectoryFields]) -> list[Line]:
    """List the calls that change a host or coerce it, and those that try its secure channel again and again."""
    changes = [line for line in calls if _operation(line).startswith(_COERCION) or _operation(line) in REMOTE_CALLS]
    if not any(_operation(line).startswith(_PRINTING) for line in calls):
        changes += [line for line in calls if _operation(line) in _NOTICE_CALLS]
    channels = [line for line in calls if _operation(line) in _CHANNEL_CALLS]
    return [*changes, *burst_of(window, channels, MIN_CHANNELS, REMOTE_S)]


def _listing_calls(window: Window, calls: Lines[DirectoryFields]) -> list[Line]:
    listing: list[Line] = [line for line in calls if _operation(line) in LISTING_CALLS]
    several = len(set(map(_operation, listing))) >= window.limits.at_least(MIN_PIPES)
    return listing if several else []


def _operation(line: Line[Any]) -> str:
    return line.fields.rpc_operation or ""


def _ends_at_sensor(line: Line[Any]) -> tuple[str, str] | None:
    """Return the address that is visited and the visitor's, where a sensor of the network names neither host nor account."""
    source, target = line.fields.src_ip, line.fields.dst_ip
    nameless = not line.host and not line.user
    return (target, source) if nameless and source and target and source not in LOOPBACK else None


def _remote_visitor(line: Line[ShareFields]) -> tuple[str, str] | None:
    remote = is_person_or_service(line.user) and line.fields.src_ip not in (None, *LOOPBACK)
    return host_and_user(line) if remote else _ends_at_sensor(line)


def _visit(window: Window, lines: Lines[ShareFields], calls: Lines[DirectoryFields]) -> _Visit:
    at_sensor = _ends_at_sensor(lines[0] if lines else calls[0])
    host, user = at_sensor or host_and_user(lines[0])
    listing: list[Line] = _opened(lines, ENUMERATION)
    if len({(line.fields.file_path or "").lower() for line in listing}) < window.limits.at_least(MIN_PIPES):
        listing = []
    on_drives = [line for line in lines if _ADMIN_SHARE.search(line.fields.share_name or "")]
    return _Visit(
        host,
        user,
        remote=user if at_sensor else "",
        control=[*_opened(lines, REMOTE_CONTROL), *_controlling_calls(window, calls)],
        listing=[*listing, *_listing_calls(window, calls)],
        files=[line for line in on_drives if _CODE_FILE.search(line.fields.file_path or "")],
        output=[line for line in on_drives if _OUTPUT_FILE.search(line.fields.file_path or "")],
    )


def _opened(lines: Lines[ShareFields], pipes: tuple[str, ...]) -> list[Line]:
    """List the lines in which one of some pipes is opened over the network."""
    return [
        line
        for line in lines
        if (line.fields.share_name or "").upper().endswith("IPC$")
        and (line.fields.file_path or "").lower().lstrip("\\") in pipes
    ]


def _host_controlled(line: Line[PipeFields]) -> str | None:
    """Return the host whose control pipe the network opens: there the program is System."""
    name = (line.fields.pipe_name or "").lower().lstrip("\\")
    by_network = line.fields.activity == "connect" and program_path(line) == "system"
    return line.host if by_network and name in REMOTE_CONTROL else None


share_mounted = command_rule(
    "share-mounted",
    "T1021.002",
    "lateral_movement",
    meaning="share-mounted",
    confirmed=False,
    summary="net use of another host's C$ or ADMIN$. Suspicious.",
    source="ATT&CK T1021.002",
)


@rule(
    "borrowed-logon",
    "T1550.002",
    "lateral_movement",
    on=((LogonFields, "success"), (LogonFields, "explicit_credentials")),
    summary=f"As a person: a logon of type {NEW_CREDENTIALS_LOGON} by seclogo, a Kerberos logon of type {NETWORK_LOGON} from loopback ({', '.join(LOOPBACK)}), or explicit credentials "
    "given by a user-writable program, or for another account by a shell, wmic or a server program. Suspicious.",
    source="ATT&CK T1550.002, T1558, T1134.002, T1078; Security 4624/4648",
)
def borrowed_logon(successes: Lines[LogonFields], explicit: Lines[LogonFields], window: Window) -> Findings:
    borrowed = [line for line in successes if _is_passed(line.fields) or _is_looped(line.fields)]
    borrowed += [line for line in explicit if _is_given_oddly(line)]
    lines = [line for line in borrowed if is_person_or_service(account_name(line.fields.user_name))]
    return findings_by_host_and_user(sorted(lines, key=lambda line: line.order), confirmed=False, scope="identity")


def _is_passed(fields: LogonFields) -> bool:
    return fields.logon_type == NEW_CREDENTIALS_LOGON and (fields.logon_process or "").lower() == "seclogo"


def _is_looped(fields: LogonFields) -> bool:
    by_kerberos = fields.logon_type == NETWORK_LOGON and (fields.auth_protocol or "").lower() == "kerberos"
    return by_kerberos and fields.src_ip in LOOPBACK


def _is_given_oddly(line: Line[LogonFields]) -> bool:
    if is_user_writable(line.fields.process_path):
        return True
    givers = (*SHELLS, *SERVER_PROGRAMS, "wmic.exe")
    return basename(line.fields.process_path) in givers and account_name(line.fields.user_name) != line.user


remote_execution = command_rule(
    "remote-execution",
    "T1021.006",
    "lateral_movement",
    meaning="remote-execution",
    confirmed=False,
    summary="A command starts a program on another host (winrs, psexec, wmic /node call, Invoke-Command, DCOM). Suspicious.",
    source="ATT&CK T1021.006, T1047, T1021.003, T1569.002",
)


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
