"""Choose of a whole recording a window of at most 40 events that a person can read, by a rule that is stated and blind.

The rule sees events and nothing else: no label, no file name, no list of tools, no verdict of the verifier. In this
order:

1. **Duplicates go**: the same type and fields at the same time are one event. Sign-ins and ticket requests are kept,
   since each record of them is an attempt.
2. **A short recording stays whole**: up to 40 events are the window.
3. **Every event gets a worth** from 0 to 100 by its type and activity (`WORTH`): what changes who may do what, what
   runs at start or what is logged counts most; what an idle machine writes by the thousand least. Facts of the
   operation itself raise it (`_RAISES`): an address outside, a program in a folder that any user may write, a failed
   sign-in, a key that configures what starts.
4. **Rare is worth more**: up to `RARITY` points for an event unlike all others of the recording; each further one of
   the very same content counts `REPEAT` less, down to `REPEAT_MOST`.
5. **Context follows**: the launch of a program that did something of worth, its parent's launch, the file it was
   written as and its connections are raised to a little below that (`CONTEXT_STEP`).
6. **Picking** goes by worth, then by time, under a cap for each type (`CAPS`) and a quota for each group of like
   events (`QUOTAS`: failures from one address, connections of one program, reads of one share), so that no bulk type
   crowds out the rest and counts that matter survive. While places are left, caps and quotas are doubled, then
   lifted.

The kept events are in time order. The function is pure: the same events give the same window.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from schema import (
    MAX_EVENTS,
    CloudApiFields,
    DnsQueryFields,
    Fields,
    FileFields,
    KerberosFields,
    LogonFields,
    ModuleLoadFields,
    NetConnFields,
    ObjectAccessFields,
    PrivilegeFields,
    ProcessAccessFields,
    ProcessFields,
    RegistryFields,
    ShareFields,
    TaskFields,
)
from telemetry.importers.events import DraftEvent, in_time_order
from verifier.window import is_user_writable

RARITY = 15
REPEAT = 4
REPEAT_MOST = 20
CONTEXT_STEP = 6  # how much less than the event that explains them its launch, parent, file and connections are worth
QUIET = 12  # a connection worth no more (name resolution, this very host) is not context

# (type, activity) or (type, "") for its other activities -> worth
WORTH: Mapping[tuple[str, str], int] = {
    ("service", "install"): 95,
    ("service", "config"): 75,
    ("service", "fail"): 25,
    ("service", "state"): 20,
    ("wmi", ""): 95,
    ("wmi", "query"): 30,
    ("wmi", "provider_load"): 15,
    ("control_change", ""): 90,
    ("control_change", "time_change"): 40,
    ("detection", ""): 90,
    ("detection", "ids_notice"): 40,
    ("directory", "replication"): 95,
    ("directory", "modify"): 75,
    ("directory", "create"): 75,
    ("directory", ""): 30,
    ("process_inject", ""): 85,
    ("task", ""): 85,
    ("task", "run"): 30,
    ("account", ""): 80,
    ("account", "assume_role"): 40,
    ("group", ""): 80,
    ("group", "enumerate"): 25,
    ("privilege", "right_assigned"): 70,
    ("privilege", "sudo"): 55,
    ("privilege", "special_logon"): 12,
    ("privilege", ""): 8,
    ("process", "launch"): 58,
    ("process", "terminate"): 3,
    ("script", "block"): 55,
    ("script", "engine_start"): 45,
    ("script", "pipeline"): 28,
    ("logon", "failure"): 62,
    ("logon", "explicit_credentials"): 60,
    ("logon", "success"): 28,
    ("logon", "logoff"): 3,
    ("logon", ""): 42,
    ("kerberos", "preauth_failure"): 55,
    ("kerberos", ""): 25,
    ("share", "create"): 70,
    ("share", "modify"): 70,
    ("share", ""): 18,
    ("http", ""): 45,
    ("net_conn", "bits_job"): 40,
    ("net_conn", "allow"): 18,
    ("net_conn", "block"): 35,
    ("net_conn", "listen"): 15,
    ("net_conn", "bind"): 4,
    ("net_conn", ""): 26,
    ("dns_query", ""): 25,
    ("pipe", ""): 20,
    ("file", "blocked"): 20,
    ("file", "stream"): 30,
    ("file", ""): 14,
    ("registry", "set"): 16,
    ("registry", "rename"): 20,
    ("registry", ""): 6,
    ("module_load", "driver"): 70,
    ("module_load", ""): 6,
    ("process_access", ""): 12,
    ("object_access", "credential_read"): 28,
    ("object_access", "key_file"): 20,
    ("object_access", "access"): 14,
    ("object_access", "open"): 12,
    ("object_access", "close"): 1,
    ("cloud_api", ""): 55,
}
CAPS: Mapping[str, int] = {
    "process": 16,
    "logon": 16,
    "kerberos": 14,
    "net_conn": 14,
    "http": 14,
    "script": 12,
    "file": 12,
    "share": 12,
    "cloud_api": 20,
    "directory": 10,
    "dns_query": 8,
    "registry": 8,
    "pipe": 6,
    "process_access": 6,
    "module_load": 6,
    "object_access": 6,
    "privilege": 4,
}
CAP = 12  # of the types that are not named
# Groups of like events: the fields that make one, and how many of one are kept at first.
QUOTAS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "logon": (("src_ip", "logon_type"), 12),
    "kerberos": (("src_ip",), 12),
    "net_conn": (("process_path", "src_ip"), 12),
    "http": (("src_ip", "dst_ip"), 10),
    "dns_query": (("process_path", "src_ip"), 8),
    "file": (("process_path",), 8),
    "share": (("src_ip", "share_name"), 8),
    "script": (("host_application",), 10),
    "cloud_api": (("actor_user", "api_operation"), 6),
    "process": (("process_path", "parent_path"), 4),
    "registry": (("process_path",), 4),
    "process_access": (("process_path", "target_path"), 2),
    "process_inject": (("process_path", "target_path"), 3),
    "module_load": (("process_path",), 4),
    "object_access": (("process_path", "object_type"), 3),
    "directory": (("actor_user", "src_ip"), 8),
    "pipe": (("process_path", "pipe_name"), 2),
    "privilege": (("user_name",), 2),
}
QUOTA: tuple[tuple[str, ...], int] = (("process_path",), 8)
Group = tuple[object, ...]
ATTEMPTS = ("logon", "kerberos")  # every record of these is an attempt, alike or not
_PASSING = ("device_hostname", "session_uid", "process_pid", "process_uid", "src_port")  # differ between like events

_UPDATES_ITSELF = re.compile(
    r"\\appdata\\local\\microsoft\\(?:onedrive|teams|edge)\\|\\programdata\\microsoft\\", re.IGNORECASE
)
_ON_THE_NETWORK = re.compile(r"^\\\\[^?.]")
_CODE = re.compile(
    r"\.(?:exe|dll|sys|scr|com|msi|ps1|psm1|bat|cmd|vbs|vbe|js|jse|wsf|hta|lnk|url|jar|py|sh|elf|so|ocx|cpl|xll|iso|img|aspx?|php|jsp)$",
    re.IGNORECASE,
)
_STORES = re.compile(r"\.(?:dmp|dit|hiv|hive|zip|7z|rar|cab|kdbx|pfx|pem|ost|pst)$", re.IGNORECASE)
_CONFIGURES = re.compile(
    r"\\currentversion\\(?:run|runonce|runonceex|runservices|policies|winlogon|windows\\(?:load|run|appinit))"
    r"|\\(?:image file execution options|silentprocessexit)\\"
    r"|\\services\\[^\\]+\\(?:imagepath|start|type|failurecommand|objectname|parameters\\servicedll|performance\\library)$"
    r"|\\control\\(?:lsa|securityproviders|minint|session manager\\(?:appcert|bootexecute|pendingfile)|print\\"
    r"|terminal server)|\\eventlog\\|\\winevt\\|\\windows defender\\|\\policies\\microsoft\\|\\shell\\[^\\]+\\command"
    r"|inprocserver32|localserver32|delegateexecute|\\scriptletfile"
    r"|\\schedule\\taskcache\\tree|\\safeboot\\|\\userinitmprlogonscript|\\environment\\|\\amsi|\\powershell\\|\\wmi\\autologger|\\com\\treatas|\\treatas",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(
    r"\\lsass\.exe$|\\(?:sam|security)(?:\\|$)|\\ntds|\\policy\\secrets|\\protect\\|\\credentials\\|\\vault\\"
    r"|login data",
    re.IGNORECASE,
)
_FETCHES = re.compile(r"[a-z]{3,5}://|\\\\[\w.-]+\\", re.IGNORECASE)  # a URL or a network path
_ENCODED = re.compile(r"[A-Za-z0-9+/=]{80}")
_CHATTER_PORTS = frozenset({67, 68, 123, 137, 138, 1900, 3702, 5353, 5355})
_READS = re.compile(r"(?:Get|List|Describe|Head|Lookup|Batch|Check|Search|View)", re.IGNORECASE)
_SECRETS = re.compile(r"secret|password|credential|token|parameters?$|accesskey", re.IGNORECASE)
_VM_READ, _VM_WRITE_OR_THREAD = 0x10, 0x2 | 0x8 | 0x20
_RC4 = ("0x17", "0x18")


# ---------------------------------------------------------------- what an event is worth
def _is_person(name: str | None) -> bool:
    """Return whether an account is neither a machine's nor the system's own."""
    text = (name or "").rpartition("\\")[2].lower()
    return (
        bool(text)
        and not text.endswith("$")
        and text not in ("system", "local service", "network service", "anonymous logon")
    )


def _is_open_to_users(path: str) -> bool:
    """Return whether any user may write to a place; programs that update themselves there do not count, network paths do."""
    return bool(_ON_THE_NETWORK.search(path)) or (is_user_writable(path) and not _UPDATES_ITSELF.search(path))


def _process(fields: ProcessFields, worth: int) -> int:
    if fields.activity != "launch":
        return worth
    _, _, arguments = (fields.process_cmd_line or "").partition(" ")
    worth += 8 if _FETCHES.search(arguments) else 0
    worth += 6 if _ENCODED.search(arguments) or _is_open_to_users(arguments) else 0
    return worth - (0 if _is_person(fields.actor_user) or fields.actor_user is None else 8)


def _process_access(fields: ProcessAccessFields, worth: int) -> int:
    mask = int(fields.access_mask or "0x0", 16)
    if (fields.target_path or "").lower().endswith("\\lsass.exe"):
        worth = 70 if mask & _VM_READ else 30
    if "UNKNOWN" in (fields.call_trace or ""):
        worth = max(worth, 45)
    if mask & _VM_WRITE_OR_THREAD:
        worth += 8
    return worth


def _net_conn(fields: NetConnFields, worth: int) -> int:
    if fields.dst_port in _CHATTER_PORTS or fields.dst_ip in ("127.0.0.1", "::1"):
        return 5
    return worth + (20 if fields.dst_scope == "external" else 0)


def _logon(fields: LogonFields, worth: int) -> int:
    if fields.activity == "explicit_credentials":
        return worth - (0 if _is_person(fields.actor_user) else 25)
    if fields.activity != "success":
        return worth
    is_far = fields.src_ip not in (None, "127.0.0.1", "::1")
    if fields.logon_type in (8, 9, 10):
        return 58
    if is_far and _is_person(fields.user_name):
        return worth + 22
    return worth - (10 if fields.logon_type in (0, 5) else 0)


def _kerberos(fields: KerberosFields, worth: int) -> int:
    if fields.preauth_type == 0 and fields.activity == "tgt":
        return 62
    weak = 25 if fields.ticket_encryption in _RC4 else 0
    failed = 12 if fields.status not in (None, "0x0") else 0
    return worth + weak + failed + (5 if _is_person(fields.user_name) else 0)


def _share(fields: ShareFields, worth: int) -> int:
    if fields.actor_user and not _is_person(fields.actor_user):
        return worth - 8
    is_hidden = (fields.share_name or "").endswith("$")
    return worth + (22 if is_hidden and fields.file_path not in (None, "\\") else 10)


def _file(fields: FileFields, worth: int) -> int:
    path = fields.file_path or ""
    if fields.activity in ("create", "modify", "blocked", "stream"):
        worth = max(worth, 42 if _CODE.search(path) else 32 if _STORES.search(path) else 0)
    return worth + (8 if _CODE.search(path) and _is_open_to_users(path) else 0)


def _registry(fields: RegistryFields, worth: int) -> int:
    if not _CONFIGURES.search(fields.reg_key_path or ""):
        return worth
    return worth + (40 if fields.activity == "set" else 18)


def _module_load(fields: ModuleLoadFields, worth: int) -> int:
    if fields.signature_state not in ("unsigned", "invalid"):
        return worth
    return worth + 16 + (24 if _is_open_to_users(fields.file_path or "") else 0)


def _object_access(fields: ObjectAccessFields, worth: int) -> int:
    if fields.activity in ("open", "access") and not fields.object_name:
        return 1
    return worth + (40 if _CREDENTIALS.search(fields.object_name or "") else 0)


def _cloud_api(fields: CloudApiFields, worth: int) -> int:
    operation = fields.api_operation or ""
    if _READS.match(operation):
        worth = 60 if _SECRETS.search(operation) else 20
    return worth + (8 if fields.api_error else 0)


def _dns_query(fields: DnsQueryFields, worth: int) -> int:
    name = (fields.query_hostname or "").lower()
    if not name:
        return 2
    return worth - 12 if name.rstrip(".").endswith((".arpa", ".local")) or "." not in name else worth


def _privilege(fields: PrivilegeFields, worth: int) -> int:
    return worth + (12 if fields.activity == "special_logon" and _is_person(fields.user_name) else 0)


def _task(fields: TaskFields, worth: int) -> int:
    return worth - (25 if (fields.job_name or "").lower().startswith("\\microsoft\\") else 0)


_RAISES: Mapping[str, Callable[[Any, int], int]] = {
    "process": _process,
    "process_access": _process_access,
    "net_conn": _net_conn,
    "logon": _logon,
    "kerberos": _kerberos,
    "share": _share,
    "file": _file,
    "registry": _registry,
    "module_load": _module_load,
    "object_access": _object_access,
    "cloud_api": _cloud_api,
    "dns_query": _dns_query,
    "privilege": _privilege,
    "task": _task,
}


def worth_of(event: DraftEvent) -> int:
    """Return what one event is worth by itself, before rarity and context."""
    worth = WORTH.get((event.event_type, event.activity)) or WORTH[event.event_type, ""]
    raises = _RAISES.get(event.event_type)
    if raises:
        worth = raises(event.fields, worth)
    return worth + (10 if worth > 10 and _is_open_to_users(_text(event.fields, "process_path")) else 0)


def _text(fields: Fields, name: str) -> str:
    """Return a field's value as text; empty if it has none, or its type no such field."""
    value = getattr(fields, name, None)
    return "" if value is None else str(value)


