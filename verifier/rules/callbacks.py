"""Rules on connections by programs that have little reason for them (ATT&CK Command and Control)."""

from __future__ import annotations

import re

from schema import NetConnFields
from verifier.commands import command_rule
from verifier.rules.kit import (
    LOOPBACK,
    burst_of,
    first_address,
    grouped,
    program_path,
    target_of,
)
from verifier.window import (
    CODE_HOSTS,
    OUTBOUND,
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

MIN_ONE_TARGET = 10
DYNAMIC_PORT = 49152  # from here on Windows serves RPC (IANA's dynamic range)
MIN_UNANSWERED = 10
MIN_RETRIES = 5
UNANSWERED = ("S0", "REJ", "RSTOS0", "RSTRH", "SH")  # Zeek conn_state: no answer, or refused
SCAN_S = 300
WEB_PORTS = (80, 443)
RPC_AND_SHARE_PORTS = (135, 445)

NO_NETWORK = (
    "notepad.exe",
    "calc.exe",
    "mspaint.exe",
    "write.exe",
    "wordpad.exe",
    "gpupdate.exe",
    "conhost.exe",
)

SCRIPTERS = (*CODE_HOSTS, "msbuild.exe", "installutil.exe", "wmic.exe", "certutil.exe")

_CONNECTS_ODDLY = frozenset((*NO_NETWORK, *SCRIPTERS, "explorer.exe"))
_ODD_URL = re.compile(r"^https?://\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:[:/]|$)|^[a-z]:\\|^\\\\|^file:", re.IGNORECASE)


@rule(
    "script-host-connects",
    "T1105",
    "command_and_control",
    on=((NetConnFields, *OUTBOUND),),
    summary=f"A script host, msbuild, installutil, wmic or certutil connects outside (but to port {' or '.join(map(str, WEB_PORTS))}) or to port {' or '.join(map(str, RPC_AND_SHARE_PORTS))}; "
    f"explorer to port {DYNAMIC_PORT} or above inside; {', '.join(stems(NO_NETWORK))} anywhere: confirmed, else suspicious. Its own address, {' and '.join(LOOPBACK)} do not count.",
    source="ATT&CK T1105, T1071, T1218; Microsoft Sysmon event 3",
)
def script_host_connects(connections: Lines[NetConnFields], window: Window) -> Findings:
    candidates = [line for line in connections if basename(line.fields.process_path) in _CONNECTS_ODDLY]
    for (host, program), calls in grouped(candidates, lambda line: _odd_caller(window, line)).items():
        yield finding(
            calls,
            confirmed=basename(program) in NO_NETWORK,
            host=host,
            accounts=[line.user for line in calls],
            program=program,
            remote=first_address([line for line in calls if window.is_external(line.fields.dst_ip)]),
        )


def _odd_caller(window: Window, line: Line[NetConnFields]) -> tuple[str, str] | None:
    """Return the host and the program of a connection that a program of `_CONNECTS_ODDLY` has little reason for."""
    name = basename(line.fields.process_path)
    if line.fields.dst_ip in (None, *LOOPBACK, line.fields.src_ip):
        return None
    odd = _is_odd_target(name, line.fields.dst_port or 0, outside=window.is_external(line.fields.dst_ip))
    return (line.host, program_path(line)) if odd else None


def _is_odd_target(name: str, port: int, *, outside: bool) -> bool:
    """Return whether a program of `_CONNECTS_ODDLY` has little reason to connect to a port."""
    if name in SCRIPTERS:
        return (outside and port not in WEB_PORTS) or port in RPC_AND_SHARE_PORTS
    return name in NO_NETWORK or (not outside and port >= DYNAMIC_PORT)


@rule(
    "transfer-job",
    "T1197",
    "command_and_control",
    on=((NetConnFields, "bits_job"),),
    summary="A BITS transfer from a bare IP address or from a file, a drive or a share. Suspicious.",
    source="ATT&CK T1197; Microsoft BITS-Client events 59/60",
)
def transfer_job(jobs: Lines[NetConnFields], window: Window) -> Findings:
    return findings_by_host_and_user([job for job in jobs if _ODD_URL.search(job.fields.url or "")], confirmed=False)


@rule(
    "unanswered-calls",
    "T1571",
    "command_and_control",
    on=(NetConnFields,),
    at_least=MIN_RETRIES,
    summary=f"From inside, {MIN_UNANSWERED} external targets, or one {MIN_RETRIES} times, give no answer ({', '.join(UNANSWERED)}) within {SCAN_S} s. Confirmed: {MIN_ONE_TARGET} ports of one address.",
    source="ATT&CK T1046, T1571, T1008; Zeek conn.log conn_state",
)
def unanswered_calls(connections: Lines[NetConnFields], window: Window) -> Findings:
    for source, calls in grouped(connections, lambda line: _unanswered_source(window, line)).items():
        burst = burst_of(window, calls, MIN_UNANSWERED, SCAN_S, different=target_of) or _retries(window, calls)
        if burst:
            by_address = grouped(burst, lambda line: line.fields.dst_ip).values()
            most_ports = max(len({line.fields.dst_port for line in lines}) for lines in by_address)
            yield finding(
                burst,
                confirmed=most_ports >= window.limits.at_least(MIN_ONE_TARGET),
                host=burst[0].host,
                accounts=[line.user for line in burst],
                remote=source,
            )


def _unanswered_source(window: Window, line: Line[NetConnFields]) -> str | None:
    source = line.fields.src_ip
    if line.fields.conn_state not in UNANSWERED or not window.is_external(line.fields.dst_ip):
        return None
    return source if source and not window.is_external(source) else None


def _retries(window: Window, calls: Lines[NetConnFields]) -> list[Line[NetConnFields]]:
    """List the calls that try one target again and again."""
    return [line for same in grouped(calls, target_of).values() for line in burst_of(window, same, MIN_RETRIES, SCAN_S)]


traffic_forwarded = command_rule(
    "traffic-forwarded",
    "T1572",
    "command_and_control",
    meaning="traffic-forwarded",
    confirmed=False,
    summary="ssh or plink forwards a port back (-R) or any (-D). Suspicious.",
    source="ATT&CK T1572, T1090",
)


RULES = (
    script_host_connects,
    transfer_job,
    unanswered_calls,
    traffic_forwarded,
)
