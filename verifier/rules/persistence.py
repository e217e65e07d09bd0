"""Rules on what makes code run again: services, tasks, autostart values, start-up folders, hijacked classes (ATT&CK Persistence)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import FileFields, RegistryFields, ServiceFields, TaskFields
from verifier.commands import lines_by_meaning, settings, told
from verifier.rules.kit import (
    AUTORUN,
    MANAGERS,
    SERVER_PROGRAMS,
    SHELLS,
    Legacy,
    by_host_and_user,
    legacy_rule,
    program_of,
    shell_name,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    basename,
    is_installed,
    is_person_or_service,
    is_user_writable,
    kinds,
    one_program,
)

SHORT_LIFE_S = 600

_SERVICE_VALUE = re.compile(
    r"\\services\\[^\\]+\\(?:imagepath|failurecommand|parameters\\servicedll|performance\\library)$"
)

_AUTOSTART = re.compile(
    r"\\winlogon\\(?:userinit|shell|notify\\.{1,80}|mpnotify|gpextensions\\.{1,80}\\dllname)$|\\currentversion\\windows\\(?:appinit_dlls|load|run|iconservicelib)$"
    r"|\\lsa\\(?:security packages|authentication packages|notification packages)$|\\lsa\\osconfig\\security packages$|\\silentprocessexit\\[^\\]+\\monitorprocess$"
    r"|\\session manager\\(?:appcertdlls(?:\\[^\\]+)?|bootexecute|setupexecute|execute)$|\\print\\(?:monitors|environments)\\.{1,120}\\driver$|\\timeproviders\\[^\\]+\\dllname$"
    r"|\\netsh\\[^\\]+$|\\environment\\userinitmprlogonscript$|\\command processor\\autorun$|\\control panel\\desktop\\scrnsave\.exe$|\\microsoft\\office test\\"
    r"|\\office\\[^\\]+\\(?:outlook|word|excel|powerpoint)\\addins\\.{1,120}\\manifest$|\\active setup\\installed components\\[^\\]+\\stubpath$"
    r"|\\appcompatflags\\(?:custom|installedsdb)\\.{1,120}$|\\image file execution options\\[^\\]+\\(?:debugger|globalflag|verifierdlls)$"
    r"|\\dns\\parameters\\serverlevelplugindll$|\\user shell folders\\(?:common )?startup$|\\pendinggpos\\path\d+$|\\currentversion\\(?:run|runonce|runonceex|runservices)\\[^\\]+$"
)

_QUIET_VALUES = re.compile(
    r"\\lsa\\|bootexecute$|userinit$|\\winlogon\\shell$|\\print\\|\\timeproviders\\"
)  # hold defaults that set-up rewrites

_CLASS_KEY = re.compile(
    r"\\clsid\\\{[^}]{36}\}\\(?:inprocserver32|localserver32|treatas|scriptleturl|progid)\\?(?:\(default\))?$"
)

_VENDORS = re.compile(r"\\appdata\\local\\(?:programs|microsoft)\\", re.IGNORECASE)

_SCRIPTED = re.compile(
    r"powershell|pwsh|wscript|cscript|mshta|rundll32|regsvr32|\bcmd(?:\.exe)?\b|\bnc(?:\.exe)?\s|https?://|\\\\[^\\\s]+\\",
    re.IGNORECASE,
)

_STARTUP = re.compile(
    r"\\start menu\\programs\\start-?up\\[^\\]+\.(?:exe|lnk|bat|cmd|vbs|vbe|js|jse|wsf|hta|ps1|scr|url|com|pif)$"
    r"|\\microsoft\\(?:word\\startup|excel\\xlstart|addins)\\[^\\]+\.(?:dot[mx]?|xl[alst][mb]?|xll|wll|dll)$|\\windowspowershell\\(?:microsoft\.\w{1,20}_)?profile\.ps1$"
    r"|^/etc/(?:cron\.\w{1,8}/|ld\.so\.preload$)|^/var/spool/cron/|/\.ssh/authorized_keys2?$",
    re.IGNORECASE,
)


@legacy_rule(
    "odd-service",
    "T1543.003",
    "persistence",
    says="A service's program is neither below a folder of \\Windows\\ nor in Program Files. Suspicious.",
    source="ATT&CK T1543.003, T1569.002; Security 4697, System 7045",
    needs=kinds(ServiceFields, "install"),
)
def odd_service(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find services whose program lies where services do not."""
    for line in window.of(ServiceFields):
        path = program_of(line.fields.service_cmd_line or "")
        if line.fields.activity != "install" or not path or is_user_writable(path) or shell_name(path) in SHELLS:
            continue  # the last two are what remote-service-execution finds
        if not _is_service_home(path.lower()):
            yield this.finding([line], confirmed=False, scope="host", host=line.host, account=line.user, program=path)


