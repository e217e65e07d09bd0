"""Rules on clouds: every call that a rule names, from the raw record to the finding, and neighbours on the other side of the line."""

import json

import pytest

from incidents import OUTSIDE, clock, control, event, examples, found, key, made, ticket, truth_of
from telemetry.importers.cloudtrail import convert_cloudtrail
from verifier import RULES
from verifier.parameters import MAX_DEPTH, facts_of, opened
from verifier.policies import grants_of, opens_to_everybody
from verifier.rules import cloud_compute, cloud_data, cloud_defences, cloud_identity, kit

OWN, OTHER = "111111111111", "222222222222"
ANA = {"type": "IAMUser", "userName": "ana", "arn": f"arn:aws:iam::{OWN}:user/ana", "accountId": OWN}


def trail(name, request=None, at=0, identity=ANA, source="203.0.113.7", service="iam.amazonaws.com", **more):
    """A row that the importer makes of a CloudTrail record."""
    record = {
        "eventSource": service,
        "eventName": name,
        "eventTime": clock(at),
        "userIdentity": identity,
        "sourceIPAddress": source,
        "recipientAccountId": OWN,
        "requestParameters": request,
        **more,
    }
    _, draft = convert_cloudtrail(record)
    return {
        "event_type": draft.event_type,
        "fields": draft.fields.model_dump(exclude_none=True),
        "timestamp": clock(at),
    }


def api(operation, resources="{}", at=0, **more):
    """A row as a model may write it."""
    return event(
        at, "cloud_api", "call", api_operation=operation, resources=resources, cloud_account=OWN,
        **{"host": None, "src_ip": OUTSIDE, "user_uid": ANA["arn"], **more},
    )  # fmt: skip


BY_STACK = {**ANA, "invokedBy": "cloudformation.amazonaws.com"}


def policy(
    *, effect="Allow", principal="*", action="s3:GetObject", condition=None, as_text=True, resource="*", key="Action"
):
    statement = {"Effect": effect, key: action, "Resource": resource}
    statement |= {"Principal": principal} if principal else {}
    statement |= {"Condition": condition} if condition else {}
    whole = {"Version": "2012-10-17", "Statement": [statement]}
    return json.dumps(whole) if as_text else whole


def github(condition=None, provider="token.actions.githubusercontent.com"):
    """The trust policy of a role that workflows of GitHub may assume."""
    principal = {"Federated": f"arn:aws:iam::{OWN}:oidc-provider/{provider}"}
    return policy(principal=principal, action="sts:AssumeRoleWithWebIdentity", condition=condition)


def claims(operator="StringLike", **values):
    return {operator: {f"token.actions.githubusercontent.com:{name}": value for name, value in values.items()}}


def said(rule_id, *rows, **parts):
    """How strong a rule's findings are, once each."""
    return sorted({line.split()[1] for line in found(*rows, **parts) if line.startswith(f"{rule_id} ")})


