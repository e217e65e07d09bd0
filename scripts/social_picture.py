"""Draw the picture that a shared link shows: python scripts/social_picture.py [--out FILE] [--check]

It helps whoever publishes OpenSOC: 1200 by 630 pixels (what social networks ask for), a title, a sentence and one figure before and after training. The figures
are those of `scripts/figures.py`; the picture holds them as a PNG text, so that `--check` says whether it is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from eval.charts import DARK  # noqa: E402
from scripts.figures import figures  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "social.png"
SIZE = (1200, 630)  # pixels
DPI = 100
PAPER, TEXT, FAINT = "#0E1726", "#FFFFFF", "#A9B6CA"
TITLE = "OpenSOC"
SENTENCE = "Language models learn security triage\nfrom a judge that no text can persuade."
SHOWN = {"first model": "before", "trained on fresh incidents": "after"}
KEY = "results.test_seed.accuracy"
NOTE = "Right answers on {n} new incidents, five actions to choose from.\nOn attacks with a tactic that training never showed: {tactic}."
HELD = "opensoc-figures"  # the PNG text that holds what is shown


def shown_figures(known: Mapping[str, str]) -> dict[str, str]:
    """Return the figures of the picture by their names."""
    return {
        **{side: known[f"{KEY}.{side}.percent"] for side in SHOWN.values()},
        "n": known[f"{KEY}.after.n"],
        "tactic": known["results.test_tactic.accuracy.after.percent"],
    }


def draw(shown: Mapping[str, str], out: Path) -> None:
    """Write the picture of the figures, with the figures inside it."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.family": "DejaVu Sans", "text.color": TEXT}):
        figure = Figure((SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor=PAPER)
        figure.text(0.06, 0.82, TITLE, size=58, weight="bold")
        figure.text(0.06, 0.62, SENTENCE, size=26, linespacing=1.35)
        axes = figure.add_axes((0.06, 0.18, 0.88, 0.36))
        _bars(axes, shown)
        figure.text(0.06, 0.055, NOTE.format(**shown), size=16, color=FAINT, linespacing=1.4)
        figure.savefig(out, metadata={HELD: json.dumps(shown), "Software": None})


def _bars(axes: Any, shown: Mapping[str, str]) -> None:
    """Draw a bar a side, its figure at its end."""
    axes.set_axis_off()
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.2, 2)
    for row, (label, side) in enumerate(SHOWN.items()):
        share, middle = float(shown[side].split()[0]), 1.4 - row
        axes.barh(middle, share * 0.82, height=0.72, color=DARK[1 - row] if row else "#5C6B84")
        axes.text(share * 0.82 + 1.5, middle, shown[side], size=40, weight="bold", va="center")
        axes.text(
            share * 0.82 + 20 if row == 0 else 2, middle, label, size=22, va="center", color=PAPER if row else TEXT
        )


def held_figures(picture: Path) -> dict[str, str]:
    """Return the figures that a picture was drawn from, none where it holds none."""
    from PIL import Image

    with Image.open(picture) as image:
        return json.loads(image.info.get(HELD, "{}"))


def main() -> int:
    """Draw or check the picture, and return the exit code."""
    parser = argparse.ArgumentParser(description="Draw the picture that a shared link shows.")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the file to write (default docs/images/social.png)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the picture is stale")
    args = parser.parse_args()
    shown = shown_figures(figures())
    if not args.check:
        draw(shown, args.out)
        print(f"Wrote {args.out}")
    elif held_figures(args.out) != shown:
        print(f"{args.out} is stale; python scripts/social_picture.py draws it anew.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
