"""Rules on hiding: obfuscation, masquerade, injection, proxies (ATT&CK Defense Evasion)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    ModuleLoadFields,
    ProcessAccessFields,
    ProcessFields,
    ProcessInjectFields,
)
from verifier.commands import commands, lines_by_meaning, told
from verifier.rules.kit import (
    CHAIN_S,
    ELEVATED,
    SHELLS,
    Legacy,
    by_host_and_user,
    fetches_code,
    is_loose,
    legacy_rule,
    outbound,
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
)

_ONLY_FETCHES = re.compile(r"desktopimgdownldr|certoc|presentationhost|ieexec|\bhh(?:\.exe)?\b", re.IGNORECASE)

# Names of Windows' own programs; under one of them elsewhere, or under another name in a user's folder, something else hides.
SYSTEM_NAMES = frozenset(
    [
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
    ]
)

_SYSTEM_FOLDERS = re.compile(
    r"\\(?:system32|syswow64|winsxs\\.{1,200}|servicing\\.{1,200}|softwaredistribution\\.{1,200})\\[^\\]+$",
    re.IGNORECASE,
)

RENAMED = SYSTEM_NAMES | frozenset(
    [
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
    ]
)

# Launchers that run a file which they are given.
LAUNCHERS = frozenset(
    [
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
    ]
)

ALL_ACCESS_BITS = 0x2 | 0x8 | 0x20  # CREATE_THREAD, VM_OPERATION, VM_WRITE

_SYSTEM_INJECTORS = frozenset(
    {
        "csrss.exe",
        "wininit.exe",
        "winlogon.exe",
        "smss.exe",
        "services.exe",
        "lsass.exe",
        "dwm.exe",
        "werfault.exe",
        "svchost.exe",
    }
)


@legacy_rule(
    "obfuscated-script",
    "T1027",
    "defense_evasion",
    says="PowerShell code of characters, joins, formats or xor. Confirmed if PowerShell also starts hidden or loads code, or the code downloads.",
    source="ATT&CK T1027.010; patterns published with Invoke-Obfuscation",
    clues=("script-obfuscated",),
)
def obfuscated_script(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find code that hides what it is."""
    for finding in told(window, this, "script-obfuscated", sure=False):
        also = window.view(lines_by_meaning).get("hidden-start", []) + window.view(lines_by_meaning).get(
            "script-offensive", []
        )
        sure = any(line.host == finding.host and line.user == finding.account for line in also) or any(
            line.log_id in finding.evidence and fetches_code(text) for line, _, text in window.view(commands)
        )
        yield finding._replace(strength="confirmed") if sure else finding


