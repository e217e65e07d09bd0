"""Unpack bytes (gzip, bzip2, xz, zstd) as they are read, and turn them into UTF-8.

Content that breaks off, or unpacks to far more than logs do, ends there, and `Unpacked.fault` says so. UTF-16 is turned into UTF-8,
with a byte order mark or without. `archives` opens files and what lies in archives.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import zstandard

from schema import OpenSOCError

HEAD = 8 << 20  # bytes that are looked at before reading, and the size of a JSON document that is parsed as a whole
LARGEST_RATIO = 300  # unpacked to packed; logs reach 10 to 60
FREE_BYTES = 256 << 20  # unpacked without a look at the ratio


class FileError(OpenSOCError):
    """A file that holds no recording that can be read."""


def _open_zstd(raw: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))


PACKINGS: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (  # first bytes, and how to open
    (b"\x1f\x8b", lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))),  # RFC 1952
    (b"\x28\xb5\x2f\xfd", _open_zstd),  # RFC 8878
    (b"BZh", cast(Any, bz2.BZ2File)),
    (b"\xfd7zXZ\x00", cast(Any, lzma.LZMAFile)),
)
FAULTS = (
    OSError,
    EOFError,
    zlib.error,
    zstandard.ZstdError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    KeyError,
)


class Unpacked(io.RawIOBase):
    """Bytes as they are unpacked; the first fault ends them and stays in `fault`.

    Args:
        stream: the unpacked bytes.
        packed: the file that they come from; its position is how much of it was read.
        on_bytes: is told how many bytes of the file were read so far.
        faults: where the first fault is put, with those of the packings around it.
        start: where in the file they begin, in bytes.
    """

    def __init__(
        self,
        stream: IO[bytes],
        packed: IO[bytes],
        on_bytes: Callable[[int], None] | None = None,
        faults: list[str] | None = None,
        start: int = 0,
    ) -> None:
        self.stream, self.packed, self.on_bytes = stream, packed, on_bytes
        self.faults = [] if faults is None else faults
        self.count, self.start = 0, start
        self.plain: IO[bytes] | None = None  # the file, where its bytes are these and can be read back and forth
        self.is_ended = False
        self.has_position = packed.seekable()  # a pipe has none

    @property
    def fault(self) -> str:
        """Say what ended the bytes before their end; empty if nothing did."""
        return self.faults[0] if self.faults else ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the whole buffer, unless the bytes end."""
        view, filled = memoryview(buffer), 0
        while filled < len(view):
            piece = self._piece(min(len(view) - filled, 1 << 20))
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _piece(self, size: int) -> bytes:
        """Return the next bytes; none at the end, and from a fault on."""
        if self.is_ended:
            return b""
        try:
            piece: bytes = cast(Any, self.stream).read1(size)  # `read` loses what came before a fault
            position = self.packed.tell() if self.has_position else self.count
        except FAULTS as error:
            return self._end(f"{type(error).__name__}: {error}")
        self.count += len(piece)
        if self.count > FREE_BYTES and self.count > LARGEST_RATIO * max(position - self.start, 1):
            return self._end(f"it unpacks to more than {LARGEST_RATIO} times its size")
        if self.on_bytes:
            self.on_bytes(position)
        return piece

    def _end(self, fault: str) -> bytes:
        self.faults.append(fault)
        self.is_ended = True
        return b""


class _Recoded(io.RawIOBase):
    """Turn bytes of an encoding into UTF-8."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)("replace")
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view, filled = memoryview(buffer), 0
        while filled < len(view):
            if not self.rest:
                piece = self.stream.read(1 << 20)
                self.rest = self.decoder.decode(piece, final=not piece).encode("utf-8", "replace")
                if not self.rest and not piece:
                    break
            part, self.rest = self.rest[: len(view) - filled], self.rest[len(view) - filled :]
            view[filled : filled + len(part)] = part
            filled += len(part)
        return filled


class Source(io.BufferedReader):
    """The UTF-8 bytes of one recording; `head` holds the first `HEAD` of them before anything is read."""

    def __init__(self, raw: io.RawIOBase, unpacked: Unpacked | None = None) -> None:
        super().__init__(raw, HEAD)
        self.unpacked = unpacked
        self.head = self.peek(1)

    @property
    def fault(self) -> str:
        """Say what ended the bytes before their end; empty if nothing did."""
        return self.unpacked.fault if self.unpacked else ""

    @property
    def is_whole(self) -> bool:
        """Return whether `head` is all."""
        return len(self.head) < HEAD

    def tell_progress(self, file: IO[bytes]) -> None:
        """Tell how much of the recording was read, where `file` is the recording itself."""
        source = self.unpacked
        if source and source.on_bytes and file is source.plain and file.tell() > source.count:
            source.on_bytes(file.tell())

    @contextmanager
    def as_file(self) -> Iterator[IO[bytes]]:
        """Give a file of all bytes, to be read back and forth: the recording itself where it is not packed, else a copy that goes away."""
        plain = self.unpacked.plain if self.unpacked else None
        if plain:
            plain.seek(0)
            yield plain
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(self, copy, 1 << 20)
            copy.seek(0)
            yield copy


def source_of(raw: io.RawIOBase, unpacked: Unpacked | None = None) -> Source:
    """Return a stream's bytes in UTF-8, without a byte order mark."""
    source = Source(raw, unpacked)
    encoding = _encoding(source.head[:4096])
    if encoding:
        source = Source(_Recoded(source, encoding), unpacked)
    if source.head.startswith(codecs.BOM_UTF8):
        source.read(len(codecs.BOM_UTF8))
        source.head = source.head[len(codecs.BOM_UTF8) :]
    return source


def _encoding(head: bytes) -> str:
    """Name the encoding of text in UTF-16 or UTF-32, by its mark or by where its zero bytes stand; empty for any other."""
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return encoding
    pairs = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    if pairs >= 4 and odd > 0.7 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    return "utf-16-be" if pairs >= 4 and even > 0.7 * pairs and odd < 0.05 * pairs else ""
