"""Build the slides about OpenSOC, ten pages of 16:9 with speaker notes: python docs/build_slides.py --out FILE

It helps whoever presents OpenSOC. Texts take their figures by key from `scripts/figures.py` (`${results.test_seed.accuracy.after}`), charts and tables from the
same; no figure is typed. The file opens in PowerPoint, Keynote and LibreOffice; charts and tables can be edited there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE, XL_LABEL_POSITION, XL_LEGEND_POSITION
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml.ns import qn
from pptx.util import Emu, Inches, Pt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from demo.words import ACTION_NAMES as WORDS  # noqa: E402
from rubric import TABLES  # noqa: E402
from schema import LABELS  # noqa: E402
from scripts.figures import figures  # noqa: E402

WIDTH, HEIGHT, MARGIN = 13.333, 7.5, 0.7  # inches
FONT = "Arial"
NAVY, INK, GREY, PALE, WHITE = "0E1726", "1A2433", "5C6B84", "EEF2F7", "FFFFFF"
BLUE = "0072B2"
PICTURE = ROOT / "docs" / "images" / "demo_watch_desktop_light.png"
SETS = {
    "test_seed": "new incidents,\nknown scenarios",
    "test_family": "scenarios\nnever seen",
    "test_tactic": "a tactic never\nseen",
    "holdout": "hold-out,\na mix of all",
}


class Figured(Template):
    """A text whose `${KEY}` stand for figures; a key that no file holds is a KeyError."""

    braceidpattern = r"[a-z0-9_.]+"


class Page:
    """One slide, on which texts, boxes, tables and charts are put; all places and sizes are in inches, sizes of text in points."""

    def __init__(self, slide: Any, known: Mapping[str, str]) -> None:
        self.slide, self.known = slide, known

    def figured(self, text: str) -> str:
        """Put the figures into a text; a minus is written as one, so that no line breaks after it."""
        return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", Figured(text).substitute(self.known))

    def text(self, place: tuple[float, float, float, float], text: str, size: float = 18, **style: Any) -> None:
        """Write paragraphs into a place (left, top, width, height); `**` marks bold words."""
        box = self.slide.shapes.add_textbox(*(Inches(part) for part in place))
        box.text_frame.margin_left = box.text_frame.margin_right = 0
        self._write(box.text_frame, text, size, **style)

    def box(
        self, place: tuple[float, float, float, float], text: str, size: float = 16, fill: str = PALE, **style: Any
    ) -> None:
        """Write paragraphs into a filled box with round corners."""
        shape = self.slide.shapes.add_shape(MSO_SHAPE.ROUNDED_RECTANGLE, *(Inches(part) for part in place))
        shape.adjustments[0] = 0.06
        _flat(shape, fill)
        frame = shape.text_frame
        frame.margin_left = frame.margin_right = Inches(0.22)
        frame.margin_top = frame.margin_bottom = Inches(0.12)
        self._write(frame, text, size, **{"anchor": MSO_ANCHOR.MIDDLE, **style})

    def _write(
        self,
        frame: Any,
        text: str,
        size: float,
        *,
        color: str = INK,
        bold: bool = False,
        align: Any = PP_ALIGN.LEFT,
        anchor: Any = MSO_ANCHOR.TOP,
        gap: float = 6,
    ) -> None:
        frame.word_wrap, frame.vertical_anchor = True, anchor
        for number, line in enumerate(self.figured(text).split("\n")):
            paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
            paragraph.alignment, paragraph.space_after, paragraph.line_spacing = align, Pt(gap), 1.05
            for place, part in enumerate(line.split("**")):
                run = paragraph.add_run()
                run.text = part
                run.font.name, run.font.size, run.font.bold = FONT, Pt(size), bold or place % 2 == 1
                run.font.color.rgb = RGBColor.from_string(color)

    def arrow(self, place: tuple[float, float, float, float], kind: Any = MSO_SHAPE.RIGHT_ARROW) -> None:
        """Draw a grey arrow."""
        shape = self.slide.shapes.add_shape(kind, *(Inches(part) for part in place))
        _flat(shape, "B4C0D0")

    def table(
        self,
        place: tuple[float, float],
        widths: Sequence[float],
        rows: Sequence[Sequence[str]],
        *,
        size: float = 14,
        height: float = 0.5,
        fill: Callable[[int, int], str] = lambda row, column: WHITE,
    ) -> None:
        """Write a table; the first row is its head, `fill` gives a cell's colour by row and column."""
        whole = [Inches(part) for part in (*place, sum(widths), height * len(rows))]
        table = self.slide.shapes.add_table(len(rows), len(widths), *whole).table
        table.horz_banding = False
        for column, width in enumerate(widths):
            table.columns[column].width = Inches(width)
        for row, texts in enumerate(rows):
            table.rows[row].height = Inches(height)
            for column, text in enumerate(texts):
                cell = table.cell(row, column)
                color = NAVY if row == 0 else fill(row, column)
                cell.fill.solid()
                cell.fill.fore_color.rgb = RGBColor.from_string(color)
                cell.margin_top = cell.margin_bottom = Inches(0.04)
                self._write(
                    cell.text_frame,
                    text,
                    size,
                    color=WHITE if _dark(color) else INK,
                    bold=row == 0,
                    align=PP_ALIGN.LEFT if column == 0 else PP_ALIGN.CENTER,
                    gap=0,
                )
                cell.vertical_anchor = MSO_ANCHOR.MIDDLE

    def bars(
        self, place: tuple[float, float, float, float], names: Sequence[str], series: Mapping[str, Sequence[float]]
    ) -> None:
        """Draw a chart with a group of bars for each name, the first series grey, the second blue; values lie in [0, 1]."""
        data = CategoryChartData(number_format="0.00")
        data.categories = list(names)
        for name, values in series.items():
            data.add_series(name, list(values))
        frame = self.slide.shapes.add_chart(
            XL_CHART_TYPE.COLUMN_CLUSTERED, *(Inches(part) for part in place), chart_data=data
        )
        chart = frame.chart
        chart.font.size, chart.font.name = Pt(14), FONT
        chart.font.color.rgb = RGBColor.from_string(INK)
        chart.has_legend, chart.has_title = True, False
        chart.legend.position, chart.legend.include_in_layout = XL_LEGEND_POSITION.TOP, False
        axis = chart.value_axis
        axis.minimum_scale, axis.maximum_scale, axis.visible = 0, 1.1, False
        axis.has_major_gridlines = False
        chart.category_axis.format.line.color.rgb = RGBColor.from_string("B4C0D0")
        plot = chart.plots[0]
        plot.gap_width, plot.overlap, plot.has_data_labels = 60, -5, True
        plot.data_labels.number_format, plot.data_labels.number_format_is_linked = "0.00", False
        plot.data_labels.position = XL_LABEL_POSITION.OUTSIDE_END
        for color, bars in zip(("9AA8BD", BLUE), plot.series, strict=False):
            bars.format.fill.solid()
            bars.format.fill.fore_color.rgb = RGBColor.from_string(color)

    def picture(self, place: tuple[float, float, float, float], path: Path) -> None:
        """Show the top of a picture in a place: it fills the width, what is too long is cut off."""
        from PIL import Image

        with Image.open(path) as image:
            ratio = image.height / image.width
        left, top, width, height = place
        shape = self.slide.shapes.add_picture(str(path), Inches(left), Inches(top), width=Inches(width))
        shape.crop_bottom = max(0.0, 1 - height / (width * ratio))
        shape.height = Inches(min(height, width * ratio))
        shape.line.color.rgb = RGBColor.from_string("B4C0D0")


