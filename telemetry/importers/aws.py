"""AWS beside CloudTrail: GuardDuty, Security Hub and OCSF, VPC Flow Logs.

Findings come from `get-findings` (names in capitals), EventBridge and buckets (names in camel case). A flow is a line of text in
the default order, a row of a table by its header, or an object. Sources: AWS, "GuardDuty finding format", "AWS Security Finding
Format (ASFF) syntax", "Flow log records"; OCSF 1.1, classes 2001, 2004, 3002, 4001 and 6003.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import camel, fitted
from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, mapping, mappings, web_url

Raw = Mapping[str, Any]


# ---------------------------------------------------------------- GuardDuty
_SEVERITIES = ((9, "critical"), (7, "high"), (4, "medium"), (1, "low"))
_MALWARE = ("Backdoor", "CryptoCurrency", "Trojan", "Execution")  # purposes for which a program of an intruder runs


def is_guardduty(raw: Raw) -> bool:
    """Return whether a record is a finding of GuardDuty: its type is written purpose:resource/threat."""
    kind = raw.get("type", raw.get("Type"))
    return isinstance(kind, str) and ":" in kind and "/" in kind and ("severity" in raw or "Severity" in raw)


def convert_guardduty(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of a finding: who or which machine, and the remote address."""
    finding = camel(raw)
    service, resource = mapping(finding.get("service")), mapping(finding.get("resource"))
    key, remote = mapping(resource.get("accessKeyDetails")), _remote(mapping(service.get("action")))
    values = {
        "device_hostname": first_of(mapping(resource.get("instanceDetails")), ("instanceId",)),
        "actor_user": first_of(key, ("userName",)) or mapping(key.get("user")).get("name") or key.get("principalId"),
        "finding_title": finding.get("type"),
        "severity": _severity(finding.get("severity")),
        "src_ip": remote,
    }
    times = (
        service.get("eventLastSeen"),
        finding.get("updatedAt"),
        finding.get("createdAt"),
        service.get("eventFirstSeen"),
    )
    activity = "malware" if str(finding.get("type")).partition(":")[0] in _MALWARE else "ids_notice"
    return next(filter(None, map(read_time, times)), None), draft_event("detection", activity, values)


def _severity(value: Any) -> Any:
    """Return the name of a severity that is a number; AWS, "GuardDuty finding severity levels"."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return next((name for least, name in _SEVERITIES if value >= least), str(value))


def finding_update(raw: Raw) -> tuple[str, int] | None:
    """Name the finding that a record is an update of: GuardDuty tells what goes on under the first finding's id."""
    name = first_of(raw, ("id", "Id"))
    return (str(name), 0) if name is not None else None


def _remote(action: Raw) -> Any:
    """Return the remote address of a finding's action, of whichever kind the action is."""
    for part in map(mapping, action.values()):
        probes = part.get("portProbeDetails")
        for place in (part, *map(mapping, probes if isinstance(probes, list) else ())):
            address = mapping(place.get("remoteIpDetails")).get("ipAddressV4")
            if address:
                return address
    return None


# ---------------------------------------------------------------- Security Hub
def is_security_hub(raw: Raw) -> bool:
    """Return whether a record is a finding in AWS's own format."""
    return "Types" in raw and ("ProductArn" in raw or ("Severity" in raw and "SchemaVersion" in raw))


