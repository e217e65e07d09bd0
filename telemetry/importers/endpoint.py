"""Events of endpoint sensors: Elastic Defend and Endgame (and whatever else writes ECS), CrowdStrike Falcon.

ECS says by category, type and action what happened, so one table serves every product that writes it. Sources: Elastic, "ECS
field reference" and "Elastic Defend: exported fields"; CrowdStrike, "Events data dictionary" (Falcon Data Replicator).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.security import registry_path
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_int, compact, first_of, mapping

Raw = Mapping[str, Any]
Values = dict[str, Any]


class Meaning(NamedTuple):
    """What an event of a sensor becomes."""

    event_type: str
    activity: str
    values: Callable[[Raw], Values]


# ---------------------------------------------------------------- ECS
def _get(raw: Raw, path: str) -> Any:
    """Return the value at a dotted path, or of a dotted key, as Kibana's alerts have; the first of a list."""
    node: Any = raw
    for name in (path,) if path in raw else path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node[0] if isinstance(node, list) and node else node


def _words(raw: Raw, name: str) -> set[str]:
    value = mapping(raw.get("event")).get(name)
    return {str(word) for word in (value if isinstance(value, list) else [value]) if word is not None}


def _hashes(raw: Raw, path: str) -> str:
    return ",".join(f"{kind.upper()}={value}" for kind, value in mapping(_get(raw, path)).items())


def _command(raw: Raw, path: str) -> Any:
    line, arguments = _get(raw, f"{path}.command_line"), mapping(mapping(raw).get("process")).get("args")
    return line or (" ".join(map(str, arguments)) if path == "process" and isinstance(arguments, list) else None)


def _process(raw: Raw) -> Values:
    level = str(_get(raw, "process.Ext.token.integrity_level_name") or "")
    return {
        "process_path": _get(raw, "process.executable") or _get(raw, "process.name"),
        "process_cmd_line": _command(raw, "process"),
        "process_pid": _get(raw, "process.pid"),
        "process_uid": _get(raw, "process.entity_id"),
        "process_integrity": level.capitalize(),
        "process_hashes": _hashes(raw, "process.hash"),
        "process_original_name": _get(raw, "process.pe.original_file_name"),
        "process_company": _get(raw, "process.pe.company"),
        "parent_path": _get(raw, "process.parent.executable") or _get(raw, "process.parent.name"),
        "parent_cmd_line": _command(raw, "process.parent"),
    }


def _ended(raw: Raw) -> Values:
    return {
        name: value for name, value in _process(raw).items() if name in ("process_path", "process_pid", "process_uid")
    }


def _opened(raw: Raw) -> Values:
    return {
        "process_path": _get(raw, "process.executable"),
        "target_path": _get(raw, "Target.process.executable"),
        "access_mask": _get(raw, "process.Ext.api.parameters.desired_access_numeric"),
    }


def _file(raw: Raw) -> Values:
    return {
        "file_path": _get(raw, "file.path"),
        "process_path": _get(raw, "process.executable"),
        "file_hashes": _hashes(raw, "file.hash"),
    }


def _registry(raw: Raw) -> Values:
    return {
        "reg_key_path": registry_path(_get(raw, "registry.path") or _get(raw, "registry.key")),
        "reg_value_data": _get(raw, "registry.data.strings"),
        "process_path": _get(raw, "process.executable"),
    }


_DIRECTIONS = {"egress": "outbound", "outbound": "outbound", "ingress": "inbound", "inbound": "inbound"}


def _connection(raw: Raw) -> Values:
    return {
        "src_ip": _get(raw, "source.ip"),
        "src_port": _get(raw, "source.port"),
        "dst_ip": _get(raw, "destination.ip"),
        "dst_port": _get(raw, "destination.port"),
        "dst_hostname": _get(raw, "destination.domain"),
        "bytes_out": _get(raw, "source.bytes"),
        "bytes_in": _get(raw, "destination.bytes"),
        "direction": _DIRECTIONS.get(str(_get(raw, "network.direction")).lower()),
        "process_path": _get(raw, "process.executable"),
    }


def _query(raw: Raw) -> Values:
    answers = mapping(raw.get("dns")).get("resolved_ip") or mapping(raw.get("dns")).get("answers")
    return {
        "query_hostname": _get(raw, "dns.question.name"),
        "answers": ";".join(map(str, answers)) if isinstance(answers, list) else compact(answers),
        "process_path": _get(raw, "process.executable"),
        "src_ip": _get(raw, "source.ip"),
    }


