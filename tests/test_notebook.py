"""The notebook and the pipeline's script run from top to bottom."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "scripts" / "run_full_pipeline.sh"


NOTEBOOK = ROOT / "train_grpo.ipynb"
LARGEST = 100_000  # bytes of the notebook with its outputs


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """The least that the notebook can be asked for; gives the directory it writes to."""
    for name, value in {"MODEL": "nano", "STEPS": "2", "STAGES": "stage1_basic", "OUT": str(tmp_path / "out")}.items():
        monkeypatch.setenv(f"OPENSOC_{name}", value)
    return tmp_path / "out"


def code_cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_the_notebooks_cells_run_one_after_the_other(preset, few_resamples, monkeypatch, capsys):
    """In this process, with a smaller model, batch and examination than the commands' own, and fewer resamples."""
    pytest.importorskip("IPython")
    from nano_start import shrink

    shrink(monkeypatch)
    names = {"__name__": "notebook"}
    for cell in code_cells():
        source = re.sub(r'"(?:80|40)"', '"8"', "".join(cell["source"]))  # --n 80 and --eval-n 40
        before, _, last = source.rpartition("\n")
        if last.startswith("Image("):
            exec(before, names)
            assert len(eval(last, names)._repr_png_()) > 10_000
        else:
            exec(source, names)

    said = capsys.readouterr().out
    assert "train.grpo on one L4; nothing was loaded" in said
    assert "malformed: [-1.0, -1.0, -1.0, -1.0]" in said
    assert "not pushed (set OPENSOC_PUSH_TO):" in said
    assert (preset / "grpo" / "stage1_basic" / "model.safetensors").is_file()
    assert not (preset / "plan").exists()


def test_the_notebook_shows_a_run_and_nothing_of_where_it_ran():
    cells = code_cells()
    outputs = [output for cell in cells for output in cell["outputs"]]
    text = NOTEBOOK.read_text("utf-8")

    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("nothing was loaded" in "".join(output.get("text", "")) for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert len(text) < LARGEST
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", text)


def test_the_hours_of_its_table_are_those_of_its_dry_run():
    first, *_ = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    told = re.findall(r"^\| (?:SFT|GRPO)\b.*?\| ([\d.]+) h \(estimate\)", "".join(first["source"]), re.M)
    printed = "".join(
        "".join(output.get("text", "")) for cell in code_cells() for output in cell["outputs"] if "text" in output
    )

    assert told == [f"{float(hours):.1f}" for hours in re.findall(r"together ([\d.]+)", printed)]


def test_the_notebook_opens_in_colab_and_shows_a_learning_curve_that_is_there():
    cells = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]]

    assert "](https://colab.research.google.com/#fileId=https://huggingface.co/spaces/" in cells[0]
    [picture] = re.findall(r"!\[[^]]*\]\((docs/[^)]*)\)", "\n".join(cells))
    assert (ROOT / picture).is_file()


def test_the_last_cell_pushes_each_adapter_under_its_name(tmp_path, monkeypatch, capsys):
    pushed = []
    api = SimpleNamespace(
        create_repo=lambda name, exist_ok: None,
        upload_folder=lambda repo_id, folder_path, ignore_patterns: pushed.append((repo_id, str(folder_path))),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=lambda: api))
    names = {"PUSH_TO": "ada/grpo", "OUT": tmp_path, "STAGES": "stage1_basic,stage2_multi", "best": tmp_path / "best"}
    exec("".join(code_cells()[-1]["source"]), names)

    assert pushed == [
        ("ada/grpo-sft", str(tmp_path / "sft")),
        ("ada/grpo-stage1_basic", str(tmp_path / "grpo" / "stage1_basic")),
        ("ada/grpo-stage2_multi", str(tmp_path / "grpo" / "stage2_multi")),
        ("ada/grpo", str(tmp_path / "best")),
    ]
    assert capsys.readouterr().out == "pushed to ada/grpo-sft ada/grpo-stage1_basic ada/grpo-stage2_multi ada/grpo\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the kernel's own
