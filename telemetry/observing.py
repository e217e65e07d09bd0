"""Show a window of recorded events to a defender as the environment shows an incident: alert, lines, context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from schema import FIELDS_OF, NO_TIME
from tasks.alerts import alert_on
from telemetry.importers.events import DraftEvent
from telemetry.masking import masked
from telemetry.windowing import worth_of
from world import World


def observation_of(events: Sequence[Mapping[str, Any]], world: World, *, mask: bool = False) -> dict[str, Any]:
    """Return what a defender sees of a window: `alert`, `log_window`, `context`.

    The alert stands on the line that is worth most by the window's own order (`telemetry.windowing`), which knows no label.

    Args:
        events: the window's events as plain data, in time order; without any there is no alert, and nothing to ask.
        world: the organisation around them.
        mask: replace what a model may know by heart (`telemetry.masking`).
    """
    lines = [{name: event[name] for name in ("event_type", "fields", "timestamp", "log_id")} for event in events]
    if not lines:
        return {"alert": None, "log_window": [], "context": None}
    lines = masked(lines) if mask else lines
    worth = [worth_of(_draft(line)) for line in lines]
    alerted = lines[worth.index(max(worth))]
    around = world if world.now else replace(world, now=_latest(lines))
    return {
        "alert": dict(alert_on(alerted["event_type"], alerted["log_id"], "")),
        "log_window": lines,
        "context": around.slice_for(lines),
    }


def _latest(lines: Sequence[Mapping[str, Any]]) -> str:
    times = [str(line["timestamp"]) for line in lines]
    return next((time for time in reversed(times) if time != NO_TIME), NO_TIME)


def _draft(line: Mapping[str, Any]) -> DraftEvent:
    """Return a line's event; its values were checked when it was imported."""
    fields = FIELDS_OF[line["event_type"]].model_construct(**line["fields"])
    return DraftEvent(line["event_type"], fields)
