"""Classify command lines and registry changes. `lines_by_meaning` maps a meaning such as `lsass-dumped` to the lines that have it.

A command line is looked up by its program's name (also the one that its version resource gives, so that renaming does
not help) and, where a shell or a script runs it, by the names that stand in its text. `settings` gives registry values set
by a sensor's word, by `reg add` or by PowerShell alike. Both are views of a window: computed once, read by many rules, which
ask for them by `commands_that`, `launches_of`, `launches_by` and `SETTINGS`. `command_rule` makes a rule of one meaning.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from schema import ProcessFields, RegistryFields, ScriptFields, ServiceFields, TaskFields
from verifier.window import (
    COMMAND_SHELLS,
    POWERSHELLS,
    UNIX_SHELLS,
    Finding,
    Line,
    Rule,
    Selection,
    Window,
    basename,
    findings_by_host_and_user,
    kinds,
    one_program,
    rule,
)

POWERSHELL = "powershell.exe"
# The kinds of lines that hold commands.
LAUNCHES = frozenset(kinds(ProcessFields, "launch"))
COMMAND_KINDS = frozenset(
    (
        *kinds(ProcessFields, "launch"),
        *kinds(ScriptFields),
        *kinds(ServiceFields, "install", "config"),
        *kinds(TaskFields, "create", "update", "run"),
    )
)
# Programs whose arguments are commands of other programs.
_STARTERS = frozenset(
    (
        *COMMAND_SHELLS,
        *UNIX_SHELLS,
        "powershell_ise.exe",
        "wmic.exe",
        "forfiles.exe",
        "dash",
        "zsh",
        "sudo",
        "mshta.exe",
        "winrs.exe",
        "psexec.exe",
        "psexec64.exe",
        "paexec.exe",
        "pcalua.exe",
        "conhost.exe",
        "wsl.exe",
        "bash.exe",
        "hh.exe",
    )
)

# An address outside the private networks (RFC 1918), or a program or script by its ending.
_FROM_OUTSIDE = r"https?://(?!10\.|127\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.)\d{1,3}(?:\.\d{1,3}){3}\b|https?://\S{1,300}\.(?:exe|dll|ps1|hta|bat|vbs|scr)\b"
# Meaning -> program -> pattern of its arguments. Bounded repeats only: a line has up to 2048 characters.
_ANY = "*"  # whatever the program
_PATTERNS: dict[str, dict[str, str]] = {
    "lsass-dumped": {
        "rundll32.exe": r"comsvcs(?:\.dll)?\W{0,4}(?:minidump|#\+?0*24)|minidumpw?\s+\d",
        "procdump.exe": r"\blsass\b",
        "procdump64.exe": r"\blsass\b",
        "sqldumper.exe": r"\b\d+\s+\d+\s+0x0*1?1[01]0\b",
        "rdrleakdiag.exe": r"/fullmemdmp",
        "tttracer.exe": r"lsass|-dumpfull",
        _ANY: r"\b(?:sekurlsa|privilege|kerberos|token|vault|dpapi)::\w|minidumpwritedump|comsvcs\.dll,?\s*\W?(?:minidump|#\+?0*24)|out-minidump"
        r"|\blsass(?:\.exe)?\b.{0,100}\.dmp\b",
    },
    "hive-saved": {
        "reg.exe": r"\b(?:save|export)\s+\"?(?:\\\\[^\s\\]{1,64}\\)?hk(?:lm|ey_local_machine)\\(?:sam|security|system)\b(?!\\)",
        _ANY: r"lsadump::(?:sam|secrets|cache)",
    },
    "directory-copied": {
        "ntdsutil.exe": r"\bifm\b|cr\w*\s+fu|\bac\w*\s+i\w*\s+ntds\b.{0,40}\bi\w{0,2}\b",
        "esentutl.exe": r"ntds\.dit|[-/]vss\b",
        "wbadmin.exe": r"ntds\.dit|\\windows\\ntds\b",
        _ANY: r"harddiskvolumeshadowcopy\d{1,4}\\.{0,80}(?:ntds\.dit|config\\(?:sam|system|security))|lsadump::dcsync"
        r"|\b(?:x?copy|robocopy|copy-item|move)\b.{0,160}\\ntds\.dit",
    },
    "shadow-made": {
        "vssadmin.exe": r"\bcreate\s+shadow",
        "diskshadow.exe": r"[-/]s\b",
        "wmic.exe": r"shadowcopy\s+call\s+create",
        "ntdsutil.exe": r"\bsnapshot\b",
        POWERSHELL: r"win32_shadowcopy\S{0,20}\.create\(",
    },
    "logs-wiped": {
        "wevtutil.exe": r"\b(?:cl|clear-log)\b",
        "fsutil.exe": r"usn\s+deletejournal",
        "wmic.exe": r"\bnteventlog\b.{0,120}\bcleareventlog\b",
        POWERSHELL: r"\b(?:clear|remove)-eventlog\b|\.clearlog\(|\bremove-item\b.{0,120}\.evtx\b",
        _ANY: r"(?:>|\b(?:rm|shred|truncate)\b.{0,60}|/dev/null)\s{0,4}/var/log/(?:auth|secure|wtmp|btmp|lastlog|syslog|audit|messages|\*)|\bhistory\s+-c\b"
        r"|\bdel\b.{0,120}\.evtx\b",
    },
    "logging-weakened": {
        "auditpol.exe": r"/clear|/remove|/set\b.{0,300}:disable|/restore",
        "wevtutil.exe": r"\b(?:sl|set-log)\b.{0,200}/(?:e(?:nabled)?:false|(?:ms|maxsize):\d{1,6}\b)",
        POWERSHELL: r"\s[-/]v(?:er(?:sion)?)?\s+2(?:\.0)?\b|\b(?:stop|remove)-service\b.{0,60}\beventlog\b|historysavestyle\s+savenothing|remove-etwtraceprovider",
        "auditctl": r"-e\s*0\b|\s-D\b",
        "systemctl": r"\b(?:stop|disable|mask)\b.{0,40}\b(?:auditd|r?syslog)",
        "setenforce": r"\b0\b",
        "sc.exe": r"(?:stop|delete|config)\s+\"?eventlog\b",
        "net.exe": r"\bstop\s+\"?eventlog\b",
        "logman.exe": r"\b(?:stop|delete)\b.{0,100}(?:eventlog|sysmon|security)",
    },
    "log-access-changed": {"wevtutil.exe": r"\b(?:sl|set-log)\b.{0,200}/c(?:hannelaccess|a):"},
    "defence-command": {
        POWERSHELL: r"set-mppreference\b.{0,200}(?:-disable\w+\s+(?:\$true|1|true)\b|\s['\"]?disabled?\b|-exclusion)|add-mppreference\b.{0,200}-exclusion"
        r"|amsiutils|amsiinitfailed|amsiscanbuffer|\b(?:stop-service|set-service)\b.{0,80}\b(?:windefend|sense|wdnissvc|mpssvc|sysmon\w{0,4})\b"
        r"|\b(?:uninstall-windowsfeature|remove-windowsfeature|disable-windowsoptionalfeature)\b.{0,120}windows-?defender",
        "dism.exe": r"/disable-feature\b.{0,120}windows-defender",
        "wmic.exe": r"windows\\defender\b.{0,120}\bcall\b|\bproduct\b.{0,160}(?:anti-?virus|endpoint|security|defender).{0,80}\buninstall\b",
        "taskkill.exe": r"\b(?:msmpeng|mssense|sysmon\w{0,4})(?:\.exe)?\b",
        "sysmon.exe": r"\s-u\b",
        "sysmon64.exe": r"\s-u\b",
        "sc.exe": r"(?:stop|delete|config)\s+\"?(?:windefend|sense|wdnissvc|mpssvc|wscsvc|sysmon\w{0,4})\b",
        "net.exe": r"\bstop\s+\"?(?:windefend|mpssvc|sysmon\w{0,4}|sense)\b",
        "fltmc.exe": r"\bunload\b",
        "mpcmdrun.exe": r"-removedefinitions|-restore\b",
        "bcdedit.exe": r"safeboot|nointegritychecks|testsigning\s+on",
    },
    "firewall-opened": {
        "netsh.exe": r"firewall\s.{0,200}(?:state\s+off|opmode\s+(?:mode\s*=\s*)?disable|action\s*=\s*\"?allow|add\s+(?:allowedprogram|portopening)|mode?\s*=\s*enable)"
        r"|portproxy\s+add|\bportproxy\b.{0,40}\badd\b",
        "iptables": r"\s(?:-F|--flush)\b",
        "ufw": r"\bdisable\b",
        POWERSHELL: r"set-netfirewallprofile\b.{0,200}-enabled\s+(?:\$?false|0)|new-netfirewallrule\b.{0,300}-action\s+allow",
    },
    "service-changed": {
        "sc.exe": r"\bconfig\b.{0,200}binpath\s*=|\bfailure\b.{0,300}command\s*=|\bsdset\b|\\\\[^\s\\]{1,64}\s+(?:create|config|start)\b"
        r"|\bcreate\b.{0,200}binpath\s*=.{0,60}(?:%comspec%|\bcmd(?:\.exe)?\b|powershell|mshta|rundll32|\\users\\|\\temp\\|\\programdata\\)",
        POWERSHELL: r"set-service\b.{0,100}-binarypathname|new-service\b.{0,200}-binarypathname",
    },
    "account-command": {
        "net.exe": r"\b(?:user|group|localgroup)\s.{1,200}/add\b|\buser\s.{1,100}/active:yes",
        POWERSHELL: r"\b(?:(?:new|enable)-localuser|new-ad(?:user|computer)|add-localgroupmember|add-adgroupmember|add-adprincipalgroupmembership)\b|\.create\(\s*['\"]user['\"]",
        "dsadd.exe": r"\buser\b",
        "dsmod.exe": r"\bgroup\b.{0,200}-addmbr",
        "usermod": r"\s-\w*G\b.{0,40}\b(?:sudo|wheel|root|adm|docker)\b|\s-o?u\s*0\b",
        "useradd": r".",
        "adduser": r".",
    },
    "admin-discovery": {
        "net.exe": r"\bgroup\b.{0,60}\b(?:domain|enterprise|schema) admins|\buser\s+\"?administrator\b|\blocalgroup\s+\"?administrators?\"?(?!.{0,200}/(?:add|del))"
        r"|\b(?:user|group|view|accounts)\b.{0,60}/do(?:main)?\b(?!.{0,100}/(?:add|del))",
        "setspn.exe": r"[-/]q\s+\S{0,30}\*|[-/]t\s+\S{1,60}\s+[-/]q",
        "nltest.exe": r"/(?:dclist|domain_trusts|trusted_domains|all_trusts)",
        "dsquery.exe": r".",
        "adfind.exe": r".",
        "csvde.exe": r"\s-f\b",
        "ldifde.exe": r"\s-f\b(?!.{0,200}\s-i\b)",
        "whoami.exe": r"/(?:all|priv)\b",
        "wmic.exe": r"\bantivirusproduct\b|\bntdomain\b.{0,60}\b(?:get|list)\b|\b(?:useraccount|group)\b.{0,60}\b(?:get|list)\b",
        POWERSHELL: r"\bget-(?:localgroupmember|adgroupmember|domaingroupmember|netgroupmember)\b.{0,120}admin|\b(?:find-localadminaccess|invoke-userhunter|get-netuser"
        r"|get-domainuser|get-domaincontroller|get-netdomain|invoke-sharefinder|get-domaingroup|get-netsession|get-(?:net|domain)(?:computer|localgroup|loggedon|share|gpo|ou|trust|forest\w{0,8}|object\w{0,5}|policy)"
        r"|find-(?:domainshare|interesting\w{3,12})|invoke-(?:bloodhound|mapdomaintrust|aclscanner)|get-addefaultdomainpasswordpolicy|get-adtrust)\b|\[adsisearcher\]|directoryservices\.directorysearcher"
        r"|\bantivirusproduct\b|get-ad(?:user|computer)\b.{0,40}-filter\s+\W?\*",
    },
    "share-mounted": {
        "net.exe": r"\buse\b.{0,120}\\\\[^\s\\]{1,100}\\(?:[a-z]|admin|ipc)\$",
        "cmd.exe": r"\b(?:copy|xcopy|move|pushd)\b.{0,200}\\\\[^\s\\]{1,100}\\(?:[a-z]|admin)\$",
        "xcopy.exe": r"\\\\[^\s\\]{1,100}\\(?:[a-z]|admin)\$",
        POWERSHELL: r"\b(?:new-psdrive|new-smbmapping|copy-item)\b.{0,200}\\\\[^\s\\]{1,100}\\(?:[a-z]|admin|ipc)\$",
    },
    "task-command": {
        "schtasks.exe": r"/create\b.{0,600}(?:\s/s\s|/ru\s+\"?(?:nt authority\\)?system\b|/tr\s.{0,80}(?:powershell|cmd(?:\.exe)?\b|mshta|wscript|cscript|rundll32|regsvr32)|/xml\b)"
        r"|/change\b.{0,300}/tr\b",
        POWERSHELL: r"new-scheduledtaskaction\b.{0,80}-execute\W{1,3}(?:[^\s\"']{0,120}\\)?(?:powershell|pwsh|cmd|mshta|wscript|cscript|rundll32|regsvr32)\b",
        "at.exe": r"\d{1,2}:\d\d",
    },
    "download-by-proxy": {
        "desktopimgdownldr.exe": r"/lockscreenurl:\s*\S*https?:",
        "msiexec.exe": r"https?://",
        "hh.exe": r"https?://",
        "mpcmdrun.exe": r"-downloadfile",
        "certoc.exe": r"https?://",
        "presentationhost.exe": r"https?://",
        "ieexec.exe": r"https?://",
        "installutil.exe": r"https?://",
        "control.exe": r"\\\\[^\s\\]{1,100}\\.{0,200}\.cpl",
        "msedge.exe": r"https?://\S{1,300}\.(?:exe|dll|ps1|zip|7z|hta|msi|iso)\b|--headless.{0,200}https?://",
        "chrome.exe": r"https?://\S{1,300}\.(?:exe|dll|ps1|zip|7z|hta|msi|iso)\b|--headless.{0,200}https?://",
        "curl.exe": _FROM_OUTSIDE,
        "wget.exe": _FROM_OUTSIDE,
        "certreq.exe": r"-post\b.{0,200}https?://",
        "finger.exe": r"\S@\S",
        "imewdbld.exe": r"https?://",
        "xwizard.exe": r"https?://",
        "configsecuritypolicy.exe": r"https?://",
        "datasvcutil.exe": r"/uri:\s*https?://",
        "vstoinstaller.exe": r"https?://",
        "update.exe": r"--(?:download|update\w{0,9})[=\s]+\"?https?://(?!.{0,200}--processstart)",
        "tftp.exe": r"\bget\b",
        "ftp.exe": r"-s:",
        "curl": r"https?://\S{1,300}.{0,100}\|\s*(?:ba|z)?sh\b",
        "wget": r"https?://\S{1,300}.{0,100}\|\s*(?:ba|z)?sh\b",
    },
    # Programs of Windows that start what they are told to (LOLBAS).
    "launched-by-proxy": {
        "rundll32.exe": r"\b(?:ieframe|shdocvw)(?:\.dll)?\W{1,3}openurl|\burl(?:\.dll)?\W{1,3}(?:openurl|fileprotocolhandler)\s+(?!\W?https?:)|zipfldr(?:\.dll)?\W{1,3}routethecall"
        r"|pcwutl(?:\.dll)?\W{1,3}launchapplication|advpack(?:\.dll)?\W{1,3}(?:launchinfsection|registerocx)|setupapi(?:\.dll)?\W{1,3}installhinfsection.{0,200}\\(?:users|temp|programdata)\\"
        r"|syssetup(?:\.dll)?\W{1,3}setupinfobject|shell32(?:\.dll)?\W{1,3}shellexec_rundll\W{1,3}\S|dfshim(?:\.dll)?\W{1,3}shopenverb|mshtml(?:\.dll)?\W{1,3}(?:runhtmlapplication|printhtml)"
        r"|davclnt(?:\.dll)?\W{1,3}davsetcookie\s+\S{1,80}\s+https?://\d|desk\.cpl\W{1,3}installscreensaver|keymgr(?:\.dll)?\W{1,3}krshowkeymgr",
        "regsvr32.exe": r"[-/]i:(?!\s*\"?https?:)\s*\S{1,200}\.sct\b|[\s\\](?!https?:)[\w.-]{1,80}\.(?:txt|jpe?g|png|gif|xml)\b",
        "wmic.exe": r"/format:\s*[\"']?(?!https?:|list|csv|table|value|htable|hform|mof|rawxml|xml|texttable|textvalue|wmiclitable)[\w.:\\/-]",
        "forfiles.exe": r"/p\s+\"?c:\\windows\b.{0,200}/c\b",
        "pcalua.exe": r"\s-a\s",
        "scriptrunner.exe": r"-appvscript",
        "syncappvpublishingserver.exe": r";",
        "cscript.exe": r"(?:pubprn|winrm|syncappvpublishingserver|manage-bde)\.(?:vbs|wsf)\b.{0,200}(?:script:|create|;)",
        "wscript.exe": r"(?:pubprn|winrm|syncappvpublishingserver|manage-bde)\.(?:vbs|wsf)\b.{0,200}(?:script:|create|;)",
        "msxsl.exe": r"\S\s+\S",
        "odbcconf.exe": r"\bregsvr\b|[-/]f\s",
        "verclsid.exe": r"/c\s*\{",
        "xwizard.exe": r"runwizard",
        "conhost.exe": r"--headless\s+\S",
        "explorer.exe": r"/root,\s*\"?[a-z]:\\.{0,200}\.(?:exe|bat|cmd|hta|js|vbs)\b",
        "rasautou.exe": r"\s-d\s",
        "register-cimprovider.exe": r"-path\s",
        "ssh.exe": r"proxycommand\s*=",
        "dnscmd.exe": r"/serverlevelplugindll\s+\S",
        "mofcomp.exe": r"\\(?:users|temp|programdata)\\",
    },
    "remote-execution": {
        "winrs.exe": r"[-/]r(?:emote)?:",
        "psexec.exe": r"\\\\[\w.*@-]",
        "psexec64.exe": r"\\\\[\w.*@-]",
        "paexec.exe": r"\\\\[\w.*@-]",
        "wmic.exe": r"/node:.{1,200}\bcall\b",
        POWERSHELL: r"\binvoke-(?:wmimethod|cimmethod)\b.{0,300}\bcreate\b|\[wmiclass\].{0,120}win32_process|win32_process\b.{0,80}\.create\(|gettypefrom(?:progid|clsid)\([^)]{1,80},"
        r"|\binvoke-command\b.{0,200}-(?:computername|cn|session)\b|\b(?:enter|new)-pssession\b.{0,120}-(?:computername|cn)\b|\benter-pssession\s+\w",
    },
    "data-collected": {
        POWERSHELL: r"copyfromscreen|\bget-clipboard\b|forms\.clipboard\]::get|get-microphoneaudio|mcisendstring|get-timedscreenshot",
        "psr.exe": r"/start",
        "soundrecorder.exe": r"/file",
        "rar.exe": r"\ba\b.{0,300}\s-hp?\S",
        "winrar.exe": r"\ba\b.{0,300}\s-hp?\S",
        "7z.exe": r"\ba\b.{0,300}\s-p\S",
        "7za.exe": r"\ba\b.{0,300}\s-p\S",
    },
    "traffic-forwarded": {
        "ssh.exe": r"\s-\w{0,6}[RD]\s*[\d*:]",
        "ssh": r"\s-\w{0,6}[RD]\s*[\d*:]",
        "plink.exe": r"\s-\w{0,6}[RD]\s*[\d*:]",
    },
    "rights-opened": {
        "icacls.exe": r"/grant\S{0,3}\s+\W?(?:everyone|\*s-1-1-0|users|\*s-1-5-32-545):\(?[\w)(,]{0,20}f\b|/setowner\b",
        "takeown.exe": r"/f\s+\"?[a-z]:\\windows\b",
        "chmod": r"\s(?:[ug+]{1,3}\+?s|[2467][0-7]{3})\s",
        "setcap": r"cap_(?:setuid|sys_admin|dac_override)",
    },
    "start-file-written": {
        _ANY: r">>?\s*\S{0,80}(?:/etc/(?:crontab|cron\.|ld\.so\.preload|sudoers|profile|rc\.local)|/\.(?:bashrc|bash_profile|profile|zshrc)\b|authorized_keys\b)"
        r"|\|\s*crontab\s+-",
    },
    "file-hidden": {"attrib.exe": r"\+[hs]\b"},
    "injection-command": {"mavinject.exe": r"/injectrunning", "mavinject64.exe": r"/injectrunning"},
    "capture-started": {
        "pktmon.exe": r"\b(?:start|filter)\b",
        "netsh.exe": r"\btrace\s+start\b",
        "tcpdump": r"-[iw]",
        "tshark.exe": r"-[iw]",
    },
    "stored-credentials": {
        "cmdkey.exe": r"/list",
        "vaultcmd.exe": r"/list",
        "netsh.exe": r"wlan\b.{0,100}key\s*=\s*clear",
        POWERSHELL: r"promptforcredential|passwordvault\b|get-(?:vaultcredential|webcredentials?|gpppassword)|unattend\.xml",
        "findstr.exe": r"\b(?:password|cpassword)\b",
        "reg.exe": r"\bquery\b.{0,200}(?:/f\s+\"?password|simontatham\\putty\\sessions|realvnc|orl\\winvnc|defaultpassword)",
        "appcmd.exe": r"\blist\b.{0,80}/(?:text|config)",
        "certutil.exe": r"-exportpfx\b",
        _ANY: r"\b(?:cat|less|cp|scp|tail|head|unshadow)\b.{0,60}/etc/shadow\b|\bgrep\b.{0,40}\bpassw|\bfind\b.{0,120}\bid_[re]\w{1,6}|\bcat\b.{0,80}/\.(?:aws/credentials|bash_history)",
    },
    "elevated-extract": {"wusa.exe": r"/extract:"},
    "service-stopped": {
        "net.exe": r"\bstop\s+\S",
        "sc.exe": r"\bstop\s+\S",
        "taskkill.exe": r"/f\b.{0,100}/im\b|/im\b.{0,100}/f\b",
        POWERSHELL: r"\bstop-service\b",
    },
    "pipe-echoed": {_ANY: r"\becho\b.{0,60}>\s*\\\\\.\\pipe\\"},
    "output-to-share": {_ANY: r">\s*\\\\(?:127\.0\.0\.1|localhost|[^\s\\]{1,64})\\(?:admin|[a-z])\$\\"},
    "script-obfuscated": {
        POWERSHELL: r"\$(?:env:comspec|pshome|shellid|verbosepreference)\S{0,20}\[\s*\d|\[char\[?\]?\]\]?\s*\(?\s*\(?\s*\d{2,3}|-join\s*\(\s*'[^']{40}|-bxor"
        r"|(?:\{\d{1,2}\}){3}.{0,400}-f\b|\[string\]::join\s*\(\s*''|frombase64string.{0,200}(?:gzipstream|deflatestream)",
    },
    "script-offensive": {
        POWERSHELL: r"virtualalloc|createremotethread|writeprocessmemory|getdelegateforfunctionpointer|definefield\(\s*'e_magic|image_nt_headers|invoke-mimikatz|sekurlsa"
        r"|lsadump|\[(?:system\.)?reflection\.assembly\]::load\(|definedynamicassembly|getprocaddress|get-keystrokes|getasynckeystate|invoke-shellcode|invoke-reflectivepe|kerberosrequestorsecuritytoken|invoke-kerberoast"
        r"|namedpipeserverstream",
    },
    "shell-over-network": {
        _ANY: r"/dev/(?:tcp|udp)/|\bn(?:c|cat)(?:\.exe|\.traditional|\.openbsd)?\s.{0,200}(?:-\w{0,4}[ec]\s*|--(?:sh-)?exec[\s=]|\|\s*)\S{0,40}(?:sh|cmd|powershell)"
        r"|\b(?:perl|python[\d.]{0,4}|ruby|php|lua|node)\b.{0,20}-[erc]\b.{0,120}(?:socket|fsockopen)|sockets\.tcpclient\b.{0,400}(?:getstream|\biex\b|invoke-expression)"
        r"|\bmkfifo\b.{0,120}\b(?:nc|ncat|telnet|openssl)\b|\bsocat\b.{0,160}\b(?:exec|system):|\btelnet\s[^|]{1,120}\|\s*\w{0,4}sh\b|/inet/tcp/"
    },
    # What intruders do on Linux.
    "library-preloaded": {
        _ANY: r"\bld_(?:preload|audit)=[\"']?/(?:tmp|var/tmp|dev/shm)/|(?:>>?|\btee\b(?:\s+-a)?|\b(?:cp|mv|install)\b.{0,120})\s*[\"']?/etc/ld\.so\.preload\b"
    },
    "sudoers-changed": {
        _ANY: r"(?:>>?|\btee\b(?:\s+-a)?|\b(?:cp|mv|install)\b\s.{0,120}|\bsed\b.{0,160}\s-i.{0,160})\s*[\"']?/etc/sudoers\b"
    },
    "module-inserted": {"insmod": r"\s(?!(?:/usr)?/lib/modules/|-)\S", "modprobe": r"\s(?:-d|--dirname)[\s=]"},
    "setuid-shell": {
        "chmod": r"\s(?:[ugo]{0,3}\+[rwx]{0,3}s[rwx]{0,3}|0?[4-7][0-7]{3})\s+(?:\S{1,80}/(?:ba|da|z|k|a)?sh(?=[\s'\";]|$)|/(?:tmp|var/tmp|dev/shm)/\S)",
        "install": r"\s-m\s*[ugo+,=rwx0]{0,8}(?:s|[4-7][0-7]{3})\b.{0,80}(?:/(?:ba|da|z|k)?sh\b|\s/(?:tmp|var/tmp|dev/shm)/)",
    },
    "history-off": {
        _ANY: r"\bunset\s+histfile\b|\bhistfile=(?:/dev/null\b|[\"']{2}|\s|;|$)|\bhist(?:file)?size=0\b|\bset\s+\+o\s+history\b|\bln\b.{0,40}/dev/null\s.{0,80}_history\b"
        r"|\b(?:rm|shred|truncate)\b.{0,80}\.(?:ba|z|a)?sh_history\b|(?<!>)>\s*\S{0,60}\.(?:ba|z|a)?sh_history\b"
    },
    "container-left": {
        "nsenter": r"\s(?:-t|--target)[\s=]*1\b",
        **dict.fromkeys(
            ("docker", "podman", "nerdctl"),
            r"\b(?:run|create)\b.{0,300}\s(?:-v|--volume)[\s=]*[\"']?/:(?!\S{0,80}:ro\b)|\b(?:run|create)\b.{0,300}--pid[\s=]host\b.{0,300}\b(?:nsenter|chroot)\b",
        ),
        _ANY: r">\s*\S{0,80}/release_agent\b",
    },
    "process-memory-copied": {
        "gcore": r"\s\d",
        "gdb": r"\s(?:-p|--pid|-pid)[\s=]*\d.{0,160}\b(?:gcore|generate-core-file|dump\s+(?:binary\s+)?memory)\b",
        _ANY: r"\b(?:dd|cat|cp|strings|xxd|grep)\b.{0,80}/proc/(?:\d{1,7}|\$\{?\w{1,20}\}?)/mem\b",
    },
    "unit-written": {
        _ANY: r"(?:>>?|\btee\b(?:\s+-a)?)\s*[\"']?\S{0,60}/systemd/(?:system|user)/\S{1,80}\.(?:service|timer)\b",
        "systemctl": r"\b(?:enable|link)\b.{0,60}\s/(?:tmp|var/tmp|dev/shm|home)/",
    },
    "tunnel-started": {
        "ngrok.exe": r"\b(?:tcp|http|tls|start)\b",
        "ngrok": r"\b(?:tcp|http|tls|start)\b",
        "cloudflared.exe": r"\btunnel\b",
        "cloudflared": r"\btunnel\b",
        "devtunnel.exe": r"\b(?:host|port)\b",
        "code.exe": r"\btunnel\b",
        "tailscale.exe": r"\bup\b.{0,200}--auth-?key",
        _ANY: r"\bchisel(?:\.exe)?\W{1,3}(?:client|server)\b|\b(?:client|server)\s.{0,200}\bR:(?:\S{1,100}:)?\S{0,100}\bsocks\b|\bfrpc(?:\.exe)?\W{1,3}-c\b|\s-connect\s+\S{1,100}:\d{2,5}\s.{0,60}-ignore-cert"
        r"|\bligolo\b|\bgost(?:\.exe)?\W{1,3}-L\b|\btunnel\s+--url\s|\btunnel\s.{0,60}\brun\s+--token",
    },
    "remote-tool-installed": {
        "anydesk.exe": r"--(?:silent|set-password)|--install\b",
        "rustdesk.exe": r"--(?:silent-install|password)",
        "meshagent.exe": r"-fullinstall|-install\b",
        "meshagent64.exe": r"-fullinstall|-install\b",
        "msiexec.exe": r"(?=.{0,400}/q)(?:.{0,400}\b(?:screenconnect|connectwisecontrol|teamviewer|atera|splashtop|anydesk|simplehelp|rustdesk)|.{0,400}integratorlogin=)",
        _ANY: r"\b(?:teamviewer|screenconnect|splashtop|atera|simplehelp|anydesk)[\w.-]{0,40}\.exe\W{0,3}\s.{0,80}(?:/S\b|/q[nb]?\b|--silent|/verysilent)|\|\s*\S{0,80}anydesk(?:\.exe)?\W{1,3}--set-password",
    },
    "copied-to-storage": {
        "megacmd.exe": r".",
        "mega-put": r".",
        "azcopy.exe": r"\bc(?:o)?py?\s+\"?(?:[a-z]:|\\\\|/).{0,300}https://",
        "curl.exe": r"(?:\s-T\s|--upload-file\b|\s-F\s+\S{1,80}=@|--data-binary\s+@).{0,400}(?:https?|s?ftp)://|(?:https?|s?ftp)://.{0,300}(?:\s-T\s|--upload-file\b|\s-F\s+\S{1,80}=@|--data-binary\s+@)",
        POWERSHELL: r"\binvoke-(?:restmethod|webrequest)\b.{0,400}-infile\b|\.upload(?:file|data)\(",
        _ANY: r"\brclone(?:\.exe)?\W{1,3}(?:copy|sync|move|copyto)\b|\b(?:copy|sync|move)\s+\S{1,200}\s+\w{2,40}:\S{0,200}\s.{0,300}--(?:transfers|multi-thread-streams|no-check-certificate|config|ignore-existing)\b",
    },
    "coin-miner": {
        _ANY: r"stratum\+(?:tcp|ssl|tls)://|--donate-level|--cpu-max-threads-hint|--randomx\b|--coin[= ]\w|--algo[= ]\W?(?:rx|cn)/"
    },
    "data-wiped": {
        "sdelete.exe": r"\s[-/](?:p|s|z|r)\b",
        "sdelete64.exe": r"\s[-/](?:p|s|z|r)\b",
        "format.com": r"\b[a-z]:.{0,60}/(?:y|q|p)",
        "cmd.exe": r"\b(?:del|erase|rd|rmdir)\b(?=.{0,60}/s\b).{0,80}\s\"?[a-z]:\\(?:users\\?)?(?:\*(?:\.\*)?)?\"?(?:\s|$)|\bformat\s+[a-z]:.{0,40}/(?:y|q)\b",
        POWERSHELL: r"\bremove-item\b(?=.{0,200}-rec)(?:.{0,100}\s|\s)[\"']?[a-z]:\\(?:users\\?)?(?:\*)?[\"']?(?:\s|$)|\bclear-disk\b.{0,100}-removedata|\bformat-volume\b",
        "dd": r"\bif=/dev/(?:zero|u?random)\b.{0,80}\bof=/dev/(?:sd|nvme|vd|xvd|mapper)",
        "shred": r"/dev/(?:sd|nvme|vd|xvd)",
        "mkfs": r"/dev/",
        "rm": r"\s-\w{0,6}r\w{0,6}(?:\s+\S{1,60}){0,4}?\s+(?:/|/\*|/home/?\*?)(?:\s|$)",
    },
    "mail-collected": {
        POWERSHELL: r"\bnew-mailboxexportrequest\b|\bsearch-mailbox\b.{0,200}-targetmailbox|outlook\.application.{0,400}(?:getdefaultfolder|getnamespace)|getnamespace\(\s*.mapi",
        _ANY: r"\b(?:x?copy|robocopy|copy-item|move|compress-archive|7z\w?|rar)\b.{0,200}\.(?:pst|ost)\b",
    },
    "subscription-command": {
        POWERSHELL: r"(?:set-wmiinstance|new-ciminstance|\bcreateinstance\(|\.put\()(?=.{0,600}(?:__eventfilter|__filtertoconsumerbinding|(?:commandline|activescript)eventconsumer))"
        r"|(?:__eventfilter|__filtertoconsumerbinding|(?:commandline|activescript)eventconsumer).{0,600}(?:set-wmiinstance|new-ciminstance|createinstance\(|\.put\()",
        "wmic.exe": r"\b(?:__eventfilter|__filtertoconsumerbinding|(?:commandline|activescript)eventconsumer)\b.{0,100}\bcreate\b",
    },
    "transfer-runs-command": {"bitsadmin.exe": r"/setnotifycmdline\s"},
    "component-installed": {
        "netsh.exe": r"\badd\s+helper\s+\S",
        "sdbinst.exe": r"\.sdb\b",
        "appcmd.exe": r"\b(?:install|add)\s+module\b",
        "rundll32.exe": r"printuientry\W{1,3}.{0,40}/i[ap]\b",
        POWERSHELL: r"\bnew-webglobalmodule\b",
    },
    "certificate-for-another": {
        "certreq.exe": r"-attrib\b.{0,200}\bsan:",
        "certutil.exe": r"-setreg\b.{0,100}editf_attributesubjectaltname2",
        _ANY: r"\brequest\b.{0,300}/(?:altname|onbehalfof|upn):|\breq\b.{0,300}\s-upn\s|\bforge\b.{0,200}-ca-pfx|--cacertpath\b",
    },
    "share-opened": {
        "net.exe": r"\bshare\s+\S{1,80}=(?:.{1,200}/grant:\"?everyone|\"?[a-z]:\\?\"?(?:\s|$))",
        POWERSHELL: r"\bnew-smbshare\b.{0,300}-fullaccess\s+\W?everyone",
    },
    "saved-credentials-used": {"runas.exe": r"/(?:savecred|netonly)\b"},
    "credential-store-copied": {
        _ANY: r"\\user data\\.{0,80}\b(?:login data|cookies|web data|local state)\b|\buser data\\local state\b|\b(?:key4\.db|logins\.json)\b|\b(?:x?copy|robocopy|copy-item|compress-archive|7z\w?|rar|scp)\b.{0,200}\.kdbx\b"
    },
    "domain-secret-read": {_ANY: r"lsadump::backupkeys|\bbackupkey\b.{0,100}/(?:nowrap|server|file)|\bbckupkey_"},
    "file-time-changed": {
        POWERSHELL: r"\.(?:creation|lastwrite|lastaccess)time(?:utc)?\s*=|\[(?:system\.)?io\.file\]::set(?:creation|lastwrite|lastaccess)time",
        "touch": r"\s-\w{0,4}[tdr]\b|--(?:date|reference)",
    },
    "program-in-stream": {
        _ANY: r"(?:>|\b(?:type|copy-item|set-content|add-content|expand|esentutl|findstr)\b.{0,200})\s*\"?[a-z]?:?[^\s:\"]{1,200}\.\w{1,5}:[\w.-]{1,60}\.(?:exe|dll|ps1|vbs|js|hta|bat|cmd|scr)\b|-stream\s+\S{1,60}\.(?:exe|dll|ps1|vbs|js|hta|bat|cmd)\b"
    },
    "accessibility-replaced": {
        _ANY: r"\b(?:x?copy|move|ren|rename|copy-item|move-item|replace|robocopy|mklink)\b.{0,200}\b(?:sethc|utilman|osk|magnify|narrator|displayswitch|atbroker)\.exe\b"
    },
    "session-taken": {
        "tscon.exe": r"/dest\b|/dest:",
        "mstsc.exe": r"/shadow\b(?=.{0,100}/noconsentprompt)",
    },
    "database-shell": {_ANY: r"\bxp_cmdshell\b\W{0,4}'|identityserverpolicy\.\w{1,40}"},
}
_WINDOW_HIDDEN = re.compile(r"\s[-/]w(?:in\w{0,10})?\s+(?:h\w{0,6}|1)\b", re.IGNORECASE)
_QUIET = re.compile(r"\s[-/](?:nop\w{0,7}|noni\w{0,12}|e(?:p|x\w{0,14})\s+bypass|sta|enc?\w{0,12}\s)", re.IGNORECASE)
_STAGES = re.compile(
    r"net\.webclient|downloadstring|downloadfile|downloaddata|invoke-webrequest|\biwr\b|start-bitstransfer|cachedgrouppolicysettings|scriptblocklogging|amsiutils|amsiinitfailed|virtualalloc|frombase64string"
    r"|psversiontable\.psversion\.major|sockets\.tcpclient|\biex\b|invoke-expression",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"\\.|[A-Z]")


def _lower(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for text in lower case: a search that must not mind the case takes two to four times as long."""
    return re.compile(_CAPITAL.sub(lambda part: part[0] if part[0][0] == "\\" else part[0].lower(), pattern))


