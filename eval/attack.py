"""Let an attacker write incidents, and judge them: python -m eval.attack --attacker edits --n 200 --out out/edits

An attacker is a built-in (`--attacker list` names them), a directory with a model, an adapter or a checkpoint, the URL of an OpenAI-compatible endpoint, module:function, or a file of stored
incidents (.jsonl). The directory `--out` gets run.json (what ran), incidents.jsonl (one line a brief: what was written) and, when all is written, judged.jsonl (what became of each incident) and
metrics.json. The same command resumes a run that ended early, and asks nothing twice. `eval.cross_play` plays attackers against defenders, `eval.leaderboard add` puts the directory on the board.

Exit code: 0 all written and judged; 1 stopped before the end (the same command resumes); 2 a wrong call or other settings in `--out`; 130 interrupted (the same command resumes).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.asking import add_asking, add_tries, check_numbers, keep, options_of
from eval.attacks import INCIDENTS, JUDGED, SPLIT, briefs_of, judge, measure_attempts, verdict
from eval.metric_table import interval_text, value_text
from eval.rollouts import cost_of
from players.attackers import ATTACKERS, Attacker, open_attacker
from players.attackers.base import Brief
from players.attackers.stored import read_stored, stored_line
from runs.directory import Run, close_run, locked, new_run, open_run, settings_of
from runs.ending import DONE, exit_code, interruptible
from runs.extras import require
from runs.files import JsonLines, held_room, write_atomically, write_json
from runs.progress import progress
from tasks.registry import SPLITS

METRICS = "metrics.json"
DECIDES = ("attacker", "seed", "split", "briefs")  # what a resumed run must share
LIBRARIES = ("openai", "peft", "pydantic", "tenacity", "tokenizers", "torch", "transformers")


# ---------------------------------------------------------------- the call
def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.attack", description="Evaluate an attacker.", epilog=(__doc__ or "").split("\n\n")[-1]
    )
    add = parser.add_argument
    who = f"{', '.join(ATTACKERS)}; a directory; a URL; module:function; a file of stored incidents; or `list`"
    add("--attacker", required=True, metavar="NAME_OR_PATH_OR_URL", help=who)
    add("--out", type=Path, metavar="DIR", help="the run's directory; a run that is there is resumed")
    add("--name", default="", help="what to call the attacker in tables (default: its own name)")
    add("--n", type=int, default=200, metavar="N", help="briefs, the tasks and actions in turn (default: 200)")
    add("--split", choices=SPLITS, default=SPLIT, help=f"of the worlds (default: {SPLIT})")
    add("--seed", type=int, default=0, help="of the worlds and of what is drawn (default: 0)")
    add("--fresh", action="store_true", help="forget the run that is in --out and start over")
    add_asking(parser, max_tokens=4096)
    add_tries(parser)
    return parser.parse_args(argv)


def _describe(args: argparse.Namespace, argv: Sequence[str], attacker: Attacker) -> Run:
    return new_run(
        f"python -m eval.attack {shlex.join(argv)}",
        LIBRARIES,
        attacker=attacker.settings,
        seed=args.seed,
        split=args.split,
        briefs=args.n,
    )


# ---------------------------------------------------------------- writing and judging
def _write_incidents(log: JsonLines, attacker: Attacker, briefs: Sequence[Brief]) -> None:
    """Let the attacker answer the briefs that have no line yet, and store each batch as it arrives.

    Raises:
        BadRequestError: a line that is there is no incident, or of another version.
        StoppedError: it cannot go on; what arrived is stored.
        KeyboardInterrupt: it was asked to stop, and what was under way is stored.
    """
    log.cut()
    attacker.spent = sum(map(cost_of, log.read()))
    done = {incident.id for incident in read_stored(log.path)} if any(log.read()) else set()
    left = [brief for brief in briefs if brief.id not in done]
    stop = threading.Event()
    with (
        interruptible(stop, "Waiting for the incidents under way"),
        progress(len(briefs), "incidents", done=len(done)) as bar,
    ):
        keep(
            attacker.stream(left, stop),
            lambda batch: log.append([stored_line(left[index], reply) for index, reply in batch]),
            stop,
            bar,
        )
    if stop.is_set():
        raise KeyboardInterrupt


def attack(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Begin a run, or resume the one that is there, and measure it.

    Raises:
        StoppedError: it stopped before the end.
        OpenSOCError: a wrong call.
    """
    check_numbers(args)
    require("eval", "scipy")
    attacker = open_attacker(args.attacker, options_of(args))
    attacker.name = args.name or attacker.name
    run, files = _describe(args, argv, attacker), (INCIDENTS, JUDGED, METRICS)
    briefs = briefs_of(args.split, args.n, args.seed)
    with locked(args.out):
        run = open_run(args.out, run, shares=settings_of(DECIDES), files=files, fresh=args.fresh)
        with held_room(args.out / ".reserve") as reserve:
            log = JsonLines(args.out / INCIDENTS, keys=("craft_incident",), texts=("id",), sync=True, reserve=reserve)
            _write_incidents(log, attacker, briefs)
        attempts = judge(briefs, read_stored(args.out / INCIDENTS))
        metrics = measure_attempts(attempts)
        write_atomically(args.out / JUDGED, "".join(json.dumps(verdict(row)) + "\n" for row in attempts))
        write_json(args.out / METRICS, metrics)
        close_run(args.out, run)
    _print(attacker.name, metrics, args.out)


def _print(name: str, metrics: Mapping[str, Any], out: Path) -> None:
    """Print the shares and why incidents were refused."""
    print(f"{name} on {metrics['briefs']} briefs")
    for metric in ("admission", "as_asked"):
        if metrics[metric]:
            print(f"  {metric:16} {value_text(metrics[metric])} ({interval_text(metrics[metric], '-')})")
    print(f"  {'plays':16} {metrics['plays']} different")
    print(f"  {'self-similarity':16} {metrics['self_similarity']}")
    for refusal in metrics["refusals"]:
        print(f"  {refusal['count']} refused by the {refusal['by']}: {refusal['kind']}")
    print(f"All of it: {out / METRICS}")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _arguments(argv)
    if args.attacker == "list":
        print("\n".join(f"{name:24}{entry.summary}" for name, entry in ATTACKERS.items()))
        return DONE
    return exit_code(lambda: attack(args, argv), "what was written is stored")


if __name__ == "__main__":
    sys.exit(main())
