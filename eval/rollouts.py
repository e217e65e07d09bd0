"""A run's directory: what was asked and answered, kept so that a crash, a kill or a full disk costs nothing that was paid for.

    run.json         what runs: defender, sets, seed, commit, command, versions
    rollouts.jsonl   one line an item, in any order; appended and synced to disk batch by batch
    metrics.json     written when every item is answered

Opening the directory again goes on where it stopped: a last line that a crash tore is dropped. A run with other settings is refused.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from players.base import Reply
from players.prompt import parse
from rubric import TableName, read_triage, score_triage
from schema import BadRequestError, OpenSOCError
from verifier import GroundTruth

DECIDES = ("defender", "seed", "density", "reward_table", "sets")  # what a resumed run must share
FULL = (errno.ENOSPC, errno.EDQUOT)
RESERVE = 16 * 2**20  # bytes: what 64 requests under way may still bring, prompts of 100 KB and all
OPTIONAL = ("pair", "edit", "side", "tier", "wanted")  # what twins have


class DiskFullError(OpenSOCError):
    """There is no room for more rollouts; `stored` says whether these were still stored."""

    def __init__(self, out: Path, *, stored: bool) -> None:
        fate = "what was answered is stored" if stored else "the answers that came last are not stored"
        super().__init__(
            f"Expected room for the run in {str(out)!r}, and the disk is full; {fate}. Make room and run the same command again."
        )
        self.stored = stored


# ---------------------------------------------------------------- one line
def rollout(set_name: str, row: Mapping[str, Any], reply: Reply, table: TableName) -> dict[str, Any]:
    """The line of one answered item: what was said, how it was read, and what it earned.

    `reward` is None and `components` empty where the row has no ground truth (recorded telemetry).
    """
    parsed = parse(reply.text) if reply.text is not None else None
    answer = parsed.answer if parsed else None
    truth = row.get("ground_truth")
    log_ids = [line["log_id"] for line in row["observation"]["log_window"]]
    reward: float | None
    if truth:
        triage, fault, reward, components = score_triage(answer, as_truth(truth), log_ids, table)
    else:
        triage, fault = read_triage(answer, log_ids)
        reward, components = None, {}
    return {
        "id": row["id"],
        "set": set_name,
        "task": row["task"],
        "split": row["split"],
        "family": row["family"],
        "weight": row.get("weight", 1.0),
        "label": truth["action"] if truth else None,
        "evidence": list(truth["evidence_log_ids"]) if truth else [],
        "window": log_ids,
        **{name: row[name] for name in OPTIONAL if name in row},
        "prompt": reply.prompt,
        "reply": reply.text,
        "answer": triage.model_dump() if triage else None,
        "action": triage.action if triage else None,
        "fault": reply.fault or (parsed.fault if parsed else "") or fault,
        "reward": reward,
        "components": components,
        "latency_s": reply.latency_s,
        "usage": reply.usage,
    }


def as_truth(stored: Mapping[str, Any]) -> GroundTruth:
    """A stored ground truth as the rubric takes it; findings and explanation are not stored."""
    names = ("evidence_log_ids", "techniques", "rule_ids")
    evidence, techniques, rule_ids = (tuple(stored.get(name, ())) for name in names)
    return GroundTruth(stored["action"], (), evidence, techniques, rule_ids, "")


def read_rollouts(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a rollouts file, without a torn last one.

    Raises:
        BadRequestError: a line before the last is no JSON object.
    """
    return (found for found, _ in _lines(path))


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines of a rollouts file with their lengths in bytes."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            found = _whole(line)
            if found is None:
                if handle.read(1):
                    raise BadRequestError(
                        f"Expected a rollout in line {number} of {str(path)!r}, and found something else; "
                        "remove that line to have the item asked again, or start over with --fresh."
                    )
                return
            yield found, len(line)