def _request(raw: Raw) -> Values:
    return {
        "url": _get(raw, "url.full") or _get(raw, "url.original"),
        "http_method": _get(raw, "http.request.method"),
        "status_code": _get(raw, "http.response.status_code"),
        "user_agent": _get(raw, "user_agent.original"),
        "src_ip": _get(raw, "source.ip"),
        "dst_ip": _get(raw, "destination.ip"),
    }


def _module(raw: Raw) -> Values:
    signature = mapping(_get(raw, "dll.code_signature") or _get(raw, "file.code_signature"))
    status = str(signature.get("status")).lower()
    is_valid = signature.get("trusted") is True or status in ("trusted", "valid")
    return {
        "file_path": _get(raw, "dll.path") or _get(raw, "file.path"),
        "signature_state": None
        if not signature
        else "unsigned"
        if signature.get("exists") is False
        else "signed"
        if is_valid
        else "invalid",
        "signature_subject": signature.get("subject_name"),
        "process_path": _get(raw, "process.executable"),
    }


def _sign_in(raw: Raw) -> Values:
    return {
        "user_name": _get(raw, "user.name"),
        "actor_user": None,
        "src_ip": _get(raw, "source.ip"),
        "logon_type": _get(raw, "winlog.event_data.LogonType"),
        "logon_process": _get(raw, "process.name"),
        "status": _get(raw, "error.code") or _get(raw, "event.reason"),
    }


def _alert(raw: Raw) -> Values:
    number = _get(raw, "kibana.alert.risk_score") or _get(raw, "event.risk_score")
    score = clean_int(number) if number is not None else None
    return {
        "finding_title": _get(raw, "rule.name") or _get(raw, "kibana.alert.rule.name") or _get(raw, "message"),
        "severity": _get(raw, "kibana.alert.severity")
        or (None if score is None else "high" if score >= 70 else "medium" if score >= 40 else "low"),
        "file_path": _get(raw, "file.path") or _get(raw, "process.executable"),
        "src_ip": _get(raw, "source.ip"),
        "dst_ip": _get(raw, "destination.ip"),
    }


_ECS: tuple[tuple[str, set[str], Meaning], ...] = (  # a category, types or actions of it, and what the event is
    (
        "dns",
        {"lookup_result", "protocol", "answer", "info", "start", "connection", "end"},
        Meaning("dns_query", "query", _query),
    ),
    ("process", {"access", "open"}, Meaning("process_access", "open", _opened)),
    ("process", {"start", "exec", "creation_event"}, Meaning("process", "launch", _process)),
    ("process", {"end", "termination_event"}, Meaning("process", "terminate", _ended)),
    ("file", {"creation", "file_create_event"}, Meaning("file", "create", _file)),
    ("file", {"deletion", "file_delete_event"}, Meaning("file", "delete", _file)),
    ("file", {"change", "rename", "overwrite", "modification"}, Meaning("file", "modify", _file)),
    ("registry", {"deletion"}, Meaning("registry", "key_delete", _registry)),
    ("registry", {"creation"}, Meaning("registry", "key_create", _registry)),
    ("registry", {"change", "modification"}, Meaning("registry", "set", _registry)),
    ("web", {"access", "info", "protocol"}, Meaning("http", "request", _request)),
    ("network", {"end"}, Meaning("net_conn", "flow", _connection)),
    ("network", {"denied"}, Meaning("net_conn", "block", _connection)),
    ("network", {"start", "connection", "allowed"}, Meaning("net_conn", "open", _connection)),
    ("library", {"start", "load"}, Meaning("module_load", "dll", _module)),
    ("driver", {"start", "load"}, Meaning("module_load", "driver", _module)),
    ("authentication", {"end", "log_off"}, Meaning("logon", "logoff", _sign_in)),
    ("authentication", {"start", "info", "log_on"}, Meaning("logon", "success", _sign_in)),
)
_REPEATED = {  # actions of events that another tells
    "fork": "a fork, which runs no new program",
    "lookup_requested": "a question whose answer lookup_result reports",
}
_CATEGORIES = frozenset(category for category, _, _ in _ECS)


def is_ecs(raw: Raw) -> bool:
    """Return whether a record says in ECS what an endpoint did, or what Elastic found there."""
    if not isinstance(raw.get("event"), Mapping) or "@timestamp" not in raw:
        return False
    return bool(_words(raw, "category") & _CATEGORIES) or is_finding(raw)


def is_finding(raw: Raw) -> bool:
    """Return whether a record is an alert: of Elastic Defend's protections or of a detection rule."""
    return bool(_words(raw, "kind") & {"alert", "signal"}) and bool(_alert(raw)["finding_title"])


