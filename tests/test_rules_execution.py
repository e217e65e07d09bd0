"""Rules on programs, on both sides of each threshold; what is expected was worked out by hand from the playbook."""

import pytest

from incidents import (
    ENCODED,
    EVIL,
    INSTALLED,
    OUTSIDE,
    POWERSHELL,
    SERVICES,
    SYSTEM32,
    TEMP,
    TOOL,
    WORD,
    access,
    call,
    event,
    found,
    inject,
    launch,
    logon,
    service,
    task,
    truth_of,
    write,
)
from verifier.rules import execution

ORIGINAL = {rule.rule_id for rule in execution.RULES}  # what other modules find has tests of its own


@pytest.mark.parametrize(
    ("then", "strength"),
    [
        (call(300, POWERSHELL), "confirmed L1-1 L1-2"),
        (call(0, POWERSHELL), "confirmed L1-1 L1-2"),
        (call(300, POWERSHELL, activity="bits_job"), "confirmed L1-1 L1-2"),
        (call(301, POWERSHELL), "suspicious L1-1"),
        (call(-1, POWERSHELL), "suspicious L1-1"),
        (call(9, POWERSHELL, host="WKS-02"), "suspicious L1-1"),
        (call(9, SYSTEM32 + "cmd.exe"), "suspicious L1-1"),
        (call(9, None), "suspicious L1-1"),
        (call(9, POWERSHELL, "10.20.1.12"), "suspicious L1-1"),
        (call(9, POWERSHELL, activity="block"), "suspicious L1-1"),
    ],
)
@pytest.mark.parametrize(
    ("rule_id", "start"),
    [
        ("application-spawns-shell", launch(0, POWERSHELL, parent=WORD, log_id="L1-1")),
        ("download-cradle", launch(0, POWERSHELL, ENCODED, log_id="L1-1")),
    ],
)
def test_a_call_to_the_outside_within_300_s_confirms(rule_id, start, then, strength):
    assert found(start, {**then, "log_id": "L1-2"}) == [f"{rule_id} {strength}"]


@pytest.mark.parametrize(
    ("parent", "child", "rules"),
    [
        ("OUTLOOK.EXE", "cmd.exe", 1),
        ("mspub.exe", "MSBuild.exe", 1),
        ("w3wp.exe", "pwsh.exe", 1),
        ("explorer.exe", "cmd.exe", 0),
        ("WINWORD.EXE", "splwow64.exe", 0),
        ("cmd.exe", "WINWORD.EXE", 0),
    ],
)
def test_only_document_mail_and_server_programs_are_strange_parents_of_shells(parent, child, rules):
    rows = [launch(0, SYSTEM32 + child, parent="C:\\x\\" + parent)]

    assert found(*rows) == ["application-spawns-shell suspicious L1-1"] * rules


def test_a_shell_that_ends_is_no_shell_that_starts():
    end = event(0, "process", "terminate", process_path=POWERSHELL, process_cmd_line=ENCODED, parent_path=WORD)

    assert found(end) == []


def test_a_server_on_linux_starts_a_shell():
    assert found(launch(0, "/bin/sh", "sh -c id", parent="/usr/sbin/apache2")) == [
        "application-spawns-shell suspicious L1-1"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("IEX $a", True),
        ("Invoke-Expression $a", True),
        ("New-Object Net.WebClient", True),
        ("$c.DownloadString($u)", True),
        ("$c.DownloadFile($u, 'a')", True),
        ("Invoke-WebRequest http://x", True),
        ("$c.DownloadData($u)", True),
        ("[Convert]::FromBase64String($a)", True),
        ("iwr http://x -OutFile y", True),
        ("Start-BitsTransfer -Source http://x", True),
        ("powershell -e " + "A" * 20, True),
        ("powershell -en " + "A" * 20, True),
        ("powershell -ec " + "A" * 20, True),
        ("powershell /EncodedCommand " + "A" * 20, True),
        ("powershell \u2013enco:" + "A" * 20, True),
        ("powershell -enc '" + "A" * 20, True),
        ("powershell -enc " + "A" * 19, False),
        ("powershell -ExecutionPolicy " + "A" * 20, False),
        ("powershell -File C:\\Scripts\\" + "A" * 30, False),
        ("Get-ChildItem D:\\ | Export-Csv report.csv", False),
        ("Get-PSDrive # review of the complexity index", False),
    ],
)
def test_powershell_that_downloads_or_decodes(text, told):
    expected = ["download-cradle suspicious L1-1"] * told

    assert found(event(0, "script", "block", script_text=text)) == expected
    assert found(event(0, "script", "engine_start", host_application=text)) == expected
    assert found(launch(0, POWERSHELL, text)) == expected
    assert found(launch(0, INSTALLED, text)) == []