# ---------------------------------------------------------------- alike and related
def _content(event: DraftEvent) -> tuple[object, ...]:
    """Return what an event says, without what differs between like events."""
    return (event.event_type, *(value for name, value in event.fields if name not in _PASSING))


def _group(event: DraftEvent) -> Group:
    names, _ = QUOTAS.get(event.event_type, QUOTA)
    return (event.event_type, event.activity, *(_text(event.fields, name).lower() for name in names))


def _program(event: DraftEvent, name: str) -> tuple[str, str] | None:
    """Return host and file name of a program that a field gives the path of."""
    path = _text(event.fields, name).lower()
    return (_text(event.fields, "device_hostname").lower(), re.split(r"[\\/]", path)[-1]) if path else None


def _scores(events: Sequence[DraftEvent], groups: Sequence[Group], earlier: Mapping[Group, int]) -> list[float]:
    """Score each event: its worth with rarity and repeats; `earlier` counts the groups of events that are gone."""
    counts = Counter(groups)
    repeats: Counter[tuple[object, ...]] = Counter()
    scores = []
    for event, group in zip(events, groups, strict=True):
        content = _content(event)
        rare = RARITY / (counts[group] + earlier.get(group, 0))
        less = min(REPEAT_MOST, REPEAT * repeats[content])
        repeats[content] += 1
        scores.append(worth_of(event) + rare - less)
    return scores


