"""Name the formats that cannot be read, by their first bytes, with the command or menu that makes a readable file of each.

Sources: the formats' own descriptions (libpcap's pcap-savefile(5), the PCAP Next Generation draft, SQLite's "Database File
Format", Apache Parquet's and Avro's specifications, systemd's "Journal File Format", PKWARE's APPNOTE) and file(1).
"""

from __future__ import annotations

from typing import NamedTuple


class Unreadable(NamedTuple):
    """A format that is not read: its name, and what to do."""

    name: str
    way: str


EVTX = b"ElfFile\x00"
_PCAP = Unreadable(
    "a packet capture (pcap)", "let Zeek (`zeek -r FILE`) or Suricata (`suricata -r FILE`) make logs of it"
)
_IMAGE = Unreadable("a picture", "give the log itself")
_PROGRAM = Unreadable("a program", "give the log of what it did")
SIGNATURES: tuple[tuple[int, bytes, Unreadable], ...] = (  # offset, bytes
    (0, b"\xd4\xc3\xb2\xa1", _PCAP),
    (0, b"\xa1\xb2\xc3\xd4", _PCAP),
    (0, b"\x4d\x3c\xb2\xa1", _PCAP),
    (0, b"\xa1\xb2\x3c\x4d", _PCAP),
    (0, b"\x0a\x0d\x0d\x0a", _PCAP),
    (
        0,
        b"PAR1",
        Unreadable("a Parquet table", "write it as JSON lines, for instance with DuckDB (`COPY ... TO 'x.json'`)"),
    ),
    (0, b"ORC", Unreadable("an ORC table", "write it as JSON lines")),
    (0, b"Obj\x01", Unreadable("an Avro file", "write it as JSON lines (`avro-tools tojson FILE`)")),
    (
        0,
        b"SQLite format 3\x00",
        Unreadable("an SQLite database", "write its table as CSV (`sqlite3 -csv -header FILE 'SELECT ...'`)"),
    ),
    (0, b"%PDF", Unreadable("a PDF document", "export the records as CSV or JSON")),
    (0, b"{\\rtf", Unreadable("an RTF document", "export the records as CSV or JSON")),
    (0, b"PK\x03\x04", Unreadable("an Office document or archive", "save the sheet as CSV, or unpack the archive")),
    (0, b"PK\x05\x06", Unreadable("an empty archive", "leave it out")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Unreadable("an old Office document (OLE)", "save the sheet as CSV")),
    (
        0,
        b"\x30\x00\x00\x00LfLe",
        Unreadable("an event log of Windows XP (EVT)", "convert it with `wevtutil epl FILE NEW.evtx /lf:true`"),
    ),
    (0, b"regf", Unreadable("a registry hive", "give the event log of the machine")),
    (0, b"LPKSHHRH", Unreadable("a binary systemd journal", "export it with `journalctl --file FILE -o json`")),
    (0, b"7z\xbc\xaf\x27\x1c", Unreadable("a 7z archive", "unpack it")),
    (0, b"Rar!", Unreadable("a RAR archive", "unpack it")),
    (257, b"ustar", Unreadable("a tar archive in another one, or packed twice", "unpack it (`tar -xf FILE`)")),
    (0, b"\x04\x22\x4d\x18", Unreadable("an LZ4 file", "unpack it (`lz4 -d FILE`)")),
    (0, b"PAGEDU64", Unreadable("a memory dump", "let Volatility make tables of it")),
    (0, b"MDMP", Unreadable("a memory dump of a program", "give the log of the machine")),
    (0, b"\x89PNG", _IMAGE),
    (0, b"GIF8", _IMAGE),
    (0, b"\xff\xd8\xff", _IMAGE),
    (0, b"MZ", _PROGRAM),
    (0, b"\x7fELF", _PROGRAM),
    (
        0,
        b"ElfChnk\x00",
        Unreadable("a piece of a Windows event log without its header", "export the log anew (`wevtutil epl`)"),
    ),
)
_ETL = Unreadable(
    "a Windows trace (ETL)", "convert it with `tracerpt FILE -o x.xml -of XML` or `Get-WinEvent -Path FILE -Oldest`"
)
_HTML = Unreadable("a web page", "export the records as JSON or CSV; a page often means that a sign-in had run out")
_CLIXML = Unreadable("objects of PowerShell (CLIXML)", "write them with `ConvertTo-Json -Depth 5`")
_ENCRYPTED = Unreadable("encrypted", "decrypt it first")
BEGINNINGS: tuple[tuple[bytes, Unreadable], ...] = (  # of text, in lower case
    (b"<!doctype html", _HTML),
    (b"<html", _HTML),
    (b"<objs ", _CLIXML),
    (b"#< clixml", _CLIXML),
    (b"-----begin pgp", _ENCRYPTED),
    (b"age-encryption.org/", _ENCRYPTED),
)
WITHOUT_SIGNATURE = (_ETL, _HTML, _CLIXML)
_LOOKED_AT = 4096
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b\x1d\x1e\x00")
_BINARY_SHARE = 0.03


def unreadable(head: bytes, name: str) -> Unreadable | None:
    """Return what a file is that cannot be read, by its first bytes; None for text and for what can be read.

    Args:
        head: the file's first bytes, unpacked.
        name: its file name; only a trace of Windows needs it, which has no signature.
    """
    for offset, mark, kind in SIGNATURES:
        if head.startswith(mark, offset) and (mark not in (b"MZ", b"ORC", b"Rar!", b"GIF8") or _is_binary(head)):
            return kind
    start = head[:_LOOKED_AT].lstrip().lower()
    for beginning, kind in BEGINNINGS:
        if start.startswith(beginning):
            return kind
    if not head.startswith(EVTX) and _is_binary(head):
        first = head[:8].hex(" ")
        return (
            _ETL
            if name.lower().endswith(".etl")
            else Unreadable(f"binary of no known kind (first bytes {first})", "export it as JSON lines")
        )
    return None


def _is_binary(head: bytes) -> bool:
    """Return whether bytes are no text: many control characters, or zeros that are not the gap of a crashed writer."""
    looked = head[:_LOOKED_AT]
    controls = sum(byte in _CONTROLS for byte in looked)
    zeros = looked.count(0)
    gap = max((len(run) for run in looked.split(b"\n") if not run.strip(b"\x00")), default=0)
    return bool(looked) and controls + max(zeros - gap, 0) > _BINARY_SHARE * len(looked)
