"""The wheel: what is in it, and that it works in an environment of its own, where nothing of the server is at hand."""

import email
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
AUTO_ENV = """
from openenv import AutoAction, AutoEnv
with AutoEnv.from_env("opensoc", base_url={url!r}).sync() as env:
    alert = env.reset(task="stage1_basic", seed=42).observation.alert
    Action = AutoAction.from_env("opensoc")
    triage = {{"action": "monitor", "cited_log_id": alert["log_id"], "rationale": "Odd."}}
    result = env.step(Action(submit_triage=triage))
print(type(env.async_client).__module__, Action.__module__, result.done, result.observation.grade["action"])
"""
ALONE = """
import importlib, pkgutil, sys
import opensoc_env
early = [name for name in ("openenv", "fastapi", "pydantic") if name in sys.modules]
for module in pkgutil.iter_modules(opensoc_env.__path__, "opensoc_env."):
    importlib.import_module(module.name)
servers = ("schema", "world", "tasks", "generator", "verifier", "rubric", "env", "app_runtime", "server", "eval", "train", "adapters", "client")
print(early, [name for name in servers if name in sys.modules])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built by the backend that `pip install .` would use."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = target.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A runner of Python code in a fresh environment with the wheel, and the SDK of this one."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home / "venv", with_pip=False)
    python = home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    site = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(
        subprocess.run([python, "-c", site], capture_output=True, text=True, check=True).stdout.strip()
    )
    (site_packages / "sdk.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environ = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "HOME": str(home)}
    environ.pop("PYTHONPATH", None)

    def run(*arguments):
        command = [python, *arguments]
        done = subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_the_wheel_holds_the_client_and_the_manifest_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        manifest = yaml.safe_load(archive.read("opensoc_env/openenv.yaml"))

    sources = {f"opensoc_env/{path.name}" for path in (ROOT / "client").glob("*.py")}
    assert names == {"opensoc_env/openenv.yaml", *sources}
    assert manifest["name"] == "opensoc"


def test_the_wheel_says_who_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]

    assert (metadata["Name"], metadata["License-Expression"]) == ("openenv-opensoc-env", "BSD-3-Clause")
    assert metadata["Version"] == yaml.safe_load((ROOT / "openenv.yaml").read_text())["version"]
    assert {
        requirement.split(">")[0] for requirement in metadata.get_all("Requires-Dist") if ";" not in requirement
    } == {
        "httpx",
        "openenv<0.11,",
        "rich",
    }
    assert len(licences) == 1


@pytest.fixture(scope="module")
def said(installed, url):
    """What the two pieces of code print, one after the other in a process, as each alone takes as long as the SDK's import."""
    return installed("-W", "error::ResourceWarning", "-c", ALONE + AUTO_ENV.format(url=url)).splitlines()


def test_the_installed_client_needs_nothing_of_the_server_and_no_sdk_at_first(said):
    assert said[0] == "[] []"


def test_auto_env_finds_and_plays_it(said):
    assert said[-1].split() == ["opensoc_env.client", "opensoc_env.client", "True", "monitor"]


def test_the_installed_game_says_how_to_use_it(installed):
    assert "--incident FILE" in installed("-m", "opensoc_env.play", "--help")


def test_a_model_of_the_hub_can_be_pinned_to_a_commit(tmp_path, monkeypatch, capsys):
    from train import hub

    asked, commit = [], "0123456789abcdef0123456789abcdef01234567"

    def download(name, *, revision=None, local_files_only=False, **_):
        if local_files_only:
            raise OSError("not in the cache")
        asked.append((name, revision))
        return str(tmp_path / commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **more: asked.append(more["revision"]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    assert hub.local_directory(f"some/model@{commit}").name == commit
    assert capsys.readouterr().out == ""
    hub.local_directory("some/model")
    assert asked == [commit, ("some/model", commit), None, ("some/model", None)]
    assert f"--model some/model@{commit} takes the same files again" in capsys.readouterr().out
