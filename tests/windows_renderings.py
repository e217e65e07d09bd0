"""Render one Windows event in each shape that people export, from its facts: provider, log, id, computer, time, named data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

Raw = dict[str, Any]
TIME, SECONDS = "2033-02-11T06:07:08.250Z", 1_991_714_828.25
RECORD_TIME = "2033-02-11 06:07:08.250"


@dataclass(frozen=True)
class Event:
    """The facts of an event; `message` is what Windows renders of it, `values` its data where they have no names."""

    provider: str
    channel: str
    event_id: int
    data: Mapping[str, str]
    message: str
    computer: str = "wks-31.alder.test"
    keywords: str = "0x8020000000000000"
    more: Mapping[str, str] = field(default_factory=dict)


SYSMON = Event(
    "Microsoft-Windows-Sysmon",
    "Microsoft-Windows-Sysmon/Operational",
    1,
    {
        "RuleName": "-",
        "UtcTime": RECORD_TIME,
        "ProcessGuid": "{0A0B0001-0000-6600-0009-000000000100}",
        "ProcessId": "5120",
        "Image": "C:\\Windows\\System32\\whoami.exe",
        "FileVersion": "10.0",
        "Description": "who",
        "Product": "Windows",
        "Company": "Example Corp",
        "OriginalFileName": "whoami.exe",
        "CommandLine": 'whoami /all "a: b"',
        "CurrentDirectory": "C:\\",
        "User": "ALDER\\rosa.lind",
        "LogonGuid": "{0A0B0001-0000-6600-0009-000000000200}",
        "LogonId": "0x4a11f",
        "TerminalSessionId": "1",
        "IntegrityLevel": "High",
        "Hashes": "SHA256=00AB",
        "ParentProcessGuid": "{0A0B0001-0000-6600-0009-000000000300}",
        "ParentProcessId": "4000",
        "ParentImage": "C:\\Windows\\System32\\cmd.exe",
        "ParentCommandLine": "cmd.exe /k",
        "ParentUser": "ALDER\\rosa.lind",
    },
    "",
)
FAILED = Event(
    "Microsoft-Windows-Security-Auditing",
    "Security",
    4625,
    {
        "SubjectUserSid": "S-1-0-0",
        "SubjectUserName": "-",
        "SubjectDomainName": "-",
        "SubjectLogonId": "0x0",
        "TargetUserSid": "S-1-0-0",
        "TargetUserName": "rosa.lind",
        "TargetDomainName": "ALDER",
        "Status": "0xc000006d",
        "FailureReason": "%%2313",
        "SubStatus": "0xc000006a",
        "LogonType": "3",
        "LogonProcessName": "NtLmSsp",
        "AuthenticationPackageName": "NTLM",
        "WorkstationName": "WKS-77",
        "TransmittedServices": "-",
        "LmPackageName": "-",
        "KeyLength": "0",
        "ProcessId": "0x0",
        "ProcessName": "-",
        "IpAddress": "203.0.113.44",
        "IpPort": "50100",
    },
    "An account failed to log on.\n\nSubject:\n\tSecurity ID:\t\tS-1-0-0\n\tAccount Name:\t\t-\n\tAccount Domain:\t\t-\n\tLogon ID:\t\t0x0\n\n"
    "Logon Type:\t\t\t3\n\nAccount For Which Logon Failed:\n\tSecurity ID:\t\tS-1-0-0\n\tAccount Name:\t\trosa.lind\n"
    "\tAccount Domain:\t\tALDER\n\nFailure Information:\n\tFailure Reason:\t\tUnknown user name or bad password.\n"
    "\tStatus:\t\t\t0xC000006D\n\tSub Status:\t\t0xC000006A\n\nProcess Information:\n\tCaller Process ID:\t0x0\n"
    "\tCaller Process Name:\t-\n\nNetwork Information:\n\tWorkstation Name:\tWKS-77\n\tSource Network Address:\t203.0.113.44\n"
    "\tSource Port:\t\t50100\n\nDetailed Authentication Information:\n\tLogon Process:\t\tNtLmSsp\n"
    "\tAuthentication Package:\tNTLM\n\tTransited Services:\t-\n\nThis event is generated when a logon request fails.",
    keywords="0x8010000000000000",
)
SERVICE = Event(
    "Service Control Manager",
    "System",
    7045,
    {
        "ServiceName": "Backup Helper",
        "ImagePath": "C:\\Tools\\helper.exe -q",
        "ServiceType": "user mode service",
        "StartType": "demand start",
        "AccountName": "LocalSystem",
    },
    "A service was installed in the system.\n\nService Name:  Backup Helper\nService File Name:  C:\\Tools\\helper.exe -q\n"
    "Service Type:  user mode service\nService Start Type:  demand start\nService Account:  LocalSystem",
    keywords="0x8080000000000000",
)
SCRIPT = Event(
    "Microsoft-Windows-PowerShell",
    "Microsoft-Windows-PowerShell/Operational",
    4104,
    {
        "MessageNumber": "1",
        "MessageTotal": "1",
        "ScriptBlockText": "Get-ADUser -Filter * |\nSelect Name",
        "ScriptBlockId": "b-1",
        "Path": "C:\\Tools\\list.ps1",
    },
    "Creating Scriptblock text (1 of 1):\nGet-ADUser -Filter * |\nSelect Name\n\nScriptBlock ID: b-1\nPath: C:\\Tools\\list.ps1",
    keywords="0x0",
)
EVENTS = {"sysmon": SYSMON, "failed": FAILED, "service": SERVICE, "script": SCRIPT}


def message(event: Event) -> str:
    """Return what Windows renders of an event; Sysmon's messages list its data."""
    lines = "\n".join(f"{name}: {value}" for name, value in event.data.items())
    return event.message or f"Process Create:\n{lines}"


