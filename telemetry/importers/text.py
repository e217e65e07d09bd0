"""Convert a file's log lines and messages together: what one line means often stands in others.

The lines of one audit serial are one event, the lines of one connection are one sign-in, `last message repeated` speaks of the
line before, and an entry of the journal's export format is spread over lines. `convert_text` takes all of a file's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from telemetry.importers.access_logs import read_request
from telemetry.importers.auditd import (
    AuditEvent,
    AuditLine,
    audit_parts,
    audit_results,
    audit_try,
    auditbeat_event,
    ausearch_result,
    enrich,
    is_auditbeat,
    is_ausearch_row,
    is_enrichment,
    is_separator,
    read_audit,
    read_sentence,
)
from telemetry.importers.cef import read_cef, time_of_cef
from telemetry.importers.events import Imported, Skipped, located
from telemetry.importers.fast_alerts import read_alert, time_of_alert
from telemetry.importers.firewalls import read_bare_firewall, time_of_firewall
from telemetry.importers.formats import Format, Raw
from telemetry.importers.journald import (
    EXPORT_START,
    audit_text,
    is_container,
    is_journal,
    is_row,
    is_shipped,
    is_unified,
    read_container,
    read_journal,
    read_row,
    read_shipped,
    read_unified,
)
from telemetry.importers.laurel import is_laurel, laurel_event
from telemetry.importers.login_records import read_login_record
from telemetry.importers.messages import convert_message, read_sign_in
from telemetry.importers.sign_in_lines import LAST_REPEATED, MAX_REPEATS, SSH_DAEMONS, SignIns, Try, read_try
from telemetry.importers.snare import snare_event
from telemetry.importers.syslog import Message, read_message
from telemetry.importers.times import TIME_OUTSIDE, read_time
from telemetry.importers.unwrapping import parsed_text, unwrap
from telemetry.importers.values import first_of

UNKNOWN_LINE = "a line of text that is neither auditd's nor syslog's"
OPEN_EVENTS = 1000  # audit events whose lines may still come; auditd writes an event's lines within a few of another's
MANY_PROGRAMS = 65_536  # process ids that a parent is looked up by
_EXPORTED = re.compile(r"(_{0,2}[A-Z][A-Z0-9_]{1,63})=(.*)", re.DOTALL)
_STAMPED = re.compile(  # CloudWatch's text: a time, then an object or a flow as it was logged
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*)\s+(?P<text>\{.*|\d \d{12} .*)", re.DOTALL | re.ASCII
)
_LABELLED = re.compile(  # Grafana, "logcli": a time, the labels of the stream, the line
    r"(?P<time>\d{4}-\d\d-\d\dT\S{8,24}) \{(?:\w+=\"[^\"\n]{0,200}\",? ?){1,40}\}\s+(?P<text>\S.*)",
    re.DOTALL | re.ASCII,
)
_THREAD = re.compile(  # what database servers write: a time, their process or thread, the message
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+(?:Z| [A-Z]{3,4})) (?:\[\d+\]|\d+) (?P<text>\S.*)",
    re.DOTALL | re.ASCII,
)
_BIND = re.compile(
    r"(?P<time>\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d\.\d{3}) (?P<text>(?:[\w-]+: )?(?:info: )?client .*)", re.DOTALL
)
_BEFORE = re.compile(  # what compose and kubectl set before a container's line; its time, if asked for
    r"(?:\[(?:pod|container)/[\w./-]{1,250}\]|[\w.-]{1,100} +\|)\s+(?:(?P<time>\d{4}-\d\d-\d\dT\S{8,24}) )?(?P<text>\S.*)",
    re.DOTALL | re.ASCII,
)
_TAIL = re.compile(r"[^{]{1,300}?(?P<text>\{.*\})\s*$", re.DOTALL)  # an object behind the name of who wrote it
_READERS: tuple[tuple[Callable[[Raw], bool], Callable[[Raw, int], Message]], ...] = (
    (is_journal, read_journal),
    (is_unified, read_unified),
    (is_container, read_container),
    (is_shipped, read_shipped),
    (is_row, read_row),
)


def is_line(raw: Raw) -> bool:
    """Return whether a parsed record is one line of text."""
    return isinstance(raw.get("raw"), str) and len(raw) <= 2


def is_text(raw: Raw) -> bool:
    """Return whether a parsed record is a line of text or holds a log message, to be read beside the file's others."""
    return (
        is_line(raw)
        or is_auditbeat(raw)
        or is_laurel(raw)
        or is_ausearch_row(raw)
        or any(is_of(raw) for is_of, _ in _READERS)
    )


