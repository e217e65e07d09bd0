"""Read what firewalls write to syslog: Linux netfilter, pf's filterlog, Cisco ASA, FortiGate and Palo Alto.

Sources: the kernel's netfilter logging (nf_log_syslog), pfSense documentation "Raw Filter Log Format", Cisco "ASA Series Syslog
Messages" by number, Fortinet "FortiOS Log Message Reference", Palo Alto Networks "Syslog Field Descriptions" (Traffic, Threat).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.syslog import MAX_MESSAGE, Message, message_row

_BLOCKED = re.compile(r"block|drop|den(?:y|ied)|reject|reset|discard", re.IGNORECASE)
_ALLOWED = re.compile(r"allow|accept|permit|pass", re.IGNORECASE)
_NETFILTER = re.compile(
    r"(?P<prefix>.*?)\bIN=(?P<in>\S*) OUT=(?P<out>\S*) .*?\bSRC=(?P<src>\S+) DST=(?P<dst>\S+) .*?\bPROTO=\S+(?P<rest>.*)",
    re.DOTALL,
)
_PORTS = re.compile(r"\bSPT=(\d+) DPT=(\d+)")
_END = r"(?:[\w.-]+:)?(?P<{0}_ip>[\da-fA-F.:]+)/(?P<{0}_port>\d+)"
_SRC, _DST = _END.format("src"), _END.format("dst")


_ASA = {
    "106001": message_row(rf"Inbound TCP connection denied from {_SRC} to {_DST}", "net_conn", "block"),
    "106006": message_row(rf"Deny inbound UDP from {_SRC} to {_DST}", "net_conn", "block"),
    "106015": message_row(rf"Deny TCP \(no connection\) from {_SRC} to {_DST}", "net_conn", "block"),
    "106023": message_row(rf"Deny \w+ src {_SRC}.*? dst {_DST}", "net_conn", "block"),
    "106100": message_row(
        r"access-list \S+ (?P<what>permitted|denied|est-allowed) \w+ [\w.-]+/(?P<src_ip>[\da-fA-F.:]+)\((?P<src_port>\d+)\).*? -> [\w.-]+/(?P<dst_ip>[\da-fA-F.:]+)\((?P<dst_port>\d+)\)",
        "net_conn",
        "",
    ),
    "302013": message_row(
        rf"Built (?P<direction>inbound|outbound) TCP connection \d+ for {_SRC} \(.*?\)(?:\([^)]*\))? to {_DST}",
        "net_conn",
        "allow",
    ),
    "302015": message_row(
        rf"Built (?P<direction>inbound|outbound) UDP connection \d+ for {_SRC} \(.*?\)(?:\([^)]*\))? to {_DST}",
        "net_conn",
        "allow",
    ),
    "113005": message_row(
        r"AAA user authentication Rejected .*?user = (?P<user_name>\S+)(?:.*?user IP = (?P<src_ip>[\d.]+))?",
        "logon",
        "failure",
    ),
    "113015": message_row(
        r"AAA user authentication Rejected .*?user = (?P<user_name>\S+)(?:.*?user IP = (?P<src_ip>[\d.]+))?",
        "logon",
        "failure",
    ),
    "113039": message_row(
        r"Group <[^>]*> User <(?P<user_name>[^>]*)> IP <(?P<src_ip>[^>]*)> AnyConnect parent session started",
        "logon",
        "success",
    ),
    "605004": message_row(
        r"Login denied from (?P<src_ip>[\da-fA-F.:]+)/\d+ to .*? for user [\"'](?P<user_name>[^\"']*)",
        "logon",
        "failure",
    ),
    "605005": message_row(
        r"Login permitted from (?P<src_ip>[\da-fA-F.:]+)/\d+ to .*? for user [\"'](?P<user_name>[^\"']*)",
        "logon",
        "success",
    ),
}
_ASA_HEAD = re.compile(r"%(?:ASA|FTD|PIX)-(?:\w+-)?\d-(\d{6}): ")
_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s"]*))')


def read_firewall(message: Message) -> Imported | None:
    """Return what a firewall's message becomes; None for a message of anything else."""
    text = message.text[:MAX_MESSAGE]
    if match := _NETFILTER.match(text):
        return _netfilter(match, message.host)
    if message.program == "filterlog":
        return _pf(text, message.host)
    if match := _ASA_HEAD.match(text):
        return _asa(match[1], text[match.end() :], message.host)
    return read_bare_firewall(text)


def read_bare_firewall(text: str) -> Imported | None:
    """Return what a line of FortiGate or Palo Alto becomes, which need no frame of syslog; None for anything else."""
    if "devid=" in text or "devname=" in text:
        return _fortigate({name: quoted or bare for name, quoted, bare in _PAIR.findall(text)})
    cells = text.split(",") if text.startswith("1,") or ",TRAFFIC," in text[:80] or ",THREAT," in text[:80] else []
    return _palo_alto(cells) if len(cells) > 31 and cells[3] in ("TRAFFIC", "THREAT") else None


