"""Reaching further: looking for hosts and administrators, work on other hosts and their shares, and what is gathered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from schema import LOGON_WORK, Host
from tasks.families.story import choose_halves
from tasks.families.tellings import Row, Telling, made, order, script, setting, start, tell
from tasks.paths import EXPLORER, SYSTEM32
from tasks.scene import FIRM, GRAVE, HOST, PROBE, SOFT, TOOL, Actor, Family, Plan, Scene, TicketScope

_CMD = SYSTEM32 + "cmd.exe"
_WMI = SYSTEM32 + "wbem\\WmiPrvSE.exe"
_PSEXEC = "C:\\Program Files\\Sysinternals\\PsExec.exe"
_ARCHIVER = "C:\\Program Files\\7-Zip\\7z.exe"


# ---------------------------------------------------------------- looking
def _look(program: str, after: tuple[int, int], user: str = "{user}") -> Row:
    return start(SYSTEM32 + program, program.removesuffix(".exe"), _CMD, after=after, user=user)


_LOOKS = (
    ("whoami.exe", "systeminfo.exe", "tasklist.exe", "ipconfig.exe", "netstat.exe", "quser.exe"),
    ("hostname.exe", "arp.exe", "route.exe", "whoami.exe", "qwinsta.exe", "nbtstat.exe"),
    ("systeminfo.exe", "netstat.exe", "hostname.exe", "tasklist.exe", "quser.exe", "arp.exe"),
)


def _looks(programs: Sequence[str], after: tuple[int, int] = (2, 35)) -> Telling:
    return [_look(program, after) for program in programs]


def _asked(*pairs: tuple[str, str, str]) -> tuple[list[Telling], list[Telling]]:
    """Make tellings of one command each: programs with arguments that a rule finds, and with arguments that it does not."""
    return (
        [[order(program, found, parent=(EXPLORER, _CMD))] for program, found, _ in pairs],
        [[order(program, ordinary, parent=(EXPLORER, _CMD))] for program, _, ordinary in pairs],
    )


_ADMINS, _NOBODY = _asked(
    ("net.exe", 'group "Domain Admins" /domain', "accounts"),
    ("net.exe", 'group "Enterprise Admins" /domain', "user {user}"),
    ("net.exe", "localgroup administrators", 'localgroup "Remote Desktop Users"'),
    ("net.exe", "user administrator", "user {word}"),
    ("net.exe", "view /domain", "view \\\\{other_host}"),
    ("nltest.exe", "/dclist:corp", "/sc_query:corp"),
    ("nltest.exe", "/domain_trusts /all_trusts", "/dsgetdc:corp"),
    ("setspn.exe", "-q */*", "-l {host}"),
    ("whoami.exe", "/all", "/groups"),
    ("whoami.exe", "/priv", "/upn"),
    ("wmic.exe", "useraccount get name,sid", "os get caption,version"),
    ("powershell.exe", "-Command Get-LocalGroupMember -Name Administrators", "-Command Get-LocalGroupMember -Name Users"),
    ("powershell.exe", "-Command Get-ADUser -Filter * -Properties memberOf", "-Command Get-ADUser -Identity {user}"),
    ("powershell.exe", "-Command Get-DomainController", "-Command Get-Service"),
)  # fmt: skip


def _read(number: str) -> Telling:
    fields = {
        "object_dn": f"S-1-5-21-{{number}}-{{number2}}-{{number3}}-{number}",
        "object_type": ("SAM_GROUP", "SAM_USER"),
        "properties": "Read Property",
        "access_mask": "0x10",
    }
    return [Row("directory", "access", fields)]


def _near(scene: Scene) -> list[Host]:
    """List the hosts that the scanner of the inner networks may probe."""
    return [host for host in scene.organisation.hosts.values() if int(host["ip"].split(".")[2]) <= 4]


def _knocks(
    scene: Scene, source: str, targets: Sequence[Host], ports: Sequence[int], times: int
) -> tuple[float, float]:
    """Write how an address opens a port of one host after another, in a circle; return the times of the first and the last."""
    first = last = scene.moment(2000)
    for index in range(times):
        target = targets[index % len(targets)]
        last = scene.add(
            last + scene.between(1, 9),
            "net_conn",
            scene.pick(("flow", "allow", "open")),
            target["name"],
            src_ip=source,
            dst_ip=target["ip"],
            dst_port=scene.pick(ports),
            direction="lateral",
            dst_scope="internal",
        )
    return first, last


def swept_shares(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how one address tries the file sharing of host after host; in the harmless strength, of the same two, or another service."""
    times, ports = scene.between(7, 9), _SHARE_PORTS
    scanned = plan.explanation == "scanner"
    source = scene.organisation.scanners[0]["ip"] if scanned else scene.host(plan.on_crown_jewel)["ip"]
    targets = scene.some([host for host in _near(scene) if host["ip"] != source], times)
    if plan.strength == "below":
        targets, ports = scene.pick(((targets[:2], ports), (targets, (443, 135, 5985))))
    first, last = _knocks(scene, source, targets, ports, times)
    return TicketScope((targets[0]["name"],), "", "", first, last)


