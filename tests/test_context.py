"""What explains a finding, and what nearly does: tickets, approved tools, authorised scanners."""

import pytest

from incidents import (
    EVIL,
    OUTSIDE,
    POWERSHELL,
    SYSTEM32,
    call,
    clock,
    event,
    explained,
    inject,
    launch,
    listed,
    logon,
    ticket,
    truth_of,
)

ENCODED = "powershell -enc " + "QUJD" * 8
# Ana runs encoded PowerShell on WKS-01 from 100 to 200 s.
CRADLE_WITHOUT_HOST = [launch(100, POWERSHELL, ENCODED, host=None), call(200, POWERSHELL, host=None)]
CRADLE = [launch(100, POWERSHELL, ENCODED), call(200, POWERSHELL)]
SCANNER = "10.20.200.5"


def probes(src, targets):
    """Ten ports, spread over the targets, which are in turn the hosts that log them."""
    return [
        call(n, None, ip, activity="block", user=None, host=None, src_ip=src, dst_port=n)
        for n, ip in enumerate(targets * (10 // len(targets)))
    ]


def moves(hosts, user="ana"):
    return [logon(n, "success", user, "10.20.1.99", host=host) for n, host in enumerate(hosts)]


# ---------------------------------------------------------------- tickets
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"starts_at": clock(100), "ends_at": clock(200)},
        {"hosts": ["WKS-02", "WKS-01"], "accounts": ["ben", "ana"]},
    ],
)
def test_a_ticket_that_covers_everything_explains(changes):
    assert explained(*CRADLE, tickets=[ticket(**changes)]) == ["ticket CHG-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": ["WKS-02"]},
        {"hosts": []},
        {"accounts": ["ben"]},
        {"accounts": [""]},
        {"tool": "pwsh.exe"},
        {"tool": ""},
        {"starts_at": clock(101)},
        {"ends_at": clock(199)},
        {"starts_at": clock(-7200), "ends_at": clock(-3600)},
        {"status": "pending"},
        {"status": "rejected"},
    ],
)
def test_a_ticket_that_misses_by_one_fact_explains_nothing(changes):
    assert explained(*CRADLE, tickets=[ticket(**changes)]) == [""]


def test_two_near_misses_do_not_add_up():
    assert explained(*CRADLE, tickets=[ticket(ends_at=clock(150)), ticket(starts_at=clock(150))]) == [""]


def test_the_ticket_that_covers_is_named_whatever_stands_before_it():
    others = [ticket(ticket_id="CHG-0", status="pending"), ticket(ticket_id="CHG-2")]

    assert explained(*CRADLE, tickets=others) == ["ticket CHG-2"]


@pytest.mark.parametrize(
    ("covered", "reason"),
    [(["WKS-01", "WKS-02", "WKS-03", "FIL-01"], "ticket CHG-1"), (["WKS-01", "WKS-02", "WKS-03"], "")],
)
def test_a_ticket_must_name_every_host(covered, reason):
    planned = ticket(tool="remote logon", hosts=covered)

    assert explained(*moves(["WKS-01", "WKS-02", "WKS-03", "FIL-01"]), tickets=[planned]) == [reason]


@pytest.mark.parametrize(("covered", "reason"), [(["ana", "ben"], "ticket CHG-1"), (["ana"], ""), (["ben"], "")])
def test_a_ticket_must_name_every_account(covered, reason):
    program = "C:\\Program Files\\Acme\\acme.exe"
    rows = [call(100, program), call(101, program, user="ben")]
    planned = ticket(tool="acme.exe", accounts=covered)

    assert explained(*rows, tickets=[planned], indicators=listed(OUTSIDE)) == [reason]


def test_a_ticket_covers_nothing_that_names_no_account_or_program():
    planned = ticket(tool="", accounts=["", "ana"], hosts=["", "WKS-01"])
    guesses = [logon(n, "failure", "ana") for n in range(5)]
    tries = [event(n, "http", "request", user=None, url="/.env", src_ip=OUTSIDE) for n in range(3)]

    assert explained(*guesses, *tries, tickets=[planned]) == ["", ""]


def test_a_ticket_covers_nothing_of_which_host_or_account_is_unknown_but_work_on_clouds_has_no_host():
    keys = [event(0, "account", "key_create", user_name="ben", host=host) for host in ("WKS-01", None)]
    injections = [inject(0, EVIL, user=user) for user in ("ana", None)]

    assert [explained(row, tickets=[ticket(tool="cloud administration")]) for row in keys] == [["ticket CHG-1"]] * 2
    assert explained(*CRADLE_WITHOUT_HOST, tickets=[ticket()]) == [""]
    assert [explained(row, tickets=[ticket(tool="evil.exe")]) for row in injections] == [["ticket CHG-1"], [""]]


def test_a_ticket_for_one_finding_leaves_the_other():
    rows = [*CRADLE, launch(300, SYSTEM32 + "vssadmin.exe", "vssadmin delete shadows")]

    assert explained(*rows, tickets=[ticket()]) == ["ticket CHG-1", ""]


