"""Suricata's `eve.json`, and network logs in Elastic's fields (Filebeat, Elastic Agent, Security Onion, Corelight's ECS mapping).

Sources: Suricata documentation, "Eve JSON Format" (event types; DNS in versions 1 to 3); Elastic Common Schema (source, destination,
dns, http, url, tls); Elastic's Suricata and Zeek modules and Security Onion's ingest, which keep the record as text in `message`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.fast_alerts import SEVERITIES
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, is_blank, mapping, mappings
from telemetry.importers.zeek import convert_zeek

Maker = Callable[[Mapping[str, Any]], Imported]


def is_eve(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is one of Suricata's."""
    kind = raw.get("event_type")
    has_frame = "flow_id" in raw or "in_iface" in raw or "dest_ip" in raw or kind == "stats"
    return (
        isinstance(kind, str)
        and "timestamp" in raw
        and has_frame
        and (kind in EVENTS or isinstance(raw.get(kind), dict))
    )


def _ends(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    sources = {"src_ip": "src_ip", "src_port": "src_port", "dst_ip": "dest_ip", "dst_port": "dest_port"}
    return {name: raw.get(sources[name]) for name in names}


_BOTH = ("src_ip", "src_port", "dst_ip", "dst_port")


def _alert(raw: Mapping[str, Any]) -> Imported:
    alert = mapping(raw.get("alert"))
    title = " - ".join(str(alert[name]) for name in ("signature", "category") if not is_blank(alert.get(name)))
    severity = str(alert.get("severity") or "")
    if alert.get("action") == "blocked":  # what was stopped did no harm
        title, severity = f"{title} (blocked)", ""
    values = {"finding_title": title, "severity": SEVERITIES.get(severity, severity), **_ends(raw, "src_ip", "dst_ip")}
    return draft_event("detection", "ids_notice", values)


def _anomaly(raw: Mapping[str, Any]) -> Imported:
    anomaly = mapping(raw.get("anomaly"))
    values = {
        "finding_title": f"anomaly {first_of(anomaly, ('event', 'type', 'code')) or ''}".strip(),
        "severity": "informational",
    }
    return draft_event("detection", "ids_notice", {**values, **_ends(raw, "src_ip", "dst_ip")})


def _flow(raw: Mapping[str, Any]) -> Imported:
    flow = mapping(raw.get("flow"))
    values = {
        "bytes_out": flow.get("bytes_toserver"),
        "bytes_in": flow.get("bytes_toclient"),
        "conn_state": flow.get("state"),
    }
    return draft_event("net_conn", "flow", {**values, **_ends(raw, *_BOTH)})


def _netflow(raw: Mapping[str, Any]) -> Imported:
    return draft_event(
        "net_conn", "flow", {"bytes_out": mapping(raw.get("netflow")).get("bytes"), **_ends(raw, *_BOTH)}
    )


def _drop(raw: Mapping[str, Any]) -> Imported:
    return draft_event(
        "net_conn", "block", {"conn_state": mapping(raw.get("drop")).get("reason"), **_ends(raw, *_BOTH)}
    )


def _tls(raw: Mapping[str, Any]) -> Imported:
    tls = mapping(raw.get("tls") or raw.get("quic"))
    return draft_event("net_conn", "tls_session", {"tls_sni": tls.get("sni"), **_ends(raw, *_BOTH)})


def _dns(raw: Mapping[str, Any]) -> Imported:
    """Read a query of any version: a name beside the type (1 and 2), or a list of queries (3); answers repeat the name, so they are left out."""
    dns = mapping(raw.get("dns"))
    queries = dns.get("queries") or dns.get("query")
    query = mapping(queries[0]) if isinstance(queries, list) and queries else dns
    name, kind = query.get("rrname"), dns.get("type")
    if kind in ("answer", "response"):
        return Skipped("Suricata dns: an answer to a query that stands for itself")
    if is_blank(name):
        return Skipped("Suricata dns: a query without a name")
    return draft_event("dns_query", "query", {"query_hostname": name, **_ends(raw, "src_ip")})


def _http(raw: Mapping[str, Any]) -> Imported:
    http = mapping(raw.get("http"))
    host, url = http.get("hostname") or raw.get("dest_ip"), str(http.get("url") or "")
    values = {
        "url": f"http://{host}{url}" if url.startswith("/") else url,
        "user_agent": http.get("http_user_agent"),
        "http_method": http.get("http_method"),
        "status_code": http.get("status"),
        "bytes_in": http.get("length"),
        **_ends(raw, "src_ip", "dst_ip"),
    }
    return draft_event("http", "request", values)


def _file(raw: Mapping[str, Any]) -> Imported:
    info = mapping(raw.get("fileinfo"))
    hashes = ",".join(f"{name.upper()}={info[name]}" for name in ("md5", "sha1", "sha256") if info.get(name))
    if is_blank(info.get("filename")) and not hashes:
        return Skipped("Suricata fileinfo: a file with neither name nor hash")
    return draft_event("file", "create", {"file_path": info.get("filename"), "file_hashes": hashes})


def _session(activity: str) -> Maker:
    def make(raw: Mapping[str, Any]) -> Imported:
        data = mapping(raw.get("rdp" if activity == "rdp_session" else "ssh"))
        cookie = data.get("cookie")
        values = {"user_name": cookie, "target_hostname": raw.get("dest_ip"), **_ends(raw, "src_ip")}
        return draft_event("logon", activity, values)

    return make


def _smb(raw: Mapping[str, Any]) -> Imported:
    """Read a share that is connected to, a file on one, or the sign-in by NTLM that opens a session."""
    smb = mapping(raw.get("smb"))
    ends = _ends(raw, "src_ip", "dst_ip")
    if smb.get("dcerpc"):
        return _rpc({**raw, "dcerpc": smb["dcerpc"]})
    if smb.get("filename") and smb["filename"] != "<share_root>":
        return draft_event("share", "access", {"share_name": smb.get("share"), "file_path": smb["filename"], **ends})
    if smb.get("share"):
        return draft_event("share", "connect", {"share_name": smb["share"], **ends})
    ntlm = mapping(smb.get("ntlmssp"))
    if ntlm.get("user"):
        status = str(smb.get("status") or "")
        activity = (
            "failure"
            if status in ("STATUS_LOGON_FAILURE", "STATUS_ACCOUNT_LOCKED_OUT", "STATUS_WRONG_PASSWORD")
            else "ntlm"
        )
        values = {
            "user_name": ntlm["user"],
            "src_hostname": ntlm.get("host"),
            "status": status,
            "auth_protocol": "NTLM",
        }
        return draft_event(
            "logon", activity, {**values, "target_hostname": raw.get("dest_ip"), "src_ip": raw.get("src_ip")}
        )
    return Skipped(f"no mapping for Suricata smb {smb.get('command', '?')}")


# The operations by number that change another host or its secrets: MS-SCMR 3.1.4, MS-TSCH 3.2.5, MS-DRSR 4.1, MS-RRP 3.1.5, MS-EFSR 3.1.4.2.
_INTERFACES: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "367abb81-9844-35f1-ad32-98f038001003": (
        "svcctl",
        {11: "ChangeServiceConfigW", 12: "CreateServiceW", 19: "StartServiceW", 24: "CreateServiceA"},
    ),
    "1ff70682-0a51-30e8-076d-740be8cee98b": ("atsvc", {0: "JobAdd"}),
    "86d35949-83c9-4044-b424-db363231fd0c": ("ITaskSchedulerService", {1: "SchRpcRegisterTask", 12: "SchRpcRun"}),
    "e3514235-4b06-11d1-ab04-00c04fc2dcd2": (
        "drsuapi",
        {
            0: "DRSBind",
            2: "DRSReplicaSync",
            3: "DRSGetNCChanges",
            4: "DRSUpdateRefs",
            12: "DRSCrackNames",
            16: "DRSDomainControllerInfo",
        },
    ),
    "338cd001-2244-31f1-aaaa-900038001003": (
        "winreg",
        {20: "BaseRegSaveKey", 22: "BaseRegSetValue", 31: "BaseRegSaveKeyEx"},
    ),
    "c681d488-d850-11d0-8c52-00c04fd90f7e": ("efsrpc", {0: "EfsRpcOpenFileRaw", 4: "EfsRpcEncryptFileSrv"}),
}