def _best(pairs: Iterable[tuple[tuple[str, str] | None, float]]) -> dict[tuple[str, str], float]:
    best: dict[tuple[str, str], float] = {}
    for key, score in pairs:
        if key:
            best[key] = max(best.get(key, 0.0), score)
    return best


def _with_context(events: Sequence[DraftEvent], scores: list[float]) -> list[float]:
    """Return the scores, with those of launches, parents, dropped files and connections raised by what they explain."""
    launches = [event.event_type == "process" and event.activity == "launch" for event in events]
    did = _best((_program(event, "process_path"), score) for event, score in zip(events, scores, strict=True))
    raised = list(scores)
    for index, event in enumerate(events):
        if launches[index] and (key := _program(event, "process_path")):
            raised[index] = max(raised[index], did[key] - CONTEXT_STEP)
    # One more step: the parent's launch, the file that was started, the started program's connections.
    started = _best(
        (_program(event, "process_path"), raised[index]) for index, event in enumerate(events) if launches[index]
    )
    parents = _best(
        (_program(event, "parent_path"), raised[index]) for index, event in enumerate(events) if launches[index]
    )
    for index, event in enumerate(events):
        key = _program(event, "process_path")
        above = 0.0
        if launches[index]:
            above = parents.get(key, 0.0) if key else 0.0
        elif event.event_type == "file" and event.activity in ("create", "modify", "stream"):
            dropped = _program(event, "file_path")
            above = started.get(dropped, 0.0) if dropped else 0.0
        elif event.event_type == "net_conn" and scores[index] > QUIET:
            above = started.get(key, 0.0) if key else 0.0
        raised[index] = max(raised[index], above - 2 * CONTEXT_STEP)
    return raised


