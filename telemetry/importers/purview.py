"""Microsoft 365: the unified audit log (Purview) in every carrier, and activities of Defender for Cloud Apps.

The record of the Office 365 Management Activity API stands in the column `AuditData` of Purview's CSV and of
Search-UnifiedAuditLog; Sentinel's table `OfficeActivity` has its fields as columns. Source: Microsoft, "Office 365 Management
Activity API schema" and "Azure Monitor table reference: OfficeActivity"; "Defender for Cloud Apps activities API".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import fitted
from telemetry.importers.entra import CREDENTIAL_CODES
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, json_value, mapping

Raw = Mapping[str, Any]
_TABLE_NAMES = {  # a column of OfficeActivity: the schema's own name
    "OfficeWorkload": "Workload",
    "OfficeObjectId": "ObjectId",
    "Client_IPAddress": "ClientIPAddress",
    "ClientIP_": "ClientIP",
    "OfficeId": "Id",
    "Site_Url": "SiteUrl",
    "OfficeTenantId": "OrganizationId",
}
# Management Activity API schema, "User Type": by number as the API writes it and by name as the table does.
_USER_TYPES = {
    **dict.fromkeys(("0", "2", "regular", "admin"), "user"),
    **dict.fromkeys(("3", "4", "7", "8", "dcadmin", "system", "custompolicy", "systempolicy"), "service"),
    **dict.fromkeys(("5", "6", "application", "serviceprincipal"), "app"),
}
_DECISIVE = (  # what tells the object and the change; the rest of a record repeats who and when
    "ObjectId",
    "Parameters",
    "ModifiedProperties",
    "OperationProperties",
    "Target",
    "TargetUserOrGroupName",
    "TargetUserOrGroupType",
    "MailboxOwnerUPN",
    "SiteUrl",
    "SourceFileName",
    "Item",
    "Folders",
    "AffectedItems",
    "Members",
    "AddOnName",
    "PolicyDetails",
    "AlertType",
    "Name",
    "Severity",
    "ClientInfoString",
    "LogonType",
    "ExternalAccess",
    "ApplicationId",
    "ClientAppId",
    "ExtendedProperties",
)
_REFUSED = ("failed", "false", "partiallysucceeded", "failure")


def is_unified_audit(raw: Raw) -> bool:
    """Return whether a record is of the unified audit log."""
    return "Operation" in raw and any(name in raw for name in ("Workload", "OfficeWorkload", "RecordType"))


def convert_unified_audit(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a sign-in of a record of Entra's sign-ins, a detection of what Microsoft finds, else a call with the object, parameters and changed properties."""
    record = {_TABLE_NAMES.get(name, name): value for name, value in raw.items()}
    times = ("CreationTime", "CreationDate", "TimeGenerated", "TimeGenerated [UTC]", "@timestamp")
    moment = read_time(first_of(record, times))
    operation = str(record.get("Operation")).replace("\u2013", "-").strip()  # Entra's dash, as in its own log
    record["Operation"] = operation
    if operation in ("UserLoggedIn", "UserLoginFailed"):
        return moment, _sign_in(record, operation)
    if operation in ("AlertTriggered", "FileMalwareDetected"):
        return moment, _finding(record, operation)
    return moment, _call(record)


def _address(record: Raw) -> Any:
    return first_of(record, ("ClientIP", "ClientIPAddress", "ActorIpAddress"))


def _pairs(value: object) -> dict[str, Any]:
    """Return a list of Name and Value as an object."""
    pairs = json_value(value)
    return (
        {str(mapping(pair).get("Name")): mapping(pair).get("Value") for pair in pairs}
        if isinstance(pairs, list)
        else {}
    )


def _agent(record: Raw) -> Any:
    return record.get("UserAgent") or _pairs(record.get("ExtendedProperties")).get("UserAgent")


