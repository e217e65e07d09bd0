"""Hold what rules read and what they say: the window of events in time order, rules, and findings.

A rule sees lines through a `Window`, which also knows which addresses are ours and what threat intelligence says. All
numbers that a rule compares with go through `Limits`, so the margin gate can ask the same rules with every threshold a
little tighter and a little looser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from math import inf, isnan, nan
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast, get_args

from schema import Event, Fields, account_name, bare_fields, epoch_s

if TYPE_CHECKING:
    from world import World

Scope = Literal["host", "network", "identity", "data"]
Strength = Literal["confirmed", "suspicious"]
F = TypeVar("F", bound=Fields)
Kind = tuple[type[Fields], str]  # what sort of line: its type of fields and its activity
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Limits:
    """How far every threshold is moved: counts by whole numbers, sizes and spans by a factor, edges of periods by seconds."""

    count: int = 0
    factor: float = 1.0
    edge_s: float = 0.0

    def at_least(self, number: int) -> int:
        """Return the count that must be reached."""
        return number + self.count

    def size(self, number: float) -> float:
        """Return the size that must be reached."""
        return number * self.factor

    def within(self, seconds: float) -> float:
        """Return the span in seconds that must not be exceeded."""
        return seconds / self.factor


EXACT = Limits()
TIGHTER = Limits(count=1, factor=1.1, edge_s=30.0)
LOOSER = Limits(count=-1, factor=0.9, edge_s=-30.0)


@dataclass(slots=True)
class Line(Generic[F]):
    """One event of the window: its time in epoch seconds, its id, its host and user, its typed fields.

    `order` counts lines by time, then by id (L1-9 before L1-10), so that lines of one second have one order however they are listed.
    `time_s` of a line without a time (`schema.NO_TIME`) is not a number: it satisfies no bound in time and comes last.
    """

    time_s: float
    log_id: str
    host: str
    user: str
    fields: F
    order: int


class Finding(NamedTuple):
    """What one rule claims: the technique, the lines that show it, and whom it concerns.

    `host`, `account`, `tool` and `remote` are empty where the rule cannot name one; a finding without a host, an account
    or a tool cannot be covered by a ticket. `hosts` and `accounts` are all that it concerns, `host` and `account` among
    them. `tool_trusted` is False for a program in a user-writable folder. `rule_id`, `technique` and `tactic` are
    the rule's, which fills them in.
    """

    strength: Strength
    scope: Scope
    evidence: tuple[str, ...]
    first: float
    last: float
    host: str = ""
    account: str = ""
    tool: str = ""
    tool_trusted: bool = True
    remote: str = ""
    hosts: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    impact: bool = False
    rule_id: str = ""
    technique: str = ""
    tactic: str = ""
    explained_by: str = ""


_CLAIMED = Finding._fields.index("rule_id")  # a rule's function fills in the fields before it
Lines = Sequence[Line[F]]
Findings = Iterable[Finding]


@dataclass(frozen=True, slots=True)
class Selection(Generic[T]):
    """What a rule asks a window for: how to pick it, and what of a window says that there may be some.

    There may be some if the window holds lines of `kinds`, or one of `triggers` (`verifier.commands.triggers_of`, operations of
    `verifier.calls`), which stand on lines of the kinds `triggered`.
    """

    pick: Callable[[Window], Sequence[T]]
    kinds: frozenset[Kind] = frozenset()
    triggers: frozenset[str] = frozenset()
    triggered: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with what the playbook says of it.

    `on` holds what the rule reads. `claims` hands the rule's function a list for each, then the window, and returns its
    findings, which do not name the rule yet. A rule runs if the window holds at least `at_least` lines of its `kinds`, or any of
    its `triggers`; `looks_at` are the kinds of all lines that it may find something on.
    """

    rule_id: str
    technique: str
    tactic: str
    summary: str
    source: str
    claims: Callable[[Window], Iterable[Finding]]
    on: tuple[Selection[Any], ...]
    kinds: frozenset[Kind]
    triggers: frozenset[str]
    looks_at: frozenset[Kind]
    at_least: int = 1
    probing: bool = False

    def find(self, window: Window) -> list[Finding]:
        """Find what this rule claims of a window."""
        return [self.signed(claim) for claim in self.claims(window)]

    def signed(self, claim: Finding, explained_by: str = "") -> Finding:
        """Return a finding of the body with the rule's name, and with what explains it."""
        return Finding._make((*claim[:_CLAIMED], self.rule_id, self.technique, self.tactic, explained_by))


_BITS = bytes.maketrans(b"01", b"\x00\x01")


def set_of(places: Iterable[int]) -> int:
    """Return a set of places in a sequence as a number, one bit for each: such sets are joined by `|`, at no cost."""
    return sum(1 << place for place in set(places))


