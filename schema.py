"""The words of the domain: events, incidents, the defender's observation and the two actions.

Holds every shape that crosses a border (HTTP, WebSocket, files) and nothing that judges it. Event types are named after
OCSF classes (schema version 1.3) and their fields after OCSF attribute paths in snake_case (`process.file.path` ->
`process_path`); each field's title gives the path and, in brackets, the Sysmon, Windows or CloudTrail name.
"""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import nan
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Protocol,
    TypeVar,
    cast,
    get_args,
)

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

Label = Literal["dismiss", "monitor", "quarantine_host", "block_ip", "escalate"]
Row = dict[str, Any]  # a JSON object of a file: a line of a set or of a log, a point of a chart
VERSION = "0.1.0"  # of OpenSOC: the service, its manifest, its runs
LABELS: tuple[Label, ...] = get_args(Label)  # the five triage actions, mildest first
Task = Literal["stage1_basic", "stage2_multi", "stage3_mixed", "stage4_adversarial"]
TASKS: tuple[Task, ...] = get_args(Task)
Mode = Literal["self_play", "defender_only"]
MODES: tuple[Mode, ...] = get_args(Mode)
Category = Literal[
    "execution",
    "persistence",
    "privilege_escalation",
    "defense_evasion",
    "credential_access",
    "discovery",
    "lateral_movement",
    "collection",
    "command_and_control",
    "exfiltration",
    "impact",
    "initial_access",
    "benign_activity",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)  # ATT&CK tactics, and one for harmless work
# Other names of the categories, by what is done: an incident may claim one of these and means the tactic.
CATEGORY_ALIASES: dict[str, Category] = {
    "malware_execution": "execution",
    "lolbin_use": "execution",
    "persistence_mechanism": "persistence",
    "privilege_abuse": "privilege_escalation",
    "log_tampering": "defense_evasion",
    "credential_theft": "credential_access",
    "brute_force": "credential_access",
    "reconnaissance": "discovery",
    "lateral_spread": "lateral_movement",
    "c2_beacon": "command_and_control",
    "data_collection": "collection",
    "data_exfiltration": "exfiltration",
    "ransomware": "impact",
    "phishing": "initial_access",
    "benign": "benign_activity",
}

MAX_EVENTS = 40  # a window that a person can read, and the longest that is rendered
MAX_TEXT = 512
MAX_LONG_TEXT = 2048  # command lines, scripts, URLs
MAX_NARRATIVE = 1000
MAX_SEED = 2**63 - 1
MAX_SHOWN = 80  # characters of a value that an error repeats
MAX_MARKS = 3  # combining marks on one letter; languages need two


class OpenSOCError(Exception):
    """Root of the project's errors; its message says what was expected, what came and what to do, and no ground truth."""


class BadRequestError(OpenSOCError):
    """A request that cannot be played: unknown task, no action, two actions, a seed that is no number."""


class TurnError(OpenSOCError):
    """A request at the wrong time: a step before reset or after the end, the other player's turn, a grade before the end."""


# ---------------------------------------------------------------- what errors and pages say
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = MAX_SHOWN


class _HasErrors(Protocol):
    def errors(self) -> Sequence[Any]: ...


def shown(value: object) -> str:
    """Quote a value as an error may repeat it: at most 80 characters of plain ASCII, whatever its size and depth."""
    return _REPR.repr(value).encode("ascii", "backslashreplace").decode()[:MAX_SHOWN]


_UNREAD = {  # what stopped the reading of a file, in words
    FileNotFoundError: "no such file",
    IsADirectoryError: "a directory",
    NotADirectoryError: "a path that leads through a file",
    PermissionError: "no permission",
    UnicodeError: "bytes that are no UTF-8",
    json.JSONDecodeError: "no JSON ({})",
    RecursionError: "JSON that is nested too deep",
    KeyError: "no field {}",
}


def faults(error: _HasErrors, whole: str, *, most: int = 3, quoting: bool = False) -> str:
    """Tell what pydantic found wrong, as in `events.0.log_id: Field required; narrative: ... (and 2 more)`.

    Args:
        error: pydantic's ValidationError, or another that has its `errors()`.
        whole: stands for the place where a fault concerns all that came.
        most: so many faults are told.
        quoting: whether what came is repeated; an answer that is scored is not.
    """
    rows = error.errors()
    sentences = "; ".join(
        f"{'.'.join(shown(part).strip(chr(39)) for part in row['loc']) or whole}: {row['msg']}"
        + (f"; got {shown(row['input'])}" if quoting else "")
        for row in rows[:most]
    )
    return f"{sentences} (and {len(rows) - most} more)" if len(rows) > most else sentences


