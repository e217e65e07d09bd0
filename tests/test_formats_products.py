"""Exports of endpoint products, of clouds' network logs and of login records: what each kind of record becomes."""

import json

import pytest

from telemetry.importers import import_records
from telemetry.importers.events import Skipped
from telemetry.importers.reading import read_text
from telemetry.importers.unwrapping import unwrap
from telemetry.judging import judge_text
from world import World

T0 = "2031-05-06T08:00:00Z"


def became(*records):
    """What records become: type and activity, and the fields that are asked for."""
    return [
        result
        if isinstance(result, Skipped)
        else {"type": result.event_type, **result.fields.model_dump(exclude_none=True)}
        for result in import_records([raw for record in records for raw in unwrap(record)])
    ]


def lines(text):
    return [
        result
        if isinstance(result, Skipped)
        else {"type": result.event_type, **result.fields.model_dump(exclude_none=True)}
        for result in import_records(read_text(text, "lines"))
    ]


# ---------------------------------------------------------------- endpoint products
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"event.type": "IP Connect", "event.time": T0, "endpoint.name": "DESK-7", "dst.ip.address": "203.0.113.9", "dst.port.number": "443"},
            {"type": "net_conn", "activity": "open", "dst_ip": "203.0.113.9", "dst_port": 443},
        ),
        (
            {"event": {"type": "DNS Resolved", "time": T0, "dns": {"request": "quill.test"}}, "endpoint": {"name": "DESK-7"}},
            {"type": "dns_query", "query_hostname": "quill.test", "device_hostname": "DESK-7"},
        ),
        (
            {"eventType": "File Creation", "agentName": "DESK-7", "createdAt": T0, "fileFullName": "C:\\a.exe", "processImagePath": "C:\\b.exe"},
            {"type": "file", "activity": "create", "file_path": "C:\\a.exe", "process_path": "C:\\b.exe"},
        ),
        (
            {"composite_id": "x", "severity_name": "Critical", "display_name": "Odd", "timestamp": T0, "device": {"hostname": "DESK-7"}},
            {"type": "detection", "severity": "Critical", "finding_title": "Odd", "device_hostname": "DESK-7"},
        ),
        (
            {"type": "ingress.event.netconn", "computer_name": "DESK-7", "timestamp": 1935820800, "remote_ip": "203.0.113.9", "process_path": "c:\\b.exe"},
            {"type": "net_conn", "dst_ip": "203.0.113.9", "process_path": "c:\\b.exe"},
        ),
        (
            {"event_type": "ENUM.NETWORK", "agent_hostname": "DESK-7", "_time": T0, "action_remote_ip": "203.0.113.9", "action_remote_port": 443},
            {"type": "net_conn", "dst_ip": "203.0.113.9", "device_hostname": "DESK-7"},
        ),
    ],
)  # fmt: skip
def test_a_record_of_a_product_becomes_what_its_kind_says(record, expected):
    (event,) = became(record)

    assert expected.items() <= event.items()


@pytest.mark.parametrize(
    "record",
    [
        {"eventType": "Behavioral Indicators", "agentName": "DESK-7", "createdAt": T0},
        {"event_type": "STORY", "agent_hostname": "DESK-7", "_time": T0},
        {"type": "Event::Endpoint::UpdateSuccess", "severity": "low", "when": T0},
    ],
)
def test_a_kind_that_nothing_is_made_of_is_named(record):
    (result,) = became(record)

    assert isinstance(result, Skipped)
    assert result.reason.startswith("no mapping for ")


@pytest.mark.parametrize(("level", "severity"), [("malicious", "high"), ("suspicious", "medium")])
def test_a_threat_is_as_severe_as_the_product_is_sure(level, severity):
    (event,) = became({"threatInfo": {"threatName": "x.exe", "confidenceLevel": level, "createdAt": T0}})

    assert (event["type"], event["severity"]) == ("detection", severity)


