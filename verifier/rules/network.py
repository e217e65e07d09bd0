"""Rules on connections, names and web requests (ATT&CK Command and Control, Exfiltration, Discovery, Initial Access)."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote_plus

from schema import DnsQueryFields, FileFields, HttpFields, NetConnFields, ShareFields
from verifier.rules.kit import Legacy, legacy_rule
from verifier.window import (
    OUTBOUND,
    Finding,
    Line,
    Window,
    crowded,
    is_user_writable,
    kinds,
    one_program,
)

MIN_BEACONS = 5
BEACON_JITTER = 0.2  # standard deviation of the gaps over their mean
MIN_BEACON_GAP_S = 10
MIN_LONG_QUERIES = 6
LONG_LABEL = 30  # characters; a person's host names stay far below, DNS allows 63 (RFC 1035)
MIN_PROBED = 10  # distinct pairs of address and port
PROBE_S = 300
MIN_WEB_ATTACKS = 3
WEB_S = 600
MIN_UPLOAD_MB = 500
MIN_STAGED_READS = 5
STAGE_S = 3600
ARCHIVE_ENDINGS = (".zip", ".7z", ".rar", ".tar", ".gz", ".cab")
_WEB_ATTACK = re.compile(
    r"\.\./\.\.|%2e%2e%2f|\bunion\b.{1,20}\bselect\b|<script|\$\{jndi:|/etc/passwd|/bin/sh|cmd\.exe|;\s*(?:cat|wget|curl)\s"
    r"|xp_cmdshell|\bor\b\s+1=1|['\"]\s*or\b|/\.env\b|/\.git/|php://|\beval\(",
    re.IGNORECASE,
)
_SITE = re.compile(r"https?://([^/:?#]+)", re.IGNORECASE)


@lru_cache(maxsize=16_384)
def _attacks(url: str) -> bool:
    """Whether a URL, as written or with its escapes resolved, holds what only attacks hold."""
    return _WEB_ATTACK.search(url) is not None or _WEB_ATTACK.search(unquote_plus(url)) is not None


@legacy_rule(
    "known-bad-address",
    "T1071",
    "command_and_control",
    says="A connection, web request or look-up of an address or name that threat intelligence lists (that very one, no subdomain). Confirmed: high "
    "confidence; a host's own program that opens it (not blocked) is an implant on that host, a blocked or incoming one concerns the address alone.",
    source="ATT&CK T1071, T1105; the confidence is the intelligence provider's",
    needs=(NetConnFields, DnsQueryFields, HttpFields),
)
def known_bad_address(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find connections with addresses that intelligence lists; one finding for each host, address and direction."""
    if not window.world.indicators:
        return
    met: dict[tuple[str, str, bool, str], list[Line]] = {}
    for line in window.of(NetConnFields):
        value, confidence = _listed(
            window, line.fields.dst_ip, line.fields.src_ip, line.fields.dst_hostname, line.fields.tls_sni
        )
        if value:
            ours = value != line.fields.src_ip and bool(line.fields.process_path) and line.fields.activity in OUTBOUND
            met.setdefault((line.host, value, ours, confidence), []).append(line)
    for query in window.of(DnsQueryFields):
        value, confidence = _listed(window, query.fields.query_hostname)
        if value:
            met.setdefault((query.host, value, False, confidence), []).append(query)
    for request in window.of(HttpFields):
        site = _SITE.match(request.fields.url or "")
        value, confidence = _listed(window, request.fields.src_ip, request.fields.dst_ip, site[1] if site else None)
        if value:
            met.setdefault((request.host, value, False, confidence), []).append(request)
    for (host, value, ours, confidence), lines in met.items():
        yield this.finding(
            lines,
            confirmed=confidence == "high",
            scope="host" if ours else "network",
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
            remote=value,
        )


def _listed(window: Window, *values: str | None) -> tuple[str, str]:
    """The first value that intelligence lists with the highest confidence, and that confidence; two nothings for none."""
    low = ""
    for value in filter(None, values):
        confidence = window.intelligence(value)
        if confidence == "high":
            return value, confidence
        if confidence:
            low = low or value
    return (low, "low") if low else ("", "")


