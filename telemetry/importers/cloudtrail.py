"""AWS CloudTrail records. Source: AWS, "CloudTrail record contents" and the API references of IAM, EC2 and STS.

Calls whose subject is all that counts (accounts made, policies attached, trails stopped, firewalls) become the event type
for that; a call that was refused stays a `cloud_api` event, whose `api_error` says so, since nothing changed,
and so does what a service does by itself. The other
calls are `cloud_api` events with their request, in which a policy decides (trusts, passwords, selectors of a trail).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schema import MAX_LONG_TEXT, MAX_TEXT
from telemetry.importers.columns import DEEPEST, fitted
from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import compact, first_of, json_value, mapping
from verifier.rules.kit import TRAIL_CALLS, TRAIL_SETTINGS

_ACCOUNT = {
    "CreateUser": "create",
    "CreateServiceLinkedRole": "create",
    "DeleteUser": "delete",
    "DeleteRole": "delete",
    "CreateAccessKey": "key_create",
    "CreateServiceSpecificCredential": "key_create",
    "UploadSSHPublicKey": "key_create",
    "ChangePassword": "password_change",
    "UpdateUser": "rename",
    "UpdateAccessKey": "modify",
    "AssumeRole": "assume_role",
    "AssumeRoleWithSAML": "assume_role",
    "AssumeRoleWithWebIdentity": "assume_role",
}
_POLICY = ("AttachUserPolicy", "AttachRolePolicy", "AttachGroupPolicy")
_FIREWALL = (
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "RevokeSecurityGroupEgress",
    "ModifySecurityGroupRules",
    "CreateNetworkAclEntry",
    "DeleteNetworkAclEntry",
    "ReplaceNetworkAclEntry",
)
_IAM = ("iam.amazonaws.com", "sts.amazonaws.com")


def is_cloudtrail(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record is CloudTrail's."""
    return "eventSource" in raw and "eventName" in raw and ("eventTime" in raw or "userIdentity" in raw)


def _principal(identity: Mapping[str, Any]) -> str | None:
    """Name who called: a user by name, a role's session by the role's name and the session's, else the ARN's last part."""
    if identity.get("userName"):
        return str(identity["userName"])
    arn = str(identity.get("arn") or "")
    if ":assumed-role/" in arn:
        return arn.partition(":assumed-role/")[2]
    return arn.rpartition("/")[2].rpartition(":")[2] or identity.get("invokedBy") or identity.get("principalId")


def _caller_type(raw: Mapping[str, Any]) -> str | None:
    """Return what sort of caller it is: a service for what AWS does by itself, a web identity for a pipeline's or cluster's session.

    What a service does with a user's own credentials stays the user's, and a template that CloudFormation carries out its author's.
    """
    identity = mapping(raw.get("userIdentity"))
    source = str(identity.get("invokedBy") or raw.get("sourceIPAddress") or "")
    if identity.get("type") in ("IAMUser", "Root"):
        return str(identity["type"])
    by_service = source.endswith(".amazonaws.com") and not source.startswith("cloudformation.")
    if by_service or ":assumed-role/AWSServiceRoleFor" in str(identity.get("arn")):
        return "AWSService"
    session = mapping(identity.get("sessionContext"))
    provider = str(mapping(session.get("webIdFederationData")).get("federatedProvider") or "")
    return "WebIdentityUser" if ":oidc-provider/" in provider else identity.get("type")


def _request(raw: Mapping[str, Any]) -> str | None:
    """Return a call's request; one that is too long for its field without the parts of its policies that say nothing of whom they let in."""
    request = raw.get("requestParameters")
    text = compact(request)
    return text if text is None or len(text) <= MAX_LONG_TEXT else fitted(_without_ballast(request))


def _without_ballast(value: Any, depth: int = 0) -> Any:
    """Open policies that are text, put statements that allow first, and leave out what of a resource's statements decides nothing."""
    if depth > DEEPEST:
        return value
    if isinstance(value, str):
        policy = json_value(value) if '"Statement"' in value else value
        return value if policy is value else _without_ballast(policy, depth + 1)
    if isinstance(value, list):
        allowed_first = sorted(value, key=lambda part: mapping(part).get("Effect") == "Deny")
        return [_without_ballast(part, depth + 1) for part in allowed_first]
    if not isinstance(value, dict):
        return value
    lets_in = "Effect" in value and ("Principal" in value or "NotPrincipal" in value)
    ballast = ("Sid", "Resource") if lets_in else ()
    return {name: _without_ballast(part, depth + 1) for name, part in value.items() if name not in ballast}


