"""A run's directory: what was asked and answered, kept so that a crash, a kill or a full disk costs nothing that was paid for.

    run.json         what runs: defender, sets, seed, commit, command, versions
    rollouts.jsonl   one line an item, in any order; appended and synced to disk batch by batch
    metrics.json     written when every item is answered

Opening the directory again resumes the run: a last line that a crash tore is dropped. A run with other settings is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eval.steps import score_steps
from players.base import Reply
from players.reply import parse
from players.scoring import score_reply
from rubric import TableName, read_triage
from runs.directory import RUN as RUN_FILE
from runs.directory import Run, complete, locked, open_run, settings_of
from runs.files import JsonLines, held_room, write_json
from schema import BadRequestError, Triage, shown

DECIDES = ("defender", "seed", "density", "reward_table", "sets")  # what a resumed run must share
ROLLOUTS, METRICS = "rollouts.jsonl", "metrics.json"
OPTIONAL = ("pair", "edit", "side", "tier", "wanted")  # what twins have


# ---------------------------------------------------------------- one line
def rollout(set_name: str, row: Mapping[str, Any], reply: Reply, table: TableName) -> dict[str, Any]:
    """Return the line of one answered item: the reply, how it was read, and what it earned.

    `reward` is None and `components` empty where the row has no ground truth (recorded telemetry); `steps` (`eval.steps.score_steps`) is None there, and
    where the answer gives no chain of reasons.
    """
    truth = row.get("ground_truth")
    log_ids = [line["log_id"] for line in row["observation"]["log_window"]]
    triage, fault, reward, components = _scored(row, reply, log_ids, table)
    answer = triage.model_dump() if triage else None
    evidence = list(truth["evidence_log_ids"]) if truth else []
    return {
        "id": row["id"],
        "set": set_name,
        "task": row["task"],
        "split": row["split"],
        "family": row["family"],
        "weight": row.get("weight", 1.0),
        "label": truth["action"] if truth else None,
        "evidence": evidence,
        "window": log_ids,
        **{name: row[name] for name in OPTIONAL if name in row},
        "prompt": reply.prompt,
        "reply": reply.text,
        "answer": answer,
        "action": triage.action if triage else None,
        "fault": reply.fault or fault,
        "reward": reward,
        "components": components,
        "steps": score_steps(row["observation"], answer, evidence) if truth else None,
        "latency_s": reply.latency_s,
        "usage": reply.usage,
    }


def _scored(
    row: Mapping[str, Any], reply: Reply, log_ids: list[str], table: TableName
) -> tuple[Triage | None, str, float | None, dict[str, float]]:
    if row.get("ground_truth"):
        score = score_reply(reply.text, row, table)
        return score.triage, score.fault, score.reward, score.components
    parsed = parse(reply.text)
    triage, fault = read_triage(parsed.answer, log_ids)
    return triage, parsed.fault or fault, None, {}


# ---------------------------------------------------------------- the directory
class RolloutStore:
    """The rollouts of a run whose directory is open: what is answered (`done`, as set and id) and what it cost (`spent`, USD)."""

    def __init__(self, out: Path, run: Run, log: JsonLines) -> None:
        self.out, self.run, self.log = out, run, log
        self.done: set[tuple[str, str]] = set()
        self.spent = 0.0
        log.cut()
        self._count(log.read())

    def append(self, rollouts: Sequence[Mapping[str, Any]]) -> None:
        """Store rollouts and count what they cost; they are on the disk when this returns.

        Raises:
            DiskFullError: there is no room; `stored` says whether these are stored all the same.
        """
        self._count(rollouts)
        self.log.append(rollouts)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json and mark the run as complete."""
        run = complete(self.run)
        write_json(self.out / METRICS, {"run": run, **metrics})
        write_json(self.out / RUN_FILE, run)

    def _count(self, rollouts: Iterable[Mapping[str, Any]]) -> None:
        for line in rollouts:
            self.done.add((line["set"], line["id"]))
            self.spent += cost_of(line)


def cost_of(line: Mapping[str, Any]) -> float:
    """Return what a stored line says that it cost, in USD; 0 where it says nothing.

    Raises:
        BadRequestError: it says no such number.
    """
    usage = line.get("usage") or {}
    cost = usage.get("cost") if isinstance(usage, dict) else usage
    if cost is None:
        return 0.0
    if not isinstance(cost, int | float) or not 0 <= cost < float("inf"):
        raise BadRequestError(
            f"Expected a usage with a cost of 0 USD or more of {shown(line['id'])}, and got {shown(usage)}; correct that line, or start over with --fresh."
        )
    return float(cost)


@contextmanager
def open_store(out: Path, run: Run, *, fresh: bool = False) -> Iterator[RolloutStore]:
    """Open a run's directory for one process, with room held back for the answers under way.

    Args:
        out: the directory; made if it is missing.
        run: what is written to run.json; `DECIDES` names the keys that a resumed run must share.
        fresh: forget the run that is there.

    Raises:
        BadRequestError: `out` is no directory, holds a run with other settings or is being written by another process.
        DiskFullError: there is no room to begin.
    """
    with locked(out):
        run = open_run(out, run, shares=settings_of(DECIDES), files=(ROLLOUTS, METRICS), fresh=fresh)
        with held_room(out / ".reserve") as reserve:
            yield RolloutStore(out, run, JsonLines(out / ROLLOUTS, texts=("id", "set"), sync=True, reserve=reserve))
