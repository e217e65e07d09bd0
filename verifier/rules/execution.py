"""Rules on programs: what starts what, what is run from where, and what it does next (ATT&CK Execution and neighbours)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from schema import (
    FileFields,
    LogonFields,
    NetConnFields,
    ProcessFields,
    ProcessInjectFields,
    ScriptFields,
    ServiceFields,
    TaskFields,
)
from verifier.window import (
    OUTBOUND,
    Finding,
    Line,
    Rule,
    Window,
    basename,
    is_installed,
    is_user_writable,
    kinds,
    one_program,
    rule,
)

CHAIN_S = 300  # a program's next move counts as its own for this long
DROP_RUN_S = 600  # from a file's creation to its launch
REMOTE_SERVICE_S = 300  # from the network logon to the service that it installs
NETWORK_LOGON = 3

DOCUMENT_PROGRAMS = (
    "winword.exe",
    "excel.exe",
    "powerpnt.exe",
    "outlook.exe",
    "onenote.exe",
    "acrord32.exe",
    "mspub.exe",
)
SERVER_PROGRAMS = (
    "w3wp.exe",
    "sqlservr.exe",
    "httpd.exe",
    "nginx.exe",
    "tomcat9.exe",
    "php-cgi.exe",
    "httpd",
    "nginx",
    "apache2",
)
SHELLS = (
    "cmd.exe",
    "powershell.exe",
    "pwsh.exe",
    "wscript.exe",
    "cscript.exe",
    "mshta.exe",
    "rundll32.exe",
    "regsvr32.exe",
    "certutil.exe",
    "bitsadmin.exe",
    "msbuild.exe",
    "sh",
    "bash",
)
POWERSHELLS = ("powershell.exe", "pwsh.exe")
MIN_ENCODED = 20  # characters of an encoded command; a shorter one says nothing
# What shows that a signed program fetches or runs foreign code: a pattern, and the same in words.
PROXY_ARGUMENTS = {
    "mshta.exe": (r"https?://|javascript:|vbscript:", "a URL or an inline script"),
    "regsvr32.exe": (r"[-/]i:\s*\"?https?://|scrobj", "/i: with a URL, or scrobj"),
    "rundll32.exe": (
        r"javascript:|(?<!protocolhandler )(?<!protocolhandler \")https?://|\\\\[^\\]+\\[^\\]+\\.{1,200}\.dll",
        "a URL (but to FileProtocolHandler), inline javascript or a .dll on a network share",
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
# Inline code that makes objects: these programs are given it for one reason only.
_INLINE = re.compile(
    r"(?:java|vb)script:.{0,300}(?:getobject|activexobject|createobject|\.run\b|\.exec\b|eval\()", re.IGNORECASE
)
# PowerShell takes any beginning of -EncodedCommand, and a dash of any length or a slash before it.
_CRADLE = re.compile(
    r"downloadstring|downloadfile|downloaddata|invoke-webrequest|start-bitstransfer|net\.webclient|frombase64string"
    r"|\biwr\b|\biex\b|invoke-expression"
    rf"|\s[-/\u2013-\u2015]e(?:c|nc?|nco[a-z]*)?[\s:]+[\"']?[a-z0-9+/=]{{{MIN_ENCODED},}}",
    re.IGNORECASE,
)
_UNQUOTED = re.compile(r"^(?:[a-z]:|\\|%\w+%)\\.*?\.(?:exe|com|bat|cmd|scr|dll|sys|ps1|vbs|js)(?=\s|$)", re.IGNORECASE)


def _short(programs: Iterable[str]) -> str:
    """Programs as the playbook names them, without .exe, each once."""
    return ", ".join(dict.fromkeys(name.removesuffix(".exe") for name in programs))


def program_of(command: str) -> str:
    """The path of the program that a service's or a task's command line starts."""
    command = command.strip()
    if command.startswith('"'):
        return command[1:].partition('"')[0]
    command = command.split(" -")[0].split(" /")[0]
    found = _UNQUOTED.match(command)
    return found[0] if found else command.partition(" ")[0]


def shell_name(program: str) -> str:
    """A program's file name, or the shell's that is meant: `powershell` and %COMSPEC% are found by the system."""
    name = basename(program)
    return "cmd.exe" if name == "%comspec%" else f"{name}.exe" if f"{name}.exe" in SHELLS else name


def outbound(window: Window, host: str, program: str, after: float, seconds: float) -> list[Line[NetConnFields]]:
    """Connections that a program opens from a host to an external address within a span after a time.

    `program` is a path, or a file name where nobody said which folder.
    """
    span = window.limits.within(seconds)
    return [
        line
        for line in window.of(NetConnFields)
        if line.host == host
        and 0 <= line.t - after <= span
        and line.f.activity in OUTBOUND
        and _is_same_program(line.f.process_path or "", program)
        and window.is_external(line.f.dst_ip)
    ]


def _is_same_program(one: str, other: str) -> bool:
    """Whether two paths are one; where either is a mere file name, whether the file names are."""
    one, other = one.lower(), other.lower()
    return one == other or (basename(one) == basename(other) and basename(one) in (one, other))


@rule(
    "application-spawns-shell",
    "T1059",
    "execution",
    says=f"{_short(DOCUMENT_PROGRAMS + SERVER_PROGRAMS)} start {_short(SHELLS)}. Confirmed: that connects outside within {CHAIN_S} s.",
    source="ATT&CK T1059, T1204.002, T1505.003: code run by a program that has no reason to start shells",
    needs=kinds(ProcessFields, "launch"),
)
def application_spawns_shell(window: Window, this: Rule) -> Iterable[Finding]:
    """Find shells started by document, mail or server programs."""
    for line in window.of(ProcessFields):
        program = basename(line.f.process_path)
        parent = basename(line.f.parent_path)
        if line.f.activity != "launch" or program not in SHELLS:
            continue
        if parent in DOCUMENT_PROGRAMS or parent in SERVER_PROGRAMS:
            calls = outbound(window, line.host, line.f.process_path or "", line.t, CHAIN_S)
            yield this.finding(
                [line, *calls],
                confirmed=bool(calls),
                scope="host",
                host=line.host,
                account=line.user,
                program=line.f.process_path or "",
                remote=(calls[0].f.dst_ip or "") if calls else "",
            )


@rule(
    "download-cradle",
    "T1059.001",
    "execution",
    says="PowerShell downloads, decodes or runs text as code (DownloadString, DownloadFile, DownloadData, "
    "Net.WebClient, Invoke-WebRequest, iwr, Start-BitsTransfer, Invoke-Expression, iex, FromBase64String, or -EncodedCommand, "
    f"also shortened, with {MIN_ENCODED} or more characters). "
    f"Confirmed: PowerShell connects outside from that host within {CHAIN_S} s.",
    source="ATT&CK T1059.001, T1027.010, T1105: command obfuscation and ingress transfer by PowerShell",
    needs=(ScriptFields, *kinds(ProcessFields, "launch")),
)
def download_cradle(window: Window, this: Rule) -> Iterable[Finding]:
    """Find PowerShell code that decodes or downloads what it runs; one finding for each host and user."""
    told: dict[tuple[str, str], list[Line]] = {}
    for script in window.of(ScriptFields):
        if fetches_code(script.f.script_text or "") or fetches_code(script.f.host_application or ""):
            told.setdefault((script.host, script.user), []).append(script)
    for line in window.of(ProcessFields):
        if (
            line.f.activity == "launch"
            and basename(line.f.process_path) in POWERSHELLS
            and fetches_code(line.f.process_cmd_line or "")
        ):
            told.setdefault((line.host, line.user), []).append(line)
    for (host, user), lines in told.items():
        calls = [
            call for line in lines for name in POWERSHELLS for call in outbound(window, host, name, line.t, CHAIN_S)
        ]
        yield this.finding(
            [*lines, *calls],
            confirmed=bool(calls),
            scope="host",
            host=host,
            account=user,
            program=one_program(lines, otherwise="powershell.exe"),
            remote=(calls[0].f.dst_ip or "") if calls else "",
        )


@lru_cache(maxsize=4096)
def fetches_code(text: str) -> bool:
    """Whether PowerShell's command line or code downloads, decodes or runs text as code."""
    return _CRADLE.search(text) is not None


