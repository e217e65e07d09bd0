"""Read lines of web servers' and proxies' access logs, which have a frame of their own.

Common and combined format (Apache HTTP Server, "Log Files"; nginx, `ngx_http_log_module`), also with the virtual host before
them, and Squid's native format (Squid wiki, "Squid Log File").
"""

from __future__ import annotations

import re
from datetime import datetime

from telemetry.importers.events import Imported, draft_event
from telemetry.importers.times import read_time

_COMBINED = re.compile(
    r"(?:[\w.-]+(?::\d{1,5})? )?(?P<src_ip>[\da-fA-F.:]+|[\w.-]+\.[a-z]+) \S+ (?P<actor_user>\S+|\"[^\"]*\") \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r"\"(?:(?P<http_method>[A-Z]{2,20}) (?P<url>\S+)(?: HTTP/[\d.]+)?|[^\"]*)\" (?P<status_code>\d{3}) (?P<bytes_in>\d+|-)"
    r"(?: \"(?:[^\"\\]|\\.)*\" \"(?P<user_agent>(?:[^\"\\]|\\.)*)\")?",
    re.ASCII,
)
_SQUID = re.compile(
    r"(?P<time>\d{9,10}\.\d{3})\s+-?\d+ (?P<src_ip>\S+) [A-Z_]+/(?P<status_code>\d{3}) (?P<bytes_in>\d+) (?P<http_method>[A-Z_]+) (?P<url>\S+) (?P<actor_user>\S+) [A-Z_]+/(?P<dst_ip>\S+)",
    re.ASCII,
)


def read_request(text: str, host: str = "") -> Imported | None:
    """Return the web request that a line of an access log tells; None for a line of another kind."""
    match = _COMBINED.match(text) or _SQUID.match(text)
    if not match:
        return None
    values = match.groupdict()
    values.pop("time")
    return draft_event("http", "request", {**values, "device_hostname": host})


def time_of_request(text: str) -> datetime | None:
    """Return when a request of an access log was made."""
    match = _COMBINED.match(text) or _SQUID.match(text)
    return read_time(match["time"]) if match else None
