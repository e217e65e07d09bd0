"""Score decisions on labelled recordings, one recording at a time.

A recording is *acted upon* when the decision is to quarantine, block or escalate, and *noticed* when it is acted upon
or monitored. A recording that was not read, or holds no usable event, is in no rate: it is named beside them. Rates come with 95 % Wilson intervals (scipy's
`binomtest`), and precision is given for as many benign as malicious recordings, since a collection of attacks has far
fewer benign ones.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from schema import OpenSOCError, unread

ACTED = ("quarantine_host", "block_ip", "escalate")
NOTICED = (*ACTED, "monitor")
CONFIDENCE = 0.95


class Decision(NamedTuple):
    """The decision on one recording: with and without cleared logs, how many records it was, and whether any was usable."""

    file: str
    action: str | None
    without_log_clear: str | None
    records: int
    is_read: bool = True


@dataclass(frozen=True, slots=True)
class Recording:
    """One labelled recording and the decision on it."""

    file: str
    label: Mapping[str, str]
    action: str | None
    without_log_clear: str | None
    records: int

    @property
    def malicious(self) -> bool:
        """Return what the manifest says."""
        return self.label["malicious"] == "yes"

    @property
    def cleared_by_recorder(self) -> bool:
        """Return whether the log was cleared to make the recording."""
        return "log_clear_by_recorder" in (self.label.get("artefacts") or "")


def is_manifest(path: Path) -> bool:
    """Return whether a CSV file's header names the columns of a manifest."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            header = handle.readline(4096)
    except (OSError, UnicodeError):
        return False
    return {"file", "malicious"} <= {name.strip().strip('"') for name in header.split(",")}


def load_manifest(path: Path) -> dict[str, dict[str, str]]:
    """Load the rows of a manifest of labels by file name.

    Raises:
        OpenSOCError: it cannot be read, or lacks the columns `file` and `malicious`, or a label is neither yes nor no.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeError, csv.Error) as error:
        raise OpenSOCError(
            f"Expected a manifest in {str(path)!r}, and got {unread(error)}; give a CSV file or leave it out."
        ) from error
    if not rows or not {"file", "malicious"} <= rows[0].keys():
        raise OpenSOCError(
            f"Expected a manifest with the columns file and malicious in {str(path)!r}, and found no such rows."
        )
    for row in rows:
        if row["malicious"] not in ("yes", "no"):
            raise OpenSOCError(
                f"Expected yes or no as malicious of {row['file']!r} in {str(path)!r}, "
                f"and got {row['malicious']!r}; correct it."
            )
    return {row["file"]: row for row in rows}


def score(decisions: Iterable[Decision], labels: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Score recall, false-positive rate and balanced precision, over all labelled recordings and apart for those that differ.

    Returns:
        `all` (every recording that was read), `without_log_clear` (the same, but cleared logs are not told where the manifest says
        that the recorder cleared them), `clear_cases` (Windows, none of the parts below), and `parts` by name. `missed` and
        `flagged` name the malicious recordings that were not noticed and the benign ones that were, `unread` those in no rate.
    """
    recordings: list[Recording] = []
    unlabelled = []
    unread: dict[str, str] = {}
    for file, action, without, records, is_read in (Decision(*decision) for decision in decisions):
        label = labels.get(file) or labels.get(Path(file).name)
        if label and not is_read:
            unread[label["file"]] = "malicious" if label["malicious"] == "yes" else "benign"
        elif label:
            recordings.append(Recording(label["file"], label, action, without, records))
        else:
            unlabelled.append(file)
    parts = {
        name: [recording for recording in recordings if belongs(recording)]
        for name, belongs in _parts(recordings).items()
    }
    apart = {recording.file for members in parts.values() for recording in members}
    uncleared = [
        replace(recording, action=recording.without_log_clear) if recording.cleared_by_recorder else recording
        for recording in recordings
    ]
    return {
        "interval": f"Wilson, {CONFIDENCE:.0%} (scipy.stats.binomtest)",
        "labelled": len(recordings) + len(unread),
        "unlabelled": unlabelled,
        "unread": dict(sorted(unread.items())),
        "not_judged": sorted(set(labels) - {recording.file for recording in recordings} - set(unread)),
        "all": _rates(recordings),
        "without_log_clear": _rates(uncleared),
        "clear_cases": _rates([recording for recording in recordings if recording.file not in apart]),
        "parts": {name: _rates(members) for name, members in parts.items() if members},
        "missed": sorted(
            recording.file for recording in recordings if recording.malicious and recording.action not in NOTICED
        ),
        "flagged": sorted(
            recording.file for recording in recordings if not recording.malicious and recording.action in NOTICED
        ),
    }


