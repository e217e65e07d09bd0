"""Rules on what a cloud keeps: secrets read, data shared or opened, encrypted for ransom, deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schema import CloudApiFields
from verifier.calls import (
    call_rule,
    caller_of,
    calls_to,
    findings_by_caller,
    is_by_automation,
    is_by_program,
    is_by_service,
    is_call_to,
    is_program_s,
    lower,
    operation_of,
    resources_of,
    sets,
    values_of,
)
from verifier.parameters import facts_in, facts_of, objects_in, opened
from verifier.policies import grants_of, lets_others_in, opens_to_everybody
from verifier.rules.kit import burst_of, grouped
from verifier.window import Findings, Line, Lines, Window, rule

MIN_SECRETS = 3
SECRETS_S = 600
MIN_ENCRYPTED_OBJECTS = 5
MIN_BACKUPS = 3
MIN_STORES = 3
DATA_S = 600
_SECRET_CALLS = ("GetSecretValue", "GetParameter", "GetParameters", "GetParametersByPath")
_VAULT_READS = ("AccessSecretVersion", "SecretGet", "Read BitLocker key", "Recover device local administrator password")
_KEY_LISTS = (
    "/listaccountsas/action",
    "/listservicesas/action",
    "/listconnectionstrings/action",
    "/regeneratekey/action",
    "/listkeys/action",
    "/listcredentials/action",
    "/listclusteradmincredential/action",
    "/publishxml/action",
)
_BULK_CALLS = ("BatchGetSecretValue", "GetPasswordData")
_IMAGE_CALLS = (
    "ModifyImageAttribute",
    "ModifySnapshotAttribute",
    "ModifyDBSnapshotAttribute",
    "ModifyDBClusterSnapshotAttribute",
)
_POLICY_CALLS = (
    "PutBucketPolicy",
    "PutAccessPointPolicy",
    "PutResourcePolicy",
    "PutKeyPolicy",
    "CreateKey",
    "SetRepositoryPolicy",
    "PutRegistryPolicy",
    "SetTopicAttributes",
    "SetQueueAttributes",
    "CreateQueue",
    "UpdateDomainConfig",
    "UpdateElasticsearchDomainConfig",
    "PutFileSystemPolicy",
    "SetVaultAccessPolicy",
    "PutBackupVaultAccessPolicy",
)
_ACL_CALLS = ("PutBucketAcl", "PutObjectAcl", "CreateBucket")
_URL_CALLS = ("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig")
_DATABASE_CALLS = (
    "CreateDBInstance",
    "ModifyDBInstance",
    "RestoreDBInstanceFromDBSnapshot",
    "RestoreDBInstanceToPointInTime",
    "CreateCluster",
    "ModifyCluster",
)
_ACCOUNT_CALLS = (
    "Microsoft.Storage/storageAccounts/write",
    "Microsoft.Storage/storageAccounts/blobServices/containers/write",
)
_BINDING_CALLS = ("SetIamPolicy", "setIamPermissions")
_EVERYBODY = ("allUsers", "allAuthenticatedUsers")
_PUBLIC_ACL = re.compile(
    r"/groups/global/(?:AllUsers|AuthenticatedUsers)$|^public-read|^authenticated-read$", re.IGNORECASE
)
_READING = re.compile(r"^[\w-]{1,40}:(?:get|list|describe|batchget|batchcheck)", re.IGNORECASE)
_UNBLOCKING_CALLS = (
    "DeleteBucketPublicAccessBlock",
    "DeleteAccountPublicAccessBlock",
    "DeletePublicAccessBlock",
    "DisableSnapshotBlockPublicAccess",
    "DisableImageBlockPublicAccess",
)
_BLOCK_CALLS = ("PutBucketPublicAccessBlock", "PutAccountPublicAccessBlock", "PutPublicAccessBlock")
_BLOCK_PARTS = ("blockpublicacls", "blockpublicpolicy", "ignorepublicacls", "restrictpublicbuckets")
_KEY_CALLS = (
    "ScheduleKeyDeletion",
    "DisableKey",
    "DeleteImportedKeyMaterial",
    "DestroyCryptoKeyVersion",
    "KeyDelete",
    "KeyPurge",
    "SecretPurge",
    "Microsoft.KeyVault/vaults/delete",
    "Microsoft.KeyVault/locations/deletedVaults/purge/action",
)
_COPY_KEYS = ("x-amz-server-side-encryption-aws-kms-key-id", "kmsmasterkeyid")
_OWN_KEY = "x-amz-server-side-encryption-customer-algorithm"
_NOTE = re.compile(
    r"(?:ransom|decrypt|(?:how|help).{1,12}(?:restore|recover|unlock)|(?:restore|recover).{0,12}files|files.{0,12}(?:encrypted|locked)).{0,40}\.(?:txt|html?|hta|rtf)$",
    re.IGNORECASE,
)
_SNAPSHOT_CALLS = (
    "DeleteSnapshot",
    "DeleteDBSnapshot",
    "DeleteDBClusterSnapshot",
    "DeregisterImage",
    "snapshots.delete",
    "Microsoft.Compute/snapshots/delete",
)
_VAULT_CALLS = (
    "DeleteBackupVault",
    "DeleteBackupVaultLockConfiguration",
    "DeleteRecoveryPoint",
    "Microsoft.RecoveryServices/vaults/delete",
    "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/delete",
    "Microsoft.DataProtection/backupVaults/delete",
    "Microsoft.DataProtection/backupVaults/backupInstances/delete",
    "Microsoft.Compute/restorePointCollections/delete",
)
_KEEPING: Mapping[str, tuple[str, tuple[str, ...]]] = {  # what ends the keeping of copies, by the value of one name
    "PutBucketVersioning": ("status", ("suspended",)),
    "PutBucketLifecycle": ("days", ("1",)),
    "PutBucketLifecycleConfiguration": ("days", ("1",)),
    "ModifyDBInstance": ("backupretentionperiod", ("0",)),
    "ModifyDBCluster": ("backupretentionperiod", ("0",)),
}
_STORE_CALLS = (
    "DeleteDBInstance",
    "DeleteDBCluster",
    "DeleteTable",
    "DeleteFileSystem",
    "DeleteBucket",
    "storage.buckets.delete",
    "cloudsql.instances.delete",
    "repo.destroy",
    "Microsoft.Storage/storageAccounts/delete",
    "Microsoft.Sql/servers/delete",
    "Microsoft.Sql/servers/databases/delete",
    "Microsoft.DocumentDB/databaseAccounts/delete",
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/disks/delete",
    "Microsoft.Resources/subscriptions/resourceGroups/delete",
)
_FILE_CALLS = ("FileDeleted", "FileRecycled", "storage.objects.delete")
_DRIVE, _DRIVE_CALLS = "workspace/drive", ("delete", "trash")
MIN_FILES = 20  # a person tidies up a few at a time
_LEAVING_CALLS = (
    "Delete user",
    "DELETE_USER",
    "user.lifecycle.delete.initiated",
    "user.lifecycle.deactivate",
    "org.remove_member",
)
MIN_LEAVING = 8  # accounts that go at once; who leaves a company on one day is few


@rule(
    "cloud-secrets-read",
    "T1555.006",
    "credential_access",
    on=(CloudApiFields,),
    summary=f"A principal, neither an own service nor a web identity, nor for the last {len(_VAULT_READS)} an app or service (user_type) from no external address, reads secrets ({', '.join(_SECRET_CALLS + _BULK_CALLS + _VAULT_READS)}; refused or not) {MIN_SECRETS} or more times within {SECRETS_S} s, or many in one call ({', '.join(_BULK_CALLS)}), "
    f"or, no app or service, is given a resource's keys (an operation of Azure that ends in {', '.join(_KEY_LISTS)}). Suspicious.",
    source="ATT&CK T1555.006, T1552; AWS CloudTrail event names; Google Secret Manager; Azure resource provider operations",
)
def cloud_secrets_read(calls: Lines[CloudApiFields], window: Window) -> Findings:
    reads = [line for line in calls if line.fields.api_operation in _SECRET_CALLS + _BULK_CALLS and _is_by_person(line)]
    reads += [line for line in calls if is_call_to(line, _FROM_VAULT) and _is_by_reader(window, line)]
    yield from findings_by_caller(line for line in calls if _lists_keys(line))
    for lines in grouped(sorted(reads, key=lambda line: line.order), caller_of).values():
        bulk = [line for line in lines if line.fields.api_operation in _BULK_CALLS]
        yield from findings_by_caller(burst_of(window, lines, MIN_SECRETS, SECRETS_S) or bulk)


_FROM_VAULT = lower(*_VAULT_READS)


def _is_by_reader(window: Window, line: Line[CloudApiFields]) -> bool:
    """Return whether a person reads a secret, or a program's identity does from outside: inside, programs start so."""
    return _is_by_person(line) and not is_by_program(window, line)


