"""Kubernetes audit: lines and EventList of the API server, EKS, AKS and GKE.

`resources` holds the object and what decides of the request: for a pod its host namespaces, privileges, host paths, images
and commands; for a role its rules, for a binding its role and subjects, for exec the command. Source: Kubernetes, "Auditing",
audit.k8s.io/v1 Event; Microsoft, "AKSAudit"; Google, "GKE audit logging information".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from telemetry.importers.columns import DEEPEST, camel, fitted
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import clean_int, first_of, json_value, mapping

Raw = Mapping[str, Any]
SERVICE = "kubernetes"
_NOISE = frozenset({"managedFields", "status", "creationTimestamp", "uid", "resourceVersion", "generation", "selfLink"})
_NOISE_IN_PODS = frozenset(
    {
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
    }
    | {
        "dnsPolicy",
        "schedulerName",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "enableServiceLinks",
        "preemptionPolicy",
    }
    | {"tolerations", "priority", "resources", "kubectl.kubernetes.io/last-applied-configuration"}
)
_FIRST = (  # what decides, wherever it stands in an object, before what does not
    *(
        "roleRef",
        "subjects",
        "rules",
        "webhooks",
        "spec",
        "template",
        "hostPID",
        "hostIPC",
        "hostNetwork",
        "securityContext",
    ),
    *(
        "privileged",
        "allowPrivilegeEscalation",
        "capabilities",
        "volumes",
        "hostPath",
        "serviceAccountName",
        "initContainers",
    ),
    *(
        "containers",
        "ephemeralContainers",
        "command",
        "args",
        "image",
        "volumeMounts",
        "nodeName",
        "type",
        "username",
        "groups",
    ),
)
_STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


def is_kubernetes(raw: Raw) -> bool:
    """Return whether a record is an audit event of an API server."""
    return "verb" in raw and ("objectRef" in raw or "requestURI" in raw or "auditID" in raw)


def is_aks(raw: Raw) -> bool:
    """Return whether a record is a row of the tables AKSAudit and AKSAuditAdmin."""
    return "Verb" in raw and ("ObjectRef" in raw or "RequestUri" in raw)


def convert_aks(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make of a row of AKSAudit what the audit event becomes that it holds."""
    names = {
        "sourceIps": "sourceIPs",
        "requestUri": "requestURI",
        "auditId": "auditID",
        "timeGenerated": "requestReceivedTimestamp",
    }
    event = {
        names.get(name, name): json_value(value) for name, value in camel({name: raw[name] for name in raw}).items()
    }
    return convert_kubernetes(event)


def convert_kubernetes(raw: Raw) -> tuple[datetime | None, Imported]:
    """Make a call of an audit event; verb and resource name it."""
    moment = read_time(first_of(raw, ("requestReceivedTimestamp", "stageTimestamp", "timestamp", "@timestamp")))
    user = mapping(raw.get("user"))
    name, code = user.get("username"), clean_int(mapping(raw.get("responseStatus")).get("code"))
    address = raw.get("sourceIPs")
    values = {
        "actor_user": name,
        "user_uid": name,
        "user_type": user_type(str(name or "")),
        "src_ip": address[0] if isinstance(address, list) and address else address,
        "user_agent": raw.get("userAgent"),
        "api_service": SERVICE,
        "api_operation": _operation(raw),
        "api_error": str(code) if code is not None and code >= 400 else None,
        "resources": call_resources(
            mapping(raw.get("objectRef")), _request(raw), impersonated=raw.get("impersonatedUser")
        ),
    }
    return moment, draft_event("cloud_api", "call", values)


def attempt(raw: Raw) -> tuple[str, int] | None:
    """Name the request that an audit event is a stage of, and the stage's number."""
    stage = str(raw.get("stage"))
    if not raw.get("auditID") or stage not in _STAGES:
        return None
    return f"{raw['auditID']} {raw.get('requestReceivedTimestamp')} {_operation(raw)}", _STAGES.index(stage)


def user_type(name: str) -> str | None:
    """Return whether a user's name is a service account's or another of the cluster's own, or a person's."""
    return ("service" if name.startswith("system:") and name != "system:anonymous" else "user") if name else None


def _operation(raw: Raw) -> str:
    thing = mapping(raw.get("objectRef"))
    subresource = thing.get("subresource")
    resource = thing.get("resource") or _address(raw).path
    return f"{raw.get('verb')} {resource}{'/' if subresource else ''}{subresource or ''}".strip()


def _address(raw: Raw) -> SplitResult:
    try:
        return urlsplit(str(raw.get("requestURI") or ""))
    except ValueError:  # brackets that are no address
        return SplitResult("", "", "", "", "")


def _request(raw: Raw) -> Any:
    """Return a request's body; of a command in a container, which has none, what its address asks for."""
    body = json_value(raw.get("requestObject"))
    query = parse_qs(_address(raw).query)
    if "command" not in query or mapping(body).get("command"):
        return body
    flags = {name: True for name in ("stdin", "tty") if query.get(name) == ["true"]}
    return {"command": query["command"], "container": next(iter(query.get("container", ())), None), **flags}


def call_resources(thing: Raw, request: Any, *, impersonated: Any = None) -> str | None:
    """Write what a request does to which object, the decisive parts first, as JSON that fits the field."""
    own = ("resource", "subresource", "namespace", "name", "apiGroup")
    return fitted(
        {
            "objectRef": {name: thing.get(name) for name in own},
            "impersonatedUser": impersonated,
            "requestObject": _decisive(request),
        }
    )


def _decisive(value: Any, depth: int = 0) -> Any:
    """Return an object without what the server adds and what decides nothing; what decides comes first."""
    if depth > DEEPEST:
        return None
    if isinstance(value, list):
        return [_decisive(element, depth + 1) for element in value]
    if not isinstance(value, Mapping):
        return value
    names = [
        name for name in value if name not in _NOISE and (name not in _NOISE_IN_PODS or _is_of_a_role(value, name))
    ]
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return {name: _decisive(value[name], depth + 1) for name in names}


def _is_of_a_role(value: Mapping[str, Any], name: str) -> bool:
    """Return whether `resources` lists what a role may touch; a container's are amounts."""
    return name == "resources" and isinstance(value[name], list)


FORMATS = (
    Format(
        "Kubernetes audit",
        is_kubernetes,
        convert_kubernetes,
        ("kubernetes/audit",),
        "the API server's audit file, an EventList, EKS's log group, or AKS's diagnostic settings",
        attempt,
    ),
    Format("AKS audit", is_aks, convert_aks, ("kubernetes/audit",), "the tables AKSAudit and AKSAuditAdmin"),
)