def evtx(event: Event) -> Raw:
    system = {
        "Provider": {"#attributes": {"Name": event.provider}},
        "EventID": event.event_id,
        "TimeCreated": {"#attributes": {"SystemTime": TIME}},
        "Channel": event.channel,
        "Computer": event.computer,
        "Keywords": event.keywords,
    }
    return {"Event": {"System": system, "EventData": dict(event.data)}}


def _with_beside(event: Event) -> Raw:
    system = {
        "Provider_attributes": {"Name": event.provider},
        "EventID": event.event_id,
        "TimeCreated_attributes": {"SystemTime": TIME},
        "Channel": event.channel,
        "Computer": event.computer,
        "Keywords": event.keywords,
    }
    return {"Event_attributes": {"xmlns": "x"}, "Event": {"System": system, "EventData": dict(event.data)}}


def _chainsaw_dump(event: Event) -> Raw:
    return _with_beside(event)


def _chainsaw_hunt(event: Event) -> Raw:
    document = {"kind": "evtx", "path": "a.evtx", "data": _with_beside(event)}
    return {
        "group": "Sigma",
        "kind": "individual",
        "document": document,
        "name": "A rule",
        "timestamp": TIME,
        "level": "low",
    }


def _python_evtx(event: Event) -> Raw:
    data = [{"@Name": name, "#text": value} for name, value in event.data.items()]
    system = {
        "Provider": {"@Name": event.provider, "@Guid": "x"},
        "EventID": {"@Qualifiers": "", "#text": str(event.event_id)},
        "TimeCreated": {"@SystemTime": f"{RECORD_TIME}000 UTC"},
        "Channel": event.channel,
        "Computer": event.computer,
        "Keywords": event.keywords,
    }
    return {"Event": {"@xmlns": "x", "System": system, "EventData": {"Data": data}}}


def xml(event: Event) -> str:
    data = "".join(f"<Data Name={quoteattr(name)}>{escape(value)}</Data>" for name, value in event.data.items())
    return (
        f"<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='{event.provider}'/>"
        f"<EventID>{event.event_id}</EventID><Keywords>{event.keywords}</Keywords><TimeCreated SystemTime='{TIME}'/>"
        f"<Channel>{event.channel}</Channel><Computer>{event.computer}</Computer></System><EventData>{data}</EventData></Event>"
    )


def _velociraptor(event: Event) -> Raw:
    system = {
        "Provider": {"Name": event.provider, "Guid": "x"},
        "EventID": {"Value": event.event_id},
        "TimeCreated": {"SystemTime": SECONDS},
        "Channel": event.channel,
        "Computer": event.computer,
        "Keywords": int(event.keywords, 16),
    }
    return {"System": system, "EventData": dict(event.data), "Message": message(event)}


def _winlogbeat_6(event: Event) -> Raw:
    return {
        "@timestamp": TIME,
        "log_name": event.channel,
        "source_name": event.provider,
        "event_id": event.event_id,
        "computer_name": event.computer,
        "event_data": dict(event.data),
        "message": message(event),
    }


def _winlogbeat_8(event: Event) -> Raw:
    log = {
        "channel": event.channel,
        "provider_name": event.provider,
        "event_id": str(event.event_id),
        "computer_name": event.computer,
        "event_data": dict(event.data),
    }
    return {
        "@timestamp": TIME,
        "event": {"code": str(event.event_id), "provider": event.provider},
        "winlog": log,
        "message": message(event),
    }