WORLD_OPEN = {
    "PutBucketPolicy": {"bucketName": "b", "bucketPolicy": policy(as_text=False)},
    "PutAccessPointPolicy": {"Policy": policy()},
    "PutResourcePolicy": {"secretId": "s", "resourcePolicy": policy(action="secretsmanager:GetSecretValue")},
    "PutKeyPolicy": {"keyId": "k", "policy": policy(action="kms:*")},
    "CreateKey": {"policy": policy(action="kms:*")},
    "SetRepositoryPolicy": {"repositoryName": "r", "policyText": policy(action=["ecr:BatchGetImage"])},
    "PutRegistryPolicy": {"policyText": policy()},
    "SetTopicAttributes": {"attributeName": "Policy", "attributeValue": policy(action="sns:Publish")},
    "SetQueueAttributes": {"attributes": {"Policy": policy(action="sqs:*")}},
    "CreateQueue": {"attributes": {"Policy": policy(action="sqs:*")}},
    "UpdateDomainConfig": {"accessPolicies": policy(action="es:*")},
    "UpdateElasticsearchDomainConfig": {"accessPolicies": policy(action="es:*")},
    "PutFileSystemPolicy": {"policy": policy(action="elasticfilesystem:ClientWrite")},
    "SetVaultAccessPolicy": {"policy": {"policy": policy(action="glacier:*")}},
    "PutBackupVaultAccessPolicy": {"policy": policy(action="backup:*")},
    "PutBucketAcl": {"AccessControlPolicy": {"Grant": {"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers"}}}},
    "PutObjectAcl": {"x-amz-acl": ["public-read"]},
    "CreateBucket": {"x-amz-acl": "authenticated-read"},
    "CreateFunctionUrlConfig": {"authType": "NONE"},
    "UpdateFunctionUrlConfig": {"authType": "NONE"},
    "CreateDBInstance": {"publiclyAccessible": True},
    "ModifyDBInstance": {"publiclyAccessible": True},
    "RestoreDBInstanceFromDBSnapshot": {"publiclyAccessible": True},
    "RestoreDBInstanceToPointInTime": {"publiclyAccessible": True},
    "CreateCluster": {"publiclyAccessible": True},
    "ModifyCluster": {"publiclyAccessible": True},
}  # fmt: skip
SHARED = {
    "ModifyImageAttribute": {"launchPermission": {"add": {"items": [{"userId": OTHER}]}}},
    "ModifySnapshotAttribute": {"createVolumePermission": {"add": {"items": [{"group": "all"}]}}},
    "ModifyDBSnapshotAttribute": {"attributeName": "restore", "valuesToAdd": ["all"]},
    "ModifyDBClusterSnapshotAttribute": {"attributeName": "restore", "valuesToAdd": [OTHER]},
}
EXAMPLES = {
    "cloud-trail-stopped": {
        **{name: {"name": "t"} for name in kit.TRAIL_CALLS},
        "UpdateTrail": {"name": "t", "isMultiRegionTrail": False},
        "PutEventSelectors": {"eventSelectors": [{"readWriteType": "All", "includeManagementEvents": False}]},
        "PutInsightSelectors": {"trailName": "t", "insightSelectors": []},
    },
    "cloud-detection-off": {
        **{name: {"name": "x"} for name in cloud_defences._OFF_CALLS},
        "DeleteLogGroup": {"logGroupName": "/aws/cloudtrail/org"},
        "DeleteLogStream": {"logGroupName": "/aws/cloudtrail/org"},
        "UpdateDetector": {"detectorId": "d", "enable": False},
        "CreateFilter": {"detectorId": "d", "action": "ARCHIVE"},
        "CreateIPSet": {"detectorId": "d", "activate": True},
        "UpdateSink": {"sink": {"disabled": True}},
    },
    "cloud-door-opened": {
        "AuthorizeSecurityGroupIngress": {
            "ipPermissions": {"items": [{"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}
        },
        "ModifySecurityGroupRules": {
            "ModifySecurityGroupRulesRequest": {"SecurityGroupRule": {"SecurityGroupRule": {"FromPort": 3000, "ToPort": 4000, "CidrIpv6": "::/0"}}}
        },
        "CreateNetworkAclEntry": {"cidrBlock": "0.0.0.0/0", "aclProtocol": "-1", "ruleAction": "allow", "egress": False, "portRange": {}},
    },
    "cloud-guardrail-removed": {name: {"policyId": "p"} for name in cloud_defences._GUARD_CALLS},
    "cloud-back-door": {
        "AddPermission": {"functionName": "f", "principal": "*"},
        "AddLayerVersionPermission": {"principal": OTHER},
        **{name: {"functionName": "f"} for name in cloud_identity._FUNCTION_CALLS},
        "AddUserToGroup": {"groupName": "Administrators", "userName": "ben"},
    },
    "cloud-role-trust": {
        "UpdateAssumeRolePolicy": {"roleName": "r", "policyDocument": policy(principal={"AWS": f"arn:aws:iam::{OTHER}:root"}, action="sts:AssumeRole")},
        "CreateRole": {"roleName": "r", "assumeRolePolicyDocument": policy(action="sts:AssumeRole")},
    },
    "cloud-identity-provider": {name: {"name": "n"} for name in cloud_identity._PROVIDER_CALLS},
    "cloud-login-changed": {
        "CreateLoginProfile": {"userName": "ben"},
        "UpdateLoginProfile": {"userName": "ben", "passwordResetRequired": False},
        "DeactivateMFADevice": {"userName": "ben", "serialNumber": f"arn:aws:iam::{OWN}:mfa/ben"},
        "DeleteVirtualMFADevice": {"serialNumber": f"arn:aws:iam::{OWN}:mfa/ben"},
    },
    "cloud-admin-granted": {
        **{name: {"policyDocument": policy(principal=None, action="*")} for name in cloud_identity._INLINE_CALLS},
        **{name: {"userName": "ben"} for name in cloud_identity._BOUNDARY_CALLS},
        **{name: {"userName": "ben", "policyArn": "arn:aws:iam::aws:policy/IAMFullAccess"} for name in cloud_identity._MANAGED_CALLS},
    },
    "cloud-federation-token": {"GetFederationToken": {"name": "n"}, "GetSigninToken": {"name": "n"}},
    "cloud-shared-outside": {
        **SHARED,
        **{name: json.loads(json.dumps(request).replace('"*"', f'"{OTHER}"').replace('\\"Principal\\": \\"*\\"', f'\\"Principal\\": \\"{OTHER}\\"'))
           for name, request in WORLD_OPEN.items() if name in cloud_data._POLICY_CALLS},
    },
    "cloud-opened-to-world": WORLD_OPEN,
    "cloud-public-block-lifted": {
        **{name: {"bucketName": "b"} for name in cloud_data._UNBLOCKING_CALLS},
        **{name: {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "BlockPublicPolicy": False}} for name in cloud_data._BLOCK_CALLS},
    },
    "cloud-key-destroyed": {name: {"keyId": "k"} for name in cloud_data._KEY_CALLS},
    "cloud-backups-deleted": {
        **{name: {"name": "v"} for name in cloud_data._VAULT_CALLS},
        "PutBucketVersioning": {"VersioningConfiguration": {"Status": "Suspended"}},
        "PutBucketLifecycle": {"LifecycleConfiguration": {"Rule": {"Expiration": {"Days": 1}}}},
        "PutBucketLifecycleConfiguration": {"LifecycleConfiguration": {"Rule": {"Expiration": {"Days": 1}}}},
        "ModifyDBInstance": {"backupRetentionPeriod": 0},
        "ModifyDBCluster": {"backupRetentionPeriod": 0},
    },
    "cloud-machines-misused": {
        "RunInstances": {"instanceType": "p4d.24xlarge"},
        "ModifyInstanceAttribute": {"instanceType": {"value": "p4d.24xlarge"}},
        **{name: {"modelId": "m"} for name in cloud_compute._MODEL_CALLS},
    },
    "cloud-machine-entered": {
        **{name: {"instanceIds": ["i-0123456789abcdef0"]} for name in cloud_compute._SHELL_CALLS},
        "DescribeInstanceAttribute": {"attribute": "userData"},
        "ModifyInstanceAttribute": {"userData": "x"},
    },
    "cloud-machine-key-added": {"ImportKeyPair": {"keyName": "k"}},
    "cloud-root-credential": {name: {"serialNumber": "x"} for name in (*cloud_identity._FACTOR_CALLS, "CreateAccessKey")},
}  # fmt: skip
# Calls that count only together with others: each is repeated, or stands beside the next one.
BURSTS = {
    "cloud-secrets-read": (*cloud_data._SECRET_CALLS, *cloud_data._BULK_CALLS),
    "cloud-backups-deleted": cloud_data._SNAPSHOT_CALLS,
    "cloud-stores-deleted": cloud_data._STORE_CALLS,
}
SERVICE_OF = {
    "cloud-guardrail-removed": "organizations.amazonaws.com",
    "cloud-detection-off": "guardduty.amazonaws.com",
}
ROOT = {"type": "Root", "arn": f"arn:aws:iam::{OWN}:root", "accountId": OWN}
ROLE = {"type": "AssumedRole", "arn": f"arn:aws:sts::{OWN}:assumed-role/Engineer/ana", "accountId": OWN}


def identity_for(rule_id):
    return {"cloud-root-credential": ROOT, "cloud-machine-entered": ROLE}.get(rule_id, ANA)


@pytest.mark.parametrize(
    ("rule_id", "name", "request_"),
    [
        pytest.param(rule_id, name, request, id=f"{rule_id}-{name}")
        for rule_id, calls in EXAMPLES.items()
        for name, request in calls.items()
    ],
)
def test_each_call_that_a_rule_names_is_found_in_a_raw_record(rule_id, name, request_):
    row = trail(name, request_, identity=identity_for(rule_id), service=SERVICE_OF.get(rule_id, "iam.amazonaws.com"))

    assert said(rule_id, row) != []
    assert name.lower() in next(rule.summary for rule in RULES if rule.rule_id == rule_id).lower()


@pytest.mark.parametrize(("rule_id", "name"), [(rule_id, name) for rule_id, names in BURSTS.items() for name in names])
def test_each_call_that_counts_together_with_others_is_found_in_raw_records(rule_id, name):
    rows = [trail(name, {"name": f"n{number}"}, at=number) for number in range(3)]

    assert said(rule_id, *rows) == ["suspicious"]
    assert name in next(rule.summary for rule in RULES if rule.rule_id == rule_id)


def test_no_call_of_a_list_lacks_an_example():
    covered = {name for calls in (*EXAMPLES.values(), *BURSTS.values()) for name in calls}
    covered |= {*cloud_compute._AGENT_CALLS, *cloud_compute._SENDING_CALLS}  # exempt, and tested below
    covered |= {*cloud_compute._METADATA_CALLS, *cloud_defences._FIREWALL_CALLS, *cloud_data._BINDING_CALLS}  # Google's
    covered |= {
        *cloud_data._ACCOUNT_CALLS,
        *cloud_data._FILE_CALLS,
        *cloud_data._DRIVE_CALLS,
        *cloud_data._LEAVING_CALLS,
    }  # of tenants, and tested there
    lists = {
        f"{module.__name__}.{name}": value
        for module in (cloud_identity, cloud_data, cloud_compute, cloud_defences)
        for name, value in vars(module).items()
        if name.endswith("_CALLS")
    }

    assert len(lists) >= 20
    assert {name: set(calls) - covered for name, calls in lists.items() if set(calls) - covered} == {}


# ---------------------------------------------------------------- own services, automation, and what a client says of itself
SERVICES = {
    "an own role": {"type": "AssumedRole", "arn": f"arn:aws:sts::{OWN}:assumed-role/AWSServiceRoleForAmazonSSM/x"},
    "by a service": {**ROLE, "invokedBy": "ssm.amazonaws.com"},
    "a service itself": {"type": "AWSService", "invokedBy": "rds.amazonaws.com"},
}


@pytest.mark.parametrize("identity", SERVICES.values(), ids=SERVICES)
def test_a_service_s_own_work_is_no_finding(identity):
    rows = [
        trail("SendCommand", {"instanceIds": [f"i-0123456789abcdef{n}"]}, n, identity, "ssm.amazonaws.com")
        for n in range(3)
    ]

    assert found(*rows) == []


@pytest.mark.parametrize("identity", SERVICES.values(), ids=SERVICES)
@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("CreateAccessKey", {"userName": "ben"}),
        ("StopLogging", {"name": "t"}),
        ("AttachRolePolicy", {"roleName": "r", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        ("AuthorizeSecurityGroupIngress", {"cidrIp": "0.0.0.0/0", "fromPort": 22, "toPort": 22}),
    ],
)
def test_a_service_s_change_of_accounts_or_controls_is_no_finding(identity, name, request_):
    by_service = trail(name, request_, 0, identity)

    assert found(by_service) == []
    assert found(trail(name, request_)) != []


def test_what_a_service_does_with_a_user_s_own_key_stays_the_user_s():
    identity = {**ANA, "invokedBy": "athena.amazonaws.com"}

    assert said("cloud-key-destroyed", trail("DisableKey", {"keyId": "k"}, 0, identity)) == ["suspicious"]
    assert said("cloud-key-destroyed", api("DisableKey", user_type="AWSService")) == ["suspicious"]


def test_what_a_person_has_a_template_carry_out_stays_the_person_s():
    by_template = {**ROLE, "invokedBy": "cloudformation.amazonaws.com"}
    row = trail("PutRolePolicy", {"policyDocument": policy(principal=None, action="*")}, 0, by_template, "cloudformation.amazonaws.com")  # fmt: skip

    assert said("cloud-admin-granted", row) == ["suspicious"]


def test_a_user_agent_makes_nobody_a_service():
    rows = [trail("GetSecretValue", {"secretId": str(n)}, n, userAgent="ssm.amazonaws.com") for n in range(3)]

    assert said("cloud-secrets-read", *rows) == ["suspicious"]


@pytest.mark.parametrize(
    ("provider", "strengths"),
    [
        (f"arn:aws:iam::{OWN}:oidc-provider/token.actions.githubusercontent.com", []),
        ("cognito-identity.amazonaws.com", ["suspicious"]),
    ],
)
def test_a_pipeline_s_web_identity_may_read_secrets_and_an_app_user_s_may_not(provider, strengths):
    identity = {**ROLE, "sessionContext": {"webIdFederationData": {"federatedProvider": provider}}}
    rows = [trail("GetSecretValue", {"secretId": str(n)}, n, identity) for n in range(3)]

    assert said("cloud-secrets-read", *rows) == strengths
    assert said("cloud-opened-to-world", trail("CreateFunctionUrlConfig", {"authType": "NONE"}, 0, identity)) == [
        "suspicious"
    ]


def test_infrastructure_code_with_a_ticket_is_explained():
    row = trail("ScheduleKeyDeletion", {"keyId": "k"})
    row["fields"]["device_hostname"] = "WKS-01"

    assert truth_of(row).action == "monitor"
    assert truth_of(row, tickets=[ticket(tool="cloud administration")]).action == "dismiss"


# ---------------------------------------------------------------- policies
NARROW = {
    "organisation": {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
    "organisation of the source": {"StringEquals": {"aws:SourceOrgID": "o-abcdefghij"}},
    "endpoint": {"StringEquals": {"aws:SourceVpce": "vpce-1"}},
    "network": {"StringEquals": {"aws:SourceVpc": "vpc-1"}},
    "organisations alike": {"StringLike": {"aws:PrincipalOrgID": "o-ab*"}},
    "one of the organisations": {"ForAnyValue:StringEquals": {"aws:PrincipalOrgID": "o-1"}},
    "source": {"ArnLike": {"aws:SourceArn": f"arn:aws:sns:eu-west-1:{OWN}:topic"}},
    "account": {"StringEquals": {"aws:SourceAccount": OWN}},
    "addresses": {"IpAddress": {"aws:SourceIp": ["198.51.100.0/24", "2001:db8::/32"]}},
    "a private network": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
}
WIDE = {
    "none": None,
    "encrypted": {"Bool": {"aws:SecureTransport": "true"}},
    "any address": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
    "any address in halves": {"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}},
    "twice as much": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/7"]}},
    "any new address": {"IpAddress": {"aws:SourceIp": ["2000::/3"]}},
    "all but one": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}},
    "from a page": {"StringLike": {"aws:Referer": "https://example.org/*"}},
    "any organisation": {"StringLike": {"aws:PrincipalOrgID": "*"}},
    "one organisation or any": {"StringLike": {"aws:PrincipalOrgID": ["o-1", "?*"]}},
    "a network or none": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}},
    "all of no organisations": {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}},
}


