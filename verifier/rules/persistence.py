"""Rules on what makes code run again: services, tasks, autostart values, start-up folders, hijacked classes (ATT&CK Persistence)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from schema import FileFields, RegistryFields, ServiceFields, TaskFields
from verifier.commands import POWERSHELL, SETTINGS, Setting, command_program, commands_that
from verifier.rules.kit import (
    AUTORUN,
    MANAGERS,
    SERVER_PROGRAMS,
    WEB_FOLDERS,
    follows,
    grouped,
    program_folder,
    program_of,
    registers_itself,
    shell_name,
)
from verifier.window import (
    CODE_HOSTS,
    SHELLS,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    finding,
    findings_by_host_and_user,
    is_installed,
    is_person_or_service,
    is_user_writable,
    one_program,
    rule,
    stems,
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
    r"|\\office\\(?:[^\\]+\\)?(?:outlook|word|excel|powerpoint)\\addins\\.{1,120}\\manifest$|\\active setup\\installed components\\[^\\]+\\stubpath$"
    r"|\\appcompatflags\\(?:custom|installedsdb)\\.{1,120}$|\\image file execution options\\[^\\]+\\(?:debugger|globalflag|verifierdlls)$"
    r"|\\dns\\parameters\\serverlevelplugindll$|\\user shell folders\\(?:common )?startup$|\\pendinggpos\\path\d+$|\\currentversion\\(?:run|runonce|runonceex|runservices)\\[^\\]+$"
)

_QUIET_VALUES = re.compile(
    r"\\lsa\\|bootexecute$|userinit$|\\winlogon\\shell$|\\print\\|\\timeproviders\\"
)  # hold defaults that set-up rewrites

_CLASS_KEY = re.compile(
    r"\\clsid\\\{[^}]{36}\}\\(?:inprocserver32|localserver32|treatas|scriptleturl|progid)\\?(?:\(default\))?$"
)

_SCRIPTED = re.compile(
    rf"{'|'.join(name for name in stems(CODE_HOSTS) if name != 'cmd')}|\bcmd(?:\.exe)?\b|\bnc(?:\.exe)?\s|https?://|\\\\[^\\\s]+\\",
    re.IGNORECASE,
)
_STARTUP = re.compile(
    r"\\start menu\\programs\\start-?up\\[^\\]+\.(?:exe|lnk|bat|cmd|vbs|vbe|js|jse|wsf|hta|ps1|scr|url|com|pif)$"
    r"|\\microsoft\\(?:word\\startup|excel\\xlstart|addins)\\[^\\]+\.(?:dot[mx]?|xl[alst][mb]?|xll|wll|dll)$|\\windowspowershell\\(?:microsoft\.\w{1,20}_)?profile\.ps1$"
    r"|^/etc/(?:cron\.\w{1,8}/|ld\.so\.preload$)|^/var/spool/cron/|/\.ssh/authorized_keys2?$",
    re.IGNORECASE,
)


_STARTS_SHELL = re.compile(r"^\W{0,3}(?:comspec|cmd(?:\.exe)?\s|powershell)")

_COMMANDEERED = re.compile(
    r"\\\\\.\\pipe\\|\\\\(?:127\.0\.0\.1|localhost)\\[a-z]{1,5}\$|powershell.{0,200}\s[-/](?:e(?:nc?|c)?\w{0,12}\s+[a-z0-9+/=]{20}|w\w{0,10}\s+(?:h|1))"
    r"|powershell.{0,300}(?:downloadstring|net\.webclient|frombase64string)|^[^\"]{0,80}\bcmd(?:\.exe)?\"?\s.{0,300}>\s*\S{0,100}\\temp\\",
    re.IGNORECASE,
)


# Where programs install themselves for one user.
VENDOR_FOLDERS = ("\\appdata\\local\\programs\\", "\\appdata\\local\\microsoft\\")
START_FILE_WRITERS = ("explorer.exe", "msiexec.exe")
ADD_IN_WRITERS = ("winword.exe", "excel.exe", "powerpnt.exe")  # of the folders that they read at their own start
_WEB_ROOT = re.compile(
    rf"(?:{'|'.join(map(re.escape, WEB_FOLDERS))}|^/var/www/|^/usr/share/nginx/|^/srv/www/).{{0,200}}\.(?:aspx?|ashx|asmx|php\d?|jspx?|cfm)$",
    re.IGNORECASE,
)


@rule(
    "odd-service",
    "T1543.003",
    "persistence",
    on=((ServiceFields, "install"),),
    summary="A service's program, neither user-writable nor a shell, is not installed (%SystemRoot%, system32, syswow64, DriverStore and Program Files are) or lies in \\Windows\\ itself. Suspicious.",
    source="ATT&CK T1543.003, T1569.002; Security 4697, System 7045",
)
def odd_service(installs: Lines[ServiceFields], window: Window) -> Findings:
    for line in installs:
        path = program_of(line.fields.service_cmd_line or "")
        is_left = is_user_writable(path) or shell_name(path) in SHELLS  # to remote-service-execution
        if path and not is_left and not _is_service_home(path.lower()):
            yield finding([line], confirmed=False, host=line.host, account=line.user, program=path)


def _is_service_home(path: str) -> bool:
    path = path.removeprefix("\\??\\").replace("%systemroot%", "c:\\windows").replace("%windir%", "c:\\windows")
    path = path.replace("\\systemroot\\", "c:\\windows\\").replace("%programfiles%", "c:\\program files")
    if path.startswith(("system32\\", "syswow64\\", "\\driverstore")):
        return True
    return is_installed(path) and not re.fullmatch(r"[a-z]:\\windows\\[^\\]+", path)


@rule(
    "service-runs-command",
    "T1569.002",
    "execution",
    on=((ServiceFields, "install"), (TaskFields, "create", "update"), SETTINGS),
    summary="A service or task runs a command with a pipe, a share of 127.0.0.1 or localhost, cmd with output to \\Temp\\, or PowerShell that is hidden, encoded or downloads (DownloadString, Net.WebClient, FromBase64String); "
    "or a service's ImagePath is set to comspec, cmd or powershell; or a service is installed that is a shell without arguments. Confirmed.",
    source="ATT&CK T1569.002, T1134.001; what public remote execution tools leave in System 7045",
)
def service_runs_command(
    installs: Lines[ServiceFields], tasks: Lines[TaskFields], settings: Sequence[Setting], window: Window
) -> Findings:
    lines: list[Line] = [line for line in installs if _is_commandeered(line.fields.service_cmd_line or "")]
    lines += [line for line in installs if shell_name((line.fields.service_cmd_line or "").strip('" ')) in SHELLS]
    lines += [line for line in tasks if _is_commandeered(line.fields.job_cmd_line or "")]
    lines += [
        setting.line
        for setting in settings
        if setting.path.endswith("\\imagepath") and _STARTS_SHELL.match(setting.data)
    ]
    for line in lines:
        program = program_of(_stored_command(line))
        yield finding([line], confirmed=True, host=line.host, account=line.user, program=program)


@lru_cache(maxsize=4096)
def _is_commandeered(command: str) -> bool:
    """Return whether a stored command is one that remote execution tools store."""
    return _COMMANDEERED.search(command) is not None


def _stored_command(line: Line) -> str:
    """Return the command that a line puts into a service, a task or the registry."""
    values = (getattr(line.fields, name, None) for name in ("service_cmd_line", "job_cmd_line", "reg_value_data"))
    return next(filter(None, values), "")


@rule(
    "service-changed",
    "T1574.011",
    "persistence",
    on=(commands_that("service-changed"), SETTINGS),
    summary="A service is changed: sc binPath=, failure command= or remote, or its ImagePath, FailureCommand, Parameters\\ServiceDll or Performance\\Library below Services by a command or a user-writable program or to a script host such as cmd, nc, a share, a URL (http, https) or a user-writable file, "
    "not by a manager of Windows. Confirmed: to one of these.",
    source="ATT&CK T1574.011, T1543.003; Microsoft sc reference",
)
def service_changed(commands: Lines, settings: Sequence[Setting], window: Window) -> Findings:
    changes = [
        setting
        for setting in settings
        if setting.act == "set" and _SERVICE_VALUE.search(setting.path) and _is_foreign_work(setting)
    ]
    certain = {setting.line.log_id for setting in changes if _runs_foreign_code(setting)}
    return findings_by_host_and_user(
        [*commands, *(setting.line for setting in changes)],
        confirmed=lambda group: any(line.log_id in certain for line in group),
        program=lambda group: one_program(group, otherwise=POWERSHELL),
    )


def _is_foreign_work(setting: Setting) -> bool:
    """Return whether a value is set to foreign code, by a command or by a user-writable program, and not by Windows itself."""
    by_foreign = _is_by_command(setting) or is_user_writable(setting.program)
    return basename(setting.program) not in MANAGERS and (by_foreign or _runs_foreign_code(setting))


def _runs_foreign_code(setting: Setting) -> bool:
    return _SCRIPTED.search(setting.data) is not None or is_user_writable(setting.data)


def _is_by_command(setting: Setting) -> bool:
    return not isinstance(setting.line.fields, RegistryFields)


@rule(
    "autostart-value",
    "T1547",
    "persistence",
    on=(SETTINGS,),
    summary="A value that loads code is set by a command, to a script host such as cmd, nc, a share, a URL (http, https) or a user-writable file, "
    "or (but LSA, BootExecute, Userinit, Winlogon Shell, Print, TimeProviders) by a user-writable program; not by a manager of Windows, nor to its own by a program or by a command that a program starts: "
    "Winlogon Userinit, Shell, Notify, MPNotify or GPExtensions DllName; CurrentVersion\\Windows AppInit_DLLs, Load, Run or IconServiceLib; Lsa (or OSConfig) Security Packages, Authentication Packages, Notification Packages; "
    "SilentProcessExit MonitorProcess; Session Manager AppCertDlls, BootExecute, SetupExecute, Execute; Print Monitors or Environments Driver; TimeProviders DllName; NetSh; Environment UserInitMprLogonScript; "
    "Command Processor Autorun; Control Panel Desktop SCRNSAVE.EXE; Microsoft\\Office Test; Outlook, Word, Excel or PowerPoint Addins Manifest (with or without a version); Active Setup Installed Components StubPath; AppCompatFlags Custom or InstalledSDB; "
    "Image File Execution Options Debugger, GlobalFlag, VerifierDlls; DNS Parameters ServerLevelPluginDll; User Shell Folders Startup or Common Startup; PendingGPOs Path; "
    "by a command also CurrentVersion and Policies\\Explorer Run, RunOnce, RunOnceEx, RunServices. Suspicious.",
    source="ATT&CK T1547.001, .004, .005, .010, T1546.002, .007, .010, .011, .012, T1137",
)
def autostart_value(settings: Sequence[Setting], window: Window) -> Findings:
    return findings_by_host_and_user([setting.line for setting in settings if _starts_code(setting)], confirmed=False)


def _starts_code(setting: Setting) -> bool:
    if setting.act != "set" or not setting.data or not _AUTOSTART.search(setting.path):
        return False
    if not _is_by_command(setting) and AUTORUN.search(setting.path):
        return False  # autorun-entry finds it
    if basename(setting.program) in MANAGERS or any(
        registers_itself(program, setting.data) for program in (setting.program, setting.starter)
    ):
        return False
    is_loud = is_user_writable(setting.program) and not _QUIET_VALUES.search(setting.path)
    return _runs_foreign_code(setting) or _is_by_command(setting) or is_loud


@rule(
    "class-hijack",
    "T1546.015",
    "persistence",
    on=(SETTINGS,),
    summary="A user's COM class (CLSID with InprocServer32, LocalServer32, TreatAs, ScriptletURL, ProgID below HKU or HKCU) points to a script host such as cmd, nc, a share, a URL (http, https) or a user-writable file, not to an installed program "
    f"(but its own, or below {' or '.join(VENDOR_FOLDERS)} by a program not user-writable). "
    "Confirmed: by a user-writable program.",
    source="ATT&CK T1546.015",
)
def class_hijack(settings: Sequence[Setting], window: Window) -> Findings:
    return findings_by_host_and_user(
        [setting.line for setting in settings if _hijacks_class(setting)],
        confirmed=lambda group: is_user_writable(one_program(group)),
    )


def _hijacks_class(setting: Setting) -> bool:
    of_user = setting.path.startswith(("hku", "hkcu")) and _CLASS_KEY.search(setting.path)
    if setting.act != "set" or not of_user or is_installed(setting.data):
        return False
    return _runs_foreign_code(setting) and not _is_vendors_own(setting)


def _is_vendors_own(setting: Setting) -> bool:
    """Return whether a program registers its own, or an installed one what is installed for one user."""
    trusted = not is_user_writable(setting.program) and any(folder in setting.data for folder in VENDOR_FOLDERS)
    return trusted or registers_itself(setting.program, setting.data)


@rule(
    "startup-folder",
    "T1547.009",
    "persistence",
    on=(commands_that("start-file-written"), (FileFields, "create", "modify")),
    summary="A program, script or link is written to a Start Menu\\Programs\\Startup folder, Microsoft Word\\Startup, Excel\\XLSTART or AddIns, a WindowsPowerShell profile, cron (also /var/spool/cron), authorized_keys, authorized_keys2 or ld.so.preload, other than by "
    f"{', '.join(stems(START_FILE_WRITERS))}, or outside a Start Menu by {', '.join(stems(ADD_IN_WRITERS))}. Confirmed: by System, a shell or a user-writable program (but a link, .lnk, named like the program folder of the program that writes it).",
    source="ATT&CK T1547.001, T1547.009, T1137.001, T1546.013, T1053.003, T1098.004, T1574.006",
)
def startup_folder(commands: Lines, writes: Lines[FileFields], window: Window) -> Findings:
    yield from findings_by_host_and_user(commands, confirmed=False, program=command_program)
    for line in writes:
        writer = basename(line.fields.process_path)
        if _is_start_file(line.fields.file_path or "") and not _may_write(writer, line.fields.file_path or ""):
            foreign = writer == "system" or writer in SHELLS or is_user_writable(line.fields.process_path)
            yield from findings_by_host_and_user([line], confirmed=foreign and not _links_itself(line.fields))


def _may_write(writer: str, path: str) -> bool:
    return writer in START_FILE_WRITERS or (writer in ADD_IN_WRITERS and "\\start menu\\" not in path.lower())


def _links_itself(fields: FileFields) -> bool:
    """Return whether a program that is installed for one user writes the link that bears its folder's name."""
    folder = basename(program_folder(fields.process_path or ""))
    return bool(folder) and basename(fields.file_path) == f"{folder}.lnk"


