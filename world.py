"""The organisation around an incident: its hosts and accounts, its planned work, and its intelligence on the outside.

The environment makes it from a seed and no player can change it. `Organisation` is the lasting part (hosts, accounts, approved
tools, scanners); a `World` adds the facts around one incident (change tickets, threat intelligence, sensor outages).
A world's rows are the rows that the defender reads, so `World.from_context` of an observation restores everything
that the verifier needs.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, Literal

from schema import Account, Context, Host, Indicator, Scanner, Sensor, Ticket, Tool, account_name

# Private and special ranges (RFC 1918, RFC 3927, RFC 4193, RFC 4291, RFC 6598) and the address at which Azure's own platform
# answers its virtual machines (Microsoft documents 168.63.129.16): internal if nothing else is declared.
PRIVATE_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "168.63.129.16/32",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
)

MAX_NAME = 200  # characters; longer text is a command or a path, no account
DEPARTMENTS = ("finance", "engineering", "sales", "legal", "it_ops", "security")
# (role, name stem, machines in an organisation, OS-neutral); criticality is drawn independently of the role
_ROLES = (
    ("workstation", "WKS", 22),
    ("file_server", "FIL", 4),
    ("database", "SQL", 4),
    ("web_server", "WEB", 4),
    ("mail_server", "MBX", 2),
    ("domain_controller", "DIR", 3),
    ("build_server", "BLD", 3),
)
_TIERS: tuple[Literal["crown_jewel", "standard", "lab"], ...] = ("crown_jewel", "standard", "lab")
_GIVEN = (
    "ana",
    "ben",
    "cara",
    "dev",
    "eli",
    "fay",
    "gus",
    "hana",
    "ivo",
    "jude",
    "kim",
    "lea",
    "max",
    "nia",
    "omar",
    "pia",
)
_FAMILY = (
    "adler",
    "bose",
    "costa",
    "dunn",
    "evans",
    "fuchs",
    "grant",
    "haas",
    "ito",
    "jansen",
    "kaya",
    "lund",
    "moro",
    "novak",
)
_SERVICES = ("backup", "deploy", "monitor", "sync", "report", "scan")
# The program of lines that name none, such as a script's: it is shown with every window.
STANDS_FOR_ANY = "powershell.exe"
# Programs that serve a department as well as an intruder.
TOOL_NAMES = (
    "psexec.exe",
    "procdump.exe",
    "nmap.exe",
    "rclone.exe",
    "anydesk.exe",
    "powershell.exe",
    "certutil.exe",
    "wmic.exe",
    "schtasks.exe",
    "mshta.exe",
    "rundll32.exe",
    "regsvr32.exe",
    "bitsadmin.exe",
    "vssadmin.exe",
    "ntdsutil.exe",
    "7z.exe",
    "winscp.exe",
    "python.exe",
)


@lru_cache(maxsize=1024)
def _parse(networks: tuple[str, ...]) -> tuple[tuple[tuple[int, int], ...], tuple[ipaddress.IPv6Network, ...]]:
    """Parse networks: those of version 4 as (address, mask) numbers, and those of version 6."""
    parsed = [ipaddress.ip_network(network) for network in networks]
    return (
        tuple((int(network.network_address), int(network.netmask)) for network in parsed if network.version == 4),
        tuple(network for network in parsed if network.version == 6),
    )


@lru_cache(maxsize=1024)
def _with_local(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the networks with the loopback and link-local ones, which belong to everybody."""
    return (*networks, *PRIVATE_NETWORKS[4:])


def in_networks(ip: str, networks: tuple[str, ...]) -> bool:
    """Return whether an address lies in one of the networks; text that is no address lies in none."""
    version_4, version_6 = _parse(networks)
    try:
        value = int.from_bytes(socket.inet_pton(socket.AF_INET, ip), "big")  # ten times as fast as ipaddress
    except (OSError, UnicodeError, ValueError):
        try:
            address = ipaddress.IPv6Address(ip)
        except ValueError:
            return False
        if not address.ipv4_mapped:
            return any(address in network for network in version_6)
        value = int(address.ipv4_mapped)
    return any(value & mask == network for network, mask in version_4)


