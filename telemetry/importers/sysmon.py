"""Sysmon: what each event id becomes. Source: Microsoft, "Sysmon v15" (event ids and fields)."""

from __future__ import annotations

from typing import Any

from telemetry.importers.events import scope_of
from telemetry.importers.values import clean_int, clean_ip
from telemetry.importers.windows import EventMapping, Names, Table, WindowsRecord
from world import PRIVATE_NETWORKS

PROVIDERS = frozenset({"microsoft-windows-sysmon", "linux-sysmon"})
ACTOR = ("User", "SourceUser")


def _row(event_type: str, activity: str, adjust: Any = None, **fields: Names) -> EventMapping:
    return EventMapping(event_type, activity, fields, adjust, actor=ACTOR, session="LogonId")


def _direction(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Add who opened a connection, by `Initiated`; with both ends inside it is lateral."""
    ends = [clean_ip(str(values.get(end) or "")) for end in ("src_ip", "dst_ip")]
    inside = all(end and scope_of(end, PRIVATE_NETWORKS) == "internal" for end in ends)
    initiated = str(record.get("Initiated")).lower()
    if initiated in ("true", "false"):
        values["direction"] = "lateral" if inside else "outbound" if initiated == "true" else "inbound"


def _signature(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Add the state of the signature: signed and valid, not signed, signed and not valid, or unknown to Sysmon."""
    signed, status = str(record.get("Signed")).lower(), str(record.get("SignatureStatus") or "").lower()
    if signed == "false":
        values["signature_state"] = "unsigned"
    elif signed == "true":
        values["signature_state"] = (
            "signed" if status in ("valid", "") else "unknown" if status == "unavailable" else "invalid"
        )


# Some collectors overwrite EventType with their own severity, so the rendered message is the second source.
_KEY_CHANGES = {"createkey": "key_create", "deletekey": "key_delete", "deletevalue": "key_delete", "createvalue": "set"}


def _key_change(record: WindowsRecord, values: dict[str, Any]) -> str | None:
    """Set the activity by the event's own type."""
    for change in (record.get("EventType"), record.message_value("EventType")):
        if str(change).lower() in _KEY_CHANGES:
            values["activity"] = _KEY_CHANGES[str(change).lower()]
            return None
    return "its EventType was overwritten, so that making cannot be told from removing"


def _subscription(record: WindowsRecord, values: dict[str, Any]) -> str | None:
    """Unquote WMI strings, whose backslashes are doubled; a consumer's script may stand in the message alone."""
    if str(record.get("Operation") or record.message_value("Operation")).lower() == "deleted":
        return "a part of a WMI subscription is removed"
    if record.event_id == 20 and not values.get("wmi_consumer"):
        values["wmi_consumer"] = record.message.partition("Destination:")[2]
    for name in ("wmi_query", "wmi_consumer"):
        if values.get(name):
            values[name] = str(values[name]).strip().strip('"').replace("\\\\", "\\")
    return None


def _new_thread(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Let the address stand for a module that Sysmon does not name: the thread starts in memory that no file backs."""
    if not values.get("start_module") and (start := record.get("StartAddress")):
        number = clean_int(start)
        values["start_module"] = hex(number) if number is not None else start


_FILE: dict[str, Names] = {"file_path": "TargetFilename", "process_path": "Image", "file_hashes": ("Hashes", "Hash")}
_MODULE: dict[str, Names] = {
    "file_path": "ImageLoaded",
    "signature_subject": "Signature",
    "process_path": "Image",
}

TABLE: Table = {
    1: _row(
        "process",
        "launch",
        process_path="Image",
        process_cmd_line="CommandLine",
        process_pid="ProcessId",
        process_uid="ProcessGuid",
        process_integrity="IntegrityLevel",
        process_hashes="Hashes",
        process_original_name="OriginalFileName",
        process_company="Company",
        parent_path="ParentImage",
        parent_cmd_line="ParentCommandLine",
    ),
    2: _row("file", "time_change", **_FILE),
    3: _row(
        "net_conn",
        "open",
        _direction,
        src_ip="SourceIp",
        src_port="SourcePort",
        dst_ip="DestinationIp",
        dst_port="DestinationPort",
        dst_hostname="DestinationHostname",
        process_path="Image",
    ),
    4: _row(
        "control_change",
        "sensor_config",
        lambda _, values: values.update(control_name="Sysmon service"),
        new_value="State",
    ),
    5: _row("process", "terminate", process_path="Image", process_pid="ProcessId", process_uid="ProcessGuid"),
    6: _row("module_load", "driver", _signature, **_MODULE),
    7: _row("module_load", "dll", _signature, **_MODULE),
    8: _row(
        "process_inject",
        "remote_thread",
        _new_thread,
        process_path="SourceImage",
        target_path="TargetImage",
        start_module="StartModule",
    ),
    9: _row("file", "raw_read", file_path="Device", process_path="Image"),
    10: _row(
        "process_access",
        "open",
        process_path="SourceImage",
        target_path="TargetImage",
        access_mask="GrantedAccess",
        call_trace="CallTrace",
    ),
    11: _row("file", "create", **_FILE),
    12: _row("registry", "key_create", _key_change, reg_key_path="TargetObject", process_path="Image"),
    13: _row("registry", "set", reg_key_path="TargetObject", reg_value_data="Details", process_path="Image"),
    14: _row("registry", "rename", reg_key_path="TargetObject", reg_value_data="NewName", process_path="Image"),
    15: _row("file", "stream", **_FILE),
    16: _row(
        "control_change",
        "sensor_config",
        lambda _, values: values.update(control_name="Sysmon configuration"),
        new_value="Configuration",
    ),
    17: _row("pipe", "create", pipe_name="PipeName", process_path="Image"),
    18: _row("pipe", "connect", pipe_name="PipeName", process_path="Image"),
    19: _row("wmi", "filter", _subscription, wmi_query="Query"),
    20: _row("wmi", "consumer", _subscription, wmi_consumer="Destination"),
    21: _row("wmi", "binding", _subscription, wmi_consumer="Consumer"),
    22: _row("dns_query", "query", query_hostname="QueryName", answers="QueryResults", process_path="Image"),
    23: _row("file", "delete", **_FILE),
    24: "a clipboard change has no event type",
    25: _row("process_inject", "tamper", process_path="Image"),
    26: _row("file", "delete", **_FILE),
    27: _row("file", "blocked", **_FILE),
    28: _row("file", "blocked", **_FILE),
    29: _row("file", "create", **_FILE),
    255: "an error of the sensor itself",
}
