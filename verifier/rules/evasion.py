"""Rules on hiding: obfuscation, masquerade, injection, proxies (ATT&CK Defense Evasion)."""

from __future__ import annotations

import re

from schema import (
    FileFields,
    ModuleLoadFields,
    NetConnFields,
    ProcessAccessFields,
    ProcessFields,
    ProcessInjectFields,
)
from verifier.commands import command_program, command_rule, commands, commands_that, launches_of
from verifier.rules.kit import (
    ALL_ACCESS_BITS,
    CHAIN_S,
    ELEVATED,
    LOOPBACK,
    WINDOWS_CRASH_AND_CONSOLE,
    fetches_code,
    first_address,
    follows,
    has_bits,
    is_loose,
    is_own,
    outbound,
    program_path,
)
from verifier.window import (
    OUTBOUND,
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
    rule,
    stems,
)

_ONLY_FETCHES = re.compile(r"desktopimgdownldr|certoc|presentationhost|ieexec|\bhh(?:\.exe)?\b", re.IGNORECASE)

# Names of Windows' own programs; under one of them elsewhere, or under another name in a user's folder, something else hides.
SYSTEM_NAMES = (
    "svchost.exe",
    "lsass.exe",
    "services.exe",
    "csrss.exe",
    "smss.exe",
    "wininit.exe",
    "winlogon.exe",
    "spoolsv.exe",
    "taskhostw.exe",
    "dwm.exe",
    "conhost.exe",
    "rundll32.exe",
)

LEAST_OWN_PORT = 1024  # below lie those that IANA assigns to system services
SERVICE_PORTS = (
    1433,
    1521,
    3128,
    3268,
    3269,
    3389,
    5432,
    5985,
    5986,
    8080,
    8443,
)  # of databases, directories, web and administration
WRITTEN_S = 600  # from a library's creation to its loading
_SYSTEM_FOLDERS = re.compile(
    r"\\(?:system32|syswow64|winsxs\\.{1,200}|servicing\\.{1,200}|softwaredistribution\\.{1,200})\\[^\\]+$",
    re.IGNORECASE,
)

RENAMED_TOOLS = (
    "cmd.exe",
    "powershell.exe",
    "wscript.exe",
    "cscript.exe",
    "mshta.exe",
    "regsvr32.exe",
    "certutil.exe",
    "bitsadmin.exe",
    "msbuild.exe",
    "wmic.exe",
    "calc.exe",
    "notepad.exe",
    "psexec.c",
    "psexesvc.exe",
    "procdump",
    "installutil.exe",
    "cmstp.exe",
    "net.exe",
    "reg.exe",
    "schtasks.exe",
    "ntdsutil.exe",
)
_RENAMED = frozenset((*SYSTEM_NAMES, *RENAMED_TOOLS))

# Launchers that run a file which they are given.
LAUNCHERS = (
    "rundll32.exe",
    "regsvr32.exe",
    "mshta.exe",
    "hh.exe",
    "control.exe",
    "wscript.exe",
    "cscript.exe",
    "odbcconf.exe",
    "installutil.exe",
    "mofcomp.exe",
    "mavinject.exe",
    "wuauclt.exe",
    "sdbinst.exe",
    "forfiles.exe",
    "pcalua.exe",
    "regasm.exe",
    "regsvcs.exe",
    "vstoinstaller.exe",
    "xwizard.exe",
    "presentationhost.exe",
    "cmstp.exe",
)

PROTECTED = "csrss.exe"  # takes a thread for each console event of its clients, and lets nobody else in
_SYSTEM_INJECTORS = (
    "csrss.exe",
    "wininit.exe",
    "winlogon.exe",
    "smss.exe",
    "services.exe",
    "lsass.exe",
    "dwm.exe",
    "werfault.exe",
    "svchost.exe",
)


