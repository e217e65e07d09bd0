"""The shapes in which people export Windows event logs, a recogniser and a reader each; every one becomes a `WindowsRecord`.

`SHAPES` are tried in their order. Where a shape has the event's named data, these are the record's; where it has only
values in order or the rendered message, `windows_messages` reads them. Sources: Microsoft, "Event Schema" and
"Get-WinEvent"; evtx (`evtx_dump`), EvtxECmd, Hayabusa, Chainsaw, Velociraptor, Elastic ("Winlogbeat: exported fields",
"ECS field reference"), Splunk Add-on for Microsoft Windows, NXLog ("im_msvistalog"), Wazuh ("Windows eventchannel"),
Azure Monitor ("SecurityEvent", "Event", "WindowsEvent"): the names of their fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from telemetry.importers.times import TIME_OUTSIDE, UnsettledTime, read_time
from telemetry.importers.values import clean_int, first_of, is_blank, json_value, mapping
from telemetry.importers.windows import WindowsRecord
from telemetry.importers.windows_messages import named_values, underscored_values
from telemetry.importers.xml_events import parse_event

Raw = Mapping[str, Any]
_SAME_CLOCK_S = 120  # a sensor's own time and its log's differ by less than this, time zones apart
_QUARTER_S = 900  # every time zone is a multiple of it


class Shape(NamedTuple):
    """A shape of Windows records: `read` gives a record, with the event id -1 where the shape's place for it holds none."""

    name: str
    has_shape: Callable[[Raw], bool]
    read: Callable[[Raw], WindowsRecord]
    export: str


# ---------------------------------------------------------------- elements
def _event_id(value: Any) -> int:
    if isinstance(value, dict):
        value = first_of(value, ("#text", "Value", "id"))
    number = clean_int(value) if value is not None else None
    return number if number is not None else -1


def _attributes(element: Any) -> Mapping[str, Any]:
    """Return an element's attributes: under `#attributes`, with an `@` (xmltodict), or as its values (Velociraptor)."""
    if not isinstance(element, dict):
        return {}
    inner = element.get("#attributes")
    return inner if isinstance(inner, dict) else {name.lstrip("@"): value for name, value in element.items()}


def _attribute(element: Any, name: str) -> Any:
    """Return an element's attribute; an element that is one value is the attribute itself."""
    return _attributes(element).get(name) if isinstance(element, dict) else element


def _well_known_user(sid: object) -> str | None:
    """Name an account whose SID is the same on every machine (MS-DTYP 2.4.2.4)."""
    return {"S-1-5-18": "SYSTEM", "S-1-5-19": "LOCAL SERVICE", "S-1-5-20": "NETWORK SERVICE"}.get(str(sid))


_OF_THE_ELEMENT = ("#attributes", "@Name", "@xmlns", "@type")


def _flatten(node: Any) -> tuple[dict[str, Any], list[str]]:
    """Return named and unnamed values of an EventData or UserData element; one inner element is no level of its own."""
    if isinstance(node, str):
        node = _parsed_data(node)
    if isinstance(node, list):
        node = {"Data": node}
    if not isinstance(node, dict):
        return {}, []
    named = dict(node)
    for attributes in _OF_THE_ELEMENT:
        named.pop(attributes, None)
    if len(named) == 1:
        inner = next(iter(named.values()))
        if isinstance(inner, dict) and not _is_value(inner):
            return _flatten(inner)
    data = named.pop("Data", None)
    if data is None:
        return named, []
    elements = data if isinstance(data, list) else [] if is_blank(data) else [data]
    values: list[str] = []
    for element in elements:
        name = _attributes(element).get("Name") or (element.get("name") if isinstance(element, dict) else None)
        text = first_of(element, ("#text", "Value", "value", "content")) if isinstance(element, dict) else element
        if name:
            named[str(name)] = text
        else:
            values += [str(part or "") for part in (text if isinstance(text, list) else [text])]
    return named, values


def _is_value(element: Mapping[str, Any]) -> bool:
    return "#text" in element or "@Name" in element or "Data" in element


