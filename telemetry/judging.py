"""Judge recordings: import a file's records, choose the window, ask the verifier, and say what became of every record.

A file is one recording. It is judgement in an empty world or in a declared one (a JSON object in the shape of `schema.Context`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from schema import Event, Incident, log_id_at, shown_time
from telemetry.importers import import_stream, settled
from telemetry.importers.archives import file_of, is_archive, members_of
from telemetry.importers.containers import FileError
from telemetry.importers.events import DraftEvent, Skipped, to_event
from telemetry.importers.reading import BREAKS_OFF, kind_of, read_records, read_text
from telemetry.importers.times import LEAP_YEAR, FileTimes
from telemetry.scoring import is_manifest
from telemetry.windowing import Pool, choose_window
from verifier.decision import compute_ground_truth, declaration_for
from verifier.playbook import rules_on
from verifier.truth import GroundTruth
from world import World

NO_RECORDINGS = ".cfg .css .docx .gif .html .ini .ipynb .jpg .js .md .png .ps1 .py .rst .sh .svg .toml .yaml .yml"
MANY_FILES = 24  # fewer are read faster in one process than a second one starts
TOLD = 50_000  # records whose fate is told one by one
MANY_REASONS = 1000
OTHER_REASONS = "other reasons"
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
    without_year: bool = False  # whether lines name no year, as classic syslog's
    events_unspoken: int = 0  # of those used; no rule looks at lines of their kinds
    unspoken_kinds: dict[str, int] = field(default_factory=dict)
    events_pruned: int = 0  # of those left out: events of a long recording that were weighed in parts
    left_out_reasons: dict[str, int] = field(default_factory=dict)
    action_without_log_clear: str | None = None
    triage: dict[str, Any] | None = None  # a player's answer, where one was asked (`telemetry.triaging`)
    event_types: dict[str, int] = field(default_factory=dict)
    became: list[tuple[int, str | None, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """Say in sentences what limits the decision: records left out, events without a time, lines that no rule speaks of."""
        notes = []
        if self.events_without_time:
            notes.append(
                f"{self.events_without_time} of {self.events_used} events bear no time that can be read; they count in no "
                "bound in time and in no order."
            )
        if self.without_year:
            notes.append(f"The log's lines name no year; {LEAP_YEAR} stands for the first.")
        if self.events_unspoken:
            told = ", ".join(f"{count} x {kind}" for kind, count in list(self.unspoken_kinds.items())[:3])
            notes.append(f"No rule speaks of {self.events_unspoken} of {self.events_used} lines: {told}.")
        if self.events_pruned:
            notes.append(
                f"The recording is long: {self.events_pruned} events left the pool that the window is chosen from before its end."
            )
        if self.left_out_reasons:
            reasons = "; ".join(f"{count} x {reason}" for reason, count in list(self.left_out_reasons.items())[:3])
            notes.append(f"{self.events_left_out} of {self.records} records are not in the window: {reasons}.")
        return notes

    def row(self, *, details: bool) -> dict[str, Any]:
        """Return the recording as a row of the JSON report; `details` adds the events and what became of each record."""
        row = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in ("became", "events")}
        row["notes"] = self.notes
        if details:
            row["records_became"] = [list(entry) for entry in self.became]
            row["events"] = self.events
        return row


def line_text(event: Mapping[str, Any]) -> str:
    """Write an event on one line: id, time, type and fields as `name=value`."""
    values = (f"{name}={value}" for name, value in event["fields"].items() if value is not None)
    return " ".join((event["log_id"], shown_time(event["timestamp"]), event["event_type"], *values))


# ---------------------------------------------------------------- one recording
def incident_of(drafts: Sequence[DraftEvent]) -> Incident:
    """Return the incident of a window. Label and category are placeholders, which the verifier never reads."""
    events = [to_event(draft, log_id_at(position)) for position, draft in enumerate(drafts)]
    return Incident.model_validate({"target_label": "dismiss", "category": "benign_activity", "events": events})


def judge(records: Iterable[Mapping[str, Any] | Skipped], world: World, *, file: str = "") -> Judgement:
    """Import one recording of any length, choose its window and ask the verifier."""
    times, pool, fates, pruned = FileTimes(), Pool(), _Fates(), 0
    for result in import_stream(records, times, networks=world.networks):
        if isinstance(result, Skipped):
            fates.leave_out(result.record, result.reason)
        else:
            for draft, reason in pool.add(result):
                pruned += 1
                fates.leave_out(draft.record, reason)
    window, unchosen = choose_window([settled(draft, times) for draft in pool.events], earlier=pool.earlier)
    for draft, reason in unchosen:
        fates.leave_out(draft.record, reason)
    for position, draft in enumerate(window):
        fates.became[draft.record] = (log_id_at(position), f"{draft.event_type} {draft.activity}")
    left_out = sum(fates.reasons.values())
    judgement = Judgement(
        file=file,
        records=left_out + len(window),
        events_used=len(window),
        events_left_out=left_out,
        events_without_time=sum(draft.time is None for draft in window),
        without_year="no year" in times.orders,
        events_pruned=pruned,
        left_out_reasons=dict(sorted(fates.reasons.items(), key=lambda item: (-item[1], item[0]))),
        event_types=dict(sorted(Counter(draft.event_type for draft in window).items())),
        became=[(record, *fates.became[record]) for record in sorted(fates.became)],
    )
    if not window:
        commonest = next(iter(judgement.left_out_reasons), "the file holds no record")
        judgement.reason = NOTHING + commonest
        return judgement
    incident = incident_of(window)
    judgement.events = [event.model_dump(exclude_none=True) for event in incident.events]
    unspoken = unspoken_kinds(incident.events)
    judgement.unspoken_kinds, judgement.events_unspoken = dict(unspoken.most_common()), unspoken.total()
    _decide(judgement, _truth_of(incident, world))
    judgement.action_without_log_clear = _without_log_clear(window, world, judgement.action)
    return judgement


# ---------------------------------------------------------------- what no rule speaks of
def unspoken_kinds(events: Iterable[Event]) -> Counter[str]:
    """Count the events that no rule looks at, by kind (`logon logoff`)."""
    kinds = ((event.event_type, event.fields.activity) for event in events)
    return Counter(" ".join(kind) for kind in kinds if not rules_on(*kind))


def assured(truth: GroundTruth, is_unspoken: bool) -> GroundTruth:
    """Return the ground truth of a window; one in which no rule speaks of any line is monitored and not dismissed.

    Where rules speak of some lines, the decision on those stands, and the notes tell how many it rests on.
    """
    if truth.action != "dismiss" or not is_unspoken:
        return truth
    return replace(
        truth,
        action="monitor",
        why="no rule speaks of any of its lines, so that nothing speaks for harmless work either",
        rung="",
    )


def _truth_of(incident: Incident, world: World) -> GroundTruth:
    return assured(
        compute_ground_truth(incident, world), unspoken_kinds(incident.events).total() == len(incident.events)
    )


# Reasons that name one record are counted under what they have in common.
_COMMON = {
    "duplicate of record": "duplicate",
    "part of audit event": "part of an audit event that another record tells",
}


class _Fates:
    """What became of the records: counts of the reasons, and the words for each of the first `TOLD` records."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.became: dict[int, tuple[str | None, str]] = {}

    def leave_out(self, record: int, reason: str) -> None:
        """Note why a record is not in the window."""
        common = next((common for start, common in _COMMON.items() if reason.startswith(start)), reason)
        is_known = common in self.reasons or len(self.reasons) < MANY_REASONS
        self.reasons[common if is_known else OTHER_REASONS] += 1
        if record < TOLD:
            self.became[record] = (None, reason)


