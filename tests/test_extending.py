"""docs/extending.md: each recipe is followed to the letter in a copy of the checkout, and its commands succeed there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.house_figures import tracked

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
STEP = re.compile(
    r"^\d+\. (?:New file `(?P<new>[^`]+)`|In `(?P<path>[^`]+)`, (?P<where>before|after) `(?P<anchor>[^`]+)`)\n\n```python\n(?P<text>.*?)^```$",
    re.M | re.S,
)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.M | re.S)
LEFT_OUT = (".png", ".gif", ".ipynb")  # nothing that a recipe runs reads them


@pytest.fixture
def copy(tmp_path):
    """A copy of the checkout without what no recipe needs, and with what Python has compiled: by their times, copies are as fresh."""
    for path in tracked(ROOT):
        if path.suffix not in LEFT_OUT:
            for file in (path, *path.parent.glob(f"__pycache__/{path.stem}.*.pyc")):
                target = tmp_path / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
    return tmp_path


def follow(step, checkout):
    """Do one step of a recipe."""
    if step["new"]:
        (checkout / step["new"]).write_text(step["text"], "utf-8")
        return
    path = checkout / step["path"]
    before, anchor, after = path.read_text("utf-8").partition(step["anchor"])
    assert anchor, f"{step['path']} holds no {step['anchor']!r}"
    if step["where"] == "before":
        path.write_text(before + step["text"] + anchor + after, "utf-8")
    else:
        path.write_text(before + anchor + "\n" + step["text"].removesuffix("\n") + after, "utf-8")


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_works_as_printed(title, copy):
    for step in STEP.finditer(RECIPES[title]):
        follow(step, copy)
    python = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(copy)}

    for script in COMMANDS.findall(RECIPES[title]):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_there_are_seven_recipes_and_every_block_is_a_step_or_a_command():
    assert list(RECIPES) == [
        "A rule",
        "A scenario family",
        "An event type",
        "A log format",
        "A metric",
        "A defender",
        "An adapter",
    ]
    for recipe in RECIPES.values():
        assert len(STEP.findall(recipe)) + len(COMMANDS.findall(recipe)) == recipe.count("```") / 2
