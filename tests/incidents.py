"""Events, incidents and worlds made by hand for the verifier's tests.

An event is a plain row; times are seconds after 09:00 on 2 March 2026. Rows without a log id are numbered L1-1, L1-2, ...
in the order in which they are given. `world()` is a small organisation: three workstations and a file server (all
standard), one crown jewel, four accounts of which one is privileged.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import settings

from schema import Incident, Row, iso_time
from verifier import compute_ground_truth
from world import World

STEADY = settings(derandomize=True, deadline=None, database=None)  # the same examples in every run
NINE = 1_772_442_000  # 2026-03-02T09:00:00Z
OUTSIDE = "203.0.113.7"
TEMP = "C:\\Users\\ana\\AppData\\Local\\Temp\\"
SYSTEM32 = "C:\\Windows\\System32\\"
POWERSHELL = SYSTEM32 + "WindowsPowerShell\\v1.0\\powershell.exe"
INSTALLED = "C:\\Program Files\\Acme\\acme.exe"
EVIL = TEMP + "evil.exe"
TOOL = "D:\\Tools\\procdump.exe"
WORD = "C:\\Program Files\\Office\\WINWORD.EXE"
SERVICES = SYSTEM32 + "services.exe"
LSASS = SYSTEM32 + "lsass.exe"
RUN_KEY = "HKU\\S-1\\Software\\Microsoft\\Windows\\CurrentVersion\\Run\\Updater"
ENCODED = "powershell.exe -enc " + "QUJD" * 5  # 20 characters
REPLICATION = "%%7688 {1131f6ad-9c07-11d1-f79f-00c04fc2dcd2}"
ADDRESSES = {
    "WKS-01": "10.20.1.11",
    "WKS-02": "10.20.1.12",
    "WKS-03": "10.20.1.13",
    "FIL-01": "10.20.2.11",
    "DIR-01": "10.20.3.11",
}
HOSTS = [
    {
        "name": name,
        "ip": ip,
        "role": "workstation",
        "criticality": "crown_jewel" if name == "DIR-01" else "standard",
    }
    for name, ip in ADDRESSES.items()
]
ACCOUNTS = [
    {"name": "ana", "kind": "person", "privileged": False, "department": "finance"},
    {"name": "ben", "kind": "person", "privileged": False, "department": "it_ops"},
    {"name": "root.admin", "kind": "person", "privileged": True, "department": "finance"},
    {"name": "svc_sync", "kind": "service", "privileged": False, "department": "sales"},
]


def clock(at: float) -> str:
    """The timestamp of a number of seconds after nine."""
    whole, _, fraction = f"{at:.3f}".rpartition(".")
    return iso_time(NINE + int(whole)) if fraction == "000" else iso_time(NINE + int(whole))[:-1] + f".{fraction}Z"


def event(
    at: float, event_type: str, activity: str, *, host: str | None = "WKS-01", user: str | None = "ana", **fields: Any
) -> Row:
    """One event; None leaves a field out."""
    values = {"activity": activity, "device_hostname": host, "actor_user": user, **fields}
    log_id = values.pop("log_id", None)
    row: Row = {
        "event_type": event_type,
        "fields": {name: value for name, value in values.items() if value is not None},
        "timestamp": clock(at),
    }
    return {**row, "log_id": log_id} if log_id else row


def launch(
    at: float, path: str, command: str | None = None, *, parent: str = "C:\\Windows\\explorer.exe", **more: Any
) -> Row:
    """A program starts."""
    return event(
        at, "process", "launch", process_path=path, process_cmd_line=command or path, parent_path=parent, **more
    )


def call(
    at: float,
    program: str | None,
    dst: str = OUTSIDE,
    *,
    activity: str = "open",
    host: str | None = "WKS-01",
    **more: Any,
) -> Row:
    """A host's program connects to an address."""
    values = {"src_ip": ADDRESSES.get(host or "", "10.20.1.99"), "dst_ip": dst, "dst_port": 443, **more}
    return event(at, "net_conn", activity, host=host, process_path=program, **values)


