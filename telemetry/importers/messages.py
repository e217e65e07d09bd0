"""Say what a log message of Linux becomes: rights, accounts, jobs, services, names asked for, sign-ins to services.

Sign-ins that are told in several lines are `sign_in_lines`'; a packet filter's lines are `firewalls`'. Sources: the message
texts of sudo, util-linux su, shadow (useradd, usermod, gpasswd, passwd), cronie and Debian cron, systemd, dnsmasq, BIND 9,
Unbound, Dovecot, Postfix, vsftpd, MySQL and PostgreSQL.
"""

from __future__ import annotations

import re

from telemetry.importers.access_logs import read_request
from telemetry.importers.cef import read_cef
from telemetry.importers.events import Imported, Skipped, draft_event, located
from telemetry.importers.fast_alerts import read_alert
from telemetry.importers.firewalls import read_firewall
from telemetry.importers.sign_in_lines import SSH_DAEMONS, Teller, Try, is_part_of_try, read_try, session_of
from telemetry.importers.syslog import MAX_MESSAGE, Message, MessageRow, message_row

JOB_SESSIONS = frozenset({"cron", "crond", "atd"})
SILENT_SESSIONS = frozenset({"sudo", "sudo-i", "systemd-user", "sshd", "runuser"})


_QUERY = r"client (?:@0x[0-9a-f]+ )?(?P<src_ip>[\da-fA-F.:]+)#\d+(?: \([^)]*\))?: (?:view \S+: )?query: (?P<query_hostname>\S+) IN"
# What sshd says of a connection that never gets as far as an account: health checks, scans, old clients.
_KNOCK = (
    r"Connection (?:from|closed by|reset by)|Did not receive identification string from|Unable to negotiate with|Disconnected from|Received disconnect from"
    r"|(?:kex_exchange_identification|banner exchange|ssh_dispatch_run_fatal|Bad protocol version identification)\b.{0,120}?(?:from|by)|Timeout before authentication for(?: connection from)?"
)
# A program's name, in lower case, and the messages of it that are known; "" for whatever the program.
_MESSAGES: dict[str, tuple[MessageRow, ...]] = {
    "sudo": (
        message_row(
            r"\s*(?P<actor_user>\S+) : (?:user NOT in sudoers|command not allowed) ;.*?USER=(?P<user_name>\S+) ; (?:.*; )?COMMAND=(?P<privileges>.*)",
            "privilege",
            "sudo",
            outcome="failure",
        ),
        message_row(  # what ran, as the launch that it was
            r"\s*(?P<actor_user>\S+) : .*?USER=\S+ ; (?:.*; )?COMMAND=(?P<process_cmd_line>(?P<process_path>/\S+).*)",
            "process",
            "launch",
        ),
        message_row(
            r"\s*(?P<actor_user>\S+) : .*?USER=(?P<user_name>\S+) ; (?:.*; )?COMMAND=(?P<privileges>.*)",
            "privilege",
            "sudo",
        ),
    ),
    "": (
        message_row(r"new user: name=(?P<user_name>[^,\s]+)(?P<attributes>.*)", "account", "create"),
        message_row(r"delete user '(?P<user_name>[^']+)'", "account", "delete"),
        message_row(r"change user '(?P<user_name>[^']+)' (?P<attributes>.*)", "account", "modify"),
        message_row(
            r"(?:pam_unix\(\w+:chauthtok\): )?password changed for (?P<user_name>\S+)", "account", "password_change"
        ),
        message_row(r"add '(?P<user_name>[^']+)' to group '(?P<group_name>[^']+)'", "group", "member_add"),
        message_row(
            r"(?:user|member) (?P<user_name>\S+) added by (?P<actor_user>\S+) to group (?P<group_name>\S+)",
            "group",
            "member_add",
        ),
        message_row(r"delete '(?P<user_name>[^']+)' from group '(?P<group_name>[^']+)'", "group", "member_remove"),
        message_row(r"\((?P<actor_user>[^)]+)\) CMD \(\s*(?P<job_cmd_line>.*)\)", "task", "run"),
        message_row(r"\((?P<actor_user>[^)]+)\) REPLACE \((?P<run_as>[^)]+)\)", "task", "update", job_name="crontab"),
        message_row(r"\((?P<actor_user>[^)]+)\) DELETE \((?P<run_as>[^)]+)\)", "task", "delete", job_name="crontab"),
        message_row(rf"(?:queries: (?:info: )?)?{_QUERY}", "dns_query", "query"),
        message_row(
            r"(?:\d+ )?\[(?:Note|Warning)\] (?:\[MY-\d+\] \[Server\] )?Access denied for user '(?P<user_name>[^']*)'@'(?P<src_ip>[^']*)' \(using password: YES\)",
            "logon",
            "failure",
            logon_process="mysqld",
        ),
        message_row(
            r"(?:\[[\d-]+\] )?(?:\S+@\S+ )?(?:(?P<src_ip>[\d.]+)(?:\(\d+\))? )?FATAL:  password authentication failed for user \"(?P<user_name>[^\"]*)\"",
            "logon",
            "failure",
            logon_process="postgres",
        ),
    ),
    "systemd": (
        message_row(
            r"Started (?P<service_name>[\w@.\\-]+\.(?:service|timer|socket))\b", "service", "state", status="running"
        ),
        message_row(
            r"Stopped (?P<service_name>[\w@.\\-]+\.(?:service|timer|socket))\b", "service", "state", status="stopped"
        ),
        message_row(r"(?P<service_name>[\w@.\\-]+\.service): (?:Failed with|Main process exited)", "service", "fail"),
    ),
    "sshd": (
        message_row(
            rf"(?:error: )?(?:{_KNOCK}) (?P<src_ip>[\da-fA-F.:]+)(?: port (?P<src_port>\d+))?",
            "net_conn",
            "flow",
            dst_port=22,
            direction="inbound",
        ),
    ),
    "dnsmasq": (
        message_row(
            r"(?:\d+ [\d.:a-f]+/\d+ )?query\[\w+\] (?P<query_hostname>\S+) from (?P<src_ip>\S+)", "dns_query", "query"
        ),
    ),
    "unbound": (
        message_row(r"info: (?P<src_ip>[\d.:a-fA-F]+) (?P<query_hostname>\S+)\. [A-Z]+ IN", "dns_query", "query"),
    ),
    "dovecot": (
        message_row(
            r"(?:imap|pop3|submission|managesieve)-login: (?:Disconnected|Aborted login|Login aborted).*?\(auth failed.*?user=<(?P<user_name>[^>]*)>.*?rip=(?P<src_ip>[\d.:a-fA-F]+)",
            "logon",
            "failure",
            logon_process="dovecot",
        ),
        message_row(
            r"(?:imap|pop3|submission|managesieve)-login: Login: user=<(?P<user_name>[^>]*)>.*?rip=(?P<src_ip>[\d.:a-fA-F]+)",
            "logon",
            "success",
            logon_process="dovecot",
        ),
    ),
    "smtpd": (
        message_row(
            r"warning: [\w.-]+\[(?P<src_ip>[\d.:a-fA-F]+)\]: SASL (?P<auth_protocol>\S+) authentication failed(?:.*sasl_username=(?P<user_name>[^,\s]+))?",
            "logon",
            "failure",
            logon_process="postfix",
        ),
    ),
    "vsftpd": (
        message_row(
            r"(?:\[pid \d+\] )?\[(?P<user_name>[^\]]*)\] FAIL LOGIN: Client \"(?P<src_ip>[^\"]+)\"",
            "logon",
            "failure",
            logon_process="vsftpd",
        ),
        message_row(
            r"(?:\[pid \d+\] )?\[(?P<user_name>[^\]]*)\] OK LOGIN: Client \"(?P<src_ip>[^\"]+)\"",
            "logon",
            "success",
            logon_process="vsftpd",
        ),
    ),
}
_SUDO_FAILURE = re.compile(r"\s*(?P<user_name>\S+) : (?P<count>\d{1,3}) incorrect password attempts? ;")
_SU_FAILURE = re.compile(r"(?:FAILED SU|FAILED su) (?:\(to|for) (?P<user_name>[^\s)]+)\)? (?:by )?(?P<actor_user>\S+)")
_LOGIN_FAILURE = re.compile(
    r"FAILED LOGIN (?:SESSION |\(?\d+\)? )?(?:from|FROM|on) ?(?P<src_ip>\S*?) (?:FOR|for) [`'\"]?(?P<user_name>[^\s,'\"]+)"
)


