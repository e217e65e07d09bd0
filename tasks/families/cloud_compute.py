"""Abuse of what a cloud runs: machines started for gain and entered, mail sent, and credentials of machines used elsewhere.

Operations and requests are as AWS CloudTrail, Google Cloud audit logs, the Azure activity log, Entra and Okta write them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tasks.families.tellings import (
    GOOGLE_SERVICE,
    MACHINE,
    OWN_SERVICE,
    PERSON,
    PIPELINE,
    SESSION,
    Caller,
    Row,
    Telling,
    aws,
    each,
    google,
    on_cloud,
)
from tasks.scene import ADDRESS, EITHER, Family


# ---------------------------------------------------------------- machines
def _machines(kind: str, most: int, by: Caller = PERSON) -> Row:
    items = {"items": [{"imageId": "ami-0{hex}{hex2}", "minCount": 1, "maxCount": most}]}
    return aws("ec2", "RunInstances", {"instancesSet": items, "instanceType": kind}, by)


def _resized(kind: str, by: Caller = PERSON) -> Row:
    request = {"instanceId": "{instance}", "instanceType": {"value": kind}}
    return aws("ec2", "ModifyInstanceAttribute", request, by)


_MODEL = {"modelId": "{word}.{word2}-v2", "useCase": "{word3}"}
_MODEL_CALLS = ("PutUseCaseForModelAccess", "PutFoundationModelEntitlement", "CreateFoundationModelAgreement")
_BIG = ("p4d.24xlarge", "g5.48xlarge", "inf2.48xlarge", "c6i.metal", "x1e.32xlarge")
_SMALL = ("t3.micro", "m5.large", "c6i.xlarge", "r6g.2xlarge")
_SENDING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("GetSendQuota", {}),
    ("PutAccountDetails", {"mailType": "MARKETING", "websiteURL": "https://{domain}"}),
    ("VerifyDomainIdentity", {"domain": "{domain}"}),
    ("UpdateAccountSendingEnabled", {"enabled": True}),
)
_SENDING_2: tuple[tuple[str, dict[str, Any]], ...] = (
    ("GetSendQuota", {}),
    ("PutAccountSendingAttributes", {"sendingEnabled": True}),
    ("CreateEmailIdentity", {"emailIdentity": "{domain}"}),
    ("VerifyEmailIdentity", {"emailAddress": "{word}@{domain}"}),
)
_ASKING = ("GetSendStatistics", "ListIdentities", "GetIdentityVerificationAttributes", "DescribeConfigurationSet")


def _sending(steps: tuple[tuple[str, dict[str, Any]], ...] = _SENDING, by: Caller = PERSON) -> Telling:
    return [aws("ses", call, request, by, after=(10, 240)) for call, request in steps]


_QUOTA = {"serviceCode": "ses", "quotaCode": "L-{hex}", "desiredValue": 100_000}
_SCRIPT = {"documentName": "AWS-RunShellScript", "parameters": {"commands": ["{word} --{word2}"]}}
_FOUR = ["{instance}", "{instance2}", "{instance3}", "{instance4}"]


def _entries(by: Caller = PERSON) -> list[Row]:
    """List the calls by which somebody gets onto one machine."""
    return [
        aws(
            "ec2-instance-connect",
            ("SendSSHPublicKey", "SendSerialConsoleSSHPublicKey"),
            {"instanceId": "{instance}"},
            by,
        ),
        aws("ssm", "SendCommand", {**_SCRIPT, "instanceIds": ["{instance}"]}, by),
        aws("ssm", "StartSession", {"target": "{instance}"}, by),
    ]


_USER_DATA = {"instanceId": "{instance}", "attribute": "userData"}
_ROLE_CALLS: tuple[tuple[str, str], ...] = (
    ("s3", "ListBuckets"),
    ("iam", "ListRoles"),
    ("ec2", "DescribeInstances"),
    ("sts", "GetCallerIdentity"),
)
_AGENT_CALLS: tuple[tuple[str, str], ...] = (
    ("ssm", "UpdateInstanceInformation"),
    ("monitoring", "PutMetricData"),
    ("logs", "PutLogEvents"),
    ("ssm", "PutInventory"),
)


def _role_calls(sources: tuple[str, str], calls: tuple[tuple[str, str], ...] = _ROLE_CALLS) -> list[Telling]:
    """List the tellings in which a machine's role calls twice, from two sources."""
    return [
        [aws(service, call, {}, MACHINE, source=source) for (service, call), source in zip(pair, sources, strict=True)]
        for pair in pairwise(calls)
    ]