def _sign_in(record: Raw, operation: str) -> Imported:
    """Make a sign-in; a failure whose error is no wrong credential is a call that was refused."""
    code = first_of(record, ("ErrorNumber", "ErrorCode"))
    failed = operation == "UserLoginFailed"
    if failed and code is not None and str(code) not in CREDENTIAL_CODES:
        return _call(
            {**record, "ResultStatus": "Success" if str(code) == "0" else str(record.get("LogonError") or code)}
        )
    values = {
        "user_name": record.get("UserId"),
        "src_ip": _address(record),
        "status": str(code or (record.get("LogonError") or "failed" if failed else "0")),
        "logon_process": first_of(record, ("ApplicationDisplayName", "ApplicationId")),
    }
    return draft_event("logon", "failure" if failed else "success", values)


def _finding(record: Raw, operation: str) -> Imported:
    """Make a detection of what a policy of Microsoft's raises, or of a file in which it finds malware."""
    is_malware = operation == "FileMalwareDetected"
    values = {
        "actor_user": record.get("UserId"),
        "finding_title": first_of(record, ("VirusInfo", "Name", "AlertType")) or operation,
        "severity": "high" if is_malware else str(record.get("Severity") or "").lower(),
        "file_path": record.get("ObjectId") if is_malware else None,
    }
    return draft_event("detection", "malware" if is_malware else "ids_notice", values)


def _call(record: Raw) -> Imported:
    result = str(record.get("ResultStatus") or "")
    is_refused = result.lower() in _REFUSED or str(record.get("Operation")) == "UserLoginFailed"
    values = {
        "actor_user": record.get("UserId"),
        "user_uid": record.get("UserId"),
        "user_type": _USER_TYPES.get(str(record.get("UserType")).lower()),
        "src_ip": _address(record),
        "user_agent": _agent(record),
        "api_service": first_of(record, ("Workload", "RecordType")),
        "api_operation": record.get("Operation"),
        "api_error": result if is_refused else None,
        "cloud_account": record.get("OrganizationId"),
        "resources": fitted({name: _listed(name, record.get(name)) for name in _DECISIVE}),
    }
    return draft_event("cloud_api", "call", values)


def _listed(name: str, value: object) -> Any:
    """Return a part of a record parsed; parameters that a shipper made an object of become pairs again."""
    part = json_value(value)
    if name == "Parameters" and isinstance(part, Mapping):
        return [{"Name": key, "Value": setting} for key, setting in part.items()]
    return part


# ---------------------------------------------------------------- Defender for Cloud Apps
def is_cloud_app_activity(raw: Raw) -> bool:
    """Return whether a record is an activity of Defender for Cloud Apps' API."""
    return "appName" in raw and ("eventTypeName" in raw or "eventTypeValue" in raw)


def convert_cloud_app_activity(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a call of an activity that Defender for Cloud Apps saw."""
    user, device = mapping(raw.get("user")), mapping(raw.get("device"))
    name = first_of(user, ("userName", "userId"))
    values = {
        "actor_user": name,
        "user_uid": name,
        "src_ip": device.get("clientIP"),
        "user_agent": device.get("userAgent"),
        "api_service": raw.get("appName"),
        "api_operation": first_of(raw, ("eventTypeValue", "eventTypeName")),
        "resources": fitted(
            {"description": raw.get("description"), "objects": raw.get("entityData") or raw.get("mainInfo")}
        ),
    }
    return read_time(first_of(raw, ("timestamp", "created"))), draft_event("cloud_api", "call", values)


FORMATS = (
    Format(
        "Microsoft 365 unified audit",
        is_unified_audit,
        convert_unified_audit,
        ("m365/audit", "m365/exchange", "m365/threat_management"),
        "Purview's CSV, Search-UnifiedAuditLog, the Management Activity API, or Sentinel's OfficeActivity",
    ),
    Format(
        "Defender for Cloud Apps activities",
        is_cloud_app_activity,
        convert_cloud_app_activity,
        ("m365/cloud_app_security",),
        "the activities API of Defender for Cloud Apps",
    ),
)