@dataclass(frozen=True, slots=True)
class Organisation:
    """The lasting part: 42 hosts, 30 accounts, one address block, the tools each department may use, two scanners."""

    networks: tuple[str, ...]
    hosts: Mapping[str, Host]
    accounts: Mapping[str, Account]
    tools: tuple[Tool, ...]
    scanners: tuple[Scanner, ...]
    hosts_by_ip: Mapping[str, Host]
    hosts_by_crown: Mapping[bool, tuple[Host, ...]]
    accounts_by_privilege: Mapping[bool, tuple[Account, ...]]


@lru_cache(maxsize=512)
def make_organisation(seed: int) -> Organisation:
    """Make the organisation of a seed; the same seed gives the same organisation in any process."""
    rng = Random(seed)
    block = rng.randrange(16, 240)
    hosts = _make_hosts(rng, block)
    accounts = _make_accounts(rng)
    staffed = {account["department"] for account in accounts.values()}
    owners = [department for department in DEPARTMENTS if department in staffed]
    tools: tuple[Tool, ...] = tuple({"name": name, "department": rng.choice(owners)} for name in TOOL_NAMES)
    return Organisation(
        networks=(f"10.{block}.0.0/16", f"192.168.{block}.0/24"),
        hosts=hosts,
        accounts=accounts,
        tools=tools,
        scanners=_make_scanners(rng, block),
        hosts_by_ip={host["ip"]: host for host in hosts.values()},
        hosts_by_crown={
            crown: tuple(host for host in hosts.values() if (host["criticality"] == "crown_jewel") is crown)
            for crown in (True, False)
        },
        accounts_by_privilege={
            flag: tuple(account for account in accounts.values() if account["privileged"] is flag)
            for flag in (True, False)
        },
    )


def _make_hosts(rng: Random, block: int) -> dict[str, Host]:
    site = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(3))
    hosts: dict[str, Host] = {}
    for subnet, (role, stem, machines) in enumerate(_ROLES):
        for index in range(machines):
            name = f"{site}-{stem}-{index + 1:02d}"
            # a third each: neither the role nor the tier alone says what deserves an escalation
            criticality: Literal["crown_jewel", "standard", "lab"]
            criticality = _TIERS[index % 3] if machines > 2 else rng.choice(_TIERS[:2])
            ip = f"10.{block}.{subnet + 1}.{10 + index}"
            hosts[name] = {"name": name, "ip": ip, "role": role, "criticality": criticality}
    return hosts


def _make_accounts(rng: Random) -> dict[str, Account]:
    people = rng.sample([f"{first}.{last}" for first in _GIVEN for last in _FAMILY], 24)
    accounts: dict[str, Account] = {}
    kinds: tuple[tuple[Literal["person", "service"], list[str]], ...] = (
        ("person", people),
        ("service", [f"svc_{service}" for service in _SERVICES]),
    )
    for kind, names in kinds:
        for index, name in enumerate(names):
            department = rng.choice(DEPARTMENTS)
            accounts[name] = {"name": name, "kind": kind, "privileged": index % 3 == 0, "department": department}
    return accounts


def _make_scanners(rng: Random, block: int) -> tuple[Scanner, ...]:
    return (
        {
            "ip": f"10.{block}.200.{rng.randrange(5, 60)}",
            "targets": [f"10.{block}.{subnet}.0/24" for subnet in (1, 2, 3, 4)],
        },
        {
            "ip": f"198.18.{block}.{rng.randrange(5, 250)}",
            "targets": [f"10.{block}.{subnet}.0/24" for subnet in (4, 5)],
        },
    )


