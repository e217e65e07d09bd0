"""What makes code run again: services, tasks, autostart values, hijacked classes, start-up folders, subscriptions and web shells."""

from __future__ import annotations

from schema import WMI_WORK
from tasks.families.tellings import Row, Telling, connect, file, made, order, service, setting, start, task
from tasks.paths import EXPLORER, OWN_FOLDER, POWERSHELL, START_MENU, SYSTEM32
from tasks.scene import HOST, TOOL, Family

CMD = SYSTEM32 + "cmd.exe"
REG = SYSTEM32 + "reg.exe"
SERVICES = SYSTEM32 + "services.exe"
SVCHOST = SYSTEM32 + "svchost.exe"
SERVER = SYSTEM32 + "inetsrv\\w3wp.exe"
SERVICE_KEY = "HKLM\\System\\CurrentControlSet\\Services\\{word}\\"
CURRENT = "HKLM\\Software\\Microsoft\\Windows NT\\CurrentVersion\\"
CONTROL = "HKLM\\System\\CurrentControlSet\\Control\\"
CLASS = "HKU\\S-1-5-21-{number}-1001_Classes\\CLSID\\{{hex}-0000-4000-8000-0000{hex2}}\\"


# ---------------------------------------------------------------- services
_ODD_HOMES = (
    "D:\\{word}\\{word2}.exe -d C:\\Program Files\\{word3}",
    "D:\\Tools\\{word}.exe",
    "C:\\Windows\\{word}.exe",
    "%SystemRoot%\\{word}.exe",
    "E:\\{word}\\{word2}.exe",
)
_HOMES = (
    "C:\\Program Files\\{word}\\{word2}.exe -d D:\\{word3}",
    "C:\\Program Files\\{word}\\{word2}.exe",
    "C:\\Windows\\System32\\{word}.exe",
    "%SystemRoot%\\System32\\{word}.exe",
    "C:\\Program Files (x86)\\{word}\\{word2}.exe",
)


def _image(command: str) -> Telling:
    return [setting(SERVICE_KEY + "ImagePath", command, SERVICES)]


def _change(value: str, data: str, program: str = REG) -> Telling:
    return [setting(SERVICE_KEY + value, data, program)]


def _added(value: str, data: str) -> Telling:
    return [order("reg.exe", f'add "{SERVICE_KEY[:-1]}" /v {value} /t REG_EXPAND_SZ /d "{data}" /f', parent=CMD)]


# ---------------------------------------------------------------- values that load code
_LOADERS = (
    CURRENT + "Windows\\AppInit_DLLs",
    CONTROL + "Session Manager\\AppCertDlls\\{word2}",
    CONTROL + "Print\\Monitors\\{word2}\\Driver",
    "HKLM\\System\\CurrentControlSet\\Services\\W32Time\\TimeProviders\\{word2}\\DllName",
    "HKLM\\Software\\Microsoft\\NetSh\\{word2}",
    "HKCU\\Software\\Microsoft\\Office Test\\Special\\Perf",
    CURRENT + "Winlogon\\Notify\\{word2}\\DllName",
    "HKLM\\System\\CurrentControlSet\\Services\\DNS\\Parameters\\ServerLevelPluginDll",
    CURRENT + "Winlogon\\GPExtensions\\{word2}\\DllName",
    CURRENT + "Windows\\IconServiceLib",
    CONTROL + "Lsa\\Notification Packages",
    CONTROL + "Lsa\\Security Packages",
)
_STARTERS = (
    "HKCU\\Environment\\UserInitMprLogonScript",
    "HKCU\\Software\\Microsoft\\Command Processor\\AutoRun",
    "HKCU\\Control Panel\\Desktop\\SCRNSAVE.EXE",
    "HKLM\\Software\\Microsoft\\Active Setup\\Installed Components\\{word2}\\StubPath",
    CURRENT + "SilentProcessExit\\{word2}.exe\\MonitorProcess",
    CURRENT + "Windows\\Load",
    CURRENT + "Winlogon\\MPNotify",
    CONTROL + "Session Manager\\BootExecute",
    CURRENT + "AppCompatFlags\\InstalledSDB\\{word2}\\DatabasePath",
    "HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Explorer\\User Shell Folders\\Startup",
)
_UNREAD = (
    "HKLM\\Software\\{word3}\\{word2}\\DllName",
    "HKCU\\Software\\{word3}\\Plugins\\{word2}",
    CONTROL + "Print\\Monitors\\{word2}\\Description",
)
_BY = (REG, "C:\\Windows\\regedit.exe", "{installed}")
_RUN = "HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Run"
_RUN_KEYS = (
    "HKU\\S-1-5-21-{number}-1001\\Software\\Microsoft\\Windows\\CurrentVersion\\RunOnce\\{word2}",
    "HKLM\\Software\\Microsoft\\Windows\\CurrentVersion\\Policies\\Explorer\\Run\\{word2}",
    CURRENT + "Winlogon\\Shell",
    CURRENT + "Image File Execution Options\\{word2}.exe\\Debugger",
)


