"""Rules on credentials, accounts and sign-ins (ATT&CK Credential Access, Persistence by accounts, Lateral Movement)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    AccountFields,
    DirectoryFields,
    FileFields,
    GroupFields,
    KerberosFields,
    LogonFields,
    ProcessAccessFields,
    account_name,
)
from verifier.rules.kit import (
    GROUP_WORK,
    GUESSING_S,
    LOGON_WORK,
    MIN_FAILURES,
    MIN_SPREAD_HOSTS,
    PRIVILEGED_GROUPS,
    REPLICATION_WORK,
    VM_READ,
    WEAK_CIPHERS,
    Legacy,
    legacy_rule,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    crowded,
    is_installed,
    is_person_or_service,
    is_user_writable,
    kinds,
)

MIN_SPRAYED_ACCOUNTS = 5
MIN_SERVICES = 5  # distinct services whose tickets one account asks for in the weak cipher
TICKETS_S = 600
SPREAD_S = 600
NEW_ADMIN_S = 3600
REMOTE_LOGON_TYPES = (3, 10)
# Control access rights of directory replication (MS-ADTS 5.1.3.2.1), by GUID and by name.
REPLICATION_RIGHTS = (
    "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2",
    "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2",
    "89e95b76-444d-4c62-991a-0facbeda640c",
    "ds-replication-get-changes",
)


@legacy_rule(
    "lsass-memory-read",
    "T1003.001",
    "credential_access",
    says=f"A program not installed opens lsass.exe for reading (access mask bit {VM_READ:#x}). Confirmed: it is user-writable or writes a .dmp file on that host.",
    source="ATT&CK T1003.001: credentials read from the memory of the local security authority",
    needs=(ProcessAccessFields,),
)
def lsass_memory_read(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that read the memory of lsass; one finding for each host, program and user."""
    acts: dict[tuple[str, str, str], list[Line[ProcessAccessFields]]] = {}
    for line in window.of(ProcessAccessFields):
        source = (line.fields.process_path or "").lower()
        reads = int(line.fields.access_mask or "0x0", 16) & VM_READ
        if source and reads and basename(line.fields.target_path) == "lsass.exe" and not is_installed(source):
            acts.setdefault((line.host, source, line.user), []).append(line)
    for (host, source, user), lines in acts.items():
        dumps = [
            file
            for file in window.of(FileFields)
            if file.fields.activity == "create"
            and file.host == host
            and (file.fields.process_path or "").lower() == source
            and (file.fields.file_path or "").lower().endswith(".dmp")
        ]
        yield this.finding(
            [*lines, *dumps],
            confirmed=bool(dumps) or is_user_writable(source),
            scope="host",
            host=host,
            account=user,
            program=source,
        )


