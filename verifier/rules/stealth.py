"""Rules on what is done past the usual sight: times, streams, hidden accounts, safe mode, raw disks, sessions and policies of others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from schema import ControlChangeFields, FileFields, ModuleLoadFields, ProcessFields, ShareFields
from verifier.commands import SETTINGS, Setting, command_program, commands_that, number_of
from verifier.rules.kit import INSTALLERS, MANAGERS, grouped, has_bits, is_own
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
    rule,
)

WRITE_DATA = 0x2  # the right to write to a file (MS-SMB2 2.2.13.1.1)
_CODE = r"(?:exe|dll|sys|ps1|vbs|js|hta|bat|cmd|scr)"
_CODE_FILE = re.compile(rf"\.{_CODE}$", re.IGNORECASE)
_CODE_STREAM = re.compile(rf"^[a-z]:\\.{{1,250}}:[^\\:]{{1,80}}\.{_CODE}$", re.IGNORECASE)
_STREAM_PROGRAM = re.compile(r"^[a-z]:\\.{1,250}:[^\\:]+$", re.IGNORECASE)
_SAFE_MODE = re.compile(r"\\control\\safeboot\\(?:minimal|network)\\[^\\]+(?:\\\(default\))?$")
_HIDDEN_ACCOUNT = re.compile(r"\\winlogon\\specialaccounts\\userlist\\[^\\]+$")
_POLICY_FILE = re.compile(
    r"policies\\\{[^}]{36}\}\\(?:machine|user)\\(?:preferences\\(?:scheduledtasks\\scheduledtasks|services\\services|registry\\registry)\.xml"
    r"|scripts\\(?:startup|shutdown|logon|logoff)\\[^\\]+|scripts\\(?:ps)?scripts\.ini|microsoft\\windows nt\\secedit\\gpttmpl\.inf)$",
    re.IGNORECASE,
)
_FIREWALL = re.compile(r"firewall setting (?:enable windows firewall|1 of profile)", re.IGNORECASE)
_ACCESSIBILITY = re.compile(
    r"\\windows\\system32\\(?:sethc|utilman|osk|magnify|narrator|displayswitch|atbroker)\.exe$", re.IGNORECASE
)


@rule(
    "file-time-changed",
    "T1070.006",
    "defense_evasion",
    on=((FileFields, "time_change"), commands_that("file-time-changed")),
    summary="The time of a program or script (.exe, .dll, .sys, .ps1, .vbs, .js, .hta, .bat, .cmd, .scr) is changed by a shell or a user-writable program, but its own or by one named setup, install, update or unins; "
    "or a command sets a file's time (CreationTime, LastWriteTime or LastAccessTime =, SetCreationTime and its like, touch -t, -d or -r). Suspicious.",
    source="ATT&CK T1070.006; Microsoft Sysmon event 2",
)
def file_time_changed(changes: Lines[FileFields], commands: Lines, window: Window) -> Findings:
    lines = [line for line in changes if _backdates(line.fields)]
    return findings_by_host_and_user([*lines, *commands], confirmed=False, program=command_program)


def _backdates(fields: FileFields) -> bool:
    program, path = fields.process_path, fields.file_path or ""
    foreign = basename(program) in SHELLS or (is_user_writable(program) and not INSTALLERS.search(basename(program)))
    return foreign and not is_own(program, path) and _CODE_FILE.search(path) is not None


@rule(
    "program-in-stream",
    "T1564.004",
    "defense_evasion",
    on=((FileFields, "stream", "create"), (ProcessFields, "launch"), commands_that("program-in-stream")),
    summary="A program or script (.exe, .dll, .sys, .ps1, .vbs, .js, .hta, .bat, .cmd, .scr) is written to a file's second stream (file.txt:x.exe), also by a command. Confirmed: a program starts from a stream.",
    source="ATT&CK T1564.004; Microsoft Sysmon event 15",
)
def program_in_stream(
    writes: Lines[FileFields], launches: Lines[ProcessFields], commands: Lines, window: Window
) -> Findings:
    written = [line for line in writes if _CODE_STREAM.match(line.fields.file_path or "")]
    yield from findings_by_host_and_user([*written, *commands], confirmed=False, program=command_program)
    started = [line for line in launches if _STREAM_PROGRAM.match(line.fields.process_path or "")]
    yield from findings_by_host_and_user(started, confirmed=True)


@rule(
    "safe-mode-entry",
    "T1562.009",
    "defense_evasion",
    on=(SETTINGS,),
    summary="Another than a manager of Windows adds what runs in safe mode, where sensors do not (Control\\SafeBoot Minimal or Network). Suspicious.",
    source="ATT&CK T1562.009; Microsoft Safe Mode boot",
)
def safe_mode_entry(settings: Sequence[Setting], window: Window) -> Findings:
    added = [
        setting.line
        for setting in settings
        if setting.act != "delete" and _SAFE_MODE.search(setting.path) and basename(setting.program) not in MANAGERS
    ]
    return findings_by_host_and_user(added, confirmed=False)


@rule(
    "account-hidden",
    "T1564.002",
    "defense_evasion",
    on=(SETTINGS,),
    summary="An account is hidden from the sign-in screen (Winlogon\\SpecialAccounts\\UserList set to 0). Suspicious.",
    source="ATT&CK T1564.002; Microsoft Winlogon SpecialAccounts",
)
def account_hidden(settings: Sequence[Setting], window: Window) -> Findings:
    hidden = [
        setting.line
        for setting in settings
        if setting.act == "set" and _HIDDEN_ACCOUNT.search(setting.path) and number_of(setting.data) == 0
    ]
    return findings_by_host_and_user(hidden, confirmed=False)


@rule(
    "raw-disk-read",
    "T1006",
    "defense_evasion",
    on=((FileFields, "raw_read"),),
    summary="A shell or a user-writable program reads a disk past the file system. Confirmed: a shell.",
    source="ATT&CK T1006, T1003.003; Microsoft Sysmon event 9",
)
def raw_disk_read(reads: Lines[FileFields], window: Window) -> Findings:
    odd = [
        line
        for line in reads
        if basename(line.fields.process_path) in SHELLS or is_user_writable(line.fields.process_path)
    ]
    return findings_by_host_and_user(
        odd, confirmed=lambda group: any(basename(line.fields.process_path) in SHELLS for line in group)
    )


@rule(
    "odd-driver",
    "T1068",
    "privilege_escalation",
    on=((ModuleLoadFields, "driver"),),
    summary="A driver is loaded from a user-writable folder, or is unsigned or of an invalid signature and not installed (but in \\spool\\drivers\\). Confirmed: both.",
    source="ATT&CK T1068, T1014, T1543.003; Microsoft Sysmon event 6",
)
def odd_driver(loads: Lines[ModuleLoadFields], window: Window) -> Findings:
    for line in loads:
        path = line.fields.file_path or ""
        unsigned = line.fields.signature_state in ("unsigned", "invalid")
        movable = is_user_writable(path)
        if "\\spool\\drivers\\" not in path.lower() and (movable or (unsigned and not is_installed(path))):
            yield finding([line], confirmed=movable and unsigned, host=line.host, account=line.user, program=path)


@rule(
    "accessibility-replaced",
    "T1546.008",
    "privilege_escalation",
    on=((FileFields, "create", "modify"), commands_that("accessibility-replaced")),
    summary="A program of the sign-in screen (sethc, utilman, osk, magnify, narrator, displayswitch, atbroker in \\Windows\\System32\\) is overwritten by another than a manager of Windows, or copied over by a command. Confirmed.",
    source="ATT&CK T1546.008",
)
def accessibility_replaced(writes: Lines[FileFields], commands: Lines, window: Window) -> Findings:
    replaced = [
        line
        for line in writes
        if _ACCESSIBILITY.search(line.fields.file_path or "") and basename(line.fields.process_path) not in MANAGERS
    ]
    return findings_by_host_and_user([*replaced, *commands], confirmed=True, program=command_program)


@rule(
    "session-taken",
    "T1563.002",
    "lateral_movement",
    on=(commands_that("session-taken"),),
    summary="A session of another is taken over or watched (tscon with /dest, mstsc /shadow with /noConsentPrompt, Shadow by qwinsta's id). Confirmed: as no person, or by a service or a task.",
    source="ATT&CK T1563.002; Microsoft tscon and mstsc references",
)
def session_taken(commands: Lines, window: Window) -> Findings:
    for _, lines in grouped(commands, lambda line: line.host).items():
        by_system = any(
            not isinstance(line.fields, ProcessFields) or not is_person_or_service(line.user) for line in lines
        )
        yield finding(
            lines,
            confirmed=by_system,
            host=lines[0].host,
            accounts=[line.user for line in lines],
            program=command_program(lines),
        )


@rule(
    "policy-file-written",
    "T1484.001",
    "defense_evasion",
    on=(ShareFields, (FileFields, "create", "modify")),
    summary=f"A person writes ({WRITE_DATA:#x}) what a domain policy runs or sets (below Policies\\, an id in braces and Machine or User: Preferences ScheduledTasks.xml, Services.xml or Registry.xml, Scripts Startup, Shutdown, Logon or Logoff, scripts.ini, psscripts.ini, Microsoft\\Windows NT\\SecEdit GptTmpl.inf). Suspicious.",
    source="ATT&CK T1484.001, T1053.005; Microsoft MS-GPPREF, Security 5145",
)
def policy_file_written(accesses: Lines[ShareFields], writes: Lines[FileFields], window: Window) -> Findings:
    lines: list[Line] = [line for line in accesses if has_bits(line.fields.access_mask, WRITE_DATA)]
    lines = [line for line in (*lines, *writes) if _POLICY_FILE.search(line.fields.file_path or "")]
    return findings_by_host_and_user([line for line in lines if is_person_or_service(line.user)], confirmed=False)


@rule(
    "trust-made",
    "T1484.002",
    "defense_evasion",
    on=((ControlChangeFields, "trust"),),
    summary="A person makes, changes or removes a trust of the domain (the control is named trust and the domain). Suspicious.",
    source="ATT&CK T1484.002; Security 4706, 4716",
)
def trust_made(changes: Lines[ControlChangeFields], window: Window) -> Findings:
    made = [line for line in changes if is_person_or_service(line.user) and _is_trust(line.fields)]
    return findings_by_host_and_user(made, confirmed=False, scope="identity", program="")


def _is_trust(fields: ControlChangeFields) -> bool:
    return (fields.control_name or "").lower().startswith("trust")


@rule(
    "firewall-switched-off",
    "T1562.004",
    "defense_evasion",
    on=((ControlChangeFields, "firewall"),),
    summary="The firewall of a profile is switched off (setting Enable Windows Firewall, or 1 of a profile, is no, off, false or 0). Suspicious.",
    source="ATT&CK T1562.004; Security 4950, Windows Firewall event 2003",
)
def firewall_switched_off(changes: Lines[ControlChangeFields], window: Window) -> Findings:
    return findings_by_host_and_user(
        [line for line in changes if _FIREWALL.match(line.fields.control_name or "") and _is_off(line.fields)],
        confirmed=False,
    )


def _is_off(fields: ControlChangeFields) -> bool:
    return (fields.new_value or "").lower() in ("no", "off", "false", "0", "0x0")


RULES = (
    file_time_changed,
    program_in_stream,
    safe_mode_entry,
    account_hidden,
    raw_disk_read,
    odd_driver,
    accessibility_replaced,
    session_taken,
    policy_file_written,
    trust_made,
    firewall_switched_off,
)
