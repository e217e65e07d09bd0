"""Render what training changed, how defenders compare and who beats whom, read from the files of `eval`; a figure is nowhere typed."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.views import pieces
from demo_data import ARENA, SET_WORDS, checkpoints
from eval.metric_table import shown_in
from players.labels import attacker_in_words, defender_in_words

ROOT = Path(__file__).resolve().parent.parent
PICTURES = {
    "dismiss_on_malicious": "Which defenders dismiss attacks",
    "macro_f1_by_split": "How well the five actions are told apart, by what is new",
    "shortcuts": "What cheap tricks reach without understanding (chance is 20 %)",
}
LEADERBOARD = ROOT / "eval" / "leaderboard" / "leaderboard.json"
RESULTS = ROOT / "docs" / "results.json"
BOARD_WORDS = {
    "benchmark": "the whole benchmark",
    "holdout": "the small hold-out",
    "val": "incidents like those of training",
    "val_family": "attack families left out of training",
    **SET_WORDS,
    "pairs": "pairs that differ in one fact",
    "injection": "incidents with hostile text",
    "invariance": "incidents told in other words",
}
NOTES = {  # what follows a defender's name
    "verifier_oracle": " (ceiling)",
    "always_dismiss": " (floor)",
    "embedded": ", after training",
}
OTHERS = {"embedded (first)": "First model that was trained"}  # entries of the leaderboard that are no player any more
LEFT, WIDTH, TOP, HEIGHT = 60, 540, 12, 168  # of the curve, in its own units
HIGHEST, LOWEST = 1.1, -0.6  # rewards at the curve's ends
GRID = (0.0, 0.5, 1.0)


def results() -> str:
    """Render the tab; what is not there is left out."""
    measured, entries = _read(RESULTS).get("sets", {}), _read(LEADERBOARD).get("entries", [])
    names = dict.fromkeys(name for entry in entries for name in entry["sets"])
    boards = [_board(name, [entry for entry in entries if name in entry["sets"]]) for name in names]
    gains = [_gain(name, measured[name]) for name in SET_WORDS if name in measured]
    parts = (_lesson(gains), _curve(checkpoints()), gains, boards, shown_in("demo"), heat(), list(_pictures()))
    return str(pieces("results.html").page(*parts))


def heat() -> str:
    """Render how often each attacker makes each defender wrong."""
    pairs = _read(ARENA).get("pairs", [])
    attackers = list(dict.fromkeys(pair["attacker"] for pair in pairs))
    defenders = list(dict.fromkeys(pair["defender"] for pair in pairs))
    shares = {(pair["attacker"], pair["defender"]): pair["success"] for pair in pairs}
    cells = [[_percent(shares.get((attacker, defender))) for defender in defenders] for attacker in attackers]
    titles = [attacker_in_words(name) for name in attackers]
    return str(pieces("results.html").heat(titles, [defender_in_words(name) for name in defenders], cells))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}


def _percent(share: Mapping[str, Any] | None) -> dict[str, int] | None:
    """Return a share and its interval in per cent; None where nothing was measured."""
    if not share or share.get("value") is None:
        return None
    return {name: round(100 * share[key]) for name, key in (("percent", "value"), ("low", "low"), ("high", "high"))}


# ---------------------------------------------------------------- what was learned
def _gain(name: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return how often the model was right before and after training, and whether the difference is shown (its interval leaves zero out)."""
    shares = measured["metrics"]["accuracy"]
    return {
        "words": BOARD_WORDS[name],
        "n": measured["items"],
        "before": _percent(shares["before"]),
        "after": _percent(shares["after"]),
        "shown": shares["difference"]["low"] > 0,
    }


def _lesson(gains: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a title and sentences on what training changed; None where nothing was measured."""
    if not gains:
        return None
    first, stages = gains[0], checkpoints()
    title = f"The shipped model answers {first['after']['percent']} % right on {first['words']}; the first one that was trained, {first['before']['percent']} %"
    sentences = [
        f"On {gain['words']}: {gain['before']['percent']} % by the first, {gain['after']['percent']} % by the shipped one."
        + ("" if gain["shown"] else " No gain is shown there: the model does not know what it never saw.")
        for gain in gains[1:]
    ]
    shipped = next((stage for stage in stages if stage["name"] == "shipped"), None)
    if shipped:
        seen = shipped["incidents"]
        sentences.insert(
            0,
            f"The shipped one learned from {seen:,} made-up incidents, each graded by the verifier, which reads events and records and believes no claim.",
        )
    sentences.append(
        "Good is 100 %, which the verifier reaches by definition; a guess among five actions reaches 20 %."
    )
    return {"title": title, "sentences": sentences}


def _curve(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the points of the learning curve, one beside the other in the order of training; None for fewer than two."""
    if len(stages) < 2:
        return None
    points = [
        {
            "title": stage["title"],
            "value": f"{stage['mean_reward']['value']:+.2f}",
            "incidents": f"{stage['incidents'] or 0:,}",
            "x": round(LEFT + WIDTH * place / (len(stages) - 1), 1),
            "y": _height(stage["mean_reward"]["value"]),
            "low": _height(stage["mean_reward"]["low"]),
            "high": _height(stage["mean_reward"]["high"]),
        }
        for place, stage in enumerate(stages)
    ]
    path = " ".join(f"{point['x']},{point['y']}" for point in points)
    return {"points": points, "path": path, "grid": [{"value": f"{value:g}", "y": _height(value)} for value in GRID]}


def _height(reward: float) -> float:
    return round(TOP + HEIGHT * (HIGHEST - reward) / (HIGHEST - LOWEST), 1)


# ---------------------------------------------------------------- pictures and boards
def _pictures() -> Iterator[dict[str, Any]]:
    """Yield each picture that is there with the figures of its file."""
    for name, words in PICTURES.items():
        picture, data = (ROOT / "docs" / "images" / f"{name}.{kind}" for kind in ("png", "csv"))
        if picture.is_file() and data.is_file():
            with data.open(encoding="utf-8", newline="") as file:
                head, *rows = list(csv.reader(file)) or [[]]
            yield {"words": words, "png": base64.b64encode(picture.read_bytes()).decode(), "head": head, "rows": rows}


def _board(name: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one set's table, the highest in the second column first."""
    columns = shown_in("demo")
    rows: list[dict[str, Any]] = [
        {
            "name": OTHERS.get(entry["name"]) or defender_in_words(entry["name"]) + NOTES.get(entry["name"], ""),
            "cells": [_cell(entry["sets"][name]["metrics"].get(column.name)) for column in columns],
        }
        for entry in entries
    ]
    rows.sort(key=lambda row: -row["cells"][1]["sort"])
    words = BOARD_WORDS.get(name, name.replace("_", " "))
    return {"words": words, "items": entries[0]["sets"][name]["items"], "rows": rows}


def _cell(metric: Mapping[str, Any] | None) -> dict[str, Any]:
    if not metric or metric.get("value") is None:
        return {"text": "-", "spread": "", "sort": -1.0}
    spread = f"{metric['low']:z.3f} to {metric['high']:z.3f}" if metric.get("low") is not None else ""
    return {"text": f"{metric['value']:z.3f}", "spread": spread, "sort": metric["value"]}
