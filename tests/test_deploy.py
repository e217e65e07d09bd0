"""scripts/deploy_to_hf.sh against a hub on the loopback (fake_hub.py), and the server that it pushed as the Space."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from openenv.cli.commands import push as sdk

from fake_hub import FakeHub
from local_provider import ServerProcess
from scripts import deploy_to_hf as deploy

ROOT = Path(__file__).resolve().parent.parent
SECRET = "a salt that nobody prints"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own call

README = """---
title: Small
sdk: docker
app_port: 7860
base_path: /web
---

<!-- link:adapter -->[Adapter](TRAIN.md)
| [docs](docs/a.md) | <!-- link:space -->[The Space](DEPLOY.md) |
<!-- link:demo -->[![demo](https://badges.example/demo.svg)](docs/demo.md) [guide](docs/demo.md)
"""
CARD = "---\nlicense: bsd-3-clause\ndatasets:\n- opensoc-incidents\nmodel-index:\n- dataset:\n    type: opensoc-incidents\n---\n\n# Card\n\n[evaluation](../../docs/evaluation.md#metrics) [row](rows.jsonl)\n"


@pytest.fixture
def hub(monkeypatch):
    with FakeHub().serving() as serving:
        monkeypatch.setattr(deploy, "HUB", serving.url)
        yield serving


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout in place of ours."""
    root = tmp_path / "checkout"
    files = {"README.md": README, "server.py": "print(1)\n", "train_grpo.ipynb": f'"{deploy.NOTEBOOKS_SPACE}/blob"'}
    files |= {
        f"{part}/README.md": CARD.replace("../../", "../" * (part.count("/") + 1))
        for part in ("data", "models/defender", "models/attacker")
    }
    files |= {
        "data/rows.jsonl": "{}\n",
        "models/defender/model.onnx": "weights",
        "models/attacker/model.onnx": "weights",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "notes.txt").write_text("git does not know this file")
    quiet = {"check": True, "cwd": root, "capture_output": True}
    subprocess.run(["git", "init", "-q"], **quiet)
    subprocess.run(["git", "add", *files], **quiet)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "First"], **quiet)
    monkeypatch.setattr(deploy, "ROOT", root)
    return root


