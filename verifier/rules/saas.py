"""Rules on the administration of a tenant: Microsoft Entra, Okta, Google Workspace and Cloud, GitHub."""

from __future__ import annotations

import re
from collections.abc import Mapping

from schema import CloudApiFields, LogonFields, account_name
from verifier.calls import (
    call_rule,
    caller_of,
    calls_to,
    findings_by_caller,
    is_call_to,
    is_program_s,
    lower,
    operation_of,
    resources_of,
    sets,
    values_of,
)
from verifier.parameters import facts_in, facts_of, objects_in, opened
from verifier.rules.kit import burst_of, follows, grouped
from verifier.window import Findings, Line, Lines, Window, rule

MIN_PUSHES = 5
PUSH_S = 600
_ROLE_CALLS = (
    "Add member to role",
    "Add eligible member to role",
    "Add member to role outside of PIM",
    "Add member to role in PIM completed (permanent)",
    "Add eligible member to role in PIM completed (permanent)",
    "Microsoft.Authorization/elevateAccess/action",
    "Add-RoleGroupMember",
    "New-ManagementRoleAssignment",
    "iam.resourceset.bindings.add",
    "user.account.privilege.grant",
    "group.privilege.grant",
    "ASSIGN_ROLE",
    "GRANT_ADMIN_PRIVILEGE",
    "GRANT_DELEGATED_ADMIN_PRIVILEGES",
    "SiteCollectionAdminAdded",
    "Microsoft.KeyVault/vaults/accessPolicies/write",
)
_OWNER_CALLS = ("org.add_member", "org.update_member", "org.update_default_repository_permission", "business.add_admin")
_AZURE_CALLS = ("Microsoft.Authorization/roleAssignments/write", "Create role assignment")
_AZURE_ROLES = (  # Microsoft, "Azure built-in roles": Owner, Contributor, User Access Administrator, Role Based Access Control Administrator
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
)
_PIPELINES = "operations of Azure (microsoft.) not by an app, bot or service (user_type)"
_STRONG_RIGHTS = re.compile(
    r"^(?:iam\.serviceaccounts\.(?:actas|getaccesstoken|signblob|signjwt)|iam\.serviceaccountkeys\.create|[\w.]{1,60}\.setiampolicy)$",
    re.IGNORECASE,
)
_STRONG_ROLES = re.compile(
    r"^roles/(?:owner|editor|iam\.(?:securityAdmin|serviceAccountTokenCreator|serviceAccountKeyAdmin)|resourcemanager\.organizationAdmin)$"
)
_FACTOR_CALLS = (
    "user.mfa.factor.deactivate",
    "user.mfa.factor.reset_all",
    "user.mfa.factor.suspend",
    "Admin registered security info",
    "Admin updated security info",
    "Admin deleted security info",
    "Disable Strong Authentication",
    "UNENROLL_USER_FROM_STRONG_AUTH",
    "2sv_disable",
    "2svDisable",
)
_GUARD_CALLS = (
    "Delete conditional access policy",
    "policy.lifecycle.deactivate",
    "policy.lifecycle.delete",
    "policy.rule.deactivate",
    "policy.rule.delete",
    "zone.deactivate",
    "zone.delete",
    "zone.remove_blacklist",
    "org.disable_two_factor_requirement",
    "org.disable_saml",
    "ip_allow_list.disable",
    "org.disable_oauth_app_restrictions",
    "ssh_certificate_requirement.disable",
    "network_zone.rule.disabled",
    "application.policy.sign_on.rule.delete",
    "security.authenticator.lifecycle.deactivate",
    "Update role setting in PIM",
    "ADD_TRUSTED_DOMAINS",
    "Microsoft.Authorization/locks/delete",
    "Microsoft.Authorization/policyAssignments/delete",
)
_SWITCH_CALLS = ("ENFORCE_STRONG_AUTHENTICATION", "ALLOW_STRONG_AUTHENTICATION", "TOGGLE_SSO_ENABLED")
_POLICY_CALL = "Update conditional access policy"
_TOKEN_CALLS = (
    "Add service principal credentials",
    "system.api_token.create",
    "CreateServiceAccountKey",
    "UploadServiceAccountKey",
    "public_key.create",
    "deploy_key.create",
    "personal_access_token.create",
    "personal_access_token.access_granted",
    "Add owner to application",
    "Add owner to service principal",
    "ssh_certificate_authority.create",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
)
_APPLICATION_CALLS = ("Update application", "Update application - Certificates and secrets management")
_SECRETS = re.compile(r"keycredentials|passwordcredentials|keydescription", re.IGNORECASE)
_CONSENT_CALLS = (
    "Consent to application",
    "Add delegated permission grant",
    "Add app role assignment to service principal",
    "Add app role assignment grant to user",
)
_DELEGATION_CALLS = ("AUTHORIZE_API_CLIENT_ACCESS", "ADD_TO_TRUSTED_OAUTH2_APPS")
_WIDE_SCOPE = re.compile(
    r"\b(?:Mail|Files|Directory|RoleManagement|Application|AppRoleAssignment|User|Group|Sites|Contacts|MailboxSettings|Device)(?:\.\w{1,20})?\.(?:Read|ReadWrite|Send|FullControl|Manage)(?:\.\w{1,20})?\b"
    r"|\bMail\.(?:Read|ReadWrite|Send)\b|full_access_as_app|EWS\.AccessAsUser|AccessAsUser\.All",
    re.IGNORECASE,
)
_PUSH_CALLS = ("system.push.send_factor_verify_push", "user.mfa.okta_verify.deny_push", "second factor refused")
_ANSWER_CALL = "user.authentication.auth_via_mfa"
_WATCH_CALLS = (
    "protected_branch.destroy",
    "protected_branch.policy_override",
    "repo.advanced_security_disabled",
    "repository_ruleset.destroy",
    "secret_scanning.disable",
    "repository_secret_scanning.disable",
    "repository_secret_scanning_push_protection.disable",
    "repository_vulnerability_alerts.disable",
    "dependabot_alerts.disable",
    "code_scanning.disable",
    "audit_log_streaming.destroy",
    "org.advanced_security_disabled_on_all_repos",
    "org.advanced_security_disabled_for_new_repos",
    "business_advanced_security.disabled",
    "dependabot_alerts_new_repos.disable",
    "secret_scanning_push_protection.bypass",
    "private_repository_forking.enable",
    "org.secret_scanning_push_protection_disable",
    "business_secret_scanning.disable",
    "business_secret_scanning_push_protection.disable",
    "secret_scanning_new_repos.disable",
)
_LOOSENED: Mapping[str, tuple[str, tuple[str, ...]]] = {  # what loosens a protection by the value of one name
    "protected_branch.update_admin_enforced": ("admin_enforced", ("false",)),
    "protected_branch.update_allow_force_pushes_enforcement_level": (
        "allow_force_pushes_enforcement_level",
        ("1", "2"),
    ),
    "repository_ruleset.update": ("ruleset_enforcement", ("disabled",)),
}
_LOOSENING = ", ".join(f"{call} with {name} {' or '.join(values)}" for call, (name, values) in _LOOSENED.items())
_HOOK_CALLS = (
    "hook.create",
    "hook.config_changed",
    "org.register_self_hosted_runner",
    "repo.register_self_hosted_runner",
)
_OUT_CALLS = (
    "CUSTOMER_TAKEOUT_CREATED",
    "email_forwarding_out_of_domain",
    "CREATE_EMAIL_MONITOR",
    "SearchExportDownloaded",
    "New-ComplianceSearchAction",
    "repo.transfer_start",
    "repo.transfer_outgoing",
    "org.transfer_outgoing",
    "migration.create",
    "packetMirrorings.insert",
    "Microsoft.Network/networkWatchers/packetCaptures/write",
    "cloudsql.instances.export",
    "Microsoft.Compute/snapshots/beginGetAccess/action",
    "Microsoft.Compute/disks/beginGetAccess/action",
    "Microsoft.Sql/servers/databases/export/action",
)
_TAKEN_CALLS = ("FileDownloaded", "download", "git.clone", "repo.download_zip", "storage.objects.get")
_JOB_CALL = "InsertJob"
MIN_TAKEN = 20  # different files or repositories; a person opens a few
TAKEN_S = 600
_PUBLIC_CALLS = ("repo.access", "change_document_visibility", "change_acl_editors", "AnonymousLinkCreated")


