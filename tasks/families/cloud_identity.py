"""Abuse of identities of a cloud: who may act as whom, keys, passwords, second factors, roles.

Operations and requests are as AWS CloudTrail, Google Cloud audit logs, the Azure activity log, Entra and Okta write them.
"""

from __future__ import annotations

from typing import Any

from tasks.families.tellings import (
    MICROSOFT_SERVICE,
    OWN_SERVICE,
    PERSON,
    ROOT,
    Caller,
    Row,
    as_text,
    aws,
    each,
    google,
    on_cloud,
    policy,
    tenant,
)
from tasks.scene import EITHER, Family


# ---------------------------------------------------------------- identities
def _permission(principal: str, **bound: str) -> list[Row]:
    grant = {"statementId": "{word2}", "principal": principal, **bound}
    layer = {"layerName": "{word}", "versionNumber": 3, "action": "lambda:GetLayerVersion", **grant}
    function = {"functionName": "{word}", "action": "lambda:InvokeFunction", **grant}
    return [
        aws("lambda", "AddPermission20150331v2", function),
        aws("lambda", "AddLayerVersionPermission20181031", layer),
    ]


_CODE = {"functionName": "{word}", "s3Bucket": "{word2}-code", "s3Key": "{word}.zip"}
_MAPPING = {"functionName": "{word}", "eventSourceArn": "arn:aws:dynamodb:eu-west-1:{account}:table/{word2}"}
_VERSION = {"policyArn": "arn:aws:iam::{account}:policy/{word}", "versionId": "v2"}


def _member(group: str, user: str) -> Row:
    return aws("iam", "AddUserToGroup", {"groupName": group, "userName": user})


def _trusts(principal: Any, condition: dict[str, Any] | None = None, effect: str = "Allow") -> list[Row]:
    document = as_text(policy("sts:AssumeRole", principal=principal, condition=condition, effect=effect))
    return [
        aws("iam", "UpdateAssumeRolePolicy", {"roleName": "{word}", "policyDocument": document}),
        aws("iam", "CreateRole", {"roleName": "{word}", "path": "/", "assumeRolePolicyDocument": document}),
    ]


_STRANGER, _OWN = {"AWS": "arn:aws:iam::{account2}:root"}, {"AWS": "arn:aws:iam::{account}:root"}
_IN_ORGANISATION = {"StringEquals": {"aws:PrincipalOrgID": "o-{hex}"}}
_SAML = {"name": "{word}", "sAMLProviderArn": "arn:aws:iam::{account}:saml-provider/{word}"}
_OIDC = {"url": "https://{domain}", "clientIDList": ["{word}"]}
_ANCHOR = {"name": "{word}", "source": {"sourceType": "CERTIFICATE_BUNDLE"}, "enabled": True}
_DOMAIN = {"target": [{"type": "Domain", "displayName": "{domain}"}]}
_IDP = {"target": [{"type": "IdentityProvider", "displayName": "{word}"}]}
_POOL = {"resourceName": "projects/{number}/locations/global/workloadIdentityPools/{word}"}
_POOLS = "google.iam.v1.WorkloadIdentityPools."


def _factor(operation: str, user: str) -> Row:
    request = {"userName": user, "serialNumber": f"arn:aws:iam::{{account}}:mfa/{user}"}
    return aws("iam", operation, request, after=(10, 400))


def _login(operation: str | tuple[str, ...], user: str) -> Row:
    return aws("iam", operation, {"userName": user, "passwordResetRequired": False}, after=(10, 400))


_LOGINS = ("CreateLoginProfile", "UpdateLoginProfile")
_ALL_RIGHTS, _SOME_RIGHTS = as_text(policy("*", "*")), as_text(policy("s3:GetObject", "arn:aws:s3:::{word2}/*"))
_ALL_OF_IAM = as_text(policy(["iam:*", "sts:*"], "*"))


def _rights_of_user(document: str, user: str) -> Row:
    return aws("iam", "PutUserPolicy", {"policyDocument": document, "policyName": "{word}", "userName": user})


