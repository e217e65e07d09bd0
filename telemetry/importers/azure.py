"""Microsoft cloud tables (Azure AD, Microsoft 365 Defender, Office 365) and Kubernetes audit.

Source: Microsoft, "Azure Monitor table reference" and "Advanced hunting schema"; Kubernetes, "Auditing". The tables
SecurityEvent and Event hold Windows records and are read as such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.cloudtrail import compact
from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, mapping


def is_azure(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record is a row of one of these tables."""
    return (
        ("ActionType" in raw and ("Timestamp" in raw or "TimeGenerated" in raw))
        or ("OperationName" in raw and "TimeGenerated" in raw)
        or ("Workload" in raw and "Operation" in raw)
        or ("UserPrincipalName" in raw and "ResultType" in raw)
        or ("BytesSent" in raw and "DestinationPort" in raw and "RemoteIp" in raw)
        or ("verb" in raw and "objectRef" in raw)
    )


def _inner(value: object) -> Any:
    """Parse a column that holds JSON as text; return the text itself if it is no JSON."""
    if not isinstance(value, str) or value[:1] not in "[{":
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _path(raw: Mapping[str, Any], folder: str, name: str) -> str | None:
    """Join folder and file name; some tables already give the whole path as folder."""
    where, what = str(raw.get(folder) or ""), str(raw.get(name) or "")
    if not where or not what or where.lower().endswith(what.lower()):
        return where or what or None
    return f"{where}\\{what}"


def _device(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "device_hostname": raw.get("DeviceName"),
        "actor_user": first_of(raw, ("InitiatingProcessAccountName", "AccountName", "AccountDisplayName")),
        "session_uid": first_of(raw, ("InitiatingProcessLogonId", "LogonId")),
    }


def _initiating(raw: Mapping[str, Any]) -> str | None:
    return _path(raw, "InitiatingProcessFolderPath", "InitiatingProcessFileName")


def _process(raw: Mapping[str, Any]) -> Imported:
    hashes = ",".join(f"{name}={raw[name]}" for name in ("SHA1", "MD5", "SHA256") if raw.get(name))
    values = {
        **_device(raw),
        "process_path": _path(raw, "FolderPath", "FileName"),
        "process_cmd_line": raw.get("ProcessCommandLine"),
        "process_pid": raw.get("ProcessId"),
        "process_integrity": raw.get("ProcessIntegrityLevel"),
        "process_hashes": hashes,
        "process_original_name": raw.get("ProcessVersionInfoOriginalFileName"),
        "process_company": raw.get("ProcessVersionInfoCompanyName"),
        "parent_path": _initiating(raw),
        "parent_cmd_line": raw.get("InitiatingProcessCommandLine"),
    }
    return draft_event("process", "launch", values)


def _connection(activity: str) -> Callable[[Mapping[str, Any]], Imported]:
    def make(raw: Mapping[str, Any]) -> Imported:
        values = {
            **_device(raw),
            "src_ip": raw.get("LocalIP"),
            "src_port": raw.get("LocalPort"),
            "dst_ip": raw.get("RemoteIP"),
            "dst_port": raw.get("RemotePort"),
            "dst_hostname": raw.get("RemoteUrl"),
            "process_path": _initiating(raw),
        }
        return draft_event("net_conn", activity, values)

    return make


def _file(activity: str) -> Callable[[Mapping[str, Any]], Imported]:
    def make(raw: Mapping[str, Any]) -> Imported:
        values = {
            **_device(raw),
            "file_path": _path(raw, "FolderPath", "FileName"),
            "process_path": _initiating(raw),
            "file_hashes": raw.get("SHA256") or raw.get("SHA1"),
        }
        return draft_event("file", activity, values)

    return make


def _registry(activity: str) -> Callable[[Mapping[str, Any]], Imported]:
    def make(raw: Mapping[str, Any]) -> Imported:
        key, name = raw.get("RegistryKey") or "", raw.get("RegistryValueName")
        values = {
            **_device(raw),
            "reg_key_path": f"{key}\\{name}" if name else key,
            "reg_value_data": raw.get("RegistryValueData"),
            "process_path": _initiating(raw),
        }
        return draft_event("registry", activity, values)

    return make


