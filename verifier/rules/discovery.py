"""Rules on looking around: shares, administrators, hosts (ATT&CK Discovery)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    DirectoryFields,
    KerberosFields,
    NetConnFields,
    account_name,
)
from verifier.commands import launches, lines_by_meaning, told
from verifier.rules.kit import Legacy, by_host_and_user, legacy_rule
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    crowded,
    is_person_or_service,
    kinds,
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

LOOKERS = frozenset(
    [
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
    ]
)


@legacy_rule(
    "share-sweep",
    "T1135",
    "discovery",
    says=f"One address opens 445 or 139 on {MIN_SWEPT} or more of ours within {SWEEP_S} s. Suspicious.",
    source="ATT&CK T1135, T1018",
    needs=kinds(NetConnFields, "open", "flow", "allow"),
    least=MIN_SWEPT,
    probing=True,
)
def share_sweep(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find addresses that knock at every file share."""
    tried: dict[str, list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if (
            line.fields.src_ip
            and line.fields.dst_ip
            and line.fields.dst_port in (139, 445)
            and line.fields.activity in ("open", "flow", "allow")
            and not window.is_external(line.fields.dst_ip)
        ):
            tried.setdefault(line.fields.src_ip, []).append(line)
    for source, lines in tried.items():
        burst = crowded(
            lines, window.limits.within(SWEEP_S), window.limits.at_least(MIN_SWEPT), lambda line: line.fields.dst_ip
        )
        if burst:
            targets = [window.host_at(line.fields.dst_ip or "") for line in burst]
            yield this.finding(
                burst,
                confirmed=False,
                scope="network",
                host=targets[0],
                hosts=targets,
                accounts=[line.user for line in burst],
                remote=source,
            )


@legacy_rule(
    "admin-discovery",
    "T1087.002",
    "discovery",
    says="A command or person looks for administrators (net group domain admins, /domain, setspn -Q, nltest, dsquery). Suspicious.",
    source="ATT&CK T1087.002, T1069.002, T1482",
    needs=kinds(DirectoryFields, "access"),
    clues=("admin-discovery",),
)
def admin_discovery(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find searches for administrators."""
    lines: list[Line] = list(window.view(lines_by_meaning).get("admin-discovery", ()))
    lines += [
        line
        for line in window.of(DirectoryFields)
        if line.fields.activity == "access"
        and is_person_or_service(line.user)
        and (
            "memberof=cn=domain admins" in (line.fields.properties or "").lower()
            or ((line.fields.object_type or "").startswith("SAM_") and _ADMIN_RID.search(line.fields.object_dn or ""))
        )
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False, otherwise="powershell.exe")


_ADMIN_RID = re.compile(r"^S-1-5-21-[\d-]+-(?:500|512|518|519)$")  # well-known RIDs (MS-DTYP 2.4.2.4)


@legacy_rule(
    "looking-around",
    "T1082",
    "discovery",
    says=f"{MIN_LOOKS} or more different discovery programs (whoami, net, systeminfo and the like) by one account within {LOOK_S} s. Suspicious.",
    source="ATT&CK T1082, T1033, T1016, T1057",
    clues=LOOKERS,
)
def looking_around(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find bursts of discovery."""
    lines: list[Line] = [
        line for line in launches(window) if basename(line.fields.process_path) in LOOKERS and line.user
    ]
    for group in by_host_and_user(lines):
        burst = crowded(group, window.limits.within(LOOK_S), window.limits.at_least(MIN_LOOKS), _program_name)
        if burst:
            yield this.of_one(burst, confirmed=False)


def _program_name(line: Line) -> str:
    return basename(line.fields.process_path).replace("net1.exe", "net.exe")


@legacy_rule(
    "ticket-sweep",
    "T1018",
    "discovery",
    says=f"One account asks for tickets to {MIN_TICKETS} machines in {TICKETS_S} s, or reads {MIN_OBJECTS} directory objects in {OBJECTS_S} s. Confirmed: {MANY_TICKETS} machines.",
    source="ATT&CK T1018, T1087.002, T1069; Security 4769, 4661",
    needs=(*kinds(KerberosFields, "tgs"), *kinds(DirectoryFields, "access")),
    least=MIN_OBJECTS,
)
def ticket_sweep(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts that touch everything at once."""
    asked: dict[str, list[Line[KerberosFields]]] = {}
    for line in window.of(KerberosFields):
        user = account_name(line.fields.user_name)
        if (
            line.fields.activity == "tgs"
            and is_person_or_service(user)
            and (line.fields.service_name or "").endswith("$")
        ):
            asked.setdefault(user, []).append(line)
    for user, lines in asked.items():
        burst = crowded(
            lines,
            window.limits.within(TICKETS_S),
            window.limits.at_least(MIN_TICKETS),
            lambda line: line.fields.service_name,
        )
        if burst:
            many = len({line.fields.service_name for line in burst}) >= window.limits.at_least(MANY_TICKETS)
            yield this.finding(
                burst,
                confirmed=many,
                scope="identity",
                host=burst[0].host,
                account=user,
                remote=burst[0].fields.src_ip or "",
            )
    read: dict[str, list[Line[DirectoryFields]]] = {}
    for access in window.of(DirectoryFields):
        if access.fields.activity == "access" and is_person_or_service(access.user) and access.fields.object_dn:
            read.setdefault(access.user, []).append(access)
    for user, found in read.items():
        swept = crowded(
            found,
            window.limits.within(OBJECTS_S),
            window.limits.at_least(MIN_OBJECTS),
            lambda line: line.fields.object_dn,
        )
        if swept:
            yield this.finding(swept, confirmed=False, scope="identity", host=swept[0].host, account=user)


@legacy_rule(
    "data-collected",
    "T1113",
    "exfiltration",
    says="A command takes the screen, the clipboard or sound, or packs files under a password. Suspicious.",
    source="ATT&CK T1113, T1115, T1123, T1560.001",
    clues=("data-collected",),
)
def data_collected(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find commands that collect what people see and keep."""
    return told(window, this, "data-collected", sure=False)


RULES = (
    share_sweep,
    admin_discovery,
    looking_around,
    ticket_sweep,
    data_collected,
)
