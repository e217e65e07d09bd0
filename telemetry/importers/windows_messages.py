"""Read a Windows event's values where an export shows only its rendered message, or its values without names.

`message_values` reads the message: `Label: value` lines of Sysmon (whose labels are the names), of Security (whose labels
repeat, so that the section decides), and the sentences of the service manager, the task scheduler and their like.
`named_values` names values that stand in the manifest's order (`Properties` of Get-WinEvent, `StringInserts`). Both read
what is not ambiguous and leave out the rest. Sources: Microsoft, "Windows security auditing: Events" (messages and order
of the values); "Sysmon v15"; the provider manifests (`wevtutil gp`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from telemetry.importers.values import clean_int, is_blank

# ---------------------------------------------------------------- messages
_LINE = re.compile(r"^([ \t]*)([A-Za-z][\w .,()/'-]{0,60}?)[ \t]*[:=][ \t]*(.*)$")
_NAME = re.compile(r"[A-Z][A-Za-z0-9]+")
_SECTIONS = {  # a section of a Security message, and how the names of its values begin
    "Subject": "Subject",
    "Creator Subject": "Subject",
    "New Logon": "Target",
    "Target Subject": "Target",
    "Account For Which Logon Failed": "Target",
    "Account Whose Credentials Were Used": "Target",
    "Account That Was Locked Out": "Target",
    "Account Information": "Target",
    "Target Account": "Target",
    "New Account": "Target",
    "New Computer Account": "Target",
    "Computer Account That Was Changed": "Target",
    "User": "Target",
    "Group": "Target",
    "Member": "Member",
}
_PARTS = {  # a label that repeats, and how the names of its value end
    "Account Name": "UserName",
    "Group Name": "UserName",
    "Account Domain": "DomainName",
    "Group Domain": "DomainName",
    "Supplied Realm Name": "DomainName",
    "Logon ID": "LogonId",
    "Security ID": "UserSid",
}
_LABELS: Mapping[str, tuple[str, ...]] = {  # a label, and the names that its value has in the events that show it
    "Accesses": ("AccessList",),
    "Access Mask": ("AccessMask",),
    "Application Name": ("Application",),
    "Application Path": ("ApplicationPath",),
    "Authentication Package": ("AuthenticationPackageName", "PackageName"),
    "Caller Process Name": ("CallerProcessName", "ProcessName"),
    "Changes": ("AuditPolicyChanges",),
    "Class": ("ObjectClass",),
    "Client Address": ("IpAddress", "ClientAddress"),
    "Client Name": ("ClientName",),
    "Creator Process ID": ("ProcessId",),
    "Creator Process Name": ("ParentProcessName",),
    "DN": ("ObjectDN",),
    "Destination Address": ("DestAddress",),
    "Destination Port": ("DestPort",),
    "Detection User": ("Detection User",),
    "Direction": ("Direction",),
    "Enabled Privileges": ("EnabledPrivilegeList",),
    "Error Code": ("Status",),
    "Failure Code": ("Status",),
    "Failure Reason": ("FailureReason",),
    "LDAP Display Name": ("AttributeLDAPDisplayName",),
    "Logon Account": ("TargetUserName",),
    "Logon Process": ("LogonProcessName",),
    "Logon Type": ("LogonType",),
    "Mandatory Label": ("MandatoryLabel",),
    "Modifying Application": ("ModifyingApplication",),
    "Modifying User": ("ModifyingUser",),
    "Name": ("Threat Name",),
    "Network Address": ("IpAddress",),
    "New Process ID": ("NewProcessId",),
    "New Process Name": ("NewProcessName",),
    "New Time": ("NewTime",),
    "New UAC Value": ("NewUacValue",),
    "New Value": ("NewValue", "New Value"),
    "New value": ("New Value",),
    "Object Name": ("ObjectName",),
    "Object Type": ("ObjectType",),
    "Object Value Name": ("ObjectValueName",),
    "Old UAC Value": ("OldUacValue",),
    "Old Value": ("OldValue", "Old Value"),
    "Old value": ("Old Value",),
    "Operation Type": ("OperationType",),
    "Owner": ("jobOwner",),
    "Path": ("Path",),
    "Port": ("IpPort",),
    "Pre-Authentication Type": ("PreAuthType",),
    "Previous Time": ("PreviousTime",),
    "Privileges": ("PrivilegeList",),
    "Process Command Line": ("CommandLine",),
    "Process ID": ("ProcessId",),
    "Process Name": ("ProcessName",),
    "Process Path": ("processPath",),
    "Properties": ("Properties",),
    "Relative Target Name": ("RelativeTargetName",),
    "Result Code": ("Status",),
    "Rule Name": ("RuleName",),
    "SAM Account Name": ("SamAccountName",),
    "Service Account": ("ServiceAccount", "AccountName"),
    "Service File Name": ("ServiceFileName", "ImagePath"),
    "Service Name": ("ServiceName",),
    "Service Start Type": ("ServiceStartType", "StartType"),
    "Session ID": ("SessionID",),
    "Severity": ("Severity Name",),
    "Share Name": ("ShareName",),
    "Source Address": ("IpAddress", "SourceAddress"),
    "Source Network Address": ("IpAddress", "Address", "Param3"),
    "Source Port": ("IpPort", "SourcePort"),
    "Source Workstation": ("Workstation",),
    "Status": ("Status",),
    "Sub Status": ("SubStatus",),
    "Subcategory GUID": ("SubcategoryGuid",),
    "Target Server Name": ("TargetServerName",),
    "Task Content": ("TaskContent",),
    "Task Name": ("TaskName",),
    "Task New Content": ("TaskContentNew",),
    "Ticket Encryption Type": ("TicketEncryptionType",),
    "User": ("User", "Param1"),
    "Value": ("AttributeValue",),
    "Workstation Name": ("WorkstationName",),
}
_GERMAN = {  # labels as Windows in German renders them
    "Antragsteller": "Subject",
    "Neue Anmeldung": "New Logon",
    "Konto, für das die Anmeldung fehlgeschlagen ist": "Account For Which Logon Failed",
    "Konto, dessen Anmeldeinformationen verwendet wurden": "Account Whose Credentials Were Used",
    "Gesperrtes Konto": "Account That Was Locked Out",
    "Kontoinformationen": "Account Information",
    "Zielkonto": "Target Account",
    "Neues Konto": "New Account",
    "Gruppe": "Group",
    "Mitglied": "Member",
    "Kontoname": "Account Name",
    "Kontodomäne": "Account Domain",
    "Gruppenname": "Group Name",
    "Gruppendomäne": "Group Domain",
    "Sicherheits-ID": "Security ID",
    "Anmelde-ID": "Logon ID",
    "Anmeldetyp": "Logon Type",
    "Anmeldeprozess": "Logon Process",
    "Anmeldevorgang": "Logon Process",
    "Authentifizierungspaket": "Authentication Package",
    "Arbeitsstationsname": "Workstation Name",
    "Quellarbeitsstation": "Source Workstation",
    "Quellnetzwerkadresse": "Source Network Address",
    "Quelladresse": "Source Address",
    "Quellport": "Source Port",
    "Clientadresse": "Client Address",
    "Fehlerursache": "Failure Reason",
    "Fehlercode": "Failure Code",
    "Unterstatus": "Sub Status",
    "Neue Prozess-ID": "New Process ID",
    "Neuer Prozessname": "New Process Name",
    "Erstellerprozess-ID": "Creator Process ID",
    "Erstellerprozessname": "Creator Process Name",
    "Name des Erstellerprozesses": "Creator Process Name",
    "Prozessbefehlszeile": "Process Command Line",
    "Prozess-ID": "Process ID",
    "Prozessname": "Process Name",
    "Dienstname": "Service Name",
    "Dienstdateiname": "Service File Name",
    "Dienststarttyp": "Service Start Type",
    "Dienstkonto": "Service Account",
    "Aufgabenname": "Task Name",
    "Aufgabeninhalt": "Task Content",
    "Objektname": "Object Name",
    "Objekttyp": "Object Type",
    "Zugriffsmaske": "Access Mask",
    "Freigabename": "Share Name",
    "Relativer Zielname": "Relative Target Name",
    "Ticketverschlüsselungstyp": "Ticket Encryption Type",
    "Zielservername": "Target Server Name",
}
_LONG = ("Task Content", "Task New Content", "Privileges", "Enabled Privileges")  # values that go over several lines
_SENTENCES: Mapping[int, str] = {  # messages that are one sentence (or a text between two), by event id
    59: r"associated with the (?P<url>\S+) URL",
    60: r"associated with the (?P<url>\S+) URL",
    106: r'User "(?P<UserContext>[^"]+)"\s+registered Task Scheduler task "(?P<TaskName>[^"]+)"',
    129: r'launch task "(?P<TaskName>[^"]+)"\s*, instance "(?P<Path>[^"]*)"',
    140: r'User "(?P<UserName>[^"]+)"\s+updated Task Scheduler task "(?P<TaskName>[^"]+)"',
    141: r'User "(?P<UserName>[^"]+)"\s+deleted Task Scheduler task "(?P<TaskName>[^"]+)"',
    200: r'launched action "(?P<ActionName>[^"]*)" in instance "[^"]*" of task "(?P<TaskName>[^"]+)"',
    3008: r"DNS query is completed for the name (?P<QueryName>\S+?), .* Results (?P<QueryResults>.*)",
    4104: r"Creating Scriptblock text \(\d+ of \d+\):\s*\n(?P<ScriptBlockText>.*?)\s*\nScriptBlock ID:[^\n]*"
    r"(?:\n\s*Path:[ \t]*(?P<Path>[^\n]*))?",
    7000: r"The (?P<param1>.+?) service failed to start due to the following error:\s*(?P<param2>.*)",
    7023: r"The (?P<param1>.+?) service terminated with the following error:\s*(?P<param2>.*)",
    7031: r"The (?P<param1>.+?) service terminated unexpectedly",
    7034: r"The (?P<param1>.+?) service terminated unexpectedly",
    7035: r"The (?P<param1>.+?) service was successfully sent an? (?P<param2>.+?) control",
    7036: r"The (?P<param1>.+?) service entered the (?P<param2>\w+) state",
    7040: r"start type of the (?P<param1>.+?) service was changed from (?P<param2>.+?) to (?P<param3>.+?)\.?\s*$",
}


def message_values(event_id: int, message: str) -> dict[str, Any]:
    """Return the named values that a rendered message shows; none where it shows none that is not ambiguous."""
    text = message.replace("\r\n", "\n")
    sentence = re.search(_SENTENCES[event_id], text, re.DOTALL) if event_id in _SENTENCES else None
    if sentence:
        return {name: value for name, value in sentence.groupdict().items() if value}
    if "\n" not in text.strip():
        text = _broken(text, event_id)
    values: dict[str, Any] = {}
    for name, value in _labelled_values(text):
        if not is_blank(value):
            values.setdefault(name, value.lower() if name.endswith(("LogonId", "Status")) else value)
    return values


def _broken(text: str, event_id: int) -> str:
    """Put the labels of a message whose lines an export joined on lines of their own: those of a Security or Sysmon message."""
    sysmon = _ORDER["microsoft-windows-sysmon"].get(event_id, "").split()
    return _label_pattern(event_id if sysmon else -1).sub(
        lambda match: f"\n{'' if match[1] in _SECTIONS else ' '}{match[1]}:", text
    )


@lru_cache(maxsize=64)
def _label_pattern(event_id: int) -> re.Pattern[str]:
    """Return a pattern of the labels that a message may show: an event's of Sysmon, or the Security log's."""
    sysmon = _ORDER["microsoft-windows-sysmon"].get(event_id, "").split()
    labels = sorted(sysmon or {*_SECTIONS, *_PARTS, *_LABELS}, key=len, reverse=True)
    return re.compile(rf"(?<=\s)({'|'.join(map(re.escape, labels))}):")


def _labelled_values(text: str) -> list[tuple[str, str]]:
    """Return names and values of `Label: value` lines, in their order."""
    pairs: list[tuple[str, str]] = []
    section, names = "", tuple[str, ...]()
    for line in text.split("\n"):
        match = _LINE.match(line)
        if match is None or (names and "<" in line[:40]):
            pairs += [(name, line.strip()) for name in names if line.strip()]
            continue
        indent, label, value = match.groups()
        label = _GERMAN.get(label, label)
        if not value and not indent:
            section = label
        pairs = _joined(pairs, names)
        known = _names(section, label)
        names = known if label in _LONG else ()
        pairs += [(name, value.strip()) for name in known]
    return _joined(pairs, names)


def _joined(pairs: list[tuple[str, str]], names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Join the lines of a value that goes over several."""
    if not names:
        return pairs
    lines = [value for name, value in pairs if name == names[0]]
    return [pair for pair in pairs if pair[0] not in names] + [(name, "\n".join(lines).strip()) for name in names]


