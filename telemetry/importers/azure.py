"""Azure: the activity log of subscriptions, the applications of Defender for Cloud Apps, and flows of the agents.

Sources: Microsoft, "Azure Monitor table reference" (AzureActivity, VMConnection), "Azure Activity Log event schema",
"Advanced hunting schema" (CloudAppEvents). Tables of Windows records are read as such; Entra's are `entra`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import FLOW_TUPLE, fitted, plain
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, json_value, mapping, web_url

Raw = Mapping[str, Any]
_BEGUN = ("start", "started", "accept", "accepted")  # states of an operation that is not at its end


# ---------------------------------------------------------------- activity log
def is_activity(raw: Raw) -> bool:
    """Return whether a record tells an operation on Azure's resources."""
    return (
        "OperationNameValue" in raw
        or ("eventTimestamp" in raw and "operationName" in raw)
        or ("Operation name" in raw and "Event initiated by" in raw)
        or ("OperationName" in raw and "TimeGenerated" in raw)
        or ("operationName" in raw and "time" in raw and ("resourceId" in raw or "callerIpAddress" in raw))
    )


def _columns(raw: Raw) -> dict[str, Any]:
    columns = plain(raw)
    properties = plain(mapping(json_value(columns.get("properties"))))
    return {**properties, **columns}


def _value(columns: Raw, *names: str) -> Any:
    """Return the first of the columns that says something; {"value": ..., "localizedValue": ...} stands for its value."""
    value = json_value(first_of(columns, names))
    return value.get("value") if isinstance(value, Mapping) else value


