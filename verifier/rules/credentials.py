"""Rules on stores of credentials: memory of lsass, registry hives, the directory's database, vaults, and the files that dumps leave."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    REMOTE_WORK,
    ControlChangeFields,
    DirectoryFields,
    FileFields,
    KerberosFields,
    LogonFields,
    ObjectAccessFields,
    ProcessAccessFields,
    ProcessFields,
    ScriptFields,
    ServiceFields,
    ShareFields,
    TaskFields,
    account_name,
)
from verifier.commands import lines_by_meaning, told
from verifier.rules.kit import (
    GUESSING_S,
    MIN_FAILURES,
    SHELLS,
    VM_READ,
    WEAK_CIPHERS,
    Legacy,
    by_host_and_user,
    legacy_rule,
    program_at,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    crowded,
    is_installed,
    is_person_or_service,
    kinds,
)

COMMANDS = (ProcessFields, ScriptFields, ServiceFields, TaskFields)
_DUMP_FILES = re.compile(
    r"(?:^|\\)ntds\.dit$|\.kirbi$|\.ccache$|(?:^|\\)[^\\]{0,60}lsass[^\\]{0,60}\.(?:dmp|mdmp)$", re.IGNORECASE
)
_AT_HOME = re.compile(r"\\windows\\ntds\\ntds\.dit$", re.IGNORECASE)
KERBEROS_FAILED = ("0x6", "0x18", "KDC_ERR_C_PRINCIPAL_UNKNOWN", "KDC_ERR_PREAUTH_FAILED")  # RFC 4120 7.5.9
DKM = re.compile(r"cn=cryptopolicy|cn=adfs,cn=microsoft,cn=program data", re.IGNORECASE)


@legacy_rule(
    "lsass-dump-command",
    "T1003.001",
    "credential_access",
    says="A command dumps lsass (comsvcs MiniDump, procdump lsass, sekurlsa::). Confirmed.",
    source="ATT&CK T1003.001; LOLBAS Comsvcs.dll",
    clues=("lsass-dumped",),
)
def lsass_dump_command(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that dump lsass."""
    return told(window, this, "lsass-dumped", sure=True)