def read_sign_in(message: Message) -> Try | None:
    """Return what a message says about a sign-in that other lines may tell too; None for anything else."""
    tried = read_try(message)
    if tried is not None:
        return tried
    session = session_of(message)
    if session and session[0] == "sshd" and session[1] == "opened" and message.pid:
        values = {"user_name": session[2], "logon_process": message.program, "device_hostname": message.host}
        return Try(message.record, message.time, Teller.SESSION, message.host, message.pid, values)
    pattern = {"sudo": _SUDO_FAILURE, "su": _SU_FAILURE, "login": _LOGIN_FAILURE}.get(message.program.lower())
    match = pattern.match(message.text[:MAX_MESSAGE]) if pattern else None
    if not match:
        return None
    parts = match.groupdict(default="")
    count = int(parts.pop("count", "") or 1)
    values = {**parts, "logon_process": message.program, "device_hostname": message.host}
    return Try(message.record, message.time, Teller.CREDENTIAL, message.host, message.pid, values, count=count)


def convert_message(message: Message) -> Imported:
    """Return what a message becomes that is no part of a sign-in of several lines."""
    return located(_converted(message), message.time, message.record)


def _converted(message: Message) -> Imported:
    program, text = message.program.lower(), message.text[:MAX_MESSAGE]
    if is_part_of_try(message):
        return Skipped("part of a sign-in: PAM's note on a try that other lines tell")
    session = session_of(message)
    if session:
        return _session(message, *session)
    program = "sshd" if program in SSH_DAEMONS else program
    family = next((name for name in _MESSAGES if name and (program == name or program.endswith("/" + name))), "")
    for pattern, event_type, activity, fixed in (*(_MESSAGES[family] if family else ()), *_MESSAGES[""]):
        match = pattern.match(text)
        if match:
            return draft_event(event_type, activity, {**match.groupdict(), **fixed, "device_hostname": message.host})
    return (
        read_firewall(message)
        or read_alert(text, message.host)
        or read_cef(text, message.host)
        or read_request(text, message.host)
        or Skipped(f"no mapping for a syslog message of {message.program}")
    )


def _session(message: Message, service: str, what: str, user: str) -> Imported:
    if service in JOB_SESSIONS and what == "opened":
        return draft_event("task", "run", {"job_name": service, "run_as": user, "device_hostname": message.host})
    if service in SILENT_SESSIONS | JOB_SESSIONS:
        return Skipped(f"a session of {service}, whose sign-in or command other lines tell")
    values = {"user_name": user, "logon_process": service, "device_hostname": message.host}
    return draft_event("logon", "success" if what == "opened" else "logoff", values)
