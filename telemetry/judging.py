"""Judge recordings: import a file's records, choose the window, ask the verifier, and say what became of every record.

A file is one recording. It is judgement in an empty world or in a declared one (a JSON object in the shape of `schema.Context`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from schema import Incident, OpenSOCError
from telemetry.importers import import_records
from telemetry.importers.events import DraftEvent, Skipped, to_event
from telemetry.importers.reading import SUFFIXES, FileError, read_records
from telemetry.windowing import choose_window
from verifier.decision import compute_ground_truth
from verifier.truth import GroundTruth
from world import World

MANY_FILES = 24  # fewer are read faster in one process than a second one starts
NOTHING = "no usable event: "


@dataclass(slots=True)
class Judgement:
    """The decision on one recording, what it rests on, and what became of every record."""

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
    events_without_time: int = 0  # of those used; they satisfy no bound in time and no order
    left_out_reasons: dict[str, int] = field(default_factory=dict)
    action_without_log_clear: str | None = None
    event_types: dict[str, int] = field(default_factory=dict)
    became: list[tuple[int, str | None, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def row(self, *, details: bool) -> dict[str, Any]:
        """Return the recording as a row of the JSON report; `details` adds the events and what became of each record."""
        row = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in ("became", "events")}
        if details:
            row["records_became"] = [list(entry) for entry in self.became]
            row["events"] = self.events
        return row


# ---------------------------------------------------------------- one recording
def incident_of(drafts: Sequence[DraftEvent]) -> Incident:
    """Return the incident of a window. Label and category are placeholders, which the verifier never reads."""
    events = [to_event(draft, f"L1-{number}") for number, draft in enumerate(drafts, 1)]
    return Incident.model_validate({"target_label": "dismiss", "category": "benign_activity", "events": events})


def judge(records: Iterable[Mapping[str, Any] | Skipped], world: World, *, file: str = "") -> Judgement:
    """Import one recording, choose its window and ask the verifier."""
    results = import_records(records, networks=world.networks)
    window, unchosen = choose_window([result for result in results if isinstance(result, DraftEvent)])
    became: dict[int, tuple[str | None, str]] = {
        **{result.record: (None, result.reason) for result in results if isinstance(result, Skipped)},
        **{draft.record: (None, reason) for draft, reason in unchosen},
        **{
            draft.record: (f"L1-{number}", f"{draft.event_type} {draft.activity}")
            for number, draft in enumerate(window, 1)
        },
    }
    judgement = Judgement(
        file=file,
        records=len(results),
        events_used=len(window),
        events_left_out=len(results) - len(window),
        events_without_time=sum(draft.time is None for draft in window),
        left_out_reasons=_tally(reason for log_id, reason in became.values() if log_id is None),
        event_types=dict(sorted(Counter(draft.event_type for draft in window).items())),
        became=[(record, *became[record]) for record in sorted(became)],
    )
    if not window:
        commonest = next(iter(judgement.left_out_reasons), "the file holds no record")
        judgement.reason = NOTHING + commonest
        return judgement
    incident = incident_of(window)
    judgement.events = [event.model_dump(exclude_none=True) for event in incident.events]
    _decide(judgement, compute_ground_truth(incident, world))
    judgement.action_without_log_clear = _without_log_clear(window, world, judgement.action)
    return judgement


# Reasons that name one record are counted under what they have in common.
_COMMON = {
    "duplicate of record": "duplicate",
    "part of audit event": "part of an audit event that another record tells",
}


def _tally(reasons: Iterable[str]) -> dict[str, int]:
    """Count how often each reason came, the commonest first."""
    counts = Counter(
        next((common for start, common in _COMMON.items() if reason.startswith(start)), reason) for reason in reasons
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _decide(judgement: Judgement, truth: GroundTruth) -> None:
    values = truth.to_dict()
    for name in ("action", "rule_ids", "evidence_log_ids", "techniques", "explanation", "findings"):
        setattr(judgement, name, values[name])


def _without_log_clear(window: Sequence[DraftEvent], world: World, action: str | None) -> str | None:
    """Decide without cleared logs: recorders clear a log before they start, and that is no attack."""
    others = [draft for draft in window if draft.activity != "log_clear"]
    if len(others) == len(window):
        return action
    return compute_ground_truth(incident_of(others), world).action if others else None


def judge_file(file: tuple[str, Path], world: World) -> Judgement:
    """Judge the recording in one file, given as name and path; a file that cannot be read gives its error instead."""
    name, path = file
    try:
        judgement = judge(read_records(path), world, file=name)
    except FileError as error:
        judgement = Judgement(file=name, reason="the file could not be read", error=str(error))
    judgement.path = str(path)
    return judgement


# ---------------------------------------------------------------- many files
def find_files(places: Iterable[Path]) -> tuple[list[tuple[str, Path]], list[str]]:
    """List name and path of each file to read (folders sorted, with subfolders), and a sentence for each place with none."""
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


def judge_files(files: Sequence[tuple[str, Path]], world: World) -> Iterator[Judgement]:
    """Judge files in their order, on up to two processes where there are many."""
    work = partial(judge_file, world=world)
    if len(files) < MANY_FILES or (os.cpu_count() or 1) < 2:
        yield from map(work, files)
        return
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, files, chunksize=4)


def load_world(path: Path | None) -> World:
    """Load the declared world, or make an empty one.

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
