"""Pack a checkpoint of the plain loop into small files, and join them again: python scripts/carry.py pack out/sft DIR/sft

`pack CHECKPOINT PREFIX` writes PREFIX.0, PREFIX.1, ... of at most 15 MiB: a compressed archive of the tokenizer, the configuration and the weights in
16 bits, each part written aside and renamed. `join PREFIX CHECKPOINT` makes the directory again, its weights in 32 bits as the loop keeps them.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from runs.directory import RUN
from runs.files import write_atomically
from train.nano.checkpoint import STATE

PART = 15 * 2**20  # bytes
WEIGHTS = "model.safetensors"
LEFT_OUT = (STATE, "log.jsonl", RUN)


def pack(checkpoint: Path, prefix: Path) -> None:
    """Write the parts of a checkpoint."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=3) as archive:
        for file in sorted(checkpoint.iterdir()):
            if file.is_file() and file.name not in LEFT_OUT and not file.name.startswith("."):
                content = file.read_bytes()
                _add(archive, file.name, _cast(content, np.float16) if file.name == WEIGHTS else content)
    parts = [packed.getvalue()[start : start + PART] for start in range(0, packed.tell(), PART)]
    for number, part in enumerate(parts):
        write_atomically(prefix.with_name(f"{prefix.name}.{number}"), part)
    for old in _parts(prefix)[len(parts) :]:  # of a longer one before
        old.unlink()
    print(f"{checkpoint}: {packed.tell() / 2**20:.1f} MiB in {len(parts)} files")


def join(prefix: Path, checkpoint: Path) -> None:
    """Make a checkpoint's directory of its parts."""
    packed = b"".join(part.read_bytes() for part in _parts(prefix))
    checkpoint.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(checkpoint, filter="data")
    weights = checkpoint / WEIGHTS
    weights.write_bytes(_cast(weights.read_bytes(), np.float32))


def _parts(prefix: Path) -> list[Path]:
    """Return the parts that are there, in their order."""
    return sorted(prefix.parent.glob(f"{prefix.name}.[0-9]*"), key=lambda part: int(part.suffix[1:]))


def _cast(content: bytes, dtype: type) -> bytes:
    weights = {name: weight.astype(dtype) for name, weight in load(content).items()}
    return bytes(save(weights, metadata={"format": "pt"}))


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def main() -> int:
    """Pack or join, and return the exit code: 1 where there is nothing to pack or to join."""
    parser = argparse.ArgumentParser(description="Pack a checkpoint into small files, or join them again.")
    acts = parser.add_subparsers(dest="act", required=True)
    for act, source, target, does in (
        ("pack", "CHECKPOINT", "PREFIX", "write PREFIX.0, PREFIX.1, ... of a checkpoint's directory"),
        ("join", "PREFIX", "CHECKPOINT", "make a checkpoint's directory of PREFIX.0, PREFIX.1, ..."),
    ):
        command = acts.add_parser(act, help=does, description=does)
        command.add_argument("source", metavar=source, type=Path)
        command.add_argument("target", metavar=target, type=Path)
    args = parser.parse_args()
    if args.act == "pack" and not (args.source / WEIGHTS).is_file():
        lacks = f"Expected a checkpoint in {str(args.source)!r}, and it has no {WEIGHTS}."
    elif args.act == "join" and not _parts(args.source):
        lacks = f"Expected {args.source}.0 and so on, as `pack` writes them, and there are none."
    else:
        {"pack": pack, "join": join}[args.act](args.source, args.target)
        return 0
    print(lacks, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
