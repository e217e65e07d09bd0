"""Bake games for the demo's arena: python -m eval.bake_arena out/cross

Takes the first briefs of a cross-play, without a look at who won, with what every attacker wrote and every defender answered, and the figures of all pairs. The
generator has to be among the attackers: its incident in the same world is what a defender is asked before the attacker's, as a win counts only where the defender was
right before. The heat map goes to docs/images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.attempts import RESULT, PlayedResult, load_defenders, open_played, read_played
from eval.cross_table import heat_map, save_both
from eval.runs import Run
from players import labels
from rubric import verdict_of
from runs.arguments import positive
from runs.ending import refusing
from runs.files import write_output
from schema import BadRequestError

BEFORE = "generator"
ROUNDS = 10
OUT, IMAGES = Path("data/demo_arena.json"), Path("docs/images")


def bake(directory: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return the arena's file.

    Returns:
        `command`, `commit` and `split` of the cross-play; `briefs`, each `{"task", "seed", "asked"}`; `incidents`, by attacker the reply to each brief; `games`, one an attacker and
        defender, with `answers` (the reply to each brief's incident, None where there is none) and `verdicts`; `pairs`, as the cross-play measured them.

    Raises:
        BadRequestError: the directory holds no complete cross-play, or none with the generator.
    """
    played, result = read_played(directory / RESULT, PlayedResult)
    run, attackers = played.run, list(played.attackers)
    if BEFORE not in attackers:
        raise BadRequestError(
            f"Expected the attacker {BEFORE!r} in {str(directory)!r}, and it has {', '.join(attackers)}; play with it."
        )
    briefs, store = open_played(directory, run)
    briefs = briefs[:rounds]
    ids = [brief.id for brief in briefs]
    for attacker in attackers:
        store.of(attacker)  # or the reason why there are not all
    runs = load_defenders(directory)
    return {
        "command": run.command,
        "commit": run.commit,
        "split": run.split,
        "briefs": [{"task": brief.task, "seed": brief.seed, "asked": brief.asked} for brief in briefs],
        "incidents": {attacker: [store.replies[attacker, id_] for id_ in ids] for attacker in attackers},
        "games": [_game(defender, attacker, ids) for attacker in attackers for defender in runs],
        "pairs": result["pairs"],
    }


def _game(run: Run, attacker: str, ids: Sequence[str]) -> dict[str, Any]:
    befores, afters = ({row["id"]: row for row in run.by_set.get(name, [])} for name in (BEFORE, attacker))
    return {
        "attacker": attacker,
        "defender": run.name,
        "answers": [afters[id_]["reply"] if id_ in afters else None for id_ in ids],
        "verdicts": [verdict_of(_is_right(befores.get(id_)), _is_right(afters.get(id_))) for id_ in ids],
    }


def _is_right(row: Mapping[str, Any] | None) -> bool | None:
    return None if row is None else bool(row["action"] == row["label"])


def _named(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cross-play's result for the heat map: an attacker that shares a defender's name goes by its label there."""
    names = {
        name: labels.ATTACKERS.get(name, name) if name in labels.DEFENDERS else name for name in result["attackers"]
    }
    pairs = [{**pair, "attacker": names[pair["attacker"]]} for pair in result["pairs"]]
    return {**result, "attackers": list(names.values()), "pairs": pairs}


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Bake the games; return 0, or 2 if there is no cross-play to bake."""
    parser = argparse.ArgumentParser(prog="python -m eval.bake_arena", description="Bake games for the demo's arena.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="that eval.cross_play wrote, with the generator")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help=f"of each game (default {ROUNDS})")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"where to write (default {OUT})")
    parser.add_argument(
        "--images", type=Path, default=IMAGES, metavar="DIR", help=f"for the heat map (default {IMAGES})"
    )
    args = parser.parse_args(argv)
    baked = bake(args.directory, args.rounds)
    save_both(heat_map(_named(read_played(args.directory / RESULT, PlayedResult)[1])), args.images)
    write_output(args.out, json.dumps(baked, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {args.out}: {len(baked['games'])} games of {len(baked['briefs'])} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
