"""Rules on stores of credentials: memory of lsass, registry hives, the directory's database, vaults, and the files that dumps leave."""

from __future__ import annotations

import re
from functools import lru_cache

from schema import (
    REMOTE_WORK,
    ControlChangeFields,
    DirectoryFields,
    FileFields,
    KerberosFields,
    LogonFields,
    ObjectAccessFields,
    ProcessAccessFields,
    ScriptFields,
    ShareFields,
    account_name,
)
from verifier.commands import command_program, command_rule, commands_that
from verifier.rules.kit import (
    GUESSING_S,
    MIN_FAILURES,
    VM_READ,
    WEAK_CIPHERS,
    burst_of,
    grouped,
    has_bits,
    number_in_hex,
)
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
    rule,
)

_DUMP_FILES = re.compile(
    r"(?:^|\\)ntds\.dit$|\.kirbi$|\.ccache$|(?:^|\\)[^\\]{0,60}lsass[^\\]{0,60}\.(?:dmp|mdmp)$", re.IGNORECASE
)
_AT_HOME = re.compile(r"\\windows\\ntds\\ntds\.dit$", re.IGNORECASE)
UNKNOWN_NAME = ("0x6", "KDC_ERR_C_PRINCIPAL_UNKNOWN")  # RFC 4120 7.5.9
KERBEROS_FAILED = (*UNKNOWN_NAME, "0x18", "KDC_ERR_PREAUTH_FAILED")
MIN_WEAK = 5  # one person's own account counts once, whatever asks for tickets
MIN_UNGUARDED = 3  # accounts that need no preauthentication
_DKM = re.compile(r"cn=cryptopolicy|cn=adfs,cn=microsoft,cn=program data", re.IGNORECASE)
_STORES = re.compile(
    r"\\(?:login data|key4\.db|logins\.json|cookies)$|\\microsoft\\(?:protect|credentials|vault)\\.", re.IGNORECASE
)


lsass_dump_command = command_rule(
    "lsass-dump-command",
    "T1003.001",
    "credential_access",
    meaning="lsass-dumped",
    confirmed=True,
    summary="A command dumps lsass (comsvcs MiniDump, procdump lsass, sekurlsa::). Confirmed.",
    source="ATT&CK T1003.001; LOLBAS Comsvcs.dll",
)


@rule(
    "lsass-read-from-memory",
    "T1003.001",
    "credential_access",
    on=(ProcessAccessFields, ObjectAccessFields),
    summary=f"lsass.exe is opened for reading ({VM_READ:#x}) by an installed shell or an installed program with UNKNOWN in the call trace; or an object access to it, "
    "not refused, by a shell or a program not installed. Confirmed.",
    source="ATT&CK T1003.001; Microsoft Sysmon event 10; Security 4656/4663 on the process object",
)
def lsass_read_from_memory(
    opens: Lines[ProcessAccessFields], accesses: Lines[ObjectAccessFields], window: Window
) -> Findings:
    lines: list[Line] = [line for line in opens if _is_made_to_read(line)]
    lines += [line for line in accesses if _reads_object(line)]
    return findings_by_host_and_user(lines, confirmed=True)


def _is_made_to_read(line: Line[ProcessAccessFields]) -> bool:
    """Return whether an installed program reads lsass by code in memory or as a shell."""
    fields = line.fields
    if basename(fields.target_path) != "lsass.exe" or not has_bits(fields.access_mask, VM_READ):
        return False
    odd = "UNKNOWN" in (fields.call_trace or "") or basename(fields.process_path) in SHELLS
    return odd and is_installed(fields.process_path)


def _reads_object(line: Line[ObjectAccessFields]) -> bool:
    fields = line.fields
    return (
        basename(fields.object_name) == "lsass.exe"
        and fields.outcome != "failure"
        and has_bits(fields.access_mask, VM_READ)
        and (basename(fields.process_path) in SHELLS or not is_installed(fields.process_path))
    )


registry_hive_saved = command_rule(
    "registry-hive-saved",
    "T1003.002",
    "credential_access",
    meaning="hive-saved",
    confirmed=True,
    summary="A command saves the SAM, SECURITY or SYSTEM hive. Confirmed.",
    source="ATT&CK T1003.002, T1003.004",
)


@rule(
    "directory-copied",
    "T1003.003",
    "credential_access",
    on=(commands_that("directory-copied"), commands_that("shadow-made")),
    summary="ntds.dit is copied (ntdsutil IFM, esentutl, from a shadow copy): confirmed, harm done. Only a shadow copy made: suspicious.",
    source="ATT&CK T1003.003; Microsoft ntdsutil ifm",
)
def directory_copied(copies: Lines, shadows: Lines, window: Window) -> Findings:
    if copies:
        return findings_by_host_and_user(copies, confirmed=True, program=command_program, impact=True)
    return findings_by_host_and_user(shadows, confirmed=False, program=command_program)