@rule(
    "tenant-role-granted",
    "T1098.003",
    "privilege_escalation",
    on=(calls_to(*_ROLE_CALLS, *_OWNER_CALLS, *_AZURE_CALLS, "SetIamPolicy", "CreateRole", "UpdateRole"),),
    summary=f"Not by an own service, the right to administer a tenant is given: {', '.join(_ROLE_CALLS)}; {', '.join(_OWNER_CALLS)} with permission or role admin or owner; SetIamPolicy whose deltas have the action ADD and a role roles/owner, editor, iam.securityAdmin, iam.serviceAccountTokenCreator, "
    "iam.serviceAccountKeyAdmin or resourcemanager.organizationAdmin; CreateRole or UpdateRole whose includedPermissions have iam.serviceAccounts.actAs, getAccessToken, signBlob or signJwt, iam.serviceAccountKeys.create or any setIamPolicy; "
    f"{' or '.join(_AZURE_CALLS)} whose roleDefinitionId ends in {', '.join(_AZURE_ROLES)} or is not told; other {_PIPELINES}. Suspicious. Confirmed: to the caller itself (userPrincipalName, alternateId, USER_EMAIL, member, user).",
    source="ATT&CK T1098.003; Microsoft Entra, Azure, Okta, Google and GitHub audit event names",
)
def tenant_role_granted(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        filter(_grants_role, calls),
        confirmed=lambda lines: any(caller_of(line) in _receivers(line) for line in lines),
    )


