"""Rules on privilege escalation, moving to other hosts, programs that start in the wrong place, and looking around."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    DetectionFields,
    DirectoryFields,
    KerberosFields,
    LogonFields,
    NetConnFields,
    PipeFields,
    PrivilegeFields,
    ProcessAccessFields,
    ProcessFields,
    RegistryFields,
    ShareFields,
)
from verifier.rules.credentials import told
from verifier.rules.evasion import ELEVATED, is_loose
from verifier.rules.execution import NETWORK_LOGON, SERVER_PROGRAMS, SHELLS
from verifier.rules.identity import MIN_SPREAD_HOSTS, REMOTE_WORK
from verifier.told import acts, by_host_and_user, settings, started_by
from verifier.window import (
    OUTBOUND,
    Finding,
    Line,
    Rule,
    Window,
    basename,
    crowded,
    is_installed,
    is_person_or_service,
    is_user_writable,
    kinds,
    one_program,
    rule,
)
from world import account_name

REMOTE_S = 300
MIN_LOOKS = 4  # two or three are an ordinary morning
LOOK_S = 300
MIN_TICKETS = 12
MANY_TICKETS = 20
MIN_PIPES = 3
MIN_ONE_TARGET = 10
MIN_SWEPT = 5
SWEEP_S = 120
DYNAMIC_PORT = 49152  # from here on Windows serves RPC (IANA's dynamic range)
TICKETS_S = 120
MIN_OBJECTS = 10
OBJECTS_S = 120
MIN_STOPPED = 5
MIN_UNANSWERED = 10
MIN_RETRIES = 5
_SHELL_LAUNCHERS = frozenset(
    [
        "mshta.exe",
        "regsvr32.exe",
        "hh.exe",
        "cmstp.exe",
        "control.exe",
        "odbcconf.exe",
        "installutil.exe",
        "msbuild.exe",
    ]
)
UNANSWERED = ("S0", "REJ", "RSTOS0", "RSTRH", "SH")  # Zeek conn_state: no answer, or refused
SCAN_S = 300
_ELEVATED_CLASS = re.compile(
    r"(?:_classes|\\software\\classes|^hkcr)\\(?:mscfile|ms-settings|exefile|folder|appx[a-z0-9]{20,}|launcher\.systemsettings|shell\.[^\\]+|\.msc|\.exe)\\"
    r"(?:shell\\[^\\]+\\command|shell\\open|curver)(?:\\(?:\(default\)|delegateexecute))?$|\\shell\\[^\\]+\\command\\delegateexecute$"
    r"|^(?:hku\\s-1-5-21-[^\\]+|hkcu|hkey_current_user)\\environment\\(?:windir|systemroot|cor_profiler_path)$|\\app paths\\control\.exe\\?(?:\(default\))?$"
)
_OPEN_COMMAND = re.compile(r"\\shell\\[^\\]+\\command(?:\\\(default\))?$")
_SCRIPT_HOST = re.compile(
    r"^\W{0,2}(?:\S{0,120}\\)?(?:powershell|pwsh|cmd|wscript|cscript|mshta|rundll32|regsvr32)(?:\.exe)?\b",
    re.IGNORECASE,
)
ACCESSIBILITY = frozenset(
    ["sethc.exe", "utilman.exe", "osk.exe", "magnify.exe", "narrator.exe", "displayswitch.exe", "atbroker.exe"]
)
REMOTE_PARENTS = frozenset(
    ("wmiprvse.exe", "winrshost.exe", "wsmprovhost.exe", "scrcons.exe", "mmc.exe", "psexesvc.exe", "spoolsv.exe")
)
_OWN_CHILDREN = frozenset(
    [
        "conhost.exe",
        "werfault.exe",
        "wmiprvse.exe",
        "wmiadap.exe",
        "unsecapp.exe",
        "msiexec.exe",
        "mofcomp.exe",
        "splwow64.exe",
        "spoolsv.exe",
        "mmc.exe",
        "csrss.exe",
    ]
)
_SHELL_PIPES = re.compile(r"-(?:stdin|stdout|stderr)\d*$|^\\(?:psexesvc|paexec|remcom_\w*|csexec\w*)", re.IGNORECASE)
_POTATO_PIPE = re.compile(r"\\pipe\\(?:spoolss|srvsvc|lsarpc|epmapper|svcctl|samr|netlogon)$", re.IGNORECASE)
_C2_PIPE = re.compile(
    r"^\\(?:msse-\w{1,8}-server|postex_\w{4}|postex_ssh_|msagent_\w{2}|status_\w{2}|dserpipe|gruntsvc|meterpreter)",
    re.IGNORECASE,
)
REMOTE_CONTROL = frozenset(
    (
        "svcctl",
        "atsvc",
        "winreg",
        "eventlog",
        "initshutdown",
        "efsrpc",
        "fssagentrpc",
        "ntsvcs",
        "itaskschedulerservice",
        "protected_storage",
    )
)
ENUMERATION = frozenset(("samr", "lsarpc", "srvsvc", "wkssvc"))
_ADMIN_SHARE = re.compile(r"\\(?:[a-z]|admin|print)\$$", re.IGNORECASE)
_CODE_FILE = re.compile(
    r"\.(?:exe|dll|sys|ps1|bat|cmd|vbs|js|hta|scr|msi|dmp|dit|hive)$|\\config\\(?:sam|system|security)$", re.IGNORECASE
)
_OUTPUT_FILE = re.compile(
    r"(?:^|\\)__\d{9,}|\\temp\\[^\\]{4,12}\.(?:tmp|dmp)$|^[^\\]{0,12}execute\.bat$", re.IGNORECASE
)
ADMIN_PORTS = frozenset((88, 135, 389, 445, 636, 3268, 3389, 5985, 5986))
WEB_PORTS = (80, 443)
NO_NETWORK = frozenset(
    ["notepad.exe", "calc.exe", "mspaint.exe", "write.exe", "wordpad.exe", "gpupdate.exe", "conhost.exe"]
)
SCRIPTERS = frozenset(
    [
        "powershell.exe",
        "pwsh.exe",
        "mshta.exe",
        "regsvr32.exe",
        "rundll32.exe",
        "wscript.exe",
        "cscript.exe",
        "msbuild.exe",
        "installutil.exe",
        "wmic.exe",
        "certutil.exe",
        "cmd.exe",
    ]
)
_NOTICE = re.compile(
    r"malware|trojan|exploit|backdoor|c2\b|command.and.control|mimikatz|cobalt|meterpreter|self signed certificate|scan::|ransom|virus|hacktool",
    re.IGNORECASE,
)
LOOKERS = frozenset(
    [
        "whoami.exe",
        "net.exe",
        "net1.exe",
        "nltest.exe",
        "dsquery.exe",
        "systeminfo.exe",
        "tasklist.exe",
        "ipconfig.exe",
        "arp.exe",
        "route.exe",
        "quser.exe",
        "qwinsta.exe",
        "nbtstat.exe",
        "netstat.exe",
        "hostname.exe",
        "setspn.exe",
        "adfind.exe",
        "wmic.exe",
        "arp",
        "whoami",
        "netstat",
        "ifconfig",
        "uname",
        "id",
    ]
)


def launches(window: Window) -> list[Line[ProcessFields]]:
    """The starts of programs."""
    return [line for line in window.of(ProcessFields) if line.f.activity == "launch"]


# ---------------------------------------------------------------- escalation
@rule(
    "elevation-bypass",
    "T1548.002",
    "privilege_escalation",
    says="mscfile, ms-settings, exefile, Folder or DelegateExecute redefined, or an auto-elevated program starts a shell. Confirmed: both, high integrity, or wusa /extract.",
    source="ATT&CK T1548.002; Microsoft autoElevate manifests",
    needs=(RegistryFields,),
    clues=[started_by(name) for name in ELEVATED] + ["elevated-extract", "setting"],
)
def elevation_bypass(window: Window, this: Rule) -> Iterable[Finding]:
    """Find ways around the consent prompt; one finding for each host."""
    keys: list[Line] = []
    for change in window.view(settings):
        if (
            change.act != "delete"
            and (
                _ELEVATED_CLASS.search(change.path)
                or (_OPEN_COMMAND.search(change.path) and _SCRIPT_HOST.match(change.data))
            )
            and (not is_installed(change.data) or _SCRIPT_HOST.match(change.data))
        ):
            keys.append(change.line)
    starts = [
        line
        for line in launches(window)
        if basename(line.f.parent_path) in ELEVATED
        and (basename(line.f.process_path) in SHELLS or is_user_writable(line.f.process_path))
        and basename(line.f.process_path) != "rundll32.exe"
        and is_person_or_service(line.user)
    ]
    extracts = window.view(acts).get("elevated-extract", [])
    starts += [line for line in extracts if line not in starts and isinstance(line.f, ProcessFields)]
    for host in dict.fromkeys(line.host for line in (*keys, *starts)):
        at, lines = [line for line in keys if line.host == host], [line for line in starts if line.host == host]
        high = any((line.f.process_integrity or "").lower() in ("high", "system") for line in lines)
        group: list[Line] = [*at, *lines]
        yield this.finding(
            group,
            confirmed=high or bool(at and lines) or any(line in extracts for line in lines),
            scope="host",
            host=host,
            accounts=[line.user for line in group],
            program=one_program(group),
        )


@rule(
    "sign-in-screen-shell",
    "T1546.008",
    "privilege_escalation",
    says="sethc, utilman, osk, magnify or narrator starts another program, smss or winlogon a shell. Confirmed.",
    source="ATT&CK T1546.008, T1547",
    clues=[started_by(name) for name in (*ACCESSIBILITY, "smss.exe", "winlogon.exe")],
)
def sign_in_screen_shell(window: Window, this: Rule) -> Iterable[Finding]:
    """Find shells at the sign-in screen."""
    for line in launches(window):
        name, parent = basename(line.f.process_path), basename(line.f.parent_path)
        screen = parent in ACCESSIBILITY and name not in ACCESSIBILITY and name not in ("conhost.exe", "werfault.exe")
        if screen or (parent in ("smss.exe", "winlogon.exe") and name in SHELLS and name != "rundll32.exe"):
            yield this.finding(
                [line],
                confirmed=True,
                scope="host",
                host=line.host,
                account=line.user,
                program=line.f.process_path or "",
            )


@rule(
    "system-shell",
    "T1068",
    "privilege_escalation",
    says="A SYSTEM shell under a user-writable program, or a shell under lsass, dns, spoolsv, notepad or an odd svchost. Confirmed.",
    source="ATT&CK T1068, T1055, T1134.002",
    clues=SHELLS,
)
def system_shell(window: Window, this: Rule) -> Iterable[Finding]:
    """Find shells that have risen above their parent."""
    for line in launches(window):
        name, parent = basename(line.f.process_path), basename(line.f.parent_path)
        if name not in SHELLS or name == "rundll32.exe":
            continue
        risen = line.user.lower() == "system" and is_user_writable(line.f.parent_path) and not _INSTALLS.search(parent)
        service = _NAMED_SERVICE.search(line.f.parent_cmd_line or "") if parent == "svchost.exe" else None
        odd = parent in SHELL_LESS or (service and service[1].lower() not in ("schedule", "appinfo", "seclogon"))
        if risen or odd:
            yield this.finding(
                [line],
                confirmed=True,
                scope="host",
                host=line.host,
                account=line.user,
                program=line.f.process_path or "",
            )


_NAMED_SERVICE = re.compile(r"\s-s\s+(\w{1,40})", re.IGNORECASE)
_INSTALLS = re.compile(r"setup|install|update|unins", re.IGNORECASE)
SHELL_LESS = frozenset(
    [
        "lsass.exe",
        "dns.exe",
        "spoolsv.exe",
        "wermgr.exe",
        "notepad.exe",
        "calc.exe",
        "mspaint.exe",
        "searchindexer.exe",
        "csrss.exe",
    ]
)


@rule(
    "launcher-starts-shell",
    "T1059",
    "execution",
    says="mshta, regsvr32, hh, cmstp, control, odbcconf, installutil or msbuild starts a shell. Suspicious.",
    source="ATT&CK T1059, T1218",
    clues=[started_by(name) for name in _SHELL_LAUNCHERS],
)
def launcher_starts_shell(window: Window, this: Rule) -> Iterable[Finding]:
    """Find shells behind launchers."""
    lines: list[Line] = [
        line
        for line in launches(window)
        if basename(line.f.parent_path) in _SHELL_LAUNCHERS
        and basename(line.f.process_path) in ("cmd.exe", "powershell.exe", "pwsh.exe", "wscript.exe", "cscript.exe")
    ]
    for host, user, group in by_host_and_user(lines):
        yield this.finding(group, confirmed=False, scope="host", host=host, account=user, program=one_program(group))


@rule(
    "shell-over-network",
    "T1059.004",
    "execution",
    says="A shell is tied to a socket (/dev/tcp, nc -e, perl or python one-liner). Confirmed.",
    source="ATT&CK T1059.004, T1059.006",
    clues=("shell-over-network",),
)
def shell_over_network(window: Window, this: Rule) -> Iterable[Finding]:
    """Find reverse shells."""
    return told(window, this, "shell-over-network", sure=True)


@rule(
    "remote-registry",
    "T1112",
    "defense_evasion",
    says="wmiprvse writes keys of services, Control or autostart. Suspicious.",
    source="ATT&CK T1112, T1047",
    needs=kinds(RegistryFields, "set"),
)
def remote_registry(window: Window, this: Rule) -> Iterable[Finding]:
    """Find registry work through WMI."""
    lines: list[Line] = [
        line
        for line in window.of(RegistryFields)
        if line.f.activity == "set"
        and basename(line.f.process_path) == "wmiprvse.exe"
        and _REMOTE_KEYS.search(line.f.reg_key_path or "")
    ]
    for host, user, group in by_host_and_user(lines):
        yield this.finding(group, confirmed=False, scope="host", host=host, account=user, program=one_program(group))


_REMOTE_KEYS = re.compile(r"\\(?:services|control|currentversion\\run\w*|shell\\open)\\", re.IGNORECASE)


@rule(
    "share-sweep",
    "T1135",
    "discovery",
    says=f"One address opens 445 or 139 on {MIN_SWEPT} or more of ours within {SWEEP_S} s. Suspicious.",
    source="ATT&CK T1135, T1018",
    needs=kinds(NetConnFields, "open", "flow", "allow"),
    least=MIN_SWEPT,
    probing=True,
)
def share_sweep(window: Window, this: Rule) -> Iterable[Finding]:
    """Find addresses that knock at every file share."""
    tried: dict[str, list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if (
            line.f.src_ip
            and line.f.dst_ip
            and line.f.dst_port in (139, 445)
            and line.f.activity in ("open", "flow", "allow")
            and not window.is_external(line.f.dst_ip)
        ):
            tried.setdefault(line.f.src_ip, []).append(line)
    for source, lines in tried.items():
        burst = crowded(
            lines, window.limits.within(SWEEP_S), window.limits.at_least(MIN_SWEPT), lambda line: line.f.dst_ip
        )
        if burst:
            targets = [window.host_at(line.f.dst_ip or "") for line in burst]
            yield this.finding(
                burst,
                confirmed=False,
                scope="network",
                host=targets[0],
                hosts=targets,
                accounts=[line.user for line in burst],
                remote=source,
            )


@rule(
    "pipe-impersonation",
    "T1134.001",
    "privilege_escalation",
    says="A pipe named like a service's (ending in \\pipe\\spoolss), or a shell echoes into a pipe. Confirmed.",
    source="ATT&CK T1134.001",
    needs=kinds(PipeFields, "create"),
    clues=("pipe-echoed",),
)
def pipe_impersonation(window: Window, this: Rule) -> Iterable[Finding]:
    """Find pipes made to catch a privileged client."""
    lines: list[Line] = [
        line
        for line in window.of(PipeFields)
        if line.f.activity == "create" and _POTATO_PIPE.search(line.f.pipe_name or "")
    ]
    lines += window.view(acts).get("pipe-echoed", [])
    for host, user, group in by_host_and_user(lines):
        yield this.finding(group, confirmed=True, scope="host", host=host, account=user, program=one_program(group))


@rule(
    "privilege-of-foreign-program",
    "T1134",
    "privilege_escalation",
    says="A program not installed asks for SeTcb, SeDebug, SeLoadDriver or SeCreateToken. Suspicious.",
    source="ATT&CK T1134; Security 4673/4703",
    needs=(PrivilegeFields,),
)
def privilege_of_foreign_program(window: Window, this: Rule) -> Iterable[Finding]:
    """Find programs that ask for what only the system needs."""
    lines: list[Line] = [
        line
        for line in window.of(PrivilegeFields)
        if line.f.process_path
        and "\\" in line.f.process_path
        and not is_installed(line.f.process_path)
        and re.search(r"SeTcb|SeDebug|SeLoadDriver|SeCreateToken", line.f.privileges or "")
    ]
    for host, user, group in by_host_and_user(lines):
        yield this.finding(group, confirmed=False, scope="host", host=host, account=user, program=one_program(group))


# ---------------------------------------------------------------- movement
@rule(
    "remote-command",
    "T1047",
    "lateral_movement",
    says=f"A child of wmiprvse, winrshost, wsmprovhost, scrcons, mmc -Embedding, psexesvc or spoolsv. Confirmed: output to a share, hidden or obfuscated, or a person's network logon at most {REMOTE_S} s before.",
    source="ATT&CK T1047, T1021.003, T1021.006, T1569.002",
    clues=[started_by(name) for name in REMOTE_PARENTS],
)
def remote_command(window: Window, this: Rule) -> Iterable[Finding]:
    """Find programs that somebody starts from elsewhere."""
    known = window.view(acts)
    meant = ("output-to-share", "script-obfuscated", "script-offensive", "hidden-start")
    shared = {line.log_id for meaning in meant for line in known.get(meaning, ())}
    for line in launches(window):
        parent, name = basename(line.f.parent_path), basename(line.f.process_path)
        if (
            parent not in REMOTE_PARENTS
            or name in _OWN_CHILDREN
            or (parent == "mmc.exe" and "-embedding" not in (line.f.parent_cmd_line or "").lower())
        ):
            continue
        if is_installed(line.f.process_path) and "\\program files" in (line.f.process_path or "").lower():
            continue  # a management agent's own
        logons = [
            logon
            for logon in window.of(LogonFields)
            if logon.f.activity == "success"
            and logon.f.logon_type == NETWORK_LOGON
            and logon.host == line.host
            and is_person_or_service(account_name(logon.f.user_name))
            and logon.f.src_ip not in (None, "127.0.0.1", "::1")
            and 0 <= line.t - logon.t <= window.limits.within(REMOTE_S)
        ]
        yield this.finding(
            [*logons, line],
            confirmed=bool(logons) or line.log_id in shared,
            scope="host",
            host=line.host,
            account=line.user,
            program=line.f.process_path or "",
        )


@rule(
    "output-to-share",
    "T1021.002",
    "lateral_movement",
    says="A command writes to an administrative share (> \\\\host\\ADMIN$). Confirmed.",
    source="ATT&CK T1021.002, T1047",
    clues=("output-to-share",),
)
def output_to_share(window: Window, this: Rule) -> Iterable[Finding]:
    """Find commands whose output somebody else collects."""
    return told(window, this, "output-to-share", sure=True)


@rule(
    "remote-shell-pipe",
    "T1570",
    "lateral_movement",
    says="Pipes -stdin, -stdout, PSEXESVC, PAExec, RemCom or a framework's. Confirmed: the framework's, or by a program of another name.",
    source="ATT&CK T1570, T1569.002; Microsoft Sysinternals PsExec; Sysmon event 17",
    needs=kinds(PipeFields, "create"),
)
def remote_shell_pipe(window: Window, this: Rule) -> Iterable[Finding]:
    """Find the pipes of remote shells; one finding for each host."""
    made: dict[str, list[Line[PipeFields]]] = {}
    for line in window.of(PipeFields):
        if _SHELL_PIPES.search(line.f.pipe_name or "") or _C2_PIPE.search(line.f.pipe_name or ""):
            made.setdefault(line.host, []).append(line)
    for host, lines in made.items():
        framework = any(_C2_PIPE.search(line.f.pipe_name or "") for line in lines)
        disguised = any(
            line.f.activity == "create"
            and _SHELL_PIPES.search(line.f.pipe_name or "")
            and basename(line.f.process_path) not in ("psexesvc.exe", "paexec.exe", "")
            for line in lines
        )
        yield this.finding(
            lines,
            confirmed=framework or disguised,
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
        )


@rule(
    "remote-control-pipe",
    "T1021.002",
    "lateral_movement",
    says=f"From elsewhere a person opens svcctl, atsvc, winreg or eventlog, three of samr, lsarpc, srvsvc, wkssvc, or programs on C$ or ADMIN$. Confirmed: a tool's output, both, {MIN_PIPES} pipes, {MIN_SPREAD_HOSTS} hosts.",
    source="ATT&CK T1021.002, T1018, T1187; MS-SCMR, MS-TSCH, MS-RRP, MS-EVEN name the pipes",
    needs=(ShareFields, PipeFields),
)
def remote_control_pipe(window: Window, this: Rule) -> Iterable[Finding]:
    """Find hosts that are worked from elsewhere; one finding for each host and account."""
    groups: dict[tuple[str, str], list[Line[ShareFields]]] = {}
    for line in window.of(ShareFields):
        if is_person_or_service(line.user) and line.f.src_ip not in (None, "127.0.0.1", "::1"):
            groups.setdefault((line.host, line.user), []).append(line)
    listed: dict[str, set[str]] = {}
    wanted: dict[tuple[str, str], list[Line[ShareFields]]] = {}
    for (host, user), lines in groups.items():
        pipes = [line for line in lines if (line.f.share_name or "").upper().endswith("IPC$")]
        listing = [line for line in pipes if _pipe_of(line) in ENUMERATION]
        if len({(line.f.file_path or "").lower() for line in listing}) < window.limits.at_least(MIN_PIPES):
            listing = []
        if listing:
            listed.setdefault(user, set()).add(host)
        wanted[host, user] = listing
    for (host, user), lines in groups.items():
        pipes = [line for line in lines if (line.f.share_name or "").upper().endswith("IPC$")]
        control, listing = [line for line in pipes if _pipe_of(line) in REMOTE_CONTROL], wanted[host, user]
        files = [
            line
            for line in lines
            if _ADMIN_SHARE.search(line.f.share_name or "") and _CODE_FILE.search(line.f.file_path or "")
        ]
        output = [
            line
            for line in lines
            if _ADMIN_SHARE.search(line.f.share_name or "") and _OUTPUT_FILE.search(line.f.file_path or "")
        ]
        wide = len(listed.get(user, ())) >= window.limits.at_least(MIN_SPREAD_HOSTS)
        group: list[Line] = [*control, *listing, *files, *output]
        if group:
            yield this.finding(
                group,
                confirmed=bool(output or (control and files) or (listing and wide)),
                scope="host",
                host=host,
                account=user,
                program=REMOTE_WORK,
            )
    reached: dict[str, list[Line[PipeFields]]] = {}
    for pipe in window.of(PipeFields):
        by_network = pipe.f.activity == "connect" and (pipe.f.process_path or "").lower() == "system"
        if by_network and (pipe.f.pipe_name or "").lower().lstrip("\\") in REMOTE_CONTROL:
            reached.setdefault(pipe.host, []).append(pipe)
    for host, opened in reached.items():
        many = len({(pipe.f.pipe_name or "").lower() for pipe in opened}) >= window.limits.at_least(MIN_PIPES)
        yield this.finding(opened, confirmed=many, scope="host", host=host, program=REMOTE_WORK)


def _pipe_of(line: Line[ShareFields]) -> str:
    return (line.f.file_path or "").lower().lstrip("\\")


@rule(
    "share-mounted",
    "T1021.002",
    "lateral_movement",
    says="net use of another host's C$ or ADMIN$. Suspicious.",
    source="ATT&CK T1021.002",
    clues=("share-mounted",),
)
def share_mounted(window: Window, this: Rule) -> Iterable[Finding]:
    """Find mounted administrative shares."""
    return told(window, this, "share-mounted", sure=False)


@rule(
    "borrowed-logon",
    "T1550.002",
    "lateral_movement",
    says="Logon type 9 by seclogo, a person's Kerberos logon from loopback, or explicit credentials by a script host, server or user-writable program. Suspicious.",
    source="ATT&CK T1550.002, T1558, T1134.002, T1078; Security 4624/4648",
    needs=kinds(LogonFields, "success", "explicit_credentials"),
)
def borrowed_logon(window: Window, this: Rule) -> Iterable[Finding]:
    """Find sign-ins with somebody else's credentials."""
    lines: list[Line] = []
    for line in window.of(LogonFields):
        name, person = basename(line.f.process_path), is_person_or_service(account_name(line.f.user_name))
        passed = (
            line.f.activity == "success"
            and line.f.logon_type == 9
            and (line.f.logon_process or "").lower() == "seclogo"
        )
        loop = (
            line.f.activity == "success"
            and line.f.logon_type == NETWORK_LOGON
            and (line.f.auth_protocol or "").lower() == "kerberos"
            and line.f.src_ip in ("127.0.0.1", "::1")
        )
        given = line.f.activity == "explicit_credentials" and (
            name in SHELLS or name == "wmic.exe" or name in SERVER_PROGRAMS or is_user_writable(line.f.process_path)
        )
        if person and (
            passed
            or loop
            or (given and account_name(line.f.user_name) != line.user)
            or (given and is_user_writable(line.f.process_path))
        ):
            lines.append(line)
    for host, user, group in by_host_and_user(lines):
        yield this.finding(
            group, confirmed=False, scope="identity", host=host, account=user, program=one_program(group)
        )