def _lists_keys(line: Line[CloudApiFields]) -> bool:
    if not operation_of(line.fields).endswith(_KEY_LISTS):
        return False  # most calls
    return not line.fields.api_error and not is_program_s(line) and not is_by_service(line)


def _is_by_person(line: Line[CloudApiFields]) -> bool:
    return not is_by_service(line) and not is_by_automation(line)


# ---------------------------------------------------------------- shared and opened
@rule(
    "cloud-shared-outside",
    "T1537",
    "exfiltration",
    on=(calls_to(*_IMAGE_CALLS, *_POLICY_CALLS),),
    summary=f'Not by an own service: an image or snapshot is shared (add or valuesToAdd) with another account\'s number (12 digits) or "all" ({", ".join(_IMAGE_CALLS)}): confirmed. '
    f"Or a policy lets another account's number in by a statement with the effect Allow that no condition binds to an organisation, account, network or source ({', '.join(_POLICY_CALLS)}): suspicious.",
    source="ATT&CK T1537; AWS CloudTrail event names, IAM JSON policy elements",
)
def cloud_shared_outside(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        [line for line in calls if _is_given_away(line) or _lets_others_in(line)],
        confirmed=lambda lines: any(map(_is_given_away, lines)),
    )


def _is_given_away(line: Line[CloudApiFields]) -> bool:
    """Return whether an image or snapshot is shared with another account or with all."""
    if line.fields.api_operation not in _IMAGE_CALLS:
        return False
    receivers = {text for part in objects_in(opened(resources_of(line))) for text in _added(part)}
    accounts = {text for text in receivers if len(text) == 12 and text.isdigit()}
    return "all" in receivers or bool(accounts - {line.fields.cloud_account})