# ---------------------------------------------------------------- the window
def _without_duplicates(events: Sequence[DraftEvent]) -> tuple[list[DraftEvent], list[tuple[DraftEvent, str]]]:
    distinct, left = [], []
    first: dict[object, int] = {}
    for event in events:
        key = (event.time, event.fields)
        if key in first and event.event_type not in ATTEMPTS:
            left.append((event, f"duplicate of record {first[key]}"))
        else:
            first.setdefault(key, event.record)
            distinct.append(event)
    return distinct, left


def _pick(events: Sequence[DraftEvent], groups: Sequence[Group], scores: Sequence[float], size: int) -> set[int]:
    """Choose the indexes of events: by score, under caps and quotas that loosen while there is room."""
    order = sorted(range(len(events)), key=lambda index: (-scores[index], index))
    chosen: set[int] = set()
    by_type: Counter[str] = Counter()
    by_group: Counter[tuple[object, ...]] = Counter()
    for loosened in (1, 2, MAX_EVENTS):
        for index in order:
            if len(chosen) >= size:
                return chosen
            if index in chosen:
                continue
            kind, group = events[index].event_type, groups[index]
            is_within = by_group[group] < QUOTAS.get(kind, QUOTA)[1] * loosened
            if is_within and by_type[kind] < CAPS.get(kind, CAP) * loosened:
                chosen.add(index)
                by_type[kind] += 1
                by_group[group] += 1
    return chosen