@legacy_rule(
    "beaconing",
    "T1071.001",
    "command_and_control",
    says=f"One program connects at least {MIN_BEACONS} times to one external address, and all its connections to it in the window "
    f"are at even gaps (standard deviation at most {BEACON_JITTER:.0%} of the mean gap, gaps of {MIN_BEACON_GAP_S} s or more). Confirmed when the program lies in a user-writable folder.",
    source="ATT&CK T1071.001, T1029: an implant calls home by the clock",
    needs=kinds(NetConnFields, *OUTBOUND),
    least=MIN_BEACONS,
)
def beaconing(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find programs that call one address by the clock."""
    calls: dict[tuple[str, str, str], list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if line.fields.process_path and line.fields.dst_ip and line.fields.activity in OUTBOUND:
            calls.setdefault((line.host, line.fields.process_path.lower(), line.fields.dst_ip), []).append(line)
    for (host, program, address), lines in calls.items():
        if len(lines) < window.limits.at_least(MIN_BEACONS) or not window.is_external(address):
            continue
        gaps = [later.time_s - earlier.time_s for earlier, later in itertools.pairwise(lines)]
        even = statistics.pstdev(gaps) <= window.limits.within(BEACON_JITTER) * statistics.fmean(gaps)
        if even and min(gaps) >= window.limits.size(MIN_BEACON_GAP_S):
            yield this.finding(
                lines,
                confirmed=is_user_writable(program),
                scope="host",
                host=host,
                accounts=[line.user for line in lines],
                program=program,
                remote=address,
            )


@legacy_rule(
    "dns-tunnel",
    "T1071.004",
    "command_and_control",
    says=f"One host asks for at least {MIN_LONG_QUERIES} different names under one domain (the last two labels) whose first label has {LONG_LABEL} or more characters. "
    "Confirmed when an asking program lies in a user-writable folder.",
    source="ATT&CK T1071.004, T1048.003; RFC 1035 limits a label to 63 characters",
    needs=(DnsQueryFields,),
    least=MIN_LONG_QUERIES,
)
def dns_tunnel(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find names that carry data."""
    asked: dict[tuple[str, str], dict[str, Line[DnsQueryFields]]] = {}
    for line in window.of(DnsQueryFields):
        name = (line.fields.query_hostname or "").lower().rstrip(".")
        labels = name.split(".")
        if len(labels) >= 3 and len(labels[0]) >= window.limits.at_least(LONG_LABEL):
            asked.setdefault((line.host, ".".join(labels[-2:])), {}).setdefault(name, line)
    for (host, domain), by_name in asked.items():
        if len(by_name) < window.limits.at_least(MIN_LONG_QUERIES):
            continue
        lines = list(by_name.values())
        yield this.finding(
            lines,
            confirmed=any(is_user_writable(line.fields.process_path) for line in lines),
            scope="host",
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
            remote=domain,
        )


@legacy_rule(
    "service-probing",
    "T1046",
    "discovery",
    says=f"One address tries at least {MIN_PROBED} different pairs of address and port of ours within {PROBE_S} s. Confirmed when it is external, else suspicious.",
    source="ATT&CK T1046, T1595.001: services enumerated by trying them",
    needs=kinds(NetConnFields, "open", "flow", "allow", "block"),
    least=MIN_PROBED,
    probing=True,
)
def service_probing(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find addresses that try many services."""
    tried: dict[str, list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if (
            line.fields.src_ip
            and line.fields.dst_ip
            and line.fields.activity in ("open", "flow", "allow", "block")
            and not window.is_external(line.fields.dst_ip)
        ):
            tried.setdefault(line.fields.src_ip, []).append(line)
    least = window.limits.at_least(MIN_PROBED)
    for source, lines in tried.items():
        near = crowded(
            lines, window.limits.within(PROBE_S), least, lambda line: (line.fields.dst_ip, line.fields.dst_port)
        )
        if near:
            external = window.is_external(source)
            targets = [window.host_at(line.fields.dst_ip or "") for line in near]
            yield this.finding(
                near,
                confirmed=external,
                scope="network",
                host=targets[0],
                hosts=targets,
                accounts=[] if external else [line.user for line in near],
                program=one_program(near),
                remote=source,
            )


@legacy_rule(
    "web-attack",
    "T1190",
    "initial_access",
    says=f"One address sends at least {MIN_WEB_ATTACKS} requests within {WEB_S} s that try path traversal, injection of SQL, script, JNDI look-ups or "
    "shell commands, or fetch secrets (/.env, /.git/). Confirmed when it is external, else suspicious.",
    source="ATT&CK T1190; OWASP Top Ten 2021 A01 and A03 describe the patterns",
    needs=(HttpFields,),
    least=MIN_WEB_ATTACKS,
    probing=True,
)
def web_attack(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find addresses that attack a web application."""
    tries: dict[str, list[Line[HttpFields]]] = {}
    for line in window.of(HttpFields):
        if line.fields.src_ip and _attacks(line.fields.url or ""):
            tries.setdefault(line.fields.src_ip, []).append(line)
    least = window.limits.at_least(MIN_WEB_ATTACKS)
    for source, lines in tries.items():
        near = crowded(lines, window.limits.within(WEB_S), least, lambda line: line.log_id)
        if near:
            targets = [line.host or window.host_at(line.fields.dst_ip or "") for line in near]
            yield this.finding(
                near,
                confirmed=window.is_external(source),
                scope="network",
                host=targets[0],
                hosts=targets,
                remote=source,
            )


@legacy_rule(
    "bulk-upload",
    "T1567",
    "exfiltration",
    says=f"A host's connections send {MIN_UPLOAD_MB} MB (millions of bytes) or more to one external address. Confirmed, with the harm done, "
    f"when the same user, at most {STAGE_S} s before one of them, reads at least {MIN_STAGED_READS} different files from shares or, "
    f"on that host, writes an archive ({', '.join(ARCHIVE_ENDINGS)}).",
    source="ATT&CK T1567, T1048, T1074, T1560: data gathered and sent out",
    needs=kinds(NetConnFields, *OUTBOUND),
)
def bulk_upload(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find large uploads and the gathering before them."""
    sent: dict[tuple[str, str], list[Line[NetConnFields]]] = {}
    for line in window.of(NetConnFields):
        if (
            line.fields.bytes_out
            and line.fields.dst_ip
            and line.fields.activity in OUTBOUND
            and window.is_external(line.fields.dst_ip)
        ):
            sent.setdefault((line.host, line.fields.dst_ip), []).append(line)
    for (host, address), lines in sent.items():
        if sum(line.fields.bytes_out or 0 for line in lines) < window.limits.size(MIN_UPLOAD_MB * 1e6):
            continue
        span = window.limits.within(STAGE_S)
        staging: list[Line] = []
        for user in {line.user for line in lines} - {""}:
            times = [line.time_s for line in lines if line.user == user]
            reads = [
                line
                for line in window.of(ShareFields)
                if line.fields.activity == "access" and line.user == user and _leads_to(line, times, span)
            ]
            packs = [
                line
                for line in window.of(FileFields)
                if line.fields.activity == "create"
                and line.host == host
                and line.user == user
                and _leads_to(line, times, span)
                and (line.fields.file_path or "").lower().endswith(ARCHIVE_ENDINGS)
            ]
            different = {(line.fields.share_name, line.fields.file_path) for line in reads}
            staging += [*packs, *(reads if len(different) >= window.limits.at_least(MIN_STAGED_READS) else [])]
        yield this.finding(
            [*staging, *lines],
            confirmed=bool(staging),
            scope="data",
            host=host,
            accounts=[line.user for line in lines],
            program=one_program(lines),
            remote=address,
            impact=bool(staging),
        )


def _leads_to(line: Line, times: list[float], span: float) -> bool:
    """Whether a line comes at most so long before one of the times."""
    return any(0 <= time - line.time_s <= span for time in times)


RULES = (known_bad_address, beaconing, dns_tunnel, service_probing, web_attack, bulk_upload)