@rule(
    "signed-proxy-execution",
    "T1218",
    "defense_evasion",
    says="A program of Windows is told to run foreign code: "
    f"{'; '.join(f'{_short([name])} {words}' for name, (_, words) in PROXY_ARGUMENTS.items())}. Confirmed: the inline script makes objects, or it connects outside within {CHAIN_S} s.",
    source="ATT&CK T1218 and sub-techniques, T1140, T1197, T1047: arguments by which these programs run or fetch foreign code",
    needs=kinds(ProcessFields, "launch"),
)
def signed_proxy_execution(window: Window, this: Rule) -> Iterable[Finding]:
    """Find system programs used to run or fetch foreign code."""
    for line in window.of(ProcessFields):
        program, told = basename(line.f.process_path), line.f.process_cmd_line or ""
        pattern = _PROXY.get(program) or _PROXY.get(basename(line.f.process_original_name))
        if line.f.activity == "launch" and pattern and pattern.search(told):
            calls = outbound(window, line.host, line.f.process_path or "", line.t, CHAIN_S)
            yield this.finding(
                [line, *calls],
                confirmed=bool(calls) or _INLINE.search(told) is not None,
                scope="host",
                host=line.host,
                account=line.user,
                program=line.f.process_path or "",
                remote=(calls[0].f.dst_ip or "") if calls else "",
            )


