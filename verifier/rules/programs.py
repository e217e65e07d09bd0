"""Rules on programs that start in the wrong place, and on what another product says of them (ATT&CK Execution)."""

from __future__ import annotations

import re

from schema import DetectionFields, NetConnFields, ProcessAccessFields, ProcessFields
from verifier.commands import launches_by
from verifier.rules.kit import ALL_ACCESS_BITS, DOCUMENT_PROGRAMS, grouped, has_bits, is_loose, program_path
from verifier.window import (
    COMMAND_SHELLS,
    OUTBOUND,
    SCRIPT_ENGINES,
    SHELLS,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    finding,
    findings_by_host_and_user,
    rule,
    stems,
)

_SHELL_LAUNCHERS = (
    "mshta.exe",
    "regsvr32.exe",
    "hh.exe",
    "cmstp.exe",
    "control.exe",
    "odbcconf.exe",
    "installutil.exe",
    "msbuild.exe",
)

_LAUNCHED_SHELLS = (*COMMAND_SHELLS, *SCRIPT_ENGINES)

ADMIN_PORTS = (
    88,
    135,
    389,
    445,
    636,
    3268,
    3389,
    5985,
    5986,
)
_ADMIN_PORTS = frozenset(ADMIN_PORTS)

_NOTICE = re.compile(
    r"malware|trojan|exploit|backdoor|\bc2\b|command.and.control|mimikatz|cobalt|meterpreter|self signed certificate|scan::|ransom|virus|hacktool|password.guessing",
    re.IGNORECASE,
)

_POLICY = re.compile(r"\bpolicy\b|privacy violation", re.IGNORECASE)
GRAVE_SEVERITIES = ("high", "severe", "critical")


@rule(
    "launcher-starts-shell",
    "T1059",
    "execution",
    on=(launches_by(_SHELL_LAUNCHERS),),
    summary=f"{', '.join(stems(_SHELL_LAUNCHERS))} starts {', '.join(stems(_LAUNCHED_SHELLS))}. Suspicious.",
    source="ATT&CK T1059, T1218",
)
def launcher_starts_shell(launches: Lines[ProcessFields], window: Window) -> Findings:
    shells = [line for line in launches if basename(line.fields.process_path) in _LAUNCHED_SHELLS]
    return findings_by_host_and_user(shells, confirmed=False)


@rule(
    "loose-program",
    "T1204.002",
    "execution",
    on=((ProcessFields, "launch"), (NetConnFields, *OUTBOUND)),
    summary=f"A loose program is started by a shell, {', '.join(stems(DOCUMENT_PROGRAMS))}, by a loose program or from \\\\tsclient, or starts a shell, or (but in ProgramData) reaches an administrative port "
    f"inside ({', '.join(map(str, ADMIN_PORTS))}). Confirmed: two of started, starting and a deed: such a port, an address outside or a program opened with rights {ALL_ACCESS_BITS:#x}.",
    source="ATT&CK T1204.002, T1105, T1059",
)
def loose_program(launches: Lines[ProcessFields], connections: Lines[NetConnFields], window: Window) -> Findings:
    starts, shells = grouped(launches, _loose_start), grouped(launches, _loose_parent)
    to_admin = [line for line in connections if line.fields.dst_port in _ADMIN_PORTS]
    reached = grouped(to_admin, lambda line: _loose_caller(window, line))
    if not (starts or shells or reached):
        return  # most windows
    launched = dict(sorted([*starts.items(), *shells.items()], key=lambda group: group[1][0].order))
    for host, path in launched | reached:
        around = [*starts.get((host, path), ()), *shells.get((host, path), ())]
        deeds = _deeds(window, host, path)
        signs = ((host, path) in starts, (host, path) in shells, bool(deeds))
        yield finding(
            [*around, *deeds],
            confirmed=sum(signs) > 1,
            host=host,
            accounts=[line.user for line in around or deeds],
            program=path,
        )


def _loose_start(line: Line[ProcessFields]) -> tuple[str, str] | None:
    """Return the host and the loose program that a shell, a program for documents, another loose program or a remote desktop's drive starts."""
    path = program_path(line)
    if not is_loose(path):
        return None  # most starts
    parent = _parent_path(line)
    starter = is_loose(parent) or basename(parent) in (*SHELLS, *DOCUMENT_PROGRAMS) or path.startswith("\\\\tsclient\\")
    return (line.host, path) if starter else None


def _loose_parent(line: Line[ProcessFields]) -> tuple[str, str] | None:
    """Return the host and the loose program that starts a shell."""
    parent = _parent_path(line)
    return (line.host, parent) if is_loose(parent) and basename(line.fields.process_path) in SHELLS else None


def _parent_path(line: Line[ProcessFields]) -> str:
    return (line.fields.parent_path or "").lower()


def _loose_caller(window: Window, line: Line[NetConnFields]) -> tuple[str, str] | None:
    """Return the host and the loose program (but of ProgramData) that connects inside."""
    address, path = line.fields.dst_ip, program_path(line)
    inside = address and not window.is_external(address)
    return (line.host, path) if inside and is_loose(path) and "\\programdata\\" not in path else None


def _deeds(window: Window, host: str, path: str) -> list[Line]:
    """List a program's connections outside or to administrative ports, and what it opens with full rights."""
    calls = [
        line
        for line in window.of(NetConnFields, *OUTBOUND)
        if (line.host, program_path(line)) == (host, path)
        and (line.fields.dst_port in _ADMIN_PORTS or window.is_external(line.fields.dst_ip))
    ]
    opens = [
        line
        for line in window.of(ProcessAccessFields)
        if (line.host, program_path(line)) == (host, path) and has_bits(line.fields.access_mask, ALL_ACCESS_BITS)
    ]
    return [*calls, *opens]


@rule(
    "product-detection",
    "T1204",
    "execution",
    on=(DetectionFields,),
    summary=f"Another product finds malware, or names malware, trojan, exploit, backdoor, c2, command and control, Mimikatz, Cobalt, Meterpreter, ransom, virus, HackTool, password guessing, Scan:: or self signed certificate, or rates what it finds {', '.join(GRAVE_SEVERITIES)}, but a policy or privacy violation. "
    "Confirmed: such a name with such a severity.",
    source="ATT&CK T1204; Defender 1116, Zeek notice.log",
)
def product_detection(detections: Lines[DetectionFields], window: Window) -> Findings:
    for (host, source), lines in grouped(detections, _noticed_pair).items():
        yield finding(
            lines,
            confirmed=any(_names_harm(line) and _is_grave(line) for line in lines),
            host=host,
            accounts=[line.user for line in lines],
            program=lines[0].fields.file_path or "",
            remote=source,
        )


def _noticed_pair(line: Line[DetectionFields]) -> tuple[str, str] | None:
    """Return the host and the address of a detection that names something grave or is rated so."""
    return (line.host, line.fields.src_ip or "") if _names_harm(line) or _is_grave(line) else None


def _names_harm(line: Line[DetectionFields]) -> bool:
    title = line.fields.finding_title or ""
    return _NOTICE.search(title) is not None or (bool(title) and line.fields.activity == "malware")


def _is_grave(line: Line[DetectionFields]) -> bool:
    title = line.fields.finding_title or ""
    return bool(title) and not _POLICY.search(title) and (line.fields.severity or "").lower() in GRAVE_SEVERITIES


RULES = (
    launcher_starts_shell,
    loose_program,
    product_detection,
)
