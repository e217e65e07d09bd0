"""Make bad input of good: strategies of Hypothesis that cut, repeat and overwrite samples of every kind of file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import zstandard
from hypothesis import strategies as st

from evtx_files import evtx_file

DATA = Path(__file__).parent / "data"
EVENT = (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Sysmon'/>"
    "<EventID>1</EventID><TimeCreated SystemTime='2031-05-06T07:08:09.5Z'/><Computer>desk-3</Computer></System>"
    "<EventData><Data Name='Image'>C:\\a.exe</Data></EventData></Event>"
)
RECORD = b'{"Event": {"System": {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventID": 1}, "EventData": {"Image": "a"}}}\n'
ZEEK = b"#separator \\x09\n#unset_field\t-\n#path\tdns\n#fields\tts\tuid\tquery\n#types\ttime\tstring\tstring\n1925000000.5\tC1\ta.test\n"
W3C = b"#Version: 1.0\n#Fields: date time c-ip cs-uri-stem\n2031-01-02 03:04:05 192.0.2.1 /a\n"
TABLE = b'Time [UTC],User,"A, b"\r\n2031-01-02 03:04:05,eve,"x\ny"\r\n2031-01-02 03:04:06,eve,z\r\n'
TEXT = b"Jan  2 03:04:05 web sshd[7]: Failed password for root from 192.0.2.9 port 22 ssh2\n"
AUDIT = b'type=SYSCALL msg=audit(1804000500.101:9): arch=c000003e syscall=59 exe="/bin/sh"\ntype=EXECVE msg=audit(1804000500.101:9): a0="sh"\n'


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("a.log", content)
    return packed.getvalue()


def tar_of(*members: tuple[str, bytes]) -> bytes:
    """Return a tar archive of members, each a name and what is in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as writer:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            writer.addfile(header, io.BytesIO(content))
    return packed.getvalue()


PLAIN = {
    "json lines": RECORD * 3,
    "json document": b'{"Records": [' + RECORD + b"," + RECORD + b"]}",
    "json values": RECORD + b'{\n "a": 1\n}\n[1, {"b": NaN}]',
    "xml": f"<?xml version='1.0' encoding='utf-8'?><Events>{EVENT}{EVENT}</Events>".encode(),
    "csv": TABLE,
    "zeek": ZEEK,
    "w3c": W3C,
    "syslog": TEXT * 2,
    "auditd": AUDIT,
    "mixed": RECORD + EVENT.encode() + b"\n" + ZEEK + TEXT + TABLE,
    "evtx": evtx_file([EVENT] * 3),
    "utf-16": (RECORD.decode() + TEXT.decode()).encode("utf-16"),
}
PACKED = {
    "gzip": gzip.compress(RECORD * 20),
    "zstd": zstandard.compress(RECORD * 20),
    "bzip2": bz2.compress(RECORD * 20),
    "xz": lzma.compress(RECORD * 20),
    "zip": _zip(RECORD * 20),
    "tar": tar_of(("a.log", RECORD * 20), ("b/" * 90 + "b.log", TEXT)),
    "tar.gz": gzip.compress(tar_of(("a.log", RECORD * 20), ("b.log", TEXT))),
}
SAMPLES = {path.name: path.read_bytes()[:20_000] for path in sorted((DATA / "formats").glob("*")) if path.is_file()}
_TOKENS = (
    b"\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b";", b"\t", b"<", b">", b"&", b"<Event>",
    b"</Event>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"<![CDATA[", b"#fields\t", b"#Fields: ", b"#separator \\x", b"null", b"NaN", b"1e999",
    b"-1", b"99999999999999999999999", b"\\ud800", b'{"a":' * 300, b"[" * 2000, b"2031-13-45", b"0000-00-00T00:00:00Z", b"<34>1 ", b"\x1f\x8b\x08", b"PK\x03\x04",
)  # fmt: skip
_STEP = st.tuples(
    st.sampled_from(("cut", "drop", "repeat", "overwrite", "insert", "token")),
    st.floats(0, 1),
    st.integers(1, 40),
    st.binary(min_size=1, max_size=6),
    st.sampled_from(_TOKENS),
)


def mutated(content: bytes, steps: list[tuple[str, float, int, bytes, bytes]]) -> bytes:
    """Return content after some steps of damage."""
    for kind, share, length, noise, token in steps:
        place = int(share * len(content))
        piece = content[place : place + length]
        head, tail = content[:place], content[place:]
        content = {
            "cut": head,
            "drop": head + tail[length:],
            "repeat": head + piece * 3 + tail,
            "overwrite": head + noise + tail[len(noise) :],
            "insert": head + noise + tail,
            "token": head + token + tail,
        }[kind]
    return content


def damaged(samples: dict[str, bytes]) -> st.SearchStrategy[bytes]:
    """Draw samples with up to six steps of damage."""
    return st.builds(mutated, st.sampled_from(list(samples.values())), st.lists(_STEP, max_size=6))
