"""What lines tell a machine to do: command lines by what they mean, and settings of the registry however they are made.

A command line is looked up by its program's name (also the one that its version resource gives, so that renaming does
not help) and, where a shell or a script runs it, by the names that stand in its text. `acts` gives for each meaning the
lines that have it; `settings` gives registry values set by a sensor's word, by `reg add` or by PowerShell alike. Both
are views of a window: computed once, read by many rules.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from schema import ProcessFields, RegistryFields, ScriptFields, ServiceFields, TaskFields
from verifier.window import Line, Window, basename, kinds

POWERSHELL = "powershell.exe"
# The kinds of lines that tell commands.
TOLD_BY = frozenset(
    (
        *kinds(ProcessFields, "launch"),
        *kinds(ScriptFields),
        *kinds(ServiceFields, "install", "config"),
        *kinds(TaskFields, "create", "update", "run"),
    )
)
_SHELLS = frozenset(
    {"cmd.exe", "powershell.exe", "pwsh.exe", "powershell_ise.exe", "wmic.exe", "forfiles.exe", "sh", "bash"}
)

# Meaning -> program -> pattern of its arguments. Bounded repeats only: a line has up to 2048 characters.
_ANY = "*"  # whatever the program
_PATTERNS: dict[str, dict[str, str]] = {
    "lsass-dumped": {
        "rundll32.exe": r"comsvcs(?:\.dll)?\W{0,4}(?:minidump|#\+?0*24)|minidumpw?\s+\d",
        "procdump.exe": r"\blsass\b",
        "procdump64.exe": r"\blsass\b",
        _ANY: r"sekurlsa::|minidumpwritedump|comsvcs\.dll,?\s*\W?(?:minidump|#\+?0*24)|out-minidump",
    },
    "hive-saved": {
        "reg.exe": r"\b(?:save|export)\s+\"?hk(?:lm|ey_local_machine)\\(?:sam|security|system)\b",
        _ANY: r"lsadump::(?:sam|secrets|cache)",
    },
    "directory-copied": {
        "ntdsutil.exe": r"\bifm\b|create\s+full",
        "esentutil.exe": r"ntds\.dit|[-/]vss\b",
        _ANY: r"harddiskvolumeshadowcopy\d{1,4}\\.{0,80}(?:ntds\.dit|config\\(?:sam|system|security))|lsadump::dcsync",
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
        POWERSHELL: r"\b(?:clear|remove)-eventlog\b|\.clearlog\(",
    },
    "logging-weakened": {
        "auditpol.exe": r"/clear|/remove|/set\b.{0,300}:disable|/restore",
        "wevtutil.exe": r"\bsl\b.{0,200}/e(?:nabled)?:false",
        "sc.exe": r"(?:stop|delete|config)\s+\"?eventlog\b",
        "net.exe": r"\bstop\s+\"?eventlog\b",
        "logman.exe": r"\b(?:stop|delete)\b.{0,100}(?:eventlog|sysmon|security)",
    },
    "defence-command": {
        POWERSHELL: r"set-mppreference\b.{0,200}(?:-disable\w+\s+(?:\$true|1|true)\b|\s['\"]?disabled?\b|-exclusion)|add-mppreference\b.{0,200}-exclusion"
        r"|amsiutils|amsiinitfailed|amsiscanbuffer",
        "sc.exe": r"(?:stop|delete|config)\s+\"?(?:windefend|sense|wdnissvc|mpssvc|wscsvc|sysmon\w{0,4})\b",
        "net.exe": r"\bstop\s+\"?(?:windefend|mpssvc|sysmon\w{0,4}|sense)\b",
        "fltmc.exe": r"\bunload\b",
        "mpcmdrun.exe": r"-removedefinitions|-restore\b",
        "bcdedit.exe": r"safeboot|nointegritychecks|testsigning\s+on",
    },
    "firewall-opened": {
        "netsh.exe": r"firewall\s.{0,200}(?:state\s+off|opmode\s+(?:mode\s*=\s*)?disable|action\s*=\s*\"?allow|add\s+(?:allowedprogram|portopening)|mode?\s*=\s*enable)"
        r"|portproxy\s+add|\bportproxy\b.{0,40}\badd\b",
        POWERSHELL: r"set-netfirewallprofile\b.{0,200}-enabled\s+(?:\$?false|0)|new-netfirewallrule\b.{0,300}-action\s+allow",
    },
    "service-changed": {
        "sc.exe": r"\bconfig\b.{0,200}binpath\s*=|\bfailure\b.{0,300}command\s*=|\bsdset\b|\\\\[^\s\\]{1,64}\s+(?:create|config|start)\b",
        POWERSHELL: r"set-service\b.{0,100}-binarypathname|new-service\b.{0,200}-binarypathname",
    },
    "account-command": {
        "net.exe": r"\b(?:user|group|localgroup)\s.{1,200}/add\b|\buser\s.{1,100}/active:yes",
        POWERSHELL: r"\b(?:new-localuser|new-aduser|add-localgroupmember|add-adgroupmember)\b",
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
        POWERSHELL: r"\bget-(?:localgroupmember|adgroupmember|domaingroupmember|netgroupmember)\b.{0,120}admin|\b(?:find-localadminaccess|invoke-userhunter|get-netuser"
        r"|get-domainuser|get-domaincontroller|get-netdomain|invoke-sharefinder|get-domaingroup|get-netsession)\b|get-ad(?:user|computer)\b.{0,40}-filter\s+\W?\*",
    },
    "share-mounted": {"net.exe": r"\buse\b.{0,120}\\\\[^\s\\]{1,100}\\(?:[a-z]|admin|ipc)\$"},
    "task-command": {
        "schtasks.exe": r"/create\b.{0,600}(?:\s/s\s|/ru\s+\"?(?:nt authority\\)?system\b|/tr\s.{0,80}(?:powershell|cmd(?:\.exe)?\b|mshta|wscript|cscript|rundll32|regsvr32)|/xml\b)"
        r"|/change\b.{0,300}/tr\b",
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
        "curl": r"https?://\S{1,300}.{0,100}\|\s*(?:ba|z)?sh\b",
        "wget": r"https?://\S{1,300}.{0,100}\|\s*(?:ba|z)?sh\b",
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
        _ANY: r"/dev/tcp/\d|\bn(?:c|cat)(?:\.exe)?\s.{0,100}-\w{0,4}e\s+\S{0,40}(?:sh|cmd|powershell)"
        r"|\b(?:perl|python\d?|ruby|php)\b.{0,20}-[ercm]\b.{0,40}socket"
    },
    "database-shell": {_ANY: r"\bxp_cmdshell\b\W{0,4}'|identityserverpolicy\.\w{1,40}"},
}
_WINDOW_HIDDEN = re.compile(r"\s[-/]w(?:in\w{0,10})?\s+(?:h\w{0,6}|1)\b", re.IGNORECASE)
_QUIET = re.compile(r"\s[-/](?:nop\w{0,7}|noni\w{0,12}|e(?:p|x\w{0,14})\s+bypass|sta|enc?\w{0,12}\s)", re.IGNORECASE)
_STAGES = re.compile(
    r"net\.webclient|downloadstring|downloaddata|invoke-webrequest|cachedgrouppolicysettings|scriptblocklogging|amsiutils|amsiinitfailed|virtualalloc|frombase64string"
    r"|psversiontable\.psversion\.major|sockets\.tcpclient|\biex\b|invoke-expression",
    re.IGNORECASE,
)
_BY_PROGRAM: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _meaning, _programs in _PATTERNS.items():
    for _program, _pattern in _programs.items():
        _BY_PROGRAM.setdefault(_program, []).append((_meaning, re.compile(_pattern, re.IGNORECASE)))
for _alias, _program in (("net1.exe", "net.exe"), ("pwsh.exe", POWERSHELL), ("powershell_ise.exe", POWERSHELL)):
    _BY_PROGRAM[_alias] = _BY_PROGRAM[_program]
_ANYWHERE = _BY_PROGRAM.pop(_ANY)
# One cheap look before the patterns that hold for any program.
_ANYWHERE_HINT = re.compile(
    r"::|minidump|comsvcs|shadowcopy|\\pipe\\|\$\\|/dev/tcp|\bnc|ncat|socket|xp_cmd|serverpolicy", re.IGNORECASE
)
_STEMS = sorted({name.removesuffix(".exe") for name in _BY_PROGRAM}, key=len, reverse=True)
_NAMED = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, _STEMS))})(?:\.exe)?[\"']?\s", re.IGNORECASE)


@lru_cache(maxsize=16_384)
def meanings(name: str, text: str) -> frozenset[str]:
    """What a program's command line (or a script's text, under PowerShell's name) means; empty for nothing known."""
    found = {meaning for meaning, pattern in _BY_PROGRAM.get(name, ()) if pattern.search(text)}
    if _ANYWHERE_HINT.search(text):
        found.update(meaning for meaning, pattern in _ANYWHERE if pattern.search(text))
    if name in _SHELLS:
        for match in _NAMED.finditer(text):
            stem = match[1].lower()
            known = _BY_PROGRAM.get(f"{stem}.exe") or _BY_PROGRAM.get(stem) or []
            rest = text[match.start() :]
            found.update(meaning for meaning, pattern in known if pattern.search(rest))
    if name in _SHELLS and "powershell" in f"{name} {text}".lower():
        if _WINDOW_HIDDEN.search(text) and _QUIET.search(text):
            found.add("hidden-start")
        if _STAGES.search(decoded(text)):
            found.add("encoded-stager")
    if _set_by_command(name, text):
        found.add("setting")
    return frozenset(found)


