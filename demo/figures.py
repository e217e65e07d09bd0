"""Hold what the demo's figures share: colours, layout, traces and names, in the form of plotly.js.

plotly.js reads a small markup of its own in every text: what somebody else wrote is escaped, and cut.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from demo.words import shortened, summary
from schema import NO_TIME

if TYPE_CHECKING:
    from demo_data import DemoCase

Figure = dict[str, Any]  # data and layout, as plotly.js draws them
PLAIN, EVIDENCE, ALERT = "#5b7aa8", "#d97706", "#7c3aed"
LABEL = 18  # characters of a name in a figure; beside two other columns a phone has room for no more
ABOVE, LEGEND = 48, 24  # pixels for the buttons above a figure, and for a legend of one row below it
_HOVER = "#1f2937"  # behind what a figure says in white


def escaped_name(value: str, room: int = LABEL) -> str:
    """Return an entity's name as plotly may show it: at most `room` characters before they are escaped."""
    return html.escape(shortened(value, room), quote=False)


def clock(timestamp: str) -> str:
    """Return the time of day of a timestamp, or `untimed`."""
    return "untimed" if timestamp == NO_TIME else timestamp[11:19]


def hover_text(line: Mapping[str, Any]) -> str:
    """Return what a log line says where the pointer rests on it."""
    text = summary(line["event_type"], line["fields"])
    return html.escape(f"{line['log_id']} {clock(line['timestamp'])} {line['event_type']}: {text[:90]}", quote=False)


def layout(height: int, *, labels: int = 0, **more: Any) -> dict[str, Any]:
    """Return a figure's layout, `height` pixels high, with `labels` pixels for those below it, and further settings such as its axes.

    The legend stands below: above are the buttons of `either`, which would cover it on a phone.
    """
    return {
        "height": height,
        "margin": {"l": 8, "r": 20, "t": ABOVE, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"align": "left", "bgcolor": _HOVER, "bordercolor": "#9ca3af", "font": {"color": "#ffffff"}},
        "legend": {
            "orientation": "h",
            "y": -(labels + 4) / (height - ABOVE - LEGEND - labels),
            "yanchor": "top",
            "x": 0,
            "xanchor": "left",
        },
        "dragmode": False,
        **more,
    }


def scatter(mode: str, points: Sequence[tuple[Any, Any]], **more: Any) -> dict[str, Any]:
    """Return a trace of points."""
    return {"type": "scatter", "mode": mode, "x": [x for x, _ in points], "y": [y for _, y in points], **more}


# ---------------------------------------------------------------- what matters, and the rest on demand
def focus(case: DemoCase, evidence: Collection[str], cited: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the lines that a figure shows first: the alert's, the cited ones, and the evidence."""
    wanted = {case.observation["alert"]["log_id"], *cited, *evidence}
    return [line for line in case.observation["log_window"] if line["log_id"] in wanted]


def either(few: Figure, whole: Figure, names: tuple[str, str]) -> Figure:
    """Put two figures into one, of which two buttons show one at a time, the first at first."""
    shown = [[True] * len(few["data"]) + [False] * len(whole["data"])]
    shown.append([not each for each in shown[0]])
    buttons = [
        {"label": name, "method": "update", "args": [{"visible": visible}, figure["layout"]]}
        for name, visible, figure in zip(names, shown, (few, whole), strict=True)
    ]
    menu = {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 1,
        "xanchor": "right",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 10, "t": 0},
        "showactive": True,
        "bgcolor": "rgba(128,128,128,0.15)",
        "bordercolor": "rgba(128,128,128,0.5)",
    }
    hidden = [{**trace, "visible": False} for trace in whole["data"]]
    return {"data": [*few["data"], *hidden], "layout": {**few["layout"], "updatemenus": [menu]}}
