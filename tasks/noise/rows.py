"""Rows of ordinary lines: a table's text with placeholders, read once, filled in by a scene's chance each time.

A row of a table gives the fields of one line, in the order of the table's columns and parted by ` | ` (which the last cell may hold itself);
`-` leaves a field out. In a cell stands `<user>`, one of the names in `DRAWS`, for what is drawn; `<a;b;c>` for one of several texts, and `<1..9>` for a
number. The same placeholder stands for the same thing throughout a line (`<word>`, `<word2>` are two words).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from operator import itemgetter
from random import Random
from typing import Any

from schema import FIELDS_OF, Account, Host
from tasks.scene import WORDS, Scene

Draw = Callable[[Scene, Host, Account], Any]
_PLACEHOLDER = re.compile(r"<([^<>]+)>")
_CHOICE = re.compile(r"<[^<>]*;[^<>]*>")
MOST_VERSIONS = 4  # of a row whose choices combine to more
_OF_HOST = {"<host>": "name", "<ip>": "ip"}  # cells that are a fact of the host


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of ordinary line.

    `blank` holds all its fields in order, those that are drawn still empty. Of these, `of_host` hold a fact of the host, `of_account` the
    account's name, `filled` what is drawn for them alone, in a %-template (empty for a thing as it is drawn), and `shared` some of what
    `draws` drew for several. An `aside` line happens on a host and to an account that no story concerns, as beside
    a story it could complete what a rule looks for. A line told `once` comes in no burst. `weight` is how often it comes against
    the other rows of its type.
    """

    event_type: str
    blank: dict[str, Any]
    of_host: tuple[tuple[str, str], ...]
    of_account: tuple[str, ...]
    filled: tuple[tuple[str, str, Draw], ...]
    draws: tuple[Draw, ...]
    shared: tuple[tuple[str, str, itemgetter[Any]], ...]
    aside: bool
    once: bool
    weight: float

    def write(self, scene: Scene, at: float) -> None:
        """Write one such line into a scene."""
        random, hosts, accounts = scene.random, scene.cast_hosts, scene.cast_accounts
        if self.aside:
            hosts = scene.hosts[True] + scene.hosts[False] or hosts
            accounts = scene.accounts[True] + scene.accounts[False] or accounts
        host, account = hosts[int(random() * len(hosts))], accounts[int(random() * len(accounts))]
        fields = self.blank.copy()
        for name, fact in self.of_host:
            fields[name] = host[fact]  # type: ignore[literal-required]
        for name in self.of_account:
            fields[name] = account["name"]
        for name, template, draw in self.filled:
            fields[name] = template % draw(scene, host, account) if template else draw(scene, host, account)
        if self.shared:
            facts = [draw(scene, host, account) for draw in self.draws]
            for name, template, chosen in self.shared:
                fields[name] = template % chosen(facts) if template else chosen(facts)
        if "parent_path" in fields:
            at = _moment_of_start(scene, fields, at)
        scene.lines.append((int(at), {"event_type": self.event_type, "fields": fields}))


def _moment_of_start(scene: Scene, fields: dict[str, str], at: float) -> float:
    """Move a program's start where the window has started its parent or its children: not before the former, nor after the latter."""
    host = fields["device_hostname"]
    others = [
        (time, row["fields"])
        for time, row in scene.lines
        if row["event_type"] == "process" and row["fields"].get("device_hostname") == host
    ]
    if not others:
        return at  # most often
    path, parent = fields["process_path"].lower(), fields["parent_path"].lower()
    parents = [time for time, other in others if other["process_path"].lower() == parent != path]
    children = [time for time, other in others if other.get("parent_path", "").lower() == path != parent]
    return min([max(at, min(parents, default=at)), *children])


# ---------------------------------------------------------------- what is drawn
def _peer(scene: Scene, host: Host) -> Host:
    """Return the host that a host talks to: always the same one in an incident, so that nobody seems to go from host to host."""
    hosts = scene.cast_hosts
    return hosts[hosts.index(host) - 1] if host in hosts else hosts[-1]


def _far(scene: Scene) -> Host:
    """Pick a host outside the cast, which no story concerns."""
    cast, hosts = scene.cast_hosts, scene.organisation.hosts_by_crown[False]
    host = scene.pick(hosts)
    return host if host not in cast else next((other for other in hosts if other not in cast), host)


_NAMES = tuple(map(str.title, WORDS))


def _number(low: int, high: int) -> Draw:
    count = high + 1 - low
    return lambda scene, host, account: low + int(scene.random() * count)


