"""Rules on Azure's resources: every operation that a rule names, from the raw record to the finding, and neighbours beside the line."""

import json

import pytest

from incidents import OUTSIDE, clock, examples, found
from telemetry.importers import import_records
from verifier import RULES
from verifier.rules import cloud_compute, cloud_data, cloud_defences, saas

PERSON, APP = "ana@corp.example", "5a95e683-08ad-4c1e-9a53-0c1de9a1f7c2"
OWNER, READER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def imported(record, at):
    (draft,) = import_records([record])
    fields = draft.fields.model_dump(exclude_none=True)
    return {"event_type": draft.event_type, "fields": fields, "timestamp": clock(at)}


def azure(operation, body=None, at=0, *, caller=PERSON, resource="x", status="Success", source=OUTSIDE):
    """A row of AzureActivity, which writes operations in capitals."""
    claims = {"upn": caller} if "@" in caller else {"appid": caller}
    record = {
        "TimeGenerated": clock(at),
        "OperationNameValue": operation.upper(),
        "ActivityStatusValue": status,
        "CorrelationId": f"{operation}{at}{resource}",
        "Caller": caller,
        "CallerIpAddress": source,
        "Claims": json.dumps(claims),
        "Properties": json.dumps({"requestbody": json.dumps(body)} if body else {"entity": resource}),
        "_ResourceId": f"/subscriptions/1/{resource}",
        "Type": "AzureActivity",
    }
    return imported(record, at)


def secret(at=0, *, caller=PERSON, source=OUTSIDE, operation="SecretGet"):
    """An audit event of a key vault, as its diagnostic settings send it on."""
    claim = {"upn": caller} if "@" in caller else {"appid": caller}
    record = {
        "time": clock(at),
        "category": "AuditEvent",
        "operationName": operation,
        "resultType": "Success",
        "callerIpAddress": source,
        "correlationId": f"c{at}",
        "identity": {"claim": claim},
        "properties": {"id": f"https://keys.vault.azure.net/secrets/s{at}"},
        "resourceId": "/SUBSCRIPTIONS/1/VAULTS/KEYS",
    }
    return imported(record, at)


def role(identifier):
    path = f"/subscriptions/1/providers/Microsoft.Authorization/roleDefinitions/{identifier}"
    return {"Properties": {"RoleDefinitionId": path, "PrincipalId": "p"}}


def gate(port="3389", source="*", access="Allow", direction="Inbound", **more):
    rule = {"destinationPortRange": port, "sourceAddressPrefix": source, "access": access, "direction": direction}
    return {"properties": {**rule, **more}}


def addresses(first, last):
    return {"properties": {"startIpAddress": first, "endIpAddress": last}}


def said(rule_id, *rows):
    """How strong a rule's findings are, once each."""
    return sorted({line.split()[1] for line in found(*rows) if line.startswith(f"{rule_id} ")})


EVERY = addresses("0.0.0.0", "255.255.255.255")
BODIES = {
    "Microsoft.Authorization/roleAssignments/write": role(OWNER),
    "Microsoft.Security/pricings/write": {"properties": {"pricingTier": "Free"}},
    "Microsoft.Storage/storageAccounts/write": {"properties": {"allowBlobPublicAccess": True}},
    "Microsoft.Storage/storageAccounts/blobServices/containers/write": {"properties": {"publicAccess": "Container"}},
    "Microsoft.Compute/virtualMachines/extensions/write": {"properties": {"type": "CustomScriptExtension"}},
    "Microsoft.Compute/virtualMachines/write": {"hardwareProfile": {"vmSize": "Standard_NC24ads_A100_v4"}},
    **dict.fromkeys(cloud_defences._AZURE_DOORS, gate()),
    **dict.fromkeys(cloud_defences._DATABASE_DOORS, EVERY),
}
NAMED = {
    "tenant-role-granted": (*saas._ROLE_CALLS, *saas._AZURE_CALLS),
    "tenant-guard-weakened": saas._GUARD_CALLS,
    "tenant-token-made": saas._TOKEN_CALLS,
    "tenant-data-out": saas._OUT_CALLS,
    "cloud-detection-off": (*cloud_defences._OFF_CALLS, *cloud_defences._SETTINGS),
    "cloud-door-opened": (*cloud_defences._AZURE_DOORS, *cloud_defences._DATABASE_DOORS),
    "cloud-key-destroyed": cloud_data._KEY_CALLS,
    "cloud-backups-deleted": (*cloud_data._SNAPSHOT_CALLS, *cloud_data._VAULT_CALLS),
    "cloud-stores-deleted": cloud_data._STORE_CALLS,
    "cloud-opened-to-world": cloud_data._ACCOUNT_CALLS,
    "cloud-machine-entered": (*cloud_compute._SHELL_CALLS, cloud_compute._EXTENSION_CALL),
    "cloud-machines-misused": (cloud_compute._AZURE_START,),
}
OPERATIONS = [(rule_id, name) for rule_id, names in NAMED.items() for name in names if name.startswith("Microsoft.")]


