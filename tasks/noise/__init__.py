"""Ordinary lines: what a healthy organisation logs all day, of every event type and activity. None of them is near any rule.

`rows` says how a row of a table becomes a line; the other modules hold the tables, by what the lines are about. What stories show
must be ordinary too, so that no type, activity, field, title or length tells the answer.
"""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate

from tasks.noise import cloud, defences, files, identity, network, programs
from tasks.noise.rows import Row
from tasks.scene import Scene

ROWS: tuple[Row, ...] = (
    *programs.ROWS,
    *files.ROWS,
    *network.ROWS,
    *identity.ROWS,
    *defences.ROWS,
    *cloud.ROWS,
)
# How often a type comes: most lines of a window, and of most stories, are program starts, connections and calls.
_WEIGHTS = {
    "process": 4,
    "net_conn": 4,
    "cloud_api": 3,
    "logon": 2,
    "file": 2,
    "registry": 2,
    "dns_query": 2,
    "http": 2,
}


def _share() -> tuple[float, ...]:
    """Return, for each row, the share of lines that are of it or of a row before it."""
    sums: dict[str, float] = {}
    for row in ROWS:
        sums[row.event_type] = sums.get(row.event_type, 0.0) + row.weight
    total = sum(_WEIGHTS.get(event_type, 1) for event_type in sums)
    return tuple(
        accumulate(row.weight / sums[row.event_type] * _WEIGHTS.get(row.event_type, 1) / total for row in ROWS)
    )


_SHARES = _share()
_DECK_SIZE = 1 << 15
_DECK = tuple(ROWS[bisect(_SHARES, place / _DECK_SIZE)] for place in range(_DECK_SIZE))  # each row as often as it comes
BURSTS = 0.25  # share of the lines that come again within seconds
COPIES = 0.8  # share of a burst's lines that are the same
BURST_S = 8
LONGEST_BURST = 3  # lines: fewer than any rule counts


def write_noise(scene: Scene, first: float, span: float, count: int) -> None:
    """Write ordinary lines into a scene.

    Now and then one comes again within seconds: the same line, or one of its kind from another host, as a job over many hosts writes it.

    Args:
        first: from then on, in seconds since midnight, and for `span` seconds they may happen.
        count: so many lines.
    """
    random, lines = scene.random, scene.lines
    total = len(lines) + count
    while len(lines) < total:
        row, at = _DECK[int(random() * _DECK_SIZE)], first + random() * span
        row.write(scene, at)
        if random() < BURSTS and not row.once:
            for _ in range(min(total - len(lines), 1 + int(random() * (LONGEST_BURST - 1)))):
                at = min(lines[-1][0] + 1 + random() * BURST_S, first + span)
                _write_again(scene, row, at)


def _write_again(scene: Scene, row: Row, at: float) -> None:
    """Write the last line once more, or another one of its row."""
    if scene.random() < COPIES:
        line = scene.lines[-1][1]
        scene.lines.append((int(at), {**line, "fields": line["fields"].copy()}))
    else:
        row.write(scene, at)