def _rpc(raw: Mapping[str, Any]) -> Imported:
    """Read a call of a remote procedure whose interface is named and whose number is known."""
    call = mapping(raw.get("dcerpc"))
    number = first_of({**mapping(call.get("req")), **call}, ("opnum",))
    known = call.get("interfaces")
    names = [str(part.get("uuid")).lower() for part in mappings(known)]
    endpoint, operations = next((_INTERFACES[name] for name in names if name in _INTERFACES), ("", {}))
    operation = operations.get(number) if isinstance(number, int) else None
    if not operation:
        return Skipped("Suricata dcerpc: a call of an interface or a number that no rule speaks of")
    activity = "replication" if operation == "DRSGetNCChanges" else "rpc"
    values = {"object_type": endpoint, "rpc_operation": operation, **_ends(raw, "src_ip", "dst_ip")}
    return draft_event("directory", activity, values)


def _kerberos(raw: Mapping[str, Any]) -> Imported:
    """Read answers (RFC 4120: AS-REP to a ticket-granting ticket, TGS-REP to a service's) and errors."""
    krb5 = mapping(raw.get("krb5"))
    asked, error = str(krb5.get("msg_type") or ""), krb5.get("error_code")
    request = str(krb5.get("failed_request") or asked)
    kind = "tgs" if "TGS" in request else "tgt" if "AS" in request else ""
    if not kind:
        return Skipped("Suricata krb5: the kind of request is not known")
    activity = "preauth_failure" if str(error) == "KDC_ERR_PREAUTH_FAILED" else kind
    ciphers = {"rc4-hmac": 0x17, "aes128-cts-hmac-sha1-96": 0x11, "aes256-cts-hmac-sha1-96": 0x12}
    values = {
        "user_name": str(krb5.get("cname") or "").partition("/")[0],
        "service_name": krb5.get("sname"),
        "ticket_encryption": ciphers.get(str(krb5.get("ticket_encryption") or krb5.get("encryption")).lower()),
        "status": error or "0x0",
        "src_ip": raw.get("dest_ip") if asked.endswith("REP") or asked == "KRB_ERROR" else raw.get("src_ip"),
    }
    return draft_event("kerberos", activity, values)


