"""Rules on a cloud's control plane: secrets read, resources shared, back doors in identities, machines misused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    CLOUD_WORK,
    AccountFields,
    CloudApiFields,
    ControlChangeFields,
    account_name,
)
from verifier.rules.kit import TRAIL_CALLS, Legacy, legacy_rule
from verifier.window import Finding, Line, Window, crowded, kinds

MIN_SECRETS = 3
SECRETS_S = 600
MIN_ENTERED = 3
BIG_COUNT = 10  # machines in one call
_SECRET_CALLS = frozenset(
    ("GetSecretValue", "BatchGetSecretValue", "GetParameter", "GetParameters", "GetParametersByPath", "GetPasswordData")
)
_BULK_CALLS = frozenset(("BatchGetSecretValue", "GetPasswordData"))
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
_SHELL_CALLS = frozenset(
    (
        "SendSSHPublicKey",
        "SendSerialConsoleSSHPublicKey",
        "SendCommand",
        "StartSession",
        "Run Command",
        "EnableSerialConsoleAccess",
    )
)
_BIG_MACHINE = re.compile(
    r"\"instancetype\":\"(?:p\d|g\d|gr\d|inf\d|trn\d|dl\d|x\d|u-|hpc|vt\d|[a-z]\d\w{0,3}\.(?:1[26]|2[4]|32|48|56|96|112)xlarge|[a-z]\d\w{0,3}\.metal)",
    re.IGNORECASE,
)
_MANY_MACHINES = re.compile(r"\"max(?:count)?\":\"?(\d{1,6})", re.IGNORECASE)
_OPEN_TO_ALL = re.compile(r"(?:/0\"|\"::/0\"|0\.0\.0\.0/0)", re.IGNORECASE)
_PUBLIC = re.compile(r"\"principal\":\s*(?:\"\*\"|\{\"aws\":\s*\"?\[?\"\*)", re.IGNORECASE)
_ADMIN_PORT = re.compile(r"\"(?:fromport|toport)\":\s*\"?(?:22|3389|445|1433|3306|5432|5985|0|-1)\b", re.IGNORECASE)
_MAIL_CALLS = frozenset(
    ("MailItemsAccessed", "New-InboxRule", "Set-Mailbox", "Add-MailboxPermission", "UpdateInboxRules")
)


def principal_of(line: Line) -> str:
    """Who made a call."""
    return line.user or account_name(getattr(line.fields, "user_uid", None))


def calls(window: Window) -> list[Line[CloudApiFields]]:
    """Calls of a control plane that were granted."""
    return [line for line in window.of(CloudApiFields) if line.fields.api_operation and not line.fields.api_error]


def by_principal(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Lines grouped by who called."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(principal_of(line), []).append(line)
    return groups


def suspected(this: Legacy, lines: Iterable[Line], *, sure: Iterable[str] = ()) -> Iterable[Finding]:
    """One finding for each principal; confirmed for whom one of the lines in `sure` is."""
    certain = set(sure)
    for user, group in by_principal(lines).items():
        yield this.finding(
            group,
            confirmed=any(line.log_id in certain for line in group),
            scope="identity",
            host=group[0].host,
            hosts=[line.host for line in group],
            account=user,
            program=CLOUD_WORK,
            remote=getattr(group[0].fields, "src_ip", None) or "",
        )


@legacy_rule(
    "cloud-secrets-read",
    "T1555.006",
    "credential_access",
    says=f"A principal reads secrets {MIN_SECRETS} or more times within {SECRETS_S} s, or many in one call. Suspicious.",
    source="ATT&CK T1555.006, T1552; AWS CloudTrail event names",
    needs=(CloudApiFields,),
)
def cloud_secrets_read(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find secrets read in numbers; a refused attempt counts."""
    asked = [line for line in window.of(CloudApiFields) if line.fields.api_operation in _SECRET_CALLS]
    for _, lines in by_principal(asked).items():
        burst = crowded(
            lines, window.limits.within(SECRETS_S), window.limits.at_least(MIN_SECRETS), lambda line: line.log_id
        )
        bulk = [line for line in lines if getattr(line.fields, "api_operation", "") in _BULK_CALLS]
        if burst or bulk:
            yield from suspected(this, burst or bulk)


