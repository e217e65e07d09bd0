"""The admission gate: for every check something that is admitted and something that is refused."""

import re

import pytest

from generator import generate
from incidents import (
    EVIL,
    INSTALLED,
    OUTSIDE,
    POWERSHELL,
    SYSTEM32,
    call,
    clock,
    cloud,
    event,
    incident,
    inject,
    launch,
    logon,
    service_tickets,
    setting,
    ticket,
    world,
    write,
)
from schema import TASKS
from tasks.registry import SPLITS
from verifier import check_plausibility, compute_ground_truth, signature


def reasons(*rows, category="benign_activity", seen=None, **parts):
    return check_plausibility(incident(*rows, category=category), world(**parts), seen=seen)


def refused(*rows, words, **parts):
    """Whether the only reasons are those with the words."""
    given_ = reasons(*rows, **parts)
    return bool(given_) and all(words in reason for reason in given_)


def connection(**changes):
    return call(0, INSTALLED, **{"direction": "outbound", "dst_scope": "external", **changes})


# ---------------------------------------------------------------- without a world
def test_without_a_world_any_host_account_and_address_of_ours_is_taken_and_the_rest_is_checked():
    stranger = launch(0, INSTALLED, host="ELSEWHERE", user="nobody.known")
    inside = event(
        0,
        "net_conn",
        "flow",
        process_path=INSTALLED,
        host="ELSEWHERE",
        user="PC-9$",
        src_ip="10.9.9.9",
        dst_ip="10.9.9.8",
    )

    assert check_plausibility(incident(stranger)) == check_plausibility(incident(inside)) == []
    assert check_plausibility(incident(stranger, category="exfiltration")) == [
        "exfiltration needs an external destination and bytes that go there"
    ]


# ---------------------------------------------------------------- entities
def test_log_ids_are_unique():
    assert reasons(launch(0, INSTALLED), launch(1, INSTALLED)) == []
    assert reasons(launch(0, INSTALLED, log_id="L1-1"), launch(1, INSTALLED, log_id="L1-1")) == [
        "log ids must be unique; L1-1 came more than once"
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (launch(0, INSTALLED, host="WKS-02"), ""),
        (launch(0, INSTALLED, host="WKS-99"), "L1-1: there is no host 'WKS-99' in this world"),
        (launch(0, INSTALLED, host="wks-01"), "no host"),
        (launch(0, INSTALLED, user="svc_sync"), ""),
        (launch(0, INSTALLED, user="CORP\\ben"), ""),
        (launch(0, INSTALLED, user="NT AUTHORITY\\SYSTEM"), ""),
        (launch(0, INSTALLED, user="WKS-01$"), ""),
        (launch(0, INSTALLED, user="WKS-99$"), "no machine of the account 'WKS-99$'"),
        (launch(0, INSTALLED, user="eve"), "L1-1: there is no account 'eve' in this world"),
        (launch(0, INSTALLED, user=("corp." * 40)[:196] + "\\ana"), ""),
        (launch(0, INSTALLED, user=("corp." * 40)[:197] + "\\ana"), "actor_user is longer than 200 characters"),
        (logon(0, "success", "eve"), "no account 'eve'"),
        (logon(0, "failure", "eve"), ""),
        (logon(0, "failure", "Ana"), "L1-1: the account 'Ana' is written 'ana' in this world"),
        (logon(0, "failure", "CORP\\ana"), ""),
        (event(0, "kerberos", "preauth_failure", user_name="eve", service_name="krbtgt"), ""),
        (event(0, "kerberos", "tgt", user_name="eve", service_name="krbtgt"), "no account 'eve'"),
        (event(0, "account", "create", user_name="new.one", attributes="enabled"), ""),
        (event(0, "account", "modify", user_name="new.one", attributes="enabled"), "no account 'new.one'"),
    ],
)
def test_hosts_and_accounts_exist(row, words):
    assert refused(row, words=words) == bool(words)


