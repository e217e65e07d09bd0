"""The few things that most stories share: programs by their paths, halves of a story, lines, and facts of the world."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.paths import BROWSERS, EXPLORER
from tasks.scene import Actor, Plan, Scene, other_host


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
