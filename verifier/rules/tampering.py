"""Rules on controls, persistence by configuration, and damage (ATT&CK Defense Evasion, Persistence, Impact, cloud control)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from schema import (
    CLOUD_WORK,
    LOG_WORK,
    SENSOR_WORK,
    WMI_WORK,
    AccountFields,
    CloudApiFields,
    ControlChangeFields,
    FileFields,
    ProcessFields,
    RegistryFields,
    WmiFields,
    account_name,
)
from verifier.commands import lines_by_meaning
from verifier.rules.kit import (
    AUTORUN,
    TRAIL_CALLS,
    Legacy,
    by_host_and_user,
    legacy_rule,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    crowded,
    is_person_or_service,
    is_user_writable,
    kinds,
    one_program,
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
CLOUD_S = 3600
MIN_STOPPED = 5
STOPPED_S = 300
_SCRIPTED = re.compile(r"powershell|wscript|cscript|mshta|rundll32|regsvr32|\bcmd(\.exe)?\s+/[ck]", re.IGNORECASE)
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
        ("wmic", r"shadowcopy\s+delete"),
        ("wbadmin", "delete"),
        ("bcdedit", r"recoveryenabled\W{1,3}(?:no|off)\b|bootstatuspolicy\W{1,3}ignoreallfailures"),
    )
)


@legacy_rule(
    "autorun-entry",
    "T1547.001",
    "persistence",
    says="A value that starts programs (Run, RunOnce, Winlogon, Image File Execution Options) is set to a user-writable file or a script host "
    "(powershell, wscript, cscript, mshta, rundll32, regsvr32, cmd /c). Confirmed: by a user-writable program.",
    source="ATT&CK T1547.001, T1547.004, T1546.012",
    needs=kinds(RegistryFields, "set"),
)
def autorun_entry(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find registry values that start foreign programs."""
    for line in window.of(RegistryFields):
        data = line.fields.reg_value_data or ""
        if (
            line.fields.activity == "set"
            and AUTORUN.search(line.fields.reg_key_path or "")
            and (is_user_writable(data) or _SCRIPTED.search(data))
        ):
            yield this.of_one([line], confirmed=is_user_writable(line.fields.process_path))