def test_an_account_that_is_made_here_may_act_here():
    rows = [event(0, "account", "create", user_name="new.one", attributes="x"), launch(1, INSTALLED, user="new.one")]

    assert reasons(*rows) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.20.1.12", ""),
        ("10.20.200.5", ""),  # the scanner's
        ("127.0.0.1", ""),
        ("203.0.113.9", ""),
        ("2001:db8::1", ""),
        ("10.99.1.12", "src_ip 10.99.1.12 is neither ours nor an address on the internet"),
        ("0.0.0.0", "neither ours nor an address on the internet"),
        ("10.20.1.250", "L1-1: internal address 10.20.1.250 belongs to no host"),
        ("fe80::1", "internal address fe80::1 belongs to no host"),
        ("1.2.3", "src_ip '1.2.3' is no address"),
        ("1.2.3.256", "is no address"),
        ("01.2.3.4", "is no address"),
        ("abc", "is no address"),
        ("...:", "is no address"),
        ("2001:DB8::1", "sensors write as 2001:db8::1"),
        ("2001:db8:0:0::1", "sensors write as 2001:db8::1"),
        ("::ffff:203.0.113.9", "sensors write as 203.0.113.9"),
    ],
)
def test_addresses_are_addresses_and_belong_to_somebody(address, words):
    assert refused(logon(0, "failure", src=address), words=words) == bool(words)


# ---------------------------------------------------------------- substance
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (event(0, "module_load", "dll", file_path="C:\\a.dll", process_path=INSTALLED), ""),
        (event(0, "module_load", "dll", file_path="C:\\a.dll"), "L1-1: too little is said"),
        (event(0, "module_load", "dll", file_path="C:\\a.dll", process_path=""), "too little is said"),
        (
            event(0, "module_load", "dll", host=None, file_path="C:\\a.dll", process_path=INSTALLED),
            "too little is said",
        ),
        (event(0, "script", "block", script_text="Get-Date"), ""),
        (event(0, "script", "block"), "too little is said"),
        (event(0, "cloud_api", "call", host=None, api_operation="ListBuckets", api_service="s3"), ""),
        (event(0, "http", "request", host=None, user=None, url="/", src_ip=OUTSIDE), ""),
    ],
)
def test_enough_is_said(row, words):
    assert refused(row, words=words) == bool(words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            event(0, "process", "launch", process_cmd_line="powershell -enc x", parent_path=INSTALLED),
            "names its process_path",
        ),
        (event(0, "file", "create", process_path=INSTALLED, file_hashes="SHA1=0"), "names its file_path"),
        (event(0, "registry", "set", reg_value_data="1", process_path=INSTALLED), "names its reg_key_path"),
        (event(0, "process_access", "open", process_path=INSTALLED, access_mask="0x1010"), "names its target_path"),
        (launch(0, '"C:\\Program Files\\Acme\\acme.exe"', "acme"), "process_path is no path"),
        (launch(0, INSTALLED + " ", "acme"), "process_path is no path"),
        (launch(0, " " + INSTALLED, "acme"), "process_path is no path"),
        (launch(0, INSTALLED + " -enc x", "acme"), "process_path is no path"),
        (launch(0, INSTALLED, "acme", parent="C:\\explorer.exe."), "parent_path is no path"),
        (write(0, "D:\\report.exe - Shortcut.lnk"), "file_path is no path"),
        (write(0, "D:\\My report (1).docx"), ""),
    ],
)
def test_fields_that_rules_read_are_there_and_well_formed(row, words):
    assert refused(row, words=words) == bool(words)


@pytest.mark.parametrize(
    ("text", "is_gibberish"),
    [
        ("Get-Service | Where-Object Status -eq Running", False),
        ("x" * 15, False),
        ("x" * 16, True),
        ("ab" * 12, False),
        ("ab" * 13, True),
        ("!?#$%&()=+*", False),
        ("!?#$%&()=+*~", True),
        ("abcdef!?#$%&()=+*~;<", False),
        ("abcde!?#$%&()=+*~;<>", True),
        ("d\u00e9j\u00e0 vu \u4e2d\u6587 \u0440\u0443\u0441", False),
    ],
)
def test_text_is_no_gibberish(text, is_gibberish):
    assert refused(event(0, "script", "block", script_text=text), words="no text that a sensor writes") == is_gibberish


