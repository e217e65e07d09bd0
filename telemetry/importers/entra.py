"""Microsoft Entra: sign-ins, directory audit and risk detections, in every carrier.

The same record comes as a row of Log Analytics (`SigninLogs`, `AADNonInteractiveUserSignInLogs`, `AADServicePrincipalSignInLogs`,
`AADManagedIdentitySignInLogs`, `AuditLogs`, `AADUserRiskEvents`), from Microsoft Graph (`signIn`, `directoryAudit`,
`riskDetection`), as CSV of the portal, and in the diagnostic stream (`category`, `properties`). Columns are compared by their
plain names, so one mapping serves all. Sources: Microsoft, "Azure Monitor table reference", "signIn resource type",
"directoryAudit resource type", "riskDetection resource type".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import camel, fitted, plain
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, json_value, mapping, mappings

Raw = Mapping[str, Any]
SERVICE = "Microsoft Entra"
INTERRUPTED = "Sign-in interrupted"
REFUSED = "Sign-in refused"
FACTOR_REFUSED = (
    "Second factor refused"  # 500121: the password was right, and the second factor was denied or not answered
)
# Microsoft, "Microsoft Entra authentication and authorization error codes": what a person gave as proof of identity is wrong. The
# secret of an application (7000215) is no such proof: it is made by chance and not guessed; nor is a closed account (50057).
CREDENTIAL_CODES = frozenset(map(str, (50034, 50053, 50055, 50056, 50064, 50126, 50144, 51004)))
# From the same page: the service asks for another step, or for a new sign-in; nothing was refused.
INTERRUPTS = frozenset(
    map(
        str,
        (
            16000,
            16001,
            16003,
            50058,
            50072,
            50074,
            50076,
            50078,
            50079,
            50097,
            50125,
            50127,
            50129,
            50132,
            50133,
            50140,
            50143,
            50158,
            50173,
            50187,
            50199,
            50203,
            51006,
            65001,
            65004,
            70008,
            70016,
            70019,
            70043,
            70044,
            81010,
            90094,
            700082,
            700084,
        ),
    )
)
_WRONG_CREDENTIAL = re.compile(
    r"invalid username or password|incorrect password|wrong password|account is locked", re.IGNORECASE
)


# ---------------------------------------------------------------- shapes
def _category(raw: Raw) -> str:
    return str(raw.get("category") or "").lower() if isinstance(raw.get("properties"), Mapping) else ""


def is_sign_in(raw: Raw) -> bool:
    """Return whether a record is a sign-in in one of the carriers."""
    if "ResultType" in raw:
        return any(name in raw for name in _SIGN_IN_NAMES) and "ActionType" not in raw
    if "Sign-in error code" in raw or ("Request ID" in raw and "Status" in raw and "IP address" in raw):
        return True
    if "createdDateTime" in raw and ("ipAddress" in raw or "appId" in raw):
        return isinstance(raw.get("status"), Mapping) or "resultType" in raw
    if "CreatedDateTime" in raw and not raw.keys().isdisjoint(("IpAddress", "IPAddress", "AppId")):  # PowerShell
        return isinstance(raw.get("Status"), Mapping)
    if "AccountUpn" in raw and "ErrorCode" in raw and "Application" in raw:
        return True
    return _category(raw).endswith("signinlogs")


_SIGN_IN_NAMES = ("UserPrincipalName", "ServicePrincipalId", "ServicePrincipalName", "AppDisplayName", "AppId")


def is_audit(raw: Raw) -> bool:
    """Return whether a record tells a change of the directory."""
    return (
        ("OperationName" in raw and ("InitiatedBy" in raw or "TargetResources" in raw or "LoggedByService" in raw))
        or ("ActivityDisplayName" in raw and ("InitiatedBy" in raw or "TargetResources" in raw))
        or ("activityDisplayName" in raw and ("initiatedBy" in raw or "targetResources" in raw))
        or ("ActorType" in raw and "Activity" in raw and ("Target1Type" in raw or "ActorDisplayName" in raw))
        or _category(raw) == "auditlogs"
    )


def is_risk(raw: Raw) -> bool:
    """Return whether a record is a risk that Entra saw in a sign-in or an account."""
    return (
        ("riskEventType" in raw and "riskLevel" in raw)
        or ("RiskEventType" in raw and "RiskLevel" in raw)
        or ("riskLastUpdatedDateTime" in raw and "riskState" in raw)
        or ("RiskLastUpdatedDateTime" in raw and "RiskState" in raw)
        or _category(raw) in ("userriskevents", "serviceprincipalriskevents", "riskyusers", "riskyserviceprincipals")
    )


def _columns(raw: Raw) -> dict[str, Any]:
    """Return a record's columns by plain name; those in `properties` of the diagnostic stream go before the outer ones."""
    outer = {name: value for name, value in raw.items() if name != "properties"}
    return {**plain(outer), **plain(mapping(json_value(raw.get("properties"))))}


