"""Rules on a cloud's control plane: secrets read, resources shared, back doors in identities, machines misused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from schema import CLOUD_WORK, AccountFields, CloudApiFields, ControlChangeFields, account_name
from verifier.rules.kit import TRAIL_CALLS, burst_of, grouped
from verifier.window import Findings, Line, Lines, Window, finding, rule

MIN_SECRETS = 3
SECRETS_S = 600
MIN_ENTERED = 3
BIG_COUNT = 10  # machines in one call
_SECRET_CALLS = (
    "GetSecretValue",
    "BatchGetSecretValue",
    "GetParameter",
    "GetParameters",
    "GetParametersByPath",
    "GetPasswordData",
)
_BULK_CALLS = (
    "BatchGetSecretValue",
    "GetPasswordData",
)
_SHARING = {
    "ModifyImageAttribute": r"launchpermission.{0,80}\badd\b",
    "ModifySnapshotAttribute": r"createvolumepermission.{0,80}\badd\b",
    "ModifyDBSnapshotAttribute": r"valuestoadd",
    "ModifyDBClusterSnapshotAttribute": r"valuestoadd",
    "PutBucketPolicy": r"principal",
    "PutBucketAcl": r"allusers|authenticatedusers",
    "PutResourcePolicy": r"principal",
    "SetRepositoryPolicy": r"principal",
    "CreateStorageAccountKey": r".",
}
_SHARED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _SHARING.items()}
_BACK_DOORS = re.compile(
    r"^(?:AddPermission\w{0,20}|UpdateFunctionCode\w{0,20}|CreateTrustAnchor|CreateSAMLProvider|UpdateSAMLProvider|CreateOpenIDConnectProvider|UpdateAssumeRolePolicy"
    r"|CreateLoginProfile|UpdateLoginProfile|CreateVirtualMFADevice|DeactivateMFADevice|AddUserToGroup|CreateEventSourceMapping\w{0,20}|SetDefaultPolicyVersion|LeaveOrganization"
    r"|Add delegated permission grant\.?|Add app role assignment.{0,40}|Consent to application\.?|Add service principal credentials\.?"
    r"|Update application.{0,60}|Add owner to (?:application|service principal)\.?|Add member to role\.?|Set federation settings on domain\.?|Set domain authentication\.?)$",
    re.IGNORECASE,
)
_CREDENTIALS_CHANGED = re.compile(
    r"keycredentials|passwordcredentials|keydescription|certificates and secrets", re.IGNORECASE
)
_ATTRIBUTE_CALLS = (
    "DescribeInstanceAttribute",
    "ModifyInstanceAttribute",
)
_SHELL_CALLS = (
    "SendSSHPublicKey",
    "SendSerialConsoleSSHPublicKey",
    "SendCommand",
    "StartSession",
    "Run Command",
    "EnableSerialConsoleAccess",
)
_BIG_MACHINE = re.compile(
    r"\"instancetype\":\"(?:p\d|g\d|gr\d|inf\d|trn\d|dl\d|x\d|u-|hpc|vt\d|[a-z]\d\w{0,3}\.(?:1[26]|2[4]|32|48|56|96|112)xlarge|[a-z]\d\w{0,3}\.metal)",
    re.IGNORECASE,
)
_MANY_MACHINES = re.compile(r"\"max(?:count)?\":\"?(\d{1,6})", re.IGNORECASE)
_OPEN_TO_ALL = re.compile(r"(?:/0\"|\"::/0\"|0\.0\.0\.0/0)", re.IGNORECASE)
_PUBLIC = re.compile(r"\"principal\":\s*(?:\"\*\"|\{\"aws\":\s*\"?\[?\"\*)", re.IGNORECASE)
_ADMIN_PORT = re.compile(r"\"(?:fromport|toport)\":\s*\"?(?:22|3389|445|1433|3306|5432|5985|0|-1)\b", re.IGNORECASE)
_MAIL_CALLS = (
    "MailItemsAccessed",
    "New-InboxRule",
    "Set-Mailbox",
    "Add-MailboxPermission",
    "UpdateInboxRules",
)
_MODEL_CALLS = (
    "PutUseCaseForModelAccess",
    "PutFoundationModelEntitlement",
    "CreateFoundationModelAgreement",
)
_DOOR_CALLS = (
    "AuthorizeSecurityGroupIngress",
    "ModifySecurityGroupRules",
    "CreateNetworkAclEntry",
)
_ACCOUNT_ID = re.compile(r"(?<![\da-f-])\d{12}(?![\da-f])")
_INSTANCE = re.compile(r"\bi-[0-9a-zA-Z]{8,17}\b")
_INSTANCE_SESSION = re.compile(r"/i-[0-9a-f]{8,17}$")


def principal_of(line: Line) -> str:
    """Return who made a call."""
    return line.user or account_name(getattr(line.fields, "user_uid", None))


def resources_of(line: Line) -> str:
    """Return the parameters of a call; nothing where there are none."""
    return getattr(line.fields, "resources", None) or ""


def findings_by_principal(lines: Iterable[Line], *, confirmed: bool | Callable[[list[Line]], bool] = False) -> Findings:
    """Make one finding for each principal; `confirmed` may be a function of the principal's lines."""
    for user, group in grouped(lines, principal_of).items():
        yield finding(
            group,
            confirmed=confirmed(group) if callable(confirmed) else confirmed,
            scope="identity",
            host=group[0].host,
            hosts=[line.host for line in group],
            account=user,
            program=CLOUD_WORK,
            remote=getattr(group[0].fields, "src_ip", None) or "",
        )


