"""Rules on what watches a cloud and what keeps strangers out of it: trails, detectors, doors, refused calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schema import CLOUD_WORK, AccountFields, CloudApiFields, ControlChangeFields, account_name
from verifier.calls import (
    caller_of,
    calls_to,
    findings_by_caller,
    is_by_service,
    is_call_to,
    lower,
    names_of,
    refused_calls,
    resources_of,
    sets,
    values_of,
)
from verifier.parameters import facts_in, facts_of, objects_in, opened
from verifier.rules.kit import CLOUD_S, TRAIL_CALLS, TRAIL_SETTINGS, burst_of, grouped
from verifier.window import Findings, Line, Lines, Window, finding, rule

MIN_REFUSED = 8
REFUSED_S = 600
_OFF_CALLS = (
    "DisableSecurityHub",
    "BatchDisableStandards",
    "DeleteConfigRule",
    "DeleteDeliveryChannel",
    "DisableMacie",
    "DeleteAnalyzer",
    "StopMonitoringMembers",
    "DisassociateFromAdministratorAccount",
    "DisassociateFromMasterAccount",
    "DeleteAlarms",
    "DisableAlarmActions",
    "DeleteResolverQueryLogConfig",
    "DeleteWebACL",
    "DisassociateWebACL",
    "DisableOrganizationAdminAccount",
    "DeleteSink",
    "CreateExclusion",
    "DeleteLog",
    "Microsoft.Insights/diagnosticSettings/delete",
    "Microsoft.Insights/activityLogAlerts/delete",
    "Microsoft.OperationalInsights/workspaces/delete",
    "Microsoft.Network/networkWatchers/delete",
    "Microsoft.Network/networkWatchers/flowLogs/delete",
    "Microsoft.Security/alertsSuppressionRules/write",
    "Microsoft.SecurityInsights/alertRules/delete",
    "Microsoft.EventHub/namespaces/eventhubs/delete",
    "Microsoft.Network/azureFirewalls/delete",
    "Microsoft.Network/firewallPolicies/delete",
    "Microsoft.Network/frontDoorWebApplicationFirewallPolicies/delete",
    "Microsoft.Network/applicationGatewayWebApplicationFirewallPolicies/delete",
    "ConfigServiceV2.DeleteBucket",
    "CreateMuteConfig",
    "system.log_stream.lifecycle.deactivate",
    "system.log_stream.lifecycle.delete",
)
_LOG_CALLS = ("DeleteLogGroup", "DeleteLogStream")
_WATCHING = re.compile(r"trail|guardduty", re.IGNORECASE)
_SETTINGS: Mapping[str, tuple[str, tuple[str, ...]]] = {  # what blinds a sensor by the value of one name
    "UpdateDetector": ("enable", ("false",)),
    "CreateFilter": ("action", ("archive",)),
    "CreateIPSet": ("activate", ("true",)),
    "UpdateSink": ("disabled", ("true",)),
    "Microsoft.Security/pricings/write": ("pricingtier", ("free",)),
    "UpdateBucket": ("retentiondays", ("1",)),
}
_DOOR_CALLS = ("AuthorizeSecurityGroupIngress", "ModifySecurityGroupRules", "CreateNetworkAclEntry")
_FIREWALL_CALLS = ("firewalls.insert", "firewalls.patch", "firewalls.update")
_AZURE_DOORS = (
    "Microsoft.Network/networkSecurityGroups/securityRules/write",
    "Microsoft.Network/networkSecurityGroups/write",
)
_DATABASE_DOORS = (
    "Microsoft.Sql/servers/firewallRules/write",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/write",
    "Microsoft.DBforMySQL/flexibleServers/firewallRules/write",
    "cloudsql.instances.create",
    "cloudsql.instances.update",
    "cloudsql.instances.patch",
)
_ANY_SOURCE = ("*", "internet", "any", "0.0.0.0/0")
_EVERY_ADDRESS = re.compile(r"^[\d.:a-f]{2,39}/0$")
_PORTS = (22, 3389, 445, 1433, 3306, 5432, 5985)
_EVERY_PROTOCOL = ("-1", "all")
_PERMISSION = frozenset(("fromport", "ipprotocol", "aclprotocol", "sourceranges"))
_ENDS = (("fromport", "from"), ("toport", "to"))
_NO_DOOR = frozenset(("icmp", "icmpv6", "deny", "egress"))
_DENIED = frozenset(("denied", "denieds"))
_GUARD_CALLS = (
    "DeleteProject",
    "DeleteServicePerimeter",
    "DeleteAccessLevel",
    "DeleteAccessPolicy",
    "ClearOrgPolicy",
    "DisablePolicyType",
    "DetachPolicy",
    "DeletePolicy",
)
_GUARD_SERVICES = ("orgpolicy", "organizations", "cloudresourcemanager", "accesscontextmanager")
_NUMBER = re.compile(r"^-?\d{1,6}$")
_RANGE = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?$")


@rule(
    "cloud-trail-stopped",
    "T1562.008",
    "defense_evasion",
    on=((ControlChangeFields, "trail_stop"), calls_to(*TRAIL_CALLS)),
    summary=f"A principal stops, deletes or narrows the cloud's audit trail ({', '.join(TRAIL_CALLS)}; not an own service; {', '.join(TRAIL_SETTINGS)} only where a trail is narrowed: includeManagementEvents, isMultiRegionTrail, enableLogFileValidation or includeGlobalServiceEvents false, readWriteType ReadOnly or WriteOnly, "
    f"excludeManagementEventSources, PutInsightSelectors without an insightType, or advanced selectors (field, equals) without Management). Confirmed: from the same external address it also makes an access key for another account within {CLOUD_S} s.",
    source="ATT&CK T1562.008, T1098.001; AWS CloudTrail PutEventSelectors",
)
def cloud_trail_stopped(changes: Lines[ControlChangeFields], calls: Lines[CloudApiFields], window: Window) -> Findings:
    settings: list[Line] = [*changes, *calls]
    stops = [line for line in settings if _is_stopped(line)]
    for (user, source), lines in grouped(stops, _caller_and_source).items():
        keys = _keys_beside(window, lines, user, source)
        confirmed = bool(keys) and window.is_external(source)
        yield finding(
            [*lines, *keys] if confirmed else lines,
            confirmed=confirmed,
            scope="identity",
            host=lines[0].host,
            hosts=[line.host for line in lines],
            account=user,
            program=CLOUD_WORK,
            remote=source,
        )


def _is_stopped(line: Line[Any]) -> bool:
    """Return whether a call stops a trail, or leaves out a part of what it records."""
    name = getattr(line.fields, "control_name", None) or getattr(line.fields, "api_operation", None)
    return not is_by_service(line) and (name not in TRAIL_SETTINGS or _narrows_trail(line))


def _narrows_trail(line: Line[Any]) -> bool:
    return (
        any(sets(line, name, "false") for name in _RECORDED)
        or sets(line, "readwritetype", "readonly", "writeonly")
        or bool(values_of(line, "excludemanagementeventsources"))
        or (_is_put_of_insights(line) and not values_of(line, "insighttype"))
        or (bool(values_of(line, "field")) and "Management" not in values_of(line, "equals"))
    )


def _is_put_of_insights(line: Line[Any]) -> bool:
    name = getattr(line.fields, "control_name", None) or getattr(line.fields, "api_operation", None)
    return name == "PutInsightSelectors" and bool(facts_of(resources_of(line)))


_RECORDED = (
    "includemanagementevents",
    "ismultiregiontrail",
    "enablelogfilevalidation",
    "includeglobalserviceevents",
)


def _caller_and_source(line: Line) -> tuple[str, str] | None:
    caller = caller_of(line)
    return (caller, line.fields.src_ip or "") if caller else None


def _keys_beside(window: Window, stops: Lines, user: str, source: str) -> Lines[AccountFields]:
    """List the keys that a principal makes for others from one address about the time of some lines."""
    span = window.limits.within(CLOUD_S)
    return [
        key
        for key in window.of(AccountFields, "key_create")
        if (key.user, key.fields.src_ip) == (user, source)
        and account_name(key.fields.user_name) not in ("", user)
        and any(abs(key.time_s - stop.time_s) <= span for stop in stops)
    ]


@rule(
    "cloud-trail-attempt",
    "T1562.008",
    "defense_evasion",
    on=(CloudApiFields,),
    summary=f"Stopping the cloud's audit trail ({', '.join(TRAIL_CALLS)}) is tried, not by an own service, and refused. Suspicious.",
    source="ATT&CK T1562.008",
)
def cloud_trail_attempt(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in window.view(refused_calls) if line.fields.api_operation in TRAIL_CALLS)


@rule(
    "cloud-detection-off",
    "T1562.001",
    "defense_evasion",
    on=(calls_to(*_OFF_CALLS, *_LOG_CALLS, *_SETTINGS, "SetIamPolicy"),),
    summary=f"Not by an own service: what detects, checks or keeps logs is switched off, deleted or blinded ({', '.join(_OFF_CALLS)}; {', '.join(_LOG_CALLS)} whose logGroupName says trail or guardduty; {', '.join(f'{call} with {name} {values[0]}' for call, (name, values) in _SETTINGS.items())}; SetIamPolicy whose deltas have the action REMOVE and a logType). Suspicious.",
    source="ATT&CK T1562.001, T1562.008; AWS GuardDuty, Security Hub, Config; Google Cloud Logging; Azure Monitor and Defender for Cloud; Okta log streaming",
)
def cloud_detection_off(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _is_blinded(line))


def _is_blinded(line: Line[CloudApiFields]) -> bool:
    if is_call_to(line, _LOGS):
        return any(map(_WATCHING.search, values_of(line, "loggroupname")))
    if is_call_to(line, _POLICIES):
        return any(
            part.get("action") == "REMOVE" and "logType" in part for part in objects_in(opened(resources_of(line)))
        )
    setting = next((_SETTING_OF[name] for name in _names_of(line) if name in _SETTING_OF), None)
    return setting is None or sets(line, setting[0], *setting[1])


_LOGS, _POLICIES = lower(*_LOG_CALLS), lower("SetIamPolicy")
_SETTING_OF = {call.lower(): setting for call, setting in _SETTINGS.items()}


def _names_of(line: Line[CloudApiFields]) -> tuple[str, ...]:
    return names_of(line.fields.api_operation, line.fields.api_service)


@rule(
    "cloud-door-opened",
    "T1562.007",
    "defense_evasion",
    on=((ControlChangeFields, "firewall"), calls_to(*_DOOR_CALLS, *_FIREWALL_CALLS, *_AZURE_DOORS, *_DATABASE_DOORS)),
    summary=f"Not by an own service: one permission (fromPort and toPort, portRange from and to, ipProtocol, aclProtocol, sourceRanges with ports) opens an administration or database port ({', '.join(map(str, _PORTS))}, or all of them: 0, -1, protocol all) to every address (0.0.0.0/0, ::/0 or any other /0) "
    f"by {', '.join(_DOOR_CALLS + _FIREWALL_CALLS)}; not icmp or icmpv6, outward (egress true), deny, denied or denieds; so does a rule of Azure ({', '.join(_AZURE_DOORS)} with access Allow, direction Inbound, sourceAddressPrefix or sourceAddressPrefixes {', '.join(_ANY_SOURCE)}, destinationPortRange or destinationPortRanges), "
    f"or a database lets in every address ({', '.join(_DATABASE_DOORS)} with startIpAddress 0.0.0.0 and endIpAddress 255.255.255.255, or the value 0.0.0.0/0 among authorizedNetworks). Suspicious.",
    source="ATT&CK T1562.007; AWS EC2 AuthorizeSecurityGroupIngress, Google Compute Engine firewalls.insert, Azure network security groups",
)
def cloud_door_opened(changes: Lines[ControlChangeFields], calls: Lines[CloudApiFields], window: Window) -> Findings:
    doors: list[Line] = [
        line for line in changes if line.fields.control_name in _DOOR_CALLS and not is_by_service(line)
    ]
    return findings_by_caller(line for line in [*doors, *calls] if _is_open_door(line))


def _is_open_door(line: Line[Any]) -> bool:
    return any(
        _opens_port(part) or _opens_azure_port(part) or _opens_database(part)
        for part in objects_in(opened(resources_of(line)))
    )


def _opens_azure_port(part: Mapping[str, Any]) -> bool:
    """Return whether a rule of a network security group lets every address to such a port."""
    if "access" not in part or "direction" not in part:
        return False
    facts = facts_in(dict(part))
    sources = {*facts.get("sourceaddressprefix", ()), *facts.get("sourceaddressprefixes", ())}
    ports = (*facts.get("destinationportrange", ()), *facts.get("destinationportranges", ()))
    reaches = "*" in ports or any(
        int(low) <= port <= int(high or low) for low, high in _ranges(ports) for port in _PORTS
    )
    lets_in = (str(part["access"]).lower(), str(part["direction"]).lower()) == ("allow", "inbound")
    return lets_in and reaches and any(source.lower() in _ANY_SOURCE for source in sources)


def _opens_database(part: Mapping[str, Any]) -> bool:
    """Return whether a database's rule spans every address."""
    names = {name.lower(): value for name, value in part.items()}
    if (names.get("startipaddress"), names.get("endipaddress")) == ("0.0.0.0", "255.255.255.255"):
        return True
    networks = facts_in({"networks": names["authorizednetworks"]}) if "authorizednetworks" in names else {}
    return "0.0.0.0/0" in networks.get("value", ())