@rule(
    "credential-file",
    "T1003",
    "credential_access",
    on=((FileFields, "create", "modify"),),
    summary="Written: ntds.dit outside \\Windows\\NTDS\\, a .dmp or .mdmp with lsass in its name, .kirbi, .ccache, or a .log or .txt by lsass.exe outside \\debug\\. Confirmed.",
    source="ATT&CK T1003.003, T1003.001, T1558, T1547.005: the files that these techniques leave",
)
def credential_file(writes: Lines[FileFields], window: Window) -> Findings:
    lines = [line for line in writes if _is_dump(line.fields.file_path or "") or _is_package_log(line)]
    return findings_by_host_and_user(lines, confirmed=True)


@lru_cache(maxsize=16_384)
def _is_dump(path: str) -> bool:
    return bool(_DUMP_FILES.search(path)) and not _AT_HOME.search(path)


def _is_package_log(line: Line[FileFields]) -> bool:
    """Return whether lsass.exe writes what a security package that notes passwords writes."""
    if basename(line.fields.process_path) != "lsass.exe":
        return False
    path = (line.fields.file_path or "").lower()
    return path.endswith((".log", ".txt")) and "\\debug\\" not in path


stored_credentials_searched = command_rule(
    "stored-credentials-searched",
    "T1555",
    "credential_access",
    meaning="stored-credentials",
    confirmed=False,
    summary="A command lists or asks for stored credentials (cmdkey /list, vaultcmd, key=clear, findstr password). Suspicious.",
    source="ATT&CK T1555.004, T1552.001, T1552.006",
)


@rule(
    "signing-key-read",
    "T1552.004",
    "credential_access",
    on=((DirectoryFields, "access"), ScriptFields),
    summary="A person reads the federation service's key container (CN=CryptoPolicy or CN=ADFS,CN=Microsoft,CN=Program Data): confirmed; "
    "its database by a script (IdentityServerPolicy.): suspicious.",
    source="ATT&CK T1552.004, T1606.002; Microsoft AD FS DKM container",
)
def signing_key_read(accesses: Lines[DirectoryFields], scripts: Lines[ScriptFields], window: Window) -> Findings:
    reads = [line for line in accesses if is_person_or_service(line.user) and _names_keys(line.fields)]
    queries = [
        line
        for line in scripts
        if is_person_or_service(line.user) and "identityserverpolicy." in (line.fields.script_text or "").lower()
    ]
    return [
        *findings_by_host_and_user(reads, confirmed=True, scope="identity", program=""),
        *findings_by_host_and_user(queries, confirmed=False, program=command_program),
    ]


def _names_keys(fields: DirectoryFields) -> bool:
    return any(_DKM.search(text or "") for text in (fields.object_dn, fields.properties))


@rule(
    "kerberos-guessing",
    "T1110.003",
    "credential_access",
    on=((KerberosFields, "tgt", "preauth_failure"),),
    at_least=MIN_FAILURES,
    probing=True,
    summary=f"{MIN_FAILURES} or more Kerberos requests from one address fail within {GUESSING_S} s ({', '.join(KERBEROS_FAILED)}). Confirmed from an external address, or for {MIN_FAILURES} different names that do not exist ({UNKNOWN_NAME[0]}).",
    source="ATT&CK T1110.003, T1087.002; RFC 4120 error codes 0x6, 0x18",
)
def kerberos_guessing(requests: Lines[KerberosFields], window: Window) -> Findings:
    failures = [line for line in requests if line.fields.status in KERBEROS_FAILED]
    for source, lines in grouped(failures, lambda line: line.fields.src_ip or None).items():
        burst = burst_of(window, lines, MIN_FAILURES, GUESSING_S)
        if burst:
            external = window.is_external(source)
            unknown = {_ticket_owner(line) for line in burst if line.fields.status in UNKNOWN_NAME}
            yield finding(
                burst,
                confirmed=external or len(unknown) >= window.limits.at_least(MIN_FAILURES),
                scope="network" if external else "identity",
                host=burst[0].host,
                remote=source,
            )


@rule(
    "failures-on-host",
    "T1110",
    "credential_access",
    on=((LogonFields, "failure"),),
    at_least=MIN_FAILURES,
    summary=f"{MIN_FAILURES} or more failed sign-ins on a host within {GUESSING_S} s, each without address or account. Confirmed if one is from outside.",
    source="ATT&CK T1110; Security 4625 of services that pass no address on",
)
def failures_on_host(failures: Lines[LogonFields], window: Window) -> Findings:
    for host, lines in grouped(failures, _host_of_nameless).items():
        burst = burst_of(window, lines, MIN_FAILURES, GUESSING_S)
        if burst:
            outside = next((ip for line in burst if (ip := line.fields.src_ip) and window.is_external(ip)), "")
            yield finding(
                burst,
                confirmed=bool(outside),
                scope="network" if outside else "identity",
                host=host,
                remote=outside,
            )


def _host_of_nameless(line: Line[LogonFields]) -> str | None:
    is_named = line.fields.src_ip and account_name(line.fields.user_name)
    return None if is_named else line.host or line.fields.target_hostname or None


