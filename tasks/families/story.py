"""The parts of a story: a family's record, the host and account that it concerns, and the few lines that most stories share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from schema import Category
from tasks.scene import Explanation, Plan, Scene, Strength, TicketScope

SYSTEM32 = "C:\\Windows\\System32\\"
POWERSHELL = SYSTEM32 + "WindowsPowerShell\\v1.0\\powershell.exe"
EXPLORER = "C:\\Windows\\explorer.exe"
START_MENU = "Microsoft\\Windows\\Start Menu\\Programs\\"  # below a profile's AppData\Roaming, or ProgramData
OWN_FOLDER = "C:\\Users\\{user}\\AppData\\Local\\{word}\\"  # of a program that is installed for one user, with blanks
REPLICA_RIGHT = "9923a32a-3607-11d2-b9be-0000f87a36b2"  # to install a replica (MS-ADTS 5.1.3.2.1)
BROWSERS = (
    "C:\\Program Files\\Mozilla Firefox\\firefox.exe",
    "C:\\Program Files\\Google\\Chrome\\chrome.exe",
    "C:\\Program Files\\Microsoft Office\\OUTLOOK.EXE",
)

ALL: tuple[Strength, ...] = ("confirmed", "suspicious", "below")
FIRM: tuple[Strength, ...] = ("confirmed", "below")
SOFT: tuple[Strength, ...] = ("suspicious", "below")
HOST = ("quarantine_host",)
ADDRESS = ("block_ip",)
GRAVE = ("escalate",)
PROBE: tuple[Explanation, ...] = ("scanner",)
TOOL: tuple[Explanation, ...] = ("ticket", "tool")


Platform = Literal["windows", "linux", "network", "cloud", "kubernetes", "saas"]
FamilySplit = Literal["train", "val_family", "test_family"]


@dataclass(frozen=True, slots=True)
class Family:
    """A scenario family: its story, the ATT&CK tactic as a category, and what plans it can follow.

    `reaches` are the decisions that a confirmed, unexplained strength leads to without a crown jewel or privilege. `rules` are the rules of
    the verifier that its hostile tellings meet, the one that it is for first. `split` says for what it is played: training, choosing
    a model, or testing it (families of the held-out tactic test, whatever it says). `tellings` are the rows by strength of a family that
    is made of rows.
    """

    name: str
    technique: str
    category: Category
    play: Callable[[Scene, Plan], TicketScope]
    reaches: tuple[str, ...]
    strengths: tuple[Strength, ...] = ALL
    explanations: tuple[Explanation, ...] = ("ticket",)
    single: bool = False  # one thing decides: a line, or a burst of like lines of one source
    names_account: bool = True  # only then can it concern a privileged account
    rules: tuple[str, ...] = ()
    platform: Platform = "windows"
    split: FamilySplit = "train"
    most_lines: int = 18  # that it tells; a look-alike needs room for them
    tellings: Mapping[Strength, Sequence[Any]] = field(default_factory=dict, repr=False, compare=False)


class Actor(NamedTuple):
    """The host, its address and the account at work on it that a story concerns."""

    host: str
    ip: str
    user: str

    def scope(self, tool: str, first: float, last: float) -> TicketScope:
        """Return what a ticket has to cover; `tool` is a program's path or name, or a kind of work."""
        return TicketScope((self.host,), self.user, tool[tool.rfind("\\") + 1 :].lower(), first, last)


def actor(scene: Scene, plan: Plan, tool: str = "") -> Actor:
    """Take a host and an account that fit the plan; with a tool, an account that may or may not use it."""
    host = scene.host(plan.on_crown_jewel)
    user = scene.user_of(tool, plan) if tool else scene.account(plan.privileged)
    return Actor(host["name"], host["ip"], user["name"])


def other_host(scene: Scene, who: Actor) -> Actor:
    """Pick another host of the cast for the same account."""
    host = scene.pick([host for host in scene.cast_hosts if host["name"] != who.host])
    return Actor(host["name"], host["ip"], who.user)


def other_account(scene: Scene, who: Actor) -> str:
    """Pick another account of the cast."""
    return scene.pick([account["name"] for account in scene.cast_accounts if account["name"] != who.user])


def choose_halves(scene: Scene, plan: Plan) -> tuple[bool, bool]:
    """Choose which of two suspicious things happen: both, one of them, or none."""
    if plan.strength == "suspicious":
        return scene.pick(((True, False), (False, True)))
    return (True, True) if plan.strength == "confirmed" else (False, False)


# ---------------------------------------------------------------- lines
def launch(
    scene: Scene, at: float, who: Actor, path: str, command: str = "", parent: str = EXPLORER, user: str = ""
) -> float:
    """Write the start of a program; return the line's time."""
    return scene.add(
        at,
        "process",
        "launch",
        who.host,
        user or who.user,
        process_path=path,
        process_cmd_line=command or path,
        parent_path=parent,
    )


def connect(scene: Scene, at: float, who: Actor, program: str, remote: str) -> float:
    """Write a web connection of a program to an address on the internet; return the line's time."""
    return scene.add(
        at,
        "net_conn",
        "open",
        who.host,
        who.user,
        src_ip=who.ip,
        dst_ip=remote,
        dst_port=scene.pick((443, 443, 443, 80)),
        direction="outbound",
        process_path=program,
        dst_scope="external",
    )


def answer(scene: Scene, at: float, who: Actor, program: str, plan: Plan) -> float:
    """Write the call that a started program makes within minutes; in half of a story, a browser makes it."""
    caller = scene.pick(BROWSERS) if plan.strength == "suspicious" else program
    return connect(scene, at + scene.between(5, 150), who, caller, scene.public_address())


