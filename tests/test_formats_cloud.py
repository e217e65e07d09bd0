"""Exports of clouds and their services: what a record becomes, exactly, and that its carrier does not matter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from telemetry.declaring import load_world
from telemetry.importers import import_records
from telemetry.importers.columns import braced, fitted
from telemetry.importers.events import DraftEvent, Skipped
from telemetry.importers.reading import read_records
from telemetry.importers.unwrapping import unwrap
from telemetry.judging import judge

FORMATS = Path(__file__).parent / "data" / "formats"


def imported(name: str) -> list[DraftEvent]:
    results = import_records(read_records(FORMATS / name))
    return [result for result in results if isinstance(result, DraftEvent)]


def facts(event: DraftEvent) -> dict[str, Any]:
    return {"event_type": event.event_type, **event.fields.model_dump(exclude_none=True)}


def converted(*records: dict[str, Any]) -> list[dict[str, Any] | str]:
    results = import_records(record for raw in records for record in unwrap(raw))
    return [result.reason if isinstance(result, Skipped) else facts(result) for result in results]


# ---------------------------------------------------------------- one record, many carriers
SIGN_IN = {
    "event_type": "logon",
    "activity": "failure",
    "user_name": "rota.prell@quill.test",
    "src_ip": "203.0.113.20",
    "status": "50126",
    "logon_process": "Quill Portal",
    "auth_protocol": "ropc",
}
TRAIL = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota",
    "session_uid": "AKIAQUILL01",
    "user_uid": "arn:aws:iam::210987654321:user/rota",
    "user_type": "IAMUser",
    "src_ip": "203.0.113.20",
    "user_agent": "aws-cli/2",
    "api_service": "s3.amazonaws.com",
    "api_operation": "PutBucketPolicy",
    "cloud_region": "eu-west-1",
    "cloud_account": "210987654321",
    "resources": '{"bucketName":"quill-press","Host":"quill.example"}',
}
DIRECTORY_CHANGE = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota.prell@quill.test",
    "user_uid": "rota.prell@quill.test",
    "user_type": "user",
    "src_ip": "203.0.113.20",
    "user_agent": "example/1",
    "api_service": "Core Directory",
    "api_operation": "Add service principal credentials",
    "resources": '[{"type":"ServicePrincipal","displayName":"Quill Backup","modifiedProperties":[{"displayName":"KeyDescription",'
    '"newValue":"[\\"KeyType=Password\\"]","oldValue":"[]"}],"id":"o-1"}]',
}
INBOX_RULE = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota.prell@quill.test",
    "user_uid": "rota.prell@quill.test",
    "user_type": "user",
    "src_ip": "203.0.113.20",
    "api_service": "Exchange",
    "api_operation": "New-InboxRule",
    "cloud_account": "org-1",
    "resources": '{"ObjectId":"rota\\\\rule","Parameters":[{"Name":"ForwardTo","Value":"drop@example.net"},{"Name":"DeleteMessage","Value":"True"}]}',
}
POD = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota.prell@quill.test",
    "user_uid": "rota.prell@quill.test",
    "user_type": "user",
    "src_ip": "203.0.113.20",
    "user_agent": "kubectl/v1.29.0",
    "api_service": "kubernetes",
    "api_operation": "create pods",
    "resources": '{"objectRef":{"resource":"pods","namespace":"press","name":"x"},"requestObject":{"spec":{"hostPID":true,"volumes":['
    '{"hostPath":{"path":"/"},"name":"h"}],"containers":[{"securityContext":{"privileged":true},"command":["nsenter","-t","1"],'
    '"image":"alpine","name":"c"}]},"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","namespace":"press"}}}',
}
OKTA_SIGN_IN = {
    "event_type": "logon",
    "activity": "failure",
    "user_name": "rota.prell@quill.test",
    "src_ip": "203.0.113.20",
    "status": "INVALID_CREDENTIALS",
    "logon_process": "Okta",
}
REPOSITORY = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota-prell",
    "user_uid": "rota-prell",
    "user_type": "user",
    "src_ip": "203.0.113.20",
    "user_agent": "example/1",
    "api_service": "github",
    "api_operation": "repo.access",
    "cloud_account": "quill",
    "resources": '{"org":"quill","repo":"quill/press","visibility":"public","previous_visibility":"private"}',
}
POLICY = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota.prell@quill.test",
    "user_uid": "rota.prell@quill.test",
    "user_type": "user",
    "src_ip": "203.0.113.20",
    "user_agent": "example/1",
    "api_service": "cloudresourcemanager.googleapis.com",
    "api_operation": "SetIamPolicy",
    "cloud_account": "quill",
    "resources": '{"resourceName":"projects/quill","policyDelta":{"bindingDeltas":[{"action":"ADD","role":"roles/owner",'
    '"member":"user:drop@example.net"}]},"request":{"resource":"quill"}}',
}
ROLE = {
    "event_type": "cloud_api",
    "activity": "call",
    "actor_user": "rota.prell@quill.test",
    "user_uid": "rota.prell@quill.test",
    "user_type": "user",
    "src_ip": "203.0.113.20",
    "api_service": "workspace/admin",
    "api_operation": "ASSIGN_ROLE",
    "cloud_account": "C01",
    "resources": '{"ROLE_NAME":"_SEED_ADMIN_ROLE","USER_EMAIL":"drop@quill.test"}',
}
GUARD = {
    "event_type": "detection",
    "activity": "ids_notice",
    "actor_user": "rota",
    "finding_title": "UnauthorizedAccess:IAMUser/ConsoleLoginSuccess.B",
    "severity": "medium",
    "src_ip": "203.0.113.20",
}
HUB = {
    "event_type": "detection",
    "activity": "ids_notice",
    "device_hostname": "i-0abc",
    "finding_title": "A machine talks to a strange address",
    "severity": "HIGH",
    "src_ip": "10.9.0.4",
    "dst_ip": "203.0.113.30",
}
FLOW = {
    "event_type": "net_conn",
    "activity": "flow",
    "device_hostname": "eni-0abc",
    "src_ip": "10.9.0.4",
    "src_port": 40000,
    "dst_ip": "203.0.113.30",
    "dst_port": 443,
    "dst_scope": "external",
    "bytes_out": 900,
}
CARRIED = {
    "gcp-audit": (13, POLICY),
    "google-workspace": ("13:30", ROLE),
    "aws-guardduty": (14, GUARD),
    "aws-security-hub": ("14:10", HUB),
    "aws-vpc-flow": (14, FLOW),
    "entra-sign-ins": (8, SIGN_IN),
    "entra-audit": ("8:10", DIRECTORY_CHANGE),
    "microsoft-365-unified-audit": (9, INBOX_RULE),
    "okta-system-log": (10, OKTA_SIGN_IN),
    "github-audit-log": (11, REPOSITORY),
    "kubernetes-audit": (11, POD),
    "aks-audit": (11, POD),
    "aws-cloudtrail": (12, TRAIL),
}
OF_THEIR_OWN = (
    "entra-sign-ins--service-principal.jsonl",
    "entra-sign-ins--hunting.jsonl",
    "aws-vpc-flow--custom.log",
    "aws-cloudtrail--event-history.csv",
)
CASES = [
    (path.name, *CARRIED[slug])
    for path in sorted(FORMATS.iterdir())
    if (slug := path.name.split("--")[0].split(".")[0].removesuffix("-csv")) in CARRIED
    and path.name not in OF_THEIR_OWN
]


@pytest.mark.parametrize(("name", "clock", "expected"), CASES)
def test_a_record_becomes_the_same_event_in_every_carrier(name, clock, expected):
    event = imported(name)[0]

    hour, _, minute = str(clock).partition(":")
    assert event.time == datetime(2031, 5, 6, int(hour), int(minute or 0), tzinfo=UTC)
    assert facts(event) == expected


def test_every_carrier_is_tried():
    assert len(CASES) == 101


# ---------------------------------------------------------------- what counts as an attempt
def sign_in(code: str, name: str = "s-1", time: str = "2031-05-06T08:00:00Z") -> dict[str, Any]:
    return {
        "TimeGenerated": time,
        "ResultType": code,
        "Id": name,
        "UserPrincipalName": "rota.prell@quill.test",
        "IPAddress": "203.0.113.20",
        "AppDisplayName": "Quill Portal",
    }


@pytest.mark.parametrize("code", ["50126", "50053", "50055", "50034"])
def test_a_wrong_credential_is_a_failed_sign_in(code):
    (event,) = converted(sign_in(code))

    assert (event["event_type"], event["activity"], event["status"]) == ("logon", "failure", code)


@pytest.mark.parametrize("code", ["50074", "50076", "50079", "50140", "70043", "65001", "50158", "700082"])
def test_a_step_that_entra_asks_for_is_an_interrupt_and_no_failure(code):
    (event,) = converted(sign_in(code))

    assert (event["api_operation"], event.get("api_error")) == ("Sign-in interrupted", None)
    assert event["resources"] == f'{{"errorCode":"{code}","reason":"","app":"Quill Portal"}}'


@pytest.mark.parametrize("code", ["53003", "700016", "7000215", "50057"])
def test_a_sign_in_refused_for_another_reason_is_a_refused_call(code):
    (event,) = converted(sign_in(code))

    assert (event["api_operation"], event["api_error"]) == ("Sign-in refused", code)


def test_a_second_factor_that_is_denied_is_told_apart():
    (event,) = converted(sign_in("500121"))

    assert (event["api_operation"], event["api_error"]) == ("Second factor refused", "500121")


@pytest.mark.parametrize(("times", "rules"), [(4, []), (5, ["push-fatigue"])])
def test_a_second_factor_denied_again_and_again_is_noticed(times, rules):
    rows = [sign_in("500121", f"s-{n}", f"2031-05-06T08:00:0{n}Z") for n in range(times)]

    assert list(judge(rows, load_world(None)).rule_ids) == rules


def test_rows_of_one_sign_in_are_one_attempt_and_the_last_state_counts():
    rows = [sign_in("50126", time=f"2031-05-06T08:00:0{second}Z") for second in range(3)]
    end = sign_in("0", time="2031-05-06T08:00:09Z")

    assert converted(end, *rows)[1:] == ["an earlier state of record 0"] * 3
    assert converted(*rows, end)[:3] == [f"an earlier state of record {n}" for n in (1, 2, 3)]
    assert [event["activity"] for event in converted(*rows, end) if isinstance(event, dict)] == ["success"]


def test_sign_ins_of_different_ids_are_different_attempts():
    assert [event["activity"] for event in converted(sign_in("50126", "a"), sign_in("50126", "b"))] == ["failure"] * 2


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("Success", "Other.", ("logon", "success")),
        ("Failure", "Error validating credentials due to invalid username or password.", ("logon", "failure")),
        ("Failure", "Access has been blocked by Conditional Access policies.", ("cloud_api", "call")),
        ("Interrupted", "Strong authentication is required.", ("cloud_api", "call")),
    ],
)
def test_a_row_of_the_portal_without_a_code_is_read_by_its_words(status, reason, expected):
    row = {
        "Date (UTC)": "2031-05-06T08:00:00Z",
        "Request ID": "r-1",
        "Username": "rota.prell@quill.test",
        "IP address": "203.0.113.20",
        "Status": status,
        "Failure reason": reason,
    }
    (event,) = converted(row)

    assert (event["event_type"], event["activity"]) == expected


@pytest.mark.parametrize(
    ("kind", "result", "reason", "expected"),
    [
        ("user.session.start", "SUCCESS", None, ("logon", "success")),
        ("user.session.start", "FAILURE", "LOCKED_OUT", ("logon", "failure")),
        ("user.session.start", "FAILURE", "MFA_REQUIRED", ("cloud_api", "call")),
        ("user.session.start", "DENY", None, ("cloud_api", "call")),
        ("user.authentication.auth_via_mfa", "FAILURE", "INVALID_CREDENTIALS", ("cloud_api", "call")),
        ("policy.evaluate_sign_on", "CHALLENGE", None, ("cloud_api", "call")),
    ],
)
def test_okta_sign_ins_are_sessions_and_only_wrong_credentials_fail(kind, result, reason, expected):
    entry = {
        "published": "2031-05-06T10:00:00Z",
        "eventType": kind,
        "actor": {"type": "User", "alternateId": "rota.prell@quill.test"},
        "client": {"ipAddress": "203.0.113.20"},
        "outcome": {"result": result, "reason": reason},
    }
    (event,) = converted(entry)

    assert (event["event_type"], event["activity"]) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("user.login", ("logon", "success")),
        ("user.failed_login", ("logon", "failure")),
        ("user.two_factor_challenge_failure", ("cloud_api", "call")),
    ],
)
def test_github_tells_sign_ins_and_a_second_factor_is_none(action, expected):
    (event,) = converted({"action": action, "actor": "rota-prell", "created_at": 1935831600000})

    assert (event["event_type"], event["activity"]) == expected


@pytest.mark.parametrize(
    ("operation", "error", "expected"),
    [
        ("UserLoggedIn", None, ("logon", "success")),
        ("UserLoginFailed", "50126", ("logon", "failure")),
        ("UserLoginFailed", "50074", ("cloud_api", "call")),
    ],
)
def test_sign_ins_of_the_unified_audit_follow_entras_codes(operation, error, expected):
    record = {
        "CreationTime": "2031-05-06T08:00:00",
        "Operation": operation,
        "Workload": "AzureActiveDirectory",
        "UserId": "rota.prell@quill.test",
        "ErrorNumber": error,
    }
    (event,) = converted(record)

    assert (event["event_type"], event["activity"]) == expected


# ---------------------------------------------------------------- what a service itself finds
OKTA = {
    "published": "2031-05-06T10:00:00Z",
    "actor": {"type": "User", "alternateId": "rota.prell@quill.test"},
    "client": {"ipAddress": "203.0.113.20"},
}


@pytest.mark.parametrize(
    ("kind", "reason", "is_finding"),
    [
        ("security.threat.detected", "Password Spray", True),
        ("user.account.report_suspicious_activity_by_enduser", None, True),
        ("user.authentication.auth_via_mfa", "FastPass declined phishing attempt", True),
        ("user.authentication.auth_via_mfa", "INVALID_CREDENTIALS", False),
        ("user.account.unlock", None, False),
    ],
)
def test_what_okta_finds_is_a_detection(kind, reason, is_finding):
    (event,) = converted({**OKTA, "eventType": kind, "outcome": {"result": "DENY", "reason": reason}})

    assert (event["event_type"] == "detection") is is_finding
    if is_finding:
        assert event["severity"] == "high"
        assert event["finding_title"] == f"{kind} {reason or ''}".strip()


@pytest.mark.parametrize(
    ("operation", "more", "expected"),
    [
        ("AlertTriggered", {"Name": "Odd forwarding", "Severity": "High"}, ("ids_notice", "Odd forwarding", "high")),
        ("AlertTriggered", {"Name": "New policy", "Severity": "Low"}, ("ids_notice", "New policy", "low")),
        ("FileMalwareDetected", {"VirusInfo": "Worm", "ObjectId": "https://x/y"}, ("malware", "Worm", "high")),
    ],
)
def test_what_microsoft_365_finds_is_a_detection(operation, more, expected):
    record = {"CreationTime": "2031-05-06T08:00:00", "Operation": operation, "Workload": "SharePoint", **more}
    (event,) = converted(record)

    assert (event["activity"], event["finding_title"], event["severity"]) == expected


@pytest.mark.parametrize(
    ("risk", "event_type"),
    [
        ({"RiskLevelDuringSignIn": "high", "RiskState": "atRisk"}, "detection"),
        ({"RiskLevelDuringSignIn": "high", "RiskState": "remediated"}, "logon"),
        ({"RiskLevelDuringSignIn": "low", "RiskState": "atRisk"}, "logon"),
        ({"RiskLevelDuringSignIn": "none", "RiskState": "none"}, "logon"),
    ],
)
def test_a_sign_in_that_entra_rates_a_high_risk_is_a_detection(risk, event_type):
    record = {
        "TimeGenerated": "2031-05-06T08:00:00Z",
        "ResultType": "0",
        "UserPrincipalName": "rota.prell@quill.test",
        "IPAddress": "203.0.113.20",
        "RiskEventTypes_V2": '["anonymizedIPAddress"]',
        **risk,
    }
    (event,) = converted(record)

    assert event["event_type"] == event_type
    assert event_type == "logon" or event["finding_title"] == "risky sign-in anonymizedIPAddress"


def test_entras_own_dash_is_written_as_everybody_writes_it():
    record = {
        "TimeGenerated": "2031-05-06T08:00:00Z",
        "OperationName": "Update application \u2013 Certificates and secrets management ",
        "InitiatedBy": {"user": {"userPrincipalName": "rota.prell@quill.test"}},
        "TargetResources": [],
    }
    (event,) = converted(record)

    assert event["api_operation"] == "Update application - Certificates and secrets management"


def test_an_event_of_workspace_in_cloud_logging_is_named_as_the_reports_api_names_it():
    parameters = [{"name": "USER_EMAIL", "value": "ben@quill.test"}]
    payload = {
        "serviceName": "admin.googleapis.com",
        "methodName": "google.admin.AdminService.grantAdminPrivilege",
        "authenticationInfo": {"principalEmail": "rota.prell@quill.test"},
        "metadata": {"event": [{"eventName": "GRANT_ADMIN_PRIVILEGE", "parameter": parameters}]},
    }
    (event,) = converted({"timestamp": "2031-05-06T08:00:00Z", "protoPayload": payload})

    assert (event["api_service"], event["api_operation"]) == ("workspace/admin", "GRANT_ADMIN_PRIVILEGE")
    assert event["resources"] == '{"USER_EMAIL":"ben@quill.test"}'


# ---------------------------------------------------------------- who calls, and for whom
@pytest.mark.parametrize(
    ("kind", "expected"),
    [(0, "user"), ("Admin", "user"), (3, "service"), (4, "service"), (5, "app"), ("Application", "app")],
)
def test_the_unified_audit_tells_people_from_services_and_applications(kind, expected):
    record = {
        "CreationTime": "2031-05-06T08:00:00",
        "Operation": "Set-Mailbox",
        "Workload": "Exchange",
        "UserType": kind,
    }
    (event,) = converted(record)

    assert event["user_type"] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rota@quill.test", "user"), ("system:serviceaccount:press:ci", "service"), ("system:anonymous", "user")],
)
def test_a_cluster_tells_its_own_accounts_from_people(name, expected):
    raw = {"verb": "list", "objectRef": {"resource": "secrets"}, "user": {"username": name}, "auditID": "a"}
    (event,) = converted(raw)

    assert (event["user_type"], event["api_operation"]) == (expected, "list secrets")


# ---------------------------------------------------------------- Kubernetes
def stage(name: str, code: int | None = None, uri: str = "/api/v1/secrets") -> dict[str, Any]:
    return {
        "auditID": "a-1",
        "stage": name,
        "verb": "list",
        "requestURI": uri,
        "objectRef": {"resource": "secrets"},
        "requestReceivedTimestamp": "2031-05-06T11:00:00Z",
        "user": {"username": "rota"},
        **({"responseStatus": {"code": code}} if code else {}),
    }


def test_stages_of_one_request_are_one_call_with_the_answers_code():
    received, complete = converted(stage("RequestReceived"), stage("ResponseComplete", 403))

    assert received == "an earlier state of record 1"
    assert complete["api_error"] == "403"
    assert [type(event) for event in converted(stage("ResponseComplete", 403), stage("RequestReceived"))] == [dict, str]


def test_a_command_in_a_container_is_read_from_its_address():
    raw = {
        "verb": "create",
        "requestURI": "/api/v1/namespaces/press/pods/x/exec?command=bash&command=-i&container=c&stdin=true&tty=true",
        "objectRef": {"resource": "pods", "subresource": "exec", "name": "x"},
        "user": {"username": "rota"},
    }
    (event,) = converted(raw)

    assert event["api_operation"] == "create pods/exec"
    assert json.loads(event["resources"])["requestObject"] == {
        "command": ["bash", "-i"],
        "container": "c",
        "stdin": True,
        "tty": True,
    }


def test_what_decides_of_a_long_request_stays_and_stays_json():
    containers = [
        {"name": f"c{n}", "image": "x" * 300, "env": [{"name": "A", "value": "y" * 900}] * 9} for n in range(9)
    ]
    raw = {
        "verb": "create",
        "objectRef": {"resource": "deployments", "apiGroup": "apps", "name": "d"},
        "requestObject": {
            "metadata": {"annotations": {"note": "z" * 5000}},
            "spec": {
                "template": {
                    "spec": {"containers": containers, "volumes": [{"hostPath": {"path": "/"}}], "hostNetwork": True}
                }
            },
        },
    }
    (event,) = converted(raw)

    pod = json.loads(event["resources"])["requestObject"]["spec"]["template"]["spec"]
    assert (pod["hostNetwork"], pod["volumes"]) == (True, [{"hostPath": {"path": "/"}}])


# ---------------------------------------------------------------- Google, AWS
def test_an_activity_of_several_events_is_as_many_and_a_challenge_is_no_failure():
    role, user, failure, challenge, warning = (facts(event) for event in imported("google-workspace.json"))

    assert (role["api_operation"], user["api_operation"]) == ("ASSIGN_ROLE", "CREATE_USER")
    assert (failure["activity"], failure["status"]) == ("failure", "login_failure_invalid_password")
    assert (challenge["api_service"], challenge["api_operation"]) == ("workspace/login", "login_challenge")
    assert (warning["event_type"], warning["finding_title"]) == ("detection", "suspicious_login")


@pytest.mark.parametrize(
    ("method", "resource", "operation", "thing"),
    [
        ("io.k8s.core.v1.pods.exec.create", "core/v1/namespaces/press/pods/x/exec", "create pods/exec", "pods"),
        (
            "io.k8s.authorization.rbac.v1.clusterrolebindings.create",
            "rbac.authorization.k8s.io/v1/clusterrolebindings/y",
            "create clusterrolebindings",
            "clusterrolebindings",
        ),
    ],
)
def test_calls_of_a_gke_cluster_are_written_as_kubernetes_own(method, resource, operation, thing):
    payload = {"serviceName": "k8s.io", "methodName": method, "resourceName": resource}
    (event,) = converted({"timestamp": "2031-05-06T11:00:00Z", "protoPayload": payload})

    assert (event["api_service"], event["api_operation"]) == ("kubernetes", operation)
    assert json.loads(event["resources"])["objectRef"]["resource"] == thing


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_an_operation_that_begins_and_ends_is_one_call_with_the_request(order):
    entries = [
        {
            "timestamp": "2031-05-06T13:00:00Z",
            "operation": {"id": "o-1", "first": is_first, "last": not is_first},
            "protoPayload": {
                "methodName": "v1.compute.instances.insert",
                "resourceName": "vm",
                "request": {"name": "vm"} if is_first else None,
            },
        }
        for is_first in order
    ]
    (event,) = [event for event in converted(*entries) if isinstance(event, dict)]

    assert json.loads(event["resources"]) == {"resourceName": "vm", "request": {"name": "vm"}}


def test_a_rejected_flow_is_blocked_and_a_window_without_data_is_skipped():
    accepted, rejected = imported("aws-vpc-flow.log")

    assert (accepted.activity, rejected.activity) == ("flow", "block")
    assert import_records(read_records(FORMATS / "aws-vpc-flow.log"))[2] == Skipped(
        "VPC flow: a window without data", 2
    )


def test_a_flow_in_an_order_of_its_own_is_read_by_its_header():
    (event,) = imported("aws-vpc-flow--custom.log")

    assert facts(event) == {**FLOW, "direction": "outbound"}


def test_a_row_of_the_consoles_event_history_tells_no_parameters():
    (event,) = imported("aws-cloudtrail--event-history.csv")

    assert event.time == datetime(2031, 5, 6, 12, tzinfo=UTC)
    assert facts(event) == {
        "event_type": "cloud_api",
        "activity": "call",
        "actor_user": "rota",
        "session_uid": "AKIAQUILL01",
        "src_ip": "203.0.113.20",
        "user_agent": "aws-cli/2",
        "api_service": "s3.amazonaws.com",
        "api_operation": "PutBucketPolicy",
        "api_error": "AccessDenied",
        "cloud_region": "eu-west-1",
        "resources": '[{"type":"AWS::S3::Bucket","name":"quill-press"}]',
    }


@pytest.mark.parametrize(
    ("kind", "severity", "expected"),
    [
        ("CryptoCurrency:EC2/BitcoinTool.B", 8, ("malware", "high")),
        ("Backdoor:EC2/DenialOfService.Dns", 6.9, ("malware", "medium")),
        ("AttackSequence:IAM/CompromisedCredentials", 9, ("ids_notice", "critical")),
        ("Recon:EC2/Portscan", 3.9, ("ids_notice", "low")),
    ],
)
def test_guardduty_names_malware_by_purpose_and_severities_by_number(kind, severity, expected):
    (event,) = converted({"id": "f", "type": kind, "severity": severity, "createdAt": "2031-05-06T14:00:00Z"})

    assert (event["activity"], event["severity"]) == expected


def test_a_check_of_a_setting_is_no_detection():
    check = {"ProductArn": "arn:x", "Types": ["Software and Configuration Checks"], "Compliance": {"Status": "FAILED"}}

    assert converted(check) == ["Security Hub: a check of a setting, and no act"]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("", ("cloud_api", "call")),
        ("--authentication", ("logon", "failure")),
        ("--detection", ("detection", "ids_notice")),
        ("--network", ("net_conn", "flow")),
    ],
)
def test_ocsf_is_read_by_its_classes(variant, expected):
    (event,) = imported(f"ocsf{variant}.jsonl")

    assert (event.event_type, event.activity) == expected
    assert event.time == datetime(2031, 5, 6, 14, tzinfo=UTC)


def test_other_services_are_read_by_their_rows():
    caller = {
        "event_type": "cloud_api",
        "activity": "call",
        "user_uid": "rota.prell@quill.test",
        "src_ip": "203.0.113.20",
    }
    events = {
        name: {
            key: value
            for key, value in facts(imported(f"{name}.json")[-1]).items()
            if key not in ("resources", "actor_user")
        }
        for name in (
            "gitlab-audit-events",
            "slack-audit-logs",
            "cloudflare-audit-logs",
            "duo-authentication-logs",
            "auth0-logs",
        )
    }

    assert events == {
        "gitlab-audit-events": {
            **caller,
            "user_uid": "Rota Prell",
            "api_service": "gitlab",
            "api_operation": "project_access_token_created",
        },
        "slack-audit-logs": {**caller, "api_service": "slack", "api_operation": "role_change_to_owner"},
        "cloudflare-audit-logs": {**caller, "api_service": "cloudflare", "api_operation": "token_create"},
        "duo-authentication-logs": {
            **caller,
            "user_uid": "rota",
            "api_service": "duo",
            "api_operation": "authentication",
            "api_error": "fraud",
        },
        "auth0-logs": {
            "event_type": "logon",
            "activity": "failure",
            "user_name": "rota.prell@quill.test",
            "src_ip": "203.0.113.20",
            "logon_process": "auth0",
        },
    }


def test_an_alert_of_falco_is_a_detection():
    (event,) = imported("falco.jsonl")

    assert facts(event) == {
        "event_type": "detection",
        "activity": "ids_notice",
        "device_hostname": "node-1",
        "actor_user": "root",
        "finding_title": "Terminal shell in container",
        "severity": "Notice",
        "file_path": "/bin/bash",
    }


# ---------------------------------------------------------------- columns
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a=1, b={c=[x, y], d=null}}", {"a": "1", "b": {"c": ["x", "y"], "d": None}}),
        ('{"a": 1}', {"a": 1}),
        ("{a=x=y, arn=arn:aws:iam::1:role/z, w}", "{a=x=y, arn=arn:aws:iam::1:role/z, w}"),
        ("{a=1", "{a=1"),
        ("plain", "plain"),
    ],
)
def test_printed_rows_are_parsed_and_what_is_none_stays(text, expected):
    assert braced(text) == expected


def test_a_part_that_is_too_long_is_shortened_within_and_stays_json():
    text = fitted({"first": "x" * 5000, "list": list(range(5000)), "last": {"deep": None, "end": True}})

    assert len(text) <= 2048
    assert json.loads(text)["last"] == {"end": True}


# ---------------------------------------------------------------- hostile values
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["//[", "{a=", "[{", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@cache
def samples():
    """The records of all files but those of Windows."""
    return [
        record
        for path in sorted(FORMATS.iterdir())
        if path.suffix in (".json", ".jsonl", ".csv", ".log") and not path.name.startswith(("windows", "sysmon"))
        for record in read_records(path)
        if isinstance(record, dict)
    ]


def broken(draw, dice, value):
    """Draw a record of the same names, of which some parts are odd; dice say which, as a draw for each part takes long."""
    if not dice.randrange(10):
        return draw(ODD)
    if isinstance(value, dict):
        return {name: broken(draw, dice, member) for name, member in value.items() if dice.randrange(20)}
    return [broken(draw, dice, element) for element in value] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(st.data(), st.randoms(use_true_random=True))
def test_no_odd_part_of_a_known_record_raises_or_is_lost(data, dice):
    record = broken(data.draw, dice, data.draw(st.sampled_from(samples())))
    note(record)
    records = list(unwrap(record))

    assert len(import_records(records)) >= len(records)  # a known record within an odd one takes its place