@lru_cache(maxsize=16_384)
def _is_start_file(path: str) -> bool:
    """Return whether a file is read or run at every start of a system, a shell or an Office program."""
    return _STARTUP.search(path) is not None


@rule(
    "task-command",
    "T1053.005",
    "persistence",
    on=((TaskFields, "create", "update"), commands_that("task-command")),
    summary=f"A command or person makes a task of a shell, as SYSTEM or on another host. Confirmed: it, or one of a user-writable file, is removed within {SHORT_LIFE_S} s.",
    source="ATT&CK T1053.005; Security 4698/4699, Microsoft schtasks reference",
)
def task_command(tasks: Lines[TaskFields], commands: Lines, window: Window) -> Findings:
    by_person = [line for line in tasks if is_person_or_service(line.user)]
    for (host, name), lines in grouped(by_person, _task_of_code).items():
        removals = [
            task
            for task in window.of(TaskFields, "delete")
            if (task.host, task.fields.job_name) == (host, name) and follows(window, task, lines[0], SHORT_LIFE_S)
        ]
        program = program_of(lines[0].fields.job_cmd_line or "")
        if removals or shell_name(program) in SHELLS:  # task-runs-foreign-program finds the others
            yield finding(
                [*lines, *removals], confirmed=bool(removals), host=host, account=lines[0].user, program=program
            )
    yield from findings_by_host_and_user(
        [line for line in commands if not isinstance(line.fields, TaskFields)],
        confirmed=False,
        program=lambda group: one_program(group, otherwise=POWERSHELL),
    )


def _task_of_code(line: Line[TaskFields]) -> tuple[str, str] | None:
    command = line.fields.job_cmd_line or ""
    runs_code = shell_name(program_of(command)) in SHELLS or is_user_writable(command)
    return (line.host, line.fields.job_name or "") if runs_code else None


@rule(
    "web-shell-written",
    "T1505.003",
    "persistence",
    on=((FileFields, "create", "modify"),),
    summary="A server program or a shell writes a server page (.asp, .aspx, .ashx, .asmx, .php, .jsp, .jspx, .cfm) below inetpub, aspnet_client, HttpProxy, htdocs, webapps, wwwroot, /var/www, /srv/www or /usr/share/nginx. Confirmed: by a server program.",
    source="ATT&CK T1505.003",
)
def web_shell_written(writes: Lines[FileFields], window: Window) -> Findings:
    pages = [
        line
        for line in writes
        if basename(line.fields.process_path) in (*SERVER_PROGRAMS, *SHELLS)
        and _WEB_ROOT.search(line.fields.file_path or "")
    ]
    return findings_by_host_and_user(
        pages,
        confirmed=lambda group: any(basename(line.fields.process_path) in SERVER_PROGRAMS for line in group),
    )


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