_BY_PROGRAM: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _meaning, _programs in _PATTERNS.items():
    for _program, _pattern in _programs.items():
        _BY_PROGRAM.setdefault(_program, []).append((_meaning, _lower(_pattern)))
for _alias, _program in (("net1.exe", "net.exe"), ("pwsh.exe", POWERSHELL), ("powershell_ise.exe", POWERSHELL)):
    _BY_PROGRAM[_alias] = _BY_PROGRAM[_program]
_ANYWHERE = _BY_PROGRAM.pop(_ANY)
# One cheap look before the patterns that hold for any program.
_ANYWHERE_HINT = _lower(
    r"::|minidump|comsvcs|lsass|shadowcopy|ntds|\\pipe\\|\$\\|/dev/|\bnc|ncat|socket|socat|mkfifo|/inet/|xp_cmd|serverpolicy|/var/log|\.evtx|history|/etc/|/\.\w|authorized|crontab|passw|id_[re]|ld_|histfile|histsize|release_agent|/proc/|/systemd/|telnet"
    r"|chisel|socks|frpc|ignore-cert|ligolo|gost|tunnel|teamviewer|screenconnect|splashtop|atera|simplehelp|anydesk|rclone|stratum|--(?:donate|cpu-max|random|coin|algo|transfers|multi-thread|no-check|config|ignore-ex|cacert)|\.[po]st\b|request|\breq\b|forge|user data|key4|logins\.json|\.kdbx"
    r"|b(?:ac|c)kupkey|\.\w{1,5}:\w|-stream|sethc|utilman|\bosk|magnify|narrator|displayswitch|atbroker"
)
_STEMS = sorted({name.removesuffix(".exe") for name in _BY_PROGRAM}, key=len, reverse=True)
_NAMED = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, _STEMS))})(?:\.exe)?[\"']?\s")


