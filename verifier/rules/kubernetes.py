"""Rules on a Kubernetes cluster's audit: pods that reach the host, shells in pods, secrets, roles, tokens, hooks, deletions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import CloudApiFields
from verifier.calls import (
    call_rule,
    caller_of,
    calls_to,
    findings_by_caller,
    identity_of,
    is_by_service,
    operation_of,
    resources_of,
    sets,
    values_of,
)
from verifier.parameters import facts_in, objects_in, opened
from verifier.rules.kit import burst_of, grouped
from verifier.window import Findings, Line, Lines, Window, rule

MIN_SECRETS_OF_CLUSTER = 5
MIN_NAMESPACES = 3
MIN_WORKLOADS = 5
MIN_FORBIDDEN = 5  # different calls; a controller whose role lacks a right asks for the same one again and again
CLUSTER_S = 600
_CHANGES = ("create", "update", "patch")
_WORKLOADS = ("pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs")
_HOST_FLAGS = ("privileged", "hostpid", "hostipc", "hostnetwork")
_HOST_PATHS = re.compile(
    r"/(?:etc|root|proc|boot|home|var|var/run|(?:var/)?run/(?:docker\.sock|cri-dockerd\.sock|containerd|containerd/containerd\.sock|crio/crio\.sock)"
    r"|var/lib/(?:kubelet|docker|kubelet/pki)|etc/kubernetes(?:/manifests|/pki)?)?/?",
    re.IGNORECASE,
)
_POWERS = ("SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF", "ALL")
_SHELL_CALLS = (
    "create pods/exec",
    "get pods/exec",
    "create pods/attach",
    "get pods/attach",
    "create nodes/proxy",
    "get nodes/proxy",
    "update pods/ephemeralcontainers",
    "patch pods/ephemeralcontainers",
)
_BINDINGS = ("clusterrolebindings", "rolebindings")
_ROLES = ("clusterroles", "roles")
_STRONG_VERBS = ("*", "escalate", "bind", "impersonate")
_STRANGERS = ("system:anonymous", "system:unauthenticated", "system:authenticated")
_TOKEN_CALLS = (
    "create serviceaccounts/token",
    "update certificatesigningrequests/approval",
    "patch certificatesigningrequests/approval",
)
_HOOK_CALLS = tuple(
    f"{verb} {kind}webhookconfigurations" for kind in ("mutating", "validating") for verb in (*_CHANGES, "delete")
)
_NAME_CALLS = ("update configmaps", "patch configmaps")
_MASTERS = "system:masters"
_FETCHED = re.compile(
    r"(?:curl|wget)\b.{0,300}(?:\||;|&&)\s{0,4}(?:ba)?sh\b|base64\s+(?:-d|--decode)|/dev/tcp/|\bnsenter\b|chroot\s+/host",
    re.IGNORECASE,
)
_SYSTEM_CALLS = ("create pods", "create deployments", "create cronjobs", "create daemonsets")
_TRACE_CALLS = ("delete events", "deletecollection events")
_STORED = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "namespaces",
    "persistentvolumeclaims",
    "persistentvolumes",
)
_ACCOUNT_PREFIX = "system:serviceaccount:"
_CONTROLLER = f"a pod's account ({_ACCOUNT_PREFIX}, but one that ends in :default) from no external address"


def _calls(verbs: Iterable[str], things: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{verb} {thing}" for thing in things for verb in verbs)


@rule(
    "kube-pod-on-host",
    "T1611",
    "privilege_escalation",
    on=(calls_to(*_calls(_CHANGES, _WORKLOADS)),),
    summary=f"Kubernetes: not by an own service ({', '.join(_CHANGES)} of {', '.join(_WORKLOADS)}), a pod gets the host: {', '.join(_HOST_FLAGS)} true, a hostPath with path / or directly /etc, /root, /proc, /boot, /home, /var/run/docker.sock, /var, /var/run, /run/docker.sock, /run/cri-dockerd.sock, /run/containerd, /run/containerd/containerd.sock, /run/crio/crio.sock (all of /run also as /var/run), /var/lib/kubelet, /var/lib/kubelet/pki, /var/lib/docker, /etc/kubernetes, /etc/kubernetes/manifests or /etc/kubernetes/pki, or capabilities to add (also with CAP_ before) "
    f"{', '.join(_POWERS)}. Confirmed: create pods with privileged true and another of these.",
    source='ATT&CK T1611, T1610; Kubernetes, "Pod Security Standards"',
)
def kube_pod_on_host(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(filter(_host_signs, calls), confirmed=lambda lines: any(map(_takes_host, lines)))


def _host_signs(line: Line[CloudApiFields]) -> list[str]:
    """List what in a pod's specification reaches the host."""
    signs = [flag for flag in _HOST_FLAGS if sets(line, flag, "true")]
    for part in objects_in(opened(resources_of(line))):
        volume, powers = part.get("hostPath"), part.get("capabilities")
        paths = facts_in(volume).get("path", ()) if isinstance(volume, dict) else ()
        signs += [path for path in paths if _HOST_PATHS.fullmatch(path)]
        added = facts_in(powers).get("add", ()) if isinstance(powers, dict) else ()
        signs += [power for power in added if power.upper().removeprefix("CAP_") in _POWERS]
    return signs


