"""Rules on credentials, accounts and sign-ins (ATT&CK Credential Access, Persistence by accounts, Lateral Movement)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    GROUP_WORK,
    LOGON_WORK,
    REPLICATION_RIGHTS,
    REPLICATION_WORK,
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
    GUESSING_S,
    MIN_FAILURES,
    MIN_SPREAD_HOSTS,
    PRIVILEGED_GROUPS,
    VM_READ,
    WEAK_CIPHERS,
    burst_of,
    follows,
    grouped,
    has_bits,
    number_in_hex,
    program_path,
)
from verifier.window import (
    Finding,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    finding,
    is_installed,
    is_person_or_service,
    is_user_writable,
    rule,
)

MIN_SPRAYED_ACCOUNTS = 5
MIN_SERVICES = 5  # distinct services whose tickets one account asks for in the weak cipher
TICKETS_S = 600
SPREAD_S = 600
NEW_ADMIN_S = 3600
REMOTE_LOGON_TYPES = (3, 10)
_CONTROLLER_CALLS = ("DRSReplicaSync", "DRSUpdateRefs", "DRSReplicaAdd")  # a domain controller's upkeep of replication
_LOOKUP_CALLS = ("DRSCrackNames", "DRSDomainControllerInfo")  # tools ask these for the account that they want
MIN_SWEPT = 10  # different hosts; a person opens few sessions in five minutes
SWEEP_S = 300
MIN_KNOCKS = 25  # sessions of remote desktop with one host; a person or a check of its health opens a few
# NTSTATUS: the password has expired or must be changed, this kind of sign-in is not granted, the clocks differ.
NO_WRONG_PASSWORD = ("0xc0000071", "0xc0000224", "0xc000015b", "0xc0000133")
_DOMAIN_ADMINS = re.compile(r"^S-1-5-21-[\d-]+-512$")  # MS-DTYP 2.4.2.4


@rule(
    "lsass-memory-read",
    "T1003.001",
    "credential_access",
    on=(ProcessAccessFields,),
    summary=f"A program not installed opens lsass.exe for reading (access mask bit {VM_READ:#x}). Confirmed: it is user-writable or writes a .dmp file on that host.",
    source="ATT&CK T1003.001: credentials read from the memory of the local security authority",
)
def lsass_memory_read(opens: Lines[ProcessAccessFields], window: Window) -> Findings:
    for (host, source, user), lines in grouped(opens, _reader_of_lsass).items():
        dumps = [
            file
            for file in window.of(FileFields, "create")
            if (file.host, program_path(file)) == (host, source)
            and (file.fields.file_path or "").lower().endswith(".dmp")
        ]
        confirmed = bool(dumps) or is_user_writable(source)
        yield finding([*lines, *dumps], confirmed=confirmed, host=host, account=user, program=source)


def _reader_of_lsass(line: Line[ProcessAccessFields]) -> tuple[str, str, str] | None:
    source = program_path(line)
    reads = basename(line.fields.target_path) == "lsass.exe" and has_bits(line.fields.access_mask, VM_READ)
    return (line.host, source, line.user) if source and reads and not is_installed(source) else None


@rule(
    "password-guessing",
    "T1110.001",
    "credential_access",
    on=((LogonFields, "failure"),),
    at_least=MIN_FAILURES,
    probing=True,
    summary=f"At least {MIN_FAILURES} failed sign-ins to one account from one address within {GUESSING_S} s, but for the statuses {', '.join(NO_WRONG_PASSWORD)}. "
    f"Confirmed when the address is external, or when a success from it to that account follows the {MIN_FAILURES}th failure.",
    source="ATT&CK T1110.001: passwords tried against one account; MS-ERREF 2.3.1 names the statuses",
)
def password_guessing(failures: Lines[LogonFields], window: Window) -> Findings:
    for (source, account), lines in grouped(filter(_is_guess, failures), _source_and_account).items():
        burst = burst_of(window, lines, MIN_FAILURES, GUESSING_S)
        if burst:
            enough = burst[window.limits.at_least(MIN_FAILURES) - 1].time_s
            entered = [
                line
                for line in window.of(LogonFields, "success")
                if _source_and_account(line) == (source, account) and line.time_s >= enough
            ]
            yield _guesses(window, source, burst, entered, account=account)


@rule(
    "password-spraying",
    "T1110.003",
    "credential_access",
    on=((LogonFields, "failure"),),
    at_least=MIN_SPRAYED_ACCOUNTS,
    probing=True,
    summary=f"Failed sign-ins to at least {MIN_SPRAYED_ACCOUNTS} different accounts from one address within {GUESSING_S} s, but for the statuses {', '.join(NO_WRONG_PASSWORD)}. "
    "Confirmed when the address is external, or when a success from it follows the first of them.",
    source="ATT&CK T1110.003: one password tried against many accounts",
)
def password_spraying(failures: Lines[LogonFields], window: Window) -> Findings:
    named = [line for line in failures if _is_guess(line) and _source_and_account(line)]
    for source, lines in grouped(named, lambda line: line.fields.src_ip).items():
        burst = burst_of(window, lines, MIN_SPRAYED_ACCOUNTS, GUESSING_S, different=_account)
        if burst:
            successes = window.of(LogonFields, "success")
            since = burst[0].time_s
            entered = [line for line in successes if line.fields.src_ip == source and line.time_s >= since]
            yield _guesses(window, source, burst, entered, accounts=map(_account, entered))


def _is_guess(line: Line[LogonFields]) -> bool:
    """Return whether a failed sign-in may have failed by its password."""
    return (line.fields.status or "").lower() not in NO_WRONG_PASSWORD


def _account(line: Line[LogonFields]) -> str:
    return account_name(line.fields.user_name)


def _source_and_account(line: Line[LogonFields]) -> tuple[str, str] | None:
    source, account = line.fields.src_ip, _account(line)
    return (source, account) if source and account else None


def _guesses(
    window: Window,
    source: str,
    burst: Lines[LogonFields],
    entered: Lines[LogonFields],
    *,
    account: str = "",
    accounts: Iterable[str] = (),
) -> Finding:
    """Make the finding on guesses from one address and the sign-ins that they led to."""
    external = window.is_external(source)
    return finding(
        [*burst, *entered],
        confirmed=external or bool(entered),
        scope="network" if external else "identity",
        host=burst[0].host,
        hosts=[line.host for line in (*burst, *entered)],
        account=account,
        accounts=accounts,
        remote=source,
    )


@rule(
    "kerberoasting",
    "T1558.003",
    "credential_access",
    on=((KerberosFields, "tgs"),),
    at_least=MIN_SERVICES,
    summary=f"One account asks for service tickets in the RC4 cipher ({', '.join(map(hex, WEAK_CIPHERS))}) for at least {MIN_SERVICES} different services within {TICKETS_S} s; "
    "machine accounts and krbtgt do not count. Confirmed.",
    source="ATT&CK T1558.003: service tickets collected to crack their passwords",
)
def kerberoasting(tickets: Lines[KerberosFields], window: Window) -> Findings:
    for account, lines in grouped(tickets, _asker_of_weak_ticket).items():
        burst = burst_of(window, lines, MIN_SERVICES, TICKETS_S, different=lambda line: line.fields.service_name)
        if burst:
            yield finding(
                burst,
                confirmed=True,
                scope="identity",
                host=burst[0].host,
                hosts=[line.host for line in burst],
                account=account,
                remote=burst[0].fields.src_ip or "",
            )


def _asker_of_weak_ticket(line: Line[KerberosFields]) -> str | None:
    service = line.fields.service_name or ""
    weak = number_in_hex(line.fields.ticket_encryption) in WEAK_CIPHERS
    counts = weak and service and not service.endswith("$") and service.lower() != "krbtgt"
    return account_name(line.fields.user_name) or None if counts else None


@rule(
    "directory-replication",
    "T1003.006",
    "credential_access",
    on=((DirectoryFields, "access", "replication"), (DirectoryFields, "rpc")),
    summary="A person or service uses a right to replicate the directory "
    f"(properties: {', '.join(REPLICATION_RIGHTS)}); not the account of Entra Connect's synchronisation (MSOL_ and 12 hexadecimal digits), unless it signs in "
    "from an external address or by NTLM. Confirmed, harm done. "
    f"Or a sensor of the network, which names no account, sees DRSGetNCChanges from an address that is no domain controller's: nobody replicates from it, "
    f"and it makes none of {', '.join(_CONTROLLER_CALLS)} (rpc_operation). Suspicious. Confirmed: it also asks {' or '.join(_LOOKUP_CALLS)}.",
    source='ATT&CK T1003.006; MS-DRSR 4.1; MS-ADTS 5.1.3.2.1 names the rights; Microsoft, "Microsoft Entra Connect: Accounts and permissions"',
)
def directory_replication(accesses: Lines[DirectoryFields], calls: Lines[DirectoryFields], window: Window) -> Findings:
    for account, lines in grouped(accesses, _replicator).items():
        if _SYNC_ACCOUNT.match(account) and not _signs_in_oddly(account, window):
            continue
        yield finding(
            lines,
            confirmed=True,
            scope="identity",
            host=lines[0].host,
            hosts=[line.host for line in lines],
            account=account,
            program=REPLICATION_WORK,
            impact=True,
        )
    for source, lines in grouped(accesses, lambda line: _replicating_address(line, accesses)).items():
        asked = {line.fields.rpc_operation for line in calls if line.fields.src_ip == source}
        if asked.isdisjoint(_CONTROLLER_CALLS):
            yield finding(
                lines,
                confirmed=not asked.isdisjoint(_LOOKUP_CALLS),
                scope="identity",
                host="",
                program=REPLICATION_WORK,
                remote=source,
            )


def _replicating_address(line: Line[DirectoryFields], accesses: Lines[DirectoryFields]) -> str | None:
    """Return the address that a nameless caller replicates to, where nobody replicates from it."""
    source, is_call = line.fields.src_ip, line.fields.rpc_operation == "DRSGetNCChanges"
    if not is_call or not source or line.user or line.host:
        return None
    answers = any(other.fields.dst_ip == source and other.fields.rpc_operation for other in accesses)
    return None if answers else source


_SYNC_ACCOUNT = re.compile(r"msol_[0-9a-f]{12}$", re.IGNORECASE)


def _signs_in_oddly(account: str, window: Window) -> bool:
    """Return whether an account signs in from an external address or by NTLM."""
    return any(
        account_name(line.fields.user_name) == account
        and (window.is_external(line.fields.src_ip) or (line.fields.auth_protocol or "").upper().startswith("NTLM"))
        for line in window.of(LogonFields, "success")
    )


def _replicator(line: Line[DirectoryFields]) -> str | None:
    rights = (line.fields.properties or "").lower()
    return (
        line.user if is_person_or_service(line.user) and any(right in rights for right in REPLICATION_RIGHTS) else None
    )


@rule(
    "new-privileged-account",
    "T1136",
    "persistence",
    on=((GroupFields, "member_add", "policy_attach"),),
    summary=f"A member other than Domain Admins by their id (-512) is added to a privileged group ({', '.join(PRIVILEGED_GROUPS)}), not by a machine. "
    f"Confirmed: the same actor made that account in the {NEW_ADMIN_S} s before.",
    source="ATT&CK T1136, T1098.007: an account made and given rights to come back with",
)
def new_privileged_account(additions: Lines[GroupFields], window: Window) -> Findings:
    for line in additions:
        privileged = account_name(line.fields.group_name).lower() in PRIVILEGED_GROUPS
        by_machine = line.user.endswith("$")  # the machine itself, at set-up
        if privileged and not by_machine and not _DOMAIN_ADMINS.search(line.fields.user_name or ""):
            member = account_name(line.fields.user_name)
            creations = [
                account
                for account in window.of(AccountFields, "create")
                if member
                and line.user
                and (account_name(account.fields.user_name), account.user) == (member, line.user)
                and follows(window, line, account, NEW_ADMIN_S)
            ]
            yield finding(
                [*creations, line],
                confirmed=bool(creations),
                scope="identity",
                host=line.host,
                account=line.user,
                program=GROUP_WORK,
            )


@rule(
    "account-spread",
    "T1021",
    "lateral_movement",
    on=((LogonFields, "success"),),
    at_least=MIN_SPREAD_HOSTS,
    probing=True,
    summary=f"One account (not a machine's) signs in from one internal address to at least {MIN_SPREAD_HOSTS} different hosts (types "
    f"{' and '.join(map(str, REMOTE_LOGON_TYPES))}) within {SPREAD_S} s. Confirmed.",
    source="ATT&CK T1021: valid accounts used to move from host to host",
)
def account_spread(successes: Lines[LogonFields], window: Window) -> Findings:
    moves = [
        line
        for line in successes
        if line.fields.logon_type in REMOTE_LOGON_TYPES
        and line.host
        and is_person_or_service(_account(line))
        and not window.is_external(line.fields.src_ip)
    ]
    for (source, user), lines in grouped(moves, _source_and_account).items():
        burst = burst_of(window, lines, MIN_SPREAD_HOSTS, SPREAD_S, different=lambda line: line.host)
        if burst:
            yield finding(
                burst,
                confirmed=True,
                scope="identity",
                host=burst[0].host,
                hosts=[line.host for line in burst],
                account=user,
                program=LOGON_WORK,
                remote=source,
            )


@rule(
    "sign-in-sweep",
    "T1046",
    "discovery",
    on=((LogonFields, "rdp_session", "ssh_session", "ntlm", "failure"),),
    at_least=MIN_SWEPT,
    probing=True,
    summary=f"One address opens sessions of remote desktop or SSH, or signs in by NTLM, to at least {MIN_SWEPT} different hosts within {SWEEP_S} s, or opens {MIN_KNOCKS} sessions of remote desktop (rdp_session) with one host; "
    "sessions that are known to be let in (status success) do not count with one host, nor by SSH (ssh_session), by which automation works. Confirmed when the address is external, else suspicious.",
    source="ATT&CK T1046, T1021.001, T1021.004, T1110.003: one source tries the same door on many hosts, or one door without end",
)
def sign_in_sweep(sessions: Lines[LogonFields], window: Window) -> Findings:
    tried = [
        line for line in sessions if _target(line) and not (line.fields.activity == "ssh_session" and _is_let_in(line))
    ]
    for source, lines in grouped(tried, lambda line: line.fields.src_ip or None).items():
        burst = burst_of(window, lines, MIN_SWEPT, SWEEP_S, different=_target)
        knocks = [line for line in lines if line.fields.activity == "rdp_session" and not _is_let_in(line)]
        for same in [burst] if burst else grouped(knocks, _target).values():
            many = burst or burst_of(window, same, MIN_KNOCKS, SWEEP_S)
            if many:
                yield _sweep(window, source, many)


def _sweep(window: Window, source: str, burst: Lines[LogonFields]) -> Finding:
    external = window.is_external(source)
    return finding(
        burst,
        confirmed=external,
        scope="network" if external else "identity",
        host=burst[0].host,
        hosts=[_target(line) for line in burst],
        remote=source,
    )


def _is_let_in(line: Line[LogonFields]) -> bool:
    return (line.fields.status or "").lower() == "success"


def _target(line: Line[LogonFields]) -> str:
    return line.fields.target_hostname or line.host


RULES = (
    lsass_memory_read,
    password_guessing,
    password_spraying,
    kerberoasting,
    directory_replication,
    new_privileged_account,
    account_spread,
    sign_in_sweep,
)