@rule(
    "ticket-without-preauth",
    "T1558.004",
    "credential_access",
    on=((KerberosFields, "tgt"),),
    summary=f"From one address a person gets (0x0) a ticket without preauthentication (type 0) with RC4 ({', '.join(f'{cipher:#x}' for cipher in WEAK_CIPHERS)}): confirmed; "
    f"or {MIN_UNGUARDED} persons get one with whatever cipher: suspicious. So is, where a sensor of the network tells neither preauthentication nor host, that {MIN_WEAK} persons get one with RC4 from one address within {GUESSING_S} s.",
    source="ATT&CK T1558.004: AS-REP roasting; Security 4768",
)
def ticket_without_preauth(tickets: Lines[KerberosFields], window: Window) -> Findings:
    for source, lines in grouped(tickets, _source_without_preauth).items():
        weak = any(number_in_hex(line.fields.ticket_encryption) in WEAK_CIPHERS for line in lines)
        if not weak and len(set(map(_ticket_owner, lines))) < window.limits.at_least(MIN_UNGUARDED):
            continue  # an account that is set so, and a cipher that nobody guesses offline in time
        yield finding(
            lines,
            confirmed=weak,
            scope="identity",
            host=lines[0].host,
            accounts=map(_ticket_owner, lines),
            remote=source,
        )
    for source, lines in grouped(tickets, _weak_at_sensor).items():
        burst = burst_of(window, lines, MIN_WEAK, GUESSING_S, different=_ticket_owner)
        if burst:
            yield finding(
                burst,
                confirmed=False,
                scope="identity",
                host="",
                accounts=map(_ticket_owner, burst),
                remote=source,
            )


def _weak_at_sensor(line: Line[KerberosFields]) -> str | None:
    """Return the address to which a person's ticket in a weak cipher goes, where a sensor of the network does not see how it was asked for."""
    fields = line.fields
    untold = fields.preauth_type is None and not line.host and not line.user and fields.status == "0x0"
    weak = number_in_hex(fields.ticket_encryption) in WEAK_CIPHERS
    return fields.src_ip if untold and weak and is_person_or_service(_ticket_owner(line)) else None


def _ticket_owner(line: Line[KerberosFields]) -> str:
    return account_name(line.fields.user_name)


def _source_without_preauth(line: Line[KerberosFields]) -> str | None:
    fields = line.fields
    granted = fields.preauth_type == 0 and fields.status == "0x0"
    return (fields.src_ip or "") if granted and is_person_or_service(account_name(fields.user_name)) else None


@rule(
    "machine-name-ticket",
    "T1558",
    "credential_access",
    on=((KerberosFields, "tgs"),),
    summary="An account without $ gets a ticket to the machine of its name (dc1, DC1$). Confirmed.",
    source="ATT&CK T1558, T1068; Microsoft KB5008102 and KB5008380 (CVE-2021-42278, -42287)",
)
def machine_name_ticket(tickets: Lines[KerberosFields], window: Window) -> Findings:
    for user, lines in grouped(tickets, _machine_asked_by_its_name).items():
        yield finding(
            lines,
            confirmed=True,
            scope="identity",
            host=lines[0].host,
            account=user,
            remote=lines[0].fields.src_ip or "",
        )


def _machine_asked_by_its_name(line: Line[KerberosFields]) -> str | None:
    user = account_name(line.fields.user_name).lower()
    return user if user and (line.fields.service_name or "").lower() == f"{user}$" else None


@rule(
    "secrets-over-share",
    "T1555.003",
    "credential_access",
    on=(ShareFields,),
    summary="A person reads credential stores (Login Data, key4.db, logins.json, Cookies, below Microsoft\\Protect, Credentials or Vault) over an administrative share ($). Confirmed.",
    source="ATT&CK T1555.003, T1555.004, T1021.002",
)
def secrets_over_share(accesses: Lines[ShareFields], window: Window) -> Findings:
    lines = [
        line
        for line in accesses
        if is_person_or_service(line.user)
        and (line.fields.share_name or "").endswith("$")
        and _STORES.search(line.fields.file_path or "")
    ]
    return findings_by_host_and_user(lines, confirmed=True, program=REMOTE_WORK)


traffic_captured = command_rule(
    "traffic-captured",
    "T1040",
    "credential_access",
    meaning="capture-started",
    confirmed=False,
    summary="A command captures traffic (pktmon, netsh trace, tcpdump). Suspicious.",
    source="ATT&CK T1040",
)


@rule(
    "database-shell",
    "T1505.001",
    "persistence",
    on=((ControlChangeFields, "server_setting"), commands_that("database-shell")),
    summary="xp_cmdshell is switched on (1). Confirmed when it is called.",
    source="ATT&CK T1505.001; SQL Server event 15457 and SQL Server Audit",
)
def database_shell(settings: Lines[ControlChangeFields], commands: Lines, window: Window) -> Findings:
    calls = [line for line in commands if "xp_cmdshell" in (getattr(line.fields, "script_text", "") or "").lower()]
    switches = [line for line in settings if (line.fields.control_name, line.fields.new_value) == ("xp_cmdshell", "1")]
    for host, lines in grouped([*switches, *calls], lambda line: line.host).items():
        yield finding(
            lines,
            confirmed=any(line.host == host for line in calls),
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