def choose_window(
    events: Sequence[DraftEvent], *, size: int = MAX_EVENTS, earlier: Mapping[Group, int] = MappingProxyType({})
) -> tuple[list[DraftEvent], list[tuple[DraftEvent, str]]]:
    """Choose the events that are judged together.

    Args:
        events: all events of one recording, in any order; those without a time come last.
        size: the most that a window may hold, at least 1.
        earlier: how many events of each group are gone already (`Pool`).

    Returns:
        The kept events in time order, and the others each with the reason why it was left out.
    """
    distinct, left = _without_duplicates(in_time_order(events))
    if len(distinct) <= size:
        return distinct, left
    groups = [_group(event) for event in distinct]
    scores = _with_context(distinct, _scores(distinct, groups, earlier))
    chosen = _pick(distinct, groups, scores, size)
    left += [
        (event, f"window full: outside the chosen window ({event.event_type} {event.activity})")
        for index, event in enumerate(distinct)
        if index not in chosen
    ]
    return [event for index, event in enumerate(distinct) if index in chosen], left


# ---------------------------------------------------------------- long recordings
POOL = 50_000  # events that are weighed against each other; a recording of up to as many is chosen from as a whole
MANY_GROUPS = 50_000  # groups whose events are counted after they are gone


class Pool:
    """Holds the events of a recording of any length from which its window is chosen.

    Whenever it is full, the better half at most stays, by the window's own worth, caps and quotas; how many events of each
    group went is remembered for their rarity.
    """

    def __init__(self, size: int = POOL) -> None:
        self.size = size
        self.events: list[DraftEvent] = []
        self.earlier: Counter[tuple[object, ...]] = Counter()

    def add(self, event: DraftEvent) -> list[tuple[DraftEvent, str]]:
        """Take an event; return those that go, each with the reason."""
        self.events.append(event)
        if len(self.events) <= self.size:
            return []
        self.events, left = choose_window(self.events, size=self.size // 2, earlier=self.earlier)
        self.earlier.update(_group(event) for event, _ in left)
        if len(self.earlier) > MANY_GROUPS:
            self.earlier = Counter(dict(self.earlier.most_common(MANY_GROUPS // 2)))
        return left
