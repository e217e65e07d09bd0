"""What records and protects is weakened: logs wiped or narrowed, the anti-virus lowered, guards of the registry opened."""

from __future__ import annotations

from collections.abc import Sequence

from schema import LOG_WORK
from tasks.families.tellings import Row, Telling, basename, control, made, order, setting, start
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import HOST, Family

_REG = SYSTEM32 + "reg.exe"
_SVCHOST = SYSTEM32 + "svchost.exe"
_CMD = SYSTEM32 + "cmd.exe"
_BASH = "/usr/bin/bash"
_FOREIGN = "C:\\Users\\{user}\\AppData\\Roaming\\{word}.exe"
_ZERO, _ONE = "DWORD (0x00000000)", "DWORD (0x00000001)"
_LOGS = ("Security", "System", "Application", "Setup", '"Windows PowerShell"', "Microsoft-Windows-Sysmon/Operational")
_CONTROL_KEY = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\"
_SERVICES_KEY = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\"
_POLICY_KEY = "HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\PowerShell\\"
_CHANNEL_KEY = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WINEVT\\Channels\\"
_DEFENDER_KEY = "HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows Defender\\"


def _each(program: str, verb: str, names: tuple[str, ...], after: tuple[int, int] = (2, 40)) -> list[Row]:
    """List the starts of a program with one verb for name after name."""
    return [order(program, f"{verb} {name}", after=after) for name in names]


# ---------------------------------------------------------------- logs
def _wiping(program: str, clear: str, read: str) -> tuple[Telling, Telling, Telling]:
    """Make the three tellings of a program that clears logs, one log, or only reads them."""
    logs = _LOGS[:5]
    return (
        _each(program, clear, logs),
        [*_each(program, read, logs[:2]), *_each(program, clear, logs[2:3]), *_each(program, read, logs[3:])],
        _each(program, read, logs),
    )


_WIPINGS = (
    _wiping("wevtutil.exe", "cl", "gli"),
    _wiping("wevtutil.exe", "clear-log", "get-log"),
    _wiping("powershell.exe", "-Command Clear-EventLog -LogName", "-Command Get-EventLog -Newest 20 -LogName"),
    _wiping(
        "powershell.exe", "-Command Remove-EventLog -LogName", "-Command Limit-EventLog -MaximumSize 64MB -LogName"
    ),
)


def _cleared(user: str) -> Telling:
    return [control("log_clear", name.strip('"'), "cleared", user=user, after=(2, 40)) for name in _LOGS]


_OFF = ("No auditing", "disabled", "0x0")


def _log_and_audit(user: str, host: str, value: str) -> Telling:
    """Make a telling of a log that an account clears, and auditing that is switched off on a host after that."""
    name = ("Security", "System", "Application", "Setup")
    return [
        control("log_clear", name, "cleared", SYSTEM32 + "wevtutil.exe", user=user),
        control("audit_policy", ("Logon", "Object Access", "Process Creation"), value, host=host, after=(20, 400)),
    ]


def _unaudited(*values: str) -> Telling:
    names = ("Logon", "Process Creation", "Special Logon", "Security Group Management", "File Share")
    return [
        control("audit_policy", name, f"Success {value}", after=(1, 20))
        for name, value in zip(names, values, strict=True)
    ]


def _service(start_type: str) -> Telling:
    fields = {"service_name": "EventLog", "service_cmd_line": SYSTEM32 + "svchost.exe", "start_type": start_type}
    return [Row("service", "config", fields)]


def _switches(data: str, program: str) -> list[Telling]:
    """List the settings that switch off what scripts, programs and logs leave behind, one a telling."""
    keys = (
        _POLICY_KEY + "ScriptBlockLogging\\EnableScriptBlockLogging",
        _POLICY_KEY + "ModuleLogging\\EnableModuleLogging",
        _POLICY_KEY + "Transcription\\EnableTranscripting",
        _CHANNEL_KEY + "Microsoft-Windows-{word}/Operational\\Enabled",
        _CONTROL_KEY + "WMI\\Autologger\\EventLog-System\\Start",
        "HKLM\\SOFTWARE\\Microsoft\\.NETFramework\\ETWEnabled",
        "HKCU\\SOFTWARE\\Microsoft\\Windows Script\\Settings\\AmsiEnable",
        "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\Audit\\ProcessCreationIncludeCmdLine_Enabled",
        _SERVICES_KEY + "EventLog\\Security\\MaxSize",
    )
    return [[setting(key, data, program)] for key in keys]


def _access(dacl: str, program: str) -> list[Telling]:
    keys = (_SERVICES_KEY + "EventLog\\{word}\\CustomSD", _CHANNEL_KEY + "{word}\\ChannelAccess")
    return [[setting(keys, dacl, program)], [setting(keys, dacl, program)]]


