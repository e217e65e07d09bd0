"""How the demo looks: HTML from demo/pieces.html and figures in the form of plotly.js, from the plain data of `demo_data`.

Everything that an attacker can write passes through `visible` (control and direction characters become escapes) and through Jinja's escaping,
in figures through the escaping of plotly's own small markup. Imports no gradio.
"""

from __future__ import annotations

import base64
import csv
import html
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from client.screens import ACTIONS, summary, visible
from demo_data import ROUNDS, Answer, Case, Game, Judged, rule_says
from eval.metric_table import shown_in
from schema import account_name

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
Figure = dict[str, Any]  # data and layout, as plotly.js draws them
LABEL = 18  # characters of a name in a figure; beside two other columns a phone has room for no more
ROOM = 0.17  # of the time shown, between two ids on one side of a row: an id is some 33 px wide, a phone's timeline some 200
KNOWN_BY = ("name", "ticket_id", "value", "host")  # of a record: its first columns
RECORD = 300  # characters of what the records say of an entity in a figure, and of its name
LONGEST = 2_000  # characters of one text in the page
PICTURES = ("macro_f1_by_split", "dismiss_on_malicious", "shortcuts")
LEADERBOARD = ROOT / "eval" / "leaderboard" / "leaderboard.json"


# ---------------------------------------------------------------- HTML
def _cut(value: Any) -> str:
    whole = value if isinstance(value, str) else visible(value)
    text = visible(whole[: LONGEST + 1])  # what is cut away is not worked on
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(whole):,} characters)"


@cache
def _pieces() -> Any:
    found = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["visible"] = _cut
    found.filters["clock"] = lambda stamp: visible(stamp)[11:19]
    found.filters["columns"] = lambda record: sorted(record, key=lambda name: name not in KNOWN_BY)
    found.filters["points"] = lambda value: "-" if value is None else f"{value:+.2f}"
    found.globals["actions"] = ACTIONS
    return found.get_template("pieces.html").module


def _technique_url(technique: str) -> str:
    """A technique's page at MITRE; the address is made of the id's letters and digits alone."""
    number, _, sub = re.sub(r"[^A-Z0-9.]", "", technique).partition(".")
    return f"https://attack.mitre.org/techniques/{number}/" + (f"{sub}/" if sub else "")


def alert_card(case: Case) -> str:
    """What the SIEM raised, and how to come back to this incident."""
    query = "&".join(f"{name}={value}" for name, value in case.link.items())
    return str(_pieces().alert_card(case.title, case.observation["alert"], query, len(case.observation["log_window"])))


def log_table(case: Case, answers: Iterable[Answer] = (), *, revealed: bool = False) -> str:
    """The window as a table; who cited which line, and after the reveal which lines are evidence."""
    marks: dict[str, list[str]] = {case.observation["alert"]["log_id"]: ["alert"]}
    for answer in answers:
        if answer.triage:
            marks.setdefault(answer.triage["cited_log_id"], []).append(f"cited by {answer.who.split(' ')[0]}")
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    rows = []
    for line in case.observation["log_window"]:
        log_id, fields = line["log_id"], line["fields"]
        rest = {name: value for name, value in fields.items() if name not in ("device_hostname", "actor_user")}
        rows.append(
            {
                "id": log_id,
                "at": line["timestamp"],
                "kind": line["event_type"],
                "activity": fields.get("activity"),
                "host": fields.get("device_hostname"),
                "who": fields.get("actor_user"),
                "told": summary({"event_type": line["event_type"], "fields": rest}).plain,
                "fields": fields,
                "marks": marks.get(log_id, []),
                "evidence": log_id in evidence,
            }
        )
    return str(_pieces().log_table(rows, revealed))


def world_tables(context: Mapping[str, Any]) -> str:
    """What the organisation knows: assets, accounts, tickets, indicators and the rest, as tables."""
    return str(_pieces().world(context))