def test_the_notebook_runs_on_a_small_preset(preset, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(ROOT)}}).execute()

    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
    assert (preset / "grpo" / "stage1_basic" / "model.safetensors").is_file()


def test_the_pipeline_tells_its_flags_and_refuses_others():
    told = subprocess.run(["sh", str(PIPELINE), "--help"], capture_output=True, text=True, check=True)
    wrong = subprocess.run(["sh", str(PIPELINE), "--presets", "nano"], capture_output=True, text=True)
    bare = subprocess.run(["sh", str(PIPELINE), "--out"], capture_output=True, text=True)
    stage = subprocess.run(
        ["sh", str(PIPELINE), "--stages", "stage1_basic,stage9"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )

    assert "--preset NAME" in told.stdout
    assert (wrong.returncode, bare.returncode, stage.returncode) == (2, 2, 2)
    assert "as --stages, each once, and got 'stage1_basic,stage9'" in stage.stderr
    assert "$ python" not in stage.stderr  # nothing was begun
    assert "got --presets" in wrong.stderr
    assert "Expected a value after --out" in bare.stderr


@pytest.mark.parametrize(
    ("model", "made", "density"),
    [
        ([], "opensoc.json", "compact"),
        (["--model", "some/checkpoint"], "opensoc.json", "compact"),
        (["--model", "some/model"], "adapter_config.json", "legend"),
    ],
)
def test_the_pipeline_evaluates_with_the_prompts_of_its_training(tmp_path, model, made, density):
    python, out = tmp_path / "python", tmp_path / "out"
    python.write_text(f'#!/bin/sh\nmkdir -p "{out}/sft"\n[ "$2" = train.sft ] && touch "{out}/sft/{made}"\nexit 0\n')
    python.chmod(0o755)
    told = subprocess.run(
        ["sh", str(PIPELINE), "--out", str(out), *model],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHON": str(python), "PATH": "/usr/bin:/bin"},
    )
    ran = [line for line in told.stderr.splitlines() if "eval.run" in line or "train.grpo" in line]
    assert len(ran) == 3
    assert all(f"--density {density}" in line for line in ran)


def test_smollm2_on_a_gpu_is_measured_before_and_after_with_flags_that_the_commands_know(tmp_path):
    from train import grpo, sft

    python, out = tmp_path / "python", tmp_path / "out"
    python.write_text(
        f'#!/bin/sh\necho "$*" >> "{tmp_path}/calls"\n'
        f'[ "$2" = train.grpo ] && mkdir -p "{out}/grpo/stage1_basic" && touch "{out}/grpo/stage1_basic/adapter_config.json"\nexit 0\n'
    )
    python.chmod(0o755)
    script = ["bash", str(ROOT / "scripts" / "gpu_smollm2.sh"), str(out), "1"]
    subprocess.run(script, check=True, env={**os.environ, "PYTHON": str(python)})
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]

    assert [call[1] for call in calls] == [
        *("eval.run", "train.sft", "eval.run", "train.grpo", "eval.run", "eval.compare")
    ]
    sft.COMMAND.parse(calls[1][2:])
    grpo.COMMAND.parse(calls[3][2:])
    assert [call[call.index("--defender") + 1] for call in calls if call[1] == "eval.run"] == [
        *("smollm2", f"{out}/sft", f"{out}/grpo/stage1_basic")
    ]


@pytest.mark.slow
def test_the_pipeline_runs_with_few_steps(tmp_path):
    command = ["sh", str(PIPELINE), "--out", str(tmp_path), "--stages", "stage1_basic", "--steps", "2", "--limit", "60"]
    subprocess.run(command, check=True, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}, cwd=ROOT)

    assert (tmp_path / "demo_examples.json").is_file()
