"""Importers: the fields that records fill beyond type and ends, one hand-written record in the vendor's shape for each."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.importers import import_records
from telemetry.importers.events import DraftEvent
from telemetry.importers.zeek import convert_zeek

SUCCESS, FAILURE = "0x8020000000000000", "0x8010000000000000"  # winmeta.xml: audit success, audit failure
ENDS = {"id.orig_h": "10.61.4.9", "id.orig_p": 49201, "id.resp_h": "10.61.5.8", "id.resp_p": 445}


def windows(event_id: int, channel: str = "Security", **told: Any) -> dict[str, Any]:
    """What one Windows record becomes: type, activity and fields in one."""
    raw = {"EventID": event_id, "Channel": channel, "Hostname": "wks-07", "@timestamp": "2031-05-06T08:00:00Z", **told}
    (result,) = import_records([raw])
    assert isinstance(result, DraftEvent), result
    return {"event_type": result.event_type, **result.fields.model_dump(exclude_none=True)}


def zeek(log: str, **told: Any) -> dict[str, Any]:
    """What one Zeek record becomes."""
    _, result = convert_zeek({"_path": log, "ts": 1936080000.5, "uid": "C1", **ENDS, **told})
    assert isinstance(result, DraftEvent), result
    return {"event_type": result.event_type, **result.fields.model_dump(exclude_none=True)}


SIGN_IN = {
    "TargetUserName": "ines.okafor",
    "LogonType": "3",
    "LogonProcessName": "NtLmSsp ",
    "AuthenticationPackageName": "NTLM",
    "WorkstationName": "WKS-11",
    "IpAddress": "10.61.4.11",
    "ProcessName": "C:\\Windows\\System32\\services.exe",
}
LSASS = {
    "ObjectName": "\\Device\\HarddiskVolume2\\Windows\\System32\\lsass.exe",
    "ObjectType": "Process",
    "AccessMask": "0x1410",
    "ProcessName": "C:\\Tools\\reader.exe",
}


@pytest.mark.parametrize("event_id", [4624, 4625])
def test_a_sign_in_names_the_program_that_asked_and_the_station_that_it_came_from(event_id):
    fields = windows(event_id, **SIGN_IN)

    assert fields["process_path"] == "C:\\Windows\\System32\\services.exe"
    assert (fields["src_hostname"], fields["src_ip"], fields["logon_process"]) == ("WKS-11", "10.61.4.11", "NtLmSsp")


@pytest.mark.parametrize("absent", ["-", ""])
def test_a_sign_in_over_the_network_that_names_no_program_and_no_station_has_none(absent):
    fields = windows(4624, **{**SIGN_IN, "ProcessName": absent, "WorkstationName": absent})

    assert {"process_path", "src_hostname"}.isdisjoint(fields)


def test_explicit_credentials_name_program_target_and_both_accounts():
    fields = windows(
        4648,
        SubjectUserName="ines.okafor",
        TargetUserName="svc_copy",
        TargetServerName="fil-02",
        ProcessName="C:\\Windows\\System32\\cmd.exe",
        IpAddress="10.61.4.12",
    )

    assert (fields["activity"], fields["process_path"]) == ("explicit_credentials", "C:\\Windows\\System32\\cmd.exe")
    assert (fields["target_hostname"], fields["user_name"], fields["src_ip"]) == ("fil-02", "svc_copy", "10.61.4.12")


@pytest.mark.parametrize(
    ("event_id", "told"),
    [
        (4776, {"TargetUserName": "ines.okafor", "Workstation": "WKS-11", "Status": "0xc000006a"}),
        (4778, {"AccountName": "ines.okafor", "ClientName": "WKS-11", "ClientAddress": "10.61.4.11"}),
        (4779, {"AccountName": "ines.okafor", "ClientName": "WKS-11", "ClientAddress": "10.61.4.11"}),
    ],
)
def test_ntlm_checks_and_remote_sessions_name_the_station(event_id, told):
    fields = windows(event_id, **told)

    assert (fields["event_type"], fields["user_name"], fields["src_hostname"]) == ("logon", "ines.okafor", "WKS-11")


@pytest.mark.parametrize(
    ("keywords", "outcome"),
    [(SUCCESS, "success"), (FAILURE, "failure"), ("Audit Failure", "failure"), (["Audit Success"], "success")],
)
@pytest.mark.parametrize("event_id", [4656, 4663])
def test_access_to_an_object_says_whether_it_was_granted(event_id, keywords, outcome):
    assert windows(event_id, **LSASS, Keywords=keywords)["outcome"] == outcome


@pytest.mark.parametrize("event_id", [4673, 4674])
def test_the_use_of_a_privilege_says_whether_it_was_granted(event_id):
    told = {"SubjectUserName": "ines.okafor", "PrivilegeList": "SeTcbPrivilege", "ProcessName": "C:\\Tools\\x.exe"}

    assert windows(event_id, **told, Keywords=FAILURE)["outcome"] == "failure"
    assert windows(event_id, **told, Keywords=SUCCESS)["outcome"] == "success"


def test_what_says_nothing_of_its_outcome_has_none():
    assert "outcome" not in windows(4663, **LSASS)
    assert "outcome" not in windows(4663, **LSASS, Keywords="0x80")


def test_a_script_block_names_the_file_that_it_came_from():
    channel = "Microsoft-Windows-PowerShell/Operational"
    path = "C:\\Scripts\\inventory.ps1"

    assert windows(4104, channel, ScriptBlockText="Get-Date", Path=path)["script_path"] == path
    assert "script_path" not in windows(4104, channel, ScriptBlockText="Get-Date", Path="")


@pytest.mark.parametrize(
    "told",
    [
        {"ProviderPath": "%systemroot%\\system32\\wbem\\cimwin32.dll"},
        {"Message": "CIMWin32 provider started; ProviderPath = %systemroot%\\system32\\wbem\\cimwin32.dll"},
    ],
)
def test_a_wmi_provider_is_named_by_its_path_in_data_or_message(told):
    fields = windows(5857, "Microsoft-Windows-WMI-Activity/Operational", **told)

    assert (fields["activity"], fields["provider_path"]) == (
        "provider_load", "%systemroot%\\system32\\wbem\\cimwin32.dll",
    )  # fmt: skip


@pytest.mark.parametrize(("event_id", "name"), [(59, "url"), (60, "url"), (61, "url"), (16403, "RemoteName")])
def test_a_transfer_job_keeps_its_url_beside_host_and_port(event_id, name):
    fields = windows(
        event_id, "Microsoft-Windows-Bits-Client/Operational", **{name: "http://files.quill.test:8080/a/tool.bin"}
    )

    assert (fields["event_type"], fields["activity"]) == ("net_conn", "bits_job")
    assert (fields["url"], fields["dst_hostname"], fields["dst_port"]) == (
        "http://files.quill.test:8080/a/tool.bin", "files.quill.test", 8080,
    )  # fmt: skip


# ---------------------------------------------------------------- Zeek
@pytest.mark.parametrize("state", ["S0", "REJ", "SF", "RSTOS0"])
def test_a_zeek_connection_says_how_it_ended(state):
    assert zeek("conn", conn_state=state)["conn_state"] == state


def test_a_zeek_connection_without_a_state_has_none():
    assert "conn_state" not in zeek("conn")


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("smb_mapping", {"path": "\\\\FIL-02\\ADMIN$", "share_type": "DISK"}),
        ("smb_files", {"path": "\\\\FIL-02\\C$", "name": "temp\\a.exe", "action": "SMB::FILE_OPEN"}),
    ],
)
def test_a_zeek_share_names_both_ends(log, told):
    fields = zeek(log, **told)

    assert (fields["event_type"], fields["src_ip"], fields["dst_ip"]) == ("share", "10.61.4.9", "10.61.5.8")
    assert fields["share_name"] == told["path"]


def test_a_zeek_rpc_call_names_both_ends_and_its_operation():
    fields = zeek("dce_rpc", endpoint="drsuapi", operation="DRSGetNCChanges", named_pipe="135")

    assert (fields["event_type"], fields["activity"]) == ("directory", "replication")
    assert (fields["src_ip"], fields["dst_ip"], fields["rpc_operation"]) == (
        "10.61.4.9", "10.61.5.8", "DRSGetNCChanges",
    )  # fmt: skip


@pytest.mark.parametrize(("success", "activity"), [(True, "ntlm"), ("F", "failure")])
def test_a_zeek_ntlm_sign_in_says_how_it_went_and_where_to(success, activity):
    fields = zeek("ntlm", username="ines.okafor", success=success, server_nb_computer_name="FIL-02")

    assert (fields["activity"], fields["auth_protocol"], fields["target_hostname"]) == (activity, "NTLM", "FIL-02")
