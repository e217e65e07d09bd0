"""Rules on weakening what records and protects: logs, audit, anti-virus, switches of the registry (ATT&CK Defense Evasion)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    LOG_WORK,
    ControlChangeFields,
    RegistryFields,
    ServiceFields,
)
from verifier.commands import lines_by_meaning, number_of, settings, told
from verifier.rules.kit import MANAGERS, Legacy, by_host_and_user, legacy_rule
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    is_person_or_service,
    is_user_writable,
    kinds,
    one_program,
)

MIN_WIPED = 3  # logs; one may be an administrator's

MIN_AUDITS_OFF = 3

_EVENTLOG = re.compile(r"^(?:windows )?event ?log$", re.IGNORECASE)

MIN_LOWERED = 2  # different commands

_ALL_AUDITS = re.compile(r"auditpol.{0,10}\s/(?:clear|remove)\b", re.IGNORECASE)


_LOGGING = re.compile(
    r"\\(?:scriptblocklogging\\enablescriptblock\w*|modulelogging\\enablemodulelogging|transcription\\enabletranscripting)$"
    r"|\\services\\eventlog\\(?:start|[^\\]+\\(?:file|maxsize))$|\\autologger\\(?:eventlog|sysmon|defender)[^\\]*\\(?:start|enabled)$"
    r"|\\winevt\\channels\\[^\\]+(?:/[^\\]+)?\\enabled$|\\processcreationincludecmdline_enabled$|\\amsi\\providers\\|\\amsienable$"
)

_DEFENDER = re.compile(
    r"\\windows defender\\.{0,80}(?:disable\w+|dontreport\w*)$|\\windows defender\\exclusions\\|\\services\\(?:windefend|sense|wdnissvc|mpssvc|sysmon\w{0,4})\\start$"
    r"|\\firewallpolicy\\[^\\]+\\(?:enablefirewall)$|\\disabletaskmgr$|\\disableregistrytools$"
)

_PROTECTION = re.compile(
    r"\\wdigest\\uselogoncredential$|\\lsa\\(?:runasppl|runaspplboot|disablerestrictedadmin|lmcompatibilitylevel|nolmhash|dsrmadminlogonbehavior|lsacfgflags|limitblankpassworduse)$"
    r"|\\policies\\system\\(?:enablelua|consentpromptbehavioradmin|localaccounttokenfilterpolicy|filteradministratortoken)$"
    r"|\\terminal server\\(?:fdenytsconnections|allowtsconnections)$|\\rdp-tcp\\(?:userauthentication|securitylayer)$|\\terminal services\\shadow$"
    r"|\\executionpolicy$|\\office\\.{0,60}\\security\\(?:accessvbom|vbawarnings)$"
)

_OPEN_AT = {  # the numbers at which a switch is open; every other switch is open at 1
    "runasppl": {0}, "runaspplboot": {0}, "disablerestrictedadmin": {0}, "lmcompatibilitylevel": {0, 1, 2}, "nolmhash": {0}, "lsacfgflags": {0},
    "limitblankpassworduse": {0}, "dsrmadminlogonbehavior": {1, 2}, "enablelua": {0}, "consentpromptbehavioradmin": {0}, "filteradministratortoken": {0},
    "fdenytsconnections": {0}, "userauthentication": {0}, "securitylayer": {0}, "shadow": {1, 2, 3, 4},
}  # fmt: skip


@legacy_rule(
    "logs-wiped",
    "T1070.001",
    "defense_evasion",
    says=f"A command clears a log (wevtutil cl, Clear-EventLog, usn deletejournal). Confirmed with {MIN_WIPED} or more, or {MIN_WIPED} logs cleared by a person.",
    source="ATT&CK T1070.001, T1070",
    needs=kinds(ControlChangeFields, "log_clear"),
    clues=("logs-wiped",),
)
def logs_wiped(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that clear logs."""
    least = window.limits.at_least(MIN_WIPED)
    for finding in told(window, this, "logs-wiped", sure=False):
        yield finding._replace(strength="confirmed") if len(finding.evidence) >= least else finding
    cleared: list[Line] = [
        line
        for line in window.of(ControlChangeFields)
        if line.fields.activity == "log_clear" and is_person_or_service(line.user)
    ]
    for group in by_host_and_user(cleared):
        if len({getattr(line.fields, "control_name", None) for line in group}) >= least:
            yield this.of_one(group, confirmed=True, program=LOG_WORK)


