"""Abuse of the administration of tenants: Microsoft Entra, Okta, Google and GitHub.

Lines have the shape that the platforms' audit records are imported in: the caller as they name it, no host, the request as JSON. A
harmless telling is the same call for the own account, of a smaller right, by the platform itself, or the one that takes it back.
"""

from __future__ import annotations

from typing import Any

from schema import CLOUD_WORK, Category
from tasks.families.tellings import MEMBER, OTHER_MEMBER, Row, administered, administration, chained, exchange, made
from tasks.scene import EITHER, GRAVE, Family

STRANGER = "{word3}@{domain}"
OKTA_ITSELF = "system@okta.com"


# ---------------------------------------------------------------- rows
def okta(
    operation: Any,
    target: str = OTHER_MEMBER,
    actor: str = MEMBER,
    kind: str = "user",
    result: str = "SUCCESS",
    source: str = "{source}",
) -> Row:
    """Describe an event of Okta's System Log that concerns an account (Okta, "Event Types")."""
    request = {"target": [{"type": "User", "alternateId": target}], "outcome": {"result": result}}
    refusal = {} if result == "SUCCESS" else {"api_error": result}
    return administration("okta", operation, request, actor, kind, src_ip=source, **refusal)


def entra(operation: Any, name: str, value: str, target: str = OTHER_MEMBER, before: str = "", **more: Any) -> Row:
    """Describe an entry of Entra's audit log that sets one property (Microsoft, "Microsoft Entra audit activity reference")."""
    change = {"displayName": name, "newValue": value} | ({"oldValue": before} if before else {})
    request = [{"type": "User", "userPrincipalName": target, "modifiedProperties": [change]}]
    return administration("Core Directory", operation, request, **more)


def github(action: Any, kind: str = "user", **more: Any) -> Row:
    """Describe an entry of a GitHub organisation's audit log."""
    request = {"org": "corp", "repo": "corp/{word}", **more}
    return administration("github", action, request, "{user}", kind, cloud_account="corp")


def workspace(event: Any, application: str = "admin", **parameters: str) -> Row:
    """Describe an activity of Google Workspace's reports."""
    return administration(f"workspace/{application}", event, parameters, cloud_account="C02corp")


def google(method: str, request: dict[str, Any], source: str = "{source}", **more: Any) -> Row:
    """Describe a call in Google Cloud's audit logs."""
    return administration(
        "iam.googleapis.com",
        method,
        {"resourceName": "projects/{word}", **more, "request": request},
        src_ip=source,
    )


def sign_in(user: str) -> Row:
    """Describe how an account starts a session with Okta from the internet."""
    fields = {"user_name": user, "src_ip": "{address2}", "status": "0", "logon_process": "Okta"}
    return Row("logon", "success", fields, host="", user="", after=(20, 200))


def _role(target: str, verb: str = "Add member to role") -> Row:
    return entra(verb, "Role.DisplayName", '"Global Administrator"', target)


def _binding(action: str, target: str) -> Row:
    deltas = [{"action": action, "role": "roles/owner", "member": f"user:{target}"}]
    return google("SetIamPolicy", {"name": "{word}"}, "{ip}", policyDelta={"bindingDeltas": deltas})


def _policy(before: str, after: str) -> Row:
    return entra("Update conditional access policy", "ConditionalAccessPolicy", after, before=before)


_ON, _OFF = '{"state":"enabled"}', '{"state":"disabled"}'
_FEW = '{"conditions":{"users":{"excludeUsers":["{word}"]}}}'
_MORE = '{"conditions":{"users":{"excludeUsers":["{word}","{word2}"]}}}'
_OKTA_GUARDS = (
    "policy.lifecycle.deactivate",
    "policy.lifecycle.delete",
    "policy.rule.deactivate",
    "policy.rule.delete",
)
_OKTA_ZONES = ("zone.deactivate", "zone.delete", "zone.remove_blacklist")
_GITHUB_GUARDS = ("org.disable_two_factor_requirement", "org.disable_saml", "ip_allow_list.disable")
_GITHUB_WATCH = (
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
)
_GITHUB_WATCH_BACK = (
    "protected_branch.create",
    "repo.advanced_security_enabled",
    "repository_ruleset.create",
    "secret_scanning.enable",
    "repository_secret_scanning.enable",
    "repository_vulnerability_alerts.enable",
    "dependabot_alerts.enable",
    "code_scanning.enable",
    "audit_log_streaming.create",
)
_GITHUB_HOOKS = (
    "hook.create",
    "hook.config_changed",
    "org.register_self_hosted_runner",
    "repo.register_self_hosted_runner",
)
_SECRET_CALLS = ("Update application", "Update application - Certificates and secrets management")
_PUBLIC = ("public_on_the_web", "people_with_link")


