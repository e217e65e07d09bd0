"""Abuse of what a cloud keeps: secrets read, data opened, given away, encrypted and deleted.

Operations and requests are as AWS CloudTrail, Google Cloud audit logs, the Azure activity log, Entra and Okta write them.
"""

from __future__ import annotations

from typing import Any

from tasks.families.tellings import (
    OWN_SERVICE,
    PERSON,
    PIPELINE,
    SESSION,
    Caller,
    Row,
    Telling,
    aws,
    each,
    google,
    on_cloud,
    policy,
)
from tasks.scene import EITHER, GRAVE, Family

# ---------------------------------------------------------------- read
_SECRET = {"secretId": "arn:aws:secretsmanager:eu-west-1:{account}:secret:{word}/{number}"}
_PARAMETER = {"name": "/{word}/{word2}", "withDecryption": True}
_SECRET_READS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("secretsmanager", "GetSecretValue", _SECRET),
    ("ssm", "GetParameter", _PARAMETER),
    ("ssm", "GetParameters", {"names": ["/{word}/{word3}", "/{word}/{word4}"], "withDecryption": True}),
    ("ssm", "GetParametersByPath", {"path": "/{word}", "recursive": True, "withDecryption": True}),
    ("secretsmanager", "GetSecretValue", {"secretId": "{word5}/{word6}"}),
)


def _secret_reads(by: Caller = PERSON, after: tuple[int, int] = (4, 60)) -> Telling:
    return [aws(service, operation, request, by, after=after) for service, operation, request in _SECRET_READS]


def _looks_for_secrets(*last: Row) -> Telling:
    """Write what goes before a read of many secrets: lists and descriptions, which give none away."""
    lists = [aws("secretsmanager", ("ListSecrets", "DescribeSecret"), _SECRET) for _ in range(2)]
    return [*lists, aws("ssm", "DescribeParameters", _PARAMETER), aws("ec2", "DescribeInstances", {}), *last]


_MANY_SECRETS = {"secretIdList": ["{word}/{number}", "{word2}/{number2}", "{word3}/{number3}"]}
_WINDOWS_PASSWORD = {"instanceId": "{instance}"}

# ---------------------------------------------------------------- shared and opened
_IMAGES = (
    ("ec2", "ModifySnapshotAttribute", "createVolumePermission", {"snapshotId": "snap-0{hex}{hex2}"}),
    ("ec2", "ModifyImageAttribute", "launchPermission", {"imageId": "ami-0{hex}{hex2}"}),
)
_DATABASES = (
    ("ModifyDBSnapshotAttribute", {"dBSnapshotIdentifier": "{word}-{number}"}),
    ("ModifyDBClusterSnapshotAttribute", {"dBClusterSnapshotIdentifier": "{word}-{number}"}),
)


def _shares(receiver: str) -> list[Row]:
    """List the calls that share an image or a snapshot with an account."""
    item = {"group": receiver} if receiver == "all" else {"userId": receiver}
    return [
        *(aws(service, call, {**what, name: {"add": {"items": [item]}}}) for service, call, name, what in _IMAGES),
        *(
            aws("rds", call, {**what, "attributeName": "restore", "valuesToAdd": [receiver]})
            for call, what in _DATABASES
        ),
    ]


