"""Ordinary work of administrators, tools and developers: nothing is found where nothing is odd, and never more than suspicion."""

import pytest

from incidents import (
    ADDRESSES,
    POWERSHELL,
    SERVICES,
    SYSTEM32,
    call,
    event,
    found,
    launch,
    logon,
    service,
    task,
    truth_of,
    write,
)

CMD, SVCHOST, MSIEXEC = SYSTEM32 + "cmd.exe", SYSTEM32 + "svchost.exe", SYSTEM32 + "msiexec.exe"
PROGRAMS = "C:\\Program Files\\"
AGENT = PROGRAMS + "Acme Monitor\\agent.exe"
DEPLOYER = "C:\\Windows\\CCM\\CcmExec.exe"
INTUNE = "C:\\Program Files (x86)\\Microsoft Intune Management Extension\\Microsoft.Management.Services.IntuneWindowsAgent.exe"
UPDATER = "C:\\Program Files (x86)\\Google\\Update\\GoogleUpdate.exe"
HOME = "C:\\Users\\ana\\"
SYSTEM = {"user": "NT AUTHORITY\\SYSTEM"}


def value(path, data, program, **more):
    return event(0, "registry", "set", reg_key_path=path, reg_value_data=data, process_path=program, **more)


def script(at, text, **more):
    return event(at, "script", "block", script_text=text, **more)


