"""Rules on controls, persistence by configuration, and damage (ATT&CK Defense Evasion, Persistence, Impact, cloud control)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from schema import (
    LOG_WORK,
    SENSOR_WORK,
    WMI_WORK,
    ControlChangeFields,
    FileFields,
    ProcessFields,
    RegistryFields,
    ShareFields,
    WmiFields,
)
from verifier.commands import as_run, commands_that, key_form, settings
from verifier.rules.kit import (
    AUTORUN,
    INSTALLERS,
    burst_of,
    damage_to_data,
    follows,
    grouped,
    host_and_user,
    program_folder,
    program_of,
    program_path,
    registers_itself,
)
from verifier.window import (
    SCRIPT_HOSTS,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    finding,
    findings_by_host_and_user,
    is_person_or_service,
    is_user_writable,
    one_program,
    rule,
    stems,
)

DISABLED_THEN_S = 600
MIN_ENCRYPTED = 8
ENCRYPT_S = 600
# What people's files end with, and what ordinary programs put after that (copies, packages, links, signatures).
DOCUMENTS = (
    "doc docx xls xlsx ppt pptx pdf txt rtf csv odt ods odp jpg jpeg png mp4 zip sql mdb db bak psd dwg msg eml pst"
)
COPIES = "gz bz2 xz zip 7z rar bak old tmp part crdownload lnk sig asc md5 sha256 json xml html"
_DOCUMENT_ENDINGS, _COPY_ENDINGS = frozenset(DOCUMENTS.split()), frozenset(COPIES.split())
MIN_STOPPED = 5
STOPPED_S = 300
_SCRIPTED = re.compile(rf"powershell|{'|'.join(stems(SCRIPT_HOSTS))}|\bcmd(\.exe)?\s+/[ck]", re.IGNORECASE)
_OFF = re.compile(r"\boff\b|disab|stopp|removed|exclu|no auditing|^0$|\b0x0+\b|\bfalse\b", re.IGNORECASE)
OFF = "its new value says off, disabled, stopped, removed, no auditing, false or 0, or names an exclusion"
_RUNS_CODE = re.compile(r"commandline|(?:\b|active)script", re.IGNORECASE)
# A program, and what it must be told after its name.
_RECOVERY = tuple(
    (re.compile(rf"{program}(?:\.exe)?\s", re.IGNORECASE), re.compile(order, re.IGNORECASE))
    for program, order in (
        ("vssadmin", r"delete\s+shadows|resize\s+shadowstorage"),
        ("diskshadow", r"delete\s+shadows"),
        ("powershell", r"win32_shadowcopy\b.{0,120}(?:\bdelete\b|\bremove-)"),
        ("reagentc", r"/disable"),
        ("cipher", r"/w:"),
        ("wmic", r"shadowcopy\b.{0,120}\bdelete\b"),
        ("wbadmin", "delete"),
        ("bcdedit", r"recoveryenabled\W{1,3}(?:no|off)\b|bootstatuspolicy\W{1,3}ignoreallfailures"),
    )
)


@rule(
    "autorun-entry",
    "T1547.001",
    "persistence",
    on=((RegistryFields, "set"),),
    summary="A value that starts programs (Run, RunOnce or RunServices of CurrentVersion, Policies\\Explorer\\Run, Winlogon Shell or Userinit, Image File Execution Options) is set to a user-writable file or a script host "
    f"(powershell, {', '.join(stems(SCRIPT_HOSTS))}, cmd /c or /k), but for its own by a program or by a command that a program starts. Confirmed: by a user-writable program, but by one named setup, install, update or unins for a file in a program folder.",
    source="ATT&CK T1547.001, T1547.004, T1546.012",
)
def autorun_entry(values: Lines[RegistryFields], window: Window) -> Findings:
    for line in values:
        data = line.fields.reg_value_data or ""
        foreign = is_user_writable(data) or _SCRIPTED.search(data)
        if AUTORUN.search(line.fields.reg_key_path or "") and foreign and not _registers_itself(window, line):
            program = line.fields.process_path
            installs = INSTALLERS.search(basename(program)) and program_folder(program_of(data))
            yield from findings_by_host_and_user([line], confirmed=is_user_writable(program) and not installs)


def _registers_itself(window: Window, line: Line[RegistryFields]) -> bool:
    """Return whether a program sets a value to itself, by its own hand or by a command that it starts."""
    path, data = key_form(line.fields.reg_key_path or ""), line.fields.reg_value_data or ""
    starters = [
        setting.starter
        for setting in window.view(settings)
        if setting.line.host == line.host
        and setting.line is not line
        and path.endswith(setting.path.partition("\\")[2])
    ]
    return any(registers_itself(program, data) for program in (line.fields.process_path, *starters))


@rule(
    "wmi-subscription",
    "T1546.003",
    "persistence",
    on=((WmiFields, "consumer"),),
    summary="A WMI event consumer is made that runs a command or a script (CommandLine, Script, ActiveScript, a user-writable file, "
    f"powershell, {', '.join(stems(SCRIPT_HOSTS))}, cmd /c or /k). "
    "Confirmed when a filter or a binding is made on that host too.",
    source="ATT&CK T1546.003: code run by a WMI event subscription",
)
def wmi_subscription(consumers: Lines[WmiFields], window: Window) -> Findings:
    running = {line.host for line in consumers if _runs_code(line)}
    parts = [line for line in window.of(WmiFields, "filter", "consumer", "binding") if line.host in running]
    for host, lines in grouped(parts, lambda line: line.host).items():
        is_whole = not {"filter", "binding"}.isdisjoint(line.fields.activity for line in lines)
        evidence = lines if is_whole else [line for line in lines if _runs_code(line)]
        yield finding(
            evidence, confirmed=is_whole, host=host, accounts=[line.user for line in evidence], program=WMI_WORK
        )


def _runs_code(line: Line[WmiFields]) -> bool:
    consumer = line.fields.wmi_consumer or ""
    runs = _SCRIPTED.search(consumer) or _RUNS_CODE.search(consumer) or is_user_writable(consumer)
    return line.fields.activity == "consumer" and bool(runs)


@rule(
    "log-cleared",
    "T1070.001",
    "defense_evasion",
    on=((ControlChangeFields, "log_clear"),),
    summary=f"A person or service clears an event log. Confirmed: on that host, within {DISABLED_THEN_S} s, that account also switches off an "
    f"audit policy, a sensor or the anti-virus ({OFF}).",
    source="ATT&CK T1070.001, T1562.002",
)
def log_cleared(clearings: Lines[ControlChangeFields], window: Window) -> Findings:
    by_person = [line for line in clearings if is_person_or_service(line.user)]
    span = window.limits.within(DISABLED_THEN_S)
    for key, lines in grouped(by_person, host_and_user).items():
        blindings = [
            change
            for change in window.of(ControlChangeFields, "audit_policy", "av_setting", "sensor_config")
            if _OFF.search(change.fields.new_value or "")
            and host_and_user(change) == key
            and any(abs(change.time_s - line.time_s) <= span for line in lines)
        ]
        program = one_program(lines, otherwise=LOG_WORK)
        yield from findings_by_host_and_user([*lines, *blindings], confirmed=bool(blindings), program=program)


@rule(
    "defence-disabled",
    "T1562.001",
    "defense_evasion",
    on=((ControlChangeFields, "av_setting", "sensor_config"),),
    summary=f"The anti-virus or a sensor is switched off or given an exclusion ({OFF}). "
    f"Confirmed when on that host, within {DISABLED_THEN_S} s after, a program in a user-writable folder starts.",
    source="ATT&CK T1562.001: security tools disabled or modified",
)
def defence_disabled(changes: Lines[ControlChangeFields], window: Window) -> Findings:
    for change in changes:
        if _OFF.search(change.fields.new_value or ""):
            starts = [
                start
                for start in window.of(ProcessFields, "launch")
                if start.host == change.host
                and is_user_writable(start.fields.process_path)
                and follows(window, start, change, DISABLED_THEN_S)
            ]
            yield finding(
                [change, *starts],
                confirmed=bool(starts),
                host=change.host,
                account=change.user,
                program=change.fields.process_path or SENSOR_WORK,
            )


@rule(
    "recovery-inhibited",
    "T1490",
    "impact",
    on=((ProcessFields, "launch"),),
    summary="Backups or shadow copies are deleted, or recovery is switched off, on a command line (vssadmin delete shadows or resize shadowstorage, diskshadow delete shadows, "
    "wmic or powershell Win32_ShadowCopy delete or remove-, wbadmin delete, bcdedit recoveryenabled no or off, bootstatuspolicy ignoreallfailures, reagentc /disable, cipher /w:). Suspicious.",
    source="ATT&CK T1490: recovery made impossible, usually before encryption",
)
def recovery_inhibited(launches: Lines[ProcessFields], window: Window) -> Findings:
    for line in launches:
        if line.fields.process_cmd_line and _inhibits_recovery(line.fields.process_cmd_line):
            yield from findings_by_host_and_user([line], confirmed=False)


@lru_cache(maxsize=4096)
def _inhibits_recovery(command: str) -> bool:
    """Return whether a command line deletes backups or switches recovery off."""
    return any(
        (named := program.search(text)) is not None and order.search(text, named.end()) is not None
        for text in {command, as_run(command)}
        for program, order in _RECOVERY
    )


@rule(
    "mass-encryption",
    "T1486",
    "impact",
    on=((FileFields, "create", "modify"), (ShareFields, "modify")),
    at_least=MIN_ENCRYPTED,
    summary=f"One program writes, or one address renames on a share (share modify), at least {MIN_ENCRYPTED} files within {ENCRYPT_S} s with one second ending (3 parts: report.xlsx.locked) after a document's ({DOCUMENTS}), "
    f"other than a copy's ({COPIES}). Confirmed, harm done.",
    source="ATT&CK T1486: data encrypted for impact",
)
def mass_encryption(writes: Lines[FileFields], renames: Lines[ShareFields], window: Window) -> Findings:
    for (host, program, _), lines in grouped(writes, _renamer).items():
        burst = burst_of(window, lines, MIN_ENCRYPTED, ENCRYPT_S, different=_written_path)
        if burst:
            yield damage_to_data(burst, host, program)
    for (host, _, _), shared in grouped(renames, _renamer_on_share).items():
        crowd = burst_of(window, shared, MIN_ENCRYPTED, ENCRYPT_S, different=_written_path)
        if crowd:
            yield damage_to_data(crowd, host, "")


def _renamer(line: Line[FileFields]) -> tuple[str, str, str] | None:
    """Return host, program and new ending where a document is written under a second ending."""
    ending = _second_ending(line.fields.file_path)
    return (line.host, program_path(line), ending) if ending and line.fields.process_path else None


def _renamer_on_share(line: Line[ShareFields]) -> tuple[str, str, str] | None:
    """Return host, address and new ending where a document on a share is renamed to a second ending."""
    ending = _second_ending(line.fields.file_path)
    return (line.host, line.fields.src_ip, ending) if ending and line.fields.src_ip else None


def _second_ending(path: str | None) -> str:
    """Return the ending that follows a document's own; nothing for another name, or a copy's."""
    parts = basename(path).rsplit(".", 2)
    is_renamed = len(parts) == 3 and parts[1] in _DOCUMENT_ENDINGS and parts[2] not in _COPY_ENDINGS
    return parts[2] if is_renamed else ""


def _written_path(line: Line[Any]) -> str:
    return (line.fields.file_path or "").lower()


@rule(
    "services-stopped",
    "T1489",
    "impact",
    on=(commands_that("service-stopped"),),
    summary=f"{MIN_STOPPED} or more services or programs are stopped by different commands within {STOPPED_S} s. Suspicious.",
    source="ATT&CK T1489",
)
def services_stopped(stops: Lines, window: Window) -> Findings:
    for group in grouped(stops, host_and_user).values():
        burst = burst_of(window, group, MIN_STOPPED, STOPPED_S, different=_command)
        if burst:
            yield from findings_by_host_and_user(burst, confirmed=False)


def _command(line: Line) -> str | None:
    command: str | None = getattr(line.fields, "process_cmd_line", line.log_id)
    return command


RULES = (
    autorun_entry,
    wmi_subscription,
    log_cleared,
    defence_disabled,
    recovery_inhibited,
    mass_encryption,
    services_stopped,
)