def _policies(action: str, principal: Any, condition: dict[str, Any] | None = None) -> list[Row]:
    """List the calls that write a resource's policy, each for a part of AWS of its own."""
    document = policy(f"{{0}}:{action}", "*", principal, condition)

    def of(service: str) -> dict[str, Any]:
        return {**document, "Statement": [{**document["Statement"][0], "Action": f"{service}:{action}"}]}

    queue = {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/{account}/{word}", "attributes": {"Policy": of("sqs")}}
    topic = {"topicArn": "arn:aws:sns:eu-west-1:{account}:{word}", "attributeName": "Policy"}
    domain = {"domainName": "{word}", "accessPolicies": of("es")}
    return [
        aws("s3", ("PutBucketPolicy", "PutAccessPointPolicy"), {"bucketName": "{word}-data", "bucketPolicy": of("s3")}),
        aws("kms", ("PutKeyPolicy", "CreateKey"), {"keyId": "{hex}-{hex2}", "policy": of("kms")}),
        aws("ecr", ("SetRepositoryPolicy", "PutRegistryPolicy"), {"repositoryName": "{word}", "policyText": of("ecr")}),
        aws("sqs", ("SetQueueAttributes", "CreateQueue"), queue),
        aws("sns", "SetTopicAttributes", {**topic, "attributeValue": of("sns")}),
        aws("es", ("UpdateDomainConfig", "UpdateElasticsearchDomainConfig"), domain),
        aws(
            "elasticfilesystem", "PutFileSystemPolicy", {"fileSystemId": "fs-0{hex}", "policy": of("elasticfilesystem")}
        ),
        aws("glacier", "SetVaultAccessPolicy", {"vaultName": "{word}", "policy": {"policy": of("glacier")}}),
        aws("backup", "PutBackupVaultAccessPolicy", {"backupVaultName": "{word}", "policy": of("backup")}),
    ]


def _secret_policy(principal: Any, condition: dict[str, Any] | None = None) -> Row:
    document = policy("secretsmanager:GetSecretValue", "*", principal, condition)
    return aws("secretsmanager", "PutResourcePolicy", {"secretId": "{word}/{number}", "resourcePolicy": document})


_STRANGER, _OWN = {"AWS": "arn:aws:iam::{account2}:root"}, {"AWS": "arn:aws:iam::{account}:root"}
_IN_ORGANISATION = {"StringEquals": {"aws:PrincipalOrgID": "o-{hex}"}}


def _sent(row: Row) -> Telling:
    """Let the copy of data follow a call: a transfer to the internet as a sensor on the network sees it."""
    flow = {
        "src_ip": "{ip}",
        "dst_ip": "{address2}",
        "dst_port": 443,
        "bytes_out": (90_000_000, 140_000_000, 210_000_000, 280_000_000),
        "bytes_in": (20_000, 90_000, 400_000),
        "direction": "outbound",
        "process_path": "C:\\Program Files\\Amazon\\AWSCLIV2\\aws.exe",
        "dst_scope": "external",
    }
    return [row, Row("net_conn", "flow", flow, (20, 800))]


def _acls(grantee: str, canned: str) -> list[Row]:
    grants = {
        "AccessControlPolicy": {"AccessControlList": {"Grant": {"Grantee": {"URI": grantee}, "Permission": "READ"}}}
    }
    calls = ("PutBucketAcl", "PutObjectAcl", "CreateBucket")
    return [
        aws("s3", "PutBucketAcl", {"bucketName": "{word}-data", **grants}),
        aws("s3", calls, {"bucketName": "{word}-data", "x-amz-acl": canned}),
    ]


_GROUPS = "http://acs.amazonaws.com/groups/"

_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def _block(state: bool, part: str = "") -> Row:
    parts = {name: state if name == part or not part else True for name in _BLOCKS}
    calls = ("PutBucketPublicAccessBlock", "PutAccountPublicAccessBlock", "PutPublicAccessBlock")
    return aws("s3", calls, {"bucketName": "{word}-data", "PublicAccessBlockConfiguration": parts})


_BUCKET = {"bucketName": "{word}-data"}
_UNBLOCK = ("DeleteBucketPublicAccessBlock", "DeleteAccountPublicAccessBlock", "DeletePublicAccessBlock")
_UNBLOCK_IMAGES = ("DisableSnapshotBlockPublicAccess", "DisableImageBlockPublicAccess")
_REGION = {"state": "block-all-sharing"}

# ---------------------------------------------------------------- taken away
_COPY_KEY, _OWN_KEY = "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm"
_FOREIGN = {_COPY_KEY: "arn:aws:kms:eu-west-1:{account2}:key/{hex}-{hex2}"}
_HOUSE = {_COPY_KEY: "arn:aws:kms:eu-west-1:{account}:key/{hex}-{hex2}"}


def _copy(number: int, encryption: dict[str, str], source: str = "{word}-data") -> Row:
    """Describe the copy of an object; within one bucket it replaces the object."""
    name = f"{{word{number + 1}}}.parquet"
    request = {"bucketName": "{word}-data", "key": name, "x-amz-copy-source": f"{source}/{name}", **encryption}
    return aws("s3", "CopyObject", request, after=(2, 40))


def _copies(*encryptions: dict[str, str], source: str = "{word}-data") -> Telling:
    return [_copy(number, encryption, source) for number, encryption in enumerate(encryptions, 1)]


def _note(key: str) -> Row:
    return aws("s3", "PutObject", {"bucketName": "{word}-data", "key": key}, after=(2, 40))


_NOTES = ("HOW_TO_RESTORE_{word9}.txt", "files_encrypted_{word9}.html", "decrypt-{word9}.txt")
_READ_ME = "how_to_connect_{word9}.txt"


def _default_key(owner: str) -> Row:
    named = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": f"arn:aws:kms:eu-west-1:{owner}:key/{{hex}}"}
    rule = {"Rule": {"ApplyServerSideEncryptionByDefault": named}}
    return aws("s3", "PutBucketEncryption", {"bucketName": "{word}-data", "ServerSideEncryptionConfiguration": rule})


_KMS = {"keyId": "arn:aws:kms:eu-west-1:{account}:key/{hex}-{hex2}", "pendingWindowInDays": 7}
_KEY_VERSION = {
    "resourceName": "projects/{word}/locations/europe/keyRings/{word2}/cryptoKeys/{word3}/cryptoKeyVersions/1"
}
_SNAPSHOTS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("ec2", "DeleteSnapshot", "CreateSnapshot", {"snapshotId": "snap-0{hex}{hex2}"}),
    ("ec2", "DeleteSnapshot", "DescribeSnapshots", {"snapshotId": "snap-0{hex3}{hex4}"}),
    ("rds", "DeleteDBSnapshot", "CreateDBSnapshot", {"dBSnapshotIdentifier": "{word}-{number}"}),
    ("rds", "DeleteDBClusterSnapshot", "CreateDBClusterSnapshot", {"dBClusterSnapshotIdentifier": "{word2}-{number2}"}),
    ("ec2", "DeregisterImage", "CreateImage", {"imageId": "ami-0{hex5}{hex6}"}),
)


