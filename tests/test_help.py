"""Every command tells how it is called."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__main__")
    for folder in ("client", "eval", "generator", "train")
    for path in (ROOT / folder).rglob("*.py")
    if re.search(r"^if __name__ == \"__main__\":|__main__\.py$", path.read_text("utf-8") + f"\n{path.name}", re.M)
)
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("scripts/*.py"), ROOT / "server.py")
    if "ArgumentParser" in path.read_text("utf-8")
)


def test_the_commands_are_found():
    assert {
        "eval.run",
        "eval.audit",
        "eval.leaderboard",
        "generator",
        "train.grpo",
        "train.nano.export",
        "client.play",
    } <= {*MODULES}
    assert {"server.py", "scripts/bench_demo.py"} <= {*SCRIPTS}


@pytest.mark.parametrize(
    "command", [("-m", module) for module in MODULES] + [(script,) for script in SCRIPTS], ids=" ".join
)
def test_help_tells_how_a_command_is_called(command):
    told = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.startswith("usage:")
