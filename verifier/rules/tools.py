"""Rules on tools that people bring along or turn: tunnels, remote tools, uploads, miners, wipers, collectors (ATT&CK, several tactics)."""

from __future__ import annotations

import re

from schema import (
    DirectoryFields,
    FileFields,
    ObjectAccessFields,
    ProcessAccessFields,
    ProcessFields,
)
from verifier.commands import command_program, command_rule, commands_that, launches_of
from verifier.rules.kit import VM_READ, burst_of, damage_to_data, grouped, has_bits, program_path
from verifier.window import (
    SHELLS,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    findings_by_host_and_user,
    is_installed,
    is_person_or_service,
    is_user_writable,
    rule,
)

MIN_NOTES = 3  # folders
NOTES_S = 600
CLONE_BIT = 0x80  # PROCESS_CREATE_PROCESS: a copy of lsass is read where lsass itself is watched
_CREDENTIAL_STORE = re.compile(
    r"\\user data\\.{1,60}\\(?:login data|cookies|web data)$|\\user data\\local state$|\\profiles\\.{1,80}\\(?:key4\.db|logins\.json)$|\.kdbx$",
    re.IGNORECASE,
)
_DOMAIN_SECRET = re.compile(r"\bbckupkey_|cn=bckupkey", re.IGNORECASE)
_NOTE = re.compile(
    r"^[a-z]:\\users\\[^\\]+\\(?:[^\\]+\\)?(desktop|documents|pictures|music|videos|downloads)\\([^\\]+\.(?:txt|html?|hta))$",
    re.IGNORECASE,
)
_UNPACKED = re.compile(
    r"\\temp\\(?:temp\d{1,3}_[^\\]+\.(?:zip|rar|7z)|rar\$[^\\]+|7zo[^\\]+|bnz\.[^\\]+)\\|\\content\.outlook\\|\\inetcache\\",
    re.IGNORECASE,
)
_CUSTOM_ACTION = re.compile(r"\\windows\\installer\\msi[^\\]+\.tmp$", re.IGNORECASE)


