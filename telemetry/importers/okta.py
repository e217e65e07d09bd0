"""Okta's System Log: the API's list, event hooks, and the CSV of the admin console.

Source: Okta, "System Log API" (LogEvent), "Event Types", "Event hooks", "System Log: download CSV".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import fitted, plain
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, json_value, mapping

Raw = Mapping[str, Any]
SIGN_IN = "user.session.start"
CREDENTIAL_REASONS = frozenset(
    {
        "",
        "INVALID_CREDENTIALS",
        "INVALID_LOGIN",
        "LOCKED_OUT",
        "UNKNOWN_USER",
        "PASSWORD_EXPIRED",
        "VERIFICATION_ERROR",
        "BAD_CREDENTIALS",
    }
)
FINDINGS = (
    "security.threat.detected",
    "security.attack.start",
    "user.account.report_suspicious_activity_by_enduser",
    "user.mfa.attempt_bypass",
)
_REFUSED = ("FAILURE", "DENY", "RATE_LIMIT", "ABANDONED")
_KINDS = {"User": "user", "PublicClientApp": "app", "SystemPrincipal": "service"}


def is_okta(raw: Raw) -> bool:
    """Return whether a record is a LogEvent, or a row of the admin console's CSV."""
    return "eventType" in raw and "published" in raw and ("actor" in raw or "outcome" in raw)


def is_okta_row(raw: Raw) -> bool:
    """Return whether a record is a row of the admin console's CSV."""
    return (
        ("event_type" in raw or "eventType" in raw)
        and "timestamp" in raw
        and any(name.partition(".")[0] == "actor" for name in raw)
    )


def _flat(raw: Raw, before: str = "") -> dict[str, Any]:
    """Return a row with the columns that dotted names made objects of as columns again."""
    columns: dict[str, Any] = {}
    for name, value in raw.items():
        columns.update(_flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value})
    return columns


def convert_okta(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a sign-in of the start of a session, else a call with its targets, outcome and debug data.

    What Okta itself finds is a detection. Only a session that is refused for a wrong credential is a failed sign-in; a second factor that is asked for is none.
    """
    outcome = mapping(raw.get("outcome"))
    result, reason = str(outcome.get("result") or "").upper(), str(outcome.get("reason") or "")
    if raw.get("eventType") == SIGN_IN and (
        result == "SUCCESS" or (result == "FAILURE" and reason.upper() in CREDENTIAL_REASONS)
    ):
        return read_time(raw.get("published")), _sign_in(raw, result, reason)
    if is_finding(raw, reason):
        return read_time(raw.get("published")), _finding(raw, reason)
    return read_time(raw.get("published")), _call(raw, result, reason)


def is_finding(raw: Raw, reason: str) -> bool:
    """Return whether a record is a finding of Okta's own: of ThreatInsight, of a user who reports, of a phishing page that FastPass met."""
    return raw.get("eventType") in FINDINGS or "phishing" in reason.lower()


def _finding(raw: Raw, reason: str) -> Imported:
    values = {
        "actor_user": _name(mapping(raw.get("actor"))),
        "finding_title": f"{raw.get('eventType')} {reason}".strip(),
        "severity": "high",
        "src_ip": mapping(raw.get("client")).get("ipAddress"),
    }
    return draft_event("detection", "ids_notice", values)


def _name(actor: Raw) -> Any:
    return first_of(actor, ("alternateId", "displayName", "id"))


def _sign_in(raw: Raw, result: str, reason: str) -> Imported:
    client = mapping(raw.get("client"))
    values = {
        "user_name": _name(mapping(raw.get("actor"))),
        "src_ip": client.get("ipAddress"),
        "status": reason or ("0" if result == "SUCCESS" else result),
        "logon_process": "Okta",
    }
    return draft_event("logon", "success" if result == "SUCCESS" else "failure", values)


def _call(raw: Raw, result: str, reason: str) -> Imported:
    actor, client = mapping(raw.get("actor")), mapping(raw.get("client"))
    agent = client.get("userAgent")
    values = {
        "actor_user": _name(actor),
        "user_uid": _name(actor),
        "user_type": _KINDS.get(str(actor.get("type")), actor.get("type")),
        "src_ip": client.get("ipAddress"),
        "user_agent": mapping(agent).get("rawUserAgent") or (agent if isinstance(agent, str) else None),
        "api_service": "okta",
        "api_operation": raw.get("eventType"),
        "api_error": (reason or result) if result in _REFUSED else None,
        "resources": fitted(
            {
                "target": _targets(raw.get("target")),
                "outcome": raw.get("outcome"),
                "debugData": mapping(raw.get("debugContext")).get("debugData"),
                "displayMessage": raw.get("displayMessage"),
            }
        ),
    }
    return draft_event("cloud_api", "call", values)


def _targets(value: object) -> Any:
    targets = json_value(value)
    return targets if not isinstance(targets, list) else [target for target in targets if isinstance(target, Mapping)]


def convert_okta_row(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of a row of the admin console's CSV what its LogEvent becomes."""
    columns = plain(_flat(raw))
    targets = [
        {
            "type": columns.get(f"{name}type"),
            "displayName": columns.get(f"{name}displayname"),
            "alternateId": columns.get(f"{name}alternateid"),
        }
        for name in ("target", *(f"target{n}" for n in range(10)))
        if f"{name}displayname" in columns or f"{name}alternateid" in columns
    ]
    return convert_okta(
        {
            "eventType": columns.get("eventtype"),
            "published": columns.get("timestamp"),
            "displayMessage": columns.get("displaymessage") or columns.get("eventmessage"),
            "actor": {
                "id": columns.get("actorid"),
                "type": columns.get("actortype"),
                "alternateId": columns.get("actoralternateid"),
                "displayName": columns.get("actordisplayname"),
            },
            "client": {
                "ipAddress": first_of(columns, ("clientipaddress", "clientip", "ipaddress")),
                "userAgent": {
                    "rawUserAgent": first_of(
                        columns, ("clientuseragentrawuseragent", "clientuseragent", "useragent", "rawuseragent")
                    )
                },
            },
            "outcome": {
                "result": first_of(columns, ("outcomeresult", "eventoutcome", "result")),
                "reason": first_of(columns, ("outcomereason", "reason")),
            },
            "target": targets,
        }
    )


FORMATS = (
    Format(
        "Okta system log", is_okta, convert_okta, ("okta/okta",), "the System Log API, an event hook, or a log stream"
    ),
    Format("Okta system log CSV", is_okta_row, convert_okta_row, ("okta/okta",), "Download CSV in the admin console"),
)
