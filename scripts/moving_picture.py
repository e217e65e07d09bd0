"""Take the README's moving picture from the running demo: python scripts/moving_picture.py [--url URL] [--out FILE]

Eight seconds on the page's first incident: the alert, the answer of each checkpoint, the reveal. The command needs a server (`make serve`), Chromium and the
packages of requirements-dev.txt. OPENSOC_CHROMIUM names another browser than the one on the PATH.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images" / "episode.gif"
SHOWN = "data/demo_examples.json"  # the answers on the page; a picture holds their hash, so that one of older answers is found
SIZE = {"width": 1280, "height": 830}  # of the window, pixels
SCALE = 0.7  # of the picture, to the window
BAND = 40  # height of the caption below, pixels
COLOURS = 96
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
HIDE = ".card.answer > * { visibility: hidden }"  # until the alert was read
TRAINING_MS = 2800  # for all checkpoints together


class Frame(NamedTuple):
    """A window's picture, the words below it, and how long it stands."""

    shot: bytes
    caption: str
    ms: int


def mark() -> str:
    """Return what a picture of the page holds of the answers on it."""
    return f"{SHOWN} {hashlib.sha256((ROOT / SHOWN).read_bytes()).hexdigest()[:16]}"


def frames(page: Any) -> Iterator[Frame]:
    """Play the episode on an open page."""
    slider = page.locator(".learn-at")
    names = (slider.get_attribute("data-names") or "").split("|")
    slider.fill("0")
    slider.blur()
    style = page.add_style_tag(content=HIDE)
    page.wait_for_timeout(400)
    yield Frame(page.screenshot(), "An alert fires. Its title is a hint, and can be wrong.", 1900)
    style.evaluate("tag => tag.remove()")
    for place, name in enumerate(names):
        slider.fill(str(place))
        slider.blur()
        page.wait_for_timeout(400)  # the dot moves
        yield Frame(
            page.screenshot(), f"The model answers at each stage of training: {name}", TRAINING_MS // len(names)
        )
    page.get_by_role("button", name="Reveal", exact=True).locator("visible=true").click()
    page.locator(".card.ruling:visible").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)  # what the reveal moves has come to rest
    yield Frame(page.screenshot(), "The verifier reveals the right answer, computed from events and records.", 3300)


def captioned(frame: Frame) -> Image.Image:
    """Return the picture, smaller, with its caption below."""
    shot = Image.open(io.BytesIO(frame.shot)).convert("RGB")
    shot = shot.resize((round(shot.width * SCALE), round(shot.height * SCALE)), Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (shot.width, shot.height + BAND), "#1f2937")
    whole.paste(shot)
    place = (shot.width // 2, shot.height + BAND // 2)
    ImageDraw.Draw(whole).text(place, frame.caption, "white", ImageFont.load_default(19), anchor="mm")
    return whole


def save(taken: list[Frame], out: Path) -> None:
    """Write the frames as a GIF that begins again and again, with one palette for all."""
    pictures = [captioned(frame) for frame in taken]
    sheet = Image.new("RGB", (pictures[0].width, sum(picture.height for picture in pictures)))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (0, place * picture.height))
    palette = sheet.quantize(COLOURS)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    out.parent.mkdir(parents=True, exist_ok=True)
    times = [frame.ms for frame in taken]
    first.save(out, save_all=True, append_images=rest, duration=times, loop=0, optimize=True, comment=mark().encode())


def main() -> None:
    """Open the demo, play, and write the picture."""
    parser = argparse.ArgumentParser(description="Take the README's moving picture from the running demo.")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="the server")
    parser.add_argument("--query", default="", help="what the page's address asks for, such as ?baked=2")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="the GIF")
    args = parser.parse_args()
    chromium = os.environ.get("OPENSOC_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("Expected Chromium on the PATH and found none; install it, or name it in OPENSOC_CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{args.url}/demo/{args.query}", timeout=120_000)
        page.locator(".card.alert:visible").wait_for(timeout=120_000)
        page.wait_for_timeout(1500)
        save(list(frames(page)), args.out)
        browser.close()
    print(f"wrote {args.out}, {args.out.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
