"""Rules on credentials, accounts and sign-ins, on both sides of each threshold."""

import pytest

from incidents import (
    INSTALLED,
    OUTSIDE,
    SYSTEM32,
    TOOL,
    access,
    failures,
    found,
    ids,
    logon,
    made,
    member,
    replicate,
    service_tickets,
    sprayed,
    truth_of,
    write,
)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([access(0, mask="0x10")], ["suspicious L1-1"]),
        ([access(0, mask="0x1FFFFF")], ["suspicious L1-1"]),
        ([access(0, mask="0xffffffffffffffff")], ["suspicious L1-1"]),
        ([access(0, mask="0x1000")], []),
        ([access(0, mask="0x0")], []),
        ([access(0, mask=None)], []),
        ([access(0, target=SYSTEM32 + "lsaiso.exe")], []),
        ([access(0, program="")], []),
        ([access(0), write(1, "D:\\a.dmp", INSTALLED)], ["suspicious L1-1"]),
        ([access(0), write(1, "D:\\a.dmp", TOOL, host="WKS-02")], ["suspicious L1-1"]),
        ([access(0), write(1, "D:\\a.txt", TOOL)], ["suspicious L1-1"]),
        ([access(0), write(1, "D:\\a.dmp", TOOL, "delete")], ["suspicious L1-1"]),
        ([access(0), access(1, user="ben")], ["suspicious L1-1", "suspicious L1-2"]),
    ],
)
def test_reading_the_memory_of_lsass(rows, expected):
    assert found(*rows) == ["lsass-memory-read " + said for said in expected]


INSIDE = "10.20.1.12"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (failures(4), []),
        (failures(5), ["confirmed " + ids(1, 5)]),
        (failures(5, gap=75), ["confirmed " + ids(1, 5)]),
        ([*failures(4, gap=75), *failures(1, start=301)], []),
        ([*failures(1), *failures(5, start=5000)], ["confirmed " + ids(2, 6)]),
        ([*failures(5, gap=75), *failures(1, start=5000)], ["confirmed " + ids(1, 5)]),
        ([*failures(5), *failures(5, start=5000)], ["confirmed " + ids(1, 10)]),
        (failures(5, src=INSIDE), ["suspicious " + ids(1, 5)]),
        ([*failures(5, src=INSIDE), logon(99, "success", src=INSIDE)], ["confirmed " + ids(1, 6)]),
        ([*failures(5, src=INSIDE), logon(40, "success", src=INSIDE)], ["confirmed " + ids(1, 6)]),
        ([logon(39, "success", src=INSIDE, log_id="L2-1"), *failures(5, src=INSIDE)], ["suspicious " + ids(2, 6)]),
        (
            [*failures(5, src=INSIDE), logon(45, "success", src=INSIDE), *failures(1, src=INSIDE, start=50)],
            ["confirmed " + ids(1, 7)],
        ),
        ([*failures(5, src=INSIDE), logon(99, "success", "ben", INSIDE)], ["suspicious " + ids(1, 5)]),
        ([*failures(5, src=INSIDE), logon(99, "success", src="10.20.1.13")], ["suspicious " + ids(1, 5)]),
        ([*failures(3), *failures(2, name="ben", start=30)], []),
        ([*failures(3), *failures(2, src="203.0.113.8", start=30)], []),
        ([*failures(3), *failures(2, host="WKS-02", start=30)], ["confirmed " + ids(1, 5)]),
        ([*failures(3, name="CORP\\ana"), *failures(2, name="ana@corp.com", start=30)], ["confirmed " + ids(1, 5)]),
        (failures(5, name=None), []),
        (failures(5, src=None), []),
    ],
)
def test_guessing_takes_five_failures_in_300_s(rows, expected):
    guessing = [said for said in found(*rows) if not said.startswith("failures-on-host")]
    assert guessing == ["password-guessing " + said for said in expected]


NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (sprayed(NAMES[:4]), []),
        (sprayed(NAMES), ["confirmed " + ids(1, 5)]),
        (sprayed(NAMES, gap=75), ["confirmed " + ids(1, 5)]),
        (sprayed(NAMES, gap=76), []),
        (sprayed(["a", "b", "c", "d", "CORP\\a", "b@corp"]), []),
        (sprayed([*NAMES[:4], None]), []),
        ([*failures(4, start=900), *sprayed(NAMES)], ["confirmed " + ids(5, 9)]),
        (sprayed(NAMES, src=INSIDE), ["suspicious " + ids(1, 5)]),
        ([*sprayed(NAMES, src=INSIDE), logon(900, "success", "c", INSIDE)], ["confirmed " + ids(1, 6)]),
        ([*sprayed(NAMES, src=INSIDE), logon(900, "success", "c", "10.20.1.13")], ["suspicious " + ids(1, 5)]),
        ([*sprayed(NAMES, src=INSIDE), logon(-1, "success", "c", INSIDE)], ["suspicious " + ids(1, 5)]),
        ([*sprayed(NAMES, src=INSIDE, gap=0), logon(0, "success", "c", INSIDE)], ["confirmed " + ids(1, 6)]),
        ([*sprayed(NAMES[:3]), *(logon(30, "failure", name, "203.0.113.8") for name in "de")], []),
    ],
)
def test_spraying_takes_five_accounts_in_300_s(rows, expected):
    assert found(*rows) == ["password-spraying " + said for said in expected]


def test_a_spray_concerns_the_accounts_that_were_entered():
    rows = [*sprayed(NAMES, src=INSIDE), logon(60, "success", "root.admin", INSIDE, host="WKS-02")]
    (finding,) = truth_of(*rows).findings

    assert (finding.accounts, finding.hosts) == (("root.admin",), ("WKS-01", "WKS-02"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (service_tickets(4), []),
        (service_tickets(5, cipher="0x18"), ["confirmed " + ids(1, 5)]),
        (service_tickets(5, gap=150), ["confirmed " + ids(1, 5)]),
        ([*service_tickets(4, gap=150), *service_tickets(1, start=601, name="z{}")], []),
        ([*service_tickets(1, start=-3000, name="z{}"), *service_tickets(5)], ["confirmed " + ids(2, 6)]),
        (service_tickets(9, cipher="0x12"), []),
        (service_tickets(9, cipher=None), []),
        (service_tickets(9, name="same"), []),
        (service_tickets(9, name="WKS-{}$"), []),
        (service_tickets(9, user_name=None), []),
        ([*service_tickets(4), *service_tickets(1, name="krbtgt")], []),
        ([*service_tickets(3), *service_tickets(2, user_name="ben", name="z{}")], []),
    ],
)
def test_roasting_takes_five_services_in_600_s(rows, expected):
    assert found(*rows) == ["kerberoasting " + said for said in expected]


@pytest.mark.parametrize(
    ("row", "is_found"),
    [
        (replicate(0), True),
        (replicate(0, "DS-Replication-Get-Changes-All", "replication"), True),
        (replicate(0, user="svc_sync"), True),
        (replicate(0, user="DIR-01$"), False),
        (replicate(0, user="NT AUTHORITY\\SYSTEM"), False),
        (replicate(0, user=None), False),
        (replicate(0, "Read Property"), False),
        (replicate(0, None, "replication"), False),
        (replicate(0, activity="modify"), False),
    ],
)
def test_replication_by_what_is_no_machine(row, is_found):
    assert found(row) == ["directory-replication confirmed L1-1"] * is_found


SYNC = "MSOL_4f1d0c77a9b2"


