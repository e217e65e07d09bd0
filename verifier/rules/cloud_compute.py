"""Rules on a cloud's machines, functions and sending: started for gain, entered, and their credentials used elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import CloudApiFields
from verifier.calls import (
    caller_of,
    calls_to,
    findings_by_caller,
    is_by_automation,
    is_by_service,
    is_call_to,
    lower,
    operation_of,
    resources_of,
    sets,
    values_of,
)
from verifier.rules.kit import CLOUD_S, burst_of, grouped
from verifier.window import Findings, Line, Lines, Window, rule

MIN_ENTERED = 3
BIG_COUNT = 10  # machines in one call
MIN_SENDING = 2
_GOOGLE_START, _AZURE_START = "instances.insert", "Microsoft.Compute/virtualMachines/write"
_BIG_ELSEWHERE = re.compile(
    r"^Standard_N[CDGV]|/machineTypes/(?:a[23]-|g2-|m[123]-)|nvidia|-(?:96|112|128|176|224|360|416)$", re.IGNORECASE
)
_BIG_MACHINE = re.compile(
    r"^(?:p\d|g\d|gr\d|inf\d|trn\d|dl\d|x\d|u-|hpc|vt\d|[a-z]\d\w{0,3}\.(?:1[26]|2[4]|32|48|56|96|112)xlarge|[a-z]\d\w{0,3}\.metal)",
    re.IGNORECASE,
)
_START_CALLS = ("RunInstances", "ModifyInstanceAttribute")
_MODEL_CALLS = ("PutUseCaseForModelAccess", "PutFoundationModelEntitlement", "CreateFoundationModelAgreement")
_SENDING_CALLS = (
    "PutAccountDetails",
    "UpdateAccountSendingEnabled",
    "PutAccountSendingAttributes",
    "VerifyEmailIdentity",
    "VerifyDomainIdentity",
    "CreateEmailIdentity",
    "RequestServiceQuotaIncrease",
    "GetSendQuota",
)
_ATTRIBUTE_CALLS = ("DescribeInstanceAttribute", "ModifyInstanceAttribute")
_SHELL_CALLS = (
    "SendSSHPublicKey",
    "SendSerialConsoleSSHPublicKey",
    "SendCommand",
    "StartSession",
    "Run Command",
    "Microsoft.Compute/virtualMachines/runCommand/action",
    "Microsoft.Compute/virtualMachines/runCommands/write",
    "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/runCommand/action",
    "Microsoft.SerialConsole/serialPorts/connect/action",
    "Microsoft.Automation/automationAccounts/webhooks/write",
    "EnableSerialConsoleAccess",
)
_SHELLS = frozenset(map(str.lower, _SHELL_CALLS))
_EXTENSION_CALL = "Microsoft.Compute/virtualMachines/extensions/write"
_EXTENSIONS = ("customscriptextension", "customscript", "customscriptforlinux", "vmaccessagent", "vmaccessforlinux")
_AGENT_CALLS = (
    "UpdateInstanceInformation",
    "ListInstanceAssociations",
    "UpdateInstanceAssociationStatus",
    "PutInventory",
    "PutMetricData",
    "PutLogEvents",
    "CreateLogStream",
    "RegisterContainerInstance",
    "DiscoverPollEndpoint",
)
_INSTANCE = re.compile(r"\bi-[0-9a-zA-Z]{8,17}\b")
_INSTANCE_SESSION = re.compile(r"/i-[0-9a-f]{8,17}$")


@rule(
    "cloud-machines-misused",
    "T1496",
    "impact",
    on=(CloudApiFields,),
    summary=f"Not by an own service: {' or '.join(_START_CALLS)} (refused or not) of an accelerator or huge instanceType (p, g, inf, trn, dl, vt, x, u-, hpc, metal, 12xlarge and up) or with a max count of {BIG_COUNT} or more (maxCount), {_GOOGLE_START} or {_AZURE_START} of such a machine by a person (user_type user; machineType machineTypes/ with a2-, a3-, g2-, m1-, m2-, m3- or ending in -96, -112, -128, -176, -224, -360, -416; acceleratorType nvidia; vmSize Standard_NC, ND, NG, NV), or language models ({', '.join(_MODEL_CALLS)}). Suspicious.",
    source="ATT&CK T1496.001, T1578.002; AWS CloudTrail RunInstances",
)
def cloud_machines_misused(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        line
        for line in calls
        if (line.fields.api_operation in _MODEL_CALLS or _asks_for_power(window, line)) and not is_by_service(line)
    )


_ELSEWHERE = lower(_GOOGLE_START, _AZURE_START)


def _asks_for_power(window: Window, line: Line[CloudApiFields]) -> bool:
    """Return whether a call starts a big machine or many."""
    if is_call_to(line, _ELSEWHERE):
        sizes = values_of(line, "vmsize", "machinetype", "acceleratortype")
        return (line.fields.user_type or "").lower() == "user" and any(map(_BIG_ELSEWHERE.search, sizes))
    if line.fields.api_operation not in _START_CALLS:
        return False
    counts = [int(text) for text in values_of(line, "maxcount", "max") if text.isdigit()]
    big = any(_BIG_MACHINE.match(name) for name in values_of(line, "instancetype"))
    return big or max(counts, default=0) >= window.limits.at_least(BIG_COUNT)


@rule(
    "cloud-sending-set-up",
    "T1496.004",
    "impact",
    on=(calls_to(*_SENDING_CALLS),),
    at_least=MIN_SENDING,
    summary=f"Neither an own service nor a web identity: one principal makes {MIN_SENDING} or more different calls within {CLOUD_S} s that prepare a stranger's mailing on the account's behalf ({', '.join(_SENDING_CALLS)}). Suspicious.",
    source="ATT&CK T1496.004; AWS SES and Service Quotas event names",
)
def cloud_sending_set_up(calls: Lines[CloudApiFields], window: Window) -> Findings:
    for lines in grouped([line for line in calls if not is_by_automation(line)], caller_of).values():
        burst = burst_of(window, lines, MIN_SENDING, CLOUD_S, different=lambda line: line.fields.api_operation)
        yield from findings_by_caller(burst)


@rule(
    "cloud-machine-entered",
    "T1021.007",
    "lateral_movement",
    on=(CloudApiFields,),
    summary=f"Neither an own service nor a web identity: an SSH key, session or command is sent to a machine ({', '.join(_SHELL_CALLS)}), a script or a new password by an extension ({_EXTENSION_CALL} with type {', '.join(_EXTENSIONS)}), or its userData read or changed ({', '.join(_ATTRIBUTE_CALLS)}; not a granted read by another than an AssumedRole). Confirmed: {MIN_ENTERED} machines.",
    source="ATT&CK T1021.007, T1098.004, T1580, T1059.009; AWS CloudTrail event names",
)
def cloud_machine_entered(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        filter(_enters_machine, calls),
        confirmed=lambda lines: len(_machines(lines)) >= window.limits.at_least(MIN_ENTERED),
    )


def _enters_machine(line: Line[CloudApiFields]) -> bool:
    if operation_of(line.fields) in _SHELLS:
        enters = not line.fields.api_error
    elif operation_of(line.fields) == _EXTENSION_CALL.lower():
        enters = not line.fields.api_error and sets(line, "type", *_EXTENSIONS)
    elif line.fields.api_operation in _ATTRIBUTE_CALLS:
        enters = "userdata" in resources_of(line).lower() and not _is_by_machinery(line)
    else:
        return False  # most calls
    return enters and not is_by_service(line) and not is_by_automation(line)


def _is_by_machinery(line: Line[CloudApiFields]) -> bool:
    """Return whether infrastructure code describes its own machine: it reads start-up data, and nothing is refused."""
    return (
        line.fields.api_operation == "DescribeInstanceAttribute"
        and not line.fields.api_error
        and line.fields.user_type != "AssumedRole"
    )


def _machines(lines: Iterable[Line]) -> set[str]:
    """Return the ids of the machines that calls name."""
    return {machine for line in lines for machine in _INSTANCE.findall(resources_of(line))}


@rule(
    "cloud-instance-credentials",
    "T1552.005",
    "credential_access",
    on=(CloudApiFields,),
    summary=f"A machine role's session (named i-) calls from two addresses: confirmed. From an external address, other than for its agents ({', '.join(_AGENT_CALLS)}), not by an own service: suspicious.",
    source="ATT&CK T1552.005; AWS documents that the session of an instance profile bears the instance's id",
)
def cloud_instance_credentials(calls: Lines[CloudApiFields], window: Window) -> Findings:
    own = [line for line in calls if line.fields.src_ip and _INSTANCE_SESSION.search(line.fields.user_uid or "")]
    for lines in grouped(own, caller_of).values():
        moved = len({line.fields.src_ip for line in lines}) > 1
        outside = [line for line in lines if window.is_external(line.fields.src_ip) and not _is_by_agent(line)]
        yield from findings_by_caller(lines if moved else outside, confirmed=moved)


def _is_by_agent(line: Line[CloudApiFields]) -> bool:
    return line.fields.api_operation in _AGENT_CALLS or is_by_service(line)


_METADATA_CALLS = ("instances.setMetadata", "projects.setCommonInstanceMetadata")


@rule(
    "cloud-machine-key-added",
    "T1098.004",
    "persistence",
    on=(calls_to(*_METADATA_CALLS, "ImportKeyPair"),),
    summary=f"Not by an own service: a machine's or project's metadata gets an ssh key or a start-up script ({', '.join(_METADATA_CALLS)} with ssh-keys, startup-script or windows-startup-script), or a key pair is brought from outside (ImportKeyPair). Suspicious.",
    source="ATT&CK T1098.004, T1059.009; Google Compute Engine metadata, AWS EC2 ImportKeyPair",
)
def cloud_machine_key_added(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if operation_of(line.fields) == "importkeypair" or _has_key(line))


def _has_key(line: Line[CloudApiFields]) -> bool:
    text = resources_of(line).lower()
    return any(name in text for name in ("ssh-keys", "startup-script"))


RULES = (
    cloud_machines_misused,
    cloud_sending_set_up,
    cloud_machine_entered,
    cloud_instance_credentials,
    cloud_machine_key_added,
)
