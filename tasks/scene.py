"""The stage on which scenario families play: a cast, a clock, and the lines written so far; and the record of a family.

A scene knows nothing of labels. Its cast always has two crown jewels among five hosts and two privileged accounts among
five, whomever the story concerns, so the presence of an important name tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from schema import MINUTES_OF_DAY, Account, BadRequestError, Category, Host, Indicator, Sensor, Ticket, shown

if TYPE_CHECKING:
    from world import Organisation

T = TypeVar("T")
Strength = Literal["confirmed", "suspicious", "below"]
Explanation = Literal["", "ticket", "tool", "scanner"]
_MINUTES = tuple(f"T{minute}" for minute in MINUTES_OF_DAY)
_SECONDS = tuple(f"{second:02d}Z" for second in range(60))
SPAN_S = 5400  # a window covers an hour and a half at most
_PUBLIC_FIRST = (5, 31, 45, 62, 77, 81, 89, 94, 103, 141, 146, 151, 176, 185, 193, 194, 195, 212, 213, 217)
_PUBLIC_NETWORKS = tuple(f"{first}.{second}" for first in _PUBLIC_FIRST for second in range(1, 250))
_SYLLABLES = (
    "ba",
    "cor",
    "del",
    "fin",
    "gro",
    "hel",
    "ino",
    "kal",
    "lum",
    "mer",
    "nov",
    "ori",
    "pra",
    "qui",
    "ras",
    "sol",
    "tev",
    "umi",
    "vex",
    "zan",
)
WORDS = tuple(map("".join, product(_SYLLABLES, repeat=3)))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a family is played: its strength, its explanation, and whether on a crown jewel, by a privileged account or from outside."""

    strength: Strength
    explanation: Explanation = ""
    on_crown_jewel: bool = False
    privileged: bool = False
    outside: bool = False  # whoever works on a cloud does so from the internet


@dataclass(slots=True)
class TicketScope:
    """The hosts, account, program and time that a ticket has to cover to explain a story."""

    hosts: tuple[str, ...]
    account: str
    tool: str
    first: float
    last: float


