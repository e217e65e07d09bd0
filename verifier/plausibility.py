"""Admit incidents that could have happened in a world and are worth judging.

`check_plausibility` returns reasons against, one sentence each; an empty list admits. The schema (shapes, bounds, visible characters) is checked before,
when the incident is read. Nothing here looks at `target_label` or `narrative`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import isnan

from schema import (
    CATEGORIES,
    AccountFields,
    Category,
    CloudApiFields,
    Fields,
    FileFields,
    Incident,
    KerberosFields,
    LogonFields,
    NetConnFields,
    ProcessAccessFields,
    ProcessFields,
    ProcessInjectFields,
    RegistryFields,
    account_name,
    epoch_s,
)
from verifier.calls import is_by_automation, is_by_service
from verifier.decision import decide, event_type_of, find
from verifier.rules.network import MIN_UPLOAD_MB
from verifier.truth import GroundTruth
from verifier.window import LOOSER, TIGHTER, Line, Window, basename, is_person_or_service, lines_of_events
from world import EMPTY_WORLD, MAX_NAME, PRIVATE_NETWORKS, World, in_networks

MAX_SPAN_S = 24 * 3600  # one incident, one day
MAX_LEAD_S = 24 * 3600  # how long before the alert a window may begin
MAX_SEEN = 3  # the same play is admitted this often
MIN_FACTS = 2  # fields that an event must fill beside its activity, host and user
# Fields that a sensor never leaves out, and that rules read: without them a line would look guilty and count for nothing.
NEVER_EMPTY: Mapping[type[Fields], tuple[str, ...]] = {
    ProcessFields: ("process_path",),
    ProcessAccessFields: ("process_path", "target_path"),
    ProcessInjectFields: ("process_path",),
    FileFields: ("file_path",),
    RegistryFields: ("reg_key_path",),
}
# Event types that a category can be claimed on where no rule finds anything (ATT&CK data sources of the tactic).
CATEGORY_EVENTS: Mapping[Category, frozenset[str]] = {
    "execution": frozenset({"process", "script", "service", "task", "wmi", "cloud_api"}),
    "persistence": frozenset({"service", "task", "registry", "wmi", "account", "group", "file", "cloud_api"}),
    "privilege_escalation": frozenset(
        {"privilege", "process", "group", "process_inject", "service", "registry", "cloud_api"}
    ),
    "defense_evasion": frozenset(
        {"control_change", "process", "process_inject", "file", "registry", "module_load", "cloud_api"}
    ),
    "credential_access": frozenset(
        {"logon", "kerberos", "process_access", "directory", "object_access", "file", "cloud_api"}
    ),
    "discovery": frozenset({"net_conn", "process", "directory", "group", "cloud_api", "share"}),
    "lateral_movement": frozenset({"logon", "share", "service", "wmi", "pipe", "cloud_api"}),
    "command_and_control": frozenset({"net_conn", "dns_query", "http"}),
    "collection": frozenset({"file", "share", "process", "script", "cloud_api"}),
    "exfiltration": frozenset({"net_conn"}),
    "impact": frozenset({"file", "process", "service", "cloud_api"}),
    "initial_access": frozenset({"http", "file", "logon", "net_conn", "process", "cloud_api"}),
    "benign_activity": frozenset(),
}


def check_plausibility(
    incident: Incident, world: World = EMPTY_WORLD, *, seen: Mapping[str, int] | None = None
) -> list[str]:
    """Return the reasons against admitting an incident, in the order of the checks; empty when it is admitted.

    Args:
        incident: a schema-valid incident.
        world: the world that its author was shown; one that declares no hosts or accounts takes any.
        seen: how often each `signature` was admitted before; None where nobody counts.
    """
    ids = Counter(event.log_id for event in incident.events)
    doubled = [log_id for log_id, times in ids.items() if times > 1]
    if doubled:
        return [f"log ids must be unique; {', '.join(doubled[:3])} came more than once"]
    window = Window(lines_of_events(incident.events), world)
    reasons = _reasons(window, _CHECKS)
    reasons += _time_order(incident)
    truth = decide(window, find(window))
    reasons += _category(incident.category, window, truth)
    for limits, side in ((TIGHTER, "stricter"), (LOOSER, "looser")):
        moved = Window(window.lines, world, limits)
        if decide(moved, find(moved)).action != truth.action:
            reasons.append(
                f"the answer hangs on the edge of a threshold: with slightly {side} thresholds it is another"
            )
    if seen is not None and seen.get(signature(incident, truth), 0) >= MAX_SEEN:
        reasons.append(f"this play was seen {MAX_SEEN} times already; only names and times are new")
    return reasons


def value_faults(incident: Incident, world: World) -> list[str]:
    """Return the reasons against values of an incident that no further field or line can take back."""
    return _reasons(Window(lines_of_events(incident.events), world), _OF_VALUES)


def line_faults(incident: Incident, world: World) -> list[str]:
    """Return the reasons against lines of an incident that no further line can take back."""
    return _reasons(Window(lines_of_events(incident.events), world), _CHECKS)


def _reasons(window: Window, checks: Iterable[Callable[[Window], list[str]]]) -> list[str]:
    return [reason for check in checks for reason in check(window)]


def bearable_categories(incident: Incident, world: World = EMPTY_WORLD) -> tuple[Category, ...]:
    """List the categories that the gate takes for an incident's events, whichever it claims, in the order of `schema.CATEGORIES`."""
    window = Window(lines_of_events(incident.events), world)
    truth = decide(window, find(window))
    return tuple(category for category in CATEGORIES if not _category(category, window, truth))


