"""Audit logs of further services: GitLab, Slack, Cloudflare, Auth0, Duo; and Falco's alerts.

Each service is a row of `SERVICES`: by which names its records are known, and where they tell who did what from where. Sources:
GitLab, "Audit events API"; Slack, "Audit logs API"; Cloudflare, "Audit logs"; Auth0, "Log event type codes"; Duo, "Admin API:
authentication logs"; Falco, "Output formatting: JSON".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from telemetry.importers.columns import fitted
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import is_blank, mapping

Raw = Mapping[str, Any]


class Service(NamedTuple):
    """One service's records: places are names of members, joined by dots; of several the first that says something counts."""

    name: str
    key: str  # api_service
    shape: tuple[str, ...]  # places that every record has
    time: tuple[str, ...]
    actor: tuple[str, ...]
    address: tuple[str, ...]
    agent: tuple[str, ...]
    operation: tuple[str, ...]
    resources: tuple[str, ...]
    error: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()  # what stands at `error` where nothing was refused
    sign_ins: Mapping[str, str] = {}  # operation: the activity of a sign-in


SERVICES = (
    Service(
        "GitLab audit events",
        "gitlab",
        ("entity_type", "details", "created_at", "author_id"),
        ("created_at",),
        ("details.author_name", "author_name", "author_id"),
        ("details.ip_address", "ip_address"),
        (),
        ("event_name", "event_type", "details.event_name", "details.custom_message", "details.action"),
        ("entity_type", "entity_path", "details"),
    ),
    Service(
        "Slack audit logs",
        "slack",
        ("action", "actor", "entity", "date_create"),
        ("date_create",),
        ("actor.user.email", "actor.user.name", "actor.user.id"),
        ("context.ip_address",),
        ("context.ua",),
        ("action",),
        ("entity", "details", "context.app"),
        sign_ins={"user_login": "success", "user_login_failed": "failure"},
    ),
    Service(
        "Cloudflare audit logs",
        "cloudflare",
        ("action.type", "actor", "when"),
        ("when",),
        ("actor.email", "actor.id"),
        ("actor.ip",),
        (),
        ("action.type",),
        ("resource", "oldValue", "newValue", "metadata"),
        ("action.result",),
        ("True", "true", "success"),
    ),
    Service(
        "Auth0 logs",
        "auth0",
        ("type", "date", "log_id"),
        ("date",),
        ("user_name", "user_id", "client_name"),
        ("ip",),
        ("user_agent",),
        ("type",),
        ("description", "client_name", "connection", "details"),
        sign_ins={"s": "success", "fp": "failure", "fu": "failure"},
    ),
    Service(
        "Duo authentication logs",
        "duo",
        ("txid", "factor", "access_device"),
        ("isotimestamp", "timestamp"),
        ("user.name", "email"),
        ("access_device.ip",),
        (),
        ("event_type",),
        ("factor", "reason", "application", "auth_device"),
        ("result",),
        ("success", "SUCCESS"),
    ),
)


def _place(raw: Raw, path: str) -> Any:
    """Return what stands at a place; None where nothing does."""
    value: Any = raw
    for name in path.split("."):
        value = mapping(value).get(name)
    return value


def _first(raw: Raw, places: tuple[str, ...]) -> Any:
    return next((value for path in places if not is_blank(value := _place(raw, path))), None)


def has_shape(service: Service, raw: Raw) -> bool:
    """Return whether a record is one of a service's."""
    return service.shape[0].partition(".")[0] in raw and all(_place(raw, path) is not None for path in service.shape)


def convert(service: Service, raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a sign-in of what a service names as one, else a call."""
    moment, operation = read_time(_first(raw, service.time)), str(_first(raw, service.operation) or "")
    who, address = _first(raw, service.actor), _first(raw, service.address)
    if operation in service.sign_ins:
        sign_in = {"user_name": who, "src_ip": address, "logon_process": service.key}
        return moment, draft_event("logon", service.sign_ins[operation], sign_in)
    result = _first(raw, service.error)
    refused = result is not None and str(result) not in service.granted
    values = {
        "actor_user": who,
        "user_uid": who,
        "src_ip": address,
        "user_agent": _first(raw, service.agent),
        "api_service": service.key,
        "api_operation": operation,
        "api_error": str(result) if refused else None,
        "resources": fitted({path.rpartition(".")[2]: _place(raw, path) for path in service.resources}),
    }
    return moment, draft_event("cloud_api", "call", values)


# ---------------------------------------------------------------- Falco
def is_falco(raw: Raw) -> bool:
    """Return whether a record is an alert of Falco."""
    return "output_fields" in raw and "rule" in raw and "priority" in raw


def convert_falco(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a detection of an alert: the rule, the program and who ran it."""
    fields = mapping(raw.get("output_fields"))
    values = {
        "device_hostname": raw.get("hostname") or fields.get("k8s.pod.name"),
        "actor_user": fields.get("user.name") or fields.get("ka.user.name"),
        "finding_title": raw.get("rule"),
        "severity": raw.get("priority"),
        "file_path": fields.get("proc.exepath") or fields.get("fd.name"),
    }
    return read_time(raw.get("time")), draft_event("detection", "ids_notice", values)


FORMATS = (
    Format("Falco", is_falco, convert_falco, ("linux/falco",), "Falco's json_output, or falcosidekick"),
    *(
        Format(
            row.name,
            partial(has_shape, row),
            partial(convert, row),
            (f"{row.key}/audit",),
            "the service's API, or its log stream",
        )
        for row in SERVICES
    ),
)
