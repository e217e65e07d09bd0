"""Rules on identities of a cloud: who may act as whom, keys, passwords, second factors, roles (AWS)."""

from __future__ import annotations

from schema import AccountFields, CloudApiFields, GroupFields, account_name
from verifier.calls import call_rule, caller_of, calls_to, findings_by_caller, is_by_service, resources_of, values_of
from verifier.parameters import facts_of
from verifier.policies import REPOSITORIES, grants_everything, lets_others_in, opens_to_everybody
from verifier.rules.kit import CLOUD_S, PRIVILEGED_GROUPS, follows
from verifier.window import Findings, Line, Lines, Window, rule

_TRUST_CALLS = ("UpdateAssumeRolePolicy", "CreateRole")
_FUNCTION_CALLS = (
    "UpdateFunctionCode",
    "CreateEventSourceMapping",
    "SetDefaultPolicyVersion",
    "LeaveOrganization",
    "AddUserToGroup",
)
_BOUND_BY = ("principalorgid", "organizationid", "sourceaccount")
_PROVIDER_CALLS = (
    "CreateTrustAnchor",
    "CreateSAMLProvider",
    "UpdateSAMLProvider",
    "CreateOpenIDConnectProvider",
    "AddClientIDToOpenIDConnectProvider",
    "Set federation settings on domain",
    "Set domain authentication",
    "system.idp.lifecycle.create",
    "system.idp.lifecycle.activate",
    "CreateWorkloadIdentityPoolProvider",
    "system.agent.ad.create",
    "New-FederatedDomain",
    "Add-FederatedDomain",
    "Add a partner to cross-tenant access setting",
)
_LOGIN_CALLS = ("CreateLoginProfile", "UpdateLoginProfile")
_NEW_FACTOR = "EnableMFADevice"
_FACTOR_CALLS = ("DeactivateMFADevice", "DeleteVirtualMFADevice")
_INLINE_CALLS = (
    "PutUserPolicy",
    "PutRolePolicy",
    "PutGroupPolicy",
    "CreatePolicyVersion",
    "PutPermissionSetInlinePolicy",
)
_BOUNDARY_CALLS = ("DeleteUserPermissionsBoundary", "DeleteRolePermissionsBoundary")
_MANAGED_CALLS = ("AttachUserPolicy", "AttachRolePolicy", "AttachGroupPolicy")
_WIDE_POLICIES = ("iamfullaccess", "poweruseraccess")


@rule(
    "cloud-back-door",
    "T1098",
    "persistence",
    on=(calls_to("AddPermission", "AddLayerVersionPermission", *_FUNCTION_CALLS),),
    summary=f"Not by an own service: a function is opened (AddPermission, AddLayerVersionPermission with a principal * or one, or awsAccountIds, that name another account than its own, and no {', '.join(_BOUND_BY)}), or its code, a default or a tie is changed "
    f"({', '.join(_FUNCTION_CALLS)}; AddUserToGroup of the caller as userName, or with admin in its groupName). Confirmed: a principal *.",
    source="ATT&CK T1098.003, T1546; AWS CloudTrail event names",
)
def cloud_back_door(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        filter(_is_back_door, calls),
        confirmed=lambda lines: any("*" in values_of(line, "principal", "awsaccountids") for line in lines),
    )


def _is_back_door(line: Line[CloudApiFields]) -> bool:
    operation = (line.fields.api_operation or "").lower()
    if operation.startswith(("addpermission", "addlayerversionpermission")):
        if values_of(line, *_BOUND_BY):
            return False
        principals = values_of(line, "principal", "awsaccountids")
        return "*" in principals or any(_is_another_account(name, line) for name in principals)
    if operation == "addusertogroup":
        by_name = any("admin" in name.lower() for name in values_of(line, "groupname"))
        return by_name or caller_of(line) in values_of(line, "username")
    return bool(caller_of(line))


def _is_another_account(principal: str, line: Line[CloudApiFields]) -> bool:
    """Return whether a principal is the number or the ARN of an account that is not the call's own."""
    numbers = [part for part in principal.split(":") if part.isdigit()]
    return any(number != line.fields.cloud_account for number in numbers)


