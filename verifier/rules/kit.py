"""Helpers of the rules, by which no tactic needs another one's file."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from schema import Fields, NetConnFields, ScriptFields
from verifier.window import (
    OUTBOUND,
    F,
    Finding,
    Kind,
    Line,
    Rule,
    Scope,
    Window,
    basename,
    crowded,
    finding,
    kinds,
    one_program,
)
from verifier.window import SHELLS as SHELLS

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
    return crowded(lines, window.limits.within(seconds), window.limits.at_least(count), different)


def follows(window: Window, later: Line, earlier: Line, seconds: float) -> bool:
    """Whether a line comes at most so many seconds after another one (or in the same instant)."""
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
    """Whether an access mask has all of some bits."""
    return number_in_hex(mask) & bits == bits


# ---------------------------------------------------------------- shared lists and limits
CHAIN_S = 300  # a program's next move counts as its own for this long

NETWORK_LOGON = 3

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
    """The path of the program that a service's or a task's command line starts."""
    command = command.strip()
    if command.startswith('"'):
        return command[1:].partition('"')[0]
    command = command.split(" -")[0].split(" /")[0]
    found = _UNQUOTED.match(command)
    return found[0] if found else command.partition(" ")[0]


def shell_name(program: str) -> str:
    """A program's file name, or the shell's that is meant: `powershell` and %COMSPEC% are found by the system."""
    name = basename(program)
    return "cmd.exe" if name == "%comspec%" else f"{name}.exe" if f"{name}.exe" in SHELLS else name


def outbound(window: Window, host: str, program: str, after: float, seconds: float) -> list[Line[NetConnFields]]:
    """Connections that a program opens from a host to an external address within a span after a time.

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


def _is_same_program(one: str, other: str) -> bool:
    """Whether two paths are one; where either is a mere file name, whether the file names are."""
    one, other = one.lower(), other.lower()
    return one == other or (basename(one) == basename(other) and basename(one) in (one, other))


@lru_cache(maxsize=4096)
def fetches_code(text: str) -> bool:
    """Whether PowerShell's command line or code downloads, decodes or runs text as code."""
    return _CRADLE.search(text) is not None


MIN_FAILURES = 5  # fewer is a person mistyping

GUESSING_S = 300

WEAK_CIPHERS = (0x17, 0x18)  # RC4-HMAC, RC4-HMAC-EXP

MIN_SPREAD_HOSTS = 4

ALL_ACCESS_BITS = 0x2 | 0x8 | 0x20  # CREATE_THREAD, VM_OPERATION, VM_WRITE

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
    "DeleteFlowLogs",
    "DeleteDetector",
    "StopConfigurationRecorder",
    "DeleteConfigurationRecorder",
    "DeleteEventDataStore",
)

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

_LOOSE = re.compile(
    r"^(?:[a-z]:|\\device\\harddiskvolume\d+)\\users\\[^\\]+\\(?:downloads|desktop|documents|music|pictures|videos|appdata\\(?:roaming|local|local\\temp))\\[^\\]+$"
    r"|^(?:[a-z]:|\\device\\harddiskvolume\d+)\\(?:users\\public|programdata|windows\\temp|temp|tmp|perflogs)\\(?:[^\\]+\\)?[^\\]+$|^/(?:tmp|dev/shm|var/tmp)/[^/]+$|^\\\\[^\\?.][^\\]*\\",
    re.IGNORECASE,
)

INSTALLERS = re.compile(r"setup|install|update|unins", re.IGNORECASE)


@lru_cache(maxsize=16_384)
def is_loose(path: str) -> bool:
    """Whether a program lies where people put files (or on a share) and is no installer by name."""
    return _LOOSE.match(path) is not None and not INSTALLERS.search(basename(path))


# ---------------------------------------------------------------- rules that still filter by themselves
class Legacy:
    """The maker of findings that a rule of the old form is handed."""

    finding = staticmethod(finding)

    @staticmethod
    def of_one(
        lines: Sequence[Line],
        *,
        confirmed: bool,
        scope: Scope = "host",
        program: str | None = None,
        otherwise: str = "",
        impact: bool = False,
    ) -> Finding:
        """Make a finding on lines of one host and one user."""
        return finding(
            lines,
            confirmed=confirmed,
            scope=scope,
            host=lines[0].host,
            account=lines[0].user,
            program=one_program(lines, otherwise=otherwise) if program is None else program,
            impact=impact,
        )


_LEGACY = Legacy()


def legacy_rule(
    rule_id: str,
    technique: str,
    tactic: str,
    *,
    says: str,
    source: str,
    needs: Sequence[type[Fields] | Kind] = (),
    least: int = 1,
    clues: Iterable[str] = (),
    probing: bool = False,
) -> Callable[[Callable[[Window, Legacy], Iterable[Finding]]], Rule]:
    """Make a rule of a function from the window to findings, whose dispatch is declared apart."""
    kinds_needed = frozenset(kind for need in needs for kind in ((need,) if isinstance(need, tuple) else kinds(need)))

    def make(body: Callable[[Window, Legacy], Iterable[Finding]]) -> Rule:
        def wrapped(window: Window) -> Iterable[Finding]:
            return body(window, _LEGACY)

        return Rule(
            rule_id, technique, tactic, says, source, wrapped, (), kinds_needed, frozenset(clues), least, probing
        )

    return make


def by_host_and_user(lines: Iterable[Line[Any]]) -> Iterable[list[Line[Any]]]:
    """Lines grouped by host and user, in order of appearance."""
    return grouped(lines, lambda line: (line.host, line.user)).values()


def program_at(lines: Iterable[Line]) -> str:
    """The one program that lines name; PowerShell for scripts."""
    lines = list(lines)
    scripts = any(isinstance(line.fields, ScriptFields) for line in lines)
    return one_program(lines, otherwise="powershell.exe" if scripts else "")