def _flat(shape: Any, fill: str) -> None:
    """Fill a shape with one colour, without the line and the shadow of the theme."""
    shape.fill.solid()
    shape.fill.fore_color.rgb = RGBColor.from_string(fill)
    shape.line.fill.background()
    if (style := shape._element.find(qn("p:style"))) is not None:
        shape._element.remove(style)


def _dark(color: str) -> bool:
    red, green, blue = (int(color[place : place + 2], 16) for place in (0, 2, 4))
    return 0.3 * red + 0.59 * green + 0.11 * blue < 100


# ---------------------------------------------------------------- the slides
def opening(page: Page) -> None:
    """Say what it is, with one figure before and after."""
    background = page.slide.background.fill
    background.solid()
    background.fore_color.rgb = RGBColor.from_string(NAVY)
    page.text((MARGIN, 0.8, 11.9, 1.3), "OpenSOC", 60, color=WHITE, bold=True)
    page.text(
        (MARGIN, 2.0, 11.9, 1.4),
        "Language models learn security triage\nfrom a judge that no text can persuade.",
        28,
        color=WHITE,
    )
    known = page.known
    before, after = (known[f"results.test_seed.accuracy.{side}.percent"] for side in ("before", "after"))
    for top, text, label, color in (
        (3.9, before, "first model", "5C6B84"),
        (4.85, after, "trained on fresh incidents", "56B4E9"),
    ):
        share = float(text.split()[0]) / 100
        page.box((MARGIN, top, 9 * share, 0.75), "", fill=color)
        page.text((MARGIN + 9 * share + 0.15, top, 1.8, 0.75), f"**{text}**", 32, color=WHITE, anchor=MSO_ANCHOR.MIDDLE)
        if share > 0.5:
            page.text((MARGIN + 0.2, top, 6, 0.75), label, 18, color=NAVY, anchor=MSO_ANCHOR.MIDDLE)
        else:
            page.text((MARGIN + 9 * share + 1.65, top, 5, 0.75), label, 18, color=WHITE, anchor=MSO_ANCHOR.MIDDLE)
    page.text(
        (MARGIN, 6.05, 11.9, 0.9),
        "Right answers on ${results.test_seed.accuracy.after.n} new incidents, five actions to choose from.\n"
        "On attacks with a tactic that training never showed: ${results.test_tactic.accuracy.after.percent}.",
        16,
        color="A9B6CA",
        gap=2,
    )


