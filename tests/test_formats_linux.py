"""Log lines of Linux, macOS and what carries them: which events they become, with exact values."""

from datetime import UTC, datetime

import pytest

from scripts.coverage_tables import SAMPLES
from telemetry.importers import import_records
from telemetry.importers.events import DraftEvent
from telemetry.importers.reading import read_records
from telemetry.importers.syslog import read_message
from telemetry.importers.text import convert_text

PEER = "198.51.100.20"


def events(*lines):
    """Convert lines and list what is said of each event: activity and the fields asked for."""
    return [result for result in convert_text(enumerate(lines)) if isinstance(result, DraftEvent)]


def sign_ins(*lines):
    return [(event.record, event.activity, event.fields.user_name, event.fields.src_ip) for event in events(*lines)]


def ssh(text, pid=4111, clock="02:00:00"):
    return f"May  9 {clock} lin-31 sshd[{pid}]: {text}"


# ---------------------------------------------------------------- frames
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<38>May  9 02:00:00 lin-31 sshd[77]: hello", ("lin-31", "sshd", "77", "hello")),
        ("May  9 02:00:00 2031 lin-31 sshd[77]: hello", ("lin-31", "sshd", "77", "hello")),
        ("2031-05-09 02:00:00 lin-31 sshd: hello", ("lin-31", "sshd", "", "hello")),
        ("<38>1 2031-05-09T02:00:00Z - sshd - - - hello", ("", "sshd", "", "hello")),
        ('<38>1 2031-05-09T02:00:00Z lin-31 sshd 77 - [a@1 b="]"] \ufeffhello', ("lin-31", "sshd", "77", "hello")),
        ("99 <38>1 2031-05-09T02:00:00Z lin-31 sshd 77 - - hello", ("lin-31", "sshd", "77", "hello")),
        ("Fri 2031-05-09 02:00:00 UTC lin-31 ssh.service[77]: hello", ("lin-31", "ssh", "77", "hello")),
        ("2031-05-09T02:00:00.5Z stderr F May  9 02:00:00 lin-31 sshd[77]: hello", ("lin-31", "sshd", "77", "hello")),
        ("2031-05-09 02:00:00.5+0200 0x1f  Info  0x0  77  0  sshd: (libx) hello", ("", "sshd", "77", "hello")),
        ("2031-05-09 02:00:00.5+0200  localhost sshd[77]: hello", ("localhost", "sshd", "77", "hello")),
    ],
)
def test_a_frame_is_taken_off(line, expected):
    message = read_message(line)

    assert (message.host, message.program, message.pid, message.text) == expected
    assert message.time is not None


def test_a_line_without_a_time_takes_the_time_of_its_wrapping():
    record = {"log": "[   12.5] lin-31 sshd[77]: " + f"Failed password for ines from {PEER} port 4 ssh2", "stream": "x"}
    (untimed,) = import_records([record])
    (timed,) = import_records([{**record, "time": "2031-05-09T02:00:00Z"}])

    assert (untimed.time, timed.time) == (None, datetime(2031, 5, 9, 2, tzinfo=UTC))