def write(
    at: float, path: str, program: str | None = "C:\\Windows\\explorer.exe", activity: str = "create", **more: Any
) -> Row:
    """A program writes a file."""
    return event(at, "file", activity, file_path=path, process_path=program, **more)


def logon(
    at: float, activity: str, name: str | None = "ana", src: str | None = OUTSIDE, logon_type: int = 3, **more: Any
) -> Row:
    """A sign-in to an account from an address."""
    return event(at, "logon", activity, user_name=name, src_ip=src, logon_type=logon_type, **{"user": None, **more})


def incident(*rows: Row, label: str = "dismiss", category: str = "benign_activity", narrative: str = "") -> Incident:
    """An incident of these events; the claim about it is of no importance."""
    events = [{"log_id": f"L1-{number}", **row} for number, row in enumerate(rows, 1)]
    return Incident.model_validate(
        {"target_label": label, "category": category, "events": events, "narrative": narrative}
    )


def world(**parts: Any) -> World:
    """The small organisation, with tickets, indicators and so on as given."""
    context = {
        "now": clock(7200),
        "networks": ["10.20.0.0/16"],
        "hosts": HOSTS,
        "accounts": ACCOUNTS,
        "tools": [{"name": "powershell.exe", "department": "it_ops"}],
        "scanners": [{"ip": "10.20.200.5", "targets": ["10.20.1.0/24"]}],
        **parts,
    }
    return World.from_context(context, alerted=context.pop("alerted", ""))


def ticket(**changes: Any) -> dict[str, Any]:
    """A ticket that covers what Ana does with PowerShell on WKS-01 between nine and ten."""
    return {
        "ticket_id": "CHG-1",
        "status": "approved",
        "hosts": ["WKS-01"],
        "accounts": ["ana"],
        "tool": "powershell.exe",
        "starts_at": clock(0),
        "ends_at": clock(3600),
        **changes,
    }


def listed(value: str, confidence: str = "high") -> list[dict[str, str]]:
    """Threat intelligence that lists one address or name."""
    return [{"value": value, "confidence": confidence}]


def truth_of(*rows: Row, **parts: Any) -> Any:
    """Return the ground truth of some events in the small organisation."""
    return compute_ground_truth(incident(*rows), world(**parts))


def found(*rows: Row, **parts: Any) -> list[str]:
    """What the rules find, each as `rule strength L1-1 L1-2`, explained or not."""
    return [
        " ".join((finding.rule_id, finding.strength, *finding.evidence))
        for finding in truth_of(*rows, **parts).findings
    ]


def strengths(rule_id: str, *rows: Row) -> set[str]:
    """How strong the findings of a rule are."""
    return {line.split()[1] for line in found(*rows) if line.startswith(f"{rule_id} ")}


def examples(cases: dict[str, list[tuple[str, list[Row]]]]) -> Any:
    """Parametrise a test by rule, strength ("" for nothing found) and rows."""
    return pytest.mark.parametrize(
        ("rule_id", "strength", "rows"),
        [
            pytest.param(rule_id, strength, rows, id=f"{rule_id}-{number}-{strength or 'nothing'}")
            for rule_id, of_rule in cases.items()
            for number, (strength, rows) in enumerate(of_rule)
        ],
    )


def explained(*rows: Row, **parts: Any) -> list[str]:
    """What explains each finding; nothing where nothing does."""
    return [finding.explained_by for finding in truth_of(*rows, **parts).findings]


# ---------------------------------------------------------------- what the rules look for: one row, or so many in a row
def failures(count, *, gap=10, src=OUTSIDE, start=0, **more):
    return [logon(start + gap * number, "failure", src=src, **more) for number in range(count)]


def sprayed(names, *, gap=10, src=OUTSIDE, **more):
    return [logon(gap * number, "failure", name, src, **more) for number, name in enumerate(names)]


