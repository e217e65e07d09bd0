"""Ordinary lines of programs: what starts and ends, what is loaded and opened, scripts, WMI queries, services and scheduled jobs."""

from __future__ import annotations

from tasks.noise.rows import table

_LAUNCH = "process_path | process_cmd_line | parent_path"

LAUNCHES = (
    *table(
        "process launch",
        _LAUNCH,
        r"""
        C:\Program Files\Google\Chrome\Application\chrome.exe | "C:\Program Files\Google\Chrome\Application\chrome.exe" --type=renderer --lang=en-US --renderer-client-id=<3..90> | C:\Program Files\Google\Chrome\Application\chrome.exe
        C:\Program Files\Mozilla Firefox\firefox.exe | "C:\Program Files\Mozilla Firefox\firefox.exe" -osint -url https://<word>.example-static.com/ | C:\Windows\explorer.exe
        C:\Program Files\Microsoft Office\OUTLOOK.EXE | "C:\Program Files\Microsoft Office\OUTLOOK.EXE" /recycle | C:\Windows\explorer.exe
        C:\Program Files\Microsoft Office\WINWORD.EXE | "C:\Program Files\Microsoft Office\WINWORD.EXE" /n "D:\Shares\<word>\<word2>.docx" | C:\Windows\explorer.exe
        C:\Program Files\Microsoft Office\EXCEL.EXE | "C:\Program Files\Microsoft Office\EXCEL.EXE" "D:\Shares\<word>\<budget;forecast;stock>-<2022..2026>.xlsx" | C:\Windows\explorer.exe
        C:\Program Files\Teams\teams.exe | C:\Program Files\Teams\teams.exe | C:\Windows\explorer.exe
        C:\Program Files\Adobe\Acrobat DC\Acrobat\Acrobat.exe | "C:\Program Files\Adobe\Acrobat DC\Acrobat\Acrobat.exe" "D:\Shares\<word>\<word2>.pdf" | C:\Windows\explorer.exe
        C:\Windows\System32\notepad.exe | notepad.exe D:\Shares\<word>\notes.txt | C:\Windows\explorer.exe
        C:\Windows\System32\mstsc.exe | "C:\Windows\System32\mstsc.exe" /v:<peer> | C:\Windows\explorer.exe
        C:\Windows\System32\mmc.exe | "C:\Windows\System32\mmc.exe" "C:\Windows\System32\<dsa;dnsmgmt;gpmc;certlm;diskmgmt>.msc" | C:\Windows\explorer.exe
        C:\Windows\System32\Taskmgr.exe | "C:\Windows\System32\Taskmgr.exe" /4 | C:\Windows\explorer.exe
        C:\Windows\System32\rundll32.exe | rundll32.exe shell32.dll,Control_RunDLL <timedate;desk;main>.cpl | C:\Windows\explorer.exe
        C:\Windows\System32\rundll32.exe | C:\Windows\System32\rundll32.exe C:\Windows\System32\PcaSvc.dll,PcaPatchSdbTask | C:\Windows\System32\svchost.exe
        C:\Windows\System32\OpenSSH\ssh.exe | ssh.exe <user>@<peer> | C:\Program Files\WindowsApps\Terminal\WindowsTerminal.exe
        C:\Program Files\Git\cmd\git.exe | git.exe <fetch --all --prune;status --porcelain;pull --rebase;log -n 20 --oneline;rev-parse HEAD> | C:\Program Files\Git\bin\bash.exe
        C:\Program Files\dotnet\dotnet.exe | dotnet build D:\src\<Word>\<Word>.sln -c Release | C:\Program Files\Microsoft Visual Studio\2022\Common7\IDE\devenv.exe
        C:\Program Files\Microsoft Visual Studio\2022\MSBuild\Current\Bin\MSBuild.exe | MSBuild.exe D:\src\<Word>\<Word>.csproj /nologo /m /nr:true | C:\Program Files\Microsoft Visual Studio\2022\Common7\IDE\devenv.exe
        C:\Program Files\Docker\Docker\resources\bin\docker.exe | docker.exe <ps --all;compose up -d;build -t web:latest .;image prune -f;logs --tail 200 web> | C:\Program Files\Git\bin\bash.exe
        C:\Program Files\Terraform\terraform.exe | terraform.exe <plan -out=tf.plan;init -upgrade;validate;apply tf.plan> | C:\Program Files\Git\bin\bash.exe
        C:\Program Files\7-Zip\7z.exe | 7z.exe l D:\Releases\<word>.7z | C:\Windows\explorer.exe
        C:\Program Files\PuTTY\putty.exe | "C:\Program Files\PuTTY\putty.exe" -load <word> | C:\Windows\explorer.exe
        C:\Windows\System32\attrib.exe | attrib +s +h D:\Shares\<word>\desktop.ini | C:\Windows\explorer.exe
        C:\Windows\System32\wbem\WMIC.exe | wmic <os get lastbootuptime;diskdrive get status;bios get serialnumber> | C:\Program Files\<Word>\<word>.exe
        """,
    ),
    # machines' own work: updates, scans, backups, inventory and monitoring agents
    *table(
        "process launch",
        _LAUNCH,
        r"""
        C:\Windows\System32\taskhostw.exe | taskhostw.exe <SYSTEM;Install $(Arg0);KEYROAMING> | C:\Windows\System32\svchost.exe
        C:\Windows\System32\dllhost.exe | C:\Windows\System32\DllHost.exe /Processid:{<guid>} | C:\Windows\System32\svchost.exe
        C:\Windows\System32\wbem\WmiPrvSE.exe | C:\Windows\System32\wbem\wmiprvse.exe -secured -Embedding | C:\Windows\System32\svchost.exe
        C:\Windows\System32\SearchIndexer.exe | C:\Windows\System32\SearchIndexer.exe /Embedding | C:\Windows\System32\services.exe
        C:\Windows\System32\defrag.exe | defrag.exe -c -h -k -g -$ | C:\Windows\System32\svchost.exe
        C:\Windows\System32\UsoClient.exe | C:\Windows\System32\UsoClient.exe <StartScan;ReportPolicies;RefreshSettings> | C:\Windows\System32\svchost.exe
        C:\Windows\System32\wuauclt.exe | C:\Windows\System32\wuauclt.exe /RunHandlerComServer | C:\Windows\System32\svchost.exe
        C:\Windows\System32\msiexec.exe | C:\Windows\System32\msiexec.exe /i C:\Windows\ccmcache\<hex2>\<word>.msi /qn /norestart | C:\Windows\CCM\CcmExec.exe
        C:\Windows\System32\gpupdate.exe | gpupdate.exe /target:<computer;user> | C:\Windows\System32\svchost.exe
        C:\Windows\servicing\TrustedInstaller.exe | C:\Windows\servicing\TrustedInstaller.exe | C:\Windows\System32\services.exe
        C:\Windows\System32\CompatTelRunner.exe | C:\Windows\System32\CompatTelRunner.exe -m:appraiser.dll -f:DoScheduledTelemetryRun | C:\Windows\System32\svchost.exe
        C:\Windows\System32\wbadmin.exe | wbadmin start backup -backupTarget:E: -include:C: -allCritical -quiet | C:\Windows\System32\svchost.exe
        C:\ProgramData\Microsoft\Windows Defender\Platform\4.18.<24010..25090>\MpCmdRun.exe | MpCmdRun.exe SignatureUpdate -ScheduleJob -RestrictPrivileges | C:\Windows\System32\svchost.exe
        C:\Program Files (x86)\Google\Update\GoogleUpdate.exe | "C:\Program Files (x86)\Google\Update\GoogleUpdate.exe" /ua /installsource scheduler | C:\Windows\System32\svchost.exe
        C:\Program Files\Veeam\Endpoint Backup\Veeam.EndPoint.Manager.exe | Veeam.EndPoint.Manager.exe /backup <guid> | C:\Windows\System32\services.exe
        C:\Windows\System32\ipconfig.exe | ipconfig /all | C:\Program Files\Lansweeper\lsagent.exe
        C:\Windows\System32\systeminfo.exe | systeminfo /fo csv | C:\Program Files\Lansweeper\lsagent.exe
        C:\Windows\System32\whoami.exe | whoami /<groups;user> | C:\Program Files\NinjaRMM\NinjaRMMAgent.exe
        C:\Windows\System32\net.exe | net <localgroup administrators;user;accounts> | C:\Program Files\NinjaRMM\NinjaRMMAgent.exe
        C:\Windows\System32\tasklist.exe | tasklist /svc /fo csv | C:\Windows\CCM\CcmExec.exe
        C:\Windows\System32\netstat.exe | netstat -ano | C:\Program Files\Zabbix Agent 2\zabbix_agent2.exe
        C:\Windows\System32\quser.exe | quser | C:\Program Files\NinjaRMM\NinjaRMMAgent.exe
        C:\Program Files\Qualys\QualysAgent\QualysAgent.exe | "C:\Program Files\Qualys\QualysAgent\QualysAgent.exe" /scan <1..9> | C:\Windows\System32\services.exe
        C:\Program Files\Nagios\NSClient++\nscp.exe | nscp.exe client --query check_drivesize --argument drive=D: | C:\Program Files\Nagios\NSClient++\nscp.exe
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "process launch",
        _LAUNCH,
        r"""
        /bin/sh | /bin/sh -c "test -x /usr/sbin/anacron || run-parts /srv/jobs/hourly" | /usr/sbin/cron
        /usr/sbin/logrotate | /usr/sbin/logrotate -s /var/lib/logrotate/status --verbose | /usr/lib/systemd/systemd
        /usr/bin/apt-get | apt-get -qq -y update | /usr/lib/apt/apt.systemd.daily
        /usr/bin/dpkg | /usr/bin/dpkg --status-fd <20..60> --unpack --auto-deconfigure /var/cache/apt/archives/<word>_<1..9>.<0..30>_amd64.deb | /usr/bin/apt
        /usr/bin/dnf | /usr/bin/python3 /usr/bin/dnf makecache --timer | /usr/lib/systemd/systemd
        /usr/bin/python3 | /usr/bin/python3 /usr/bin/unattended-upgrade | /usr/lib/systemd/systemd
        /usr/lib/systemd/systemd-logind | /usr/lib/systemd/systemd-logind | /usr/lib/systemd/systemd
        /usr/bin/rsync | rsync -a --delete /srv/<word>/ <peer>:/backup/<word>/ | /usr/bin/backup-run
        /usr/bin/certbot | /usr/bin/python3 /usr/bin/certbot -q renew --no-random-sleep-on-renew | /usr/lib/systemd/systemd
        /usr/bin/df | df -P -x tmpfs | /usr/bin/node_exporter
        /usr/bin/zabbix_agentd | /usr/bin/zabbix_agentd: collector [idle 1 sec] | /usr/bin/zabbix_agentd
        /usr/bin/kubelet | /usr/bin/kubelet --node-ip=<ip> --rotate-certificates=true | /usr/lib/systemd/systemd
        /usr/bin/runc | runc --root /run/runc state <hex12> | /usr/bin/containerd-shim-runc-v2
        /usr/bin/freshclam | /usr/bin/freshclam --quiet | /usr/sbin/cron
        /usr/bin/systemctl | systemctl <daemon-reload;is-active nginx;list-timers;try-restart rsyslog> | /usr/bin/salt-minion
        /usr/sbin/ausearch | ausearch -ts recent -m USER_LOGIN | /usr/bin/salt-minion
        """,
        actor_user="root",
    ),
    # programs that are installed for one user, and two of those by which people look around
    *table(
        "process launch",
        _LAUNCH,
        r"""
        C:\Users\<user>\AppData\Local\slack\slack.exe | "C:\Users\<user>\AppData\Local\slack\slack.exe" --startup | C:\Windows\explorer.exe
        C:\Users\<user>\AppData\Local\slack\Update.exe | C:\Users\<user>\AppData\Local\slack\Update.exe --checkForUpdate | C:\Windows\explorer.exe
        C:\Users\<user>\AppData\Roaming\Zoom\bin\Zoom.exe | "C:\Users\<user>\AppData\Roaming\Zoom\bin\Zoom.exe" --url=zoommtg://meet/<100000000..999999999> | C:\Windows\explorer.exe
        C:\Users\<user>\AppData\Roaming\Spotify\Spotify.exe | C:\Users\<user>\AppData\Roaming\Spotify\Spotify.exe --autostart --minimized | C:\Windows\explorer.exe
        C:\Users\<user>\AppData\Local\Postman\Postman.exe | C:\Users\<user>\AppData\Local\Postman\Postman.exe | C:\Windows\explorer.exe
        C:\Users\<user>\AppData\Local\GitHubDesktop\GitHubDesktop.exe | "C:\Users\<user>\AppData\Local\GitHubDesktop\GitHubDesktop.exe" --open-local-repo=D:\src\<word> | C:\Windows\explorer.exe
        C:\Users\<user>\AppData\Local\Programs\Notion\Notion.exe | "C:\Users\<user>\AppData\Local\Programs\Notion\Notion.exe" --type=utility | C:\Users\<user>\AppData\Local\Programs\Notion\Notion.exe
        C:\Users\<user>\Downloads\<word>-setup.exe | "C:\Users\<user>\Downloads\<word>-setup.exe" | C:\Windows\explorer.exe
        C:\Windows\System32\ipconfig.exe | ipconfig /flushdns | C:\Windows\System32\cmd.exe
        C:\Windows\System32\net.exe | net use Z: \\<far>\Public | C:\Windows\System32\cmd.exe
        /home/<user>/.local/bin/<poetry;uv;black;ruff> | /home/<user>/.local/bin/<poetry;uv;black;ruff> --version | /usr/bin/make
        """,
        aside=True,
    ),
    # shells, and what starts from a shell
    *table(
        "process launch",
        _LAUNCH,
        r"""
        C:\Windows\System32\cmd.exe | cmd.exe /c "<dir /b D:\Shares;type D:\Shares\readme.txt;mklink /d D:\Current D:\Releases\7;ver>" | C:\Windows\explorer.exe
        C:\Windows\System32\cmd.exe | C:\Windows\System32\cmd.exe /c D:\Jobs\<word>.cmd <1..40> | C:\Windows\System32\svchost.exe
        C:\Windows\System32\cmd.exe | C:\Windows\System32\cmd.exe /c "D:\Apps\<word>\bin\render.exe --in <1..900>.xml --out <1..900>.pdf" | D:\Apps\PHP\php-cgi.exe
        C:\Windows\System32\cmd.exe | cmd.exe /c D:\Apps\<word>\bin\report.exe -q 2>&1 | C:\Program Files\Tomcat\bin\tomcat9.exe
        C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | powershell.exe -NoLogo -File D:\Scripts\<word>.ps1 -Days <1..90> | C:\Windows\System32\svchost.exe
        C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | "C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe" | C:\Windows\explorer.exe
        /usr/bin/bash | -bash | /usr/sbin/sshd
        """,
    ),
    *table(
        "process launch",
        _LAUNCH,
        r"""
        C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | powershell.exe -NoProfile -ExecutionPolicy RemoteSigned -File "C:\Windows\CCM\SystemTemp\<guid>.ps1" | C:\Windows\CCM\CcmExec.exe
        C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | powershell.exe -NonInteractive -Command "Get-HotFix; Get-Volume" | C:\Program Files\Zabbix Agent 2\zabbix_agent2.exe
        C:\Windows\System32\cmd.exe | cmd.exe /d /c "C:\Program Files\<Word>\<word>.cmd" | C:\Windows\System32\svchost.exe
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "process launch",
        _LAUNCH,
        r"""
        C:\Windows\System32\reg.exe | reg query HKLM\Software\<Word> /v Version | C:\Windows\System32\cmd.exe
        C:\Windows\System32\sc.exe | sc query <Spooler;W32Time;BITS;LanmanServer> | C:\Windows\System32\cmd.exe
        C:\Windows\System32\schtasks.exe | schtasks /query /tn \<Word> /fo list | C:\Windows\System32\cmd.exe
        C:\Windows\System32\certutil.exe | certutil -<hashfile D:\Releases\setup.msi SHA256;store My;verify D:\Certs\web.cer> | C:\Windows\System32\cmd.exe
        C:\Windows\System32\robocopy.exe | robocopy D:\Shares\<word> E:\Mirror\<word> /MIR /R:2 /W:5 /LOG+:E:\Mirror\log.txt | C:\Windows\System32\cmd.exe
        C:\Windows\System32\gpresult.exe | gpresult /r /scope user | C:\Windows\System32\cmd.exe
        C:\Windows\System32\vssadmin.exe | vssadmin list <shadows;writers;shadowstorage> | C:\Windows\System32\cmd.exe
        C:\Windows\System32\wevtutil.exe | wevtutil qe System /c:<10..200> /rd:true /f:text | C:\Windows\System32\cmd.exe
        C:\Windows\System32\netsh.exe | netsh <interface ip show config;advfirewall show currentprofile;wlan show interfaces> | C:\Windows\System32\cmd.exe
        C:\Windows\System32\fsutil.exe | fsutil volume diskfree D: | C:\Windows\System32\cmd.exe
        C:\Windows\System32\curl.exe | curl.exe -s http://<peer>.corp.example:8080/health | C:\Windows\System32\cmd.exe
        C:\Windows\System32\conhost.exe | \??\C:\Windows\System32\conhost.exe 0xffffffff -ForceV1 | C:\Windows\System32\cmd.exe
        C:\Program Files\nodejs\node.exe | "C:\Program Files\nodejs\node.exe" D:\src\<word>\node_modules\.bin\<eslint;tsc;vite;jest> --watch | C:\Windows\System32\cmd.exe
        C:\Program Files\Python312\python.exe | python.exe -m <pytest -q;pip list --outdated;black src;http.server 8000> | C:\Windows\System32\cmd.exe
        C:\Program Files\Kubectl\kubectl.exe | kubectl.exe <get pods -n web;describe deploy api;logs -f deploy/api;top nodes;rollout status deploy/api> | C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe
        /usr/bin/git | git <fetch origin;status;diff --stat;pull --ff-only> | /usr/bin/bash
        /usr/bin/docker | docker <ps;images;compose pull;logs --tail 100 api;stats --no-stream> | /usr/bin/bash
        /usr/bin/kubectl | kubectl <get nodes -o wide;get events -A;apply -f deploy.yaml;logs deploy/web> | /usr/bin/bash
        /usr/bin/sudo | sudo systemctl <restart nginx;status postgresql;reload haproxy> | /usr/bin/bash
        /usr/bin/vim | vim /srv/<word>/config.yaml | /usr/bin/bash
        /usr/bin/tail | tail -n 200 -f /var/log/nginx/<access;error>.log | /usr/bin/bash
        /usr/bin/psql | psql -h <peer> -U report -c "select count(*) from <word>" | /usr/bin/bash
        /usr/bin/python3 | python3 -m venv /srv/<word>/venv | /usr/bin/make
        /usr/bin/curl | curl -fsS http://127.0.0.1:<8000..9000>/healthz | /usr/bin/bash
        /usr/bin/ansible-playbook | ansible-playbook -i hosts.ini site.yml --limit <peer> --check | /usr/bin/bash
        /usr/bin/scp | scp release-<1..40>.tar <peer>:/srv/releases/ | /usr/bin/bash
        """,
    ),
)