class Told(NamedTuple):
    """One command: the line that tells it, its program's file name, and its text."""

    line: Line
    name: str
    text: str


def commands(window: Window) -> list[Told]:
    """The commands of a window: launches, scripts, and what services and tasks are made to run."""
    found: list[Told] = []
    for line in window.of(ProcessFields):
        if line.f.activity == "launch":
            name, text = basename(line.f.process_path), line.f.process_cmd_line or ""
            found.append(Told(line, name, text))
            original = basename(line.f.process_original_name)
            if original and original != name:
                found.append(Told(line, original, text))
    for script in window.of(ScriptFields):
        found += [Told(script, POWERSHELL, text) for text in (script.f.script_text, script.f.host_application) if text]
    for service in window.of(ServiceFields):
        if service.f.activity in ("install", "config") and service.f.service_cmd_line:
            found.append(Told(service, "cmd.exe", service.f.service_cmd_line))
    for task in window.of(TaskFields):
        if task.f.activity in ("create", "update", "run") and task.f.job_cmd_line:
            found.append(Told(task, "cmd.exe", task.f.job_cmd_line))
    return found


def acts(window: Window) -> dict[str, list[Line]]:
    """The lines of a window by what their commands mean, each once for a meaning."""
    found: dict[str, dict[str, Line]] = {}
    for line, name, text in window.view(commands):
        if text:
            for meaning in meanings(name, text):
                found.setdefault(meaning, {})[line.log_id] = line
    return {meaning: list(lines.values()) for meaning, lines in found.items()}