# ---------------------------------------------------------------- approved tools
def cradle_by(user, path=POWERSHELL):
    return explained(launch(0, path, ENCODED, user=user))


def test_a_tool_of_its_department_is_explained():
    assert cradle_by("ben") == ["approved tool powershell.exe"]
    assert cradle_by("CORP\\ben") == ["approved tool powershell.exe"]


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ("ana", POWERSHELL),
        ("nobody", POWERSHELL),
        (None, POWERSHELL),
        ("ben", "C:\\Users\\ben\\Downloads\\powershell.exe"),
        ("ben", "C:\\Windows\\Temp\\powershell.exe"),
        ("ben", "C:\\Program Files\\PowerShell\\7\\pwsh.exe"),
    ],
)
def test_a_tool_of_another_department_place_or_name_is_not(user, path):
    assert cradle_by(user, path) == [""]


def test_a_tool_explains_only_what_all_its_users_may():
    rows = [call(0, POWERSHELL, user="ben"), call(1, POWERSHELL, user="ana")]

    assert explained(*rows[:1], indicators=listed(OUTSIDE, "low")) == ["approved tool powershell.exe"]
    assert explained(*rows, indicators=listed(OUTSIDE, "low")) == [""]


def test_an_approved_tool_does_not_excuse_an_address_that_intelligence_is_sure_of():
    rows = [launch(0, POWERSHELL, ENCODED, user="ben"), call(9, POWERSHELL, user="ben")]

    assert explained(*rows) == ["approved tool powershell.exe"]
    assert explained(*rows, indicators=listed("203.0.113.200")) == ["approved tool powershell.exe"]
    assert explained(*rows, indicators=listed(OUTSIDE, "low")) == ["approved tool powershell.exe"] * 2
    assert explained(*rows, indicators=listed(OUTSIDE)) == ["", ""]


def test_an_approved_tool_beside_another_program_explains_nothing():
    rows = [call(0, POWERSHELL, user="ben"), call(1, "C:\\Program Files\\Acme\\acme.exe", user="ben")]

    assert explained(*rows, indicators=listed(OUTSIDE, "low")) == [""]


# ---------------------------------------------------------------- scanners
@pytest.mark.parametrize(
    ("source", "targets", "reason"),
    [
        (SCANNER, ["10.20.1.11"], "authorised scanner 10.20.200.5"),
        (SCANNER, ["10.20.1.11", "10.20.1.12"], "authorised scanner 10.20.200.5"),
        (SCANNER, ["10.20.1.200"], "authorised scanner 10.20.200.5"),  # an address that no host has
        (SCANNER, ["10.20.2.11"], ""),
        (SCANNER, ["10.20.1.11", "10.20.2.11"], ""),
        ("10.20.200.6", ["10.20.1.11"], ""),
        (OUTSIDE, ["10.20.1.11"], ""),
    ],
)
def test_a_scanner_may_probe_its_networks(source, targets, reason):
    assert explained(*probes(source, targets)) == [reason]


def test_a_scanner_may_also_try_passwords_and_sites():
    guesses = [logon(n, "failure", "ana", SCANNER) for n in range(5)]
    sprays = [logon(100 + n, "failure", name, SCANNER) for n, name in enumerate("bcdef")]
    tries = [event(200 + n, "http", "request", user=None, url="/.env", src_ip=SCANNER) for n in range(3)]

    assert explained(*guesses, *sprays, *tries) == ["authorised scanner 10.20.200.5"] * 3


@pytest.mark.parametrize(
    ("network", "reason"), [("10.20.0.0/16", "authorised scanner 10.20.200.5"), ("10.20.1.0/24", "")]
)
def test_a_scanner_may_sign_in_to_hosts_of_its_networks(network, reason):
    scanner = {"ip": SCANNER, "targets": [network]}
    rows = [
        logon(n, "success", src=SCANNER, host=host) for n, host in enumerate(("WKS-01", "WKS-02", "WKS-03", "FIL-01"))
    ]

    assert explained(*rows, scanners=[scanner]) == [reason]


def test_a_scanner_that_tries_a_host_outside_its_networks_explains_nothing():
    inside = [logon(n, "failure", "ana", SCANNER) for n in range(4)]

    assert explained(*inside, logon(5, "failure", "ana", SCANNER, host="WKS-02")) == ["authorised scanner 10.20.200.5"]
    assert explained(*inside, logon(5, "failure", "ana", SCANNER, host="FIL-01")) == [""]
    assert explained(*inside, logon(5, "failure", "ana", SCANNER, host="UNKNOWN")) == [""]


def test_what_is_no_probing_is_not_a_scanner_s_work():
    rows = [
        call(0, None, src_ip=SCANNER, host="WKS-01"),
        event(1, "account", "key_create", user_name="ben", src_ip=SCANNER),
    ]
    truth = truth_of(*rows, indicators=listed(OUTSIDE))

    assert [(finding.rule_id, finding.explained_by) for finding in truth.findings] == [
        ("known-bad-address", ""),
        ("key-for-another", ""),
    ]


def test_without_facts_nothing_is_explained():
    assert explained(*CRADLE, tools=[], scanners=[], accounts=[], hosts=[]) == [""]
