"""Abuse of mail in a cloud: mailboxes read and opened, rules that forward or hide, and what checks or records mail switched off (Exchange Online)."""

from __future__ import annotations

from schema import CLOUD_WORK
from tasks.families.tellings import MEMBER, OTHER_MEMBER, Row, administered, chained, exchange
from tasks.scene import GRAVE, Family

STRANGER = "{word3}@{domain}"
APPLICATION = "{hex}-4c1e-4d27-9a3b-{hex2}77aa"  # its id
_MAIL_GUARDS = (
    "Remove-AntiPhishPolicy",
    "Remove-AntiPhishRule",
    "Disable-AntiPhishRule",
    "Remove-SafeLinksRule",
    "Disable-SafeLinksRule",
    "Disable-SafeAttachmentRule",
    "Remove-MalwareFilterPolicy",
    "Remove-MalwareFilterRule",
    "Disable-MalwareFilterRule",
)
_MAIL_GUARDS_BACK = (
    "Enable-AntiPhishRule",
    "Enable-SafeLinksRule",
    "Enable-SafeAttachmentRule",
    "Enable-MalwareFilterRule",
    "New-AntiPhishPolicy",
    "New-MalwareFilterPolicy",
)
_AUDIT_CALLS = ("Set-AdminAuditLogConfig", "Set-OrganizationConfig", "Set-Mailbox")
_RULES, _FLOWS = ("New-InboxRule", "Set-InboxRule"), ("New-TransportRule", "Set-TransportRule")


def _inbox_rule(actor: str = MEMBER, **parameters: str) -> Row:
    return exchange(_RULES, actor, Name="{word2}", **parameters)


# ---------------------------------------------------------------- steps, hostile and harmless
OPENED = (
    [
        exchange(
            ("Add-MailboxPermission", "Add-RecipientPermission"),
            Identity=OTHER_MEMBER,
            User=MEMBER,
            AccessRights="FullAccess",
        )
    ],
    [
        exchange(
            ("Remove-MailboxPermission", "Remove-RecipientPermission"),
            Identity=OTHER_MEMBER,
            User=MEMBER,
            AccessRights="FullAccess",
        )
    ],
)
UNAUDITED = ([exchange(_AUDIT_CALLS, AuditEnabled="False")], [exchange(_AUDIT_CALLS, AuditEnabled="True")])
UNFILTERED = ([exchange(_MAIL_GUARDS, Identity="{word}")], [exchange(_MAIL_GUARDS_BACK, Identity="{word}")])
DIVERTED = (
    [exchange(_FLOWS, Name="{word}", BlindCopyTo="{word2}@{domain}")],
    [exchange(_FLOWS, Name="{word}", PrependSubject="{word2} {domain}")],
)

FAMILIES: tuple[Family, ...] = (
    administered(
        "read_mailboxes",
        "T1114.002",
        "collection",
        "cloud-mail-read",
        [exchange("MailItemsAccessed", APPLICATION, "", MailAccessType="Bind", MailboxOwnerUPN=MEMBER)],
        [exchange("MailItemsAccessed", MEMBER, "", MailAccessType="Bind", MailboxOwnerUPN=MEMBER)],
        account=APPLICATION,
    ),
    administered(
        "hiding_rule",
        "T1564.008",
        "defense_evasion",
        "mail-rule-hides",
        [
            _inbox_rule(ForwardTo=STRANGER, DeleteMessage="False"),
            _inbox_rule(ForwardTo=OTHER_MEMBER, DeleteMessage="True"),
            _inbox_rule(RedirectTo=STRANGER, MoveToFolder="{word}", MarkAsRead="False"),
            _inbox_rule(RedirectTo=OTHER_MEMBER, MoveToFolder="Conversation History", MarkAsRead="True"),
            exchange("Set-Mailbox", Identity=MEMBER, ForwardingSmtpAddress=f"smtp:{STRANGER}"),
        ],
        [
            _inbox_rule(ForwardTo=OTHER_MEMBER, DeleteMessage="False"),
            _inbox_rule(RedirectTo=OTHER_MEMBER, MoveToFolder="{word}", MarkAsRead="False"),
            _inbox_rule(ForwardAsAttachmentTo=OTHER_MEMBER, MoveToFolder="{word}", MarkAsRead="False"),
            exchange("Set-Mailbox", Identity=MEMBER, ForwardingSmtpAddress=f"smtp:{OTHER_MEMBER}"),
        ],
        [
            _inbox_rule(ForwardTo=STRANGER, DeleteMessage="True"),
            _inbox_rule(RedirectTo=STRANGER, MoveToFolder="RSS Subscriptions", MarkAsRead="True"),
            _inbox_rule(ForwardAsAttachmentTo=STRANGER, MoveToFolder="Archive", MarkAsRead="True"),
        ],
    ),
    administered(
        "diverted_mail",
        "T1114.003",
        "collection",
        "mail-flow-changed",
        [
            *DIVERTED[0],
            exchange(_FLOWS, Name="{word}", RedirectMessageTo=STRANGER),
            exchange(_FLOWS, Name="{word}", DeleteMessage="True"),
            exchange(("New-OutboundConnector", "New-InboundConnector"), Name="{word}", SmartHosts="{domain}"),
        ],
        [
            *DIVERTED[1],
            exchange(_FLOWS, Name="{word}", ApplyHtmlDisclaimerText="{word2}"),
            exchange(_FLOWS, Name="{word}", DeleteMessage="False"),
            exchange(("Get-OutboundConnector", "Remove-InboundConnector"), Name="{word}", SmartHosts="{domain}"),
        ],
    ),
    administered(
        "opened_mailbox",
        "T1098.002",
        "persistence",
        "mailbox-opened",
        [*OPENED[0], exchange("Add-MailboxFolderPermission", Identity="{user}:\\Calendar", User="Anonymous")],
        [*OPENED[1], exchange("Add-MailboxFolderPermission", Identity="{user}:\\Calendar", User=OTHER_MEMBER)],
    ),
    administered(
        "unaudited_mail",
        "T1562.008",
        "defense_evasion",
        "mail-audit-off",
        [
            *UNAUDITED[0],
            exchange("Set-MailboxAuditBypassAssociation", Identity=MEMBER, AuditBypassEnabled="True"),
            exchange("Set-AdminAuditLogConfig", UnifiedAuditLogIngestionEnabled="False"),
            exchange("Set-OrganizationConfig", AuditDisabled="True"),
        ],
        [
            *UNAUDITED[1],
            exchange("Set-MailboxAuditBypassAssociation", Identity=MEMBER, AuditBypassEnabled="False"),
            exchange("Set-AdminAuditLogConfig", UnifiedAuditLogIngestionEnabled="True"),
            exchange("Set-OrganizationConfig", AuditDisabled="False"),
        ],
    ),
    administered("unfiltered_mail", "T1562.001", "defense_evasion", "mail-guard-removed", *UNFILTERED),
    chained(
        "silent_mailbox",
        "T1098.002",
        "defense_evasion",
        ("mailbox-opened", "mail-audit-off"),
        [UNAUDITED, OPENED],
        work=CLOUD_WORK,
        reaches=GRAVE,
        explanations=("ticket",),
        platform="saas",
    ),
    # ATT&CK group G1004: a tenant's transport rule copies all mail, after what checks mail is switched off.
    chained(
        "uncovered_mail",
        "T1562.001",
        "defense_evasion",
        ("mail-guard-removed", "mail-flow-changed"),
        [UNFILTERED, DIVERTED],
        work=CLOUD_WORK,
        reaches=GRAVE,
        explanations=("ticket",),
        platform="saas",
        split="val_family",
    ),
)