def _is_service_home(path: str) -> bool:
    path = path.removeprefix("\\??\\").replace("%systemroot%", "c:\\windows").replace("%windir%", "c:\\windows")
    path = path.replace("\\systemroot\\", "c:\\windows\\").replace("%programfiles%", "c:\\program files")
    if path.startswith(("system32\\", "syswow64\\", "\\driverstore")):
        return True
    return is_installed(path) and not re.fullmatch(r"[a-z]:\\windows\\[^\\]+", path)


@legacy_rule(
    "service-runs-command",
    "T1569.002",
    "execution",
    says="A service or task runs a shell with output to a pipe, share or Temp, or hidden, encoded or downloading PowerShell. Confirmed.",
    source="ATT&CK T1569.002, T1134.001; what public remote execution tools leave in System 7045",
    needs=(*kinds(ServiceFields, "install"), *kinds(TaskFields, "create", "update"), RegistryFields),
    clues=("setting",),
)
def service_runs_command(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find services and tasks that are commands of somebody far away."""
    lines: list[Line] = []
    for line in window.of(ServiceFields):
        if line.fields.activity == "install" and _COMMANDEERED.search(line.fields.service_cmd_line or ""):
            lines.append(line)
    for task in window.of(TaskFields):
        if task.fields.activity in ("create", "update") and _COMMANDEERED.search(task.fields.job_cmd_line or ""):
            lines.append(task)
    for change in window.view(settings):
        if change.path.endswith("\\imagepath") and _STARTS_SHELL.match(change.data):
            lines.append(change.line)
    for line in lines:
        command = (
            getattr(line.fields, "service_cmd_line", None)
            or getattr(line.fields, "job_cmd_line", None)
            or getattr(line.fields, "reg_value_data", None)
            or ""
        )
        yield this.finding(
            [line], confirmed=True, scope="host", host=line.host, account=line.user, program=program_of(command)
        )


_STARTS_SHELL = re.compile(r"^\W{0,3}(?:comspec|cmd(?:\.exe)?\s|powershell)")

_COMMANDEERED = re.compile(
    r"\\\\\.\\pipe\\|\\\\(?:127\.0\.0\.1|localhost)\\[a-z]{1,5}\$|powershell.{0,200}\s[-/](?:e(?:nc?|c)?\w{0,12}\s+[a-z0-9+/=]{20}|w\w{0,10}\s+(?:h|1))"
    r"|powershell.{0,300}(?:downloadstring|net\.webclient|frombase64string)|^[^\"]{0,80}\bcmd(?:\.exe)?\"?\s.{0,300}>\s*\S{0,100}\\temp\\",
    re.IGNORECASE,
)


@legacy_rule(
    "service-changed",
    "T1574.011",
    "persistence",
    says="A service is changed: sc binPath=, failure command= or remote, or its registry by another than Windows. Confirmed: to a shell or user-writable file.",
    source="ATT&CK T1574.011, T1543.003; Microsoft sc reference",
    needs=(RegistryFields,),
    clues=("service-changed", "setting"),
)
def service_changed(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find services that are turned to another use."""
    lines: list[Line] = list(window.view(lines_by_meaning).get("service-changed", ()))
    sure: set[str] = set()
    for change in window.view(settings):
        if change.act == "set" and _SERVICE_VALUE.search(change.path) and basename(change.program) not in MANAGERS:
            foreign = bool(_SCRIPTED.search(change.data) or is_user_writable(change.data))
            by_command = not isinstance(change.line.fields, RegistryFields)
            if foreign or by_command or is_user_writable(change.program):
                lines.append(change.line)
                sure.update({change.line.log_id} if foreign else ())
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=any(line.log_id in sure for line in group), otherwise="powershell.exe")


