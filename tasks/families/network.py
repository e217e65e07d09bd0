"""Command and control: addresses and names of ill fame, calls by the clock, data in names."""

from __future__ import annotations

from tasks.families.story import connect, list_by_strength
from tasks.scene import ADDRESS, ALL, HOST, Family, Plan, Scene, TicketScope, actor


def listed_address(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program calls an address that intelligence lists."""
    who, at = actor(scene, plan), scene.moment(60)
    remote, path = scene.public_address(), scene.installed_path()
    list_by_strength(scene, remote, plan)
    connect(scene, at, who, path, remote)
    return who.scope(path, at, at)


def listed_visitor(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how an address that intelligence lists visits a host, or a host calls it and is blocked."""
    host = scene.host(plan.on_crown_jewel)
    at, remote = scene.moment(300), scene.public_address()
    list_by_strength(scene, remote, plan)
    blocked = scene.chance(0.5)
    ends = (
        {"src_ip": host["ip"], "dst_ip": remote, "direction": "outbound", "dst_scope": "external"}
        if blocked
        else {"src_ip": remote, "dst_ip": host["ip"], "direction": "inbound", "dst_scope": "internal"}
    )
    first = at
    for _ in range(scene.between(1, 4)):
        port = scene.pick((22, 443, 3389, 8080))
        scene.add(at, "net_conn", "block" if blocked else "flow", host["name"], dst_port=port, **ends)
        at += scene.between(5, 60)
    return TicketScope((host["name"],), "", "", first, at)


def listed_name(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program looks up a name that intelligence lists."""
    who, at = actor(scene, plan), scene.moment(300)
    domain, path = scene.domain(), scene.pick((scene.installed_path(), scene.writable_path(who.user)))
    list_by_strength(scene, domain, plan)
    last = at
    for _ in range(scene.between(1, 4)):
        last = scene.add(
            last + scene.between(1, 60),
            "dns_query",
            "query",
            who.host,
            who.user,
            query_hostname=domain,
            src_ip=who.ip,
            process_path=path,
        )
    return who.scope(path, at, last)


def beacon(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program calls home at regular times; in the harmless strength, at irregular ones."""
    who, first = actor(scene, plan), scene.moment(9 * 400)
    path = scene.installed_path() if plan.strength == "suspicious" else scene.writable_path(who.user)
    remote, gap, last = scene.public_address(), scene.between(60, 240), first
    for turn in range(scene.between(7, 9)):
        if turn and plan.strength == "below":
            last += gap * (0.3 if turn % 2 else 1.7) + scene.between(-8, 8)
        elif turn:
            last += gap + scene.between(-2, 3)
        connect(scene, last, who, path, remote)
    return who.scope(path, first, last)


def name_tunnel(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how data leaves in the names that a program looks up; in the harmless strength, each name has its own domain."""
    who, domain = actor(scene, plan), scene.domain()
    path = scene.installed_path() if plan.strength == "suspicious" else scene.writable_path(who.user)
    first = last = scene.moment(500)
    for _ in range(scene.between(8, 11)):
        label = scene.base32(scene.between(40, 58))
        last = scene.add(
            last + scene.between(2, 40),
            "dns_query",
            "query",
            who.host,
            who.user,
            query_hostname=f"{label}.{scene.domain() if plan.strength == 'below' else domain}",
            src_ip=who.ip,
            process_path=path,
        )
    return who.scope(path, first, last)


FAMILIES = (
    Family(
        "listed_address",
        "T1071",
        "command_and_control",
        listed_address,
        HOST,
        single=True,
        rules=("known-bad-address",),
        platform="network",
    ),
    Family(
        "listed_visitor",
        "T1071",
        "command_and_control",
        listed_visitor,
        ADDRESS,
        ALL,
        (),
        single=True,
        names_account=False,
        rules=("known-bad-address",),
        platform="network",
    ),
    Family(
        "listed_name",
        "T1071.004",
        "command_and_control",
        listed_name,
        ADDRESS,
        single=True,
        rules=("known-bad-address",),
        platform="network",
    ),
    Family(
        "beacon",
        "T1071.001",
        "command_and_control",
        beacon,
        HOST,
        rules=("beaconing",),
        platform="network",
        split="val_family",
    ),
    Family(
        "name_tunnel", "T1071.004", "command_and_control", name_tunnel, HOST, rules=("dns-tunnel",), platform="network"
    ),
)
