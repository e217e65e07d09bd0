"""Exports of endpoint products beside those that write ECS: SentinelOne, Falcon's detections, Carbon Black, Cortex XDR, Sophos; and nfdump.

Sources: SentinelOne, "Deep Visibility: query fields" and "Singularity Data Lake: event fields", threats of the management API; CrowdStrike,
"Detections and alerts APIs"; Carbon Black Cloud, "Process search", and EDR's event forwarder; Palo Alto Networks, "Cortex XDR: XQL
schema" and "Get alerts"; Sophos, "Endpoint events API"; nfdump(1), output format csv.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, is_blank, mapping

Raw = Mapping[str, Any]


class Row(NamedTuple):
    """What one kind of record becomes, and where each field stands: names of members joined by dots; of several the first that says something counts."""

    event_type: str
    activity: str
    places: Mapping[str, tuple[str, ...]]


def _place(raw: Raw, path: str) -> Any:
    """Return the value of a dotted key or at a dotted path; of each list its first."""
    node: Any = raw
    for name in (path,) if path in raw else path.split("."):
        node = mapping(node).get(name)
        node = node[0] if isinstance(node, list) and node else node
    return node


def _first(raw: Raw, places: tuple[str, ...]) -> Any:
    return next((value for path in places if not is_blank(value := _place(raw, path))), None)


def _made(raw: Raw, row: Row | None, product: str, kind: object) -> Imported:
    if row is None:
        return Skipped(f"no mapping for {product} {kind}")
    return draft_event(row.event_type, row.activity, {name: _first(raw, places) for name, places in row.places.items()})


# ---------------------------------------------------------------- SentinelOne
_WHO: Mapping[str, tuple[str, ...]] = {
    "device_hostname": ("endpoint.name", "agentComputerName", "agentName", "endpointName"),
    "actor_user": ("src.process.user", "srcProcUser", "user", "processUserName"),
}
_BY: Mapping[str, tuple[str, ...]] = {
    **_WHO,
    "process_path": ("src.process.image.path", "srcProcImagePath", "processImagePath", "processName"),
}
_ENDS: Mapping[str, tuple[str, ...]] = {
    **_BY,
    "src_ip": ("src.ip.address", "srcIp"),
    "src_port": ("src.port.number", "srcPort"),
    "dst_ip": ("dst.ip.address", "dstIp"),
    "dst_port": ("dst.port.number", "dstPort"),
}
_S1_LAUNCH = Row(
    "process",
    "launch",
    {
        **_WHO,
        "process_path": ("tgt.process.image.path", "tgtProcImagePath", "processImagePath", "processName"),
        "process_cmd_line": ("tgt.process.cmdline", "tgtProcCmdLine", "processCmd", "cmdLine"),
        "process_pid": ("tgt.process.pid", "tgtProcPid", "pid"),
        "process_integrity": ("tgt.process.integrityLevel", "tgtProcIntegrityLevel", "processIntegrityLevel"),
        "parent_path": ("src.process.image.path", "srcProcImagePath", "parentProcessName", "srcProcName"),
        "parent_cmd_line": ("src.process.cmdline", "srcProcCmdLine"),
    },
)
_S1_FILE = {**_BY, "file_path": ("tgt.file.path", "tgtFilePath", "fileFullName")}
_S1_KEY = {
    **_BY,
    "reg_key_path": ("registry.keyPath", "registryKeyPath", "registryPath"),
    "reg_value_data": ("registry.value", "registryValue"),
}
_SENTINEL_ONE: Mapping[str, Row] = {
    "process creation": _S1_LAUNCH,
    "ip connect": Row("net_conn", "open", _ENDS),
    "ip listen": Row("net_conn", "listen", _ENDS),
    "dns resolved": Row("dns_query", "query", {**_BY, "query_hostname": ("event.dns.request", "dnsRequest")}),
    "dns unresolved": Row("dns_query", "query", {**_BY, "query_hostname": ("event.dns.request", "dnsRequest")}),
    "file creation": Row("file", "create", _S1_FILE),
    "file modification": Row("file", "modify", _S1_FILE),
    "file rename": Row("file", "modify", _S1_FILE),
    "file deletion": Row("file", "delete", _S1_FILE),
    "registry key create": Row("registry", "key_create", _S1_KEY),
    "registry key delete": Row("registry", "key_delete", _S1_KEY),
    "registry value create": Row("registry", "set", _S1_KEY),
    "registry value modified": Row("registry", "set", _S1_KEY),
    "remote thread": Row("process_inject", "remote_thread", {**_BY, "target_path": ("tgt.process.image.path",)}),
    "login": Row(
        "logon",
        "success",
        {"device_hostname": _WHO["device_hostname"], "user_name": ("event.login.userName", "loginsUserName"), "src_ip": ("src.endpoint.ip.address", "srcMachineIp")},
    ),
}  # fmt: skip
_S1_KIND = ("event.type", "eventType")


def is_sentinel_one(raw: Raw) -> bool:
    """Return whether a record is an event of Deep Visibility or the Singularity Data Lake."""
    if "eventType" in raw:
        return "agentName" in raw or "agentComputerName" in raw or "srcProcName" in raw
    kind = _place(raw, "event.type")
    return isinstance(kind, str) and kind.lower() in _SENTINEL_ONE and _place(raw, "endpoint.name") is not None


def convert_sentinel_one(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of an event what its type says."""
    kind = str(_first(raw, _S1_KIND) or "")
    moment = read_time(_first(raw, ("event.time", "eventTime", "createdAt", "@timestamp")))
    return moment, _made(raw, _SENTINEL_ONE.get(kind.lower()), "SentinelOne", kind)


