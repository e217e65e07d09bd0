"""Write binary Windows event logs of our own making, for tests and benches: plain binary XML, without templates.

Source: Microsoft, MS-EVEN6 2.2.12 (BinXml); the layout of file, chunk and record by libevtx, "Windows XML Event Log (EVTX)".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from xml.etree.ElementTree import Element, fromstring
from zlib import crc32

CHUNK, CHUNK_HEADER, FILE_HEADER = 65_536, 512, 4096
_FILETIME = 136_000_000_000_000_000  # in 2031; readers take an event's own time from its XML


def evtx_file(events: Iterable[str]) -> bytes:
    """Return a log of events that are given as XML, each shorter than a chunk."""
    chunks: list[bytes] = []
    records: list[bytes] = []
    number, begin, offset = 1, 1, CHUNK_HEADER
    for text in events:
        record = _record(fromstring(text), number, offset)
        if offset + len(record) > CHUNK:
            chunks.append(_chunk(records, begin))
            records, begin, offset = [], number, CHUNK_HEADER
            record = _record(fromstring(text), number, offset)
        records.append(record)
        offset += len(record)
        number += 1
    chunks.append(_chunk(records, begin))
    header = struct.pack(
        "<8sQQQIHHHH76x", b"ElfFile\0", 0, len(chunks) - 1, number, 128, 1, 3, FILE_HEADER, len(chunks)
    )
    return (header + struct.pack("<II", 0, crc32(header))).ljust(FILE_HEADER, b"\0") + b"".join(chunks)


def _chunk(records: list[bytes], begin: int) -> bytes:
    end, data = begin + len(records) - 1, b"".join(records)
    last = CHUNK_HEADER + len(data) - len(records[-1])
    free = CHUNK_HEADER + len(data)
    start = struct.pack("<8sQQQQIIII64x", b"ElfChnk\0", begin, end, begin, end, 128, last, free, crc32(data))
    tables = bytes(CHUNK_HEADER - 128)
    return (start + struct.pack("<II", 0, crc32(start + tables)) + tables + data).ljust(CHUNK, b"\0")


def _record(root: Element, number: int, offset: int) -> bytes:
    body = bytearray(b"\x0f\x01\x01\x00")
    _element(root, body, offset + 24)
    body.append(0)
    size = 24 + len(body) + 4
    padding = -size % 8
    size += padding
    return (
        struct.pack("<IIQQ", 0x2A2A, size, number, _FILETIME) + bytes(body) + bytes(padding) + struct.pack("<I", size)
    )


def _element(element: Element, body: bytearray, base: int) -> None:
    body += struct.pack("<BI", 0x41 if element.attrib else 0x01, 0)
    start = len(body) - 4
    _name(element.tag.rpartition("}")[2], body, base)
    if element.attrib:
        body += bytes(4)
        size = len(body) - 4
        for index, (name, value) in enumerate(element.attrib.items(), 1):
            body.append(0x06 if index == len(element.attrib) else 0x46)
            _name(name, body, base)
            _text(value, body)
        struct.pack_into("<I", body, size, len(body) - size - 4)
    body.append(0x02)
    if element.text and element.text.strip():
        _text(element.text, body)
    for child in element:
        _element(child, body, base)
    body.append(0x04)
    struct.pack_into("<I", body, start, len(body) - start - 4)


def _name(name: str, body: bytearray, base: int) -> None:
    body += struct.pack("<I", base + len(body) + 4)
    body += struct.pack("<IHH", 0, 0, len(name)) + name.encode("utf-16-le") + b"\0\0"


def _text(text: str, body: bytearray) -> None:
    body += struct.pack("<BBH", 0x05, 0x01, len(text)) + text.encode("utf-16-le")