# ---------------------------------------------------------------- time
def test_events_stand_in_time_order():
    assert reasons(launch(5, INSTALLED), launch(5, INSTALLED), launch(6, INSTALLED)) == []
    assert reasons(launch(5, INSTALLED), launch(4, INSTALLED)) == [
        "L1-2: events must be in time order; this one is before the one above it"
    ]


@pytest.mark.parametrize(
    ("times", "now", "words"),
    [
        ((0, 86_400), 86_400, ""),
        ((0, 86_401), 86_401, "the events span 86401 s"),
        ((0, 7200), 7200, ""),
        ((0, 7201), 7200, "events must lie in the 86400 s before"),
        ((0,), 86_400, ""),
        ((0,), 86_401, "events must lie in the 86400 s before"),
    ],
)
def test_events_lie_in_the_day_before_the_alert(times, now, words):
    found = reasons(*(launch(at, INSTALLED) for at in times), now=clock(now))

    assert [words in reason for reason in found[:1]] == [True] * bool(words)


def test_a_world_without_a_clock_takes_any_day():
    assert reasons(launch(-(10**9), INSTALLED), now="") == []


# ---------------------------------------------------------------- cause and effect
CMD = SYSTEM32 + "cmd.exe"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([launch(0, CMD), launch(1, INSTALLED, parent=CMD)], ""),
        ([launch(0, CMD), launch(0, INSTALLED, parent=CMD)], ""),
        ([launch(0, INSTALLED, parent=CMD), launch(1, CMD, host="WKS-02")], ""),
        ([launch(0, INSTALLED, parent=CMD), launch(1, CMD.upper())], "L1-1: its parent cmd.exe starts only later"),
        ([write(0, INSTALLED), launch(1, INSTALLED)], ""),
        ([launch(0, INSTALLED), write(1, INSTALLED, CMD, "modify")], ""),
        ([launch(0, INSTALLED), write(0, INSTALLED)], ""),
        ([launch(0, INSTALLED), write(1, INSTALLED)], "L1-2: acme.exe runs before it is written"),
    ],
)
def test_causes_come_before_effects(rows, words):
    assert refused(*rows, words=words) == bool(words)


# ---------------------------------------------------------------- agreement
INBOUND = {"src_ip": OUTSIDE, "dst_ip": "10.20.1.11"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (connection(), ""),
        (connection(dst_scope="internal"), "dst_scope is 'internal', but 203.0.113.7 is not ours"),
        (connection(direction="inbound"), "direction is 'inbound', but 10.20.1.11 to 203.0.113.7 is outbound"),
        (connection(direction="lateral"), "direction is 'lateral'"),
        (event(0, "net_conn", "flow", direction="inbound", dst_scope="internal", **INBOUND), ""),
        (event(0, "net_conn", "flow", direction="outbound", **INBOUND), "direction is 'outbound'"),
        (event(0, "net_conn", "flow", dst_scope="external", **INBOUND), "but 10.20.1.11 is ours"),
        (call(0, INSTALLED, "10.20.1.12", direction="lateral", dst_scope="internal"), ""),
        (call(0, INSTALLED, "10.20.1.11"), "source and destination are the same address"),
        (call(0, INSTALLED, src_ip="203.0.113.8", host=None), "neither end is ours"),
        (call(0, INSTALLED, activity="block", bytes_in=0), ""),
        (call(0, INSTALLED, activity="block", bytes_in=1), "a blocked connection cannot have received bytes"),
        (call(0, INSTALLED, src_ip="10.20.1.12"), "WKS-01 has the address 10.20.1.11, which is neither end"),
        (logon(0, "success", status="0x0"), ""),
        (logon(0, "success", status="0xC000006A"), "a success cannot have the status '0xC000006A'"),
        (logon(0, "failure", status="0xC000006A"), ""),
        (logon(0, "failure", status="0x0"), "a failure cannot have the status '0x0'"),
    ],
)
def test_fields_agree_with_each_other(row, words):
    assert refused(row, words=words) == bool(words)