# ---------------------------------------------------------------- one try is one event
def test_lines_of_one_wrong_password_are_one_failure():
    lines = [
        ssh(f"Invalid user ines from {PEER} port 4022"),
        ssh("pam_unix(sshd:auth): check pass; user unknown"),
        ssh(f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={PEER}"),
        ssh(f"Failed password for invalid user ines from {PEER} port 4022 ssh2"),
        ssh(f"Connection closed by invalid user ines {PEER} port 4022 [preauth]"),
    ]

    assert sign_ins(*lines) == [(3, "failure", "ines", PEER)]
    assert [result.record for result in convert_text(enumerate(lines))] == [0, 1, 2, 3, 4]


def test_every_wrong_password_of_a_connection_counts_and_so_does_the_entry():
    lines = [ssh(f"Failed password for ines from {PEER} port 4022 ssh2", clock=f"02:00:0{n}") for n in range(3)]
    lines += [
        ssh(f"Accepted password for ines from {PEER} port 4022 ssh2"),
        ssh("pam_unix(sshd:session): session opened for user ines(uid=1004) by (uid=0)"),
    ]

    assert [activity for _, activity, _, _ in sign_ins(*lines)] == ["failure"] * 3 + ["success"]


def test_keys_that_a_client_offers_before_the_right_one_are_no_failures():
    offered = [ssh(f"Failed publickey for ines from {PEER} port 4022 ssh2: ED25519 SHA256:ab") for _ in range(4)]

    assert sign_ins(*offered, ssh(f"Accepted publickey for ines from {PEER} port 4022 ssh2")) == [
        (4, "success", "ines", PEER)
    ]
    assert sign_ins(*offered) == [(0, "failure", "ines", PEER)]


@pytest.mark.parametrize(
    "text",
    [
        "Connection closed by authenticating user root {peer} port {port} [preauth]",
        "Connection reset by authenticating user root {peer} port {port} [preauth]",
        "Disconnected from authenticating user root {peer} port {port} [preauth]",
        "Connection closed by invalid user root {peer} port {port} [preauth]",
        "error: maximum authentication attempts exceeded for root from {peer} port {port} ssh2 [preauth]",
        "User root from {peer} port {port} not allowed because not listed in AllowUsers",
        "Disconnecting authenticating user root {peer} port {port}: Too many authentication failures [preauth]",
        "error: PAM: authentication error for root from {peer} port {port}",
        "sshd: Failed password for root from {peer} port {port} ssh2",
    ],
)
@pytest.mark.parametrize("same_process", [True, False])
def test_tries_on_a_server_that_tells_no_wrong_password_count(text, same_process):
    lines = [ssh(text.format(peer=PEER, port=4000 + n), 1 if same_process else n) for n in range(3)]

    assert sign_ins(*lines) == [(n, "failure", "root", PEER) for n in range(3)]


@pytest.mark.parametrize(
    "text",
    [
        f"Connection closed by {PEER} port 4022 [preauth]",
        f"Did not receive identification string from {PEER} port 4022",
        f"Disconnected from user ines {PEER} port 4022",
        f"Received disconnect from {PEER} port 4022:11: disconnected by user",
    ],
)
def test_a_health_check_and_an_end_of_a_session_are_no_tries(text):
    assert [event.event_type for event in events(ssh(text))] in ([], ["net_conn"])


def test_a_refused_login_of_root_is_a_try():
    assert sign_ins(ssh(f"ROOT LOGIN REFUSED FROM {PEER} port 4022 [preauth]")) == [(0, "failure", "ROOT", PEER)]


def test_one_connection_that_ends_in_several_lines_is_one_try():
    lines = [
        ssh(f"Received disconnect from {PEER} port 4022:11: Bye Bye [preauth]"),
        ssh(f"Disconnected from authenticating user root {PEER} port 4022 [preauth]"),
    ]

    assert [event.record for event in events(*lines)] == [0]


def test_folded_repeats_are_as_many_tries_and_never_without_bound():
    wrong = f"Failed password for root from {PEER} port 4022 ssh2"

    assert len(sign_ins(ssh(wrong), ssh(f"message repeated 5 times: [ {wrong}]"))) == 6
    assert len(sign_ins(ssh(wrong), "May  9 02:00:09 lin-31 last message repeated 4 times")) == 5
    assert len(sign_ins(ssh(f"message repeated 999999 times: [ {wrong}]"))) == 1000
    assert sign_ins(ssh("message repeated 5 times: [ Server listening on :: port 22.]")) == []


def test_wrong_passwords_that_pam_alone_tells_count_with_those_that_it_sums_up():
    failure = f"authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={PEER}  user=root"
    lines = [
        ssh(f"pam_unix(sshd:auth): {failure}"),
        ssh(f"pam_sss(sshd:auth): {failure}"),
        ssh(f"PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={PEER}  user=root"),
    ]

    assert sign_ins(*lines) == [
        (0, "failure", "root", PEER),
        (2, "failure", "root", PEER),
        (2, "failure", "root", PEER),
    ]


def test_an_audited_wrong_password_is_one_failure():
    said = f'acct="ines" exe="/usr/sbin/sshd" hostname={PEER} addr={PEER} terminal=ssh res=failed'
    head = "pid=911 uid=0 auid=4294967295 ses=4294967295"
    lines = [
        f"type=USER_AUTH msg=audit(1936080000.100:1): {head} msg='op=PAM:authentication {said}'",
        f"type=USER_LOGIN msg=audit(1936080000.200:2): {head} msg='op=login {said}'",
    ]

    assert sign_ins(*lines) == [(0, "failure", "ines", PEER)]


# ---------------------------------------------------------------- what messages become
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "sudo: ines : TTY=pts/0 ; PWD=/ ; USER=root ; ENV=A=1 ; COMMAND=/bin/ls -l",
            {"activity": "launch", "process_path": "/bin/ls", "process_cmd_line": "/bin/ls -l", "actor_user": "ines"},
        ),
        ("sudo: ines : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=list", {"activity": "sudo", "privileges": "list"}),
        ("sudo: ines : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls", {"outcome": "failure"}),
        ("usermod[7]: change user 'ines' UID from '1004' to '0'", {"activity": "modify", "user_name": "ines"}),
        ("gpasswd[7]: user ines added by root to group wheel", {"activity": "member_add", "group_name": "wheel"}),
        ("passwd[7]: pam_unix(passwd:chauthtok): password changed for ines", {"activity": "password_change"}),
        ("CRON[7]: (root) CMD (run-parts /etc/cron.hourly)", {"job_cmd_line": "run-parts /etc/cron.hourly"}),
        ("crontab[7]: (ines) REPLACE (ines)", {"activity": "update", "actor_user": "ines"}),
        ("systemd[1]: Started quill.service - Quill.", {"service_name": "quill.service", "status": "running"}),
        (
            "dnsmasq[7]: query[A] files.quill.test from 10.71.4.9",
            {"query_hostname": "files.quill.test", "src_ip": "10.71.4.9"},
        ),
        (
            "named[7]: client @0x7f 10.71.4.9#53 (a.quill.test): query: a.quill.test IN A + (10.71.8.53)",
            {"query_hostname": "a.quill.test", "src_ip": "10.71.4.9"},
        ),
        (
            "kernel: [UFW BLOCK] IN=e0 OUT= MAC=a SRC=198.51.100.20 DST=10.71.8.20 LEN=4 PROTO=TCP SPT=1 DPT=23 W=1",
            {"activity": "block", "src_ip": PEER, "dst_ip": "10.71.8.20", "dst_port": 23, "direction": "inbound"},
        ),
        (
            "%ASA-6-302013: Built outbound TCP connection 7 for outside:198.51.100.20/443 (198.51.100.20/443) to inside:10.71.4.9/5 (10.71.4.9/5)",
            {"activity": "allow", "src_ip": "10.71.4.9", "dst_ip": PEER, "dst_port": 443},
        ),
        (
            "dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<ines>, method=PLAIN, rip=198.51.100.20, lip=10.71.8.20",
            {"activity": "failure", "user_name": "ines", "src_ip": PEER},
        ),
        (
            "sudo: ines : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
            {"activity": "failure"},
        ),
    ],
)
def test_a_message_becomes_an_event(line, expected):
    fields = events(f"May  9 02:00:00 lin-31 {line}")[0].fields.model_dump(exclude_none=True)

    assert {name: fields.get(name) for name in expected} == expected