def _parsed_data(text: str) -> Any:
    """Parse EventData that is written as JSON or XML (Sentinel's WindowsEvent and Event)."""
    if text.lstrip()[:1] == "<":
        return mapping(parse_event(text)).get("Event")
    return json_value(text)


def _time_of(written: Any, data: Raw) -> datetime | None:
    moment = read_time(written)
    return moment if moment and moment.microsecond else _best_time(moment, read_time(data.get("UtcTime")))


# ---------------------------------------------------------------- the event's own elements
def _has_system(raw: Raw) -> bool:
    return "System" in mapping(raw.get("Event"))


def _has_bare_system(raw: Raw) -> bool:
    system = raw.get("System")
    return isinstance(system, dict) and ("EventID" in system or "Provider" in system)


def _from_event(event: Raw) -> WindowsRecord:
    """Read an event's elements, as XML has them and as converters write them."""
    system = mapping(event.get("System"))
    data, values = _flatten(event.get("EventData") or event.get("UserData"))
    sid = _attribute(system.get("Security"), "UserID")
    message = event.get("Message") or ("RenderingInfo" in event and mapping(event["RenderingInfo"]).get("Message"))
    return WindowsRecord(
        provider=str(_attribute(system.get("Provider"), "Name") or ""),
        channel=str(system.get("Channel") or ""),
        event_id=_event_id(system.get("EventID")),
        computer=system.get("Computer"),
        data=data,
        time=_time_of(_attribute(system.get("TimeCreated"), "SystemTime"), data),
        message=str(message or ""),
        user=_well_known_user(sid) or sid,
        values=values,
        keywords=system.get("Keywords"),
    )


# ---------------------------------------------------------------- Winlogbeat and ECS
_ECS: Mapping[str, str] = {  # what Elastic's modules move out of event_data, by the names that it had there
    "process.executable": "Image NewProcessName ProcessName SourceImage",
    "process.command_line": "CommandLine",
    "process.pid": "ProcessId NewProcessId",
    "process.entity_id": "ProcessGuid",
    "process.pe.original_file_name": "OriginalFileName",
    "process.pe.company": "Company",
    "process.parent.executable": "ParentImage ParentProcessName",
    "process.parent.command_line": "ParentCommandLine",
    "file.path": "TargetFilename ImageLoaded",
    "file.pipe.name": "PipeName",
    "registry.path": "TargetObject",
    "registry.data.strings": "Details",
    "source.ip": "SourceIp IpAddress SourceAddress",
    "source.port": "SourcePort IpPort",
    "source.domain": "WorkstationName",
    "destination.ip": "DestinationIp DestAddress",
    "destination.port": "DestinationPort DestPort",
    "destination.domain": "DestinationHostname",
    "dns.question.name": "QueryName",
    "powershell.file.script_block_text": "ScriptBlockText",
    "service.name": "ServiceName",
    "group.name": "GroupName",
}
_SIGN_INS = frozenset({4624, 4625, 4634, 4647, 4648, 4768, 4769, 4771, 4776})  # their user.name is the target


def _ecs_value(raw: Raw, path: str) -> Any:
    node: Any = raw
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node[0] if isinstance(node, list) and node else node


def _ecs_data(raw: Raw, event_id: int) -> dict[str, Any]:
    """Return what a record's ECS fields say, by the names of event data."""
    data: dict[str, Any] = {}
    for path, names in _ECS.items():
        value = _ecs_value(raw, path)
        if value is not None:
            data |= dict.fromkeys(names.split(), value)
    user = mapping(raw.get("user"))
    name, domain = user.get("name"), user.get("domain")
    if name:
        data["User"] = f"{domain}\\{name}" if domain else name
        data["TargetUserName" if event_id in _SIGN_INS else "SubjectUserName"] = name
    if target := _ecs_value(raw, "user.target.name"):
        data["TargetUserName"] = target
    hashes = mapping(mapping(raw.get("process")).get("hash") or mapping(raw.get("file")).get("hash"))
    if hashes:
        data["Hashes"] = ",".join(f"{kind.upper()}={value}" for kind, value in hashes.items())
    return data