def _whole(line: bytes) -> dict[str, Any] | None:
    """A line's object, or None for a line that is not whole."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "id" in found and "set" in found else None


# ---------------------------------------------------------------- the directory
class RunDirectory:
    """Open for one process at a time; a context manager.

    Args:
        out: the directory; made where it is missing.
        run: what is written to run.json; `DECIDES` names the keys that a resumed run must share.
        fresh: forget the run that is there.

    Raises:
        BadRequestError: `out` is no directory, holds a run with other settings or is being written by another process.
        DiskFullError: there is no room to begin.
    """

    def __init__(self, out: Path, run: dict[str, Any], *, fresh: bool = False) -> None:
        self.out = out
        self.run = run
        self.done: set[tuple[str, str]] = set()
        self.spent = 0.0  # USD
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._file = (out / "rollouts.jsonl").open("a+b", buffering=0)
        except OSError as error:
            raise BadRequestError(
                f"Expected a directory to write to at {str(out)!r}, and got {type(error).__name__}: {error.strerror}; give another --out."
            ) from error
        try:
            self._lock()
            if fresh:
                self._forget()
            self._take_up()
            self._keep_room()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reserve.unlink(missing_ok=True)
        self._file.close()

    @property
    def rollouts(self) -> Path:
        """Where the lines are."""
        return self.out / "rollouts.jsonl"

    @property
    def _reserve(self) -> Path:
        return self.out / ".reserve"

    def append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Store lines and count what they cost; they are on the disk when this returns.

        Raises:
            DiskFullError: there is no room; the file holds whole lines all the same, these too where `stored` is True.
        """
        self.spent += sum(map(_cost, lines))
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(
            "utf-8", "backslashreplace"
        )
        if not self._written(data):
            self._reserve.unlink(missing_ok=True)
            raise DiskFullError(self.out, stored=self._written(data))

    def finish(self, metrics: Mapping[str, Any], finished: str) -> None:
        """Write metrics.json and mark the run as complete."""
        self.run |= {"finished": finished, "complete": True}
        self._save("metrics.json", {"run": self.run, **metrics})
        self._save("run.json", self.run)

    # ------------------------------------------------------------ opening
    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadRequestError(
                f"Expected nobody else to write to {str(self.out)!r}, and another run does; wait for it or give another --out."
            ) from error

    def _forget(self) -> None:
        self._file.truncate(0)
        for name in ("run.json", "metrics.json"):
            (self.out / name).unlink(missing_ok=True)

    def _take_up(self) -> None:
        """Compare with the run that is there, and read what it has answered."""
        path = self.out / "run.json"
        if path.exists():
            self._compare(path)
        elif self.rollouts.stat().st_size:
            raise BadRequestError(
                f"Expected run.json beside the rollouts in {str(self.out)!r}, and there is none; give another --out or start over with --fresh."
            )
        end = 0
        for line, size in _lines(self.rollouts):
            self.done.add((line["set"], line["id"]))
            self.spent += _cost(line)
            end += size
        self._file.truncate(end)
        self._save("run.json", self.run)

    def _compare(self, path: Path) -> None:
        try:
            before = json.loads(path.read_text("utf-8"))
            different = [name for name in DECIDES if before[name] != json.loads(json.dumps(self.run[name]))]
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequestError(
                f"Expected a run in {str(path)!r}, and got {type(error).__name__}: {error}; give another --out or start over with --fresh."
            ) from error
        if different:
            told = "; ".join(f"{name} was {_short(before[name])}, is {_short(self.run[name])}" for name in different)
            raise BadRequestError(
                f"Expected the settings of the run in {str(self.out)!r}, and others came: {told}. "
                "Give the same settings, another --out, or --fresh to start over."
            )
        again = {"at": self.run["started"], "commit": self.run["commit"], "command": self.run["command"]}
        self.run = {**before, "resumed": [*before.get("resumed", []), again], "finished": None, "complete": False}

    # ------------------------------------------------------------ writing
    def _keep_room(self) -> None:
        """Hold room back, which is freed for what is under way once the disk is full."""
        try:
            with self._reserve.open("wb") as handle:
                os.posix_fallocate(handle.fileno(), 0, RESERVE)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            if error.errno in FULL:
                raise DiskFullError(self.out, stored=True) from error
            # a file system that cannot hold room back is no reason not to run

    def _written(self, data: bytes) -> bool:
        """Whether all bytes are on the disk; none are, otherwise."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            _write_all(self._file.fileno(), data)
        except OSError as error:
            self._file.truncate(before)
            if error.errno in FULL:
                return False
            raise
        return True

    def _save(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small file whole or not at all."""
        fresh = self.out / f".{name}.new"
        try:
            fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
            fresh.replace(self.out / name)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            if error.errno in FULL:
                raise DiskFullError(self.out, stored=True) from error
            raise


def _cost(line: Mapping[str, Any]) -> float:
    """What an answer cost, in USD."""
    return (line.get("usage") or {}).get("cost") or 0.0


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
