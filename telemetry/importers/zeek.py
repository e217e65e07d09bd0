"""Zeek logs, whether Zeek wrote them as JSON or tab-separated (where all values are text), also as Corelight ships them.

Source: Zeek documentation, "Log Files" (field names); RFC 3961 and 4757 number the Kerberos ciphers. The log is named
by `_path` or `@stream`, else known by fields that only it has (`SIGNS`). Zeek names no host of ours, so events have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.times import read_time
from telemetry.importers.values import is_blank, mapping

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


# Fields by which a log without `_path` is known: the first row of which a record has all fields.
SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("notice", ("note",)),
    ("conn", ("conn_state",)),
    ("kerberos", ("request_type", "client")),
    ("kerberos", ("request_type", "service")),
    ("ntlm", ("server_nb_computer_name",)),
    ("ntlm", ("domainname",)),
    ("smb_mapping", ("share_type",)),
    ("smb_files", ("action", "name")),
    ("smb_files", ("action", "path")),
    ("dce_rpc", ("endpoint", "operation")),
    ("rdp", ("security_protocol",)),
    ("rdp", ("cookie",)),
    ("ssh", ("auth_attempts",)),
    ("ssh", ("auth_success", "client")),
    ("ssh", ("hassh",)),
    ("ssh", ("kex_alg",)),
    ("dns", ("query", "qtype_name")),
    ("dns", ("query", "qtype")),
    ("dns", ("query", "trans_id")),
    ("dns", ("query", "rcode")),
    ("http", ("method", "uri")),
    ("http", ("status_code", "trans_depth")),
    ("ssl", ("server_name",)),
    ("ssl", ("cipher", "version")),
    ("ssl", ("established", "version")),
    ("files", ("fuid", "mime_type")),
    ("files", ("fuid", "seen_bytes")),
    ("files", ("fuid", "source")),
    ("x509", ("certificate.subject",)),
    ("x509", ("certificate_subject",)),
    ("x509", ("fingerprint",)),
    ("dhcp", ("msg_types",)),
    ("dhcp", ("mac", "assigned_addr")),
    ("ftp", ("reply_code", "command")),
    ("smtp", ("helo",)),
    ("smtp", ("mailfrom",)),
    ("rfb", ("authentication_method",)),
    ("snmp", ("community",)),
    ("tunnel", ("tunnel_type",)),
    ("dpd", ("failure_reason",)),
    ("weird", ("name", "peer")),
    ("conn", ("proto", "duration")),
    ("conn", ("proto", "history")),
)


def log_of(raw: Mapping[str, Any]) -> str:
    """Return the name of the Zeek log that a record is of; nothing where neither a name nor the fields say."""
    name = raw.get("_path") or raw.get("@stream")
    if name:
        return str(name)
    return next((log for log, fields in SIGNS if all(field in raw for field in fields)), "")


def is_zeek(raw: Mapping[str, Any]) -> bool:
    """Return whether a parsed record comes from Zeek."""
    if "ts" not in raw:
        return False
    if "_path" in raw or "@stream" in raw:
        return True
    has_ends = "id.orig_h" in raw or "id_orig_h" in raw or isinstance(raw.get("id"), Mapping)
    return (has_ends or "fuid" in raw or "note" in raw or "certificate.subject" in raw) and log_of(raw) != ""


def _get(raw: Mapping[str, Any], name: str) -> Any:
    """Return a value by Zeek's name; some shippers write id_orig_h for id.orig_h or nest it, and lists come as lists or with commas."""
    value = raw.get(name)
    value = raw.get(name.replace(".", "_")) if value is None else value
    if value is None and "." in name:
        parent, _, child = name.partition(".")
        value = mapping(raw.get(parent)).get(child)
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
    return draft_event("share", "modify" if _get(raw, "action") == "SMB::FILE_RENAME" else "access", values)


def _rpc(raw: Mapping[str, Any]) -> Imported:
    endpoint, operation = _get(raw, "endpoint"), _get(raw, "operation")
    activity = "replication" if str(operation).lower() == "drsgetncchanges" else "rpc"
    values = {"object_type": endpoint, "rpc_operation": operation, **_ends(raw, "src_ip", "dst_ip")}
    return draft_event("directory", activity, values)