def _opens_port(part: Mapping[str, Any]) -> bool:
    """Return whether one permission lets every address to a port that administers or serves data."""
    names, facts = {name.lower() for name in part}, facts_in(part)
    values = {value.lower() for texts in facts.values() for value in texts}
    if names.isdisjoint(_PERMISSION) or not any(map(_EVERY_ADDRESS.search, values)) or not values.isdisjoint(_NO_DOOR):
        return False
    if "true" in facts.get("egress", ()) or not names.isdisjoint(_DENIED):
        return False
    protocols = {*facts.get("ipprotocol", ()), *facts.get("aclprotocol", ())}
    ranges = [(int(low), int(high or low)) for low, high in _ranges(facts.get("ports", ()))]
    first, last = ([*_numbers(facts, name), *_numbers(facts, short)] for name, short in _ENDS)
    ranges += list(zip(first, last or first, strict=False))
    if not ranges:
        return not protocols.isdisjoint(_EVERY_PROTOCOL)
    return any(low <= 0 or any(low <= port <= high for port in _PORTS) for low, high in ranges)


def _numbers(facts: Mapping[str, tuple[str, ...]], name: str) -> list[int]:
    return [int(text) for text in facts.get(name, ()) if _NUMBER.match(text)]


def _ranges(texts: tuple[str, ...]) -> list[tuple[str, str | None]]:
    matches = (_RANGE.match(text) for text in texts)
    return [(match[1], match[2]) for match in matches if match]