def test_a_session_of_cron_is_a_job_and_no_sign_in():
    (event,) = events(
        "May  9 02:00:00 lin-31 CRON[7]: pam_unix(cron:session): session opened for user root by (uid=0)",
        "May  9 02:00:01 lin-31 CRON[7]: pam_unix(cron:session): session closed for user root",
    )

    assert (event.event_type, event.activity, event.fields.run_as) == ("task", "run", "root")


def test_an_interpreted_audit_event_keeps_its_command_and_its_names():
    head = "msg=audit(05/13/2031 02:00:00.201:6201) :"
    lines = [
        f"type=EXECVE {head} argc=3 a0=sh a1=-c a2=echo a=1 b ",
        f"type=SYSCALL {head} arch=x86_64 syscall=execve success=yes ppid=9 pid=12 auid=ines uid=root comm=sh exe=/usr/bin/dash",
        "type=SOCKADDR msg=audit(05/13/2031 02:00:01.201:6202) : saddr={ saddr_fam=inet laddr=198.51.100.20 lport=443 } ",
        "type=SYSCALL msg=audit(05/13/2031 02:00:01.201:6202) : arch=x86_64 syscall=connect success=yes pid=12 uid=root exe=/usr/bin/curl",
    ]
    launch, call = events(*lines)

    assert (launch.fields.process_path, launch.fields.process_cmd_line, launch.fields.actor_user) == (
        "/usr/bin/dash",
        "sh -c 'echo a=1 b'",
        "root",
    )
    assert (call.fields.dst_ip, call.fields.dst_port) == (PEER, 443)