_REFUSING = ("O:BAG:SYD:(D;;0x7;;;WD)", "O:BAG:SYD:(D;;0xf0007;;;BA)", "O:BAG:SYD:(D;;0x1;;;AU)")
_GRANTING = ("O:BAG:SYD:(A;;0x7;;;WD)", "O:BAG:SYD:(A;;0xf0007;;;BA)", "O:BAG:SYD:(A;;0x1;;;AU)")


# ---------------------------------------------------------------- protection
_LOWERING = (
    ("Set-MpPreference -DisableRealtimeMonitoring $true", "Get-MpPreference"),
    ("Add-MpPreference -ExclusionPath D:\\{word}", "Get-MpComputerStatus"),
    ("Set-NetFirewallProfile -Profile Public -Enabled False", "Get-NetFirewallProfile -Profile Public"),
    ("Set-Service -Name WinDefend -StartupType Disabled", "Get-Service -Name WinDefend"),
)


def _lowering(*hostile: int) -> Telling:
    """Make a telling of four of PowerShell's commands, of which those at some places lower protection."""
    return [
        order("powershell.exe", f"-Command {pair[index not in hostile]}", after=(5, 60))
        for index, pair in enumerate(_LOWERING)
    ]


# By which command each guard is lowered, and looked at.
_BY_SHELL = (
    ("sc stop WinDefend", "sc query WinDefend"),
    ("net stop mpssvc", "net start mpssvc"),
    ("taskkill /f /im MsMpEng.exe", 'tasklist /fi "imagename eq MsMpEng.exe"'),
    ("fltmc unload {word}", "fltmc filters"),
    ("MpCmdRun.exe -RemoveDefinitions -All", "MpCmdRun.exe -SignatureUpdate"),
    ("bcdedit /set testsigning on", "bcdedit /set testsigning off"),
    ("dism /online /disable-feature /featurename:Windows-Defender", "dism /online /get-features"),
    ("netsh advfirewall set allprofiles state off", "netsh advfirewall set allprofiles state on"),
    ("netsh advfirewall firewall add rule name={word} dir=in action=allow", "netsh advfirewall firewall show rule name={word}"),
    ("sysmon64 -u", "sysmon64 -s"),
)  # fmt: skip
_BY_BASH = (
    ("iptables -F", "iptables -S"),
    ("iptables -t nat -F", "iptables -t nat -L"),
    ("ufw disable", "ufw status"),
    ("iptables --flush INPUT", "iptables --list INPUT"),
)


def _lowered_by(shell: str, pairs: Sequence[tuple[str, str]], *, hostile: bool) -> list[Telling]:
    """Make tellings of four commands of a shell that follow each other in a list of them."""
    rows = [start(shell, f'{basename(shell)} {_RUNS[shell]} "{pair[not hostile]}"', after=(5, 60)) for pair in pairs]
    return [[*rows[first:], *rows[:first]][:4] for first in range(len(rows))]


_RUNS = {_CMD: "/c", _BASH: "-c"}
_FILES = ("auth.log", "secure", "wtmp", "syslog", "messages")


def _wiped_there(command: str) -> Telling:
    return [start(_BASH, f'bash -c "{command.format(name)}"', "/usr/sbin/sshd", after=(2, 40)) for name in _FILES]


def _audit(program: str, *texts: str) -> Telling:
    return [start(f"/usr/sbin/{program}", tuple(f"{program} {text}" for text in texts), _BASH)]


def _shields(data: str, program: str) -> list[Telling]:
    values = (
        (_DEFENDER_KEY + "DisableAntiSpyware", data),
        (_DEFENDER_KEY + "Real-Time Protection\\DisableBehaviorMonitoring", data),
        (_DEFENDER_KEY + "Spynet\\DontReportInfectionInformation", data),
        ("HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\DisableTaskMgr", data),
    )
    return [[setting(key, value, program)] for key, value in values]


_GUARDS = (
    ("SecurityProviders\\WDigest\\UseLogonCredential", 1, 0),
    ("Lsa\\RunAsPPL", 0, 1),
    ("Lsa\\DisableRestrictedAdmin", 0, 1),
    ("Lsa\\LmCompatibilityLevel", 1, 5),
    ("Lsa\\NoLMHash", 0, 1),
    ("Lsa\\DsrmAdminLogonBehavior", 2, 0),
    ("Lsa\\LimitBlankPasswordUse", 0, 1),
    ("Terminal Server\\fDenyTSConnections", 0, 1),
    ("Terminal Server\\WinStations\\RDP-Tcp\\UserAuthentication", 0, 1),
    ("Terminal Server\\WinStations\\RDP-Tcp\\SecurityLayer", 0, 2),
)


