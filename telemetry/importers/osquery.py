"""osquery's results: rows of event tables, and of tables whose difference says that something was added.

A row that a table's difference adds (a service, a task, a user) is that thing made; a snapshot, which lists what is there, says
nothing of when it came and is skipped, as a removed row is. Rows of Windows events are read by `windows_shapes`. Source: osquery
documentation, "Logging: results logs" (differential, snapshot, batch) and "Schema".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from telemetry.importers.events import Imported, Skipped, draft_event
from telemetry.importers.formats import Format
from telemetry.importers.security import registry_path
from telemetry.importers.times import read_time
from telemetry.importers.values import first_of, mapping

Raw = Mapping[str, Any]
Values = dict[str, Any]


class Table(NamedTuple):
    """A table of osquery: columns that tell it, and what a row becomes. `is_events`: it lists events, not what is there."""

    name: str
    columns: frozenset[str]
    event_type: str
    activity: Callable[[Raw], str | None]
    values: Callable[[Raw], Values]
    is_events: bool = True


def _always(activity: str) -> Callable[[Raw], str | None]:
    return lambda row: activity


def _process(row: Raw) -> Values:
    return {
        "process_path": row.get("path"),
        "process_cmd_line": first_of(row, ("cmdline", "command_line")),
        "process_pid": row.get("pid"),
        "parent_path": first_of(row, ("parent_path", "parent_name")),
        "actor_user": first_of(row, ("username", "user_name")),
    }


def _socket(row: Raw) -> Values:
    ends = (("local_address", "local_port"), ("remote_address", "remote_port"))
    (source, source_port), (target, target_port) = ends if row.get("action") != "accept" else ends[::-1]
    return {
        "src_ip": row.get(source),
        "src_port": row.get(source_port),
        "dst_ip": row.get(target),
        "dst_port": row.get(target_port),
        "direction": "inbound" if row.get("action") == "accept" else "outbound" if row.get("action") else None,
        "process_path": row.get("path"),
    }


_SOCKETS = {"connect": "open", "accept": "open", "bind": "bind", "listen": "listen"}
_FILES = {"CREATED": "create", "UPDATED": "modify", "DELETED": "delete", "MOVED_TO": "create", "MOVED_FROM": "delete"}
_TABLES = (
    Table(
        "socket_events",
        frozenset({"remote_address", "remote_port", "pid"}),
        "net_conn",
        lambda row: _SOCKETS.get(str(row.get("action") or "connect")),
        _socket,
    ),
    Table(
        "file_events",
        frozenset({"target_path", "action"}),
        "file",
        lambda row: _FILES.get(str(row.get("action"))),
        lambda row: {"file_path": row.get("target_path"), "file_hashes": first_of(row, ("sha256", "sha1", "md5"))},
    ),
    Table(
        "powershell_events",
        frozenset({"script_text"}),
        "script",
        _always("block"),
        lambda row: {"script_text": row.get("script_text"), "script_path": row.get("script_path")},
    ),
    Table(
        "dns_lookup_events",
        frozenset({"name", "type", "status", "pid", "response"}),
        "dns_query",
        _always("query"),
        lambda row: {
            "query_hostname": row.get("name"),
            "answers": row.get("response"),
            "process_path": row.get("path"),
        },
    ),
    Table(
        "scheduled_tasks",
        frozenset({"next_run_time", "action", "path"}),
        "task",
        _always("create"),
        lambda row: {"job_name": row.get("path") or row.get("name"), "job_cmd_line": row.get("action")},
        is_events=False,
    ),
    Table(
        "crontab",
        frozenset({"command", "minute", "hour"}),
        "task",
        _always("create"),
        lambda row: {"job_name": row.get("path"), "job_cmd_line": row.get("command")},
        is_events=False,
    ),
    Table(
        "services",
        frozenset({"service_type", "start_type"}),
        "service",
        _always("install"),
        lambda row: {
            "service_name": row.get("name"),
            "service_cmd_line": first_of(row, ("path", "module_path")),
            "start_type": row.get("start_type"),
            "run_as": row.get("user_account"),
        },
        is_events=False,
    ),
    Table(
        "registry",
        frozenset({"key", "data", "mtime"}),
        "registry",
        _always("set"),
        lambda row: {
            "reg_key_path": registry_path(row.get("path") or row.get("key")),
            "reg_value_data": row.get("data"),
        },
        is_events=False,
    ),
    Table(
        "users",
        frozenset({"uid", "username", "directory"}),
        "account",
        _always("create"),
        lambda row: {"user_name": row.get("username"), "attributes": f"uid={row.get('uid')}; {row.get('directory')}"},
        is_events=False,
    ),
    Table(
        "listening_ports",
        frozenset({"address", "port", "protocol"}),
        "net_conn",
        _always("listen"),
        lambda row: {"src_ip": row.get("address"), "src_port": row.get("port"), "process_path": row.get("path")},
        is_events=False,
    ),
    Table(
        "kernel_modules",
        frozenset({"name", "used_by"}),
        "module_load",
        _always("driver"),
        lambda row: {"file_path": row.get("name")},
        is_events=False,
    ),
    Table("process_events", frozenset({"path", "cmdline"}), "process", _always("launch"), _process),
    Table("process_etw_events", frozenset({"path", "command_line"}), "process", _always("launch"), _process),
)


def is_osquery(raw: Raw) -> bool:
    """Return whether a record is a row of osquery's results log."""
    return isinstance(raw.get("columns"), Mapping) and ("hostIdentifier" in raw or "action" in raw)