def unread(error: Exception) -> str:
    """Tell what was found where a file should have been read, as in `no such file` or `no field 'sets'`."""
    for kind, words in _UNREAD.items():
        if isinstance(error, kind):
            return words.format(error)
    return (isinstance(error, OSError) and error.strerror) or str(error)


def visible(text: str, *, keep: str = "") -> str:
    """Write out what a reader of a text cannot see or is misled by: control, zero-width and direction characters, heaps of marks.

    Args:
        text: anybody's.
        keep: characters that stay as they are, such as the line break.
    """
    if text.isascii() and text.isprintable():
        return text
    letters, marks = [], 0
    for letter in text:
        category = unicodedata.category(letter)
        if category in ("Mn", "Me"):
            marks += 1
        elif category != "Mc":  # a mark with a place of its own belongs to the same character
            marks = 0
        hidden = category[0] == "C" or category in ("Zl", "Zp") or marks > MAX_MARKS
        letters.append(letter.encode("unicode_escape").decode() if hidden and letter not in keep else letter)
    return "".join(letters)


# ---------------------------------------------------------------- plain values
# C0, C1, zero-width and text-direction characters would let a field show a person something else than it holds.
HIDDEN = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"  # within brackets of a pattern
_VISIBLE = f"^[^{HIDDEN}]*$"
Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=_VISIBLE)]
LongText = Annotated[str, Field(max_length=MAX_LONG_TEXT, pattern=_VISIBLE)]
Ip = Annotated[str, Field(max_length=45, pattern=r"^[0-9A-Fa-f:.]+$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Hex = Annotated[str, Field(pattern=r"^0x[0-9A-Fa-f]{1,16}$")]


def log_id_at(position: int) -> str:
    """Return the id of a window's line by its position, from 0: `L1-0`."""
    return f"L1-{position}"


LogId = Annotated[str, Field(pattern=r"^L[0-9]{1,3}-[0-9]{1,3}$", description="Line of the window, as in L1-3.")]


NO_TIME = "0001-01-01T00:00:00Z"  # stands for the time of a recorded event whose record bears none that can be read


def epoch_s(timestamp: str) -> float:
    """Read the seconds since 1970 of an ISO 8601 UTC timestamp such as 2026-03-02T09:14:07Z; not a number for `NO_TIME`.

    Raises:
        ValueError: the calendar has no such day or the clock no such time.
    """
    minute = _MINUTES.get(timestamp[11:17])
    if minute is None or timestamp[-1] != "Z":
        return datetime.fromisoformat(timestamp).timestamp()
    return _midnight_s(timestamp[:10]) + minute + float(timestamp[17:-1])


def shown_time(timestamp: str) -> str:
    """Write a timestamp for a reader: as it is, or `untimed` for `NO_TIME`."""
    return "untimed" if timestamp == NO_TIME else timestamp


MINUTES_OF_DAY = tuple(f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440))  # as timestamps write them
_MINUTES = {text: 60.0 * minute for minute, text in enumerate(MINUTES_OF_DAY)}


@lru_cache(maxsize=4096)
def _midnight_s(day: str) -> float:
    """Read a day's first moment; few days make many timestamps, and reading one anew takes three times as long."""
    return nan if day == NO_TIME[:10] else datetime.fromisoformat(f"{day}T00:00:00Z").timestamp()


def iso_time(epoch: float) -> str:
    """Write the ISO 8601 UTC timestamp of a number of seconds since 1970, to the whole second."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=16_384)
def account_name(user: str | None) -> str:
    r"""Return an account's own name: DOMAIN\name and name@domain without the domain, an ARN's last part."""
    if not user:
        return ""
    if user.startswith("arn:"):
        return user.rpartition("/")[2]
    return user.rpartition("\\")[2].partition("@")[0]


def _on_the_calendar(timestamp: str) -> str:
    """Check what the pattern leaves open: days that some months lack."""
    if timestamp[8:10] <= "28" and timestamp[:4] != "0000":
        return timestamp
    try:
        epoch_s(timestamp)
    except ValueError:
        raise PydanticCustomError(
            "timestamp", "expected a day and time that exist, as in 2026-03-02T09:14:07Z"
        ) from None
    return timestamp


Timestamp = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z$",
        examples=["2026-03-02T09:14:07Z"],
    ),
    AfterValidator(_on_the_calendar),
]


def _f(title: str) -> Any:
    """Declare an optional field with its OCSF path and the names that people know it by."""
    return Field(default=None, title=title)


# ---------------------------------------------------------------- fields of an event, by type
class Fields(BaseModel):
    """Fields that every event may carry."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    device_hostname: Text | None = _f("device.hostname [Computer]")
    actor_user: Text | None = _f("actor.user.name [SubjectUserName, User]")
    session_uid: Text | None = _f("session.uid [LogonId]")


class ProcessFields(Fields):
    """A process that starts or ends (OCSF 1007; Sysmon 1/5, Security 4688/4689, auditd EXECVE)."""

    activity: Literal["launch", "terminate"]
    process_path: Text | None = _f("process.file.path [Image, NewProcessName]")
    process_cmd_line: LongText | None = _f("process.cmd_line [CommandLine]")
    process_pid: Count | None = _f("process.pid [ProcessId]")
    process_uid: Text | None = _f("process.uid [ProcessGuid]")
    process_integrity: Text | None = _f("process.integrity [IntegrityLevel]")
    process_hashes: Text | None = _f("process.file.hashes [Hashes]")
    process_original_name: Text | None = _f("process.file.name_original [OriginalFileName]")
    process_company: Text | None = _f("process.file.company_name [Company]")
    parent_path: Text | None = _f("process.parent.file.path [ParentImage]")
    parent_cmd_line: LongText | None = _f("process.parent.cmd_line [ParentCommandLine]")


class ProcessAccessFields(Fields):
    """One process opens another (Sysmon 10)."""

    activity: Literal["open"]
    process_path: Text | None = _f("process.file.path [SourceImage]")
    target_path: Text | None = _f("target.process.file.path [TargetImage]")
    access_mask: Hex | None = _f("access_mask [GrantedAccess]")
    call_trace: LongText | None = _f("call_trace [CallTrace]")


class ProcessInjectFields(Fields):
    """One process starts a thread in another or tampers with an image (Sysmon 8/25)."""

    activity: Literal["remote_thread", "tamper"]
    process_path: Text | None = _f("process.file.path [SourceImage]")
    target_path: Text | None = _f("target.process.file.path [TargetImage]")
    start_module: Text | None = _f("start_module [StartModule]")


class ModuleLoadFields(Fields):
    """A library or driver is loaded (OCSF 1005; Sysmon 6/7)."""

    activity: Literal["dll", "driver"]
    file_path: Text | None = _f("file.path [ImageLoaded]")
    signature_state: Literal["signed", "unsigned", "invalid", "unknown"] | None = _f("file.signature.state [Signed]")
    signature_subject: Text | None = _f("file.signature.certificate.subject [Signature]")
    process_path: Text | None = _f("process.file.path [Image]")


class FileFields(Fields):
    """A file is written, changed or removed (OCSF 1001; Sysmon 2/9/11/15/23/26-29)."""

    activity: Literal["create", "modify", "delete", "stream", "time_change", "raw_read", "blocked"]
    file_path: Text | None = _f("file.path [TargetFilename]")
    process_path: Text | None = _f("process.file.path [Image]")
    file_hashes: Text | None = _f("file.hashes [Hashes]")


class RegistryFields(Fields):
    """A registry key or value changes (OCSF 201001/201002; Sysmon 12-14, Security 4657)."""

    activity: Literal["key_create", "key_delete", "set", "rename"]
    reg_key_path: Text | None = _f("reg_key.path [TargetObject]")
    reg_value_data: LongText | None = _f("reg_value.data [Details]")
    process_path: Text | None = _f("process.file.path [Image]")


class NetConnFields(Fields):
    """A network connection or flow (OCSF 4001; Sysmon 3, Security 5154-5158, Zeek conn/ssl, BITS)."""

    activity: Literal["open", "flow", "allow", "block", "listen", "bind", "tls_session", "bits_job"]
    src_ip: Ip | None = _f("src_endpoint.ip [SourceIp]")
    src_port: Port | None = _f("src_endpoint.port [SourcePort]")
    dst_ip: Ip | None = _f("dst_endpoint.ip [DestinationIp]")
    dst_port: Port | None = _f("dst_endpoint.port [DestinationPort]")
    dst_hostname: Text | None = _f("dst_endpoint.hostname [DestinationHostname]")
    bytes_out: Count | None = _f("traffic.bytes_out [orig_bytes]")
    bytes_in: Count | None = _f("traffic.bytes_in [resp_bytes]")
    direction: Literal["inbound", "outbound", "lateral"] | None = _f("connection_info.direction [Initiated]")
    tls_sni: Text | None = _f("tls.sni [server_name]")
    process_path: Text | None = _f("process.file.path [Image]")
    dst_scope: Literal["internal", "external"] | None = _f("derived: whether dst_ip lies in a network of ours")
    conn_state: Text | None = _f("status_detail [conn_state]")
    url: LongText | None = _f("http_request.url [RemoteName]")


class DnsQueryFields(Fields):
    """A name is looked up (OCSF 4003; Sysmon 22, Zeek dns)."""

    activity: Literal["query"]
    query_hostname: Text | None = _f("query.hostname [QueryName]")
    answers: Text | None = _f("answers [QueryResults]")
    src_ip: Ip | None = _f("src_endpoint.ip")
    process_path: Text | None = _f("process.file.path [Image]")


class HttpFields(Fields):
    """A web request (OCSF 4002; Zeek http, proxy, IIS)."""

    activity: Literal["request"]
    url: LongText | None = _f("http_request.url [cs-uri]")
    user_agent: Text | None = _f("http_request.user_agent [cs-user-agent]")
    http_method: Text | None = _f("http_request.http_method [cs-method]")
    status_code: Annotated[int, Field(ge=0, le=999)] | None = _f("http_response.code [sc-status]")
    bytes_out: Count | None = _f("traffic.bytes_out [request_body_len]")
    bytes_in: Count | None = _f("traffic.bytes_in [response_body_len]")
    src_ip: Ip | None = _f("src_endpoint.ip [c-ip]")
    dst_ip: Ip | None = _f("dst_endpoint.ip [s-ip]")


class LogonFields(Fields):
    """A sign-in or its end (OCSF 3002; Security 4624/4625/4634/4648/4776, sshd, CloudTrail ConsoleLogin)."""

    activity: Literal["success", "failure", "explicit_credentials", "logoff", "ntlm", "rdp_session", "ssh_session"]
    user_name: Text | None = _f("user.name [TargetUserName]")
    logon_type: Annotated[int, Field(ge=0, le=20)] | None = _f("logon_type_id [LogonType]")
    auth_protocol: Text | None = _f("auth_protocol [AuthenticationPackageName]")
    src_ip: Ip | None = _f("src_endpoint.ip [IpAddress]")
    status: Text | None = _f("status_code [Status]")
    logon_process: Text | None = _f("logon_process.name [LogonProcessName]")
    target_hostname: Text | None = _f("dst_endpoint.hostname [TargetServerName]")
    process_path: Text | None = _f("process.file.path [ProcessName]")
    src_hostname: Text | None = _f("src_endpoint.hostname [WorkstationName]")


class KerberosFields(Fields):
    """A Kerberos ticket is asked for (OCSF 3002; Security 4768-4771, Zeek kerberos)."""

    activity: Literal["tgt", "tgs", "renew", "preauth_failure"]
    user_name: Text | None = _f("user.name [TargetUserName]")
    service_name: Text | None = _f("service.name [ServiceName]")
    ticket_encryption: Hex | None = _f("ticket.encryption [TicketEncryptionType]")
    preauth_type: Annotated[int, Field(ge=0, le=255)] | None = _f("ticket.preauth [PreAuthType]")
    status: Text | None = _f("status_code [Status]")
    src_ip: Ip | None = _f("src_endpoint.ip [IpAddress]")


class PrivilegeFields(Fields):
    """A right is used or given (OCSF 3003/3005; Security 4672-4674/4703/4704, sudo)."""

    activity: Literal["special_logon", "service_called", "token_adjusted", "right_assigned", "sudo"]
    user_name: Text | None = _f("user.name [TargetUserName]")
    privileges: LongText | None = _f("privileges [PrivilegeList]")
    process_path: Text | None = _f("process.file.path [ProcessName]")
    outcome: Literal["success", "failure"] | None = _f("status_id [Keywords]")


class AccountFields(Fields):
    """An account changes (OCSF 3001; Security 4720-4726/4738/4741/4765/4781, IAM CreateUser, AssumeRole)."""

    activity: Literal[
        "create",
        "enable",
        "disable",
        "delete",
        "password_change",
        "password_reset",
        "modify",
        "rename",
        "sid_history",
        "key_create",
        "assume_role",
    ]
    user_name: Text | None = _f("user.name [TargetUserName]")
    attributes: LongText | None = _f("attribute changes [AttributeValue]")
    src_ip: Ip | None = _f("src_endpoint.ip [sourceIPAddress]")


class GroupFields(Fields):
    """A group changes or is listed (OCSF 3006; Security 4728-4757/4798/4799, IAM Attach*Policy)."""

    activity: Literal["member_add", "member_remove", "enumerate", "policy_attach"]
    group_name: Text | None = _f("group.name [TargetUserName]")
    user_name: Text | None = _f("user.name [MemberName]")
    process_path: Text | None = _f("process.file.path [CallerProcessName]")
    src_ip: Ip | None = _f("src_endpoint.ip [sourceIPAddress]")


class ServiceFields(Fields):
    """A service is installed or changes (System 7045/7036/7040, Security 4697)."""

    activity: Literal["install", "state", "config", "fail"]
    service_name: Text | None = _f("service.name [ServiceName]")
    service_cmd_line: LongText | None = _f("service.cmd_line [ImagePath, ServiceFileName]")
    start_type: Text | None = _f("service.start_type [StartType]")
    run_as: Text | None = _f("service.run_as [AccountName]")
    status: Text | None = _f("service.state [param2]")


class TaskFields(Fields):
    """A scheduled job changes or runs (OCSF 1006; Security 4698-4702, TaskScheduler 106/140/141/200)."""

    activity: Literal["create", "update", "delete", "run"]
    job_name: Text | None = _f("job.name [TaskName]")
    job_cmd_line: LongText | None = _f("job.cmd_line [TaskContent/Exec]")
    run_as: Text | None = _f("job.run_as [TaskContent/Principal]")


class ShareFields(Fields):
    """A network share is used (OCSF 4006; Security 5140/5142-5145, Zeek smb_files)."""

    activity: Literal["connect", "access", "create", "modify"]
    share_name: Text | None = _f("share.name [ShareName]")
    file_path: Text | None = _f("file.path [RelativeTargetName]")
    access_mask: Hex | None = _f("access_mask [AccessMask]")
    src_ip: Ip | None = _f("src_endpoint.ip [IpAddress]")
    dst_ip: Ip | None = _f("dst_endpoint.ip [id.resp_h]")


class PipeFields(Fields):
    """A named pipe is made or opened (Sysmon 17/18)."""

    activity: Literal["create", "connect"]
    pipe_name: Text | None = _f("pipe.name [PipeName]")
    process_path: Text | None = _f("process.file.path [Image]")


class ScriptFields(Fields):
    """A script engine starts or runs code (PowerShell 4103/4104/400/600/800)."""

    activity: Literal["block", "pipeline", "engine_start"]
    script_text: LongText | None = _f("script.text [ScriptBlockText, Payload]")
    host_application: LongText | None = _f("host_application [HostApplication]")
    engine_version: Text | None = _f("engine_version [EngineVersion]")
    script_path: Text | None = _f("script.file.path [Path]")


class WmiFields(Fields):
    """WMI is queried or subscribed to (Sysmon 19-21, WMI-Activity 5857-5861)."""

    activity: Literal["filter", "consumer", "binding", "query", "provider_load"]
    wmi_query: LongText | None = _f("wmi.query [Query]")
    wmi_consumer: LongText | None = _f("wmi.consumer [Destination, Consumer]")
    provider_path: Text | None = _f("provider.file.path [ProviderPath]")


class DirectoryFields(Fields):
    """A directory object is read, changed or replicated (Security 4661/4662/5136/5137, Zeek dce_rpc)."""

    activity: Literal["access", "modify", "create", "replication", "rpc"]
    object_dn: LongText | None = _f("object.dn [ObjectName, ObjectDN]")
    object_type: Text | None = _f("object.type [ObjectType, ObjectClass]")
    properties: LongText | None = _f("properties [Properties]")
    access_mask: Hex | None = _f("access_mask [AccessMask]")
    rpc_operation: Text | None = _f("rpc.operation [operation]")
    src_ip: Ip | None = _f("src_endpoint.ip [id.orig_h]")
    dst_ip: Ip | None = _f("dst_endpoint.ip [id.resp_h]")


class ObjectAccessFields(Fields):
    """A secured object is opened or a stored credential read (Security 4656/4658/4663/4690/4670/5379/5058)."""

    activity: Literal["open", "access", "close", "credential_read", "key_file"]
    object_name: LongText | None = _f("object.name [ObjectName, TargetName]")
    object_type: Text | None = _f("object.type [ObjectType]")
    access_mask: Hex | None = _f("access_mask [AccessMask]")
    process_path: Text | None = _f("process.file.path [ProcessName]")
    outcome: Literal["success", "failure"] | None = _f("status_id [Keywords]")


class ControlChangeFields(Fields):
    """A security control changes (Security 1102/4719/4946-4950/4616, Defender 5001/5007, CloudTrail StopLogging)."""

    activity: Literal[
        "log_clear",
        "audit_policy",
        "firewall",
        "av_setting",
        "sensor_config",
        "server_setting",
        "time_change",
        "trust",
        "trail_stop",
    ]
    control_name: Text | None = _f("control.name")
    old_value: Text | None = _f("control.old_value [Old Value]")
    new_value: Text | None = _f("control.new_value [New Value]")
    process_path: Text | None = _f("process.file.path [ProcessName]")
    src_ip: Ip | None = _f("src_endpoint.ip [sourceIPAddress]")


class DetectionFields(Fields):
    """Another product's finding (OCSF 2004; Defender 1116/1117, Zeek notice, Suricata)."""

    activity: Literal["malware", "ids_notice"]
    finding_title: Text | None = _f("finding.title [Threat Name, note]")
    severity: Text | None = _f("severity [Severity Name]")
    file_path: Text | None = _f("file.path [Path]")
    src_ip: Ip | None = _f("src_endpoint.ip [id.orig_h]")
    dst_ip: Ip | None = _f("dst_endpoint.ip [id.resp_h]")


class CloudApiFields(Fields):
    """A call to a cloud provider's control plane (OCSF 6003; CloudTrail, Azure AD audit)."""

    activity: Literal["call"]
    user_uid: LongText | None = _f("actor.user.uid [userIdentity.arn]")
    user_type: Text | None = _f("actor.user.type [userIdentity.type]")
    src_ip: Ip | None = _f("src_endpoint.ip [sourceIPAddress]")
    user_agent: Text | None = _f("http_request.user_agent [userAgent]")
    api_service: Text | None = _f("api.service.name [eventSource]")
    api_operation: Text | None = _f("api.operation [eventName]")
    api_error: Text | None = _f("api.response.error [errorCode]")
    cloud_region: Text | None = _f("cloud.region [awsRegion]")
    cloud_account: Text | None = _f("cloud.account.uid [recipientAccountId]")
    resources: LongText | None = _f("resources [requestParameters]")


# ---------------------------------------------------------------- events
class EventBase(BaseModel):
    """What every event has beside its type and fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    timestamp: Timestamp
    log_id: LogId


class ProcessEvent(EventBase):
    event_type: Literal["process"]
    fields: ProcessFields


class ProcessAccessEvent(EventBase):
    event_type: Literal["process_access"]
    fields: ProcessAccessFields


class ProcessInjectEvent(EventBase):
    event_type: Literal["process_inject"]
    fields: ProcessInjectFields


class ModuleLoadEvent(EventBase):
    event_type: Literal["module_load"]
    fields: ModuleLoadFields


class FileEvent(EventBase):
    event_type: Literal["file"]
    fields: FileFields


class RegistryEvent(EventBase):
    event_type: Literal["registry"]
    fields: RegistryFields


class NetConnEvent(EventBase):
    event_type: Literal["net_conn"]
    fields: NetConnFields


class DnsQueryEvent(EventBase):
    event_type: Literal["dns_query"]
    fields: DnsQueryFields


class HttpEvent(EventBase):
    event_type: Literal["http"]
    fields: HttpFields


class LogonEvent(EventBase):
    event_type: Literal["logon"]
    fields: LogonFields


class KerberosEvent(EventBase):
    event_type: Literal["kerberos"]
    fields: KerberosFields


class PrivilegeEvent(EventBase):
    event_type: Literal["privilege"]
    fields: PrivilegeFields


class AccountEvent(EventBase):
    event_type: Literal["account"]
    fields: AccountFields


class GroupEvent(EventBase):
    event_type: Literal["group"]
    fields: GroupFields


class ServiceEvent(EventBase):
    event_type: Literal["service"]
    fields: ServiceFields


class TaskEvent(EventBase):
    event_type: Literal["task"]
    fields: TaskFields


class ShareEvent(EventBase):
    event_type: Literal["share"]
    fields: ShareFields


class PipeEvent(EventBase):
    event_type: Literal["pipe"]
    fields: PipeFields


class ScriptEvent(EventBase):
    event_type: Literal["script"]
    fields: ScriptFields


class WmiEvent(EventBase):
    event_type: Literal["wmi"]
    fields: WmiFields


class DirectoryEvent(EventBase):
    event_type: Literal["directory"]
    fields: DirectoryFields


class ObjectAccessEvent(EventBase):
    event_type: Literal["object_access"]
    fields: ObjectAccessFields


class ControlChangeEvent(EventBase):
    event_type: Literal["control_change"]
    fields: ControlChangeFields


class DetectionEvent(EventBase):
    event_type: Literal["detection"]
    fields: DetectionFields


class CloudApiEvent(EventBase):
    event_type: Literal["cloud_api"]
    fields: CloudApiFields


_AnyEvent = (
    ProcessEvent
    | ProcessAccessEvent
    | ProcessInjectEvent
    | ModuleLoadEvent
    | FileEvent
    | RegistryEvent
    | NetConnEvent
    | DnsQueryEvent
    | HttpEvent
    | LogonEvent
    | KerberosEvent
    | PrivilegeEvent
    | AccountEvent
    | GroupEvent
    | ServiceEvent
    | TaskEvent
    | ShareEvent
    | PipeEvent
    | ScriptEvent
    | WmiEvent
    | DirectoryEvent
    | ObjectAccessEvent
    | ControlChangeEvent
    | DetectionEvent
    | CloudApiEvent
)
Event = Annotated[_AnyEvent, Field(discriminator="event_type")]
EVENT_CLASSES: dict[str, type[EventBase]] = {
    get_args(cls.model_fields["event_type"].annotation)[0]: cls for cls in get_args(_AnyEvent)
}
EVENT_TYPES: tuple[str, ...] = tuple(EVENT_CLASSES)
Telemetry = Literal["endpoint", "network", "identity"]
# Which sensor sees an event type; what comes from a cloud or from a control itself has none that falls silent.
TELEMETRY: dict[Telemetry, tuple[str, ...]] = {
    "endpoint": (
        "process",
        "process_access",
        "process_inject",
        "module_load",
        "file",
        "registry",
        "service",
        "task",
        "pipe",
        "script",
        "wmi",
        "object_access",
        "detection",
    ),
    "network": ("net_conn", "dns_query", "http", "share"),
    "identity": ("logon", "kerberos", "privilege", "account", "group", "directory"),
}
SENSOR_OF = {event_type: sensor for sensor, event_types in TELEMETRY.items() for event_type in event_types}
FIELDS_OF: dict[str, type[Fields]] = {
    name: cast("type[Fields]", cls.model_fields["fields"].annotation) for name, cls in EVENT_CLASSES.items()
}


def _tactic(category: object) -> object:
    return CATEGORY_ALIASES.get(category, category) if isinstance(category, str) else category


class Incident(BaseModel):
    """What an attacker writes and the defender judges: events, and a claim about them that the verifier never reads.

    `target_label` is the decision that the author says the incident deserves, `narrative` the text that a reporter adds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    target_label: Label
    category: Annotated[Category, BeforeValidator(_tactic)]
    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]
    narrative: Annotated[str, Field(max_length=MAX_NARRATIVE, pattern=_VISIBLE)] = ""