@dataclass(slots=True)
class Scene:
    """Lines and facts of one incident in the making. Times are seconds since midnight of `day`."""

    rng: Random
    organisation: Organisation
    day: str
    start: float
    lines: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    indicators: list[Indicator] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    hosts: dict[bool, list[Host]] = field(default_factory=dict)
    accounts: dict[bool, list[Account]] = field(default_factory=dict)
    cast_hosts: list[Host] = field(default_factory=list)
    cast_accounts: list[Account] = field(default_factory=list)
    random: Callable[[], float] = field(init=False)  # shortcut to `rng.random`

    def __post_init__(self) -> None:
        self.random = self.rng.random
        hosts, accounts = self.organisation.hosts_by_crown, self.organisation.accounts_by_privilege
        self.hosts = {True: self.some(hosts[True], 2), False: self.some(hosts[False], 3)}
        self.accounts = {True: self.some(accounts[True], 2), False: self.some(accounts[False], 3)}
        self.cast_hosts = self.hosts[True] + self.hosts[False]
        self.cast_accounts = self.accounts[True] + self.accounts[False]

    # ------------------------------------------------------------ chance
    def pick(self, options: Sequence[T]) -> T:
        """Pick one of the options, each equally likely."""
        return options[int(self.random() * len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Pick `count` different options."""
        total, random = len(options), self.random
        indices: dict[int, None] = {}
        while len(indices) < count:
            indices[int(random() * total)] = None
        return [options[index] for index in indices]

    def between(self, low: float, high: float) -> int:
        """Draw a whole number from low up to, not including, high."""
        return int(low + self.random() * (high - low))

    def chance(self, probability: float) -> bool:
        """Return whether an event of that probability happens."""
        return self.random() < probability

    # ------------------------------------------------------------ cast
    def host(self, crown: bool) -> Host:
        """Take a host of the cast that no family has used yet, of that tier if one is left."""
        deck = self.hosts[crown] or self.hosts[not crown] or [self.pick(self.cast_hosts)]
        return deck.pop()

    def account(self, privileged: bool) -> Account:
        """Take an account of the cast that no family has used yet, of that standing if one is left."""
        deck = self.accounts[privileged] or self.accounts[not privileged] or [self.pick(self.cast_accounts)]
        return deck.pop()

    def user_of(self, tool: str, plan: Plan) -> Account:
        """Choose who uses a tool: an account of the department that may use it (if the tool excuses it), else another one.

        If the department has no privileged account, an ordinary one is chosen; every department that may use a tool has an account.
        """
        owner = next((entry["department"] for entry in self.organisation.tools if entry["name"] == tool), None)
        if owner is None:
            return self.account(plan.privileged)
        owns = plan.explanation == "tool"
        deck = self.accounts[plan.privileged]
        for account in deck:
            if (account["department"] == owner) == owns:
                deck.remove(account)
                return account
        everybody = self.organisation.accounts_by_privilege[plan.privileged]
        fitting = [account for account in everybody if (account["department"] == owner) == owns]
        if not fitting:
            everybody = tuple(self.organisation.accounts.values())
            fitting = [account for account in everybody if (account["department"] == owner) == owns]
        return self.pick(fitting)

    # ------------------------------------------------------------ names
    def word(self) -> str:
        """Make up a word."""
        return WORDS[int(self.random() * len(WORDS))]

    def base32(self, length: int) -> str:
        """Make text of `length` characters that looks like base32-encoded data."""
        random, letters = self.random, "abcdefghijklmnopqrstuvwxyz234567"
        return "".join([letters[int(random() * 32)] for _ in range(length)])

    def public_address(self) -> str:
        """Make up an address on the internet."""
        random = self.random
        return f"{_PUBLIC_NETWORKS[int(random() * len(_PUBLIC_NETWORKS))]}.{int(1 + random() * 249)}.{int(2 + random() * 248)}"

    def domain(self) -> str:
        """Make up a domain."""
        return f"{self.word()}-{self.pick(_SYLLABLES)}.{self.pick(('com', 'net', 'org', 'io', 'info'))}"

    def writable_path(self, user: str) -> str:
        """Make up a program's path in a folder where its user may write."""
        folder = self.pick(("AppData\\Local\\Temp", "AppData\\Roaming", "Downloads", "Documents", "Desktop"))
        return f"C:\\Users\\{user}\\{folder}\\{self.word()}.exe"

    def installed_path(self) -> str:
        """Make up a program's path where an administrator installed it."""
        name = self.word()
        return f"C:\\Program Files\\{name.title()}\\{name}.exe"

    # ------------------------------------------------------------ lines and facts
    def moment(self, room: float) -> float:
        """Draw a time at which something that lasts `room` seconds can begin."""
        return self.start + self.between(0, max(1.0, SPAN_S - room))

    def add(self, at: float, event_type: str, activity: str, host: str = "", user: str = "", **fields: Any) -> float:
        """Write a line; return its time."""
        row: dict[str, Any] = {"activity": activity}
        if host:
            row["device_hostname"] = host
        if user:
            row["actor_user"] = user
        self.lines.append((int(at), {"event_type": event_type, "fields": row | fields}))
        return at

    def clock(self, at: float) -> str:
        """Return the timestamp of a time of this day."""
        second = int(at)
        return self.day + _MINUTES[second // 60] + _SECONDS[second % 60]

    def ticket(
        self,
        hosts: Sequence[str],
        accounts: Sequence[str],
        tool: str,
        first: float,
        last: float,
        status: str = "approved",
    ) -> None:
        """Put a change ticket into the world."""
        self.tickets.append(
            {
                "ticket_id": f"CHG-{self.between(1000, 9999)}",
                "status": status,  # type: ignore[typeddict-item]
                "hosts": list(hosts),
                "accounts": list(accounts),
                "tool": tool,
                "starts_at": self.clock(max(0.0, first)),
                "ends_at": self.clock(min(86_399.0, last)),
            }
        )

    def list_stranger(self) -> None:
        """Let intelligence list an address or a name that nobody here has met."""
        stranger = self.public_address() if self.chance(0.6) else self.domain()
        self.indicators.append({"value": stranger, "confidence": self.pick(("high", "low"))})

    def cover(self, scope: TicketScope) -> None:
        """Put a ticket into the world that explains what a family did, with room to spare."""
        self.ticket(
            self._with_another(scope.hosts),
            [scope.account],
            scope.tool,
            scope.first - self.between(300, 2400),
            scope.last + self.between(300, 2400),
        )

    def _with_another(self, hosts: Sequence[str]) -> list[str]:
        """Return the hosts, now and then with one of the cast that has nothing to do with them."""
        return sorted({*hosts, self.pick(self.cast_hosts)["name"]}) if self.chance(0.4) else sorted(hosts)

    def nearly_cover(self, scope: TicketScope) -> None:
        """Put a ticket into the world that misses by one fact: host, account, program, time or approval."""
        account = scope.account or self.pick(self.cast_accounts)["name"]
        tool = scope.tool or self.pick(self.organisation.tools)["name"]
        hosts, accounts, status = self._with_another(scope.hosts), [account], "approved"
        first, last = scope.first - self.between(300, 2400), scope.last + self.between(300, 2400)
        miss = self.between(0 if scope.hosts else 1, 6)
        if miss == 0:
            hosts = [self.other_name([host["name"] for host in self.cast_hosts], scope.hosts)]
        elif miss == 1:
            accounts = [self.other_name([account["name"] for account in self.cast_accounts], [scope.account])]
        elif miss == 2:
            tool = self.other_name([entry["name"] for entry in self.organisation.tools], [scope.tool])
        elif miss == 3:
            first, last = scope.first - self.between(5400, 9000), scope.first - self.between(300, 1800)
        elif miss == 4:
            first, last = scope.last + self.between(300, 1800), scope.last + self.between(5400, 9000)
        else:
            status = self.pick(("pending", "rejected"))
        self.ticket(hosts, accounts, tool, first, last, status)

    def other_name(self, names: Sequence[str], than: Sequence[str]) -> str:
        """Pick one of the names that is not in `than`."""
        return self.pick([name for name in names if name not in than])


# ---------------------------------------------------------------- families and their actors
ALL: tuple[Strength, ...] = ("confirmed", "suspicious", "below")
FIRM: tuple[Strength, ...] = ("confirmed", "below")
SOFT: tuple[Strength, ...] = ("suspicious", "below")
HOST = ("quarantine_host",)
ADDRESS = ("block_ip",)
GRAVE = ("escalate",)
EITHER = ("escalate", "block_ip")  # by whether work on a cloud comes from inside or outside
PROBE: tuple[Explanation, ...] = ("scanner",)
TOOL: tuple[Explanation, ...] = ("ticket", "tool")


Platform = Literal["windows", "linux", "network", "cloud", "kubernetes", "saas"]
FamilySplit = Literal["train", "val_family", "test_family"]


@dataclass(frozen=True, slots=True)
class Family:
    """A scenario family: its story, the ATT&CK tactic as a category, and what plans it can follow.

    `reaches` are the decisions that a confirmed, unexplained strength leads to without a crown jewel or privilege. `rules` are the rules of
    the verifier that its hostile tellings meet, the one that it is for first. `split` says for what it is played: training, choosing
    a model, or testing it (families of the held-out tactic test, whatever it says). `tellings` are the rows by strength of a family that
    is made of rows.
    """

    name: str
    technique: str
    category: Category
    tell: Callable[[Scene, Plan], TicketScope]
    reaches: tuple[str, ...]
    strengths: tuple[Strength, ...] = ALL
    explanations: tuple[Explanation, ...] = ("ticket",)
    single: bool = False  # one thing decides: a line, or a burst of like lines of one source
    names_account: bool = True  # only then can it concern a privileged account
    names_host: bool = True  # only then can it concern a crown jewel
    rules: tuple[str, ...] = ()
    platform: Platform = "windows"
    split: FamilySplit = "train"
    most_lines: int = 18  # that it tells; a look-alike needs room for them
    tellings: Mapping[Strength, Sequence[Any]] = field(default_factory=dict, repr=False, compare=False)

    def play(self, scene: Scene, plan: Plan) -> TicketScope:
        """Tell the story in a scene as a plan says, and return what a ticket has to cover to explain it.

        Raises:
            BadRequestError: the family has no such strength or explanation.
        """
        strengths = (
            (*self.strengths, "confirmed") if plan.explanation == "scanner" else self.strengths
        )  # it probes for real
        if plan.strength not in strengths or plan.explanation not in ("", *self.explanations):
            raise BadRequestError(
                f"the family {self.name} is told by the strengths {', '.join(self.strengths)} and the explanations "
                f"{', '.join(self.explanations) or 'none'}; got {shown(plan.strength)} and {shown(plan.explanation)}"
            )
        return self.tell(scene, plan)


class Actor(NamedTuple):
    """The host, its address and the account at work on it that a story concerns."""

    host: str
    ip: str
    user: str
    source: str = ""  # of work on a cloud: the host's address, or one on the internet

    def scope(self, tool: str, first: float, last: float) -> TicketScope:
        """Return what a ticket has to cover; `tool` is a program's path or name, or a kind of work."""
        return TicketScope((self.host,), self.user, tool[tool.rfind("\\") + 1 :].lower(), first, last)


def actor(scene: Scene, plan: Plan, tool: str = "") -> Actor:
    """Take a host and an account that fit the plan; with a tool, an account that may or may not use it."""
    host = scene.host(plan.on_crown_jewel)
    user = scene.user_of(tool, plan) if tool else scene.account(plan.privileged)
    source = scene.public_address() if plan.outside else host["ip"]
    return Actor(host["name"], host["ip"], user["name"], source)


def other_host(scene: Scene, who: Actor) -> Actor:
    """Pick another host of the cast for the same account."""
    host = scene.pick([host for host in scene.cast_hosts if host["name"] != who.host])
    return Actor(host["name"], host["ip"], who.user)


def other_account(scene: Scene, who: Actor) -> str:
    """Pick another account of the cast."""
    return scene.pick([account["name"] for account in scene.cast_accounts if account["name"] != who.user])
