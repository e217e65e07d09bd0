"""The other Windows logs: System, PowerShell, task scheduler, WMI, Defender, BITS, remote desktop, printing, databases.

Each provider has its own table; `convert_windows` finds it. Sources: Microsoft's provider manifests and the event
references of PowerShell (about_Logging), Windows Defender and SQL Server Audit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from telemetry.importers import security, sysmon
from telemetry.importers.events import Imported, Skipped
from telemetry.importers.formats import Format
from telemetry.importers.security import start_type_in_words
from telemetry.importers.values import host_and_port, is_blank
from telemetry.importers.windows import EventMapping, Table, WindowsRecord, convert, labelled
from telemetry.importers.windows_shapes import SHAPES

Result = tuple[datetime | None, Imported]


def _unnamed(record: WindowsRecord, place: int) -> str:
    """Return an unnamed value by its place, empty if there is none."""
    return record.values[place] if place < len(record.values) else ""


# ---------------------------------------------------------------- event log service
def _cleared(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Name the log that was cleared: 1102 is the Security log's own, 104 names it."""
    match = re.search(r"The (.+?) log file was cleared", record.message)
    log = "Security" if record.event_id == 1102 else match[1] if match else record.get("Channel")
    values.update(control_name=f"{log or 'an unnamed'} log", new_value="cleared")
    if is_blank(values.get("actor_user")):
        values["actor_user"] = record.message_value("Account Name") or None
        values["session_uid"] = record.message_value("Logon ID") or None


def _stopped(status: str) -> Any:
    def adjust(record: WindowsRecord, values: dict[str, Any]) -> None:
        values.update(service_name="EventLog", status=status)

    return adjust


EVENTLOG: Table = {
    104: EventMapping("control_change", "log_clear", {}, _cleared, writer_acts=True),
    1102: EventMapping("control_change", "log_clear", {}, _cleared),
    1100: EventMapping("service", "state", {}, _stopped("stopped")),
    6005: EventMapping("service", "state", {}, _stopped("running")),
    6006: EventMapping("service", "state", {}, _stopped("stopped")),
}


# ---------------------------------------------------------------- service control manager
_FAILED = EventMapping("service", "fail", {"service_name": "param1", "status": "param2"})
SERVICES: Table = {
    7000: _FAILED,
    7001: _FAILED,
    7009: EventMapping("service", "fail", {"service_name": "param2", "status": "param1"}),
    7023: _FAILED,
    7024: _FAILED,
    7026: _FAILED,
    7031: EventMapping("service", "fail", {"service_name": "param1"}),
    7034: EventMapping("service", "fail", {"service_name": "param1"}),
    7035: EventMapping("service", "state", {"service_name": "param1", "status": "param2"}),
    7036: EventMapping("service", "state", {"service_name": "param1", "status": "param2"}),
    7040: EventMapping(
        "service", "config", {"service_name": ("param4", "param1"), "start_type": "param3", "status": "param2"}
    ),
    7045: EventMapping(
        "service",
        "install",
        {
            "service_name": "ServiceName",
            "service_cmd_line": "ImagePath",
            "start_type": "StartType",
            "run_as": "AccountName",
        },
        start_type_in_words,
    ),
}


# ---------------------------------------------------------------- PowerShell
_NO_TEXT = "its text is not in the export"


def _pipeline(record: WindowsRecord, values: dict[str, Any]) -> str | None:
    """Read 4103: the command and its parameters; host and user stand in the context block."""
    context = str(record.get("ContextInfo") or record.message)
    values["script_text"] = values.get("script_text") or record.message.partition("\n\n\nContext")[0]
    values["host_application"] = labelled(context, "Host Application")
    values["engine_version"] = labelled(context, "Engine Version")
    values["actor_user"] = labelled(context, "User") or values["actor_user"]
    return None if values["script_text"] else _NO_TEXT


def _classic(record: WindowsRecord, values: dict[str, Any]) -> str | None:
    """Read 400, 600 and 800: a block of Name=value lines; 800 has the command line before it and its parameters after."""
    context = next((value for value in record.values if "HostApplication=" in value), record.message)
    values["host_application"] = labelled(context, "HostApplication")
    values["engine_version"] = labelled(context, "EngineVersion")
    values["actor_user"] = labelled(context, "UserId") or None
    if record.event_id == 800:
        command = record.values[0] if len(record.values) == 3 else labelled(context, "CommandLine")
        details = record.values[2] if len(record.values) == 3 else record.message.partition("Details:")[2]
        values["script_text"] = f"{command.strip()} {details.strip()}".strip()
    return None if context else _NO_TEXT


