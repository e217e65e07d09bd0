"""Rules on what a sensor of the network sees, which names neither host nor account: from Zeek's and Suricata's records to the finding."""

import pytest

from incidents import clock, examples, found
from telemetry.importers import import_records
from telemetry.importers.suricata import _INTERFACES
from verifier.rules import identity, movement

STATION, SERVER, OTHER_SERVER = "10.20.1.11", "10.20.0.5", "10.20.0.6"
T0 = 1_772_442_000


def imported(record, at):
    (draft,) = import_records([record])
    fields = draft.fields.model_dump(exclude_none=True)
    return {"event_type": draft.event_type, "fields": fields, "timestamp": clock(at)}


def zeek(log, at=0, source=STATION, target=SERVER, **fields):
    ends = {"id.orig_h": source, "id.orig_p": 50_000, "id.resp_h": target, "id.resp_p": 445}
    return imported({"_path": log, "ts": T0 + at, "uid": f"C{at}", **ends, **fields}, at)


def call(operation, at=0, source=STATION, target=SERVER, endpoint="svcctl"):
    return zeek("dce_rpc", at, source, target, endpoint=endpoint, operation=operation)


def replication(operation="DRSGetNCChanges", at=0, source=STATION, target=SERVER):
    return call(operation, at, source, target, endpoint="drsuapi")


def ticket(name, at, cipher="rc4-hmac", success=True, **more):
    names = {"client": f"{name}/CORP.EXAMPLE", "service": "krbtgt/CORP.EXAMPLE"}
    return zeek("kerberos", at, request_type="AS", cipher=cipher, success=success, **names, **more)


def on_share(name, at=0, share="C$", action="SMB::FILE_OPEN", source=STATION):
    return zeek("smb_files", at, source, action=action, path=f"\\\\fs1\\{share}", name=name)


def renamed(ending, at=0, source=STATION):
    return on_share(f"plans\\plan{at}.docx{ending}", at, "team", "SMB::FILE_RENAME", source)


def said(rule_id, *rows):
    """How strong a rule's findings are, once each."""
    return sorted({line.split()[1] for line in found(*rows) if line.startswith(f"{rule_id} ")})


@pytest.mark.parametrize("operation", [*movement.REMOTE_CALLS, "EfsRpcOpenFileRaw", "EfsRpcDecryptFileSrv"])
def test_each_call_that_changes_another_host_is_found_in_a_raw_record(operation):
    assert said("remote-control-pipe", call(operation)) == ["suspicious"]
    assert said("remote-control-pipe", call(operation, source="127.0.0.1")) == []


