"""Hold what rules of several tactics share: helpers, lists and limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from schema import NetConnFields
from verifier.window import OUTBOUND, SHELLS, F, Finding, Line, Window, basename, finding, is_user_writable

K = TypeVar("K", bound=Hashable)


def grouped(lines: Iterable[Line[F]], key: Callable[[Line[F]], K | None]) -> dict[K, list[Line[F]]]:
    """Group lines by a key, in order of appearance; lines whose key is None are left out."""
    groups: dict[K, list[Line[F]]] = {}
    for line in lines:
        name = key(line)
        if name is not None:
            groups.setdefault(name, []).append(line)
    return groups


def burst_of(
    window: Window,
    lines: Sequence[Line[F]],
    count: int,
    seconds: float,
    *,
    different: Callable[[Line[F]], object] = lambda line: line.log_id,
) -> list[Line[F]]:
    """Return the lines that lie in any run of at most `seconds` with at least `count` different things.

    Args:
        lines: some of the window's lines in time order.
        different: what is counted; each line by itself unless given.
    """
    span, least = window.limits.within(seconds), window.limits.at_least(count)
    if len(lines) < least:
        return []
    if lines[-1].time_s - lines[0].time_s <= span:
        return list(lines) if len({different(line) for line in lines}) >= least else []
    crowded: set[int] = set()
    for start, first in enumerate(lines):
        run = [index for index in range(start, len(lines)) if lines[index].time_s - first.time_s <= span]
        if len({different(lines[index]) for index in run}) >= least:
            crowded.update(run)
    return [lines[index] for index in sorted(crowded)]


def damage_to_data(lines: Sequence[Line], host: str, program: str) -> Finding:
    """Make the finding of a program that did harm to files: confirmed, on the data, with every account that wrote."""
    return finding(
        lines,
        confirmed=True,
        scope="data",
        host=host,
        accounts=[line.user for line in lines],
        program=program,
        impact=True,
    )


def follows(window: Window, later: Line, earlier: Line, seconds: float) -> bool:
    """Return whether a line comes at most so many seconds after another one (or in the same instant)."""
    return 0 <= later.time_s - earlier.time_s <= window.limits.within(seconds)


def program_path(line: Line[Any]) -> str:
    """Return the path of the program that acts in a line, in lower case; nothing where none is named."""
    return (line.fields.process_path or "").lower()


def target_of(line: Line[NetConnFields]) -> tuple[str | None, int | None]:
    """Return the address and the port that a connection goes to."""
    return line.fields.dst_ip, line.fields.dst_port


def first_address(connections: Sequence[Line[NetConnFields]]) -> str:
    """Return the address that the first of some connections goes to; nothing where there is none."""
    return (connections[0].fields.dst_ip or "") if connections else ""


def command_line(line: Line[Any]) -> str:
    """Return the command line of a launch; nothing for another line."""
    return getattr(line.fields, "process_cmd_line", None) or ""


def host_and_user(line: Line[Any]) -> tuple[str, str]:
    """Return the host and the account of a line, by which most findings are kept apart."""
    return line.host, line.user


def number_in_hex(text: str | None) -> int:
    """Return the number that a field holds in hexadecimal digits (`0x17`); 0 for an empty field."""
    return int(text or "0x0", 16)


def has_bits(mask: str | None, bits: int) -> bool:
    """Return whether an access mask has all of some bits."""
    return number_in_hex(mask) & bits == bits


# ---------------------------------------------------------------- shared lists and limits
CHAIN_S = 300  # a program's next move counts as its own for this long

NETWORK_LOGON = 3

LOOPBACK = ("127.0.0.1", "::1")

WINDOWS_CRASH_AND_CONSOLE = ("conhost.exe", "werfault.exe")  # what Windows starts beside or after any program

SERVER_PROGRAMS = (
    "w3wp.exe",
    "sqlservr.exe",
    "httpd.exe",
    "nginx.exe",
    "tomcat9.exe",
    "php-cgi.exe",
    "httpd",
    "nginx",
    "apache2",
)

DOCUMENT_PROGRAMS = (
    "winword.exe",
    "excel.exe",
    "powerpnt.exe",
    "outlook.exe",
    "onenote.exe",
    "acrord32.exe",
    "mspub.exe",
)

WEB_FOLDERS = ("\\inetpub\\", "\\aspnet_client\\", "\\httpproxy\\", "\\htdocs\\", "\\webapps\\", "\\wwwroot\\")

MIN_ENCODED = 20  # characters of an encoded command; a shorter one says nothing

# PowerShell takes any beginning of -EncodedCommand, and a dash of any length or a slash before it.
_CRADLE = re.compile(
    r"downloadstring|downloadfile|downloaddata|invoke-webrequest|start-bitstransfer|net\.webclient|frombase64string"
    r"|\biwr\b|\biex\b|invoke-expression"
    rf"|\s[-/\u2013-\u2015]e(?:c|nc?|nco[a-z]*)?[\s:]+[\"']?[a-z0-9+/=]{{{MIN_ENCODED},}}",
    re.IGNORECASE,
)

_UNQUOTED = re.compile(r"^(?:[a-z]:|\\|%\w+%)\\.*?\.(?:exe|com|bat|cmd|scr|dll|sys|ps1|vbs|js)(?=\s|$)", re.IGNORECASE)


def program_of(command: str) -> str:
    """Return the path of the program that a service's or a task's command line starts."""
    command = command.strip()
    if command.startswith('"'):
        return command[1:].partition('"')[0]
    command = command.split(" -")[0].split(" /")[0]
    match = _UNQUOTED.match(command)
    return match[0] if match else command.partition(" ")[0]


def shell_name(program: str) -> str:
    """Return a program's file name, or the shell's that is meant: `powershell` and %COMSPEC% are found by the system."""
    name = basename(program)
    return "cmd.exe" if name == "%comspec%" else f"{name}.exe" if f"{name}.exe" in SHELLS else name


def outbound(window: Window, host: str, program: str, after: float, seconds: float) -> list[Line[NetConnFields]]:
    """List the connections that a program opens from a host to an external address within a span after a time.

    `program` is a path, or a file name where nobody said which folder.
    """
    span = window.limits.within(seconds)
    return [
        line
        for line in window.of(NetConnFields, *OUTBOUND)
        if line.host == host
        and 0 <= line.time_s - after <= span
        and _is_same_program(line.fields.process_path or "", program)
        and window.is_external(line.fields.dst_ip)
    ]


def _is_same_program(first: str, second: str) -> bool:
    """Return whether two paths are first; where either is a mere file name, whether the file names are."""
    first, second = first.lower(), second.lower()
    return first == second or (basename(first) == basename(second) and basename(first) in (first, second))


@lru_cache(maxsize=4096)
def fetches_code(text: str) -> bool:
    """Return whether PowerShell's command line or code downloads, decodes or runs text as code."""
    return _CRADLE.search(text) is not None