def problem(page: Page) -> None:
    """Show why an alert alone does not say what to do."""
    page.text(
        (MARGIN, 1.5, 4.6, 5),
        "Security teams get more alerts than they can read.\n\nMost are harmless, some are attacks. The line that fired is often the same.\n\n"
        "**What decides lies around it:** tickets, privileges, what else happened on the host, which sensor fell silent.",
        20,
    )
    rows = [("What the lines and the records say", "Right action")]
    rows += [
        ("Nothing suspicious, or an approved ticket or tool explains it", WORDS["dismiss"]),
        ("Suspicious, and nothing explains it", WORDS["monitor"]),
        ("Confirmed on one host", WORDS["quarantine_host"]),
        ("Confirmed from a hostile address, no host compromised", WORDS["block_ip"]),
        ("Confirmed on a crown jewel, with a privileged account, or on several hosts", WORDS["escalate"]),
    ]
    page.table((5.7, 1.6), (4.6, 2.35), rows, size=15, height=0.78, fill=lambda row, _: PALE if row % 2 else WHITE)


def episode(page: Page) -> None:
    """Draw the two turns and who judges them."""
    boxes = (
        ("**Attacker**\na generator, or a model, invents an incident", PALE, INK),
        ("**Gate**\nrefuses what could not have happened", PALE, INK),
        ("**Defender**\nnames one action, one log line, one reason", BLUE, WHITE),
        ("**Verifier**\ncomputes what was right from events and records", NAVY, WHITE),
    )
    for place, (text, fill, color) in enumerate(boxes):
        left = MARGIN + place * 3.1
        page.box((left, 1.9, 2.55, 1.9), text, 16, fill=fill, color=color, align=PP_ALIGN.CENTER)
        if place:
            page.arrow((left - 0.47, 2.68, 0.38, 0.34))
    page.arrow((MARGIN + 1.1, 3.9, 0.34, 0.5), MSO_SHAPE.UP_ARROW)
    page.arrow((MARGIN + 7.3, 3.9, 0.34, 0.5), MSO_SHAPE.UP_ARROW)
    page.arrow((MARGIN + 10.4, 3.9, 0.34, 0.5), MSO_SHAPE.DOWN_ARROW)
    page.box((MARGIN, 4.45, 11.85, 0.6), "Rewards go back to both players", 16, align=PP_ALIGN.CENTER)
    page.text(
        (MARGIN, 5.5, 11.9, 1.4),
        "**${count.families}** scenario families  ·  **${count.event_types}** event types  ·  **${count.rules}** rules  ·  "
        "**${count.techniques}** ATT&CK techniques\n"
        "Four levels: one decisive event; several; look-alikes and noise; near misses with hostile text.",
        18,
        align=PP_ALIGN.CENTER,
    )


