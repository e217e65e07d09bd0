"""Intrusions into a cloud in several steps, for training, for choosing models and for testing them, and other tellings of its rules.

The steps follow the ATT&CK techniques that each family names. What is held out rests on rules that training families tell in other calls.
"""

from __future__ import annotations

from typing import Any

from tasks.families.tellings import (
    MICROSOFT_SERVICE,
    PERSON,
    PIPELINE,
    ROOT,
    TENANT,
    Caller,
    Row,
    as_text,
    aws,
    chain_on_cloud,
    each,
    google,
    on_cloud,
    policy,
    tenant,
)
from tasks.scene import EITHER, Family

_Operation = str | tuple[str, ...]
_APART = (10, 300)  # seconds between the steps of an intrusion
_DENIED = "AccessDenied"
_TRAIL = {"name": "arn:aws:cloudtrail:eu-west-1:{account}:trail/{word}"}


def _swap(
    service: str, hostile: _Operation, harmless: _Operation, request: dict[str, Any], **more: Any
) -> tuple[list[Row], list[Row]]:
    """Write a step whose harmless form is another call on the same thing."""
    rows = [aws(service, operation, request, after=_APART, **more) for operation in (hostile, harmless)]
    return rows[:1], rows[1:]


def _setting(
    service: str, operation: _Operation, hostile: dict[str, Any], harmless: dict[str, Any]
) -> tuple[list[Row], list[Row]]:
    """Write a step whose harmless form asks for something else by the same call."""
    rows = [aws(service, operation, request, after=_APART) for request in (hostile, harmless)]
    return rows[:1], rows[1:]


def _key(owner: str, by: str = "{user}") -> Row:
    fields = {"user_name": owner, "attributes": "access key", "src_ip": "{source}"}
    return Row("account", "key_create", fields, _APART, user=by)


def _user_policy(document: dict[str, Any]) -> Row:
    request = {"policyDocument": as_text(document), "policyName": "{word2}", "userName": "{other_user}"}
    return aws("iam", "PutUserPolicy", request, after=_APART)


def _versioning(status: str) -> Row:
    settings = {"VersioningConfiguration": {"Status": status}}
    return aws("s3", "PutBucketVersioning", {"bucketName": "{word}-data", **settings}, after=_APART)


def _object(key: str) -> Row:
    return aws("s3", "PutObject", {"bucketName": "{word}-data", "key": key}, after=_APART)


def _login(user: str) -> Row:
    return aws("iam", ("CreateLoginProfile", "UpdateLoginProfile"), {"userName": user}, after=_APART)


def _mail(*operations: str) -> list[Row]:
    return [aws("ses", operation, {"identity": "{domain}"}, after=(10, 200)) for operation in operations]


def _boundary(operation: str, owner: dict[str, str]) -> Row:
    return aws("iam", operation, owner, after=_APART)


def _block(state: bool, by: Caller = PERSON) -> Row:
    names = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    settings = {"PublicAccessBlockConfiguration": dict.fromkeys(names, state)}
    return aws("s3", "PutBucketPublicAccessBlock", {"bucketName": "{word}-data", **settings}, by, after=_APART)


def _bucket_policy(condition: dict[str, Any] | None = None) -> Row:
    document = policy("s3:GetObject", "arn:aws:s3:::{word}-data/*", "*", condition)
    return aws("s3", "PutBucketPolicy", {"bucketName": "{word}-data", "bucketPolicy": document}, after=_APART)


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


def _run_command(operation: _Operation, by: Caller = TENANT) -> Row:
    machine = "/subscriptions/{hex}/resourceGroups/{word}/providers/Microsoft.Compute/virtualMachines/{word2}"
    return tenant("Microsoft.Compute", operation, {"resourceId": machine}, by)


def _serial_console(operation: str, by: Caller = PERSON) -> Row:
    return aws("ec2", operation, {"dryRun": False}, by)


# ---------------------------------------------------------------- steps of the training families
_LOOKS = (
    ("s3", "ListBuckets"),
    ("iam", "ListUsers"),
    ("iam", "ListRoles"),
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeSnapshots"),
    ("rds", "DescribeDBInstances"),
    ("lambda", "ListFunctions20150331"),
    ("organizations", "ListAccounts"),
    ("dynamodb", "ListTables"),
    ("sts", "GetAccessKeyInfo"),
)


