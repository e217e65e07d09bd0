"""Rules on programs: what starts what, what is run from where, and what it does next (ATT&CK Execution and neighbours)."""

from __future__ import annotations

import re

from schema import (
    FileFields,
    LogonFields,
    ProcessFields,
    ProcessInjectFields,
    ScriptFields,
    ServiceFields,
    TaskFields,
    account_name,
)
from verifier.commands import AUTOMATION, POWERSHELL, is_automation, launches_of
from verifier.rules.kit import (
    CHAIN_S,
    DOCUMENT_PROGRAMS,
    INSTALLERS,
    MIN_ENCODED,
    NETWORK_LOGON,
    SERVER_PROGRAMS,
    WEB_FOLDERS,
    fetches_code,
    first_address,
    follows,
    grouped,
    is_own,
    outbound,
    program_folder,
    program_of,
    program_path,
    shell_name,
)
from verifier.window import (
    POWERSHELLS,
    SHELLS,
    Finding,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    finding,
    is_installed,
    is_user_writable,
    one_program,
    rule,
    stems,
)

DROP_RUN_S = 600  # from a file's creation to its launch
REMOTE_SERVICE_S = 300  # from the network logon to the service that it installs

SYSTEM_SID = "S-1-5-18"
SHELLLESS_PROGRAMS = DOCUMENT_PROGRAMS + SERVER_PROGRAMS  # they have no reason to start a shell
# What shows that a signed program fetches or runs foreign code: a pattern, and the same in words.
PROXY_ARGUMENTS = {
    "mshta.exe": (r"https?://|javascript:|vbscript:", "a URL or an inline script"),
    "regsvr32.exe": (r"[-/]i:\s*\"?https?://|scrobj", "/i: with a URL, or scrobj"),
    "rundll32.exe": (
        r"javascript:|(?<!protocolhandler )(?<!protocolhandler \")(?:http://|(?<![a-z]@ssl )https://)|\\\\[^\\]+\\[^\\]+\\.{1,200}\.dll",
        "a URL (but to FileProtocolHandler or https after a host's name with @SSL, as DavSetCookie has it), inline javascript or a .dll on a network share",
    ),
    "certutil.exe": (r"[-/](?:urlcache|verifyctl|decode)", "-urlcache, -verifyctl or -decode"),
    "bitsadmin.exe": (r"[-/](?:transfer|addfile)", "/transfer or /addfile"),
    "msbuild.exe": (
        r"\\(?:appdata|temp|downloads|public)\\",
        "a project below \\AppData\\, \\Temp\\, \\Downloads\\ or \\Public\\",
    ),
    "wmic.exe": (r"/format:\s*[\"']?https?://|process\s+call\s+create", "/format: with a URL, or process call create"),
    "cmstp.exe": (r"[-/]s\s.{1,200}\.inf|[-/]ni\s", "/s with an .inf file, or /ni"),
    "installutil.exe": (r"[-/]u\s|/logfile=\s", "/u, or /logfile= with nothing"),
}
_PROXY = {name: re.compile(pattern, re.IGNORECASE) for name, (pattern, _) in PROXY_ARGUMENTS.items()}
_PROXIES_IN_WORDS = "; ".join(f"{name.removesuffix('.exe')} {words}" for name, (_, words) in PROXY_ARGUMENTS.items())
# cmd that a server program starts for one program.
_CARRIED = re.compile(
    r'^"?(?:[a-z]:\\[\w\\]{1,30}\\)?cmd(?:\.exe)?"?\s+(?:/s\s+)?/c\s+"{0,2}([a-z]:[\\/][^"&|<>^\n]+?\.exe)(?:"|\s|$)[^&|<>^\n]*(?:2>&1"?)?$',
    re.IGNORECASE,
)
# Inline code that makes objects: these programs are given it for one reason only.
_INLINE = re.compile(
    r"(?:java|vb)script:.{0,300}(?:getobject|activexobject|createobject|\.run\b|\.exec\b|eval\()", re.IGNORECASE
)


@rule(
    "application-spawns-shell",
    "T1059",
    "execution",
    on=(launches_of(SHELLS),),
    summary=f"{', '.join(stems(DOCUMENT_PROGRAMS))} or a server program starts a shell, but cmd /c of one program (drive and path, nothing chained by & | < > ^ or a line break, but 2>&1 at the end) outside \\Windows\\ and {', '.join(WEB_FOLDERS)} and not user-writable. Confirmed: that connects outside within {CHAIN_S} s.",
    source="ATT&CK T1059, T1204.002, T1505.003: code run by a program that has no reason to start shells",
)
def application_spawns_shell(shells: Lines[ProcessFields], window: Window) -> Findings:
    for line in shells:
        if basename(line.fields.parent_path) in SHELLLESS_PROGRAMS and not _carries_program(line.fields):
            yield _launch_and_calls(window, line)


