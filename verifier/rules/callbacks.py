"""Rules on connections by programs that have little reason for them (ATT&CK Command and Control)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    NetConnFields,
)
from verifier.commands import told
from verifier.rules.kit import Legacy, by_host_and_user, legacy_rule
from verifier.window import (
    OUTBOUND,
    Finding,
    Line,
    Window,
    basename,
    crowded,
    kinds,
)

MIN_ONE_TARGET = 10

DYNAMIC_PORT = 49152  # from here on Windows serves RPC (IANA's dynamic range)

MIN_UNANSWERED = 10

MIN_RETRIES = 5

UNANSWERED = ("S0", "REJ", "RSTOS0", "RSTRH", "SH")  # Zeek conn_state: no answer, or refused

SCAN_S = 300

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

_CONNECTS_ODDLY = NO_NETWORK | SCRIPTERS | {"explorer.exe"}


@legacy_rule(
    "script-host-connects",
    "T1105",
    "command_and_control",
    says="A shell or script host connects outside (but 80, 443) or to 135 or 445, explorer.exe to an RPC port. Suspicious; confirmed for notepad, calc, mspaint.",
    source="ATT&CK T1105, T1071, T1218; Microsoft Sysmon event 3",
    needs=kinds(NetConnFields, *OUTBOUND),
)
def script_host_connects(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find connections by programs that have little reason for them; one finding for each host and program."""
    made: dict[tuple[str, str], list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        name = basename(line.fields.process_path)
        if (
            name not in _CONNECTS_ODDLY
            or line.fields.activity not in OUTBOUND
            or line.fields.dst_ip in (None, "127.0.0.1", "::1", line.fields.src_ip)
        ):
            continue
        outside, port = window.is_external(line.fields.dst_ip), line.fields.dst_port
        if (
            name in NO_NETWORK
            or (name in SCRIPTERS and ((outside and port not in WEB_PORTS) or port in (135, 445)))
            or (name == "explorer.exe" and not outside and (port or 0) >= DYNAMIC_PORT)
        ):
            made.setdefault((line.host, (line.fields.process_path or "").lower()), []).append(line)
    for (host, path), lines in made.items():
        external = [line for line in lines if window.is_external(line.fields.dst_ip)]
        yield this.finding(
            lines,
            confirmed=basename(path) in NO_NETWORK,
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=path,
            remote=(external[0].fields.dst_ip or "") if external else "",
        )


@legacy_rule(
    "transfer-job",
    "T1197",
    "command_and_control",
    says="A BITS transfer from a bare IP address or no http(s). Suspicious.",
    source="ATT&CK T1197; Microsoft BITS-Client events 59/60",
    needs=kinds(NetConnFields, "bits_job"),
)
def transfer_job(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find odd background transfers."""
    lines: list[Line] = [
        line
        for line in window.of(NetConnFields)
        if line.fields.activity == "bits_job" and line.fields.url and _ODD_URL.search(line.fields.url)
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=False)


_ODD_URL = re.compile(r"^https?://\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:[:/]|$)|^[a-z]:\\|^\\\\|^file:", re.IGNORECASE)


@legacy_rule(
    "unanswered-calls",
    "T1571",
    "command_and_control",
    says=f"From inside, {MIN_UNANSWERED} external targets, or one {MIN_RETRIES} times, give no answer within {SCAN_S} s. Confirmed: {MIN_ONE_TARGET} ports of one address.",
    source="ATT&CK T1046, T1571, T1008; Zeek conn.log conn_state",
    needs=(NetConnFields,),
    least=MIN_RETRIES,
)
def unanswered_calls(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find scans to the outside, and implants that call a server that is gone."""
    tried: dict[str, list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if (
            line.fields.src_ip
            and line.fields.conn_state in UNANSWERED
            and window.is_external(line.fields.dst_ip)
            and not window.is_external(line.fields.src_ip)
        ):
            tried.setdefault(line.fields.src_ip, []).append(line)
    for source, lines in tried.items():
        span = window.limits.within(SCAN_S)
        burst = crowded(
            lines, span, window.limits.at_least(MIN_UNANSWERED), lambda line: (line.fields.dst_ip, line.fields.dst_port)
        )
        if not burst:
            pairs: dict[tuple[object, object], list[Line[NetConnFields]]] = {}
            for line in lines:
                pairs.setdefault((line.fields.dst_ip, line.fields.dst_port), []).append(line)
            burst = [
                line
                for same in pairs.values()
                for line in crowded(same, span, window.limits.at_least(MIN_RETRIES), lambda line: line.log_id)
            ]
        ports: dict[str | None, set[int | None]] = {}
        for line in burst:
            ports.setdefault(line.fields.dst_ip, set()).add(line.fields.dst_port)
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


@legacy_rule(
    "traffic-forwarded",
    "T1572",
    "command_and_control",
    says="ssh or plink forwards a port back (-R) or any (-D). Suspicious.",
    source="ATT&CK T1572, T1090",
    clues=("traffic-forwarded",),
)
def traffic_forwarded(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find tunnels."""
    return told(window, this, "traffic-forwarded", sure=False)


RULES = (
    script_host_connects,
    transfer_job,
    unanswered_calls,
    traffic_forwarded,
)
