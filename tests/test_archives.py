"""Tar archives: each member is a file of its own, and what would lead out, fill the memory or never end is named and left out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from mutations import tar_of
from telemetry.importers import archives, containers
from telemetry.importers.events import Skipped
from telemetry.importers.reading import BREAKS_OFF, read_records
from telemetry.judging import find_files, judge_file
from world import World

LINES = b'{"raw": "one"}\n{"raw": "two"}\n'
BOMB = (b"x" * 999 + b"\n") * 20_000


def written(folder: Path, content: bytes, name: str = "logs.tar") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **fields: str) -> bytes:
    """Return the header of an entry, without content."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    for field, value in fields.items():
        setattr(header, field, value)
    return header.tobuf()


def refusals(path: Path) -> list[str]:
    """Return why members are left out, without the sentence's beginning."""
    return [error.partition(", and ")[2] for error in find_files([path]).errors]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_each_member_of_a_tar_archive_is_a_file_of_its_own(tmp_path, pack):
    content = tar_of(("./a/one.jsonl", LINES), ("d" * 140 + "/two.log.gz", gzip.compress(b"x\n")))
    path = written(tmp_path, pack(content), "logs.bin")

    files, errors, _ = find_files([path])

    assert [name for name, _ in files] == ["logs.bin/a/one.jsonl", f"logs.bin/{'d' * 140}/two.log.gz"]
    assert errors == []
    assert [list(read_records(member)) for _, member in files] == [[{"raw": "one"}, {"raw": "two"}], [{"raw": "x"}]]


def test_a_tar_archive_in_a_folder_is_opened(tmp_path):
    written(tmp_path, gzip.compress(tar_of(("night.jsonl", LINES))), "export.tgz")

    (file,) = find_files([tmp_path]).files

    assert file == ("export.tgz/night.jsonl", tmp_path / "export.tgz" / "night.jsonl")
    assert judge_file(file, World()).records == 2


def test_members_read_in_order_unpack_an_archive_once_and_any_other_order_is_right(tmp_path, monkeypatch):
    members = [(f"{number}.log", f"{number}\n".encode() * 30_000) for number in range(4)]
    path = written(tmp_path, gzip.compress(tar_of(*members)))
    begun: list[object] = []
    begin = archives._open_tar
    monkeypatch.setattr(archives, "_open_tar", lambda unpacked: begun.append(unpacked) or begin(unpacked))

    def first(number: int) -> object:
        return next(read_records(path / f"{number}.log"))

    assert [list(read_records(path / f"{number}.log"))[-1] for number in range(3)] == [
        {"raw": f"{n}"} for n in range(3)
    ]
    assert len(begun) == 1
    assert [first(number) for number in (3, 1, 0)] == [{"raw": "3"}, {"raw": "1"}, {"raw": "0"}]


def test_an_archive_that_changes_between_two_members_is_opened_anew(tmp_path):
    path = written(tmp_path, tar_of(("a.log", b"old\n"), ("b.log", b"old\n")))
    assert list(read_records(path / "a.log")) == [{"raw": "old"}]
    written(tmp_path, tar_of(("a.log", b"new\n"), ("b.log", b"new and longer\n" * 2000)))

    assert next(read_records(path / "b.log")) == {"raw": "new and longer"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (entry("../out.log"), "it is a path out of the archive; it is not read."),
        (entry("/etc/out.log"), "it is a path out of the archive; it is not read."),
        (entry("a/../../out.log"), "it is a path out of the archive; it is not read."),
        (entry("C:\\out.log"), "it is a path out of the archive; it is not read."),
        (entry("soft.log", tarfile.SYMTYPE, linkname="/etc/passwd"), "it is a link or a device; it is not followed."),
        (entry("hard.log", tarfile.LNKTYPE, linkname="ok.log"), "it is a link or a device; it is not followed."),
        (entry("pipe.log", tarfile.FIFOTYPE), "it is a link or a device; it is not followed."),
        (entry("zero.log", tarfile.CHRTYPE), "it is a link or a device; it is not followed."),
        (entry("in.zip"), "it is an archive in an archive; unpack it."),
        (entry("in.tar"), "it is an archive in an archive; unpack it."),
        (tar_of(("ok.log", b"again\n"))[:1024], "it is a second one of that name; rename it."),
        (
            entry("a" * 300),
            "it is under a name of more than 255 bytes, or 2000 with its folders; rename it.",
        ),
        (
            entry("a/" * 1100 + "b"),
            "it is under a name of more than 255 bytes, or 2000 with its folders; rename it.",
        ),
    ],
)
def test_a_member_that_is_no_recording_of_its_own_is_named_and_left_out(tmp_path, content, says):
    path = written(tmp_path, tar_of(("ok.log", b"x\n"))[:1024] + content + tar_of(("last.log", b"y\n")))

    assert [name for name, _ in find_files([path]).files] == ["logs.tar/ok.log", "logs.tar/last.log"]
    assert refusals(path) == [says]
    assert [list(read_records(path / name)) for name in ("ok.log", "last.log")] == [[{"raw": "x"}], [{"raw": "y"}]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (entry("n", tarfile.XHDTYPE, 2 << 20) + bytes(4 << 20), "got ReadError: a header of 2097152 bytes"),
        (entry("n", tarfile.GNUTYPE_LONGNAME, 2 << 20), "got ReadError: a header of 2097152 bytes"),
        (entry("n", tarfile.GNUTYPE_SPARSE, 512), "got ReadError: a sparse file, which is not read"),
        (
            tarfile.TarInfo._create_pax_generic_header({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, b"x", "utf-8")
            + entry("n", size=512)
            + b"99999999\n" * 100,
            "got ReadError: a sparse file, which is not read",
        ),
        (entry("cut.log", size=99_999) + b"x\n", "got ReadError: unexpected end of data"),
    ],
)  # fmt: skip
def test_a_header_without_bounds_ends_an_archive_and_what_came_before_is_read(tmp_path, content, says):
    path = written(tmp_path, tar_of(("ok.log", b"x\n"))[:1024] + content)

    assert find_files([path]).files[0] == ("logs.tar/ok.log", path / "ok.log")
    assert refusals(path) == [f"{says}; what came before is read."]
    assert list(read_records(path / "ok.log")) == [{"raw": "x"}]