def _names(section: str, label: str) -> tuple[str, ...]:
    """Return the names of a label's value: by its section if the label repeats, its own if it is a name already."""
    if label in _PARTS:
        prefix = _SECTIONS.get(section)
        if prefix == "Member" and label == "Account Name":
            return ("MemberName",)
        return (f"{prefix}{_PARTS[label]}".replace("MemberUserSid", "MemberSid"),) if prefix else ()
    return _LABELS.get(label) or ((label,) if _NAME.fullmatch(label) else ())


def underscored_values(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Splunk extracts of a rendered message (Account_Name, New_Process_Name) by the values' own names.

    Of two accounts under one label the first is the subject, the second the target: the message's order.
    """
    values: dict[str, Any] = {}
    for key, value in raw.items():
        label = key.replace("_", " ")
        if label in _PARTS:
            accounts = value if isinstance(value, list) else str(value).split("\n")
            for prefix, account in zip(("Subject", "Target"), accounts, strict=False):
                values[f"{prefix}{_PARTS[label]}"] = account
        elif label in _LABELS:
            values |= dict.fromkeys(_LABELS[label], value[0] if isinstance(value, list) and value else value)
    return values


# ---------------------------------------------------------------- values without names
_SUBJECT = "SubjectUserSid SubjectUserName SubjectDomainName SubjectLogonId "
_TARGET = "TargetUserSid TargetUserName TargetDomainName TargetLogonId "
_MEMBER = "MemberName MemberSid TargetUserName TargetDomainName TargetSid " + _SUBJECT
_ACCOUNT = "TargetUserName TargetDomainName TargetSid " + _SUBJECT
_PROCESS = "RuleName UtcTime ProcessGuid ProcessId Image "
_CHANGE = "RuleName EventType UtcTime ProcessGuid ProcessId Image TargetObject "
_PIPE = "RuleName EventType UtcTime ProcessGuid ProcessId PipeName Image User"
_OPENED = "ObjectServer ObjectType ObjectName HandleId "
_ORDER: Mapping[str, Mapping[int, str]] = {
    "microsoft-windows-sysmon": {
        1: _PROCESS
        + "FileVersion Description Product Company OriginalFileName CommandLine CurrentDirectory User LogonGuid "
        "LogonId TerminalSessionId IntegrityLevel Hashes ParentProcessGuid ParentProcessId ParentImage ParentCommandLine "
        "ParentUser",
        3: _PROCESS + "User Protocol Initiated SourceIsIpv6 SourceIp SourceHostname SourcePort SourcePortName "
        "DestinationIsIpv6 DestinationIp DestinationHostname DestinationPort DestinationPortName",
        5: _PROCESS + "User",
        7: _PROCESS + "ImageLoaded FileVersion Description Product Company OriginalFileName Hashes Signed Signature "
        "SignatureStatus User",
        8: "RuleName UtcTime SourceProcessGuid SourceProcessId SourceImage TargetProcessGuid TargetProcessId TargetImage "
        "NewThreadId StartAddress StartModule StartFunction SourceUser TargetUser",
        10: "RuleName UtcTime SourceProcessGUID SourceProcessId SourceThreadId SourceImage TargetProcessGUID "
        "TargetProcessId TargetImage GrantedAccess CallTrace SourceUser TargetUser",
        11: _PROCESS + "TargetFilename CreationUtcTime User",
        12: _CHANGE + "User",
        13: _CHANGE + "Details User",
        17: _PIPE,
        18: _PIPE,
        22: "RuleName UtcTime ProcessGuid ProcessId QueryName QueryStatus QueryResults Image User",
        23: "RuleName UtcTime ProcessGuid ProcessId User Image TargetFilename Hashes IsExecutable Archived",
        26: "RuleName UtcTime ProcessGuid ProcessId User Image TargetFilename Hashes IsExecutable",
    },
    "microsoft-windows-security-auditing": {
        4624: _SUBJECT + _TARGET + "LogonType LogonProcessName AuthenticationPackageName WorkstationName LogonGuid "
        "TransmittedServices LmPackageName KeyLength ProcessId ProcessName IpAddress IpPort",
        4625: _SUBJECT + "TargetUserSid TargetUserName TargetDomainName Status FailureReason SubStatus LogonType "
        "LogonProcessName AuthenticationPackageName WorkstationName TransmittedServices LmPackageName KeyLength ProcessId "
        "ProcessName IpAddress IpPort",
        4634: _TARGET + "LogonType",
        4648: _SUBJECT
        + "LogonGuid TargetUserName TargetDomainName TargetLogonGuid TargetServerName TargetInfo ProcessId "
        "ProcessName IpAddress IpPort",
        4656: _SUBJECT + _OPENED + "TransactionId AccessList AccessReason AccessMask PrivilegeList RestrictedSidCount "
        "ProcessId ProcessName",
        4662: _SUBJECT + "ObjectServer ObjectType ObjectName OperationType HandleId AccessList AccessMask Properties",
        4663: _SUBJECT + _OPENED + "AccessList AccessMask ProcessId ProcessName",
        4672: _SUBJECT + "PrivilegeList",
        4688: _SUBJECT
        + "NewProcessId NewProcessName TokenElevationType ProcessId CommandLine "
        + _TARGET
        + "ParentProcessName "
        "MandatoryLabel",
        4689: _SUBJECT + "Status ProcessId ProcessName",
        4697: _SUBJECT + "ServiceName ServiceFileName ServiceType ServiceStartType ServiceAccount",
        4698: _SUBJECT + "TaskName TaskContent",
        4699: _SUBJECT + "TaskName TaskContent",
        4702: _SUBJECT + "TaskName TaskContentNew",
        4719: _SUBJECT + "CategoryId SubcategoryId SubcategoryGuid AuditPolicyChanges",
        **dict.fromkeys((4720, 4722, 4723, 4724, 4725, 4726, 4738, 4740), _ACCOUNT),
        **dict.fromkeys((4728, 4729, 4732, 4733, 4756, 4757), _MEMBER),
        4768: "TargetUserName TargetDomainName TargetSid ServiceName ServiceSid TicketOptions Status TicketEncryptionType "
        "PreAuthType IpAddress IpPort",
        4769: "TargetUserName TargetDomainName ServiceName ServiceSid TicketOptions TicketEncryptionType IpAddress IpPort "
        "Status LogonGuid",
        4771: "TargetUserName TargetSid ServiceName TicketOptions Status PreAuthType IpAddress IpPort",
        4776: "PackageName TargetUserName Workstation Status",
        5136: "OpCorrelationID AppCorrelationID " + _SUBJECT + "DSName DSType ObjectDN ObjectGUID ObjectClass "
        "AttributeLDAPDisplayName AttributeSyntaxOID AttributeValue OperationType",
        5140: _SUBJECT + "ObjectType IpAddress IpPort ShareName ShareLocalPath AccessMask AccessList",
        5145: _SUBJECT
        + "ObjectType IpAddress IpPort ShareName ShareLocalPath RelativeTargetName AccessMask AccessList",
        5156: "ProcessID Application Direction SourceAddress SourcePort DestAddress DestPort Protocol",
    },
    "service control manager": {
        7036: "param1 param2",
        7040: "param1 param2 param3 param4",
        7045: "ServiceName ImagePath ServiceType StartType AccountName",
    },
    "microsoft-windows-powershell": {
        4103: "ContextInfo UserData Payload",
        4104: "MessageNumber MessageTotal ScriptBlockText ScriptBlockId Path",
    },
}
_HEXADECIMAL = ("LogonId", "Status", "SubStatus", "AccessMask", "GrantedAccess", "TicketEncryptionType")


def named_values(provider: str, event_id: int, values: Sequence[Any]) -> dict[str, Any]:
    """Name values that stand in the manifest's order; nothing for an event whose order is not known here."""
    names = _ORDER.get(provider.lower(), {}).get(event_id, "").split()
    if "UtcTime" in names and len(values) > (place := names.index("UtcTime")) and ":" not in str(values[place]):
        names.remove("RuleName")  # Sysmon before version 8
    return {name: _written(name, value) for name, value in zip(names, values, strict=False) if not is_blank(value)}


def _written(name: str, value: Any) -> Any:
    """Write a value as the event's XML does: masks, statuses and sessions, which are numbers in PowerShell, in hexadecimal."""
    number = clean_int(value) if isinstance(value, int) else None
    return (
        hex(number & 0xFFFFFFFFFFFFFFFF if number >= 0 else number & 0xFFFFFFFF)
        if (number is not None and name.endswith(_HEXADECIMAL))
        else value
    )