def _hexadecimal(digits: int) -> Draw:
    template = f"%0{digits}x"
    return lambda scene, host, account: template % scene.rng.getrandbits(4 * digits)


def _guid(scene: Scene, host: Host, account: Account) -> str:
    text = f"{scene.rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


DRAWS: dict[str, Draw] = {
    "host": lambda scene, host, account: host["name"],
    "ip": lambda scene, host, account: host["ip"],
    "user": lambda scene, host, account: account["name"],
    "other": lambda scene, host, account: scene.pick(scene.cast_accounts)["name"],
    "sid": lambda scene, host, account: (
        f"S-1-5-21-{int(1e9 + scene.random() * 3e9)}-{int(1100 + scene.random() * 8000)}"
    ),
    "peer": lambda scene, host, account: _peer(scene, host)["name"],
    "peer_ip": lambda scene, host, account: _peer(scene, host)["ip"],
    "far": lambda scene, host, account: _far(scene)["name"],
    "far_ip": lambda scene, host, account: _far(scene)["ip"],
    "public": lambda scene, host, account: scene.public_address(),
    "domain": lambda scene, host, account: scene.domain(),
    "word": lambda scene, host, account: WORDS[int(scene.random() * len(WORDS))],
    "Word": lambda scene, host, account: _NAMES[int(scene.random() * len(_NAMES))],
    "label": lambda scene, host, account: scene.base32(scene.between(16, 29)),
    "long": lambda scene, host, account: scene.base32(scene.between(30, 42)),
    "guid": _guid,
}


def _draw_of(name: str) -> Draw:
    """Return how a placeholder is drawn: a number of a range, hexadecimal digits (`hex8`), or by its name.

    Raises:
        KeyError: nothing of that name can be drawn.
    """
    if span := re.fullmatch(r"(\d+)\.\.(\d+)", name):
        return _number(int(span[1]), int(span[2]))
    if digits := re.fullmatch(r"hex(\d+)", name):
        return _hexadecimal(int(digits[1]))
    return DRAWS[name.rstrip("23")]


# ---------------------------------------------------------------- tables
def table(
    kind: str, columns: str, text: str, *, aside: bool = False, once: bool = False, **fixed: str
) -> tuple[Row, ...]:
    """Read a table of ordinary lines: each of its rows, in up to `MOST_VERSIONS` versions where something is chosen.

    Args:
        kind: event type and activity, as in `net_conn open`.
        columns: the fields that its cells give, parted by ` | `.
        text: one row a line.
        aside: the lines happen beside all stories.
        once: the lines come in no burst.
        fixed: cells that are the same in every row; device_hostname is `<host>` and actor_user `<user>` unless a table says otherwise.

    Raises:
        KeyError: a placeholder that nothing is drawn for.
        ValueError: a row has fewer cells than there are columns, or a number is none.
    """
    names = columns.split(" | ")
    event_type, activity = kind.split()
    usual = {"activity": activity, "device_hostname": "<host>", "actor_user": "<user>"}
    rows: list[Row] = []
    for line in text.strip().splitlines():
        cells = usual | fixed | dict(zip(names, line.strip().split(" | ", len(names) - 1), strict=True))
        versions = _versions(event_type, {name: cell for name, cell in cells.items() if cell not in ("", "-")})
        rows += [_row(event_type, version, 1 / len(versions), aside, once) for version in versions]
    return tuple(rows)


def _versions(event_type: str, cells: dict[str, str]) -> list[dict[str, str]]:
    """Return a row in several versions: with each combination of what `<a;b;c>` leaves to choose, or some of them where there are many."""
    choices = list(dict.fromkeys(match[0] for cell in cells.values() for match in _CHOICE.finditer(cell)))
    combinations = list(product(*(choice[1:-1].split(";") for choice in choices)))
    if len(combinations) > MOST_VERSIONS:
        combinations = Random("".join(choices)).sample(combinations, MOST_VERSIONS)
    versions = [_chosen(cells, dict(zip(choices, combination, strict=True))) for combination in combinations]
    return [version | _more(event_type, version) for version in versions]


def _chosen(cells: dict[str, str], options: dict[str, str]) -> dict[str, str]:
    """Return cells in which each choice is replaced by the option that it is given."""
    return {name: _CHOICE.sub(lambda match: options[match[0]], cell) for name, cell in cells.items()}