@lru_cache(maxsize=16_384)
def meanings(name: str, text: str) -> frozenset[str]:
    """Return what a program's command line (or a script's text, under PowerShell's name) means; empty for nothing known.

    Signs inside a word that shells take off (quotes, a caret in cmd, a grave accent in PowerShell) are read as if they were not
    there, and what -EncodedCommand holds as if it stood in clear.
    """
    result = _meanings(name, text)
    if (plain := as_run(text)) != text:
        result |= _meanings(name, plain)
    if name in _STARTERS and (inner := decoded(text)):
        result |= _meanings(POWERSHELL, inner)
    return frozenset(result)


_ESCAPED = re.compile(r"(?<=\w)[`^\"']+(?=\w)")


def as_run(text: str) -> str:
    """Return a command line without the signs inside its words that shells take off: quotes, carets, grave accents."""
    return _ESCAPED.sub("", text)


def _meanings(name: str, text: str) -> set[str]:
    lower = text.lower()
    result = {meaning for meaning, pattern in _BY_PROGRAM.get(name, ()) if pattern.search(lower)}
    if _ANYWHERE_HINT.search(lower):
        result.update(meaning for meaning, pattern in _ANYWHERE if pattern.search(lower))
    if name in _STARTERS:
        named: set[str] = set()
        for match in _NAMED.finditer(lower):
            stem = match[1]
            if stem in named:
                continue  # what holds after a later place holds after the first
            named.add(stem)
            known = [*_BY_PROGRAM.get(f"{stem}.exe", ()), *_BY_PROGRAM.get(stem, ())]
            rest = lower[match.start() :]
            result.update(meaning for meaning, pattern in known if pattern.search(rest))
    if name in _STARTERS and "powershell" in f"{name} {lower}":
        if _WINDOW_HIDDEN.search(text) and _QUIET.search(text):
            result.add("hidden-start")
        if _STAGES.search(decoded(text)):
            result.add("encoded-stager")
    if _set_by_command(name, text):
        result.add("setting")
    return result