def _grants_role(line: Line[CloudApiFields]) -> bool:
    operation = operation_of(line.fields)
    if operation.endswith("setiampolicy"):
        deltas = [part for part in objects_in(opened(resources_of(line))) if "role" in part and "action" in part]
        return any(part["action"] == "ADD" and _STRONG_ROLES.match(str(part["role"])) for part in deltas)
    if operation in _OWNER_CALLS and operation != "business.add_admin":
        return any(sets(line, name, "admin", "owner") for name in ("permission", "role"))
    if is_call_to(line, _GIVES_AZURE_ROLE):
        roles = values_of(line, "roledefinitionid")
        return not roles or any(role.lower().endswith(_AZURE_ROLES) for role in roles)
    if operation.endswith(("createrole", "updaterole")):
        return any(map(_STRONG_RIGHTS.match, values_of(line, "includedpermissions")))
    return bool(caller_of(line)) and not _is_pipeline_s(line)


_GIVES_AZURE_ROLE = lower(*_AZURE_CALLS)


def _is_pipeline_s(line: Line[CloudApiFields]) -> bool:
    """Return whether an application or service works on Azure's resources, as pipelines do that carry out what is written down."""
    return operation_of(line.fields).startswith("microsoft.") and _is_no_person_s(line)


def _receivers(line: Line[CloudApiFields]) -> set[str]:
    """Return the accounts that a call is about."""
    names = values_of(line, "userprincipalname", "alternateid", "user_email", "member", "user")
    return {account_name(name.rpartition(":")[2]) for name in names}


