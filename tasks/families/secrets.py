"""Secrets taken from memory, files, stores and the directory, and certificates in the name of others (ATT&CK Credential Access)."""

from __future__ import annotations

from tasks.families.tellings import Row, Telling, file, made, order, start
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import HOST, TOOL, Family

CMD = SYSTEM32 + "cmd.exe"
LSASS = SYSTEM32 + "lsass.exe"
DUMPER = "D:\\Tools\\procdump.exe"
_PROFILE = "C:\\Users\\{other_user}\\AppData\\Local\\"
_STORES = (
    _PROFILE + "Google\\Chrome\\User Data\\Default\\Login Data",
    _PROFILE + "Microsoft\\Edge\\User Data\\Default\\Web Data",
    _PROFILE + "Microsoft\\Edge\\User Data\\Local State",
    "C:\\Users\\{other_user}\\AppData\\Roaming\\Mozilla\\Firefox\\Profiles\\{hex}.default\\logins.json",
    "D:\\Shares\\{word}\\{word2}.kdbx",
)
_FILES = (
    _PROFILE + "Google\\Chrome\\User Data\\Default\\Bookmarks",
    _PROFILE + "Microsoft\\Edge\\User Data\\Default\\Preferences",
    "C:\\Users\\{other_user}\\AppData\\Roaming\\Mozilla\\Firefox\\Profiles\\{hex}.default\\places.sqlite",
    "D:\\Shares\\{word}\\{word2}.docx",
)


# ---------------------------------------------------------------- memory
def _dumped(name: str) -> list[Telling]:
    """List tellings of a program's memory that ProcDump writes down."""
    texts = (f"-ma {name} D:\\{{word}}.dmp", f"-accepteula -mm {name} D:\\{{word}}.dmp", f"-r -ma {name}")
    return [[order(DUMPER, text, parent=(CMD, POWERSHELL))] for text in texts]


_LIBRARY = (
    "comsvcs.dll, MiniDump {number} D:\\{word}.dmp full",
    "C:\\Windows\\System32\\comsvcs.dll,#24 {number} D:\\{word}.dmp full",
)
_OTHER_LIBRARY = (
    "shell32.dll,Control_RunDLL D:\\{word}.cpl",
    "C:\\Windows\\System32\\printui.dll,PrintUIEntry /e /n {word}",
)


def _cloned(program: str, target: str, rights: object) -> Telling:
    fields = {"process_path": program, "target_path": target, "access_mask": rights}
    return [Row("process_access", "open", fields)]


_OPENERS = ("{writable}", "D:\\Tools\\{word}.exe", POWERSHELL, CMD)


# ---------------------------------------------------------------- files and stores
_WRITERS = (CMD, "{installed}", "D:\\Tools\\{word2}.exe", EXPLORER)
_DUMPS = (
    "D:\\{word}\\ntds.dit",
    "D:\\{word}\\lsass_{number}.dmp",
    "D:\\{word}\\{other_user}.kirbi",
    "D:\\{word}\\{word2}.ccache",
)
_OTHER_DUMPS = (
    "D:\\{word}\\{word2}.dit",
    "D:\\{word}\\{word2}_{number}.dmp",
    "D:\\{word}\\{other_user}.cer",
    "D:\\{word}\\{word2}.cache",
)


def _object(name: str, program: str, kind: str = "File", user: str = "{user}") -> Row:
    fields = {"object_name": name, "object_type": kind, "access_mask": "0x1", "process_path": program}
    return Row("object_access", "open", fields, user=user)


def _copied(path: str) -> Row:
    """Describe a copy of a file by cmd."""
    texts = (f'cmd.exe /c copy "{path}" D:\\{{word3}}', f'cmd.exe /c xcopy "{path}" D:\\{{word3}} /h')
    return start(CMD, texts, (EXPLORER, POWERSHELL))


_READERS = ("{writable}", POWERSHELL, CMD)
_BACKUP_KEYS = ("BCKUPKEY_PREFERRED Secret", "BCKUPKEY_{hex} Secret", "BCKUPKEY_P")
_OTHER_KEYS = ("DPAPI_SYSTEM Secret", "NL$KM Secret", "{word}_{hex} Secret")


def _secret(name: str, user: str = "{user}") -> Telling:
    return [_object(name, LSASS, "SecretObject", user)]


