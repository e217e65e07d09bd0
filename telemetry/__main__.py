"""Judge recorded telemetry with the verifier, and ask a model beside it: python -m telemetry FILE...

A file is one recording, a folder is read with its subfolders; `docs/real_logs.md` lists the formats. Every record becomes
an event of `schema.py` or is left out with a reason (`telemetry.importers`), a rule that is blind to labels chooses a window
of at most 40 events (`telemetry.windowing`), and the verifier judges it in an empty world or in the one that `--world`
declares. `--defender` asks a player about the same window. With a manifest of labels the decisions are scored: how many
malicious recordings are noticed and acted upon, and how many benign ones.

    python -m telemetry export.evtx
    python -m telemetry --defender embedded --html report.html DIR
    python -m telemetry world --example world.yaml

Exit code: 0, or 1 if a file could not be read or holds no usable event or the player failed, or 2 for a wrong call.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from players import open_player
from players.base import Options, PlayerError
from runs.extras import require
from runs.files import write_output
from runs.progress import progress
from schema import OpenSOCError
from telemetry.declaring import EXAMPLE, load_world
from telemetry.judging import Judgement, find_files, judge_files, sizes
from telemetry.page import render_page
from telemetry.printing import print_report, summarise
from telemetry.scoring import Decision, load_manifest, score
from telemetry.triaging import triage_recordings

MEGABYTE = 1_000_000
LINE_S, MANY_MEGABYTES = (
    10,
    100,
)  # where nobody watches: seconds between two lines on how much was read, and from what size on


def main(argv: Sequence[str] | None = None) -> int:
    """Judge what the command line names, print the report, and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["world"]:
        return _world(words[1:])
    args = _arguments(words)
    try:
        world = load_world(args.world)
        labels = load_manifest(args.manifest) if args.manifest else None
        player = open_player(args.defender, Options(density="compact")) if args.defender else None
        if args.manifest:
            require("eval", "scipy")
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 2
    files, errors, skipped = find_files(args.places, manifest=args.manifest)
    total = sum(sizes(files)) / MEGABYTE
    with progress(total, "MB", line_s=LINE_S if total > MANY_MEGABYTES else None) as bar:
        judgements = list(judge_files(files, world, lambda done: bar.update(done / MEGABYTE)))
    errors += [judgement.error for judgement in judgements if judgement.error]
    if player:
        try:
            triage_recordings(player, judgements, world)
        except PlayerError as error:
            errors.append(str(error))
    for sentence in (*errors, *(f"Left out {sentence}" for sentence in skipped)):
        print(sentence, file=sys.stderr)
    summary = summarise(judgements, f"declared in {args.world}" if args.world else "empty (nothing declared)")
    summary["files_skipped"] = skipped
    if labels is not None:
        summary["score"] = score([_decision(judgement) for judgement in judgements], labels)
    _report(args, judgements, summary)
    return 1 if errors or not judgements or not all(judgement.action for judgement in judgements) else 0


def _decision(judgement: Judgement) -> Decision:
    action, without = judgement.action, judgement.action_without_log_clear
    return Decision(judgement.file, action, without, judgement.records, is_read=bool(judgement.events_used))


def _report(args: argparse.Namespace, judgements: Sequence[Judgement], summary: Mapping[str, Any]) -> None:
    if args.html:
        write_output(args.html, render_page(judgements, summary))
        print(f"wrote {args.html}", file=sys.stderr)
    if args.json:
        rows = [judgement.row(details=args.details) for judgement in judgements]
        print(json.dumps({"recordings": rows, "summary": summary}, indent=1))
    elif judgements:
        print_report(judgements, summary, details=args.details)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m telemetry",
        description="Judge recorded telemetry with the verifier, and ask a model beside it.",
        epilog="`python -m telemetry world --example` writes a world to declare.",
    )
    parser.add_argument(
        "places",
        nargs="*",
        type=Path,
        metavar="DIR_OR_FILES",
        help="recordings; folders are read with their subfolders (with --manifest by default the manifest's folder)",
    )
    parser.add_argument(
        "--manifest", type=Path, metavar="CSV", help="labels to score against: columns file and malicious (yes or no)"
    )
    parser.add_argument(
        "--world",
        type=Path,
        metavar="FILE",
        help="YAML or JSON that declares the organisation around the recordings; else empty",
    )
    parser.add_argument(
        "--defender",
        metavar="PLAYER",
        help="ask a player too: embedded (the model that OpenSOC ships), another name, a model's directory, an endpoint's URL",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page that stands alone")
    parser.add_argument(
        "--details", action="store_true", help="say for every record what it became or why it was left out"
    )
    args = parser.parse_args(argv)
    if not args.places and args.manifest is None:
        parser.error("expected a folder or files of recordings, or --manifest with the folder it lies in")
    args.places = args.places or [args.manifest.parent]
    return args


def _world(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m telemetry world", description="Declare the organisation around recordings, for --world."
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--example",
        nargs="?",
        type=Path,
        const=Path("-"),
        metavar="FILE",
        help="write an example with every part, as YAML: to a file, or to standard output",
    )
    choice.add_argument(
        "--check", type=Path, metavar="FILE", help="say whether a file declares a world, and if not, why"
    )
    args = parser.parse_args(argv)
    if args.example:
        return _write_example(args.example)
    try:
        world = load_world(args.check)
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 2
    parts = {
        "hosts": world.hosts,
        "accounts": world.accounts,
        "tools": world.tools,
        "scanners": world.scanners,
        "tickets": world.tickets,
    }
    print(f"{args.check} declares " + ", ".join(f"{len(rows)} {name}" for name, rows in parts.items()) + ".")
    return 0


def _write_example(path: Path) -> int:
    if path == Path("-"):
        sys.stdout.write(EXAMPLE)
        return 0
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE)
    except OSError as error:
        print(f"Expected a new file that can be written, and got {error}; name another.", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