# ---------------------------------------------------------------- entities
def _entities(window: Window) -> list[str]:
    """Check that hosts and accounts exist in a world that declares any and internal addresses belong to somebody."""
    world, created = window.world, _created(window)
    ours = (
        {host["ip"] for host in world.hosts.values()}
        | {scanner["ip"] for scanner in world.scanners}
        | {"127.0.0.1", "::1"}
    )
    written = {name.lower(): name for name in world.accounts}
    reasons = []
    for line in window.lines:
        if line.host and world.hosts and line.host not in world.hosts:
            reasons.append(f"{line.log_id}: there is no host {line.host!r} in this world")
        for name in ("actor_user", "user_name", "user_uid"):
            if len(getattr(line.fields, name, None) or "") > MAX_NAME:
                reasons.append(f"{line.log_id}: {name} is longer than {MAX_NAME} characters, so it is no account")
        for user in (
            line.user,
            account_name(getattr(line.fields, "user_name", None)),
            _owner(getattr(line.fields, "run_as", None) or ""),
        ):
            guessed = isinstance(line.fields, LogonFields | KerberosFields) and line.fields.activity in (
                "failure",
                "preauth_failure",
            )
            known = user in world.accounts or user in created or not world.accounts
            if is_person_or_service(user) and not known and not guessed:
                reasons.append(f"{line.log_id}: there is no account {user!r} in this world")
            if is_person_or_service(user) and line.time_s < created.get(user, line.time_s) and not guessed:
                reasons.append(f"{line.log_id}: the account {user!r} is at work before it is created")
            if written.get(user.lower(), user) != user:
                reasons.append(
                    f"{line.log_id}: the account {user!r} is written {written[user.lower()]!r} in this world"
                )
            if user.endswith("$") and world.hosts and user[:-1] not in world.hosts and not guessed:
                reasons.append(f"{line.log_id}: there is no machine of the account {user!r} in this world")
        for name in ("src_ip", "dst_ip"):
            ip = getattr(line.fields, name, None)
            if ip is None:
                continue
            try:
                usual = _usual(ip)
            except ValueError:
                reasons.append(f"{line.log_id}: {name} {ip!r} is no address")
                continue
            if usual != ip:
                reasons.append(f"{line.log_id}: {name} {ip} is an address that sensors write as {usual}")
            if not world.is_internal(ip) and _is_nobodys(ip):
                reasons.append(f"{line.log_id}: {name} {ip} is neither ours nor an address on the internet")
            if world.hosts and world.is_internal(ip) and ip not in ours:
                reasons.append(f"{line.log_id}: internal address {ip} belongs to no host of this world")
    return reasons


