"""Say what a call to a cloud's control plane is: its operation, its request, who makes it, and whether that is a service's own work.

`calls_by_operation` is a view of a window: computed once, read by many rules, which ask for it by `calls_to` and
`refused_calls`. `call_rule` makes a rule of operations that need no second look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from schema import CLOUD_WORK, CloudApiFields, account_name
from verifier.parameters import facts_of
from verifier.window import Finding, Line, Rule, Selection, Window, finding, kinds, rule

Call = Line[CloudApiFields]
CALLS = frozenset(kinds(CloudApiFields))
_API_VERSION = re.compile(r"(?<=[a-z])20\d{6}(?:v\d)?$")


def operation_of(fields: CloudApiFields) -> str:
    """Return what a call does, in lower case: without a closing dot and an API's version (Lambda's `20150331v2`)."""
    return _plain_operation(fields.api_operation)


@lru_cache(maxsize=4096)
def _plain_operation(api_operation: str | None) -> str:
    return _API_VERSION.sub("", (api_operation or "").lower().rstrip("."))


@lru_cache(maxsize=4096)
def names_of(api_operation: str | None, api_service: str | None) -> tuple[str, ...]:
    """Return the names by which a call is known: Google writes a package or a version before the method."""
    operation = _plain_operation(api_operation)
    if "." not in operation or not (api_service or "").endswith("googleapis.com"):
        return (operation,)
    parts = operation.split(".")
    return (operation, parts[-1], ".".join(parts[-2:])) if len(parts) > 2 else (operation, parts[-1])


def is_call_to(line: Line[Any], operations: frozenset[str]) -> bool:
    """Return whether a call is known by one of some names, given in lower case."""
    fields = line.fields
    return not operations.isdisjoint(
        names_of(getattr(fields, "api_operation", None), getattr(fields, "api_service", None))
    )


def lower(*operations: str) -> frozenset[str]:
    """Return names of operations as `is_call_to` compares them."""
    return frozenset(map(str.lower, operations))


def calls_by_operation(window: Window) -> dict[str, list[Call]]:
    """Map operations to the calls that were granted, but for a service's own."""
    calls: dict[str, list[Call]] = {}
    for line in window.of(CloudApiFields):
        if not line.fields.api_error and not is_by_service(line):
            for name in names_of(line.fields.api_operation, line.fields.api_service):
                calls.setdefault(name, []).append(line)
    return calls


def calls_to(*operations: str) -> Selection[Call]:
    """Select the granted calls to some operations, in time order, but for a service's own."""
    names = frozenset(name.lower() for name in operations)

    def pick(window: Window) -> list[Call]:
        known = window.view(calls_by_operation)
        lines = {line.order: line for name in known if name in names for line in known[name]}
        return [lines[order] for order in sorted(lines)]

    return Selection(pick, frozenset(), frozenset(names), CALLS)


def refused_calls(window: Window) -> list[Call]:
    """Return the calls that were refused, but for a service's own."""
    return [line for line in window.of(CloudApiFields) if line.fields.api_error and not is_by_service(line)]


# ---------------------------------------------------------------- who calls
OWN_SERVICE = (
    "type (user_type) is AWSService and whose name holds :assumed-role/, or whose name begins with NT AUTHORITY\\, NT SERVICE\\, system:serviceaccount:kube-system:, system:node:, system:kube-, eks: or service- and a number before @ (also after serviceaccount:), "
    "is system:apiserver, system@okta.com or, for the type app, MS-PIM, Managed Service Identity, Device Registration Service or Azure MFA StrongAuthenticationService, ends in .amazonaws.com or @cloudservices.gserviceaccount.com, or begins, maybe after :assumed-role/, with AWSServiceRoleFor, or holds gcp-sa- after / or @"
)
_SERVICE_TYPE, _SESSION = "awsservice", ":assumed-role/"
_MICROSOFT_APPS = (
    "ms-pim",
    "managed service identity",
    "device registration service",
    "azure mfa strongauthenticationservice",
)
_SERVICE_NAMES = re.compile(
    r"^nt (?:authority|service)\\|\.amazonaws\.com$|(?:^|:assumed-role/)awsservicerolefor|[/@]gcp-sa-|^(?:serviceaccount:)?service-\d+@|@cloudservices\.gserviceaccount\.com$"
    r"|^system:(?:serviceaccount:kube-system:|node:|apiserver$|kube-)|^eks:|^system@okta\.com$",
    re.IGNORECASE,
)
WEB_IDENTITY = "type is WebIdentityUser"
_AUTOMATION_TYPE = "webidentityuser"
_PROGRAM_TYPES = ("app", "service")