# ---------------------------------------------------------------- networks of clouds
def group_flow(*texts):
    flows = [{"rule": "r", "flows": [{"mac": "00", "flowTuples": list(texts)}]}]
    return {"category": "NetworkSecurityGroupFlowEvent", "time": T0, "properties": {"Version": 2, "flows": flows}}


def network_flow(*texts):
    flows = [{"aclID": "a", "flowGroups": [{"rule": "r", "flowTuples": list(texts)}]}]
    return {"category": "FlowLogFlowEvent", "time": T0, "flowRecords": {"flows": flows}}


@pytest.mark.parametrize(
    ("record", "activity", "bytes_out", "direction"),
    [
        (group_flow("1935820800,203.0.113.9,10.0.0.4,44931,22,T,I,D"), "block", None, "inbound"),
        (group_flow("1935820800,10.0.0.4,203.0.113.9,44931,443,T,O,A,E,25,4096,30,9000"), "flow", 4096, "outbound"),
        (network_flow("1935820800000,10.0.0.4,203.0.113.9,44931,443,6,O,E,NX,3,767,2,1580"), "flow", 767, "outbound"),
        (network_flow("1935820800000,203.0.113.9,10.0.0.4,44931,22,6,I,D,NX,0,0,0,0"), "block", 0, "inbound"),
    ],
)
def test_a_flow_of_azure_is_read_in_both_logs(record, activity, bytes_out, direction):
    (event,) = became(record)

    assert (event["activity"], event.get("bytes_out"), event["direction"]) == (activity, bytes_out, direction)


def test_each_flow_of_a_record_is_an_event_of_its_own():
    texts = [f"1935820800,203.0.113.9,10.0.0.{n},44931,22,T,I,D" for n in range(1, 30)]
    judgement = judge_text(json.dumps({"records": [group_flow(*texts)]}), World(), name="flows")

    assert judgement.events_used == 29
    assert judgement.rule_ids == ["service-probing"]


@pytest.mark.parametrize(("action", "activity"), [("Deny", "block"), ("Allow", "allow")])
def test_a_firewall_of_azure_is_read_as_a_message_and_in_columns(action, activity):
    ends = {"SourceIp": "10.0.0.4", "SourcePort": 1, "DestinationIp": "203.0.113.9", "DestinationPort": 443}
    message = f"TCP request from 10.0.0.4:1 to 203.0.113.9:443. Action: {action}. Policy: p"
    rows = became(
        {"category": "AzureFirewallNetworkRule", "time": T0, "resourceId": "/x", "operationName": "o", "properties": {"msg": message}},
        {"category": "AZFWNetworkRule", "time": T0, "resourceId": "/x", "properties": {**ends, "Action": action}},
    )  # fmt: skip

    assert rows[0] == rows[1]
    assert (rows[0]["activity"], rows[0]["dst_port"]) == (activity, 443)


def test_a_request_to_a_guarded_site_is_read_whole():
    request = {
        "clientIp": "203.0.113.9",
        "headers": [{"name": "Host", "value": "quill.test"}],
        "uri": "/a",
        "args": "b=1",
        "httpMethod": "GET",
    }
    (event,) = became({"timestamp": 1935820800000, "webaclId": "w", "action": "BLOCK", "httpRequest": request})  # fmt: skip

    assert (event["url"], event["src_ip"]) == ("http://quill.test/a?b=1", "203.0.113.9")


# ---------------------------------------------------------------- login records
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("root     ssh:notty    203.0.113.9      Tue May  6 08:00 - 08:00  (00:00)", ("failure", "root", "203.0.113.9")),
        ("         ssh:notty    203.0.113.9      Tue May  6 08:00 - 08:00  (00:00)", ("failure", None, "203.0.113.9")),
        ("rota     pts/0        203.0.113.9      Tue May  6 08:00:01 2031   still logged in", ("success", "rota", "203.0.113.9")),
        ("[6] [12345] [    ] [root    ] [ssh:notty   ] [203.0.113.9         ] [203.0.113.9    ] [2031-05-06T08:00:00,000000+00:00]", ("failure", "root", "203.0.113.9")),
        ("[7] [02341] [ts/0] [rota    ] [pts/0       ] [203.0.113.9         ] [203.0.113.9    ] [2031-05-06T08:00:00,000000+00:00]", ("success", "rota", "203.0.113.9")),
    ],
)  # fmt: skip
def test_a_login_record_is_a_sign_in(line, expected):
    (event,) = lines(line)

    assert (event["activity"], event.get("user_name"), event["src_ip"]) == expected


