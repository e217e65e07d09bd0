"""Find the records in whatever an export wraps around them: lists, envelopes, search hits, JSON or XML as text, dotted keys.

`unwrap` goes from the outside in: as long as a value is one of the known wrappings, what is in it takes its place. Each
wrapping is a row of `WRAPPINGS`: a function that returns the inner values, or nothing where the value is wrapped otherwise.
An inner record keeps the time that only its wrapping bears, as `TIME_OUTSIDE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from telemetry.importers.carriers import carried
from telemetry.importers.columns import FLOW_TUPLE
from telemetry.importers.events import Skipped
from telemetry.importers.times import TIME_OUTSIDE
from telemetry.importers.values import first_of, is_blank
from telemetry.importers.xml_events import is_xml, parse_event

Raw = Mapping[str, Any]
Wrapping = Callable[[Raw], list[Any] | None]
MAX_DEPTH = 8  # wrappings around one record; real exports have at most four
NO_OBJECT = "a JSON value that is not an object"
TOO_DEEP = f"more than {MAX_DEPTH} wrappings around a record"
LISTS = (
    "Records",
    "records",
    "Events",
    "events",
    "value",
    "items",
    "Results",
    "results",
    "logEvents",
    "Findings",
    "entries",
    "findings",
    "receivedMessages",
    "Messages",
    "listFindingsResults",
    "data",
    "authlogs",
    "result",
    "edges",
    "nodes",
)
TEXTS = (
    "CloudTrailEvent",
    "AuditData",
    "auditData",
    "eventJson",
    "_raw",
    "RawXml",
    "xml_string",
)  # JSON, XML or a log line, as text
ROOTS = (
    "_source",
    "winlog",
    "event",
    "host",
    "process",
    "source",
    "destination",
    "user",
    "file",
    "registry",
    "agent",
    "data",
    "dns",
    *(
        "aws",
        "azure",
        "o365",
        "okta",
        "kubernetes",
        "userIdentity",
        "requestParameters",
        "responseElements",
        "protoPayload",
    ),
    *(
        "actor",
        "client",
        "outcome",
        "debugContext",
        "objectRef",
        "requestObject",
        "responseStatus",
        "properties",
        "status",
    ),
)
OBJECTS = ("_source", "_Event", "result", "detail", "AuditData", "auditData", "node")


_EVENT = frozenset({"Event", "Event_attributes"})  # the keys of a Windows event, around which nothing else is


def unwrap(value: Any, depth: int = 0) -> Iterator[Raw | Skipped]:
    """Yield the records that a parsed value holds, each once, in their order.

    A value that holds none and is none is a `Skipped` with the reason.
    """
    if isinstance(value, Skipped):
        yield value
    elif depth > MAX_DEPTH:
        yield Skipped(TOO_DEEP)
    elif isinstance(value, list):
        for element in value:
            is_text = isinstance(element, str) and element.strip()
            yield from unwrap(parsed_text(element) if is_text else element, depth + 1)
    elif not isinstance(value, Mapping):
        yield Skipped(NO_OBJECT)
    elif is_bare(value):
        yield value
    else:
        for wrapping in WRAPPINGS if value.keys() - _EVENT else (_separate_attributes,):
            inner = wrapping(value)
            if inner is not None:
                for element in inner:
                    yield from unwrap(element, depth + 1)
                return
        yield value


def is_bare(raw: Raw) -> bool:
    """Return whether a record is a Windows event and nothing else, as evtx converters write the most of what is read."""
    if len(raw) != 1:
        return False
    event = raw.get("Event")
    system = event.get("System") if isinstance(event, dict) else None
    provider = system.get("Provider") if isinstance(system, dict) else None
    return isinstance(provider, dict) and "#attributes" in provider


# ---------------------------------------------------------------- wrappings
def _list(raw: Raw) -> list[Any] | None:
    """Return the elements of an envelope's one list of objects."""
    for name in LISTS:
        value = raw.get(name)
        if isinstance(value, list) and all(isinstance(element, Mapping) for element in value):
            return value
    return None


def _hits(raw: Raw) -> list[Any] | None:
    """Return what an Elasticsearch or OpenSearch search found: hits.hits."""
    hits = raw.get("hits")
    inner = hits.get("hits") if isinstance(hits, Mapping) else None
    return inner if isinstance(inner, list) else None


