"""Abuse of a cloud: what watches it is switched off, what keeps strangers out is opened.

Operations and requests are as AWS CloudTrail, Google Cloud audit logs, the Azure activity log, Entra and Okta write them.
"""

from __future__ import annotations

from typing import Any

from tasks.families.tellings import (
    ANOTHER,
    GOOGLE_SERVICE,
    OWN_SERVICE,
    PERSON,
    Caller,
    Row,
    Telling,
    aws,
    each,
    google,
    on_cloud,
    tenant,
)
from tasks.scene import Family

# ---------------------------------------------------------------- what watches
_TRAIL = {"name": "arn:aws:cloudtrail:eu-west-1:{account}:trail/{word}"}
_SELECTORS = {"trailName": "{word}", "eventSelectors": [{"includeManagementEvents": False, "readWriteType": "All"}]}
_DETECTOR = {"detectorId": "{hex}{hex2}"}
_RECORDER = {"configurationRecorderName": "{word}"}
_DENIALS = ("AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation")


def _refused(service: str, operation: str | tuple[str, ...], request: dict[str, Any], **more: Any) -> Row:
    return aws(service, operation, request, **{"api_error": _DENIALS, **more})


_TRAIL_STOPS = (
    ("cloudtrail", ("StopLogging", "DeleteTrail"), ("GetTrailStatus", "GetTrail"), _TRAIL),
    ("cloudtrail", "UpdateTrail", "GetTrail", {**_TRAIL, "isMultiRegionTrail": False}),
    ("cloudtrail", ("PutEventSelectors", "PutInsightSelectors"), "GetEventSelectors", _SELECTORS),
    ("cloudtrail", "DeleteEventDataStore", "GetEventDataStore", {"eventDataStore": "{hex}-{hex2}"}),
    ("ec2", "DeleteFlowLogs", "DescribeFlowLogs", {"flowLogIds": ["fl-0{hex}{hex2}"]}),
    ("guardduty", "DeleteDetector", "GetDetector", _DETECTOR),
    (
        "config",
        ("StopConfigurationRecorder", "DeleteConfigurationRecorder"),
        "DescribeConfigurationRecorders",
        _RECORDER,
    ),
)

_LOG_GROUP = ("DeleteLogGroup", "DeleteLogStream")
_ALARM = {"alarmNames": ["{word}-{word2}"]}
_WEB_ACL = {"name": "{word}", "scope": "REGIONAL", "id": "{hex}-{hex2}"}
_SINK = {"resourceName": "projects/{word2}/sinks/{word}"}
_CONFIG_SERVICE = "google.logging.v2.ConfigServiceV2."
_DIAGNOSTICS = {
    "resourceId": "/subscriptions/{hex}/resourceGroups/{word}/providers/Microsoft.Insights/diagnosticSettings/{word2}"
}


def _ip_set(activate: bool) -> Row:
    request = {**_DETECTOR, "name": "{word}", "location": "https://s3.amazonaws.com/{word2}/set.txt"}
    return aws("guardduty", "CreateIPSet", {**request, "activate": activate})


def _filter(action: str) -> Row:
    criterion = {"criterion": {"severity": {"gte": 1}}}
    return aws("guardduty", "CreateFilter", {**_DETECTOR, "name": "{word}", "action": action, **criterion})


def _sink(disabled: bool) -> Row:
    return google("logging", _CONFIG_SERVICE + "UpdateSink", {**_SINK, "request": {"sink": {"disabled": disabled}}})


# The first names switch something off, the second look at it or switch it on.
_OFF_AND_ON: tuple[tuple[str, str | tuple[str, ...], str | tuple[str, ...], dict[str, Any]], ...] = (
    ("securityhub", "DisableSecurityHub", "EnableSecurityHub", {}),
    (
        "securityhub",
        "BatchDisableStandards",
        "BatchEnableStandards",
        {"standardsSubscriptionArns": ["arn:aws:securityhub:eu-west-1:{account}:subscription/{word}/v/1.4.0"]},
    ),
    (
        "securityhub",
        "DisableOrganizationAdminAccount",
        "EnableOrganizationAdminAccount",
        {"adminAccountId": "{account2}"},
    ),
    ("config", "DeleteConfigRule", "PutConfigRule", {"configRuleName": "{word}-{word2}"}),
    ("config", "DeleteDeliveryChannel", "PutDeliveryChannel", {"deliveryChannelName": "{word}"}),
    ("macie2", "DisableMacie", "EnableMacie", {}),
    ("access-analyzer", "DeleteAnalyzer", "CreateAnalyzer", {"analyzerName": "{word}"}),
    (
        "guardduty",
        ("StopMonitoringMembers", "DisassociateFromAdministratorAccount", "DisassociateFromMasterAccount"),
        ("StartMonitoringMembers", "AcceptAdministratorInvitation"),
        {**_DETECTOR, "accountIds": ["{account}"]},
    ),
    ("monitoring", ("DeleteAlarms", "DisableAlarmActions"), ("PutMetricAlarm", "EnableAlarmActions"), _ALARM),
    (
        "route53resolver",
        "DeleteResolverQueryLogConfig",
        "GetResolverQueryLogConfig",
        {"resolverQueryLogConfigId": "{hex}"},
    ),
    ("wafv2", ("DeleteWebACL", "DisassociateWebACL"), ("CreateWebACL", "AssociateWebACL"), _WEB_ACL),
)