# Windows' own accounts of services, and one by its number (Microsoft's documentation: service user accounts, well-known SIDs)
_SYSTEM_RUNS = re.compile(
    r"^(?:NT (?:SERVICE|AUTHORITY)\\.+|LocalService|NetworkService|S-1-5-[0-9-]+)$", re.IGNORECASE
)


def _owner(run_as: str) -> str:
    """Return the account that a service or job runs as; empty for Windows' own accounts of services."""
    return "" if _SYSTEM_RUNS.match(run_as) else account_name(run_as)


def _created(window: Window) -> dict[str, float]:
    """Map the accounts that a window sees created to the moment of it, in epoch seconds."""
    made: dict[str, float] = {}
    for line in window.of(AccountFields):
        if line.fields.activity == "create":
            made.setdefault(account_name(line.fields.user_name), line.time_s)
    return made


def _is_nobodys(ip: str) -> bool:
    """Return whether an address that is not ours is of a private network, or nobody's: 0.0.0.0, a limited broadcast."""
    address = ipaddress.ip_address(ip)
    return in_networks(ip, PRIVATE_NETWORKS) or address.is_unspecified or ip == "255.255.255.255"


def _usual(ip: str) -> str:
    """Write an address as sensors do; ValueError for none. Each has one form, as rules compare addresses as text."""
    address = ipaddress.ip_address(ip)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _substance(window: Window) -> list[str]:
    """Check that every event says where it was seen and enough to be judged."""
    reasons = []
    for line in window.lines:
        facts = _facts(line)
        placed = line.host or getattr(line.fields, "src_ip", None) or isinstance(line.fields, CloudApiFields)
        if not placed or len(facts) < _least_facts(line):
            reasons.append(
                f"{line.log_id}: too little is said to be a record of a sensor (a host and {MIN_FACTS} facts are expected)"
            )
        reasons += [
            f"{line.log_id}: a record of this kind always names its {name}"
            for name in NEVER_EMPTY.get(type(line.fields), ())
            if name not in facts
        ]
        reasons += _text_faults(line, facts)
    return reasons


def _texts(window: Window) -> list[str]:
    """Check that paths are paths and texts are such as sensors write."""
    return [reason for line in window.lines for reason in _text_faults(line, _facts(line))]


def _text_faults(line: Line, facts: Iterable[str]) -> Iterable[str]:
    for name in facts:
        if name.endswith("_path") and _NO_PATH.search(getattr(line.fields, name)):
            yield f"{line.log_id}: {name} is no path (a path without quotes, arguments or spaces around it)"
        if _is_gibberish(str(getattr(line.fields, name))):
            yield f"{line.log_id}: {name} is no text that a sensor writes"


def _facts(line: Line) -> list[str]:
    """Return the fields of a line that say more than where it was seen."""
    return [
        name
        for name, value in line.fields.__dict__.items()
        if value not in (None, "") and name not in ("activity", "device_hostname", "actor_user", "session_uid")
    ]


def _least_facts(line: Line) -> int:
    return (
        1
        if event_type_of(line.fields) in ("control_change", "script", "wmi", "privilege", "dns_query", "object_access")
        else MIN_FACTS
    )


_NO_PATH = re.compile(r"^\s|[\s.]$|\"|\.exe\s+[-/]", re.IGNORECASE)
_RUN = re.compile(r"(.)\1{15,}|(.{2,8}?)\2{12,}")


def _is_gibberish(text: str) -> bool:
    """Return whether a text repeats one character or a short piece many times over, or has hardly any letter or digit."""
    if _RUN.search(text):
        return True
    return len(text) >= 12 and sum(map(str.isalnum, text)) < len(text) * 0.3


# ---------------------------------------------------------------- time and order
def _time_order(incident: Incident) -> list[str]:
    """Check that events are listed in time order."""
    stamps = [event.timestamp for event in incident.events]
    for index in range(1, len(stamps)):
        if epoch_s(stamps[index]) < epoch_s(stamps[index - 1]):
            return [
                f"{incident.events[index].log_id}: events must be in time order; this one is before the one above it"
            ]
    return []


