"""The story's papers: their length, their times, and that no figure in them is typed."""

import re
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