def members(places: int, options: Iterable[T]) -> Iterator[T]:
    """Return the options at a set of places, in their order."""
    return compress(options, f"{places:b}"[::-1].encode().translate(_BITS))


def finding(
    lines: Iterable[Line],
    *,
    confirmed: bool,
    scope: Scope = "host",
    host: str = "",
    account: str = "",
    program: str = "",
    remote: str = "",
    hosts: Iterable[str] = (),
    accounts: Iterable[str] = (),
    impact: bool = False,
) -> Finding:
    """Make a finding on lines; its rule adds its own name. `program` is a path, of which the file name counts."""
    ordered = sorted({line.log_id: line for line in lines}.values(), key=_by_order)
    return Finding(
        strength="confirmed" if confirmed else "suspicious",
        scope=scope,
        evidence=tuple([line.log_id for line in ordered]),
        first=ordered[0].time_s,
        last=ordered[-1].time_s,
        host=host,
        account=account,
        tool=basename(program),
        tool_trusted=not is_user_writable(program),
        remote=remote,
        hosts=tuple(sorted({host, *hosts} - {""})),
        accounts=tuple(sorted({account, *accounts} - {""})),
        impact=impact,
    )


def findings_by_host_and_user(
    lines: Iterable[Line],
    *,
    confirmed: bool | Callable[[list[Line]], bool],
    scope: Scope = "host",
    program: str | Callable[[list[Line]], str] | None = None,
    impact: bool = False,
) -> list[Finding]:
    """Make one finding for each host and user that lines name, by the one program that the lines name unless told otherwise.

    `confirmed` and `program` may be functions of the lines of one host and user.
    """
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.host, line.user), []).append(line)
    if not groups:
        return []  # most calls
    return [
        finding(
            group,
            confirmed=confirmed(group) if callable(confirmed) else confirmed,
            scope=scope,
            host=host,
            account=user,
            program=program if isinstance(program, str) else (program or one_program)(group),
            impact=impact,
        )
        for (host, user), group in groups.items()
    ]


def kinds(fields: type[Fields], *activities: str) -> tuple[Kind, ...]:
    """Return the kinds of lines that have a type of fields and one of some activities; without any, all that the type has."""
    return tuple((fields, activity) for activity in activities or get_args(fields.model_fields["activity"].annotation))


def lines_of(fields: type[F], *activities: str) -> Selection[Line[F]]:
    """Select the lines of a type of fields with one of some activities; without any, all of the type."""
    selected = frozenset(kinds(fields, *activities))
    if len(activities) == 1:  # the common cases without a call on the way
        kind = (fields, activities[0])
        return Selection(lambda window: window.by_kind.get(kind, []), selected)
    if not activities:
        return Selection(lambda window: window.by_fields.get(fields, []), selected)
    return Selection(lambda window: window.of(fields, *activities) if fields in window.by_fields else [], selected)


def rule(
    rule_id: str,
    technique: str,
    tactic: str,
    *,
    on: Sequence[Selection[Any] | type[Fields] | tuple[Any, ...]],
    summary: str,
    source: str,
    at_least: int = 1,
    probing: bool = False,
) -> Callable[[Callable[..., Iterable[Finding]]], Rule]:
    """Make a rule of a function that takes a list of lines for each entry of `on`, then the window, and gives findings.

    Args:
        on: what the function is handed: a type of fields, a tuple of a type and activities, or a `Selection`.
        at_least: how many lines of the kinds in `on` there must be before it is worth a look.
        summary: the rule in the playbook; its numbers and names come from the constants that the function compares with.
        probing: whether an authorised scanner may cause it.
    """
    selections = tuple(_selection(entry) for entry in on)

    def make(body: Callable[..., Iterable[Finding]]) -> Rule:
        return Rule(
            rule_id=rule_id,
            technique=technique,
            tactic=tactic,
            summary=summary,
            source=source,
            claims=_fed(body, selections),
            on=selections,
            kinds=frozenset().union(*(selection.kinds for selection in selections)),
            triggers=frozenset().union(*(selection.triggers for selection in selections)),
            looks_at=frozenset().union(*(selection.kinds | selection.triggered for selection in selections)),
            at_least=at_least,
            probing=probing,
        )

    return make


def _fed(
    body: Callable[..., Iterable[Finding]], selections: Sequence[Selection[Any]]
) -> Callable[[Window], Iterable[Finding]]:
    """Return a rule's function as one of the window alone, which is called only where there is something to hand it.

    This is a hot path, so the usual cases build no list.
    """
    picks = [selection.pick for selection in selections]
    match picks:
        case [only]:
            return lambda window: body(lines, window) if (lines := only(window)) else ()
        case [one, other]:

            def claims_of_two(window: Window) -> Iterable[Finding]:
                lines, others = one(window), other(window)
                return body(lines, others, window) if lines or others else ()

            return claims_of_two
        case _:

            def claims(window: Window) -> Iterable[Finding]:
                lists = [pick(window) for pick in picks]
                return body(*lists, window) if any(lists) else ()

            return claims


