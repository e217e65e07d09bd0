"""Google Cloud and Workspace: audit logs, flows and findings of the cloud, activities of Workspace's reports.

A LogEntry comes from `gcloud logging read`, a sink's bucket, Pub/Sub or BigQuery (`carriers`). Calls of a GKE cluster become what
Kubernetes' own audit becomes. Sources: Google, "AuditLog" and "LogEntry" references, "VPC Flow Logs record format", "Security
Command Center: Finding", "GKE audit logging information", "Reports API: Activities", "Login Audit Activity Events".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import WORKSPACE_EVENT, fitted, plain
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.kubernetes import SERVICE, call_resources, user_type
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, json_value, mapping, mappings

Raw = Mapping[str, Any]
_KUBERNETES = re.compile(r"io\.k8s\.(?P<group>.+)\.(?P<version>v\d\w*)\.(?P<things>[\w.-]+)\.(?P<verb>\w+)$")
_WARNINGS = ("suspicious_", "gov_attack_warning", "account_disabled_")  # login events that are Google's own findings
_WORKSPACE_LOGIN = re.compile(r"google\.login\.LoginService\.(\w+)$")


def _time(raw: Raw) -> datetime | None:
    return read_time(first_of(raw, ("timestamp", "receiveTimestamp", "receive_timestamp")))


# ---------------------------------------------------------------- audit
def is_audit(raw: Raw) -> bool:
    """Return whether a record is a LogEntry of an audit log, by its payload or the payload alone."""
    payload = json_value(raw.get("protoPayload"))
    return isinstance(payload, Mapping) and ("methodName" in payload or "serviceName" in payload)


def convert_audit(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a call of an audit entry: what was asked of which resource, and the change of its policy."""
    payload = mapping(json_value(raw.get("protoPayload")))
    method = str(payload.get("methodName") or "")
    login = _WORKSPACE_LOGIN.match(method)
    if login and login[1] in ("loginSuccess", "loginFailure"):
        return _time(raw), _login(payload, login[1] == "loginSuccess")
    events = _events_of_workspace(payload)
    if events:
        return _time(raw), _call_of_workspace(payload, events[0])
    return _time(raw), _kubernetes_call(payload, method) if payload.get("serviceName") == "k8s.io" else _call(
        raw, payload
    )


def attempt(raw: Raw) -> tuple[str, int] | None:
    """Name the long-running operation that an entry is the first or the last of."""
    operation = mapping(raw.get("operation"))
    if not operation.get("id") or (operation.get("first") and operation.get("last")):
        return None
    return f"{operation['id']} {mapping(raw.get('protoPayload')).get('methodName')}", 0 if operation.get(
        "first"
    ) else -1


def _who(payload: Raw) -> tuple[str | None, str | None]:
    """Return who calls, and whether that is a person or a service account."""
    about = mapping(payload.get("authenticationInfo"))
    name = first_of(about, ("principalEmail", "principalSubject"))
    if name is None:
        return None, None
    is_service = str(name).endswith("gserviceaccount.com") or "serviceAccount:" in str(name)
    return str(name), "service" if is_service else "user"


def _address(payload: Raw) -> Any:
    return mapping(payload.get("requestMetadata")).get("callerIp")


def _error(payload: Raw) -> str | None:
    status = mapping(payload.get("status"))
    code = status.get("code")
    return str(first_of(status, ("message",)) or code) if code not in (None, 0, "0") else None


def _call(raw: Raw, payload: Raw) -> Imported:
    name, kind = _who(payload)
    resource = mapping(raw.get("resource"))
    labels = mapping(resource.get("labels"))
    values = {
        "actor_user": name,
        "user_uid": name,
        "user_type": kind,
        "src_ip": _address(payload),
        "user_agent": mapping(payload.get("requestMetadata")).get("callerSuppliedUserAgent"),
        "api_service": payload.get("serviceName"),
        "api_operation": payload.get("methodName"),
        "api_error": _error(payload),
        "cloud_region": first_of(labels, ("location", "zone", "region")),
        "cloud_account": first_of(labels, ("project_id", "organization_id")),
        "resources": fitted(
            {
                "resourceName": payload.get("resourceName"),
                "policyDelta": _policy_delta(payload),
                "request": _without_type(payload.get("request")),
                "metadata": _without_type(payload.get("metadata")),
            }
        ),
    }
    return draft_event("cloud_api", "call", values)