# ---------------------------------------------------------------- programs in the wrong place
@rule(
    "loose-program",
    "T1204.002",
    "execution",
    says="A program in Downloads, Desktop, Temp, Public, ProgramData or on a share is started by a shell or starts one. Confirmed: both, or it opens programs with full rights, reaches an administrative port or outside.",
    source="ATT&CK T1204.002, T1105, T1059",
    needs=kinds(ProcessFields, "launch"),
)
def loose_program(window: Window, this: Rule) -> Iterable[Finding]:
    """Find programs that run from where people put files, and what they do; one finding for each host and program."""
    met: dict[tuple[str, str], tuple[list[Line], list[Line]]] = {}
    for line in launches(window):
        path, parent = (line.f.process_path or "").lower(), (line.f.parent_path or "").lower()
        if is_loose(path) and (basename(parent) in SHELLS or is_loose(parent) or path.startswith("\\\\tsclient\\")):
            met.setdefault((line.host, path), ([], []))[0].append(line)
        if is_loose(parent) and basename(path) in SHELLS:
            met.setdefault((line.host, parent), ([], []))[1].append(line)
    for (host, path), (starts, shells) in met.items():
        deeds: list[Line] = [
            line
            for line in window.of(NetConnFields)
            if line.host == host
            and (line.f.process_path or "").lower() == path
            and line.f.activity in OUTBOUND
            and (line.f.dst_port in ADMIN_PORTS or window.is_external(line.f.dst_ip))
        ]
        deeds += [
            line
            for line in window.of(ProcessAccessFields)
            if line.host == host
            and (line.f.process_path or "").lower() == path
            and int(line.f.access_mask or "0x0", 16) & 0x2A == 0x2A
        ]
        group = [*starts, *shells, *deeds]
        yield this.finding(
            group,
            confirmed=bool(deeds or (starts and shells)),
            scope="host",
            host=host,
            accounts=[line.user for line in (*starts, *shells)],
            program=path,
        )


