"""Say in words what a log line, a value and an action are.

The client, which is installed alone, has a copy of `ACTIONS` and `PHRASES`; a test holds them equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schema import visible
from verifier.rules import RULES

LONGEST = 2_000  # characters of one text in the page
LONGEST_VALUE = 120  # characters of one field in a line's summary
ACTIONS = {
    "dismiss": "nothing to do: harmless, or explained by the context",
    "monitor": "suspicious and unexplained, or telemetry is missing: keep watching",
    "quarantine_host": "code or an implant runs on one host: cut it off",
    "block_ip": "a hostile outside address and no host taken over: block it",
    "escalate": "crown jewel, privileged account, several hosts or damage done: call the responders",
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


def cut(value: Any, room: int = LONGEST) -> str:
    """Return a value as text of at most `room` characters and how long it is; what is cut away is not looked at."""
    whole = value if isinstance(value, str) else readable(value)
    text = visible(whole[: room + 1])
    return text if len(text) <= room else f"{text[:room]}… ({len(whole):,} characters)"


def shortened(value: Any, room: int = LONGEST_VALUE) -> str:
    """Return a value as text of at most `room` characters."""
    text = readable(value)
    return text if len(text) <= room else text[: room - 1] + "…"


def summary(event_type: str, fields: Mapping[str, Any]) -> str:
    """Return a log line in words: where and who, the phrase of its type, then every field that is left."""
    left = {name: shortened(value) for name, value in fields.items() if name != "activity"}
    where = " ".join(left.pop(name) for name in ("device_hostname", "actor_user") if name in left)
    phrase = "".join(_fill(piece, left) for piece in PHRASES.get(event_type, ()))
    rest = " ".join(f"{readable(name)}={value}" for name, value in left.items())
    return "  ".join(part for part in (where, phrase.strip(), rest) if part)


def _fill(piece: str, fields: dict[str, str]) -> str:
    """Return a piece with its field, which is taken out of `fields`; empty if the field is absent."""
    before, name, after = re.split(r"{(\w+)}", piece)
    return f"{before}{fields.pop(name)}{after}" if name in fields else ""
