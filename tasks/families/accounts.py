"""Accounts, groups and rights through which somebody stays or rises, and shells that rise to the system."""

from __future__ import annotations

from schema import ACCOUNT_WORK, GROUP_WORK, REPLICATION_WORK
from tasks.families.tellings import Row, Telling, made, order, setting, start
from tasks.paths import EXPLORER, POWERSHELL, REPLICA_RIGHT, SYSTEM32
from tasks.scene import GRAVE, HOST, Family

CMD = SYSTEM32 + "cmd.exe"
REG = SYSTEM32 + "reg.exe"
SVCHOST = SYSTEM32 + "svchost.exe"
MACHINE = "{other_host}$"
_PERSON = "CN={other_user},OU=Staff,DC=corp,DC=example"
_COMPUTER = "CN={other_host},OU=Servers,DC=corp,DC=example"
_DOMAIN = "DC=corp,DC=example"
_SHELLS = (
    (CMD, "cmd.exe /c {word}.cmd"),
    (CMD, "cmd.exe"),
    (POWERSHELL, "powershell.exe -File D:\\{word}\\{word2}.ps1"),
)


# ---------------------------------------------------------------- accounts
def _account(activity: str, name: str, attributes: object, user: str = "{user}") -> Telling:
    return [Row("account", activity, {"user_name": name, "attributes": attributes}, user=user)]


def _object(name: str, kind: str, properties: object, activity: str = "modify", user: str = "{user}") -> Telling:
    fields = {"object_dn": name, "object_type": kind, "properties": properties}
    return [Row("directory", activity, fields, user=user)]


_TAKEN = (
    ("computer", "msDS-AllowedToActOnBehalfOfOtherIdentity=O:BAD:(A;;0xf01ff;;;S-1-5-21-{number})"),
    ("user", "msDS-KeyCredentialLink=B:828:000200002000{hex}"),
    ("user", "sIDHistory=S-1-5-21-{number}-{number2}-{number3}-519"),
)
_WEAKENED = (
    ("user", "servicePrincipalName=HTTP/{word}"),
    ("user", "scriptPath=\\\\{other_host}\\NETLOGON\\{word}.cmd"),
    ("group", "nTSecurityDescriptor=O:DAD:(A;;GA;;;S-1-5-21-{number})"),
    ("user", "msDS-AllowedToDelegateTo=cifs/{other_host}"),
    ("user", "msDS-GroupMSAMembership=O:SYD:(A;;0xf01ff;;;S-1-5-21-{number})"),
    ("groupPolicyContainer", "gPCMachineExtensionNames=[{{hex}-0000-4000-8000-0000{hex2}}]"),
    ("groupPolicyContainer", "gPCFileSysPath=\\\\{other_host}\\SysVol\\{word}"),
)
_OPTIONS = (
    "set: No preauthentication required",
    "set: Trusted to authenticate for delegation",
    "set: Reversible text password allowed",
    "set: Trusted for delegation",
    "set: DES keys only",
    "AllowedToDelegateTo=cifs/{other_host}",
)
_ORDINARY_OPTIONS = (
    "set: Password does not expire",
    "set: Account disabled",
    "unset: Home directory required",
    "DisplayName={word} {word2}",
)
_ORDINARY = ("description={word}", "telephoneNumber={number}", "manager=CN={word},OU=Staff,DC=corp,DC=example")

MANAGE_RIGHT = "1131f6ac-9c07-11d1-f79f-00c04fc2dcd2"
_REPLICA_NAMES = ("GC/{other_host}/corp.example", "E3514235-4B06-11D1-AB04-00C04FC2DCD2/{hex}/corp.example")
_USUAL_NAMES = ("HOST/{other_host}", "WSMAN/{other_host}")
_GROUPS = ("Domain Admins", "Enterprise Admins", "Schema Admins", "Backup Operators", "Account Operators", "DnsAdmins")
_PLAIN_GROUPS = ("Sales Readers", "Remote Desktop Users", "Printer Users", "Event Log Readers", "Staff", "VPN Users")


def _replica(properties: tuple[str, ...], names: tuple[str, ...], user: str) -> list[Telling]:
    """List tellings of a right of the directory used and of names given to a machine."""
    return [
        _object(_DOMAIN, "domainDNS", tuple(f"%%7688 {{{right}}}" for right in properties), "access", user),
        _object(_COMPUTER, "computer", tuple(f"servicePrincipalName={name}" for name in names), "modify", user),
        _account("modify", MACHINE, tuple(f"ServicePrincipalNames=HOST/{{other_host}} {name}" for name in names), user),
    ]