tunnel_started = command_rule(
    "tunnel-started",
    "T1572",
    "command_and_control",
    meaning="tunnel-started",
    confirmed=False,
    summary="A tunnel from outside to inside is opened (ngrok tcp, http or start; cloudflared tunnel; chisel client or server; frpc -c; ligolo -connect; devtunnel host or port; code tunnel; gost -L; tailscale up with --authkey). Suspicious.",
    source="ATT&CK T1572, T1090.002; the programs' own references",
)
remote_tool_installed = command_rule(
    "remote-tool-installed",
    "T1219",
    "command_and_control",
    meaning="remote-tool-installed",
    confirmed=False,
    summary="A remote tool is installed without a question or given a password (AnyDesk --silent or --set-password, RustDesk --silent-install or --password, TeamViewer, ScreenConnect, Atera, Splashtop, MeshAgent, SimpleHelp by msiexec /q, /S, /qn or -fullinstall). Suspicious.",
    source="ATT&CK T1219; the programs' references of unattended installation",
)
copied_to_storage = command_rule(
    "copied-to-storage",
    "T1567.002",
    "exfiltration",
    meaning="copied-to-storage",
    confirmed=False,
    summary="A command sends files to storage or a server outside (rclone copy, sync or move to a remote; megacmd or mega-put; azcopy from a drive; curl -T, --upload-file or -F with @; Invoke-RestMethod or Invoke-WebRequest with -InFile; UploadFile or UploadData). Suspicious.",
    source="ATT&CK T1567.002, T1048; rclone, azcopy and curl references",
)
coin_miner = command_rule(
    "coin-miner",
    "T1496.001",
    "impact",
    meaning="coin-miner",
    confirmed=True,
    summary="A command mines coins (stratum+tcp or stratum+ssl, --donate-level, --cpu-max-threads-hint, --coin=, --randomx, --algo with rx/ or cn/). Confirmed.",
    source="ATT&CK T1496.001; the Stratum protocol, XMRig's command line",
)
data_wiped = command_rule(
    "data-wiped",
    "T1485",
    "impact",
    meaning="data-wiped",
    confirmed=False,
    summary="A command destroys data (sdelete with -p, -s or -z, format of a drive with /y or /q, diskpart clean by a script, del or rd /s on a whole drive or \\Users, Remove-Item -Recurse there, dd, shred or mkfs on a disk, rm -rf on / or /home). Suspicious.",
    source="ATT&CK T1485, T1561.001; Microsoft format, diskpart and SDelete references",
)
mail_collected = command_rule(
    "mail-collected",
    "T1114.001",
    "collection",
    meaning="mail-collected",
    confirmed=False,
    summary="A command exports or copies mail (New-MailboxExportRequest, Search-Mailbox -TargetMailbox, .pst or .ost copied, Outlook.Application's GetDefaultFolder or MAPI namespace by a script). Suspicious.",
    source="ATT&CK T1114.001, T1114.002; Microsoft Exchange cmdlets",
)
subscription_command = command_rule(
    "subscription-command",
    "T1546.003",
    "persistence",
    meaning="subscription-command",
    confirmed=False,
    summary="A command makes a WMI filter, consumer or binding (__EventFilter, CommandLineEventConsumer, ActiveScriptEventConsumer, __FilterToConsumerBinding with create, Set-WmiInstance, New-CimInstance or Put). Suspicious.",
    source="ATT&CK T1546.003; Microsoft WMI event consumers",
)
transfer_runs_command = command_rule(
    "transfer-runs-command",
    "T1197",
    "persistence",
    meaning="transfer-runs-command",
    confirmed=True,
    summary="A BITS job is told to start a program (bitsadmin /SetNotifyCmdLine). Confirmed.",
    source="ATT&CK T1197; Microsoft bitsadmin setnotifycmdline",
)
component_installed = command_rule(
    "component-installed",
    "T1546",
    "persistence",
    meaning="component-installed",
    confirmed=False,
    summary="A command adds what a program of Windows loads (netsh add helper, sdbinst of an .sdb file, appcmd install or add module, printui /ia or /ip of a driver, New-WebGlobalModule). Suspicious.",
    source="ATT&CK T1546.007, T1546.011, T1505.004; Microsoft netsh, sdbinst and appcmd references",
)
certificate_for_another = command_rule(
    "certificate-for-another",
    "T1649",
    "credential_access",
    meaning="certificate-for-another",
    confirmed=False,
    summary="A certificate is asked for in another's name or its authority opened for that (certreq -attrib with SAN:, request /altname or /onbehalfof, -upn with req, certutil -setreg EDITF_ATTRIBUTESUBJECTALTNAME2, forged with --CaCertPath). Suspicious.",
    source="ATT&CK T1649; Microsoft certreq and certutil references",
)
share_opened = command_rule(
    "share-opened",
    "T1135",
    "lateral_movement",
    meaning="share-opened",
    confirmed=False,
    summary="A command shares a folder with everyone or a whole drive (net share with /grant:everyone or a drive's root, New-SmbShare -FullAccess Everyone). Suspicious.",
    source="ATT&CK T1135, T1080; Microsoft net share",
)
saved_credentials_used = command_rule(
    "saved-credentials-used",
    "T1134.002",
    "privilege_escalation",
    meaning="saved-credentials-used",
    confirmed=False,
    summary="A program is started with saved or network-only credentials of another account (runas /savecred or /netonly). Suspicious.",
    source="ATT&CK T1134.002, T1555.004; Microsoft runas reference",
)


@rule(
    "credential-store-copied",
    "T1555.003",
    "credential_access",
    on=(commands_that("credential-store-copied"), ObjectAccessFields),
    summary="A command reads or copies a browser's or a password safe's store (Login Data, Cookies, Web Data or Local State below User Data; key4.db or logins.json below Profiles; .kdbx), or a shell or user-writable program opens one (object access). Confirmed: by the latter.",
    source="ATT&CK T1555.003, T1555.005, T1539",
)
def credential_store_copied(commands: Lines, accesses: Lines[ObjectAccessFields], window: Window) -> Findings:
    yield from findings_by_host_and_user(commands, confirmed=False, program=command_program)
    opened = [
        line
        for line in accesses
        if _CREDENTIAL_STORE.search(line.fields.object_name or "")
        and (basename(line.fields.process_path) in SHELLS or is_user_writable(line.fields.process_path))
    ]
    yield from findings_by_host_and_user(opened, confirmed=True)