@legacy_rule(
    "autostart-value",
    "T1547",
    "persistence",
    says="A value that loads code (Winlogon, AppInit, LSA packages, SilentProcessExit, add-ins, print monitors, DNS plug-in) is set by command or to a script or user-writable file. Suspicious.",
    source="ATT&CK T1547.001, .004, .005, .010, T1546.002, .007, .010, .011, .012, T1137",
    needs=(RegistryFields,),
    clues=("setting",),
)
def autostart_value(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find values that start code."""
    lines: list[Line] = []
    for change in window.view(settings):
        if (
            change.act != "set"
            or not change.data
            or not _AUTOSTART.search(change.path)
            or basename(change.program) in MANAGERS
        ):
            continue
        by_command = not isinstance(change.line.fields, RegistryFields)
        if not by_command and AUTORUN.search(change.path):
            continue  # autorun-entry finds it
        foreign = is_user_writable(change.data) or _SCRIPTED.search(change.data)
        if foreign or by_command or (is_user_writable(change.program) and not _QUIET_VALUES.search(change.path)):
            lines.append(change.line)
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


@legacy_rule(
    "class-hijack",
    "T1546.015",
    "persistence",
    says="A user's COM class points to a user-writable file or script. Confirmed: by a user-writable program.",
    source="ATT&CK T1546.015",
    needs=(RegistryFields,),
    clues=("setting",),
)
def class_hijack(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find hijacked COM classes."""
    lines: list[Line] = []
    for change in window.view(settings):
        if (
            change.act == "set"
            and _CLASS_KEY.search(change.path)
            and change.path.startswith(("hku", "hkcu", "hkey_current_user"))
            and (is_user_writable(change.data) or _SCRIPTED.search(change.data))
            and not _VENDORS.search(change.data)
            and not is_installed(change.data)
        ):
            lines.append(change.line)
    for group in by_host_and_user(lines):
        program = one_program(group)
        yield this.of_one(group, confirmed=is_user_writable(program), program=program)


_OFFICE = ("winword.exe", "excel.exe", "powerpnt.exe")


@legacy_rule(
    "startup-folder",
    "T1547.009",
    "persistence",
    says="A program, script or link is written to a Start-up folder, an Office start-up folder, a PowerShell profile, cron, authorized_keys or ld.so.preload. Confirmed: by System, a script host or a user-writable program.",
    source="ATT&CK T1547.001, T1547.009, T1137.001, T1546.013, T1053.003, T1098.004, T1574.006",
    needs=kinds(FileFields, "create", "modify"),
    clues=("start-file-written",),
)
def startup_folder(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find files dropped where they start at sign-in."""
    yield from told(window, this, "start-file-written", sure=False)
    for line in window.of(FileFields):
        name = basename(line.fields.process_path)
        if (
            line.fields.activity in ("create", "modify")
            and name not in ("explorer.exe", "msiexec.exe", *_OFFICE)
            and _STARTUP.search(line.fields.file_path or "")
        ):
            sure = name == "system" or name in SHELLS or is_user_writable(line.fields.process_path)
            yield this.of_one([line], confirmed=sure)


@legacy_rule(
    "task-command",
    "T1053.005",
    "persistence",
    says=f"A command or person makes a task of a shell, as SYSTEM or on another host. Confirmed: it, or one of a user-writable file, is removed within {SHORT_LIFE_S} s.",
    source="ATT&CK T1053.005; Security 4698/4699, Microsoft schtasks reference",
    needs=kinds(TaskFields, "create", "update"),
    clues=("task-command",),
)
def task_command(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find tasks that run commands, and those that live for minutes."""
    made: dict[tuple[str, str], list[Line]] = {}
    for task in window.of(TaskFields):
        command = task.fields.job_cmd_line or ""
        if (
            task.fields.activity in ("create", "update")
            and is_person_or_service(task.user)
            and (shell_name(program_of(command)) in SHELLS or is_user_writable(command))
        ):
            made.setdefault((task.host, task.fields.job_name or ""), []).append(task)
    for (host, name), lines in made.items():
        removed = [
            task
            for task in window.of(TaskFields)
            if task.fields.activity == "delete"
            and task.host == host
            and task.fields.job_name == name
            and 0 <= task.time_s - lines[0].time_s <= window.limits.within(SHORT_LIFE_S)
        ]
        shell = shell_name(program_of(getattr(lines[0].fields, "job_cmd_line", "") or "")) in SHELLS
        if not shell and not removed:
            continue  # task-runs-foreign-program finds it
        yield this.finding(
            [*lines, *removed],
            confirmed=bool(removed),
            scope="host",
            host=host,
            account=lines[0].user,
            program=program_of(getattr(lines[0].fields, "job_cmd_line", "") or ""),
        )
    commands = [
        line
        for line in window.view(lines_by_meaning).get("task-command", ())
        if not isinstance(line.fields, TaskFields)
    ]
    for group in by_host_and_user(commands):
        yield this.of_one(group, confirmed=False, otherwise="powershell.exe")


_WEB_ROOT = re.compile(
    r"(?:\\inetpub\\|\\aspnet_client\\|\\httpproxy\\|\\htdocs\\|\\webapps\\|\\wwwroot\\|^/var/www/|^/usr/share/nginx/|^/srv/www/).{0,200}\.(?:aspx?|ashx|asmx|php\d?|jspx?|cfm)$",
    re.IGNORECASE,
)


@legacy_rule(
    "web-shell-written",
    "T1505.003",
    "persistence",
    says="A server program or a shell writes a server page (.aspx, .php, .jsp) below a web root. Confirmed: by a server program.",
    source="ATT&CK T1505.003",
    needs=kinds(FileFields, "create", "modify"),
)
def web_shell_written(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find server pages that come from where no developer sits."""
    lines: list[Line] = [
        line
        for line in window.of(FileFields)
        if line.fields.activity in ("create", "modify")
        and _WEB_ROOT.search(line.fields.file_path or "")
        and basename(line.fields.process_path) in (*SERVER_PROGRAMS, *SHELLS)
    ]
    for group in by_host_and_user(lines):
        served = any(basename(getattr(line.fields, "process_path", "")) in SERVER_PROGRAMS for line in group)
        yield this.of_one(group, confirmed=served)


RULES = (
    odd_service,
    service_runs_command,
    service_changed,
    autostart_value,
    class_hijack,
    startup_folder,
    task_command,
    web_shell_written,
)