def caller_of(line: Line[Any]) -> str:
    """Return who makes a call."""
    return line.user or account_name(getattr(line.fields, "user_uid", None))


def identity_of(line: Line[Any]) -> str:
    """Return the caller's name as the record gives it, its domain or path with it."""
    return getattr(line.fields, "user_uid", None) or line.fields.actor_user or ""


def is_by_service(line: Line[Any]) -> bool:
    """Return whether a cloud's own service makes a call, by its identity alone: what a client says of itself counts for nothing."""
    return _is_service(getattr(line.fields, "user_type", None) or "", identity_of(line))


@lru_cache(maxsize=4096)  # many rules ask of one caller
def _is_service(user_type: str, name: str) -> bool:
    kind = user_type.lower()
    if kind == _SERVICE_TYPE and _SESSION in name:
        return True
    return (kind == "app" and name.lower() in _MICROSOFT_APPS) or _SERVICE_NAMES.search(name) is not None


def is_program_s(line: Line[Any]) -> bool:
    """Return whether an application or a service account makes a call."""
    return (getattr(line.fields, "user_type", None) or "").lower() in _PROGRAM_TYPES


def is_by_program(window: Window, line: Line[Any]) -> bool:
    """Return whether an application or a service account calls from no address outside."""
    return is_program_s(line) and not window.is_external(getattr(line.fields, "src_ip", None))


def is_by_automation(line: Line[Any]) -> bool:
    """Return whether a pipeline's or a cluster's web identity makes a call."""
    return (getattr(line.fields, "user_type", None) or "").lower() == _AUTOMATION_TYPE


# ---------------------------------------------------------------- what is asked for
def resources_of(line: Line[Any]) -> str:
    """Return the parameters of a call as text; nothing where there are none."""
    return getattr(line.fields, "resources", None) or getattr(line.fields, "new_value", None) or ""


def values_of(line: Line[Any], *names: str) -> list[str]:
    """Return the values, as text, that a call's request gives to some names (in lower case), wherever they stand."""
    facts = facts_of(resources_of(line))
    return [value for name in names for value in facts.get(name, ())]


def sets(line: Line[Any], name: str, *values: str) -> bool:
    """Return whether a call's request gives a name one of some values; names and values in lower case."""
    return any(value.lower() in values for value in values_of(line, name))


# ---------------------------------------------------------------- findings
def findings_by_caller(
    lines: Iterable[Line[Any]],
    *,
    confirmed: bool | Callable[[list[Line[Any]]], bool] = False,
    impact: bool = False,
) -> Iterator[Finding]:
    """Make one finding for each caller; `confirmed` may be a function of the caller's lines. `impact` counts where it is confirmed."""
    groups: dict[str, list[Line[Any]]] = {}
    for line in lines:
        groups.setdefault(caller_of(line), []).append(line)
    for caller, group in groups.items():
        sure = confirmed(group) if callable(confirmed) else confirmed
        yield finding(
            group,
            confirmed=sure,
            scope="identity",
            host=group[0].host,
            hosts=[line.host for line in group],
            account=caller,
            program=CLOUD_WORK,
            remote=getattr(group[0].fields, "src_ip", None) or "",
            impact=impact and sure,
        )


def call_rule(
    rule_id: str, technique: str, tactic: str, *, operations: Sequence[str], summary: str, source: str
) -> Rule:
    """Make a rule that finds, for each caller, the granted calls to some operations: suspicious, whatever they set."""

    def body(calls: Sequence[Call], window: Window) -> Iterable[Finding]:
        return findings_by_caller(calls)

    return rule(rule_id, technique, tactic, on=(calls_to(*operations),), summary=summary, source=source)(body)