def _period(window: Window) -> list[str]:
    """Check that the window fits into a day and lies in the day before the alert."""
    untimed = [line.log_id for line in window.lines if isnan(line.time_s)]
    if untimed:
        return [f"{untimed[0]}: every event needs the time at which it happened"]
    reasons = []
    if window.end - window.start > MAX_SPAN_S:
        reasons.append(f"the events span {window.end - window.start:.0f} s; an incident spans at most {MAX_SPAN_S} s")
    if window.world.now:
        now = epoch_s(window.world.now)
        if window.end > now or window.start < now - MAX_LEAD_S:
            reasons.append(
                f"events must lie in the {MAX_LEAD_S} s before {window.world.now}, when the alert was raised"
            )
    return reasons


def _causes(window: Window) -> list[str]:
    """Check that parents start before their children and files are written before they run."""
    reasons = []
    launches = [line for line in window.of(ProcessFields) if line.fields.activity == "launch"]
    started: dict[tuple[str, str], float] = {}
    for line in launches:
        started.setdefault((line.host, (line.fields.process_path or "").lower()), line.time_s)
    for line in launches:
        parent = started.get((line.host, (line.fields.parent_path or "").lower()))
        if parent is not None and parent > line.time_s:
            reasons.append(f"{line.log_id}: its parent {basename(line.fields.parent_path)} starts only later")
    for file in window.of(FileFields):
        start = started.get((file.host, (file.fields.file_path or "").lower()))
        if file.fields.activity == "create" and start is not None and start < file.time_s:
            reasons.append(f"{file.log_id}: {basename(file.fields.file_path)} runs before it is written")
    return reasons


# ---------------------------------------------------------------- fields against each other
def _agreement(window: Window) -> list[str]:
    """Check that directions, scopes, addresses, outcomes and amounts agree with each other."""
    reasons = []
    for line in window.of(NetConnFields):
        reasons += [f"{line.log_id}: {reason}" for reason in _connection_faults(line, window)]
    for line in window.lines:
        reasons += [f"{line.log_id}: {reason}" for reason in _end_faults(line, window)]
    for logon in window.of(LogonFields):
        if logon.fields.activity == "success" and (logon.fields.status or "0x0").lower() not in ("0x0", "success", "0"):
            reasons.append(f"{logon.log_id}: a success cannot have the status {logon.fields.status!r}")
        if logon.fields.activity == "failure" and (logon.fields.status or "").lower() in ("0x0", "success", "0"):
            reasons.append(f"{logon.log_id}: a failure cannot have the status {logon.fields.status!r}")
    return reasons


def _connection_faults(line: Line[NetConnFields], window: Window) -> list[str]:
    fields, world = line.fields, window.world
    faults = []
    source_ours = fields.src_ip is not None and world.is_internal(fields.src_ip)
    target_ours = fields.dst_ip is not None and world.is_internal(fields.dst_ip)
    if fields.dst_scope and fields.dst_ip and (fields.dst_scope == "internal") != target_ours:
        faults.append(
            f"dst_scope is {fields.dst_scope!r}, but {fields.dst_ip} is {'ours' if target_ours else 'not ours'}"
        )
    if fields.direction and fields.src_ip and fields.dst_ip:
        actual = "lateral" if source_ours and target_ours else "outbound" if source_ours else "inbound"
        if fields.direction != actual:
            faults.append(f"direction is {fields.direction!r}, but {fields.src_ip} to {fields.dst_ip} is {actual}")
    if fields.src_ip and fields.src_ip == fields.dst_ip:
        faults.append("source and destination are the same address")
    if fields.activity == "block" and (fields.bytes_in or 0) > 0:
        faults.append("a blocked connection cannot have received bytes")
    return faults


def _end_faults(line: Line, window: Window) -> list[str]:
    """Check that traffic of any kind has an end that is ours, and that the host that saw it is one of its ends."""
    world = window.world
    source, target = getattr(line.fields, "src_ip", None), getattr(line.fields, "dst_ip", None)
    faults = []
    if source and target and not world.is_internal(source) and not world.is_internal(target):
        faults.append("neither end is ours, so no sensor of ours saw it")
    own = world.hosts[line.host]["ip"] if line.host in world.hosts else None
    if own and target and own not in (source, target):
        faults.append(f"{line.host} has the address {own}, which is neither end")
    return faults


