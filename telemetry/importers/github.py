"""GitHub's audit log: the JSON or CSV export, the REST and GraphQL APIs, and audit log streaming.

Source: GitHub, "Audit log events for your enterprise", "Audit log events for your organization", "Streaming the audit log", "GraphQL
API: AuditEntry".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.columns import fitted
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of

Raw = Mapping[str, Any]
_SIGN_INS = {"user.login": "success", "user.failed_login": "failure"}
_FIRST = (
    "org",
    "repo",
    "user",
    "team",
    "visibility",
    "previous_visibility",
    "permission",
    "old_permission",
    "business",
)
_ELSEWHERE = frozenset(
    {
        *_FIRST,
        "action",
        "actor",
        "actor_id",
        "actor_ip",
        "actor_is_bot",
        "user_agent",
        "@timestamp",
        "created_at",
        "_document_id",
    }
    | {
        "actor_location",
        "org_id",
        "repo_id",
        "user_id",
        "business_id",
        "request_id",
        "external_identity_nameid",
        "version",
        "TimeGenerated",
        "Type",
    }
)


_GRAPH_NAMES = {  # of the GraphQL API
    "actorLogin": "actor",
    "actorIp": "actor_ip",
    "createdAt": "created_at",
    "organizationName": "org",
    "repositoryName": "repo",
    "userLogin": "user",
    "teamName": "team",
}


def is_graph(raw: Raw) -> bool:
    """Return whether a record is an entry of the audit log as the GraphQL API names its fields."""
    return "actorLogin" in raw and "createdAt" in raw and "." in str(raw.get("action"))


def convert_graph(raw: Raw) -> tuple[datetime | None, Imported]:
    """Convert an entry under the names of the REST API; words of a choice, as PUBLIC, are in lower case there."""
    named = {_GRAPH_NAMES.get(name, name): value for name, value in raw.items() if name != "__typename"}
    if isinstance(visibility := named.get("visibility"), str):
        named["visibility"] = visibility.lower()
    return convert_github(named)


def is_github(raw: Raw) -> bool:
    """Return whether a record is an entry of GitHub's audit log: an action written group.name, an actor, and where."""
    action = raw.get("action")
    return (
        isinstance(action, str)
        and "." in action
        and ("actor" in raw or "actor_id" in raw or "_document_id" in raw)
        and ("@timestamp" in raw or "created_at" in raw)
        and isinstance(raw.get("actor", ""), str)
    )


def convert_github(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a sign-in of one that GitHub itself took or refused, else a call: what is touched comes first."""
    activity = _SIGN_INS.get(str(raw["action"]))
    moment = read_time(first_of(raw, ("@timestamp", "created_at")))
    return moment, _sign_in(raw, activity) if activity else _call(raw)


def _sign_in(raw: Raw, activity: str) -> Imported:
    values = {"user_name": first_of(raw, ("actor", "user")), "src_ip": raw.get("actor_ip"), "logon_process": "GitHub"}
    return draft_event("logon", activity, values)


def _call(raw: Raw) -> Imported:
    actor = str(raw.get("actor") or "")
    is_app = actor.endswith("[bot]") or str(raw.get("actor_is_bot")).lower() == "true"
    rest = {name: value for name, value in raw.items() if name not in _ELSEWHERE and not name.startswith("p_")}
    values = {
        "actor_user": actor,
        "user_uid": actor,
        "user_type": "app" if is_app else "user" if actor else None,
        "src_ip": raw.get("actor_ip"),
        "user_agent": raw.get("user_agent"),
        "api_service": "github",
        "api_operation": raw["action"],
        "cloud_account": first_of(raw, ("org", "business")),
        "resources": fitted({**{name: raw.get(name) for name in _FIRST}, **rest}),
    }
    return draft_event("cloud_api", "call", values)


FORMATS = (
    Format(
        "GitHub audit log",
        is_github,
        convert_github,
        ("github/audit",),
        "the export of the audit log, its API, or its stream",
    ),
    Format(
        "GitHub audit log by GraphQL",
        is_graph,
        convert_graph,
        ("github/audit",),
        "the `auditLog` of the GraphQL API",
    ),
)