def _parts(recordings: Sequence[Recording]) -> dict[str, Callable[[Recording], bool]]:
    """Return what sets the recordings apart that are reported by themselves."""

    def on(platform: str) -> Callable[[Recording], bool]:
        return lambda recording: recording.label.get("platform") == platform

    platforms = sorted({recording.label.get("platform") or "" for recording in recordings} - {"", "windows"})
    return {
        "signal=low": lambda recording: recording.label.get("signal") == "low",
        "log cleared by the recorder": lambda recording: recording.cleared_by_recorder,
        "single event": lambda recording: recording.records == 1,
        **{f"platform {platform}": on(platform) for platform in platforms},
    }


def _rates(members: Sequence[Recording]) -> dict[str, Any]:
    malicious = [recording.action for recording in members if recording.malicious]
    benign = [recording.action for recording in members if not recording.malicious]
    return {
        "malicious": len(malicious),
        "benign": len(benign),
        "noticed": _rate(malicious, benign, NOTICED),
        "acted": _rate(malicious, benign, ACTED),
    }


def _rate(malicious: Sequence[str | None], benign: Sequence[str | None], actions: Sequence[str]) -> dict[str, Any]:
    hits, alarms = (sum(action in actions for action in group) for group in (malicious, benign))
    recall = hits / len(malicious) if malicious else None
    false = alarms / len(benign) if benign else None
    balanced = recall / (recall + false) if recall is not None and false is not None and recall + false else None
    return {
        "true_positives": hits,
        "recall": _short(recall),
        "recall_interval": _interval(hits, len(malicious)),
        "false_positives": alarms,
        "false_positive_rate": _short(false),
        "false_positive_interval": _interval(alarms, len(benign)),
        "precision_at_50_50": _short(balanced),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def wilson(hits: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the Wilson score interval of a rate of `hits` in `of` items, `of` at least 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _interval(hits: int, of: int) -> list[float] | None:
    return [round(end, 4) for end in wilson(hits, of)] if of else None


# ---------------------------------------------------------------- for people
def score_tables(summary: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], list[list[str]]]]:
    """List tables to print: title, columns and rows of text."""
    scores = summary.get("score")
    if not scores:
        return []
    named = {
        "all": scores["all"],
        "all, recorders' log clears left out": scores["without_log_clear"],
        "Windows, none of the below": scores["clear_cases"],
        **scores["parts"],
    }
    columns = (
        "recordings",
        "mal.",
        "ben.",
        "noticed",
        "false pos.",
        "prec. 50:50",
        "acted",
        "false pos.",
        "prec. 50:50",
    )
    rows = [
        [
            str(name),
            str(part["malicious"]),
            str(part["benign"]),
            *_cells(part["noticed"], part),
            *_cells(part["acted"], part),
        ]
        for name, part in named.items()
    ]
    tables: list[tuple[str, tuple[str, ...], list[list[str]]]] = [
        (f"Score by recording, {scores['interval']}", columns, rows)
    ]
    unread = [[file, label] for file, label in scores["unread"].items()]
    return [*tables, ("Not read, and in no rate", ("recording", "label"), unread)] if unread else tables


def _cells(rate: Mapping[str, Any], part: Mapping[str, Any]) -> tuple[str, str, str]:
    precision = rate["precision_at_50_50"]
    return (
        _cell(rate["true_positives"], part["malicious"], rate["recall_interval"]),
        _cell(rate["false_positives"], part["benign"], rate["false_positive_interval"]),
        "-" if precision is None else f"{precision:.2f}",
    )


def _cell(hits: int, of: int, interval: Sequence[float] | None) -> str:
    return f"{hits / of:.3f} ({hits}/{of}; {interval[0]:.2f}-{interval[1]:.2f})" if interval else "-"