def _lost_snapshots(by: Caller = PERSON) -> Telling:
    return [aws(service, gone, what, by) for service, gone, _, what in _SNAPSHOTS]


_VAULT = {"backupVaultName": "{word}", "recoveryPointArn": "arn:aws:backup:eu-west-1:{account}:recovery-point:{hex}"}
_VAULT_CALLS = ("DeleteBackupVault", "DeleteBackupVaultLockConfiguration", "DeleteRecoveryPoint")


def _keeping(status: str, days: int, retention: int) -> list[Row]:
    """List the calls that say how long copies are kept."""
    rule = {"LifecycleConfiguration": {"Rule": {"Status": "Enabled", "Expiration": {"Days": days}}}}
    database = {"dBInstanceIdentifier": "{word}-{number}", "backupRetentionPeriod": retention}
    return [
        aws("s3", "PutBucketVersioning", {**_BUCKET, "VersioningConfiguration": {"Status": status}}),
        aws("s3", ("PutBucketLifecycle", "PutBucketLifecycleConfiguration"), {**_BUCKET, **rule}),
        aws("rds", ("ModifyDBInstance", "ModifyDBCluster"), database),
    ]


_STORES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("rds", "DeleteDBInstance", {"dBInstanceIdentifier": "{word}-{number}"}),
    ("rds", "DeleteDBCluster", {"dBClusterIdentifier": "{word2}-{number}"}),
    ("dynamodb", "DeleteTable", {"tableName": "{word3}"}),
    ("elasticfilesystem", "DeleteFileSystem", {"fileSystemId": "fs-0{hex}{hex2}"}),
    ("s3", "DeleteBucket", {"bucketName": "{word4}-{word5}"}),
)


