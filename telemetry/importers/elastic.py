"""Give the records of Elastic's cloud integrations their vendors' form back, where a document kept no `event.original`.

An integration moves a record's common parts into ECS (who, from where, what) and keeps the rest under its own name in snake
case. Source: Elastic, "Integrations": AWS (cloudtrail, guardduty, vpcflow), Azure logs, Google Cloud, GitHub, Google Workspace,
Kubernetes, Microsoft Office 365, Okta: exported fields; "ECS field reference".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from telemetry.importers.columns import WORKSPACE_EVENT, deep_camel, with_objects
from telemetry.importers.values import first_of, mapping

Raw = Mapping[str, Any]


def elastic_record(raw: Raw) -> list[Any] | None:
    """Return the vendor's record of a document; None where a document is none of these integrations'."""
    if "@timestamp" not in raw or mapping(raw.get("event")).get("original"):
        return None
    for name, make in _INTEGRATIONS.items():
        outer, _, inner = name.partition(".")
        part = mapping(raw.get(outer))
        part = mapping(part.get(inner)) if inner else part
        if part:
            record = make(raw, part)
            return None if record is None else [record]
    return None


def _known(values: Raw) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def _source_ip(raw: Raw) -> Any:
    return first_of(mapping(raw.get("source")), ("ip", "address")) or mapping(raw.get("client")).get("ip")


def _agent(raw: Raw) -> Any:
    return mapping(raw.get("user_agent")).get("original")


def _cloudtrail(raw: Raw, trail: Raw) -> dict[str, Any]:
    event, cloud, flat = mapping(raw.get("event")), mapping(raw.get("cloud")), mapping(trail.get("flattened"))
    identity = deep_camel(mapping(trail.get("user_identity")))
    record = {
        "eventTime": raw.get("@timestamp"),
        "eventSource": event.get("provider"),
        "eventName": event.get("action"),
        "awsRegion": cloud.get("region"),
        "sourceIPAddress": first_of(mapping(raw.get("source")), ("address", "ip")),
        "userAgent": _agent(raw),
        "errorCode": trail.get("error_code"),
        "errorMessage": trail.get("error_message"),
        "requestParameters": flat.get("request_parameters") or trail.get("request_parameters"),
        "responseElements": flat.get("response_elements") or trail.get("response_elements"),
        "additionalEventData": flat.get("additional_eventdata") or trail.get("additional_eventdata"),
        "eventType": trail.get("event_type"),
        "recipientAccountId": trail.get("recipient_account_id") or mapping(cloud.get("account")).get("id"),
        "userIdentity": _known({**identity, "userName": mapping(raw.get("user")).get("name")}),
    }
    return with_objects(_known(record))


def _guardduty(raw: Raw, finding: Raw) -> dict[str, Any]:
    severity = mapping(finding.get("severity"))
    times = {"updatedAt": raw.get("@timestamp")}
    return {
        **times,
        **deep_camel(finding),
        "severity": first_of(severity, ("code", "value")) or finding.get("severity"),
    }


def _vpc_flow(raw: Raw, flow: Raw) -> dict[str, Any]:
    source, destination = mapping(raw.get("source")), mapping(raw.get("destination"))
    return _known(
        {
            "start": mapping(raw.get("event")).get("start") or raw.get("@timestamp"),
            "interface-id": flow.get("interface_id"),
            "instance-id": flow.get("instance_id"),
            "srcaddr": first_of(source, ("ip", "address")),
            "srcport": source.get("port"),
            "dstaddr": first_of(destination, ("ip", "address")),
            "dstport": destination.get("port"),
            "bytes": first_of(source, ("bytes",)) or mapping(raw.get("network")).get("bytes"),
            "action": flow.get("action"),
            "log-status": flow.get("log_status"),
        }
    )


def _azure(category: str) -> Callable[[Raw, Raw], dict[str, Any]]:
    def make(raw: Raw, record: Raw) -> dict[str, Any]:
        inner = deep_camel(mapping(record.get("properties")))
        outer = {
            **deep_camel(record),
            "callerIpAddress": _source_ip(raw),
            "operationName": record.get("operation_name"),
        }
        return {**_known(outer), "properties": inner, "category": category, "time": raw["@timestamp"]}

    return make


def _office(raw: Raw, audit: Raw) -> dict[str, Any]:
    event = mapping(raw.get("event"))
    moved = {
        "Operation": event.get("action"),
        "Workload": event.get("provider"),
        "ClientIP": _source_ip(raw),
        "UserAgent": _agent(raw),
        "OrganizationId": mapping(raw.get("organization")).get("id"),
    }
    return {"CreationTime": raw["@timestamp"], **_known(moved), **audit}


def _kubernetes(raw: Raw, event: Raw) -> dict[str, Any]:
    return {"requestReceivedTimestamp": raw["@timestamp"], **event}


def _okta(raw: Raw, record: Raw) -> dict[str, Any] | None:
    entry = deep_camel(record)
    client = {"ipAddress": _source_ip(raw), "userAgent": {"rawUserAgent": _agent(raw)}, **mapping(entry.get("client"))}
    return {"published": raw["@timestamp"], **entry, "client": client} if "eventType" in entry else None


def _gcp(raw: Raw, audit: Raw) -> dict[str, Any]:
    payload = deep_camel(audit)
    about = {
        "callerIp": _source_ip(raw),
        "callerSuppliedUserAgent": _agent(raw),
        **mapping(payload.get("requestMetadata")),
    }
    who = {
        "principalEmail": mapping(mapping(raw.get("client")).get("user")).get("email"),
        **mapping(payload.get("authenticationInfo")),
    }
    project = mapping(mapping(raw.get("cloud")).get("project")).get("id")
    names = {
        "serviceName": mapping(raw.get("service")).get("name"),
        "methodName": mapping(raw.get("event")).get("action"),
    }
    payload = {**names, **payload}
    return {
        "timestamp": raw["@timestamp"],
        "resource": {"labels": {"project_id": project}},
        "protoPayload": {**payload, "requestMetadata": about, "authenticationInfo": who},
    }


def _github(raw: Raw, entry: Raw) -> dict[str, Any]:
    event = mapping(raw.get("event"))
    names = {
        "action": event.get("action"),
        "actor": mapping(raw.get("user")).get("name"),
        "actor_ip": _source_ip(raw),
        "user_agent": _agent(raw),
    }
    return {"@timestamp": raw["@timestamp"], **_known(names), **entry}


def _workspace(raw: Raw, activity: Raw) -> dict[str, Any]:
    event = mapping(raw.get("event"))
    application = str(event.get("provider") or str(event.get("dataset")).rpartition(".")[2])
    own = mapping(activity.get(application))
    parameters = [{"name": name, "value": value} for name, value in own.items()]
    user = mapping(mapping(raw.get("source")).get("user")) or mapping(raw.get("user"))
    customer = mapping(activity.get("organization")).get("id")
    return {
        "id": {"time": raw["@timestamp"], "applicationName": application, "customerId": customer},
        "actor": {"email": user.get("email"), "callerType": mapping(activity.get("actor")).get("type")},
        "ipAddress": _source_ip(raw),
        WORKSPACE_EVENT: {"name": event.get("action"), "parameters": parameters},
    }


_INTEGRATIONS: Mapping[str, Callable[[Raw, Raw], dict[str, Any] | None]] = {
    "aws.cloudtrail": _cloudtrail,
    "aws.guardduty": _guardduty,
    "aws.vpcflow": _vpc_flow,
    "azure.signinlogs": _azure("SignInLogs"),
    "azure.auditlogs": _azure("AuditLogs"),
    "azure.activitylogs": _azure("Administrative"),
    "o365.audit": _office,
    "okta": _okta,
    "gcp.audit": _gcp,
    "github": _github,
    "google_workspace": _workspace,
    "kubernetes.audit": _kubernetes,
}
