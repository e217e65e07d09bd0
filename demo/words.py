"""Say in words what a log line, a value and an action are.

The client, which is installed alone, has a copy of `ACTIONS` and `PHRASES`; a test holds them equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schema import visible
from verifier.rules import RULES
from verifier.truth import BEAR_OUT, LADDER

LONGEST = 2_000  # characters of one text in the page
LONGEST_VALUE = 120  # characters of one field in a line's summary
ACTIONS = {
    "dismiss": "nothing to do: harmless, or explained by the context",
    "monitor": "suspicious and unexplained, or telemetry is missing: keep watching",
    "quarantine_host": "code or an implant runs on one host: cut it off",
    "block_ip": "a hostile outside address and no host taken over: block it",
    "escalate": "crown jewel, privileged account, several hosts or damage done: call the responders",
}
ACTION_NAMES = {
    "dismiss": "Dismiss",
    "monitor": "Keep watching",
    "quarantine_host": "Quarantine the host",
    "block_ip": "Block the address",
    "escalate": "Escalate",
}
ACTION_SIGNS = {"dismiss": "○", "monitor": "◐", "quarantine_host": "■", "block_ip": "⊘", "escalate": "▲"}
WORTH = {  # what a part of a reward pays for, by whether it pays or costs
    "defender.decision": ("right action", "wrong action"),
    "defender.citation": ("right line", "wrong line"),
    "defender.format": ("readable", "not readable"),
}
TYPE_NAMES = {
    "process": "program",
    "process_access": "memory access",
    "process_inject": "injection",
    "module_load": "library",
    "file": "file",
    "registry": "registry",
    "net_conn": "connection",
    "dns_query": "name lookup",
    "http": "web request",
    "logon": "sign-in",
    "kerberos": "Kerberos",
    "privilege": "privilege",
    "account": "account",
    "group": "group",
    "service": "service",
    "task": "scheduled task",
    "share": "share",
    "pipe": "pipe",
    "script": "script",
    "wmi": "WMI",
    "directory": "directory",
    "object_access": "object access",
    "control_change": "protection",
    "detection": "detection",
    "cloud_api": "cloud call",
}
# What an event is called in a sentence, by type and activity; another one is called by both names.
EVENTS = {
    ("process", "launch"): "program started",
    ("process", "terminate"): "program ended",
    ("process_access", "open"): "one program opened another's memory",
    ("process_inject", "remote_thread"): "one program started a thread in another",
    ("process_inject", "tamper"): "a program's image was replaced",
    ("module_load", "dll"): "library loaded",
    ("module_load", "driver"): "driver loaded",
    ("file", "create"): "file written",
    ("file", "modify"): "file changed",
    ("file", "delete"): "file deleted",
    ("registry", "set"): "registry value set",
    ("net_conn", "open"): "connection opened",
    ("net_conn", "flow"): "connection",
    ("net_conn", "allow"): "connection allowed",
    ("net_conn", "block"): "connection blocked",
    ("dns_query", "query"): "name looked up",
    ("http", "request"): "web request",
    ("logon", "success"): "signed in",
    ("logon", "failure"): "sign-in failed",
    ("logon", "logoff"): "signed out",
    ("logon", "explicit_credentials"): "signed in with another account's password",
    ("kerberos", "tgt"): "Kerberos ticket to sign in",
    ("kerberos", "tgs"): "Kerberos ticket for a service",
    ("kerberos", "preauth_failure"): "Kerberos sign-in failed",
    ("group", "member_add"): "member added to a group",
    ("group", "member_remove"): "member removed from a group",
    ("service", "install"): "service installed",
    ("task", "create"): "scheduled task created",
    ("task", "run"): "scheduled task ran",
    ("cloud_api", "call"): "cloud call",
    ("control_change", "log_clear"): "log cleared",
    ("control_change", "av_setting"): "protection setting changed",
    ("control_change", "firewall"): "firewall changed",
    ("control_change", "sensor_config"): "sensor's settings changed",
    ("account", "create"): "account created",
    ("account", "enable"): "account enabled",
    ("account", "disable"): "account disabled",
    ("account", "delete"): "account deleted",
    ("account", "password_change"): "password changed",
    ("account", "password_reset"): "password reset",
    ("account", "modify"): "account changed",
    ("account", "assume_role"): "role assumed",
    ("account", "key_create"): "access key created",
    ("privilege", "special_logon"): "signed in with special privileges",
    ("privilege", "sudo"): "ran a command as root",
    ("net_conn", "bits_job"): "background transfer",
    ("net_conn", "listen"): "port opened",
    ("logon", "rdp_session"): "remote desktop session",
    ("logon", "ssh_session"): "SSH session",
    ("logon", "ntlm"): "signed in by NTLM",
    ("share", "connect"): "share opened",
    ("share", "access"): "file on a share opened",
    ("script", "block"): "script ran",
    ("directory", "replication"): "directory replicated",
    ("detection", "malware"): "malware found by another product",
}
# How a type's fields read as a phrase; a piece whose field is absent is left out, and what no piece names follows as `name=value`.
PHRASES: dict[str, tuple[str, ...]] = {
    "process": ("{parent_path} > ", "{process_path}", " ran: {process_cmd_line}"),
    "process_access": ("{process_path}", " opened {target_path}", " with {access_mask}"),
    "process_inject": ("{process_path}", " into {target_path}"),
    "module_load": ("{process_path} loaded ", "{file_path}", " ({signature_state})"),
    "file": ("{process_path}: ", "{file_path}"),
    "registry": ("{process_path}: ", "{reg_key_path}", " = {reg_value_data}"),
    "net_conn": (
        "{process_path}: ",
        "{src_ip}",
        " > {dst_ip}",
        " port {dst_port}",
        " ({dst_scope})",
        ", {bytes_out} bytes out",
        ", {bytes_in} bytes in",
    ),
    "dns_query": ("{process_path}: ", "{query_hostname}", " = {answers}"),
    "http": ("{http_method} ", "{url}", " got {status_code}"),
    "logon": ("{user_name}", " from {src_ip}", ", type {logon_type}", ", {auth_protocol}"),
    "kerberos": ("{user_name}", " for {service_name}", " from {src_ip}"),
    "account": ("{user_name}", ": {attributes}"),
    "group": ("{user_name}", " in {group_name}"),
    "service": ("{service_name}", ": {service_cmd_line}", ", as {run_as}"),
    "task": ("{job_name}", ": {job_cmd_line}", ", as {run_as}"),
    "share": ("{share_name}", " {file_path}", " from {src_ip}"),
    "script": ("{script_text}",),
    "cloud_api": ("{api_service}", " {api_operation}", " by {user_uid}", " from {src_ip}"),
}
PLAINER = {  # the verifier's reasons, which models learned word for word, as a visitor reads them
    BEAR_OUT: "independent suspicious findings confirm each other, and ",
    LADDER["crown"][1]: "a crown jewel is involved",
    LADDER["privileged"][1]: "a privileged account is involved",
    LADDER["several"][1]: LADDER["several"][1].replace("concerned", "involved"),
    LADDER["neither"][1]: "the attack is confirmed, and there is neither a host to isolate nor an address to block",
}
SPELT = {"it_ops": "IT operations"}  # names that are no words once their underscores are spaces
MADE_UP = {"host": "a host", "crown": "a host", "lab": "a host", "user": "an account", "t": "a ticket"}
_MADE_UP = re.compile(r"(?<!\S)@([a-z]+)\d+\b")  # a name of a chain to which nothing in the incident answers
_NOTATION = re.compile(r"(?:^|\s)(?:on|by|from|ok|so)=\S")  # of a chain as models write it
_RULES = {rule.rule_id: rule.summary for rule in RULES}


def rule_summary(rule_id: str) -> str:
    """Return what a rule looks for; empty for a rule that is not there."""
    return _RULES.get(rule_id, "")


def readable(value: Any) -> str:
    """Return any value as visible text: an absent one is empty, lists and records have commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(readable(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{readable(name)}={readable(item)}" for name, item in value.items())
    return visible(str(value))


def spaced(name: str) -> str:
    """Return a name of the records in words, such as `crown jewel`."""
    return SPELT.get(name) or name.replace("_", " ")


def hour_and_minute(timestamp: str) -> str:
    """Return the time of day of a timestamp without its seconds, such as 13:50."""
    return timestamp[11:16]


def cut(value: Any, room: int = LONGEST) -> str:
    """Return a value as text of at most `room` characters and how long it is; what is cut away is not looked at."""
    whole = value if isinstance(value, str) else readable(value)
    text = visible(whole[: room + 1])
    return text if len(text) <= room else f"{text[:room]}… ({len(whole):,} characters)"


def shortened(value: Any, room: int = LONGEST_VALUE) -> str:
    """Return a value as text of at most `room` characters."""
    text = readable(value)
    return text if len(text) <= room else text[: room - 1] + "…"


def first_clauses(text: str, room: int = 60) -> str:
    """Return as many of a sentence's clauses as have `room` characters, at least the first."""
    while len(text) > room and (clause := re.match(r"(.+)[,;:]", text)):
        text = clause[1]
    return text


def summary(event_type: str, fields: Mapping[str, Any]) -> str:
    """Return a log line in words: where and who, the phrase of its type, then every field that is left."""
    left = {name: shortened(value) for name, value in fields.items() if name != "activity"}
    where = " ".join(left.pop(name) for name in ("device_hostname", "actor_user") if name in left)
    phrase = "".join(_fill(piece, left) for piece in PHRASES.get(event_type, ()))
    rest = " ".join(f"{readable(name)}={value}" for name, value in left.items())
    return "  ".join(part for part in (where, phrase.strip(), rest) if part)


def event_words(event_type: str, activity: str) -> str:
    """Return what an event is called in a sentence."""
    return EVENTS.get((event_type, activity)) or readable(f"{event_type}: {activity}".replace("_", " "))


def phrase(event_type: str, fields: Mapping[str, Any]) -> str:
    """Return the phrase of an event's type alone: no host, no actor, none of the fields that no piece names."""
    return _told(event_type, fields)[0]


def left_over(event_type: str, fields: Mapping[str, Any]) -> str:
    """Return the fields that the phrase of an event's type does not name, as `logon process sshd, direction outbound`."""
    left = _told(event_type, fields)[1]
    return ", ".join(
        f"{readable(name).replace('_', ' ')} {value}" for name, value in left.items() if name != "activity"
    )


def _told(event_type: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the phrase of an event's type, and the fields that it does not name."""
    left = {name: shortened(value) for name, value in fields.items()}
    told = ""
    for piece in PHRASES.get(event_type, ()):
        filled = _fill(piece, left)
        told += filled.removeprefix(", ") if told.endswith(": ") else filled
    return told.lstrip(":, ").strip(), left


def reason_in_words(why: str) -> str:
    """Return a reason of the verifier, or of a model that gives one, in plainer words; a host or account that a model made up has no name."""
    why = _MADE_UP.sub(lambda found: f"{MADE_UP.get(found[1], 'an address')} that is not there", why)
    for reason, plainer in PLAINER.items():
        why = why.replace(reason, plainer)
    return why


def is_notation(reason: str) -> bool:
    """Return whether a model's reason still stands in its own notation, because it is no whole chain."""
    return bool(_NOTATION.search(reason))


def reward_in_words(reward: float, components: Mapping[str, float]) -> str:
    """Return a reward with what it is made of: `+1.10 (right action +1, right line +0.1)`; what pays nothing is left out."""
    parts = [f"{WORTH.get(name, (name, name))[value < 0]} {value:+g}" for name, value in components.items() if value]
    return f"{reward:+.2f}" + (f" ({', '.join(parts)})" if parts else "")


def _fill(piece: str, fields: dict[str, str]) -> str:
    """Return a piece with its field, which is taken out of `fields`; empty if the field is absent or empty."""
    before, name, after = re.split(r"{(\w+)}", piece)
    value = fields.pop(name, "")
    return f"{before}{value}{after}" if value else ""