@rule(
    "cloud-guardrail-removed",
    "T1484",
    "defense_evasion",
    on=(calls_to(*_GUARD_CALLS, "SetOrgPolicy", "UpdatePolicy"),),
    summary=f"Not by an own service: a policy of the whole organisation, or a whole project, goes ({', '.join(_GUARD_CALLS)} of {', '.join(_GUARD_SERVICES)}) or is no longer enforced (SetOrgPolicy, UpdatePolicy with enforced or enforce false, or allValues or allowAll ALLOW or true). Suspicious.",
    source="ATT&CK T1484, T1562; AWS Organizations DetachPolicy, Google Cloud Organization Policy",
)
def cloud_guardrail_removed(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _is_unguarded(line))


def _is_unguarded(line: Line[CloudApiFields]) -> bool:
    operation = (line.fields.api_operation or "").rpartition(".")[2]
    if not (line.fields.api_service or "").startswith(_GUARD_SERVICES):
        return False
    if operation in _GUARD_CALLS:
        return True
    off = any(sets(line, name, "false") for name in ("enforced", "enforce"))
    return off or any(sets(line, name, "allow", "true") for name in ("allvalues", "allowall"))


@rule(
    "cloud-calls-refused",
    "T1580",
    "discovery",
    on=(CloudApiFields,),
    at_least=MIN_REFUSED,
    summary=f"A principal that is no own service is refused {MIN_REFUSED} or more different operations within {REFUSED_S} s (api_error with denied, unauthorized or forbidden, or 403), as who tries out what a stolen key may do. Suspicious.",
    source="ATT&CK T1580, T1526, T1087.004; AWS CloudTrail error codes",
)
def cloud_calls_refused(calls: Lines[CloudApiFields], window: Window) -> Findings:
    refusals = [line for line in window.view(refused_calls) if _REFUSED.search(line.fields.api_error or "")]
    for lines in grouped(refusals, caller_of).values():
        burst = burst_of(window, lines, MIN_REFUSED, REFUSED_S, different=lambda line: line.fields.api_operation)
        yield from findings_by_caller(burst)


_REFUSED = re.compile(r"denied|unauthorized|forbidden|^403$", re.IGNORECASE)

RULES = (
    cloud_trail_stopped,
    cloud_trail_attempt,
    cloud_detection_off,
    cloud_door_opened,
    cloud_guardrail_removed,
    cloud_calls_refused,
)
