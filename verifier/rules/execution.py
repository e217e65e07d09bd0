"""Rules on programs: what starts what, what is run from where, and what it does next (ATT&CK Execution and neighbours)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    FileFields,
    LogonFields,
    ProcessFields,
    ProcessInjectFields,
    ScriptFields,
    ServiceFields,
    TaskFields,
)
from verifier.rules.kit import (
    CHAIN_S,
    MIN_ENCODED,
    NETWORK_LOGON,
    SERVER_PROGRAMS,
    SHELLS,
    Legacy,
    fetches_code,
    legacy_rule,
    outbound,
    program_of,
    shell_name,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    is_installed,
    is_user_writable,
    kinds,
    one_program,
)

DROP_RUN_S = 600  # from a file's creation to its launch
REMOTE_SERVICE_S = 300  # from the network logon to the service that it installs

DOCUMENT_PROGRAMS = (
    "winword.exe",
    "excel.exe",
    "powerpnt.exe",
    "outlook.exe",
    "onenote.exe",
    "acrord32.exe",
    "mspub.exe",
)
POWERSHELLS = ("powershell.exe", "pwsh.exe")
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


def _short(programs: Iterable[str]) -> str:
    """Programs as the playbook names them, without .exe, each once."""
    return ", ".join(dict.fromkeys(name.removesuffix(".exe") for name in programs))


@legacy_rule(
    "application-spawns-shell",
    "T1059",
    "execution",
    says=f"{_short(DOCUMENT_PROGRAMS + SERVER_PROGRAMS)} start {_short(SHELLS)}. Confirmed: that connects outside within {CHAIN_S} s.",
    source="ATT&CK T1059, T1204.002, T1505.003: code run by a program that has no reason to start shells",
    needs=kinds(ProcessFields, "launch"),
)
def application_spawns_shell(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find shells started by document, mail or server programs."""
    for line in window.of(ProcessFields):
        program = basename(line.fields.process_path)
        parent = basename(line.fields.parent_path)
        if line.fields.activity != "launch" or program not in SHELLS:
            continue
        if parent in DOCUMENT_PROGRAMS or parent in SERVER_PROGRAMS:
            calls = outbound(window, line.host, line.fields.process_path or "", line.time_s, CHAIN_S)
            yield this.finding(
                [line, *calls],
                confirmed=bool(calls),
                scope="host",
                host=line.host,
                account=line.user,
                program=line.fields.process_path or "",
                remote=(calls[0].fields.dst_ip or "") if calls else "",
            )


