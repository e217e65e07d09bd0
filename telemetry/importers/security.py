"""The Windows Security log: what each event id becomes.

Source: Microsoft, "Windows security auditing: Events" (fields, and the %%n codes of msobjs.dll); bits of account
control are those of MS-SAMR 2.2.1.12.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

from schema import REPLICATION_RIGHTS
from telemetry.importers.values import clean_int, clean_ip, is_blank
from telemetry.importers.windows import EventMapping, Names, Table, WindowsRecord

PROVIDERS = frozenset({"microsoft-windows-security-auditing"})

_INTEGRITY = {"4096": "Low", "8192": "Medium", "8448": "MediumPlus", "12288": "High", "16384": "System"}
_START_TYPES = {"0": "boot start", "1": "system start", "2": "auto start", "3": "demand start", "4": "disabled"}
_AUDIT_CHANGES = {
    "%%8448": "Success removed",
    "%%8449": "Success added",
    "%%8450": "Failure removed",
    "%%8451": "Failure added",
    "%%8452": "Success include removed",
    "%%8453": "Success include added",
    "%%8454": "Success exclude removed",
    "%%8455": "Success exclude added",
}
_ACCOUNT_BITS = (
    "account disabled",
    "home folder required",
    "password not required",
    "temporary duplicate",
    "normal account",
    "MNS logon account",
    "interdomain trust account",
    "workstation trust account",
    "server trust account",
    "password does not expire",
    "account locked",
    "reversible password encryption",
    "smart card required",
    "trusted for delegation",
    "not delegated",
    "DES keys only",
    "no preauthentication required",
    "password expired",
    "trusted to authenticate for delegation",
)


# ---------------------------------------------------------------- adjustments
def _outcome(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Add whether what was tried was granted."""
    values["outcome"] = record.outcome


