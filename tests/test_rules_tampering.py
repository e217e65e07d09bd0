"""Rules on controls, persistence by configuration and damage, on both sides of each threshold."""

import pytest

from incidents import (
    EVIL,
    INSTALLED,
    OUTSIDE,
    SYSTEM32,
    TEMP,
    TOOL,
    cloud,
    control,
    encrypted,
    found,
    ids,
    key,
    launch,
    made,
    setting,
    wmi,
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (setting(0), ["suspicious"]),
        (setting(0, "mshta http://x"), ["suspicious"]),
        (setting(0, "cmd /c x"), ["suspicious"]),
        (setting(0, "cmd.exe /k x"), ["suspicious"]),
        (setting(0, "powershell x"), ["suspicious"]),
        (setting(0, "wscript x.vbs"), ["suspicious"]),
        (setting(0, "cscript x.vbs"), ["suspicious"]),
        (setting(0, "rundll32 x.dll"), ["suspicious"]),
        (setting(0, "regsvr32 x.dll"), ["suspicious"]),
        (setting(0, "cmdkey /list"), []),
        (setting(0, "%APPDATA%\\x.exe"), ["suspicious"]),
        (setting(0, INSTALLED), []),
        (setting(0, None), []),
        (setting(0, activity="key_create"), []),
        (setting(0, key="HKLM\\Software\\Acme\\LastRun"), []),
        (setting(0, key="HKLM\\Software\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\Shell"), ["suspicious"]),
        (setting(0, key="HKLM\\X\\Image File Execution Options\\sethc.exe\\Debugger"), ["suspicious"]),
        (setting(0, program=EVIL), ["confirmed"]),
        (setting(0, program=None), ["suspicious"]),
    ],
)
def test_an_entry_that_starts_a_foreign_program(row, expected):
    assert found(row) == [f"autorun-entry {strength} L1-1" for strength in expected]


WHOLE = [wmi(0, "filter"), wmi(1, "consumer"), wmi(2, "binding")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (WHOLE, ["confirmed L1-1 L1-2 L1-3"]),
        (WHOLE[1:], ["confirmed L1-1 L1-2"]),
        (WHOLE[:2], ["confirmed L1-1 L1-2"]),
        ([WHOLE[0], WHOLE[2]], []),
        ([wmi(0, "filter", host="WKS-02"), WHOLE[1]], ["suspicious L1-2"]),
        ([wmi(0, "query"), wmi(1, "provider_load")], []),
        ([wmi(0, "consumer", "ActiveScriptEventConsumer x")], ["suspicious L1-1"]),
        ([wmi(0, "consumer", TEMP + "x.exe")], ["suspicious L1-1"]),
        ([wmi(0, "consumer", "NTEventLogEventConsumer SCM subscription description")], []),
        ([wmi(0, "consumer", None)], []),
    ],
)
def test_a_subscription_that_runs_code(rows, expected):
    assert found(*rows) == ["wmi-subscription " + said for said in expected]


AUDIT_OFF = control(0, "audit_policy", "off")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([control(0, "log_clear")], ["suspicious L1-1"]),
        ([control(0, "log_clear", user="SYSTEM")], []),
        ([control(0, "log_clear", user="WKS-01$")], []),
        ([control(0, "log_clear", user=None)], []),
        ([control(0, "log_clear"), control(600, "audit_policy", "off")], ["confirmed L1-1 L1-2"]),
        ([AUDIT_OFF, control(601, "log_clear")], ["suspicious L1-2"]),
        ([AUDIT_OFF, control(-5000, "log_clear"), control(9, "log_clear")], ["confirmed L1-2 L1-1 L1-3"]),
        ([AUDIT_OFF, control(9, "log_clear", user="ben")], ["suspicious L1-2"]),
        ([AUDIT_OFF, control(9, "log_clear", host="WKS-02")], ["suspicious L1-2"]),
        ([control(0, "audit_policy", "success and failure"), control(9, "log_clear")], ["suspicious L1-2"]),
        ([control(0, "firewall", "off"), control(9, "log_clear")], ["suspicious L1-2"]),
    ],
)
def test_a_log_is_cleared(rows, expected):
    assert found(*rows) == ["log-cleared " + said for said in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([control(0, "av_setting", "off")], ["suspicious L1-1"]),
        ([control(0, "sensor_config", "Disabled")], ["suspicious L1-1"]),
        ([control(0, "audit_policy", "off")], []),
        ([control(0, "av_setting", "off"), launch(600, EVIL, user="ben")], ["confirmed L1-1 L1-2"]),
        ([control(0, "av_setting", "off"), launch(0, EVIL)], ["confirmed L1-1 L1-2"]),
        ([control(0, "av_setting", "off"), launch(601, EVIL)], ["suspicious L1-1"]),
        ([launch(-1, EVIL), control(0, "av_setting", "off")], ["suspicious L1-2"]),
        ([control(0, "av_setting", "off"), launch(9, INSTALLED)], ["suspicious L1-1"]),
        ([control(0, "av_setting", "off"), launch(9, EVIL, host="WKS-02")], ["suspicious L1-1"]),
    ],
)
def test_a_defence_is_disabled(rows, expected):
    assert found(*rows) == ["defence-disabled " + said for said in expected]