def test_a_write_is_told_from_a_read_by_the_flags_and_named_with_its_folder():
    def opened(flags):
        head = "msg=audit(1936080000.100:1):"
        return events(
            f'type=SYSCALL {head} arch=c000003e syscall=257 success=yes a2={flags} pid=5 uid=0 exe="/usr/bin/tee"',
            f'type=CWD {head} cwd="/root/.ssh"',
            f'type=PATH {head} item=0 name="authorized_keys" nametype=NORMAL',
        )

    (event,) = opened("441")

    assert (event.activity, event.fields.file_path) == ("modify", "/root/.ssh/authorized_keys")
    assert opened("80000") == []


def test_a_program_that_could_not_be_started_is_no_launch():
    assert events('type=SYSCALL msg=audit(1.0:1): arch=c000003e syscall=59 success=no exit=-2 exe="/usr/bin/env"') == []


def test_a_journal_entry_keeps_time_host_and_program():
    (event,) = import_records(
        [
            {
                "__REALTIME_TIMESTAMP": "1936080000250000",
                "_HOSTNAME": "lin-31",
                "SYSLOG_IDENTIFIER": "sshd-session",
                "_PID": "5",
                "MESSAGE": list(f"Failed password for ines from {PEER} port 4 ssh2".encode()),
            }
        ]
    )

    assert event.time == datetime(2031, 5, 9, 8, 0, 0, 250_000, UTC)
    assert (event.fields.device_hostname, event.fields.user_name, event.fields.src_ip) == ("lin-31", "ines", PEER)


@pytest.mark.parametrize("frame", ["May  9 02:00:00 lin-31 {}: ", "<13>1 2031-05-09T02:00:00Z lin-31 {} 7 - - "])
def test_a_record_that_is_a_message_s_whole_text_is_read_as_its_own_kind(frame):
    eve = '{"timestamp": "2031-05-09T02:00:01Z", "flow_id": 1, "event_type": "flow", "src_ip": "10.71.4.9", "flow": {}}'
    sysmon = (
        '<Event><System><Provider Name="Linux-Sysmon"/><EventID>1</EventID><TimeCreated SystemTime="2031-05-09T02:00:01Z"/>'
        '<Computer>lin-31</Computer></System><EventData><Data Name="Image">/usr/bin/wget</Data></EventData></Event>'
    )
    lines = frame.format("suricata") + eve, frame.format("sysmon") + sysmon
    flow, launch = import_records({"raw": line} for line in lines)

    assert (flow.event_type, flow.fields.src_ip) == ("net_conn", "10.71.4.9")
    assert (launch.event_type, launch.fields.process_path) == ("process", "/usr/bin/wget")
    assert flow.time == launch.time == datetime(2031, 5, 9, 2, 0, 1, tzinfo=UTC)


def test_a_zone_by_its_name_moves_the_clock():
    message = read_message("Fri 2031-05-09 02:00:00 CEST lin-31 sshd[77]: hello")

    assert (message.time, message.host) == (datetime(2031, 5, 9, 0, 0, 0, tzinfo=UTC), "lin-31")


@pytest.mark.parametrize(
    "record",
    [
        {"timestamp": "2031-05-09T02:00:00Z", "host": "lin-31", "tag": "sshd[77]:"},
        {"timestamp": "2031-05-09T02:00:00Z", "hostname": "lin-31", "programname": "sshd", "procid": "77"},
    ],
)
def test_a_message_in_columns_is_read_like_a_line(record):
    (event,) = import_records([{**record, "message": f"Failed password for ines from {PEER} port 4 ssh2"}])

    assert (event.time, event.activity) == (datetime(2031, 5, 9, 2, tzinfo=UTC), "failure")
    assert (event.fields.device_hostname, event.fields.logon_process) == ("lin-31", "sshd")


def test_a_message_without_a_program_that_only_sshd_writes_is_read():
    assert sign_ins(f"2031-05-09T02:00:00Z stderr F Failed password for ines from {PEER} port 4 ssh2") == [
        (0, "failure", "ines", PEER)
    ]