@pytest.mark.parametrize(
    ("condition", "is_open"),
    [*((condition, False) for condition in NARROW.values()), *((condition, True) for condition in WIDE.values())],
    ids=[*NARROW, *WIDE],
)
def test_a_condition_opens_or_binds(condition, is_open):
    for as_text in (True, False):
        assert opens_to_everybody(json.dumps({"policy": policy(condition=condition, as_text=as_text)})) is is_open
    assert opens_to_everybody(json.dumps({"policy": policy(effect="Deny", condition=condition)})) is False


@pytest.mark.parametrize(
    ("principal", "is_open"),
    [
        ("*", True),
        ({"AWS": "*"}, True),
        ({"AWS": ["*"]}, True),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, False),
        ({"Service": "cloudtrail.amazonaws.com"}, False),
        ({"CanonicalUser": "79a59d"}, False),
        (7, False),
        ([None, {}], False),
    ],
)
def test_a_principal_is_everybody_or_somebody(principal, is_open):
    assert opens_to_everybody(policy(principal=principal)) is is_open


@pytest.mark.parametrize("text", ["", "{", policy()[:-4], '{"Statement":7}', '{"Statement":["Allow","*"]}', "[" * 2000, '{"Statement":[{"Effect":"Allow","Principal":"*","Condition":[]}]'])  # fmt: skip
def test_what_was_cut_or_is_no_policy_grants_nothing(text):
    assert grants_of(text) == ()


