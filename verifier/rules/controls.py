"""Rules on weakening what records and protects: logs, audit, anti-virus, switches of the registry (ATT&CK Defense Evasion)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from schema import (
    LOG_WORK,
    ControlChangeFields,
    ServiceFields,
)
from verifier.commands import POWERSHELL, SETTINGS, Setting, command_program, commands_that, number_of
from verifier.rules.kit import MANAGERS, command_line, grouped, host_and_user
from verifier.window import (
    Findings,
    Line,
    Lines,
    Window,
    basename,
    findings_by_host_and_user,
    is_installed,
    is_person_or_service,
    is_user_writable,
    one_program,
    rule,
)

MIN_WIPED = 3  # logs; one may be an administrator's
MIN_AUDITS_OFF = 3
LEAST_LOG = 1_048_576  # bytes; Windows gives each log 20 times as much
MIN_LOWERED = 2  # different commands
SERVICE_DISABLED = 4  # the start value of a service that never starts
_EVENTLOG = re.compile(r"^(?:windows )?event ?log$", re.IGNORECASE)
_ALL_AUDITS = re.compile(r"auditpol.{0,10}\s/(?:clear|remove)\b", re.IGNORECASE)
_LOGGING = re.compile(
    r"\\(?:scriptblocklogging\\enablescriptblock\w*|modulelogging\\enablemodulelogging|transcription\\enabletranscripting)$"
    r"|\\services\\eventlog\\(?:start|[^\\]+\\(?:file|maxsize))$|\\autologger\\(?:eventlog|sysmon|defender)[^\\]*\\(?:\{[^}\\]{1,40}\}\\)?(?:start|enabled)$"
    r"|\\winevt\\channels\\[^\\]+(?:/[^\\]+)?\\enabled$|\\processcreationincludecmdline_enabled$|\\amsi\\providers\\|\\amsienable$|\\\.netframework\\etwenabled$"
)

# A log's access list in the registry, and one that refuses.
_LOG_ACCESS = re.compile(
    r"\\services\\eventlog\\[^\\]+\\customsd$|\\winevt\\channels\\[^\\]+(?:/[^\\]+)?\\channelaccess$"
)
_REFUSES = re.compile(r"\(d;[^)]*;(?:wd|au|ba|sy|s-1-1-0|s-1-5-11|s-1-5-18|s-1-5-32-544)\)", re.IGNORECASE)
_DEFENDER = re.compile(
    r"\\windows defender\\.{0,80}(?:disable\w+|dontreport\w*)$|\\windows defender\\exclusions\\|\\services\\(?:windefend|sense|wdnissvc|mpssvc|sysmon\w{0,4})\\start$"
    r"|\\firewallpolicy\\[^\\]+\\(?:enablefirewall)$|\\disabletaskmgr$|\\disableregistrytools$"
)

# The guards of the registry by the end of their key, and the numbers at which each is open.
GUARDS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "wdigest": {"uselogoncredential": (1,)},
    "lsa": {
        "runasppl": (0,),
        "runaspplboot": (0,),
        "disablerestrictedadmin": (0,),
        "lmcompatibilitylevel": (0, 1, 2),
        "nolmhash": (0,),
        "dsrmadminlogonbehavior": (1, 2),
        "lsacfgflags": (0,),
        "limitblankpassworduse": (0,),
    },
    "policies\\system": {
        "enablelua": (0,),
        "consentpromptbehavioradmin": (0,),
        "localaccounttokenfilterpolicy": (1,),
        "filteradministratortoken": (0,),
    },
    "terminal server": {"fdenytsconnections": (0,), "allowtsconnections": (1,)},
    "rdp-tcp": {"userauthentication": (0,), "securitylayer": (0,)},
    "terminal services": {"shadow": (1, 2, 3, 4)},
    "security": {"accessvbom": (1,), "vbawarnings": (1,)},  # of an Office program
}
OPEN_POLICIES = ("unrestricted", "bypass")  # of ExecutionPolicy
_OPEN_AT = {name: numbers for guards in GUARDS.values() for name, numbers in guards.items()} | {"executionpolicy": (1,)}
_GUARD = re.compile(
    "|".join(
        (r"\\office\\.{0,60}" if key == "security" else "") + rf"\\{re.escape(key)}\\(?:{'|'.join(guards)})$"
        for key, guards in GUARDS.items()
    )
    + r"|\\executionpolicy$"
)
_GUARDS_IN_WORDS = "; ".join(
    f"{key} " + ", ".join(f"{name} {' '.join(map(str, numbers))}" for name, numbers in guards.items())
    for key, guards in GUARDS.items()
)
_SCRIPT_RUN = re.compile(r"([a-z]:\\[^\"&|<>^:]{1,300}?\.(?:bat|cmd))\W{0,3}$", re.IGNORECASE)
_HISTORY = re.compile(r"\\(?:runmru|typedpaths|typedurls|terminal server client\\(?:default|servers))(?:\\[^\\]*)?$")


@rule(
    "logs-wiped",
    "T1070.001",
    "defense_evasion",
    on=(commands_that("logs-wiped"), (ControlChangeFields, "log_clear")),
    summary=f"A command clears a log (wevtutil cl, Clear-EventLog, usn deletejournal). Confirmed with {MIN_WIPED} or more, or {MIN_WIPED} logs cleared by a person.",
    source="ATT&CK T1070.001, T1070",
)
def logs_wiped(wipes: Lines, clearings: Lines[ControlChangeFields], window: Window) -> Findings:
    least = window.limits.at_least(MIN_WIPED)
    yield from findings_by_host_and_user(wipes, confirmed=lambda group: len(group) >= least, program=command_program)
    by_person = [line for line in clearings if is_person_or_service(line.user)]
    for group in grouped(by_person, host_and_user).values():
        if len({line.fields.control_name for line in group}) >= least:
            yield from findings_by_host_and_user(group, confirmed=True, program=LOG_WORK)


@rule(
    "logging-weakened",
    "T1562.002",
    "defense_evasion",
    on=(
        commands_that("logging-weakened"),
        SETTINGS,
        (ServiceFields, "config"),
        (ControlChangeFields, "audit_policy"),
    ),
    summary="auditpol :disable or /restore, a person removes audit categories (removed), or another than a manager of Windows sets to 0 or deletes a switch of logs "
    "(ScriptBlockLogging EnableScriptBlock*, ModuleLogging EnableModuleLogging, Transcription EnableTranscripting, Services\\EventLog Start, File or MaxSize, Autologger EventLog, Sysmon or Defender Start or Enabled, "
    f"WINEVT\\Channels Enabled, ProcessCreationIncludeCmdLine_Enabled, AMSI\\Providers, AmsiEnable, .NETFramework ETWEnabled), or a log's MaxSize below {LEAST_LOG} bytes. "
    f"Confirmed: auditpol /clear or /remove, Control\\MiniNt, EventLog's start set to {SERVICE_DISABLED} or disabled, by a user-writable program, or {MIN_AUDITS_OFF} categories.",
    source="ATT&CK T1562.002; Microsoft about_Logging, auditpol, Security 4719",
)
def logging_weakened(
    commands: Lines,
    settings: Sequence[Setting],
    services: Lines[ServiceFields],
    policies: Lines[ControlChangeFields],
    window: Window,
) -> Findings:
    switches = [*_log_switches(settings)]
    disabled = [line for line in services if _disables_log(line.fields)]
    removals = [
        line for line in policies if is_person_or_service(line.user) and "removed" in (line.fields.new_value or "")
    ]
    if not (commands or switches or disabled or removals):
        return  # most windows
    grave: list[Line] = [line for line in commands if _ALL_AUDITS.search(command_line(line))]
    grave += [setting.line for setting, is_grave in switches if is_grave] + disabled
    if len(removals) >= window.limits.at_least(MIN_AUDITS_OFF):
        grave += removals
    certain = {line.log_id for line in grave}
    yield from findings_by_host_and_user(
        [*commands, *(setting.line for setting, _ in switches), *disabled, *removals],
        confirmed=lambda group: any(line.log_id in certain for line in group),
        program=lambda group: one_program(group, otherwise=LOG_WORK),
    )


def _log_switches(settings: Sequence[Setting]) -> Iterator[tuple[Setting, bool]]:
    """Yield the settings that weaken logging, each with whether it is grave by itself."""
    for setting in settings:
        if setting.path.endswith("\\control\\minint") and setting.act != "delete":
            yield setting, True
        elif _LOGGING.search(setting.path) and basename(setting.program) not in MANAGERS:
            number = number_of(setting.data)
            is_start = setting.path.endswith("\\eventlog\\start")
            is_off = number == (SERVICE_DISABLED if is_start else 0)
            is_off |= setting.path.endswith("\\maxsize") and number is not None and number < LEAST_LOG
            if is_off or setting.act == "delete":
                yield setting, (is_off and is_start) or is_user_writable(setting.program)


@rule(
    "log-access-changed",
    "T1562.002",
    "defense_evasion",
    on=(SETTINGS, commands_that("log-access-changed")),
    summary="Another than a manager of Windows sets who may read or write an event log (Services\\EventLog CustomSD, WINEVT\\Channels ChannelAccess, wevtutil sl /ca:). "
    "Confirmed: it refuses (D;) everyone (WD or S-1-1-0), authenticated users (AU or S-1-5-11), administrators (BA or S-1-5-32-544) or SYSTEM (SY or S-1-5-18).",
    source="ATT&CK T1562.002; Microsoft Event Logging Security, Security Descriptor Definition Language",
)
def log_access_changed(settings: Sequence[Setting], commands: Lines, window: Window) -> Findings:
    changes = [
        setting
        for setting in settings
        if setting.act == "set" and _LOG_ACCESS.search(setting.path) and basename(setting.program) not in MANAGERS
    ]
    refused = {setting.line.log_id for setting in changes if _REFUSES.search(setting.data)}
    refused |= {line.log_id for line in commands if _REFUSES.search(command_line(line))}
    yield from findings_by_host_and_user(
        [*(setting.line for setting in changes), *commands],
        confirmed=lambda group: any(line.log_id in refused for line in group),
        program=lambda group: one_program(group, otherwise=LOG_WORK),
    )


def _disables_log(fields: ServiceFields) -> bool:
    return bool(_EVENTLOG.match(fields.service_name or "")) and fields.start_type == "disabled"


@rule(
    "protection-lowered",
    "T1562.001",
    "defense_evasion",
    on=(commands_that("defence-command", "firewall-opened"), SETTINGS),
    summary="A command or value, not by a manager of Windows, disables or exempts anti-virus, sensor, firewall or AMSI (Set-MpPreference, sc stop windefend, netsh allow; Windows Defender Disable* or DontReport* 1 or Exclusions, "
    f"Start {SERVICE_DISABLED} of Services WinDefend, Sense, WdNisSvc, MpsSvc or Sysmon, FirewallPolicy EnableFirewall 0, DisableTaskMgr or DisableRegistryTools 1). "
    f"Confirmed: by a user-writable program, or {MIN_LOWERED} different commands.",
    source="ATT&CK T1562.001, T1562.004; Microsoft Defender and netsh references",
)
def protection_lowered(commands: Lines, settings: Sequence[Setting], window: Window) -> Findings:
    switches = [setting.line for setting in settings if _lowers_protection(setting)]
    return findings_by_host_and_user(
        [*commands, *switches],
        confirmed=lambda group: (
            is_user_writable(_program(group)) or len(_command_lines(group)) >= window.limits.at_least(MIN_LOWERED)
        ),
        program=_program,
    )


def _command_lines(group: Sequence[Line]) -> set[str]:
    return {text for line in group if (text := getattr(line.fields, "process_cmd_line", None)) is not None}


def _program(group: Sequence[Line]) -> str:
    return one_program(group, otherwise=POWERSHELL)


def _lowers_protection(setting: Setting) -> bool:
    path = setting.path
    if setting.act != "set" or not _DEFENDER.search(path) or basename(setting.program) in MANAGERS:
        return False
    off = SERVICE_DISABLED if path.endswith("\\start") else 0 if path.endswith("\\enablefirewall") else 1
    return number_of(setting.data) == off or "exclusions" in path


@rule(
    "security-switch",
    "T1112",
    "defense_evasion",
    on=(SETTINGS,),
    summary=f"A guard in the registry is set open, not by a manager of Windows ({_GUARDS_IN_WORDS} of Office; ExecutionPolicy 1 {' '.join(OPEN_POLICIES)}). Confirmed: by a user-writable program.",
    source="ATT&CK T1112, T1021.001, T1556; Microsoft security baselines",
)
def security_switch(settings: Sequence[Setting], window: Window) -> Findings:
    return findings_by_host_and_user(
        [setting.line for setting in settings if _opens_guard(setting)],
        confirmed=lambda group: any(is_user_writable(getattr(line.fields, "process_path", None)) for line in group),
        program=_program,
    )


def _opens_guard(setting: Setting) -> bool:
    if setting.act != "set" or not _GUARD.search(setting.path) or basename(setting.program) in MANAGERS:
        return False
    name = setting.path.rpartition("\\")[2]
    return number_of(setting.data) in _OPEN_AT[name] or setting.data in OPEN_POLICIES


@rule(
    "history-erased",
    "T1070.003",
    "defense_evasion",
    on=(commands_that("file-hidden"), SETTINGS),
    summary="RunMRU, TypedPaths, TypedURLs or Terminal Server Client Default or Servers (remote desktop history) removed, or attrib +h, but on desktop.ini or by a script (.bat or .cmd) that a shell runs from where programs are installed. Suspicious.",
    source="ATT&CK T1070.003, T1564.001",
)
def history_erased(hidings: Lines, settings: Sequence[Setting], window: Window) -> Findings:
    removals = [setting.line for setting in settings if setting.act == "delete" and _HISTORY.search(setting.path)]
    hidden = [line for line in hidings if not _hides_by_custom(line)]
    return findings_by_host_and_user([*hidden, *removals], confirmed=False)


def _hides_by_custom(line: Line) -> bool:
    """Return whether a folder's own settings are hidden, or an installed script hides something."""
    script = _SCRIPT_RUN.search(getattr(line.fields, "parent_cmd_line", None) or "")
    return "desktop.ini" in command_line(line).lower() or bool(script and is_installed(script[1]))


RULES = (
    logs_wiped,
    logging_weakened,
    log_access_changed,
    protection_lowered,
    security_switch,
    history_erased,
)