@legacy_rule(
    "logging-weakened",
    "T1562.002",
    "defense_evasion",
    says=f"auditpol :disable or /restore, log switches set to 0, a person removes audit categories. Confirmed: auditpol /clear or /remove, MiniNt, EventLog disabled, by a user-writable program, or {MIN_AUDITS_OFF} categories.",
    source="ATT&CK T1562.002; Microsoft about_Logging, auditpol, Security 4719",
    needs=(RegistryFields, *kinds(ControlChangeFields, "audit_policy"), *kinds(ServiceFields, "config")),
    clues=("logging-weakened", "setting"),
)
def logging_weakened(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find weakened logs and audit policies."""
    lines: list[Line] = list(window.view(lines_by_meaning).get("logging-weakened", ()))
    sure = {line.log_id for line in lines if _ALL_AUDITS.search(getattr(line.fields, "process_cmd_line", None) or "")}
    for change in window.view(settings):
        if change.path.endswith("\\control\\minint") and change.act != "delete":
            lines.append(change.line)
            sure.add(change.line.log_id)
        elif _LOGGING.search(change.path) and basename(change.program) not in MANAGERS:
            number = number_of(change.data)
            off = number == 4 if change.path.endswith("\\eventlog\\start") else number == 0
            if off or change.act == "delete":
                lines.append(change.line)
                sure.update({change.line.log_id} if (off and number == 4) or is_user_writable(change.program) else ())
    for service in window.of(ServiceFields):
        if (
            service.fields.activity == "config"
            and _EVENTLOG.match(service.fields.service_name or "")
            and service.fields.start_type == "disabled"
        ):
            lines.append(service)
            sure.add(service.log_id)
    removed = [
        line
        for line in window.of(ControlChangeFields)
        if line.fields.activity == "audit_policy"
        and is_person_or_service(line.user)
        and "removed" in (line.fields.new_value or "")
    ]
    if len(removed) >= window.limits.at_least(MIN_AUDITS_OFF):
        sure.update(line.log_id for line in removed)
    for group in by_host_and_user([*lines, *removed]):
        yield this.of_one(group, confirmed=any(line.log_id in sure for line in group), otherwise=LOG_WORK)


@legacy_rule(
    "protection-lowered",
    "T1562.001",
    "defense_evasion",
    says=f"A command or value disables or exempts anti-virus, sensor, firewall or AMSI (Set-MpPreference, sc stop windefend, netsh allow). Confirmed: by a user-writable program, or {MIN_LOWERED} different commands.",
    source="ATT&CK T1562.001, T1562.004; Microsoft Defender and netsh references",
    needs=(RegistryFields,),
    clues=("defence-command", "firewall-opened", "setting"),
)
def protection_lowered(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands and settings that lower protection."""
    known = window.view(lines_by_meaning)
    lines: list[Line] = [*known.get("defence-command", ()), *known.get("firewall-opened", ())]
    for change in window.view(settings):
        if change.act == "set" and _DEFENDER.search(change.path) and basename(change.program) not in MANAGERS:
            number = number_of(change.data)
            if (
                number
                == (4 if change.path.endswith("\\start") else 0 if change.path.endswith("\\enablefirewall") else 1)
                or "exclusions" in change.path
            ):
                lines.append(change.line)
    for group in by_host_and_user(lines):
        program = one_program(group, otherwise="powershell.exe")
        several = len(
            {getattr(line.fields, "process_cmd_line", None) for line in group} - {None}
        ) >= window.limits.at_least(MIN_LOWERED)
        yield this.of_one(group, confirmed=is_user_writable(program) or several, program=program)


@legacy_rule(
    "security-switch",
    "T1112",
    "defense_evasion",
    says="A guard in the registry is opened (UseLogonCredential, RunAsPPL, LmCompatibilityLevel, EnableLUA, fDenyTSConnections, ExecutionPolicy, AccessVBOM). Confirmed: by a user-writable program.",
    source="ATT&CK T1112, T1021.001, T1556; Microsoft security baselines",
    needs=(RegistryFields,),
    clues=("setting",),
)
def security_switch(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find switches that are opened."""
    lines: list[Line] = []
    for change in window.view(settings):
        if change.act != "set" or not _PROTECTION.search(change.path) or basename(change.program) in MANAGERS:
            continue
        name = change.path.rpartition("\\")[2]
        if number_of(change.data) in _OPEN_AT.get(name, {1}) or change.data in ("unrestricted", "bypass"):
            lines.append(change.line)
    for group in by_host_and_user(lines):
        yield this.of_one(
            group,
            confirmed=any(is_user_writable(getattr(line.fields, "process_path", "")) for line in group),
            otherwise="powershell.exe",
        )


@legacy_rule(
    "history-erased",
    "T1070.003",
    "defense_evasion",
    says="RunMRU, TypedPaths, TypedURLs or remote desktop history removed, or attrib +h. Suspicious.",
    source="ATT&CK T1070.003, T1564.001",
    needs=(RegistryFields,),
    clues=("file-hidden", "setting"),
)
def history_erased(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find erased traces."""
    lines: list[Line] = list(window.view(lines_by_meaning).get("file-hidden", ()))
    lines += [
        change.line for change in window.view(settings) if change.act == "delete" and _HISTORY.search(change.path)
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


_HISTORY = re.compile(r"\\(?:runmru|typedpaths|typedurls|terminal server client\\(?:default|servers))(?:\\[^\\]*)?$")


RULES = (
    logs_wiped,
    logging_weakened,
    protection_lowered,
    security_switch,
    history_erased,
)
