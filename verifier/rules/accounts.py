"""Rules on accounts, groups and attributes through which somebody stays or rises (ATT&CK Persistence by accounts)."""

from __future__ import annotations

import re

from schema import (
    ACCOUNT_WORK,
    GROUP_WORK,
    REPLICATION_WORK,
    AccountFields,
    DirectoryFields,
    GroupFields,
    account_name,
)
from verifier.commands import command_rule
from verifier.rules.kit import PRIVILEGED_GROUPS, burst_of, follows, grouped
from verifier.window import (
    Findings,
    Line,
    Lines,
    Window,
    finding,
    findings_by_host_and_user,
    is_person_or_service,
    rule,
)

SHORT_ACCOUNT_S = 3600
MIN_GROUPS = 3
GROUPS_S = 600

# Attributes through which one account can become another, and what they mean (MS-ADA, MS-ADTS 5.1.3).
DELEGATION = re.compile(
    r"allowedtodelegateto=[^;\s]|set: trusted for delegation|set: trusted to authenticate for delegation|set: no preauthentication required|set: reversible"
    r"|set: DES keys only|sidhistory=s-1|msds-allowedtodelegateto=|msds-groupmsamembership=|^serviceprincipalname=|gpcmachineextensionnames=|gpcfilesyspath=|^scriptpath=",
    re.IGNORECASE,
)

TAKEOVER = re.compile(r"msds-allowedtoactonbehalfofotheridentity=|msds-keycredentiallink=|^sidhistory=", re.IGNORECASE)

_SPN = re.compile(r"serviceprincipalnames=[^;\s<]", re.IGNORECASE)

_DESCRIPTOR = re.compile(r"^ntsecuritydescriptor=", re.IGNORECASE)

# Control access right to install a replica, and the right to manage replication (MS-ADTS 5.1.3.2.1).
REPLICA_RIGHTS = ("9923a32a-3607-11d2-b9be-0000f87a36b2", "1131f6ac-9c07-11d1-f79f-00c04fc2dcd2")

# Service principal names that only domain controllers bear: the global catalogue's and replication's (MS-DRSR 2.2.3.2).
_REPLICA_NAME = re.compile(
    r"serviceprincipalnames?=(?:.{0,600}\s)?(?:GC|E3514235-4B06-11D1-AB04-00C04FC2DCD2)/", re.IGNORECASE
)


account_command = command_rule(
    "account-command",
    "T1136.001",
    "persistence",
    meaning="account-command",
    confirmed=False,
    summary="A command makes an account or group member (net user /add). Suspicious.",
    source="ATT&CK T1136.001, T1098",
)


@rule(
    "odd-account",
    "T1136",
    "persistence",
    on=((AccountFields, "create"),),
    summary=f"A person's new account goes within {SHORT_ACCOUNT_S} s; confirmed if a user's (set: Normal account) name ends in $.",
    source="ATT&CK T1136, T1564.002; Security 4720/4726",
)
def odd_account(creations: Lines[AccountFields], window: Window) -> Findings:
    for line in creations:
        name = account_name(line.fields.user_name)
        if name and is_person_or_service(line.user):
            removals = [
                removal
                for removal in window.of(AccountFields, "delete")
                if account_name(removal.fields.user_name) == name and follows(window, removal, line, SHORT_ACCOUNT_S)
            ]
            disguised = name.endswith("$") and "set: normal account" in (line.fields.attributes or "")
            if removals or disguised:
                yield finding(
                    [line, *removals],
                    confirmed=disguised,
                    scope="identity",
                    host=line.host,
                    account=line.user,
                    program=ACCOUNT_WORK,
                )


@rule(
    "identity-history",
    "T1134.005",
    "privilege_escalation",
    on=((AccountFields, "sid_history"),),
    summary="An account gets another's SID in its history. Confirmed, harm done.",
    source="ATT&CK T1134.005; Security 4765",
)
def identity_history(additions: Lines[AccountFields], window: Window) -> Findings:
    for line in additions:
        if line.fields.user_name and is_person_or_service(line.user):
            yield finding(
                [line],
                confirmed=True,
                scope="identity",
                host=line.host,
                account=line.user,
                program=ACCOUNT_WORK,
                impact=True,
            )


@rule(
    "account-takeover",
    "T1098",
    "persistence",
    on=(AccountFields, (DirectoryFields, "modify", "create")),
    summary="A person sets on an account or object: delegation (AllowedToDelegateTo, msDS-AllowedToDelegateTo, Trusted for or Trusted to authenticate for delegation), no preauthentication required, reversible or DES keys only, "
    "sIDHistory, msDS-GroupMSAMembership, scriptPath, gPCMachineExtensionNames, gPCFileSysPath, servicePrincipalName= or servicePrincipalNames= (but a computer's), the access list (nTSecurityDescriptor=) of DC=, CN=AdminSDHolder, a user, group or groupPolicyContainer; "
    "or the password of Directory Services Restore. Confirmed: an object's msDS-AllowedToActOnBehalfOfOtherIdentity, msDS-KeyCredentialLink or sIDHistory, a machine name losing $, or a change by ANONYMOUS LOGON.",
    source="ATT&CK T1098, T1558, T1484.001, T1078.002; MS-ADA; Security 4738/4742/4781/4794/5136",
)
def account_takeover(accounts: Lines[AccountFields], edits: Lines[DirectoryFields], window: Window) -> Findings:
    takeovers: list[Line] = [*filter(_is_account_seized, accounts), *filter(_is_object_seized, edits)]
    log_ids = {line.log_id for line in takeovers}
    lines: list[Line] = [line for line in accounts if line.log_id in log_ids or _is_account_weakened(line)]
    lines += [line for line in edits if line.log_id in log_ids or _is_object_weakened(line)]
    return findings_by_host_and_user(
        lines,
        confirmed=lambda group: any(line.log_id in log_ids for line in group),
        scope="identity",
        program=ACCOUNT_WORK,
    )


