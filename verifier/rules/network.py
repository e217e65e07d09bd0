"""Rules on connections, names and web requests (ATT&CK Command and Control, Exfiltration, Discovery, Initial Access)."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any
from urllib.parse import unquote_plus

from schema import DnsQueryFields, FileFields, HttpFields, NetConnFields, ShareFields
from verifier.rules.kit import burst_of, follows, grouped, program_path, target_of
from verifier.window import (
    OUTBOUND,
    Findings,
    Line,
    Lines,
    Window,
    finding,
    indicators,
    is_user_writable,
    one_program,
    plain_name,
    rule,
)

MIN_BEACONS = 5
BEACON_JITTER = 0.2  # standard deviation of the gaps over their mean
MIN_BEACON_GAP_S = 10
MIN_LONG_QUERIES = 6
LONG_LABEL = 30  # characters; a person's host names stay far below, DNS allows 63 (RFC 1035)
MIN_ODD_NAMES = 20
ODD_NAMES_S = 600
ODD_LABEL = 16  # characters
MIN_ENTROPY = 3.3  # bits a character, on average; random hex and base32 of this length lie above
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


@rule(
    "known-bad-address",
    "T1071",
    "command_and_control",
    on=(NetConnFields, DnsQueryFields, HttpFields),
    summary="A connection, web request or look-up of an address or name that threat intelligence lists (that very one, no subdomain). Confirmed: high "
    "confidence; a host's own program that opens it (not blocked) is an implant on that host, a blocked or incoming one concerns the address alone.",
    source="ATT&CK T1071, T1105; the confidence is the intelligence provider's",
)
def known_bad_address(
    connections: Lines[NetConnFields], queries: Lines[DnsQueryFields], requests: Lines[HttpFields], window: Window
) -> Findings:
    known = window.view(indicators)
    if not known:
        return
    lines: list[Line[Any]] = [*connections, *queries, *requests]
    met = [line for line in lines if [peer for peer in _peers(line) if peer and plain_name(peer) in known]]
    for (host, address, ours), group in grouped(met, lambda line: _meeting(known, line)).items():
        yield finding(
            group,
            confirmed=known[plain_name(address)] == "high",
            scope="host" if ours else "network",
            host=host,
            accounts=[line.user for line in group],
            program=one_program(group),
            remote=address,
        )


def _asked(fields: HttpFields) -> tuple[str | None, ...]:
    """Return the addresses of a web request and the name of its site."""
    site = _SITE.match(fields.url or "")
    return fields.src_ip, fields.dst_ip, site[1] if site else None


_PEERS: Mapping[type, Callable[[Any], tuple[str | None, ...]]] = {
    NetConnFields: attrgetter("dst_ip", "src_ip", "dst_hostname", "tls_sni"),
    DnsQueryFields: lambda fields: (fields.query_hostname,),
    HttpFields: _asked,
}


def _peers(line: Line[Any]) -> tuple[str | None, ...]:
    """Return the addresses and names that a line meets."""
    return _PEERS[type(line.fields)](line.fields)


def _meeting(known: Mapping[str, str], line: Line[Any]) -> tuple[str, str, bool]:
    """Return a line's host, its listed peer (the first of high confidence before others), and whether a program of the host opens it."""
    fields = line.fields
    listed = [peer for peer in _peers(line) if peer and plain_name(peer) in known]
    address = max(listed, key=lambda peer: known[plain_name(peer)] == "high")
    ours = isinstance(fields, NetConnFields) and address != fields.src_ip and bool(fields.process_path)
    return line.host, address, ours and fields.activity in OUTBOUND


@rule(
    "beaconing",
    "T1071.001",
    "command_and_control",
    on=((NetConnFields, *OUTBOUND),),
    at_least=MIN_BEACONS,
    summary=f"One program connects at least {MIN_BEACONS} times to one external address, and all its connections to it in the window "
    f"are at even gaps (standard deviation at most {BEACON_JITTER:.0%} of the mean gap, gaps of {MIN_BEACON_GAP_S} s or more). Confirmed when the program lies in a user-writable folder.",
    source="ATT&CK T1071.001, T1029: an implant calls home by the clock",
)
def beaconing(connections: Lines[NetConnFields], window: Window) -> Findings:
    for (host, program, address), calls in grouped(connections, _caller).items():
        many = len(calls) >= window.limits.at_least(MIN_BEACONS)
        if many and window.is_external(address) and _is_by_the_clock(window, calls):
            yield finding(
                calls,
                confirmed=is_user_writable(program),
                host=host,
                accounts=[line.user for line in calls],
                program=program,
                remote=address,
            )


def _caller(line: Line[NetConnFields]) -> tuple[str, str, str] | None:
    program, address = program_path(line), line.fields.dst_ip
    return (line.host, program, address) if program and address else None


