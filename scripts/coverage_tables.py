"""Tabulate what is read and what is looked for: formats, Sigma log sources, ATT&CK tactics and a Navigator layer.

`scripts/make_docs.py` writes them into docs/real_logs.md and docs/attack_layer.json. Sources: SigmaHQ, "Sigma taxonomy" (services and
categories); MITRE, "ATT&CK Navigator layer file format", version 4.5.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from telemetry.importers import FORMATS, import_stream
from telemetry.importers.events import DraftEvent
from telemetry.importers.formats import Format
from telemetry.importers.magic import SIGNATURES, WITHOUT_SIGNATURE
from telemetry.importers.reading import read_records
from telemetry.importers.sysmon import TABLE as SYSMON
from telemetry.importers.times import FileTimes
from telemetry.importers.windows import EventMapping, Table
from telemetry.importers.windows_logs import PROVIDERS
from verifier.rules import RULES

SAMPLES = Path(__file__).resolve().parent.parent / "tests" / "data" / "formats"
WINDOWS_LOGS = "windows/sysmon"  # the log source of formats that carry any Windows event log
SERVICES = {  # Sigma's services of Windows -> the providers that write there
    "sysmon": ("microsoft-windows-sysmon",),
    "security": ("microsoft-windows-security-auditing", "microsoft-windows-eventlog"),
    "system": ("eventlog", "service control manager", "microsoft-windows-kernel-general"),
    "application": ("esent",),
    "powershell": ("microsoft-windows-powershell",),
    "powershell-classic": ("powershell",),
    "taskscheduler": ("microsoft-windows-taskscheduler",),
    "wmi": ("microsoft-windows-wmi-activity",),
    "windefend": ("microsoft-windows-windows defender",),
    "firewall-as": ("microsoft-windows-windows firewall with advanced security",),
    "bits-client": ("microsoft-windows-bits-client",),
    "dns-client": ("microsoft-windows-dns-client",),
    "dns-server": ("microsoft-windows-dns-server-service",),
    "printservice-admin": ("microsoft-windows-printservice",),
    "terminalservices-localsessionmanager": ("microsoft-windows-terminalservices-localsessionmanager",),
}
CATEGORIES = {  # Sigma's categories of Windows -> Sysmon's event ids
    "process_creation": (1,),
    "file_change": (2,),
    "network_connection": (3,),
    "sysmon_status": (4, 16),
    "process_termination": (5,),
    "driver_load": (6,),
    "image_load": (7,),
    "create_remote_thread": (8,),
    "raw_access_thread": (9,),
    "process_access": (10,),
    "file_event": (11,),
    "registry_add": (12,),
    "registry_delete": (12,),
    "registry_set": (13,),
    "registry_rename": (14,),
    "registry_event": (12, 13, 14),
    "create_stream_hash": (15,),
    "pipe_created": (17, 18),
    "wmi_event": (19, 20, 21),
    "dns_query": (22,),
    "file_delete": (23, 26),
    "process_tampering": (25,),
    "file_block": (27, 28),
    "file_executable_detected": (29,),
}

NARROW = {  # log sources of formats that carry other things too -> the types that a rule on the log source means
    "dns": ("dns_query",),
    "firewall": ("net_conn",),
    "proxy": ("http",),
    "webserver": ("http",),
    "linux/process_creation": ("process",),
    "linux/file_event": ("file",),
    "linux/network_connection": ("net_conn",),
    "linux/sshd": ("logon",),
    "linux/sudo": ("privilege", "process"),
    "linux/cron": ("task",),
    "linux/auth": ("account", "group", "logon", "privilege"),
    "macos/process_creation": ("process",),
    "macos/sshd": ("logon",),
}


# ---------------------------------------------------------------- formats
def slug(name: str) -> str:
    """Return a format's name as the name of its samples begins: lower case, other characters as one hyphen."""
    return re.sub(r"\W+", "-", name.lower()).strip("-")


def samples_of(row: Format) -> list[Path]:
    """List the samples of a format."""
    return [path for path in sorted(SAMPLES.iterdir()) if re.split(r"--|\.", path.name)[0] == slug(row.name)]


@cache
def sampled_types(row: Format) -> frozenset[str]:
    """Return the types of the events that a format's samples give."""
    results = (result for path in samples_of(row) for result in import_stream(read_records(path), FileTimes()))
    return frozenset(result.event_type for result in results if isinstance(result, DraftEvent))