def launches(window: Window) -> list[Line[ProcessFields]]:
    """The starts of programs."""
    return [line for line in window.of(ProcessFields) if line.f.activity == "launch"]


def started_by(name: str) -> str:
    """The clue that a program of this name started another."""
    return f"{name} >"


def clues_of(window: Window) -> set[str]:
    """What may call a rule up: the meanings of commands, the programs that start, and their parents."""
    clues = set(window.view(acts))
    for line in window.of(ProcessFields):
        if line.f.activity == "launch":
            clues.add(basename(line.f.process_path))
            clues.add(started_by(basename(line.f.parent_path)))
    return clues


_ENCODED = re.compile(r"\s[-/]e(?:c|nc?|nco[a-z]*)?\s+[\"']?([a-z0-9+/=]{40,})", re.IGNORECASE)


@lru_cache(maxsize=4096)
def decoded(text: str) -> str:
    """What PowerShell's -EncodedCommand says in clear (base64 of UTF-16, RFC 4648), as far as the line holds it; nothing for none."""
    found = _ENCODED.search(text)
    if not found:
        return ""
    whole = found[1].rstrip("=")
    whole = whole[: len(whole) // 8 * 8]  # six bytes, three characters
    return base64.b64decode(whole).decode("utf-16-le", "ignore")


# ---------------------------------------------------------------- settings
class Setting(NamedTuple):
    """A registry value or key that is set, made or removed; path and data in lower case."""

    line: Line
    act: str  # set, create or delete
    path: str
    data: str
    program: str


_REG_ADD = re.compile(r"\b(add|delete)\s+(?:\"([^\"]{1,400})\"|(\S{1,400}))", re.IGNORECASE)
_REG_NAME = re.compile(r"/v\s+(?:\"([^\"]{1,200})\"|(\S{1,200}))", re.IGNORECASE)
_REG_DATA = re.compile(r"/d\s+(?:\"([^\"]{0,600})|(\S{1,600}))", re.IGNORECASE)
_ITEM = re.compile(r"\b(set-itemproperty|new-itemproperty|new-item|remove-item(?:property)?)\b", re.IGNORECASE)


def _option(name: str) -> re.Pattern[str]:
    return re.compile(rf"-{name}\s+(?:\"([^\"]{{0,600}})\"|'([^']{{0,600}})'|([^\s;]{{1,600}}))", re.IGNORECASE)


_ITEM_PATH, _ITEM_NAME, _ITEM_DATA = _option("(?:literal)?path"), _option("name"), _option("value")
_HIVE = re.compile(r"^(?:hk(?:ey_)?[a-z_]{2,20}|registry::)", re.IGNORECASE)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next((group for group in found.groups() if group), "") if found else ""


@lru_cache(maxsize=4096)
def _set_by_command(name: str, text: str) -> tuple[str, str, str] | None:
    """Act, path and data of a `reg add`/`reg delete` or of PowerShell's item commands; None for anything else."""
    if name == "reg.exe" or (name == "cmd.exe" and "reg" in text.lower()):
        found = _REG_ADD.search(text)
        if found and _HIVE.match(found[2] or found[3]):
            path, value = (found[2] or found[3]).rstrip("\\"), _first(_REG_NAME, text)
            act = "delete" if found[1].lower() == "delete" else "set" if value else "create"
            return act, (f"{path}\\{value}" if value else path).lower(), _first(_REG_DATA, text).lower()
    elif name in (POWERSHELL, "pwsh.exe"):
        found = _ITEM.search(text)
        path = _first(_ITEM_PATH, text) if found else ""
        if found and _HIVE.match(path):
            verb, value = found[1].lower(), _first(_ITEM_NAME, text)
            act = "delete" if verb.startswith("remove") else "create" if verb == "new-item" else "set"
            path = path.replace("registry::", "").replace(":\\", "\\").rstrip("\\")
            return act, (f"{path}\\{value}" if value else path).lower(), _first(_ITEM_DATA, text).lower()
    return None


def settings(window: Window) -> list[Setting]:
    """The registry settings of a window, as a sensor saw them and as commands make them."""
    acted = {"set": "set", "rename": "set", "key_create": "create", "key_delete": "delete"}
    found = [
        Setting(
            line,
            acted[line.f.activity],
            (line.f.reg_key_path or "").lower(),
            (line.f.reg_value_data or "").lower(),
            line.f.process_path or "",
        )
        for line in window.of(RegistryFields)
    ]
    for line, name, text in window.view(commands):
        said = _set_by_command(name, text) if text else None
        if said:
            found.append(Setting(line, *said, getattr(line.f, "process_path", None) or POWERSHELL))
    return found


_NUMBER = re.compile(r"(?:^|\()(?:0x)?0*([0-9a-f]{1,8})\)?$")


def number_of(data: str) -> int | None:
    """The number that a value's data holds (`1`, `0x1`, `dword (0x00000001)`), or None."""
    found = _NUMBER.search(data.strip())
    try:
        return int(found[1], 16) if found else None
    except ValueError:
        return None


def by_host_and_user(lines: list[Line]) -> Iterator[tuple[str, str, list[Line]]]:
    """Lines grouped by host and user, in order of appearance."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.host, line.user), []).append(line)
    for (host, user), group in groups.items():
        yield host, user, group