class Command(NamedTuple):
    """One command: the line that tells it, its program's file name, and its text."""

    line: Line
    name: str
    text: str


def commands(window: Window) -> list[Command]:
    """List the commands of a window: launches, scripts, and what services and tasks are made to run."""
    result: list[Command] = []
    for line in launches(window):
        name, text = basename(line.fields.process_path), line.fields.process_cmd_line or ""
        result.append(Command(line, name, text))
        original = basename(line.fields.process_original_name)
        if original and original != name:
            result.append(Command(line, original, text))
    for script in window.of(ScriptFields):
        texts = (script.fields.script_text, script.fields.host_application)
        result += [Command(script, POWERSHELL, text) for text in texts if text]
    for service in window.of(ServiceFields, "install", "config"):
        if service.fields.service_cmd_line:
            result.append(Command(service, "cmd.exe", service.fields.service_cmd_line))
    for task in window.of(TaskFields, "create", "update", "run"):
        if task.fields.job_cmd_line:
            result.append(Command(task, "cmd.exe", task.fields.job_cmd_line))
    return result


def lines_by_meaning(window: Window) -> dict[str, list[Line]]:
    """Map each meaning to the lines of a window whose commands have it, each line once."""
    by_meaning: dict[str, dict[str, Line]] = {}
    for line, name, text in window.view(commands):
        if text:
            for meaning in meanings(name, text):
                by_meaning.setdefault(meaning, {})[line.log_id] = line
    return {meaning: list(lines.values()) for meaning, lines in by_meaning.items()}