def test_a_cradle_after_a_harmless_one_is_confirmed_too():
    rows = [
        event(0, "script", "block", script_text="iex 1"),
        event(900, "script", "block", script_text="iex 2"),
        call(901, POWERSHELL),
    ]

    assert found(*rows) == ["download-cradle confirmed L1-1 L1-2 L1-3"]


def test_cradles_of_two_users_or_hosts_are_two_findings():
    scripts = [
        event(0, "script", "block", script_text="iex 1", user=user, host=host)
        for user, host in (("ana", "WKS-01"), ("ben", "WKS-01"), ("ana", "WKS-02"))
    ]

    assert found(*scripts, call(5, POWERSHELL, host="WKS-02")) == [
        "download-cradle suspicious L1-1",
        "download-cradle suspicious L1-2",
        "download-cradle confirmed L1-3 L1-4",
    ]


@pytest.mark.parametrize(
    ("path", "tool", "trusted"),
    [
        (POWERSHELL, "powershell.exe", True),
        ("C:\\Program Files\\PowerShell\\7\\pwsh.exe", "pwsh.exe", True),
        (TEMP + "powershell.exe", "powershell.exe", False),
    ],
)
def test_a_cradle_names_the_powershell_that_ran_it(path, tool, trusted):
    (finding,) = truth_of(launch(0, path, ENCODED)).findings

    assert (finding.tool, finding.tool_trusted) == (tool, trusted)


@pytest.mark.parametrize(
    ("program", "command", "is_foreign"),
    [
        ("mshta.exe", "mshta vbscript:x", True),
        ("mshta.exe", "mshta javascript:x", True),
        ("mshta.exe", "mshta https://x/a.hta", True),
        ("mshta.exe", "mshta C:\\Apps\\start.hta", False),
        ("regsvr32.exe", "regsvr32 /s /u /i:http://x/a.sct a.dll", True),
        ("regsvr32.exe", "regsvr32 /s scrobj.dll", True),
        ("regsvr32.exe", "regsvr32 /s /i:x C:\\Windows\\System32\\msxml6.dll", False),
        ("rundll32.exe", "rundll32 \\\\10.1.1.1\\share\\a.dll,Run", True),
        ("rundll32.exe", "rundll32 javascript:x", True),
        ("rundll32.exe", "rundll32 a.dll,OpenURL http://x", True),
        ("rundll32.exe", "rundll32 C:\\Windows\\System32\\shell32.dll,Control", False),
        ("certutil.exe", "certutil /urlcache -f http://x/a", True),
        ("certutil.exe", "certutil -decode a b", True),
        ("certutil.exe", "certutil -verifyctl x", True),
        ("certutil.exe", "certutil -store my", False),
        ("bitsadmin.exe", "bitsadmin /transfer j http://x C:\\a", True),
        ("bitsadmin.exe", "bitsadmin /addfile j http://x C:\\a", True),
        ("bitsadmin.exe", "bitsadmin /list", False),
        ("msbuild.exe", "msbuild C:\\Users\\ana\\AppData\\a.xml", True),
        ("msbuild.exe", "msbuild D:\\src\\a.csproj", False),
        ("wmic.exe", "wmic process call create calc", True),
        ("wmic.exe", 'wmic os get /format:"https://x/a.xsl"', True),
        ("wmic.exe", "wmic cpu get name /format:csv", False),
        ("cmstp.exe", "cmstp /s C:\\a.inf", True),
        ("cmstp.exe", "cmstp /ni C:\\a", True),
        ("cmstp.exe", "cmstp C:\\a.inf", False),
        ("installutil.exe", "installutil /u C:\\a.dll", True),
        ("installutil.exe", "installutil /logfile= C:\\a.dll", True),
        ("installutil.exe", "installutil /logfile=a.log C:\\a.dll", False),
    ],
)
def test_a_signed_program_is_told_to_run_foreign_code(program, command, is_foreign):
    expected = ["signed-proxy-execution suspicious L1-1"] * is_foreign

    assert found(launch(0, SYSTEM32 + program.upper(), command)) == expected
    assert found(launch(0, INSTALLED, command)) == []