def _from_winlogbeat(raw: Raw, log: Raw, provider: str, channel: str) -> WindowsRecord:
    """Read winlogbeat's record, whose values stand in `log`: the record itself (version 6) or an object in it (7, 8)."""
    data, values = _flatten(log.get("event_data") or log.get("user_data"))
    event = mapping(raw.get("event"))
    event_id = _event_id(first_of(log, ("event_id",)) or event.get("code"))
    if "process" in raw or "source" in raw or "user" in raw or "file" in raw or "registry" in raw:
        data = _ecs_data(raw, event_id) | data
    user = mapping(log.get("user"))
    written = raw.get("@timestamp") or first_of(event, ("created", "ingested"))
    return WindowsRecord(
        provider=str(log.get(provider) or event.get("provider") or ""),
        channel=str(log.get(channel) or ""),
        event_id=event_id,
        computer=log.get("computer_name") or _host(raw),
        data=data,
        time=_time_of(written, data),
        message=str(raw.get("message") or ""),
        user=user.get("name") or user.get("identifier"),
        values=values,
        keywords=log.get("keywords") or (f"Audit {event['outcome']}" if "outcome" in event else None),
    )


def _host(raw: Raw) -> Any:
    return first_of(mapping(raw.get("host")), ("name", "hostname"))


def _from_winlogbeat_7(raw: Raw) -> WindowsRecord:
    return _from_winlogbeat(raw, raw["winlog"], "provider_name", "channel")


def _from_winlogbeat_6(raw: Raw) -> WindowsRecord:
    return _from_winlogbeat(raw, raw, "source_name", "log_name")


def _is_ecs(raw: Raw) -> bool:
    event = mapping(raw.get("event"))
    provider = str(event.get("provider") or "").lower()
    return "code" in event and (provider.startswith(("microsoft-windows-", "powershell")) or provider in _SERVICES)


_SERVICES = ("service control manager", "eventlog")


def _from_ecs(raw: Raw) -> WindowsRecord:
    """Read a record whose event data were moved to ECS fields altogether."""
    return _from_winlogbeat(raw, {}, "provider_name", "channel")


# ---------------------------------------------------------------- OpenTelemetry
def _is_otel(raw: Raw) -> bool:
    return isinstance(raw.get("provider"), dict) and "event_id" in raw and "system_time" in raw


def _from_otel(raw: Raw) -> WindowsRecord:
    data, values = _flatten(raw.get("event_data"))
    if isinstance(raw.get("event_data"), list):  # one-entry objects
        data = {name: value for pair in raw["event_data"] if isinstance(pair, dict) for name, value in pair.items()}
    return WindowsRecord(
        provider=str(mapping(raw.get("provider")).get("name") or ""),
        channel=str(raw.get("channel") or ""),
        event_id=_event_id(raw.get("event_id")),
        computer=raw.get("computer"),
        data=data,
        time=_time_of(raw.get("system_time"), data),
        message=str(raw.get("message") or ""),
        user=mapping(raw.get("security")).get("user_id"),
        values=values,
        keywords=raw.get("keywords"),
    )


# ---------------------------------------------------------------- Fluentd
def _is_fluentd(raw: Raw) -> bool:
    return "event_id" in raw and "provider_name" in raw and "channel" in raw


def _from_fluentd(raw: Raw) -> WindowsRecord:
    provider, event_id = str(raw["provider_name"]), _event_id(raw["event_id"])
    inserts = raw.get("string_inserts")
    data, values = _flatten(raw.get("event_data"))
    if isinstance(inserts, list):
        data, values = named_values(provider, event_id, inserts), [str(value) for value in inserts]
    return WindowsRecord(
        provider=provider,
        channel=str(raw["channel"]),
        event_id=event_id,
        computer=first_of(raw, ("computer", "computer_name")),
        data=data,
        time=_time_of(first_of(raw, ("time_created", "@timestamp", "timestamp")), data),
        message=str(first_of(raw, ("description", "message")) or ""),
        values=values,
        keywords=raw.get("keywords"),
    )


