"""Score the stored replies of a run again, with today's parser, verifier and rubric: python -m eval.reverify RUN

Each item is taken from its frozen set, by name and hash, so that nothing the run says about itself is believed: the truth is computed from
the set's observation, the answer read from the stored reply, the reward computed from both. What differs from the run is drift.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.items import FRESH, fresh
from eval.runs import Run, load_run
from eval.steps import score_steps
from players.scoring import score_reply
from rubric import TableName
from runs.ending import refusing
from runs.progress import track
from schema import BadRequestError
from tasks.sets import NAMES as FROZEN
from verifier.decision import judge_observation

SHOWN = 20  # drifts that are listed in a terminal
SAME_REWARD = 1e-6
Rows = Mapping[str, Mapping[str, Any]]  # frozen rows by id


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is another today: `what` is label, evidence, action, reward, steps, or the name of a field that the set gives."""

    id: str
    set: str
    what: str
    was: Any
    now: Any


GIVEN = (
    "task",
    "split",
    "family",
    "weight",
    "pair",
    "edit",
    "side",
    "tier",
)  # what a rollout repeats of its frozen row


def _rescore(row: Mapping[str, Any], rollout: Mapping[str, Any], table: TableName) -> dict[str, Any]:
    """Compute anew what a rollout says of an item.

    Args:
        row: the item's frozen row.
        rollout: the stored rollout; its reply is read, and whether it has `steps`.
        table: the reward table.
    """
    truth = judge_observation(row["observation"])
    score = score_reply(rollout["reply"], {"observation": row["observation"], "ground_truth": truth}, table)
    steps = score_steps(row["observation"], score.answer, truth.evidence_log_ids) if "steps" in rollout else None
    return {
        **{name: row[name] for name in GIVEN if name in row},
        "label": truth.action,
        "evidence": list(truth.evidence_log_ids),
        "action": score.action,
        "answer": score.answer,
        "reward": score.reward,
        "steps": steps,
    }


def drifts(row: Mapping[str, Any], rollout: Mapping[str, Any], table: TableName) -> Iterator[Drift]:
    """Yield what of a stored rollout differs from its score today."""
    for what, now in _rescore(row, rollout, table).items():
        was: Any = rollout.get(what)
        if what == "reward":
            same = abs(was - now) <= SAME_REWARD
        elif what == "evidence":
            same = sorted(was) == sorted(now)
        elif what == "answer":
            same = _essence(was) == _essence(now)
        else:
            same = was == now
        if not same:
            yield Drift(rollout["id"], rollout["set"], what, was, now)


def _essence(answer: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    """Return the parts of an answer that are measured."""
    return (answer["action"], answer["cited_log_id"], answer.get("confidence")) if answer else None


def frozen_rows(run: Run, name: str) -> Rows:
    """Return the rows of one of a run's sets by id: of a frozen set from its file, of `val` and `val_family` made again.

    Raises:
        BadRequestError: there is no such frozen set, its file is not what the manifest says, or it is not the version that the run names.
    """
    from tasks.sets import load_set

    [info] = (part for part in run.info.sets if part.name == name)
    if name not in (*FRESH, *FROZEN):
        raise BadRequestError(
            f"Expected one of {', '.join((*FROZEN, *FRESH))}, and {str(run.path)!r} is over {name!r}, a file of its own, which is not kept here; "
            "run one of those sets."
        )
    items = fresh(name, info.items, run.info.seed) if name in FRESH else load_set(name)
    if items.sha256 != info.sha256:
        raise BadRequestError(
            f"Expected {name} with the hash {info.sha256} that the run names, and the set here has {items.sha256}; "
            "check out the version that the run was made with, or run it again on this one."
        )
    return {row["id"]: row for row in items.rows}


def reverify(run: Run) -> list[Drift]:
    """List everything in a run that is scored otherwise today, in the run's order.

    Args:
        run: a complete run.

    Raises:
        BadRequestError: a set is missing, is another version, or has other items than the run.
    """
    rows = {part.name: frozen_rows(run, part.name) for part in run.info.sets}
    for name, frozen in rows.items():
        apart = sorted(frozen.keys() ^ {row["id"] for row in run.by_set[name]})
        if apart:
            raise BadRequestError(
                f"Expected the {len(frozen)} items of {name} in {str(run.path)!r}, and {apart[0]!r} is in one of both only; "
                "run the whole set."
            )
    rollouts = [row for name in rows for row in run.by_set[name]]
    table = run.info.reward_table
    tracked = track(rollouts, "rollouts", total=len(rollouts))
    return [drift for row in tracked for drift in drifts(rows[row["set"]][row["id"]], row, table)]


# ---------------------------------------------------------------- for people
@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Score a run again and print what differs; return 0 if nothing does, 1 if something does, 2 if the run cannot be scored."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.reverify", description="Score the stored replies of a run again and report drift."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory that eval.run wrote")
    parser.add_argument("--json", action="store_true", help="print every drift as JSON")
    args = parser.parse_args(argv)
    run = load_run(args.run)
    changes = reverify(run)
    items = sum(len(rows) for rows in run.by_set.values())
    by_kind = dict(Counter(drift.what for drift in changes))
    if args.json:
        about = {"run": str(run.path), "defender": run.name, "items": items, "drift": by_kind}
        print(json.dumps({**about, "changed": [asdict(drift) for drift in changes]}, indent=1))
    elif not changes:
        print(f"{run.name}: {items} rollouts, each scored today as it was.")
    else:
        touched = len({(drift.set, drift.id) for drift in changes})
        kinds = ", ".join(f"{what} {count}" for what, count in by_kind.items())
        print(f"{run.name}: {touched} of {items} rollouts are scored otherwise today ({kinds}).")
        for drift in changes[:SHOWN]:
            print(f"  {drift.set} {drift.id}: {drift.what} was {drift.was!r} and is {drift.now!r}")
        if len(changes) > SHOWN:
            print(f"  and {len(changes) - SHOWN} more; --json lists all")
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
