"""Zeek and Suricata in all their carriers: which events they become, with exact values."""

import json

import pytest

from telemetry.importers import import_records
from telemetry.importers.zeek import is_zeek, log_of

ENDS = {"id.orig_h": "10.71.4.9", "id.orig_p": 50112, "id.resp_h": "10.71.8.20", "id.resp_p": 3389}
FLOW = {
    "timestamp": "2031-05-09T04:00:00+0200",
    "flow_id": 1,
    "src_ip": "10.71.4.9",
    "dest_ip": "10.71.8.20",
    "dest_port": 53,
}


def fields_of(*records):
    (result,) = import_records(records)
    return result.event_type, result.fields.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("log", "fields"),
    [
        ("conn", {"proto": "tcp", "conn_state": "SF"}),
        ("dns", {"proto": "udp", "query": "a.test", "qtype_name": "A"}),
        ("http", {"method": "GET", "uri": "/"}),
        ("ssl", {"version": "TLSv13", "server_name": "a.test"}),
        ("notice", {"note": "X::Y", "proto": "tcp"}),
        ("kerberos", {"request_type": "AS", "client": "a/B", "cipher": "rc4-hmac"}),
        ("ntlm", {"username": "a", "domainname": "B"}),
        ("smb_mapping", {"path": "\\\\a\\b", "share_type": "DISK"}),
        ("smb_files", {"action": "SMB::FILE_OPEN", "name": "a", "path": "b"}),
        ("dce_rpc", {"endpoint": "svcctl", "operation": "x"}),
        ("rdp", {"cookie": "a", "security_protocol": "HYBRID"}),
        ("ssh", {"version": 2, "auth_attempts": 1, "client": "x"}),
        ("ftp", {"user": "a", "command": "PASS", "reply_code": 530}),
        ("x509", {"fingerprint": "ab"}),
        ("weird", {"name": "x", "peer": "s"}),
        ("", {"proto": "tcp", "odd": 1}),
    ],
)
def test_a_zeek_log_without_its_name_is_known_by_its_fields(log, fields):
    raw = {"ts": 1, "uid": "C", **ENDS, **fields}

    assert (log_of(raw), is_zeek(raw)) == (log, bool(log))


@pytest.mark.parametrize(("log", "activity"), [("rdp", "rdp_session"), ("ssh", "ssh_session"), ("ntlm", "ntlm")])
def test_a_session_keeps_the_address_that_it_goes_to(log, activity):
    _, fields = fields_of({"ts": 1, "_path": log, **ENDS})

    assert (fields["activity"], fields["target_hostname"]) == (activity, "10.71.8.20")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {"event_type": "dns", "dns": {"type": "query", "rrname": "a.test"}},
            ("dns_query", "query_hostname", "a.test"),
        ),
        ({"event_type": "dns", "dns": {"query": [{"rrname": "a.test"}]}}, ("dns_query", "query_hostname", "a.test")),
        (
            {"event_type": "dns", "dns": {"version": 3, "type": "request", "queries": [{"rrname": "a.test"}]}},
            ("dns_query", "query_hostname", "a.test"),
        ),
        ({"event_type": "flow", "flow": {"bytes_toserver": 7}}, ("net_conn", "bytes_out", 7)),
        ({"event_type": "http", "http": {"hostname": "a.test", "url": "/b"}}, ("http", "url", "http://a.test/b")),
        ({"event_type": "tls", "tls": {"sni": "a.test"}}, ("net_conn", "tls_sni", "a.test")),
        ({"event_type": "fileinfo", "fileinfo": {"filename": "/a"}}, ("file", "file_path", "/a")),
        ({"event_type": "rdp", "rdp": {"cookie": "ines"}}, ("logon", "target_hostname", "10.71.8.20")),
        ({"event_type": "smb", "smb": {"share": "\\\\a\\b"}}, ("share", "share_name", "\\\\a\\b")),
        (
            {
                "event_type": "krb5",
                "krb5": {"msg_type": "KRB_TGS_REP", "cname": "ines", "sname": "s", "encryption": "rc4-hmac"},
            },
            ("kerberos", "ticket_encryption", "0x17"),
        ),
        (
            {"event_type": "alert", "alert": {"signature": "S", "category": "C", "severity": 1, "action": "allowed"}},
            ("detection", "severity", "high"),
        ),
    ],
)
def test_an_eve_record_becomes_an_event(event, expected):
    event_type, fields = fields_of({**FLOW, **event})

    assert (event_type, fields[expected[1]]) == (expected[0], expected[2])


def test_an_alert_that_was_blocked_has_no_severity():
    blocked = {"event_type": "alert", "alert": {"signature": "S", "severity": 1, "action": "blocked"}}

    assert fields_of({**FLOW, **blocked})[1]["finding_title"] == "S (blocked)"
    assert "severity" not in fields_of({**FLOW, **blocked})[1]


@pytest.mark.parametrize("keeps_text", [True, False])
def test_a_document_in_elastic_fields_is_read_from_its_text_or_its_fields(keeps_text):
    document = {
        "@timestamp": "2031-05-09T02:00:00Z",
        "event": {"module": "zeek", "dataset": "zeek.dns"},
        "source": {"ip": "10.71.4.9"},
        "destination": {"ip": "10.71.8.20", "port": 53},
        "dns": {"question": {"name": "a.test"}},
        "zeek": {"dns": {"trans_id": "1"}},
    }
    text = {"message": json.dumps({"ts": 1936080000, "uid": "C", **ENDS, "query": "a.test"})}

    assert fields_of({**document, **(text if keeps_text else {})}) == (
        "dns_query",
        {"activity": "query", "query_hostname": "a.test", "src_ip": "10.71.4.9"},
    )
