"""Sentinel's tables in ASIM, the form to which its parsers normalise every source (ASimProcessEventLogs and its neighbours).

Source: Microsoft, "Advanced Security Information Model (ASIM) schemas": process, file, registry, network session, DNS, web
session, authentication, user management, audit and alert events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.security import registry_path
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_int, compact, first_of, json_value

Raw = Mapping[str, Any]
Names = str | tuple[str, ...]
Values = dict[str, Any]


class Schema(NamedTuple):
    """A schema of ASIM: a column that only its rows have, its event types as activities, and the columns of the fields."""

    name: str
    column: str
    event_type: str
    activities: Mapping[str, str]
    columns: Mapping[str, Names]
    adjust: Callable[[Raw, Values], None] | None = None


def _registry(raw: Raw, values: Values) -> None:
    key, name = registry_path(raw.get("RegistryKey")), raw.get("RegistryValue")
    values["reg_key_path"] = f"{key}\\{name}" if name else key


def _session(raw: Raw, values: Values) -> None:
    words = {"inbound": "inbound", "outbound": "outbound", "local": "lateral"}
    values["direction"] = words.get(str(raw.get("NetworkDirection")).lower())
    if str(raw.get("DvcAction")).lower() in ("deny", "drop", "block", "reset"):
        values["activity"] = "block"


def _sign_in(raw: Raw, values: Values) -> None:
    if values["activity"] == "success" and str(raw.get("EventResult")).lower() == "failure":
        values["activity"] = "failure"
    values["actor_user"] = raw.get("ActorUsername")


def _request(raw: Raw, values: Values) -> None:
    code = clean_int(raw.get("EventResultDetails") or "x")
    values["status_code"] = code


def _alert(raw: Raw, values: Values) -> None:
    if "malware" in f"{values.get('finding_title')} {raw.get('ThreatCategory')}".lower():
        values["activity"] = "malware"


def _audit(raw: Raw, values: Values) -> None:
    failed = str(raw.get("EventResult")).lower() == "failure"
    values["api_error"] = first_of(raw, ("EventResultDetails", "EventResult")) if failed else None
    values["resources"] = compact(json_value(first_of(raw, ("NewValue", "Value", "Object"))))


_ENDS: Mapping[str, Names] = {
    "src_ip": "SrcIpAddr",
    "src_port": "SrcPortNumber",
    "dst_ip": "DstIpAddr",
    "dst_port": "DstPortNumber",
    "dst_hostname": ("DstFQDN", "DstHostname", "DstDomain"),
    "bytes_out": "SrcBytes",
    "bytes_in": "DstBytes",
    "process_path": ("SrcProcessName", "ActingProcessName"),
}
SCHEMAS = (
    Schema(
        "ProcessEvent",
        "TargetProcessName",
        "process",
        {"ProcessCreated": "launch", "ProcessTerminated": "terminate"},
        {
            "process_path": ("TargetProcessName", "Process"),
            "process_cmd_line": ("TargetProcessCommandLine", "CommandLine"),
            "process_pid": "TargetProcessId",
            "process_uid": "TargetProcessGuid",
            "process_integrity": "TargetProcessIntegrityLevel",
            "process_hashes": ("TargetProcessSHA256", "TargetProcessSHA1", "TargetProcessMD5", "Hash"),
            "process_original_name": "TargetProcessFileOriginalName",
            "process_company": "TargetProcessFileCompany",
            "parent_path": ("ActingProcessName", "ParentProcessName"),
            "parent_cmd_line": "ActingProcessCommandLine",
        },
    ),
    Schema(
        "FileEvent",
        "TargetFilePath",
        "file",
        {
            "FileCreated": "create",
            "FileCopied": "create",
            "FileModified": "modify",
            "FileRenamed": "modify",
            "FileMoved": "modify",
            "FileDeleted": "delete",
        },
        {
            "file_path": ("TargetFilePath", "FilePath"),
            "process_path": ("ActingProcessName", "Process"),
            "file_hashes": ("TargetFileSHA256", "TargetFileSHA1", "Hash"),
        },
    ),
    Schema(
        "RegistryEvent",
        "RegistryKey",
        "registry",
        {
            "RegistryValueSet": "set",
            "RegistryKeyCreated": "key_create",
            "RegistryKeyRenamed": "rename",
            "RegistryKeyDeleted": "key_delete",
            "RegistryValueDeleted": "key_delete",
        },
        {"reg_value_data": "RegistryValueData", "process_path": ("ActingProcessName", "Process")},
        _registry,
    ),
    Schema(
        "Dns",
        "DnsQuery",
        "dns_query",
        {"Query": "query", "lookup": "query"},
        {
            "query_hostname": ("DnsQuery", "Domain"),
            "answers": "DnsResponseName",
            "src_ip": "SrcIpAddr",
            "process_path": "SrcProcessName",
        },
    ),
    Schema(
        "WebSession",
        "Url",
        "http",
        {"HTTPsession": "request", "WebServerSession": "request", "ApiRequest": "request"},
        {
            "url": "Url",
            "user_agent": "HttpUserAgent",
            "http_method": "HttpRequestMethod",
            "bytes_out": "SrcBytes",
            "bytes_in": "DstBytes",
            "src_ip": "SrcIpAddr",
            "dst_ip": "DstIpAddr",
        },
        _request,
    ),
    Schema(
        "UserManagement",
        "TargetUsernameType",
        "account",
        {
            "UserCreated": "create",
            "UserDeleted": "delete",
            "UserModified": "modify",
            "UserLocked": "modify",
            "UserUnlocked": "modify",
            "UserDisabled": "disable",
            "UserEnabled": "enable",
            "PasswordChanged": "password_change",
            "PasswordReset": "password_reset",
        },
        {"user_name": "TargetUsername", "attributes": "NewPropertyValue", "src_ip": "SrcIpAddr"},
    ),
    Schema(
        "UserManagement",
        "GroupName",
        "group",
        {"UserAddedToGroup": "member_add", "UserRemovedFromGroup": "member_remove", "UserReadGroup": "enumerate"},
        {"group_name": "GroupName", "user_name": "TargetUsername", "src_ip": "SrcIpAddr"},
    ),
    Schema(
        "Authentication",
        "TargetUsername",
        "logon",
        {"Logon": "success", "Logoff": "logoff", "LogonFailed": "failure"},
        {
            "user_name": "TargetUsername",
            "auth_protocol": ("LogonProtocol", "LogonMethod"),
            "src_ip": "SrcIpAddr",
            "status": ("EventOriginalResultDetails", "EventResultDetails"),
            "logon_process": "TargetAppName",
            "target_hostname": "TargetHostname",
            "src_hostname": "SrcHostname",
        },
        _sign_in,
    ),
    Schema(
        "AlertEvent",
        "AlertName",
        "detection",
        {"Alert": "ids_notice"},
        {
            "finding_title": ("AlertName", "EventMessage", "ThreatName"),
            "severity": "EventSeverity",
            "file_path": "FilePath",
            "src_ip": "SrcIpAddr",
            "dst_ip": "DstIpAddr",
        },
        _alert,
    ),
    Schema(
        "AuditEvent",
        "Operation",
        "cloud_api",
        dict.fromkeys(
            ("Set", "Read", "Create", "Delete", "Execute", "Install", "Clear", "Enable", "Disable", "Other"), "call"
        ),
        {
            "user_uid": "ActorUsername",
            "user_type": "ActorUserType",
            "src_ip": "SrcIpAddr",
            "user_agent": "HttpUserAgent",
            "api_service": ("TargetAppName", "EventProduct"),
            "api_operation": "Operation",
        },
        _audit,
    ),
    Schema(
        "NetworkSession",
        "DstIpAddr",
        "net_conn",
        {"NetworkSession": "flow", "EndpointNetworkSession": "open", "Flow": "flow", "L2NetworkSession": "flow"},
        _ENDS,
        _session,
    ),
)


def is_asim(raw: Raw) -> bool:
    """Return whether a row is in ASIM: it says its schema, or who made it beside an event type of a schema."""
    return "EventType" in raw and (
        "EventSchema" in raw
        or "EventSchemaVersion" in raw
        or str(raw.get("Type")).startswith("ASim")
        or ("EventProduct" in raw and "EventVendor" in raw)
    )


def _schema_of(raw: Raw) -> Schema | None:
    """Return the schema of a row, by the event type and what the row says or its columns."""
    kind = str(raw.get("EventType"))
    named = f"{first_of(raw, ('EventSchema',)) or ''} {raw.get('Type') or ''}"
    fits = [schema for schema in SCHEMAS if kind in schema.activities]
    return next((schema for schema in fits if schema.name in named or schema.column in raw), None)


def convert_asim(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when a row's event began and what it becomes, by its schema and event type."""
    moment = read_time(first_of(raw, ("EventStartTime", "TimeGenerated", "EventEndTime")))
    schema = _schema_of(raw)
    if schema is None:
        return moment, Skipped(f"no mapping for ASIM event {raw.get('EventSchema') or ''} {raw.get('EventType')}")
    values: Values = {
        name: raw.get(names) if isinstance(names, str) else first_of(raw, names)
        for name, names in schema.columns.items()
    }
    values |= {
        "activity": schema.activities[str(raw["EventType"])],
        "device_hostname": first_of(raw, ("DvcFQDN", "DvcHostname", "Dvc")),
        "actor_user": first_of(raw, ("ActorUsername", "SrcUsername", "User")),
        "session_uid": first_of(raw, ("ActorSessionId", "TargetSessionId")),
    }
    if schema.adjust:
        schema.adjust(raw, values)
    return moment, draft_event(schema.event_type, values.pop("activity"), values)


FORMATS = (
    Format(
        "Sentinel ASIM",
        is_asim,
        convert_asim,
        ("windows/process_creation", "windows/file_event", "windows/registry_event", "windows/dns_query"),
        "a query of Sentinel's normalised tables or parsers (_Im_...)",
    ),
)