# What some sensors tell beside what all of them tell, by type.
MORE: dict[str, dict[str, str]] = {
    "process": {
        "process_pid": "<400..20000>",
        "process_uid": "{<guid>}",
        "process_integrity": "<Medium;Medium;High;System>",
        "process_hashes": "SHA256=<hex64>",
        "process_company": "<Microsoft Corporation;Example Software Ltd>",
        "process_original_name": "",  # the program's own
        "parent_cmd_line": "",  # the parent's path
    },
    "file": {"file_hashes": "SHA256=<hex64>"},
    "net_conn": {"src_port": "<49152..65535>"},
    "dns_query": {"answers": "<public>"},
    "http": {"bytes_out": "<0..4000>", "bytes_in": "<200..90000>"},
    "logon": {"auth_protocol": "Negotiate", "logon_process": "<User32;Advapi>"},
    "privilege": {"outcome": "success"},
    "account": {"src_ip": "<ip>"},
    "group": {"src_ip": "<ip>"},
    "service": {"run_as": "<LocalSystem;NT AUTHORITY\\LocalService>", "start_type": "<auto start;demand start>"},
    "share": {"access_mask": "<0x1;0x80;0x120089>", "dst_ip": "<ip>", "src_ip": "<peer_ip>"},
    "script": {
        "host_application": "<powershell.exe;C:\\Windows\\System32\\wsmprovhost.exe>",
        "engine_version": "5.1.<17763..26100>",
    },
    "directory": {"src_ip": "<peer_ip>", "access_mask": "0x20"},
    "control_change": {"process_path": "C:\\Windows\\System32\\svchost.exe", "src_ip": "<ip>"},
}
TALKATIVE = 0.35  # share of the versions that tell more


def _more(event_type: str, cells: dict[str, str]) -> dict[str, str]:
    """Return the cells that a talkative sensor adds to a version of a row: some of what its type has and the row lacks."""
    rng = Random("".join(cells.values()))
    missing = [name for name in MORE.get(event_type, ()) if name not in cells]
    if not missing or rng.random() > TALKATIVE:
        return {}
    program = cells.get("process_path", "")
    own = {
        "process_original_name": re.split(r"[/\\]", program)[-1],
        "parent_cmd_line": cells.get("parent_path", program),
    }
    more = {
        name: own.get(name) or MORE[event_type][name]
        for name in rng.sample(missing, rng.randint(1, min(3, len(missing))))
    }
    return {name: _CHOICE.sub(lambda match: rng.choice(match[0][1:-1].split(";")), cell) for name, cell in more.items()}


@cache
def _numbers(event_type: str) -> frozenset[str]:
    """Return the names of a type's fields that hold whole numbers."""
    fields = FIELDS_OF[event_type].model_fields
    return frozenset(name for name, field in fields.items() if re.search(r"\bint\b", str(field.annotation)))


def _row(event_type: str, cells: dict[str, str], weight: float, aside: bool, once: bool) -> Row:
    """Compile the cells of one line."""
    numbers = _numbers(event_type)
    places = {name: [match[1] for match in _PLACEHOLDER.finditer(cell)] for name, cell in cells.items()}
    times = Counter(place for names in places.values() for place in set(names))
    drawn = {place: _draw_of(place) for place in times}
    filled: list[tuple[str, str, Draw]] = []
    shared: list[tuple[str, str, itemgetter[Any]]] = []
    told = {name: cell for name, cell in cells.items() if places[name] and cell not in (*_OF_HOST, "<user>")}
    common = [place for place, count in times.items() if count > 1]
    for name, cell in told.items():
        is_whole = name in numbers or (cell == f"<{places[name][0]}>" and ".." not in cell)
        template = "" if is_whole else _PLACEHOLDER.sub("%s", cell.replace("%", "%%"))
        if set(places[name]).isdisjoint(common):
            filled.append((name, template, _together(tuple(drawn[place] for place in places[name]))))
        else:
            common += [place for place in places[name] if place not in common]
            shared.append((name, template, itemgetter(*map(common.index, places[name]))))
    return Row(
        event_type,
        {name: "" if places[name] else int(cell) if name in numbers else cell for name, cell in cells.items()},
        tuple((name, _OF_HOST[cell]) for name, cell in cells.items() if cell in _OF_HOST),
        tuple(name for name, cell in cells.items() if cell == "<user>"),
        tuple(filled),
        tuple(drawn[place] for place in common),
        tuple(shared),
        aside,
        once,
        weight,
    )


def _together(draws: tuple[Draw, ...]) -> Draw:
    """Return what draws several things for one template."""
    if len(draws) == 1:
        return draws[0]
    if len(draws) == 2:
        first, second = draws
        return lambda scene, host, account: (first(scene, host, account), second(scene, host, account))
    return lambda scene, host, account: tuple([draw(scene, host, account) for draw in draws])