def _events_of_workspace(payload: Raw) -> list[Raw]:
    """Return the events of Workspace that an entry of Cloud Logging bears: `metadata.event`, named as the Reports API does."""
    events = json_value(mapping(payload.get("metadata")).get("event"))
    return [event for event in mappings(events) if event.get("eventName")]


def _call_of_workspace(payload: Raw, event: Raw) -> Imported:
    name, kind = _who(payload)
    values = {
        "actor_user": name,
        "user_uid": name,
        "user_type": kind,
        "src_ip": _address(payload),
        "api_service": f"workspace/{str(payload.get('serviceName')).partition('.')[0]}",
        "api_operation": event["eventName"],
        "api_error": _error(payload),
        "resources": fitted(_parameters({"parameters": event.get("parameter")})),
    }
    return draft_event("cloud_api", "call", values)


def _policy_delta(payload: Raw) -> Any:
    """Return the bindings that a call added and removed; services put them into the service data or the metadata."""
    places = (mapping(payload.get("serviceData")), mapping(payload.get("metadata")), payload)
    delta = json_value(next((place["policyDelta"] for place in places if "policyDelta" in place), None))
    return {name: json_value(part) for name, part in delta.items()} if isinstance(delta, Mapping) else delta


def _without_type(value: Any) -> Any:
    inner = json_value(value)
    return (
        {name: part for name, part in inner.items() if name not in ("@type", "policyDelta")}
        if isinstance(inner, Mapping)
        else inner
    )


def _kubernetes_call(payload: Raw, method: str) -> Imported:
    name, _ = _who(payload)
    parts = _KUBERNETES.match(method)
    things = parts["things"].split(".") if parts else [method]
    path = str(payload.get("resourceName") or "").split("/")
    thing = {
        "resource": things[0],
        "subresource": "/".join(things[1:]) or None,
        "namespace": path[path.index("namespaces") + 1] if "namespaces" in path[:-1] else None,
        "name": path[path.index(things[0]) + 1] if things[0] in path[:-1] else None,
        "apiGroup": None if not parts or parts["group"] == "core" else parts["group"],
    }
    values = {
        "actor_user": name,
        "user_uid": name,
        "user_type": "service" if _who(payload)[1] == "service" else user_type(str(name or "")),
        "src_ip": _address(payload),
        "user_agent": mapping(payload.get("requestMetadata")).get("callerSuppliedUserAgent"),
        "api_service": SERVICE,
        "api_operation": f"{parts['verb']} {'/'.join(things)}" if parts else method,
        "api_error": _error(payload),
        "resources": call_resources(thing, _without_type(payload.get("request"))),
    }
    return draft_event("cloud_api", "call", values)


def _login(payload: Raw, succeeded: bool) -> Imported:
    values = {
        "user_name": _who(payload)[0],
        "src_ip": _address(payload),
        "status": "0" if succeeded else "login_failure",
        "logon_process": "Google Workspace",
    }
    return draft_event("logon", "success" if succeeded else "failure", values)


# ---------------------------------------------------------------- flows and findings
def is_flow(raw: Raw) -> bool:
    """Return whether a record is a LogEntry of VPC Flow Logs."""
    return "connection" in mapping(raw.get("jsonPayload"))


