"""Rules on connections, names and web requests, on both sides of each threshold."""

import pytest

from incidents import (
    EVIL,
    INSTALLED,
    OUTSIDE,
    call,
    calls,
    event,
    found,
    ids,
    listed,
    lookup,
    lookups,
    probes,
    reads,
    request,
    truth_of,
    upload,
    write,
)


@pytest.mark.parametrize(
    ("row", "scope"),
    [
        (call(0, INSTALLED), "host"),
        (call(0, INSTALLED, activity="tls_session"), "host"),
        (call(0, INSTALLED, activity="block"), "network"),
        (call(0, None), "network"),
        (call(0, INSTALLED, "10.20.1.11", activity="flow", src_ip=OUTSIDE), "network"),
        (event(0, "http", "request", url="/", src_ip=OUTSIDE), "network"),
        (event(0, "http", "request", url="/", dst_ip=OUTSIDE), "network"),
    ],
)
def test_a_listed_address_is_an_implant_or_a_visitor(row, scope):
    (finding,) = truth_of(row, indicators=listed(OUTSIDE)).findings

    assert (finding.scope, finding.remote) == (scope, OUTSIDE)
    assert found(row, indicators=listed(OUTSIDE)) == ["known-bad-address confirmed L1-1"]
    assert found(row, indicators=listed(OUTSIDE, "low")) == ["known-bad-address suspicious L1-1"]
    assert found(row, indicators=listed("203.0.113.8")) == []


@pytest.mark.parametrize(
    ("row", "is_found"),
    [
        (call(0, INSTALLED, "198.51.100.1", dst_hostname="bad.example"), True),
        (call(0, INSTALLED, "198.51.100.1", tls_sni="BAD.example"), True),
        (lookup(0, "bad.example."), True),
        (event(0, "http", "request", url="http://bad.example:8080/a"), True),
        (event(0, "http", "request", url="http://good.example/bad.example"), False),
        (lookup(0, "www.bad.example"), False),
        (lookup(0, "notbad.example"), False),
    ],
)
def test_a_listed_name_is_met_by_that_very_name(row, is_found):
    assert found(row, indicators=listed("Bad.Example")) == ["known-bad-address confirmed L1-1"] * is_found


def test_the_higher_confidence_of_address_and_name_counts():
    both = [*listed(OUTSIDE, "low"), *listed("bad.example")]

    assert found(call(0, INSTALLED, dst_hostname="bad.example"), indicators=both) == [
        "known-bad-address confirmed L1-1"
    ]


def test_meetings_are_told_apart_by_host_and_address():
    rows = [
        call(0, INSTALLED),
        call(1, INSTALLED, host="WKS-02"),
        call(2, INSTALLED, "203.0.113.8"),
        call(3, INSTALLED),
    ]

    assert found(*rows, indicators=[*listed(OUTSIDE), *listed("203.0.113.8", "low")]) == [
        "known-bad-address confirmed L1-1 L1-4",
        "known-bad-address confirmed L1-2",
        "known-bad-address suspicious L1-3",
    ]


def test_two_programs_that_meet_one_address_name_no_tool():
    (finding,) = truth_of(call(0, INSTALLED), call(1, EVIL), indicators=listed(OUTSIDE)).findings

    assert finding.tool == ""


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (calls([10, 10, 10]), []),
        (calls([9, 9, 9, 9]), []),
        (calls([80, 120, 80, 120]), ["confirmed " + ids(1, 5)]),  # mean 100, standard deviation 20
        (calls([79, 121, 79, 121]), []),
        (calls([60] * 4, INSTALLED), ["suspicious " + ids(1, 5)]),
        (calls([60] * 4, activity="block"), []),
        (calls([60] * 4, None), []),
        (calls([60] * 4, dst="10.20.1.12"), []),
        ([*calls([60] * 4), call(61, EVIL)], []),
        ([*calls([60] * 4), call(61, EVIL, "203.0.113.8")], ["confirmed " + ids(1, 5)]),
        ([*calls([60] * 2), *calls([60] * 4, host="WKS-02")[3:]], []),
    ],
)
def test_beacons_are_five_calls_by_the_clock(rows, expected):
    assert found(*rows) == ["beaconing " + said for said in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (lookups(5), []),
        (lookups(6), ["suspicious " + ids(1, 6)]),
        (lookups(6, 29), []),
        (lookups(6, program=None), ["suspicious " + ids(1, 6)]),
        ([*lookups(5), lookup(9, "00" + "x" * 28 + ".evil.com")], []),
        ([*lookups(5), lookup(9, "00" + "x" * 28 + ".b.evil.com", EVIL)], ["confirmed " + ids(1, 6)]),
        ([*lookups(5), *lookups(1, domain="other.com")], []),
        ([*lookups(5), lookup(9, "y" * 30 + ".evil.com", host="WKS-02")], []),
        ([lookup(n, f"{n}{'x' * 40}.com") for n in range(9)], []),
        ([lookup(n, f"www.{n}{'x' * 40}.evil.com") for n in range(9)], []),
    ],
)
def test_a_tunnel_is_six_long_names_of_one_domain(rows, expected):
    assert found(*rows) == ["dns-tunnel " + said for said in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (probes(9), []),
        (probes(10), ["confirmed " + ids(1, 10)]),
        ([*probes(9), *probes(1, start=300, host="WKS-02", dst="10.20.1.12")], ["confirmed " + ids(1, 10)]),
        ([*probes(9), *probes(1, start=301, host="WKS-02", dst="10.20.1.12")], []),
        ([*probes(1, start=-1000), *probes(11)[1:]], ["confirmed " + ids(2, 11)]),
        ([*probes(9), *probes(9)], []),
        (probes(10, src="10.20.1.12"), ["suspicious " + ids(1, 10)]),
        (probes(10, dst=OUTSIDE, src="10.20.1.12"), []),
        (probes(10, dst=None), []),
        (probes(10, activity="listen"), []),
        ([*probes(5), *probes(10, src="203.0.113.8")[5:]], []),
    ],
)
def test_probing_is_ten_pairs_in_300_s(rows, expected):
    assert found(*rows) == ["service-probing " + said for said in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([request(0), request(1)], []),
        ([request(0), request(300), request(601)], []),
        ([request(-5000), request(0), request(1), request(2)], ["confirmed L1-2 L1-3 L1-4"]),
        ([request(n, src="10.20.1.12") for n in range(3)], ["suspicious L1-1 L1-2 L1-3"]),
        ([request(n, src=f"203.0.113.{n}") for n in range(3)], []),
        ([request(0), request(1), request(2, host="WKS-02")], ["confirmed L1-1 L1-2 L1-3"]),
        ([request(n, src=None) for n in range(3)], []),
    ],
)
def test_a_web_attack_is_three_tries_in_600_s(rows, expected):
    assert found(*rows) == ["web-attack " + said for said in expected]