# ---------------------------------------------------------------- rows of our own making
Model = TypeVar("Model", bound=BaseModel)


def _unchecked(model: type[Model], values: dict[str, Any], given: set[str]) -> Model:
    """Build a model without validation; several times faster than `model_construct`. It keeps `values` (of every field) and `given`."""
    instance = object.__new__(model)
    _set_values(instance, values)
    _set_given(instance, given)
    _set_extra(instance, None)
    _set_private(instance, None)
    return instance


# Models are frozen: their slots are set by the slots' own setters, twice as fast as object.__setattr__.
_set_values, _set_given, _set_extra, _set_private = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def built_incident(
    label: Label, category: Category, lines: Sequence[Mapping[str, Any]], narrative: str = ""
) -> Incident:
    """Build the incident that `Incident.model_validate` makes of valid rows, in half its time.

    For the generator's own rows alone: nothing is checked. What comes from anywhere else goes through `model_validate`.

    Args:
        label: the decision that the incident claims to deserve.
        category: a tactic, by its own name.
        lines: rows of event_type, fields (those that are set), timestamp and log_id; they are read and not kept.
        narrative: what a reporter adds.
    """
    events = [_unchecked_event(line) for line in lines]
    values = {"target_label": label, "category": category, "events": events, "narrative": narrative}
    return _unchecked(Incident, values, set(values))