@pytest.mark.parametrize(("rule_id", "name"), OPERATIONS)
def test_each_operation_that_a_rule_names_is_found_in_a_raw_record_unless_it_failed(rule_id, name):
    rows = [azure(name, BODIES.get(name), at, resource=f"r{at}") for at in range(3)]
    failed = [azure(name, BODIES.get(name), at, resource=f"r{at}", status="Failure") for at in range(3)]

    assert said(rule_id, *rows) != []
    assert said(rule_id, *failed) == (
        ["suspicious"] if rule_id == "cloud-machines-misused" else []
    )  # that rule says so
    assert name in next(rule.summary for rule in RULES if rule.rule_id == rule_id)


KEYS = "Microsoft.Storage/storageAccounts/listKeys/action"
DISK, MACHINE = "Microsoft.Compute/disks/delete", "Microsoft.Compute/virtualMachines/write"
EXTENSION = cloud_compute._EXTENSION_CALL
PIPELINES = (
    ("tenant-role-granted", "Microsoft.KeyVault/vaults/accessPolicies/write"),
    ("tenant-guard-weakened", "Microsoft.Authorization/locks/delete"),
    ("tenant-guard-weakened", "Microsoft.Authorization/policyAssignments/delete"),
    ("tenant-token-made", "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"),
)


@pytest.mark.parametrize(("rule_id", "name"), PIPELINES)
def test_what_pipelines_set_up_counts_where_a_person_does_it(rule_id, name):
    assert said(rule_id, azure(name)) == ["suspicious"]
    assert said(rule_id, azure(name, caller=APP)) == []


CASES = {
    "tenant-role-granted": [
        ("suspicious", [azure("Microsoft.Authorization/roleAssignments/write", role(OWNER), caller=APP)]),
        ("suspicious", [azure("Microsoft.Authorization/roleAssignments/write")]),
        ("", [azure("Microsoft.Authorization/roleAssignments/write", role(READER))]),
    ],
    "cloud-secrets-read": [
        *(("suspicious", [azure(f"Microsoft.Any/thing{ending}")]) for ending in cloud_data._KEY_LISTS),
        ("suspicious", [secret(at) for at in range(3)]),
        ("suspicious", [secret(at, caller=APP) for at in range(3)]),
        ("", [azure(KEYS, caller=APP), azure(KEYS, status="Failure"), azure("Microsoft.Storage/storageAccounts/read")]),
        ("", [secret(at) for at in range(2)]),
        ("", [secret(at, caller=APP, source="10.20.1.11") for at in range(9)]),
        ("", [secret(at, operation="VaultGet") for at in range(9)]),
    ],
    "cloud-door-opened": [
        ("suspicious", [azure(cloud_defences._AZURE_DOORS[0], gate("20-25", "Internet"))]),
        ("suspicious", [azure(cloud_defences._AZURE_DOORS[0], gate("", destinationPortRanges=["80", "1433"]))]),
        ("suspicious", [azure(cloud_defences._AZURE_DOORS[1], {"properties": {"securityRules": [gate("*")]}})]),
        ("", [azure(cloud_defences._AZURE_DOORS[0], gate("443"))]),
        ("", [azure(cloud_defences._AZURE_DOORS[0], gate(source="10.0.0.0/8"))]),
        ("", [azure(cloud_defences._AZURE_DOORS[0], gate(access="Deny"))]),
        ("", [azure(cloud_defences._AZURE_DOORS[0], gate(direction="Outbound"))]),
        ("", [azure(cloud_defences._DATABASE_DOORS[0], addresses("198.51.100.4", "198.51.100.4"))]),
    ],
    "cloud-detection-off": [
        ("", [azure("Microsoft.Security/pricings/write", {"properties": {"pricingTier": "Standard"}})]),
        ("", [azure("Microsoft.Insights/diagnosticSettings/write")]),
    ],
    "cloud-stores-deleted": [
        ("", [azure("Microsoft.Resources/subscriptions/resourceGroups/delete", at=at, resource=f"{at}") for at in range(2)]),
        ("", [azure(DISK, at=at, caller=APP, resource=f"{at}") for at in range(9)]),
    ],
    "cloud-opened-to-world": [("", [azure("Microsoft.Storage/storageAccounts/write", {"properties": {"allowBlobPublicAccess": False}})])],
    "cloud-machine-entered": [("", [azure(EXTENSION, {"properties": {"type": "AzureMonitorLinuxAgent"}})])],
    "cloud-machines-misused": [
        ("", [azure(MACHINE, {"hardwareProfile": {"vmSize": "Standard_D2s_v5"}})]),
        ("", [azure(MACHINE, BODIES[MACHINE], caller=APP)]),
    ],
}  # fmt: skip


@examples(CASES)
def test_what_is_found_and_how_strong(rule_id, strength, rows):
    assert said(rule_id, *rows) == ([strength] if strength else [])


def test_a_vault_s_columns_in_log_analytics_name_who_reads():
    upn = "identity_claim_http_schemas_xmlsoap_org_ws_2005_05_identity_claims_upn_s"
    record = {
        "TimeGenerated": clock(0),
        "OperationName": "SecretGet",
        "Category": "AuditEvent",
        "ResourceProvider": "MICROSOFT.KEYVAULT",
        "CallerIPAddress": OUTSIDE,
        upn: PERSON,
        "identity_claim_appid_g": APP,
    }
    by_person, by_app = imported(record, 0), imported({**record, upn: ""}, 0)

    assert (by_person["fields"]["user_uid"], by_person["fields"]["user_type"]) == (PERSON, "user")
    assert (by_app["fields"]["user_uid"], by_app["fields"]["user_type"]) == (APP, "app")