WINDOWS = {
    "an administrator looks at a server": [
        launch(0, POWERSHELL, "powershell.exe"),
        launch(10, SYSTEM32 + "ipconfig.exe", "ipconfig /all", parent=POWERSHELL),
        script(20, "Get-Service | Where-Object Status -eq 'Stopped' | Sort-Object Name"),
        script(30, "Get-EventLog -LogName System -Newest 50 | Format-Table -AutoSize"),
        launch(40, SYSTEM32 + "sc.exe", "sc query spooler", parent=POWERSHELL),
    ],
    "an administrator restarts a service": [
        launch(0, SYSTEM32 + "net.exe", "net stop spooler", parent=CMD),
        launch(9, SYSTEM32 + "net.exe", "net start spooler", parent=CMD),
        event(9, "service", "state", service_name="Print Spooler", **SYSTEM),
    ],
    "an administrator resets a password": [
        event(0, "account", "password_reset", user_name="ana", user="root.admin", host="DIR-01"),
        event(9, "account", "enable", user_name="ana", user="root.admin", host="DIR-01"),
        script(15, "Get-ADUser -Identity ana -Properties LockedOut, PasswordLastSet", user="root.admin", host="DIR-01"),
    ],
    "a nightly script packs logs": [
        task(0, 'powershell.exe -NoProfile -File "C:\\Scripts\\rotate.ps1"', "run", **SYSTEM),
        launch(1, POWERSHELL, 'powershell.exe -NoProfile -File "C:\\Scripts\\rotate.ps1"', parent=SVCHOST, **SYSTEM),
        script(3, "Compress-Archive -Path D:\\logs\\*.log -DestinationPath D:\\archive\\logs.zip; Remove-Item D:\\logs\\*.log", **SYSTEM),
        launch(9, SYSTEM32 + "forfiles.exe", 'forfiles /p D:\\logs /d -30 /c "cmd /c del @path"', parent=POWERSHELL, **SYSTEM),
    ],
    "software is deployed by Configuration Manager": [
        launch(0, DEPLOYER, parent=SERVICES, **SYSTEM),
        launch(5, MSIEXEC, 'msiexec.exe /i "C:\\Windows\\ccmcache\\4k\\reader.msi" /qn /norestart', parent=DEPLOYER, **SYSTEM),
        service(20, '"C:\\Program Files\\Reader\\update.exe" /service', user="WKS-01$"),
        value("HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\Reader", '"C:\\Program Files\\Reader\\tray.exe"', MSIEXEC, **SYSTEM),
        event(25, "module_load", "dll", file_path=PROGRAMS + "Reader\\core.dll", signature_state="signed", process_path=MSIEXEC, **SYSTEM),
    ],
    "Intune runs a script": [
        launch(0, POWERSHELL, 'powershell.exe -NoProfile -ExecutionPolicy Bypass -File "C:\\Program Files (x86)\\Microsoft Intune Management Extension\\Content\\DetectionScripts\\d.ps1"', parent=INTUNE, **SYSTEM),
        script(2, "$v = (Get-ItemProperty 'HKLM:\\SOFTWARE\\Acme' -Name Version).Version; if ($v -ge '4.2') { exit 0 } else { exit 1 }", **SYSTEM),
        call(3, INTUNE, "203.0.113.80", dst_hostname="manage.example.net", **SYSTEM),
    ],
    "a backup runs": [
        launch(0, PROGRAMS + "Acme Backup\\backup.exe", '"backup.exe" --job nightly', parent=SERVICES, user="svc_sync"),
        event(2, "service", "state", service_name="Volume Shadow Copy", **SYSTEM),
        launch(3, SYSTEM32 + "vssadmin.exe", "vssadmin list shadows", parent=PROGRAMS + "Acme Backup\\backup.exe", user="svc_sync"),
        launch(9, SYSTEM32 + "robocopy.exe", "robocopy D:\\shares \\\\fil-01\\backup\\wks-01 /mir /r:1", parent=CMD, user="svc_sync"),
        *(write(10 + n, f"E:\\backup\\a{n}.xlsx.bak", PROGRAMS + "Acme Backup\\backup.exe", user="svc_sync") for n in range(9)),
    ],
    "a monitoring agent asks": [
        *(launch(60 * n, SYSTEM32 + "tasklist.exe", "tasklist /fo csv", parent=AGENT, **SYSTEM) for n in range(4)),
        call(10, AGENT, "10.20.2.11", dst_port=8443, **SYSTEM),
        event(20, "wmi", "query", wmi_query="SELECT FreeSpace FROM Win32_LogicalDisk", **SYSTEM),
        event(21, "process_access", "open", process_path=AGENT, target_path=SYSTEM32 + "lsass.exe", access_mask="0x1000", **SYSTEM),
    ],
    "a developer builds and tests": [
        launch(0, PROGRAMS + "Git\\cmd\\git.exe", "git clone https://git.example.net/acme/shop.git", parent=CMD),
        launch(20, PROGRAMS + "nodejs\\node.exe", "node C:\\Users\\ana\\src\\shop\\node_modules\\.bin\\webpack", parent=CMD),
        launch(60, PROGRAMS + "dotnet\\dotnet.exe", "dotnet test --logger trx", parent=POWERSHELL),
        launch(70, SYSTEM32 + "curl.exe", "curl -s http://localhost:8080/health", parent=POWERSHELL),
        launch(80, SYSTEM32 + "curl.exe", "curl.exe -sO https://files.example.net/schema.json", parent=POWERSHELL),
        launch(90, SYSTEM32 + "OpenSSH\\ssh.exe", "ssh -L 5432:localhost:5432 db.example.net", parent=POWERSHELL),
    ],
    "a developer's build runs msbuild": [
        launch(0, PROGRAMS + "Microsoft Visual Studio\\2022\\MSBuild\\Current\\Bin\\MSBuild.exe", "MSBuild.exe C:\\src\\shop\\shop.sln /m /p:Configuration=Release", parent=PROGRAMS + "Microsoft Visual Studio\\2022\\Common7\\IDE\\devenv.exe"),
        write(20, "C:\\src\\shop\\bin\\Release\\shop.dll", PROGRAMS + "Microsoft Visual Studio\\2022\\MSBuild\\Current\\Bin\\Roslyn\\csc.exe"),
    ],
    "an authorised scanner probes": [
        *(call(n, None, "10.20.1.11", activity="block", user=None, src_ip="10.20.200.5", dst_port=1000 + n) for n in range(9)),
        logon(20, "failure", "scan", "10.20.200.5", status="0xc0000064"),
    ],
    "Windows updates itself": [
        launch(0, SVCHOST, "svchost.exe -k netsvcs -p -s wuauserv", parent=SERVICES, **SYSTEM),
        event(5, "net_conn", "bits_job", process_path=SVCHOST, url="http://dl.delivery.example.net/files/kb1.cab", dst_hostname="dl.delivery.example.net", dst_port=80, **SYSTEM),
        launch(60, "C:\\Windows\\servicing\\TrustedInstaller.exe", parent=SERVICES, **SYSTEM),
        launch(70, "C:\\Windows\\WinSxS\\amd64_1\\TiWorker.exe", "TiWorker.exe -Embedding", parent=SVCHOST, **SYSTEM),
        value("HKLM\\SYSTEM\\CurrentControlSet\\Services\\TrustedInstaller\\Start", "DWORD (0x00000003)", SERVICES, **SYSTEM),
        value("HKLM\\SYSTEM\\CurrentControlSet\\Services\\acmedrv\\ImagePath", "system32\\drivers\\acmedrv.sys", "C:\\Windows\\WinSxS\\amd64_1\\TiWorker.exe", **SYSTEM),
    ],
    "a browser updates itself": [
        launch(0, UPDATER, '"GoogleUpdate.exe" /ua /installsource scheduler', parent=SVCHOST, **SYSTEM),
        call(2, UPDATER, "203.0.113.90", dst_hostname="update.example.net", **SYSTEM),
        write(5, "C:\\Program Files (x86)\\Google\\Update\\Install\\browser_installer.exe", UPDATER, **SYSTEM),
        launch(9, PROGRAMS + "Google\\Chrome\\Application\\chrome.exe", '"chrome.exe" https://mail.example.net/inbox'),
        launch(12, SYSTEM32 + "rundll32.exe", "rundll32.exe url.dll,FileProtocolHandler https://help.example.net/", parent=PROGRAMS + "Acme\\acme.exe"),
    ],
    "Office loads its add-ins": [
        launch(0, PROGRAMS + "Microsoft Office\\root\\Office16\\EXCEL.EXE", '"EXCEL.EXE" D:\\books\\q1.xlsx'),
        event(3, "module_load", "dll", file_path=PROGRAMS + "Acme Addin\\addin.dll", signature_state="signed", process_path=PROGRAMS + "Microsoft Office\\root\\Office16\\EXCEL.EXE"),
        write(5, HOME + "AppData\\Roaming\\Microsoft\\Excel\\XLSTART\\personal.xlsb", PROGRAMS + "Microsoft Office\\root\\Office16\\EXCEL.EXE"),
        value("HKCU\\Software\\Microsoft\\Office\\Excel\\Addins\\Acme.Connect\\LoadBehavior", "DWORD (0x00000003)", PROGRAMS + "Microsoft Office\\root\\Office16\\EXCEL.EXE"),
    ],
    "a person starts the day": [
        logon(0, "failure", "ana", None, 2, status="0xc000006a"),
        logon(9, "success", "ana", None, 2),
        launch(20, PROGRAMS + "Microsoft Office\\root\\Office16\\OUTLOOK.EXE"),
        launch(30, HOME + "AppData\\Local\\Microsoft\\Teams\\current\\Teams.exe"),
        event(40, "share", "access", share_name="\\\\*\\docs", file_path="plans\\a.docx", src_ip=ADDRESSES["WKS-01"], host="FIL-01"),
        event(45, "share", "connect", share_name="\\\\*\\IPC$", src_ip=ADDRESSES["WKS-01"], host="FIL-01"),
    ],
    "a domain controller does its work": [
        *(event(n, "kerberos", "tgs", host="DIR-01", user=None, user_name="ana", service_name=name, ticket_encryption="0x12", status="0x0", src_ip="10.20.1.11") for n, name in enumerate(("FIL-01$", "krbtgt", "DIR-01$"))),
        event(9, "directory", "access", host="DIR-01", user="DIR-01$", properties="{1131f6ad-9c07-11d1-f79f-00c04fc2dcd2}"),
        logon(10, "success", "DIR-01$", "10.20.3.11", host="DIR-01"),
        event(12, "account", "modify", host="DIR-01", user="DIR-01$", user_name="WKS-01$", attributes="ServicePrincipalNames=GC/dir-01.corp.test HOST/DIR-01"),
    ],
    "a Linux server is looked after": [
        launch(0, "/usr/bin/apt-get", "apt-get -y upgrade", parent="/usr/bin/bash", user="ben"),
        launch(20, "/usr/bin/systemctl", "systemctl restart nginx", parent="/usr/bin/bash", user="ben"),
        launch(30, "/usr/bin/bash", "bash -c 'tail -n 100 /var/log/syslog | grep error'", parent="/usr/sbin/sshd", user="ben"),
        launch(40, "/usr/bin/chmod", "chmod 0755 /srv/app/run.sh", parent="/usr/bin/bash", user="ben"),
        launch(50, "/usr/bin/curl", "curl -fsS https://packages.example.net/key.asc -o /etc/apt/keyrings/acme.asc", parent="/usr/bin/bash", user="ben"),
    ],
}  # fmt: skip
# Odd enough to look at, as it could be either; a ticket would explain it.
ODD = {
    "an administrator works on another host": [
        script(0, "Invoke-Command -ComputerName fil-01 -ScriptBlock { Get-Volume }", user="root.admin"),
        launch(60, POWERSHELL, "powershell.exe", user="root.admin"),
    ],
    "a folder is opened to everybody": [
        launch(0, SYSTEM32 + "icacls.exe", "icacls D:\\scans /grant Everyone:(OI)(CI)F /t", parent=CMD),
        launch(30, SYSTEM32 + "net.exe", "net share scans=D:\\scans", parent=CMD),
    ],
    "an archive gets a password": [
        launch(0, PROGRAMS + "7-Zip\\7z.exe", "7z.exe a -pSecret -mhe=on d:\\out\\payroll.7z d:\\payroll", parent=CMD),
    ],
}


@pytest.mark.parametrize("name", WINDOWS)
def test_nothing_is_found_in_ordinary_work(name):
    assert found(*WINDOWS[name]) == []


@pytest.mark.parametrize("name", ODD)
def test_what_could_be_either_is_watched_and_no_more(name):
    assert found(*ODD[name])
    assert truth_of(*ODD[name]).action == "monitor"