def formats_table() -> str:
    """Tabulate the formats: name, how people export it, Sigma's log sources, event types."""
    rows = "".join(
        f"| {row.name} | {_cell(row.export)} | {_codes(row.log_sources)} | {_codes(_types(row))} |\n" for row in FORMATS
    )
    return f"| format | how people get it | Sigma log sources | becomes |\n|---|---|---|---|\n{rows}"


def _types(row: Format) -> Iterable[str]:
    """List what a format's records become; of event logs of Windows it depends on the log."""
    return ["by its log, below"] if WINDOWS_LOGS in row.log_sources else sorted(sampled_types(row))


def unreadable_table() -> str:
    """Tabulate what cannot be read, and what to do."""
    kinds = dict.fromkeys((*(kind for _, _, kind in SIGNATURES), *WITHOUT_SIGNATURE))
    rows = "".join(f"| {kind.name} | {_cell(kind.way)} |\n" for kind in kinds)
    return f"| what it is | what to do |\n|---|---|\n{rows}"


# ---------------------------------------------------------------- log sources
def log_sources() -> dict[str, frozenset[str]]:
    """Map Sigma's log sources (product/service or product/category) to the types of events that their records become.

    Of Windows the importer's own tables say it, of all others the samples of the formats that serve the log source; of a log source
    that means a part of what its formats carry, that part (`NARROW`).
    """
    found = {
        **{
            f"windows/{service}": frozenset().union(*(_types_of(PROVIDERS[name][1]) for name in providers))
            for service, providers in SERVICES.items()
        },
        **{
            f"windows/{category}": _types_of({number: SYSMON[number] for number in numbers})
            for category, numbers in CATEGORIES.items()
        },
    }
    others: dict[str, frozenset[str]] = defaultdict(frozenset)
    for row in FORMATS:
        for source in row.log_sources:
            if source not in found:
                others[source] |= sampled_types(row)
    meant = {source: types & frozenset(NARROW.get(source, types)) for source, types in others.items()}
    return dict(sorted({**found, **meant}.items()))


def _types_of(table: Table) -> frozenset[str]:
    return frozenset(row.event_type for row in table.values() if isinstance(row, EventMapping))


def log_sources_table() -> str:
    """Tabulate which types of events the records of Sigma's log sources become."""
    rows = "".join(f"| `{source}` | {_codes(sorted(types))} |\n" for source, types in log_sources().items())
    return f"| Sigma log source | becomes |\n|---|---|\n{rows}"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(name if " " in name else f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "&#124;")


# ---------------------------------------------------------------- ATT&CK
def tactics_table() -> str:
    """Tabulate how many rules and techniques there are for each tactic, the most rules first."""
    rules = Counter(rule.tactic for rule in RULES)
    rows = "".join(
        f"| {tactic.replace('_', ' ')} | {count} | {len({rule.technique for rule in RULES if rule.tactic == tactic})} |\n"
        for tactic, count in sorted(rules.items(), key=lambda item: (-item[1], item[0]))
    )
    techniques = len({rule.technique for rule in RULES})
    return (
        f"{len(RULES)} rules look for {techniques} techniques of {len(rules)} tactics.\n\n"
        f"| tactic | rules | techniques |\n|---|---:|---:|\n{rows}"
    )


def attack_layer() -> Mapping[str, Any]:
    """Return a layer for the ATT&CK Navigator: a technique's score is the number of its rules, its comment names them."""
    named: dict[tuple[str, str], list[str]] = defaultdict(list)
    for rule in RULES:
        named[rule.technique, rule.tactic.replace("_", "-")].append(rule.rule_id)
    return {
        "name": "OpenSOC rules",
        "versions": {"attack": "17", "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": f"Techniques that the verifier's {len(RULES)} rules look for. The score is the number of rules, the comment names them.",
        "sorting": 3,
        "layout": {"layout": "side", "showID": True, "showName": True, "expandedSubtechniques": "annotated"},
        "techniques": [
            {"techniqueID": technique, "tactic": tactic, "score": len(rules), "comment": ", ".join(rules)}
            for (technique, tactic), rules in sorted(named.items())
        ],
        "gradient": {
            "colors": ["#dbeaf5", "#0b5c93"],
            "minValue": 1,
            "maxValue": max(2, *map(len, named.values())),
        },
        "legendItems": [],
    }