def _takes_host(line: Line[CloudApiFields]) -> bool:
    signs = _host_signs(line)
    return operation_of(line.fields) == "create pods" and "privileged" in signs and len(signs) > 1


kube_shell_in_pod = call_rule(
    "kube-shell-in-pod",
    "T1609",
    "execution",
    operations=_SHELL_CALLS,
    summary=f"Kubernetes: somebody, not an own service, runs commands in a running pod or through a node ({', '.join(_SHELL_CALLS)}). Suspicious.",
    source='ATT&CK T1609; Kubernetes, "Auditing"',
)


@rule(
    "kube-secrets-read",
    "T1552.007",
    "credential_access",
    on=(calls_to("list secrets", "watch secrets", "get secrets"),),
    summary=f"Kubernetes: somebody, neither an own service nor {_CONTROLLER}, reads secrets (list secrets, watch secrets, get secrets): a list or watch of all namespaces (objectRef without a namespace) or of {MIN_NAMESPACES} namespaces, or get {MIN_SECRETS_OF_CLUSTER} or more different secrets, within {CLUSTER_S} s; of an account that ends in :default any list or watch. Suspicious.",
    source='ATT&CK T1552.007; Kubernetes, "Good practices for Secrets"',
)
def kube_secrets_read(calls: Lines[CloudApiFields], window: Window) -> Findings:
    reads = [line for line in calls if not _is_controller_s(window, line)]
    for lines in grouped(reads, caller_of).values():
        single = [line for line in lines if operation_of(line.fields).startswith("get")]
        lists = [line for line in lines if line not in single]
        whole = [line for line in lists if (_has_place(line) and not _namespace(line)) or _is_default_s(line)]
        several = burst_of(window, lists, MIN_NAMESPACES, CLUSTER_S, different=_namespace)
        many = burst_of(window, single, MIN_SECRETS_OF_CLUSTER, CLUSTER_S, different=resources_of)
        yield from findings_by_caller([*whole, *several, *many])


def _is_default_s(line: Line[CloudApiFields]) -> bool:
    """Return whether the account calls that a pod has where nobody gave it one: it needs no secrets."""
    name = identity_of(line)
    return name.startswith(_ACCOUNT_PREFIX) and name.endswith(":default")


def _is_controller_s(window: Window, line: Line[CloudApiFields]) -> bool:
    """Return whether a named account of a pod works from inside the cluster, as controllers do."""
    name = identity_of(line)
    is_named = name.startswith(_ACCOUNT_PREFIX) and not _is_default_s(line)
    return is_named and not window.is_external(line.fields.src_ip)


def _has_place(line: Line[CloudApiFields]) -> bool:
    return isinstance(opened(resources_of(line)), dict)


def _namespace(line: Line[CloudApiFields]) -> str:
    return next(iter(_reference(line).get("namespace", ())), "")


def _reference(line: Line[CloudApiFields]) -> dict[str, tuple[str, ...]]:
    request = opened(resources_of(line))
    return facts_in(request.get("objectRef")) if isinstance(request, dict) else {}


@rule(
    "kube-admin-bound",
    "T1098.006",
    "persistence",
    on=(calls_to(*_calls(_CHANGES, (*_BINDINGS, *_ROLES, "configmaps"))),),
    summary=f"Kubernetes: not by an own service, a binding ({', '.join(_BINDINGS)}; {', '.join(_CHANGES)}) gives the name cluster-admin (roleRef), or a role ({', '.join(_ROLES)}) the verbs {', '.join(_STRONG_VERBS[1:])}, or * on resources *, or configmaps with the name aws-auth (in objectRef) are changed. Confirmed: subjects {', '.join(_STRANGERS)}.",
    source='ATT&CK T1098.006; Kubernetes, "Role Based Access Control Good Practices"',
)
def kube_admin_bound(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        [line for line in calls if _names_strangers(line) or _is_admin_s(line)],
        confirmed=lambda lines: any(map(_names_strangers, lines)),
    )


