"""Ordinary lines of what is kept: files, registry values, shares, pipes, secured objects."""

from __future__ import annotations

from tasks.noise.rows import table

_FILE = "file_path | process_path"
_SAVED = r"""
    D:\Shares\<word>\<word2>.<docx;xlsx;pptx;pdf> | C:\Windows\explorer.exe
    D:\Shares\<word>\<report;invoice;minutes;offer>-<100..999>.docx | C:\Program Files\Microsoft Office\WINWORD.EXE
    D:\Shares\<word>\<budget;stock;plan>-<2022..2026>.xlsx | C:\Program Files\Microsoft Office\EXCEL.EXE
    D:\Logs\<word>\<word2>-<20260101..20261031>.log | C:\Program Files\<Word>\<word>.exe
    D:\src\<word>\src\<word2>.<ts;py;cs;json> | C:\Program Files\Git\cmd\git.exe
    C:\Program Files\<Word>\<word>.<dll;exe;dat> | C:\Windows\System32\msiexec.exe
    C:\Windows\SoftwareDistribution\DataStore\Logs\edb<10000..99999>.log | C:\Windows\System32\svchost.exe
    C:\Windows\Prefetch\<CHROME;SVCHOST;MSTSC>.EXE-<hex8>.pf | C:\Windows\System32\svchost.exe
    C:\Users\<user>\AppData\Local\Google\Chrome\User Data\Default\Cache\f_<hex6> | C:\Program Files\Google\Chrome\Application\chrome.exe
    C:\Users\<user>\AppData\Roaming\Microsoft\Windows\Recent\<word>.lnk | C:\Windows\explorer.exe
    C:\Users\<user>\AppData\Local\Temp\<word><1..99>.tmp | C:\Program Files\Microsoft Office\EXCEL.EXE
    C:\inetpub\logs\LogFiles\W3SVC1\u_ex<260101..261031>.log | C:\Windows\System32\svchost.exe
    /var/log/<syslog;auth.log;nginx/access.log;postgresql/main.log> | /usr/sbin/<rsyslogd;nginx>
    /var/lib/<word>/<word2>.db-wal | /usr/bin/<word>
    /srv/<word>/releases/<1..400>/<word2>.py | /usr/bin/git
"""
FILES = (
    *table("file create", _FILE, _SAVED),
    *table("file modify", _FILE, _SAVED),
    *table(
        "file create",
        "file_path | process_path | file_hashes",
        r"""
        C:\Program Files\<Word>\<word>.exe | C:\Windows\System32\msiexec.exe | SHA256=<hex64>
        C:\Windows\CCM\SystemTemp\<guid>.ps1 | C:\Windows\CCM\CcmExec.exe | SHA256=<hex64>
        C:\ProgramData\Microsoft\Windows Defender\Definition Updates\{<guid>}\mpavdlta.vdm | C:\Windows\System32\wuauclt.exe | MD5=<hex32>
        /var/cache/apt/archives/<word>_<1..9>.<0..40>_amd64.deb | /usr/bin/apt-get | SHA256=<hex64>
        /usr/lib/systemd/system/<word>.service | /usr/bin/dpkg | SHA256=<hex64>
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "file create",
        _FILE,
        r"""
        C:\Users\<user>\Downloads\<word>-setup.exe | C:\Program Files\Google\Chrome\Application\chrome.exe
        C:\Users\<user>\Downloads\<word>.<pdf;csv;zip;png> | C:\Program Files\Mozilla Firefox\firefox.exe
        C:\Users\<user>\AppData\Local\slack\app-4.<30..48>.<0..200>\slack.exe | C:\Users\<user>\AppData\Local\slack\Update.exe
        C:\Users\<user>\AppData\Local\Temp\{<guid>}\<word>.dll | C:\Windows\System32\msiexec.exe
        E:\Backup\<word>-<1..30>.<zip;bak;7z> | C:\Program Files\Veeam\Endpoint Backup\Veeam.EndPoint.Manager.exe
        D:\Shares\<word>\<word2>.xlsx.bak | C:\Program Files\<Word>\<word>.exe
        C:\inetpub\wwwroot\<word>\<word2>.<aspx;css;js> | C:\Program Files\IIS\Microsoft Web Deploy V3\msdeploy.exe
        C:\ProgramData\<Word>\cache\<hex16>.bin | C:\Program Files\<Word>\<word>.exe
        """,
        aside=True,
    ),
    *table(
        "file modify",
        "file_path | process_path | file_hashes",
        r"C:\Program Files\<Word>\<word>.<dll;config> | C:\Program Files\<Word>\Update\<word2>.exe | SHA256=<hex64>",
    ),
    *table(
        "file delete",
        "file_path | process_path | file_hashes",
        r"""
        C:\Users\<user>\AppData\Local\Temp\<word><1..99>.tmp | C:\Program Files\Microsoft Office\WINWORD.EXE | -
        C:\Windows\Temp\<word>.log | C:\Windows\System32\cleanmgr.exe | -
        D:\Shares\<word>\<word2>.docx | C:\Windows\explorer.exe | SHA256=<hex64>
        D:\Logs\<word>-<1..30>.log | C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | -
        /var/cache/apt/archives/<word>_<1..9>.deb | /usr/bin/apt-get | -
        """,
    ),
    *table(
        "file stream",
        "file_path | process_path | file_hashes",
        r"""
        C:\Users\<user>\Downloads\<word>.<pdf;xlsx;msi>:Zone.Identifier | C:\Program Files\Google\Chrome\Application\chrome.exe | SHA256=<hex64>
        D:\Shares\<word>\<word2>.docx:Zone.Identifier | C:\Program Files\Microsoft Office\OUTLOOK.EXE | -
        D:\Shares\<word>\<word2>.png:SmartScreen | C:\Windows\explorer.exe | -
        """,
    ),
    *table(
        "file time_change",
        _FILE,
        r"""
        D:\Shares\<word>\<word2>.<docx;pdf> | C:\Windows\System32\robocopy.exe
        C:\Program Files\<Word>\<word>.<exe;dll> | C:\Windows\System32\msiexec.exe
        C:\Users\<user>\AppData\Local\Google\Chrome\User Data\Default\<word>.tmp | C:\Program Files\Google\Chrome\Application\chrome.exe
        C:\Users\<user>\AppData\Local\slack\app-4.<30..48>.<0..200>\slack.exe | C:\Users\<user>\AppData\Local\slack\Update.exe
        D:\src\<word>\bin\<word2>.dll | C:\Program Files\Microsoft Visual Studio\2022\MSBuild\Current\Bin\VBCSCompiler.exe
        """,
    ),
    *table(
        "file raw_read",
        _FILE,
        r"""
        \Device\HarddiskVolume<1..5> | C:\Windows\System32\<defrag;chkdsk;SearchIndexer;vssvc>.exe
        \Device\HarddiskVolume<1..5> | C:\Program Files\Veeam\Endpoint Backup\Veeam.EndPoint.Manager.exe
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "file blocked",
        "file_path | process_path | file_hashes",
        r"""
        C:\Users\<user>\Downloads\<word>.<exe;msi> | C:\Program Files\Google\Chrome\Application\chrome.exe | SHA256=<hex64>
        D:\Shares\<word>\<word2>.scr | C:\Windows\explorer.exe | -
        """,
    ),
)
REGISTRY = (
    *table(
        "registry set",
        "reg_key_path | reg_value_data | process_path",
        r"""
        HKLM\Software\<Word>\LastRun | DWORD (0x<hex8>) | C:\Windows\System32\svchost.exe
        HKLM\Software\<Word>\<Version;Channel;InstallPath> | <1..30>.<0..9>.<0..900> | C:\Program Files\<Word>\<word>.exe
        HKLM\System\CurrentControlSet\Services\<word>\ImagePath | "C:\Program Files\<Word>\<word>.exe" | C:\Windows\System32\services.exe
        HKLM\System\CurrentControlSet\Services\<W32Time;BITS;Tcpip>\<Start;Parameters\NtpServer> | DWORD (0x00000003) | C:\Windows\System32\services.exe
        HKLM\System\CurrentControlSet\Services\bam\State\UserSettings\<sid>\<word> | Binary Data | C:\Windows\System32\svchost.exe
        HKLM\Software\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\LastOnlineScanTime | <2026..2027>-01-01 | C:\Windows\System32\svchost.exe
        HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\{<guid>}\DisplayVersion | <1..30>.<0..9> | C:\Windows\System32\msiexec.exe
        HKLM\Software\Microsoft\Windows\CurrentVersion\Run\<Word> | "C:\Program Files\<Word>\<word>.exe" /tray | C:\Windows\System32\msiexec.exe
        HKLM\Software\Microsoft\Windows\CurrentVersion\Run\<Word> | C:\Program Files\<Word>\<word>.exe | C:\Program Files\<Word>\<word2>.exe
        HKLM\Software\Microsoft\Windows Defender\Signature Updates\SignatureVersion | 1.4<10..30>.<1..900>.0 | C:\Windows\System32\svchost.exe
        HKLM\Software\Policies\Microsoft\Windows\WindowsUpdate\AU\<AUOptions;NoAutoRebootWithLoggedOnUsers> | DWORD (0x00000004) | C:\Windows\System32\svchost.exe
        HKU\<sid>\Software\Microsoft\Windows\CurrentVersion\Explorer\UserAssist\{<guid>}\Count | Binary Data | C:\Windows\explorer.exe
        HKU\<sid>\Software\Microsoft\Office\16.0\<Word;Excel>\File MRU\Item <1..40> | D:\Shares\<word>\<word2>.docx | C:\Program Files\Microsoft Office\WINWORD.EXE
        HKU\<sid>\Software\Google\Chrome\BLBeacon\state | DWORD (0x00000001) | C:\Program Files\Google\Chrome\Application\chrome.exe
        HKU\<sid>\Control Panel\Desktop\Wallpaper | C:\Windows\Web\Wallpaper\Windows\img0.jpg | C:\Windows\explorer.exe
        HKCR\<word>file\shell\open\command\(Default) | "C:\Program Files\<Word>\<word>.exe" "%1" | C:\Windows\System32\msiexec.exe
        HKLM\Software\Classes\CLSID\{<guid>}\InprocServer32\(Default) | C:\Program Files\<Word>\<word>.dll | C:\Windows\System32\msiexec.exe
        """,
    ),
    *table(
        "registry set",
        "reg_key_path | reg_value_data | process_path",
        r"""
        HKU\<sid>\Software\Microsoft\Windows\CurrentVersion\Run\Spotify | C:\Users\<user>\AppData\Roaming\Spotify\Spotify.exe --autostart --minimized | C:\Users\<user>\AppData\Roaming\Spotify\Spotify.exe
        HKU\<sid>\Software\Microsoft\Windows\CurrentVersion\Run\com.squirrel.slack.slack | "C:\Users\<user>\AppData\Local\slack\slack.exe" --startup | C:\Users\<user>\AppData\Local\slack\slack.exe
        HKU\<sid>\Software\Zoom\<word> | DWORD (0x<hex8>) | C:\Users\<user>\AppData\Roaming\Zoom\bin\Zoom.exe
        """,
        aside=True,
    ),
    *table(
        "registry key_create",
        "reg_key_path | reg_value_data | process_path",
        r"""
        HKLM\Software\<Word>\(Default) | <word2> | C:\Windows\System32\msiexec.exe
        HKLM\System\CurrentControlSet\Services\<word>\Parameters | <Word> | C:\Windows\System32\services.exe
        """,
    ),
    *table(
        "registry key_create",
        "reg_key_path | process_path",
        r"""
        HKLM\Software\<Word>\<Settings;Licence;Plugins> | C:\Program Files\<Word>\<word>.exe
        HKLM\System\CurrentControlSet\Enum\USB\VID_<hex4>&PID_<hex4>\<hex8> | C:\Windows\System32\svchost.exe
        HKU\<sid>\Software\<Word> | C:\Windows\System32\msiexec.exe
        """,
    ),
    *table(
        "registry key_delete",
        "reg_key_path | reg_value_data | process_path",
        r"HKLM\Software\<Word>\<Cache;Pending>\(Default) | <word2> | C:\Windows\System32\<msiexec;svchost>.exe",
    ),
    *table(
        "registry key_delete",
        "reg_key_path | process_path",
        r"""
        HKLM\Software\Microsoft\Windows\CurrentVersion\Component Based Servicing\SessionsPending\<10000000..39999999>_<100..999> | C:\Windows\servicing\TrustedInstaller.exe
        HKLM\Software\<Word>\Cache\<word> | C:\Program Files\<Word>\<word2>.exe
        HKU\<sid>\Software\<Word>\Session | C:\Program Files\<Word>\<word>.exe
        """,
    ),
    *table(
        "registry rename",
        "reg_key_path | reg_value_data | process_path",
        r"""
        HKLM\Software\<Word>\Profiles\<word> | <word2> | C:\Program Files\<Word>\<word3>.exe
        HKU\<sid>\Software\<Word>\Views\New Key #1 | <word> | C:\Windows\regedit.exe
        """,
    ),
)
_ACCESS = "share_name | file_path | src_ip"
SHARES = (
    *table(
        "share access",
        _ACCESS,
        r"""
        \\*\Public | <word>.pdf | <peer_ip>
        \\*\Public | <word>\<word2>.<docx;xlsx;png> | <ip>
        \\*\Projects | <word>\<word2>.docx | <peer_ip>
        \\*\Software | <Word>\<word>.msi | <peer_ip>
        """,
    ),
    *table(
        "share access",
        "share_name | file_path | access_mask | src_ip",
        r"""
        \\*\SYSVOL | corp.example\Policies\{<guid>}\gpt.ini | 0x120089 | <peer_ip>
        \\*\SYSVOL | corp.example\Policies\{<guid>}\Machine\Registry.pol | 0x120089 | <peer_ip>
        \\*\IPC$ | <srvsvc;wkssvc;lsarpc;samr;netlogon> | 0x12019f | <peer_ip>
        \\*\NETLOGON | logon.<cmd;vbs> | 0x120089 | <peer_ip>
        \\*\ADMIN$ | CCM\Logs\<word>.log | 0x120089 | <peer_ip>
        """,
        actor_user="<peer>$",
    ),
    *table(
        "share access",
        "share_name | file_path | access_mask | src_ip",
        r"""
        \\*\Public | <word>.<pdf;docx> | <0x1;0x120089;0x120116> | <peer_ip>
        \\*\Profiles | <user>\Desktop\<word>.lnk | 0x120089 | <peer_ip>
        """,
    ),
    *table(
        "share access",
        "share_name | file_path | src_ip | dst_ip",
        r"""
        \\<host>\Public | <word>\<word2>.pdf | <peer_ip> | <ip>
        \\<host>\Backup | <word>\<word2>.vbk | <peer_ip> | <ip>
        """,
        actor_user="",
    ),
    *table(
        "share connect",
        "share_name | src_ip",
        r"""
        \\*\<Public;Projects;Software;SYSVOL;NETLOGON> | <peer_ip>
        \\*\IPC$ | <peer_ip>
        """,
    ),
    *table(
        "share connect",
        "share_name | access_mask | src_ip | dst_ip",
        r"\\<host>\<Public;Projects;Backup> | 0x1 | <peer_ip> | <ip>",
        actor_user="",
    ),
    *table(
        "share create",
        "share_name | file_path | src_ip",
        r"""
        \\*\<Word> | D:\Shares\<word> | -
        \\*\print$ | C:\Windows\System32\spool\drivers | -
        """,
    ),
    *table(
        "share modify",
        "share_name | file_path | access_mask",
        r"""
        \\*\<Public;Projects;Software> | D:\Shares\<word> | -
        \\*\<Word> | D:\Shares\<word> | 0x1f01ff
        """,
    ),
)
_PIPE = "pipe_name | process_path"
PIPES = (
    *table(
        "pipe create",
        _PIPE,
        r"""
        \<word> | C:\Program Files\<Word>\<word>.exe
        \chrome.<1000..20000>.<1..9>.<100000000..999999999> | C:\Program Files\Google\Chrome\Application\chrome.exe
        \PSHost.<133000000000000000..134000000000000000>.<400..20000>.DefaultAppDomain.powershell | C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe
        \Winsock2\CatalogChangeListener-<hex3>-0 | C:\Windows\System32\<svchost;lsass;services>.exe
        \sql\query | C:\Program Files\Microsoft SQL Server\MSSQL16\MSSQL\Binn\sqlservr.exe
        \wkssvc | C:\Windows\System32\svchost.exe
        """,
    ),
    *table(
        "pipe connect",
        _PIPE,
        r"""
        \<wkssvc;srvsvc;lsass;samr> | C:\Windows\System32\svchost.exe
        \<word> | C:\Program Files\<Word>\<word2>.exe
        \<spoolss;winreg> | C:\Windows\explorer.exe
        \MICROSOFT##WID\tsql\query | C:\Windows\System32\inetsrv\w3wp.exe
        \crashpad_<1000..20000>_<word> | C:\Program Files\Google\Chrome\Application\chrome.exe
        """,
    ),
)
_OBJECT = "object_name | object_type | access_mask | process_path"
OBJECTS = (
    *table(
        "object_access open",
        _OBJECT,
        r"""
        D:\Shares\<word> | File | <0x1;0x80;0x100081> | C:\Windows\explorer.exe
        \REGISTRY\MACHINE\SOFTWARE\<Word> | Key | 0x20019 | C:\Program Files\<Word>\<word>.exe
        \Device\HarddiskVolume3\Windows\System32\lsass.exe | Process | 0x1400 | C:\Windows\System32\svchost.exe
        """,
    ),
    *table(
        "object_access open",
        f"{_OBJECT} | outcome",
        r"""
        D:\Shares\<word>\<word2>.xlsx | File | 0x120089 | C:\Program Files\Microsoft Office\EXCEL.EXE | <success;success;failure>
        SC_MANAGER OBJECT | SC_MANAGER OBJECT | 0xf003f | C:\Windows\System32\services.exe | <success;failure>
        C:\Users\<user>\AppData\Local\Google\Chrome\User Data\Default\Cookies | File | 0x120089 | C:\Program Files\Google\Chrome\Application\chrome.exe | success
        """,
    ),
    *table(
        "object_access access",
        f"{_OBJECT} | outcome",
        r"""
        D:\Shares\<word>\<word2>.<docx;pdf> | File | <0x1;0x2;0x4> | C:\Windows\explorer.exe | -
        \REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\<word> | Key | 0x1 | C:\Windows\System32\svchost.exe | success
        /etc/<hosts;resolv.conf;ssl/openssl.cnf> | File | 0x1 | /usr/bin/python3 | success
        """,
    ),
    *table(
        "object_access close",
        "object_name | object_type | process_path | access_mask | outcome",
        r"""
        D:\Shares\<word> | File | C:\Windows\explorer.exe | - | -
        \REGISTRY\MACHINE\SOFTWARE\<Word> | Key | C:\Windows\System32\svchost.exe | 0x20019 | success
        """,
    ),
    *table(
        "object_access credential_read",
        "object_name | object_type | process_path | outcome | access_mask",
        r"""
        MicrosoftAccount:target=SSO_POP_Device | Credential | C:\Windows\System32\lsass.exe | - | -
        Domain:target=TERMSRV/<peer> | Credential | C:\Windows\System32\mstsc.exe | success | -
        LegacyGeneric:target=git:https://git.corp.example | Credential | C:\Program Files\Git\mingw64\bin\git-credential-manager.exe | success | 0x1
        """,
    ),
    *table(
        "object_access key_file",
        "object_name | object_type | process_path | outcome | access_mask",
        r"""
        C:\ProgramData\Microsoft\Crypto\RSA\MachineKeys\<hex32>_<guid> | Key | C:\Windows\System32\lsass.exe | success | -
        Microsoft Software Key Storage Provider: tp-<guid> | Key | C:\Windows\System32\svchost.exe | <success;failure> | 0x1
        """,
    ),
)
ROWS = (
    *FILES,
    *REGISTRY,
    *SHARES,
    *PIPES,
    *OBJECTS,
)