MIN_FAILURES = 5  # fewer is a person mistyping

GUESSING_S = 300

WEAK_CIPHERS = (0x17, 0x18)  # RC4-HMAC, RC4-HMAC-EXP

MIN_SPREAD_HOSTS = 4

ALL_ACCESS_BITS = 0x2A  # CREATE_THREAD 0x2, VM_OPERATION 0x8, VM_WRITE 0x20

VM_READ = 0x10  # the access right to read another process's memory

PRIVILEGED_GROUPS = (
    "domain admins",
    "enterprise admins",
    "administrators",
    "schema admins",
    "backup operators",
    "account operators",
    "dnsadmins",
    "administratoraccess",
)

AUTORUN = re.compile(
    r"\\currentversion\\(run|runonce|runservices|policies\\explorer\\run)(\\|$)|\\image file execution options\\|\\winlogon\\(shell|userinit)$",
    re.IGNORECASE,
)

# Calls of AWS that stop, delete or narrow what records calls, traffic, threats or settings.
TRAIL_CALLS = (
    "StopLogging",
    "DeleteTrail",
    "UpdateTrail",
    "PutEventSelectors",
    "PutInsightSelectors",
    "DeleteFlowLogs",
    "DeleteDetector",
    "StopConfigurationRecorder",
    "DeleteConfigurationRecorder",
    "DeleteEventDataStore",
)

# Those among them that set what a trail records, so that what they set decides.
TRAIL_SETTINGS = ("UpdateTrail", "PutEventSelectors", "PutInsightSelectors")

CLOUD_S = 3600

# Programs of Windows that carry out policy and set-up: what they set, an administrator decided.
MANAGERS = frozenset(
    {
        "svchost.exe",
        "services.exe",
        "trustedinstaller.exe",
        "tiworker.exe",
        "msiexec.exe",
        "poqexec.exe",
        "lsass.exe",
        "drvinst.exe",
        "msmpeng.exe",
    }
)