def convert_flow(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a connection of a flow; of the two reports of a flow in one network each is an event of its own."""
    flow = mapping(raw.get("jsonPayload"))
    ends = mapping(flow.get("connection"))
    values = {
        "device_hostname": mapping(flow.get("src_instance")).get("vm_name"),
        "src_ip": ends.get("src_ip"),
        "src_port": ends.get("src_port"),
        "dst_ip": ends.get("dest_ip"),
        "dst_port": ends.get("dest_port"),
        "bytes_out": flow.get("bytes_sent"),
    }
    return read_time(first_of(flow, ("start_time",)) or raw.get("timestamp")), draft_event("net_conn", "flow", values)


def is_finding(raw: Raw) -> bool:
    """Return whether a record is a finding of Security Command Center."""
    return "category" in mapping(raw.get("finding"))


def convert_finding(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of a finding."""
    finding = mapping(raw["finding"])
    access = mapping(finding.get("access"))
    values = {
        "actor_user": access.get("principalEmail"),
        "finding_title": finding.get("category"),
        "severity": finding.get("severity"),
        "src_ip": access.get("callerIp"),
    }
    return read_time(first_of(finding, ("eventTime", "createTime"))), draft_event("detection", "ids_notice", values)


# ---------------------------------------------------------------- Workspace
def is_workspace(raw: Raw) -> bool:
    """Return whether a record is one event of an activity of the Reports API."""
    return WORKSPACE_EVENT in raw and "id" in raw


def convert_workspace(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of an event a sign-in, a detection where Google warns of one, else a call with the event's parameters.

    A challenge that a login asks for is a call, and no failure.
    """
    event, about, actor = mapping(raw[WORKSPACE_EVENT]), mapping(raw["id"]), mapping(raw.get("actor"))
    name, application = str(event.get("name") or ""), str(about.get("applicationName") or "")
    who = first_of(actor, ("email", "key", "profileId"))
    moment = read_time(about.get("time"))
    if name in ("login_success", "login_failure"):
        return moment, _workspace_login(raw, who, name, _parameters(event))
    if application == "login" and name.startswith(_WARNINGS):
        title = {"actor_user": who, "finding_title": name, "severity": "high", "src_ip": raw.get("ipAddress")}
        return moment, draft_event("detection", "ids_notice", title)
    values = {
        "actor_user": who,
        "user_uid": who,
        "user_type": {"USER": "user", "KEY": "app"}.get(str(actor.get("callerType"))),
        "src_ip": raw.get("ipAddress"),
        "api_service": f"workspace/{application}",
        "api_operation": name,
        "cloud_account": about.get("customerId"),
        "resources": fitted(_parameters(event)),
    }
    return moment, draft_event("cloud_api", "call", values)


def _workspace_login(raw: Raw, who: Any, name: str, parameters: Raw) -> Imported:
    values = {
        "user_name": who,
        "src_ip": raw.get("ipAddress"),
        "status": "0" if name == "login_success" else parameters.get("login_failure_type") or name,
        "logon_process": "Google Workspace",
    }
    return draft_event("logon", name.removeprefix("login_"), values)


def _parameters(event: Raw) -> dict[str, Any]:
    """Return an event's parameters by name; each bears its value under the name of its type."""
    rows = event.get("parameters")
    kinds = ("value", "multiValue", "boolValue", "intValue", "multiIntValue", "messageValue", "multiMessageValue")
    pairs = mappings(rows)
    return {str(pair.get("name")): next((pair[kind] for kind in kinds if kind in pair), None) for pair in pairs}


_CONSOLE_LOGINS = {"successful login": "success", "failed login": "failure"}
_CONSOLE_WARNINGS = ("suspicious", "government", "leaked", "account suspended", "user suspended")
_MESSAGES = (  # Reports API, "Admin Audit Activity Events", "User Accounts Audit Activity Events": the console's message formats
    ("ASSIGN_ROLE", "Role {ROLE_NAME} assigned to user {USER_EMAIL}"),
    ("GRANT_ADMIN_PRIVILEGE", "Admin privileges granted to {USER_EMAIL}"),
    ("GRANT_DELEGATED_ADMIN_PRIVILEGES", "{USER_EMAIL} assigned {NEW_VALUE} admin privileges"),
    ("UNENROLL_USER_FROM_STRONG_AUTH", "User {USER_EMAIL} unenrolled from Strong Auth"),
    ("ALLOW_STRONG_AUTHENTICATION", "Allow 2-Step Verification has been set from {OLD_VALUE} to {NEW_VALUE}"),
    (
        "AUTHORIZE_API_CLIENT_ACCESS",
        "API client access to your organization from client {API_CLIENT_NAME} authorized for scopes {API_SCOPES}",
    ),
    ("ADD_TO_TRUSTED_OAUTH2_APPS", "{OAUTH2_APP_NAME} trusted for {ORG_UNIT_NAME}"),
    (
        "CREATE_EMAIL_MONITOR",
        "Created an email monitor for {USER_EMAIL} to {EMAIL_MONITOR_DEST_EMAIL} that will expire on {END_DATE_TIME}",
    ),
    (
        "email_forwarding_out_of_domain",
        "{actor} has enabled out of domain email forwarding to {email_forwarding_destination_address}",
    ),
)
_CONSOLE_MESSAGES = tuple(
    (name, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.{1,500}?)", re.escape(text)))) for name, text in _MESSAGES
)


def is_console_row(raw: Raw) -> bool:
    """Return whether a record is a row that the admin console's audit pages download."""
    row = plain(raw)
    is_audit_page = "date" in row and "ipaddress" in row
    return is_audit_page and _console_row(row).keys() >= {"event", "description", "actor"}


def _console_row(raw: Raw) -> dict[str, Any]:
    """Return a row's columns by one name each: the older page of administrators calls them `Event name`, `Event description`, `Admin`."""
    row = plain(raw)
    aliases = (("event", ("eventname",)), ("description", ("eventdescription",)), ("actor", ("user", "admin")))
    for name, others in aliases:
        value = first_of(row, (name, *others))
        row |= {name: value} if value else {}
    return row


def convert_console_row(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of a row a sign-in, a detection where Google warns of one, else a call; the console tells it in a sentence."""
    row = _console_row(raw)
    moment, event = read_time(row["date"]), str(row["event"])
    who, address = first_of(row, ("user", "actor")), row["ipaddress"]
    activity = _CONSOLE_LOGINS.get(event.lower())
    if activity:
        values = {"user_name": who, "src_ip": address, "logon_process": "Google Workspace"}
        return moment, draft_event("logon", activity, {**values, "status": "0" if activity == "success" else event})
    if event.lower().startswith(_CONSOLE_WARNINGS):
        return moment, draft_event(
            "detection",
            "ids_notice",
            {"actor_user": who, "finding_title": event, "severity": "high", "src_ip": address},
        )
    is_login = "logintype" in row
    operation, parameters = _console_call(event, str(row["description"]))
    values = {
        "actor_user": row["actor"],
        "src_ip": address,
        "api_service": "workspace/login" if is_login else "workspace/admin",
        "api_operation": event if is_login else operation,
        "resources": fitted({**parameters, "description": row["description"]}),
    }
    return moment, draft_event("cloud_api", "call", values)


def _console_call(event: str, description: str) -> tuple[str, dict[str, str]]:
    """Return what the Reports API calls an event, and its parameters, by the console's sentence; else by the event's title."""
    for name, pattern in _CONSOLE_MESSAGES:
        if match := pattern.fullmatch(description.strip().rstrip(".")):
            return name, match.groupdict()
    return event.strip().upper().replace(" ", "_"), {}


FORMATS = (
    Format(
        "GCP audit",
        is_audit,
        convert_audit,
        ("gcp/gcp.audit", "gcp/google_workspace.admin"),
        "`gcloud logging read`, a sink's bucket, Pub/Sub or BigQuery",
        attempt,
    ),
    Format("GCP VPC flow", is_flow, convert_flow, ("gcp/network",), "a log sink of VPC Flow Logs"),
    Format("GCP Security Command Center", is_finding, convert_finding, ("gcp/scc",), "`gcloud scc findings list`"),
    Format(
        "Google Workspace",
        is_workspace,
        convert_workspace,
        ("gcp/google_workspace.login", "gcp/google_workspace.admin"),
        "the Reports API (activities.list), or GAM",
    ),
    Format(
        "Google Workspace console",
        is_console_row,
        convert_console_row,
        ("gcp/google_workspace.login", "gcp/google_workspace.admin"),
        "the admin console's audit pages, as CSV",
    ),
)
