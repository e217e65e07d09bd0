"""AWS CloudTrail records. Source: AWS, "CloudTrail record contents" and the API references of IAM, EC2 and STS.

Calls that change accounts, policies, trails or firewalls become the event type for that; a call that was refused stays
a `cloud_api` event, whose `api_error` says so, since nothing changed. The other calls are `cloud_api` events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.events import Imported, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import compact, first_of, mapping
from verifier.rules.kit import TRAIL_CALLS

_ACCOUNT = {
    "CreateUser": "create",
    "CreateRole": "create",
    "CreateServiceLinkedRole": "create",
    "DeleteUser": "delete",
    "DeleteRole": "delete",
    "CreateAccessKey": "key_create",
    "CreateServiceSpecificCredential": "key_create",
    "UploadSSHPublicKey": "key_create",
    "CreateLoginProfile": "password_reset",
    "UpdateLoginProfile": "password_reset",
    "ChangePassword": "password_change",
    "UpdateUser": "rename",
    "UpdateAccessKey": "modify",
    "UpdateRole": "modify",
    "UpdateAssumeRolePolicy": "modify",
    "DeactivateMFADevice": "modify",
    "DeleteUserPermissionsBoundary": "modify",
    "DeleteRolePermissionsBoundary": "modify",
    "AssumeRole": "assume_role",
    "AssumeRoleWithSAML": "assume_role",
    "AssumeRoleWithWebIdentity": "assume_role",
}
_POLICY = (
    "AttachUserPolicy",
    "AttachRolePolicy",
    "AttachGroupPolicy",
    "PutUserPolicy",
    "PutRolePolicy",
    "PutGroupPolicy",
)
_MEMBERS = {"AddUserToGroup": "member_add", "RemoveUserFromGroup": "member_remove"}
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
        "user_type": identity.get("type"),
        "user_agent": raw.get("userAgent"),
        "api_service": raw.get("eventSource"),
        "api_operation": raw.get("eventName"),
        "api_error": raw.get("errorCode"),
        "cloud_region": raw.get("awsRegion"),
        "cloud_account": raw.get("recipientAccountId"),
        "resources": compact(raw.get("requestParameters")) or compact(raw.get("resources")),
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
        "attributes": compact(raw.get("requestParameters")),
    }
    return draft_event("account", activity, values)


def _group(raw: Mapping[str, Any]) -> Imported:
    name = str(raw["eventName"])
    activity = _MEMBERS.get(name, "policy_attach")
    policy = _parameter(raw, "policyArn") or _parameter(raw, "policyName")
    values = {
        **_common(raw),
        "group_name": _parameter(raw, "groupName") if name in _MEMBERS else policy,
        "user_name": _parameter(raw, "userName") or _parameter(raw, "roleName") or _parameter(raw, "groupName"),
    }
    return draft_event("group", activity, values)


def _control(raw: Mapping[str, Any]) -> Imported:
    activity = "trail_stop" if str(raw["eventName"]) in TRAIL_CALLS else "firewall"
    values = {**_common(raw), "control_name": raw["eventName"], "new_value": compact(raw.get("requestParameters"))}
    return draft_event("control_change", activity, values)


def convert_cloudtrail(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when a CloudTrail record was made and what it becomes."""
    name = str(raw.get("eventName"))
    if name == "ConsoleLogin":
        make = _console_login
    elif raw.get("errorCode"):
        make = _api_call
    elif name in _ACCOUNT and str(raw.get("eventSource")) in _IAM:
        make = _account
    elif name in _POLICY or name in _MEMBERS:
        make = _group
    elif name in TRAIL_CALLS or name in _FIREWALL:
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