def _elastic_agent(event: Event) -> Raw:
    flat = {"@timestamp": [TIME], "event.code": [str(event.event_id)], "winlog.channel": [event.channel]}
    flat |= {
        "winlog.provider_name": [event.provider],
        "winlog.computer_name": [event.computer],
        "winlog.event_id": [str(event.event_id)],
    }
    flat |= {f"winlog.event_data.{name}": [value] for name, value in event.data.items()}
    return {"_index": "logs-windows", "fields": flat}


def _elastic_hit(event: Event) -> Raw:
    return {"_index": "winlogbeat", "_source": _winlogbeat_8(event)}


def _otel(event: Event) -> Raw:
    return {
        "channel": event.channel,
        "computer": event.computer,
        "event_id": {"id": event.event_id, "qualifiers": 0},
        "provider": {"name": event.provider, "guid": "x"},
        "system_time": TIME,
        "event_data": dict(event.data),
        "message": message(event),
    }


def _wazuh(event: Event) -> Raw:
    data = {name[:1].lower() + name[1:]: value.replace("\\", "\\\\") for name, value in event.data.items()}
    system = {
        "providerName": event.provider,
        "eventID": str(event.event_id),
        "systemTime": TIME,
        "channel": event.channel,
        "computer": event.computer,
        "keywords": event.keywords,
    }
    return {
        "timestamp": "2033-02-11T06:07:10.000+0000",
        "rule": {"level": 3},
        "agent": {"name": "a"},
        "data": {"win": {"system": system, "eventdata": data}},
    }


def _evtxecmd(event: Event) -> Raw:
    payload = {"EventData": {"Data": [{"@Name": name, "#text": value} for name, value in event.data.items()]}}
    return {
        "RecordNumber": "1",
        "TimeCreated": f"{RECORD_TIME}0000",
        "EventId": str(event.event_id),
        "Provider": event.provider,
        "Channel": event.channel,
        "ProcessId": "2600",
        "Computer": event.computer,
        "MapDescription": "An event",
        "Keywords": "",
        "Payload": json.dumps(payload),
    }


def _hayabusa(event: Event) -> Raw:
    short = {
        "Security": "Sec",
        "System": "Sys",
        SYSMON.channel: "Sysmon",
        SCRIPT.channel: "PwSh",
    }
    return {
        "Timestamp": "2033-02-11 15:07:08.250 +09:00",
        "RuleTitle": "A rule",
        "Level": "low",
        "Computer": event.computer,
        "Channel": short[event.channel],
        "EventID": event.event_id,
        "RecordID": 1,
        "Details": {},
        "AllFieldInfo": dict(event.data),
        "RuleFile": "a.yml",
    }


def _property(name: str, value: str) -> Any:
    if name.endswith(("LogonId", "Status")):
        number = int(value, 16)
        return number - 2**32 if name.endswith("Status") else number
    return int(value) if value.isdecimal() else value


def _get_winevent_7(event: Event) -> Raw:
    keywords = int(event.keywords, 16)
    return {
        "Id": event.event_id,
        "ProviderName": event.provider,
        "LogName": event.channel,
        "ProcessId": 2600,
        "MachineName": event.computer,
        "TimeCreated": "2033-02-11T07:07:08.25+01:00",
        "Keywords": keywords - 2**64 if keywords >= 2**63 else keywords,
        "Properties": [{"Value": _property(name, value)} for name, value in event.data.items()],
    }


def _get_winevent_5(event: Event) -> Raw:
    return {
        "Message": message(event).replace("\n", "\r\n"),
        "Id": event.event_id,
        "ProviderName": event.provider,
        "LogName": event.channel,
        "MachineName": event.computer,
        "TimeCreated": {"value": f"\\/Date({int(SECONDS * 1000)})\\/", "DateTime": "Friday, 11 February 2033 07:07:08"},
        "KeywordsDisplayNames": {"value": ["Audit Failure" if event is FAILED else ""], "Count": 1},
    }


def _get_winevent_table(event: Event) -> Raw:
    return {
        "Message": message(event),
        "Id": str(event.event_id),
        "ProviderName": event.provider,
        "LogName": event.channel,
        "MachineName": event.computer,
        "TimeCreated": "2/13/2033 6:07:08 AM",
        "Properties": "System.Collections.Generic.List`1[System.Diagnostics.Eventing.Reader.EventProperty]",
    }


def _nxlog(event: Event) -> Raw:
    return {
        "EventTime": RECORD_TIME,
        "SourceName": event.provider,
        "Channel": event.channel,
        "EventID": event.event_id,
        "Hostname": event.computer,
        "Keywords": event.keywords,
        "Message": message(event),
        **event.data,
    }


