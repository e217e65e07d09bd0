"""Every command tells how it is called, and does so before anything heavy is imported."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__main__")
    for folder in FOLDERS
    for path in folder.rglob("*.py")
    if re.search(r"^if __name__ == \"__main__\":", path.read_text("utf-8"), re.M)
)
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("scripts/*.py"), ROOT / "server.py")
    if "ArgumentParser" in path.read_text("utf-8")
)
HEAVY = ("datasets", "gradio", "matplotlib", "onnx", "onnxruntime", "openai", "pyarrow", "ray", "sklearn", "scipy", "torch", "transformers", "trl")  # fmt: skip
ALL_IN_ONE = """
import contextlib, io, json, runpy, sys, warnings
warnings.simplefilter("ignore", RuntimeWarning)  # that a module is imported already
modules, scripts, heavy = json.loads(sys.argv[1])
sys.path[:0] = ["", "scripts"]  # as Python does for the script that it starts
loaded = {}
for name in [*modules, *scripts]:
    sys.argv = [name, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(name, run_name="__main__") if name in scripts else runpy.run_module(name, run_name="__main__")
    for package in {*heavy} & {*sys.modules}:
        loaded.setdefault(package, name)
print(json.dumps(loaded))
"""


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


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", [*MODULES, *SCRIPTS])
def test_help_tells_how_a_command_is_called(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    monkeypatch.syspath_prepend(ROOT / "scripts")

    run, name = (runpy.run_path, str(ROOT / command)) if command in SCRIPTS else (runpy.run_module, command)
    with pytest.raises(SystemExit) as ended:
        run(name, run_name="__main__")

    assert ended.value.code in (None, 0)
    assert capsys.readouterr().out.startswith("usage:")


@pytest.mark.parametrize("command", [("-m", "generator"), ("-m", "eval.run"), ("server.py",)], ids=" ".join)
def test_help_of_a_command_that_is_started_alone(command):
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("usage:")


def test_help_imports_nothing_heavy():
    arguments = json.dumps([MODULES, SCRIPTS, HEAVY])
    done = subprocess.run(
        [sys.executable, "-c", ALL_IN_ONE, arguments], cwd=ROOT, capture_output=True, text=True, timeout=280
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {}