def _selection(entry: Selection[Any] | type[Fields] | tuple[Any, ...]) -> Selection[Any]:
    if isinstance(entry, Selection):
        return entry
    return lines_of(*entry) if isinstance(entry, tuple) else lines_of(entry)


def lines_of_events(events: Iterable[Event]) -> list[Line]:
    """Read an incident's events as lines."""
    return [_line(event.timestamp, event.log_id, event.fields) for event in events]


def lines_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Read an incident's events as lines where they are rendered rows, valid ones: nothing is checked."""
    return [_line(row["timestamp"], row["log_id"], bare_fields(row["event_type"], row["fields"])) for row in rows]


def _line(timestamp: str, log_id: str, fields: Fields) -> Line:
    user = fields.actor_user
    return Line(epoch_s(timestamp), log_id, fields.device_hostname or "", account_name(user) if user else "", fields, 0)


class Window:
    """An incident's lines in time order, by kind."""

    __slots__ = (
        "_external",
        "_picked",
        "_views",
        "by_fields",
        "by_kind",
        "end",
        "limits",
        "lines",
        "start",
        "world",
    )

    def __init__(self, lines: Iterable[Line], world: World, limits: Limits = EXACT) -> None:
        lines = sorted(lines, key=_by_time)
        by_fields: dict[type[Fields], list[Line]] = {}
        by_kind: dict[Kind, list[Line]] = {}
        for order, line in enumerate(lines):
            line.order = order
            fields = line.fields
            of_type = by_fields.get(type(fields))
            if of_type is None:
                by_fields[type(fields)] = [line]
            else:
                of_type.append(line)
            kind = (type(fields), fields.activity)
            of_kind = by_kind.get(kind)
            if of_kind is None:
                by_kind[kind] = [line]
            else:
                of_kind.append(line)
        self.world = world
        self.limits = limits
        self.lines = lines
        self.start, self.end = _span(lines)
        self.by_kind = by_kind
        self.by_fields = by_fields
        self._picked: dict[tuple[object, ...], list[Line]] = {}
        self._external: dict[str | None, bool] = {None: False, "": False}
        self._views: dict[Callable[[Window], object], Any] = {}

    def of(self, fields: type[F], *activities: str) -> list[Line[F]]:
        """Return the lines of a type of fields and, where given, of one of some activities, in time order."""
        if not activities:
            return self.by_fields.get(fields, [])
        if len(activities) == 1:
            return self.by_kind.get((fields, activities[0]), [])
        lines = self._picked.get((fields, activities))
        if lines is None:
            lines = [line for line in self.by_fields.get(fields, ()) if line.fields.activity in activities]
            self._picked[fields, activities] = lines
        return lines

    def view(self, make: Callable[[Window], V]) -> V:
        """Return what a function makes of this window, made once however many rules ask."""
        value: V | None = self._views.get(make)
        if value is None:
            value = self._views[make] = make(self)
        return value

    def is_external(self, ip: str | None) -> bool:
        """Return whether an address is known and not ours."""
        known = self._external.get(ip)
        if known is None:
            known = self._external[ip] = not self.world.is_internal(cast(str, ip))
        return known

    def host_at(self, ip: str) -> str:
        """Return the host that an address of ours belongs to; the address itself where none is known."""
        host = self.world.hosts_by_ip.get(ip)
        return host["name"] if host else ip

    def intelligence(self, value: str | None) -> str:
        """Return `high`, `low` or nothing: the confidence of an indicator on an address or a domain."""
        return self.view(indicators).get(plain_name(value), "") if value else ""


def indicators(window: Window) -> dict[str, str]:
    """Map the addresses and names that intelligence lists, written plainly, to its confidence."""
    return {plain_name(indicator["value"]): indicator["confidence"] for indicator in window.world.indicators}


def plain_name(name: str) -> str:
    """Write an address or a domain as it is compared: upper case and a closing dot make no difference."""
    return name.lower().rstrip(".")


_by_order = attrgetter("order")


def _by_time(line: Line) -> tuple[float, int, str]:
    return inf if isnan(line.time_s) else line.time_s, len(line.log_id), line.log_id