# ---------------------------------------------------------------- PowerShell
def _is_get_winevent(raw: Raw) -> bool:
    names = raw.keys() & {"ProviderName", "LogName", "TimeCreated", "Message"}
    return "Id" in raw and len(names) > 1 and not names.isdisjoint(("TimeCreated", "Message"))


def _from_get_winevent(raw: Raw) -> WindowsRecord:
    """Read an EventLogRecord of .NET: its properties have no names, and its message is the second source."""
    provider, event_id = str(raw.get("ProviderName") or ""), _event_id(raw.get("Id"))
    channel = str(raw.get("LogName") or "")
    properties = raw.get("Properties")
    values = [_property(value) for value in properties] if isinstance(properties, list) else []
    data = named_values(provider or channel.partition("/")[0], event_id, values)
    sid = _property(raw.get("UserId"))
    return WindowsRecord(
        provider=provider,
        channel=channel,
        event_id=event_id,
        computer=raw.get("MachineName"),
        data=data,
        time=_time_of(raw.get("TimeCreated"), data),
        message=str(raw.get("Message") or ""),
        user=_well_known_user(sid) or sid,
        values=[str(value) for value in values],
        keywords=raw.get("KeywordsDisplayNames") or raw.get("Keywords"),
    )


def _property(value: Any) -> Any:
    while isinstance(value, dict) and ("Value" in value or "value" in value):
        value = first_of(value, ("Value", "value"))
    return value


# ---------------------------------------------------------------- forensic tools
def _is_evtxecmd(raw: Raw) -> bool:
    return "EventId" in raw and "Channel" in raw and ("MapDescription" in raw or "Payload" in raw or "Provider" in raw)


_MAPPED = {  # the columns that EvtxECmd's maps fill, by names of event data
    "ExecutableInfo": ("CommandLine", "ImagePath", "ServiceFileName", "ScriptBlockText", "Application"),
    "UserName": ("User", "SubjectUserName"),
}


def _from_evtxecmd(raw: Raw) -> WindowsRecord:
    """Read a row of EvtxECmd: the payload is the event's data; without it, the columns that its maps fill."""
    payload = mapping(json_value(raw.get("Payload")))
    data, values = _flatten(payload.get("EventData") or payload.get("UserData"))
    if not data:
        data = {name: raw[column] for column, names in _MAPPED.items() if raw.get(column) for name in names}
        lines = "\n".join(str(raw[name]) for name in sorted(raw) if name.startswith("PayloadData"))
        data |= _pairs(lines, "\n", ":")
        remote = re.fullmatch(r"(.*?)\s*\(([\da-fA-F.:]+)\)", str(raw.get("RemoteHost") or ""))
        if remote:
            data |= {"WorkstationName": remote[1], "IpAddress": remote[2], "SourceIp": remote[2]}
        if "TargetUserName" in data:
            data["TargetUserName"] = str(data["TargetUserName"]).rpartition("\\")[2]
    sid = raw.get("UserId")
    return WindowsRecord(
        provider=str(raw.get("Provider") or ""),
        channel=str(raw.get("Channel") or ""),
        event_id=_event_id(raw["EventId"]),
        computer=raw.get("Computer"),
        data=data,
        time=_time_of(raw.get("TimeCreated"), data),
        user=_well_known_user(sid) or sid,
        values=values,
        keywords=raw.get("Keywords"),
    )


def _pairs(text: str, between: str, after: str) -> dict[str, str]:
    """Return the values of `name: value` parts of a text, by the events' own names; Target: DOMAIN\\user names an account."""
    values: dict[str, str] = {}
    for part in text.split(between):
        name, mark, value = part.strip().partition(after)
        if not mark and (logon := re.fullmatch(r"LogonType (\d+)", part.strip())):
            values["LogonType"] = logon[1]
        elif value.strip():
            values |= dict.fromkeys(_ABBREVIATED.get(name.strip(), (name.strip(),)), value.strip())
    return values


