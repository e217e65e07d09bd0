"""Recorded telemetry in, the verifier's decision out: python -m telemetry [--json] DIR_OR_FILES...

Reads JSON lines (.jsonl, .json, also gzipped), JSON arrays, tables (.csv) and plain log text (.log, .txt); one file
is one recording. Every record becomes an event of `schema.py` or is left out with a reason (`telemetry.importers`), a
window of at most 40 events is chosen by a rule that is blind to labels (`telemetry.windowing`), and the verifier judges it
in an empty world or in the one that `--world` declares (a JSON object in the shape of `schema.Context`). With a
manifest of labels the decisions are scored: how many malicious recordings are noticed and acted upon, and how many
benign ones.

Exit code: 0, or 1 where a file could not be read or nothing was found, or 2 for a wrong call.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs.extras import require
from schema import Incident, OpenSOCError
from telemetry.importers import Draft, Left, import_records
from telemetry.importers.draft import to_event
from telemetry.importers.reading import SUFFIXES, FileError, read_records
from telemetry.scoring import load_manifest, score, score_tables
from telemetry.windowing import choose_window
from verifier import GroundTruth, compute_ground_truth
from world import World

if TYPE_CHECKING:
    from rich.console import Console

MANY_FILES = 24  # fewer are read faster in one process than a second one starts
NOTHING = "no usable event: "


@dataclass(slots=True)
class Judged:
    """One recording: the decision on it, what it rests on, and what became of every record."""

    file: str  # as the manifest names it: within the folder that was given, or the bare name
    path: str = ""
    action: str | None = None
    reason: str = ""  # why there is no decision
    error: str = ""  # why the file could not be read
    rule_ids: list[str] = field(default_factory=list)
    evidence_log_ids: list[str] = field(default_factory=list)
    techniques: list[str] = field(default_factory=list)
    explanation: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)
    records: int = 0
    events_used: int = 0
    events_left_out: int = 0
    left_out_reasons: dict[str, int] = field(default_factory=dict)
    action_without_log_clear: str | None = None
    event_types: dict[str, int] = field(default_factory=dict)
    became: list[tuple[int, str | None, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def row(self, *, details: bool) -> dict[str, Any]:
        """The recording as a row of the JSON report; `details` adds the events and what became of each record."""
        row = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in ("became", "events")}
        if details:
            row["records_became"] = [list(entry) for entry in self.became]
            row["events"] = self.events
        return row


# ---------------------------------------------------------------- one recording
def incident_of(drafts: Sequence[Draft]) -> Incident:
    """The incident of a window. Label and category are placeholders, which the verifier never reads."""
    events = [to_event(draft, f"L1-{number}").model_dump(exclude_none=True) for number, draft in enumerate(drafts, 1)]
    return Incident.model_validate({"target_label": "dismiss", "category": "benign_activity", "events": events})


def judge(records: Iterable[Mapping[str, Any] | Left], world: World, *, file: str = "") -> Judged:
    """Import one recording, choose its window and ask the verifier."""
    results = import_records(records, networks=world.networks)
    drafts = [result for result in results if isinstance(result, Draft)]
    kept, unchosen = choose_window(drafts)
    became: dict[int, tuple[str | None, str]] = {
        result.record: (None, result.reason) for result in results if isinstance(result, Left)
    }
    became |= {draft.record: (None, reason) for draft, reason in unchosen}
    became |= {
        draft.record: (f"L1-{number}", f"{draft.event_type} {draft.activity}") for number, draft in enumerate(kept, 1)
    }
    judged = Judged(
        file=file,
        records=len(results),
        events_used=len(kept),
        events_left_out=len(results) - len(kept),
        left_out_reasons=_tally(reason for log_id, reason in became.values() if log_id is None),
        event_types=dict(sorted(Counter(draft.event_type for draft in kept).items())),
        became=[(record, *became[record]) for record in sorted(became)],
    )
    if not kept:
        commonest = next(iter(judged.left_out_reasons), "the file holds no record")
        judged.reason = NOTHING + commonest
        return judged
    incident = incident_of(kept)
    judged.events = [event.model_dump(exclude_none=True) for event in incident.events]
    _decide(judged, compute_ground_truth(incident, world))
    judged.action_without_log_clear = _without_log_clear(kept, world, judged.action)
    return judged


# Reasons that name one record are counted under what they have in common.
_COMMON = {
    "duplicate of record": "duplicate",
    "part of audit event": "part of an audit event that another record tells",
}


def _tally(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason came, the commonest first."""
    counts = Counter(
        next((common for start, common in _COMMON.items() if reason.startswith(start)), reason) for reason in reasons
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _decide(judged: Judged, truth: GroundTruth) -> None:
    told = truth.to_dict()
    judged.action = truth.action
    judged.rule_ids = told["rule_ids"]
    judged.evidence_log_ids = told["evidence_log_ids"]
    judged.techniques = told["techniques"]
    judged.explanation = truth.explanation
    judged.findings = told["findings"]


def _without_log_clear(kept: Sequence[Draft], world: World, action: str | None) -> str | None:
    """The decision where cleared logs are not told: recorders clear a log before they start, and that is no attack."""
    others = [draft for draft in kept if draft.activity != "log_clear"]
    if len(others) == len(kept):
        return action
    return compute_ground_truth(incident_of(others), world).action if others else None


def judge_file(file: tuple[str, Path], world: World) -> Judged:
    """Judge the recording in one file, given as name and path; a file that cannot be read gives its error instead."""
    name, path = file
    try:
        judged = judge(read_records(path), world, file=name)
    except FileError as error:
        judged = Judged(file=name, reason="the file could not be read", error=str(error))
    judged.path = str(path)
    return judged


# ---------------------------------------------------------------- many files
def find_files(places: Iterable[Path]) -> tuple[list[tuple[str, Path]], list[str]]:
    """Name and path of each file to read (folders sorted, with subfolders), and a sentence for each place with none."""
    files: dict[Path, str] = {}
    errors = []
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.is_file() and path.name.endswith(SUFFIXES))
            if not inside:
                errors.append(
                    f"Expected recordings ({', '.join(SUFFIXES)}) in {str(place)!r}, and found none; "
                    "give another folder."
                )
            for path in inside:
                files.setdefault(path, path.relative_to(place).as_posix())
        elif place.exists():
            files.setdefault(place, place.name)
        else:
            errors.append(f"Expected a file or folder at {str(place)!r}, and there is none; give a path that exists.")
    return [(name, path) for path, name in files.items()], errors


