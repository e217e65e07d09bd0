"""Intrusions into a cloud in several steps, and other tellings of its rules: families for choosing and for testing models.

Each rests on rules that training families tell in other calls. The steps follow the ATT&CK techniques that each family names.
"""

from __future__ import annotations

from typing import Any

from schema import CLOUD_WORK
from tasks.families.story import GRAVE, Family
from tasks.families.tellings import (
    MICROSOFT_SERVICE,
    PERSON,
    PIPELINE,
    TENANT,
    Caller,
    Row,
    as_text,
    aws,
    chained,
    each,
    google,
    made,
    policy,
    tenant,
)

_DENIED = "AccessDenied"
_TRAIL = {"name": "arn:aws:cloudtrail:eu-west-1:{account}:trail/{word}"}


def _key(owner: str) -> Row:
    return Row(
        "account", "key_create", {"user_name": owner, "attributes": "access key", "src_ip": "{source}"}, (10, 300)
    )


def _user_policy(document: dict[str, Any]) -> Row:
    request = {"policyDocument": as_text(document), "policyName": "{word2}", "userName": "{other_user}"}
    return aws("iam", "PutUserPolicy", request, after=(10, 300))


def _refused(operation: str | tuple[str, ...]) -> Row:
    return aws("cloudtrail", operation, _TRAIL, api_error=_DENIED, after=(10, 300))


def _versioning(status: str) -> Row:
    settings = {"VersioningConfiguration": {"Status": status}}
    return aws("s3", "PutBucketVersioning", {"bucketName": "{word}-data", **settings}, after=(10, 300))


def _object(key: str) -> Row:
    return aws("s3", "PutObject", {"bucketName": "{word}-data", "key": key}, after=(10, 300))


def _data_key(operation: str | tuple[str, ...]) -> Row:
    return aws("kms", operation, {"keyId": "{hex}-{hex2}", "pendingWindowInDays": 7}, after=(10, 300))


def _login(user: str) -> Row:
    return aws("iam", ("CreateLoginProfile", "UpdateLoginProfile"), {"userName": user}, after=(10, 300))


def _mail(*operations: str) -> list[Row]:
    return [aws("ses", operation, {"identity": "{domain}"}, after=(10, 200)) for operation in operations]


def _boundary(operation: str, owner: dict[str, str]) -> Row:
    return aws("iam", operation, owner, after=(10, 300))


def _block(state: bool) -> Row:
    names = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    settings = {"PublicAccessBlockConfiguration": dict.fromkeys(names, state)}
    return aws("s3", "PutBucketPublicAccessBlock", {"bucketName": "{word}-data", **settings}, after=(10, 300))


def _bucket_policy(condition: dict[str, Any] | None = None) -> Row:
    document = policy("s3:GetObject", "arn:aws:s3:::{word}-data/*", "*", condition)
    return aws("s3", "PutBucketPolicy", {"bucketName": "{word}-data", "bucketPolicy": document}, after=(10, 300))


def _guard(operation: str | tuple[str, ...]) -> Row:
    return aws("organizations", operation, {"policyId": "p-{hex}", "targetId": "{account}"}, after=(10, 300))


_IN_ORGANISATION = {"StringEquals": {"aws:PrincipalOrgID": "o-{hex3}"}}

# ---------------------------------------------------------------- opened without a policy
_DATABASE_CALLS = (
    "CreateDBInstance",
    "ModifyDBInstance",
    "RestoreDBInstanceFromDBSnapshot",
    "RestoreDBInstanceToPointInTime",
)


def _url(kind: str) -> Row:
    return aws(
        "lambda", ("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig"), {"functionName": "{word}", "authType": kind}
    )


def _databases(public: bool) -> list[Row]:
    database = {"dBInstanceIdentifier": "{word}-{number}", "publiclyAccessible": public}
    cluster = {"clusterIdentifier": "{word}-{number}", "publiclyAccessible": public}
    return [aws("rds", _DATABASE_CALLS, database), aws("redshift", ("CreateCluster", "ModifyCluster"), cluster)]


def _binding(member: str, action: str = "ADD") -> list[Row]:
    delta = {"bindingDeltas": [{"action": action, "role": "roles/storage.objectViewer", "member": member}]}
    request = {"resourceName": "projects/_/buckets/{word}-data", "policyDelta": delta}
    return [google("storage", "storage.setIamPermissions", request), google("run", "SetIamPolicy", request)]


# ---------------------------------------------------------------- commands for machines
_RUN = "Microsoft.Compute/virtualMachines/runCommand/action"


def _run_command(operation: str | tuple[str, ...], by: Caller = TENANT) -> Row:
    machine = "/subscriptions/{hex}/resourceGroups/{word}/providers/Microsoft.Compute/virtualMachines/{word2}"
    return tenant("Microsoft.Compute", operation, {"resourceId": machine}, by)


def _serial_console(operation: str, by: Caller = PERSON) -> Row:
    return aws("ec2", operation, {"dryRun": False}, by)


