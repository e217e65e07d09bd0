"""What rules read and what they say: the window of events in time order, and findings.

A rule sees lines through a `Window`, which also knows which addresses are ours and what threat intelligence says. All
numbers that a rule compares with go through `Limits`, so the margin gate can ask the same rules with every threshold a
little tighter and a little looser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Generic, Literal, NamedTuple, TypeVar, cast, get_args

from schema import Fields, Incident, epoch_s
from world import World, account_name

Scope = Literal["host", "network", "identity", "data"]
Strength = Literal["confirmed", "suspicious"]
F = TypeVar("F", bound=Fields)
Kind = tuple[type[Fields], str]  # what sort of line: its type of fields and its activity
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Limits:
    """How far every threshold is moved: counts by whole numbers, sizes and spans by a factor, edges of periods by seconds."""

    count: int = 0
    factor: float = 1.0
    edge_s: float = 0.0

    def at_least(self, number: int) -> int:
        """A count that must be reached."""
        return number + self.count

    def size(self, number: float) -> float:
        """A size that must be reached."""
        return number * self.factor

    def within(self, seconds: float) -> float:
        """A span that must not be exceeded."""
        return seconds / self.factor


EXACT = Limits()
TIGHTER = Limits(count=1, factor=1.1, edge_s=30.0)
LOOSER = Limits(count=-1, factor=0.9, edge_s=-30.0)


@dataclass(slots=True)
class Line(Generic[F]):
    """One event of the window: its time in epoch seconds, its id, its host and user, its typed fields.

    `place` counts lines by time, then by id (L1-9 before L1-10), so that lines of one second have one order however they are listed.
    """

    t: float
    log_id: str
    host: str
    user: str
    f: F
    place: int


class Finding(NamedTuple):
    """What one rule claims: the technique, the lines that show it, and whom it concerns.

    `host`, `account`, `tool` and `remote` are empty where the rule cannot name one; a finding without a host, an account
    or a tool cannot be covered by a ticket. `hosts` and `accounts` are all that it concerns, `host` and `account` among
    them. `tool_trusted` is False for a program in a user-writable folder.
    """

    rule_id: str
    technique: str
    tactic: str
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
    probing: bool = False
    explained_by: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with what the playbook says of it. `find` maps a window to findings.

    What calls a rule up: `needs` are kinds of lines (type and activity), of which the window must hold `least`; `clues` are
    programs, parents and meanings of commands (`verifier.commands`). Without either it cannot find anything.
    """

    rule_id: str
    technique: str
    tactic: str
    says: str
    source: str
    needs: frozenset[Kind]
    find: Callable[[Window, Rule], Iterable[Finding]]
    probing: bool = False
    clues: frozenset[str] = frozenset()
    least: int = 1

    def finding(
        self,
        lines: Iterable[Line],
        *,
        confirmed: bool,
        scope: Scope,
        host: str = "",
        account: str = "",
        program: str = "",
        remote: str = "",
        hosts: Iterable[str] = (),
        accounts: Iterable[str] = (),
        impact: bool = False,
    ) -> Finding:
        """A finding of this rule on these lines; `program` is a path, of which the file name counts."""
        ordered = sorted({line.log_id: line for line in lines}.values(), key=_by_place)
        return Finding(
            rule_id=self.rule_id,
            technique=self.technique,
            tactic=self.tactic,
            strength="confirmed" if confirmed else "suspicious",
            scope=scope,
            evidence=tuple(line.log_id for line in ordered),
            first=ordered[0].t,
            last=ordered[-1].t,
            host=host,
            account=account,
            tool=basename(program),
            tool_trusted=not is_user_writable(program),
            remote=remote,
            hosts=tuple(sorted({host, *hosts} - {""})),
            accounts=tuple(sorted({account, *accounts} - {""})),
            impact=impact,
            probing=self.probing,
        )

    def of_one(
        self,
        lines: Sequence[Line],
        *,
        confirmed: bool,
        scope: Scope = "host",
        program: str | None = None,
        otherwise: str = "",
        impact: bool = False,
    ) -> Finding:
        """A finding of this rule on lines of one host and one user; by the one program that they name, unless `program` says it."""
        return self.finding(
            lines,
            confirmed=confirmed,
            scope=scope,
            host=lines[0].host,
            account=lines[0].user,
            program=one_program(lines, otherwise=otherwise) if program is None else program,
            impact=impact,
        )