def launches(window: Window) -> list[Line[ProcessFields]]:
    """List the starts of programs."""
    return window.of(ProcessFields, "launch")


def triggers_of(window: Window) -> set[str]:
    """Collect what may trigger a rule: the meanings of commands, the programs that start, and their parents."""
    triggers = set(window.view(lines_by_meaning))
    for line in launches(window):
        triggers.add(basename(line.fields.process_path))
        triggers.add(_started_by(basename(line.fields.parent_path)))
    return triggers


def _started_by(parent: str) -> str:
    """Return the trigger of a program that starts another."""
    return f"{parent} >"


# ---------------------------------------------------------------- what rules ask for
def commands_that(*meant: str) -> Selection[Line]:
    """Select the lines whose commands have one of some meanings, those of the first meaning first."""
    if len(meant) == 1:  # the common case in one step
        (only,) = meant
        return Selection(
            lambda window: window.view(lines_by_meaning).get(only, []), frozenset(), frozenset(meant), COMMAND_KINDS
        )

    def pick(window: Window) -> list[Line]:
        known = window.view(lines_by_meaning)
        if known.keys().isdisjoint(meant):
            return []  # most windows
        return [line for meaning in meant for line in known.get(meaning, ())]

    return Selection(pick, frozenset(), frozenset(meant), COMMAND_KINDS)


