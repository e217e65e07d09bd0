"""Rules on programs that start in the wrong place, and on what another product says of them (ATT&CK Execution)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    DetectionFields,
    NetConnFields,
    ProcessAccessFields,
    ProcessFields,
)
from verifier.commands import launches, started_by, told
from verifier.rules.kit import SHELLS, Legacy, by_host_and_user, is_loose, legacy_rule
from verifier.window import (
    OUTBOUND,
    Finding,
    Line,
    Window,
    basename,
    kinds,
)

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

ADMIN_PORTS = frozenset((88, 135, 389, 445, 636, 3268, 3389, 5985, 5986))

_NOTICE = re.compile(
    r"malware|trojan|exploit|backdoor|c2\b|command.and.control|mimikatz|cobalt|meterpreter|self signed certificate|scan::|ransom|virus|hacktool",
    re.IGNORECASE,
)


@legacy_rule(
    "launcher-starts-shell",
    "T1059",
    "execution",
    says="mshta, regsvr32, hh, cmstp, control, odbcconf, installutil or msbuild starts a shell. Suspicious.",
    source="ATT&CK T1059, T1218",
    clues=[started_by(name) for name in _SHELL_LAUNCHERS],
)
def launcher_starts_shell(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find shells behind launchers."""
    lines: list[Line] = [
        line
        for line in launches(window)
        if basename(line.fields.parent_path) in _SHELL_LAUNCHERS
        and basename(line.fields.process_path)
        in ("cmd.exe", "powershell.exe", "pwsh.exe", "wscript.exe", "cscript.exe")
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


@legacy_rule(
    "shell-over-network",
    "T1059.004",
    "execution",
    says="A shell is tied to a socket (/dev/tcp, nc -e, perl or python one-liner). Confirmed.",
    source="ATT&CK T1059.004, T1059.006",
    clues=("shell-over-network",),
)
def shell_over_network(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find reverse shells."""
    return told(window, this, "shell-over-network", sure=True)


@legacy_rule(
    "loose-program",
    "T1204.002",
    "execution",
    says="A program in Downloads, Desktop, Temp, Public, ProgramData or on a share is started by a shell or starts one, or reaches an administrative port inside. Confirmed: two of these, or it opens programs with full rights or reaches outside.",
    source="ATT&CK T1204.002, T1105, T1059",
    needs=(*kinds(ProcessFields, "launch"), *kinds(NetConnFields, *OUTBOUND)),
)
def loose_program(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that run from where people put files, and what they do; one finding for each host and program."""
    met: dict[tuple[str, str], tuple[list[Line], list[Line]]] = {}
    for line in launches(window):
        path, parent = (line.fields.process_path or "").lower(), (line.fields.parent_path or "").lower()
        under = is_loose(parent)  # parents are few, so this and their names are known from other lines
        if (under or basename(parent) in SHELLS or path.startswith("\\\\tsclient\\")) and is_loose(path):
            met.setdefault((line.host, path), ([], []))[0].append(line)
        if under and basename(path) in SHELLS:
            met.setdefault((line.host, parent), ([], []))[1].append(line)
    for reach in window.of(NetConnFields):
        path = (reach.fields.process_path or "").lower()
        inside = (
            reach.fields.activity in OUTBOUND and reach.fields.dst_ip and not window.is_external(reach.fields.dst_ip)
        )
        if inside and reach.fields.dst_port in ADMIN_PORTS and is_loose(path) and "\\programdata\\" not in path:
            met.setdefault((reach.host, path), ([], []))
    for (host, path), (starts, shells) in met.items():
        deeds: list[Line] = [
            line
            for line in window.of(NetConnFields)
            if line.host == host
            and (line.fields.process_path or "").lower() == path
            and line.fields.activity in OUTBOUND
            and (line.fields.dst_port in ADMIN_PORTS or window.is_external(line.fields.dst_ip))
        ]
        deeds += [
            line
            for line in window.of(ProcessAccessFields)
            if line.host == host
            and (line.fields.process_path or "").lower() == path
            and int(line.fields.access_mask or "0x0", 16) & 0x2A == 0x2A
        ]
        group = [*starts, *shells, *deeds]
        yield this.finding(
            group,
            confirmed=bool((deeds and (starts or shells)) or (starts and shells)),
            scope="host",
            host=host,
            accounts=[line.user for line in (*starts, *shells)] or [line.user for line in deeds],
            program=path,
        )


@legacy_rule(
    "product-detection",
    "T1204",
    "execution",
    says="Another product names malware, an exploit, a scan or a self-signed certificate. Confirmed: severity high or more.",
    source="ATT&CK T1204; Defender 1116, Zeek notice.log",
    needs=(DetectionFields,),
)
def product_detection(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find what others found; one finding for each host and address."""
    met: dict[tuple[str, str], list[Line[DetectionFields]]] = {}
    for line in window.of(DetectionFields):
        if (line.fields.activity == "malware" and line.fields.finding_title) or _NOTICE.search(
            line.fields.finding_title or ""
        ):
            met.setdefault((line.host, line.fields.src_ip or ""), []).append(line)
    for (host, source), lines in met.items():
        grave = any((line.fields.severity or "").lower() in ("high", "severe", "critical") for line in lines)
        yield this.finding(
            lines,
            confirmed=grave,
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=lines[0].fields.file_path or "",
            remote=source,
        )


RULES = (
    launcher_starts_shell,
    shell_over_network,
    loose_program,
    product_detection,
)