def kinds(fields: type[Fields], *activities: str) -> tuple[Kind, ...]:
    """The kinds of lines that have a type of fields and one of some activities; without any, all that the type has."""
    return tuple((fields, activity) for activity in activities or get_args(fields.model_fields["activity"].annotation))


def rule(
    rule_id: str,
    technique: str,
    tactic: str,
    *,
    says: str,
    source: str,
    needs: Sequence[type[Fields] | Kind] = (),
    least: int = 1,
    clues: Iterable[str] = (),
    probing: bool = False,
) -> Callable[[Callable[[Window, Rule], Iterable[Finding]]], Rule]:
    """Make a rule of a function from the window to findings."""

    def wrap(find: Callable[[Window, Rule], Iterable[Finding]]) -> Rule:
        needed = frozenset(kind for need in needs for kind in ((need,) if isinstance(need, tuple) else kinds(need)))
        return Rule(rule_id, technique, tactic, says, source, needed, find, probing, frozenset(clues), least)

    return wrap


class Window:
    """An incident's lines in time order, by type of fields."""

    __slots__ = (
        "_by_fields",
        "_external",
        "_views",
        "end",
        "kinds",
        "limits",
        "lines",
        "start",
        "world",
    )

    def __init__(self, incident: Incident, world: World, limits: Limits = EXACT) -> None:
        by_fields: dict[type[Fields], list[Line]] = {}
        lines: list[Line] = []
        for event in incident.events:
            fields = event.fields
            host, user = fields.device_hostname or "", fields.actor_user
            t = epoch_s(event.timestamp)
            lines.append(Line(t, event.log_id, host, account_name(user) if user else "", fields, 0))
        lines.sort(key=_by_time)
        counts: dict[Kind, int] = {}
        for place, line in enumerate(lines):
            line.place = place
            fields = line.f
            of_type = by_fields.get(type(fields))
            if of_type is None:
                by_fields[type(fields)] = [line]
            else:
                of_type.append(line)
            kind = (type(fields), fields.activity)
            counts[kind] = counts.get(kind, 0) + 1
        self.world = world
        self.limits = limits
        self.lines = lines
        self.start = lines[0].t
        self.end = lines[-1].t
        self.kinds = counts  # how many lines of each kind there are
        self._by_fields = by_fields
        self._external: dict[str | None, bool] = {None: False, "": False}
        self._views: dict[Callable[[Window], object], object] = {}

    def of(self, fields: type[F]) -> list[Line[F]]:
        """The lines whose fields are of one type, in time order."""
        return self._by_fields.get(fields, [])

    def view(self, make: Callable[[Window], V]) -> V:
        """What a function makes of this window, made once however many rules ask."""
        if make not in self._views:
            self._views[make] = make(self)
        return cast(V, self._views[make])

    def is_external(self, ip: str | None) -> bool:
        """Whether an address is known and not ours."""
        known = self._external.get(ip)
        if known is None:
            known = self._external[ip] = not self.world.is_internal(cast(str, ip))
        return known

    def host_at(self, ip: str) -> str:
        """The host that an address of ours belongs to; the address itself where none is known."""
        host = self.world.hosts_by_ip.get(ip)
        return host["name"] if host else ip

    def intelligence(self, value: str | None) -> str:
        """`high`, `low` or nothing: the confidence of an indicator on an address or a domain."""
        return self.view(_indicators).get(_plain(value), "") if value else ""


def _indicators(window: Window) -> dict[str, str]:
    return {_plain(indicator["value"]): indicator["confidence"] for indicator in window.world.indicators}


def _plain(name: str) -> str:
    """An address or a domain as it is compared: upper case and a closing dot make no difference."""
    return name.lower().rstrip(".")


_by_place = attrgetter("place")


