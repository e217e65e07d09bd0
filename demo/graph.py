"""Draw who talked to whom, as a figure of plotly.js: accounts, hosts and what lies outside, in three columns."""

from __future__ import annotations

import html
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from demo.figures import EVIDENCE, PLAIN, Figure, either, escaped_name, focus, hover_text, layout, scatter
from demo.words import cut
from schema import account_name

if TYPE_CHECKING:
    from demo_data import DemoCase

Node = tuple[str, str]  # (kind, name); kinds: account, host, outside
Line = Mapping[str, Any]  # of the log
Place = tuple[float, float]  # column and row
RECORD = 300  # characters of what the records say of an entity, and of its name
MOST_LINES = 8  # of an edge, that are told where the pointer rests on it
_KINDS = {"account": "accounts", "host": "hosts", "outside": "outside or elsewhere"}
# Names stand within the figure: those at its edges reach inwards, those in the middle stand lower, out of their way.
_LOOKS = (("account", "circle", "top right"), ("host", "square", "bottom center"), ("outside", "diamond", "top left"))
_TARGETS = ("dst_hostname", "dst_ip", "query_hostname", "url", "target_hostname", "api_service")


class Link(NamedTuple):
    """Two entities of one line, in the direction in which something went."""

    source: Node
    target: Node


# ---------------------------------------------------------------- who talked to whom
def links_of(line: Line, context: Mapping[str, Any]) -> list[Link]:
    """Return who did something to whom in a line: account to host, host to what it reaches, what reaches a host to it."""
    fields = line["fields"]
    host = ("host", fields["device_hostname"]) if fields.get("device_hostname") else None
    account = _account(fields)
    origin = next(filter(None, (_place(fields.get(name), context) for name in ("src_ip", "src_hostname"))), None)
    target = _target(fields, context)
    chain = [
        account,
        origin if origin != host else None,
        host,
        target if target != host else None,
    ]
    if origin and origin != host and account:  # the account came from there
        chain = [origin, account, *(node for node in chain if node not in (origin, account))]
    nodes = [node for node in chain if node]
    return [Link(source, target) for source, target in itertools.pairwise(nodes) if source != target]


def _edges_of(case: DemoCase, some: Sequence[Line] | None = None) -> dict[Link, list[Line]]:
    """Return who talked to whom in which lines of an incident, or in some of them."""
    edges: dict[Link, list[Line]] = {}
    for line in case.observation["log_window"] if some is None else some:
        for link in links_of(line, case.observation["context"]):
            edges.setdefault(link, []).append(line)
    return edges


def talk_rows(case: DemoCase, *, revealed: bool = False) -> list[tuple[str, str, list[tuple[str, bool]]]]:
    """Return what the graph shows as rows: source, target, and their lines with whether each is evidence, after the reveal alone."""
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    return [
        (link.source[1], link.target[1], [(line["log_id"], line["log_id"] in evidence) for line in lines])
        for link, lines in _edges_of(case).items()
    ]


def _account(fields: Mapping[str, Any]) -> Node | None:
    user = fields.get("actor_user") or fields.get("user_name") or fields.get("user_uid")
    return ("account", account_name(user) or user) if user else None


def _target(fields: Mapping[str, Any], context: Mapping[str, Any]) -> Node | None:
    values = (_site(fields.get(name)) if name == "url" else fields.get(name) for name in _TARGETS)
    return next(filter(None, (_place(value, context) for value in values)), None)


def _place(value: Any, context: Mapping[str, Any]) -> Node | None:
    """Return the node of a name or address: a host that the records know, or outside."""
    if not isinstance(value, str) or not value:
        return None
    hosts = context.get("hosts", ())
    name = next((host["name"] for host in reversed(hosts) if host["ip"] == value), value)
    return ("host" if any(host["name"] == name for host in hosts) else "outside", name)


def _site(url: str | None) -> str | None:
    """Return the host that an address leads to; what stands before an @ is no host."""
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


# ---------------------------------------------------------------- the figure
def graph(case: DemoCase, *, revealed: bool = False, cited: Collection[str] = ()) -> Figure:
    """Return the figure; after the reveal evidence is coloured. What the alert's line, the `cited` ones and the evidence say is shown first, all lines on demand."""
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    lines, few = case.observation["log_window"], focus(case, evidence, cited)
    whole = _figure(case, lines, evidence)
    if len(few) == len(lines) or not _edges_of(case, few):
        return whole
    return either(_figure(case, few, evidence), whole, (f"{len(few)} that matter", f"all {len(lines)} lines"))


