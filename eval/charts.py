"""How pictures look and are kept: one style, two forms, and the data of each beside it.

Colours are Okabe and Ito's, which the colour-blind tell apart; series differ by marker as well. `dots` compares defenders on one scale,
`panels` gives each its own small picture. A chart is saved as PNG with its rows as CSV. Nothing opens a window.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schema import BadRequestError, Row

WIDTH = 8.6  # inches; a README shows them at about 100 pixels each, so that 10 points stay readable
NARROW = 4.3  # inches; as wide as a phone, with text of the same size
DPI = 160
LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK = ("#56B4E9", "#E69F00", "#2CC295", "#E29BC4", "#FF7F2A", "#F0E442", "#FFFFFF")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
NOTHING = "no value"


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours of one theme."""

    paper: str
    text: str
    faint: str
    series: tuple[str, ...]
    scale: str  # matplotlib's name of the sequential colours, from the paper's to the strongest


INKS = {
    False: Ink("#FFFFFF", "#1A1A1A", "#C4C4C4", LIGHT, "Blues"),
    True: Ink("#15191F", "#ECECEC", "#59616B", DARK, "Blues_r"),
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: file name without ending, title, what it shows in words, its data, and how to draw it.

    `tall` is its height where it is narrow. Where `rows` is empty there is nothing to draw and `missing` says why.
    """

    name: str
    title: str
    alt: str
    rows: Sequence[Row]
    height: float  # inches
    draw: Callable[[Any, Ink], None]
    missing: str = ""
    tall: float = 0.0  # inches; 0 takes `height`


def png(chart: Chart, *, dark: bool = False, narrow: bool = False) -> bytes:
    """Render a chart as PNG, `narrow` for a phone."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ink = INKS[dark]
    style: Any = {
        "font.size": 10,
        "text.color": ink.text,
        "axes.labelcolor": ink.text,
        "axes.edgecolor": ink.text,
        "axes.facecolor": ink.paper,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": ink.text,
        "ytick.color": ink.text,
        "grid.color": ink.faint,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
    }
    with rc_context(style):
        size = (NARROW, chart.tall or chart.height) if narrow else (WIDTH, chart.height)
        figure = Figure(figsize=size, dpi=DPI, facecolor=ink.paper, layout="constrained")
        chart.draw(figure, ink)
        figure.suptitle(fitted(chart.title, figure, 9), fontsize=12, fontweight="bold", x=0.01, ha="left")
        image = io.BytesIO()
        # The canvas lays the figure out as it draws; `savefig` draws all of it a first time for the layout alone.
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(image, metadata={"Software": None})
    return with_palette(image)


def with_palette(image: io.BytesIO) -> bytes:
    """Return a picture with a palette of 256 colours, which is less than half as large."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(image).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def fitted(text: str, figure: Any, letters: float = 12) -> str:
    """Break a text into lines that fit a narrow figure, at so many letters an inch; a wide one has room for all."""
    return text if figure.get_figwidth() >= WIDTH else textwrap.fill(text, round(figure.get_figwidth() * letters))


def _columns(figure: Any, most: int) -> int:
    """Return how many panels or entries of a legend stand side by side in a figure."""
    return most if figure.get_figwidth() >= WIDTH else 2


def save(chart: Chart, folder: Path) -> list[Path]:
    """Write `<name>.png` and `<name>.csv` into a folder, which is made if it is missing.

    Raises:
        BadRequestError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{chart.name}.png").write_bytes(png(chart))
        with (folder / f"{chart.name}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(chart.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(chart.rows)
    except OSError as error:
        raise BadRequestError(
            f"Expected a folder to write pictures to, and {str(folder)!r} is none ({error}); give another --out."
        ) from error
    return [folder / f"{chart.name}.{ending}" for ending in ("png", "csv")]


# ---------------------------------------------------------------- figures on one scale
def dots(
    name: str,
    title: str,
    axis: str,
    rows: Sequence[Row],
    *,
    alt: str,
    series: str | None = None,
    percent: bool = True,
    limits: tuple[float, float] | None = (0.0, 1.0),
    bounds: Mapping[str, float] | None = None,
    missing: str = "",
) -> Chart:
    """Chart figures with intervals: a line for each defender, a marker for each series.

    Args:
        name: of the files.
        title: above the picture.
        axis: what the scale counts.
        rows: the first column names the line; `series` names the column that tells series apart; then `value`, `low`, `high`, which
            may be None.
        alt: the picture in words.
        series: the column that tells series apart; None for one series, whose values are written beside it.
        percent: show 0.1 as 10 %.
        limits: of the scale; None fits it to the data.
        bounds: by series, a figure that should not be exceeded: a dashed line.
        missing: why there is nothing, where `rows` is empty.
    """
    line = next(iter(rows[0])) if rows else ""
    lines = list(dict.fromkeys(str(row[line]) for row in rows))
    kinds = list(dict.fromkeys(str(row[series]) for row in rows)) if series else [""]
    legend = -(-len(kinds) // 4) if series else 0  # rows of four

    def draw(figure: Any, ink: Ink) -> None:
        axes = figure.add_subplot()
        for index, kind in enumerate(kinds):
            colour = ink.series[index % len(ink.series)]
            offset = (index - (len(kinds) - 1) / 2) * 0.7 / len(kinds)
            points = [
                (lines.index(str(row[line])) + offset, row) for row in rows if not series or str(row[series]) == kind
            ]
            _with_bars(axes, [(at, row) for at, row in points if row["value"] is not None], index, colour, kind)
            _with_texts(axes, points, percent=percent, values=not series)
            if bounds and kind in bounds:
                axes.axvline(bounds[kind], color=colour, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.set_yticks(range(len(lines)), lines)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        _with_scale(axes, fitted(axis, figure, 8), percent=percent, limits=limits)
        if series:
            figure.legend(loc="outside lower center", ncols=min(_columns(figure, 4), len(kinds)), fontsize=9)

    height = 1.1 + 0.3 * legend + len(lines) * max(0.34, 0.16 * len(kinds) + 0.12)
    return Chart(name, title, alt, rows, height, draw, missing, tall=height + 0.7 + 0.3 * legend)


def _with_bars(axes: Any, points: Sequence[tuple[float, Row]], index: int, colour: str, label: str) -> None:
    """Draw markers, each with its interval if it has one."""
    for at, row in points:
        if row["low"] is not None and row["high"] is not None:
            axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot(
        [row["value"] for _, row in points],
        [at for at, _ in points],
        linestyle="none",
        marker=MARKERS[index % len(MARKERS)],
        markersize=5.5,
        color=colour,
        label=label,
        clip_on=False,
    )


def _with_texts(axes: Any, points: Sequence[tuple[float, Row]], *, percent: bool, values: bool) -> None:
    """Write where a value is missing, and the others if asked."""
    beside = axes.get_yaxis_transform()
    for at, row in points:
        if row["value"] is None:
            axes.text(0.01, at, NOTHING, transform=beside, va="center", fontsize=8, style="italic")
        elif values:
            text = f"{row['value']:.1%}" if percent else f"{row['value']:.3f}"
            axes.text(1.02, at, text, transform=beside, va="center", fontsize=9)


def _with_scale(axes: Any, label: str, *, percent: bool, limits: tuple[float, float] | None) -> None:
    """Draw the horizontal scale, with room for markers at both ends."""
    if limits:
        margin = 0.03 * (limits[1] - limits[0])
        axes.set_xlim(limits[0] - margin, limits[1] + margin)
    if percent:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel(label)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


# ---------------------------------------------------------------- a small picture each
Panel = Callable[[Any, Ink], None]


def panels(
    name: str,
    title: str,
    rows: Sequence[Row],
    drawn: Mapping[str, Panel],
    *,
    alt: str,
    across: str = "",
    up: str = "",
    missing: str = "",
    size: float = 2.75,
) -> Chart:
    """Chart a small picture for each defender, three in a row; fewer fill the width.

    Args:
        name: of the files.
        title: above the picture.
        rows: the data.
        drawn: draws a defender's panel on the axes it is given.
        alt: the picture in words.
        across: what the horizontal scale counts.
        up: what the vertical scale counts.
        missing: why there is nothing, where `rows` is empty.
        size: height of a panel in inches.
    """

    def lines(columns: int) -> int:
        return max(1, -(-len(drawn) // columns))

    def draw(figure: Any, ink: Ink) -> None:
        columns = min(_columns(figure, 3), max(1, len(drawn)))
        grid = figure.subplots(lines(columns), columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(drawn):
                axes.set_axis_off()
        for (which, panel), axes in zip(drawn.items(), grid.flat, strict=False):
            axes.set_title(which)
            panel(axes, ink)
        figure.supxlabel(fitted(across, figure), fontsize=10)
        figure.supylabel(up, fontsize=10)

    tall = 1.1 + 0.85 * size * lines(2)
    return Chart(name, title, alt, rows, 0.9 + size * lines(3), draw, missing, tall)


def cells(
    axes: Any,
    ink: Ink,
    shares: Any,
    texts: Sequence[Sequence[str]],
    *,
    across: Sequence[str],
    up: Sequence[str],
    size: float = 8.5,
) -> None:
    """Draw a table whose cells are coloured by their shares, each with its text in an ink that reads on the colour.

    Args:
        axes, ink: to draw on and with.
        shares: rows x columns in [0, 1]; nan leaves a cell without colour.
        texts: of the cells; empty for none.
        across: names of the columns.
        up: names of the rows, the first one above.
        size: of the texts in points.
    """
    import numpy as np

    image = axes.imshow(np.ma.masked_invalid(shares), cmap=ink.scale, vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = ink.text if np.isnan(share) else _legible_on(image.cmap(image.norm(share)))
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=size, color=colour)
    turned = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(across)), across, fontsize=8, **turned)
    axes.set_yticks(range(len(up)), up, fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(ink.faint)


def _legible_on(colour: Sequence[float]) -> str:
    """Return black or white, whichever reads on a colour."""
    red, green, blue = colour[:3]
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#FFF"
