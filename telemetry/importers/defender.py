"""Microsoft Defender's tables of devices and identities, as advanced hunting, Sentinel and the streaming API export them.

A row's table is known by its `Type`, else by its `ActionType`, else (a query that projects columns) by its columns. Cloud
apps' rows (`CloudAppEvents`) are the cloud family's. Source: Microsoft, "Advanced hunting schema" (DeviceProcessEvents
and its neighbours, with the action types that the portal lists for each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.security import registry_path, task_command
from telemetry.importers.times import read_time
from telemetry.importers.values import compact, first_of, json_value, mapping

Raw = Mapping[str, Any]
Maker = Callable[[Raw], Imported]
LOGON_TYPES = {  # Microsoft, "Windows logon types"
    "interactive": 2,
    "network": 3,
    "batch": 4,
    "service": 5,
    "unlock": 7,
    "networkcleartext": 8,
    "newcredentials": 9,
    "remoteinteractive": 10,
    "cachedinteractive": 11,
}


# ---------------------------------------------------------------- columns
def _path(raw: Raw, folder: str, name: str) -> str | None:
    """Join folder and file name; some tables already give the whole path as folder."""
    where, what = str(raw.get(folder) or ""), str(raw.get(name) or "")
    if not where or not what or where.lower().endswith(what.lower()):
        return where or what or None
    return f"{where}/{what}" if where.startswith("/") else f"{where}\\{what}"


def _device(raw: Raw) -> dict[str, Any]:
    return {
        "device_hostname": raw.get("DeviceName"),
        "actor_user": first_of(raw, ("InitiatingProcessAccountName", "AccountName", "AccountDisplayName")),
        "session_uid": first_of(raw, ("InitiatingProcessLogonId", "LogonId")),
    }


def _initiating(raw: Raw) -> str | None:
    return _path(raw, "InitiatingProcessFolderPath", "InitiatingProcessFileName")


def _target(raw: Raw) -> str | None:
    return _path(raw, "FolderPath", "FileName")


def _details(raw: Raw) -> Mapping[str, Any]:
    return mapping(
        json_value(first_of(raw, ("AdditionalFields", "AdditionalFields_string", "AdditionalFields_dynamic")))
    )


def _hashes(raw: Raw) -> str:
    return ",".join(f"{name}={raw[name]}" for name in ("SHA1", "MD5", "SHA256") if raw.get(name))


def _row(event_type: str, activity: str, adjust: Callable[[Raw], dict[str, Any]], **columns: str) -> Maker:
    """Return a maker of events: who and where, then the named columns, then what `adjust` reads of the row."""

    def make(raw: Raw) -> Imported:
        values = {**_device(raw), **{name: raw.get(column) for name, column in columns.items()}, **adjust(raw)}
        return draft_event(event_type, values.pop("activity", activity), values)

    return make


# ---------------------------------------------------------------- devices
def _process(raw: Raw) -> dict[str, Any]:
    return {"process_path": _target(raw), "process_hashes": _hashes(raw), "parent_path": _initiating(raw)}


_LAUNCH = _row(
    "process",
    "launch",
    _process,
    process_cmd_line="ProcessCommandLine",
    process_pid="ProcessId",
    process_integrity="ProcessIntegrityLevel",
    process_original_name="ProcessVersionInfoOriginalFileName",
    process_company="ProcessVersionInfoCompanyName",
    parent_cmd_line="InitiatingProcessCommandLine",
)


def _ends(raw: Raw, source: str = "Local", destination: str = "Remote") -> dict[str, Any]:
    return {
        "src_ip": raw.get(f"{source}IP"),
        "src_port": raw.get(f"{source}Port"),
        "dst_ip": raw.get(f"{destination}IP"),
        "dst_port": raw.get(f"{destination}Port"),
    }


def _connection(activity: str, direction: str | None = None) -> Maker:
    """Return a maker of connections; of an inbound one the remote end is the source."""

    def values(raw: Raw) -> dict[str, Any]:
        ends = _ends(raw, "Remote", "Local") if direction == "inbound" else _ends(raw)
        return {**ends, "direction": direction, "process_path": _initiating(raw), "dst_hostname": raw.get("RemoteUrl")}

    return _row("net_conn", activity, values)


def _dns(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    return {
        "query_hostname": first_of(details, ("DnsQueryString", "query")) or raw.get("RemoteUrl"),
        "answers": compact(json_value(first_of(details, ("DnsQueryResult", "answers")))),
        "process_path": _initiating(raw),
    }


def _http(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    return {
        "url": f"{details.get('host') or raw.get('RemoteUrl') or ''}{details.get('uri') or ''}",
        "user_agent": details.get("user_agent"),
        "http_method": details.get("method"),
        "status_code": details.get("status_code"),
        "bytes_out": details.get("request_body_len"),
        "bytes_in": details.get("response_body_len"),
        "src_ip": raw.get("LocalIP"),
        "dst_ip": raw.get("RemoteIP"),
    }


def _tls(raw: Raw) -> dict[str, Any]:
    return {**_ends(raw), "tls_sni": _details(raw).get("server_name"), "process_path": _initiating(raw)}


def _file(activity: str) -> Maker:
    return _row(
        "file",
        activity,
        lambda raw: {
            "file_path": _target(raw),
            "process_path": _initiating(raw),
            "file_hashes": raw.get("SHA256") or raw.get("SHA1"),
        },
    )


def _registry(activity: str) -> Maker:
    def values(raw: Raw) -> dict[str, Any]:
        key = registry_path(first_of(raw, ("RegistryKey", "PreviousRegistryKey")))
        name = first_of(raw, ("RegistryValueName", "PreviousRegistryValueName"))
        return {
            "reg_key_path": f"{key}\\{name}" if name else key,
            "reg_value_data": raw.get("RegistryValueData"),
            "process_path": _initiating(raw),
        }

    return _row("registry", activity, values)


def _module(activity: str) -> Maker:
    return _row("module_load", activity, lambda raw: {"file_path": _target(raw), "process_path": _initiating(raw)})


def _logon(activity: str) -> Maker:
    def make(raw: Raw) -> Imported:
        kind = str(raw.get("LogonType") or "").replace(" ", "").lower()
        values = {
            "device_hostname": raw.get("DeviceName"),
            "session_uid": raw.get("LogonId"),
            "user_name": raw.get("AccountName"),
            "logon_type": LOGON_TYPES.get(kind),
            "src_ip": raw.get("RemoteIP"),
            "src_hostname": raw.get("RemoteDeviceName"),
            "auth_protocol": raw.get("Protocol"),
            "status": raw.get("FailureReason"),
            "process_path": _initiating(raw),
        }
        return draft_event("logon", activity, values)

    return make


# ---------------------------------------------------------------- other device events
def _ldap(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    asked = (compact(details.get("SearchFilter")), compact(details.get("AttributeList")))
    return {
        "object_dn": details.get("DistinguishedName"),
        "object_type": "LDAP search",
        "properties": " ".join(filter(None, asked)),
    }


def _script(activity: str) -> Maker:
    return _row(
        "script",
        activity,
        lambda raw: {
            "script_text": first_of(_details(raw), ("ScriptContent", "Command", "Content")),
            "host_application": raw.get("InitiatingProcessCommandLine"),
        },
    )


def _threat(activity: str) -> Maker:
    """Return a maker of a protection's finding: the threat's name, or what the action is called."""

    def values(raw: Raw) -> dict[str, Any]:
        details = _details(raw)
        return {
            "finding_title": first_of(details, ("ThreatName", "RuleName", "Description")) or raw.get("ActionType"),
            "severity": details.get("Severity"),
            "file_path": _target(raw),
        }

    return _row("detection", activity, values)


def _task(activity: str) -> Maker:
    def values(raw: Raw) -> dict[str, Any]:
        details = _details(raw)
        command, account = task_command(first_of(details, ("TaskContent", "TaskContentNew")))
        return {"job_name": details.get("TaskName"), "job_cmd_line": command, "run_as": account}

    return _row("task", activity, values)


def _service(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    return {
        "service_name": details.get("ServiceName"),
        "service_cmd_line": raw.get("ProcessCommandLine") or details.get("ServiceCommand") or _target(raw),
        "start_type": details.get("ServiceStartType"),
        "run_as": details.get("ServiceAccount"),
    }


def _account(activity: str) -> Maker:
    return _row("account", activity, lambda raw: _acting(raw) | {"user_name": raw.get("AccountName")})


def _group(activity: str) -> Maker:
    def values(raw: Raw) -> dict[str, Any]:
        group = first_of(_details(raw), ("GroupName", "GroupDomainName"))
        return _acting(raw) | {
            "group_name": group,
            "user_name": first_of(raw, ("AccountName", "AccountSid")),
            "process_path": _initiating(raw),
        }

    return _row("group", activity, values)


def _acting(raw: Raw) -> dict[str, Any]:
    """Name who changed an account: never the account itself, which stands in AccountName."""
    return {"actor_user": raw.get("InitiatingProcessAccountName")}


def _pipe(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    opened = "open" in str(details.get("FileOperation")).lower()
    name = str(details.get("PipeName") or "").removeprefix("\\Device\\NamedPipe")
    return {"activity": "connect" if opened else "create", "pipe_name": name, "process_path": _initiating(raw)}


def _access(raw: Raw) -> dict[str, Any]:
    return {
        "process_path": _initiating(raw),
        "target_path": _target(raw),
        "access_mask": _details(raw).get("DesiredAccess"),
    }


def _injection(raw: Raw) -> dict[str, Any]:
    return {"process_path": _initiating(raw), "target_path": _target(raw)}


def _subscription(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    return {
        "wmi_query": first_of(details, ("PossibleCause", "ESS")),
        "wmi_consumer": details.get("Consumer"),
    }


def _control(activity: str, name: str, state: str | None = None) -> Maker:
    def values(raw: Raw) -> dict[str, Any]:
        details = raw.get("AdditionalFields")
        return {
            "control_name": name,
            "new_value": state or compact(json_value(details)),
            "process_path": _initiating(raw),
        }

    return _row("control_change", activity, values)


_BLOCKED_OUT, _BLOCKED_IN = _connection("block", "outbound"), _connection("block", "inbound")


# ---------------------------------------------------------------- identities
def _identity_logon(activity: str) -> Maker:
    def make(raw: Raw) -> Imported:
        values = {
            "device_hostname": first_of(raw, ("DestinationDeviceName", "TargetDeviceName")),
            "user_name": first_of(raw, ("AccountName", "AccountUpn", "AccountDisplayName")),
            "src_ip": raw.get("IPAddress"),
            "src_hostname": raw.get("DeviceName"),
            "auth_protocol": raw.get("Protocol"),
            "status": raw.get("FailureReason"),
            "target_hostname": first_of(raw, ("DestinationDeviceName", "TargetDeviceName")),
            "logon_process": raw.get("Application"),
        }
        return draft_event("logon", activity, values)

    return make


def _identity(raw: Raw) -> dict[str, Any]:
    return {"actor_user": first_of(raw, ("AccountName", "AccountUpn", "AccountDisplayName"))}


def _directory_query(raw: Raw) -> dict[str, Any]:
    return _identity(raw) | {
        "device_hostname": first_of(raw, ("DestinationDeviceName", "DeviceName")),
        "object_dn": raw.get("QueryTarget"),
        "object_type": raw.get("ActionType"),
        "properties": raw.get("Query"),
        "src_ip": raw.get("IPAddress"),
        "dst_ip": raw.get("DestinationIPAddress"),
    }


def _identity_target(raw: Raw) -> dict[str, Any]:
    return _identity(raw) | {"user_name": first_of(raw, ("TargetAccountDisplayName", "TargetAccountUpn"))}


def _membership(raw: Raw) -> dict[str, Any]:
    details = _details(raw)
    added, removed = details.get("TO.GROUP"), details.get("FROM.GROUP")
    member = first_of(details, ("TARGET_OBJECT.USER", "TARGET_OBJECT.GROUP", "TARGET_OBJECT.ENTITY_USER"))
    return _identity(raw) | {
        "activity": "member_remove" if removed and not added else "member_add",
        "group_name": added or removed,
        "user_name": member or _identity_target(raw)["user_name"],
    }


def _identity_service(raw: Raw) -> dict[str, Any]:
    return _identity(raw) | _service(raw) | {"device_hostname": raw.get("DestinationDeviceName")}


def _replication(raw: Raw) -> dict[str, Any]:
    return {"src_ip": raw.get("IPAddress"), "object_type": raw.get("Application")}


# ---------------------------------------------------------------- tables
TABLES: Mapping[str, Mapping[str, Maker]] = {
    "DeviceProcessEvents": {"ProcessCreated": _LAUNCH, "OpenProcess": _row("process_access", "open", _access)},
    "DeviceNetworkEvents": {
        "ConnectionSuccess": _connection("open"),
        "ConnectionFailed": _connection("open"),
        "ConnectionRequest": _connection("open"),
        "ConnectionAttempt": _connection("open"),
        "ConnectionFound": _connection("open"),
        "ConnectionAcknowledged": _connection("open"),
        "InboundConnectionAccepted": _connection("allow", "inbound"),
        "InboundConnectionAttempt": _connection("open", "inbound"),
        "ListeningConnectionCreated": _connection("listen"),
        "DnsConnectionInspected": _row("dns_query", "query", lambda raw: _dns(raw) | {"src_ip": raw.get("LocalIP")}),
        "HttpConnectionInspected": _row("http", "request", _http),
        "SslConnectionInspected": _row("net_conn", "tls_session", _tls),
        "SshConnectionInspected": _connection("flow"),
        "NetworkSignatureInspected": _row(
            "detection",
            "ids_notice",
            lambda raw: {
                "finding_title": first_of(_details(raw), ("SignatureName", "signature_name")),
                "src_ip": raw.get("LocalIP"),
                "dst_ip": raw.get("RemoteIP"),
            },
        ),
    },
    "DeviceFileEvents": {
        "FileCreated": _file("create"),
        "FileModified": _file("modify"),
        "FileRenamed": _file("modify"),
        "FileDeleted": _file("delete"),
    },
    "DeviceRegistryEvents": {
        "RegistryValueSet": _registry("set"),
        "RegistryKeyCreated": _registry("key_create"),
        "RegistryKeyRenamed": _registry("rename"),
        "RegistryKeyDeleted": _registry("key_delete"),
        "RegistryValueDeleted": _registry("key_delete"),
    },
    "DeviceLogonEvents": {"LogonSuccess": _logon("success"), "LogonFailed": _logon("failure")},
    "DeviceImageLoadEvents": {"ImageLoaded": _module("dll")},
    "DeviceEvents": {
        "AmsiScriptDetection": _threat("malware"),
        "AntivirusDetection": _threat("malware"),
        "AntivirusReport": _threat("malware"),
        "AntivirusDefinitionsUpdateFailed": _control("av_setting", "Windows Defender"),
        "AuditPolicyModification": _control("audit_policy", "audit policy"),
        "CreateRemoteThreadApiCall": _row("process_inject", "remote_thread", _injection),
        "QueueUserApcRemoteApiCall": _row("process_inject", "remote_thread", _injection),
        "SetThreadContextRemoteApiCall": _row("process_inject", "remote_thread", _injection),
        "DnsQueryResponse": _row("dns_query", "query", _dns),
        "DriverLoad": _module("driver"),
        "FileTimestampModificationEvent": _file("time_change"),
        "FirewallInboundConnectionBlocked": _BLOCKED_IN,
        "FirewallInboundConnectionToAppBlocked": _BLOCKED_IN,
        "FirewallOutboundConnectionBlocked": _BLOCKED_OUT,
        "FirewallServiceStopped": _control("firewall", "firewall service", "stopped"),
        "LdapSearch": _row("directory", "access", _ldap),
        "NamedPipeEvent": _row("pipe", "create", _pipe),
        "OpenProcessApiCall": _row("process_access", "open", _access),
        "ReadProcessMemoryApiCall": _row("process_access", "open", _access),
        "PasswordChangeAttempt": _account("password_change"),
        "PowerShellCommand": _script("pipeline"),
        "ScriptContent": _script("block"),
        "ScheduledTaskCreated": _task("create"),
        "ScheduledTaskUpdated": _task("update"),
        "ScheduledTaskEnabled": _task("update"),
        "ScheduledTaskDisabled": _task("update"),
        "ScheduledTaskDeleted": _task("delete"),
        "SecurityLogCleared": _control("log_clear", "Security log", "cleared"),
        "ServiceInstalled": _row("service", "install", _service),
        "SmartScreenAppWarning": _threat("ids_notice"),
        "TamperingAttempt": _control("av_setting", "tamper protection"),
        "UserAccountCreated": _account("create"),
        "UserAccountDeleted": _account("delete"),
        "UserAccountModified": _account("modify"),
        "UserAccountAddedToLocalGroup": _group("member_add"),
        "UserAccountRemovedFromLocalGroup": _group("member_remove"),
        "WmiBindEventFilterToConsumer": _row("wmi", "binding", _subscription),
    },
    "IdentityLogonEvents": {
        "LogonSuccess": _identity_logon("success"),
        "LogonFailed": _identity_logon("failure"),
    },
    "IdentityQueryEvents": {
        "LDAP query": _row("directory", "access", _directory_query),
        "SAMR query": _row("directory", "access", _directory_query),
        "DNS query": _row(
            "dns_query",
            "query",
            lambda raw: _identity(raw) | {"query_hostname": raw.get("QueryTarget"), "src_ip": raw.get("IPAddress")},
        ),
    },
    "IdentityDirectoryEvents": {
        "Directory Services replication": _row("directory", "replication", _replication),
        "Account Password changed": _row("account", "password_change", _identity_target),
        "Account disabled changed": _row("account", "modify", _identity_target),
        "Account created": _row("account", "create", _identity_target),
        "User account control changed": _row("account", "modify", _identity_target),
        "Group Membership changed": _row("group", "member_add", _membership),
        "Service creation": _row("service", "install", _identity_service),
    },
}
_GUARDS = ("ExploitGuard", "Asr", "AppControlCode", "SmartScreen")  # the first words of a protection's findings
_COLUMNS = (  # what tells the table of a row without an action
    ("ProcessCommandLine", "DeviceProcessEvents", "ProcessCreated"),
    ("RegistryKey", "DeviceRegistryEvents", "RegistryValueSet"),
    ("RemoteIP", "DeviceNetworkEvents", "ConnectionSuccess"),
)


def _table_of(raw: Raw) -> str | None:
    """Name the table of a row; None for a row of no table of devices or identities."""
    named, action = raw.get("Type"), raw.get("ActionType")
    if isinstance(named, str) and named in TABLES:
        return named
    is_device = "DeviceName" in raw or "DeviceId" in raw
    if action is None:
        return next((table for column, table, _ in _COLUMNS if is_device and column in raw), None)
    action = str(action)
    is_identity = raw.get("Application") == "Active Directory" or "DestinationDeviceName" in raw
    for table, actions in TABLES.items():
        if table.startswith("Identity") == is_identity and action in actions and (is_device or is_identity):
            return table
    if action in TABLES["IdentityDirectoryEvents"]:
        return "IdentityDirectoryEvents"
    return "DeviceEvents" if is_device and "Application" not in raw else None


def convert_defender(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when a row was made and what it becomes, by its table and action."""
    moment = read_time(first_of(raw, ("Timestamp", "TimeGenerated", "timestamp")))
    action = raw.get("ActionType")
    table = _table_of(raw) or ""
    if action is None:
        action = next((usual for _, of, usual in _COLUMNS if of == table), None)
    make = TABLES.get(table, {}).get(str(action))
    if make is None and str(action).startswith(_GUARDS):
        make = _threat("ids_notice")
    return moment, make(raw) if make else Skipped(f"no mapping for Defender action {action}")