def judge(page: Page) -> None:
    """Tell why the reward cannot be hacked."""
    cards = (
        (
            "**Computed, not judged**\nA program derives the right action from structured events and the organisation's records.",
            PALE,
        ),
        (
            "**The attacker's story is ignored**\nNeither the narrative nor the claimed label reaches the verifier.",
            PALE,
        ),
        ("**A gate before the reward**\nAn incident that could not have happened pays its attacker nothing.", PALE),
        ("**Twins test it**\nOne changed fact must flip the right answer. Added hostile text must not.", PALE),
    )
    for number, (text, fill) in enumerate(cards):
        page.box((MARGIN + number % 2 * 6.05, 1.55 + number // 2 * 1.95, 5.85, 1.75), text, 18, fill=fill)
    page.text(
        (MARGIN, 5.75, 11.9, 1.2),
        "Shortcuts do not pay: word statistics (bag of words) are right on **${bag_of_words.test_seed.accuracy.percent.full}** of new incidents, random guessing on "
        "**${random.test_seed.accuracy.percent.full}**. Brackets are 95 % intervals throughout.",
        18,
    )


def rewards(page: Page) -> None:
    """Tabulate what an answer earns."""
    table = TABLES["standard"]
    rows = [("right ↓ · answer →", *WORDS.values())]
    rows += [(WORDS[truth], *(f"{table.defender[truth][label]:+g}" for label in LABELS)) for truth in LABELS]

    def fill(row: int, column: int) -> str:
        if column == 0:
            return PALE
        value = table.defender[LABELS[row - 1]][LABELS[column - 1]]
        return "CFE8DF" if value > 0 else "FFFFFF" if value > -0.2 else "FBE3D3" if value > -0.9 else "F2B58F"

    page.table((MARGIN, 1.6), (2.9, *[1.8] * 5), rows, size=15, height=0.58, fill=fill)
    page.text(
        (MARGIN, 5.4, 11.9, 1.6),
        f"Citing a log line that proves it adds **{table.citation:+g}**. A malformed answer earns **{table.malformed:+g}** instead.\n"
        f"The attacker earns **{table.attacker.fooled:+g}** if the defender is wrong and the gate admits the incident, **{table.attacker.novelty:+g}** for a new play, "
        f"**{table.attacker.schema_failure:+g}** if it breaks the schema.",
        18,
    )


def learned(page: Page) -> None:
    """Chart what training changed, with intervals."""
    known = page.known
    sides = ("before", "after")
    page.bars(
        (MARGIN, 1.6, 6.8, 4.6),
        list(SETS.values()),
        {
            name: [float(known[f"results.{part}.macro_f1.{side}"]) for part in SETS]
            for name, side in zip(("first model", "trained on fresh incidents"), sides, strict=True)
        },
    )
    page.text((MARGIN, 1.2, 11.9, 0.4), "Macro-F1 weighs the five actions equally; 1 is perfect.", 16, color=GREY)
    rows = [("95 % intervals", "first model", "trained")]
    rows += [
        (name.replace("\n", " "), *(known[f"results.{part}.macro_f1.{side}.interval"] for side in sides))
        for part, name in SETS.items()
    ]
    page.table((7.75, 1.8), (1.9, 1.5, 1.5), rows, size=12, height=0.62, fill=lambda row, _: PALE if row % 2 else WHITE)
    page.text(
        (7.75, 5.1, 4.9, 1.1),
        "Mean reward on new incidents of known scenarios: ${embedded_first.test_seed.mean_reward} before, **${embedded.test_seed.mean_reward}** after "
        "(best possible ${verifier_oracle.test_seed.mean_reward}).",
        15,
    )
    page.text(
        (MARGIN, 6.35, 11.9, 0.8),
        "${defender.millions} million parameters from random weights, ${defender.trained_on} generated incidents, ${results.total.gpu_minutes} GPU minutes and "
        "${results.total.core_hours} core hours. Answers in ${defender.milliseconds} ms on one CPU core.",
        16,
        color=GREY,
    )


def twins(page: Page) -> None:
    """Chart how the model takes changed facts and hostile text."""
    known = page.known
    names = {
        "pair_accuracy": "right on both,\none fact changed",
        "invariance": "answer stays,\nharmless edit",
        "injection_flip_rate": "answer changes,\nhostile text",
    }
    page.bars(
        (MARGIN, 1.35, 7.4, 5.4),
        list(names.values()),
        {
            name: [float(known[f"results.twins.{part}.{side}"]) for part in names]
            for name, side in (("first model", "before"), ("trained on fresh incidents", "after"))
        },
    )
    page.box(
        (8.3, 1.6, 4.35, 1.55),
        "**One fact changes**\nRight on both twins in ${results.twins.pair_accuracy.after.percent.full} of pairs. More is better; much is left.",
    )
    page.box(
        (8.3, 3.3, 4.35, 1.55),
        "**A harmless edit**\nThe answer stays in ${results.twins.invariance.after.percent.full}. More is better.",
    )
    page.box(
        (8.3, 5.0, 4.35, 1.55),
        "**Hostile text**\nIt changes the answer on ${results.twins.injection_flip_rate.after.percent.full} of incidents. Less is better; the right answer never moves.",
    )


def limits(page: Page) -> None:
    """Tabulate what it did not learn."""
    rows = [
        ("What was asked", "The model", "To compare"),
        (
            "Malicious incidents of unseen scenarios, dismissed",
            "${results.test_family.dismiss_on_malicious.after.percent.full}",
            "random guessing: ${random.test_family.dismiss_on_malicious.percent.full}",
        ),
        (
            "Malicious incidents with an unseen tactic, dismissed",
            "${results.test_tactic.dismiss_on_malicious.after.percent.full}",
            "random guessing: ${random.test_tactic.dismiss_on_malicious.percent.full}",
        ),
        (
            "Right answers with an unseen tactic",
            "${results.test_tactic.accuracy.after.percent.full}",
            "random guessing: ${random.test_tactic.accuracy.percent.full}",
        ),
        (
            "Mean reward on the hold-out, standard table",
            "${embedded.holdout.mean_reward.full}",
            "always escalate: ${always_escalate.holdout.mean_reward.full}",
        ),
    ]
    page.table(
        (MARGIN, 1.6), (5.0, 2.7, 4.2), rows, size=16, height=0.68, fill=lambda row, _: PALE if row % 2 else WHITE
    )
    page.text(
        (MARGIN, 5.35, 11.9, 1.6),
        "It learned the playbook for what it was shown, and calls harmless what it does not know. The standard table makes escalation cheap; the second table, hardened, "
        "does not.\n**All incidents are invented. Nobody should let this model act on real systems.**",
        18,
    )


ATTACKERS = {"generator": "generator", "edits": "random edits", "trained_attacker": "trained attacker"}
DEFENDERS = {
    "embedded": "our model",
    "bag_of_words": "bag of words",
    "keyword": "keywords",
    "random": "random",
    "always_escalate": "always escalate",
}


def self_play(page: Page) -> None:
    """Tabulate attackers against defenders."""
    known = page.known
    keys = [[f"cross_play.{attacker}.{defender}" for defender in DEFENDERS] for attacker in ATTACKERS]
    rows = [("attacker ↓\ndefender →", *DEFENDERS.values())]
    rows += [
        (name, *(known[f"{key}.percent.full"] for key in line))
        for name, line in zip(ATTACKERS.values(), keys, strict=True)
    ]

    def fill(row: int, column: int) -> str:
        if column == 0:
            return PALE
        share = float(known[keys[row - 1][column - 1]])
        return "".join(
            f"{round(255 + (int(BLUE[place : place + 2], 16) - 255) * share * 0.75):02X}" for place in (0, 2, 4)
        )

    page.text(
        (MARGIN, 1.4, 11.9, 0.5), "Share of the admitted incidents on which the defender is wrong", 18, color=GREY
    )
    page.table((MARGIN, 2.0), (2.9, *[1.8] * 5), rows, size=15, height=0.72, fill=fill)
    page.text(
        (MARGIN, 5.15, 11.9, 1.9),
        "The attacker writes incidents as lines and is paid most where the defender is right half the time.\n"
        "The trained attacker fools our model on ${cross_play.trained_attacker.embedded.percent}, the generator on ${cross_play.generator.embedded.percent}: "
        "the intervals overlap. **We do not claim that self-play makes a better defender.**\n"
        "The verifier is never fooled: its answer is computed.",
        18,
    )


def try_it(page: Page) -> None:
    """Say where to begin."""
    page.picture((6.5, 1.55, 6.15, 4.35), PICTURE)
    page.text((6.5, 6.0, 6.15, 0.4), "The demo: an incident, two answers, and what was right.", 14, color=GREY)
    page.text(
        (MARGIN, 1.45, 5.5, 5.4),
        "**make serve**\nopens the demo: watch the model learn, change one fact, attack it, give it your own log.\n \n"
        "**make play**\nputs you in the analyst's chair, in the terminal.\n \n"
        "**bash scripts/run_full_pipeline.sh**\ntrains, evaluates and compares your own model.\n \n"
        "**python -m eval.run --defender ...**\nmeasures any model or endpoint on the frozen sets.\n \n"
        "BSD-3-Clause. Code, data, models and every figure's command are in the repository.",
        16,
        gap=2,
    )


SLIDES: Sequence[tuple[str, Callable[[Page], None], str]] = (
    (
        "",
        opening,
        "OpenSOC is a reinforcement-learning environment on OpenEnv. A model learns what to do about a security alert. On new incidents of known scenarios right answers "
        "rise from ${results.test_seed.accuracy.before.percent.full} to ${results.test_seed.accuracy.after.percent.full}; on a tactic never shown they stay at "
        "${results.test_tactic.accuracy.after.percent.full}. Both figures are true, and we show both.",
    ),
    (
        "The alert alone does not say what to do",
        problem,
        "The same program start can be a maintenance job or an attack. The table is the playbook in five rows; docs/playbook.md has all ${count.rules} rules.",
    ),
    (
        "One incident, two turns, a judge",
        episode,
        "Turn one: the attacker proposes an incident. Turn two: the defender answers. For training and measuring, the generator plays the attacker.",
    ),
    (
        "The reward cannot be talked into anything",
        judge,
        "A judge that is a language model can be flattered or tricked. This one is a program with tests. The demo's Flip it shows it: change one fact and the right answer "
        "flips; add hostile text and it stays.",
    ),
    (
        "What an answer earns",
        rewards,
        "The worst answer is to dismiss an attack. Acting on harmless incidents costs less, an unnecessary escalation least; a second table, hardened, makes caution dearer.",
    ),
    (
        "What training changed",
        learned,
        "Macro-F1 weighs the five actions equally. The first model was smaller and saw fewer incidents. The gain on new incidents is "
        "${results.test_seed.macro_f1.difference.full}, on scenarios never seen ${results.test_family.macro_f1.difference.full}, on a tactic never seen "
        "${results.test_tactic.macro_f1.difference.full}, which is no gain.",
    ),
    (
        "Facts must move the answer, words not",
        twins,
        "Twins are two versions of one incident. They show whether a model reads evidence or habit. One changed fact is still hard: "
        "${results.twins.pair_accuracy.after.full}, from ${results.twins.pair_accuracy.before.full}.",
    ),
    (
        "What it did not learn",
        limits,
        "This is the slide to remember. The open problem is what no training incident showed. The benchmark measures it, and any model can be put to it.",
    ),
    (
        "A second model plays the attacker",
        self_play,
        "Of ${cross_play.trained_attacker.embedded.percent.full} and ${cross_play.generator.embedded.percent.full} the intervals overlap, so no difference is shown. The attacker did find "
        "holes in the gate; they are closed and tested. docs/self_play.md tells the whole story.",
    ),
    (
        "Try it",
        try_it,
        "Everything runs on a laptop: the shipped model needs no GPU. The video script in docs/ is a tour of the demo in 90 seconds.",
    ),
)


def build(known: Mapping[str, str]) -> Any:
    """Return the presentation made of these figures."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Emu(Inches(WIDTH)), Emu(Inches(HEIGHT))
    deck.core_properties.title = "OpenSOC"
    deck.core_properties.author = "OpenSOC contributors"
    for number, (title, draw, notes) in enumerate(SLIDES, 1):
        page = Page(deck.slides.add_slide(deck.slide_layouts[6]), known)
        if title:
            page.text((MARGIN, 0.45, 11.9, 0.8), title, 32, color=NAVY, bold=True)
        draw(page)
        page.slide.notes_slide.notes_text_frame.text = page.figured(notes)
        if title:
            page.text((WIDTH - 2.7, 7.0, 2, 0.35), f"OpenSOC · {number}", 11, color=GREY, align=PP_ALIGN.RIGHT)
    return deck


def main() -> None:
    """Write the slides."""
    parser = argparse.ArgumentParser(description="Build the slides about OpenSOC.")
    parser.add_argument("--out", type=Path, required=True, help="the .pptx file to write")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    build(figures()).save(args.out)
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
