"""Rules on accounts, groups and attributes through which somebody stays or rises (ATT&CK Persistence by accounts)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schema import (
    ACCOUNT_WORK,
    GROUP_WORK,
    REPLICATION_WORK,
    AccountFields,
    DirectoryFields,
    GroupFields,
    account_name,
)
from verifier.commands import told
from verifier.rules.kit import (
    PRIVILEGED_GROUPS,
    Legacy,
    by_host_and_user,
    legacy_rule,
)
from verifier.window import (
    Finding,
    Line,
    Window,
    crowded,
    is_person_or_service,
    kinds,
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


@legacy_rule(
    "account-command",
    "T1136.001",
    "persistence",
    says="A command makes an account or group member (net user /add). Suspicious.",
    source="ATT&CK T1136.001, T1098",
    clues=("account-command",),
)
def account_command(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts made on a command line."""
    return told(window, this, "account-command", sure=False)


@legacy_rule(
    "odd-account",
    "T1136",
    "persistence",
    says=f"A person's new account goes within {SHORT_ACCOUNT_S} s; confirmed if a user's name ends in $.",
    source="ATT&CK T1136, T1564.002; Security 4720/4726",
    needs=kinds(AccountFields, "create"),
)
def odd_account(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts that are gone at once, and those in disguise."""
    span = window.limits.within(SHORT_ACCOUNT_S)
    for line in window.of(AccountFields):
        name = account_name(line.fields.user_name)
        if line.fields.activity != "create" or not name or not is_person_or_service(line.user):
            continue
        removed = [
            other
            for other in window.of(AccountFields)
            if other.fields.activity == "delete"
            and account_name(other.fields.user_name) == name
            and 0 <= other.time_s - line.time_s <= span
        ]
        disguised = name.endswith("$") and "set: normal account" in (line.fields.attributes or "")
        if removed or disguised:
            yield this.finding(
                [line, *removed],
                confirmed=disguised,
                scope="identity",
                host=line.host,
                account=line.user,
                program=ACCOUNT_WORK,
            )


@legacy_rule(
    "identity-history",
    "T1134.005",
    "privilege_escalation",
    says="An account gets another's SID in its history. Confirmed, harm done.",
    source="ATT&CK T1134.005; Security 4765",
    needs=kinds(AccountFields, "sid_history"),
)
def identity_history(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find borrowed identities."""
    for line in window.of(AccountFields):
        if line.fields.activity == "sid_history" and line.fields.user_name and is_person_or_service(line.user):
            yield this.finding(
                [line],
                confirmed=True,
                scope="identity",
                host=line.host,
                account=line.user,
                program=ACCOUNT_WORK,
                impact=True,
            )


@legacy_rule(
    "account-takeover",
    "T1098",
    "persistence",
    says="A person sets delegation, no preauthentication, a user's SPN, domain access lists, DSRM password, policies. Confirmed: AllowedToActOnBehalfOfOtherIdentity, KeyCredentialLink, a machine name losing $, by ANONYMOUS LOGON.",
    source="ATT&CK T1098, T1558, T1484.001, T1078.002; MS-ADA; Security 4738/4742/4781/4794/5136",
    needs=(AccountFields, DirectoryFields),
)
def account_takeover(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find attribute changes by which accounts are taken over."""
    lines: list[Line] = []
    sure: set[str] = set()
    for line in window.of(AccountFields):
        told_of, name = line.fields.attributes or "", account_name(line.fields.user_name)
        if line.user.lower() == "anonymous logon" and line.fields.activity in (
            "modify",
            "password_reset",
            "password_change",
        ):
            lines.append(line)
            sure.add(line.log_id)
        if not is_person_or_service(line.user):
            continue
        unmasked = (
            line.fields.activity == "rename"
            and told_of.rstrip().endswith("$")
            and bool(name)
            and not name.endswith("$")
        )
        spn = line.fields.activity in ("create", "modify") and _SPN.search(told_of) and not name.endswith("$")
        restore = line.fields.activity == "password_reset" and name.startswith("Directory Services Restore")
        if unmasked or spn or restore or (line.fields.activity in ("create", "modify") and DELEGATION.search(told_of)):
            lines.append(line)
            sure.update({line.log_id} if unmasked else ())
    for change in window.of(DirectoryFields):
        if change.fields.activity not in ("modify", "create") or not is_person_or_service(change.user):
            continue
        properties, name = change.fields.properties or "", (change.fields.object_dn or "").lower()
        machine = change.fields.object_type == "computer" and properties.lower().startswith("serviceprincipalname=")
        holder = _DESCRIPTOR.search(properties) and (
            name.startswith(("dc=", "cn=adminsdholder"))
            or change.fields.object_type in ("user", "group", "groupPolicyContainer")
        )
        if TAKEOVER.search(properties):
            sure.add(change.log_id)
        if TAKEOVER.search(properties) or holder or (DELEGATION.search(properties) and not machine):
            lines.append(change)
    for group in by_host_and_user(lines):
        yield this.of_one(
            group, confirmed=any(line.log_id in sure for line in group), scope="identity", program=ACCOUNT_WORK
        )


# Service principal names that only domain controllers bear: the global catalogue's and replication's (MS-DRSR 2.2.3.2).
_REPLICA_NAME = re.compile(
    r"serviceprincipalnames?=(?:.{0,600}\s)?(?:GC|E3514235-4B06-11D1-AB04-00C04FC2DCD2)/", re.IGNORECASE
)


@legacy_rule(
    "replica-rights",
    "T1207",
    "defense_evasion",
    says="A person uses the right to install or manage a replica, or gives a machine a domain controller's service name (GC/). Confirmed.",
    source="ATT&CK T1207; MS-ADTS 5.1.3.2.1",
    needs=(DirectoryFields, AccountFields),
)
def replica_rights(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find persons who play domain controller."""
    lines: list[Line] = [
        line
        for line in window.of(DirectoryFields)
        if is_person_or_service(line.user)
        and (
            any(right in (line.fields.properties or "").lower() for right in REPLICA_RIGHTS)
            or (line.fields.activity in ("modify", "create") and _REPLICA_NAME.search(line.fields.properties or ""))
        )
    ]
    lines += [
        line
        for line in window.of(AccountFields)
        if is_person_or_service(line.user) and _REPLICA_NAME.search(line.fields.attributes or "")
    ]
    for group in by_host_and_user(lines):
        yield this.of_one(group, confirmed=True, scope="identity", program=REPLICATION_WORK)


@legacy_rule(
    "many-privileged-groups",
    "T1098.007",
    "persistence",
    says=f"A person puts one account into {MIN_GROUPS} privileged groups within {GROUPS_S} s. Confirmed.",
    source="ATT&CK T1098.007",
    needs=kinds(GroupFields, "member_add"),
    least=MIN_GROUPS,
)
def many_privileged_groups(window: Window, this: Legacy) -> Iterable[Finding]:
    """Find accounts that are given every key at once."""
    added: dict[tuple[str, str], list[Line[GroupFields]]] = {}
    for line in window.of(GroupFields):
        group = (line.fields.group_name or "").lower()
        if (
            line.fields.activity == "member_add"
            and group in PRIVILEGED_GROUPS
            and line.fields.user_name
            and is_person_or_service(line.user)
        ):
            added.setdefault((line.user, line.fields.user_name), []).append(line)
    for (user, _), lines in added.items():
        burst = crowded(
            lines,
            window.limits.within(GROUPS_S),
            window.limits.at_least(MIN_GROUPS),
            lambda line: line.fields.group_name,
        )
        if burst:
            yield this.finding(
                burst, confirmed=True, scope="identity", host=burst[0].host, account=user, program=GROUP_WORK
            )


RULES = (
    account_command,
    odd_account,
    identity_history,
    account_takeover,
    replica_rights,
    many_privileged_groups,
)