_ABBREVIATED: Mapping[str, tuple[str, ...]] = {  # Hayabusa's abbreviations and EvtxECmd's labels
    "Access": ("GrantedAccess",),
    "Acct": ("AccountName", "ServiceAccount"),
    "AuthPkg": ("AuthenticationPackageName",),
    "Cmdline": ("CommandLine",),
    "Content": ("TaskContent",),
    "Group": ("TargetUserName",),
    "LID": ("LogonId", "SubjectLogonId", "TargetLogonId"),
    "LogonProcess": ("LogonProcessName",),
    "Name": ("TaskName", "ServiceName"),
    "PGUID": ("ProcessGuid",),
    "PID": ("ProcessId", "NewProcessId"),
    "ParentCmdline": ("ParentCommandLine",),
    "ParentProcess": ("ParentImage", "ParentProcessName"),
    "ParentProc": ("ParentImage", "ParentProcessName"),
    "Path": ("TargetFilename", "ImagePath", "ServiceFileName", "RelativeTargetName", "Path"),
    "Proc": ("Image", "NewProcessName", "ProcessName"),
    "ProcessID": ("ProcessId", "NewProcessId"),
    "Query": ("QueryName",),
    "Result": ("QueryResults",),
    "ScriptBlock": ("ScriptBlockText",),
    "Share": ("ShareName",),
    "SrcComp": ("WorkstationName", "Workstation"),
    "SrcHost": ("SourceHostname",),
    "SrcIP": ("SourceIp", "IpAddress", "SourceAddress"),
    "SrcPort": ("SourcePort", "IpPort"),
    "SrcProc": ("SourceImage",),
    "SrcUser": ("SubjectUserName", "SourceUser"),
    "Svc": ("ServiceName",),
    "Target": ("TargetUserName",),
    "TgtComp": ("TargetServerName",),
    "TgtGrp": ("TargetUserName",),
    "TgtHost": ("DestinationHostname",),
    "TgtIP": ("DestinationIp", "DestAddress"),
    "TgtObj": ("TargetObject",),
    "TgtPort": ("DestinationPort", "DestPort"),
    "TgtProc": ("TargetImage",),
    "TgtSvr": ("TargetServerName",),
    "TgtUser": ("TargetUserName", "TargetUser"),
    "Type": ("LogonType",),
    "User": ("User", "SubjectUserName"),
}
_CHANNELS = {  # Hayabusa's abbreviations of channels
    "BitsCli": "Microsoft-Windows-Bits-Client/Operational",
    "Defender": "Microsoft-Windows-Windows Defender/Operational",
    "Firewall": "Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",
    "PwSh": "Microsoft-Windows-PowerShell/Operational",
    "PwShClassic": "Windows PowerShell",
    "RDS-LSM": "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",
    "Sec": "Security",
    "Sys": "System",
    "Sysmon": "Microsoft-Windows-Sysmon/Operational",
    "TaskSch": "Microsoft-Windows-TaskScheduler/Operational",
    "WMI": "Microsoft-Windows-WMI-Activity/Operational",
}
_BAR = " ¦ "  # between the parts of Hayabusa's details


def _is_hayabusa(raw: Raw) -> bool:
    return "EventID" in raw and "Channel" in raw and ("Details" in raw or "AllFieldInfo" in raw) and "Timestamp" in raw


def _parts(value: Any) -> dict[str, Any]:
    """Return details, which are text with bars between their parts or an object, by the events' own names."""
    if isinstance(value, str):
        return dict(_pairs(value, _BAR.strip(), ":"))
    return {
        name: part for label, part in mapping(value).items() for name in _ABBREVIATED.get(str(label), (str(label),))
    }


def _from_hayabusa(raw: Raw) -> WindowsRecord:
    """Read a row of Hayabusa's timeline; what it shows of an event depends on the profile, full names come first."""
    data = _parts(raw.get("Details")) | _parts(raw.get("ExtraFieldInfo")) | _parts(raw.get("AllFieldInfo"))
    logon_type = str(data.get("LogonType") or "")
    if " - " in logon_type:
        data["LogonType"] = logon_type.partition(" ")[0]
    channel = str(raw.get("Channel") or "")
    return WindowsRecord(
        provider=str(raw.get("Provider") or ""),
        channel=_CHANNELS.get(channel, channel),
        event_id=_event_id(raw["EventID"]),
        computer=raw.get("Computer"),
        data=data,
        time=_time_of(raw["Timestamp"], data),
    )