# ---------------------------------------------------------------- names that must be whole
_ARN = re.compile(r"^arn:aws[a-z-]*:(?:iam|sts)::(\d{12}):(.+)$")
_ARN_OF_TYPE = {"root": "root", "iamuser": "user/", "webidentityuser": "assumed-role/"}  # CloudTrail, userIdentity
_PROGRAM_TYPES = ("app", "bot", "service", "serviceaccount", "systemprincipal")
# a machine's session in AWS, an identity of Kubernetes, an app by its number, a service account of Google
_PROGRAM_NAME = re.compile(
    r":assumed-role/[^/]+/i-[0-9a-f]{8,17}$|^system:|^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$|\.gserviceaccount\.com$"
)
_CLASS_ID = re.compile(r"\\clsid\\(\{[^}\\]*\}?)", re.IGNORECASE)
_GUID = re.compile(r"^\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}$", re.IGNORECASE)


def _identities(window: Window) -> list[str]:
    """Check that a call to a control plane is made by one caller: an account of this world, or a program without an account at work."""
    return [
        reason
        for line in window.of(CloudApiFields)
        for reason in (*_identity_faults(line), *_missing_caller(line, window))
    ]


def _one_caller(window: Window) -> list[str]:
    """Check that what calls to a control plane say of their callers agrees, as far as it is said."""
    return [reason for line in window.of(CloudApiFields) for reason in _identity_faults(line)]


def _identity_faults(line: Line[CloudApiFields]) -> list[str]:
    identity, kind = line.fields.user_uid or "", (line.fields.user_type or "").lower()
    arn = _ARN.match(identity)
    faults = []
    if identity.startswith("arn:") and arn is None:
        faults.append(f"user_uid {identity[:80]!r} is no ARN of an identity")
    if arn and line.fields.cloud_account and arn[1] != line.fields.cloud_account:
        faults.append(f"user_uid is of the account {arn[1]}, and cloud_account another")
    part = _ARN_OF_TYPE.get(kind)
    if (part and not (arn and arn[2].startswith(part))) or (arn and arn[2] == "root" and kind not in ("", "root")):
        faults.append(f"the user_type {line.fields.user_type!r} is of another identity than user_uid")
    return [f"{line.log_id}: {fault}" for fault in (*faults, *_caller_faults(line))]


def _caller_faults(line: Line[CloudApiFields]) -> list[str]:
    identity, actor, user = line.fields.user_uid or "", line.fields.actor_user or "", line.user
    if user and is_person_or_service(user) and (is_by_service(line) or is_by_automation(line)):
        return [f"a program makes this call, and actor_user names {user!r}"]
    if identity and user and _named(identity) != user:
        return [f"user_uid names {_named(identity)!r}, and actor_user {user!r}"]
    if "@" in identity and "@" in actor and identity != actor:
        return [f"user_uid is {identity!r}, and actor_user {actor!r}"]
    return []


def _missing_caller(line: Line[CloudApiFields], window: Window) -> list[str]:
    """Return what is missing of the caller: a name, or one that is of this world."""
    identity, user = line.fields.user_uid or "", line.user
    if not identity and not user:
        return [f"{line.log_id}: a call names who makes it, in actor_user or user_uid"]
    named = _named(identity)
    known = named in window.world.accounts or named in _created(window) or not window.world.accounts
    if user or known or not is_person_or_service(named) or _is_program(line):
        return []
    return [f"{line.log_id}: user_uid names {named!r}, who is no account of this world"]


def _named(identity: str) -> str:
    arn = _ARN.match(identity)
    return arn[2].rpartition("/")[2] if arn else account_name(identity)


def _is_program(line: Line[CloudApiFields]) -> bool:
    """Return whether a cloud's service, a pipeline, a machine's or a pod's own identity, or an app makes a call."""
    return (
        is_by_service(line)
        or is_by_automation(line)
        or (line.fields.user_type or "").lower() in _PROGRAM_TYPES
        or _PROGRAM_NAME.search(line.fields.user_uid or "") is not None
    )