# ---------------------------------------------------------------- sign-ins
def convert_sign_in(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a sign-in of a record that ends in success or a wrong credential; of any other end, a call that says which.

    A success that Entra itself rates a high risk, and that nobody has dealt with, is a detection.
    A step that the service asks for on the way (a second factor, consent, "stay signed in") is no failure.
    """
    columns = _columns(raw)
    moment = read_time(first_of(columns, ("createddatetime", "timegenerated", "date", "time", "timestamp")))
    code, reason = _outcome(columns)
    if code == "0" and _is_at_risk(columns):
        return moment, _risky_sign_in(columns)
    if code == "0" or code in CREDENTIAL_CODES:
        return moment, _sign_in(columns, code)
    return moment, _open_sign_in(columns, code, reason)


def _is_at_risk(columns: Raw) -> bool:
    level = str(first_of(columns, ("risklevelduringsignin", "risklevelaggregated")) or "").lower()
    return level == "high" and str(columns.get("riskstate") or "atRisk").lower() in ("atrisk", "confirmedcompromised")


def _risky_sign_in(columns: Raw) -> Imported:
    kinds = json_value(first_of(columns, ("riskeventtypesv2", "riskeventtypes")))
    named = ", ".join(map(str, kinds)) if isinstance(kinds, list) else str(kinds or "")
    values = {
        "actor_user": _who(columns)[0],
        "finding_title": f"risky sign-in {named}".strip(),
        "severity": "high",
        "src_ip": _address(columns),
    }
    return draft_event("detection", "ids_notice", values)


def attempt(raw: Raw) -> tuple[str, int] | None:
    """Name the sign-in that a record is a state of by its request id; the states are told apart by time alone."""
    name = first_of(_columns(raw), ("id", "requestid", "originalrequestid"))
    return (str(name), 0) if name is not None else None


def _outcome(columns: Raw) -> tuple[str, str]:
    """Return a sign-in's error code (0 for success) and the reason in words."""
    status = columns.get("status")
    inner = plain(mapping(json_value(status)))
    code = first_of({**columns, **inner}, ("errorcode", "signinerrorcode", "resulttype", "resultsignature"))
    reason = str(
        first_of({**columns, **inner}, ("failurereason", "resultdescription", "resultreason", "additionaldetails"))
        or ""
    )
    words = str(status or "").lower()
    if code is None or str(code).lower() in ("success", "none"):
        code = _code_of(words, reason, code)
    return str(code).removesuffix(".0"), reason


def _code_of(words: str, reason: str, code: object) -> str:
    """Return the code of a row of the portal that bears none."""
    if code is not None or words in ("success", "0"):
        return "0"
    if words == "failure" and _WRONG_CREDENTIAL.search(reason):
        return "50126"
    return words or "unknown"


def _who(columns: Raw) -> tuple[str | None, str | None]:
    """Return who signs in, and whether that is a user, an app or a service."""
    user = first_of(columns, ("userprincipalname", "accountupn", "username", "signinidentifier", "userdisplayname"))
    if user:
        return str(user), "user"
    kind = str(columns.get("category") or columns.get("type") or "").lower()
    name = first_of(
        columns, ("serviceprincipalname", "serviceprincipalid", "appdisplayname", "user", "userid", "identity")
    )
    is_app = "serviceprincipalid" in columns or "serviceprincipalname" in columns
    return (str(name) if name else None), "service" if "managedidentity" in kind else "app" if is_app else None


def _application(columns: Raw) -> Any:
    return first_of(columns, ("appdisplayname", "application", "resourcedisplayname", "resource", "appid"))


def _address(columns: Raw) -> Any:
    return first_of(columns, ("ipaddress", "calleripaddress", "sourceip"))


def _sign_in(columns: Raw, code: str) -> Imported:
    values = {
        "user_name": _who(columns)[0],
        "src_ip": _address(columns),
        "status": code,
        "logon_process": _application(columns),
        "auth_protocol": columns.get("authenticationprotocol"),
    }
    return draft_event("logon", "success" if code == "0" else "failure", values)


def _open_sign_in(columns: Raw, code: str, reason: str) -> Imported:
    is_interrupt = code in INTERRUPTS or code == "interrupted"
    refusal = FACTOR_REFUSED if code == "500121" else REFUSED
    name, kind = _who(columns)
    values = {
        "actor_user": name,
        "user_uid": name,
        "user_type": kind,
        "src_ip": _address(columns),
        "user_agent": columns.get("useragent"),
        "api_service": SERVICE,
        "api_operation": INTERRUPTED if is_interrupt else refusal,
        "api_error": None if is_interrupt else code,
        "resources": fitted({"errorCode": code, "reason": reason, "app": _application(columns)}),
    }
    return draft_event("cloud_api", "call", values)


# ---------------------------------------------------------------- audit
def convert_audit(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a call of a change in the directory: who did it, what it is called, on which objects with which old and new values."""
    columns = _columns(raw)
    moment = read_time(first_of(columns, ("activitydatetime", "timegenerated", "date", "time", "timestamp")))
    name, kind, address = _actor(columns)
    result = str(first_of(columns, ("result", "resulttype")) or "success")
    values = {
        "actor_user": name,
        "user_uid": name,
        "user_type": kind,
        "src_ip": address,
        "user_agent": first_of(columns, ("useragent",)) or _detail(columns, "User-Agent"),
        "api_service": first_of(columns, ("loggedbyservice", "service", "resourceprovider", "category")),
        "api_operation": _activity(columns),
        "api_error": None if result.lower() in ("success", "0") else _refusal(columns, result),
        "cloud_account": first_of(columns, ("aadtenantid", "tenantid")),
        "resources": fitted(_targets(columns)),
    }
    return moment, draft_event("cloud_api", "call", values)


def _activity(columns: Raw) -> str:
    """Return what a change is called; Entra writes a dash of its own in some names."""
    return str(first_of(columns, ("activitydisplayname", "operationname", "activity")) or "").replace("\u2013", "-")


def _refusal(columns: Raw, result: str) -> str:
    return str(first_of(columns, ("resultreason", "resultdescription")) or result)


def _actor(columns: Raw) -> tuple[str | None, str | None, Any]:
    """Return who made a change, whether that is a user or an app, and from which address."""
    actor = mapping(camel(json_value(columns.get("initiatedby"))))
    user, app = mapping(actor.get("user")), mapping(actor.get("app"))
    if user or app:
        name = first_of(user, ("userPrincipalName", "displayName", "id")) if user else None
        name = name or first_of(app, ("displayName", "servicePrincipalName", "appId", "servicePrincipalId"))
        return name, "user" if user else "app", user.get("ipAddress") or _address(columns)
    name = first_of(columns, ("actoruserprincipalname", "actordisplayname", "identity", "actorobjectid"))
    kind = str(columns.get("actortype") or "").lower()
    kind = "app" if kind in ("application", "app", "serviceprincipal") else "user" if kind else ""
    return name, kind or None, _address(columns)


def _detail(columns: Raw, name: str) -> Any:
    """Return one of the additional details, which are pairs in a list or in numbered columns."""
    details = camel(json_value(columns.get("additionaldetails")))
    numbered = (
        (columns.get(f"additionaldetail{n}key"), columns.get(f"additionaldetail{n}value")) for n in range(1, 10)
    )
    named = [(pair.get("key"), pair.get("value")) for pair in mappings(details)]
    return next((value for key, value in (*named, *numbered) if key == name), None)


def _targets(columns: Raw) -> Any:
    targets = camel(json_value(columns.get("targetresources")))
    if isinstance(targets, list):
        return [_target(mapping(target)) for target in targets]
    return list(_numbered_targets(columns)) or targets or columns.get("resourceid")


def _target(target: Raw) -> dict[str, Any]:
    changes = json_value(target.get("modifiedProperties"))
    return {
        "type": target.get("type"),
        "displayName": target.get("displayName"),
        "userPrincipalName": target.get("userPrincipalName"),
        "modifiedProperties": [_change(mapping(change)) for change in changes]
        if isinstance(changes, list)
        else changes,
        "id": target.get("id"),
    }


def _change(change: Raw) -> dict[str, Any]:
    return {name: change.get(name) for name in ("displayName", "newValue", "oldValue")}


def _numbered_targets(columns: Raw) -> Iterator[dict[str, Any]]:
    """Yield the targets of a row of the portal's CSV: Target1Type, Target1ModifiedProperty1Name ..."""
    for n in range(1, 10):
        if f"target{n}type" not in columns and f"target{n}displayname" not in columns:
            return
        properties = [f"target{n}modifiedproperty{m}" for m in range(1, 20)]
        yield {
            "type": columns.get(f"target{n}type"),
            "displayName": columns.get(f"target{n}displayname"),
            "userPrincipalName": columns.get(f"target{n}userprincipalname"),
            "modifiedProperties": [
                {
                    "displayName": columns[f"{name}name"],
                    "newValue": columns.get(f"{name}newvalue"),
                    "oldValue": columns.get(f"{name}oldvalue"),
                }
                for name in properties
                if f"{name}name" in columns
            ],
            "id": columns.get(f"target{n}objectid"),
        }


# ---------------------------------------------------------------- risks
def convert_risk(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of a risk that Entra saw."""
    columns = _columns(raw)
    times = (
        "activitydatetime",
        "detecteddatetime",
        "risklastupdateddatetime",
        "lastupdateddatetime",
        "timegenerated",
        "time",
    )
    title = first_of(columns, ("riskeventtype", "risktype")) or f"risk {columns.get('riskstate')}"
    values = {
        "actor_user": first_of(
            columns, ("userprincipalname", "serviceprincipaldisplayname", "userdisplayname", "userid")
        ),
        "finding_title": title,
        "severity": columns.get("risklevel"),
        "src_ip": _address(columns),
    }
    return read_time(first_of(columns, times)), draft_event("detection", "ids_notice", values)


FORMATS = (
    Format(
        "Entra sign-ins",
        is_sign_in,
        convert_sign_in,
        ("azure/signinlogs",),
        "Log Analytics, Microsoft Graph, CSV of the Entra portal, or the diagnostic stream",
        attempt,
    ),
    Format(
        "Entra risk detections",
        is_risk,
        convert_risk,
        ("azure/riskdetection",),
        "Log Analytics, Microsoft Graph, or the diagnostic stream",
    ),
    Format(
        "Entra audit",
        is_audit,
        convert_audit,
        ("azure/auditlogs",),
        "Log Analytics, Microsoft Graph, CSV of the Entra portal, or the diagnostic stream",
    ),
)