def _names_strangers(line: Line[CloudApiFields]) -> bool:
    """Return whether a binding's subjects are anybody at all."""
    parts = [part["subjects"] for part in objects_in(opened(resources_of(line))) if "subjects" in part]
    names = {name for part in parts for name in facts_in(part).get("name", ())}
    return operation_of(line.fields).endswith("bindings") and not names.isdisjoint(_STRANGERS)


def _is_admin_s(line: Line[CloudApiFields]) -> bool:
    parts = list(objects_in(opened(resources_of(line))))
    if operation_of(line.fields).endswith("configmaps"):
        return "aws-auth" in _reference(line).get("name", ())
    if operation_of(line.fields).endswith("bindings"):
        return any("cluster-admin" in facts_in(part["roleRef"]).get("name", ()) for part in parts if "roleRef" in part)
    return any(_is_strong(facts_in(part)) for part in parts if "verbs" in part)


def _is_strong(facts: dict[str, tuple[str, ...]]) -> bool:
    verbs = set(facts.get("verbs", ()))
    return not verbs.isdisjoint(_STRONG_VERBS[1:]) or ("*" in verbs and "*" in facts.get("resources", ()))


@rule(
    "kube-anonymous",
    "T1078.001",
    "initial_access",
    on=(CloudApiFields,),
    summary="Kubernetes: system:anonymous is granted a call on a resource (but in the objectRef's namespace kube-public, and selfsubject reviews). Suspicious; confirmed beyond get, list and watch, or on secrets.",
    source='ATT&CK T1078.001, T1190; Kubernetes, "Anonymous requests"',
)
def kube_anonymous(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        filter(_is_anonymous_s, calls), confirmed=lambda lines: any(map(_goes_beyond_reading, lines))
    )


def _is_anonymous_s(line: Line[CloudApiFields]) -> bool:
    if identity_of(line) != "system:anonymous" or line.fields.api_error:
        return False  # most calls
    operation = operation_of(line.fields)
    return (
        " " in operation
        and " /" not in operation
        and "selfsubject" not in operation
        and _namespace(line) != "kube-public"
    )


def _goes_beyond_reading(line: Line[CloudApiFields]) -> bool:
    verb, _, thing = operation_of(line.fields).partition(" ")
    return verb not in ("get", "list", "watch") or thing == "secrets"


@rule(
    "kube-token-made",
    "T1528",
    "credential_access",
    on=(calls_to(*_TOKEN_CALLS, "create secrets"),),
    summary=f"Kubernetes: somebody, neither an own service nor {_CONTROLLER}, makes a credential of another identity ({', '.join(_TOKEN_CALLS)}; create secrets of type kubernetes.io/service-account-token). Suspicious.",
    source='ATT&CK T1528, T1098.001; Kubernetes, "Managing Service Accounts"',
)
def kube_token_made(calls: Lines[CloudApiFields], window: Window) -> Findings:
    made = [line for line in calls if not _is_controller_s(window, line)]
    return findings_by_caller(
        line
        for line in made
        if operation_of(line.fields) != "create secrets" or sets(line, "type", "kubernetes.io/service-account-token")
    )


@rule(
    "kube-hook-changed",
    "T1546",
    "persistence",
    on=(calls_to(*_HOOK_CALLS, *_NAME_CALLS),),
    summary=f"Kubernetes: somebody, neither an own service nor {_CONTROLLER}, sets up, changes or removes what sees every object on its way in ({', '.join(_HOOK_CALLS)}), or changes how names are found ({', '.join(_NAME_CALLS)} with the name coredns in objectRef). Suspicious.",
    source='ATT&CK T1546, T1557; Kubernetes, "Dynamic Admission Control"; Microsoft, "Threat matrix for Kubernetes"',
)
def kube_hook_changed(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        line
        for line in calls
        if not _is_controller_s(window, line)
        and (operation_of(line.fields) not in _NAME_CALLS or "coredns" in _reference(line).get("name", ()))
    )


