"""Bake the answers of a model's checkpoints for the demo: python -m eval.bake_demo --run NAME=DIR ... [--keep] | --rejudge

Items are drawn by a seed, as evenly as there are any over tasks and true actions, and without a look at the answers: they show what training
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
from schema import LABELS, BadRequestError, shown
from verifier.decision import judge_observation

PAIRS = 50
OUT = Path("data/demo_examples.json")
SHOWN = ("action", "answer", "fault", "reward", "reply")
MEASURES = ("accuracy", "mean_reward")  # of a checkpoint on the whole set


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


def bake(
    runs: Mapping[str, Run],
    name: str | None = None,
    *,
    about: Mapping[str, Mapping[str, Any]] | None = None,
    number: int = PAIRS,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the demo's file: what each checkpoint answered on the same items, with what a defender saw.

    Args:
        runs: one of each checkpoint, by its name, in the order of training.
        name: the set to draw from; the benchmark, or the first that all have, where none is given.
        about: by a checkpoint's name what its run does not know: `title`, `about`, `method` and `incidents` (seen in training).
        number: how many items.
        seed: of the draw.

    Raises:
        BadRequestError: the runs are not over the same version of the same set, or the set is not at hand.
    """
    first, *others = runs.values()
    chosen = shared_set([first, *others], name)
    rows = [{(row["set"], row["id"]): row for row in run.rollouts(chosen)} for run in runs.values()]
    for run, answered in zip(others, rows[1:], strict=True):
        check_same(first, rows[0], run, answered)
    frozen = {part: frozen_rows(first, part) for part in first.sha256(chosen)}
    pairs = [
        {
            **{part: row[part] for part in ("id", "set", "task", "split", "family", "label", "evidence")},
            "observation": frozen[row["set"]][row["id"]]["observation"],
            "answers": [{part: answered[row["set"], row["id"]].get(part) for part in SHOWN} for answered in rows],
        }
        for row in draw(first.rollouts(chosen), number, seed)
    ]
    checkpoints = [_about(key, run, chosen, (about or {}).get(key, {})) for key, run in runs.items()]
    return _counted(
        {
            "set": chosen,
            "sha256": first.sha256(chosen),
            "seed": seed,
            "drawn": "at random within each task and true action, without regard to the answers",
            "checkpoints": checkpoints,
            "pairs": pairs,
        }
    )


def _about(name: str, run: Run, chosen: str, more: Mapping[str, Any]) -> dict[str, Any]:
    metrics = run.metrics(chosen)
    figures = {
        measure: {part: metrics[measure][part] for part in ("value", "low", "high", "n")} for measure in MEASURES
    }
    return {
        "name": name,
        "title": more.get("title", name),
        "about": more.get("about", ""),
        "incidents": more.get("incidents"),
        "method": more.get("method", ""),
        "command": run.info.command_text,
        "commit": run.info.commit,
        **figures,
    }


def beside(baked: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored file with other checkpoints: one of a name that is there takes its place, others come last.

    Args:
        baked: the other checkpoints, on the same items.
        stored: the file that is kept.

    Raises:
        BadRequestError: the items are not the same.
    """

    def items(file: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        return file["sha256"], [pair["id"] for pair in file["pairs"]]

    def columns(file: Mapping[str, Any]) -> dict[str, tuple[Any, list[Any]]]:
        """Return each checkpoint by its name, with its answers."""
        answers = zip(*(pair["answers"] for pair in file["pairs"]), strict=True)
        return {each["name"]: (each, list(given)) for each, given in zip(file["checkpoints"], answers, strict=True)}

    if items(baked) != items(stored):
        raise BadRequestError(
            "Expected a run on the items that are stored, and its are others; give --set, --pairs and --seed as they were."
        )
    checkpoints, answers = zip(*(columns(stored) | columns(baked)).values(), strict=True)
    pairs = [
        {**pair, "answers": list(given)} for pair, given in zip(baked["pairs"], zip(*answers, strict=True), strict=True)
    ]
    return _counted({**stored, "checkpoints": list(checkpoints), "pairs": pairs})


def rejudge(baked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a baked file whose incidents and replies are judged by today's verifier: for a file that is older than a rule."""
    return _counted({**baked, "pairs": [_rejudged(pair) for pair in baked["pairs"]]})


def _rejudged(pair: Mapping[str, Any]) -> dict[str, Any]:
    truth = judge_observation(pair["observation"])
    item = {"observation": pair["observation"], "ground_truth": truth}
    answers = []
    for answer in pair["answers"]:
        score = score_reply(answer["reply"], item)
        scored = {"action": score.action, "answer": score.answer, "fault": score.fault, "reward": score.reward}
        answers.append({**scored, "reply": answer["reply"]})
    return {**pair, "answers": answers, "label": truth.action, "evidence": list(truth.evidence_log_ids)}


def _counted(baked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a baked file whose checkpoints say how many of its items they answer right."""
    pairs = baked["pairs"]
    checkpoints = [
        {**each, "right": sum(pair["answers"][place]["action"] == pair["label"] for pair in pairs)}
        for place, each in enumerate(baked["checkpoints"])
    ]
    return {**baked, "checkpoints": checkpoints}


def _named(given: Sequence[str]) -> dict[str, str]:
    """Read NAME=DIR of each checkpoint."""
    parts = [text.partition("=") for text in given]
    if faulty := next((text for text, (name, _, path) in zip(given, parts, strict=True) if not name or not path), None):
        raise BadRequestError(f"Expected --run NAME=DIR, and got {shown(faulty)}; write the name before the directory.")
    names = {name: path for name, _, path in parts}
    if len(names) < len(given):
        raise BadRequestError("Expected each name once, and one came twice; give each checkpoint its own.")
    return names


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Bake the answers; return 0, or 2 if the runs do not fit together."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.bake_demo", description="Bake the answers of a model's checkpoints for the demo."
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="run of a checkpoint; give one for each, in the order of training",
    )
    parser.add_argument(
        "--about",
        type=Path,
        metavar="FILE",
        help="JSON: by a checkpoint's name its title, about, method and incidents (seen in training)",
    )
    parser.add_argument(
        "--rejudge", action="store_true", help="keep the replies of --out and judge them anew, after a rule changed"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the checkpoints of --out whose names are not given, on the same items"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"where to write (default {OUT})")
    parser.add_argument(
        "--set", dest="name", help="the set to draw from (default: benchmark, or the first that all have)"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"how many items (default {PAIRS})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    args = parser.parse_args(argv)
    if args.rejudge == bool(args.run):
        parser.error("expected --run NAME=DIR for each checkpoint, or --rejudge alone")
    if args.rejudge:
        baked = rejudge(json.loads(args.out.read_text("utf-8")))
    else:
        baked = bake(
            {name: load_run(path) for name, path in _named(args.run).items()},
            args.name,
            about=json.loads(args.about.read_text("utf-8")) if args.about else None,
            number=args.pairs,
            seed=args.seed,
        )
        if args.keep:
            baked = beside(baked, json.loads(args.out.read_text("utf-8")))
    write_output(args.out, json.dumps(baked, indent=1, sort_keys=True) + "\n")
    counts = ", ".join(f"{each['name']} {each['right']}" for each in baked["checkpoints"])
    print(f"wrote {args.out}: {len(baked['pairs'])} items; right: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