# ---------------------------------------------------------------- steps that chains share, hostile and harmless
UNWATCHED = ([github(_GITHUB_WATCH)], [github(_GITHUB_WATCH_BACK)])
HOOKED = ([github(_GITHUB_HOOKS)], [github(_GITHUB_HOOKS, "app")])
CONDITIONED = ([_policy(_FEW, _MORE)], [_policy(_MORE, _FEW)])
KEYED = (
    [entra(_SECRET_CALLS, "KeyDescription", '["[KeyType=Password]"]', before="[]")],
    [entra(_SECRET_CALLS, "DisplayName", '["{word}"]', before="[]")],
)
IMPERSONATED = (
    [okta(("user.session.impersonation.initiate", "user.session.impersonation.grant"))],
    [okta(("user.session.impersonation.revoke", "user.session.impersonation.end"))],
)
TAKEN_OUT = (
    [workspace(("CREATE_EMAIL_MONITOR", "CUSTOMER_TAKEOUT_CREATED"), USER_EMAIL=OTHER_MEMBER)],
    [workspace(("DELETE_EMAIL_MONITOR", "CUSTOMER_TAKEOUT_SUCCEEDED"), USER_EMAIL=OTHER_MEMBER)],
)
PUBLISHED = ([github("repo.access", visibility="public")], [github("repo.access", visibility="private")])


def _chain(name: str, technique: str, category: Category, rules: tuple[str, ...], *steps: Any, **more: Any) -> Family:
    """Make a family of steps of one account, each suspicious alone, that bear each other out."""
    more = {"reaches": GRAVE} | more | {"work": CLOUD_WORK, "explanations": ("ticket",), "platform": "saas"}
    return chained(name, technique, category, rules, steps, **more)


_PUSHES = ("system.push.send_factor_verify_push", "user.mfa.okta_verify.deny_push")


def _pushes(first: str, second: str, entrant: str) -> list[Row]:
    """Tell of six requests to confirm a sign-in, to two accounts in turn, and of who signs in then."""
    return [*(okta(_PUSHES, user, user) for user in (first, second) * 3), sign_in(entrant)]