@rule(
    "obfuscated-script",
    "T1027",
    "defense_evasion",
    on=(commands_that("script-obfuscated"),),
    summary="PowerShell code of characters, joins, formats or xor. Confirmed if PowerShell also starts hidden or loads code, or the code downloads.",
    source="ATT&CK T1027.010; patterns published with Invoke-Obfuscation",
)
def obfuscated_script(scripts: Lines, window: Window) -> Findings:
    return findings_by_host_and_user(
        scripts,
        confirmed=lambda lines: (
            _is_joined_by(window, lines, "hidden-start", "script-offensive") or _downloads(window, lines)
        ),
        program=command_program,
    )


def _is_joined_by(window: Window, lines: Lines, *meanings: str) -> bool:
    """Return whether the host and user of lines also give a command with one of some meanings."""
    host, user = lines[0].host, lines[0].user
    return any((line.host, line.user) == (host, user) for line in commands_that(*meanings).pick(window))


def _downloads(window: Window, lines: Lines) -> bool:
    """Return whether a command of lines downloads, decodes or runs text as code."""
    log_ids = {line.log_id for line in lines}
    return any(line.log_id in log_ids and fetches_code(text) for line, _, text in window.view(commands))


hidden_powershell = command_rule(
    "hidden-powershell",
    "T1564.003",
    "defense_evasion",
    meaning="hidden-start",
    confirmed=False,
    summary="PowerShell starts hidden (-w hidden) with -nop, -noni, -ep bypass, -sta or -enc. Suspicious.",
    source="ATT&CK T1564.003, T1059.001",
)
encoded_stager = command_rule(
    "encoded-stager",
    "T1027.010",
    "execution",
    meaning="encoded-stager",
    confirmed=True,
    summary="What -EncodedCommand decodes to downloads, runs text as code or blinds logging. Confirmed.",
    source="ATT&CK T1027.010, T1059.001, T1105",
)


@rule(
    "offensive-script",
    "T1059.001",
    "execution",
    on=(commands_that("script-offensive"),),
    summary="A script runs foreign memory or reflection (VirtualAlloc, Assembly.Load, sekurlsa). Confirmed if PowerShell also starts hidden.",
    source="ATT&CK T1059.001, T1620",
)
def offensive_script(scripts: Lines, window: Window) -> Findings:
    return findings_by_host_and_user(
        scripts, confirmed=lambda lines: _is_joined_by(window, lines, "hidden-start"), program=command_program
    )


@rule(
    "masquerading-program",
    "T1036",
    "defense_evasion",
    on=((ProcessFields, "launch"),),
    summary=f"A name of Windows' own ({', '.join(stems(SYSTEM_NAMES))}) outside System32, SysWOW64, WinSxS, Servicing and SoftwareDistribution, "
    f"or in a user-writable folder one of these or a tool renamed ({', '.join(stems(RENAMED_TOOLS))}). Confirmed.",
    source="ATT&CK T1036.003, T1036.005",
)
def masquerading_program(launches: Lines[ProcessFields], window: Window) -> Findings:
    for line in launches:
        path = line.fields.process_path or ""
        if _is_elsewhere(path) or _is_renamed(path, basename(line.fields.process_original_name)):
            yield finding([line], confirmed=True, host=line.host, account=line.user, program=path)


def _is_elsewhere(path: str) -> bool:
    """Return whether a program bears a name of Windows' own outside Windows' folders."""
    return basename(path) in SYSTEM_NAMES and "\\" in path and not _SYSTEM_FOLDERS.search(path)


def _is_renamed(path: str, original: str) -> bool:
    """Return whether a user-writable program was made under the name of a shell or tool that it no longer bears."""
    return original in _RENAMED and original.partition(".")[0] not in basename(path) and is_user_writable(path)


_ASKS = re.compile(
    r"^\"?(?:c:\\windows\\system32\\)?rundll32(?:\.exe)?\"?\s+\"?(?:c:\\windows\\system32\\)?shell32(?:\.dll)?\"?,\s?openas_rundll\s",
    re.IGNORECASE,
)