def _security_event(event: Event) -> Raw:
    return {
        "TimeGenerated": TIME,
        "Computer": event.computer,
        "EventSourceName": event.provider,
        "Channel": event.channel,
        "EventID": event.event_id,
        "Type": "SecurityEvent",
        **event.data,
    }


def _windows_event(event: Event) -> Raw:
    return {
        "TimeGenerated": TIME,
        "Computer": event.computer,
        "Provider": event.provider,
        "Channel": event.channel,
        "EventID": str(event.event_id),
        "EventData": json.dumps(dict(event.data)),
        "Type": "WindowsEvent",
    }


def _event_table(event: Event) -> Raw:
    data = "".join(f"<Data Name={quoteattr(name)}>{escape(value)}</Data>" for name, value in event.data.items())
    return {
        "TimeGenerated": TIME,
        "Computer": event.computer,
        "Source": event.provider,
        "EventLog": event.channel,
        "EventID": event.event_id,
        "EventData": f'<DataItem type="System.XmlData"><EventData xmlns="urn:x">{data}</EventData></DataItem>',
        "RenderedDescription": message(event),
        "Type": "Event",
    }


def _splunk_xml(event: Event) -> Raw:
    return {"preview": False, "result": {"_time": "2033-02-11T06:07:08.250+00:00", "_raw": xml(event)}}


def _splunk_fields(event: Event) -> Raw:
    return {
        "_time": "2033-02-11T06:07:08.250+0000",
        "EventCode": str(event.event_id),
        "Computer": event.computer,
        "host": "wks-31",
        "source": f"XmlWinEventLog:{event.channel}",
        **event.data,
    }


def _splunk_text(event: Event) -> Raw:
    text = (
        f"02/11/2033 06:07:08 AM\nLogName={event.channel}\nSourceName={event.provider}\nEventCode={event.event_id}\n"
        f"EventType=0\nType=Information\nComputerName={event.computer}\nKeywords=Audit Failure\nMessage={message(event)}"
    )
    return {"result": {"_time": "2033-02-11T06:07:08.250+00:00", "_raw": text}}


def _graylog(event: Event) -> Raw:
    names = {"event_id": str(event.event_id), "provider_name": event.provider, "channel": event.channel}
    log = {**names, "computer_name": event.computer}
    flat = {f"winlogbeat_winlog_{name}": value for name, value in log.items()}
    flat |= {f"winlogbeat_winlog_event_data_{name}": value for name, value in event.data.items()}
    return {"timestamp": TIME, "source": "a", **flat}


def _fluentd(event: Event) -> Raw:
    return {
        "channel": event.channel,
        "event_id": str(event.event_id),
        "provider_name": event.provider,
        "computer": event.computer,
        "time_created": TIME,
        "string_inserts": list(event.data.values()),
        "description": message(event),
    }


def _azure_xml(event: Event) -> Raw:
    return {"time": TIME, "category": "WindowsEventLogsTable", "properties": {"EventId": 1, "RawXml": xml(event)}}


def _velociraptor_sigma(event: Event) -> Raw:
    return {"Timestamp": TIME, "Computer": event.computer, "EID": 1, "Title": "r", "_Event": _velociraptor(event)}


RENDERINGS: Mapping[str, Callable[[Event], Any]] = {
    "evtx_dump": evtx,
    "evtx_dump with attributes beside": _with_beside,
    "chainsaw dump": _chainsaw_dump,
    "chainsaw hunt": _chainsaw_hunt,
    "python-evtx": _python_evtx,
    "Velociraptor": _velociraptor,
    "Winlogbeat 6": _winlogbeat_6,
    "Winlogbeat 8": _winlogbeat_8,
    "Elastic search fields": _elastic_agent,
    "Elastic hit": _elastic_hit,
    "OpenTelemetry": _otel,
    "Wazuh": _wazuh,
    "EvtxECmd": _evtxecmd,
    "Hayabusa": _hayabusa,
    "Get-WinEvent, PowerShell 7": _get_winevent_7,
    "Get-WinEvent, PowerShell 5": _get_winevent_5,
    "NXLog": _nxlog,
    "Graylog": _graylog,
    "Fluentd": _fluentd,
    "Azure's event hub": _azure_xml,
    "Velociraptor, Sigma": _velociraptor_sigma,
    "SecurityEvent": _security_event,
    "WindowsEvent": _windows_event,
    "Event": _event_table,
    "Splunk, raw XML": _splunk_xml,
    "Splunk, fields": _splunk_fields,
    "Splunk, raw text": _splunk_text,
}