@legacy_rule(
    "password-guessing",
    "T1110.001",
    "credential_access",
    says=f"At least {MIN_FAILURES} failed sign-ins to one account from one address within {GUESSING_S} s. "
    f"Confirmed when the address is external, or when a success from it to that account follows the {MIN_FAILURES}th failure.",
    source="ATT&CK T1110.001: passwords tried against one account",
    needs=kinds(LogonFields, "failure"),
    least=MIN_FAILURES,
    probing=True,
)
def password_guessing(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find bursts of failures against one account from one address."""
    failures: dict[tuple[str, str], list[Line[LogonFields]]] = {}
    for line in window.of(LogonFields):
        account = account_name(line.fields.user_name)
        if line.fields.activity == "failure" and line.fields.src_ip and account:
            failures.setdefault((line.fields.src_ip, account), []).append(line)
    least = window.limits.at_least(MIN_FAILURES)
    for (source, account), lines in failures.items():
        burst = crowded(lines, window.limits.within(GUESSING_S), least, _log_id)
        if not burst:
            continue
        entered = [
            line
            for line in window.of(LogonFields)
            if line.fields.activity == "success"
            and line.fields.src_ip == source
            and account_name(line.fields.user_name) == account
            and line.time_s >= burst[least - 1].time_s
        ]
        external = window.is_external(source)
        yield this.finding(
            [*burst, *entered],
            confirmed=external or bool(entered),
            scope="network" if external else "identity",
            host=burst[0].host,
            hosts=[line.host for line in (*burst, *entered)],
            account=account,
            remote=source,
        )


def _log_id(line: Line) -> str:
    return line.log_id


@legacy_rule(
    "password-spraying",
    "T1110.003",
    "credential_access",
    says=f"Failed sign-ins to at least {MIN_SPRAYED_ACCOUNTS} different accounts from one address within {GUESSING_S} s. "
    "Confirmed when the address is external, or when a success from it follows the first of them.",
    source="ATT&CK T1110.003: one password tried against many accounts",
    needs=kinds(LogonFields, "failure"),
    least=MIN_SPRAYED_ACCOUNTS,
    probing=True,
)
def password_spraying(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find addresses that fail against many accounts."""
    failures: dict[str, list[Line[LogonFields]]] = {}
    for line in window.of(LogonFields):
        if line.fields.activity == "failure" and line.fields.src_ip and account_name(line.fields.user_name):
            failures.setdefault(line.fields.src_ip, []).append(line)
    least = window.limits.at_least(MIN_SPRAYED_ACCOUNTS)
    for source, lines in failures.items():
        burst = crowded(
            lines, window.limits.within(GUESSING_S), least, lambda line: account_name(line.fields.user_name)
        )
        if not burst:
            continue
        entered = [
            line
            for line in window.of(LogonFields)
            if line.fields.activity == "success" and line.fields.src_ip == source and line.time_s >= burst[0].time_s
        ]
        external = window.is_external(source)
        yield this.finding(
            [*burst, *entered],
            confirmed=external or bool(entered),
            scope="network" if external else "identity",
            host=burst[0].host,
            hosts=[line.host for line in (*burst, *entered)],
            accounts=[account_name(line.fields.user_name) for line in entered],
            remote=source,
        )


@legacy_rule(
    "kerberoasting",
    "T1558.003",
    "credential_access",
    says=f"One account asks for service tickets in the RC4 cipher ({', '.join(map(hex, WEAK_CIPHERS))}) for at least {MIN_SERVICES} different services within {TICKETS_S} s; "
    "machine accounts and krbtgt do not count. Confirmed.",
    source="ATT&CK T1558.003: service tickets collected to crack their passwords",
    needs=kinds(KerberosFields, "tgs"),
    least=MIN_SERVICES,
)
def kerberoasting(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts that collect weak service tickets."""
    asked: dict[str, list[Line[KerberosFields]]] = {}
    for line in window.of(KerberosFields):
        service = line.fields.service_name or ""
        weak = int(line.fields.ticket_encryption or "0x0", 16) in WEAK_CIPHERS
        account = account_name(line.fields.user_name)
        counts = account and service and not service.endswith("$") and service.lower() != "krbtgt"
        if line.fields.activity == "tgs" and weak and counts:
            asked.setdefault(account, []).append(line)
    least = window.limits.at_least(MIN_SERVICES)
    for account, lines in asked.items():
        near = crowded(lines, window.limits.within(TICKETS_S), least, lambda line: line.fields.service_name)
        if near:
            yield this.finding(
                near,
                confirmed=True,
                scope="identity",
                host=near[0].host,
                hosts=[line.host for line in near],
                account=account,
                remote=near[0].fields.src_ip or "",
            )


@legacy_rule(
    "directory-replication",
    "T1003.006",
    "credential_access",
    says="A person or service uses a right to replicate the directory "
    f"(properties: {', '.join(REPLICATION_RIGHTS)}). Confirmed, harm done.",
    source="ATT&CK T1003.006; MS-ADTS 5.1.3.2.1 names the rights",
    needs=kinds(DirectoryFields, "access", "replication"),
)
def directory_replication(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find replication rights used by what is no domain controller."""
    acts: dict[str, list[Line[DirectoryFields]]] = {}
    for line in window.of(DirectoryFields):
        rights = (line.fields.properties or "").lower()
        if (
            line.fields.activity in ("access", "replication")
            and is_person_or_service(line.user)
            and any(right in rights for right in REPLICATION_RIGHTS)
        ):
            acts.setdefault(line.user, []).append(line)
    for account, lines in acts.items():
        yield this.finding(
            lines,
            confirmed=True,
            scope="identity",
            host=lines[0].host,
            hosts=[line.host for line in lines],
            account=account,
            program=REPLICATION_WORK,
            impact=True,
        )


_JOINS = re.compile(r"^S-1-5-21-[\d-]+-512$")  # the domain's administrators (MS-DTYP 2.4.2.4)


@legacy_rule(
    "new-privileged-account",
    "T1136",
    "persistence",
    says=f"A member other than Domain Admins by their id (-512) is added to a privileged group ({', '.join(PRIVILEGED_GROUPS)}), not by a machine. "
    f"Confirmed: the same actor made that account in the {NEW_ADMIN_S} s before.",
    source="ATT&CK T1136, T1098.007: an account made and given rights to come back with",
    needs=kinds(GroupFields, "member_add", "policy_attach"),
)
def new_privileged_account(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find members of privileged groups that came in this window."""
    for line in window.of(GroupFields):
        if (
            line.fields.activity not in ("member_add", "policy_attach")
            or account_name(line.fields.group_name).lower() not in PRIVILEGED_GROUPS
            or line.user.endswith("$")  # the machine itself, at set-up
            or _JOINS.search(line.fields.user_name or "")
        ):
            continue
        member = account_name(line.fields.user_name)
        made = [
            account
            for account in window.of(AccountFields)
            if account.fields.activity == "create"
            and member
            and line.user
            and account_name(account.fields.user_name) == member
            and account.user == line.user
            and 0 <= line.time_s - account.time_s <= window.limits.within(NEW_ADMIN_S)
        ]
        yield this.finding(
            [*made, line], confirmed=bool(made), scope="identity", host=line.host, account=line.user, program=GROUP_WORK
        )


@legacy_rule(
    "account-spread",
    "T1021",
    "lateral_movement",
    says=f"One account (not a machine's) signs in from one internal address to at least {MIN_SPREAD_HOSTS} different hosts (types "
    f"{' and '.join(map(str, REMOTE_LOGON_TYPES))}) within {SPREAD_S} s. Confirmed.",
    source="ATT&CK T1021: valid accounts used to move from host to host",
    needs=kinds(LogonFields, "success"),
    least=MIN_SPREAD_HOSTS,
    probing=True,
)
def account_spread(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts that fan out over hosts."""
    moves: dict[tuple[str, str], list[Line[LogonFields]]] = {}
    for line in window.of(LogonFields):
        user = account_name(line.fields.user_name)
        if (
            line.fields.activity == "success"
            and line.fields.logon_type in REMOTE_LOGON_TYPES
            and line.host
            and line.fields.src_ip
            and is_person_or_service(user)
            and not window.is_external(line.fields.src_ip)
        ):
            moves.setdefault((user, line.fields.src_ip), []).append(line)
    least = window.limits.at_least(MIN_SPREAD_HOSTS)
    for (user, source), lines in moves.items():
        burst = crowded(lines, window.limits.within(SPREAD_S), least, lambda line: line.host)
        if burst:
            yield this.finding(
                burst,
                confirmed=True,
                scope="identity",
                host=burst[0].host,
                hosts=[line.host for line in burst],
                account=user,
                program=LOGON_WORK,
                remote=source,
            )


RULES = (
    lsass_memory_read,
    password_guessing,
    password_spraying,
    kerberoasting,
    directory_replication,
    new_privileged_account,
    account_spread,
)
