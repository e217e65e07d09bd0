"""Say what a command does with a socket: ties a shell to it, tries many ports, sends data, or asks
whether one port is open; and with which host.

A shell of Unix opens a socket by the path /dev/tcp/HOST/PORT (GNU Bash manual, "Redirections"); nc, ncat, socat, telnet and
openssl by their arguments; scripting languages by their own call.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Literal, NamedTuple

Use = Literal["shell", "scan", "data", "unclear", "probe"]
LOCAL_NAMES = ("localhost", "ip6-localhost", "localhost.localdomain")


class SocketUse(NamedTuple):
    """What a command does with a socket to a host; the host is empty where none can be read (a variable, a listener)."""

    use: Use
    host: str


_PATH = re.compile(r"/dev/(?:tcp|udp)/(?P<host>[^/\s'\"]{1,253})/(?P<port>[^\s'\"`;|&<>)]{1,40})", re.IGNORECASE)
_SHELL = r"(?:ba|da|z|k|a|c|tc)?sh"
_TIED = re.compile(  # a shell whose input or output is the socket, or that runs what comes from it
    rf"(?<![\w.-]){_SHELL}\b(?:\s+-(?!\w*c)\w+)*\s*(?:[012]?[<>&]{{1,3}}\s*/dev/(?:tcp|udp)/|[01]?<&\d|0>&\d|1?>&[3-9])"
    rf"|\b{_SHELL}\s+-\w*i\w*\b[^;]{{0,60}}/dev/(?:tcp|udp)/"
    r"|/dev/(?:tcp|udp)/[^\s'\"]{1,300}['\"]?\s*(?:0[<>]&\d|[<>]&0)"
    rf"|/dev/(?:tcp|udp)/.{{0,200}}\|\s*(?:sudo\s+)?{_SHELL}\b"
    rf"|/dev/(?:tcp|udp)/.{{0,200}}(?:\bexec\s+{_SHELL}\s+(?:-i|\d?[<>])|\beval\b|\bdo\s+\$\w|\bwhile\s+read\b.{{0,80}}\bdo\b.{{0,20}}\$|\b{_SHELL}\s+-i\b|\b{_SHELL}\s*[0-9]?<&)"
    rf"|\b(?:{_SHELL}|source|\.)\s+<\(?\s*(?:cat\s+<?\s*)?/dev/(?:tcp|udp)/",
    re.IGNORECASE,
)
_PROBE = re.compile(  # nothing is sent but an empty line, and nothing is read
    r"(?:^|[\s;'\"(&|:])(?:(?:echo(?:\s+-n)?(?:\s+(?:''|\"\"))?|:|true|printf\s+(?:''|\"\")|cat\s*<\s*/dev/null|cat\s+/dev/null)\s*)?[0-9]*[<>]+\s*[\"']?/dev/(?:tcp|udp)/",
    re.IGNORECASE,
)
_EXCHANGE = re.compile(r"\b(?:cat|dd|tar|gzip|base64|xxd|head|tail)\b|[<>]&[3-9]", re.IGNORECASE)
_EMPTY = re.compile(r"\bcat\s*<?\s*/dev/null")
_RANGE = re.compile(r"\bfor\b.{0,120}\bdo\b|\bseq\b|\{\d+\.\.\d+\}")
_NETCAT = re.compile(
    rf"\bn(?:c|cat)(?:\.exe|\.traditional|\.openbsd)?\s(?P<args>.{{0,200}}?(?:-\w{{0,4}}[ec]\s*|--(?:sh-)?exec[\s=])[\"']?\S{{0,40}}(?:{_SHELL}|cmd|powershell)\b.{{0,80}})"
    rf"|\bn(?:c|cat)(?:\.exe|\.traditional|\.openbsd)?\s(?P<piped>[^|]{{1,120}}\|\s*(?:sudo\s+)?{_SHELL}\b)"
    rf"|\bmkfifo\b.{{0,120}}\b(?:nc|ncat|telnet|openssl)\b(?P<fifo>.{{0,120}})"
    rf"|\bsocat\b(?P<socat>.{{0,120}}\b(?:exec|system):.{{0,120}})"
    rf"|\btelnet\s(?P<telnet>[^|]{{1,120}}\|\s*{_SHELL}\b)",
    re.IGNORECASE | re.DOTALL,
)
_LANGUAGE = re.compile(
    r"\b(?:perl|python[\d.]{0,4}|ruby|php|lua|node)\b.{0,20}-[erc]\b.{0,120}(?:socket|fsockopen)|sockets\.tcpclient\b.{0,400}(?:getstream|\biex\b|invoke-expression)|/inet/tcp/",
    re.IGNORECASE | re.DOTALL,
)
_RUNS = re.compile(
    rf"dup2|pty\.|/{_SHELL}\b|\b{_SHELL}\s+-i|cmd\.exe|powershell|getstream|\biex\b|invoke-expression|\b(?:subprocess|popen|system|exec)\b|\|&",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"(?<![\w./-])((?:\d{1,3}\.){3}\d{1,3}|(?:[a-z0-9][\w-]{0,62}\.){1,6}[a-z][a-z0-9-]{1,62}|localhost)(?=[\s'\":,/)]|$)",
    re.IGNORECASE,
)
_NO_HOST = re.compile(r"\.(?:sh|py|pl|rb|php|txt|log|socket|exe|connect|dup2|tcpclient)$", re.IGNORECASE)


@lru_cache(maxsize=4096)
def socket_uses(text: str) -> tuple[SocketUse, ...]:
    """List what a command does with sockets, at most one use for each host."""
    uses: dict[str, SocketUse] = {}
    for match in _PATH.finditer(text):
        host = _named(match["host"])
        uses.setdefault(host, SocketUse(_use_of_path(text, match), host))
    for match in _NETCAT.finditer(text):
        arguments = next(filter(None, match.groups()), "")
        uses.update({host: SocketUse("shell", host) for host in _hosts(arguments) or [""]})
    if _LANGUAGE.search(text):
        use: Use = "shell" if _RUNS.search(text) else "data" if _hosts(text) else "unclear"
        uses.update({host: SocketUse(use, host) for host in _hosts(text) or [""]})
    return tuple(uses.values())


def _use_of_path(text: str, match: re.Match[str]) -> Use:
    if _TIED.search(text):
        return "shell"
    before = text[max(0, match.start() - 40) : match.start() + 10]
    is_probe = _PROBE.search(before) is not None and not _EXCHANGE.search(_EMPTY.sub("", text))
    is_range = "$" in match["port"] and _RANGE.search(text) is not None
    return "scan" if is_range else "probe" if is_probe else "data"


def _named(host: str) -> str:
    """Return a host as it is written, in lower case; nothing for a variable."""
    return "" if "$" in host else host.lower().strip("[]")


def _hosts(text: str) -> list[str]:
    return [host.lower() for host in _HOST.findall(text) if not _NO_HOST.search(host)]


def is_loopback(host: str) -> bool:
    """Return whether a host, by name or address, is the command's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in LOCAL_NAMES
    return address.is_loopback or address.is_unspecified


def address_of(host: str) -> str | None:
    """Return a host that is written as an address; None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


INSIDE_NAMES = (".local", ".localdomain", ".internal", ".intra", ".lan", ".corp", ".home", ".svc")


def is_outside_name(host: str) -> bool:
    """Return whether a name is one of the public domain name system: it has a dot and no ending that only networks of one's own use."""
    return (
        "." in host
        and address_of(host) is None
        and not host.endswith((*INSIDE_NAMES, *(f"{name}." for name in INSIDE_NAMES)))
    )