def _decide(judgement: Judgement, truth: GroundTruth) -> None:
    values = truth.to_dict()
    for row, finding in zip(values["findings"], truth.findings, strict=True):
        row["explained_if"] = (not finding.explained_by and declaration_for(finding)) or None
    for name in ("action", "rule_ids", "evidence_log_ids", "techniques", "explanation", "findings"):
        setattr(judgement, name, values[name])


def _without_log_clear(window: Sequence[DraftEvent], world: World, action: str | None) -> str | None:
    """Decide without cleared logs: recorders clear a log before they start, and that is no attack."""
    others = [draft for draft in window if draft.activity != "log_clear"]
    if len(others) == len(window):
        return action
    return _truth_of(incident_of(others), world).action if others else None


def judge_text(text: str, world: World, *, name: str) -> Judgement:
    """Judge a log that a caller gives as text; no file is touched. `name` is what it is called.

    Raises:
        FileError: it is empty or holds nothing readable.
    """
    return judge(read_text(text, name), world, file=name)


def judge_file(file: tuple[str, Path], world: World, on_bytes: Callable[[int], None] | None = None) -> Judgement:
    """Judge the recording in one file, given as name and path; a file that cannot be read gives its error instead.

    Args:
        file: name and path.
        world: the organisation around it.
        on_bytes: is told again and again how many bytes of the file were read.
    """
    name, path = file
    try:
        judgement = judge(read_records(path, on_bytes), world, file=name)
        fault = next((reason for reason in judgement.left_out_reasons if reason.startswith(BREAKS_OFF)), None)
        if fault:
            judgement.error = f"Expected a whole file in {str(path)!r}, and {fault}; what came before is judged."
    except FileError as error:
        judgement = Judgement(file=name, reason="the file could not be read", error=str(error))
    judgement.path = str(path)
    return judgement