@pytest.mark.parametrize(
    ("request_", "strengths"),
    [
        ({"bucketPolicy": policy(effect="Deny", action="s3:*", condition={"Bool": {"aws:SecureTransport": "false"}})}, []),
        ({"bucketPolicy": policy(principal={"AWS": f"arn:aws:iam::{OWN}:root"})}, []),
        ({"bucketPolicy": policy()}, ["suspicious"]),
        ({"bucketPolicy": policy(action=["s3:GetObject", "s3:PutObject"])}, ["confirmed"]),
    ],
)  # fmt: skip
def test_a_bucket_is_opened_to_read_or_to_more(request_, strengths):
    assert said("cloud-opened-to-world", trail("PutBucketPolicy", request_)) == strengths


def test_a_bucket_that_is_opened_to_a_known_account_alone_is_shared():
    row = trail("PutBucketPolicy", {"bucketPolicy": policy(principal={"AWS": OTHER})})

    assert found(row) == ["cloud-shared-outside suspicious L1-1"]


def test_a_policy_that_is_longer_than_its_field_is_still_read():
    rows = [{"Sid": "x" * 60, "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::b{n}/*"} for n in range(60)]  # fmt: skip
    rows.append({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "x" * 900})

    assert said("cloud-opened-to-world", trail("PutBucketPolicy", {"bucketPolicy": {"Statement": rows}})) == ["suspicious"]  # fmt: skip
    assert said("cloud-opened-to-world", trail("PutKeyPolicy", {"policy": json.dumps({"Statement": rows})})) == ["suspicious"]  # fmt: skip