# ---------------------------------------------------------------- what attackers that were trained found
ACCOUNT = "286961027363"
IAM = f"arn:aws:iam::{ACCOUNT}:user/"
ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user_uid": IAM + "ana", "cloud_account": ACCOUNT}, ""),
        ({"user_uid": IAM + "ana"}, ""),
        ({"user_uid": IAM + "staff/ana", "user_type": "IAMUser"}, ""),
        ({"user_uid": f"{ROLE}AWSReservedSSO_Reader_0123456789abcdef/ana", "cloud_account": ACCOUNT}, ""),
        ({"user_uid": "ana@corp.example"}, ""),
        ({"user_uid": "ana@corp.example", "user": "ana@corp.example"}, ""),
        ({"user_uid": f"arn:aws:iam::{ACCOUNT}:root", "user": "root", "user_type": "Root"}, ""),
        ({"user_uid": IAM + "ben", "cloud_account": ACCOUNT}, "user_uid names 'ben', and actor_user 'ana'"),
        ({"user_uid": "ben@corp.example"}, "user_uid names 'ben', and actor_user 'ana'"),
        ({"user_uid": "ben"}, "user_uid names 'ben', and actor_user 'ana'"),
        ({"user_uid": IAM + "eve", "cloud_account": ACCOUNT}, "user_uid names 'eve', and actor_user 'ana'"),
        ({"user_uid": ROLE + "deploy/session"}, "user_uid names 'session', and actor_user 'ana'"),
        ({"user_uid": "a.stranger"}, "user_uid names 'a.stranger', and actor_user 'ana'"),
        (
            {"user_uid": "ana@elsewhere.example", "user": "ana@corp.example"},
            "user_uid is 'ana@elsewhere.example', and actor_user 'ana@corp.example'",
        ),
        ({"user_uid": IAM + "ana", "cloud_account": "1"}, f"user_uid is of the account {ACCOUNT}, and cloud_account"),
        ({"user_uid": "arn:aws:iam::17311801125:user/ana", "user": None}, "is no ARN of an identity"),
        ({"user_uid": "arn:aws:sts::7HTTP/ana"}, "is no ARN of an identity"),
        ({"user_uid": IAM + "ana", "user_type": "Root"}, "the user_type 'Root' is of another identity than user_uid"),
        (
            {"user_uid": f"arn:aws:iam::{ACCOUNT}:root", "user": "root", "user_type": "IAMUser"},
            "user_type 'IAMUser' is",
        ),
        ({"user_uid": ROLE + "AWSServiceRoleForECS/ana"}, "a program makes this call, and actor_user names 'ana'"),
        ({"user_uid": ROLE + "ci/ana", "user_type": "WebIdentityUser"}, "a program makes this call, and actor_user"),
        ({"user": None}, "a call names who makes it"),
    ],
)
def test_a_call_to_a_cloud_is_made_by_one_caller(fields, words):
    assert refused(cloud(0, "ListBuckets", **fields), words=words) == bool(words)


@pytest.mark.parametrize(
    ("identity", "kind", "admitted"),
    [
        (IAM + "ana", "IAMUser", True),
        (IAM + "eve", "IAMUser", False),
        (IAM + "eve", None, False),
        (IAM + "eve", "WebIdentityUser", False),
        (ROLE + "AWSReservedSSO_Reader_0123456789abcdef/eve", "AssumedRole", False),
        (ROLE + "web/i-0123456789abcdef0", "AssumedRole", True),
        (ROLE + "web/i-0123456", "AssumedRole", False),
        (ROLE + "ci/run-17", "WebIdentityUser", True),
        (ROLE + "AWSServiceRoleForECS/ecs-service-scheduler", "AssumedRole", True),
        ("eve@corp.example", "user", False),
        ("ana@corp.example", "user", True),
        ("service-12@compute-system.iam.gserviceaccount.com", "serviceAccount", True),
        ("system:anonymous", "user", True),
        ("0123abcd-0000-4000-8000-0123456789ab", "user", True),
        ("build[bot]", "bot", True),
        ("eve", "user", False),
    ],
)
def test_a_call_without_an_account_at_work_is_made_by_an_account_of_the_world_or_by_a_program(identity, kind, admitted):
    row = cloud(0, "ListBuckets", user=None, user_uid=identity, user_type=kind)
    whose = "is of another identity" if kind == "WebIdentityUser" else "who is no account of this world"

    assert refused(row, words=whose) == (not admitted)