def launches_of(programs: Iterable[str]) -> Selection[Line[ProcessFields]]:
    """Select the starts of some programs, given by file name in lower case."""
    names = frozenset(programs)

    def pick(window: Window) -> list[Line[ProcessFields]]:
        return [line for line in launches(window) if basename(line.fields.process_path) in names]

    return Selection(pick, frozenset(), names, LAUNCHES)


def launches_by(parents: Iterable[str]) -> Selection[Line[ProcessFields]]:
    """Select the programs that some programs start, those given by file name in lower case."""
    names = frozenset(parents)

    def pick(window: Window) -> list[Line[ProcessFields]]:
        return [line for line in launches(window) if basename(line.fields.parent_path) in names]

    return Selection(pick, frozenset(), frozenset(map(_started_by, names)), LAUNCHES)


def command_program(lines: Sequence[Line]) -> str:
    """Return the one program that lines name; PowerShell for scripts."""
    scripts = any(isinstance(line.fields, ScriptFields) for line in lines)
    return one_program(lines, otherwise=POWERSHELL if scripts else "")


def command_rule(
    rule_id: str,
    technique: str,
    tactic: str,
    *,
    meaning: str,
    confirmed: bool,
    summary: str,
    source: str,
) -> Rule:
    """Make a rule that finds, for each host and user, the commands of one meaning."""

    def body(lines: Sequence[Line], window: Window) -> Iterable[Finding]:
        return findings_by_host_and_user(lines, confirmed=confirmed, program=command_program)

    on = (commands_that(meaning),)
    return rule(rule_id, technique, tactic, on=on, summary=summary, source=source)(body)


