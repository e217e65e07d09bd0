"""Write a binary Windows event log (EVTX) of records of our own making: one chunk, no templates, texts alone.

Source: Microsoft, [MS-EVEN6] (BinXml); libyal, "Windows XML Event Log (EVTX) format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

CHUNK, BLOCK = 65536, 4096
FRAGMENT, OPEN, OPEN_WITH_ATTRIBUTES, CLOSE_START, CLOSE, VALUE, ATTRIBUTE, MORE = (
    b"\x0f\x01\x01\x00",
    b"\x01",
    b"\x41",
    b"\x02",
    b"\x04",
    b"\x05\x01",
    0x06,
    0x40,
)
HEAD = 512  # bytes of a chunk before its records


def event_log(events: Sequence[Mapping[str, object]]) -> bytes:
    """Return an event log; an event is `{"provider", "id", "time", "channel", "computer", "data"}`, all texts."""
    records = b""
    for number, event in enumerate(events, 1):
        records += _record(number, event, HEAD + len(records))
    head = bytearray(HEAD)
    struct.pack_into(
        "<8sQQQQIII", head, 0, b"ElfChnk\0", 1, len(events), 1, len(events), 128, HEAD, HEAD + len(records)
    )
    struct.pack_into("<I", head, 52, zlib.crc32(records))
    struct.pack_into("<I", head, 124, zlib.crc32(head[:120] + head[128:]))
    start = bytearray(BLOCK)
    struct.pack_into("<8sQQQIHHHH", start, 0, b"ElfFile\0", 0, 0, len(events) + 1, 128, 1, 3, BLOCK, 1)
    struct.pack_into("<I", start, 124, zlib.crc32(start[:120]))
    return bytes(start) + (bytes(head) + records).ljust(CHUNK, b"\0")


def _record(number: int, event: Mapping[str, object], place: int) -> bytes:
    """Return a record; names stand where they are used, so each piece must know its place in the chunk."""
    system = [
        ("Provider", {"Name": event["provider"]}, ""),
        ("EventID", {}, event["id"]),
        ("TimeCreated", {"SystemTime": event["time"]}, ""),
        ("EventRecordID", {}, str(number)),
        ("Channel", {}, event["channel"]),
        ("Computer", {}, event["computer"]),
    ]
    data = [("Data", {"Name": name}, value) for name, value in dict(event["data"]).items()]  # type: ignore[call-overload]
    tree = ("Event", {}, [("System", {}, system), ("EventData", {}, data)])
    body = FRAGMENT + _element(tree, place + 24 + len(FRAGMENT)) + b"\0"
    size = 24 + len(body) + 4
    return struct.pack("<4sIQQ", b"**\0\0", size, number, 0) + body + struct.pack("<I", size)


def _element(element: tuple, place: int) -> bytes:
    name, attributes, content = element
    text = (OPEN_WITH_ATTRIBUTES if attributes else OPEN) + struct.pack("<I", 0)
    text += _name(name, place + len(text))
    if attributes:
        text += struct.pack("<I", 0)
    for index, (key, value) in enumerate(attributes.items(), 1):
        text += bytes([ATTRIBUTE | (MORE if index < len(attributes) else 0)])
        text += _name(key, place + len(text)) + _text(value)
    text += CLOSE_START
    if isinstance(content, list):
        for inner in content:
            text += _element(inner, place + len(text))
    elif content:
        text += _text(content)
    return text + CLOSE


def _name(name: str, place: int) -> bytes:
    return struct.pack("<IIHH", place + 4, 0, 0, len(name)) + name.encode("utf-16-le") + b"\0\0"


def _text(value: str) -> bytes:
    return VALUE + struct.pack("<H", len(value)) + value.encode("utf-16-le")