def judge_files(files: Sequence[tuple[str, Path]], world: World) -> Iterator[Judged]:
    """Judge files in their order, on up to two processes where there are many."""
    work = partial(judge_file, world=world)
    if len(files) < MANY_FILES or (os.cpu_count() or 1) < 2:
        yield from map(work, files)
        return
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, files, chunksize=4)


def load_world(path: Path | None) -> World:
    """The declared world, or an empty one.

    Raises:
        OpenSOCError: the file is no JSON object in the shape of `schema.Context`.
    """
    if path is None:
        return World.from_context({})
    try:
        context = json.loads(path.read_text("utf-8"))
        world = World.from_context(context)
        world.is_internal("192.0.2.1")  # parses the networks
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OpenSOCError(
            f"Expected a JSON object with parts of schema.Context (networks, hosts, tickets, ...) in {str(path)!r}, "
            f"and got {type(error).__name__}: {error}; correct the file or leave --world out."
        ) from error
    return world


def summarise(judged: Sequence[Judged], world: str) -> dict[str, Any]:
    """Totals over all recordings."""
    reasons: Counter[str] = Counter()
    for one in judged:
        reasons.update(one.left_out_reasons)
    records = sum(one.records for one in judged)
    window_full = sum(count for reason, count in reasons.items() if reason.startswith(("window full", "duplicate")))
    used = sum(one.events_used for one in judged)
    return {
        "world": world,
        "recordings": len(judged),
        "files_not_read": sum(bool(one.error) for one in judged),
        "actions": dict(sorted(Counter(str(one.action) for one in judged).items())),
        "records": records,
        "records_typed": used + window_full,
        "share_typed": round((used + window_full) / records, 4) if records else None,
        "events_used": used,
        "events_left_out": records - used,
        "left_out_reasons": dict(reasons.most_common()),
    }


# ---------------------------------------------------------------- for people
def _console() -> Console:
    """Standard output; as wide as the terminal, or wide enough for the tables where it goes to a file."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=180)


def _print_table(judged: Sequence[Judged], *, details: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    table = Table("recording", "decision", "rules", "evidence", "used", "left out", title="What the verifier decides")
    for one in judged:
        decision = one.action or f"none ({one.reason})"
        cells = (one.file, decision, ", ".join(one.rule_ids), " ".join(one.evidence_log_ids[:8]))
        table.add_row(*map(escape, cells), str(one.events_used), str(one.events_left_out))
    console.print(table)
    for one in judged:
        if one.rule_ids or details:
            console.print(f"\n[bold]{escape(one.file)}[/bold]: {escape(one.explanation or one.reason)}", soft_wrap=True)
            _print_lines(console, one, details=details)


def _print_lines(console: Console, one: Judged, *, details: bool) -> None:
    from rich.markup import escape

    for event in one.events:
        if details or event["log_id"] in one.evidence_log_ids:
            fields = " ".join(f"{name}={value}" for name, value in event["fields"].items())
            console.print(
                f"  {event['log_id']} {event['timestamp']} {event['event_type']} {escape(fields)}",
                soft_wrap=True,
                highlight=False,
            )
    if details:
        for record, log_id, reason in one.became:
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


def _with_progress(found: Iterator[Judged], total: int) -> list[Judged]:
    """The results, with a progress bar on stderr where a person watches."""
    if not sys.stderr.isatty():
        return list(found)
    from rich.console import Console
    from rich.progress import track

    return list(track(found, "Judging recordings", total=total, console=Console(stderr=True), transient=True))


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


def main(argv: Sequence[str] | None = None) -> int:
    """Judge what the command line names, print the report, and return the exit code."""
    args = _arguments(argv)
    try:
        world = load_world(args.world)
        labels = load_manifest(args.manifest) if args.manifest else None
        if args.manifest:
            require("eval", "scipy")
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 2
    files, errors = find_files(args.places)
    files = [(name, path) for name, path in files if args.manifest is None or not path.samefile(args.manifest)]
    judged = _with_progress(judge_files(files, world), len(files))
    errors += [one.error for one in judged if one.error]
    for sentence in errors:
        print(sentence, file=sys.stderr)
    summary = summarise(judged, f"declared in {args.world}" if args.world else "empty (nothing declared)")
    if labels is not None:
        summary["score"] = score(
            [(one.file, one.action, one.action_without_log_clear, one.records) for one in judged], labels
        )
    if args.json:
        print(
            json.dumps({"recordings": [one.row(details=args.details) for one in judged], "summary": summary}, indent=1)
        )
    else:
        _print_table(judged, details=args.details)
        _print_summary(summary)
    return 1 if errors or not judged else 0


if __name__ == "__main__":
    sys.exit(main())