@legacy_rule(
    "cloud-shared-outside",
    "T1537",
    "exfiltration",
    says="An image, snapshot, bucket or resource is shared outside the account. Confirmed: with everybody, images, snapshots.",
    source="ATT&CK T1537, T1530; AWS CloudTrail event names",
    needs=(CloudApiFields,),
)
def cloud_shared_outside(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find resources that are given away."""
    given: list[Line] = []
    for line in calls(window):
        pattern, told = _SHARED.get(line.fields.api_operation or ""), line.fields.resources or ""
        if pattern and pattern.search(told) and _leaves(told, line.fields.cloud_account or ""):
            given.append(line)
    sure = [
        line.log_id
        for line in given
        if (line.fields.api_operation or "").startswith("Modify")
        or _PUBLIC.search(line.fields.resources or "")
        or '"all"' in (line.fields.resources or "")
    ]
    yield from suspected(this, given, sure=sure)


_ACCOUNT_ID = re.compile(r"(?<![\da-f-])\d{12}(?![\da-f])")


def _leaves(told: str, own: str) -> bool:
    """Whether a document names another account than the own one, everybody, or (where it was cut) nobody at all."""
    named = set(_ACCOUNT_ID.findall(told)) - {own}
    return bool(named) or _PUBLIC.search(told) is not None or '"all"' in told or '"group"' in told or "userId" in told


@legacy_rule(
    "cloud-back-door",
    "T1098",
    "persistence",
    says="A trust anchor, identity provider, role trust, another's login profile, function permission or application credential is added. Confirmed: a function for everybody.",
    source="ATT&CK T1098.001, T1098.003, T1546, T1556.006, T1484.002; AWS CloudTrail and Microsoft Entra audit event names",
    needs=(CloudApiFields, *kinds(AccountFields, "password_reset")),
)
def cloud_back_door(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find back doors in identities and functions."""
    found: list[Line] = []
    for line in calls(window):
        operation, told = line.fields.api_operation or "", line.fields.resources or ""
        if not _BACK_DOORS.match(operation):
            continue
        if operation.startswith("AddPermission") and not (
            _leaves(told, line.fields.cloud_account or "") or '"principal":"*"' in told
        ):
            continue
        if operation.startswith("Update application") and not _CREDENTIALS_CHANGED.search(told + operation):
            continue
        if operation.startswith("AddPermission") or principal_of(line):
            found.append(line)
    for account in window.of(AccountFields):
        other = account_name(account.fields.user_name)
        cloud = account.fields.src_ip and account.fields.attributes and account.fields.attributes.startswith("{")
        if cloud and account.fields.activity == "password_reset" and other not in ("", account.user):
            found.append(account)
    sure = [
        line.log_id
        for line in found
        if '"principal":"*"' in (getattr(line.fields, "resources", None) or "").replace(" ", "")
    ]
    yield from suspected(this, found, sure=sure)


@legacy_rule(
    "cloud-machines-misused",
    "T1496",
    "impact",
    says=f"Accelerator or huge machines, {BIG_COUNT} or more at once, or language models are asked for. Suspicious.",
    source="ATT&CK T1496, T1578.002; AWS CloudTrail RunInstances",
    needs=(CloudApiFields,),
)
def cloud_machines_misused(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find machines asked for to compute for somebody else."""
    found = []
    for line in window.of(CloudApiFields):
        told = line.fields.resources or ""
        if line.fields.api_operation == "RunInstances":
            most = max((int(number) for number in _MANY_MACHINES.findall(told)), default=0)
            if _BIG_MACHINE.search(told) or most >= window.limits.at_least(BIG_COUNT):
                found.append(line)
        elif line.fields.api_operation in _MODEL_CALLS:
            found.append(line)
    yield from suspected(this, found)


_MODEL_CALLS = frozenset(
    ("PutUseCaseForModelAccess", "PutFoundationModelEntitlement", "CreateFoundationModelAgreement")
)


@legacy_rule(
    "cloud-machine-entered",
    "T1021.007",
    "lateral_movement",
    says=f"An SSH key, session or command is sent to a machine, or its userData read or changed. Confirmed: {MIN_ENTERED} machines.",
    source="ATT&CK T1021.007, T1098.004, T1580, T1059.009; AWS CloudTrail event names",
    needs=(CloudApiFields,),
)
def cloud_machine_entered(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find machines entered from the control plane."""
    found = []
    for line in window.of(CloudApiFields):
        operation, told = line.fields.api_operation or "", (line.fields.resources or "").lower()
        start_up = operation in ("DescribeInstanceAttribute", "ModifyInstanceAttribute") and "userdata" in told
        if (operation in _SHELL_CALLS and not line.fields.api_error) or (start_up and not _by_machinery(line)):
            found.append(line)
    for _, lines in by_principal(found).items():
        machines = {
            instance for line in lines for instance in _INSTANCE.findall(getattr(line.fields, "resources", "") or "")
        }
        many = len(machines) >= window.limits.at_least(MIN_ENTERED)
        yield from suspected(this, lines, sure=[line.log_id for line in lines] if many else ())


_INSTANCE = re.compile(r"\bi-[0-9a-zA-Z]{8,17}\b")


def _by_machinery(line: Line[CloudApiFields]) -> bool:
    """Reads of start-up data are part of describing one's own machine to infrastructure code only where nothing was refused."""
    return (
        line.fields.api_operation == "DescribeInstanceAttribute"
        and not line.fields.api_error
        and (line.fields.user_type or "") != "AssumedRole"
    )


@legacy_rule(
    "cloud-door-opened",
    "T1562.007",
    "defense_evasion",
    says="An administration or database port is opened to every address. Suspicious.",
    source="ATT&CK T1562.007; AWS CloudTrail AuthorizeSecurityGroupIngress",
    needs=kinds(ControlChangeFields, "firewall"),
)
def cloud_door_opened(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find firewalls opened to the world."""
    found = [
        line
        for line in window.of(ControlChangeFields)
        if line.fields.activity == "firewall"
        and line.fields.control_name
        in ("AuthorizeSecurityGroupIngress", "ModifySecurityGroupRules", "CreateNetworkAclEntry")
        and _OPEN_TO_ALL.search(line.fields.new_value or "")
        and _ADMIN_PORT.search(line.fields.new_value or "")
    ]
    yield from suspected(this, found)


@legacy_rule(
    "cloud-trail-attempt",
    "T1562.008",
    "defense_evasion",
    says=f"Stopping the cloud's audit trail ({', '.join(TRAIL_CALLS)}) is tried and refused. Suspicious.",
    source="ATT&CK T1562.008",
    needs=(CloudApiFields,),
)
def cloud_trail_attempt(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find attempts on the audit trail that failed."""
    yield from suspected(
        this,
        [
            line
            for line in window.of(CloudApiFields)
            if line.fields.api_operation in TRAIL_CALLS and line.fields.api_error
        ],
    )


@legacy_rule(
    "cloud-instance-credentials",
    "T1552.005",
    "credential_access",
    says="A machine role's session (named i-) calls from two addresses. Confirmed.",
    source="ATT&CK T1552.005; AWS documents that the session of an instance profile bears the instance's id",
    needs=(CloudApiFields,),
)
def cloud_instance_credentials(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find machine credentials that are used elsewhere."""
    sessions = [
        line
        for line in window.of(CloudApiFields)
        if line.fields.src_ip and re.search(r"/i-[0-9a-f]{8,17}$", line.fields.user_uid or "")
    ]
    for lines in by_principal(sessions).values():
        if len({getattr(line.fields, "src_ip", None) for line in lines}) > 1:
            yield from suspected(this, lines, sure=[line.log_id for line in lines])


@legacy_rule(
    "cloud-mail-read",
    "T1114.002",
    "exfiltration",
    says="An application reads mailboxes, or a mailbox rule is made. Suspicious.",
    source="ATT&CK T1114.002, T1564.008; Microsoft Purview audit event names",
    needs=(CloudApiFields,),
)
def cloud_mail_read(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find mail read or diverted."""
    found = [
        line
        for line in calls(window)
        if line.fields.api_operation in _MAIL_CALLS
        and (line.fields.api_operation != "MailItemsAccessed" or "@" not in (line.fields.user_uid or ""))
    ]
    yield from suspected(this, found)


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