def _lost_stores(last_copy: bool = False, by: Caller = PERSON, after: tuple[int, int] = (5, 60)) -> Telling:
    """Write deletions of stores; a last copy is kept or not."""
    return [
        aws(service, call, {**what, "skipFinalSnapshot": not last_copy}, by, after=after)
        for service, call, what in _STORES
    ]


FAMILIES: tuple[Family, ...] = (
    on_cloud(
        "opened_bucket",
        "T1530",
        "collection",
        ("cloud-opened-to-world",),
        confirmed=each(*_policies("*", "*"), *_policies("*", {"AWS": "*"}), _secret_policy("*")),
        suspicious=each(
            *_policies("GetObject", "*"),
            *_policies("ListAll", {"AWS": "*"}),
            *_acls(_GROUPS + "global/AllUsers", "public-read"),
            *_acls(_GROUPS + "global/AuthenticatedUsers", "authenticated-read"),
        ),
        below=each(
            *_policies("*", _OWN),
            *_policies("GetObject", "*", _IN_ORGANISATION),
            *_policies("ListAll", {"AWS": "*"}, {"StringEquals": {"aws:SourceVpc": "vpc-0{hex}"}}),
            _secret_policy("*", _IN_ORGANISATION),
            *_acls(_GROUPS + "s3/LogDelivery", "private"),
        ),
        reaches=EITHER,
    ),
    on_cloud(
        "given_away",
        "T1537",
        "exfiltration",
        ("cloud-shared-outside",),
        confirmed=[_sent(row) for row in (*_shares("{account2}"), *_shares("all"))],
        suspicious=[
            _sent(row)
            for row in (
                *_policies("GetObject", _STRANGER),
                *_policies("*", {"AWS": "{account2}"}),
                _secret_policy(_STRANGER),
            )
        ],
        below=[
            _sent(row)
            for row in (
                *_shares("{account}"),
                *_policies("GetObject", _OWN),
                *_policies("*", _STRANGER, _IN_ORGANISATION),
                _secret_policy(_OWN),
            )
        ],
        reaches=EITHER,
    ),
    on_cloud(
        "lifted_block",
        "T1562.001",
        "defense_evasion",
        ("cloud-public-block-lifted",),
        suspicious=each(
            *(_block(False, part) for part in ("", *_BLOCKS)),
            aws("s3", _UNBLOCK, _BUCKET),
            aws("ec2", _UNBLOCK_IMAGES, _REGION),
        ),
        below=each(
            _block(True),
            aws("s3", _UNBLOCK, _BUCKET, OWN_SERVICE),
            aws("s3", ("GetBucketPublicAccessBlock", "GetAccountPublicAccessBlock"), _BUCKET),
            aws("ec2", ("EnableSnapshotBlockPublicAccess", "EnableImageBlockPublicAccess"), _REGION),
        ),
    ),
    on_cloud(
        "ransomed_bucket",
        "T1486",
        "impact",
        ("cloud-ransom",),
        confirmed=[
            [*_copies(*[_FOREIGN] * 7)],
            [*_copies(*[{_OWN_KEY: "AES256"}] * 7)],
            *([*_copies(*[_FOREIGN] * 3, *[_HOUSE] * 3), _note(note)] for note in _NOTES),
        ],
        suspicious=[
            [*_copies(*[_FOREIGN] * 2, *[_HOUSE] * 4), _note(_READ_ME)],
            [*_copies(*[{_OWN_KEY: "AES256"}] * 2, *[_HOUSE] * 4), _note(_READ_ME)],
            [*_copies(*[_HOUSE] * 6), _default_key("{account2}")],
            *([*_copies(*[_HOUSE] * 6), _note(note)] for note in _NOTES),
        ],
        below=[
            [*_copies(*[_HOUSE] * 6), _note(_READ_ME)],
            [*_copies(*[_HOUSE] * 6), _default_key("{account}")],
            [*_copies(*[_FOREIGN] * 7, source="{word2}-data")],
            [*_copies(*[{_OWN_KEY: "AES256"}] * 7, source="{word2}-data")],
        ],
        reaches=GRAVE,
    ),
    on_cloud(
        "destroyed_key",
        "T1485",
        "impact",
        ("cloud-key-destroyed",),
        suspicious=each(
            aws("kms", ("ScheduleKeyDeletion", "DisableKey", "DeleteImportedKeyMaterial"), _KMS),
            google("cloudkms", "DestroyCryptoKeyVersion", _KEY_VERSION),
        ),
        below=each(
            aws("kms", ("CancelKeyDeletion", "EnableKey", "DescribeKey", "ImportKeyMaterial"), _KMS),
            aws("kms", ("ScheduleKeyDeletion", "DisableKey"), _KMS, OWN_SERVICE),
            google("cloudkms", ("RestoreCryptoKeyVersion", "GetCryptoKeyVersion"), _KEY_VERSION),
        ),
    ),
    on_cloud(
        "deleted_snapshots",
        "T1490",
        "impact",
        ("cloud-backups-deleted",),
        suspicious=[
            _lost_snapshots(),
            [aws("ec2", "DeleteSnapshot", {"snapshotId": f"snap-0{{hex{number}}}"}) for number in range(5)],
        ],
        below=[
            _lost_snapshots(OWN_SERVICE),
            [aws(service, kept, what) for service, _, kept, what in _SNAPSHOTS],
            [
                aws("ec2", "DeleteSnapshot", {"snapshotId": "snap-0{hex}"}),
                *(aws(s, k, w) for s, _, k, w in _SNAPSHOTS[1:]),
            ],
        ],
    ),
    on_cloud(
        "ended_keeping",
        "T1490",
        "impact",
        ("cloud-backups-deleted",),
        suspicious=each(*_keeping("Suspended", 1, 0), aws("backup", _VAULT_CALLS, _VAULT)),
        below=each(
            *_keeping("Enabled", 90, 14),
            aws("backup", _VAULT_CALLS, _VAULT, OWN_SERVICE),
            aws("backup", ("CreateBackupVault", "StartBackupJob", "DescribeRecoveryPoint"), _VAULT),
        ),
    ),
    on_cloud(
        "deleted_stores",
        "T1485",
        "impact",
        ("cloud-stores-deleted",),
        suspicious=[_lost_stores(), _lost_stores(by=SESSION)],
        below=[_lost_stores(last_copy=True), _lost_stores(by=PIPELINE), _lost_stores(after=(690, 900))],
    ),
    # ------------------------------------------------------------ the held-out tactic
    on_cloud(
        "read_secrets",
        "T1555.006",
        "credential_access",
        ("cloud-secrets-read",),
        suspicious=[
            _secret_reads(),
            _secret_reads(SESSION),
            _looks_for_secrets(aws("secretsmanager", "BatchGetSecretValue", _MANY_SECRETS)),
            _looks_for_secrets(aws("ec2", "GetPasswordData", _WINDOWS_PASSWORD)),
        ],
        below=[
            _secret_reads(PIPELINE),
            _secret_reads(OWN_SERVICE),
            _secret_reads(after=(690, 900)),
            _looks_for_secrets(aws("secretsmanager", "BatchGetSecretValue", _MANY_SECRETS, PIPELINE)),
        ],
    ),
)