def _tries(error: str) -> list[Row]:
    return [aws(service, call, {}, api_error=error, after=(3, 22)) for service, call in _LOOKS]


_ALARMS = _swap(
    "monitoring", ("DeleteAlarms", "DisableAlarmActions"), "EnableAlarmActions", {"alarmNames": ["{word5}"]}
)
_FINDINGS = _swap("securityhub", "DisableSecurityHub", "EnableSecurityHub", {})
_TRAIL_TRIED = _swap(
    "cloudtrail", ("StopLogging", "DeleteTrail"), ("GetTrailStatus", "DescribeTrails"), _TRAIL, api_error=_DENIED
)
_GUARDS = _swap(
    "organizations", ("DetachPolicy", "DeletePolicy"), ("AttachPolicy", "DescribePolicy"), {"policyId": "p-{hex}"}
)
_PROVIDER = _swap("iam", "CreateOpenIDConnectProvider", "GetOpenIDConnectProvider", {"url": "https://{domain}"})
_KEY_PAIR = _swap("ec2", "ImportKeyPair", "CreateKeyPair", {"keyName": "{word}-{number}"})
_DATA_KEY = _swap(
    "kms", ("ScheduleKeyDeletion", "DisableKey"), ("CancelKeyDeletion", "EnableKey"), {"keyId": "{hex}-{hex2}"}
)
_VAULT = _swap(
    "backup", ("DeleteBackupVault", "DeleteRecoveryPoint"), "DescribeBackupVault", {"backupVaultName": "{word}"}
)
_RETENTION = _setting(
    "rds",
    ("ModifyDBInstance", "ModifyDBCluster"),
    *({"dBInstanceIdentifier": "{word}-{number}", "backupRetentionPeriod": days} for days in (0, 14)),
)
_IMAGE = {"imageId": "ami-0{hex}{hex2}", "maxCount": 1}
_MINERS = _setting("ec2", "RunInstances", *({**_IMAGE, "instanceType": kind} for kind in ("g5.48xlarge", "m5.large")))
_MANY = _setting(
    "ec2", "RunInstances", *({**_IMAGE, "instanceType": "c6i.xlarge", "maxCount": most} for most in (60, 2))
)


