"""Rules on rights that a program or an account is not given: consent prompts, the sign-in screen, tokens (ATT&CK Privilege Escalation)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    PipeFields,
    PrivilegeFields,
    ProcessFields,
    RegistryFields,
)
from verifier.commands import launches, lines_by_meaning, settings, started_by, told
from verifier.rules.kit import ELEVATED, INSTALLERS, SHELLS, Legacy, by_host_and_user, legacy_rule
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

_ELEVATED_CLASS = re.compile(
    r"(?:_classes|\\software\\classes|^hkcr)\\(?:mscfile|ms-settings|exefile|folder|appx[a-z0-9]{20,}|launcher\.systemsettings|shell\.[^\\]+|\.msc|\.exe)\\"
    r"(?:shell\\[^\\]+\\command|shell\\open|curver)(?:\\(?:\(default\)|delegateexecute))?$|\\shell\\[^\\]+\\command\\delegateexecute$"
    r"|^(?:hku\\s-1-5-21-[^\\]+|hkcu|hkey_current_user)\\environment\\(?:windir|systemroot|cor_profiler_path)$|\\app paths\\control\.exe\\?(?:\(default\))?$"
)

_OPEN_COMMAND = re.compile(r"\\shell\\[^\\]+\\command(?:\\\(default\))?$")

_SCRIPT_HOST = re.compile(
    r"^\W{0,2}(?:\S{0,120}\\)?(?:powershell|pwsh|cmd|wscript|cscript|mshta|rundll32|regsvr32)(?:\.exe)?\b",
    re.IGNORECASE,
)

ACCESSIBILITY = frozenset(
    ["sethc.exe", "utilman.exe", "osk.exe", "magnify.exe", "narrator.exe", "displayswitch.exe", "atbroker.exe"]
)

_POTATO_PIPE = re.compile(r"\\pipe\\(?:spoolss|srvsvc|lsarpc|epmapper|svcctl|samr|netlogon)$", re.IGNORECASE)


@legacy_rule(
    "elevation-bypass",
    "T1548.002",
    "privilege_escalation",
    says="mscfile, ms-settings, exefile, Folder or DelegateExecute redefined, or an auto-elevated program starts a shell. Confirmed: both, high integrity, or wusa /extract.",
    source="ATT&CK T1548.002; Microsoft autoElevate manifests",
    needs=(RegistryFields,),
    clues=[started_by(name) for name in ELEVATED] + ["elevated-extract", "setting"],
)
def elevation_bypass(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find ways around the consent prompt; one finding for each host."""
    keys: list[Line] = []
    for change in window.view(settings):
        if (
            change.act != "delete"
            and (
                _ELEVATED_CLASS.search(change.path)
                or (_OPEN_COMMAND.search(change.path) and _SCRIPT_HOST.match(change.data))
            )
            and (not is_installed(change.data) or _SCRIPT_HOST.match(change.data))
        ):
            keys.append(change.line)
    starts = [
        line
        for line in launches(window)
        if basename(line.fields.parent_path) in ELEVATED
        and (basename(line.fields.process_path) in SHELLS or is_user_writable(line.fields.process_path))
        and basename(line.fields.process_path) != "rundll32.exe"
        and is_person_or_service(line.user)
    ]
    extracts = window.view(lines_by_meaning).get("elevated-extract", [])
    starts += [line for line in extracts if line not in starts and isinstance(line.fields, ProcessFields)]
    for host in dict.fromkeys(line.host for line in (*keys, *starts)):
        at, lines = [line for line in keys if line.host == host], [line for line in starts if line.host == host]
        high = any((line.fields.process_integrity or "").lower() in ("high", "system") for line in lines)
        group: list[Line] = [*at, *lines]
        yield this.finding(
            group,
            confirmed=high or bool(at and lines) or any(line in extracts for line in lines),
            scope="host",
            host=host,
            accounts=[line.user for line in group],
            program=one_program(group),
        )


