"""Open a file or a member of an archive, zip or tar, by a path that may lead through it (`logs.zip/host/a.jsonl`, `logs.tar.gz/auth.log`).

Each member is a file of its own, and is never written to disk. Links, paths out of an archive and archives in it are named and left
out, and so is what has no bounds: many members, long names, a tar archive's headers that announce more memory than they may have.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from telemetry.importers.containers import FAULTS, PACKINGS, FileError, Source, Unpacked, source_of

LONGEST_NAME = 255  # bytes, as file systems have it
LONGEST_PATH = 2000  # bytes; file systems have 4096, and the archive's own path comes before it
LONGEST_HEADER = 1 << 20  # bytes of a name or of notes in a tar archive
MOST_MEMBERS = 10_000  # of an archive
PACKED_TWICE = 2  # a member of an archive may be packed itself, and no deeper
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # APPNOTE.TXT 4.3
_TAR = (b"ustar", 257)  # POSIX.1-2017, pax "ustar Interchange Format"
_NOTES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_SPARSE = "a sparse file, which is not read"
_TOO_MANY = f"one of more than {MOST_MEMBERS} members; split the archive"


@contextmanager
def open_source(path: Path, on_bytes: Callable[[int], None] | None = None) -> Iterator[Source]:
    """Open the recording at a path, which may lead through an archive.

    Raises:
        FileError: nothing is there, or it cannot be opened.
    """
    try:
        with _opened(path) as (packed, stream):
            faults: list[str] = []
            start = packed.tell() if packed.seekable() else 0
            is_plain = stream is packed and packed.seekable() and not _packing(packed)
            for _ in range(PACKED_TWICE):
                stream = _unpacked_once(Unpacked(stream, packed, faults=faults, start=start))
            unpacked = Unpacked(stream, packed, on_bytes, faults, start)
            unpacked.plain = packed if is_plain else None
            yield source_of(unpacked, unpacked)
    except FAULTS as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"Expected a readable recording in {str(path)!r}, and got {type(error).__name__}: {error}; "
            "leave the file out."
        ) from error


def _unpacked_once(raw: Unpacked) -> IO[bytes]:
    """Return what bytes unpack to, or the same bytes where they are not packed."""
    buffered = cast(IO[bytes], io.BufferedReader(raw, 1 << 16))
    unpack = _packing(buffered)
    return unpack(buffered) if unpack else buffered


def _packing(stream: IO[bytes]) -> Callable[[IO[bytes]], IO[bytes]] | None:
    """Return how to unpack a stream, by its next bytes; None where it is not packed."""
    head: bytes = cast(Any, stream).peek(8)
    return next((unpack for mark, unpack in PACKINGS if head.startswith(mark)), None)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file, or a member of an archive on the path to it; both the file itself and the bytes to read."""
    archive = file_of(path)
    name = path.relative_to(archive).as_posix()
    with archive.open("rb") as packed:
        if archive == path:
            yield packed, packed
            return
        if packed.read(4) in _ZIP:
            with zipfile.ZipFile(packed) as inside, inside.open(name) as stream:
                yield packed, stream
            return
    with _opened_in_tar(archive, name) as streams:
        yield streams


def file_of(path: Path) -> Path:
    """Return the file on the disk that a path leads to or through."""
    return next((place for place in (path, *path.parents) if place.is_file()), path)


# ---------------------------------------------------------------- archives
def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or a tar archive, by its first bytes; Office documents are archives too, and are none here."""
    if not path.is_file():
        return False  # a pipe can be read once
    try:
        with path.open("rb") as handle:
            if handle.read(4) not in _ZIP:
                handle.seek(0)
                return _tar_bytes(handle).read(tarfile.BLOCKSIZE).startswith(*_TAR)
            with zipfile.ZipFile(handle) as archive:
                return "[Content_Types].xml" not in archive.namelist()
    except FAULTS:
        return True  # listing the members says why


def members_of(path: Path) -> tuple[list[Path], list[str]]:
    """List the paths through an archive to its members, and a sentence for each member that is left out.

    Raises:
        FileError: it cannot be opened, or is no archive.
    """
    members: list[Path] = []
    refusals: list[str] = []
    try:
        with path.open("rb") as handle:
            entries = _zip_entries if handle.read(4) in _ZIP else _tar_entries
            handle.seek(0)
            for name, fault in entries(handle):
                if fault:
                    refusals.append(f"Expected a recording in {str(path / name[:LONGEST_PATH])!r}, and it is {fault}.")
                else:
                    members.append(path / name)
    except FAULTS as error:
        fault = f"{type(error).__name__}: {error}"
        if not members:
            raise FileError(f"Expected an archive in {str(path)!r}, and got {fault}; leave it out.") from error
        refusals.append(f"Expected a whole archive in {str(path)!r}, and got {fault}; what came before is read.")
    return members, refusals


def _zip_entries(packed: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the name of each file in a zip archive, and why it is left out; empty where it can be read."""
    with zipfile.ZipFile(packed) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    for count, info in enumerate(infos[: MOST_MEMBERS + 1]):
        if count == MOST_MEMBERS:
            yield info.filename, _TOO_MANY
        elif info.flag_bits & 1:
            yield info.filename, "encrypted; unpack the archive with its password"
        else:
            yield info.filename, _name_fault(info.filename)