def answer_card(answer: Answer | None, case: Case | None = None) -> str:
    """One answer with its reward by component; whether it was right is told where the case is given."""
    return str(_pieces().answer_card(answer, case is not None)) if answer else ""


def ground_truth(case: Case, *, claimed: str = "") -> str:
    """Ground truth, its evidence and findings with their techniques, and why, in words."""
    truth = case.truth
    findings = [
        {
            "rule": finding.rule_id,
            "says": rule_says(finding.rule_id),
            "technique": finding.technique,
            "url": _technique_url(finding.technique),
            "strength": finding.strength,
            "evidence": list(finding.evidence),
            "explained_by": finding.explained_by,
        }
        for finding in truth.findings
    ]
    return str(_pieces().ground_truth(truth, findings, truth.explanation.splitlines(), claimed))


def hidden() -> str:
    """What stands where the truth will be."""
    return str(_pieces().hidden())


def score(game: Game) -> str:
    """The game's score, round by round."""
    totals = game.totals() if game.rounds else {"you": (0, 0.0), game.against: (0, 0.0)}
    return str(_pieces().score(game, totals, ROUNDS))


def gate(judged: Judged) -> str:
    """The admission gate's word on a draft."""
    return str(_pieces().gate(judged))


def outcome(judged: Judged, answer: Answer | None, grade: Mapping[str, Any]) -> str:
    """Who won, with both rewards."""
    return str(_pieces().outcome(judged, answer, grade))


def note(text: str) -> str:
    """A sentence of ours or an error, as a paragraph."""
    return str(_pieces().note(text))


# ---------------------------------------------------------------- who talked to whom
class Link(NamedTuple):
    """Two entities of one line, in the direction in which something went."""

    source: tuple[str, str]  # (kind, name); kinds: account, host, outside
    target: tuple[str, str]


def _site(url: str | None) -> str | None:
    """The host that an address leads to; what stands before an @ is no host."""
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def links_of(line: Mapping[str, Any], context: Mapping[str, Any]) -> list[Link]:
    """Who did something to whom in a line: account to host, host to what it reaches, what reaches a host to it."""
    fields = line["fields"]
    by_ip = {host["ip"]: host["name"] for host in context.get("hosts", ())}
    hosts = {host["name"] for host in context.get("hosts", ())}

    def place(value: Any) -> tuple[str, str] | None:
        if not isinstance(value, str) or not value:
            return None
        name = by_ip.get(value, value)
        return ("host" if name in hosts else "outside", name)

    host = ("host", fields["device_hostname"]) if fields.get("device_hostname") else None
    user = fields.get("actor_user") or fields.get("user_name") or fields.get("user_uid")
    account = ("account", account_name(user) or user) if user else None
    came = place(fields.get("src_ip")) or place(fields.get("src_hostname"))
    went = next(
        filter(
            None,
            (
                place(fields.get("dst_hostname")),
                place(fields.get("dst_ip")),
                place(fields.get("query_hostname")),
                place(_site(fields.get("url"))),
                place(fields.get("target_hostname")),
                place(fields.get("api_service")),
            ),
        ),
        None,
    )
    chain = [node for node in (account, came if came != host else None, host, went if went != host else None) if node]
    if came and came != host and account:  # the account came from there
        chain = [came, account, *(node for node in chain if node not in (came, account))]
    return [Link(one, other) for one, other in itertools.pairwise(chain) if one != other]


_KINDS = {"account": "accounts", "host": "hosts", "outside": "outside or elsewhere"}
_PLAIN, _EVIDENCE, _ALERT = "#5b7aa8", "#d97706", "#7c3aed"
_HOVER = "#1f2937"  # behind what a figure says in white


def _name(value: str, room: int = LABEL) -> str:
    """An entity's name as plotly may show it: its small markup escaped, and cut."""
    text = visible(value)
    return html.escape(text if len(text) <= room else text[: room - 1] + "…", quote=False)


