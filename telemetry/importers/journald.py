"""Read log messages out of JSON: systemd's journal, macOS's unified log, and what container runtimes and shippers make of a line.

Sources: systemd.journal-fields(7) and "Journal Export Formats"; Apple's `log` manual page (styles json and ndjson); Docker "JSON
File logging driver"; Elastic Common Schema (`message`, `log.syslog`, `process`, `host`), as Filebeat's system module writes it;
Microsoft, "Syslog table"; Fluent Bit, "Systemd" input; Vector, "JournalD" source; rsyslog, "Message properties"; Graylog, "GELF".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telemetry.importers.syslog import Message, read_message
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, mapping

EXPORT_START = "__CURSOR="  # each entry of the journal's export format begins with it


def is_journal(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is an entry of systemd's journal, also as Fluent Bit and Vector pass it on."""
    return ("MESSAGE" in raw or isinstance(raw.get("message"), str)) and not _OF_JOURNAL.isdisjoint(raw)


_OF_JOURNAL = frozenset(
    {"__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "_BOOT_ID", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT"}
)


def is_unified(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is an entry of macOS's unified log."""
    return "eventMessage" in raw and ("processImagePath" in raw or "machTimestamp" in raw)


def is_container(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is a line that a container wrote, as Docker and Fluentd keep it."""
    return isinstance(raw.get("log"), str) and ("stream" in raw or "kubernetes" in raw or "container_name" in raw)


def is_shipped(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is a syslog message in Elastic's fields, by Filebeat's system module or the syslog input."""
    if not isinstance(raw.get("message"), str):
        return False
    is_named = isinstance(raw.get("process"), Mapping) or isinstance(raw.get("event"), Mapping)
    dataset = str(mapping(raw.get("event")).get("dataset") or mapping(raw.get("data_stream")).get("dataset") or "")
    has_frame = (
        "syslog" in raw or "syslog" in mapping(raw.get("log")) or dataset.startswith(("system.auth", "system.syslog"))
    )
    return has_frame and is_named


def is_row(raw: Mapping[str, Any]) -> bool:
    """Return whether a record is a syslog message whose frame became columns: Sentinel's Syslog table, rsyslog's JSON, GELF."""
    if isinstance(raw.get("SyslogMessage"), str):
        return True
    if isinstance(raw.get("short_message"), str):
        return "host" in raw and "version" in raw
    has_tag = any(name in raw for name in ("tag", "syslogtag", "programname", "syslog-tag"))
    return isinstance(raw.get("message") or raw.get("msg"), str) and has_tag and ("host" in raw or "hostname" in raw)


def read_row(raw: Mapping[str, Any], record: int) -> Message:
    """Return the message of a syslog record in columns; a tag is a program with its process id (`sshd[77]:`)."""
    text = str(first_of(raw, ("SyslogMessage", "short_message", "message", "msg")) or "")
    time = read_time(first_of(raw, ("EventTime", "TimeGenerated", "timestamp", "timereported", "@timestamp", "time")))
    host = str(first_of(raw, ("Computer", "HostName", "hostname", "host")) or "")
    names = ("ProcessName", "programname", "_application_name", "tag", "syslogtag", "syslog-tag")
    program, _, rest = str(first_of(raw, names) or "").strip().rstrip(":").partition("[")
    pid = str(first_of(raw, ("ProcessID", "_process_id", "procid")) or rest.rstrip("]"))
    return Message(record, time, host, program.rpartition("/")[2], pid, text.strip())


def read_journal(raw: Mapping[str, Any], record: int) -> Message:
    """Return the message of a journal entry; text that is no UTF-8 comes as a list of bytes."""
    text = first_of(raw, ("MESSAGE", "message"))
    if isinstance(text, list):
        text = bytes(part & 255 for part in text if isinstance(part, int)).decode("utf-8", "replace")
    times = ("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "timestamp", "@timestamp", "date")
    time = read_time(first_of(raw, times))
    program = str(first_of(raw, ("SYSLOG_IDENTIFIER", "_COMM")) or "")
    pid = str(first_of(raw, ("SYSLOG_PID", "_PID")) or "")
    return Message(
        record,
        time,
        str(first_of(raw, ("_HOSTNAME", "host", "hostname")) or ""),
        program.rpartition("/")[2],
        pid,
        str(text or ""),
    )


def audit_text(raw: Mapping[str, Any]) -> str | None:
    """Return a journal entry of the audit subsystem as auditd would write it; None for another entry."""
    kind, serial = raw.get("_AUDIT_TYPE_NAME"), raw.get("_AUDIT_ID")
    time = raw.get("_SOURCE_REALTIME_TIMESTAMP") or raw.get("__REALTIME_TIMESTAMP")
    if raw.get("_TRANSPORT") != "audit" or not (kind and serial and str(time).isdecimal() and len(str(time)) <= 20):
        return None
    rest = str(raw.get("MESSAGE") or "").removeprefix(str(kind)).strip()
    return (
        f"node={raw.get('_HOSTNAME') or 'unknown'} type={kind} msg=audit({int(str(time)) / 1e6:.3f}:{serial}): {rest}"
    )


def read_unified(raw: Mapping[str, Any], record: int) -> Message:
    """Return the message of an entry of macOS's unified log."""
    program = str(raw.get("processImagePath") or "").rpartition("/")[2]
    pid = str(raw.get("processID") or "")
    return Message(record, read_time(raw.get("timestamp")), "", program, pid, str(raw.get("eventMessage") or ""))


def read_container(raw: Mapping[str, Any], record: int) -> Message:
    """Return the message of a container's line; a frame of its own counts before the runtime's."""
    text, time = str(raw["log"]).rstrip("\r\n"), read_time(first_of(raw, ("time", "@timestamp", "_time", "date")))
    kubernetes = mapping(raw.get("kubernetes"))
    name = str(kubernetes.get("container_name") or raw.get("container_name") or "").lstrip("/")
    host = str(kubernetes.get("host") or mapping(kubernetes.get("node")).get("name") or "")
    return read_message(text, record, time) or Message(record, time, host, name, "", text)


def read_shipped(raw: Mapping[str, Any], record: int) -> Message:
    """Return the message of a document whose syslog frame a shipper has taken apart."""
    text, time = str(raw["message"]), read_time(raw.get("@timestamp"))
    whole = read_message(text, record, time)
    if whole is not None:
        return whole
    process, host = mapping(raw.get("process")), mapping(raw.get("host"))
    name = str(process.get("name") or mapping(mapping(raw.get("log")).get("syslog")).get("appname") or "")
    return Message(
        record, time, str(first_of(host, ("hostname", "name")) or ""), name, str(process.get("pid") or ""), text
    )