def _is_by_the_clock(window: Window, calls: Lines[NetConnFields]) -> bool:
    """Return whether the gaps between calls are long enough and even."""
    gaps = [later.time_s - earlier.time_s for earlier, later in itertools.pairwise(calls)]
    jitter = window.limits.within(BEACON_JITTER)
    return min(gaps) >= window.limits.size(MIN_BEACON_GAP_S) and (
        statistics.pstdev(gaps) <= jitter * statistics.fmean(gaps)
    )


@rule(
    "dns-tunnel",
    "T1071.004",
    "command_and_control",
    on=(DnsQueryFields,),
    at_least=MIN_LONG_QUERIES,
    summary=f"One host asks for at least {MIN_LONG_QUERIES} different names of 3 or more labels under one domain (the last two) whose first label has {LONG_LABEL} or more characters. "
    "Confirmed when an asking program lies in a user-writable folder.",
    source="ATT&CK T1071.004, T1048.003; RFC 1035 limits a label to 63 characters",
)
def dns_tunnel(queries: Lines[DnsQueryFields], window: Window) -> Findings:
    for (host, domain), lines in grouped(queries, lambda line: _long_query(window, line)).items():
        firsts = [same[0] for same in grouped(lines, _query_name).values()]
        if len(firsts) >= window.limits.at_least(MIN_LONG_QUERIES):
            yield finding(
                firsts,
                confirmed=any(is_user_writable(line.fields.process_path) for line in firsts),
                host=host,
                accounts=[line.user for line in firsts],
                program=one_program(firsts),
                remote=domain,
            )


def _query_name(line: Line[DnsQueryFields]) -> str:
    return (line.fields.query_hostname or "").lower().rstrip(".")


def _long_query(window: Window, line: Line[DnsQueryFields]) -> tuple[str, str] | None:
    """Return the host and the domain of a query whose first label is long."""
    labels = _query_name(line).split(".")
    long = len(labels) >= 3 and len(labels[0]) >= window.limits.at_least(LONG_LABEL)
    return (_asker(line), ".".join(labels[-2:])) if long else None


def _asker(line: Line[DnsQueryFields]) -> str:
    """Return the host that asks; its address where a sensor of the network knows no more."""
    return line.host or line.fields.src_ip or ""


@rule(
    "many-odd-names",
    "T1071.004",
    "command_and_control",
    on=(DnsQueryFields,),
    at_least=MIN_ODD_NAMES,
    summary=f"One host asks within {ODD_NAMES_S} s for at least {MIN_ODD_NAMES} different names of 3 or more labels under one domain (the last two) whose first label has at least {ODD_LABEL} and fewer than {LONG_LABEL} characters, "
    f"of {MIN_ENTROPY} or more bits of entropy on average. Suspicious.",
    source="ATT&CK T1071.004, T1568.002; Shannon's entropy of a label's characters",
)
def many_odd_names(queries: Lines[DnsQueryFields], window: Window) -> Findings:
    for (host, domain), lines in grouped(queries, lambda line: _odd_query(window, line)).items():
        burst = burst_of(window, lines, MIN_ODD_NAMES, ODD_NAMES_S, different=_query_name)
        firsts = [same[0] for same in grouped(burst, _query_name).values()]
        if firsts and statistics.fmean(map(_entropy, firsts)) >= window.limits.size(MIN_ENTROPY):
            yield finding(
                firsts,
                confirmed=False,
                host=host,
                accounts=[line.user for line in firsts],
                program=one_program(firsts),
                remote=domain,
            )


def _odd_query(window: Window, line: Line[DnsQueryFields]) -> tuple[str, str] | None:
    """Return the host and the domain of a query whose first label is of middle length."""
    labels = _query_name(line).split(".")
    odd = len(labels) >= 3 and window.limits.at_least(ODD_LABEL) <= len(labels[0]) < LONG_LABEL
    return (_asker(line), ".".join(labels[-2:])) if odd else None


def _entropy(line: Line[DnsQueryFields]) -> float:
    """Return the entropy of the characters of a query's first label, in bits a character."""
    label = _query_name(line).partition(".")[0]
    shares = [count / len(label) for count in Counter(label).values()]
    return -sum(share * math.log2(share) for share in shares)