FAMILIES: tuple[Family, ...] = (
    made(
        "dump_by_command",
        "T1003.001",
        "credential_access",
        ("lsass-dump-command",),
        confirmed=[
            *_dumped("lsass.exe"),
            *([order("rundll32.exe", text, parent=(CMD, POWERSHELL))] for text in _LIBRARY),
        ],
        below=[
            *_dumped("{word2}.exe"),
            *([order("rundll32.exe", text, parent=(CMD, POWERSHELL))] for text in _OTHER_LIBRARY),
        ],
        reaches=HOST,
        explanations=TOOL,
    ),
    made(
        "cloned_lsass",
        "T1003.001",
        "credential_access",
        ("lsass-cloned",),
        confirmed=[_cloned(program, LSASS, ("0x80", "0x1080", "0x4c0")) for program in _OPENERS],
        below=[
            *(_cloned(program, SYSTEM32 + "spoolsv.exe", ("0x80", "0x1080", "0x4c0")) for program in _OPENERS),
            *(_cloned(program, LSASS, ("0x1000", "0x1400", "0x40")) for program in _OPENERS),
            _cloned("{installed}", LSASS, ("0x80", "0x1080", "0x4c0")),
        ],
        reaches=HOST,
    ),
    made(
        "file_of_secrets",
        "T1003",
        "credential_access",
        ("credential-file",),
        confirmed=[[file(path, program)] for path in _DUMPS for program in _WRITERS],
        below=[
            *([file(path, program)] for path in _OTHER_DUMPS for program in _WRITERS),
            [file("C:\\Windows\\NTDS\\ntds.dit", LSASS, "modify")],
        ],
        reaches=HOST,
    ),
    made(
        "searched_secrets",
        "T1555",
        "credential_access",
        ("stored-credentials-searched",),
        suspicious=[
            [order("cmdkey.exe", "/list", "/list:{word}", parent=CMD)],
            [order("vaultcmd.exe", "/list", '/listcreds:"{word}"', parent=CMD)],
            [order("netsh.exe", 'wlan show profile name="{word}" key=clear', parent=CMD)],
            [
                order(
                    "findstr.exe",
                    "/si password D:\\{word}\\*.xml",
                    "/spin cpassword \\\\{other_host}\\sysvol\\*.xml",
                    parent=CMD,
                )
            ],
            [
                order(
                    "reg.exe",
                    'query HKLM /f "password" /t REG_SZ /s',
                    "query HKCU\\Software\\SimonTatham\\PuTTY\\Sessions /s",
                    parent=CMD,
                )
            ],
        ],
        below=[
            [order("cmdkey.exe", "/delete:{word}", "/add:{word} /user:{user}", parent=CMD)],
            [order("vaultcmd.exe", '/sync:"{word}"', '/addcreds:"{word}"', parent=CMD)],
            [order("netsh.exe", 'wlan show profile name="{word}"', parent=CMD)],
            [
                order(
                    "findstr.exe",
                    "/si {word2} D:\\{word}\\*.xml",
                    "/spin {word2} \\\\{other_host}\\sysvol\\*.xml",
                    parent=CMD,
                )
            ],
            [order("reg.exe", 'query HKLM /f "{word}" /t REG_SZ /s', "query HKCU\\Software\\{word} /s", parent=CMD)],
        ],
    ),
    made(
        "certificate_of_other",
        "T1649",
        "credential_access",
        ("certificate-for-another",),
        suspicious=[
            [order("certreq.exe", '-submit -attrib "SAN:upn={other_user}@corp.example" D:\\{word}.req', parent=CMD)],
            [order("certutil.exe", "-setreg policy\\EditFlags +EDITF_ATTRIBUTESUBJECTALTNAME2", parent=CMD)],
            [
                order(
                    "D:\\Tools\\{word}.exe", "request /ca:{other_host} /template:User /altname:{other_user}", parent=CMD
                )
            ],
            [order("D:\\Tools\\{word}.exe", "request /ca:{other_host} /onbehalfof:{other_user}", parent=POWERSHELL)],
        ],
        below=[
            [order("certreq.exe", '-submit -attrib "CertificateTemplate:{word2}" D:\\{word}.req', parent=CMD)],
            [order("certutil.exe", "-setreg policy\\EditFlags -EDITF_ENABLEAKIKEYID", parent=CMD)],
            [order("D:\\Tools\\{word}.exe", "request /ca:{other_host} /template:User", parent=CMD)],
            [order("D:\\Tools\\{word}.exe", "list /ca:{other_host} /template:{word2}", parent=POWERSHELL)],
        ],
    ),
    made(
        "copied_store",
        "T1555.003",
        "credential_access",
        ("credential-store-copied",),
        confirmed=[[_object(path, program), _copied(_FILES[-1])] for path in _STORES for program in _READERS],
        suspicious=[[_copied(path), _object(_FILES[0], "{installed}")] for path in _STORES],
        below=[
            *([_object(path, program), _copied(_FILES[-1])] for path in _FILES for program in _READERS),
            *([_object(path, "{installed}"), _copied(_FILES[-1])] for path in _STORES),
        ],
        reaches=HOST,
    ),
    made(
        "domain_key",
        "T1555",
        "credential_access",
        ("domain-secret-read",),
        confirmed=[_secret(name) for name in _BACKUP_KEYS],
        below=[
            *(_secret(name, user) for name in _BACKUP_KEYS for user in ("{host}$", "SYSTEM")),
            *map(_secret, _OTHER_KEYS),
        ],
        reaches=HOST,
    ),
)