ENDS = (
    *table(
        "process terminate",
        "process_path | process_pid",
        r"""
        C:\Program Files\Google\Chrome\Application\chrome.exe | <400..20000>
        C:\Windows\System32\<svchost;conhost;notepad;taskhostw;dllhost;WmiPrvSE;cmd;net;schtasks;reg>.exe | <400..20000>
        C:\Program Files\Microsoft Office\<WINWORD;EXCEL;POWERPNT>.EXE | <400..20000>
        C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | <400..20000>
        C:\Program Files\<Word>\<word>.exe | <400..20000>
        C:\Users\<user>\AppData\Local\Temp\<word>.exe | <400..20000>
        /usr/bin/<bash;git;rsync;python3;curl> | <400..20000>
        """,
    ),
    *table(
        "process terminate",
        "process_path | process_cmd_line | process_pid | process_uid | parent_path",
        r"""
        C:\Windows\System32\cmd.exe | cmd.exe /c D:\Jobs\<word>.cmd | <400..20000> | {<guid>} | C:\Windows\System32\svchost.exe
        C:\Windows\System32\msiexec.exe | msiexec.exe /V | <400..20000> | {<guid>} | C:\Windows\System32\services.exe
        """,
    ),
)

_OPEN = "process_path | target_path | access_mask"
_TRACE = r"C:\Windows\SYSTEM32\ntdll.dll+<hex5>|C:\Windows\System32\KERNELBASE.dll+<hex5>"
ACCESSES = (
    *table(
        "process_access open",
        _OPEN,
        r"""
        C:\Windows\System32\svchost.exe | C:\Windows\System32\<lsass;services;conhost;spoolsv>.exe | <0x1000;0x1400;0x1010;0x1410;0x1fffff>
        C:\Windows\System32\svchost.exe | C:\Program Files\<Word>\<word>.exe | <0x1000;0x1410;0x1fffff>
        C:\Windows\System32\Taskmgr.exe | C:\Program Files\Google\Chrome\Application\chrome.exe | <0x1000;0x1410>
        C:\Windows\System32\csrss.exe | C:\Windows\System32\<cmd;notepad;taskhostw>.exe | 0x1fffff
        C:\Program Files\<Word>\<word>.exe | C:\Windows\System32\lsass.exe | <0x1000;0x1400;0x1010>
        C:\Windows\System32\wbem\WmiPrvSE.exe | C:\Windows\System32\lsass.exe | <0x1000;0x1400;0x1410>
        C:\ProgramData\Microsoft\Windows Defender\Platform\4.18.<24010..25090>\MsMpEng.exe | C:\Windows\<explorer.exe;System32\lsass.exe;System32\svchost.exe> | <0x1010;0x1410;0x101000>
        """,
    ),
    *table(
        "process_access open",
        _OPEN,
        r"""
        C:\Windows\System32\wininit.exe | C:\Windows\System32\lsass.exe | <0x1000;0x1fffff>
        C:\Program Files\Sentry\agent.exe | C:\Windows\System32\<svchost;lsass>.exe | <0x1000;0x1410>
        C:\Users\<user>\AppData\Local\slack\slack.exe | C:\Users\<user>\AppData\Local\slack\slack.exe | <0x1000;0x1410;0x1fffff>
        """,
        call_trace=_TRACE,
    ),
)
THREADS = (
    *table(
        "process_inject remote_thread",
        "process_path | target_path",
        r"""
        C:\Windows\System32\csrss.exe | C:\Windows\System32\<cmd;conhost;PING>.exe
        C:\Windows\System32\svchost.exe | C:\Windows\System32\<taskhostw;dllhost>.exe
        C:\Windows\System32\wbem\WmiPrvSE.exe | C:\Windows\System32\<svchost;lsass>.exe
        C:\Windows\System32\dwm.exe | C:\Windows\System32\csrss.exe
        C:\Program Files\<Word>\<word>.exe | C:\Program Files\<Word>\<word2>.exe
        C:\Program Files\<Word>\<word>.exe | C:\Windows\<explorer;System32\notepad>.exe
        """,
    ),
    *table(
        "process_inject remote_thread",
        "process_path | target_path",
        r"""
        C:\Program Files\VMware\VMware Tools\vmtoolsd.exe | C:\Windows\explorer.exe
        C:\Program Files\Microsoft Office\POWERPNT.EXE | C:\Windows\System32\csrss.exe
        """,
        start_module=r"C:\Windows\System32\<ntdll;kernel32;KERNELBASE>.dll",
    ),
    *table(
        "process_inject tamper",
        "process_path | target_path | start_module",
        r"""
        C:\Program Files\Mozilla Firefox\firefox.exe | C:\Program Files\Mozilla Firefox\firefox.exe | C:\Program Files\Mozilla Firefox\xul.dll
        C:\Program Files\Google\Chrome\Application\chrome.exe | C:\Program Files\Google\Chrome\Application\chrome.exe | -
        """,
    ),
)
MODULES = (
    *table(
        "module_load dll",
        "file_path | signature_state | process_path",
        r"""
        C:\Windows\System32\<urlmon;winhttp;dbghelp;samlib;vaultcli;wbemcomn;taskschd;amsi>.dll | signed | C:\Windows\System32\<svchost;conhost;notepad>.exe
        C:\Windows\System32\<version;cryptsp;netapi32;dbgcore>.dll | <signed;unsigned> | C:\Program Files\<Word>\<word>.exe
        C:\Program Files\<Word>\<word>.dll | <signed;unsigned;unsigned;invalid> | C:\Program Files\<Word>\<word2>.exe
        C:\Program Files\<Word>\<word>.dll | <signed;unsigned> | C:\Windows\explorer.exe
        C:\Program Files\Microsoft Office\<MSO;OUTLLIB;VBE7>.DLL | signed | C:\Program Files\Microsoft Office\<OUTLOOK;WINWORD;EXCEL>.EXE
        C:\Users\<user>\AppData\Local\slack\ffmpeg.dll | <signed;unknown> | C:\Users\<user>\AppData\Local\slack\slack.exe
        """,
    ),
    *table(
        "module_load dll",
        "file_path | signature_state | signature_subject | process_path",
        r"""
        C:\Windows\System32\<ntmarta;sspicli;wldap32>.dll | signed | Microsoft Windows | C:\Windows\System32\<lsass;svchost;services>.exe
        C:\Program Files\<Word>\plugins\<word>.dll | signed | <Word2> Software Ltd | C:\Program Files\<Word>\<word2>.exe
        """,
    ),
    *table(
        "module_load driver",
        "file_path | signature_state | signature_subject | process_path",
        r"""
        C:\Windows\System32\drivers\<tcpip;ndis;fltMgr;usbhub3;storahci>.sys | signed | Microsoft Windows | -
        C:\Windows\System32\drivers\<word>.sys | signed | <Word> Corporation | -
        C:\Windows\System32\DriverStore\FileRepository\<word>.inf_amd64_<hex16>\<word>.sys | <signed;unknown> | - | C:\Windows\System32\drvinst.exe
        C:\Windows\System32\spool\drivers\x64\3\<word>.sys | unsigned | - | C:\Windows\System32\spoolsv.exe
        """,
        actor_user="SYSTEM",
    ),
)
SCRIPTS = (
    *table(
        "script block",
        "script_text",
        r"""
        Get-Service -Name <Spooler;BITS;W32Time> -ErrorAction SilentlyContinue
        Get-EventLog -LogName System -Newest <10..200>
        Test-NetConnection <peer> -Port <443;3389;5985>
        Get-ChildItem D:\Shares\<word> -Recurse -File | Measure-Object -Property Length -Sum
        Get-ADUser <other> -Properties LastLogonDate, PasswordLastSet
        Get-VM -ComputerName <peer> | Where-Object State -eq 'Running'
        Import-Module <ActiveDirectory;SqlServer;Az.Accounts;PSReadLine;GroupPolicy>
        function prompt { "PS $($executionContext.SessionState.Path.CurrentLocation)> " }
        $rows = Import-Csv D:\Jobs\<word>.csv; foreach ($row in $rows) { Write-Output $row.Name }
        Restart-Service -Name <word>svc -PassThru
        Set-ADUser -Identity <other> -Department '<Sales;Legal;Finance>'
        Get-WmiObject Win32_LogicalDisk -Filter 'DriveType=3' | Select-Object DeviceID, FreeSpace
        Backup-SqlDatabase -ServerInstance <peer> -Database <word> -BackupFile E:\Backup\<word>.trn
        """,
    ),
    *table(
        "script block",
        "script_path | script_text",
        r"""
        D:\Scripts\tidy.ps1 | param([int]$Days = <7..90>) Get-ChildItem D:\Logs | Where-Object LastWriteTime -lt (Get-Date).AddDays(-$Days) | Remove-Item
        C:\Windows\CCM\SystemTemp\<guid>.ps1 | Get-CimInstance Win32_OperatingSystem | Select-Object Caption, LastBootUpTime | ConvertTo-Json
        """,
    ),
    *table(
        "script pipeline",
        "script_text | host_application | engine_version",
        r"""
        CommandInvocation(Get-Process): "Get-Process" | C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | 5.1.<17763..26100>
        CommandInvocation(Out-Default): "Out-Default" | powershell.exe -NoLogo -File D:\Scripts\<word>.ps1 | 5.1.<17763..26100>
        CommandInvocation(Write-Host): "Write-Host" ParameterBinding(Write-Host): name="Object"; value="<word> done" | C:\Program Files\PowerShell\7\pwsh.exe | 7.4.<1..9>
        """,
    ),
    *table(
        "script engine_start",
        "host_application | engine_version | script_path",
        r"""
        C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe | 5.1.<17763..26100> | -
        powershell.exe -NoProfile -NonInteractive -File D:\Scripts\<word>.ps1 | 5.1.<17763..26100> | D:\Scripts\<word>.ps1
        C:\Program Files\PowerShell\7\pwsh.exe -WorkingDirectory D:\src | 7.4.<1..9> | -
        """,
    ),
)
QUERIES = (
    *table(
        "wmi query",
        "wmi_query",
        r"""
        SELECT <FreeSpace;Size;DeviceID> FROM Win32_LogicalDisk
        SELECT Name FROM Win32_Printer
        SELECT * FROM Win32_<Processor;OperatingSystem;ComputerSystem;Service;NetworkAdapterConfiguration>
        SELECT State FROM Win32_Service WHERE Name='<Spooler;MSSQLSERVER;W3SVC>'
        SELECT * FROM MSFT_PhysicalDisk WHERE HealthStatus <> 0
        """,
    ),
    *table(
        "wmi provider_load",
        "provider_path",
        r"%SystemRoot%\System32\wbem\<cimwin32;wmiprov;stdprov;ntevt;WmiPerfClass>.dll",
        actor_user="SYSTEM",
    ),
    *table(
        "wmi filter",
        "wmi_query",
        r"""
        SELECT * FROM __InstanceModificationEvent WITHIN <30..900> WHERE TargetInstance ISA 'Win32_<Processor;LogicalDisk;Battery;Service>'
        SELECT * FROM Win32_<PowerManagement;DeviceChange;VolumeChange>Event
        """,
        aside=True,
    ),
    *table(
        "wmi consumer",
        "wmi_consumer",
        r"""
        NTEventLogEventConsumer.Name="<word>"
        LogFileEventConsumer.Name="<word>" Filename=D:\Logs\<word>.log
        SMTPEventConsumer.Name="<word>" ToLine=it@corp.example
        """,
        aside=True,
    ),
    *table(
        "wmi consumer",
        "wmi_query | wmi_consumer",
        r'__EventFilter.Name="<word>" | NTEventLogEventConsumer.Name="<word>"',
        aside=True,
    ),
    *table(
        "wmi binding",
        "wmi_consumer | wmi_query",
        r"""
        NTEventLogEventConsumer.Name="<word>" | __EventFilter.Name="<word>"
        LogFileEventConsumer.Name="<word>" | __EventFilter.Name="<word2>"
        """,
        aside=True,
    ),
)
SERVICES = (
    *table(
        "service install",
        "service_name | service_cmd_line | start_type",
        r"""
        <word> | C:\Program Files\<Word>\<word>.exe | <auto start;demand start;delayed auto start>
        <Word> Update Service | "C:\Program Files (x86)\<Word>\Update\<word>.exe" /svc | auto start
        <word>drv | system32\DRIVERS\<word>.sys | <demand start;boot start;system start>
        """,
    ),
    *table(
        "service install",
        "service_name | service_cmd_line | start_type | run_as",
        r"""
        <Zabbix Agent 2;Elastic Agent;Veeam Agent;Tenable Agent> | "C:\Program Files\<Word>\agent.exe" --service | auto start | LocalSystem
        MSSQL$<Word> | "C:\Program Files\Microsoft SQL Server\MSSQL16.<Word>\MSSQL\Binn\sqlservr.exe" -s<Word> | auto start | NT Service\MSSQL$<Word>
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "service state",
        "service_name | status",
        r"""
        <wuauserv;Spooler;BITS;W32Time;WinHttpAutoProxySvc;TrustedInstaller;sppsvc> | <running;stopped>
        <Word> Update Service | <running;stopped>
        <nginx;postgresql;docker;sshd;chronyd>.service | <running;stopped>
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "service config",
        "service_name | start_type | service_cmd_line | run_as",
        r"""
        Background Intelligent Transfer Service | <auto start;demand start> | - | -
        Windows Modules Installer | <auto start;demand start> | - | -
        <word> | disabled | C:\Program Files\<Word>\<word>.exe | LocalService
        """,
    ),
    *table(
        "service fail",
        "service_name | status | service_cmd_line",
        r"""
        <word> | terminated unexpectedly | C:\Program Files\<Word>\<word>.exe
        Spooler | The service did not respond in time | -
        """,
        actor_user="SYSTEM",
    ),
)
JOBS = (
    *table(
        "task create",
        "job_name | job_cmd_line | run_as",
        r"""
        \<Word> | C:\Program Files\<Word>\<word>.exe <--check;/quiet;-daily> | <user>
        \Backup\<word> | C:\Windows\System32\robocopy.exe D:\Shares\<word> E:\Mirror\<word> /MIR | <user>
        \GoogleUpdateTaskMachineUA | "C:\Program Files (x86)\Google\Update\GoogleUpdate.exe" /ua /installsource scheduler | SYSTEM
        \Microsoft\Windows\Defrag\ScheduledDefrag | C:\Windows\System32\defrag.exe -c -h -o | SYSTEM
        """,
    ),
    *table(
        "task update",
        "job_name | job_cmd_line | run_as",
        r"""
        \Microsoft\Windows\UpdateOrchestrator\<Schedule Scan;Reboot;USO_UxBroker> | C:\Windows\System32\UsoClient.exe StartScan | SYSTEM
        \Slack Update <user> | C:\Users\<user>\AppData\Local\slack\Update.exe --checkForUpdate | <user>
        \<Word> | C:\Program Files\<Word>\<word>.exe | <user>
        """,
    ),
    *table(
        "task run",
        "job_name | job_cmd_line | run_as",
        r"""
        \<Word> | C:\Program Files\<Word>\<word>.exe | SYSTEM
        \Microsoft\Windows\<Defrag\ScheduledDefrag;DiskCleanup\SilentCleanup;Time Synchronization\SynchronizeTime> | C:\Windows\System32\<defrag;cleanmgr;sc>.exe | -
        cron: /srv/jobs/<word>.sh | /bin/sh /srv/jobs/<word>.sh | root
        """,
        actor_user="SYSTEM",
    ),
    *table(
        "task delete",
        "job_name | job_cmd_line | run_as",
        r"""
        \<Word> | C:\Program Files\<Word>\<word>.exe | <user>
        \Maintenance\<word> | C:\Windows\System32\<defrag;cleanmgr>.exe | SYSTEM
        """,
    ),
    *table(
        "task delete",
        "job_name | run_as",
        r"""
        \<Word> | <user>
        \OneDrive Reporting Task-<sid> | SYSTEM
        """,
    ),
)
ROWS = (*LAUNCHES, *ENDS, *ACCESSES, *THREADS, *MODULES, *SCRIPTS, *QUERIES, *SERVICES, *JOBS)