@pytest.mark.parametrize(
    ("value", "is_off"),
    [
        ("real-time protection off", True),
        ("DisableRealtimeMonitoring = 0x1", True),
        ("Service stopped", True),
        ("exclusion C:\\Temp", True),
        ("0", True),
        ("0x0", True),
        ("False", True),
        ("Success removed", True),
        ("No Auditing", True),
        ("0x00000001", False),
        ("signatures updated", False),
        ("office macros checked", False),
        ("10", False),
        ("", False),
        (None, False),
    ],
)
def test_what_a_switched_off_defence_says(value, is_off):
    assert found(control(0, "av_setting", value)) == ["defence-disabled suspicious L1-1"] * is_off


@pytest.mark.parametrize(
    ("command", "is_found"),
    [
        ("vssadmin.exe Delete Shadows /all /quiet", True),
        ("wmic shadowcopy delete", True),
        ("wmic.exe shadowcopy where \"ID like '%'\" delete", True),
        ("wmic shadowcopy list brief", False),
        ("wbadmin delete catalog -quiet", True),
        ("bcdedit /set {default} recoveryenabled No", True),
        ("cmd /c vssadmin delete shadows", True),
        ("vssadmin list shadows", False),
        ("bcdedit /set {default} recoveryenabled yes", False),
        ('vssadmin.exe Del""ete Shadows /all', True),
        ("cmd /c v^s^s^admin de^lete sha'd'ows /all", True),
        ('cmd /c vssadmin "list" "shadows" & del""ete x', False),
        ("", False),
    ],
)
def test_recovery_is_made_impossible(command, is_found):
    assert found(launch(0, SYSTEM32 + "x.exe", command)) == ["recovery-inhibited suspicious L1-1"] * is_found


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (encrypted(7), 0),
        (encrypted(8), 8),
        (encrypted(8, activity="create"), 8),
        (encrypted(8, activity="delete"), 0),
        ([*encrypted(7), *encrypted(1, start=600, name="z.pdf.locked")], 8),
        ([*encrypted(7), *encrypted(1, start=601, name="z.pdf.locked")], 0),
        (encrypted(12, name="same.xlsx.locked"), 0),
        ([*encrypted(7), *encrypted(1, name="z.pdf.crypt")], 0),
        ([*encrypted(7), *encrypted(1, name="z.pdf.locked", program=TOOL)], 0),
        ([*encrypted(7), *encrypted(1, name="z.pdf.locked", host="WKS-02")], 0),
        (encrypted(12, program=None), 0),
        (encrypted(12, name="f{}.xlsx"), 0),
        (encrypted(12, name="Microsoft.Extensions.Part{}.dll"), 0),
        (encrypted(12, name="page{}.min.js"), 0),
        (encrypted(12, name="backup{}.tar.gz"), 0),
        (encrypted(12, name="dump{}.sql.gz"), 0),
        (encrypted(12, name="report{}.docx.lnk"), 0),
    ],
)
def test_encryption_is_eight_documents_with_one_new_ending(rows, count):
    assert found(*rows) == [f"mass-encryption confirmed {ids(1, 8)}"] * bool(count)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([cloud(0)], ["suspicious L1-1"]),
        ([cloud(0, "DescribeTrails")], []),
        ([cloud(0, api_error="AccessDenied")], []),
        ([cloud(0, user=None, user_uid="arn:aws:iam::1:user/ana"), key(9)], ["confirmed L1-1 L1-2"]),
        ([cloud(0, user=None)], []),
        ([control(0, "trail_stop", host=None, src_ip=OUTSIDE), key(9)], ["confirmed L1-1 L1-2"]),
        ([key(0), cloud(3600)], ["confirmed L1-1 L1-2"]),
        ([cloud(0), key(3601)], ["suspicious L1-1"]),
        ([cloud(-5000), cloud(0), key(9)], ["confirmed L1-1 L1-2 L1-3"]),
        ([cloud(0), key(9, "ana")], ["suspicious L1-1"]),
        ([cloud(0), key(9, None)], ["suspicious L1-1"]),
        ([cloud(0), key(9, user="root.admin")], ["suspicious L1-1"]),
        ([cloud(0), key(9, src="203.0.113.8")], ["suspicious L1-1"]),
        ([cloud(0, src="10.20.1.11"), key(9, src="10.20.1.11")], ["suspicious L1-1"]),
    ],
)
def test_the_trail_is_stopped(rows, expected):
    trail = [said for said in found(*rows) if not said.startswith(("key-for-another", "cloud-trail-attempt"))]

    assert trail == ["cloud-trail-stopped " + said for said in expected]


@pytest.mark.parametrize(
    ("row", "is_found"),
    [
        (key(0), True),
        (key(0, "ana"), False),
        (key(0, "arn:aws:iam::1:user/ana"), False),
        (key(0, None), False),
        (key(0, user=None), False),
        (made(0, "ben", "password_reset"), False),
    ],
)
def test_a_key_for_another(row, is_found):
    assert found(row) == ["key-for-another suspicious L1-1"] * is_found