def convert_ecs(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when an event was made and what it becomes, by its category, type and action."""
    moment = read_time(raw.get("@timestamp")) or read_time(_get(raw, "event.created"))
    user = mapping(raw.get("user"))
    name, domain = user.get("name"), user.get("domain")
    common = {
        "device_hostname": _get(raw, "host.name") or _get(raw, "host.hostname") or _get(raw, "agent.name"),
        "actor_user": f"{domain}\\{name}" if name and domain else name,
    }
    if is_finding(raw):
        malware = bool(_words(raw, "category") & {"malware"}) or "malicious_file" in _words(raw, "code")
        return moment, draft_event("detection", "malware" if malware else "ids_notice", common | _alert(raw))
    return moment, _ecs_event(raw, common)


def _ecs_event(raw: Raw, common: Values) -> Imported:
    categories, actions = _words(raw, "category"), _words(raw, "action")
    kinds = _words(raw, "type") | actions
    if repeated := next((reason for action, reason in _REPEATED.items() if actions == {action}), None):
        return Skipped(repeated)
    if "dns" in raw and "network" in categories:
        categories = categories | {"dns"}
    meaning = next((what for category, words, what in _ECS if category in categories and words & kinds), None)
    if meaning is None:
        return Skipped(f"no mapping for ECS {'/'.join(sorted(categories))} of {'/'.join(sorted(kinds)) or 'no type'}")
    values = {**common, **meaning.values(raw)}
    activity = meaning.activity
    if activity == "success" and "failure" in _words(raw, "outcome"):
        activity = "failure"
    if activity == "success" and _get(raw, "process.name") == "sshd":
        activity = "ssh_session"
    return draft_event(meaning.event_type, activity, values)


# ---------------------------------------------------------------- CrowdStrike Falcon
def _launch(raw: Raw) -> Values:
    return {
        "process_path": raw.get("ImageFileName"),
        "process_cmd_line": raw.get("CommandLine"),
        "process_pid": raw.get("RawProcessId"),
        "process_uid": raw.get("TargetProcessId"),
        "process_hashes": ",".join(
            f"{name}={raw[key]}" for name, key in (("SHA256", "SHA256HashData"), ("MD5", "MD5HashData")) if raw.get(key)
        ),
        "parent_path": first_of(raw, ("ParentImageFileName", "ParentBaseFileName")),
        "parent_cmd_line": raw.get("ParentCommandLine"),
    }


def _falcon_connection(raw: Raw) -> Values:
    local, remote = ("LocalAddressIP4", "LocalAddressIP6"), ("RemoteAddressIP4", "RemoteAddressIP6")
    inbound = str(raw.get("ConnectionDirection")) == "1" or "Receive" in str(raw.get("event_simpleName"))
    ends = {"src": local, "dst": remote} if not inbound else {"src": remote, "dst": local}
    ports = ("LocalPort", "RemotePort") if not inbound else ("RemotePort", "LocalPort")
    return {
        "src_ip": first_of(raw, ends["src"]),
        "src_port": raw.get(ports[0]),
        "dst_ip": first_of(raw, ends["dst"]),
        "dst_port": raw.get(ports[1]),
        "direction": "inbound" if inbound else "outbound",
        "process_path": first_of(raw, ("ContextImageFileName", "ContextBaseFileName")),
    }


def _falcon_file(raw: Raw) -> Values:
    return {
        "file_path": raw.get("TargetFileName"),
        "process_path": first_of(raw, ("ContextImageFileName", "ContextBaseFileName")),
        "file_hashes": raw.get("SHA256HashData"),
    }


def _falcon_sign_in(raw: Raw) -> Values:
    return {
        "user_name": raw.get("UserName"),
        "logon_type": raw.get("LogonType"),
        "src_ip": first_of(raw, ("RemoteAddressIP4", "RemoteAddressIP6")),
        "src_hostname": raw.get("ClientComputerName"),
        "status": raw.get("Status"),
    }


def _falcon_registry(raw: Raw) -> Values:
    key, name = registry_path(raw.get("RegObjectName")), raw.get("RegValueName")
    return {
        "reg_key_path": f"{key}\\{name}" if name else key,
        "reg_value_data": raw.get("RegStringValue"),
        "process_path": first_of(raw, ("ContextImageFileName", "ContextBaseFileName")),
    }


_CONNECT = Meaning("net_conn", "open", _falcon_connection)
_FALCON: Mapping[str, Meaning] = {
    "ProcessRollup2": Meaning("process", "launch", _launch),
    "SyntheticProcessRollup2": Meaning("process", "launch", _launch),
    "EndOfProcess": Meaning(
        "process",
        "terminate",
        lambda raw: {"process_uid": raw.get("TargetProcessId"), "process_path": raw.get("ImageFileName")},
    ),
    **dict.fromkeys(
        ("NetworkConnectIP4", "NetworkConnectIP6", "NetworkReceiveAcceptIP4", "NetworkReceiveAcceptIP6"), _CONNECT
    ),
    "NetworkListenIP4": Meaning("net_conn", "listen", _falcon_connection),
    "DnsRequest": Meaning(
        "dns_query",
        "query",
        lambda raw: {
            "query_hostname": raw.get("DomainName"),
            "answers": raw.get("IP4Records"),
            "process_path": first_of(raw, ("ContextImageFileName", "ContextBaseFileName")),
        },
    ),
    "UserLogon": Meaning("logon", "success", _falcon_sign_in),
    "UserLogonFailed": Meaning("logon", "failure", _falcon_sign_in),
    "UserLogonFailed2": Meaning("logon", "failure", _falcon_sign_in),
    "UserLogoff": Meaning("logon", "logoff", _falcon_sign_in),
    "NewExecutableWritten": Meaning("file", "create", _falcon_file),
    "PeFileWritten": Meaning("file", "create", _falcon_file),
    "NewScriptWritten": Meaning("file", "create", _falcon_file),
    "FileDeleteInfo": Meaning("file", "delete", _falcon_file),
    "AsepValueUpdate": Meaning("registry", "set", _falcon_registry),
    "RegGenericValueUpdate": Meaning("registry", "set", _falcon_registry),
    "ClassifiedModuleLoad": Meaning(
        "module_load",
        "dll",
        lambda raw: {"file_path": raw.get("ImageFileName"), "process_path": raw.get("TargetImageFileName")},
    ),
    "DriverLoad": Meaning("module_load", "driver", lambda raw: {"file_path": raw.get("ImageFileName")}),
    "ServiceStarted": Meaning(
        "service",
        "state",
        lambda raw: {"service_name": raw.get("ServiceDisplayName"), "service_cmd_line": raw.get("CommandLine")},
    ),
    "CreateService": Meaning(
        "service",
        "install",
        lambda raw: {"service_name": raw.get("ServiceDisplayName"), "service_cmd_line": raw.get("ServiceImagePath")},
    ),
    "ScheduledTaskRegistered": Meaning(
        "task",
        "create",
        lambda raw: {
            "job_name": raw.get("TaskName"),
            "job_cmd_line": " ".join(
                str(raw[name]) for name in ("TaskExecCommand", "TaskExecArguments") if raw.get(name)
            ),
        },
    ),
    "CommandHistory": Meaning("script", "pipeline", lambda raw: {"script_text": raw.get("CommandHistory")}),
    "ScriptControlScanTelemetry": Meaning("script", "block", lambda raw: {"script_text": raw.get("ScriptContent")}),
    "ScriptControlScanInfo": Meaning("script", "block", lambda raw: {"script_text": raw.get("ScriptContent")}),
    "UserAccountCreated": Meaning("account", "create", lambda raw: {"user_name": raw.get("UserName")}),
    "UserAccountAddedToGroup": Meaning(
        "group", "member_add", lambda raw: {"user_name": raw.get("UserName"), "group_name": raw.get("GroupName")}
    ),
}


def is_falcon(raw: Raw) -> bool:
    """Return whether a record is an event of the Falcon sensor."""
    return "event_simpleName" in raw or "#event_simpleName" in raw


def convert_falcon(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when a Falcon event was made and what it becomes, by its name."""
    name = str(first_of(raw, ("event_simpleName", "#event_simpleName")))
    moment = read_time(first_of(raw, ("ContextTimeStamp", "timestamp", "@timestamp", "_time")))
    meaning = _FALCON.get(name)
    if meaning is None:
        return moment, Skipped(f"no mapping for Falcon event {name}")
    common = {
        "device_hostname": first_of(raw, ("ComputerName", "aid")),
        "actor_user": first_of(raw, ("UserName", "UserPrincipal", "UserSid")),
    }
    return moment, draft_event(meaning.event_type, meaning.activity, common | meaning.values(raw))


FORMATS = (
    Format(
        "CrowdStrike Falcon",
        is_falcon,
        convert_falcon,
        ("windows/process_creation", "windows/network_connection", "windows/dns_query"),
        "Falcon Data Replicator, or a search's export",
    ),
    Format(
        "Elastic Defend and ECS",
        is_ecs,
        convert_ecs,
        ("windows/process_creation", "linux/process_creation", "windows/network_connection", "windows/file_event"),
        "Elastic Defend, Endgame, Auditbeat, Packetbeat: documents of a search",
    ),
)