def _sign_in(activity: str) -> Maker:
    """Make the conversion of a log of sign-ins; a sweep of many targets is known by the targets, so an address stands where no name does."""

    def make(raw: Mapping[str, Any]) -> Imported:
        tried = _get(raw, "success") if activity == "ntlm" else _get(raw, "auth_success")
        failed = tried is not None and not _is_true(tried)
        kind = "failure" if failed and activity != "rdp_session" else activity
        values = {
            "user_name": _get(raw, "username") or _get(raw, "cookie"),
            "status": _get(raw, "result") or (None if tried is None else "failure" if failed else "success"),
            "auth_protocol": "NTLM" if activity == "ntlm" else None,
            "target_hostname": _get(raw, "server_nb_computer_name")
            or _get(raw, "server_dns_computer_name")
            or _get(raw, "id.resp_h"),
            "src_hostname": _get(raw, "hostname") if activity == "ntlm" else None,
            **_ends(raw, "src_ip"),
        }
        return draft_event("logon", kind, values)

    return make


def _ftp(raw: Mapping[str, Any]) -> Imported:
    """Tell sign-ins to FTP by the server's reply (RFC 959: 230 logged in, 530 not logged in)."""
    activity = {"230": "success", "530": "failure"}.get(str(_get(raw, "reply_code")))
    if not activity:
        return Skipped("Zeek ftp: a command of a session that conn reports")
    values = {"user_name": _get(raw, "user"), "auth_protocol": "FTP", "target_hostname": _get(raw, "id.resp_h")}
    return draft_event("logon", activity, {**values, **_ends(raw, "src_ip")})


def _screen(raw: Mapping[str, Any]) -> Imported:
    """Tell sign-ins to a remote framebuffer (VNC, RFC 6143)."""
    tried = _get(raw, "auth_success")
    activity = "rdp_session" if tried is None else "success" if _is_true(tried) else "failure"
    values = {"auth_protocol": _get(raw, "authentication_method"), "target_hostname": _get(raw, "id.resp_h")}
    return draft_event("logon", activity, {**values, "logon_process": "vnc", **_ends(raw, "src_ip")})


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
    "ftp": _ftp,
    "rfb": _screen,
    "smtp": "a mail",
    "snmp": "a query of a device that conn reports",
    "tunnel": "a tunnel that conn reports",
    "software": "a program's version",
    "known_hosts": "an address that was met",
    "known_services": "a service that was met",
    "ntp": "a clock's query",
    "sip": "a call",
    "stats": "the sensor's own figures",
    "capture_loss": "the sensor's own figures",
    "reporter": "the sensor's own messages",
}


def convert_zeek(raw: Mapping[str, Any]) -> tuple[datetime | None, Imported]:
    """Return when a Zeek record was made and what it becomes."""
    log = log_of(raw)
    row = LOGS.get(log, "")
    if callable(row):
        return read_time(raw.get("ts")), row(raw)
    return read_time(raw.get("ts")), Skipped(f"Zeek {log}: {row}" if row else f"no mapping for Zeek {log}")


def _is_log(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda raw: is_zeek(raw) and log_of(raw) in names


_EXPORT = "Zeek's log folder, as tables or as JSON; Corelight's export"
FORMATS = (
    Format("Zeek conn", _is_log("conn"), convert_zeek, ("zeek/conn", "firewall"), _EXPORT),
    Format("Zeek dns", _is_log("dns"), convert_zeek, ("zeek/dns", "dns"), _EXPORT),
    Format("Zeek http", _is_log("http"), convert_zeek, ("zeek/http", "proxy"), _EXPORT),
    Format("Zeek ssl", _is_log("ssl", "quic"), convert_zeek, ("zeek/ssl",), _EXPORT),
    Format("Zeek files", _is_log("files"), convert_zeek, ("zeek/files",), _EXPORT),
    Format("Zeek notice", _is_log("notice", "weird"), convert_zeek, ("zeek/notice",), _EXPORT),
    Format("Zeek kerberos", _is_log("kerberos"), convert_zeek, ("zeek/kerberos",), _EXPORT),
    Format("Zeek ntlm", _is_log("ntlm"), convert_zeek, ("zeek/ntlm",), _EXPORT),
    Format("Zeek SMB", _is_log("smb_mapping", "smb_files"), convert_zeek, ("zeek/smb_files",), _EXPORT),
    Format("Zeek dce_rpc", _is_log("dce_rpc"), convert_zeek, ("zeek/dce_rpc",), _EXPORT),
    Format("Zeek rdp", _is_log("rdp"), convert_zeek, ("zeek/rdp",), _EXPORT),
    Format("Zeek ssh", _is_log("ssh"), convert_zeek, ("zeek/ssh",), _EXPORT),
    Format("Zeek ftp and VNC", _is_log("ftp", "rfb"), convert_zeek, ("zeek/ftp",), _EXPORT),
    Format("Zeek, other logs", is_zeek, convert_zeek, (), _EXPORT),
)