def _added(part: Mapping[str, Any]) -> Iterable[str]:
    """Yield the plain values that a request adds to a list of receivers."""
    for name, value in part.items():
        if name.lower() in ("add", "valuestoadd"):
            wrapped = value if isinstance(value, dict) else {name: value}
            yield from (text for texts in facts_in(wrapped).values() for text in texts)


def _lets_others_in(line: Line[CloudApiFields]) -> bool:
    is_policy = line.fields.api_operation in _POLICY_CALLS
    return is_policy and lets_others_in(resources_of(line), line.fields.cloud_account)


def _has_public_acl(line: Line[CloudApiFields]) -> bool:
    return any(_PUBLIC_ACL.search(value) for values in facts_of(resources_of(line)).values() for value in values)


def _binds_everybody(line: Line[CloudApiFields]) -> bool:
    """Return whether a binding adds everybody; where a request tells what changes, only that counts."""
    request = opened(resources_of(line))
    deltas = [part for part in objects_in(request) if "member" in part and "action" in part]
    if deltas:
        return any(part["action"] == "ADD" and part["member"] in _EVERYBODY for part in deltas)
    return any(member in _EVERYBODY for member in values_of(line, "members", "member"))


_OPENINGS: Mapping[tuple[str, ...], Callable[[Line[CloudApiFields]], bool]] = {
    _POLICY_CALLS: lambda line: opens_to_everybody(resources_of(line)),
    _ACL_CALLS: _has_public_acl,
    _URL_CALLS: lambda line: sets(line, "authtype", "none"),
    _DATABASE_CALLS: lambda line: sets(line, "publiclyaccessible", "true"),
    _BINDING_CALLS: _binds_everybody,
    _ACCOUNT_CALLS: lambda line: (
        sets(line, "allowblobpublicaccess", "true") or sets(line, "publicaccess", "blob", "container")
    ),
}
_OPENING_OF = {name.lower(): opens for names, opens in _OPENINGS.items() for name in names}


@rule(
    "cloud-opened-to-world",
    "T1530",
    "collection",
    on=(calls_to(*_POLICY_CALLS, *_ACL_CALLS, *_URL_CALLS, *_DATABASE_CALLS, *_BINDING_CALLS, *_ACCOUNT_CALLS),),
    summary="Not by an own service: everybody is let in: by a policy's statement with the effect Allow and a principal * that no condition binds to an organisation, account, network or source (calls as in cloud-shared-outside: "
    f"{', '.join(_POLICY_CALLS)}), by an access list (/groups/global/ AllUsers or AuthenticatedUsers, public-read, authenticated-read in {', '.join(_ACL_CALLS)}), a function's address (authType NONE in {', '.join(_URL_CALLS)}), a database (publiclyAccessible true in "
    f"{', '.join(_DATABASE_CALLS)}) or a binding that adds (action ADD, where a member's action is told) {' or '.join(_EVERYBODY)} as member or among members ({', '.join(_BINDING_CALLS)}), or an account of storage may be read by all ({', '.join(_ACCOUNT_CALLS)} with allowBlobPublicAccess true, or publicAccess blob or container). Confirmed: a policy with an action beyond Get, List, Describe, BatchGet, BatchCheck, or on a secret (PutResourcePolicy).",
    source='ATT&CK T1530; AWS, "The meaning of public" in S3 Block Public Access; Google Cloud IAM, allUsers',
)
def cloud_opened_to_world(calls: Lines[CloudApiFields], window: Window) -> Findings:
    opened_calls = [line for line in calls if _opening(line)]
    return findings_by_caller(opened_calls, confirmed=lambda lines: any(map(_gives_more_than_reading, lines)))