@rule(
    "launcher-runs-user-file",
    "T1218",
    "defense_evasion",
    on=(
        launches_of(LAUNCHERS),
        commands_that("injection-command"),
        commands_that("download-by-proxy"),
        commands_that("launched-by-proxy"),
    ),
    summary=f"A launcher ({', '.join(stems(LAUNCHERS))}) gets a user-writable file (but rundll32 shell32.dll,OpenAs_RunDLL, both maybe with C:\\Windows\\System32\\ before: the dialog asks a person), or another signed program is told to fetch, start or inject (LOLBAS). "
    f"Confirmed: the launcher starts another program than {' or '.join(stems(WINDOWS_CRASH_AND_CONSOLE))}, connects outside or to an unusual port of another host than itself and {' or '.join(LOOPBACK)} inside ({LEAST_OWN_PORT} or above but {', '.join(map(str, SERVICE_PORTS))}) within {CHAIN_S} s, mavinject, "
    "or desktopimgdownldr, certoc, presentationhost, ieexec or hh with a URL.",
    source="ATT&CK T1218, T1105, T1546.011; LOLBAS",
)
def launcher_runs_user_file(
    launches: Lines[ProcessFields], injections: Lines, downloads: Lines, proxied: Lines, window: Window
) -> Findings:
    commands = [(line, line.fields.process_cmd_line or "") for line in launches]
    user_files = [line for line, text in commands if is_user_writable(_arguments(text)) and not _ASKS.match(text)]
    lines = {line.order: line for line in (*user_files, *injections, *downloads, *proxied)}
    for _, line in sorted(lines.items()):
        if isinstance(line.fields, ProcessFields):
            name = basename(line.fields.process_path)
            children = _children(window, line)
            calls = outbound(window, line.host, name, line.time_s, CHAIN_S) + _odd_calls(window, line, name)
            only_fetches = line in downloads and _ONLY_FETCHES.search(name) is not None
            yield finding(
                [line, *children, *calls],
                confirmed=line in injections or only_fetches or (line in user_files and bool(children or calls)),
                host=line.host,
                account=line.user,
                program=line.fields.process_path or "",
                remote=first_address(calls),
            )


def _odd_calls(window: Window, line: Line[ProcessFields], name: str) -> list[Line[NetConnFields]]:
    """List the connections of a launcher to ports of hosts of ours that no service there has."""
    return [
        call
        for call in window.of(NetConnFields, *OUTBOUND)
        if call.host == line.host
        and basename(call.fields.process_path) == name
        and call.fields.dst_ip not in (None, call.fields.src_ip, *LOOPBACK)
        and not window.is_external(call.fields.dst_ip)
        and (call.fields.dst_port or 0) >= LEAST_OWN_PORT
        and call.fields.dst_port not in SERVICE_PORTS
        and follows(window, call, line, CHAIN_S)
    ]


def _children(window: Window, line: Line[ProcessFields]) -> list[Line[ProcessFields]]:
    """List the programs that a launched program starts soon, but for itself and its console."""
    name = basename(line.fields.process_path)
    return [
        child
        for child in window.of(ProcessFields, "launch")
        if child.host == line.host
        and basename(child.fields.parent_path) == name
        and basename(child.fields.process_path) not in (name, *WINDOWS_CRASH_AND_CONSOLE)
        and follows(window, child, line, CHAIN_S)
    ]


def _arguments(command: str) -> str:
    """Return what follows the program on a command line."""
    command = command.strip()
    return command[1:].partition('"')[2] if command.startswith('"') else command.partition(" ")[2]