def test_every_signed_program_was_tried():
    names = "mshta regsvr32 rundll32 certutil bitsadmin msbuild wmic cmstp installutil"

    assert list(execution.PROXY_ARGUMENTS) == [f"{name}.exe" for name in names.split()]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([write(0, EVIL), launch(600, EVIL.upper())], ["suspicious L1-1 L1-2"]),
        ([write(0, EVIL), launch(0, EVIL)], ["suspicious L1-1 L1-2"]),
        ([write(0, EVIL), launch(601, EVIL)], []),
        ([launch(0, EVIL), write(1, EVIL)], []),
        ([write(0, EVIL), launch(1, EVIL, host="WKS-02")], []),
        ([write(0, EVIL), launch(1, TEMP + "other.exe")], []),
        ([write(0, EVIL, activity="delete"), launch(1, EVIL)], []),
        ([write(0, INSTALLED), launch(1, INSTALLED)], []),
        ([write(0, "/tmp/.x/miner"), launch(1, "/tmp/.x/miner")], ["suspicious L1-1 L1-2"]),
        ([write(0, EVIL), launch(1, EVIL), call(301, EVIL)], ["confirmed L1-1 L1-2 L1-3"]),
        ([write(0, EVIL), launch(1, EVIL), call(302, EVIL)], ["suspicious L1-1 L1-2"]),
        ([write(0, EVIL), write(9, EVIL), launch(10, EVIL), launch(20, EVIL)], ["suspicious L1-1 L1-2 L1-3 L1-4"]),
        ([write(0, EVIL), write(700, EVIL), launch(750, EVIL)], ["suspicious L1-2 L1-3"]),
        ([write(0, EVIL), launch(1, EVIL), write(699, EVIL), launch(700, EVIL)], ["suspicious L1-1 L1-2 L1-3 L1-4"]),
        ([write(0, EVIL), launch(1, EVIL), call(9, "C:\\Program Files\\evil.exe")], ["suspicious L1-1 L1-2"]),
        ([write(0, EVIL), launch(1, EVIL), call(9, "EVIL.EXE")], ["confirmed L1-1 L1-2 L1-3"]),
    ],
)
def test_a_file_is_dropped_and_run(rows, expected):
    assert found(*rows) == ["dropped-program-runs " + said for said in expected]


@pytest.mark.parametrize(
    ("path", "writable"),
    [
        ("C:\\Users\\ana\\evil.exe", True),
        ("C:\\Users\\Public\\evil.exe", True),
        ("C:/Users/ana/Downloads/evil.exe", True),
        ("C:\\ProgramData\\x\\evil.exe", True),
        ("C:\\Windows\\Temp\\evil.exe", True),
        ("C:\\Windows\\Tasks\\evil.exe", True),
        ("C:\\PerfLogs\\evil.exe", True),
        ("C:\\$Recycle.Bin\\S-1\\evil.exe", True),
        ("C:\\temp\\evil.exe", True),
        ("%APPDATA%\\evil.exe", True),
        ("/home/ana/evil", True),
        ("/dev/shm/evil", True),
        ("C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4\\MsMpEng.exe", False),
        ("C:\\Windows\\evil.exe", False),
        ("D:\\Tools\\evil.exe", False),
        ("/usr/bin/evil", False),
        ("/opt/tmp/evil", False),
    ],
)
def test_where_a_user_may_write(path, writable):
    assert found(write(0, path), launch(1, path)) == ["dropped-program-runs suspicious L1-1 L1-2"] * writable