@pytest.mark.parametrize(
    "line",
    [
        "reboot   system boot  5.15.0-generic   Tue May  6 08:00:00 2031   still running",
        "btmp begins Tue May  6 08:00:01 2031",
        "[8] [02341] [    ] [        ] [pts/0       ] [                    ] [0.0.0.0        ] [2031-05-06T08:00:00,000000+00:00]",
    ],
)
def test_other_login_records_are_no_sign_ins(line):
    (result,) = lines(line)

    assert result.reason == "a login record of no sign-in"


def test_refused_sign_ins_are_counted():
    line = "root     ssh:notty    203.0.113.9      Tue May  6 08:0{} - 08:0{}  (00:00)"
    judgement = judge_text("\n".join(line.format(n, n) for n in (0, 0, 1, 1, 2, 2)), World(), name="lastb")

    assert judgement.rule_ids == ["password-guessing"]


# ---------------------------------------------------------------- access logs and YAML
@pytest.mark.parametrize("scheme", ["http ", "https ", "h2 ", ""])
def test_a_load_balancer_s_request_is_read(scheme):
    line = f'{scheme}2031-05-06T08:00:00.186641Z app/front/0a 203.0.113.9:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://quill.test:443/a?b=1 HTTP/1.1" "curl/7.46.0" - -'
    (event,) = lines(line)

    assert (event["url"], event["status_code"], event["dst_ip"]) == ("https://quill.test:443/a?b=1", 200, "10.0.0.1")


ENTRY = "eventSource: iam.amazonaws.com\neventName: ListUsers\neventTime: '2031-05-06T08:00:00Z'\neventVersion: '1.08'\nuserIdentity: {type: IAMUser, userName: rota}\n"


def indented(text, first):
    return first + text.replace("\n", "\n  ").rstrip() + "\n"


@pytest.mark.parametrize(
    "text",
    [
        f"---\n{ENTRY}---\n{ENTRY.replace('ListUsers', 'ListRoles')}",
        indented(ENTRY, "- ") + indented(ENTRY.replace("ListUsers", "ListRoles"), "- "),
        "Records:\n" + indented(ENTRY, "- ") + indented(ENTRY.replace("ListUsers", "ListRoles"), "- "),
    ],
    ids=["documents", "list", "envelope"],
)
def test_records_of_yaml_are_read_in_each_of_its_forms(text):
    assert [event["api_operation"] for event in lines(text)] == ["ListUsers", "ListRoles"]


def test_a_refusal_by_a_cluster_is_one_in_yaml_too():
    text = "apiVersion: audit.k8s.io/v1\nkind: EventList\nitems:\n- verb: list\n  auditID: a\n  user: {username: rota}\n  objectRef: {resource: pods}\n  responseStatus: {code: 403}\n"
    (event,) = lines(text)

    assert (event["api_operation"], event["api_error"]) == ("list pods", "403")


@pytest.mark.parametrize("headers", [5, "host", {"name": "host"}, [None, 3]])
def test_a_request_whose_headers_are_no_list_of_pairs_keeps_the_rest(headers):
    request = {"headers": headers, "uri": "/a", "args": "b=1", "clientIp": "198.51.100.7", "httpMethod": "GET"}
    (event,) = became({"webaclId": "x", "timestamp": 1_800_000_000_000, "httpRequest": request})
    assert event["url"] == "http:///a?b=1"
    assert event["src_ip"] == "198.51.100.7"