@rule(
    "service-probing",
    "T1046",
    "discovery",
    on=((NetConnFields, "open", "flow", "allow", "block"),),
    at_least=MIN_PROBED,
    probing=True,
    summary=f"One address tries at least {MIN_PROBED} different pairs of address and port of ours within {PROBE_S} s. Confirmed when it is external, else suspicious.",
    source="ATT&CK T1046, T1595.001: services enumerated by trying them",
)
def service_probing(connections: Lines[NetConnFields], window: Window) -> Findings:
    inside = [line for line in connections if line.fields.dst_ip and not window.is_external(line.fields.dst_ip)]
    for source, lines in grouped(inside, lambda line: line.fields.src_ip or None).items():
        burst = burst_of(window, lines, MIN_PROBED, PROBE_S, different=target_of)
        if burst:
            external = window.is_external(source)
            hosts = [window.host_at(line.fields.dst_ip or "") for line in burst]
            yield finding(
                burst,
                confirmed=external,
                scope="network",
                host=hosts[0],
                hosts=hosts,
                accounts=[] if external else [line.user for line in burst],
                program=one_program(burst),
                remote=source,
            )


@rule(
    "web-attack",
    "T1190",
    "initial_access",
    on=(HttpFields,),
    at_least=MIN_WEB_ATTACKS,
    probing=True,
    summary=f"One address sends at least {MIN_WEB_ATTACKS} requests within {WEB_S} s that try path traversal, injection of SQL (union select, or 1=1, xp_cmdshell), script (<script, eval(, php://), JNDI look-ups or "
    "shell commands (/bin/sh, cmd.exe, ; cat, wget or curl), or fetch secrets (/etc/passwd, /.env, /.git/). Confirmed when it is external, else suspicious.",
    source="ATT&CK T1190; OWASP Top Ten 2021 A01 and A03 describe the patterns",
)
def web_attack(requests: Lines[HttpFields], window: Window) -> Findings:
    attacks = [line for line in requests if _is_attack(line.fields.url or "")]
    for source, lines in grouped(attacks, lambda line: line.fields.src_ip or None).items():
        burst = burst_of(window, lines, MIN_WEB_ATTACKS, WEB_S)
        if burst:
            hosts = [line.host or window.host_at(line.fields.dst_ip or "") for line in burst]
            yield finding(
                burst,
                confirmed=window.is_external(source),
                scope="network",
                host=hosts[0],
                hosts=hosts,
                remote=source,
            )


@lru_cache(maxsize=16_384)
def _is_attack(url: str) -> bool:
    """Return whether a URL, as written or with its escapes resolved, holds what only attacks hold."""
    return _WEB_ATTACK.search(url) is not None or _WEB_ATTACK.search(unquote_plus(url)) is not None


@rule(
    "bulk-upload",
    "T1567",
    "exfiltration",
    on=((NetConnFields, *OUTBOUND),),
    summary=f"A host's connections send {MIN_UPLOAD_MB} MB (millions of bytes) or more to one external address. Confirmed, with the harm done, "
    f"when the same user, at most {STAGE_S} s before one of them, reads at least {MIN_STAGED_READS} different files from shares or, "
    f"on that host, writes an archive ({', '.join(ARCHIVE_ENDINGS)}).",
    source="ATT&CK T1567, T1048, T1074, T1560: data gathered and sent out",
)
def bulk_upload(connections: Lines[NetConnFields], window: Window) -> Findings:
    least = window.limits.size(MIN_UPLOAD_MB * 1e6)
    if sum([line.fields.bytes_out or 0 for line in connections]) < least:
        return  # most windows
    sending = [line for line in connections if line.fields.bytes_out and window.is_external(line.fields.dst_ip)]
    for (host, address), uploads in grouped(sending, lambda line: (line.host, line.fields.dst_ip)).items():
        if sum(line.fields.bytes_out or 0 for line in uploads) >= least:
            staging = _staging(window, host, uploads)
            yield finding(
                [*staging, *uploads],
                confirmed=bool(staging),
                scope="data",
                host=host,
                accounts=[line.user for line in uploads],
                program=one_program(uploads),
                remote=address or "",
                impact=bool(staging),
            )


def _staging(window: Window, host: str, uploads: Lines[NetConnFields]) -> list[Line]:
    """List what the users of uploads gather before them: archives on their host, and files on shares where these are many."""
    staging: list[Line] = []
    for user, own in grouped(uploads, lambda line: line.user or None).items():
        reads = [
            line for line in window.of(ShareFields, "access") if line.user == user and _leads_to(window, line, own)
        ]
        staging += [
            line
            for line in window.of(FileFields, "create")
            if (line.host, line.user) == (host, user)
            and (line.fields.file_path or "").lower().endswith(ARCHIVE_ENDINGS)
            and _leads_to(window, line, own)
        ]
        files = {(line.fields.share_name, line.fields.file_path) for line in reads}
        staging += reads if len(files) >= window.limits.at_least(MIN_STAGED_READS) else ()
    return staging


def _leads_to(window: Window, line: Line, uploads: Lines[NetConnFields]) -> bool:
    return any(follows(window, upload, line, STAGE_S) for upload in uploads)


RULES = (known_bad_address, beaconing, dns_tunnel, many_odd_names, service_probing, web_attack, bulk_upload)