@legacy_rule(
    "wmi-subscription",
    "T1546.003",
    "persistence",
    says="A WMI event consumer is made that runs a command or a script. Confirmed when a filter and a binding are made on that host too.",
    source="ATT&CK T1546.003: code run by a WMI event subscription",
    needs=kinds(WmiFields, "consumer"),
)
def wmi_subscription(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find WMI subscriptions that run code; one finding for each host."""
    made: dict[str, list[Line[WmiFields]]] = {}
    for line in window.of(WmiFields):
        if line.fields.activity in ("filter", "consumer", "binding"):
            made.setdefault(line.host, []).append(line)
    for host, lines in made.items():
        runs = [
            line for line in lines if line.fields.activity == "consumer" and _runs_code(line.fields.wmi_consumer or "")
        ]
        if runs:
            whole = {"filter", "consumer", "binding"} <= {line.fields.activity for line in lines}
            shown = lines if whole else runs
            yield this.finding(
                shown,
                confirmed=whole,
                scope="host",
                host=host,
                accounts=[line.user for line in shown],
                program=WMI_WORK,
            )


def _runs_code(consumer: str) -> bool:
    return bool(_SCRIPTED.search(consumer) or _RUNS_CODE.search(consumer) or is_user_writable(consumer))


@legacy_rule(
    "log-cleared",
    "T1070.001",
    "defense_evasion",
    says=f"A person or service clears an event log. Confirmed: on that host, within {DISABLED_THEN_S} s, that account also switches off an "
    f"audit policy, a sensor or the anti-virus ({OFF}).",
    source="ATT&CK T1070.001, T1562.002",
    needs=kinds(ControlChangeFields, "log_clear"),
)
def log_cleared(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find cleared event logs; one finding for each host and user."""
    cleared: dict[tuple[str, str], list[Line[ControlChangeFields]]] = {}
    for line in window.of(ControlChangeFields):
        if line.fields.activity == "log_clear" and is_person_or_service(line.user):
            cleared.setdefault((line.host, line.user), []).append(line)
    for (host, user), lines in cleared.items():
        blinded = [
            other
            for other in window.of(ControlChangeFields)
            if other.fields.activity in ("audit_policy", "av_setting", "sensor_config")
            and _OFF.search(other.fields.new_value or "")
            and other.host == host
            and other.user == user
            and any(abs(other.time_s - line.time_s) <= window.limits.within(DISABLED_THEN_S) for line in lines)
        ]
        yield this.of_one([*lines, *blinded], confirmed=bool(blinded), program=one_program(lines, otherwise=LOG_WORK))


@legacy_rule(
    "defence-disabled",
    "T1562.001",
    "defense_evasion",
    says="The anti-virus or a sensor is switched off or given an exclusion (as above). "
    f"Confirmed when on that host, within {DISABLED_THEN_S} s after, a program in a user-writable folder starts.",
    source="ATT&CK T1562.001: security tools disabled or modified",
    needs=kinds(ControlChangeFields, "av_setting", "sensor_config"),
)
def defence_disabled(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find switched-off defences and what runs then."""
    for line in window.of(ControlChangeFields):
        if line.fields.activity not in ("av_setting", "sensor_config") or not _OFF.search(line.fields.new_value or ""):
            continue
        starts = [
            start
            for start in window.of(ProcessFields)
            if start.fields.activity == "launch"
            and start.host == line.host
            and is_user_writable(start.fields.process_path)
            and 0 <= start.time_s - line.time_s <= window.limits.within(DISABLED_THEN_S)
        ]
        yield this.finding(
            [line, *starts],
            confirmed=bool(starts),
            scope="host",
            host=line.host,
            account=line.user,
            program=line.fields.process_path or SENSOR_WORK,
        )


@legacy_rule(
    "recovery-inhibited",
    "T1490",
    "impact",
    says="Backups or shadow copies are deleted, or recovery is switched off, on a command line (vssadmin, diskshadow delete shadows, wmic or Win32_ShadowCopy "
    "delete, wbadmin delete, bcdedit recoveryenabled no, reagentc /disable, cipher /w). Suspicious.",
    source="ATT&CK T1490: recovery made impossible, usually before encryption",
    needs=kinds(ProcessFields, "launch"),
)
def recovery_inhibited(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find command lines that make recovery impossible."""
    for line in window.of(ProcessFields):
        if line.fields.activity == "launch" and _inhibits_recovery(line.fields.process_cmd_line or ""):
            yield this.of_one([line], confirmed=False)


@lru_cache(maxsize=4096)
def _inhibits_recovery(command: str) -> bool:
    """Whether a command line deletes backups or switches recovery off."""
    return any(
        (named := program.search(command)) is not None and order.search(command, named.end()) is not None
        for program, order in _RECOVERY
    )


@legacy_rule(
    "mass-encryption",
    "T1486",
    "impact",
    says=f"One program writes at least {MIN_ENCRYPTED} files within {ENCRYPT_S} s with one second ending (report.xlsx.locked) after a document's ({DOCUMENTS}), "
    f"other than a copy's ({COPIES}). Confirmed, harm done.",
    source="ATT&CK T1486: data encrypted for impact",
    needs=kinds(FileFields, "create", "modify"),
    least=MIN_ENCRYPTED,
)
def mass_encryption(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that rewrite many files under one new ending."""
    written: dict[tuple[str, str, str], list[Line[FileFields]]] = {}
    for line in window.of(FileFields):
        parts = basename(line.fields.file_path).rsplit(".", 2)
        renamed = len(parts) == 3 and parts[1] in _DOCUMENT_ENDINGS and parts[2] not in _COPY_ENDINGS
        if line.fields.activity in ("create", "modify") and renamed and line.fields.process_path:
            written.setdefault((line.host, line.fields.process_path.lower(), parts[2]), []).append(line)
    least = window.limits.at_least(MIN_ENCRYPTED)
    for (host, program, _), lines in written.items():
        near = crowded(
            lines, window.limits.within(ENCRYPT_S), least, lambda line: (line.fields.file_path or "").lower()
        )
        if near:
            yield this.finding(
                near,
                confirmed=True,
                scope="data",
                host=host,
                accounts=[line.user for line in near],
                program=program,
                impact=True,
            )


@legacy_rule(
    "cloud-trail-stopped",
    "T1562.008",
    "defense_evasion",
    says=f"A principal stops, deletes or narrows the cloud's audit trail ({', '.join(TRAIL_CALLS)}). Confirmed: from the same external address it also "
    f"makes an access key for another account within {CLOUD_S} s.",
    source="ATT&CK T1562.008, T1098.001",
    needs=(*kinds(ControlChangeFields, "trail_stop"), CloudApiFields),
)
def cloud_trail_stopped(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find stopped audit trails and the keys made beside them; one finding for each principal and address."""
    stopped: dict[tuple[str, str], list[Line]] = {}
    for line in window.of(ControlChangeFields):
        if line.fields.activity == "trail_stop" and line.user:
            stopped.setdefault((line.user, line.fields.src_ip or ""), []).append(line)
    for call in window.of(CloudApiFields):
        principal = call.user or account_name(call.fields.user_uid)
        if call.fields.api_operation in TRAIL_CALLS and not call.fields.api_error and principal:
            stopped.setdefault((principal, call.fields.src_ip or ""), []).append(call)
    for (user, source), lines in stopped.items():
        keys = [
            key
            for key in window.of(AccountFields)
            if key.fields.activity == "key_create"
            and key.user == user
            and key.fields.src_ip == source
            and account_name(key.fields.user_name) not in ("", user)
            and any(abs(key.time_s - line.time_s) <= window.limits.within(CLOUD_S) for line in lines)
        ]
        confirmed = bool(keys) and window.is_external(source)
        yield this.finding(
            [*lines, *keys] if confirmed else lines,
            confirmed=confirmed,
            scope="network" if window.is_external(source) else "identity",
            host=lines[0].host,
            hosts=[line.host for line in lines],
            account=user,
            program=CLOUD_WORK,
            remote=source,
        )


@legacy_rule(
    "key-for-another",
    "T1098.001",
    "persistence",
    says="A principal makes an access key for an account that is not its own. Suspicious.",
    source="ATT&CK T1098.001: additional cloud credentials",
    needs=kinds(AccountFields, "key_create"),
)
def key_for_another(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find access keys made for other accounts."""
    for line in window.of(AccountFields):
        other = account_name(line.fields.user_name)
        if line.fields.activity == "key_create" and other and line.user and other != line.user:
            yield this.finding(
                [line],
                confirmed=False,
                scope="identity",
                host=line.host,
                account=line.user,
                program=CLOUD_WORK,
                remote=line.fields.src_ip or "",
            )


@legacy_rule(
    "services-stopped",
    "T1489",
    "impact",
    says=f"{MIN_STOPPED} or more services or programs are stopped by command within {STOPPED_S} s. Suspicious.",
    source="ATT&CK T1489",
    clues=("service-stopped",),
)
def services_stopped(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find hosts whose services are stopped one after another."""
    for group in by_host_and_user(window.view(lines_by_meaning).get("service-stopped", [])):
        burst = crowded(
            group,
            window.limits.within(STOPPED_S),
            window.limits.at_least(MIN_STOPPED),
            lambda line: getattr(line.fields, "process_cmd_line", line.log_id),
        )
        if burst:
            yield this.of_one(burst, confirmed=False)


RULES = (
    autorun_entry,
    wmi_subscription,
    log_cleared,
    defence_disabled,
    recovery_inhibited,
    mass_encryption,
    services_stopped,
    cloud_trail_stopped,
    key_for_another,
)