def convert_security_hub(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of a finding; a check of a control, which is a setting and no act, is skipped."""
    moment = read_time(first_of(raw, ("LastObservedAt", "UpdatedAt", "CreatedAt", "FirstObservedAt")))
    if mapping(raw.get("Compliance")).get("Status"):
        return moment, Skipped("Security Hub: a check of a setting, and no act")
    severity, network = mapping(raw.get("Severity")), mapping(raw.get("Network"))
    resources = raw.get("Resources")
    first = mapping(resources[0]) if isinstance(resources, list) and resources else {}
    values = {
        "device_hostname": str(first.get("Id") or "").rpartition("/")[2]
        if first.get("Type") == "AwsEc2Instance"
        else None,
        "finding_title": raw.get("Title"),
        "severity": first_of(severity, ("Label", "Normalized")),
        "src_ip": network.get("SourceIpV4"),
        "dst_ip": network.get("DestinationIpV4"),
    }
    return moment, draft_event("detection", "ids_notice", values)


# ---------------------------------------------------------------- OCSF
def is_ocsf(raw: Raw) -> bool:
    """Return whether a record is an event in the Open Cybersecurity Schema."""
    return "class_uid" in raw and ("metadata" in raw or "category_uid" in raw)


def convert_ocsf(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of an event of Security Lake or Security Hub a detection, a sign-in, a connection or a call, by its class."""
    kind = str(raw["class_uid"])
    make = _OCSF.get(kind)
    moment = read_time(first_of(raw, ("time", "start_time", "time_dt")))
    return moment, make(raw) if make else Skipped(f"no mapping for OCSF class {kind}")


def _ocsf_user(raw: Raw) -> Raw:
    return mapping(raw.get("user")) or mapping(mapping(raw.get("actor")).get("user"))


def _ocsf_detection(raw: Raw) -> Imported:
    about = mapping(raw.get("finding_info")) or mapping(raw.get("finding"))
    values = {
        "finding_title": first_of(about, ("title", "uid")),
        "severity": raw.get("severity"),
        "src_ip": mapping(raw.get("src_endpoint")).get("ip"),
        "device_hostname": first_of(mapping(raw.get("device")), ("hostname", "name")),
    }
    return draft_event("detection", "ids_notice", values)


def _ocsf_sign_in(raw: Raw) -> Imported:
    if str(raw.get("activity_id")) not in ("1", "None"):
        return Skipped(f"no mapping for OCSF authentication activity {raw.get('activity_id')}")
    succeeded = str(raw.get("status_id")) == "1" or str(raw.get("status")).lower() == "success"
    values = {
        "user_name": first_of(_ocsf_user(raw), ("name", "email_addr", "uid")),
        "src_ip": mapping(raw.get("src_endpoint")).get("ip"),
        "status": "0" if succeeded else first_of(raw, ("status_detail", "status_code", "status")),
        "logon_process": mapping(raw.get("service")).get("name"),
        "target_hostname": mapping(raw.get("dst_endpoint")).get("hostname"),
    }
    return draft_event("logon", "success" if succeeded else "failure", values)


def _ocsf_call(raw: Raw) -> Imported:
    api, user, cloud = mapping(raw.get("api")), _ocsf_user(raw), mapping(raw.get("cloud"))
    values = {
        "actor_user": user.get("name"),
        "session_uid": user.get("credential_uid"),
        "user_uid": first_of(user, ("uid", "uid_alt", "name")),
        "user_type": user.get("type"),
        "src_ip": mapping(raw.get("src_endpoint")).get("ip"),
        "user_agent": mapping(raw.get("http_request")).get("user_agent"),
        "api_service": mapping(api.get("service")).get("name"),
        "api_operation": api.get("operation"),
        "api_error": mapping(api.get("response")).get("error"),
        "cloud_region": cloud.get("region"),
        "cloud_account": mapping(cloud.get("account")).get("uid"),
        "resources": fitted(mapping(api.get("request")).get("data") or raw.get("unmapped") or raw.get("resources")),
    }
    return draft_event("cloud_api", "call", values)


def _ocsf_flow(raw: Raw) -> Imported:
    source, destination = mapping(raw.get("src_endpoint")), mapping(raw.get("dst_endpoint"))
    traffic = mapping(raw.get("traffic"))
    refused = str(raw.get("disposition_id")) == "2" or str(raw.get("activity_id")) == "5"
    values = {
        "src_ip": source.get("ip"),
        "src_port": source.get("port"),
        "dst_ip": destination.get("ip"),
        "dst_port": destination.get("port"),
        "dst_hostname": destination.get("hostname"),
        "bytes_out": first_of(traffic, ("bytes_out", "bytes")),
        "bytes_in": traffic.get("bytes_in"),
    }
    return draft_event("net_conn", "block" if refused else "flow", values)


_OCSF = {
    "2001": _ocsf_detection,
    "2004": _ocsf_detection,
    "3002": _ocsf_sign_in,
    "4001": _ocsf_flow,
    "6003": _ocsf_call,
}

# ---------------------------------------------------------------- VPC Flow Logs
FLOW_NAMES = (  # version 2, the default order
    *(
        "version",
        "account-id",
        "interface-id",
        "srcaddr",
        "dstaddr",
        "srcport",
        "dstport",
        "protocol",
        "packets",
        "bytes",
    ),
    *("start", "end", "action", "log-status"),
)
_FLOW_LINE = re.compile(
    r"\d+ \S+ \S+ (?:\S+ ){7}(?:\d{9,11}|-) (?:\d{9,11}|-) (?:ACCEPT|REJECT|-) (?:OK|NODATA|SKIPDATA)\s*$", re.ASCII
)


def is_flow_line(raw: Raw) -> bool:
    """Return whether a record is a line of text that tells a flow in the default order."""
    line = raw.get("raw")
    return isinstance(line, str) and line[:1].isdecimal() and _FLOW_LINE.match(line) is not None


def is_flow(raw: Raw) -> bool:
    """Return whether a record is a flow: such a line, or fields by their names, with hyphens or, in tables, underscores."""
    return ("srcaddr" in raw and "dstaddr" in raw and ("action" in raw or "start" in raw)) or is_flow_line(raw)


def convert_flow(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of a flow, blocked where it was rejected; a window without data is skipped."""
    row = dict(zip(FLOW_NAMES, str(raw["raw"]).split(), strict=False)) if is_flow_line(raw) else raw
    flow = {name.replace("_", "-"): value for name, value in row.items()}
    moment = read_time(first_of(flow, ("start", "starttime", "end", "endtime")))
    if flow.get("log-status") in ("NODATA", "SKIPDATA"):
        return moment, Skipped("VPC flow: a window without data")
    values = {
        "device_hostname": first_of(flow, ("instance-id", "interface-id")),
        "src_ip": first_of(flow, ("srcaddr", "pkt-srcaddr")),
        "src_port": first_of(flow, ("srcport", "sourceport")),
        "dst_ip": first_of(flow, ("dstaddr", "pkt-dstaddr")),
        "dst_port": first_of(flow, ("dstport", "destinationport")),
        "bytes_out": first_of(flow, ("bytes", "numbytes")),
        "direction": {"ingress": "inbound", "egress": "outbound"}.get(str(flow.get("flow-direction"))),
    }
    return moment, draft_event("net_conn", "block" if flow.get("action") == "REJECT" else "flow", values)


# ---------------------------------------------------------------- Route 53 and WAF
def is_resolver_query(raw: Raw) -> bool:
    """Return whether a record is a query of Route 53 Resolver (AWS, "Values that appear in VPC Resolver query logs")."""
    return "query_name" in raw and "query_timestamp" in raw


def convert_resolver_query(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a look-up of a query, with its answers."""
    found = [str(answer.get("Rdata")) for answer in mappings(raw.get("answers"))]
    values = {
        "device_hostname": mapping(raw.get("srcids")).get("instance"),
        "query_hostname": str(raw.get("query_name") or "").rstrip("."),
        "answers": ",".join(found),
        "src_ip": raw.get("srcaddr"),
    }
    return read_time(raw["query_timestamp"]), draft_event("dns_query", "query", values)


def is_waf(raw: Raw) -> bool:
    """Return whether a record is a request that AWS WAF saw (AWS, "Log fields for protection pack (web ACL) traffic")."""
    return "webaclId" in raw and "httpRequest" in raw


def convert_waf(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a web request."""
    request = mapping(raw.get("httpRequest"))
    named = {str(pair.get("name")).lower(): pair.get("value") for pair in mappings(request.get("headers"))}
    values = {
        "url": web_url(named.get("host"), request.get("uri") or "", request.get("args")),
        "user_agent": named.get("user-agent"),
        "http_method": request.get("httpMethod"),
        "status_code": raw.get("responseCodeSent"),
        "src_ip": request.get("clientIp"),
    }
    return read_time(raw.get("timestamp")), draft_event("http", "request", values)


FORMATS = (
    Format(
        "AWS GuardDuty",
        is_guardduty,
        convert_guardduty,
        ("aws/guardduty",),
        "`aws guardduty get-findings`, EventBridge, or the bucket of findings",
        finding_update,
    ),
    Format(
        "AWS Security Hub",
        is_security_hub,
        convert_security_hub,
        ("aws/securityhub",),
        "`aws securityhub get-findings`, or EventBridge",
    ),
    Format(
        "OCSF", is_ocsf, convert_ocsf, ("aws/securitylake",), "Security Lake, Security Hub, or another writer of OCSF"
    ),
    Format(
        "Route 53 Resolver",
        is_resolver_query,
        convert_resolver_query,
        ("dns",),
        "the query log's bucket or log group",
    ),
    Format("AWS WAF", is_waf, convert_waf, ("webserver",), "the web ACL's bucket or log group"),
    Format("AWS VPC flow", is_flow, convert_flow, ("aws/vpcflow",), "the flow log's bucket or log group, or Athena"),
)