def _loaded(folder: str) -> list[Telling]:
    """List tellings of values that are set to a file of a folder."""
    return [
        *([setting(key, folder + "\\{word}.dll", program)] for key in _LOADERS for program in _BY),
        *([setting(key, folder + "\\{word}.exe", program)] for key in _STARTERS for program in _BY),
    ]


def _run_by_command(keys: tuple[str, ...], path: str) -> list[Telling]:
    return [[order("reg.exe", f"add {key} /v {{word2}} /d {path} /f", parent=(CMD, EXPLORER))] for key in keys]


def _registered(data: str, *programs: str) -> list[Telling]:
    parts = ("InprocServer32\\(Default)", "LocalServer32", "ScriptletURL", "TreatAs")
    return [[setting(CLASS + part, data, program)] for part in parts for program in programs]


# ---------------------------------------------------------------- files and tasks
_START_FILES = (
    "C:\\ProgramData\\" + START_MENU + "Startup\\{word}.lnk",
    "C:\\Users\\{user}\\AppData\\Roaming\\" + START_MENU + "Startup\\{word}.vbs",
    "C:\\Users\\{user}\\AppData\\Roaming\\" + START_MENU + "Startup\\{word}.url",
    "C:\\Users\\{user}\\AppData\\Roaming\\Microsoft\\Excel\\XLSTART\\{word}.xlam",
    "C:\\Users\\{user}\\AppData\\Roaming\\Microsoft\\Word\\STARTUP\\{word}.dotm",
    "C:\\Users\\{user}\\Documents\\WindowsPowerShell\\profile.ps1",
)
_MENU_FILES = (
    "C:\\ProgramData\\" + START_MENU + "{word2}\\{word}.lnk",
    "C:\\Users\\{user}\\AppData\\Roaming\\" + START_MENU + "{word2}\\{word}.vbs",
    "C:\\Users\\{user}\\AppData\\Roaming\\" + START_MENU + "{word2}\\{word}.url",
    "C:\\Users\\{user}\\AppData\\Roaming\\Microsoft\\Excel\\{word2}\\{word}.xlam",
    "C:\\Users\\{user}\\AppData\\Roaming\\Microsoft\\Templates\\{word}.dotm",
    "C:\\Users\\{user}\\Documents\\{word2}\\profile.ps1",
)
_SHELL_JOBS = (
    "cmd.exe /c D:\\{word}\\{word2}.cmd",
    "powershell.exe -File D:\\{word}\\{word2}.ps1",
    "wscript.exe //b D:\\{word}\\{word2}.vbs",
    "rundll32.exe D:\\{word}\\{word2}.dll,Start",
)
_PLAIN_JOBS = (
    "D:\\{word}\\{word2}.exe /c D:\\{word}\\{word2}.cmd",
    "D:\\{word}\\{word2}.exe -File D:\\{word}\\{word2}.ps1",
    "C:\\Program Files\\{word}\\{word2}.exe /c D:\\{word}",
    "C:\\Windows\\System32\\defrag.exe -c -h",
    "C:\\Program Files\\{word}\\{word2}.exe -q",
)


def _jobs(commands: tuple[str, ...], *, other: bool) -> list[Telling]:
    """List tellings of a task that is made, and of one that is removed soon after: another one, or the same."""
    names = ("\\{word3}\\Start", "\\{word3}\\Stop")
    return [
        [task(command, first), task(command, removed, activity="delete", after=(20, 400))]
        for command in commands
        for first in names
        for removed in names
        if (first != removed) is other
    ]


def _running_job(job: str, path: str, caller: str) -> Telling:
    """Tell how the system is made to start a program by a task, which runs, and who calls outside then."""
    return [
        task(job, "\\{word3}", "SYSTEM", activity="update"),
        task(job, "\\{word3}", "SYSTEM", activity="run", user="SYSTEM", after=(30, 400)),
        start(path, job, SVCHOST, after=(1, 3)),
        connect(caller, after=(2, 200)),
    ]


