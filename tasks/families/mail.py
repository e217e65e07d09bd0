"""Abuse of mail in a cloud: mailboxes read and opened, rules that forward or hide, and what checks or records mail switched off (Exchange Online)."""

from __future__ import annotations

from dataclasses import replace

from schema import CLOUD_WORK
from tasks.families.story import SOFT, Family, actor
from tasks.families.tellings import Row, tell
from tasks.families.tenants import OTHER, PERSON, STRANGER, account_chain, alone, exchange
from tasks.scene import Plan, Scene, TicketScope

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


def _inbox_rule(actor: str = PERSON, **parameters: str) -> Row:
    return exchange(_RULES, actor, Name="{word2}", **parameters)


def read_mailboxes(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how an application reads a mailbox, by its id; in the harmless strength, somebody reads their own."""
    who, at = actor(scene, plan), scene.moment(60)
    application = f"{scene.between(2**28, 2**32):08x}-4c1e-4d27-9a3b-{scene.between(2**44, 2**48):012x}"
    reader = PERSON if plan.strength == "below" else application
    read = exchange("MailItemsAccessed", reader, "", MailAccessType="Bind", MailboxOwnerUPN=PERSON)
    first, last = tell(scene, who, [replace(read, host="{host}")], at)
    return TicketScope((who.host,), application, CLOUD_WORK, first, last)


# ---------------------------------------------------------------- steps, hostile and harmless
OPENED = (
    [
        exchange(
            ("Add-MailboxPermission", "Add-RecipientPermission"), Identity=OTHER, User=PERSON, AccessRights="FullAccess"
        )
    ],
    [
        exchange(
            ("Remove-MailboxPermission", "Remove-RecipientPermission"),
            Identity=OTHER,
            User=PERSON,
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
    Family(
        "read_mailboxes",
        "T1114.002",
        "collection",
        read_mailboxes,
        (),
        SOFT,
        single=True,
        rules=("cloud-mail-read",),
        platform="saas",
        most_lines=1,
    ),
    alone(
        "hiding_rule",
        "T1564.008",
        "defense_evasion",
        "mail-rule-hides",
        [
            _inbox_rule(ForwardTo=STRANGER, DeleteMessage="False"),
            _inbox_rule(ForwardTo=OTHER, DeleteMessage="True"),
            _inbox_rule(RedirectTo=STRANGER, MoveToFolder="{word}", MarkAsRead="False"),
            _inbox_rule(RedirectTo=OTHER, MoveToFolder="Conversation History", MarkAsRead="True"),
            exchange("Set-Mailbox", Identity=PERSON, ForwardingSmtpAddress=f"smtp:{STRANGER}"),
        ],
        [
            _inbox_rule(ForwardTo=OTHER, DeleteMessage="False"),
            _inbox_rule(RedirectTo=OTHER, MoveToFolder="{word}", MarkAsRead="False"),
            _inbox_rule(ForwardAsAttachmentTo=OTHER, MoveToFolder="{word}", MarkAsRead="False"),
            exchange("Set-Mailbox", Identity=PERSON, ForwardingSmtpAddress=f"smtp:{OTHER}"),
        ],
        [
            _inbox_rule(ForwardTo=STRANGER, DeleteMessage="True"),
            _inbox_rule(RedirectTo=STRANGER, MoveToFolder="RSS Subscriptions", MarkAsRead="True"),
            _inbox_rule(ForwardAsAttachmentTo=STRANGER, MoveToFolder="Archive", MarkAsRead="True"),
        ],
    ),
    alone(
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
    alone(
        "opened_mailbox",
        "T1098.002",
        "persistence",
        "mailbox-opened",
        [*OPENED[0], exchange("Add-MailboxFolderPermission", Identity="{user}:\\Calendar", User="Anonymous")],
        [*OPENED[1], exchange("Add-MailboxFolderPermission", Identity="{user}:\\Calendar", User=OTHER)],
    ),
    alone(
        "unaudited_mail",
        "T1562.008",
        "defense_evasion",
        "mail-audit-off",
        [
            *UNAUDITED[0],
            exchange("Set-MailboxAuditBypassAssociation", Identity=PERSON, AuditBypassEnabled="True"),
            exchange("Set-AdminAuditLogConfig", UnifiedAuditLogIngestionEnabled="False"),
            exchange("Set-OrganizationConfig", AuditDisabled="True"),
        ],
        [
            *UNAUDITED[1],
            exchange("Set-MailboxAuditBypassAssociation", Identity=PERSON, AuditBypassEnabled="False"),
            exchange("Set-AdminAuditLogConfig", UnifiedAuditLogIngestionEnabled="True"),
            exchange("Set-OrganizationConfig", AuditDisabled="False"),
        ],
    ),
    alone("unfiltered_mail", "T1562.001", "defense_evasion", "mail-guard-removed", *UNFILTERED),
    account_chain(
        "silent_mailbox",
        "T1098.002",
        "defense_evasion",
        ("mailbox-opened", "mail-audit-off"),
        UNAUDITED,
        OPENED,
    ),
    # ATT&CK group G1004: a tenant's transport rule copies all mail, after what checks mail is switched off.
    account_chain(
        "uncovered_mail",
        "T1562.001",
        "defense_evasion",
        ("mail-guard-removed", "mail-flow-changed"),
        UNFILTERED,
        DIVERTED,
        split="val_family",
    ),
)
