"""Read rows of logs in W3C's extended form: requests of IIS, CloudFront and proxies, and Windows' firewall log.

`tables.TaggedTable` reads the rows by their `#Fields:`. Sources: W3C, "Extended Log File Format"; Microsoft, "W3C Logging" (IIS)
and "Windows Firewall: pfirewall.log"; AWS, "CloudFront standard logs"; Broadcom, "ProxySG access log formats".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.access_logs import request_event
from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of

Raw = Mapping[str, Any]


def _time(raw: Raw) -> datetime | None:
    return read_time(f"{raw.get('date')} {raw.get('time')}")


def is_request(raw: Raw) -> bool:
    """Return whether a row tells a web request."""
    return "date" in raw and "time" in raw and "c-ip" in raw and ("cs-method" in raw or "cs-uri-stem" in raw)


def convert_request(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a request of a row; user agents have a plus sign for each space."""
    agent = first_of(raw, ("cs(User-Agent)", "cs(user-agent)"))
    values = {
        "src_ip": raw.get("c-ip"),
        "actor_user": raw.get("cs-username"),
        "http_method": raw.get("cs-method"),
        "url": _url(raw),
        "status_code": raw.get("sc-status"),
        "user_agent": str(agent).replace("+", " ") if agent else None,
        "bytes_in": raw.get("sc-bytes"),
        "bytes_out": raw.get("cs-bytes"),
        "dst_ip": raw.get("s-ip"),
        "device_hostname": raw.get("s-computername"),
    }
    if raw.get("cs-method") == "PASS":
        return _time(raw), _ftp_sign_in(raw)
    is_sign_in = str(raw.get("sc-substatus") or "1") == "1"  # others name who may not read a file (401.3)
    return _time(raw), request_event(values) if is_sign_in else draft_event("http", "request", values)


def _ftp_sign_in(raw: Raw) -> Imported:
    """Make a sign-in of the command that sends a password (IIS, FTP log; RFC 959: 230 logged in, 530 not logged in)."""
    activity = {"230": "success", "530": "failure"}.get(str(raw.get("sc-status")))
    if activity is None:
        return Skipped("an FTP command that signs nobody in")
    values = {"user_name": raw.get("cs-username"), "src_ip": raw.get("c-ip"), "logon_process": "ftp"}
    return draft_event("logon", activity, {**values, "device_hostname": raw.get("s-computername")})


def _url(raw: Raw) -> str:
    host = first_of(raw, ("cs-host", "cs(Host)", "x-host-header", "s-ip"))
    port = str(first_of(raw, ("s-port", "cs-uri-port")) or "")
    scheme = first_of(raw, ("cs-uri-scheme", "cs-protocol")) or ("https" if port == "443" else "http")
    path = str(first_of(raw, ("cs-uri-stem", "cs-uri-path")) or "/")
    query = raw.get("cs-uri-query")
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def is_packet(raw: Raw) -> bool:
    """Return whether a row tells what Windows' firewall did with a connection."""
    return "date" in raw and "action" in raw and "src-ip" in raw and "dst-ip" in raw


def convert_packet(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of a row; it was dropped or let through."""
    values = {
        "src_ip": raw.get("src-ip"),
        "src_port": raw.get("src-port"),
        "dst_ip": raw.get("dst-ip"),
        "dst_port": raw.get("dst-port"),
        "direction": {"SEND": "outbound", "RECEIVE": "inbound"}.get(str(raw.get("path"))),
    }
    return _time(raw), draft_event("net_conn", "block" if raw.get("action") == "DROP" else "allow", values)


FORMATS = (
    Format("W3C access log", is_request, convert_request, ("webserver", "proxy"), "IIS, CloudFront or a ProxySG"),
    Format("Windows firewall log", is_packet, convert_packet, ("firewall",), "pfirewall.log"),
)