def _figure(case: DemoCase, lines: Sequence[Line], evidence: Collection[str]) -> Figure:
    edges = _edges_of(case, lines)
    columns = _columns(edges)
    height = max(3, *(len(names) for names in columns.values()))
    places = _places(columns, height)
    proof = {link for link, lines in edges.items() if any(line["log_id"] in evidence for line in lines)}
    data = [
        *_strokes(edges, places, proof),
        _middles(edges, places),
        *_nodes(columns, places, {node for link in proof for node in link}, case.observation["context"]),
    ]
    axes: dict[str, Any] = {
        "xaxis": {"visible": False, "range": [-0.12, 2.12], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-0.65, height - 0.5], "fixedrange": True},
        "annotations": [
            _arrow(places, link, EVIDENCE if link in proof else PLAIN) for link in _evidence_last(edges, proof)
        ],
    }
    return {"data": data, "layout": layout(126 + 70 * height, **axes)}


def _columns(edges: Mapping[Link, Any]) -> dict[str, list[str]]:
    """Return the names of each kind, in the order of their coming."""
    nodes = dict.fromkeys(node for link in edges for node in link)
    return {kind: [name for other, name in nodes if other == kind] for kind in _KINDS}


def _places(columns: Mapping[str, Sequence[str]], height: int) -> dict[Node, Place]:
    """Place each node: hosts a little lower than the others, so that no name stands on another and what passes by a host misses it."""
    return {
        (kind, name): (column, (height - len(names)) // 2 + row - (0.2 if kind == "host" else 0))
        for column, (kind, names) in enumerate(columns.items())
        for row, name in enumerate(names)
    }


def _evidence_last(edges: Mapping[Link, Any], proof: Collection[Link]) -> list[Link]:
    return sorted(edges, key=lambda link: link in proof)


def _strokes(edges: Mapping[Link, Any], places: Mapping[Node, Place], proof: Collection[Link]) -> list[dict[str, Any]]:
    """Return the edges as lines: a trace of the plain ones and one of evidence, each if there are any."""
    traces = []
    for name, colour, width in (("line", PLAIN, 1.5), ("evidence", EVIDENCE, 3)):
        links = [link for link in edges if (link in proof) is (name == "evidence")]
        points = [point for link in links for point in (places[link.source], places[link.target], (None, None))]
        if points:
            traces.append(scatter("lines", points, name=name, line={"width": width, "color": colour}, hoverinfo="skip"))
    return traces


def _middles(edges: Mapping[Link, Sequence[Line]], places: Mapping[Node, Place]) -> dict[str, Any]:
    """Return a point on each edge that tells its lines."""
    return scatter(
        "markers",
        [_between(places[link.source], places[link.target], 2 / 3) for link in edges],
        showlegend=False,
        hovertext=[_edge_text(lines) for lines in edges.values()],
        hoverinfo="text",
        marker={"size": 12, "color": PLAIN, "opacity": 0.35},
    )


def _edge_text(lines: Sequence[Line]) -> str:
    more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return "<br>".join([*map(hover_text, lines[:MOST_LINES]), *more])


def _nodes(
    columns: Mapping[str, Sequence[str]],
    places: Mapping[Node, Place],
    touched: Collection[Node],
    context: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the entities of each kind with their names, and those of evidence coloured over them."""
    traces = []
    for kind, symbol, side in _LOOKS:
        nodes = [(kind, name) for name in columns[kind]]
        if nodes:
            traces.append(
                scatter(
                    "markers+text",
                    [places[node] for node in nodes],
                    name=_KINDS[kind],
                    text=[escaped_name(node[1]) for node in nodes],
                    hovertext=[_record(node, context) for node in nodes],
                    hoverinfo="text",
                    textposition=side,
                    marker={"size": 16, "symbol": symbol, "color": PLAIN},
                )
            )
        proof = [places[node] for node in nodes if node in touched]
        if proof:
            marker = {"size": 16, "symbol": symbol, "color": EVIDENCE}
            traces.append(scatter("markers", proof, showlegend=False, hoverinfo="skip", marker=marker))
    return traces


def _between(source: Place, target: Place, share: float) -> Place:
    return source[0] + (target[0] - source[0]) * share, source[1] + (target[1] - source[1]) * share


def _arrow(places: Mapping[Node, Place], link: Link, colour: str) -> dict[str, Any]:
    """Return a short arrow past the middle of an edge, in its direction."""
    (x, y), (ax, ay) = (_between(places[link.source], places[link.target], share) for share in (0.56, 0.5))
    return {
        "x": x,
        "y": y,
        "ax": ax,
        "ay": ay,
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


def _record(node: Node, context: Mapping[str, Any]) -> str:
    """Return an entity's name with what the records say of it."""
    kind, name = node
    for row in (*context.get("hosts", ()), *context.get("accounts", ())):
        if row["name"] == name:
            facts = ", ".join(f"{key} {cut(value, RECORD)}" for key, value in row.items())
            return html.escape(facts[:RECORD], quote=False)
    listed = [row["confidence"] for row in context.get("indicators", ()) if row["value"] == name]
    known = f"<br>threat intelligence: {listed[0]} confidence" if listed else f" ({_KINDS[kind]})"
    return escaped_name(name, RECORD) + known