def _door(network: str) -> Row:
    """Describe a change of a firewall, which is an event type of its own."""
    permission = {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": network}]}}
    group = {"groupId": "sg-0{hex}", "ipPermissions": {"items": [permission]}}
    fields = {"control_name": "AuthorizeSecurityGroupIngress", "new_value": group, "src_ip": "{source}"}
    return Row("control_change", "firewall", fields, _APART)


_LOST = ("DeleteDBInstance", "DeleteDBCluster", "DeleteDBInstance", "DeleteDBCluster", "DeleteDBInstance")


def _stores(last_copy: bool) -> list[Row]:
    kept = {"skipFinalSnapshot": not last_copy}
    return [
        aws("rds", call, {"dBInstanceIdentifier": f"{{word{number}}}", **kept}, after=(5, 60))
        for number, call in enumerate(_LOST, 11)
    ]


def _trust(account: str) -> Row:
    document = policy("sts:AssumeRole", principal={"AWS": f"arn:aws:iam::{account}:root"})
    return aws(
        "iam", "UpdateAssumeRolePolicy", {"roleName": "{word2}", "policyDocument": as_text(document)}, after=_APART
    )


def _queue(account: str, by: Caller = PERSON) -> Row:
    document = policy("sqs:ReceiveMessage", principal={"AWS": f"arn:aws:iam::{account}:root"})
    return aws(
        "sqs", "SetQueueAttributes", {"queueUrl": "{word2}", "attributes": {"Policy": document}}, by, after=_APART
    )


_SESSIONS = _swap("sts", "GetFederationToken", "GetSessionToken", {"name": "{word}", "durationSeconds": 129_600})


FAMILIES: tuple[Family, ...] = (
    chain_on_cloud(  # ATT&CK T1580, T1562.001, T1496: rights tried out, findings off, machines for gain
        "cleared_view",
        "T1580",
        "discovery",
        ("cloud-calls-refused", "cloud-detection-off", "cloud-machines-misused"),
        (
            (_tries("AccessDenied"), _tries("ThrottlingException")),
            _FINDINGS,
            _MANY,
        ),
    ),
    chain_on_cloud(  # ATT&CK T1098.004, T1562.007, T1496.001: a key and a door to machines that mine
        "open_mine",
        "T1098.004",
        "persistence",
        ("cloud-machine-key-added", "cloud-door-opened", "cloud-machines-misused"),
        (
            _KEY_PAIR,
            ([_door("0.0.0.0/0")], [_door("{address2}/32")]),
            _MINERS,
        ),
    ),
    chain_on_cloud(  # ATT&CK T1562.008, T1490, T1485: at the trail, the copies, the stores
        "emptied_account",
        "T1485",
        "impact",
        ("cloud-stores-deleted", "cloud-backups-deleted", "cloud-trail-attempt"),
        (
            _TRAIL_TRIED,
            _RETENTION,
            (_stores(last_copy=False), _stores(last_copy=True)),
        ),
    ),
    chain_on_cloud(  # ATT&CK T1484, T1484.002, T1562.001: an organisation's guardrails go, a stranger's sign-in is believed
        "other_master",
        "T1484.002",
        "defense_evasion",
        ("cloud-identity-provider", "cloud-guardrail-removed", "cloud-detection-off"),
        (
            _GUARDS,
            _PROVIDER,
            _FINDINGS,
        ),
    ),
    chain_on_cloud(  # ATT&CK T1562.001, T1496.004: no alarm at the costs, then mail
        "silent_mailer",
        "T1496.004",
        "impact",
        ("cloud-sending-set-up", "cloud-detection-off"),
        (
            _ALARMS,
            (
                _mail("GetSendQuota", "VerifyDomainIdentity", "CreateEmailIdentity", "PutAccountSendingAttributes"),
                _mail("GetSendStatistics", "ListIdentities", "GetAccount", "DescribeConfigurationSet"),
            ),
        ),
    ),
    chain_on_cloud(  # ATT&CK T1485, T1490, T1562.001: a key and the copies under it go, and nobody is told
        "lost_key",
        "T1485",
        "impact",
        ("cloud-key-destroyed", "cloud-backups-deleted", "cloud-detection-off"),
        (
            _ALARMS,
            _VAULT,
            _DATA_KEY,
        ),
    ),
    on_cloud(  # ATT&CK T1098.001, T1562.001, T1537: what only the account's root would do, and a stranger who may read
        "root_at_work",
        "T1098.001",
        "persistence",
        ("cloud-root-credential", "cloud-public-block-lifted", "cloud-shared-outside"),
        confirmed=[
            [_key("root", "root"), _block(False, ROOT), _queue("{account2}", ROOT)],
            [_key("root", "root"), _queue("{account2}", ROOT), _block(False, ROOT)],
        ],
        suspicious=[
            [_key("root", "root"), _block(True, ROOT), _queue("{account}", ROOT)],
            [_block(False, ROOT), _queue("{account}", ROOT), _key("{user}")],
            [_queue("{account2}", ROOT), _key("{user}"), _block(True, ROOT)],
        ],
        below=[[_key("{user}"), _block(True, ROOT), _queue("{account}", ROOT)]],
        reaches=EITHER,
        names_account=False,
        account="root",
    ),
    chain_on_cloud(  # ATT&CK T1562.001, T1486, T1550.001: a block gone, a note left, a session that outlives its key
        "noted_bucket",
        "T1562.001",
        "defense_evasion",
        ("cloud-public-block-lifted", "cloud-ransom", "cloud-federation-token"),
        (
            ([_block(False)], [_block(True)]),
            ([_object("recover-your-files-{word4}.html")], [_object("index-your-files-{word4}.html")]),
            _SESSIONS,
        ),
    ),
    chain_on_cloud(  # ATT&CK T1562.008, T1098, T1098.003: at the trail, another's login, a role for a stranger
        "handed_role",
        "T1562.008",
        "defense_evasion",
        ("cloud-trail-attempt", "cloud-login-changed", "cloud-role-trust"),
        (
            _TRAIL_TRIED,
            ([_login("{other_user}")], [_login("{user}")]),
            ([_trust("{account2}")], [_trust("{account}")]),
        ),
    ),
    chain_on_cloud(  # ATT&CK T1580, T1562.007, T1537: rights tried out, a door opened, a queue that a stranger reads
        "opened_queue",
        "T1562.007",
        "defense_evasion",
        ("cloud-door-opened", "cloud-calls-refused", "cloud-shared-outside"),
        (
            (_tries("AccessDenied"), _tries("ThrottlingException")),
            ([_door("0.0.0.0/0")], [_door("{address2}/32")]),
            ([_queue("{account2}")], [_queue("{account}")]),
        ),
    ),
    # ------------------------------------------------------------ for choosing a model
    chain_on_cloud(  # ATT&CK C0027 and T1098.001, T1098.003, T1562.008: keys and rights for another account, then at the trail
        "borrowed_administrator",
        "T1098.001",
        "persistence",
        ("key-for-another", "cloud-admin-granted", "cloud-trail-attempt"),
        (
            ([_key("{other_user}")], [_key("{user}")]),
            ([_user_policy(policy("*", "*"))], [_user_policy(policy("s3:GetObject", "arn:aws:s3:::{word3}/*"))]),
            _TRAIL_TRIED,
        ),
        split="val_family",
    ),
    chain_on_cloud(  # ATT&CK T1490, T1486, T1485: copies no longer kept, a note left, the key on its way out
        "held_bucket",
        "T1486",
        "impact",
        ("cloud-ransom", "cloud-backups-deleted", "cloud-key-destroyed"),
        (
            ([_versioning("Suspended")], [_versioning("Enabled")]),
            _DATA_KEY,
            ([_object("HOW_TO_DECRYPT_{word4}.txt")], [_object("HOW_TO_CONNECT_{word4}.txt")]),
        ),
        split="val_family",
    ),
    on_cloud(  # ATT&CK T1530: data that everybody reaches without a policy that says so
        "opened_service",
        "T1530",
        "collection",
        ("cloud-opened-to-world",),
        suspicious=each(_url("NONE"), *_databases(True), *_binding("allUsers"), *_binding("allAuthenticatedUsers")),
        below=each(
            _url("AWS_IAM"), *_databases(False), *_binding("group:{word2}@{domain9}"), *_binding("allUsers", "REMOVE")
        ),
        split="val_family",
    ),
    on_cloud(  # ATT&CK T1098.003: what limits an identity goes
        "dropped_boundary",
        "T1098.003",
        "privilege_escalation",
        ("cloud-admin-granted",),
        confirmed=each(_boundary("DeleteUserPermissionsBoundary", {"userName": "{user}"})),
        suspicious=each(
            _boundary("DeleteUserPermissionsBoundary", {"userName": "{other_user}"}),
            _boundary("DeleteRolePermissionsBoundary", {"roleName": "{word}"}),
        ),
        below=each(
            *(_boundary("PutUserPermissionsBoundary", {"userName": user}) for user in ("{user}", "{other_user}")),
            _boundary("PutRolePermissionsBoundary", {"roleName": "{word}"}),
        ),
        reaches=EITHER,
        split="val_family",
    ),
    # ------------------------------------------------------------ for testing it
    chain_on_cloud(  # ATT&CK T1496.004, T1098: another's console login, then mail on the account's behalf
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
        split="test_family",
    ),
    chain_on_cloud(  # ATT&CK T1484, T1562.001, T1530: a guardrail goes, then a block, then everybody reads
        "bared_bucket",
        "T1530",
        "collection",
        ("cloud-opened-to-world", "cloud-public-block-lifted", "cloud-guardrail-removed"),
        (
            _GUARDS,
            ([_block(False)], [_block(True)]),
            ([_bucket_policy()], [_bucket_policy(_IN_ORGANISATION)]),
        ),
        split="test_family",
    ),
    on_cloud(  # ATT&CK T1651: a command for a machine by Azure's control plane
        "azure_command",
        "T1651",
        "lateral_movement",
        ("cloud-machine-entered",),
        suspicious=each(_run_command(_RUN), _run_command("Run Command"), _serial_console("EnableSerialConsoleAccess")),
        below=each(
            _run_command(_RUN, MICROSOFT_SERVICE),
            _run_command(("Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/virtualMachines/start/action")),
            _serial_console("GetSerialConsoleAccessStatus"),
            _serial_console("EnableSerialConsoleAccess", PIPELINE),
        ),
        split="test_family",
    ),
)
