"""Render judged recordings as one page of HTML that stands alone: no script, nothing loaded, recorded text as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from telemetry.judging import Judgement, line_text

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def render_page(judgements: Sequence[Judgement], summary: Mapping[str, Any]) -> str:
    """Return the page: a summary, and for every recording the decision, its reason, the evidence and the player's triage.

    Args:
        judgements: of the recordings, in the order of the page.
        summary: what `telemetry.printing.summarise` returns.
    """
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text("utf-8"))
    return page.render(summary=summary, recordings=[_shown(judgement) for judgement in judgements])


def _shown(judgement: Judgement) -> dict[str, Any]:
    shown = judgement.row(details=False)
    cited = {*judgement.evidence_log_ids, (judgement.triage or {}).get("cited_log_id")}
    lines = [event for event in judgement.events if event["log_id"] in cited]
    return {
        **shown,
        "lines": [line_text(line) for line in lines],
        "why": judgement.explanation.splitlines(),
    }
