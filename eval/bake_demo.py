"""Bake pairs of answers before and after training for the demo: python -m eval.bake_demo --before RUN --after RUN | --rejudge

Items are drawn by a seed, as evenly as there are any over tasks and true actions, and without a look at the answers: the pairs show what training
changed, for better and for worse. The same runs and seed give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.compare import check_same
from eval.reverify import frozen_rows
from eval.runs import Run, load_run, shared_set
from players.scoring import score_reply
from runs.ending import refusing
from runs.files import write_output
from schema import LABELS
from verifier.decision import judge_observation

PAIRS = 50
OUT = Path("data/demo_examples.json")
SHOWN = ("action", "answer", "fault", "reward", "reply")


def draw(rollouts: Sequence[Mapping[str, Any]], number: int, seed: int) -> list[Mapping[str, Any]]:
    """Draw rollouts, in turn from each task and true action; all if there are fewer than `number`.

    Args:
        rollouts: of one run.
        number: how many to take.
        seed: of the order within a task and action; the order is a hash, so that other items do not move it.
    """
    piles: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rollouts:
        piles.setdefault((row["task"], LABELS.index(row["label"])), []).append(row)
    for pile in piles.values():
        pile.sort(key=lambda row: hashlib.sha256(f"{seed}/{row['set']}/{row['id']}".encode()).hexdigest())
    order = _diagonals(sorted({task for task, _ in piles}))
    rounds = itertools.zip_longest(*(piles.get(key, []) for key in order))
    return [row for turn in rounds for row in turn if row is not None][:number]


def _diagonals(tasks: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield every task with every action, ordered so that any run of neighbours has both nearly equally often."""
    for shift in range(len(tasks)):
        for label in range(len(LABELS)):
            yield tasks[(label + shift) % len(tasks)], label


def bake(before: Run, after: Run, name: str | None = None, *, number: int = PAIRS, seed: int = 0) -> dict[str, Any]:
    """Return the demo's file: what both runs answered on the same items, with what a defender saw.

    Raises:
        BadRequestError: the runs are not over the same version of the same set, or the set is not at hand.
    """
    chosen = shared_set([before, after], name)
    rows = [{(row["set"], row["id"]): row for row in run.rollouts(chosen)} for run in (before, after)]
    check_same(before, rows[0], after, rows[1])
    frozen = {part: frozen_rows(before, part) for part in before.sha256(chosen)}
    pairs = []
    for row in draw(before.rollouts(chosen), number, seed):
        key = (row["set"], row["id"])
        pairs.append(
            {
                **{part: row[part] for part in ("id", "set", "task", "split", "family", "label", "evidence")},
                "observation": frozen[row["set"]][row["id"]]["observation"],
                "before": {part: rows[0][key].get(part) for part in SHOWN},
                "after": {part: rows[1][key].get(part) for part in SHOWN},
            }
        )
    return {
        "set": chosen,
        "sha256": before.sha256(chosen),
        "seed": seed,
        "drawn": "at random within each task and true action, without regard to the answers",
        "before": _about(before),
        "after": _about(after),
        **_right(pairs),
        "pairs": pairs,
    }


def rejudge(baked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a baked file whose incidents and replies are judged by today's verifier: for a file that is older than a rule."""
    pairs = [_rejudged(pair) for pair in baked["pairs"]]
    return {**baked, **_right(pairs), "pairs": pairs}


def _rejudged(pair: Mapping[str, Any]) -> dict[str, Any]:
    truth = judge_observation(pair["observation"])
    item = {"observation": pair["observation"], "ground_truth": truth}
    answers = {}
    for when in ("before", "after"):
        reply = pair[when]["reply"]
        score = score_reply(reply, item)
        scored = {"action": score.action, "answer": score.answer, "fault": score.fault, "reward": score.reward}
        answers[when] = {**scored, "reply": reply}
    return {**pair, **answers, "label": truth.action, "evidence": list(truth.evidence_log_ids)}


def _right(pairs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {
        f"right_{when}": sum(pair[when]["action"] == pair["label"] for pair in pairs) for when in ("before", "after")
    }


def _about(run: Run) -> dict[str, Any]:
    return {"defender": run.name, "commit": run.info.commit, "command": run.info.command, "density": run.info.density}


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Bake the pairs; return 0, or 2 if the runs do not fit together."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.bake_demo", description="Bake before/after pairs for the demo."
    )
    parser.add_argument("--before", metavar="RUN", help="run of the untrained defender")
    parser.add_argument("--after", metavar="RUN", help="run of the trained defender")
    parser.add_argument(
        "--rejudge", action="store_true", help="keep the replies of --out and judge them anew, after a rule changed"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"where to write (default {OUT})")
    parser.add_argument(
        "--set", dest="name", help="the set to draw from (default: benchmark, or the first that both have)"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"how many (default {PAIRS})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    args = parser.parse_args(argv)
    if args.rejudge == bool(args.before and args.after):
        parser.error("expected --before and --after, or --rejudge alone")
    if args.rejudge:
        baked = rejudge(json.loads(args.out.read_text("utf-8")))
    else:
        baked = bake(load_run(args.before), load_run(args.after), args.name, number=args.pairs, seed=args.seed)
    write_output(args.out, json.dumps(baked, indent=1, sort_keys=True) + "\n")
    counts = f"{len(baked['pairs'])} pairs; right before {baked['right_before']}, after {baked['right_after']}"
    print(f"wrote {args.out}: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