# ---------------------------------------------------------------- doors
_EVERYBODY, _SOMEBODY = ("0.0.0.0/0", "::/0"), ("{address2}/32",)
_ADMIN_PORTS = (22, 3389, 5432)


def _firewall(operation: str, request: dict[str, Any], user: str = "{user}") -> Row:
    """Describe a change of an AWS firewall, which is an event type of its own."""
    fields = {"control_name": operation, "new_value": request, "src_ip": "{address}"}
    return Row("control_change", "firewall", fields, user=user)


def _doors(networks: tuple[str, ...], ports: tuple[int, ...], egress: bool = False) -> list[Row]:
    rows = []
    for network in networks:
        for port in ports:
            ranges = {"items": [{"cidrIp": network}]}
            permission = {"ipProtocol": "tcp", "fromPort": port, "toPort": port, "ipRanges": ranges}
            group = {"groupId": "sg-0{hex}", "ipPermissions": {"items": [permission]}}
            rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIpv4": network}
            rules = {"GroupId": "sg-0{hex}", "SecurityGroupRule": {"SecurityGroupRule": rule}}
            entry = {"aclProtocol": "6", "cidrBlock": network, "egress": egress, "ruleAction": "allow"}
            rows += [
                _firewall("AuthorizeSecurityGroupIngress", group),
                _firewall("ModifySecurityGroupRules", {"ModifySecurityGroupRulesRequest": rules}),
                _firewall("CreateNetworkAclEntry", {**entry, "portRange": {"from": port, "to": port}}),
            ]
    return rows


def _google_door(network: str, port: str, verdict: str = "alloweds") -> Row:
    rule = {"direction": "INGRESS", "sourceRanges": [network], verdict: [{"IPProtocol": "tcp", "ports": [port]}]}
    name = "projects/{word2}/global/firewalls/{word}"
    operations = tuple(f"v1.compute.firewalls.{verb}" for verb in ("insert", "patch", "update"))
    return google("compute", operations, {"resourceName": name, "request": rule})


_ORG_POLICY = "google.cloud.orgpolicy.v2.OrgPolicy."
_GUARDED = {"policyId": "p-{hex}", "targetId": "{account2}"}
_POLICY_TYPE = {"rootId": "r-{number}", "policyType": "SERVICE_CONTROL_POLICY"}
_ORG_NAME = {"resourceName": "projects/{word}"}


def _org_rule(rule: dict[str, bool]) -> Row:
    name = "projects/{word}/policies/iam.disableServiceAccountKeyCreation"
    request = {"policy": {"name": name, "spec": {"rules": [rule]}}}
    return google("orgpolicy", _ORG_POLICY + "UpdatePolicy", {**_ORG_NAME, "request": request})


def _old_org_rule(rule: dict[str, Any]) -> Row:
    request = {"policy": {"constraint": "constraints/{word2}", **rule}}
    return google("cloudresourcemanager", "SetOrgPolicy", {**_ORG_NAME, "request": request})


_TRIED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("s3", ("ListBuckets", "GetBucketAcl", "GetBucketPolicy")),
    ("iam", ("ListUsers", "ListGroups")),
    ("iam", ("ListRoles", "GetAccountAuthorizationDetails")),
    ("iam", ("ListAttachedUserPolicies", "ListUserPolicies")),
    ("ec2", ("DescribeInstances", "DescribeImages")),
    ("ec2", ("DescribeVpcs", "DescribeSecurityGroups", "DescribeSnapshots")),
    ("rds", ("DescribeDBInstances", "DescribeDBClusters")),
    ("lambda", ("ListFunctions20150331", "ListLayers20181031")),
    ("dynamodb", ("ListTables", "DescribeTable")),
    ("organizations", ("ListAccounts", "DescribeOrganization")),
    ("sts", ("GetAccessKeyInfo", "DecodeAuthorizationMessage")),
)


def _tries(callers: tuple[Caller, ...] = (PERSON,), kinds: int = len(_TRIED), **more: Any) -> Telling:
    """Write a run of refused calls: of `kinds` sorts, by callers who take turns."""
    return [
        _refused(service, operations if kinds == len(_TRIED) else operations[0], {}, after=(3, 22), by=caller, **more)
        for number in range(len(_TRIED))
        for service, operations in [_TRIED[number % kinds]]
        for caller in [callers[number % len(callers)]]
    ]