def _opening(line: Line[CloudApiFields]) -> bool:
    operation = operation_of(line.fields)
    opens = _OPENING_OF.get(operation) or _OPENING_OF.get(operation.rpartition(".")[2])
    return opens is not None and opens(line)


def _gives_more_than_reading(line: Line[CloudApiFields]) -> bool:
    """Return whether everybody may do more than read, or may read a secret."""
    grants = [grant for grant in grants_of(resources_of(line)) if grant.everybody]
    if line.fields.api_operation == "PutResourcePolicy":
        return bool(grants)
    return any(not _READING.match(action) for grant in grants for action in grant.actions)


@rule(
    "cloud-public-block-lifted",
    "T1562.001",
    "defense_evasion",
    on=(calls_to(*_UNBLOCKING_CALLS, *_BLOCK_CALLS),),
    summary=f"Not by an own service: what keeps data from being opened to everybody is removed ({', '.join(_UNBLOCKING_CALLS)}) or set in part to false ({', '.join(_BLOCK_CALLS)} with {', '.join(_BLOCK_PARTS)}). Suspicious.",
    source="ATT&CK T1562.001; AWS S3 Block Public Access",
)
def cloud_public_block_lifted(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        line
        for line in calls
        if line.fields.api_operation in _UNBLOCKING_CALLS or any(sets(line, part, "false") for part in _BLOCK_PARTS)
    )


# ---------------------------------------------------------------- taken away
@rule(
    "cloud-ransom",
    "T1486",
    "impact",
    on=(calls_to("CopyObject", "PutBucketEncryption", "PutObject"),),
    summary=f"Not by an own service: CopyObject within one bucket (bucketName, x-amz-copy-source) under another account's key ({_COPY_KEYS[0]}) or the caller's own ({_OWN_KEY}), PutBucketEncryption with another account's KMSMasterKeyID, "
    f"or PutObject of a ransom note (its key says ransom, decrypt, how or help to restore, recover or unlock, restore or recover files, or files encrypted or locked, and ends in .txt, .htm, .html, .hta or .rtf). Confirmed, harm done: {MIN_ENCRYPTED_OBJECTS} copies within {DATA_S} s, or a copy and a note.",
    source="ATT&CK T1486, T1491; AWS S3 CopyObject",
)
def cloud_ransom(calls: Lines[CloudApiFields], window: Window) -> Findings:
    signs = [line for line in calls if _is_note(line) or _is_encrypted_away(line)]

    def confirmed(lines: list[Line[CloudApiFields]]) -> bool:
        copies = [line for line in lines if line.fields.api_operation == "CopyObject"]
        has_note = any(map(_is_note, lines))
        return bool(copies) and (has_note or bool(burst_of(window, copies, MIN_ENCRYPTED_OBJECTS, DATA_S)))

    return findings_by_caller(signs, confirmed=confirmed, impact=True)


def _is_note(line: Line[CloudApiFields]) -> bool:
    return line.fields.api_operation == "PutObject" and any(_NOTE.search(key) for key in values_of(line, "key"))


def _is_encrypted_away(line: Line[CloudApiFields]) -> bool:
    operation = line.fields.api_operation
    owners = [key.split(":")[4] for key in values_of(line, *_COPY_KEYS) if key.count(":") >= 5]
    foreign = any(owner != line.fields.cloud_account for owner in owners)
    if operation == "PutBucketEncryption":
        return foreign
    return operation == "CopyObject" and _is_in_place(line) and (foreign or bool(values_of(line, _OWN_KEY)))


def _is_in_place(line: Line[CloudApiFields]) -> bool:
    """Return whether an object is copied within its bucket."""
    buckets = values_of(line, "bucketname")
    sources = [source.lstrip("/").partition("/")[0] for source in values_of(line, "x-amz-copy-source")]
    return any(bucket in sources for bucket in buckets)