def _told(line: Mapping[str, Any]) -> str:
    text = summary({"event_type": line["event_type"], "fields": line["fields"]}).plain
    return html.escape(f"{line['log_id']} {line['timestamp'][11:19]} {line['event_type']}: {text[:90]}", quote=False)


def _layout(height: int, **more: Any) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 20, "t": 28, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"align": "left", "bgcolor": _HOVER, "bordercolor": "#9ca3af", "font": {"color": "#ffffff"}},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "dragmode": False,
        **more,
    }


def _scatter(mode: str, points: Sequence[tuple[Any, Any]], **more: Any) -> dict[str, Any]:
    """A trace of points, as plotly.js takes it."""
    return {"type": "scatter", "mode": mode, "x": [x for x, _ in points], "y": [y for _, y in points], **more}


def timeline(case: Case, *, revealed: bool = False) -> Figure:
    """When what happened on which host (or to which account): a plotly figure, evidence coloured after the reveal."""
    window, evidence = case.observation["log_window"], set(case.truth.evidence_log_ids) if revealed else set()
    alerted = case.observation["alert"]["log_id"]
    rows: dict[str, int] = {}
    groups: dict[str, list[tuple[str, int, str, str]]] = {"log line": [], "evidence": []}
    marked: list[tuple[str, int]] = []
    for line in window:
        fields = line["fields"]
        where = (
            fields.get("device_hostname") or account_name(fields.get("actor_user") or fields.get("user_name")) or "-"
        )
        row = rows.setdefault(where, len(rows))
        at = line["timestamp"]
        groups["evidence" if line["log_id"] in evidence else "log line"].append((at, row, line["log_id"], _told(line)))
        if line["log_id"] == alerted:
            marked.append((at, row))
    shown = _range(window)
    wanted = (sorted((one[2] != alerted, *one[:3]) for one in groups[name]) for name in ("evidence", "log line"))
    sides = _sides([one[1:] for some in wanted for one in some], shown)
    data = [
        _scatter(
            "markers+text",
            [one[:2] for one in some],
            name=name,
            text=[one[2] if one[2] in sides else "" for one in some],
            hovertext=[one[3] for one in some],
            hoverinfo="text",
            cliponaxis=False,
            textposition=[f"{sides.get(one[2], 'bottom')} center" for one in some],
            marker={
                "size": 13,
                "symbol": "diamond" if name == "evidence" else "circle",
                "color": _EVIDENCE if name == "evidence" else _PLAIN,
            },
        )
        for name, some in groups.items()
        if some
    ]
    data.append(
        _scatter(
            "markers",
            marked,
            name="alert fired here",
            hoverinfo="skip",
            marker={"size": 22, "symbol": "circle-open", "color": _ALERT, "line": {"width": 3}},
        )
    )
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    axes = {
        "xaxis": {"type": "date", "range": shown, "automargin": True, **grid},
        "yaxis": {
            "automargin": True,
            "tickvals": list(rows.values()),
            "ticktext": [_name(row) for row in rows],
            "range": [len(rows) - 0.3, -0.7],
            **grid,
        },
    }
    return {"data": data, "layout": _layout(110 + 62 * max(2, len(rows)), **axes)}


def _range(window: Sequence[Mapping[str, Any]]) -> list[str]:
    """From a little before the first line to a little after the last."""
    times = [datetime.fromisoformat(line["timestamp"]) for line in window]
    margin = max((max(times) - min(times)) * 0.06, datetime.resolution * 60_000_000)
    return [(edge).strftime("%Y-%m-%dT%H:%M:%S") for edge in (min(times) - margin, max(times) + margin)]