def _act(word: str) -> str:
    return "block" if _BLOCKED.search(word) else "allow" if _ALLOWED.search(word) else "flow"


def _netfilter(match: re.Match[str], host: str) -> Imported:
    ports = _PORTS.search(match["rest"])
    values = {
        "src_ip": match["src"],
        "dst_ip": match["dst"],
        "src_port": ports[1] if ports else None,
        "dst_port": ports[2] if ports else None,
        "direction": "inbound"
        if match["in"] and not match["out"]
        else "outbound"
        if match["out"] and not match["in"]
        else None,
        "conn_state": match["prefix"].strip().rpartition("] ")[2] or None,
        "device_hostname": host,
    }
    return draft_event("net_conn", _act(match["prefix"]), values)


def _pf(text: str, host: str) -> Imported:
    """Read pf's table: after nine cells that IPv4 and IPv6 share come the addresses, then the ports of TCP and UDP."""
    cells = text.split(",")
    at = {"4": 18, "6": 15}.get(cells[8] if len(cells) > 8 else "", 0)
    if not at or len(cells) < at + 2:
        return Skipped("pf filterlog: too few cells")
    ports = cells[at + 2 : at + 4] if len(cells) > at + 3 else [None, None]
    values = {
        "src_ip": cells[at],
        "dst_ip": cells[at + 1],
        "src_port": ports[0],
        "dst_port": ports[1],
        "direction": {"in": "inbound", "out": "outbound"}.get(cells[7]),
        "device_hostname": host,
    }
    return draft_event("net_conn", _act(cells[6]), values)


def _asa(number: str, text: str, host: str) -> Imported:
    row = _ASA.get(number)
    match = row[0].match(text) if row else None
    if row is None or match is None:
        return Skipped(f"no mapping for Cisco ASA message {number}")
    values: dict[str, Any] = {**match.groupdict(), **row[3], "device_hostname": host}
    activity = row[2] or _act(values.pop("what"))
    if number.startswith("302") and values["direction"] == "outbound":  # ASA names the far end first
        for part in ("ip", "port"):
            values[f"src_{part}"], values[f"dst_{part}"] = values[f"dst_{part}"], values[f"src_{part}"]
    return draft_event(row[1], activity, values)


def _fortigate(row: Mapping[str, str]) -> Imported:
    host, action = row.get("devname"), row.get("action", "")
    ends = {"src_ip": row.get("srcip"), "dst_ip": row.get("dstip"), "device_hostname": host}
    if row.get("subtype") in ("ips", "virus"):
        return draft_event(
            "detection",
            "ids_notice",
            {**ends, "finding_title": row.get("attack") or row.get("virus"), "severity": row.get("severity")},
        )
    if row.get("type") == "traffic":
        values = {
            **ends,
            "src_port": row.get("srcport"),
            "dst_port": row.get("dstport"),
            "bytes_out": row.get("sentbyte"),
            "bytes_in": row.get("rcvdbyte"),
            "conn_state": action,
        }
        return draft_event("net_conn", "block" if _BLOCKED.search(action) else "allow", values)
    if "login" in action or action.startswith("tunnel-up"):
        failed = "fail" in action or row.get("status") == "failed"
        source = row.get("remip") or row.get("srcip")
        values = {"user_name": row.get("user"), "src_ip": source, "status": row.get("reason"), "device_hostname": host}
        return draft_event("logon", "failure" if failed else "success", values)
    return Skipped(f"no mapping for FortiGate {row.get('type', '?')}/{row.get('subtype', '?')}")


def _palo_alto(cells: list[str]) -> Imported:
    ends = {"src_ip": cells[7], "dst_ip": cells[8]}
    if cells[3] == "THREAT":
        title = f"{cells[4]} {cells[32] if len(cells) > 32 else ''}".strip()
        return draft_event(
            "detection",
            "ids_notice",
            {**ends, "finding_title": title, "severity": cells[34] if len(cells) > 34 else None},
        )
    values = {
        **ends,
        "src_port": cells[24],
        "dst_port": cells[25],
        "bytes_out": cells[32] if len(cells) > 32 else None,
        "bytes_in": cells[33] if len(cells) > 33 else None,
        "conn_state": cells[30],
    }
    return draft_event("net_conn", _act(cells[30]), values)


def time_of_firewall(text: str) -> str | int | None:
    """Return the time that a bare line of FortiGate or Palo Alto bears; None where it bears none."""
    if match := re.search(r"\beventtime=(\d{10,19})", text):
        return int(match[1])
    if match := re.search(r'\bdate="?(\d{4}-\d\d-\d\d)"? time="?(\d\d:\d\d:\d\d)', text):
        return f"{match[1]} {match[2]}"
    cells = text.split(",", 7)
    return cells[6].replace("/", "-") if len(cells) > 7 and cells[3] in ("TRAFFIC", "THREAT") else None
