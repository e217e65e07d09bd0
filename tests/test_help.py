"""Every command tells how it is called, and does so before anything heavy is imported."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STARTS = re.compile(r"^if __name__ == \"__main__\":", re.M)
FOLDERS = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__main__")
    for folder in FOLDERS
    for path in folder.rglob("*.py")
    if STARTS.search(path.read_text("utf-8"))
)
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("scripts/*.py"), ROOT / "server.py")
    if STARTS.search(path.read_text("utf-8")) and path.name != "bench_servers.py"  # it holds a server as a text
)
HEAVY = ("datasets", "gradio", "matplotlib", "onnx", "onnxruntime", "openai", "pyarrow", "ray", "sklearn", "scipy", "torch", "transformers", "trl")  # fmt: skip
ALL_IN_ONE = """
import contextlib, io, json, runpy, sys, warnings
warnings.simplefilter("ignore", RuntimeWarning)  # that a module is imported already
modules, scripts, heavy = json.loads(sys.argv[1])
sys.path[:0] = ["", "scripts"]  # as Python does for the script that it starts
said, loaded = {}, {}
for name in [*modules, *scripts]:
    sys.argv = [name, "--help"]
    code, out = "it went on", io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(name, run_name="__main__") if name in scripts else runpy.run_module(name, run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
    said[name] = code, out.getvalue()
    for package in {*heavy} & {*sys.modules}:
        loaded.setdefault(package, name)
print(json.dumps([said, loaded]))
"""


@pytest.fixture(scope="module")
def helped():
    """Exit code and text of each command's `--help`, and which command first imported what is heavy: all of one process."""
    arguments = json.dumps([MODULES, SCRIPTS, HEAVY])
    done = subprocess.run(
        [sys.executable, "-c", ALL_IN_ONE, arguments], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_commands_are_found():
    assert {
        "eval.run",
        "eval.audit",
        "eval.leaderboard",
        "generator",
        "telemetry",
        "train.grpo",
        "train.nano.export",
        "client.play",
    } <= {*MODULES}
    assert {"server.py", "scripts/bench_demo.py"} <= {*SCRIPTS}


@pytest.mark.parametrize("command", [*MODULES, *SCRIPTS])
def test_help_tells_how_a_command_is_called(command, helped):
    code, out = helped[0][command]

    assert code == 0, out
    assert out.startswith("usage:")


@pytest.mark.parametrize("command", [("-m", "generator"), ("-m", "eval.run"), ("server.py",)], ids=" ".join)
def test_help_of_a_command_that_is_started_alone(command):
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("usage:")


@pytest.mark.parametrize("path", sorted({*ROOT.glob("scripts/*.sh")} - {ROOT / "scripts/gpu_common.sh"}), ids=lambda path: path.name)  # fmt: skip
def test_help_of_a_shell_script_shows_how_it_is_called_and_does_nothing_else(path):
    done = subprocess.run(["bash", path, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{path.stem}." in done.stdout
    assert "set -" not in done.stdout


def test_a_phase_that_does_not_exist_is_refused_before_any_work():
    done = subprocess.run(["bash", "scripts/gpu_self_play.sh", "seats", "plai"], cwd=ROOT, capture_output=True, text=True, timeout=60)  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert "short, seats, grpo or play, and got plai" in done.stderr


def test_help_imports_nothing_heavy(helped):
    assert helped[1] == {}