FAMILIES: tuple[Family, ...] = (
    on_cloud(
        "refused_trail",
        "T1562.008",
        "defense_evasion",
        ("cloud-trail-attempt",),
        suspicious=each(*(_refused(service, stop, request) for service, stop, _, request in _TRAIL_STOPS)),
        below=each(
            *(_refused(service, look, request) for service, _, look, request in _TRAIL_STOPS),
            *(_refused(service, stop, request, by=OWN_SERVICE) for service, stop, _, request in _TRAIL_STOPS[:3]),
        ),
    ),
    on_cloud(
        "blinded_detection",
        "T1562.001",
        "defense_evasion",
        ("cloud-detection-off",),
        suspicious=each(
            *(aws(service, off, request) for service, off, _, request in _OFF_AND_ON),
            aws("logs", _LOG_GROUP, {"logGroupName": "/aws/cloudtrail/{word}"}),
            aws("logs", _LOG_GROUP, {"logGroupName": "aws-guardduty-{word}"}),
            aws("guardduty", "UpdateDetector", {**_DETECTOR, "enable": False}),
            _filter("ARCHIVE"),
            _ip_set(True),
            _sink(True),
            google("logging", (_CONFIG_SERVICE + "DeleteSink", _CONFIG_SERVICE + "CreateExclusion"), _SINK),
            google("logging", "google.logging.v2.LoggingServiceV2.DeleteLog", _SINK),
            tenant("Microsoft.Insights", "Microsoft.Insights/diagnosticSettings/delete", _DIAGNOSTICS),
        ),
        below=each(
            *(aws(service, on, request) for service, _, on, request in _OFF_AND_ON[::2]),
            *(aws(service, off, request, OWN_SERVICE) for service, off, _, request in _OFF_AND_ON[::2]),
            aws("logs", _LOG_GROUP, {"logGroupName": "/aws/lambda/{word}"}),
            aws("guardduty", "UpdateDetector", {**_DETECTOR, "enable": True}),
            _filter("NOOP"),
            _ip_set(False),
            _sink(False),
            google("logging", (_CONFIG_SERVICE + "CreateSink", _CONFIG_SERVICE + "GetExclusion"), _SINK),
            google("logging", _CONFIG_SERVICE + "DeleteSink", _SINK, GOOGLE_SERVICE),
            tenant("Microsoft.Insights", "Microsoft.Insights/diagnosticSettings/write", _DIAGNOSTICS),
        ),
    ),
    on_cloud(
        "opened_port",
        "T1562.007",
        "defense_evasion",
        ("cloud-door-opened",),
        suspicious=each(
            *_doors(_EVERYBODY, _ADMIN_PORTS),
            *(_google_door("0.0.0.0/0", port) for port in ("22", "3306", "5985-5986")),
        ),
        below=each(
            *_doors(_SOMEBODY, _ADMIN_PORTS),
            *_doors(_EVERYBODY[:1], (443, 8443)),
            *(_google_door("{address2}/32", port) for port in ("22", "3306")),
            _google_door("0.0.0.0/0", "22", "denieds"),
        ),
    ),
    on_cloud(
        "lifted_guardrail",
        "T1484",
        "defense_evasion",
        ("cloud-guardrail-removed",),
        suspicious=each(
            aws("organizations", ("DetachPolicy", "DeletePolicy"), _GUARDED),
            aws("organizations", "DisablePolicyType", _POLICY_TYPE),
            _org_rule({"enforce": False}),
            _org_rule({"allowAll": True}),
            _old_org_rule({"booleanPolicy": {"enforced": False}}),
            _old_org_rule({"listPolicy": {"allValues": "ALLOW"}}),
            google("cloudresourcemanager", "ClearOrgPolicy", _ORG_NAME),
            google("orgpolicy", _ORG_POLICY + "DeletePolicy", _ORG_NAME),
        ),
        below=each(
            aws("organizations", ("AttachPolicy", "CreatePolicy"), _GUARDED),
            aws("organizations", "DetachPolicy", _GUARDED, OWN_SERVICE),
            aws("organizations", "EnablePolicyType", _POLICY_TYPE),
            aws("iam", ("DetachPolicy", "DeletePolicy"), _GUARDED),
            _org_rule({"enforce": True}),
            _org_rule({"allowAll": False}),
            _old_org_rule({"booleanPolicy": {"enforced": True}}),
            _old_org_rule({"listPolicy": {"allValues": "DENY"}}),
            google("cloudresourcemanager", "GetOrgPolicy", _ORG_NAME),
            google("orgpolicy", _ORG_POLICY + "DeletePolicy", _ORG_NAME, GOOGLE_SERVICE),
        ),
    ),
    on_cloud(
        "tried_rights",
        "T1580",
        "discovery",
        ("cloud-calls-refused",),
        suspicious=[_tries()],
        below=[
            _tries(kinds=4),
            _tries((PERSON, ANOTHER)),
            _tries(api_error=("ThrottlingException", "NoSuchEntityException", "ValidationError")),
            _tries((OWN_SERVICE,)),
        ],
    ),
)