@rule(
    "tenant-factor-reset",
    "T1556.006",
    "credential_access",
    on=(calls_to(*_FACTOR_CALLS, *_SWITCH_CALLS),),
    summary=f"Not by an own service: another's second factor is reset, removed or set, or somebody's switched off altogether ({', '.join(_FACTOR_CALLS)}; not where only the caller's own account is named as userPrincipalName, alternateId, USER_EMAIL, member or user), or second factors are no longer asked ({', '.join(_SWITCH_CALLS)} with NEW_VALUE false). Suspicious.",
    source="ATT&CK T1556.006; Microsoft Entra, Okta and Google Workspace event names",
)
def tenant_factor_reset(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(filter(_removes_factor, calls))


def _removes_factor(line: Line[CloudApiFields]) -> bool:
    if (line.fields.api_operation or "") in _SWITCH_CALLS:
        return sets(line, "new_value", "false")
    return _receivers(line) != {caller_of(line)}


@rule(
    "tenant-guard-weakened",
    "T1556.009",
    "defense_evasion",
    on=(calls_to(*_GUARD_CALLS, _POLICY_CALL),),
    summary=f"Not by an own service: a rule on who may sign in, how and from where is removed or switched off ({', '.join(_GUARD_CALLS)}), or {_POLICY_CALL} whose newValue has state disabled or more accounts excluded (excludeUsers, excludeGroups, excludeLocations, excludeRoles) than its oldValue; {_PIPELINES}. Suspicious.",
    source="ATT&CK T1556.009; Microsoft Entra conditional access, Okta policies and zones, GitHub organisations",
)
def tenant_guard_weakened(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        line
        for line in calls
        if not _is_pipeline_s(line) and (operation_of(line.fields) != _POLICY_CALL.lower() or _is_policy_weaker(line))
    )


_EXCLUDED = ("excludeusers", "excludegroups", "excludelocations", "excluderoles")


def _is_policy_weaker(line: Line[CloudApiFields]) -> bool:
    """Return whether a policy is switched off, or leaves out more than it did."""
    for part in objects_in(opened(resources_of(line))):
        if "newValue" in part:
            new, old = (facts_in(part.get(name)) for name in ("newValue", "oldValue"))
            if "disabled" in new.get("state", ()) and "disabled" not in old.get("state", ()):
                return True
            if any(set(new.get(name, ())) - set(old.get(name, ())) for name in _EXCLUDED):
                return True
    return False


@rule(
    "tenant-token-made",
    "T1098.001",
    "persistence",
    on=(calls_to(*_TOKEN_CALLS, *_APPLICATION_CALLS),),
    summary=f"Not by an own service: a credential that lasts is made for an application, a service account, a repository or an interface ({', '.join(_TOKEN_CALLS)}; but a deploy key with read_only true), or {' or '.join(_APPLICATION_CALLS)} with keyCredentials, passwordCredentials or KeyDescription; {_PIPELINES}. Suspicious.",
    source="ATT&CK T1098.001; Microsoft Entra, Okta, Google Cloud IAM and GitHub event names",
)
def tenant_token_made(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _makes_credential(line))


def _makes_credential(line: Line[CloudApiFields]) -> bool:
    operation = operation_of(line.fields)
    if operation.startswith("update application"):
        return _SECRETS.search(resources_of(line)) is not None
    if _is_pipeline_s(line):
        return False
    return operation != "deploy_key.create" or not sets(line, "read_only", "true")


@rule(
    "tenant-consent-wide",
    "T1528",
    "credential_access",
    on=(calls_to(*_CONSENT_CALLS, *_DELEGATION_CALLS),),
    summary=f"Not by an own service: an application may read or act for many ({', '.join(_CONSENT_CALLS)} with a scope as Mail, Files, Directory, RoleManagement, Application, AppRoleAssignment, User, Group, Sites, Contacts, MailboxSettings or Device with Read, ReadWrite, Send, FullControl or Manage (but User.Read alone), full_access_as_app, EWS.AccessAsUser, AccessAsUser.All, or consent for all: AllPrincipals, ConsentContext.IsAdminConsent True), "
    f"or a client gets delegation over a whole Workspace, or is trusted in it ({', '.join(_DELEGATION_CALLS)}). Suspicious.",
    source="ATT&CK T1528, T1098.003; Microsoft Entra audit activities, Google Workspace admin events",
)
def tenant_consent_wide(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _is_wide_consent(line))


def _is_wide_consent(line: Line[CloudApiFields]) -> bool:
    if (line.fields.api_operation or "") in _DELEGATION_CALLS:
        return True
    text = " ".join(value for values in facts_of(resources_of(line)).values() for value in values)
    for_all = "allprincipals" in text.lower() or sets(line, "consentcontext.isadminconsent", "true")
    return for_all or _WIDE_SCOPE.search(text.replace("User.Read ", " ")) is not None


okta_impersonation = call_rule(
    "okta-impersonation",
    "T1078.004",
    "initial_access",
    operations=("user.session.impersonation.initiate", "user.session.impersonation.grant"),
    summary="Not by an own service: support's right to act as a user is granted or used (user.session.impersonation.initiate, user.session.impersonation.grant). Suspicious.",
    source="ATT&CK T1078.004; Okta event types",
)


@rule(
    "push-fatigue",
    "T1621",
    "credential_access",
    on=(CloudApiFields, (LogonFields, "success")),
    at_least=MIN_PUSHES,
    summary=f"One account is asked {MIN_PUSHES} or more times within {PUSH_S} s to confirm a sign-in on its telephone ({', '.join(_PUSH_CALLS)}, refused or not, or {_ANSWER_CALL} refused). Suspicious. Confirmed: it signs in from an external address within {PUSH_S} s after.",
    source='ATT&CK T1621; Okta event types; Microsoft, "Microsoft Entra authentication and authorization error codes" (500121)',
)
def push_fatigue(calls: Lines[CloudApiFields], successes: Lines[LogonFields], window: Window) -> Findings:
    pushes = [line for line in calls if _is_push(line)]
    for user, lines in grouped(pushes, caller_of).items():
        burst = burst_of(window, lines, MIN_PUSHES, PUSH_S)
        entries = [
            line
            for line in successes
            if burst
            and account_name(line.fields.user_name) == user
            and window.is_external(line.fields.src_ip)
            and follows(window, line, burst[-1], PUSH_S)
        ]
        if user:
            yield from findings_by_caller(burst, confirmed=bool(entries))


def _is_push(line: Line[CloudApiFields]) -> bool:
    operation = operation_of(line.fields)
    return operation in _PUSH_CALLS or (operation == _ANSWER_CALL and bool(line.fields.api_error))


@rule(
    "code-guard-removed",
    "T1562.001",
    "defense_evasion",
    on=(calls_to(*_WATCH_CALLS, *_LOOSENED),),
    summary=f"Not by an own service: what protects a repository or looks for secrets in it is switched off, passed or loosened ({', '.join(_WATCH_CALLS)}; {_LOOSENING}). Suspicious.",
    source='ATT&CK T1562.001; GitHub, "Audit log events for your organization"',
)
def code_guard_removed(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _is_loosened(line))


def _is_loosened(line: Line[CloudApiFields]) -> bool:
    name, values = _LOOSENED.get(operation_of(line.fields), ("", ()))
    return not name or sets(line, name, *values)


@rule(
    "content-made-public",
    "T1567",
    "exfiltration",
    on=(calls_to(*_PUBLIC_CALLS),),
    summary=f"Not by an own service: a repository or document is shown to everybody ({', '.join(_PUBLIC_CALLS)}, but for the last with visibility or NEW_VALUE public, public_on_the_web or people_with_link). Suspicious.",
    source="ATT&CK T1567, T1213.003; GitHub repo.access, Google Workspace Drive events, SharePoint sharing events",
)
def content_made_public(calls: Lines[CloudApiFields], window: Window) -> Findings:
    words = ("public", "public_on_the_web", "people_with_link")
    return findings_by_caller(
        line
        for line in calls
        if operation_of(line.fields) == _PUBLIC_CALLS[-1].lower()
        or any(sets(line, name, *words) for name in ("visibility", "new_value"))
    )


@rule(
    "code-hook-added",
    "T1072",
    "execution",
    on=(calls_to(*_HOOK_CALLS),),
    summary=f"Neither an own service nor an app (user_type app or bot): events of a repository are sent elsewhere or its builds run elsewhere ({', '.join(_HOOK_CALLS)}). Suspicious.",
    source='ATT&CK T1072, T1020; GitHub, "Audit log events for your organization"',
)
def code_hook_added(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if (line.fields.user_type or "").lower() not in ("app", "bot"))


@rule(
    "tenant-data-out",
    "T1114.003",
    "collection",
    on=(calls_to(*_OUT_CALLS, *_TAKEN_CALLS, _JOB_CALL),),
    summary=f"Not by an own service: a tenant's data, repositories, disks, databases, traffic or search results are exported, or mail sent on outside ({', '.join(_OUT_CALLS)}, {_JOB_CALL} with destinationUris), "
    f"or one caller, no app, bot or service (user_type), takes {MIN_TAKEN} or more different things within {TAKEN_S} s ({', '.join(_TAKEN_CALLS)}). Suspicious.",
    source="ATT&CK T1114.003, T1530, T1213; Google Workspace, SharePoint, GitHub, Google Cloud and Azure event names",
)
def tenant_data_out(calls: Lines[CloudApiFields], window: Window) -> Findings:
    out = [line for line in calls if _is_export(line)]
    taken = [line for line in calls if is_call_to(line, _TAKES) and not _is_no_person_s(line)]
    for lines in grouped(taken, caller_of).values():
        out += burst_of(window, lines, MIN_TAKEN, TAKEN_S, different=resources_of)
    return findings_by_caller(out)


_EXPORTS, _TAKES, _JOBS = lower(*_OUT_CALLS), lower(*_TAKEN_CALLS), lower(_JOB_CALL)


def _is_export(line: Line[CloudApiFields]) -> bool:
    if is_call_to(line, _EXPORTS):
        return True
    return is_call_to(line, _JOBS) and bool(values_of(line, "destinationuris"))


def _is_no_person_s(line: Line[CloudApiFields]) -> bool:
    return is_program_s(line) or (line.fields.user_type or "").lower() == "bot"


RULES = (
    tenant_role_granted,
    tenant_factor_reset,
    tenant_guard_weakened,
    tenant_token_made,
    tenant_consent_wide,
    okta_impersonation,
    push_fatigue,
    code_guard_removed,
    content_made_public,
    code_hook_added,
    tenant_data_out,
)