@rule(
    "dropped-program-runs",
    "T1204.002",
    "execution",
    says=f"A file is written to a user-writable folder and that very file starts as a program on the same host within {DROP_RUN_S} s. "
    f"Confirmed: it connects outside within {CHAIN_S} s of its start.",
    source="ATT&CK T1204.002, T1105: a file fetched or attached and then executed",
    needs=kinds(ProcessFields, "launch"),
)
def dropped_program_runs(window: Window, this: Rule) -> Iterable[Finding]:
    """Find files that are dropped, started and heard from; one finding for each host and file."""
    span = window.limits.within(DROP_RUN_S)
    drops: dict[tuple[str, str], list[Line[FileFields]]] = {}
    for line in window.of(FileFields):
        if line.f.activity == "create" and is_user_writable(line.f.file_path):
            drops.setdefault((line.host, (line.f.file_path or "").lower()), []).append(line)
    for (host, path), written in drops.items():
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.f.activity == "launch"
            and start.host == host
            and (start.f.process_path or "").lower() == path
            and any(0 <= start.t - drop.t <= span for drop in written)
        ]
        if starts:
            calls = [call for start in starts for call in outbound(window, host, path, start.t, CHAIN_S)]
            drop_lines = [drop for drop in written if any(0 <= start.t - drop.t <= span for start in starts)]
            yield this.finding(
                [*drop_lines, *starts, *calls],
                confirmed=bool(calls),
                scope="host",
                host=host,
                accounts=[start.user for start in starts],
                program=path,
                remote=(calls[0].f.dst_ip or "") if calls else "",
            )


@rule(
    "remote-service-execution",
    "T1569.002",
    "execution",
    says="A service is installed whose program is user-writable or a shell. "
    f"Confirmed: a network logon (type {NETWORK_LOGON}) from inside at most {REMOTE_SERVICE_S} s before, and services.exe starts that program within {CHAIN_S} s after.",
    source="ATT&CK T1569.002, T1543.003, T1021.002: the service manager used to run a program on another host",
    needs=kinds(ServiceFields, "install"),
)
def remote_service_execution(window: Window, this: Rule) -> Iterable[Finding]:
    """Find services that run a foreign program, and the logon and start around them."""
    for line in window.of(ServiceFields):
        path = program_of(line.f.service_cmd_line or "")
        program = shell_name(path)
        if line.f.activity != "install" or not (is_user_writable(path) or program in SHELLS):
            continue
        logons = [
            logon
            for logon in window.of(LogonFields)
            if logon.f.activity == "success"
            and logon.f.logon_type == NETWORK_LOGON
            and logon.host == line.host
            and 0 <= line.t - logon.t <= window.limits.within(REMOTE_SERVICE_S)
            and logon.f.src_ip
            and not window.is_external(logon.f.src_ip)
        ]
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.f.activity == "launch"
            and start.host == line.host
            and basename(start.f.parent_path) == "services.exe"
            and basename(start.f.process_path) == program
            and 0 <= start.t - line.t <= window.limits.within(CHAIN_S)
        ]
        confirmed = bool(logons and starts)
        yield this.finding(
            [*logons, line, *starts] if confirmed else [line],
            confirmed=confirmed,
            scope="host",
            host=line.host,
            account=line.user,
            program=path,
        )


@rule(
    "task-runs-foreign-program",
    "T1053.005",
    "persistence",
    says="A scheduled task is made or changed whose command names a file in a user-writable folder. "
    f"Confirmed: that program starts on the host and connects outside within {CHAIN_S} s.",
    source="ATT&CK T1053.005: the task scheduler used to run a program again and again",
    needs=kinds(TaskFields, "create", "update"),
)
def task_runs_foreign_program(window: Window, this: Rule) -> Iterable[Finding]:
    """Find scheduled tasks whose program nobody vouches for."""
    for line in window.of(TaskFields):
        command = line.f.job_cmd_line or ""
        if line.f.activity not in ("create", "update") or not is_user_writable(command):
            continue
        path = program_of(command)
        program = shell_name(path)
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.f.activity == "launch"
            and start.host == line.host
            and start.t >= line.t
            and basename(start.f.process_path) == program
        ]
        calls = [
            call
            for start in starts
            for call in outbound(window, line.host, start.f.process_path or "", start.t, CHAIN_S)
        ]
        yield this.finding(
            [line, *starts, *calls] if calls else [line],
            confirmed=bool(calls),
            scope="host",
            host=line.host,
            account=line.user,
            program=path,
            remote=(calls[0].f.dst_ip or "") if calls else "",
        )


@rule(
    "code-injection",
    "T1055",
    "defense_evasion",
    says="A program not installed starts a thread in another or alters its image. Confirmed: it is user-writable.",
    source="ATT&CK T1055.002, T1055.012: code run inside another process",
    needs=(ProcessInjectFields,),
)
def code_injection(window: Window, this: Rule) -> Iterable[Finding]:
    """Find programs that run code inside others; one finding for each host, program and user."""
    acts: dict[tuple[str, str, str], list[Line[ProcessInjectFields]]] = {}
    for line in window.of(ProcessInjectFields):
        source = (line.f.process_path or "").lower()
        if source and source != (line.f.target_path or "").lower() and not is_installed(source):
            acts.setdefault((line.host, source, line.user), []).append(line)
    for (host, source, user), lines in acts.items():
        yield this.finding(
            lines, confirmed=is_user_writable(source), scope="host", host=host, account=user, program=source
        )


RULES = (
    application_spawns_shell,
    download_cradle,
    signed_proxy_execution,
    dropped_program_runs,
    remote_service_execution,
    task_runs_foreign_program,
    code_injection,
)
