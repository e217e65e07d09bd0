"""Ordinary lines of identities: sign-ins, Kerberos tickets, rights, accounts, groups, the directory."""

from __future__ import annotations

from tasks.noise.rows import table

_SIGN_IN = "user_name | logon_type | status"
SIGN_INS = (
    *table(
        "logon success",
        _SIGN_IN,
        """
        <user> | <2;5;7;11> | 0x0
        <user> | <2;4;5> | 0x0
        """,
        actor_user="",
    ),
    *table(
        "logon success",
        "user_name | logon_type | auth_protocol | logon_process | process_path | src_hostname | status | session_uid",
        r"""
        <user> | <2;7;11> | Negotiate | User32 | C:\Windows\System32\<winlogon;svchost>.exe | <host> | 0x0 | 0x<hex6>
        <host>$ | 3 | Kerberos | Kerberos | - | - | 0x0 | 0x<hex6>
        SYSTEM | 5 | Negotiate | Advapi | C:\Windows\System32\services.exe | - | 0x0 | 0x3e7
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "logon success",
        "user_name | logon_type | src_ip | auth_protocol | status",
        """
        <far>$ | 3 | <far_ip> | <Kerberos;NTLM> | 0x0
        <user> | 3 | <public> | <NTLM;Negotiate> | 0x0
        <user> | 10 | <public> | Negotiate | 0x0
        """,
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon success",
        "user_name | logon_type | src_ip | auth_protocol",
        """
        <user> | 3 | <public> | <Kerberos;NTLM>
        <user> | <3;8> | <far_ip> | NTLM
        """,
        aside=True,
        once=True,
    ),
    *table(
        "logon success",
        "user_name | src_ip | logon_process | auth_protocol | status",
        """
        <user>@corp.example | <public> | Okta | <password;webauthn> | 0
        <user>@corp.example | <public> | Microsoft 365 | oauth2 | 0
        <user> | <public> | sshd | publickey | success
        """,
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon success",
        "user_name | logon_type | auth_protocol | logon_process | src_ip",
        """
        <user> | <2;11> | Negotiate | User32 | 127.0.0.1
        <far>$ | 3 | Kerberos | Kerberos | <far_ip>
        <user> | 9 | Negotiate | Advapi | <ip>
        """,
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon success",
        "user_name | logon_type | auth_protocol | src_ip",
        "<user> | <3;10> | <Kerberos;NTLM;Negotiate> | <public>",
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon failure",
        "user_name | logon_type | src_ip | status",
        """
        <user> | <3;10> | <public> | <0xc000006a;0xc000006d;0xc0000234>
        <user> | <3;10> | <far_ip> | <0xc000006a;0xc0000071;0xc0000224>
        <user> | <2;7> | 127.0.0.1 | <0xc0000071;0xc0000224>
        """,
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon failure",
        "user_name | logon_type | src_ip | status",
        "<user> | <3;10> | <public> | <0xc000006a;0xc000006d;0xc0000064>",
        actor_user="",
        once=True,
    ),
    *table(
        "logon failure",
        "user_name | logon_type | src_ip | src_hostname | auth_protocol | logon_process | process_path | status",
        r"<user> | 3 | <public> | <far> | NTLM | NtLmSsp | C:\Windows\System32\svchost.exe | 0xc0000133",
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon failure",
        "user_name | src_ip | status | logon_process | auth_protocol",
        """
        <user>@corp.example | <public> | <50126;50055;50053> | Microsoft 365 | oauth2
        <user>@corp.example | <public> | INVALID_CREDENTIALS | Okta | password
        """,
        actor_user="",
        aside=True,
        once=True,
    ),
    *table(
        "logon explicit_credentials",
        "user_name | target_hostname | process_path",
        r"""
        <other> | <peer> | C:\Windows\System32\<svchost;taskhostw;lsass>.exe
        <user> | <peer> | C:\Windows\System32\<mstsc;mmc>.exe
        <other> | <peer> | C:\Program Files\<Word>\<word>.exe
        """,
    ),
    *table(
        "logon explicit_credentials",
        "user_name | target_hostname | process_path | src_ip",
        r"<other> | localhost | C:\Windows\System32\<winlogon;consent>.exe | 127.0.0.1",
        actor_user="SYSTEM",
    ),
    *table("logon logoff", "user_name | logon_type", "<user> | <2;3;7;10>", actor_user=""),
    *table(
        "logon logoff",
        "user_name | logon_type | session_uid",
        """
        <host>$ | 3 | 0x<hex6>
        <user> | <2;3;10> | 0x<hex6>
        """,
        actor_user="",
    ),
    *table(
        "logon ntlm",
        "user_name | src_hostname | status | auth_protocol",
        """
        <user> | <host> | 0x0 | -
        <user> | <peer> | <0x0;0xc000006a> | MICROSOFT_AUTHENTICATION_PACKAGE_V1_0
        """,
        actor_user="",
    ),
    *table(
        "logon ntlm",
        "user_name | src_ip | target_hostname | status",
        "<user> | <far_ip> | <host> | success",
        actor_user="",
        aside=True,
    ),
    *table(
        "logon rdp_session",
        "user_name | src_ip | status | logon_type",
        """
        <user> | <far_ip> | success | -
        <user> | <far_ip> | success | 10
        """,
        actor_user="",
        aside=True,
    ),
    *table(
        "logon rdp_session",
        "logon_type | src_ip",
        """
        10 | <far_ip>
        10 | <public>
        """,
        actor_user="",
        aside=True,
    ),
    *table(
        "logon rdp_session",
        "target_hostname | auth_protocol | src_ip",
        """
        <host> | NLA | <far_ip>
        <host> | <NLA;Standard> | <public>
        """,
        device_hostname="",
        actor_user="",
        aside=True,
    ),
    *table(
        "logon ssh_session",
        "user_name | src_ip | status | auth_protocol | logon_process",
        """
        <user> | <far_ip> | success | publickey | sshd
        root | <far_ip> | success | publickey | sshd
        """,
        actor_user="",
        aside=True,
    ),
)
_TICKET = "user_name | service_name | ticket_encryption | src_ip"
TICKETS = (
    *table(
        "kerberos tgs",
        _TICKET,
        """
        <user> | <cifs;host;HTTP;MSSQLSvc>/<peer>.corp.example | 0x12 | <ip>
        <user> | <peer>$ | <0x12;0x12;0x17> | <ip>
        <host>$ | <host>$ | <0x12;0x11> | <ip>
        <host>$ | <ldap;cifs>/<peer>.corp.example | 0x12 | <ip>
        """,
        actor_user="",
    ),
    *table("kerberos tgs", _TICKET, "<user> | <cifs;HTTP>/<peer> | 0x17 | <ip>", actor_user="", aside=True, once=True),
    *table(
        "kerberos tgs",
        f"{_TICKET} | status",
        """
        <user> | krbtgt | 0x12 | <ip> | 0x0
        <user> | HTTP/<word>.corp.example | 0xffffffff | <ip> | <0x7;0x1b>
        """,
        actor_user="",
    ),
    *table(
        "kerberos tgt",
        "user_name | service_name | ticket_encryption | preauth_type | status | src_ip",
        """
        <user> | krbtgt | <0x12;0x11> | <2;15> | 0x0 | <ip>
        <host>$ | krbtgt | <0x12;0x17> | 2 | 0x0 | <ip>
        <user> | krbtgt | 0xffffffff | 0 | 0x19 | <ip>
        """,
        actor_user="",
    ),
    *table(
        "kerberos tgt",
        "user_name | service_name | ticket_encryption | src_ip",
        "<user> | krbtgt | 0x12 | <ip>",
        actor_user="",
    ),
    *table(
        "kerberos renew",
        "user_name | service_name | ticket_encryption | src_ip | status",
        """
        <user> | krbtgt | 0x12 | <ip> | -
        <host>$ | krbtgt/CORP.EXAMPLE | 0x12 | <ip> | 0x0
        """,
        actor_user="",
    ),
    *table(
        "kerberos preauth_failure",
        "user_name | service_name | preauth_type | status | src_ip",
        """
        <user> | krbtgt/CORP.EXAMPLE | 2 | <0x12;0x17;0x25> | <ip>
        <host>$ | krbtgt/CORP.EXAMPLE | 2 | <0x25;0x17> | <ip>
        """,
        actor_user="",
    ),
    *table(
        "kerberos preauth_failure",
        "user_name | service_name | preauth_type | status | src_ip",
        "<user> | krbtgt | 2 | 0x18 | <far_ip>",
        actor_user="",
        aside=True,
        once=True,
    ),
)
_RIGHT = "user_name | privileges | process_path"
RIGHTS = (
    *table(
        "privilege special_logon",
        "user_name | privileges",
        """
        <user> | <SeBackupPrivilege SeRestorePrivilege;SeSecurityPrivilege;SeImpersonatePrivilege>
        SYSTEM | SeAssignPrimaryTokenPrivilege SeTcbPrivilege SeDebugPrivilege SeImpersonatePrivilege
        """,
    ),
    *table(
        "privilege special_logon",
        _RIGHT,
        r"<user> | <SeDebugPrivilege;SeBackupPrivilege SeRestorePrivilege> | C:\Windows\System32\<svchost;winlogon>.exe",
    ),
    *table(
        "privilege service_called",
        f"{_RIGHT} | outcome",
        r"""
        <user> | SeTcbPrivilege | C:\Windows\System32\<lsass;svchost>.exe | <success;failure>
        SYSTEM | <SeCreateGlobalPrivilege;SeProfileSingleProcessPrivilege> | C:\Windows\System32\<svchost;SearchIndexer>.exe | success
        <user> | SeProfileSingleProcessPrivilege | C:\Program Files\Google\Chrome\Application\chrome.exe | failure
        """,
    ),
    *table(
        "privilege token_adjusted",
        _RIGHT,
        r"""
        <user> | <SeBackupPrivilege SeRestorePrivilege;SeDebugPrivilege;SeShutdownPrivilege> | C:\Windows\System32\<svchost;mmc;robocopy;Taskmgr>.exe
        <user> | <SeDebugPrivilege;SeLoadDriverPrivilege;SeSystemtimePrivilege> | C:\Program Files\<Word>\<word>.exe
        """,
    ),
    *table(
        "privilege right_assigned",
        "user_name | privileges | process_path | outcome",
        r"""
        <other> | <SeServiceLogonRight;SeBatchLogonRight;SeRemoteInteractiveLogonRight> | - | -
        <other> | SeServiceLogonRight | C:\Windows\System32\services.exe | success
        """,
    ),
    *table(
        "privilege sudo",
        "user_name | privileges | outcome | process_path",
        """
        root | /usr/bin/systemctl <restart nginx;reload haproxy;status postgresql> | <success;success;failure> | -
        root | /usr/bin/apt-get <update;-y upgrade> | success | /usr/bin/sudo
        root | /usr/bin/journalctl -u <word> -n <50..500> | - | -
        root | /usr/bin/docker compose up -d | success | -
        """,
    ),
)
_CHANGE = "user_name | attributes"
ACCOUNTS = (
    *table("account create", _CHANGE, "<word>.<word2> | <SAM account enabled;set: Account enabled;displayName=<Word>>"),
    *table("account create", "user_name | attributes | src_ip", '<word>.<word2> | {"path":"/staff/"} | <ip>'),
    *table("account enable", _CHANGE, "<other> | <set: Account enabled;UserAccountControl 0x200>"),
    *table("account disable", _CHANGE, "<other> | <set: Account disabled;UserAccountControl 0x202>"),
    *table("account delete", _CHANGE, "<other> | <SAM account removed;leaver>"),
    *table("account password_change", _CHANGE, "<user> | <password last set;PasswordLastSet updated>"),
    *table(
        "account password_change", "user_name | attributes | src_ip", "<user> | by the owner, self-service | <public>"
    ),
    *table("account password_reset", _CHANGE, "<other> | <help desk;password last set;must change at next sign-in>"),
    *table(
        "account modify",
        "user_name | attributes | src_ip",
        """
        <other> | <department;title;description>=<Word> | -
        <other> | telephoneNumber=<1000..9999> | -
        <host>$ | ServicePrincipalNames=HOST/<host> RestrictedKrbHost/<host> | -
        <other> | <scope: mail forwarding unchanged;language=en> | <ip>
        """,
    ),
    *table("account rename", _CHANGE, "<other> | OldTargetUserName=<word>.<word2>"),
    *table(
        "account sid_history",
        _CHANGE,
        "<other> | SourceSid <sid>, migration of <Word>",
        actor_user="SYSTEM",
    ),
    *table(
        "account key_create",
        "user_name | attributes | src_ip",
        "<user> | <access key;second key, rotation> | <ip>",
    ),
    *table("account key_create", _CHANGE, "<user> | access key"),
    *table(
        "account assume_role",
        "attributes | src_ip",
        """
        {"roleArn":"arn:aws:iam::<100000000000..999999999999>:role/<ReadOnly;Deploy;Billing>","roleSessionName":"<user>"} | <ip>
        {"roleArn":"arn:aws:iam::<100000000000..999999999999>:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling","invokedBy":"autoscaling.amazonaws.com"} | <public>
        """,
    ),
)
GROUPS = (
    *table(
        "group enumerate",
        "group_name | process_path",
        r"""
        <Administrators;Users;Remote Desktop Users;Domain Admins;Backup Operators> | C:\Windows\System32\<svchost;mmc;taskhostw>.exe
        Administrators | C:\Program Files\<Word>\<word>.exe
        """,
    ),
    *table("group enumerate", "group_name | user_name | src_ip", "<Users;docker;wheel> | <other> | <ip>"),
    *table(
        "group member_add",
        "group_name | user_name",
        "<Remote Desktop Users;Sales Readers;Print Operators> | <other>",
    ),
    *table("group member_add", "group_name | user_name", "<Word> <Readers;Editors;Team> | <other>"),
    *table(
        "group member_add",
        "group_name | user_name | process_path | src_ip",
        r"<Word> Users | <other> | C:\Windows\System32\mmc.exe | <ip>",
    ),
    *table(
        "group member_remove",
        "group_name | user_name | process_path",
        r"""
        <Remote Desktop Users;Sales Readers;Domain Admins;Administrators> | <other> | -
        <Word> <Readers;Team> | <other> | C:\Windows\System32\mmc.exe
        """,
    ),
    *table("group member_remove", "group_name | user_name | src_ip", "<word>-<developers;readers> | <other> | <ip>"),
    *table(
        "group policy_attach",
        "group_name | user_name | src_ip",
        """
        arn:aws:iam::aws:policy/<ReadOnlyAccess;AmazonS3ReadOnlyAccess;CloudWatchReadOnlyAccess;job-function/Billing> | <other> | <ip>
        arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore | <user> | <public>
        """,
    ),
)
_ENTRY = "object_dn | object_type | properties | access_mask"
DIRECTORY = (
    *table(
        "directory access",
        _ENTRY,
        """
        CN=<word>,OU=Staff,DC=corp,DC=example | user | Read Property | 0x10
        CN=<word>,OU=<Staff;Sales;Legal>,DC=corp,DC=example | user | Read Property | 0x10
        CN=<word>,OU=Staff,DC=corp,DC=example | user | <Read Property;List Contents> | 0x10
        """,
        aside=True,
    ),
    *table(
        "directory access",
        _ENTRY,
        """
        CN=<word>,OU=Staff,DC=corp,DC=example | <user;group;organizationalUnit> | <Read Property;List Contents;Control Access> | 0x10
        CN=<peer>,OU=Servers,DC=corp,DC=example | computer | Read Property | <0x10;0x20>
        CN={<guid>},CN=Policies,CN=System,DC=corp,DC=example | groupPolicyContainer | Read Property | 0x10
        DC=corp,DC=example | domainDNS | <Read Property;List Contents> | <0x10;0x4>
        """,
    ),
    *table(
        "directory modify",
        "object_dn | object_type | properties | src_ip",
        """
        CN=<word>,OU=Staff,DC=corp,DC=example | user | <telephoneNumber;title;department>=<word2> | -
        CN=<peer>,OU=Servers,DC=corp,DC=example | computer | description=<Word> | -
        DC=<word>,DC=corp.example,CN=MicrosoftDNS,DC=DomainDnsZones,DC=corp,DC=example | dnsNode | dnsRecord=Binary Data | <ip>
        CN={<guid>},CN=Policies,CN=System,DC=corp,DC=example | groupPolicyContainer | versionNumber=<3..900> | -
        """,
    ),
    *table(
        "directory create",
        "object_dn | object_type | properties | access_mask",
        """
        CN=<word>.<word2>,OU=Staff,DC=corp,DC=example | user | - | -
        OU=<Word>,DC=corp,DC=example | organizationalUnit | description=<Word2> | 0x1
        """,
    ),
    *table(
        "directory replication",
        "object_dn | object_type | properties | access_mask | src_ip | dst_ip",
        """
        DC=corp,DC=example | domainDNS | {1131f6aa-9c07-11d1-f79f-00c04fc2dcd2} | 0x100 | - | -
        CN=Configuration,DC=corp,DC=example | configuration | {1131f6ab-9c07-11d1-f79f-00c04fc2dcd2} | 0x100 | <peer_ip> | <ip>
        """,
        actor_user="<peer>$",
    ),
    *table(
        "directory rpc",
        "rpc_operation | object_type | src_ip | dst_ip",
        """
        <DRSBind;DsCrackNames;NetrLogonGetDomainInfo;LsarLookupNames3;SamrLookupDomainInSamServer> | - | <peer_ip> | <ip>
        NetrLogonSamLogonEx | netlogon | <peer_ip> | <ip>
        """,
        actor_user="",
    ),
)
ROWS = (*SIGN_INS, *TICKETS, *RIGHTS, *ACCOUNTS, *GROUPS, *DIRECTORY)
