"""What the README shows of figures: tables, the picture of the gain, badges."""

import re
import xml.etree.ElementTree as ET

import pytest

from scripts.figures import figures
from scripts.readme_page import LEFT, RIGHT, readme_pictures, readme_tables

KNOWN = figures()


def test_the_table_of_the_gain_puts_each_interval_below_its_figure():
    sides = {"embedded_first": 0.2, "embedded": 0.85}
    known = KNOWN | {
        f"{side}.test_seed.accuracy{end}": text
        for side, value in sides.items()
        for end, text in (("", f"{value:.3f}"), (".interval", "[0.100, 0.900]"))
    }
    row = readme_tables(known)["gain"].splitlines()[2]

    assert row.startswith(
        "| New incidents, known scenarios<br>`test_seed` | 700 | 0.200<br>[0.100,&nbsp;0.900] | **0.850**<br>"
    )


def test_the_table_of_defenders_goes_from_the_floor_to_the_ceiling():
    names = re.findall(r"^\| `(.+?)` \|", readme_tables(KNOWN)["defenders"], re.M)

    assert {names[0], names[1]} == {"always_dismiss", "majority"}
    assert names[-1] == "verifier_oracle"


def test_a_checkpoint_of_the_demo_is_a_row():
    key = "examples.checkpoints.sft"
    told = {"title": "Fine-tuned", "method": "SFT", "incidents": "600", "right": "20"}
    measured = {f"{metric}{end}": "0.5" for metric in ("accuracy", "mean_reward") for end in ("", ".interval")}
    known = {name: text for name, text in KNOWN.items() if not name.startswith("examples.checkpoints.")}

    table = readme_tables(known | {f"{key}.{name}": text for name, text in (told | measured).items()})["checkpoints"]

    assert table.splitlines()[2:] == ["| Fine-tuned | SFT | 600 | 0.5<br>0.5 | 0.5<br>0.5 | 20 |"]


def test_pictures_are_well_formed_and_load_nothing(tmp_path):
    pictures = readme_pictures(KNOWN, tmp_path)

    assert {path.name for path in pictures} >= {"gain.svg", "badge_rules.svg", "badge_licence.svg"}
    for text in pictures.values():
        ET.fromstring(text)
        assert re.findall(r"<script|href=|url\((?!#)", text) == []


@pytest.mark.parametrize(("share", "x"), [("0.000", LEFT), ("1.000", RIGHT), ("0.500", (LEFT + RIGHT) / 2)])
def test_a_share_stands_at_its_place_on_the_scale(tmp_path, share, x):
    known = KNOWN | {"embedded_first.test_seed.accuracy": share}
    picture = ET.fromstring(readme_pictures(known, tmp_path)[tmp_path / "gain.svg"])
    points = [node for node in picture if node.get("class") == "before" and node.tag.endswith("circle")]

    assert float(points[1].get("cx")) == x  # the first is the legend's