def convert_activity(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a call of an operation: provider and operation, who asked, on which resource, by which right."""
    columns = _columns(raw)
    identity = mapping(json_value(columns.get("identity")))
    claims = mapping(json_value(columns.get("claims"))) or mapping(identity.get("claims") or identity.get("claim"))
    right = mapping(json_value(columns.get("authorization"))) or mapping(identity.get("authorization"))
    state = str(_value(columns, "activitystatusvalue", "status", "resulttype", "activitystatus", "result") or "")
    name = _value(columns, "caller", "eventinitiatedby") or _claim(claims, "upn", "name") or _claimed(columns)
    app = _claim(claims, "appid") or columns.get("identityclaimappidg")
    operation = str(_value(columns, "operationnamevalue", "operationname") or "")
    values = {
        "actor_user": name or app,
        "user_uid": name or app,
        "user_type": "user" if "@" in str(name) else "app" if app else None,
        "src_ip": _value(columns, "calleripaddress", "clientipaddress") or _address(columns),
        "api_service": _value(columns, "resourceprovidervalue", "resourceprovider", "resourceprovidername")
        or operation.partition("/")[0],
        "api_operation": operation,
        "api_error": state if state.lower() in ("failure", "failed") else None,
        "cloud_account": _value(columns, "subscriptionid", "subscription"),
        "resources": fitted(
            {
                "resourceId": _value(columns, "resourceid", "resource"),
                "authorization": {name: right.get(name) for name in ("action", "scope")},
                "properties": _request(columns),
            }
        ),
    }
    moment = read_time(first_of(columns, ("timegenerated", "eventtimestamp", "time", "timestamp")))
    return moment, draft_event("cloud_api", "call", values)


def activity_attempt(raw: Raw) -> tuple[str, int] | None:
    """Name the operation that a record is a state of: begun, or at its end."""
    columns = _columns(raw)
    names = ("correlationid", "operationid")
    operation = str(_value(columns, "operationnamevalue", "operationname") or "")
    if first_of(columns, names) is None:
        return None
    state = str(_value(columns, "activitystatusvalue", "status", "resulttype", "activitystatus") or "")
    resource = _value(columns, "resourceid", "resource")
    return f"{first_of(columns, names)} {operation} {resource}".lower(), int(state.lower() not in _BEGUN)


def _claim(claims: Raw, *names: str) -> Any:
    """Return a claim by its short name; long ones are written as addresses that end in it."""
    return next((value for name in names for key, value in claims.items() if key.rpartition("/")[2] == name), None)


def _claimed(columns: Raw) -> Any:
    """Return who calls by a column of AzureDiagnostics, which spells a claim's address out: `identity_claim_http_..._upn_s`."""
    return next((columns[name] for name in columns if name.startswith("identityclaim") and name.endswith("upns")), None)


def _address(columns: Raw) -> Any:
    return mapping(json_value(columns.get("httprequest"))).get("clientIpAddress")


def _request(columns: Raw) -> Any:
    """Return what an operation asked for, from the parts of its properties that hold it as text."""
    properties = mapping(json_value(columns.get("properties")))
    parts = {
        name: json_value(properties.get(name)) for name in ("requestbody", "responseBody", "message", "statusCode")
    }
    return parts if any(parts.values()) else properties


# ---------------------------------------------------------------- applications
def is_app_event(raw: Raw) -> bool:
    """Return whether a record is a row of CloudAppEvents."""
    return "ActionType" in raw and "Application" in raw


def convert_app_event(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a call of what an application told Defender for Cloud Apps."""
    values = {
        "device_hostname": raw.get("DeviceName"),
        "actor_user": first_of(raw, ("AccountName", "AccountDisplayName")),
        "user_uid": first_of(raw, ("AccountUpn", "AccountObjectId", "AccountDisplayName")),
        "user_type": raw.get("AccountType"),
        "src_ip": raw.get("IPAddress"),
        "user_agent": raw.get("UserAgent"),
        "api_service": raw.get("Application"),
        "api_operation": raw.get("ActionType"),
        "resources": fitted(json_value(first_of(raw, ("ObjectName", "ActivityObjects", "AdditionalFields")))),
    }
    return read_time(first_of(raw, ("Timestamp", "TimeGenerated"))), draft_event("cloud_api", "call", values)


# ---------------------------------------------------------------- flows
def is_flow(raw: Raw) -> bool:
    """Return whether a record is a row of VMConnection."""
    return "BytesSent" in raw and "DestinationPort" in raw and "RemoteIp" in raw


def convert_flow(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of the traffic that an agent counted for a process."""
    values = {
        "device_hostname": raw.get("Computer"),
        "src_ip": raw.get("SourceIp"),
        "dst_ip": raw.get("DestinationIp") or raw.get("RemoteIp"),
        "dst_port": raw.get("DestinationPort"),
        "direction": "inbound" if str(raw.get("Direction")).lower() == "inbound" else "outbound",
        "bytes_out": raw.get("BytesSent"),
        "bytes_in": raw.get("BytesReceived"),
        "process_path": raw.get("ProcessName"),
    }
    return read_time(raw.get("TimeGenerated")), draft_event("net_conn", "flow", values)


# ---------------------------------------------------------------- flow logs
def is_flow_tuple(raw: Raw) -> bool:
    """Return whether a record is one flow of a network security group's or a virtual network's flow log."""
    return isinstance(raw.get(FLOW_TUPLE), str)


def convert_flow_tuple(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of a flow; blocked where it was denied.

    Both logs begin with time, addresses, ports, protocol and direction. The one of groups goes on with the decision (A, D) and the
    state, the one of networks with the state (D for denied) and the encryption; then come packets and bytes, out and back.
    """
    cells = [*str(raw[FLOW_TUPLE]).split(","), *[""] * 13][:13]
    moment, source, target, source_port, target_port, _, direction, verdict = cells[:8]
    values = {
        "src_ip": source,
        "src_port": source_port,
        "dst_ip": target,
        "dst_port": target_port,
        "direction": {"I": "inbound", "O": "outbound"}.get(direction),
        "bytes_out": cells[10],
        "bytes_in": cells[12],
        "conn_state": cells[8] if verdict in ("A", "D") and cells[8] in ("B", "C", "E") else verdict,
    }
    return read_time(moment), draft_event("net_conn", "block" if verdict == "D" else "flow", values)


# ---------------------------------------------------------------- gateways
_FIREWALL_MESSAGE = re.compile(
    r"(?:TCP|UDP|ICMP\S*) request from (?P<src_ip>[\d.]+):(?P<src_port>\d+) to (?P<dst_ip>[\d.]+):(?P<dst_port>\d+).*?Action: (?P<action>\w+)",
    re.ASCII | re.DOTALL,
)
_FIREWALL_COLUMNS = {
    "src_ip": "SourceIp",
    "src_port": "SourcePort",
    "dst_ip": "DestinationIp",
    "dst_port": "DestinationPort",
}


def is_gateway(raw: Raw) -> bool:
    """Return whether a record is a connection of Azure Firewall, or a request to an application gateway."""
    inner = mapping(raw.get("properties"))
    category = str(raw.get("category") or "")
    if category == "ApplicationGatewayAccessLog":
        return "requestUri" in inner
    has_ends = all(column in inner for column in _FIREWALL_COLUMNS.values()) or bool(
        _FIREWALL_MESSAGE.match(str(inner.get("msg") or ""))
    )
    return category.startswith(("AzureFirewall", "AZFW")) and has_ends


def convert_gateway(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of a firewall's record, blocked where it was denied, and a web request of a gateway's."""
    inner = mapping(raw["properties"])
    moment = read_time(first_of(raw, ("timeStamp", "time")))
    if "requestUri" in inner:
        request = {
            "url": web_url(first_of(inner, ("host", "originalHost")), inner["requestUri"], inner.get("requestQuery")),
            "user_agent": inner.get("userAgent"),
            "http_method": inner.get("httpMethod"),
            "status_code": inner.get("httpStatus"),
            "src_ip": inner.get("clientIP"),
        }
        return moment, draft_event("http", "request", request)
    match = _FIREWALL_MESSAGE.match(str(inner.get("msg") or ""))
    ends: Raw = match.groupdict() if match else {name: inner.get(column) for name, column in _FIREWALL_COLUMNS.items()}
    denied = str(match["action"] if match else inner.get("Action")).lower().startswith("den")
    values = {name: ends[name] for name in _FIREWALL_COLUMNS}
    return moment, draft_event("net_conn", "block" if denied else "allow", values)


FORMATS = (
    Format(
        "Azure flow logs",
        is_flow_tuple,
        convert_flow_tuple,
        ("azure/network",),
        "the storage account of a network watcher's flow log",
    ),
    Format(
        "Azure firewall and gateway",
        is_gateway,
        convert_gateway,
        ("firewall", "webserver"),
        "diagnostic settings of Azure Firewall or an application gateway",
    ),
    Format(
        "Defender CloudAppEvents",
        is_app_event,
        convert_app_event,
        ("m365/cloud_app_security",),
        "a query in advanced hunting or Sentinel",
    ),
    Format("Azure VMConnection", is_flow, convert_flow, ("azure/network",), "a query in Log Analytics"),
    Format(
        "Azure activity",
        is_activity,
        convert_activity,
        ("azure/activitylogs",),
        "Log Analytics, the portal's CSV, the activity log's API, or the diagnostic stream",
        activity_attempt,
    ),
)