@rule(
    "cloud-role-trust",
    "T1098.003",
    "persistence",
    on=(calls_to(*_TRUST_CALLS), (GroupFields, "policy_attach")),
    summary=f"Not by an own service: {' or '.join(_TRUST_CALLS)} lets another account assume a role, or everybody, or any repository of GitHub (Federated {REPOSITORIES}, whose sub, repository, repository_owner or job_workflow_ref no StringEquals or StringLike tests, or by repo:* alone; a statement with the effect Allow; conditions on organisation, account or source bind it, an sts:ExternalId only everybody). "
    f"Confirmed: everybody or any repository, or the caller gives that roleName a privileged policy ({', '.join(PRIVILEGED_GROUPS)}) within {CLOUD_S} s after.",
    source="ATT&CK T1098.003; AWS IAM UpdateAssumeRolePolicy; GitHub, Configuring OpenID Connect in Amazon Web Services",
)
def cloud_role_trust(calls: Lines[CloudApiFields], attachments: Lines[GroupFields], window: Window) -> Findings:
    trusts = [line for line in calls if _is_open(line) or _lets_others_in(line)]
    return findings_by_caller(
        trusts,
        confirmed=lambda lines: any(_is_open(line) or _is_armed(window, line, attachments) for line in lines),
    )


def _is_open(line: Line[CloudApiFields]) -> bool:
    return opens_to_everybody(resources_of(line))


def _lets_others_in(line: Line[CloudApiFields]) -> bool:
    return lets_others_in(resources_of(line), line.fields.cloud_account)


def _is_armed(window: Window, trust: Line[CloudApiFields], attachments: Lines[GroupFields]) -> bool:
    """Return whether the caller gives the role a privileged policy soon after."""
    return any(
        line.fields.user_name in values_of(trust, "rolename")
        and caller_of(line) == caller_of(trust)
        and account_name(line.fields.group_name).lower() in PRIVILEGED_GROUPS
        and follows(window, line, trust, CLOUD_S)
        for line in attachments
    )


cloud_identity_provider = call_rule(
    "cloud-identity-provider",
    "T1484.002",
    "defense_evasion",
    operations=_PROVIDER_CALLS,
    summary=f"Not by an own service: another identity provider or trust anchor comes to be believed ({', '.join(_PROVIDER_CALLS)}). Suspicious.",
    source="ATT&CK T1484.002, T1556.007; AWS IAM, Microsoft Entra audit activities, Okta event types",
)


@rule(
    "cloud-login-changed",
    "T1098",
    "persistence",
    on=(calls_to(*_LOGIN_CALLS, *_FACTOR_CALLS, _NEW_FACTOR), (AccountFields, "password_reset")),
    summary=f"Not by an own service: somebody sets another's password for the console ({', '.join(_LOGIN_CALLS)}, or a password reset whose attributes begin with a curly bracket, as a control plane writes them) "
    f"or takes a second factor away ({', '.join(_FACTOR_CALLS)}; userName or serialNumber is not the caller's), or its own by DeactivateMFADevice, and sets up no other within {CLOUD_S} s after ({_NEW_FACTOR}). Confirmed: both for one userName.",
    source="ATT&CK T1098, T1556.006; AWS IAM UpdateLoginProfile, DeactivateMFADevice",
)
def cloud_login_changed(calls: Lines[CloudApiFields], resets: Lines[AccountFields], window: Window) -> Findings:
    renewals = [line for line in calls if line.fields.api_operation == _NEW_FACTOR]
    changes: list[Line] = [
        line
        for line in calls
        if line not in renewals and (_concerns_another(line) or _stays_without(window, line, renewals))
    ]
    changes += [line for line in resets if _is_reset_in_cloud(line)]
    return findings_by_caller(changes, confirmed=_takes_over)


def _concerns_another(line: Line[CloudApiFields]) -> bool:
    names = {account_name(name) for name in values_of(line, "username", "serialnumber")}
    return bool(caller_of(line)) and bool(names - {caller_of(line)})


def _stays_without(window: Window, line: Line[CloudApiFields], renewals: Lines[CloudApiFields]) -> bool:
    """Return whether a caller takes its own second factor away and sets up no other."""
    renewed = any(caller_of(new) == caller_of(line) and follows(window, new, line, CLOUD_S) for new in renewals)
    return line.fields.api_operation == "DeactivateMFADevice" and bool(caller_of(line)) and not renewed


def _is_reset_in_cloud(line: Line[AccountFields]) -> bool:
    """Return whether somebody sets another's password by a control plane, whose attributes are JSON."""
    by_call = (line.fields.attributes or "").startswith("{") and not is_by_service(line)
    return by_call and account_name(line.fields.user_name) not in ("", line.user)


def _takes_over(lines: list[Line]) -> bool:
    """Return whether one account loses its second factor and gets another password."""
    factors = [line for line in lines if (getattr(line.fields, "api_operation", None) or "") in _FACTOR_CALLS]
    without_factor = {name for line in factors for name in _account_of(line)}
    return any(name in without_factor for line in lines if line not in factors for name in _account_of(line))


def _account_of(line: Line) -> list[str]:
    return values_of(line, "username") or [name for name in [getattr(line.fields, "user_name", None)] if name]