@pytest.mark.parametrize(
    ("changed", "strength"),
    [
        ({}, "confirmed L1-1 L1-2 L1-3"),
        ({"logon": 0, "made": 301}, "suspicious L1-2"),
        ({"start": 601}, "suspicious L1-2"),
        ({"logon": 300, "start": 300}, "confirmed L1-1 L1-2 L1-3"),
        ({"logon": 301}, "suspicious L1-2"),
        ({"start": 299}, "suspicious L1-2"),
        ({"src": OUTSIDE}, "suspicious L1-2"),
        ({"src": None}, "suspicious L1-2"),
        ({"logon_type": 2}, "suspicious L1-2"),
        ({"logon_host": "WKS-02"}, "suspicious L1-2"),
        ({"start_host": "WKS-02"}, "suspicious L1-2"),
        ({"parent": SYSTEM32 + "svchost.exe"}, "suspicious L1-2"),
        ({"program": "C:\\Windows\\Temp\\other.exe"}, "suspicious L1-2"),
    ],
)
def test_a_service_needs_the_logon_before_and_the_start_after(changed, strength):
    with_ = {"logon": 0, "made": 300, "start": 600, "src": "10.20.1.12", "logon_type": 3, "logon_host": "WKS-01"}
    with_ |= {"start_host": "WKS-01", "parent": SERVICES, "program": "C:\\Windows\\Temp\\s.exe", **changed}
    rows = [
        logon(with_["logon"], "success", src=with_["src"], logon_type=with_["logon_type"], host=with_["logon_host"]),
        service(with_["made"], "C:\\Windows\\Temp\\s.exe"),
        launch(with_["start"], with_["program"], parent=with_["parent"], host=with_["start_host"], user="SYSTEM"),
    ]

    assert found(*rows) == [f"remote-service-execution {strength}"]


@pytest.mark.parametrize(
    ("command", "tool"),
    [
        ("C:\\Windows\\Temp\\s.exe", "s.exe"),
        ('"C:\\Users\\Ana Adler\\s.exe" -k x', "s.exe"),
        ("C:\\Users\\Ana Adler\\s.exe run", "s.exe"),
        ("cmd.exe /c echo x", "cmd.exe"),
        ("cmd /c echo x", "cmd"),
        ("%COMSPEC% /b /c start x", "%comspec%"),
        ("powershell -nop -w hidden", "powershell"),
        (SYSTEM32 + "rundll32.exe C:\\x.dll,Main", "rundll32.exe"),
        ('"C:\\Program Files\\Acme\\acme.exe" --log C:\\ProgramData\\Acme\\log.txt', None),
        ("C:\\Program Files\\Acme\\acme.exe --dir C:\\Users\\ana", None),
        ("C:\\Windows\\System32\\svchost.exe -k netsvcs", None),
        ("", None),
    ],
)
def test_what_program_a_service_runs(command, tool):
    truth = truth_of(service(0, command))

    by_program = [(finding.rule_id, finding.tool) for finding in truth.findings if finding.rule_id in ORIGINAL]
    assert by_program == [("remote-service-execution", tool)] * (tool is not None)
    assert [said for said in found(service(0, command, "config")) if said.split()[0] in ORIGINAL] == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([task(0, EVIL)], ["suspicious L1-1"]),
        ([task(0, EVIL, "update")], ["suspicious L1-1"]),
        ([task(0, "cmd.exe /c " + TEMP + "a.bat")], ["suspicious L1-1"]),
        ([task(0, "%TEMP%\\a.exe")], ["suspicious L1-1"]),
        ([task(0, EVIL, "run")], []),
        ([task(0, EVIL, "delete")], []),
        ([task(0, INSTALLED)], []),
        ([task(0, EVIL), launch(9, EVIL)], ["suspicious L1-1"]),
        ([task(0, EVIL), launch(0, EVIL), call(300, EVIL)], ["confirmed L1-1 L1-2 L1-3"]),
        ([task(0, EVIL), launch(9, EVIL), call(310, EVIL)], ["suspicious L1-1"]),
        ([launch(0, EVIL), task(1, EVIL), call(2, EVIL)], ["suspicious L1-2"]),
        ([task(0, EVIL), launch(9, EVIL, host="WKS-02"), call(9, EVIL, host="WKS-02")], ["suspicious L1-1"]),
        ([task(0, EVIL), launch(9, EVIL, host="WKS-02"), call(9, EVIL)], ["suspicious L1-1"]),
        ([task(0, EVIL), launch(9, INSTALLED), call(9, INSTALLED)], ["suspicious L1-1"]),
    ],
)
def test_a_task_runs_a_foreign_program(rows, expected):
    said = [said for said in found(*rows) if said.split()[0] in ORIGINAL]
    assert said == ["task-runs-foreign-program " + strength for strength in expected]