def _carries_program(fields: ProcessFields) -> bool:
    """Return whether a server program starts cmd for nothing but one program of its application."""
    carried = _CARRIED.match(fields.process_cmd_line or "")
    path = (carried[1] if carried else "").lower().replace("/", "\\")
    odd = "\\windows\\" in path or any(root in path for root in WEB_FOLDERS) or is_user_writable(path)
    return bool(path) and basename(fields.parent_path) in SERVER_PROGRAMS and not odd and basename(path) not in SHELLS


def _launch_and_calls(window: Window, line: Line[ProcessFields], *, confirmed: bool = False) -> Finding:
    """Make the finding on a launch and what it connects to outside, which confirms it."""
    program = line.fields.process_path or ""
    calls = outbound(window, line.host, program, line.time_s, CHAIN_S)
    return finding(
        [line, *calls],
        confirmed=confirmed or bool(calls),
        host=line.host,
        account=line.user,
        program=program,
        remote=first_address(calls),
    )


@rule(
    "download-cradle",
    "T1059.001",
    "execution",
    on=(ScriptFields, launches_of(POWERSHELLS)),
    summary="PowerShell (also pwsh) downloads, decodes or runs text as code (DownloadString, DownloadFile, DownloadData, "
    "Net.WebClient, Invoke-WebRequest, iwr, Start-BitsTransfer, Invoke-Expression, iex, FromBase64String, or -EncodedCommand, "
    f"also shortened, with {MIN_ENCODED} or more characters), but for {AUTOMATION}. "
    f"Confirmed: PowerShell connects outside from that host within {CHAIN_S} s.",
    source="ATT&CK T1059.001, T1027.010, T1105: command obfuscation and ingress transfer by PowerShell",
)
def download_cradle(scripts: Lines[ScriptFields], launches: Lines[ProcessFields], window: Window) -> Findings:
    cradles: list[Line] = [
        line for line in scripts if _is_cradle(line.fields.script_text, line.fields.host_application)
    ]
    cradles += [
        line for line in launches if _is_cradle(line.fields.process_cmd_line) and not is_automation(window, line)
    ]
    for (host, user), lines in grouped(cradles, lambda line: (line.host, line.user)).items():
        calls = [
            call
            for line in lines
            for name in POWERSHELLS
            for call in outbound(window, host, name, line.time_s, CHAIN_S)
        ]
        yield finding(
            [*lines, *calls],
            confirmed=bool(calls),
            host=host,
            account=user,
            program=one_program(lines, otherwise=POWERSHELL),
            remote=first_address(calls),
        )


def _is_cradle(*texts: str | None) -> bool:
    return any(fetches_code(text or "") for text in texts)


@rule(
    "signed-proxy-execution",
    "T1218",
    "defense_evasion",
    on=((ProcessFields, "launch"),),
    summary="A program of Windows is told to run foreign code: "
    f"{_PROXIES_IN_WORDS}. Confirmed: the inline script (also vbscript:) makes objects or runs code (GetObject, ActiveXObject, CreateObject, .Run, .Exec, Eval), or it connects outside within {CHAIN_S} s.",
    source="ATT&CK T1218 and sub-techniques, T1140, T1197, T1047: arguments by which these programs run or fetch foreign code",
)
def signed_proxy_execution(launches: Lines[ProcessFields], window: Window) -> Findings:
    for line in launches:
        names = basename(line.fields.process_path), basename(line.fields.process_original_name)
        pattern = _PROXY.get(names[0]) or _PROXY.get(names[1])
        command = line.fields.process_cmd_line or ""
        if pattern and pattern.search(command):
            yield _launch_and_calls(window, line, confirmed=_INLINE.search(command) is not None)


@rule(
    "dropped-program-runs",
    "T1204.002",
    "execution",
    on=((ProcessFields, "launch"),),
    summary=f"A file is written to a user-writable folder and that very file starts as a program on the same host within {DROP_RUN_S} s, but for what a program writes to its own folder. "
    f"Confirmed: it connects outside within {CHAIN_S} s of its start, and was not both written and started by a program named setup, install, update or unins.",
    source="ATT&CK T1204.002, T1105: a file fetched or attached and then executed",
)
def dropped_program_runs(launches: Lines[ProcessFields], window: Window) -> Findings:
    for (host, path), files in grouped(window.of(FileFields, "create"), _dropped_file).items():
        pairs = [
            (file, start)
            for start in launches
            if (start.host, program_path(start)) == (host, path)
            for file in files
            if follows(window, start, file, DROP_RUN_S)
        ]
        if pairs:
            starts = list({start.log_id: start for _, start in pairs}.values())
            calls = [call for start in starts for call in outbound(window, host, path, start.time_s, CHAIN_S)]
            unpacked = all(_is_unpacked(file, start) for file, start in pairs)
            yield finding(
                [*(file for file, _ in pairs), *starts, *calls],
                confirmed=bool(calls) and not unpacked,
                host=host,
                accounts=[start.user for start in starts],
                program=path,
                remote=first_address(calls),
            )