def _name_fault(name: str) -> str:
    """Say why a member is not read, by its name; empty where it can be."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or not path.name or ".." in path.parts or ":" in name[:2]:
        return "a path out of the archive; it is not read"
    if len(name.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in path.parts):
        return f"under a name of more than {LONGEST_NAME} bytes, or {LONGEST_PATH} with its folders; rename it"
    if path.suffix.lower() in (".zip", ".7z", ".rar", ".tar", ".tgz"):
        return "an archive in an archive; unpack it"
    return ""


class _BoundedHeader(tarfile.TarInfo):
    """A header of a tar archive; one that `tarfile` would read into memory as a whole, however long, ends the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedHeader:
        """Parse 512 bytes.

        Raises:
            ReadError: it announces a name or notes of more than `LONGEST_HEADER` bytes, or a sparse file.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.type in _NOTES and not 0 <= header.size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(_SPARSE)
        return header

    def _proc_gnusparse_10(self, *_: Any) -> None:  # `tarfile` calls it for a sparse file by PAX, to read its map
        raise tarfile.ReadError(_SPARSE)


def _tar_bytes(packed: IO[bytes]) -> Unpacked:
    """Return the bytes of a tar archive, which may be packed as a whole."""
    return Unpacked(_unpacked_once(Unpacked(packed, packed)), packed)


def _tar_infos(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Yield each entry of a tar archive but folders, its name, and why it is left out; empty where it can be read."""
    names: set[str] = set()
    for count, info in enumerate(archive):
        cast(Any, archive).members = []  # else it keeps all of them
        name = PurePosixPath(info.name).as_posix()
        if count == MOST_MEMBERS:
            yield info, name, _TOO_MANY
            return
        if info.isdir():
            continue
        if not info.isreg():
            fault = "a link or a device; it is not followed"
        else:
            fault = _name_fault(info.name) or ("a second one of that name; rename it" if name in names else "")
            names.update(() if fault else (name,))
        yield info, name, fault


def _tar_entries(packed: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the name of each file in a tar archive, and why it is left out; empty where it can be read."""
    unpacked = _tar_bytes(packed)
    try:
        with _open_tar(unpacked) as archive:
            for _, name, fault in _tar_infos(archive):
                yield name, fault
    finally:
        if unpacked.fault:  # says more than that the data end
            raise tarfile.ReadError(unpacked.fault)


def _open_tar(unpacked: Unpacked) -> tarfile.TarFile:
    return tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_BoundedHeader, encoding="utf-8", errors="replace")


class _TarMember:
    """The bytes of a member, as they come; `TarFile.extractfile` loses what came before the end of a cut archive."""

    def __init__(self, archive: tarfile.TarFile, size: int) -> None:
        self.stream, self.left = cast(IO[bytes], archive.fileobj), size

    def read1(self, size: int) -> bytes:
        """Return the next bytes, at most as many; none at the member's end.

        Raises:
            EOFError: the archive ends before.
        """
        piece = self.stream.read(min(size, self.left))
        if self.left and not piece:
            raise EOFError("the archive ends in the middle of a member")
        self.left -= len(piece)
        return piece


_Walk = Iterator[tuple[str, IO[bytes], IO[bytes]]]
_walks: dict[
    tuple[Path, int, int], _Walk
] = {}  # how far the last archive was read; its next member needs no new beginning


def _walk_tar(path: Path) -> _Walk:
    """Yield name, file and bytes of each member of a tar archive that can be read; the bytes are there until the next one."""
    with path.open("rb") as packed, _open_tar(_tar_bytes(packed)) as archive:
        for info, name, fault in _tar_infos(archive):
            if not fault:
                yield name, packed, cast(IO[bytes], _TarMember(archive, info.size))


@contextmanager
def _opened_in_tar(path: Path, name: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a member of a tar archive, from where the last one ended; an archive whose members are read in order is unpacked once."""
    state = path.stat()
    key = (path, state.st_mtime_ns, state.st_size)
    for walk in (_walks.pop(key, iter(())), _walk_tar(path)):
        for member, packed, stream in walk:
            if member == name:
                yield packed, stream
                _walks.clear()
                _walks[key] = walk
                return
    raise FileError(f"Expected a member {name!r} in {str(path)!r}, and there is none; the archive has changed.")