def _logon(activity: str) -> Callable[[Mapping[str, Any]], Imported]:
    def make(raw: Mapping[str, Any]) -> Imported:
        values = {
            "device_hostname": raw.get("DeviceName"),
            "user_name": raw.get("AccountName"),
            "src_ip": raw.get("RemoteIP"),
            "auth_protocol": raw.get("Protocol"),
            "status": raw.get("FailureReason"),
        }
        return draft_event("logon", activity, values)

    return make


def _ldap(raw: Mapping[str, Any]) -> Imported:
    details = mapping(
        _inner(first_of(raw, ("AdditionalFields", "AdditionalFields_string", "AdditionalFields_dynamic")))
    )
    values = {
        **_device(raw),
        "object_dn": details.get("DistinguishedName"),
        "object_type": "LDAP search",
        "properties": " ".join(
            filter(None, (compact(details.get("SearchFilter")), compact(details.get("AttributeList"))))
        ),
    }
    return draft_event("directory", "access", values)


def _replication(raw: Mapping[str, Any]) -> Imported:
    values = {**_device(raw), "src_ip": raw.get("IPAddress"), "object_type": raw.get("Application")}
    return draft_event("directory", "replication", values)


def _app_call(raw: Mapping[str, Any]) -> Imported:
    """Make a cloud call of app events and of whatever else a hunting table names only by its action."""
    values = {
        **_device(raw),
        "user_uid": first_of(raw, ("AccountUpn", "AccountObjectId", "AccountDisplayName")),
        "user_type": raw.get("AccountType"),
        "src_ip": raw.get("IPAddress"),
        "user_agent": raw.get("UserAgent"),
        "api_service": raw.get("Application"),
        "api_operation": raw.get("ActionType"),
        "resources": compact(
            _inner(raw.get("ObjectName") or raw.get("ActivityObjects") or raw.get("AdditionalFields"))
        ),
    }
    return draft_event("cloud_api", "call", values)


ACTIONS: Mapping[str, Callable[[Mapping[str, Any]], Imported]] = {
    "ProcessCreated": _process,
    "ConnectionSuccess": _connection("open"),
    "ConnectionFailed": _connection("open"),
    "ConnectionRequest": _connection("open"),
    "InboundConnectionAccepted": _connection("allow"),
    "ListeningConnectionCreated": _connection("listen"),
    "FileCreated": _file("create"),
    "FileModified": _file("modify"),
    "FileDeleted": _file("delete"),
    "RegistryValueSet": _registry("set"),
    "RegistryKeyCreated": _registry("key_create"),
    "RegistryKeyDeleted": _registry("key_delete"),
    "RegistryValueDeleted": _registry("key_delete"),
    "LogonSuccess": _logon("success"),
    "LogonFailed": _logon("failure"),
    "LdapSearch": _ldap,
    "Directory Services replication": _replication,
}


def _hunting(raw: Mapping[str, Any]) -> Imported:
    action = str(raw["ActionType"])
    if action in ACTIONS:
        return ACTIONS[action](raw)
    if raw.get("Application"):
        return _app_call(raw)
    return Skipped(f"no mapping for Defender action {action}")


def _directory_audit(raw: Mapping[str, Any]) -> Imported:
    actor = mapping(_inner(raw.get("InitiatedBy")))
    user, app = mapping(actor.get("user")), mapping(actor.get("app"))
    name = user.get("userPrincipalName") or app.get("displayName") or app.get("servicePrincipalId")
    details = _inner(raw.get("AdditionalDetails"))
    agent = next(
        (row.get("value") for row in details if mapping(row).get("key") == "User-Agent")
        if isinstance(details, list)
        else iter(()),
        None,
    )
    result = str(raw.get("Result") or "success")
    values = {
        "actor_user": name,
        "user_uid": name or user.get("id"),
        "user_type": "user" if user else "app" if app else None,
        "src_ip": user.get("ipAddress"),
        "user_agent": agent,
        "api_service": first_of(raw, ("LoggedByService", "ResourceProvider", "Category")),
        "api_operation": raw.get("OperationName"),
        "api_error": None if result.lower() == "success" else result,
        "cloud_account": raw.get("AADTenantId") or raw.get("TenantId"),
        "resources": compact(_inner(raw.get("TargetResources") or raw.get("ResourceId"))),
    }
    return draft_event("cloud_api", "call", values)