# Programs that Windows lifts to high integrity without asking (autoElevate in their manifests), and need no shell.
ELEVATED = frozenset(
    [
        "eventvwr.exe",
        "fodhelper.exe",
        "computerdefaults.exe",
        "sdclt.exe",
        "slui.exe",
        "changepk.exe",
        "wsreset.exe",
        "cliconfg.exe",
        "sysprep.exe",
        "cmstp.exe",
        "wusa.exe",
        "mcx2prov.exe",
        "systempropertiesadvanced.exe",
        "dccw.exe",
        "iscsicli.exe",
        "osk.exe",
        "msconfig.exe",
        "perfmon.exe",
        "pkgmgr.exe",
        "winsat.exe",
        "dllhost.exe",
        "taskhostw.exe",
        "wuauclt.exe",
        "migwiz.exe",
    ]
)

LOOSE = (
    "directly in a user's Downloads, Desktop, Documents, Music, Pictures, Videos, AppData\\Roaming, AppData\\Local or AppData\\Local\\Temp, in \\Users\\Public, \\ProgramData, "
    "\\Windows\\Temp, \\Temp, \\Tmp, \\PerfLogs or one folder below, directly in /tmp, /dev/shm or /var/tmp, or on a share, and are not named setup, install, update or unins"
)
_LOOSE = re.compile(
    r"^(?:[a-z]:|\\device\\harddiskvolume\d+)\\users\\[^\\]+\\(?:downloads|desktop|documents|music|pictures|videos|appdata\\(?:roaming|local|local\\temp))\\[^\\]+$"
    r"|^(?:[a-z]:|\\device\\harddiskvolume\d+)\\(?:users\\public|programdata|windows\\temp|temp|tmp|perflogs)\\(?:[^\\]+\\)?[^\\]+$|^/(?:tmp|dev/shm|var/tmp)/[^/]+$|^\\\\[^\\?.][^\\]*\\",
    re.IGNORECASE,
)

INSTALLERS = re.compile(r"setup|install|update|unins", re.IGNORECASE)

PROGRAM_FOLDERS = (
    "right below a user's AppData\\Local, AppData\\Local\\Programs, AppData\\Local\\Microsoft or AppData\\Roaming (also written %LOCALAPPDATA% or %APPDATA%) "
    "and are not named Temp, Microsoft, Programs, Packages, Windows or WindowsApps"
)
_PROGRAM_FOLDER = re.compile(
    r"^(?:(?:[a-z]:|\\device\\harddiskvolume\d+)\\users\\(?!public\\)[^\\]+|%userprofile%)\\appdata"
    r"\\((?:local\\(?:programs\\|microsoft\\)?|roaming\\)(?!(?:temp|microsoft|programs|packages|windows|windowsapps)\\)[^\\]+)\\[^\\]"
)
_REMOVAL = re.compile(
    r"^(?:[a-z]:\\[\w\\]{1,30}\\)?cmd\.exe (?:/q )?/c (?:del|rd|rmdir) (?:/[a-z] )*\"([^\"&|<>%^]+)\"$"
)


@lru_cache(maxsize=16_384)
def is_loose(path: str) -> bool:
    """Return whether a program lies where people put files (or on a share) and is no installer by name."""
    return _LOOSE.match(path) is not None and not INSTALLERS.search(basename(path))


@lru_cache(maxsize=16_384)
def program_folder(path: str) -> str:
    """Return the folder below AppData in which a program for one user lies; nothing for another path."""
    path = path.lower().replace("%localappdata%", "%userprofile%\\appdata\\local")
    match = _PROGRAM_FOLDER.match(path.replace("%appdata%", "%userprofile%\\appdata\\roaming"))
    return match[1] if match and "\\..\\" not in path else ""


def is_own(program: str | None, target: str | None) -> bool:
    """Return whether a program and what it acts on lie in one program folder."""
    folder = program_folder(program or "")
    return bool(folder) and folder == program_folder(target or "")


def registers_itself(program: str | None, command: str) -> bool:
    """Return whether the command that a program registers starts its own, or removes its own files and does nothing else."""
    removal = _REMOVAL.match(command.strip().lower())
    return is_own(program, removal[1] if removal else program_of(command))


@lru_cache(maxsize=16_384)
def terms_for(field: str, value: str) -> tuple[str, ...]:
    """Name what the playbook's glossary calls a value: `writable` by users, and a program `loose`, `shell`, `server`, `manager` or `elevated`.

    Args:
        field: its name; that of a program ends in `path`, and so does that of another file.
        value: a path, a command or another text.
    """
    writable = ("writable",) if is_user_writable(value) else ()
    if not field.endswith("path") or field == "reg_key_path":
        return writable
    program = basename(value)
    called = [term for term, programs in _PROGRAMS.items() if program in programs]
    return (*writable, *(("loose",) if is_loose(value) else ()), *called)


_PROGRAMS = {"shell": SHELLS, "server": SERVER_PROGRAMS, "manager": MANAGERS, "elevated": ELEVATED}