@pytest.fixture
def run(hub, checkout, monkeypatch, tmp_path, capsys):
    """Run the script in this process; returns its exit code, and what it printed and said on the standard error."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(deploy, "SETTLE_S", 0.01)
    monkeypatch.setattr(deploy, "try_it", lambda plan: "tried")
    for name, value in {"HF_USER": "ada", "HF_TOKEN": "hf_write", "HF_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OPENSOC_SALT", raising=False)

    def call(*args):
        code = deploy.main(args)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


# ---------------------------------------------------------------- what is pushed
def test_the_repositories_hold_what_git_knows_and_the_cards(run, hub):
    code, _, said = run()

    assert (code, said) == (0, "")
    assert set(hub.repositories) == {
        "datasets/ada/opensoc-incidents",
        "models/ada/opensoc-defender",
        "models/ada/opensoc-attacker",
        "spaces/ada/opensoc-env",
    }
    assert set(hub.files_of("dataset", "opensoc-incidents")) == {"README.md", "rows.jsonl"}
    assert set(hub.files_of("model", "opensoc-defender")) == {"README.md", "model.onnx"}
    space = hub.files_of("space", "opensoc-env")
    assert {"README.md", "server.py", "data/rows.jsonl", "models/defender/model.onnx"} <= set(space)
    assert "notes.txt" not in space
    assert hub.repositories["spaces/ada/opensoc-env"].sdk == "docker"


def test_marked_links_of_the_readme_lead_to_the_users_own_pages(run, hub):
    run()

    assert hub.files_of("space", "opensoc-env")["README.md"].decode().splitlines()[-2:] == [
        f"| [docs](docs/a.md) | <!-- link:space -->[The Space]({hub.url}/spaces/ada/opensoc-env) |",
        "<!-- link:demo -->[![demo](https://badges.example/demo.svg)](https://ada-opensoc-env.hf.space/demo/) [guide](docs/demo.md)",
    ]


def test_the_notebook_fetches_and_opens_from_the_users_own_space(run, hub):
    run()

    assert (
        hub.files_of("space", "opensoc-env")["train_grpo.ipynb"].decode() == f'"{hub.url}/spaces/ada/opensoc-env/blob"'
    )


def test_without_adapters_their_link_leads_to_how_to_train_one(run, hub):
    run()

    readme = hub.files_of("space", "opensoc-env")["README.md"].decode()
    assert f"[Adapter]({hub.url}/spaces/ada/opensoc-env/blob/main/TRAIN.md)" in readme


def test_a_cards_links_out_of_its_directory_lead_to_the_spaces_files(run, hub):
    run()

    card = hub.files_of("model", "opensoc-defender")["README.md"].decode()
    assert f"[evaluation]({hub.url}/spaces/ada/opensoc-env/blob/main/docs/evaluation.md#metrics) [row]" in card
    name = "ada/opensoc-incidents"
    index = [{"dataset": {"type": name}}]
    assert deploy.front_matter(card) == {"license": "bsd-3-clause", "datasets": [name], "model-index": index}
    data = hub.files_of("dataset", "opensoc-incidents")["README.md"].decode()
    assert "[row](rows.jsonl)" in data
    assert "ada/opensoc-incidents" not in data


def test_weights_go_through_the_hubs_store_of_large_files(run, hub):
    run()

    assert hub.repositories["models/ada/opensoc-defender"].large == {"model.onnx"}
    assert hub.repositories["models/ada/opensoc-defender"].files["model.onnx"] == b"weights"


def test_a_second_run_updates_what_changed_and_takes_away_what_is_gone(run, hub, checkout):
    run()
    salt = dict(hub.repositories["spaces/ada/opensoc-env"].secrets)
    commits = {name: len(there.commits) for name, there in hub.repositories.items()}
    (checkout / "server.py").write_text("print(2)\n")
    (checkout / "data" / "rows.jsonl").unlink()
    code, *_ = run()

    assert code == 0
    assert hub.files_of("space", "opensoc-env")["server.py"] == b"print(2)\n"
    assert set(hub.files_of("dataset", "opensoc-incidents")) == {"README.md"}
    grown = {name: len(there.commits) - commits[name] for name, there in hub.repositories.items()}
    assert grown == {
        "datasets/ada/opensoc-incidents": 1,
        "models/ada/opensoc-defender": 0,
        "models/ada/opensoc-attacker": 0,
        "spaces/ada/opensoc-env": 1,
    }
    assert hub.repositories["spaces/ada/opensoc-env"].secrets == salt


def test_a_salt_is_made_once_and_yours_replaces_it_and_none_is_printed(run, hub, monkeypatch):
    _, first, _ = run()
    made = hub.repositories["spaces/ada/opensoc-env"].secrets["OPENSOC_SALT"]
    monkeypatch.setenv("OPENSOC_SALT", SECRET)
    _, second, _ = run()

    assert len(made) == 43  # 32 bytes
    assert hub.repositories["spaces/ada/opensoc-env"].secrets == {"OPENSOC_SALT": SECRET}
    assert made not in first + second
    assert SECRET not in first + second


def test_adapters_of_a_run_are_pushed_under_the_names_of_their_stages(run, hub, tmp_path):
    for place in ("sft", "grpo/stage1_basic", "grpo/stage4_adversarial"):
        (tmp_path / "run" / place).mkdir(parents=True)
        (tmp_path / "run" / place / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": "Org/Base-3B"})
        )
        (tmp_path / "run" / place / "adapter_model.safetensors").write_bytes(place.encode())
        (tmp_path / "run" / place / "log.jsonl").write_text("{}")
    code, *_ = run("--adapters", str(tmp_path / "run"))

    assert code == 0
    assert (
        f"[Adapter]({hub.url}/ada/opensoc-defender-grpo)" in hub.files_of("space", "opensoc-env")["README.md"].decode()
    )
    pushed = {name.split("/")[-1]: there for name, there in hub.repositories.items() if "-grpo" in name}
    assert {name: there.files["adapter_model.safetensors"] for name, there in pushed.items()} == {
        "opensoc-defender-grpo-sft": b"sft",
        "opensoc-defender-grpo-stage1_basic": b"grpo/stage1_basic",
        "opensoc-defender-grpo-stage4_adversarial": b"grpo/stage4_adversarial",
        "opensoc-defender-grpo": b"grpo/stage4_adversarial",
    }
    assert set(pushed["opensoc-defender-grpo"].files) == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    front = deploy.front_matter(pushed["opensoc-defender-grpo"].files["README.md"].decode())
    assert (front["base_model"], front["library_name"], front["datasets"]) == (
        "Org/Base-3B",
        "peft",
        ["ada/opensoc-incidents"],
    )


def test_private_repositories_are_made_private(run, hub):
    run("--private")

    assert {there.private for there in hub.repositories.values()} == {True}


# ---------------------------------------------------------------- the dry run
def test_the_dry_run_prints_the_steps_and_reaches_nothing(run, hub):
    code, printed, _ = run("--dry-run")

    assert code == 0
    assert hub.calls == []
    numbers = re.findall(r"^\[(\d+)/13\] ", printed, re.M)
    assert numbers == [str(number) for number in range(1, 14)]
    assert "[8/13] Look for LoRA adapters: none is here" in printed
    assert "[9/13] Make the Space ada/opensoc-env (sdk: docker, app_port: 7860, base_path: /web)" in printed


def test_the_dry_run_needs_no_token(run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")

    assert run("--dry-run")[0] == 0


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize(("name", "got"), [("", "got nothing"), ("a/b", "got 'a/b'"), ("-a", "got '-a'")])
def test_a_missing_or_wrong_user_is_told(run, monkeypatch, name, got):
    monkeypatch.setenv("HF_USER", name)
    code, _, said = run()

    assert code == 1
    assert (
        said
        == f"Not deployed. Expected your name on Hugging Face in HF_USER and {got}; run `export HF_USER=your-name` and try again.\n"
    )


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (None, "No token of Hugging Face is here; run `.venv/bin/hf auth login`"),
        ("hf_wrong", "The token is not valid; run `.venv/bin/hf auth login`"),
        ("hf_read", "This token of ada only reads; make one with the role `write`"),
    ],
)
def test_a_token_that_will_not_do_is_told(run, hub, monkeypatch, token, sentence):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nonexistent")
    code, _, said = run()

    assert code == 1
    assert said.startswith(f"Not deployed. {sentence}")
    assert len(said.splitlines()) == 1
    assert hub.repositories == {}


def test_another_persons_name_is_told_and_an_organisation_of_yours_is_not(run, hub, monkeypatch):
    monkeypatch.setenv("HF_USER", "bob")
    assert (
        run()[2]
        == "Not deployed. Expected HF_USER to be one of yours (ada, lab) and got 'bob'; correct HF_USER, or log in as bob.\n"
    )
    monkeypatch.setenv("HF_USER", "lab")
    assert run()[0] == 0
    assert "spaces/lab/opensoc-env" in hub.repositories


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        (
            "/api/repos/create",
            402,
            "The hub asks for a paid plan to make the dataset ada/opensoc-incidents, unless it is there: Pay first",
        ),
        ("/commit/", 403, "The token may not push data/, the frozen sets with their card: Pay first"),
        ("/blobs/", 403, "The token may not push models/defender with its card: Pay first"),
        ("/secrets", 500, "The hub refused to set the Space's secret OPENSOC_SALT"),
    ],
)
def test_a_refusal_of_the_hub_names_the_step(run, hub, path, status, sentence, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.refuse[path] = (status, "Pay first")
    code, _, said = run()

    assert code == 1
    assert said.startswith(f"Not deployed. {sentence}")
    assert len(said.splitlines()) == 1


def test_a_hub_that_is_not_there_is_told(run, monkeypatch):
    monkeypatch.setattr(deploy, "HUB", "http://127.0.0.1:9")
    code, _, said = run()

    assert code == 1
    assert said.startswith(
        "Not deployed. http://127.0.0.1:9 did not answer to `ask http://127.0.0.1:9 whose token this is`"
    )


def test_a_failed_build_shows_the_end_of_its_log(run, hub):
    hub.stages = ("BUILDING", "BUILD_ERROR")
    code, printed, said = run()

    assert code == 1
    assert re.findall(r" s  (\w+)", printed) == ["BUILDING", "BUILD_ERROR"]
    assert said.splitlines() == [
        f"Not deployed. The Space ended in BUILD_ERROR; its log ends as below, and all of it is at {hub.url}/spaces/ada/opensoc-env?logs=build",
        "      | Step 1",
        "      | ERROR: no space left",
    ]


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("PAUSED", "The Space is PAUSED; wake it with Restart"),
        ("BUILDING", "The Space is still BUILDING after 0 s; look at"),
    ],
)
def test_a_space_that_does_not_come_up_is_told(run, hub, stage, sentence):
    hub.stages = (stage,)

    assert run("--wait", "0")[2].startswith(f"Not deployed. {sentence}")


def test_the_version_before_does_not_count_as_running(run, hub, monkeypatch):
    run()
    looks = []

    class Runtime:
        stage = "RUNNING"

        @property
        def raw(self):
            looks.append(1)
            return {"sha": "old" if len(looks) < 3 else "new"}

    plan = deploy.Deployment("ada", deploy.hub_api(), pushed="new")
    monkeypatch.setattr(plan.api, "get_space_runtime", lambda repo: Runtime())

    assert deploy.wait(plan) == "it runs"
    assert len(looks) == 3


def test_a_directory_without_adapters_is_told(run, tmp_path):
    code, _, said = run("--adapters", str(tmp_path))

    assert code == 1
    assert said.startswith(
        f"Not deployed. Expected LoRA adapters in {tmp_path} (sft/adapter_config.json, grpo/stage1_basic/adapter_config.json"
    )


def test_a_mark_without_a_link_of_its_name_is_told(run, checkout):
    (checkout / "README.md").write_text(README.replace("link:demo", "link:dmeo"))

    assert "got dmeo; correct the mark." in run()[2]


def test_front_matter_of_another_kind_of_space_is_told(run, checkout):
    (checkout / "README.md").write_text(README.replace("app_port: 7860", "app_port: 8000"))

    assert "in the front matter of README.md and got {'app_port': 8000}; put it back." in run()[2]


# ---------------------------------------------------------------- this checkout
def test_the_sdks_own_push_would_change_neither_front_matter_nor_dockerfile(tmp_path):
    for name in ("README.md", "Dockerfile", "openenv.yaml"):
        (tmp_path / "from").mkdir(exist_ok=True)
        (tmp_path / "from" / name).write_bytes((ROOT / name).read_bytes())
    sdk._prepare_staging_directory(tmp_path / "from", "opensoc", tmp_path / "to", sdk.DEFAULT_PUSH_IGNORE_PATTERNS)

    for name in ("README.md", "Dockerfile"):
        assert (tmp_path / "to" / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_front_matter_and_the_links_of_this_readme_are_what_the_script_knows():
    text = (ROOT / "README.md").read_text()
    links = dict.fromkeys(deploy.Deployment("ada", None).links(), "https://example.org/")

    assert deploy.FRONT.items() <= deploy.front_matter(text).items()
    assert deploy.with_links(text, links).count("(https://example.org/)") == text.count("<!-- link:")


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_whole_of_it_runs_as_the_space(tmp_path):
    """Push this checkout with the printed commands, start the server from what the hub was given, and let the script try it."""
    ignored = [
        line.rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] not in "#*"
    ]
    servers = []

    def launch(files, secrets):
        home = tmp_path / "space"
        for name, content in files.items():
            if not name.startswith(tuple(f"{entry}/" for entry in ignored)) and name not in ignored:
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                (home / name).write_bytes(content)
        servers.append(ServerProcess(home, env=secrets, timeout_s=400))
        return servers[0].base_url

    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_USER": "ada",
        "HF_TOKEN": "hf_write",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHON": sys.executable,
    }
    try:
        with FakeHub().serving() as hub:
            hub.launch = launch
            command = ["bash", "scripts/deploy_to_hf.sh", "--wait", "500"]
            done = subprocess.run(
                command, cwd=ROOT, env=env | {"HF_ENDPOINT": hub.url}, capture_output=True, text=True, timeout=600
            )
            hub.builder.join()
    finally:
        for server in servers:
            server.stop()

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"http://127.0.0.1:\d+ answers: one episode played \(reward [+-]\d\.\d\d\), the demo opens", done.stdout
    )
    assert {"models/defender/model.onnx", "models/attacker/model.onnx"} <= hub.repositories[
        "spaces/ada/opensoc-env"
    ].large
    assert hub.files_of("model", "opensoc-defender")["model.onnx"] == (ROOT / "models/defender/model.onnx").read_bytes()
    front = yaml.safe_load(hub.files_of("space", "opensoc-env")["README.md"].decode().split("---\n")[1])
    assert (front["base_path"], front["app_port"], front["sdk"]) == ("/web", 7860, "docker")
