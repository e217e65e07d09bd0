"""The story's papers: their length, their times, and that no figure in them is typed."""

import ast
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.figures import MARK, figures

ROOT = Path(__file__).resolve().parent.parent
BLOG, SCRIPT = ROOT / "docs" / "blog.md", ROOT / "docs" / "video_script.md"
FIGURE = re.compile(r"\d+\.\d+|\d+ %|\d{3,}|\d,\d{3}")  # what only a mark may hold
WORD = re.compile(r"[A-Za-z0-9][\w'.-]*")
SECONDS = 90


def told(text):
    """The text as a reader sees it, without the marks' comments."""
    return MARK.sub(lambda mark: mark[3], text)


def typed(text):
    """The text without what the marks hold, and without code."""
    return re.sub(r"`[^`]*`", "", MARK.sub("", text))


def shots():
    rows = [row.strip("| ").split(" | ") for row in SCRIPT.read_text("utf-8").splitlines() if re.match(r"\| \d", row)]
    return [(*(int(m) * 60 + int(s) for m, s in re.findall(r"(\d):(\d\d)", time)), said) for time, _, said in rows]


def test_the_blog_has_about_600_words():
    words = re.findall(r"[A-Za-z][A-Za-z'-]*", told(BLOG.read_text("utf-8")))
    assert 550 <= len(words) <= 680


def test_no_figure_of_the_blog_is_typed():
    text = typed(BLOG.read_text("utf-8")).replace("95 % intervals", "")
    assert FIGURE.findall(text) == []
    assert len(MARK.findall(BLOG.read_text("utf-8"))) >= 20


def test_the_shots_follow_each_other_from_0_to_90_seconds():
    edges = [(begin, end) for begin, end, _ in shots()]
    assert [begin for begin, _ in edges] == [0, *(end for _, end in edges[:-1])]
    assert edges[-1][1] == SECONDS


def test_what_is_said_fits_its_time_at_150_words_a_minute():
    words = [(len(WORD.findall(told(said))), end - begin) for begin, end, said in shots()]
    assert 170 <= sum(count for count, _ in words) <= SECONDS * 150 / 60
    assert all(count <= seconds * 3 for count, seconds in words), words


def test_no_figure_that_is_said_is_typed():
    assert [figure for *_, said in shots() for figure in FIGURE.findall(typed(said))] == []


def test_the_tabs_of_the_script_are_those_of_the_demo():
    page = (ROOT / "demo_app.py").read_text("utf-8")
    named = re.findall(r"tab \*\*([A-Z][\w ]*)\*\*", SCRIPT.read_text("utf-8"))
    assert named == ["Watch", "Attack", "Results"]
    assert [name for name in named if f'gr.Tab("{name}"' not in page] == []


def test_the_social_picture_has_its_size_and_shows_the_figures_of_the_files():
    image = pytest.importorskip("PIL.Image")
    from scripts.social_picture import PICTURE, held_figures, shown_figures

    with image.open(PICTURE) as picture:
        assert picture.size == (1200, 630)
    assert held_figures(PICTURE) == shown_figures(figures())


def test_a_picture_drawn_from_other_figures_is_stale(tmp_path):
    pytest.importorskip("matplotlib")
    from scripts.social_picture import draw, held_figures

    shown = {"before": "10 %", "after": "90 %", "n": "40", "tactic": "20 %"}
    draw(shown, tmp_path / "picture.png")
    assert held_figures(tmp_path / "picture.png") == shown != {}


# ---------------------------------------------------------------- the slides
SLIDES = ROOT / "docs" / "build_slides.py"


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    pptx = pytest.importorskip("pptx", reason="python-pptx is not installed; the extra `slides` brings it")
    path = tmp_path_factory.mktemp("slides") / "opensoc.pptx"
    runpy.run_path(str(SLIDES))["build"](figures()).save(path)
    return path, pptx.Presentation(str(path))


def texts_of(shape):
    if shape.has_text_frame:
        yield shape.text_frame.text
    if shape.has_table:
        yield from (cell.text_frame.text for row in shape.table.rows for cell in row.cells)


def test_there_are_ten_slides_of_16_to_9_each_with_notes(deck):
    slides = list(deck[1].slides)
    assert len(slides) == 10
    assert deck[1].slide_width * 9 == pytest.approx(deck[1].slide_height * 16, rel=1e-4)
    assert all(len(slide.notes_slide.notes_text_frame.text.split()) >= 15 for slide in slides)


def test_nothing_reaches_over_the_edge_of_a_slide(deck):
    shapes = [shape for slide in deck[1].slides for shape in slide.shapes]
    assert all(shape.left >= 0 and shape.left + shape.width <= deck[1].slide_width for shape in shapes)
    assert all(shape.top >= 0 and shape.top + shape.height <= deck[1].slide_height for shape in shapes)


def test_a_title_takes_one_line_in_a_wide_font_too():
    pytest.importorskip("pptx")
    titles = [title for title, *_ in runpy.run_path(str(SLIDES))["SLIDES"]]
    assert [title for title in titles if len(title) > 42] == []


def test_no_figure_of_the_slides_is_typed(deck):
    known = figures()
    strings = [node.value for node in ast.walk(ast.parse(SLIDES.read_text("utf-8"))) if isinstance(node, ast.Constant)]
    shown = [text for text in strings if isinstance(text, str) and " " in text]
    assert [
        figure for text in shown for figure in FIGURE.findall(re.sub(r"\$\{[^}]*\}|95 % intervals?", "", text))
    ] == []

    text = "\n".join(text for slide in deck[1].slides for shape in slide.shapes for text in texts_of(shape))
    for key in ("results.test_seed.macro_f1.after.interval", "cross_play.generator.embedded.percent.full"):
        assert known[key] in text
    assert "$" not in text


def test_other_figures_give_other_slides():
    pytest.importorskip("pptx")
    deck = runpy.run_path(str(SLIDES))["build"]({**figures(), "results.test_seed.accuracy.after.percent": "77 %"})
    assert "77 %" in [text for shape in deck.slides[0].shapes for text in texts_of(shape)]


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("soffice") or not shutil.which("pdftoppm"), reason="soffice or pdftoppm is not installed"
)
def test_libreoffice_renders_every_slide_and_leaves_its_edge_free(deck, tmp_path):
    image = pytest.importorskip("PIL.Image")
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    call = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path), str(deck[0])]
    subprocess.run(call, check=True, capture_output=True, timeout=300)
    subprocess.run(["pdftoppm", "-r", "48", "-png", str(tmp_path / "opensoc.pdf"), str(tmp_path / "slide")], check=True)
    pages = sorted(tmp_path.glob("slide-*.png"))
    assert len(pages) == 10
    for page in pages:
        with image.open(page) as picture:
            width, height = picture.size
            assert width / height == pytest.approx(16 / 9, rel=0.01)
            assert len(picture.getcolors(width * height)) > 20  # something is drawn
            edges = ((0, 0, width, 8), (0, height - 8, width, height), (0, 0, 8, height), (width - 8, 0, width, height))
            assert all(len(picture.crop(edge).getcolors()) == 1 for edge in edges), page.name