def _sub_status(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Take the reason of 4625 from SubStatus, or from Status if that is zero."""
    why = record.get("SubStatus")
    if why and clean_int(why) != 0:
        values["status"] = why


def _launch(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Add the integrity, which a SID says, or in a rendered message its name (Mandatory Label\\High Mandatory Level)."""
    label = str(record.get("MandatoryLabel") or "")
    named = label.rpartition("\\")[2].removesuffix(" Mandatory Level")
    values["process_integrity"] = _INTEGRITY.get(
        label.rpartition("-")[2], named if named in _INTEGRITY.values() else None
    )


_ROOT_KEYS = (
    ("\\REGISTRY\\MACHINE", "HKLM"),
    ("\\REGISTRY\\USER", "HKU"),
    ("HKEY_LOCAL_MACHINE", "HKLM"),
    ("HKEY_CURRENT_USER", "HKCU"),
    ("HKEY_USERS", "HKU"),
)


def registry_path(path: object) -> str:
    r"""Return a path of the kernel (\REGISTRY\MACHINE\...) or of the API (HKEY_...) by Sysmon's name (HKLM\...)."""
    text = str(path or "")
    for root, name in _ROOT_KEYS:
        if text.upper().startswith(root):
            return name + text[len(root) :]
    return text


def _registry_value(record: WindowsRecord, values: dict[str, Any]) -> None:
    name = record.get("ObjectValueName")
    values["reg_key_path"] = registry_path(values["reg_key_path"]) + (f"\\{name}" if name else "")
    if record.get("OperationType") == "%%1906":
        values["activity"] = "key_delete"


def start_type_in_words(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Say in words when a service starts."""
    values["start_type"] = _START_TYPES.get(str(values["start_type"]), values["start_type"])


def _find(root: Element, name: str) -> str:
    element = root.find(f".//{{*}}{name}")
    return (element.text or "").strip() if element is not None else ""


def task_command(xml: object) -> tuple[str, str]:
    """Return command line and account of a task definition; a COM task's class id stands for its command.

    Not well-formed text gives nothing. Document types are refused, so that no entity is ever expanded.
    """
    text = re.sub(r"^\s*<\?xml.*?\?>", "", str(xml or ""), count=1)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return "", ""
    try:
        root = fromstring(text)
    except (ParseError, ValueError):
        return "", ""
    command = f"{_find(root, 'Command')} {_find(root, 'Arguments')}".strip()
    return command or _find(root, "ClassId"), _find(root, "UserId") or _find(root, "GroupId")


def _task(record: WindowsRecord, values: dict[str, Any]) -> None:
    values["job_cmd_line"], values["run_as"] = task_command(record.get("TaskContent", "TaskContentNew"))


def _attributes(*names: str) -> Any:
    """Add what changed of an account: the attributes that have a value, and the control bits that were set or cleared."""

    def adjust(record: WindowsRecord, values: dict[str, Any]) -> None:
        changes = []
        for name in names:
            value = record.get(name)
            if not is_blank(value) and not re.fullmatch(r"%%179\d", str(value)):
                changes.append(f"{name}={str(value).strip()}")
        old, new = clean_int(record.get("OldUacValue") or "x"), clean_int(record.get("NewUacValue") or "x")
        if old is not None and new is not None:
            changes += [f"set: {bit}" for bit in _bits(new & ~old)] + [f"cleared: {bit}" for bit in _bits(old & ~new)]
        values["attributes"] = "; ".join(changes)

    return adjust


def _bits(mask: int) -> list[str]:
    return [name for bit, name in enumerate(_ACCOUNT_BITS) if mask >> bit & 1]


def _directory_access(record: WindowsRecord, values: dict[str, Any]) -> None:
    asked = str(values["properties"] or "").lower()
    if any(right in asked for right in REPLICATION_RIGHTS):
        values["activity"] = "replication"


def _directory_change(record: WindowsRecord, values: dict[str, Any]) -> None:
    verbs = {"%%14674": "added", "%%14675": "removed", "Value Added": "added", "Value Deleted": "removed"}
    verb = verbs.get(str(record.get("OperationType")), "")
    attribute, value = record.get("AttributeLDAPDisplayName"), record.get("AttributeValue")
    if attribute:
        values["properties"] = f"{attribute}={value or ''} {verb}".strip()


def _wfp_direction(record: WindowsRecord, values: dict[str, Any]) -> None:
    words = {"%%14592": "inbound", "%%14593": "outbound", "Inbound": "inbound", "Outbound": "outbound"}
    values["direction"] = words.get(str(record.get("Direction")))
    if clean_ip(str(values.get("dst_ip") or "")) in ("127.0.0.1", "::1"):
        values["direction"] = None


def _audit_policy(record: WindowsRecord, values: dict[str, Any]) -> None:
    text = str(values["new_value"] or "")  # codes, or in a rendered message their words
    codes = re.findall(r"%%\d+", text)
    values["new_value"] = ", ".join(_AUDIT_CHANGES.get(code, code) for code in codes) or text


def _setting(name: str) -> Any:
    """Name the control that changed, followed by what the record says of it."""

    def adjust(record: WindowsRecord, values: dict[str, Any]) -> None:
        values["control_name"] = f"{name} {values.get('control_name') or ''}".strip()

    return adjust


def _typed(text: str) -> Any:
    def adjust(record: WindowsRecord, values: dict[str, Any]) -> None:
        values["object_type"] = values.get("object_type") or text

    return adjust


def _member(record: WindowsRecord, values: dict[str, Any]) -> None:
    """Name the member by its common name if the record gives a distinguished name."""
    match = re.match(r"CN=((?:[^,\\]|\\.)+)", str(values["user_name"] or ""), re.IGNORECASE)
    if match:
        values["user_name"] = match[1].replace("\\", "")


def _fixed(**facts: str) -> Any:
    """Add facts that the event id itself says."""
    return lambda record, values: values.update(facts)


# ---------------------------------------------------------------- rows
_LOGON = {
    "user_name": "TargetUserName",
    "logon_type": "LogonType",
    "auth_protocol": "AuthenticationPackageName",
    "src_ip": "IpAddress",
    "src_hostname": "WorkstationName",
    "logon_process": "LogonProcessName",
    "process_path": "ProcessName",
}
_NTLM = {
    "user_name": "TargetUserName",
    "auth_protocol": "PackageName",
    "status": "Status",
    "src_hostname": "Workstation",
}
_RECONNECTION = {"user_name": "AccountName", "src_ip": "ClientAddress", "src_hostname": "ClientName"}
_KERBEROS = {
    "user_name": "TargetUserName",
    "service_name": "ServiceName",
    "ticket_encryption": "TicketEncryptionType",
    "preauth_type": "PreAuthType",
    "status": "Status",
    "src_ip": "IpAddress",
}
_OBJECT = {
    "object_name": "ObjectName",
    "object_type": "ObjectType",
    "access_mask": "AccessMask",
    "process_path": "ProcessName",
}
_CONN = {
    "src_ip": "SourceAddress",
    "src_port": "SourcePort",
    "dst_ip": "DestAddress",
    "dst_port": "DestPort",
    "process_path": "Application",
}
_DIRECTORY = {"object_dn": "ObjectName", "object_type": "ObjectType", "access_mask": "AccessMask"}
_DS_CHANGE: dict[str, Names] = {"object_dn": ("ObjectDN", "NewObjectDN"), "object_type": "ObjectClass"}
_SHARE = {
    "share_name": "ShareName",
    "file_path": "RelativeTargetName",
    "access_mask": "AccessMask",
    "src_ip": "IpAddress",
}
_TASK = {"job_name": "TaskName"}
_PRIVILEGE = {"user_name": "SubjectUserName", "privileges": "PrivilegeList", "process_path": "ProcessName"}
_USER = {"user_name": "TargetUserName"}
_MEMBER: dict[str, Names] = {"group_name": "TargetUserName", "user_name": ("MemberName", "MemberSid")}
_USER_ATTRIBUTES = _attributes(
    "SamAccountName",
    "UserPrincipalName",
    "ServicePrincipalNames",
    "AllowedToDelegateTo",
    "SidHistory",
    "ScriptPath",
    "DnsHostName",
)
_CREATE_USER = EventMapping("account", "create", _USER, _USER_ATTRIBUTES)
_MODIFY_USER = EventMapping("account", "modify", _USER, _USER_ATTRIBUTES)
_ADD = EventMapping("group", "member_add", _MEMBER, _member)
_REMOVE = EventMapping("group", "member_remove", _MEMBER, _member)
_GROUP_ITSELF = "a group is made, changed or removed, and no member with it"
_FIREWALL_RULE = EventMapping("control_change", "firewall", {"control_name": "RuleName"}, _setting("firewall rule"))
_TRUST = EventMapping("control_change", "trust", {"control_name": ("DomainName", "TdoName")}, _setting("trust"))

TABLE: Table = {
    4608: "the start of Windows",
    4611: "a logon process registers itself",
    4616: EventMapping(
        "control_change",
        "time_change",
        {"old_value": "PreviousTime", "new_value": "NewTime", "process_path": "ProcessName"},
        _setting("system time"),
    ),
    4622: EventMapping("module_load", "dll", {"file_path": "SecurityPackageName"}),
    4624: EventMapping("logon", "success", _LOGON, session="TargetLogonId"),
    4625: EventMapping("logon", "failure", {**_LOGON, "status": "Status"}, _sub_status),
    4627: "the groups of a sign-in that event 4624 reports",
    4634: EventMapping(
        "logon", "logoff", {"user_name": "TargetUserName", "logon_type": "LogonType"}, session="TargetLogonId"
    ),
    4647: EventMapping("logon", "logoff", _USER, session="TargetLogonId"),
    4648: EventMapping(
        "logon",
        "explicit_credentials",
        {
            "user_name": "TargetUserName",
            "src_ip": "IpAddress",
            "target_hostname": "TargetServerName",
            "process_path": "ProcessName",
        },
    ),
    4656: EventMapping("object_access", "open", _OBJECT, _outcome),
    4657: EventMapping(
        "registry",
        "set",
        {"reg_key_path": "ObjectName", "reg_value_data": "NewValue", "process_path": "ProcessName"},
        _registry_value,
    ),
    4658: EventMapping("object_access", "close", _OBJECT),
    4660: EventMapping("object_access", "access", _OBJECT),
    4661: EventMapping("directory", "access", {**_DIRECTORY, "properties": "Properties"}, _directory_access),
    4662: EventMapping("directory", "access", {**_DIRECTORY, "properties": "Properties"}, _directory_access),
    4663: EventMapping("object_access", "access", _OBJECT, _outcome),
    4670: EventMapping("object_access", "access", _OBJECT),
    4672: EventMapping("privilege", "special_logon", _PRIVILEGE),
    4673: EventMapping("privilege", "service_called", _PRIVILEGE, _outcome),
    4674: EventMapping("privilege", "service_called", _PRIVILEGE, _outcome),
    4688: EventMapping(
        "process",
        "launch",
        {
            "process_path": "NewProcessName",
            "process_cmd_line": "CommandLine",
            "process_pid": "NewProcessId",
            "parent_path": "ParentProcessName",
        },
        _launch,
    ),
    4689: EventMapping("process", "terminate", {"process_path": "ProcessName", "process_pid": "ProcessId"}),
    4690: EventMapping("object_access", "open", {}),
    4692: EventMapping("object_access", "key_file", {"object_name": "MasterKeyId"}, _typed("DPAPI master key")),
    4693: EventMapping("object_access", "key_file", {"object_name": "MasterKeyId"}, _typed("DPAPI master key")),
    4694: EventMapping("object_access", "access", {"object_name": "DataDescription"}, _typed("DPAPI protected data")),
    4695: EventMapping("object_access", "access", {"object_name": "DataDescription"}, _typed("DPAPI protected data")),
    4696: "a primary token is given to a process whose launch 4688 reports",
    4697: EventMapping(
        "service",
        "install",
        {
            "service_name": "ServiceName",
            "service_cmd_line": "ServiceFileName",
            "start_type": "ServiceStartType",
            "run_as": "ServiceAccount",
        },
        start_type_in_words,
    ),
    4698: EventMapping("task", "create", _TASK, _task),
    4699: EventMapping("task", "delete", _TASK, _task),
    4700: EventMapping("task", "update", _TASK, _task),
    4701: EventMapping("task", "update", _TASK, _task),
    4702: EventMapping("task", "update", _TASK, _task),
    4703: EventMapping(
        "privilege",
        "token_adjusted",
        {"user_name": "TargetUserName", "privileges": "EnabledPrivilegeList", "process_path": "ProcessName"},
    ),
    4704: EventMapping("privilege", "right_assigned", {"user_name": "TargetSid", "privileges": "PrivilegeList"}),
    4706: _TRUST,
    4707: _TRUST,
    4713: EventMapping("control_change", "trust", {"new_value": "KerberosPolicyChange"}, _setting("Kerberos policy")),
    4716: _TRUST,
    4717: EventMapping("privilege", "right_assigned", {"user_name": "TargetSid", "privileges": "AccessGranted"}),
    4719: EventMapping(
        "control_change",
        "audit_policy",
        {"control_name": "SubcategoryGuid", "new_value": "AuditPolicyChanges"},
        _audit_policy,
    ),
    4720: _CREATE_USER,
    4722: EventMapping("account", "enable", _USER),
    4723: EventMapping("account", "password_change", _USER),
    4724: EventMapping("account", "password_reset", _USER),
    4725: EventMapping("account", "disable", _USER),
    4726: EventMapping("account", "delete", _USER),
    4727: _GROUP_ITSELF,
    4728: _ADD,
    4729: _REMOVE,
    4730: _GROUP_ITSELF,
    4731: _GROUP_ITSELF,
    4732: _ADD,
    4733: _REMOVE,
    4734: _GROUP_ITSELF,
    4735: _GROUP_ITSELF,
    4737: _GROUP_ITSELF,
    4738: _MODIFY_USER,
    4739: EventMapping("control_change", "trust", {"control_name": "DomainPolicyChanged"}, _setting("domain policy")),
    4740: EventMapping("account", "modify", _USER, _fixed(attributes="locked out")),
    4741: _CREATE_USER,
    4742: _MODIFY_USER,
    4743: EventMapping("account", "delete", _USER),
    4746: _ADD,
    4747: _REMOVE,
    4751: _ADD,
    4752: _REMOVE,
    4754: _GROUP_ITSELF,
    4755: _GROUP_ITSELF,
    4756: _ADD,
    4757: _REMOVE,
    4761: _ADD,
    4762: _REMOVE,
    4765: EventMapping("account", "sid_history", _USER, _attributes("SourceUserName", "SourceSid")),
    4767: EventMapping("account", "modify", _USER, _fixed(attributes="unlocked")),
    4768: EventMapping("kerberos", "tgt", _KERBEROS),
    4769: EventMapping("kerberos", "tgs", _KERBEROS),
    4770: EventMapping("kerberos", "renew", _KERBEROS),
    4771: EventMapping("kerberos", "preauth_failure", _KERBEROS),
    4776: EventMapping("logon", "ntlm", _NTLM),
    4778: EventMapping("logon", "rdp_session", _RECONNECTION, session="LogonID"),
    4779: EventMapping("logon", "rdp_session", _RECONNECTION, session="LogonID"),
    4781: EventMapping("account", "rename", {"user_name": "NewTargetUserName"}, _attributes("OldTargetUserName")),
    4794: EventMapping(
        "account", "password_reset", {}, _fixed(user_name="Directory Services Restore Mode administrator")
    ),
    4798: EventMapping("group", "enumerate", {"user_name": "TargetUserName", "process_path": "CallerProcessName"}),
    4799: EventMapping("group", "enumerate", {"group_name": "TargetUserName", "process_path": "CallerProcessName"}),
    4902: "the per-user audit policy table is made",
    4904: "a program registers as a source of audit events",
    4905: "a program unregisters as a source of audit events",
    4907: EventMapping(
        "control_change",
        "audit_policy",
        {"control_name": "ObjectName", "old_value": "OldSd", "new_value": "NewSd", "process_path": "ProcessName"},
    ),
    4912: EventMapping(
        "control_change",
        "audit_policy",
        {"control_name": "SubcategoryGuid", "new_value": "AuditPolicyChanges"},
        _audit_policy,
    ),
    4928: EventMapping("directory", "replication", {"object_dn": "NamingContext", "properties": "SourceDRA"}),
    4929: EventMapping("directory", "replication", {"object_dn": "NamingContext", "properties": "SourceDRA"}),
    4932: EventMapping("directory", "replication", {"object_dn": "NamingContext", "properties": "SourceDRA"}),
    4935: EventMapping("directory", "replication", {}),
    4946: _FIREWALL_RULE,
    4947: _FIREWALL_RULE,
    4948: _FIREWALL_RULE,
    4949: EventMapping("control_change", "firewall", {}, _setting("firewall restored to defaults")),
    4950: EventMapping(
        "control_change",
        "firewall",
        {"control_name": "SettingType", "new_value": "SettingValue"},
        _setting("firewall setting"),
    ),
    4964: EventMapping("logon", "success", _USER, session="TargetLogonId"),
    4985: "the state of a transaction changes",
    5024: EventMapping("control_change", "firewall", {}, _fixed(control_name="firewall service", new_value="started")),
    5025: EventMapping("control_change", "firewall", {}, _fixed(control_name="firewall service", new_value="stopped")),
    5031: EventMapping("net_conn", "block", {"process_path": "Application"}),
    5033: "the firewall's driver starts",
    5058: EventMapping("object_access", "key_file", {"object_name": ("KeyFilePath", "KeyName")}, _typed("key file")),
    5059: EventMapping("object_access", "key_file", {"object_name": "KeyName"}, _typed("key migration")),
    5061: EventMapping("object_access", "key_file", {"object_name": "KeyName"}, _typed("cryptographic key")),
    5136: EventMapping("directory", "modify", _DS_CHANGE, _directory_change),
    5137: EventMapping("directory", "create", _DS_CHANGE),
    5138: EventMapping("directory", "modify", _DS_CHANGE),
    5139: EventMapping("directory", "modify", _DS_CHANGE),
    5141: EventMapping("directory", "modify", _DS_CHANGE),
    5140: EventMapping("share", "connect", _SHARE),
    5142: EventMapping("share", "create", _SHARE),
    5143: EventMapping("share", "modify", _SHARE),
    5144: EventMapping("share", "modify", _SHARE),
    5145: EventMapping("share", "access", _SHARE),
    5152: EventMapping("net_conn", "block", _CONN, _wfp_direction),
    5154: EventMapping("net_conn", "listen", _CONN),
    5155: EventMapping("net_conn", "block", _CONN),
    5156: EventMapping("net_conn", "allow", _CONN, _wfp_direction),
    5157: EventMapping("net_conn", "block", _CONN, _wfp_direction),
    5158: EventMapping("net_conn", "bind", _CONN),
    5376: EventMapping("object_access", "credential_read", {}, _typed("credential backup")),
    5379: EventMapping("object_access", "credential_read", {"object_name": "TargetName"}, _typed("stored credential")),
    5381: EventMapping("object_access", "credential_read", {"object_name": "SchemaFriendlyName"}, _typed("vault")),
    5382: EventMapping(
        "object_access", "credential_read", {"object_name": ("Resource", "SchemaFriendlyName")}, _typed("vault")
    ),
    5447: EventMapping(
        "control_change", "firewall", {"control_name": "FilterName", "new_value": "ChangeType"}, _setting("filter")
    ),
    6416: "a new device is recognised",
}