def convert_text(records: Iterable[tuple[int, str | Raw]]) -> list[Imported]:
    """Return what the lines and messages of one file become, at least one result for every record, by record number."""
    log = TextLog()
    results = [result for record, raw in records for result in log.feed(record, raw)]
    return sorted([*results, *log.close()], key=lambda result: result.record)


class TextLog:
    """Converts the lines and messages of one file as they come; what several lines tell together is told when they are complete.

    A line that stands for several tries (`message repeated 5 times`) gives as many events. A parent is named by an earlier launch
    of the same recording with the parent's process id, never by anything else.
    """

    def __init__(self, format_of: Callable[[Raw], Format | None] = lambda raw: None) -> None:
        """Start without lines; `format_of` names the format of a record that is a message's whole text."""
        self.format_of = format_of
        self.done: list[Imported] = []
        self.audits: dict[str, AuditEvent] = {}
        self.programs: dict[str, str] = {}
        self.last_audit: AuditLine | None = None
        self.sign_ins = SignIns()
        self.last_try: Try | None = None
        self.entry: dict[str, str] = {}  # of the journal's export format
        self.entry_records: list[int] = []

    def feed(self, record: int, raw: str | Raw) -> list[Imported]:
        """Take the next record, or a line of text by itself; return what is complete by now."""
        self.add(record, raw)
        if len(self.audits) > OPEN_EVENTS:
            self.end_audit()
        done, self.done = self.done, []
        return done

    def close(self) -> list[Imported]:
        """Return what is still open at the file's end."""
        self.end_entry()
        while self.audits:
            self.end_audit()
        done, self.done = self.done, []
        return [*done, *self.sign_ins.close()]

    def add(self, record: int, raw: str | Raw) -> None:
        """Take in one record."""
        if isinstance(raw, str):
            self.add_line(record, raw, None)
        elif is_line(raw):
            self.add_line(record, str(raw["raw"]), read_time(raw.get(TIME_OUTSIDE)))
        elif is_auditbeat(raw):
            self.audits[f"document {record}"] = auditbeat_event(raw, record)
        elif is_laurel(raw):
            self.audits[f"object {record}"] = laurel_event(raw, record)
        elif is_ausearch_row(raw):
            self.done.append(ausearch_result(raw, record))
        elif is_journal(raw) and (text := audit_text(raw)):
            self.add_line(record, text, None)
        else:
            reader = next(read for is_of, read in _READERS if is_of(raw))
            self.add_message(reader(raw, record))

    def add_line(self, record: int, text: str, time: datetime | None) -> None:
        """Take in one line; `time` is what its wrapping says."""
        if self.add_exported(record, text):
            return
        line = read_audit(text, record)
        if line:
            self.audits.setdefault(f"{line.node}/{line.serial}", AuditEvent()).lines.append(line)
            self.last_audit = line
        elif self.last_audit and is_enrichment(text):
            enrich(self.last_audit, text)
            last = self.last_audit
            self.done.append(
                Skipped(f"part of audit event {last.serial}: names for the numbers of record {last.record}", record)
            )
        elif is_separator(text):
            self.done.append(Skipped("part of audit event: the line that parts it from the next", record))
        elif request := read_request(text):
            self.done.append(replace(request, record=record))
        elif labelled := _LABELLED.match(text):
            self.add_line(record, labelled["text"], read_time(labelled["time"]) or time)
        elif stamped := _STAMPED.match(text):
            self.add_message(Message(record, read_time(stamped["time"]), "", "", "", stamped["text"]))
        elif message := read_message(text, record, time):
            self.add_message(message)
        elif snare_event(text):
            self.add_message(Message(record, time, "", "", "", text))
        elif before := _BEFORE.match(text):
            self.add_line(record, before["text"], read_time(before["time"]) or time)
        elif (tail := _TAIL.match(text)) and (
            inner := self.inner_record(Message(record, time, "", "", "", tail["text"]))
        ):
            self.done.append(inner)
        else:
            self.done.append(_bare(text, record, time))

    def add_message(self, message: Message) -> None:
        """Take in one log message."""
        repeated = LAST_REPEATED.match(message.text)
        if repeated and self.last_try:
            count = min(int(repeated["count"]), MAX_REPEATS)
            self.done += self.sign_ins.take(
                replace(self.last_try, record=message.record, time=message.time, count=count)
            )
            return
        tried = self.last_try = read_sign_in(message)
        if tried:
            self.done += self.sign_ins.take(tried)
        else:
            self.done.append(self.inner_record(message) or convert_message(message))

    def inner_record(self, message: Message) -> Imported | None:
        """Return what a record becomes that is a message's whole text: XML, JSON, a flow, Snare's cells; None for other text."""
        is_record = message.text[:1] in ("<", "{") or message.text[:1].isdigit()
        raw = next(unwrap(parsed_text(message.text)), None) if is_record else snare_event(message.text)
        row = self.format_of(raw) if isinstance(raw, Mapping) else None
        if row is None or row.convert is _convert_one or not isinstance(raw, Mapping):
            return None
        time, result = row.convert(raw)
        return located(result, time or message.time, message.record)

    def add_exported(self, record: int, text: str) -> bool:
        """Take in a line of the journal's export format, if it is one."""
        if not text.startswith(EXPORT_START) and not self.entry:
            return False
        field = _EXPORTED.match(text)
        if text.startswith(EXPORT_START):
            self.end_entry()
        elif not field:
            return False
        if field:
            self.entry[field[1]] = field[2]
        self.entry_records.append(record)
        return True

    def end_entry(self) -> None:
        """Take in the entry whose lines have come; its first line stands for it."""
        if not self.entry:
            return
        first, *others = self.entry_records
        self.done += [Skipped(f"part of the journal entry of record {first}", record) for record in others]
        entry, self.entry, self.entry_records = self.entry, {}, []
        self.add(first, entry) if is_journal(entry) else self.done.append(
            Skipped("a journal entry without a message", first)
        )

    def end_audit(self) -> None:
        """Tell the oldest audit event."""
        event = self.audits.pop(next(iter(self.audits)))
        while len(self.programs) > MANY_PROGRAMS:
            del self.programs[next(iter(self.programs))]
        tried = audit_try(event)
        if tried:
            self.done += self.sign_ins.take(tried)
            self.done += audit_parts(event, tried.record)
        else:
            self.done += audit_results(event, self.programs)


