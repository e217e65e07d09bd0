"""Draw when what happened on which host, as a figure of plotly.js."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from demo.figures import ALERT, EVIDENCE, PLAIN, Figure, either, escaped_name, focus, hover_text, layout, scatter
from schema import NO_TIME, account_name

if TYPE_CHECKING:
    from demo_data import DemoCase

ROOM = 0.17  # of the time shown, between two ids on one side of a row: an id is some 33 px wide, a phone's timeline some 200
_GRID = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}


class _Point(NamedTuple):
    """A log line in the figure: `row` counts from the top."""

    time: str
    row: int
    log_id: str
    hover: str


def timeline(case: DemoCase, *, revealed: bool = False, cited: Collection[str] = ()) -> Figure:
    """Return the lines by time, in a row for each host (or account); after the reveal evidence is coloured.

    The alert's line, the `cited` ones and the evidence are shown first, all lines on demand. Recorded lines without a time have no place in it; the axis tells
    how many there are.
    """
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    lines, few = case.observation["log_window"], focus(case, evidence, cited)
    whole = _figure(case, lines, evidence)
    if len(few) == len(lines):
        return whole
    return either(_figure(case, few, evidence), whole, (f"{len(few)} that matter", f"all {len(lines)} lines"))


def _figure(case: DemoCase, lines: Sequence[Mapping[str, Any]], evidence: Collection[str]) -> Figure:
    alerted = case.observation["alert"]["log_id"]
    window = [line for line in lines if line["timestamp"] != NO_TIME]
    untimed = sum(line["timestamp"] == NO_TIME for line in case.observation["log_window"])
    rows: dict[str, int] = {}
    points = [
        _Point(line["timestamp"], rows.setdefault(_row_name(line), len(rows)), line["log_id"], hover_text(line))
        for line in window
    ]
    groups = {
        "log line": [point for point in points if point.log_id not in evidence],
        "evidence": [point for point in points if point.log_id in evidence],
    }
    by_weight = [point for name in ("evidence", "log line") for point in _alert_first(groups[name], alerted)]
    span = _span(window) if window else []
    sides = _sides(by_weight, span) if span else {}
    data = [_trace(name, group, sides) for name, group in groups.items() if group]
    data.append(_alert_ring([point for point in points if point.log_id == alerted]))
    return {"data": data, "layout": layout(176 + 62 * max(2, len(rows)), labels=38, **_axes(rows, span, untimed))}


def _row_name(line: Mapping[str, Any]) -> str:
    fields = line["fields"]
    return fields.get("device_hostname") or account_name(fields.get("actor_user") or fields.get("user_name")) or "-"


def _alert_first(points: Iterable[_Point], alerted: str) -> list[_Point]:
    return sorted(points, key=lambda point: (point.log_id != alerted, point))


def _trace(name: str, points: Sequence[_Point], sides: Mapping[str, str]) -> dict[str, Any]:
    symbol, colour = ("diamond", EVIDENCE) if name == "evidence" else ("circle", PLAIN)
    return scatter(
        "markers+text",
        [(point.time, point.row) for point in points],
        name=name,
        text=[point.log_id if point.log_id in sides else "" for point in points],
        hovertext=[point.hover for point in points],
        hoverinfo="text",
        cliponaxis=False,
        textposition=[f"{sides.get(point.log_id, 'bottom')} center" for point in points],
        marker={"size": 13, "symbol": symbol, "color": colour},
    )


def _alert_ring(points: Sequence[_Point]) -> dict[str, Any]:
    return scatter(
        "markers",
        [(point.time, point.row) for point in points],
        name="alert fired here",
        hoverinfo="skip",
        marker={"size": 17, "symbol": "circle-open", "color": ALERT, "line": {"width": 2}},
    )


def _axes(rows: Mapping[str, int], span: Sequence[str], untimed: int) -> dict[str, Any]:
    said = {"title": {"text": f"{untimed} without a time, not shown"}} if untimed else {}
    times = {"range": span} if span else {"showticklabels": False}
    return {
        "xaxis": {"type": "date", **times, "automargin": True, "tickangle": 0, "nticks": 5, **said, **_GRID},
        "yaxis": {
            "automargin": True,
            "tickvals": list(rows.values()),
            "ticktext": [escaped_name(row) for row in rows],
            "range": [len(rows) - 0.3, -0.7],
            **_GRID,
        },
    }


def _span(window: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a time a little before the first line, and one a little after the last."""
    times = [datetime.fromisoformat(line["timestamp"]) for line in window]
    margin = max((max(times) - min(times)) * 0.06, datetime.resolution * 60_000_000)
    return [edge.strftime("%Y-%m-%dT%H:%M:%S") for edge in (min(times) - margin, max(times) + margin)]


def _sides(points: Iterable[_Point], span: Sequence[str]) -> dict[str, str]:
    """Choose on which side of its point each id stands, the first points first; one that would stand on another is left out."""
    start, end = (datetime.fromisoformat(edge) for edge in span)
    taken: dict[tuple[int, str], list[float]] = {}
    sides: dict[str, str] = {}
    for point in points:
        share = (datetime.fromisoformat(point.time).replace(tzinfo=None) - start) / (end - start)
        for side in ("bottom", "top"):
            others = taken.setdefault((point.row, side), [])
            if all(abs(share - other) >= ROOM for other in others):
                others.append(share)
                sides[point.log_id] = side
                break
    return sides