def _sides(wanted: Iterable[tuple[str, int, str]], shown: Sequence[str]) -> dict[str, str]:
    """On which side of its point each id (of a time, a row and an id, the most wanted first) stands; one that would stand on another is left out."""
    start, end = (datetime.fromisoformat(edge) for edge in shown)
    taken: dict[tuple[int, str], list[float]] = {}
    sides: dict[str, str] = {}
    for at, row, log_id in wanted:
        place = (datetime.fromisoformat(at).replace(tzinfo=None) - start) / (end - start)
        for side in ("bottom", "top"):
            others = taken.setdefault((row, side), [])
            if all(abs(place - other) >= ROOM for other in others):
                others.append(place)
                sides[log_id] = side
                break
    return sides


def _edges(case: Case) -> dict[Link, list[Mapping[str, Any]]]:
    """Who talked to whom in which lines."""
    edges: dict[Link, list[Mapping[str, Any]]] = {}
    for line in case.observation["log_window"]:
        for link in links_of(line, case.observation["context"]):
            edges.setdefault(link, []).append(line)
    return edges


def talks(case: Case, *, revealed: bool = False) -> str:
    """What the graph shows, as text: who talked to whom in which lines, and after the reveal in which evidence."""
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    told = [
        (link.source[1], link.target[1], [(line["log_id"], line["log_id"] in evidence) for line in lines])
        for link, lines in _edges(case).items()
    ]
    return str(_pieces().talks(told))


def graph(case: Case, *, revealed: bool = False) -> Figure:
    """Accounts, hosts and what lies outside, in three columns, and who talked to whom: a plotly figure."""
    context, evidence = case.observation["context"], set(case.truth.evidence_log_ids) if revealed else set()
    edges = _edges(case)
    nodes: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for link in edges:
        for kind, name in link:
            if name not in nodes[kind]:
                nodes[kind].append(name)
    height = max(3, *(len(names) for names in nodes.values()))
    places = {  # hosts a little lower than the others, so that no name stands on another and what passes by a host misses it
        (kind, name): (column, (height - len(names)) // 2 + place - (0.2 if kind == "host" else 0))
        for column, (kind, names) in enumerate(nodes.items())
        for place, name in enumerate(names)
    }
    data: list[dict[str, Any]] = []
    arrows: list[dict[str, Any]] = []
    for name, colour in (("line", _PLAIN), ("evidence", _EVIDENCE)):
        strokes: list[tuple[float | None, float | None]] = []
        for link, lines in edges.items():
            if (name == "evidence") is any(line["log_id"] in evidence for line in lines):
                (x0, y0), (x1, y1) = places[link.source], places[link.target]
                strokes += [(x0, y0), (x1, y1), (None, None)]
                arrows.append(_arrow(x0, y0, x1, y1, colour))
        if strokes:
            shown = {"width": 3 if name == "evidence" else 1.5, "color": colour}
            data.append(_scatter("lines", strokes, name=name, line=shown, hoverinfo="skip"))
    middles = [
        (
            (places[link.source][0] + 2 * places[link.target][0]) / 3,
            (places[link.source][1] + 2 * places[link.target][1]) / 3,
            "<br>".join(
                [_told(line) for line in lines[:8]] + ([f"and {len(lines) - 8} more"] if len(lines) > 8 else [])
            ),
        )
        for link, lines in edges.items()
    ]
    data.append(
        _scatter(
            "markers",
            [one[:2] for one in middles],
            showlegend=False,
            hovertext=[one[2] for one in middles],
            hoverinfo="text",
            marker={"size": 12, "color": _PLAIN, "opacity": 0.35},
        )
    )
    touched = {
        node for link, lines in edges.items() if any(line["log_id"] in evidence for line in lines) for node in link
    }
    # names stand within the figure: those at its edges reach inwards, those in the middle stand lower, out of their way
    for kind, symbol, side in (
        ("account", "circle", "top right"),
        ("host", "square", "bottom center"),
        ("outside", "diamond", "top left"),
    ):
        some = [(kind, name) for name in nodes[kind]]
        if some:
            data.append(
                _scatter(
                    "markers+text",
                    [places[node] for node in some],
                    name=_KINDS[kind],
                    text=[_name(node[1]) for node in some],
                    hovertext=[_described(node, context) for node in some],
                    hoverinfo="text",
                    textposition=side,
                    marker={"size": 16, "symbol": symbol, "color": _PLAIN},
                )
            )
            proof = [node for node in some if node in touched]
            if proof:
                data.append(
                    _scatter(
                        "markers",
                        [places[node] for node in proof],
                        showlegend=False,
                        hoverinfo="skip",
                        marker={"size": 16, "symbol": symbol, "color": _EVIDENCE},
                    )
                )
    axes = {
        "xaxis": {"visible": False, "range": [-0.12, 2.12], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-0.65, height - 0.5], "fixedrange": True},
        "annotations": arrows,
    }
    return {"data": data, "layout": _layout(90 + 70 * height, **axes)}


