"""Credential access: memory and files that hold secrets, passwords tried, tickets and the directory taken."""

from __future__ import annotations

from schema import REPLICATION_RIGHTS, REPLICATION_WORK
from tasks.families.story import choose_prober, launch, write
from tasks.paths import POWERSHELL, SYSTEM32
from tasks.scene import ADDRESS, ALL, FIRM, GRAVE, HOST, PROBE, TOOL, Family, Plan, Scene, TicketScope, actor

LSASS = SYSTEM32 + "lsass.exe"
_SLOW = (125, 170)  # seconds between failures that make no burst


def lsass_dump(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program reads the memory of lsass and writes it down; in the harmless strength, another program's memory."""
    tool = "procdump.exe"
    who, at, path = actor(scene, plan, tool), scene.moment(120), f"D:\\Tools\\{tool}"
    scene.add(
        at,
        "process_access",
        "open",
        who.host,
        who.user,
        process_path=path,
        target_path=SYSTEM32 + scene.pick(("svchost.exe", "spoolsv.exe")) if plan.strength == "below" else LSASS,
        access_mask=scene.pick(("0x1010", "0x1410", "0x1fffff")),
    )
    writer = SYSTEM32 + "WerFault.exe" if plan.strength == "suspicious" else path
    last = write(scene, at + scene.between(1, 40), who, f"D:\\Tools\\{scene.word()}.dmp", writer)
    return who.scope(tool, at, last)


def opened_lsass(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how the audit of objects sees a program open lsass for reading."""
    who, at = actor(scene, plan, "powershell.exe"), scene.moment(60)
    name = scene.pick(("svchost.exe", "spoolsv.exe")) if plan.strength == "below" else "lsass.exe"
    scene.add(
        at,
        "object_access",
        "open",
        who.host,
        who.user,
        object_name=f"\\Device\\HarddiskVolume{scene.between(1, 5)}\\Windows\\System32\\{name}",
        object_type="Process",
        access_mask=scene.pick(("0x10", "0x1410", "0x1010")),
        process_path=POWERSHELL,
        outcome="success",
    )
    return who.scope("powershell.exe", at, at)


def saved_hive(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody saves a hive of secrets on the command line."""
    who, at = actor(scene, plan), scene.moment(60)
    hive = (
        f"SOFTWARE\\{scene.word().title()}" if plan.strength == "below" else scene.pick(("SAM", "SECURITY", "SYSTEM"))
    )
    command = f"reg.exe save HKLM\\{hive} D:\\Tools\\{scene.word()}.hiv"
    launch(scene, at, who, SYSTEM32 + "reg.exe", command, SYSTEM32 + "cmd.exe")
    return who.scope("reg.exe", at, at)


def copied_directory(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody copies the directory's database, or makes a snapshot to copy it from."""
    tool = "ntdsutil.exe"
    who, at = actor(scene, plan, tool), scene.moment(60)
    order = {
        "confirmed": f'"ac i ntds" "ifm" "create full D:\\{scene.word()}" q q',
        "suspicious": '"ac i ntds" "snapshot" "create" q q',
        "below": '"ac i ntds" "files" "integrity" q q',
    }[plan.strength]
    launch(scene, at, who, SYSTEM32 + tool, f"{tool} {order}", SYSTEM32 + "cmd.exe")
    return who.scope(tool, at, at)


# ---------------------------------------------------------------- passwords
def guessed_password(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody tries passwords against one account; in the harmless strength, a user mistypes all day."""
    name, _, source = choose_prober(scene, plan)
    user = scene.account(plan.privileged)["name"]
    gaps = _SLOW if plan.strength == "below" else (2, 18)
    first = last = scene.moment(2100)
    for _ in range(scene.between(8, 12)):
        last = scene.add(
            last + scene.between(*gaps),
            "logon",
            "failure",
            name,
            user_name=user,
            logon_type=10,
            src_ip=source,
            status="0xc000006a",
        )
    return TicketScope((name,), user, "", first, last)


def sprayed_password(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody tries one password against many accounts; in the harmless strength, users mistype at a service."""
    name, _, source = choose_prober(scene, plan)
    gaps = _SLOW if plan.strength == "below" else (2, 18)
    first = last = scene.moment(2000)
    for user in scene.some(tuple(scene.organisation.accounts), scene.between(8, 11)):
        last = scene.add(
            last + scene.between(*gaps),
            "logon",
            "failure",
            name,
            user_name=user,
            logon_type=3,
            src_ip=source,
            status="0xc000006d",
        )
    return TicketScope((name,), "", "", first, last)


# ---------------------------------------------------------------- tickets and the directory
def roasted_tickets(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody collects weak service tickets; in the harmless strength, for the same two services again and again."""
    who, source = actor(scene, plan), scene.pick(scene.cast_hosts)["ip"]
    names = [f"svc-{scene.word()}{index}" for index in range(2 if plan.strength == "below" else 11)]
    first = last = scene.moment(400)
    for index in range(scene.between(7, 10)):
        last = scene.add(
            last + scene.between(2, 30),
            "kerberos",
            "tgs",
            who.host,
            user_name=who.user,
            service_name=names[index % len(names)],
            ticket_encryption="0x17",
            src_ip=source,
        )
    return who.scope("", first, last)


def replicated_directory(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a user account replicates the directory; in the harmless strength, the machine's own account does."""
    who, at = actor(scene, plan), scene.moment(60)
    right = scene.pick(REPLICATION_RIGHTS[:2])
    scene.add(
        at,
        "directory",
        "access",
        who.host,
        f"{who.host}$" if plan.strength == "below" else who.user,
        object_dn="DC=corp,DC=example",
        object_type="domainDNS",
        properties=f"%%7688 {{{right}}}",
        access_mask="0x100",
    )
    return who.scope(REPLICATION_WORK, at, at)


FAMILIES = (
    Family(
        "lsass_dump",
        "T1003.001",
        "credential_access",
        lsass_dump,
        HOST,
        explanations=TOOL,
        rules=("lsass-memory-read",),
    ),
    Family(
        "opened_lsass",
        "T1003.001",
        "credential_access",
        opened_lsass,
        HOST,
        FIRM,
        TOOL,
        single=True,
        rules=("lsass-read-from-memory",),
    ),
    Family(
        "saved_hive",
        "T1003.002",
        "credential_access",
        saved_hive,
        HOST,
        FIRM,
        single=True,
        rules=("registry-hive-saved",),
    ),
    Family(
        "copied_directory",
        "T1003.003",
        "credential_access",
        copied_directory,
        GRAVE,
        explanations=TOOL,
        single=True,
        rules=("directory-copied",),
    ),
    Family(
        "guessed_password",
        "T1110.001",
        "credential_access",
        guessed_password,
        ADDRESS,
        explanations=PROBE,
        rules=("password-guessing",),
        platform="network",
    ),
    Family(
        "sprayed_password",
        "T1110.003",
        "credential_access",
        sprayed_password,
        ADDRESS,
        ALL,
        PROBE,
        names_account=False,
        rules=("password-spraying",),
        platform="network",
    ),
    Family(
        "roasted_tickets", "T1558.003", "credential_access", roasted_tickets, GRAVE, FIRM, (), rules=("kerberoasting",)
    ),
    Family(
        "replicated_directory",
        "T1003.006",
        "credential_access",
        replicated_directory,
        GRAVE,
        FIRM,
        single=True,
        rules=("directory-replication",),
    ),
)