def _bare(text: str, record: int, time: datetime | None) -> Imported:
    """Return what a line becomes that has no frame of syslog."""
    if sentence := read_sentence(text, record):
        return sentence
    if firewall := read_bare_firewall(text):
        return located(firewall, read_time(time_of_firewall(text)) or time, record)
    if alert := read_alert(text):
        return located(alert, time_of_alert(text) or time, record)
    if login := read_login_record(text):
        return located(login[1], login[0] or time, record)
    if product := read_cef(text):
        return located(product, time or time_of_cef(text), record)
    if named := _BIND.match(text):
        return convert_message(
            Message(record, read_time(named["time"].replace("-", " ")), "", "named", "", named["text"])
        )
    if thread := _THREAD.match(text):
        return convert_message(Message(record, read_time(thread["time"]), "", "", "", thread["text"]))
    if time is not None:  # its wrapping took the frame off
        return convert_message(Message(record, time, "", "", "", text))
    return Skipped(UNKNOWN_LINE, record)


# ---------------------------------------------------------------- lines in columns
_TEXT_COLUMNS = (
    "@message",
    "message",
    "Message",
    "msg",
    "full_log",
    "log",
    "line",
    "text",
    "textPayload",
    "body",
    "event",
)
_PROGRAM_COLUMNS = ("program", "appname", "ident", "service", "app")
_TIME_COLUMNS = ("@timestamp", "timestamp", "Timestamp", "time", "Time", "datetime", "date", "Date", TIME_OUTSIDE)
_HOST_COLUMNS = ("host", "hostname", "Computer", "source", "server")
_TAGGED = re.compile(r"(?P<tag>[\w./-]{1,60}(?:\[\d+\])?):\s+(?P<text>\S.*)", re.DOTALL)


def line_in(raw: Raw) -> Raw | None:
    """Return the log line in a record that has no shape of its own, as an export of a search has it; None where there is none.

    The line is a record itself: {"raw": line} with its time, or, of a line that begins with its program, a syslog record in columns.
    """
    named = first_of(raw, _TEXT_COLUMNS)
    time = first_of(raw, _TIME_COLUMNS)
    tagged = _TAGGED.match(named) if isinstance(named, str) else None
    if tagged:
        host = first_of(raw, _HOST_COLUMNS)
        return {"message": tagged["text"], "tag": tagged["tag"], "host": str(host or ""), "timestamp": time}
    program = first_of(raw, _PROGRAM_COLUMNS)
    if isinstance(named, str) and isinstance(program, str) and program in SSH_DAEMONS:
        host = first_of(raw, _HOST_COLUMNS)
        return {"message": named, "tag": program, "host": str(host or ""), "timestamp": time}
    texts = (named, *(value for name, value in raw.items() if name not in _TEXT_COLUMNS))
    line = next((text for text in texts if isinstance(text, str) and _is_log_line(text)), None)
    return None if line is None else {"raw": line, TIME_OUTSIDE: time}