def _span(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the times of the first and the last line that have one; not a number where none has.

    Lines without a time get one and the same `nan`, so that findings on them are equal whenever their lines are.
    """
    if not isnan(lines[-1].time_s):
        return lines[0].time_s, lines[-1].time_s
    timed = [line.time_s for line in lines if not isnan(line.time_s)]
    for line in lines[len(timed) :]:
        line.time_s = nan
    return (timed[0], timed[-1]) if timed else (nan, nan)


def one_program(lines: Iterable[Line], *, otherwise: str = "") -> str:
    """Return the program that lines name: `otherwise` where none is named, nothing where they name several."""
    paths = {path.lower() for line in lines if (path := getattr(line.fields, "process_path", None))}
    return (paths.pop() if len(paths) == 1 else "") if paths else otherwise


# ---------------------------------------------------------------- what a path or a name says
USER_WRITABLE = (
    "anywhere below \\Users\\ or in \\ProgramData\\ (but for \\ProgramData\\Microsoft\\Windows Defender\\ and Windows Defender Advanced Threat Protection\\), \\Windows\\Temp\\, \\Windows\\Tasks\\, "
    "\\PerfLogs\\, \\$Recycle.Bin\\, C:\\Temp\\, /tmp/, /var/tmp/, /dev/shm/ or /home/, and the same written as %TEMP%, %TMP%, %APPDATA%, %LOCALAPPDATA%, %USERPROFILE%, %PUBLIC%, %ProgramData% or %ALLUSERSPROFILE% (or $env:)"
)
# Programs that run what they are given. Rules that mean others name how theirs differ from these.
POWERSHELLS = ("powershell.exe", "pwsh.exe")
COMMAND_SHELLS = ("cmd.exe", *POWERSHELLS)
SCRIPT_ENGINES = ("wscript.exe", "cscript.exe")
SCRIPT_HOSTS = (*SCRIPT_ENGINES, "mshta.exe", "rundll32.exe", "regsvr32.exe")
CODE_HOSTS = (*COMMAND_SHELLS, *SCRIPT_HOSTS)
UNIX_SHELLS = ("sh", "bash")
SHELLS = (*CODE_HOSTS, "certutil.exe", "bitsadmin.exe", "msbuild.exe", *UNIX_SHELLS)
# Activities of a connection that a host of ours opens and that is let through.
OUTBOUND = ("open", "allow", "flow", "tls_session", "bits_job")
_USER_WRITABLE = re.compile(
    r"\\users\\[^\\]+\\|\\windows\\(?:temp|tasks)\\|\\programdata\\(?!microsoft\\windows defender(?: advanced threat protection)?\\)|\\perflogs\\|\\\$recycle\.bin\\"
    r"|[a-z]:\\te?mp\\|(?:^|[\s\"'=])/(?:tmp|var/tmp|dev/shm|(?:home|users)/[^/]+)/"
    r"|(?:%|\$env:)(?:te?mp|(?:local)?appdata|userprofile|public|programdata|allusersprofile)\b",
    re.IGNORECASE,
)
_DRIVE_SLASH = re.compile(r"(?<![a-z])[a-z]:/(?!/)", re.IGNORECASE)
INSTALLED = "in \\Windows\\ or \\Program Files\\ (also (x86)) of a drive or in \\ProgramData\\Microsoft\\Windows Defender\\ or Windows Defender Advanced Threat Protection\\, and not user-writable"
_INSTALLED = re.compile(
    r"(?:\\\\\?\\)?(?:[a-z]:|\\device\\harddiskvolume\d+)\\(?:windows|program files(?: \(x86\))?|programdata\\microsoft\\windows defender(?: advanced threat protection)?)\\",
    re.IGNORECASE,
)
WELL_KNOWN_ACCOUNTS = frozenset(
    {
        "system",
        "local service",
        "network service",
        "anonymous logon",
        "localsystem",
        "root",
        "window manager",
        "font driver host",
    }
)


def stems(programs: Iterable[str]) -> tuple[str, ...]:
    """Return the names of programs without .exe, each once."""
    return tuple(dict.fromkeys(name.removesuffix(".exe") for name in programs))


@lru_cache(maxsize=16_384)
def is_user_writable(path: str | None) -> bool:
    """Return whether a path lies where an ordinary user may write, so that nobody vouches for what is there."""
    if not path:
        return False
    return _USER_WRITABLE.search(path.replace("/", "\\") if _DRIVE_SLASH.search(path) else path) is not None


@lru_cache(maxsize=16_384)
def is_installed(path: str | None) -> bool:
    """Return whether a program lies where only an administrator may put one."""
    return (
        bool(path)
        and _INSTALLED.match(cast(str, path)) is not None
        and "\\..\\" not in cast(str, path)
        and not is_user_writable(path)
    )


@lru_cache(maxsize=16_384)
def basename(path: str | None) -> str:
    """Return the file name of a path, in lower case; nothing for nothing."""
    if not path:
        return ""
    return path[max(path.rfind("\\"), path.rfind("/")) + 1 :].lower()


def is_person_or_service(user: str) -> bool:
    """Return whether an account is neither a machine's (name ends in $) nor the system's own."""
    return bool(user) and not user.endswith("$") and user.lower() not in WELL_KNOWN_ACCOUNTS