def service_tickets(count, *, gap=10, start=0, cipher="0x17", user="ana", name="svc-{}", **more):
    fields = {
        "ticket_encryption": cipher,
        "user_name": user,
        "src_ip": "10.20.1.11",
        "host": "DIR-01",
        "user": None,
        **more,
    }
    return [event(start + gap * n, "kerberos", "tgs", service_name=name.format(n), **fields) for n in range(count)]


def probes(count, *, gap=1, src=OUTSIDE, dst="10.20.1.11", activity="block", start=0, host="WKS-01"):
    return [
        call(start + gap * n, None, dst, activity=activity, host=host, user=None, src_ip=src, dst_port=1000 + n)
        for n in range(count)
    ]


def request(at, url="/?id=1' or 1=1--", src=OUTSIDE, **more):
    values = {"user": None, "dst_ip": "10.20.1.11", "http_method": "GET", **more}
    return event(at, "http", "request", url=url, src_ip=src, **values)


def service(at, command, activity="install", **more):
    return event(at, "service", activity, service_name="s", service_cmd_line=command, **more)


def task(at, command, activity="create", **more):
    return event(at, "task", activity, job_name="\\j", job_cmd_line=command, **more)


def inject(at, program, target=SYSTEM32 + "svchost.exe", activity="remote_thread", **more):
    return event(at, "process_inject", activity, process_path=program, target_path=target, **more)


def access(at, program=TOOL, mask="0x1010", target=LSASS, **more):
    return event(at, "process_access", "open", process_path=program, target_path=target, access_mask=mask, **more)


def replicate(at, properties=REPLICATION, activity="access", **more):
    return event(at, "directory", activity, properties=properties, **more)


def member(at, group="Domain Admins", name="new.one", activity="member_add", **more):
    return event(at, "group", activity, group_name=group, user_name=name, **more)


def made(at, name="new.one", activity="create", **more):
    return event(at, "account", activity, user_name=name, **more)


def lookup(at, name, program=INSTALLED, **more):
    return event(at, "dns_query", "query", query_hostname=name, process_path=program, **more)


def lookups(count, length=30, domain="evil.com", **more):
    return [lookup(n, f"{n:02d}{'x' * (length - 2)}.{domain}", **more) for n in range(count)]


def calls(gaps, program=EVIL, dst=OUTSIDE, **more):
    return [call(at, program, dst, **more) for at in itertools.accumulate([0, *gaps])]


def upload(at, size=500_000_000, dst=OUTSIDE, **more):
    return call(at, INSTALLED, dst, bytes_out=size, **{"activity": "flow", **more})


def reads(count, *, start=0, gap=1, same=False, **more):
    return [
        event(start + gap * n, "share", "access", share_name="\\\\*\\P", file_path=f"{0 if same else n}.docx", **more)
        for n in range(count)
    ]


def setting(at, value=EVIL, key=RUN_KEY, program=SYSTEM32 + "reg.exe", activity="set", **more):
    return event(at, "registry", activity, reg_key_path=key, reg_value_data=value, process_path=program, **more)


def wmi(at, activity, consumer="CommandLineEventConsumer x", **more):
    return event(at, "wmi", activity, wmi_consumer=consumer, wmi_query="SELECT * FROM x", **more)


def control(at, activity, value=None, **more):
    return event(at, "control_change", activity, **{"control_name": "c", "new_value": value, **more})


def encrypted(count, *, gap=1, start=0, name="f{}.xlsx.locked", program=INSTALLED, activity="modify", **more):
    return [write(start + gap * n, "D:\\S\\" + name.format(n), program, activity, **more) for n in range(count)]


def cloud(at, operation="StopLogging", src=OUTSIDE, **more):
    return event(at, "cloud_api", "call", api_operation=operation, src_ip=src, **{"host": None, **more})


def key(at, name="ben", src=OUTSIDE, **more):
    return event(at, "account", "key_create", user_name=name, src_ip=src, **{"host": None, **more})


def ids(first, last):
    return " ".join(f"L1-{number}" for number in range(first, last + 1))