@pytest.mark.parametrize(
    ("program", "strength"),
    [
        (EVIL, "confirmed"),
        (TOOL, "suspicious"),
        ("C:\\Users\\ana\\windows\\x.exe", "confirmed"),
        ("D:\\stuff\\Windows\\x.exe", "suspicious"),
        ("D:\\program files stolen\\x.exe", "suspicious"),
        ("C:\\Windows\\..\\x\\x.exe", "suspicious"),
        (INSTALLED, ""),
        ("C:\\Program Files (x86)\\Acme\\acme.exe", ""),
        ("\\Device\\HarddiskVolume2\\Windows\\explorer.exe", ""),
        ("C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4\\MsMpEng.exe", ""),
        (SYSTEM32 + "csrss.exe", ""),
        ("C:\\Windows\\Temp\\x.exe", "confirmed"),
    ],
)
def test_who_may_open_other_programs(program, strength):
    assert found(inject(0, program)) == [f"code-injection {strength} L1-1"] * bool(strength)
    assert found(access(0, program)) == [f"lsass-memory-read {strength} L1-1"] * bool(strength)


def test_code_in_ones_own_process_is_no_injection():
    assert found(inject(0, EVIL, EVIL.upper())) == []
    assert found(inject(0, "")) == []


def test_injections_of_two_users_programs_or_hosts_are_told_apart():
    rows = [
        inject(0, EVIL),
        inject(1, EVIL, user="ben"),
        inject(2, TOOL),
        inject(3, EVIL, host="WKS-02"),
        inject(4, EVIL),
    ]

    assert found(*rows) == [
        "code-injection confirmed L1-1 L1-5",
        "code-injection confirmed L1-2",
        "code-injection suspicious L1-3",
        "code-injection confirmed L1-4",
    ]


@pytest.mark.parametrize(
    ("command", "rules"),
    [
        ("rundll32.exe C:\\Windows\\System32\\davclnt.dll,DavSetCookie files.example.com@SSL https://files.example.com/a", []),
        ("rundll32.exe davclnt.dll,DavSetCookie files.example.com@SSL http://files.example.com/a", ["signed-proxy-execution"]),
        ("rundll32.exe x.dll,Run 203.0.113.7@SSL https://203.0.113.7/a", ["signed-proxy-execution"]),
        ("C:\\Windows\\System32\\rundll32.exe C:\\Windows\\System32\\shell32.dll,OpenAs_RunDLL C:\\Users\\ana\\Downloads\\a.dat", []),
        ("rundll32.exe C:\\Users\\ana\\Downloads\\a.dll,Run shell32.dll,OpenAs_RunDLL x", ["launcher-runs-user-file"]),
    ],
)  # fmt: skip
def test_what_explorer_and_the_web_client_tell_rundll32_is_no_sign(command, rules):
    assert [line.split()[0] for line in found(launch(0, SYSTEM32 + "rundll32.exe", command))] == rules


def test_a_program_may_have_its_own_start_set_by_reg_with_quotes_inside_the_data():
    folder = "C:\\Users\\ana\\AppData\\Local\\Talk\\"
    key = "reg.exe add HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Run /v Talk /d "
    own = key + '"\\"' + folder + 'Update.exe\\" --start Talk.exe" /f'
    foreign = own.replace("\\Talk\\Update", "\\Other\\Update")

    def of(command):
        return found(launch(0, SYSTEM32 + "reg.exe", command, parent=folder + "app-1\\Talk.exe"))

    assert of(own) == []
    assert [line.split()[0] for line in of(foreign)] == ["autostart-value"]