def _object(raw: Raw) -> list[Any] | None:
    for name in OBJECTS:
        if isinstance(raw.get(name), Mapping) and (name != "detail" or "detail-type" in raw):
            return [raw[name]]
    return None


def _text(raw: Raw) -> list[Any] | None:
    """Return a record that stands as text in a field: JSON parsed, a log line as {"raw": line}."""
    for name in TEXTS:
        text = raw.get(name)
        if isinstance(text, str) and text.strip():
            return [parsed_text(text, raw.get(TIME_OUTSIDE))]
    event = raw.get("event")
    original = raw.get("event.original") or (event.get("original") if isinstance(event, Mapping) else None)
    return [parsed_text(original, raw.get("@timestamp"))] if isinstance(original, str) and original.strip() else None


def parsed_text(text: str, time: Any = None) -> Any:
    """Parse a record that is written as text; what is neither JSON nor XML becomes {"raw": text}, with its wrapping's time if any."""
    if is_xml(text) and "<Event" in text:
        return parse_event(text)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return {"raw": text} if time is None else {"raw": text, TIME_OUTSIDE: time}


def _dotted(raw: Raw) -> list[Any] | None:
    """Return a record of dotted keys (winlog.event_id) as nested objects; lists of one value, as search fields have, give the value."""
    if not any("." in key and key.partition(".")[0] in ROOTS for key in raw):
        return None
    return [nested({key.replace("{}", ""): value for key, value in raw.items()}, ".")]