_THREAT = Row(
    "detection",
    "malware",
    {
        "device_hostname": ("agentRealtimeInfo.agentComputerName", "agentDetectionInfo.agentComputerName"),
        "actor_user": ("threatInfo.processUser",),
        "finding_title": ("threatInfo.threatName", "threatInfo.classification"),
        "severity": ("threatInfo.confidenceLevel",),
        "file_path": ("threatInfo.filePath",),
    },
)


def is_threat(raw: Raw) -> bool:
    """Return whether a record is a threat of SentinelOne's management API."""
    return "threatName" in mapping(raw.get("threatInfo"))


def convert_threat(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of a threat; what SentinelOne is sure of is severe."""
    sure = str(_place(raw, "threatInfo.confidenceLevel")).lower() == "malicious"
    info = {**mapping(raw.get("threatInfo")), "confidenceLevel": "high" if sure else "medium"}
    moment = read_time(first_of(info, ("identifiedAt", "createdAt")))
    return moment, _made({**raw, "threatInfo": info}, _THREAT, "SentinelOne", "threat")


# ---------------------------------------------------------------- Falcon's detections
_DETECTION = Row(
    "detection",
    "ids_notice",
    {
        "device_hostname": ("device.hostname", "host_name", "hostname"),
        "actor_user": ("behaviors.user_name", "user_name"),
        "finding_title": ("behaviors.display_name", "display_name", "behaviors.scenario", "name", "description"),
        "severity": ("max_severity_displayname", "severity_name", "severity"),
        "file_path": ("behaviors.filepath", "filepath"),
    },
)


def is_falcon_detection(raw: Raw) -> bool:
    """Return whether a record is a detection of Falcon, of the detections API or of alerts."""
    return ("behaviors" in raw and "detection_id" in raw) or ("composite_id" in raw and "severity_name" in raw)


def convert_falcon_detection(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of Falcon's, by its first behaviour."""
    places = ("behaviors.timestamp", "timestamp", "created_timestamp", "first_behavior")
    return read_time(_first(raw, places)), _made(raw, _DETECTION, "Falcon", "detection")


# ---------------------------------------------------------------- Carbon Black
_CB_LAUNCH = Row(
    "process",
    "launch",
    {
        "device_hostname": ("device_name", "computer_name"),
        "actor_user": ("process_username", "childproc_username", "username"),
        "process_path": ("process_name", "path"),
        "process_cmd_line": ("process_cmdline", "target_cmdline", "command_line"),
        "process_pid": ("process_pid", "pid"),
        "parent_path": ("parent_name", "parent_path"),
        "parent_cmd_line": ("parent_cmdline",),
    },
)
_CB_BY = {
    "device_hostname": ("computer_name", "device_name"),
    "actor_user": ("username", "process_username"),
    "process_path": ("process_path", "path"),
}
_CB_FILE = {**_CB_BY, "file_path": ("path", "filemod_name"), "process_path": ("process_path",)}
_CARBON_BLACK: Mapping[str, Row] = {
    "procstart": _CB_LAUNCH,
    "netconn": Row(
        "net_conn",
        "open",
        {**_CB_BY, "dst_ip": ("remote_ip",), "dst_port": ("remote_port",), "src_ip": ("local_ip",), "src_port": ("local_port",), "dst_hostname": ("domain", "netconn_domain")},
    ),
    "filemod": Row("file", "create", _CB_FILE),
    "moduleload": Row("module_load", "dll", {**_CB_BY, "file_path": ("path",), "process_path": ("process_path",)}),
    "regmod": Row("registry", "set", {**_CB_BY, "reg_key_path": ("path", "regmod_name"), "process_path": ("process_path",)}),
}  # fmt: skip


def is_carbon_black(raw: Raw) -> bool:
    """Return whether a record is a process of a search in Carbon Black Cloud, or an event of a forwarder."""
    if "device_timestamp" in raw or "backend_timestamp" in raw:
        return "process_name" in raw or "process_cmdline" in raw
    kind = str(raw.get("type"))
    return kind.startswith(("ingress.event.", "endpoint.event.")) and ("computer_name" in raw or "device_name" in raw)


def convert_carbon_black(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a launch of a process, else what an event's type says."""
    kind = str(raw.get("type") or "procstart").rpartition(".")[2]
    moment = read_time(first_of(raw, ("device_timestamp", "timestamp", "create_time", "backend_timestamp")))
    return moment, _made(raw, _CARBON_BLACK.get(kind), "Carbon Black", kind)


# ---------------------------------------------------------------- Cortex XDR
_CX_BY = {
    "device_hostname": ("agent_hostname", "host_name"),
    "actor_user": ("actor_effective_username", "actor_primary_username", "user_name"),
    "process_path": ("actor_process_image_path",),
}
_CORTEX: Mapping[str, Row] = {
    "process": Row(
        "process",
        "launch",
        {
            **_CX_BY,
            "process_path": ("action_process_image_path",),
            "process_cmd_line": ("action_process_image_command_line",),
            "process_pid": ("action_process_os_pid",),
            "parent_path": ("actor_process_image_path",),
            "parent_cmd_line": ("actor_process_command_line",),
        },
    ),
    "network": Row(
        "net_conn",
        "open",
        {**_CX_BY, "src_ip": ("action_local_ip",), "dst_ip": ("action_remote_ip",), "dst_port": ("action_remote_port",), "dst_hostname": ("action_external_hostname",)},
    ),
    "file": Row("file", "create", {**_CX_BY, "file_path": ("action_file_path",)}),
    "registry": Row("registry", "set", {**_CX_BY, "reg_key_path": ("action_registry_key_name",), "reg_value_data": ("action_registry_data",)}),
    "load_image": Row("module_load", "dll", {**_CX_BY, "file_path": ("action_module_path",)}),
}  # fmt: skip
_CORTEX_ALERT = _DETECTION._replace(places={**_DETECTION.places, "finding_title": ("name", "category")})


def is_cortex(raw: Raw) -> bool:
    """Return whether a record is a row of Cortex XDR's query language, or one of its alerts."""
    is_row = "event_type" in raw and ("agent_hostname" in raw or "actor_process_image_path" in raw)
    return is_row or _is_cortex_alert(raw)


def _is_cortex_alert(raw: Raw) -> bool:
    return "alert_id" in raw and "detection_timestamp" in raw


def convert_cortex(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of a row what its type says, and a detection of an alert."""
    if _is_cortex_alert(raw):
        return read_time(raw["detection_timestamp"]), _made(raw, _CORTEX_ALERT, "Cortex", "alert")
    kind = str(raw.get("event_type")).lower().removeprefix("enum.")
    return read_time(first_of(raw, ("_time", "event_timestamp"))), _made(raw, _CORTEX.get(kind), "Cortex XDR", kind)


# ---------------------------------------------------------------- Sophos
def is_sophos(raw: Raw) -> bool:
    """Return whether a record is an event of Sophos Central."""
    return str(raw.get("type")).startswith("Event::") and "severity" in raw and ("when" in raw or "created_at" in raw)


def convert_sophos(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of an event about a threat; others are the product's own affairs."""
    kind = str(raw.get("type"))
    if "Threat" not in kind and "Hmpa" not in kind and "Core" not in kind:
        return None, Skipped(f"no mapping for Sophos {kind}")
    values = {
        "device_hostname": raw.get("location"),
        "actor_user": raw.get("source"),
        "finding_title": first_of(raw, ("name", "threat")),
        "severity": raw.get("severity"),
    }
    moment = read_time(first_of(raw, ("when", "created_at")))
    return moment, draft_event("detection", "ids_notice", values)


# ---------------------------------------------------------------- nfdump
def is_nfdump(raw: Raw) -> bool:
    """Return whether a record is a row of nfdump's CSV."""
    return all(name in raw for name in ("ts", "sa", "da", "sp", "dp"))


def convert_nfdump(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of a flow."""
    values = {
        "src_ip": raw["sa"],
        "src_port": raw["sp"],
        "dst_ip": raw["da"],
        "dst_port": raw["dp"],
        "bytes_out": raw.get("ibyt"),
        "bytes_in": raw.get("obyt"),
    }
    return read_time(raw["ts"]), draft_event("net_conn", "flow", values)


_EVENTS = ("windows/process_creation", "windows/network_connection", "windows/file_event")
FORMATS = (
    Format("SentinelOne events", is_sentinel_one, convert_sentinel_one, _EVENTS, "a query's export, or its API"),
    Format("SentinelOne threats", is_threat, convert_threat, ("sentinelone/threats",), "the management API"),
    Format(
        "Falcon detections",
        is_falcon_detection,
        convert_falcon_detection,
        ("crowdstrike/detections",),
        "the detections or alerts API",
    ),
    Format("Carbon Black", is_carbon_black, convert_carbon_black, _EVENTS, "a process search, or an event forwarder"),
    Format("Cortex XDR", is_cortex, convert_cortex, _EVENTS, "an XQL query's export, or the alerts API"),
    Format(
        "Sophos Central", is_sophos, convert_sophos, ("sophos/events",), "the endpoint events API, or the SIEM script"
    ),
    Format("nfdump", is_nfdump, convert_nfdump, ("netflow",), "`nfdump -o csv`"),
)