def test_a_policy_of_a_network_s_own_endpoint_opens_nothing():
    assert found(trail("CreateVpcEndpoint", {"policyDocument": policy(action="*")})) == []


# ---------------------------------------------------------------- neighbours
CASES = {
    "cloud-trail-stopped": [
        ("", [trail("PutEventSelectors", {"eventSelectors": [{"readWriteType": "All", "includeManagementEvents": True, "excludeManagementEventSources": []}]})]),
        ("", [trail("UpdateTrail", {"name": "t", "isMultiRegionTrail": True, "enableLogFileValidation": True})]),
        ("", [trail("PutInsightSelectors", {"insightSelectors": [{"insightType": "ApiCallRateInsight"}]})]),
        ("suspicious", [trail("PutEventSelectors", {"eventSelectors": [{"readWriteType": "WriteOnly"}]})]),
        ("suspicious", [trail("PutEventSelectors", {"advancedEventSelectors": [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Data"]}]}]})]),
        ("", [trail("PutEventSelectors", {"advancedEventSelectors": [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Management"]}]}]})]),
    ],
    "cloud-trail-attempt": [
        ("suspicious", [trail("StopLogging", {}, errorCode="AccessDenied")]),
        ("", [trail("DescribeTrails", {}, errorCode="AccessDenied")]),
    ],
    "cloud-detection-off": [
        ("", [trail("UpdateDetector", {"enable": True}), trail("CreateFilter", {"action": "NOOP"}), trail("DeleteLogGroup", {"logGroupName": "/app"})]),
    ],
    "cloud-door-opened": [
        ("suspicious", [control(0, "firewall", '{"cidrIp":"0.0.0.0/0","fromPort":22}', control_name="AuthorizeSecurityGroupIngress")]),
        ("", [trail("AuthorizeSecurityGroupIngress", {"ipPermissions": {"items": [
            {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}},
            {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "10.0.0.0/8"}]}}]}})]),
        ("", [trail("AuthorizeSecurityGroupIngress", {"ipProtocol": "icmp", "fromPort": -1, "toPort": -1, "cidrIp": "0.0.0.0/0"})]),
        ("", [trail("CreateNetworkAclEntry", {"cidrBlock": "0.0.0.0/0", "aclProtocol": "-1", "ruleAction": "allow", "egress": True})]),
        ("", [trail("RevokeSecurityGroupIngress", {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIp": "0.0.0.0/0"})]),
    ],
    "cloud-guardrail-removed": [("", [trail("DetachPolicy", {"policyName": "p"}, service="iot.amazonaws.com")])],
    "cloud-calls-refused": [
        ("suspicious", [trail(f"List{n}", {}, 75 * n, errorCode="AccessDenied") for n in range(8)]),
        ("", [trail(f"List{n}", {}, 75 * n, errorCode="AccessDenied") for n in range(7)]),
        ("", [trail("ListBuckets", {}, n, errorCode="AccessDenied") for n in range(9)]),
        ("", [trail(f"List{n}", {}, n, errorCode="Throttling") for n in range(9)]),
    ],
    "cloud-back-door": [
        ("suspicious", [trail("AddPermission20150331v2", {"principal": OTHER})]),
        ("confirmed", [trail("AddPermission20150331v2", {"principal": "*"})]),
        ("suspicious", [trail("AddPermission", {"aWSAccountIds": [OTHER], "actionNames": ["Publish"]}, service="sns.amazonaws.com")]),
        ("", [trail("AddPermission20150331v2", {"principal": "*", "principalOrgID": "o-abcdefghij"})]),
        ("", [trail("AddPermission20150331v2", {"principal": "events.amazonaws.com"}), trail("AddPermission20150331v2", {"principal": OWN})]),
        ("", [trail("AddUserToGroup", {"groupName": "developers", "userName": "ben"})]),
        ("suspicious", [trail("AddUserToGroup", {"groupName": "developers", "userName": "ana"})]),
    ],
    "cloud-role-trust": [
        ("confirmed", [trail("CreateRole", {"assumeRolePolicyDocument": github()})]),
        ("confirmed", [trail("CreateRole", {"assumeRolePolicyDocument": github(claims("StringEquals", aud="sts.amazonaws.com"))})]),
        ("confirmed", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims(sub="repo:*"))})]),
        ("confirmed", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims(sub=["repo:quill/press:*", "repo:*/*:ref:refs/heads/main"]))})]),
        ("confirmed", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims(sub="re?o*"))})]),
        ("confirmed", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims("StringLikeIfExists", sub="repo:quill/*"))})]),
        ("confirmed", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims("StringNotEquals", sub="repo:quill/press:pull_request"))})]),
        ("", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims(sub="repo:quill/*"))})]),
        ("", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims("StringEquals", sub="repo:quill/press:ref:refs/heads/main"))})]),
        ("", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims("ForAnyValue:StringLike", sub=["repo:quill/a:*", "repo:quill/b:*"]))})]),
        ("", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims("StringEquals", sub="repo:*"))})]),  # no subject is that
        ("", [trail("UpdateAssumeRolePolicy", {"policyDocument": github(claims("StringEquals", repository_owner="quill"))})]),
        ("", [trail("UpdateAssumeRolePolicy", {"policyDocument": github({**claims(sub="repo:*"), **NARROW["organisation"]})})]),
        ("", [trail("CreateRole", {"assumeRolePolicyDocument": github(provider="login.quill.example")})]),
        ("", [trail("CreateRole", {"assumeRolePolicyDocument": policy(principal={"Service": "lambda.amazonaws.com"}, action="sts:AssumeRole")})]),
        ("", [trail("CreateRole", {"assumeRolePolicyDocument": policy(principal={"AWS": OWN}, action="sts:AssumeRole")})]),
        ("", [trail("CreateRole", {"assumeRolePolicyDocument": policy(condition=NARROW["organisation"], action="sts:AssumeRole")})]),
        ("suspicious", [trail("CreateRole", {"assumeRolePolicyDocument": policy(principal={"AWS": OTHER}, condition={"StringEquals": {"sts:ExternalId": "x"}})})]),
        ("confirmed", [trail("CreateRole", {"roleName": "r", "assumeRolePolicyDocument": policy(principal={"AWS": OTHER})}),
                       trail("AttachRolePolicy", {"roleName": "r", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}, 3600)]),
        ("suspicious", [trail("CreateRole", {"roleName": "r", "assumeRolePolicyDocument": policy(principal={"AWS": OTHER})}),
                        trail("AttachRolePolicy", {"roleName": "q", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}, 9)]),
    ],
    "cloud-identity-provider": [("", [trail("ListSAMLProviders", {"name": "n"})])],
    "cloud-login-changed": [
        ("suspicious", [trail("UpdateLoginProfile", {"userName": "ben"}, source="AWS Internal")]),
        ("suspicious", [made(0, "ben", "password_reset", attributes='{"userName":"ben"}')]),
        ("confirmed", [trail("DeactivateMFADevice", {"userName": "ben"}), trail("UpdateLoginProfile", {"userName": "ben"}, 9)]),
        ("suspicious", [trail("DeactivateMFADevice", {"userName": "ana"}), trail("EnableMFADevice", {"userName": "ana"}, 3601)]),
        ("", [trail("DeactivateMFADevice", {"userName": "ana"}), trail("EnableMFADevice", {"userName": "ana"}, 3600)]),
        ("", [trail("UpdateLoginProfile", {"userName": "ana"}), trail("ChangePassword", {})]),
        ("", [made(0, "ben", "password_reset")]),
    ],
    "cloud-admin-granted": [
        ("confirmed", [trail("PutUserPolicy", {"userName": "ana", "policyDocument": policy(principal=None, action="iam:*")})]),
        ("", [trail("PutUserPolicy", {"userName": "ana", "policyDocument": policy(principal=None, action="s3:*")})]),
        ("", [trail("PutUserPolicy", {"userName": "ana", "policyDocument": policy(principal=None, action="*", effect="Deny")})]),
        ("suspicious", [trail("PutRolePolicy", {"roleName": "r", "policyDocument": policy(principal=None, action="sso:*", key="NotAction")})]),
        ("", [trail("PutRolePolicy", {"roleName": "r", "policyDocument": policy(principal=None, action="sso:*", key="NotAction", effect="Deny")})]),
        ("", [trail("PutRolePolicy", {"roleName": "r", "policyDocument": policy(principal=None, key="NotAction", resource="arn:aws:s3:::b/*")})]),
        ("", [trail("AttachUserPolicy", {"userName": "ben", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"})]),
    ],
    "cloud-root-credential": [
        ("suspicious", [trail("CreateAccessKey", None, identity=ROOT)]),
        ("suspicious", [trail("CreateAccessKey", None, identity=ROOT, source="AWS Internal")]),
        ("", [trail("CreateAccessKey", {"userName": "ben"}, identity=ROOT)]),
        ("", [trail("CreateAccessKey", None), key(0, "ana", user="ana")]),
    ],
    "cloud-federation-token": [
        ("confirmed", [trail("GetFederationToken", {"name": "n", "policy": policy(principal=None, action="*")})]),
        ("", [trail("GetSessionToken", {"durationSeconds": 3600})]),
    ],
    "cloud-secrets-read": [
        ("suspicious", [api("GetSecretValue", at=n * 300) for n in range(3)]),
        ("suspicious", [api("BatchGetSecretValue")]),
        ("", [api("GetSecretValue", at=n) for n in range(2)]),
        ("", [api("GetSecretValue", at=n * 301) for n in range(3)]),
    ],
    "cloud-shared-outside": [
        ("confirmed", [trail("ModifyImageAttribute", SHARED["ModifyImageAttribute"])]),
        ("", [trail("ModifyImageAttribute", {"launchPermission": {"add": {"items": [{"userId": OWN}]}}})]),
        ("", [trail("ModifySnapshotAttribute", {"createVolumePermission": {"remove": {"items": [{"group": "all"}]}}})]),
        ("", [trail("ModifyImageAttribute", SHARED["ModifyImageAttribute"], errorCode="AccessDenied")]),
    ],
    "cloud-opened-to-world": [
        ("confirmed", [trail("PutResourcePolicy", WORLD_OPEN["PutResourcePolicy"])]),
        ("", [trail("CreateFunctionUrlConfig", {"authType": "AWS_IAM"}), trail("CreateDBInstance", {"publiclyAccessible": False}), trail("CreateBucket", {"x-amz-acl": "private"})]),
    ],
    "cloud-public-block-lifted": [
        ("", [trail("PutBucketPublicAccessBlock", {"PublicAccessBlockConfiguration": dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)})]),
    ],
    "cloud-key-destroyed": [("", [trail("CancelKeyDeletion", {"keyId": "k"}), trail("EnableKey", {"keyId": "k"})])],
    "cloud-backups-deleted": [
        ("", [trail("DeleteSnapshot", {"snapshotId": str(n)}, n) for n in range(2)]),
        ("", [trail("DeleteSnapshot", {"snapshotId": str(n)}, 301 * n) for n in range(3)]),
        ("", [trail("PutBucketVersioning", {"VersioningConfiguration": {"Status": "Enabled"}}), trail("ModifyDBInstance", {"backupRetentionPeriod": 7})]),
    ],
    "cloud-stores-deleted": [
        ("", [trail("DeleteDBInstance", {"skipFinalSnapshot": False}, n) for n in range(3)]),
        ("", [trail("DeleteTable", {"tableName": "t"}, n) for n in range(2)]),
    ],
    "cloud-machines-misused": [
        ("suspicious", [trail("RunInstances", {"instanceType": {"value": "g5.48xlarge"}})]),
        ("suspicious", [api("RunInstances", '{"instanceType":"t3.micro","maxCount":10}', api_error="Client.VcpuLimitExceeded")]),
        ("", [api("RunInstances", '{"instanceType":"t3.micro","maxCount":9}')]),
    ],
    "cloud-sending-set-up": [
        ("suspicious", [trail("GetSendQuota", {}), trail("VerifyEmailIdentity", {}, 3600)]),
        ("", [trail("GetSendQuota", {}), trail("VerifyEmailIdentity", {}, 3601)]),
        ("", [trail("GetSendQuota", {}, n) for n in range(3)]),
    ],
    "cloud-machine-entered": [
        ("suspicious", [api("SendSSHPublicKey", f'{{"instanceId":"i-0000000{n}"}}', at=n) for n in range(2)]),
        ("confirmed", [api("SendSSHPublicKey", f'{{"instanceId":"i-0000000{n}"}}', at=n) for n in range(3)]),
        ("", [api("DescribeInstances")]),
    ],
    "cloud-instance-credentials": [
        ("confirmed", [api("ListBuckets", at=n, user_uid=f"arn:aws:sts::{OWN}:assumed-role/r/i-0abc1234", src_ip=f"203.0.113.{n}") for n in range(2)]),
        ("suspicious", [api("ListBuckets", user_uid=f"arn:aws:sts::{OWN}:assumed-role/r/i-0abc1234")]),
        ("", [api("ListBuckets", user_uid=f"arn:aws:sts::{OWN}:assumed-role/r/i-0abc1234", src_ip="10.20.1.11")]),
        ("", [api(name, user_uid=f"arn:aws:sts::{OWN}:assumed-role/r/i-0abc1234") for name in cloud_compute._AGENT_CALLS]),
    ],
    "cloud-machine-key-added": [
        ("suspicious", [api("v1.compute.instances.setMetadata", '{"request":{"items":[{"key":"ssh-keys"}]}}', api_service="compute.googleapis.com")]),
        ("", [api("v1.compute.instances.setMetadata", '{"request":{"items":[{"key":"team"}]}}', api_service="compute.googleapis.com"), api("CreateKeyPair")]),
    ],
    "key-for-another": [
        ("suspicious", [key(0)]),
        ("", [key(0, user_type=None, user="ben")]),
        ("", [trail(name, {"userName": "u"}, identity=BY_STACK) for name in ("CreateUser", "CreateAccessKey")]),
        ("suspicious", [trail(name, {"userName": "u"}, identity=ANA) for name in ("CreateUser", "CreateAccessKey")]),
        ("suspicious", [trail("CreateUser", {"userName": "u"}, identity=ANA), trail("CreateAccessKey", {"userName": "u"}, 1, BY_STACK)]),
        ("suspicious", [trail("CreateUser", {"userName": "v"}, identity=BY_STACK), trail("CreateAccessKey", {"userName": "u"}, 1, BY_STACK)]),
    ],
}  # fmt: skip


def copies(count, *, bucket="b", source="b", owner=OTHER, gap=120):
    return [
        trail("CopyObject", {"bucketName": bucket, "key": f"{n}", "x-amz-copy-source": f"{source}/{n}",
              "x-amz-server-side-encryption-aws-kms-key-id": f"arn:aws:kms:eu-west-1:{owner}:key/k"}, gap * n)
        for n in range(count)
    ]  # fmt: skip


NOTE = trail("PutObject", {"bucketName": "b", "key": "HOW-TO-RECOVER.html"}, 700)
CASES["cloud-ransom"] = [
    ("confirmed", copies(5)),
    ("suspicious", copies(4)),
    ("confirmed", [*copies(1), NOTE]),
    ("suspicious", [NOTE]),
    ("suspicious", [trail("PutBucketEncryption", {"ApplyServerSideEncryptionByDefault": {"KMSMasterKeyID": f"arn:aws:kms:eu-west-1:{OTHER}:key/k"}})]),
    ("", copies(5, owner=OWN)),
    ("", copies(5, source="other")),
    ("", [trail("PutObject", {"bucketName": "b", "key": "decryption-library.zip"}), trail("PutObject", {"bucketName": "b", "key": "README.txt"}, 1)]),
]  # fmt: skip


@examples(CASES)
def test_what_is_found_and_how_strong(rule_id, strength, rows):
    assert said(rule_id, *rows) == ([strength] if strength else [])


def test_every_rule_is_found_in_some_example_and_not_in_another():
    modules = (cloud_identity, cloud_data, cloud_compute, cloud_defences)
    known = {rule.rule_id for module in modules for rule in module.RULES}

    assert known == {*EXAMPLES, *CASES}
    assert {rule_id for rule_id, cases in CASES.items() if "" in {strength for strength, _ in cases}} == known


# ---------------------------------------------------------------- how a request is read
def test_names_are_read_however_a_request_writes_them():
    request = {
        "plain": "A",
        "wrapped": {"value": "B"},
        "pairs": [{"Name": "ForwardTo", "Value": "c@x"}, {"displayName": "Role", "newValue": '"Admin"'}],
        "text": '{"inner":[true,7]}',
    }
    facts = facts_of(json.dumps(request))

    assert {name: facts[name] for name in ("plain", "wrapped", "forwardto", "role", "inner")} == {
        "plain": ("A",),
        "wrapped": ("B",),
        "forwardto": ("c@x",),
        "role": ("Admin",),
        "inner": ("true", "7"),
    }


@pytest.mark.parametrize(
    "text", ["[" * 2048, '{"a":' * 400, json.dumps({"a": "[" * 900}), "null", '"x"', "%7B", "\ud800"]
)
def test_a_request_that_is_none_is_no_fault(text):
    assert not facts_of(text).get("b")
    assert opened("x") is None


def test_a_request_is_read_to_a_depth():
    deep = "1"
    for _ in range(MAX_DEPTH + 1):
        deep = json.dumps({"a": json.loads(deep)})

    assert facts_of(json.dumps({"top": "yes", "deep": json.loads(deep)}))["top"] == ("yes",)