def test_an_archive_whose_first_header_is_broken_is_no_archive(tmp_path):
    path = written(tmp_path, entry("n", tarfile.XHDTYPE, 2 << 20))

    assert find_files([path]).files == []
    assert refusals(path) == ["got ReadError: a header of 2097152 bytes; leave it out."]


def test_headers_of_headers_end_an_archive(tmp_path):
    name = entry("n", tarfile.GNUTYPE_LONGNAME, 2) + b"n\0".ljust(512, b"\0")
    path = written(tmp_path, gzip.compress(tar_of(("ok.log", b"x\n"))[:1024] + name * 5000))

    assert [name for name, _ in find_files([path]).files] == ["logs.tar/ok.log"]
    assert refusals(path)[0].startswith("got RecursionError: ")


def test_a_cut_archive_gives_what_it_holds_and_says_that_it_breaks_off(tmp_path):
    content = gzip.compress(tar_of(("one.log", b"x\n"), ("two.jsonl", LINES + os.urandom(20_000).hex().encode())))
    path = written(tmp_path, content[:20_000])

    assert [name for name, _ in find_files([path]).files] == ["logs.tar/one.log", "logs.tar/two.jsonl"]
    assert refusals(path)[0].startswith("got ReadError: ")
    records = list(read_records(path / "two.jsonl"))
    assert records[:2] == [{"raw": "one"}, {"raw": "two"}]
    assert isinstance(records[-1], Skipped)
    assert records[-1].reason.startswith(f"{BREAKS_OFF}: EOFError")


def test_an_archive_that_is_cut_between_two_members_says_so(tmp_path):
    path = written(tmp_path, gzip.compress(tar_of(("one.log", b"x\n"))[:1024])[:-8])

    assert refusals(path) == [
        "got ReadError: EOFError: Compressed file ended before the end-of-stream marker was reached; what came before is read."
    ]
    assert list(read_records(path / "one.log")) == [{"raw": "x"}]


def test_no_more_than_a_number_of_members_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    path = written(tmp_path, tar_of(*((f"{number}.log", b"x\n") for number in range(5))))

    assert [name for name, _ in find_files([path]).files] == ["logs.tar/0.log", "logs.tar/1.log"]
    assert refusals(path) == ["it is one of more than 10000 members; split the archive."]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_packed_member_that_unpacks_to_far_more_than_logs_do_ends_there(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(containers, "FREE_BYTES", 1 << 20)
    path = written(tmp_path, pack(tar_of(("long.log", os.urandom(200_000)), ("bomb.log.gz", gzip.compress(BOMB)))))

    records = list(read_records(path / "bomb.log.gz"))

    assert records[-1] == Skipped(f"{BREAKS_OFF}: it unpacks to more than 300 times its size")
    assert len(records) < 20_000


def test_a_bomb_of_an_archive_ends_there(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "FREE_BYTES", 1 << 20)
    path = written(tmp_path, gzip.compress(tar_of(("ok.log", b"x\n"), ("bomb.log", BOMB), ("last.log", b"y\n"))))

    assert [name for name, _ in find_files([path]).files] == ["logs.tar/ok.log", "logs.tar/bomb.log"]
    assert refusals(path) == ["got ReadError: it unpacks to more than 300 times its size; what came before is read."]
    assert list(read_records(path / "bomb.log"))[-1].reason.startswith(BREAKS_OFF)


def test_a_bomb_behind_long_members_of_a_zip_archive_is_measured_by_its_own_size(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "FREE_BYTES", 1 << 20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("long.log", os.urandom(200_000))
        writer.writestr("bomb.log", BOMB)
    path = written(tmp_path, packed.getvalue(), "logs.zip")

    assert list(read_records(path / "bomb.log"))[-1] == Skipped(
        f"{BREAKS_OFF}: it unpacks to more than 300 times its size"
    )


def test_a_tar_archive_in_a_packed_member_is_named(tmp_path):
    inner = gzip.compress(tar_of(("a.log", b"x\n")))
    path = written(tmp_path, tar_of(("inner.tar.gz", inner)))

    (file,) = find_files([path]).files

    assert "it is a tar archive in another one, or packed twice; unpack it" in judge_file(file, World()).error
