"""Read lines of web servers' and proxies' access logs, which have a frame of their own.

Common and combined format (Apache HTTP Server, "Log Files"; nginx, `ngx_http_log_module`), also with the virtual host before
them, Squid's native format (Squid wiki, "Squid Log File"), AWS's load balancers and S3's server access log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from telemetry.importers.events import Imported, draft_event, located
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


_BALANCED = re.compile(  # AWS, "Access logs for your Application Load Balancer" and "... Classic Load Balancer"
    r"(?:(?:https?|h2|grpcs|wss?) )?(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z) \S+ (?P<src_ip>[\da-fA-F.:]+):\d{1,5} (?:(?P<dst_ip>[\da-fA-F.:]+):\d{1,5}|-)(?: -?[\d.]+){3} "
    r"(?P<status_code>\d{3}|-) (?:\d{3}|-) (?P<bytes_out>\d+) (?P<bytes_in>\d+) \"(?P<http_method>[A-Z-]{1,20}) (?P<url>\S+) [^\"]*\" \"(?P<user_agent>[^\"]*)\"",
    re.ASCII,
)
_STORED = re.compile(  # AWS, "Amazon S3 server access log format"
    r"[0-9a-f]{64} \S+ \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] (?P<src_ip>[\da-fA-F.:]+|-) (?P<actor_user>\S+) \S+ [A-Z]+\.\S+ \S+ "
    r"\"(?P<http_method>[A-Z]{2,20}) (?P<url>\S+)[^\"]*\" (?P<status_code>\d{3}) \S+ (?P<bytes_in>\d+|-) \S+ \S+ \S+ \"[^\"]*\" \"(?P<user_agent>[^\"]*)\"",
    re.ASCII,
)
_FAULT = re.compile(  # nginx, "error_log"
    r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[\w+\] \d+#\d+: .{1,2000}?, client: (?P<src_ip>[\da-fA-F.:]+), server: [^,]*, request: "
    r"\"(?P<http_method>[A-Z]{2,20}) (?P<url>\S+)",
    re.ASCII,
)
_FORMS = (_COMBINED, _SQUID, _BALANCED, _STORED, _FAULT)


def read_request(text: str, host: str = "") -> Imported | None:
    """Return the web request that a line of an access log tells, with its time; None for a line of another kind."""
    match = next((match for form in _FORMS if (match := form.match(text))), None)
    if not match:
        return None
    values = match.groupdict()
    time = read_time(values.pop("time"))
    return located(request_event({**values, "device_hostname": host}), time, 0)


def request_event(values: Mapping[str, Any]) -> Imported:
    """Make a request of what a log says of it; one that is refused (401) with an account's name is a failed sign-in by password.

    A request without credentials, which is how every browser begins, names nobody (RFC 7617; Apache HTTP Server, "Log Files").
    """
    user = str(values.get("actor_user") or "").strip('"')
    if str(values.get("status_code")) != "401" or user in ("", "-"):
        return draft_event("http", "request", dict(values))
    sign_in = {"user_name": user, "auth_protocol": "http", "logon_process": values.get("url")}
    return draft_event("logon", "failure", sign_in | {name: values.get(name) for name in ("src_ip", "device_hostname")})