EVENTS: Mapping[str, Maker | str] = {
    "alert": _alert,
    "anomaly": _anomaly,
    "flow": _flow,
    "netflow": _netflow,
    "drop": _drop,
    "dns": _dns,
    "http": _http,
    "http2": _http,
    "tls": _tls,
    "quic": _tls,
    "fileinfo": _file,
    "ssh": _session("ssh_session"),
    "rdp": _session("rdp_session"),
    "smb": _smb,
    "dcerpc": _rpc,
    "krb5": _kerberos,
    "stats": "the sensor's own figures",
    "dhcp": "an address lease",
    "smtp": "a mail",
    "ftp": "a command of a session that flow reports",
    "packetinfo": "a packet of a flow",
}


def convert_eve(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when a record of Suricata was made and what it becomes."""
    kind = str(raw.get("event_type"))
    row = EVENTS.get(kind, "")
    time = read_time(raw.get("timestamp"))
    if callable(row):
        return time, row(raw)
    return time, Skipped(f"Suricata {kind}: {row}" if row else f"no mapping for Suricata {kind}")


# ---------------------------------------------------------------- Elastic's fields
_DATASETS = {"connection": "conn", "tls": "ssl", "fileinfo": "files", "flow": "conn"}


def _dataset(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Return the product and the log that a document is of, as in `zeek.connection`; nothing where it names none."""
    event = mapping(raw.get("event"))
    name = str(event.get("dataset") or mapping(raw.get("data_stream")).get("dataset") or "")
    product, _, log = name.rpartition(".")
    return str(event.get("module") or product).lower(), log.lower()


def is_network_document(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is a network log of Zeek or Suricata in Elastic's fields."""
    return _dataset(raw)[0] in ("zeek", "suricata", "corelight") and (
        "source" in raw or "message" in raw or "zeek" in raw or "suricata" in raw
    )


def convert_network_document(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when the record in a document was made and what it becomes: from its own text if kept, else put together again."""
    product, log = _dataset(raw)
    inner = _kept(raw.get("message"))
    if product == "suricata":
        eve = inner if inner and is_eve(inner) else _eve_of(raw)
        return convert_eve(eve)
    log = _DATASETS.get(log, log)
    if inner and "ts" in inner:
        return convert_zeek({"_path": log, **inner})
    return convert_zeek(_zeek_of(raw, log))


def _kept(text: Any) -> dict[str, Any] | None:
    """Return the record that a document keeps as JSON text; None where it keeps none."""
    if not (isinstance(text, str) and text.lstrip().startswith("{")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _ends_of(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return mapping(raw.get("source") or raw.get("client")), mapping(raw.get("destination") or raw.get("server"))


def _eve_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Put a record of Suricata together again from Elastic's fields."""
    eve, (source, target) = mapping(mapping(raw.get("suricata")).get("eve")), _ends_of(raw)
    kind = str(eve.get("event_type") or _dataset(raw)[1])
    rule, dns, url, http = (mapping(raw.get(name)) for name in ("rule", "dns", "url", "http"))
    question = mapping(dns.get("question"))
    body = dict(mapping(eve.get(kind)))
    filled = {
        "alert": {
            "signature": rule.get("name"),
            "category": rule.get("category"),
            "severity": mapping(raw.get("event")).get("severity"),
        },
        "dns": {"rrname": question.get("name") or mapping(dns.get("query")).get("name")},
        "http": {
            "hostname": url.get("domain"),
            "url": url.get("path") or url.get("original"),
            "http_method": mapping(http.get("request")).get("method"),
            "status": mapping(http.get("response")).get("status_code"),
            "http_user_agent": mapping(raw.get("user_agent")).get("original"),
        },
        "tls": {"sni": mapping(mapping(raw.get("tls")).get("client")).get("server_name")},
        "flow": {"bytes_toserver": source.get("bytes"), "bytes_toclient": target.get("bytes")},
    }.get(kind, {})
    body = {**{name: value for name, value in filled.items() if value is not None}, **body}
    ends = {
        "src_ip": source.get("ip"),
        "src_port": source.get("port"),
        "dest_ip": target.get("ip"),
        "dest_port": target.get("port"),
    }
    return {"timestamp": raw.get("@timestamp"), "event_type": kind, kind: body, **ends}


def _zeek_of(raw: Mapping[str, Any], log: str) -> dict[str, Any]:
    """Put a record of Zeek together again from Elastic's fields."""
    zeek, (source, target) = mapping(raw.get("zeek")), _ends_of(raw)
    body = next(
        (
            value
            for name in (log, *(name for name, short in _DATASETS.items() if short == log))
            if (value := mapping(zeek.get(name)))
        ),
        {},
    )
    dns, url, http = (mapping(raw.get(name)) for name in ("dns", "url", "http"))
    filled = {
        "conn_state": mapping(raw.get("connection")).get("state") or body.get("state"),
        "orig_bytes": source.get("bytes"),
        "resp_bytes": target.get("bytes"),
        "query": mapping(dns.get("question")).get("name") or mapping(dns.get("query")).get("name"),
        "server_name": mapping(mapping(raw.get("tls")).get("client")).get("server_name")
        or body.get("server", {}).get("name")
        if isinstance(body.get("server", {}), dict)
        else None,
        "host": url.get("domain"),
        "uri": url.get("original") or url.get("path"),
        "method": mapping(http.get("request")).get("method"),
        "status_code": mapping(http.get("response")).get("status_code"),
        "user_agent": mapping(raw.get("user_agent")).get("original"),
        "username": mapping(raw.get("user")).get("name"),
        "auth_success": mapping(body.get("auth")).get("success"),
    }
    ends = {
        "id.orig_h": source.get("ip"),
        "id.orig_p": source.get("port"),
        "id.resp_h": target.get("ip"),
        "id.resp_p": target.get("port"),
    }
    known = {name: value for name, value in {**filled, **ends}.items() if value is not None}
    return {**known, **body, "ts": raw.get("@timestamp"), "_path": log}


FORMATS = (
    Format("Suricata eve.json", is_eve, convert_eve, ("suricata", "firewall", "dns"), "Suricata's eve.json"),
    Format(
        "Zeek and Suricata in Elastic fields",
        is_network_document,
        convert_network_document,
        ("zeek", "suricata"),
        "Filebeat, Elastic Agent or Security Onion",
    ),
)