# ---------------------------------------------------------------- carriers of lines
def test_an_audited_sudo_is_the_launch_of_what_it_ran_and_a_refused_one_is_none():
    head = 'type=USER_CMD msg=audit(1936080000.100:{}): pid=9 uid=1002 auid=1002 ses=4 msg=\'cwd="/" cmd={} terminal=pts/0 res={}\'\x1dUID="ines" AUID="ines"'
    ran, refused = import_records(
        [
            {"raw": head.format(1, "746565202D61202F6574632F7375646F657273", "success")},
            {"raw": head.format(2, '"id"', "failed")},
        ]
    )

    assert (ran.event_type, ran.fields.actor_user, ran.fields.process_cmd_line) == (
        "process",
        "ines",
        "tee -a /etc/sudoers",
    )
    assert (refused.event_type, refused.fields.outcome) == ("privilege", "failure")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "auditd-log--go-audit.jsonl",
            {"process_cmd_line": "curl https://files.quill.test/list", "actor_user": "www-data"},
        ),
        ("suricata-eve-json--syslog.log", {"query_hostname": "files.quill.test", "src_ip": "10.61.4.9"}),
        ("syslog--busybox.log", {"device_hostname": "gate-3", "user_name": "root", "src_ip": "198.51.100.20"}),
        (
            "systemd-journal--fluent-bit.jsonl",
            {"device_hostname": "lin-31", "user_name": "admin", "activity": "failure"},
        ),
        ("syslog--logcli.log", {"device_hostname": "lin-31", "user_name": "admin", "activity": "failure"}),
        ("syslog--ossec-alerts.log", {"device_hostname": "gate-3", "user_name": "admin"}),
        ("wazuh-windows-events--alerts-log.log", {"user_name": "ines.okafor", "status": "0xc000006a"}),
        ("windows-events-in-splunk--results.xml", {"process_cmd_line": "whoami /all"}),
        (
            "chainsaw-1.csv",
            {"process_path": "C:\\Windows\\System32\\vssadmin.exe", "device_hostname": "DESK-9.quill.test"},
        ),
        ("github-audit-log-by-graphql--answer.json", {"src_ip": "198.51.100.20", "api_operation": "repo.access"}),
        ("osquery-shell.csv", {"process_cmd_line": "python3 -m http.server 8090", "actor_user": "ines.okafor"}),
    ],
)
def test_a_carrier_keeps_what_its_record_says(name, expected):
    drafts = [result for result in import_records(read_records(SAMPLES / name)) if isinstance(result, DraftEvent)]

    assert expected.items() <= drafts[0].fields.model_dump().items()


def test_an_alert_of_a_log_file_takes_its_time_where_the_line_names_no_year():
    (draft,) = import_records(read_records(SAMPLES / "syslog--ossec-alerts.log"))

    assert (draft.time.year, draft.time.second) == (2031, 5)


# ---------------------------------------------------------------- attempts that other servers log
@pytest.mark.parametrize(
    "line",
    [
        f"2031-05-06T08:00:05.120331Z 7 [Note] [MY-010926] [Server] Access denied for user 'ines'@'{PEER}' (using password: YES)",
        f'2031-05-06 08:00:05.120 UTC [900] ines@press {PEER}(4411) FATAL:  password authentication failed for user "ines"',
        f'{PEER} - ines [06/May/2031:10:00:05 +0200] "GET /manager/html HTTP/1.1" 401 381',
    ],
)
def test_a_wrong_password_that_a_server_logs_is_an_attempt(line):
    (event,) = events(line)

    assert (event.event_type, event.activity, event.fields.user_name, event.fields.src_ip) == (
        "logon",
        "failure",
        "ines",
        PEER,
    )
    assert (event.time.year, event.fields.device_hostname) == (2031, None)


@pytest.mark.parametrize("user", ["-", '""'])
def test_a_refused_request_that_names_nobody_asks_for_a_password_and_tries_none(user):
    (event,) = events(f'{PEER} - {user} [06/May/2031:10:00:05 +0200] "GET /manager/html HTTP/1.1" 401 381')

    assert event.event_type == "http"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"sc-status": "401", "sc-substatus": "1"}, ("logon", "failure")),
        ({"sc-status": "401", "sc-substatus": "3"}, ("http", "request")),
        ({"sc-status": "200", "sc-substatus": "0"}, ("http", "request")),
        ({"sc-status": "530", "cs-method": "PASS"}, ("logon", "failure")),
        ({"sc-status": "230", "cs-method": "PASS"}, ("logon", "success")),
    ],
)
def test_a_row_of_iis_is_an_attempt_where_a_password_was_refused(told, expected):
    row = {
        "date": "2031-05-06",
        "time": "08:00:05",
        "c-ip": PEER,
        "cs-method": "POST",
        "cs-uri-stem": "/ews",
        "cs-username": "ines",
    }
    (draft,) = import_records([{**row, **told}])

    assert (draft.event_type, draft.activity) == expected
