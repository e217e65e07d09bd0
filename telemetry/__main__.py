"""Judge recorded telemetry with the verifier: python -m telemetry [--json] DIR_OR_FILES...

Reads JSON lines (.jsonl, .json, also gzipped), JSON arrays, tables (.csv) and plain log text (.log, .txt); one file
is one recording. Every record becomes an event of `schema.py` or is skipped with a reason (`telemetry.importers`), a
window of at most 40 events is chosen by a rule that is blind to labels (`telemetry.windowing`), and the verifier judges it
in an empty world or in the one that `--world` declares (a JSON object in the shape of `schema.Context`). With a
manifest of labels the decisions are scored: how many malicious recordings are noticed and acted upon, and how many
benign ones.

Exit code: 0, or 1 if a file could not be read or nothing was found, or 2 for a wrong call.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs.ending import refusing
from runs.extras import require
from runs.progress import track
from telemetry.judging import Judgement, find_files, judge_files, load_world
from telemetry.scoring import Decision, load_manifest, score, score_tables

if TYPE_CHECKING:
    from rich.console import Console


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Judge what the command line names, print the report, and return the exit code."""
    args = _arguments(argv)
    world = load_world(args.world)
    labels = load_manifest(args.manifest) if args.manifest else None
    if args.manifest:
        require("eval", "scipy")
    files, errors = find_files(args.places)
    files = [(name, path) for name, path in files if args.manifest is None or not path.samefile(args.manifest)]
    judgements = list(track(judge_files(files, world), "recordings", total=len(files)))
    errors += [judgement.error for judgement in judgements if judgement.error]
    for sentence in errors:
        print(sentence, file=sys.stderr)
    summary = summarise(judgements, f"declared in {args.world}" if args.world else "empty (nothing declared)")
    if labels is not None:
        summary["score"] = score(
            [
                Decision(judgement.file, judgement.action, judgement.action_without_log_clear, judgement.records)
                for judgement in judgements
            ],
            labels,
        )
    if args.json:
        print(
            json.dumps(
                {"recordings": [judgement.row(details=args.details) for judgement in judgements], "summary": summary},
                indent=1,
            )
        )
    else:
        _print_table(judgements, details=args.details)
        _print_summary(summary)
    return 1 if errors or not judgements else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m telemetry", description="Judge recorded telemetry with the verifier."
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
        "--world", type=Path, metavar="JSON", help="the organisation around the recordings (schema.Context); else empty"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--details", action="store_true", help="say for every record what it became or why it was left out"
    )
    args = parser.parse_args(argv)
    if not args.places and args.manifest is None:
        parser.error("expected a folder or files of recordings, or --manifest with the folder it lies in")
    args.places = args.places or [args.manifest.parent]
    return args


def summarise(judgements: Sequence[Judgement], world: str) -> dict[str, Any]:
    """Sum up all recordings."""
    reasons: Counter[str] = Counter()
    for judgement in judgements:
        reasons.update(judgement.left_out_reasons)
    records = sum(judgement.records for judgement in judgements)
    window_full = sum(count for reason, count in reasons.items() if reason.startswith(("window full", "duplicate")))
    used = sum(judgement.events_used for judgement in judgements)
    return {
        "world": world,
        "recordings": len(judgements),
        "files_not_read": sum(bool(judgement.error) for judgement in judgements),
        "actions": dict(sorted(Counter(str(judgement.action) for judgement in judgements).items())),
        "records": records,
        "records_typed": used + window_full,
        "share_typed": round((used + window_full) / records, 4) if records else None,
        "events_used": used,
        "events_left_out": records - used,
        "left_out_reasons": dict(reasons.most_common()),
    }


# ---------------------------------------------------------------- tables
def _console() -> Console:
    """Open standard output; as wide as the terminal, or wide enough for the tables where it goes to a file."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=180)


def _print_table(judgements: Sequence[Judgement], *, details: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    table = Table("recording", "decision", "rules", "evidence", "used", "left out", title="What the verifier decides")
    for judgement in judgements:
        decision = judgement.action or f"none ({judgement.reason})"
        cells = (judgement.file, decision, ", ".join(judgement.rule_ids), " ".join(judgement.evidence_log_ids[:8]))
        table.add_row(*map(escape, cells), str(judgement.events_used), str(judgement.events_left_out))
    console.print(table)
    for judgement in judgements:
        if judgement.rule_ids or details:
            console.print(
                f"\n[bold]{escape(judgement.file)}[/bold]: {escape(judgement.explanation or judgement.reason)}",
                soft_wrap=True,
            )
            _print_lines(console, judgement, details=details)


def _print_lines(console: Console, judgement: Judgement, *, details: bool) -> None:
    from rich.markup import escape

    for event in judgement.events:
        if details or event["log_id"] in judgement.evidence_log_ids:
            fields = " ".join(f"{name}={value}" for name, value in event["fields"].items())
            console.print(
                f"  {event['log_id']} {event['timestamp']} {event['event_type']} {escape(fields)}",
                soft_wrap=True,
                highlight=False,
            )
    if details:
        for record, log_id, reason in judgement.became:
            console.print(
                f"  record {record}: {log_id or 'left out'}: {escape(reason)}", soft_wrap=True, highlight=False
            )


def _print_summary(summary: Mapping[str, Any]) -> None:
    from rich.table import Table

    console = _console()
    for title, columns, rows in score_tables(summary):
        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(
        f"{summary['recordings']} recordings, {summary['records']} records: {summary['records_typed']} became events "
        f"({summary['share_typed'] or 0:.1%}), {summary['events_used']} of them in windows. World: {summary['world']}.",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
