"""Print judged recordings as tables and sentences, and sum them up."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from schema import visible
from telemetry.judging import Judgement, line_text
from telemetry.scoring import score_tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


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
        "files_not_read": sum(bool(judgement.error) and not judgement.records for judgement in judgements),
        "actions": dict(sorted(Counter(str(judgement.action) for judgement in judgements).items())),
        "unspoken": [
            judgement.file for judgement in judgements if 0 < judgement.events_used == judgement.events_unspoken
        ],
        "events_unspoken": sum(judgement.events_unspoken for judgement in judgements),
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


def print_report(judgements: Sequence[Judgement], summary: Mapping[str, Any], *, details: bool) -> None:
    """Print a table of the decisions, for every recording with findings its reason and evidence, and the summary.

    Args:
        judgements: of the recordings.
        summary: what `summarise` returns, with `score` where there is a manifest.
        details: print every recording's events, and what became of each of its records.
    """
    console = _console()
    console.print(_table(judgements))
    for judgement in judgements:
        if judgement.rule_ids or judgement.triage or judgement.notes or details:
            _print_recording(console, judgement, details=details)
    _print_summary(console, summary)


def _table(judgements: Sequence[Judgement]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    player = next((judgement.triage["player"] for judgement in judgements if judgement.triage), None)
    table = Table(
        "recording", "verifier", title="What the verifier decides" + (f", and {escape(player)}" if player else "")
    )
    for column in ([player] if player else []) + ["rules", "ATT&CK", "evidence", "used", "left out"]:
        table.add_column(column)
    for judgement in judgements:
        triage = [_said(judgement.triage)] if judgement.triage else []
        cells = (
            visible(judgement.file),
            judgement.action or f"none ({judgement.reason})",
            *triage,
            ", ".join(judgement.rule_ids),
            " ".join(judgement.techniques),
            " ".join(judgement.evidence_log_ids[:8]),
        )
        table.add_row(*map(escape, cells), str(judgement.events_used), str(judgement.events_left_out))
    return table


def _said(triage: Mapping[str, Any]) -> str:
    return triage["action"] or f"none ({triage['fault']})"


def _print_recording(console: Console, judgement: Judgement, *, details: bool) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    say(f"\n{visible(judgement.file)}: {judgement.explanation or judgement.reason}")
    if judgement.triage and judgement.triage["action"]:
        rationale = visible(judgement.triage["rationale"] or "")
        say(
            f"{judgement.triage['player']}: {_said(judgement.triage)}, citing {judgement.triage['cited_log_id']}. {rationale}"
        )
    for note in judgement.notes:
        say(note)
    for event in judgement.events:
        if details or event["log_id"] in judgement.evidence_log_ids:
            say(f"  {line_text(event)}")
    for record, log_id, reason in judgement.became if details else ():
        say(f"  record {record}: {log_id or 'left out'}: {reason}")


def _print_summary(console: Console, summary: Mapping[str, Any]) -> None:
    from rich.table import Table

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
    if summary["events_unspoken"]:
        console.print(
            f"No rule speaks of {summary['events_unspoken']} of {summary['events_used']} lines; of no line in "
            f"{len(summary['unspoken'])} recordings.",
            highlight=False,
        )