def _is_unpacked(file: Line[FileFields], start: Line[ProcessFields]) -> bool:
    """Return whether one installer writes a program and starts it, as self-extracting packages do."""
    writer = program_path(file)
    return bool(INSTALLERS.search(basename(writer))) and writer == (start.fields.parent_path or "").lower()


def _dropped_file(line: Line[FileFields]) -> tuple[str, str] | None:
    path = line.fields.file_path or ""
    foreign = is_user_writable(path) and not is_own(line.fields.process_path, path)
    return (line.host, path.lower()) if foreign else None


@rule(
    "remote-service-execution",
    "T1569.002",
    "execution",
    on=((ServiceFields, "install"),),
    summary="A service is installed whose program is user-writable or a shell. "
    f"Confirmed: a network logon (type {NETWORK_LOGON}) from inside at most {REMOTE_SERVICE_S} s before, and services.exe starts that program within {CHAIN_S} s after.",
    source="ATT&CK T1569.002, T1543.003, T1021.002: the service manager used to run a program on another host",
)
def remote_service_execution(installs: Lines[ServiceFields], window: Window) -> Findings:
    for line in installs:
        path = program_of(line.fields.service_cmd_line or "")
        if is_user_writable(path) or shell_name(path) in SHELLS:
            logons = [
                logon for logon in _network_logons(window, line.host) if follows(window, line, logon, REMOTE_SERVICE_S)
            ]
            starts = [
                start
                for start in _starts_since(window, line, path)
                if basename(start.fields.parent_path) == "services.exe" and follows(window, start, line, CHAIN_S)
            ]
            confirmed = bool(logons and starts)
            yield finding(
                [*logons, line, *starts] if confirmed else [line],
                confirmed=confirmed,
                host=line.host,
                account=line.user,
                program=path,
            )


def _network_logons(window: Window, host: str) -> list[Line[LogonFields]]:
    """List the network logons to a host from inside."""
    return [
        logon
        for logon in window.of(LogonFields, "success")
        if logon.fields.logon_type == NETWORK_LOGON
        and logon.host == host
        and logon.fields.src_ip
        and not window.is_external(logon.fields.src_ip)
    ]


def _starts_since(window: Window, line: Line, path: str) -> list[Line[ProcessFields]]:
    """List the starts of a program, given by its path, on a line's host at that time or later."""
    program = shell_name(path)
    return [
        start
        for start in window.of(ProcessFields, "launch")
        if start.host == line.host and start.time_s >= line.time_s and basename(start.fields.process_path) == program
    ]


@rule(
    "task-runs-foreign-program",
    "T1053.005",
    "persistence",
    on=((TaskFields, "create", "update"),),
    summary=f"A scheduled task is made or changed whose command names a file in a user-writable folder, but for a change to a program of a program folder that is no shell and does not run as SYSTEM ({SYSTEM_SID}). "
    f"Confirmed: that program starts on the host and connects outside within {CHAIN_S} s.",
    source="ATT&CK T1053.005: the task scheduler used to run a program again and again",
)
def task_runs_foreign_program(tasks: Lines[TaskFields], window: Window) -> Findings:
    for line in tasks:
        command = line.fields.job_cmd_line or ""
        if is_user_writable(command) and not _keeps_program(line.fields):
            path = program_of(command)
            starts = _starts_since(window, line, path)
            calls = [
                call
                for start in starts
                for call in outbound(window, line.host, start.fields.process_path or "", start.time_s, CHAIN_S)
            ]
            yield finding(
                [line, *starts, *calls] if calls else [line],
                confirmed=bool(calls),
                host=line.host,
                account=line.user,
                program=path,
                remote=first_address(calls),
            )


def _keeps_program(fields: TaskFields) -> bool:
    """Return whether a task is changed that starts a program which is installed for one user, as updaters do again and again."""
    path = program_of(fields.job_cmd_line or "")
    by_system = account_name(fields.run_as).lower() == "system" or fields.run_as == SYSTEM_SID
    return (
        fields.activity == "update" and bool(program_folder(path)) and shell_name(path) not in SHELLS and not by_system
    )


@rule(
    "code-injection",
    "T1055",
    "defense_evasion",
    on=(ProcessInjectFields,),
    summary="A program not installed starts a thread in another, but its own, or alters its image. Confirmed: it is user-writable.",
    source="ATT&CK T1055.002, T1055.012: code run inside another process",
)
def code_injection(injections: Lines[ProcessInjectFields], window: Window) -> Findings:
    for (host, source, user), lines in grouped(injections, _injector).items():
        yield finding(lines, confirmed=is_user_writable(source), host=host, account=user, program=source)


def _injector(line: Line[ProcessInjectFields]) -> tuple[str, str, str] | None:
    source = program_path(line)
    target = (line.fields.target_path or "").lower()
    foreign = source and source != target and not is_installed(source) and not is_own(source, target)
    return (line.host, source, line.user) if foreign else None


RULES = (
    application_spawns_shell,
    download_cradle,
    signed_proxy_execution,
    dropped_program_runs,
    remote_service_execution,
    task_runs_foreign_program,
    code_injection,
)