_ENCODED = re.compile(r"\s[-/]e(?:c|nc?|nco[a-z]*)?\s+[\"']?([a-z0-9+/=]{40,})", re.IGNORECASE)


@lru_cache(maxsize=4096)
def decoded(text: str) -> str:
    """Decode what PowerShell's -EncodedCommand says (base64 of UTF-16, RFC 4648), as far as the line holds it; nothing for none."""
    match = _ENCODED.search(text)
    if not match:
        return ""
    whole = match[1].rstrip("=")
    whole = whole[:-1] if len(whole) % 4 == 1 else whole  # one digit alone is no byte
    return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-16-le", "ignore")


# ---------------------------------------------------------------- remote automation
MAX_CLEAR = 2000  # characters; a sensor cuts longer lines
AUTOMATION = (
    "remote automation (a command under winrshost, with -EncodedCommand in less than "
    f"{MAX_CLEAR} characters that are text throughout and tell PowerShell neither to download nor what else a rule finds)"
)


def is_automation(window: Window, line: Line) -> bool:
    """Return whether a launch is told by -EncodedCommand what winrshost was, and nothing in that is known to be hostile."""
    text = getattr(line.fields, "process_cmd_line", None) or ""
    return bool(text) and decoded(text) in window.view(_automated)


def _automated(window: Window) -> set[str]:
    """Collect what winrshost's children are told by -EncodedCommand where it can be read and means nothing known."""
    return {
        decoded(text)
        for line in window.of(ProcessFields, "launch")
        if basename(line.fields.parent_path) == "winrshost.exe"
        and says_nothing_odd(text := line.fields.process_cmd_line or "")
    }