@rule(
    "unbacked-code",
    "T1055",
    "defense_evasion",
    on=(ProcessAccessFields,),
    summary=f"UNKNOWN in the call trace opens a program, but its own, with rights to write and start threads ({ALL_ACCESS_BITS:#x}). Confirmed: by a user-writable program.",
    source="ATT&CK T1055, T1106; Microsoft Sysmon event 10",
)
def unbacked_code(opens: Lines[ProcessAccessFields], window: Window) -> Findings:
    return findings_by_host_and_user(
        [
            line
            for line in opens
            if "UNKNOWN" in (line.fields.call_trace or "")
            and has_bits(line.fields.access_mask, ALL_ACCESS_BITS)
            and not is_own(line.fields.process_path, line.fields.target_path)
        ],
        confirmed=lambda lines: any(is_user_writable(program_path(line)) for line in lines),
    )


@rule(
    "installed-injector",
    "T1055.001",
    "privilege_escalation",
    on=((ProcessInjectFields, "remote_thread"),),
    summary="A thread is started in another program by an installed shell or mavinject, or at an address of no module (0x) "
    f"by another than {', '.join(stems(_SYSTEM_INJECTORS))}, in another than {PROTECTED.removesuffix('.exe')}, which Windows protects. Confirmed.",
    source="ATT&CK T1055.001, T1055.002; Microsoft Sysmon event 8",
)
def installed_injector(threads: Lines[ProcessInjectFields], window: Window) -> Findings:
    return findings_by_host_and_user(filter(_is_injected, threads), confirmed=True)


def _is_injected(line: Line[ProcessInjectFields]) -> bool:
    """Return whether a thread in another program has no reason but to run foreign code there."""
    source, name = program_path(line), basename(line.fields.process_path)
    raw = (line.fields.start_module or "").startswith("0x") and name not in _SYSTEM_INJECTORS
    shell = name in SHELLS or name.startswith("mavinject")
    target = (line.fields.target_path or "").lower()
    return source != target and basename(target) != PROTECTED and (raw or (shell and is_installed(source)))


@rule(
    "foreign-module",
    "T1574.002",
    "persistence",
    on=(ModuleLoadFields,),
    summary=f"An unsigned library (or of an invalid signature) from a user-writable folder in an installed or loose program, or from anywhere in an auto-elevated one; a service's (no program named) that is not installed; one in \\spool\\drivers\\ for a person. Confirmed: a loose program loads one that was written at most {WRITTEN_S} s before.",
    source="ATT&CK T1574.002, T1068; Microsoft Sysmon event 7, PrintService 808",
)
def foreign_module(loads: Lines[ModuleLoadFields], window: Window) -> Findings:
    return findings_by_host_and_user(
        filter(_is_foreign, loads), confirmed=lambda group: any(_is_planted(window, line) for line in group)
    )


def _is_planted(window: Window, line: Line[ModuleLoadFields]) -> bool:
    """Return whether a loose program loads a library that was written shortly before."""
    path = (line.fields.file_path or "").lower()
    return is_loose(program_path(line)) and any(
        (write.host, (write.fields.file_path or "").lower()) == (line.host, path)
        and follows(window, line, write, WRITTEN_S)
        for write in window.of(FileFields, "create")
    )


def _is_foreign(line: Line[ModuleLoadFields]) -> bool:
    if line.fields.signature_state in ("unsigned", "invalid") and _is_out_of_place(line):
        return True
    path = line.fields.file_path or ""
    by_service = path and line.fields.activity == "dll" and not line.fields.process_path and not is_installed(path)
    printed = "\\spool\\drivers\\" in path.lower() and line.fields.signature_state is None
    return bool(by_service) or (printed and is_person_or_service(line.user))


def _is_out_of_place(line: Line[ModuleLoadFields]) -> bool:
    """Return whether a library lies where its program has no reason to load one from."""
    program, path = program_path(line), (line.fields.file_path or "").lower()
    if is_installed(program):
        return is_user_writable(path) or basename(program) in ELEVATED
    return is_loose(program) and path != program and is_user_writable(path)


RULES = (
    obfuscated_script,
    hidden_powershell,
    encoded_stager,
    offensive_script,
    masquerading_program,
    launcher_runs_user_file,
    unbacked_code,
    installed_injector,
    foreign_module,
)