def _unchecked_event(line: Mapping[str, Any]) -> EventBase:
    event_class, fields_class, unset = _BLANKS[line["event_type"]]
    given = line["fields"]
    fields = _unchecked(fields_class, unset | given, set(given))
    values = {
        "timestamp": line["timestamp"],
        "log_id": line["log_id"],
        "event_type": line["event_type"],
        "fields": fields,
    }
    return _unchecked(event_class, values, _EVENT_PARTS)


def bare_fields(event_type: str, given: Mapping[str, Any]) -> Fields:
    """Build the typed fields of a valid row for reading alone: every field is an attribute, and nothing else of the model is there."""
    _, fields_class, unset = _BLANKS[event_type]
    fields = object.__new__(fields_class)
    _set_values(fields, {**unset, **given})
    return fields


_EVENT_PARTS = set(EventBase.model_fields) | {
    "event_type",
    "fields",
}  # every event has all of its parts; nobody changes the set
_BLANKS: dict[str, tuple[type[EventBase], type[Fields], dict[str, Any]]] = {
    name: (EVENT_CLASSES[name], fields, dict.fromkeys(fields.model_fields)) for name, fields in FIELDS_OF.items()
}


class Triage(BaseModel):
    """The defender's answer: one action, the log line it rests on, and why.

    `confidence` (0 to 1) is recorded for calibration and never rewarded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    action: Label
    cited_log_id: LogId
    rationale: Annotated[str, Field(max_length=MAX_LONG_TEXT)]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)] | None = None


# ---------------------------------------------------------------- what a player sees (plain rows: our own data, not input)
class Host(TypedDict):
    """A machine of the organisation."""

    name: str
    ip: str
    role: str
    criticality: Literal["crown_jewel", "standard", "lab"]


class Account(TypedDict):
    """A person's or a service's account."""

    name: str
    kind: Literal["person", "service"]
    privileged: bool
    department: str


class Tool(TypedDict):
    """A program that one department may use; nobody else may."""

    name: str
    department: str


class Scanner(TypedDict):
    """A machine that may probe, and the networks it may probe."""

    ip: str
    targets: list[str]


# Control access rights of directory replication (MS-ADTS 5.1.3.2.1), by id (get changes, all changes, a filtered set) and by name.
REPLICATION_RIGHTS = (
    "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2",
    "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2",
    "89e95b76-444d-4c62-991a-0facbeda640c",
    "ds-replication-get-changes",
)
# What a ticket names as its tool where the lines show work and no program.
REPLICATION_WORK = "directory replication"
GROUP_WORK = "group change"
LOGON_WORK = "remote logon"
CLOUD_WORK = "cloud administration"
WMI_WORK = "wmi subscription"
LOG_WORK = "log maintenance"
SENSOR_WORK = "sensor maintenance"
REMOTE_WORK = "remote administration"
ACCOUNT_WORK = "account administration"
UNNAMED_PROGRAM_WORK = (
    REPLICATION_WORK,
    GROUP_WORK,
    LOGON_WORK,
    CLOUD_WORK,
    WMI_WORK,
    LOG_WORK,
    SENSOR_WORK,
    REMOTE_WORK,
    ACCOUNT_WORK,
)


class Ticket(TypedDict):
    """A change that was planned: who does what with which tool, where and when."""

    ticket_id: str
    status: Literal["approved", "pending", "rejected"]
    hosts: list[str]
    accounts: list[str]
    tool: str
    starts_at: str
    ends_at: str


class Indicator(TypedDict):
    """Threat intelligence on an address or a domain."""

    value: str
    confidence: Literal["high", "low"]


class Sensor(TypedDict):
    """A sensor's outage: the host it watches and the time for which nothing came."""

    host: str
    telemetry: Telemetry
    silent_from: str
    silent_to: str


class Context(TypedDict):
    """The slice of the world around a window: what a defender may look up. `now` is when the alert was raised."""

    now: str
    networks: list[str]
    hosts: list[Host]
    accounts: list[Account]
    tools: list[Tool]
    scanners: list[Scanner]
    tickets: list[Ticket]
    indicators: list[Indicator]
    sensors: list[Sensor]


class Alert(TypedDict):
    """What the SIEM raised: which line fired, under which rule's title. It says what fired and never what is true."""

    title: str
    severity: Literal["low", "medium", "high"]
    log_id: str
    narrative: NotRequired[str]