def _is_chainsaw(raw: Raw) -> bool:
    return "Event ID" in raw and "detections" in raw and "Event Data" in raw


def _from_chainsaw(raw: Raw) -> WindowsRecord:
    """Read a row of Chainsaw's tables, whose event data are lines of `name: value`."""
    data = _pairs(str(raw["Event Data"]).replace(_BAR, "\n"), "\n", ": ")
    return WindowsRecord(
        provider=str(first_of(raw, ("Event.System.Provider", "Provider")) or ""),
        channel=str(first_of(raw, ("Channel", "Event.System.Channel")) or ""),
        event_id=_event_id(raw["Event ID"]),
        computer=raw.get("Computer"),
        data=data,
        time=_time_of(raw.get("timestamp"), data),
    )


def _is_chainsaw_1(raw: Raw) -> bool:
    return "detection_rules" in raw and "system_time" in raw and "id" in raw


def _from_chainsaw_1(raw: Raw) -> WindowsRecord:
    """Read a row of Chainsaw 1: the event's id and what of its data the rule's columns show."""
    data = {name.removeprefix("Event.EventData."): value for name, value in raw.items() if name.startswith("Event.")}
    event_id = _event_id(raw["id"])
    is_sysmon = event_id <= _LAST_OF_SYSMON
    return WindowsRecord(
        provider="Microsoft-Windows-Sysmon" if is_sysmon else "",
        channel="" if is_sysmon else "Security",
        event_id=event_id,
        computer=raw.get("computer_name"),
        data={"Image" if is_sysmon else "NewProcessName": raw.get("process_name"), **data},
        time=read_time(raw["system_time"]),
    )


_LAST_OF_SYSMON = 29  # its events' numbers; those of the Security log are above 1100


# ---------------------------------------------------------------- Wazuh
def _is_wazuh(raw: Raw) -> bool:
    return "system" in mapping(mapping(raw.get("data")).get("win"))


def _from_wazuh(raw: Raw) -> WindowsRecord:
    """Read what Wazuh keeps of an event: names begin in lower case, and backslashes are doubled in all values or in none."""
    win = raw["data"]["win"]
    system, data = mapping(win.get("system")), mapping(win.get("eventdata"))
    texts = [value for value in data.values() if isinstance(value, str)]
    is_doubled = all(len(run) % 2 == 0 for text in texts for run in re.findall(r"\\+", text))
    named: dict[str, Any] = {}
    for name, value in data.items():
        text = value.replace("\\\\", "\\") if is_doubled and isinstance(value, str) else value
        named |= {name: text, name[:1].upper() + name[1:]: text}
    sid = first_of(system, ("userID", "userId"))
    return WindowsRecord(
        provider=str(system.get("providerName") or ""),
        channel=str(system.get("channel") or ""),
        event_id=_event_id(first_of(system, ("eventID", "eventId"))),
        computer=system.get("computer") or mapping(raw.get("agent")).get("name"),
        data=named,
        time=_time_of(system.get("systemTime") or raw.get("timestamp"), named),
        message=str(system.get("message") or "").strip('"'),
        user=_well_known_user(sid) or sid,
        values=[named["data"]] if isinstance(named.get("data"), str) else [],
        keywords=first_of(system, ("keywords", "severityValue")),
    )


# ---------------------------------------------------------------- flat records
def _is_splunk(raw: Raw) -> bool:
    return "EventCode" in raw and any(name in raw for name in ("ComputerName", "Computer", "host", "dest", "LogName"))