cloud_key_destroyed = call_rule(
    "cloud-key-destroyed",
    "T1485",
    "impact",
    operations=_KEY_CALLS,
    summary=f"Not by an own service: a key that data is encrypted with, or a vault of keys, is disabled or destroyed ({', '.join(_KEY_CALLS)}). Suspicious.",
    source="ATT&CK T1485; AWS KMS, Google Cloud KMS, Azure Key Vault",
)


@rule(
    "cloud-backups-deleted",
    "T1490",
    "impact",
    on=(calls_to(*_SNAPSHOT_CALLS, *_VAULT_CALLS, *_KEEPING),),
    summary=f"Not by an own service: {MIN_BACKUPS} or more snapshots or images are deleted within {DATA_S} s ({', '.join(_SNAPSHOT_CALLS)}), a vault or what it keeps ({', '.join(_VAULT_CALLS)}), "
    f"or keeping is ended ({', '.join(f'{call} with {name} {values[0]}' for call, (name, values) in _KEEPING.items())}). Suspicious.",
    source="ATT&CK T1490; AWS Backup, EC2, RDS and S3, Google Compute Engine and Azure event names",
)
def cloud_backups_deleted(calls: Lines[CloudApiFields], window: Window) -> Findings:
    for lines in grouped(calls, caller_of).values():
        snapshots = [line for line in lines if is_call_to(line, _SNAPSHOTS)]
        ended = [line for line in lines if is_call_to(line, _VAULTS) or _ends_keeping(line)]
        yield from findings_by_caller([*burst_of(window, snapshots, MIN_BACKUPS, DATA_S), *ended])


_SNAPSHOTS, _VAULTS = lower(*_SNAPSHOT_CALLS), lower(*_VAULT_CALLS)


def _ends_keeping(line: Line[CloudApiFields]) -> bool:
    name, values = _KEEPING.get(line.fields.api_operation or "", ("", ()))
    return bool(name) and sets(line, name, *values)


@rule(
    "cloud-stores-deleted",
    "T1485",
    "impact",
    on=(calls_to(*_STORE_CALLS, *_FILE_CALLS, *_DRIVE_CALLS, *_LEAVING_CALLS),),
    at_least=MIN_STORES,
    summary=f"Not by an own service nor a web identity: {MIN_STORES} or more databases, tables, file systems, buckets, repositories, machines or groups of these are deleted within {DATA_S} s ({', '.join(_STORE_CALLS)}; but a database with skipFinalSnapshot false, and a machine or disk by an app or service), or {MIN_FILES} or more different files by one caller, no app or service ({', '.join(_FILE_CALLS)}; {', '.join(_DRIVE_CALLS)} in {_DRIVE}), or {MIN_LEAVING} or more different accounts ({', '.join(_LEAVING_CALLS)}). Suspicious.",
    source="ATT&CK T1485, T1531; AWS RDS, DynamoDB, EFS and S3, Google Cloud, Azure, GitHub, SharePoint and Google Drive event names",
)
def cloud_stores_deleted(calls: Lines[CloudApiFields], window: Window) -> Findings:
    lost = [line for line in calls if not sets(line, "skipfinalsnapshot", "false") and not is_by_automation(line)]
    for lines in grouped(lost, caller_of).values():
        stores = [line for line in lines if is_call_to(line, _STORES) and not _is_scaled(line)]
        files = [line for line in lines if _is_file_of_person(line)]
        burst = burst_of(window, files, MIN_FILES, DATA_S, different=resources_of)
        leaving = [line for line in lines if is_call_to(line, _LEAVING) and not is_program_s(line)]
        burst += burst_of(window, leaving, MIN_LEAVING, DATA_S, different=resources_of)
        yield from findings_by_caller([*burst_of(window, stores, MIN_STORES, DATA_S), *burst])


_LEAVING = lower(*_LEAVING_CALLS)
_STORES, _FILES, _IN_DRIVE = lower(*_STORE_CALLS), lower(*_FILE_CALLS), frozenset(_DRIVE_CALLS)


def _is_scaled(line: Line[CloudApiFields]) -> bool:
    """Return whether a program takes away a machine or disk of Azure, as where it scales."""
    return operation_of(line.fields).startswith("microsoft.compute/") and is_program_s(line)


def _is_file_of_person(line: Line[CloudApiFields]) -> bool:
    in_drive = line.fields.api_service == _DRIVE and operation_of(line.fields) in _IN_DRIVE
    return (in_drive or is_call_to(line, _FILES)) and not is_program_s(line)


RULES = (
    cloud_secrets_read,
    cloud_shared_outside,
    cloud_opened_to_world,
    cloud_public_block_lifted,
    cloud_ransom,
    cloud_key_destroyed,
    cloud_backups_deleted,
    cloud_stores_deleted,
)