POWERSHELL: Table = {
    4100: EventMapping("script", "pipeline", {"script_text": "Payload"}, _pipeline),
    4103: EventMapping("script", "pipeline", {"script_text": "Payload"}, _pipeline, writer_acts=True),
    4104: EventMapping("script", "block", {"script_text": "ScriptBlockText", "script_path": "Path"}, writer_acts=True),
    4105: "the start of a script block that event 4104 reports",
    4106: "the end of a script block that event 4104 reports",
    8193: "a remoting session is made",
    8194: "a pool of runspaces is made",
    8195: "a pool of runspaces is opened",
    8197: "the state of a runspace changes",
    24577: "the script editor starts",
    40961: "the console starts, and nothing is said of what it runs",
    40962: "the console is ready",
    53504: "a channel between processes listens",
}
_ENGINE = EventMapping("script", "engine_start", {}, _classic)
POWERSHELL_CLASSIC: Table = {
    400: _ENGINE,
    403: "the engine stops",
    600: _ENGINE,
    800: EventMapping("script", "pipeline", {}, _classic),
}


# ---------------------------------------------------------------- tasks and WMI
TASKS: Table = {
    106: EventMapping("task", "create", {"job_name": "TaskName"}, actor="UserContext"),
    107: "the trigger of a task whose action 200 reports",
    129: EventMapping("task", "run", {"job_name": "TaskName", "job_cmd_line": "Path"}),
    140: EventMapping("task", "update", {"job_name": "TaskName"}, actor="UserName"),
    141: EventMapping("task", "delete", {"job_name": "TaskName"}, actor="UserName"),
    200: EventMapping("task", "run", {"job_name": "TaskName", "job_cmd_line": "ActionName"}),
    201: "the end of a task whose start 200 reports",
}