def _from_splunk(raw: Raw) -> WindowsRecord:
    """Read a search result: fields of the event's XML, or of its rendered message (Account_Name)."""
    source = str(first_of(raw, ("LogName", "Channel", "source", "sourcetype")) or "")
    provider = str(first_of(raw, ("SourceName", "ProviderName", "Name")) or "").strip("'")
    data = underscored_values(raw) | dict(raw)
    time = first_of(raw, ("SystemTime", "TimeCreated", "_time", "timestamp"))
    return WindowsRecord(
        provider=provider if raw.get("SourceName") or "-" in provider else "",
        channel=source.partition("WinEventLog:")[2] or source,
        event_id=_event_id(raw["EventCode"]),
        computer=first_of(raw, ("ComputerName", "Computer", "dvc", "host", "dest")),
        data=data,
        time=_time_of(str(time).strip("'") if isinstance(time, str) else time, data),
        message=str(raw.get("Message") or ""),
        user=first_of(raw, ("Sid", "UserID")),
        keywords=raw.get("Keywords"),
    )


def _is_event_viewer(raw: Raw) -> bool:
    return "Event ID" in raw and "Source" in raw and "Date and Time" in raw


def _from_event_viewer(raw: Raw) -> WindowsRecord:
    """Read a row of Event Viewer's "Save as CSV"; its providers are without their first words."""
    source = str(raw.get("Source") or "")
    return WindowsRecord(
        provider=source,
        channel="",
        event_id=_event_id(raw["Event ID"]),
        computer=raw.get("Computer"),
        data={},
        time=read_time(raw["Date and Time"]),
        message=str(raw.get("Message") or ""),
        user=raw.get("User"),
        keywords=raw.get("Keywords"),
    )


def _is_osquery(raw: Raw) -> bool:
    row = raw.get("columns")
    return isinstance(row, dict) and "eventid" in row and "data" in row


def _from_osquery(raw: Raw) -> WindowsRecord:
    """Read a row of osquery's windows_eventlog or windows_events, whose `data` is the event's data as JSON."""
    row = mapping(raw.get("columns"))
    inner = mapping(json_value(row.get("data")))
    data, values = _flatten(first_of(inner, ("EventData", "UserData")) or inner)
    host = first_of(row, ("computer_name",)) or raw.get("hostIdentifier")
    return WindowsRecord(
        provider=str(row.get("provider_name") or ""),
        channel=str(first_of(row, ("channel", "source")) or ""),
        event_id=_event_id(row.get("eventid")),
        computer=host,
        data=data,
        time=_time_of(first_of(row, ("datetime", "time")) or raw.get("unixTime"), data),
        values=values,
        keywords=row.get("keywords"),
    )


def _is_flat(raw: Raw) -> bool:
    return "EventID" in raw and any(
        name in raw for name in ("Channel", "EventLog", "SourceName", "Computer", "Provider", "MachineName")
    )


def _from_flat(raw: Raw) -> WindowsRecord:
    """Read NXLog's records, Azure's tables and their like: the record's values beside the event's, or these in a column."""
    data, values = _flatten(raw.get("EventData"))
    inserts = first_of(raw, ("StringInserts", "ReplacementStrings"))
    provider = str(first_of(raw, ("SourceName", "ProviderName", "EventSourceName", "Provider", "Source")) or "")
    if isinstance(inserts, list):
        values = [str(value) for value in inserts]
        data = named_values(provider, _event_id(raw["EventID"]), inserts)
    return WindowsRecord(
        provider=provider,
        channel=str(first_of(raw, ("Channel", "EventLog", "LogName")) or ""),
        event_id=_event_id(raw["EventID"]),
        computer=first_of(raw, ("Hostname", "Computer", "ComputerName", "MachineName")),
        data={**raw, **data} if data else raw,
        time=_flat_time(raw),
        message=str(first_of(raw, ("Message", "RenderedDescription")) or ""),
        user=_well_known_user(raw.get("UserID")) or first_of(raw, ("AccountName", "UserID", "SystemUserId")),
        values=values or [str(raw[name]) for name in ("param1", "param2", "param3") if name in raw],
        keywords=first_of(raw, ("Keywords", "EntryType", "EventType")),
    )


# ---------------------------------------------------------------- time
_TIMES = (
    *("TimeCreated", "@timestamp", "TimeGenerated", "timestamp", "TimeWritten", "SystemTime", "Timestamp"),
    *("EventTimeUTC", "UtcTime", "datetime", "DateTime", "Date and Time", "Date", "time", "Time", TIME_OUTSIDE),
)


