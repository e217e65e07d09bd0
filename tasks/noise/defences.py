"""Ordinary lines of what guards: controls that are set, and what other products notice."""

from __future__ import annotations

from tasks.noise.rows import table

_SETTING = "control_name | new_value"
_TRAIL = "arn:aws:cloudtrail:eu-west-1:<100000000000..999999999999>:trail/<word>"
CONTROLS = (
    *table(
        "control_change log_clear",
        _SETTING,
        "<Security;System;Application;Setup;Microsoft-Windows-PowerShell/Operational> | <archived;rolled over at maximum size>",
        actor_user="SYSTEM",
    ),
    *table(
        "control_change log_clear",
        "control_name | process_path",
        r"<Security;System;Application> | C:\Windows\System32\<svchost;wevtsvc;services>.exe",
        actor_user="SYSTEM",
    ),
    *table(
        "control_change log_clear",
        "control_name | new_value | process_path",
        r"<Security;System;Application> | <archived;rolled over at maximum size> | C:\Windows\System32\svchost.exe",
        actor_user="SYSTEM",
    ),
    *table(
        "control_change firewall",
        "control_name | new_value | process_path",
        r"""
        Rule <Core Networking;Remote Desktop;Network Discovery> | <updated;enabled for domain profile;deleted> | C:\Windows\System32\svchost.exe
        Setting <Notify On Listen;Log Dropped Packets> of profile domain | <yes;on> | C:\Windows\System32\mmc.exe
        """,
    ),
    *table(
        "control_change audit_policy",
        _SETTING,
        """
        <Logon;Account Lockout;Credential Validation;Process Creation> | success and failure
        <File System;Registry;Kernel Object;Detailed File Share> | <success added;failure added;success added, failure added>
        """,
    ),
    *table(
        "control_change audit_policy",
        "control_name | old_value | new_value",
        "Logon | success | success and failure",
        actor_user="SYSTEM",
    ),
    *table(
        "control_change firewall",
        _SETTING,
        """
        Rule <Core Networking;File and Printer Sharing;Remote Desktop;Windows Remote Management> | <updated;enabled for domain profile>
        Rule <Word> | added, inbound, C:\\Program Files\\<Word>\\<word>.exe
        """,
    ),
    *table(
        "control_change firewall",
        "control_name | new_value | src_ip",
        """
        AuthorizeSecurityGroupIngress | {"fromPort":443,"toPort":443,"cidrIp":"0.0.0.0/0"} | <ip>
        AuthorizeSecurityGroupIngress | {"ipProtocol":"tcp","fromPort":<22;3389;5432>,"toPort":<22;3389;5432>,"cidrIp":"10.0.0.0/8"} | <ip>
        RevokeSecurityGroupIngress | {"groupId":"sg-<hex16>","fromPort":<22;3389>,"cidrIp":"0.0.0.0/0"} | <public>
        """,
    ),
    *table(
        "control_change firewall",
        "control_name | old_value | new_value | process_path",
        r"Setting Notify On Listen | No | Yes | C:\Windows\System32\svchost.exe",
        actor_user="SYSTEM",
    ),
    *table(
        "control_change av_setting",
        "control_name | new_value | process_path",
        r"""
        <Defender;Security intelligence> | signatures updated to 1.4<10..30>.<1..900>.0 | C:\Windows\System32\svchost.exe
        Defender | <scan scheduled for Sunday;cloud protection on;quick scan completed> | C:\Program Files\Windows Defender\MpCmdRun.exe
        """,
    ),
    *table(
        "control_change av_setting",
        "control_name | old_value | new_value",
        "Scan\\AvgCPULoadFactor | 0x32 | 0x<14;19;1e>",
    ),
    *table(
        "control_change sensor_config",
        "control_name | old_value | new_value | process_path",
        r"""
        Sysmon | - | configuration loaded, SHA256=<hex64> | C:\Windows\Sysmon64.exe
        Sensor | policy <1..40> | policy <41..90> | C:\Program Files\<Word>\<word>.exe
        auditd | - | rules loaded: <20..90> | /usr/sbin/augenrules
        """,
        actor_user="SYSTEM",
    ),
    *table("control_change sensor_config", _SETTING, "Sensor group | <servers;workstations;pilot>"),
    *table(
        "control_change server_setting",
        "control_name | old_value | new_value",
        """
        max server memory (MB) | 2048 | 4096
        <cost threshold for parallelism;max degree of parallelism;backup compression default> | <1..5> | <6..50>
        """,
    ),
    *table("control_change server_setting", _SETTING, "max server memory | 4096"),
    *table(
        "control_change server_setting",
        "control_name | new_value | src_ip",
        "audit retention (days) | <30..365> | <ip>",
    ),
    *table(
        "control_change time_change",
        "control_name | old_value | new_value | process_path",
        r"""
        System time | 2026-01-01T00:00:<10..29>Z | 2026-01-01T00:00:<30..59>Z | C:\Windows\System32\svchost.exe
        System time | - | stepped by 0.<100..900> s | /usr/sbin/chronyd
        """,
        actor_user="LOCAL SERVICE",
    ),
    *table(
        "control_change trust",
        "control_name | old_value | new_value",
        """
        Trust partner.example | - | password of the trust renewed
        Kerberos policy | KerMaxT: 0x861c46800 | KerMaxT: 0x861c46800
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "control_change trail_stop",
        "control_name | new_value | src_ip",
        f"""
        UpdateTrail | {{"name":"{_TRAIL}","isMultiRegionTrail":true,"enableLogFileValidation":true}} | <ip>
        PutEventSelectors | {{"trailName":"{_TRAIL}","eventSelectors":[{{"readWriteType":"All","includeManagementEvents":true}}]}} | <ip>
        """,
        aside=True,
    ),
)
DETECTIONS = (
    *table(
        "detection ids_notice",
        "finding_title | severity",
        """
        TLS certificate expires soon | <informational;low>
        <Old protocol version;Policy: file sharing;Clear text password on web page;Outdated browser> | <informational;low;medium>
        """,
        actor_user="",
    ),
    *table(
        "detection ids_notice",
        "finding_title | severity | src_ip | dst_ip",
        """
        SSL::Invalid_Server_Cert expired certificate | low | <ip> | <public>
        ET INFO <Observed DNS over HTTPS;Outdated Java;Windows Update over HTTP> | <informational;low> | <ip> | <public>
        CaptureLoss::Too_Little_Traffic | informational | <ip> | -
        """,
        actor_user="",
    ),
    *table(
        "detection ids_notice",
        "finding_title | severity | file_path",
        r"""
        Potentially unwanted: <Word> toolbar | <informational;low> | C:\Users\<user>\Downloads\<word>.exe
        Unsigned software inventory | informational | C:\Program Files\<Word>\<word>.exe
        Policy: portable application | <low;medium> | D:\Shares\<word>\<word2>.exe
        """,
    ),
)
ROWS = (*CONTROLS, *DETECTIONS)
