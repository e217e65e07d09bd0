"""Zeek logs as JSON, whether Zeek wrote it or a converter made it of tab-separated logs (where all values are text).

Source: Zeek documentation, "Log Files" (field names); RFC 3961 and 4757 number the Kerberos ciphers. The log is named
by `_path` or `@stream`; records of conn.log alone are known by their fields. Zeek names no host of ours, so events
have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import is_blank

Maker = Callable[[Mapping[str, Any]], Imported]
_CIPHERS = {
    "des-cbc-crc": 0x1,
    "des-cbc-md5": 0x3,
    "aes128-cts-hmac-sha1-96": 0x11,
    "aes256-cts-hmac-sha1-96": 0x12,
    "rc4-hmac": 0x17,
    "rc4-hmac-exp": 0x18,
}
_PREAUTH_FAILED = "KDC_ERR_PREAUTH_FAILED"


def is_zeek(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record comes from Zeek."""
    return "ts" in raw and ("_path" in raw or "@stream" in raw or ("uid" in raw and "conn_state" in raw))


def _get(raw: Mapping[str, Any], name: str) -> Any:
    """Return a value by Zeek's name; some shippers write id_orig_h for id.orig_h, and lists come as lists or with commas."""
    value = raw.get(name)
    value = raw.get(name.replace(".", "_")) if value is None else value
    if isinstance(value, list):
        value = ",".join(str(part) for part in value)
    return None if is_blank(value) else value