def visit(scene: Scene, at: float, who: Actor, remote: str) -> float:
    """Write a connection of an address on the internet to a host; return the line's time."""
    return scene.add(
        at,
        "net_conn",
        scene.pick(("flow", "allow")),
        who.host,
        src_ip=remote,
        dst_ip=who.ip,
        dst_port=scene.pick((22, 443, 3389, 8080)),
        direction="inbound",
        dst_scope="internal",
    )


def write(scene: Scene, at: float, who: Actor, path: str, program: str) -> float:
    """Write a new file of a program; return the line's time."""
    return scene.add(at, "file", "create", who.host, who.user, file_path=path, process_path=program)


def sign_in(scene: Scene, at: float, who: Actor, source: str, protocol: str = "NTLM") -> float:
    """Write a sign-in of an account over the network; return the line's time."""
    return scene.add(
        at,
        "logon",
        "success",
        who.host,
        who.user,
        user_name=who.user,
        logon_type=3,
        src_ip=source,
        auth_protocol=protocol,
    )


def trail(scene: Scene, at: float, who: Actor, source: str, stopped: bool) -> float:
    """Write a cloud call that stops the audit trail, or only looks at it; return the line's time."""
    hostile = ("StopLogging", "DeleteTrail", "PutEventSelectors")
    operation = scene.pick(hostile if stopped else ("DescribeTrails", "GetTrailStatus", "LookupEvents"))
    selectors = ',"eventSelectors":[{"readWriteType":"ReadOnly","includeManagementEvents":false}]'
    return scene.add(
        at,
        "cloud_api",
        "call",
        who.host,
        who.user,
        src_ip=source,
        api_service="cloudtrail.amazonaws.com",
        api_operation=operation,
        user_agent=scene.pick(("aws-cli/2.15", "console.amazonaws.com", "Boto3/1.34")),
        resources=f'{{"trailName":"org-trail"{selectors if operation == "PutEventSelectors" else ""}}}',
    )


# ---------------------------------------------------------------- bursts of one source
def probe(scene: Scene, at: float, target: Actor, source: str, *, hostile: bool, inside: bool = False) -> float:
    """Write how a source tries many ports of a host, or the same four again and again; return the last line's time."""
    times = scene.between(13, 16)
    ports = scene.some(range(20, 9000), times if hostile else 4)
    for index in range(times):
        at = scene.add(
            at + scene.between(1, 14),
            "net_conn",
            scene.pick(("block", "block", "flow")),
            target.host,
            src_ip=source,
            dst_ip=target.ip,
            dst_port=ports[index % len(ports)],
            direction="lateral" if inside else "inbound",
            dst_scope="internal",
        )
    return at


def attack(scene: Scene, at: float, target: Actor, source: str, urls: Sequence[str], *, hostile: bool) -> float:
    """Write how a source attacks a web application, or how each odd request has another visitor; return the last line's time.

    `urls` may hold `{}`, which is filled with a made-up word.
    """
    for _ in range(scene.between(5, 8)):
        at = scene.add(
            at + scene.between(5, 50),
            "http",
            "request",
            target.host,
            url=scene.pick(urls).replace("{}", scene.word()),
            http_method=scene.pick(("GET", "POST")),
            status_code=scene.pick((200, 403, 404, 500)),
            user_agent=scene.pick(("Mozilla/5.0", "curl/8.5", "python-requests/2.31")),
            src_ip=source if hostile else scene.public_address(),
            dst_ip=target.ip,
        )
    return at


def knock(scene: Scene, at: float, target: Actor, source: str, *, hostile: bool) -> float:
    """Write how a source opens sessions of remote desktop without end, or many sources one each; return the last line's time."""
    for _ in range(scene.between(27, 29)):
        at = scene.add(
            at + scene.between(2, 8),
            "logon",
            "rdp_session",
            target.host,
            logon_type=10,
            src_ip=source if hostile else scene.public_address(),
        )
    return at


# ---------------------------------------------------------------- facts
def list_value(scene: Scene, value: str, confidence: str) -> None:
    """List an address or a name in the intelligence with a confidence; with none, list a stranger instead."""
    if confidence:
        scene.indicators.append({"value": value, "confidence": confidence})  # type: ignore[typeddict-item]
    else:
        scene.list_stranger()


def list_by_strength(scene: Scene, value: str, plan: Plan) -> None:
    """List the value that decides in the intelligence: high, low or not at all, by the plan's strength."""
    list_value(scene, value, {"confirmed": "high", "suspicious": "low", "below": ""}[plan.strength])


def choose_prober(scene: Scene, plan: Plan) -> tuple[str, str, str]:
    """Choose a host, its address, and the source that probes it: a stranger, an authorised scanner or (suspicious) another host of ours.

    Now and then the scanner takes the hostile stranger's part, outside the networks that it may probe.
    """
    scanner = scene.organisation.scanners[1]["ip"]
    if plan.explanation == "scanner":
        for host in scene.organisation.hosts.values():
            if (
                host["role"] in ("web_server", "mail_server")
                and (host["criticality"] == "crown_jewel") == plan.on_crown_jewel
            ):
                return host["name"], host["ip"], scanner
    host = scene.host(plan.on_crown_jewel)
    if plan.strength == "suspicious":
        return host["name"], host["ip"], other_host(scene, Actor(host["name"], "", "")).ip
    astray = plan.strength == "confirmed" and int(host["ip"].split(".")[2]) not in (4, 5) and scene.chance(0.3)
    return host["name"], host["ip"], scanner if astray else scene.public_address()
