"""Text whose records are blocks of lines: `evtx_dump`'s default output, `wevtutil`'s text, PowerShell's lists, Splunk's event text and XML results,
alerts.log of Wazuh, documents of YAML, the journal's verbose output.

A form is known by a file's beginning; a line that opens a block ends the one before. Blocks of `wevtutil` and of lists become
records as Get-WinEvent's objects are in JSON. Sources: evtx, "evtx_dump" (`Record N` before each); Microsoft, "wevtutil" (/f:text)
and "Format-List"; Google, "gcloud logging read"; systemd, journalctl(1); Splunk, "Monitor Windows event log data" (classic text)
and "Search endpoint" (output_mode=xml); Wazuh, "Alert log files".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from telemetry.importers.events import Skipped
from telemetry.importers.times import TIME_OUTSIDE
from telemetry.importers.values import json_value
from telemetry.importers.xml_events import parse_event

MAX_BLOCK = 4_000_000  # characters
LONG_BLOCK = f"a record of more than {MAX_BLOCK} characters"
BAD_BLOCK = "a record of text that cannot be read"


class Form(NamedTuple):
    """A form of blocks: a pattern of the line that opens one, and how its lines, the opening one among them, are parsed."""

    opens: re.Pattern[str]
    parse: Callable[[list[str]], Any]


# ---------------------------------------------------------------- forms
def _dumped(lines: list[str]) -> Any:
    """Parse what follows `Record N`: an event as JSON over several lines, or as XML."""
    text = "\n".join(lines[1:]).strip()
    if text.startswith("<"):
        return parse_event(text)
    value = json_value(text)
    return Skipped(BAD_BLOCK) if isinstance(value, str) else value


_WEVTUTIL = {
    "Log Name": "LogName",
    "Source": "ProviderName",
    "Date": "TimeCreated",
    "Event ID": "Id",
    "Keyword": "KeywordsDisplayNames",
    "Computer": "MachineName",
}


def _rendered(lines: list[str]) -> dict[str, Any]:
    """Read an event of `wevtutil qe /f:text`: labels, and after the last of them the rendered message."""
    record: dict[str, Any] = {}
    for number, line in enumerate(lines):
        label, _, value = line.strip().partition(":")
        if label == "Description":
            record["Message"] = "\n".join([value.strip(), *lines[number + 1 :]]).strip()
            break
        if label in _WEVTUTIL:
            record[_WEVTUTIL[label]] = value.strip()
    return record


def _listed(lines: list[str]) -> dict[str, Any]:
    """Read an object of Format-List: its colons stand in one column, and a value goes on in the lines indented below."""
    column = lines[0].index(":")
    record: dict[str, Any] = {}
    name = ""
    for line in lines:
        head = line[:column].strip()
        if line[column : column + 1] == ":" and re.fullmatch(r"\w+", head):
            name = head
            record[name] = line[column + 1 :].strip()
        elif name:
            record[name] = f"{record[name]}\n{line[column + 2 :] if not line[: column + 2].strip() else line}"
    return {name: value.strip() for name, value in record.items() if value.strip()}


def _classic(lines: list[str]) -> dict[str, Any]:
    return {"raw": "\n".join(lines).strip()}


_BARE_KEY = re.compile(r"^(\s*(?:- )?)(@[\w.]+):", re.MULTILINE)  # gcloud's, which YAML wants in quotes


def _document(lines: list[str]) -> Any:
    return _whole(lines[1:])


def _whole(lines: list[str]) -> Any:
    value = _yaml(lines)
    return value if isinstance(value, dict) else Skipped(BAD_BLOCK)


def _element(lines: list[str]) -> Any:
    """Parse one element of a list of YAML."""
    value = _yaml(lines)
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else Skipped(BAD_BLOCK)


def _with_flags(value: Any) -> Any:
    """Return what YAML's text holds with true and false as JSON has them."""
    if isinstance(value, dict):
        return {name: _with_flags(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_flags(part) for part in value]
    return _FLAGS.get(value, value) if isinstance(value, str) else value


_FLAGS = {"true": True, "false": False}


def _yaml(lines: list[str]) -> Any:
    """Parse text of YAML, its scalars but true and false as text; one with anchors, which no export writes, is not read."""
    import yaml

    text = _BARE_KEY.sub(r"\1'\2':", "\n".join(lines))
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CBaseLoader)):
            return Skipped(BAD_BLOCK)
        return _with_flags(yaml.load(text, Loader=yaml.CBaseLoader))
    except (yaml.YAMLError, RecursionError):
        return Skipped(BAD_BLOCK)


def _entry(lines: list[str]) -> dict[str, Any]:
    """Read an entry of `journalctl -o verbose`: its time and cursor, then a field a line."""
    time = lines[0].partition(" ")[2].partition(" [")[0]
    fields = (line.strip().partition("=") for line in lines[1:])
    return {"__REALTIME_TIMESTAMP": time, **{name: value for name, mark, value in fields if mark}}


