"""Take off what clouds and shippers wrap around their records, and give a record back the form that its vendor documents.

Each carrier is a function in `CARRIERS`: it returns the inner values, or None where the value is carried otherwise. `carried`
tries them all and is one of the wrappings of `unwrapping`. Sources: AWS, "CloudWatch Logs subscription filters", "GetQueryResults" (Logs Insights, CloudTrail
Lake), "Query CloudTrail logs with Athena", "Amazon SNS message formats"; Google, "Push subscriptions", "BigQuery schema for
logs"; Microsoft, "Resource logs for AKS"; Splunk, "HTTP Event Collector"; Okta, "Event hooks"; Google, "Reports API: activities".
Elastic's documents and Sentinel's tables have modules of their own (`elastic`, `sentinel`).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from telemetry.importers.columns import CLOUDTRAIL_OBJECTS, WORKSPACE_EVENT, braced, with_objects
from telemetry.importers.elastic import elastic_record
from telemetry.importers.sentinel import sentinel_record
from telemetry.importers.values import first_of, json_value, mapping

Raw = Mapping[str, Any]
Carrier = Callable[[Raw], list[Any] | None]
MAX_UNPACKED = 64 << 20  # bytes of one packed record
_MESSAGES = ("@message", "message", "Message", "body", "Body", "log", "log_s", "line", "textPayload")
_CLOUDWATCH = {
    "id",
    "timestamp",
    "message",
    "ingestionTime",
    "eventId",
    "logStreamName",
    "extractedFields",
    "logGroupName",
}


# ---------------------------------------------------------------- text and bytes in a field
def _message(raw: Raw) -> list[Any] | None:
    """Return the record that stands as JSON text in a shipper's message; a line of CloudWatch as text."""
    for name in _MESSAGES:
        value = raw.get(name)
        inner = json_value(value)
        if inner is not value and _is_record(inner):
            return [inner]
    if "message" in raw and "timestamp" in raw and raw.keys() <= _CLOUDWATCH and isinstance(raw["message"], str):
        return [{"_raw": raw["message"].rstrip(), "_time": raw["timestamp"]}]
    return None


def _is_record(inner: Any) -> bool:
    """Return whether parsed text may be a record or an envelope: more than one lonely value."""
    return isinstance(inner, list) or len(inner) > 1 or any(isinstance(member, list) for member in inner.values())


def _packed(raw: Raw) -> list[Any] | None:
    """Return what base64 holds: Pub/Sub's message, a Kinesis or Firehose record, a Lambda event of CloudWatch."""
    message, kinesis, logs = mapping(raw.get("message")), mapping(raw.get("kinesis")), mapping(raw.get("awslogs"))
    text = first_of(message, ("data",)) or first_of(kinesis, ("data",)) or first_of(logs, ("data",))
    if text is None and ("messageId" in raw or "recordId" in raw or "SequenceNumber" in raw):
        text = first_of(raw, ("data", "Data"))
    inner = _unpacked(text) if isinstance(text, str) else text if isinstance(text, Mapping) else None
    return None if inner is None else [inner]


def _unpacked(text: str) -> Any:
    try:
        content = base64.b64decode(text, validate=True)
        if content[:2] == b"\x1f\x8b":
            content = zlib.decompressobj(31).decompress(content, MAX_UNPACKED)
    except (binascii.Error, ValueError, zlib.error):
        return None
    words = content.decode("utf-8", "replace")
    inner = json_value(words)
    return None if inner is words else inner


def _aks_log(raw: Raw) -> list[Any] | None:
    """Return the audit event that AKS's diagnostic settings put as text into properties.log."""
    log = mapping(json_value(raw.get("properties"))).get("log")
    inner = json_value(log)
    return [inner] if isinstance(inner, Mapping) else None


def _text_properties(raw: Raw) -> list[Any] | None:
    """Return a record of Azure's diagnostic stream whose properties are text with these parsed, as some exporters write them."""
    text = raw.get("properties")
    inner = json_value(text) if isinstance(text, str) and ("category" in raw or "operationName" in raw) else None
    return [{**raw, "properties": inner}] if isinstance(inner, Mapping) else None