@rule(
    "cloud-secrets-read",
    "T1555.006",
    "credential_access",
    on=(CloudApiFields,),
    summary=f"A principal reads secrets ({', '.join(_SECRET_CALLS)}) {MIN_SECRETS} or more times within {SECRETS_S} s, or many in one call ({', '.join(_BULK_CALLS)}). Suspicious.",
    source="ATT&CK T1555.006, T1552; AWS CloudTrail event names",
)
def cloud_secrets_read(calls: Lines[CloudApiFields], window: Window) -> Findings:
    reads = [line for line in calls if line.fields.api_operation in _SECRET_CALLS]  # a refused one counts
    for lines in grouped(reads, principal_of).values():
        bulk = [line for line in lines if line.fields.api_operation in _BULK_CALLS]
        yield from findings_by_principal(burst_of(window, lines, MIN_SECRETS, SECRETS_S) or bulk)


@rule(
    "cloud-shared-outside",
    "T1537",
    "exfiltration",
    on=(CloudApiFields,),
    summary=f"An image, snapshot, bucket or resource is shared outside the account ({', '.join(_SHARING)}; with a launchPermission, createVolumePermission or valuesToAdd added, a principal, AllUsers or AuthenticatedUsers; "
    'to another account\'s number, a userId, a "group", "all" or a principal *). Confirmed: with everybody ("all", *), images, snapshots (Modify*).',
    source="ATT&CK T1537, T1530; AWS CloudTrail event names",
)
def cloud_shared_outside(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_principal(
        filter(_is_shared_outside, calls), confirmed=lambda lines: any(map(_is_image_or_public, lines))
    )


def _is_shared_outside(line: Line[CloudApiFields]) -> bool:
    pattern = _SHARED.get(line.fields.api_operation or "")
    shared = pattern and not line.fields.api_error and pattern.search(resources_of(line))
    return bool(shared) and _leaves_account(line)


def _is_image_or_public(line: Line[CloudApiFields]) -> bool:
    resources = resources_of(line)
    by_image = (line.fields.api_operation or "").startswith("Modify")
    return by_image or '"all"' in resources or _PUBLIC.search(resources) is not None


def _leaves_account(line: Line[CloudApiFields]) -> bool:
    """Return whether a call names another account than the own one, everybody, or (where it was cut) nobody at all."""
    resources = resources_of(line)
    others = set(_ACCOUNT_ID.findall(resources)) - {line.fields.cloud_account}
    everybody = any(word in resources for word in ('"all"', '"group"', "userId"))
    return bool(others) or everybody or _PUBLIC.search(resources) is not None


@rule(
    "cloud-back-door",
    "T1098",
    "persistence",
    on=(CloudApiFields, (AccountFields, "password_reset")),
    summary='A trust anchor, identity provider, role trust, another\'s login profile, function permission or application credential is added (AddPermission for another account, a userId, a "group", "all" or a principal *; UpdateFunctionCode, CreateTrustAnchor, '
    "CreateSAMLProvider, UpdateSAMLProvider, CreateOpenIDConnectProvider, UpdateAssumeRolePolicy, CreateLoginProfile, UpdateLoginProfile, CreateVirtualMFADevice, DeactivateMFADevice, AddUserToGroup, CreateEventSourceMapping, SetDefaultPolicyVersion, LeaveOrganization; "
    "Add delegated permission grant, app role assignment, service principal credentials, owner to application or service principal, member to role; Consent to application; Update application with keyCredentials, passwordCredentials, KeyDescription or Certificates and secrets; "
    "Set federation settings on domain, Set domain authentication). Confirmed: AddPermission for everybody (principal *).",
    source="ATT&CK T1098.001, T1098.003, T1546, T1556.006, T1484.002; AWS CloudTrail and Microsoft Entra audit event names",
)
def cloud_back_door(calls: Lines[CloudApiFields], resets: Lines[AccountFields], window: Window) -> Findings:
    return findings_by_principal(
        [*filter(_is_back_door, calls), *filter(_is_reset_in_cloud, resets)],
        confirmed=lambda lines: any('"principal":"*"' in resources_of(line).replace(" ", "") for line in lines),
    )


def _is_back_door(line: Line[CloudApiFields]) -> bool:
    operation = line.fields.api_operation or ""
    if line.fields.api_error or not _BACK_DOORS.match(operation):
        return False
    if operation.startswith("AddPermission"):
        return _leaves_account(line)
    if operation.startswith("Update application") and not _CREDENTIALS_CHANGED.search(resources_of(line) + operation):
        return False
    return bool(principal_of(line))


def _is_reset_in_cloud(line: Line[AccountFields]) -> bool:
    """Return whether somebody sets another's password by a control plane, whose attributes are JSON."""
    in_cloud = line.fields.src_ip and (line.fields.attributes or "").startswith("{")
    return bool(in_cloud) and account_name(line.fields.user_name) not in ("", line.user)


@rule(
    "cloud-machines-misused",
    "T1496",
    "impact",
    on=(CloudApiFields,),
    summary=f"RunInstances of an accelerator or huge instanceType (p, g, inf, trn, dl, vt, x, u-, hpc, metal, 12xlarge and up) or with a max count of {BIG_COUNT} or more, or language models ({', '.join(_MODEL_CALLS)}). Suspicious.",
    source="ATT&CK T1496, T1578.002; AWS CloudTrail RunInstances",
)
def cloud_machines_misused(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_principal(
        line for line in calls if line.fields.api_operation in _MODEL_CALLS or _asks_for_power(window, line)
    )


def _asks_for_power(window: Window, line: Line[CloudApiFields]) -> bool:
    """Return whether a call starts a big machine or many."""
    if line.fields.api_operation != "RunInstances":
        return False
    resources = resources_of(line)
    count = max(map(int, _MANY_MACHINES.findall(resources)), default=0)
    return count >= window.limits.at_least(BIG_COUNT) or _BIG_MACHINE.search(resources) is not None


@rule(
    "cloud-machine-entered",
    "T1021.007",
    "lateral_movement",
    on=(CloudApiFields,),
    summary=f"An SSH key, session or command is sent to a machine ({', '.join(_SHELL_CALLS)}), or its userData read or changed ({', '.join(_ATTRIBUTE_CALLS)}; not a granted read by another than an AssumedRole). Confirmed: {MIN_ENTERED} machines.",
    source="ATT&CK T1021.007, T1098.004, T1580, T1059.009; AWS CloudTrail event names",
)
def cloud_machine_entered(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_principal(
        filter(_enters_machine, calls),
        confirmed=lambda lines: len(_machines(lines)) >= window.limits.at_least(MIN_ENTERED),
    )


def _enters_machine(line: Line[CloudApiFields]) -> bool:
    operation = line.fields.api_operation
    if operation in _SHELL_CALLS:
        return not line.fields.api_error
    start_up = operation in _ATTRIBUTE_CALLS and "userdata" in resources_of(line).lower()
    return start_up and not _is_by_machinery(line)


def _is_by_machinery(line: Line[CloudApiFields]) -> bool:
    """Return whether infrastructure code describes its own machine: it reads start-up data, and nothing is refused."""
    return (
        line.fields.api_operation == "DescribeInstanceAttribute"
        and not line.fields.api_error
        and line.fields.user_type != "AssumedRole"
    )


def _machines(lines: Iterable[Line]) -> set[str]:
    """Return the ids of the machines that calls name."""
    return {machine for line in lines for machine in _INSTANCE.findall(resources_of(line))}


@rule(
    "cloud-door-opened",
    "T1562.007",
    "defense_evasion",
    on=((ControlChangeFields, "firewall"),),
    summary=f"An administration or database port (fromPort or toPort 22, 3389, 445, 1433, 3306, 5432, 5985, 0 or -1) is opened to every address (0.0.0.0/0, ::/0) by {', '.join(_DOOR_CALLS)}. Suspicious.",
    source="ATT&CK T1562.007; AWS CloudTrail AuthorizeSecurityGroupIngress",
)
def cloud_door_opened(changes: Lines[ControlChangeFields], window: Window) -> Findings:
    return findings_by_principal(filter(_is_open_door, changes))


def _is_open_door(line: Line[ControlChangeFields]) -> bool:
    value = line.fields.new_value or ""
    opened = line.fields.control_name in _DOOR_CALLS and _OPEN_TO_ALL.search(value)
    return bool(opened) and _ADMIN_PORT.search(value) is not None


@rule(
    "cloud-trail-attempt",
    "T1562.008",
    "defense_evasion",
    on=(CloudApiFields,),
    summary=f"Stopping the cloud's audit trail ({', '.join(TRAIL_CALLS)}) is tried and refused. Suspicious.",
    source="ATT&CK T1562.008",
)
def cloud_trail_attempt(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_principal(
        line for line in calls if line.fields.api_operation in TRAIL_CALLS and line.fields.api_error
    )


@rule(
    "cloud-instance-credentials",
    "T1552.005",
    "credential_access",
    on=(CloudApiFields,),
    summary="A machine role's session (named i-) calls from two addresses. Confirmed.",
    source="ATT&CK T1552.005; AWS documents that the session of an instance profile bears the instance's id",
)
def cloud_instance_credentials(calls: Lines[CloudApiFields], window: Window) -> Findings:
    own = [line for line in calls if line.fields.src_ip and _INSTANCE_SESSION.search(line.fields.user_uid or "")]
    for lines in grouped(own, principal_of).values():
        if len({line.fields.src_ip for line in lines}) > 1:
            yield from findings_by_principal(lines, confirmed=True)


@rule(
    "cloud-mail-read",
    "T1114.002",
    "exfiltration",
    on=(CloudApiFields,),
    summary=f"An application (a name without @) reads mailboxes (MailItemsAccessed), or a mailbox or its rules are changed ({', '.join(_MAIL_CALLS[1:])}). Suspicious.",
    source="ATT&CK T1114.002, T1564.008; Microsoft Purview audit event names",
)
def cloud_mail_read(calls: Lines[CloudApiFields], window: Window) -> Findings:
    granted = [line for line in calls if line.fields.api_operation in _MAIL_CALLS and not line.fields.api_error]
    return findings_by_principal(
        line
        for line in granted
        if line.fields.api_operation != "MailItemsAccessed" or "@" not in (line.fields.user_uid or "")
    )


RULES = (
    cloud_secrets_read,
    cloud_shared_outside,
    cloud_back_door,
    cloud_machines_misused,
    cloud_machine_entered,
    cloud_door_opened,
    cloud_trail_attempt,
    cloud_instance_credentials,
    cloud_mail_read,
)