def _wmi_subscription(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Read 5861, which shows filter and consumer as one block of text, in data or only in the message."""
    text = str(record.get("PossibleCause") or record.message)
    query = re.search(r'\bQuery = "((?:[^"\\]|\\.)*)"', text)
    values["wmi_query"] = values.get("wmi_query") or (query[1] if query else None)
    perm = text.partition("Perm. Consumer:")[2]
    values["wmi_consumer"] = (
        perm or values.get("wmi_consumer") or labelled(record.message.replace(";", "\n"), "Consumer")
    )


def _provider(record: WindowsRecord, values: dict[str, Any]) -> None:
    match = re.search(r"ProviderPath = (.+)", record.message)
    values["provider_path"] = values["provider_path"] or (match[1].strip() if match else None)


WMI: Table = {
    5857: EventMapping("wmi", "provider_load", {"provider_path": "ProviderPath"}, _provider, writer_acts=True),
    5858: EventMapping("wmi", "query", {"wmi_query": "Operation"}, actor="User", writer_acts=True),
    5859: EventMapping("wmi", "filter", {"wmi_query": "Query", "wmi_consumer": "CONSUMER"}, actor="User"),
    5860: EventMapping("wmi", "filter", {"wmi_query": "Query"}, actor=("User", "UserName")),
    5861: EventMapping(
        "wmi", "binding", {"wmi_query": "Query", "wmi_consumer": "CONSUMER"}, _wmi_subscription, writer_acts=True
    ),
}


# ---------------------------------------------------------------- Defender and firewall
_MALWARE = EventMapping(
    "detection",
    "malware",
    {"finding_title": "Threat Name", "severity": "Severity Name", "file_path": "Path"},
    actor="Detection User",
)


def _protection(state: str) -> EventMapping:
    def adjust(record: WindowsRecord, values: dict[str, Any]) -> None:
        values.update(control_name="Windows Defender", new_value=state)

    return EventMapping("control_change", "av_setting", {}, adjust)


def _defender_setting(record: WindowsRecord, values: dict[str, Any]) -> None:
    setting = str(values.get("new_value") or values.get("old_value") or "")
    values["control_name"] = setting.partition(" = ")[0] or "Windows Defender"


DEFENDER: Table = {
    1006: _MALWARE,
    1007: _MALWARE,
    1015: _MALWARE,
    1116: _MALWARE,
    1117: _MALWARE,
    1118: _MALWARE,
    1119: _MALWARE,
    1150: "a report that the anti-virus is healthy",
    1151: "a report on the anti-virus's state",
    5001: _protection("real-time protection disabled"),
    5004: _protection("real-time protection settings changed"),
    5007: EventMapping(
        "control_change", "av_setting", {"old_value": "Old Value", "new_value": "New Value"}, _defender_setting
    ),
    5010: _protection("scanning for spyware disabled"),
    5012: _protection("scanning for viruses disabled"),
    5013: EventMapping("control_change", "av_setting", {"control_name": "Changed Type", "new_value": "Value"}),
}


def _firewall_setting(record: WindowsRecord, values: dict[str, Any]) -> None:
    values["control_name"] = (
        f"firewall setting {record.get('SettingType') or ''} of profile {record.get('Profiles') or ''}"
    )


def _firewall_rule(record: WindowsRecord, values: dict[str, Any]) -> None:
    verb = {2004: "added", 2005: "modified", 2006: "deleted"}.get(record.event_id, "")
    values["control_name"] = f"firewall rule {values.get('control_name') or ''} {verb}".strip()


_FIREWALL_RULE = EventMapping(
    "control_change",
    "firewall",
    {"control_name": "RuleName", "new_value": "ApplicationPath", "process_path": "ModifyingApplication"},
    _firewall_rule,
    actor="ModifyingUser",
)
FIREWALL: Table = {
    2002: "a firewall setting changes, and which is not said",
    2003: EventMapping(
        "control_change",
        "firewall",
        {"new_value": "SettingValueString", "process_path": "ModifyingApplication"},
        _firewall_setting,
        actor="ModifyingUser",
    ),
    2004: _FIREWALL_RULE,
    2005: _FIREWALL_RULE,
    2006: _FIREWALL_RULE,
    2011: "the user is told of a blocked program",
}


# ---------------------------------------------------------------- transfers, remote desktop, names
def _bits_address(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Add where a transfer goes: the host and port of its URL."""
    values["url"] = record.get("url", "RemoteName")
    values["dst_hostname"], values["dst_port"] = host_and_port(str(values["url"] or ""))


_TRANSFER = EventMapping("net_conn", "bits_job", {"bytes_in": "bytesTransferred"}, _bits_address)
_JOB = EventMapping("net_conn", "bits_job", {"process_path": "processPath"}, actor=("jobOwner", "string2", "User"))
BITS: Table = {
    3: _JOB,
    4: _JOB,
    5: _JOB,
    59: _TRANSFER,
    60: _TRANSFER,
    61: _TRANSFER,
    16403: EventMapping("net_conn", "bits_job", {}, _bits_address, actor="User"),
    209: "a state of the transfer service",
    306: "a state of the transfer service",
    310: "a state of the transfer service",
}

RDP_TRANSPORT = "a detail of the remote desktop transport"
RDP_CORE: Table = {
    131: EventMapping("logon", "rdp_session", {"src_ip": "ClientIP"}),
    140: EventMapping("logon", "failure", {"src_ip": "IPString"}),
    **dict.fromkeys((65, 66, 72, 97, 98, 102, 103, 107, 132, 141, 142, 143, 145, 148, 226, 227, 228), RDP_TRANSPORT),
}
_SESSION = EventMapping(
    "logon", "rdp_session", {"user_name": ("User", "Param1"), "src_ip": ("Address", "Param3")}, session="SessionID"
)
RDP_MANAGER: Table = {1149: _SESSION, 20523: "a listener's settings"}
RDP_SESSIONS: Table = {
    21: _SESSION,
    24: _SESSION,
    25: _SESSION,
    23: EventMapping("logon", "logoff", {"user_name": "User"}, session="SessionID"),
}

_QUERY = EventMapping("dns_query", "query", {"query_hostname": "QueryName", "answers": "QueryResults"})
DNS_CLIENT: Table = {1014: _QUERY, 3006: "a question whose answer 3008 reports", 3008: _QUERY}
DNS_SERVER: Table = {
    150: EventMapping("module_load", "dll", {"file_path": "param1"}),
    770: EventMapping("module_load", "dll", {"file_path": "param1"}),
}


# ---------------------------------------------------------------- printing and databases
def _driver_files(record: WindowsRecord, values: dict[str, Any]) -> None:
    values["file_path"] = record.get("Param4") or values.get("file_path")


_PRINTER = "a printer is set up, changed or removed, and no driver with it"
PRINT: Table = {
    316: EventMapping("module_load", "driver", {"file_path": "Param1"}, _driver_files, writer_acts=True),
    808: EventMapping("module_load", "dll", {"file_path": "PluginDllName"}, writer_acts=True),
    **dict.fromkeys((300, 301, 302, 304, 306, 307, 317, 354, 823, 848, 849), _PRINTER),
}


def _database_file(place: int) -> Any:
    def adjust(record: WindowsRecord, values: dict[str, Any]) -> str | None:
        values["file_path"] = _unnamed(record, place)
        return None if values["file_path"] else "its data names no file"

    return adjust


ESENT: Table = {
    216: EventMapping("file", "modify", {}, _database_file(4)),
    325: EventMapping("file", "create", {}, _database_file(4)),
    **dict.fromkeys((102, 103, 105, 326, 327, 412, 300, 301, 302), "upkeep of a database"),
}


def _audit_fields(text: str) -> Mapping[str, str]:
    """Read `name:value` pairs of SQL Server Audit, on lines of their own or, in some exports, all on one."""
    names = "client_ip|server_principal_name|statement|application_name|host_name|action_id|object_name"
    return {
        pair[1]: pair[2].strip()
        for pair in re.finditer(rf"\b(?<!_)({names}):(.*?)(?=[ \n\r\t][a-z_]+:|\n|$)", text)
        if pair[2].strip()
    }


def _statement(record: WindowsRecord, values: dict[str, Any]) -> str | None:
    audit = _audit_fields("\n".join(record.values) or record.message)
    if not audit.get("statement"):
        return "its audit record shows no statement"
    values["script_text"] = audit["statement"]
    values["actor_user"] = audit.get("server_principal_name")
    values["host_application"] = audit.get("application_name") or record.provider
    return None


def _sql_logon(record: WindowsRecord, values: dict[str, Any]) -> None:
    values["user_name"] = _unnamed(record, 0)
    client = re.search(r"\[CLIENT:\s*([^\]]+)\]", " ".join(record.values) + record.message)
    values["src_ip"] = client[1] if client else None
    values["logon_process"] = "SQL Server"


def _server_option(record: WindowsRecord, values: dict[str, Any]) -> str | None:
    """Read 15457: the option, its old and its new value; the sentence is the second source."""
    match = re.search(r"option '(.+?)' changed from (\S+) to (\S+?)\.", record.message)
    name, old, new = match.groups() if match else (_unnamed(record, 0), _unnamed(record, 1), _unnamed(record, 2))
    values.update(control_name=name, old_value=old, new_value=new)
    return None if name else "its data names no option"


SQL_SERVER: Table = {
    15457: EventMapping("control_change", "server_setting", {}, _server_option),
    18453: EventMapping("logon", "success", {}, _sql_logon),
    18454: EventMapping("logon", "success", {}, _sql_logon),
    18456: EventMapping("logon", "failure", {}, _sql_logon),
    33205: EventMapping("script", "block", {}, _statement),
}


def _clock(record: WindowsRecord, values: dict[str, Any]) -> None:
    values["control_name"] = "system time"


KERNEL_GENERAL: Table = {
    1: EventMapping("control_change", "time_change", {"old_value": "OldTime", "new_value": "NewTime"}, _clock),
    12: "the start of Windows",
    13: "the end of Windows",
}

PROVIDERS: Mapping[str, tuple[str, Table]] = {
    **dict.fromkeys(sysmon.PROVIDERS, ("Sysmon", sysmon.TABLE)),
    **dict.fromkeys(security.PROVIDERS, ("Security", security.TABLE)),
    "microsoft-windows-eventlog": ("event log", EVENTLOG),
    "eventlog": ("event log", EVENTLOG),
    "service control manager": ("service manager", SERVICES),
    "microsoft-windows-powershell": ("PowerShell", POWERSHELL),
    "powershellcore": ("PowerShell", POWERSHELL),
    "powershell": ("PowerShell (classic)", POWERSHELL_CLASSIC),
    "microsoft-windows-taskscheduler": ("task scheduler", TASKS),
    "microsoft-windows-wmi-activity": ("WMI", WMI),
    "microsoft-windows-windows defender": ("Defender", DEFENDER),
    "microsoft-windows-windows firewall with advanced security": ("firewall", FIREWALL),
    "microsoft-windows-bits-client": ("BITS", BITS),
    "microsoft-windows-remotedesktopservices-rdpcorets": ("remote desktop", RDP_CORE),
    "microsoft-windows-terminalservices-remoteconnectionmanager": ("remote desktop manager", RDP_MANAGER),
    "microsoft-windows-terminalservices-localsessionmanager": ("remote desktop sessions", RDP_SESSIONS),
    "microsoft-windows-dns-client": ("DNS client", DNS_CLIENT),
    "microsoft-windows-dns-server-service": ("DNS server", DNS_SERVER),
    "microsoft-windows-printservice": ("printing", PRINT),
    "microsoft-windows-kernel-general": ("kernel", KERNEL_GENERAL),
    "esent": ("ESENT", ESENT),
}


_SHORT = {"sysmon": "microsoft-windows-sysmon", "security": "microsoft-windows-security-auditing"}  # some tools' names


def _provider_of(record: WindowsRecord) -> str:
    """Name a record's provider in lower case; by its log where the export names that alone; empty if several write to it."""
    provider, channel = record.provider.lower(), record.channel.lower()
    if provider:
        return provider if provider in PROVIDERS else _SHORT.get(provider, _completed(provider))
    if channel == "security":
        return "microsoft-windows-eventlog" if record.event_id < 1200 else "microsoft-windows-security-auditing"
    if channel == "system":
        return "eventlog" if record.event_id in EVENTLOG else "service control manager"
    if channel == "windows powershell":
        return "powershell"
    return _SHORT.get(channel, channel.partition("/")[0]) or _provider_of_message(record)


def _provider_of_message(record: WindowsRecord) -> str:
    """Name the provider whose message an export shows without it, where id and message agree; empty where they do not."""
    message, number = record.message, record.event_id
    if "UtcTime:" in message:
        return "microsoft-windows-sysmon"
    if number in POWERSHELL and "scriptblock" in message.lower():
        return "microsoft-windows-powershell"
    if number in EVENTLOG and "log was cleared" in message:
        return "microsoft-windows-eventlog"
    if number in SERVICES and "service" in message.lower():
        return "service control manager"
    is_audit = any(label in message for label in ("Security ID:", "Account Name:", "Logon Account:"))
    return "microsoft-windows-security-auditing" if number in security.TABLE and is_audit else ""


def _completed(provider: str) -> str:
    """Return the provider that a shown name means: without its first words, or with spaces and a full stop."""
    shown = provider.rstrip(".")
    names = (shown.replace(" ", "-"), f"microsoft-windows-{shown.replace(' ', '-')}", f"microsoft-windows-{shown}")
    return next((name for name in names if name in PROVIDERS), provider)


def convert_windows(read: Callable[[Mapping[str, Any]], WindowsRecord], raw: Mapping[str, Any]) -> Result:
    """Return when a Windows record was made and what it becomes, by a shape's reader."""
    record = read(raw)
    if record.event_id < 0:
        return None, Skipped("a Windows record without an event id")
    provider = _provider_of(record)
    family, table = PROVIDERS.get(provider, ("SQL Server", SQL_SERVER) if provider.startswith("mssql") else ("", {}))
    if not family:
        source = record.provider or record.channel
        if not source:
            return record.time, Skipped(f"event {record.event_id} without provider and channel, which say whose it is")
        return record.time, Skipped(f"no mapping for {source} event {record.event_id}")
    return record.time, convert(record, table, family)


_LOG_SOURCES = ("windows/sysmon", "windows/security", "windows/system", "windows/powershell")
FORMATS = tuple(
    Format(shape.name, shape.has_shape, partial(convert_windows, shape.read), _LOG_SOURCES, shape.export)
    for shape in SHAPES
)