def _parameter(raw: Mapping[str, Any], name: str) -> Any:
    return mapping(raw.get("requestParameters")).get(name)


def _common(raw: Mapping[str, Any]) -> dict[str, Any]:
    identity = mapping(raw.get("userIdentity"))
    return {
        "actor_user": _principal(identity),
        "session_uid": identity.get("accessKeyId"),
        "src_ip": raw.get("sourceIPAddress"),
    }


def _api_call(raw: Mapping[str, Any]) -> Imported:
    identity = mapping(raw.get("userIdentity"))
    values = {
        **_common(raw),
        "user_uid": identity.get("arn") or identity.get("principalId"),
        "user_type": _caller_type(raw),
        "user_agent": raw.get("userAgent"),
        "api_service": raw.get("eventSource"),
        "api_operation": raw.get("eventName"),
        "api_error": raw.get("errorCode"),
        "cloud_region": raw.get("awsRegion"),
        "cloud_account": raw.get("recipientAccountId"),
        "resources": _request(raw) or fitted(raw.get("resources")),
    }
    return draft_event("cloud_api", "call", values)


def _console_login(raw: Mapping[str, Any]) -> Imported:
    answer = mapping(raw.get("responseElements")).get("ConsoleLogin")
    activity = "success" if answer == "Success" else "failure"
    values = {
        **_common(raw),
        "user_name": _principal(mapping(raw.get("userIdentity"))),
        "status": raw.get("errorMessage") or answer,
    }
    return draft_event("logon", activity, values)


def _account(raw: Mapping[str, Any]) -> Imported:
    activity = _ACCOUNT[str(raw["eventName"])]
    caller = _common(raw)
    # Without a name in the request, keys and passwords are the caller's own.
    values = {
        **caller,
        "user_name": next(
            filter(None, (_parameter(raw, name) for name in ("userName", "roleName", "roleArn"))), caller["actor_user"]
        ),
        "attributes": fitted(_request_and_service(raw)),
    }
    return draft_event("account", activity, values)


def _request_and_service(raw: Mapping[str, Any]) -> Any:
    """Return a request's parameters, and the service that makes it in somebody's name, if one does."""
    service = mapping(raw.get("userIdentity")).get("invokedBy")
    return {"invokedBy": service, **mapping(raw.get("requestParameters"))} if service else raw.get("requestParameters")


def _group(raw: Mapping[str, Any]) -> Imported:
    values = {
        **_common(raw),
        "group_name": _parameter(raw, "policyArn"),
        "user_name": _parameter(raw, "userName") or _parameter(raw, "roleName") or _parameter(raw, "groupName"),
    }
    return draft_event("group", "policy_attach", values)


def _control(raw: Mapping[str, Any]) -> Imported:
    activity = "trail_stop" if str(raw["eventName"]) in TRAIL_CALLS else "firewall"
    values = {
        **_common(raw),
        "control_name": raw["eventName"],
        "new_value": fitted(raw.get("requestParameters"), MAX_TEXT),
    }
    return draft_event("control_change", activity, values)


def convert_cloudtrail(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when a CloudTrail record was made and what it becomes."""
    name = str(raw.get("eventName"))
    if name == "ConsoleLogin":
        make = _console_login
    elif raw.get("errorCode") or (_caller_type(raw) == "AWSService" and not name.startswith("AssumeRole")):
        make = _api_call
    elif name in _ACCOUNT and str(raw.get("eventSource")) in _IAM:
        make = _account
    elif name in _POLICY:
        make = _group
    elif name in _FIREWALL or (name in TRAIL_CALLS and name not in TRAIL_SETTINGS):
        make = _control
    else:
        make = _api_call
    return read_time(first_of(raw, ("eventTime", "@timestamp"))), make(raw)


FORMATS = (
    Format(
        "AWS CloudTrail",
        is_cloudtrail,
        convert_cloudtrail,
        ("aws/cloudtrail",),
        "the trail's bucket, or `aws cloudtrail lookup-events`",
    ),
)