def test_an_account_is_at_work_only_after_it_is_created():
    rows = [launch(0, INSTALLED, user="new.one"), event(1, "account", "create", user_name="new.one", attributes="x")]

    assert reasons(*rows) == ["L1-1: the account 'new.one' is at work before it is created"]


@pytest.mark.parametrize(
    ("class_id", "words"),
    [
        ("{d78b5fb9-0000-4000-8000-0000eedcbec5}", ""),
        ("{d78b5fb9-0000-4000-8000-0000eedcbec55}", "which is no class id"),
        ("{d78b5fb9", "which is no class id"),
    ],
)
def test_a_class_id_has_as_many_digits_as_windows_takes(class_id, words):
    row = setting(0, INSTALLED, rf"HKU\S-1-5-21-1-2-3-1001_Classes\CLSID\{class_id}\InprocServer32")
    assert refused(row, words=words) == bool(words)


@pytest.mark.parametrize(
    ("machine", "exists"),
    [
        ("WKS-02$", True),
        ("LEL-WKS-08$", False),
        ("cifs/WKS-02", True),
        ("cifs/WKS-02.corp.example:445", True),
        ("cifs/WKS-77.corp.example", False),
        ("MSSQLSvc/WKS-77:1433", False),
        ("HTTP/WKS-77", False),
        ("HTTP/shop.corp.example", True),
        ("krbtgt/CORP.EXAMPLE", True),
        ("svc_sql", True),
    ],
)
def test_kerberos_gives_tickets_for_machines_that_exist(machine, exists):
    (row,) = service_tickets(1, name=machine, cipher="0x12")
    assert refused(row, words="in this world, for which a ticket is given") == (not exists)


@pytest.mark.parametrize(("target", "exists"), [("WKS-02", True), ("localhost", True), ("WKS-77", False)])
def test_machines_exist_that_are_signed_in_to(target, exists):
    row = logon(0, "explicit_credentials", "ana", target_hostname=target)
    assert refused(row, words="in this world, to sign in to") == (not exists)


@pytest.mark.parametrize(
    ("run_as", "words"),
    [
        ("svc_sync", ""),
        ("CORP\\svc_sync", ""),
        ("LocalSystem", ""),
        ("LocalService", ""),
        ("NT Service\\MSSQL$SHOP", ""),
        ("S-1-5-18", ""),
        ("svc_nobody", "there is no account 'svc_nobody' in this world"),
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        {"event_type": "service", "activity": "install", "service_name": "Sync"},
        {"event_type": "task", "activity": "create", "job_name": "Sync"},
    ],
)
def test_services_and_jobs_run_as_accounts_that_exist(row, run_as, words):
    assert refused(event(0, **row, run_as=run_as), words=words) == bool(words)


@pytest.mark.parametrize(
    ("kind", "activity", "source", "target", "words"),
    [
        ("http", "request", OUTSIDE, "10.20.1.11", ""),
        ("http", "request", "10.20.1.11", OUTSIDE, ""),
        ("http", "request", OUTSIDE, "10.20.1.12", "WKS-01 has the address 10.20.1.11, which is neither end"),
        ("http", "request", OUTSIDE, "203.0.113.10", "neither end"),
        ("share", "access", "10.20.1.12", "10.20.1.11", ""),
        ("share", "access", None, "10.20.1.12", "which is neither end"),
        ("directory", "rpc", "10.20.1.12", "10.20.1.12", "which is neither end"),
        ("detection", "ids_notice", OUTSIDE, "10.20.1.12", "which is neither end"),
    ],
)
def test_traffic_of_every_kind_has_an_end_where_it_was_seen(kind, activity, source, target, words):
    facts = {
        "http": {"url": "/a"},
        "share": {"share_name": "C$", "file_path": "a.txt"},
        "directory": {"rpc_operation": "DRSBind"},
        "detection": {"finding_title": "Odd traffic", "severity": "low"},
    }[kind]
    row = event(0, kind, activity, host="WKS-01", src_ip=source, dst_ip=target, **facts)

    assert refused(row, words=words) == bool(words)