def _scheduled(*texts: str) -> list[Telling]:
    return [[order("schtasks.exe", text, parent=(CMD, POWERSHELL))] for text in texts]


def _page(path: str, *programs: str) -> list[Telling]:
    return [[file(path, program, activity)] for program in programs for activity in ("create", "modify")]


_SITE = "C:\\inetpub\\wwwroot\\{word}\\{word2}"
_SERVERS = (SERVER, "C:\\Program Files\\Apache\\bin\\httpd.exe", "D:\\Tomcat\\bin\\tomcat9.exe")


def _subscribed(consumer: str, at: str) -> Telling:
    """Tell how a consumer of events is made, and bound on a host."""
    query = "SELECT * FROM Win32_ProcessStartTrace WHERE ProcessName='{word2}.exe'"
    return [
        Row("wmi", "binding", {"wmi_consumer": "{word}", "wmi_query": "__EventFilter.Name={word}"}, host=at),
        Row("wmi", "consumer", {"wmi_consumer": consumer}, after=(1, 30)),
        Row("wmi", "filter", {"wmi_query": query}, host=at, after=(1, 30)),
    ]


_CONSUMERS = (
    "ActiveScriptEventConsumer {word}: GetObject('{word3}')",
    "CommandLineEventConsumer {word}: {loose}\\{word3}.exe",
    "CommandLineEventConsumer {word}: cscript.exe D:\\{word3}.vbs",
)
_QUIET_CONSUMERS = (
    "LogFileEventConsumer {word}: D:\\Logs\\{word3}.log",
    "SMTPEventConsumer {word}: {word3}@{domain}",
    "NTEventLogEventConsumer {word}: {word3}",
)