@pytest.mark.parametrize(
    ("sign_in", "account", "is_found"),
    [
        (logon(0, "success", SYNC, INSIDE, auth_protocol="Kerberos"), SYNC, False),
        (logon(0, "success", SYNC, OUTSIDE, auth_protocol="Kerberos"), SYNC, True),
        (logon(0, "success", SYNC, INSIDE, auth_protocol="NTLM V2"), SYNC, True),
        (logon(0, "success", "ana", OUTSIDE), SYNC, False),
        (logon(0, "success", "MSOL_backup", INSIDE), "MSOL_backup", True),
    ],
)
def test_entra_connects_account_replicates_unless_it_signs_in_oddly(sign_in, account, is_found):
    assert found(sign_in, replicate(60, user=account)) == ["directory-replication confirmed L1-2"] * is_found


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([member(0)], ["suspicious L1-1"]),
        ([member(0, "BUILTIN\\Administrators")], ["suspicious L1-1"]),
        ([member(0, "arn:aws:iam::aws:policy/AdministratorAccess", activity="policy_attach")], ["suspicious L1-1"]),
        ([member(0, "Sales Readers")], []),
        ([member(0, "Domain Admins", activity="member_remove")], []),
        ([member(0, "Domain Admins", activity="enumerate")], []),
        ([made(0), member(3600, name="CORP\\new.one")], ["confirmed L1-1 L1-2"]),
        ([made(0), member(0)], ["confirmed L1-1 L1-2"]),
        ([made(0), member(3601)], ["suspicious L1-2"]),
        ([member(0), made(1)], ["suspicious L1-1"]),
        ([made(0, user="ben"), member(9)], ["suspicious L1-2"]),
        ([made(0, user=None), member(9, user=None)], ["suspicious L1-2"]),
        ([made(0, None), member(9, name=None)], ["suspicious L1-2"]),
        ([made(0, "other.one"), member(9)], ["suspicious L1-2"]),
        ([made(0, activity="modify"), member(9)], ["suspicious L1-2"]),
    ],
)
def test_a_new_account_gets_privileges(rows, expected):
    assert found(*rows) == ["new-privileged-account " + said for said in expected]


def spread(hosts, *, gap=10, src="10.20.1.99", **more):
    return [logon(gap * n, "success", src=src, host=host, **more) for n, host in enumerate(hosts)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (spread("ABC"), []),
        (spread("ABCD"), ["confirmed " + ids(1, 4)]),
        (spread("ABCD", logon_type=10), ["confirmed " + ids(1, 4)]),
        (spread("ABCD", gap=200), ["confirmed " + ids(1, 4)]),
        (spread("ABCD", gap=201), []),
        (spread("ABCABC"), []),
        ([*spread("ABC"), logon(30, "success", src="10.20.1.99", host=None)], []),
        (spread("ABCDAAAA"), ["confirmed " + ids(1, 8)]),
        (spread("ABCD", logon_type=2), []),
        (spread("ABCD", src=OUTSIDE), []),
        (spread("ABCD", src=None), []),
        (spread("ABCD", name="WKS-01$"), []),
        ([*spread("ABC"), logon(30, "success", src="10.20.1.98", host="D")], []),
        ([*spread("ABC"), logon(30, "success", "ben", "10.20.1.99", host="D")], []),
        ([*spread("ABC"), logon(30, "failure", src="10.20.1.99", host="D")], []),
    ],
)
def test_spreading_takes_four_hosts_in_600_s(rows, expected):
    assert found(*rows) == ["account-spread " + said for said in expected]


@pytest.mark.parametrize(
    ("status", "is_guess"),
    [
        ("0xC000006A", True),  # wrong password
        ("0xc000006d", True),  # wrong name or password
        ("0xc0000064", True),  # no such user
        ("0xc0000072", True),  # disabled
        ("0xc0000234", True),  # locked out
        ("0xC0000071", False),  # the password has expired
        ("0xc0000224", False),  # the password must be changed
        ("0xc000015b", False),  # this kind of sign-in is not granted
        ("0xc0000133", False),  # the clocks differ
    ],
)
def test_a_sign_in_that_fails_by_no_wrong_password_is_no_guess(status, is_guess):
    guesses = [row for n in range(5) for row in failures(1, start=n, src=INSIDE)]
    sprays = sprayed("abcde", src=INSIDE)
    for row in (*guesses, *sprays):
        row["fields"]["status"] = status

    assert [line.split()[0] for line in found(*guesses)] == ["password-guessing"] * is_guess
    assert [line.split()[0] for line in found(*sprays)] == ["password-spraying"] * is_guess