@legacy_rule(
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
def download_cradle(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find PowerShell code that decodes or downloads what it runs; one finding for each host and user."""
    told: dict[tuple[str, str], list[Line]] = {}
    for script in window.of(ScriptFields):
        if fetches_code(script.fields.script_text or "") or fetches_code(script.fields.host_application or ""):
            told.setdefault((script.host, script.user), []).append(script)
    for line in window.of(ProcessFields):
        if (
            line.fields.activity == "launch"
            and basename(line.fields.process_path) in POWERSHELLS
            and fetches_code(line.fields.process_cmd_line or "")
        ):
            told.setdefault((line.host, line.user), []).append(line)
    for (host, user), lines in told.items():
        calls = [
            call
            for line in lines
            for name in POWERSHELLS
            for call in outbound(window, host, name, line.time_s, CHAIN_S)
        ]
        yield this.finding(
            [*lines, *calls],
            confirmed=bool(calls),
            scope="host",
            host=host,
            account=user,
            program=one_program(lines, otherwise="powershell.exe"),
            remote=(calls[0].fields.dst_ip or "") if calls else "",
        )


@legacy_rule(
    "signed-proxy-execution",
    "T1218",
    "defense_evasion",
    says="A program of Windows is told to run foreign code: "
    f"{'; '.join(f'{_short([name])} {words}' for name, (_, words) in PROXY_ARGUMENTS.items())}. Confirmed: the inline script makes objects, or it connects outside within {CHAIN_S} s.",
    source="ATT&CK T1218 and sub-techniques, T1140, T1197, T1047: arguments by which these programs run or fetch foreign code",
    needs=kinds(ProcessFields, "launch"),
)
def signed_proxy_execution(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find system programs used to run or fetch foreign code."""
    for line in window.of(ProcessFields):
        program, told = basename(line.fields.process_path), line.fields.process_cmd_line or ""
        pattern = _PROXY.get(program) or _PROXY.get(basename(line.fields.process_original_name))
        if line.fields.activity == "launch" and pattern and pattern.search(told):
            calls = outbound(window, line.host, line.fields.process_path or "", line.time_s, CHAIN_S)
            yield this.finding(
                [line, *calls],
                confirmed=bool(calls) or _INLINE.search(told) is not None,
                scope="host",
                host=line.host,
                account=line.user,
                program=line.fields.process_path or "",
                remote=(calls[0].fields.dst_ip or "") if calls else "",
            )


@legacy_rule(
    "dropped-program-runs",
    "T1204.002",
    "execution",
    says=f"A file is written to a user-writable folder and that very file starts as a program on the same host within {DROP_RUN_S} s. "
    f"Confirmed: it connects outside within {CHAIN_S} s of its start.",
    source="ATT&CK T1204.002, T1105: a file fetched or attached and then executed",
    needs=kinds(ProcessFields, "launch"),
)
def dropped_program_runs(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find files that are dropped, started and heard from; one finding for each host and file."""
    span = window.limits.within(DROP_RUN_S)
    drops: dict[tuple[str, str], list[Line[FileFields]]] = {}
    for line in window.of(FileFields):
        if line.fields.activity == "create" and is_user_writable(line.fields.file_path):
            drops.setdefault((line.host, (line.fields.file_path or "").lower()), []).append(line)
    for (host, path), written in drops.items():
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.fields.activity == "launch"
            and start.host == host
            and (start.fields.process_path or "").lower() == path
            and any(0 <= start.time_s - drop.time_s <= span for drop in written)
        ]
        if starts:
            calls = [call for start in starts for call in outbound(window, host, path, start.time_s, CHAIN_S)]
            drop_lines = [drop for drop in written if any(0 <= start.time_s - drop.time_s <= span for start in starts)]
            yield this.finding(
                [*drop_lines, *starts, *calls],
                confirmed=bool(calls),
                scope="host",
                host=host,
                accounts=[start.user for start in starts],
                program=path,
                remote=(calls[0].fields.dst_ip or "") if calls else "",
            )


@legacy_rule(
    "remote-service-execution",
    "T1569.002",
    "execution",
    says="A service is installed whose program is user-writable or a shell. "
    f"Confirmed: a network logon (type {NETWORK_LOGON}) from inside at most {REMOTE_SERVICE_S} s before, and services.exe starts that program within {CHAIN_S} s after.",
    source="ATT&CK T1569.002, T1543.003, T1021.002: the service manager used to run a program on another host",
    needs=kinds(ServiceFields, "install"),
)
def remote_service_execution(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find services that run a foreign program, and the logon and start around them."""
    for line in window.of(ServiceFields):
        path = program_of(line.fields.service_cmd_line or "")
        program = shell_name(path)
        if line.fields.activity != "install" or not (is_user_writable(path) or program in SHELLS):
            continue
        logons = [
            logon
            for logon in window.of(LogonFields)
            if logon.fields.activity == "success"
            and logon.fields.logon_type == NETWORK_LOGON
            and logon.host == line.host
            and 0 <= line.time_s - logon.time_s <= window.limits.within(REMOTE_SERVICE_S)
            and logon.fields.src_ip
            and not window.is_external(logon.fields.src_ip)
        ]
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.fields.activity == "launch"
            and start.host == line.host
            and basename(start.fields.parent_path) == "services.exe"
            and basename(start.fields.process_path) == program
            and 0 <= start.time_s - line.time_s <= window.limits.within(CHAIN_S)
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


@legacy_rule(
    "task-runs-foreign-program",
    "T1053.005",
    "persistence",
    says="A scheduled task is made or changed whose command names a file in a user-writable folder. "
    f"Confirmed: that program starts on the host and connects outside within {CHAIN_S} s.",
    source="ATT&CK T1053.005: the task scheduler used to run a program again and again",
    needs=kinds(TaskFields, "create", "update"),
)
def task_runs_foreign_program(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find scheduled tasks whose program nobody vouches for."""
    for line in window.of(TaskFields):
        command = line.fields.job_cmd_line or ""
        if line.fields.activity not in ("create", "update") or not is_user_writable(command):
            continue
        path = program_of(command)
        program = shell_name(path)
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.fields.activity == "launch"
            and start.host == line.host
            and start.time_s >= line.time_s
            and basename(start.fields.process_path) == program
        ]
        calls = [
            call
            for start in starts
            for call in outbound(window, line.host, start.fields.process_path or "", start.time_s, CHAIN_S)
        ]
        yield this.finding(
            [line, *starts, *calls] if calls else [line],
            confirmed=bool(calls),
            scope="host",
            host=line.host,
            account=line.user,
            program=path,
            remote=(calls[0].fields.dst_ip or "") if calls else "",
        )


@legacy_rule(
    "code-injection",
    "T1055",
    "defense_evasion",
    says="A program not installed starts a thread in another or alters its image. Confirmed: it is user-writable.",
    source="ATT&CK T1055.002, T1055.012: code run inside another process",
    needs=(ProcessInjectFields,),
)
def code_injection(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that run code inside others; one finding for each host, program and user."""
    acts: dict[tuple[str, str, str], list[Line[ProcessInjectFields]]] = {}
    for line in window.of(ProcessInjectFields):
        source = (line.fields.process_path or "").lower()
        if source and source != (line.fields.target_path or "").lower() and not is_installed(source):
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