def _swept_then(hostile: Sequence[Telling], harmless: Sequence[Telling]) -> Callable[[Scene, Plan], TicketScope]:
    """Make a story of a host that tries the file sharing of others, and of what one of these does then; in half of it, only either."""

    def play(scene: Scene, plan: Plan) -> TicketScope:
        times, (swept, goes_on) = scene.between(7, 9), choose_halves(scene, plan)
        source, reached = scene.host(False), scene.host(plan.on_crown_jewel)
        others = [host for host in _near(scene) if host["name"] not in (source["name"], reached["name"])]
        targets = [reached, *scene.some(others, times - 1 if swept else 1)]
        first, last = _knocks(scene, source["ip"], targets, _SHARE_PORTS, times)
        who = Actor(reached["name"], reached["ip"], scene.account(plan.privileged)["name"])
        _, last = tell(scene, who, scene.pick(hostile if goes_on else harmless), last + scene.between(20, 900))
        return who.scope("net.exe", first, last)

    return play


_SHARE_PORTS = (445, 445, 139)


def _desktops(scene: Scene, user: str, address: str, hosts: Sequence[str], at: float, rest: tuple[int, int]) -> float:
    """Write how an account opens the desktop of host after host; return the time of the last."""
    for host in hosts:
        at = scene.add(
            at + scene.between(*rest),
            "logon",
            "success",
            host,
            user_name=user,
            logon_type=10,
            src_ip=address,
            auth_protocol="Negotiate",
            status="0x0",
        )
    return at


_SHORT, _LONG = (5, 55), (360, 500)  # rests in seconds: within or beyond what counts as one movement