def _is_account_seized(line: Line[AccountFields]) -> bool:
    """Return whether nobody in particular changes an account, or a person takes the $ off a machine's name."""
    if line.user.lower() == "anonymous logon":
        return line.fields.activity in ("modify", "password_reset", "password_change")
    if line.fields.activity != "rename" or not is_person_or_service(line.user):
        return False
    name, old_name = account_name(line.fields.user_name), (line.fields.attributes or "").rstrip()
    return old_name.endswith("$") and bool(name) and not name.endswith("$")


def _is_account_weakened(line: Line[AccountFields]) -> bool:
    """Return whether a person sets an attribute or a password by which an account can be taken over."""
    if not is_person_or_service(line.user):
        return False
    name, attributes = account_name(line.fields.user_name), line.fields.attributes or ""
    if line.fields.activity == "password_reset":
        return name.startswith("Directory Services Restore")
    if line.fields.activity not in ("create", "modify"):
        return False
    by_service_name = not name.endswith("$") and _SPN.search(attributes)
    return bool(by_service_name or DELEGATION.search(attributes))


def _is_object_seized(line: Line[DirectoryFields]) -> bool:
    return is_person_or_service(line.user) and TAKEOVER.search(line.fields.properties or "") is not None


def _is_object_weakened(line: Line[DirectoryFields]) -> bool:
    """Return whether a person sets a property by which an account or the domain can be taken over."""
    if not is_person_or_service(line.user):
        return False
    properties = line.fields.properties or ""
    by_machine = line.fields.object_type == "computer" and properties.lower().startswith("serviceprincipalname=")
    return _is_access_list_set(line) or (not by_machine and DELEGATION.search(properties) is not None)


def _is_access_list_set(line: Line[DirectoryFields]) -> bool:
    """Return whether the access list of the domain, of its administrators, or of a user, group or policy is set."""
    name = (line.fields.object_dn or "").lower()
    precious = line.fields.object_type in ("user", "group", "groupPolicyContainer")
    return _DESCRIPTOR.search(line.fields.properties or "") is not None and (
        precious or name.startswith(("dc=", "cn=adminsdholder"))
    )


@rule(
    "replica-rights",
    "T1207",
    "defense_evasion",
    on=(DirectoryFields, AccountFields),
    summary=f"A person uses the right to install or manage a replica ({', '.join(REPLICA_RIGHTS)}), or gives a machine a domain controller's service name "
    "(servicePrincipalName or servicePrincipalNames with GC/ or E3514235-4B06-11D1-AB04-00C04FC2DCD2/). Confirmed.",
    source="ATT&CK T1207; MS-ADTS 5.1.3.2.1",
)
def replica_rights(accesses: Lines[DirectoryFields], accounts: Lines[AccountFields], window: Window) -> Findings:
    lines: list[Line] = [
        *filter(_uses_replica_right, accesses),
        *(line for line in accounts if _REPLICA_NAME.search(line.fields.attributes or "")),
    ]
    return findings_by_host_and_user(
        [line for line in lines if is_person_or_service(line.user)],
        confirmed=True,
        scope="identity",
        program=REPLICATION_WORK,
    )


def _uses_replica_right(line: Line[DirectoryFields]) -> bool:
    properties = line.fields.properties or ""
    named = line.fields.activity in ("modify", "create") and _REPLICA_NAME.search(properties)
    return bool(named) or any(right in properties.lower() for right in REPLICA_RIGHTS)


@rule(
    "many-privileged-groups",
    "T1098.007",
    "persistence",
    on=((GroupFields, "member_add"),),
    at_least=MIN_GROUPS,
    summary=f"A person puts one account into {MIN_GROUPS} privileged groups ({', '.join(PRIVILEGED_GROUPS)}) within {GROUPS_S} s. Confirmed.",
    source="ATT&CK T1098.007",
)
def many_privileged_groups(additions: Lines[GroupFields], window: Window) -> Findings:
    for (user, _), lines in grouped(additions, _user_and_member).items():
        burst = burst_of(window, lines, MIN_GROUPS, GROUPS_S, different=lambda line: line.fields.group_name)
        if burst:
            yield finding(burst, confirmed=True, scope="identity", host=burst[0].host, account=user, program=GROUP_WORK)


def _user_and_member(line: Line[GroupFields]) -> tuple[str, str] | None:
    """Return who puts whom into a privileged group."""
    member = line.fields.user_name
    privileged = (line.fields.group_name or "").lower() in PRIVILEGED_GROUPS
    return (line.user, member) if privileged and member and is_person_or_service(line.user) else None


RULES = (
    account_command,
    odd_account,
    identity_history,
    account_takeover,
    replica_rights,
    many_privileged_groups,
)