def _found(lines: list[str]) -> Any:
    """Read a result of Splunk's XML: a field has its values, `_raw` its text; what stands around the results is nothing."""
    if not lines[0].lstrip().startswith("<result "):
        return []
    try:
        root = fromstring("\n".join(lines).partition("</result>")[0] + "</result>", forbid_dtd=True)
    except (DefusedXmlException, ParseError, ValueError, RecursionError):
        return Skipped(BAD_BLOCK)
    values = {field.get("k"): ["".join(v.itertext()) for v in field.iter() if v.tag in ("v", "text")] for field in root}
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in values.items() if name and texts}


def _alerted(lines: list[str]) -> Any:
    """Read an alert of OSSEC's and Wazuh's alerts.log: the log line, or the record, behind the alert's own lines."""
    time = lines[0].removeprefix("** Alert ").partition(":")[0].partition(".")[0]
    host = re.search(r"\(([^)]+)\)", lines[1]) if len(lines) > 1 else None
    text = next((line for line in lines[2:] if line.strip() and not _ALERT_LINE.match(line)), "")
    record = json_value(text)
    if isinstance(record, dict):
        return {"data": record, "agent": {"name": host[1] if host else None}, "timestamp": time}
    return {"raw": text, TIME_OUTSIDE: time} if text else Skipped(BAD_BLOCK)


_ALERT = re.compile(r"\*\* Alert \d{10}\.\d+:")
_ALERT_LINE = re.compile(r"(?:Rule: \d+ \(level |(?:Src|Dst) (?:IP|Port|Location): |User: )")
_RESULTS = re.compile(r"\s*<(?:\?xml\b|results\b|result )")
_ENTRY = re.compile(r"[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S+ \[s=\w+;")
_DOCUMENT = re.compile(r"---\s*$")
_ELEMENT = re.compile(r"- (?=[\w'\"@])")
_PAIR = re.compile(r"\s*(?:- )?['\"@]?[\w.@]+['\"]?:(?: |$)")
_ENVELOPE = re.compile(r"(?:apiVersion|kind|[Rr]ecords|[Ee]vents|items|value|[Rr]esults|entries|logEvents)\s*:(?: |$)")
_RECORD = re.compile(r"Record \d+\s*$")
_EVENT = re.compile(r"Event ?\[\d+\]:?\s*$")
_STAMP = re.compile(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d(?:\.\d+)? [AP]M\s*$")
_LISTED = re.compile(r"(?:TimeCreated|ProviderName|Id|Message|LogName|MachineName) *: ", re.MULTILINE)
_OF_AN_EVENT = 2  # properties of an event that a list shows at least: others' lists are no event logs


def form_of(head: str) -> Form | None:
    """Return the form of a file's blocks by its beginning; None where it has none of these."""
    lines = head.lstrip("\ufeff\r\n ").splitlines()
    if not lines:
        return None
    second = lines[1].lstrip() if len(lines) > 1 else ""
    if _RECORD.match(lines[0]) and second[:1] in ("{", "<"):
        return Form(_RECORD, _dumped)
    if _DOCUMENT.match(lines[0]) and re.match(r"[\w'\"@]+:(?: |$)", second):
        return Form(_DOCUMENT, _document)
    if _ELEMENT.match(lines[0]) and _PAIR.match(lines[0]) and second and lines[1][:2] == "  " and _PAIR.match(lines[1]):
        return Form(_ELEMENT, _element)
    if _ENVELOPE.match(lines[0]) and _PAIR.match(lines[1] if second else ""):
        return Form(re.compile(re.escape(lines[0].rstrip()) + r"\s*$"), _whole)
    if _EVENT.match(lines[0]) and second.startswith("Log Name:"):
        return Form(_EVENT, _rendered)
    if _STAMP.match(lines[0]) and re.match(r"\w+=", second):
        return Form(_STAMP, _classic)
    if _ALERT.match(lines[0]):
        return Form(_ALERT, _alerted)
    if _RESULTS.match(lines[0]) and re.search(r"^\s*<results\b", head, re.MULTILINE):
        return Form(_RESULTS, _found)
    if _ENTRY.match(lines[0]):
        return Form(_ENTRY, _entry)
    if re.match(r"\w+ *: ", lines[0]) and len(set(_LISTED.findall(head))) >= _OF_AN_EVENT:
        first = re.escape(lines[0].partition(":")[0])
        return Form(re.compile(rf"{first}:"), _listed)
    return None


def read_blocks(lines: Iterable[str], form: Form) -> Iterator[Any]:
    """Yield what each block holds; text before the first is left out if it is blank, else one unreadable record."""
    block: list[str] = []
    size = 0
    for line in lines:
        if form.opens.match(line) and block:
            yield _parsed(block, form, size)
            block, size = [], 0
        size += len(line)
        if size <= MAX_BLOCK and (block or line.strip()):
            block.append(line.rstrip("\r\n").lstrip("\ufeff") if not block else line.rstrip("\r\n"))
    if block:
        yield _parsed(block, form, size)


def _parsed(block: list[str], form: Form, size: int) -> Any:
    if size > MAX_BLOCK:
        return Skipped(LONG_BLOCK)
    return form.parse(block) if form.opens.match(block[0]) else Skipped(BAD_BLOCK)