CASES = {
    "remote-control-pipe": [
        ("confirmed", [on_share("tool.exe", share="ADMIN$"), call("CreateServiceW", 1)]),
        ("suspicious", [on_share("tool.exe", share="ADMIN$"), call("CreateServiceW", 1, target=OTHER_SERVER)]),
        ("suspicious", [on_share("Windows\\Temp\\ntds.dit")]),
        ("confirmed", [on_share("SYSTEM32\\abcdefgh.tmp", share="ADMIN$")]),
        ("confirmed", [on_share("Temp\\abcdefgh.tmp", share="ADMIN$")]),
        ("suspicious", [call(name, at, endpoint="samr") for at, name in enumerate(movement.LISTING_CALLS[:3])]),
        ("suspicious", [call("NetrServerAuthenticate3", at, endpoint="netlogon") for at in range(10)]),
        ("", [call(name, at, endpoint="samr") for at, name in enumerate(movement.LISTING_CALLS[:2])]),
        ("", [call(movement.LISTING_CALLS[0], at, endpoint="samr") for at in range(9)]),
        ("", [call("NetrServerAuthenticate3", at, endpoint="netlogon") for at in range(9)]),
        ("", [call(name, at) for at, name in enumerate(("OpenSCManagerW", "QueryServiceStatus", "StartServiceW"))]),
        ("", [on_share("plans\\plan.docx"), on_share("tool.exe", share="team")]),
        *(("suspicious", [call(name, n, target=f"10.20.0.{n}", endpoint="srvsvc") for n in range(1, 11)]) for name in movement._SESSION_CALLS),
        ("", [call("NetrSessionEnum", n, target=f"10.20.0.{n}", endpoint="srvsvc") for n in range(1, 10)]),
        ("", [call("NetrShareEnum", n, target=f"10.20.0.{n}", endpoint="srvsvc") for n in range(1, 30)]),
        *(("suspicious", [call("RpcOpenPrinter"), call(name, 1)]) for name in movement._NOTICE_CALLS),
        *(("", [call(f"{begins}Printer"), call(movement._NOTICE_CALLS[0], 1)]) for begins in movement._PRINTING),
    ],
    "directory-replication": [
        ("suspicious", [replication("DRSBind"), replication(at=1)]),
        *(("confirmed", [replication(name), replication(at=1)]) for name in identity._LOOKUP_CALLS),
        ("suspicious", [replication("DRSCrackNames", source=OTHER_SERVER), replication(at=1)]),
        *(("", [replication(name), replication(at=1)]) for name in identity._CONTROLLER_CALLS),
        ("", [replication(source=OTHER_SERVER), replication(at=9, source=SERVER, target=OTHER_SERVER)]),
        ("", [replication("DRSBind"), replication("DRSCrackNames", 1)]),
    ],
    "ticket-without-preauth": [
        ("suspicious", [ticket(f"user{n}", n) for n in range(5)]),
        ("", [ticket(f"user{n}", n) for n in range(4)]),
        ("", [ticket("user", n) for n in range(20)]),
        ("", [ticket(f"user{n}", n, cipher="aes256-cts-hmac-sha1-96") for n in range(20)]),
        ("", [ticket(f"ws{n}$", n) for n in range(20)]),
        ("", [ticket(f"user{n}", n, success=False, error_msg="KDC_ERR_KEY_EXPIRED") for n in range(20)]),
    ],
    "mass-encryption": [
        ("confirmed", [renamed(".locked", at) for at in range(8)]),
        ("", [renamed(".locked", at) for at in range(7)]),
        ("", [renamed("", at) for at in range(20)]),
        ("", [renamed(".locked", at, source=f"10.20.1.{at}") for at in range(1, 20)]),
    ],
}  # fmt: skip


@examples(CASES)
def test_what_is_found_and_how_strong(rule_id, strength, rows):
    assert said(rule_id, *rows) == ([strength] if strength else [])


def eve(kind, **body):
    ends = {"src_ip": STATION, "src_port": 50_000, "dest_ip": SERVER, "dest_port": 445}
    return imported({"timestamp": clock(0), "flow_id": 1, "event_type": kind, **ends, kind: body}, 0)


NUMBERED = [(uuid, number, name) for uuid, (_, names) in _INTERFACES.items() for number, name in names.items()]


@pytest.mark.parametrize(("uuid", "number", "name"), NUMBERED)
def test_a_call_by_number_is_read_by_its_interface_over_smb_and_over_tcp(uuid, number, name):
    known = {"request": "REQUEST", "interfaces": [{"uuid": uuid, "version": "1.0"}]}
    over_tcp = eve("dcerpc", **known, opnum=number)
    over_smb = eve("smb", command="SMB2_COMMAND_IOCTL", dcerpc={**known, "req": {"opnum": number}})

    assert over_tcp["fields"] == over_smb["fields"]
    assert over_tcp["fields"]["rpc_operation"] == name
    assert over_tcp["fields"]["activity"] == ("replication" if name == "DRSGetNCChanges" else "rpc")


def test_a_file_on_a_share_is_told_with_its_share():
    row = eve("smb", command="SMB2_COMMAND_CREATE", filename="tool.exe", share="\\\\fs1\\ADMIN$")

    assert (row["fields"]["activity"], row["fields"]["file_path"]) == ("access", "tool.exe")
    assert said("remote-control-pipe", row) == ["suspicious"]