def spread_desktops(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how one account opens the desktops of host after host; in the harmless strength, a machine's account, or with long rests."""
    times, source = scene.between(6, 8), scene.host(plan.on_crown_jewel)
    user, address, rest = scene.account(plan.privileged)["name"], source["ip"], _SHORT
    if plan.strength == "below":
        user, rest = scene.pick(((f"{source['name']}$", rest), (user, _LONG)))
    if plan.explanation == "scanner":
        address = scene.organisation.scanners[0]["ip"]
    hosts = scene.some([host["name"] for host in _near(scene) if host["name"] != source["name"]], times)
    first = scene.moment(times * rest[1])
    return TicketScope(tuple(hosts), user, LOGON_WORK, first, _desktops(scene, user, address, hosts, first, rest))


def _then_spread(hostile: Sequence[Telling], harmless: Sequence[Telling]) -> Callable[[Scene, Plan], TicketScope]:
    """Make a story of a command, and of desktop after desktop that its account opens; in half of the story, with long rests."""

    def play(scene: Scene, plan: Plan) -> TicketScope:
        times, source = 6, scene.host(plan.on_crown_jewel)
        who = Actor(source["name"], source["ip"], scene.account(plan.privileged)["name"])
        rest = _SHORT if plan.strength == "confirmed" else _LONG
        first = scene.moment(300 + times * rest[1])
        tell(scene, who, scene.pick(harmless if plan.strength == "below" else hostile), first)
        hosts = scene.some([host["name"] for host in _near(scene) if host["name"] != source["name"]], times)
        return who.scope(
            "net.exe", first, _desktops(scene, who.user, who.ip, hosts, first + scene.between(20, 300), rest)
        )

    return play


# ---------------------------------------------------------------- other hosts
def _child(parent: str, line: str, path: str, command: Any) -> Row:
    fields = {"process_path": path, "process_cmd_line": command, "parent_path": parent, "parent_cmd_line": line}
    return Row("process", "launch", fields, after=(10, 150))


def _signed_in(user: str = "{user}") -> Row:
    fields = {"user_name": user, "logon_type": 3, "src_ip": "{other_ip}", "auth_protocol": ("NTLM", "Kerberos")}
    return Row("logon", "success", fields, user="")


_REMOTE_STARTS = (
    (SYSTEM32 + "mmc.exe", "mmc.exe -Embedding", "mmc.exe compmgmt.msc"),
    ("C:\\Windows\\PSEXESVC.exe", "C:\\Windows\\PSEXESVC.exe", ""),
    (SYSTEM32 + "wbem\\scrcons.exe", "scrcons.exe -Embedding", ""),
    (SYSTEM32 + "wsmprovhost.exe", "wsmprovhost.exe -Embedding", ""),
)
_TASKS = (
    (SYSTEM32 + "cscript.exe", ("cscript.exe D:\\Scripts\\{word}.vbs", "cscript.exe //B D:\\{word}\\{word2}.js")),
    (_CMD, ("cmd.exe /c D:\\Scripts\\{word}.cmd", "cmd.exe /c dir D:\\{word}")),
)


def _remotely(*before: Row) -> list[Telling]:
    return [[*before, _child(parent, line, *task)] for parent, line, _ in _REMOTE_STARTS for task in _TASKS]


def _locally() -> list[Telling]:
    """List starts by the same console opened by hand, or by the desktop, after the same sign-in."""
    parents = [(parent, line) for parent, _, line in _REMOTE_STARTS if line] + [(EXPLORER, "explorer.exe")]
    return [[_signed_in(), _child(*parent, *task)] for parent in parents for task in _TASKS]


_FAR_KEYS = (
    "HKLM\\SYSTEM\\CurrentControlSet\\Control\\CrashControl\\LogEvent",
    "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\{word}",
    "HKLM\\SYSTEM\\CurrentControlSet\\Services\\{word}\\Start",
    "HKLM\\SYSTEM\\CurrentControlSet\\Services\\{word}\\Parameters\\{word2}",
)
_NEAR_KEYS = ("HKLM\\SOFTWARE\\{word}\\LastRun", "HKLM\\SOFTWARE\\{word}\\Services", "HKLM\\SOFTWARE\\{word}\\Control")
_NUMBERS = ("DWORD (0x00000001)", "DWORD (0x00000003)", "DWORD (0x00000007)")
_OUTPUTS = ("ipconfig", "hostname", "dir D:\\{word}", "tasklist", "ver", "type D:\\{word}\\{word2}.txt")


def _pipe(name: Any, program: str, activity: str = "create") -> Telling:
    return [Row("pipe", activity, {"pipe_name": name, "process_path": program})]


_SHELL_PIPES = ("\\{word}-{host}-{number}-stdin", "\\{word}-{host}-{number}-stdout", "\\RemCom_communication")
_FRAMEWORK_PIPES = (
    "\\postex_1a2b",
    "\\msagent_7f",
    "\\status_4c",
    "\\MSSE-{number}-server",
    "\\gruntsvc",
    "\\dserpipe",
)
_OWN_PIPES = ("\\{word}", "\\{word}-{host}-{number}", "\\wkssvc", "\\srvsvc", "\\status-{word}")

_MOUNTED, _VISITED = _asked(
    ("net.exe", "use z: \\\\{other_host}\\c$", "use z: \\\\{other_host}\\{word}"),
    ("net.exe", "use \\\\{other_host}\\admin$ /user:{other_user}", "use \\\\{other_host}\\docs /user:{other_user}"),
    ("net.exe", "use * \\\\{other_host}\\d$ /persistent:no", "use * /delete"),
    ("xcopy.exe", "D:\\{word} \\\\{other_host}\\c$\\{word} /s", "D:\\{word} \\\\{other_host}\\{word} /s"),
    ("cmd.exe", "/c copy D:\\{word}.txt \\\\{other_host}\\c$\\{word2}", "/c copy D:\\{word}.txt \\\\{other_host}\\{word2}"),
    ("powershell.exe", "-Command New-PSDrive -Name {word} -PSProvider FileSystem -Root \\\\{other_host}\\c$", "-Command New-PSDrive -Name {word} -PSProvider FileSystem -Root \\\\{other_host}\\docs"),
)  # fmt: skip
_STARTED_THERE, _STARTED_HERE = _asked(
    (_PSEXEC, "\\\\{other_host} D:\\Scripts\\{word}.cmd", "-i D:\\Scripts\\{word}.cmd"),
    (_PSEXEC, "-accepteula \\\\{other_host} hostname", "-accepteula -i hostname"),
    ("wmic.exe", '/node:{other_host} service where name="{word}" call startservice', "/node:{other_host} service get name,state"),
    ("wmic.exe", '/node:{other_host} share call create "D:\\{word}","{word}",0', "/node:{other_host} share get name,path"),
    ("powershell.exe", "-Command Invoke-Command -ComputerName {other_host} -ScriptBlock { hostname }", "-Command Invoke-Command -ScriptBlock { hostname }"),
    ("powershell.exe", "-Command New-PSSession -ComputerName {other_host}", "-Command Test-NetConnection -ComputerName {other_host}"),
    ("powershell.exe", "-Command Invoke-CimMethod -ComputerName {other_host} -ClassName Win32_Process -MethodName Create", "-Command Get-CimInstance -ComputerName {other_host} -ClassName Win32_Process"),
)  # fmt: skip
_THERE_BY_SHELL, _HERE_BY_SHELL = _asked(
    ("winrs.exe", "-r:{other_host} hostname", "-?"),
    ("winrs.exe", "-remote:{other_host} D:\\Scripts\\{word}.cmd", "-h"),
    ("cmd.exe", "/c winrs -r:{other_host} D:\\Scripts\\{word}.cmd", "/c D:\\Scripts\\{word}.cmd"),
)

# ---------------------------------------------------------------- what is gathered
_PACKED, _OPENED = _asked(
    (_ARCHIVER, "a -pSecret{number} D:\\{word}.7z D:\\Shares\\{word2}", "a D:\\{word}.7z D:\\Shares\\{word2}"),
    (_ARCHIVER, "a -mhe=on -p{word} -v100m E:\\{word2}.7z D:\\Projects", "x -p{word} E:\\{word2}.7z"),
    ("powershell.exe", "-Command Get-Clipboard | Out-File D:\\{word}.txt", "-Command Get-Content D:\\{word}.txt | Set-Clipboard"),
)  # fmt: skip
_WATCHED, _DRAWN = _asked(
    ("psr.exe", "/start /output D:\\{word}.zip /gui 0", "/stop"),
    ("soundrecorder.exe", "/file D:\\{word}.wma /duration 0:10:00", "/?"),
    ("C:\\Program Files\\WinRAR\\rar.exe", "a -hp{word} D:\\{word2}.rar D:\\Shares", "a D:\\{word2}.rar D:\\Shares"),
)
_SCREENS = ("$graphics.CopyFromScreen(0, 0, 0, 0, $bitmap.Size); $bitmap.Save('D:\\{word}.png')",)
_DRAWINGS = ("$graphics.DrawImage($picture, 0, 0, $bitmap.Size); $bitmap.Save('D:\\{word}.png')",)


_TUNNELLED = _asked(
    ("C:\\Program Files\\ngrok\\ngrok.exe", "start --all --config D:\\{word}.yml", "config check --config D:\\{word}.yml"),
    ("D:\\Tools\\frpc.exe", "-c D:\\{word}.ini", "verify --config D:\\{word}.ini"),
    ("D:\\Tools\\chisel.exe", "client {domain}:{number} R:{number2}:127.0.0.1:445", "--help {domain}:{number}"),
)  # fmt: skip


FAMILIES: tuple[Family, ...] = (
    Family(
        "swept_shares",
        "T1135",
        "discovery",
        swept_shares,
        (),
        SOFT,
        PROBE,
        names_account=False,
        rules=("share-sweep",),
        platform="network",
    ),
    Family(
        "spread_desktops",
        "T1021.001",
        "lateral_movement",
        spread_desktops,
        GRAVE,
        FIRM,
        ("ticket", "scanner"),
        rules=("account-spread",),
    ),
    Family(
        "swept_and_mounted",
        "T1135",
        "discovery",
        _swept_then(_MOUNTED[:5], _VISITED[:5]),
        GRAVE,
        explanations=(),
        rules=("share-sweep", "share-mounted"),
    ),
    Family(
        "swept_and_tunnelled",
        "T1572",
        "command_and_control",
        _swept_then(*_TUNNELLED),
        GRAVE,
        explanations=(),
        rules=("tunnel-started", "share-sweep"),
    ),
    Family(
        "mounted_and_spread",
        "T1021.001",
        "lateral_movement",
        _then_spread(_MOUNTED[:5], _VISITED[:5]),
        GRAVE,
        explanations=(),
        rules=("share-mounted", "account-spread"),
    ),
    Family(
        "sought_and_spread",
        "T1087.002",
        "discovery",
        _then_spread(_ADMINS[:7], _NOBODY[:7]),
        GRAVE,
        explanations=(),
        rules=("admin-discovery", "account-spread"),
    ),
    Family(
        "swept_and_started",
        "T1135",
        "discovery",
        _swept_then(_THERE_BY_SHELL, _HERE_BY_SHELL),
        GRAVE,
        explanations=(),
        rules=("remote-execution", "share-sweep"),
    ),
    made(
        "sought_administrators",
        "T1087.002",
        "discovery",
        ("admin-discovery",),
        suspicious=_ADMINS,
        below=_NOBODY,
    ),
    made(
        "read_administrators",
        "T1069.002",
        "discovery",
        ("admin-discovery",),
        "powershell.exe",
        suspicious=[_read(number) for number in ("500", "512", "518", "519")],
        below=[_read("{number4}1")],
        explanations=TOOL,
    ),
    made(
        "looked_around",
        "T1082",
        "discovery",
        ("looking-around",),
        suspicious=[_looks(programs) for programs in _LOOKS],
        below=[_looks(programs, (170, 260)) for programs in _LOOKS] + [_looks(programs[:2] * 3) for programs in _LOOKS],
        explanations=(),
    ),
    made(
        "gathered_files",
        "T1560.001",
        "collection",
        ("data-collected",),
        suspicious=_PACKED,
        below=_OPENED,
        explanations=TOOL,
    ),
    made(
        "watched_screen",
        "T1113",
        "collection",
        ("data-collected",),
        suspicious=[*_WATCHED, [script(*_SCREENS)]],
        below=[*_DRAWN, [script(*_DRAWINGS)]],
    ),
    made(
        "far_registry",
        "T1112",
        "defense_evasion",
        ("remote-registry",),
        suspicious=[[setting(_FAR_KEYS, _NUMBERS, _WMI)]],
        below=[[setting(_FAR_KEYS, _NUMBERS)], [setting(_NEAR_KEYS, _NUMBERS, _WMI)]],
    ),
    made(
        "started_remotely",
        "T1021.003",
        "lateral_movement",
        ("remote-command",),
        confirmed=_remotely(_signed_in()),
        suspicious=_remotely(_signed_in("{other_user}")),
        below=_locally(),
        reaches=HOST,
    ),
    made(
        "written_to_share",
        "T1021.002",
        "lateral_movement",
        ("output-to-share",),
        confirmed=[
            [order("cmd.exe", *(f"/c {text} 1> \\\\{place}\\{share}\\{{word3}}.txt 2>&1" for text in _OUTPUTS))]
            for place in ("127.0.0.1", "localhost", "{other_host}")
            for share in ("ADMIN$", "C$")
        ],
        below=[
            [order("cmd.exe", *(f"/c {text} 1> {place}\\{{word3}}.txt 2>&1" for text in _OUTPUTS))]
            for place in ("D:\\{word4}", "\\\\{other_host}\\{word4}", "\\\\127.0.0.1\\{word4}")
        ],
        reaches=HOST,
    ),
    made(
        "shell_pipe",
        "T1570",
        "lateral_movement",
        ("remote-shell-pipe",),
        confirmed=[_pipe(_SHELL_PIPES, "C:\\Windows\\{word}.exe"), _pipe(_FRAMEWORK_PIPES, SYSTEM32 + "rundll32.exe")],
        suspicious=[
            _pipe(("\\PSEXESVC-{host}-{number}-stdin", "\\PSEXESVC-{host}-{number}-stderr"), "C:\\Windows\\PSEXESVC.exe"),
            _pipe(_SHELL_PIPES, "C:\\Windows\\PAExec.exe"),
            _pipe(_SHELL_PIPES, "C:\\Windows\\{word}.exe", "connect"),
        ],
        below=[
            _pipe(_OWN_PIPES, program, activity)
            for program in ("C:\\Windows\\{word}.exe", "C:\\Windows\\PSEXESVC.exe", SYSTEM32 + "rundll32.exe")
            for activity in ("create", "connect")
        ],
        reaches=HOST,
    ),
    made(
        "mounted_drive",
        "T1021.002",
        "lateral_movement",
        ("share-mounted",),
        suspicious=_MOUNTED,
        below=_VISITED,
    ),
    made(
        "started_there",
        "T1021.006",
        "lateral_movement",
        ("remote-execution",),
        suspicious=_STARTED_THERE,
        below=_STARTED_HERE,
        explanations=TOOL,
    ),
    made(
        "shell_there",
        "T1021.006",
        "lateral_movement",
        ("remote-execution",),
        suspicious=_THERE_BY_SHELL,
        below=_HERE_BY_SHELL,
    ),
)  # fmt: skip
