"""Lateral movement and discovery: work on other hosts, and looking for them."""

from __future__ import annotations

from schema import LOGON_WORK, REMOTE_WORK
from tasks.families.story import choose_halves, choose_prober, knock, launch, probe, sign_in
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import (
    ADDRESS,
    ALL,
    FIRM,
    GRAVE,
    HOST,
    PROBE,
    TOOL,
    Actor,
    Family,
    Plan,
    Scene,
    TicketScope,
    actor,
    other_account,
    other_host,
)


def remote_service(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a service installed from another host runs a program; in half of the story, the sign-in comes only later."""
    who, at, name = actor(scene, plan), scene.moment(600), scene.word()
    path = scene.installed_path() if plan.strength == "below" else f"C:\\Windows\\Temp\\{name}.exe"
    connected = at + scene.between(5, 100)
    scene.add(
        connected,
        "service",
        "install",
        who.host,
        who.user,
        service_name=name,
        service_cmd_line=path,
        start_type="demand start",
    )
    last = launch(scene, connected + scene.between(2, 60), who, path, parent=SYSTEM32 + "services.exe", user="SYSTEM")
    signed_in = last + scene.between(10, 200) if plan.strength == "suspicious" else at
    sign_in(scene, signed_in, who, other_host(scene, who).ip)
    return who.scope(path, at, max(last, signed_in))


def remote_command(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a remote command starts a shell on a host; in half of the story, the sign-in comes only later."""
    who, at = actor(scene, plan, "powershell.exe"), scene.moment(500)
    parent = SYSTEM32 + scene.pick(("wbem\\WmiPrvSE.exe", "wsmprovhost.exe", "winrshost.exe"))
    start = at + scene.between(5, 200)
    launch(
        scene,
        start,
        who,
        POWERSHELL,
        f"powershell.exe -File C:\\Scripts\\{scene.word()}.ps1",
        EXPLORER if plan.strength == "below" else parent,
    )
    signed_in = start + scene.between(10, 200) if plan.strength == "suspicious" else at
    sign_in(scene, signed_in, who, other_host(scene, who).ip, "Kerberos")
    return who.scope("powershell.exe", min(start, signed_in), max(start, signed_in))


def worked_shares(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody elsewhere opens the service manager and puts a program on the administrative share."""
    who, at = actor(scene, plan), scene.moment(400)
    source, (controlled, copied) = other_host(scene, who).ip, choose_halves(scene, plan)
    pipe = scene.pick(("svcctl", "atsvc", "winreg")) if controlled else scene.pick(("spoolss", "wkssvc"))
    uses = [
        ("\\\\*\\IPC$", pipe),
        ("\\\\*\\ADMIN$" if copied else "\\\\*\\Public", f"{scene.word()}\\{scene.word()}.exe"),
        ("\\\\*\\Public", f"{scene.word()}.docx"),
    ]
    last = at
    for share, path in uses:
        last = scene.add(
            last + scene.between(1, 100),
            "share",
            "access",
            who.host,
            who.user,
            share_name=share,
            file_path=path,
            access_mask="0x2",
            src_ip=source,
        )
    return who.scope(REMOTE_WORK, at, last)


def visited_logon(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody outside knocks at a host's remote desktop, and somebody uses another's password there; in half of it, many knock."""
    who, at = actor(scene, plan), scene.moment(800)
    knocked = knock(scene, at, who, scene.public_address(), hostile=plan.strength == "confirmed")
    program = scene.installed_path() if plan.strength == "below" else scene.writable_path(who.user)
    last = scene.add(
        knocked + scene.between(10, 500),
        "logon",
        "explicit_credentials",
        who.host,
        who.user,
        user_name=other_account(scene, who),
        target_hostname=other_host(scene, who).host,
        process_path=program,
    )
    return who.scope(program, at, last)


def fanned_out(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how one account signs in to host after host; in the harmless strength, to the same two again and again."""
    source, user = scene.host(False), scene.account(plan.privileged)["name"]
    targets = [host["name"] for host in scene.organisation.hosts.values() if host["name"] != source["name"]]
    times = scene.between(6, 8)
    hosts = scene.some(targets, 2 if plan.strength == "below" else times)
    first = last = scene.moment(500)
    for index in range(times):
        last = scene.add(
            last + scene.between(5, 55),
            "logon",
            "success",
            hosts[index % len(hosts)],
            user_name=user,
            logon_type=3,
            src_ip=source["ip"],
            auth_protocol="Kerberos",
            status="0x0",
        )
    return TicketScope(tuple(hosts), user, LOGON_WORK, first, last)


# ---------------------------------------------------------------- discovery
def probed_services(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody finds services by trying ports; in the harmless strength, the same four again and again."""
    name, ip, source = choose_prober(scene, plan)
    at, inside = scene.moment(300), plan.strength == "suspicious"
    last = probe(scene, at, Actor(name, ip, ""), source, hostile=plan.strength != "below", inside=inside)
    return TicketScope((name,), "", "", at, last)


def ticket_sweep(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody outside finds services, and an account asks for tickets to many machines; in half of it, they find none."""
    who, at = actor(scene, plan), scene.moment(700)
    last = probe(scene, at, who, scene.public_address(), hostile=plan.strength == "confirmed")
    times, last = scene.between(14, 16), last + scene.between(10, 300)
    machines = scene.some(tuple(scene.organisation.hosts), 4 if plan.strength == "below" else times)
    for index in range(times):
        last = scene.add(
            last + scene.between(1, 6),
            "kerberos",
            "tgs",
            who.host,
            user_name=who.user,
            service_name=f"{machines[index % len(machines)]}$",
            ticket_encryption="0x12",
            src_ip=who.ip,
        )
    return who.scope("", at, last)


def swept_domain(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how an account asks for tickets to most machines of the domain within two minutes; to half as many, or to a few again and again."""
    who, first = actor(scene, plan), scene.moment(120)
    machines = scene.some(
        tuple(scene.organisation.hosts), {"confirmed": 25, "suspicious": 15, "below": 4}[plan.strength]
    )
    last = first
    for index in range(25):
        last += scene.between(1, 5)
        service = f"{machines[index % len(machines)]}$"
        scene.add(
            last,
            "kerberos",
            "tgs",
            who.host,
            user_name=who.user,
            service_name=service,
            ticket_encryption=scene.pick(("0x12", "0x11")),
            src_ip=who.ip,
        )
    return who.scope("", first, last)


FAMILIES = (
    Family(
        "remote_service", "T1569.002", "lateral_movement", remote_service, HOST, rules=("remote-service-execution",)
    ),
    Family(
        "remote_command",
        "T1047",
        "lateral_movement",
        remote_command,
        HOST,
        explanations=TOOL,
        rules=("remote-command",),
        split="val_family",
    ),
    Family("worked_shares", "T1021.002", "lateral_movement", worked_shares, HOST, rules=("remote-control-pipe",)),
    Family(
        "visited_logon",
        "T1550.002",
        "lateral_movement",
        visited_logon,
        ADDRESS,
        explanations=(),
        names_account=False,
        rules=("borrowed-logon", "sign-in-sweep"),
        most_lines=29,
    ),
    Family(
        "fanned_out",
        "T1021",
        "lateral_movement",
        fanned_out,
        GRAVE,
        FIRM,
        rules=("account-spread",),
        split="test_family",
    ),
    Family(
        "probed_services",
        "T1046",
        "discovery",
        probed_services,
        ADDRESS,
        ALL,
        PROBE,
        single=True,
        names_account=False,
        rules=("service-probing",),
        platform="network",
    ),
    Family(
        "ticket_sweep",
        "T1018",
        "discovery",
        ticket_sweep,
        ADDRESS,
        explanations=(),
        names_account=False,
        rules=("ticket-sweep", "service-probing"),
        most_lines=30,
    ),
    Family(
        "swept_domain",
        "T1018",
        "discovery",
        swept_domain,
        GRAVE,
        explanations=(),
        rules=("ticket-sweep",),
        most_lines=26,
    ),
)