FAMILIES: tuple[Family, ...] = (
    # ------------------------------------------------------------ for choosing a model
    chained(  # ATT&CK C0027 and T1098.001, T1098.003, T1562.008: keys and rights for another account, then at the trail
        "borrowed_administrator",
        "T1098.001",
        "persistence",
        ("key-for-another", "cloud-admin-granted", "cloud-trail-attempt"),
        (
            ([_key("{other_user}")], [_key("{user}")]),
            ([_user_policy(policy("*", "*"))], [_user_policy(policy("s3:GetObject", "arn:aws:s3:::{word3}/*"))]),
            ([_refused(("StopLogging", "DeleteTrail"))], [_refused(("GetTrailStatus", "DescribeTrails"))]),
        ),
        work=CLOUD_WORK,
        reaches=GRAVE,
        explanations=("ticket",),
        platform="cloud",
        split="val_family",
    ),
    chained(  # ATT&CK T1490, T1486, T1485: copies no longer kept, a note left, the key on its way out
        "held_bucket",
        "T1486",
        "impact",
        ("cloud-ransom", "cloud-backups-deleted", "cloud-key-destroyed"),
        (
            ([_versioning("Suspended")], [_versioning("Enabled")]),
            ([_data_key(("ScheduleKeyDeletion", "DisableKey"))], [_data_key(("CancelKeyDeletion", "EnableKey"))]),
            ([_object("HOW_TO_DECRYPT_{word4}.txt")], [_object("HOW_TO_CONNECT_{word4}.txt")]),
        ),
        work=CLOUD_WORK,
        reaches=GRAVE,
        explanations=("ticket",),
        platform="cloud",
        split="val_family",
    ),
    made(  # ATT&CK T1530: data that everybody reaches without a policy that says so
        "opened_service",
        "T1530",
        "collection",
        ("cloud-opened-to-world",),
        CLOUD_WORK,
        suspicious=each(_url("NONE"), *_databases(True), *_binding("allUsers"), *_binding("allAuthenticatedUsers")),
        below=each(
            _url("AWS_IAM"), *_databases(False), *_binding("group:{word2}@{domain9}"), *_binding("allUsers", "REMOVE")
        ),
        platform="cloud",
        split="val_family",
    ),
    made(  # ATT&CK T1098.003: what limits an identity goes
        "dropped_boundary",
        "T1098.003",
        "privilege_escalation",
        ("cloud-admin-granted",),
        CLOUD_WORK,
        confirmed=each(_boundary("DeleteUserPermissionsBoundary", {"userName": "{user}"})),
        suspicious=each(
            _boundary("DeleteUserPermissionsBoundary", {"userName": "{other_user}"}),
            _boundary("DeleteRolePermissionsBoundary", {"roleName": "{word}"}),
        ),
        below=each(
            *(_boundary("PutUserPermissionsBoundary", {"userName": user}) for user in ("{user}", "{other_user}")),
            _boundary("PutRolePermissionsBoundary", {"roleName": "{word}"}),
        ),
        reaches=GRAVE,
        platform="cloud",
        split="val_family",
    ),
    # ------------------------------------------------------------ for testing it
    chained(  # ATT&CK T1496.004, T1098: another's console login, then mail on the account's behalf
        "hired_mailer",
        "T1496.004",
        "impact",
        ("cloud-sending-set-up", "cloud-login-changed"),
        (
            ([_login("{other_user}")], [_login("{user}")]),
            (
                _mail("GetSendQuota", "VerifyEmailIdentity", "PutAccountDetails", "UpdateAccountSendingEnabled"),
                _mail("GetSendStatistics", "ListIdentities", "GetAccount", "DescribeConfigurationSet"),
            ),
        ),
        work=CLOUD_WORK,
        reaches=GRAVE,
        explanations=("ticket",),
        platform="cloud",
        split="test_family",
    ),
    chained(  # ATT&CK T1484, T1562.001, T1530: a guardrail goes, then a block, then everybody reads
        "bared_bucket",
        "T1530",
        "collection",
        ("cloud-opened-to-world", "cloud-public-block-lifted", "cloud-guardrail-removed"),
        (
            ([_guard(("DetachPolicy", "DeletePolicy"))], [_guard(("AttachPolicy", "DescribePolicy"))]),
            ([_block(False)], [_block(True)]),
            ([_bucket_policy()], [_bucket_policy(_IN_ORGANISATION)]),
        ),
        work=CLOUD_WORK,
        reaches=GRAVE,
        explanations=("ticket",),
        platform="cloud",
        split="test_family",
    ),
    made(  # ATT&CK T1651: a command for a machine by Azure's control plane
        "azure_command",
        "T1651",
        "lateral_movement",
        ("cloud-machine-entered",),
        CLOUD_WORK,
        suspicious=each(_run_command(_RUN), _run_command("Run Command"), _serial_console("EnableSerialConsoleAccess")),
        below=each(
            _run_command(_RUN, MICROSOFT_SERVICE),
            _run_command(("Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/virtualMachines/start/action")),
            _serial_console("GetSerialConsoleAccessStatus"),
            _serial_console("EnableSerialConsoleAccess", PIPELINE),
        ),
        platform="cloud",
        split="test_family",
    ),
)