@legacy_rule(
    "hidden-powershell",
    "T1564.003",
    "defense_evasion",
    says="PowerShell starts hidden (-w hidden) with -nop, -noni, -ep bypass, -sta or -enc. Suspicious.",
    source="ATT&CK T1564.003, T1059.001",
    clues=("hidden-start",),
)
def hidden_powershell(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find PowerShell that nobody shall see."""
    return told(window, this, "hidden-start", sure=False)


@legacy_rule(
    "encoded-stager",
    "T1027.010",
    "execution",
    says="What -EncodedCommand decodes to downloads, runs text as code or blinds logging. Confirmed.",
    source="ATT&CK T1027.010, T1059.001, T1105",
    clues=("encoded-stager",),
)
def encoded_stager(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find encoded commands that hold the first step of an attack."""
    return told(window, this, "encoded-stager", sure=True)


@legacy_rule(
    "offensive-script",
    "T1059.001",
    "execution",
    says="A script runs foreign memory or reflection (VirtualAlloc, Assembly.Load, sekurlsa). Confirmed if PowerShell also starts hidden.",
    source="ATT&CK T1059.001, T1620",
    clues=("script-offensive",),
)
def offensive_script(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find scripts that load code into memory."""
    for finding in told(window, this, "script-offensive", sure=False):
        hidden = any(
            line.host == finding.host and line.user == finding.account
            for line in window.view(lines_by_meaning).get("hidden-start", ())
        )
        yield finding._replace(strength="confirmed") if hidden else finding


@legacy_rule(
    "masquerading-program",
    "T1036",
    "defense_evasion",
    says="A name of Windows' own outside System32, or in a user-writable folder a shell or tool renamed. Confirmed.",
    source="ATT&CK T1036.003, T1036.005",
    needs=kinds(ProcessFields, "launch"),
)
def masquerading_program(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs under a false name."""
    for line in window.of(ProcessFields):
        path = line.fields.process_path or ""
        name, original = basename(path), basename(line.fields.process_original_name)
        elsewhere = name in SYSTEM_NAMES and "\\" in path and not _SYSTEM_FOLDERS.search(path)
        renamed = original in RENAMED and original.partition(".")[0] not in name and is_user_writable(path)
        if line.fields.activity == "launch" and (elsewhere or renamed):
            yield this.finding([line], confirmed=True, scope="host", host=line.host, account=line.user, program=path)


@legacy_rule(
    "launcher-runs-user-file",
    "T1218",
    "defense_evasion",
    says=f"A launcher (rundll32, mshta, hh, wscript and the like) gets a user-writable file, or a download tool a URL. Confirmed: it starts a program or connects outside within {CHAIN_S} s, mavinject, desktopimgdownldr, certoc, ieexec or hh with a URL.",
    source="ATT&CK T1218, T1105, T1546.011; LOLBAS",
    clues=LAUNCHERS | {"injection-command", "download-by-proxy", "launched-by-proxy"},
)
def launcher_runs_user_file(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find launchers that run what a user wrote, and what comes of it."""
    known = window.view(lines_by_meaning)
    injecting = {line.log_id for line in known.get("injection-command", ())}
    fetching = {line.log_id for line in known.get("download-by-proxy", ())}
    proxied = {line.log_id for line in known.get("launched-by-proxy", ())}
    span = window.limits.within(CHAIN_S)
    for line in window.of(ProcessFields):
        name = basename(line.fields.process_path)
        if line.fields.activity != "launch":
            continue
        given = name in LAUNCHERS and is_user_writable(_arguments(line.fields.process_cmd_line or ""))
        if not given and line.log_id not in injecting | fetching | proxied:
            continue
        started = [
            child
            for child in window.of(ProcessFields)
            if child.fields.activity == "launch"
            and child.host == line.host
            and basename(child.fields.parent_path) == name
            and basename(child.fields.process_path) not in (name, "conhost.exe", "werfault.exe")
            and 0 <= child.time_s - line.time_s <= span
        ]
        calls = outbound(window, line.host, name, line.time_s, CHAIN_S)
        yield this.finding(
            [line, *started, *calls],
            confirmed=(given and bool(started or calls))
            or line.log_id in injecting
            or (line.log_id in fetching and _ONLY_FETCHES.search(name) is not None),
            scope="host",
            host=line.host,
            account=line.user,
            program=line.fields.process_path or "",
            remote=(calls[0].fields.dst_ip or "") if calls else "",
        )


def _arguments(command: str) -> str:
    """What follows the program on a command line."""
    command = command.strip()
    return command[1:].partition('"')[2] if command.startswith('"') else command.partition(" ")[2]


@legacy_rule(
    "unbacked-code",
    "T1055",
    "defense_evasion",
    says="UNKNOWN in the call trace opens a program with rights to write and start threads. Confirmed: by a user-writable program.",
    source="ATT&CK T1055, T1106; Microsoft Sysmon event 10",
    needs=(ProcessAccessFields,),
)
def unbacked_code(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find code in memory that reaches for other programs."""
    lines: list[Line] = []
    for line in window.of(ProcessAccessFields):
        mask = int(line.fields.access_mask or "0x0", 16)
        if mask & ALL_ACCESS_BITS == ALL_ACCESS_BITS and "UNKNOWN" in (line.fields.call_trace or ""):
            lines.append(line)
    for group in by_host_and_user(lines):
        yield this.of_one(
            group, confirmed=any(is_user_writable(getattr(line.fields, "process_path", "")) for line in group)
        )


@legacy_rule(
    "installed-injector",
    "T1055.001",
    "privilege_escalation",
    says="A thread is started in another program by a shell, script host or mavinject, or at an address of no module. Confirmed.",
    source="ATT&CK T1055.001, T1055.002; Microsoft Sysmon event 8",
    needs=kinds(ProcessInjectFields, "remote_thread"),
)
def installed_injector(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find installed programs that are used to run code in others."""
    lines: list[Line] = []
    for line in window.of(ProcessInjectFields):
        name = basename(line.fields.process_path)
        raw = (line.fields.start_module or "").startswith("0x")
        if (
            line.fields.activity == "remote_thread"
            and (line.fields.process_path or "").lower() != (line.fields.target_path or "").lower()
            and (
                (is_installed(line.fields.process_path) and (name in SHELLS or name.startswith("mavinject")))
                or (raw and name not in _SYSTEM_INJECTORS)
            )
        ):
            lines.append(line)
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True)


@legacy_rule(
    "foreign-module",
    "T1574.002",
    "persistence",
    says="An unsigned library from a user-writable folder in an installed or loose program, any in an auto-elevated one, a service's or the spooler's for a person. Suspicious.",
    source="ATT&CK T1574.002, T1068; Microsoft Sysmon event 7, PrintService 808",
    needs=(ModuleLoadFields,),
)
def foreign_module(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find libraries that nobody vouches for inside programs that somebody does."""
    lines: list[Line] = []
    for line in window.of(ModuleLoadFields):
        path = line.fields.file_path or ""
        unsigned = line.fields.signature_state in ("unsigned", "invalid")
        loaded = unsigned and is_user_writable(path) and is_installed(line.fields.process_path)
        printed = (
            "\\spool\\drivers\\" in path.lower()
            and line.fields.signature_state is None
            and is_person_or_service(line.user)
        )
        foreign = path and not line.fields.process_path and not is_installed(path) and line.fields.activity == "dll"
        elevated = (
            unsigned and basename(line.fields.process_path) in ELEVATED and is_installed(line.fields.process_path)
        )
        beside = (
            unsigned
            and is_loose(line.fields.process_path or "")
            and path.lower() != (line.fields.process_path or "").lower()
            and is_user_writable(path)
        )
        if loaded or printed or foreign or elevated or beside:
            lines.append(line)
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


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