def is_timeline(raw: Raw) -> bool:
    """Return whether a row is one of a device's timeline, which the portal exports with spaces in its columns' names."""
    return "Action Type" in raw and "Event Time" in raw


def convert_timeline(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when a row of a device's timeline was made and what it becomes."""
    columns = {name.replace(" ", ""): value for name, value in raw.items()}
    names = {"EventTime": "Timestamp", "ComputerName": "DeviceName", "Sha1": "SHA1", "Sha256": "SHA256"}
    return convert_defender({names.get(name, name): value for name, value in columns.items()})


def _is_of(table: str, raw: Raw) -> bool:
    return _table_of(raw) == table


_LOG_SOURCES = {
    "DeviceProcessEvents": ("windows/process_creation", "linux/process_creation"),
    "DeviceNetworkEvents": ("windows/network_connection", "windows/dns_query"),
    "DeviceFileEvents": ("windows/file_event", "windows/file_delete"),
    "DeviceRegistryEvents": ("windows/registry_set", "windows/registry_event"),
    "DeviceLogonEvents": ("windows/security",),
    "DeviceImageLoadEvents": ("windows/image_load",),
    "DeviceEvents": ("windows/process_access", "windows/create_remote_thread", "windows/pipe_created"),
}


# ---------------------------------------------------------------- alerts
def is_alert(raw: Raw) -> bool:
    """Return whether a row is an alert: Sentinel's SecurityAlert, hunting's AlertInfo and AlertEvidence, Graph's or Defender's API."""
    return (
        ("AlertName" in raw and ("AlertSeverity" in raw or "SystemAlertId" in raw))
        or ("AlertId" in raw and ("Title" in raw or "EvidenceRole" in raw or "DetectionSource" in raw))
        or ("title" in raw and "severity" in raw and ("alertCreationTime" in raw or "serviceSource" in raw))
    )


def convert_alert(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when an alert was raised and the detection that it is."""
    names = ("TimeGenerated", "Timestamp", "StartTime", "firstActivityDateTime", "alertCreationTime", "createdDateTime")
    title = first_of(raw, ("AlertName", "Title", "title", "DisplayName"))
    malware = "malware" in f"{title} {first_of(raw, ('Category', 'Categories', 'category', 'AlertType'))}".lower()
    values = {
        "device_hostname": first_of(raw, ("DeviceName", "computerDnsName", "CompromisedEntity")),
        "actor_user": first_of(raw, ("AccountName", "AccountUpn")),
        "finding_title": title or first_of(raw, ("ThreatFamily", "Categories", "Category")),
        "severity": first_of(raw, ("AlertSeverity", "Severity", "severity")),
        "file_path": _target(raw),
        "src_ip": raw.get("LocalIP"),
        "dst_ip": raw.get("RemoteIP"),
    }
    moment = read_time(first_of(raw, names))
    if not values["finding_title"]:
        return moment, Skipped("an alert without a title")
    return moment, draft_event("detection", "malware" if malware else "ids_notice", values)


FORMATS = (
    Format(
        "Defender device timeline",
        is_timeline,
        convert_timeline,
        ("windows/process_creation", "windows/network_connection"),
        "a device's timeline in the Defender portal, exported as CSV",
    ),
    *(
        Format(
            f"Defender {table}",
            partial(_is_of, table),
            convert_defender,
            _LOG_SOURCES.get(table, ("windows/security",)),
            "advanced hunting, Sentinel (Log Analytics) or the streaming API, as CSV or JSON",
        )
        for table in TABLES
    ),
    Format(
        "Defender and Sentinel alerts",
        is_alert,
        convert_alert,
        ("windows/windefend",),
        "SecurityAlert, AlertInfo and AlertEvidence of Sentinel, alerts of Graph or Defender's API",
    ),
)
