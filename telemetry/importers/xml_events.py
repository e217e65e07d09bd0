"""Windows events as XML, however they lie in a file: one, a document, one a line, several after each other.

Each `<Event>` is parsed by itself, so that a file of any size is read in little memory and a broken event loses itself alone.
`defusedxml` parses: an event that declares entities is refused. What comes out has the shape that evtx converters write
(`Event.System`, `Event.EventData`, attributes under `#attributes`). Source: Microsoft, "Event Schema" (Windows Event Log).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from telemetry.importers.events import Skipped

LARGEST = 4_000_000  # bytes of one event
BROKEN = "XML that is not well-formed"
HARMFUL = "XML that declares entities or a document type"
BETWEEN = "text between Windows events"
TOO_LONG = f"an event of more than {LARGEST} bytes"
OTHER_XML = "XML without Windows events"
_OPENS = re.compile(rb"<((?:[A-Za-z]\w*:)?Event)(?=[\s>])")
_KEPT = 64  # bytes at the end of what holds no event: the start of one may be cut
_FRAME = re.compile(rb"<\?.*?\?>|<!--.*?-->|</?(?:\w+:)?Events\b[^>]*>|<!DOCTYPE[^\[>]*(?:\[.*?\])?\s*>|\s+", re.DOTALL)


def is_xml(text: str | bytes) -> bool:
    """Return whether text begins as XML does; a syslog line begins with its priority, a number."""
    start = text[:200].lstrip()
    return re.match(r"<[?!A-Za-z]", start if isinstance(start, str) else start.decode("latin-1")) is not None


class EventTexts:
    """Cut the events out of XML that comes in pieces."""

    def __init__(self) -> None:
        self.rest = b""
        self.closing = b""  # the end of the event that is open; empty between events
        self.searched = 0
        self.is_overlong = False  # the event before was too long, so that what comes first is its rest

    @property
    def is_open(self) -> bool:
        """Return whether an event was begun and not ended."""
        return bool(self.closing) or self.is_overlong

    def feed(self, piece: bytes) -> Iterator[Mapping[str, Any] | Skipped]:
        """Yield the events that end in a piece."""
        text, place = self.rest + piece, 0
        while True:
            if not self.closing:
                opening = _OPENS.search(text, place)
                if not opening:
                    break
                yield from _between(text[place : opening.start()], is_overlong=self.is_overlong)
                self.closing, self.is_overlong = b"</" + opening[1] + b">", False
                place = self.searched = opening.start()
            end = text.find(self.closing, self.searched)
            if end < 0:
                break
            end += len(self.closing)
            yield parse_event(text[place:end])
            self.closing, place = b"", end
        yield from self._keep(text[place:])

    def _keep(self, rest: bytes) -> Iterator[Skipped]:
        """Keep what the next piece goes on with: an open event, unless it is too long, or the text between two."""
        self.rest = rest
        self.searched = max(0, len(rest) - len(self.closing))
        if len(rest) > LARGEST:
            if self.closing:
                yield Skipped(TOO_LONG)
            self.rest, self.is_overlong, self.closing = rest[-_KEPT:], True, b""

    def close(self) -> Iterator[Mapping[str, Any] | Skipped]:
        """Yield what is left at the end: a begun event is broken."""
        if self.closing:
            yield Skipped(BROKEN)
        else:
            yield from _between(self.rest, is_overlong=self.is_overlong)


def _between(text: bytes, *, is_overlong: bool) -> Iterator[Skipped]:
    """Yield that text stands between events which belongs to no document around them."""
    if is_overlong:
        return
    if b"<!ENTITY" in text:
        yield Skipped(HARMFUL)
    elif _FRAME.sub(b"", text):
        yield Skipped(OTHER_XML if text.lstrip().startswith(b"<") else BETWEEN)


def parse_event(text: str | bytes) -> Mapping[str, Any] | Skipped:
    """Parse the XML of one event."""
    if isinstance(text, bytes):
        text = decoded(text)
    text = _CONTROLS.sub("\ufffd", text)
    try:
        root = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        return Skipped(HARMFUL)
    except (ParseError, ValueError, RecursionError):
        return Skipped(BROKEN)
    try:
        return {"Event": _node(root, 0)}
    except RecursionError:
        return Skipped(BROKEN)


_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0 allows none of these
DEEPEST = 20  # elements in elements; events have at most six


def decoded(text: bytes) -> str:
    """Decode UTF-8, or else Windows-1252, which old exporters write."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _node(element: Element, depth: int) -> Any:
    """Return an element as evtx converters write it: its text, or an object of its children and attributes."""
    attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    children: dict[str, Any] = {"#attributes": attributes} if attributes else {}
    if depth < DEEPEST:
        for child in element:
            _add(children, child, depth)
    text = (element.text or "").strip()
    if not children:
        return text or None
    if text and len(element) == 0:
        children["#text"] = text
    return children


def _add(children: dict[str, Any], child: Element, depth: int) -> None:
    """Add a child: data under its name, unnamed data as a list of texts, others under their tag, repeated ones as a list."""
    tag, name = _tag(child), child.get("Name")
    if tag == "Data" and len(child) == 0:
        text = child.text if child.text and not child.text.isspace() else ""
        if name is not None:
            children.setdefault(name, text)
        else:
            children.setdefault("Data", {"#text": []})["#text"].append(text)
        return
    value = _node(child, depth + 1)
    if tag not in children:
        children[tag] = value
    elif isinstance(children[tag], list):
        children[tag].append(value)
    else:
        children[tag] = [children[tag], value]