def _guards(place: int, program: str) -> list[Telling]:
    """List the guards of the registry, each set open (place 1) or closed (place 2)."""
    below_control = [(_CONTROL_KEY + str(guard[0]), guard[place]) for guard in _GUARDS]
    below_policies = [
        (f"HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\{name}", values[place])
        for name, values in (("EnableLUA", (0, 0, 1)), ("LocalAccountTokenFilterPolicy", (0, 1, 0)))
    ]
    return [[setting(key, f"DWORD (0x{number:08x})", program)] for key, number in (*below_control, *below_policies)]


def _history(activity: str) -> list[Telling]:
    """List the keys that keep what somebody typed, each made or removed."""
    hive = "HKU\\S-1-5-21-{number}-1001\\Software\\Microsoft\\"
    names = (
        "Windows\\CurrentVersion\\Explorer\\RunMRU",
        "Windows\\CurrentVersion\\Explorer\\TypedPaths",
        "Internet Explorer\\TypedURLs",
        "Terminal Server Client\\Default",
        "Terminal Server Client\\Servers",
    )
    return [[setting(hive + name, "", program, activity)] for name in names for program in (_REG, POWERSHELL)]


FAMILIES: tuple[Family, ...] = (
    made(
        "wiped_logs",
        "T1070.001",
        "defense_evasion",
        ("logs-wiped",),
        confirmed=[wiping[0] for wiping in _WIPINGS],
        suspicious=[wiping[1] for wiping in _WIPINGS],
        below=[wiping[2] for wiping in _WIPINGS],
        reaches=HOST,
    ),
    made(
        "cleared_logs",
        "T1070.001",
        "defense_evasion",
        ("logs-wiped",),
        LOG_WORK,
        confirmed=[_cleared("{user}")],
        below=[_cleared("SYSTEM")],
        reaches=HOST,
    ),
    made(
        "weakened_logging",
        "T1562.002",
        "defense_evasion",
        ("logging-weakened",),
        confirmed=[[order("auditpol.exe", "/clear /y", "/remove /allusers", parent=(EXPLORER, _CMD))]],
        suspicious=[
            [
                order(
                    "auditpol.exe",
                    "/set /subcategory:Logon /success:disable",
                    '/set /category:"Object Access" /failure:disable',
                    "/restore /file:D:\\{word}\\policy.csv",
                    parent=(EXPLORER, _CMD),
                )
            ],
            [
                order(
                    "wevtutil.exe",
                    "sl Microsoft-Windows-{word}/Operational /e:false",
                    "sl Security /ms:65536",
                    parent=_CMD,
                )
            ],
        ],
        below=[
            [
                order(
                    "auditpol.exe",
                    "/set /subcategory:Logon /success:enable",
                    '/set /category:"Object Access" /failure:enable',
                    "/backup /file:D:\\{word}\\policy.csv",
                    parent=(EXPLORER, _CMD),
                )
            ],
            [order("wevtutil.exe", "sl Microsoft-Windows-{word}/Operational /e:true", "gl Security", parent=_CMD)],
        ],
        reaches=HOST,
    ),
    made(
        "silenced_scripts",
        "T1562.002",
        "defense_evasion",
        ("logging-weakened",),
        confirmed=_switches(_ZERO, _FOREIGN),
        suspicious=[*_switches(_ZERO, _REG), *_switches(_ZERO, POWERSHELL)],
        below=[
            *_switches(_ZERO, _SVCHOST),
            *_switches("DWORD (0x04000000)", _REG),
            *_switches("DWORD (0x04000000)", POWERSHELL),
        ],
        reaches=HOST,
    ),
    made(
        "removed_audits",
        "T1562.002",
        "defense_evasion",
        ("logging-weakened",),
        LOG_WORK,
        confirmed=[_unaudited("removed", "removed", "removed", "removed", "removed")],
        suspicious=[_unaudited("added", "added", "removed", "added", "added")],
        below=[_unaudited("added", "added", "added", "added", "added")],
        reaches=HOST,
    ),
    made(
        "disabled_log_service",
        "T1562.002",
        "defense_evasion",
        ("logging-weakened",),
        LOG_WORK,
        confirmed=[_service("disabled")],
        below=[_service("auto start")],
        reaches=HOST,
    ),
    made(
        "closed_log",
        "T1562.002",
        "defense_evasion",
        ("log-access-changed",),
        confirmed=[
            telling for dacl in _REFUSING for program in (_REG, POWERSHELL) for telling in _access(dacl, program)
        ]
        + [[order("wevtutil.exe", *(f"sl Security /ca:{dacl}" for dacl in _REFUSING))]] * 4,
        suspicious=[
            telling for dacl in _GRANTING for program in (_REG, POWERSHELL) for telling in _access(dacl, program)
        ]
        + [[order("wevtutil.exe", *(f"sl Security /ca:{dacl}" for dacl in _GRANTING))]] * 4,
        below=[telling for dacl in (*_REFUSING, *_GRANTING) for telling in _access(dacl, _SVCHOST)]
        + [[order("wevtutil.exe", "gl Security", "sl Security /rt:false", "gl System /f:xml")]] * 4,
        reaches=HOST,
    ),
    made(
        "lowered_protection",
        "T1562.001",
        "defense_evasion",
        ("protection-lowered",),
        confirmed=[_lowering(0, 1, 2, 3), _lowering(0, 2, 3), _lowering(1, 2, 3), _lowering(0, 1, 2)],
        below=[_lowering()],
        reaches=HOST,
    ),
    made(
        "lowered_by_shell",
        "T1562.001",
        "defense_evasion",
        ("protection-lowered",),
        confirmed=_lowered_by(_CMD, _BY_SHELL, hostile=True),
        below=_lowered_by(_CMD, _BY_SHELL, hostile=False),
        reaches=HOST,
    ),
    made(
        "flushed_firewall",
        "T1562.004",
        "defense_evasion",
        ("protection-lowered",),
        confirmed=_lowered_by(_BASH, _BY_BASH, hostile=True),
        below=_lowered_by(_BASH, _BY_BASH, hostile=False),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "wiped_var_log",
        "T1070.002",
        "defense_evasion",
        ("logs-wiped",),
        confirmed=[
            _wiped_there(command)
            for command in ("rm -f /var/log/{}", "truncate -s 0 /var/log/{}", "cat /dev/null > /var/log/{}")
        ],
        below=[
            _wiped_there(command)
            for command in ("gzip -k /var/log/{}", "tail -n 200 /var/log/{}", "wc -l /var/log/{} > /dev/null")
        ],
        reaches=HOST,
        platform="linux",
    ),
    made(
        "stopped_auditd",
        "T1562.012",
        "defense_evasion",
        ("logging-weakened",),
        suspicious=[
            _audit("auditctl", "-e 0", "-D"),
            _audit("systemctl", "stop auditd", "disable rsyslog", "mask auditd"),
            _audit("setenforce", "0"),
        ],
        below=[
            _audit("auditctl", "-s", "-l"),
            _audit("systemctl", "status auditd", "restart rsyslog", "enable auditd"),
            _audit("setenforce", "1"),
        ],
        platform="linux",
    ),
    made(
        "lowered_shield",
        "T1562.001",
        "defense_evasion",
        ("protection-lowered",),
        confirmed=_shields(_ONE, _FOREIGN),
        suspicious=[*_shields(_ONE, _REG), *_shields(_ONE, POWERSHELL)],
        below=[*_shields(_ONE, _SVCHOST), *_shields(_ZERO, _REG), *_shields(_ZERO, _FOREIGN)],
        reaches=HOST,
    ),
    made(
        "opened_guard",
        "T1112",
        "defense_evasion",
        ("security-switch",),
        confirmed=_guards(1, _FOREIGN),
        suspicious=[*_guards(1, _REG), *_guards(1, POWERSHELL)],
        below=[*_guards(1, _SVCHOST), *_guards(2, _REG), *_guards(2, _FOREIGN)],
        reaches=HOST,
    ),
    made(
        "erased_history",
        "T1070.003",
        "defense_evasion",
        ("history-erased",),
        suspicious=_history("key_delete"),
        below=_history("key_create"),
    ),
    made(
        "hidden_file",
        "T1564.001",
        "defense_evasion",
        ("history-erased",),
        suspicious=[
            [order("attrib.exe", "+h D:\\{word}\\{word2}.exe", "+s +h C:\\{word}", "+h {word}.bat", parent=_CMD)]
        ],
        below=[
            [
                order(
                    "attrib.exe",
                    "-h D:\\{word}\\{word2}.exe",
                    "+r C:\\{word}",
                    "+h D:\\{word}\\desktop.ini",
                    parent=_CMD,
                )
            ]
        ],
    ),
    made(
        "cleared_unaudited",
        "T1070.001",
        "defense_evasion",
        ("log-cleared",),
        "wevtutil.exe",
        confirmed=[_log_and_audit("{user}", "{host}", value) for value in _OFF],
        suspicious=[_log_and_audit("{user}", "{other_host}", value) for value in _OFF],
        below=[_log_and_audit("SYSTEM", "{host}", value) for value in _OFF],
        reaches=HOST,
    ),
)
