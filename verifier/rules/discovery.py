"""Rules on looking around: shares, administrators, hosts (ATT&CK Discovery)."""

from __future__ import annotations

import re

from schema import (
    DirectoryFields,
    KerberosFields,
    NetConnFields,
    ProcessFields,
    account_name,
)
from verifier.commands import POWERSHELL, command_rule, commands_that, launches_of
from verifier.rules.kit import CHAIN_S, SERVER_PROGRAMS, burst_of, follows, grouped, host_and_user
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
    one_program,
    rule,
    stems,
)

MIN_LOOKS = 4  # two or three are an ordinary morning
LOOK_S = 300
MIN_TICKETS = 12
MANY_TICKETS = 20
MIN_SWEPT = 5
SWEEP_S = 120
TICKETS_S = 120
MIN_OBJECTS = 10
OBJECTS_S = 120
SHARE_PORTS = (139, 445)
LOOKERS = (
    "whoami.exe",
    "net.exe",
    "net1.exe",
    "nltest.exe",
    "dsquery.exe",
    "systeminfo.exe",
    "tasklist.exe",
    "ipconfig.exe",
    "arp.exe",
    "route.exe",
    "quser.exe",
    "qwinsta.exe",
    "nbtstat.exe",
    "netstat.exe",
    "hostname.exe",
    "setspn.exe",
    "adfind.exe",
    "wmic.exe",
    "arp",
    "whoami",
    "netstat",
    "ifconfig",
    "uname",
    "id",
)


AGENTS = (
    "management agents (programs installed outside \\Windows\\ or in \\Windows\\CCM\\, no shell or server program, that as no person start it, "
    f"themselves or by a shell at most {CHAIN_S} s before)"
)
ADMIN_RIDS = (500, 512, 518, 519)  # well-known RIDs (MS-DTYP 2.4.2.4)
_ADMIN = re.compile(rf"^S-1-5-21-[\d-]+-(?:{'|'.join(map(str, ADMIN_RIDS))})$")


@rule(
    "share-sweep",
    "T1135",
    "discovery",
    on=((NetConnFields, "open", "flow", "allow"),),
    at_least=MIN_SWEPT,
    probing=True,
    summary=f"One address opens {' or '.join(map(str, SHARE_PORTS))} on {MIN_SWEPT} or more of ours within {SWEEP_S} s. Suspicious.",
    source="ATT&CK T1135, T1018",
)
def share_sweep(connections: Lines[NetConnFields], window: Window) -> Findings:
    knocks = [
        line
        for line in connections
        if line.fields.dst_port in SHARE_PORTS and line.fields.dst_ip and not window.is_external(line.fields.dst_ip)
    ]
    for source, lines in grouped(knocks, lambda line: line.fields.src_ip or None).items():
        burst = burst_of(window, lines, MIN_SWEPT, SWEEP_S, different=lambda line: line.fields.dst_ip)
        if burst:
            targets = [window.host_at(line.fields.dst_ip or "") for line in burst]
            yield finding(
                burst,
                confirmed=False,
                scope="network",
                host=targets[0],
                hosts=targets,
                accounts=[line.user for line in burst],
                remote=source,
            )


@rule(
    "admin-discovery",
    "T1087.002",
    "discovery",
    on=(commands_that("admin-discovery"), (DirectoryFields, "access")),
    summary="A command looks for administrators (net group domain admins, /domain, setspn -Q, nltest, dsquery), or a person reads them in the directory "
    f"(memberOf=CN=Domain Admins, or a SAM_ object whose id ends in -{', -'.join(map(str, ADMIN_RIDS))}); not by {AGENTS}. Suspicious.",
    source="ATT&CK T1087.002, T1069.002, T1482",
)
def admin_discovery(commands: Lines, accesses: Lines[DirectoryFields], window: Window) -> Findings:
    reads = [line for line in accesses if is_person_or_service(line.user) and _asks_for_admins(line.fields)]
    asked = [line for line in commands if not _is_by_agent(window, line)]
    return findings_by_host_and_user([*asked, *reads], confirmed=False, program=_program)


