"""A defender's observation as numbers and as words, for probes that look for shortcuts.

`fields` names every observable field by its path (`alert.title`, `process.fields.process_path`, `alerted.event_type`,
`context.tickets.status`) and describes the values found there: how many, how different, how large, which. Its words are `players.bag_of_words.words`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from schema import epoch_s

MAX_VALUE = 60  # characters; a longer text is described by its length alone
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")


def fields(observation: Mapping[str, Any]) -> dict[str, float]:
    """Describe every observable field: `path#what` -> number."""
    now = epoch_s(observation["context"]["now"])
    described: dict[str, float] = {}
    for path, values in _by_path(observation).items():
        for aspect, value in _described(values, now) if values else ():
            described[f"{path}#{aspect}"] = value
    return described


def _by_path(observation: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Collect the values of each field: those of lines by event type, and those of the alert's line once more."""
    values: dict[str, list[Any]] = defaultdict(list)
    alert = observation["alert"]
    for name, value in alert.items():
        if name != "log_id":
            values[f"alert.{name}"].append(value)
    for index, line in enumerate(observation["log_window"]):
        values["log_window.event_type"].append(line["event_type"])
        values["log_window.timestamp"].append(line["timestamp"])
        for name, value in line["fields"].items():
            values[f"{line['event_type']}.{name}"].append(value)
        if line["log_id"] == alert["log_id"]:
            values["alert.log_id"].append(index)
            values["alerted.event_type"].append(line["event_type"])
            values["alerted.timestamp"].append(line["timestamp"])
            for name, value in line["fields"].items():
                values[f"alerted.{name}"].append(value)
    for part, rows in observation["context"].items():
        if part == "now":
            continue
        values[f"context.{part}"].extend(["row"] * len(rows))
        for row in rows:
            for name, value in row.items() if isinstance(row, Mapping) else (("value", row),):
                values[f"context.{part}.{name}"].extend(value if isinstance(value, list) else [value])
    return values


def _described(values: list[Any], now: float) -> Iterator[tuple[str, float]]:
    """Yield how many values there are, how many different ones, their sizes, and the values themselves."""
    yield "count", len(values)
    yield "different", len(set(values))
    numbers = [_number(value, now) for value in values]
    yield "least", min(numbers)
    yield "most", max(numbers)
    for value in set(values):
        text = str(value)
        if len(text) <= MAX_VALUE and not _TIME.match(text):
            yield f"={text}", values.count(value)
            if "\\" in text:
                yield f"={text.rpartition(chr(92))[2].lower()}", values.count(value)


def _number(value: Any, now: float) -> float:
    """Return a number's value, a time's distance from now in seconds (-1 where either is unknown), or a text's length."""
    if isinstance(value, bool | int | float):
        return float(value)
    if not _TIME.match(value):
        return float(len(value))
    distance = now - epoch_s(value)
    return -1.0 if isnan(distance) else distance