# ---------------------------------------------------------------- many files
class Found(NamedTuple):
    """What lies in the places that were named."""

    files: list[tuple[str, Path]]  # name and path of each to read
    errors: list[str]  # a sentence for each place, archive or member that cannot be read
    skipped: list[str]  # a sentence for each file of a folder that is no recording


def find_files(places: Iterable[Path], *, manifest: Path | None = None) -> Found:
    """List the files to read: those named, those in named folders (sorted, with subfolders), and the members of archives.

    In a folder, hidden files and those whose ending or first bytes say that they hold no records are left out and named.

    Args:
        places: files and folders.
        manifest: labels, which are no recording.
    """
    found = Found([], [], [])
    files: dict[Path, str] = {}
    for place in places:
        if place.is_dir():
            _find_inside(place, manifest, files, found)
        elif place.exists():
            _add_file(place, place.name, files, found)
        else:
            found.errors.append(
                f"Expected a file or folder at {str(place)!r}, and there is none; give a path that exists."
            )
    found.files.extend((name, path) for path, name in files.items())
    return found


def _find_inside(folder: Path, manifest: Path | None, files: dict[Path, str], found: Found) -> None:
    before = len(files)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if manifest is not None and path.samefile(manifest):
            continue
        reason = _no_recording(path, name)
        if reason:
            found.skipped.append(f"{name}: {reason}")
        else:
            _add_file(path, name, files, found)
    if len(files) == before:
        found.errors.append(f"Expected recordings in {str(folder)!r}, and found none; give another folder.")


def _add_file(path: Path, name: str, files: dict[Path, str], found: Found) -> None:
    """Add a file, or the members of an archive."""
    if not is_archive(path):
        files.setdefault(path, name)
        return
    try:
        members, refusals = members_of(path)
    except FileError as error:
        found.errors.append(str(error))
        return
    found.errors.extend(refusals)
    for member in members:
        files.setdefault(member, f"{name}/{member.relative_to(path).as_posix()}")


def _no_recording(path: Path, name: str) -> str:
    """Say why a file of a folder is no recording; empty where it may be one."""
    if any(part.startswith(".") for part in name.split("/")):
        return "a hidden file"
    if path.suffix and path.suffix.lower() in NO_RECORDINGS.split():
        return f"{path.suffix} files hold no records"
    if path.suffix.lower() == ".csv" and is_manifest(path):
        return "labels of recordings, which --manifest reads"
    try:
        kind = kind_of(path)
    except FileError:
        return ""  # reading it says why
    return f"it is {kind.name}; {kind.way}" if kind else ""


def sizes(files: Sequence[tuple[str, Path]]) -> list[float]:
    """Return how many bytes each file is; an archive counts in equal parts for its members."""
    on_disk = [file_of(path) for _, path in files]
    shares = Counter(on_disk)
    return [path.stat().st_size / shares[path] if path.exists() else 0.0 for path in on_disk]


def judge_files(
    files: Sequence[tuple[str, Path]], world: World, on_bytes: Callable[[float], None] = lambda done: None
) -> Iterator[Judgement]:
    """Judge files in their order, on up to two processes where there are many; `on_bytes` is told how much was read so far."""
    done, of_files = 0.0, sizes(files)
    if len(files) < MANY_FILES or (os.cpu_count() or 1) < 2:
        for file, size in zip(files, of_files, strict=True):
            yield judge_file(file, world, partial(_tell, on_bytes, done, size))
            done += size
            on_bytes(done)
        return
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        work = partial(judge_file, world=world)
        for judgement, size in zip(pool.map(work, files, chunksize=4), of_files, strict=True):
            yield judgement
            done += size
            on_bytes(done)


def _tell(on_bytes: Callable[[float], None], before: float, size: float, read: int) -> None:
    """Tell how much of all files is read while one is; its end is told once, with its judgement."""
    if read < size:
        on_bytes(before + read)