def _metadata(*keys: str, by: Caller | None = None) -> list[Row]:
    callers = {} if by is None else {"by": by}
    return [
        google(
            "compute",
            ("v1.compute.instances.setMetadata", "v1.compute.projects.setCommonInstanceMetadata"),
            {"resourceName": "projects/{word2}/instances/{word}", "metadata": {"addedMetadataKeys": [key]}},
            **callers,
        )
        for key in keys
    ]


_PAIR = {"keyName": "{word}-{number}"}


FAMILIES: tuple[Family, ...] = (
    on_cloud(
        "mined_machines",
        "T1496",
        "impact",
        ("cloud-machines-misused",),
        suspicious=each(
            *(_machines(kind, 1) for kind in _BIG),
            *(_machines(kind, 40) for kind in _SMALL),
            *(_resized(kind) for kind in _BIG[:2]),
            aws("bedrock", _MODEL_CALLS, _MODEL),
        ),
        below=each(
            *(_machines(kind, 1) for kind in _SMALL),
            *(_machines(kind, 1, OWN_SERVICE) for kind in _BIG),
            *(_machines(kind, 40, OWN_SERVICE) for kind in _SMALL[:1]),
            *(_resized(kind) for kind in _SMALL[:2]),
            aws("bedrock", ("GetFoundationModel", "ListFoundationModels", "InvokeModel"), _MODEL),
        ),
    ),
    on_cloud(
        "borrowed_mail",
        "T1496.004",
        "impact",
        ("cloud-sending-set-up",),
        suspicious=[
            _sending(),
            _sending(_SENDING_2),
            [*_sending(_SENDING[:3]), aws("servicequotas", "RequestServiceQuotaIncrease", _QUOTA, after=(10, 240))],
        ],
        below=[
            _sending(by=PIPELINE),
            _sending(_SENDING_2, OWN_SERVICE),
            _sending(tuple((call, request) for call, (_, request) in zip(_ASKING, _SENDING, strict=True))),
        ],
    ),
    on_cloud(
        "entered_machines",
        "T1021.007",
        "lateral_movement",
        ("cloud-machine-entered",),
        confirmed=each(
            aws("ssm", "SendCommand", {**_SCRIPT, "instanceIds": _FOUR}),
            aws("ssm", "SendCommand", {**_SCRIPT, "instanceIds": [*_FOUR, "{instance5}"]}, SESSION),
        ),
        suspicious=each(
            *_entries(),
            aws("ec2", "DescribeInstanceAttribute", _USER_DATA, SESSION),
            aws("ec2", "ModifyInstanceAttribute", {**_USER_DATA, "userData": "<sensitiveDataRemoved>"}),
        ),
        below=each(
            *_entries(PIPELINE),
            aws("ssm", "SendCommand", {**_SCRIPT, "instanceIds": _FOUR}, OWN_SERVICE),
            aws("ssm", ("ListCommands", "GetCommandInvocation"), {**_SCRIPT, "instanceIds": _FOUR}),
            aws("ec2", "DescribeInstanceAttribute", _USER_DATA),
        ),
        reaches=EITHER,
    ),
    on_cloud(
        "brought_key",
        "T1098.004",
        "persistence",
        ("cloud-machine-key-added",),
        suspicious=each(
            aws("ec2", "ImportKeyPair", _PAIR), *_metadata("ssh-keys", "startup-script", "windows-startup-script")
        ),
        below=each(
            aws("ec2", ("CreateKeyPair", "DescribeKeyPairs"), _PAIR),
            aws("ec2", "ImportKeyPair", _PAIR, OWN_SERVICE),
            *_metadata("serial-port-enable", "enable-guest-attributes"),
            *_metadata("ssh-keys", by=GOOGLE_SERVICE),
        ),
    ),
    on_cloud(
        "strayed_role",
        "T1552.005",
        "credential_access",
        ("cloud-instance-credentials",),
        confirmed=_role_calls(("{address}", "{address2}")),
        suspicious=_role_calls(("{address}", "{address}")),
        below=[*_role_calls(("{ip}", "{ip}")), *_role_calls(("{address}", "{address}"), _AGENT_CALLS)],
        reaches=ADDRESS,
        names_account=False,
        account="{instance9}",
    ),
)