_CONNECTS_ODDLY = NO_NETWORK | SCRIPTERS | {"explorer.exe"}


@rule(
    "script-host-connects",
    "T1105",
    "command_and_control",
    says="A shell or script host connects outside (but 80, 443) or to 135 or 445, explorer.exe to an RPC port. Suspicious; confirmed for notepad, calc, mspaint.",
    source="ATT&CK T1105, T1071, T1218; Microsoft Sysmon event 3",
    needs=kinds(NetConnFields, *OUTBOUND),
)
def script_host_connects(window: Window, this: Rule) -> Iterable[Finding]:
    """Find connections by programs that have little reason for them; one finding for each host and program."""
    made: dict[tuple[str, str], list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        name = basename(line.f.process_path)
        if (
            name not in _CONNECTS_ODDLY
            or line.f.activity not in OUTBOUND
            or line.f.dst_ip in (None, "127.0.0.1", "::1", line.f.src_ip)
        ):
            continue
        outside, port = window.is_external(line.f.dst_ip), line.f.dst_port
        if (
            name in NO_NETWORK
            or (name in SCRIPTERS and ((outside and port not in WEB_PORTS) or port in (135, 445)))
            or (name == "explorer.exe" and not outside and (port or 0) >= DYNAMIC_PORT)
        ):
            made.setdefault((line.host, (line.f.process_path or "").lower()), []).append(line)
    for (host, path), lines in made.items():
        external = [line for line in lines if window.is_external(line.f.dst_ip)]
        yield this.finding(
            lines,
            confirmed=basename(path) in NO_NETWORK,
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=path,
            remote=(external[0].f.dst_ip or "") if external else "",
        )


@rule(
    "transfer-job",
    "T1197",
    "command_and_control",
    says="A BITS transfer from a bare IP address or no http(s). Suspicious.",
    source="ATT&CK T1197; Microsoft BITS-Client events 59/60",
    needs=kinds(NetConnFields, "bits_job"),
)
def transfer_job(window: Window, this: Rule) -> Iterable[Finding]:
    """Find odd background transfers."""
    lines: list[Line] = [
        line
        for line in window.of(NetConnFields)
        if line.f.activity == "bits_job" and line.f.url and _ODD_URL.search(line.f.url)
    ]
    for host, user, group in by_host_and_user(lines):
        yield this.finding(group, confirmed=False, scope="host", host=host, account=user, program=one_program(group))


_ODD_URL = re.compile(r"^https?://\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:[:/]|$)|^[a-z]:\\|^\\\\|^file:", re.IGNORECASE)


@rule(
    "product-detection",
    "T1204",
    "execution",
    says="Another product names malware, an exploit, a scan or a self-signed certificate. Confirmed: severity high or more.",
    source="ATT&CK T1204; Defender 1116, Zeek notice.log",
    needs=(DetectionFields,),
)
def product_detection(window: Window, this: Rule) -> Iterable[Finding]:
    """Find what others found; one finding for each host and address."""
    met: dict[tuple[str, str], list[Line[DetectionFields]]] = {}
    for line in window.of(DetectionFields):
        if (line.f.activity == "malware" and line.f.finding_title) or _NOTICE.search(line.f.finding_title or ""):
            met.setdefault((line.host, line.f.src_ip or ""), []).append(line)
    for (host, source), lines in met.items():
        grave = any((line.f.severity or "").lower() in ("high", "severe", "critical") for line in lines)
        yield this.finding(
            lines,
            confirmed=grave,
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=lines[0].f.file_path or "",
            remote=source,
        )


# ---------------------------------------------------------------- looking around
@rule(
    "admin-discovery",
    "T1087.002",
    "discovery",
    says="A command or person looks for administrators (net group domain admins, /domain, setspn -Q, nltest, dsquery). Suspicious.",
    source="ATT&CK T1087.002, T1069.002, T1482",
    needs=kinds(DirectoryFields, "access"),
    clues=("admin-discovery",),
)
def admin_discovery(window: Window, this: Rule) -> Iterable[Finding]:
    """Find searches for administrators."""
    lines: list[Line] = list(window.view(acts).get("admin-discovery", ()))
    lines += [
        line
        for line in window.of(DirectoryFields)
        if line.f.activity == "access"
        and is_person_or_service(line.user)
        and (
            "memberof=cn=domain admins" in (line.f.properties or "").lower()
            or ((line.f.object_type or "").startswith("SAM_") and _ADMIN_RID.search(line.f.object_dn or ""))
        )
    ]
    for host, user, group in by_host_and_user(lines):
        yield this.finding(
            group,
            confirmed=False,
            scope="host",
            host=host,
            account=user,
            program=one_program(group, otherwise="powershell.exe"),
        )


_ADMIN_RID = re.compile(r"^S-1-5-21-[\d-]+-(?:500|512|518|519)$")  # well-known RIDs (MS-DTYP 2.4.2.4)


@rule(
    "looking-around",
    "T1082",
    "discovery",
    says=f"{MIN_LOOKS} or more different discovery programs (whoami, net, systeminfo and the like) by one account within {LOOK_S} s. Suspicious.",
    source="ATT&CK T1082, T1033, T1016, T1057",
    clues=LOOKERS,
)
def looking_around(window: Window, this: Rule) -> Iterable[Finding]:
    """Find bursts of discovery."""
    lines: list[Line] = [line for line in launches(window) if basename(line.f.process_path) in LOOKERS and line.user]
    for host, user, group in by_host_and_user(lines):
        burst = crowded(group, window.limits.within(LOOK_S), window.limits.at_least(MIN_LOOKS), _program_name)
        if burst:
            yield this.finding(
                burst, confirmed=False, scope="host", host=host, account=user, program=one_program(burst)
            )


def _program_name(line: Line) -> str:
    return basename(line.f.process_path).replace("net1.exe", "net.exe")


@rule(
    "ticket-sweep",
    "T1018",
    "discovery",
    says=f"One account asks for tickets to {MIN_TICKETS} machines in {TICKETS_S} s, or reads {MIN_OBJECTS} directory objects in {OBJECTS_S} s. Confirmed: {MANY_TICKETS} machines.",
    source="ATT&CK T1018, T1087.002, T1069; Security 4769, 4661",
    needs=(*kinds(KerberosFields, "tgs"), *kinds(DirectoryFields, "access")),
    least=MIN_OBJECTS,
)
def ticket_sweep(window: Window, this: Rule) -> Iterable[Finding]:
    """Find accounts that touch everything at once."""
    asked: dict[str, list[Line[KerberosFields]]] = {}
    for line in window.of(KerberosFields):
        user = account_name(line.f.user_name)
        if line.f.activity == "tgs" and is_person_or_service(user) and (line.f.service_name or "").endswith("$"):
            asked.setdefault(user, []).append(line)
    for user, lines in asked.items():
        burst = crowded(
            lines,
            window.limits.within(TICKETS_S),
            window.limits.at_least(MIN_TICKETS),
            lambda line: line.f.service_name,
        )
        if burst:
            many = len({line.f.service_name for line in burst}) >= window.limits.at_least(MANY_TICKETS)
            yield this.finding(
                burst,
                confirmed=many,
                scope="identity",
                host=burst[0].host,
                account=user,
                remote=burst[0].f.src_ip or "",
            )
    read: dict[str, list[Line[DirectoryFields]]] = {}
    for access in window.of(DirectoryFields):
        if access.f.activity == "access" and is_person_or_service(access.user) and access.f.object_dn:
            read.setdefault(access.user, []).append(access)
    for user, found in read.items():
        swept = crowded(
            found, window.limits.within(OBJECTS_S), window.limits.at_least(MIN_OBJECTS), lambda line: line.f.object_dn
        )
        if swept:
            yield this.finding(swept, confirmed=False, scope="identity", host=swept[0].host, account=user)


@rule(
    "unanswered-calls",
    "T1571",
    "command_and_control",
    says=f"From inside, {MIN_UNANSWERED} external targets, or one {MIN_RETRIES} times, give no answer within {SCAN_S} s. Confirmed: {MIN_ONE_TARGET} ports of one address.",
    source="ATT&CK T1046, T1571, T1008; Zeek conn.log conn_state",
    needs=(NetConnFields,),
    least=MIN_RETRIES,
)
def unanswered_calls(window: Window, this: Rule) -> Iterable[Finding]:
    """Find scans to the outside, and implants that call a server that is gone."""
    tried: dict[str, list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if (
            line.f.src_ip
            and line.f.conn_state in UNANSWERED
            and window.is_external(line.f.dst_ip)
            and not window.is_external(line.f.src_ip)
        ):
            tried.setdefault(line.f.src_ip, []).append(line)
    for source, lines in tried.items():
        span = window.limits.within(SCAN_S)
        burst = crowded(
            lines, span, window.limits.at_least(MIN_UNANSWERED), lambda line: (line.f.dst_ip, line.f.dst_port)
        )
        if not burst:
            pairs: dict[tuple[object, object], list[Line[NetConnFields]]] = {}
            for line in lines:
                pairs.setdefault((line.f.dst_ip, line.f.dst_port), []).append(line)
            burst = [
                line
                for same in pairs.values()
                for line in crowded(same, span, window.limits.at_least(MIN_RETRIES), lambda line: line.log_id)
            ]
        ports: dict[str | None, set[int | None]] = {}
        for line in burst:
            ports.setdefault(line.f.dst_ip, set()).add(line.f.dst_port)
        if burst:
            one = max(map(len, ports.values())) >= window.limits.at_least(MIN_ONE_TARGET)
            yield this.finding(
                burst,
                confirmed=one,
                scope="host",
                host=burst[0].host,
                accounts=[line.user for line in burst],
                remote=source,
            )


@rule(
    "services-stopped",
    "T1489",
    "impact",
    says=f"{MIN_STOPPED} or more services or programs are stopped by command within {LOOK_S} s. Suspicious.",
    source="ATT&CK T1489",
    clues=("service-stopped",),
)
def services_stopped(window: Window, this: Rule) -> Iterable[Finding]:
    """Find hosts whose services are stopped one after another."""
    for host, user, group in by_host_and_user(window.view(acts).get("service-stopped", [])):
        burst = crowded(
            group,
            window.limits.within(LOOK_S),
            window.limits.at_least(MIN_STOPPED),
            lambda line: getattr(line.f, "process_cmd_line", line.log_id),
        )
        if burst:
            yield this.finding(
                burst, confirmed=False, scope="host", host=host, account=user, program=one_program(burst)
            )


RULES = (
    elevation_bypass,
    sign_in_screen_shell,
    system_shell,
    launcher_starts_shell,
    shell_over_network,
    remote_registry,
    share_sweep,
    pipe_impersonation,
    privilege_of_foreign_program,
    remote_command,
    output_to_share,
    remote_shell_pipe,
    remote_control_pipe,
    share_mounted,
    borrowed_logon,
    loose_program,
    script_host_connects,
    transfer_job,
    product_detection,
    admin_discovery,
    looking_around,
    ticket_sweep,
    unanswered_calls,
    services_stopped,
)