def _inner_event(raw: Raw) -> list[Any] | None:
    """Return the record in an event of Splunk's collector, a CloudEvent, a message of Event Hubs, or an event hook of Okta."""
    event, data, body = raw.get("event"), raw.get("data"), raw.get("body", raw.get("Body"))
    if isinstance(body, Mapping):
        return [body]
    if isinstance(answer := raw.get("response"), Mapping) and "authlogs" in answer:
        return [answer]
    if "sourcetype" in raw and isinstance(event, Mapping | str):
        inner = json_value(event)
        return [inner] if isinstance(inner, Mapping | list) else [{"_raw": inner, "_time": raw.get("time")}]
    if not isinstance(data, Mapping):
        return None
    if "specversion" in raw or "protoPayload" in data:
        return [data]
    events = data.get("events")
    return events if isinstance(events, list) and "eventType" in raw else None


# ---------------------------------------------------------------- rows of query results
def _query_rows(raw: Raw) -> list[Any] | None:
    """Return the rows of Logs Insights ({"field", "value"} pairs) and of CloudTrail Lake (objects of one column each)."""
    rows = first_of(raw, ("results", "QueryResultRows"))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return None
    return [_row(row) for row in rows]


def _row(cells: list[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for cell in map(mapping, cells):
        row.update({str(cell["field"]): cell.get("value")} if "field" in cell else cell)
    return {name: value for name, value in row.items() if value not in (None, "")}


# ---------------------------------------------------------------- CloudTrail
_CLOUDTRAIL_NAMES = (
    *(
        "eventVersion",
        "userIdentity",
        "eventTime",
        "eventSource",
        "eventName",
        "awsRegion",
        "sourceIPAddress",
        "userAgent",
    ),
    *(
        "errorCode",
        "errorMessage",
        "requestParameters",
        "responseElements",
        "additionalEventData",
        "requestID",
        "eventID",
    ),
    *("readOnly", "resources", "eventType", "apiVersion", "recipientAccountId", "serviceEventDetails", "sharedEventID"),
    *("vpcEndpointId", "managementEvent", "eventCategory", "tlsDetails", "sessionCredentialFromConsole"),
)
_LOWER = {name.lower(): name for name in _CLOUDTRAIL_NAMES}
_IDENTITY_NAMES = {
    name.lower(): name
    for name in (
        *(
            "type",
            "principalId",
            "arn",
            "accountId",
            "invokedBy",
            "accessKeyId",
            "userName",
            "sessionContext",
            "attributes",
        ),
        *(
            "sessionIssuer",
            "mfaAuthenticated",
            "creationDate",
            "webIdFederationData",
            "federatedProvider",
            "identityProvider",
        ),
    )
}


def _athena(raw: Raw) -> list[Any] | None:
    """Return a row of an Athena table over CloudTrail, whose names are in lower case, as the record."""
    if "eventsource" not in raw or "eventname" not in raw:
        return None
    record = {_LOWER.get(name, name): value for name, value in raw.items()}
    identity = braced(record.get("userIdentity"))
    return [with_objects({**record, "userIdentity": _renamed(identity, _IDENTITY_NAMES)})]


def _renamed(value: Any, names: Mapping[str, str], depth: int = 0) -> Any:
    if not isinstance(value, Mapping) or depth > 8:
        return value
    return {names.get(str(name), name): _renamed(member, names, depth + 1) for name, member in value.items()}


def _lake(raw: Raw) -> list[Any] | None:
    """Return a row of CloudTrail Lake or of a table, whose objects are text, with these parsed."""
    if "eventSource" not in raw or "eventName" not in raw:
        return None
    texts = [name for name in CLOUDTRAIL_OBJECTS if isinstance(raw.get(name), str)]
    record = with_objects(raw)
    return [record] if any(record[name] is not raw[name] for name in texts if name in record) else None


_HISTORY = {
    "Event name": "eventName",
    "Event source": "eventSource",
    "Event time": "eventTime",
    "Source IP address": "sourceIPAddress",
    "User agent": "userAgent",
    "AWS region": "awsRegion",
    "Error code": "errorCode",
    "Request ID": "requestID",
    "Event ID": "eventID",
}


def _event_history(raw: Raw) -> list[Any] | None:
    """Return a row of the event history that CloudTrail's console downloads as CSV; it tells no parameters of a call."""
    if "Event name" not in raw or "Event source" not in raw:
        return None
    record: dict[str, Any] = {new: raw[old] for old, new in _HISTORY.items() if old in raw}
    user, key = raw.get("User name"), first_of(raw, ("AWS access key", "Access key"))
    identity = {"userName": user, "accessKeyId": key}
    thing = {"type": raw.get("Resource type"), "name": first_of(raw, ("Resource name", "Resources"))}
    return [{**record, "userIdentity": identity, "resources": [thing] if any(thing.values()) else None}]


# ---------------------------------------------------------------- Google
def _workspace(raw: Raw) -> list[Any] | None:
    """Return the events of an activity of the Reports API, each with the activity's actor, address and time."""
    events, about = raw.get("events"), mapping(raw.get("id"))
    if "applicationName" not in about or not isinstance(events, list):
        return None
    outer = {name: value for name, value in raw.items() if name != "events"}
    return [{**outer, WORKSPACE_EVENT: event} for event in events]


def _bigquery(raw: Raw) -> list[Any] | None:
    """Return a row of the audit log's export to BigQuery as the LogEntry; its names are nested, dotted or underscored."""
    inner = {name: value for name, value in raw.items() if name.startswith("protopayload_auditlog")}
    if not inner:
        return None
    payload: dict[str, Any] = dict(mapping(json_value(inner.pop("protopayload_auditlog", None))))
    for name, value in inner.items():
        _put(payload, name.removeprefix("protopayload_auditlog")[1:].replace("_", ".").split("."), value)
    for name in ("request", "response", "metadata", "serviceData"):
        text = payload.pop(f"{name}Json", None)
        if text is not None:
            payload[name] = json_value(text)
    entry: dict[str, Any] = {}
    for name, value in raw.items():
        if name.startswith(("resource.", "resource_")):
            _put(entry, name.replace("resource_", "resource.").replace("labels_", "labels.").split("."), value)
        elif not name.startswith("protopayload_auditlog"):
            entry[name] = value
    return [{**entry, "protoPayload": payload}]


def _put(node: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        inner = node.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        node = inner
    node[names[-1]] = json_value(value)


CARRIERS: tuple[Carrier, ...] = (
    _packed,
    _aks_log,
    _text_properties,
    _inner_event,
    _query_rows,
    _athena,
    _lake,
    _event_history,
    sentinel_record,
    elastic_record,
    _workspace,
    _bigquery,
)
_KEYS = frozenset(  # no carrier but a message is without one of these
    (
        *(
            "message",
            "body",
            "Body",
            "kinesis",
            "awslogs",
            "messageId",
            "recordId",
            "SequenceNumber",
            "properties",
            "event",
        ),
        *(
            "data",
            "results",
            "events",
            "QueryResultRows",
            "eventsource",
            "eventSource",
            "EventSource",
            "aws",
            "o365",
            "azure",
        ),
        *(
            "okta",
            "gcp",
            "github",
            "google_workspace",
            "kubernetes",
            "ActivityType",
            "SrcAddr",
            "MethodName",
            "logName",
        ),
        *("insertId", "eventType_s", "action_s", "published_t", "Event name", "IdApplicationName", "response"),
        *("protopayload_auditlog", "protopayload_auditlog.methodName", "protopayload_auditlog_methodName"),
    )
)


def carried(raw: Raw) -> list[Any] | None:
    """Return what a cloud's or shipper's envelope holds; None where the value is none of the carriers'."""
    if not _KEYS.isdisjoint(raw):
        for carrier in CARRIERS:
            inner = carrier(raw)
            if inner is not None:
                return inner
    return _message(raw)