@rule(
    "domain-secret-read",
    "T1555",
    "credential_access",
    on=((DirectoryFields, "access"), ObjectAccessFields, commands_that("domain-secret-read")),
    summary="A person opens the domain's backup key for protected data (BCKUPKEY_ or CN=BCKUPKEY), or a command asks for it. Confirmed.",
    source="ATT&CK T1555, T1003.004; Microsoft MS-BKRP",
)
def domain_secret_read(
    reads: Lines[DirectoryFields], accesses: Lines[ObjectAccessFields], commands: Lines, window: Window
) -> Findings:
    named: list[Line] = [line for line in reads if _DOMAIN_SECRET.search(line.fields.object_dn or "")]
    named += [line for line in accesses if _DOMAIN_SECRET.search(line.fields.object_name or "")]
    by_person = [line for line in named if is_person_or_service(line.user)]
    return findings_by_host_and_user([*by_person, *commands], confirmed=True, program=command_program)


@rule(
    "lsass-cloned",
    "T1003.001",
    "credential_access",
    on=(ProcessAccessFields,),
    summary=f"A shell or a program not installed opens lsass.exe with the right to copy it ({CLONE_BIT:#x}) and without that to read it ({VM_READ:#x}). Confirmed.",
    source="ATT&CK T1003.001; Microsoft Process Security and Access Rights, PssCaptureSnapshot",
)
def lsass_cloned(opens: Lines[ProcessAccessFields], window: Window) -> Findings:
    return findings_by_host_and_user(
        [
            line
            for line in opens
            if basename(line.fields.target_path) == "lsass.exe"
            and has_bits(line.fields.access_mask, CLONE_BIT)
            and not has_bits(line.fields.access_mask, VM_READ)
            and (basename(line.fields.process_path) in SHELLS or not is_installed(line.fields.process_path))
        ],
        confirmed=True,
    )


@rule(
    "ransom-note",
    "T1486",
    "impact",
    on=((FileFields, "create"),),
    at_least=MIN_NOTES,
    summary=f"One program writes one .txt, .htm, .html or .hta under the same name into {MIN_NOTES} or more of users' Desktop, Documents, Pictures, Music, Videos and Downloads within {NOTES_S} s. Confirmed, harm done.",
    source="ATT&CK T1486: notes beside encrypted files",
)
def ransom_note(writes: Lines[FileFields], window: Window) -> Findings:
    for (host, program, _), lines in grouped(writes, _note_writer).items():
        burst = burst_of(
            window, lines, MIN_NOTES, NOTES_S, different=lambda line: (line.fields.file_path or "").lower()
        )
        if burst:
            yield damage_to_data(burst, host, program)


def _note_writer(line: Line[FileFields]) -> tuple[str, str, str] | None:
    """Return host, program and file name where a text is written straight into one of a person's folders."""
    note = _NOTE.match(line.fields.file_path or "")
    return (line.host, program_path(line), note[2].lower()) if note and line.fields.process_path else None


@rule(
    "attachment-opened",
    "T1566.001",
    "initial_access",
    on=((ProcessFields, "launch"),),
    summary="A program, or a shell with a file, starts out of an archive or a mail (below \\Temp\\ Temp1_name.zip, .rar or .7z, Rar$, 7zO or BNZ.; \\Content.Outlook\\, \\INetCache\\). Suspicious.",
    source="ATT&CK T1566.001, T1204.002: where archivers, Explorer and Outlook unpack what is opened in them",
)
def attachment_opened(launches: Lines[ProcessFields], window: Window) -> Findings:
    opened = [
        line
        for line in launches
        if _UNPACKED.search(line.fields.process_path or "")
        or (basename(line.fields.process_path) in SHELLS and _UNPACKED.search(line.fields.process_cmd_line or ""))
    ]
    return findings_by_host_and_user(opened, confirmed=False)


@rule(
    "package-starts-shell",
    "T1218.007",
    "defense_evasion",
    on=(launches_of(SHELLS),),
    summary="A program that a package brings for its installation (\\Windows\\Installer\\MSI*.tmp) starts a shell. Suspicious.",
    source="ATT&CK T1218.007; Microsoft Windows Installer custom actions",
)
def package_starts_shell(shells: Lines[ProcessFields], window: Window) -> Findings:
    actions = [line for line in shells if _CUSTOM_ACTION.search(line.fields.parent_path or "")]
    return findings_by_host_and_user(actions, confirmed=False)


RULES = (
    tunnel_started,
    remote_tool_installed,
    copied_to_storage,
    coin_miner,
    data_wiped,
    mail_collected,
    subscription_command,
    transfer_runs_command,
    component_installed,
    certificate_for_another,
    share_opened,
    saved_credentials_used,
    credential_store_copied,
    domain_secret_read,
    lsass_cloned,
    ransom_note,
    attachment_opened,
    package_starts_shell,
)