def _machines(window: Window) -> list[str]:
    """Check that the machines exist that are signed in to, and that Kerberos gives tickets for."""
    hosts = window.world.hosts
    places: list[tuple[Line, str, str]] = [
        (line, line.fields.target_hostname or "", "to sign in to") for line in window.of(LogonFields)
    ]
    places += [
        (line, _machine_of(line.fields.service_name or ""), "for which a ticket is given")
        for line in window.of(KerberosFields)
    ]
    return [
        f"{line.log_id}: there is no machine {name!r} in this world, {what_for}"
        for line, name, what_for in places
        if hosts and name and name not in hosts and name.lower() != "localhost"
    ]


def _machine_of(service: str) -> str:
    """Return the machine of a service's name: of WKS-01$, cifs/WKS-01.corp.example:445 or HTTP/WKS-01; empty for a site, a realm or an account."""
    kind, slash, rest = service.partition("/")
    if not slash:
        return service.removesuffix("$") if service.endswith("$") else ""
    place = re.split("[:/]", rest)[0]
    is_site = kind.lower() == "http" and "." in place
    return "" if is_site or kind.lower() == "krbtgt" else place.partition(".")[0]


def _identifiers(window: Window) -> list[str]:
    """Check that class ids are GUIDs."""
    reasons = []
    for setting in window.of(RegistryFields):
        reasons += [
            f"{setting.log_id}: reg_key_path holds {name!r}, which is no class id"
            for name in _CLASS_ID.findall(setting.fields.reg_key_path or "")
            if not _GUID.match(name)
        ]
    return reasons


# ---------------------------------------------------------------- the claim
def _category(claimed: Category, window: Window, truth: GroundTruth) -> list[str]:
    """Check that the events can bear the claimed category."""
    live = [finding for finding in truth.findings if not finding.explained_by]
    if claimed == "benign_activity":
        return (
            ["the category is benign_activity, but the events hold a confirmed finding"]
            if any(f.strength == "confirmed" for f in live)
            else []
        )
    if claimed == "exfiltration":
        sent = sum(
            line.fields.bytes_out or 0 for line in window.of(NetConnFields) if window.is_external(line.fields.dst_ip)
        )
        return (
            []
            if sent >= MIN_UPLOAD_MB * 1e6 * 0.1
            else ["exfiltration needs an external destination and bytes that go there"]
        )
    if any(finding.tactic == claimed for finding in truth.findings):
        return []
    if {event_type_of(line.fields) for line in window.lines} & CATEGORY_EVENTS[claimed]:
        return []
    return [f"the category is {claimed}, but no event is of a kind that shows it"]


_CHECKS: tuple[Callable[[Window], list[str]], ...] = (
    _entities,
    _substance,
    _period,
    _causes,
    _agreement,
    _identities,
    _machines,
    _identifiers,
)
_OF_VALUES = (_entities, _texts, _agreement, _one_caller, _machines, _identifiers)


# ---------------------------------------------------------------- novelty
def signature(incident: Incident, truth: GroundTruth) -> str:
    """Hash a play's canonical form (16 hexadecimal digits): names, addresses, times and noise abstracted away.

    With findings: which rules, how strong, on which kinds of lines, explained by which kind of fact, to which decision.
    Without: the kind of the line that the alert fired on and the program in it, since all else may be noise.
    """
    kinds = {event.log_id: f"{event.event_type}.{event.fields.activity}" for event in incident.events}
    if truth.findings:
        play = sorted(
            [
                finding.rule_id,
                finding.strength,
                finding.scope,
                sorted({kinds[log_id] for log_id in finding.evidence}),
                finding.explained_by.rpartition(" ")[0],
            ]
            for finding in truth.findings
        )
    else:
        play = sorted(
            [kinds[event.log_id], basename(getattr(event.fields, "process_path", None))]
            for event in incident.events
            if event.log_id in truth.evidence_log_ids
        )
    return hashlib.sha256(json.dumps([truth.action, play]).encode()).hexdigest()[:16]
