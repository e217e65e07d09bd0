"""Rules on mail in a cloud: read by an application, rules that forward or hide, mailboxes opened (Exchange Online)."""

from __future__ import annotations

import re

from schema import CloudApiFields
from verifier.calls import call_rule, calls_to, findings_by_caller, identity_of, sets, values_of
from verifier.window import Findings, Line, Lines, Window, rule

_RULE_CALLS = ("New-InboxRule", "Set-InboxRule", "UpdateInboxRules")
_FORWARDS = ("forwardto", "forwardasattachmentto", "redirectto", "forwardingsmtpaddress", "recipients")
_HIDDEN_FOLDERS = re.compile(
    r"deleted items|junk|rss|archive|conversation history|sync issues|notes|recoverable", re.IGNORECASE
)
_FLOW_CALLS = ("New-TransportRule", "Set-TransportRule", "New-InboundConnector", "New-OutboundConnector")
_ROUTE_CALLS = ("CREATE_GMAIL_SETTING", "CHANGE_GMAIL_SETTING")
_ROUTES = ("email_route", "message_security_rule")
_FLOW_SETTINGS = (
    "blindcopyto",
    "redirectmessageto",
    "copyto",
    "addtorecipients",
    "routemessageoutboundconnector",
)
_RIGHT_CALLS = ("Add-MailboxPermission", "Add-RecipientPermission", "Add-MailboxFolderPermission")
_GUARD_CALLS = (
    "Remove-AntiPhishPolicy",
    "Remove-AntiPhishRule",
    "Disable-AntiPhishRule",
    "Remove-SafeLinksRule",
    "Disable-SafeLinksRule",
    "Disable-SafeAttachmentRule",
    "Remove-MalwareFilterPolicy",
    "Remove-MalwareFilterRule",
    "Disable-MalwareFilterRule",
    "Remove-SafeLinksPolicy",
    "Remove-SafeAttachmentPolicy",
    "Remove-SafeAttachmentRule",
    "Remove-DlpCompliancePolicy",
    "Disable-DlpComplianceRule",
    "Remove-RetentionCompliancePolicy",
)
_AUDIT_CALLS = ("Set-MailboxAuditBypassAssociation", "Set-AdminAuditLogConfig", "Set-OrganizationConfig", "Set-Mailbox")


@rule(
    "cloud-mail-read",
    "T1114.002",
    "collection",
    on=(calls_to("MailItemsAccessed"),),
    summary="An application (a name without @) that is no own service reads mailboxes (MailItemsAccessed). Suspicious.",
    source="ATT&CK T1114.002; Microsoft Purview audit event names",
)
def cloud_mail_read(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if "@" not in identity_of(line))


@rule(
    "mail-rule-hides",
    "T1564.008",
    "defense_evasion",
    on=(calls_to(*_RULE_CALLS, "Set-Mailbox"),),
    summary=f"Not by an own service: a mailbox sends on ({', '.join(_FORWARDS)}) to another domain than the caller's, or a rule deletes what comes (DeleteMessage, SoftDeleteMessage or MarkAsRead true with MoveToFolder) or moves it out of sight (MoveToFolder: Deleted Items, Junk, RSS, Archive, Conversation History, Sync Issues, Notes, Recoverable) "
    f"({', '.join(_RULE_CALLS)}, Set-Mailbox). Suspicious. Confirmed: both.",
    source="ATT&CK T1564.008, T1114.003; Microsoft Purview audit, Exchange Set-InboxRule",
)
def mail_rule_hides(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        [line for line in calls if _sends_outside(line) or _hides(line)],
        confirmed=lambda lines: any(map(_sends_outside, lines)) and any(map(_hides, lines)),
    )


def _sends_outside(line: Line[CloudApiFields]) -> bool:
    """Return whether mail is sent on to a domain that is not the caller's."""
    own = identity_of(line).rpartition("@")[2].lower()
    addresses = [part for text in values_of(line, *_FORWARDS) for part in re.split(r"[;,\s\[\]\"<>]+", text)]
    return any("@" in address and address.rpartition("@")[2].lower() != own for address in addresses)


def _hides(line: Line[CloudApiFields]) -> bool:
    folders = values_of(line, "movetofolder")
    deletes = any(sets(line, name, "true") for name in ("deletemessage", "softdeletemessage"))
    return deletes or (
        bool(folders) and (sets(line, "markasread", "true") or any(map(_HIDDEN_FOLDERS.search, folders)))
    )


@rule(
    "mail-flow-changed",
    "T1114.003",
    "collection",
    on=(calls_to(*_FLOW_CALLS, *_ROUTE_CALLS),),
    summary=f"Not by an own service: all mail of a tenant is copied or led elsewhere ({', '.join(_FLOW_CALLS)}; a transport rule with {', '.join(_FLOW_SETTINGS)}, or DeleteMessage true; {', '.join(_ROUTE_CALLS)} with SETTING_NAME {' or '.join(map(str.upper, _ROUTES))}). Suspicious.",
    source="ATT&CK T1114.003; Exchange New-TransportRule, Google Workspace Gmail settings events",
)
def mail_flow_changed(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(line for line in calls if _leads_elsewhere(line))


def _leads_elsewhere(line: Line[CloudApiFields]) -> bool:
    if (line.fields.api_operation or "").endswith("Connector"):
        return True
    if line.fields.api_operation in _ROUTE_CALLS:
        return sets(line, "setting_name", *_ROUTES)
    return bool(values_of(line, *_FLOW_SETTINGS)) or sets(line, "deletemessage", "true")


@rule(
    "mailbox-opened",
    "T1098.002",
    "persistence",
    on=(calls_to(*_RIGHT_CALLS),),
    summary=f"A person or application, no own service, gives somebody rights on a mailbox ({', '.join(_RIGHT_CALLS)}; on a folder only where the User is Default or Anonymous). Suspicious.",
    source="ATT&CK T1098.002; Microsoft Purview audit event names",
)
def mailbox_opened(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        line
        for line in calls
        if line.fields.api_operation != "Add-MailboxFolderPermission" or sets(line, "user", "default", "anonymous")
    )


@rule(
    "mail-audit-off",
    "T1562.008",
    "defense_evasion",
    on=(calls_to(*_AUDIT_CALLS),),
    summary=f"Not by an own service: what is done in mailboxes is no longer recorded ({', '.join(_AUDIT_CALLS)} with AuditBypassEnabled true, AuditEnabled or UnifiedAuditLogIngestionEnabled false, or AuditDisabled true). Suspicious.",
    source="ATT&CK T1562.008; Exchange Set-MailboxAuditBypassAssociation, Set-AdminAuditLogConfig",
)
def mail_audit_off(calls: Lines[CloudApiFields], window: Window) -> Findings:
    return findings_by_caller(
        line
        for line in calls
        if any(sets(line, name, "true") for name in ("auditbypassenabled", "auditdisabled"))
        or any(sets(line, name, "false") for name in ("auditenabled", "unifiedauditlogingestionenabled"))
    )


mail_guard_removed = call_rule(
    "mail-guard-removed",
    "T1562.001",
    "defense_evasion",
    operations=_GUARD_CALLS,
    summary=f"Not by an own service: what checks mail for phishing and malware, or keeps data in, is removed or switched off ({', '.join(_GUARD_CALLS)}). Suspicious.",
    source="ATT&CK T1562.001; Exchange Online and Defender for Office 365 cmdlets",
)

RULES = (
    cloud_mail_read,
    mail_rule_hides,
    mail_flow_changed,
    mailbox_opened,
    mail_audit_off,
    mail_guard_removed,
)
