"""The README's moving picture: how it is put together, and the one that is shipped."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

pytest.importorskip("playwright")

from scripts.moving_picture import BAND, OUT, Frame, mark, save

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def shot(colour):
    """A window of 100x60 pixels in one colour."""
    made = io.BytesIO()
    Image.new("RGB", (100, 60), colour).save(made, "PNG")
    return made.getvalue()


def test_a_picture_shows_each_frame_for_its_time_above_its_caption(tmp_path):
    save([Frame(shot("red"), "first", 500), Frame(shot("blue"), "then", 700)], tmp_path / "made" / "two.gif")

    with Image.open(tmp_path / "made" / "two.gif") as picture:
        frames = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)]
        assert picture.info["loop"] == 0
    assert [(frame.size, ms) for frame, ms in frames] == [((70, 42 + BAND), 500), ((70, 42 + BAND), 700)]
    assert [frame.getpixel((5, 5)) for frame, _ in frames] == [(255, 0, 0), (0, 0, 255)]


def test_the_shipped_picture_is_short_and_small():
    with Image.open(OUT) as picture:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]

    assert IMAGES / "episode.gif" == OUT
    assert len(durations) >= 4
    assert 7000 <= sum(durations) <= 9000
    assert OUT.stat().st_size < 1_500_000


@pytest.mark.parametrize("name", ["episode.gif", *sorted(path.name for path in IMAGES.glob("demo_watch_*.png"))])
def test_a_picture_of_the_page_shows_the_answers_that_are_stored(name):
    with Image.open(IMAGES / name) as picture:
        told = picture.info.get("comment") or b""

    assert (told.decode() if isinstance(told, bytes) else told) == mark()
