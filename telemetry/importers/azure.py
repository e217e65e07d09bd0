"""Microsoft cloud tables (Azure AD, Defender for Cloud Apps, Office 365) and Kubernetes audit.

Source: Microsoft, "Azure Monitor table reference" and "Advanced hunting schema"; Kubernetes, "Auditing". The tables
SecurityEvent and Event hold Windows records and are read as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.cloudtrail import compact
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, json_value, mapping


def is_azure(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record is a row of one of these tables."""
    return (
        ("ActionType" in raw and "Application" in raw)
        or ("OperationName" in raw and "TimeGenerated" in raw)
        or ("Workload" in raw and "Operation" in raw)
        or ("UserPrincipalName" in raw and "ResultType" in raw)
        or ("BytesSent" in raw and "DestinationPort" in raw and "RemoteIp" in raw)
        or ("verb" in raw and "objectRef" in raw)
    )


def _app_call(raw: Mapping[str, Any]) -> Imported:
    """Make a cloud call of a row of CloudAppEvents; the devices' and identities' tables are `defender`'s."""
    values = {
        "device_hostname": raw.get("DeviceName"),
        "actor_user": first_of(raw, ("AccountName", "AccountDisplayName")),
        "user_uid": first_of(raw, ("AccountUpn", "AccountObjectId", "AccountDisplayName")),
        "user_type": raw.get("AccountType"),
        "src_ip": raw.get("IPAddress"),
        "user_agent": raw.get("UserAgent"),
        "api_service": raw.get("Application"),
        "api_operation": raw.get("ActionType"),
        "resources": compact(
            json_value(raw.get("ObjectName") or raw.get("ActivityObjects") or raw.get("AdditionalFields"))
        ),
    }
    return draft_event("cloud_api", "call", values)


def _directory_audit(raw: Mapping[str, Any]) -> Imported:
    actor = mapping(json_value(raw.get("InitiatedBy")))
    user, app = mapping(actor.get("user")), mapping(actor.get("app"))
    name = user.get("userPrincipalName") or app.get("displayName") or app.get("servicePrincipalId")
    details = json_value(raw.get("AdditionalDetails"))
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
        "resources": compact(json_value(raw.get("TargetResources") or raw.get("ResourceId"))),
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
        "resources": compact(json_value(raw.get("ObjectId") or raw.get("Parameters"))),
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
        make = _app_call
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