def _flat_time(raw: Raw) -> datetime | None:
    """Return when the sensor's log took the record; NXLog's local time by the zone in which the collector's clocks differ."""
    written = read_time(raw.get("EventTime"))
    if written is None:
        shown = first_of(raw, _TIMES)
        return _time_of(shown, raw)
    received, stamped = read_time(raw.get("EventReceivedTime")), read_time(raw.get("@timestamp"))
    if received and stamped:
        written += _zone(received, stamped)
    return _best_time(written, read_time(raw.get("UtcTime")))


def _zone(local: datetime, utc: datetime) -> timedelta:
    return timedelta(seconds=round((utc - local).total_seconds() / _QUARTER_S) * _QUARTER_S)


def _best_time(written: datetime | None, sensed: datetime | None) -> datetime | None:
    """Return the record's own time; the sensor's (`UtcTime`) if the record has none, or only whole seconds.

    Both count in the record's clock, so that records of one log stay in order where the clocks have different zones.
    """
    if written is None:
        return sensed
    if sensed is None or written.microsecond or isinstance(written, UnsettledTime):
        return written
    shifted = sensed - _zone(written, sensed)
    return shifted if abs((shifted - written).total_seconds()) < _SAME_CLOCK_S else written


# ---------------------------------------------------------------- table of shapes
SHAPES: tuple[Shape, ...] = (
    Shape(
        "Windows event log (EVTX, XML)",
        _has_system,
        lambda raw: _from_event(raw["Event"]),
        "binary EVTX, Event Viewer's or `wevtutil`'s XML, `evtx_dump`, python-evtx, `chainsaw dump`",
    ),
    Shape(
        "Winlogbeat and Elastic Agent", lambda raw: isinstance(raw.get("winlog"), dict), _from_winlogbeat_7, "Elastic"
    ),
    Shape(
        "Winlogbeat 6", lambda raw: "log_name" in raw and "event_id" in raw, _from_winlogbeat_6, "Winlogbeat 5 and 6"
    ),
    Shape(
        "Velociraptor event logs", _has_bare_system, _from_event, "`parse_evtx` and the EventLogs artifacts, as JSON"
    ),
    Shape("OpenTelemetry Windows events", _is_otel, _from_otel, "the collector's windowseventlog receiver"),
    Shape("Fluentd Windows events", _is_fluentd, _from_fluentd, "Fluentd's windows_eventlog2 input"),
    Shape("Windows events in ECS", _is_ecs, _from_ecs, "Elastic's modules, whose event_data moved to ECS fields"),
    Shape("Wazuh Windows events", _is_wazuh, _from_wazuh, "Wazuh's alerts.json and archives.json"),
    Shape("osquery Windows events", _is_osquery, _from_osquery, "osquery's windows_eventlog and windows_events"),
    Shape("EvtxECmd", _is_evtxecmd, _from_evtxecmd, "`EvtxECmd --csv` or `--json`"),
    Shape("Hayabusa timeline", _is_hayabusa, _from_hayabusa, "`hayabusa csv-timeline` or `json-timeline`"),
    Shape("Chainsaw hunt", _is_chainsaw, _from_chainsaw, "`chainsaw hunt --csv`"),
    Shape("Chainsaw 1", _is_chainsaw_1, _from_chainsaw_1, "`chainsaw hunt --csv` of version 1"),
    Shape("Get-WinEvent", _is_get_winevent, _from_get_winevent, "`Get-WinEvent | ConvertTo-Json` or `Export-Csv`"),
    Shape("Event Viewer table", _is_event_viewer, _from_event_viewer, 'Event Viewer\'s "Save as", CSV or text'),
    Shape("Windows events in Splunk", _is_splunk, _from_splunk, "a search's export, as JSON or CSV"),
    Shape(
        "Windows events in flat records",
        _is_flat,
        _from_flat,
        "NXLog, Fluent Bit, Get-EventLog; Sentinel's SecurityEvent, Event and WindowsEvent",
    ),
)
