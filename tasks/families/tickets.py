"""Credential access over the network: tickets and passwords tried, secrets read over shares and from the directory, traffic captured."""

from __future__ import annotations

from schema import REMOTE_WORK
from tasks.families.story import choose_prober
from tasks.families.tellings import Row, Telling, each, made, order, script
from tasks.scene import ADDRESS, GRAVE, HOST, PROBE, Family, Plan, Scene, TicketScope, actor


def guessed_tickets(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a source asks a domain controller for tickets with wrong passwords; in the harmless strength, a user mistypes all day."""
    name, _, source = choose_prober(scene, plan)
    user = scene.account(plan.privileged)["name"]
    gaps = (125, 170) if plan.strength == "below" else (2, 18)
    first = last = scene.moment(2100)
    for _ in range(scene.between(8, 12)):
        last = scene.add(
            last + scene.between(*gaps),
            "kerberos",
            "preauth_failure",
            name,
            user_name=user,
            service_name="krbtgt",
            preauth_type=2,
            status="0x18",
            src_ip=source,
        )
    return TicketScope((name,), user, "", first, last)


def nameless_failures(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how sign-ins fail of which a service passes on only the address or only the account; in the harmless strength, all day."""
    who, first = actor(scene, plan), scene.moment(1900)
    source = scene.pick(scene.cast_hosts)["ip"] if plan.strength == "suspicious" else scene.public_address()
    gaps = (125, 170) if plan.strength == "below" else (2, 18)
    last = first
    for index in range(scene.between(8, 11)):
        known = {"src_ip": source} if index % 2 else {"user_name": who.user}
        last = scene.add(
            last + scene.between(*gaps), "logon", "failure", who.host, logon_type=8, status="0xc000006d", **known
        )
    return who.scope("", first, last)


def unguarded_tickets(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how one source gets tickets without preauthentication; one of them easily broken, or in half of it none."""
    who, first = actor(scene, plan), scene.moment(300)
    last, weak = first, scene.between(0, 6) if plan.strength == "confirmed" else -1
    users = (who.user, *scene.some([name for name in scene.organisation.accounts if name != who.user], 5))
    for index, user in enumerate(users):
        last = scene.add(
            last + scene.between(1, 40),
            "kerberos",
            "tgt",
            who.host,
            user_name=user,
            service_name="krbtgt",
            ticket_encryption=scene.pick(("0x17", "0x18")) if index == weak else "0x12",
            preauth_type=2 if plan.strength == "below" else 0,
            status="0x0",
            src_ip=who.ip,
        )
    return who.scope("", first, last)


def _machine_ticket(machine: str) -> Telling:
    """Tell of an account that is made with a machine's name, and gets a ticket to a machine."""
    ticket = {"user_name": "{other_host}", "service_name": f"{machine}$", "ticket_encryption": "0x12", "src_ip": "{ip}"}
    return [
        Row("account", "create", {"user_name": "{other_host}", "attributes": "SAM account enabled"}),
        Row("kerberos", "tgs", ticket, after=(20, 300), user=""),
    ]


def _stores(share: str, *paths: str) -> list[Telling]:
    """Tell of each of some files of another account that is read over a share."""
    return each(
        *(
            Row(
                "share",
                "access",
                {
                    "share_name": f"\\\\*\\{share}",
                    "file_path": f"Users\\{{other_user}}\\{path}",
                    "access_mask": "0x1",
                    "src_ip": "{other_ip}",
                },
            )
            for path in paths
        )
    )


_PROFILE = "AppData\\Local\\Google\\Chrome\\User Data\\Default\\"
_STORES = (
    f"{_PROFILE}Login Data",
    f"{_PROFILE}Cookies",
    "AppData\\Roaming\\Mozilla\\Firefox\\Profiles\\{hex}.default\\logins.json",
    "AppData\\Roaming\\Microsoft\\Protect\\{hex}",
    "AppData\\Local\\Microsoft\\Vault\\{hex}",
)


def _keys(container: str, query: str) -> Telling:
    """Tell of a container of the directory that is read, and a query by a script."""
    fields = {
        "object_dn": f"CN={{hex}},{container},CN=Program Data,DC=corp,DC=example",
        "object_type": "contact",
        "properties": "Read Property thumbnailPhoto",
        "access_mask": "0x10",
    }
    return [Row("directory", "access", fields), script(query, after=(20, 300))]


_KEYS, _NO_KEYS = "CN=ADFS,CN=Microsoft", "CN={word},CN=Microsoft"
_SETTINGS = "SELECT ServiceSettingsData FROM IdentityServerPolicy.ServiceSettings"
_NO_SETTINGS = "SELECT {word} FROM {word2}.ServiceSettings"

FAMILIES: tuple[Family, ...] = (
    Family(
        "guessed_tickets",
        "T1110.003",
        "credential_access",
        guessed_tickets,
        ADDRESS,
        explanations=PROBE,
        single=True,
        names_account=False,
        rules=("kerberos-guessing",),
        platform="network",
    ),
    Family(
        "nameless_failures",
        "T1110",
        "credential_access",
        nameless_failures,
        ADDRESS,
        explanations=(),
        single=True,
        names_account=False,
        rules=("failures-on-host",),
        platform="network",
    ),
    Family(
        "unguarded_tickets",
        "T1558.004",
        "credential_access",
        unguarded_tickets,
        GRAVE,
        explanations=(),
        rules=("ticket-without-preauth",),
    ),
    made(
        "machine_named_ticket",
        "T1558",
        "credential_access",
        ("machine-name-ticket",),
        confirmed=[_machine_ticket("{other_host}")],
        below=[_machine_ticket("{host}")],
        reaches=GRAVE,
        explanations=(),
    ),
    made(
        "secrets_over_share",
        "T1555.003",
        "credential_access",
        ("secrets-over-share",),
        REMOTE_WORK,
        confirmed=_stores("C$", *_STORES),
        below=[*_stores("Profiles", *_STORES), *_stores("C$", "Documents\\{word}.docx", f"{_PROFILE}History")],
        reaches=HOST,
    ),
    made(
        "captured_traffic",
        "T1040",
        "credential_access",
        ("traffic-captured",),
        suspicious=each(
            order("pktmon.exe", "start --capture --file-name D:\\{word}.etl", "filter add -p 445"),
            order("netsh.exe", "trace start capture=yes tracefile=D:\\{word}.etl"),
            order("/usr/bin/tcpdump", "-i eth0 -w /srv/{word}.pcap", parent="/usr/bin/bash"),
        ),
        below=each(
            order("pktmon.exe", "stop", "counters --type drop"),
            order("netsh.exe", "trace show status", "trace stop"),
            order("/usr/bin/tcpdump", "--version", "-D", parent="/usr/bin/bash"),
        ),
    ),
    made(
        "read_signing_key",
        "T1552.004",
        "credential_access",
        ("signing-key-read",),
        confirmed=[_keys(_KEYS, _NO_SETTINGS), _keys(_KEYS, _SETTINGS)],
        suspicious=[_keys(_NO_KEYS, _SETTINGS)],
        below=[_keys(_NO_KEYS, _NO_SETTINGS)],
        reaches=GRAVE,
        explanations=(),
    ),
)