@rule(
    "kube-workload-planted",
    "T1053.007",
    "persistence",
    on=(calls_to(*_calls(_CHANGES, _WORKLOADS)),),
    summary=f"Kubernetes: not by an own service, one of {', '.join(_SYSTEM_CALLS)} has kube-system as its objectRef's namespace, or a workload ({', '.join(_CHANGES)} of {', '.join(_WORKLOADS)}) whose command or args fetch code for a shell (curl or wget, then sh), decode it (base64 -d, --decode), use /dev/tcp/, nsenter or chroot /host. Suspicious.",
    source='ATT&CK T1053.007, T1610; Kubernetes, "CronJob"',
)
def kube_workload_planted(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _fetches(line) or _is_among_system_s(line))


def _fetches(line: Line[CloudApiFields]) -> bool:
    return _FETCHED.search(" ".join(values_of(line, "command", "args"))) is not None


def _is_among_system_s(line: Line[CloudApiFields]) -> bool:
    return operation_of(line.fields) in _SYSTEM_CALLS and _namespace(line) == "kube-system"


kube_traces_deleted = call_rule(
    "kube-traces-deleted",
    "T1070",
    "defense_evasion",
    operations=_TRACE_CALLS,
    summary=f"Kubernetes: somebody, not an own service, deletes the cluster's events ({', '.join(_TRACE_CALLS)}). Suspicious.",
    source='ATT&CK T1070; Microsoft, "Threat matrix for Kubernetes"',
)


@rule(
    "kube-workloads-deleted",
    "T1485",
    "impact",
    on=(calls_to(*_calls(("delete", "deletecollection"), _STORED)),),
    summary=f"Kubernetes: one account, not an own service, deletes {MIN_WORKLOADS} or more of {', '.join(_STORED)} within {CLUSTER_S} s, or a whole kind of them (deletecollection). Suspicious.",
    source='ATT&CK T1485; Microsoft, "Threat matrix for Kubernetes"',
)
def kube_workloads_deleted(calls: Lines[CloudApiFields], window: Window) -> Findings:
    for lines in grouped(calls, caller_of).values():
        whole = [line for line in lines if operation_of(line.fields).startswith("deletecollection")]
        yield from findings_by_caller([*whole, *burst_of(window, lines, MIN_WORKLOADS, CLUSTER_S)])


@rule(
    "kube-account-misused",
    "T1550.001",
    "lateral_movement",
    on=(CloudApiFields,),
    summary=f"Kubernetes: a pod's account ({_ACCOUNT_PREFIX}) calls from an external address, or, where it is no own service, asks for all that it may do (create selfsubjectrulesreviews) or is refused (403) {MIN_FORBIDDEN} different operations within {CLUSTER_S} s; or somebody, no own service, acts as another (impersonatedUser) whose groups have {_MASTERS}. Suspicious.",
    source='ATT&CK T1550.001, T1613; Kubernetes, "Checking API Access"',
)
def kube_account_misused(calls: Lines[CloudApiFields], window: Window) -> Findings:
    by_pods = [line for line in calls if identity_of(line).startswith(_ACCOUNT_PREFIX)]
    for lines in grouped(by_pods, identity_of).values():
        odd = [line for line in lines if window.is_external(line.fields.src_ip) or _asks_for_rights(line)]
        refused = [line for line in lines if line.fields.api_error == "403" and not is_by_service(line)]
        tried = burst_of(window, refused, MIN_FORBIDDEN, CLUSTER_S, different=lambda line: operation_of(line.fields))
        yield from findings_by_caller([*odd, *(line for line in tried if line not in odd)])
    yield from findings_by_caller(filter(_is_as_master, calls))


def _is_as_master(line: Line[CloudApiFields]) -> bool:
    if _MASTERS not in resources_of(line) or is_by_service(line):
        return False  # most calls
    acted_as = [
        part["impersonatedUser"] for part in objects_in(opened(resources_of(line))) if "impersonatedUser" in part
    ]
    return any(_MASTERS in facts_in(part).get("groups", ()) for part in acted_as)


def _asks_for_rights(line: Line[CloudApiFields]) -> bool:
    return operation_of(line.fields) == "create selfsubjectrulesreviews" and not is_by_service(line)


RULES = (
    kube_pod_on_host,
    kube_shell_in_pod,
    kube_secrets_read,
    kube_admin_bound,
    kube_anonymous,
    kube_token_made,
    kube_hook_changed,
    kube_workload_planted,
    kube_traces_deleted,
    kube_workloads_deleted,
    kube_account_misused,
)