def _registered(names: tuple[str, ...], user: str = "{user}") -> Telling:
    """Tell how a server is entered into a site, and a machine gets names."""
    site = "CN={other_host},CN=Servers,CN={word},CN=Sites,CN=Configuration,DC=corp,DC=example"
    texts = tuple(f"servicePrincipalName={name}" for name in names)
    return [
        *_object(site, "server", "dNSHostName={other_host}.corp.example", "create", user),
        *_object(_COMPUTER, "computer", texts, "modify", user),
    ]


def _new_history(user: str) -> Telling:
    """Tell how an account is made and gets another's history."""
    name = "{word}.{word2}"
    return [
        *_account("create", name, "SAM account enabled"),
        *_account("sid_history", name, "S-1-5-21-{number}-{number2}-{number3}-{number4}", user),
    ]


def _joined(groups: tuple[str, ...], user: str = "{user}") -> Telling:
    """Tell how an account joins groups one after another."""
    return [
        Row("group", "member_add", {"group_name": name, "user_name": "{other_user}"}, after=(5, 120), user=user)
        for name in groups
    ]


def _new_member(groups: tuple[str, ...], user: str = "{user}") -> Telling:
    """Tell how an account is made and joins groups."""
    name = "{word}.{word2}"
    joined = (
        Row("group", "member_add", {"group_name": group, "user_name": name}, after=(5, 120), user=user)
        for group in groups
    )
    return [*_account("create", name, "SAM account enabled"), *joined]


# ---------------------------------------------------------------- shells that rise
_ACCESSIBILITY = ("sethc.exe", "utilman.exe", "magnify.exe", "narrator.exe", "displayswitch.exe", "atbroker.exe")
_SHELL_LESS = ("lsass.exe", "notepad.exe", "calc.exe", "wermgr.exe", "searchindexer.exe", "dns.exe")


def _by(parent: str, parent_command: str = "", shells: tuple[tuple[str, str], ...] = _SHELLS) -> list[Telling]:
    """List tellings of shells that a program starts."""
    line = parent_command or parent
    return [[start(path, command, parent, {"parent_cmd_line": line})] for path, command in shells]


def _service_host(name: str) -> str:
    return f"C:\\Windows\\System32\\svchost.exe -k netsvcs -p -s {name}"


# ---------------------------------------------------------------- consent prompts
def _lifted(key: str, data: str, child: str, command: str, parent: str, integrity: str) -> Telling:
    """Tell how a value is set and a program starts under another one."""
    also = {"process_integrity": integrity}
    return [setting(key, data, REG), start(child, command, parent, also, after=(5, 400))]


_CLASSES = (
    "HKU\\S-1-5-21-{number}-1001_Classes\\exefile\\shell\\open\\command\\(Default)",
    "HKCU\\Software\\Classes\\Folder\\shell\\open\\command\\DelegateExecute",
    "HKCU\\Software\\Classes\\ms-settings\\CurVer",
    "HKCU\\Environment\\windir",
    "HKU\\S-1-5-21-{number}-1001_Classes\\mscfile\\shell\\open\\command\\(Default)",
    "HKCU\\Software\\Classes\\Launcher.SystemSettings\\shell\\open\\command\\DelegateExecute",
    "HKLM\\Software\\Microsoft\\Windows\\CurrentVersion\\App Paths\\control.exe",
)
_OTHER_CLASSES = (
    "HKU\\S-1-5-21-{number}-1001_Classes\\{word3}\\shell\\edit\\command\\(Default)",
    "HKCU\\Software\\Classes\\{word3}\\CurVer",
    "HKCU\\Environment\\{word3}",
    "HKCU\\Software\\Classes\\{word3}\\shell\\print\\command\\(Default)",
    "HKLM\\Software\\Microsoft\\Windows\\CurrentVersion\\App Paths\\{word3}.exe",
)
_AUTO = ("sdclt.exe", "computerdefaults.exe", "wsreset.exe", "slui.exe", "changepk.exe")


def _elevated(keys: tuple[str, ...], parents: tuple[str, ...], integrity: str) -> list[Telling]:
    """List tellings of a value and of a program that starts under one of some parents."""
    return [
        _lifted(key, "{writable}", "{writable2}", "{writable2}", parent, integrity)
        for key in keys
        for parent in parents
    ]


_CHILDREN = (
    ("{writable}", "{writable} -q"),
    (CMD, "cmd.exe /c {word}.cmd"),
    (POWERSHELL, "powershell.exe -File D:\\{word}\\{word2}.ps1"),
)
_OWN_CHILDREN = (("{installed}", "{installed} -q"), (SYSTEM32 + "mmc.exe", "mmc.exe {word}.msc"))


def _risen(child: str, command: str, parent: str, integrity: str) -> Telling:
    """Tell how a program starts another one with more or less integrity."""
    return [start(child, command, parent, {"process_integrity": integrity})]


_LIFTING = tuple(SYSTEM32 + name for name in _AUTO)