def _cloud_sign_in(raw: Mapping[str, Any]) -> Imported:
    failed = str(raw.get("ResultType")) not in ("0", "Success")
    activity = "failure" if failed else "success"
    values = {
        "user_name": raw.get("UserPrincipalName"),
        "src_ip": raw.get("IPAddress"),
        "status": raw.get("ResultType"),
        "logon_process": raw.get("AppDisplayName"),
        "auth_protocol": raw.get("AuthenticationProtocol"),
    }
    return draft_event("logon", activity, values)


def _office(raw: Mapping[str, Any]) -> Imported:
    values = {
        "actor_user": raw.get("UserId"),
        "user_uid": raw.get("UserId"),
        "src_ip": first_of(raw, ("ClientIP", "ClientIPAddress")),
        "user_agent": raw.get("UserAgent"),
        "api_service": raw.get("Workload"),
        "api_operation": raw.get("Operation"),
        "cloud_account": raw.get("OrganizationId"),
        "resources": compact(_inner(raw.get("ObjectId") or raw.get("Parameters"))),
    }
    return draft_event("cloud_api", "call", values)


def _flow(raw: Mapping[str, Any]) -> Imported:
    inbound = str(raw.get("Direction")).lower() == "inbound"
    values = {
        "device_hostname": raw.get("Computer"),
        "src_ip": raw.get("SourceIp"),
        "dst_ip": raw.get("DestinationIp") or raw.get("RemoteIp"),
        "dst_port": raw.get("DestinationPort"),
        "direction": "inbound" if inbound else "outbound",
        "bytes_out": raw.get("BytesSent"),
        "bytes_in": raw.get("BytesReceived"),
        "process_path": raw.get("ProcessName"),
    }
    return draft_event("net_conn", "flow", values)


def _kubernetes(raw: Mapping[str, Any]) -> Imported:
    user, thing, status = mapping(raw.get("user")), mapping(raw.get("objectRef")), mapping(raw.get("responseStatus"))
    addresses = raw.get("sourceIPs")
    code = status.get("code")
    values = {
        "actor_user": user.get("username"),
        "user_uid": user.get("username"),
        "src_ip": addresses[0] if isinstance(addresses, list) and addresses else None,
        "user_agent": raw.get("userAgent"),
        "api_service": thing.get("apiGroup") or "core",
        "api_operation": " ".join(
            filter(None, (str(raw.get("verb")), str(thing.get("resource") or ""), str(thing.get("subresource") or "")))
        ),
        "api_error": str(code) if isinstance(code, int) and code >= 400 else None,
        "resources": compact(raw.get("objectRef")),
    }
    return draft_event("cloud_api", "call", values)


def convert_azure(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when a row was made and what it becomes."""
    moment = read_time(first_of(raw, ("Timestamp", "TimeGenerated", "CreationTime", "requestReceivedTimestamp")))
    if "ActionType" in raw:
        make = _hunting
    elif "objectRef" in raw:
        make = _kubernetes
    elif "Workload" in raw:
        make = _office
    elif "UserPrincipalName" in raw and "ResultType" in raw:
        make = _cloud_sign_in
    elif "OperationName" in raw:
        make = _directory_audit
    else:
        make = _flow
    return moment, make(raw)


FORMATS = (
    Format(
        "Microsoft cloud tables and Kubernetes audit",
        is_azure,
        convert_azure,
        ("azure/auditlogs", "azure/signinlogs", "m365/audit", "kubernetes/audit"),
        "export of a query in Log Analytics, Sentinel or advanced hunting",
    ),
)