def _is_log_line(text: str) -> bool:
    return len(text) > _SHORTEST and bool(
        read_audit(text, 0)
        or read_request(text)
        or read_bare_firewall(text)
        or read_alert(text)
        or _FLOW_START.match(text)
        or read_message(text)
        or read_try(Message(0, None, "", "", "", text))
    )


_SHORTEST = 24  # characters of a line that says anything; a time is shorter
_FLOW_START = re.compile(r"\d \d{12} eni-")


# ---------------------------------------------------------------- formats
def _convert_one(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return what a record becomes that is read without its file's others."""
    result = convert_text([(0, raw)])[0]
    return getattr(result, "time", None), result


def _line_of(is_of: Callable[[str], Any]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda raw: is_line(raw) and bool(is_of(str(raw["raw"])))


FORMATS = (
    Format(
        "auditd log",
        _line_of(lambda text: read_audit(text, 0)),
        _convert_one,
        ("linux/auditd", "linux/process_creation", "linux/file_event", "linux/network_connection"),
        "/var/log/audit/audit.log, or `ausearch --raw` or `-i`",
    ),
    Format(
        "ausearch as text",
        _line_of(lambda text: read_sentence(text, 0)),
        _convert_one,
        ("linux/auditd",),
        "`ausearch --format text`",
    ),
    Format("ausearch as CSV", is_ausearch_row, _convert_one, ("linux/auditd",), "`ausearch --format csv`"),
    Format(
        "Auditbeat",
        is_auditbeat,
        _convert_one,
        ("linux/auditd", "linux/process_creation"),
        "Auditbeat or Elastic Agent's auditd_manager",
    ),
    Format("laurel", is_laurel, _convert_one, ("linux/auditd", "linux/process_creation"), "laurel's audit.log"),
    Format(
        "systemd journal",
        is_journal,
        _convert_one,
        ("linux/auth", "linux/sshd", "linux/sudo"),
        "`journalctl -o json`, `json-pretty` or `export`",
    ),
    Format("macOS unified log", is_unified, _convert_one, ("macos/sshd",), "`log show --style ndjson`"),
    Format(
        "Container log line", is_container, _convert_one, ("linux/syslog",), "Docker's json-file driver, or Fluentd"
    ),
    Format(
        "Syslog in Elastic fields", is_shipped, _convert_one, ("linux/auth", "linux/syslog"), "Filebeat's system module"
    ),
    Format(
        "Syslog in columns",
        is_row,
        _convert_one,
        ("linux/auth", "linux/syslog"),
        "Sentinel's Syslog table, rsyslog's JSON, GELF",
    ),
    Format(
        "Web access log",
        _line_of(read_request),
        _convert_one,
        ("webserver", "proxy"),
        "Apache's or nginx's access log, Squid's access.log, an AWS load balancer's, S3's server access log",
    ),
    Format(
        "Firewall log line",
        _line_of(read_bare_firewall),
        _convert_one,
        ("firewall",),
        "FortiGate's or Palo Alto's log, as text",
    ),
    Format(
        "Suricata fast.log",
        _line_of(read_alert),
        _convert_one,
        ("suricata",),
        "Suricata's or Snort's alerts, a line each",
    ),
    Format(
        "Login records",
        _line_of(read_login_record),
        _convert_one,
        ("linux/auth",),
        "`last`, `lastb` or `utmpdump`",
    ),
    Format(
        "Snare Windows events",
        _line_of(snare_event),
        _convert_one,
        ("windows/security",),
        "Snare's agent, or NXLog's to_syslog_snare()",
    ),
    Format(
        "Syslog",
        _line_of(read_message),
        _convert_one,
        ("linux/auth", "linux/sshd", "linux/sudo", "linux/cron", "linux/syslog", "firewall", "dns"),
        "/var/log/auth.log, /var/log/secure, `journalctl -o short`, a syslog server's file",
    ),
)
