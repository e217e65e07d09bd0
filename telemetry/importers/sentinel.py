"""Give rows of Sentinel's tables for other clouds their vendors' form back.

Microsoft's own tables are read as they are (`entra`, `purview`, `azure`, `defender`). Tables of custom connectors end each column
in its type (`eventType_s`, `published_t`) and join the names of nested objects by underscores. Source: Microsoft, "Azure Monitor
table reference": AWSCloudTrail, AWSGuardDuty, AWSVPCFlow, GCPAuditLogs, GoogleWorkspaceReports; "Custom log tables: column suffixes".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from telemetry.importers.columns import WORKSPACE_EVENT, with_objects
from telemetry.importers.values import is_blank, json_value

Raw = Mapping[str, Any]
_CLOUDTRAIL = {
    "EventName": "eventName",
    "EventSource": "eventSource",
    "SourceIpAddress": "sourceIPAddress",
    "UserAgent": "userAgent",
    "RequestParameters": "requestParameters",
    "ResponseElements": "responseElements",
    "AdditionalEventData": "additionalEventData",
    "AWSRegion": "awsRegion",
    "RecipientAccountId": "recipientAccountId",
    "ErrorCode": "errorCode",
    "ErrorMessage": "errorMessage",
    "ReadOnly": "readOnly",
    "Resources": "resources",
    "EventTypeName": "eventType",
    "AwsEventId": "eventID",
    "TimeGenerated": "eventTime",
}
_OF_CLOUDTRAIL = {"SourceIpAddress", "UserIdentityType", "UserIdentityArn", "AwsEventId", "AWSRegion"}
_IDENTITY = {
    "UserIdentityType": "type",
    "UserIdentityPrincipalid": "principalId",
    "UserIdentityArn": "arn",
    "UserIdentityAccountId": "accountId",
    "UserIdentityInvokedBy": "invokedBy",
    "UserIdentityAccessKeyId": "accessKeyId",
    "UserIdentityUserName": "userName",
}
_ISSUER = {"SessionIssuerUserName": "userName", "SessionIssuerArn": "arn", "SessionIssuerType": "type"}
_GUARDDUTY = {
    "ActivityType": "type",
    "Severity": "severity",
    "Title": "title",
    "ServiceDetails": "service",
    "ResourceDetails": "resource",
    "TimeGenerated": "updatedAt",
    "Id": "id",
}
_FLOW = {
    "SrcAddr": "srcaddr",
    "DstAddr": "dstaddr",
    "SrcPort": "srcport",
    "DstPort": "dstport",
    "Action": "action",
    "LogStatus": "log-status",
    "Bytes": "bytes",
    "Start": "start",
    "TimeGenerated": "end",
    "InterfaceId": "interface-id",
    "InstanceId": "instance-id",
    "FlowDirection": "flow-direction",
}
_GCP = {
    "MethodName": "methodName",
    "ServiceName": "serviceName",
    "GCPResourceName": "resourceName",
    "AuthenticationInfo": "authenticationInfo",
    "RequestMetadata": "requestMetadata",
    "Request": "request",
    "Response": "response",
    "ServiceData": "serviceData",
    "Metadata": "metadata",
    "Status": "status",
}
_SUFFIX = re.compile(r"_[sdbtg]$")
_PARENTS = (
    "actor",
    "client",
    "outcome",
    "debugContext",
    "debugData",
    "userAgent",
    "authenticationContext",
    "securityContext",
)
_CUSTOM = {"eventType_s", "action_s", "published_t"}  # columns of which one is in every table of these


def sentinel_record(raw: Raw) -> list[Any] | None:
    """Return the vendor's record of a row; None where a row is none of these tables'."""
    if "EventSource" in raw and "EventName" in raw and not _OF_CLOUDTRAIL.isdisjoint(raw):
        return [_cloudtrail(raw)]
    if "ActivityType" in raw and "ServiceDetails" in raw:
        return [_renamed(raw, _GUARDDUTY)]
    if "SrcAddr" in raw and "DstAddr" in raw and "InterfaceId" in raw:
        return [_renamed(raw, _FLOW)]
    if "MethodName" in raw and "ServiceName" in raw and ("GCPResourceName" in raw or "PrincipalEmail" in raw):
        return [_gcp(raw)]
    if "IdApplicationName" in raw and "EventName" in raw:
        return [_workspace(raw)]
    return None if _CUSTOM.isdisjoint(raw) else [_custom(raw)]


def _renamed(raw: Raw, names: Mapping[str, str]) -> dict[str, Any]:
    return {new: json_value(raw[old]) for old, new in names.items() if not is_blank(raw.get(old))}


def _cloudtrail(raw: Raw) -> dict[str, Any]:
    record, identity, issuer = _renamed(raw, _CLOUDTRAIL), _renamed(raw, _IDENTITY), _renamed(raw, _ISSUER)
    if issuer:
        identity["sessionContext"] = {"sessionIssuer": issuer}
    return with_objects({**record, "userIdentity": identity})


def _gcp(raw: Raw) -> dict[str, Any]:
    payload = _renamed(raw, _GCP)
    payload.setdefault("authenticationInfo", {"principalEmail": raw.get("PrincipalEmail")})
    labels = {"project_id": raw.get("ProjectId")}
    time = raw.get("Timestamp") or raw.get("TimeGenerated")
    return {"timestamp": time, "resource": {"labels": labels}, "protoPayload": payload}


def _workspace(raw: Raw) -> dict[str, Any]:
    parameters = json_value(raw.get("EventParameters"))
    pairs = parameters.items() if isinstance(parameters, Mapping) else ()
    return {
        "id": {
            "time": raw.get("IdTime") or raw.get("TimeGenerated"),
            "applicationName": raw.get("IdApplicationName"),
            "customerId": raw.get("IdCustomerId"),
        },
        "actor": {"email": raw.get("ActorEmail"), "callerType": raw.get("ActorCallerType"), "key": raw.get("ActorKey")},
        "ipAddress": raw.get("SrcIpAddr"),
        WORKSPACE_EVENT: {
            "name": raw.get("EventName"),
            "parameters": [{"name": name, "value": value} for name, value in pairs],
        },
    }


def _custom(raw: Raw) -> dict[str, Any]:
    """Return a row of a custom table with its columns' own names, nested again where a name begins with a known parent."""
    record: dict[str, Any] = {}
    parents = _PARENTS if "eventType_s" in raw else ()  # GitHub's names are flat
    for name, value in raw.items():
        own = _SUFFIX.sub("", name)
        if own == name:
            record.setdefault(name, value)
            continue
        node = record
        while (parent := own.partition("_")[0]) in parents and "_" in own and isinstance(node, dict):
            node = node.setdefault(parent, {})
            own = own[len(parent) + 1 :]
        if isinstance(node, dict):
            node[own] = json_value(value)
    if "created_at" not in record and "TimeGenerated" in record and "action" in record:
        record["created_at"] = record["TimeGenerated"]
    return record