# ---------------------------------------------------------------- the claim
IMPLANT = event(0, "process_inject", "remote_thread", process_path=EVIL, target_path=CMD)


@pytest.mark.parametrize(
    ("category", "rows", "words"),
    [
        ("benign_activity", [launch(0, POWERSHELL, "iex 1")], ""),
        ("benign_activity", [IMPLANT], "benign_activity, but the events hold a confirmed finding"),
        ("defense_evasion", [IMPLANT], ""),
        ("impact", [IMPLANT], "the category is impact, but no event is of a kind that shows it"),
        ("impact", [launch(0, INSTALLED)], ""),
        ("discovery", [write(0, "D:\\a.txt")], "the category is discovery, but no event"),
        ("exfiltration", [connection(bytes_out=50_000_000)], ""),
        ("exfiltration", [connection(bytes_out=49_999_999)], "exfiltration needs an external destination and bytes"),
        ("exfiltration", [call(0, INSTALLED, "10.20.1.12", bytes_out=10**9)], "exfiltration needs an external"),
        ("exfiltration", [launch(0, INSTALLED)], "exfiltration needs an external"),
    ],
)
def test_the_category_is_one_that_the_events_bear(category, rows, words):
    assert refused(*rows, category=category, words=words) == bool(words)


def test_a_confirmed_finding_that_is_explained_may_be_called_benign():
    assert reasons(IMPLANT, tickets=[ticket(tool="evil.exe", starts_at=clock(-3600))]) == []


# ---------------------------------------------------------------- margin
EDGE = "the answer hangs on the edge of a threshold"


def guesses(count, gap=10):
    return [logon(gap * number, "failure", src=OUTSIDE) for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "category", "side"),
    [
        (guesses(3), "credential_access", ""),
        (guesses(4), "credential_access", "looser"),
        (guesses(5), "credential_access", "stricter"),
        (guesses(6), "credential_access", ""),
        (guesses(6, 54), "credential_access", ""),  # 270 s, and 300 / 1.1 is 272.7
        (guesses(6, 55), "credential_access", "stricter"),
        (guesses(6, 66), "credential_access", "stricter"),  # five in 264 s are found, six within 272.7 s are not
        (guesses(4, 120), "credential_access", ""),
        ([connection(bytes_out=449_000_000)], "exfiltration", ""),
        ([connection(bytes_out=451_000_000)], "exfiltration", "looser"),
        ([connection(bytes_out=549_000_000)], "exfiltration", "stricter"),
        ([connection(bytes_out=551_000_000)], "exfiltration", ""),
    ],
)
def test_the_answer_must_not_hang_on_the_edge_of_a_threshold(rows, category, side):
    expected = [f"{EDGE}: with slightly {side} thresholds it is another"] if side else []

    assert reasons(*rows, category=category) == expected


@pytest.mark.parametrize(
    ("start", "end", "side"),
    [
        (-30, 30, ""),
        (-29, 60, "stricter"),
        (-60, 29, "stricter"),
        (30, 60, "looser"),
        (31, 60, ""),
        (-60, -30, "looser"),
        (-60, -31, ""),
    ],
)
def test_a_ticket_s_edges_have_a_margin_of_30_s(start, end, side):
    planned = ticket(tool="evil.exe", starts_at=clock(start), ends_at=clock(end))
    expected = [f"{EDGE}: with slightly {side} thresholds it is another"] if side else []

    assert reasons(IMPLANT, category="defense_evasion", tickets=[planned]) == expected