@legacy_rule(
    "sign-in-screen-shell",
    "T1546.008",
    "privilege_escalation",
    says="sethc, utilman, osk, magnify or narrator starts another program, smss or winlogon a shell. Confirmed.",
    source="ATT&CK T1546.008, T1547",
    clues=[started_by(name) for name in (*ACCESSIBILITY, "smss.exe", "winlogon.exe")],
)
def sign_in_screen_shell(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find shells at the sign-in screen."""
    for line in launches(window):
        name, parent = basename(line.fields.process_path), basename(line.fields.parent_path)
        screen = parent in ACCESSIBILITY and name not in ACCESSIBILITY and name not in ("conhost.exe", "werfault.exe")
        if screen or (parent in ("smss.exe", "winlogon.exe") and name in SHELLS and name != "rundll32.exe"):
            yield this.of_one([line], confirmed=True)


@legacy_rule(
    "system-shell",
    "T1068",
    "privilege_escalation",
    says="A SYSTEM shell under a user-writable program, or a shell under lsass, dns, spoolsv, notepad or an odd svchost. Confirmed.",
    source="ATT&CK T1068, T1055, T1134.002",
    clues=SHELLS,
)
def system_shell(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find shells that have risen above their parent."""
    for line in launches(window):
        name, parent = basename(line.fields.process_path), basename(line.fields.parent_path)
        if name not in SHELLS or name == "rundll32.exe":
            continue
        risen = (
            line.user.lower() == "system"
            and is_user_writable(line.fields.parent_path)
            and not INSTALLERS.search(parent)
        )
        service = _NAMED_SERVICE.search(line.fields.parent_cmd_line or "") if parent == "svchost.exe" else None
        odd = parent in SHELL_LESS or (service and service[1].lower() not in ("schedule", "appinfo", "seclogon"))
        if risen or odd:
            yield this.of_one([line], confirmed=True)


_NAMED_SERVICE = re.compile(r"\s-s\s+(\w{1,40})", re.IGNORECASE)

SHELL_LESS = frozenset(
    [
        "lsass.exe",
        "dns.exe",
        "spoolsv.exe",
        "wermgr.exe",
        "notepad.exe",
        "calc.exe",
        "mspaint.exe",
        "searchindexer.exe",
        "csrss.exe",
    ]
)


@legacy_rule(
    "pipe-impersonation",
    "T1134.001",
    "privilege_escalation",
    says="A pipe named like a service's (ending in \\pipe\\spoolss), or a shell echoes into a pipe. Confirmed.",
    source="ATT&CK T1134.001",
    needs=kinds(PipeFields, "create"),
    clues=("pipe-echoed",),
)
def pipe_impersonation(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find pipes made to catch a privileged client."""
    lines: list[Line] = [
        line
        for line in window.of(PipeFields)
        if line.fields.activity == "create" and _POTATO_PIPE.search(line.fields.pipe_name or "")
    ]
    lines += window.view(lines_by_meaning).get("pipe-echoed", [])
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True)


@legacy_rule(
    "privilege-of-foreign-program",
    "T1134",
    "privilege_escalation",
    says="A program not installed asks for SeTcb, SeDebug, SeLoadDriver or SeCreateToken. Suspicious.",
    source="ATT&CK T1134; Security 4673/4703",
    needs=(PrivilegeFields,),
)
def privilege_of_foreign_program(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that ask for what only the system needs."""
    lines: list[Line] = [
        line
        for line in window.of(PrivilegeFields)
        if line.fields.process_path
        and "\\" in line.fields.process_path
        and not is_installed(line.fields.process_path)
        and re.search(r"SeTcb|SeDebug|SeLoadDriver|SeCreateToken", line.fields.privileges or "")
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


@legacy_rule(
    "rights-opened",
    "T1222",
    "defense_evasion",
    says="Everybody gets full rights on files, a file of Windows is taken over, or a set-uid bit is set. Suspicious.",
    source="ATT&CK T1222.001, T1548.001; Microsoft icacls reference",
    clues=("rights-opened",),
)
def rights_opened(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that open files to everybody."""
    return told(window, this, "rights-opened", sure=False)


RULES = (
    elevation_bypass,
    sign_in_screen_shell,
    system_shell,
    pipe_impersonation,
    privilege_of_foreign_program,
    rights_opened,
)
