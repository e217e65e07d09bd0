"""Rules on rights that a program or an account is not given: consent prompts, the sign-in screen, tokens (ATT&CK Privilege Escalation)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from schema import (
    PipeFields,
    PrivilegeFields,
    ProcessFields,
)
from verifier.commands import SETTINGS, Setting, command_rule, commands_that, launches_by, launches_of
from verifier.rules.kit import ELEVATED, INSTALLERS, WINDOWS_CRASH_AND_CONSOLE, grouped
from verifier.window import (
    CODE_HOSTS,
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

# Shells that Windows' own screens and services do not start for themselves; rundll32 they do.
RISING_SHELLS = tuple(name for name in SHELLS if name != "rundll32.exe")
SIGN_IN_PARENTS = ("smss.exe", "winlogon.exe")
_ELEVATED_CLASS = re.compile(
    r"(?:_classes|\\software\\classes|^hkcr)\\(?:mscfile|ms-settings|exefile|folder|appx[a-z0-9]{20,}|launcher\.systemsettings|shell\.[^\\]+|\.msc|\.exe)\\"
    r"(?:shell\\[^\\]+\\command|shell\\open|curver)(?:\\(?:\(default\)|delegateexecute))?$|\\shell\\[^\\]+\\command\\delegateexecute$"
    r"|^(?:hku\\s-1-5-21-[^\\]+|hkcu|hkey_current_user)\\environment\\(?:windir|systemroot|cor_profiler_path)$|\\app paths\\control\.exe\\?(?:\(default\))?$"
)

_OPEN_COMMAND = re.compile(r"\\shell\\[^\\]+\\command(?:\\\(default\))?$")

_SCRIPT_HOST = re.compile(
    rf"^\W{{0,2}}(?:\S{{0,120}}\\)?(?:{'|'.join(stems(CODE_HOSTS))})(?:\.exe)?\b",
    re.IGNORECASE,
)
ACCESSIBILITY = (
    "sethc.exe",
    "utilman.exe",
    "osk.exe",
    "magnify.exe",
    "narrator.exe",
    "displayswitch.exe",
    "atbroker.exe",
)

_POTATO_PIPE = re.compile(r"\\pipe\\(?:spoolss|srvsvc|lsarpc|epmapper|svcctl|samr|netlogon)$", re.IGNORECASE)


_PRIVILEGES = ("SeTcb", "SeDebug", "SeLoadDriver", "SeCreateToken")
_NAMED_SERVICE = re.compile(r"\s-s\s+(\w{1,40})", re.IGNORECASE)
STARTING_SERVICES = ("schedule", "appinfo", "seclogon")  # whose svchost starts what people ask for
SHELL_LESS = (
    "lsass.exe",
    "dns.exe",
    "spoolsv.exe",
    "wermgr.exe",
    "notepad.exe",
    "calc.exe",
    "mspaint.exe",
    "searchindexer.exe",
    "csrss.exe",
)


@rule(
    "elevation-bypass",
    "T1548.002",
    "privilege_escalation",
    on=(SETTINGS, launches_by(ELEVATED), commands_that("elevated-extract")),
    summary="The classes mscfile, ms-settings, exefile, Folder, AppX, Launcher.SystemSettings, Shell.*, .msc or .exe (in Software\\Classes: shell command, shell open, CurVer), DelegateExecute or App Paths control.exe redefined to what is not installed or a script host, or a user's Environment windir, systemroot or cor_profiler_path, "
    "any shell\\open command set to a script host, or for a person an auto-elevated program starts a shell (but rundll32) or a user-writable program. Confirmed: both, high or system integrity, or wusa /extract.",
    source="ATT&CK T1548.002; Microsoft autoElevate manifests",
)
def elevation_bypass(
    settings: Sequence[Setting], children: Lines[ProcessFields], extracts: Lines, window: Window
) -> Findings:
    keys = [setting.line for setting in settings if _redefines_elevated(setting)]
    starts = [line for line in children if _is_lifted(line)]
    starts += [line for line in extracts if line not in starts and isinstance(line.fields, ProcessFields)]
    for host, lines in grouped([*keys, *starts], lambda line: line.host).items():
        launches = [line for line in starts if line.host == host]
        high = any((line.fields.process_integrity or "").lower() in ("high", "system") for line in launches)
        both = bool(launches) and any(line.host == host for line in keys)
        yield finding(
            lines,
            confirmed=high or both or any(line in extracts for line in launches),
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
        )


def _redefines_elevated(setting: Setting) -> bool:
    if setting.act == "delete":
        return False
    by_host = _SCRIPT_HOST.match(setting.data)
    if _ELEVATED_CLASS.search(setting.path):
        return bool(by_host) or not is_installed(setting.data)
    return bool(by_host) and _OPEN_COMMAND.search(setting.path) is not None


def _is_lifted(line: Line[ProcessFields]) -> bool:
    path, name = line.fields.process_path, basename(line.fields.process_path)
    started = name in RISING_SHELLS or (is_user_writable(path) and name != "rundll32.exe")
    return started and is_person_or_service(line.user)


@rule(
    "sign-in-screen-shell",
    "T1546.008",
    "privilege_escalation",
    on=(launches_by((*ACCESSIBILITY, *SIGN_IN_PARENTS)),),
    summary=f"{', '.join(stems(ACCESSIBILITY))} starts another program than these, {' or '.join(stems(WINDOWS_CRASH_AND_CONSOLE))}; "
    f"{' or '.join(stems(SIGN_IN_PARENTS))} a shell (but rundll32). Confirmed.",
    source="ATT&CK T1546.008, T1547",
)
def sign_in_screen_shell(children: Lines[ProcessFields], window: Window) -> Findings:
    for line in children:
        name, parent = basename(line.fields.process_path), basename(line.fields.parent_path)
        foreign = name not in ACCESSIBILITY and name not in WINDOWS_CRASH_AND_CONSOLE
        if foreign if parent in ACCESSIBILITY else name in RISING_SHELLS:
            yield from findings_by_host_and_user([line], confirmed=True)


@rule(
    "system-shell",
    "T1068",
    "privilege_escalation",
    on=(launches_of(RISING_SHELLS),),
    summary="A shell (but rundll32) of SYSTEM under a user-writable program (but one named setup, install, update or unins), or a shell under "
    f"{', '.join(stems(SHELL_LESS))} or an svchost of one service (-s) other than {', '.join(STARTING_SERVICES)}. Confirmed.",
    source="ATT&CK T1068, T1055, T1134.002",
)
def system_shell(shells: Lines[ProcessFields], window: Window) -> Findings:
    for line in shells:
        if _has_risen(line) or _has_odd_parent(line.fields):
            yield from findings_by_host_and_user([line], confirmed=True)


def _has_risen(line: Line[ProcessFields]) -> bool:
    parent = line.fields.parent_path
    return line.user.lower() == "system" and is_user_writable(parent) and not INSTALLERS.search(basename(parent))


def _has_odd_parent(fields: ProcessFields) -> bool:
    parent = basename(fields.parent_path)
    service = _NAMED_SERVICE.search(fields.parent_cmd_line or "") if parent == "svchost.exe" else None
    return parent in SHELL_LESS or (service is not None and service[1].lower() not in STARTING_SERVICES)


@rule(
    "pipe-impersonation",
    "T1134.001",
    "privilege_escalation",
    on=((PipeFields, "create"), commands_that("pipe-echoed")),
    summary="A pipe named like a service's (ending in \\pipe\\ and spoolss, srvsvc, lsarpc, epmapper, svcctl, samr or netlogon), or a shell echoes into a pipe. Confirmed.",
    source="ATT&CK T1134.001",
)
def pipe_impersonation(pipes: Lines[PipeFields], echoes: Lines, window: Window) -> Findings:
    posing = [line for line in pipes if _POTATO_PIPE.search(line.fields.pipe_name or "")]
    return findings_by_host_and_user([*posing, *echoes], confirmed=True)


@rule(
    "privilege-of-foreign-program",
    "T1134",
    "privilege_escalation",
    on=(PrivilegeFields,),
    summary=f"A program (a path with \\) not installed asks for {', '.join(_PRIVILEGES)}. Suspicious.",
    source="ATT&CK T1134; Security 4673/4703",
)
def privilege_of_foreign_program(requests: Lines[PrivilegeFields], window: Window) -> Findings:
    lines = [
        line
        for line in requests
        if "\\" in (path := line.fields.process_path or "")
        and not is_installed(path)
        and any(name in (line.fields.privileges or "") for name in _PRIVILEGES)
    ]
    return findings_by_host_and_user(lines, confirmed=False)


rights_opened = command_rule(
    "rights-opened",
    "T1222",
    "defense_evasion",
    meaning="rights-opened",
    confirmed=False,
    summary="Everybody gets full rights on files, a file of Windows is taken over, or a set-uid bit is set. Suspicious.",
    source="ATT&CK T1222.001, T1548.001; Microsoft icacls reference",
)


RULES = (
    elevation_bypass,
    sign_in_screen_shell,
    system_shell,
    pipe_impersonation,
    privilege_of_foreign_program,
    rights_opened,
)