def nested(raw: Raw, mark: str) -> dict[str, Any]:
    """Return a record whose names are joined by a mark as nested objects; a list of one value gives the value."""
    whole: dict[str, Any] = {}
    for key, value in raw.items():
        *parents, last = key.split(mark)
        node: Any = whole
        for parent in parents:
            node = node.setdefault(parent, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node[last] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return whole


def _table(raw: Raw) -> list[Any] | None:
    """Return the rows of a query's answer as objects: names in one list, rows of cells in another.

    Sources: Microsoft, "Azure Monitor Log Analytics API" (tables, columns, rows) and "Query V2 HTTP response" of Kusto; Elastic,
    "ES|QL REST API" (columns, values); OpenSearch, "Response formats" (schema, datarows).
    """
    tables = first_of(raw, ("tables", "Tables"))
    if isinstance(tables, list) and all(isinstance(table, Mapping) for table in tables):
        return tables
    columns = first_of(raw, ("columns", "Columns", "fields", "schema"))
    rows = first_of(raw, ("rows", "Rows", "values", "datarows"))
    if not isinstance(columns, list) or not isinstance(rows, list):
        return None
    names = [
        first_of(column, ("name", "Name", "ColumnName")) if isinstance(column, Mapping) else column
        for column in columns
    ]
    return [
        {str(name): cell for name, cell in zip(names, row, strict=False) if not is_blank(cell)}
        for row in rows
        if isinstance(row, list)
    ]


def _stream(raw: Raw) -> list[Any] | None:
    """Return the lines of a stream of Loki's answer (Grafana, "Loki HTTP API": stream, and values of a time and a line each)."""
    values = raw.get("values")
    if not isinstance(raw.get("stream"), Mapping) or not isinstance(values, list):
        return None
    pairs = [value for value in values if isinstance(value, list) and len(value) >= 2]
    return [parsed_text(str(line), time) for time, line, *_ in pairs]


def _hunting_stream(raw: Raw) -> list[Any] | None:
    """Return the row that Defender's streaming API sends (Microsoft, "Streaming API": category, properties), or Azure's event as XML."""
    properties = raw.get("properties")
    if not isinstance(properties, Mapping):
        return None
    is_row = "RawXml" in properties or str(raw.get("category")).startswith("AdvancedHunting-")
    return [properties] if is_row else None


def _flow_tuples(raw: Raw) -> list[Any] | None:
    """Return the flows of a record of Azure's flow logs, each as a record (Microsoft, "NSG flow logs" and "Virtual network flow logs")."""
    for name, inner in (("properties", "flows"), ("flowRecords", "flowGroups")):
        whole = raw.get(name)
        flows = whole.get("flows") if isinstance(whole, Mapping) else None
        groups = (
            [group for flow in flows if isinstance(flow, Mapping) for group in _objects(flow.get(inner))]
            if isinstance(flows, list)
            else []
        )
        tuples = [(group, text) for group in groups for text in group.get("flowTuples") or () if isinstance(text, str)]
        if tuples:
            return [{FLOW_TUPLE: text} for _, text in tuples]
    return None


def _objects(value: Any) -> list[Raw]:
    return [element for element in value if isinstance(element, Mapping)] if isinstance(value, list) else []


def _separate_attributes(raw: Raw) -> list[Any] | None:
    """Return a record whose XML attributes stand beside their element (`evtx_dump --separate-json-attributes`) with them inside."""
    event = raw.get("Event")
    system = event.get("System") if isinstance(event, Mapping) else None
    if not isinstance(system, Mapping) or not any(name.endswith(_BESIDE) for name in system):
        return None
    return [{"Event": _with_attributes(event, 0)}]


_BESIDE = "_attributes"


def _with_attributes(node: Any, depth: int) -> Any:
    if not isinstance(node, Mapping) or depth > MAX_DEPTH:
        return node
    joined: dict[str, Any] = {
        name: _with_attributes(value, depth + 1) for name, value in node.items() if not name.endswith(_BESIDE)
    }
    for name, attributes in node.items():
        element = name.removesuffix(_BESIDE)
        if element != name:
            inner = joined.get(element)
            text = {} if inner is None else inner if isinstance(inner, dict) else {"#text": inner}
            joined[element] = {"#attributes": attributes, **text}
    return joined


def _search_fields(raw: Raw) -> list[Any] | None:
    """Return the fields of an Elasticsearch hit that was asked for fields, not for its source."""
    fields = raw.get("fields")
    return [fields] if isinstance(fields, Mapping) and "_index" in raw and "_source" not in raw else None


def _hunted(raw: Raw) -> list[Any] | None:
    """Return the events that Chainsaw's hunt found: one document, or several of an aggregation."""
    documents = raw.get("documents") if isinstance(raw.get("documents"), list) else [raw.get("document")]
    events = [document["data"] for document in documents or () if isinstance(document, Mapping) and "data" in document]
    return events or None


def _wazuh_log(raw: Raw) -> list[Any] | None:
    """Return the log line, or the record of a cloud or a network sensor, that an alert or an archived event of Wazuh is about."""
    rule, decoder, data = raw.get("rule"), raw.get("decoder"), raw.get("data")
    is_alert = isinstance(rule, Mapping) and "level" in rule
    if "agent" not in raw or not (is_alert or "full_log" in raw) or (isinstance(data, Mapping) and "win" in data):
        return None
    name = str(decoder.get("name")) if isinstance(decoder, Mapping) else ""
    if isinstance(data, Mapping):
        inner = next((data[service] for service in _WAZUH_SERVICES if isinstance(data.get(service), Mapping)), None)
        if inner is not None or "event_type" in data:
            return [data if inner is None else inner]
    line = raw.get("full_log")
    is_line = isinstance(line, str) and (not is_alert or name in _WAZUH_LINES)
    return [parsed_text(str(line), raw.get("timestamp"))] if is_line else None


_WAZUH_SERVICES = ("aws", "office365", "github", "gcp", "okta")
_WAZUH_LINES = frozenset(
    {"sshd", "sudo", "su", "pam", "useradd", "userdel", "usermod", "groupadd", "auditd", "iptables"}
)


def _osquery_rows(raw: Raw) -> list[Any] | None:
    """Return a batch or a snapshot of osquery's results, or a host's answer to a query of Fleet, as a record for each row."""
    host = raw.get("host")
    if isinstance(host, Mapping) and "hostname" in host and isinstance(raw.get("rows"), list):
        return [{"hostIdentifier": host["hostname"], "columns": row, "action": "snapshot"} for row in raw["rows"]]
    if "hostIdentifier" not in raw:
        return None
    envelope = {name: value for name, value in raw.items() if name not in ("snapshot", "diffResults")}
    if isinstance(raw.get("snapshot"), list):
        return [envelope | {"columns": row, "action": "snapshot"} for row in raw["snapshot"]]
    batch = raw.get("diffResults")
    if not isinstance(batch, Mapping):
        return None
    return [
        envelope | {"columns": row, "action": action}
        for action in ("removed", "added")
        for row in (batch[action] if isinstance(batch.get(action), list) else ())
    ]


def _kernel_messages(raw: Raw) -> list[Any] | None:
    """Return an audit event of go-audit as auditd's lines, with the names of its accounts (go-audit's README: sequence, messages, uid_map)."""
    messages, names = raw.get("messages"), raw.get("uid_map")
    if "sequence" not in raw or not isinstance(messages, list):
        return None
    known = names if isinstance(names, Mapping) else {}
    head = f"audit({raw.get('timestamp')}:{raw['sequence']}): "
    return [
        {"raw": f"type={message.get('type')} msg={head}{text}\x1d{_named(text, known)}"}
        for message in _objects(messages)
        for text in [str(message.get("data") or "").strip()]
    ]


def _named(text: str, names: Raw) -> str:
    """Return the second half of an enriched line: the names of the accounts whose numbers a line has."""
    return " ".join(f'{kind.upper()}="{names[uid]}"' for kind, uid in _ACCOUNTS.findall(text) if uid in names)


_ACCOUNTS = re.compile(r"\b(a?uid)=(\d+)\b")
_OF_RULES = frozenset({"Level", "Status", "MitreTactics", "MitreTags", "OtherTags"})  # and Rule...


def _timeline(raw: Raw) -> list[Any] | None:
    """Return a row of Hayabusa's timeline without its rule: an event has a row for each rule that it meets."""
    if "RuleTitle" not in raw or "EventID" not in raw:
        return None
    return [{name: value for name, value in raw.items() if name not in _OF_RULES and name[:4] != "Rule"}]


_GRAYLOG = re.compile(r"(?:winlogbeat_)?winlog_(event_data_)?(\w+)")


def _underscored(raw: Raw) -> list[Any] | None:
    """Return Winlogbeat's record of names that Graylog joined with underscores (winlogbeat_winlog_event_data_Image)."""
    if "winlogbeat_winlog_event_id" not in raw and "winlog_event_id" not in raw:
        return None
    log: dict[str, Any] = {"event_data": {}}
    for key, value in raw.items():
        if match := _GRAYLOG.fullmatch(key):
            (log["event_data"] if match[1] else log)[match[2]] = value
    return [{"@timestamp": raw.get("timestamp"), "message": raw.get("message"), "winlog": log}]


def _key_values(raw: Raw) -> list[Any] | None:
    """Return a record of Splunk's classic Windows text: a time, lines of key=value, the message last."""
    text = raw.get("raw")
    if not isinstance(text, str) or "\nEventCode=" not in text:
        return None
    head, _, message = text.replace("\r\n", "\n").partition("\nMessage=")
    time, *lines = head.split("\n")
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return [{TIME_OUTSIDE: raw.get(TIME_OUTSIDE) or time, **fields, "Message": message}]


def _managed(raw: Raw) -> list[Any] | None:
    """Return an event that WMI gives (Microsoft, "Win32_NTLogEvent class") under the names of other flat records."""
    if "InsertionStrings" not in raw or "Logfile" not in raw:
        return None
    rest = {name: value for name, value in raw.items() if name not in ("InsertionStrings", "Logfile", "EventCode")}
    names = {"EventID": raw.get("EventCode"), "Channel": raw["Logfile"], "StringInserts": raw["InsertionStrings"]}
    return [{**rest, **names}]


_AGENT_TEXT = re.compile(  # Amazon, "CloudWatch agent configuration": windows_events, format text
    r"\[(?P<LogName>[^\]\n]{1,200})\] \[\w+\] \[(?P<Id>\d{1,5})\] \[(?P<ProviderName>[^\]\n]{1,200})\] "
    r"\[(?P<MachineName>[^\]\n]{1,200})\] \[(?P<Message>.*)\]\s*$",
    re.DOTALL | re.ASCII,
)


def _agent_text(raw: Raw) -> list[Any] | None:
    """Return a Windows event that CloudWatch's agent wrote as text in brackets."""
    text = raw.get("raw")
    match = _AGENT_TEXT.match(text) if isinstance(text, str) and text[:1] == "[" else None
    return [{"TimeCreated": raw.get(TIME_OUTSIDE), **match.groupdict()}] if match else None


WRAPPINGS: tuple[Wrapping, ...] = (
    _hits,
    _search_fields,
    _hunted,
    _timeline,
    _underscored,
    _wazuh_log,
    _osquery_rows,
    _kernel_messages,
    _key_values,
    _agent_text,
    _managed,
    _stream,
    _flow_tuples,
    _separate_attributes,
    carried,
    _object,
    _list,
    _table,
    _text,
    _dotted,
    _hunting_stream,
)