@pytest.mark.parametrize(
    ("url", "attacks"),
    [
        ("/a/../../../etc/hosts", True),
        ("/?q=1%20UNION%20ALL%20SELECT%20user", True),
        ("/?q=1+or+1=1", True),
        ("/?q=%27%20OR%20%271%27=%271", True),
        ("/?q=' or '1'='1", True),
        ("/?x=${jndi:ldap://y}", True),
        ("/%3Cscript%3E", True),
        ("/.env", True),
        ("/.git/config", True),
        ("/x;wget http://y", True),
        ("/credit-union/selection", False),
        ("/?q=rock+or+pop", False),
        ("/.environment", False),
        ("/a/../b?id=7", False),
        ("", False),
    ],
)
def test_what_only_attacks_ask_for(url, attacks):
    rows = [request(number, url) for number in range(3)]

    assert found(*rows) == ["web-attack confirmed L1-1 L1-2 L1-3"] * attacks


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([upload(0, 499_999_999)], []),
        ([upload(0, 500_000_000)], ["suspicious L1-1"]),
        ([upload(0, 250_000_000), upload(9, 250_000_000)], ["suspicious L1-1 L1-2"]),
        ([upload(0, 250_000_000), upload(9, 250_000_000, "203.0.113.8")], []),
        ([upload(0, 250_000_000), upload(9, 250_000_000, host="WKS-02")], []),
        ([upload(0, dst="10.20.2.11")], []),
        ([upload(0, activity="block")], []),
        ([*reads(4), upload(9)], ["suspicious L1-5"]),
        ([*reads(5, same=True), upload(9)], ["suspicious L1-6"]),
        ([*reads(5, gap=0), upload(3600)], ["confirmed " + ids(1, 6)]),
        ([*reads(5, gap=0), upload(3601)], ["suspicious L1-6"]),
        ([*reads(5, user="ben"), upload(9)], ["suspicious L1-6"]),
        ([*reads(5, host="FIL-01"), upload(9)], ["confirmed " + ids(1, 6)]),
        ([*reads(5, user=None), upload(9, user=None)], ["suspicious L1-6"]),
        ([upload(0), *reads(5, start=1)], ["suspicious L1-1"]),
        ([upload(0, 1), *reads(5, start=1), upload(9)], ["confirmed " + ids(1, 7)]),
        ([write(0, "D:\\a.7Z"), upload(9)], ["confirmed L1-1 L1-2"]),
        ([write(0, "D:\\a.7z"), upload(0)], ["confirmed L1-1 L1-2"]),
        ([write(0, "D:\\a.7z"), upload(3601)], ["suspicious L1-2"]),
        ([upload(0), write(1, "D:\\a.7z")], ["suspicious L1-1"]),
        ([write(0, "D:\\a.7z", host="FIL-01"), upload(9)], ["suspicious L1-2"]),
        ([write(0, "D:\\a.7z", user="ben"), upload(9)], ["suspicious L1-2"]),
        ([write(0, "D:\\a.7z.txt"), upload(9)], ["suspicious L1-2"]),
    ],
)
def test_an_upload_of_500_mb_and_the_gathering_before(rows, expected):
    assert found(*rows) == ["bulk-upload " + said for said in expected]