@dataclass(slots=True)
class World:
    """All that can be looked up about one incident. Rows have the shapes of `schema.Context`.

    An empty world (nothing declared, as with imported logs) counts private address ranges as internal and
    every host as standard; it explains nothing.
    """

    networks: tuple[str, ...] = PRIVATE_NETWORKS
    hosts: Mapping[str, Host] = field(default_factory=dict)
    hosts_by_ip: Mapping[str, Host] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    tools: tuple[Tool, ...] = ()
    scanners: tuple[Scanner, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    now: str = ""  # when the SIEM raised the alert; empty if unknown
    alerted: str = ""  # log id of the line that the alert fired on; empty if unknown

    @classmethod
    def around(
        cls,
        organisation: Organisation,
        *,
        tickets: Iterable[Ticket] = (),
        indicators: Iterable[Indicator] = (),
        sensors: Iterable[Sensor] = (),
        now: str = "",
        alerted: str = "",
    ) -> World:
        """Make the world of an organisation with what is true around one incident."""
        return cls(
            networks=organisation.networks,
            hosts=organisation.hosts,
            hosts_by_ip=organisation.hosts_by_ip,
            accounts=organisation.accounts,
            tools=organisation.tools,
            scanners=organisation.scanners,
            tickets=tuple(tickets),
            indicators=tuple(indicators),
            sensors=tuple(sensors),
            now=now,
            alerted=alerted,
        )

    @classmethod
    def from_context(cls, context: Mapping[str, Any], *, alerted: str = "") -> World:
        """Make the world that a rendered context describes; absent parts are empty."""
        return cls(
            networks=tuple(context.get("networks") or PRIVATE_NETWORKS),
            hosts={host["name"]: host for host in context.get("hosts", ())},
            hosts_by_ip={host["ip"]: host for host in context.get("hosts", ())},
            accounts={account["name"]: account for account in context.get("accounts", ())},
            tools=tuple(context.get("tools", ())),
            scanners=tuple(context.get("scanners", ())),
            tickets=tuple(context.get("tickets", ())),
            indicators=tuple(context.get("indicators", ())),
            sensors=tuple(context.get("sensors", ())),
            now=context.get("now", ""),
            alerted=alerted,
        )

    def is_internal(self, ip: str) -> bool:
        """Return whether an address belongs to the organisation (or is a loopback or link-local one)."""
        return in_networks(ip, _with_local(self.networks))

    def slice_for(self, lines: Iterable[Mapping[str, Any]]) -> Context:
        """Return the part that a window's rendered lines touch, as a defender sees it."""
        return self.touched_by(lines).to_context()

    def touched_by(self, lines: Iterable[Mapping[str, Any]]) -> World:
        """Return the part that a window's rendered lines touch: its hosts (by name or address), accounts and programs, and all short lists.

        Tickets, intelligence and outages are there whole, the near misses among them too.
        """
        # the texts of all fields, in order of appearance
        texts = dict.fromkeys([value for line in lines for value in line["fields"].values() if type(value) is str])
        names = texts.copy()
        for text in texts:
            if ("\\" in text or "@" in text or text.startswith("arn:")) and len(text) <= MAX_NAME:
                names[account_name(text)] = None
        for ticket in self.tickets:
            names.update(dict.fromkeys((*ticket["hosts"], *ticket["accounts"])))
        names.update(dict.fromkeys([sensor["host"] for sensor in self.sensors]))
        by_name, by_ip, accounts = self.hosts, self.hosts_by_ip, self.accounts
        hosts = [by_name[name] for name in names if name in by_name] + [by_ip[name] for name in names if name in by_ip]
        whole_text = "\n".join((*texts, *[ticket["tool"] for ticket in self.tickets])).lower()
        tools = [tool for tool in self.tools if tool["name"] in whole_text or tool["name"] == STANDS_FOR_ANY]
        return World(
            networks=self.networks,
            hosts={host["name"]: host for host in hosts},
            hosts_by_ip=self.hosts_by_ip,
            accounts={name: accounts[name] for name in names if name in accounts},
            tools=tuple(tools),
            scanners=self.scanners,
            tickets=self.tickets,
            indicators=self.indicators,
            sensors=self.sensors,
            now=self.now,
            alerted=self.alerted,
        )

    def to_context(self) -> Context:
        """Return the rows of the whole world as copies, so that a player cannot change it."""
        return {
            "now": self.now,
            "networks": list(self.networks),
            "hosts": [host.copy() for host in self.hosts.values()],
            "accounts": [account.copy() for account in self.accounts.values()],
            "tools": [tool.copy() for tool in self.tools],
            "scanners": [{"ip": scanner["ip"], "targets": list(scanner["targets"])} for scanner in self.scanners],
            "tickets": [
                {**ticket, "hosts": list(ticket["hosts"]), "accounts": list(ticket["accounts"])}
                for ticket in self.tickets
            ],
            "indicators": [indicator.copy() for indicator in self.indicators],
            "sensors": [sensor.copy() for sensor in self.sensors],
        }


EMPTY_WORLD = World()  # nothing is declared