def _rights(document: str) -> list[Row]:
    named = {"policyDocument": document, "policyName": "{word}"}
    version = {"policyArn": "arn:aws:iam::{account}:policy/{word}", "policyDocument": document, "setAsDefault": True}
    permission_set = {"permissionSetArn": "arn:aws:sso:::permissionSet/{word}", "inlinePolicy": document}
    return [
        aws("iam", "PutRolePolicy", {**named, "roleName": "{word3}"}),
        aws("iam", "PutGroupPolicy", {**named, "groupName": "{word3}"}),
        aws("iam", "CreatePolicyVersion", version),
        aws("sso", "PutPermissionSetInlinePolicy", permission_set),
    ]


def _key(user: str) -> Row:
    return Row(
        "account", "key_create", {"user_name": user, "attributes": "access key", "src_ip": "{address}"}, user=user
    )


def _token_device(by: Caller, owner: str) -> Row:
    return aws("iam", "DeleteVirtualMFADevice", {"serialNumber": f"arn:aws:iam::{{account}}:mfa/{owner}"}, by)


_FEDERATED = {"name": "{word}", "durationSeconds": 129_600}
_SIGNIN = {"sessionDuration": 43_200, "name": "{word}"}


FAMILIES: tuple[Family, ...] = (
    on_cloud(
        "function_back_door",
        "T1098",
        "persistence",
        ("cloud-back-door",),
        confirmed=each(*_permission("*")),
        suspicious=each(
            *_permission("{account2}"),
            *_permission("arn:aws:iam::{account2}:root"),
            aws("lambda", "UpdateFunctionCode20150331v2", _CODE),
            aws("lambda", "CreateEventSourceMapping20150331", _MAPPING),
            aws("iam", "SetDefaultPolicyVersion", _VERSION),
            aws("organizations", "LeaveOrganization", {}),
            _member("{word}-admins", "{other_user}"),
            _member("{word}", "{user}"),
        ),
        below=each(
            *_permission("*", principalOrgID="o-{hex}"),
            *_permission("{account}"),
            *_permission("s3.amazonaws.com", sourceAccount="{account}"),
            aws("lambda", "UpdateFunctionCode20150331v2", _CODE, OWN_SERVICE),
            aws("lambda", "ListEventSourceMappings20150331", _MAPPING),
            aws("iam", "GetPolicyVersion", _VERSION),
            aws("organizations", "DescribeOrganization", {}),
            _member("{word}-readers", "{other_user}"),
            _member("{word}", "{other_user}"),
        ),
        reaches=EITHER,
    ),
    on_cloud(
        "trusted_stranger",
        "T1098.003",
        "persistence",
        ("cloud-role-trust",),
        confirmed=each(*_trusts("*"), *_trusts({"AWS": "*"})),
        suspicious=each(
            *_trusts(_STRANGER), *_trusts(_STRANGER, {"StringEquals": {"sts:ExternalId": "{word2}-{number}"}})
        ),
        below=each(
            *_trusts(_OWN),
            *_trusts({"AWS": "*"}, _IN_ORGANISATION),
            *_trusts(_STRANGER, _IN_ORGANISATION),
            *_trusts(_STRANGER, effect="Deny"),
        ),
        reaches=EITHER,
    ),
    on_cloud(
        "new_provider",
        "T1484.002",
        "defense_evasion",
        ("cloud-identity-provider",),
        suspicious=each(
            aws("iam", ("CreateSAMLProvider", "UpdateSAMLProvider"), _SAML),
            aws("iam", ("CreateOpenIDConnectProvider", "AddClientIDToOpenIDConnectProvider"), _OIDC),
            aws("rolesanywhere", "CreateTrustAnchor", _ANCHOR),
            tenant("Core Directory", ("Set federation settings on domain", "Set domain authentication"), _DOMAIN),
            tenant("okta", ("system.idp.lifecycle.create", "system.idp.lifecycle.activate"), _IDP),
            google("iam", _POOLS + "CreateWorkloadIdentityPoolProvider", _POOL),
        ),
        below=each(
            aws("iam", ("GetSAMLProvider", "TagSAMLProvider"), _SAML),
            aws("iam", ("CreateSAMLProvider", "UpdateSAMLProvider"), _SAML, OWN_SERVICE),
            aws("iam", ("GetOpenIDConnectProvider", "ListOpenIDConnectProviders"), _OIDC),
            aws("rolesanywhere", "GetTrustAnchor", _ANCHOR),
            tenant("Core Directory", ("Verify domain", "Add unverified domain"), _DOMAIN),
            tenant("Core Directory", "Set domain authentication", _DOMAIN, MICROSOFT_SERVICE),
            tenant("okta", ("system.idp.lifecycle.deactivate", "system.idp.lifecycle.read_client_secret"), _IDP),
            google("iam", _POOLS + "GetWorkloadIdentityPoolProvider", _POOL),
        ),
    ),
    on_cloud(
        "taken_login",
        "T1098",
        "persistence",
        ("cloud-login-changed",),
        confirmed=[
            [_factor(factor, "{other_user}"), _login(_LOGINS, "{other_user}")]
            for factor in ("DeactivateMFADevice", "DeleteVirtualMFADevice")
        ],
        suspicious=[
            [_factor("DeactivateMFADevice", "{other_user}"), _login(_LOGINS, "{user}")],
            [_factor("DeleteVirtualMFADevice", "{user}"), _login(_LOGINS, "{other_user}")],
            [_login(_LOGINS, "{other_user}"), _factor("EnableMFADevice", "{user}")],
        ],
        below=[
            [_factor("DeactivateMFADevice", "{user}"), _factor("EnableMFADevice", "{user}")],
            [_factor("DeleteVirtualMFADevice", "{user}"), _login(_LOGINS, "{user}")],
            [_login(_LOGINS, "{user}"), _factor("EnableMFADevice", "{user}")],
        ],
        reaches=EITHER,
    ),
    on_cloud(
        "written_administrator",
        "T1098.003",
        "privilege_escalation",
        ("cloud-admin-granted",),
        confirmed=each(
            *(_rights_of_user(document, "{user}") for document in (_ALL_RIGHTS, _ALL_OF_IAM)),
        ),
        suspicious=each(
            *(_rights_of_user(document, "{other_user}") for document in (_ALL_RIGHTS, _ALL_OF_IAM)),
            *_rights(_ALL_RIGHTS),
            *_rights(_ALL_OF_IAM),
        ),
        below=each(
            *(_rights_of_user(_SOME_RIGHTS, user) for user in ("{user}", "{other_user}")),
            *_rights(_SOME_RIGHTS),
            *_rights(as_text(policy("*", "*", effect="Deny"))),
        ),
        reaches=EITHER,
    ),
    on_cloud(
        "root_credential",
        "T1098.001",
        "persistence",
        ("cloud-root-credential",),
        suspicious=each(_key("root"), _token_device(ROOT, "root")),
        below=each(_key("{user}"), _token_device(PERSON, "{user}")),
        names_account=False,
        account="root",
    ),
    on_cloud(
        "federated_session",
        "T1550.001",
        "lateral_movement",
        ("cloud-federation-token",),
        confirmed=each(
            *(
                aws("sts", "GetFederationToken", {**_FEDERATED, "policy": document})
                for document in (_ALL_RIGHTS, _ALL_OF_IAM)
            )
        ),
        suspicious=each(
            aws("sts", "GetFederationToken", _FEDERATED),
            aws("sts", "GetFederationToken", {**_FEDERATED, "policy": _SOME_RIGHTS}),
            aws("signin", "GetSigninToken", _SIGNIN),
        ),
        below=each(
            aws("sts", ("GetSessionToken", "GetAccessKeyInfo"), _FEDERATED),
            aws("sts", "GetFederationToken", {**_FEDERATED, "policy": _ALL_RIGHTS}, OWN_SERVICE),
            aws("signin", ("ConsoleLogout", "SwitchRole"), _SIGNIN),
        ),
        reaches=EITHER,
    ),
)