@pytest.mark.parametrize(("seconds", "side"), [(53, ""), (55, "looser"), (65, "stricter"), (67, "")])
def test_an_outage_has_a_margin_of_a_tenth(seconds, side):
    silent = [{"host": "WKS-01", "telemetry": "endpoint", "silent_from": clock(0), "silent_to": clock(seconds)}]
    rows = [launch(0, INSTALLED), launch(600, INSTALLED)]
    expected = [f"{EDGE}: with slightly {side} thresholds it is another"] if side else []

    assert reasons(*rows, sensors=silent) == expected


# ---------------------------------------------------------------- novelty
def play_of(*rows, **parts):
    told, around = incident(*rows), world(**parts)
    return signature(told, compute_ground_truth(told, around))


def test_a_play_is_admitted_three_times():
    rows = [launch(0, POWERSHELL, "iex 1")]
    play = play_of(*rows)

    assert reasons(*rows, seen={play: 2}) == []
    assert reasons(*rows, seen={play: 3}) == ["this play was seen 3 times already; only names and times are new"]
    assert reasons(*rows, seen={"another": 99}) == []


def test_names_times_and_noise_make_no_new_play():
    play = play_of(launch(0, POWERSHELL, "iex 1"))

    assert play_of(launch(99, POWERSHELL, "iex 2", host="WKS-02", user="root.admin")) == play
    assert play_of(launch(99, POWERSHELL, "iex 2", host="WKS-02", user="svc_sync")) == play
    assert play_of(launch(0, POWERSHELL, "iex 1"), write(9, "D:\\a.txt")) == play


def test_noise_around_an_alert_that_is_nothing_makes_no_new_play():
    alert = {**launch(60, INSTALLED), "log_id": "L1-9"}
    play = play_of(alert, alerted="L1-9")

    assert play_of(write(0, "D:\\a.txt"), alert, alerted="L1-9") == play
    assert play_of(call(0, INSTALLED), launch(5, CMD), alert, alerted="L1-9") == play
    assert play_of(write(0, "D:\\a.txt"), alert, alerted="L1-1") != play


@pytest.mark.parametrize(("hosts", "side"), [(2, "looser"), (3, "stricter"), (4, "")])
def test_several_hosts_have_a_margin_of_one(hosts, side):
    rows = [
        row for n, name in enumerate(("WKS-01", "WKS-02", "WKS-03", "FIL-01")[:hosts]) for row in _implant(20 * n, name)
    ]
    expected = [f"{EDGE}: with slightly {side} thresholds it is another"] if side else []

    assert reasons(*rows, category="execution") == expected


def _implant(at, host):
    path = "C:\\Windows\\Temp\\evil.exe"
    return [launch(at, CMD, host=host, parent=INSTALLED), inject(at + 1, path, host=host)]


def test_another_decision_rule_or_excuse_is_a_new_play():
    plays = {
        play_of(launch(0, POWERSHELL, "iex 1")),
        play_of(launch(0, POWERSHELL, "iex 1"), tickets=[ticket()]),
        play_of(launch(0, POWERSHELL, "iex 1", user="ben")),
        play_of(launch(0, POWERSHELL, "iex 1"), call(1, POWERSHELL)),
        play_of(event(0, "script", "block", script_text="iex 1")),
        play_of(launch(0, INSTALLED)),
        play_of(launch(0, CMD)),
        play_of(write(0, "D:\\a.txt")),
    }

    assert len(plays) == 8
    assert all(re.fullmatch("[0-9a-f]{16}", play) for play in plays)


# ---------------------------------------------------------------- generated incidents
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("task", TASKS)
def test_generated_incidents_are_admitted(task, split):
    refusals = {}
    for index in range(200):
        case = generate(task, index, split=split)
        why = check_plausibility(case.incident, case.world)
        if why:
            refusals[index] = why

    assert len(refusals) <= 1, refusals  # 5 of 20,000: a look-alike for which no account has the excuse
