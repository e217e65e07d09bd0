"""Declare the organisation around recordings: a YAML or JSON file, checked by a schema, that `--world` reads.

    python -m telemetry world --example world.yaml
    python -m telemetry --world world.yaml FILE...

Nothing has to be declared. What is declared decides how a finding is explained (tickets, tools, scanners) and what deserves an
escalation (crown jewels, privileged accounts); the rows become those of `schema.Context`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from schema import UNNAMED_PROGRAM_WORK, OpenSOCError, Telemetry, faults, unread
from telemetry.importers.times import read_time
from telemetry.importers.values import timestamp
from world import World

MAX_DECLARATION = 4_000_000  # characters
EXAMPLE_COMMAND = "python -m telemetry world --example"


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _moment(value: Any) -> str:
    moment = read_time(str(value))
    if moment is None:
        raise ValueError("expected a time such as 2026-03-02T09:00:00Z")
    return timestamp(moment)


Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
Moment = Annotated[str, AfterValidator(_moment)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeclaredHost(_Part):
    """A machine: its name as the logs write it; a crown jewel is one whose loss stops the business."""

    name: str
    ip: Address | Literal[""] = ""
    role: str = "host"
    criticality: Literal["crown_jewel", "standard", "lab"] = "standard"


class DeclaredAccount(_Part):
    """An account, by its name without domain."""

    name: str
    kind: Literal["person", "service"] = "person"
    privileged: bool = False
    department: str = ""


class DeclaredTool(_Part):
    """A program (its file name) that the accounts of one department may use."""

    name: str
    department: str


class DeclaredScanner(_Part):
    """A machine that may probe, and the networks that it may probe."""

    ip: Address
    targets: list[Network]


class DeclaredTicket(_Part):
    """A planned change: who does what with which tool, where and when. `tool` is a program's file name, or the name of work that needs none."""

    ticket_id: str
    status: Literal["approved", "pending", "rejected"] = "approved"
    hosts: list[str]
    accounts: list[str]
    tool: str
    starts_at: Moment
    ends_at: Moment


class DeclaredIndicator(_Part):
    """Threat intelligence on an address or a domain."""

    value: str
    confidence: Literal["high", "low"] = "high"


class DeclaredSensor(_Part):
    """A time for which a host's sensor was silent."""

    host: str
    telemetry: Telemetry
    silent_from: Moment
    silent_to: Moment


class Declaration(_Part):
    """What is declared of an organisation; every part may be left out."""

    now: Moment | Literal[""] = Field("", description="when the alert was raised; the last line's time if left out")
    networks: list[Network] = Field([], description="address ranges of ours; private ranges if left out")
    hosts: list[DeclaredHost] = []
    accounts: list[DeclaredAccount] = []
    tools: list[DeclaredTool] = []
    scanners: list[DeclaredScanner] = []
    tickets: list[DeclaredTicket] = []
    indicators: list[DeclaredIndicator] = []
    sensors: list[DeclaredSensor] = []


def declared_world(declaration: Any) -> World:
    """Return the world that parsed YAML or JSON declares; an empty one for None.

    Raises:
        OpenSOCError: it is no object of the shape of `Declaration`; the sentence names the place and what was expected.
    """
    if declaration is None:
        return World()
    if not isinstance(declaration, Mapping):
        raise OpenSOCError(
            f"Expected an object with some of {', '.join(Declaration.model_fields)}, and got {type(declaration).__name__}; "
            f"`{EXAMPLE_COMMAND}` writes one to begin with."
        )
    try:
        checked = Declaration.model_validate(declaration)
    except ValidationError as error:
        raise OpenSOCError(
            f"{faults(error, 'the declaration', quoting=True)}. {_expected(error)} `{EXAMPLE_COMMAND}` writes an example of each part."
        ) from error
    return World.from_context(checked.model_dump())


def _expected(error: ValidationError) -> str:
    """Say which keys the first faulty part may have."""
    name = error.errors()[0]["loc"][0]
    parts = {name: get_args(field.annotation) for name, field in Declaration.model_fields.items()}
    model = next(
        (part for part in parts.get(str(name), ()) if isinstance(part, type) and issubclass(part, _Part)), Declaration
    )
    return f"Expected in {name if model is not Declaration else 'the declaration'}: {', '.join(model.model_fields)}."


def load_world(path: Path | None) -> World:
    """Load the world that a YAML or JSON file declares; an empty one without a file.

    Raises:
        OpenSOCError: the file cannot be read, or it is no declaration.
    """
    if path is None:
        return World()
    try:
        return parsed_world(path.read_text("utf-8-sig"))
    except (OSError, UnicodeError) as error:
        raise OpenSOCError(
            f"Expected a file that declares an organisation in {str(path)!r}, and got {unread(error)}; give another."
        ) from error
    except OpenSOCError as error:
        raise OpenSOCError(f"In the world {str(path)!r}: {error}") from error


def parsed_world(text: str) -> World:
    """Return the world that YAML or JSON text declares; an empty one for blank text.

    Raises:
        OpenSOCError: it is no YAML, or no declaration.
    """
    try:
        if len(text) > MAX_DECLARATION:
            raise ValueError(f"more than {MAX_DECLARATION} characters")
        return declared_world(yaml.load(text, _NoAliases))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise OpenSOCError(
            f"Expected YAML or JSON that declares an organisation, and got {reason}; correct it, or begin with `{EXAMPLE_COMMAND}`."
        ) from error


class _NoAliases(yaml.SafeLoader):
    """Load plain YAML; anchors, by which a short file can grow without bound, are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("YAML aliases are not read here")
        return super().compose_node(parent, index)


_NoAliases.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

EXAMPLE = f"""\
# What is known of the organisation around the recordings. Leave out what you don't know: every part may be missing.
# Names are those that the logs use. Times are UTC.

# Address ranges of yours; all else counts as outside. Without this part private ranges are inside.
networks: [10.20.0.0/16, 192.168.20.0/24]

# Machines. A confirmed attack on a crown jewel is escalated; one of a lab, or of a standard host, is quarantined.
hosts:
  - {{name: DC-01, ip: 10.20.1.10, role: domain controller, criticality: crown_jewel}}
  - {{name: WKS-014, ip: 10.20.7.14, role: workstation, criticality: standard}}

# Accounts, without their domain.
accounts:
  - {{name: adm.keller, kind: person, privileged: true, department: it_ops}}
  - {{name: svc_dirsync, kind: service, privileged: true, department: it_ops}}

# Programs that one department may use. Nobody else may.
tools:
  - {{name: psexec.exe, department: it_ops}}

# Machines that may probe, and where.
scanners:
  - {{ip: 10.20.200.5, targets: [10.20.0.0/16]}}

# Planned changes. A ticket explains a finding if it is approved and names its host, its account and its tool while it lasts.
# Work without a program of its own is named by one of:
#   {", ".join(UNNAMED_PROGRAM_WORK)}
tickets:
  - ticket_id: CHG-1042
    status: approved
    hosts: [DC-01]
    accounts: [svc_dirsync]
    tool: directory replication
    starts_at: "2026-01-01T00:00:00Z"
    ends_at: "2026-12-31T23:59:59Z"

# Threat intelligence on addresses and domains: confidence high or low.
indicators:
  - {{value: 203.0.113.66, confidence: high}}

# Times for which a sensor was silent: its host and what it watches (endpoint, network or identity).
sensors:
  - {{host: WKS-014, telemetry: endpoint, silent_from: "2026-03-02T08:00:00Z", silent_to: "2026-03-02T09:00:00Z"}}
"""
