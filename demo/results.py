"""Render the results that the demo shows: the pictures and the leaderboard of `eval`, read from their files."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.views import pieces
from eval.metric_table import shown_in

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ("macro_f1_by_split", "dismiss_on_malicious", "shortcuts")
LEADERBOARD = ROOT / "eval" / "leaderboard" / "leaderboard.json"


def results() -> str:
    """Render the pictures and the leaderboard; what is not there is left out."""
    try:
        entries = json.loads(LEADERBOARD.read_text("utf-8"))["entries"]
    except FileNotFoundError:
        entries = []
    names = dict.fromkeys(name for entry in entries for name in entry["sets"])
    boards = [_board(name, [entry for entry in entries if name in entry["sets"]]) for name in names]
    return str(pieces().results(boards, [column.label for column in shown_in("demo")], list(_pictures())))


def _pictures() -> Iterator[dict[str, Any]]:
    """Yield each picture that is there with the figures of its file."""
    for name in PICTURES:
        picture, data = (ROOT / "docs" / "images" / f"{name}.{kind}" for kind in ("png", "csv"))
        if picture.is_file() and data.is_file():
            with data.open(encoding="utf-8", newline="") as file:
                head, *rows = list(csv.reader(file)) or [[]]
            encoded = base64.b64encode(picture.read_bytes()).decode()
            yield {"name": name.replace("_", " "), "png": encoded, "head": head, "rows": rows}


def _board(name: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one set's table, the highest in the second column first."""
    columns = shown_in("demo")
    rows = [
        {"name": entry["name"], "cells": [_cell(entry["sets"][name]["metrics"].get(column.name)) for column in columns]}
        for entry in entries
    ]
    rows.sort(key=lambda row: -row["cells"][1]["sort"])
    return {"set": name, "items": entries[0]["sets"][name]["items"], "rows": rows}


def _cell(metric: Mapping[str, Any] | None) -> dict[str, Any]:
    if not metric or metric.get("value") is None:
        return {"text": "-", "spread": "", "sort": -1.0}
    spread = f"{metric['low']:.3f} to {metric['high']:.3f}" if metric.get("low") is not None else ""
    return {"text": f"{metric['value']:.3f}", "spread": spread, "sort": metric["value"]}