def is_bare_row(raw: Raw) -> bool:
    """Return whether a record is a timed row of one of osquery's event tables, as its shell writes it, without who asked."""
    return "time" in raw and any(table.is_events and table.columns <= raw.keys() for table in _TABLES)


def convert_bare_row(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when a row of the shell was made and what it becomes."""
    return convert_osquery({"columns": raw, "action": "added"})


def _table_of(raw: Raw, row: Raw) -> Table | None:
    """Return the table of a row: the one that its query is called after, else the first whose columns it has."""
    query = str(raw.get("name") or "")
    named = next((table for table in _TABLES if query.endswith(table.name)), None)
    return named or next((table for table in _TABLES if table.columns <= row.keys()), None)


def convert_osquery(raw: Raw) -> tuple[datetime | None, Imported]:
    """Return when a row was made and what it becomes, by its table."""
    row = raw["columns"]
    logged = first_of(raw, ("unixTime", "calendarTime"))
    moment = read_time(first_of(row, ("time", "datetime", "start_time"))) or read_time(logged)
    table = _table_of(raw, row)
    if table is None:
        return moment, Skipped(f"no mapping for osquery's query {raw.get('name')}")
    if raw.get("action") in ("removed", "snapshot") and not table.is_events:
        return moment, Skipped(
            f"osquery's table {table.name}: a row that is {raw['action']} says of nothing that is made"
        )
    activity = table.activity(row)
    if activity is None:
        return moment, Skipped(f"no mapping for {row.get('action')} of osquery's table {table.name}")
    host = first_of(mapping(raw.get("decorations")), ("hostname", "computer_name")) or raw.get("hostIdentifier")
    return moment, draft_event(table.event_type, activity, {"device_hostname": host, **table.values(row)})


FORMATS = (
    Format(
        "osquery results",
        is_osquery,
        convert_osquery,
        ("linux/process_creation", "macos/process_creation", "windows/process_creation"),
        "osqueryd.results.log, or Fleet's result stream",
    ),
    Format(
        "osquery shell",
        is_bare_row,
        convert_bare_row,
        ("linux/process_creation", "macos/process_creation", "windows/process_creation"),
        "`osqueryi --csv` or `--json`",
    ),
)