@legacy_rule(
    "lsass-read-from-memory",
    "T1003.001",
    "credential_access",
    says=f"An installed program opens lsass.exe for reading ({VM_READ:#x}) with UNKNOWN in the call trace, or is a shell or script host. Confirmed.",
    source="ATT&CK T1003.001; Microsoft Sysmon event 10; Security 4656/4663 on the process object",
    needs=(ProcessAccessFields, ObjectAccessFields),
)
def lsass_read_from_memory(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find installed programs that are made to read lsass."""
    lines: list[Line] = []
    for opened in window.of(ProcessAccessFields):
        if basename(opened.fields.target_path) == "lsass.exe" and int(opened.fields.access_mask or "0x0", 16) & VM_READ:
            unbacked = "UNKNOWN" in (opened.fields.call_trace or "")
            if is_installed(opened.fields.process_path) and (
                unbacked or basename(opened.fields.process_path) in SHELLS
            ):
                lines.append(opened)
    for access in window.of(ObjectAccessFields):
        if (
            basename(access.fields.object_name) == "lsass.exe"
            and access.fields.outcome != "failure"
            and int(access.fields.access_mask or "0x0", 16) & VM_READ
            and (basename(access.fields.process_path) in SHELLS or not is_installed(access.fields.process_path))
        ):
            lines.append(access)
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True, program=program_at(group))


@legacy_rule(
    "registry-hive-saved",
    "T1003.002",
    "credential_access",
    says="A command saves the SAM, SECURITY or SYSTEM hive. Confirmed.",
    source="ATT&CK T1003.002, T1003.004",
    clues=("hive-saved",),
)
def registry_hive_saved(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find saved hives of secrets."""
    return told(window, this, "hive-saved", sure=True)


@legacy_rule(
    "directory-copied",
    "T1003.003",
    "credential_access",
    says="ntds.dit is copied (ntdsutil IFM, esentutil, from a shadow copy): confirmed, harm done. Only a shadow copy made: suspicious.",
    source="ATT&CK T1003.003; Microsoft ntdsutil ifm",
    clues=("directory-copied", "shadow-made"),
)
def directory_copied(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find copies of the directory's database, and the shadow copies that they are taken from."""
    copied = list(told(window, this, "directory-copied", sure=True, impact=True))
    return copied or told(window, this, "shadow-made", sure=False)


@legacy_rule(
    "credential-file",
    "T1003",
    "credential_access",
    says="Written: ntds.dit outside \\Windows\\NTDS\\, lsass*.dmp, .kirbi, .ccache, or a .log or .txt by lsass.exe. Confirmed.",
    source="ATT&CK T1003.003, T1003.001, T1558, T1547.005: the files that these techniques leave",
    needs=kinds(FileFields, "create", "modify"),
)
def credential_file(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find the files that credential theft leaves behind."""
    lines = [
        line
        for line in window.of(FileFields)
        if line.fields.activity in ("create", "modify")
        and line.fields.file_path
        and (
            (_DUMP_FILES.search(line.fields.file_path) and not _AT_HOME.search(line.fields.file_path))
            or (
                basename(line.fields.process_path) == "lsass.exe"
                and line.fields.file_path.lower().endswith((".log", ".txt"))
                and "\\debug\\" not in line.fields.file_path.lower()
            )
        )
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True, program=program_at(group))


@legacy_rule(
    "stored-credentials-searched",
    "T1555",
    "credential_access",
    says="A command lists or asks for stored credentials (cmdkey /list, vaultcmd, key=clear, findstr password). Suspicious.",
    source="ATT&CK T1555.004, T1552.001, T1552.006",
    clues=("stored-credentials",),
)
def stored_credentials_searched(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that look for stored credentials."""
    return told(window, this, "stored-credentials", sure=False)


@legacy_rule(
    "signing-key-read",
    "T1552.004",
    "credential_access",
    says="A person reads the federation service's key container (CN=ADFS, CN=CryptoPolicy): confirmed; its database: suspicious.",
    source="ATT&CK T1552.004, T1606.002; Microsoft AD FS DKM container",
    needs=(*kinds(DirectoryFields, "access"), ScriptFields),
)
def signing_key_read(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find reads of the federation service's keys."""
    lines: list[Line] = [
        line
        for line in window.of(DirectoryFields)
        if line.fields.activity == "access"
        and is_person_or_service(line.user)
        and (DKM.search(line.fields.object_dn or "") or DKM.search(line.fields.properties or ""))
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True, scope="identity", program="")
    asked = [
        line
        for line in window.of(ScriptFields)
        if is_person_or_service(line.user) and "identityserverpolicy." in (line.fields.script_text or "").lower()
    ]
    for group in by_host_and_user(asked):
        yield this.of_one(group, confirmed=False, program=program_at(group))


@legacy_rule(
    "kerberos-guessing",
    "T1110.003",
    "credential_access",
    says=f"{MIN_FAILURES} or more Kerberos requests from one address fail within {GUESSING_S} s (0x6, 0x18). Confirmed from an external address.",
    source="ATT&CK T1110.003; RFC 4120 error codes 0x6, 0x18",
    needs=kinds(KerberosFields, "tgt", "preauth_failure"),
    least=MIN_FAILURES,
    probing=True,
)
def kerberos_guessing(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find addresses whose Kerberos requests fail again and again."""
    failed: dict[str, list[Line[KerberosFields]]] = {}
    for line in window.of(KerberosFields):
        if (
            line.fields.src_ip
            and line.fields.activity in ("tgt", "preauth_failure")
            and line.fields.status in KERBEROS_FAILED
        ):
            failed.setdefault(line.fields.src_ip, []).append(line)
    least = window.limits.at_least(MIN_FAILURES)
    for source, lines in failed.items():
        burst = crowded(lines, window.limits.within(GUESSING_S), least, lambda line: line.log_id)
        if burst:
            external = window.is_external(source)
            yield this.finding(
                burst,
                confirmed=external,
                scope="network" if external else "identity",
                host=burst[0].host,
                remote=source,
            )


@legacy_rule(
    "failures-on-host",
    "T1110",
    "credential_access",
    says=f"{MIN_FAILURES} or more failed sign-ins on a host within {GUESSING_S} s, each without address or account. Confirmed if one is from outside.",
    source="ATT&CK T1110; Security 4625 of services that pass no address on",
    needs=kinds(LogonFields, "failure"),
    least=MIN_FAILURES,
)
def failures_on_host(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find bursts of failures that name neither address nor account."""
    failed: dict[str, list[Line[LogonFields]]] = {}
    for line in window.of(LogonFields):
        if (
            line.fields.activity == "failure"
            and line.host
            and not (line.fields.src_ip and account_name(line.fields.user_name))
        ):
            failed.setdefault(line.host, []).append(line)
    least = window.limits.at_least(MIN_FAILURES)
    for host, lines in failed.items():
        burst = crowded(lines, window.limits.within(GUESSING_S), least, lambda line: line.log_id)
        if burst:
            outside = [line.fields.src_ip or "" for line in burst if window.is_external(line.fields.src_ip)]
            yield this.finding(
                burst,
                confirmed=bool(outside),
                scope="network" if outside else "identity",
                host=host,
                remote=outside[0] if outside else "",
            )


@legacy_rule(
    "ticket-without-preauth",
    "T1558.004",
    "credential_access",
    says="A person's ticket without preauthentication (type 0). Confirmed with RC4.",
    source="ATT&CK T1558.004: AS-REP roasting; Security 4768",
    needs=kinds(KerberosFields, "tgt"),
)
def ticket_without_preauth(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find tickets that can be cracked offline; one finding for each address."""
    given: dict[str, list[Line[KerberosFields]]] = {}
    for line in window.of(KerberosFields):
        if (
            line.fields.activity == "tgt"
            and line.fields.preauth_type == 0
            and line.fields.status == "0x0"
            and is_person_or_service(account_name(line.fields.user_name))
        ):
            given.setdefault(line.fields.src_ip or "", []).append(line)
    for source, lines in given.items():
        weak = any(int(line.fields.ticket_encryption or "0x0", 16) in WEAK_CIPHERS for line in lines)
        yield this.finding(
            lines,
            confirmed=weak,
            scope="identity",
            host=lines[0].host,
            accounts=[account_name(line.fields.user_name) for line in lines],
            remote=source,
        )


@legacy_rule(
    "machine-name-ticket",
    "T1558",
    "credential_access",
    says="An account without $ gets a ticket to the machine of its name (dc1, DC1$). Confirmed.",
    source="ATT&CK T1558, T1068; Microsoft KB5008102 and KB5008380 (CVE-2021-42278, -42287)",
    needs=kinds(KerberosFields, "tgs"),
)
def machine_name_ticket(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts that bear a machine's name; one finding for each account."""
    asked: dict[str, list[Line[KerberosFields]]] = {}
    for line in window.of(KerberosFields):
        user = account_name(line.fields.user_name).lower()
        if line.fields.activity == "tgs" and user and (line.fields.service_name or "").lower() == f"{user}$":
            asked.setdefault(user, []).append(line)
    for user, lines in asked.items():
        yield this.finding(
            lines,
            confirmed=True,
            scope="identity",
            host=lines[0].host,
            account=user,
            remote=lines[0].fields.src_ip or "",
        )


@legacy_rule(
    "secrets-over-share",
    "T1555.003",
    "credential_access",
    says="A person reads credential stores (Login Data, key4.db, Microsoft\\Protect) over an administrative share. Confirmed.",
    source="ATT&CK T1555.003, T1555.004, T1021.002",
    needs=(ShareFields,),
)
def secrets_over_share(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find credential stores that are read from elsewhere."""
    lines: list[Line] = [
        line
        for line in window.of(ShareFields)
        if is_person_or_service(line.user)
        and (line.fields.share_name or "").endswith("$")
        and _STORES.search(line.fields.file_path or "")
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True, program=REMOTE_WORK)


_STORES = re.compile(
    r"\\(?:login data|key4\.db|logins\.json|cookies)$|\\microsoft\\(?:protect|credentials|vault)\\.", re.IGNORECASE
)


@legacy_rule(
    "traffic-captured",
    "T1040",
    "credential_access",
    says="A command captures traffic (pktmon, netsh trace, tcpdump). Suspicious.",
    source="ATT&CK T1040",
    clues=("capture-started",),
)
def traffic_captured(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that listen on the wire."""
    return told(window, this, "capture-started", sure=False)


@legacy_rule(
    "database-shell",
    "T1505.001",
    "persistence",
    says="xp_cmdshell is switched on. Confirmed when it is called.",
    source="ATT&CK T1505.001; SQL Server event 15457 and SQL Server Audit",
    needs=kinds(ControlChangeFields, "server_setting"),
    clues=("database-shell",),
)
def database_shell(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find database servers that are made to run commands; one finding for each host."""
    opened = [
        line
        for line in window.of(ControlChangeFields)
        if line.fields.activity == "server_setting"
        and line.fields.control_name == "xp_cmdshell"
        and line.fields.new_value == "1"
    ]
    called = window.view(lines_by_meaning).get("database-shell", [])
    called = [line for line in called if "xp_cmdshell" in (getattr(line.fields, "script_text", "") or "").lower()]
    for host in dict.fromkeys(line.host for line in (*opened, *called)):
        lines: list[Line] = [line for line in (*opened, *called) if line.host == host]
        yield this.finding(
            lines,
            confirmed=any(line.host == host for line in called),
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program="sqlservr.exe",
        )


RULES = (
    lsass_dump_command,
    lsass_read_from_memory,
    registry_hive_saved,
    directory_copied,
    credential_file,
    stored_credentials_searched,
    signing_key_read,
    kerberos_guessing,
    failures_on_host,
    ticket_without_preauth,
    machine_name_ticket,
    secrets_over_share,
    traffic_captured,
    database_shell,
)