def _ends(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    sources = {"src_ip": "id.orig_h", "src_port": "id.orig_p", "dst_ip": "id.resp_h", "dst_port": "id.resp_p"}
    return {name: _get(raw, sources[name]) for name in names}


def _is_true(value: object) -> bool:
    return value is True or str(value) in ("T", "true")


def _direction(raw: Mapping[str, Any]) -> str | None:
    local = _get(raw, "local_orig"), _get(raw, "local_resp")
    if None in local:
        return None
    return {(True, True): "lateral", (True, False): "outbound", (False, True): "inbound"}.get(
        (_is_true(local[0]), _is_true(local[1]))
    )


def _conn(raw: Mapping[str, Any]) -> Imported:
    values = {
        **_ends(raw, "src_ip", "src_port", "dst_ip", "dst_port"),
        "bytes_out": _get(raw, "orig_bytes"),
        "bytes_in": _get(raw, "resp_bytes"),
        "direction": _direction(raw),
        "conn_state": _get(raw, "conn_state"),
    }
    return draft_event("net_conn", "flow", values)


def _tls(raw: Mapping[str, Any]) -> Imported:
    values = {**_ends(raw, "src_ip", "src_port", "dst_ip", "dst_port"), "tls_sni": _get(raw, "server_name")}
    return draft_event("net_conn", "tls_session", values)


def _dns(raw: Mapping[str, Any]) -> Imported:
    values = {"query_hostname": _get(raw, "query"), "answers": _get(raw, "answers"), **_ends(raw, "src_ip")}
    return draft_event("dns_query", "query", values)


def _http(raw: Mapping[str, Any]) -> Imported:
    host, uri = _get(raw, "host") or _get(raw, "id.resp_h"), _get(raw, "uri")
    values = {
        "url": f"http://{host}{uri}" if uri and str(uri).startswith("/") else uri,
        "user_agent": _get(raw, "user_agent"),
        "http_method": _get(raw, "method"),
        "status_code": _get(raw, "status_code"),
        "bytes_out": _get(raw, "request_body_len"),
        "bytes_in": _get(raw, "response_body_len"),
        **_ends(raw, "src_ip", "dst_ip"),
    }
    return draft_event("http", "request", values)


def _files(raw: Mapping[str, Any]) -> Imported:
    hashes = ",".join(f"{name.upper()}={_get(raw, name)}" for name in ("md5", "sha1", "sha256") if _get(raw, name))
    name = _get(raw, "filename")
    if not name and not hashes:
        return Skipped("Zeek files: a file with neither name nor hash")
    return draft_event("file", "create", {"file_path": name, "file_hashes": hashes})


def _notice(raw: Mapping[str, Any]) -> Imported:
    title = " ".join(str(_get(raw, name)) for name in ("note", "name", "msg", "sub", "addl") if _get(raw, name))
    ends = {"src_ip": _get(raw, "id.orig_h") or _get(raw, "src"), "dst_ip": _get(raw, "id.resp_h") or _get(raw, "dst")}
    return draft_event("detection", "ids_notice", {"finding_title": title, **ends})


def _kerberos(raw: Mapping[str, Any]) -> Imported:
    """Tell AS requests, for a ticket-granting ticket, from TGS requests, for a service's; krbtgt answers only the first."""
    asked, service, error = _get(raw, "request_type"), _get(raw, "service"), _get(raw, "error_msg")
    kind = {"AS": "tgt", "TGS": "tgs"}.get(str(asked)) or ("tgt" if str(service).lower().startswith("krbtgt") else "")
    if not kind:
        return Skipped("Zeek kerberos: neither the kind of request nor the service is known")
    activity = "preauth_failure" if error == _PREAUTH_FAILED else kind
    values = {
        "user_name": str(_get(raw, "client") or "").partition("/")[0],
        "service_name": service,
        "ticket_encryption": _CIPHERS.get(str(_get(raw, "cipher")).lower()),
        "status": error or ("0x0" if _is_true(_get(raw, "success")) else None),
        **_ends(raw, "src_ip"),
    }
    return draft_event("kerberos", activity, values)


def _share(raw: Mapping[str, Any]) -> Imported:
    if not _get(raw, "path"):
        return Skipped("Zeek smb_mapping: a share without a name")
    return draft_event("share", "connect", {"share_name": _get(raw, "path"), **_ends(raw, "src_ip", "dst_ip")})


def _share_file(raw: Mapping[str, Any]) -> Imported:
    values = {"share_name": _get(raw, "path"), "file_path": _get(raw, "name"), **_ends(raw, "src_ip", "dst_ip")}
    return draft_event("share", "access", values)


def _rpc(raw: Mapping[str, Any]) -> Imported:
    endpoint, operation = _get(raw, "endpoint"), _get(raw, "operation")
    activity = "replication" if str(operation).lower() == "drsgetncchanges" else "rpc"
    values = {"object_type": endpoint, "rpc_operation": operation, **_ends(raw, "src_ip", "dst_ip")}
    return draft_event("directory", activity, values)


def _sign_in(activity: str) -> Maker:
    def make(raw: Mapping[str, Any]) -> Imported:
        tried = _get(raw, "success") if activity == "ntlm" else _get(raw, "auth_success")
        failed = tried is not None and not _is_true(tried)
        kind = "failure" if failed and activity != "rdp_session" else activity
        values = {
            "user_name": _get(raw, "username") or _get(raw, "cookie"),
            "status": _get(raw, "result") or (None if tried is None else "failure" if failed else "success"),
            "auth_protocol": "NTLM" if activity == "ntlm" else None,
            "target_hostname": _get(raw, "server_nb_computer_name") or _get(raw, "server_dns_computer_name"),
            **_ends(raw, "src_ip"),
        }
        return draft_event("logon", kind, values)

    return make


LOGS: Mapping[str, Maker | str] = {
    "conn": _conn,
    "ssl": _tls,
    "quic": _tls,
    "dns": _dns,
    "http": _http,
    "files": _files,
    "notice": _notice,
    "weird": _notice,
    "kerberos": _kerberos,
    "smb_mapping": _share,
    "smb_files": _share_file,
    "dce_rpc": _rpc,
    "ntlm": _sign_in("ntlm"),
    "rdp": _sign_in("rdp_session"),
    "ssh": _sign_in("ssh_session"),
    "x509": "a certificate of a session that ssl reports",
    "pe": "the header of a program file that files reports",
    "dpd": "a protocol that the analyser could not follow",
    "analyzer": "a protocol that the analyser could not follow",
    "dhcp": "an address lease",
}


def convert_zeek(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when a Zeek record was made and what it becomes."""
    log = str(raw.get("_path") or raw.get("@stream") or "conn")
    row = LOGS.get(log, "")
    if callable(row):
        return read_time(raw.get("ts")), row(raw)
    return read_time(raw.get("ts")), Skipped(f"Zeek {log}: {row}" if row else f"no mapping for Zeek {log}")


FORMATS = (
    Format(
        "Zeek logs",
        is_zeek,
        convert_zeek,
        ("zeek/conn", "zeek/dns", "zeek/http", "zeek/kerberos", "zeek/smb_files", "zeek/dce_rpc", "zeek/rdp"),
        "Zeek's log folder, as tables or as JSON",
    ),
)