FAMILIES: tuple[Family, ...] = (
    # ---------------------------------------------------------------- tenants
    administered(
        "granted_role",
        "T1098.003",
        "privilege_escalation",
        "tenant-role-granted",
        [
            _role(OTHER_MEMBER),
            _role(OTHER_MEMBER, "Add member to role outside of PIM"),
            okta(("user.account.privilege.grant", "group.privilege.grant"), OTHER_MEMBER, source="{ip}"),
            workspace(
                ("ASSIGN_ROLE", "GRANT_ADMIN_PRIVILEGE", "GRANT_DELEGATED_ADMIN_PRIVILEGES"), USER_EMAIL=OTHER_MEMBER
            ),
            _binding("ADD", OTHER_MEMBER),
            exchange(("Add-RoleGroupMember", "New-ManagementRoleAssignment"), Identity="{word}", Member=OTHER_MEMBER),
            github(("org.add_member", "org.update_member"), user="{other_user}", permission="admin"),
        ],
        [
            _role(OTHER_MEMBER, "Remove member from role"),
            _role(MEMBER, "Remove eligible member from role"),
            okta(("user.account.privilege.grant", "group.privilege.grant"), OTHER_MEMBER, OKTA_ITSELF, "service"),
            workspace(("UNASSIGN_ROLE", "REVOKE_ADMIN_PRIVILEGE"), USER_EMAIL=MEMBER),
            _binding("REMOVE", MEMBER),
            exchange(
                ("Remove-RoleGroupMember", "Remove-ManagementRoleAssignment"), Identity="{word}", Member=OTHER_MEMBER
            ),
            github(("org.add_member", "org.update_member"), user="{other_user}", permission="read"),
        ],
        [
            _role(MEMBER),
            _role(MEMBER, "Add eligible member to role"),
            okta(("user.account.privilege.grant", "iam.resourceset.bindings.add"), MEMBER),
            workspace(("ASSIGN_ROLE", "GRANT_ADMIN_PRIVILEGE", "GRANT_DELEGATED_ADMIN_PRIVILEGES"), USER_EMAIL=MEMBER),
            _binding("ADD", MEMBER),
            exchange(("Add-RoleGroupMember", "New-ManagementRoleAssignment"), Identity="{word}", Member=MEMBER),
            github(("org.add_member", "org.update_member"), user="{user}", permission="admin"),
        ],
    ),
    administered(
        "weakened_guard",
        "T1556.009",
        "defense_evasion",
        "tenant-guard-weakened",
        [
            okta(_OKTA_GUARDS, "{word}"),
            okta(_OKTA_ZONES, "{word}"),
            github(_GITHUB_GUARDS),
            _policy(_ON, _OFF),
            _policy(_FEW, _MORE),
            entra("Delete conditional access policy", "ConditionalAccessPolicy", _ON, before=_ON),
        ],
        [
            okta(("policy.lifecycle.activate", "policy.lifecycle.update", "policy.rule.activate"), "{word}"),
            okta(_OKTA_GUARDS, "{word}", OKTA_ITSELF, "service"),
            github(("org.enable_two_factor_requirement", "org.enable_saml", "ip_allow_list.enable")),
            _policy(_OFF, _ON),
            _policy(_MORE, _FEW),
            entra("Add conditional access policy", "ConditionalAccessPolicy", _ON, before=_ON),
        ],
    ),
    administered(
        "lasting_token",
        "T1098.001",
        "persistence",
        "tenant-token-made",
        [
            entra("Add service principal credentials", "KeyDescription", '["[KeyType=Password]"]', before="[]"),
            entra(
                ("Add owner to application", "Add owner to service principal"), "Application.DisplayName", '"{word}"'
            ),
            *KEYED[0],
            okta("system.api_token.create", "{word}"),
            google("google.iam.admin.v1.CreateServiceAccountKey", {"name": "{word2}"}),
            google("google.iam.admin.v1.UploadServiceAccountKey", {"name": "{word2}"}),
            github(("deploy_key.create",), read_only=False),
            github(("public_key.create", "personal_access_token.create", "personal_access_token.access_granted")),
        ],
        [
            entra("Remove service principal credentials", "KeyDescription", "[]", before='["[KeyType=Password]"]'),
            entra("Remove owner from application", "Application.DisplayName", '"{word}"'),
            *KEYED[1],
            okta("system.api_token.revoke", "{word}"),
            google("google.iam.admin.v1.DeleteServiceAccountKey", {"name": "{word2}"}),
            google("google.iam.admin.v1.GetServiceAccountKey", {"name": "{word2}"}),
            github(("deploy_key.create",), read_only=True),
            github(("public_key.delete", "personal_access_token.request_denied")),
        ],
    ),
    administered(
        "impersonated_user",
        "T1078.004",
        "initial_access",
        "okta-impersonation",
        IMPERSONATED[0],
        [*IMPERSONATED[1], okta("user.session.impersonation.grant", OTHER_MEMBER, OKTA_ITSELF, "service")],
    ),
    administered("dropped_watch", "T1562.001", "defense_evasion", "code-guard-removed", *UNWATCHED),
    administered(
        "published_content",
        "T1567",
        "collection",
        "content-made-public",
        [
            *PUBLISHED[0],
            workspace("change_document_visibility", "drive", DOC_ID="{hex}", NEW_VALUE=_PUBLIC[0]),
            workspace("change_document_visibility", "drive", DOC_ID="{hex}", NEW_VALUE=_PUBLIC[1]),
            workspace("change_acl_editors", "drive", DOC_ID="{hex}", NEW_VALUE=_PUBLIC[1]),
        ],
        [
            *PUBLISHED[1],
            github("repo.access", visibility="internal"),
            workspace("change_document_visibility", "drive", DOC_ID="{hex}", NEW_VALUE="private"),
            workspace(
                "change_document_visibility", "drive", DOC_ID="{hex}", NEW_VALUE="people_within_domain_with_link"
            ),
            workspace("change_acl_editors", "drive", DOC_ID="{hex}", NEW_VALUE="private"),
        ],
    ),
    administered(
        "added_hook", "T1072", "execution", "code-hook-added", HOOKED[0], [*HOOKED[1], github(_GITHUB_HOOKS, "bot")]
    ),
    administered(
        "exported_tenant",
        "T1114.003",
        "collection",
        "tenant-data-out",
        [
            *TAKEN_OUT[0],
            workspace("email_forwarding_out_of_domain", "user_accounts", email_forwarding_destination_address=STRANGER),
            exchange(("SearchExportDownloaded", "New-ComplianceSearchAction"), SearchName="{word}"),
        ],
        [
            *TAKEN_OUT[1],
            workspace("email_forwarding_change", "user_accounts", email_forwarding_destination_address=MEMBER),
            exchange(("SearchCreated", "Get-ComplianceSearchAction"), SearchName="{word}"),
        ],
    ),
    # ---------------------------------------------------------------- chains
    _chain(
        "hooked_code",
        "T1072",
        "defense_evasion",
        ("code-hook-added", "code-guard-removed"),
        UNWATCHED,
        HOOKED,
    ),
    # ---------------------------------------------------------------- for choosing models
    # ATT&CK group G1015: trusted locations added to conditional access, then credentials for applications.
    _chain(
        "quiet_application",
        "T1556.009",
        "defense_evasion",
        ("tenant-guard-weakened", "tenant-token-made"),
        CONDITIONED,
        KEYED,
        split="val_family",
    ),
    # ---------------------------------------------------------------- for testing
    # ATT&CK T1078.004 and T1114: a provider's support is used to act as an administrator, and a tenant's mail leaves.
    _chain(
        "taken_support",
        "T1078.004",
        "initial_access",
        ("okta-impersonation", "tenant-data-out"),
        IMPERSONATED,
        TAKEN_OUT,
        reaches=EITHER,
        split="test_family",
    ),
    # ATT&CK group G1004: what guards an organisation's source code is switched off, and the code is shown to the world.
    _chain(
        "published_code",
        "T1562.001",
        "defense_evasion",
        ("code-guard-removed", "content-made-public"),
        UNWATCHED,
        PUBLISHED,
        split="test_family",
    ),
    # ---------------------------------------------------------------- credential access
    administered(
        "reset_factor",
        "T1556.006",
        "credential_access",
        "tenant-factor-reset",
        [
            okta(("user.mfa.factor.deactivate", "user.mfa.factor.reset_all", "user.mfa.factor.suspend"), OTHER_MEMBER),
            entra(
                ("Admin registered security info", "Admin updated security info", "Admin deleted security info"),
                "StrongAuthenticationMethod",
                "[]",
                OTHER_MEMBER,
            ),
            entra("Disable Strong Authentication", "StrongAuthenticationRequirement", "[]", OTHER_MEMBER),
            workspace("UNENROLL_USER_FROM_STRONG_AUTH", USER_EMAIL=OTHER_MEMBER),
            workspace(("ENFORCE_STRONG_AUTHENTICATION", "ALLOW_STRONG_AUTHENTICATION"), NEW_VALUE="false"),
        ],
        [
            okta(("user.mfa.factor.deactivate", "user.mfa.factor.reset_all", "user.mfa.factor.suspend"), MEMBER),
            entra(
                ("Admin registered security info", "Admin updated security info", "Admin deleted security info"),
                "StrongAuthenticationMethod",
                "[]",
                MEMBER,
            ),
            entra("Enable Strong Authentication", "StrongAuthenticationRequirement", "[]", OTHER_MEMBER),
            workspace("UNENROLL_USER_FROM_STRONG_AUTH", USER_EMAIL=MEMBER),
            workspace(("ENFORCE_STRONG_AUTHENTICATION", "ALLOW_STRONG_AUTHENTICATION"), NEW_VALUE="true"),
        ],
    ),
    administered(
        "wide_consent",
        "T1528",
        "credential_access",
        "tenant-consent-wide",
        [
            entra("Consent to application", "ConsentContext.IsAdminConsent", '"True"'),
            entra(
                "Add delegated permission grant", "DelegatedPermissionGrant.Scope", '"Mail.ReadWrite offline_access"'
            ),
            entra("Add delegated permission grant", "DelegatedPermissionGrant.Scope", '"Files.Read.All openid"'),
            entra("Add app role assignment to service principal", "AppRole.Value", '"full_access_as_app"'),
            entra("Add app role assignment grant to user", "AppRole.Value", '"Directory.ReadWrite.All"'),
            workspace(("AUTHORIZE_API_CLIENT_ACCESS", "ADD_TO_TRUSTED_OAUTH2_APPS"), API_CLIENT_NAME="{word}"),
        ],
        [
            entra("Consent to application", "ConsentContext.IsAdminConsent", '"False"'),
            entra("Add delegated permission grant", "DelegatedPermissionGrant.Scope", '"User.Read offline_access"'),
            entra("Add delegated permission grant", "DelegatedPermissionGrant.Scope", '"email profile openid"'),
            entra("Add app role assignment to service principal", "AppRole.Value", '"{word}.Use"'),
            entra("Remove app role assignment grant to user", "AppRole.Value", '"Directory.ReadWrite.All"'),
            workspace(("REMOVE_API_CLIENT_ACCESS", "REMOVE_FROM_TRUSTED_OAUTH2_APPS"), API_CLIENT_NAME="{word}"),
        ],
    ),
    made(
        "tired_user",
        "T1621",
        "credential_access",
        ("push-fatigue",),
        CLOUD_WORK,
        confirmed=[_pushes(MEMBER, MEMBER, MEMBER)],
        suspicious=[_pushes(MEMBER, MEMBER, OTHER_MEMBER)],
        below=[_pushes(MEMBER, OTHER_MEMBER, MEMBER)],
        reaches=EITHER,
        explanations=(),
        platform="saas",
    ),
)