def _by_time(line: Line) -> tuple[float, int, str]:
    return line.t, len(line.log_id), line.log_id


def crowded(lines: Sequence[Line[F]], seconds: float, least: int, what: Callable[[Line[F]], object]) -> list[Line[F]]:
    """The lines (of some in time order) that lie in any run of at most so many seconds with at least so many different things."""
    if len(lines) < least:
        return []
    if lines[-1].t - lines[0].t <= seconds:
        return list(lines) if len({what(line) for line in lines}) >= least else []
    kept: set[int] = set()
    for start, first in enumerate(lines):
        run = [index for index in range(start, len(lines)) if lines[index].t - first.t <= seconds]
        if len({what(lines[index]) for index in run}) >= least:
            kept.update(run)
    return [lines[index] for index in sorted(kept)]


def one_program(lines: Iterable[Line], *, otherwise: str = "") -> str:
    """The program that lines name: `otherwise` where none is named, nothing where they name several."""
    paths = {path.lower() for line in lines if (path := getattr(line.f, "process_path", None))}
    return (paths.pop() if len(paths) == 1 else "") if paths else otherwise


# ---------------------------------------------------------------- what a path or a name says
USER_WRITABLE = (
    "anywhere below \\Users\\ or in \\ProgramData\\ (but for \\ProgramData\\Microsoft\\Windows Defender\\), \\Windows\\Temp\\, \\Windows\\Tasks\\, "
    "\\PerfLogs\\, \\$Recycle.Bin\\, C:\\Temp\\, /tmp/, /var/tmp/, /dev/shm/ or /home/, and the same written as %APPDATA%, %TEMP% and the like"
)
# Activities of a connection that a host of ours opens and that is let through.
OUTBOUND = ("open", "allow", "flow", "tls_session", "bits_job")
_USER_WRITABLE = re.compile(
    r"\\users\\[^\\]+\\|\\windows\\(?:temp|tasks)\\|\\programdata\\(?!microsoft\\windows defender\\)|\\perflogs\\|\\\$recycle\.bin\\"
    r"|[a-z]:\\te?mp\\|(?:^|[\s\"'=])/(?:tmp|var/tmp|dev/shm|(?:home|users)/[^/]+)/"
    r"|(?:%|\$env:)(?:te?mp|(?:local)?appdata|userprofile|public|programdata|allusersprofile)\b",
    re.IGNORECASE,
)
_DRIVE_SLASH = re.compile(r"(?<![a-z])[a-z]:/(?!/)", re.IGNORECASE)
INSTALLED = "in \\Windows\\ or \\Program Files\\ (also (x86)) of a drive or in \\ProgramData\\Microsoft\\Windows Defender\\, and not user-writable"
_INSTALLED = re.compile(
    r"(?:\\\\\?\\)?(?:[a-z]:|\\device\\harddiskvolume\d+)\\(?:windows|program files(?: \(x86\))?|programdata\\microsoft\\windows defender)\\",
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


@lru_cache(maxsize=16_384)
def is_user_writable(path: str | None) -> bool:
    """Whether a path lies where an ordinary user may write, so that nobody vouches for what is there."""
    if not path:
        return False
    return _USER_WRITABLE.search(path.replace("/", "\\") if _DRIVE_SLASH.search(path) else path) is not None


@lru_cache(maxsize=16_384)
def is_installed(path: str | None) -> bool:
    """Whether a program lies where only an administrator may put one."""
    return (
        bool(path)
        and _INSTALLED.match(cast(str, path)) is not None
        and "\\..\\" not in cast(str, path)
        and not is_user_writable(path)
    )


@lru_cache(maxsize=16_384)
def basename(path: str | None) -> str:
    """The file name of a path, in lower case; nothing for nothing."""
    if not path:
        return ""
    return path[max(path.rfind("\\"), path.rfind("/")) + 1 :].lower()


def is_person_or_service(user: str) -> bool:
    """Whether an account is neither a machine's (name ends in $) nor the system's own."""
    return bool(user) and not user.endswith("$") and user.lower() not in WELL_KNOWN_ACCOUNTS