@rule(
    "cloud-admin-granted",
    "T1098.003",
    "privilege_escalation",
    on=(calls_to(*_INLINE_CALLS, *_BOUNDARY_CALLS), (GroupFields, "policy_attach")),
    summary=f"Not by an own service: a policy (effect Allow, no principal) with every action (*, *:* or iam:*) on every resource (*) is written ({', '.join(_INLINE_CALLS)}), a boundary removed ({', '.join(_BOUNDARY_CALLS)}), or {' or '.join(_WIDE_POLICIES)} attached ({', '.join(_MANAGED_CALLS)}). "
    "Confirmed: to the caller's own userName.",
    source="ATT&CK T1098.003; AWS IAM PutUserPolicy, DeleteUserPermissionsBoundary",
)
def cloud_admin_granted(calls: Lines[CloudApiFields], attachments: Lines[GroupFields], window: Window) -> Findings:
    grants: list[Line] = [line for line in calls if _is_boundary(line) or grants_everything(resources_of(line))]
    grants += [
        line
        for line in attachments
        if account_name(line.fields.group_name).lower() in _WIDE_POLICIES and not is_by_service(line)
    ]
    return findings_by_caller(
        grants, confirmed=lambda lines: any(caller_of(line) in _account_of(line) for line in lines)
    )


def _is_boundary(line: Line[CloudApiFields]) -> bool:
    return (line.fields.api_operation or "") in _BOUNDARY_CALLS


@rule(
    "key-for-another",
    "T1098.001",
    "persistence",
    on=((AccountFields, "key_create"),),
    summary=f"A principal, not an own service, makes an access key for an account that is not its own, but where a service does it for it (invokedBy in the attributes) and it made that account by a service at most {CLOUD_S} s before, as a stack's user. Suspicious.",
    source="ATT&CK T1098.001: additional cloud credentials",
)
def key_for_another(keys: Lines[AccountFields], window: Window) -> Findings:
    for line in keys:
        owner = account_name(line.fields.user_name)
        if owner and line.user and owner != line.user and not is_by_service(line) and not _is_of_stack(window, line):
            yield from findings_by_caller([line])


def _services(line: Line[AccountFields]) -> tuple[str, ...]:
    return facts_of(line.fields.attributes or "").get("invokedby", ())


def _is_of_stack(window: Window, key: Line[AccountFields]) -> bool:
    """Return whether a service makes a key for an account that it made, both in one principal's name."""
    return bool(_services(key)) and any(
        _services(made) == _services(key)
        and (made.user, made.fields.user_name) == (key.user, key.fields.user_name)
        and follows(window, key, made, CLOUD_S)
        for made in window.of(AccountFields, "create")
    )


@rule(
    "cloud-root-credential",
    "T1098.001",
    "persistence",
    on=((AccountFields, "key_create"), calls_to(*_FACTOR_CALLS, "CreateAccessKey")),
    summary=f"The account's root makes an access key for itself (key_create of root, or CreateAccessKey) or takes a second factor away ({', '.join(_FACTOR_CALLS)}; user_type Root). Suspicious.",
    source='ATT&CK T1098.001; AWS, "Root user best practices"',
)
def cloud_root_credential(keys: Lines[AccountFields], calls: Lines[CloudApiFields], window: Window) -> Findings:
    by_root: list[Line] = [line for line in keys if line.user.lower() == "root" and _is_root_s(line)]
    by_root += [line for line in calls if (line.fields.user_type or "").lower() == "root"]
    return findings_by_caller(by_root)


def _is_root_s(line: Line[AccountFields]) -> bool:
    return account_name(line.fields.user_name).lower() in ("", "root")


@rule(
    "cloud-federation-token",
    "T1550.001",
    "lateral_movement",
    on=(calls_to("GetFederationToken", "GetSigninToken"),),
    summary="Not by an own service: a user's long-lived key is turned into a session that outlives it (GetFederationToken, with a name), or into a console's (GetSigninToken). Suspicious. Confirmed: a policy in it (effect Allow) with every action (*, *:* or iam:*) on every resource (*).",
    source="ATT&CK T1550.001, T1078.004; AWS STS GetFederationToken",
)
def cloud_federation_token(calls: Lines[CloudApiFields], window: Window) -> Findings:
    tokens = [line for line in calls if caller_of(line) and facts_of(resources_of(line))]
    return findings_by_caller(
        tokens, confirmed=lambda lines: any(grants_everything(resources_of(line)) for line in lines)
    )


RULES = (
    cloud_back_door,
    cloud_role_trust,
    cloud_identity_provider,
    cloud_login_changed,
    cloud_admin_granted,
    key_for_another,
    cloud_root_credential,
    cloud_federation_token,
)