@lru_cache(maxsize=4096)
def says_nothing_odd(text: str) -> bool:
    """Return whether -EncodedCommand holds text throughout that means nothing known."""
    inner = decoded(text)
    clear = bool(inner) and len(text) < MAX_CLEAR and all(mark.isprintable() or mark.isspace() for mark in inner)
    return clear and inner.isascii() and not meanings(POWERSHELL, text)


# ---------------------------------------------------------------- settings
class Setting(NamedTuple):
    """A registry value or key that is set, made or removed; path and data in lower case."""

    line: Line
    act: str  # set, create or delete
    path: str
    data: str
    program: str
    starter: str = ""  # the program that started the command


_REG_ADD = re.compile(r"\b(add|delete)\s+(?:\"([^\"]{1,400})\"|(\S{1,400}))", re.IGNORECASE)
_REG_NAME = re.compile(r"/v\s+(?:\"([^\"]{1,200})\"|(\S{1,200}))", re.IGNORECASE)
_REG_DATA = re.compile(r"/d\s+(?:\"((?:\\\"|[^\"]){0,600})|(\S{1,600}))", re.IGNORECASE)
_ITEM = re.compile(r"\b(set-itemproperty|new-itemproperty|new-item|remove-item(?:property)?)\b", re.IGNORECASE)


def _option(name: str) -> re.Pattern[str]:
    return re.compile(rf"-{name}\s+(?:\"([^\"]{{0,600}})\"|'([^']{{0,600}})'|([^\s;]{{1,600}}))", re.IGNORECASE)


_ITEM_PATH, _ITEM_NAME, _ITEM_DATA = _option("(?:literal)?path"), _option("name"), _option("value")
_HIVE = re.compile(r"^(?:\\\\[^\s\\]{1,64}\\)?(?:hk(?:ey_)?[a-z_]{2,20}|registry::)", re.IGNORECASE)
_FAR = re.compile(r"^\\\\[^\s\\]{1,64}\\")
_PLACED = re.compile(  # path, name and value without their options' names
    r"item(?:property)?\s+[\"']?(hk(?:lm|cu|cr|u):\\[^\"'\s;]{1,400})[\"']?(?:\s+(?!-)[\"']?([^\"'\s;]{1,200})[\"']?\s+(?!-)[\"']?([^\"';]{1,400}))?",
    re.IGNORECASE,
)


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next((group for group in match.groups() if group), "") if match else ""


@lru_cache(maxsize=4096)
def _set_by_command(name: str, text: str) -> tuple[str, str, str] | None:
    """Return act, path and data of a `reg add`/`reg delete` or of PowerShell's item commands; None for anything else."""
    if name == "reg.exe" or (name == "cmd.exe" and "reg" in text.lower()):
        return _set_by_reg(text)
    return _set_by_powershell(text) if name in POWERSHELLS else None


def _set_by_reg(text: str) -> tuple[str, str, str] | None:
    match = _REG_ADD.search(text)
    key = (match[2] or match[3]) if match else ""
    if not match or not _HIVE.match(key):
        return None
    path, value = _FAR.sub("", key.rstrip("\\")), _first(_REG_NAME, text)
    act = "delete" if match[1].lower() == "delete" else "set" if value else "create"
    return act, _below(path, value), _first(_REG_DATA, text).replace('\\"', '"').lower()


def _set_by_powershell(text: str) -> tuple[str, str, str] | None:
    match = _ITEM.search(text)
    if not match:
        return None
    path, value, data = _first(_ITEM_PATH, text), _first(_ITEM_NAME, text), _first(_ITEM_DATA, text)
    placed = None if path else _PLACED.search(text)
    if placed:
        path, value, data = placed[1], placed[2] or value, placed[3] or data
    elif not _HIVE.match(path):
        return None
    verb = match[1].lower()
    act = "delete" if verb.startswith("remove") else "create" if verb == "new-item" else "set"
    path = path.replace("registry::", "").replace(":\\", "\\").rstrip("\\")
    return act, _below(path, value), data.lower()


def _below(path: str, value: str) -> str:
    """Return the path of a value below a key, or of the key itself, in lower case."""
    return (f"{path}\\{value}" if value else path).lower()


_HIVES = (
    ("\\registry\\machine\\", "hklm\\"),
    ("\\registry\\user\\", "hku\\"),
    ("hkey_local_machine\\", "hklm\\"),
    ("hkey_users\\", "hku\\"),
    ("hkey_current_user\\", "hkcu\\"),
    ("hkey_classes_root\\", "hkcr\\"),
)
_CONTROL_SET = re.compile(r"(?<=\\)controlset00\d(?=\\)")


@lru_cache(maxsize=4096)
def key_form(path: str) -> str:
    """Write a registry path in one form, in lower case: short hive, the current control set, no 32-bit view."""
    path = path.lower()
    for long, short in _HIVES:
        if path.startswith(long):
            path = short + path[len(long) :]
            break
    return _CONTROL_SET.sub("currentcontrolset", path).replace("\\wow6432node\\", "\\")


def settings(window: Window) -> list[Setting]:
    """List the registry settings of a window, as a sensor saw them and as commands make them."""
    acted = {"set": "set", "rename": "set", "key_create": "create", "key_delete": "delete"}
    result = [
        Setting(
            line,
            acted[line.fields.activity],
            key_form(line.fields.reg_key_path or ""),
            (line.fields.reg_value_data or "").lower(),
            line.fields.process_path or "",
        )
        for line in window.of(RegistryFields)
    ]
    for line, name, text in window.view(commands):
        change = _set_by_command(name, text) if text else None
        if change:
            act, path, data = change
            result.append(
                Setting(
                    line,
                    act,
                    key_form(path),
                    data,
                    getattr(line.fields, "process_path", None) or POWERSHELL,
                    getattr(line.fields, "parent_path", None) or "",
                )
            )
    return result


_NUMBER = re.compile(r"(?:^|\()(?:0x)?0*([0-9a-f]{1,8})\)?$")


def number_of(data: str) -> int | None:
    """Return the number that a value's data holds (`1`, `0x1`, `dword (0x00000001)`), or None."""
    match = _NUMBER.search(data.strip())
    try:
        return int(match[1], 16) if match else None
    except ValueError:
        return None


# The registry settings of a window, for rules.
SETTINGS: Selection[Setting] = Selection(
    lambda window: window.view(settings), frozenset(kinds(RegistryFields)), frozenset({"setting"}), COMMAND_KINDS
)