def _is_by_agent(window: Window, line: Line) -> bool:
    """Return whether a management agent starts a program, itself or by a shell."""
    if not isinstance(line.fields, ProcessFields) or is_person_or_service(line.user) or not line.user:
        return False
    if _is_agent(line.fields.parent_path):
        return True
    return basename(line.fields.parent_path) in SHELLS and any(
        _is_agent(shell.fields.parent_path)
        and (shell.host, shell.user) == (line.host, line.user)
        and basename(shell.fields.process_path) == basename(line.fields.parent_path)
        and follows(window, line, shell, CHAIN_S)
        for shell in window.of(ProcessFields, "launch")
    )


def _is_agent(path: str | None) -> bool:
    in_windows = "\\windows\\" in (path or "").lower() and "\\windows\\ccm\\" not in (path or "").lower()
    return is_installed(path) and not in_windows and basename(path) not in (*SHELLS, *SERVER_PROGRAMS)


def _asks_for_admins(fields: DirectoryFields) -> bool:
    if "memberof=cn=domain admins" in (fields.properties or "").lower():
        return True
    return (fields.object_type or "").startswith("SAM_") and _ADMIN.search(fields.object_dn or "") is not None


def _program(group: Lines) -> str:
    return one_program(group, otherwise=POWERSHELL)


@rule(
    "looking-around",
    "T1082",
    "discovery",
    on=(launches_of(LOOKERS),),
    summary=f"{MIN_LOOKS} or more different discovery programs ({', '.join(stems(LOOKERS))}; net1 is net) by one account within {LOOK_S} s, but for {AGENTS}. Suspicious.",
    source="ATT&CK T1082, T1033, T1016, T1057",
)
def looking_around(looks: Lines[ProcessFields], window: Window) -> Findings:
    asked = [line for line in looks if line.user and not _is_by_agent(window, line)]
    for group in grouped(asked, host_and_user).values():
        burst = burst_of(window, group, MIN_LOOKS, LOOK_S, different=_program_name)
        if burst:
            yield from findings_by_host_and_user(burst, confirmed=False)


def _program_name(line: Line[ProcessFields]) -> str:
    return basename(line.fields.process_path).replace("net1.exe", "net.exe")


@rule(
    "ticket-sweep",
    "T1018",
    "discovery",
    on=((KerberosFields, "tgs"), (DirectoryFields, "access")),
    at_least=MIN_OBJECTS,
    summary=f"One person's account asks for tickets to {MIN_TICKETS} machines ($) in {TICKETS_S} s, or reads {MIN_OBJECTS} directory objects in {OBJECTS_S} s. Confirmed: {MANY_TICKETS} machines.",
    source="ATT&CK T1018, T1087.002, T1069; Security 4769, 4661",
)
def ticket_sweep(tickets: Lines[KerberosFields], accesses: Lines[DirectoryFields], window: Window) -> Findings:
    for user, lines in grouped(tickets, _asker_for_machine).items():
        burst = burst_of(window, lines, MIN_TICKETS, TICKETS_S, different=_service)
        if burst:
            yield finding(
                burst,
                confirmed=len(set(map(_service, burst))) >= window.limits.at_least(MANY_TICKETS),
                scope="identity",
                host=burst[0].host,
                account=user,
                remote=burst[0].fields.src_ip or "",
            )
    for user, reads in grouped(accesses, _reader_of_object).items():
        sweep = burst_of(window, reads, MIN_OBJECTS, OBJECTS_S, different=lambda line: line.fields.object_dn)
        if sweep:
            yield finding(sweep, confirmed=False, scope="identity", host=sweep[0].host, account=user)


def _asker_for_machine(line: Line[KerberosFields]) -> str | None:
    user = account_name(line.fields.user_name)
    return user if is_person_or_service(user) and (_service(line) or "").endswith("$") else None


def _service(line: Line[KerberosFields]) -> str | None:
    return line.fields.service_name


def _reader_of_object(line: Line[DirectoryFields]) -> str | None:
    return line.user if is_person_or_service(line.user) and line.fields.object_dn else None


data_collected = command_rule(
    "data-collected",
    "T1113",
    "collection",
    meaning="data-collected",
    confirmed=False,
    summary="A command takes the screen, the clipboard or sound, or packs files under a password. Suspicious.",
    source="ATT&CK T1113, T1115, T1123, T1560.001",
)


RULES = (
    share_sweep,
    admin_discovery,
    looking_around,
    ticket_sweep,
    data_collected,
)