FAMILIES: tuple[Family, ...] = (
    made(
        "account_by_command",
        "T1136.001",
        "persistence",
        ("account-command",),
        suspicious=[
            [order("net.exe", "user {word} {hex} /add", "localgroup {word} {other_user} /add", parent=CMD)],
            [order("net.exe", 'group "{word}" {other_user} /domain /add', "user {word} /active:yes", parent=CMD)],
            [order("powershell.exe", "New-LocalUser {word} -NoPassword", "Add-LocalGroupMember {word} {other_user}")],
            [order("powershell.exe", "New-ADUser {word}", "Add-ADGroupMember {word} {other_user}", parent=CMD)],
            [order("dsadd.exe", "user CN={word},OU=Staff,DC=corp,DC=example", parent=CMD)],
        ],
        below=[
            [order("net.exe", "user {word} /times:all", "localgroup {word} {other_user} /delete", parent=CMD)],
            [order("net.exe", "user {word} /active:no", "user {word} /passwordreq:yes", parent=CMD)],
            [order("powershell.exe", "Get-LocalUser {word}", "Remove-LocalGroupMember {word} {other_user}")],
            [order("powershell.exe", "Get-ADUser {word}", "Remove-ADGroupMember {word} {other_user}", parent=CMD)],
            [order("dsrm.exe", "CN={word},OU=Staff,DC=corp,DC=example", parent=CMD)],
        ],
    ),
    made(
        "borrowed_history",
        "T1134.005",
        "privilege_escalation",
        ("identity-history",),
        ACCOUNT_WORK,
        confirmed=[_account("sid_history", "{other_user}", "S-1-5-21-{number}-{number2}-{number3}-{number4}")],
        below=[
            _account("sid_history", "{other_user}", "S-1-5-21-{number}-{number2}-{number3}-{number4}", user)
            for user in ("{host}$", "SYSTEM")
        ],
        reaches=GRAVE,
    ),
    made(
        "taken_object",
        "T1098",
        "persistence",
        ("account-takeover",),
        ACCOUNT_WORK,
        confirmed=[_object(_COMPUTER if kind == "computer" else _PERSON, kind, text) for kind, text in _TAKEN],
        suspicious=[_object(_PERSON, kind, text) for kind, text in _WEAKENED],
        below=[
            *(_object(_PERSON, kind, text, user="{host}$") for kind, text in (*_TAKEN, *_WEAKENED)),
            *(_object(_PERSON, kind, text) for kind in ("user", "group", "computer") for text in _ORDINARY),
        ],
        reaches=GRAVE,
    ),
    made(
        "weakened_account",
        "T1098",
        "persistence",
        ("account-takeover",),
        ACCOUNT_WORK,
        suspicious=[
            _account("modify", name, text) for text in _OPTIONS for name in ("{other_user}", "{other_user}", MACHINE)
        ],
        below=[
            *(_account("modify", "{other_user}", text) for text in _ORDINARY_OPTIONS),
            *(_account("modify", "{other_user}", text, "{host}$") for text in _OPTIONS),
        ],
    ),
    made(
        "rogue_replica",
        "T1207",
        "defense_evasion",
        ("replica-rights",),
        REPLICATION_WORK,
        confirmed=_replica((REPLICA_RIGHT, MANAGE_RIGHT), _REPLICA_NAMES, "{user}"),
        below=[
            *_replica((REPLICA_RIGHT, MANAGE_RIGHT), _REPLICA_NAMES, "{host}$"),
            *_replica(("00299570-246d-11d0-a768-00aa006e0529",), _USUAL_NAMES, "{user}"),
        ],
        reaches=GRAVE,
    ),
    made(
        "many_groups",
        "T1098.007",
        "persistence",
        ("many-privileged-groups",),
        GROUP_WORK,
        confirmed=[_joined(_GROUPS[:4]), _joined(_GROUPS[2:]), _joined(("Administrators", *_GROUPS[3:]))],
        below=[
            _joined(_PLAIN_GROUPS[:4]),
            _joined(_PLAIN_GROUPS[2:]),
            _joined(_GROUPS[:4], "{host}$"),
            _joined(_GROUPS[2:], "{host}$"),
        ],
        reaches=GRAVE,
    ),
    made(
        "groups_of_new_account",
        "T1098.007",
        "persistence",
        ("many-privileged-groups", "new-privileged-account"),
        GROUP_WORK,
        confirmed=[_new_member(_GROUPS[:4]), _new_member(_GROUPS[2:]), _new_member(("Administrators", *_GROUPS[3:]))],
        below=[_new_member(_PLAIN_GROUPS[:4]), _new_member(_PLAIN_GROUPS[2:]), _new_member(_GROUPS[:4], "{host}$")],
        reaches=GRAVE,
    ),
    made(
        "history_of_new_account",
        "T1134.005",
        "privilege_escalation",
        ("identity-history",),
        ACCOUNT_WORK,
        confirmed=[_new_history("{user}")],
        below=[_new_history("{host}$"), _new_history("SYSTEM")],
        reaches=GRAVE,
    ),
    made(
        "registered_replica",
        "T1207",
        "defense_evasion",
        ("replica-rights",),
        REPLICATION_WORK,
        confirmed=[_registered(_REPLICA_NAMES)],
        below=[_registered(_USUAL_NAMES), _registered(_REPLICA_NAMES, "{host}$")],
        reaches=GRAVE,
    ),
    made(
        "lifted_program",
        "T1548.002",
        "privilege_escalation",
        ("elevation-bypass",),
        confirmed=[_risen(*child, parent, "High") for child in _CHILDREN for parent in _LIFTING],
        suspicious=[_risen(*child, parent, "Medium") for child in _CHILDREN for parent in _LIFTING],
        below=[
            *(
                _risen(*child, parent, how)
                for child in _OWN_CHILDREN
                for parent in _LIFTING
                for how in ("High", "Medium")
            ),
            *(_risen(*child, EXPLORER, how) for child in _CHILDREN for _ in range(3) for how in ("High", "Medium")),
        ],
        reaches=HOST,
    ),
    made(
        "shell_before_sign_in",
        "T1546.008",
        "privilege_escalation",
        ("sign-in-screen-shell",),
        confirmed=[
            *(telling for name in _ACCESSIBILITY for telling in _by(SYSTEM32 + name)),
            *(telling for telling in _by(SYSTEM32 + "winlogon.exe") * 2),
        ],
        below=[
            *(
                [start(SYSTEM32 + name, name, parent, {"parent_cmd_line": parent})]
                for name in _ACCESSIBILITY
                for parent in (CMD, SYSTEM32 + "winlogon.exe")
            ),
            *(telling for telling in _by(SYSTEM32 + "userinit.exe") + _by(EXPLORER)),
        ],
        reaches=HOST,
    ),
    made(
        "shell_of_service",
        "T1068",
        "privilege_escalation",
        ("system-shell",),
        confirmed=[
            *(telling for name in _SHELL_LESS for telling in _by(SYSTEM32 + name)),
            *(telling for name in ("Themes", "PlugPlay", "Dnscache") for telling in _by(SVCHOST, _service_host(name))),
        ],
        below=[
            *(telling for name in ("Schedule", "seclogon") for telling in _by(SVCHOST, _service_host(name))),
            *(
                [start(SYSTEM32 + name, name, CMD, {"parent_cmd_line": "cmd.exe /c {word}.cmd"})]
                for name in _SHELL_LESS[1:3]
            ),
            *(telling for telling in _by(EXPLORER) + _by("{installed}")),
        ],
        reaches=HOST,
    ),
    made(
        "opened_rights",
        "T1222",
        "defense_evasion",
        ("rights-opened",),
        suspicious=[
            [order("icacls.exe", "D:\\{word} /grant Everyone:(OI)(CI)F /T", "{apps} /grant *S-1-1-0:F", parent=CMD)],
            [order("icacls.exe", "D:\\{word} /grant Users:(F)", "D:\\{word} /setowner {other_user} /T", parent=CMD)],
            [order("takeown.exe", "/f C:\\Windows\\System32\\{word}.dll", "/f C:\\Windows\\{word} /r", parent=CMD)],
        ],
        below=[
            [
                order(
                    "icacls.exe", "D:\\{word} /grant Everyone:(OI)(CI)RX /T", "{apps} /grant {other_user}:F", parent=CMD
                )
            ],
            [order("icacls.exe", "D:\\{word} /grant Users:(RX)", "D:\\{word} /reset /T", parent=CMD)],
            [order("takeown.exe", "/f D:\\{word}\\{word2}.dll", "/f D:\\{word} /r", parent=CMD)],
        ],
    ),
    # another telling of what a family of another split tells
    made(
        "redirected_class",
        "T1548.002",
        "privilege_escalation",
        ("elevation-bypass",),
        "reg.exe",
        confirmed=_elevated(_CLASSES, _LIFTING, "Medium"),
        suspicious=_elevated(_CLASSES, (EXPLORER, "{installed}"), "Medium")
        + _elevated(_OTHER_CLASSES, _LIFTING[:3], "Medium")
        + [
            _lifted(key, "{writable}", SYSTEM32 + "mmc.exe", "mmc.exe {word}.msc", _LIFTING[0], "Medium")
            for key in _CLASSES
        ],
        below=_elevated(_OTHER_CLASSES, (EXPLORER, "{installed}"), "Medium")
        + [
            _lifted(key, "{writable}", SYSTEM32 + "mmc.exe", "mmc.exe {word}.msc", parent, "Medium")
            for key in _OTHER_CLASSES
            for parent in _LIFTING
        ],
        reaches=HOST,
        explanations=(),
    ),
)