FAMILIES: tuple[Family, ...] = (
    made(
        "odd_service",
        "T1543.003",
        "persistence",
        ("odd-service",),
        suspicious=[[service(path)] for path in _ODD_HOMES],
        below=[[service(path)] for path in _HOMES],
    ),
    made(
        "service_of_command",
        "T1569.002",
        "execution",
        ("service-runs-command",),
        "cmd.exe",
        confirmed=[
            _image("cmd.exe /c start {word2}"),
            _image("cmd.exe /Q /c D:\\{word2}\\{word3}.cmd"),
            [service('"C:\\Windows\\System32\\cmd.exe"')],
            [service("cmd.exe /c D:\\{word2}.cmd > D:\\{word3}\\Temp\\{word4}.log 2>&1")],
            [task("cmd.exe /c {word2} > D:\\{word3}\\Temp\\{word4}.tmp 2>&1")],
            [task("cmd.exe /c {word2} /log \\\\127.0.0.1\\D$\\{word3}.log")],
        ],
        below=[
            _image("C:\\Program Files\\{word2}\\{word3}.exe /c start"),
            _image("%SystemRoot%\\System32\\{word2}.exe /Q"),
            _image("C:\\Windows\\System32\\{word2}.exe -shell cmd.exe"),
            [service("C:\\Program Files\\{word2}\\{word3}.exe -shell cmd.exe /c {word4}")],
            [task("D:\\{word2}\\{word3}.exe -shell cmd.exe /log D:\\{word4}\\Temp\\{word4}.log")],
            [service("C:\\Program Files\\{word2}\\{word3}.exe /log D:\\{word3}\\Temp\\{word4}.log")],
            [task("C:\\Program Files\\{word2}\\{word3}.exe /c D:\\{word3}\\Temp\\{word4}.tmp")],
            [task("C:\\Program Files\\{word2}\\{word3}.exe /log \\\\{other_host}\\{word2}\\{word3}.log")],
        ],
        reaches=HOST,
    ),
    made(
        "service_of_script",
        "T1569.002",
        "execution",
        ("service-runs-command",),
        "powershell.exe",
        confirmed=[
            _image("powershell.exe -File D:\\{word2}\\{word3}.ps1"),
            [service("powershell.exe -w hidden -File D:\\{word2}\\{word3}.ps1")],
            [service("powershell.exe -WindowStyle 1 -File D:\\{word2}\\{word3}.ps1")],
            [task("powershell.exe -w hidden -File D:\\{word2}\\{word3}.ps1")],
        ],
        below=[
            _image("C:\\Program Files\\{word2}\\{word3}.exe -File D:\\{word2}\\{word3}.ps1"),
            [service("C:\\Program Files\\{word2}\\{word3}.exe -w hidden -File D:\\{word2}\\{word3}.ps1")],
            [task("C:\\Program Files\\{word2}\\{word3}.exe -WindowStyle 1 -File D:\\{word2}\\{word3}.ps1")],
            _image("C:\\Windows\\System32\\{word2}.exe -host powershell.exe -File D:\\{word2}\\{word3}.ps1"),
            [service("C:\\Program Files\\{word2}\\{word3}.exe -host powershell.exe -File D:\\{word2}.ps1")],
            [task("D:\\{word2}\\{word3}.exe -host powershell.exe -File D:\\{word2}\\{word3}.ps1")],
        ],
        reaches=HOST,
        explanations=TOOL,
    ),
    made(
        "turned_service",
        "T1574.011",
        "persistence",
        ("service-changed",),
        confirmed=[
            _change("ImagePath", "{loose}\\{word2}.exe"),
            _change("FailureCommand", "cmd.exe /c D:\\{word2}.cmd"),
            _change("Parameters\\ServiceDll", "{loose}\\{word2}.dll"),
            _change("Performance\\Library", "\\\\{other_host}\\{word2}\\{word3}.dll"),
            _added("ImagePath", "{loose}\\{word2}.exe"),
            _added("FailureCommand", "mshta.exe D:\\{word2}.hta"),
        ],
        suspicious=[
            _change("ImagePath", "C:\\Program Files\\{word2}\\{word3}.exe", "{writable}"),
            _change("Parameters\\ServiceDll", "C:\\Program Files\\{word2}\\{word3}.dll", "{writable}"),
            _added("FailureCommand", "C:\\Program Files\\{word2}\\{word3}.exe"),
            [order("sc.exe", "config {word} binPath= D:\\{word2}\\{word3}.exe", parent=CMD)],
            [order("sc.exe", "failure {word} command= D:\\{word2}\\{word3}.exe", parent=CMD)],
        ],
        below=[
            _change("ImagePath", "C:\\Program Files\\{word2}\\{word3}.exe"),
            _change("Description", "{loose}\\{word2}.exe", "{writable}"),
            _change("Parameters\\ServiceDll", "C:\\Program Files\\{word2}\\{word3}.dll", "{installed}"),
            _added("DisplayName", "{word2}"),
            [order("sc.exe", "config {word} start= auto", parent=CMD)],
            [order("sc.exe", "failure {word} reset= 86400 actions= restart/60000", parent=CMD)],
        ],
        reaches=HOST,
    ),
    made(
        "loaded_value",
        "T1547",
        "persistence",
        ("autostart-value",),
        suspicious=_loaded("{loose}") + _run_by_command((_RUN, _RUN + "Once"), "{installed}") * 4,
        below=_loaded("{apps}")
        + [[setting(key, "{loose}\\{word}.dll", program)] for key in _UNREAD for program in _BY for _ in range(5)]
        + _run_by_command(("HKCU\\Software\\{word}", _RUN[:-3] + "{word}"), "{installed}") * 4,
    ),
    made(
        "hijacked_class",
        "T1546.015",
        "persistence",
        ("class-hijack",),
        confirmed=_registered("{loose}\\{word}.dll", "{writable}"),
        suspicious=_registered("{loose}\\{word}.dll", REG, "{installed}", SYSTEM32 + "regsvr32.exe"),
        below=_registered("{apps}\\{word}.dll", REG, "{writable}", SYSTEM32 + "regsvr32.exe")
        + _registered(OWN_FOLDER + "{word3}.dll", *[OWN_FOLDER + "{word2}.exe"] * 3),
        reaches=HOST,
    ),
    made(
        "started_at_sign_in",
        "T1547.009",
        "persistence",
        ("startup-folder",),
        confirmed=[[file(path, program)] for path in _START_FILES for program in (CMD, POWERSHELL, "{writable}")],
        suspicious=[
            [file(path, program)] for path in _START_FILES for program in ("{installed}", "D:\\Tools\\{word2}.exe")
        ],
        below=[
            *([file(path, program)] for path in _MENU_FILES for program in (CMD, "{writable}", "{installed}")),
            *([file(path, program)] for path in _START_FILES for program in (EXPLORER, SYSTEM32 + "msiexec.exe")),
        ],
        reaches=HOST,
    ),
    made(
        "short_task",
        "T1053.005",
        "persistence",
        ("task-command",),
        confirmed=_jobs(_SHELL_JOBS, other=False),
        suspicious=_jobs(_SHELL_JOBS, other=True),
        below=_jobs(_PLAIN_JOBS, other=False),
        reaches=HOST,
    ),
    made(
        "scheduled_shell",
        "T1053.005",
        "persistence",
        ("task-command",),
        suspicious=_scheduled(
            "/create /tn {word} /tr D:\\{word2}\\{word3}.exe /sc onlogon /ru SYSTEM",
            '/create /tn {word} /tr "powershell -File D:\\{word2}.ps1" /sc daily /st 11:30',
            "/create /s {other_host} /tn {word} /tr D:\\{word2}.exe /sc once /st 23:10",
            "/create /tn {word} /xml D:\\{word2}.xml",
            "/change /tn {word} /tr D:\\{word2}.exe",
        ),
        below=_scheduled(
            "/create /tn {word} /tr D:\\{word2}\\{word3}.exe /sc onlogon /ru {user}",
            "/create /tn {word} /tr D:\\{word2}.exe /sc daily /st 11:30",
            "/query /s {other_host} /tn {word} /v",
            "/query /tn {word} /xml",
            "/change /tn {word} /disable",
        ),
        explanations=TOOL,
    ),
    made(
        "page_with_shell",
        "T1505.003",
        "persistence",
        ("web-shell-written",),
        confirmed=[
            row
            for ending in (".aspx", ".php", ".jsp", ".ashx", ".asmx", ".cfm")
            for row in _page(_SITE + ending, *_SERVERS)
        ],
        suspicious=[row for ending in (".aspx", ".php") for row in _page(_SITE + ending, CMD, POWERSHELL)],
        below=[row for ending in (".png", ".log", ".js") for row in _page(_SITE + ending, *_SERVERS, CMD)]
        + [
            row
            for ending in (".aspx", ".php", ".jsp")
            for row in _page(
                _SITE + ending, "C:\\Program Files\\IIS\\msdeploy.exe", EXPLORER, "C:\\Program Files\\Git\\git.exe"
            )
        ],
        reaches=HOST,
    ),
    # other tellings of what families of other splits tell
    made(
        "task_of_system",
        "T1053.005",
        "persistence",
        ("task-runs-foreign-program",),
        confirmed=[
            _running_job(
                "C:\\ProgramData\\{word}\\{word2}.exe -q",
                "C:\\ProgramData\\{word}\\{word2}.exe",
                "C:\\ProgramData\\{word}\\{word2}.exe",
            ),
            _running_job("{loose}\\{word2}.exe -q", "{loose}\\{word2}.exe", "{loose}\\{word2}.exe"),
        ],
        suspicious=[
            _running_job("C:\\ProgramData\\{word}\\{word2}.exe -q", "C:\\ProgramData\\{word}\\{word2}.exe", SVCHOST),
            _running_job("{loose}\\{word2}.exe -q", "{loose}\\{word2}.exe", SVCHOST),
        ],
        below=[
            _running_job("{apps}\\{word2}.exe -q", "{apps}\\{word2}.exe", "{apps}\\{word2}.exe"),
            _running_job("D:\\{word}\\{word2}.exe -q", "D:\\{word}\\{word2}.exe", SVCHOST),
        ],
        reaches=HOST,
    ),
    made(
        "run_once",
        "T1547.001",
        "persistence",
        ("autorun-entry",),
        confirmed=[[setting(key, "{loose}\\{word}.exe", "{writable}")] for key in _RUN_KEYS],
        suspicious=[
            *([setting(key, "{loose}\\{word}.exe", program)] for key in _RUN_KEYS for program in (REG, "{installed}")),
            *([setting(key, "wscript.exe //b D:\\{word}.vbs", REG)] for key in _RUN_KEYS[:2]),
        ],
        below=[
            *([setting(key, "{apps}\\{word}.exe", program)] for key in _RUN_KEYS for program in (REG, "{writable}")),
            *([setting(_RUN_KEYS[0], OWN_FOLDER + "{word3}.exe", OWN_FOLDER + "{word4}.exe")] for _ in range(4)),
            [setting(CURRENT + "AppCompatFlags\\Layers\\{word2}", "{loose}\\{word}.exe", "{writable}")],
        ],
        reaches=HOST,
    ),
    made(
        "scripted_consumer",
        "T1546.003",
        "persistence",
        ("wmi-subscription",),
        WMI_WORK,
        confirmed=[_subscribed(consumer, "{host}") for consumer in _CONSUMERS],
        suspicious=[_subscribed(consumer, "{other_host}") for consumer in _CONSUMERS],
        below=[_subscribed(consumer, "{host}") for consumer in _QUIET_CONSUMERS],
        reaches=HOST,
    ),
)