def _arrow(x0: float, y0: float, x1: float, y1: float, colour: str) -> dict[str, Any]:
    """A short arrow past the middle of an edge, in its direction."""
    return {
        "x": x0 + (x1 - x0) * 0.56,
        "y": y0 + (y1 - y0) * 0.56,
        "ax": x0 + (x1 - x0) * 0.5,
        "ay": y0 + (y1 - y0) * 0.5,
        "xref": "x",
        "yref": "y",
        "axref": "x",
        "ayref": "y",
        "text": "",
        "showarrow": True,
        "arrowhead": 2,
        "arrowsize": 1.4,
        "arrowwidth": 1.6,
        "arrowcolor": colour,
    }


def _described(node: tuple[str, str], context: Mapping[str, Any]) -> str:
    """An entity with what the records say of it."""
    kind, name = node
    for row in (*context.get("hosts", ()), *context.get("accounts", ())):
        if row["name"] == name:
            told = ", ".join(f"{key} {_cut(value)}" for key, value in row.items())
            return html.escape(told[:RECORD], quote=False)
    listed = [row["confidence"] for row in context.get("indicators", ()) if row["value"] == name]
    return _name(name, RECORD) + (
        f"<br>threat intelligence: {listed[0]} confidence" if listed else f" ({_KINDS[kind]})"
    )


# ---------------------------------------------------------------- results
def results() -> str:
    """The pictures and the leaderboard of `eval`, read from their files."""
    pictures = []
    for name in PICTURES:
        picture, data = (ROOT / "docs" / "images" / f"{name}.{kind}" for kind in ("png", "csv"))
        if picture.is_file() and data.is_file():
            with data.open(encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
            encoded = base64.b64encode(picture.read_bytes()).decode()
            head, *body = rows or [[]]
            pictures.append({"name": name.replace("_", " "), "png": encoded, "head": head, "rows": body})
    try:
        entries = json.loads(LEADERBOARD.read_text("utf-8"))["entries"]
    except FileNotFoundError:
        entries = []
    columns = shown_in("demo")
    sets = list(dict.fromkeys(name for entry in entries for name in entry["sets"]))
    boards = [
        {
            "set": name,
            "items": next(entry["sets"][name]["items"] for entry in entries if name in entry["sets"]),
            "rows": sorted(
                (
                    {
                        "name": entry["name"],
                        "cells": [_cell(entry["sets"][name]["metrics"].get(column.name)) for column in columns],
                    }
                    for entry in entries
                    if name in entry["sets"]
                ),
                key=lambda row: -row["cells"][1]["sort"],
            ),
        }
        for name in sets
    ]
    return str(_pieces().results(boards, [column.label for column in columns], pictures))


def _cell(metric: Mapping[str, Any] | None) -> dict[str, Any]:
    if not metric or metric.get("value") is None:
        return {"text": "-", "spread": "", "sort": -1.0}
    spread = f"{metric['low']:.3f} to {metric['high']:.3f}" if metric.get("low") is not None else ""
    return {"text": f"{metric['value']:.3f}", "spread": spread, "sort": metric["value"]}
