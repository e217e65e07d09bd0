"""What is done past the usual sight: times and streams of files, hidden accounts, safe mode, raw disks, drivers, sessions, policies, trusts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.families.tellings import Row, Telling, control, file, made, order, script, setting, start
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import HOST, Family

_CMD = SYSTEM32 + "cmd.exe"
_REG = SYSTEM32 + "reg.exe"
_SVCHOST = SYSTEM32 + "svchost.exe"
_TRUSTED = "C:\\Windows\\servicing\\TrustedInstaller.exe"
_FOREIGN = "C:\\Users\\{user}\\AppData\\Local\\Temp\\{word}.exe"
_INSTALLED = "C:\\Program Files\\{word}\\{word}.exe"

# ---------------------------------------------------------------- files
_CODE = tuple(f"D:\\{{word2}}\\{{word3}}.{ending}" for ending in ("exe", "dll", "sys", "ps1", "vbs", "js", "bat"))
_TEXTS = tuple(f"D:\\{{word2}}\\{{word3}}.{ending}" for ending in ("txt", "log", "docx", "csv"))
_TIMES = ("CreationTime", "LastWriteTime", "LastAccessTime")


def _time_set(by: str, path: Any = _CODE) -> Telling:
    return [file(path, by, "time_change")]


def _touch(*texts: str) -> Telling:
    return [start("/usr/bin/touch", tuple(f"touch {text}" for text in texts), "/usr/bin/bash")]


def _stream(path: Any, by: str) -> Telling:
    """Make a telling of a stream that a program writes beside a file, and of an ordinary start."""
    return [file(path, by, "stream"), start("C:\\Program Files\\{word4}\\{word4}.exe")]


def _started(path: str) -> Telling:
    return [start(path, parent=_CMD), file("D:\\Shares\\{word4}.docx", EXPLORER, "stream", after=(5, 90))]


_READ = (
    "\\Device\\HarddiskVolume1",
    "\\Device\\HarddiskVolume2",
    "\\Device\\HarddiskVolume3",
    "\\Device\\Harddisk0\\DR0",
)
_DOORS = tuple(
    f"{SYSTEM32}{name}.exe" for name in ("sethc", "utilman", "osk", "magnify", "narrator", "displayswitch", "atbroker")
)
_ROOMS = tuple(f"{SYSTEM32}{name}.exe" for name in ("notepad", "calc", "mspaint", "charmap", "write", "winver"))
_PUT = "/c copy /y cmd.exe {path}", "/c move /y D:\\{{word}}.exe {path}", "/c mklink {path} D:\\{{word}}.exe"


def _put(paths: Sequence[str]) -> Telling:
    return [order("cmd.exe", *(text.format(path=path) for text in _PUT for path in paths))]


def _driver(path: str, *states: str) -> Telling:
    return [Row("module_load", "driver", {"file_path": path, "signature_state": states})]


# ---------------------------------------------------------------- settings, sessions and the domain
_SAFE = tuple(
    f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\SafeBoot\\{mode}\\{{word}}\\(Default)"
    for mode in ("Minimal", "Network")
)
_USUAL = tuple(f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\{key}\\{{word}}\\(Default)" for key in ("Print", "Video"))
_HIDDEN = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\SpecialAccounts\\UserList\\{word}"
_HIDE = 'add "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\SpecialAccounts\\UserList" /v {word} /t REG_DWORD /d '
_ID = "{{hex}-016D-11D2-945F-{hex2}F984}"
_POLICY = tuple(
    f"Policies\\{_ID}\\Machine\\{path}"
    for path in (
        "Preferences\\ScheduledTasks\\ScheduledTasks.xml",
        "Preferences\\Services\\Services.xml",
        "Preferences\\Registry\\Registry.xml",
        "Scripts\\Startup\\{word}.bat",
        "Scripts\\Shutdown\\{word}.ps1",
        "Scripts\\scripts.ini",
        "Microsoft\\Windows NT\\SecEdit\\GptTmpl.inf",
    )
)
_PLAIN = tuple(f"Policies\\{_ID}\\{path}" for path in ("Machine\\Registry.pol", "GPT.INI", "Machine\\comment.cmtx"))


def _shared(paths: Sequence[str], *masks: str, user: str = "{user}") -> Telling:
    fields = {
        "share_name": "\\\\*\\SYSVOL",
        "file_path": tuple(f"corp.example\\{path}" for path in paths),
        "access_mask": masks,
        "src_ip": "{other_ip}",
    }
    return [Row("share", "access", fields, user=user)]


def _edited(paths: Sequence[str], user: str = "{user}") -> list[Telling]:
    places = tuple(f"C:\\Windows\\SYSVOL\\domain\\{path}" for path in paths)
    return [
        [file(places, program, activity, user=user)]
        for program in (SYSTEM32 + "mmc.exe", SYSTEM32 + "notepad.exe", POWERSHELL)
        for activity in ("create", "modify")
    ]


def _trust(*names: str, user: str = "{user}") -> Telling:
    return [control("trust", names, ("created", "changed", "removed", "two-way"), user=user)]


_SWITCHES = ("firewall setting Enable Windows Firewall", *(f"firewall setting 1 of profile {n}" for n in (1, 2, 4)))


def _firewall(names: Sequence[str], *values: str) -> list[Telling]:
    programs = (SYSTEM32 + "netsh.exe", POWERSHELL, SYSTEM32 + "mmc.exe")
    return [[control("firewall", tuple(names), values, program)] for program in programs]


FAMILIES: tuple[Family, ...] = (
    made(
        "backdated_program",
        "T1070.006",
        "defense_evasion",
        ("file-time-changed",),
        suspicious=[
            _time_set(POWERSHELL),
            _time_set(_CMD),
            _time_set(_FOREIGN),
            [script(*(f"(Get-Item {path}).{time} = '2019-03-0{number}'" for number, path in enumerate(_CODE, 1) for time in _TIMES))],
        ],
        below=[
            _time_set(_INSTALLED),
            _time_set("C:\\Users\\{user}\\AppData\\Local\\Temp\\{word}_setup.exe"),
            _time_set(_FOREIGN, _TEXTS),
            [script(*(f"(Get-Item {path}).{time} -lt '2019-03-0{number}'" for number, path in enumerate(_CODE, 1) for time in _TIMES))],
        ],
    ),
    made(
        "touched_program",
        "T1070.006",
        "defense_evasion",
        ("file-time-changed",),
        suspicious=[_touch("-r /usr/bin/ls /usr/local/bin/{word}", "-t 201903011200 /usr/lib/{word}.so", "-d 2019-03-01 /srv/{word}.sh", "--reference=/etc/hosts /etc/{word}")],
        below=[_touch("/usr/local/bin/{word}", "-c /usr/lib/{word}.so", "/srv/{word}.sh", "/etc/{word}")],
        platform="linux",
    ),
    made(
        "hidden_stream",
        "T1564.004",
        "defense_evasion",
        ("program-in-stream",),
        confirmed=[_started("D:\\Shares\\{word}.txt:{word2}.exe"), _started("D:\\{word}\\{word3}.log:{word2}.exe")],
        suspicious=[
            _stream(tuple(f"D:\\Shares\\{{word}}.{ending}:{{word2}}.{code}" for ending in ("txt", "log") for code in ("exe", "dll", "vbs")), by)
            for by in (_CMD, POWERSHELL, EXPLORER)
        ],
        below=[
            _stream(tuple(f"D:\\Shares\\{{word}}.{ending}:{name}" for ending in ("exe", "docx", "zip") for name in ("Zone.Identifier", "{word2}")), by)
            for by in (_CMD, POWERSHELL, EXPLORER)
        ],
        reaches=HOST,
    ),
    made(
        "read_raw_disk",
        "T1006",
        "defense_evasion",
        ("raw-disk-read",),
        confirmed=[[file(_READ, program, "raw_read")] for program in (POWERSHELL, _CMD, SYSTEM32 + "rundll32.exe")],
        suspicious=[[file(_READ, _FOREIGN, "raw_read")]],
        below=[[file(_READ, program, "raw_read")] for program in (_SVCHOST, _INSTALLED, SYSTEM32 + "vssvc.exe", SYSTEM32 + "defrag.exe")],
        reaches=HOST,
    ),
    made(
        "loaded_driver",
        "T1068",
        "privilege_escalation",
        ("odd-driver",),
        confirmed=[
            _driver(f"C:\\Users\\{{user}}\\{folder}\\{{word}}.sys", "unsigned", "invalid")
            for folder in ("AppData\\Local\\Temp", "Downloads", "Desktop")
        ],
        suspicious=[
            _driver("C:\\Users\\{user}\\AppData\\Local\\Temp\\{word}.sys", "signed"),
            _driver("C:\\ProgramData\\{word}\\{word2}.sys", "signed"),
            _driver("D:\\{word}\\{word2}.sys", "unsigned", "invalid"),
        ],
        below=[
            _driver(SYSTEM32 + "drivers\\{word}.sys", "signed", "unsigned", "invalid"),
            _driver("D:\\{word}\\{word2}.sys", "signed"),
            _driver("C:\\Program Files\\{word}\\{word2}.sys", "signed", "unsigned"),
        ],
        reaches=HOST,
    ),
    made(
        "replaced_door",
        "T1546.008",
        "privilege_escalation",
        ("accessibility-replaced",),
        confirmed=[
            *([file(_DOORS, program, activity)] for program in (_CMD, EXPLORER, POWERSHELL) for activity in ("create", "modify")),
            *[_put(_DOORS)] * 3,
        ],
        below=[
            *([file(_DOORS, _TRUSTED, activity)] for activity in ("create", "modify")),
            *([file(_ROOMS, program, activity)] for program in (_CMD, EXPLORER) for activity in ("create", "modify")),
            *[_put(_ROOMS)] * 3,
        ],
        reaches=HOST,
    ),
    made(
        "safe_mode",
        "T1562.009",
        "defense_evasion",
        ("safe-mode-entry",),
        suspicious=[[setting(_SAFE, "Service", program, activity)] for program in (_REG, POWERSHELL, _INSTALLED) for activity in ("set", "key_create")],
        below=[
            *([setting(_SAFE, "Service", program, activity)] for program in (_SVCHOST, SYSTEM32 + "msiexec.exe") for activity in ("set", "key_create")),
            *([setting(_SAFE, "Service", _REG, "key_delete")] for _ in range(2)),
            *([setting(_USUAL, "Service", program)] for program in (_REG, POWERSHELL)),
        ],
    ),
    made(
        "hidden_account",
        "T1564.002",
        "defense_evasion",
        ("account-hidden",),
        suspicious=[
            *([setting(_HIDDEN, "DWORD (0x00000000)", program)] for program in (_REG, POWERSHELL, "C:\\Windows\\regedit.exe")),
            [order("reg.exe", _HIDE + "0 /f", _HIDE + "0x0", parent=_CMD)],
        ],
        below=[
            *([setting(_HIDDEN, "DWORD (0x00000001)", program)] for program in (_REG, POWERSHELL, "C:\\Windows\\regedit.exe")),
            [order("reg.exe", _HIDE + "1 /f", _HIDE + "0x1", parent=_CMD)],
        ],
    ),
    made(
        "taken_session",
        "T1563.002",
        "lateral_movement",
        ("session-taken",),
        suspicious=[
            [order("tscon.exe", "{number} /dest:rdp-tcp#{number2}", "{number} /dest:console", parent=(_CMD, EXPLORER))],
            [order("mstsc.exe", "/v:{other_host} /shadow:{number} /control /noConsentPrompt", "/v:{other_host} /shadow:{number} /noConsentPrompt", parent=(_CMD, EXPLORER))],
        ],
        below=[
            [order("tscon.exe", "{number}", "{number} /v", parent=(_CMD, EXPLORER))],
            [order("mstsc.exe", "/v:{other_host} /shadow:{number} /control", "/v:{other_host} /shadow:{number}", parent=(_CMD, EXPLORER))],
        ],
    ),
    made(
        "session_of_system",
        "T1563.002",
        "lateral_movement",
        ("session-taken",),
        confirmed=[
            [order("tscon.exe", "{number} /dest:rdp-tcp#{number2}", "{number} /dest:console", parent=(_CMD, _SVCHOST), user="SYSTEM")]
        ],
        below=[
            [order("tscon.exe", "{number}", "{number} /v", parent=(_CMD, _SVCHOST), user="SYSTEM")]
        ],
        reaches=HOST,
        account="SYSTEM",
        names_account=False,
    ),
    made(
        "written_policy",
        "T1484.001",
        "defense_evasion",
        ("policy-file-written",),
        suspicious=[_shared(_POLICY, "0x2", "0x6", "0x120196")],
        below=[
            _shared(_POLICY, "0x1", "0x80", "0x120089"),
            _shared(_POLICY, "0x2", "0x6", "0x120196", user="{host}$"),
            _shared(_PLAIN, "0x2", "0x6", "0x120196"),
        ],
        explanations=(),
    ),
    made(
        "edited_policy",
        "T1484.001",
        "defense_evasion",
        ("policy-file-written",),
        suspicious=_edited(_POLICY),
        below=[*_edited(_POLICY, "SYSTEM"), *_edited(_POLICY, "{host}$"), *_edited(_PLAIN)],
    ),
    made(
        "made_trust",
        "T1484.002",
        "defense_evasion",
        ("trust-made",),
        suspicious=[_trust("trust {domain}", "Trusted domain {domain}", "trust")],
        below=[
            _trust("trust {domain}", "Trusted domain {domain}", "trust", user="{host}$"),
            _trust("domain policy of {domain}", "Kerberos policy", user="{user}"),
        ],
        explanations=(),
    ),
    made(
        "dropped_firewall",
        "T1562.004",
        "defense_evasion",
        ("firewall-switched-off",),
        suspicious=_firewall(_SWITCHES, "No", "Off", "False", "0"),
        below=[
            *_firewall(_SWITCHES, "Yes", "On", "True", "1"),
            *_firewall([f"firewall setting 3 of profile {n}" for n in (1, 2, 4)], "No", "Off", "False", "0"),
        ],
    ),
)  # fmt: skip
